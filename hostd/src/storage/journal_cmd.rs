//! `hostd journal`: what stands in a journal, whether it is whole, and how to get over a torn tail.
//!
//! All of it only reads, also beside a running box, but for `truncate-torn-tail --yes`; `bench` has a directory of its own. Exit codes: 0 all is well,
//! 1 the journal is damaged, 2 the command could not do its work (usage, no such directory, no right to it).

mod bench;
mod fields;
mod inspect;
mod truncate;
mod verify;

use clap::{Args, Subcommand};
use journal::{DiskError, JournalError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A subcommand of `hostd journal`.
#[derive(Subcommand)]
pub enum JournalCommand {
    /// Check every segment, crc, number and hash, and that nothing is missing.
    Verify {
        /// Which journal.
        #[command(flatten)]
        place: Place,
        /// JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Show records, or segments, or group commits.
    Inspect {
        /// Which journal.
        #[command(flatten)]
        place: Place,
        /// What is shown.
        #[command(flatten)]
        what: inspect::Filter,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Drop a last write that was cut off before it was durable; shows what it would drop unless --yes is given.
    ///
    /// A box does the same when it starts. Refused if what stands there may have been durable.
    TruncateTornTail {
        /// Which journal.
        #[command(flatten)]
        place: Place,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
    /// Measure group commit and reading on the disk of a directory.
    Bench {
        /// What is measured.
        #[command(flatten)]
        args: bench::BenchArgs,
    },
}

/// Which journal.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// The venue's data_dir (holds `journal/`).
    #[arg(long)]
    data: Option<PathBuf>,
    /// The journal's own directory.
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Place {
    fn dir(&self) -> Result<PathBuf, Failure> {
        let dir = match (&self.data, &self.dir) {
            (Some(data), _) => data.join("journal"),
            (None, Some(dir)) => dir.clone(),
            (None, None) => unreachable!("one of them is required"),
        };
        if dir.is_dir() {
            Ok(dir)
        } else {
            let text = format!("{}: no journal there", dir.display());
            Err(Failure::Cannot(text))
        }
    }
}

/// Why a command ends with another code than 0.
enum Failure {
    /// Said already, or with these words: the journal is damaged.
    Damaged(Option<String>),
    /// The command could not do its work.
    Cannot(String),
    /// Who reads our output has seen enough.
    NobodyReads,
}

impl From<JournalError> for Failure {
    fn from(e: JournalError) -> Self {
        match e {
            JournalError::Io { .. } | JournalError::NoRecord { .. } => Self::Cannot(e.to_string()),
            JournalError::Corrupt { .. }
            | JournalError::Missing { .. }
            | JournalError::Short { .. }
            | JournalError::OtherChain { .. } => Self::Damaged(Some(e.to_string())),
        }
    }
}

impl From<DiskError> for Failure {
    fn from(e: DiskError) -> Self {
        Self::Cannot(e.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::BrokenPipe {
            Self::NobodyReads
        } else {
            Self::Cannot(format!("output: {e}"))
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(e: serde_json::Error) -> Self {
        Self::from(io::Error::from(e))
    }
}

/// Runs the command; the exit code is described in this module's page.
#[must_use]
pub fn run(command: &JournalCommand) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = match command {
        JournalCommand::Verify { place, json } => {
            (place.dir()).and_then(|dir| verify::run(&dir, *json, &mut out))
        }
        JournalCommand::Inspect { place, what, json } => {
            (place.dir()).and_then(|dir| inspect::run(&dir, what, *json, &mut out))
        }
        JournalCommand::TruncateTornTail { place, yes } => {
            (place.dir()).and_then(|dir| truncate::run(&dir, *yes, &mut out))
        }
        JournalCommand::Bench { args } => bench::run(args, &mut out),
    };
    let done = done.and(out.flush().map_err(Failure::from));
    match done {
        Ok(()) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Err(Failure::Damaged(text)) => {
            if let Some(text) = text {
                eprintln!("hostd: journal damaged: {text}");
            }
            ExitCode::from(1)
        }
        Err(Failure::Cannot(text)) => {
            eprintln!("hostd: {text}");
            ExitCode::from(2)
        }
    }
}

/// Whether a box writes this journal now; one that cannot be asked is taken for none.
fn is_live(dir: &Path) -> bool {
    journal::is_held(dir).unwrap_or(false)
}
