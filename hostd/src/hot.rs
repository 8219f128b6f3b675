//! The hot tile of topology `shared`: [gateway](crate::gateway) and [engine](crate::engine) in turn on one thread.
//!
//! One turn: take a burst off the NIC, run each request through to its outcomes, let out what has become durable.
//! Nothing is sent before its record is durable, and while the journal has no room nothing is taken in: packets wait
//! in the socket, nothing is half done. What members sent crosses a lane within the tile, so that both stages are
//! the same code as on two cores; what came of it goes to the gateway by a call.

use crate::clock::Clock;
use crate::core::Core;
use crate::egress::FeedEgress;
use crate::engine::{EngineLanes, EngineStage, HighWater};
use crate::gateway::{Flows, GatewayLanes, GatewayStage, SpoolLink};
use crate::lanes::WireCounters;
use crate::nic::{Nic, RxBurst};
use crate::recover::Listing;
use crate::tile::{PARK, PARK_MIN, Tile};
use lane::Parker;
use std::time::Duration;

/// The tile.
pub struct HotTile<N, C> {
    gateway: GatewayStage<N>,
    engine: EngineStage,
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

impl<N: Nic, C: Clock> HotTile<N, C> {
    /// A tile around a core that has replayed its journal.
    pub fn new(
        nic: N,
        mut clock: C,
        core: Core,
        lanes: HotLanes,
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
            clock,
            parker,
            burst: RxBurst::new(),
        }
    }

    /// Sequences what the journal lacks for this configuration, before anything else.
    pub fn open_day(&mut self, listing: &Listing) {
        let now = self.clock.now();
        self.engine.open_day(listing, now, &mut self.gateway);
    }

    /// One turn of the loop; returns how much was done.
    ///
    /// # Errors
    /// When the NIC fails.
    pub fn turn(&mut self) -> anyhow::Result<usize> {
        let mut work = self.gateway.take_in(&mut self.clock, &mut self.burst)?;
        work += self.engine.poll(&mut self.clock, &mut self.gateway);
        work += self.gateway.let_out(&mut self.clock);
        Ok(work)
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

impl<N: Nic, C: Clock> Tile for HotTile<N, C> {
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
        if !self.gateway.has_work() && !self.engine.has_work() {
            let pause = pause(&self.engine, &mut self.clock);
            self.gateway.nic().wait(&self.parker, pause)?;
        }
        Ok(self.parker.resume())
    }
}

/// How long a tile with the engine may sleep.
pub(crate) fn pause(engine: &EngineStage, clock: &mut impl Clock) -> Duration {
    let left = engine.next_deadline().0.saturating_sub(clock.now().0);
    Duration::from_nanos(left).clamp(PARK_MIN, PARK)
}
