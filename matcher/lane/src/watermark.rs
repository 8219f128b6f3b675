//! A number that one tile raises and others read: "durable up to here".

use crate::sync::{Arc, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

/// The side that raises the number. Not `Clone`: there is one.
pub struct Watermark(Arc<CachePadded<AtomicU64>>);

/// A side that reads it.
#[derive(Clone)]
pub struct WatermarkReader(Arc<CachePadded<AtomicU64>>);

impl Watermark {
    /// A watermark that stands at `start`.
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self(Arc::new(CachePadded::new(AtomicU64::new(start))))
    }

    /// A reader.
    #[must_use]
    pub fn reader(&self) -> WatermarkReader {
        WatermarkReader(Arc::clone(&self.0))
    }

    /// Raises the number. What was written before is visible to who reads it: the release pairs with
    /// the acquire in [`WatermarkReader::get`].
    ///
    /// # Panics
    /// When the number would fall.
    pub fn raise(&mut self, to: u64) {
        // Relaxed: this side is the only writer.
        assert!(
            to >= self.0.load(Ordering::Relaxed),
            "a watermark never falls"
        );
        self.0.store(to, Ordering::Release);
    }
}

impl WatermarkReader {
    /// The number as last raised. Partner: the release in [`Watermark::raise`].
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Watermark;

    #[test]
    fn a_reader_in_another_thread_sees_every_rise_in_order() {
        let mut mark = Watermark::new(5);
        let reader = mark.reader();
        let seen = std::thread::spawn(move || {
            let mut last = 5;
            while last < 1_000 {
                let now = reader.get();
                assert!(now >= last);
                last = now;
                std::hint::spin_loop();
            }
            last
        });
        for n in 6..=1_000 {
            mark.raise(n);
        }
        assert_eq!(seen.join().unwrap(), 1_000);
    }

    #[test]
    #[should_panic(expected = "never falls")]
    fn a_fall_is_a_broken_invariant() {
        Watermark::new(5).raise(4);
    }
}
