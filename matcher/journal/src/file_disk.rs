//! The plainest disk: each write and its sync block. For tools and tests; `hostd` has its own.

use crate::commit::Disk;
use crate::dir::{JournalDir, create_segment, segment_name};
use crate::error::DiskError;
use crate::tail::End;
use crate::writer::Batch;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Blocking writes with fdatasync.
pub struct FileDisk {
    dir: JournalDir,
    segment_bytes: u64,
    ready: u32,
    has_no_space: bool,
    open: Option<(u32, File)>,
    done: Option<Batch>,
}

impl FileDisk {
    /// A disk over `dir`.
    #[must_use]
    pub fn new(dir: JournalDir) -> Self {
        Self {
            dir,
            segment_bytes: 0,
            ready: 0,
            has_no_space: false,
            open: None,
            done: None,
        }
    }
}

impl Disk for FileDisk {
    fn begin(
        &mut self,
        end: &End,
        segment_bytes: u64,
        _buffers: [&[u8]; 3],
    ) -> Result<(), DiskError> {
        self.dir.mend(end, segment_bytes)?;
        self.segment_bytes = segment_bytes;
        self.ready = self.dir.last_segment()?;
        self.prepare(end.segment)
    }

    fn prepare(&mut self, segment: u32) -> Result<(), DiskError> {
        self.has_no_space = false;
        while self.ready < segment && !self.has_no_space {
            match create_segment(&self.dir, self.ready + 1, self.segment_bytes) {
                Ok(()) => self.ready += 1,
                Err(e) if e.is_no_space() && self.ready > 0 => self.has_no_space = true,
                Err(e) => return Err(e),
            }
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
        let path = self.dir.path().join(segment_name(batch.segment()));
        let file = match self.open.take() {
            Some((segment, file)) if segment == batch.segment() => file,
            _ => File::options()
                .write(true)
                .open(&path)
                .map_err(DiskError::io("open", &path))?,
        };
        let write = file.write_all_at(batch.bytes(), batch.offset());
        write
            .and_then(|()| file.sync_data())
            .map_err(DiskError::io("write", &path))?;
        self.open = Some((batch.segment(), file));
        self.done = Some(batch);
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Batch>, DiskError> {
        Ok(self.done.take())
    }

    fn wait(&mut self) -> Result<Option<Batch>, DiskError> {
        self.poll()
    }
}
