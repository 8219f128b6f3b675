//! How far prices may move next: a range for the margin scenarios that follows realised volatility.
//!
//! The index is sampled on a fixed grid of sequenced time. Squared log returns feed two forecasts of variance,
//! both in integers: an exponentially weighted mean (EWMA) and a mix of three horizons (HAR, F. Corsi, "A simple
//! approximate long-memory model of realized volatility", Journal of Financial Econometrics 7, 2009). The wider
//! one, times a multiple of its root over the time that a liquidation takes, is the range. It widens at once and
//! narrows slowly, so that margin does not fall away between two shocks. Formulas: `matcher/RISK.md`.

use crate::memory::taken;
use crate::pricing::ln_q48;
use crate::snapshot::{Sink, SnapshotError, Source, ensure};
use alloc::boxed::Box;
use firmware::units::TimeNs;

/// Horizons of the HAR forecast.
pub const HORIZONS: usize = 3;
/// Samples of the longest horizon at most: a week of minutes.
pub const SAMPLES_MAX: u32 = 7 * 24 * 60;
/// Widest range: the largest shock of a scenario grid, in ppm.
pub const RANGE_PPM_MAX: u32 = 900_000;
/// A whole, in ppm.
const PPM: i128 = 1_000_000;
/// Fraction bits of a log return.
const RETURN_BITS: u32 = 48;
/// Fraction bits of a variance: the least that a price of 2^44 micro-units can move is not lost.
const VARIANCE_BITS: u32 = 60;
/// Largest absolute log return that counts: a price that falls to a fiftieth. Its square just fits a variance,
/// and any range is at its widest long before.
const RETURN_MAX: i64 = (4 << RETURN_BITS) - 1;

const _: () = assert!(
    (RETURN_MAX as u128 * RETURN_MAX as u128) >> (2 * RETURN_BITS - VARIANCE_BITS)
        <= u64::MAX as u128
);

/// The model: sequenced, so that it replays and can be audited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolModel {
    /// Time between two samples, ns.
    pub sample_ns: u64,
    /// Weight of the newest sample in the EWMA, ppm; 0 leaves the EWMA out.
    pub ewma_ppm: u32,
    /// Samples of each horizon, rising.
    pub horizons: [u32; HORIZONS],
    /// Weight of each horizon's mean variance, ppm; all 0 leaves HAR out.
    pub weights_ppm: [u32; HORIZONS],
    /// Samples that the range must cover: how long a position may take to close.
    pub cover_samples: u32,
    /// The range in standard deviations over that time, x 1000.
    pub multiple_milli: u32,
    /// Narrowest and widest range, ppm of the price.
    pub range_ppm: (u32, u32),
    /// Most that the range narrows in a sample, ppm of itself.
    pub narrow_ppm: u32,
}

/// Why a model cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModelError {
    /// Samples with no time between them.
    #[error("sample_ns is 0")]
    Sample,
    /// Horizons that do not rise, or reach too far back.
    #[error("horizons of {0:?} samples must rise from 1 on and end at {SAMPLES_MAX} at most")]
    Horizons([u32; HORIZONS]),
    /// No forecast at all, or a weight above the whole.
    #[error("weights: one of ewma and horizons must be above 0, and each at most 1000000 ppm")]
    Weights,
    /// Nothing to cover.
    #[error("cover_samples is not in 1..={SAMPLES_MAX}, or multiple_milli not in 1..=100000")]
    Cover,
    /// A range of nothing, turned round, or beyond the bound.
    #[error("range of {0} to {1} ppm: need 0 < narrowest <= widest <= {RANGE_PPM_MAX}")]
    Range(u32, u32),
    /// A range that never narrows, or loses more than itself.
    #[error("narrow_ppm of {0} is not in 1..=1000000")]
    Narrow(u32),
}

impl VolModel {
    /// Checks every field against its bounds.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn check(&self) -> Result<(), ModelError> {
        if self.sample_ns == 0 {
            return Err(ModelError::Sample);
        }
        let h = self.horizons;
        if h[0] == 0 || !h.is_sorted_by(|a, b| a < b) || h[HORIZONS - 1] > SAMPLES_MAX {
            return Err(ModelError::Horizons(h));
        }
        let weights = [self.ewma_ppm].into_iter().chain(self.weights_ppm);
        if weights.clone().all(|w| w == 0) || weights.clone().any(|w| i128::from(w) > PPM) {
            return Err(ModelError::Weights);
        }
        if !(1..=SAMPLES_MAX).contains(&self.cover_samples)
            || !(1..=100_000).contains(&self.multiple_milli)
        {
            return Err(ModelError::Cover);
        }
        let (least, most) = self.range_ppm;
        if least == 0 || least > most || most > RANGE_PPM_MAX {
            return Err(ModelError::Range(least, most));
        }
        if !(1..=PPM as u32).contains(&self.narrow_ppm) {
            return Err(ModelError::Narrow(self.narrow_ppm));
        }
        Ok(())
    }
}

/// The newest squared returns, with a running sum for each horizon.
#[derive(Clone, Debug)]
struct Window {
    ring: Box<[u64]>,
    /// Samples ever taken.
    taken: u64,
    sums: [u128; HORIZONS],
}

impl Window {
    fn push(&mut self, square: u64, horizons: [u32; HORIZONS]) {
        let len = self.ring.len() as u64;
        for (sum, horizon) in self.sums.iter_mut().zip(horizons) {
            let horizon = u64::from(horizon);
            if self.taken >= horizon {
                *sum -= u128::from(self.ring[((self.taken - horizon) % len) as usize]);
            }
            *sum += u128::from(square);
        }
        self.ring[(self.taken % len) as usize] = square;
        self.taken += 1;
    }

    /// Reckons the sums anew from the ring.
    fn add_up(&mut self, horizons: [u32; HORIZONS]) {
        let len = self.ring.len() as u64;
        for (sum, horizon) in self.sums.iter_mut().zip(horizons) {
            let newest = self.taken.min(u64::from(horizon));
            let places = (self.taken - newest..self.taken).map(|n| (n % len) as usize);
            *sum = places.map(|at| u128::from(self.ring[at])).sum();
        }
    }

    /// Mean of a horizon, or of as much as there is of it; rounded up.
    fn mean(&self, i: usize, horizon: u32) -> u64 {
        let n = u128::from(self.taken.min(u64::from(horizon)));
        if n == 0 {
            0
        } else {
            self.sums[i].div_ceil(n) as u64
        }
    }
}

/// The state of the model: a function of the readings it was shown.
#[derive(Clone, Debug)]
pub struct Volatility {
    model: VolModel,
    /// Logarithm of the last sampled index, and when it was sampled; none before the first reading.
    last: Option<(i64, TimeNs)>,
    /// EWMA of squared returns, `VARIANCE_BITS` fraction bits.
    ewma: u64,
    window: Window,
    range_ppm: u32,
}

impl Volatility {
    /// A model that has seen nothing: its range is the widest, for nothing is known.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn new(model: VolModel) -> Result<Self, ModelError> {
        model.check()?;
        Ok(Self {
            model,
            last: None,
            ewma: 0,
            window: Window {
                ring: taken(0, model.horizons[HORIZONS - 1] as usize),
                taken: 0,
                sums: [0; HORIZONS],
            },
            range_ppm: model.range_ppm.1,
        })
    }

    /// Shows the model the index at `now`. Between two samples nothing happens; after a gap, the move counts as
    /// spread evenly over the samples that were missed.
    ///
    /// # Panics
    /// When the index is not positive: the panel refuses such reports.
    pub fn observe(&mut self, now: TimeNs, index_micro: i64) {
        let ln = ln_q48(u64::try_from(index_micro).expect("an index is positive"));
        let Some((before, at)) = self.last else {
            self.last = Some((ln, now));
            return;
        };
        let samples = now.0.saturating_sub(at.0) / self.model.sample_ns;
        if samples == 0 {
            return;
        }
        let moved = (ln - before).clamp(-RETURN_MAX, RETURN_MAX);
        // The grid stays where it began, whatever the readings' own times.
        self.last = Some((ln, TimeNs(at.0 + samples * self.model.sample_ns)));
        let square = (i128::from(moved) * i128::from(moved)) >> (2 * RETURN_BITS - VARIANCE_BITS);
        let share = (square as u128).div_ceil(u128::from(samples)) as u64;
        // A longer gap than the longest horizon leaves nothing else in any of them.
        for _ in 0..samples.min(self.window.ring.len() as u64) {
            self.sample(share);
        }
    }

    fn sample(&mut self, square: u64) {
        let m = self.model;
        if m.ewma_ppm != 0 {
            let step = (i128::from(square) - i128::from(self.ewma)) * i128::from(m.ewma_ppm);
            // Rounded up: a variance never fades below what it is.
            self.ewma = (i128::from(self.ewma) - (-step).div_euclid(PPM)) as u64;
        }
        self.window.push(square, m.horizons);
        let wanted = self.wanted_ppm();
        let keep = PPM - i128::from(m.narrow_ppm);
        let floor = ((i128::from(self.range_ppm) * keep) + PPM - 1).div_euclid(PPM) as u32;
        self.range_ppm = wanted.max(floor).clamp(m.range_ppm.0, m.range_ppm.1);
    }

    /// Variance that the model forecasts for a sample, `VARIANCE_BITS` fraction bits, rounded up.
    #[must_use]
    pub fn forecast_q60(&self) -> u64 {
        let m = &self.model;
        let horizons = (m.horizons.iter().zip(m.weights_ppm)).enumerate();
        let har: u128 = horizons
            .map(|(i, (h, w))| u128::from(self.window.mean(i, *h)) * u128::from(w))
            .sum();
        let har = har.div_ceil(PPM as u128) as u64;
        har.max(self.ewma)
    }

    /// The range that the forecast asks for, ppm, rounded up.
    fn wanted_ppm(&self) -> u32 {
        let m = &self.model;
        let variance = u128::from(self.forecast_q60()) * u128::from(m.cover_samples);
        // 2^60 of the variance is 2^30 of the deviation; another 2^20 keep its small digits.
        let deviation = (variance << 20).isqrt() + 1;
        let ppm = (deviation * u128::from(m.multiple_milli) * 1_000).div_ceil(1 << 40);
        u32::try_from(ppm).unwrap_or(u32::MAX)
    }

    /// The range in force, ppm of the price: how far the outermost scenario moves it.
    #[must_use]
    pub const fn range_ppm(&self) -> u32 {
        self.range_ppm
    }

    /// The shocks of a grid, widened or narrowed so that the outermost is the range in force; each is rounded
    /// away from zero.
    #[must_use]
    pub fn shocks_ppm<const N: usize>(&self, grid: [i32; N]) -> [i32; N] {
        scaled_ppm(grid, self.range_ppm)
    }

    /// Begins at the range that another model has in force, within the own bounds.
    pub(crate) fn go_on_from(&mut self, before: &Self) {
        let (least, most) = self.model.range_ppm;
        self.range_ppm = before.range_ppm.clamp(least, most);
    }

    pub(crate) fn digest(&self, h: &mut blake3::Hasher) {
        let (ln, at) = self.last.unwrap_or_default();
        h.update(&[u8::from(self.last.is_some())])
            .update(&ln.to_le_bytes())
            .update(&at.0.to_le_bytes())
            .update(&self.ewma.to_le_bytes())
            .update(&self.window.taken.to_le_bytes())
            .update(&self.range_ppm.to_le_bytes());
        h.update(bytemuck::cast_slice(&self.window.ring));
    }

    pub(crate) fn save(&self, to: &mut impl Sink) {
        let Self {
            // Saved by its owner.
            model: _,
            last,
            ewma,
            window,
            range_ppm,
        } = self;
        // Its sums follow from the ring.
        let Window { ring, taken, .. } = window;
        to.pod(&u8::from(last.is_some()));
        let (ln, at) = last.unwrap_or_default();
        to.pod(&ln);
        to.pod(&at);
        to.pod(ewma);
        to.pod(taken);
        to.pod(range_ppm);
        to.put(bytemuck::cast_slice(ring));
    }

    /// The state that was saved of this model.
    pub(crate) fn load(model: VolModel, from: &mut impl Source) -> Result<Self, SnapshotError> {
        let mut state = Self::new(model).map_err(|_| SnapshotError::Value("model"))?;
        let has_last = from.flag("last sample")?;
        let last: (i64, TimeNs) = (from.pod()?, from.pod()?);
        state.last = has_last.then_some(last);
        state.ewma = from.pod()?;
        state.window.taken = from.pod()?;
        state.range_ppm = from.pod()?;
        let (least, most) = model.range_ppm;
        ensure((least..=most).contains(&state.range_ppm), "range")?;
        from.fill(bytemuck::cast_slice_mut(&mut state.window.ring))?;
        state.window.add_up(model.horizons);
        Ok(state)
    }
}

/// The shocks of a grid, scaled so that the outermost is `range_ppm`; each is rounded away from zero.
pub(crate) fn scaled_ppm<const N: usize>(grid: [i32; N], range_ppm: u32) -> [i32; N] {
    let widest = grid
        .iter()
        .map(|s| i64::from(s.abs()))
        .max()
        .unwrap_or(0)
        .max(1);
    grid.map(|s| {
        let scaled = (i64::from(s.abs()) * i64::from(range_ppm) + widest - 1) / widest;
        s.signum() * scaled as i32
    })
}

#[cfg(test)]
#[expect(
    clippy::disallowed_types,
    reason = "what is expected is reckoned in floats"
)]
mod tests {
    use super::*;
    use crate::risk_table::{RiskParams, check_params};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000_000_000;

    fn model() -> VolModel {
        VolModel {
            sample_ns: MINUTE,
            ewma_ppm: 60_000,
            horizons: [60, 1_440, 10_080],
            weights_ppm: [450_000, 350_000, 200_000],
            cover_samples: 60,
            multiple_milli: 4_000,
            range_ppm: (20_000, 400_000),
            narrow_ppm: 10_000,
        }
    }

    fn run(model: VolModel, path: &[i64]) -> Volatility {
        let mut v = Volatility::new(model).expect("a sound model");
        for (i, index) in path.iter().enumerate() {
            v.observe(TimeNs(i as u64 * MINUTE), *index);
        }
        v
    }

    /// A path that goes up and down by `ppm`, minute by minute.
    fn zigzag(ppm: i64, minutes: usize) -> Vec<i64> {
        let base = 100_000_000_000i64;
        (0..minutes)
            .map(|i| base + base / 1_000_000 * ppm * (i as i64 % 2))
            .collect()
    }

    #[test]
    fn a_steady_market_comes_to_the_root_of_its_variance() {
        // 500 ppm a minute, over 60 minutes and four deviations: 500 * sqrt(60) * 4 = 15,491 ppm.
        let steady = VolModel {
            range_ppm: (1, 400_000),
            ..model()
        };
        let v = run(steady, &zigzag(500, 3_000));
        assert!(
            (15_450..=15_560).contains(&v.range_ppm()),
            "{}",
            v.range_ppm()
        );
    }

    #[test]
    fn it_widens_at_once_and_narrows_slowly() {
        let mut path = zigzag(100, 2_000);
        let calm = run(model(), &path).range_ppm();
        assert_eq!(calm, 20_000);
        path.push(95_000_000_000);
        let shocked = run(model(), &path).range_ppm();
        assert!(shocked > 300_000, "{shocked}");
        path.push(95_000_000_000);
        let after = run(model(), &path).range_ppm();
        assert!(
            after >= shocked - shocked / 100 && after < shocked,
            "{after}"
        );
    }

    #[test]
    fn before_anything_is_known_the_range_is_the_widest() {
        let v = Volatility::new(model()).expect("sound");
        assert_eq!(v.range_ppm(), 400_000);
        assert_eq!(v.forecast_q60(), 0);
    }

    #[test]
    fn readings_between_two_samples_change_nothing() {
        let path = zigzag(300, 500);
        let plain = run(model(), &path);
        let mut busy = Volatility::new(model()).expect("sound");
        for (i, index) in path.iter().enumerate() {
            let at = i as u64 * MINUTE;
            busy.observe(TimeNs(at), *index);
            busy.observe(TimeNs(at + MINUTE / 2), index * 2);
        }
        assert_eq!(busy.range_ppm(), plain.range_ppm());
        assert_eq!(busy.forecast_q60(), plain.forecast_q60());
    }

    #[test]
    fn a_gap_is_spread_over_the_samples_that_were_missed() {
        let mut v = run(model(), &zigzag(0, 100));
        v.observe(TimeNs(199 * MINUTE), 101_000_000_000);
        // ln(1.01)^2 is 9.9009e-5; a hundredth of it a sample, x 2^60.
        let share = 9.900_9e-7 * 2f64.powi(60);
        let [hour, day, _] = v.window.sums.map(|s| s as f64 / share);
        assert!(
            (hour - 60.0).abs() < 0.01 && (day - 100.0).abs() < 0.01,
            "{hour} {day}"
        );
        // Longer than every horizon: the ring is filled once, and the work is bounded.
        v.observe(TimeNs(1_000_000 * MINUTE), 200_000_000_000);
        assert_eq!(v.window.taken, 99 + 100 + 10_080);
    }

    #[test]
    fn a_price_that_collapses_counts_as_the_largest_return() {
        let mut v = run(model(), &[1 << 44, 1 << 44]);
        v.observe(TimeNs(2 * MINUTE), 1);
        assert!(v.window.sums[0] > u128::from(u64::MAX) - (1 << 20));
        assert_eq!(v.range_ppm(), 400_000);
    }

    #[test]
    fn shocks_scale_with_the_range_and_stay_a_sound_grid() {
        let params = RiskParams::default();
        let mut v = Volatility::new(model()).expect("sound");
        v.range_ppm = 32_000;
        let shocks = v.shocks_ppm(params.price_shocks_ppm);
        assert_eq!(
            shocks,
            [
                -32_000, -24_000, -16_000, -8_000, 0, 8_000, 16_000, 24_000, 32_000
            ]
        );
        for range in [20_000, 20_001, 333_333, 400_000] {
            v.range_ppm = range;
            let price_shocks_ppm = v.shocks_ppm(params.price_shocks_ppm);
            assert_eq!(price_shocks_ppm[8], range as i32);
            check_params(&RiskParams {
                price_shocks_ppm,
                ..params
            })
            .expect("a sound grid");
        }
    }

    #[test]
    fn models_that_make_no_sense_are_refused_for_their_reason() {
        let m = model();
        let refused = |m: VolModel| Volatility::new(m).expect_err("refused");
        assert_eq!(refused(VolModel { sample_ns: 0, ..m }), ModelError::Sample);
        for h in [[0, 1, 2], [5, 5, 6], [1, 2, 10_081]] {
            assert_eq!(
                refused(VolModel { horizons: h, ..m }),
                ModelError::Horizons(h)
            );
        }
        let none = VolModel {
            ewma_ppm: 0,
            weights_ppm: [0; 3],
            ..m
        };
        assert_eq!(refused(none), ModelError::Weights);
        assert_eq!(
            refused(VolModel {
                ewma_ppm: 1_000_001,
                ..m
            }),
            ModelError::Weights
        );
        assert_eq!(
            refused(VolModel {
                cover_samples: 0,
                ..m
            }),
            ModelError::Cover
        );
        assert_eq!(
            refused(VolModel {
                range_ppm: (2, 1),
                ..m
            }),
            ModelError::Range(2, 1)
        );
        assert_eq!(
            refused(VolModel { narrow_ppm: 0, ..m }),
            ModelError::Narrow(0)
        );
    }

    proptest! {
        /// The running sums are those of the window, however the path goes.
        #[test]
        fn running_sums_are_the_sums(
            squares in prop::collection::vec(any::<u64>(), 1..200),
        ) {
            let horizons = [3, 17, 40];
            let mut w = Window { ring: taken(0, 40), taken: 0, sums: [0; HORIZONS] };
            for (n, s) in squares.iter().enumerate() {
                w.push(*s, horizons);
                for (i, h) in horizons.into_iter().enumerate() {
                    let newest = &squares[(n + 1).saturating_sub(h as usize)..=n];
                    let sum: u128 = newest.iter().map(|s| u128::from(*s)).sum();
                    prop_assert_eq!(w.sums[i], sum);
                    prop_assert_eq!(u128::from(w.mean(i, h)), sum.div_ceil(newest.len() as u128));
                }
            }
        }

        /// Any path at any times keeps the range within its bounds, and never panics.
        #[test]
        fn any_path_keeps_within_bounds(
            steps in prop::collection::vec((1i64..=1 << 44, 0u64..1 << 45), 1..300),
        ) {
            let mut v = Volatility::new(model()).unwrap();
            let mut now = 0;
            for (index, step) in steps {
                now += step;
                v.observe(TimeNs(now), index);
                prop_assert!((20_000..=400_000).contains(&v.range_ppm()));
            }
        }
    }
}
