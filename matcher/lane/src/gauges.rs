//! Numbers that one tile publishes and others look at: counts and depths. Each is read by itself; two read together
//! need not be of the same moment.

use crate::sync::{Arc, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

/// The side that publishes `N` numbers. Not `Clone`: there is one.
pub struct Gauges<const N: usize>(Arc<CachePadded<[AtomicU64; N]>>);

/// A side that looks at them.
pub struct GaugesReader<const N: usize>(Arc<CachePadded<[AtomicU64; N]>>);

impl<const N: usize> Gauges<N> {
    /// All zero, on cache lines of their own.
    #[must_use]
    pub fn new() -> Self {
        let zeros = std::array::from_fn(|_| AtomicU64::new(0));
        Self(Arc::new(CachePadded::new(zeros)))
    }

    /// A reader.
    #[must_use]
    pub fn reader(&self) -> GaugesReader<N> {
        GaugesReader(Arc::clone(&self.0))
    }

    /// Publishes number `at`: a plain store, as nothing is ordered by it.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    pub fn set(&mut self, at: usize, value: u64) {
        self.0[at].store(value, Ordering::Relaxed);
    }
}

impl<const N: usize> Default for Gauges<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> GaugesReader<N> {
    /// The numbers as they are now. Partner of each load: the store in [`Gauges::set`].
    #[must_use]
    pub fn get(&self) -> [u64; N] {
        std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Gauges;

    #[test]
    fn a_reader_in_another_thread_sees_each_number() {
        let mut gauges = Gauges::<3>::new();
        let reader = gauges.reader();
        let seen = std::thread::spawn(move || {
            while reader.get()[2] != 7 {
                std::hint::spin_loop();
            }
            reader.get()
        });
        gauges.set(0, 5);
        gauges.set(2, 7);
        let [_, never, last] = seen.join().unwrap();
        assert_eq!((never, last), (0, 7));
    }
}
