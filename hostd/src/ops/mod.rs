//! What operators use: sockets by role, commands, what is shown, the audit log, and the command line over it all.

pub mod admin;
pub mod audit;
pub mod cli;
pub mod health;
pub mod http;
pub mod metrics;
pub mod operator;
pub mod role;
pub mod server;
pub mod status;
pub mod top;
