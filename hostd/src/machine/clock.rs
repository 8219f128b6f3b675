//! The only place that asks what time it is.

mod counter;

pub use counter::{ClockHealth, CounterClock, Source};

use firmware::units::TimeNs;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::sync::OnceLock;

/// Time of the tile that stamps records and of those that wait.
pub trait Clock {
    /// Now, in ns since the Unix epoch. Never less than it was before.
    fn now(&mut self) -> TimeNs;

    /// How it fares; nothing to tell for one that needs no checks.
    fn health(&self) -> ClockHealth {
        ClockHealth::default()
    }
}

/// The machine's clock: CLOCK_MONOTONIC, shifted once at start to agree with CLOCK_REALTIME.
///
/// It is slewed by NTP as the wall clock is, but a step of the wall clock does not move it; a restart
/// does, and then only forward. Where the processor has a counter of constant rate it is read from that, and held to
/// the kernel's clock (`clock_cost` among the examples says what a reading costs either way); no system call in any case.
#[derive(Clone, Debug)]
pub struct RealClock {
    counter: CounterClock<Processor>,
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
        // One calibration serves the whole process.
        static FIRST: OnceLock<CounterClock<Processor>> = OnceLock::new();
        let counter = FIRST.get_or_init(|| CounterClock::new(Processor, has_steady_counter()));
        let mut counter = counter.clone();
        Self {
            offset_ns: offset_ns.max((floor.0 + 1).saturating_sub(counter.now())),
            counter,
        }
    }
}

impl Clock for RealClock {
    #[inline]
    fn now(&mut self) -> TimeNs {
        TimeNs(self.counter.now() + self.offset_ns)
    }

    fn health(&self) -> ClockHealth {
        self.counter.health()
    }
}

/// The counter of the core that asks.
#[derive(Clone, Copy, Debug)]
struct Processor;

impl Source for Processor {
    #[inline]
    fn ticks(&mut self) -> u64 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every processor of this architecture has the instruction; an operating system that forbids it to
        // processes is none that this program runs on.
        return unsafe { std::arch::x86_64::_rdtsc() };
        #[cfg(not(target_arch = "x86_64"))]
        0
    }

    #[inline]
    fn monotonic(&mut self) -> u64 {
        monotonic_ns()
    }
}

/// Whether the processor promises a counter of constant rate, and the kernel has not found that it lies.
fn has_steady_counter() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;
        let is_invariant =
            __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx >> 8 & 1 == 1;
        let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let source = std::fs::read_to_string(source).unwrap_or_default();
        is_invariant
            && !matches!(
                source.trim(),
                "hpet" | "acpi_pm" | "jiffies" | "refined-jiffies"
            )
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
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
        // As the kernel counts, so does it: a wrong rate would show by far more than a slow machine.
        let health = clock.health();
        assert!(
            health.error_max_ns < 1_000_000 && !health.gave_up,
            "{health:?}"
        );
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
