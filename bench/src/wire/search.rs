//! The highest rate that is sustained: up by half until a rate fails, then halving the gap.

/// Factor between two rates of the climb, in percent.
const CLIMB_PERCENT: u64 = 150;
/// The search ends when the gap between a rate that held and one that failed is at most this part, 1/n.
const RESOLUTION: u64 = 25;
/// The search gives up below this part of the first rate, 1/n.
const FLOOR: u64 = 8;
/// A rate has failed when it failed so often: one bad moment of the machine is not the box's.
const TRIES: u32 = 2;

/// A search under way.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    next: u64,
    tries: u32,
    held: u64,
    failed: Option<u64>,
    least: u64,
    most: u64,
}

impl Search {
    /// Begins at `first`, and goes no higher than `most`.
    pub(crate) fn new(first: u64, most: u64) -> Self {
        let most = most.max(1);
        let first = first.clamp(1, most);
        Self {
            next: first,
            tries: 0,
            held: 0,
            failed: None,
            least: (first / FLOOR).max(1),
            most,
        }
    }

    /// The rate to try; `None` when the search is over.
    pub(crate) const fn next(&self) -> Option<u64> {
        if self.next == 0 {
            None
        } else {
            Some(self.next)
        }
    }

    /// Says whether the rate of [`next`](Self::next) held.
    pub(crate) fn judge(&mut self, holds: bool) {
        let rate = self.next;
        if holds {
            self.held = rate;
            self.tries = 0;
        } else {
            self.tries += 1;
            if self.tries < TRIES {
                return;
            }
            self.tries = 0;
            self.failed = Some(rate);
        }
        self.next = match self.failed {
            None if rate == self.most => 0,
            None => (rate * CLIMB_PERCENT / 100).max(rate + 1).min(self.most),
            Some(failed) if failed <= self.least => 0,
            Some(failed) if failed - self.held <= (failed / RESOLUTION).max(1) => 0,
            Some(failed) => u64::midpoint(self.held, failed),
        };
    }

    /// The highest rate that held; zero if none did.
    pub(crate) const fn held(&self) -> u64 {
        self.held
    }

    /// No rate failed: what was measured is the upper end of the search.
    pub(crate) const fn is_open_ended(&self) -> bool {
        self.failed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a thing that holds up to `limit`, with one bad moment at each trial whose number is a multiple of
    /// `flaky`.
    fn search(limit: u64, flaky: u32) -> (Search, u32) {
        let (mut s, mut trials) = (Search::new(20_000, 2_000_000), 0u32);
        while let Some(rate) = s.next() {
            trials += 1;
            assert!(trials < 100, "the search goes on for ever");
            s.judge(rate <= limit && !trials.is_multiple_of(flaky));
        }
        (s, trials)
    }

    #[test]
    fn the_limit_is_found_within_the_resolution() {
        for limit in [21_000, 57_123, 333_333, 1_999_000] {
            let (s, trials) = search(limit, u32::MAX);
            assert!(s.held() <= limit && s.held() >= limit - limit / 20, "{s:?}");
            assert!(trials < 40 && !s.is_open_ended());
        }
    }

    #[test]
    fn one_bad_moment_does_not_end_the_climb() {
        let (s, _) = search(333_333, 5);
        assert!(s.held() >= 333_333 - 333_333 / 20, "{s:?}");
    }

    #[test]
    fn what_never_fails_or_never_holds_is_told() {
        let (s, _) = search(u64::MAX, u32::MAX);
        assert_eq!((s.held(), s.is_open_ended()), (2_000_000, true));
        let (s, trials) = search(0, u32::MAX);
        assert_eq!((s.held(), s.is_open_ended()), (0, false));
        assert!(trials <= 8, "{trials}");
    }
}
