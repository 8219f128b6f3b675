//! What the engine keeps of each resting order beside the book: which account's it is, in order of entry;
//! when it expires; what was filled. Slots are the book's, so that nothing is searched.
//!
//! An account has two lists, of orders and of quotes, oldest first. Sweeps walk them, so a mass cancel
//! costs what it cancels. Expiries lie in a heap with the place of each order in it: an order that goes
//! early leaves the heap at once, and the heap never holds more than the book.

use crate::memory::{reserved, taken};
use crate::snapshot::{Sink, SnapshotError, Source, ensure};
use alloc::boxed::Box;
use alloc::vec::Vec;
use firmware::units::{AccountId, OrderId, TimeNs};

/// No order: the book hands out slots from 1.
const NIL: u32 = 0;
/// Set in a link's `prev` while the order is in the heap of expiries: a cancel then knows without a look at
/// what is kept of the order that there is nothing to do there.
const EXPIRES: u32 = 1 << 31;
/// Begins what is kept of orders in a snapshot.
const PART: [u8; 4] = *b"ORDR";
/// Index of the list of orders among an account's lists.
pub(super) const ORDERS: usize = 0;
/// Index of the list of quotes.
pub(super) const QUOTES: usize = 1;

const _: () = assert!(crate::book::BOOK_ORDERS_MAX < EXPIRES);

/// What is kept of an order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tracked {
    pub(super) id: OrderId,
    /// Rises with each order that comes to rest.
    pub(super) entry: u64,
    /// Zero: never.
    pub(super) expire_time: u64,
    /// Zero: none.
    pub(super) smp_id: u64,
    /// Lots filled since the order came in.
    pub(super) filled: i64,
}

const DEAD: Tracked = Tracked {
    id: OrderId(0),
    entry: 0,
    expire_time: 0,
    smp_id: 0,
    filled: 0,
};

/// An order's place in its list. Apart from the rest: a cancel writes three of them, and small as they are they
/// stay in the nearer caches.
#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    prev: u32,
}

const LOOSE: Link = Link {
    next: NIL,
    prev: NIL,
};

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

/// All resting orders, by slot.
#[derive(Debug)]
pub(super) struct Orders {
    links: Box<[Link]>,
    slots: Box<[Tracked]>,
    /// Places in the heap of expiries, of the orders that are in it.
    places: Box<[u32]>,
    lists: Box<[[List; 2]]>,
    /// Slots of the orders that expire: a binary heap by expiry and slot.
    expiries: Vec<u32>,
    next_entry: u64,
}

impl Orders {
    pub(super) fn new(accounts: usize, orders: u32) -> Self {
        let empty = List {
            head: NIL,
            tail: NIL,
        };
        Self {
            links: taken(LOOSE, orders as usize + 1),
            slots: taken(DEAD, orders as usize + 1),
            places: taken(0, orders as usize + 1),
            lists: taken([empty; 2], accounts),
            expiries: reserved(orders as usize),
            next_entry: 1,
        }
    }

    /// The entry number that the next order gets.
    pub(super) const fn next_entry(&self) -> u64 {
        self.next_entry
    }

    /// An order that rests.
    #[inline]
    pub(super) fn of(&self, id: OrderId) -> &Tracked {
        &self.slots[id.slot() as usize]
    }

    #[inline]
    pub(super) fn add_filled(&mut self, id: OrderId, lots: i64) -> i64 {
        let filled = &mut self.slots[id.slot() as usize].filled;
        *filled += lots;
        *filled
    }

    /// An order has come to rest.
    #[inline]
    pub(super) fn insert(
        &mut self,
        account: AccountId,
        list: usize,
        id: OrderId,
        expire_time: u64,
        smp_id: u64,
        filled: i64,
    ) {
        let slot = id.slot();
        let ends = &mut self.lists[account.0 as usize][list];
        let prev = core::mem::replace(&mut ends.tail, slot);
        if prev == NIL {
            ends.head = slot;
        } else {
            self.links[prev as usize].next = slot;
        }
        let expires = if expire_time == 0 { 0 } else { EXPIRES };
        self.links[slot as usize] = Link {
            next: NIL,
            prev: prev | expires,
        };
        self.slots[slot as usize] = Tracked {
            id,
            entry: self.next_entry,
            expire_time,
            smp_id,
            filled,
        };
        self.next_entry += 1;
        if expire_time != 0 {
            self.expiries.push(slot);
            self.rise(self.expiries.len() - 1);
        }
    }

    /// An order has left the book.
    #[inline]
    pub(super) fn remove(&mut self, account: AccountId, list: usize, id: OrderId) {
        let slot = id.slot();
        debug_assert_eq!(self.of(id).id, id, "an order that is not tracked");
        let Link { next, prev } = self.links[slot as usize];
        let expires = prev & EXPIRES != 0;
        let prev = prev & !EXPIRES;
        let ends = &mut self.lists[account.0 as usize][list];
        match prev {
            NIL => ends.head = next,
            prev => self.links[prev as usize].next = next,
        }
        match next {
            NIL => ends.tail = prev,
            next => {
                let link = &mut self.links[next as usize].prev;
                *link = *link & EXPIRES | prev;
            }
        }
        if expires {
            self.leave_heap(self.places[slot as usize] as usize);
        }
    }

    /// Writes what is kept of these, all orders that rest; by entry.
    pub(super) fn save(&self, ids: impl Iterator<Item = OrderId>, to: &mut impl Sink) {
        let Self {
            slots: _,
            next_entry,
            // Of the orders.
            links: _,
            places: _,
            lists: _,
            expiries: _,
        } = self;
        to.part(PART);
        let mut all: Vec<&Tracked> = ids.map(|id| self.of(id)).collect();
        all.sort_unstable_by_key(|t| t.entry);
        to.count(all.len());
        for t in all {
            let Tracked {
                id,
                entry,
                expire_time,
                smp_id,
                filled,
            } = *t;
            to.pod(&[id.0, entry, expire_time, smp_id]);
            to.pod(&filled);
        }
        to.pod(next_entry);
    }

    /// Reads what [`Self::save`] wrote into no orders. `place` tells account and list of an order that rests.
    pub(super) fn load(
        &mut self,
        place: impl Fn(OrderId) -> Option<(AccountId, usize)>,
        from: &mut impl Source,
    ) -> Result<(), SnapshotError> {
        from.part(PART)?;
        for _ in 0..from.below(self.slots.len(), "number of orders")? {
            let [id, entry, expire_time, smp_id] = from.pod()?;
            let filled = from.pod()?;
            ensure(entry >= self.next_entry, "order of entries")?;
            let id = OrderId(id);
            let resting = place(id).filter(|_| self.of(id).id != id);
            let (account, list) = resting.ok_or(SnapshotError::Value("order"))?;
            self.next_entry = entry;
            self.insert(account, list, id, expire_time, smp_id, filled);
        }
        let next = from.pod()?;
        ensure(next >= self.next_entry, "order of entries")?;
        self.next_entry = next;
        Ok(())
    }

    /// Orders of one of an account's lists, oldest first.
    pub(super) fn list(&self, account: AccountId, list: usize) -> impl Iterator<Item = &Tracked> {
        let lists = self.lists.get(account.0 as usize);
        let head = lists.map_or(NIL, |l| l[list].head);
        let slot = |slot: u32| (slot != NIL).then_some(slot);
        core::iter::successors(slot(head), move |at| slot(self.links[*at as usize].next))
            .map(|at| &self.slots[at as usize])
    }

    /// The oldest order of one of an account's lists. With [`Self::next`], asked for before an order is
    /// taken off, a sweep walks a list that it shortens.
    pub(super) fn first(&self, account: AccountId, list: usize) -> Option<OrderId> {
        let lists = self.lists.get(account.0 as usize)?;
        self.id(lists[list].head)
    }

    /// The order behind another in its list.
    pub(super) fn next(&self, id: OrderId) -> Option<OrderId> {
        self.id(self.links[id.slot() as usize].next)
    }

    fn id(&self, slot: u32) -> Option<OrderId> {
        (slot != NIL).then(|| self.slots[slot as usize].id)
    }

    /// The order that expires first.
    pub(super) fn first_expiry(&self) -> Option<(TimeNs, OrderId)> {
        let slot = *self.expiries.first()?;
        let t = &self.slots[slot as usize];
        Some((TimeNs(t.expire_time), t.id))
    }

    fn key(&self, at: usize) -> (u64, u32) {
        let slot = self.expiries[at];
        (self.slots[slot as usize].expire_time, slot)
    }

    fn put(&mut self, at: usize) {
        self.places[self.expiries[at] as usize] = at as u32;
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.key(at) < self.key((at - 1) / 2) {
            self.expiries.swap(at, (at - 1) / 2);
            self.put(at);
            at = (at - 1) / 2;
        }
        self.put(at);
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let children = [2 * at + 1, 2 * at + 2];
            let of_heap = children.into_iter().filter(|c| *c < self.expiries.len());
            let Some(least) = of_heap.min_by_key(|c| self.key(*c)) else {
                break;
            };
            if self.key(at) <= self.key(least) {
                break;
            }
            self.expiries.swap(at, least);
            self.put(at);
            at = least;
        }
        self.put(at);
    }

    fn leave_heap(&mut self, at: usize) {
        self.expiries.swap_remove(at);
        if at < self.expiries.len() {
            // The order that took the place may belong above it or below it.
            self.rise(at);
            let at = self.places[self.expiries[at] as usize] as usize;
            self.sink(at);
        }
    }

    pub(super) fn digest(&self, account: AccountId, h: &mut blake3::Hasher) {
        for list in [ORDERS, QUOTES] {
            for t in self.list(account, list) {
                for n in [t.id.0, t.entry, t.expire_time, t.smp_id, t.filled as u64] {
                    h.update(&n.to_le_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    /// Expiries and lists against plain maps, over a stream of insertions and removals.
    #[test]
    fn lists_and_expiries_are_those_of_plain_maps() {
        const SLOTS: u32 = 40;
        let mut orders = Orders::new(3, SLOTS);
        let mut plain: BTreeMap<u32, (u32, usize, u64)> = BTreeMap::new();
        let mut ages: Vec<u32> = Vec::new();
        let mut seed = 7u64;
        let mut random = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % n
        };
        for _ in 0..20_000 {
            let slot = 1 + random(u64::from(SLOTS)) as u32;
            let id = OrderId::new(slot, 1);
            if let Some((account, list, _)) = plain.remove(&slot) {
                orders.remove(AccountId(account), list, id);
                ages.retain(|s| *s != slot);
            } else {
                let (account, list) = (random(3) as u32, random(2) as usize);
                let expiry = random(20);
                orders.insert(AccountId(account), list, id, expiry, 0, 0);
                plain.insert(slot, (account, list, expiry));
                ages.push(slot);
            }
            let first = plain.iter().filter(|(_, v)| v.2 != 0);
            let first = first.map(|(slot, v)| (v.2, *slot)).min();
            let got = orders.first_expiry().map(|(t, id)| (t.0, id.slot()));
            assert_eq!(got, first);
            for account in 0..3 {
                for list in [ORDERS, QUOTES] {
                    let mine = ages.iter().filter(|s| {
                        let v = plain[s];
                        (v.0, v.1) == (account, list)
                    });
                    let got = orders.list(AccountId(account), list).map(|t| t.id.slot());
                    assert!(mine.copied().eq(got));
                }
            }
        }
    }
}
