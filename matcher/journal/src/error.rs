//! What can be wrong, said so that an operator can find the byte.

use std::io;
use std::path::{Path, PathBuf};

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system refused.
    #[error("{path}: {op}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// To which file.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// Bytes that had been durable are not what was written.
    #[error("journal-{segment:08}.seg offset {offset:#x}: record {seq}: {fault}")]
    Corrupt {
        /// Segment.
        segment: u32,
        /// Where in it.
        offset: u64,
        /// The record there, or the one expected there.
        seq: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// A segment is gone, and a later one is there.
    #[error("journal-{missing:08}.seg is missing, but journal-{present:08}.seg exists")]
    Missing {
        /// The segment that should be there.
        missing: u32,
        /// The one that is.
        present: u32,
    },
    /// No segment that is left holds the record.
    #[error("record {seq} is in no segment of the journal or its archive")]
    NoRecord {
        /// The record asked for.
        seq: u64,
    },
    /// The journal ends before a record that had been durable.
    #[error("the journal ends with record {last}, but record {seq} had been durable")]
    Short {
        /// The record asked for.
        seq: u64,
        /// The last one there.
        last: u64,
    },
    /// The record is there, but what leads up to it is another history.
    #[error("the chain hash up to record {seq} is not the one asked for: this is another journal")]
    OtherChain {
        /// The record asked for.
        seq: u64,
    },
}

/// What is wrong with some bytes of a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum Fault {
    #[error("segment header: no magic")]
    SegmentMagic,
    #[error("segment header: crc mismatch (stored {stored:#010x}, computed {computed:#010x})")]
    SegmentCrc { stored: u32, computed: u32 },
    #[error("segment header: format version {found} is not known")]
    Version { found: u32 },
    #[error("segment header: it is that of segment {found}")]
    SegmentNumber { found: u32 },
    #[error("segment header: a size of {bytes} bytes cannot be")]
    SegmentBytes { bytes: u64 },
    #[error("segment header: its first record is {found}")]
    SegmentSeq { found: u64 },
    #[error("segment header: chain hash differs from that of the records before")]
    SegmentChain,
    #[error("batch header: no magic (found {found:#010x})")]
    BatchMagic { found: u32 },
    #[error("batch header: it belongs to segment {segment} block {block}")]
    Place { segment: u32, block: u32 },
    #[error("batch header: a length of {len} bytes cannot be")]
    BatchLen { len: u32 },
    #[error(
        "batch crc mismatch, every record whole (stored {stored:#010x}, computed {computed:#010x})"
    )]
    BatchCrc { stored: u32, computed: u32 },
    #[error("batch header: its first record is {found}")]
    BatchSeq { found: u64 },
    #[error("batch header: chain hash differs from that of the records before")]
    BatchChain,
    #[error("written in epoch {found}, after records of epoch {held}")]
    Epoch { found: u64, held: u64 },
    #[error("batch header: {count} records announced, but the bytes hold another number")]
    BatchCount { count: u32 },
    #[error("crc mismatch (stored {stored:#010x}, computed {computed:#010x})")]
    RecordCrc { stored: u32, computed: u32 },
    #[error("a length of {len} bytes cannot be")]
    RecordLen { len: u32 },
    #[error("it is numbered {found}")]
    RecordSeq { found: u64 },
    #[error("padding at {at:#x} is not zero")]
    Padding { at: u64 },
    #[error(
        "nothing here, but a later batch at journal-{segment:08}.seg offset {offset:#x} is whole"
    )]
    Hole { segment: u32, offset: u64 },
    #[error("nothing here, but journal-{segment:08}.seg holds bytes at offset {offset:#x}")]
    Stray { segment: u32, offset: u64 },
}

/// A disk that cannot go on. There is no retry: after a failed write nobody knows what is on disk, so
/// the box stops, and the next start reads what is there.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The system refused.
    #[error("{path}: {op}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// To which file.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// A write stored less than it was given.
    #[error("journal-{segment:08}.seg offset {offset:#x}: wrote {wrote} of {len} bytes")]
    ShortWrite {
        /// Segment.
        segment: u32,
        /// Where in it.
        offset: u64,
        /// Bytes stored.
        wrote: u32,
        /// Bytes given.
        len: u32,
    },
    /// Another process has the journal.
    #[error("{path} is in use by another process (it holds the lock)")]
    Locked {
        /// The journal's directory.
        path: PathBuf,
    },
    /// No segment is left to write to, and no space to make one.
    #[error("no space is left for another journal segment")]
    NoSpace,
    /// The disk failed before; said on every later call.
    #[error("the journal has stopped after an earlier error")]
    Stopped,
}

impl DiskError {
    /// An answer of the system, for `map_err`.
    pub fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { op, path, source }
    }

    /// No space is left. Making a segment ahead may meet this, and then it is not fatal yet.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
