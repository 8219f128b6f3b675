//! Runs the commands of one gate: output into a log, a sign of life on the terminal, a time limit.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::place::Place;
use crate::report::TestTotals;

/// A longer log is cut: some looping program wrote it, and the disk belongs to the build.
const LOG_BYTES_MAX: usize = 64 << 20;
const LINE_BYTES_MAX: u64 = 64 << 10;
/// A silent log on a server looks like a hang, so one line a minute says it is none.
const HEARTBEAT: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(200);
/// What a child's own children may still write after it is gone.
const DRAIN: Duration = Duration::from_secs(2);

/// One gate at work.
pub(crate) struct Step<'a> {
    pub(crate) place: &'a Place,
    pub(crate) tests: TestTotals,
    name: &'static str,
    log_path: PathBuf,
    log: File,
    log_bytes: usize,
    started: Instant,
    limit: Duration,
    last_sign: Instant,
    live: bool,
}

impl<'a> Step<'a> {
    pub(crate) fn start(place: &'a Place, name: &'static str, limit: Duration) -> Result<Self> {
        let folder = place.log_folder();
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let log_path = folder.join(format!("{name}.log"));
        let log = File::create(&log_path)
            .with_context(|| format!("cannot write {}", log_path.display()))?;
        let now = Instant::now();
        Ok(Self {
            place,
            tests: TestTotals::default(),
            name,
            log_path,
            log,
            log_bytes: 0,
            started: now,
            limit,
            last_sign: now,
            live: std::io::stderr().is_terminal(),
        })
    }

    pub(crate) fn log_path(&self) -> &std::path::Path {
        &self.log_path
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Tells the person who waits, and the log.
    pub(crate) fn say(&mut self, line: &str) {
        self.clear_live();
        println!("   {line}");
        self.write_log(line);
    }

    /// Tells only the log, which is shown when the gate fails.
    pub(crate) fn note(&mut self, line: &str) {
        self.write_log(line);
    }

    /// Runs a command to its end; anything but exit code 0 is an error.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<()> {
        self.run_lines(command, |_| {})
    }

    /// As [`Step::run`], and gives the standard output back (for output of a bounded size).
    pub(crate) fn run_for_output(&mut self, command: &mut Command) -> Result<String> {
        let mut text = String::new();
        self.run_lines(command, |line| {
            text.push_str(line);
            text.push('\n');
        })?;
        Ok(text)
    }

    fn run_lines(&mut self, command: &mut Command, mut on_stdout: impl FnMut(&str)) -> Result<()> {
        let shown = shown(command);
        self.say(&format!("$ {shown}"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        let lines = read_lines(&mut child);
        let ended = self.follow(&mut child, &lines, &mut on_stdout);
        self.clear_live();
        if ended.is_err() {
            kill_tree(child.id());
            // The child is dead or was never ours to wait for; its state changes nothing any more.
            let _ = child.wait();
        }
        ended.with_context(|| shown)
    }

    /// Copies lines until the child has ended and its pipes are dry.
    fn follow(
        &mut self,
        child: &mut Child,
        lines: &Receiver<Line>,
        on_stdout: &mut impl FnMut(&str),
    ) -> Result<()> {
        let mut ended: Option<(std::process::ExitStatus, Instant)> = None;
        let mut last = String::new();
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    if line.stdout {
                        on_stdout(&line.text);
                    }
                    self.tests.read_line(&line.text);
                    self.write_log(&line.text);
                    last = line.text;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = child.wait().context("cannot wait for it")?;
                    return judge(status);
                }
            }
            self.sign_of_life(&last);
            ensure!(
                self.started.elapsed() < self.limit,
                "stopped: this gate may take {} s in all; last line: {last}",
                self.limit.as_secs()
            );
            match ended {
                None => {
                    if let Some(status) = child.try_wait().context("cannot wait for it")? {
                        ended = Some((status, Instant::now()));
                    }
                }
                // Something it started still holds its pipes; that is not our child's verdict.
                Some((status, at)) if at.elapsed() > DRAIN => return judge(status),
                Some(_) => {}
            }
        }
    }

    fn sign_of_life(&mut self, last: &str) {
        let seconds = self.started.elapsed().as_secs();
        if self.live {
            if self.last_sign.elapsed() >= TICK {
                self.last_sign = Instant::now();
                let text: String = format!("   {} {seconds} s  {}", self.name, last.trim())
                    .chars()
                    .take(78)
                    .collect();
                eprint!("\r\x1b[2K{text}");
            }
        } else if self.last_sign.elapsed() >= HEARTBEAT {
            self.last_sign = Instant::now();
            let text: String = last.trim().chars().take(100).collect();
            println!("   ... {} at {seconds} s: {text}", self.name);
        }
    }

    fn clear_live(&self) {
        if self.live {
            eprint!("\r\x1b[2K");
        }
    }

    fn write_log(&mut self, line: &str) {
        if self.log_bytes > LOG_BYTES_MAX {
            return;
        }
        self.log_bytes += line.len() + 1;
        let end = if self.log_bytes > LOG_BYTES_MAX {
            "[cut here: the log is full]"
        } else {
            ""
        };
        // A full disk fails the command itself with a better message than a lost log line would.
        let _ = writeln!(self.log, "{line}{end}");
    }
}

struct Line {
    text: String,
    stdout: bool,
}

fn read_lines(child: &mut Child) -> Receiver<Line> {
    let (sender, receiver) = sync_channel(1024);
    if let Some(out) = child.stdout.take() {
        let sender = sender.clone();
        std::thread::spawn(move || pump(out, true, &sender));
    }
    if let Some(err) = child.stderr.take() {
        std::thread::spawn(move || pump(err, false, &sender));
    }
    receiver
}

fn pump(stream: impl Read, stdout: bool, sender: &SyncSender<Line>) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match reader
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut bytes)
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes)
            .trim_end_matches(['\n', '\r'])
            .to_owned();
        if sender.send(Line { text, stdout }).is_err() {
            return;
        }
    }
}

fn judge(status: std::process::ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

/// The command as a person would type it, with the paths of this machine cut to their last part.
fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    let args = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(name)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Ends a process and everything it started: a cargo killed alone leaves its tests running.
pub(crate) fn kill_tree(pid: u32) {
    let mut doomed = vec![pid];
    let mut next = 0;
    while next < doomed.len() {
        doomed.extend(children_of(doomed[next]));
        next += 1;
    }
    let pids = doomed.iter().map(u32::to_string);
    // Some may be gone already, which is what we want.
    let _ = Command::new("kill")
        .arg("-KILL")
        .args(pids)
        .stderr(Stdio::null())
        .status();
}

fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            parent_in_stat(&stat) == Some(parent)
        })
        .collect()
}

/// The parent in a line of `/proc/PID/stat`: second field after the name, which may hold spaces and brackets.
fn parent_in_stat(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_process_name() {
        assert_eq!(parent_in_stat("42 (cargo) S 7 42 42 0"), Some(7));
        assert_eq!(parent_in_stat("42 (a) b (c) ) R 19 1"), Some(19));
        assert_eq!(parent_in_stat(""), None);
    }

    #[test]
    fn a_killed_tree_takes_the_grandchildren_along() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a line");
        let grandchild: u32 = line.trim().parse().expect("a pid");
        kill_tree(child.id());
        child.wait().expect("ended");
        // Killed, it is gone, or waits for its new parent to collect it (state Z). The kernel may
        // take a moment; a process that was not killed sleeps for ten minutes and ends this loop.
        let dead = || {
            let stat =
                std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim());
            state.is_empty() || state.starts_with(['Z', 'X'])
        };
        let tries = (0..500)
            .take_while(|_| !dead())
            .inspect(|_| std::thread::sleep(Duration::from_millis(20)));
        assert!(tries.count() < 500, "process {grandchild} still runs");
    }

    #[test]
    fn a_command_is_shown_without_the_path_of_its_program() {
        let mut command = Command::new("/usr/somewhere/cargo");
        command.args(["test", "--workspace"]);
        assert_eq!(shown(&command), "cargo test --workspace");
    }
}
