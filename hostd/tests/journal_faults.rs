//! Real disks that are full or fail, under the real daemon and the real io_uring disk. They need root, for mounts; a
//! run without it says so and proves nothing. What needs no root is in `disk.rs` and in the journal's `faults.rs`.

mod world;

use client::{Report, Session, Side, cancel, limit_order, parse_e9};
use firmware::reject::RejectCode;
use hostd::storage::disk::{Durability, UringDisk};
use journal::{Config, DiskError, End, GroupCommit, JournalDir, Reader, Record};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use world::{World, reports};

/// A mounted file system, unmounted when this goes.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs a command; its first line of output, or what it said on failure.
fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let done = Command::new(program)
        .args(args)
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() {
        Ok(text(&done.stdout))
    } else {
        Err(format!("{program}: {}", text(&done.stderr)))
    }
}

fn mount(at: &Path, args: &[&str]) -> Result<Mount, String> {
    std::fs::create_dir_all(at).unwrap();
    run("mount", &[args, &[at.to_str().unwrap()]].concat())?;
    Ok(Mount(at.to_path_buf()))
}

/// The mount, or a word on why this test does not run here.
fn or_skip<T>(made: Result<T, String>) -> Option<T> {
    made.inspect_err(|e| println!("NOT RUN, it needs root and mounts: {e}"))
        .ok()
}

/// Fills the file system of `path` to its last byte.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for len in [1 << 16, 4096, 1] {
        while file.write_all(&vec![0xaa; len]).is_ok() {}
    }
    // A full disk may refuse this too.
    let _ = file.sync_all();
}

fn order(session: &mut Session, id: u64) -> Report {
    let price = parse_e9("100000.5").unwrap();
    let order = limit_order(id, 1, 0, Side::Sell, price, 1);
    session.send(&order.into()).unwrap();
    reports(session, 1).remove(0)
}

#[test]
fn a_full_disk_means_cancels_only_until_there_is_space_again() {
    let mut w = World::new();
    let dir = w.data().join("journal");
    let Some(_mount) = or_skip(mount(
        &dir,
        &["-t", "tmpfs", "-o", "size=7m", "journal-faults"],
    )) else {
        return;
    };
    let text = w.config().replace("segment_mib = 16", "segment_mib = 1");
    std::fs::write(w.config_path(), text).unwrap();
    w.open();
    let mut maker = w.session(1);
    assert!(matches!(order(&mut maker, 1), Report::Accepted(_)));
    fill(&dir.join("ballast"));
    // Each is a group commit of its own, 4 KiB: the first segment ends soon, and there is no fourth.
    let mut id = 1;
    let refused = loop {
        id += 1;
        assert!(id < 2_000, "never refused");
        match order(&mut maker, id) {
            Report::Accepted(_) => {}
            Report::Rejected(m) if m.reason == RejectCode::Throttled as u16 => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Report::Rejected(m) => break m,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused.reason, RejectCode::Overloaded as u16);
    assert!(w.is_running());
    maker.send(&cancel(id + 1, 1, 0, 1).into()).unwrap();
    let canceled = reports(&mut maker, 1).remove(0);
    assert!(matches!(canceled, Report::Canceled(_)), "{canceled:?}");
    std::fs::remove_file(dir.join("ballast")).unwrap();
    id += 2;
    let mut tries = 0;
    while !matches!(order(&mut maker, id), Report::Accepted(_)) {
        (id, tries) = (id + 1, tries + 1);
        assert!(tries < 400, "space is back and orders are still refused");
        std::thread::sleep(Duration::from_millis(50));
    }
    w.kill();
    let replayed = w.replay();
    assert!(replayed["records"].as_u64().unwrap() > id, "{replayed}");
    w.start();
    w.shutdown();
}

const CONFIG: Config = Config {
    segment_bytes: 2 << 20,
    batch_bytes: 64 << 10,
    epoch: 0,
};

/// A loop device, detached when this goes.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = run("losetup", &["-d", &self.0]);
    }
}

/// An ext4 file system in a file on a file system that is smaller than it believes.
fn thin(dir: &Path) -> Result<(Mount, Loop, Mount), String> {
    let (below, above) = (dir.join("below"), dir.join("above"));
    let outer = mount(&below, &["-t", "tmpfs", "-o", "size=24m", "journal-faults"])?;
    let image = below.join("image");
    let image = image.to_str().unwrap();
    run("truncate", &["-s", "64M", image])?;
    run(
        "mkfs.ext4",
        &[
            "-q",
            "-O",
            "^has_journal",
            "-E",
            "lazy_itable_init=0",
            image,
        ],
    )?;
    let device = Loop(run("losetup", &["-f", "--show", image])?);
    let inner = mount(&above, &["-o", "errors=continue", &device.0])?;
    Ok((inner, device, outer))
}

#[test]
fn thin_storage_that_runs_out_is_met_by_zeros_and_never_by_a_record() {
    let dir = tempfile::tempdir().unwrap();
    // They go in this order: the inner mount, the device, the outer mount.
    let Some(_held) = or_skip(thin(dir.path())) else {
        return;
    };
    let at = dir.path().join("above/journal");
    let disk = UringDisk::open(JournalDir::open(&at).unwrap(), Durability::Fsync, None).unwrap();
    let mut journal = GroupCommit::resume(CONFIG, &End::genesis(), disk).unwrap();
    while journal.free_segments() < 2 {
        journal.poll().unwrap();
    }
    // ext4 still believes in tens of free megabytes.
    let ballast = dir.path().join("below/ballast");
    fill(&ballast);
    let body = [0x5a; 2_000];
    let append = |journal: &mut GroupCommit<UringDisk>| {
        let record = Record {
            seq: journal.next_seq(),
            time_ns: 0,
            template: 1,
            source: 0,
            session: 0,
            body: &body,
        };
        journal.append(&record)
    };
    let error = loop {
        if append(&mut journal).is_ok() {
            continue;
        }
        if let Err(error) = journal.flush() {
            break error;
        }
        assert!(journal.durable_seq() < 100_000, "space never ran out");
    };
    assert!(matches!(error, DiskError::NoSpace), "{error}");
    assert!(journal.is_short_of_space());
    let stored = journal.durable_seq();
    assert!(stored > 1_000, "all segments made ahead are used: {stored}");
    std::fs::remove_file(ballast).unwrap();
    // The maker looks again every second.
    for _ in 0..100 {
        match journal.flush() {
            Ok(()) => break,
            Err(DiskError::NoSpace) => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(journal.durable_seq() > stored, "space is back");
    append(&mut journal).unwrap();
    journal.flush().unwrap();
    let last = journal.durable_seq();
    drop(journal);
    // What reads back well must not come out of pages that were never written.
    for segment in journal::list_segments(&at).unwrap() {
        let file = std::fs::File::open(journal::segment_path(&at, segment.segment)).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
    let mut reader = Reader::open(&at).unwrap();
    while let Some(view) = reader.next().unwrap() {
        assert_eq!(view.body, body);
    }
    assert_eq!(reader.next_seq(), last + 1);
}
