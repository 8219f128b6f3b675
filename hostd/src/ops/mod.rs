//! What operators use: sockets, commands, and what is shown.

pub mod admin;
pub mod operator;
pub mod status;
