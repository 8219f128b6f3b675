//! `prover`: the slow side of the venue, as a process of its own so that it cannot delay the box.
//!
//! `prover run` watches sealed batches, checks each against its own replay of the journal, proves it, and commits
//! it to L1 in order; the other way it brings final L1 deposits to the venue's admin socket. It can be killed at
//! any point: what is proven is on disk, what is on L1 is asked of L1, and what the venue has taken is asked of
//! the venue. The other commands deploy, use and check what it works with.

mod audit;
mod batches;
mod bench;
mod chain;
mod deposits;
mod exits;
mod export;
mod http;
mod keys;
mod out;
mod replay;
mod run;
mod store;
mod venue;
mod worker;

#[cfg(test)]
mod tests;

use anyhow::Context;
use clap::{Parser, Subcommand};
use out::Out;
use std::future::Future;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    name = "prover",
    version,
    about = "Proves sealed batches and settles them on L1"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an embedded development chain on 127.0.0.1.
    Devnet(chain::DevnetArgs),
    /// Deploy verifier, settlement contract and, unless one is named, a worthless test token.
    Deploy(chain::DeployArgs),
    /// Prove and commit sealed batches, bring deposits to the venue, until told to stop.
    Run(run::RunArgs),
    /// Use the settlement contract as a trader does.
    #[command(subcommand)]
    L1(chain::L1Command),
    /// Check that L1 holds what the journal leads to, to the last unit.
    Audit(audit::AuditArgs),
    /// Load and check the INSECURE development key, or make it.
    Keys(keys::KeysArgs),
    /// Check stored proofs.
    Verify(keys::VerifyArgs),
    /// Measure what a proof costs on this machine.
    Bench(bench::BenchArgs),
    /// Write a stored proof, its public signals and the verifying key as snarkjs takes them.
    Export(export::ExportArgs),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let out = Out::new(command.json());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime");
    let done = runtime.and_then(|runtime| runtime.block_on(until_stopped(execute(command, out))));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // One line, whatever the causes of causes bring along.
            eprintln!("prover: {}", format!("{e:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

impl Command {
    const fn json(&self) -> bool {
        match self {
            Self::Devnet(_) => false,
            Self::Deploy(args) => args.json,
            Self::Run(args) => args.json,
            Self::L1(command) => command.json(),
            Self::Audit(args) => args.json,
            Self::Keys(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Export(args) => args.json,
            Self::Bench(args) => args.json,
        }
    }
}

async fn execute(command: Command, out: Out) -> anyhow::Result<()> {
    match command {
        Command::Devnet(args) => chain::devnet(args).await,
        Command::Deploy(args) => chain::deploy(args, out).await,
        Command::Run(args) => run::run(args, out).await,
        Command::L1(command) => chain::l1(command, out).await,
        Command::Audit(args) => audit::audit(args, out).await,
        Command::Keys(args) => keys::keys(args, out),
        Command::Verify(args) => keys::verify(args, out),
        Command::Export(args) => export::export(args, out),
        Command::Bench(args) => bench::bench(args, out),
    }
}

/// Ctrl-C and SIGTERM end any command cleanly: whatever must survive was written whole before.
async fn until_stopped(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
