//! Replication: the journal's writes go to other boxes as they stand on disk, and one of these takes over when this
//! one is gone. `hostd/REPLICATION.md` tells the whole of it.
//!
//! ```text
//!  primary                                                      standby
//!   journal ──► disk                                             link ──► checks ──► its journal, fsync ──► its engine
//!      │ tee      │ on disk                                        ▲                      │
//!      └──► replication thread ───────── pieces, epoch ────────────┘                      │
//!                 │       ◄───────────── acknowledged up to ──────────────────────────────┘
//!                 └──► released: what may leave the box
//! ```
//!
//! What it promises: in durability mode `replicated` nothing leaves before as many standbys as the quorum asks for
//! have it on disk; a standby's journal is the primary's, byte for byte; a box that was led past by a higher epoch
//! acknowledges nothing and says whose lead it met.
//!
//! What may never enter: a wait of the journal's stage. It copies each write into a buffer that is there already, and
//! where none is free the replication thread reads the journal instead.

pub mod config;
pub mod control;
pub(crate) mod etcd;
mod leadership;
pub(crate) mod link;
mod peer;
pub mod primary;
pub(crate) mod promotion;
pub mod quorum;
pub mod standby;
pub mod status;
pub mod tee;
pub mod term;
pub mod wire;

pub use config::{ReplicationSection, Wait};
pub use status::ReplicationStatus;
pub use tee::Tee;

/// Every report waits for the threads of the replication: like a hot tile they go before others on a shared core, where
/// the system allows it.
fn go_first() {
    if let Err(e) = rustix::process::nice(-15) {
        crate::machine::log::event("no_priority", &[("reason", &e)]);
    }
}
