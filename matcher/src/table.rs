//! The risk table: one column an instrument, made outside the matching core from sequenced oracle
//! inputs and adopted at a sequenced point. The core, the circuit and the report read the same numbers.

use bytemuck::{Pod, Zeroable};
use firmware::limits::{INSTRUMENTS, SCENARIOS};

/// One instrument's column. Values are micro-units per lot, signed from the holder of one long lot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
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
    /// Written as zero.
    pub pad: u32,
}

/// The table of one risk epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
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
    /// One column an instrument.
    pub columns: [Column; INSTRUMENTS],
}
