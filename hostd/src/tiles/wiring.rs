//! Makes all lanes of the machine, in the depths of [`topology`](crate::tiles::topology), and sorts their ends by who holds
//! them.

use crate::feed::FeedPacket;
use crate::tiles::control::ControlLanes;
use crate::tiles::engine::{EngineLanes, HighWater};
use crate::tiles::gateway::{GatewayLanes, SpoolLink};
use crate::tiles::lanes::{SpoolAnswer, ToJournal, ToSpool, Told, arrivals};
use crate::tiles::meters::{LaneMeter, LaneReader};
use crate::tiles::outlet::TellLane;
use crate::tiles::topology::{TopologyName, depth, high_water};
use lane::{Consumer, Gauges, Parker, Producer, Waker, Watermark, bounded};
use std::io;

/// From which marks on new risk is refused.
pub const HIGH_WATER: HighWater = HighWater {
    journal: high_water::JOURNAL,
    arrivals: high_water::ARRIVALS,
};

/// All lanes.
pub struct Wiring {
    /// Of the gateway.
    pub gateway: GatewayLanes,
    /// Of the engine.
    pub engine: EngineLanes,
    /// The gateway's lanes to and from the spool.
    pub spool_link: SpoolLink,
    /// The gateway's lane to the feed tile.
    pub packets: (Producer<FeedPacket>, LaneMeter),
    /// Where gateway and engine sleep, and what is between them.
    pub hot: HotWiring,
    /// Of the journal tile.
    pub journal: JournalEnds,
    /// Of the spool tile.
    pub spool: SpoolEnds,
    /// Of the feed tile.
    pub feed: Consumer<FeedPacket>,
    /// Of the control tile.
    pub control: ControlLanes,
    /// What the metered lanes show.
    pub lanes: Vec<(&'static str, LaneReader)>,
}

/// Where gateway and engine sleep, and what is between them.
pub enum HotWiring {
    /// They are one tile, with the journal.
    Shared(Parker),
    /// They are two, and the journal is a third.
    Pinned {
        /// Where the journal sleeps.
        journal: Parker,
        /// Where the gateway sleeps.
        gateway: Parker,
        /// Where the engine sleeps.
        engine: Parker,
        /// The engine's end of what is told.
        tell: TellLane,
        /// The gateway's.
        told: Consumer<Told>,
    },
}

/// Ends that journal and seal hold.
pub struct JournalEnds {
    /// Records.
    pub lane: Consumer<ToJournal>,
    /// Wakes who waits for durability, where that is another tile.
    pub hot: Option<Waker>,
    /// What is durable.
    pub durable: Watermark,
    /// Whether space for segments runs short.
    pub space: Gauges<1>,
    /// Buffers of written batches.
    pub spares: Producer<Vec<u8>>,
}

/// Ends that the spool tile holds.
pub struct SpoolEnds {
    /// Reports, and reads.
    pub lane: Consumer<ToSpool>,
    /// Answers to reads.
    pub answers: Producer<SpoolAnswer>,
    /// Where the tile sleeps.
    pub parker: Parker,
    /// Wakes the gateway.
    pub hot: Waker,
}

impl Wiring {
    /// All lanes of a topology, after a journal that is durable up to record `durable`.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new(topology: TopologyName, durable: u64) -> io::Result<Self> {
        let (logins, gateway_control_in) = bounded(depth::LOGINS);
        let (gateway_control_out, asks) = bounded(depth::ASKS);
        let (commands, engine_control_in) = bounded(depth::COMMANDS);
        let (engine_control_out, answers) = bounded(depth::ANSWERS);
        let (arrivals_in, arrivals_out) = arrivals(depth::ARRIVALS);
        let (times_in, times) = bounded(depth::TIMES);
        let (samples_in, samples) = bounded(depth::SAMPLES);
        let (gateway_show, gateway_snapshots) = bounded(depth::SNAPSHOTS);
        let (engine_show, engine_snapshots) = bounded(depth::SNAPSHOTS);
        let (journal_in, journal) = bounded(depth::JOURNAL);
        let (spares_in, spares) = bounded(depth::SPARES);
        let (reports_in, reports) = bounded(depth::REPORTS);
        let (spooled_in, spooled) = bounded(depth::SPOOLED);
        let (packets_in, packets) = bounded(depth::PACKETS);
        let mut lanes = Vec::new();
        let mut meter = |name, depth| {
            let meter = LaneMeter::new(depth);
            lanes.push((name, meter.reader()));
            meter
        };
        let gateway_parker = Parker::new()?;
        let gateway = gateway_parker.waker();
        let (hot, engine, journal_waker) = match topology {
            TopologyName::Shared => (
                HotWiring::Shared(gateway_parker),
                gateway.clone(),
                gateway.clone(),
            ),
            TopologyName::Pinned => {
                let (parker, journal) = (Parker::new()?, Parker::new()?);
                let (waker, journal_waker) = (parker.waker(), journal.waker());
                let (tell, told) = bounded(depth::TOLD);
                let meter = meter("told", depth::TOLD);
                let hot = HotWiring::Pinned {
                    journal,
                    gateway: gateway_parker,
                    engine: parker,
                    tell: TellLane::new(tell, gateway.clone(), meter),
                    told,
                };
                (hot, waker, journal_waker)
            }
        };
        let (control_parker, spool_parker) = (Parker::new()?, Parker::new()?);
        let control = control_parker.waker();
        let durable = Watermark::new(durable);
        let space = Gauges::new();
        let spool_link = SpoolLink::new(
            reports_in,
            spool_parker.waker(),
            spooled,
            meter("reports", depth::REPORTS),
        );
        Ok(Self {
            gateway: GatewayLanes {
                control_in: gateway_control_in,
                control_out: gateway_control_out,
                control: control.clone(),
                arrivals: arrivals_in,
                arrivals_meter: meter("arrivals", depth::ARRIVALS),
                durable: durable.reader(),
                times,
                samples: samples_in,
                snapshots: gateway_show,
            },
            engine: EngineLanes {
                control_in: engine_control_in,
                control_out: engine_control_out,
                control,
                arrivals: arrivals_out,
                journal: journal_in,
                journal_meter: meter("journal", depth::JOURNAL),
                journal_waker,
                spares,
                durable: durable.reader(),
                space: space.reader(),
                lack: None,
                times: times_in,
                snapshots: engine_show,
            },
            spool_link,
            packets: (packets_in, meter("packets", depth::PACKETS)),
            hot,
            journal: JournalEnds {
                lane: journal,
                hot: (topology == TopologyName::Pinned).then(|| gateway.clone()),
                durable,
                space,
                spares: spares_in,
            },
            spool: SpoolEnds {
                lane: reports,
                answers: spooled_in,
                parker: spool_parker,
                hot: gateway.clone(),
            },
            feed: packets,
            control: ControlLanes {
                to_gateway: logins,
                gateway,
                from_gateway: asks,
                to_engine: commands,
                engine,
                from_engine: answers,
                samples,
                gateway_snapshots,
                engine_snapshots,
                parker: control_parker,
            },
            lanes,
        })
    }
}
