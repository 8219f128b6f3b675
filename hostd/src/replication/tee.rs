//! A disk beside which each write is copied for the replication thread. Without replication it is the disk alone.

use journal::{BATCH_BYTES_MAX, Batch, Disk, DiskError, End};
use lane::{Consumer, Producer, Waker, Watermark, WatermarkReader, bounded};

/// Copies that may wait for the replication thread; more than one write is never in flight, so this is time for it to
/// be woken in.
const COPIES: usize = 32;

/// A write of the journal.
pub struct Written {
    /// Segment.
    pub segment: u32,
    /// Where in it.
    pub offset: u64,
    /// Where the journal ended before it: segment and offset.
    pub after: (u32, u64),
    /// Its last record; None for a segment's header.
    pub last_seq: Option<u64>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The replication thread's side.
pub struct TeeEnds {
    /// Writes, in order; some may be missing.
    pub written: Consumer<Written>,
    /// Buffers, back.
    pub spares: Producer<Vec<u8>>,
    /// Last record on the own disk.
    pub on_disk: WatermarkReader,
}

struct Copies {
    written: Producer<Written>,
    spares: Consumer<Vec<u8>>,
    on_disk: Watermark,
    waker: Waker,
    /// Where the journal ends.
    at: (u32, u64),
}

/// See the module.
pub struct Tee<D> {
    disk: D,
    copies: Option<Copies>,
}

impl<D> Tee<D> {
    /// The disk alone.
    pub const fn alone(disk: D) -> Self {
        Self { disk, copies: None }
    }

    /// Copies go to the thread that `waker` wakes, from the end of the journal on. Takes all its memory here.
    pub fn new(disk: D, end: &End, waker: Waker) -> (Self, TeeEnds) {
        let (written, to_thread) = bounded(COPIES);
        let (mut back, spares) = bounded(COPIES);
        for _ in 0..COPIES {
            let full = back.push(Vec::with_capacity(BATCH_BYTES_MAX));
            assert!(full.is_ok(), "there is room for each");
        }
        let on_disk = Watermark::new(end.next_seq - 1);
        let ends = TeeEnds {
            written: to_thread,
            spares: back,
            on_disk: on_disk.reader(),
        };
        let copies = Some(Copies {
            written,
            spares,
            on_disk,
            waker,
            at: (end.segment, end.offset),
        });
        (Self { disk, copies }, ends)
    }
}

impl Copies {
    fn copy(&mut self, batch: &Batch) {
        let after = self.at;
        let bytes = batch.bytes();
        self.at = (batch.segment(), batch.offset() + bytes.len() as u64);
        // Without a buffer the thread is behind by more than it could send at once: it reads the journal then.
        let Some(mut copy) = self.spares.pop() else {
            return;
        };
        copy.clear();
        copy.extend_from_slice(bytes);
        let written = Written {
            segment: batch.segment(),
            offset: batch.offset(),
            after,
            last_seq: batch.last_seq(),
            bytes: copy,
        };
        let sent = self.written.push(written);
        assert!(sent.is_ok(), "there are no more copies than places");
        self.waker.wake();
    }

    fn done(&mut self, batch: &Batch) {
        if let Some(seq) = batch.last_seq() {
            self.on_disk.raise(seq);
            self.waker.wake();
        }
    }
}

impl<D: Disk> Disk for Tee<D> {
    fn begin(
        &mut self,
        end: &End,
        segment_bytes: u64,
        buffers: [&[u8]; 3],
    ) -> Result<(), DiskError> {
        self.disk.begin(end, segment_bytes, buffers)
    }

    fn prepare(&mut self, segment: u32) -> Result<(), DiskError> {
        self.disk.prepare(segment)
    }

    fn has_no_space(&self) -> bool {
        self.disk.has_no_space()
    }

    fn ready(&self) -> u32 {
        self.disk.ready()
    }

    fn submit(&mut self, batch: Batch) -> Result<(), DiskError> {
        // First the copy: the way to the standbys and the own disk are taken at the same time.
        if let Some(copies) = &mut self.copies {
            copies.copy(&batch);
        }
        self.disk.submit(batch)
    }

    fn poll(&mut self) -> Result<Option<Batch>, DiskError> {
        let done = self.disk.poll()?;
        self.note(done)
    }

    fn wait(&mut self) -> Result<Option<Batch>, DiskError> {
        let done = self.disk.wait()?;
        self.note(done)
    }
}

impl<D> Tee<D> {
    fn note(&mut self, done: Option<Batch>) -> Result<Option<Batch>, DiskError> {
        if let (Some(copies), Some(batch)) = (&mut self.copies, &done) {
            copies.done(batch);
        }
        Ok(done)
    }
}
