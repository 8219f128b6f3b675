//! What pricing costs and how right it is: one option, one risk epoch and how it grows, errors against the twin
//! in floats; and what a range that follows volatility is worth: margin breaches beside a static range.

mod backtest;
mod paths;
#[path = "../../matcher/tests/pricing_twin/mod.rs"]
mod pricing_twin;

use crate::prng::Prng;
use anyhow::{Context as _, Result};
use backtest::{Breaches, Outcome};
use firmware::units::{InstrumentId, TimeNs};
use matcher::instrument::{Collar, InstrumentKind, InstrumentSpec, OptionTerms};
use matcher::pricing::{Forward, OptionModel, Right};
use matcher::risk_table::{RiskParams, VolInput, build_table};
use paths::Kind;
use pricing_twin::{YEAR_NS, twin};
use serde::Serialize;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

const DAY_NS: u64 = 86_400_000_000_000;
const NOW: TimeNs = TimeNs(999 * DAY_NS);

/// `bench risk`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds of each timing; medians are given.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    rounds: u32,
    /// Paths of the back-test, of each kind.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Days of each path.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=3_650))]
    days: u32,
    /// Core to stay on. Without it the kernel may move the thread.
    #[arg(long)]
    core: Option<usize>,
    /// File for the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A risk epoch of so many options.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Epoch {
    options: u16,
    scenarios: u32,
    p50_us: f64,
    p99_us: f64,
    ns_per_price: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Figures {
    /// One option at one forward.
    ns_per_option_price: f64,
    /// All Greeks of one option at one forward.
    ns_per_option_greeks: f64,
    epochs: Vec<Epoch>,
    /// Largest error of a price against the twin in floats, as a part of the forward.
    price_error: f64,
    /// Largest error of a delta.
    delta_error: f64,
    /// Options compared.
    compared: u64,
    /// Margin breaches over seeded paths, by kind of path.
    backtest: Vec<Outcome>,
}

/// Measures and prints.
///
/// # Errors
/// If the core cannot be taken or the file not be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(core) = args.core {
        lane::pin_to_core(core).context("--core")?;
    }
    let figures = measure(args);
    show(&figures);
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&figures)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn measure(args: &Args) -> Figures {
    let (price, greeks) = single(args.rounds);
    let (price_error, delta_error, compared) = errors(20_000);
    let days = args.days;
    let kinds = [Kind::Clustered, Kind::Constant];
    Figures {
        ns_per_option_price: price,
        ns_per_option_greeks: greeks,
        epochs: [16, 64, 256].map(|n| epoch(n, args.rounds)).into(),
        price_error,
        delta_error,
        compared,
        backtest: kinds.map(|k| backtest::run(k, args.seeds, days)).into(),
    }
}

/// Options around the money, calls and puts, over a year.
fn chain(options: u16) -> Vec<InstrumentSpec> {
    let option = |i: u16| {
        let terms = OptionTerms {
            strike_micro: 70_000_000_000 + i64::from(i % 16) * 4_000_000_000,
            expiry: TimeNs(NOW.0 + DAY_NS * (1 + 7 * u64::from(i / 16))),
        };
        let kind = [InstrumentKind::Call, InstrumentKind::Put][usize::from(i % 2)];
        InstrumentSpec {
            id: InstrumentId(i),
            kind: kind(terms),
            lot_e9: 1_000_000,
            tick_micro: 1_000_000,
            collar: Collar::PpmOfIndex(20_000),
            book_base_ticks: 1,
            book_width_ticks: 200_000,
            order_lots_max: 1,
            position_lots_max: 1,
        }
    };
    (0..options).map(option).collect()
}

/// Median ns of `work` over rounds of 64 calls each, whose results go to a black box.
fn median_ns(rounds: u32, mut work: impl FnMut(u64) -> i64) -> f64 {
    const CALLS: u64 = 64;
    let mut times: Vec<u128> = (0..u64::from(rounds))
        .map(|round| {
            let start = Instant::now();
            let sum = (0..CALLS).fold(0i64, |s, i| s.wrapping_add(work(round * CALLS + i)));
            black_box(sum);
            start.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2] as f64 / CALLS as f64
}

/// Price and Greeks of one option, ns.
fn single(rounds: u32) -> (f64, f64) {
    let right = [Right::Call, Right::Put];
    let models: Vec<_> = (0..64i64)
        .map(|i| {
            let strike = 70_000_000_000 + i * 1_000_000_000;
            let tenor = DAY_NS * (1 + i as u64);
            OptionModel::new(right[i as usize % 2], strike, 600_000_000, tenor)
                .expect("within the bounds")
        })
        .collect();
    let forwards: Vec<_> = (0..64i64)
        .map(|i| Forward::new(100_000_000_000 + i * 97_003_001).expect("within the bounds"))
        .collect();
    let pick = |i: u64| (&models[i as usize % 64], &forwards[(i * 7) as usize % 64]);
    let price = median_ns(rounds, |i| {
        let (model, forward) = pick(i);
        black_box(model).price_micro(black_box(forward))
    });
    let greeks = median_ns(rounds, |i| {
        let (model, forward) = pick(i);
        black_box(model).greeks(black_box(forward)).vega_micro
    });
    (price, greeks)
}

/// A whole table, from an index to marks, scenarios, deltas and collars.
fn epoch(options: u16, rounds: u32) -> Epoch {
    let (specs, params) = (chain(options), RiskParams::default());
    let mut times: Vec<u128> = (0..i64::from(rounds))
        .map(|round| {
            let index_micro = 100_000_000_000 + (round * 7_919_000_003) % 9_000_000_000;
            let vol = VolInput::flat(600_000_000 + (round * 1_000_003) % 100_000_000);
            let start = Instant::now();
            let table = build_table(round as u64, NOW, index_micro, &vol, &params, &specs);
            black_box(&table.expect("the chain can be priced"));
            start.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100] as f64;
    let scenarios = params.price_shocks_ppm.len() * params.vol_shocks_ppm.len();
    Epoch {
        options,
        scenarios: scenarios as u32,
        p50_us: at(50) / 1e3,
        p99_us: at(99) / 1e3,
        ns_per_price: at(50) / (f64::from(options) * (scenarios + 1) as f64),
    }
}

/// Largest errors of price (of the forward) and delta over seeded options: a minute to two years, 5 % to 300 %,
/// strikes from a fifth to five times the forward.
fn errors(count: u64) -> (f64, f64, u64) {
    let mut prng = Prng::new(1, 0x0071_0110);
    let (mut price, mut delta) = (0f64, 0f64);
    for _ in 0..count {
        let f = prng.between(1_000_000_000, 200_000_000_000);
        let k = prng.between(f / 5, 5 * f);
        let vol = prng.between(50_000_000, 3_000_000_000);
        let tenor = prng.between(60_000_000_000, 730 * DAY_NS as i64) as u64;
        let model = OptionModel::new(Right::Call, k, vol, tenor).expect("within the bounds");
        let forward = Forward::new(f).expect("within the bounds");
        let exact = twin(f as f64, k as f64, vol as f64 / 1e9, tenor as f64 / YEAR_NS);
        price = price.max((model.price_micro(&forward) as f64 - exact.call).abs() / f as f64);
        delta = delta.max((model.greeks(&forward).delta_e9 as f64 / 1e9 - exact.delta).abs());
    }
    (price, delta, count)
}

fn show(f: &Figures) {
    println!("option price   {:>9.1} ns", f.ns_per_option_price);
    println!("option Greeks  {:>9.1} ns", f.ns_per_option_greeks);
    for e in &f.epochs {
        println!(
            "epoch of {:>3} options x {} scenarios: p50 {:.1} us, p99 {:.1} us, {:.1} ns a price",
            e.options, e.scenarios, e.p50_us, e.p99_us, e.ns_per_price
        );
    }
    println!(
        "against the twin in floats, {} options: price within {:.2e} of the forward, delta within {:.2e}",
        f.compared, f.price_error, f.delta_error
    );
    for o in &f.backtest {
        println!("{o}");
    }
    let breaches = |b: &Breaches| format!("{} ({:.3} % of hours)", b.count, b.share * 100.0);
    for o in &f.backtest {
        println!(
            "  {}: static {}, adaptive {}",
            o.kind,
            breaches(&o.fixed),
            breaches(&o.adaptive)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_prints_what_was_promised() {
        let args = Args {
            rounds: 10,
            seeds: 2,
            days: 20,
            core: None,
            json: None,
        };
        let figures = measure(&args);
        assert!(figures.price_error <= 1e-6 && figures.delta_error <= 1e-6);
        assert!(figures.ns_per_option_price > 0.0 && figures.ns_per_option_greeks > 0.0);
        let sizes: Vec<_> = figures
            .epochs
            .iter()
            .map(|e| (e.options, e.scenarios))
            .collect();
        assert_eq!(sizes, [(16, 27), (64, 27), (256, 27)]);
        assert_eq!(figures.backtest.len(), 2);
        show(&figures);
    }
}
