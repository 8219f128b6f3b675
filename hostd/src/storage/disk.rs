//! The journal's disk: direct, durable writes through io_uring.
//!
//! ```text
//! journal tile                       maker thread (sleeps nearly always)
//!   submit --> io_uring --> disk       writes zeros, fsync, rename, fsync of the directory
//!   poll   <-- completion              <-- ask: segment n    --> made: its open file
//! ```
//!
//! A write is `O_DIRECT` with `RWF_DSYNC` out of a registered buffer into a segment already full of
//! zeros. Each of these pays: a buffered write can lose its error (a second fsync reports success), a
//! write into reserved space costs twice as much, and larger batches are nearly free, so one write is in
//! flight and the next takes all that arrived meanwhile.
//!
//! A tile that does more than the journal [writes in place](UringDisk::write_in_place): with a plain call that returns
//! when the write is durable. The flush then goes on in that thread, and not in workers of the kernel that wait for a
//! time slice of whatever spins on the core where the disk's interrupt arrives.
//!
//! Any failed or short write is final. There is no retry: see [`journal::Disk`].

use crate::machine::log;
use io_uring::{IoUring, opcode, squeue, types};
use journal::{Batch, Disk, DiskError, End, JournalDir, create_segment, segment_name};
use lane::{Consumer, Parker, Producer, Waker, bounded};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::fmt;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// What "durable" means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// On the medium: every write carries its own flush.
    #[default]
    Fsync,
    /// Handed to the kernel, which writes it when it likes: it outlives the process, not the machine. Say so in
    /// every report.
    Relaxed,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fsync => "fsync",
            Self::Relaxed => "RELAXED (a power loss loses records that were reported durable)",
        })
    }
}

/// Segments made and not begun that are kept open. The writer asks for two ahead of the current one.
const OPEN_AHEAD: usize = 4;
/// How long the maker waits before it looks for space again.
const SPACE_RETRY: Duration = Duration::from_secs(1);
/// Slot of the current segment in the ring's file table.
const FILE_SLOT: u32 = 0;

/// A [`Disk`] over one directory.
pub struct UringDisk {
    dir: Arc<JournalDir>,
    durability: Durability,
    is_direct: bool,
    is_registered: bool,
    /// A ring belongs to the thread that enables it, which is the tile and not the one that opens it.
    is_enabled: bool,
    ring: IoUring,
    /// Segments that can be written and are not begun, by number.
    ahead: [Option<Segment>; OPEN_AHEAD],
    current: Option<Segment>,
    ready: u32,
    asked: u32,
    has_no_space: bool,
    tile: Option<Waker>,
    retention: Option<Retention>,
    maker: Option<Maker>,
    in_flight: Option<Batch>,
    /// The caller of `submit` writes, and waits.
    is_in_place: bool,
}

/// Which closed segments move to the archive; see [`journal::archive`].
pub struct Retention {
    /// So many of the last closed ones stay.
    pub keep: u32,
    /// Number of the first record that a start needs here; asked each time a segment was made, on the maker's
    /// thread.
    pub needed_from: Box<dyn FnMut() -> u64 + Send>,
}

struct Segment {
    number: u32,
    file: OwnedFd,
}

impl UringDisk {
    /// A disk over `dir`. Completed writes and segments wake the tile that sleeps on `tile`, besides being
    /// found by [`Disk::poll`].
    ///
    /// # Errors
    /// If the kernel gives no ring (io_uring may be switched off by sysctl or a container's policy), or
    /// the directory cannot be written.
    pub fn open(
        dir: JournalDir,
        durability: Durability,
        tile: Option<&Parker>,
    ) -> Result<Self, DiskError> {
        let failed = |op| DiskError::io(op, dir.path());
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_r_disabled()
            .build(4)
            .map_err(failed("io_uring_setup"))?;
        let submitter = ring.submitter();
        submitter
            .register_files_sparse(1)
            .map_err(failed("register files"))?;
        if let Some(tile) = tile {
            let event = tile.as_fd().as_raw_fd();
            submitter
                .register_eventfd(event)
                .map_err(failed("register eventfd"))?;
        }
        // Without a wait for the disk the page cache is the nearer place.
        let is_direct = durability == Durability::Fsync && takes_direct(dir.path())?;
        Ok(Self {
            dir: Arc::new(dir),
            durability,
            is_direct,
            is_registered: false,
            is_enabled: false,
            ring,
            ahead: [const { None }; OPEN_AHEAD],
            current: None,
            ready: 0,
            asked: 0,
            has_no_space: false,
            tile: tile.map(Parker::waker),
            retention: None,
            maker: None,
            in_flight: None,
            is_in_place: false,
        })
    }

    /// From now on the thread that submits a write makes it, and waits for it. Called before the journal begins.
    pub fn write_in_place(&mut self) {
        self.is_in_place = true;
    }

    /// Moves closed segments to the archive, in the background, from now on. Called before the journal begins.
    pub fn archive_closed(&mut self, retention: Retention) {
        self.retention = Some(retention);
    }

    /// How writes are made, for the boot log.
    #[must_use]
    pub fn describe(&self) -> String {
        let path = self.dir.path().display();
        let way = match (self.is_direct, self.durability) {
            (true, _) => "direct",
            (false, Durability::Fsync) => "buffered (O_DIRECT refused by the file system)",
            (false, Durability::Relaxed) => "buffered",
        };
        let buffers = if self.is_registered {
            "registered"
        } else {
            "unregistered (memlock limit)"
        };
        format!(
            "journal {path}: {}, {way} writes, {buffers} buffers",
            self.durability
        )
    }

    fn path_of(&self, segment: u32) -> PathBuf {
        self.dir.path().join(segment_name(segment))
    }

    fn enable(&mut self) -> Result<(), DiskError> {
        if !self.is_enabled {
            let enabled = self.ring.submitter().register_enable_rings();
            enabled.map_err(DiskError::io("enable ring", self.dir.path()))?;
            self.is_enabled = true;
        }
        Ok(())
    }

    /// Makes `segment` the one that the ring's file slot names.
    fn turn_to(&mut self, segment: u32) -> Result<(), DiskError> {
        if self.current.as_ref().is_some_and(|s| s.number == segment) {
            return Ok(());
        }
        let found = self
            .ahead
            .iter_mut()
            .find(|s| s.as_ref().is_some_and(|s| s.number == segment));
        let next = found
            .and_then(Option::take)
            .expect("the writer asks only for segments that are ready");
        if !self.is_in_place {
            let update = self
                .ring
                .submitter()
                .register_files_update(FILE_SLOT, &[next.file.as_raw_fd()]);
            update.map_err(|e| DiskError::io("register file", &self.path_of(segment))(e))?;
        }
        self.current = Some(next);
        Ok(())
    }

    fn keep(&mut self, segment: Segment) {
        self.ready = self.ready.max(segment.number);
        let room = self.ahead.iter_mut().find(|s| s.is_none());
        *room.expect("no more segments are asked for than are kept open") = Some(segment);
    }

    /// Writes `batch`; durable when it returns.
    fn write(&self, batch: &Batch) -> Result<(), DiskError> {
        let current = self.current.as_ref().expect("the segment was turned to");
        let bytes = [IoSlice::new(batch.bytes())];
        let flags = match self.durability {
            Durability::Fsync => ReadWriteFlags::DSYNC,
            Durability::Relaxed => ReadWriteFlags::empty(),
        };
        let wrote = rustix::io::retry_on_intr(|| {
            rustix::io::pwritev2(&current.file, &bytes, batch.offset(), flags)
        });
        self.judge(batch, wrote.map_err(std::io::Error::from))
    }

    /// Whether so many bytes written are all of `batch`.
    fn judge(&self, batch: &Batch, wrote: std::io::Result<usize>) -> Result<(), DiskError> {
        let (segment, offset, len) = (batch.segment(), batch.offset(), batch.bytes().len() as u32);
        match wrote {
            Err(source) => Err(DiskError::Io {
                op: "write",
                path: self.path_of(segment),
                source,
            }),
            Ok(wrote) if wrote as u32 != len => Err(DiskError::ShortWrite {
                segment,
                offset,
                wrote: wrote as u32,
                len,
            }),
            Ok(_) => Ok(()),
        }
    }

    /// The completion of the write in flight, if it is there.
    fn complete(&mut self) -> Result<Option<Batch>, DiskError> {
        if self.is_in_place {
            return Ok(self.in_flight.take());
        }
        let Some(completion) = self.ring.completion().next() else {
            return Ok(None);
        };
        let batch = self
            .in_flight
            .take()
            .expect("a completion answers the write in flight");
        let wrote = match completion.result() {
            failed if failed < 0 => Err(std::io::Error::from_raw_os_error(-failed)),
            wrote => Ok(wrote as usize),
        };
        self.judge(&batch, wrote).map(|()| Some(batch))
    }

    fn entry(&self, batch: &Batch) -> squeue::Entry {
        let (bytes, fd) = (batch.bytes(), types::Fixed(FILE_SLOT));
        let (at, len) = (bytes.as_ptr(), bytes.len() as u32);
        let flags = match self.durability {
            Durability::Fsync => libc::RWF_DSYNC,
            Durability::Relaxed => 0,
        };
        if self.is_registered {
            opcode::WriteFixed::new(fd, at, len, batch.buffer() as u16)
                .offset(batch.offset())
                .rw_flags(flags)
                .build()
        } else {
            opcode::Write::new(fd, at, len)
                .offset(batch.offset())
                .rw_flags(flags)
                .build()
        }
    }
}

impl Disk for UringDisk {
    fn begin(
        &mut self,
        end: &End,
        segment_bytes: u64,
        buffers: [&[u8]; 3],
    ) -> Result<(), DiskError> {
        self.dir.mend(end, segment_bytes)?;
        if self.dir.last_segment()? < end.segment {
            create_segment(&self.dir, end.segment, segment_bytes)?;
        }
        for number in end.segment
            ..=self
                .dir
                .last_segment()?
                .min(end.segment + OPEN_AHEAD as u32 - 1)
        {
            let file = open_segment(self.dir.path(), number, self.is_direct)?;
            self.keep(Segment { number, file });
        }
        self.asked = self.ready;
        let iovecs = buffers.map(|b| libc::iovec {
            iov_base: b.as_ptr() as *mut _,
            iov_len: b.len(),
        });
        // SAFETY: the kernel only reads from these buffers, and it pins their pages, so even one that was
        // freed could spoil nothing but its own write. All writes come from batches, which own them.
        self.is_registered = unsafe { self.ring.submitter().register_buffers(&iovecs) }.is_ok();
        let (dir, tile) = (Arc::clone(&self.dir), self.tile.clone());
        let retention = self.retention.take();
        self.maker = Some(Maker::start(
            dir,
            segment_bytes,
            self.is_direct,
            retention,
            tile,
        )?);
        Ok(())
    }

    fn prepare(&mut self, segment: u32) -> Result<(), DiskError> {
        let Some(maker) = &mut self.maker else {
            return Err(DiskError::Stopped);
        };
        while self.asked < segment && maker.ask.push(self.asked + 1).is_ok() {
            self.asked += 1;
            maker.waker.wake();
        }
        match maker.made.pop() {
            None => {}
            Some(Made::Segment(segment)) => {
                self.has_no_space = false;
                self.keep(segment);
            }
            Some(Made::NoSpace) => self.has_no_space = true,
            Some(Made::Failed(error)) => return Err(error),
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
        if self.is_in_place {
            self.turn_to(batch.segment())?;
            self.write(&batch)?;
            self.in_flight = Some(batch);
            return Ok(());
        }
        self.enable()?;
        self.turn_to(batch.segment())?;
        let entry = self.entry(&batch);
        let path = self.dir.path();
        // SAFETY: the batch owns the bytes and stays in `in_flight` until its completion was seen.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the queue has room for the only write");
        self.in_flight = Some(batch);
        let submitted = self
            .ring
            .submit()
            .map_err(DiskError::io("submit write", path))?;
        assert_eq!(submitted, 1, "the kernel takes an entry or says why not");
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Batch>, DiskError> {
        // The flag says that a completion waits for us to fetch it; without it no call is needed.
        if !self.is_in_place && self.ring.submission().taskrun() {
            retry_interrupted(|| self.ring.submit())
                .map_err(DiskError::io("wait for write", self.dir.path()))?;
        }
        self.complete()
    }

    fn wait(&mut self) -> Result<Option<Batch>, DiskError> {
        if self.in_flight.is_some() && !self.is_in_place {
            retry_interrupted(|| self.ring.submit_and_wait(1))
                .map_err(DiskError::io("wait for write", self.dir.path()))?;
        }
        self.complete()
    }
}

impl Drop for UringDisk {
    fn drop(&mut self) {
        if self.in_flight.is_some()
            && !self.is_in_place
            && retry_interrupted(|| self.ring.submit_and_wait(1)).is_err()
        {
            // The kernel may still read the buffer: leak it.
            std::mem::forget(self.in_flight.take());
        }
    }
}

fn retry_interrupted(mut call: impl FnMut() -> std::io::Result<usize>) -> std::io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn open_segment(dir: &Path, number: u32, is_direct: bool) -> Result<OwnedFd, DiskError> {
    let path = dir.join(segment_name(number));
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let flags = if is_direct {
        flags | OFlags::DIRECT
    } else {
        flags
    };
    rustix::fs::open(&path, flags, Mode::empty())
        .map_err(|e| DiskError::io("open", &path)(e.into()))
}

/// Whether the file system of `dir` takes direct writes of whole blocks.
fn takes_direct(dir: &Path) -> Result<bool, DiskError> {
    let path = dir.join("direct.probe");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let failed = |op| {
        let path = path.clone();
        move |e: Errno| DiskError::io(op, &path)(e.into())
    };
    let block: Box<journal::Block> = Box::new(bytemuck::Zeroable::zeroed());
    let takes = match rustix::fs::open(&path, flags | OFlags::DIRECT, Mode::RUSR | Mode::WUSR) {
        Ok(file) => match rustix::io::pwrite(&file, &block.0, 0) {
            Ok(_) => true,
            Err(Errno::INVAL) => false,
            Err(e) => return Err(failed("write directly")(e)),
        },
        Err(Errno::INVAL) => false,
        Err(e) => return Err(failed("open")(e)),
    };
    match rustix::fs::unlink(&path) {
        Ok(()) | Err(Errno::NOENT) => Ok(takes),
        Err(e) => Err(failed("remove")(e)),
    }
}

enum Made {
    Segment(Segment),
    NoSpace,
    Failed(DiskError),
}

/// The thread that makes segments ahead of need, so that the tile never waits for megabytes of zeros.
struct Maker {
    ask: Producer<u32>,
    made: Consumer<Made>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Maker {
    fn start(
        dir: Arc<JournalDir>,
        segment_bytes: u64,
        is_direct: bool,
        retention: Option<Retention>,
        tile: Option<Waker>,
    ) -> Result<Self, DiskError> {
        let (ask, asked) = bounded(OPEN_AHEAD);
        // News of no space is told once per segment, so this never fills.
        let (tell, made) = bounded(4 * OPEN_AHEAD);
        let parker = Parker::new().map_err(DiskError::io("eventfd", dir.path()))?;
        let waker = parker.waker();
        let failed = DiskError::io("start thread", dir.path());
        let work = MakerWork {
            dir,
            segment_bytes,
            is_direct,
            retention,
            asked,
            tell,
            parker,
            tile,
        };
        let thread = std::thread::Builder::new()
            .name("segment-maker".into())
            .spawn(|| work.run());
        Ok(Self {
            ask,
            made,
            waker,
            thread: Some(thread.map_err(failed)?),
        })
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        // The thread ends when the lane it reads is gone; the fresh one takes its place here.
        self.ask = bounded(1).0;
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // It cannot panic but on a broken invariant, and then its message is out already.
            let _ = thread.join();
        }
    }
}

struct MakerWork {
    dir: Arc<JournalDir>,
    segment_bytes: u64,
    is_direct: bool,
    retention: Option<Retention>,
    asked: Consumer<u32>,
    tell: Producer<Made>,
    parker: Parker,
    tile: Option<Waker>,
}

impl MakerWork {
    fn run(mut self) {
        let mut told_of = 0;
        self.archive();
        while !self.asked.is_abandoned() {
            let Some(&number) = self.asked.peek() else {
                let asked = &self.asked;
                self.sleep(Duration::from_secs(3600), || {
                    asked.is_abandoned() || !asked.is_empty()
                });
                continue;
            };
            match self.make(number) {
                Ok(Some(file)) => {
                    self.say(Made::Segment(Segment { number, file }));
                    self.archive();
                }
                Err(e) => self.say(Made::Failed(e)),
                Ok(None) => {
                    if told_of != number {
                        told_of = number;
                        self.say(Made::NoSpace);
                    }
                    self.sleep(SPACE_RETRY, || self.asked.is_abandoned());
                    continue;
                }
            }
            self.asked.pop();
        }
    }

    /// A segment was closed not long ago. What cannot be moved stays, and is tried again with the next one.
    fn archive(&mut self) {
        let Some(retention) = &mut self.retention else {
            return;
        };
        let needed_from = (retention.needed_from)();
        match journal::archive(self.dir.path(), needed_from, retention.keep) {
            Ok(moved) => {
                if let (Some(first), Some(last)) = (moved.first(), moved.last()) {
                    log::event("journal_archived", &[("first", first), ("last", last)]);
                }
            }
            Err(error) => log::event("journal_not_archived", &[("reason", &error)]),
        }
    }

    fn sleep(&self, timeout: Duration, has_work: impl FnOnce() -> bool) {
        self.parker
            .park(timeout, has_work)
            .expect("poll(2) on an eventfd of our own");
    }

    /// Makes and opens a segment; None if there is no space.
    fn make(&self, number: u32) -> Result<Option<OwnedFd>, DiskError> {
        if !self.has_space()? {
            return Ok(None);
        }
        match create_segment(&self.dir, number, self.segment_bytes) {
            Ok(()) => open_segment(self.dir.path(), number, self.is_direct).map(Some),
            Err(e) if e.is_no_space() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Looked at first, so that a segment which cannot fit does not fill the disk for everyone else.
    fn has_space(&self) -> Result<bool, DiskError> {
        let stat = rustix::fs::statvfs(self.dir.path())
            .map_err(|e| DiskError::io("statvfs", self.dir.path())(e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize) > self.segment_bytes)
    }

    fn say(&mut self, made: Made) {
        assert!(
            self.tell.push(made).is_ok(),
            "at most two words per segment asked for"
        );
        if let Some(tile) = &self.tile {
            tile.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Durability, UringDisk};
    use journal::{Config, End, GroupCommit, JournalDir, Reader, Record};

    #[test]
    fn buffered_writes_are_the_same_journal() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut disk =
            UringDisk::open(JournalDir::open(dir).unwrap(), Durability::Fsync, None).unwrap();
        disk.is_direct = false;
        let config = Config {
            segment_bytes: 64 * 1024,
            batch_bytes: 16 * 1024,
            epoch: 1,
        };
        let mut journal = GroupCommit::resume(config, &End::genesis(), disk).unwrap();
        for seq in 1..=1000 {
            let body = [seq as u8; 100];
            journal
                .append(&Record {
                    seq,
                    time_ns: 0,
                    template: 1,
                    source: 2,
                    session: 3,
                    body: &body,
                })
                .unwrap();
            if seq % 37 == 0 {
                journal.flush().unwrap();
            }
        }
        journal.flush().unwrap();
        let mut reader = Reader::open(dir).unwrap();
        while let Some(view) = reader.next().unwrap() {
            assert_eq!(view.body[..100], [view.header.seq as u8; 100]);
        }
        assert_eq!(reader.next_seq(), 1001);
        assert_eq!(reader.chain(), journal.chain());
    }
}
