//! The receive path of a NIC that runs the gate: frame, datagram, connection, packet number, tag, request, number, gate,
//! in this order. The bare-metal image runs this code, the RTL is held against it, and each judgement in it is one that
//! the host's own path makes.
//!
//! What it does not know it hands to the host: logins, other tag suites, requests that are not one of an order's, and
//! everything of a connection behind such a one until the host lets the connection go.

use crate::gate::{Command, Gate, GateInstrument, Rates};
use crate::limits::GATE_ACCOUNTS;
use crate::session::{Inbound, Offer, PacketRefused, Window};
use crate::tag::{Suite, siphash_2_4_128};
use crate::units::{AccountId, InstrumentId, MemberId, TimeNs};
use crate::wire::datagram::{self, DatagramError, KIND_CONTROL, KIND_DATA};
use crate::wire::descriptor::{BODY_LEN, Descriptor, DropReason, HostReason, Verdict};
use crate::wire::frame::{self, FrameFault, Inbound as Payload, Mac, Station};
use crate::wire::input::InRefused;
use crate::wire::order::Request;
use crate::wire::sbe::Message;
use bytemuck::Zeroable;
use core::net::Ipv4Addr;

/// One counter for each verdict and reason.
pub const COUNTERS: usize = 256;

/// A session as the host opens it on the NIC.
#[derive(Clone, Copy, Debug)]
pub struct OpenSession {
    /// Name of the keys; its low bits are the session's place.
    pub conn_id: u32,
    /// Member.
    pub member: u32,
    /// How datagrams are tagged.
    pub suite: Suite,
    /// Key of a SipHash tag.
    pub key: [u8; 16],
    /// The member's rates; none: the gate does not know the member.
    pub rates: Option<Rates>,
    /// The member may ask for nothing.
    pub is_read_only: bool,
    /// The next request number.
    pub expected: u64,
    /// Highest id that an order was given.
    pub last_cl_ord_id: u64,
}

#[derive(Clone, Debug)]
struct Session {
    open: OpenSession,
    window: Window,
    flow: Inbound,
    is_held: bool,
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

/// The receive path, with `SESSIONS` places, a power of two.
#[derive(Clone, Debug)]
pub struct NicGate<const SESSIONS: usize> {
    /// Who we are on the cable.
    pub station: Station,
    /// Our address.
    pub ip: Ipv4Addr,
    /// Our port.
    pub port: u16,
    sessions: [Option<Session>; SESSIONS],
    gate: Gate,
    frames: u32,
    counters: [u32; COUNTERS],
}

/// A verdict before the descriptor's frame number is put in.
enum Judged {
    Dropped(u8),
    Host(HostReason, Descriptor),
    Done(Verdict, u8, Descriptor),
}

impl<const SESSIONS: usize> NicGate<SESSIONS> {
    const MASK: u32 = {
        assert!(SESSIONS.is_power_of_two());
        SESSIONS as u32 - 1
    };

    /// Knows nobody, as after a reset.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            station: Station {
                mac: Mac([0; 6]),
                vlan: None,
            },
            ip: Ipv4Addr::UNSPECIFIED,
            port: 0,
            sessions: [const { None }; SESSIONS],
            gate: Gate::new(),
            frames: 0,
            counters: [0; COUNTERS],
        }
    }

    /// Frames by verdict and reason: place `verdict * 64 + reason`.
    #[must_use]
    pub const fn counters(&self) -> &[u32; COUNTERS] {
        &self.counters
    }

    /// The gate, to be told what it should know.
    pub const fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }

    /// Lists an instrument; `false` if the id is out of range.
    #[must_use]
    pub fn list(&mut self, id: u16, instrument: GateInstrument) -> bool {
        self.gate.list(InstrumentId(id), instrument)
    }

    /// Lets a member trade for an account; `false` if one of them is out of range.
    #[must_use]
    pub fn bind(&mut self, account: u32, member: u32) -> bool {
        (account as usize) < GATE_ACCOUNTS
            && self.gate.bind_account(AccountId(account), MemberId(member))
    }

    /// Opens a session in the place that its connection names, instead of whatever was there; `false` if the member is
    /// out of range.
    #[must_use]
    pub fn open(&mut self, open: OpenSession) -> bool {
        let member = MemberId(open.member);
        if let Some(rates) = open.rates {
            if !self.gate.add_member(member, rates) {
                return false;
            }
            self.gate.note_cl_ord_id(member, open.last_cl_ord_id);
            if open.is_read_only {
                self.gate.make_read_only(member);
            }
        }
        let session = Session {
            open,
            window: Window::new(),
            flow: Inbound::resume(open.expected),
            is_held: false,
        };
        if let Some(place) = self.sessions.get_mut((open.conn_id & Self::MASK) as usize) {
            *place = Some(session);
        }
        true
    }

    /// Lets a held connection go, with what the host made of its datagrams; `false` if there is no such session.
    #[must_use]
    pub fn resume(&mut self, place: u32, expected: u64, last_cl_ord_id: u64) -> bool {
        let Some(Some(s)) = self.sessions.get_mut(place as usize) else {
            return false;
        };
        s.flow = Inbound::resume(expected);
        s.is_held = false;
        self.gate
            .note_cl_ord_id(MemberId(s.open.member), last_cl_ord_id);
        true
    }

    /// Whether the connection waits for the host; the next request number, and the highest id. `None` without a session.
    #[must_use]
    pub fn flow(&self, place: u32) -> Option<(bool, u64, u64)> {
        let s = self.sessions.get(place as usize)?.as_ref()?;
        let last = self.gate.last_cl_ord_id(MemberId(s.open.member));
        Some((s.is_held, s.flow.expected(), last))
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
        self.frames = self.frames.wrapping_add(1);
        if let Some(counter) = self
            .counters
            .get_mut(verdict as usize * 64 + reason as usize)
        {
            *counter = counter.wrapping_add(1);
        }
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
        let place = (header.conn_id & Self::MASK) as usize;
        let Some(Some(s)) = self.sessions.get_mut(place) else {
            return drop(DropReason::UnknownConnection);
        };
        if s.open.conn_id != header.conn_id {
            return drop(DropReason::UnknownConnection);
        }
        let head = Descriptor {
            conn_id: header.conn_id,
            member: s.open.member,
            ack_seq_no: header.ack_seq_no,
            ..Descriptor::zeroed()
        };
        let want = match s.open.suite {
            Suite::None => [0; 16],
            Suite::SipHash24 => {
                let tagged = payload.len().saturating_sub(datagram::TAG_LEN);
                siphash_2_4_128(&s.open.key, payload.get(..tagged).unwrap_or_default())
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
            member: MemberId(s.open.member),
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

impl<const SESSIONS: usize> Default for NicGate<SESSIONS> {
    fn default() -> Self {
        Self::new()
    }
}

const fn drop(reason: DropReason) -> Judged {
    Judged::Dropped(reason as u8)
}

fn with(head: Descriptor, template: u16, bytes: &[u8]) -> Descriptor {
    let mut body = [0; BODY_LEN];
    for (to, from) in body.iter_mut().zip(bytes) {
        *to = *from;
    }
    Descriptor {
        template,
        body,
        ..head
    }
}

/// The one request of a datagram, if it is of a kind that a NIC knows.
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
