//! Tests of the statement as a whole.

mod circuit;
mod engine;
mod forgeries;
mod native;
mod proof;
pub(crate) mod scenario;
mod vectors;
