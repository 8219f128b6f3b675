//! A set of members in which the next one is found by looking at two words.

use firmware::limits::MEMBERS;
use firmware::units::MemberId;

const WORD: usize = u64::BITS as usize;
const WORDS: usize = MEMBERS.div_ceil(WORD);

const _: () = assert!(WORDS <= WORD, "one word names the others");

/// One bit a member, and one bit for each word that holds any.
#[derive(Clone, Debug)]
pub struct MemberSet {
    /// Bit `w`: word `w` is not zero.
    summary: u64,
    words: Box<[u64; WORDS]>,
    len: usize,
}

impl MemberSet {
    /// The empty set; its memory is taken at once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            summary: 0,
            words: Box::new([0; WORDS]),
            len: 0,
        }
    }

    /// How many members are in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// It holds nobody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the member is in it.
    #[must_use]
    pub fn contains(&self, member: MemberId) -> bool {
        let (word, bit) = split(member);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// Adds a member; `false` when it was there.
    ///
    /// # Panics
    /// When the id is not in `1..=MEMBERS`.
    pub fn insert(&mut self, member: MemberId) -> bool {
        let (word, bit) = split(member);
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.summary |= 1 << word;
        self.len += usize::from(is_new);
        is_new
    }

    /// Takes a member out; `false` when it was not there.
    pub fn remove(&mut self, member: MemberId) -> bool {
        if !self.contains(member) {
            return false;
        }
        let (word, bit) = split(member);
        self.words[word] &= !bit;
        if self.words[word] == 0 {
            self.summary &= !(1 << word);
        }
        self.len -= 1;
        true
    }

    /// The first member whose id is `from` or above.
    #[must_use]
    pub fn next_from(&self, from: MemberId) -> Option<MemberId> {
        let from = from.0.saturating_sub(1) as usize;
        let word = from / WORD;
        let rest = self.words.get(word)? & (u64::MAX << (from % WORD));
        if rest != 0 {
            return Some(member(word, rest));
        }
        // Shifted twice, since a shift by all 64 bits is no shift.
        let later = self.summary & (u64::MAX << word << 1);
        (later != 0).then(|| {
            let word = later.trailing_zeros() as usize;
            member(word, self.words[word])
        })
    }
}

impl Default for MemberSet {
    fn default() -> Self {
        Self::new()
    }
}

/// Word and bit of a member; there is no word for id 0, which wraps.
const fn split(member: MemberId) -> (usize, u64) {
    let place = member.0.wrapping_sub(1) as usize;
    (place / WORD, 1 << (place % WORD))
}

/// The lowest member of a word that is not zero.
const fn member(word: usize, bits: u64) -> MemberId {
    MemberId((word * WORD) as u32 + bits.trailing_zeros() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_agrees_with_an_ordinary_set(
            steps in prop::collection::vec((1..=MEMBERS as u32, any::<bool>(), 0..2 * MEMBERS as u32), 1..300)
        ) {
            let (mut set, mut slow) = (MemberSet::new(), BTreeSet::new());
            for (id, is_insert, from) in steps {
                if is_insert {
                    prop_assert_eq!(set.insert(MemberId(id)), slow.insert(id));
                } else {
                    prop_assert_eq!(set.remove(MemberId(id)), slow.remove(&id));
                }
                prop_assert_eq!(set.len(), slow.len());
                prop_assert_eq!(set.is_empty(), slow.is_empty());
                prop_assert_eq!(set.contains(MemberId(from)), slow.contains(&from));
                let next = slow.range(from..).next().map(|id| MemberId(*id));
                prop_assert_eq!(set.next_from(MemberId(from)), next);
            }
        }
    }
}
