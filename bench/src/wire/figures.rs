//! The figures of a run, as `--json` writes them. Durations are in ns, rates in requests a second.

use super::tally::Tally;
use crate::report::figures::Percentiles;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Box over echo.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Ratio {
    pub(crate) fn of(the_box: &Percentiles, echo: &Percentiles) -> Self {
        let ratio = |b: u64, e: u64| if e == 0 { 0.0 } else { b as f64 / e as f64 };
        Self {
            p50: ratio(the_box.p50, echo.p50),
            p99: ratio(the_box.p99, echo.p99),
            p999: ratio(the_box.p999, echo.p999),
        }
    }
}

/// Echo and box at one rate, in slices that took turns.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Planned.
    pub(crate) rate: u64,
    /// From the planned send to the answer.
    pub(crate) echo_rtt_ns: Percentiles,
    pub(crate) box_rtt_ns: Percentiles,
    pub(crate) ratio: Ratio,
    /// From the planned send to the real one, of both: what the client was late.
    pub(crate) client_late_ns: Percentiles,
    pub(crate) echo_lost: u64,
    pub(crate) box_lost: u64,
    /// Requests that the box refused, by code.
    pub(crate) refused: BTreeMap<String, u64>,
}

impl Point {
    pub(crate) fn of(rate: u64, echo: &Tally, the_box: &Tally) -> Self {
        let mut late = echo.late.clone();
        late.merge(&the_box.late);
        let (e, b) = (echo.rtt.percentiles(), the_box.rtt.percentiles());
        let refused = the_box.refused.iter();
        Self {
            rate,
            echo_rtt_ns: e,
            box_rtt_ns: b,
            ratio: Ratio::of(&b, &e),
            client_late_ns: late.percentiles(),
            echo_lost: echo.lost,
            box_lost: the_box.lost,
            refused: refused.map(|(code, n)| ((*code).to_owned(), *n)).collect(),
        }
    }
}

/// The highest rates with nothing lost or refused and a bounded 99th percentile.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sustained {
    pub(crate) echo_per_s: u64,
    pub(crate) box_per_s: u64,
    /// Box over echo.
    pub(crate) ratio: f64,
    /// The bound, ns.
    pub(crate) p99_max_ns: u64,
    /// It was the client that could not send faster: then the figure is a lower bound.
    pub(crate) echo_client_bound: bool,
    pub(crate) box_client_bound: bool,
}

/// One backend, durability and mix.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) backend: String,
    pub(crate) durability: String,
    /// Which requests, by name.
    pub(crate) mix: String,
    /// The headline rate: its figures stand here too.
    #[serde(flatten)]
    pub(crate) headline: Point,
    /// Requests without an answer, of echo and box, at all planned rates together.
    pub(crate) lost: u64,
    pub(crate) request_bytes: usize,
    pub(crate) report_bytes: usize,
    /// All rates, rising.
    pub(crate) rates: Vec<Point>,
    pub(crate) sustained: Option<Sustained>,
    /// Inside the box at the headline rate, by its own clock.
    pub(crate) stage_ns: BTreeMap<String, Percentiles>,
    /// The median wait for the journal over the median time inside the box.
    pub(crate) group_commit_share: Option<f64>,
    /// Write and sync of one group at the journal tile, µs: p50, p99.
    pub(crate) group_commit_us: Option<[u64; 2]>,
}

/// A backend that was asked for and did not run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct NotRun {
    pub(crate) backend: String,
    pub(crate) reason: String,
}

/// All figures.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// `wire`.
    pub(crate) bench: String,
    /// Of all rows together.
    pub(crate) lost: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) not_run: Vec<NotRun>,
    /// Where it ran, and what ran where.
    pub(crate) setting: BTreeMap<String, String>,
    pub(crate) machine: BTreeMap<String, String>,
}

/// What the page shows beside the figures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curves {
    /// As in [`Row`].
    pub(crate) name: String,
    pub(crate) echo: Vec<(f64, f64)>,
    pub(crate) the_box: Vec<(f64, f64)>,
    /// Of each stage: (key, points).
    pub(crate) stages: Vec<(String, Vec<(f64, f64)>)>,
}
