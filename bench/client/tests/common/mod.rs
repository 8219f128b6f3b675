//! A wire with faults, and a small venue that keeps the session rules.
#![allow(dead_code, reason = "each test binary uses its part")]

use client::Wire;
use firmware::session::{
    Inbound, KeepAlive, Offer, RetransmitRefusal, TerminateReason, Terms, Window, read_control,
};
use firmware::tag::SuiteSet;
use firmware::units::{MemberId, TimeNs};
use firmware::wire::datagram::{
    self, DatagramBuilder, KIND_CONTROL, KIND_DATA, KIND_HEARTBEAT, KIND_RETRANSMISSION, TAG_LEN,
};
use firmware::wire::order::Request;
use firmware::wire::report::{Accepted, Canceled, MassCancelAck, NotApplied, Report};
use firmware::wire::session::{
    EstablishmentAck, EstablishmentReject, RetransmitReject, RetransmitRequest, SessionMessage,
    Terminate,
};
use handshake::{Credentials, NewSession, SecretKey, VenueLogin, VenueReply};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const START: TimeNs = TimeNs(1_800_000_000_000_000_000);
pub(crate) const MEMBER: MemberId = MemberId(7);

/// Splitmix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub(crate) fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

/// In percent of datagrams; the delay is what reorders.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) loss: u64,
    pub(crate) repeat: u64,
    pub(crate) corrupt: u64,
    pub(crate) delay_max_ms: u64,
}

/// One direction.
pub(crate) struct Pipe {
    pub(crate) faults: Faults,
    rng: Rng,
    queue: BTreeMap<(u64, u64), Vec<u8>>,
    sent: u64,
}

impl Pipe {
    pub(crate) fn new(seed: u64, faults: Faults) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            faults,
            rng: Rng(seed),
            queue: BTreeMap::new(),
            sent: 0,
        }))
    }

    pub(crate) fn send(&mut self, bytes: &[u8], now: TimeNs) {
        let copies = 1 + u64::from(self.rng.percent(self.faults.repeat));
        for _ in 0..copies {
            if self.rng.percent(self.faults.loss) {
                continue;
            }
            let mut bytes = bytes.to_vec();
            if self.rng.percent(self.faults.corrupt) {
                let bit = self.rng.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            let delay = self.rng.below(self.faults.delay_max_ms * MS + 1);
            self.sent += 1;
            self.queue.insert((now.0 + delay, self.sent), bytes);
        }
    }

    pub(crate) fn receive(&mut self, now: TimeNs) -> Option<Vec<u8>> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now.0).then(|| entry.remove())
    }
}

/// One end of two pipes.
pub(crate) struct End {
    pub(crate) out: Rc<RefCell<Pipe>>,
    pub(crate) inward: Rc<RefCell<Pipe>>,
    pub(crate) clock: Rc<Cell<TimeNs>>,
}

impl Wire for End {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.out.borrow_mut().send(datagram, self.clock.get());
        Ok(())
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let datagram = self.inward.borrow_mut().receive(self.clock.get());
        Ok(datagram.map(|d| {
            buf[..d.len()].copy_from_slice(&d);
            d.len()
        }))
    }
}

pub(crate) fn venue_key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

pub(crate) fn credentials() -> Credentials {
    Credentials {
        member: MEMBER,
        key_id: 1,
        key: SecretKey::from_seed(&[2; 32]),
        venue: venue_key().public(),
        suites: SuiteSet::SAFE,
    }
}

struct Connection {
    session: NewSession,
    window: Window,
    packet_no: u64,
    alive: KeepAlive,
}

/// The session layer of a venue, over the real handshake and session rules; in place of an engine it
/// accepts everything.
pub(crate) struct Venue {
    login: VenueLogin,
    rng: Rng,
    next_conn: u32,
    pending: Option<Connection>,
    live: Option<Connection>,
    inbound: Inbound,
    /// All reports; number `n` stands at `n - 1`.
    pub(crate) log: Vec<Report>,
    published: usize,
    pub(crate) applied: BTreeMap<u64, Request>,
    pub(crate) dead: BTreeSet<u64>,
    pub(crate) terminated: u32,
    pub(crate) lost: u32,
    pub(crate) out: Vec<Vec<u8>>,
}

impl Venue {
    pub(crate) fn new(seed: u64) -> Self {
        let mut login = VenueLogin::new(venue_key(), SuiteSet::SAFE);
        login.register(MEMBER, 1, credentials().key.public());
        Self {
            login,
            rng: Rng(seed),
            next_conn: 1,
            pending: None,
            live: None,
            inbound: Inbound::default(),
            log: Vec::new(),
            published: 0,
            applied: BTreeMap::new(),
            dead: BTreeSet::new(),
            terminated: 0,
            lost: 0,
            out: Vec::new(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.live.is_some()
    }

    /// Forgets all connections without a word, as a crash does.
    pub(crate) fn drop_connections(&mut self) {
        self.pending = None;
        self.live = None;
    }

    pub(crate) fn stop(&mut self, now: TimeNs) {
        if let Some(c) = &self.live {
            let m = Terminate {
                session_id: c.session.session_id,
                reason: TerminateReason::VenueStops as u16,
                pad1: 0,
                pad2: 0,
            };
            self.control(m.into(), now);
        }
    }

    pub(crate) fn on_datagram(&mut self, payload: &[u8], from: SocketAddr, now: TimeNs) {
        let Ok((header, body, tag)) = datagram::split(payload) else {
            return;
        };
        if header.conn_id == 0 {
            if let Ok(SessionMessage::Negotiate(m)) = read_control(payload) {
                self.on_negotiate(&m, from, now);
            }
            return;
        }
        let is = |c: &&mut Connection| c.session.conn_id == header.conn_id;
        let candidates = [self.live.as_mut(), self.pending.as_mut()];
        let Some(c) = candidates.into_iter().flatten().find(is) else {
            return;
        };
        let signed = &payload[..payload.len() - TAG_LEN];
        let keys = &c.session.keys;
        if c.window.check(header.packet_no).is_err()
            || !keys.c2s.verify(header.packet_no, signed, tag)
        {
            return;
        }
        c.window.mark(header.packet_no);
        c.alive.heard(now);
        let session_id = c.session.session_id;
        match header.kind {
            KIND_CONTROL => {
                for m in datagram::messages(body) {
                    let m = SessionMessage::decode(m.expect("framed")).expect("a session message");
                    self.on_control(&m, session_id, now);
                }
            }
            KIND_DATA | KIND_HEARTBEAT => {
                let requests: Vec<Request> = datagram::messages(body)
                    .map(|m| Request::decode(m.expect("framed")).expect("a request"))
                    .collect();
                self.on_requests(header.next_seq_no, &requests);
            }
            other => panic!("kind {other}"),
        }
        self.publish(now);
    }

    fn on_negotiate(
        &mut self,
        m: &firmware::wire::session::Negotiate,
        from: SocketAddr,
        now: TimeNs,
    ) {
        let conn = self.next_conn;
        let reply = self.login.on_negotiate(m, from, now, |_| Ok(conn));
        let mut buf = DatagramBuilder::new();
        if let Some(d) = reply.datagram(&mut buf) {
            self.out.push(d.to_vec());
        }
        if let VenueReply::Response {
            session: Some(session),
            ..
        } = reply
        {
            self.next_conn += 1;
            self.pending = Some(Connection {
                session: *session,
                window: Window::new(),
                packet_no: 0,
                alive: KeepAlive::new(100, 100, now),
            });
        }
    }

    fn on_control(&mut self, m: &SessionMessage, session_id: u64, now: TimeNs) {
        match m {
            SessionMessage::Establish(m) => match Terms::of(m, session_id, now) {
                Ok(terms) => {
                    if let Some(mut c) =
                        self.pending.take_if(|c| c.session.session_id == session_id)
                    {
                        c.alive = KeepAlive::new(100, terms.keep_alive_ms, now);
                        self.live = Some(c);
                    }
                    // Some venues look at the number here, some wait for the first heartbeat.
                    if self.rng.percent(50) {
                        self.on_requests(terms.next_seq_no, &[]);
                    }
                    let ack = EstablishmentAck {
                        session_id,
                        next_seq_no: self.published as u64 + 1,
                        next_client_seq_no: self.inbound.expected(),
                        keep_alive_ms: 100,
                        pad1: 0,
                    };
                    self.control(ack.into(), now);
                }
                Err(code) => {
                    let m = EstablishmentReject {
                        session_id,
                        reason: code as u16,
                        pad1: 0,
                        pad2: 0,
                    };
                    std::mem::swap(&mut self.live, &mut self.pending);
                    self.control(m.into(), now);
                    std::mem::swap(&mut self.live, &mut self.pending);
                }
            },
            SessionMessage::Terminate(_) => {
                self.terminated += 1;
                self.live = None;
            }
            SessionMessage::RetransmitRequest(m) => self.on_retransmit(m, now),
            other => panic!("{other:?}"),
        }
    }

    fn on_retransmit(&mut self, m: &RetransmitRequest, now: TimeNs) {
        let from = m.from_seq_no as usize;
        let reject = if from == 0 || from > self.published {
            Some(RetransmitRefusal::TooHigh)
        } else {
            self.rng.percent(10).then_some(RetransmitRefusal::RateLimit)
        };
        if let Some(reason) = reject {
            let m = RetransmitReject {
                timestamp: m.timestamp,
                from_seq_no: m.from_seq_no,
                first_seq_no: 1,
                next_seq_no: self.published as u64 + 1,
                reason: reason as u16,
                pad1: 0,
                retry_after_ms: 3,
            };
            return self.control(m.into(), now);
        }
        let mut buf = DatagramBuilder::new();
        let until = self.published.min(from - 1 + m.count as usize);
        for r in &self.log[from - 1..until] {
            if !buf.push(r.header(), r.block()) {
                break;
            }
        }
        self.seal(&mut buf, KIND_RETRANSMISSION, from as u64, now);
    }

    fn on_requests(&mut self, first: u64, requests: &[Request]) {
        let seq = self.log.len() as u64;
        let skip = match self.inbound.offer(first, requests.len() as u32) {
            Offer::Duplicate => return,
            Offer::Apply { skip } => skip,
            Offer::Gap { from, count } => {
                self.dead.extend(from..from + count);
                self.log.push(
                    NotApplied {
                        from_seq_no: from,
                        count,
                        engine_time: 0,
                        engine_seq: seq,
                    }
                    .into(),
                );
                0
            }
            Offer::OutOfRange => panic!("out of range"),
        };
        for (client_seq, r) in (first..).zip(requests).skip(skip as usize) {
            assert!(self.applied.insert(client_seq, *r).is_none(), "twice");
            self.answer(client_seq, r);
        }
    }

    fn answer(&mut self, client_seq: u64, request: &Request) {
        let engine_seq = self.log.len() as u64;
        match request {
            Request::MassCancel(m) => {
                self.log.push(
                    Canceled {
                        client_seq,
                        request_cl_ord_id: m.cl_ord_id,
                        engine_seq,
                        ..bytemuck::Zeroable::zeroed()
                    }
                    .into(),
                );
                self.log.push(
                    MassCancelAck {
                        cl_ord_id: m.cl_ord_id,
                        client_seq,
                        engine_seq,
                        ..bytemuck::Zeroable::zeroed()
                    }
                    .into(),
                );
            }
            Request::NewOrder(m) => self.log.push(
                Accepted {
                    cl_ord_id: m.cl_ord_id,
                    client_seq,
                    price: m.price,
                    quantity: m.quantity,
                    engine_seq,
                    ..bytemuck::Zeroable::zeroed()
                }
                .into(),
            ),
            other => panic!("{other:?}"),
        }
    }

    /// Sends the new reports, in datagrams of random size.
    fn publish(&mut self, now: TimeNs) {
        if self.live.is_none() {
            return;
        }
        while self.published < self.log.len() {
            let mut buf = DatagramBuilder::new();
            let first = self.published as u64 + 1;
            let want = 1 + self.rng.below(20) as usize;
            for r in self.log[self.published..].iter().take(want) {
                if !buf.push(r.header(), r.block()) {
                    break;
                }
            }
            self.published += buf.count() as usize;
            self.seal(&mut buf, KIND_DATA, first, now);
        }
    }

    pub(crate) fn tick(&mut self, now: TimeNs) {
        let Some(c) = &self.live else { return };
        if c.alive.lost(now) {
            self.lost += 1;
            self.live = None;
        } else if c.alive.heartbeat_due(now) {
            let next = self.published as u64 + 1;
            self.seal(&mut DatagramBuilder::new(), KIND_HEARTBEAT, next, now);
        }
    }

    fn control(&mut self, m: SessionMessage, now: TimeNs) {
        let mut buf = DatagramBuilder::new();
        assert!(buf.push(m.header(), m.block()));
        self.seal(&mut buf, KIND_CONTROL, 0, now);
    }

    fn seal(&mut self, buf: &mut DatagramBuilder, kind: u8, next: u64, now: TimeNs) {
        let Some(c) = &mut self.live else { return };
        c.packet_no += 1;
        c.alive.sent(now);
        let key = &c.session.keys.s2c;
        let (conn, ack) = (c.session.conn_id, self.inbound.expected());
        let d = buf.finish(kind, conn, c.packet_no, next, ack, |no, b| key.seal(no, b));
        self.out.push(d.to_vec());
    }
}
