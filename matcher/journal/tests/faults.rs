//! The journal over a disk that misbehaves: what was reported durable is read back, or the damage is named.

use journal::faults::{FaultDisk, Happened, Medium, WriteFault};
use journal::{Config, DiskError, End, GroupCommit, JournalDir, JournalError, Reader, Record};
use std::path::Path;

const CONFIG: Config = Config {
    segment_bytes: 48 * 1024,
    batch_bytes: 16 * 1024,
    epoch: 0,
};
const MS: u64 = 1_000_000;

/// The body of record `seq` in the history that `salt` names.
fn body(seq: u64, salt: u64) -> Vec<u8> {
    let len = (seq * 131 + salt * 17) % 900;
    (0..len).map(|i| ((i * seq) ^ salt) as u8 | 1).collect()
}

/// A box with its medium, started and restarted.
struct Bed {
    dir: tempfile::TempDir,
    medium: Medium,
    bodies: Vec<Vec<u8>>,
    salt: u64,
}

impl Bed {
    fn new(seed: u64) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            medium: Medium::new(seed),
            bodies: Vec::new(),
            salt: seed,
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Reads all; each record is the one that was appended under its number.
    fn read(&self) -> Result<End, JournalError> {
        let mut reader = Reader::open(self.path())?;
        while let Some(view) = reader.next()? {
            let body = &self.bodies[view.header.seq as usize - 1];
            assert_eq!(&view.body[..body.len()], body, "record {}", view.header.seq);
            assert!(view.body.len() - body.len() < 8);
        }
        Ok(reader.end().clone())
    }

    /// After a crash: everything that was durable is there, and the rest never happened.
    fn restart(&mut self) -> GroupCommit<FaultDisk> {
        let end = self.read().unwrap();
        assert!(
            end.next_seq > self.medium.durable_seq(),
            "record {} was durable, the journal ends before {}",
            self.medium.durable_seq(),
            end.next_seq
        );
        self.bodies.truncate(end.next_seq as usize - 1);
        self.salt += 1;
        let disk = FaultDisk::new(JournalDir::open(self.path()).unwrap(), self.medium.clone());
        GroupCommit::resume(CONFIG, &end, disk).unwrap()
    }

    /// Appends up to `count` records; returns how many there was room for.
    fn append(&mut self, journal: &mut GroupCommit<FaultDisk>, count: u64) -> u64 {
        for appended in 0..count {
            let seq = journal.next_seq();
            let body = body(seq, self.salt);
            let record = Record {
                seq,
                time_ns: seq,
                template: 1,
                source: 0,
                session: 0,
                body: &body,
            };
            if journal.append(&record).is_err() {
                return appended;
            }
            self.bodies.push(body);
        }
        count
    }
}

#[test]
fn a_crash_at_any_time_loses_nothing_that_was_durable() {
    for seed in 0..60 {
        let mut bed = Bed::new(seed);
        bed.medium.behave(|b| b.delay_max_ns = 5 * MS);
        let mut now = 0;
        for round in 0..8 {
            let mut journal = bed.restart();
            for step in 0..(seed * 7 + round * 13) % 40 {
                bed.append(&mut journal, (step * 5 + seed) % 9);
                now += MS;
                bed.medium.advance_to(now);
                journal.poll().unwrap();
                assert!(journal.durable_seq() <= bed.medium.durable_seq());
            }
        }
        let mut journal = bed.restart();
        bed.append(&mut journal, 3);
        journal.flush().unwrap();
        assert_eq!(journal.durable_seq(), bed.bodies.len() as u64);
        drop(journal);
        assert_eq!(bed.read().unwrap().next_seq, bed.bodies.len() as u64 + 1);
    }
}

#[test]
fn an_error_of_the_disk_stops_the_journal_and_nothing_more_becomes_durable() {
    for fault in [WriteFault::Error, WriteFault::ReadOnly, WriteFault::Short] {
        for seed in 0..40 {
            let mut bed = Bed::new(seed);
            let mut journal = bed.restart();
            for turn in 0..seed % 11 {
                bed.append(&mut journal, 1 + turn % 5);
                journal.flush().unwrap();
            }
            let durable = journal.durable_seq();
            bed.append(&mut journal, 1 + seed % 7);
            bed.medium.behave(|b| b.next_write = Some(fault));
            let error = journal.flush().unwrap_err();
            let said = error.to_string();
            match fault {
                WriteFault::Error => assert!(said.contains("Input/output error"), "{said}"),
                WriteFault::ReadOnly => assert!(said.contains("Read-only file system"), "{said}"),
                _ => assert!(matches!(error, DiskError::ShortWrite { .. }), "{said}"),
            }
            assert!(said.contains("journal-0000000"), "{said}");
            for _ in 0..3 {
                bed.append(&mut journal, 1);
                assert!(matches!(journal.poll(), Err(DiskError::Stopped)));
                assert!(matches!(journal.flush(), Err(DiskError::Stopped)));
                assert_eq!(journal.durable_seq(), durable);
            }
            drop(journal);
            let mut journal = bed.restart();
            bed.append(&mut journal, 5);
            journal.flush().unwrap();
            drop(journal);
            assert_eq!(bed.read().unwrap().next_seq, bed.bodies.len() as u64 + 1);
        }
    }
}

#[test]
fn a_full_disk_says_so_ahead_and_the_journal_goes_on_when_space_is_back() {
    let mut bed = Bed::new(1);
    let mut journal = bed.restart();
    bed.append(&mut journal, 1);
    journal.flush().unwrap();
    assert_eq!(journal.free_segments(), 2);
    bed.medium.behave(|b| b.is_full = true);
    let mut least = 2;
    let error = loop {
        bed.append(&mut journal, 4);
        if let Err(error) = journal.flush() {
            break error;
        }
        assert!(journal.free_segments() <= least, "it falls one by one");
        least = journal.free_segments();
    };
    assert!(matches!(error, DiskError::NoSpace), "{error}");
    assert_eq!(least, 0, "it was told before it hurt");
    let durable = journal.durable_seq();
    assert!(matches!(journal.flush(), Err(DiskError::NoSpace)));
    assert_eq!(journal.durable_seq(), durable);
    bed.medium.behave(|b| b.is_full = false);
    journal.flush().unwrap();
    assert_eq!(journal.durable_seq(), bed.bodies.len() as u64);
    assert_eq!(journal.free_segments(), 2);
    drop(journal);
    assert_eq!(bed.read().unwrap().next_seq, bed.bodies.len() as u64 + 1);
}

#[test]
fn a_slow_disk_delays_and_changes_nothing_else() {
    let mut bed = Bed::new(3);
    let mut journal = bed.restart();
    bed.medium.behave(|b| b.delay_max_ns = 50 * MS);
    let (mut now, mut waited) = (0, 0);
    while bed.bodies.len() < 500 {
        bed.append(&mut journal, 10);
        let is_moving = journal.poll().unwrap();
        waited += u64::from(!is_moving);
        now += MS;
        bed.medium.advance_to(now);
    }
    assert!(waited > 100, "{waited} turns waited for a write");
    journal.flush().unwrap();
    drop(journal);
    assert_eq!(bed.read().unwrap().next_seq, bed.bodies.len() as u64 + 1);
}

#[test]
fn a_write_lost_or_landed_elsewhere_is_found_once_another_follows() {
    let mut found = 0;
    for fault in [WriteFault::Lost, WriteFault::Misdirected] {
        for seed in 0..150 {
            let mut bed = Bed::new(seed);
            let mut journal = bed.restart();
            for turn in 0..1 + seed % 9 {
                bed.append(&mut journal, 1 + turn % 5);
                journal.flush().unwrap();
            }
            bed.append(&mut journal, 1 + seed % 7);
            bed.medium.behave(|b| b.next_write = Some(fault));
            journal.flush().unwrap();
            let is_last = seed % 3 == 0;
            if !is_last {
                bed.append(&mut journal, 2);
                journal.flush().unwrap();
            }
            let next_seq = journal.next_seq();
            drop(journal);
            match bed.read() {
                Err(JournalError::Corrupt { .. }) => found += 1,
                Err(other) => panic!("seed {seed}: {other}"),
                // By chance in its own place, or with nothing behind it that could show the hole.
                Ok(end) => assert!(
                    end.next_seq == next_seq || is_last,
                    "seed {seed}: {fault:?}"
                ),
            }
        }
    }
    assert!(found > 200, "{found}");
}

#[test]
fn the_crashes_of_these_tests_are_of_every_kind() {
    let medium = Medium::new(5);
    for round in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultDisk::new(JournalDir::open(dir.path()).unwrap(), medium.clone());
        let mut journal = GroupCommit::resume(CONFIG, &End::genesis(), disk).unwrap();
        medium.behave(|b| b.delay_max_ns = u64::MAX / 4);
        let record = Record {
            seq: 1,
            time_ns: round,
            template: 1,
            source: 0,
            session: 0,
            body: &[1; 600],
        };
        journal.append(&record).unwrap();
        assert!(journal.poll().unwrap());
    }
    let happened = medium.happened();
    for what in [
        Happened::CrashWroteNothing,
        Happened::CrashWroteAll,
        Happened::CrashCutAtByte,
        Happened::CrashLeftSectorsOut,
    ] {
        assert!(happened.contains_key(&what), "{what:?}: {happened:?}");
    }
}
