//! Index paths by seed, minute by minute: jump diffusions with and without clustering.

use crate::prng::Prng;
use serde::Serialize;
use std::fmt;

/// Minutes of a year of 365 days.
const YEAR_MINUTES: f64 = 365.0 * 1_440.0;
/// Price at the start, in micro-units.
const START_MICRO: f64 = 1e11;

/// What a path is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Volatility wanders (its logarithm returns to its mean with a half-life of a day and a half) and jumps
    /// come in bursts (each raises the chance of the next for some hours): what markets are like.
    Clustered,
    /// One volatility for ever, jumps at any time with equal chance: nothing can be foreseen, so no model can
    /// win here, and one that loses much is too nervous.
    Constant,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Clustered => "clustered jump diffusion",
            Self::Constant => "constant jump diffusion",
        })
    }
}

/// A normal of mean 0 and deviation 1.
fn normal(prng: &mut Prng) -> f64 {
    prng.normal(1 << 20) as f64 / f64::from(1 << 20)
}

fn uniform(prng: &mut Prng) -> f64 {
    (prng.bits() >> 11) as f64 / (1u64 << 53) as f64
}

/// The path of a seed: an index a minute, in micro-units, kept within a hundredth and a hundred times the start.
pub(super) fn path(kind: Kind, seed: u64, minutes: usize) -> Vec<i64> {
    let mut prng = Prng::new(seed, 0x9A7B);
    // 60 % a year; three jumps a week without bursts, of 2 % each on average.
    let sigma = 0.6 / YEAR_MINUTES.sqrt();
    let base_rate = 3.0 / (7.0 * 1_440.0);
    let half_life = 36.0 * 60.0;
    let pull = 2f64.ln() / half_life;
    // Stationary deviation of the log volatility: 0.7, so that a busy day is four times a calm one.
    let push = 0.7 * (2.0 * pull).sqrt();
    let fade = 2f64.ln() / (4.0 * 60.0);
    let (mut log_price, mut log_vol, mut burst) = (0f64, 0f64, 0f64);
    (0..minutes)
        .map(|_| {
            let (vol, rate) = match kind {
                Kind::Constant => (sigma, base_rate),
                Kind::Clustered => {
                    log_vol += push * normal(&mut prng) - pull * log_vol;
                    burst -= fade * burst;
                    (sigma * log_vol.exp(), base_rate + burst)
                }
            };
            let mut step = vol * normal(&mut prng);
            if uniform(&mut prng) < rate {
                step += 0.02 * normal(&mut prng);
                burst += 0.5 * fade;
            }
            log_price = (log_price + step).clamp(-4.6, 4.6);
            (START_MICRO * log_price.exp()) as i64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Standard deviation of the absolute returns' sums by day, over their mean: near zero without clusters.
    fn unevenness(kind: Kind) -> f64 {
        let path = path(kind, 3, 100 * 1_440);
        let days: Vec<f64> = path
            .chunks(1_440)
            .map(|day| {
                day.windows(2)
                    .map(|w| (w[1] as f64 / w[0] as f64).ln().powi(2))
                    .sum()
            })
            .collect();
        let mean = days.iter().sum::<f64>() / days.len() as f64;
        let spread = days.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / days.len() as f64;
        spread.sqrt() / mean
    }

    #[test]
    fn a_seed_is_a_path_and_only_clustered_ones_have_busy_days() {
        assert_eq!(
            path(Kind::Clustered, 5, 1_000),
            path(Kind::Clustered, 5, 1_000)
        );
        assert_ne!(
            path(Kind::Clustered, 5, 1_000),
            path(Kind::Clustered, 6, 1_000)
        );
        let (clustered, constant) = (unevenness(Kind::Clustered), unevenness(Kind::Constant));
        assert!(clustered > 1.3 * constant, "{clustered} {constant}");
    }
}
