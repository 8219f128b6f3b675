//! `bench demo` runs the main job from end to end and reports on it; `bench match` times the matcher. The other
//! commands are worker processes of the demo.
//!
//! It reaches the venue only over the wire and the admin socket, and the prover only as a process. What may
//! never enter: hostd or proof as a library.

// A library's lint would read: this is a program, and its parts are its own.
// The two instruments of `matching` (time-stamp counter, counting allocator) say why they need it.
#![deny(unsafe_code)]

mod ab;
mod admin;
mod children;
mod clock;
mod demo;
mod flow;
mod hw;
mod journal_cost;
mod machine;
mod matching;
mod oracle;
mod place;
mod prng;
mod prove;
mod report;
mod risk;
mod scenario;
mod sockets;
mod trade;
mod venue;
mod wire;
mod worker;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The main job of Deltabox from end to end, and benches.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs venue, prover, dev chain, oracle and traders as processes, and checks the outcome.
    Demo(demo::Args),
    /// Times the matcher on a recorded workload.
    #[command(name = "match")]
    Match(matching::Args),
    /// Makes the workloads that `match` plays.
    Workload(matching::generate::Args),
    /// Times pricing and risk epochs, checks them against floats, and back-tests the adaptive range.
    Risk(risk::Args),
    /// Measures the journal: group commit by batch size and durability, reading, and a replay with the engine.
    Journal(journal_cost::Args),
    /// Times a box's round trip beside a bare echo's, at rates up to what it sustains.
    Wire(Box<wire::Args>),
    /// The RTL's latency in cycles, in lockstep with the firmware; its clock and cells.
    Hw(hw::Args),
    /// What a proof costs: constraints, time, memory.
    Prove(prove::Args),
    /// Compares two builds of hostd on the same plan, in turns, with confidence intervals.
    Ab(Box<ab::Args>),
    /// Worker of the demo: signs prices.
    #[command(hide = true)]
    Oracle(oracle::Args),
    /// Worker of the demo: makers, takers, or the members of a recorded flow.
    #[command(hide = true)]
    Trade(trade::Args),
    /// Starts a program that dies with its parent.
    #[command(hide = true)]
    Child(worker::ChildArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Hw(args) => hw::run(&args),
        Command::Prove(args) => prove::run(&args),
        Command::Journal(args) => journal_cost::run(&args),
        Command::Match(args) => matching::run(&args),
        Command::Workload(args) => matching::generate::run(&args),
        Command::Risk(args) => risk::run(&args),
        Command::Wire(args) => wire::run(*args),
        Command::Ab(args) => ab::run(*args),
        Command::Oracle(args) => oracle::run(&args),
        Command::Trade(args) => trade::run(&args),
        Command::Child(args) => worker::become_child(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The whole chain of causes on one line.
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
