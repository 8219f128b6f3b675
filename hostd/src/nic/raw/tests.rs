use super::*;
use std::collections::VecDeque;

const VENUE: Station = Station {
    mac: Mac([2, 0, 0, 0, 0, 0x0a]),
    vlan: Some(7),
};
const PEER: Station = Station {
    mac: Mac([2, 0, 0, 0, 0, 0x0b]),
    vlan: Some(7),
};
const VENUE_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const PEER_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const GATEWAY_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const ORDERS: Endpoint = Endpoint::new(VENUE_IP, 4000);
const CLIENT: Endpoint = Endpoint::new(PEER_IP, 50_000);

/// The device's end of a cable that a test holds.
#[derive(Default)]
struct Cable {
    arriving: VecDeque<Vec<u8>>,
    queued: Vec<Vec<u8>>,
    left: Vec<Vec<u8>>,
    room: usize,
}

impl FramePort for Cable {
    fn receive(&mut self, max: usize, mut on: impl FnMut(&[u8], TimeNs)) -> io::Result<usize> {
        let count = max.min(self.arriving.len());
        for frame in self.arriving.drain(..count) {
            on(&frame, TimeNs(1));
        }
        Ok(count)
    }

    fn transmit(
        &mut self,
        build: impl FnOnce(&mut [u8; FRAME_MAX]) -> usize,
    ) -> Result<(), TxFull> {
        if self.queued.len() == self.room {
            return Err(TxFull);
        }
        let mut frame = [0; FRAME_MAX];
        let len = build(&mut frame);
        self.queued.push(frame[..len].to_vec());
        Ok(())
    }

    fn flush(&mut self) {
        self.left.append(&mut self.queued);
    }

    fn wait(&mut self, _: &Parker, _: Duration) -> io::Result<()> {
        self.flush();
        Ok(())
    }

    fn lost(&mut self) -> u64 {
        3
    }
}

fn nic(finder: Finder) -> RawNic<Cable> {
    let route = |net: &str, way| Route {
        net: net.parse().unwrap(),
        way,
    };
    let routes = Routes::new(&[
        route("10.77.0.0/24", Way::Neighbours),
        route("0.0.0.0/0", Way::Gateway(GATEWAY_IP)),
    ]);
    let host = Host {
        station: VENUE,
        locals: vec![ORDERS, Endpoint::new(VENUE_IP, 4001)],
        routes: routes.unwrap(),
        neighbours: Vec::new(),
    };
    let cable = Cable {
        room: 100,
        ..Cable::default()
    };
    RawNic::new(cable, host, finder).unwrap()
}

/// Socket, sender and payload of a datagram.
type Taken = (usize, Endpoint, Vec<u8>);

impl RawNic<Cable> {
    /// Polls once with these frames on the cable; returns what was taken and what has left.
    fn turn(&mut self, frames: &[Vec<u8>]) -> (Vec<Taken>, Vec<Vec<u8>>) {
        self.port.arriving.extend(frames.iter().cloned());
        let mut rx = RxBurst::new();
        self.poll(&mut rx).unwrap();
        self.flush();
        let taken = rx.iter().map(|f| (f.socket, f.from, f.payload.to_vec()));
        (taken.collect(), std::mem::take(&mut self.port.left))
    }

    /// As if so much time had passed.
    fn pass(&mut self, ns: u64) -> Vec<Vec<u8>> {
        self.now += ns;
        self.serve_waiting();
        std::mem::take(&mut self.port.left)
    }
}

fn datagram(from: Endpoint, to: Endpoint, payload: &[u8]) -> Vec<u8> {
    let head = UdpHead {
        to_mac: VENUE.mac,
        from,
        to,
        id: 0,
        ttl: 1,
    };
    let mut out = [0; FRAME_MAX];
    let len = frame::build_udp(&PEER, &head, payload, &mut out);
    out[..len].to_vec()
}

fn arp(is_request: bool, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
    let arp = Arp {
        is_request,
        sender_mac: PEER.mac,
        sender_ip,
        target_mac: VENUE.mac,
        target_ip,
    };
    let mut out = [0; FRAME_MAX];
    let len = frame::build_arp(&PEER, &arp, &mut out);
    out[..len].to_vec()
}

/// What a frame of ours says to the peer.
fn told(frame: &[u8]) -> Inbound<'_> {
    frame::parse(frame, &PEER).unwrap()
}

fn asked(frame: &[u8]) -> Option<Ipv4Addr> {
    match told(frame) {
        Inbound::Arp(a) if a.is_request => Some(a.target_ip),
        _ => None,
    }
}

fn payload(frame: &[u8]) -> &[u8] {
    match told(frame) {
        Inbound::Udp(udp) => udp.payload,
        Inbound::Arp(arp) => panic!("{arp:?}"),
    }
}

#[test]
fn it_says_where_it_lives_and_answers_for_its_address() {
    let mut nic = nic(Finder::Arp);
    let (_, left) = nic.turn(&[]);
    assert_eq!(left.len(), 1, "one address");
    assert_eq!(asked(&left[0]), Some(VENUE_IP));
    let (taken, left) = nic.turn(&[
        arp(true, PEER_IP, VENUE_IP),
        arp(true, PEER_IP, GATEWAY_IP),
        arp(true, VENUE_IP, VENUE_IP),
    ]);
    assert!(taken.is_empty());
    let want = Arp {
        is_request: false,
        sender_mac: VENUE.mac,
        sender_ip: VENUE_IP,
        target_mac: PEER.mac,
        target_ip: PEER_IP,
    };
    assert_eq!(left.len(), 1);
    assert_eq!(told(&left[0]), Inbound::Arp(want));
    // Who asked is known.
    nic.send(0, CLIENT, b"report").unwrap();
    assert_eq!(payload(&nic.turn(&[]).1[0]), b"report");
    let c = nic.counters();
    assert_eq!((c.arp_rx, c.arp_tx, c.arp_conflicts, c.tx), (3, 2, 1, 1));
    assert_eq!(c.rx_lost, 3);
}

#[test]
fn what_waits_for_a_neighbour_leaves_in_order_once_it_answers() {
    let mut nic = nic(Finder::Arp);
    nic.turn(&[]);
    for i in 0..3_u8 {
        nic.send(usize::from(i % 2), CLIENT, &[i]).unwrap();
    }
    let far = Endpoint::new(Ipv4Addr::new(8, 8, 8, 8), 53);
    nic.send(0, far, b"far").unwrap();
    let (_, left) = nic.turn(&[]);
    let asks: Vec<_> = left.iter().map(|f| asked(f).unwrap()).collect();
    assert_eq!(asks, [PEER_IP, GATEWAY_IP], "each once");

    // An answer from somewhere else changes nothing; nor does one for an address that is not asked for.
    let other = Ipv4Addr::new(10, 78, 0, 9);
    let (_, left) = nic.turn(&[arp(false, other, VENUE_IP)]);
    assert_eq!(left, Vec::<Vec<u8>>::new());
    let (_, left) = nic.turn(&[arp(false, PEER_IP, VENUE_IP)]);
    let payloads: Vec<_> = left.iter().map(|f| payload(f)).collect();
    assert_eq!(payloads, [[0], [1], [2]]);
    let (_, left) = nic.turn(&[arp(false, GATEWAY_IP, VENUE_IP)]);
    let Inbound::Udp(udp) = told(&left[0]) else {
        panic!("a datagram")
    };
    assert_eq!((udp.to, udp.payload), (far, &b"far"[..]));
    assert_eq!(nic.counters().tx, 4);
}

#[test]
fn what_no_neighbour_answers_for_is_given_up_and_counted() {
    let mut nic = nic(Finder::Arp);
    nic.turn(&[]);
    for _ in 0..100 {
        nic.send(0, CLIENT, b"lost").unwrap();
    }
    assert_eq!(nic.counters().tx_unresolved, 36, "only so many wait");
    nic.turn(&[]);
    let mut asks = 0;
    for _ in 0..5 {
        asks += nic.pass(neighbours::ASK_NS).len();
    }
    assert_eq!((asks, nic.counters().tx_unresolved), (3, 100));
    assert!(nic.waiting.is_empty());
    assert_eq!(nic.counters().tx, 0);
}

#[test]
fn what_waits_stays_in_front_while_the_device_is_full() {
    let mut nic = nic(Finder::Arp);
    nic.turn(&[]);
    nic.send(0, CLIENT, b"first").unwrap();
    nic.turn(&[]);
    nic.port.room = 0;
    let (_, left) = nic.turn(&[arp(false, PEER_IP, VENUE_IP)]);
    assert!(left.is_empty());
    nic.port.room = 100;
    nic.send(0, CLIENT, b"second").unwrap();
    let left = nic.pass(0);
    let payloads: Vec<_> = left.iter().map(|f| payload(f)).collect();
    assert_eq!(payloads, [&b"first"[..], b"second"]);
}

#[test]
fn datagrams_are_taken_for_our_sockets_only() {
    let mut nic = nic(Finder::Arp);
    nic.turn(&[]);
    let to = |ip, port| Endpoint::new(ip, port);
    let longest = [5; DATAGRAM_MAX];
    let (taken, _) = nic.turn(&[
        datagram(CLIENT, to(VENUE_IP, 4001), b"feed"),
        datagram(CLIENT, to(VENUE_IP, 4002), b"other port"),
        datagram(CLIENT, to(PEER_IP, 4000), b"other address"),
        datagram(to(VENUE_IP, 1), ORDERS, b"ourselves"),
        datagram(CLIENT, ORDERS, b""),
        datagram(CLIENT, ORDERS, &longest),
    ]);
    let want = [(1, CLIENT, b"feed".to_vec()), (0, CLIENT, longest.to_vec())];
    assert_eq!(taken, want);
    let c = nic.counters();
    for fault in FrameFault::ALL {
        let is_one = [
            FrameFault::UdpPort,
            FrameFault::IpDestination,
            FrameFault::IpSource,
        ]
        .contains(&fault);
        assert_eq!(c.faults[fault as usize], u64::from(is_one), "{fault:?}");
    }
    assert_eq!((c.rx, c.rx_empty), (2, 1));
}

#[test]
fn groups_need_no_neighbour_and_ourselves_and_nowhere_get_nothing() {
    let mut nic = nic(Finder::Arp);
    nic.turn(&[]);
    let group = Ipv4Addr::new(239, 1, 2, 3);
    for ip in [
        group,
        VENUE_IP,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(10, 77, 0, 255),
        Ipv4Addr::new(240, 0, 0, 1),
    ] {
        nic.send(1, Endpoint::new(ip, 9), b"x").unwrap();
    }
    let (_, left) = nic.turn(&[]);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0][..6], [1, 0, 0x5e, 1, 2, 3]);
    // Behind the tag: hops of the IPv4 header.
    assert_eq!(left[0][18 + 8], MULTICAST_TTL);
    assert_eq!((nic.counters().tx, nic.counters().tx_errors), (1, 4));
}

#[test]
fn the_kernels_table_is_asked_and_believed() {
    let (asks, mut asked) = lane::bounded(8);
    let (mut says, news) = lane::bounded(8);
    let parker = Parker::new().unwrap();
    let waker = parker.waker();
    let mut nic = nic(Finder::Kernel(KernelTable { asks, waker, news }));
    assert!(nic.turn(&[]).1.is_empty(), "ARP is the kernel's");
    nic.send(0, CLIENT, b"one").unwrap();
    assert_eq!(asked.pop(), Some(PEER_IP));
    says.push(News::Found(PEER_IP, PEER.mac)).unwrap();
    assert_eq!(payload(&nic.turn(&[]).1[0]), b"one");
    says.push(News::Lost(PEER_IP)).unwrap();
    says.push(News::Routes(Routes::new(&[]).unwrap())).unwrap();
    nic.turn(&[datagram(CLIENT, ORDERS, b"so that it looks around")]);
    nic.send(0, CLIENT, b"two").unwrap();
    assert_eq!((nic.counters().tx, nic.counters().tx_errors), (1, 1));
    assert_eq!(asked.pop(), None);
}
