//! The two hot tiles of topology `pinned`: [gateway](crate::tiles::gateway) and [engine](crate::tiles::engine), each on a thread of
//! its own, joined by the lanes of arrivals and of what is told.

use crate::machine::clock::Clock;
use crate::nic::{Nic, RxBurst};
use crate::storage::recover::Listing;
use crate::tiles::engine::EngineStage;
use crate::tiles::gateway::GatewayStage;
use crate::tiles::hot::pause;
use crate::tiles::lanes::Told;
use crate::tiles::outlet::{Outlet, TellLane};
use crate::tiles::tile::{PARK, Tile};
use anyhow::{bail, ensure};
use lane::{Consumer, Parker, Waker};

/// The gateway's tile.
pub struct GatewayTile<N, C> {
    stage: GatewayStage<N>,
    told: Consumer<Told>,
    engine: Waker,
    clock: C,
    parker: Parker,
    burst: RxBurst,
}

impl<N: Nic, C: Clock> GatewayTile<N, C> {
    /// A tile around a gateway; `engine` wakes the tile at the other end of its lanes.
    pub fn new(
        stage: GatewayStage<N>,
        told: Consumer<Told>,
        engine: Waker,
        clock: C,
        parker: Parker,
    ) -> Self {
        Self {
            stage,
            told,
            engine,
            clock,
            parker,
            burst: RxBurst::new(),
        }
    }

    /// The stage, for tests and audits.
    #[must_use]
    pub const fn stage(&self) -> &GatewayStage<N> {
        &self.stage
    }
}

impl<N: Nic, C: Clock> Tile for GatewayTile<N, C> {
    type Clock = C;

    fn clock(&mut self) -> &mut C {
        &mut self.clock
    }

    fn poll(&mut self) -> anyhow::Result<usize> {
        let taken = self.stage.take_in(&mut self.clock, &mut self.burst)?;
        if taken > 0 {
            self.engine.wake();
        }
        let told = self.stage.take_told(&mut self.told);
        Ok(taken + told + self.stage.let_out(&mut self.clock))
    }

    fn is_done(&self) -> anyhow::Result<bool> {
        self.stage.check_neighbours()?;
        // Asked in this order: what the engine said before it went is in the lane.
        let is_gone = self.told.is_abandoned() && self.told.is_empty();
        ensure!(
            !is_gone || self.stage.has_heard_all(),
            "the engine has stopped"
        );
        Ok(self.stage.is_done())
    }

    fn park(&mut self) -> anyhow::Result<bool> {
        self.parker.announce();
        if !self.stage.has_work() && self.told.is_empty() {
            self.stage.nic().wait(&self.parker, PARK)?;
        }
        Ok(self.parker.resume())
    }
}

/// The engine's tile.
pub struct EngineTile<C> {
    stage: EngineStage,
    out: TellLane,
    clock: C,
    parker: Parker,
}

impl<C: Clock> EngineTile<C> {
    /// A tile around an engine.
    pub const fn new(stage: EngineStage, out: TellLane, clock: C, parker: Parker) -> Self {
        Self {
            stage,
            out,
            clock,
            parker,
        }
    }

    /// Sequences what the journal lacks for this configuration, before anything else.
    pub fn open_day(&mut self, listing: &Listing) {
        let now = self.clock.now();
        self.stage.open_day(listing, now, &mut self.out);
    }

    /// The stage, for tests and audits.
    #[must_use]
    pub const fn stage(&self) -> &EngineStage {
        &self.stage
    }
}

impl<C: Clock> Tile for EngineTile<C> {
    type Clock = C;

    fn clock(&mut self) -> &mut C {
        &mut self.clock
    }

    fn poll(&mut self) -> anyhow::Result<usize> {
        let work = self.stage.poll(&mut self.clock, &mut self.out);
        self.out.end_turn(work > 0);
        Ok(work)
    }

    fn is_done(&self) -> anyhow::Result<bool> {
        if self.stage.is_stopped() {
            return Ok(true);
        }
        self.stage.check_neighbours()?;
        if self.out.is_abandoned() || self.stage.is_orphan() {
            bail!("the gateway has stopped");
        }
        Ok(false)
    }

    fn park(&mut self) -> anyhow::Result<bool> {
        let pause = pause(&self.stage, &mut self.clock);
        let stage = &self.stage;
        Ok(self.parker.park(pause, || stage.has_work())?)
    }
}
