//! The journal over the real disk: restarts, crashes, a full disk, failing writes.

use hostd::storage::disk::{Durability, UringDisk};
use journal::{
    Config, DiskError, End, Full, GroupCommit, JournalDir, Reader, Record, Tail, segment_name,
};
use lane::Parker;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const CONFIG: Config = Config {
    segment_bytes: 256 * 1024,
    batch_bytes: 64 * 1024,
    epoch: 1,
};
const BODY: [u8; 96] = [0x5a; 96];
/// Says to this test program, run once more, what to do as a process of its own.
const CHILD: &str = "DISK_TEST_CHILD";

fn record(seq: u64) -> Record<'static> {
    Record {
        seq,
        time_ns: seq,
        template: 1,
        source: 2,
        session: 3,
        body: &BODY,
    }
}

fn open(dir: &Path, durability: Durability) -> UringDisk {
    UringDisk::open(JournalDir::open(dir).unwrap(), durability, None).unwrap()
}

fn resume(dir: &Path, end: &End) -> GroupCommit<UringDisk> {
    GroupCommit::resume(CONFIG, end, open(dir, Durability::Fsync)).unwrap()
}

fn end_of(dir: &Path) -> End {
    let mut reader = Reader::open(dir).unwrap();
    while let Some(view) = reader.next().unwrap() {
        assert_eq!(view.body, BODY);
    }
    reader.end().clone()
}

/// Appends at least up to `last_seq`, committing what arrived while the write before was in flight.
fn fill(journal: &mut GroupCommit<UringDisk>, last_seq: u64) -> Result<(), DiskError> {
    while journal.next_seq() <= last_seq {
        // A few per turn, so that batches have all sizes.
        for _ in 0..=journal.next_seq() % 17 {
            match journal.append(&record(journal.next_seq())) {
                Ok(_) => {}
                Err(Full) => journal.flush()?,
            }
        }
        journal.poll()?;
    }
    journal.flush()
}

/// Until nothing is being made in the background any more.
fn wait_for_spares(journal: &mut GroupCommit<UringDisk>) {
    while journal.free_segments() < 2 {
        journal.poll().unwrap();
    }
}

fn a_journal_over(dir: &Path) {
    for (durability, last_seq) in [(Durability::Fsync, 5000), (Durability::Relaxed, 10_000)] {
        let end = end_of(dir);
        let mut journal = GroupCommit::resume(CONFIG, &end, open(dir, durability)).unwrap();
        fill(&mut journal, last_seq).unwrap();
        let (next_seq, chain) = (journal.next_seq(), journal.chain());
        assert!(next_seq > last_seq && journal.durable_seq() == next_seq - 1);
        drop(journal);
        let end = end_of(dir);
        assert_eq!((end.next_seq, end.chain), (next_seq, chain));
        assert!(end.segment > 2, "several segments were begun");
    }
}

#[test]
fn records_written_through_the_ring_are_read_back_over_segments_and_restarts() {
    a_journal_over(tempfile::tempdir().unwrap().path());
}

#[test]
fn a_memory_file_system_works_too_and_the_boot_line_says_how() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    a_journal_over(dir.path());
    let line = open(dir.path(), Durability::Relaxed).describe();
    assert!(
        line.contains("RELAXED") && line.contains("writes"),
        "{line}"
    );
}

#[test]
fn a_second_daemon_on_the_same_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path(), Durability::Fsync);
    let error = JournalDir::open(dir.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("is in use by another process (it holds the lock)"),
        "{error}"
    );
}

#[test]
fn a_tile_asleep_is_woken_when_its_write_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let tile = Parker::new().unwrap();
    let dir = JournalDir::open(dir.path()).unwrap();
    let disk = UringDisk::open(dir, Durability::Fsync, Some(&tile)).unwrap();
    let mut journal = GroupCommit::resume(CONFIG, &End::genesis(), disk).unwrap();
    for seq in 1..200 {
        journal.append(&record(seq)).unwrap();
        while journal.durable_seq() < seq {
            // A minute per lost wake-up.
            if !journal.poll().unwrap() {
                tile.park(Duration::from_secs(60), || false).unwrap();
            }
        }
    }
}

#[test]
fn a_disk_without_space_says_so_before_it_is_needed_and_stores_what_still_fits() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = resume(dir.path(), &End::genesis());
    fill(&mut journal, 10).unwrap();
    wait_for_spares(&mut journal);
    drop(journal);
    for made_ahead in [2, 3] {
        std::fs::remove_file(dir.path().join(segment_name(made_ahead))).unwrap();
    }
    // No disk has room for this segment; nothing is written in trying.
    let config = Config {
        segment_bytes: 1 << 60,
        ..CONFIG
    };
    let end = end_of(dir.path());
    let disk = open(dir.path(), Durability::Fsync);
    let mut journal = GroupCommit::resume(config, &end, disk).unwrap();
    assert_eq!(journal.free_segments(), 0);
    let error = fill(&mut journal, 10_000).unwrap_err();
    assert!(matches!(error, DiskError::NoSpace), "{error}");
    let stored = journal.durable_seq();
    assert!(
        stored > 1000 && journal.room() < CONFIG.batch_bytes as u64,
        "stored {stored}"
    );
    drop(journal);
    assert_eq!(end_of(dir.path()).next_seq, stored + 1);
}

/// What a child process does, by name.
#[test]
fn child() {
    let Ok(what) = std::env::var(CHILD) else {
        return;
    };
    let (what, dir) = what.split_once(' ').unwrap();
    let mut journal = resume(Path::new(dir), &end_of(Path::new(dir)));
    if what == "limited" {
        wait_for_spares(&mut journal);
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let limit = rustix::process::Rlimit {
            current: Some(100 * 1024),
            maximum: None,
        };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
        let error = fill(&mut journal, u64::MAX - 20).unwrap_err();
        println!("\nfailed {} {error}", journal.durable_seq());
        println!("\nthen {}", journal.poll().unwrap_err());
        return;
    }
    loop {
        let last_seq = journal.next_seq() + 300;
        fill(&mut journal, last_seq).unwrap();
        println!("\ndurable {}", journal.durable_seq());
    }
}

fn start_child(what: &str, dir: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{what} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_process_loses_nothing_that_it_reported_durable() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let mut child = start_child("endless", dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut reported = 0;
        for _ in 0..5 + round * 3 {
            let line = lines
                .by_ref()
                .map(Result::unwrap)
                .find(|l| l.starts_with("durable"))
                .unwrap();
            reported = line.split_once(' ').unwrap().1.parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let end = end_of(dir.path());
        assert!(
            end.next_seq > reported,
            "reported {reported}, found up to {}",
            end.next_seq - 1
        );
    }
}

#[test]
fn a_write_that_fails_or_falls_short_stops_the_journal_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let child = start_child("limited", dir.path())
        .wait_with_output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    let line = |start| {
        said.lines()
            .find_map(|l| l.strip_prefix(start))
            .unwrap_or_else(|| panic!("{said}"))
    };
    let (durable, error) = line("failed ").split_once(' ').unwrap();
    assert!(error.contains("journal-00000001.seg"), "{error}");
    assert_eq!(
        line("then "),
        "the journal has stopped after an earlier error"
    );
    let end = end_of(dir.path());
    assert!(end.next_seq > durable.parse::<u64>().unwrap());
    assert!(end.next_seq < 1000 && matches!(end.tail, Tail::Clean | Tail::Torn { .. }));
}
