//! Up to which record a journal is replicated: what standbys have acknowledged, and who must have.

use super::config::Wait;
use matcher::planted::{self, Bug};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Standbys that must have a record.
    pub quorum: usize,
    /// Whether our own disk must have it too.
    pub wait: Wait,
}

impl Rule {
    /// Up to where the journal may be told of, given what each connected standby has on disk. `in_sync`: with a
    /// recorded set all of its members must have a record, and they must be as many as the quorum asks for. `None`:
    /// there is no quorum.
    #[must_use]
    pub fn released(
        &self,
        on_disk: u64,
        acked: &BTreeMap<String, u64>,
        in_sync: Option<&BTreeSet<String>>,
    ) -> Option<u64> {
        if planted::is(Bug::ReleasesBeforeQuorum) {
            return Some(on_disk);
        }
        let replicated = match in_sync {
            None => {
                let mut all: Vec<u64> = acked.values().copied().collect();
                all.sort_unstable_by(|a, b| b.cmp(a));
                all.get(self.quorum.checked_sub(1)?).copied()?
            }
            Some(set) if set.len() >= self.quorum => {
                let all = set.iter().map(|name| acked.get(name).copied());
                all.collect::<Option<Vec<_>>>()?.into_iter().min()?
            }
            Some(_) => return None,
        };
        Some(match self.wait {
            Wait::Both => replicated.min(on_disk),
            Wait::Quorum => replicated,
        })
    }
}

/// Since when there is no quorum, and what follows from it.
#[derive(Debug)]
pub struct Want {
    bound: Duration,
    alone_after: Option<Duration>,
    since: Option<Instant>,
}

/// What to do without a quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lack {
    /// There is one, or it has been gone for a moment only.
    None,
    /// Refuse new risk.
    RefuseRisk,
    /// Go on alone.
    Alone,
}

impl Want {
    /// Refuses risk after `bound`, goes on alone after `alone_after`, if ever.
    #[must_use]
    pub const fn new(bound: Duration, alone_after: Option<Duration>) -> Self {
        Self {
            bound,
            alone_after,
            since: None,
        }
    }

    /// Takes note of whether what is waited for moves.
    pub fn note(&mut self, is_met: bool, now: Instant) -> Lack {
        if is_met {
            self.since = None;
            return Lack::None;
        }
        let lacking = now - *self.since.get_or_insert(now);
        if self.alone_after.is_some_and(|after| lacking >= after) {
            Lack::Alone
        } else if lacking >= self.bound {
            Lack::RefuseRisk
        } else {
            Lack::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(list: &[(&str, u64)]) -> BTreeMap<String, u64> {
        list.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect()
    }

    #[test]
    fn the_lesser_of_own_disk_and_quorum_is_released() {
        let rule = |quorum, wait| Rule { quorum, wait };
        let three = acked(&[("b", 10), ("c", 30), ("d", 20)]);
        let both = |quorum, disk| rule(quorum, Wait::Both).released(disk, &three, None);
        assert_eq!(both(1, 25), Some(25));
        assert_eq!(both(1, 99), Some(30));
        assert_eq!(both(2, 99), Some(20));
        assert_eq!(both(3, 99), Some(10));
        assert_eq!(both(4, 99), None);
        assert_eq!(rule(1, Wait::Quorum).released(5, &three, None), Some(30));
        assert_eq!(rule(1, Wait::Both).released(5, &acked(&[]), None), None);
    }

    #[test]
    fn all_of_a_recorded_set_must_have_a_record_and_be_enough() {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let rule = Rule {
            quorum: 1,
            wait: Wait::Both,
        };
        let three = acked(&[("b", 10), ("c", 30)]);
        let with = |names: &[&str]| rule.released(99, &three, Some(&set(names)));
        assert_eq!(with(&["c"]), Some(30));
        assert_eq!(with(&["b", "c"]), Some(10));
        assert_eq!(with(&["c", "d"]), None, "d is not heard");
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn a_lost_quorum_refuses_risk_after_the_bound_and_goes_on_alone_only_if_configured() {
        let (start, s) = (Instant::now(), Duration::from_secs);
        let mut want = Want::new(s(1), None);
        assert_eq!(want.note(false, start), Lack::None);
        assert_eq!(want.note(false, start + s(2)), Lack::RefuseRisk);
        assert_eq!(want.note(false, start + s(9_999)), Lack::RefuseRisk);
        assert_eq!(want.note(true, start + s(10_000)), Lack::None);
        let mut want = Want::new(s(1), Some(s(5)));
        assert_eq!(want.note(false, start), Lack::None);
        assert_eq!(want.note(false, start + s(4)), Lack::RefuseRisk);
        assert_eq!(want.note(false, start + s(5)), Lack::Alone);
    }
}
