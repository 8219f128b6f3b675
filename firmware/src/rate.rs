//! Token bucket: so many requests a second with a burst of one second's worth.

use crate::units::TimeNs;

/// Nanoseconds in a second.
const SECOND_NS: u64 = 1_000_000_000;

/// A bucket that fills with time. It counts in ns of credit, so that refilling needs no division.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenBucket {
    /// Price of one request, ns of credit.
    cost_ns: u64,
    /// Credit, at most one second.
    credit_ns: u64,
    last: TimeNs,
}

impl TokenBucket {
    /// A full bucket of `per_second` requests; zero lets nothing through.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        let cost_ns = if per_second == 0 {
            u64::MAX
        } else {
            SECOND_NS.div_ceil(per_second as u64)
        };
        Self {
            cost_ns,
            credit_ns: SECOND_NS,
            last: TimeNs(0),
        }
    }

    /// How long until there is credit for one request, ns; never, if the rate is zero.
    #[must_use]
    pub const fn wait_ns(&self, now: TimeNs) -> u64 {
        let passed = now.0.saturating_sub(self.last.0);
        self.cost_ns
            .saturating_sub(self.credit_ns.saturating_add(passed))
    }

    /// Takes one request's credit if there is enough. Time that runs backwards adds nothing.
    #[must_use]
    pub fn take(&mut self, now: TimeNs) -> bool {
        self.take_many(1, now)
    }

    /// Takes the credit of `count` requests if there is enough for all of them.
    #[must_use]
    pub fn take_many(&mut self, count: u32, now: TimeNs) -> bool {
        let passed = now.0.saturating_sub(self.last.0);
        self.credit_ns = self.credit_ns.saturating_add(passed).min(SECOND_NS);
        self.last = TimeNs(self.last.0.max(now.0));
        let cost_ns = self.cost_ns.saturating_mul(count as u64);
        let enough = self.credit_ns >= cost_ns;
        if enough {
            self.credit_ns -= cost_ns;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_gives_one_seconds_worth_and_then_the_rate() {
        let mut b = TokenBucket::new(10);
        let t = TimeNs(5 * SECOND_NS);
        assert_eq!((0..20).filter(|_| b.take(t)).count(), 10);
        assert!(!b.take(TimeNs(t.0 + SECOND_NS / 10 - 1)));
        assert_eq!(b.wait_ns(TimeNs(t.0 + SECOND_NS / 10 - 1)), 1);
        assert_eq!(b.wait_ns(TimeNs(t.0 + SECOND_NS / 10)), 0);
        assert!(b.take(TimeNs(t.0 + SECOND_NS / 10)));
        assert!(
            !b.take(TimeNs(t.0)),
            "time that runs backwards adds nothing"
        );
    }

    #[test]
    fn a_rate_of_zero_lets_nothing_through() {
        assert!(!TokenBucket::new(0).take(TimeNs(u64::MAX)));
    }
}
