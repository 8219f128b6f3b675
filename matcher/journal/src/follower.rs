//! A copy of a journal, piece by piece as the original was written. What is kept here is byte for byte what was
//! written there, or the piece is refused and nothing changes.

use crate::commit::Disk;
use crate::error::{DiskError, Fault};
use crate::format::{
    BATCH_BYTES_MAX, BATCH_HEADER_LEN, BLOCK_LEN, BatchHeader, Block, CHAINED_FROM, SegmentHeader,
    chain_after, check_record,
};
use crate::pieces::Piece;
use crate::reader::{ChainAt, RecordView, check_batch, check_follows};
use crate::tail::{End, Tail};
use crate::writer::Batch;
use bytemuck::Zeroable;
use firmware::wire::journal::RECORD_HEADER_LEN;
use std::time::Duration;

/// Between two looks for a segment that is being made.
const SEGMENT_WAIT: Duration = Duration::from_millis(1);

/// Why a piece is not kept.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// It is not the next one, or not whole.
    #[error("journal-{segment:08}.seg offset {offset:#x}: record {seq}: {fault}")]
    Refused {
        /// Where it says that it belongs.
        segment: u32,
        /// Where in that segment.
        offset: u64,
        /// The record expected next.
        seq: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// The original has segments of another size.
    #[error(
        "segments have {found} bytes there and {own} here: journal.segment_mib must be the same"
    )]
    SegmentBytes {
        /// Theirs.
        found: u64,
        /// Ours.
        own: u64,
    },
    /// Our own disk failed; nothing can be kept any more.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A journal that is written as a copy.
pub struct Follower<D> {
    // Before the buffers on purpose: see `GroupCommit`.
    disk: D,
    end: End,
    segment_bytes: u64,
    /// A batch, the header of a segment; the one between is for the form.
    buffers: [Option<Box<[Block]>>; 3],
    /// Bytes of the batch taken last, and its first record; none for a header.
    taken: Option<(usize, u64)>,
}

impl<D: Disk> Follower<D> {
    /// Goes on at `end`. Takes all its memory here.
    ///
    /// # Errors
    /// If the disk cannot.
    pub fn resume(segment_bytes: u64, end: &End, mut disk: D) -> Result<Self, DiskError> {
        let blocks = |n| vec![Block::zeroed(); n].into_boxed_slice();
        let buffers = [blocks(BATCH_BYTES_MAX / BLOCK_LEN), blocks(1), blocks(1)];
        let [a, b, c] = &buffers;
        disk.begin(
            end,
            segment_bytes,
            [a, b, c].map(|b| bytemuck::cast_slice(b)),
        )?;
        disk.prepare(end.segment + 1)?;
        let mut end = end.clone();
        end.tail = Tail::Clean;
        Ok(Self {
            disk,
            end,
            segment_bytes,
            buffers: buffers.map(Some),
            taken: None,
        })
    }

    /// Where the copy ends; all before it is durable.
    #[must_use]
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Checks the next piece, writes it and returns once it is durable.
    ///
    /// # Errors
    /// [`FollowError`]; unless it is that of our disk, nothing changed.
    pub fn take(&mut self, piece: &Piece<'_>) -> Result<(), FollowError> {
        self.taken = None;
        let after = self.check(piece).map_err(|fault| FollowError::Refused {
            segment: piece.segment,
            offset: piece.offset,
            seq: self.end.next_seq,
            fault,
        })?;
        if after.segment_bytes != self.segment_bytes && piece.offset == 0 {
            let (found, own) = (after.segment_bytes, self.segment_bytes);
            return Err(FollowError::SegmentBytes { found, own });
        }
        let last_seq = (piece.offset > 0).then_some(after.next_seq - 1);
        self.write(piece, last_seq)?;
        if last_seq.is_some() {
            let len = BatchHeader::read(piece.bytes).len as usize;
            self.taken = Some((len, self.end.next_seq));
        }
        self.end = after;
        Ok(())
    }

    /// The records of the piece that was taken last.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        let bytes: &[u8] = bytemuck::cast_slice(self.batch());
        let (len, seq) = self.taken.unwrap_or((BATCH_HEADER_LEN, 0));
        Records {
            batch: &bytes[..len],
            at: BATCH_HEADER_LEN,
            seq,
        }
    }

    fn batch(&self) -> &[Block] {
        self.buffers[0].as_deref().expect("no write is in flight")
    }

    /// Where the copy ends with this piece.
    fn check(&self, piece: &Piece<'_>) -> Result<End, Fault> {
        let (end, bytes) = (&self.end, piece.bytes);
        let mut after = end.clone();
        let misplaced = Fault::Place {
            segment: piece.segment,
            block: (piece.offset / BLOCK_LEN as u64) as u32,
        };
        if bytes.len() < BLOCK_LEN || bytes.len() > BATCH_BYTES_MAX {
            let len = bytes.len() as u32;
            return Err(Fault::BatchLen { len });
        }
        if piece.offset == 0 {
            let next = end.segment + u32::from(end.offset > 0);
            if piece.segment != next || bytes.len() != BLOCK_LEN {
                return Err(misplaced);
            }
            let header = SegmentHeader::check(bytes, piece.segment)?;
            check_follows(&header, end)?;
            after.segment = piece.segment;
            after.offset = BLOCK_LEN as u64;
            after.segment_bytes = header.segment_bytes;
            return Ok(after);
        }
        if (piece.segment, piece.offset) != (end.segment, end.offset) {
            return Err(misplaced);
        }
        let header = BatchHeader::read(bytes);
        header.check_place(piece.segment, piece.offset, end.segment_bytes - end.offset)?;
        if header.disk_len() != bytes.len() {
            return Err(Fault::BatchLen { len: header.len });
        }
        check_batch(&header, bytes, end)?;
        let used = &bytes[..header.len as usize];
        let mut at = BATCH_HEADER_LEN;
        for seq in (end.next_seq..).take(header.count as usize) {
            let record = check_record(&used[at..], seq)?;
            at += record.len as usize;
            after.last_time_ns = record.time_ns;
        }
        after.next_seq += u64::from(header.count);
        after.chain = chain_after(used);
        after.epoch = header.epoch;
        after.offset += bytes.len() as u64;
        Ok(after)
    }

    fn write(&mut self, piece: &Piece<'_>, last_seq: Option<u64>) -> Result<(), DiskError> {
        loop {
            self.disk.prepare(piece.segment + 1)?;
            if self.disk.ready() >= piece.segment {
                break;
            }
            // It is being made, or there is no space yet: whoever waits for us sees that we are behind.
            std::thread::sleep(SEGMENT_WAIT);
        }
        let buffer = if last_seq.is_some() { 0 } else { 2 };
        let mut blocks = self.buffers[buffer].take().expect("one write at a time");
        let len = piece.bytes.len();
        bytemuck::cast_slice_mut::<_, u8>(&mut blocks)[..len].copy_from_slice(piece.bytes);
        self.disk.submit(Batch {
            blocks,
            buffer,
            len,
            segment: piece.segment,
            offset: piece.offset,
            last_seq,
        })?;
        loop {
            if let Some(batch) = self.disk.wait()? {
                self.buffers[buffer] = Some(batch.blocks);
                return Ok(());
            }
        }
    }
}

/// The records of one batch, in order; all were checked.
pub struct Records<'a> {
    batch: &'a [u8],
    at: usize,
    seq: u64,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    fn next(&mut self) -> Option<RecordView<'a>> {
        if self.at == self.batch.len() {
            return None;
        }
        let header = check_record(&self.batch[self.at..], self.seq);
        let header = header.expect("the batch was checked when it was taken");
        let after = self.at + header.len as usize;
        let view = RecordView {
            header,
            body: &self.batch[self.at + RECORD_HEADER_LEN..after],
            chain: ChainAt {
                hashed: &self.batch[CHAINED_FROM..after],
            },
        };
        (self.at, self.seq) = (after, self.seq + 1);
        Some(view)
    }
}
