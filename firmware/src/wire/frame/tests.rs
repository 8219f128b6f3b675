use super::*;
use crate::limits::DATAGRAM_MAX;
use proptest::prelude::*;

const VENUE: Station = Station {
    mac: Mac([2, 0, 0, 0, 0, 0x0a]),
    vlan: None,
};
const PEER: Station = Station {
    mac: Mac([2, 0, 0, 0, 0, 0x0b]),
    vlan: None,
};
const VLAN: Station = Station {
    vlan: Some(0x123),
    ..VENUE
};

/// From 10.77.0.2:50000 to 10.77.0.1:4000, id 0x1234, 64 hops. Both checksums were worked out by another program.
const HELLO: &str = "02000000000a 02000000000b 0800 \
    4500 0028 1234 4000 40 11 13f5 0a4d0002 0a4d0001 \
    c350 0fa0 0014 d8f0 68656c6c6f2c2076656e7565 000000000000";
/// 02::0b asks who has 10.77.0.1, and hears that 02::0a does.
const WHO_HAS: &str = "ffffffffffff 02000000000b 0806 0001 0800 06 04 0001 \
    02000000000b 0a4d0002 000000000000 0a4d0001 000000000000000000000000000000000000";
const IT_IS_ME: &str = "02000000000b 02000000000a 0806 0001 0800 06 04 0002 \
    02000000000a 0a4d0001 02000000000b 0a4d0002 000000000000000000000000000000000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = (hex.chars().filter(|c| !c.is_whitespace()))
        .map(|c| c.to_digit(16).unwrap())
        .collect();
    (digits.chunks(2))
        .map(|d| (d[0] * 16 + d[1]) as u8)
        .collect()
}

fn at(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, last), port)
}

fn hello_head() -> UdpHead {
    UdpHead {
        to_mac: VENUE.mac,
        from: at(2, 50_000),
        to: at(1, 4000),
        id: 0x1234,
        ttl: 64,
    }
}

fn build(station: &Station, head: &UdpHead, payload: &[u8]) -> Vec<u8> {
    let mut out = [0xee; FRAME_MAX];
    let len = build_udp(station, head, payload, &mut out);
    out[..len].to_vec()
}

/// The same frame with a tag behind its addresses.
fn tagged(frame: &[u8], control: u16) -> Vec<u8> {
    let tag = [&TYPE_VLAN[..], &control.to_be_bytes()].concat();
    [&frame[..12], &tag, &frame[12..]].concat()
}

/// Makes the IPv4 header's checksum right again.
fn mend(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum = !fold(sum(&frame[14..34]));
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn a_datagram_is_these_bytes() {
    assert_eq!(
        build(&PEER, &hello_head(), b"hello, venue"),
        bytes(HELLO),
        "built"
    );
    let frame = bytes(HELLO);
    let Ok(Inbound::Udp(udp)) = parse(&frame, &VENUE) else {
        panic!("parsed")
    };
    assert_eq!(
        (udp.from_mac, udp.payload),
        (PEER.mac, &b"hello, venue"[..])
    );
    assert_eq!((udp.from, udp.to), (at(2, 50_000), at(1, 4000)));
}

#[test]
fn arp_is_these_bytes() {
    let question = Arp {
        is_request: true,
        sender_mac: PEER.mac,
        sender_ip: *at(2, 0).ip(),
        target_mac: Mac([0; 6]),
        target_ip: *at(1, 0).ip(),
    };
    let answer = Arp {
        is_request: false,
        sender_mac: VENUE.mac,
        sender_ip: *at(1, 0).ip(),
        target_mac: PEER.mac,
        target_ip: *at(2, 0).ip(),
    };
    for (arp, from, to, hex) in [
        (question, PEER, VENUE, WHO_HAS),
        (answer, VENUE, PEER, IT_IS_ME),
    ] {
        let mut out = [0xee; FRAME_MAX];
        let len = build_arp(&from, &arp, &mut out);
        assert_eq!(out[..len], bytes(hex));
        assert_eq!(parse(&out[..len], &to), Ok(Inbound::Arp(arp)));
    }
}

#[test]
fn the_checksum_is_that_of_rfc_1071() {
    assert_eq!(fold(sum(&bytes("0001 f203 f4f5 f6f7"))), 0xddf2);
    // An odd byte counts as the high half of a word.
    assert_eq!(fold(sum(&[1, 2, 3])), 0x0402);
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones_and_none_is_taken() {
    // The last two bytes of the payload bring the sum to 0xffff.
    let mut payload = [0; 4];
    let plain = build(&PEER, &hello_head(), &payload);
    payload[2..].copy_from_slice(&plain[40..42]);
    let mut frame = build(&PEER, &hello_head(), &payload);
    assert_eq!(frame[40..42], [0xff; 2]);
    assert!(parse(&frame, &VENUE).is_ok());
    frame[40..42].fill(0);
    frame[42] ^= 0x55;
    assert!(
        parse(&frame, &VENUE).is_ok(),
        "unchecked, as its sender wants"
    );
}

#[test]
fn a_tag_must_be_ours_and_its_priority_is_free() {
    let (plain, mut out) = (bytes(HELLO), [0; FRAME_MAX]);
    let len = build_udp(
        &Station {
            vlan: VLAN.vlan,
            ..PEER
        },
        &hello_head(),
        b"hello, venue",
        &mut out,
    );
    assert_eq!(out[..len], tagged(&plain, 0x123));
    assert_eq!(len, 64, "long enough without its tag");
    for control in [0x123, 0xf123] {
        assert!(parse(&tagged(&plain, control), &VLAN).is_ok());
    }
    let refused = [
        (tagged(&plain, 0x124), VLAN),
        (tagged(&plain, 0), VLAN),
        (tagged(&tagged(&plain, 0x123), 0x123), VLAN),
        (plain.clone(), VLAN),
        (tagged(&plain, 0x123), VENUE),
    ];
    for (frame, station) in refused {
        assert_eq!(parse(&frame, &station), Err(FrameFault::Vlan));
    }
}

/// One way to break the frame for each reason that `parse` can give, each with a header checksum that is right.
#[test]
fn every_fault_has_its_reason() {
    let set = |at: usize, to: &[u8]| {
        let mut frame = bytes(HELLO);
        frame[at..at + to.len()].copy_from_slice(to);
        mend(&mut frame);
        frame
    };
    let cut = |len: usize| bytes(HELLO)[..len].to_vec();
    let broken = [
        (FrameFault::Runt, cut(13)),
        (FrameFault::Runt, cut(0)),
        (FrameFault::OtherMac, set(5, &[0x0b])),
        (FrameFault::EtherType, set(12, &[0x86, 0xdd])),
        (FrameFault::Arp, set(12, &[0x08, 0x06])),
        (FrameFault::Arp, [&bytes(WHO_HAS)[..41]].concat()),
        (FrameFault::Group, set(0, &[0xff; 6])),
        (FrameFault::Group, set(0, &[1, 0, 0x5e, 1, 2, 3])),
        (FrameFault::IpShort, cut(33)),
        (FrameFault::IpVersion, set(14, &[0x65])),
        (FrameFault::IpHeaderLength, set(14, &[0x46])),
        (FrameFault::IpHeaderLength, set(14, &[0x44])),
        (FrameFault::IpLength, set(16, &[0, 19])),
        (FrameFault::IpLength, set(16, &[0, 47])),
        (FrameFault::IpLength, set(16, &[0xff; 2])),
        (FrameFault::IpFragment, set(20, &[0x20, 0])),
        (FrameFault::IpFragment, set(20, &[0, 1])),
        (FrameFault::IpTtl, set(22, &[0])),
        (FrameFault::IpProtocol, set(23, &[6])),
        (FrameFault::IpSource, set(26, &[127])),
        (FrameFault::IpSource, set(26, &[224])),
        (FrameFault::IpSource, set(26, &[0xff; 4])),
        (FrameFault::IpSource, set(26, &[0; 4])),
        (FrameFault::UdpShort, set(16, &[0, 27])),
        (FrameFault::UdpLength, set(38, &[0, 19])),
        (FrameFault::UdpLength, set(38, &[0, 21])),
        (FrameFault::UdpLength, set(38, &[0, 0])),
        (FrameFault::UdpChecksum, set(42, b"H")),
        (FrameFault::UdpChecksum, set(29, &[3])),
    ];
    for (reason, frame) in &broken {
        assert_eq!(parse(frame, &VENUE), Err(*reason), "{frame:02x?}");
    }
    let mut frame = bytes(HELLO);
    frame[22] -= 1;
    assert_eq!(parse(&frame, &VENUE), Err(FrameFault::IpChecksum));
    assert_eq!(
        parse(&tagged(&bytes(HELLO), 0x123)[..17], &VLAN),
        Err(FrameFault::Runt)
    );
}

#[test]
fn faults_stand_at_their_numbers_and_have_names_of_their_own() {
    for (n, fault) in FrameFault::ALL.into_iter().enumerate() {
        assert_eq!(fault as usize, n);
        let same = FrameFault::ALL.iter().filter(|f| f.name() == fault.name());
        assert_eq!(same.count(), 1);
    }
}

#[test]
fn addresses_read_as_they_are_written() {
    let mac = Mac([2, 0, 0xab, 0xff, 9, 0x10]);
    assert_eq!(mac.to_string(), "02:00:ab:ff:09:10");
    assert_eq!(mac.to_string().parse(), Ok(mac));
    for bad in [
        "",
        "02:00:ab:ff:09",
        "02:00:ab:ff:09:10:11",
        "2:0:ab:ff:9:10",
        "+2:00:ab:ff:09:10",
        "02-00-ab-ff-09-10",
    ] {
        assert_eq!(bad.parse::<Mac>(), Err(NotAMac), "{bad}");
    }
    let group = Mac::of_group(Ipv4Addr::new(239, 129, 2, 3));
    assert_eq!(group.to_string(), "01:00:5e:01:02:03");
    assert!(group.is_group() && Mac::BROADCAST.is_group() && !mac.is_group());
}

#[test]
#[should_panic(expected = "a payload of 1473 bytes")]
fn a_datagram_of_nobody_is_not_built() {
    build(&PEER, &hello_head(), &[0; DATAGRAM_MAX + 1]);
}

fn stations() -> impl Strategy<Value = Station> {
    let vlan = prop_oneof![Just(None), (1..=VLAN_MAX).prop_map(Some)];
    vlan.prop_map(|vlan| Station { vlan, ..VENUE })
}

prop_compose! {
    fn heads()(a in 1u8..127, b in 128u8..224, rest in any::<[u8; 6]>(), ports in any::<[u16; 2]>(),
               id in any::<u16>(), ttl in 1u8..) -> UdpHead {
        let [c, d, e, f, g, h] = rest;
        UdpHead {
            to_mac: VENUE.mac,
            from: SocketAddrV4::new(Ipv4Addr::new(a, c, d, e), ports[0]),
            to: SocketAddrV4::new(Ipv4Addr::new(b, f, g, h), ports[1]),
            id,
            ttl,
        }
    }
}

proptest! {
    #[test]
    fn what_is_built_is_parsed(
        station in stations(), head in heads(), payload in prop::collection::vec(any::<u8>(), 0..=DATAGRAM_MAX),
    ) {
        let sender = Station { mac: PEER.mac, ..station };
        let frame = build(&sender, &head, &payload);
        prop_assert!(frame.len() >= FRAME_MIN && frame.len() <= FRAME_MAX);
        let want = UdpFrame { from_mac: PEER.mac, from: head.from, to: head.to, payload: &payload };
        prop_assert_eq!(parse(&frame, &station), Ok(Inbound::Udp(want)));
    }

    /// One byte that is another, a frame cut anywhere, or bytes behind it: refused, or it means the same.
    #[test]
    fn one_change_is_found_or_changes_nothing(
        station in stations(), head in heads(), payload in prop::collection::vec(any::<u8>(), 0..80),
        place in any::<prop::sample::Index>(), flip in 1u8.., kind in 0..3,
    ) {
        let sender = Station { mac: PEER.mac, ..station };
        let frame = build(&sender, &head, &payload);
        let place = place.index(frame.len());
        let mut changed = frame.clone();
        match kind {
            0 => changed[place] ^= flip,
            1 => changed.truncate(place),
            _ => changed.extend(vec![flip; place]),
        }
        let Ok(Inbound::Udp(want)) = parse(&frame, &station) else { panic!("as built") };
        if let Ok(found) = parse(&changed, &station) {
            let Inbound::Udp(found) = found else { panic!("no datagram is taken for ARP") };
            // The sender's MAC is the one thing that nothing protects.
            prop_assert_eq!(UdpFrame { from_mac: PEER.mac, ..found }, want);
            prop_assert!(found.from_mac == PEER.mac || (6..12).contains(&place));
        }
    }
}
