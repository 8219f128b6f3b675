//! The risk table: one column an instrument, made outside the matching core from sequenced oracle
//! inputs and adopted at a sequenced point. The core, the circuit and the report read the same numbers.
//!
//! A table is as wide as the highest instrument that it prices, and never narrower than the circuit's
//! small tier: what is journaled and sealed grows with what is listed, not with what could be.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use bytemuck::{Pod, Zeroable};
use firmware::limits::{SCENARIOS, TIER_INSTRUMENTS};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// One instrument's column. Values are micro-units per lot, signed from the holder of one long lot.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Column {
    /// Value of one lot at the mark.
    pub mark_micro: i64,
    /// Value of one lot in each scenario (not the change): index `vol_shock * 9 + price_shock`.
    pub scenario_micro: [i64; SCENARIOS],
    /// Change of the value of one lot for one micro-unit of the index, scaled by 1e9 (delta of the lot).
    pub delta_e9: i64,
    /// Lowest price that may trade.
    pub collar_lo_ticks: i32,
    /// Number of prices that may trade: `lo <= price < lo + width`. Zero: nothing trades (not listed,
    /// expired, or the mark is outside the book window).
    pub collar_width_ticks: i32,
    /// Value of one tick for one lot. Zero: not listed.
    pub tick_value_micro: u32,
    /// 1: the instrument has expired. Its mark and all its scenarios are its settlement value, and it has no
    /// collar. Else 0.
    pub is_settled: u32,
    /// Funding of a long lot since it was listed, micro-units: a long pays when it rises.
    pub funding_micro: i64,
}

/// The table of one risk epoch. Its bytes are the body of its journal record.
#[derive(PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RiskTable {
    /// Rises by one with each table adopted.
    pub epoch: u64,
    /// The index (price of the underlying) that the table was made from, in micro-units.
    pub index_micro: i64,
    /// Fee that takers pay, in ppm of the notional; not negative.
    pub taker_fee_ppm: i32,
    /// Fee that makers pay, in ppm of the notional; negative is a rebate, never larger than the taker fee.
    pub maker_fee_ppm: i32,
    /// Most that a liquidated account pays to the fund, in ppm of the notional closed.
    pub liquidation_fee_ppm: u32,
    /// Written as zero.
    pub pad: u32,
    /// One column an instrument, at least [`TIER_INSTRUMENTS`].
    pub columns: [Column],
}

impl RiskTable {
    /// A table of zeros: nothing is listed.
    ///
    /// # Panics
    /// When memory runs out.
    #[must_use]
    pub fn zeroed(columns: usize) -> Box<Self> {
        Self::new_box_zeroed_with_elems(columns).expect("memory for a risk table")
    }

    /// Columns of a table that prices instruments up to `highest`.
    #[must_use]
    pub const fn width_for(highest: u16) -> usize {
        let columns = highest as usize + 1;
        if columns > TIER_INSTRUMENTS {
            columns
        } else {
            TIER_INSTRUMENTS
        }
    }

    /// Becomes what `other` is; columns that `other` lacks become zero.
    ///
    /// # Panics
    /// When `other` is wider.
    pub(crate) fn adopt(&mut self, other: &Self) {
        self.epoch = other.epoch;
        self.index_micro = other.index_micro;
        self.taker_fee_ppm = other.taker_fee_ppm;
        self.maker_fee_ppm = other.maker_fee_ppm;
        self.liquidation_fee_ppm = other.liquidation_fee_ppm;
        let (same, rest) = self.columns.split_at_mut(other.columns.len());
        same.copy_from_slice(&other.columns);
        rest.fill(Column::zeroed());
    }

    /// The same table with room for more instruments.
    #[must_use]
    pub fn widened(&self, columns: usize) -> Box<Self> {
        let mut wide = Self::zeroed(columns);
        wide.adopt(self);
        wide
    }

    /// The bytes of a table, as they are journaled.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// The bytes of a table, to be overwritten with those of another of its width.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.as_mut_bytes()
    }

    /// Reads the bytes of a table, which must be aligned to 8 bytes; `None` if they are not those of one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<&Self> {
        let table = Self::ref_from_bytes(bytes).ok()?;
        (table.columns.len() >= TIER_INSTRUMENTS).then_some(table)
    }
}

impl ToOwned for RiskTable {
    type Owned = Box<Self>;

    fn to_owned(&self) -> Box<Self> {
        self.widened(self.columns.len())
    }
}

impl Clone for Box<RiskTable> {
    fn clone(&self) -> Self {
        (**self).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_back_from_its_bytes_and_no_other_length_does() {
        let mut table = RiskTable::zeroed(40);
        (table.epoch, table.taker_fee_ppm) = (7, 5);
        table.columns[39].mark_micro = -1;
        let bytes = table.bytes();
        assert_eq!(bytes.len(), 32 + 40 * size_of::<Column>());
        assert_eq!(RiskTable::from_bytes(bytes), Some(&*table));
        assert_eq!(RiskTable::from_bytes(&bytes[..bytes.len() - 8]), None);
        let too_few = RiskTable::zeroed(TIER_INSTRUMENTS - 1);
        assert_eq!(RiskTable::from_bytes(too_few.bytes()), None);
    }

    #[test]
    fn a_narrow_table_clears_what_it_does_not_price() {
        let (mut wide, narrow) = (RiskTable::zeroed(30), RiskTable::zeroed(16));
        wide.columns[29].tick_value_micro = 1;
        wide.adopt(&narrow);
        assert_eq!(wide, RiskTable::zeroed(30));
    }
}
