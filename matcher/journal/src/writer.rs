//! Turning records into batches. No I/O: the batches go to a [`Disk`](crate::Disk).

use crate::format::{
    BATCH_BYTES_MAX, BATCH_HEADER_LEN, BLOCK_LEN, BatchHeader, Block, CHAIN_AT, CHAINED_FROM,
    Chain, RunningChain, SEGMENT_BYTES_DEFAULT, SEGMENT_HEADER_LEN, SegmentHeader, seal_record,
};
use crate::tail::End;
use bytemuck::Zeroable;
use firmware::wire::journal::{RECORD_BODY_MAX, RECORD_HEADER_LEN, RecordHeader};

/// Sizes of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Size of a new segment file; a multiple of 4096.
    pub segment_bytes: u64,
    /// Largest batch, at most [`BATCH_BYTES_MAX`]; a multiple of 4096.
    pub batch_bytes: usize,
    /// Under whose lead it is written; stands in each segment's and batch's header, and never falls.
    pub epoch: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            batch_bytes: BATCH_BYTES_MAX,
            epoch: 0,
        }
    }
}

/// One input to append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The next number; see [`Writer::next_seq`].
    pub seq: u64,
    /// Sequenced time, ns since the Unix epoch.
    pub time_ns: u64,
    /// SBE template of the body.
    pub template: u16,
    /// What kind of source it came from.
    pub source: u16,
    /// Session or member it came from; zero for the venue itself.
    pub session: u32,
    /// At most [`RECORD_BODY_MAX`] bytes.
    pub body: &'a [u8],
}

/// Writes a record into `slot`, which has [`RecordHeader::record_len`] bytes: header, body, zeros up to the
/// next multiple of 8, and the CRC32C over all of it.
///
/// # Panics
/// When the slot has another size.
pub fn encode_record(record: &Record<'_>, slot: &mut [u8]) {
    assert_eq!(
        slot.len(),
        RecordHeader::record_len(record.body.len()),
        "a slot is as long as its record"
    );
    let header = RecordHeader {
        len: 0,
        crc32c: 0,
        seq: record.seq,
        time_ns: record.time_ns,
        template: record.template,
        source: record.source,
        session: record.session,
    };
    let (head, body) = slot.split_at_mut(RECORD_HEADER_LEN);
    head.copy_from_slice(bytemuck::bytes_of(&header));
    let (body, pad) = body.split_at_mut(record.body.len());
    body.copy_from_slice(record.body);
    pad.fill(0);
    seal_record(slot);
}

/// There is no room until a write completes. Keep the record and try again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the journal's buffers are full until a write completes")]
pub struct Full;

/// Bytes to write at one place, by one write. Owns its buffer until [given back](Writer::give_back).
pub struct Batch {
    pub(crate) blocks: Box<[Block]>,
    /// Which of the writer's buffers it is; an index into [`Writer::buffers`].
    pub(crate) buffer: usize,
    pub(crate) len: usize,
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// Number of its last record; None for a segment header.
    pub(crate) last_seq: Option<u64>,
}

impl Batch {
    /// What to write: whole blocks at an aligned address.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
    }
    /// Which registered buffer holds it.
    #[must_use]
    pub fn buffer(&self) -> usize {
        self.buffer
    }
    /// Segment to write to.
    #[must_use]
    pub fn segment(&self) -> u32 {
        self.segment
    }
    /// Where in the segment.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
    /// Number of the last record in it, if there are any.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.last_seq
    }
}

/// The batch being filled.
struct Filling {
    blocks: Box<[Block]>,
    buffer: usize,
    /// Used bytes, header included.
    len: usize,
    count: u32,
    first_seq: u64,
    /// Hash after its last record; the hash before its first one stands in its header already.
    running: RunningChain,
}

/// Appends records to a buffer, and hands out what to write.
///
/// It owns three buffers: one fills while another is being written, and a block for segment headers.
pub struct Writer {
    config: Config,
    filling: Option<Filling>,
    spare: Vec<(usize, Box<[Block]>)>,
    header: Option<(usize, Box<[Block]>)>,
    next_seq: u64,
    /// Hash before the first record of the batch being filled.
    chain: Chain,
    /// Where the next batch goes.
    segment: u32,
    offset: u64,
    segment_bytes: u64,
}

impl Writer {
    /// A writer that goes on at `end`. Takes all its memory here.
    ///
    /// # Panics
    /// If the sizes in `config` do not fit each other.
    #[must_use]
    pub fn resume(config: Config, end: &End) -> Self {
        let block = BLOCK_LEN as u64;
        assert!(
            config.segment_bytes.is_multiple_of(block)
                && config.batch_bytes.is_multiple_of(BLOCK_LEN)
        );
        assert!(config.batch_bytes > 0 && config.batch_bytes <= BATCH_BYTES_MAX);
        assert!(
            config.segment_bytes >= config.batch_bytes as u64 + block,
            "a batch fits a segment"
        );
        assert!(config.epoch >= end.epoch, "an epoch never falls");
        let blocks = |n| vec![Block::zeroed(); n].into_boxed_slice();
        let of = |buffer, n| (buffer, blocks(n));
        let batch_blocks = config.batch_bytes / BLOCK_LEN;
        let mut writer = Self {
            config,
            filling: None,
            spare: vec![of(0, batch_blocks), of(1, batch_blocks)],
            header: Some(of(2, 1)),
            next_seq: end.next_seq,
            chain: end.chain,
            segment: end.segment,
            offset: end.offset,
            segment_bytes: end.segment_bytes,
        };
        writer.begin_batch();
        writer
    }

    /// All buffers, for registration with the kernel. None may be in flight.
    ///
    /// # Panics
    /// If one is in flight.
    #[must_use]
    pub fn buffers(&self) -> [&[u8]; 3] {
        let filling = self.filling.iter().map(|f| (f.buffer, &f.blocks));
        let others = self.spare.iter().chain(&self.header).map(|(i, b)| (*i, b));
        let mut all: [&[u8]; 3] = [&[]; 3];
        for (i, blocks) in filling.chain(others) {
            all[i] = bytemuck::cast_slice(blocks);
        }
        assert!(all.iter().all(|b| !b.is_empty()), "every buffer is at home");
        all
    }

    /// Number of the next record.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Hash of everything appended so far. Costs the hashing of up to a batch when asked, and nothing
    /// otherwise.
    #[must_use]
    pub fn chain(&mut self) -> Chain {
        match &mut self.filling {
            Some(f) if f.count > 0 => {
                let bytes: &[u8] = bytemuck::cast_slice(&f.blocks);
                f.running.after(&bytes[..f.len])
            }
            _ => self.chain,
        }
    }

    /// Segment that the next batch goes to.
    #[must_use]
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// Bytes left in that segment; zero while it is not begun.
    #[must_use]
    pub fn room(&self) -> u64 {
        if self.offset == 0 {
            0
        } else {
            self.segment_bytes - self.offset
        }
    }

    /// Highest segment that should be made by now: one is always made ahead of need.
    #[must_use]
    pub fn wanted_segment(&self) -> u32 {
        self.segment + 2
    }

    /// Appends `record`.
    ///
    /// # Errors
    /// [`Full`] if neither buffer has room; nothing changed.
    ///
    /// # Panics
    /// If the number is not the next one, or the body is too long for a batch: the sequencer is broken.
    #[inline]
    pub fn append(&mut self, record: &Record<'_>) -> Result<(), Full> {
        assert_eq!(
            record.seq, self.next_seq,
            "records are numbered without gaps"
        );
        let len = RecordHeader::record_len(record.body.len());
        assert!(
            record.body.len() <= RECORD_BODY_MAX,
            "a body of {} bytes",
            record.body.len()
        );
        assert!(
            BATCH_HEADER_LEN + len <= self.config.batch_bytes,
            "a record fits a batch"
        );
        let Some(filling) = &mut self.filling else {
            return Err(Full);
        };
        if filling.len + len > self.config.batch_bytes {
            return Err(Full);
        }
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut filling.blocks);
        encode_record(record, &mut bytes[filling.len..filling.len + len]);
        filling.len += len;
        filling.count += 1;
        filling.running.follow(&bytes[..filling.len]);
        self.next_seq += 1;
        Ok(())
    }

    /// What to write next, if anything: the header of a segment that begins, or the records so far.
    /// `ready` is the highest segment that can be written.
    ///
    /// Write them in the order they are handed out, each only after the one before is durable: recovery
    /// counts on it.
    pub fn take_batch(&mut self, ready: u32) -> Option<Batch> {
        let filling = self.filling.as_ref().filter(|f| f.count > 0)?;
        let disk_len = filling.len.next_multiple_of(BLOCK_LEN) as u64;
        if self.offset > 0 && self.offset + disk_len > self.segment_bytes {
            self.segment += 1;
            self.offset = 0;
        }
        if self.segment > ready {
            return None;
        }
        if self.offset == 0 {
            self.take_header()
        } else {
            self.take_records()
        }
    }

    fn take_header(&mut self) -> Option<Batch> {
        let first = self.filling.as_ref()?;
        let bytes = self.config.segment_bytes;
        let header = SegmentHeader::new(
            self.segment,
            bytes,
            first.first_seq,
            self.config.epoch,
            self.chain,
        );
        let (buffer, mut blocks) = self.header.take()?;
        blocks[0].0[..SEGMENT_HEADER_LEN].copy_from_slice(bytemuck::bytes_of(&header));
        self.segment_bytes = bytes;
        self.offset = BLOCK_LEN as u64;
        let segment = self.segment;
        Some(Batch {
            blocks,
            buffer,
            len: BLOCK_LEN,
            segment,
            offset: 0,
            last_seq: None,
        })
    }

    fn take_records(&mut self) -> Option<Batch> {
        let Filling {
            mut blocks,
            buffer,
            len: used,
            count,
            first_seq,
            mut running,
        } = self.filling.take()?;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut blocks);
        let (segment, offset) = (self.segment, self.offset);
        let len = used.next_multiple_of(BLOCK_LEN);
        // The buffer was used before.
        bytes[used..len].fill(0);
        let after = running.after(&bytes[..used]);
        let place = (segment, offset);
        let epoch = self.config.epoch;
        BatchHeader::seal(
            &mut bytes[..used],
            count,
            first_seq,
            place,
            epoch,
            self.chain,
        );
        self.chain = after;
        self.offset += len as u64;
        let last_seq = Some(self.next_seq - 1);
        self.begin_batch();
        Some(Batch {
            blocks,
            buffer,
            len,
            segment,
            offset,
            last_seq,
        })
    }

    /// Takes back the buffer of a batch that is durable.
    pub fn give_back(&mut self, batch: Batch) {
        let home = (batch.buffer, batch.blocks);
        if batch.last_seq.is_none() {
            self.header = Some(home);
            return;
        }
        self.spare.push(home);
        if self.filling.is_none() {
            self.begin_batch();
        }
    }

    fn begin_batch(&mut self) {
        let (first_seq, chain, epoch) = (self.next_seq, self.chain, self.config.epoch);
        self.filling = self.spare.pop().map(|(buffer, mut blocks)| {
            blocks[0].0[CHAINED_FROM..CHAIN_AT].copy_from_slice(&epoch.to_le_bytes());
            blocks[0].0[CHAIN_AT..BATCH_HEADER_LEN].copy_from_slice(&chain);
            Filling {
                blocks,
                buffer,
                len: BATCH_HEADER_LEN,
                count: 0,
                first_seq,
                running: RunningChain::new(),
            }
        });
    }
}
