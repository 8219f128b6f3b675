//! The daemon's command line.

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use hostd::config::Config;
use hostd::machine::doctor::{self, Depth, Level, Subject};
use hostd::ops::cli::AdminArgs;
use hostd::ops::role::Role;
use hostd::ops::top::{self, TopArgs};
use hostd::replication::control::ask_to_lead;
use hostd::replication::standby;
use hostd::storage::data_dir::DataDir;
use hostd::storage::journal_cmd::JournalCommand;
use hostd::storage::replay::{self, Extent, From};
use hostd::storage::snapshot::command::{self as snapshot, Asked};
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
    /// Follow the primary of `[replication]`: keep its journal and its state, and take over when told to.
    Standby {
        /// TOML file: the one with which this box would lead.
        #[arg(long)]
        config: PathBuf,
    },
    /// Make the standby on this box the primary, at a higher epoch than any before; says which.
    Promote {
        /// TOML file of the standby.
        #[arg(long)]
        config: PathBuf,
        /// It goes on without standbys of its own until there are enough again.
        #[arg(long)]
        alone: bool,
        /// Whatever the other boxes say, or do not say: what was acknowledged may be lost.
        #[arg(long)]
        force: bool,
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
        /// Begin with the first record; this is what happens without either option.
        #[arg(long)]
        from_genesis: bool,
        /// Begin with the newest sound snapshot. With both options both are replayed, and it is an error if they
        /// differ.
        #[arg(long)]
        from_snapshot: bool,
        /// Record to stop at. With it the journal of a running box can be replayed, up to what is durable.
        #[arg(long)]
        until: Option<u64>,
        /// Say on standard error which record it has come to.
        #[arg(long)]
        progress: bool,
        /// JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Check a journal, show what is in it, or drop a torn tail. Exit codes: 0 well, 1 damaged, 2 could not.
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Make a snapshot of the state, so that the next start need not replay the journal from its first record.
    /// Also beside a running box.
    Snapshot {
        /// TOML file of the box. While it runs, it is asked which records are durable.
        #[arg(long, required_unless_present = "data", conflicts_with = "data")]
        config: Option<PathBuf>,
        /// The venue's data_dir, of a box that does not run.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Record to stop at; it must be durable.
        #[arg(long)]
        until: Option<u64>,
        /// End with this process.
        #[arg(long, hide = true)]
        child_of: Option<u32>,
    },
    /// Look at a running box and change it, over its operators' sockets. Exit codes: 0 done, 2 usage, 3 refused,
    /// 4 not found, 5 conflict, 6 no box answers.
    Admin {
        #[command(flatten)]
        args: AdminArgs,
    },
    /// The running box at a glance: sessions, latency, rates, lanes, rejects, proofs.
    Top {
        #[command(flatten)]
        args: TopArgs,
    },
    /// Write manual pages and shell completions, as the package has them.
    Manual {
        /// Directory; made if it is missing.
        #[arg(long)]
        out: PathBuf,
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
        return hostd::storage::journal_cmd::run(command);
    }
    if let Command::Admin { args } = command {
        return hostd::ops::cli::run(args);
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
        Command::Run { config } => hostd::tiles::topology::run(&Config::load(&config)?),
        Command::Standby { config } => standby::run(&Config::load(&config)?),
        Command::Promote {
            config,
            alone,
            force,
        } => {
            let socket = Config::load(&config)?.admin.socket(Role::Admin);
            let epoch = ask_to_lead(&socket, alone, force)?;
            println!("epoch {epoch}");
            Ok(())
        }
        Command::Echo { config } => hostd::machine::echo::run(&Config::load(&config)?),
        Command::CheckConfig { config } => {
            Config::load(&config)?;
            println!("{}: ok", config.display());
            Ok(())
        }
        Command::Doctor { config, json } => doctor(config.as_deref(), json),
        Command::Journal { .. } | Command::Admin { .. } => {
            unreachable!("they have exit codes of their own")
        }
        Command::Replay {
            data,
            from_genesis,
            from_snapshot,
            until,
            progress,
            json,
        } => {
            let from = match (from_genesis, from_snapshot) {
                (true, true) => From::Both,
                (false, true) => From::Snapshot,
                _ => From::Genesis,
            };
            let extent = Extent {
                until,
                shows_progress: progress,
            };
            replay::run(&DataDir::new(data), from, extent, json)
        }
        Command::Snapshot {
            config,
            data,
            until,
            child_of,
        } => snapshot::run(&Asked {
            config,
            data,
            until,
            child_of,
        }),
        Command::Top { args } => top::run(&args),
        Command::Manual { out } => manual(&out),
        Command::Keygen { out } => {
            let key = handshake::SecretKey::generate_file(&out)?;
            println!("{}", hostd::ops::admin::hex(&key.public().to_bytes()));
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

/// Pages of the daemon and each of its commands, and completions for three shells.
fn manual(out: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    clap_mangen::generate_to(Cli::command(), out)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "hostd", out)?;
    }
    Ok(())
}
