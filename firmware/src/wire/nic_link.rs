//! What host and NIC image say to each other over the second port: Ethernet frames of their own type, little-endian.
//!
//! ```text
//!  0 6 bytes to, 6 bytes from: whatever the cable wants
//! 12 u16 big-endian 0x88B5 (IEEE's first type for local experiments)
//! 14 u16 kind
//! 16 u32 number: an answer repeats that of the message it answers
//! 20 body
//! ```
//!
//! The host speaks first: [`Hello`]. An image of another protocol or other limits says so in its [`Ready`], and the host
//! does without it. Every message of the host is answered by its number with an [`Ack`], so that one that got lost is sent
//! again; saying the same twice does no harm. Descriptors come unasked, numbered without gaps, and a frame that is the
//! host's own business comes whole behind its descriptor.

use crate::limits::{GATE_ACCOUNTS, GATE_MEMBERS, INSTRUMENTS};
use bytemuck::{AnyBitPattern, NoUninit, Pod, Zeroable};

/// Type of such frames.
pub const ETHERTYPE: u16 = 0x88b5;
/// Of the protocol of this page.
pub const PROTOCOL: u32 = 1;
/// Bytes before the body.
pub const HEAD_LEN: usize = 20;

/// A digest of what both sides must have in the same size.
pub const LIMITS: u32 = {
    let sizes = [
        GATE_ACCOUNTS,
        GATE_MEMBERS,
        INSTRUMENTS,
        size_of::<super::descriptor::Descriptor>(),
        size_of::<Session>(),
        size_of::<Instrument>(),
    ];
    // FNV-1a over 32-bit words.
    let (mut hash, mut i) = (0x811c_9dc5_u32, 0);
    while i < sizes.len() {
        hash = (hash ^ sizes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
};

/// Kinds: of the host below 128, of the NIC from there on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Kind {
    /// [`Hello`]; the NIC forgets everything.
    Hello = 1,
    /// [`Place`].
    Place = 2,
    /// [`Session`].
    Session = 3,
    /// [`Account`].
    Account = 4,
    /// [`Instrument`].
    Instrument = 5,
    /// [`Overloaded`].
    Overloaded = 6,
    /// [`Resume`].
    Resume = 7,
    /// [`Clock`].
    Clock = 8,
    /// No body: asks for [`Kind::Status`].
    Beat = 9,
    /// [`Ready`], the answer to a hello.
    Ready = 128,
    /// [`Ack`].
    Ack = 129,
    /// [`Status`] and the counters, 256 u32.
    Status = 130,
    /// A descriptor, and the frame where the verdict is `Host`.
    Descriptor = 131,
}

impl Kind {
    /// The kind of this number.
    #[must_use]
    pub const fn of(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Hello,
            2 => Self::Place,
            3 => Self::Session,
            4 => Self::Account,
            5 => Self::Instrument,
            6 => Self::Overloaded,
            7 => Self::Resume,
            8 => Self::Clock,
            9 => Self::Beat,
            128 => Self::Ready,
            129 => Self::Ack,
            130 => Self::Status,
            131 => Self::Descriptor,
            _ => return None,
        })
    }
}

/// What the host is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// [`LIMITS`].
    pub limits: u32,
}

/// What the NIC is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Ready {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// [`LIMITS`].
    pub limits: u32,
    /// 1: both agree, and the NIC runs. 0: it drops everything.
    pub agrees: u32,
    /// Places for sessions.
    pub sessions: u32,
}

/// Who the NIC is on the cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Place {
    /// Address.
    pub ip: [u8; 4],
    /// Hardware address.
    pub mac: [u8; 6],
    /// VLAN; 0xffff: none.
    pub vlan: u16,
    /// Port.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

/// A session that is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Session {
    /// Next request number.
    pub expected: u64,
    /// Highest id that an order was given.
    pub last_cl_ord_id: u64,
    /// Connection.
    pub conn_id: u32,
    /// Member.
    pub member: u32,
    /// Requests a second; with `has_rates` 0 the gate does not know the member.
    pub requests_per_second: u32,
    /// Entries of mass quotes a second.
    pub quotes_per_second: u32,
    /// Its tag suite, as in the login.
    pub suite: u8,
    /// 0 or 1.
    pub has_rates: u8,
    /// 0 or 1.
    pub is_read_only: u8,
    /// Zero.
    pub pad: [u8; 5],
    /// Key of a SipHash tag.
    pub key: [u8; 16],
}

/// Who may trade for an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Account {
    /// Account.
    pub account: u32,
    /// Member.
    pub member: u32,
}

/// What is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Instrument {
    /// Price of a tick, x 1e-9.
    pub tick_e9: i64,
    /// Largest order.
    pub order_lots_max: i64,
    /// First tick of the band.
    pub base: i32,
    /// Ticks of the band.
    pub width_ticks: i32,
    /// From here on only multiples of the next are prices.
    pub tick2_from: i32,
    /// In ticks; 0 or 1: every tick is a price.
    pub tick2_multiple: u32,
    /// Instrument.
    pub id: u32,
    /// Zero.
    pub pad: u32,
}

/// Whether the venue keeps up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Overloaded {
    /// 0 or 1.
    pub is_overloaded: u32,
}

/// Lets a held connection go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Resume {
    /// Next request number.
    pub expected: u64,
    /// Highest id that an order was given.
    pub last_cl_ord_id: u64,
    /// Place of the session.
    pub place: u32,
    /// Zero.
    pub pad: u32,
}

/// The time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Clock {
    /// Now, ns.
    pub now_ns: u64,
    /// 1: the clock stands until the next such message, which makes a run repeatable. 0: it runs on.
    pub stands: u64,
}

/// Whether a message was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Ack {
    /// 1, or 0: it was malformed, or names what there is not.
    pub is_taken: u32,
}

/// What the NIC has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Status {
    /// Frames judged.
    pub frames: u64,
    /// Instructions, where the machine counts them, from a frame's arrival to its verdict: of the last frame.
    pub instructions_last: u64,
    /// Frames that the card had no descriptor or buffer for.
    pub lost: u64,
    /// Deepest that the stack was, bytes.
    pub stack_bytes: u64,
}

/// Reads a message of the link: kind, number, body.
#[must_use]
pub fn parse(frame: &[u8]) -> Option<(Kind, u32, &[u8])> {
    let (head, body) = frame.split_first_chunk::<HEAD_LEN>()?;
    if u16::from_be_bytes([head[12], head[13]]) != ETHERTYPE {
        return None;
    }
    let kind = Kind::of(u16::from_le_bytes([head[14], head[15]]))?;
    let number = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
    Some((kind, number, body))
}

/// A message's struct; bytes behind it, as a cable pads short frames with, are ignored.
#[must_use]
pub fn body<T: AnyBitPattern>(bytes: &[u8]) -> Option<T> {
    let own = bytes.get(..size_of::<T>())?;
    bytemuck::try_pod_read_unaligned(own).ok()
}

/// Writes a message's head and the parts of its body into `to`; its length, or none if it does not fit.
#[must_use]
pub fn write(to: &mut [u8], kind: Kind, number: u32, parts: &[&[u8]]) -> Option<usize> {
    let mut head = [0; HEAD_LEN];
    head[..6].fill(0xff);
    head[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    head[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    head[14..16].copy_from_slice(&(kind as u16).to_le_bytes());
    head[16..20].copy_from_slice(&number.to_le_bytes());
    let mut len = 0;
    for part in core::iter::once(&head[..]).chain(parts.iter().copied()) {
        to.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    // The shortest frame that a cable takes.
    while len < 60 {
        *to.get_mut(len)? = 0;
        len += 1;
    }
    Some(len)
}

/// The bytes of a message's struct.
#[must_use]
pub fn bytes<T: NoUninit>(body: &T) -> &[u8] {
    bytemuck::bytes_of(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written_and_others_are_not_ours() {
        let mut frame = [0; 128];
        let account = Account {
            account: 7,
            member: 3,
        };
        let len = write(&mut frame, Kind::Account, 9, &[bytes(&account)]).unwrap();
        assert_eq!(len, 60);
        let (kind, number, rest) = parse(&frame[..len]).unwrap();
        assert_eq!((kind, number), (Kind::Account, 9));
        assert_eq!(body::<Account>(rest), Some(account));
        assert_eq!(body::<Session>(&rest[..20]), None);
        assert_eq!(parse(&frame[..19]), None);
        frame[12] = 8;
        assert_eq!(parse(&frame[..len]), None);
        frame[12] = 0x88;
        frame[14] = 77;
        assert_eq!(parse(&frame[..len]), None);
        assert_eq!(
            write(&mut frame[..30], Kind::Account, 9, &[bytes(&account)]),
            None
        );
    }
}
