//! Builds the risk table of one epoch from an index and volatilities. It runs outside the matching
//! core: the core adopts the table at a sequenced point and never prices anything itself.
//!
//! Formulas, units and roundings: `matcher/RISK.md`.

use crate::instrument::{
    Collar, EverlastingTerms, InstrumentError, InstrumentKind, InstrumentSpec, OptionTerms,
};
use crate::pricing::{
    Everlasting, Forward, OptionModel, PricingError, Right, squared_lot_delta_e9,
    squared_price_micro,
};
use crate::table::{Column, RiskTable};
use alloc::boxed::Box;
use bytemuck::Zeroable;
use firmware::limits::{COLLAR_BITS, INSTRUMENTS, LOT_VALUE_MICRO_MAX, SCENARIOS};
use firmware::units::TimeNs;

/// Price shocks of the scenario grid.
pub const PRICE_SHOCKS: usize = 9;
/// Volatility shocks of the scenario grid.
pub const VOL_SHOCKS: usize = 3;
/// Largest shock up, in ppm; down it ends above a total loss.
pub const SHOCK_PPM_MAX: i32 = 9_000_000;
/// Largest fee, in ppm of the notional.
pub const FEE_PPM_MAX: i32 = 100_000;
/// A whole, in ppm.
const PPM: i32 = 1_000_000;
/// Widest half of a collar, in ticks: the whole collar stays below `2^COLLAR_BITS`.
const COLLAR_HALF_TICKS_MAX: i64 = (1 << (COLLAR_BITS - 1)) - 1;

const _: () = assert!(PRICE_SHOCKS * VOL_SHOCKS == SCENARIOS);

/// Place of a scenario in [`Column::scenario_micro`].
#[must_use]
pub const fn scenario_index(vol_shock: usize, price_shock: usize) -> usize {
    assert!(vol_shock < VOL_SHOCKS && price_shock < PRICE_SHOCKS);
    vol_shock * PRICE_SHOCKS + price_shock
}

/// The rule by which marks become margin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RiskParams {
    /// Relative moves of the index, rising, one of them 0.
    pub price_shocks_ppm: [i32; PRICE_SHOCKS],
    /// Relative moves of every volatility, rising, one of them 0.
    pub vol_shocks_ppm: [i32; VOL_SHOCKS],
    /// Fee of takers: `0..=FEE_PPM_MAX`, in ppm of the notional.
    pub taker_fee_ppm: i32,
    /// Fee of makers: `-taker_fee_ppm..=FEE_PPM_MAX`; negative is a rebate out of the taker's fee.
    pub maker_fee_ppm: i32,
}

impl Default for RiskParams {
    /// For an underlying like BTC: the index by up to 16 % in steps of 4 %, volatility by a quarter
    /// of itself, takers pay 0.05 %, makers nothing.
    fn default() -> Self {
        Self {
            price_shocks_ppm: [
                -160_000, -120_000, -80_000, -40_000, 0, 40_000, 80_000, 120_000, 160_000,
            ],
            vol_shocks_ppm: [-250_000, 0, 250_000],
            taker_fee_ppm: 500,
            maker_fee_ppm: 0,
        }
    }
}

impl RiskParams {
    /// These rules with the price shocks widened or narrowed, so that the outermost is `range_ppm`; each is rounded
    /// away from zero.
    #[must_use]
    pub fn with_range(&self, range_ppm: u32) -> Self {
        Self {
            price_shocks_ppm: crate::volatility::scaled_ppm(self.price_shocks_ppm, range_ppm),
            ..*self
        }
    }
}

/// Implied volatility of each instrument, a year, x 1e9 (0.6 = 600_000_000). What is no option ignores its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolInput {
    /// By instrument id.
    pub vol_e9: [i64; INSTRUMENTS],
}

impl VolInput {
    /// The same volatility for all.
    #[must_use]
    pub const fn flat(vol_e9: i64) -> Self {
        Self {
            vol_e9: [vol_e9; INSTRUMENTS],
        }
    }
}

/// Why no table was built. The table in force stays in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableError {
    /// A shock is not above -100 %, above [`SHOCK_PPM_MAX`], not above the one before it, or none is 0.
    #[error("{0} shocks must rise, hold 0, and lie in -999999..={SHOCK_PPM_MAX} ppm")]
    Shocks(&'static str),
    /// A fee is out of its range, or the rebate exceeds the taker's fee.
    #[error(
        "fees of {taker_ppm} (taker) and {maker_ppm} (maker) ppm: need 0 <= taker <= {FEE_PPM_MAX} and -taker <= maker <= {FEE_PPM_MAX}"
    )]
    Fees {
        /// Taker fee.
        taker_ppm: i32,
        /// Maker fee.
        maker_ppm: i32,
    },
    /// The index, as it is or shocked, cannot be priced.
    #[error("index of {index_micro} micro-units moved by {shock_ppm} ppm: {source}")]
    Index {
        /// Index.
        index_micro: i64,
        /// Shock.
        shock_ppm: i32,
        /// Reason.
        source: PricingError,
    },
    /// An instrument is badly specified.
    #[error("instrument {id}: {source}")]
    Instrument {
        /// Instrument.
        id: u16,
        /// Reason.
        source: InstrumentError,
    },
    /// Two instruments have one id.
    #[error("instrument {0} is specified twice")]
    Duplicate(u16),
    /// An option cannot be priced.
    #[error("instrument {id}: {source}")]
    Pricing {
        /// Instrument.
        id: u16,
        /// Reason.
        source: PricingError,
    },
    /// A lot is worth more than the circuit's bound in some scenario.
    #[error(
        "instrument {id}: a lot is worth {value_micro} micro-units when the index moves by {shock_ppm} ppm, above {LOT_VALUE_MICRO_MAX}: use a smaller lot"
    )]
    LotValue {
        /// Instrument.
        id: u16,
        /// Value of the lot.
        value_micro: i128,
        /// Shock of the index.
        shock_ppm: i32,
    },
}

/// The index as it is and in each price shock, with the logarithms that all options share.
struct IndexGrid {
    base: Forward,
    shocked: [Forward; PRICE_SHOCKS],
}

/// Builds the table of `epoch`: marks, scenario values, deltas and collars of every instrument in
/// `specs` (in any order), as of `now`. Columns without a spec stay zero: not listed. The table is as wide
/// as the highest id among them asks for.
///
/// # Errors
/// A precise [`TableError`]; nothing is ever clamped into range silently but collars, which are cut
/// to the book window and to `2^COLLAR_BITS` ticks. A collar that leaves the window altogether, or
/// an expired option, has width 0: valued as ever, but nothing trades.
pub fn build_table(
    epoch: u64,
    now: TimeNs,
    index_micro: i64,
    vol: &VolInput,
    params: &RiskParams,
    specs: &[InstrumentSpec],
) -> Result<Box<RiskTable>, TableError> {
    check_params(params)?;
    let grid = IndexGrid::new(index_micro, params)?;
    for spec in specs {
        let refused = |source| TableError::Instrument {
            id: spec.id.0,
            source,
        };
        spec.validate().map_err(refused)?;
    }
    let highest = specs.iter().map(|spec| spec.id.0).max().unwrap_or(0);
    let mut table = RiskTable::zeroed(RiskTable::width_for(highest));
    table.epoch = epoch;
    table.index_micro = index_micro;
    table.taker_fee_ppm = params.taker_fee_ppm;
    table.maker_fee_ppm = params.maker_fee_ppm;
    for spec in specs {
        let id = spec.id.0;
        let column = &mut table.columns[usize::from(id)];
        if column.tick_value_micro != 0 {
            return Err(TableError::Duplicate(id));
        }
        *column = build_column(spec, now, vol.vol_e9[usize::from(id)], params, &grid)?;
    }
    Ok(table)
}

/// Checks shocks and fees.
///
/// # Errors
/// [`TableError::Shocks`] or [`TableError::Fees`].
pub fn check_params(params: &RiskParams) -> Result<(), TableError> {
    let sound = |shocks: &[i32]| {
        shocks.iter().all(|s| (1 - PPM..=SHOCK_PPM_MAX).contains(s))
            && shocks.is_sorted_by(|a, b| a < b)
            && shocks.contains(&0)
    };
    if !sound(&params.price_shocks_ppm) {
        return Err(TableError::Shocks("price"));
    }
    if !sound(&params.vol_shocks_ppm) {
        return Err(TableError::Shocks("volatility"));
    }
    let (taker_ppm, maker_ppm) = (params.taker_fee_ppm, params.maker_fee_ppm);
    if !(0..=FEE_PPM_MAX).contains(&taker_ppm) || !(-taker_ppm..=FEE_PPM_MAX).contains(&maker_ppm) {
        return Err(TableError::Fees {
            taker_ppm,
            maker_ppm,
        });
    }
    Ok(())
}

impl IndexGrid {
    fn new(index_micro: i64, params: &RiskParams) -> Result<Self, TableError> {
        let forward = |shock_ppm: i32| {
            shocked_micro(index_micro, shock_ppm)
                .and_then(Forward::new)
                .map_err(|source| TableError::Index {
                    index_micro,
                    shock_ppm,
                    source,
                })
        };
        let base = forward(0)?;
        let mut shocked = [base; PRICE_SHOCKS];
        for (slot, &shock_ppm) in shocked.iter_mut().zip(&params.price_shocks_ppm) {
            *slot = forward(shock_ppm)?;
        }
        Ok(Self { base, shocked })
    }
}

/// `index * (1 + shock)`, to the nearest micro-unit, halves up.
fn shocked_micro(index_micro: i64, shock_ppm: i32) -> Result<i64, PricingError> {
    let ppm = i128::from(PPM);
    let moved = i128::from(index_micro) * (ppm + i128::from(shock_ppm));
    let rounded = (moved + ppm / 2).div_euclid(ppm);
    i64::try_from(rounded).map_err(|_| PricingError::Forward(i64::MAX))
}

/// How an instrument is valued in this epoch.
#[derive(Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Model {
    Index,
    Squared { scale_micro: i64 },
    Option(OptionModel),
    Everlasting(Everlasting),
}

impl Model {
    fn of(kind: &InstrumentKind, now: TimeNs, vol_e9: i64) -> Result<Self, PricingError> {
        let option = |right, terms: OptionTerms| {
            let tenor_ns = terms.expiry.0.saturating_sub(now.0);
            OptionModel::new(right, terms.strike_micro, vol_e9, tenor_ns).map(Self::Option)
        };
        let everlasting = |right, terms: EverlastingTerms| {
            Everlasting::new(right, terms.strike_micro, vol_e9, terms.period_ns)
                .map(Self::Everlasting)
        };
        match *kind {
            InstrumentKind::Perpetual | InstrumentKind::Future { .. } => Ok(Self::Index),
            InstrumentKind::Squared { scale_micro } => Ok(Self::Squared { scale_micro }),
            InstrumentKind::Call(terms) => option(Right::Call, terms),
            InstrumentKind::Put(terms) => option(Right::Put, terms),
            InstrumentKind::EverlastingCall(terms) => everlasting(Right::Call, terms),
            InstrumentKind::EverlastingPut(terms) => everlasting(Right::Put, terms),
        }
    }

    fn with_vol_shock(&self, shock_ppm: i32) -> Self {
        match self {
            Self::Index | Self::Squared { .. } => *self,
            Self::Option(option) => Self::Option(option.with_vol_shock(shock_ppm)),
            Self::Everlasting(option) => Self::Everlasting(option.with_vol_shock(shock_ppm)),
        }
    }

    fn price_micro(&self, forward: &Forward) -> i64 {
        match self {
            Self::Index => forward.micro(),
            Self::Squared { scale_micro } => squared_price_micro(forward, *scale_micro),
            Self::Option(option) => option.price_micro(forward),
            Self::Everlasting(option) => option.price_micro(forward),
        }
    }

    fn lot_delta_e9(&self, forward: &Forward, lot_e9: i64) -> i64 {
        match self {
            Self::Index => lot_e9,
            Self::Squared { scale_micro } => squared_lot_delta_e9(forward, *scale_micro, lot_e9),
            Self::Option(option) => option.lot_delta_e9(forward, lot_e9),
            Self::Everlasting(option) => option.lot_delta_e9(forward, lot_e9),
        }
    }
}

fn build_column(
    spec: &InstrumentSpec,
    now: TimeNs,
    vol_e9: i64,
    params: &RiskParams,
    grid: &IndexGrid,
) -> Result<Column, TableError> {
    let id = spec.id.0;
    let model =
        Model::of(&spec.kind, now, vol_e9).map_err(|source| TableError::Pricing { id, source })?;
    let value = |model: &Model, forward: &Forward, shock_ppm: i32| {
        let value_micro = spec.lot_value_micro(model.price_micro(forward));
        if value_micro > i128::from(LOT_VALUE_MICRO_MAX) {
            return Err(TableError::LotValue {
                id,
                value_micro,
                shock_ppm,
            });
        }
        Ok(value_micro as i64)
    };

    let mut column = Column::zeroed();
    column.mark_micro = value(&model, &grid.base, 0)?;
    for (v, &vol_shock) in params.vol_shocks_ppm.iter().enumerate() {
        let shocked_model = model.with_vol_shock(vol_shock);
        for (p, &price_shock) in params.price_shocks_ppm.iter().enumerate() {
            column.scenario_micro[scenario_index(v, p)] =
                value(&shocked_model, &grid.shocked[p], price_shock)?;
        }
    }
    column.delta_e9 = model.lot_delta_e9(&grid.base, spec.lot_e9);
    column.tick_value_micro = spec
        .tick_value_micro()
        .map_err(|source| TableError::Instrument { id, source })?;
    let tradable = spec.kind.expiry().is_none_or(|expiry| now < expiry);
    if tradable {
        let mark_micro = model.price_micro(&grid.base);
        (column.collar_lo_ticks, column.collar_width_ticks) =
            collar(spec, mark_micro, grid.base.micro());
    }
    Ok(column)
}

/// Lowest price and number of prices that may trade: mark (to the nearest tick) plus or minus the
/// half-width, cut to the book window. `(0, 0)` where the two do not meet.
fn collar(spec: &InstrumentSpec, mark_micro: i64, index_micro: i64) -> (i32, i32) {
    let tick = i128::from(spec.tick_micro);
    let half = match spec.collar {
        Collar::Ticks(ticks) => i64::from(ticks),
        Collar::PpmOfIndex(ppm) => {
            let micro_e6 = i128::from(index_micro) * i128::from(ppm);
            let per_tick = tick * i128::from(PPM);
            i64::try_from((micro_e6 + per_tick - 1) / per_tick).unwrap_or(i64::MAX)
        }
    };
    let half = half.clamp(1, COLLAR_HALF_TICKS_MAX);
    let mark_ticks = ((i128::from(mark_micro) + tick / 2) / tick) as i64;
    let base = i64::from(spec.book_base_ticks);
    let lo = (mark_ticks - half).max(base);
    let hi = (mark_ticks + half).min(base + i64::from(spec.book_width_ticks) - 1);
    if lo > hi {
        (0, 0)
    } else {
        (lo as i32, (hi - lo + 1) as i32)
    }
}
