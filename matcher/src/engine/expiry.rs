//! Expiry: the settlement price, and how the lots of what has expired become cash.
//!
//! The mean of the index before the expiry fixes what a lot is worth for good. From then on that is its mark and
//! every scenario, so a claim is the same before and after a position is turned into cash, and the holders are
//! paid out batch by batch.

use super::{Engine, Stamp};
use crate::batch::SealReason;
use crate::book::OrderBook;
use crate::outbox::Outbox;
use crate::snapshot::{Sink, SnapshotError, Source};
use crate::table::{Column, RiskTable};
use firmware::limits::LOT_VALUE_MICRO_MAX;
use firmware::units::{AccountId, InstrumentId};
use firmware::wire::feed::{InstrumentSettled, STATE_DELISTED, STATE_DELIVERED, STATE_SETTLE};
use firmware::wire::input::{InInstrument, KIND_CALL, KIND_FUTURE, KIND_PUT};

/// Holders that one input pays out at most.
const FOLDS_PER_INPUT: usize = 64;

/// The index before an expiry, weighed by time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Average {
    /// Micro-units x ns.
    sum: i128,
    /// ns that the sum covers.
    covered: u64,
    /// Settlement price of what the table just adopted settles; zero between two inputs.
    fixed: i64,
}

impl Average {
    pub(super) fn save(&self, to: &mut impl Sink) {
        to.pod(&self.sum);
        to.pod(&self.covered);
    }

    pub(super) fn load(from: &mut impl Source) -> Result<Self, SnapshotError> {
        Ok(Self {
            sum: from.pod()?,
            covered: from.pod()?,
            fixed: 0,
        })
    }

    pub(super) fn digest(&self, h: &mut blake3::Hasher) {
        h.update(&self.sum.to_le_bytes())
            .update(&self.covered.to_le_bytes());
    }
}

/// When it expires; `None` for what never does.
const fn expiry(spec: &InInstrument) -> Option<u64> {
    match spec.kind {
        KIND_CALL | KIND_PUT | KIND_FUTURE => Some(spec.expiry),
        _ => None,
    }
}

/// Value of a lot at a settlement price, micro-units, to the nearest, halves up.
fn settled_value(spec: &InInstrument, price_micro: i64) -> i64 {
    let worth = match spec.kind {
        KIND_CALL => (price_micro - spec.strike_micro).max(0),
        KIND_PUT => (spec.strike_micro - price_micro).max(0),
        _ => price_micro,
    };
    let lot = i128::from(worth) * i128::from(spec.lot_e9);
    let value = (lot + 500_000_000).div_euclid(1_000_000_000);
    value.min(i128::from(LOT_VALUE_MICRO_MAX)) as i64
}

impl<B: OrderBook> Engine<B> {
    /// Whether an instrument is past its expiry, under rules that settle it.
    pub(super) fn has_expired(&self, stamp: &Stamp, i: usize) -> bool {
        let listed = self.instruments[i].as_ref();
        let listed = listed.filter(|l| l.state != STATE_DELISTED);
        let at = listed.and_then(|l| expiry(&l.spec));
        self.rules.expiry() && at.is_some_and(|at| at <= stamp.time.0)
    }

    /// Averages the index up to now and stops trading in what has expired.
    pub(super) fn advance_expiries(&mut self, stamp: &Stamp, out: &mut Outbox) {
        if !self.rules.expiry() {
            return;
        }
        let (from, to) = (self.averaged_to.0, stamp.time.0);
        self.averaged_to = stamp.time;
        for i in 0..self.table.columns.len() {
            let listed = self.instruments[i].as_ref();
            let listed = listed.filter(|l| l.state != STATE_DELISTED);
            let at = listed.and_then(|l| expiry(&l.spec));
            let Some(at) = at.filter(|_| self.table.columns[i].is_settled == 0) else {
                continue;
            };
            let first = at.saturating_sub(self.rules.now.expiry_window_ns);
            let covered = to.min(at).saturating_sub(from.max(first));
            if self.has_table && covered > 0 {
                let average = &mut self.averages[i];
                average.sum += i128::from(self.table.index_micro) * i128::from(covered);
                average.covered += covered;
            }
            if to >= at {
                self.enter(stamp, InstrumentId(i as u16), STATE_SETTLE, out);
            }
        }
    }

    /// Adds what the engine itself knows to a table that is about to be adopted: funding, settlement values, fees.
    /// `false` when the table leaves the bounds of a lot's value.
    pub(super) fn complete(&mut self, stamp: &Stamp, next: &mut RiskTable) -> bool {
        next.liquidation_fee_ppm = if self.rules.are_set {
            self.rules.now.liquidation_fee_ppm
        } else {
            next.liquidation_fee_ppm
        };
        next.pad = 0;
        self.charge_funding(stamp, next);
        for i in 0..next.columns.len() {
            let now = self.table.columns[i];
            if now.is_settled != 0 {
                next.columns[i] = now;
            } else if self.has_table && self.has_expired(stamp, i) {
                self.fix(i, &mut next.columns[i]);
            } else {
                next.columns[i].is_settled = 0;
            }
        }
        let bounded = |c: &Column| {
            let inside = |v: &i64| (v - c.funding_micro).abs() <= LOT_VALUE_MICRO_MAX;
            inside(&c.mark_micro) && c.scenario_micro.iter().all(inside)
        };
        next.columns.iter().all(bounded)
    }

    /// Fixes the value of what has expired.
    fn fix(&mut self, i: usize, column: &mut Column) {
        let spec = self.listed(i).spec;
        let average = &mut self.averages[i];
        // The last index in force, where nothing was averaged.
        let price = match i128::from(average.covered) {
            0 => self.table.index_micro,
            covered => ((average.sum + covered / 2) / covered) as i64,
        };
        average.fixed = price;
        let value = settled_value(&spec, price);
        column.mark_micro = value;
        column.scenario_micro.fill(value);
        column.delta_e9 = 0;
        (column.collar_lo_ticks, column.collar_width_ticks) = (0, 0);
        column.is_settled = 1;
    }

    /// Tells of what the table just adopted has settled.
    pub(super) fn tell_settled(&mut self, stamp: &Stamp, out: &mut Outbox) {
        for i in 0..self.table.columns.len() {
            let price_micro = core::mem::take(&mut self.averages[i].fixed);
            if price_micro == 0 {
                continue;
            }
            self.counters.expiries += 1;
            out.feed(InstrumentSettled {
                engine_seq: stamp.seq.0,
                engine_time: stamp.time.0,
                price_micro,
                value_micro: self.table.columns[i].mark_micro,
                instrument: i as u16,
                flags: 0,
                pad1: 0,
                pad2: 0,
            });
        }
    }

    /// Pays out holders of what is settled, and says when nobody holds any of it.
    pub(super) fn fold_holders(&mut self, stamp: &Stamp, out: &mut Outbox) {
        let waits = |(i, c): (usize, &Column)| {
            let listed = self.instruments[i].as_ref();
            c.is_settled != 0
                && listed.is_some_and(|l| !matches!(l.state, STATE_DELIVERED | STATE_DELISTED))
        };
        if !self.table.columns.iter().enumerate().any(waits) {
            return;
        }
        let (mut folded, mut left) = (0, false);
        for at in 0..self.accounts.funded().len() {
            let id: AccountId = self.accounts.funded()[at];
            let account = self.accounts.at(id);
            if !account.holds_settled(&self.table) {
                continue;
            }
            // Below maintenance a change of positions cannot be proven: its liquidation pays it out.
            if folded == FOLDS_PER_INPUT || account.is_below_maintenance() {
                left = true;
                continue;
            }
            if !self.batch.accounts_fit(&[id]) {
                self.seal(stamp, SealReason::Full, out);
            }
            self.touch(stamp, id, out);
            folded += 1;
        }
        if left {
            return;
        }
        for i in 0..self.table.columns.len() {
            if self.table.columns[i].is_settled != 0 && self.is_listed(i) {
                self.enter(stamp, InstrumentId(i as u16), STATE_DELIVERED, out);
            }
        }
    }
}
