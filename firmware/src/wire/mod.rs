//! Wire formats. Order entry and market data are FIX SBE 1.0, little-endian, under the interop profile of
//! `schema/deltabox.xml`, which is the contract; the structs here are checked against it field by field.
//!
//! ```text
//! order entry datagram (little-endian)         market-data packet (MoldUDP64, big-endian header)
//!  0  datagram header, 32 bytes                 0  session[10] | sequence u64 | count u16
//! 32  { msgSize u16 | SBE header 8 | block }*  20  { length u16 | SBE header 8 | block }*
//!  n  tag, 16 bytes
//! ```

pub mod datagram;
pub mod descriptor;
pub mod feed;
pub mod frame;
pub mod input;
pub mod journal;
pub mod mold;
pub mod nic_link;
pub mod order;
pub mod quote;
pub mod report;
pub mod sbe;
pub mod session;
