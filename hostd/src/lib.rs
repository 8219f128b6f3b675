//! The daemon: composes the other crates, and holds the hot path's only sockets, files, clocks and
//! threads.
//!
//! Start at [`topology`]: the whole machine on a page. [`core`] is everything that is a function of the
//! journal; [`gateway`] and [`engine`] drive it with packets, [`recover`] with what the journal holds.

pub mod admin;
mod boot;
pub mod capacity;
pub mod clock;
pub mod config;
pub mod control;
pub mod core;
pub mod data_dir;
pub mod disk;
pub mod doctor;
pub mod echo;
pub mod egress;
pub mod engine;
pub mod feed;
pub mod gateway;
pub mod hot;
pub mod ipv4_net;
pub mod journal_cmd;
pub mod journal_tile;
pub mod lanes;
pub mod log;
pub mod logins;
pub mod logs;
pub mod member_set;
pub mod memory;
pub mod meters;
pub mod nic;
pub mod operator;
pub mod oracle_desk;
pub mod outlet;
pub mod pinned;
pub mod recover;
pub mod replay;
pub mod replication;
pub mod sessions;
pub mod snapshot;
pub mod spool;
pub mod status;
pub mod tile;
pub mod topology;
pub mod wheel;
pub mod wiring;
