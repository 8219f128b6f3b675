//! Snapshots: the state at a record, beside the journal, so that a start need not replay from the first one.
//!
//! ```text
//! snapshots/snapshot-00000000000000012345.snap
//!   0  magic "DBXSNAP1" | layout u32 | zero u32 | seq u64 | time u64
//!  32  hash of the journal up to and with record seq, 32 bytes
//!  64  state hash at that record, 32 bytes
//!  96  length of the body u64
//! 104  body: the core, then the feed's books and numbers
//!   .  BLAKE3 of everything before
//! ```
//!
//! A snapshot says where spool and feed store stood; their files hold what was said up to there, durable since
//! before the snapshot got its name. Whoever replays the journal writes the same bytes to the same places of these
//! files, so nothing is copied: the process that makes a snapshot writes beside the box, and a start goes on
//! behind what the snapshot counts, after it has looked at all of it.
//!
//! A start takes the newest snapshot that is sound in all its parts, itself, spool, feed and sealed batches; one
//! that is not is named and left alone, and without any the journal is replayed from its first record. The
//! snapshot must lie on the chain of the journal: of another journal, or ahead of it, it stops the start, for then
//! durable records are missing.

pub mod command;
mod keeper;
mod take;

pub use keeper::{Keeper, KeeperHandle};
pub use take::{Taken, lower_priority, take};

use crate::capacity::Capacity;
use crate::feed::FeedDay;
use crate::storage::data_dir::DataDir;
use crate::tiles::core::Core;
use crate::tiles::journal_tile::batch_name;
use crate::tiles::spool::SpoolFiles;
use anyhow::{Context, bail, ensure};
use bytemuck::{Pod, Zeroable};
use firmware::units::MemberId;
use handshake::FeedHash;
use journal::Mark;
use matcher::book::OrderBook;
use matcher::snapshot::{SNAPSHOT_LAYOUT, Sink, SnapshotError, Source};
use std::fs::{File, TryLockError};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Snapshots that are kept.
pub const KEPT: usize = 2;
const MAGIC: [u8; 8] = *b"DBXSNAP1";
const DIGEST_LEN: u64 = 32;
/// Bytes that are read or written at once.
const CHUNK: usize = 1 << 18;
/// How long a start waits for a process that is making a snapshot.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What stands before the body.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    layout: u32,
    pad1: u32,
    seq: u64,
    time_ns: u64,
    chain: [u8; 32],
    state_hash: [u8; 32],
    body_len: u64,
}

const HEADER_LEN: u64 = size_of::<Header>() as u64;

fn snapshot_name(seq: u64) -> String {
    format!("snapshot-{seq:020}.snap")
}

/// Snapshots in `dir`, newest first; none without the directory.
fn list(dir: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let failed = || format!("cannot read {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(failed),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().and_then(|n| n.to_str());
        let seq = name.and_then(|n| n.strip_prefix("snapshot-")?.strip_suffix(".snap"));
        if let Some(seq) = seq.and_then(|s| s.parse().ok()) {
            found.push((seq, path));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Removes snapshots of states after record `seq`, which leaves the journal.
pub(crate) fn drop_after(data: &DataDir, seq: u64) -> anyhow::Result<()> {
    for (at, path) in list(&data.snapshots())? {
        if at > seq {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// The body of a file whose digest was checked.
struct Body {
    file: std::io::Take<BufReader<File>>,
}

impl Source for Body {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.file
            .read_exact(bytes)
            .map_err(|_| SnapshotError::Short)
    }
}

/// Checks a whole file against its digest; its body is read then.
fn open(seq: u64, path: &Path) -> anyhow::Result<(Header, Body)> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut header = Header::zeroed();
    ensure!(len >= HEADER_LEN + DIGEST_LEN, "cut short");
    file.read_exact(bytemuck::bytes_of_mut(&mut header))?;
    ensure!(header.magic == MAGIC, "not a snapshot");
    let layout = header.layout;
    ensure!(
        layout == SNAPSHOT_LAYOUT,
        "layout {layout}; this release reads {SNAPSHOT_LAYOUT}"
    );
    ensure!(
        header.body_len == len - HEADER_LEN - DIGEST_LEN,
        "cut short"
    );
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut left = len - DIGEST_LEN;
    file.seek(SeekFrom::Start(0))?;
    while left > 0 {
        let n = left.min(CHUNK as u64) as usize;
        file.read_exact(&mut chunk[..n])?;
        hasher.update(&chunk[..n]);
        left -= n as u64;
    }
    let mut digest = [0; DIGEST_LEN as usize];
    file.read_exact(&mut digest)?;
    ensure!(
        hasher.finalize() == digest,
        "damaged: its digest does not match"
    );
    ensure!(
        header.seq == seq,
        "it is of record {}, not {seq}",
        header.seq
    );
    file.seek(SeekFrom::Start(HEADER_LEN))?;
    let file = BufReader::with_capacity(CHUNK, file).take(header.body_len);
    Ok((header, Body { file }))
}

/// Writes header and body as they come, and the digest at the end.
struct Writing {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    len: u64,
    failed: Option<std::io::Error>,
}

impl Sink for Writing {
    fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if self.failed.is_none() {
            self.hasher.update(bytes);
            self.failed = self.file.write_all(bytes).err();
        }
    }
}

/// The length of what is written, to be known before it is.
struct Length(u64);

impl Sink for Length {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}

/// Writes the snapshot of a core and its feed, durable under its name when this returns; its path and length.
fn write(dir: &Path, mark: &Mark, core: &Core, day: &FeedDay) -> anyhow::Result<(PathBuf, u64)> {
    let body = |to: &mut dyn FnMut(&[u8])| {
        let mut to = Through(to);
        core.save(&mut to).context("a journal without records")?;
        day.save(&mut to);
        anyhow::Ok(())
    };
    let mut length = Length(0);
    body(&mut |bytes| length.put(bytes))?;
    let header = Header {
        magic: MAGIC,
        layout: SNAPSHOT_LAYOUT,
        pad1: 0,
        seq: mark.seq,
        time_ns: core.engine.last_time().0,
        chain: mark.chain,
        state_hash: core.engine.state_hash(),
        body_len: length.0,
    };
    let name = snapshot_name(mark.seq);
    let (temp, path) = (dir.join(format!(".{name}")), dir.join(name));
    let store = || {
        let mut to = Writing {
            file: BufWriter::with_capacity(CHUNK, File::create(&temp)?),
            hasher: blake3::Hasher::new(),
            len: 0,
            failed: None,
        };
        to.pod(&header);
        body(&mut |bytes| to.put(bytes))?;
        let digest = *to.hasher.finalize().as_bytes();
        to.put(&digest);
        if let Some(e) = to.failed {
            return Err(e.into());
        }
        to.file
            .into_inner()
            .map_err(|e| e.into_error())?
            .sync_all()?;
        std::fs::rename(&temp, &path)?;
        File::open(dir)?.sync_all()?;
        anyhow::Ok(to.len)
    };
    let len = store().with_context(|| format!("cannot write {}", path.display()))?;
    Ok((path, len))
}

/// A sink behind a closure, so that the same code measures and writes.
struct Through<'a>(&'a mut dyn FnMut(&[u8]));

impl Sink for Through<'_> {
    fn put(&mut self, bytes: &[u8]) {
        (self.0)(bytes);
    }
}

/// Removes snapshots that are older than the [`KEPT`] newest sound ones, and what a crash left half written.
fn prune(dir: &Path) -> anyhow::Result<()> {
    let mut sound = 0;
    for (seq, path) in list(dir)? {
        if sound == KEPT {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        } else if open(seq, &path).is_ok() {
            sound += 1;
        }
    }
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str());
        if name.is_some_and(|n| n.starts_with(".snapshot-")) {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// First record that a start may have to read again: the one behind the older of the two newest sound snapshots,
/// or the very first. Segments that hold only earlier ones can be archived.
///
/// # Errors
/// When the directory cannot be read.
pub fn needed_from(data: &DataDir) -> anyhow::Result<u64> {
    let all = list(&data.snapshots())?;
    let sound = all.iter().filter(|(seq, path)| open(*seq, path).is_ok());
    Ok(sound
        .map(|(seq, _)| seq + 1)
        .nth(KEPT - 1)
        .unwrap_or(journal::FIRST_SEQ))
}

/// Keeps others from making snapshots, or from starting the box in the middle of one.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock goes with the handle")] File);

impl Lock {
    /// Takes the lock, or waits a while for who holds it.
    ///
    /// # Errors
    /// When another process holds it.
    pub fn take(data: &DataDir, wait: Duration) -> anyhow::Result<Self> {
        let dir = data.snapshots();
        let begun = Instant::now();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let handle = File::open(&dir).with_context(|| dir.display().to_string())?;
        loop {
            match handle.try_lock() {
                Ok(()) => return Ok(Self(handle)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < wait => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    bail!("{}: another process is making a snapshot", dir.display())
                }
                Err(TryLockError::Error(e)) => {
                    return Err(e).with_context(|| dir.display().to_string());
                }
            }
        }
    }
}

/// What a replay begins with.
pub struct Start {
    /// The state.
    pub core: Core,
    /// Where in the journal it stands.
    pub mark: Mark,
    /// What members were told so far.
    pub spool: SpoolFiles,
    /// What the feed said so far; not yet there before the first record is known.
    pub day: Option<FeedDay>,
    /// File name of the snapshot; `None`: the replay begins with the first record.
    pub from: Option<String>,
    /// Snapshots that are not sound, each with what is wrong with it.
    pub refused: Vec<String>,
}

/// Who begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beginner {
    /// The box: without a snapshot it clears away what an earlier run said.
    Box,
    /// A process that may write beside the box.
    Beside,
}

impl Start {
    /// The newest sound snapshot, or the first record.
    ///
    /// # Errors
    /// When a directory cannot be read or written.
    pub fn newest(data: &DataDir, capacity: &Capacity, who: Beginner) -> anyhow::Result<Self> {
        let mut refused = Vec::new();
        for (seq, path) in list(&data.snapshots())? {
            let name = snapshot_name(seq);
            match Self::from(data, seq, &path) {
                Ok((core, mark, spool, day)) => {
                    return Ok(Self {
                        core,
                        mark,
                        spool,
                        day: Some(day),
                        from: Some(name),
                        refused,
                    });
                }
                Err(e) => refused.push(format!("{name}: {e:#}")),
            }
        }
        Ok(Self {
            core: Core::new(capacity),
            mark: genesis(),
            spool: match who {
                Beginner::Box => SpoolFiles::create(&data.spool())?,
                Beginner::Beside => SpoolFiles::rewrite(&data.spool())?,
            },
            day: None,
            from: None,
            refused,
        })
    }

    fn from(
        data: &DataDir,
        seq: u64,
        path: &Path,
    ) -> anyhow::Result<(Core, Mark, SpoolFiles, FeedDay)> {
        let (core, mark, mut body) = load(seq, path)?;
        let orders = core.engine.book().capacity() as u32;
        let day = FeedDay::resume(&data.feed(), orders, &mut body)?;
        ensure!(body.file.limit() == 0, SnapshotError::Long);
        ensure!(
            day.next() == core.next_feed,
            "feed and core stand elsewhere"
        );
        let counts = core.members.iter().enumerate();
        let counts = counts
            .filter_map(|(id, flow)| Some((MemberId(id as u32), flow.as_ref()?.next_report - 1)));
        let spool = SpoolFiles::resume(&data.spool(), counts)?;
        // A batch whose file is missing would never be written again.
        for batch_no in 1..core.engine.batch_no() {
            let path = data.batches().join(batch_name(batch_no));
            ensure!(path.exists(), "{} is missing", path.display());
        }
        Ok((core, mark, spool, day))
    }

    /// The feed of the day, which is made when the first record says how much it must hold.
    ///
    /// # Errors
    /// When its store cannot be made.
    pub fn day_of<'a>(
        day: &'a mut Option<FeedDay>,
        data: &DataDir,
        core: &Core,
    ) -> anyhow::Result<&'a mut FeedDay> {
        if day.is_none() {
            let orders = core.engine.book().capacity() as u32;
            *day = Some(FeedDay::begin(&data.feed(), orders)?);
        }
        Ok(day.as_mut().expect("just made"))
    }
}

/// Core and place of a snapshot; the rest of the body follows.
fn load(seq: u64, path: &Path) -> anyhow::Result<(Core, Mark, Body)> {
    let (header, mut body) = open(seq, path)?;
    let core = Core::load(&mut body)?;
    ensure!(
        core.engine.last_seq().0 == seq && core.engine.state_hash() == header.state_hash,
        "the state that it leads to is not the one that it names"
    );
    let chain = header.chain;
    Ok((core, Mark { seq, chain }, body))
}

/// The newest sound snapshot for a replay that writes nothing: core, place, feed hash and name.
///
/// # Errors
/// When there is none: what is wrong with each.
pub fn newest(data: &DataDir) -> anyhow::Result<(Core, Mark, FeedHash, String)> {
    let mut refused = Vec::new();
    for (seq, path) in list(&data.snapshots())? {
        let name = snapshot_name(seq);
        let read = || {
            let (core, mark, mut body) = load(seq, &path)?;
            let hash = FeedDay::hash_of(&data.feed(), &mut body)?;
            anyhow::Ok((core, mark, hash))
        };
        match read() {
            Ok((core, mark, hash)) => return Ok((core, mark, hash, name)),
            Err(e) => refused.push(format!("{name}: {e:#}")),
        }
    }
    let dir = data.snapshots();
    if refused.is_empty() {
        bail!("{}: no snapshot there", dir.display());
    }
    bail!(
        "{}: no sound snapshot: {}",
        dir.display(),
        refused.join("; ")
    )
}

/// Before the first record.
#[must_use]
pub fn genesis() -> Mark {
    Mark {
        seq: journal::FIRST_SEQ - 1,
        chain: journal::genesis(),
    }
}

/// The lock that a start holds until what it replayed is in the files.
///
/// # Errors
/// When another process is making a snapshot and does not come to an end.
pub fn lock_for_start(data: &DataDir) -> anyhow::Result<Lock> {
    Lock::take(data, LOCK_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::units::TimeNs;
    use firmware::wire::input::InTimer;

    /// A core of the least size with its feed, after `records` records.
    fn core_and_day(data: &DataDir, records: u64) -> (Core, FeedDay) {
        let capacity = Capacity {
            orders: 8,
            accounts: 4,
            members: 2,
            instruments: 16,
        };
        let mut core = Core::new(&capacity);
        let domain = firmware::wire::input::InDomain {
            orders: capacity.orders,
            accounts: capacity.accounts,
            members: capacity.members,
            instruments: capacity.instruments.into(),
            ..Zeroable::zeroed()
        };
        let sequenced = core.sequencer.venue(&domain, TimeNs(1));
        core.apply(&sequenced);
        for n in 1..records {
            let timer = InTimer { flags: 0, pad1: 0 };
            let sequenced = core.sequencer.venue(&timer, TimeNs(n));
            core.apply(&sequenced);
        }
        let day = FeedDay::begin(&data.feed(), capacity.orders).unwrap();
        (core, day)
    }

    fn made(data: &DataDir, seq: u64) -> PathBuf {
        let (core, day) = core_and_day(data, seq);
        let dir = data.snapshots();
        std::fs::create_dir_all(&dir).unwrap();
        let chain = [seq as u8; 32];
        write(&dir, &Mark { seq, chain }, &core, &day).unwrap().0
    }

    #[test]
    fn a_file_with_a_flipped_bit_or_without_its_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        let path = made(&data, 5);
        let (core, mark, _) = load(5, &path).unwrap();
        assert_eq!((core.engine.last_seq().0, mark.chain), (5, [5; 32]));
        assert!(load(6, &path).is_err());
        let sound = std::fs::read(&path).unwrap();
        let head = HEADER_LEN as usize + 16;
        for at in (0..head).chain((head..sound.len()).step_by(29)) {
            let mut flipped = sound.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, flipped).unwrap();
            assert!(open(5, &path).is_err(), "byte {at}");
        }
        for len in (0..sound.len()).step_by(97) {
            std::fs::write(&path, &sound[..len]).unwrap();
            assert!(open(5, &path).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn the_two_newest_sound_ones_are_kept_and_the_journal_behind_the_older_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        assert_eq!(needed_from(&data).unwrap(), 1);
        let paths: Vec<_> = [3, 7, 12, 20].map(|seq| made(&data, seq)).into();
        assert_eq!(needed_from(&data).unwrap(), 13);
        std::fs::write(&paths[3], "damaged").unwrap();
        assert_eq!(needed_from(&data).unwrap(), 8);
        std::fs::write(data.snapshots().join(".snapshot-9.snap"), "half").unwrap();
        prune(&data.snapshots()).unwrap();
        let left = list(&data.snapshots()).unwrap();
        assert_eq!(left.iter().map(|l| l.0).collect::<Vec<_>>(), [20, 12, 7]);
        assert_eq!(std::fs::read_dir(data.snapshots()).unwrap().count(), 3);
        let start = Start::newest(&data, &Capacity::default(), Beginner::Beside).unwrap();
        assert_eq!((start.mark.seq, start.refused.len()), (12, 1));
        std::fs::remove_file(&paths[1]).unwrap();
        assert_eq!(needed_from(&data).unwrap(), 1, "one is not enough");
    }
}
