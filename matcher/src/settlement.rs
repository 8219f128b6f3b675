//! Delta settlement. A claim is raw cash plus positions at the mark, so one new mark vector settles
//! every account at once. Each account's transfer is `sum pos x (m1 - m0)`; the part explained by
//! delta is reported apart from the rest. Values are whole micro-units a lot, so the transfers add up to
//! zero exactly and no rounding is left over.

use crate::accounts::Account;
use crate::snapshot::{Sink, SnapshotError, Source};
use crate::table::RiskTable;
use alloc::boxed::Box;
use firmware::units::TimeNs;

/// Why a settlement ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Trigger {
    /// The index moved by the threshold.
    Threshold = 0,
    /// The interval passed.
    Interval = 1,
}

/// When settlements run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub threshold_ppm: u32,
    pub interval_ns: u64,
}

/// The marks of the last settlement.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub no: u64,
    pub time: TimeNs,
    pub index_micro: i64,
    marks: Box<[i64]>,
    deltas_e9: Box<[i64]>,
    /// Columns that the last table had.
    width: usize,
}

/// What a settlement moves for one account, in micro-units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Transfer {
    pub total: i64,
    pub delta_leg: i64,
}

impl Transfer {
    pub(crate) const fn residual(self) -> i64 {
        self.total - self.delta_leg
    }
}

impl Settled {
    /// Of a domain that can list so many instruments; it has no marks yet.
    pub(crate) fn never(instruments: usize) -> Self {
        Self {
            no: 0,
            time: TimeNs(0),
            index_micro: 0,
            marks: alloc::vec![0; instruments].into(),
            deltas_e9: alloc::vec![0; instruments].into(),
            width: 0,
        }
    }

    /// Whether it has marks.
    pub(crate) const fn has_started(&self) -> bool {
        self.width != 0
    }

    /// Starts at a table: nothing is transferred.
    pub(crate) fn start(&mut self, no: u64, time: TimeNs, table: &RiskTable) {
        self.no = no;
        self.time = time;
        self.index_micro = table.index_micro;
        self.width = table.columns.len();
        for (i, c) in table.columns.iter().enumerate() {
            self.marks[i] = c.mark_micro;
            self.deltas_e9[i] = c.delta_e9;
        }
    }

    /// Takes in what `table` values for the first time: nothing moved before it had a mark.
    pub(crate) fn join(&mut self, before: &RiskTable, table: &RiskTable) {
        if !self.has_started() {
            return;
        }
        for (i, c) in table.columns.iter().enumerate() {
            let was = before.columns.get(i).map_or(0, |c| c.tick_value_micro);
            if was == 0 && c.tick_value_micro != 0 {
                self.marks[i] = c.mark_micro;
                self.deltas_e9[i] = c.delta_e9;
                self.width = self.width.max(table.columns.len());
            }
        }
    }

    /// Whether a settlement is due; the threshold goes before the interval.
    pub(crate) fn due(&self, terms: Terms, now: TimeNs, index_micro: i64) -> Option<Trigger> {
        let moved = i128::from((index_micro - self.index_micro).abs()) * 1_000_000;
        if moved >= i128::from(terms.threshold_ppm) * i128::from(self.index_micro) {
            Some(Trigger::Threshold)
        } else if now.0.saturating_sub(self.time.0) >= terms.interval_ns {
            Some(Trigger::Interval)
        } else {
            None
        }
    }

    /// What the move from these marks to those of `table` is worth for an account. The delta leg
    /// is rounded towards zero; the total is exact.
    pub(crate) fn transfer(&self, account: &Account, table: &RiskTable) -> Transfer {
        let index_move = i128::from(table.index_micro - self.index_micro);
        let (mut total, mut delta_e9) = (0, 0);
        let positions = &account.leaf.positions[..table.columns.len()];
        for (i, p) in positions.iter().enumerate() {
            total += p * (table.columns[i].mark_micro - self.marks[i]);
            delta_e9 += i128::from(*p) * i128::from(self.deltas_e9[i]) * index_move;
        }
        Transfer {
            total,
            delta_leg: (delta_e9 / 1_000_000_000) as i64,
        }
    }

    pub(crate) fn save(&self, to: &mut impl Sink) {
        let Self {
            no,
            time,
            index_micro,
            marks,
            deltas_e9,
            width,
        } = self;
        to.pod(no);
        to.pod(time);
        to.pod(index_micro);
        to.pods(&marks[..*width]);
        to.pods(&deltas_e9[..*width]);
    }

    /// Reads what [`Self::save`] wrote into one that has no marks.
    pub(crate) fn load(&mut self, from: &mut impl Source) -> Result<(), SnapshotError> {
        self.no = from.pod()?;
        self.time = from.pod()?;
        self.index_micro = from.pod()?;
        for values in [&mut self.marks, &mut self.deltas_e9] {
            self.width = from.below(values.len() + 1, "width of the settlement")?;
            from.fill(bytemuck::cast_slice_mut(&mut values[..self.width]))?;
        }
        Ok(())
    }

    pub(crate) fn digest(&self, h: &mut blake3::Hasher) {
        h.update(&self.no.to_le_bytes())
            .update(&self.time.0.to_le_bytes())
            .update(&self.index_micro.to_le_bytes());
        h.update(bytemuck::cast_slice(&self.marks[..self.width]))
            .update(bytemuck::cast_slice(&self.deltas_e9[..self.width]));
    }
}
