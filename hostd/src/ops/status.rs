//! What the box shows of itself.

use crate::capacity::resident_bytes;
use crate::feed::FeedCounters;
use crate::machine::clock::ClockHealth;
use crate::nic::NicCounters;
use crate::ops::admin::ProofReport;
use crate::tiles::journal_tile::JournalStats;
use crate::tiles::lanes::{EngineSnapshot, GatewaySnapshot, StageTimes, WireCounters};
use crate::tiles::logins::LoginCounters;
use crate::tiles::meters::Shown;
use crate::tiles::oracle_desk::OracleStatus;
use firmware::reject::RejectCode;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// Histograms of the stages of a request, ns.
#[derive(Debug)]
pub struct Stages {
    stages: [(&'static str, Histogram<u64>); 6],
}

impl Stages {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new() -> Self {
        let h = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are sound");
        let names = [
            "rx_gate",
            "gate_sequenced",
            "sequenced_matched",
            "matched_durable",
            "durable_tx",
            "rx_tx",
        ];
        Self {
            stages: names.map(|n| (n, h())),
        }
    }

    /// Adds one request.
    pub fn record(&mut self, t: &StageTimes) {
        let marks = [t.rx, t.gated, t.sequenced, t.matched, t.durable, t.tx];
        for (i, pair) in marks.windows(2).enumerate() {
            self.stages[i]
                .1
                .saturating_record(pair[1].saturating_sub(pair[0]).max(1));
        }
        self.stages[5]
            .1
            .saturating_record(t.tx.saturating_sub(t.rx).max(1));
    }
}

impl Default for Stages {
    fn default() -> Self {
        Self::new()
    }
}

/// Percentiles of one stage.
#[derive(Clone, Debug, Serialize)]
pub struct Percentiles {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
    count: u64,
    /// `[percentile, value]` for a plot.
    curve: Vec<(f64, u64)>,
    /// Requests within each bound of [`STAGE_BOUNDS_NS`].
    #[serde(skip)]
    within: [u64; STAGE_BOUNDS_NS.len()],
    #[serde(skip)]
    sum_ns: f64,
}

/// Bounds of the histograms that are exported, ns.
pub const STAGE_BOUNDS_NS: [u64; 16] = [
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
];

impl Percentiles {
    /// Requests within each bound of [`STAGE_BOUNDS_NS`].
    #[must_use]
    pub const fn counts(&self) -> &[u64] {
        &self.within
    }

    /// Requests.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Sum of all times.
    #[must_use]
    pub const fn sum_ns(&self) -> f64 {
        self.sum_ns
    }

    fn of(h: &Histogram<u64>) -> Self {
        let curve = [
            0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0,
        ];
        Self {
            p50: h.value_at_quantile(0.5),
            p90: h.value_at_quantile(0.9),
            p99: h.value_at_quantile(0.99),
            p999: h.value_at_quantile(0.999),
            max: h.max(),
            count: h.len(),
            curve: curve.map(|p| (p, h.value_at_percentile(p))).to_vec(),
            within: STAGE_BOUNDS_NS.map(|bound| h.count_between(0, bound)),
            sum_ns: h.mean() * h.len() as f64,
        }
    }
}

/// The journal's part.
#[derive(Clone, Debug, Serialize)]
pub struct JournalStatus {
    durability: &'static str,
    bytes: u64,
    commits: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    segments_ahead: u32,
}

/// The NIC's part.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NicStatus {
    /// Who stamps the time of arrival: `card`, `kernel` (or the backend), or `both`, some by either.
    rx_times: &'static str,
    #[serde(flatten)]
    counters: NicCounters,
}

impl NicStatus {
    fn of(counters: NicCounters) -> Self {
        let rx_times = match counters.rx_hardware_times {
            0 => "kernel",
            n if n == counters.rx => "card",
            _ => "both",
        };
        Self { rx_times, counters }
    }
}

/// What the control tile counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlCounts {
    /// Logins.
    pub logins: LoginCounters,
    /// Control datagrams that are none.
    pub bad_control: u64,
    /// What the prover told last.
    pub proofs: Option<ProofReport>,
}

/// What gateway, engine, tiles and lanes showed of themselves last.
pub struct HotStatus<'a> {
    /// The engine.
    pub engine: Option<&'a EngineSnapshot>,
    /// The gateway.
    pub gateway: Option<&'a GatewaySnapshot>,
    /// Tiles and lanes.
    pub machine: Shown,
}

/// Answer of `GET /v1/status`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    state: &'static str,
    engine_seq: u64,
    durable_seq: u64,
    sessions: u32,
    requests: u64,
    acks: u64,
    fills: u64,
    fill_rows: u64,
    rejects: BTreeMap<&'static str, u64>,
    settlements: u64,
    batches_sealed: u64,
    deposits: u64,
    withdrawals: u64,
    deposits_next_queue_index: u64,
    live_orders: u64,
    risk_epoch: u64,
    memory_resident_bytes: u64,
    datagrams: WireCounters,
    nic: NicStatus,
    #[serde(flatten)]
    machine: Shown,
    logins: LoginCounters,
    feed: FeedCounters,
    bad_control: u64,
    /// What the prover told last.
    proofs: Option<ProofReport>,
    oracle: OracleStatus,
    clock: ClockHealth,
    stage_ns: BTreeMap<&'static str, Percentiles>,
    journal: JournalStatus,
}

impl Status {
    /// Times of the stages of a request.
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, &Percentiles)> {
        self.stage_ns.iter().map(|(name, p)| (*name, p))
    }

    /// Last record that is on disk.
    #[must_use]
    pub const fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Puts the pieces together.
    #[must_use]
    pub fn new(
        hot: HotStatus<'_>,
        stages: &Stages,
        journal: &JournalStats,
        feed: FeedCounters,
        durability: &'static str,
        oracle: OracleStatus,
        control: ControlCounts,
    ) -> Self {
        let HotStatus {
            engine: s,
            gateway,
            machine,
        } = hot;
        let named = |(code, n): (usize, &u64)| {
            let code = RejectCode::from_wire(code as u16)?;
            (*n > 0).then_some((code.name(), *n))
        };
        let is_open = s.is_some_and(|s| s.risk_epoch > 0);
        let engine = s.map(|s| s.engine).unwrap_or_default();
        let wires = [s.map(|s| s.wire), gateway.map(|g| g.wire)].map(Option::unwrap_or_default);
        let wire = wires[0].plus(&wires[1]);
        Self {
            state: if is_open {
                "open"
            } else {
                "waiting for the oracle"
            },
            engine_seq: s.map_or(0, |s| s.engine_seq),
            durable_seq: s.map_or(0, |s| s.durable_seq),
            sessions: gateway.map_or(0, |g| g.sessions),
            requests: engine.requests,
            acks: engine.acks,
            fills: engine.fills,
            fill_rows: engine.fill_rows,
            rejects: s
                .map(|s| s.rejects.iter().enumerate().filter_map(named).collect())
                .unwrap_or_default(),
            settlements: engine.settlements,
            batches_sealed: s.map_or(0, |s| s.batches_sealed),
            deposits: engine.deposits,
            withdrawals: engine.withdrawals,
            deposits_next_queue_index: s.map_or(0, |s| s.next_deposit),
            live_orders: s.map_or(0, |s| s.live_orders),
            risk_epoch: s.map_or(0, |s| s.risk_epoch),
            memory_resident_bytes: resident_bytes(),
            datagrams: wire,
            nic: NicStatus::of(gateway.map(|g| g.nic).unwrap_or_default()),
            machine,
            logins: control.logins,
            feed,
            bad_control: control.bad_control,
            proofs: control.proofs,
            oracle,
            clock: s.map(|s| s.clock).unwrap_or_default(),
            stage_ns: stages
                .stages
                .iter()
                .map(|(name, h)| (*name, Percentiles::of(h)))
                .collect(),
            journal: JournalStatus {
                durability,
                bytes: journal.bytes,
                commits: journal.commits,
                p50_us: journal.commit_us.value_at_quantile(0.5),
                p99_us: journal.commit_us.value_at_quantile(0.99),
                max_us: journal.commit_us.max(),
                segments_ahead: journal.segments_ahead,
            },
        }
    }
}
