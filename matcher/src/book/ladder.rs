//! The fast book: a dense array of levels an instrument, orders in one arena.
//!
//! An order is one cache line, a level is 16 bytes:
//!
//! ```text
//! node   next u32 | prev u32 | side:1 0:7 lots:24 | instrument:8 level:24
//! rest   account u32 | session u32 | cl_ord_id u64 | flags u32 | generation u32
//! level  head u32 | tail u32 | lots:44 orders:20
//! ```
//!
//! Node and rest lie side by side: a cancel reads both, and in a deep book each line it reads is a miss.
//!
//! Bids and asks of an instrument share its levels and its bitmap: the book is never crossed, so
//! every level at or below the best bid is a bid and every level at or above the best ask an ask.

use super::bitmap::Bitmap;
use super::{
    BOOK_INSTRUMENTS_MAX, BOOK_ORDERS_MAX, Band, BookError, BookLimits, COUNT_BITS, LevelTotal,
    Order, OrderBook, OrderInfo,
};
use crate::memory::taken;
use alloc::boxed::Box;
use alloc::vec::Vec;
use firmware::limits::{ORDER_LOTS_MAX, PRICE_BITS};
use firmware::units::{AccountId, ClOrdId, InstrumentId, OrderId, PriceTicks, Side};

/// No order: slot 0 is never handed out.
const NIL: u32 = 0;
const SIDE_SHIFT: u32 = 31;
const SIDE_BIT: u32 = 1 << SIDE_SHIFT;
const OFFSET_MASK: u32 = (1 << PRICE_BITS) - 1;
/// Best offset of a side without orders, worse than every level: as an unsigned number it is beyond
/// every band on both sides.
const NONE: [i32; 2] = [-1, i32::MAX];

const _: () = assert!((BOOK_INSTRUMENTS_MAX as u64) << PRICE_BITS <= 1 << 32);
const _: () = assert!(ORDER_LOTS_MAX < SIDE_BIT as i64);
const _: () = assert!(size_of::<Slot>() == 64 && size_of::<Level>() == 16);

/// What matching and cancelling read of an order. Dead: `lots` is zero and `next` is the free list.
#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    prev: u32,
    /// Open lots, the side in the highest bit.
    lots: u32,
    /// Instrument above the level's offset in the band.
    place: u32,
}

impl Node {
    const DEAD: Self = Self {
        next: NIL,
        prev: NIL,
        lots: 0,
        place: 0,
    };

    #[inline]
    fn lots(&self) -> u32 {
        self.lots & !SIDE_BIT
    }
    #[inline]
    fn side(&self) -> Side {
        if self.lots & SIDE_BIT == 0 {
            Side::Buy
        } else {
            Side::Sell
        }
    }
    #[inline]
    fn instrument(&self) -> usize {
        (self.place >> PRICE_BITS) as usize
    }
    #[inline]
    fn offset(&self) -> u32 {
        self.place & OFFSET_MASK
    }
}

/// What the book itself does not need on its walks.
#[derive(Clone, Copy, Debug)]
struct Rest {
    info: OrderInfo,
    generation: u32,
}

/// A place in the arena.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Slot {
    node: Node,
    rest: Rest,
}

impl Slot {
    const FREE: Self = Self {
        node: Node::DEAD,
        rest: Rest {
            info: OrderInfo {
                account: AccountId(0),
                session: 0,
                cl_ord_id: ClOrdId(0),
                flags: 0,
            },
            generation: 1,
        },
    };
}

#[derive(Clone, Copy, Debug)]
struct Level {
    head: u32,
    tail: u32,
    /// Lots above the number of orders, so that one addition keeps both.
    sum: u64,
}

impl Level {
    const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        sum: 0,
    };

    fn total(&self) -> LevelTotal {
        LevelTotal {
            lots: self.sum >> COUNT_BITS,
            orders: self.sum as u32 & ((1 << COUNT_BITS) - 1),
        }
    }
}

/// What `lots` of one order add to a level besides the order itself.
#[inline]
fn share(lots: u32) -> u64 {
    u64::from(lots) << COUNT_BITS
}

/// A level for each price of a band.
#[derive(Debug)]
struct Ladder {
    levels: Box<[Level]>,
    occupied: Bitmap,
}

impl Ladder {
    fn new(width_ticks: u32) -> Self {
        Self {
            levels: taken(Level::EMPTY, width_ticks as usize),
            occupied: Bitmap::new(width_ticks),
        }
    }
}

/// One instrument. Not listed: the band is empty.
#[derive(Debug)]
struct Instrument {
    band: Band,
    /// Offset of the best level, by side.
    best: [i32; 2],
    /// Bids and asks, or bids alone while crossing orders are collected.
    ladder: Ladder,
    /// Asks while crossing orders are collected.
    asks: Option<Ladder>,
    /// Kept from one collection to the next.
    spare: Option<Ladder>,
}

impl Instrument {
    fn new(band: Band) -> Self {
        Self {
            band,
            best: NONE,
            ladder: Ladder::new(band.width_ticks),
            asks: None,
            spare: None,
        }
    }

    /// Where the orders of a side rest.
    #[inline]
    fn ladder(&self, side: Side) -> &Ladder {
        // Asked first, for it hardly ever changes: sides are as good as random.
        match &self.asks {
            None => &self.ladder,
            Some(asks) => Self::apart(&self.ladder, asks, side),
        }
    }

    #[inline]
    fn ladder_mut(&mut self, side: Side) -> &mut Ladder {
        match &mut self.asks {
            None => &mut self.ladder,
            Some(asks) => Self::apart(&mut self.ladder, asks, side),
        }
    }

    /// The one of two ladders that holds `side` while crossing orders are collected.
    #[cold]
    #[inline(never)]
    fn apart<T>(bids: T, asks: T, side: Side) -> T {
        match side {
            Side::Buy => bids,
            Side::Sell => asks,
        }
    }

    /// Moves all levels of asks from one ladder to another.
    fn move_asks(from: &mut Ladder, to: &mut Ladder, mut next: Option<u32>) {
        while let Some(offset) = next {
            let at = offset as usize;
            to.levels[at] = core::mem::replace(&mut from.levels[at], Level::EMPTY);
            to.occupied.set(offset);
            from.occupied.clear(offset);
            next = from.occupied.above(offset);
        }
    }

    /// Offset of the best level of a side.
    #[inline]
    fn best(&self, side: Side) -> Option<u32> {
        let best = self.best[side as usize] as u32;
        (best < self.band.width_ticks).then_some(best)
    }

    /// How many ticks `offset` is better than the best level of `of`, seen from `side`. Reckoned, not
    /// branched on: sides are as good as random.
    #[inline]
    fn better_than_best(&self, side: Side, offset: u32, of: Side) -> i64 {
        (i64::from(offset) - i64::from(self.best[of as usize])) * side.sign()
    }

    #[inline]
    fn price(&self, offset: u32) -> PriceTicks {
        PriceTicks(self.band.base.0 + offset as i32)
    }

    /// The level at `price` if orders of `side` rest there.
    fn resting(&self, side: Side, price: PriceTicks) -> Option<&Level> {
        let offset = self.band.offset(price)?;
        let of_side = self.better_than_best(side, offset, side) <= 0;
        of_side
            .then(|| &self.ladder(side).levels[offset as usize])
            .filter(|level| level.sum != 0)
    }

    /// A level of `side` got its first order.
    #[inline]
    fn filled(&mut self, side: Side, offset: u32) {
        self.ladder_mut(side).occupied.set(offset);
        if self.better_than_best(side, offset, side) > 0 {
            self.best[side as usize] = offset as i32;
        }
    }

    /// A level of `side` lost its last order.
    #[inline]
    fn emptied(&mut self, side: Side, offset: u32) {
        self.ladder_mut(side).occupied.clear(offset);
        if self.best[side as usize] == offset as i32 {
            let occupied = &self.ladder(side).occupied;
            let next = match side {
                Side::Buy => occupied.below(offset),
                Side::Sell => occupied.above(offset),
            };
            self.best[side as usize] = next.map_or(NONE[side as usize], |o| o as i32);
        }
    }
}

/// The fast book. See the [module's page](super) for the rules that it shares with its twin.
#[derive(Debug)]
pub struct LadderBook {
    slots: Box<[Slot]>,
    instruments: Box<[Instrument]>,
    /// Slot that the next order gets; the others follow through `next`.
    free: u32,
    live: u32,
}

impl LadderBook {
    /// The slot of a live order.
    #[inline]
    fn slot(&self, id: OrderId) -> Option<u32> {
        let slot = id.slot();
        let held = self.slots.get(slot as usize)?;
        let known = held.rest.generation == id.generation();
        (known && held.node.lots() != 0).then_some(slot)
    }

    #[inline]
    fn order(&self, slot: u32) -> Order {
        let Slot { node, rest } = &self.slots[slot as usize];
        Order {
            id: OrderId::new(slot, rest.generation),
            instrument: InstrumentId(node.instrument() as u16),
            side: node.side(),
            price: self.instruments[node.instrument()].price(node.offset()),
            lots: i64::from(node.lots()),
            info: rest.info,
        }
    }

    fn id(&self, slot: u32) -> Option<OrderId> {
        (slot != NIL).then(|| OrderId::new(slot, self.slots[slot as usize].rest.generation))
    }

    /// Takes a live order out of its level and its slot back.
    #[inline]
    fn remove(&mut self, slot: u32) {
        let node = self.slots[slot as usize].node;
        let instrument = &mut self.instruments[node.instrument()];
        let level = &mut instrument.ladder_mut(node.side()).levels[node.offset() as usize];
        match node.prev {
            NIL => level.head = node.next,
            prev => self.slots[prev as usize].node.next = node.next,
        }
        match node.next {
            NIL => level.tail = node.prev,
            next => self.slots[next as usize].node.prev = node.prev,
        }
        level.sum -= share(node.lots()) + 1;
        if level.head == NIL {
            instrument.emptied(node.side(), node.offset());
        }
        self.slots[slot as usize].node = Node {
            next: self.free,
            ..Node::DEAD
        };
        let generation = &mut self.slots[slot as usize].rest.generation;
        *generation = generation.wrapping_add(1);
        self.free = slot;
        self.live -= 1;
    }

    /// Takes `lots`, fewer than are open, off a live order.
    #[inline]
    fn shrink(&mut self, slot: u32, lots: u32) {
        let node = &mut self.slots[slot as usize].node;
        node.lots -= lots;
        let ladder = self.instruments[node.instrument()].ladder_mut(node.side());
        ladder.levels[node.offset() as usize].sum -= share(lots);
    }

    fn listed_instrument(&self, instrument: InstrumentId) -> Option<&Instrument> {
        self.instruments
            .get(usize::from(instrument.0))
            .filter(|i| i.band.width_ticks != 0)
    }

    fn check_level(&self, at: InstrumentId, side: Side, offset: u32) -> u32 {
        let instrument = &self.instruments[usize::from(at.0)];
        let level = &instrument.ladder(side).levels[offset as usize];
        let (mut prev, mut slot, mut total) = (NIL, level.head, LevelTotal::default());
        while slot != NIL {
            let node = &self.slots[slot as usize].node;
            assert_eq!(node.prev, prev, "links of slot {slot} disagree");
            assert!(node.lots() != 0, "dead order {slot} in a level");
            assert_eq!(
                (node.side(), node.instrument(), node.offset()),
                (side, usize::from(at.0), offset)
            );
            total.lots += u64::from(node.lots());
            total.orders += 1;
            assert!(total.orders <= self.live, "a level's queue is a ring");
            (prev, slot) = (slot, node.next);
        }
        assert_eq!(level.tail, prev, "tail of level {offset}");
        assert_eq!(level.total(), total, "sum of level {offset}");
        total.orders
    }
}

impl OrderBook for LadderBook {
    fn new(limits: BookLimits) -> Result<Self, BookError> {
        if !(1..=BOOK_INSTRUMENTS_MAX).contains(&limits.instruments)
            || !(1..=BOOK_ORDERS_MAX).contains(&limits.orders)
        {
            return Err(BookError::BadLimits);
        }
        let count = limits.orders as usize + 1;
        let mut slots = taken(Slot::FREE, count);
        for (slot, held) in slots.iter_mut().enumerate().skip(1) {
            held.node.next = if slot + 1 < count {
                slot as u32 + 1
            } else {
                NIL
            };
        }
        let unlisted = Band {
            base: PriceTicks(0),
            width_ticks: 0,
        };
        Ok(Self {
            slots,
            instruments: (0..limits.instruments)
                .map(|_| Instrument::new(unlisted))
                .collect::<Vec<_>>()
                .into(),
            free: 1,
            live: 0,
        })
    }

    fn list(
        &mut self,
        instrument: InstrumentId,
        base: PriceTicks,
        width_ticks: u32,
    ) -> Result<(), BookError> {
        let place = self
            .instruments
            .get_mut(usize::from(instrument.0))
            .ok_or(BookError::UnknownInstrument)?;
        if place.band.width_ticks != 0 {
            return Err(BookError::AlreadyListed);
        }
        *place = Instrument::new(Band::checked(base, width_ticks)?);
        Ok(())
    }

    fn listed(&self, instrument: InstrumentId) -> Option<Band> {
        Some(self.listed_instrument(instrument)?.band)
    }

    #[inline]
    fn insert(
        &mut self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
        lots: i64,
        info: OrderInfo,
    ) -> Result<OrderId, BookError> {
        let at = self
            .instruments
            .get_mut(usize::from(instrument.0))
            .filter(|i| i.band.width_ticks != 0)
            .ok_or(BookError::NotListed)?;
        let offset = at.band.offset(price).ok_or(BookError::OutOfBand)?;
        if !(1..=ORDER_LOTS_MAX).contains(&lots) {
            return Err(BookError::BadLots);
        }
        let slot = self.free;
        if slot == NIL {
            return Err(BookError::Full);
        }
        let crosses = at.better_than_best(side, offset, side.opposite()) >= 0 && at.asks.is_none();
        assert!(!crosses, "an order that crosses the book was rested");

        let lots = lots as u32;
        let level = &mut at.ladder_mut(side).levels[offset as usize];
        let tail = core::mem::replace(&mut level.tail, slot);
        level.sum += share(lots) + 1;
        if tail == NIL {
            level.head = slot;
            at.filled(side, offset);
        } else {
            self.slots[tail as usize].node.next = slot;
        }
        let node = &mut self.slots[slot as usize].node;
        self.free = node.next;
        *node = Node {
            next: NIL,
            prev: tail,
            lots: lots | (side as u32) << SIDE_SHIFT,
            place: u32::from(instrument.0) << PRICE_BITS | offset,
        };
        let rest = &mut self.slots[slot as usize].rest;
        rest.info = info;
        self.live += 1;
        Ok(OrderId::new(slot, rest.generation))
    }

    fn collect(&mut self, instrument: InstrumentId) {
        let at = &mut self.instruments[usize::from(instrument.0)];
        if at.asks.is_none() {
            let mut asks = (at.spare.take()).unwrap_or_else(|| Ladder::new(at.band.width_ticks));
            let first = at.best(Side::Sell);
            Instrument::move_asks(&mut at.ladder, &mut asks, first);
            at.asks = Some(asks);
        }
    }

    fn uncollect(&mut self, instrument: InstrumentId) {
        let at = &mut self.instruments[usize::from(instrument.0)];
        if let Some(mut asks) = at.asks.take() {
            assert!(at.best[0] < at.best[1], "the book is still crossed");
            let first = at.best(Side::Sell);
            Instrument::move_asks(&mut asks, &mut at.ladder, first);
            at.spare = Some(asks);
        }
    }

    #[inline]
    fn best(&self, instrument: InstrumentId, side: Side) -> Option<PriceTicks> {
        let at = self.instruments.get(usize::from(instrument.0))?;
        at.best(side).map(|offset| at.price(offset))
    }

    #[inline]
    fn front(&self, instrument: InstrumentId, side: Side) -> Option<Order> {
        let at = self.instruments.get(usize::from(instrument.0))?;
        let offset = at.best(side)?;
        Some(self.order(at.ladder(side).levels[offset as usize].head))
    }

    #[inline]
    fn fill(&mut self, id: OrderId, lots: i64) -> i64 {
        let slot = self.slot(id).expect("a fill of a dead order");
        let open = i64::from(self.slots[slot as usize].node.lots());
        assert!(0 < lots && lots <= open, "a fill of {lots} lots of {open}");
        if lots == open {
            self.remove(slot);
        } else {
            self.shrink(slot, lots as u32);
        }
        open - lots
    }

    #[inline]
    fn cancel(&mut self, id: OrderId) -> Option<Order> {
        let slot = self.slot(id)?;
        let order = self.order(slot);
        self.remove(slot);
        Some(order)
    }

    #[inline]
    fn reduce(&mut self, id: OrderId, new_lots: i64) -> Result<i64, BookError> {
        let slot = self.slot(id).ok_or(BookError::DeadOrder)?;
        let open = i64::from(self.slots[slot as usize].node.lots());
        if !(1..open).contains(&new_lots) {
            return Err(BookError::BadLots);
        }
        self.shrink(slot, (open - new_lots) as u32);
        Ok(open - new_lots)
    }

    #[inline]
    fn get(&self, id: OrderId) -> Option<Order> {
        self.slot(id).map(|slot| self.order(slot))
    }

    #[inline]
    fn info_mut(&mut self, id: OrderId) -> Option<&mut OrderInfo> {
        let slot = self.slot(id)?;
        Some(&mut self.slots[slot as usize].rest.info)
    }

    #[inline]
    fn level(&self, instrument: InstrumentId, side: Side, price: PriceTicks) -> LevelTotal {
        let at = self.listed_instrument(instrument);
        at.and_then(|at| at.resting(side, price))
            .map_or(LevelTotal::default(), Level::total)
    }

    #[inline]
    fn next_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> Option<PriceTicks> {
        let at = self.listed_instrument(instrument)?;
        let best = at.best(side)?;
        let better = match side {
            Side::Buy => price > at.price(best),
            Side::Sell => price < at.price(best),
        };
        if better {
            return Some(at.price(best));
        }
        // Beyond the band on the worse side there is nothing; beyond it on the better side was the best.
        let offset = at.band.offset(price)?;
        let occupied = &at.ladder(side).occupied;
        let next = match side {
            Side::Buy => occupied.below(offset),
            Side::Sell => occupied.above(offset),
        };
        next.map(|offset| at.price(offset))
    }

    #[inline]
    fn first_in_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> Option<OrderId> {
        self.id(self
            .listed_instrument(instrument)?
            .resting(side, price)?
            .head)
    }

    #[inline]
    fn last_in_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> Option<OrderId> {
        self.id(self
            .listed_instrument(instrument)?
            .resting(side, price)?
            .tail)
    }

    #[inline]
    fn next_in_level(&self, id: OrderId) -> Option<OrderId> {
        let slot = self.slot(id)?;
        self.id(self.slots[slot as usize].node.next)
    }

    fn next_id(&self) -> Option<OrderId> {
        self.id(self.free)
    }

    fn live(&self) -> usize {
        self.live as usize
    }

    fn capacity(&self) -> usize {
        self.slots.len() - 1
    }

    fn is_collecting(&self, instrument: InstrumentId) -> bool {
        let at = self.listed_instrument(instrument);
        at.is_some_and(|at| at.asks.is_some())
    }

    fn generation(&self, slot: u32) -> u32 {
        self.slots[slot as usize].rest.generation
    }

    fn free_slots(&self) -> impl Iterator<Item = u32> + '_ {
        let slot = |slot: u32| (slot != NIL).then_some(slot);
        core::iter::successors(slot(self.free), move |at| {
            slot(self.slots[*at as usize].node.next)
        })
    }

    fn hand_out(&mut self, slot: u32, generation: u32) {
        self.set_generation(slot, generation);
        self.free = slot;
    }

    fn set_generation(&mut self, slot: u32, generation: u32) {
        self.slots[slot as usize].rest.generation = generation;
    }

    fn set_free_slots(&mut self, slots: &[u32]) {
        self.free = NIL;
        for slot in slots.iter().rev() {
            self.slots[*slot as usize].node.next = self.free;
            self.free = *slot;
        }
    }

    fn check_invariants(&self) {
        let mut orders = 0;
        for (i, at) in self.instruments.iter().enumerate() {
            let id = InstrumentId(i as u16);
            let [best_bid, best_ask] = at.best;
            assert!(best_bid < best_ask || at.asks.is_some(), "crossed");
            for side in [Side::Buy, Side::Sell] {
                let ladder = at.ladder(side);
                ladder.occupied.check();
                let of_side = |o: &u32| match side {
                    Side::Buy => *o as i32 <= best_bid,
                    Side::Sell => *o as i32 >= best_ask,
                };
                let occupied = (0..at.band.width_ticks)
                    .filter(|&o| ladder.levels[o as usize].sum != 0)
                    .filter(|o| at.asks.is_some() || of_side(o));
                for offset in occupied.clone() {
                    assert!(of_side(&offset), "level {offset} is better than the best");
                    orders += self.check_level(id, side, offset);
                }
                let best = match side {
                    Side::Buy => occupied.clone().next_back(),
                    Side::Sell => occupied.clone().next(),
                };
                assert_eq!(at.best(side), best);
            }
            let ladders = [Some(&at.ladder), at.asks.as_ref(), at.spare.as_ref()];
            for (n, ladder) in ladders.into_iter().flatten().enumerate() {
                for offset in 0..at.band.width_ticks {
                    let level = &ladder.levels[offset as usize];
                    let used = ladder.occupied.contains(offset);
                    assert_eq!(used, level.sum != 0, "bitmap of level {offset}");
                    assert_eq!(level.head == NIL, level.sum == 0, "head of level {offset}");
                    assert_eq!(level.tail == NIL, level.sum == 0, "tail of level {offset}");
                    let apart = n == 0 || at.asks.is_some() || !used;
                    assert!(apart, "an order in a spare ladder");
                }
            }
        }
        assert_eq!(orders, self.live, "orders in levels");
        let (mut free, mut slot) = (0, self.free);
        while slot != NIL {
            assert!(
                self.slots[slot as usize].node.lots == 0,
                "live order {slot} on the free list"
            );
            free += 1;
            assert!(free as usize <= self.capacity(), "the free list is a ring");
            slot = self.slots[slot as usize].node.next;
        }
        assert_eq!(free as usize + self.live(), self.capacity(), "slots lost");
    }
}
