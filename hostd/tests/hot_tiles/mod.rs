//! Gateway and engine of either topology, driven step by step on the thread of a test; in `shared` with the journal,
//! if the test brings one.

use firmware::wire::feed::FeedMessage;
use hostd::machine::clock::Clock;
use hostd::machine::logs::Log;
use hostd::nic::Nic;
use hostd::storage::recover::Listing;
use hostd::tiles::core::Core;
use hostd::tiles::egress::FeedEgress;
use hostd::tiles::engine::{EngineLanes, EngineStage, HighWater};
use hostd::tiles::gateway::{Flows, GatewayLanes, GatewayStage, SpoolLink};
use hostd::tiles::hot::{HotLanes, HotTile};
use hostd::tiles::journal_tile::JournalStage;
use hostd::tiles::lanes::WireCounters;
use hostd::tiles::pinned::{EngineTile, GatewayTile};
use hostd::tiles::tile::Tile;
use hostd::tiles::wiring::HotWiring;
use journal::Disk;

/// What the tiles are made of, beside NIC, clock and core.
pub(crate) struct Parts {
    pub(crate) hot: HotWiring,
    pub(crate) gateway: GatewayLanes,
    pub(crate) engine: EngineLanes,
    pub(crate) spool_link: SpoolLink,
    pub(crate) feed: FeedEgress,
    pub(crate) batch_interval_ns: u64,
    pub(crate) high_water: HighWater,
}

/// Gateway and engine, on one tile or on two.
pub(crate) enum HotTiles<N, C, D> {
    Shared(Box<HotTile<N, C, D>>),
    Pinned(Box<GatewayTile<N, C>>, Box<EngineTile<C>>),
}

impl<N: Nic, C: Clock + Clone, D: Disk> HotTiles<N, C, D> {
    /// The tiles; the journal comes back where it has a tile of its own.
    pub(crate) fn new(
        nic: N,
        mut clock: C,
        core: Core,
        journal: Option<JournalStage<D>>,
        parts: Parts,
    ) -> (Self, Option<JournalStage<D>>) {
        let Parts {
            hot,
            gateway,
            engine,
            spool_link,
            feed,
            batch_interval_ns,
            high_water,
        } = parts;
        match hot {
            HotWiring::Shared(parker) => {
                let lanes = HotLanes {
                    gateway,
                    engine,
                    high_water,
                    parker,
                };
                let tile = HotTile::new(
                    nic,
                    clock,
                    core,
                    lanes,
                    journal,
                    spool_link,
                    feed,
                    batch_interval_ns,
                );
                (Self::Shared(Box::new(tile)), None)
            }
            HotWiring::Pinned {
                journal: _,
                gateway: gateway_parker,
                engine: engine_parker,
                tell,
                told,
            } => {
                let (now, flows) = (clock.now(), Flows::after(&core));
                let waker = engine_parker.waker();
                let stage = GatewayStage::new(nic, now, flows, gateway, spool_link, feed);
                let gateway = GatewayTile::new(stage, told, waker, clock.clone(), gateway_parker);
                let stage = EngineStage::new(core, engine, high_water, batch_interval_ns, now);
                let engine = EngineTile::new(stage, tell, clock, engine_parker);
                let tiles = Self::Pinned(Box::new(gateway), Box::new(engine));
                (tiles, journal)
            }
        }
    }

    /// A turn of the tile, or of both so that what comes in can go through. It can only fail with the journal inside.
    pub(crate) fn turn(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Shared(tile) => drop(tile.turn()?),
            Self::Pinned(gateway, engine) => {
                gateway.poll().unwrap();
                engine.poll().unwrap();
                gateway.poll().unwrap();
            }
        }
        Ok(())
    }

    pub(crate) fn open_day(&mut self, listing: &Listing) {
        match self {
            Self::Shared(tile) => tile.open_day(listing),
            Self::Pinned(_, engine) => engine.open_day(listing),
        }
    }

    pub(crate) fn core(&self) -> &Core {
        match self {
            Self::Shared(tile) => tile.core(),
            Self::Pinned(_, engine) => engine.stage().core(),
        }
    }

    pub(crate) fn counters(&self) -> WireCounters {
        match self {
            Self::Shared(tile) => tile.counters(),
            Self::Pinned(gateway, engine) => {
                gateway.stage().counters().plus(engine.stage().counters())
            }
        }
    }

    pub(crate) fn gateway(&self) -> &GatewayStage<N> {
        match self {
            Self::Shared(tile) => tile.gateway(),
            Self::Pinned(gateway, _) => gateway.stage(),
        }
    }

    pub(crate) fn flows(&self) -> &Flows {
        self.gateway().flows()
    }

    /// What everybody was told, as far as the gateway holds it.
    pub(crate) fn said(&self) -> &Log<(u64, FeedMessage)> {
        self.gateway().said()
    }
}
