//! Making a snapshot: the journal is replayed from the last one, which also verifies it.

use super::{Beginner, Lock, Start, prune, write};
use crate::capacity::Capacity;
use crate::storage::data_dir::DataDir;
use crate::storage::recover::recover;
use anyhow::{Context, ensure};
use journal::segment_path;
use serde::Serialize;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Nice value of a process that makes a snapshot.
const NICE: i32 = 19;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Taken {
    /// The snapshot's file; `None` when the newest one is of that record already.
    pub path: Option<PathBuf>,
    /// Record that the newest snapshot is of.
    pub seq: u64,
    /// State hash there, hex.
    pub state_hash: String,
    /// Records replayed to get there.
    pub records: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// How long it took.
    pub ms: u64,
    /// Snapshot that the replay began with; `None`: the first record.
    pub from: Option<String>,
    /// Snapshots that are not sound, each with what is wrong with it.
    pub refused: Vec<String>,
}

/// Makes a snapshot of the state at record `until`, which must be durable, or at the end of a journal that nobody
/// writes.
///
/// # Errors
/// When another process is making one, the journal is damaged, or the disk fails. Then nothing has a new name.
pub fn take(data: &DataDir, until: Option<u64>) -> anyhow::Result<Taken> {
    let begun = Instant::now();
    let journal = data.journal();
    ensure!(journal.is_dir(), "{}: no journal there", journal.display());
    let _lock = Lock::take(data, Duration::ZERO)?;
    let start = Start::newest(data, &Capacity::default(), Beginner::Beside)?;
    let Start {
        core,
        mark,
        mut spool,
        mut day,
        from,
        refused,
    } = start;
    std::fs::create_dir_all(data.batches())?;
    let taken = |path, seq, hash: [u8; 32], records, bytes| Taken {
        path,
        seq,
        state_hash: crate::ops::admin::hex(&hash),
        records,
        bytes,
        ms: begun.elapsed().as_millis() as u64,
        from,
        refused,
    };
    if until.is_some_and(|until| until <= mark.seq) {
        return Ok(taken(None, mark.seq, core.engine.state_hash(), 0, 0));
    }
    let began = mark.seq;
    let r = recover(
        &journal,
        core,
        &mark,
        until,
        Some(&data.batches()),
        |core| {
            for (member, report) in core.told() {
                spool.append(member, report)?;
            }
            Start::day_of(&mut day, data, core)?.replay(&core.outbox)
        },
    )?;
    if let Some(until) = until {
        let last = r.mark.seq;
        ensure!(
            last == until,
            "record {until} is not there: the journal ends with record {last}"
        );
    }
    let hash = r.core.engine.state_hash();
    if r.mark.seq == began {
        return Ok(taken(None, began, hash, 0, 0));
    }
    // All that the snapshot counts on is durable before it gets its name.
    for segment in r.first_segment..=r.end.segment {
        let path = segment_path(&journal, segment);
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.with_context(|| format!("cannot sync {}", path.display()))?;
    }
    let day = Start::day_of(&mut day, data, &r.core)?;
    spool.sync()?;
    day.sync(&data.feed())?;
    let (path, bytes) = write(&data.snapshots(), &r.mark, &r.core, day)?;
    prune(&data.snapshots())?;
    Ok(taken(Some(path), r.mark.seq, hash, r.records, bytes))
}

/// Lets everything else on the machine go first, on its cores and on its disks.
pub fn lower_priority() {
    // Without the right to it the work is done at the usual priority.
    let _ = rustix::process::nice(NICE);
    const IOPRIO_WHO_PROCESS: libc::c_long = 1;
    const IOPRIO_CLASS_IDLE: libc::c_long = 3 << 13;
    // SAFETY: the call takes three numbers and touches no memory of ours.
    unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            0 as libc::c_long,
            IOPRIO_CLASS_IDLE,
        );
    }
}
