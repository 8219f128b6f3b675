//! What pairs of measurements say of the difference between two things, by resampling: rounds first, then the pairs
//! of each, because pairs of one round share their processes and are more alike than others.

use crate::prng::Prng;
use serde::{Deserialize, Serialize};

/// Resamples: the ends of a 95 % interval then rest on 250 of them each.
const RESAMPLES: usize = 10_000;

/// A mean and the interval that holds it with the wanted confidence.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) mean: f64,
    pub(crate) high: f64,
}

/// The interval of the mean of paired differences, by round. `None` where there is nothing to resample.
pub(crate) fn interval(rounds: &[Vec<f64>], confidence: f64, seed: u64) -> Option<Interval> {
    let rounds: Vec<&[f64]> = rounds
        .iter()
        .map(Vec::as_slice)
        .filter(|r| !r.is_empty())
        .collect();
    if rounds.is_empty() {
        return None;
    }
    let mut prng = Prng::new(seed, 0xB007);
    let mut pick = |n: usize| prng.below(n as u64) as usize;
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let (mut sum, mut count) = (0.0, 0usize);
            for _ in 0..rounds.len() {
                let round = rounds[pick(rounds.len())];
                sum += (0..round.len())
                    .map(|_| round[pick(round.len())])
                    .sum::<f64>();
                count += round.len();
            }
            sum / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |q: f64| means[((RESAMPLES - 1) as f64 * q).round() as usize];
    let tail = (1.0 - confidence) / 2.0;
    let all = rounds.iter().flat_map(|r| r.iter());
    let count = rounds.iter().map(|r| r.len()).sum::<usize>();
    Some(Interval {
        low: at(tail),
        mean: all.sum::<f64>() / count as f64,
        high: at(1.0 - tail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of pairs around `mean`; each round has an offset of its own.
    fn rounds(mean: f64, seed: u64) -> Vec<Vec<f64>> {
        let mut prng = Prng::new(seed, 1);
        let mut normal = |sigma: f64| prng.normal(1_000_000) as f64 / 1e6 * sigma;
        (0..10)
            .map(|_| {
                let offset = normal(0.02);
                (0..8).map(|_| mean + offset + normal(0.05)).collect()
            })
            .collect()
    }

    #[test]
    fn what_never_varies_has_no_width() {
        let i = interval(&[vec![0.25; 4], vec![0.25; 4]], 0.95, 1).unwrap();
        assert_eq!((i.low, i.mean, i.high), (0.25, 0.25, 0.25));
        assert_eq!(interval(&[], 0.95, 1), None);
        assert_eq!(interval(&[vec![]], 0.95, 1), None);
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        let held = (0..100).filter(|&seed| {
            let i = interval(&rounds(0.03, seed), 0.95, seed).unwrap();
            i.low <= 0.03 && 0.03 <= i.high
        });
        // Ten rounds are few, so it is a little narrow; a plain bootstrap over all pairs holds about 80.
        let held = held.count();
        assert!((86..=100).contains(&held), "{held}");
    }

    #[test]
    fn a_wide_gap_is_seen_and_a_small_one_is_not_made_up() {
        let far = interval(&rounds(0.2, 1), 0.95, 1).unwrap();
        assert!(far.low > 0.1 && far.high < 0.3, "{far:?}");
        let none = (0..40).filter(|&seed| {
            let i = interval(&rounds(0.0, seed), 0.95, seed).unwrap();
            i.low > 0.0 || i.high < 0.0
        });
        assert!(none.count() <= 6);
    }

    #[test]
    fn more_confidence_is_wider_and_the_seed_fixes_it() {
        let r = rounds(0.0, 3);
        let (a, b) = (
            interval(&r, 0.9, 1).unwrap(),
            interval(&r, 0.99, 1).unwrap(),
        );
        assert!(b.low < a.low && a.high < b.high);
        assert_eq!(interval(&r, 0.9, 1), Some(a));
    }
}
