//! Frames that are broken, or not for us, between datagrams that are: each is counted by its reason, nothing of it
//! reaches the tile, and what is sound goes on.

use crate::veth::{BOX_MAC, FrameSocket, PEER_IP, PEER_MAC};
use firmware::wire::frame::{FRAME_MAX, FrameFault, Mac, Station, UdpHead, build_udp};
use hostd::nic::{Endpoint, Nic, RxBurst};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Times that each broken frame is sent.
const ROUNDS: usize = 3;
/// By then what was sent has arrived, or never will.
const PATIENCE: Duration = Duration::from_secs(20);
const FROM: Endpoint = Endpoint::new(PEER_IP, 9999);

/// A broken frame.
struct Broken {
    fault: FrameFault,
    /// It says that it is for one of our sockets. Others are none of our business where a kernel takes care of them.
    is_ours: bool,
    frame: Vec<u8>,
}

/// What broken frames say.
const NEVER: &[u8] = b"never seen";

/// Who looks at frames before the tile sees anything of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judge {
    /// The backend, at those that say that they are for one of our sockets: a filter leaves the others to the kernel.
    Filtered,
    /// The backend, at all of them; fragments only if the driver does not ask the kernel to put them together first.
    #[cfg(feature = "dpdk")]
    Backend { of_fragments: bool },
    /// The kernel. It drops more quietly, and takes some of what we refuse: options, groups, no hops left.
    Kernel,
}

fn sound(from: Endpoint, to: Endpoint, vlan: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let station = Station {
        mac: Mac(PEER_MAC),
        vlan,
    };
    let head = UdpHead {
        to_mac: Mac(BOX_MAC),
        from,
        to,
        id: 1,
        ttl: 9,
    };
    let mut out = [0; FRAME_MAX];
    let len = build_udp(&station, &head, payload, &mut out);
    out[..len].to_vec()
}

fn checksum(header: &[u8]) -> [u8; 2] {
    let sum: u32 = (header.chunks(2))
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

/// Broken frames of every kind for `socket`, on a cable without VLANs.
fn all(socket: Endpoint) -> Vec<Broken> {
    let plain = || sound(FROM, socket, None, NEVER);
    // With an IPv4 header that is right, so that only one thing is wrong.
    let set = |at: usize, to: &[u8]| {
        let mut frame = plain();
        frame[at..at + to.len()].copy_from_slice(to);
        frame[24..26].fill(0);
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum);
        frame
    };
    let ours = |fault, frame| Broken {
        fault,
        is_ours: true,
        frame,
    };
    let other = |fault, frame| Broken {
        fault,
        is_ours: false,
        frame,
    };
    let mut options = set(14, &[0x46]);
    options.splice(34..34, [1; 4]);
    let mut wrong_sum = plain();
    wrong_sum[25] ^= 0x10;
    let absent = Endpoint::new(Ipv4Addr::new(10, 77, 0, 99), socket.port());
    let stranger = Endpoint::new(*socket.ip(), socket.port() ^ 0x8000);
    vec![
        ours(FrameFault::Vlan, sound(FROM, socket, Some(7), NEVER)),
        ours(FrameFault::OtherMac, set(0, &[2, 0, 0, 0, 0, 0x77])),
        ours(FrameFault::Group, set(0, &[0xff; 6])),
        ours(FrameFault::Group, set(0, &[1, 0, 0x5e, 0, 0, 1])),
        ours(FrameFault::IpVersion, set(14, &[0x65])),
        ours(FrameFault::IpHeaderLength, options),
        ours(FrameFault::IpHeaderLength, set(14, &[0x43])),
        ours(FrameFault::IpLength, set(16, &[0x05, 0xdc])),
        ours(FrameFault::IpLength, set(16, &[0, 12])),
        ours(FrameFault::IpChecksum, wrong_sum),
        ours(FrameFault::IpFragment, set(20, &[0x20, 0])),
        ours(FrameFault::IpTtl, set(22, &[0])),
        ours(FrameFault::IpSource, set(26, &[127, 0, 0, 1])),
        ours(
            FrameFault::IpSource,
            sound(Endpoint::new(*socket.ip(), 9), socket, None, NEVER),
        ),
        ours(FrameFault::UdpLength, set(38, &[0, 200])),
        ours(FrameFault::UdpLength, set(38, &[0, 3])),
        ours(FrameFault::UdpChecksum, set(45, &[0xff])),
        other(FrameFault::EtherType, set(12, &[0x88, 0xb5])),
        other(FrameFault::Arp, set(12, &[8, 6])),
        other(FrameFault::IpShort, plain()[..30].to_vec()),
        other(FrameFault::IpFragment, set(20, &[0x00, 0x10])),
        other(FrameFault::IpProtocol, set(23, &[132])),
        other(FrameFault::IpDestination, sound(FROM, absent, None, NEVER)),
        ours(FrameFault::UdpShort, set(16, &[0, 24])),
        other(FrameFault::UdpPort, sound(FROM, stranger, None, NEVER)),
    ]
}

/// Sends all of it to `socket` of `nic`, each with a datagram that is sound behind it, and looks at what comes out and at
/// the counters.
pub(crate) fn every_fault_is_counted<N: Nic>(nic: &mut N, socket: Endpoint, judge: Judge) {
    let cable = FrameSocket::open();
    let broken = all(socket);
    let before = *nic.counters();
    let (mut rx, mut taken) = (RxBurst::new(), Vec::new());
    let mut want = [0; FrameFault::COUNT];
    let begun = Instant::now();
    for number in 0..ROUNDS * broken.len() {
        let b = &broken[number % broken.len()];
        cable.send(&b.frame);
        cable.send(&sound(FROM, socket, None, &number.to_le_bytes()));
        let is_counted = match judge {
            Judge::Filtered => b.is_ours,
            #[cfg(feature = "dpdk")]
            Judge::Backend { of_fragments } => of_fragments || b.fault != FrameFault::IpFragment,
            Judge::Kernel => false,
        };
        want[b.fault as usize] += u64::from(is_counted);
        while taken.len() <= number && begun.elapsed() < PATIENCE {
            nic.poll(&mut rx).unwrap();
            let sound = (rx.iter()).filter(|f| judge != Judge::Kernel || f.payload != NEVER);
            taken.extend(sound.map(|f| (f.from, f.payload.to_vec())));
        }
    }
    let sent = (0..ROUNDS * broken.len()).map(|n| (FROM, n.to_le_bytes().to_vec()));
    assert!(
        taken.into_iter().eq(sent),
        "all that is sound, and nothing else"
    );
    for fault in FrameFault::ALL {
        let n = fault as usize;
        let (counted, want) = (nic.counters().faults[n] - before.faults[n], want[n]);
        assert_eq!(counted, want, "{}", fault.name());
    }
}
