//! The core that every other part shares: units, limits, wire formats, session rules,
//! tags, reject codes and the gate.
//!
//! It promises: the same bytes mean the same thing on a host, in the NIC image and in the RTL.
//! What may never enter: `std`, an allocator, a clock, a float, an unordered map,
//! or any dependency beyond `bytemuck` and `heapless`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod gate;
pub mod limits;
pub mod nic_gate;
pub mod rate;
pub mod reject;
pub mod session;
pub mod tag;
pub mod units;
pub mod wire;
