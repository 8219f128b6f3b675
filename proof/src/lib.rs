//! Proof of a batch: the net of a run of the journal moves the state root as it must.

mod field;
mod native;
mod poseidon;
mod state;
mod statement;
mod witness;

#[cfg(test)]
mod tests;

pub use field::Word;
pub use native::{Group, Violation};
pub use state::State;
pub use statement::{ChainContext, PublicInputs, TIER_NAME, WORDS};
pub use witness::{BatchWitness, WitnessError};
