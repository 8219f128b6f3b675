//! What a driver can do for XDP, asked of the kernel's `netdev` family over generic netlink (Linux 6.3 and later).

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

const GENL_CTRL: u16 = 0x10;
const CTRL_GET_FAMILY: u8 = 3;
const CTRL_FAMILY_ID: u16 = 1;
const CTRL_FAMILY_NAME: u16 = 2;
const NETDEV_DEV_GET: u8 = 1;
const NETDEV_IFINDEX: u16 = 1;
const NETDEV_XDP_FEATURES: u16 = 3;

const REQUEST: u16 = 1;
const HEADER_LEN: usize = 20;

/// Bits of `xdp-features`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct XdpFeatures(pub(super) u64);

impl XdpFeatures {
    /// Programs run in the driver, and may redirect to a socket.
    pub(super) const fn is_native(self) -> bool {
        self.0 & 0b11 == 0b11
    }

    /// Sockets without a copy.
    pub(super) const fn is_zero_copy(self) -> bool {
        self.0 & 0b1000 != 0
    }
}

/// Asks for the interface of number `index`; `None` where the kernel does not tell.
pub(super) fn xdp_features(index: u32) -> Option<XdpFeatures> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::GENERIC),
    )
    .ok()?;
    let ask = |family, command, kind, value: &[u8]| {
        let request = message(family, command, kind, value);
        rustix::net::send(&socket, &request, SendFlags::empty()).ok()?;
        let mut answer = vec![0; 8192];
        let (len, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty()).ok()?;
        answer.truncate(len);
        Some(answer)
    };
    let answer = ask(GENL_CTRL, CTRL_GET_FAMILY, CTRL_FAMILY_NAME, b"netdev\0")?;
    let family = attribute(&answer, GENL_CTRL, CTRL_FAMILY_ID)?;
    let family = u16::from_ne_bytes(family.try_into().ok()?);
    let answer = ask(family, NETDEV_DEV_GET, NETDEV_IFINDEX, &index.to_ne_bytes())?;
    let bits = attribute(&answer, family, NETDEV_XDP_FEATURES)?;
    Some(XdpFeatures(u64::from_ne_bytes(bits.try_into().ok()?)))
}

/// A request with one attribute.
fn message(family: u16, command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
    let attribute_len = 4 + value.len();
    let len = HEADER_LEN + attribute_len.next_multiple_of(4);
    let mut m = Vec::with_capacity(len);
    m.extend((len as u32).to_ne_bytes());
    m.extend(family.to_ne_bytes());
    m.extend(REQUEST.to_ne_bytes());
    // Sequence number and sender: one answer to one request on a socket of its own needs neither.
    m.extend([0; 8]);
    m.extend([command, 1, 0, 0]);
    m.extend((attribute_len as u16).to_ne_bytes());
    m.extend(kind.to_ne_bytes());
    m.extend(value);
    m.resize(len, 0);
    m
}

/// The value of an attribute in an answer of `family`; errors are of another family.
fn attribute(answer: &[u8], family: u16, kind: u16) -> Option<&[u8]> {
    let half = |bytes: &[u8], at: usize| {
        let half = bytes.get(at..at + 2)?;
        Some(u16::from_ne_bytes(half.try_into().expect("two bytes")))
    };
    if half(answer, 4)? != family {
        return None;
    }
    let mut rest = answer.get(HEADER_LEN..)?;
    loop {
        let (len, found) = (usize::from(half(rest, 0)?), half(rest, 2)? & 0x3fff);
        let value = rest.get(4..len)?;
        if found == kind {
            return Some(value);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{XdpFeatures, attribute, message, xdp_features};

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let m = message(0x10, 3, 2, b"netdev\0");
        let want = [
            &[
                32, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0,
            ][..],
            &[11, 0, 2, 0],
            b"netdev\0\0",
        ]
        .concat();
        assert_eq!(m, want);
    }

    #[test]
    fn attributes_are_found_past_others_and_never_beyond_the_end() {
        let mut answer = message(0x21, 1, 1, &7_u32.to_ne_bytes());
        answer.extend([12, 0, 3, 0]);
        answer.extend(0x1b_u64.to_ne_bytes());
        assert_eq!(
            attribute(&answer, 0x21, 3),
            Some(&0x1b_u64.to_ne_bytes()[..])
        );
        assert_eq!(attribute(&answer, 0x21, 1), Some(&7_u32.to_ne_bytes()[..]));
        assert_eq!(attribute(&answer, 0x21, 4), None);
        // An error has another type; a cut answer has no value.
        assert_eq!(attribute(&answer, 0x22, 3), None);
        for len in 0..answer.len() {
            assert_eq!(attribute(&answer[..len], 0x21, 3), None, "{len}");
        }
        // An attribute of no length must not hold the reader.
        let mut broken = message(0x21, 1, 1, &[]);
        broken[20] = 0;
        assert_eq!(attribute(&broken, 0x21, 3), None);
    }

    #[test]
    fn the_bits_mean_what_they_say() {
        assert!(XdpFeatures(0b1011).is_native() && XdpFeatures(0b1011).is_zero_copy());
        assert!(!XdpFeatures(0b01).is_native() && !XdpFeatures(0b11).is_zero_copy());
        // Loopback has no native XDP; kernels before 6.3 do not tell at all.
        let lo: u32 = std::fs::read_to_string("/sys/class/net/lo/ifindex")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(xdp_features(lo).is_none_or(|f| !f.is_native()));
        assert_eq!(xdp_features(u32::MAX), None);
    }
}
