//! MoldUDP64 v1.00 framing (all big-endian): `session[10] | sequence u64 | count u16`, then `count` blocks of
//! `length u16 | data`. Heartbeat: count 0 and the next sequence. End of session: count 65535.

/// Bytes of the packet header.
pub const HEADER_LEN: usize = 20;
/// `count` of an end-of-session packet.
pub const END_OF_SESSION: u16 = 0xFFFF;

/// The packet header; a re-request has the same form, with the wanted count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoldHeader {
    /// Session name.
    pub session: [u8; 10],
    /// Sequence number of the first message in the packet, or the next expected in a heartbeat.
    pub sequence: u64,
    /// Messages in the packet.
    pub count: u16,
}

impl MoldHeader {
    /// To bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut b = [0; HEADER_LEN];
        b[..10].copy_from_slice(&self.session);
        b[10..18].copy_from_slice(&self.sequence.to_be_bytes());
        b[18..].copy_from_slice(&self.count.to_be_bytes());
        b
    }

    /// From the first 20 bytes of a packet; `None` when it is shorter.
    #[must_use]
    pub fn decode(packet: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = packet.split_first_chunk::<HEADER_LEN>()?;
        let mut session = [0; 10];
        session.copy_from_slice(&head[..10]);
        let mut sequence = [0; 8];
        sequence.copy_from_slice(&head[10..18]);
        let header = Self {
            session,
            sequence: u64::from_be_bytes(sequence),
            count: u16::from_be_bytes([head[18], head[19]]),
        };
        Some((header, rest))
    }
}

/// Iterates the `length | data` blocks of a packet; stops at the first block that is cut short.
pub fn blocks(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        let (data, tail) = tail.split_at_checked(u16::from_be_bytes(*len) as usize)?;
        rest = tail;
        Some(data)
    })
}
