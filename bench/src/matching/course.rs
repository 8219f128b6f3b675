//! What is timed, and how: a [`Course`] of commands is played from the start, its middle part as a whole
//! and then command by command.

use super::timer::Timer;
use super::workload::Totals;
use super::{Measured, Stage, allocations};
use anyhow::{Result, ensure};
use firmware::units::{InstrumentId, Side};
use matcher::book::OrderBook;
use serde::Serialize;
use std::hint::black_box;

/// A stage under test.
pub(super) trait Target<C> {
    fn apply(&mut self, command: &C);
}

/// The stage that does nothing but look at the command.
struct Nothing;

impl<C> Target<C> for Nothing {
    #[inline]
    fn apply(&mut self, command: &C) {
        black_box(command);
    }
}

/// What a whole run came to: the same for every run, and for the slow twin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Finish {
    /// Fills of the whole run.
    #[serde(flatten)]
    pub(super) totals: Totals,
    /// BLAKE3 over all orders that rest after the timed part.
    pub(super) book_hash: String,
    /// Orders that rest then.
    pub(super) live: u64,
    /// Requests refused.
    pub(super) rejects: u64,
    /// Batches sealed.
    pub(super) batches: u64,
    /// Hash of the engine's whole state after the timed part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state_hash: Option<String>,
}

/// A stream of commands ready to be played, any number of times.
pub(super) trait Course {
    type Command;
    type Run: Target<Self::Command>;
    /// Before the first command.
    fn start(&self) -> Result<Self::Run>;
    fn warmup(&self) -> &[Self::Command];
    fn timed(&self) -> &[Self::Command];
    /// Plays what is left and says what the run came to.
    fn finish(&self, run: Self::Run) -> Result<Finish>;
}

/// Plays a whole run; `timed` plays its middle part.
pub(super) fn play<C: Course, R>(
    course: &C,
    timed: impl FnOnce(&mut C::Run, &[C::Command]) -> R,
) -> Result<(R, Finish)> {
    let mut run = course.start()?;
    course.warmup().iter().for_each(|c| run.apply(c));
    let result = timed(&mut run, course.timed());
    Ok((result, course.finish(run)?))
}

/// What a run comes to, untimed.
pub(super) fn finish_of<C: Course>(course: &C) -> Result<Finish> {
    let untimed = |run: &mut C::Run, commands: &[C::Command]| {
        commands.iter().for_each(|c| run.apply(c));
    };
    Ok(play(course, untimed)?.1)
}

/// Timer ticks that the commands take as a whole. Never inlined, so that every stage is timed by the
/// same loop.
#[inline(never)]
pub(super) fn whole<C>(target: &mut impl Target<C>, commands: &[C], timer: &Timer) -> u64 {
    let start = timer.fenced();
    for command in commands {
        target.apply(command);
    }
    timer.fenced() - start
}

/// Timer ticks of each command, written to `ticks`.
#[inline(never)]
pub(super) fn each<C>(
    target: &mut impl Target<C>,
    commands: &[C],
    timer: &Timer,
    ticks: &mut [u32],
) {
    for (command, ticks) in commands.iter().zip(ticks) {
        let start = timer.fenced();
        target.apply(command);
        *ticks = u32::try_from(timer.fenced() - start).unwrap_or(u32::MAX);
    }
}

/// The value that `per_10_000` of ten thousand sorted ticks do not exceed, in ns, less the timer's cost.
pub(super) fn percentile(sorted: &[u32], per_10_000: usize, timer: &Timer) -> f64 {
    let at = (sorted.len() * per_10_000)
        .div_ceil(10_000)
        .clamp(1, sorted.len())
        - 1;
    timer.ns(u64::from(sorted[at]).saturating_sub(timer.cost_ticks))
}

/// One figure over several runs.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            median: values[values.len() / 2],
            least: values[0],
            most: values[values.len() - 1],
        }
    }
}

/// Times a course `runs` times; every run must come to `wanted`.
pub(super) fn measure<C: Course>(
    course: &C,
    stage: Stage,
    name: &str,
    wanted: &Finish,
    runs: u32,
) -> Result<Measured> {
    let timer = Timer::calibrated();
    let commands = course.timed().len();
    ensure!(commands > 0, "the workload has no timed commands");
    let per_command = |ticks: u64| timer.ns(ticks) / commands as f64;
    let (mut wholes, mut empties, mut percentiles) = (Vec::new(), Vec::new(), vec![Vec::new(); 4]);
    let mut allocations = 0;
    let mut ticks = vec![black_box(1u32); commands];
    let same = |finish: &Finish| {
        ensure!(
            finish == wanted,
            "{name}: a run came to {finish:x?}, the one before it to {wanted:x?}"
        );
        Ok(())
    };
    for _ in 0..runs {
        empties.push(per_command(whole(&mut Nothing, course.timed(), &timer)));
        let (elapsed, finish) = play(course, |run, commands| {
            let before = allocations::count();
            let elapsed = whole(run, commands, &timer);
            allocations += allocations::count() - before;
            elapsed
        })?;
        same(&finish)?;
        wholes.push(per_command(elapsed));

        let ((), finish) = play(course, |run, commands| {
            let before = allocations::count();
            each(run, commands, &timer, &mut ticks);
            allocations += allocations::count() - before;
        })?;
        same(&finish)?;
        ticks.sort_unstable();
        for (values, rank) in percentiles.iter_mut().zip([5_000, 9_900, 9_990, 10_000]) {
            values.push(percentile(&ticks, rank, &timer));
        }
    }
    ensure!(
        allocations == 0,
        "{name}: {allocations} allocations while timed"
    );
    let mut percentiles = percentiles.into_iter().map(Spread::of);
    let mut next = || percentiles.next().expect("four percentiles");
    Ok(Measured {
        workload: name.into(),
        stage,
        commands: commands as u64,
        runs,
        per_command_ns: Spread::of(wholes),
        empty_harness_ns: Spread::of(empties),
        p50_ns: next(),
        p99_ns: next(),
        p999_ns: next(),
        max_ns: next(),
        finish: wanted.clone(),
        allocations,
        agrees_with_slow_twin: None,
    })
}

/// Digest of every order of an instrument, best price first, oldest first.
pub(super) fn book_hash(book: &impl OrderBook, instrument: InstrumentId) -> String {
    let mut h = blake3::Hasher::new();
    for side in [Side::Buy, Side::Sell] {
        for price in book.levels(instrument, side) {
            for o in book.orders(instrument, side, price) {
                for n in [
                    o.id.0,
                    side as u64,
                    price.0 as u64,
                    o.lots as u64,
                    o.info.account.0.into(),
                    o.info.cl_ord_id.0,
                ] {
                    h.update(&n.to_le_bytes());
                }
            }
        }
    }
    h.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks_of_the_sorted_values() {
        let timer = Timer::calibrated();
        let sorted: Vec<u32> = (1..=1_000u32).map(|v| v * 1_000_000).collect();
        let at = |rank| percentile(&sorted, rank, &timer);
        let value = |v: u64| timer.ns(v * 1_000_000 - timer.cost_ticks);
        assert_eq!(
            [at(5_000), at(9_900), at(9_990), at(10_000)],
            [500, 990, 999, 1_000].map(value)
        );
    }
}
