//! Which levels of a band hold orders: a bitmap under bitmaps, so that the next level is found in a
//! fixed number of steps however far away it is.

use crate::memory::taken;
use alloc::boxed::Box;
use firmware::limits::BAND_TICKS_MAX;

const WORD_BITS: u32 = u64::BITS;
const WORD_SHIFT: u32 = WORD_BITS.trailing_zeros();
/// Tiers below the top word: 64^4 = 2^24 bits.
const TIERS: usize = 3;

const _: () = assert!(BAND_TICKS_MAX <= 1 << (WORD_SHIFT * (TIERS as u32 + 1)));

/// A set of numbers below a fixed width (at most 2^24). A bit of tier `k + 1` says that a word of
/// tier `k` is not zero.
#[derive(Clone, Debug)]
pub(super) struct Bitmap {
    tiers: [Box<[u64]>; TIERS],
    top: u64,
}

impl Bitmap {
    /// The empty set of numbers below `width`.
    pub(super) fn new(width: u32) -> Self {
        let words = |shift: u32| taken(0u64, width.div_ceil(1 << shift).max(1) as usize);
        Self {
            tiers: [
                words(WORD_SHIFT),
                words(2 * WORD_SHIFT),
                words(3 * WORD_SHIFT),
            ],
            top: 0,
        }
    }

    /// Adds `i`.
    #[inline]
    pub(super) fn set(&mut self, i: u32) {
        let mut i = i;
        for tier in &mut self.tiers {
            let word = &mut tier[(i >> WORD_SHIFT) as usize];
            let was = *word;
            *word = was | 1 << (i % WORD_BITS);
            if was != 0 {
                return;
            }
            i >>= WORD_SHIFT;
        }
        self.top |= 1 << i;
    }

    /// Takes `i` out.
    #[inline]
    pub(super) fn clear(&mut self, i: u32) {
        let mut i = i;
        for tier in &mut self.tiers {
            let word = &mut tier[(i >> WORD_SHIFT) as usize];
            *word &= !(1 << (i % WORD_BITS));
            if *word != 0 {
                return;
            }
            i >>= WORD_SHIFT;
        }
        self.top &= !(1 << i);
    }

    /// Whether `i` is in the set.
    pub(super) fn contains(&self, i: u32) -> bool {
        self.tiers[0][(i >> WORD_SHIFT) as usize] >> (i % WORD_BITS) & 1 == 1
    }

    /// The least number of the set above `i`.
    #[inline]
    pub(super) fn above(&self, i: u32) -> Option<u32> {
        let mut i = i;
        for k in 0..=TIERS {
            let word = match self.tiers.get(k) {
                Some(tier) => tier[(i >> WORD_SHIFT) as usize],
                None => self.top,
            };
            let rest = word & (!1u64 << (i % WORD_BITS));
            if rest != 0 {
                return Some(self.descend(
                    k,
                    i >> WORD_SHIFT << WORD_SHIFT | rest.trailing_zeros(),
                    u64::trailing_zeros,
                ));
            }
            i >>= WORD_SHIFT;
        }
        None
    }

    /// The greatest number of the set below `i`.
    #[inline]
    pub(super) fn below(&self, i: u32) -> Option<u32> {
        let mut i = i;
        for k in 0..=TIERS {
            let word = match self.tiers.get(k) {
                Some(tier) => tier[(i >> WORD_SHIFT) as usize],
                None => self.top,
            };
            let rest = word & !(!0u64 << (i % WORD_BITS));
            if rest != 0 {
                return Some(self.descend(
                    k,
                    i >> WORD_SHIFT << WORD_SHIFT | highest(rest),
                    highest,
                ));
            }
            i >>= WORD_SHIFT;
        }
        None
    }

    /// From bit `i` of tier `k` down to a number of the set, taking the bit that `pick` picks.
    #[inline]
    fn descend(&self, k: usize, i: u32, pick: impl Fn(u64) -> u32) -> u32 {
        self.tiers[..k]
            .iter()
            .rev()
            .fold(i, |i, tier| i << WORD_SHIFT | pick(tier[i as usize]))
    }

    /// Panics unless each upper bit says the truth about the word below it.
    pub(super) fn check(&self) {
        for k in 0..TIERS {
            for (w, &word) in self.tiers[k].iter().enumerate() {
                let upper = match self.tiers.get(k + 1) {
                    Some(tier) => tier[w >> WORD_SHIFT],
                    None => self.top,
                };
                assert_eq!(
                    upper >> (w as u32 % WORD_BITS) & 1 == 1,
                    word != 0,
                    "tier {k}, word {w}"
                );
            }
        }
    }
}

/// Index of the highest bit of a word that is not zero.
#[inline]
fn highest(word: u64) -> u32 {
    WORD_BITS - 1 - word.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    #[test]
    fn neighbours_are_found_across_all_tiers() {
        let width = BAND_TICKS_MAX as u32;
        let mut map = Bitmap::new(width);
        map.set(0);
        map.set(width - 1);
        assert_eq!(
            (map.above(0), map.below(width - 1)),
            (Some(width - 1), Some(0))
        );
        assert_eq!((map.below(0), map.above(width - 1)), (None, None));
        map.check();
    }

    proptest! {
        #[test]
        fn the_bitmap_agrees_with_an_ordered_set(
            width in 1u32..300_000,
            ops in proptest::collection::vec((any::<bool>(), any::<u32>(), any::<u32>()), 1..200),
        ) {
            let (mut map, mut set) = (Bitmap::new(width), BTreeSet::new());
            for (add, a, b) in ops {
                let (i, at) = (a % width, b % width);
                if add {
                    map.set(i);
                    set.insert(i);
                } else {
                    map.clear(i);
                    set.remove(&i);
                }
                prop_assert_eq!(map.contains(i), set.contains(&i));
                prop_assert_eq!(map.above(at), set.range(at + 1..).next().copied());
                prop_assert_eq!(map.below(at), set.range(..at).next_back().copied());
            }
            map.check();
        }
    }
}
