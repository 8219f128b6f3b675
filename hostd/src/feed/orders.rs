//! Resting orders of all instruments, oldest first in each: fixed memory, no walk for any message.

use bytemuck::Zeroable;
use firmware::wire::feed::SnapshotOrder;

/// No slot.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Slot {
    order: SnapshotOrder,
    /// The order before it in its instrument; in a free slot, nothing.
    older: u32,
    /// The order behind it; in a free slot, the next free one.
    newer: u32,
}

/// The orders of one instrument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    oldest: u32,
    newest: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            oldest: NONE,
            newest: NONE,
        }
    }
}

/// See the module.
pub(crate) struct Orders {
    slots: Box<[Slot]>,
    free: u32,
    /// Slots by order id: open addressing, at most half full.
    table: Box<[u32]>,
    /// Bits of a hash that are not used.
    shift: u32,
}

impl Orders {
    /// Room for so many orders. All memory is taken here.
    pub(crate) fn new(capacity: u32) -> Self {
        assert!((1..NONE / 4).contains(&capacity));
        let slot = |i| Slot {
            order: SnapshotOrder::zeroed(),
            older: NONE,
            newer: if i + 1 == capacity { NONE } else { i + 1 },
        };
        let size = (capacity as usize * 2).next_power_of_two();
        Self {
            slots: (0..capacity).map(slot).collect(),
            free: 0,
            table: vec![NONE; size].into(),
            shift: 64 - size.trailing_zeros(),
        }
    }

    /// Number of orders that fit.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Where the search for an id begins.
    const fn home(&self, order_id: u64) -> usize {
        (order_id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// The place in the table of an id that is there, or the free one where it belongs.
    fn find(&self, order_id: u64) -> usize {
        let mut at = self.home(order_id);
        loop {
            match self.table[at] {
                NONE => return at,
                slot if self.slots[slot as usize].order.order_id == order_id => return at,
                _ => at = (at + 1) & (self.table.len() - 1),
            }
        }
    }

    /// Whether an order of that id rests.
    pub(crate) fn holds(&self, order_id: u64) -> bool {
        self.table[self.find(order_id)] != NONE
    }

    /// The order joins behind all others of its instrument.
    ///
    /// # Panics
    /// When an order of that id rests, or there is no room: the engine has no more orders than fit.
    pub(crate) fn push(&mut self, queue: &mut Queue, order: SnapshotOrder) {
        let place = self.find(order.order_id);
        assert!(
            self.table[place] == NONE,
            "order {} joins a book that it is in",
            order.order_id
        );
        let slot = self.free;
        assert!(slot != NONE, "the feed has more orders than the engine");
        self.free = self.slots[slot as usize].newer;
        self.slots[slot as usize] = Slot {
            order,
            older: queue.newest,
            newer: NONE,
        };
        match queue.newest {
            NONE => queue.oldest = slot,
            newest => self.slots[newest as usize].newer = slot,
        }
        queue.newest = slot;
        self.table[place] = slot;
    }

    /// Sets the open lots of an order; zero takes it out.
    ///
    /// # Panics
    /// When no order of that id rests.
    pub(crate) fn leave(&mut self, queue: &mut Queue, order_id: u64, quantity: i64) {
        let place = self.find(order_id);
        let slot = self.table[place];
        assert!(slot != NONE, "order {order_id} is in no book");
        if quantity > 0 {
            self.slots[slot as usize].order.quantity = quantity;
            return;
        }
        let Slot { older, newer, .. } = self.slots[slot as usize];
        match older {
            NONE => queue.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NONE => queue.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        self.slots[slot as usize].newer = self.free;
        self.free = slot;
        self.forget(place);
    }

    /// Frees a place of the table; those behind it that would not be found any more move up.
    fn forget(&mut self, place: usize) {
        let mask = self.table.len() - 1;
        let (mut hole, mut at) = (place, place);
        loop {
            self.table[hole] = NONE;
            loop {
                at = (at + 1) & mask;
                let slot = self.table[at];
                if slot == NONE {
                    return;
                }
                let home = self.home(self.slots[slot as usize].order.order_id);
                // Whether its search passes the hole.
                if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                    self.table[hole] = slot;
                    hole = at;
                    break;
                }
            }
        }
    }

    /// The orders of an instrument, oldest first.
    pub(crate) fn of(&self, queue: &Queue) -> impl Iterator<Item = &SnapshotOrder> {
        let mut at = queue.oldest;
        std::iter::from_fn(move || {
            let slot = self.slots.get(at as usize)?;
            at = slot.newer;
            Some(&slot.order)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(order_id: u64, quantity: i64) -> SnapshotOrder {
        SnapshotOrder {
            order_id,
            quantity,
            ..Zeroable::zeroed()
        }
    }

    proptest! {
        /// Against plain vectors. Few ids, so that they come back; some collide in the table.
        #[test]
        fn orders_equal_plain_vectors(steps in prop::collection::vec((0..2usize, 0..40u64, 0..3i64), 1..400)) {
            let mut orders = Orders::new(16);
            let mut queues = [Queue::default(); 2];
            let mut plain: [Vec<(u64, i64)>; 2] = [vec![], vec![]];
            for (q, id, quantity) in steps {
                // Slot and generation, as the engine names its orders.
                let id = (id % 5) << 32 | (id / 5 + 1);
                match plain.iter().position(|p| p.iter().any(|o| o.0 == id)) {
                    Some(q) => {
                        orders.leave(&mut queues[q], id, quantity);
                        plain[q].iter_mut().filter(|o| o.0 == id).for_each(|o| o.1 = quantity);
                        plain[q].retain(|o| o.1 > 0);
                    }
                    None if plain[0].len() + plain[1].len() < orders.capacity() => {
                        orders.push(&mut queues[q], order(id, quantity + 1));
                        plain[q].push((id, quantity + 1));
                    }
                    None => {}
                }
                for (queue, want) in queues.iter().zip(&plain) {
                    let got: Vec<_> = orders.of(queue).map(|o| (o.order_id, o.quantity)).collect();
                    prop_assert_eq!(&got, want);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "more orders than the engine")]
    fn an_order_too_many_is_a_broken_engine() {
        let (mut orders, mut queue) = (Orders::new(3), Queue::default());
        (1..5).for_each(|id| orders.push(&mut queue, order(id, 1)));
    }
}
