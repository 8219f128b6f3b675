//! The feed tile's work, without its thread: packets in; answers, snapshots, checkpoints out.

use super::PacketBuilder;
use super::checkpoints::Checkpoints;
use super::config::FeedSection;
use super::day::{FeedDay, SealedNote};
use super::requests::Requests;
use super::snapshots::Snapshots;
use crate::nic::{Endpoint, Nic};
use firmware::units::TimeNs;
use firmware::wire::mold::END_OF_SESSION;
use handshake::SecretKey;

/// The request port's place among the feed tile's sockets; everything that it sends leaves there.
pub const REQUESTS: usize = 0;
/// The end of a session is repeated this often, ns.
const END_REPEAT_NS: u64 = 100_000_000;
/// Snapshot packets of one turn at most: requests wait no longer than that.
const SNAPSHOT_BURST: usize = 64;

/// What was served and refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct FeedCounters {
    /// Feed messages of the day.
    pub messages: u64,
    /// Re-requests answered.
    pub requests_served: u64,
    /// Not answered: more than the rate of the requester, or of all.
    pub requests_throttled: u64,
    /// Not answered: no re-request, or of another session.
    pub requests_malformed: u64,
    /// Not answered: not sent yet.
    pub requests_too_high: u64,
    /// Not answered: not on the list of requesters.
    pub requests_not_allowed: u64,
    /// Snapshot packets, per destination.
    pub snapshot_packets: u64,
    /// Checkpoints signed.
    pub checkpoints: u64,
    /// Packets that the NIC had no room for; receivers ask again, or wait for the next.
    pub tx_stalls: u64,
}

/// A session that the desk sends by itself.
struct Channel<T> {
    what: T,
    destinations: Vec<Endpoint>,
    last: TimeNs,
}

/// See the module.
pub struct Desk {
    day: FeedDay,
    /// For answers, and for the end of the feed's session.
    packet: PacketBuilder,
    requests: Requests,
    lines: Vec<Endpoint>,
    snapshots: Option<Channel<Snapshots>>,
    checkpoints: Option<Channel<Checkpoints>>,
    heartbeat_ns: u64,
    next_end: u64,
    counters: FeedCounters,
}

/// Sends a packet to all.
fn send<N: Nic>(nic: &mut N, to: &[Endpoint], packet: &[u8], counters: &mut FeedCounters) -> u64 {
    let mut sent = 0;
    for &to in to {
        match nic.send(REQUESTS, to, packet) {
            Ok(()) => sent += 1,
            Err(_) => counters.tx_stalls += 1,
        }
    }
    sent
}

impl Desk {
    /// A desk that goes on after `day`. The numbers of its own sessions go on from `now` in microseconds, so that
    /// they rise over restarts too.
    #[must_use]
    pub fn new(config: &FeedSection, day: FeedDay, key: SecretKey, now: TimeNs) -> Self {
        let sequence = now.0 / 1_000;
        let session = config.session_name();
        let snapshots = config.snapshots.as_ref().map(|c| Channel {
            what: Snapshots::new(
                c.session_name(),
                c.interval_ms * 1_000_000,
                c.messages_per_second,
                sequence,
                day.state.orders.capacity(),
            ),
            destinations: c.destinations.clone(),
            last: TimeNs(0),
        });
        let checkpoints = config.checkpoints.as_ref().map(|c| Channel {
            what: Checkpoints::new(
                c.session_name(),
                session,
                c.interval_ms * 1_000_000,
                sequence,
                key,
            ),
            destinations: c.destinations.clone(),
            last: TimeNs(0),
        });
        let r = &config.requests;
        Self {
            day,
            packet: PacketBuilder::new(session),
            requests: Requests::new(r.per_second, r.per_requester, r.requesters.clone()),
            lines: config.lines().collect(),
            snapshots,
            checkpoints,
            heartbeat_ns: config.heartbeat_ms * 1_000_000,
            next_end: 0,
            counters: FeedCounters::default(),
        }
    }

    /// Takes a packet of the feed.
    ///
    /// # Errors
    /// When the store fails, or the packet does not follow.
    pub fn feed(&mut self, packet: &[u8]) -> anyhow::Result<()> {
        self.day.packet(packet)
    }

    /// Takes note of a sealed batch that was written.
    pub const fn sealed(&mut self, note: SealedNote) {
        self.day.sealed = note;
    }

    /// Whether the hot tile has ended the feed's session.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.day.is_ended
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> FeedCounters {
        FeedCounters {
            messages: self.day.next() - 1,
            ..self.counters
        }
    }

    /// Answers a re-request, to where it came from.
    ///
    /// # Errors
    /// When the store fails.
    pub fn request<N: Nic>(
        &mut self,
        nic: &mut N,
        from: Endpoint,
        payload: &[u8],
        now: TimeNs,
    ) -> anyhow::Result<()> {
        let answer = self.requests.answer(
            &self.day.store,
            &mut self.packet,
            from,
            payload,
            now,
            &mut self.counters,
        )?;
        if let Some(answer) = answer
            && nic.send(REQUESTS, from, answer).is_err()
        {
            self.counters.tx_stalls += 1;
        }
        Ok(())
    }

    /// Sends what is due; returns how many packets that was.
    pub fn turn<N: Nic>(&mut self, nic: &mut N, now: TimeNs) -> u64 {
        let mut sent = self.turn_snapshots(nic, now);
        sent += self.turn_checkpoints(nic, now);
        if self.day.is_ended && now.0 >= self.next_end {
            self.next_end = now.0 + END_REPEAT_NS;
            sent += self.send_end(nic);
        }
        sent
    }

    fn turn_snapshots<N: Nic>(&mut self, nic: &mut N, now: TimeNs) -> u64 {
        let (Some(c), counters) = (&mut self.snapshots, &mut self.counters) else {
            return 0;
        };
        let mut packets = 0;
        for _ in 0..SNAPSHOT_BURST {
            let Some(packet) = c.what.packet(&self.day.state, self.day.next(), now) else {
                break;
            };
            packets += send(nic, &c.destinations, packet, counters);
            c.last = now;
        }
        counters.snapshot_packets += packets;
        if now.0.saturating_sub(c.last.0) >= self.heartbeat_ns {
            c.last = now;
            packets += send(nic, &c.destinations, c.what.bare(0), counters);
        }
        packets
    }

    fn turn_checkpoints<N: Nic>(&mut self, nic: &mut N, now: TimeNs) -> u64 {
        let (Some(c), counters) = (&mut self.checkpoints, &mut self.counters) else {
            return 0;
        };
        // The last one holds the end of the session: it goes before that.
        let is_last = self.day.is_ended && self.next_end == 0;
        if (c.what.is_due(now) || is_last) && self.day.state.is_whole() {
            counters.checkpoints += 1;
            c.last = now;
            send(
                nic,
                &c.destinations,
                c.what.packet(&mut self.day, now),
                counters,
            )
        } else if now.0.saturating_sub(c.last.0) >= self.heartbeat_ns {
            c.last = now;
            send(nic, &c.destinations, c.what.bare(0), counters)
        } else {
            0
        }
    }

    /// Ends all sessions, once more.
    fn send_end<N: Nic>(&mut self, nic: &mut N) -> u64 {
        let counters = &mut self.counters;
        self.packet.clear();
        let end = self.packet.finish_as(self.day.next(), END_OF_SESSION);
        let mut sent = send(nic, &self.lines, end, counters);
        if let Some(c) = &mut self.snapshots {
            sent += send(nic, &c.destinations, c.what.bare(END_OF_SESSION), counters);
        }
        if let Some(c) = &mut self.checkpoints {
            sent += send(nic, &c.destinations, c.what.bare(END_OF_SESSION), counters);
        }
        sent
    }
}
