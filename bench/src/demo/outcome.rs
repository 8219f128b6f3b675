//! What came of the run: the end check, the figures, the page and the last words.

use super::progress::money;
use super::stages::{owner_key, text, words};
use super::tracker::number;
use super::{Demo, check};
use crate::children::PROVER_NICE;
use crate::report::figures::{Checks, Durations, Figures, Percentiles, Record, stage_curves};
use crate::report::page;
use crate::report::plot::{grouped, ns_text};
use crate::scenario::{MICRO, Source};
use crate::trade::TradeResult;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// An audit or a replay.
const TOOL: Duration = Duration::from_secs(300);
/// What every mention of the proving key says.
const KEY_WARNING: &str =
    "INSECURE dev key, made from a fixed seed: anyone can forge proofs for it";

/// What the stages hand over.
pub(super) struct Ended {
    pub(super) workers: Vec<&'static str>,
    /// The traders' event about the withdrawal.
    pub(super) withdrawal: Value,
    /// Micro-units that the owner got on L1.
    pub(super) claimed: u64,
    /// The venue's answer to the shutdown.
    pub(super) shutdown: Value,
}

impl Demo {
    /// Checks everything, writes figures and page, and fails if anything does not hold.
    pub(super) fn judge(&mut self, ended: &Ended) -> anyhow::Result<()> {
        self.tracker.next_stage("shutdown", "end check");
        let mut misses = Vec::new();
        let traders = self.traders(ended)?;
        let checks = self.check(ended, &traders, &mut misses)?;
        let record = self.record(ended, checks, &traders)?;
        self.write(&record)?;
        self.tracker.stage = if misses.is_empty() {
            "all checks hold"
        } else {
            "end check FAILED"
        }
        .to_owned();
        self.progress.finish(&self.tracker);
        print!("{}", summary(&record.figures, &self.args.report));
        if !misses.is_empty() {
            bail!("the end check does not hold: {}", misses.join("; "));
        }
        Ok(())
    }

    fn check(
        &mut self,
        ended: &Ended,
        traders: &Traders,
        misses: &mut Vec<String>,
    ) -> anyhow::Result<Checks> {
        let mut checks = Checks::default();
        let (data, deployment) = (text(&self.layout.data()), text(&self.layout.deployment()));
        let args = words(&[
            "audit",
            "--data",
            &data,
            "--l1",
            &self.l1_url,
            "--deployment",
            &deployment,
            "--json",
        ]);
        let audit = self.try_tool("prover audit", "prover", &args, TOOL)?;
        let found = audit.json();
        let holds = |key: &str| found[key] == true;
        checks.state_root_match = holds("state_root_match");
        checks.conservation_ok = holds("conservation_ok");
        checks.contracts_sum_zero = holds("contracts_sum_zero");
        if !audit.ok {
            misses.push(format!("prover audit{}", audit.words.replace("\n   ", "")));
        }
        for (good, what) in [
            (
                checks.state_root_match,
                "the state root on L1 is not the engine's",
            ),
            (
                checks.conservation_ok,
                "collateral in the contract does not equal the claims",
            ),
            (checks.contracts_sum_zero, "contracts do not sum to zero"),
        ] {
            if !good {
                misses.push(format!("{what} ({found})"));
            }
        }
        self.check_replay(&ended.shutdown, &mut checks, misses)?;
        self.check_counts(ended, traders, &mut checks, misses);
        if let Some(reconciliation) = &traders.sum.reconciliation
            && !reconciliation.closes
        {
            misses.push("the account of the recorded market does not close".to_owned());
        }
        Ok(checks)
    }

    fn check_replay(
        &mut self,
        shutdown: &Value,
        checks: &mut Checks,
        misses: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let data = text(&self.layout.data());
        let replay = self.try_tool(
            "hostd replay",
            "hostd",
            &words(&["replay", "--data", &data, "--json"]),
            TOOL,
        )?;
        let (at_end, replayed) = (&shutdown["state_hash"], &replay.json()["state_hash"]);
        checks.replay_hash_match = replay.ok && at_end.is_string() && at_end == replayed;
        if !replay.ok {
            misses.push(format!("hostd replay{}", replay.words.replace("\n   ", "")));
        } else if !checks.replay_hash_match {
            misses.push(format!(
                "the venue ended with state {at_end}, its journal replays to {replayed}"
            ));
        }
        Ok(())
    }

    fn check_counts(
        &self,
        ended: &Ended,
        traders: &Traders,
        checks: &mut Checks,
        misses: &mut Vec<String>,
    ) {
        let files: Vec<_> = ended.workers.iter().map(|w| self.layout.acks(w)).collect();
        let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
        match check::acks_are_in_journal(&files, &self.layout.data().join("journal")) {
            Ok(checked) => (checks.acks_in_journal, checks.acks_checked) = (true, checked),
            Err(e) => misses.push(format!("{e:#}")),
        }
        let sealed = number(&ended.shutdown, "batches_sealed").max(self.tracker.sealed());
        checks.all_batches_on_l1 = self.tracker.committed() == sealed;
        if !checks.all_batches_on_l1 {
            misses.push(format!(
                "{sealed} batches were sealed, {} are on L1",
                self.tracker.committed()
            ));
        }
        // One claim takes all that an owner has, and an owner can have several accounts.
        let owner = owner_key(number(&ended.withdrawal, "account") as u32);
        let of_owner = traders
            .sum
            .withdrawn_micro
            .iter()
            .filter(|(account, _)| owner_key(**account) == owner);
        let wanted: u64 = of_owner.map(|(_, micro)| micro).sum();
        checks.withdrawal_claimed = wanted > 0 && ended.claimed == wanted;
        if !checks.withdrawal_claimed {
            misses.push(format!(
                "{wanted} micro-units were withdrawn, {} arrived on L1",
                ended.claimed
            ));
        }
    }

    /// What the trading processes left behind.
    fn traders(&self, ended: &Ended) -> anyhow::Result<Traders> {
        let mut traders = Traders::default();
        for name in &ended.workers {
            let path = self.layout.result(name);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            traders
                .add(&serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?);
        }
        Ok(traders)
    }

    /// Everything that was measured.
    fn record(&self, ended: &Ended, checks: Checks, traders: &Traders) -> anyhow::Result<Record> {
        let mut figures = self.figures(ended, checks, traders);
        figures.sum_up_batches();
        let since = |ns: u64| (ns as f64 - self.start_ns as f64) / 1e9;
        Ok(Record {
            figures,
            start_ns: self.start_ns,
            moments: self.tracker.moments(),
            index: self
                .tracker
                .index
                .iter()
                .map(|&(t, v)| (since(t), v as f64 / MICRO as f64))
                .collect(),
            client_curves: traders.curves(),
            stage_curves: stage_curves(&self.tracker.status["stage_ns"]),
            settings: self.settings(),
            crash: super::crash::play(self.scenario.seed).context("one account through a fall")?,
        })
    }

    fn figures(&self, ended: &Ended, checks: Checks, traders: &Traders) -> Figures {
        let t = &traders.sum;
        let status = &self.tracker.status;
        let stages = status["stage_ns"].as_object().into_iter().flatten();
        Figures {
            title: self.scenario.title.clone(),
            seed: self.scenario.seed,
            seconds: self.scenario.seconds,
            accounts: self.scenario.deposits.len() as u64,
            orders: t.requests_by_kind.get("NewOrder").copied().unwrap_or(0),
            requests: t.requests_by_kind.values().sum(),
            requests_by_kind: t.requests_by_kind.clone(),
            acks: t.acks,
            fills: t.fills,
            rejects: t.rejects_by_code.values().sum(),
            rejects_by_code: t.rejects_by_code.clone(),
            unanswered: t.unanswered + t.not_applied + t.not_sent,
            settlements: number(status, "settlements").max(self.tracker.settlements.len() as u64),
            deposits: number(status, "deposits"),
            batches_sealed: number(&ended.shutdown, "batches_sealed").max(self.tracker.sealed()),
            rtt_ns: traders.rtt.percentiles(),
            rtt_from_plan_ns: traders.rtt_from_plan.percentiles(),
            stage_ns: stages
                .filter_map(|(k, v)| {
                    Some((
                        k.clone(),
                        serde_json::from_value::<Percentiles>(v.clone()).ok()?,
                    ))
                })
                .collect(),
            client_ns: traders
                .parts()
                .map(|(name, d)| (name.to_owned(), d.percentiles()))
                .collect(),
            journal_records: number(&ended.shutdown, "engine_seq"),
            journal_bytes: match number(&status["journal"], "bytes") {
                0 => check::journal_size(&self.layout.data().join("journal")),
                n => n,
            },
            journal_commits: number(&status["journal"], "commits"),
            journal_commit_ns: commit_time(&status["journal"]),
            feed_messages: t.feed_messages,
            feed_gaps: t.feed_rerequests + self.tracker.feed_gaps,
            withdrawn_micro: ended.claimed,
            checks,
            unmapped: self.scenario.unmapped.clone(),
            reconciliation: t.reconciliation.clone(),
            batches: self.tracker.batches.values().cloned().collect(),
            settlement_list: self.tracker.settlements.values().cloned().collect(),
            machine: crate::machine::facts(),
            proving_key: KEY_WARNING.to_owned(),
            ..Figures::default()
        }
    }

    fn settings(&self) -> Vec<(String, String)> {
        let s = &self.scenario;
        let symbols: Vec<&str> = s.listings.iter().map(|l| l.symbol.as_str()).collect();
        let makers = s
            .members
            .iter()
            .filter(|m| m.role == crate::scenario::Role::Maker)
            .count();
        let flow = match &s.source {
            Source::Synthetic => s.title.clone(),
            Source::Recorded(steps) => format!("{}; {} requests", s.title, steps.len()),
        };
        let chain = match &self.args.l1 {
            Some(url) => format!("node at {url}"),
            None => format!("embedded dev chain (revm) at {}", self.l1_url),
        };
        [
            ("Flow", flow),
            ("Instruments", symbols.join(", ")),
            (
                "Members",
                format!(
                    "{makers} makers, {} takers, one session each",
                    s.members.len() - makers
                ),
            ),
            (
                "Network",
                "UDP on loopback, io_uring backend, AES-128-GMAC tags".to_owned(),
            ),
            (
                "Durability",
                "fsync: no report leaves before its record is on disk".to_owned(),
            ),
            (
                "Topology",
                format!("shared; the prover runs on the same cores at nice {PROVER_NICE}"),
            ),
            ("L1", chain),
            ("Proving key", KEY_WARNING.to_owned()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .to_vec()
    }

    fn write(&self, record: &Record) -> anyhow::Result<()> {
        let put = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        if let Some(path) = &self.args.json {
            put(
                path,
                serde_json::to_string_pretty(&record.figures).context("figures")? + "\n",
            )?;
        }
        put(&self.args.report, page::render(record))
    }
}

/// Figures of all trading processes together.
#[derive(Default)]
struct Traders {
    sum: TradeResult,
    rtt: Durations,
    rtt_from_plan: Durations,
    send_to_rx: Durations,
    rx_to_sequenced: Durations,
    sequenced_to_report: Durations,
}

impl Traders {
    fn add(&mut self, r: &TradeResult) {
        let s = &mut self.sum;
        let merge = |into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>| {
            from.iter()
                .for_each(|(k, n)| *into.entry(k.clone()).or_default() += n);
        };
        merge(&mut s.requests_by_kind, &r.requests_by_kind);
        merge(&mut s.rejects_by_code, &r.rejects_by_code);
        s.acks += r.acks;
        s.fills += r.fills;
        s.not_sent += r.not_sent;
        s.not_applied += r.not_applied;
        s.unanswered += r.unanswered;
        s.feed_messages += r.feed_messages;
        s.feed_rerequests += r.feed_rerequests;
        if r.reconciliation.is_some() {
            s.reconciliation.clone_from(&r.reconciliation);
        }
        for (account, micro) in &r.withdrawn_micro {
            *s.withdrawn_micro.entry(*account).or_default() += micro;
        }
        self.rtt.add_pairs(&r.rtt);
        self.rtt_from_plan.add_pairs(&r.rtt_from_plan);
        self.send_to_rx.add_pairs(&r.send_to_rx);
        self.rx_to_sequenced.add_pairs(&r.rx_to_sequenced);
        self.sequenced_to_report.add_pairs(&r.sequenced_to_report);
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &Durations)> {
        [
            ("send_to_rx", &self.send_to_rx),
            ("rx_to_sequenced", &self.rx_to_sequenced),
            ("sequenced_to_report", &self.sequenced_to_report),
        ]
        .into_iter()
    }

    fn curves(&self) -> Vec<(String, Vec<(f64, f64)>)> {
        [
            ("round trip", &self.rtt),
            ("round trip from the planned send", &self.rtt_from_plan),
            ("send to receipt at the venue", &self.send_to_rx),
            ("receipt to sequenced", &self.rx_to_sequenced),
            (
                "sequenced to report at the client",
                &self.sequenced_to_report,
            ),
        ]
        .into_iter()
        .map(|(name, d)| (name.to_owned(), d.curve()))
        .collect()
    }
}

/// Time of a group commit, which the status gives in us.
fn commit_time(journal: &Value) -> Percentiles {
    let ns = |key| number(journal, key) * 1_000;
    Percentiles {
        p50: ns("p50_us"),
        p99: ns("p99_us"),
        max: ns("max_us"),
        count: number(journal, "commits"),
        ..Percentiles::default()
    }
}

/// The last words of a run.
fn summary(f: &Figures, report: &Path) -> String {
    let n = |v: u64| grouped(i128::from(v));
    let ns = |v: u64| ns_text(v as f64);
    let p = |p: &Percentiles| format!("p50 {}  p99 {}  p99.9 {}", ns(p.p50), ns(p.p99), ns(p.p999));
    let mut lines = vec![
        format!(
            "\ndeltabox demo: {} ({} s, {} accounts)",
            f.title, f.seconds, f.accounts
        ),
        format!(
            "  requests      {} ({} new orders), {} acks, {} rejects, {} unanswered",
            n(f.requests),
            n(f.orders),
            n(f.acks),
            n(f.rejects),
            n(f.unanswered)
        ),
        format!("  fills         {}", n(f.fills)),
        format!("  round trip    {}", p(&f.rtt_ns)),
    ];
    let in_order = page::STAGES
        .iter()
        .filter_map(|s| Some((s.0, f.stage_ns.get(s.0)?)));
    lines.extend(in_order.map(|(name, stage)| format!("    {name:<20}{}", p(stage))));
    for (code, count) in &f.rejects_by_code {
        lines.push(format!("    refused: {code:<20}{}", n(*count)));
    }
    for (kind, count) in &f.unmapped {
        lines.push(format!("    not replayed: {kind}: {}", n(*count)));
    }
    if let Some(reconciliation) = &f.reconciliation {
        lines.push("  beside the recorded market".to_owned());
        let told = reconciliation.lines();
        lines.extend(told.iter().map(|line| format!("    {line}")));
    }
    let moved: i64 = f.settlement_list.iter().map(|s| s.transferred_micro).sum();
    let (delta, residual) = f.settlement_list.iter().fold((0, 0), |(d, r), s| {
        (d + s.delta_leg_micro, r + s.residual_micro)
    });
    let yes = |b: bool| if b { "yes" } else { "NO" };
    let c = &f.checks;
    lines.extend([
        format!(
            "  settlements   {}, moved {}, delta legs {}, residuals {}",
            f.settlements,
            money(moved),
            money(delta),
            money(residual)
        ),
        format!(
            "  batches       {} sealed, {} proven, {} on L1",
            f.batches_sealed, f.batches_proven, f.batches_committed
        ),
        format!(
            "    proof {} ms mean, {} ms worst; {} gas a batch; seal to L1 {} ms mean, {} ms worst",
            n(f.prove_ms),
            n(f.prove_ms_max),
            n(f.l1_gas_per_batch),
            n(f.seal_to_l1_ms),
            n(f.seal_to_l1_ms_max)
        ),
        format!("    {}", f.proving_key),
        format!(
            "  withdrawn     {} claimed on L1",
            money(f.withdrawn_micro as i64)
        ),
        "  end check".to_owned(),
        format!(
            "    state root on L1 is the engine's           {}",
            yes(c.state_root_match)
        ),
        format!(
            "    collateral in the contract equals claims   {}",
            yes(c.conservation_ok)
        ),
        format!(
            "    contracts sum to zero                      {}",
            yes(c.contracts_sum_zero)
        ),
        format!(
            "    acknowledged requests are in the journal   {} ({})",
            yes(c.acks_in_journal),
            n(c.acks_checked)
        ),
        format!(
            "    the journal replays to the same state      {}",
            yes(c.replay_hash_match)
        ),
        format!(
            "    all sealed batches are on L1               {}",
            yes(c.all_batches_on_l1)
        ),
        format!("  report        {}", report.display()),
    ]);
    lines.join("\n") + "\n"
}
