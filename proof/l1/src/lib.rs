//! The L1 side: the settlement contracts, a client for them, and a development chain to run them on.
//!
//! - `contracts/` is the Solidity; `artifacts/` is what the pinned compiler makes of it (`node proof/l1/build.mjs`),
//!   and what is deployed from here.
//! - [`L1Client`] is a connection to a node with a signing key: it deploys, and opens a [`Settlement`].
//! - [`Settlement`] opens accounts, deposits, commits batches once, claims, and follows the deposit queue.
//! - [`devnet`] is an embedded node for tests, demos and development.
//! - [`render_verifier`] makes the verifier contract from a verifying key.
//!
//! What may never enter: arkworks (a proof is eight words here), the matcher, and any decision about what a batch
//! contains.

mod contracts;
mod deployment;
pub mod devnet;
mod error;
mod exit;
mod node;
mod settlement;
mod verifier;

pub use alloy::primitives::{Address, B256, Bytes, U256};
pub use deployment::{Deployment, Roles, Terms};
pub use error::L1Error;
pub use exit::{ExitTotals, LeafProof, Request, RequestKind, StateParts};
pub use node::{L1Client, is_dev_chain};
pub use settlement::{
    COMMIT_GAS, Committed, Deposit, DepositWatch, ProvenBatch, Settlement, Status, Withdrawal,
};
pub use verifier::{R, VerifyingKeyWords, render_verifier};
