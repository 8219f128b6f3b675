//! The only place that asks what time it is.

use firmware::units::TimeNs;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Time of the tile that stamps records and of those that wait.
pub trait Clock {
    /// Now, in ns since the Unix epoch. Never less than it was before.
    fn now(&mut self) -> TimeNs;
}

/// The machine's clock: CLOCK_MONOTONIC, shifted once at start to agree with CLOCK_REALTIME.
///
/// It is slewed by NTP as the wall clock is, but a step of the wall clock does not move it; a restart
/// does, and then only forward. One read costs about 20 ns and no system call.
#[derive(Clone, Debug)]
pub struct RealClock {
    /// Wall clock minus monotonic clock, ns.
    offset_ns: u64,
}

impl RealClock {
    /// A clock that starts at the wall clock, or just after `floor`, the time of the last record, if the
    /// wall clock has fallen behind that.
    #[must_use]
    pub fn starting_after(floor: TimeNs) -> Self {
        // The closest of a few pairs of readings: a preempted one is wide.
        let pair = || {
            let (before, wall, after) = (monotonic_ns(), nanos(ClockId::Realtime), monotonic_ns());
            (after - before, wall - before)
        };
        let (_, offset_ns) = (0..5).map(|_| pair()).min().expect("five pairs");
        Self {
            offset_ns: offset_ns.max((floor.0 + 1).saturating_sub(monotonic_ns())),
        }
    }
}

impl Clock for RealClock {
    #[inline]
    fn now(&mut self) -> TimeNs {
        TimeNs(monotonic_ns() + self.offset_ns)
    }
}

/// Time that only passes, from an arbitrary start: for timeouts inside one process.
#[inline]
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanos(ClockId::Monotonic)
}

#[inline]
fn nanos(clock: ClockId) -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    // Both clocks read positive until 2554.
    tv_sec as u64 * 1_000_000_000 + tv_nsec as u64
}

/// The wall clock as it is, steps and all: to be compared with other machines' times, not to order by.
#[must_use]
pub fn wall_clock() -> TimeNs {
    TimeNs(nanos(ClockId::Realtime))
}

/// A clock that moves when told to.
#[derive(Clone, Debug, Default)]
pub struct SteppedClock(TimeNs);

impl SteppedClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn at(start: TimeNs) -> Self {
        Self(start)
    }

    /// Moves forward.
    ///
    /// # Panics
    /// If the time no longer fits 64 bits.
    pub fn advance(&mut self, ns: u64) {
        self.0 = TimeNs(self.0.0.checked_add(ns).expect("a time before 2554"));
    }
}

impl Clock for SteppedClock {
    fn now(&mut self) -> TimeNs {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, RealClock, SteppedClock, nanos};
    use firmware::units::TimeNs;
    use rustix::time::ClockId;

    #[test]
    fn the_real_clock_never_goes_back_and_agrees_with_the_wall_clock_at_start() {
        let before = nanos(ClockId::Realtime);
        let mut clock = RealClock::starting_after(TimeNs(0));
        let mut last = clock.now();
        // A second is far more than the readings can be apart, and far less than a wrong epoch.
        assert!(last.0.abs_diff(before) < 1_000_000_000);
        for _ in 0..100_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_wall_clock_behind_the_journal_does_not_turn_time_back() {
        let floor = TimeNs(nanos(ClockId::Realtime) + 3_600_000_000_000);
        assert!(RealClock::starting_after(floor).now() > floor);
    }

    #[test]
    fn a_stepped_clock_stands_until_it_is_moved() {
        let mut clock = SteppedClock::at(TimeNs(5));
        assert_eq!((clock.now(), clock.now()), (TimeNs(5), TimeNs(5)));
        clock.advance(7);
        assert_eq!(clock.now(), TimeNs(12));
    }
}
