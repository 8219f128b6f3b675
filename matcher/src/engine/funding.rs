//! Funding: what holders of long lots pay to those of short ones, for good, by one number a lot and instrument.
//!
//! `RISK.md`, section "Funding", has formulas, units and roundings.

use super::{Engine, Listed, Stamp};
use crate::book::OrderBook;
use crate::outbox::Outbox;
use crate::snapshot::{Sink, SnapshotError, Source};
use crate::table::RiskTable;
use firmware::limits::LOT_VALUE_MICRO_MAX;
use firmware::units::{InstrumentId, Side};
use firmware::wire::feed::{FundingRate, STATE_DELISTED, STATE_OPEN};
use firmware::wire::input::{
    KIND_EVERLASTING_CALL, KIND_EVERLASTING_PUT, KIND_PERPETUAL, KIND_POWER,
};
use firmware::wire::report::FundingReport;

/// Premiums of one instrument since its last funding, micro-units of a lot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Premium {
    sum: i128,
    samples: u32,
    /// What the table that was adopted last charged, and the mean that it was made from; zero between two inputs.
    change: i64,
    mean: i64,
    counted: u32,
}

impl Premium {
    pub(super) fn save(&self, to: &mut impl Sink) {
        to.pod(&self.sum);
        to.pod(&self.samples);
    }

    pub(super) fn load(from: &mut impl Source) -> Result<Self, SnapshotError> {
        Ok(Self {
            sum: from.pod()?,
            samples: from.pod()?,
            ..Self::default()
        })
    }

    pub(super) fn digest(&self, h: &mut blake3::Hasher) {
        h.update(&self.sum.to_le_bytes())
            .update(&self.samples.to_le_bytes());
    }
}

impl<B: OrderBook> Engine<B> {
    /// Takes a sample of every premium.
    pub(super) fn sample_premiums(&mut self) {
        if !self.rules.funding() || !self.has_table {
            return;
        }
        for i in 0..self.table.columns.len() {
            let premium = match &self.instruments[i] {
                Some(listed) if listed.state == STATE_OPEN => self.premium(i, listed),
                _ => None,
            };
            if let Some(premium) = premium {
                let kept = &mut self.premiums[i];
                kept.sum += i128::from(premium);
                kept.samples = kept.samples.saturating_add(1);
            }
        }
    }

    /// The premium now; `None` for what pays no funding.
    fn premium(&self, i: usize, listed: &Listed) -> Option<i64> {
        let (column, spec) = (&self.table.columns[i], &listed.spec);
        let mark = column.mark_micro;
        let payoff = |sign: i64| {
            let inside = (sign * (self.table.index_micro - spec.strike_micro)).max(0);
            let lot = i128::from(inside) * i128::from(spec.lot_e9);
            ((lot + 500_000_000).div_euclid(1_000_000_000)) as i64
        };
        match spec.kind {
            KIND_PERPETUAL | KIND_POWER => {
                let id = InstrumentId(i as u16);
                let bid = self.impact_micro(id, Side::Buy).unwrap_or(mark);
                let ask = self.impact_micro(id, Side::Sell).unwrap_or(mark);
                Some((bid - mark).max(0) - (mark - ask).max(0))
            }
            KIND_EVERLASTING_CALL => Some(mark - payoff(1)),
            KIND_EVERLASTING_PUT => Some(mark - payoff(-1)),
            _ => None,
        }
    }

    /// Mean price of the best lots of a side, micro-units of a lot, rounded down; `None` when there are fewer.
    fn impact_micro(&self, instrument: InstrumentId, side: Side) -> Option<i64> {
        let wanted = self.rules.now.impact_lots;
        let (mut open, mut ticks) = (wanted, 0);
        for price in self.book.levels(instrument, side) {
            let lots = self.book.level(instrument, side, price).lots;
            let taken = open.min(i64::try_from(lots).unwrap_or(i64::MAX));
            ticks += i128::from(taken) * i128::from(price.0);
            open -= taken;
            if open == 0 {
                let tick_value = self.table.columns[usize::from(instrument.0)].tick_value_micro;
                let mean = ticks * i128::from(tick_value) / i128::from(wanted);
                return i64::try_from(mean).ok();
            }
        }
        None
    }

    /// Writes the funding into a table that is about to be adopted: what was paid so far, and what is due now.
    pub(super) fn charge_funding(&mut self, stamp: &Stamp, next: &mut RiskTable) {
        let interval = self.rules.now.funding_interval_ns;
        let passed = stamp.time.0.saturating_sub(self.funded_at.0);
        let is_due = self.rules.funding() && self.has_table && passed >= interval;
        if is_due {
            self.funded_at = stamp.time;
            self.counters.fundings += 1;
        }
        for (i, c) in next.columns.iter_mut().enumerate() {
            let now = &self.table.columns[i];
            // What nobody holds and nobody can trade owes nothing; without a mark its funding would have no bound.
            let is_listed =
                (self.instruments[i].as_ref()).is_some_and(|l| l.state != STATE_DELISTED);
            c.funding_micro = if is_listed { now.funding_micro } else { 0 };
            self.premiums[i].change = 0;
            let Some(listed) = self.instruments[i].as_ref().filter(|_| is_due) else {
                continue;
            };
            let kept = core::mem::take(&mut self.premiums[i]);
            if kept.samples == 0 || now.is_settled != 0 {
                continue;
            }
            let mean = kept.sum / i128::from(kept.samples);
            let everlasting = matches!(
                listed.spec.kind,
                KIND_EVERLASTING_CALL | KIND_EVERLASTING_PUT
            );
            let (mean, period) = if everlasting {
                (mean, listed.spec.expiry.max(1))
            } else {
                let clamp_ppm = i128::from(self.rules.now.funding_clamp_ppm);
                let most = i128::from(now.mark_micro.abs()) * clamp_ppm / 1_000_000;
                (mean.clamp(-most, most), self.rules.now.funding_period_ns)
            };
            let change = (mean * i128::from(interval) / i128::from(period)) as i64;
            let funding = now.funding_micro + change;
            let bounded = |v: &i64| (v - funding).abs() <= LOT_VALUE_MICRO_MAX;
            if bounded(&c.mark_micro) && c.scenario_micro.iter().all(bounded) {
                c.funding_micro = funding;
                self.premiums[i].change = change;
                self.premiums[i].mean = mean as i64;
                self.premiums[i].counted = kept.samples;
            }
        }
    }

    /// Tells of the funding that the table just adopted brought.
    pub(super) fn tell_funding(&mut self, stamp: &Stamp, out: &mut Outbox) {
        for i in 0..self.table.columns.len() {
            let funding_micro = self.table.columns[i].funding_micro;
            let premium = &mut self.premiums[i];
            if premium.counted == 0 {
                continue;
            }
            let (change, mean, samples) = (premium.change, premium.mean, premium.counted);
            (premium.change, premium.mean, premium.counted) = (0, 0, 0);
            out.feed(FundingRate {
                engine_seq: stamp.seq.0,
                engine_time: stamp.time.0,
                funding_micro,
                change,
                premium_micro: mean,
                samples,
                instrument: i as u16,
                flags: 0,
                pad1: 0,
            });
            if change == 0 {
                continue;
            }
            for id in self.accounts.funded() {
                let account = self.accounts.get(*id).expect("a funded account exists");
                let position = account.leaf.positions[i];
                if position != 0 && account.member.0 != 0 {
                    out.report(
                        account.member,
                        FundingReport {
                            amount: -position * change,
                            position,
                            funding_micro,
                            engine_time: stamp.time.0,
                            engine_seq: stamp.seq.0,
                            account: id.0,
                            instrument: i as u16,
                            pad1: 0,
                        },
                    );
                }
            }
        }
    }
}
