//! How long a risk epoch takes: `cargo run --release -p matcher --example risk_epoch`.
//!
//! Every table is full of options (a perpetual costs next to nothing) at its own index. Prints a
//! checksum, so that no work can be left out.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use firmware::units::{InstrumentId, TimeNs};
use matcher::instrument::{Collar, InstrumentKind, InstrumentSpec, OptionTerms};
use matcher::risk_table::{RiskParams, VolInput, build_table};
use std::time::Instant;

const ROUNDS: u64 = 2_000;
const DAY_NS: u64 = 86_400_000_000_000;

fn chain(instruments: u16) -> Vec<InstrumentSpec> {
    let option = |i: u16| {
        let terms = OptionTerms {
            strike_micro: 70_000_000_000 + i64::from(i % 16) * 4_000_000_000,
            expiry: TimeNs(DAY_NS * (1_000 + 7 * u64::from(i))),
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
    (0..instruments).map(option).collect()
}

fn main() {
    for instruments in [16, 64, 256] {
        measure(instruments);
    }
}

fn measure(instruments: u16) {
    let (specs, params) = (chain(instruments), RiskParams::default());
    let mut times_ns = Vec::new();
    let mut checksum = 0i64;
    for round in 0..ROUNDS {
        let index_micro = 100_000_000_000 + (round as i64 * 7_919_000_003) % 9_000_000_000;
        let vol = VolInput::flat(600_000_000 + (round as i64 * 1_000_003) % 100_000_000);
        let start = Instant::now();
        let table = build_table(
            round,
            TimeNs(DAY_NS * 999),
            index_micro,
            &vol,
            &params,
            &specs,
        )
        .unwrap();
        times_ns.push(start.elapsed().as_nanos());
        checksum = table
            .columns
            .iter()
            .flat_map(|c| c.scenario_micro)
            .fold(checksum, i64::wrapping_add);
    }
    times_ns.sort_unstable();
    let at = |percent: usize| times_ns[(times_ns.len() - 1) * percent / 100];
    println!(
        "{instruments} options x 27: p50 {} ns, p99 {} ns, worst {} ns, checksum {checksum}",
        at(50),
        at(99),
        at(100)
    );
}
