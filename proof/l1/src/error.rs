//! Everything that can go wrong between this process and the chain.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256, Bytes, U256};
use thiserror::Error;

/// An error at the L1 edge. Its text says what was wanted and what stood in the way.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum L1Error {
    /// The node's address is not one that this client can use.
    #[error("{url:?} is no node address: {reason}")]
    BadUrl {
        /// What was given.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The signing key is malformed. The key itself is not repeated.
    #[error("the L1 signing key is not 32 bytes of hex, or not on the curve")]
    BadSigner,
    /// The node cannot be reached or does not answer in time.
    #[error("no answer from the node at {url}: {reason}")]
    NoAnswer {
        /// The node.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// The node answered with an error that is none of the contract's.
    #[error("the node refused {what}: {reason}")]
    Refused {
        /// What was asked.
        what: String,
        /// The node's words.
        reason: String,
    },
    /// A contract reverted.
    #[error("{what} reverted: {reason}")]
    Reverted {
        /// What was asked.
        what: String,
        /// The contract's error in words.
        reason: String,
        /// The contract's error as it came.
        data: Bytes,
    },
    /// The transaction was not mined in time; it may still be.
    #[error("{what}: transaction {tx} is not mined after {seconds} s; it may still be")]
    NotMined {
        /// What was asked.
        what: String,
        /// Its hash.
        tx: B256,
        /// How long was waited.
        seconds: u64,
    },
    /// The transaction was only tried, as asked.
    #[error("{what} would pass with at most {gas} gas; nothing was sent")]
    DryRun {
        /// What was asked.
        what: String,
        /// The limit that it would be sent with.
        gas: u64,
    },
    /// The node serves another chain than the one the contracts are on.
    #[error("the node serves chain {got}, the deployment is on chain {wanted}")]
    WrongChain {
        /// Of the deployment record.
        wanted: u64,
        /// Of the node.
        got: u64,
    },
    /// A development key would guard what is not a development chain.
    #[error(
        "the verifying key is INSECURE (a development key) and chain {chain_id} is no development chain"
    )]
    InsecureKey {
        /// Of the node.
        chain_id: u64,
    },
    /// What stands at the address is not what the deployment record says.
    #[error("the deployment record does not fit the chain: {0}")]
    WrongDeployment(String),
    /// Batches are committed by the operator alone.
    #[error(
        "batch {batch_no} cannot be committed: {signer} signs here, and {operator} is the contract's operator"
    )]
    NotOperator {
        /// The batch.
        batch_no: u64,
        /// The address that signs here.
        signer: Address,
        /// The address that the contract listens to.
        operator: Address,
    },
    /// A batch was given before the one that comes next.
    #[error("batch {given} cannot be committed: batch {next} is next")]
    OutOfOrder {
        /// What the contract waits for.
        next: u64,
        /// What was given.
        given: u64,
    },
    /// The contract holds another batch under this number. Somebody else settles, or the state here was lost.
    #[error("batch {batch_no} is already committed with root {committed:#x}, not {given:#x}")]
    DifferentBatch {
        /// Its number.
        batch_no: u64,
        /// The root on chain.
        committed: U256,
        /// The root given.
        given: U256,
    },
    /// The chain says two things that cannot both hold, as after a deep reorganisation.
    #[error("the chain contradicts itself: {0}")]
    Inconsistent(String),
    /// A verifying key that no contract may be made from.
    #[error("the verifying key is refused: {0}")]
    BadKey(String),
    /// A file cannot be read, written or understood.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A port cannot be had.
    #[error("port {port} on 127.0.0.1 cannot be had: {reason}")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        reason: String,
    },
}

impl L1Error {
    pub(crate) fn file(path: &Path, reason: &dyn Display) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
