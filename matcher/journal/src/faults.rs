//! A disk that misbehaves by seed, over real segment files, for tests and simulations.
//!
//! ```
//! use journal::faults::{FaultDisk, Medium, WriteFault};
//! use journal::{Config, End, GroupCommit, JournalDir, Reader};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let medium = Medium::new(7);
//! let disk = FaultDisk::new(JournalDir::open(dir.path()).unwrap(), medium.clone());
//! let mut journal = GroupCommit::resume(Config::default(), &End::genesis(), disk).unwrap();
//! medium.behave(|b| b.next_write = Some(WriteFault::Error));
//! // Append, poll: it fails, and for good. Dropping the disk is the power cut: the write in flight is then on
//! // the medium whole, in part or not at all. Open the directory again to recover.
//! drop(journal);
//! assert!(Reader::open(dir.path()).unwrap().next().unwrap().is_none());
//! ```
//!
//! Nothing here sleeps: time is what [`Medium::advance_to`] says, and [`Disk::wait`] jumps to when its write is
//! done. The driver keeps the [`Medium`] over restarts of the box; each start makes a new [`FaultDisk`] over it.

use crate::commit::Disk;
use crate::dir::{JournalDir, create_segment, segment_name};
use crate::error::DiskError;
use crate::format::{BLOCK_LEN, SECTOR_LEN};
use crate::tail::End;
use crate::writer::Batch;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};

/// What becomes of one write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteFault {
    /// EIO; any part of it may be on the medium.
    Error,
    /// EROFS: the file system went read-only after an error of its own; nothing of it is on the medium.
    ReadOnly,
    /// Fewer bytes are stored than were given, and the system says so.
    Short,
    /// Reported done, but not on the medium.
    Lost,
    /// Reported done, but on the medium at another place of the same segment.
    Misdirected,
}

/// How the disk behaves from now on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// A write takes up to this, ns.
    pub delay_max_ns: u64,
    /// There is no space for another segment.
    pub is_full: bool,
    /// What becomes of the next write; taken back when it did.
    pub next_write: Option<WriteFault>,
}

/// What happened, for a count of what a simulation covered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Happened {
    Written,
    SegmentMade,
    NoSpaceForSegment,
    ErrorReported,
    LostInSilence,
    Misdirected,
    CrashWroteNothing,
    CrashWroteAll,
    CrashCutAtByte,
    CrashLeftSectorsOut,
}

/// The disk as it is, whatever the box believes; the test's end of it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Medium(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    now_ns: u64,
    random: u64,
    durable_seq: u64,
    has_failed: bool,
    happened: BTreeMap<Happened, u64>,
}

impl State {
    fn note(&mut self, what: Happened) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// The next number of the seed's sequence (splitmix64), below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

impl Medium {
    /// A faultless medium whose later faults are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            behaviour: Behaviour::default(),
            now_ns: 0,
            random: seed,
            durable_seq: 0,
            has_failed: false,
            happened: BTreeMap::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with the lock held")
    }

    /// Changes how the disk behaves.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state().behaviour);
    }

    /// The time is now `now_ns` or later.
    pub fn advance_to(&self, now_ns: u64) {
        let mut state = self.state();
        state.now_ns = state.now_ns.max(now_ns);
    }

    /// Last record that is on the medium for certain and was, or may at once be, reported durable.
    #[must_use]
    pub fn durable_seq(&self) -> u64 {
        self.state().durable_seq
    }

    /// A write has failed since the last start.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// How often what happened.
    #[must_use]
    pub fn happened(&self) -> BTreeMap<Happened, u64> {
        self.state().happened.clone()
    }
}

/// A [`Disk`] over a directory and a [`Medium`].
pub struct FaultDisk {
    dir: JournalDir,
    medium: Medium,
    segment_bytes: u64,
    ready: u32,
    has_no_space: bool,
    in_flight: Option<(Batch, u64)>,
}

impl FaultDisk {
    /// A disk over `dir`, at the start of a box.
    #[must_use]
    pub fn new(dir: JournalDir, medium: Medium) -> Self {
        medium.state().has_failed = false;
        Self {
            dir,
            medium,
            segment_bytes: 0,
            ready: 0,
            has_no_space: false,
            in_flight: None,
        }
    }

    fn store(&self, batch: &Batch, offset: u64, part: impl Fn(usize) -> bool, end: usize) {
        let path = self.dir.path().join(segment_name(batch.segment()));
        let file = File::options().write(true).open(path);
        let file = file.expect("the test's own directory can be written");
        let bytes = &batch.bytes()[..end];
        for (i, sector) in bytes.chunks(SECTOR_LEN).enumerate() {
            if part(i) {
                let at = offset + (i * SECTOR_LEN) as u64;
                file.write_all_at(sector, at)
                    .expect("the test's own directory can be written");
            }
        }
    }

    /// What a write leaves behind that nobody was told of.
    fn cut(&self, batch: &Batch) {
        let len = batch.bytes().len();
        let mut state = self.medium.state();
        let (what, end, mask) = match state.below(4) {
            0 => (Happened::CrashWroteNothing, 0, u64::MAX),
            1 => (Happened::CrashWroteAll, len, u64::MAX),
            2 => (
                Happened::CrashCutAtByte,
                state.below(len as u64) as usize,
                u64::MAX,
            ),
            _ => (
                Happened::CrashLeftSectorsOut,
                len,
                state.below(u64::MAX) & !(1 << state.below(8)),
            ),
        };
        state.note(what);
        drop(state);
        self.store(batch, batch.offset(), |i| mask >> (i % 64) & 1 == 1, end);
    }

    fn complete(&mut self, batch: Batch) -> Result<Option<Batch>, DiskError> {
        let fault = self.medium.state().behaviour.next_write.take();
        let failed = |this: &Self, errno| {
            let path = this.dir.path().join(segment_name(batch.segment()));
            DiskError::io("write", &path)(io::Error::from_raw_os_error(errno))
        };
        let error = match fault {
            None => {
                self.store(&batch, batch.offset(), |_| true, batch.bytes().len());
                let mut state = self.medium.state();
                state.durable_seq = batch.last_seq().unwrap_or(state.durable_seq);
                state.note(Happened::Written);
                return Ok(Some(batch));
            }
            Some(WriteFault::Lost) => {
                self.medium.state().note(Happened::LostInSilence);
                return Ok(Some(batch));
            }
            Some(WriteFault::Misdirected) => {
                let blocks = (self.segment_bytes - batch.bytes().len() as u64) / BLOCK_LEN as u64;
                let block = self.medium.state().below(blocks + 1);
                let offset = block * BLOCK_LEN as u64;
                self.store(&batch, offset, |_| true, batch.bytes().len());
                self.medium.state().note(Happened::Misdirected);
                return Ok(Some(batch));
            }
            Some(WriteFault::Error) => {
                self.cut(&batch);
                failed(self, EIO)
            }
            Some(WriteFault::ReadOnly) => failed(self, EROFS),
            Some(WriteFault::Short) => {
                let len = batch.bytes().len();
                let wrote = self.medium.state().below(len as u64);
                self.store(&batch, batch.offset(), |_| true, wrote as usize);
                DiskError::ShortWrite {
                    segment: batch.segment(),
                    offset: batch.offset(),
                    wrote: wrote as u32,
                    len: len as u32,
                }
            }
        };
        let mut state = self.medium.state();
        state.has_failed = true;
        state.note(Happened::ErrorReported);
        Err(error)
    }
}

const EIO: i32 = 5;
const EROFS: i32 = 30;

impl Drop for FaultDisk {
    /// The power goes.
    fn drop(&mut self) {
        if let Some((batch, _)) = self.in_flight.take() {
            self.cut(&batch);
        }
    }
}

impl Disk for FaultDisk {
    fn begin(
        &mut self,
        end: &End,
        segment_bytes: u64,
        _buffers: [&[u8]; 3],
    ) -> Result<(), DiskError> {
        self.dir.mend(end, segment_bytes)?;
        self.medium.state().durable_seq = end.next_seq - 1;
        self.segment_bytes = segment_bytes;
        self.ready = self.dir.last_segment()?;
        self.prepare(end.segment)
    }

    fn prepare(&mut self, segment: u32) -> Result<(), DiskError> {
        self.has_no_space = false;
        while self.ready < segment {
            if self.medium.state().behaviour.is_full && self.ready > 0 {
                self.has_no_space = true;
                self.medium.state().note(Happened::NoSpaceForSegment);
                return Ok(());
            }
            create_segment(&self.dir, self.ready + 1, self.segment_bytes)?;
            self.ready += 1;
            self.medium.state().note(Happened::SegmentMade);
        }
        Ok(())
    }

    fn has_no_space(&self) -> bool {
        self.has_no_space
    }

    fn ready(&self) -> u32 {
        self.ready
    }

    fn submit(&mut self, batch: Batch) -> Result<(), DiskError> {
        assert!(self.in_flight.is_none(), "one write at a time");
        let mut state = self.medium.state();
        let max = state.behaviour.delay_max_ns;
        let due = state.now_ns + state.below(max.saturating_add(1).max(1));
        drop(state);
        self.in_flight = Some((batch, due));
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Batch>, DiskError> {
        let now = self.medium.state().now_ns;
        match self.in_flight.take() {
            Some((batch, due)) if due <= now => self.complete(batch),
            waits => {
                self.in_flight = waits;
                Ok(None)
            }
        }
    }

    fn wait(&mut self) -> Result<Option<Batch>, DiskError> {
        if let Some((_, due)) = &self.in_flight {
            self.medium.advance_to(*due);
        }
        self.poll()
    }
}
