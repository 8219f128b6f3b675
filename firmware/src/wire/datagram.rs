//! The order-entry datagram, little-endian:
//!
//! ```text
//!  0 u8  version = 1
//!  1 u8  kind: 0 control (session messages, no number of a flow), 1 data, 2 retransmission, 3 heartbeat
//!  2 u16 length of the whole UDP payload
//!  4 u32 connId: index of the keys, given at login; the source address is never trusted
//!  8 u64 packetNo: +1 per datagram and direction; nonce of the tag and anti-replay counter
//! 16 u64 nextSeqNo: number of the first application message here
//! 24 u64 ackSeqNo: next number of the peer's flow that is expected
//! 32 { u16 msgSize (itself included) | SBE header 8 | block }*
//!  n tag, 16 bytes, over everything before it (zero in the login: kind 0, connId 0)
//! ```

use bytemuck::{Pod, Zeroable};

/// Version in the first byte.
pub const VERSION: u8 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = size_of::<DatagramHeader>();
/// Bytes of the tag.
pub const TAG_LEN: usize = 16;
/// Bytes that all messages of a datagram can have together, each with its size prefix.
pub const BODY_MAX: usize = crate::limits::DATAGRAM_MAX - HEADER_LEN - TAG_LEN;
/// Bytes of the size prefix of a message.
pub const PREFIX_LEN: usize = 2;

/// Session messages: the login (connection id 0, no tag), then Establish, Terminate and the like (tagged).
pub const KIND_CONTROL: u8 = 0;
/// Application messages.
pub const KIND_DATA: u8 = 1;
/// Application messages sent again.
pub const KIND_RETRANSMISSION: u8 = 2;
/// No messages: shows life and acknowledges.
pub const KIND_HEARTBEAT: u8 = 3;

/// The first 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct DatagramHeader {
    /// [`VERSION`].
    pub version: u8,
    /// One of the `KIND_` values.
    pub kind: u8,
    /// Length of the whole payload, tag included.
    pub length: u16,
    /// Connection.
    pub conn_id: u32,
    /// Counter of the direction.
    pub packet_no: u64,
    /// Number of the first application message.
    pub next_seq_no: u64,
    /// Next number expected from the peer.
    pub ack_seq_no: u64,
}

/// Why a payload is not a datagram of ours. It is counted and never answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatagramError {
    /// Shorter than header and tag.
    Short,
    /// Another version.
    Version(u8),
    /// Unknown kind.
    Kind(u8),
    /// The length field is not the payload's length.
    Length,
}

/// Checks the frame of a payload and splits it into header, body and tag.
///
/// # Errors
/// See [`DatagramError`]; the order of the checks is the order of the variants.
pub fn split(payload: &[u8]) -> Result<(DatagramHeader, &[u8], &[u8; TAG_LEN]), DatagramError> {
    let (front, tag) = payload
        .split_last_chunk::<TAG_LEN>()
        .ok_or(DatagramError::Short)?;
    let (head, body) = front
        .split_at_checked(HEADER_LEN)
        .ok_or(DatagramError::Short)?;
    let header: DatagramHeader = bytemuck::pod_read_unaligned(head);
    if header.version != VERSION {
        return Err(DatagramError::Version(header.version));
    }
    if header.kind > KIND_HEARTBEAT {
        return Err(DatagramError::Kind(header.kind));
    }
    if header.length as usize != payload.len() {
        return Err(DatagramError::Length);
    }
    Ok((header, body, tag))
}

/// Iterates the messages of a body, each from its SBE header on; `Err(())` marks a size prefix that does
/// not fit, after which nothing follows.
pub fn messages(mut body: &[u8]) -> impl Iterator<Item = Result<&[u8], ()>> {
    core::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let size = match body.first_chunk::<PREFIX_LEN>() {
            Some(p) => u16::from_le_bytes(*p) as usize,
            None => 0,
        };
        if size < PREFIX_LEN || size > body.len() {
            body = &[];
            return Some(Err(()));
        }
        let (message, rest) = body.split_at(size);
        body = rest;
        Some(Ok(&message[PREFIX_LEN..]))
    })
}

/// Writes a datagram into a fixed buffer, message by message.
#[derive(Clone, Debug)]
pub struct DatagramBuilder {
    buf: [u8; crate::limits::DATAGRAM_MAX],
    len: usize,
    count: u32,
}

impl DatagramBuilder {
    /// An empty datagram.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buf: [0; crate::limits::DATAGRAM_MAX],
            len: HEADER_LEN,
            count: 0,
        }
    }

    /// Forgets the messages.
    pub const fn clear(&mut self) {
        self.len = HEADER_LEN;
        self.count = 0;
    }

    /// Number of messages inside.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Appends a message; `false` (and nothing changed) when it does not fit.
    #[must_use]
    pub fn push(&mut self, header: super::sbe::MessageHeader, block: &[u8]) -> bool {
        let size = PREFIX_LEN + super::sbe::HEADER_LEN + block.len();
        if self.len + size + TAG_LEN > self.buf.len() {
            return false;
        }
        let at = &mut self.buf[self.len..self.len + size];
        at[..2].copy_from_slice(&(size as u16).to_le_bytes());
        at[2..10].copy_from_slice(bytemuck::bytes_of(&header));
        at[10..].copy_from_slice(block);
        self.len += size;
        self.count += 1;
        true
    }

    /// Puts `count` messages that were packed before, each with its size prefix, in the place of what is inside;
    /// `false` (and nothing changed) when they do not fit.
    #[must_use]
    pub fn fill(&mut self, body: &[u8], count: u32) -> bool {
        if body.len() > BODY_MAX {
            return false;
        }
        self.len = HEADER_LEN + body.len();
        self.buf[HEADER_LEN..self.len].copy_from_slice(body);
        self.count = count;
        true
    }

    /// Writes the header, lets `tag` sign everything before the tag, and returns the whole payload.
    pub fn finish(
        &mut self,
        kind: u8,
        conn_id: u32,
        packet_no: u64,
        next_seq_no: u64,
        ack_seq_no: u64,
        tag: impl FnOnce(u64, &[u8]) -> [u8; TAG_LEN],
    ) -> &[u8] {
        let length = self.len + TAG_LEN;
        let header = DatagramHeader {
            version: VERSION,
            kind,
            length: length as u16,
            conn_id,
            packet_no,
            next_seq_no,
            ack_seq_no,
        };
        self.buf[..HEADER_LEN].copy_from_slice(bytemuck::bytes_of(&header));
        let t = tag(packet_no, &self.buf[..self.len]);
        self.buf[self.len..length].copy_from_slice(&t);
        &self.buf[..length]
    }
}

impl Default for DatagramBuilder {
    fn default() -> Self {
        Self::new()
    }
}
