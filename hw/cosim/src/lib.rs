//! The RTL of `hw/rtl` beside the `firmware` crate.
//!
//! | Module | What |
//! |---|---|
//! | [`map`] | registers, and the constants that both share, as SystemVerilog and as a table |
//! | [`rows`] | what the host writes into the tables, made from what the firmware's gate is given |
//! | [`twin`] | the receive path put together from the firmware crate: what the RTL is held against |
//! | `dut` | the RTL as a C++ model; only with the feature `verilator` |
//! | [`frames`] | frames to try both with |
//! | `lockstep` | both fed with the same frames; only with the feature `verilator` |
//!
//! `campaign` makes many runs of `lockstep`.
//!
//! What may never enter: a second opinion. Each judgement of [`twin`] is one of the firmware crate.
#![deny(unsafe_code)]

#[cfg(feature = "verilator")]
pub mod campaign;
#[cfg(feature = "verilator")]
pub mod dut;
pub mod frames;
#[cfg(feature = "verilator")]
pub mod lockstep;
pub mod map;
pub mod prng;
pub mod rows;
pub mod twin;
