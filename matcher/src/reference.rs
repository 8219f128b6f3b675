//! The slow, obvious book: oracle of the fast one in tests, the same engine's other half in
//! differential runs. Maps and queues, no cleverness; it allocates and searches where the fast
//! book must not.

use crate::book::{
    BOOK_INSTRUMENTS_MAX, BOOK_ORDERS_MAX, Band, BookError, BookLimits, LevelTotal, Order,
    OrderBook, OrderInfo,
};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use firmware::limits::ORDER_LOTS_MAX;
use firmware::units::{InstrumentId, OrderId, PriceTicks, Side};

type Queue = VecDeque<Order>;

/// Where a live order rests.
type Place = (InstrumentId, Side, PriceTicks);

#[derive(Debug)]
struct Slot {
    generation: u32,
    place: Option<Place>,
}

#[derive(Debug)]
struct Instrument {
    band: Band,
    bids: BTreeMap<PriceTicks, Queue>,
    asks: BTreeMap<PriceTicks, Queue>,
    may_cross: bool,
}

impl Instrument {
    fn side(&self, side: Side) -> &BTreeMap<PriceTicks, Queue> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }
    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<PriceTicks, Queue> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

/// The slow twin of [`LadderBook`](crate::book::LadderBook).
#[derive(Debug)]
pub struct ReferenceBook {
    limits: BookLimits,
    instruments: BTreeMap<InstrumentId, Instrument>,
    /// Slot `k + 1` at index `k`.
    slots: Vec<Slot>,
    /// Free slots; the last one is handed out next.
    free: Vec<u32>,
}

impl ReferenceBook {
    fn place(&self, id: OrderId) -> Option<Place> {
        let slot = self.slots.get((id.slot() as usize).checked_sub(1)?)?;
        slot.place.filter(|_| slot.generation == id.generation())
    }

    fn queue(&self, (instrument, side, price): Place) -> Option<&Queue> {
        self.instruments.get(&instrument)?.side(side).get(&price)
    }

    /// The queue that holds a live order, and the order's place in it.
    fn find(&self, id: OrderId) -> Option<(&Queue, usize)> {
        let queue = self.queue(self.place(id)?)?;
        Some((queue, queue.iter().position(|o| o.id == id)?))
    }

    fn find_mut(&mut self, id: OrderId) -> Option<&mut Order> {
        let (instrument, side, price) = self.place(id)?;
        let queue = self
            .instruments
            .get_mut(&instrument)?
            .side_mut(side)
            .get_mut(&price)?;
        queue.iter_mut().find(|o| o.id == id)
    }
}

impl OrderBook for ReferenceBook {
    fn new(limits: BookLimits) -> Result<Self, BookError> {
        if limits.instruments == 0
            || limits.instruments > BOOK_INSTRUMENTS_MAX
            || limits.orders == 0
            || limits.orders > BOOK_ORDERS_MAX
        {
            return Err(BookError::BadLimits);
        }
        Ok(Self {
            limits,
            instruments: BTreeMap::new(),
            slots: (0..limits.orders)
                .map(|_| Slot {
                    generation: 1,
                    place: None,
                })
                .collect(),
            free: (1..=limits.orders).rev().collect(),
        })
    }

    fn list(
        &mut self,
        instrument: InstrumentId,
        base: PriceTicks,
        width_ticks: u32,
    ) -> Result<(), BookError> {
        if instrument.0 >= self.limits.instruments {
            return Err(BookError::UnknownInstrument);
        }
        if self.instruments.contains_key(&instrument) {
            return Err(BookError::AlreadyListed);
        }
        let band = Band::checked(base, width_ticks)?;
        self.instruments.insert(
            instrument,
            Instrument {
                band,
                bids: BTreeMap::new(),
                asks: BTreeMap::new(),
                may_cross: false,
            },
        );
        Ok(())
    }

    fn listed(&self, instrument: InstrumentId) -> Option<Band> {
        self.instruments.get(&instrument).map(|i| i.band)
    }

    fn insert(
        &mut self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
        lots: i64,
        info: OrderInfo,
    ) -> Result<OrderId, BookError> {
        let band = self.listed(instrument).ok_or(BookError::NotListed)?;
        if band.offset(price).is_none() {
            return Err(BookError::OutOfBand);
        }
        if !(1..=ORDER_LOTS_MAX).contains(&lots) {
            return Err(BookError::BadLots);
        }
        let id = self.next_id().ok_or(BookError::Full)?;
        let crosses = match side {
            Side::Buy => self
                .best(instrument, Side::Sell)
                .is_some_and(|ask| price >= ask),
            Side::Sell => self
                .best(instrument, Side::Buy)
                .is_some_and(|bid| price <= bid),
        };
        let may_cross = self.instruments[&instrument].may_cross;
        assert!(
            !crosses || may_cross,
            "an order that crosses the book was rested"
        );
        self.free.pop();
        self.slots[id.slot() as usize - 1].place = Some((instrument, side, price));
        let at = self.instruments.get_mut(&instrument).expect("listed");
        at.side_mut(side)
            .entry(price)
            .or_default()
            .push_back(Order {
                id,
                instrument,
                side,
                price,
                lots,
                info,
            });
        Ok(id)
    }

    fn collect(&mut self, instrument: InstrumentId) {
        let at = self.instruments.get_mut(&instrument).expect("listed");
        at.may_cross = true;
    }

    fn uncollect(&mut self, instrument: InstrumentId) {
        let at = self.instruments.get_mut(&instrument).expect("listed");
        at.may_cross = false;
        let (bid, ask) = (at.bids.keys().next_back(), at.asks.keys().next());
        assert!(
            bid.is_none() || ask.is_none() || bid < ask,
            "the book is still crossed"
        );
    }

    fn best(&self, instrument: InstrumentId, side: Side) -> Option<PriceTicks> {
        let prices = self.instruments.get(&instrument)?.side(side);
        match side {
            Side::Buy => prices.keys().next_back().copied(),
            Side::Sell => prices.keys().next().copied(),
        }
    }

    fn front(&self, instrument: InstrumentId, side: Side) -> Option<Order> {
        let price = self.best(instrument, side)?;
        self.queue((instrument, side, price))?.front().copied()
    }

    fn fill(&mut self, id: OrderId, lots: i64) -> i64 {
        let order = self.find_mut(id).expect("a fill of a dead order");
        assert!(
            lots > 0 && lots <= order.lots,
            "a fill of {lots} lots of {}",
            order.lots
        );
        let left = order.lots - lots;
        if left > 0 {
            order.lots = left;
        } else {
            self.cancel(id);
        }
        left
    }

    fn cancel(&mut self, id: OrderId) -> Option<Order> {
        let (_, position) = self.find(id)?;
        let (instrument, side, price) = self.place(id)?;
        let levels = self.instruments.get_mut(&instrument)?.side_mut(side);
        let queue = levels.get_mut(&price)?;
        let order = queue.remove(position);
        if queue.is_empty() {
            levels.remove(&price);
        }
        let slot = &mut self.slots[id.slot() as usize - 1];
        slot.place = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot());
        order
    }

    fn reduce(&mut self, id: OrderId, new_lots: i64) -> Result<i64, BookError> {
        let order = self.find_mut(id).ok_or(BookError::DeadOrder)?;
        if new_lots < 1 || new_lots >= order.lots {
            return Err(BookError::BadLots);
        }
        let taken = order.lots - new_lots;
        order.lots = new_lots;
        Ok(taken)
    }

    fn get(&self, id: OrderId) -> Option<Order> {
        let (queue, position) = self.find(id)?;
        queue.get(position).copied()
    }

    fn info_mut(&mut self, id: OrderId) -> Option<&mut OrderInfo> {
        self.find_mut(id).map(|o| &mut o.info)
    }

    fn level(&self, instrument: InstrumentId, side: Side, price: PriceTicks) -> LevelTotal {
        let Some(queue) = self.queue((instrument, side, price)) else {
            return LevelTotal::default();
        };
        LevelTotal {
            lots: queue.iter().map(|o| o.lots as u64).sum(),
            orders: queue.len() as u32,
        }
    }

    fn next_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> Option<PriceTicks> {
        let prices = self.instruments.get(&instrument)?.side(side);
        match side {
            Side::Buy => prices.keys().rev().find(|&&p| p < price).copied(),
            Side::Sell => prices.keys().find(|&&p| p > price).copied(),
        }
    }

    fn first_in_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> Option<OrderId> {
        self.queue((instrument, side, price))?.front().map(|o| o.id)
    }

    fn last_in_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: PriceTicks,
    ) -> Option<OrderId> {
        self.queue((instrument, side, price))?.back().map(|o| o.id)
    }

    fn next_in_level(&self, id: OrderId) -> Option<OrderId> {
        let (queue, position) = self.find(id)?;
        queue.get(position + 1).map(|o| o.id)
    }

    fn next_id(&self) -> Option<OrderId> {
        let slot = *self.free.last()?;
        Some(OrderId::new(slot, self.slots[slot as usize - 1].generation))
    }

    fn live(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn capacity(&self) -> usize {
        self.slots.len()
    }

    fn is_collecting(&self, instrument: InstrumentId) -> bool {
        self.instruments
            .get(&instrument)
            .is_some_and(|at| at.may_cross)
    }

    fn generation(&self, slot: u32) -> u32 {
        self.slots[slot as usize - 1].generation
    }

    fn free_slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.free.iter().rev().copied()
    }

    fn hand_out(&mut self, slot: u32, generation: u32) {
        self.set_generation(slot, generation);
        self.free.push(slot);
    }

    fn set_generation(&mut self, slot: u32, generation: u32) {
        self.slots[slot as usize - 1].generation = generation;
    }

    fn set_free_slots(&mut self, slots: &[u32]) {
        self.free.clear();
        self.free.extend(slots.iter().rev());
    }

    fn check_invariants(&self) {
        let mut queued = 0;
        for (&instrument, at) in &self.instruments {
            let (bid, ask) = (
                self.best(instrument, Side::Buy),
                self.best(instrument, Side::Sell),
            );
            assert!(
                bid.is_none() || ask.is_none() || bid < ask || at.may_cross,
                "crossed"
            );
            for side in [Side::Buy, Side::Sell] {
                for (&price, queue) in at.side(side) {
                    assert!(!queue.is_empty(), "empty level {price}");
                    for order in queue {
                        assert!(order.lots > 0);
                        assert_eq!(
                            (order.instrument, order.side, order.price),
                            (instrument, side, price)
                        );
                        assert_eq!(self.place(order.id), Some((instrument, side, price)));
                        queued += 1;
                    }
                }
            }
        }
        assert_eq!(queued, self.live(), "orders in levels");
    }
}
