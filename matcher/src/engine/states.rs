//! Trading states and the single-price auction that opens an instrument.
//!
//! While an instrument is in PreOpen or Auction, orders are collected and may cross. When it opens, all that
//! cross trade at one price: the price at which the most lots trade; among such prices the one that leaves
//! the least over; if still several, the highest when buyers are left over at all of them, the lowest when
//! sellers are, else the one nearest to the mark (Xetra's rules, with the mark as reference price). Orders
//! trade by price, then age; the later order of a pair pays the taker's fee.

use super::{Cause, Engine, Listed, Stamp};
use crate::book::OrderBook;
use crate::outbox::Outbox;
use alloc::vec::Vec;
use firmware::units::{InstrumentId, PriceTicks, Side};
use firmware::wire::feed::{
    AuctionUpdate, STATE_AUCTION, STATE_DELISTED, STATE_DELIVERED, STATE_OPEN, STATE_PRE_OPEN,
    STATE_SETTLE, TradingStatus,
};
use firmware::wire::input::InTradingState;
use firmware::wire::report::CANCEL_STATE;
use firmware::wire::sbe::{ID16_NULL, PRICE_NULL};

/// What an auction comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Clearing {
    pub(super) price: PriceTicks,
    /// Lots that trade.
    pub(super) lots: u64,
    /// Lots left over at the price: of buyers above zero, of sellers below.
    pub(super) imbalance: i64,
}

impl<B: OrderBook> Engine<B> {
    pub(super) fn trading_state(&mut self, stamp: &Stamp, m: &InTradingState, out: &mut Outbox) {
        for i in 0..self.instruments.len() {
            let wanted = m.instrument == ID16_NULL || usize::from(m.instrument) == i;
            if wanted && self.is_listed(i) && !self.has_expired(stamp, i) {
                self.enter(stamp, InstrumentId(i as u16), m.state, out);
            }
        }
    }

    /// Whether orders of the instrument are collected rather than matched.
    pub(super) fn is_collecting(&self, instrument: InstrumentId) -> bool {
        self.listed(instrument.0 as usize).collects
    }

    fn listed_mut(&mut self, instrument: InstrumentId) -> &mut Listed {
        self.instruments[instrument.0 as usize]
            .as_mut()
            .expect("only listed instruments have a state")
    }

    /// Moves an instrument to a state; nothing happens when it is there already.
    pub(super) fn enter(
        &mut self,
        stamp: &Stamp,
        instrument: InstrumentId,
        state: u8,
        out: &mut Outbox,
    ) {
        if self.listed(instrument.0 as usize).state == state {
            return;
        }
        match state {
            STATE_PRE_OPEN | STATE_AUCTION => self.collect(instrument),
            STATE_OPEN => self.open(stamp, instrument, out),
            STATE_SETTLE | STATE_DELIVERED | STATE_DELISTED => {
                self.cancel_all_of(stamp, instrument, out);
                self.end_collecting(instrument);
            }
            // Orders stay as they are, crossed or not.
            _ => {}
        }
        self.listed_mut(instrument).state = state;
        out.feed(TradingStatus {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            instrument: instrument.0,
            state,
            flags: 0,
            pad1: 0,
        });
    }

    /// Lets orders cross from now on.
    pub(super) fn collect(&mut self, instrument: InstrumentId) {
        self.book.collect(instrument);
        self.listed_mut(instrument).collects = true;
    }

    fn end_collecting(&mut self, instrument: InstrumentId) {
        self.book.uncollect(instrument);
        let listed = self.listed_mut(instrument);
        listed.collects = false;
        listed.shown = None;
    }

    fn cancel_all_of(&mut self, stamp: &Stamp, instrument: InstrumentId, out: &mut Outbox) {
        for side in [Side::Buy, Side::Sell] {
            while let Some(order) = self.book.front(instrument, side) {
                self.remove_order(stamp, order.id, Cause::of(CANCEL_STATE), out);
            }
        }
    }

    /// Trades what crosses at one price.
    fn open(&mut self, stamp: &Stamp, instrument: InstrumentId, out: &mut Outbox) {
        if !self.is_collecting(instrument) {
            return;
        }
        // Once as a rule. Self-trade prevention can take out orders that the price was made with: what still
        // crosses then is cleared anew, for an open book is never crossed.
        while let Some(clearing) = self.clearing(instrument) {
            let price = clearing.price;
            while let (Some(bid), Some(ask)) = (
                self.book.front(instrument, Side::Buy),
                self.book.front(instrument, Side::Sell),
            ) {
                if bid.price < price || ask.price > price {
                    break;
                }
                if !self.part_selves(stamp, &bid, &ask, out) {
                    self.cross(stamp, &bid, &ask, price, out);
                }
            }
            self.tell_clearing(stamp, instrument, Some(clearing), out);
        }
        self.end_collecting(instrument);
    }

    /// Shows what each auction would come to, where that has changed.
    pub(super) fn show_auctions(&mut self, stamp: &Stamp, out: &mut Outbox) {
        for i in 0..self.instruments.len() {
            let Some(listed) = &self.instruments[i] else {
                continue;
            };
            let instrument = InstrumentId(i as u16);
            if listed.state != STATE_AUCTION {
                continue;
            }
            let clearing = self.clearing(instrument);
            if listed.shown != Some(clearing) {
                self.listed_mut(instrument).shown = Some(clearing);
                self.tell_clearing(stamp, instrument, clearing, out);
            }
        }
    }

    fn tell_clearing(
        &self,
        stamp: &Stamp,
        instrument: InstrumentId,
        clearing: Option<Clearing>,
        out: &mut Outbox,
    ) {
        out.feed(AuctionUpdate {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            price: clearing.map_or(PRICE_NULL, |c| self.price_e9(instrument, c.price)),
            quantity: clearing.map_or(0, |c| c.lots as i64),
            imbalance: clearing.map_or(0, |c| c.imbalance),
            instrument: instrument.0,
            flags: 0,
            pad1: 0,
            pad2: 0,
        });
    }

    /// The price that the rules above choose; `None` when nothing crosses.
    pub(super) fn clearing(&self, instrument: InstrumentId) -> Option<Clearing> {
        let bid = self.book.best(instrument, Side::Buy)?;
        let ask = self.book.best(instrument, Side::Sell)?;
        if bid < ask {
            return None;
        }
        // Levels between the best ask and the best bid, by rising price, with the lots of either side.
        let mut curve: Vec<(PriceTicks, u64, u64)> = Vec::new();
        let lots = |side, p| self.book.level(instrument, side, p).lots;
        let asks = self.book.levels(instrument, Side::Sell);
        curve.extend(
            asks.take_while(|p| *p <= bid)
                .map(|p| (p, 0, lots(Side::Sell, p))),
        );
        let bids = self.book.levels(instrument, Side::Buy);
        curve.extend(
            bids.take_while(|p| *p >= ask)
                .map(|p| (p, lots(Side::Buy, p), 0)),
        );
        curve.sort_unstable();
        let mut buyers: u64 = curve.iter().map(|c| c.1).sum();
        let mut sellers = 0;
        let mut best: Option<(Clearing, Clearing)> = None;
        let mut at = 0;
        while at < curve.len() {
            let price = curve[at].0;
            let level = curve[at..].iter().take_while(|c| c.0 == price);
            let (of_level, bought, sold) =
                level.fold((0, 0, 0), |(n, b, s), c| (n + 1, b + c.1, s + c.2));
            sellers += sold;
            let clearing = Clearing {
                price,
                lots: buyers.min(sellers),
                imbalance: buyers as i64 - sellers as i64,
            };
            // More lots, then less left over; equals widen the range.
            let rank = |c: &Clearing| (c.lots, core::cmp::Reverse(c.imbalance.abs()));
            best = match best {
                Some((lo, _)) if rank(&clearing) == rank(&lo) => Some((lo, clearing)),
                Some((lo, hi)) if rank(&clearing) < rank(&lo) => Some((lo, hi)),
                _ => Some((clearing, clearing)),
            };
            buyers -= bought;
            at += of_level;
        }
        let (lo, hi) = best?;
        if lo.imbalance > 0 && hi.imbalance > 0 {
            return Some(hi);
        }
        if lo.imbalance < 0 && hi.imbalance < 0 {
            return Some(lo);
        }
        let price = self.near_mark(instrument, lo.price, hi.price);
        Some(match price {
            p if p == hi.price => hi,
            // Between two levels as many trade as at the lower one, and what is left over is what is left there
            // of those who may still trade.
            p if p == lo.price => lo,
            price => self.left_at(instrument, price, lo.lots),
        })
    }

    /// What is left over when `lots` trade at a price between two levels.
    fn left_at(&self, instrument: InstrumentId, price: PriceTicks, lots: u64) -> Clearing {
        let reach = |side: Side| -> u64 {
            let levels = self.book.levels(instrument, side);
            levels
                .take_while(|p| crate::book::reaches(side, *p, price))
                .map(|p| self.book.level(instrument, side, p).lots)
                .sum()
        };
        Clearing {
            price,
            lots,
            imbalance: reach(Side::Buy) as i64 - reach(Side::Sell) as i64,
        }
    }

    /// The price of the range that is nearest to the mark and on the tick table.
    fn near_mark(&self, instrument: InstrumentId, lo: PriceTicks, hi: PriceTicks) -> PriceTicks {
        let listed = self.listed(instrument.0 as usize);
        let column = &self.table.columns[instrument.0 as usize];
        let tick_value = i64::from(column.tick_value_micro).max(1);
        let mark = column.mark_micro / tick_value;
        let near = (mark as i32).clamp(lo.0, hi.0);
        let step = listed.spec.tick2_multiple as i32;
        let is_coarse = step > 1 && near >= listed.spec.tick2_from_ticks;
        let on_step = if is_coarse { near - near % step } else { near };
        PriceTicks(on_step.max(lo.0))
    }
}
