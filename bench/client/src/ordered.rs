//! Numbered items that come with gaps, repeats and out of order; they leave once each and in order.

use firmware::units::TimeNs;
use std::collections::BTreeMap;

/// Items waiting behind a gap; what comes beyond is dropped and asked for again.
const HELD_MAX: usize = 1 << 16;

/// The flow of one sender.
#[derive(Debug)]
pub(crate) struct Ordered<T> {
    /// Number of the next item to leave.
    next: u64,
    /// All numbers below are known to exist.
    end: u64,
    held: BTreeMap<u64, T>,
    /// The request in flight: from where, until before where, and when it was made.
    asked: Option<(u64, u64, TimeNs)>,
    /// The sender does not want to be asked before.
    hold: TimeNs,
    /// Where the first gap begins, and when it was first seen there.
    noticed: Option<(u64, TimeNs)>,
}

impl<T> Ordered<T> {
    pub(crate) const fn starting_at(next: u64) -> Self {
        Self {
            next,
            end: next,
            held: BTreeMap::new(),
            asked: None,
            hold: TimeNs(0),
            noticed: None,
        }
    }

    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// All numbers below `end` exist, says the sender.
    pub(crate) fn announce(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// Takes an item; `false` when it was there before, or when there is no room.
    pub(crate) fn offer(&mut self, number: u64, item: T) -> bool {
        self.announce(number.saturating_add(1));
        let room = self.held.len() < HELD_MAX || number == self.next;
        if number < self.next || !room || self.held.contains_key(&number) {
            return false;
        }
        self.held.insert(number, item);
        true
    }

    /// The next item, if it is there.
    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        let number = self.next;
        let item = self.held.remove(&number)?;
        self.next += 1;
        Some((number, item))
    }

    /// The first gap: from where, and how many.
    pub(crate) fn missing(&self) -> Option<(u64, u64)> {
        let until = self.held.keys().next().copied().unwrap_or(self.end);
        (self.next < until).then(|| (self.next, until - self.next))
    }

    /// How long the first gap has begun where it does, ns; zero without a gap.
    pub(crate) fn stuck_ns(&mut self, now: TimeNs) -> u64 {
        let Some((from, _)) = self.missing() else {
            self.noticed = None;
            return 0;
        };
        match self.noticed {
            Some((at, since)) if at == from => now.0.saturating_sub(since.0),
            _ => {
                self.noticed = Some((from, now));
                0
            }
        }
    }

    /// The gap to ask for now: one request at a time, once it is `patience_ns` old, again after `retry_ns`, and
    /// at once when an answer has moved the gap.
    pub(crate) fn request_due(
        &mut self,
        now: TimeNs,
        retry_ns: u64,
        patience_ns: u64,
    ) -> Option<(u64, u64)> {
        let age = self.stuck_ns(now);
        let Some((from, count)) = self.missing() else {
            self.asked = None;
            return None;
        };
        if now < self.hold {
            return None;
        }
        let is_due = match self.asked {
            Some((asked, _, at)) if asked == from => now.0.saturating_sub(at.0) >= retry_ns,
            Some((asked, until, _)) if (asked..until).contains(&from) => true,
            _ => age >= patience_ns,
        };
        if !is_due {
            return None;
        }
        self.asked = Some((from, from + count, now));
        Some((from, count))
    }

    /// Makes no request before `at`, and one then.
    pub(crate) const fn hold_until(&mut self, at: TimeNs) {
        self.hold = at;
        self.asked = None;
    }

    /// Gives up what is missing below `number`: it cannot be had any more.
    pub(crate) fn skip_to(&mut self, number: u64) -> Option<(u64, u64)> {
        let (from, count) = self.missing()?;
        let count = count.min(number.saturating_sub(from));
        self.next += count;
        self.asked = None;
        self.noticed = None;
        (count > 0).then_some((from, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_leave_once_and_in_order_and_gaps_are_asked_for_once_per_retry() {
        let mut o = Ordered::starting_at(1);
        assert!(o.offer(3, 'c') && !o.offer(3, 'x') && o.offer(4, 'd'));
        assert_eq!(o.pop(), None);
        assert_eq!(o.request_due(TimeNs(100), 50, 0), Some((1, 2)));
        assert_eq!(o.request_due(TimeNs(149), 50, 0), None);
        assert_eq!(o.request_due(TimeNs(150), 50, 0), Some((1, 2)));
        assert!(o.offer(1, 'a'));
        assert_eq!(o.pop(), Some((1, 'a')));
        assert_eq!(o.request_due(TimeNs(151), 50, 0), Some((2, 1)), "moved");
        assert!(o.offer(2, 'b') && !o.offer(1, 'x'));
        let rest: Vec<_> = std::iter::from_fn(|| o.pop()).collect();
        assert_eq!(rest, [(2, 'b'), (3, 'c'), (4, 'd')]);
        assert_eq!(o.request_due(TimeNs(152), 50, 0), None);
        o.announce(8);
        assert_eq!(o.missing(), Some((5, 3)), "a gap at the end");
        assert_eq!(o.skip_to(5), None);
        assert_eq!(o.skip_to(7), Some((5, 2)));
        assert_eq!((o.next(), o.missing()), (7, Some((7, 1))));
        o.hold_until(TimeNs(200));
        assert_eq!(o.request_due(TimeNs(199), 50, 0), None);
        assert_eq!(o.request_due(TimeNs(200), 50, 0), Some((7, 1)));
        assert_eq!(o.skip_to(100), Some((7, 1)));
        assert_eq!((o.next(), o.missing()), (8, None));
    }

    #[test]
    fn a_gap_gets_time_to_close_by_itself_and_its_age_is_known() {
        let mut o = Ordered::starting_at(1);
        assert!(o.offer(3, 'c'));
        assert_eq!(o.request_due(TimeNs(100), 50, 10), None);
        assert_eq!(o.request_due(TimeNs(109), 50, 10), None);
        assert!(o.offer(1, 'a'));
        assert_eq!(o.pop(), Some((1, 'a')));
        assert_eq!(o.request_due(TimeNs(110), 50, 10), None, "another gap");
        assert_eq!(o.request_due(TimeNs(120), 50, 10), Some((2, 1)));
        assert_eq!(o.stuck_ns(TimeNs(150)), 40);
        assert!(o.offer(2, 'b') && o.offer(9, 'i'));
        while o.pop().is_some() {}
        assert_eq!((o.missing(), o.stuck_ns(TimeNs(160))), (Some((4, 5)), 0));
        assert_eq!(o.request_due(TimeNs(170), 50, 10), Some((4, 5)));
        assert!(o.offer(4, 'd') && o.pop().is_some());
        assert_eq!(o.request_due(TimeNs(171), 50, 10), Some((5, 4)), "moved");
    }

    #[test]
    fn a_full_buffer_still_takes_the_item_that_is_next() {
        let mut o = Ordered::starting_at(1);
        for n in 0..HELD_MAX as u64 {
            assert!(o.offer(2 + n, n));
        }
        assert!(!o.offer(2 + HELD_MAX as u64, 0) && o.offer(1, 7));
        assert_eq!(o.pop(), Some((1, 7)));
        let last = std::iter::from_fn(|| o.pop()).last().unwrap().0;
        assert_eq!(
            o.missing(),
            Some((last + 1, 1)),
            "the dropped one is asked for"
        );
    }
}
