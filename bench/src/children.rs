//! The processes of a run: started under the kernel's promise to kill them with us, watched, and ended.

use anyhow::{Context as _, bail};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::clock::Deadline;
use rustix::process::{Pid, Signal, kill_process_group};

/// Where the programs are that are started; beside this one if not set.
const BIN_DIR: &str = "DELTABOX_BIN_DIR";
/// Bytes of a log that are looked at for its last lines.
const TAIL_BYTES: u64 = 8_192;
/// Lines of a log that go into an error.
const TAIL_LINES: usize = 6;
/// The prover's place behind the others: its work is slow by nature and must not delay the venue's.
pub(crate) const PROVER_NICE: u32 = 15;
/// How long a process may take to end after SIGTERM.
const TERM_PATIENCE: Duration = Duration::from_secs(3);

/// What a process says on its standard output.
#[derive(Debug)]
pub(crate) enum Spoken {
    /// A line.
    Line { name: &'static str, line: String },
    /// Its end.
    Eof { name: &'static str },
}

/// How to start a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Start<'a> {
    /// The process may end on its own.
    pub(crate) may_end: bool,
    /// Its network namespace, as a file; ours if not given.
    pub(crate) netns: Option<&'a Path>,
    /// Cores that it may use; all if empty.
    pub(crate) cores: &'a [usize],
}

struct Process {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    /// It may end on its own.
    may_end: bool,
    log: PathBuf,
}

/// All processes of a run; ended with the value. What they say becomes an `E` each.
pub(crate) struct Children<E> {
    list: Vec<Process>,
    logs: PathBuf,
    bin: PathBuf,
    tx: Sender<E>,
}

impl<E: From<Spoken> + Send + 'static> Children<E> {
    /// Processes of the programs in `bin`, with logs in `logs`.
    pub(crate) const fn new(bin: PathBuf, logs: PathBuf, tx: Sender<E>) -> Self {
        Self {
            list: Vec::new(),
            logs,
            bin,
            tx,
        }
    }

    /// Path of a program of ours.
    pub(crate) fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.bin.join(name);
        if !path.is_file() {
            bail!(
                "{} is not there: build it first (`cargo build --release`)",
                path.display()
            );
        }
        Ok(path)
    }

    /// Starts `program`, known as `name`. Standard output comes line by line over the channel, standard error
    /// goes to the log. Must be called from the main thread: the kernel ties the child to it.
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        program: &str,
        args: &[String],
        how: Start<'_>,
    ) -> anyhow::Result<()> {
        let path = self.program(program)?;
        let log = self.logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let nice = if name == "prover" { PROVER_NICE } else { 0 };
        let me = std::env::current_exe().context("where is this program?")?;
        let (parent, nice) = (std::process::id().to_string(), nice.to_string());
        let mut command = Command::new(me);
        command.args(["child", "--parent", &parent, "--nice", &nice]);
        if let Some(netns) = how.netns {
            command.arg("--netns").arg(netns);
        }
        for core in how.cores {
            command.args(["--core", &core.to_string()]);
        }
        let mut child = command
            .arg("--")
            .arg(path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            // A group of its own: Ctrl-C in the terminal reaches only us, and we end the rest in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("no pipe")?;
        let tx = self.tx.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if tx.send(Spoken::Line { name, line }.into()).is_err() {
                    return;
                }
            }
            // Nobody listens any more only when the run is over.
            let _ = tx.send(Spoken::Eof { name }.into());
        });
        let stdin = child.stdin.take();
        self.list.push(Process {
            name,
            child,
            stdin,
            may_end: how.may_end,
            log,
        });
        Ok(())
    }

    /// Writes a line to a process's standard input.
    pub(crate) fn tell(&mut self, name: &str, line: &str) -> anyhow::Result<()> {
        let process = self
            .list
            .iter_mut()
            .find(|p| p.name == name)
            .with_context(|| format!("{name} does not run"))?;
        let stdin = process
            .stdin
            .as_mut()
            .with_context(|| format!("{name} takes no commands any more"))?;
        writeln!(stdin, "{line}").with_context(|| format!("{name} does not listen"))
    }

    /// Fails if a process ended that should run, naming it and its last words.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for p in self.list.iter_mut().filter(|p| !p.may_end) {
            if let Some(status) = p.child.try_wait().context("cannot wait for a process")? {
                p.may_end = true;
                bail!("{} ended early ({status}){}", p.name, last_lines(&p.log));
            }
        }
        Ok(())
    }

    /// From now on the process may end.
    pub(crate) fn may_end(&mut self, name: &str) {
        for p in self.list.iter_mut().filter(|p| p.name == name) {
            p.may_end = true;
        }
    }

    /// Whether the process has ended, and how.
    pub(crate) fn ended(&mut self, name: &str) -> anyhow::Result<Option<ExitStatus>> {
        match self.list.iter_mut().find(|p| p.name == name) {
            Some(p) => p
                .child
                .try_wait()
                .with_context(|| format!("cannot wait for {name}")),
            None => bail!("{name} was never started"),
        }
    }

    /// What the process said last on standard error, for an error message.
    pub(crate) fn last_words(&self, name: &str) -> String {
        self.list
            .iter()
            .find(|p| p.name == name)
            .map_or_else(String::new, |p| last_lines(&p.log))
    }

    /// A handle that other threads can freeze the process with.
    pub(crate) fn freezer(&self, name: &str) -> anyhow::Result<Freezer> {
        let process = self.list.iter().find(|p| p.name == name);
        let process = process.with_context(|| format!("{name} does not run"))?;
        Pid::from_raw(process.child.id() as i32)
            .map(Freezer)
            .context("a process without an id")
    }

    /// Ends one process: SIGTERM, then SIGKILL.
    pub(crate) fn stop(&mut self, name: &str) {
        for p in self.list.iter_mut().filter(|p| p.name == name) {
            p.end();
        }
        self.list.retain(|p| p.name != name);
    }
}

/// Freezes a process where it is, and lets it go on: frozen it takes no core, however it polls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freezer(Pid);

impl Freezer {
    /// Stops it.
    pub(crate) fn freeze(self) {
        // An error means that nobody is left to be told.
        let _ = kill_process_group(self.0, Signal::STOP);
    }
    /// Lets it go on.
    pub(crate) fn thaw(self) {
        let _ = kill_process_group(self.0, Signal::CONT);
    }
}

impl Process {
    fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.child.id() as i32) {
            // An error means that nobody is left to be told.
            let _ = kill_process_group(group, signal);
        }
    }

    fn end(&mut self) {
        self.may_end = true;
        self.stdin = None;
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::TERM);
        // A frozen one hears it only then.
        self.signal(Signal::CONT);
        let deadline = Deadline::after(TERM_PATIENCE);
        while !deadline.passed() {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.signal(Signal::KILL);
        // Collects the dead process; that it is dead is all we want to know.
        let _ = self.child.wait();
    }
}

impl<E> Drop for Children<E> {
    fn drop(&mut self) {
        // All hear it before any is waited for.
        for p in &mut self.list {
            p.may_end = true;
            p.stdin = None;
            if matches!(p.child.try_wait(), Ok(None)) {
                p.signal(Signal::TERM);
            }
        }
        for p in &mut self.list {
            p.end();
        }
    }
}

/// Calls `tell` at the first Ctrl-C or SIGTERM, in the place of what they do by default.
pub(crate) fn on_signal(tell: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("signals")?;
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::interrupt()).context("signals")?,
            signal(SignalKind::terminate()).context("signals")?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        tell();
    });
    Ok(())
}

/// Folder of the programs that are started beside this one.
pub(crate) fn bin_dir() -> anyhow::Result<PathBuf> {
    let bin = match std::env::var_os(BIN_DIR) {
        Some(dir) => PathBuf::from(dir),
        None => {
            let me = std::env::current_exe().context("where is this program?")?;
            me.parent()
                .context("this program is in no folder")?
                .to_path_buf()
        }
    };
    std::path::absolute(bin).context("folder of the programs")
}

/// The last plain words of a log (or, where there are none, its last lines): after a colon if they are one
/// line, else indented on lines of their own; empty if there are none.
fn last_lines(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    // The venue logs in JSON; what it says to people before it ends is plain.
    let plain: Vec<&str> = all
        .iter()
        .copied()
        .filter(|l| !l.starts_with('{'))
        .collect();
    let lines = if plain.is_empty() { all } else { plain };
    match lines[lines.len().saturating_sub(TAIL_LINES)..] {
        [one] => format!(": {one}"),
        ref some => some.iter().map(|l| format!("\n    {l}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_last_lines_that_say_something() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.log");
        std::fs::write(
            &path,
            (1..=20)
                .map(|k| format!("line {k}\n\n"))
                .collect::<String>(),
        )
        .expect("written");
        let words = last_lines(&path);
        assert_eq!(words.lines().count(), TAIL_LINES + 1);
        assert!(words.ends_with("    line 20") && words.starts_with('\n'));
        assert_eq!(last_lines(&dir.path().join("none")), "");
        std::fs::write(&path, "{\"event\":\"start\"}\nhostd: the port is taken\n")
            .expect("written");
        assert_eq!(last_lines(&path), ": hostd: the port is taken");
    }
}
