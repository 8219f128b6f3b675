//! The journal: every sequenced input, in order, on disk, before anything that follows from it is seen.
//!
//! ```text
//! journal-00000001.seg   pre-zeroed, fixed size; files are numbered without gaps
//!   0      segment header, one block: magic, number, first seq, chain hash before it, epoch, crc32c
//!   4096   batch | batch | batch | ... | zeros
//!
//! archive/               closed segments that were moved out of the way; readers look here too
//!
//! batch: a multiple of 4096 bytes, written by one write
//!   0   magic u32 | crc32c u32 | len u32 | count u32 | first_seq u64 | segment u32 | block u32
//!   32  epoch u64: under whose lead it was written; never falls
//!   40  chain hash before the batch, 32 bytes
//!   72  records, each a multiple of 8 bytes: firmware::wire::journal::RecordHeader, then the body
//!   len zeros up to the next multiple of 4096
//! ```
//!
//! A batch names its own place, so a block that landed elsewhere, or stayed from before, is not taken for
//! one.
//!
//! The chain: the hash after a record is `blake3(bytes 32.. of its batch, up to and with the record)`, that is
//! of the epoch, the hash before the batch and the batch's records so far. The hash after a batch is that after
//! its last record, and the hash before the first batch is `blake3("deltabox journal v3")`. So the hash after a record
//! stands for the whole journal up to it, its grouping into batches included; writer and reader hash each
//! byte once, kilobytes at a time, and the hash inside a batch is computed only for who asks.
//!
//! What it promises: what was reported durable is read back exactly, or the reader says which segment,
//! offset and record is damaged. Only a write that was never reported durable (a [`Tail::Torn`]) is
//! dropped, and never in silence. One write is in flight at a time, so what is torn is one batch.
//!
//! What may never enter: a clock, a retry of a failed write, an allocation after start on the write side.

mod ahead;
mod archive;
mod commit;
mod dir;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
mod file_disk;
mod follower;
mod format;
mod pieces;
mod reader;
mod tail;
mod window;
mod writer;

pub use ahead::ReadAhead;
pub use archive::archive;
pub use commit::{Disk, GroupCommit};
pub use dir::{
    ARCHIVE, JournalDir, SegmentInfo, create_segment, is_held, list_segments, segment_name,
    segment_path,
};
pub use error::{DiskError, Fault, JournalError};
pub use file_disk::FileDisk;
pub use follower::{FollowError, Follower, Records};
pub use format::{
    BATCH_BYTES_MAX, BLOCK_LEN, Block, Chain, FIRST_SEQ, SEGMENT_BYTES_DEFAULT, genesis,
};
pub use pieces::{Piece, Pieces};
pub use reader::{BatchView, ChainAt, Mark, Reader, RecordView};
pub use tail::{End, Tail};
pub use writer::{Batch, Config, Full, Record, Writer, encode_record};
