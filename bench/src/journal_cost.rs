//! What the journal costs: group commit and reading through the box's own disk and reader (`hostd journal bench`),
//! and a replay of recorded orders with the engine (`hostd replay`).

use crate::matching::write_journal;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `bench journal`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory on the disk to measure.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Orders, cancels and replaces in the journal that is replayed.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(1_000..=50_000_000))]
    commands: u32,
    /// Data written in a case of group commit, MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=65_536))]
    mib: u64,
    /// Longest time of a case, s.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// File for the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// If hostd is not beside this program, fails, or the files cannot be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    let dir = std::path::absolute(&args.dir).context("--dir")?;
    let (mib, seconds) = (args.mib.to_string(), args.seconds.to_string());
    let mut figures = hostd(&[
        "journal".as_ref(),
        "bench".as_ref(),
        "--json".as_ref(),
        "--dir".as_ref(),
        dir.as_ref(),
        "--mib".as_ref(),
        mib.as_ref(),
        "--seconds".as_ref(),
        seconds.as_ref(),
    ])?;
    figures["replay"] = replay(&dir, args.commands)?;
    show(&figures);
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&figures)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Replays a journal of recorded orders twice, from files that are in memory then; the second time counts.
fn replay(dir: &Path, commands: u32) -> Result<Value> {
    let data = dir.join(format!("bench-replay-{}", std::process::id()));
    let figures = replay_in(&data, commands);
    std::fs::remove_dir_all(&data)
        .with_context(|| format!("cannot remove {}", data.display()))
        .and(figures)
}

fn replay_in(data: &Path, commands: u32) -> Result<Value> {
    let records = write_journal(&data.join("journal"), commands)?;
    let ask = [
        "replay".as_ref(),
        "--json".as_ref(),
        "--data".as_ref(),
        data.as_ref(),
    ];
    let (first, second) = (hostd(&ask)?, hostd(&ask)?);
    ensure!(
        first["records"] == records && second["state_hash"] == first["state_hash"],
        "the replay is not that of the {records} records written: {first}"
    );
    let seconds = second["seconds"].as_f64().context("hostd gives no time")?;
    Ok(json!({
        "what": "stream touch: read, verified, decoded, matched, reports and feed numbered and hashed",
        "records": records,
        "seconds": seconds,
        "records_per_s": records as f64 / seconds,
        "state_hash": second["state_hash"],
    }))
}

/// Runs hostd, which lies beside this program, and reads the JSON that it prints.
fn hostd(args: &[&std::ffi::OsStr]) -> Result<Value> {
    let me = std::env::current_exe().context("where is this program?")?;
    let program = me.with_file_name("hostd");
    let done = Command::new(&program)
        .args(args)
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let (out, err) = (&done.stdout, String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "hostd: {}", err.trim_end());
    serde_json::from_slice(out).context("what hostd printed is not JSON")
}

fn show(figures: &Value) {
    for line in figures["disk"].as_array().into_iter().flatten() {
        println!("{}", line.as_str().unwrap_or_default());
    }
    let number = |v: &Value| v.as_f64().unwrap_or_default();
    for c in figures["group_commit"].as_array().into_iter().flatten() {
        println!(
            "{:<8} {:>4} KiB {:>7.0} MiB/s {:>8.0} commits/s {:>10.0} records/s  p50 {} us  p99 {} us  {}",
            c["durability"].as_str().unwrap_or_default(),
            c["batch_kib"],
            number(&c["mib_per_s"]),
            number(&c["commits_per_s"]),
            number(&c["records_per_s"]),
            c["commit_p50_us"],
            c["commit_p99_us"],
            c["what"].as_str().unwrap_or_default(),
        );
    }
    let reads = figures["read"].as_array().into_iter().flatten();
    for r in reads.chain([&figures["replay"]]) {
        println!(
            "{:>10.0} records/s  {}",
            number(&r["records_per_s"]),
            r["what"].as_str().unwrap_or_default()
        );
    }
}
