//! The daemon: composes the other crates, and holds the hot path's only sockets, files, clocks and
//! threads.
//!
//! Start at [`tiles::topology`]: the whole machine on a page. [`tiles::core`] is everything that is a function of the
//! journal; [`tiles::gateway`] and [`tiles::engine`] drive it with packets, [`storage::recover`] with what the journal
//! holds.

pub mod capacity;
pub mod config;
pub mod feed;
pub mod machine;
pub mod member_set;
pub mod nic;
pub mod ops;
pub mod replication;
pub mod storage;
pub mod tiles;
