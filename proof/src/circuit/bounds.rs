//! Why no sum wraps around the field: every width of the statement, added up at compile time.
//!
//! All identities hold modulo the field's prime, which is above 2^253. They say something about
//! integers only because no honest or dishonest witness that satisfies the range checks can bring a
//! sum near it, in any number of batches that will ever be.

use super::kinds::{LACK_BITS, POSITION_BITS};
use super::slots::REMAINDER_BITS;
use super::table::FEE_BITS;
use crate::native::LIQUIDATION_FEE_BITS;
use crate::state::{FUNDING_BITS, SCENARIO_BITS};
use crate::witness::PAID_BITS;
use firmware::limits::{
    AMOUNT_BITS, BATCH_ACCOUNTS, BATCH_DEPOSITS, BATCH_FILLS, BATCH_WITHDRAWALS, COLLAR_BITS,
    EQUITY_BITS, FILL_QTY_BITS, PRICE_BITS, TICK_VALUE_BITS, TIER_INSTRUMENTS,
};

/// The prime is above `2^FIELD_BITS`.
const FIELD_BITS: u32 = 253;
/// Batches that a state can go through: 2^48, a thousand a second for nine thousand years.
const LIFE_BITS: u32 = 48;

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
/// Change of a position in a batch, and a position ever.
const POSITION_EVER_BITS: u32 = FILL_QTY_BITS + bits(BATCH_FILLS) + 1 + LIFE_BITS;
/// Value of a lot less its funding, signed.
const NET_BITS: u32 = max(SCENARIO_BITS, FUNDING_BITS) + 1;
/// Worth of all positions of an account in one scenario, or what those in settled instruments are worth.
const HELD_BITS: u32 = POSITION_EVER_BITS + NET_BITS + bits(TIER_INSTRUMENTS);
/// Change of one account's cash in a batch, in pico-units (a micro-unit is below 2^20 of them).
const CASH_STEP_BITS: u32 = 2 + max(
    max(TURNOVER_BITS, HELD_BITS) + 20,
    max(max(FEES_BITS, PAID_BITS + 2), EXTERNAL_BITS + 20),
);
/// Cash of an account ever, and of all slots together.
const CASH_EVER_BITS: u32 = CASH_STEP_BITS + LIFE_BITS;
/// What an account lacks or has, in pico-units: cash and positions.
const LACK_EVER_BITS: u32 = max(CASH_EVER_BITS, HELD_BITS + 20) + 1;

const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

const _: () = assert!(COLLAR_BITS < PRICE_BITS, "lo + offset fits TICK_BITS");
// A negative number is no field element of so few bits.
const _: () = assert!(LACK_EVER_BITS + 1 < FIELD_BITS && LACK_BITS < FIELD_BITS - 1);
const _: () = assert!(POSITION_EVER_BITS + 1 < FIELD_BITS && POSITION_BITS < FIELD_BITS - 1);
const _: () = assert!(TURNOVER_BITS + LIQUIDATION_FEE_BITS + bits(BATCH_ACCOUNTS) <= LACK_BITS);
const _: () = assert!(CASH_EVER_BITS + bits(BATCH_ACCOUNTS) + 1 < FIELD_BITS);
// Rounding cash down by another remainder than the right one moves the quotient by a multiple of
// 1/10^6 modulo the prime, which is above 2^(FIELD_BITS - 20): out of the equity's range whatever
// the positions are worth.
const _: () =
    assert!(max(max(HELD_BITS, CASH_EVER_BITS), EQUITY_BITS) + 2 + REMAINDER_BITS < FIELD_BITS);
