//! What the demo knows so far, put together from the lines of its processes, the admin socket and the feed.

use super::feed::Seen;
use crate::clock::now_ns;
use crate::report::figures::{Batch, Moment, Settlement};
use serde_json::Value;
use std::collections::BTreeMap;

/// One second of one trading process.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Second {
    requests: u64,
    fills: u64,
    p50: u64,
    p99: u64,
    count: u64,
}

/// Running totals of one trading process.
#[derive(Clone, PartialEq, Debug, Default)]
struct Trader {
    requests: u64,
    acks: u64,
    fills: u64,
    rejects: u64,
    /// Round trip since the start.
    p50: u64,
    p99: u64,
    /// By second since the start.
    seconds: BTreeMap<u64, Second>,
}

/// Totals of all traders.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) acks: u64,
    pub(crate) fills: u64,
    pub(crate) rejects: u64,
    pub(crate) requests_per_s: u64,
    pub(crate) fills_per_s: u64,
    /// Worst of the processes.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

/// What the prover is busy with.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Proving {
    pub(crate) batch_no: u64,
    pub(crate) fraction: f64,
    pub(crate) stage: String,
}

/// The state of the run.
#[derive(Default)]
pub(crate) struct Tracker {
    /// Stages that are done, with how they read.
    pub(crate) done: Vec<String>,
    /// The stage at hand.
    pub(crate) stage: String,
    traders: BTreeMap<&'static str, Trader>,
    pub(crate) batches: BTreeMap<u64, Batch>,
    pub(crate) proving: Option<Proving>,
    pub(crate) settlements: BTreeMap<u64, Settlement>,
    /// (time, micro-units).
    pub(crate) index: Vec<(u64, i64)>,
    pub(crate) feed_gaps: u64,
    /// Last answer of `GET /v1/status`.
    pub(crate) status: Value,
    /// The prover has its keys.
    pub(crate) key_ready: bool,
    pub(crate) key_text: String,
    /// Lines of the prover so far: a sign of life.
    pub(crate) prover_lines: u64,
    /// Events of the traders that the run waits for: (process, event line).
    pub(crate) trader_events: Vec<(&'static str, Value)>,
}

/// A whole number at a key, zero if there is none.
pub(crate) fn number(v: &Value, key: &str) -> u64 {
    v[key].as_u64().unwrap_or(0)
}

const REASONS: [&str; 4] = ["full", "timer", "risk table", "operator"];

impl Tracker {
    /// A stage is over; the next begins.
    pub(crate) fn next_stage(&mut self, done: impl Into<String>, stage: impl Into<String>) {
        self.done.push(done.into());
        self.stage = stage.into();
    }

    /// A line of a trading process; what is not JSON is not for us.
    pub(crate) fn trader_line(&mut self, name: &'static str, line: &str) {
        let Ok(v) = serde_json::from_str::<Value>(line) else {
            return;
        };
        if v["event"] != "rate" {
            self.trader_events.push((name, v));
            return;
        }
        let t = self.traders.entry(name).or_default();
        let (requests, fills) = (number(&v, "requests"), number(&v, "fills"));
        let second = Second {
            requests: requests.saturating_sub(t.requests),
            fills: fills.saturating_sub(t.fills),
            p50: number(&v["second"], "p50"),
            p99: number(&v["second"], "p99"),
            count: number(&v["second"], "count"),
        };
        // Lines come at whole seconds, a little late; the last one of a run may close a short second.
        let at = (number(&v, "since_ns") + 500_000_000) / 1_000_000_000;
        t.seconds.insert(at, second);
        (t.requests, t.fills) = (requests, fills);
        (t.acks, t.rejects) = (number(&v, "acks"), number(&v, "rejects"));
        (t.p50, t.p99) = (number(&v["all"], "p50"), number(&v["all"], "p99"));
    }

    /// A line of the prover.
    pub(crate) fn prover_line(&mut self, line: &str) {
        let Ok(v) = serde_json::from_str::<Value>(line) else {
            return;
        };
        self.prover_lines += 1;
        let now = match number(&v, "time_ns") {
            0 => now_ns(),
            t => t,
        };
        let no = number(&v, "batch_no");
        match v["event"].as_str() {
            Some("key") => {
                self.key_ready = true;
                self.key_text = v["text"]
                    .as_str()
                    .or(v["hash"].as_str())
                    .unwrap_or_default()
                    .to_owned();
            }
            Some("key_progress") => {
                let stage = v["stage"].as_str().unwrap_or_default();
                self.stage = format!("proving key: {stage}");
            }
            Some("sealed") => {
                let b = self.batch(no);
                let sealed = number(&v, "sealed_time_ns");
                b.sealed_ns = if sealed > 0 { sealed } else { now };
            }
            Some("proving") => {
                self.batch(no).proving_ns = now;
                self.proving = Some(Proving {
                    batch_no: no,
                    fraction: 0.0,
                    stage: String::new(),
                });
            }
            Some("progress") => {
                let stage = v["stage"].as_str().unwrap_or_default().to_owned();
                self.proving = Some(Proving {
                    batch_no: no,
                    fraction: v["fraction"].as_f64().unwrap_or(0.0),
                    stage,
                });
            }
            Some("proven") => {
                let b = self.batch(no);
                (b.proven_ns, b.prove_ms) = (now, number(&v, "ms").max(1));
                self.proving = None;
            }
            Some("committed") => {
                let b = self.batch(no);
                (b.committed_ns, b.gas) = (now, number(&v, "gas"));
                v["tx"].as_str().unwrap_or_default().clone_into(&mut b.tx);
            }
            _ => {}
        }
    }

    fn batch(&mut self, no: u64) -> &mut Batch {
        self.batches.entry(no).or_insert_with(|| Batch {
            batch_no: no,
            ..Batch::default()
        })
    }

    /// Something on the feed.
    pub(crate) fn feed(&mut self, seen: Seen) {
        match seen {
            Seen::Index(m) => self.index.push((m.engine_time, m.index_micro)),
            Seen::Gaps(n) => self.feed_gaps = n,
            Seen::Sealed(m) => {
                let b = self.batch(m.batch_no);
                (b.fill_rows, b.accounts) = (u64::from(m.fill_rows), u64::from(m.accounts));
                b.reason = REASONS
                    .get(usize::from(m.reason))
                    .copied()
                    .unwrap_or("other")
                    .to_owned();
                b.sealed_ns = m.engine_time;
            }
            Seen::Settlement(m) => {
                let s = Settlement {
                    settlement_no: m.settlement_no,
                    time_ns: m.engine_time,
                    transferred_micro: m.transferred,
                    delta_leg_micro: m.delta_leg,
                    residual_micro: m.residual,
                    index_before_micro: m.index_before_micro,
                    index_after_micro: m.index_after_micro,
                    trigger: if m.trigger == 0 {
                        "threshold"
                    } else {
                        "interval"
                    }
                    .to_owned(),
                };
                self.settlements.insert(m.settlement_no, s);
            }
        }
    }

    /// Takes the first waiting event of this name out, from one process or any.
    pub(crate) fn take_trader_event(&mut self, name: &str, event: &str) -> Option<Value> {
        let at = self
            .trader_events
            .iter()
            .position(|(n, v)| *n == name && v["event"] == event)?;
        Some(self.trader_events.remove(at).1)
    }

    /// Batches sealed so far, as the venue or the feed tells.
    pub(crate) fn sealed(&self) -> u64 {
        number(&self.status, "batches_sealed").max(self.batches.keys().copied().max().unwrap_or(0))
    }

    /// Batches on L1.
    pub(crate) fn committed(&self) -> u64 {
        self.batches.values().filter(|b| b.committed_ns > 0).count() as u64
    }

    /// Totals of all traders so far.
    pub(crate) fn totals(&self) -> Totals {
        let mut t = Totals::default();
        for trader in self.traders.values() {
            t.requests += trader.requests;
            t.acks += trader.acks;
            t.fills += trader.fills;
            t.rejects += trader.rejects;
            t.p50 = t.p50.max(trader.p50);
            t.p99 = t.p99.max(trader.p99);
            if let Some((_, last)) = trader.seconds.last_key_value() {
                t.requests_per_s += last.requests;
                t.fills_per_s += last.fills;
            }
        }
        t
    }

    /// The run second by second, all traders together.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        let mut out: BTreeMap<u64, (Moment, u64)> = BTreeMap::new();
        for (&at, s) in self.traders.values().flat_map(|t| &t.seconds) {
            let (m, most) = out.entry(at).or_insert((
                Moment {
                    at_s: at as f64,
                    ..Moment::default()
                },
                0,
            ));
            m.requests_per_s += s.requests as f64;
            m.fills_per_s += s.fills as f64;
            m.rtt_p99_ns = m.rtt_p99_ns.max(s.p99 as f64);
            // The median of the process with more answers stands for all.
            if s.count > *most {
                (*most, m.rtt_p50_ns) = (s.count, s.p50 as f64);
            }
        }
        out.into_values()
            .map(|(m, _)| m)
            .filter(|m| m.at_s >= 1.0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_followed_from_seal_to_l1() {
        let mut t = Tracker::default();
        for line in [
            r#"{"event":"key","hash":"ab"}"#,
            r#"{"event":"sealed","batch_no":1,"sealed_time_ns":5,"time_ns":6}"#,
            r#"{"event":"proving","batch_no":1,"time_ns":7}"#,
            r#"{"event":"progress","batch_no":1,"fraction":0.5,"stage":"witness"}"#,
        ] {
            t.prover_line(line);
        }
        assert!(t.key_ready);
        assert_eq!(
            t.proving,
            Some(Proving {
                batch_no: 1,
                fraction: 0.5,
                stage: "witness".into()
            })
        );
        t.prover_line(r#"{"event":"proven","batch_no":1,"ms":900,"time_ns":8}"#);
        t.prover_line(r#"{"event":"committed","batch_no":1,"gas":300000,"tx":"0x1","time_ns":9}"#);
        t.prover_line("not json");
        let b = &t.batches[&1];
        assert_eq!(
            (b.sealed_ns, b.proving_ns, b.proven_ns, b.committed_ns),
            (5, 7, 8, 9)
        );
        assert_eq!(
            (b.prove_ms, b.gas, t.committed(), t.sealed()),
            (900, 300_000, 1, 1)
        );
        assert_eq!(t.proving, None);
    }

    #[test]
    fn seconds_of_the_traders_add_up() {
        let mut t = Tracker::default();
        let line = |since: u64, requests: u64, fills: u64, p50: u64, count: u64| {
            format!(
                r#"{{"event":"rate","since_ns":{since},"requests":{requests},"acks":1,"fills":{fills},"rejects":2,"second":{{"p50":{p50},"p99":9,"count":{count}}},"all":{{"p50":3,"p99":4}}}}"#
            )
        };
        t.trader_line("makers", &line(1_003_000_000, 100, 0, 5, 99));
        t.trader_line("takers", &line(1_001_000_000, 10, 3, 7, 10));
        t.trader_line("makers", &line(2_000_100_000, 250, 0, 6, 99));
        t.trader_line("takers", r#"{"event":"ready"}"#);
        let m = t.moments();
        assert_eq!(
            (m.len(), m[0].requests_per_s, m[1].requests_per_s),
            (2, 110.0, 150.0)
        );
        assert_eq!((m[0].fills_per_s, m[0].rtt_p50_ns), (3.0, 5.0));
        assert_eq!((t.totals().requests, t.totals().rejects), (260, 4));
        assert!(
            t.take_trader_event("takers", "ready").is_some()
                && t.take_trader_event("takers", "ready").is_none()
        );
    }
}
