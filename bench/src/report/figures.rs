//! The figures of a run, as `--json` writes them and as the page shows them. Durations are in ns where the
//! name says so, money in micro-units of the settlement asset.

use crate::flow::reconcile::Reconciliation;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Percentiles of a duration, ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: u64,
    #[serde(default)]
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    #[serde(default)]
    pub(crate) p999: u64,
    #[serde(default)]
    pub(crate) p9999: u64,
    #[serde(default)]
    pub(crate) max: u64,
    #[serde(default)]
    pub(crate) count: u64,
}

/// A histogram of durations: 1 ns to 100 s, three significant digits; what is longer counts as the longest.
#[derive(Clone, Debug)]
pub(crate) struct Durations(Histogram<u64>);

const LONGEST_NS: u64 = 100_000_000_000;

impl Default for Durations {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds that hold"))
    }
}

impl Durations {
    /// Adds one.
    pub(crate) fn add(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }
    /// The usual percentiles.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |p| {
            if self.0.is_empty() {
                0
            } else {
                self.0.value_at_quantile(p)
            }
        };
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: at(1.0),
            count: self.0.len(),
        }
    }
    /// As (value, count) pairs, for a file.
    pub(crate) fn pairs(&self) -> Vec<(u64, u64)> {
        self.0
            .iter_recorded()
            .map(|v| (v.value_iterated_to(), v.count_at_value()))
            .collect()
    }
    /// Adds the pairs of another one.
    pub(crate) fn add_pairs(&mut self, pairs: &[(u64, u64)]) {
        for &(value, count) in pairs {
            self.0.saturating_record_n(value.max(1), count);
        }
    }
    /// Adds all of another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        let added = self.0.add(&other.0);
        assert!(added.is_ok(), "all have the same bounds");
    }
    /// The curve of an HDR plot: (percentile, ns), to the last percentile that the count supports.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let n = self.0.len() as f64;
        if n < 2.0 {
            return Vec::new();
        }
        let last = (1.0 - 1.0 / n).min(0.999_99);
        let nines = -(1.0 - last).log10();
        let point = |k: u32| {
            let q = 1.0 - 10f64.powf(-nines * f64::from(k) / 160.0);
            (q * 100.0, self.0.value_at_quantile(q) as f64)
        };
        (0..=160).map(point).collect()
    }
}

/// The curves that the venue's status holds: pairs of percentile and ns.
pub(crate) fn stage_curves(stages: &serde_json::Value) -> Vec<(String, Vec<(f64, f64)>)> {
    let points =
        |v: &serde_json::Value| serde_json::from_value(v["curve"].clone()).unwrap_or_default();
    let all = stages.as_object().into_iter().flatten();
    all.map(|(key, v)| (key.clone(), points(v))).collect()
}

/// One batch from its seal to L1; times in ns since the Unix epoch, zero where it did not happen.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) batch_no: u64,
    pub(crate) sealed_ns: u64,
    pub(crate) proving_ns: u64,
    pub(crate) proven_ns: u64,
    pub(crate) committed_ns: u64,
    pub(crate) prove_ms: u64,
    pub(crate) gas: u64,
    pub(crate) fill_rows: u64,
    pub(crate) accounts: u64,
    /// Why it was closed, in a word.
    pub(crate) reason: String,
    /// Transaction that carries it.
    pub(crate) tx: String,
}

/// One delta settlement.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Settlement {
    pub(crate) settlement_no: u64,
    pub(crate) time_ns: u64,
    /// Sum of the positive transfers.
    pub(crate) transferred_micro: i64,
    /// Sum of the absolute delta legs.
    pub(crate) delta_leg_micro: i64,
    /// Sum of the absolute residuals.
    pub(crate) residual_micro: i64,
    pub(crate) index_before_micro: i64,
    pub(crate) index_after_micro: i64,
    /// "threshold" or "interval".
    pub(crate) trigger: String,
}

/// The end check: each line is a promise of the system.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Checks {
    /// The state root on L1 is the engine's.
    pub(crate) state_root_match: bool,
    /// Collateral in the contract = claims + pending withdrawals + deposits not yet consumed.
    pub(crate) conservation_ok: bool,
    pub(crate) contracts_sum_zero: bool,
    /// Replaying the journal gives the state that the venue ended with.
    pub(crate) replay_hash_match: bool,
    /// Every acknowledged request is in the journal, at the record that the report named.
    pub(crate) acks_in_journal: bool,
    pub(crate) acks_checked: u64,
    /// Sealed batches and batches on L1 are as many.
    pub(crate) all_batches_on_l1: bool,
    /// The withdrawal arrived on L1.
    pub(crate) withdrawal_claimed: bool,
}

/// All figures.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) title: String,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) accounts: u64,
    /// New orders sent.
    pub(crate) orders: u64,
    /// All requests sent.
    pub(crate) requests: u64,
    pub(crate) requests_by_kind: BTreeMap<String, u64>,
    /// Requests answered with anything but a reject.
    pub(crate) acks: u64,
    /// Trades: each counted once, at its taker.
    pub(crate) fills: u64,
    pub(crate) rejects: u64,
    pub(crate) rejects_by_code: BTreeMap<String, u64>,
    /// Requests without any answer at the end.
    pub(crate) unanswered: u64,
    pub(crate) settlements: u64,
    pub(crate) deposits: u64,
    pub(crate) batches_sealed: u64,
    pub(crate) batches_proven: u64,
    pub(crate) batches_committed: u64,
    /// Mean over the batches.
    pub(crate) l1_gas_per_batch: u64,
    /// Mean over the batches, proof and local check.
    pub(crate) prove_ms: u64,
    pub(crate) prove_ms_max: u64,
    /// From the seal to the commitment on L1.
    pub(crate) seal_to_l1_ms: u64,
    pub(crate) seal_to_l1_ms_max: u64,
    /// From the send to the first report on it, at the client.
    pub(crate) rtt_ns: Percentiles,
    /// From the planned send on, so that the client's own delay counts too.
    pub(crate) rtt_from_plan_ns: Percentiles,
    /// Inside the venue, from its own clock.
    pub(crate) stage_ns: BTreeMap<String, Percentiles>,
    /// The round trip in three parts, from the times in the reports.
    pub(crate) client_ns: BTreeMap<String, Percentiles>,
    pub(crate) journal_records: u64,
    pub(crate) journal_bytes: u64,
    pub(crate) journal_commits: u64,
    /// Write and fsync of one group, as the venue's journal tile sees it.
    pub(crate) journal_commit_ns: Percentiles,
    pub(crate) feed_messages: u64,
    pub(crate) feed_gaps: u64,
    pub(crate) withdrawn_micro: u64,
    #[serde(flatten)]
    pub(crate) checks: Checks,
    /// Messages of a recorded flow that were not replayed, by kind.
    pub(crate) unmapped: BTreeMap<String, u64>,
    /// The replay of a LOBSTER file beside the market that it recorded.
    pub(crate) reconciliation: Option<Reconciliation>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) settlement_list: Vec<Settlement>,
    /// What the run ran on.
    pub(crate) machine: BTreeMap<String, String>,
    /// Says that the proving key is no secret to anyone.
    pub(crate) proving_key: String,
}

/// A moment of the run, for the curves over time; rates are those since the moment before.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Moment {
    /// Seconds since trading began.
    pub(crate) at_s: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) fills_per_s: f64,
    pub(crate) rtt_p50_ns: f64,
    pub(crate) rtt_p99_ns: f64,
}

/// Everything that the page shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) figures: Figures,
    /// When trading began, ns since the Unix epoch.
    pub(crate) start_ns: u64,
    pub(crate) moments: Vec<Moment>,
    /// (seconds since trading began, index in units).
    pub(crate) index: Vec<(f64, f64)>,
    /// Full curves: (name, points).
    pub(crate) client_curves: Vec<(String, Vec<(f64, f64)>)>,
    /// The venue's stages, as far as it tells: (key, points).
    pub(crate) stage_curves: Vec<(String, Vec<(f64, f64)>)>,
    /// Instruments and parameters, as (name, value).
    pub(crate) settings: Vec<(String, String)>,
    /// One account through a fall of prices.
    pub(crate) crash: crate::demo::crash::Crash,
}

impl Figures {
    /// Fills in what follows from the batches.
    pub(crate) fn sum_up_batches(&mut self) {
        let mean = |values: &[u64]| match values.len() as u64 {
            0 => 0,
            n => values.iter().sum::<u64>() / n,
        };
        let of = |pick: fn(&Batch) -> Option<u64>| -> Vec<u64> {
            self.batches.iter().filter_map(pick).collect()
        };
        let gas = of(|b| (b.committed_ns > 0).then_some(b.gas));
        let prove = of(|b| (b.prove_ms > 0).then_some(b.prove_ms));
        let to_l1 = of(|b| {
            let done = b.committed_ns > 0 && b.sealed_ns > 0;
            done.then(|| b.committed_ns.saturating_sub(b.sealed_ns) / 1_000_000)
        });
        self.batches_proven = self.batches.iter().filter(|b| b.proven_ns > 0).count() as u64;
        self.batches_committed = gas.len() as u64;
        self.l1_gas_per_batch = mean(&gas);
        self.prove_ms = mean(&prove);
        self.prove_ms_max = prove.iter().copied().max().unwrap_or(0);
        self.seal_to_l1_ms = mean(&to_l1);
        self.seal_to_l1_ms_max = to_l1.iter().copied().max().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_every_figure_that_is_promised_at_its_name() {
        let mut figures = Figures::default();
        figures.rejects_by_code.insert("WouldTake".into(), 3);
        figures
            .stage_ns
            .insert("rx_gate".into(), Percentiles::default());
        let json = serde_json::to_value(&figures).expect("plain data");
        for name in [
            "orders",
            "acks",
            "fills",
            "rejects",
            "settlements",
            "batches_proven",
            "batches_committed",
            "l1_gas_per_batch",
            "rtt_ns",
            "stage_ns",
            "prove_ms",
            "state_root_match",
            "conservation_ok",
            "replay_hash_match",
            "unmapped",
        ] {
            assert!(!json[name].is_null(), "{name}");
        }
        for name in ["p50", "p99", "p999"] {
            assert!(json["rtt_ns"][name].is_u64() && json["stage_ns"]["rx_gate"][name].is_u64());
        }
    }

    #[test]
    fn a_histogram_survives_its_pairs_and_gives_a_rising_curve() {
        let mut a = Durations::default();
        (1..=1_000u64).for_each(|k| a.add(k * 1_000));
        let mut b = Durations::default();
        b.add_pairs(&a.pairs());
        assert_eq!(a.percentiles(), b.percentiles());
        let p = b.percentiles();
        assert!(
            p.p50.abs_diff(500_000) < 2_000 && p.p99.abs_diff(990_000) < 2_000 && p.count == 1_000,
            "{p:?}"
        );
        let curve = b.curve();
        assert!(curve.is_sorted() && curve.is_sorted_by(|x, y| x.1 <= y.1));
        assert!(
            (curve[160].0 - 99.9).abs() < 1e-9,
            "a thousand values reach 99.9 %"
        );
        assert_eq!(Durations::default().percentiles(), Percentiles::default());
        let mut both = Durations::default();
        (1_001..=2_000u64).for_each(|k| both.add(k * 1_000));
        both.merge(&a);
        let p = both.percentiles();
        assert!(
            p.p50.abs_diff(1_000_000) < 2_000 && p.p99.abs_diff(1_980_000) < 4_000,
            "{p:?}"
        );
        assert_eq!((p.count, a.percentiles().count), (2_000, 1_000));
    }

    #[test]
    fn batches_are_summed_up_over_those_that_reached_each_stage() {
        let done = Batch {
            batch_no: 1,
            sealed_ns: 1_000_000_000,
            proven_ns: 3_000_000_000,
            committed_ns: 4_000_000_000,
            prove_ms: 2_000,
            gas: 300_000,
            ..Batch::default()
        };
        let open = Batch {
            batch_no: 2,
            sealed_ns: 5_000_000_000,
            ..Batch::default()
        };
        let mut f = Figures {
            batches: vec![done, open],
            ..Figures::default()
        };
        f.sum_up_batches();
        assert_eq!(
            (f.batches_proven, f.batches_committed, f.l1_gas_per_batch),
            (1, 1, 300_000)
        );
        assert_eq!(
            (f.prove_ms, f.seal_to_l1_ms, f.seal_to_l1_ms_max),
            (2_000, 3_000, 3_000)
        );
    }
}
