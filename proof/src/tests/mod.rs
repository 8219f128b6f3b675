//! Tests of the statement as a whole.

mod native;
pub(crate) mod scenario;
mod vectors;
