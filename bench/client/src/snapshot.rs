//! The snapshot session: packets in any order in, whole snapshots out. What is lost is not asked for: the next
//! cycle brings it again.

use crate::ordered::Ordered;
use firmware::units::TimeNs;
use firmware::wire::feed::{SnapshotHeader, SnapshotMessage, SnapshotOrder};
use std::collections::BTreeSet;

/// A gap that has not closed by then is taken for a loss, ns.
const REORDER_NS: u64 = 20_000_000;

/// One instrument at one moment.
#[derive(Clone, Debug)]
pub(crate) struct InstrumentSnapshot {
    pub(crate) header: SnapshotHeader,
    pub(crate) about: Vec<SnapshotMessage>,
    pub(crate) orders: Vec<SnapshotOrder>,
}

/// A cycle that was seen from beginning to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cycle {
    /// Feed messages that had been sent when it began.
    pub(crate) last_seq: u64,
}

/// What the session gives.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// A message about the whole venue.
    Venue(SnapshotMessage),
    /// An instrument.
    Instrument(InstrumentSnapshot),
    /// The cycle is complete.
    Complete(Cycle),
    /// The cycle has ended and something of it was lost.
    Incomplete,
}

/// Puts the session together.
#[derive(Debug)]
pub(crate) struct SnapshotReader {
    flow: Option<Ordered<Option<SnapshotMessage>>>,
    /// The cycle whose beginning was seen, by number and `last_seq`.
    cycle: Option<(u64, u64)>,
    shown: BTreeSet<u16>,
    open: Option<InstrumentSnapshot>,
}

impl SnapshotReader {
    pub(crate) const fn new() -> Self {
        Self {
            flow: None,
            cycle: None,
            shown: BTreeSet::new(),
            open: None,
        }
    }

    /// Forgets everything: nothing is wanted now.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }

    /// Takes message `number` of the session.
    pub(crate) fn offer(&mut self, number: u64, bytes: &[u8]) {
        let flow = self
            .flow
            .get_or_insert_with(|| Ordered::starting_at(number));
        flow.offer(number, SnapshotMessage::decode(bytes).ok());
    }

    /// The next piece.
    pub(crate) fn poll(&mut self, now: TimeNs) -> Option<Piece> {
        loop {
            let flow = self.flow.as_mut()?;
            if let Some((_, message)) = flow.pop() {
                if let Some(piece) = message.and_then(|m| self.take(m)) {
                    return Some(piece);
                }
                continue;
            }
            if flow.stuck_ns(now) < REORDER_NS || flow.skip_to(u64::MAX).is_none() {
                return None;
            }
            // Something is lost: of a snapshot that misses a message nothing is left.
            self.open = None;
        }
    }

    fn take(&mut self, message: SnapshotMessage) -> Option<Piece> {
        match message {
            SnapshotMessage::SnapshotCycle(m) => {
                self.cycle = Some((m.cycle_no, m.last_seq));
                self.shown.clear();
                self.open = None;
            }
            SnapshotMessage::SnapshotHeader(header) => {
                self.open = Some(InstrumentSnapshot {
                    header,
                    about: Vec::new(),
                    orders: Vec::new(),
                });
            }
            SnapshotMessage::SnapshotOrder(m) => {
                let open = self.open.as_mut()?;
                if open.orders.len() < open.header.orders as usize {
                    open.orders.push(m);
                } else {
                    self.open = None;
                }
            }
            SnapshotMessage::SnapshotTrailer(m) => {
                let open = self.open.take()?;
                let h = &open.header;
                let is_whole = (h.instrument, h.last_seq, h.orders)
                    == (m.instrument, m.last_seq, m.orders)
                    && open.orders.len() == h.orders as usize
                    && open.about.len() + open.orders.len() + 1 == h.messages as usize;
                if is_whole {
                    self.shown.insert(m.instrument);
                    return Some(Piece::Instrument(open));
                }
            }
            SnapshotMessage::EndOfCycle(m) => {
                let shown = self.shown.len();
                let piece = match self.cycle.take() {
                    Some((no, last_seq))
                        if no == m.cycle_no && shown == usize::from(m.instruments) =>
                    {
                        Piece::Complete(Cycle { last_seq })
                    }
                    _ => Piece::Incomplete,
                };
                self.shown.clear();
                return Some(piece);
            }
            SnapshotMessage::IndexUpdate(_)
            | SnapshotMessage::SettlementSummary(_)
            | SnapshotMessage::BatchSealed(_) => return Some(Piece::Venue(message)),
            SnapshotMessage::InstrumentDefinition(_)
            | SnapshotMessage::AuctionUpdate(_)
            | SnapshotMessage::MarkPrice(_) => self.open.as_mut()?.about.push(message),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use firmware::wire::feed::{EndOfCycle, MarkPrice, SnapshotCycle, SnapshotTrailer};

    fn bytes(m: &SnapshotMessage) -> Vec<u8> {
        [bytemuck::bytes_of(&m.header()), m.block()].concat()
    }

    /// A cycle of two instruments with two orders each, 14 messages.
    fn cycle(cycle_no: u64) -> Vec<SnapshotMessage> {
        let mut all: Vec<SnapshotMessage> = vec![
            SnapshotCycle {
                cycle_no,
                last_seq: 70,
                instruments: 2,
                ..Zeroable::zeroed()
            }
            .into(),
        ];
        for instrument in [3, 5] {
            let header = SnapshotHeader {
                cycle_no,
                last_seq: 70 + u64::from(instrument),
                orders: 2,
                messages: 4,
                instrument,
                ..Zeroable::zeroed()
            };
            all.push(header.into());
            all.push(MarkPrice::zeroed().into());
            let order = |order_id| SnapshotOrder {
                order_id,
                instrument,
                ..Zeroable::zeroed()
            };
            all.extend([1, 2].map(|id| SnapshotMessage::from(order(id))));
            let trailer = SnapshotTrailer {
                last_seq: header.last_seq,
                orders: 2,
                instrument,
                pad1: 0,
            };
            all.push(trailer.into());
        }
        all.push(
            EndOfCycle {
                cycle_no,
                last_seq: 90,
                instruments: 2,
                ..Zeroable::zeroed()
            }
            .into(),
        );
        all
    }

    /// Names of the pieces that come of a cycle when the messages at `lost` do not come.
    fn pieces(lost: &[usize]) -> Vec<String> {
        let mut reader = SnapshotReader::new();
        let mut got = Vec::new();
        let all = cycle(1);
        for (i, m) in all.iter().chain(&cycle(2)[..1]).enumerate() {
            if !lost.contains(&i) {
                reader.offer(100 + i as u64, &bytes(m));
            }
        }
        for now in [0, REORDER_NS, 2 * REORDER_NS, 3 * REORDER_NS] {
            while let Some(piece) = reader.poll(TimeNs(now)) {
                got.push(match piece {
                    Piece::Venue(m) => m.name().to_owned(),
                    Piece::Instrument(s) => format!("{} {}", s.header.instrument, s.orders.len()),
                    Piece::Complete(c) => format!("complete {}", c.last_seq),
                    Piece::Incomplete => "incomplete".to_owned(),
                });
            }
        }
        got
    }

    #[test]
    fn a_snapshot_is_whole_or_not_there_and_the_end_of_the_cycle_shows_a_loss() {
        assert_eq!(pieces(&[]), ["3 2", "5 2", "complete 70"]);
        for lost in 1..6 {
            assert_eq!(pieces(&[lost]), ["5 2", "incomplete"], "{lost}");
        }
        for lost in 6..11 {
            assert_eq!(pieces(&[lost]), ["3 2", "incomplete"], "{lost}");
        }
        assert_eq!(pieces(&[3, 8]), ["incomplete"]);
        assert_eq!(pieces(&[0]), ["3 2", "5 2", "incomplete"]);
        assert_eq!(pieces(&[11]), ["3 2", "5 2"], "no end, no answer");
    }

    #[test]
    fn the_order_of_packets_does_not_matter() {
        let mut reader = SnapshotReader::new();
        let all = cycle(1);
        reader.offer(100, &bytes(&all[0]));
        for i in (1..all.len()).rev() {
            assert!(reader.poll(TimeNs(0)).is_none());
            reader.offer(100 + i as u64, &bytes(&all[i]));
        }
        let whole = std::iter::from_fn(|| reader.poll(TimeNs(0)));
        assert_eq!(whole.count(), 3);
    }
}
