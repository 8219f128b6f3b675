//! The directory of a journal: who may write, which segments there are, how one is made.

use crate::error::{DiskError, JournalError};
use crate::format::{BLOCK_LEN, SegmentHeader};
use crate::tail::{End, Tail};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// File name of a segment.
#[must_use]
pub fn segment_name(segment: u32) -> String {
    format!("journal-{segment:08}.seg")
}

fn segment_number(name: &str) -> Option<u32> {
    let segment = name
        .strip_prefix("journal-")?
        .strip_suffix(".seg")?
        .parse()
        .ok()?;
    (segment_name(segment) == name).then_some(segment)
}

/// Folder in a journal's directory for closed segments that were moved out of the way; it may be a link to
/// another disk. Readers find them there.
pub const ARCHIVE: &str = "archive";

/// Where `segment` is, or would be if it is in neither place.
#[must_use]
pub fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    let name = segment_name(segment);
    let here = dir.join(&name);
    let there = dir.join(ARCHIVE).join(name);
    if !here.exists() && there.exists() {
        there
    } else {
        here
    }
}

/// Numbers of the segments in `dir` and its archive, rising.
pub(crate) fn all_segments(dir: &Path) -> Result<Vec<u32>, JournalError> {
    let mut found = Vec::new();
    for path in [dir.to_path_buf(), dir.join(ARCHIVE)] {
        match segments(&path) {
            Ok(segments) => found.extend(segments),
            Err(e) if e.kind() == io::ErrorKind::NotFound && path != dir => {}
            Err(source) => {
                return Err(JournalError::Io {
                    op: "list",
                    path,
                    source,
                });
            }
        }
    }
    found.sort_unstable();
    // One that was copied to another disk and not removed here yet is in both.
    found.dedup();
    Ok(found)
}

/// Numbers of the segments in `dir` itself, rising; other files are not looked at.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        found.extend(entry?.file_name().to_str().and_then(segment_number));
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes segments that a process was making when it was killed.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.with_extension("seg");
        let is_ours = name
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(segment_number)
            .is_some();
        if is_ours && path.extension().is_some_and(|e| e == "tmp") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Refuses `segments` unless they run from `first` without a gap.
pub(crate) fn check_segments(first: u32, segments: &[u32]) -> Result<(), JournalError> {
    for (missing, &present) in (first..).zip(segments) {
        if missing != present {
            return Err(JournalError::Missing { missing, present });
        }
    }
    Ok(())
}

/// Whether a process holds the journal in `dir`, as a running box does.
///
/// # Errors
/// What the system said.
pub fn is_held(dir: &Path) -> Result<bool, DiskError> {
    let handle = File::open(dir).map_err(DiskError::io("open", dir))?;
    match handle.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(DiskError::io("lock", dir)(e)),
    }
}

/// A segment as its name and header tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Number.
    pub segment: u32,
    /// It is in the archive.
    pub is_archived: bool,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Number of its first record and who wrote it; None while it is not begun or if its header is not whole.
    pub begun: Option<(u64, u64)>,
}

/// The segments of the journal in `dir` and its archive, by number; their records are not looked at.
///
/// # Errors
/// If a directory or file cannot be read.
pub fn list_segments(dir: &Path) -> Result<Vec<SegmentInfo>, JournalError> {
    let look = |segment| {
        let path = segment_path(dir, segment);
        let mut block = [0; BLOCK_LEN];
        let mut look = || {
            let file = File::open(&path)?;
            let file_bytes = file.metadata()?.len();
            if file_bytes >= BLOCK_LEN as u64 {
                file.read_exact_at(&mut block, 0)?;
            }
            Ok(file_bytes)
        };
        match look() {
            Ok(file_bytes) => Ok(SegmentInfo {
                segment,
                is_archived: path.parent() != Some(dir),
                file_bytes,
                begun: SegmentHeader::check(&block, segment)
                    .ok()
                    .map(|h| (h.first_seq, h.epoch)),
            }),
            Err(source) => Err(JournalError::Io {
                op: "read",
                path,
                source,
            }),
        }
    };
    all_segments(dir)?.into_iter().map(look).collect()
}

/// A journal's directory, held by this process alone for as long as this lives.
#[derive(Debug)]
pub struct JournalDir {
    path: PathBuf,
    /// Holds the lock, and makes renames durable.
    handle: File,
}

impl JournalDir {
    /// Makes `path` if need be, locks it, and makes all that is in it durable.
    ///
    /// The last comes before any reading on purpose: a process that crashed may have left pages that
    /// read back well and were never on disk.
    ///
    /// # Errors
    /// [`DiskError::Locked`] if another process holds it; else what the system said.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let path = path.into();
        std::fs::create_dir_all(&path).map_err(DiskError::io("create", &path))?;
        let handle = File::open(&path).map_err(DiskError::io("open", &path))?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DiskError::Locked { path }),
            Err(TryLockError::Error(e)) => return Err(DiskError::io("lock", &path)(e)),
        }
        remove_unfinished(&path).map_err(DiskError::io("remove unfinished segments", &path))?;
        for segment in segments(&path).map_err(DiskError::io("list", &path))? {
            let file = path.join(segment_name(segment));
            let sync = File::options()
                .write(true)
                .open(&file)
                .and_then(|f| f.sync_all());
            sync.map_err(DiskError::io("fsync", &file))?;
        }
        handle.sync_all().map_err(DiskError::io("fsync", &path))?;
        Ok(Self { path, handle })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Highest segment there is; zero if none.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn last_segment(&self) -> Result<u32, DiskError> {
        let found = segments(&self.path).map_err(DiskError::io("list", &self.path))?;
        Ok(found.last().copied().unwrap_or(0))
    }

    /// Makes the place at `end` fit to be written: what a torn write left must not be met again, and a
    /// file that was cut short is filled up, also one made ahead for smaller segments.
    ///
    /// # Errors
    /// What the system said.
    pub fn mend(&self, end: &End, segment_bytes: u64) -> Result<(), DiskError> {
        self.wipe_torn(end)?;
        if end.segment_bytes > 0 {
            self.zero(end.segment, |len| (len, end.segment_bytes))?;
        }
        let not_begun = end.segment + u32::from(end.segment_bytes > 0);
        for segment in not_begun..=self.last_segment()? {
            self.zero(segment, |len| (len, segment_bytes))?;
        }
        Ok(())
    }

    /// Puts zeros where a torn write left other bytes; nothing if the tail at `end` is clean.
    ///
    /// # Errors
    /// What the system said.
    pub fn wipe_torn(&self, end: &End) -> Result<(), DiskError> {
        let Tail::Torn {
            segment,
            offset,
            bytes,
            ..
        } = end.tail
        else {
            return Ok(());
        };
        self.zero(segment, |len| (offset, (offset + bytes).min(len)))
    }

    /// Cuts off all that stands after `end`, which lies between two batches: what was durable here and is not part
    /// of the journal that goes on elsewhere. A crash in the middle may leave a hole, which every reader names.
    ///
    /// # Errors
    /// What the system said.
    pub fn cut_after(&self, end: &End) -> Result<(), DiskError> {
        for segment in (end.segment + 1..=self.last_segment()?).rev() {
            let path = self.path.join(segment_name(segment));
            std::fs::remove_file(&path).map_err(DiskError::io("remove", &path))?;
        }
        (self.handle.sync_all()).map_err(DiskError::io("fsync", &self.path))?;
        if self.last_segment()? < end.segment {
            return Ok(());
        }
        self.zero(end.segment, |len| (end.offset.min(len), len))
    }

    /// Zeros a range of `segment`, chosen by the file's length; nothing if the range is empty.
    fn zero(&self, segment: u32, range: impl FnOnce(u64) -> (u64, u64)) -> Result<(), DiskError> {
        let path = self.path.join(segment_name(segment));
        let fail = |op| DiskError::io(op, &path);
        let file = File::options()
            .write(true)
            .open(&path)
            .map_err(fail("open"))?;
        let (mut at, to) = range(file.metadata().map_err(fail("size"))?.len());
        if at >= to {
            return Ok(());
        }
        while at < to {
            let n = (to - at).min(ZEROS.len() as u64) as usize;
            file.write_all_at(&ZEROS[..n], at)
                .map_err(fail("write zeros"))?;
            at += n as u64;
        }
        file.sync_all().map_err(fail("fsync"))
    }
}

static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// Makes `segment` in `dir`: `bytes` of zeros, durable under its name when this returns.
///
/// Zeros are written, not just reserved: a write into reserved extents costs twice as much, and thin
/// storage finds its space missing only when written. On failure nothing is left behind.
///
/// # Errors
/// What the system said; see [`DiskError::is_no_space`].
pub fn create_segment(dir: &JournalDir, segment: u32, bytes: u64) -> Result<(), DiskError> {
    assert!(
        bytes.is_multiple_of(BLOCK_LEN as u64),
        "a segment is whole blocks"
    );
    let path = dir.path.join(segment_name(segment));
    let temp = path.with_extension("tmp");
    let made = write_zeros(&temp, bytes)
        .map_err(DiskError::io("create segment", &temp))
        .and_then(|()| {
            std::fs::rename(&temp, &path).map_err(DiskError::io("rename", &path))?;
            dir.handle
                .sync_all()
                .map_err(DiskError::io("fsync", &dir.path))
        });
    if made.is_err() {
        // It may not exist; the error at hand is the one to report.
        let _ = std::fs::remove_file(&temp);
    }
    made
}

fn write_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut left = bytes;
    while left > 0 {
        let n = left.min(ZEROS.len() as u64);
        file.write_all(&ZEROS[..n as usize])?;
        left -= n;
    }
    file.sync_all()
}
