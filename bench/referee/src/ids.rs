//! The client's order ids, any 64-bit values, to the places where their orders rest.
//!
//! Two tables of fixed size. The first has one place for each value of an id's low bits: clients who
//! count upwards find every order there at the first look, neighbours in one cache line. An id whose
//! place is taken by another goes to the second: open addressing by a keyed hash, linear probing,
//! at most half full; a removal shifts the entries behind it back, so there are no tombstones
//! and nothing to clean up. Nothing grows.

/// Where an order rests; zero is nowhere.
pub(crate) type Place = u64;

const NOWHERE: Place = 0;

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: u64,
    place: Place,
}

const EMPTY: Entry = Entry {
    id: 0,
    place: NOWHERE,
};

/// See the [module's page](self).
#[derive(Debug)]
pub(crate) struct Ids {
    first: Box<[Entry]>,
    second: Box<[Entry]>,
    /// Entries in the second table.
    spilled: usize,
    /// Key of the second table's hash, so that nobody can choose ids that meet in one place.
    key: u64,
}

impl Ids {
    /// Tables for `orders` ids at a time.
    pub(crate) fn new(orders: u32, seed: u64) -> Self {
        let places = (orders as usize).next_power_of_two();
        Self {
            first: vec![EMPTY; places].into(),
            second: vec![EMPTY; 2 * places].into(),
            spilled: 0,
            key: fold(seed ^ 0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93),
        }
    }

    #[inline]
    fn direct(&self, id: u64) -> usize {
        id as usize & (self.first.len() - 1)
    }

    /// The place in the second table where the search for `id` begins.
    #[inline]
    fn home(&self, id: u64) -> usize {
        fold(id ^ self.key, 0xA076_1D64_78BD_642F) as usize & (self.second.len() - 1)
    }

    /// Index of `id` in the second table.
    fn find(&self, id: u64) -> Option<usize> {
        if self.spilled == 0 {
            return None;
        }
        let mut at = self.home(id);
        while self.second[at].place != NOWHERE {
            if self.second[at].id == id {
                return Some(at);
            }
            at = (at + 1) & (self.second.len() - 1);
        }
        None
    }

    /// Where the order `id` rests.
    #[inline]
    pub(crate) fn get(&self, id: u64) -> Option<Place> {
        let entry = self.first[self.direct(id)];
        if entry.place != NOWHERE && entry.id == id {
            return Some(entry.place);
        }
        self.find(id).map(|at| self.second[at].place)
    }

    /// Enters an id that is not known.
    ///
    /// # Panics
    /// If the second table is half full: the engine bounds the number of orders.
    #[inline]
    pub(crate) fn insert(&mut self, id: u64, place: Place) {
        debug_assert!(place != NOWHERE && self.get(id).is_none());
        let at = self.direct(id);
        if self.first[at].place == NOWHERE {
            self.first[at] = Entry { id, place };
        } else {
            self.spill(id, place);
        }
    }

    #[cold]
    fn spill(&mut self, id: u64, place: Place) {
        assert!(self.spilled < self.second.len() / 2, "more ids than orders");
        let mut at = self.home(id);
        while self.second[at].place != NOWHERE {
            at = (at + 1) & (self.second.len() - 1);
        }
        self.second[at] = Entry { id, place };
        self.spilled += 1;
    }

    /// The order `id` moved.
    ///
    /// # Panics
    /// If the id is not known.
    pub(crate) fn moved(&mut self, id: u64, place: Place) {
        let at = self.direct(id);
        let entry = if self.first[at].place != NOWHERE && self.first[at].id == id {
            &mut self.first[at]
        } else {
            let at = self.find(id).expect("an order that moves has a place");
            &mut self.second[at]
        };
        entry.place = place;
    }

    /// Takes `id` out and says where its order rests.
    #[inline]
    pub(crate) fn remove(&mut self, id: u64) -> Option<Place> {
        let at = self.direct(id);
        let entry = self.first[at];
        if entry.place != NOWHERE && entry.id == id {
            self.first[at].place = NOWHERE;
            return Some(entry.place);
        }
        let at = self.find(id)?;
        let place = self.second[at].place;
        self.close(at);
        Some(place)
    }

    /// Empties a place of the second table and moves back what was pushed behind it.
    fn close(&mut self, mut hole: usize) {
        let mask = self.second.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let entry = self.second[at];
            if entry.place == NOWHERE {
                break;
            }
            // It may move to the hole unless its search begins behind the hole.
            let reach = at.wrapping_sub(self.home(entry.id)) & mask;
            if reach >= at.wrapping_sub(hole) & mask {
                self.second[hole] = entry;
                hole = at;
            }
        }
        self.second[hole] = EMPTY;
        self.spilled -= 1;
    }
}

/// Both halves of a product, folded: every bit of `a` reaches every bit of the result.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Few low bits, so that most ids meet in the first table and many in the second.
        #[test]
        fn the_tables_agree_with_an_ordered_map(
            seed in any::<u64>(),
            ops in proptest::collection::vec((0u8..8, 0u64..24, 0u64..3), 1..400),
        ) {
            let (mut ids, mut map) = (Ids::new(32, seed), BTreeMap::new());
            for (k, (op, low, high)) in ops.into_iter().enumerate() {
                let (id, place) = (low << 2 | high << 60, k as u64 + 1);
                match op {
                    0..4 if map.len() < 32 && !map.contains_key(&id) => {
                        ids.insert(id, place);
                        map.insert(id, place);
                    }
                    4 if map.contains_key(&id) => {
                        ids.moved(id, place);
                        map.insert(id, place);
                    }
                    5..8 => prop_assert_eq!(ids.remove(id), map.remove(&id)),
                    _ => {}
                }
                prop_assert_eq!(ids.get(id), map.get(&id).copied());
            }
            for (&id, &place) in &map {
                prop_assert_eq!(ids.get(id), Some(place));
            }
            for id in map.into_keys() {
                prop_assert!(ids.remove(id).is_some());
            }
            prop_assert_eq!(ids.spilled, 0);
            prop_assert!(ids.first.iter().chain(&*ids.second).all(|e| e.place == NOWHERE));
        }
    }

    #[test]
    fn extreme_ids_are_ids_like_any_other() {
        let mut ids = Ids::new(4, 7);
        let extremes = [0, u64::MAX, 1 << 63, u64::from(u32::MAX)];
        for (id, place) in extremes.into_iter().zip(1..) {
            ids.insert(id, place);
        }
        for (id, place) in extremes.into_iter().zip(1..) {
            assert_eq!(ids.remove(id), Some(place));
            assert_eq!(ids.get(id), None);
        }
    }
}
