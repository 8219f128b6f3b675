//! What the feed has said so far, as somebody who joins late has to know it.

use super::orders::{Orders, Queue};
use bytemuck::Zeroable;
use firmware::wire::feed::{
    AuctionUpdate, BatchSealed, FeedMessage, IndexUpdate, InstrumentDefinition, MarkPrice,
    STATE_OPEN, SettlementSummary, SnapshotOrder,
};
use std::collections::BTreeMap;

/// What an instrument is, and what rests in its book.
#[derive(Default)]
pub(crate) struct Instrument {
    pub(crate) definition: Option<InstrumentDefinition>,
    pub(crate) mark: Option<MarkPrice>,
    pub(crate) auction: Option<AuctionUpdate>,
    state: Option<u8>,
    /// Its resting orders: one that joins does so behind all others, and none ever moves.
    pub(crate) queue: Queue,
}

impl Instrument {
    /// Its trading state.
    pub(crate) fn state(&self) -> u8 {
        self.state.unwrap_or(STATE_OPEN)
    }
}

/// The whole.
pub(crate) struct State {
    pub(crate) instruments: BTreeMap<u16, Instrument>,
    pub(crate) orders: Orders,
    pub(crate) index: Option<IndexUpdate>,
    pub(crate) settlement: Option<SettlementSummary>,
    pub(crate) batch: Option<BatchSealed>,
    /// Journal record of the last message.
    pub(crate) engine_seq: u64,
    is_within_event: bool,
}

impl State {
    /// Nothing was said yet; there is room for so many orders.
    pub(crate) fn new(orders: u32) -> Self {
        Self {
            instruments: BTreeMap::new(),
            orders: Orders::new(orders),
            index: None,
            settlement: None,
            batch: None,
            engine_seq: 0,
            is_within_event: false,
        }
    }

    /// Whether the last message ended its matching event: only then does the state mean anything.
    pub(crate) const fn is_whole(&self) -> bool {
        !self.is_within_event
    }

    /// Takes the next message.
    ///
    /// # Panics
    /// When it names an order that does not rest, or lists one twice: the engine is broken then.
    pub(crate) fn take(&mut self, message: &FeedMessage) {
        self.is_within_event = !message.is_last();
        self.engine_seq = match message {
            FeedMessage::InstrumentDefinition(m) => {
                self.at(m.instrument).definition = Some(*m);
                m.engine_seq
            }
            FeedMessage::TradingStatus(m) => {
                let instrument = self.at(m.instrument);
                instrument.state = Some(m.state);
                instrument.auction = None;
                m.engine_seq
            }
            FeedMessage::AuctionUpdate(m) => {
                self.at(m.instrument).auction = Some(*m);
                m.engine_seq
            }
            FeedMessage::MarkPrice(m) => {
                self.at(m.instrument).mark = Some(*m);
                m.engine_seq
            }
            FeedMessage::IndexUpdate(m) => {
                self.index = Some(*m);
                m.engine_seq
            }
            FeedMessage::SettlementSummary(m) => {
                self.settlement = Some(*m);
                m.engine_seq
            }
            FeedMessage::BatchSealed(m) => {
                self.batch = Some(*m);
                m.engine_seq
            }
            FeedMessage::OrderAdd(m) => {
                let order = SnapshotOrder {
                    order_id: m.order_id,
                    price: m.price,
                    quantity: m.quantity,
                    instrument: m.instrument,
                    side: m.side,
                    ..Zeroable::zeroed()
                };
                let instrument = self.instruments.entry(m.instrument).or_default();
                self.orders.push(&mut instrument.queue, order);
                m.engine_seq
            }
            FeedMessage::OrderReduce(m) => {
                self.leave(m.instrument, m.order_id, m.quantity);
                m.engine_seq
            }
            FeedMessage::OrderDelete(m) => {
                self.leave(m.instrument, m.order_id, 0);
                m.engine_seq
            }
            FeedMessage::OrderExecuted(m) => {
                self.leave(m.instrument, m.order_id, m.leaves);
                m.engine_seq
            }
        };
    }

    fn at(&mut self, instrument: u16) -> &mut Instrument {
        self.instruments.entry(instrument).or_default()
    }

    /// Leaves `quantity` lots of an order; zero takes it out.
    fn leave(&mut self, instrument: u16, order_id: u64, quantity: i64) {
        let instrument = self.instruments.entry(instrument).or_default();
        self.orders.leave(&mut instrument.queue, order_id, quantity);
    }
}
