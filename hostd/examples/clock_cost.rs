//! What a reading of each clock costs: `cargo run --release -p hostd --example clock_cost`.

use firmware::units::TimeNs;
use hostd::machine::clock::{Clock, RealClock};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Instant;

const READINGS: u32 = 1_000_000;
const RUNS: usize = 11;

/// Median of some runs, ns a reading.
fn cost(mut read: impl FnMut() -> u64) -> f64 {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..READINGS {
                black_box(read());
            }
            begun.elapsed().as_nanos() as f64 / f64::from(READINGS)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}

fn main() {
    let mut clock = RealClock::starting_after(TimeNs(0));
    let used = if clock.health().is_counter {
        "the processor's counter"
    } else {
        "the kernel's clock"
    };
    println!("median of {RUNS} runs of {READINGS} readings, ns a reading");
    println!(
        "  kernel's clock (clock_gettime, no system call)  {:6.2}",
        cost(|| clock_gettime(ClockId::Monotonic).tv_nsec as u64)
    );
    println!(
        "  clock of the tiles ({used})    {:6.2}",
        cost(|| clock.now().0)
    );
    #[cfg(target_arch = "x86_64")]
    println!(
        "  the counter alone                               {:6.2}",
        cost(|| {
            // SAFETY: every x86-64 processor has the instruction.
            unsafe { std::arch::x86_64::_rdtsc() }
        })
    );
    println!("{:?}", clock.health());
}
