//! A timer fine enough for a few tens of ns: the time-stamp counter between fences, or the
//! monotonic clock where there is none.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "the time-stamp counter is read by an unsafe intrinsic"
    )
)]

use std::time::{Duration, Instant};

/// Reads ticks and knows what they are worth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    ns_per_tick: f64,
    /// Ticks between two readings with nothing in between: the median of many.
    pub(super) cost_ticks: u64,
    #[cfg(not(target_arch = "x86_64"))]
    start: Instant,
}

impl Timer {
    /// Measures the rate of the counter against the clock, and the cost of a reading.
    pub(super) fn calibrated() -> Self {
        let start = Instant::now();
        let mut timer = Self {
            ns_per_tick: 1.0,
            cost_ticks: 0,
            #[cfg(not(target_arch = "x86_64"))]
            start,
        };
        let first = timer.fenced();
        while start.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        let ticks = timer.fenced() - first;
        timer.ns_per_tick = start.elapsed().as_nanos() as f64 / ticks as f64;
        let mut costs: Vec<u64> = (0..10_001)
            .map(|_| {
                let first = timer.fenced();
                timer.fenced() - first
            })
            .collect();
        costs.sort_unstable();
        timer.cost_ticks = costs[costs.len() / 2];
        timer
    }

    /// Ticks now: after everything before in program order, before everything behind.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn fenced(&self) -> u64 {
        use std::arch::x86_64::{_mm_lfence, _rdtsc};
        // SAFETY: both instructions exist on every x86-64 and touch no memory.
        unsafe {
            _mm_lfence();
            let ticks = _rdtsc();
            _mm_lfence();
            ticks
        }
    }

    /// Nanoseconds of the monotonic clock.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    pub(super) fn fenced(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// What `ticks` are in ns.
    pub(super) fn ns(&self, ticks: u64) -> f64 {
        ticks as f64 * self.ns_per_tick
    }
}
