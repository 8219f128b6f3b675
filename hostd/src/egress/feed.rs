//! The feed: MoldUDP64 packets, heartbeats, re-requests.

use super::{Egress, FEED};
use crate::logs::FeedLog;
use crate::nic::{Endpoint, Nic};
use firmware::limits::FEED_PAYLOAD_MAX;
use firmware::rate::TokenBucket;
use firmware::units::TimeNs;
use firmware::wire::mold::{self, END_OF_SESSION, MoldHeader};
use std::net::SocketAddrV4;

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

/// How far the feed was sent.
pub(super) struct FeedFlow {
    targets: FeedTargets,
    packet: Vec<u8>,
    /// Number of the message that is sent next.
    next: u64,
    /// When something was sent last.
    last: TimeNs,
    requests: TokenBucket,
}

impl FeedFlow {
    pub(super) fn new(targets: FeedTargets, next: u64) -> Self {
        Self {
            targets,
            packet: Vec::with_capacity(FEED_PAYLOAD_MAX),
            next,
            last: TimeNs(0),
            requests: TokenBucket::new(FEED_REQUESTS_PER_SECOND),
        }
    }
}

impl Egress {
    /// Sends durable feed messages; returns how many, and whether that was all.
    pub fn feed<N: Nic>(&mut self, nic: &mut N, log: &FeedLog, now: TimeNs) -> (usize, bool) {
        let mut sent = 0;
        self.feed.next = self.feed.next.max(log.first());
        while self.feed.next < log.next() {
            let count = self.pack_feed(log, self.feed.next, u64::MAX);
            if count == 0 {
                return (sent, false);
            }
            if !self.send_packet(nic) {
                return (sent, false);
            }
            self.feed.next += u64::from(count);
            self.feed.last = now;
            sent += usize::from(count);
        }
        (sent, true)
    }

    fn pack_feed(&mut self, log: &FeedLog, first: u64, max: u64) -> u16 {
        self.feed.packet.clear();
        self.feed.packet.resize(mold::HEADER_LEN, 0);
        let mut count = 0;
        while u64::from(count) < max {
            let Some((seq, message)) = log.get(first + u64::from(count)) else {
                break;
            };
            let len = firmware::wire::sbe::HEADER_LEN + message.block().len();
            if *seq > self.durable || self.feed.packet.len() + 2 + len > FEED_PAYLOAD_MAX {
                break;
            }
            self.feed
                .packet
                .extend_from_slice(&(len as u16).to_be_bytes());
            self.feed
                .packet
                .extend_from_slice(bytemuck::bytes_of(&message.header()));
            self.feed.packet.extend_from_slice(message.block());
            count += 1;
        }
        self.head(first, count);
        count
    }

    fn head(&mut self, sequence: u64, count: u16) {
        let header = MoldHeader {
            session: self.feed.targets.session,
            sequence,
            count,
        };
        self.feed.packet[..mold::HEADER_LEN].copy_from_slice(&header.encode());
    }

    /// One packet to all destinations. A packet that reached some and not all is sent to all again:
    /// receivers drop what they have.
    fn send_packet<N: Nic>(&mut self, nic: &mut N) -> bool {
        for to in &self.feed.targets.destinations {
            if nic.send(FEED, *to, &self.feed.packet).is_err() {
                self.counters.tx_stalls += 1;
                return false;
            }
            self.counters.feed_packets += 1;
        }
        true
    }

    /// Shows that the feed is alive and which number comes next.
    pub fn feed_heartbeat<N: Nic>(&mut self, nic: &mut N, now: TimeNs) {
        if now.0.saturating_sub(self.feed.last.0) >= FEED_HEARTBEAT_NS {
            self.feed.packet.clear();
            self.feed.packet.resize(mold::HEADER_LEN, 0);
            self.head(self.feed.next, 0);
            if self.send_packet(nic) {
                self.feed.last = now;
            }
        }
    }

    /// Ends the MoldUDP64 session.
    pub fn feed_end<N: Nic>(&mut self, nic: &mut N, log: &FeedLog) {
        self.feed.packet.clear();
        self.feed.packet.resize(mold::HEADER_LEN, 0);
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
            h.session == self.feed.targets.session
                && h.count > 0
                && h.sequence >= log.first()
                && h.sequence < self.feed.next
        };
        let Some(request) = request
            .filter(held)
            .filter(|_| self.feed.requests.take(now))
        else {
            self.counters.feed_rejects += 1;
            return;
        };
        let max = u64::from(request.count).min(self.feed.next - request.sequence);
        if self.pack_feed(log, request.sequence, max) > 0
            && nic.send(FEED, from, &self.feed.packet).is_ok()
        {
            self.counters.feed_requests += 1;
            nic.flush();
        }
    }
}
