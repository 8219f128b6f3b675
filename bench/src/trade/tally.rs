//! What a trading process counts, and the file of answered requests that the end check reads.

use crate::flow::reconcile::{Reconciler, Reconciliation};
use crate::report::figures::Durations;
use anyhow::Context as _;
use client::{Report, Request};
use firmware::reject::RejectCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Figures of a process, as it leaves them in a file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TradeResult {
    pub(crate) requests_by_kind: BTreeMap<String, u64>,
    pub(crate) acks: u64,
    pub(crate) fills: u64,
    pub(crate) rejects_by_code: BTreeMap<String, u64>,
    pub(crate) not_sent: u64,
    pub(crate) not_applied: u64,
    pub(crate) unanswered: u64,
    pub(crate) feed_messages: u64,
    pub(crate) feed_rerequests: u64,
    /// Micro-units that left, by account.
    pub(crate) withdrawn_micro: BTreeMap<u32, u64>,
    /// Histograms as (ns, count).
    pub(crate) rtt: Vec<(u64, u64)>,
    pub(crate) rtt_from_plan: Vec<(u64, u64)>,
    pub(crate) send_to_rx: Vec<(u64, u64)>,
    pub(crate) rx_to_sequenced: Vec<(u64, u64)>,
    pub(crate) sequenced_to_report: Vec<(u64, u64)>,
    /// The replay of a LOBSTER file beside the market that it recorded.
    pub(crate) reconciliation: Option<Reconciliation>,
}

pub(super) struct Tally {
    result: TradeResult,
    rtt: Durations,
    /// Of the last second.
    rtt_now: Durations,
    rtt_from_plan: Durations,
    send_to_rx: Durations,
    rx_to_sequenced: Durations,
    sequenced_to_report: Durations,
    acks: BufWriter<File>,
    acks_path: PathBuf,
    /// A line of the file could not be written.
    broken: Option<std::io::Error>,
    pub(super) not_sent: u64,
    pub(super) not_applied: u64,
    pub(super) feed_messages: u64,
    pub(super) feed_rerequests: u64,
    /// Answer to the last withdrawal: its batch, or the reject code.
    pub(super) withdrawn: Option<Result<u64, String>>,
    /// Compares with the recorded market, if there is one.
    pub(super) reconciler: Option<Reconciler>,
}

fn code_name(reason: u16) -> String {
    RejectCode::from_wire(reason).map_or_else(|| format!("code {reason}"), |c| c.name().to_owned())
}

impl Tally {
    pub(super) fn create(acks: &Path, reconciler: Option<Reconciler>) -> anyhow::Result<Self> {
        let file =
            File::create(acks).with_context(|| format!("cannot write {}", acks.display()))?;
        Ok(Self {
            result: TradeResult::default(),
            rtt: Durations::default(),
            rtt_now: Durations::default(),
            rtt_from_plan: Durations::default(),
            send_to_rx: Durations::default(),
            rx_to_sequenced: Durations::default(),
            sequenced_to_report: Durations::default(),
            acks: BufWriter::new(file),
            acks_path: acks.to_owned(),
            broken: None,
            not_sent: 0,
            not_applied: 0,
            feed_messages: 0,
            feed_rerequests: 0,
            withdrawn: None,
            reconciler,
        })
    }

    pub(super) fn sent(&mut self, member: u32, name: u64, request: &Request) {
        if let Some(reconciler) = &mut self.reconciler {
            reconciler.sent(member, name);
        }
        *self
            .result
            .requests_by_kind
            .entry(request.name().to_owned())
            .or_default() += 1;
    }

    pub(super) fn rtt(&mut self, ns: u64, from_plan_ns: u64) {
        self.rtt.add(ns);
        self.rtt_now.add(ns);
        self.rtt_from_plan.add(from_plan_ns);
    }

    /// The round trip in parts; all times are of one machine's clock.
    pub(super) fn parts(&mut self, sent: u64, rx: u64, sequenced: u64, now: u64) {
        self.send_to_rx.add(rx.saturating_sub(sent));
        self.rx_to_sequenced.add(sequenced.saturating_sub(rx));
        self.sequenced_to_report.add(now.saturating_sub(sequenced));
    }

    /// Notes an answered request for the end check, refused ones too: they stand in the journal as well.
    pub(super) fn answered(
        &mut self,
        member: u32,
        client_seq: u64,
        cl_ord_id: u64,
        report: &Report,
    ) {
        match report {
            Report::Rejected(m) => {
                *self
                    .result
                    .rejects_by_code
                    .entry(code_name(m.reason))
                    .or_default() += 1;
            }
            _ => self.result.acks += 1,
        }
        let engine_seq = report.engine_seq();
        if let Err(e) = writeln!(
            self.acks,
            "{engine_seq},{member},{client_seq},{cl_ord_id},{}",
            report.name()
        ) {
            self.broken.get_or_insert(e);
        }
    }

    /// Notes any report to a member.
    pub(super) fn saw(&mut self, member: u32, report: &Report) {
        if let Some(reconciler) = &mut self.reconciler {
            reconciler.report(member, report);
        }
        match report {
            // Each trade is reported to both sides; the taker's copy counts it once.
            Report::Filled(m) if m.liquidity == 1 => self.result.fills += 1,
            Report::WithdrawReport(m) => {
                let sum = self.result.withdrawn_micro.entry(m.account).or_default();
                *sum = sum.saturating_add_signed(m.amount);
                self.withdrawn = Some(Ok(m.batch_no));
            }
            Report::Rejected(m) if m.ref_template == 110 => {
                self.withdrawn = Some(Err(code_name(m.reason)))
            }
            _ => {}
        }
    }

    /// A line for the parent; starts the next second.
    pub(super) fn progress(&mut self, since_ns: u64) -> serde_json::Value {
        let second = std::mem::take(&mut self.rtt_now).percentiles();
        let all = self.rtt.percentiles();
        json!({
            "event": "rate",
            "since_ns": since_ns,
            "requests": self.result.requests_by_kind.values().sum::<u64>(),
            "acks": self.result.acks,
            "fills": self.result.fills,
            "rejects": self.result.rejects_by_code.values().sum::<u64>(),
            "second": {"p50": second.p50, "p99": second.p99, "count": second.count},
            "all": {"p50": all.p50, "p99": all.p99},
        })
    }

    /// Closes the file of answers and gives the figures.
    pub(super) fn finish(mut self, unanswered: u64) -> anyhow::Result<TradeResult> {
        let fail = || format!("cannot write {}", self.acks_path.display());
        if let Some(e) = self.broken {
            return Err(e).with_context(fail);
        }
        self.acks.flush().with_context(fail)?;
        Ok(TradeResult {
            not_sent: self.not_sent,
            not_applied: self.not_applied,
            unanswered,
            feed_messages: self.feed_messages,
            feed_rerequests: self.feed_rerequests,
            rtt: self.rtt.pairs(),
            rtt_from_plan: self.rtt_from_plan.pairs(),
            send_to_rx: self.send_to_rx.pairs(),
            rx_to_sequenced: self.rx_to_sequenced.pairs(),
            sequenced_to_report: self.sequenced_to_report.pairs(),
            reconciliation: self.reconciler.map(Reconciler::finish),
            ..self.result
        })
    }
}
