//! The volatility-adaptive range: a function of the tables that were adopted, and of a model that is sequenced.
//!
//! The engine prices nothing by it. It says how far the scenarios of the next table should reach, and whoever builds
//! that table asks; so the ranges of a day can be reckoned anew from its journal. Formulas: `RISK.md`.

use super::{Engine, Stamp};
use crate::book::OrderBook;
use crate::risk_table::{RiskParams, check_params};
use crate::snapshot::{Sink, SnapshotError, Source, ensure};
use crate::volatility::{ModelError, VolModel, Volatility};
use firmware::wire::input::InVolModel;

/// The model in force with what it has seen, and the one that is announced.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranging {
    now: Option<(InVolModel, Volatility)>,
    next: Option<InVolModel>,
}

/// What a record says.
#[must_use]
pub fn vol_model(m: &InVolModel) -> VolModel {
    VolModel {
        sample_ns: m.sample_ns,
        ewma_ppm: m.ewma_ppm,
        horizons: [m.horizon0, m.horizon1, m.horizon2],
        weights_ppm: [m.weight0_ppm, m.weight1_ppm, m.weight2_ppm],
        cover_samples: m.cover_samples,
        multiple_milli: m.multiple_milli,
        range_ppm: (m.narrowest_ppm, m.widest_ppm),
        narrow_ppm: m.narrow_ppm,
    }
}

/// Whether a model can be used: its values are in range, and a grid is sound at its narrowest and its widest.
///
/// # Errors
/// See [`ModelError`].
pub fn check_vol_model(m: &InVolModel) -> Result<(), ModelError> {
    let model = vol_model(m);
    model.check()?;
    let grid = RiskParams::default();
    for range in [m.narrowest_ppm, m.widest_ppm] {
        let params = grid.with_range(range);
        if check_params(&params).is_err() {
            return Err(ModelError::Range(m.narrowest_ppm, m.widest_ppm));
        }
    }
    Ok(())
}

impl Ranging {
    /// The next model is in force from its time on. It has seen nothing and goes on from the range in force.
    fn advance(&mut self, now: u64) {
        let Some(next) = self.next.filter(|n| n.effective_time <= now) else {
            return;
        };
        let mut fresh = Volatility::new(vol_model(&next)).expect("checked when it was sequenced");
        if let Some((_, before)) = &self.now {
            fresh.go_on_from(before);
        }
        *self = Self {
            now: Some((next, fresh)),
            next: None,
        };
    }

    pub(super) fn digest(&self, h: &mut blake3::Hasher) {
        if let Some((m, state)) = &self.now {
            h.update(bytemuck::bytes_of(m));
            state.digest(h);
        }
        if let Some(m) = &self.next {
            h.update(bytemuck::bytes_of(m));
        }
    }

    pub(super) fn save(&self, to: &mut impl Sink) {
        to.pod(&u8::from(self.now.is_some()));
        if let Some((m, state)) = &self.now {
            to.pod(m);
            state.save(to);
        }
        to.pod(&u8::from(self.next.is_some()));
        if let Some(m) = &self.next {
            to.pod(m);
        }
    }

    pub(super) fn load(from: &mut impl Source) -> Result<Self, SnapshotError> {
        let now = if from.flag("model of volatility")? {
            let m = load_model(from)?;
            let state = Volatility::load(vol_model(&m), from)?;
            Some((m, state))
        } else {
            None
        };
        let next = if from.flag("announced model")? {
            Some(load_model(from)?)
        } else {
            None
        };
        Ok(Self { now, next })
    }
}

fn load_model(from: &mut impl Source) -> Result<InVolModel, SnapshotError> {
    let m = from.pod()?;
    ensure(check_vol_model(&m).is_ok(), "model of volatility")?;
    Ok(m)
}

impl<B: OrderBook> Engine<B> {
    /// The model that was sequenced last, in force or announced.
    #[must_use]
    pub fn vol_model(&self) -> Option<InVolModel> {
        let now = self.ranging.now.as_ref();
        self.ranging.next.or(now.map(|n| n.0))
    }

    /// How far the scenarios of the next table should reach, ppm of the index; none without a model.
    #[must_use]
    pub fn range_ppm(&self) -> Option<u32> {
        let now = self.ranging.now.as_ref();
        now.map(|n| n.1.range_ppm())
    }

    /// Takes a model; it is in force from its time on, which is at once if that has passed.
    pub(super) fn announce_model(&mut self, stamp: &Stamp, m: &InVolModel) {
        check_vol_model(m).expect("models are checked before they are sequenced");
        self.ranging.next = Some(*m);
        self.ranging.advance(stamp.time.0);
    }

    /// Shows the model the table that was just adopted.
    pub(super) fn observe(&mut self, stamp: &Stamp) {
        self.ranging.advance(stamp.time.0);
        if let Some((_, state)) = &mut self.ranging.now {
            state.observe(stamp.time, self.table.index_micro);
        }
    }
}
