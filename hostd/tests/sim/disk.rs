//! The simulated disk: real segment files, but what was submitted is on them only when its time has come.
//!
//! A crash finds the write in flight not begun, whole, or with any of its sectors missing. A write that fails leaves
//! the same behind, and fails for good.

use crate::tally::Tally;
use firmware::units::TimeNs;
use hostd::nic::sim::Rng;
use journal::{Batch, Disk, DiskError, End, JournalDir, create_segment, segment_name};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// Sectors are written whole or not at all.
const SECTOR: usize = 512;

/// How the disk behaves; the simulation changes it while it runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DiskFaults {
    /// A write takes up to this, ns.
    pub(crate) delay_max_ns: u64,
    /// The next write fails.
    pub(crate) fails: bool,
    /// There is no space for another segment.
    pub(crate) is_full: bool,
}

/// What is true of the disk, whatever the box believes.
#[derive(Debug, Default)]
pub(crate) struct Medium {
    pub(crate) faults: DiskFaults,
    /// Last record of the last write that was done.
    pub(crate) durable: u64,
    /// A write has failed since the start.
    pub(crate) has_failed: bool,
}

pub(crate) struct SimDisk {
    dir: JournalDir,
    medium: Rc<RefCell<Medium>>,
    clock: Rc<Cell<TimeNs>>,
    rng: Rng,
    segment_bytes: u64,
    ready: u32,
    has_no_space: bool,
    in_flight: Option<(Batch, TimeNs)>,
    tally: Tally,
}

impl SimDisk {
    pub(crate) fn new(
        dir: JournalDir,
        medium: Rc<RefCell<Medium>>,
        clock: Rc<Cell<TimeNs>>,
        seed: u64,
        tally: &Tally,
    ) -> Self {
        medium.borrow_mut().has_failed = false;
        Self {
            dir,
            medium,
            clock,
            rng: Rng(seed),
            segment_bytes: 0,
            ready: 0,
            has_no_space: false,
            in_flight: None,
            tally: tally.clone(),
        }
    }

    fn write(&self, batch: &Batch, keep: impl Fn(usize) -> bool) {
        let path = self.dir.path().join(segment_name(batch.segment()));
        let file = File::options().write(true).open(path).unwrap();
        for (i, sector) in batch.bytes().chunks(SECTOR).enumerate() {
            if keep(i) {
                let at = batch.offset() + (i * SECTOR) as u64;
                file.write_all_at(sector, at).unwrap();
            }
        }
    }

    /// What a write leaves behind that nobody was told of.
    fn cut(&mut self, batch: &Batch) {
        let sectors = batch.bytes().len().div_ceil(SECTOR);
        match self.rng.below(4) {
            0 => self.tally.count("write in flight: lost"),
            1 => {
                self.tally.count("write in flight: whole");
                self.write(batch, |_| true);
            }
            2 => {
                self.tally.count("write in flight: cut");
                let end = self.rng.below(sectors as u64) as usize;
                self.write(batch, |i| i < end);
            }
            _ => {
                self.tally.count("write in flight: sectors missing");
                let kept: Vec<bool> = (0..sectors).map(|_| self.rng.percent(50)).collect();
                self.write(batch, |i| kept[i]);
            }
        }
    }
}

impl Drop for SimDisk {
    /// The power goes.
    fn drop(&mut self) {
        // A run that has failed leaves nothing to look at.
        if let Some((batch, _)) = self.in_flight.take()
            && !std::thread::panicking()
        {
            self.cut(&batch);
        }
    }
}

impl Disk for SimDisk {
    fn begin(
        &mut self,
        end: &End,
        segment_bytes: u64,
        _buffers: [&[u8]; 3],
    ) -> Result<(), DiskError> {
        self.dir.mend(end, segment_bytes)?;
        self.segment_bytes = segment_bytes;
        self.ready = self.dir.last_segment()?;
        while self.ready < end.segment {
            create_segment(&self.dir, self.ready + 1, segment_bytes)?;
            self.ready += 1;
        }
        Ok(())
    }

    fn prepare(&mut self, segment: u32) -> Result<(), DiskError> {
        self.has_no_space = false;
        while self.ready < segment {
            if self.medium.borrow().faults.is_full {
                self.has_no_space = true;
                self.tally.count("no space for a segment");
                return Ok(());
            }
            create_segment(&self.dir, self.ready + 1, self.segment_bytes)?;
            self.ready += 1;
            self.tally.count("segment made");
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
        let max = self.medium.borrow().faults.delay_max_ns;
        let delay = self.rng.below(max + 1);
        self.in_flight = Some((batch, TimeNs(self.clock.get().0 + delay)));
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Batch>, DiskError> {
        if (self.in_flight.as_ref()).is_none_or(|(_, due)| *due > self.clock.get()) {
            return Ok(None);
        }
        let (batch, _) = self.in_flight.take().expect("just looked");
        if self.medium.borrow().faults.fails {
            self.cut(&batch);
            self.medium.borrow_mut().has_failed = true;
            self.tally.count("disk error");
            let source = std::io::Error::from_raw_os_error(libc::EIO);
            return Err(DiskError::io("write", self.dir.path())(source));
        }
        self.write(&batch, |_| true);
        let mut medium = self.medium.borrow_mut();
        medium.durable = batch.last_seq().unwrap_or(medium.durable);
        drop(medium);
        Ok(Some(batch))
    }

    fn wait(&mut self) -> Result<Option<Batch>, DiskError> {
        unreachable!("a box that is driven step by step never sleeps")
    }
}
