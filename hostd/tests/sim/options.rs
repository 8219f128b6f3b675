//! What a seed stands for. Each run has some kinds of fault and not others, so that one does not hide another.

use firmware::units::TimeNs;
use hostd::nic::sim::{Faults, Rng};
use hostd::tiles::engine::HighWater;
use hostd::tiles::topology::TopologyName;
use hostd::tiles::wiring::HIGH_WATER;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const START: TimeNs = TimeNs(1_800_000_000_000_000_000);

/// A run, as it is printed when it fails.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Milliseconds with faults.
    pub(crate) steps: u64,
    /// Of order ports, both ways.
    pub(crate) orders: Faults,
    /// Of the feed.
    pub(crate) feed: Faults,
    /// NICs have no slot in so many of a hundred sends.
    pub(crate) tx_full: u64,
    /// Percent of steps in which a tile runs.
    pub(crate) journal_percent: u64,
    pub(crate) spool_percent: u64,
    pub(crate) seal_percent: u64,
    pub(crate) feed_percent: u64,
    pub(crate) control_percent: u64,
    /// A write takes up to this, ns.
    pub(crate) disk_delay_ns: u64,
    pub(crate) segment_kib: u64,
    /// One step in so many brings this; zero: none does.
    pub(crate) crash_in: u64,
    pub(crate) disk_error_in: u64,
    pub(crate) disk_full_in: u64,
    pub(crate) operator_in: u64,
    pub(crate) oracle_gap_in: u64,
    pub(crate) l1_outage_in: u64,
    pub(crate) line_cut_in: u64,
    pub(crate) program_in: u64,
    /// Requests of a member: so many percent of steps.
    pub(crate) request_percent: u64,
    /// Both order ports are used.
    pub(crate) both_ports: bool,
    /// There is a standby, and reports wait for it.
    pub(crate) has_standby: bool,
    /// The line to the standby is lost once in so many steps.
    pub(crate) standby_line_in: u64,
    /// Percent of crashes after which the standby takes over.
    pub(crate) failover_percent: u64,
    /// Gateway and engine on one tile, or on two.
    pub(crate) topology: TopologyName,
    /// From where on the box counts as overloaded.
    pub(crate) high_water: HighWater,
}

impl Options {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng(seed ^ 0x0b0c_5eed);
        let faults = |rng: &mut Rng| {
            let is_bad = rng.percent(60);
            let up_to = |rng: &mut Rng, n| if is_bad { rng.below(n) } else { 0 };
            Faults {
                loss: up_to(rng, 15),
                repeat: up_to(rng, 15),
                corrupt: up_to(rng, 4),
                delay_max_ns: up_to(rng, 8) * MS,
                ..Faults::NONE
            }
        };
        let (orders, mut feed) = (faults(&mut rng), faults(&mut rng));
        // Nothing but UDP's checksum protects the feed, and it does.
        feed.corrupt = 0;
        let mut often = |percent, from, more| {
            let has = rng.percent(percent);
            let n = from + rng.below(more);
            if has { n } else { 0 }
        };
        let (crash_in, disk_error_in, disk_full_in) = (
            often(60, 150, 600),
            often(30, 400, 800),
            often(20, 300, 600),
        );
        let (operator_in, oracle_gap_in, l1_outage_in) =
            (often(60, 40, 200), often(30, 300, 400), often(40, 200, 400));
        let (line_cut_in, program_in) = (often(40, 150, 300), often(60, 60, 300));
        let runs = |rng: &mut Rng| {
            if rng.percent(50) {
                100
            } else {
                15 + rng.below(85)
            }
        };
        Self {
            steps: 800 + rng.below(700),
            orders,
            feed,
            tx_full: if rng.percent(30) { rng.below(8) } else { 0 },
            journal_percent: runs(&mut rng),
            spool_percent: runs(&mut rng),
            seal_percent: runs(&mut rng),
            feed_percent: runs(&mut rng),
            control_percent: runs(&mut rng),
            disk_delay_ns: [0, 1, 3, 12][rng.below(4) as usize] * MS,
            segment_kib: [96, 160, 1_024][rng.below(3) as usize],
            crash_in,
            disk_error_in,
            disk_full_in,
            operator_in,
            oracle_gap_in,
            l1_outage_in,
            line_cut_in,
            program_in,
            request_percent: 20 + rng.below(80),
            both_ports: rng.percent(40),
            topology: [TopologyName::Shared, TopologyName::Pinned][rng.below(2) as usize],
            high_water: if rng.percent(30) {
                HighWater {
                    journal: 4 + rng.below(40) as usize,
                    arrivals: 100 + rng.below(1_000) as usize,
                }
            } else {
                HIGH_WATER
            },
            has_standby: seed.is_multiple_of(3),
            standby_line_in: 20 + rng.below(200),
            failover_percent: rng.below(100),
        }
    }
}
