//! The hot tile of topology `shared`: [gateway](crate::tiles::gateway), [engine](crate::tiles::engine) and
//! [journal](crate::tiles::journal_tile) in turn on one thread.
//!
//! One turn: take a burst off the NIC, run each request through to its outcomes, commit their records, let out what has
//! become durable. So the burst is the commit's group, and nobody needs to be woken between a request and its report.
//! Nothing is sent before its record is durable, and while the journal has no room nothing is taken in: packets wait
//! in the socket, nothing is half done. What members sent, and the records, cross lanes within the tile, so that all
//! stages are the same code as on cores of their own; what came of it goes to the gateway by a call.

use crate::machine::clock::Clock;
use crate::nic::{Nic, RxBurst};
use crate::storage::recover::Listing;
use crate::tiles::core::Core;
use crate::tiles::egress::FeedEgress;
use crate::tiles::engine::{EngineLanes, EngineStage, HighWater};
use crate::tiles::gateway::{Flows, GatewayLanes, GatewayStage, SpoolLink};
use crate::tiles::journal_tile::{JournalStage, SEGMENT_WAIT};
use crate::tiles::lanes::{Stopped, WireCounters};
use crate::tiles::outlet::Outlet;
use crate::tiles::tile::{PARK, PARK_MIN, Tile};
use firmware::units::MemberId;
use firmware::wire::feed::FeedMessage;
use firmware::wire::report::Report;
use journal::Disk;
use lane::Parker;
use std::time::Duration;

/// The tile.
pub struct HotTile<N, C, D> {
    gateway: GatewayStage<N>,
    engine: EngineStage,
    /// None where somebody else takes the records, as in tests of the other two stages.
    journal: Option<JournalStage<D>>,
    /// What stopped the journal in the middle of an event.
    failed: Option<anyhow::Error>,
    clock: C,
    parker: Parker,
    burst: RxBurst,
}

/// Ends of the lanes that the hot tile holds.
pub struct HotLanes {
    /// Of the gateway.
    pub gateway: GatewayLanes,
    /// Of the engine.
    pub engine: EngineLanes,
    /// From which mark on new risk is refused.
    pub high_water: HighWater,
    /// Where this tile sleeps.
    pub parker: Parker,
}

impl<N: Nic, C: Clock, D: Disk> HotTile<N, C, D> {
    /// A tile around a core that has replayed its journal.
    #[expect(clippy::too_many_arguments, reason = "the parts of three stages")]
    pub fn new(
        nic: N,
        mut clock: C,
        core: Core,
        lanes: HotLanes,
        journal: Option<JournalStage<D>>,
        spool: SpoolLink,
        feed: FeedEgress,
        batch_interval_ns: u64,
    ) -> Self {
        let now = clock.now();
        let HotLanes {
            gateway,
            engine,
            high_water,
            parker,
        } = lanes;
        Self {
            gateway: GatewayStage::new(nic, now, Flows::after(&core), gateway, spool, feed),
            engine: EngineStage::new(core, engine, high_water, batch_interval_ns, now),
            journal,
            failed: None,
            clock,
            parker,
            burst: RxBurst::new(),
        }
    }

    /// Sequences what the journal lacks for this configuration, before anything else.
    pub fn open_day(&mut self, listing: &Listing) {
        let now = self.clock.now();
        let mut out = Inside {
            gateway: &mut self.gateway,
            journal: self.journal.as_mut(),
            failed: &mut self.failed,
        };
        self.engine.open_day(listing, now, &mut out);
    }

    /// One turn of the loop; returns how much was done.
    ///
    /// # Errors
    /// When NIC or disk fails. Nothing leaves any more then.
    pub fn turn(&mut self) -> anyhow::Result<usize> {
        let mut work = self.gateway.take_in(&mut self.clock, &mut self.burst)?;
        let mut out = Inside {
            gateway: &mut self.gateway,
            journal: self.journal.as_mut(),
            failed: &mut self.failed,
        };
        work += self.engine.poll(&mut self.clock, &mut out);
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if let Some(journal) = &mut self.journal {
            work += usize::from(journal.turn()?);
        }
        work += self.gateway.let_out(&mut self.clock);
        Ok(work)
    }

    /// The journal, for tests.
    pub const fn journal(&mut self) -> &mut Option<JournalStage<D>> {
        &mut self.journal
    }

    /// The core, for tests and audits.
    #[must_use]
    pub const fn core(&self) -> &Core {
        self.engine.core()
    }

    /// The gateway, for tests and audits.
    #[must_use]
    pub const fn gateway(&self) -> &GatewayStage<N> {
        &self.gateway
    }

    /// What was counted on the datagram side.
    #[must_use]
    pub const fn counters(&self) -> WireCounters {
        self.gateway.counters().plus(self.engine.counters())
    }
}

impl<N: Nic, C: Clock, D: Disk> Tile for HotTile<N, C, D> {
    type Clock = C;

    fn clock(&mut self) -> &mut C {
        &mut self.clock
    }

    fn poll(&mut self) -> anyhow::Result<usize> {
        self.turn()
    }

    fn is_done(&self) -> anyhow::Result<bool> {
        if self.gateway.is_done() {
            return Ok(true);
        }
        self.engine.check_neighbours()?;
        self.gateway.check_neighbours()?;
        Ok(false)
    }

    fn park(&mut self) -> anyhow::Result<bool> {
        self.parker.announce();
        let journal = self.journal.as_ref();
        let has_records = journal.is_some_and(JournalStage::has_work);
        if !self.gateway.has_work() && !self.engine.has_work() && !has_records {
            let mut pause = pause(&self.engine, &mut self.clock);
            if journal.is_some_and(JournalStage::is_waiting) {
                // For a segment: whoever makes it wakes nobody.
                pause = pause.min(SEGMENT_WAIT);
            }
            self.gateway.nic().wait(&self.parker, pause)?;
        }
        Ok(self.parker.resume())
    }
}

/// The engine's outlet: the gateway and the journal beside it.
struct Inside<'t, N, D> {
    gateway: &'t mut GatewayStage<N>,
    journal: Option<&'t mut JournalStage<D>>,
    failed: &'t mut Option<anyhow::Error>,
}

impl<N: Nic, D: Disk> Outlet for Inside<'_, N, D> {
    fn has_room(&self) -> bool {
        self.gateway.has_room()
    }

    fn report(&mut self, member: MemberId, report: &Report) {
        self.gateway.report(member, report);
    }

    fn feed(&mut self, seq: u64, message: &FeedMessage) {
        self.gateway.feed(seq, message);
    }

    fn stopped(&mut self, stopped: Stopped) {
        self.gateway.stopped(stopped);
    }

    fn note_stall(&mut self) {
        self.gateway.note_stall();
    }

    fn is_abandoned(&self) -> bool {
        self.gateway.is_abandoned()
    }

    fn wait_for_journal(&mut self) -> bool {
        let Some(journal) = &mut self.journal else {
            return self.gateway.wait_for_journal();
        };
        if self.failed.is_none() {
            *self.failed = journal.make_room().err();
        }
        self.failed.is_none()
    }
}

/// How long a tile with the engine may sleep.
pub(crate) fn pause(engine: &EngineStage, clock: &mut impl Clock) -> Duration {
    let left = engine.next_deadline().0.saturating_sub(clock.now().0);
    Duration::from_nanos(left).clamp(PARK_MIN, PARK)
}
