//! The matcher: a pure state machine from sequenced records to outcomes.
//!
//! It promises: the same journal in, the same bytes out, on every platform.
//! What may never enter: I/O, a clock, a thread, a random source, a float, an unordered map.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod accounts;
pub mod batch;
pub mod book;
pub mod engine;
pub mod instrument;
mod margin;
pub mod memory;
pub mod oracle;
pub mod outbox;
pub mod planted;
pub mod pricing;
pub mod reference;
pub mod risk_table;
pub mod sequencer;
mod settlement;
pub mod snapshot;
pub mod table;
pub mod volatility;
