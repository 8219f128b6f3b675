//! Group commit: one write in flight, and whatever arrived meanwhile is the next one.

use crate::error::DiskError;
use crate::format::Chain;
use crate::tail::End;
use crate::writer::{Batch, Config, Full, Record, Writer};

/// Where batches go.
///
/// Any error is final: the box stops. In particular a failed write is never tried again, since the kernel
/// may have dropped the dirty pages and would then report success.
pub trait Disk {
    /// Makes the disk ready to go on at `end`: wipes a torn write, makes the segments up to the first
    /// one needed, and registers `buffers`, out of which all batches will come.
    ///
    /// # Errors
    /// If the disk cannot do it.
    fn begin(
        &mut self,
        end: &End,
        segment_bytes: u64,
        buffers: [&[u8]; 3],
    ) -> Result<(), DiskError>;

    /// Asks for all segments up to `segment` to be made, in the background, and takes note of those that
    /// are. Called at every turn: asking again must cost next to nothing.
    ///
    /// # Errors
    /// If an earlier one failed for another reason than lack of space.
    fn prepare(&mut self, segment: u32) -> Result<(), DiskError>;

    /// The last attempt to make a segment found no space for it.
    fn has_no_space(&self) -> bool;

    /// Highest segment that can be written.
    fn ready(&self) -> u32;

    /// Begins to write `batch`. None may be in flight.
    ///
    /// # Errors
    /// If it is known at once that the write fails.
    fn submit(&mut self, batch: Batch) -> Result<(), DiskError>;

    /// The batch in flight, once it is durable (or, in a mode named relaxed, handed to the disk).
    ///
    /// # Errors
    /// If the write failed or fell short.
    fn poll(&mut self) -> Result<Option<Batch>, DiskError>;

    /// As [`poll`](Self::poll), but sleeps until the batch in flight is durable.
    ///
    /// # Errors
    /// As `poll`.
    fn wait(&mut self) -> Result<Option<Batch>, DiskError>;
}

/// A journal that is being written: records in, "durable up to" out.
pub struct GroupCommit<D> {
    // Before the writer on purpose: a disk that goes away waits for its write, then buffers may go.
    disk: D,
    writer: Writer,
    is_in_flight: bool,
    has_failed: bool,
    durable_seq: u64,
}

impl<D: Disk> GroupCommit<D> {
    /// Goes on at `end`.
    ///
    /// # Errors
    /// If the disk cannot.
    pub fn resume(config: Config, end: &End, mut disk: D) -> Result<Self, DiskError> {
        let writer = Writer::resume(config, end);
        disk.begin(end, config.segment_bytes, writer.buffers())?;
        disk.prepare(writer.wanted_segment())?;
        let durable_seq = end.next_seq - 1;
        Ok(Self {
            disk,
            writer,
            is_in_flight: false,
            has_failed: false,
            durable_seq,
        })
    }

    /// Appends a record; see [`Writer::append`]. It is durable once [`durable_seq`](Self::durable_seq)
    /// has reached it.
    ///
    /// # Errors
    /// [`Full`]: keep the record, [`poll`](Self::poll), and try again.
    #[inline]
    pub fn append(&mut self, record: &Record<'_>) -> Result<(), Full> {
        self.writer.append(record)
    }

    /// Takes note of a completed write, begins the next. True if either happened.
    ///
    /// # Errors
    /// If the disk failed; from then on always.
    pub fn poll(&mut self) -> Result<bool, DiskError> {
        let done = self.poll_durable()?;
        Ok(self.begin()? || done)
    }

    /// As [`poll`](Self::poll), but sleeps until the write in flight is durable.
    ///
    /// # Errors
    /// As `poll`.
    pub fn wait(&mut self) -> Result<bool, DiskError> {
        let done = self.wait_durable()?;
        Ok(self.begin()? || done)
    }

    /// Begins to write what was appended, if no write is in flight and there is a segment for it. True if it did.
    /// Called from time to time also without records: it finds out that space is back.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn begin(&mut self) -> Result<bool, DiskError> {
        let begun = self.try_begin();
        self.stop_on(begun)
    }

    /// Takes note of the write in flight if it is durable; begins no other. True if it is.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_durable(&mut self) -> Result<bool, DiskError> {
        let done = self.complete(D::poll);
        self.stop_on(done)
    }

    /// As [`poll_durable`](Self::poll_durable), but sleeps until the write in flight is durable.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn wait_durable(&mut self) -> Result<bool, DiskError> {
        let done = self.complete(D::wait);
        self.stop_on(done)
    }

    /// Sleeps until everything appended is durable.
    ///
    /// # Errors
    /// If the disk failed; from then on always. [`DiskError::NoSpace`] if a segment is needed that there
    /// is no space for; this one passes when there is.
    pub fn flush(&mut self) -> Result<(), DiskError> {
        while self.has_records() {
            if !self.wait()? {
                if self.disk.has_no_space() {
                    return Err(DiskError::NoSpace);
                }
                // It waits for a segment to be made, which takes milliseconds.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        Ok(())
    }

    fn complete(
        &mut self,
        of: impl FnOnce(&mut D) -> Result<Option<Batch>, DiskError>,
    ) -> Result<bool, DiskError> {
        if self.has_failed {
            return Err(DiskError::Stopped);
        }
        if !self.is_in_flight {
            return Ok(false);
        }
        let Some(batch) = of(&mut self.disk)? else {
            return Ok(false);
        };
        self.durable_seq = batch.last_seq().unwrap_or(self.durable_seq);
        self.writer.give_back(batch);
        self.is_in_flight = false;
        Ok(true)
    }

    fn try_begin(&mut self) -> Result<bool, DiskError> {
        if self.has_failed {
            return Err(DiskError::Stopped);
        }
        if self.is_in_flight {
            return Ok(false);
        }
        self.disk.prepare(self.writer.wanted_segment())?;
        let Some(batch) = self.writer.take_batch(self.disk.ready()) else {
            return Ok(false);
        };
        self.disk.submit(batch)?;
        self.is_in_flight = true;
        Ok(true)
    }

    fn stop_on<T>(&mut self, done: Result<T, DiskError>) -> Result<T, DiskError> {
        self.has_failed |= done.is_err();
        done
    }

    /// Number of the last record that is durable.
    #[must_use]
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Number of the next record.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.writer.next_seq()
    }

    /// Hash of everything appended; see [`Writer::chain`].
    #[must_use]
    pub fn chain(&mut self) -> Chain {
        self.writer.chain()
    }

    /// Some record appended is not durable yet.
    #[must_use]
    pub fn has_records(&self) -> bool {
        self.durable_seq + 1 < self.writer.next_seq()
    }

    /// Fewer than two segments are made ahead, and there is no space for another: time to take in only what
    /// lowers risk. What is under way still has room, so the error itself is never met.
    #[must_use]
    pub fn is_short_of_space(&self) -> bool {
        self.disk.has_no_space() && self.free_segments() < 2
    }

    /// A write is in flight.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.is_in_flight
    }

    /// Segments made and not begun; see [`is_short_of_space`](Self::is_short_of_space).
    #[must_use]
    pub fn free_segments(&self) -> u32 {
        self.disk.ready().saturating_sub(self.writer.segment())
    }

    /// The last attempt to make a segment found no space for it.
    #[must_use]
    pub fn has_no_space(&self) -> bool {
        self.disk.has_no_space()
    }

    /// Bytes left in the segment being written.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.writer.room()
    }
}
