//! Reading a journal, at rest or while another process writes it.

use crate::dir::{all_segments, check_segments};
use crate::error::{Fault, JournalError};
use crate::format::{
    BATCH_BYTES_MAX, BATCH_HEADER_LEN, BLOCK_LEN, BatchHeader, CHAINED_FROM, Chain, SegmentHeader,
    chain_after, check_record, first_nonzero, is_zero,
};
use crate::tail::{End, classify};
use crate::window::Window;
use firmware::wire::journal::{RECORD_HEADER_LEN, RecordHeader};
use std::path::{Path, PathBuf};

/// One record as it stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its header, checked.
    pub header: RecordHeader,
    /// Its body, with up to 7 bytes of zeros at the end. At an address that is a multiple of 8.
    pub body: &'a [u8],
    /// Hash of the journal up to and with this record, for who asks.
    pub chain: ChainAt<'a>,
}

/// A place in a journal: right after a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The record; zero stands before the first.
    pub seq: u64,
    /// Hash of the journal up to and with it.
    pub chain: Chain,
}

/// A group commit as it stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchView {
    /// Its segment.
    pub segment: u32,
    /// Where it begins there.
    pub offset: u64,
    /// Bytes used, its header included.
    pub len: u32,
    /// Records in it.
    pub count: u32,
    /// Number of the first one.
    pub first_seq: u64,
    /// Under whose lead it was written.
    pub epoch: u64,
    /// Hash of the journal up to and with its last record.
    pub chain: Chain,
}

/// The hash of a journal up to a record, computed when asked for. The default stands for no place in any
/// journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainAt<'a> {
    /// The epoch and the hash before the record's batch, and the batch's records up to and with it.
    pub(crate) hashed: &'a [u8],
}

impl<'a> ChainAt<'a> {
    pub(crate) const fn of(hashed: &'a [u8]) -> Self {
        Self { hashed }
    }

    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.hashed
    }

    /// The hash.
    #[must_use]
    pub fn hash(&self) -> Chain {
        *blake3::hash(self.hashed).as_bytes()
    }
}

/// Reads records in order and checks all of it: crc, place, numbering and chain.
pub struct Reader {
    pub(crate) dir: PathBuf,
    pub(crate) window: Window,
    pub(crate) end: End,
    /// The batch at hand, which the window holds; before the first, one without records.
    pub(crate) batch: BatchView,
    /// Its next record; equal to `batch_end` when there is none.
    pub(crate) cursor: u64,
    pub(crate) batch_end: u64,
}

/// What stands at the reader's place.
enum Found {
    Batch(BatchHeader),
    NextSegment,
    /// No batch; why, unless there are only zeros.
    Nothing(Option<Fault>),
}

impl Reader {
    /// A reader at the first record of the journal in `dir`, which may be empty.
    ///
    /// # Errors
    /// If the directory cannot be read or a segment is missing.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, JournalError> {
        let dir = dir.as_ref();
        check_segments(1, &all_segments(dir)?)?;
        Ok(Self::at(dir, End::genesis()))
    }

    /// A reader at the record after `mark`. Segments before that of the mark need not be there; from the start of
    /// that one on all is checked, and that the mark lies on this journal's chain.
    ///
    /// # Errors
    /// If that does not hold, or the directory cannot be read, or a later segment is missing.
    pub fn open_at(dir: impl AsRef<Path>, mark: &Mark) -> Result<Self, JournalError> {
        let dir = dir.as_ref();
        let mut reader = if mark.seq == 0 {
            Self::open(dir)?
        } else {
            Self::open_near(dir, mark.seq)?
        };
        while reader.end.next_seq <= mark.seq {
            if !reader.load(false)? {
                let (seq, last) = (mark.seq, reader.end.next_seq - 1);
                return Err(JournalError::Short { seq, last });
            }
            let next = reader.end.next_seq + u64::from(reader.batch.count);
            if next <= mark.seq {
                (reader.end.next_seq, reader.end.chain) = (next, reader.batch.chain);
                reader.cursor = reader.batch_end;
                continue;
            }
            while reader.end.next_seq <= mark.seq {
                reader.take()?;
            }
        }
        if reader.chain() == mark.chain {
            Ok(reader)
        } else {
            Err(JournalError::OtherChain { seq: mark.seq })
        }
    }

    /// A reader at the first record of the segment that holds record `seq`, without a look at those before: their
    /// hash is taken from its header. For looking, not for recovery.
    ///
    /// # Errors
    /// [`JournalError::NoRecord`] if every segment that is left begins after it; else as [`open`](Self::open).
    pub fn open_near(dir: impl AsRef<Path>, seq: u64) -> Result<Self, JournalError> {
        let dir = dir.as_ref();
        let segments = all_segments(dir)?;
        let mut window = Window::new();
        for (i, &segment) in segments.iter().enumerate().rev() {
            if !window.show(dir, segment)? {
                continue;
            }
            // One that is damaged is met by the reader that begins before it.
            let Ok(header) = SegmentHeader::check(window.at(0, BLOCK_LEN)?, segment) else {
                continue;
            };
            if header.first_seq <= seq {
                check_segments(segment, &segments[i..])?;
                let mut reader = Self::at(
                    dir,
                    End {
                        next_seq: header.first_seq,
                        chain: header.chain,
                        epoch: header.epoch,
                        segment,
                        ..End::genesis()
                    },
                );
                reader.enter(segment)?;
                return Ok(reader);
            }
        }
        Err(JournalError::NoRecord { seq })
    }

    fn at(dir: &Path, end: End) -> Self {
        let batch = BatchView {
            segment: end.segment,
            offset: 0,
            len: 0,
            count: 0,
            first_seq: end.next_seq,
            epoch: end.epoch,
            chain: end.chain,
        };
        Self {
            dir: dir.to_path_buf(),
            window: Window::new(),
            end,
            batch,
            cursor: 0,
            batch_end: 0,
        }
    }

    /// The next record of a journal that nobody writes; None at its end, which [`end`](Self::end) tells.
    ///
    /// # Errors
    /// If anything is damaged but a tail that was never durable.
    #[expect(
        clippy::should_implement_trait,
        reason = "the view borrows from the reader"
    )]
    pub fn next(&mut self) -> Result<Option<RecordView<'_>>, JournalError> {
        if self.cursor == self.batch_end && !self.load(false)? {
            return Ok(None);
        }
        self.take().map(Some)
    }

    /// The next record of a journal that another process writes, if its number is at most `last_seq`.
    ///
    /// None means: beyond `last_seq`, or not there yet; [`next_seq`](Self::next_seq) tells which. Damage
    /// looks like "not there yet", as a write half seen does: who knows that the record is durable and
    /// still does not get it calls [`next`](Self::next), which names the damage.
    ///
    /// # Errors
    /// If the system refuses, or a record inside a whole batch is damaged.
    pub fn next_until(&mut self, last_seq: u64) -> Result<Option<RecordView<'_>>, JournalError> {
        if self.end.next_seq > last_seq || (self.cursor == self.batch_end && !self.load(true)?) {
            return Ok(None);
        }
        self.take().map(Some)
    }

    /// Number of the record that comes next.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.end.next_seq
    }

    /// Hash of all records read so far.
    #[must_use]
    pub fn chain(&self) -> Chain {
        if self.cursor == self.batch_end || self.end.next_seq == self.batch.first_seq {
            return self.end.chain;
        }
        let read = (self.cursor - self.batch.offset) as usize;
        chain_after(self.window.held(self.batch.offset, read))
    }

    /// What is hashed of the batch at hand, up to and with the record that was read last.
    pub(crate) fn last_hashed(&self) -> &[u8] {
        let read = (self.cursor - self.batch.offset) as usize;
        &self.window.held(self.batch.offset, read)[CHAINED_FROM..]
    }

    /// The batch of the record that was read last; one without records before the first.
    #[must_use]
    pub fn batch(&self) -> &BatchView {
        &self.batch
    }

    /// Where the journal ends. Meaningful once [`next`](Self::next) returned None.
    #[must_use]
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Finds the batch at the reader's place. False if there is none (yet).
    pub(crate) fn load(&mut self, live: bool) -> Result<bool, JournalError> {
        let mut is_fresh = false;
        loop {
            match self.find()? {
                Found::Batch(header) => {
                    let offset = self.end.offset;
                    self.batch = BatchView {
                        segment: self.end.segment,
                        offset,
                        len: header.len,
                        count: header.count,
                        first_seq: header.first_seq,
                        epoch: header.epoch,
                        chain: chain_after(self.window.held(offset, header.len as usize)),
                    };
                    self.batch_end = offset + u64::from(header.len);
                    self.cursor = offset + BATCH_HEADER_LEN as u64;
                    self.end.offset += header.disk_len() as u64;
                    self.end.epoch = header.epoch;
                    return Ok(true);
                }
                Found::NextSegment => is_fresh = true,
                Found::Nothing(_) if live && !is_fresh => {
                    self.window.forget();
                    is_fresh = true;
                }
                Found::Nothing(_) if live => return Ok(false),
                Found::Nothing(fault) => {
                    self.end.tail = classify(&self.dir, &self.end, fault)?;
                    return Ok(false);
                }
            }
        }
    }

    fn find(&mut self) -> Result<Found, JournalError> {
        if self.end.offset == 0 {
            return self.enter(self.end.segment);
        }
        let room = self.end.segment_bytes - self.end.offset;
        if room == 0 || is_zero(self.window.at(self.end.offset, BLOCK_LEN)?) {
            return self.leave(room);
        }
        let (segment, offset) = (self.end.segment, self.end.offset);
        let header = BatchHeader::read(self.window.at(offset, BATCH_HEADER_LEN)?);
        if let Err(fault) = header.check_place(segment, offset, room) {
            return Ok(Found::Nothing(Some(fault)));
        }
        let bytes = self.window.at(offset, header.disk_len())?;
        Ok(match check_batch(&header, bytes, &self.end) {
            Ok(()) => Found::Batch(header),
            Err(fault) => Found::Nothing(Some(fault)),
        })
    }

    /// Nothing more in this segment: on to the next one, if it goes on from here.
    fn leave(&mut self, room: u64) -> Result<Found, JournalError> {
        if room > BATCH_BYTES_MAX as u64 {
            // The writer had room for any batch, so it is still here.
            return Ok(Found::Nothing(None));
        }
        let rest = self.window.at(self.end.offset, room as usize)?;
        if first_nonzero(rest).is_some() {
            return Ok(Found::Nothing(None));
        }
        self.enter(self.end.segment + 1)
    }

    fn enter(&mut self, segment: u32) -> Result<Found, JournalError> {
        let mut window = Window::new();
        if !window.show(&self.dir, segment)? {
            return Ok(Found::Nothing(None));
        }
        let block = window.at(0, BLOCK_LEN)?;
        if is_zero(block) {
            return Ok(Found::Nothing(None));
        }
        let checked = SegmentHeader::check(block, segment)
            .and_then(|header| check_follows(&header, &self.end).map(|()| header));
        let header = match checked {
            Ok(header) => header,
            // Where there is a segment before, the tail is judged from there.
            Err(_) if self.end.offset > 0 => return Ok(Found::Nothing(None)),
            Err(fault) => return Ok(Found::Nothing(Some(fault))),
        };
        self.window = window;
        self.end.segment = segment;
        self.end.offset = BLOCK_LEN as u64;
        self.end.segment_bytes = header.segment_bytes;
        (self.batch_end, self.cursor) = (0, 0);
        Ok(Found::NextSegment)
    }

    /// The record at the cursor, which lies in a batch that was checked.
    fn take(&mut self) -> Result<RecordView<'_>, JournalError> {
        let seq = self.end.next_seq;
        let batch = (self.window).held(self.batch.offset, self.batch.len as usize);
        let at = (self.cursor - self.batch.offset) as usize;
        let header = check_record(&batch[at..], seq).map_err(|fault| JournalError::Corrupt {
            segment: self.end.segment,
            offset: self.cursor,
            seq,
            fault,
        })?;
        let after = at + header.len as usize;
        self.end.next_seq += 1;
        self.end.last_time_ns = header.time_ns;
        self.cursor += u64::from(header.len);
        if self.cursor == self.batch_end {
            self.end.chain = self.batch.chain;
        }
        Ok(RecordView {
            header,
            body: &batch[at + RECORD_HEADER_LEN..after],
            chain: ChainAt {
                hashed: &batch[CHAINED_FROM..after],
            },
        })
    }
}

/// The segment goes on where `end` is.
pub(crate) fn check_follows(header: &SegmentHeader, end: &End) -> Result<(), Fault> {
    let bytes = header.segment_bytes;
    if bytes < 2 * BLOCK_LEN as u64 || !bytes.is_multiple_of(BLOCK_LEN as u64) {
        return Err(Fault::SegmentBytes { bytes });
    }
    if header.first_seq != end.next_seq {
        return Err(Fault::SegmentSeq {
            found: header.first_seq,
        });
    }
    if header.chain != end.chain {
        return Err(Fault::SegmentChain);
    }
    check_epoch(header.epoch, end.epoch)
}

fn check_epoch(found: u64, held: u64) -> Result<(), Fault> {
    if found < held {
        return Err(Fault::Epoch { found, held });
    }
    Ok(())
}

/// `bytes` are those of a whole batch that follows `end`.
pub(crate) fn check_batch(h: &BatchHeader, bytes: &[u8], end: &End) -> Result<(), Fault> {
    let (used, pad) = bytes.split_at(h.len as usize);
    h.check_crc(used)?;
    if let Some(at) = first_nonzero(pad) {
        return Err(Fault::Padding {
            at: (used.len() + at) as u64,
        });
    }
    if h.first_seq != end.next_seq {
        return Err(Fault::BatchSeq { found: h.first_seq });
    }
    if h.chain != end.chain {
        return Err(Fault::BatchChain);
    }
    check_epoch(h.epoch, end.epoch)?;
    let (mut rest, mut count) = (&used[BATCH_HEADER_LEN..], 0);
    while let Some(len) = rest.get(..4) {
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        if len < RECORD_HEADER_LEN || len > rest.len() {
            return Err(Fault::BatchCount { count: h.count });
        }
        (rest, count) = (&rest[len..], count + 1);
    }
    if count == h.count {
        Ok(())
    } else {
        Err(Fault::BatchCount { count: h.count })
    }
}
