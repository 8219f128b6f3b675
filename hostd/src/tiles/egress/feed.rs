//! The feed's way out of the gateway: MoldUDP64 packets to lines A and B, and to the feed tile.

use super::FEED;
use crate::feed::{FeedPacket, PacketBuilder};
use crate::machine::logs::{FEED_LAG_MAX, FeedLog, Log};
use crate::nic::{Endpoint, Nic};
use crate::tiles::lanes::WireCounters;
use crate::tiles::meters::LaneMeter;
use firmware::units::TimeNs;
use firmware::wire::feed::FeedMessage;
use firmware::wire::mold::END_OF_SESSION;
use lane::Producer;

/// Packets of what the feed tile lacks that one turn packs again at most.
const HAND_OVER_BURST: usize = 16;
/// A packet with less room is handed over as it was sent. Smaller ones are put together first: handing over
/// costs the same for every size.
const ROOM_OF_FULL: usize = 128;
/// Messages that are worth a packet to the feed tile.
const HAND_OVER_MESSAGES: u64 = 16;
/// The feed tile waits no longer than this for fewer, ns.
const HAND_OVER_NS: u64 = 1_000_000;

/// Packs durable messages, sends each packet to all destinations and hands the messages to the feed tile.
pub struct FeedEgress {
    packet: PacketBuilder,
    destinations: Vec<Endpoint>,
    heartbeat_ns: u64,
    lane: Producer<FeedPacket>,
    meter: LaneMeter,
    /// What was said, as far as it was not handed over, and more.
    log: FeedLog,
    /// Number of the message that is sent next.
    next: u64,
    /// Number of the message that the feed tile is handed next; never beyond `next`.
    handed: u64,
    /// When something was sent last.
    last: TimeNs,
    /// When something was handed over last.
    last_handed: TimeNs,
}

impl FeedEgress {
    /// Goes on at message `next`; what was before can be asked for at the feed tile. One event makes at most
    /// `event_max` messages.
    #[must_use]
    pub fn new(
        session: [u8; 10],
        destinations: Vec<Endpoint>,
        heartbeat_ns: u64,
        (lane, meter): (Producer<FeedPacket>, LaneMeter),
        next: u64,
        event_max: usize,
    ) -> Self {
        Self {
            packet: PacketBuilder::new(session),
            destinations,
            heartbeat_ns,
            lane,
            meter,
            // One event, were it a mass cancel of all orders, never overwrites what was not handed on.
            log: Log::new(2 * FEED_LAG_MAX as usize + event_max, next),
            next,
            handed: next,
            last: TimeNs(0),
            last_handed: TimeNs(0),
        }
    }

    /// Whether the feed tile keeps up: the log must not lose what it was not handed.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.log.next() - self.handed < FEED_LAG_MAX
    }

    /// What was said, as far as it is held.
    #[must_use]
    pub const fn said(&self) -> &FeedLog {
        &self.log
    }

    /// Takes the next message, of record `seq`.
    pub(super) fn say(&mut self, seq: u64, message: &FeedMessage) {
        self.log.push((seq, *message));
    }

    /// The feed tile is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.lane.is_abandoned()
    }

    /// Sends durable messages; returns how many, and whether everything was sent and handed over.
    pub(super) fn send<N: Nic>(
        &mut self,
        nic: &mut N,
        durable: u64,
        now: TimeNs,
        counters: &mut WireCounters,
    ) -> (usize, bool) {
        assert!(
            self.handed >= self.log.first(),
            "the log held what the feed tile lacks"
        );
        let mut sent = 0;
        while self.next < self.log.next() {
            let first = self.next;
            let count = self.pack(first, u64::MAX, durable);
            if count == 0 || !self.send_packet(nic, first, count, counters) {
                break;
            }
            self.next += u64::from(count);
            self.last = now;
            sent += usize::from(count);
            if self.handed == first && self.packet.room() < ROOM_OF_FULL {
                self.hand_over(first, count, now);
            }
        }
        for _ in 0..HAND_OVER_BURST {
            let (first, count) = (self.handed, self.next - self.handed);
            let is_late = now.0.saturating_sub(self.last_handed.0) >= HAND_OVER_NS;
            if count == 0 || (count < HAND_OVER_MESSAGES && !is_late) {
                break;
            }
            let count = self.pack(first, count, durable);
            if !self.hand_over(first, count, now) {
                counters.feed_lags += 1;
                break;
            }
        }
        self.meter.note_room(self.lane.room());
        (sent, self.handed == self.log.next())
    }

    /// Fills the packet with durable messages from `first` on, at most `max`.
    fn pack(&mut self, first: u64, max: u64, durable: u64) -> u16 {
        self.packet.clear();
        while u64::from(self.packet.count()) < max {
            let next = first + u64::from(self.packet.count());
            let Some((seq, message)) = self.log.get(next) else {
                break;
            };
            if *seq > durable || !self.packet.push(message.header(), message.block()) {
                break;
            }
        }
        self.packet.count()
    }

    fn hand_over(&mut self, first: u64, count: u16, now: TimeNs) -> bool {
        let packet = FeedPacket::new(self.packet.finish(first));
        let fits = self.lane.push(packet).is_ok();
        if fits {
            self.handed += u64::from(count);
            self.last_handed = now;
        }
        fits
    }

    /// The packet to all destinations. One that reached some and not all is sent to all again: receivers drop
    /// what they have.
    fn send_packet<N: Nic>(
        &mut self,
        nic: &mut N,
        sequence: u64,
        count: u16,
        counters: &mut WireCounters,
    ) -> bool {
        let packet = self.packet.finish_as(sequence, count);
        for to in &self.destinations {
            if nic.send(FEED, *to, packet).is_err() {
                counters.tx_stalls += 1;
                return false;
            }
            counters.feed_packets += 1;
        }
        true
    }

    /// Shows that the feed is alive and which number comes next.
    pub(super) fn heartbeat<N: Nic>(
        &mut self,
        nic: &mut N,
        now: TimeNs,
        counters: &mut WireCounters,
    ) {
        if now.0.saturating_sub(self.last.0) >= self.heartbeat_ns {
            self.packet.clear();
            if self.send_packet(nic, self.next, 0, counters) {
                self.last = now;
            }
        }
    }

    /// Ends the session; the feed tile, which is told too, repeats it. Everything was sent and handed over
    /// before, so the lane has room as soon as the feed tile has looked at it.
    pub(super) fn end<N: Nic>(&mut self, nic: &mut N, counters: &mut WireCounters) {
        self.packet.clear();
        self.send_packet(nic, self.next, END_OF_SESSION, counters);
        let mut end = FeedPacket::new(self.packet.finish_as(self.next, END_OF_SESSION));
        while let Err(back) = self.lane.push(end) {
            if self.lane.is_abandoned() {
                return;
            }
            end = back;
            std::hint::spin_loop();
        }
    }
}
