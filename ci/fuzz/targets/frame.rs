//! Any frame is refused with a reason, or what it holds is found again in a frame that is built from it.
#![no_main]

use firmware::limits::DATAGRAM_MAX;
use firmware::wire::frame::{
    FRAME_MAX, FrameFault, Inbound, Mac, Station, UdpFrame, UdpHead, build_arp, build_udp, is_host,
    parse,
};
use fuzz::Bytes;
use libfuzzer_sys::fuzz_target;
use std::net::{Ipv4Addr, SocketAddrV4};

const VENUE: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);

fn again(station: &Station, udp: &UdpFrame<'_>) {
    assert!(is_host(*udp.from.ip()));
    let sender = Station {
        mac: udp.from_mac,
        ..*station
    };
    let head = UdpHead {
        to_mac: station.mac,
        from: udp.from,
        to: udp.to,
        id: 7,
        ttl: 1,
    };
    let mut out = [0; FRAME_MAX];
    if udp.payload.len() <= DATAGRAM_MAX {
        let len = build_udp(&sender, &head, udp.payload, &mut out);
        assert_eq!(parse(&out[..len], station), Ok(Inbound::Udp(*udp)));
    }
}

fn judge(station: &Station, frame: &[u8]) -> Result<(), FrameFault> {
    match parse(frame, station)? {
        Inbound::Udp(udp) => again(station, &udp),
        Inbound::Arp(arp) => {
            let mut out = [0; FRAME_MAX];
            let sender = Station {
                mac: PEER,
                ..*station
            };
            let len = build_arp(&sender, &arp, &mut out);
            let to = Station {
                mac: arp.target_mac,
                ..*station
            };
            let at = if arp.is_request { station } else { &to };
            assert_eq!(parse(&out[..len], at), Ok(Inbound::Arp(arp)));
        }
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let vlan = bytes.maybe(|b| 1 + b.below(4094) as u16);
    let station = Station { mac: VENUE, vlan };
    if bytes.flag() {
        // As it comes, but for us: few would get further.
        let mut frame = data.to_vec();
        if let Some(to) = frame.first_chunk_mut() {
            *to = VENUE.0;
        }
        let _ = judge(&station, &frame);
        return;
    }
    // A sound frame with changes anywhere, so that what lies behind the checksums is seen too.
    let address = |b: &mut Bytes<'_>| {
        SocketAddrV4::new(
            Ipv4Addr::from(b.array::<4>()),
            u16::from_le_bytes(b.array()),
        )
    };
    let head = UdpHead {
        to_mac: VENUE,
        from: address(&mut bytes),
        to: address(&mut bytes),
        id: 1,
        ttl: bytes.byte(),
    };
    let payload = vec![bytes.byte(); bytes.below(DATAGRAM_MAX as u32 + 1) as usize];
    let sender = Station {
        mac: PEER,
        ..station
    };
    let mut out = [0; FRAME_MAX];
    let len = build_udp(&sender, &head, &payload, &mut out);
    let frame = &mut out[..len];
    let sound = is_host(*head.from.ip()) && head.ttl > 0;
    assert_eq!(judge(&station, frame).is_ok(), sound);
    while !bytes.is_empty() {
        let at = bytes.below(len as u32) as usize;
        frame[at] ^= bytes.byte();
    }
    let _ = judge(&station, frame);
});
