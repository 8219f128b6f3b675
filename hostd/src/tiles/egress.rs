//! Egress: packs durable reports into datagrams and durable feed messages into MoldUDP64 packets.
//!
//! Nothing here is kept that cannot be made again from the logs: a datagram that the NIC has no room for is
//! not counted as sent and is packed again in the next turn.

mod feed;
mod reports;

pub use feed::FeedEgress;
pub use reports::{FIRST_REPORT, Left};

use crate::nic::Nic;
use crate::tiles::lanes::WireCounters;
use firmware::units::TimeNs;
use firmware::wire::datagram::DatagramBuilder;
use firmware::wire::feed::FeedMessage;

/// The order port's place among the NIC's sockets.
pub const ORDERS: usize = 0;
/// The feed port's.
pub const FEED: usize = 1;
/// The second order port's, if there is one: the same datagram may come to both, and the first counts.
pub const ORDERS_B: usize = 2;

/// The egress side of the gateway.
pub struct Egress {
    datagram: DatagramBuilder,
    /// Lines A and B.
    pub feed: FeedEgress,
    durable: u64,
    /// Last record that something was said of.
    last_said: u64,
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
            last_said: durable,
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

    /// Something waits when the last turn left something, or when what was said is not durable yet.
    pub(crate) const fn set_waiting(&mut self, has_left: bool) {
        self.is_waiting = has_left || self.durable < self.last_said;
    }

    /// Something was said of record `seq`: it waits.
    pub(crate) const fn expect(&mut self, seq: u64) {
        self.last_said = seq;
        self.is_waiting = true;
    }

    /// Takes the next feed message, of record `seq`: it waits until that is durable.
    pub fn say(&mut self, seq: u64, message: &FeedMessage) {
        self.feed.say(seq, message);
        self.expect(seq);
    }

    /// Takes note of what is durable.
    pub const fn advance(&mut self, durable: u64) {
        self.durable = durable;
    }

    /// Sends durable feed messages; returns how many, and whether that was all.
    pub fn feed<N: Nic>(&mut self, nic: &mut N, now: TimeNs) -> (usize, bool) {
        self.feed.send(nic, self.durable, now, &mut self.counters)
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
