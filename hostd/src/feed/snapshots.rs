//! Snapshot cycles: every instrument in turn, paced, in a MoldUDP64 session of their own.

use super::PacketBuilder;
use super::state::State;
use bytemuck::Zeroable;
use firmware::units::TimeNs;
use firmware::wire::feed::{
    EndOfCycle, SnapshotCycle, SnapshotHeader, SnapshotMessage, SnapshotOrder, SnapshotTrailer,
};
use std::collections::VecDeque;

/// Sending that was put off is made up for, up to this much, ns.
const CATCH_UP_NS: u64 = 5_000_000;

/// What is sent next.
enum Stage {
    /// Nothing until the next cycle begins.
    Resting,
    /// The next instrument's snapshot is to be taken.
    Between,
    /// A snapshot is being sent: the messages before its orders, then the orders from this place on.
    Within(usize),
}

/// The cycle.
pub(crate) struct Snapshots {
    packet: PacketBuilder,
    interval_ns: u64,
    /// Pace: time that one message takes.
    message_ns: u64,
    /// Number of the next message in the session.
    sequence: u64,
    cycle_no: u64,
    stage: Stage,
    todo: VecDeque<u16>,
    shown: u16,
    /// Messages to be sent before the orders of the snapshot.
    head: VecDeque<SnapshotMessage>,
    /// Orders of the snapshot, as they were at its `last_seq`.
    orders: Vec<SnapshotOrder>,
    trailer: SnapshotTrailer,
    next_cycle: u64,
    /// When the next packet may leave.
    due: u64,
}

impl Snapshots {
    /// Cycles that begin at most once per `interval_ns`, of `messages_per_second`; the session's numbers go on
    /// from `sequence`.
    pub(crate) fn new(
        session: [u8; 10],
        interval_ns: u64,
        messages_per_second: u32,
        sequence: u64,
    ) -> Self {
        Self {
            packet: PacketBuilder::new(session),
            interval_ns,
            message_ns: 1_000_000_000 / u64::from(messages_per_second.max(1)),
            sequence,
            cycle_no: 0,
            stage: Stage::Resting,
            todo: VecDeque::new(),
            shown: 0,
            head: VecDeque::new(),
            orders: Vec::new(),
            trailer: SnapshotTrailer::zeroed(),
            next_cycle: 0,
            due: 0,
        }
    }

    /// A packet without messages.
    pub(crate) fn bare(&mut self, count: u16) -> &[u8] {
        self.packet.clear();
        self.packet.finish_as(self.sequence, count)
    }

    /// The next packet, if one is due; the feed's next message is `next_feed`.
    pub(crate) fn packet(&mut self, state: &State, next_feed: u64, now: TimeNs) -> Option<&[u8]> {
        if now.0 < self.due {
            return None;
        }
        self.packet.clear();
        while let Some(message) = self.next(state, next_feed, now) {
            if !self.packet.push(message.header(), message.block()) {
                break;
            }
            self.sent(&message);
        }
        let count = u64::from(self.packet.count());
        if count == 0 {
            return None;
        }
        self.due = self.due.max(now.0.saturating_sub(CATCH_UP_NS)) + count * self.message_ns;
        let first = self.sequence;
        self.sequence += count;
        Some(self.packet.finish(first))
    }

    /// The message that is next, without taking it.
    fn next(&mut self, state: &State, next_feed: u64, now: TimeNs) -> Option<SnapshotMessage> {
        if self.head.is_empty() {
            match self.stage {
                Stage::Resting if now.0 >= self.next_cycle && state.is_whole() => {
                    self.begin_cycle(state, next_feed, now);
                }
                Stage::Resting => return None,
                Stage::Between => match self.todo.front() {
                    // In the middle of an event nothing can be shown: the rest of it is on its way.
                    Some(_) if !state.is_whole() => return None,
                    Some(&instrument) => self.begin_instrument(state, next_feed, instrument),
                    None => {
                        return Some(
                            EndOfCycle {
                                cycle_no: self.cycle_no,
                                last_seq: next_feed - 1,
                                instruments: self.shown,
                                ..Zeroable::zeroed()
                            }
                            .into(),
                        );
                    }
                },
                Stage::Within(place) => {
                    let order = self.orders.get(place);
                    return Some(order.map_or(self.trailer.into(), |o| (*o).into()));
                }
            }
        }
        self.head.front().copied()
    }

    /// Goes past a message that was put into a packet.
    fn sent(&mut self, message: &SnapshotMessage) {
        match message {
            SnapshotMessage::SnapshotOrder(_) => {
                if let Stage::Within(place) = &mut self.stage {
                    *place += 1;
                }
            }
            SnapshotMessage::SnapshotTrailer(_) => {
                self.todo.pop_front();
                self.shown += 1;
                self.stage = Stage::Between;
            }
            SnapshotMessage::EndOfCycle(_) => self.stage = Stage::Resting,
            _ => {
                self.head.pop_front();
            }
        }
    }

    fn begin_cycle(&mut self, state: &State, next_feed: u64, now: TimeNs) {
        self.cycle_no += 1;
        self.next_cycle = now.0 + self.interval_ns;
        self.todo.clear();
        let listed = state.instruments.iter();
        (self.todo).extend(
            listed
                .filter(|(_, i)| i.definition.is_some())
                .map(|(id, _)| *id),
        );
        self.shown = 0;
        let begin = SnapshotCycle {
            cycle_no: self.cycle_no,
            last_seq: next_feed - 1,
            engine_seq: state.engine_seq,
            instruments: self.todo.len() as u16,
            ..Zeroable::zeroed()
        };
        self.head.push_back(begin.into());
        self.head.extend(state.index.map(SnapshotMessage::from));
        self.head
            .extend(state.settlement.map(SnapshotMessage::from));
        self.head.extend(state.batch.map(SnapshotMessage::from));
        self.stage = Stage::Between;
    }

    fn begin_instrument(&mut self, state: &State, next_feed: u64, id: u16) {
        let instrument = &state.instruments[&id];
        self.orders.clear();
        self.orders.extend(instrument.orders().copied());
        let about = [
            instrument.definition.map(SnapshotMessage::from),
            instrument.mark.map(SnapshotMessage::from),
            instrument.auction.map(SnapshotMessage::from),
        ];
        let about = about.into_iter().flatten();
        let orders = self.orders.len() as u32;
        let header = SnapshotHeader {
            cycle_no: self.cycle_no,
            last_seq: next_feed - 1,
            engine_seq: state.engine_seq,
            orders,
            messages: about.clone().count() as u32 + orders + 1,
            instrument: id,
            state: instrument.state(),
            ..Zeroable::zeroed()
        };
        self.head.push_back(header.into());
        self.head.extend(about);
        self.trailer = SnapshotTrailer {
            last_seq: next_feed - 1,
            orders,
            instrument: id,
            pad1: 0,
        };
        self.stage = Stage::Within(0);
    }
}
