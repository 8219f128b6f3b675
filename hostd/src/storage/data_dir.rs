//! Where the parts of a venue's data are.

use std::path::{Path, PathBuf};

/// A venue's data directory.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// The directory at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Directory of the journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Directory of the sealed batches.
    #[must_use]
    pub fn batches(&self) -> PathBuf {
        self.0.join("batches")
    }

    /// Directory of the feed's store.
    #[must_use]
    pub fn feed(&self) -> PathBuf {
        self.0.join("feed")
    }

    /// Directory of the reports of the day.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    /// Directory of the snapshots.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }
}
