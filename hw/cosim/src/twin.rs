//! The receive path of the RTL, put together from the firmware crate.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bytemuck::Zeroable;
use firmware::gate::{Command, Gate, GateInstrument};
use firmware::limits::GATE_ACCOUNTS;
use firmware::session::{Inbound, Offer, PacketRefused, Window};
use firmware::tag::{Suite, siphash_2_4_128};
use firmware::units::{AccountId, InstrumentId, MemberId, TimeNs};
use firmware::wire::datagram::{self, DatagramError, KIND_CONTROL, KIND_DATA};
use firmware::wire::descriptor::{BODY_LEN, Descriptor, DropReason, HostReason, Verdict};
use firmware::wire::frame::{self, FrameFault, Inbound as Payload, Mac, Station};
use firmware::wire::input::InRefused;
use firmware::wire::order::Request;
use firmware::wire::sbe::Message;

use crate::rows::SessionRow;

/// One counter for each verdict and reason.
pub const COUNTERS: usize = 256;

#[derive(Clone, Debug)]
struct Session {
    row: SessionRow,
    window: Window,
    flow: Inbound,
    is_held: bool,
}

/// What the RTL should be.
#[derive(Clone, Debug)]
pub struct Twin {
    /// Who we are on the cable.
    pub station: Station,
    /// Our address.
    pub ip: Ipv4Addr,
    /// Our port.
    pub port: u16,
    sessions: BTreeMap<u32, Session>,
    sessions_mask: u32,
    gate: Box<Gate>,
    frames: u32,
    counters: Box<[u32; COUNTERS]>,
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// Its reason.
    pub reason: u8,
    /// What is written, unless the frame is dropped.
    pub descriptor: Option<Descriptor>,
}

/// A verdict before the descriptor's frame number is put in.
enum Judged {
    Dropped(u8),
    Host(HostReason, Descriptor),
    Done(Verdict, u8, Descriptor),
}

impl Twin {
    /// Knows nobody, as after a reset; `sessions_lg` is the base-2 logarithm of the places for sessions.
    #[must_use]
    pub fn new(sessions_lg: u32) -> Self {
        Self {
            station: Station {
                mac: Mac([0; 6]),
                vlan: None,
            },
            ip: Ipv4Addr::UNSPECIFIED,
            port: 0,
            sessions: BTreeMap::new(),
            sessions_mask: (1 << sessions_lg) - 1,
            gate: Box::new(Gate::new()),
            frames: 0,
            counters: Box::new([0; COUNTERS]),
        }
    }

    /// Frames by verdict and reason: place `verdict * 64 + reason`.
    #[must_use]
    pub fn counters(&self) -> &[u32; COUNTERS] {
        &self.counters
    }

    /// The gate, to be told what it should know.
    pub fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }

    /// Lists an instrument.
    ///
    /// # Panics
    /// If the id is out of range.
    pub fn list(&mut self, id: u16, instrument: GateInstrument) {
        assert!(self.gate.list(InstrumentId(id), instrument));
    }

    /// Lets a member trade for an account.
    ///
    /// # Panics
    /// If the account is out of range.
    pub fn bind(&mut self, account: u32, member: u32) {
        assert!((account as usize) < GATE_ACCOUNTS);
        assert!(self.gate.bind_account(AccountId(account), MemberId(member)));
    }

    /// A session in the place that its connection names, instead of whatever was there.
    ///
    /// # Panics
    /// If the member is out of range.
    pub fn open(&mut self, row: SessionRow) {
        let member = MemberId(row.member);
        if let Some(rates) = row.rates {
            assert!(self.gate.add_member(member, rates));
            self.gate.note_cl_ord_id(member, row.last_cl_ord_id);
            if row.is_read_only {
                self.gate.make_read_only(member);
            }
        }
        let session = Session {
            row,
            window: Window::new(),
            flow: Inbound::resume(row.expected),
            is_held: false,
        };
        self.sessions
            .insert(row.conn_id & self.sessions_mask, session);
    }

    /// Lets a held connection go, with what the host made of its datagrams.
    ///
    /// # Panics
    /// If there is no such session.
    pub fn resume(&mut self, place: u32, expected: u64, last_cl_ord_id: u64) {
        let s = self.sessions.get_mut(&place).expect("a session");
        s.flow = Inbound::resume(expected);
        s.is_held = false;
        self.gate
            .note_cl_ord_id(MemberId(s.row.member), last_cl_ord_id);
    }

    /// Whether the connection waits for the host; the next request number, and the highest id.
    ///
    /// # Panics
    /// If there is no such session.
    #[must_use]
    pub fn flow(&self, place: u32) -> (bool, u64, u64) {
        let s = &self.sessions[&place];
        let last = self.gate.last_cl_ord_id(MemberId(s.row.member));
        (s.is_held, s.flow.expected(), last)
    }

    /// Judges a frame that was received at `time`.
    pub fn judge(&mut self, bytes: &[u8], time: TimeNs) -> Outcome {
        let judged = self.judge_frame(bytes, time);
        let (verdict, reason, descriptor) = match judged {
            Judged::Dropped(reason) => (Verdict::Dropped, reason, None),
            Judged::Host(reason, d) => (Verdict::Host, reason as u8, Some(d)),
            Judged::Done(verdict, reason, d) => (verdict, reason, Some(d)),
        };
        let descriptor = descriptor.map(|d| Descriptor {
            frame_no: self.frames,
            verdict: verdict as u8,
            reason,
            ..d
        });
        self.frames += 1;
        self.counters[verdict as usize * 64 + reason as usize] += 1;
        Outcome {
            verdict,
            reason,
            descriptor,
        }
    }

    fn judge_frame(&mut self, bytes: &[u8], time: TimeNs) -> Judged {
        let udp = match frame::parse(bytes, &self.station) {
            Err(fault) => return Judged::Dropped(fault as u8),
            Ok(Payload::Arp(_)) => return Judged::Host(HostReason::Arp, Descriptor::zeroed()),
            Ok(Payload::Udp(udp)) => udp,
        };
        if *udp.to.ip() != self.ip {
            return Judged::Dropped(FrameFault::IpDestination as u8);
        }
        if udp.to.port() != self.port {
            return Judged::Dropped(FrameFault::UdpPort as u8);
        }
        self.judge_datagram(udp.payload, time)
    }

    fn judge_datagram(&mut self, payload: &[u8], time: TimeNs) -> Judged {
        let (header, body, tag) = match datagram::split(payload) {
            Ok(parts) => parts,
            Err(e) => {
                return drop(match e {
                    DatagramError::Short => DropReason::Short,
                    DatagramError::Version(_) => DropReason::Version,
                    DatagramError::Kind(_) => DropReason::Kind,
                    DatagramError::Length => DropReason::Length,
                });
            }
        };
        if header.kind == KIND_CONTROL && header.conn_id == 0 {
            return Judged::Host(HostReason::Login, Descriptor::zeroed());
        }
        let place = header.conn_id & self.sessions_mask;
        let Some(s) = self.sessions.get_mut(&place) else {
            return drop(DropReason::UnknownConnection);
        };
        if s.row.conn_id != header.conn_id {
            return drop(DropReason::UnknownConnection);
        }
        let head = Descriptor {
            conn_id: header.conn_id,
            member: s.row.member,
            ack_seq_no: header.ack_seq_no,
            ..Descriptor::zeroed()
        };
        let want = match s.row.suite {
            Suite::None => [0; 16],
            Suite::SipHash24 => {
                siphash_2_4_128(&s.row.key, &payload[..payload.len() - datagram::TAG_LEN])
            }
            Suite::Aes128Gmac => return Judged::Host(HostReason::Suite, head),
        };
        if let Err(refused) = s.window.check(header.packet_no) {
            return drop(match refused {
                PacketRefused::KeysUsedUp => DropReason::KeysUsedUp,
                PacketRefused::TooOld => DropReason::TooOld,
                PacketRefused::Seen => DropReason::Replayed,
            });
        }
        if *tag != want {
            return drop(DropReason::BadTag);
        }
        s.window.mark(header.packet_no);
        if s.is_held {
            return Judged::Host(HostReason::Held, head);
        }
        let Some(request) = known(header.kind, body) else {
            s.is_held = true;
            return Judged::Host(HostReason::Request, head);
        };
        let gap_from = match s.flow.offer(header.next_seq_no, 1) {
            Offer::OutOfRange => {
                s.is_held = true;
                return Judged::Host(HostReason::SeqNo, head);
            }
            Offer::Duplicate => return drop(DropReason::Duplicate),
            Offer::Apply { .. } => 0,
            Offer::Gap { from, .. } => from,
        };
        let head = Descriptor { gap_from, ..head };
        let command = Command {
            member: MemberId(s.row.member),
            client_seq: header.next_seq_no,
            rx_time: time,
            request,
        };
        match self.gate.check(&command, time) {
            Ok(a) => Judged::Done(Verdict::Admitted, 0, with(head, a.template(), a.bytes())),
            Err(r) => {
                let body = with(head, InRefused::TEMPLATE, bytemuck::bytes_of(&r));
                Judged::Done(Verdict::Refused, r.reason as u8, body)
            }
        }
    }
}

const fn drop(reason: DropReason) -> Judged {
    Judged::Dropped(reason as u8)
}

fn with(head: Descriptor, template: u16, bytes: &[u8]) -> Descriptor {
    let mut body = [0; BODY_LEN];
    body[..bytes.len()].copy_from_slice(bytes);
    Descriptor {
        template,
        body,
        ..head
    }
}

/// The one request of a datagram, if it is of a kind that the RTL knows.
fn known(kind: u8, body: &[u8]) -> Option<Request> {
    if kind != KIND_DATA {
        return None;
    }
    let mut all = datagram::messages(body);
    let (Some(Ok(message)), None) = (all.next(), all.next()) else {
        return None;
    };
    match Request::decode(message) {
        Ok(
            r @ (Request::NewOrder(_)
            | Request::Replace(_)
            | Request::ReduceQty(_)
            | Request::Cancel(_)
            | Request::MassCancel(_)),
        ) => Some(r),
        _ => None,
    }
}
