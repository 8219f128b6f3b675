//! A panel of oracles: what many signed reports come to. Rules, units and roundings: `matcher/RISK.md`.
//!
//! A pure function of the reports that were taken and of the time asked at. Signatures are checked before a
//! report gets here. While fewer oracles lie than speak the truth, the price lies between two that honest ones
//! said: it is the median. A panel that does not agree gives none.

use firmware::units::TimeNs;

/// Oracles of a panel at most.
pub const ORACLES_MAX: usize = 16;
/// Volatility slots of a report.
pub const VOL_SLOTS: usize = 4;
/// A whole, in ppm.
const PPM: i128 = 1_000_000;

/// What one oracle says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Rises from report to report of one oracle.
    pub number: u64,
    /// When it was observed.
    pub time: TimeNs,
    /// Price of the underlying, in micro-units.
    pub index_micro: i64,
    /// Implied volatility a year, x 1e9, by slot.
    pub vols_e9: [i64; VOL_SLOTS],
}

/// When reports count, and when they agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PanelRules {
    /// Oracles that must agree.
    pub quorum: u8,
    /// A report older than this does not count, ns.
    pub max_age_ns: u64,
    /// A report from further ahead of our time than this is refused, ns.
    pub max_ahead_ns: u64,
    /// An oracle that was not heard for this long is named silent, ns; at most `max_age_ns`.
    pub heartbeat_ns: u64,
    /// Farthest from the median that an index may lie to agree with it, ppm of the median.
    pub deviation_ppm: u32,
}

/// Why a panel cannot be formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RulesError {
    /// No oracle, or more than a panel has seats for.
    #[error("{0} oracles: a panel has 1 to {ORACLES_MAX}")]
    Oracles(usize),
    /// Two seats have one key.
    #[error("key {0} has two seats")]
    Duplicate(u32),
    /// Half of the oracles or fewer could agree on one price, and the others on another.
    #[error("a quorum of {quorum} of {oracles} oracles is no majority, or cannot be reached")]
    Quorum {
        /// As configured.
        quorum: u8,
        /// Seats.
        oracles: usize,
    },
    /// An oracle would be silent before its report is too old, or never.
    #[error("heartbeat of {heartbeat_ns} ns: need 0 < heartbeat <= max_age ({max_age_ns} ns)")]
    Heartbeat {
        /// As configured.
        heartbeat_ns: u64,
        /// As configured.
        max_age_ns: u64,
    },
    /// A deviation of nothing, or of everything.
    #[error("a deviation of {0} ppm is not in 1..=500000")]
    Deviation(u32),
}

/// Why a report is not taken. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReportFault {
    /// No seat has this key.
    #[error("no oracle has this key")]
    Key,
    /// Not newer than what this oracle said before.
    #[error("the report is not newer than the oracle's last one")]
    Replayed,
    /// Observed after now.
    #[error("the report is from the future")]
    Future,
    /// Observed too long ago to count.
    #[error("the report is too old")]
    Stale,
    /// An index that is not positive, or a negative volatility.
    #[error("an index or volatility that nobody can mean")]
    Value,
}

/// Why there is no price now. What was read before stays in force until it is stale itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoReading {
    /// Too few reports count.
    #[error("{fresh} oracles are fresh, {quorum} must be")]
    TooFew {
        /// Reports that count.
        fresh: u8,
        /// Reports that must.
        quorum: u8,
    },
    /// Too few of them agree with their median.
    #[error("{agreeing} of {fresh} fresh oracles agree, {quorum} must")]
    Split {
        /// Reports near the median.
        agreeing: u8,
        /// Reports that count.
        fresh: u8,
        /// Reports that must agree.
        quorum: u8,
    },
}

/// What the panel says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Median index of the fresh oracles, in micro-units; one of the reported values.
    pub index_micro: i64,
    /// Median volatilities of the oracles that agree with it, by slot.
    pub vols_e9: [i64; VOL_SLOTS],
    /// Oldest report among them: the reading is no younger than this.
    pub time: TimeNs,
    /// Seats that agree, a bit each.
    pub agreeing: u16,
    /// Fresh seats that do not.
    pub outliers: u16,
    /// Seats that were not heard within the heartbeat.
    pub silent: u16,
}

/// The place of an oracle in its panel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat(usize);

#[derive(Clone, Copy, Debug)]
struct Chair {
    key_id: u32,
    last: Option<Report>,
}

/// The panel.
#[derive(Clone, Debug)]
pub struct Panel {
    rules: PanelRules,
    chairs: [Chair; ORACLES_MAX],
    len: usize,
}

impl Panel {
    /// A panel of the oracles with these keys, none of which has spoken.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn new(rules: PanelRules, key_ids: &[u32]) -> Result<Self, RulesError> {
        let len = key_ids.len();
        if !(1..=ORACLES_MAX).contains(&len) {
            return Err(RulesError::Oracles(len));
        }
        let twice = |(i, key): (usize, &u32)| key_ids[..i].contains(key).then_some(*key);
        if let Some(key) = key_ids.iter().enumerate().find_map(twice) {
            return Err(RulesError::Duplicate(key));
        }
        let quorum = usize::from(rules.quorum);
        if quorum > len || 2 * quorum <= len {
            return Err(RulesError::Quorum {
                quorum: rules.quorum,
                oracles: len,
            });
        }
        if rules.heartbeat_ns == 0 || rules.heartbeat_ns > rules.max_age_ns {
            return Err(RulesError::Heartbeat {
                heartbeat_ns: rules.heartbeat_ns,
                max_age_ns: rules.max_age_ns,
            });
        }
        if !(1..=500_000).contains(&rules.deviation_ppm) {
            return Err(RulesError::Deviation(rules.deviation_ppm));
        }
        let chair = |i: usize| Chair {
            key_id: key_ids.get(i).copied().unwrap_or(0),
            last: None,
        };
        Ok(Self {
            rules,
            chairs: core::array::from_fn(chair),
            len,
        })
    }

    /// Looks whether the report would be taken, which changes nothing; returns the oracle's seat. For those who
    /// have something dearer to check before they take it, such as a signature.
    ///
    /// # Errors
    /// [`ReportFault`], for the first of its reasons that holds.
    pub fn check(&self, key_id: u32, report: &Report, now: TimeNs) -> Result<Seat, ReportFault> {
        let place = (self.chairs[..self.len].iter())
            .position(|c| c.key_id == key_id)
            .ok_or(ReportFault::Key)?;
        let is_newer = |last: Report| report.number > last.number && report.time >= last.time;
        if !self.chairs[place].last.is_none_or(is_newer) {
            return Err(ReportFault::Replayed);
        }
        if report.time.0 > now.0.saturating_add(self.rules.max_ahead_ns) {
            return Err(ReportFault::Future);
        }
        if now.0.saturating_sub(report.time.0) > self.rules.max_age_ns {
            return Err(ReportFault::Stale);
        }
        if report.index_micro <= 0 || report.vols_e9.iter().any(|v| *v < 0) {
            return Err(ReportFault::Value);
        }
        Ok(Seat(place))
    }

    /// Replaces the last report of a seat by one that was just [checked](Self::check) for it.
    pub fn seat(&mut self, seat: Seat, report: &Report) {
        self.chairs[seat.0].last = Some(*report);
    }

    /// Takes a report of the oracle with this key, at `now`; it replaces the oracle's last one.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn take(&mut self, key_id: u32, report: &Report, now: TimeNs) -> Result<(), ReportFault> {
        let seat = self.check(key_id, report, now)?;
        self.seat(seat, report);
        Ok(())
    }

    /// What the panel says at `now`.
    ///
    /// # Errors
    /// [`NoReading`] when too few oracles count or agree.
    pub fn read(&self, now: TimeNs) -> Result<Reading, NoReading> {
        let quorum = self.rules.quorum;
        let fresh = self.within(now, self.rules.max_age_ns);
        if (fresh.count_ones() as u8) < quorum {
            return Err(NoReading::TooFew {
                fresh: fresh.count_ones() as u8,
                quorum,
            });
        }
        let middle = self.median(fresh, |r| r.index_micro);
        let reach = i128::from(middle) * i128::from(self.rules.deviation_ppm);
        let agreeing = self.select(fresh, |r| {
            (i128::from(r.index_micro) - i128::from(middle)).abs() * PPM <= reach
        });
        if (agreeing.count_ones() as u8) < quorum {
            return Err(NoReading::Split {
                agreeing: agreeing.count_ones() as u8,
                fresh: fresh.count_ones() as u8,
                quorum,
            });
        }
        let oldest = self.of(agreeing).map(|r| r.time).min();
        Ok(Reading {
            index_micro: middle,
            vols_e9: core::array::from_fn(|slot| self.median(agreeing, |r| r.vols_e9[slot])),
            time: oldest.expect("a quorum agrees"),
            agreeing,
            outliers: fresh & !agreeing,
            silent: ((1u32 << self.len) - 1) as u16 & !self.within(now, self.rules.heartbeat_ns),
        })
    }

    /// Seats whose report is not older than `age_ns`.
    fn within(&self, now: TimeNs, age_ns: u64) -> u16 {
        let all = ((1u32 << self.len) - 1) as u16;
        self.select(all, |r| now.0.saturating_sub(r.time.0) <= age_ns)
    }

    /// Those of `seats` that have spoken and pass.
    fn select(&self, seats: u16, passes: impl Fn(&Report) -> bool) -> u16 {
        let bit = |(i, s): (usize, &Chair)| {
            let holds = seats & 1 << i != 0 && s.last.as_ref().is_some_and(&passes);
            u16::from(holds) << i
        };
        (self.chairs[..self.len].iter().enumerate()).fold(0, |m, s| m | bit(s))
    }

    fn of(&self, seats: u16) -> impl Iterator<Item = &Report> {
        let here = self.chairs[..self.len].iter().enumerate();
        here.filter_map(move |(i, s)| s.last.as_ref().filter(|_| seats & 1 << i != 0))
    }

    /// The middle value of `seats`, the lower one of two: at least half are not below it, and at least half
    /// are not above it.
    fn median(&self, seats: u16, value: impl Fn(&Report) -> i64) -> i64 {
        let mut values = [0; ORACLES_MAX];
        let mut n = 0;
        for report in self.of(seats) {
            values[n] = value(report);
            n += 1;
        }
        values[..n].sort_unstable();
        values[(n - 1) / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;
    const NOW: TimeNs = TimeNs(1_000 * SECOND);
    const RULES: PanelRules = PanelRules {
        quorum: 3,
        max_age_ns: 5 * SECOND,
        max_ahead_ns: SECOND / 10,
        heartbeat_ns: 2 * SECOND,
        deviation_ppm: 10_000,
    };

    fn report(number: u64, time: TimeNs, index_micro: i64) -> Report {
        Report {
            number,
            time,
            index_micro,
            vols_e9: [600_000_000; VOL_SLOTS],
        }
    }

    /// A panel where oracle `i` has said `prices[i]` just now.
    fn panel(rules: PanelRules, prices: &[i64]) -> Panel {
        let keys: Vec<u32> = (10..10 + prices.len() as u32).collect();
        let mut panel = Panel::new(rules, &keys).expect("sound rules");
        for (key, price) in keys.iter().zip(prices) {
            panel
                .take(*key, &report(1, NOW, *price), NOW)
                .expect("a good report");
        }
        panel
    }

    #[test]
    fn one_liar_is_an_outlier_and_moves_the_price_to_an_honest_one_at_most() {
        for lie in [1, 50, 90_000, 110_000, i64::MAX] {
            let reading = panel(RULES, &[100_000, 100_100, lie, 99_900]).read(NOW);
            let reading = reading.expect("three agree");
            assert!([99_900, 100_000].contains(&reading.index_micro), "{lie}");
            assert_eq!((reading.agreeing, reading.outliers), (0b1011, 0b100));
        }
    }

    #[test]
    fn a_split_panel_says_nothing() {
        let split = panel(RULES, &[100_000, 100_000, 120_000, 120_000]).read(NOW);
        let fault = NoReading::Split {
            agreeing: 2,
            fresh: 4,
            quorum: 3,
        };
        assert_eq!(split, Err(fault));
    }

    #[test]
    fn a_report_is_taken_once_and_never_an_older_one_after_it() {
        let mut panel = panel(RULES, &[100_000, 100_000, 100_000]);
        let again = report(1, NOW, 100_000);
        assert_eq!(panel.take(10, &again, NOW), Err(ReportFault::Replayed));
        // A higher number on an older observation is a replay under another name.
        let older = report(2, TimeNs(NOW.0 - 1), 100_000);
        assert_eq!(panel.take(10, &older, NOW), Err(ReportFault::Replayed));
        assert_eq!(panel.take(10, &report(2, NOW, 100_001), NOW), Ok(()));
    }

    #[test]
    fn reports_from_the_future_and_from_long_ago_are_refused() {
        let mut panel = panel(RULES, &[100_000; 3]);
        let ahead = TimeNs(NOW.0 + RULES.max_ahead_ns);
        assert_eq!(panel.take(10, &report(2, ahead, 1), NOW), Ok(()));
        let beyond = TimeNs(ahead.0 + 1);
        assert_eq!(
            panel.take(11, &report(2, beyond, 1), NOW),
            Err(ReportFault::Future)
        );
        let later = TimeNs(NOW.0 + RULES.max_age_ns + 1);
        assert_eq!(
            panel.take(11, &report(2, NOW, 1), later),
            Err(ReportFault::Stale)
        );
        for bad in [0, -1] {
            assert_eq!(
                panel.take(11, &report(2, NOW, bad), NOW),
                Err(ReportFault::Value)
            );
        }
        assert_eq!(
            panel.take(9, &report(2, NOW, 1), NOW),
            Err(ReportFault::Key)
        );
    }

    #[test]
    fn an_oracle_falls_silent_and_then_does_not_count() {
        let mut panel = panel(RULES, &[100_000, 100_000, 100_000, 100_000]);
        let mut now = TimeNs(NOW.0 + 3 * SECOND);
        for key in 10..13 {
            panel
                .take(key, &report(2, now, 100_000), now)
                .expect("newer");
        }
        let reading = panel.read(now).expect("all still count");
        assert_eq!((reading.silent, reading.agreeing), (0b1000, 0b1111));
        assert_eq!(reading.time, NOW);
        now = TimeNs(now.0 + 3 * SECOND);
        let reading = panel.read(now).expect("three count");
        assert_eq!((reading.silent, reading.agreeing), (0b1111, 0b0111));
        now = TimeNs(now.0 + 3 * SECOND);
        let none = NoReading::TooFew {
            fresh: 0,
            quorum: 3,
        };
        assert_eq!(panel.read(now), Err(none));
    }

    #[test]
    fn rules_that_could_give_two_prices_at_once_are_refused() {
        let with = |rules, n: u32| Panel::new(rules, &(0..n).collect::<Vec<_>>()).err();
        let quorum = |quorum| PanelRules { quorum, ..RULES };
        for (k, n) in [(2, 4), (0, 1), (5, 4), (8, 16)] {
            let fault = RulesError::Quorum {
                quorum: k,
                oracles: n as usize,
            };
            assert_eq!(with(quorum(k), n), Some(fault));
        }
        for (k, n) in [(1, 1), (2, 2), (2, 3), (3, 4), (9, 16), (16, 16)] {
            assert_eq!(with(quorum(k), n), None);
        }
        assert_eq!(with(RULES, 0), Some(RulesError::Oracles(0)));
        assert_eq!(with(RULES, 17), Some(RulesError::Oracles(17)));
        assert_eq!(
            Panel::new(RULES, &[1, 2, 1]).err(),
            Some(RulesError::Duplicate(1))
        );
        let silent = PanelRules {
            heartbeat_ns: 6 * SECOND,
            ..RULES
        };
        assert!(matches!(
            with(silent, 3),
            Some(RulesError::Heartbeat { .. })
        ));
        let wide = PanelRules {
            deviation_ppm: 0,
            ..RULES
        };
        assert_eq!(with(wide, 3), Some(RulesError::Deviation(0)));
    }

    proptest! {
        /// While fewer lie than do not, the price is between two honest ones, or there is none.
        #[test]
        fn a_minority_of_liars_never_leads_outside_what_honest_oracles_said(
            honest in prop::collection::vec(99_000i64..101_000, 1..=8),
            lies in prop::collection::vec(1i64..10_000_000, 0..=7),
        ) {
            prop_assume!(lies.len() < honest.len());
            let n = honest.len() + lies.len();
            let rules = PanelRules { quorum: (n / 2 + 1) as u8, ..RULES };
            let all: Vec<i64> = honest.iter().chain(&lies).copied().collect();
            if let Ok(reading) = panel(rules, &all).read(NOW) {
                let (lo, hi) = (honest.iter().min().unwrap(), honest.iter().max().unwrap());
                prop_assert!((lo..=hi).contains(&&reading.index_micro));
                prop_assert!(all.contains(&reading.index_micro));
                prop_assert_eq!(reading.agreeing & reading.outliers, 0);
            }
        }

        /// The order in which reports come does not matter.
        #[test]
        fn the_reading_does_not_depend_on_the_order_of_reports(
            prices in prop::collection::vec(99_000i64..101_000, 3..=16),
            from in 0usize..16,
        ) {
            let rules = PanelRules { quorum: (prices.len() / 2 + 1) as u8, ..RULES };
            let keys: Vec<u32> = (10..10 + prices.len() as u32).collect();
            let mut turned = Panel::new(rules, &keys).unwrap();
            for i in 0..prices.len() {
                let at = (i + from) % prices.len();
                turned.take(keys[at], &report(1, NOW, prices[at]), NOW).unwrap();
            }
            prop_assert_eq!(turned.read(NOW), panel(rules, &prices).read(NOW));
        }
    }
}
