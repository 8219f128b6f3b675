//! Rows of the RTL's tables: sixteen words of 32 bits, written to the row registers before the command.

use firmware::gate::{GateInstrument, Rates};
use firmware::tag::Suite;
use firmware::units::TimeNs;

/// A row.
pub type Row = [u32; 16];

/// What a session's row is made of.
#[derive(Clone, Copy, Debug)]
pub struct SessionRow {
    /// Name of the keys; its low bits are the row's place.
    pub conn_id: u32,
    /// Member.
    pub member: u32,
    /// How datagrams are tagged.
    pub suite: Suite,
    /// Key of a SipHash tag.
    pub key: [u8; 16],
    /// The member's rates; none: the gate does not know the member.
    pub rates: Option<Rates>,
    /// The member may ask for nothing.
    pub is_read_only: bool,
    /// The next request number.
    pub expected: u64,
    /// Highest id that an order was given.
    pub last_cl_ord_id: u64,
}

/// Credit of a full bucket, ns.
const FULL_NS: u32 = 1_000_000_000;
/// A cost that no bucket can pay.
const NEVER: u32 = 0x7fff_ffff;

const fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

impl SessionRow {
    /// As words, with a new window, a full bucket, and not held.
    #[must_use]
    pub fn words(&self) -> Row {
        let mut row = [0; 16];
        row[0] = self.conn_id;
        row[1] = self.member;
        row[2] = 1
            | (self.suite as u32) << 1
            | u32::from(self.rates.is_some()) << 4
            | u32::from(self.is_read_only) << 5;
        row[3] = match self.rates.map_or(0, |r| r.requests_per_second) {
            0 => NEVER,
            per_second => FULL_NS.div_ceil(per_second),
        };
        row[4..8].copy_from_slice(&bytemuck::cast::<_, [u32; 4]>(self.key));
        row[8..10].copy_from_slice(&halves(self.expected));
        row[10..12].copy_from_slice(&halves(self.last_cl_ord_id));
        row[12] = FULL_NS;
        row[13..15].copy_from_slice(&halves(TimeNs(0).0));
        row
    }
}

/// The words that let a held connection go: its next request number and highest id. Window and bucket stay.
#[must_use]
pub fn flow_words(expected: u64, last_cl_ord_id: u64) -> Row {
    let mut row = [0; 16];
    row[8..10].copy_from_slice(&halves(expected));
    row[10..12].copy_from_slice(&halves(last_cl_ord_id));
    row
}

/// How a multiple of `step` is known without a division.
#[derive(Clone, Copy, Debug)]
struct Divisor {
    inverse: u64,
    quotient_max: i64,
    shift: u32,
    is_one: bool,
}

impl Divisor {
    /// `step` is positive.
    fn of(step: i64) -> Self {
        let shift = step.trailing_zeros();
        let odd = (step >> shift) as u64;
        // Newton's iteration doubles the bits that are right, from three on.
        let mut inverse = odd;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        }
        Self {
            inverse,
            quotient_max: i64::MAX / odd as i64,
            shift,
            is_one: odd == 1,
        }
    }
}

/// An instrument's row; none if the RTL cannot hold the instrument: a step or a price of its band beyond 64 bits, no
/// band, or orders of 2^32 lots.
#[must_use]
pub fn instrument_words(i: &GateInstrument) -> Option<Row> {
    if i.tick_e9 < 1 || i.width_ticks < 1 {
        return None;
    }
    let tick = Divisor::of(i.tick_e9);
    let has_coarse = i.tick2_multiple > 1;
    let coarse = match has_coarse {
        true => Divisor::of(i.tick_e9.checked_mul(i64::from(i.tick2_multiple))?),
        false => tick,
    };
    let price = |ticks: i64| ticks.checked_mul(i.tick_e9);
    let base = i64::from(i.base.0);
    let lots_max = u32::try_from(i.order_lots_max).ok()?;
    let mut row = [0; 16];
    let wide = [
        tick.inverse,
        tick.quotient_max as u64,
        coarse.inverse,
        coarse.quotient_max as u64,
        price(i64::from(i.tick2_from.0))? as u64,
        price(base)? as u64,
        price(base + i64::from(i.width_ticks) - 1)? as u64,
    ];
    for (at, value) in wide.into_iter().enumerate() {
        row[2 * at..2 * at + 2].copy_from_slice(&halves(value));
    }
    row[14] = lots_max;
    row[15] = tick.shift
        | coarse.shift << 6
        | 1 << 12
        | u32::from(has_coarse) << 13
        | u32::from(tick.is_one) << 14
        | u32::from(coarse.is_one) << 15;
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    #[test]
    fn the_product_with_the_inverse_knows_every_multiple() {
        let mut prng = Prng::new(1);
        let steps = [
            1,
            2,
            3,
            5,
            7,
            10,
            1 << 20,
            250_000_000,
            999_999_937,
            i64::MAX,
            1 << 62,
        ];
        for step in steps {
            let d = Divisor::of(step);
            let mut prices = vec![0, 1, -1, step, -step, i64::MIN, i64::MAX, i64::MIN + 1];
            prices.extend((0..2_000).map(|_| prng.any() as i64));
            prices.extend((0..2_000).map(|_| (prng.any() as i64 / step).wrapping_mul(step)));
            for price in prices {
                let q = (price as u64).wrapping_mul(d.inverse) as i64;
                let low = price & !(-1i64 << d.shift);
                let says = low == 0 && (d.is_one || (q <= d.quotient_max && q >= -d.quotient_max));
                assert_eq!(says, price % step == 0, "{price} by {step}");
                if says {
                    assert_eq!(q >> d.shift, price / step, "{price} by {step}");
                }
            }
        }
    }
}
