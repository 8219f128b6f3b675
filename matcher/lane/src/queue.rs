//! The queue. `rtrb` carries it; nothing outside this file and `frames` knows, so it can be replaced.
//! Under loom a ring of the same accesses stands in for it.

#[cfg(loom)]
pub(crate) use crate::ring as rtrb;
#[cfg(not(loom))]
pub(crate) use ::rtrb;

/// The sending end of a lane. Lives on one tile.
pub struct Producer<T>(rtrb::Producer<T>);

/// The receiving end of a lane. Lives on one tile.
pub struct Consumer<T>(rtrb::Consumer<T>);

/// A lane of `depth` items; all its memory is taken here.
///
/// # Panics
/// If `depth` is zero: a lane that is always full is a mistake in the topology.
#[must_use]
pub fn bounded<T>(depth: usize) -> (Producer<T>, Consumer<T>) {
    assert!(depth > 0, "a lane holds at least one item");
    let (tx, rx) = rtrb::RingBuffer::new(depth);
    (Producer(tx), Consumer(rx))
}

impl<T> Producer<T> {
    /// Appends `item`, or gives it back if the lane is full.
    ///
    /// The store that publishes it is a release whose partner is the acquire in [`Consumer::pop`]. It
    /// does not wake a parked receiver: call [`Waker::wake`](crate::Waker::wake) after a burst.
    ///
    /// # Errors
    /// The item, if the lane is full.
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), T> {
        self.0
            .push(item)
            .map_err(|rtrb::PushError::Full(item)| item)
    }

    /// Items that surely fit now; more may fit by the time they are pushed.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.slots()
    }

    /// Whether so many items fit now. While there was room at the last look it does not look at the receiver's
    /// index, which would cost both ends a cache line: this is for every turn of a loop.
    #[inline]
    #[must_use]
    pub fn has_room(&self, items: usize) -> bool {
        self.0.cached_slots() >= items || self.0.slots() >= items
    }

    /// The other end is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

impl<T> Consumer<T> {
    /// Takes the oldest item. Its acquire is the partner of the release in [`Producer::push`].
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop().ok()
    }

    /// Looks at the oldest item and leaves it.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<&T> {
        self.0.peek().ok()
    }

    /// Nothing to take. Read freshly from the sender's index, so it may stand between
    /// [`Parker::announce`](crate::Parker::announce) and sleep.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Items that can surely be taken now.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.slots()
    }

    /// The other end is gone; what it pushed before can still be taken.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::bounded;

    #[test]
    fn a_full_lane_returns_the_item_and_keeps_the_others_in_order() {
        let (mut tx, mut rx) = bounded(3);
        for i in 0..3 {
            tx.push(i).unwrap();
        }
        assert_eq!(tx.push(3), Err(3));
        assert_eq!((tx.room(), rx.len()), (0, 3));
        assert!(tx.has_room(0) && !tx.has_room(1));
        assert_eq!(rx.peek(), Some(&0));
        assert_eq!(rx.pop(), Some(0));
        assert!(tx.has_room(1) && !tx.has_room(2));
        tx.push(3).unwrap();
        assert_eq!(
            [rx.pop(), rx.pop(), rx.pop(), rx.pop()],
            [Some(1), Some(2), Some(3), None]
        );
        assert!(rx.is_empty());
    }

    #[test]
    fn items_pushed_before_the_sender_went_away_can_still_be_taken() {
        let (mut tx, mut rx) = bounded(2);
        tx.push(7).unwrap();
        drop(tx);
        assert!(rx.is_abandoned());
        assert_eq!((rx.pop(), rx.pop()), (Some(7), None));
    }

    #[test]
    fn a_million_items_cross_two_threads_in_order() {
        let (mut tx, mut rx) = bounded(64);
        std::thread::scope(|s| {
            s.spawn(move || {
                for mut i in 0..1_000_000_u64 {
                    while let Err(back) = tx.push(i) {
                        i = back;
                        std::thread::yield_now();
                    }
                }
            });
            let mut next = 0;
            while next < 1_000_000 {
                match rx.pop() {
                    Some(i) => {
                        assert_eq!(i, next);
                        next += 1;
                    }
                    None => std::thread::yield_now(),
                }
            }
        });
    }
}
