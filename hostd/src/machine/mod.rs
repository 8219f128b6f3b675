//! What the operating system and the machine give: clock, memory, log, addresses, and the examination of it all.

pub mod clock;
pub mod doctor;
pub mod echo;
pub mod ipv4_net;
pub mod log;
pub mod logs;
pub mod memory;
pub mod notify;
pub mod sandbox;
