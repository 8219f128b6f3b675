//! What a driver says of its NIC: ethtool's ioctl, read side only.

use std::ffi::CString;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

const GDRVINFO: u32 = 0x03;
const GCOALESCE: u32 = 0x0e;
const GRINGPARAM: u32 = 0x10;
const GPAUSEPARAM: u32 = 0x12;
const GFLAGS: u32 = 0x25;
const GGRO: u32 = 0x2b;
const GCHANNELS: u32 = 0x3c;
const GET_TS_INFO: u32 = 0x41;

/// Not in libc: asks how a card is set to stamp.
const SIOCGHWTSTAMP: libc::Ioctl = 0x89b1;
/// The filter that stamps everything.
const STAMP_ALL: u32 = 1;

const FLAG_LRO: u32 = 1 << 15;
const STAMP_RX_HARDWARE: u32 = 1 << 2;

/// Words of the largest answer, and some.
const WORDS: usize = 64;
type Answer = [u32; WORDS];

/// How interrupts are held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Coalescing {
    pub(super) rx_us: u32,
    pub(super) is_adaptive: bool,
}

/// A NIC's settings; `None` where the driver does not tell.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Settings {
    pub(super) driver: Option<String>,
    /// Combined queues: in use, at most.
    pub(super) queues: Option<(u32, u32)>,
    /// Receive slots: in use, at most.
    pub(super) rx_ring: Option<(u32, u32)>,
    pub(super) coalescing: Option<Coalescing>,
    /// Pause frames: obeyed or sent.
    pub(super) pauses: Option<bool>,
    pub(super) gro: Option<bool>,
    pub(super) lro: Option<bool>,
    /// Whether the card itself can stamp what it receives, whatever it is.
    pub(super) stamps_rx: Option<bool>,
    /// Whether it is set to.
    pub(super) stamps_on: Option<bool>,
}

impl Settings {
    /// Asks the driver of `name`.
    pub(super) fn of(name: &str) -> Self {
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) else {
            return Self::default();
        };
        let ask = |command| ask(&socket, name, libc::SIOCETHTOOL, [command]);
        // Flags, what is stamped of the sent, and of the received.
        let stamping = self::ask(&socket, name, SIOCGHWTSTAMP, []);
        Self {
            driver: ask(GDRVINFO).as_ref().and_then(driver),
            queues: ask(GCHANNELS).as_ref().and_then(queues),
            rx_ring: ask(GRINGPARAM).map(|a| (a[5], a[1])),
            coalescing: ask(GCOALESCE).as_ref().map(coalescing),
            pauses: ask(GPAUSEPARAM).map(|a| a[2] != 0 || a[3] != 0),
            gro: ask(GGRO).map(|a| a[1] != 0),
            lro: ask(GFLAGS).map(|a| a[1] & FLAG_LRO != 0),
            stamps_rx: ask(GET_TS_INFO).as_ref().map(stamps_rx),
            stamps_on: stamping.map(|a| a[2] == STAMP_ALL),
        }
    }
}

fn stamps_rx(a: &Answer) -> bool {
    // The second filter is the one for all packets.
    a[1] & STAMP_RX_HARDWARE != 0 && a[7] & 0b10 != 0
}

fn driver(a: &Answer) -> Option<String> {
    let bytes: &[u8] = bytemuck::cast_slice(&a[1..9]);
    let name = bytes.split(|b| *b == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn queues(a: &Answer) -> Option<(u32, u32)> {
    // Receive-only queues count like combined ones: either takes packets.
    let (now, most) = (a[5] + a[8], a[1] + a[4]);
    (most > 0).then_some((now, most))
}

fn coalescing(a: &Answer) -> Coalescing {
    Coalescing {
        rx_us: a[1],
        is_adaptive: a[10] != 0,
    }
}

fn ask<const N: usize>(
    socket: &UdpSocket,
    name: &str,
    request: libc::Ioctl,
    words: [u32; N],
) -> Option<Answer> {
    let name = CString::new(name).ok()?;
    let name = name.as_bytes_with_nul();
    let mut answer: Answer = [0; WORDS];
    answer[..N].copy_from_slice(&words);
    // SAFETY: needed because no safe call takes these requests. Sound because all-zero is a valid `ifreq`; the kernel
    // reads its name, which ends with a zero, and writes at `ifru_data` an answer of at most 196 bytes for these
    // requests, less than `answer` has, which outlives the call.
    let done = unsafe {
        let mut interface: libc::ifreq = std::mem::zeroed();
        if name.len() > interface.ifr_name.len() {
            return None;
        }
        for (to, from) in interface.ifr_name.iter_mut().zip(name) {
            *to = *from as libc::c_char;
        }
        interface.ifr_ifru.ifru_data = answer.as_mut_ptr().cast();
        libc::ioctl(socket.as_raw_fd(), request, &raw mut interface)
    };
    (done == 0).then_some(answer)
}

/// Addresses of this machine's interfaces.
pub(super) fn interfaces() -> Vec<(String, Ipv4Addr)> {
    let mut all = Vec::new();
    let mut first = std::ptr::null_mut();
    // SAFETY: needed because no safe call lists them. Sound because the list is only read between the call that
    // makes it and the one that frees it, names end with a zero, and an address is a `sockaddr_in` when its family
    // says so.
    unsafe {
        if libc::getifaddrs(&raw mut first) != 0 {
            return all;
        }
        let mut at = first;
        while let Some(interface) = at.as_ref() {
            at = interface.ifa_next;
            let Some(address) = interface.ifa_addr.as_ref() else {
                continue;
            };
            if i32::from(address.sa_family) != libc::AF_INET {
                continue;
            }
            let address = &*interface.ifa_addr.cast::<libc::sockaddr_in>();
            let name = std::ffi::CStr::from_ptr(interface.ifa_name);
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            all.push((name.to_string_lossy().into_owned(), ip));
        }
        libc::freeifaddrs(first);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{Coalescing, Settings, coalescing, driver, interfaces, queues, stamps_rx};
    use std::net::Ipv4Addr;

    #[test]
    fn answers_are_read_by_their_words() {
        let mut a = [0; 64];
        bytemuck::cast_slice_mut(&mut a[1..4]).copy_from_slice(b"virtio_net\0\0");
        assert_eq!(driver(&a).as_deref(), Some("virtio_net"));
        assert_eq!(driver(&[0; 64]), None);
        let mut a = [0; 64];
        (a[1], a[10]) = (50, 1);
        let want = Coalescing {
            rx_us: 50,
            is_adaptive: true,
        };
        assert_eq!(coalescing(&a), want);
        let mut a = [0; 64];
        (a[4], a[8]) = (16, 4);
        assert_eq!(queues(&a), Some((4, 16)));
        assert_eq!(queues(&[0; 64]), None);
    }

    #[test]
    fn a_card_that_stamps_only_time_protocols_does_not_stamp_orders() {
        let mut a = [0; 64];
        (a[1], a[7]) = (0x5f, 0b10);
        assert!(stamps_rx(&a));
        // Software only, with a filter list left over.
        a[1] = 0x18;
        assert!(!stamps_rx(&a));
        (a[1], a[7]) = (0x5f, 1 << 12);
        assert!(!stamps_rx(&a));
    }

    #[test]
    fn loopback_has_its_address_and_no_queues() {
        let all = interfaces();
        assert!(all.contains(&("lo".into(), Ipv4Addr::LOCALHOST)));
        let lo = Settings::of("lo");
        assert_eq!((lo.queues, lo.rx_ring), (None, None));
        assert_eq!(Settings::of("no such interface").gro, None);
    }
}
