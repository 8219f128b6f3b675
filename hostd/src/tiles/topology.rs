//! The whole machine on a page: which stages share a tile, how each tile waits, and the lanes between.
//!
//! ```text
//!            logins 256 ►                 arrivals 131,072 words ►
//!  control ──────────────── gateway ─────────────────────────────────── engine ◄── commands 256 ── control
//!    ▲        ◄ asks 256    │ │ ▲ │            ◄ told 32,768            │    │  ── answers 256 ──►
//!    │                      │ │ │ └── packets 2,048 ──► feed            │    └ journal 32,768 ──► journal ──► segments
//!    ├◄─ samples 65,536 ────┘ │ │                        │              │        │      │
//!    │                        │ └── spooled 64 ──┐       ▼              │        │      └──► seal ──► sealed batches
//!    │   NIC: orders, feed ◄──┤                 spool    NIC            │        │            │
//!    │   lines A and B        └── reports 65,536 ┘ │                    ◄── spares 8 ─────────┘
//!    │                                             ▼     durable ◄──────┼────────┘
//!    └ admin socket, L1, oracle            a file a member   to gateway ┘
//! ```
//!
//! Which stages share a thread is data. In `shared` gateway, engine and journal take turns on one tile, so that the box
//! fits two cores and nobody is woken between a request and its report; the lanes of arrivals and of records then lie
//! within the tile, what the engine tells the gateway is a call, and a write to the disk is waited for in place. In
//! `pinned` each has a core. The code of a stage is the same in both, and so is the journal that it writes.

use crate::config::{Polling, TopologySection};
use crate::tiles::engine::JOURNAL_ROOM;
use crate::tiles::gateway::{ARRIVALS_ROOM, SPOOL_READS_MAX};
use crate::tiles::outlet::TOLD_ROOM;
use crate::tiles::tile::Wait;
use serde::Deserialize;

pub use crate::tiles::boot::run;

/// Topologies of this release.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopologyName {
    /// Gateway, engine and journal on one tile that spins for a while and then sleeps: two cores are enough.
    Shared,
    /// Gateway, engine and journal on a core of their own each, where they never sleep.
    Pinned,
}

/// Work that a tile does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// NIC, connections, tags, request flows; what goes out.
    Gateway,
    /// Gate, sequencer, engine.
    Engine,
    /// Records to disk.
    Journal,
    /// Sealed batches to their files.
    Seal,
    /// Reports of the day to their files, and back.
    Spool,
    /// Re-requests, snapshots, checkpoints.
    Feed,
    /// Logins, oracle, risk tables, admin socket.
    Control,
}

/// One tile: a thread with a loop.
#[derive(Clone, Copy, Debug)]
pub struct TileSpec {
    /// Its name, in `[topology.cores]` and in the status.
    pub name: &'static str,
    /// What it does, in turn.
    pub stages: &'static [Stage],
    /// What it does when there is nothing to do, given a core of its own; without one it parks. `[net]` may ask more
    /// of the tiles with gateway and engine.
    pub wait: Wait,
    /// Nice value where the system allows it (root, or CAP_SYS_NICE).
    pub nice: i32,
}

impl TileSpec {
    /// Whether `[net]` says how it waits.
    fn polls(&self) -> bool {
        let polls = [Stage::Gateway, Stage::Engine];
        self.stages.iter().any(|s| polls.contains(s))
    }

    /// Whether a member waits for what it does.
    #[must_use]
    pub fn is_hot(&self) -> bool {
        let hot = [Stage::Gateway, Stage::Engine, Stage::Journal];
        self.stages.iter().any(|s| hot.contains(s))
    }
}

/// On a shared core a waking tile of this nice value goes before whatever else runs there. A tile that spins has none:
/// alone on its core it needs none, and beside others it would starve them.
const FIRST: i32 = -15;
const PARK: Wait = Wait::Park { linger_ns: 5_000 };

const fn tile(name: &'static str, stages: &'static [Stage], wait: Wait, nice: i32) -> TileSpec {
    TileSpec {
        name,
        stages,
        wait,
        nice,
    }
}

/// Topology `shared`.
pub const SHARED: &[TileSpec] = &[
    tile(
        "hot",
        &[Stage::Gateway, Stage::Engine, Stage::Journal],
        PARK,
        FIRST,
    ),
    tile("seal", &[Stage::Seal], PARK, 0),
    tile("spool", &[Stage::Spool], PARK, 0),
    tile("feed", &[Stage::Feed], PARK, 0),
    tile("control", &[Stage::Control], PARK, 0),
];

/// Topology `pinned`.
pub const PINNED: &[TileSpec] = &[
    tile("gateway", &[Stage::Gateway], Wait::Spin, FIRST),
    tile("engine", &[Stage::Engine], Wait::Spin, FIRST),
    tile("journal", &[Stage::Journal], Wait::Spin, FIRST),
    tile("seal", &[Stage::Seal], PARK, 0),
    tile("spool", &[Stage::Spool], PARK, 0),
    tile("feed", &[Stage::Feed], PARK, 0),
    tile("control", &[Stage::Control], PARK, 0),
];

/// Depths of the lanes: items, and for arrivals words of 8 bytes.
pub mod depth {
    /// Control to gateway: keys of logins, datagrams to send.
    pub const LOGINS: usize = 256;
    /// Gateway to control: datagrams that are its.
    pub const ASKS: usize = 256;
    /// Control to engine: prices, tables, deposits, the operator's commands.
    pub const COMMANDS: usize = 256;
    /// Engine to control: answers to these.
    pub const ANSWERS: usize = 256;
    /// Gateway to engine: what members sent.
    pub const ARRIVALS: usize = 1 << 17;
    /// Engine to gateway, where they are two tiles: reports and feed messages.
    pub const TOLD: usize = 1 << 15;
    /// Engine to gateway: times of requests whose reports wait for the disk.
    pub const TIMES: usize = 1 << 16;
    /// Gateway to control: the same, complete.
    pub const SAMPLES: usize = 1 << 16;
    /// Gateway and engine to control: what is shown of them.
    pub const SNAPSHOTS: usize = 16;
    /// Engine to journal: records.
    pub const JOURNAL: usize = 1 << 15;
    /// Seal to engine: spare buffers of sealed batches.
    pub const SPARES: usize = 8;
    /// Gateway to spool: reports, more than one event makes as a rule, many times over.
    pub const REPORTS: usize = 1 << 16;
    /// Spool to gateway: reports read.
    pub const SPOOLED: usize = super::SPOOL_READS_MAX;
    /// Gateway to feed: packets.
    pub const PACKETS: usize = crate::feed::PACKETS_DEPTH;
    /// Control to itself: admin requests.
    pub const ADMIN: usize = 64;
}

/// From this mark on new risk is refused, and cancels and reductions pass.
pub mod high_water {
    /// Of the lane to the journal.
    pub const JOURNAL: usize = super::depth::JOURNAL / 2;
    /// Of the lane of arrivals.
    pub const ARRIVALS: usize = super::depth::ARRIVALS / 2;
}

// New risk is refused before nothing is taken in any more.
const _: () = assert!(high_water::JOURNAL < depth::JOURNAL - JOURNAL_ROOM);
const _: () = assert!(high_water::ARRIVALS < depth::ARRIVALS - ARRIVALS_ROOM);
const _: () = assert!(TOLD_ROOM < depth::TOLD);

/// A tile, its core, and how it waits there.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// What it is.
    pub tile: TileSpec,
    /// Where it runs; free to move when `None`.
    pub core: Option<usize>,
    /// How it waits.
    pub wait: Wait,
}

impl Planned {
    /// Its nice value, given how it waits.
    #[must_use]
    pub fn nice(&self) -> i32 {
        if self.wait == Wait::Spin {
            0
        } else {
            self.tile.nice
        }
    }

    /// Whether it goes before whatever else wants its core, at once and not after a time slice of milliseconds: a tile
    /// of the journal's own, which works for microseconds and which every answer waits for. A tile that spins must not.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.wait != Wait::Spin && self.tile.stages == [Stage::Journal]
    }
}

/// The tiles of the configured topology.
#[must_use]
pub const fn tiles(name: TopologyName) -> &'static [TileSpec] {
    match name {
        TopologyName::Shared => SHARED,
        TopologyName::Pinned => PINNED,
    }
}

/// Gives each tile its core.
///
/// # Errors
/// A core for a tile that is none, no core for one that shall spin, or one core for a tile that spins and another.
pub fn plan(section: &TopologySection, polling: Polling) -> Result<Vec<Planned>, String> {
    let tiles = tiles(section.name);
    if let Some(unknown) = (section.cores.keys()).find(|n| tiles.iter().all(|t| t.name != **n)) {
        let names: Vec<_> = tiles.iter().map(|t| t.name).collect();
        return Err(format!(
            "topology.cores.{unknown}: no such tile; the tiles are {}",
            names.join(", ")
        ));
    }
    let planned = tiles.iter().map(|tile| {
        let core = section.cores.get(tile.name).copied();
        let wait = match (tile.wait, polling) {
            (Wait::Spin, _) if core.is_some() => Wait::Spin,
            (_, Polling::Busy) if tile.polls() && core.is_some() => Wait::Spin,
            (_, Polling::Busy) if tile.polls() => {
                let name = tile.name;
                return Err(format!(
                    "net.poll = \"busy\" needs a core for tile {name}, in topology.cores.{name}"
                ));
            }
            (_, Polling::Adaptive { linger_ns }) if tile.polls() => Wait::Park { linger_ns },
            _ => PARK,
        };
        let tile = *tile;
        Ok(Planned { tile, core, wait })
    });
    let planned = planned.collect::<Result<Vec<_>, String>>()?;
    for spinning in planned.iter().filter(|p| p.wait == Wait::Spin) {
        let name = spinning.tile.name;
        let beside = |p: &&Planned| p.core == spinning.core && p.tile.name != name;
        if let (Some(other), Some(core)) = (planned.iter().find(beside), spinning.core) {
            return Err(format!(
                "topology.cores.{}: core {core} is {name}'s, which never sleeps there",
                other.tile.name
            ));
        }
    }
    Ok(planned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Wait = Wait::Park { linger_ns: 50_000 };

    fn plan(section: &TopologySection) -> Result<Vec<Planned>, String> {
        super::plan(section, Polling::Adaptive { linger_ns: 50_000 })
    }

    fn section(name: TopologyName, cores: &[(&str, usize)]) -> TopologySection {
        TopologySection {
            name,
            cores: cores.iter().map(|(n, c)| ((*n).into(), *c)).collect(),
        }
    }

    #[test]
    fn every_stage_has_one_tile_in_every_topology() {
        for tiles in [SHARED, PINNED] {
            let mut stages: Vec<_> = tiles.iter().flat_map(|t| t.stages).collect();
            assert_eq!(stages.len(), 7);
            stages.sort_by_key(|s| **s as u8);
            stages.dedup();
            assert_eq!(stages.len(), 7);
        }
    }

    #[test]
    fn a_tile_spins_only_on_a_core_of_its_own() {
        let planned = plan(&section(
            TopologyName::Pinned,
            &[("engine", 1), ("spool", 0), ("feed", 0)],
        ))
        .unwrap();
        let spinning: Vec<_> = planned.iter().filter(|p| p.wait == Wait::Spin).collect();
        assert_eq!(spinning.len(), 1);
        assert_eq!(
            (spinning[0].tile.name, spinning[0].core),
            ("engine", Some(1))
        );
        let shared = plan(&section(TopologyName::Shared, &[("hot", 0), ("seal", 0)])).unwrap();
        for p in &shared {
            assert_eq!(p.wait, if p.tile.name == "hot" { LINGER } else { PARK });
        }
    }

    #[test]
    fn busy_polling_is_for_gateway_and_engine_on_cores_of_their_own() {
        let busy = |name, cores: &[_]| super::plan(&section(name, cores), Polling::Busy);
        let planned = busy(TopologyName::Shared, &[("hot", 1), ("seal", 0)]).unwrap();
        let spinning: Vec<_> = planned.iter().filter(|p| p.wait == Wait::Spin).collect();
        assert_eq!(spinning.len(), 1);
        assert_eq!(spinning[0].tile.name, "hot");
        assert_eq!(
            busy(TopologyName::Shared, &[("seal", 0)]).unwrap_err(),
            "net.poll = \"busy\" needs a core for tile hot, in topology.cores.hot"
        );
        assert_eq!(
            busy(TopologyName::Shared, &[("hot", 1), ("feed", 1)]).unwrap_err(),
            "topology.cores.feed: core 1 is hot's, which never sleeps there"
        );
    }

    #[test]
    fn a_core_that_cannot_be_given_is_named() {
        let refused = |name, cores: &[_]| plan(&section(name, cores)).unwrap_err();
        assert_eq!(
            refused(TopologyName::Shared, &[("gateway", 1)]),
            "topology.cores.gateway: no such tile; the tiles are hot, seal, spool, feed, control"
        );
        assert_eq!(
            refused(TopologyName::Pinned, &[("gateway", 1), ("engine", 1)]),
            "topology.cores.engine: core 1 is gateway's, which never sleeps there"
        );
        assert_eq!(
            refused(TopologyName::Pinned, &[("engine", 1), ("feed", 1)]),
            "topology.cores.feed: core 1 is engine's, which never sleeps there"
        );
    }
}
