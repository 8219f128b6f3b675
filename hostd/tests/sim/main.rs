//! The whole box in simulation: every tile, a disk, a network, an oracle, an operator, an L1 and clients of the real
//! library on one thread, out of one seed.
//!
//! `SIM_SEEDS=1000 cargo test -p hostd --test sim` runs more seeds; `SIM_SEED=17` runs one, and says what happened in
//! it. A failure prints the seed, what it stands for, the step, the invariant, and the command that runs it again.

mod disk;
mod invariant;
mod l1;
mod member;
mod options;
mod run;
mod subscriber;
mod tally;
mod venue;
mod view;
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
const SEEDS: u64 = 12;

/// How a run failed.
struct Failure {
    invariant: Invariant,
    what: String,
    step: u64,
    options: Options,
}

/// Runs a seed.
fn run(seed: u64, tally: &Tally) -> Result<(), Failure> {
    let options = Options::of(seed);
    let step = Rc::new(Cell::new(0));
    let own = Rc::clone(&step);
    let run = || Run::new(seed, options.clone(), own, tally).run();
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let Violation { invariant, what } = judge(payload);
        Failure {
            invariant,
            what,
            step: step.get(),
            options,
        }
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
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
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
}
