//! What the feed says of the market: instruments, their books, index, settlements, seals.

use crate::book::{Book, Inconsistent};
use crate::snapshot::{Cycle, InstrumentSnapshot};
use firmware::units::Side;
use firmware::wire::feed::{
    AuctionUpdate, BatchSealed, FeedMessage, IndexUpdate, InstrumentDefinition, MarkPrice,
    STATE_OPEN, SettlementSummary, SnapshotMessage,
};
use std::collections::BTreeMap;

/// Messages that wait for the snapshot of one instrument; beyond that a newer snapshot is waited for.
const WAITING_MAX: usize = 1 << 16;

/// One instrument, as far as the feed has told.
#[derive(Clone, Debug, Default)]
pub struct Instrument {
    definition: Option<InstrumentDefinition>,
    state: Option<u8>,
    mark: Option<MarkPrice>,
    auction: Option<AuctionUpdate>,
    book: Book,
    /// Messages up to this one are in the book.
    applied: u64,
    /// The book lacks messages: it comes back with a snapshot that contains them.
    lacks: Option<u64>,
    /// Messages that follow that snapshot.
    waiting: Vec<(u64, FeedMessage)>,
}

impl Instrument {
    /// What it is; `None` when only orders were seen of it.
    #[must_use]
    pub const fn definition(&self) -> Option<&InstrumentDefinition> {
        self.definition.as_ref()
    }

    /// Its trading state: 0 pre-open, 1 auction, 2 open, 3 cancel-only, 4 halt, 5 settle, 6 delivered.
    #[must_use]
    pub fn state(&self) -> u8 {
        self.state.unwrap_or(STATE_OPEN)
    }

    /// Newest mark and collar.
    #[must_use]
    pub const fn mark(&self) -> Option<&MarkPrice> {
        self.mark.as_ref()
    }

    /// What the auction would do now; `None` outside of auctions.
    #[must_use]
    pub const fn auction(&self) -> Option<&AuctionUpdate> {
        self.auction.as_ref()
    }

    /// The book, always at the end of a matching event; `None` while messages are missing in it.
    #[must_use]
    pub fn book(&self) -> Option<&Book> {
        self.lacks.is_none().then_some(&self.book)
    }

    /// Whether buyers pay more than sellers ask: right in an auction, a fault of the venue in open trading.
    fn is_crossed(&self) -> bool {
        let (bid, ask) = (self.book.best_bid(), self.book.best_ask());
        bid.zip(ask).is_some_and(|(b, a)| b.price >= a.price)
    }

    fn apply(&mut self, message: &FeedMessage) -> Result<(), Inconsistent> {
        let side = |side| Side::from_wire(side).ok_or(Inconsistent);
        match message {
            FeedMessage::InstrumentDefinition(m) => self.definition = Some(*m),
            FeedMessage::TradingStatus(m) => {
                self.state = Some(m.state);
                self.auction = None;
            }
            FeedMessage::AuctionUpdate(m) => self.auction = Some(*m),
            FeedMessage::MarkPrice(m) => self.mark = Some(*m),
            FeedMessage::OrderAdd(m) => {
                return (self.book).add(m.order_id, side(m.side)?, m.price, m.quantity);
            }
            FeedMessage::OrderReduce(m) => {
                return self.book.set(m.order_id, side(m.side)?, m.quantity);
            }
            FeedMessage::OrderDelete(m) => return self.book.set(m.order_id, side(m.side)?, 0),
            FeedMessage::OrderExecuted(m) => {
                let order = self.book.order(m.order_id).ok_or(Inconsistent)?;
                // In an auction all trade at one price, which is not that of the order.
                let is_own_price = order.price == m.price || self.state() != STATE_OPEN;
                if order.quantity.checked_sub(m.leaves) != Some(m.quantity) || !is_own_price {
                    return Err(Inconsistent);
                }
                return self.book.set(m.order_id, side(m.side)?, m.leaves);
            }
            FeedMessage::IndexUpdate(_)
            | FeedMessage::SettlementSummary(_)
            | FeedMessage::BatchSealed(_)
            | FeedMessage::FundingRate(_)
            | FeedMessage::InstrumentSettled(_)
            | FeedMessage::LiquidationStep(_)
            | FeedMessage::RiskRules(_) => {}
        }
        Ok(())
    }
}

/// Faults of the venue that showed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Faults {
    /// Messages that do not fit the book.
    pub(crate) inconsistent: u64,
    /// Events after which a book in open trading was crossed.
    pub(crate) crossed: u64,
}

/// All instruments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Market {
    instruments: BTreeMap<u16, Instrument>,
    index: Option<IndexUpdate>,
    settlement: Option<SettlementSummary>,
    batch: Option<BatchSealed>,
    /// Messages up to this one were not all seen; zero when none was missed.
    missed: u64,
    /// A cycle has shown which instruments there are.
    is_listed: bool,
    pub(crate) faults: Faults,
}

/// Instrument that a message is about.
const fn instrument_of(message: &FeedMessage) -> Option<u16> {
    Some(match message {
        FeedMessage::InstrumentDefinition(m) => m.instrument,
        FeedMessage::TradingStatus(m) => m.instrument,
        FeedMessage::AuctionUpdate(m) => m.instrument,
        FeedMessage::MarkPrice(m) => m.instrument,
        FeedMessage::OrderAdd(m) => m.instrument,
        FeedMessage::OrderReduce(m) => m.instrument,
        FeedMessage::OrderDelete(m) => m.instrument,
        FeedMessage::OrderExecuted(m) => m.instrument,
        FeedMessage::IndexUpdate(_)
        | FeedMessage::SettlementSummary(_)
        | FeedMessage::BatchSealed(_)
        | FeedMessage::FundingRate(_)
        | FeedMessage::InstrumentSettled(_)
        | FeedMessage::LiquidationStep(_)
        | FeedMessage::RiskRules(_) => return None,
    })
}

impl Market {
    pub(crate) fn instruments(&self) -> &BTreeMap<u16, Instrument> {
        &self.instruments
    }

    pub(crate) const fn index(&self) -> Option<&IndexUpdate> {
        self.index.as_ref()
    }

    pub(crate) const fn settlement(&self) -> Option<&SettlementSummary> {
        self.settlement.as_ref()
    }

    pub(crate) const fn batch(&self) -> Option<&BatchSealed> {
        self.batch.as_ref()
    }

    /// Whether everything is known that the feed has said.
    pub(crate) fn is_synced(&self) -> bool {
        let is_listed = self.missed == 0 || self.is_listed;
        is_listed && self.instruments.values().all(|i| i.lacks.is_none())
    }

    /// Messages up to `last` were not all seen: all books wait for snapshots that contain them.
    pub(crate) fn miss(&mut self, last: u64) {
        self.missed = last;
        self.is_listed = false;
        for instrument in self.instruments.values_mut() {
            instrument.lacks = Some(last);
            instrument.waiting.clear();
        }
    }

    fn at(&mut self, id: u16) -> &mut Instrument {
        let missed = self.missed;
        self.instruments.entry(id).or_insert_with(|| Instrument {
            lacks: (missed > 0).then_some(missed),
            ..Instrument::default()
        })
    }

    /// Takes the messages of a matching event that is whole.
    pub(crate) fn event(&mut self, messages: &[(u64, FeedMessage)]) {
        for (seq, message) in messages {
            self.take(*seq, message);
        }
        let mut done = None;
        for (_, message) in messages {
            let id = instrument_of(message);
            if id.is_none() || id == done {
                continue;
            }
            done = id;
            let instrument = id.and_then(|id| self.instruments.get(&id));
            let is_crossed = instrument
                .is_some_and(|i| i.lacks.is_none() && i.state() == STATE_OPEN && i.is_crossed());
            self.faults.crossed += u64::from(is_crossed);
        }
    }

    fn take(&mut self, seq: u64, message: &FeedMessage) {
        match message {
            FeedMessage::IndexUpdate(m) => self.index = Some(*m),
            FeedMessage::SettlementSummary(m) => self.settlement = Some(*m),
            FeedMessage::BatchSealed(m) => self.batch = Some(*m),
            _ => {}
        }
        let Some(id) = instrument_of(message) else {
            return;
        };
        let instrument = self.at(id);
        if instrument.lacks.is_some() {
            if instrument.waiting.len() == WAITING_MAX {
                instrument.waiting.clear();
                instrument.lacks = Some(seq);
            } else {
                instrument.waiting.push((seq, *message));
            }
        } else if seq > instrument.applied {
            let fits = instrument.apply(message).is_ok();
            self.faults.inconsistent += u64::from(!fits);
        }
    }

    /// Whether a snapshot as of `last_seq` would bring a book back.
    pub(crate) fn wants(&self, id: u16, last_seq: u64) -> bool {
        let lacks = match self.instruments.get(&id) {
            Some(instrument) => instrument.lacks,
            None => (self.missed > 0).then_some(self.missed),
        };
        lacks.is_some_and(|lacks| last_seq >= lacks)
    }

    /// Takes a snapshot that is wanted, and the messages that waited for it.
    pub(crate) fn snapshot(&mut self, snapshot: &InstrumentSnapshot) {
        let header = &snapshot.header;
        let instrument = self.at(header.instrument);
        let waiting = std::mem::take(&mut instrument.waiting);
        *instrument = Instrument {
            state: Some(header.state),
            applied: header.last_seq,
            ..Instrument::default()
        };
        let mut faults = 0;
        for message in &snapshot.about {
            match message {
                SnapshotMessage::InstrumentDefinition(m) => instrument.definition = Some(*m),
                SnapshotMessage::MarkPrice(m) => instrument.mark = Some(*m),
                SnapshotMessage::AuctionUpdate(m) => instrument.auction = Some(*m),
                _ => faults += 1,
            }
        }
        for m in &snapshot.orders {
            let side = Side::from_wire(m.side).ok_or(Inconsistent);
            let added = side.and_then(|s| instrument.book.add(m.order_id, s, m.price, m.quantity));
            faults += u64::from(added.is_err());
        }
        for (_, message) in waiting.iter().filter(|(seq, _)| *seq > header.last_seq) {
            faults += u64::from(instrument.apply(message).is_err());
        }
        self.faults.inconsistent += faults;
    }

    /// A cycle begins: what holds for the whole venue, unless something newer is known.
    pub(crate) fn venue(&mut self, message: &SnapshotMessage) {
        fn newer<T>(held: &mut Option<T>, new: T, engine_seq: impl Fn(&T) -> u64) {
            if held
                .as_ref()
                .is_none_or(|h| engine_seq(h) < engine_seq(&new))
            {
                *held = Some(new);
            }
        }
        match message {
            SnapshotMessage::IndexUpdate(m) => newer(&mut self.index, *m, |m| m.engine_seq),
            SnapshotMessage::SettlementSummary(m) => {
                newer(&mut self.settlement, *m, |m| m.engine_seq);
            }
            SnapshotMessage::BatchSealed(m) => newer(&mut self.batch, *m, |m| m.engine_seq),
            _ => {}
        }
    }

    /// A cycle has ended of which nothing was lost.
    pub(crate) fn cycle(&mut self, cycle: &Cycle) {
        if cycle.last_seq >= self.missed {
            self.is_listed = true;
        }
    }
}
