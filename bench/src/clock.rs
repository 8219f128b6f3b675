//! The one place that reads clocks. Times in files and reports are ns since the Unix epoch, because the
//! processes of a run compare them; all of them run on one machine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, ns since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    since.as_nanos() as u64
}

/// A time-out that began now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// `after` from now.
    pub(crate) fn after(after: Duration) -> Self {
        Self(Instant::now() + after)
    }
    /// Whether it has passed.
    pub(crate) fn passed(self) -> bool {
        Instant::now() >= self.0
    }
    /// What is left of it.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// The monotonic clock, ns: for durations within one process. About 20 ns, no system call.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let t = clock_gettime(ClockId::Monotonic);
    // It reads positive, for centuries.
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
