//! The L1 side: the settlement contracts, a client for them, and a development chain to run them on.
//!
//! - `contracts/` is the Solidity; `artifacts/` is what the pinned compiler makes of it, and what is deployed from
//!   here.
//! - [`client`] speaks to a node: deploys, deposits, commits batches, claims, watches.
//! - [`devnet`] is an embedded node for tests, demos and development.
//! - [`render_verifier`] makes the verifier contract from a verifying key.
//!
//! What may never enter: arkworks (a proof is eight words here), the matcher, and any decision about what a batch
//! contains.

mod contracts;
pub mod devnet;
mod error;
mod verifier;

pub use alloy::primitives::{Address, B256, Bytes, U256};
pub use error::L1Error;
pub use verifier::{R, VerifyingKeyWords, render_verifier};
