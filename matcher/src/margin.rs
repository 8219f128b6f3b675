//! What open orders can lose: the arithmetic of the margin check, lane by lane.
//!
//! A lane is a scenario; lanes beyond the last scenario repeat it, so that whole vectors can be used and a
//! minimum over all lanes is one over all scenarios. Values of a lot fit 31 bits, so that a product with a
//! quantity is one 32-bit multiplication a lane.

use crate::accounts::Exposure;
use crate::table::RiskTable;
use alloc::boxed::Box;
use firmware::limits::{LOT_VALUE_MICRO_MAX, ORDER_LOTS_MAX, SCENARIOS};

/// Scenarios, rounded up to whole vectors.
pub(crate) const LANES: usize = SCENARIOS.next_multiple_of(4);

/// Prices of a lot from here on lie above every scenario value.
const FAR: i64 = LOT_VALUE_MICRO_MAX;

const _: () = assert!(LOT_VALUE_MICRO_MAX <= 1 << 30 && ORDER_LOTS_MAX < 1 << 31);

/// One amount per lane, micro-units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(32))]
pub(crate) struct Lanes(pub(crate) [i64; LANES]);

impl Lanes {
    pub(crate) const ZERO: Self = Self([0; LANES]);

    /// Of scenario amounts.
    pub(crate) fn of(scenarios: &[i64; SCENARIOS]) -> Self {
        Self(core::array::from_fn(|s| scenarios[s.min(SCENARIOS - 1)]))
    }

    /// The least of all lanes.
    #[inline]
    pub(crate) fn least(&self) -> i64 {
        self.0.iter().copied().fold(i64::MAX, i64::min)
    }

    /// Adds `lots` positions of a lot worth `values`.
    ///
    /// Positions and values are bounded so that the sum over all instruments fits (see `firmware::limits`).
    #[inline]
    pub(crate) fn hold(&mut self, lots: i32, values: &[i32; LANES]) {
        // Values are raised above zero, for an unsigned product is a single instruction everywhere; what
        // that adds is taken off again.
        let (size, flip) = (lots.unsigned_abs(), i64::from(lots >> 31));
        let raised = i64::from(lots) * FAR + flip;
        for (sum, value) in self.0.iter_mut().zip(values) {
            let product = u64::from(value.wrapping_add(FAR as i32) as u32) * u64::from(size);
            let worth = (product as i64 ^ flip).wrapping_sub(raised);
            *sum = sum.wrapping_add(worth);
        }
    }
}

/// One instrument of the table, laid out for the check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Value of a lot in each lane.
    pub(crate) values: [i32; LANES],
    /// The value that is worst for an order, by side: the least for a buy, the largest for a sale.
    extremes: [i64; 2],
    /// Value of a lot at the mark.
    pub(crate) mark_micro: i64,
    /// Funding of a long lot since the listing: all values here are less it.
    pub(crate) funding_micro: i64,
    tick_value_micro: i64,
}

/// The risk table, laid out for the check.
#[derive(Clone, Debug)]
pub(crate) struct Margin {
    columns: Box<[Column]>,
    /// Larger of the two fee rates.
    fee_ppm: i64,
}

/// What one lot of an order can lose in each lane: `max(sign x (base - value), 0)`, where `base` is what
/// the lot costs or brings, fee included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LotRisk<'a> {
    column: &'a Column,
    sign: i64,
    base: i64,
}

impl Margin {
    /// Of a domain that can list so many instruments; none is listed yet.
    pub(crate) fn new(instruments: usize) -> Self {
        let none = Column {
            values: [0; LANES],
            extremes: [0; 2],
            mark_micro: 0,
            funding_micro: 0,
            tick_value_micro: 0,
        };
        Self {
            columns: alloc::vec![none; instruments].into(),
            fee_ppm: 0,
        }
    }

    /// Takes over a table.
    ///
    /// # Panics
    /// When a lot is worth more than [`LOT_VALUE_MICRO_MAX`] in some scenario: such a table is never built.
    pub(crate) fn adopt(&mut self, table: &RiskTable) {
        self.fee_ppm = table.taker_fee_ppm.max(table.maker_fee_ppm).into();
        for (to, from) in self.columns.iter_mut().zip(&table.columns) {
            let funding_micro = from.funding_micro;
            let values = &from.scenario_micro.map(|v| v - funding_micro);
            let mark_micro = from.mark_micro - funding_micro;
            let (least, most) = values
                .iter()
                .fold((i64::MAX, i64::MIN), |(l, m), v| (l.min(*v), m.max(*v)));
            let bounded = |v: i64| (-LOT_VALUE_MICRO_MAX..=LOT_VALUE_MICRO_MAX).contains(&v);
            assert!(
                bounded(least) && bounded(most) && bounded(mark_micro),
                "a lot is worth {least} to {most} micro-units, beyond the bound"
            );
            *to = Column {
                values: Lanes::of(values).0.map(|v| v as i32),
                extremes: [least, most],
                mark_micro,
                funding_micro,
                tick_value_micro: from.tick_value_micro.into(),
            };
        }
    }

    #[inline]
    pub(crate) fn column(&self, instrument: usize) -> &Column {
        &self.columns[instrument]
    }

    /// The risk of one lot of an order. The fee is whole micro-units a lot, rounded up, so that partial
    /// fills never cost more than reserved.
    #[inline]
    pub(crate) fn lot(&self, e: Exposure) -> LotRisk<'_> {
        let column = &self.columns[e.instrument];
        let price = i64::from(e.price.0) * column.tick_value_micro;
        let fee = (price * self.fee_ppm + 999_999) / 1_000_000;
        let sign = e.side.sign();
        let base = price - column.funding_micro + sign * fee;
        // A sale at a price above every value loses in no scenario, however far above it is.
        let base = if sign < 0 { base.min(FAR) } else { base };
        LotRisk { column, sign, base }
    }
}

impl LotRisk<'_> {
    /// The most that the lot can lose in any lane.
    #[inline]
    pub(crate) fn most(&self) -> i64 {
        let side = usize::from(self.sign < 0);
        (self.sign * (self.base - self.column.extremes[side])).max(0)
    }

    /// What the lot loses in each lane; exact for any price.
    pub(crate) fn losses(&self) -> [i64; LANES] {
        let loss = |v: &i32| (self.sign * (self.base - i64::from(*v))).max(0);
        core::array::from_fn(|s| loss(&self.column.values[s]))
    }

    /// Takes what `lots` lots can lose off `sums`.
    #[inline]
    pub(crate) fn charge(&self, lots: i64, sums: &mut Lanes) {
        self.change::<false>(lots, sums);
    }

    /// Gives back what [`Self::charge`] took.
    #[inline]
    pub(crate) fn release(&self, lots: i64, sums: &mut Lanes) {
        self.change::<true>(lots, sums);
    }

    #[inline]
    fn change<const RELEASE: bool>(&self, lots: i64, sums: &mut Lanes) {
        // Below this bound no loss is beyond 31 bits; a sale at the far end wraps, and loses nothing anyway.
        if !(-FAR..FAR).contains(&(self.sign * self.base)) {
            return self.change_far::<RELEASE>(lots, sums);
        }
        let (base, narrow) = (self.base as i32, lots as u32);
        let flip = (self.sign >> 1) as i32;
        for (sum, value) in sums.0.iter_mut().zip(&self.column.values) {
            let loss = (base.wrapping_sub(*value) ^ flip).wrapping_sub(flip).max(0);
            // The bound on the account's equity, checked before an order is charged, keeps the sums in range.
            let all = (u64::from(loss as u32) * u64::from(narrow)) as i64;
            *sum = if RELEASE {
                sum.wrapping_add(all)
            } else {
                sum.wrapping_sub(all)
            };
        }
        // Looked at here and not before the loop: a compiler that knows the range of `lots` takes it for 64
        // bits again, and doubles the multiplications.
        assert!((0..=ORDER_LOTS_MAX).contains(&lots), "an order of {lots}");
    }

    /// A lot that costs more than 30 bits hold.
    #[cold]
    fn change_far<const RELEASE: bool>(&self, lots: i64, sums: &mut Lanes) {
        for (sum, loss) in sums.0.iter_mut().zip(self.losses()) {
            let all = lots * loss;
            *sum += if RELEASE { all } else { -all };
        }
    }
}
