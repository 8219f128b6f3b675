//! What was said, kept for those who missed it: one numbered flow of reports a member, and the feed.
//! Both are pure functions of the journal; what was said before a restart is in the spool and in the feed's store.

use firmware::wire::feed::FeedMessage;
use firmware::wire::report::Report;
use matcher::memory::reserved;

/// A numbered log of bounded depth: the newest `depth` entries can be read again.
#[derive(Debug)]
pub struct Log<T> {
    ring: Vec<T>,
    depth: usize,
    /// Number of the first entry ever.
    start: u64,
    next: u64,
}

impl<T: Copy> Log<T> {
    /// An empty log whose first entry is number `start`; its memory is taken at once.
    ///
    /// # Panics
    /// When `depth` is zero.
    #[must_use]
    pub fn new(depth: usize, start: u64) -> Self {
        assert!(depth > 0);
        Self {
            ring: reserved(depth),
            depth,
            start,
            next: start,
        }
    }

    /// Appends an entry and returns its number.
    pub fn push(&mut self, entry: T) -> u64 {
        let at = self.index(self.next);
        if at < self.ring.len() {
            self.ring[at] = entry;
        } else {
            self.ring.push(entry);
        }
        self.next += 1;
        self.next - 1
    }

    /// Number of the next entry.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Number of the oldest entry that is still held.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.next - self.ring.len() as u64
    }

    /// The entry of that number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&T> {
        (number >= self.first() && number < self.next).then(|| &self.ring[self.index(number)])
    }

    const fn index(&self, number: u64) -> usize {
        ((number - self.start) % self.depth as u64) as usize
    }
}

/// Reports of one member that the gateway holds: the newest so many. Older ones are in the spool.
pub const REPORTS: usize = 1 << 10;
/// Feed messages that the feed tile may lack; with more, nothing is taken in until it has caught up.
pub const FEED_LAG_MAX: u64 = 1 << 16;

/// A member's reports.
pub type ReportLog = Log<Report>;
/// The feed, each message with the record that caused it.
pub type FeedLog = Log<(u64, FeedMessage)>;

#[cfg(test)]
mod tests {
    use super::Log;

    #[test]
    fn a_log_goes_on_at_any_number() {
        let mut log = Log::new(3, 8);
        assert_eq!((log.first(), log.next(), log.get(8)), (8, 8, None));
        for n in 8..=14 {
            assert_eq!(log.push(n), n);
            assert_eq!(log.get(n), Some(&n));
        }
        assert_eq!(
            (log.first(), log.get(11), log.get(12)),
            (12, None, Some(&12))
        );
    }

    #[test]
    fn a_log_keeps_the_newest() {
        let mut log = Log::new(3, 1);
        assert_eq!((log.first(), log.next(), log.get(1)), (1, 1, None));
        for n in 1..=5 {
            assert_eq!(log.push(n * 10), n);
        }
        assert_eq!((log.first(), log.next()), (3, 6));
        let all: Vec<_> = (0..8).map(|n| log.get(n).copied()).collect();
        assert_eq!(
            all,
            [None, None, None, Some(30), Some(40), Some(50), None, None]
        );
    }
}
