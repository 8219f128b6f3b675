//! What the circuit is made of: linear combinations, ranges, flags, Poseidon.

pub(crate) mod poseidon;
pub(crate) mod system;
