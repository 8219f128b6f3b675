//! `bench demo`: the main job from end to end. Everything runs as a process of its own, on loopback: dev chain,
//! venue, prover, oracle, traders. At the end it is checked that L1, journal and clients agree.

mod check;
pub(crate) mod crash;
mod feed;
mod outcome;
mod progress;
mod stages;
mod tracker;

use crate::admin::Admin;
use crate::children::{Children, Spoken, Start, bin_dir, on_signal};
use crate::clock::{Deadline, now_ns};
use crate::flow;
use crate::place::{RUNS, project_root, run_name, writable};
use crate::scenario::{self, Scenario};
use crate::venue::{Layout, Ports};
use anyhow::{Context as _, bail};
use progress::Progress;
pub(crate) use progress::money;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tracker::Tracker;

/// Time between two looks at the venue's status.
const STATUS_EVERY: Duration = Duration::from_millis(500);

/// What comes to the demo from outside its thread.
#[derive(Debug)]
enum Signalled {
    /// A process says something.
    Spoken(Spoken),
    /// Something on the feed that the demo reports.
    Feed(feed::Seen),
    /// Ctrl-C or SIGTERM: the run ends as after any error, its processes first.
    Stop,
}

impl From<Spoken> for Signalled {
    fn from(spoken: Spoken) -> Self {
        Self::Spoken(spoken)
    }
}

/// `bench demo`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// How long to trade.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(3..=3_600))]
    seconds: u64,
    /// Accounts, one a member: half of them make, the rest take. A batch has room for 8.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=200))]
    accounts: u32,
    /// Seed of flow and index.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Recorded flow instead of the synthetic one: a LOBSTER message file, or a folder with a journal of ours.
    #[arg(long, value_name = "PATH")]
    flow: Option<PathBuf>,
    /// A running Ethereum node with the well-known dev accounts, instead of the embedded dev chain.
    #[arg(long, value_name = "URL")]
    l1: Option<String>,
    /// Where to write the figures.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to write the page with pictures.
    #[arg(long, value_name = "FILE", default_value = ".demo/report.html")]
    report: PathBuf,
    /// Keep journal, batches and logs of a run that went well.
    #[arg(long)]
    keep: bool,
}

/// Runs the demo.
///
/// # Errors
/// With the first thing that failed, or with every part of the end check that does not hold.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let args = absolute(args)?;
    let scenario = match &args.flow {
        Some(path) => flow::load(
            path,
            args.seed,
            args.seconds,
            args.accounts,
            now_ns() / 1_000_000_000,
        )?,
        None => scenario::synthetic(
            args.seed,
            args.seconds,
            args.accounts,
            now_ns() / 1_000_000_000,
        ),
    };
    for path in args.json.iter().chain([&args.report]) {
        writable(path)?;
    }
    let root = project_root()?;
    std::env::set_current_dir(&root).with_context(|| format!("cannot enter {}", root.display()))?;
    let layout = Layout {
        root: Path::new(RUNS).join(run_name()),
    };
    let done = Demo::new(&args, scenario, layout.clone()).and_then(|mut demo| {
        let done = demo.run();
        demo.progress.finish(&demo.tracker);
        done
    });
    match &done {
        Ok(()) if !args.keep => {
            std::fs::remove_dir_all(&layout.root)
                .with_context(|| format!("cannot remove {}", layout.root.display()))?;
        }
        _ if layout.root.exists() => eprintln!(
            "demo: journal, batches and logs are in {}",
            root.join(&layout.root).display()
        ),
        _ => {}
    }
    done
}

/// Files given by the user are meant from where the user is, also after we moved to the project's folder.
fn absolute(mut args: Args) -> anyhow::Result<Args> {
    let full = |p: &Path| {
        std::path::absolute(p).with_context(|| format!("{}: no such place", p.display()))
    };
    args.flow = args.flow.as_deref().map(full).transpose()?;
    args.json = args.json.as_deref().map(full).transpose()?;
    if args.report != Path::new(".demo/report.html") {
        args.report = full(&args.report)?;
    } else {
        args.report = project_root()?.join(&args.report);
    }
    Ok(args)
}

/// A run under way.
struct Demo {
    args: Args,
    scenario: Scenario,
    layout: Layout,
    ports: Ports,
    children: Children<Signalled>,
    tx: Sender<Signalled>,
    rx: Receiver<Signalled>,
    tracker: Tracker,
    progress: Progress,
    /// Once the venue serves.
    admin: Option<Admin>,
    next_status: Deadline,
    /// Output of the tool at hand.
    tool_lines: Vec<String>,
    /// Lines of services other than JSON, which readiness waits for: (process, line).
    notes: Vec<(&'static str, String)>,
    /// Processes whose output has ended.
    ended: Vec<&'static str>,
    l1_url: String,
    /// When trading began, ns since the epoch.
    start_ns: u64,
}

impl Demo {
    fn new(args: &Args, scenario: Scenario, layout: Layout) -> anyhow::Result<Self> {
        let (tx, rx) = channel();
        let children = Children::new(bin_dir()?, layout.logs(), tx.clone());
        for program in ["hostd", "prover"] {
            children.program(program)?;
        }
        let stop = tx.clone();
        // Without a listener the run is over anyway.
        on_signal(move || drop(stop.send(Signalled::Stop)))?;
        Ok(Self {
            progress: Progress::new(scenario.title.clone()),
            args: args.clone(),
            scenario,
            layout,
            ports: Ports::find()?,
            children,
            tx,
            rx,
            tracker: Tracker::default(),
            admin: None,
            next_status: Deadline::after(Duration::ZERO),
            tool_lines: Vec::new(),
            notes: Vec::new(),
            ended: Vec::new(),
            l1_url: String::new(),
            start_ns: 0,
        })
    }

    /// Lets `time` pass: takes in what comes, looks after the processes, shows the state.
    fn pump(&mut self, time: Duration) -> anyhow::Result<()> {
        let deadline = Deadline::after(time);
        loop {
            match self
                .rx
                .recv_timeout(deadline.left().min(Duration::from_millis(50)))
            {
                Ok(event) => {
                    self.take(event)?;
                    // What is there already belongs to the same look.
                    while let Ok(more) = self.rx.try_recv() {
                        self.take(more)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("no events any more"),
            }
            self.children.check()?;
            if self.next_status.passed() {
                self.look_at_status();
            }
            self.progress.show(&self.tracker);
            if deadline.passed() {
                return Ok(());
            }
        }
    }

    fn look_at_status(&mut self) {
        self.next_status = Deadline::after(STATUS_EVERY);
        // A venue that does not answer in time is found dead or slow elsewhere; here the last state stays.
        if let Some(Ok(status)) = self.admin.as_ref().map(|a| a.get("/v1/status")) {
            self.tracker.status = status;
        }
    }

    fn take(&mut self, event: Signalled) -> anyhow::Result<()> {
        match event {
            Signalled::Stop => bail!("interrupted"),
            Signalled::Feed(seen) => self.tracker.feed(seen),
            Signalled::Spoken(Spoken::Eof { name }) => self.ended.push(name),
            Signalled::Spoken(Spoken::Line { name, line }) => match name {
                "makers" | "takers" | "traders" => self.tracker.trader_line(name, &line),
                "prover" => self.tracker.prover_line(&line),
                "devnet" | "hostd" => self.notes.push((name, line)),
                _ => self.tool_lines.push(line),
            },
        }
        Ok(())
    }

    /// Pumps until `ready` gives a value.
    fn wait<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut ready: impl FnMut(&mut Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Deadline::after(patience);
        loop {
            if let Some(value) = ready(self)? {
                return Ok(value);
            }
            if deadline.passed() {
                bail!("{what} took longer than {} s", patience.as_secs());
            }
            self.pump(Duration::from_millis(40))?;
        }
    }

    /// Runs a program to its end; gives its lines, whether it succeeded, and its last words.
    fn try_tool(
        &mut self,
        name: &'static str,
        program: &str,
        args: &[String],
        patience: Duration,
    ) -> anyhow::Result<ToolEnd> {
        self.tool_lines.clear();
        self.ended.retain(|n| *n != name);
        let how = Start {
            may_end: true,
            ..Start::default()
        };
        self.children.start(name, program, args, how)?;
        let status = self.wait(name, patience, |demo| {
            // The output must have ended too, or its last lines could be missed.
            let over = demo.ended.contains(&name);
            Ok(demo.children.ended(name)?.filter(|_| over))
        })?;
        let words = self.children.last_words(name);
        self.children.stop(name);
        Ok(ToolEnd {
            lines: std::mem::take(&mut self.tool_lines),
            ok: status.success(),
            words,
        })
    }

    /// Runs a program that must succeed; gives its last line that is JSON.
    fn tool(
        &mut self,
        name: &'static str,
        program: &str,
        args: &[String],
        patience: Duration,
    ) -> anyhow::Result<Value> {
        let end = self.try_tool(name, program, args, patience)?;
        if !end.ok {
            bail!("{name} failed{}", end.words);
        }
        Ok(end.json())
    }
}

/// How a tool ended.
struct ToolEnd {
    lines: Vec<String>,
    ok: bool,
    /// Last lines of its standard error.
    words: String,
}

impl ToolEnd {
    /// The JSON object that the output is, or else its last line that is one.
    fn json(&self) -> Value {
        if let Ok(whole @ Value::Object(_)) = serde_json::from_str(&self.lines.concat()) {
            return whole;
        }
        let parse = |l: &String| {
            serde_json::from_str::<Value>(l)
                .ok()
                .filter(Value::is_object)
        };
        self.lines
            .iter()
            .rev()
            .find_map(parse)
            .unwrap_or(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_object_of_a_tools_output_is_its_result() {
        let lines = ["words", "{\"a\":1}", "{\"a\":2}", "[3]", ""]
            .map(str::to_owned)
            .to_vec();
        let end = ToolEnd {
            lines,
            ok: true,
            words: String::new(),
        };
        assert_eq!(end.json()["a"], 2);
        let lines = ["{", "  \"a\": 3", "}"].map(str::to_owned).to_vec();
        assert_eq!(ToolEnd { lines, ..end }.json()["a"], 3);
    }
}
