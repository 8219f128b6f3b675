//! What a tile sleeps on: an eventfd, or under loom a counter behind a lock that does what an eventfd does.

#[cfg(not(loom))]
mod kernel {
    use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
    use rustix::io::Errno;
    use rustix::time::Timespec;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    /// An eventfd of our own.
    pub(crate) struct Event(pub(crate) OwnedFd);

    impl Event {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self(eventfd(
                0,
                EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
            )?))
        }

        /// Ends the sleep under way, or the next one.
        pub(crate) fn set(&self) {
            // A full counter (EAGAIN) wakes as well. Nothing else can happen to an eventfd of our own.
            let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        }

        /// Forgets every [`set`](Self::set) so far.
        pub(crate) fn clear(&self) {
            let mut count = [0; 8];
            // EAGAIN says that nobody wrote.
            let _ = rustix::io::read(&self.0, &mut count);
        }

        /// Sleeps until it is set, at most `timeout`.
        pub(crate) fn wait(&self, timeout: Duration) -> io::Result<()> {
            let timeout = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput)?;
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => Ok(()),
                Err(e) => Err(e.into()),
            }
        }
    }
}

#[cfg(loom)]
mod model {
    use loom::sync::{Condvar, Mutex};
    use std::io;
    use std::time::Duration;

    /// A counter; its lock orders what the kernel's orders, and nothing of a lane goes through it.
    pub(crate) struct Event {
        count: Mutex<u64>,
        set: Condvar,
    }

    impl Event {
        #[expect(
            clippy::unnecessary_wraps,
            reason = "the kernel can run out of eventfds"
        )]
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self {
                count: Mutex::new(0),
                set: Condvar::new(),
            })
        }

        pub(crate) fn set(&self) {
            *self.count.lock().unwrap() += 1;
            self.set.notify_one();
        }

        pub(crate) fn clear(&self) {
            *self.count.lock().unwrap() = 0;
        }

        /// Sleeps without end: a model in which only the timeout would wake is a lost wake-up, and loom
        /// reports the deadlock.
        #[expect(clippy::unnecessary_wraps, reason = "poll(2) can fail")]
        pub(crate) fn wait(&self, _timeout: Duration) -> io::Result<()> {
            let mut count = self.count.lock().unwrap();
            while *count == 0 {
                count = self.set.wait(count).unwrap();
            }
            Ok(())
        }
    }
}

#[cfg(not(loom))]
pub(crate) use kernel::Event;
#[cfg(loom)]
pub(crate) use model::Event;
