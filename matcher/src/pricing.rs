//! Black-76 in integers: price and Greeks of European options on a forward, undiscounted.
//!
//! One specification for the matching box and for a circuit: tables of small integers (`tables.rs`),
//! polynomials evaluated without any rounding, one rounding at the end of a price. No float enters.
//! Units, roundings, errors and sources: `matcher/RISK.md`.

mod fixed;
mod tables;

use crate::instrument::INDEX_MICRO_MAX;
use fixed::{EXACT_BITS, LOG_BITS, PHI_BITS, cdf_odd, div_round, ln_q, phi_q, shift_round};

/// Largest volatility: 1000 % a year.
pub const VOL_E9_MAX: i64 = 10 * E9 as i64;
/// Longest time to expiry: ten years of 365 days.
pub const TENOR_NS_MAX: u64 = 10 * YEAR_NS;

/// Maturities of the basket that stands for an everlasting option.
pub const EVERLASTING_TERMS: usize = 8;
/// Longest funding period of an everlasting option: its last maturity is within [`TENOR_NS_MAX`].
pub const PERIOD_NS_MAX: u64 = TENOR_NS_MAX / EVERLASTING_TERMS as u64;

/// The year of the formula: 365 days.
const YEAR_NS: u64 = 365 * DAY_NS;
const DAY_NS: u64 = 86_400_000_000_000;
const E9: i128 = 1_000_000_000;
const PPM: i128 = 1_000_000;
/// sqrt(year in ns) x 1e9.
const SQRT_YEAR_E9: i128 = (YEAR_NS as u128 * 1_000_000_000_000_000_000).isqrt() as i128;
/// Fraction bits of d1, d2 and sigma*sqrt(T) in a price. Coarse on purpose: with them the price is an
/// exact polynomial in an `i128`, and the price is insensitive to d1 in first order.
const PRICE_D_BITS: u32 = 20;
/// Fraction bits of d1 in a Greek, where it matters in first order.
const GREEK_D_BITS: u32 = 32;
/// Any |d| from here on counts as infinite: N(d) is 0 or 1, and its density 0.
const D_SATURATION: i64 = 8;
/// Fraction bits of the N(d1) that becomes a delta.
const DELTA_BITS: u32 = 60;

// F * N(d1) and K * N(d2), with every fraction bit of the polynomial, fit an i128.
const _: () = assert!(INDEX_MICRO_MAX.ilog2() + EXACT_BITS + 3 * (PRICE_D_BITS - 3) < 126);

/// Why a price cannot be formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PricingError {
    /// Forward outside `1..=INDEX_MICRO_MAX`.
    #[error("forward of {0} micro-units is not in 1..={INDEX_MICRO_MAX}")]
    Forward(i64),
    /// Strike outside `1..=INDEX_MICRO_MAX`.
    #[error("strike of {0} micro-units is not in 1..={INDEX_MICRO_MAX}")]
    Strike(i64),
    /// Volatility outside `1..=VOL_E9_MAX`.
    #[error("volatility of {0}e-9 a year is not in 1..={VOL_E9_MAX}")]
    Vol(i64),
    /// Expiry too far away.
    #[error("expiry is {0} ns away, beyond {TENOR_NS_MAX}")]
    Tenor(u64),
}

/// Which right an option gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// To buy at the strike.
    Call,
    /// To sell at the strike.
    Put,
}

/// A forward with its logarithm, which all options on it share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forward {
    micro: i64,
    ln: i64,
}

impl Forward {
    /// A forward of `micro` micro-units per unit of underlying.
    ///
    /// # Errors
    /// [`PricingError::Forward`].
    pub fn new(micro: i64) -> Result<Self, PricingError> {
        if !(1..=INDEX_MICRO_MAX).contains(&micro) {
            return Err(PricingError::Forward(micro));
        }
        Ok(Self {
            micro,
            ln: ln_q(micro as u64),
        })
    }

    /// Micro-units per unit of underlying.
    #[must_use]
    pub const fn micro(&self) -> i64 {
        self.micro
    }
}

/// Sensitivities of the price of an option on one unit of underlying.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Greeks {
    /// Change of the price for one micro-unit of the forward, x 1e9: -1e9 to 1e9.
    pub delta_e9: i64,
    /// Change of the delta for a relative move of the forward, x 1e9: forward x gamma. For a move of
    /// 1 % the delta changes by a hundredth of it. Saturates at `i64::MAX` like theta.
    pub gamma_relative_e9: i64,
    /// Change of the price in micro-units for a whole (100 points) of volatility.
    pub vega_micro: i64,
    /// Change of the price in micro-units for a day that passes, at the present rate; not positive.
    /// Saturates at `i64::MIN` in the last moments of an option at the money.
    pub theta_micro_per_day: i64,
}

/// A European option with its volatility and time to expiry, ready to be priced at any forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionModel {
    right: Right,
    strike_micro: i64,
    ln_strike: i64,
    vol_e9: i64,
    tenor_ns: u64,
    /// sigma * sqrt(T) with LOG_BITS fraction bits. 0: the option is worth its intrinsic value.
    deviation: i64,
}

impl OptionModel {
    /// An option that expires in `tenor_ns`; with 0 it is worth its intrinsic value.
    ///
    /// # Errors
    /// [`PricingError`]: strike, volatility or tenor out of bounds.
    pub fn new(
        right: Right,
        strike_micro: i64,
        vol_e9: i64,
        tenor_ns: u64,
    ) -> Result<Self, PricingError> {
        if !(1..=INDEX_MICRO_MAX).contains(&strike_micro) {
            return Err(PricingError::Strike(strike_micro));
        }
        if !(1..=VOL_E9_MAX).contains(&vol_e9) {
            return Err(PricingError::Vol(vol_e9));
        }
        if tenor_ns > TENOR_NS_MAX {
            return Err(PricingError::Tenor(tenor_ns));
        }
        Ok(Self {
            right,
            strike_micro,
            ln_strike: ln_q(strike_micro as u64),
            vol_e9,
            tenor_ns,
            deviation: deviation_q(vol_e9, tenor_ns),
        })
    }

    /// The same option with its volatility moved by `shock_ppm` of itself (above -100 %).
    #[must_use]
    pub fn with_vol_shock(&self, shock_ppm: i32) -> Self {
        let whole = PPM + i128::from(shock_ppm);
        assert!(whole > 0, "a volatility cannot fall by 100 %");
        let moved = |x: i64| div_round(i128::from(x) * whole, PPM) as i64;
        Self {
            vol_e9: moved(self.vol_e9).max(1),
            deviation: moved(self.deviation),
            ..*self
        }
    }

    /// Price of the option on one unit of underlying, in micro-units, to the nearest, halves up.
    ///
    /// call - put = forward - strike, exactly. The call is in `max(0, F - K)..=F`, the put in
    /// `max(0, K - F)..=K`. Where sigma*sqrt(T) rounds to 0 on a grid of 2^-20: intrinsic value.
    #[must_use]
    pub fn price_micro(&self, forward: &Forward) -> i64 {
        let (f, k) = (forward.micro, self.strike_micro);
        let intrinsic = (f - k).max(0);
        let v = shift_round(i128::from(self.deviation), LOG_BITS - PRICE_D_BITS) as i64;
        let call = if v == 0 {
            intrinsic
        } else {
            let d1 = d1_q(forward.ln - self.ln_strike, v, PRICE_D_BITS, PRICE_D_BITS);
            let bits = EXACT_BITS + 3 * (PRICE_D_BITS - 3);
            let half = 1i128 << (bits - 1);
            let n1 = half + cdf_odd(d1, PRICE_D_BITS);
            let n2 = half + cdf_odd(d1 - v, PRICE_D_BITS);
            let exact = i128::from(f) * n1 - i128::from(k) * n2;
            (shift_round(exact, bits) as i64).clamp(intrinsic, f)
        };
        match self.right {
            Right::Call => call,
            Right::Put => call - (f - k),
        }
    }

    /// Delta of a lot of `lot_e9` units x 1e9: change of the value of the lot for one micro-unit of
    /// the forward, x 1e9, to the nearest, halves up.
    #[must_use]
    pub fn lot_delta_e9(&self, forward: &Forward, lot_e9: i64) -> i64 {
        shift_round(
            i128::from(self.delta_q(forward)) * i128::from(lot_e9),
            DELTA_BITS,
        ) as i64
    }

    /// All sensitivities at `forward`, each to the nearest unit.
    #[must_use]
    pub fn greeks(&self, forward: &Forward) -> Greeks {
        let delta_e9 = self.lot_delta_e9(forward, E9 as i64);
        let v = i128::from(self.deviation);
        if v == 0 {
            return Greeks {
                delta_e9,
                ..Greeks::default()
            };
        }
        let phi = i128::from(phi_q(self.greek_d1(forward), GREEK_D_BITS));
        // Vega = F phi sqrt(T) and theta = -F phi sigma / (2 sqrt(T)) both come from F phi v.
        let spread = shift_round(i128::from(forward.micro) * phi, PHI_BITS - 16);
        let spread = shift_round(spread * v, LOG_BITS);
        let theta = -div_round(spread * i128::from(DAY_NS), i128::from(self.tenor_ns) << 17);
        Greeks {
            delta_e9,
            gamma_relative_e9: saturate(div_round((phi * E9) << (LOG_BITS - PHI_BITS), v)),
            vega_micro: div_round(spread * E9, i128::from(self.vol_e9) << 16) as i64,
            theta_micro_per_day: saturate(theta),
        }
    }

    /// N(d1) for a call, N(d1) - 1 for a put, with DELTA_BITS fraction bits.
    fn delta_q(&self, forward: &Forward) -> i64 {
        let bits = EXACT_BITS + 3 * (GREEK_D_BITS - 3);
        let odd = cdf_odd(self.greek_d1(forward), GREEK_D_BITS);
        let odd = shift_round(odd, bits - DELTA_BITS) as i64;
        let half = 1i64 << (DELTA_BITS - 1);
        match self.right {
            Right::Call => half + odd,
            Right::Put => odd - half,
        }
    }

    fn greek_d1(&self, forward: &Forward) -> i64 {
        let x = forward.ln - self.ln_strike;
        if self.deviation == 0 {
            return x.signum() * (D_SATURATION << GREEK_D_BITS);
        }
        d1_q(x, self.deviation, LOG_BITS, GREEK_D_BITS)
    }
}

/// An option without an expiry, whose holder pays `mark - payoff` at the end of each funding period: worth a
/// basket of options that expire after one period, two, and so on, of weights 1/2, 1/4, 1/8 ... (D. White and
/// S. Bankman-Fried, "Everlasting Options", Paradigm, 2021). The basket ends with the eighth, which has the
/// weight of all that would follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Everlasting {
    basket: [OptionModel; EVERLASTING_TERMS],
}

impl Everlasting {
    /// The option with this funding period.
    ///
    /// # Errors
    /// [`PricingError`]: strike, volatility or the last maturity out of bounds.
    pub fn new(
        right: Right,
        strike_micro: i64,
        vol_e9: i64,
        period_ns: u64,
    ) -> Result<Self, PricingError> {
        let last = period_ns.saturating_mul(EVERLASTING_TERMS as u64);
        let mut basket = [OptionModel::new(right, strike_micro, vol_e9, last)?; EVERLASTING_TERMS];
        for (i, option) in basket.iter_mut().enumerate() {
            *option = OptionModel::new(right, strike_micro, vol_e9, period_ns * (i as u64 + 1))?;
        }
        Ok(Self { basket })
    }

    /// The same option with its volatility moved by `shock_ppm` of itself (above -100 %).
    #[must_use]
    pub fn with_vol_shock(&self, shock_ppm: i32) -> Self {
        let basket = self.basket.map(|option| option.with_vol_shock(shock_ppm));
        Self { basket }
    }

    /// Price of the option on one unit of underlying, in micro-units, to the nearest, halves up; each option of
    /// the basket is rounded as [`OptionModel::price_micro`] says. call - put = forward - strike, exactly.
    #[must_use]
    pub fn price_micro(&self, forward: &Forward) -> i64 {
        self.weighted(|option| option.price_micro(forward))
    }

    /// Delta of a lot of `lot_e9` units x 1e9, rounded in the same way.
    #[must_use]
    pub fn lot_delta_e9(&self, forward: &Forward, lot_e9: i64) -> i64 {
        self.weighted(|option| option.lot_delta_e9(forward, lot_e9))
    }

    fn weighted(&self, value: impl Fn(&OptionModel) -> i64) -> i64 {
        const BITS: u32 = EVERLASTING_TERMS as u32 - 1;
        let shares = self.basket.iter().enumerate().map(|(i, option)| {
            // 2^BITS shares in all: the last two options have one each.
            let share = BITS.saturating_sub(i as u32 + 1);
            i128::from(value(option)) << share
        });
        shift_round(shares.sum(), BITS) as i64
    }
}

/// Price of one unit of a power perpetual: `forward^2 / scale`, in micro-units, to the nearest, halves up. What is
/// beyond an `i64` stops at its end, which no lot may be worth.
#[must_use]
pub fn squared_price_micro(forward: &Forward, scale_micro: i64) -> i64 {
    let f = i128::from(forward.micro);
    saturate(div_round(f * f, i128::from(scale_micro)))
}

/// Delta of a lot of a power perpetual of `lot_e9` units x 1e9: `2 * forward / scale`, to the nearest.
#[must_use]
pub fn squared_lot_delta_e9(forward: &Forward, scale_micro: i64, lot_e9: i64) -> i64 {
    let slope = 2 * i128::from(forward.micro) * i128::from(lot_e9);
    saturate(div_round(slope, i128::from(scale_micro)))
}

/// `x`, or the end of the range of an `i64` beyond which it lies.
fn saturate(x: i128) -> i64 {
    x.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// d1 = x / v + v / 2 with `d_bits` fraction bits, cut off beyond plus or minus [`D_SATURATION`]
/// and half a deviation. `x` has `LOG_BITS` fraction bits, `v` has `v_bits` and is positive.
fn d1_q(x: i64, v: i64, v_bits: u32, d_bits: u32) -> i64 {
    let ratio = div_round(
        i128::from(x) << d_bits,
        i128::from(v) << (LOG_BITS - v_bits),
    );
    let half_v = shift_round(i128::from(v), 1 + v_bits - d_bits) as i64;
    // Where the ratio is cut, both d1 and d2 = d1 - v saturate or the price is F or 0 anyway.
    let limit = i128::from(half_v) + i128::from(D_SATURATION << d_bits);
    ratio.clamp(-limit, limit) as i64 + half_v
}

/// Natural logarithm of `n >= 1` with 48 fraction bits.
pub(crate) fn ln_q48(n: u64) -> i64 {
    const { assert!(LOG_BITS == 48) };
    ln_q(n)
}

/// sigma * sqrt(T / year) with LOG_BITS fraction bits, to the nearest.
fn deviation_q(vol_e9: i64, tenor_ns: u64) -> i64 {
    // sqrt(ns) with 32 fraction bits; a nanosecond is the unit, so nothing is lost that matters.
    let root = (u128::from(tenor_ns) << 64).isqrt() as i128;
    div_round((i128::from(vol_e9) * root) << (LOG_BITS - 32), SQRT_YEAR_E9) as i64
}
