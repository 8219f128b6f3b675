//! The contracts, the client and the development chain together: real transactions, real proofs, real HTTP.

mod admin;
mod anvil;
mod book;
mod client;
mod devnet;
mod exit;
mod gas;
mod many;
mod poseidon;
mod requests;
mod sequences;
mod settlement;
mod tiny;
mod tokens;
mod vectors;
mod verifier;
mod world;
