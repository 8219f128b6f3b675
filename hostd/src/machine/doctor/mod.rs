//! Looks at the machine and says what stands between it and the latency that it could give: what was found, why it
//! matters, and the command that mends it.
//!
//! It only reads. The one thing that it writes, to learn what a durable write costs, goes into a nameless file that is
//! gone when it is closed. What cannot be seen from here is said to be unknown, never guessed.

mod clocks;
mod cores;
mod disk;
mod ethtool;
mod limits;
mod machine;
mod memory;
mod netdev;
mod nic;
mod replication;

pub(crate) use limits::IPC_LOCK;
pub use machine::Machine;

use crate::capacity::{Capacity, TICK_BYTES};
use crate::config::{Backend, Config, Instrument};
use crate::machine::memory::Lock;
use crate::replication::ReplicationSection;
use serde::Serialize;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// How a finding is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Cannot be seen from here, as in a virtual machine or without a right.
    Unknown,
    /// The box works; it would be faster, steadier or safer otherwise.
    Advice,
    /// Something that the configuration asks for will fail or mislead.
    Problem,
}

impl Level {
    /// Its name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Advice => "advice",
            Self::Problem => "problem",
        }
    }
}

/// What one check came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Stable name of the check.
    pub name: &'static str,
    /// How it is meant.
    pub level: Level,
    /// The value on this machine.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// The command or setting that mends it; none where there is nothing to mend.
    pub mend: Option<String>,
}

/// A check: its name, and why it is made.
pub(crate) struct Check {
    name: &'static str,
    why: &'static str,
}

impl Check {
    const fn new(name: &'static str, why: &'static str) -> Self {
        Self { name, why }
    }

    fn finding(&self, level: Level, found: impl Into<String>, mend: Option<String>) -> Finding {
        Finding {
            name: self.name,
            level,
            found: found.into(),
            why: self.why,
            mend,
        }
    }

    fn ok(&self, found: impl Into<String>) -> Finding {
        self.finding(Level::Ok, found, None)
    }

    fn unknown(&self, found: impl Into<String>) -> Finding {
        self.finding(Level::Unknown, found, None)
    }

    fn advice(&self, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        self.finding(Level::Advice, found, Some(mend.into()))
    }

    fn problem(&self, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        self.finding(Level::Problem, found, Some(mend.into()))
    }
}

/// What the box is going to use of the machine.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Cores of the tiles that must not be disturbed; none when no tile is pinned.
    pub hot_cores: Vec<usize>,
    /// Addresses of the hot sockets; empty for every interface that is up.
    pub addresses: Vec<Ipv4Addr>,
    /// NIC backend.
    pub backend: Backend,
    /// Where journal, spool and batches go.
    pub data_dir: PathBuf,
    /// Bytes of a journal segment.
    pub segment_bytes: u64,
    /// Whether a report waits for the disk.
    pub is_durable: bool,
    /// Memory that it takes at the start.
    pub memory_bytes: u64,
    /// Whether it refuses to start when that cannot be locked.
    pub must_lock: bool,
    /// The other boxes, if there are any.
    pub replication: Option<ReplicationSection>,
}

impl Subject {
    /// What a configuration uses.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mut addresses = vec![*config.net.order_entry.ip(), *config.feed.source.ip()];
        addresses.extend(config.net.order_entry_b.iter().map(|b| *b.ip()));
        if addresses.iter().any(Ipv4Addr::is_unspecified) {
            addresses.clear();
        }
        Self {
            hot_cores: config.topology.hot_cores(),
            addresses,
            backend: config.net.backend,
            data_dir: config.venue.data_dir.clone(),
            segment_bytes: config.journal.segment_mib << 20,
            is_durable: config.journal.durability != crate::config::Durability::Relaxed,
            memory_bytes: memory_bytes(config),
            must_lock: config.memory.lock == Lock::On,
            replication: config.replication.clone(),
        }
    }

    /// A box of default size in the working directory, on every interface: for a machine without configuration yet.
    #[must_use]
    pub fn any() -> Self {
        Self {
            hot_cores: Vec::new(),
            addresses: Vec::new(),
            backend: Backend::Uring,
            data_dir: PathBuf::from("."),
            segment_bytes: 64 << 20,
            is_durable: true,
            memory_bytes: Capacity::default().core_bytes() + BOX_BYTES,
            must_lock: false,
            replication: None,
        }
    }
}

/// Memory around the core: lanes, NIC, store of the day, stacks of the tiles.
const BOX_BYTES: u64 = 40 << 20;

fn memory_bytes(config: &Config) -> u64 {
    let width = |i: &Instrument| i.listing().map_or(0, |l| l.width_ticks as u64);
    let ticks: u64 = config.instruments.iter().map(width).sum();
    config.capacity.core_bytes() + ticks * TICK_BYTES + BOX_BYTES
}

/// How long the examination may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Milliseconds: nothing is measured.
    Quick,
    /// Durable writes are timed too.
    Full,
}

/// All findings, in the order in which one would look.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    findings: Vec<Finding>,
}

/// Examines this machine for what `subject` uses of it.
#[must_use]
pub fn examine(subject: &Subject, depth: Depth) -> Report {
    let machine = Machine::real();
    let mut findings = limits::findings(&machine, subject);
    findings.extend(cores::findings(&machine, &subject.hot_cores));
    findings.extend(clocks::findings(&machine, clocks::time_state()));
    findings.extend(memory::findings(&machine, subject));
    findings.extend(nic::findings(&machine, subject));
    findings.extend(disk::findings(&machine, subject, depth));
    if let (Some(section), Depth::Full) = (&subject.replication, depth) {
        findings.extend(replication::findings(section));
    }
    Report { findings }
}

/// The disk below `dir`, finding by finding, for who reports figures of it.
#[must_use]
pub fn disk_below(dir: &Path) -> Vec<String> {
    let subject = Subject {
        data_dir: dir.to_owned(),
        ..Subject::any()
    };
    let findings = disk::findings(&Machine::real(), &subject, Depth::Quick);
    let said = |f: &Finding| format!("{}: {}", f.name, f.found);
    findings.iter().map(said).collect()
}

impl Report {
    /// All findings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Those of one level.
    pub fn of(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |f| f.level == level)
    }

    /// For people: one line a finding, and under what is not as it should be, why and how to mend it.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.findings.iter().map(|f| f.name.len()).max();
        let width = width.unwrap_or(0);
        let mut text = String::new();
        for f in &self.findings {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:8} {:width$}  {}", f.level.name(), f.name, f.found);
            if f.level >= Level::Advice {
                let _ = writeln!(text, "{:8} {:width$}  why:  {}", "", "", f.why);
                for line in f.mend.iter().flat_map(|m| m.lines()) {
                    let _ = writeln!(text, "{:8} {:width$}  mend: {line}", "", "");
                }
            }
        }
        let count = |level| self.of(level).count();
        let _ = writeln!(
            text,
            "{} problems, {} pieces of advice, {} unknown, {} ok",
            count(Level::Problem),
            count(Level::Advice),
            count(Level::Unknown),
            count(Level::Ok),
        );
        text
    }

    /// Writes what a booting daemon should say: each problem, and how much advice there is.
    pub fn log(&self) {
        for f in self.of(Level::Problem) {
            let mend = f.mend.as_deref().unwrap_or_default();
            let fields: [(&str, &dyn std::fmt::Display); 4] = [
                ("check", &f.name),
                ("found", &f.found),
                ("why", &f.why),
                ("mend", &mend),
            ];
            crate::machine::log::event("machine_problem", &fields);
        }
        crate::machine::log::event(
            "machine",
            &[
                ("problems", &self.of(Level::Problem).count()),
                ("advice", &self.of(Level::Advice).count()),
                ("see", &"hostd doctor"),
            ],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Depth, Level, Report, Subject, examine};

    const CHECK: Check = Check::new("thing", "it matters");

    #[test]
    fn the_text_gives_reason_and_command_only_where_something_is_to_be_done() {
        let report = Report {
            findings: vec![
                CHECK.ok("fine"),
                CHECK.unknown("hidden"),
                CHECK.advice("slow", "first\nsecond"),
                CHECK.problem("broken", "mend it"),
            ],
        };
        let want = "\
ok       thing  fine
unknown  thing  hidden
advice   thing  slow
                why:  it matters
                mend: first
                mend: second
problem  thing  broken
                why:  it matters
                mend: mend it
1 problems, 1 pieces of advice, 1 unknown, 1 ok
";
        assert_eq!(report.text(), want);
    }

    #[test]
    fn this_machine_can_be_examined_and_each_finding_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let subject = Subject {
            data_dir: dir.path().join("not/made/yet"),
            ..Subject::any()
        };
        let report = examine(&subject, Depth::Full);
        for f in report.findings() {
            assert!(!f.found.is_empty() && !f.why.is_empty(), "{f:?}");
            assert_eq!(f.mend.is_some(), f.level >= Level::Advice, "{f:?}");
        }
        for name in [
            "kernel",
            "governor",
            "clocksource",
            "memory",
            "journal space",
        ] {
            assert!(report.findings().iter().any(|f| f.name == name), "{name}");
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 0, "it leaves nothing behind");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][0]["name"], "kernel");
        assert!(json["findings"][0]["level"].is_string());
    }
}
