//! Frames around our datagrams, all big-endian: Ethernet II with at most one VLAN tag, IPv4 without options, UDP; and ARP.
//!
//! ```text
//!  0  to MAC[6] | from MAC[6] | { 0x8100 u16 | priority 4 bits, VLAN 12 bits }? | EtherType u16
//! 14  0x45 | service u8 | total length u16 | id u16 | flags and offset u16 | ttl u8 | 17 | checksum u16 | from[4] | to[4]
//! 34  from port u16 | to port u16 | length u16 | checksum u16 | payload | zeros up to 60 bytes
//! ```
//!
//! A frame is judged once, from the outside in. What is refused has one [`FrameFault`], the first that applies.

use bytemuck::{Pod, Zeroable};
use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::str::FromStr;

/// Bytes of the longest frame: a tag, and a datagram of [`DATAGRAM_MAX`](crate::limits::DATAGRAM_MAX).
pub const FRAME_MAX: usize =
    ETHERNET_LEN + TAG_LEN + IPV4_LEN + UDP_LEN + crate::limits::DATAGRAM_MAX;
/// Bytes of the shortest frame that we build, without a tag and without the frame check sequence.
pub const FRAME_MIN: usize = 60;
/// Largest VLAN that a station can be on; the smallest is 1.
pub const VLAN_MAX: u16 = 4094;

const ETHERNET_LEN: usize = size_of::<Ethernet>();
const TAG_LEN: usize = size_of::<Tag>();
const IPV4_LEN: usize = size_of::<Ipv4>();
const UDP_LEN: usize = size_of::<Udp>();

const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_ARP: [u8; 2] = [0x08, 0x06];
const TYPE_VLAN: [u8; 2] = [0x81, 0x00];
const PROTOCOL_UDP: u8 = 17;
/// Version 4 and a header of five words.
const VERSION_AND_LENGTH: u8 = 0x45;
const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments, or an offset.
const FRAGMENT: u16 = 0x3fff;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every station.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Where frames for an IPv4 multicast group go: 01:00:5e and the low 23 bits.
    #[must_use]
    pub const fn of_group(group: Ipv4Addr) -> Self {
        let [_, b, c, d] = group.octets();
        Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    }

    /// Means several stations, and so is nobody's own.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text is no address such as `02:00:00:00:00:0a`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAMac;

impl fmt::Display for NotAMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no Ethernet address such as 02:00:00:00:00:0a")
    }
}

impl core::error::Error for NotAMac {}

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut parts = text.split(':');
        let mut mac = [0; 6];
        for byte in &mut mac {
            let part = parts.next().ok_or(NotAMac)?;
            // A sign would be taken too.
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(NotAMac);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| NotAMac)?;
        }
        match parts.next() {
            None => Ok(Self(mac)),
            Some(_) => Err(NotAMac),
        }
    }
}

/// Who we are on the cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Station {
    /// Our address.
    pub mac: Mac,
    /// The VLAN that all our frames carry, 1 to [`VLAN_MAX`]; none means frames without a tag.
    pub vlan: Option<u16>,
}

/// Why a frame is refused. The order of the checks is the order of the variants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum FrameFault {
    /// Ends inside its Ethernet header or tag.
    Runt,
    /// Meant for another station.
    OtherMac,
    /// On another VLAN than ours, tagged where we have none, or without the tag that we need.
    Vlan,
    /// Neither IPv4 nor ARP.
    EtherType,
    /// ARP of another kind than Ethernet and IPv4, or cut short.
    Arp,
    /// IPv4 to a group or to all stations, which we never join.
    Group,
    /// Ends inside its IPv4 header.
    IpShort,
    /// Not version 4.
    IpVersion,
    /// Has options, or a header that is too short to be one.
    IpHeaderLength,
    /// The total length is less than the header or more than the frame holds.
    IpLength,
    /// The header's checksum is wrong.
    IpChecksum,
    /// A fragment: our peers' datagrams fit one frame.
    IpFragment,
    /// No hops were left.
    IpTtl,
    /// Another protocol than UDP.
    IpProtocol,
    /// From an address that no host can have.
    IpSource,
    /// To an address that is not ours.
    IpDestination,
    /// Ends inside its UDP header.
    UdpShort,
    /// The UDP length is not that of the IPv4 payload.
    UdpLength,
    /// The UDP checksum is there and wrong.
    UdpChecksum,
    /// To a port of which nobody listens.
    UdpPort,
}

impl FrameFault {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them; each stands at its own number.
    pub const ALL: [Self; 20] = [
        Self::Runt,
        Self::OtherMac,
        Self::Vlan,
        Self::EtherType,
        Self::Arp,
        Self::Group,
        Self::IpShort,
        Self::IpVersion,
        Self::IpHeaderLength,
        Self::IpLength,
        Self::IpChecksum,
        Self::IpFragment,
        Self::IpTtl,
        Self::IpProtocol,
        Self::IpSource,
        Self::IpDestination,
        Self::UdpShort,
        Self::UdpLength,
        Self::UdpChecksum,
        Self::UdpPort,
    ];

    /// Its name in status and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runt => "runt",
            Self::OtherMac => "other_mac",
            Self::Vlan => "vlan",
            Self::EtherType => "ether_type",
            Self::Arp => "arp",
            Self::Group => "group",
            Self::IpShort => "ip_short",
            Self::IpVersion => "ip_version",
            Self::IpHeaderLength => "ip_header_length",
            Self::IpLength => "ip_length",
            Self::IpChecksum => "ip_checksum",
            Self::IpFragment => "ip_fragment",
            Self::IpTtl => "ip_ttl",
            Self::IpProtocol => "ip_protocol",
            Self::IpSource => "ip_source",
            Self::IpDestination => "ip_destination",
            Self::UdpShort => "udp_short",
            Self::UdpLength => "udp_length",
            Self::UdpChecksum => "udp_checksum",
            Self::UdpPort => "udp_port",
        }
    }
}

/// What a frame for us holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inbound<'a> {
    /// A datagram.
    Udp(UdpFrame<'a>),
    /// A question or an answer of the neighbourhood.
    Arp(Arp),
}

/// A datagram whose headers are sound. Whether address and port are ours is the caller's to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpFrame<'a> {
    /// Who sent the frame: the peer, or the router in between.
    pub from_mac: Mac,
    /// Who sent the datagram, if the address is not forged.
    pub from: SocketAddrV4,
    /// Address and port that it is for.
    pub to: SocketAddrV4,
    /// What it says; may be empty.
    pub payload: &'a [u8],
}

/// An ARP message: who has an address, or who says to have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// A question; else an answer.
    pub is_request: bool,
    /// Who sent it.
    pub sender_mac: Mac,
    /// Its address; unspecified in a probe.
    pub sender_ip: Ipv4Addr,
    /// Whom it is for; zeros in a question.
    pub target_mac: Mac,
    /// The address in question.
    pub target_ip: Ipv4Addr,
}

/// Judges a frame without its check sequence, as the station that it came to.
///
/// # Errors
/// See [`FrameFault`]; address and port of a datagram are not looked at.
#[inline]
pub fn parse<'a>(frame: &'a [u8], station: &Station) -> Result<Inbound<'a>, FrameFault> {
    let (ethernet, rest) = view::<Ethernet>(frame).ok_or(FrameFault::Runt)?;
    if ethernet.to != station.mac && !ethernet.to.is_group() {
        return Err(FrameFault::OtherMac);
    }
    let (kind, rest) = untag(ethernet.kind, rest, station.vlan)?;
    match kind {
        TYPE_IPV4 if ethernet.to == station.mac => parse_ipv4(rest, ethernet.from),
        TYPE_IPV4 => Err(FrameFault::Group),
        TYPE_ARP => parse_arp(rest),
        _ => Err(FrameFault::EtherType),
    }
}

/// The inner type of a frame whose tag, or lack of one, is right.
#[inline]
fn untag(kind: [u8; 2], rest: &[u8], vlan: Option<u16>) -> Result<([u8; 2], &[u8]), FrameFault> {
    match (vlan, kind) {
        (None, TYPE_VLAN) => Err(FrameFault::Vlan),
        (None, kind) => Ok((kind, rest)),
        (Some(vlan), TYPE_VLAN) => {
            let (tag, rest) = view::<Tag>(rest).ok_or(FrameFault::Runt)?;
            let is_ours = u16::from_be_bytes(tag.control) & 0xfff == vlan;
            if !is_ours || tag.kind == TYPE_VLAN {
                return Err(FrameFault::Vlan);
            }
            Ok((tag.kind, rest))
        }
        (Some(_), _) => Err(FrameFault::Vlan),
    }
}

#[inline]
fn parse_ipv4(packet: &[u8], from_mac: Mac) -> Result<Inbound<'_>, FrameFault> {
    let (head, rest) = view::<Ipv4>(packet).ok_or(FrameFault::IpShort)?;
    if head.version_and_length >> 4 != 4 {
        return Err(FrameFault::IpVersion);
    }
    if head.version_and_length != VERSION_AND_LENGTH {
        return Err(FrameFault::IpHeaderLength);
    }
    // What follows the total length is padding.
    let body = usize::from(u16::from_be_bytes(head.total_length))
        .checked_sub(IPV4_LEN)
        .and_then(|len| rest.get(..len))
        .ok_or(FrameFault::IpLength)?;
    if fold(sum(bytemuck::bytes_of(head))) != 0xffff {
        return Err(FrameFault::IpChecksum);
    }
    if u16::from_be_bytes(head.flags_and_offset) & FRAGMENT != 0 {
        return Err(FrameFault::IpFragment);
    }
    if head.ttl == 0 {
        return Err(FrameFault::IpTtl);
    }
    if head.protocol != PROTOCOL_UDP {
        return Err(FrameFault::IpProtocol);
    }
    let (from, to) = (Ipv4Addr::from(head.from), Ipv4Addr::from(head.to));
    if !is_host(from) {
        return Err(FrameFault::IpSource);
    }
    let (udp, payload) = view::<Udp>(body).ok_or(FrameFault::UdpShort)?;
    if usize::from(u16::from_be_bytes(udp.length)) != body.len() {
        return Err(FrameFault::UdpLength);
    }
    if udp.checksum != [0; 2] && fold(pseudo_sum(head, body.len()) + sum(body)) != 0xffff {
        return Err(FrameFault::UdpChecksum);
    }
    Ok(Inbound::Udp(UdpFrame {
        from_mac,
        from: SocketAddrV4::new(from, u16::from_be_bytes(udp.from)),
        to: SocketAddrV4::new(to, u16::from_be_bytes(udp.to)),
        payload,
    }))
}

fn parse_arp(packet: &[u8]) -> Result<Inbound<'_>, FrameFault> {
    let (body, _) = view::<ArpBody>(packet).ok_or(FrameFault::Arp)?;
    if body.kinds != ARP_KINDS || body.sender_mac.is_group() {
        return Err(FrameFault::Arp);
    }
    let is_request = match body.operation {
        [0, 1] => true,
        [0, 2] => false,
        _ => return Err(FrameFault::Arp),
    };
    Ok(Inbound::Arp(Arp {
        is_request,
        sender_mac: body.sender_mac,
        sender_ip: body.sender_ip.into(),
        target_mac: body.target_mac,
        target_ip: body.target_ip.into(),
    }))
}

/// Whether a datagram can come from an address, or go to it and to nobody else.
#[must_use]
pub const fn is_host(address: Ipv4Addr) -> bool {
    // Net 0, loopback, groups, the reserved rest and broadcast.
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// What the headers of a datagram say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpHead {
    /// The peer's MAC, the router's, or that [of a group](Mac::of_group).
    pub to_mac: Mac,
    /// Our address and port.
    pub from: SocketAddrV4,
    /// The peer's.
    pub to: SocketAddrV4,
    /// Identification, of use only to those who read captures: nothing of ours is ever cut into fragments.
    pub id: u16,
    /// Hops that are left.
    pub ttl: u8,
}

/// Writes a whole frame with its checksums and its padding to the front of `out`; returns its length.
///
/// # Panics
/// If `payload` is longer than [`DATAGRAM_MAX`](crate::limits::DATAGRAM_MAX), or the frame than `out`: room for
/// [`FRAME_MAX`] is always enough.
#[inline]
pub fn build_udp(station: &Station, head: &UdpHead, payload: &[u8], out: &mut [u8]) -> usize {
    assert!(
        payload.len() <= crate::limits::DATAGRAM_MAX,
        "a payload of {} bytes",
        payload.len()
    );
    let udp_len = UDP_LEN + payload.len();
    let mut ip = Ipv4 {
        version_and_length: VERSION_AND_LENGTH,
        service: 0,
        total_length: ((IPV4_LEN + udp_len) as u16).to_be_bytes(),
        id: head.id.to_be_bytes(),
        flags_and_offset: DONT_FRAGMENT.to_be_bytes(),
        ttl: head.ttl,
        protocol: PROTOCOL_UDP,
        checksum: [0; 2],
        from: head.from.ip().octets(),
        to: head.to.ip().octets(),
    };
    ip.checksum = (!fold(sum(bytemuck::bytes_of(&ip)))).to_be_bytes();
    let mut udp = Udp {
        from: head.from.port().to_be_bytes(),
        to: head.to.port().to_be_bytes(),
        length: (udp_len as u16).to_be_bytes(),
        checksum: [0; 2],
    };
    let total = pseudo_sum(&ip, udp_len) + sum(bytemuck::bytes_of(&udp)) + sum(payload);
    // Zero would say that there is none; both stand for the same sum.
    udp.checksum = match !fold(total) {
        0 => [0xff; 2],
        checksum => checksum.to_be_bytes(),
    };
    let mut at = link(station, head.to_mac, TYPE_IPV4, out);
    at = put(bytemuck::bytes_of(&ip), out, at);
    at = put(bytemuck::bytes_of(&udp), out, at);
    at = put(payload, out, at);
    pad(station, out, at)
}

/// Writes an ARP frame with its padding to the front of `out`, a question to all, an answer to its target;
/// returns its length.
///
/// # Panics
/// If the frame is longer than `out`.
pub fn build_arp(station: &Station, arp: &Arp, out: &mut [u8]) -> usize {
    let body = ArpBody {
        kinds: ARP_KINDS,
        operation: [0, if arp.is_request { 1 } else { 2 }],
        sender_mac: arp.sender_mac,
        sender_ip: arp.sender_ip.octets(),
        target_mac: arp.target_mac,
        target_ip: arp.target_ip.octets(),
    };
    let to = if arp.is_request {
        Mac::BROADCAST
    } else {
        arp.target_mac
    };
    let at = link(station, to, TYPE_ARP, out);
    let at = put(bytemuck::bytes_of(&body), out, at);
    pad(station, out, at)
}

/// Writes the Ethernet header and the tag; returns their length.
#[inline]
fn link(station: &Station, to: Mac, kind: [u8; 2], out: &mut [u8]) -> usize {
    let from = station.mac;
    let Some(vlan) = station.vlan else {
        return put(bytemuck::bytes_of(&Ethernet { to, from, kind }), out, 0);
    };
    let outer = Ethernet {
        to,
        from,
        kind: TYPE_VLAN,
    };
    let tag = Tag {
        control: vlan.to_be_bytes(),
        kind,
    };
    let at = put(bytemuck::bytes_of(&outer), out, 0);
    put(bytemuck::bytes_of(&tag), out, at)
}

#[inline]
fn put(bytes: &[u8], out: &mut [u8], at: usize) -> usize {
    let end = at + bytes.len();
    out[at..end].copy_from_slice(bytes);
    end
}

/// Fills up with zeros, so that the frame is long enough even after a switch took its tag off.
#[inline]
fn pad(station: &Station, out: &mut [u8], len: usize) -> usize {
    let least = FRAME_MIN + station.vlan.map_or(0, |_| TAG_LEN);
    if len >= least {
        return len;
    }
    out[len..least].fill(0);
    least
}

/// The sum of a datagram's addresses, protocol and length, which its checksum covers too.
#[inline]
fn pseudo_sum(head: &Ipv4, udp_len: usize) -> u64 {
    sum(&head.from) + sum(&head.to) + u64::from(PROTOCOL_UDP) + udp_len as u64
}

/// Sum of big-endian words of 16 bits, not yet folded: words of 32 bits fold to the same.
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words
        .iter()
        .map(|w| u64::from(u32::from_be_bytes(*w)))
        .sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_be_bytes(last));
    total
}

/// Ones' complement sum in 16 bits.
#[inline]
const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The front of `bytes` as a header, and what follows.
#[inline]
fn view<T: Pod>(bytes: &[u8]) -> Option<(&T, &[u8])> {
    let (front, rest) = bytes.split_at_checked(size_of::<T>())?;
    Some((bytemuck::from_bytes(front), rest))
}

// All fields are bytes, so that a view needs no alignment.

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Ethernet {
    to: Mac,
    from: Mac,
    kind: [u8; 2],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Tag {
    control: [u8; 2],
    kind: [u8; 2],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Ipv4 {
    version_and_length: u8,
    service: u8,
    total_length: [u8; 2],
    id: [u8; 2],
    flags_and_offset: [u8; 2],
    ttl: u8,
    protocol: u8,
    checksum: [u8; 2],
    from: [u8; 4],
    to: [u8; 4],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Udp {
    from: [u8; 2],
    to: [u8; 2],
    length: [u8; 2],
    checksum: [u8; 2],
}

/// Ethernet, IPv4, and the lengths of their addresses.
const ARP_KINDS: [u8; 6] = [0, 1, 8, 0, 6, 4];

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ArpBody {
    kinds: [u8; 6],
    operation: [u8; 2],
    sender_mac: Mac,
    sender_ip: [u8; 4],
    target_mac: Mac,
    target_ip: [u8; 4],
}

#[cfg(test)]
mod tests;
