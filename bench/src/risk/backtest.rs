//! Margin breaches of a range that follows volatility, beside a static range that asks for as much on average.

use super::paths::{Kind, path};
use firmware::units::TimeNs;
use matcher::volatility::{VolModel, Volatility};
use serde::Serialize;
use std::fmt;

const MINUTE_NS: u64 = 60_000_000_000;
/// A position is margined at the start of an hour and may take all of it to close.
const COVER: usize = 60;

/// The model under test: what the daemon would use for such an underlying.
pub(super) const MODEL: VolModel = VolModel {
    sample_ns: MINUTE_NS,
    ewma_ppm: 20_000,
    horizons: [60, 720, 10_080],
    weights_ppm: [300_000, 500_000, 200_000],
    cover_samples: COVER as u32,
    multiple_milli: 3_500,
    range_ppm: (8_000, 400_000),
    narrow_ppm: 2_000,
};

/// Hours whose move went beyond the range that stood at their start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Breaches {
    pub(super) count: u64,
    /// Of all hours.
    pub(super) share: f64,
    /// How far beyond, on average, ppm.
    pub(super) beyond_ppm: f64,
}

/// What the paths of one kind came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Outcome {
    pub(super) kind: Kind,
    pub(super) seeds: u64,
    pub(super) hours: u64,
    /// Average of both ranges, ppm.
    pub(super) mean_range_ppm: f64,
    /// The same range all the time, of the same average on each path.
    pub(super) fixed: Breaches,
    pub(super) adaptive: Breaches,
    /// Seeds with fewer, as many, and more breaches under the adaptive range.
    pub(super) fewer_same_more: [u64; 3],
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [fewer, same, more] = self.fewer_same_more;
        write!(
            f,
            "back-test, {}: {} paths, {} hours, mean range {:.2} %; fewer breaches on {fewer} paths, as many on {same}, more on {more}",
            self.kind,
            self.seeds,
            self.hours,
            self.mean_range_ppm / 1e4,
        )
    }
}

/// Largest move within the hour after each full hour, and the adaptive range at its start; ppm.
fn hours(path: &[i64]) -> Vec<(f64, f64)> {
    let mut model = Volatility::new(MODEL).expect("a sound model");
    // The first day only teaches the model.
    let skip = 1_440;
    let mut hours = Vec::new();
    for (i, index) in path.iter().enumerate() {
        model.observe(TimeNs(i as u64 * MINUTE_NS), *index);
        if i >= skip && i % COVER == 0 && i + COVER < path.len() {
            let moves = path[i + 1..=i + COVER].iter();
            let largest = moves.map(|p| (*p as f64 / *index as f64 - 1.0).abs());
            hours.push((
                largest.fold(0.0, f64::max) * 1e6,
                f64::from(model.range_ppm()),
            ));
        }
    }
    hours
}

fn breaches(hours: &[(f64, f64)], range: impl Fn(f64) -> f64) -> (u64, f64) {
    let beyond = hours.iter().map(|(moved, own)| moved - range(*own));
    beyond
        .filter(|b| *b > 0.0)
        .fold((0, 0.0), |(n, sum), b| (n + 1, sum + b))
}

/// Plays `seeds` paths of `days` each.
pub(super) fn run(kind: Kind, seeds: u64, days: u32) -> Outcome {
    let (mut fixed, mut adaptive, mut total, mut ranges) = ((0, 0.0), (0, 0.0), 0u64, 0.0);
    let mut fewer_same_more = [0; 3];
    for seed in 1..=seeds {
        let hours = hours(&path(kind, seed, days as usize * 1_440));
        let mean = hours.iter().map(|h| h.1).sum::<f64>() / hours.len() as f64;
        let (of_fixed, of_adaptive) = (breaches(&hours, |_| mean), breaches(&hours, |own| own));
        fixed = (fixed.0 + of_fixed.0, fixed.1 + of_fixed.1);
        adaptive = (adaptive.0 + of_adaptive.0, adaptive.1 + of_adaptive.1);
        fewer_same_more[match of_adaptive.0.cmp(&of_fixed.0) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => 1,
            std::cmp::Ordering::Greater => 2,
        }] += 1;
        total += hours.len() as u64;
        ranges += mean * hours.len() as f64;
    }
    let of = |(count, beyond): (u64, f64)| Breaches {
        count,
        share: count as f64 / total as f64,
        beyond_ppm: if count == 0 {
            0.0
        } else {
            beyond / count as f64
        },
    };
    Outcome {
        kind,
        seeds,
        hours: total,
        mean_range_ppm: ranges / total as f64,
        fixed: of(fixed),
        adaptive: of(adaptive),
        fewer_same_more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_equal_average_margin_the_adaptive_range_is_breached_less_where_volatility_clusters() {
        let o = run(Kind::Clustered, 4, 40);
        println!("{o}: {:?} {:?}", o.fixed, o.adaptive);
        assert!(o.fixed.count > 0, "paths without a breach show nothing");
        assert!(o.adaptive.count < o.fixed.count);
    }

    #[test]
    fn where_nothing_can_be_foreseen_it_does_not_lose_much() {
        let o = run(Kind::Constant, 4, 40);
        println!("{o}: {:?} {:?}", o.fixed, o.adaptive);
        assert!(o.adaptive.share <= 1.5 * o.fixed.share + 0.001);
    }
}
