//! Sleeping without missing work.
//!
//! ```text
//! receiver                              sender
//!   parked = true                         push the item
//!   fence SeqCst            <-- pair -->  fence SeqCst
//!   look at every lane                    parked?  then write the eventfd
//!   sleep on the eventfd if all empty
//! ```
//!
//! Of two sequentially consistent fences one comes first. If it is the receiver's, the sender sees
//! `parked` and writes the eventfd; if it is the sender's, the receiver sees the item and does not
//! sleep. A sender that finds nobody parked pays one fence and one load, no system call.

use crate::event::Event;
use crate::sync::{Arc, AtomicBool, Ordering, fence};
use std::io;
#[cfg(not(loom))]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

struct Shared {
    /// The receiver sleeps, or is about to. Set by [`Parker::announce`], whose partner is the load in
    /// [`Waker::wake`]; cleared by whichever of `wake` and [`Parker::resume`] comes first.
    parked: AtomicBool,
    event: Event,
}

/// A tile's place to sleep: one per tile.
pub struct Parker(Arc<Shared>);

/// Wakes one tile. Cheap to clone; every sender of the tile holds one.
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

impl Parker {
    /// A parker with a fresh eventfd.
    ///
    /// # Errors
    /// If the kernel has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = Event::new()?;
        let parked = AtomicBool::new(false);
        Ok(Self(Arc::new(Shared { parked, event })))
    }

    /// A waker of this tile.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.0))
    }

    /// Says that the tile is about to sleep. Look at every lane again after this, then either sleep on
    /// the eventfd or not, and [`resume`](Self::resume) in both cases.
    pub fn announce(&self) {
        // Relaxed is enough: the fence orders it before the looks that follow. Partner: `Waker::wake`.
        // A swap, so that it plainly comes after the swap of a late waker: that a store does too follows
        // from the one order of all writes to the flag, which loom does not reason through.
        self.0.parked.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the tile is awake, and empties the eventfd; returns whether a waker ended the sleep.
    pub fn resume(&self) -> bool {
        // No order needed: a waker that still sees `true` writes the eventfd once for nothing.
        let was_woken = !self.0.parked.swap(false, Ordering::Relaxed);
        self.0.event.clear();
        was_woken
    }

    /// Sleeps until a waker, `timeout`, or right away if `has_work`. For tiles with nothing to wait for
    /// but lanes; one with sockets hands the eventfd to its NIC's `wait` instead. Returns whether a waker ended
    /// the sleep.
    ///
    /// # Errors
    /// If poll(2) fails for another reason than a signal.
    pub fn park(&self, timeout: Duration, has_work: impl FnOnce() -> bool) -> io::Result<bool> {
        self.announce();
        let slept = if has_work() {
            Ok(())
        } else {
            self.0.event.wait(timeout)
        };
        let was_woken = self.resume();
        slept.map(|()| was_woken)
    }
}

#[cfg(not(loom))]
impl AsFd for Parker {
    /// Readable once a waker fired; for io_uring and poll.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.0.as_fd()
    }
}

#[cfg(not(loom))]
impl AsRawFd for Parker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.event.0.as_raw_fd()
    }
}

impl Waker {
    /// Wakes the tile if it sleeps. Call after pushing, once per burst.
    #[inline]
    pub fn wake(&self) {
        // Orders the pushes before the load. Partner: the fence in `Parker::announce`.
        fence(Ordering::SeqCst);
        if self.0.parked.load(Ordering::Relaxed) {
            self.write();
        }
    }

    #[cold]
    fn write(&self) {
        // Of several wakers one swap wins, so one writes.
        if self.0.parked.swap(false, Ordering::Relaxed) {
            self.0.event.set();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Parker;
    use crate::bounded;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::time::Timespec;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    fn is_readable(parker: &Parker) -> bool {
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(parker, PollFlags::IN)], Some(&zero)).unwrap() == 1
    }

    #[test]
    fn a_waker_writes_only_to_a_tile_that_announced() {
        let parker = Parker::new().unwrap();
        let waker = parker.waker();
        waker.wake();
        assert!(!is_readable(&parker));
        parker.announce();
        waker.wake();
        assert!(is_readable(&parker));
        assert!(parker.resume());
        assert!(!is_readable(&parker));
    }

    #[test]
    fn a_tile_with_work_does_not_sleep() {
        let was_woken = Parker::new().unwrap().park(LONG, || true).unwrap();
        assert!(!was_woken);
    }

    #[test]
    fn a_tile_with_nothing_to_do_sleeps_until_its_timeout() {
        Parker::new()
            .unwrap()
            .park(Duration::from_millis(1), || false)
            .unwrap();
    }

    #[test]
    fn no_item_is_ever_slept_through() {
        // A lost wake-up would sleep for a minute, a hundred thousand times over.
        let (mut tx, mut rx) = bounded(1);
        let parker = Parker::new().unwrap();
        let waker = parker.waker();
        std::thread::scope(|s| {
            s.spawn(move || {
                for mut i in 0..50_000_u32 {
                    while let Err(back) = tx.push(i) {
                        i = back;
                        std::thread::yield_now();
                    }
                    waker.wake();
                }
            });
            let mut next = 0;
            while next < 50_000 {
                match rx.pop() {
                    Some(i) => {
                        assert_eq!(i, next);
                        next += 1;
                    }
                    None => drop(parker.park(LONG, || !rx.is_empty()).unwrap()),
                }
            }
        });
    }
}
