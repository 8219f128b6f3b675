//! What a NIC that runs the gate hands to the host for each frame that it does not drop: little-endian, of
//! one size, so that a ring of them needs no lengths.
//!
//! ```text
//!  0 u32 frameNo: frames that came before it since the NIC was reset, wraps
//!  4 u32 connId of the datagram
//!  8 u32 member
//! 12 u16 template of the body, as in the journal; zero: no body
//! 14 u8  verdict: 0 dropped (never written), 1 admitted, 2 refused, 3 for the host
//! 15 u8  reason: the reject code, or why the host is asked; zero for an admitted request
//! 16 u64 gapFrom: first request number that was skipped before this one; zero: none was
//! 24 u64 ackSeqNo of the datagram
//! 32 body, 64 bytes: the journal's record, zeros behind it
//! ```
//!
//! Who writes them judges in this order: frame, datagram, connection, packet number, tag; then whether the
//! request is one that it knows; then its number; then the gate.

use bytemuck::{Pod, Zeroable};

/// Bytes of a record's body that a descriptor has room for.
pub const BODY_LEN: usize = 64;

/// A descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Descriptor {
    /// Frames that came before it since the NIC was reset; wraps.
    pub frame_no: u32,
    /// Connection of the datagram; zero if it was not looked up.
    pub conn_id: u32,
    /// Member of the connection; zero if it was not looked up.
    pub member: u32,
    /// Template of the body, as in the journal; zero: no body.
    pub template: u16,
    /// One of the [`Verdict`]s.
    pub verdict: u8,
    /// The reject code or the [`HostReason`]; zero for an admitted request.
    pub reason: u8,
    /// First request number that was skipped before this one; zero: none was.
    pub gap_from: u64,
    /// Next report number that the client expects.
    pub ack_seq_no: u64,
    /// The record's body, zeros behind it.
    pub body: [u8; BODY_LEN],
}

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Verdict {
    /// Counted, nothing else.
    Dropped = 0,
    /// Through the gate: the body is the record.
    Admitted = 1,
    /// Refused by the gate: the body is the refusal.
    Refused = 2,
    /// Not for the NIC: the host takes the frame itself.
    Host = 3,
}

/// Why a datagram without fault in its frame is dropped. Drops are counted by number: [`FrameFault`](super::frame::FrameFault)s
/// first, these behind them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum DropReason {
    /// Shorter than header and tag.
    Short = 32,
    /// Another version.
    Version = 33,
    /// Unknown kind.
    Kind = 34,
    /// The length field is not the payload's length.
    Length = 35,
    /// No such connection.
    UnknownConnection = 36,
    /// The packet number was seen.
    Replayed = 37,
    /// The packet number is older than the window.
    TooOld = 38,
    /// The packet number is beyond what the keys may be used for.
    KeysUsedUp = 39,
    /// The tag is wrong.
    BadTag = 40,
    /// The request's number is applied or dead.
    Duplicate = 41,
}

/// Why the host is asked. From [`Held`](Self::Held) on the tag is right and the packet number is taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum HostReason {
    /// ARP.
    Arp = 1,
    /// A datagram of the login: connection 0, kind 0.
    Login = 2,
    /// The connection's tag suite is one that the NIC cannot do; nothing of the datagram was checked.
    Suite = 3,
    /// The connection waits for the host: an earlier datagram of it went there.
    Held = 4,
    /// Not one request of a kind that the NIC knows. The connection is held from now on, until the host lets it go.
    Request = 5,
    /// The request's number is out of range. The connection is held.
    SeqNo = 6,
}

const _: () = assert!(size_of::<Descriptor>() == 96);
const _: () = assert!(size_of::<super::input::InNewOrder>() <= BODY_LEN);
const _: () = assert!(size_of::<super::input::InReplace>() <= BODY_LEN);
const _: () = assert!(super::frame::FrameFault::COUNT <= DropReason::Short as usize);
