//! Egress: packs durable reports into datagrams and durable feed messages into MoldUDP64 packets.
//!
//! Nothing here is kept that cannot be made again from the logs: a datagram that the NIC has no room for is
//! not counted as sent and is packed again in the next turn.

mod feed;
mod reports;

pub use feed::FeedEgress;
pub use reports::{FIRST_REPORT, Left};

use crate::lanes::WireCounters;
use crate::logs::FeedLog;
use crate::nic::Nic;
use firmware::units::TimeNs;
use firmware::wire::datagram::DatagramBuilder;

/// The order port's place among the NIC's sockets.
pub const ORDERS: usize = 0;
/// The feed port's.
pub const FEED: usize = 1;
/// The second order port's, if there is one: the same datagram may come to both, and the first counts.
pub const ORDERS_B: usize = 2;

/// The egress side of a hot tile.
pub struct Egress {
    datagram: DatagramBuilder,
    /// Lines A and B.
    pub feed: FeedEgress,
    durable: u64,
    is_waiting: bool,
    /// What was sent and refused, on both ways.
    pub counters: WireCounters,
}

impl Egress {
    /// An egress that goes on where the journal ended: what was said before can be asked for again.
    #[must_use]
    pub fn new(feed: FeedEgress, durable: u64) -> Self {
        Self {
            datagram: DatagramBuilder::new(),
            feed,
            durable,
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

    /// Sends durable feed messages; returns how many, and whether that was all.
    pub fn feed<N: Nic>(&mut self, nic: &mut N, log: &FeedLog, now: TimeNs) -> (usize, bool) {
        self.feed
            .send(nic, log, self.durable, now, &mut self.counters)
    }

    /// Shows that the feed is alive and which number comes next.
    pub fn feed_heartbeat<N: Nic>(&mut self, nic: &mut N, now: TimeNs) {
        self.feed.heartbeat(nic, now, &mut self.counters);
    }

    /// Ends the feed's session, after everything was sent.
    pub fn feed_end<N: Nic>(&mut self, nic: &mut N) {
        self.feed.end(nic, &mut self.counters);
    }
}
