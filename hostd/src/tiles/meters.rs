//! What a tile shows of its loop and of its lanes. A tile counts for itself and publishes by plain stores; who looks
//! at it costs it nothing.

use crate::replication::{self, ReplicationStatus};
use firmware::units::TimeNs;
use lane::{Gauges, GaugesReader};
use serde::Serialize;
use std::collections::BTreeMap;

/// Counts of one tile's loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TileCounts {
    /// Turns of its loop.
    pub polls: u64,
    /// Of these, turns without work.
    pub idle_polls: u64,
    /// What was done, in items: datagrams, records, messages, whatever the tile handles.
    pub work: u64,
    /// Longest time between two turns without a sleep between, ns: what the tile, or who took its core, held up.
    pub gap_max_ns: u64,
    /// Times that it went to sleep.
    pub parks: u64,
    /// Of these, times that another tile ended the sleep.
    pub wakes: u64,
}

const TILE_GAUGES: usize = 6;

/// The tile's side.
pub struct TileMeter {
    counts: TileCounts,
    last: Option<TimeNs>,
    gauges: Gauges<TILE_GAUGES>,
}

/// The side of who looks at it.
pub struct TileReader(GaugesReader<TILE_GAUGES>);

impl TileMeter {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: TileCounts::default(),
            last: None,
            gauges: Gauges::new(),
        }
    }

    /// A reader.
    #[must_use]
    pub fn reader(&self) -> TileReader {
        TileReader(self.gauges.reader())
    }

    /// Notes a turn that began at `now` and did so much work.
    #[inline]
    pub fn turn(&mut self, now: TimeNs, work: usize) {
        let c = &mut self.counts;
        c.polls += 1;
        c.idle_polls += u64::from(work == 0);
        c.work += work as u64;
        if let Some(last) = self.last.replace(now) {
            c.gap_max_ns = c.gap_max_ns.max(now.0.saturating_sub(last.0));
        }
        self.publish();
    }

    /// Notes a sleep, and whether another tile ended it.
    pub fn slept(&mut self, was_woken: bool) {
        self.counts.parks += 1;
        self.counts.wakes += u64::from(was_woken);
        self.last = None;
        self.publish();
    }

    #[inline]
    fn publish(&mut self) {
        let TileCounts {
            polls,
            idle_polls,
            work,
            gap_max_ns,
            parks,
            wakes,
        } = self.counts;
        for (at, value) in [polls, idle_polls, work, gap_max_ns, parks, wakes]
            .into_iter()
            .enumerate()
        {
            self.gauges.set(at, value);
        }
    }
}

impl Default for TileMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl TileReader {
    /// The counts as they are now.
    #[must_use]
    pub fn get(&self) -> TileCounts {
        let [polls, idle_polls, work, gap_max_ns, parks, wakes] = self.0.get();
        TileCounts {
            polls,
            idle_polls,
            work,
            gap_max_ns,
            parks,
            wakes,
        }
    }
}

/// Counts of one lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LaneCounts {
    /// How much fits, in items; for the lane of arrivals in words of 8 bytes.
    pub depth: u64,
    /// How much was in it at the last look: each turn of the tile that fills it.
    pub used: u64,
    /// The most at any look.
    pub high_water: u64,
    /// Requests refused because it was above its mark.
    pub refusals: u64,
    /// Turns in which nothing was taken in because it had no room.
    pub stalls: u64,
    /// Looks at a full lane in the middle of an event.
    pub waits: u64,
}

const LANE_GAUGES: usize = 5;

/// The side of the tile that fills the lane.
pub struct LaneMeter {
    counts: LaneCounts,
    gauges: Gauges<LANE_GAUGES>,
}

/// The side of who looks at it.
pub struct LaneReader {
    depth: u64,
    gauges: GaugesReader<LANE_GAUGES>,
}

impl LaneMeter {
    /// Nothing measured yet, of a lane of this depth.
    #[must_use]
    pub fn new(depth: usize) -> Self {
        Self {
            counts: LaneCounts {
                depth: depth as u64,
                ..LaneCounts::default()
            },
            gauges: Gauges::new(),
        }
    }

    /// A reader.
    #[must_use]
    pub fn reader(&self) -> LaneReader {
        LaneReader {
            depth: self.counts.depth,
            gauges: self.gauges.reader(),
        }
    }

    /// Notes how much of the lane is free.
    #[inline]
    pub fn note_room(&mut self, room: usize) {
        let c = &mut self.counts;
        c.used = c.depth.saturating_sub(room as u64);
        self.gauges.set(0, c.used);
        if c.used > c.high_water {
            c.high_water = c.used;
            self.gauges.set(1, c.used);
        }
    }

    /// Counts requests refused because of this lane.
    pub fn refused(&mut self, count: u64) {
        self.counts.refusals += count;
        self.gauges.set(2, self.counts.refusals);
    }

    /// Counts a turn in which this lane had no room.
    #[inline]
    pub fn stalled(&mut self) {
        self.counts.stalls += 1;
        self.gauges.set(3, self.counts.stalls);
    }

    /// Counts a look at a full lane in the middle of an event.
    #[inline]
    pub fn waited(&mut self) {
        self.counts.waits += 1;
        self.gauges.set(4, self.counts.waits);
    }

    /// What was in the lane at the last look.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.counts.used
    }
}

impl LaneReader {
    /// The counts as they are now.
    #[must_use]
    pub fn get(&self) -> LaneCounts {
        let [used, high_water, refusals, stalls, waits] = self.gauges.get();
        LaneCounts {
            depth: self.depth,
            used,
            high_water,
            refusals,
            stalls,
            waits,
        }
    }
}

/// The readers of all meters, by name.
#[derive(Default)]
pub struct Machine {
    /// Of the tiles, with their cores.
    pub tiles: Vec<(&'static str, Option<usize>, TileReader)>,
    /// Of the lanes between hot tiles and those beside them.
    pub lanes: Vec<(&'static str, LaneReader)>,
    /// Of the replication, where there is one.
    pub replication: Option<replication::status::Shared>,
}

/// What all meters show now.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    tiles: BTreeMap<&'static str, TileShown>,
    lanes: BTreeMap<&'static str, LaneCounts>,
    replication: Option<ReplicationStatus>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct TileShown {
    /// The core that it is pinned to.
    core: Option<usize>,
    #[serde(flatten)]
    counts: TileCounts,
}

impl Machine {
    /// What the meters show now.
    #[must_use]
    pub fn show(&self) -> Shown {
        let tiles = self.tiles.iter().map(|(name, core, reader)| {
            let (core, counts) = (*core, reader.get());
            (*name, TileShown { core, counts })
        });
        let lanes = self
            .lanes
            .iter()
            .map(|(name, reader)| (*name, reader.get()));
        Shown {
            tiles: tiles.collect(),
            lanes: lanes.collect(),
            replication: self.replication.as_ref().map(replication::status::show),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_between_turns_and_not_across_a_sleep() {
        let mut meter = TileMeter::new();
        let reader = meter.reader();
        for (now, work) in [(100, 0), (130, 5), (150, 0)] {
            meter.turn(TimeNs(now), work);
        }
        meter.slept(true);
        meter.turn(TimeNs(10_000), 1);
        meter.slept(false);
        assert_eq!(
            reader.get(),
            TileCounts {
                polls: 4,
                idle_polls: 2,
                work: 6,
                gap_max_ns: 30,
                parks: 2,
                wakes: 1
            }
        );
    }

    #[test]
    fn a_lane_shows_what_is_in_it_and_the_most_there_was() {
        let mut meter = LaneMeter::new(10);
        let reader = meter.reader();
        meter.note_room(3);
        meter.note_room(9);
        meter.refused(2);
        meter.stalled();
        let counts = reader.get();
        assert_eq!((counts.depth, counts.used, counts.high_water), (10, 1, 7));
        assert_eq!((counts.refusals, counts.stalls), (2, 1));
    }
}
