//! A small seeded generator in integers, so that one seed gives one flow on every platform.

/// xoshiro256**, seeded by SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Prng {
    state: [u64; 4],
}

fn split_mix(x: &mut u64) -> u64 {
    *x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *x;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Prng {
    /// The generator of `stream` under `seed`: streams of one seed do not depend on each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut x = seed ^ stream.wrapping_mul(0xD134_2543_DE82_EF95);
        Self {
            state: std::array::from_fn(|_| split_mix(&mut x)),
        }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Uniform in `0..n`; `n` must not be zero. The bias is below `n / 2^64`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "a choice among nothing");
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in `lo..=hi`.
    pub(crate) fn between(&mut self, lo: i64, hi: i64) -> i64 {
        assert!(lo <= hi, "an empty range");
        lo + self.below((hi - lo) as u64 + 1) as i64
    }

    /// True in `ppm` of a million cases.
    pub(crate) fn chance(&mut self, ppm: u64) -> bool {
        self.below(1_000_000) < ppm
    }

    /// Nearly normal with standard deviation `sigma`: the sum of twelve uniforms.
    pub(crate) fn normal(&mut self, sigma: i64) -> i64 {
        let sum: i64 = (0..12).map(|_| (self.bits() >> 44) as i64).sum();
        (sum - 6 * (1 << 20)) * sigma / (1 << 20)
    }

    /// Exponential with the given mean: `-mean * ln(u)`, the logarithm taken bit by bit in Q32.
    pub(crate) fn exponential(&mut self, mean: u64) -> u64 {
        let u = self.bits() | 1;
        ((u128::from(mean) * u128::from(neg_ln_q32(u))) >> 32) as u64
    }

    /// A heavy-tailed size in `1..=max`: doubles with probability one half, uniform within the octave.
    pub(crate) fn size(&mut self, typical: i64, max: i64) -> i64 {
        let octaves = self.bits().trailing_ones().min(5);
        let top = (typical << octaves).min(max).max(1);
        self.between((top / 2).max(1), top)
    }
}

/// `-ln(u / 2^64)` in Q32.
fn neg_ln_q32(u: u64) -> u64 {
    let zeros = u.leading_zeros();
    let mut m = u << zeros; // mantissa in [1, 2), Q63
    let mut log2 = 0u64; // fraction of log2(m), Q32
    for bit in (0..32).rev() {
        let square = (u128::from(m) * u128::from(m)) >> 63;
        if square >> 64 != 0 {
            log2 |= 1 << bit;
            m = (square >> 1) as u64;
        } else {
            m = square as u64;
        }
    }
    let neg_log2 = (u64::from(zeros + 1) << 32) - log2;
    const LN2_Q32: u128 = 2_977_044_472;
    ((u128::from(neg_log2) * LN2_Q32) >> 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_sequence_and_streams_differ() {
        let draw = |seed, stream| {
            let mut p = Prng::new(seed, stream);
            std::array::from_fn::<u64, 8, _>(|_| p.bits())
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }

    #[test]
    fn the_integer_logarithm_agrees_with_the_float_one() {
        let mut p = Prng::new(1, 1);
        for _ in 0..1000 {
            let u = p.bits() | 1;
            let want = -(u as f64 / 2f64.powi(64)).ln();
            let got = neg_ln_q32(u) as f64 / 2f64.powi(32);
            assert!((want - got).abs() < 1e-6, "u = {u}: {want} and {got}");
        }
    }

    #[test]
    fn draws_have_the_moments_that_they_promise() {
        let mut p = Prng::new(3, 9);
        let n = 20_000;
        let mean = (0..n).map(|_| p.exponential(1_000)).sum::<u64>() / n;
        assert!((950..1_050).contains(&mean), "{mean}");
        let squares = (0..n).map(|_| p.normal(1_000).pow(2)).sum::<i64>() / n as i64;
        assert!((940_000..1_060_000).contains(&squares), "{squares}");
        assert!((0..n).all(|_| (1..=50).contains(&p.size(4, 50))));
        assert!((0..n).all(|_| (-3..=3).contains(&p.between(-3, 3))));
    }
}
