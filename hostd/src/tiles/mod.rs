//! The threads of the box: what each stage does, the lanes between them, and how a thread turns and sleeps.
//! [`topology`] shows the whole machine on a page.

pub(crate) mod boot;
pub mod control;
pub mod core;
pub mod egress;
pub mod engine;
pub mod gateway;
pub mod hot;
pub mod journal_tile;
pub mod lanes;
pub mod logins;
pub mod meters;
pub mod oracle_desk;
pub mod outlet;
pub mod pinned;
pub mod sessions;
pub mod spool;
pub mod tile;
pub mod topology;
pub mod wheel;
pub mod wiring;
