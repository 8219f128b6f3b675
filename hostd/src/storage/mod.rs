//! What is on disk: the journal and its disk, snapshots, and everything that reads them back.

pub mod data_dir;
pub mod disk;
pub mod journal_cmd;
pub mod recover;
pub mod replay;
pub mod snapshot;
