//! A journal as what was written, write by write: what a copy of it is made of.

use crate::dir::segment_path;
use crate::error::JournalError;
use crate::format::{BLOCK_LEN, SegmentHeader};
use crate::reader::{Mark, Reader};
use crate::tail::End;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// One write: the header of a segment, or a batch. Whole blocks, as they stand on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Segment.
    pub segment: u32,
    /// Where in it.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Number of its last record; None for a segment's header.
    pub last_seq: Option<u64>,
}

/// Reads the pieces of a journal in order, checked as a [`Reader`] checks them, also while it is written.
pub struct Pieces {
    reader: Reader,
    /// The segment whose header was handed out last.
    begun: u32,
    /// A batch is found and not handed out: the header of its segment goes first.
    is_found: bool,
    header: Box<[u8; BLOCK_LEN]>,
}

impl Pieces {
    /// The pieces after `mark`, where a copy ends that has `begun` the segment of that number (zero: none). `None`
    /// if no batch of this journal ends at the mark, or it lies on another chain: the copy is of another history.
    ///
    /// # Errors
    /// As [`Reader::open_at`].
    pub fn after(dir: &Path, mark: &Mark, begun: u32) -> Result<Option<Self>, JournalError> {
        match Reader::open_at(dir, mark) {
            Ok(reader) if reader.cursor == reader.batch_end => Ok(Some(Self::of(reader, begun))),
            Ok(_) | Err(JournalError::OtherChain { .. } | JournalError::Short { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The pieces from record `next_seq` on, which a batch begins with, for who was sent all before it. `begun` as
    /// in [`after`](Self::after).
    ///
    /// # Errors
    /// As [`Reader::open_near`].
    pub fn near(
        dir: &Path,
        next_seq: u64,
        begun: u32,
        last_seq: u64,
    ) -> Result<Self, JournalError> {
        let reader = if next_seq <= crate::FIRST_SEQ {
            Reader::open(dir)?
        } else {
            // That of the record before: the next one may not be on disk yet.
            Reader::open_near(dir, next_seq - 1)?
        };
        let mut pieces = Self::of(reader, begun);
        while pieces.reader.next_seq() < next_seq && pieces.load(last_seq)? {
            pieces.pass();
        }
        Ok(pieces)
    }

    fn of(reader: Reader, begun: u32) -> Self {
        Self {
            reader,
            begun,
            is_found: false,
            header: Box::new([0; BLOCK_LEN]),
        }
    }

    /// The next piece, if its records are all at most `last_seq`, which is durable.
    ///
    /// # Errors
    /// As [`Reader::next_until`].
    pub fn next(&mut self, last_seq: u64) -> Result<Option<Piece<'_>>, JournalError> {
        if !self.load(last_seq)? {
            return Ok(None);
        }
        let batch = *self.reader.batch();
        if batch.segment > self.begun {
            self.read_header(batch.segment)?;
            self.begun = batch.segment;
            return Ok(Some(Piece {
                segment: batch.segment,
                offset: 0,
                bytes: &self.header[..],
                last_seq: None,
            }));
        }
        self.pass();
        let len = (batch.len as usize).next_multiple_of(BLOCK_LEN);
        Ok(Some(Piece {
            segment: batch.segment,
            offset: batch.offset,
            bytes: self.reader.window.held(batch.offset, len),
            last_seq: Some(self.reader.next_seq() - 1),
        }))
    }

    /// Number of the first record that no piece handed out holds.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.reader.next_seq()
    }

    /// Where the copy ends that was given all pieces so far, but for the header of a segment that has no batch yet.
    #[must_use]
    pub fn end(&self) -> &End {
        self.reader.end()
    }

    fn load(&mut self, last_seq: u64) -> Result<bool, JournalError> {
        if !self.is_found && self.reader.next_seq() <= last_seq {
            self.is_found = self.reader.load(true)?;
        }
        Ok(self.is_found)
    }

    fn pass(&mut self) {
        let reader = &mut self.reader;
        reader.end.next_seq += u64::from(reader.batch.count);
        reader.end.chain = reader.batch.chain;
        reader.cursor = reader.batch_end;
        self.is_found = false;
    }

    fn read_header(&mut self, segment: u32) -> Result<(), JournalError> {
        let path = segment_path(&self.reader.dir, segment);
        let read = File::open(&path).and_then(|f| f.read_exact_at(&mut self.header[..], 0));
        read.map_err(|source| JournalError::Io {
            op: "read",
            path,
            source,
        })?;
        SegmentHeader::check(&self.header[..], segment).map_err(|fault| JournalError::Corrupt {
            segment,
            offset: 0,
            seq: self.reader.batch.first_seq,
            fault,
        })?;
        Ok(())
    }
}
