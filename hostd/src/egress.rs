//! Egress: packs durable reports into datagrams and durable feed messages into MoldUDP64 packets.
//!
//! Nothing here is kept that cannot be made again from the logs: a datagram that the NIC has no room for is
//! not counted as sent and is packed again in the next turn.

use crate::core::{Core, MemberFlow};
use crate::lanes::WireCounters;
use crate::logs::FeedLog;
use crate::nic::{Endpoint, Nic};
use crate::sessions::{Connection, VENUE_KEEP_ALIVE_MS};
use firmware::limits::FEED_PAYLOAD_MAX;
use firmware::rate::TokenBucket;
use firmware::session::{KeepAlive, Terms};
use firmware::units::TimeNs;
use firmware::wire::datagram::{
    DatagramBuilder, KIND_CONTROL, KIND_DATA, KIND_HEARTBEAT, KIND_RETRANSMISSION,
};
use firmware::wire::mold::{self, END_OF_SESSION, MoldHeader};
use firmware::wire::sbe::Message;
use firmware::wire::session::{EstablishmentAck, RetransmitReject, RetransmitRequest};
use std::net::SocketAddrV4;

/// The order port's place among the NIC's sockets.
pub const ORDERS: usize = 0;
/// The feed port's.
pub const FEED: usize = 1;

/// The feed is silent no longer than this, ns.
const FEED_HEARTBEAT_NS: u64 = 1_000_000_000;
/// Feed packets sent again in a second, over all requesters.
const FEED_REQUESTS_PER_SECOND: u32 = 2_000;

/// Where the feed goes, under which name.
#[derive(Clone, Debug)]
pub struct FeedTargets {
    /// MoldUDP64 session.
    pub session: [u8; 10],
    /// Destinations.
    pub destinations: Vec<SocketAddrV4>,
}

/// The egress side of a hot tile.
pub struct Egress {
    targets: FeedTargets,
    datagram: DatagramBuilder,
    packet: Vec<u8>,
    durable: u64,
    /// Number of the feed message that is sent next.
    next_feed: u64,
    last_feed: TimeNs,
    requests: TokenBucket,
    is_waiting: bool,
    /// What was sent and refused, on both ways.
    pub counters: WireCounters,
}

impl Egress {
    /// An egress that goes on where the journal ended: what was said before can be asked for again.
    #[must_use]
    pub fn new(targets: FeedTargets, core: &Core, durable: u64) -> Self {
        Self {
            targets,
            datagram: DatagramBuilder::new(),
            packet: Vec::with_capacity(FEED_PAYLOAD_MAX),
            durable,
            next_feed: core.feed.next(),
            last_feed: TimeNs(0),
            requests: TokenBucket::new(FEED_REQUESTS_PER_SECOND),
            is_waiting: false,
            counters: WireCounters::default(),
        }
    }

    /// Last record that was seen to be durable.
    #[must_use]
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether something waits to be sent.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Something waits when the last turn left something, or when a record is not durable yet.
    pub const fn set_waiting(&mut self, has_left: bool, last_seq: u64) {
        self.is_waiting = has_left || self.durable < last_seq;
    }

    /// A record was applied: its outcomes wait.
    pub const fn expect(&mut self) {
        self.is_waiting = true;
    }

    /// Takes note of what is durable.
    pub const fn advance(&mut self, durable: u64) {
        self.durable = durable;
    }

    /// Sends a datagram of the control tile as it is.
    pub fn control<N: Nic>(&mut self, nic: &mut N, to: Endpoint, payload: &[u8]) {
        // A lost control datagram is asked for again by the client.
        match nic.send(ORDERS, to, payload) {
            Ok(()) => self.counters.tx_datagrams += 1,
            Err(_) => self.counters.tx_stalls += 1,
        }
        nic.flush();
    }

    /// Sends a session message under the connection's keys.
    pub fn session<N: Nic, M: Message>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        message: &M,
        now: TimeNs,
    ) {
        self.datagram.clear();
        let fits = self.datagram.push(M::HEADER, bytemuck::bytes_of(message));
        assert!(fits, "a session message fits a datagram");
        // Lost or not sent: the client asks again.
        let _ = self.finish(nic, c, KIND_CONTROL, 0, 0, now);
        nic.flush();
    }

    /// Signs and sends what the builder holds; `false` when the NIC has no room.
    fn finish<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        kind: u8,
        next_seq_no: u64,
        ack_seq_no: u64,
        now: TimeNs,
    ) -> bool {
        let (conn_id, peer) = (c.conn_id, c.peer);
        let (packet_no, key) = c.next_packet();
        let payload = self.datagram.finish(
            kind,
            conn_id,
            packet_no,
            next_seq_no,
            ack_seq_no,
            |no, bytes| key.seal(no, bytes),
        );
        let sent = nic.send(ORDERS, peer, payload).is_ok();
        if sent {
            self.counters.tx_datagrams += 1;
            c.keep_alive.sent(now);
        } else {
            self.counters.tx_stalls += 1;
        }
        sent
    }

    /// Answers an Establish. The flow of a fresh connection goes on at the first report that is not
    /// durable yet: everything before it can be asked for again.
    pub fn acknowledge<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        flow: &MemberFlow,
        is_fresh: bool,
        terms: &Terms,
        now: TimeNs,
    ) {
        if is_fresh {
            let mut next = flow.reports.next();
            while next > flow.reports.first()
                && flow
                    .reports
                    .get(next - 1)
                    .is_some_and(|r| r.engine_seq() > self.durable)
            {
                next -= 1;
            }
            c.next_report = next;
            c.keep_alive = KeepAlive::new(VENUE_KEEP_ALIVE_MS, terms.keep_alive_ms, now);
        }
        let ack = EstablishmentAck {
            session_id: c.session_id,
            next_seq_no: c.next_report,
            next_client_seq_no: flow.inbound.expected(),
            keep_alive_ms: VENUE_KEEP_ALIVE_MS,
            pad1: 0,
        };
        self.session(nic, c, &ack, now);
    }

    /// Sends the durable reports that a member has not been sent; returns how many, and whether that was all
    /// that its log holds.
    pub fn reports<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        flow: &MemberFlow,
        now: TimeNs,
    ) -> (usize, bool) {
        let mut sent = 0;
        c.next_report = c.next_report.max(flow.reports.first());
        while c.next_report < flow.reports.next() {
            let first = c.next_report;
            let count = self.pack(flow, first, u64::MAX);
            if count == 0 {
                return (sent, false);
            }
            if !self.finish(nic, c, KIND_DATA, first, flow.inbound.expected(), now) {
                return (sent, false);
            }
            c.next_report += u64::from(count);
            sent += count as usize;
        }
        (sent, true)
    }

    /// Packs durable reports from `first` on into the builder, at most `max`.
    fn pack(&mut self, flow: &MemberFlow, first: u64, max: u64) -> u32 {
        self.datagram.clear();
        let mut number = first;
        while number - first < max {
            let Some(report) = flow.reports.get(number) else {
                break;
            };
            if report.engine_seq() > self.durable
                || !self.datagram.push(report.header(), report.block())
            {
                break;
            }
            number += 1;
        }
        self.datagram.count()
    }

    /// Sends reports again: as many of those asked for as fit one datagram.
    pub fn retransmit<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        flow: &MemberFlow,
        m: &RetransmitRequest,
        now: TimeNs,
    ) {
        let reason = if m.from_seq_no < flow.reports.first() {
            Some(0)
        } else if m.from_seq_no >= c.next_report || m.count == 0 {
            Some(1)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.counters.retransmit_rejects += 1;
            let reject = RetransmitReject {
                timestamp: m.timestamp,
                from_seq_no: m.from_seq_no,
                reason,
                pad1: 0,
                pad2: 0,
            };
            return self.session(nic, c, &reject, now);
        }
        let max = u64::from(m.count).min(c.next_report - m.from_seq_no);
        if self.pack(flow, m.from_seq_no, max) > 0 {
            self.counters.retransmissions += 1;
            let expected = flow.inbound.expected();
            let _ = self.finish(nic, c, KIND_RETRANSMISSION, m.from_seq_no, expected, now);
            nic.flush();
        }
    }

    /// Shows life, what was applied, and which report comes next.
    pub fn heartbeat<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        flow: &MemberFlow,
        now: TimeNs,
    ) {
        self.datagram.clear();
        let (next, expected) = (c.next_report, flow.inbound.expected());
        let _ = self.finish(nic, c, KIND_HEARTBEAT, next, expected, now);
    }

    /// Sends durable feed messages; returns how many, and whether that was all.
    pub fn feed<N: Nic>(&mut self, nic: &mut N, log: &FeedLog, now: TimeNs) -> (usize, bool) {
        let mut sent = 0;
        self.next_feed = self.next_feed.max(log.first());
        while self.next_feed < log.next() {
            let count = self.pack_feed(log, self.next_feed, u64::MAX);
            if count == 0 {
                return (sent, false);
            }
            if !self.send_packet(nic) {
                return (sent, false);
            }
            self.next_feed += u64::from(count);
            self.last_feed = now;
            sent += usize::from(count);
        }
        (sent, true)
    }

    fn pack_feed(&mut self, log: &FeedLog, first: u64, max: u64) -> u16 {
        self.packet.clear();
        self.packet.resize(mold::HEADER_LEN, 0);
        let mut count = 0;
        while u64::from(count) < max {
            let Some((seq, message)) = log.get(first + u64::from(count)) else {
                break;
            };
            let len = firmware::wire::sbe::HEADER_LEN + message.block().len();
            if *seq > self.durable || self.packet.len() + 2 + len > FEED_PAYLOAD_MAX {
                break;
            }
            self.packet.extend_from_slice(&(len as u16).to_be_bytes());
            self.packet
                .extend_from_slice(bytemuck::bytes_of(&message.header()));
            self.packet.extend_from_slice(message.block());
            count += 1;
        }
        self.head(first, count);
        count
    }

    fn head(&mut self, sequence: u64, count: u16) {
        let header = MoldHeader {
            session: self.targets.session,
            sequence,
            count,
        };
        self.packet[..mold::HEADER_LEN].copy_from_slice(&header.encode());
    }

    /// One packet to all destinations. A packet that reached some and not all is sent to all again:
    /// receivers drop what they have.
    fn send_packet<N: Nic>(&mut self, nic: &mut N) -> bool {
        for to in &self.targets.destinations {
            if nic.send(FEED, *to, &self.packet).is_err() {
                self.counters.tx_stalls += 1;
                return false;
            }
            self.counters.feed_packets += 1;
        }
        true
    }

    /// Shows that the feed is alive and which number comes next.
    pub fn feed_heartbeat<N: Nic>(&mut self, nic: &mut N, now: TimeNs) {
        if now.0.saturating_sub(self.last_feed.0) >= FEED_HEARTBEAT_NS {
            self.packet.clear();
            self.packet.resize(mold::HEADER_LEN, 0);
            self.head(self.next_feed, 0);
            if self.send_packet(nic) {
                self.last_feed = now;
            }
        }
    }

    /// Ends the MoldUDP64 session.
    pub fn feed_end<N: Nic>(&mut self, nic: &mut N, log: &FeedLog) {
        self.packet.clear();
        self.packet.resize(mold::HEADER_LEN, 0);
        self.head(log.next(), END_OF_SESSION);
        self.send_packet(nic);
    }

    /// Answers a MoldUDP64 re-request with one ordinary packet, to where it came from. What is not
    /// held any more, not sent yet, or too much is not answered.
    pub fn feed_request<N: Nic>(
        &mut self,
        nic: &mut N,
        log: &FeedLog,
        from: Endpoint,
        payload: &[u8],
        now: TimeNs,
    ) {
        let request = MoldHeader::decode(payload).map(|(h, _)| h);
        let held = |h: &MoldHeader| {
            h.session == self.targets.session
                && h.count > 0
                && h.sequence >= log.first()
                && h.sequence < self.next_feed
        };
        let Some(request) = request.filter(held).filter(|_| self.requests.take(now)) else {
            self.counters.feed_rejects += 1;
            return;
        };
        let max = u64::from(request.count).min(self.next_feed - request.sequence);
        if self.pack_feed(log, request.sequence, max) > 0
            && nic.send(FEED, from, &self.packet).is_ok()
        {
            self.counters.feed_requests += 1;
            nic.flush();
        }
    }
}
