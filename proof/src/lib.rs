//! Proof of a batch: the net of a run of the journal moves the state root as it must.
//!
//! A sealed batch becomes a witness against the prover's own [`State`], the witness becomes a
//! Groth16 proof of 256 bytes, and the contract checks it against words that it derives itself.
//! `STATEMENT.md` says what is proven, why the argument is sound, and what is not proven.
//!
//! ```text
//! SealedBatch --State::apply--> BatchWitness --Prover::prove--> BatchProof --contract-->  new root
//!    nothing believed              S1..S8 natively,                words, (c, z, y), proof
//!    but the fills                 then as constraints
//! ```
//!
//! It promises: a proof is made only of a witness that satisfies the statement natively and in the
//! circuit; the same batch gives the same words on every machine; the state advances only by batches
//! that add up. What may never enter: a clock, a socket, matching, an unordered map, or a key that
//! pretends to be secure.
#![forbid(unsafe_code)]

mod circuit;
mod exit;
mod field;
mod gadget;
mod groth16;
pub mod keys;
mod native;
mod poseidon;
mod prover;
mod state;
mod statement;
mod witness;

#[cfg(test)]
mod tests;

pub use exit::{ExitState, Opening, StateFileError};
pub use field::Word;
pub use groth16::{Progress, ProofError, VerifyingKeyEvm};
pub use keys::KeyError;
pub use native::{Group, Violation};
pub use prover::{BatchProof, ProveError, Prover, VerifyError};
pub use state::State;
pub use statement::{ChainContext, PublicInputs, TIER_NAME, WORDS};
pub use witness::{BatchWitness, WitnessError};
