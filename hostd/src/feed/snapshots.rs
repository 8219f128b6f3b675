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
    /// from `sequence`. There is room for a book of `orders`.
    pub(crate) fn new(
        session: [u8; 10],
        interval_ns: u64,
        messages_per_second: u32,
        sequence: u64,
        orders: usize,
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
            orders: Vec::with_capacity(orders),
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
        self.orders
            .extend(state.orders.of(&instrument.queue).copied());
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

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::wire::feed::{FLAG_LAST, FeedMessage, InstrumentDefinition, OrderAdd};
    use firmware::wire::mold::{MoldHeader, blocks};

    const MS: u64 = 1_000_000;

    fn add(order_id: u64, instrument: u16, flags: u8) -> FeedMessage {
        OrderAdd {
            order_id,
            price: 5,
            quantity: 1,
            instrument,
            flags,
            ..Zeroable::zeroed()
        }
        .into()
    }

    fn list(instrument: u16) -> FeedMessage {
        InstrumentDefinition {
            instrument,
            flags: FLAG_LAST,
            ..Zeroable::zeroed()
        }
        .into()
    }

    /// All messages that leave by `until`, in steps of 1 ms, and when the first and the last of them did.
    fn run(s: &mut Snapshots, state: &State, until: u64) -> (Vec<SnapshotMessage>, u64, u64) {
        let (mut all, mut first, mut last) = (Vec::new(), 0, 0);
        for now in 1..=until {
            while let Some(packet) = s.packet(state, 1_000, TimeNs(now * MS)) {
                let (header, rest) = MoldHeader::decode(packet).unwrap();
                assert_eq!(header.sequence, 500 + all.len() as u64);
                all.extend(blocks(rest).map(|b| SnapshotMessage::decode(b).unwrap()));
                first = if first == 0 { now } else { first };
                last = now;
            }
        }
        (all, first, last)
    }

    #[test]
    fn a_cycle_shows_every_instrument_at_its_pace() {
        let mut state = State::new(300);
        for instrument in [4, 9] {
            state.take(&list(instrument));
            for n in 0..100 {
                state.take(&add(
                    u64::from(instrument) * 1_000 + n,
                    instrument,
                    FLAG_LAST,
                ));
            }
        }
        let mut s = Snapshots::new(*b"DELTASNAP1", 1_000 * MS, 1_000, 500, 300);
        let (all, first, last) = run(&mut s, &state, 900);
        let names: Vec<_> = all.iter().map(SnapshotMessage::name).collect();
        let one = |orders: usize| {
            let mut names = vec!["SnapshotHeader", "InstrumentDefinition"];
            names.extend(vec!["SnapshotOrder"; orders]);
            names.push("SnapshotTrailer");
            names
        };
        let want = [
            vec!["SnapshotCycle"],
            one(100),
            one(100),
            vec!["EndOfCycle"],
        ]
        .concat();
        assert_eq!(names, want);
        assert!((160..=210).contains(&(last - first)), "{first} to {last}");
        let ids = all.iter().filter_map(|m| match m {
            SnapshotMessage::SnapshotOrder(m) => Some(m.order_id),
            _ => None,
        });
        assert!(ids.eq((4_000..4_100).chain(9_000..9_100)), "oldest first");
    }

    #[test]
    fn in_the_middle_of_an_event_no_snapshot_is_taken() {
        let mut state = State::new(300);
        state.take(&list(4));
        state.take(&add(1, 4, 0));
        let mut s = Snapshots::new(*b"DELTASNAP1", MS, 1_000_000, 500, 300);
        assert_eq!(run(&mut s, &state, 5).0, []);
        state.take(&add(2, 4, FLAG_LAST));
        // The cycle begins, and before the instrument's turn another event does.
        s.begin_cycle(&state, 1_000, TimeNs(5 * MS));
        state.take(&add(3, 4, 0));
        let names = |all: Vec<SnapshotMessage>| all.iter().map(|m| m.name()).collect::<Vec<_>>();
        assert_eq!(names(run(&mut s, &state, 9).0), ["SnapshotCycle"]);
        assert!(s.orders.is_empty());
        state.take(&add(4, 4, FLAG_LAST));
        assert!(s.packet(&state, 1_000, TimeNs(20 * MS)).is_some());
        assert_eq!(s.orders.len(), 4);
    }
}
