//! What `hostd top` shows, as text: a function of what the box answered now and a while before.

use serde_json::Value;
use std::collections::VecDeque;

/// Points of a sparkline.
pub(super) const HISTORY: usize = 120;

/// What the box answered at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) status: Value,
    pub(super) health: Value,
    pub(super) instruments: Value,
    /// When, s; only differences count.
    pub(super) at: f64,
}

/// A part of the screen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) title: &'static str,
    pub(super) lines: Vec<String>,
}

/// What is shown, and what is remembered for it.
#[derive(Default)]
pub(super) struct Model {
    before: Option<Answers>,
    now: Answers,
    /// 99th percentile from datagram to report, us, the newest last.
    pub(super) p99_us: VecDeque<u64>,
}

impl Model {
    /// Takes the next answers.
    pub(super) fn take(&mut self, answers: Answers) {
        let p99 = answers.status.pointer("/stage_ns/rx_tx/p99");
        self.p99_us
            .push_back(p99.and_then(Value::as_u64).unwrap_or(0) / 1_000);
        if self.p99_us.len() > HISTORY {
            self.p99_us.pop_front();
        }
        let now = std::mem::replace(&mut self.now, answers);
        self.before = (!now.status.is_null()).then_some(now);
    }

    fn number(&self, at: &str) -> u64 {
        self.now
            .status
            .pointer(at)
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }

    /// How fast a count rises, a second; none at the first look.
    fn rate(&self, at: &str) -> String {
        let Some(before) = &self.before else {
            return "-".into();
        };
        let old = before
            .status
            .pointer(at)
            .and_then(Value::as_u64)
            .unwrap_or(0);
        let seconds = (self.now.at - before.at).max(0.001);
        // A box that was started anew counts from zero.
        let rise = self.number(at).saturating_sub(old);
        format!("{:.0}/s", rise as f64 / seconds)
    }

    /// All parts, in the order of the screen.
    pub(super) fn parts(&self) -> Vec<Part> {
        vec![
            self.overview(),
            self.latency(),
            self.rates(),
            self.lanes(),
            self.rejects(),
            self.settlement(),
            self.instruments(),
        ]
    }

    fn overview(&self) -> Part {
        let s = &self.now.status;
        let word = |at: &str| {
            s.pointer(at)
                .and_then(Value::as_str)
                .unwrap_or("-")
                .to_owned()
        };
        let checks = self.now.health["checks"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let bad = checks.iter().filter(|c| c["ok"] == false);
        let bad: Vec<String> = bad
            .map(|c| format!("NOT READY {}: {}", text(&c["check"]), text(&c["is"])))
            .collect();
        let mut lines = vec![
            format!(
                "{}  sessions {}  memory {} MiB  durability {}",
                word("/state"),
                self.number("/sessions"),
                self.number("/memory_resident_bytes") >> 20,
                word("/journal/durability"),
            ),
            format!(
                "record {}  on disk {} ({} behind)",
                self.number("/engine_seq"),
                self.number("/durable_seq"),
                self.number("/engine_seq")
                    .saturating_sub(self.number("/durable_seq")),
            ),
        ];
        if s["replication"].is_object() {
            lines.push(format!(
                "replication {} epoch {} leader {} in sync {}",
                word("/replication/role"),
                self.number("/replication/epoch"),
                word("/replication/leader"),
                s["replication"]["in_sync"].as_array().map_or(0, Vec::len),
            ));
        }
        if bad.is_empty() {
            lines.push("ready".into());
        }
        lines.extend(bad);
        part("box", lines)
    }

    fn latency(&self) -> Part {
        let stages = [
            "rx_gate",
            "gate_sequenced",
            "sequenced_matched",
            "matched_durable",
            "durable_tx",
            "rx_tx",
        ];
        let us = |stage: &str, p: &str| {
            let ns = self.number(&format!("/stage_ns/{stage}/{p}"));
            format!("{:>10.1}", ns as f64 / 1e3)
        };
        let head = format!(
            "{:<18}{:>10}{:>10}{:>10}{:>10}",
            "us", "p50", "p99", "p99.9", "max"
        );
        let rows = stages.map(|s| {
            format!(
                "{s:<18}{}{}{}{}",
                us(s, "p50"),
                us(s, "p99"),
                us(s, "p999"),
                us(s, "max")
            )
        });
        part("latency by stage", [vec![head], rows.to_vec()].concat())
    }

    fn rates(&self) -> Part {
        let rows = [
            ("requests", "/requests"),
            ("acks", "/acks"),
            ("fills", "/fills"),
            ("datagrams in", "/datagrams/rx_datagrams"),
            ("datagrams out", "/datagrams/tx_datagrams"),
            ("journal bytes", "/journal/bytes"),
            ("group commits", "/journal/commits"),
        ];
        let rows = rows
            .map(|(name, at)| format!("{name:<15}{:>12}{:>14}", self.rate(at), self.number(at)));
        part("rates", rows.to_vec())
    }

    fn lanes(&self) -> Part {
        let lanes = self.now.status["lanes"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let rows = lanes.iter().map(|(name, lane)| {
            let of = |key: &str| lane[key].as_u64().unwrap_or(0);
            let full = 10 * of("used") / of("depth").max(1);
            let bar = "#".repeat(full as usize);
            format!(
                "{name:<10}[{bar:<10}] {:>6} of {:<6} most {:<6} refused {} stalled {}",
                of("used"),
                of("depth"),
                of("high_water"),
                of("refusals"),
                of("stalls")
            )
        });
        part("lanes", rows.collect())
    }

    fn rejects(&self) -> Part {
        let rejects = self.now.status["rejects"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let mut rows: Vec<(u64, String)> = rejects
            .iter()
            .map(|(name, n)| (n.as_u64().unwrap_or(0), name.clone()))
            .collect();
        rows.sort_by(|a, b| b.cmp(a));
        let mut lines: Vec<_> = rows
            .iter()
            .map(|(n, name)| format!("{name:<24}{n:>10}"))
            .collect();
        if lines.is_empty() {
            lines.push("none".into());
        }
        part("rejects by reason", lines)
    }

    fn settlement(&self) -> Part {
        let sealed = self.number("/batches_sealed");
        let proven = self.number("/proofs/proven_batches");
        let mut lines = vec![
            format!(
                "risk epoch {}  settlements {}  live orders {}",
                self.number("/risk_epoch"),
                self.number("/settlements"),
                self.number("/live_orders")
            ),
            format!(
                "deposits {}  withdrawals {}",
                self.number("/deposits"),
                self.number("/withdrawals")
            ),
        ];
        lines.push(if self.now.status["proofs"].is_object() {
            format!(
                "batches sealed {sealed}  proven {proven} ({} behind)  on L1 {}  L1 block {}",
                sealed.saturating_sub(proven),
                self.number("/proofs/committed_batches"),
                self.number("/proofs/l1_block")
            )
        } else {
            format!("batches sealed {sealed}  no prover has spoken")
        });
        let oracle = &self.now.status["oracle"];
        let is = match (oracle["is_overridden"] == true, oracle["error"].as_str()) {
            (true, _) => "the prices are the operator's".to_owned(),
            (false, Some(why)) => why.to_owned(),
            (false, None) => "the oracles agree".to_owned(),
        };
        lines.push(format!("oracle: {is}"));
        part("settlement and proofs", lines)
    }

    fn instruments(&self) -> Part {
        let rows = self.now.instruments.as_array().cloned().unwrap_or_default();
        let price = |row: &Value, key: &str| {
            let ticks = row[key].as_i64();
            let tick = row["tick_micro"].as_i64().unwrap_or(0);
            ticks.map_or("-".into(), |t| format!("{:.2}", (t * tick) as f64 / 1e6))
        };
        let head = format!(
            "{:<4}{:<18}{:<12}{:>14}{:>14}",
            "id", "symbol", "state", "bid", "ask"
        );
        let rows = rows.iter().map(|r| {
            format!(
                "{:<4}{:<18}{:<12}{:>14}{:>14}",
                text(&r["instrument"]),
                text(&r["symbol"]),
                text(&r["state"]),
                price(r, "bid_ticks"),
                price(r, "ask_ticks")
            )
        });
        part("instruments", std::iter::once(head).chain(rows).collect())
    }

    /// All of it as plain text.
    pub(super) fn text(&self) -> String {
        let parts = self.parts().into_iter().map(|p| {
            let lines: Vec<_> = p
                .lines
                .iter()
                .map(|l| format!("  {}\n", l.trim_end()))
                .collect();
            format!("{}\n{}", p.title, lines.concat())
        });
        parts.collect::<Vec<_>>().join("\n")
    }
}

const fn part(title: &'static str, lines: Vec<String>) -> Part {
    Part { title, lines }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
