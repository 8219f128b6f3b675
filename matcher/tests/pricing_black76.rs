//! The integer pricing against its twin in floats, and the properties that hold without a twin.
#![expect(clippy::disallowed_types, reason = "the twin is in floats")]

mod pricing_twin;

use matcher::instrument::INDEX_MICRO_MAX;
use matcher::pricing::{
    EVERLASTING_TERMS, Everlasting, Forward, OptionModel, PERIOD_NS_MAX, PricingError, Right,
    TENOR_NS_MAX, VOL_E9_MAX, squared_lot_delta_e9, squared_price_micro,
};
use pricing_twin::{YEAR_NS, twin};
use proptest::prelude::*;

const MINUTE_NS: u64 = 60_000_000_000;
const DAY_NS: u64 = 1_440 * MINUTE_NS;

fn model(right: Right, strike_micro: i64, vol_e9: i64, tenor_ns: u64) -> OptionModel {
    OptionModel::new(right, strike_micro, vol_e9, tenor_ns).unwrap()
}

fn forward(micro: i64) -> Forward {
    Forward::new(micro).unwrap()
}

fn price(right: Right, f: i64, k: i64, vol_e9: i64, tenor_ns: u64) -> i64 {
    model(right, k, vol_e9, tenor_ns).price_micro(&forward(f))
}

/// Every point of a wide grid: forwards from 10 to 2.2 million units, strikes from a seventh to
/// seven times the forward, a minute to five years, volatilities from 2 % to 500 %.
fn grid(mut visit: impl FnMut(i64, i64, i64, u64)) {
    let tenors = [
        MINUTE_NS,
        60 * MINUTE_NS,
        DAY_NS,
        7 * DAY_NS,
        30 * DAY_NS,
        181 * DAY_NS,
        5 * 365 * DAY_NS,
    ];
    for f in [10_000_000, 3_141_592_653, 100_000_000_000, 1 << 41] {
        for step in -200..=200 {
            // Dense near the money, where short options have all their curvature.
            let log = f64::from(step) / 200.0;
            let k = (f as f64 * (2.0 * log * log.abs()).exp()) as i64;
            for tenor_ns in tenors {
                for vol_e9 in [
                    20_000_000,
                    150_000_000,
                    600_000_000,
                    1_300_000_000,
                    5_000_000_000,
                ] {
                    visit(f, k, vol_e9, tenor_ns);
                }
            }
        }
    }
}

#[test]
fn price_and_delta_are_within_a_millionth_of_the_twin() {
    let (mut worst_price, mut worst_delta) = (0f64, 0f64);
    grid(|f, k, vol_e9, tenor_ns| {
        let exact = twin(
            f as f64,
            k as f64,
            vol_e9 as f64 / 1e9,
            tenor_ns as f64 / YEAR_NS,
        );
        let at = forward(f);
        let call = model(Right::Call, k, vol_e9, tenor_ns);
        let put = model(Right::Put, k, vol_e9, tenor_ns);
        for (ours, theirs) in [
            (call.price_micro(&at), exact.call),
            (put.price_micro(&at), exact.put),
        ] {
            let error = (ours as f64 - theirs).abs() / f as f64;
            assert!(
                error <= 1e-6,
                "F {f} K {k} vol {vol_e9} tenor {tenor_ns}: price {ours}, twin {theirs}"
            );
            worst_price = worst_price.max(error);
        }
        for (ours, theirs) in [
            (call.greeks(&at).delta_e9, exact.delta),
            (put.greeks(&at).delta_e9, exact.delta - 1.0),
        ] {
            let error = (ours as f64 / 1e9 - theirs).abs();
            assert!(
                error <= 1e-6,
                "F {f} K {k} vol {vol_e9} tenor {tenor_ns}: delta {ours}, twin {theirs}"
            );
            worst_delta = worst_delta.max(error);
        }
    });
    println!(
        "worst price error {worst_price:.2e} of the forward, worst delta error {worst_delta:.2e}"
    );
}

#[test]
fn gamma_vega_and_theta_follow_the_twin() {
    let mut worst = [0f64; 3];
    grid(|f, k, vol_e9, tenor_ns| {
        let (sigma, years) = (vol_e9 as f64 / 1e9, tenor_ns as f64 / YEAR_NS);
        let exact = twin(f as f64, k as f64, sigma, years);
        for right in [Right::Call, Right::Put] {
            let ours = model(right, k, vol_e9, tenor_ns).greeks(&forward(f));
            // Each error relative to the largest value that the Greek has at any strike, and a unit.
            let peak = pricing_twin::phi(0.0);
            let v = sigma * years.sqrt();
            let errors = [
                (
                    ours.gamma_relative_e9 as f64,
                    exact.gamma * f as f64 * 1e9,
                    peak / v * 1e9,
                ),
                (
                    ours.vega_micro as f64,
                    exact.vega,
                    peak * f as f64 * years.sqrt(),
                ),
                (
                    ours.theta_micro_per_day as f64,
                    exact.theta_per_day,
                    peak * f as f64 * sigma / (2.0 * years.sqrt()) / 365.0,
                ),
            ];
            for (worst, (ours, theirs, scale)) in worst.iter_mut().zip(errors) {
                let error = ((ours - theirs).abs() - 1.0).max(0.0) / scale;
                assert!(
                    error <= 1e-6,
                    "F {f} K {k} vol {vol_e9} tenor {tenor_ns}: {ours}, twin {theirs}"
                );
                *worst = worst.max(error);
            }
        }
    });
    println!("worst errors of gamma, vega, theta relative to their peaks: {worst:?}");
}

/// An option and a forward, with strikes spread over the whole range where the price has curvature.
fn any_option() -> impl Strategy<Value = (i64, i64, i64, u64)> {
    let forward = prop_oneof![1_000_000i64..1 << 33, 1i64 << 33..1 << 42];
    let tenor = (30u32..58).prop_flat_map(|bits| 1u64 << bits..2 << bits);
    (
        forward,
        -80_000i32..80_000,
        10_000_000i64..3_000_000_000,
        tenor,
    )
        .prop_map(|(f, d, vol_e9, tenor_ns)| {
            let v = vol_e9 as f64 / 1e9 * (tenor_ns as f64 / YEAR_NS).sqrt();
            let k = f as f64 * (-f64::from(d) / 1e4 * v).exp();
            (
                f,
                (k as i64).clamp(1, INDEX_MICRO_MAX / 2),
                vol_e9,
                tenor_ns,
            )
        })
}

/// How far a price may step the wrong way: a micro-unit, and a unit of the coefficients of N.
fn slack(f: i64, k: i64) -> i64 {
    1 + (f.max(k) >> 30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn call_minus_put_is_exactly_forward_minus_strike((f, k, vol_e9, tenor_ns) in any_option()) {
        let (call, put) = (price(Right::Call, f, k, vol_e9, tenor_ns), price(Right::Put, f, k, vol_e9, tenor_ns));
        prop_assert_eq!(call - put, f - k);
        let at = forward(f);
        let delta = |right| model(right, k, vol_e9, tenor_ns).greeks(&at).delta_e9;
        prop_assert_eq!(delta(Right::Call) - delta(Right::Put), 1_000_000_000);
    }

    #[test]
    fn a_price_lies_between_its_intrinsic_value_and_what_it_is_a_right_to((f, k, vol_e9, tenor_ns) in any_option()) {
        let (call, put) = (price(Right::Call, f, k, vol_e9, tenor_ns), price(Right::Put, f, k, vol_e9, tenor_ns));
        prop_assert!((0.max(f - k)..=f).contains(&call), "call {}", call);
        prop_assert!((0.max(k - f)..=k).contains(&put), "put {}", put);
    }

    #[test]
    fn prices_move_the_right_way_with_strike_forward_and_volatility(
        (f, k, vol_e9, tenor_ns) in any_option(),
        step_bits in 0u32..30,
    ) {
        let step = 1i64 << step_bits;
        let call = |f, k, vol| price(Right::Call, f, k, vol, tenor_ns);
        let put = |f, k, vol| price(Right::Put, f, k, vol, tenor_ns);
        let slack = slack(f + step, k + step);
        prop_assert!(call(f, k + step, vol_e9) <= call(f, k, vol_e9) + slack, "call rises with the strike");
        prop_assert!(put(f, k + step, vol_e9) >= put(f, k, vol_e9) - slack, "put falls with the strike");
        prop_assert!(call(f + step, k, vol_e9) >= call(f, k, vol_e9) - slack, "call falls with the forward");
        prop_assert!(put(f + step, k, vol_e9) <= put(f, k, vol_e9) + slack, "put rises with the forward");
        prop_assert!(call(f, k, vol_e9 + step) >= call(f, k, vol_e9) - slack, "call falls with volatility");
    }

    #[test]
    fn a_shock_of_the_volatility_is_the_price_at_the_shocked_volatility(
        (f, k, vol_e9, tenor_ns) in any_option(),
        shock_ppm in prop_oneof![Just(-250_000), Just(0), Just(250_000)],
    ) {
        let moved = vol_e9 * i64::from(1_000_000 + shock_ppm) / 1_000_000;
        let shocked = model(Right::Put, k, vol_e9, tenor_ns).with_vol_shock(shock_ppm).price_micro(&forward(f));
        let direct = price(Right::Put, f, k, moved, tenor_ns);
        // The two deviations may round to neighbouring points of the grid of 2^-20.
        prop_assert!((shocked - direct).abs() <= 1 + f.max(k) / 2_000_000, "{} and {}", shocked, direct);
    }
}

#[test]
fn an_option_without_time_or_deviation_is_worth_its_intrinsic_value() {
    for (f, k) in [
        (100, 90),
        (100, 100),
        (100, 110),
        (INDEX_MICRO_MAX, 1),
        (1, INDEX_MICRO_MAX),
    ] {
        for tenor_ns in [0, 1] {
            assert_eq!(price(Right::Call, f, k, 1, tenor_ns), 0.max(f - k));
            assert_eq!(price(Right::Put, f, k, 1, tenor_ns), 0.max(k - f));
        }
        let greeks = model(Right::Call, k, VOL_E9_MAX, 0).greeks(&forward(f));
        let step = match f.cmp(&k) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => 500_000_000,
            std::cmp::Ordering::Greater => 1_000_000_000,
        };
        assert_eq!(greeks.delta_e9, step);
        assert_eq!(
            (
                greeks.gamma_relative_e9,
                greeks.vega_micro,
                greeks.theta_micro_per_day
            ),
            (0, 0, 0)
        );
    }
}

#[test]
fn the_corners_of_the_range_are_priced_without_overflow() {
    for f in [1, INDEX_MICRO_MAX] {
        for k in [1, INDEX_MICRO_MAX] {
            for vol_e9 in [1, VOL_E9_MAX] {
                for tenor_ns in [1, TENOR_NS_MAX] {
                    for shock_ppm in [-999_999, 0, 9_000_000] {
                        let option =
                            model(Right::Call, k, vol_e9, tenor_ns).with_vol_shock(shock_ppm);
                        let at = forward(f);
                        assert!((0.max(f - k)..=f).contains(&option.price_micro(&at)));
                        let greeks = option.greeks(&at);
                        assert!((0..=1_000_000_000).contains(&greeks.delta_e9));
                        assert!(
                            greeks.gamma_relative_e9 >= 0
                                && greeks.vega_micro >= 0
                                && greeks.theta_micro_per_day <= 0
                        );
                    }
                }
            }
        }
    }
    // Ten years at 1000 %: N(d1) is 1 and N(d2) is 0.
    assert_eq!(
        price(Right::Call, 1_000_000, 1_000_000, VOL_E9_MAX, TENOR_NS_MAX),
        1_000_000
    );
    // The last nanosecond at the money: what is beyond the range of an i64 stays at its end.
    let last = |vol| model(Right::Call, INDEX_MICRO_MAX, vol, 1).greeks(&forward(INDEX_MICRO_MAX));
    assert_eq!(last(1_000_000).gamma_relative_e9, i64::MAX);
    assert_eq!(last(VOL_E9_MAX).theta_micro_per_day, i64::MIN);
}

#[test]
fn bad_inputs_are_named() {
    assert_eq!(Forward::new(0), Err(PricingError::Forward(0)));
    assert_eq!(
        Forward::new(INDEX_MICRO_MAX + 1),
        Err(PricingError::Forward(INDEX_MICRO_MAX + 1))
    );
    let option = |k, vol, tenor| OptionModel::new(Right::Call, k, vol, tenor).unwrap_err();
    assert_eq!(option(0, 1, 1), PricingError::Strike(0));
    assert_eq!(option(1, 0, 1), PricingError::Vol(0));
    assert_eq!(
        option(1, VOL_E9_MAX + 1, 1),
        PricingError::Vol(VOL_E9_MAX + 1)
    );
    assert_eq!(
        option(1, 1, TENOR_NS_MAX + 1),
        PricingError::Tenor(TENOR_NS_MAX + 1)
    );
}

#[test]
fn a_known_price_comes_out() {
    // BTC at 100,000, strike 110,000, 30 days, 60 %: the values of the formula by an independent
    // implementation of N (scipy.stats.norm).
    let option = model(Right::Call, 110_000_000_000, 600_000_000, 30 * DAY_NS);
    let at = forward(100_000_000_000);
    let near = |ours: i64, theirs: i64, within: i64| (ours - theirs).abs() <= within;
    let greeks = option.greeks(&at);
    assert!(
        near(option.price_micro(&at), 3_270_260_505, 30_000),
        "{}",
        option.price_micro(&at)
    );
    assert!(near(greeks.delta_e9, 319_865_686, 60), "{greeks:?}");
    assert!(
        near(greeks.gamma_relative_e9, 2_078_590_969, 2),
        "{greeks:?}"
    );
    assert!(near(greeks.vega_micro, 10_250_585_599, 2), "{greeks:?}");
    assert!(
        near(greeks.theta_micro_per_day, -102_505_856, 1),
        "{greeks:?}"
    );
}

/// The basket in floats.
fn everlasting_twin(f: f64, k: f64, sigma: f64, period_years: f64) -> (f64, f64) {
    let terms = (1..=EVERLASTING_TERMS).map(|i| {
        let weight = 0.5f64.powi(i.min(EVERLASTING_TERMS - 1) as i32);
        let t = twin(f, k, sigma, period_years * i as f64);
        (weight * t.call, weight * t.delta)
    });
    terms.fold((0.0, 0.0), |(c, d), (call, delta)| (c + call, d + delta))
}

#[test]
fn an_everlasting_option_is_its_basket_and_keeps_parity() {
    let f = 100_000_000_000;
    for step in -40..=40 {
        let k = (f as f64 * (f64::from(step) / 20.0).exp()) as i64;
        for (vol_e9, period_ns) in [
            (100_000_000, 60 * MINUTE_NS),
            (600_000_000, DAY_NS),
            (2_000_000_000, 30 * DAY_NS),
        ] {
            let at = forward(f);
            let model = |right| Everlasting::new(right, k, vol_e9, period_ns).unwrap();
            let (call, put) = (model(Right::Call), model(Right::Put));
            let (exact, delta) = everlasting_twin(
                f as f64,
                k as f64,
                vol_e9 as f64 / 1e9,
                period_ns as f64 / YEAR_NS,
            );
            let ours = call.price_micro(&at);
            assert!((ours as f64 - exact).abs() <= 1e-6 * f as f64, "K {k}");
            let lot = 1_000_000_000;
            let d = call.lot_delta_e9(&at, lot) as f64 / 1e9;
            assert!((d - delta).abs() <= 1e-6, "K {k}: {d} {delta}");
            assert_eq!(ours - put.price_micro(&at), f - k);
            // Between the shortest and the longest option of the basket.
            let single = |i| price(Right::Call, f, k, vol_e9, period_ns * i);
            assert!(
                (single(1)..=single(EVERLASTING_TERMS as u64)).contains(&ours),
                "K {k}"
            );
            let shaken = call.with_vol_shock(250_000).price_micro(&at);
            assert!(shaken + 1 >= ours, "K {k}");
        }
    }
    let late = Everlasting::new(Right::Call, 1, VOL_E9_MAX, PERIOD_NS_MAX + 1);
    assert!(matches!(late, Err(PricingError::Tenor(_))));
    assert!(Everlasting::new(Right::Put, 1, 1, PERIOD_NS_MAX).is_ok());
}

#[test]
fn a_power_perpetual_is_the_square_over_the_scale() {
    let scale = 100_000_000_000;
    for (f, price) in [
        (100_000_000_000, 100_000_000_000),
        (110_000_000_000, 121_000_000_000),
        (1, 0),
        (INDEX_MICRO_MAX, 3_094_850_098_213_451),
    ] {
        assert_eq!(squared_price_micro(&forward(f), scale), price);
    }
    // Halves up: 3^2 / 2 = 4.5.
    assert_eq!(squared_price_micro(&forward(3), 2), 5);
    assert_eq!(squared_price_micro(&forward(INDEX_MICRO_MAX), 1), i64::MAX);
    // Twice the exposure of a perpetual where the index is the scale.
    assert_eq!(
        squared_lot_delta_e9(&forward(scale), scale, 1_000_000),
        2_000_000
    );
    assert_eq!(
        squared_lot_delta_e9(&forward(scale / 2), scale, 1_000_000),
        1_000_000
    );
}
