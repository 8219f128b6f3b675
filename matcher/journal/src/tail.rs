//! Where a journal ends, and why.

use crate::error::{Fault, JournalError};
use crate::format::{
    BATCH_BYTES_MAX, BATCH_HEADER_LEN, BLOCK_LEN, BatchHeader, Chain, FIRST_SEQ, SECTOR_LEN,
    SEGMENT_HEADER_LEN, SegmentHeader, check_record, first_nonzero, genesis, is_zero, used_len,
};
use crate::window::Window;
use firmware::wire::journal::RECORD_HEADER_LEN;
use std::path::Path;

/// How the last bytes of a journal were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing but zeros after the last record.
    Clean,
    /// The last write did not finish. It was never reported durable, and nothing valid follows it.
    Torn {
        /// Segment of the write.
        segment: u32,
        /// Where it begins.
        offset: u64,
        /// Bytes from there to the last one that is not zero.
        bytes: u64,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// Where the next record goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Number of the next record.
    pub next_seq: u64,
    /// Hash of everything before it.
    pub chain: Chain,
    /// Time of the last record, ns; zero without records. The clock must not fall behind it.
    pub last_time_ns: u64,
    /// Under whose lead the last record was written; zero without records.
    pub epoch: u64,
    /// Segment to write to.
    pub segment: u32,
    /// Where in it the next batch goes; zero if its header is yet to be written.
    pub offset: u64,
    /// Size of that segment; zero if its header is yet to be written.
    pub segment_bytes: u64,
    /// What stood there.
    pub tail: Tail,
}

impl End {
    /// The end of a journal without records or files.
    #[must_use]
    pub fn genesis() -> Self {
        Self {
            next_seq: FIRST_SEQ,
            chain: genesis(),
            last_time_ns: 0,
            epoch: 0,
            segment: 1,
            offset: 0,
            segment_bytes: 0,
            tail: Tail::Clean,
        }
    }
}

/// Judges what stands at `end`, where no batch was found: the tail of a write that never finished, or
/// damage to what had been durable.
///
/// It is torn only if all of this holds:
/// - no whole batch and no other byte stands anywhere after the write that could have been in flight;
/// - the bytes themselves show a cut: a sector still zero, or a last record that stops early. Disks
///   write sectors whole, and the area was zeros before. Bytes that are all there and do not add up
///   were damaged after they were written.
pub(crate) fn classify(dir: &Path, end: &End, fault: Option<Fault>) -> Result<Tail, JournalError> {
    let mut scan = Scan {
        dir,
        end,
        window: Window::new(),
    };
    if !scan.window.show(dir, end.segment)? {
        return Ok(Tail::Clean);
    }
    let used = scan.used_here()?;
    if let Some(tail) = scan.judge_later(used, fault.as_ref())? {
        return Ok(tail);
    }
    scan.window.show(dir, end.segment)?;
    scan.judge_here(used, fault)
}

struct Scan<'a> {
    dir: &'a Path,
    end: &'a End,
    window: Window,
}

impl Scan<'_> {
    fn corrupt(&self, segment: u32, offset: u64, seq: u64, fault: Fault) -> JournalError {
        JournalError::Corrupt {
            segment,
            offset,
            seq,
            fault,
        }
    }

    /// Bytes from the end of the journal to the last one of its segment that is not zero.
    fn used_here(&mut self) -> Result<u64, JournalError> {
        let (mut at, len) = (self.end.offset, self.window.file_len()?);
        let mut used = 0;
        while at < len {
            match used_len(self.window.at(at, BLOCK_LEN)?) {
                0 => {}
                in_block => used = at + in_block as u64 - self.end.offset,
            }
            if at > self.end.offset && self.is_batch(self.end.segment, at, len)? {
                return Err(self.hole(self.end.segment, at)?);
            }
            at += BLOCK_LEN as u64;
        }
        Ok(used)
    }

    fn is_batch(&mut self, segment: u32, at: u64, file_len: u64) -> Result<bool, JournalError> {
        let header = BatchHeader::read(self.window.at(at, BATCH_HEADER_LEN)?);
        if header
            .check_place(segment, at, file_len.saturating_sub(at))
            .is_err()
        {
            return Ok(false);
        }
        Ok(header
            .check_crc(self.window.at(at, header.len as usize)?)
            .is_ok())
    }

    /// Damage before a later batch: the first record there that is not whole, if one can be told.
    fn hole(&mut self, segment: u32, offset: u64) -> Result<JournalError, JournalError> {
        let end = self.end;
        self.window.show(self.dir, end.segment)?;
        let left = self.window.file_len()?.saturating_sub(end.offset);
        // A file that was cut short counts as going on with zeros.
        let room = left
            .next_multiple_of(BLOCK_LEN as u64)
            .clamp(BLOCK_LEN as u64, BATCH_BYTES_MAX as u64);
        let bytes = self.window.at(end.offset, room as usize)?;
        let header = BatchHeader::read(bytes);
        if is_zero(&bytes[..BLOCK_LEN]) {
            return Ok(self.corrupt(
                end.segment,
                end.offset,
                end.next_seq,
                Fault::Hole { segment, offset },
            ));
        }
        let (at, seq, fault) = match header.check_place(end.segment, end.offset, room) {
            Err(fault) => (0, end.next_seq, fault),
            Ok(()) => damage(bytes, end.next_seq, &header),
        };
        Ok(self.corrupt(end.segment, end.offset + at as u64, seq, fault))
    }

    /// Looks through the segments after this one. Some if the tail is the header of the next.
    fn judge_later(
        &mut self,
        used: u64,
        fault: Option<&Fault>,
    ) -> Result<Option<Tail>, JournalError> {
        let mut torn = None;
        for segment in self.end.segment + 1.. {
            if !self.window.show(self.dir, segment)? {
                break;
            }
            let (mut at, len) = (0, self.window.file_len()?);
            while at < len {
                let in_block = used_len(self.window.at(at, BLOCK_LEN)?);
                if in_block > 0 {
                    let is_next = segment == self.end.segment + 1 && at == 0 && self.end.offset > 0;
                    if !is_next || used > 0 || fault.is_some() {
                        return Err(self.stray(segment, at)?);
                    }
                    torn = Some(self.judge_next_header(segment, in_block)?);
                }
                at += BLOCK_LEN as u64;
            }
        }
        Ok(torn)
    }

    fn stray(&mut self, segment: u32, offset: u64) -> Result<JournalError, JournalError> {
        self.hole(segment, offset).map(|error| match error {
            JournalError::Corrupt {
                segment: s,
                offset: o,
                seq,
                fault: Fault::Hole { .. },
            } => self.corrupt(s, o, seq, Fault::Stray { segment, offset }),
            other => other,
        })
    }

    /// The header of the next segment, which does not follow from here, with nothing else around.
    fn judge_next_header(&mut self, segment: u32, used: usize) -> Result<Tail, JournalError> {
        let block = self.window.at(0, BLOCK_LEN)?;
        let seq = self.end.next_seq;
        match SegmentHeader::check(block, segment) {
            Err(fault) if SegmentHeader::is_cut(block) && used < SEGMENT_HEADER_LEN => {
                Ok(Tail::Torn {
                    segment,
                    offset: 0,
                    bytes: used as u64,
                    fault,
                })
            }
            Err(fault) => Err(self.corrupt(segment, 0, seq, fault)),
            Ok(header) if header.first_seq == seq => {
                Err(self.corrupt(segment, 0, seq, Fault::SegmentChain))
            }
            Ok(_) => {
                let (at, hole) = (self.end.offset, Fault::Hole { segment, offset: 0 });
                Err(self.corrupt(self.end.segment, at, seq, hole))
            }
        }
    }

    /// Nothing stands later: is what stands here a write that was cut?
    fn judge_here(&mut self, used: u64, fault: Option<Fault>) -> Result<Tail, JournalError> {
        let (segment, offset, seq) = (self.end.segment, self.end.offset, self.end.next_seq);
        if used == 0 {
            return Ok(Tail::Clean);
        }
        let fault = fault.unwrap_or(Fault::BatchMagic { found: 0 });
        if used > BATCH_BYTES_MAX as u64 {
            return Err(self.corrupt(segment, offset, seq, fault));
        }
        let padded = (used as usize).next_multiple_of(BLOCK_LEN);
        let bytes = self.window.at(offset, padded)?;
        let judged = if offset == 0 {
            let cut = SegmentHeader::is_cut(bytes) && used < SEGMENT_HEADER_LEN as u64;
            if cut {
                None
            } else {
                Some((0, seq, fault.clone()))
            }
        } else {
            damage_unless_cut(bytes, used as usize, seq, &fault)
        };
        match judged {
            None => Ok(Tail::Torn {
                segment,
                offset,
                bytes: used,
                fault,
            }),
            Some((at, seq, fault)) => Err(self.corrupt(segment, offset + at as u64, seq, fault)),
        }
    }
}

/// The first record that is not whole of the batch at the start of `bytes`; the batch itself if all are.
fn damage(bytes: &[u8], first_seq: u64, header: &BatchHeader) -> (usize, u64, Fault) {
    let len = header.len as usize;
    let (mut at, mut seq) = (BATCH_HEADER_LEN, first_seq);
    // Only zeros up to the announced end: it is the length that is wrong.
    while at < len && !is_zero(&bytes[at..len]) {
        match check_record(&bytes[at..], seq) {
            Ok(record) => (at, seq) = (at + record.len as usize, seq + 1),
            Err(fault) => return (at, seq, fault),
        }
    }
    let crc = header.check_crc(&bytes[..len]).err();
    let pad = first_nonzero(&bytes[len..header.disk_len()]).map(|i| Fault::Padding {
        at: (len + i) as u64,
    });
    (0, first_seq, crc.or(pad).unwrap_or(Fault::BatchChain))
}

/// None if the last of `bytes[..used]` show a write that was cut, else what is damaged and where.
fn damage_unless_cut(
    bytes: &[u8],
    used: usize,
    first_seq: u64,
    fault: &Fault,
) -> Option<(usize, u64, Fault)> {
    let header = BatchHeader::read(bytes);
    let announced = header.len as usize;
    let is_whole = (BATCH_HEADER_LEN..=bytes.len()).contains(&announced)
        && header.check_crc(&bytes[..announced]).is_ok();
    if is_whole {
        // It was written to its end: in another place, for another journal, or with more behind it.
        return Some((0, first_seq, fault.clone()));
    }
    if used < BATCH_HEADER_LEN || bytes[..used].chunks_exact(SECTOR_LEN).any(is_zero) {
        return None;
    }
    let (mut at, mut seq) = (BATCH_HEADER_LEN, first_seq);
    while at < used {
        match check_record(&bytes[at..], seq) {
            Ok(record) => (at, seq) = (at + record.len as usize, seq + 1),
            Err(fault) => {
                let len =
                    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                let is_last = at + (len as usize).max(RECORD_HEADER_LEN) > used;
                return (!is_last).then_some((at, seq, fault));
            }
        }
    }
    // Every record is whole: cut between two of them, or the header is damaged.
    let is_cut = announced > at && announced <= BATCH_BYTES_MAX;
    (!is_cut).then(|| (0, first_seq, fault.clone()))
}
