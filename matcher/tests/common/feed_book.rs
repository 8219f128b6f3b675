//! Books rebuilt from the feed alone, as a subscriber would.

use firmware::units::{InstrumentId, PriceTicks, Side};
use firmware::wire::feed::{
    FeedMessage, OrderAdd, OrderExecuted, STATE_AUCTION, STATE_OPEN, STATE_PRE_OPEN, STATE_SETTLE,
    STEP_DELEVERAGE, TradingStatus,
};
use matcher::book::OrderBook;
use std::collections::{BTreeMap, BTreeSet};

/// Orders of one price by age: venue's id and lots.
type Level = Vec<(u64, i64)>;
type Prices = BTreeMap<i64, Level>;

/// What a subscriber knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FeedBook {
    /// Instrument and side (0 buy).
    sides: BTreeMap<(u16, u8), Prices>,
    /// Price of each order.
    prices: BTreeMap<u64, i64>,
    ticks: BTreeMap<u16, i64>,
    last_trade: u64,
    /// Instruments whose orders may cross: they trade at the price of an auction.
    collecting: BTreeSet<u16>,
    /// The first half of an auction's trade, until the other side follows.
    half: Option<OrderExecuted>,
}

impl FeedBook {
    /// Learns the tick of an instrument.
    pub(crate) fn list(&mut self, instrument: u16, tick_e9: i64) {
        self.ticks.insert(instrument, tick_e9);
    }

    /// Takes a message; panics where a careful subscriber would complain.
    pub(crate) fn take(&mut self, message: &FeedMessage) {
        let is_execution = matches!(message, FeedMessage::OrderExecuted(_));
        assert!(
            is_execution || self.half.is_none(),
            "half a trade: {message:?}"
        );
        match message {
            FeedMessage::InstrumentDefinition(m) => {
                self.ticks.insert(m.instrument, m.tick_size);
            }
            FeedMessage::OrderAdd(m) => self.add(m),
            FeedMessage::OrderReduce(m) => {
                let order = self.order(m.instrument, m.side, m.order_id);
                assert!(0 < m.quantity && m.quantity < order.1, "{m:?}");
                order.1 = m.quantity;
            }
            FeedMessage::OrderDelete(m) => self.drop(m.instrument, m.side, m.order_id),
            FeedMessage::OrderExecuted(m) => self.execute(m),
            FeedMessage::TradingStatus(m) => self.turn(m),
            // A trade between two accounts without an order of either.
            FeedMessage::LiquidationStep(m) => {
                self.last_trade += u64::from(m.step == STEP_DELEVERAGE);
            }
            _ => {}
        }
    }

    fn add(&mut self, m: &OrderAdd) {
        assert!(m.quantity > 0, "{m:?}");
        assert!(self.prices.insert(m.order_id, m.price).is_none(), "{m:?}");
        let level = self.sides.entry((m.instrument, m.side)).or_default();
        level
            .entry(m.price)
            .or_default()
            .push((m.order_id, m.quantity));
    }

    fn turn(&mut self, m: &TradingStatus) {
        match m.state {
            STATE_PRE_OPEN | STATE_AUCTION => {
                self.collecting.insert(m.instrument);
            }
            STATE_OPEN | STATE_SETTLE.. => {
                self.collecting.remove(&m.instrument);
            }
            _ => {}
        }
    }

    fn execute(&mut self, m: &OrderExecuted) {
        let in_auction = self.collecting.contains(&m.instrument);
        match self.half.take() {
            Some(first) => {
                let same = |m: &OrderExecuted| (m.trade_id, m.instrument, m.price, m.quantity);
                assert_eq!(same(m), same(&first), "two halves of a trade");
                assert_ne!(m.side, first.side, "{m:?}");
            }
            None => {
                assert_eq!(m.trade_id, self.last_trade + 1, "trades are numbered");
                self.half = in_auction.then_some(*m);
            }
        }
        self.last_trade = m.trade_id;
        let prices = &self.sides[&(m.instrument, m.side)];
        let best = match m.side {
            0 => prices.last_key_value(),
            _ => prices.first_key_value(),
        };
        let (price, level) = best.expect("an execution meets an order");
        assert_eq!(level[0].0, m.order_id, "best price, oldest first");
        match (in_auction, m.side) {
            (false, _) => assert_eq!(*price, m.price, "{m:?}"),
            (true, 0) => assert!(*price >= m.price, "{m:?}"),
            (true, _) => assert!(*price <= m.price, "{m:?}"),
        }
        let order = self.order(m.instrument, m.side, m.order_id);
        order.1 -= m.quantity;
        assert_eq!(order.1, m.leaves, "{m:?}");
        if m.leaves == 0 {
            self.drop(m.instrument, m.side, m.order_id);
        }
    }

    fn order(&mut self, instrument: u16, side: u8, id: u64) -> &mut (u64, i64) {
        let price = self.prices[&id];
        let prices = self.sides.get_mut(&(instrument, side)).expect("a side");
        let level = prices.get_mut(&price).expect("a level");
        level.iter_mut().find(|o| o.0 == id).expect("an order")
    }

    fn drop(&mut self, instrument: u16, side: u8, id: u64) {
        let price = self.prices.remove(&id).expect("a live order");
        let prices = self.sides.get_mut(&(instrument, side)).expect("a side");
        let level = prices.get_mut(&price).expect("a level");
        level.retain(|o| o.0 != id);
        if level.is_empty() {
            prices.remove(&price);
        }
    }

    /// Panics unless the engine's book holds the same orders in the same places.
    pub(crate) fn assert_equals<B: OrderBook>(&self, book: &B) {
        let mut live = 0;
        for (&instrument, &tick_e9) in &self.ticks {
            for side in [Side::Buy, Side::Sell] {
                let id = InstrumentId(instrument);
                let level = |p: PriceTicks| {
                    let orders = book.orders(id, side, p).map(|o| (o.id.0, o.lots));
                    (i64::from(p.0) * tick_e9, orders.collect::<Level>())
                };
                let engine: Vec<_> = book.levels(id, side).map(level).collect();
                live += engine.iter().map(|l| l.1.len()).sum::<usize>();
                let fed = self.sides.get(&(instrument, side as u8));
                let mut fed: Vec<_> = fed.into_iter().flatten().map(|(p, l)| (*p, l)).collect();
                if side == Side::Buy {
                    fed.reverse();
                }
                let engine: Vec<_> = engine.iter().map(|(p, l)| (*p, l)).collect();
                assert_eq!(fed, engine, "feed and book of instrument {instrument}");
            }
        }
        assert_eq!(live, book.live(), "orders in unlisted instruments");
    }
}
