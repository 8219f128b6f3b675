//! Why no sum wraps around the field: every width of the statement, added up at compile time.
//!
//! All identities hold modulo the field's prime, which is above 2^253. They say something about
//! integers only because no honest or dishonest witness that satisfies the range checks can bring a
//! sum near it, in any number of batches that will ever be.

use super::slots::REMAINDER_BITS;
use super::table::FEE_BITS;
use crate::state::SCENARIO_BITS;
use firmware::limits::{
    AMOUNT_BITS, BATCH_ACCOUNTS, BATCH_DEPOSITS, BATCH_FILLS, BATCH_WITHDRAWALS, COLLAR_BITS,
    EQUITY_BITS, FILL_QTY_BITS, PRICE_BITS, TICK_VALUE_BITS, TIER_INSTRUMENTS,
};

/// The prime is above `2^FIELD_BITS`.
const FIELD_BITS: u32 = 253;
/// Batches that a state can go through: 2^64, more than a batch number counts.
const LIFE_BITS: u32 = 64;

const fn bits(count: usize) -> u32 {
    usize::BITS - (count - 1).leading_zeros()
}

/// Price of a fill: `lo + offset`.
const TICK_BITS: u32 = PRICE_BITS + 1;
/// Notional of one fill row, in micro-units.
const NOTIONAL_BITS: u32 = FILL_QTY_BITS + TICK_BITS + TICK_VALUE_BITS;
/// Sum of the notionals of a batch, both legs.
const TURNOVER_BITS: u32 = NOTIONAL_BITS + bits(2 * BATCH_FILLS);
/// Fees of a batch, in pico-units; the maker's rate is a difference of two ranges.
const FEES_BITS: u32 = TURNOVER_BITS + FEE_BITS + 2;
/// Deposits or withdrawals of a batch, in micro-units.
const EXTERNAL_BITS: u32 = AMOUNT_BITS + bits(BATCH_DEPOSITS + BATCH_WITHDRAWALS);
/// Change of one account's cash in a batch, in pico-units (a micro-unit is below 2^20 of them).
const CASH_STEP_BITS: u32 = 1 + max(TURNOVER_BITS + 20, max(FEES_BITS, EXTERNAL_BITS + 20));
/// Cash of an account ever, and of all slots together.
const CASH_EVER_BITS: u32 = CASH_STEP_BITS + LIFE_BITS;
/// Change of a position in a batch, and a position ever.
const POSITION_EVER_BITS: u32 = FILL_QTY_BITS + bits(BATCH_FILLS) + 1 + LIFE_BITS;
/// Worth of all positions of an account in one scenario.
const HELD_BITS: u32 = POSITION_EVER_BITS + SCENARIO_BITS + bits(TIER_INSTRUMENTS);

const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

const _: () = assert!(COLLAR_BITS < PRICE_BITS, "lo + offset fits TICK_BITS");
const _: () = assert!(CASH_EVER_BITS + bits(BATCH_ACCOUNTS) + 1 < FIELD_BITS);
// Rounding cash down by another remainder than the right one moves the quotient by a multiple of
// 1/10^6 modulo the prime, which is above 2^(FIELD_BITS - 20): out of the equity's range whatever
// the positions are worth.
const _: () =
    assert!(max(max(HELD_BITS, CASH_EVER_BITS), EQUITY_BITS) + 2 + REMAINDER_BITS < FIELD_BITS);
