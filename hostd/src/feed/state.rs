//! What the feed has said so far, as somebody who joins late has to know it.

use super::orders::{Orders, Queue};
use bytemuck::{AnyBitPattern, NoUninit, Zeroable};
use firmware::limits::INSTRUMENTS;
use firmware::wire::feed::{
    AuctionUpdate, BatchSealed, FeedMessage, IndexUpdate, InstrumentDefinition, MarkPrice,
    STATE_OPEN, SettlementSummary, SnapshotOrder,
};
use matcher::snapshot::{Sink, SnapshotError, Source};
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
            // Told once; marks and states, which a snapshot shows, follow from them.
            FeedMessage::FundingRate(m) => m.engine_seq,
            FeedMessage::InstrumentSettled(m) => m.engine_seq,
            FeedMessage::LiquidationStep(m) => m.engine_seq,
            FeedMessage::RiskRules(m) => m.engine_seq,
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

    /// Writes the state between two events.
    pub(crate) fn save(&self, to: &mut impl Sink) {
        let Self {
            instruments,
            orders,
            index,
            settlement,
            batch,
            engine_seq,
            is_within_event: _,
        } = self;
        to.pod(engine_seq);
        save_one(index.as_ref(), to);
        save_one(settlement.as_ref(), to);
        save_one(batch.as_ref(), to);
        to.count(instruments.len());
        for (id, instrument) in instruments {
            let Instrument {
                definition,
                mark,
                auction,
                state,
                queue,
            } = instrument;
            to.pod(id);
            save_one(definition.as_ref(), to);
            save_one(mark.as_ref(), to);
            save_one(auction.as_ref(), to);
            save_one(state.as_ref(), to);
            to.count(orders.of(queue).count());
            orders.of(queue).for_each(|o| to.pod(o));
        }
    }

    /// The state that was written, with room for so many orders.
    pub(crate) fn load(orders: u32, from: &mut impl Source) -> Result<Self, SnapshotError> {
        let mut state = Self::new(orders);
        let mut room = state.orders.capacity();
        state.engine_seq = from.pod()?;
        state.index = load_one(from)?;
        state.settlement = load_one(from)?;
        state.batch = load_one(from)?;
        for _ in 0..from.below(INSTRUMENTS + 1, "number of instruments on the feed")? {
            let mut instrument = Instrument::default();
            let id = from.pod()?;
            instrument.definition = load_one(from)?;
            instrument.mark = load_one(from)?;
            instrument.auction = load_one(from)?;
            instrument.state = load_one(from)?;
            let count = from.below(room + 1, "number of orders on the feed")?;
            room -= count;
            for _ in 0..count {
                let order: SnapshotOrder = from.pod()?;
                if state.orders.holds(order.order_id) {
                    return Err(SnapshotError::Value("order on the feed"));
                }
                state.orders.push(&mut instrument.queue, order);
            }
            state.instruments.insert(id, instrument);
        }
        Ok(state)
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

fn save_one<T: NoUninit>(value: Option<&T>, to: &mut impl Sink) {
    to.pod(&u8::from(value.is_some()));
    if let Some(value) = value {
        to.pod(value);
    }
}

fn load_one<T: AnyBitPattern + NoUninit>(
    from: &mut impl Source,
) -> Result<Option<T>, SnapshotError> {
    from.flag("choice")?.then(|| from.pod()).transpose()
}
