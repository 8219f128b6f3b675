//! A tile: one thread, one loop. What it does in a turn is its own; how it waits is the topology's.

use crate::machine::clock::Clock;
use crate::tiles::meters::TileMeter;
use firmware::units::TimeNs;
use std::time::Duration;

/// Longest sleep of a hot tile: heartbeats and timers are looked at when it ends.
pub const PARK: Duration = Duration::from_millis(5);
/// Shortest sleep: something may be due that there is no room for.
pub const PARK_MIN: Duration = Duration::from_micros(50);

/// What a tile does when a turn found nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Looks again at once, for ever: on a core of its own.
    Spin,
    /// Looks again for a while, then sleeps until something comes.
    Park {
        /// From the last work to the sleep, ns.
        linger_ns: u64,
    },
}

/// Work in turns.
pub trait Tile {
    /// What tells it the time.
    type Clock: Clock;

    /// Its clock.
    fn clock(&mut self) -> &mut Self::Clock;

    /// One turn; returns how much was done.
    ///
    /// # Errors
    /// What the tile cannot go on after: the box stops.
    fn poll(&mut self) -> anyhow::Result<usize>;

    /// Whether it has come to its end.
    ///
    /// # Errors
    /// When a tile that it needs is gone: the box stops.
    fn is_done(&self) -> anyhow::Result<bool>;

    /// Sleeps until something may have come or is due; returns whether another tile ended the sleep.
    ///
    /// # Errors
    /// When the system refuses.
    fn park(&mut self) -> anyhow::Result<bool>;
}

/// Runs a tile to its end.
///
/// # Errors
/// The tile's.
pub fn run(mut tile: impl Tile, wait: Wait, mut meter: TileMeter) -> anyhow::Result<()> {
    let mut worked = TimeNs(0);
    loop {
        let now = tile.clock().now();
        let work = tile.poll()?;
        meter.turn(now, work);
        if tile.is_done()? {
            return Ok(());
        }
        if work > 0 {
            worked = now;
        }
        match wait {
            Wait::Park { linger_ns } if now.0 - worked.0 > linger_ns => {
                meter.slept(tile.park()?);
            }
            _ => std::hint::spin_loop(),
        }
    }
}

/// Clock and meter of a tile with a loop of its own.
pub struct Pace<C> {
    clock: C,
    meter: TileMeter,
    /// What it does when there is nothing to do.
    pub wait: Wait,
}

impl<C: Clock> Pace<C> {
    /// Nothing counted yet.
    pub const fn new(clock: C, meter: TileMeter, wait: Wait) -> Self {
        Self { clock, meter, wait }
    }

    /// Now.
    pub fn now(&mut self) -> TimeNs {
        self.clock.now()
    }

    /// Notes a turn that did so much work.
    pub fn turn(&mut self, work: usize) {
        let now = self.clock.now();
        self.meter.turn(now, work);
    }

    /// Notes a sleep, and whether another tile ended it.
    pub fn slept(&mut self, was_woken: bool) {
        self.meter.slept(was_woken);
    }
}
