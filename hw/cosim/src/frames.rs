//! Frames to try both sides with: sound ones of a few members, and what can be wrong with them.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytemuck::Zeroable;
use firmware::gate::{GateInstrument, Rates};
use firmware::limits::DATAGRAM_MAX;
use firmware::tag::{Suite, siphash_2_4_128};
use firmware::units::PriceTicks;
use firmware::wire::datagram::{DatagramBuilder, KIND_CONTROL, KIND_DATA, KIND_HEARTBEAT};
use firmware::wire::frame::{self, Arp, FRAME_MAX, Mac, Station, UdpHead};
use firmware::wire::order::{
    Cancel, MassCancel, MmpReset, NewOrder, ReduceQty, Replace, Request, Withdraw,
};
use firmware::wire::sbe::ID32_NULL;

use crate::prng::Prng;
use crate::rows::{SessionRow, instrument_words};

/// Members that take part: 1 to this.
pub const MEMBERS: u32 = 12;
/// Instruments that are listed: 0 to this, and the last place.
pub const INSTRUMENTS: u16 = 8;

/// A member as its frames need it.
#[derive(Clone, Debug)]
struct Member {
    row: SessionRow,
    packet_no: u64,
    seq_no: u64,
    cl_ord_id: u64,
}

/// A source of frames.
#[derive(Clone, Debug)]
pub struct Source {
    /// Numbers that all choices come from.
    pub prng: Prng,
    /// The venue on the cable.
    pub station: Station,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// What is listed.
    pub instruments: Vec<(u16, GateInstrument)>,
    members: Vec<Member>,
    logins: u32,
}

const STEPS: [i64; 12] = [
    1,
    2,
    3,
    5,
    7,
    64,
    1_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    999_999_937,
    1 << 36,
];

impl Source {
    /// The same seed gives the same members, instruments and frames.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let station = Station {
            mac: Mac([2, 0x11, 0x22, 0x33, 0x44, 0x55]),
            vlan: prng.once_in(2).then(|| 1 + prng.below(4094) as u16),
        };
        let mut source = Self {
            station,
            ip: Ipv4Addr::new(10, 77, 0, 1),
            port: 1024 + prng.below(60_000) as u16,
            instruments: Vec::new(),
            members: Vec::new(),
            logins: 0,
            prng,
        };
        for id in (0..INSTRUMENTS).chain([255]) {
            let instrument = source.instrument();
            source.instruments.push((id, instrument));
        }
        for member in 1..=MEMBERS {
            let row = source.login(member, 0);
            source.members.push(Member {
                row,
                packet_no: 0,
                seq_no: row.expected,
                cl_ord_id: row.last_cl_ord_id,
            });
        }
        source
    }

    /// An instrument that the RTL can hold.
    pub fn instrument(&mut self) -> GateInstrument {
        loop {
            let p = &mut self.prng;
            let i = GateInstrument {
                tick_e9: match p.once_in(4) {
                    true => 1 + (p.any() >> (20 + p.below(40))) as i64,
                    false => p.pick(&STEPS),
                },
                base: PriceTicks(p.below(3) as i32 * p.below(5_000) as i32),
                width_ticks: 1 + p.below(4_000) as i32,
                order_lots_max: p.pick(&[1, 10, 1_000, (1 << 24) - 1]),
                tick2_from: PriceTicks(p.below(3_000) as i32),
                tick2_multiple: p.pick(&[0, 0, 1, 2, 5, 10, 12]),
            };
            if instrument_words(&i).is_some() {
                return i;
            }
        }
    }

    /// Accounts with the member that may trade for each.
    #[must_use]
    pub fn accounts() -> Vec<(u32, u32)> {
        (1..=MEMBERS)
            .flat_map(|m| [(m, m), (1_000 + m, m)])
            .chain([(16_383, 3)])
            .collect()
    }

    /// A session of a member under a new connection id. What a member is stays as it is.
    fn login(&mut self, member: u32, last_cl_ord_id: u64) -> SessionRow {
        self.logins += 1;
        let p = &mut self.prng;
        let key = [p.any(), p.any()];
        SessionRow {
            conn_id: self.logins << 12 | (member - 1),
            member,
            suite: match member {
                1..=3 => Suite::None,
                4 => Suite::Aes128Gmac,
                _ => Suite::SipHash24,
            },
            key: bytemuck::cast(key),
            rates: (member != 5).then(|| Rates {
                requests_per_second: match member {
                    6 => 0,
                    7 | 1 => 1 + p.below(40) as u32,
                    _ => p.pick(&[1_000_000, u32::MAX, 333_333]),
                },
                quotes_per_second: 1,
            }),
            is_read_only: member == 8,
            expected: 1 + p.below(1_000),
            last_cl_ord_id,
        }
    }

    /// The first sessions.
    pub fn sessions(&self) -> impl Iterator<Item = SessionRow> {
        self.members.iter().map(|m| m.row)
    }

    /// A new session for some member, whose highest id so far is what `last` says.
    pub fn relogin(&mut self, last: impl FnOnce(u32) -> u64) -> SessionRow {
        let member = 1 + self.prng.below(u64::from(MEMBERS)) as u32;
        let row = self.login(member, last(member - 1));
        let m = &mut self.members[member as usize - 1];
        *m = Member {
            row,
            packet_no: 0,
            seq_no: row.expected,
            cl_ord_id: m.cl_ord_id.max(row.last_cl_ord_id),
        };
        row
    }

    /// A held session goes on at this request number and id; returns them.
    pub fn resume(&mut self, place: u32, expected: u64, last: u64) -> (u64, u64) {
        let m = &mut self.members[place as usize];
        m.seq_no = m.seq_no.max(expected).min(1 << 61);
        m.cl_ord_id = m.cl_ord_id.max(last);
        (m.seq_no, m.cl_ord_id)
    }

    fn price(&mut self, i: &GateInstrument) -> i64 {
        let p = &mut self.prng;
        let (base, width) = (i64::from(i.base.0), i64::from(i.width_ticks));
        let mut ticks = base + p.below(width as u64) as i64;
        if i.tick2_multiple > 1 && ticks >= i64::from(i.tick2_from.0) && !p.once_in(4) {
            ticks -= ticks % i64::from(i.tick2_multiple);
        }
        let price = ticks * i.tick_e9;
        match p.below(40) {
            0 => price + p.pick(&[1, -1, 2, i.tick_e9 / 2]),
            1 => (base - 1) * i.tick_e9,
            2 => (base + width) * i.tick_e9,
            3 => p.any() as i64,
            4 => p.pick(&[i64::MIN, i64::MAX, 0, -1, i64::MIN + 1]),
            5 => -price,
            6 => (p.any() as i64 / i.tick_e9).wrapping_mul(i.tick_e9),
            _ => price,
        }
    }

    fn request(&mut self, at: usize, now: u64) -> Request {
        let slot = self.prng.below(self.instruments.len() as u64) as usize;
        let (mut instrument, limits) = self.instruments[slot];
        let price = self.price(&limits);
        let member = self.members[at].row.member;
        let p = &mut self.prng;
        if p.once_in(40) {
            instrument = p.pick(&[INSTRUMENTS, 254, 256, 511, u16::MAX]);
        }
        let account = match p.below(40) {
            0 => p.pick(&[
                0,
                1,
                2,
                16_384,
                65_535,
                ID32_NULL,
                member | 1 << 14,
                member | 1 << 31,
            ]),
            1 if member == 3 => 16_383,
            n if n < 20 => member,
            _ => 1_000 + member,
        };
        let lots = match p.below(30) {
            0 => p.pick(&[
                0,
                -1,
                i64::MIN,
                i64::MAX,
                1 << 32,
                limits.order_lots_max + 1,
            ]),
            1 => limits.order_lots_max,
            _ => 1 + p.below(limits.order_lots_max as u64) as i64,
        };
        let m = &mut self.members[at];
        let cl_ord_id = match p.below(30) {
            0 => m.cl_ord_id,
            1 => p.below(m.cl_ord_id | 1),
            2 if p.once_in(1_000) => u64::MAX >> p.below(3),
            _ => m.cl_ord_id.saturating_add(1 + p.below(3)),
        };
        m.cl_ord_id = m.cl_ord_id.max(cl_ord_id.min(1 << 60));
        let (order_id, orig_cl_ord_id) = (p.any(), p.any());
        match p.below(10) {
            0..=4 => {
                let time_in_force = p.pick(&[0, 1, 2, 3, 4, 3, 4, 0, 0, 0, 0, 5]);
                let gtd = time_in_force == 2;
                Request::NewOrder(NewOrder {
                    cl_ord_id,
                    price,
                    quantity: lots,
                    expire_time: match (gtd, p.once_in(10)) {
                        (true, false) => now + 10_000_000 + p.below(1 << 40),
                        (true, true) => p.pick(&[0, 1, now, u64::MAX]),
                        (false, false) => 0,
                        (false, true) => 1 << p.below(64),
                    },
                    smp_id: p.any(),
                    account,
                    instrument,
                    side: if p.once_in(40) {
                        p.any() as u8
                    } else {
                        p.below(2) as u8
                    },
                    ord_type: if p.once_in(40) {
                        p.any() as u8
                    } else {
                        u8::from(p.once_in(6))
                    },
                    time_in_force,
                    flags: if p.once_in(40) {
                        p.any() as u8
                    } else {
                        p.pick(&[0, 0, 0, 1, 2, 4, 6])
                    },
                    stp_mode: if p.once_in(40) {
                        p.any() as u8
                    } else {
                        p.below(4) as u8
                    },
                    mmp_group: if p.once_in(40) {
                        p.any() as u8
                    } else {
                        p.below(17) as u8
                    },
                    pad1: p.any() as u32,
                })
            }
            5 | 6 => Request::Replace(Replace {
                cl_ord_id,
                order_id,
                orig_cl_ord_id,
                price,
                quantity: lots,
                account,
                instrument,
                flags: if p.once_in(20) {
                    p.any() as u8
                } else {
                    p.pick(&[0, 1, 8, 9])
                },
                pad1: p.any() as u8,
            }),
            7 => Request::ReduceQty(ReduceQty {
                cl_ord_id,
                order_id,
                orig_cl_ord_id,
                quantity: lots,
                account,
                instrument,
                pad1: p.any() as u16,
            }),
            8 => Request::Cancel(Cancel {
                cl_ord_id,
                order_id,
                orig_cl_ord_id,
                account,
                instrument,
                pad1: p.any() as u16,
            }),
            _ => Request::MassCancel(MassCancel {
                cl_ord_id,
                account: if p.once_in(3) { ID32_NULL } else { account },
                instrument: if p.once_in(3) { u16::MAX } else { instrument },
                side: p.pick(&[0, 1, 255, 255, 2]),
                scope: p.pick(&[0, 1, 2, 0, 3]),
                mmp_group: p.pick(&[0, 16, 255, 255, 17]),
                pad1: p.any() as u8,
                pad2: p.any() as u16,
                pad3: p.any() as u32,
            }),
        }
    }

    /// A datagram of member `at + 1`, mostly sound.
    fn datagram(&mut self, at: usize, now: u64) -> Vec<u8> {
        let mut builder = DatagramBuilder::new();
        let mut kind = KIND_DATA;
        let request = self.request(at, now);
        match self.prng.below(80) {
            0 => kind = KIND_HEARTBEAT,
            1 => kind = self.prng.any() as u8,
            2 => {
                kind = KIND_CONTROL;
                assert!(builder.push(request.header(), request.block()));
            }
            3 => {
                // Two requests, or one that the RTL does not know.
                let other = match self.prng.once_in(2) {
                    true => Request::MmpReset(MmpReset::zeroed()),
                    false => Request::Withdraw(Withdraw::zeroed()),
                };
                for r in [request, other] {
                    if !self.prng.once_in(3) {
                        assert!(builder.push(r.header(), r.block()));
                    }
                }
            }
            4 => {
                // Another header, or a block that is longer or shorter than it says.
                let mut header = request.header();
                let p = &mut self.prng;
                match p.below(4) {
                    0 => {
                        header.block_length =
                            header.block_length.wrapping_add(p.pick(&[1, 8, 65_535]))
                    }
                    1 => header.template_id = p.pick(&[100, 102, 103, 104, 105, 106, 101, 0]),
                    2 => header.schema_id ^= 1 << p.below(16),
                    _ => header.version = p.any() as u16,
                }
                let mut block = request.block().to_vec();
                block.resize(p.below(90) as usize + 8, 0x5a);
                assert!(builder.push(header, &block));
            }
            5 if self.prng.once_in(4) => {
                let long = vec![0x77; 600 + self.prng.below(800) as usize];
                assert!(builder.push(request.header(), &long));
            }
            _ => assert!(builder.push(request.header(), request.block())),
        }
        let p = &mut self.prng;
        let m = &mut self.members[at];
        let packet_no = match p.below(60) {
            0 => m.packet_no.saturating_sub(p.below(70)),
            1 => m.packet_no.saturating_sub(p.below(4)),
            2 => m.packet_no + p.below(130),
            3 if p.once_in(10) => p.pick(&[0, (1 << 48) + 1, 1 << 63, u64::MAX, 1 << 49]),
            4 if p.once_in(400) => 1 << 48,
            _ => m.packet_no + 1,
        };
        if packet_no <= 1 << 48 {
            m.packet_no = m.packet_no.max(packet_no);
        }
        let seq_no = match p.below(60) {
            0 => m.seq_no + p.below(5),
            1 => m.seq_no.saturating_sub(p.below(5)),
            2 if p.once_in(10) => p.pick(&[0, 1 << 62, (1 << 62) - 1, u64::MAX, 1 << 63]),
            _ => m.seq_no,
        };
        if seq_no < 1 << 61 {
            m.seq_no = m.seq_no.max(seq_no + 1);
        }
        let conn_id = match p.below(100) {
            0 => m.row.conn_id ^ 1 << p.below(32),
            1 => p.pick(&[0, 900, u32::MAX]),
            _ => m.row.conn_id,
        };
        let bad_tag = p.once_in(40).then(|| p.below(128));
        let row = m.row;
        let ack = p.any();
        let mut bytes = builder
            .finish(kind, conn_id, packet_no, seq_no, ack, |_, data| {
                let mut tag = match row.suite {
                    Suite::SipHash24 => siphash_2_4_128(&row.key, data),
                    _ => [0; 16],
                };
                if let Some(bit) = bad_tag {
                    tag[bit as usize / 8] ^= 1 << (bit % 8);
                }
                tag
            })
            .to_vec();
        match p.below(150) {
            0 => bytes[0] = p.any() as u8,
            1 => bytes[2] ^= 1 << p.below(8),
            2 => bytes.truncate(p.below(bytes.len() as u64) as usize),
            _ => {}
        }
        bytes
    }

    /// The next frame, which will be received about `now`.
    pub fn frame(&mut self, now: u64) -> Vec<u8> {
        if self.prng.once_in(80) {
            return self.arp();
        }
        if self.prng.once_in(80) {
            let len = 1 + self.prng.below(140) as usize;
            let p = &mut self.prng;
            let mut bytes: Vec<u8> = (0..len).map(|_| p.any() as u8).collect();
            if len > 6 && p.once_in(2) {
                bytes[..6].copy_from_slice(&self.station.mac.0);
            }
            return bytes;
        }
        let at = self.prng.below(u64::from(MEMBERS)) as usize;
        let payload = self.datagram(at, now);
        let (mut ip, mut port) = (self.ip, self.port);
        match self.prng.below(150) {
            0 => ip = Ipv4Addr::new(10, 77, 0, 2),
            1 => port ^= 1 << self.prng.below(16),
            _ => {}
        }
        let mut bytes = self.wrap_for(SocketAddrV4::new(ip, port), &payload);
        self.spoil(&mut bytes);
        bytes
    }

    /// A sound frame around a payload.
    pub fn wrap(&mut self, payload: &[u8]) -> Vec<u8> {
        self.wrap_for(SocketAddrV4::new(self.ip, self.port), payload)
    }

    fn wrap_for(&mut self, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
        assert!(payload.len() <= DATAGRAM_MAX);
        let p = &mut self.prng;
        let peer = Station {
            mac: Mac([2, 9, 9, 9, 9, p.any() as u8]),
            ..self.station
        };
        let from = Ipv4Addr::new(10, 77, p.any() as u8, p.any() as u8);
        let head = UdpHead {
            to_mac: self.station.mac,
            from: SocketAddrV4::new(from, p.any() as u16),
            to,
            id: p.any() as u16,
            ttl: 1 + p.below(255) as u8,
        };
        let mut out = [0; FRAME_MAX];
        let len = frame::build_udp(&peer, &head, payload, &mut out);
        out[..len].to_vec()
    }

    /// A sound new order of some member with this suite.
    ///
    /// # Panics
    /// If no member has it.
    pub fn order(&mut self, suite: Suite) -> Vec<u8> {
        let passes = |m: &Member| {
            let is_fast = m.row.rates.is_some_and(|r| r.requests_per_second > 1_000);
            m.row.suite == suite && is_fast && !m.row.is_read_only
        };
        let m = (self.members.iter_mut().find(|m| passes(m))).expect("a member with this suite");
        (m.packet_no, m.cl_ord_id) = (m.packet_no + 1, m.cl_ord_id + 1);
        let (instrument, limits) = self.instruments[0];
        let order = Request::NewOrder(NewOrder {
            cl_ord_id: m.cl_ord_id,
            price: i64::from(limits.base.0) * limits.tick_e9,
            quantity: 1,
            account: m.row.member,
            instrument,
            ..NewOrder::zeroed()
        });
        let mut builder = DatagramBuilder::new();
        assert!(builder.push(order.header(), order.block()));
        let row = m.row;
        let seq_no = m.seq_no;
        m.seq_no += 1;
        let conn_id = row.conn_id;
        let bytes = builder.finish(
            KIND_DATA,
            conn_id,
            m.packet_no,
            seq_no,
            1,
            |_, data| match suite {
                Suite::SipHash24 => siphash_2_4_128(&row.key, data),
                _ => [0; 16],
            },
        );
        let bytes = bytes.to_vec();
        self.wrap(&bytes)
    }

    fn arp(&mut self) -> Vec<u8> {
        let p = &mut self.prng;
        let arp = Arp {
            is_request: p.once_in(2),
            sender_mac: Mac([2, 9, 9, 9, 9, 1]),
            sender_ip: Ipv4Addr::new(10, 77, 0, 9),
            target_mac: self.station.mac,
            target_ip: self.ip,
        };
        let peer = Station {
            mac: arp.sender_mac,
            ..self.station
        };
        let mut out = [0; FRAME_MAX];
        let len = frame::build_arp(&peer, &arp, &mut out);
        let mut bytes = out[..len].to_vec();
        if p.once_in(2) {
            let at = p.below(44) as usize;
            bytes[at] ^= 1 << p.below(8);
        }
        if p.once_in(6) {
            bytes.truncate(1 + p.below(60) as usize);
        }
        bytes
    }

    /// Spoils a frame, or mostly not.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        let p = &mut self.prng;
        let ip = if self.station.vlan.is_some() { 18 } else { 14 };
        match p.below(60) {
            0 => {
                let at = p.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << p.below(8);
            }
            1 => bytes.truncate(1 + p.below(bytes.len() as u64) as usize),
            2 => bytes.extend((0..p.below(40)).map(|i| i as u8)),
            // No UDP checksum.
            3 | 4 => bytes[ip + 26..ip + 28].fill(0),
            5 => {
                let at = p.below(ip as u64) as usize;
                bytes[at] ^= 1 << p.below(8);
            }
            6 => bytes[0..6].copy_from_slice(&p.pick(&[[0xff; 6], [1, 0, 0x5e, 0, 0, 1]])),
            // Something in the IPv4 header, with the checksum put right again.
            7 | 8 => {
                let at = ip + p.pick(&[0, 2, 3, 6, 7, 8, 9, 12, 16, 19]);
                bytes[at] = match p.below(3) {
                    0 => 0,
                    1 => p.any() as u8,
                    _ => bytes[at] ^ 1 << p.below(8),
                };
                bytes[ip + 10..ip + 12].fill(0);
                let words = bytes[ip..ip + 20].chunks(2);
                let mut sum: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
                while sum > 0xffff {
                    sum = (sum >> 16) + (sum & 0xffff);
                }
                bytes[ip + 10..ip + 12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
            }
            9 => {
                let at = ip + 20 + p.below(8) as usize;
                bytes[at] ^= 1 << p.below(8);
            }
            _ => {}
        }
    }
}
