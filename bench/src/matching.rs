//! How fast one thread matches: a recorded stream of order commands, already in memory, through one
//! stage of the venue, timed as a whole and then command by command.
//!
//! See [`workload`] for the file, and the page of each stage for what it includes. A run whose totals
//! differ from those of the runs before it (at stage `book`: from those in the file's header), or that
//! calls the allocator while it is timed, is an error and not a measurement.

pub(crate) mod allocations;
mod book_stage;
mod course;
mod depth;
mod engine_stage;
mod full_stage;
pub(crate) mod generate;
mod journaled;
mod recording;
mod timer;
mod workload;

pub(crate) use journaled::write_journal;

use anyhow::{Context, Result, ensure};
use book_stage::BookCourse;
use course::{Course, Finish, Spread, finish_of, measure};
use engine_stage::{EngineCourse, Inputs};
use full_stage::{Datagrams, FullCourse};
use matcher::book::LadderBook;
use matcher::reference::ReferenceBook;
use recording::Recording;
use serde::Serialize;
use std::marker::PhantomData;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use workload::Workload;

/// What part of the venue the commands go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// The order book with its matching loop: no accounts, no margin, no journal.
    Book,
    /// The engine: accounts, margin, self-trade prevention, fees, batches, reports and feed messages.
    Engine,
    /// The hot tile: tag, window, flow, decoding, gate, sequencer, journal record, engine.
    Full,
}

/// `bench match`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Workload file; `bench workload` makes them.
    #[arg(long, required_unless_present = "depth")]
    workload: Option<PathBuf>,
    /// Measures growth with depth at stage `book` instead: 10,000 against 1,000,000 live orders, in pairs.
    #[arg(long, conflicts_with_all = ["workload", "stage", "check"])]
    depth: bool,
    /// What the commands go through.
    #[arg(long, value_enum, default_value = "book")]
    stage: Stage,
    /// Accounts that the orders are spread over (not at stage `book`).
    #[arg(long, default_value_t = 64)]
    accounts: u32,
    /// Runs of each kind; the median of the runs is given.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Core to stay on. Without it the kernel may move the thread.
    #[arg(long)]
    core: Option<usize>,
    /// Asks the C library for huge pages, as a venue with deep books should be started: runs itself again
    /// under `GLIBC_TUNABLES`.
    #[arg(long)]
    huge_pages: bool,
    /// Plays the workload through the slow twin too, and fails if anything differs.
    #[arg(long)]
    check: bool,
    /// File for the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Where glibc looks for what it is to do, from 2.35 on; other C libraries do not.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// Large pieces of memory are marked for transparent huge pages.
const HUGE: &str = "glibc.malloc.hugetlb=1";

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
    /// What every run came to.
    finish: Finish,
    /// Calls of the allocator inside the timed parts.
    allocations: u64,
    /// Whether the slow twin came to the same; absent if it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    agrees_with_slow_twin: Option<bool>,
}

/// Measures and prints.
///
/// # Errors
/// If the file is not a workload, runs or twins disagree, or a timed part allocates.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.huge_pages && std::env::var_os(TUNABLES).is_none() {
        let again = std::env::current_exe().context("finding this program")?;
        let mut again = Command::new(again);
        again.args(std::env::args_os().skip(1)).env(TUNABLES, HUGE);
        return Err(again.exec()).context("running again for huge pages");
    }
    if let Some(core) = args.core {
        lane::pin_to_core(core)?;
    }
    let Some(path) = &args.workload else {
        let depths = depth::measure_depth(args.runs)?;
        depth::print(&depths);
        return write_json(args, &depths);
    };
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let workload =
        Workload::parse(&bytes).with_context(|| format!("{} is not a workload", path.display()))?;
    let measured = measure_stage(&workload, args)?;
    print_table(&measured);
    write_json(args, &measured)
}

fn write_json(args: &Args, figures: &impl Serialize) -> Result<()> {
    let Some(path) = &args.json else {
        return Ok(());
    };
    let json = serde_json::to_string_pretty(figures)?;
    std::fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))
}

fn measure_stage(workload: &Workload, args: &Args) -> Result<Measured> {
    match args.stage {
        Stage::Book => {
            let fast = BookCourse::<LadderBook>::new(workload);
            let slow = BookCourse::<ReferenceBook>::new(workload);
            with_twin(&fast, &slow, &workload.name, args)
        }
        Stage::Engine => {
            let recording = Recording::of(workload, args.accounts)?;
            let inputs = Inputs::of(&recording);
            let sequencer = recording.venue::<LadderBook>()?.sequencer;
            let inputs = inputs.sequenced(sequencer)?;
            let fast = EngineCourse::<LadderBook> {
                recording: &recording,
                inputs: &inputs,
                book: PhantomData,
            };
            let slow = EngineCourse::<ReferenceBook> {
                recording: &recording,
                inputs: &inputs,
                book: PhantomData,
            };
            with_twin(&fast, &slow, &recording.name, args)
        }
        Stage::Full => {
            let recording = Recording::of(workload, args.accounts)?;
            let datagrams = Datagrams::of(&recording);
            let payloads = datagrams.payloads();
            let fast = FullCourse::<LadderBook> {
                recording: &recording,
                payloads: &payloads,
                book: PhantomData,
            };
            let slow = FullCourse::<ReferenceBook> {
                recording: &recording,
                payloads: &payloads,
                book: PhantomData,
            };
            with_twin(&fast, &slow, &recording.name, args)
        }
    }
}

/// Times `fast`, and holds it against `slow` if that is asked for.
fn with_twin(fast: &impl Course, slow: &impl Course, name: &str, args: &Args) -> Result<Measured> {
    let wanted = finish_of(fast)?;
    if args.check {
        let twin = finish_of(slow)?;
        ensure!(
            twin == wanted,
            "{name}: the slow twin came to {twin:x?}, the fast one to {wanted:x?}"
        );
    }
    let mut measured = measure(fast, args.stage, name, &wanted, args.runs)?;
    measured.agrees_with_slow_twin = args.check.then_some(true);
    Ok(measured)
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
    let (f, t) = (&m.finish, m.finish.totals);
    let proof = match (m.agrees_with_slow_twin, m.stage) {
        (Some(_), _) => "as the slow twin's",
        (None, Stage::Book) => "as in the file",
        (None, _) => "the same in every run",
    };
    println!(
        "fills {} volume {} checksum {:016x} ({proof})",
        t.fills, t.volume, t.checksum
    );
    println!(
        "rejects {} batches sealed {} live orders {}",
        f.rejects, f.batches, f.live
    );
    println!("book {}", f.book_hash);
    if let Some(hash) = &f.state_hash {
        println!("state {hash}");
    }
    println!("allocations while timed: {}", m.allocations);
}

#[cfg(test)]
mod tests {
    use super::generate::tests::small;
    use super::generate::{DEEP, MOVES, TOUCH};
    use super::*;

    fn args(stage: Stage) -> Args {
        Args {
            workload: None,
            depth: false,
            stage,
            accounts: 8,
            runs: 1,
            core: None,
            huge_pages: false,
            check: true,
            json: None,
        }
    }

    #[test]
    fn each_stage_gives_the_fills_of_its_slow_twin_without_an_allocation() {
        for recipe in [TOUCH, DEEP, MOVES] {
            let workload = small(recipe);
            let mut finishes = Vec::new();
            for stage in [Stage::Book, Stage::Engine, Stage::Full] {
                let measured = measure_stage(&workload, &args(stage)).unwrap();
                assert_eq!(measured.commands, 4_000);
                assert_eq!(measured.allocations, 0);
                assert_eq!(measured.agrees_with_slow_twin, Some(true));
                assert!(measured.finish.totals.fills > 200, "{measured:?}");
                serde_json::to_string(&measured).unwrap();
                finishes.push(measured.finish);
            }
            // The gate stands before both, so engine and box come to the same books and accounts.
            assert_eq!(finishes[1], finishes[2]);
        }
    }

    #[test]
    fn no_request_of_a_workload_is_refused_and_own_orders_never_meet() {
        let workload = small(TOUCH);
        let many = Args {
            accounts: 64,
            ..args(Stage::Engine)
        };
        let measured = measure_stage(&workload, &many).unwrap();
        // A replace may ask for what is so already, or name an order that self-trade prevention took.
        assert!(measured.finish.rejects < 40, "{measured:?}");
        let one = Args {
            accounts: 1,
            ..args(Stage::Engine)
        };
        let measured = measure_stage(&workload, &one).unwrap();
        assert_eq!(measured.finish.totals.fills, 0);
    }

    #[test]
    fn a_run_with_other_fills_than_the_file_says_is_an_error() {
        let mut workload = small(TOUCH);
        workload.totals.checksum ^= 1;
        let error = measure_stage(&workload, &args(Stage::Book)).unwrap_err();
        assert!(error.to_string().contains("the file says"), "{error}");
    }
}
