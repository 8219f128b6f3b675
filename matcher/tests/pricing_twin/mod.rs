//! Black-76 in floats: the plain twin of the integer pricing.
#![allow(dead_code, reason = "each test file uses its part")]

use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

/// Nanoseconds in a year of 365 days.
pub(crate) const YEAR_NS: f64 = 365.0 * 86_400.0 * 1e9;

/// Error function for `0 <= x <= 2`: the series of positive terms, DLMF 7.6.2.
fn erf_series(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term > sum * 1e-17 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// Complementary error function for `x >= 2`: the continued fraction of DLMF 7.9.1, from the tail.
fn erfc_fraction(x: f64) -> f64 {
    let mut tail = x;
    for n in (1..=200).rev() {
        tail = x + f64::from(n) / 2.0 / tail;
    }
    (-x * x).exp() / (PI.sqrt() * tail)
}

/// Distribution function of the standard normal distribution, error about 1e-16.
pub(crate) fn cdf(x: f64) -> f64 {
    let z = x.abs() / SQRT_2;
    let upper = if z < 2.0 {
        (1.0 - erf_series(z)) / 2.0
    } else {
        erfc_fraction(z) / 2.0
    };
    if x < 0.0 { upper } else { 1.0 - upper }
}

/// cdf(x) - 1/2 without cancellation near 0.
pub(crate) fn cdf_odd(x: f64) -> f64 {
    let z = x.abs() / SQRT_2;
    let odd = if z < 2.0 {
        erf_series(z) / 2.0
    } else {
        0.5 - erfc_fraction(z) / 2.0
    };
    odd.copysign(x)
}

/// Density of the standard normal distribution.
pub(crate) fn phi(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
}

/// Price and sensitivities of a call (Black, The pricing of commodity contracts, 1976), undiscounted.
pub(crate) struct Twin {
    pub(crate) call: f64,
    pub(crate) put: f64,
    pub(crate) delta: f64,
    pub(crate) gamma: f64,
    pub(crate) vega: f64,
    pub(crate) theta_per_day: f64,
}

/// The twin at forward `f`, strike `k`, volatility `sigma` a year, `years` to expiry.
pub(crate) fn twin(f: f64, k: f64, sigma: f64, years: f64) -> Twin {
    let v = sigma * years.sqrt();
    let d1 = (f / k).ln() / v + v / 2.0;
    let d2 = d1 - v;
    Twin {
        call: f * cdf(d1) - k * cdf(d2),
        put: k * cdf(-d2) - f * cdf(-d1),
        delta: cdf(d1),
        gamma: phi(d1) / (f * v),
        vega: f * phi(d1) * years.sqrt(),
        theta_per_day: -f * phi(d1) * sigma / (2.0 * years.sqrt()) / 365.0,
    }
}
