//! `hostd snapshot`.

use super::{lower_priority, take};
use crate::config::Config;
use crate::ops::http;
use crate::ops::role::Role;
use crate::storage::data_dir::DataDir;
use anyhow::{Context, bail, ensure};
use journal::{DiskError, JournalDir};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the running box may take to say which records are durable.
const ANSWER: Duration = Duration::from_secs(5);

/// What the command was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// File of the box, which is asked while it runs.
    pub config: Option<PathBuf>,
    /// Data directory of a box that does not run.
    pub data: Option<PathBuf>,
    /// Record to stop at.
    pub until: Option<u64>,
    /// The box that asks: this process ends with it.
    pub child_of: Option<u32>,
}

/// Makes a snapshot and prints one line of JSON about it.
///
/// # Errors
/// Why there is none.
pub fn run(asked: &Asked) -> anyhow::Result<()> {
    if let Some(parent) = asked.child_of {
        end_with(parent)?;
    }
    lower_priority();
    let config = asked.config.as_deref().map(Config::load).transpose()?;
    let data = match (&asked.data, &config) {
        (Some(path), _) => DataDir::new(path),
        (None, Some(config)) => config.data(),
        (None, None) => bail!("--config or --data is needed"),
    };
    ensure!(
        data.journal().is_dir(),
        "{}: no journal there",
        data.journal().display()
    );
    // Held to the end, so that nobody begins to write the journal that is read to its end here.
    let (mut until, mut _held) = (asked.until, None);
    if until.is_none() {
        match JournalDir::open(data.journal()) {
            Ok(held) => _held = Some(held),
            Err(DiskError::Locked { .. }) => {
                let config = config.context(
                    "a box writes this journal: with --config it is asked which records are durable",
                )?;
                until = Some(durable_seq(&config.admin.socket(Role::View))?);
            }
            Err(e) => return Err(e).context("journal"),
        }
    }
    let taken = take(&data, until)?;
    println!("{}", serde_json::to_string(&taken)?);
    Ok(())
}

/// The kernel kills this process when the thread that started it is gone.
fn end_with(parent: u32) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .context("cannot bind this process to the box")?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_pid());
    ensure!(
        now.is_some_and(|pid| pid as u32 == parent),
        "the box that asked for this snapshot is gone"
    );
    Ok(())
}

/// Asks a running box for its last durable record.
fn durable_seq(socket: &Path) -> anyhow::Result<u64> {
    let ask = || {
        let answer = http::call(socket, "GET", "/v1/status", None, "", ANSWER)?;
        let status: serde_json::Value = serde_json::from_str(&answer.body)?;
        let durable = status["durable_seq"].as_u64();
        durable.context("no durable_seq in the status")
    };
    ask().with_context(|| {
        format!(
            "cannot ask the running box on {} which records are durable",
            socket.display()
        )
    })
}
