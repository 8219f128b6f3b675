//! What the worker processes share: commands from the parent on standard input, and an end when it dies.

use anyhow::Context as _;
use std::fs::File;
use std::io::BufRead as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
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

/// Moves the calling thread, and all that it starts, into a network namespace.
pub(crate) fn enter_netns(path: &Path) -> anyhow::Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let file = File::open(path).with_context(|| format!("no namespace {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter the namespace {}", path.display()))
}

/// Keeps the calling thread, and all that it starts, to these cores.
pub(crate) fn keep_to(cores: &[usize]) -> anyhow::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    for &core in cores {
        anyhow::ensure!(core < CpuSet::MAX_CPU, "core {core} does not exist");
        set.set(core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cannot keep to the cores {cores:?}"))
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
    /// Network namespace to enter, as a file.
    #[arg(long)]
    netns: Option<PathBuf>,
    /// Cores that it may use; all if none is given.
    #[arg(long = "core")]
    cores: Vec<usize>,
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
    if let Some(path) = &args.netns {
        enter_netns(path)?;
    }
    if !args.cores.is_empty() {
        keep_to(&args.cores)?;
    }
    let (program, rest) = args.command.split_first().context("no program")?;
    let error = std::process::Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("cannot start {program}"))
}
