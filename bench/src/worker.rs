//! What the worker processes share: commands from the parent on standard input, and an end when it dies.

use anyhow::Context as _;
use std::io::BufRead as _;
use std::os::unix::process::CommandExt as _;
use std::sync::mpsc::{Receiver, channel};

/// Lines of standard input, as they come; the channel closes with it.
pub(crate) fn stdin_lines() -> Receiver<String> {
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    rx
}

/// `bench child`: becomes another program that the kernel kills when its parent dies, however that dies.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChildArgs {
    /// Process id of the parent.
    #[arg(long)]
    parent: i32,
    /// How much to step back behind the others when cores are short.
    #[arg(long, default_value_t = 0)]
    nice: i32,
    /// Program and arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs `bench child`; returns only when the program cannot be started.
pub(crate) fn become_child(args: &ChildArgs) -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot tie this process to its parent")?;
    // It may have died before the line above.
    let parent = getppid().map_or(0, |p| p.as_raw_nonzero().get());
    anyhow::ensure!(parent == args.parent, "the parent is gone");
    if args.nice > 0 {
        rustix::process::nice(args.nice).context("cannot step back")?;
    }
    let (program, rest) = args.command.split_first().context("no program")?;
    let error = std::process::Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("cannot start {program}"))
}
