//! The bytes: headers, bounds and the chain.

use crate::error::Fault;
use bytemuck::{Pod, Zeroable};
use firmware::wire::journal::{RECORD_ALIGN, RECORD_BODY_MAX, RECORD_HEADER_LEN, RecordHeader};

/// Bytes of a block: what direct I/O and the file system move at once.
pub const BLOCK_LEN: usize = 4096;
/// Largest batch. Larger ones gain little (a 256 KiB group commit reaches 1 GiB/s on a plain disk) and
/// this bounds what a torn write can cover.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Size of a segment unless configured otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Sequence number of the first record of a journal.
pub const FIRST_SEQ: u64 = 1;

/// Hash of the journal up to a record.
pub type Chain = [u8; 32];

/// Aligned memory for direct I/O.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
pub struct Block(pub [u8; BLOCK_LEN]);

pub(crate) const BATCH_HEADER_LEN: usize = 72;
pub(crate) const SEGMENT_HEADER_LEN: usize = size_of::<SegmentHeader>();
/// A sector that a disk writes whole or not at all.
pub(crate) const SECTOR_LEN: usize = 512;

const SEGMENT_MAGIC: [u8; 8] = *b"DBJRNL\x00\x01";
const SEGMENT_END: u32 = 0x4452_4f57;
const BATCH_MAGIC: u32 = 0x4843_5442;
const VERSION: u32 = 3;

const _: () = assert!(size_of::<BatchHeader>() == BATCH_HEADER_LEN);
const _: () = assert!(SEGMENT_HEADER_LEN < SECTOR_LEN);
const _: () = assert!(RecordHeader::record_len(RECORD_BODY_MAX) < BATCH_BYTES_MAX / 2);
const _: () = assert!(BATCH_BYTES_MAX.is_multiple_of(BLOCK_LEN));

/// First block of a segment.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct SegmentHeader {
    magic: [u8; 8],
    version: u32,
    pub(crate) segment: u32,
    pub(crate) segment_bytes: u64,
    pub(crate) first_seq: u64,
    pub(crate) epoch: u64,
    pub(crate) chain: Chain,
    /// Over all fields before it.
    crc32c: u32,
    /// Never zero, so that a header which was cut shows it.
    end: u32,
}

impl SegmentHeader {
    pub(crate) fn new(segment: u32, bytes: u64, first_seq: u64, epoch: u64, chain: Chain) -> Self {
        let mut header = Self {
            magic: SEGMENT_MAGIC,
            version: VERSION,
            segment,
            segment_bytes: bytes,
            first_seq,
            epoch,
            chain,
            crc32c: 0,
            end: SEGMENT_END,
        };
        header.crc32c = header.crc();
        header
    }

    fn crc(&self) -> u32 {
        crc32c::crc32c(&bytemuck::bytes_of(self)[..SEGMENT_HEADER_LEN - 8])
    }

    /// The header in `block`, if it is whole and that of `segment`.
    pub(crate) fn check(block: &[u8], segment: u32) -> Result<Self, Fault> {
        let header: Self = bytemuck::pod_read_unaligned(&block[..SEGMENT_HEADER_LEN]);
        if header.magic != SEGMENT_MAGIC {
            return Err(Fault::SegmentMagic);
        }
        let (stored, computed) = (header.crc32c, header.crc());
        if stored != computed || header.end != SEGMENT_END {
            return Err(Fault::SegmentCrc { stored, computed });
        }
        if header.version != VERSION {
            return Err(Fault::Version {
                found: header.version,
            });
        }
        if header.segment != segment {
            return Err(Fault::SegmentNumber {
                found: header.segment,
            });
        }
        if let Some(at) = first_nonzero(&block[SEGMENT_HEADER_LEN..]) {
            return Err(Fault::Padding {
                at: (SEGMENT_HEADER_LEN + at) as u64,
            });
        }
        Ok(header)
    }

    /// The write stopped inside the header: the mark at its end is missing.
    pub(crate) fn is_cut(block: &[u8]) -> bool {
        block[SEGMENT_HEADER_LEN - 1] == 0
    }
}

/// First bytes of a batch.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BatchHeader {
    magic: u32,
    /// Over all used bytes of the batch but these four.
    crc32c: u32,
    /// Used bytes, this header included.
    pub(crate) len: u32,
    pub(crate) count: u32,
    pub(crate) first_seq: u64,
    pub(crate) segment: u32,
    /// Offset in the segment, in blocks.
    pub(crate) block: u32,
    /// Under whose lead it was written; never falls.
    pub(crate) epoch: u64,
    /// Hash before the first record.
    pub(crate) chain: Chain,
}

impl BatchHeader {
    /// Writes the header into the first bytes of `batch`, which ends with its last record.
    pub(crate) fn seal(
        batch: &mut [u8],
        count: u32,
        first_seq: u64,
        place: (u32, u64),
        epoch: u64,
        chain: Chain,
    ) {
        let header = Self {
            magic: BATCH_MAGIC,
            crc32c: 0,
            len: batch.len() as u32,
            count,
            first_seq,
            segment: place.0,
            block: (place.1 / BLOCK_LEN as u64) as u32,
            epoch,
            chain,
        };
        batch[..BATCH_HEADER_LEN].copy_from_slice(bytemuck::bytes_of(&header));
        let crc = batch_crc(batch);
        batch[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    pub(crate) fn read(bytes: &[u8]) -> Self {
        bytemuck::pod_read_unaligned(&bytes[..BATCH_HEADER_LEN])
    }

    /// Bytes that this batch takes on disk.
    pub(crate) fn disk_len(&self) -> usize {
        (self.len as usize).next_multiple_of(BLOCK_LEN)
    }

    /// The fields are those of a batch at this place, with `room` bytes left in the segment.
    pub(crate) fn check_place(&self, segment: u32, offset: u64, room: u64) -> Result<(), Fault> {
        if self.magic != BATCH_MAGIC {
            return Err(Fault::BatchMagic { found: self.magic });
        }
        if self.segment != segment || u64::from(self.block) * BLOCK_LEN as u64 != offset {
            let (segment, block) = (self.segment, self.block);
            return Err(Fault::Place { segment, block });
        }
        let len = self.len as usize;
        let fits =
            len > BATCH_HEADER_LEN && len <= BATCH_BYTES_MAX && self.disk_len() as u64 <= room;
        if !fits || !len.is_multiple_of(RECORD_ALIGN) {
            return Err(Fault::BatchLen { len: self.len });
        }
        Ok(())
    }

    /// The used bytes of the batch are those that were sealed.
    pub(crate) fn check_crc(&self, batch: &[u8]) -> Result<(), Fault> {
        let (stored, computed) = (self.crc32c, batch_crc(batch));
        if stored == computed {
            Ok(())
        } else {
            Err(Fault::BatchCrc { stored, computed })
        }
    }
}

fn batch_crc(batch: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&batch[..4]), &batch[8..])
}

/// Fills in `len` and `crc32c` of the header in the first bytes of `record`.
pub(crate) fn seal_record(record: &mut [u8]) {
    let len = (record.len() as u32).to_le_bytes();
    record[..4].copy_from_slice(&len);
    let crc = record_crc(record);
    record[4..8].copy_from_slice(&crc.to_le_bytes());
}

fn record_crc(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[8..]), &record[..4])
}

/// The record at the start of `bytes`, if it is whole and numbered `seq`.
pub(crate) fn check_record(bytes: &[u8], seq: u64) -> Result<RecordHeader, Fault> {
    let Some(head) = bytes.get(..RECORD_HEADER_LEN) else {
        return Err(Fault::RecordLen {
            len: bytes.len() as u32,
        });
    };
    let header: RecordHeader = bytemuck::pod_read_unaligned(head);
    let len = header.len as usize;
    let is_len = len >= RECORD_HEADER_LEN
        && len <= RecordHeader::record_len(RECORD_BODY_MAX)
        && len.is_multiple_of(RECORD_ALIGN)
        && len <= bytes.len();
    if !is_len {
        return Err(Fault::RecordLen { len: header.len });
    }
    let (stored, computed) = (header.crc32c, record_crc(&bytes[..len]));
    if stored != computed {
        return Err(Fault::RecordCrc { stored, computed });
    }
    if header.seq != seq {
        return Err(Fault::RecordSeq { found: header.seq });
    }
    Ok(header)
}

/// Hash of the empty journal.
#[must_use]
pub fn genesis() -> Chain {
    *blake3::hash(b"deltabox journal v3").as_bytes()
}

/// Where in a batch the bytes begin that its hash covers: its epoch, the hash before it, then its records.
pub(crate) const CHAINED_FROM: usize = CHAIN_AT - size_of::<u64>();
/// Where in a batch the hash before it stands.
pub(crate) const CHAIN_AT: usize = BATCH_HEADER_LEN - size_of::<Chain>();

/// Hash after the last record of `batch`, which may be the first part of a longer one.
pub(crate) fn chain_after(batch: &[u8]) -> Chain {
    *blake3::hash(&batch[CHAINED_FROM..]).as_bytes()
}

/// [`chain_after`] of a batch that is being filled, without hashing a byte twice.
pub(crate) struct RunningChain {
    hasher: blake3::Hasher,
    /// Bytes of the batch that are in it.
    done: usize,
}

impl RunningChain {
    /// So much at once keeps every lane of a wide machine busy.
    const STRIDE: usize = 16 * 1024;

    pub(crate) fn new() -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            done: CHAINED_FROM,
        }
    }

    /// Takes in what of `batch` makes whole strides, so that little is left for when its hash is asked.
    #[inline]
    pub(crate) fn follow(&mut self, batch: &[u8]) {
        if batch.len() - self.done >= Self::STRIDE {
            let rest = (batch.len() - CHAINED_FROM) % Self::STRIDE;
            self.take(&batch[..batch.len() - rest]);
        }
    }

    /// Hash after the last record of `batch`.
    pub(crate) fn after(&mut self, batch: &[u8]) -> Chain {
        self.take(batch);
        *self.hasher.finalize().as_bytes()
    }

    fn take(&mut self, batch: &[u8]) {
        self.hasher.update(&batch[self.done..]);
        self.done = batch.len();
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    first_nonzero(bytes).is_none()
}

pub(crate) fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    // Chunks first: the compiler turns each into a few wide compares.
    let chunk = bytes
        .chunks(64)
        .position(|c| c.iter().fold(0, |a, b| a | b) != 0)?;
    Some(chunk * 64 + bytes[chunk * 64..].iter().position(|&b| b != 0)?)
}

/// Bytes up to and with the last one that is not zero.
pub(crate) fn used_len(bytes: &[u8]) -> usize {
    let Some(chunk) = bytes
        .chunks(64)
        .rposition(|c| c.iter().fold(0, |a, b| a | b) != 0)
    else {
        return 0;
    };
    let end = (chunk * 64 + 64).min(bytes.len());
    bytes[..end]
        .iter()
        .rposition(|&b| b != 0)
        .map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::{CHAINED_FROM, RunningChain, chain_after, first_nonzero, used_len};

    #[test]
    fn a_batch_hashed_as_it_fills_has_the_hash_of_its_bytes() {
        let batch: Vec<u8> = (0..200_000_u32).map(|i| (i * 7 / 3) as u8).collect();
        for (step, asked_every) in [(32, 7), (4096, 3), (40_000, 1), (1, 50_000)] {
            let (mut running, mut len, mut asked) = (RunningChain::new(), 72, 0);
            while len <= batch.len() {
                running.follow(&batch[..len]);
                asked += 1;
                if asked % asked_every == 0 {
                    let whole = *blake3::hash(&batch[CHAINED_FROM..len]).as_bytes();
                    assert_eq!(running.after(&batch[..len]), whole);
                    assert_eq!(chain_after(&batch[..len]), whole);
                }
                len += step;
            }
        }
    }

    #[test]
    fn zeros_end_where_the_first_and_last_other_bytes_are() {
        for len in [1, 63, 64, 65, 200] {
            let mut bytes = vec![0; len];
            assert_eq!((first_nonzero(&bytes), used_len(&bytes)), (None, 0));
            for at in 0..len {
                bytes[at] = 1;
                assert_eq!(
                    (first_nonzero(&bytes), used_len(&bytes)),
                    (Some(at), at + 1)
                );
                bytes[at] = 0;
            }
        }
    }
}
