//! The order books of all instruments of a risk domain: price-time priority, fixed memory.
//!
//! [`OrderBook`] is the interface that the engine is generic over. [`LadderBook`] is the fast book;
//! [`ReferenceBook`](crate::reference::ReferenceBook) is its slow, obvious twin. Both give the same
//! answers *and the same order ids* for the same calls, so events and state hash do not depend on
//! which of them ran.
//!
//! Rules that both keep:
//! - A slot is handed out in ascending order from 1 at first, then last freed, first reused; its
//!   generation starts at 1 and rises by one (wrapping) whenever an order leaves the slot. So an id
//!   dies with its order, and [`OrderId`] zero never names one.
//! - Orders queue at the tail of their price. A partial fill or a reduction keeps the place.
//! - A book is never crossed: the engine matches before it rests the remainder. Inserting an order at
//!   a price that meets the other side is a broken invariant and panics, except while an instrument
//!   collects orders for an auction ([`OrderBook::collect`]).
//! - Memory is taken by [`OrderBook::new`] and [`OrderBook::list`] only. What does not fit is an error
//!   and changes nothing; nothing grows.
//!
//! `side` always means the side that rests on the book, except in [`match_limit`], where it is named
//! `taker_side`.

mod bitmap;
mod ladder;
mod snapshot;

pub use ladder::LadderBook;
pub(crate) use snapshot::{load, save};

use firmware::limits::{BAND_TICKS_MAX, ORDER_LOTS_MAX};
use firmware::units::{AccountId, ClOrdId, InstrumentId, OrderId, PriceTicks, Side};

/// Bits of the number of live orders: a level counts its orders in this many bits.
pub(crate) const COUNT_BITS: u32 = 20;
/// Largest arena, in orders of all instruments together.
pub const BOOK_ORDERS_MAX: u32 = (1 << COUNT_BITS) - 1;
/// Largest number of instruments of one object.
pub const BOOK_INSTRUMENTS_MAX: u16 = 256;

// The lots of every order of the arena at one price, above the count, fit the level's word.
const _: () = assert!((ORDER_LOTS_MAX as u128 * BOOK_ORDERS_MAX as u128) << COUNT_BITS < 1 << 64);

/// How much memory the books may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookLimits {
    /// Instruments `0..instruments` can be listed; at most [`BOOK_INSTRUMENTS_MAX`].
    pub instruments: u16,
    /// Orders that can rest at a time, over all instruments; `1..=`[`BOOK_ORDERS_MAX`].
    pub orders: u32,
}

/// Why a call was refused. A refused call has changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BookError {
    /// The limits given to [`OrderBook::new`] are zero or beyond the maximum.
    #[error("the limits of the books are zero or beyond the maximum")]
    BadLimits,
    /// The instrument is not below [`BookLimits::instruments`].
    #[error("the instrument is beyond the configured number")]
    UnknownInstrument,
    /// The instrument is listed already.
    #[error("the instrument is listed already")]
    AlreadyListed,
    /// The band is empty or leaves the range of prices (`0 < price < 2^24`).
    #[error("the band is empty or leaves the range of prices")]
    BadBand,
    /// The instrument is not listed.
    #[error("the instrument is not listed")]
    NotListed,
    /// The price is outside the instrument's band.
    #[error("the price is outside the instrument's band")]
    OutOfBand,
    /// The quantity is outside `1..=ORDER_LOTS_MAX`, or a reduction that does not reduce.
    #[error("the quantity is out of range")]
    BadLots,
    /// The arena holds as many orders as it can.
    #[error("the order arena is full")]
    Full,
    /// No live order has this id.
    #[error("no live order has this id")]
    DeadOrder,
}

/// What the engine attaches to an order; the book only keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OrderInfo {
    /// Account that the order trades for.
    pub account: AccountId,
    /// Session that entered it.
    pub session: u32,
    /// The client's name of the order.
    pub cl_ord_id: ClOrdId,
    /// The engine's own marks (time in force, self-trade policy, and so on).
    pub flags: u32,
}

/// A live order, as the book sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// The venue's name of the order.
    pub id: OrderId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side it rests on.
    pub side: Side,
    /// Its price.
    pub price: PriceTicks,
    /// Open quantity, in lots.
    pub lots: i64,
    /// What the engine attached.
    pub info: OrderInfo,
}

/// The prices that an instrument's orders may have: `base <= price < base + width`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Band {
    /// Lowest price.
    pub base: PriceTicks,
    /// Number of prices.
    pub width_ticks: u32,
}

impl Band {
    /// A band that is not empty and keeps to the range of prices.
    pub(crate) fn checked(base: PriceTicks, width_ticks: u32) -> Result<Self, BookError> {
        let end = i64::from(base.0) + i64::from(width_ticks);
        if base.0 <= 0 || width_ticks == 0 || end > BAND_TICKS_MAX as i64 {
            return Err(BookError::BadBand);
        }
        Ok(Self { base, width_ticks })
    }

    /// The place of `price` in the band, from 0.
    #[must_use]
    pub const fn offset(self, price: PriceTicks) -> Option<u32> {
        // Prices below the base wrap to offsets above any width.
        let offset = price.0.wrapping_sub(self.base.0) as u32;
        if offset < self.width_ticks {
            Some(offset)
        } else {
            None
        }
    }
}

/// Sum of one price level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LevelTotal {
    /// Open lots of all its orders.
    pub lots: u64,
    /// Number of its orders.
    pub orders: u32,
}

/// The books of all instruments of a risk domain over one order arena.
pub trait OrderBook {
    /// Takes the memory of the arena.
    ///
    /// # Errors
    /// [`BookError::BadLimits`].
    fn new(limits: BookLimits) -> Result<Self, BookError>
    where
        Self: Sized;

    /// Lists an instrument with the band `[base, base + width_ticks)` and takes the band's memory
    /// (16 bytes a tick in the fast book). A listed instrument stays listed.
    ///
    /// # Errors
    /// [`BookError::UnknownInstrument`], [`BookError::AlreadyListed`], [`BookError::BadBand`].
    fn list(
        &mut self,
        instrument: InstrumentId,
        base: PriceTicks,
        width_ticks: u32,
    ) -> Result<(), BookError>;

    /// The band of the instrument if it is listed.
    fn listed(&self, instrument: InstrumentId) -> Option<Band>;

    /// Rests an order at the tail of its price.
    ///
    /// # Errors
    /// [`BookError::NotListed`], [`BookError::OutOfBand`], [`BookError::BadLots`],
    /// [`BookError::Full`]; looked at in this order.
    ///
    /// # Panics
    /// If the order crosses the book: the engine matches first.
    fn insert(
        &mut self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
        lots: i64,
        info: OrderInfo,
    ) -> Result<OrderId, BookError>;

    /// Lets a listed instrument's orders cross from now on: bids and asks get levels of their own. The fast
    /// book takes the memory for it the first time (16 bytes a tick). Does nothing when it collects already.
    fn collect(&mut self, instrument: InstrumentId);

    /// Ends what [`Self::collect`] began. Orders keep their ids and places.
    ///
    /// # Panics
    /// If the book is crossed: the auction trades first.
    fn uncollect(&mut self, instrument: InstrumentId);

    /// Best price of a side; `None` if the side is empty or the instrument is not listed.
    fn best(&self, instrument: InstrumentId, side: Side) -> Option<PriceTicks>;

    /// The order that trades next: the oldest at the best price.
    fn front(&self, instrument: InstrumentId, side: Side) -> Option<Order>;

    /// Takes `lots` off a live order by a trade and returns what stays open. The place in the queue is
    /// kept; at zero the order is gone and its id dead.
    ///
    /// # Panics
    /// If the id is dead or `lots` is not in `1..=` the open quantity: fills come from the matching
    /// loop, never from outside.
    fn fill(&mut self, id: OrderId, lots: i64) -> i64;

    /// Removes an order and returns it as it was; `None` if the id is dead.
    fn cancel(&mut self, id: OrderId) -> Option<Order>;

    /// Lowers the open quantity to `new_lots`, keeping the place in the queue; returns the lots taken
    /// off.
    ///
    /// # Errors
    /// [`BookError::DeadOrder`]; [`BookError::BadLots`] unless `0 < new_lots <` the open quantity.
    fn reduce(&mut self, id: OrderId, new_lots: i64) -> Result<i64, BookError>;

    /// The order; `None` if the id is dead.
    fn get(&self, id: OrderId) -> Option<Order>;

    /// What the engine attached, for a change in place (a reduction under a new client id).
    fn info_mut(&mut self, id: OrderId) -> Option<&mut OrderInfo>;

    /// Sum of one level; zero if nothing of `side` rests there.
    fn level(&self, instrument: InstrumentId, side: Side, price: PriceTicks) -> LevelTotal;

    /// The next level of `side` strictly worse than `price`, which need not be a level itself.
    fn next_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> Option<PriceTicks>;

    /// The oldest order of a level.
    fn first_in_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> Option<OrderId>;

    /// The newest order of a level.
    fn last_in_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> Option<OrderId>;

    /// The order behind `id` at the same price; `None` for the last one and for a dead id.
    fn next_in_level(&self, id: OrderId) -> Option<OrderId>;

    /// The id that the next insert will give; `None` if the arena is full. With the ids of the live
    /// orders it pins down the arena in a state hash.
    fn next_id(&self) -> Option<OrderId>;

    /// Number of live orders.
    fn live(&self) -> usize;

    /// Number of orders that can rest at a time.
    fn capacity(&self) -> usize;

    /// Walks everything and panics at the first thing that is not as it must be. For tests and audits:
    /// the cost is that of the whole arena and every band.
    fn check_invariants(&self);

    /// Whether the instrument's orders may cross; see [`Self::collect`].
    fn is_collecting(&self, instrument: InstrumentId) -> bool;

    /// Generation of a slot, `1..=capacity`: that of its order, or of the next one.
    fn generation(&self, slot: u32) -> u32;

    /// Free slots in the order in which they are handed out.
    fn free_slots(&self) -> impl Iterator<Item = u32> + '_;

    /// Hands out `slot` in this generation next, whatever stands in the list of free ones. Only for reading a
    /// snapshot into a book without orders, which ends with [`Self::set_free_slots`].
    fn hand_out(&mut self, slot: u32, generation: u32);

    /// Sets the generation of a slot without an order; only for reading a snapshot.
    fn set_generation(&mut self, slot: u32, generation: u32);

    /// Sets the list of free slots: all that hold no order. Only for reading a snapshot.
    fn set_free_slots(&mut self, slots: &[u32]);

    /// Prices of a side, best first.
    fn levels(
        &self,
        instrument: InstrumentId,
        side: Side,
    ) -> impl Iterator<Item = PriceTicks> + '_ {
        core::iter::successors(self.best(instrument, side), move |&p| {
            self.next_level(instrument, side, p)
        })
    }

    /// Orders of a level in time priority.
    fn orders(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> impl Iterator<Item = Order> + '_ {
        core::iter::successors(self.first_in_level(instrument, side, price), move |&id| {
            self.next_in_level(id)
        })
        .map_while(move |id| self.get(id))
    }

    /// Whether at least `wanted` lots rest on `side` at `limit` or better within the first
    /// `orders_max` orders, so that a fill-or-kill order can be filled within the bound on its fills.
    fn depth_within(
        &self,
        instrument: InstrumentId,
        side: Side,
        limit: PriceTicks,
        wanted: i64,
        orders_max: u32,
    ) -> bool {
        let wanted = u64::try_from(wanted).unwrap_or(0);
        let (mut lots, mut orders_left) = (0u64, orders_max);
        for price in self
            .levels(instrument, side)
            .take_while(|&p| reaches(side, p, limit))
        {
            if lots >= wanted || orders_left == 0 {
                break;
            }
            let level = self.level(instrument, side, price);
            if level.orders <= orders_left {
                lots += level.lots;
                orders_left -= level.orders;
            } else {
                let within = self
                    .orders(instrument, side, price)
                    .take(orders_left as usize);
                lots += within.map(|o| o.lots as u64).sum::<u64>();
                orders_left = 0;
            }
        }
        lots >= wanted
    }
}

/// Whether a resting order of `side` at `price` meets a taker's `limit`.
#[inline]
#[must_use]
pub const fn reaches(side: Side, price: PriceTicks, limit: PriceTicks) -> bool {
    // Sides are as good as random, so a branch on them is mispredicted half of the time.
    (price.0 as i64 - limit.0 as i64) * side.sign() >= 0
}

/// A trade that [`match_limit`] is about to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meeting {
    /// The resting order as it is before the trade; the trade is at its price.
    pub maker: Order,
    /// Lots that trade.
    pub lots: i64,
    /// Lots of the maker that stay open afterwards; zero removes it.
    pub maker_remaining: i64,
    /// Lots of the taker that stay open afterwards.
    pub taker_remaining: i64,
}

/// What becomes of a [`Meeting`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MakerAction {
    /// Take the lots off both sides. (Also self-trade prevention by decrement: the caller counts no
    /// trade then.)
    Fill,
    /// No trade: cancel the maker and go on with the order behind it.
    CancelMaker,
    /// No trade: cancel the maker and stop.
    CancelMakerAndStop,
    /// No trade: stop, leaving the maker as it is.
    Stop,
}

/// Matches `lots` of an incoming order against the book at `limit` or better, best price and oldest
/// order first, and returns the lots left over. `on_fill` sees each meeting before it happens and
/// decides on it; the book is changed after it returns. After a stop the remainder may cross the book
/// and must not be rested.
///
/// Work: one step for each maker, and the fixed steps of the bitmap for each level emptied.
#[inline]
pub fn match_limit<B: OrderBook>(
    book: &mut B,
    instrument: InstrumentId,
    taker_side: Side,
    limit: PriceTicks,
    lots: i64,
    mut on_fill: impl FnMut(&Meeting) -> MakerAction,
) -> i64 {
    let side = taker_side.opposite();
    let mut remaining = lots;
    while remaining > 0 {
        // Most orders meet nothing: look at the best price before touching an order.
        if !book
            .best(instrument, side)
            .is_some_and(|best| reaches(side, best, limit))
        {
            break;
        }
        let maker = book
            .front(instrument, side)
            .expect("the best level holds an order");
        let traded = remaining.min(maker.lots);
        let meeting = Meeting {
            maker,
            lots: traded,
            maker_remaining: maker.lots - traded,
            taker_remaining: remaining - traded,
        };
        match on_fill(&meeting) {
            MakerAction::Fill => {
                book.fill(maker.id, traded);
                remaining -= traded;
            }
            MakerAction::CancelMaker => {
                book.cancel(maker.id);
            }
            MakerAction::CancelMakerAndStop => {
                book.cancel(maker.id);
                break;
            }
            MakerAction::Stop => break,
        }
    }
    remaining
}
