//! Time from the processor's counter, held to the kernel's clock.
//!
//! ```text
//! anchor          check               check
//!   |---- slewed ---|---- slewed -------|-- ...      each 10 ms: where is the kernel's clock?
//!   ns = anchor_ns + ticks since the anchor * rate   ahead of it: worked off until the next check
//! ```
//!
//! A reading is one instruction, a multiplication and a comparison. It never goes back: a clock found ahead of the
//! kernel's runs slower until the next check. When the counter and the kernel disagree by more than any crystal
//! does, the counter is given up for good and every reading asks the kernel.

/// What a clock is made of: a counter, and the clock that it is held to.
pub trait Source {
    /// The processor's counter.
    fn ticks(&mut self) -> u64;
    /// The kernel's monotonic clock, ns.
    fn monotonic(&mut self) -> u64;
}

/// How a clock fares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct ClockHealth {
    /// Whether the processor's counter tells the time; else the kernel does.
    pub is_counter: bool,
    /// Whether the counter was given up during the run.
    pub gave_up: bool,
    /// Comparisons with the kernel's clock.
    pub checks: u64,
    /// Comparisons that an interruption spoiled.
    pub checks_spoiled: u64,
    /// Largest error that a comparison found, ns.
    pub error_max_ns: u64,
    /// How much faster than at the start the counter runs now, in parts of 10^9.
    pub drift_ppb: i64,
}

/// Time between checks, ns.
const CHECK_NS: u64 = 10_000_000;
/// Time of the first measurement of the counter's rate, ns.
const CALIBRATION_NS: u64 = 10_000_000;
/// A measurement is good when its readings are so many times closer than it is long.
const CALIBRATION_PARTS: u64 = 20_000;
/// A machine too busy to measure it in this time, ns, uses the kernel's clock.
const CALIBRATION_MAX_NS: u64 = 500_000_000;
/// Later the rate is measured over at least and at most this long, ns, so that the width of a reading does not show.
const WINDOW_MIN_NS: u64 = 1_000_000_000;
const WINDOW_NS: u64 = 16_000_000_000;
/// A pair of readings further apart than this says nothing, ns.
const WIDTH_MAX_NS: u64 = 10_000;
/// No crystal is off by more, and NTP slews by no more, parts of 10^6.
const DRIFT_MAX_PPM: u64 = 1_000;
/// What readings may be off beside that, ns.
const ERROR_MAX_NS: u64 = 3 * WIDTH_MAX_NS;

/// Both clocks at about the same instant.
#[derive(Clone, Copy, Debug)]
struct Pair {
    ticks: u64,
    ns: u64,
    /// How far apart the readings around it were, ticks.
    width: u64,
}

/// ns per tick, times 2^32.
type Rate = u64;

/// Monotonic time from a [`Source`].
#[derive(Clone, Debug)]
pub struct CounterClock<S> {
    source: S,
    anchor_ticks: u64,
    anchor_ns: u64,
    /// Rate until the next check: as measured, or less to work off the last error.
    rate: Rate,
    /// Ticks from the anchor to the next check.
    check_ticks: u64,
    /// Rate as measured.
    measured: Rate,
    /// Rate at the start.
    first: Rate,
    /// Begin of the measurement.
    window: Pair,
    /// Last comparison.
    checked: Pair,
    /// Last reading: none is smaller.
    last_ns: u64,
    health: ClockHealth,
}

impl<S: Source> CounterClock<S> {
    /// A clock that begins at the kernel's. A counter that `is_trusted` not, or that stands still, is not used.
    pub fn new(mut source: S, is_trusted: bool) -> Self {
        let begin = pair(&mut source);
        let mut clock = Self {
            source,
            anchor_ticks: begin.ticks,
            anchor_ns: begin.ns,
            rate: 0,
            check_ticks: 0,
            measured: 0,
            first: 0,
            window: begin,
            checked: begin,
            last_ns: 0,
            health: ClockHealth::default(),
        };
        if is_trusted {
            clock.calibrate();
        }
        clock
    }

    /// Measures the counter's rate; where interruptions leave no good measurement, it is not used.
    fn calibrate(&mut self) {
        let begun = self.window.ns;
        let mut due = begun + CALIBRATION_NS;
        while due <= begun + CALIBRATION_MAX_NS {
            while self.source.monotonic() < due {
                std::hint::spin_loop();
            }
            let end = pair(&mut self.source);
            let (ticks, width) = (
                end.ticks.saturating_sub(self.window.ticks),
                self.window.width + end.width,
            );
            if width <= ticks / CALIBRATION_PARTS
                && let Some(rate) = rate(&self.window, &end)
            {
                (self.first, self.measured) = (rate, rate);
                self.checked = end;
                self.health.is_counter = true;
                self.anchor(end.ticks, end.ns, 0);
                return;
            }
            if self.window.width > end.width {
                self.window = end;
            }
            due = end.ns + CALIBRATION_NS;
        }
    }

    /// Now, ns of the kernel's monotonic clock, give or take what [`ClockHealth`] says.
    #[inline]
    pub fn now(&mut self) -> u64 {
        let now = if self.health.is_counter {
            let ticks = self.source.ticks();
            // A counter behind the anchor wraps to a large number and is looked at too.
            let since = ticks.wrapping_sub(self.anchor_ticks);
            if since < self.check_ticks {
                self.anchor_ns + ((since * self.rate) >> 32)
            } else {
                self.check()
            }
        } else {
            self.source.monotonic()
        };
        self.last_ns = self.last_ns.max(now);
        self.last_ns
    }

    /// How it fares.
    pub const fn health(&self) -> ClockHealth {
        self.health
    }

    /// Goes on from `ns` at `ticks`, and works off `error_ns`, which is not positive, until the next check.
    fn anchor(&mut self, ticks: u64, ns: u64, error_ns: i64) {
        (self.anchor_ticks, self.anchor_ns) = (ticks, ns);
        self.check_ticks = ((u128::from(CHECK_NS) << 32) / u128::from(self.measured)) as u64;
        // At least half as fast: it never stands still.
        let error_ns = error_ns.clamp(-(CHECK_NS as i64) / 2, 0);
        let slew = i128::from(self.measured) * i128::from(error_ns);
        self.rate = (i128::from(self.measured) + slew / i128::from(CHECK_NS)) as Rate;
    }

    /// What the clock shows at `ticks`, at or after the anchor: the slew ends where a check was due.
    fn shown(&self, ticks: u64) -> u64 {
        let since = ticks.saturating_sub(self.anchor_ticks);
        let slewed = since.min(self.check_ticks);
        let ns = u128::from(slewed) * u128::from(self.rate)
            + u128::from(since - slewed) * u128::from(self.measured);
        self.anchor_ns + (ns >> 32) as u64
    }

    /// Compares with the kernel's clock and goes on from what is shown; returns it.
    #[cold]
    fn check(&mut self) -> u64 {
        let now = pair(&mut self.source);
        self.health.checks += 1;
        if is_mad(&self.checked, &now, self.first) {
            self.health.is_counter = false;
            self.health.gave_up = true;
            return now.ns;
        }
        let shown = self.shown(now.ticks);
        if scale(now.width, self.measured) > WIDTH_MAX_NS {
            self.health.checks_spoiled += 1;
            self.anchor(now.ticks, shown, 0);
            return shown;
        }
        self.checked = now;
        if now.ns - self.window.ns >= WINDOW_MIN_NS
            && let Some(rate) = rate(&self.window, &now)
        {
            self.measured = rate;
            let drift = (i128::from(rate) - i128::from(self.first)) * 1_000_000_000;
            // A larger rate is more time per tick: the counter runs slower.
            self.health.drift_ppb = (-drift / i128::from(self.first)) as i64;
        }
        if now.ns - self.window.ns > WINDOW_NS {
            self.window = now;
        }
        let error = now.ns as i64 - shown as i64;
        self.health.error_max_ns = self.health.error_max_ns.max(error.unsigned_abs());
        // Behind, it steps forward; ahead, it runs slower for a while.
        let next = shown.max(now.ns);
        self.anchor(now.ticks, next, error.min(0));
        next
    }
}

/// Both clocks at once: the closest of a few readings, for one that was interrupted is wide.
fn pair<S: Source>(source: &mut S) -> Pair {
    let mut one = || {
        let before = source.ticks();
        let ns = source.monotonic();
        let width = source.ticks().saturating_sub(before);
        Pair {
            ticks: before.saturating_add(width / 2),
            ns,
            width,
        }
    };
    let mut best = one();
    for _ in 0..2 {
        let next = one();
        if next.width <= best.width {
            best = next;
        }
    }
    best
}

/// Rate from one pair to a later one; none if either clock stood still, or the counter is slower than 1 MHz.
fn rate(from: &Pair, to: &Pair) -> Option<Rate> {
    let (ticks, ns) = (
        to.ticks.checked_sub(from.ticks)?,
        to.ns.checked_sub(from.ns)?,
    );
    let rate = (u128::from(ns) << 32).checked_div(u128::from(ticks))?;
    (rate > 0 && rate < 1000 << 32).then_some(rate as Rate)
}

fn scale(ticks: u64, rate: Rate) -> u64 {
    ((u128::from(ticks) * u128::from(rate)) >> 32) as u64
}

/// Whether the two clocks have moved apart by more than any crystal does.
fn is_mad(from: &Pair, to: &Pair, rate: Rate) -> bool {
    let (Some(ticks), Some(ns)) = (to.ticks.checked_sub(from.ticks), to.ns.checked_sub(from.ns))
    else {
        return true;
    };
    let counted = scale(ticks, rate);
    let allowed = ERROR_MAX_NS + scale(to.width, rate) + ns / 1_000_000 * DRIFT_MAX_PPM;
    counted.abs_diff(ns) > allowed
}

#[cfg(test)]
mod tests {
    use super::{CHECK_NS, CounterClock, Source};
    use proptest::prelude::*;

    /// True time, and a counter that follows it as told.
    #[derive(Clone, Debug)]
    struct Fake {
        ns: u64,
        ticks: f64,
        ticks_per_ns: f64,
        /// What one reading of either takes.
        read_ns: u64,
    }

    impl Fake {
        fn new() -> Self {
            Self {
                ns: 5_000_000_000,
                ticks: 1e12,
                ticks_per_ns: 2.3,
                read_ns: 10,
            }
        }

        fn pass(&mut self, ns: u64) {
            self.ns += ns;
            self.ticks += ns as f64 * self.ticks_per_ns;
        }
    }

    impl Source for Fake {
        fn ticks(&mut self) -> u64 {
            self.pass(self.read_ns);
            self.ticks as u64
        }
        fn monotonic(&mut self) -> u64 {
            self.pass(self.read_ns);
            self.ns
        }
    }

    /// Largest difference to true time over `turns` readings, `step_ns` apart; asserts that none goes back.
    fn run(clock: &mut CounterClock<Fake>, turns: usize, step_ns: u64) -> u64 {
        let (mut worst, mut last) = (0, 0);
        for _ in 0..turns {
            clock.source.pass(step_ns);
            let now = clock.now();
            assert!(now >= last, "{now} after {last}");
            last = now;
            worst = worst.max(now.abs_diff(clock.source.ns));
        }
        worst
    }

    #[test]
    fn a_steady_counter_tells_the_time_to_the_width_of_a_reading() {
        let mut clock = CounterClock::new(Fake::new(), true);
        assert!(run(&mut clock, 100_000, 3_777) < 50);
        let health = clock.health();
        assert!(health.is_counter && !health.gave_up);
        assert!(health.checks > 30, "{health:?}");
        assert!(health.drift_ppb.abs() < 2_000, "{health:?}");
        // Seldom read, it is as good: each reading is a check.
        assert!(run(&mut clock, 1_000, 5_000_000_000) < 50);
    }

    #[test]
    fn a_counter_that_drifts_is_followed_and_the_drift_is_shown() {
        let mut clock = CounterClock::new(Fake::new(), true);
        clock.source.ticks_per_ns *= 1.000_050;
        // 50 ppm of the time between checks is 500 ns.
        assert!(run(&mut clock, 400_000, 100_000) < 1_000);
        let health = clock.health();
        assert!(
            health.is_counter && health.error_max_ns < 1_000,
            "{health:?}"
        );
        assert!((45_000..=55_000).contains(&health.drift_ppb), "{health:?}");
    }

    #[test]
    fn a_counter_that_jumps_or_changes_speed_is_given_up_at_the_next_check() {
        let spoil: [fn(&mut Fake); 5] = [
            |f| f.ticks += 2.3 * 1e9,
            |f| f.ticks -= 2.3 * 1e9,
            |f| f.ticks = 0.0,
            |f| f.ticks_per_ns *= 1.01,
            |f| f.ticks_per_ns = 0.0,
        ];
        for (case, spoil) in spoil.into_iter().enumerate() {
            let mut clock = CounterClock::new(Fake::new(), true);
            run(&mut clock, 1_000, 100_000);
            spoil(&mut clock.source);
            let last = clock.now();
            let before = clock.source.ns;
            // While it stands still so does the time; once it goes on, what is lacking shows.
            if case == 4 {
                clock.source.pass(50_000_000);
                assert_eq!(clock.now(), last);
                clock.source.ticks_per_ns = 2.3;
            }
            run(&mut clock, 300, 100_000);
            let health = clock.health();
            assert!(
                health.gave_up && !health.is_counter,
                "case {case}: {health:?}"
            );
            assert!(clock.source.ns > before + 20_000_000);
            assert!(run(&mut clock, 300, 100_000) < 50, "case {case}");
        }
    }

    #[test]
    fn a_counter_that_is_not_trusted_or_stands_still_is_not_used() {
        let mut clock = CounterClock::new(Fake::new(), false);
        assert!(run(&mut clock, 1_000, 100) < 50);
        let mut still = Fake::new();
        still.ticks_per_ns = 0.0;
        let mut clock = CounterClock::new(still, true);
        assert!(run(&mut clock, 1_000, 100) < 50);
        assert_eq!(clock.health(), super::ClockHealth::default());
    }

    /// Something that happens between readings.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// Time passes.
        Pass(u64),
        /// The counter runs so much faster or slower than at the start, ppm.
        Drift(i32),
        /// A reading takes this long for a while: the machine is busy.
        Slow(u64),
        /// The counter jumps, ns.
        Jump(i64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            20 => (0u64..30_000_000).prop_map(Event::Pass),
            2 => (0u64..20_000_000_000).prop_map(Event::Pass),
            2 => (-200i32..200).prop_map(Event::Drift),
            1 => prop_oneof![Just(10u64), Just(300), Just(40_000)].prop_map(Event::Slow),
            1 => (-5_000_000_000i64..5_000_000_000).prop_map(Event::Jump),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        /// Whatever the counter does, time never goes back and parts from the true one no faster than the counter
        /// does; once the machine is calm the two meet again.
        #[test]
        fn time_never_goes_back_and_its_error_is_bounded(events in prop::collection::vec(event(), 1..100)) {
            let source = Fake { read_ns: 100, ..Fake::new() };
            let mut clock = CounterClock::new(source, true);
            let (mut last, mut error, mut jumped) = (0, 0u64, 0u64);
            for event in events {
                let mut passed = 0;
                match event {
                    Event::Pass(ns) => {
                        clock.source.pass(ns);
                        passed = ns;
                    }
                    Event::Drift(ppm) => clock.source.ticks_per_ns = 2.3 * (1.0 + f64::from(ppm) * 1e-6),
                    Event::Slow(ns) => clock.source.read_ns = ns,
                    Event::Jump(ns) => {
                        clock.source.ticks = (clock.source.ticks + ns as f64 * 2.3).max(0.0);
                        // Only a jump shorter than the time to the next check can be shown before it is found; after one
                        // back the time stands still until the counter has made up for it.
                        jumped += ns.unsigned_abs().min(2 * CHECK_NS);
                    }
                }
                let now = clock.now();
                prop_assert!(now >= last, "{now} after {last}");
                last = now;
                // Wide readings, and a rate that was measured before the drift turned.
                let bound = error + 600_000 + jumped + passed / 1_000_000 * 400;
                error = now.abs_diff(clock.source.ns);
                prop_assert!(error < bound, "{error} ns off after {event:?}: {:?}", clock.health());
            }
            clock.source.read_ns = 100;
            run(&mut clock, 5_000, CHECK_NS + 1_000_000);
            let left = run(&mut clock, 100, CHECK_NS + 1_000_000);
            prop_assert!(left < 10_000, "{left} ns off at the end: {:?}", clock.health());
        }
    }
}
