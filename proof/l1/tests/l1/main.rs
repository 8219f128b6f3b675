//! The contracts, the client and the development chain together: real transactions, real proofs, real HTTP.

mod anvil;
mod client;
mod devnet;
mod gas;
mod settlement;
mod tiny;
mod tokens;
mod vectors;
mod verifier;
mod world;
