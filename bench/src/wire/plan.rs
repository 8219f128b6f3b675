//! When each request of a slice is to be sent. Planned before the first is sent, and kept whatever comes back: a
//! latency is counted from the planned time, so a server that stalls pays for all that it kept waiting.

use crate::prng::Prng;

/// How the planned times are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Arrivals {
    /// Evenly.
    Even,
    /// As independent clients come: exponential gaps of the same mean.
    Poisson,
}

/// Planned send times of one slice, ns after its start; they never fall.
pub(crate) fn due_times(arrivals: Arrivals, rate: u64, count: usize, seed: u64) -> Vec<u64> {
    let rate = rate.max(1);
    match arrivals {
        // Each from the start, so that rounding does not add up.
        Arrivals::Even => (0..count as u64)
            .map(|k| (u128::from(k) * 1_000_000_000 / u128::from(rate)) as u64)
            .collect(),
        Arrivals::Poisson => {
            // Gaps are drawn in ps: at millions a second a whole ns would bend the rate.
            let (mut prng, mut at_ps) = (Prng::new(seed, 0x9_1A5), 0u64);
            let mean_ps = 1_000_000_000_000 / rate;
            (0..count)
                .map(|_| {
                    at_ps += prng.exponential(mean_ps);
                    at_ps / 1_000
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_times_keep_the_rate_to_the_last_one() {
        let due = due_times(Arrivals::Even, 3, 7, 1);
        assert_eq!(due[..4], [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!(due[6], 2_000_000_000);
        let fast = due_times(Arrivals::Even, 700_000, 700_001, 1);
        assert_eq!(fast[700_000], 1_000_000_000);
    }

    #[test]
    fn poisson_times_are_fixed_by_their_seed_and_keep_the_mean() {
        let due = |seed| due_times(Arrivals::Poisson, 200_000, 100_000, seed);
        let a = due(1);
        assert_eq!(a, due(1));
        assert_ne!(a, due(2));
        assert!(a.is_sorted());
        let seconds = a[99_999] as f64 / 1e9;
        assert!((seconds - 0.5).abs() < 0.01, "{seconds}");
        // A third of the gaps and a bit is longer than the mean, as 1/e wants it.
        let long = a.windows(2).filter(|w| w[1] - w[0] > 5_000).count();
        assert!((35_000..39_000).contains(&long), "{long}");
    }
}
