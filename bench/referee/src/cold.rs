//! The ordered tier for prices outside the window: any `i64`, time priority kept.
//!
//! A side is a binary trie over the 64 bits of its prices, with nodes only where prices differ
//! (a crit-bit tree), so every search takes at most 64 steps, however many prices there are and
//! whatever they are. A leaf is a price level: a queue of orders linked both ways. All lie in pools
//! of fixed size, taken at start and touched when first used.

use firmware::units::Side;

const NIL: u32 = u32::MAX;
/// Set in a reference to a leaf.
const LEAF: u32 = 1 << 31;

/// An order at a price that the window does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ColdOrder {
    pub(crate) id: u64,
    pub(crate) side: Side,
    pub(crate) price: i64,
    pub(crate) quantity: u32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    id: u64,
    quantity: u32,
    level: u32,
    prev: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    key: u64,
    total: u64,
    head: u32,
    tail: u32,
    side: Side,
}

/// Where two groups of prices part: `children[b]` have bit `bit` equal to `b`, and no bit above it
/// that was not decided before.
#[derive(Clone, Copy, Debug)]
struct Fork {
    bit: u32,
    children: [u32; 2],
}

/// Items of fixed number, by index.
#[derive(Debug)]
struct Pool<T> {
    items: Vec<T>,
    free: Vec<u32>,
    capacity: usize,
}

impl<T> Pool<T> {
    fn new(capacity: u32) -> Self {
        Self {
            items: Vec::with_capacity(capacity as usize),
            free: Vec::with_capacity(capacity as usize),
            capacity: capacity as usize,
        }
    }

    fn take(&mut self, item: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.items[at as usize] = item;
            return at;
        }
        assert!(self.items.len() < self.capacity, "the engine bounds orders");
        self.items.push(item);
        self.items.len() as u32 - 1
    }

    fn give_back(&mut self, at: u32) {
        self.free.push(at);
    }

    fn used(&self) -> usize {
        self.items.len() - self.free.len()
    }
}

/// The best price of either side has the least key.
fn key_of(side: Side, price: i64) -> u64 {
    let rising = price as u64 ^ 1 << 63;
    match side {
        Side::Buy => !rising,
        Side::Sell => rising,
    }
}

fn price_of(side: Side, key: u64) -> i64 {
    let rising = match side {
        Side::Buy => !key,
        Side::Sell => key,
    };
    (rising ^ 1 << 63) as i64
}

fn bit(key: u64, bit: u32) -> usize {
    (key >> bit & 1) as usize
}

/// See the [module's page](self).
#[derive(Debug)]
pub(crate) struct Cold {
    nodes: Pool<Node>,
    levels: Pool<Level>,
    forks: Pool<Fork>,
    roots: [u32; 2],
}

impl Cold {
    /// Room for `orders`.
    pub(crate) fn new(orders: u32) -> Self {
        Self {
            nodes: Pool::new(orders),
            levels: Pool::new(orders),
            forks: Pool::new(orders),
            roots: [NIL; 2],
        }
    }

    fn level(&self, at: u32) -> &Level {
        &self.levels.items[(at & !LEAF) as usize]
    }

    fn level_mut(&mut self, at: u32) -> &mut Level {
        &mut self.levels.items[(at & !LEAF) as usize]
    }

    /// The leaf where the search for `key` ends, from `from` downwards; `from` is not [`NIL`].
    fn down(&self, from: u32, key: u64) -> u32 {
        let mut at = from;
        while at & LEAF == 0 {
            let fork = &self.forks.items[at as usize];
            at = fork.children[bit(key, fork.bit)];
        }
        at
    }

    fn find(&self, side: Side, price: i64) -> Option<u32> {
        let root = self.roots[side as usize];
        if root == NIL {
            return None;
        }
        let key = key_of(side, price);
        let leaf = self.down(root, key);
        (self.level(leaf).key == key).then_some(leaf)
    }

    /// The leaf of the least key that is not below `key`.
    fn at_or_after(&self, side: Side, key: u64) -> Option<u32> {
        let root = self.roots[side as usize];
        if root == NIL {
            return None;
        }
        let differs = self.level(self.down(root, key)).key ^ key;
        if differs == 0 {
            return Some(self.down(root, key));
        }
        let top = differs.ilog2();
        // All below `at` part from `key` at bit `top`; `beside` is the nearest group above `key`.
        let (mut at, mut beside) = (root, NIL);
        while at & LEAF == 0 && self.forks.items[at as usize].bit > top {
            let fork = &self.forks.items[at as usize];
            if bit(key, fork.bit) == 0 {
                beside = fork.children[1];
            }
            at = fork.children[bit(key, fork.bit)];
        }
        let group = if bit(key, top) == 0 { at } else { beside };
        (group != NIL).then(|| self.down(group, 0))
    }

    /// The leaf of a price, made if there is none.
    fn leaf(&mut self, side: Side, price: i64) -> u32 {
        let key = key_of(side, price);
        let root = self.roots[side as usize];
        let fresh = Level {
            key,
            total: 0,
            head: NIL,
            tail: NIL,
            side,
        };
        if root == NIL {
            let leaf = self.levels.take(fresh) | LEAF;
            self.roots[side as usize] = leaf;
            return leaf;
        }
        let nearest = self.down(root, key);
        let differs = self.level(nearest).key ^ key;
        if differs == 0 {
            return nearest;
        }
        let top = differs.ilog2();
        let (mut parent, mut at) = (NIL, root);
        while at & LEAF == 0 && self.forks.items[at as usize].bit > top {
            parent = at;
            at =
                self.forks.items[at as usize].children[bit(key, self.forks.items[at as usize].bit)];
        }
        let leaf = self.levels.take(fresh) | LEAF;
        let mut children = [at; 2];
        children[bit(key, top)] = leaf;
        let fork = self.forks.take(Fork { bit: top, children });
        self.link(side, parent, key, fork);
        leaf
    }

    /// Puts `child` where the search for `key` goes from `parent`.
    fn link(&mut self, side: Side, parent: u32, key: u64, child: u32) {
        if parent == NIL {
            self.roots[side as usize] = child;
        } else {
            let fork = &mut self.forks.items[parent as usize];
            fork.children[bit(key, fork.bit)] = child;
        }
    }

    /// Takes out a leaf whose queue is empty.
    fn prune(&mut self, leaf: u32) {
        let Level { key, side, .. } = *self.level(leaf);
        let (mut grandparent, mut parent, mut at) = (NIL, NIL, self.roots[side as usize]);
        while at & LEAF == 0 {
            (grandparent, parent) = (parent, at);
            let fork = &self.forks.items[at as usize];
            at = fork.children[bit(key, fork.bit)];
        }
        assert_eq!(at, leaf, "a level is where its price leads");
        if parent == NIL {
            self.roots[side as usize] = NIL;
        } else {
            let fork = self.forks.items[parent as usize];
            let sibling = fork.children[1 - bit(key, fork.bit)];
            self.link(side, grandparent, key, sibling);
            self.forks.give_back(parent);
        }
        self.levels.give_back(leaf & !LEAF);
    }

    /// Rests an order behind all others of its price and names its slot.
    pub(crate) fn push_back(&mut self, order: ColdOrder) -> u32 {
        let leaf = self.leaf(order.side, order.price);
        let prev = self.level(leaf).tail;
        let slot = self.nodes.take(Node {
            id: order.id,
            quantity: order.quantity,
            level: leaf & !LEAF,
            prev,
            next: NIL,
        });
        let level = self.level_mut(leaf);
        level.tail = slot;
        level.total += u64::from(order.quantity);
        match prev {
            NIL => level.head = slot,
            prev => self.nodes.items[prev as usize].next = slot,
        }
        slot
    }

    /// Rests an order before all others of its price and names its slot.
    pub(crate) fn push_front(&mut self, order: ColdOrder) -> u32 {
        let leaf = self.leaf(order.side, order.price);
        let next = self.level(leaf).head;
        let slot = self.nodes.take(Node {
            id: order.id,
            quantity: order.quantity,
            level: leaf & !LEAF,
            prev: NIL,
            next,
        });
        let level = self.level_mut(leaf);
        level.head = slot;
        level.total += u64::from(order.quantity);
        match next {
            NIL => level.tail = slot,
            next => self.nodes.items[next as usize].prev = slot,
        }
        slot
    }

    /// The order in a slot.
    pub(crate) fn get(&self, slot: u32) -> ColdOrder {
        let node = &self.nodes.items[slot as usize];
        let level = self.level(node.level);
        ColdOrder {
            id: node.id,
            side: level.side,
            price: price_of(level.side, level.key),
            quantity: node.quantity,
        }
    }

    /// Takes an order out.
    pub(crate) fn remove(&mut self, slot: u32) -> ColdOrder {
        let order = self.get(slot);
        let Node {
            prev, next, level, ..
        } = self.nodes.items[slot as usize];
        match prev {
            NIL => self.level_mut(level).head = next,
            prev => self.nodes.items[prev as usize].next = next,
        }
        match next {
            NIL => self.level_mut(level).tail = prev,
            next => self.nodes.items[next as usize].prev = prev,
        }
        self.level_mut(level).total -= u64::from(order.quantity);
        if self.level(level).head == NIL {
            self.prune(level | LEAF);
        }
        self.nodes.give_back(slot);
        order
    }

    /// Takes `quantity`, less than is open, off an order; its place in the queue is kept.
    pub(crate) fn shrink(&mut self, slot: u32, quantity: u32) {
        let node = &mut self.nodes.items[slot as usize];
        assert!(quantity < node.quantity, "a fill of all removes the order");
        node.quantity -= quantity;
        let level = node.level;
        self.level_mut(level).total -= u64::from(quantity);
    }

    /// Best price of a side.
    #[inline]
    pub(crate) fn best(&self, side: Side) -> Option<i64> {
        let root = self.roots[side as usize];
        (root != NIL).then(|| price_of(side, self.level(self.down(root, 0)).key))
    }

    /// The oldest order at the best price that is `price` or worse.
    pub(crate) fn front_from(&self, side: Side, price: i64) -> Option<u32> {
        let leaf = self.at_or_after(side, key_of(side, price))?;
        Some(self.level(leaf).head)
    }

    /// Quantity at a price; zero if nothing rests there.
    pub(crate) fn depth(&self, side: Side, price: i64) -> u64 {
        self.find(side, price)
            .map_or(0, |leaf| self.level(leaf).total)
    }

    /// Walks everything and panics at the first thing that is not as it must be; gives the number
    /// of orders. For tests.
    pub(crate) fn check(&self) -> usize {
        let (mut orders, mut levels, mut forks) = (0, 0, 0);
        for side in [Side::Buy, Side::Sell] {
            let root = self.roots[side as usize];
            let mut open = Vec::from_iter((root != NIL).then_some((root, u32::MAX, 0u64, 0u64)));
            while let Some((at, above, mask, prefix)) = open.pop() {
                if at & LEAF == 0 {
                    forks += 1;
                    let Fork { bit, children } = self.forks.items[at as usize];
                    assert!(bit < above, "a fork below looks at a lower bit");
                    for (b, child) in children.into_iter().enumerate() {
                        open.push((child, bit, mask | 1 << bit, prefix | (b as u64) << bit));
                    }
                    continue;
                }
                levels += 1;
                let level = self.level(at);
                assert_eq!((level.side, level.key & mask), (side, prefix));
                let (mut prev, mut slot, mut total) = (NIL, level.head, 0);
                while slot != NIL {
                    let node = self.nodes.items[slot as usize];
                    assert_eq!((node.prev, node.level), (prev, at & !LEAF));
                    assert!(node.quantity > 0, "an empty order in a queue");
                    total += u64::from(node.quantity);
                    orders += 1;
                    (prev, slot) = (slot, node.next);
                }
                assert_eq!((level.tail, level.total), (prev, total));
                assert!(total > 0, "an empty level in the tree");
            }
        }
        assert_eq!(
            (orders, levels, forks),
            (self.nodes.used(), self.levels.used(), self.forks.used())
        );
        orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::collections::VecDeque;

    fn price() -> impl Strategy<Value = i64> {
        prop_oneof![
            -3i64..3,
            any::<i64>(),
            Just(i64::MIN),
            Just(i64::MAX),
            (0u32..64).prop_map(|shift| 1i64 << shift),
        ]
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_ordered_maps_of_queues(
            ops in proptest::collection::vec((0u8..6, any::<bool>(), price(), 1u32..100, any::<prop::sample::Index>()), 1..200),
        ) {
            let mut cold = Cold::new(200);
            // Slots by price, per side; the key is the price, the value the queue.
            let mut maps: [BTreeMap<i64, VecDeque<u32>>; 2] = Default::default();
            for (k, (op, sell, price, quantity, pick)) in ops.into_iter().enumerate() {
                let side = if sell { Side::Sell } else { Side::Buy };
                let map = &mut maps[side as usize];
                let order = ColdOrder { id: k as u64, side, price, quantity };
                match op {
                    0..2 => map.entry(price).or_default().push_back(cold.push_back(order)),
                    2 => map.entry(price).or_default().push_front(cold.push_front(order)),
                    3..5 if !map.is_empty() => {
                        let price = *map.keys().nth(pick.index(map.len())).unwrap();
                        let queue = map.get_mut(&price).unwrap();
                        let slot = queue.remove(pick.index(queue.len())).unwrap();
                        if queue.is_empty() {
                            map.remove(&price);
                        }
                        let order = cold.remove(slot);
                        prop_assert_eq!((order.side, order.price), (side, price));
                    }
                    _ => {
                        if let Some(&slot) = map.values().next().and_then(|q| q.front())
                            && cold.get(slot).quantity > 1
                        {
                            cold.shrink(slot, 1);
                        }
                    }
                }
                cold.check();
                let map = &maps[side as usize];
                let (best, from) = match side {
                    Side::Buy => (map.iter().next_back(), map.range(..=price).next_back()),
                    Side::Sell => (map.iter().next(), map.range(price..).next()),
                };
                prop_assert_eq!(cold.best(side), best.map(|(&p, _)| p));
                prop_assert_eq!(cold.front_from(side, price), from.map(|(_, q)| q[0]));
                let depth = map.get(&price).map_or(0, |q| q.iter().map(|&s| u64::from(cold.get(s).quantity)).sum());
                prop_assert_eq!(cold.depth(side, price), depth);
            }
        }
    }
}
