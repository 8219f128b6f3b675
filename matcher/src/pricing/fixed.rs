//! The elementary functions of the pricing rule, in fixed point, over the tables.

use super::tables::{
    CDF_CUBICS, EXP2_Q40, INV_SQRT_2PI_Q40, LN_Q48, LN_RECIPROCAL_Q16, LN2_Q48, LOG2E_Q40,
};

/// Fraction bits of logarithms and of sigma*sqrt(T).
pub(super) const LOG_BITS: u32 = 48;
/// Fraction bits of the coefficients of N.
pub(super) const EXACT_BITS: u32 = 30;
/// Fraction bits of the density.
pub(super) const PHI_BITS: u32 = 40;

/// `x / 2^bits` to the nearest, halves up.
pub(super) const fn shift_round(x: i128, bits: u32) -> i128 {
    if bits == 0 {
        x
    } else {
        (x + (1 << (bits - 1))) >> bits
    }
}

/// `x / by` to the nearest, halves up; `by` is positive.
pub(super) const fn div_round(x: i128, by: i128) -> i128 {
    (x + by / 2).div_euclid(by)
}

/// Product of two numbers with `bits` fraction bits, rounded down.
const fn mul(a: i64, b: i64, bits: u32) -> i64 {
    ((a as i128 * b as i128) >> bits) as i64
}

/// Natural logarithm of `n >= 1`, with LOG_BITS fraction bits; error below 2^-42.
///
/// n = 2^e * m with m in [1, 2); a table of 64 reciprocals r brings m * r to 1 + t with |t| < 2^-6.9;
/// then ln n = e ln 2 - ln r + (t - t^2/2 + t^3/3 - ...) up to t^6.
pub(super) fn ln_q(n: u64) -> i64 {
    assert!(n > 0, "no logarithm of zero");
    const T: u32 = 60;
    let exponent = n.ilog2();
    let m = n << (63 - exponent);
    let piece = ((m >> 57) & 63) as usize;
    let product = u128::from(m) * u128::from(LN_RECIPROCAL_Q16[piece]);
    let t = (product >> (63 + 16 - T)) as i64 - (1 << T);
    const ONE: i64 = 1 << T;
    let mut series = ONE / 6;
    for k in (1..=5).rev() {
        series = ONE / k - mul(series, t, T);
    }
    let ln_m = LN_Q48[piece] + shift_round(i128::from(mul(series, t, T)), T - LOG_BITS) as i64;
    i64::from(exponent) * LN2_Q48 + ln_m
}

/// N(x) - 1/2, exactly as the table's cubics give it: odd in x, continuous, never falling.
///
/// `x` has `bits` fraction bits; the result has `EXACT_BITS + 3 * (bits - 3)`, which is what the
/// cubic of a piece of width 1/8 needs to be evaluated without any rounding. |x| >= 8 gives 1/2.
pub(super) fn cdf_odd(x: i64, bits: u32) -> i128 {
    let t_bits = bits - 3;
    let magnitude = x.unsigned_abs();
    let piece = (magnitude >> t_bits) as usize;
    let odd = match CDF_CUBICS.get(piece) {
        None => 1 << (EXACT_BITS - 1 + 3 * t_bits),
        Some(&[c0, c1, c2, c3]) => {
            let t = (magnitude & ((1 << t_bits) - 1)) as i128;
            // |c| < 2^30 and t < 2^t_bits, so every step is below 2^(31 + 3 * 29) = 2^118.
            let h = i128::from(c3) * t + (i128::from(c2) << t_bits);
            let h = h * t + (i128::from(c1) << (2 * t_bits));
            h * t + (i128::from(c0) << (3 * t_bits))
        }
    };
    if x < 0 { -odd } else { odd }
}

/// Density of the standard normal distribution, exp(-x^2/2) / sqrt(2 pi), with PHI_BITS fraction
/// bits; `x` has `bits`. Error below 2^-37; |x| >= 8 gives 0.
pub(super) fn phi_q(x: i64, bits: u32) -> i64 {
    let x = i128::from(x.unsigned_abs());
    if x >= 8 << bits {
        return 0;
    }
    let y = (x * x) >> (2 * bits + 1 - PHI_BITS);
    mul(exp_neg_q(y as i64), INV_SQRT_2PI_Q40, PHI_BITS)
}

/// exp(-y) for `y >= 0`, both with PHI_BITS fraction bits.
///
/// y = (k + j/64) ln 2 + u with 0 <= u < 0.011; exp(-y) = 2^-k * 2^(-j/64) * (1 - u + ... + u^4/24).
fn exp_neg_q(y: i64) -> i64 {
    const B: u32 = PHI_BITS;
    const ONE: i64 = 1 << B;
    let in_octaves = mul(y, LOG2E_Q40, B);
    let (k, fraction) = (in_octaves >> B, in_octaves & (ONE - 1));
    if k >= i64::from(B) {
        return 0;
    }
    let piece = (fraction >> (B - 6)) as usize;
    let u = mul(
        fraction & ((1 << (B - 6)) - 1),
        LN2_Q48 >> (LOG_BITS - B),
        B,
    );
    let mut series = ONE;
    for n in (1..=4).rev() {
        series = ONE - mul(series, u, B) / n;
    }
    mul(EXP2_Q40[piece], series, B) >> k
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "the twin is in floats")]
mod tests {
    use super::*;

    /// The largest error of `f` against `twin` over `points`, in units of `2^-bits`.
    fn worst(
        points: impl Iterator<Item = i64>,
        bits: u32,
        f: impl Fn(i64) -> i64,
        twin: impl Fn(i64) -> f64,
    ) -> f64 {
        let unit = (1i64 << bits) as f64;
        points
            .map(|x| (f(x) as f64 - twin(x) * unit).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn the_logarithm_is_right_to_42_bits() {
        let near_powers = (0..62).flat_map(|bit| [(1i64 << bit), (1 << bit) + 1, (2 << bit) - 1]);
        let spread = (0..200_000).map(|i: i64| 1 + i * i * i % (1 << 45));
        let error = worst(
            near_powers.chain(spread),
            LOG_BITS,
            |n| ln_q(n as u64),
            |n| (n as f64).ln(),
        );
        // Up to 62 times the rounding of ln 2, and the float's own error.
        assert!(error < 40.0, "{error}");
    }

    #[test]
    fn the_density_is_right_to_37_bits() {
        let error = worst(
            (-40_000..40_000).map(|i| i << 20),
            PHI_BITS,
            |x| phi_q(x, 32),
            |x| {
                let x = x as f64 / 2f64.powi(32);
                (-x * x / 2.0).exp() / core::f64::consts::TAU.sqrt()
            },
        );
        assert!(error < 8.0, "{error}");
        assert_eq!((phi_q(8 << 20, 20), phi_q(-(8 << 20), 20)), (0, 0));
    }

    #[test]
    fn the_distribution_is_odd_and_the_same_on_every_grid() {
        for x in -(9 << 10)..9 << 10 {
            let coarse = cdf_odd(x, 10);
            assert_eq!(coarse, -cdf_odd(-x, 10));
            assert_eq!(coarse << 30, cdf_odd(x << 10, 20));
            assert_eq!(coarse << 66, cdf_odd(x << 22, 32));
        }
    }

    #[test]
    fn roundings_are_to_the_nearest_with_halves_up() {
        assert_eq!(
            [-6, -5, -3, -2, 2, 3, 5, 6].map(|x| shift_round(x, 2)),
            [-1, -1, -1, 0, 1, 1, 1, 2]
        );
        assert_eq!(
            [-6, -5, -3, -2, 2, 3, 5, 6].map(|x| div_round(x, 4)),
            [-1, -1, -1, 0, 1, 1, 1, 2]
        );
        assert_eq!([-2, -1, 1, 2].map(|x| div_round(x, 3)), [-1, 0, 0, 1]);
    }
}
