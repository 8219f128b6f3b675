//! The whole box in simulation: every tile, a disk, a network, an oracle, an operator, an L1 and clients of the real
//! library on one thread, out of one seed.
//!
//! `SIM_SEEDS=1000 cargo test -p hostd --test sim` runs more seeds, `SIM_SEED=17` one, both so many from that one on;
//! `-- --nocapture` says what happened in them. A failure prints the seed, what it stands for, the step, the invariant, and the command that runs it again.

#[path = "../hot_tiles/mod.rs"]
mod hot_tiles;
mod invariant;
mod l1;
mod member;
mod options;
mod run;
mod standby;
mod subscriber;
mod tally;
mod venue;
mod view;
mod watched;
#[path = "../wires/mod.rs"]
mod wires;

use invariant::{Invariant, Violation};
use options::Options;
use run::Run;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use tally::Tally;

/// Seeds by default.
const SEEDS: u64 = 32;

/// What must happen in that many seeds: what the simulator never met it says nothing about.
const KINDS: &[&str] = &[
    "Overloaded",
    "crash: write in flight whole",
    "session terminated by the venue",
    "standby: ahead",
    "standby: connected",
    "standby: cut back",
    "standby: leads",
    "standby: line lost",
    "CannotFillWhole",
    "Halted",
    "InsufficientMargin",
    "L1 outage",
    "Locked",
    "MmpFrozen",
    "NIC without room",
    "NoSuchAccount",
    "NoSuchMmpGroup",
    "NotInThisState",
    "NothingToChange",
    "OracleStale",
    "PriceOffTick",
    "PriceOutOfBand",
    "PriceOutOfCollar",
    "QuantityOutOfRange",
    "Throttled",
    "UnknownAccount",
    "UnknownOrder",
    "WouldIncrease",
    "WouldTake",
    "bad tag",
    "batch committed",
    "box stopped by a disk error",
    "canceled: asked for",
    "canceled: dead-man timer",
    "canceled: disconnect",
    "canceled: expired",
    "canceled: kill switch",
    "canceled: mass cancel",
    "canceled: operator",
    "canceled: protection",
    "canceled: reduce-only",
    "canceled: rest of IOC or FOK",
    "canceled: self-trade",
    "checkpoint signed",
    "copy of a report",
    "crash",
    "crash: write in flight cut",
    "crash: write in flight lost",
    "crash: write in flight without some sectors",
    "datagram came again",
    "deposit came again",
    "deposit came early",
    "deposit credited",
    "deposit not final yet",
    "disk: error",
    "disk: no space for a segment",
    "disk: segment made",
    "disk: write done",
    "engine: fill",
    "engine: settlement",
    "engine: withdrawal",
    "feed checkpoint verified",
    "feed re-request",
    "feed skipped",
    "feed snapshot",
    "first on port B",
    "gap of requests",
    "line cut",
    "net: corrupted",
    "net: lost",
    "net: reordered",
    "net: repeated",
    "net: unheard",
    "operator: cancel",
    "operator: lock",
    "operator: seal",
    "operator: state",
    "oracle silent",
    "program dies",
    "program hangs",
    "program started",
    "re-request served",
    "read from the spool",
    "request came again",
    "request lost",
    "request sent",
    "retransmission",
    "retransmission asked for",
    "session closed",
    "session ended by the client",
    "session established",
    "session lost",
    "start",
    "told: accepted",
    "told: dead-man timer fired",
    "told: dead-man timer set",
    "told: deposit",
    "told: end of open orders",
    "told: filled",
    "told: locked",
    "told: mass cancel done",
    "told: mass quote done",
    "told: not applied",
    "told: open order",
    "told: position",
    "told: protection set",
    "told: protection triggered",
    "told: quote status",
    "told: replaced",
    "told: settled",
    "told: unlocked",
    "told: withdrawal granted",
    "torn tail dropped",
    "venue lost",
    "withdrawal committed",
];

/// How a run failed.
struct Failure {
    invariant: Invariant,
    what: String,
    step: u64,
    options: Options,
}

/// Runs a seed; the state in which the venue is at the end.
fn run(seed: u64, tally: &Tally) -> Result<[u8; 32], Box<Failure>> {
    let options = Options::of(seed);
    let step = Rc::new(Cell::new(0));
    let own = Rc::clone(&step);
    let run = || Run::new(seed, options.clone(), own, tally).run();
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let Violation { invariant, what } = judge(payload);
        Box::new(Failure {
            invariant,
            what,
            step: step.get(),
            options,
        })
    })
}

/// A panic of the box is a violation too: it stops the box.
fn judge(payload: Box<dyn Any + Send>) -> Violation {
    let payload = match payload.downcast::<Violation>() {
        Ok(violation) => return *violation,
        Err(other) => other,
    };
    let text = (payload.downcast_ref::<String>().cloned())
        .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default();
    // The engine's own check of the same promise.
    let money = [
        "claims differ from collateral",
        "contracts do not sum to zero",
    ];
    Violation {
        invariant: if money.iter().any(|m| text.contains(m)) {
            Invariant::Conserved
        } else {
            Invariant::Runs
        },
        what: format!("a tile panicked: {text}"),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap())
}

#[test]
fn whatever_happens_every_promise_holds() {
    let seeds = match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), count) => seed..seed + count.unwrap_or(1),
        (None, count) => 0..count.unwrap_or(SEEDS),
    };
    let tally = Tally::default();
    for seed in seeds.clone() {
        if let Err(f) = run(seed, &tally) {
            panic!(
                "seed {seed}, step {}: {} does not hold: {}\n{:#?}\nagain with: SIM_SEED={seed} cargo test -p hostd --test sim -- --nocapture",
                f.step, f.invariant, f.what, f.options
            );
        }
    }
    println!("{}", tally.lines());
    // Any other few seeds may well lack something.
    if seeds == (0..SEEDS) || seeds.end - seeds.start >= 4 * SEEDS {
        let never: Vec<_> = KINDS.iter().filter(|k| tally.get(k) == 0).collect();
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 5] {
        let again = || {
            let tally = Tally::default();
            (run(seed, &tally).ok(), tally.lines())
        };
        let first = again();
        assert!(first.0.is_some());
        assert_eq!(first, again(), "seed {seed}");
    }
}

#[cfg(feature = "planted")]
mod planted {
    use super::{Invariant, Tally, run};
    use matcher::planted::{Bug, plant};

    /// Seeds in which each bug must be found.
    const SEEDS_MAX: u64 = 64;

    /// What a bug breaks.
    const fn broken(bug: Bug) -> Invariant {
        match bug {
            Bug::ReleasesBeforeDurable => Invariant::DurableFirst,
            Bug::ReleasesBeforeQuorum => Invariant::ReplicatedFirst,
            Bug::RecoversHalf => Invariant::NothingLost,
            Bug::ReplaysOtherwise => Invariant::SameBytes,
            Bug::CancelsInSilence => Invariant::ClientView,
            Bug::DeletesInSilence => Invariant::FeedBook,
            Bug::LosesOfFees => Invariant::Conserved,
            Bug::CreditsAgain => Invariant::DepositsOnce,
            Bug::ForgetsRequests => Invariant::RequestsOnce,
            Bug::SkipsBatches => Invariant::SealedChain,
            Bug::RefusesCancels => Invariant::CancelsPass,
            Bug::IgnoresDiskErrors => Invariant::SilentAfterError,
            Bug::SwallowsReads => Invariant::Progress,
            Bug::RefusesTornTails => Invariant::Runs,
        }
    }

    #[test]
    fn every_planted_bug_is_found_and_named() {
        // Each of these runs ends with a panic that is meant.
        std::panic::set_hook(Box::new(|_| {}));
        let mut wrong = Vec::new();
        for bug in Bug::ALL {
            plant(Some(*bug));
            let failure = (0..SEEDS_MAX)
                .find_map(|seed| run(seed, &Tally::default()).err().map(|f| (seed, f)));
            plant(None);
            match failure {
                None => wrong.push(format!("{bug:?} was not found in {SEEDS_MAX} seeds")),
                Some((seed, f)) => {
                    let line = format!("{bug:?}: seed {seed}, step {}: {}", f.step, f.invariant);
                    println!("{line}: {}", f.what);
                    if f.invariant != broken(*bug) {
                        wrong.push(format!("{line}: {}", f.what));
                    }
                }
            }
        }
        drop(std::panic::take_hook());
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_invariant_has_a_bug_that_breaks_it() {
        let broken: std::collections::BTreeSet<_> = Bug::ALL.iter().map(|b| broken(*b)).collect();
        let all: std::collections::BTreeSet<_> = Invariant::ALL.iter().copied().collect();
        assert_eq!(broken, all);
    }
}
