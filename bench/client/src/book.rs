//! One instrument's book, order by order.

use firmware::units::Side;
use std::collections::BTreeMap;

/// A resting order, as the feed shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookOrder {
    /// Venue's name.
    pub order_id: u64,
    /// Side.
    pub side: Side,
    /// Price x 1e-9.
    pub price: i64,
    /// Open lots.
    pub quantity: i64,
    /// Place in time: smaller is older.
    arrival: u64,
}

/// All orders at one price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// Price x 1e-9.
    pub price: i64,
    /// Open lots together.
    pub quantity: i64,
    /// Number of orders.
    pub orders: u32,
}

/// What does not fit a book that has seen every message: a fault of the venue, or a late start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Inconsistent;

#[derive(Clone, Debug, Default)]
struct Queue {
    quantity: i64,
    /// Arrival to order.
    orders: BTreeMap<u64, u64>,
}

/// The resting orders of an instrument.
#[derive(Clone, Debug, Default)]
pub struct Book {
    orders: BTreeMap<u64, BookOrder>,
    sides: [BTreeMap<i64, Queue>; 2],
    arrivals: u64,
}

impl Book {
    /// Highest bid.
    #[must_use]
    pub fn best_bid(&self) -> Option<Level> {
        self.levels(Side::Buy).next()
    }

    /// Lowest ask.
    #[must_use]
    pub fn best_ask(&self) -> Option<Level> {
        self.levels(Side::Sell).next()
    }

    /// Levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> {
        let side_levels = &self.sides[side as usize];
        let (up, down) = match side {
            Side::Buy => (None, Some(side_levels.iter().rev())),
            Side::Sell => (Some(side_levels.iter()), None),
        };
        let both = up.into_iter().flatten().chain(down.into_iter().flatten());
        both.map(|(price, queue)| Level {
            price: *price,
            quantity: queue.quantity,
            orders: queue.orders.len() as u32,
        })
    }

    /// Orders at a price, in the order in which they trade.
    pub fn queue(&self, side: Side, price: i64) -> impl Iterator<Item = &BookOrder> {
        let queue = self.sides[side as usize].get(&price);
        queue
            .into_iter()
            .flat_map(|q| q.orders.values())
            .filter_map(|id| self.orders.get(id))
    }

    /// An order by its venue's name.
    #[must_use]
    pub fn order(&self, order_id: u64) -> Option<&BookOrder> {
        self.orders.get(&order_id)
    }

    /// Number of resting orders.
    #[must_use]
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    /// Whether no order rests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    pub(crate) fn add(
        &mut self,
        order_id: u64,
        side: Side,
        price: i64,
        quantity: i64,
    ) -> Result<(), Inconsistent> {
        if quantity <= 0 || self.orders.contains_key(&order_id) {
            return Err(Inconsistent);
        }
        let queue = self.sides[side as usize].entry(price).or_default();
        // Cannot fail for a book whose lots the venue could count.
        let sum = queue.quantity.checked_add(quantity).ok_or(Inconsistent)?;
        let arrival = self.arrivals;
        self.arrivals += 1;
        let order = BookOrder {
            order_id,
            side,
            price,
            quantity,
            arrival,
        };
        self.orders.insert(order_id, order);
        queue.quantity = sum;
        queue.orders.insert(arrival, order_id);
        Ok(())
    }

    /// Sets the open lots of an order; zero takes it out.
    pub(crate) fn set(&mut self, order_id: u64, side: Side, left: i64) -> Result<(), Inconsistent> {
        let order = self.orders.get_mut(&order_id).ok_or(Inconsistent)?;
        if order.side != side || left < 0 || left > order.quantity {
            return Err(Inconsistent);
        }
        let (price, arrival) = (order.price, order.arrival);
        let gone = order.quantity - left;
        order.quantity = left;
        let levels = &mut self.sides[side as usize];
        let queue = levels.get_mut(&price).expect("an order stands in a level");
        queue.quantity -= gone;
        if left == 0 {
            self.orders.remove(&order_id);
            queue.orders.remove(&arrival);
            if queue.orders.is_empty() {
                levels.remove(&price);
            }
        }
        Ok(())
    }
}
