//! `cosim`: RTL and firmware in lockstep for as many frames as asked for.

use std::process::ExitCode;

use clap::Parser;

/// RTL and firmware in lockstep.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// Frames, in runs of 20,000 with a seed each.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cosim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "verilator"))]
fn run(_: &Args) -> anyhow::Result<()> {
    anyhow::bail!(
        "built without the model of the RTL: cargo run --release -p cosim --features verilator"
    )
}

#[cfg(feature = "verilator")]
fn run(args: &Args) -> anyhow::Result<()> {
    use anyhow::Context;
    use cosim::campaign::{self, Plan};

    let plan = Plan {
        frames: args.frames,
        seed: args.seed,
    };
    let sum = campaign::run(&plan, |done| {
        if !args.json {
            eprint!("\r{done} frames");
        }
    })
    .with_context(|| format!("play it again with --seed {} or above", args.seed))?;
    let latency = campaign::latency()?;
    if args.json {
        println!("{}", campaign::json(&sum, &latency));
    } else {
        println!("\n{}", campaign::table(&sum, &latency));
    }
    Ok(())
}
