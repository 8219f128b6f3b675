//! Our book behind the C interface of the public referee of matching engines (the repository
//! `flash1-dev/matching-engine-benchmark`), so that anyone can check it byte for byte and rank it.
//!
//! `cargo build --release -p referee` makes the shared library that the referee loads
//! (`target/release/libreferee.so`). Matching is [`matcher::book::match_limit`] over
//! [`matcher::book::LadderBook`], unchanged. This crate adds what the interface asks for beyond it:
//!
//! - order ids of any value (`src/ids.rs`),
//! - prices anywhere in `i64`: a window of the book that follows the market, an ordered tier outside
//!   of it ([`engine`], `src/cold.rs`),
//! - quantities up to `u32::MAX` ([`engine`]),
//! - reports in the referee's form ([`abi`]), pushed into the referee's transport ([`exports`]).
//!
//! `cargo run --release -p referee --example replay -- FILE` plays a workload of the referee's generator
//! and prints the hash to compare with the published one, and what a message costs.
//!
//! What the interface leaves open is answered so: see [`Engine::new_order`]. Memory is taken by
//! `engine_init` alone. There is no `engine_prebuild`: our form of a message is the interface's own.
//!
//! No accounts, no journal, no clock in here: this measures and judges matching alone.

pub mod abi;
mod cold;
pub mod engine;
pub mod exports;
mod ids;

pub use engine::{Engine, Limits};
