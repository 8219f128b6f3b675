//! Atomics by another door: the standard library's, or loom's under `--cfg loom`, whose models run every
//! interleaving that the memory model allows (`cargo ci loom`).

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
