//! A sliding view of one segment file.

use crate::dir::{ARCHIVE, segment_name};
use crate::error::JournalError;
use crate::format::{BATCH_BYTES_MAX, BLOCK_LEN, Block};
use bytemuck::Zeroable;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes held at a time: always room for a whole batch.
const WINDOW_BYTES: usize = 2 * BATCH_BYTES_MAX;

pub(crate) struct Window {
    path: PathBuf,
    /// None before a file is shown.
    file: Option<File>,
    blocks: Box<[Block]>,
    /// Offset of the first byte held; `u64::MAX` if none is.
    start: u64,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            path: PathBuf::new(),
            file: None,
            blocks: Box::default(),
            start: u64::MAX,
        }
    }

    /// Turns to `segment`. False, and unchanged, if there is no such file.
    pub(crate) fn show(&mut self, dir: &Path, segment: u32) -> Result<bool, JournalError> {
        let name = segment_name(segment);
        // In this order: a segment that is moved to the archive meanwhile is there then.
        let places = [dir.join(&name), dir.join(ARCHIVE).join(name)];
        let mut found = None;
        for path in places {
            match File::open(&path) {
                Ok(file) => {
                    found = Some((path, file));
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(JournalError::Io {
                        op: "open",
                        path,
                        source,
                    });
                }
            }
        }
        let Some((path, file)) = found else {
            return Ok(false);
        };
        let len = file.metadata().map_err(|source| JournalError::Io {
            op: "size",
            path: path.clone(),
            source,
        })?;
        (self.path, self.file) = (path, Some(file));
        self.grow(len.len().min(WINDOW_BYTES as u64) as usize);
        self.forget();
        Ok(true)
    }

    fn grow(&mut self, bytes: usize) {
        let blocks = bytes.div_ceil(BLOCK_LEN).max(1);
        if self.blocks.len() < blocks {
            self.blocks = vec![Block::zeroed(); blocks].into_boxed_slice();
            self.forget();
        }
    }

    /// Reads anew what is asked next: another process may have written since.
    pub(crate) fn forget(&mut self) {
        self.start = u64::MAX;
    }

    /// Bytes `offset..offset + len` of the file; zeros beyond its end. `offset` is a multiple of 8 and
    /// so is the address returned.
    pub(crate) fn at(&mut self, offset: u64, len: usize) -> Result<&[u8], JournalError> {
        let aligned = offset - offset % BLOCK_LEN as u64;
        let need = (offset - aligned) as usize + len;
        assert!(need <= WINDOW_BYTES, "a batch fits the window");
        self.grow(need);
        let held = (self.blocks.len() * BLOCK_LEN) as u64;
        if self.start == u64::MAX || offset < self.start || offset + len as u64 > self.start + held
        {
            self.fill(aligned)?;
        }
        let from = (offset - self.start) as usize;
        Ok(&bytemuck::cast_slice(&self.blocks)[from..from + len])
    }

    /// What [`at`](Self::at) returned and is still held.
    pub(crate) fn held(&self, offset: u64, len: usize) -> &[u8] {
        let from = (offset - self.start) as usize;
        &bytemuck::cast_slice(&self.blocks)[from..from + len]
    }

    pub(crate) fn file_len(&self) -> Result<u64, JournalError> {
        let file = self.file.as_ref().expect("a segment is shown");
        Ok(file.metadata().map_err(|e| self.failed("size", e))?.len())
    }

    fn fill(&mut self, start: u64) -> Result<(), JournalError> {
        self.start = u64::MAX;
        let Some(file) = &self.file else {
            bytemuck::fill_zeroes(&mut self.blocks[..]);
            self.start = start;
            return Ok(());
        };
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.blocks);
        let mut have = 0;
        while have < bytes.len() {
            match file.read_at(&mut bytes[have..], start + have as u64) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed("read", e)),
            }
        }
        bytes[have..].fill(0);
        self.start = start;
        Ok(())
    }

    fn failed(&self, op: &'static str, source: io::Error) -> JournalError {
        JournalError::Io {
            op,
            path: self.path.clone(),
            source,
        }
    }
}
