//! How fast one thread matches: a recorded stream of order commands, already in memory, through one
//! stage of the venue, timed as a whole and then command by command.
//!
//! See [`workload`] for the file. A run whose totals differ from those in its header is an error, not a
//! measurement.

mod allocations;
pub(crate) mod generate;
mod timer;
mod workload;

use anyhow::{Context, Result, bail, ensure};
use firmware::units::{AccountId, ClOrdId, InstrumentId, OrderId, PriceTicks};
use matcher::book::{
    BOOK_ORDERS_MAX, BookLimits, LadderBook, MakerAction, OrderBook, OrderInfo, match_limit,
};
use serde::Serialize;
use std::hint::black_box;
use std::path::PathBuf;
use timer::Timer;
use workload::{Command, Op, Totals, Workload};

const INSTRUMENT: InstrumentId = InstrumentId(0);

/// What part of the venue the commands go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// The order book with its matching loop: no accounts, no margin, no journal.
    Book,
}

/// `bench match`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Workload file.
    #[arg(long)]
    workload: PathBuf,
    /// What the commands go through.
    #[arg(long, value_enum, default_value = "book")]
    stage: Stage,
    /// Runs of each kind; the median of the runs is given.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Core to stay on. Without it the kernel may move the thread.
    #[arg(long)]
    core: Option<usize>,
    /// Print one line of JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// One figure over several runs.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            median: values[values.len() / 2],
            least: values[0],
            most: values[values.len() - 1],
        }
    }
}

/// What was measured. Times are in ns.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Measured {
    workload: String,
    stage: Stage,
    /// Timed commands of one run.
    commands: u64,
    runs: u32,
    /// Time per command of the whole timed part.
    per_command_ns: Spread,
    /// The same for a stage that does nothing: what the harness itself costs, included above.
    empty_harness_ns: Spread,
    /// Time of single commands, each between fences, the timer's own cost taken off.
    p50_ns: Spread,
    p99_ns: Spread,
    p999_ns: Spread,
    max_ns: Spread,
    /// Fills, volume and checksum of a whole run, as the file says them.
    totals: Totals,
    /// Calls of the allocator inside the timed parts.
    allocations: u64,
}

/// Measures and prints.
///
/// # Errors
/// If the file is not a workload, or a run gave other fills than the file says.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(core) = args.core {
        lane::pin_to_core(core)?;
    }
    let bytes = std::fs::read(&args.workload)
        .with_context(|| format!("reading {}", args.workload.display()))?;
    let workload = Workload::parse(&bytes)
        .with_context(|| format!("{} is not a workload", args.workload.display()))?;
    let measured = measure(&workload, args.stage, args.runs)?;
    if args.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        print_table(&measured);
    }
    Ok(())
}

fn print_table(m: &Measured) {
    println!(
        "{} through the {:?} stage: {} commands, {} runs",
        m.workload, m.stage, m.commands, m.runs
    );
    println!("{:<28}{:>10}{:>10}{:>10}", "ns", "median", "least", "most");
    for (name, spread) in [
        ("per command", m.per_command_ns),
        ("of it the empty harness", m.empty_harness_ns),
        ("one command, p50", m.p50_ns),
        ("p99", m.p99_ns),
        ("p99.9", m.p999_ns),
        ("max", m.max_ns),
    ] {
        println!(
            "{name:<28}{:>10.1}{:>10.1}{:>10.1}",
            spread.median, spread.least, spread.most
        );
    }
    let t = m.totals;
    println!(
        "fills {} volume {} checksum {:016x} (as in the file)",
        t.fills, t.volume, t.checksum
    );
    println!("allocations while timed: {}", m.allocations);
}

/// A stage under test.
trait Target {
    fn apply(&mut self, command: &Command);
}

/// The stage that does nothing but look at the command.
struct Nothing;

impl Target for Nothing {
    #[inline]
    fn apply(&mut self, command: &Command) {
        black_box((
            command.op,
            command.side,
            command.id,
            command.price,
            command.lots,
        ));
    }
}

/// A book whose orders are known by the workload's ids.
struct Venue<B> {
    book: B,
    /// The book's name of each of the workload's orders; of a dead one it is a dead name.
    names: Vec<OrderId>,
    totals: Totals,
    /// Orders that the book would not rest.
    refused: u64,
}

impl<B: OrderBook> Venue<B> {
    fn new(workload: &Workload) -> Result<Self> {
        // The arena of a whole venue, not one cut to the workload.
        let mut book = B::new(BookLimits {
            instruments: 1,
            orders: BOOK_ORDERS_MAX,
        })?;
        book.list(
            INSTRUMENT,
            PriceTicks(workload.price_min),
            workload.width_ticks(),
        )?;
        let names = vec![black_box(OrderId(0)); workload.id_max as usize + 1];
        Ok(Self {
            book,
            names,
            totals: Totals::default(),
            refused: 0,
        })
    }

    #[inline]
    fn take(&mut self, command: &Command) -> i64 {
        let totals = &mut self.totals;
        let (side, limit) = (command.side, PriceTicks(command.price));
        match_limit(
            &mut self.book,
            INSTRUMENT,
            side,
            limit,
            i64::from(command.lots),
            |m| {
                totals.add(
                    m.maker.info.cl_ord_id.0 as u32,
                    command.id,
                    m.maker.price.0,
                    m.lots as u32,
                );
                MakerAction::Fill
            },
        )
    }

    #[inline]
    fn enter(&mut self, command: &Command) {
        let lots = self.take(command);
        if lots == 0 {
            return;
        }
        let info = OrderInfo {
            account: AccountId(command.id & 0xFFFF),
            session: 0,
            cl_ord_id: ClOrdId(u64::from(command.id)),
            flags: 0,
        };
        match self.book.insert(
            INSTRUMENT,
            command.side,
            PriceTicks(command.price),
            lots,
            info,
        ) {
            Ok(id) => self.names[command.id as usize] = id,
            Err(_) => self.refused += 1,
        }
    }
}

impl<B: OrderBook> Target for Venue<B> {
    #[inline]
    fn apply(&mut self, command: &Command) {
        match command.op {
            Op::Limit => self.enter(command),
            // The account is what a venue releases the order's margin to.
            Op::Cancel => {
                let cancelled = self.book.cancel(self.names[command.id as usize]);
                black_box(cancelled.map(|order| order.info.account));
            }
            // A replace of a dead order is a reject.
            Op::Replace => {
                if self.book.cancel(self.names[command.id as usize]).is_some() {
                    self.enter(command);
                }
            }
            Op::Ioc => {
                self.take(command);
            }
        }
    }
}

/// Plays a whole run; `timed` plays its middle part.
fn play<B: OrderBook, R>(
    workload: &Workload,
    timed: impl FnOnce(&mut Venue<B>, &[Command]) -> R,
) -> Result<(R, Totals)> {
    let mut venue = Venue::<B>::new(workload)?;
    workload.warmup().iter().for_each(|c| venue.apply(c));
    let result = timed(&mut venue, workload.timed());
    workload.drain().iter().for_each(|c| venue.apply(c));
    ensure!(
        venue.refused == 0,
        "the book refused {} orders",
        venue.refused
    );
    ensure!(
        venue.book.live() == 0,
        "{} orders are left on the book after the drain",
        venue.book.live()
    );
    Ok((result, venue.totals))
}

/// Timer ticks that the commands take as a whole. Never inlined, so that every stage is timed by the
/// same loop.
#[inline(never)]
fn whole(target: &mut impl Target, commands: &[Command], timer: &Timer) -> u64 {
    let start = timer.fenced();
    for command in commands {
        target.apply(command);
    }
    timer.fenced() - start
}

/// Timer ticks of each command, written to `ticks`.
#[inline(never)]
fn each(target: &mut impl Target, commands: &[Command], timer: &Timer, ticks: &mut [u32]) {
    for (command, ticks) in commands.iter().zip(ticks) {
        let start = timer.fenced();
        target.apply(command);
        *ticks = u32::try_from(timer.fenced() - start).unwrap_or(u32::MAX);
    }
}

/// The value that `per_10_000` of ten thousand sorted ticks do not exceed, in ns, less the timer's cost.
fn percentile(sorted: &[u32], per_10_000: usize, timer: &Timer) -> f64 {
    let at = (sorted.len() * per_10_000)
        .div_ceil(10_000)
        .clamp(1, sorted.len())
        - 1;
    timer.ns(u64::from(sorted[at]).saturating_sub(timer.cost_ticks))
}

fn measure(workload: &Workload, stage: Stage, runs: u32) -> Result<Measured> {
    let Stage::Book = stage;
    measure_book::<LadderBook>(workload, runs)
}

fn measure_book<B: OrderBook>(workload: &Workload, runs: u32) -> Result<Measured> {
    let timer = Timer::calibrated();
    let commands = workload.timed().len();
    ensure!(commands > 0, "the workload has no timed commands");
    let per_command = |ticks: u64| timer.ns(ticks) / commands as f64;
    let (mut wholes, mut empties, mut percentiles) = (Vec::new(), Vec::new(), vec![Vec::new(); 4]);
    let mut allocations = 0;
    let mut ticks = vec![black_box(1u32); commands];
    for _ in 0..runs {
        empties.push(per_command(whole(&mut Nothing, workload.timed(), &timer)));
        let (elapsed, totals) = play::<B, _>(workload, |venue, commands| {
            let before = allocations::count();
            let elapsed = whole(venue, commands, &timer);
            allocations += allocations::count() - before;
            elapsed
        })?;
        check_totals(workload, totals)?;
        wholes.push(per_command(elapsed));

        let ((), totals) = play::<B, _>(workload, |venue, commands| {
            let before = allocations::count();
            each(venue, commands, &timer, &mut ticks);
            allocations += allocations::count() - before;
        })?;
        check_totals(workload, totals)?;
        ticks.sort_unstable();
        for (values, rank) in percentiles.iter_mut().zip([5_000, 9_900, 9_990, 10_000]) {
            values.push(percentile(&ticks, rank, &timer));
        }
    }
    let mut percentiles = percentiles.into_iter().map(Spread::of);
    let mut next = || percentiles.next().expect("four percentiles");
    Ok(Measured {
        workload: workload.name.clone(),
        stage: Stage::Book,
        commands: commands as u64,
        runs,
        per_command_ns: Spread::of(wholes),
        empty_harness_ns: Spread::of(empties),
        p50_ns: next(),
        p99_ns: next(),
        p999_ns: next(),
        max_ns: next(),
        totals: workload.totals,
        allocations,
    })
}

fn check_totals(workload: &Workload, got: Totals) -> Result<()> {
    if got != workload.totals {
        bail!(
            "{}: the file says {:x?}, the run gave {got:x?}",
            workload.name,
            workload.totals
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;
    use firmware::units::Side;
    use matcher::reference::ReferenceBook;

    /// A stream of every kind of command, with totals as the slow book gives them.
    fn small() -> Workload {
        let mut prng = Prng::new(1, 0);
        let mut commands: Vec<_> = (1..=3_000u32)
            .map(|id| {
                let dice = prng.below(10);
                let op = [
                    Op::Limit,
                    Op::Limit,
                    Op::Limit,
                    Op::Limit,
                    Op::Limit,
                    Op::Ioc,
                    Op::Replace,
                    Op::Replace,
                ];
                let op = op.get(dice as usize).copied().unwrap_or(Op::Cancel);
                let old = matches!(op, Op::Cancel | Op::Replace);
                Command {
                    op,
                    side: if prng.chance(500_000) {
                        Side::Buy
                    } else {
                        Side::Sell
                    },
                    id: if old {
                        prng.between(1, i64::from(id)) as u32
                    } else {
                        id
                    },
                    price: prng.between(100, 160) as i32,
                    lots: prng.between(1, 50) as u32,
                }
            })
            .collect();
        let sweep = |side, id, price| Command {
            op: Op::Ioc,
            side,
            id,
            price,
            lots: 1_000_000_000,
        };
        commands.extend([sweep(Side::Buy, 3_001, 160), sweep(Side::Sell, 3_002, 100)]);
        let mut workload = Workload {
            name: "small".into(),
            seed: 1,
            live_max: 0,
            priceless: 0,
            price_min: 100,
            price_max: 160,
            id_max: 3_002,
            warmup: 500,
            drain: 2,
            totals: Totals::default(),
            commands,
        };
        let slow = play::<ReferenceBook, _>(&workload, |v, c| c.iter().for_each(|c| v.apply(c)));
        workload.totals = slow.unwrap().1;
        workload
    }

    #[test]
    fn the_fast_book_gives_the_fills_of_the_slow_one_without_an_allocation() {
        let workload = small();
        assert!(workload.totals.fills > 500, "{:?}", workload.totals);
        let measured = measure(&workload, Stage::Book, 1).unwrap();
        assert_eq!(measured.commands, 2_500);
        assert_eq!(measured.allocations, 0);
        serde_json::to_string(&measured).unwrap();
    }

    #[test]
    fn a_run_with_other_fills_than_the_file_says_is_an_error() {
        let mut workload = small();
        workload.totals.checksum ^= 1;
        let error = measure(&workload, Stage::Book, 1).unwrap_err();
        assert!(error.to_string().contains("the file says"), "{error}");
    }

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
