//! The daemon's command line.

use anyhow::Context;
use clap::{Parser, Subcommand};
use hostd::config::Config;
use hostd::core::Core;
use hostd::doctor::{self, Depth, Level, Subject};
use hostd::journal_cmd::JournalCommand;
use hostd::recover::{recover, tail_note};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "hostd",
    version,
    about = "Matching and delta-settlement daemon"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the box until it is told to stop.
    Run {
        /// TOML file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Send every datagram back to where it came from: what the network and the backend cost, without the box.
    Echo {
        /// TOML file; only the sockets and the core of the hot tile count.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a configuration and say what is wrong with it.
    CheckConfig {
        /// TOML file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Examine the machine: what costs latency or safety, why, and the command that mends it. Fails if there is a
    /// problem.
    Doctor {
        /// TOML file; without it a box of default size in the working directory.
        #[arg(long)]
        config: Option<PathBuf>,
        /// JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Replay a journal and say what state it leads to.
    Replay {
        /// The venue's data_dir (holds `journal/`).
        #[arg(long)]
        data: PathBuf,
        /// JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Check a journal, show what is in it, or drop a torn tail. Exit codes: 0 well, 1 damaged, 2 could not.
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Make a key file and print the public key.
    Keygen {
        /// Where to.
        #[arg(long)]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::Journal { command } = &command {
        return hostd::journal_cmd::run(command);
    }
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("hostd: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { config } => hostd::topology::run(&Config::load(&config)?),
        Command::Echo { config } => hostd::echo::run(&Config::load(&config)?),
        Command::CheckConfig { config } => {
            Config::load(&config)?;
            println!("{}: ok", config.display());
            Ok(())
        }
        Command::Doctor { config, json } => doctor(config.as_deref(), json),
        Command::Replay { data, json } => replay(&data, json),
        Command::Journal { .. } => unreachable!("it has exit codes of its own"),
        Command::Keygen { out } => {
            let key = handshake::SecretKey::generate_file(&out)?;
            println!("{}", hostd::admin::hex(&key.public().to_bytes()));
            Ok(())
        }
    }
}

fn doctor(config: Option<&std::path::Path>, json: bool) -> anyhow::Result<()> {
    let subject = match config {
        Some(path) => Subject::of(&Config::load(path)?),
        None => Subject::any(),
    };
    let report = doctor::examine(&subject, Depth::Full);
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.text());
    }
    match report.of(Level::Problem).count() {
        0 => Ok(()),
        n => anyhow::bail!("{n} of the findings are problems"),
    }
}

fn replay(data: &std::path::Path, json: bool) -> anyhow::Result<()> {
    let dir = data.join("journal");
    let mut feed_hash = handshake::FeedHash::new();
    anyhow::ensure!(dir.is_dir(), "{}: no journal there", dir.display());
    let begun = std::time::Instant::now();
    let r = recover(&dir, Core::default(), None, |core| {
        for outcome in core.outbox.outcomes() {
            if let matcher::outbox::Outcome::Feed(m) = outcome {
                feed_hash.push_parts(m.header(), m.block());
            }
        }
        Ok(())
    })
    .context("replay")?;
    let seconds = begun.elapsed().as_secs_f64();
    let engine = &r.core.engine;
    engine.assert_conserved();
    let accounts: Vec<_> = engine
        .accounts()
        .funded()
        .iter()
        .filter_map(|id| engine.accounts().get(*id).map(|a| (id, a)))
        .map(|(id, a)| {
            serde_json::json!({
                "account": id.0,
                "member": a.member.0,
                "cash_pico": a.leaf.cash_pico.to_string(),
                "nonce": a.leaf.nonce,
                "positions": a.leaf.positions,
            })
        })
        .collect();
    let (deposits, withdrawals) = engine.flows_micro();
    let tail = tail_note(&r.end.tail).unwrap_or_else(|| "clean".into());
    let hash = hostd::admin::hex(&engine.state_hash());
    if json {
        let all = serde_json::json!({
            "records": r.records,
            "last_seq": engine.last_seq().0,
            "state_hash": hash,
            "journal_hash": hostd::admin::hex(&r.end.chain),
            "batches_sealed": engine.batch_no() - 1,
            "feed_messages": r.core.next_feed - 1,
            "feed_hash": hostd::admin::hex(&feed_hash.value()),
            "accounts": accounts,
            "fund_pico": engine.fund_pico().to_string(),
            "deposits_micro": deposits,
            "withdrawals_micro": withdrawals,
            "contracts_sum_zero": engine.accounts().contracts().iter().all(|n| *n == 0),
            "tail": tail,
            "seconds": seconds,
        });
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        let per_s = r.records as f64 / seconds;
        println!("records {}  state {hash}  tail {tail}", r.records);
        println!("{seconds:.3} s  {per_s:.0} records/s");
        println!(
            "accounts {}  deposits {deposits}  withdrawals {withdrawals} micro-units",
            accounts.len()
        );
    }
    Ok(())
}
