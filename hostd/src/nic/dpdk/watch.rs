//! A port's link and the counts that only the device has, looked at once a second beside the tile: asking may cost a
//! device microseconds.

use super::eal;
use crate::machine::log;
use lane::{Consumer, bounded};
use std::mem::MaybeUninit;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);
/// How long a link may take to come up before the box goes on without.
const LINK_WAIT: Duration = Duration::from_secs(3);
const LINK_PAUSE: Duration = Duration::from_millis(10);

/// A watch over a port; dropping it ends it.
pub(super) struct Watch {
    /// Frames that the device had no room for since it started, when that has changed.
    fresh: Consumer<u64>,
    lost: u64,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Waits for the link, and begins. The port must outlive the watch.
    ///
    /// # Errors
    /// If no thread can be had.
    pub(super) fn begin(port: u16, name: &str) -> std::io::Result<Self> {
        let mut is_up = wait_for_link(port);
        let name = name.to_owned();
        tell_link(&name, is_up);
        let (mut fresh_in, fresh) = bounded(1);
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = eal::aside("dpdk-watch", move || {
            let mut told = Counts::default();
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = Counts::of(port);
                if now.errors != told.errors {
                    let [rx, tx] = now.errors;
                    log::event("dpdk_errors", &[("port", &name), ("rx", &rx), ("tx", &tx)]);
                    told.errors = now.errors;
                }
                // A tile that has not fetched the last gets the next.
                if now.lost != told.lost && fresh_in.push(now.lost).is_ok() {
                    told.lost = now.lost;
                }
                let now_up = is_link_up(port);
                if now_up != is_up {
                    is_up = now_up;
                    tell_link(&name, is_up);
                }
            }
        })?;
        Ok(Self {
            fresh,
            lost: 0,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Frames that the device has had no room for: nobody polled in time, or the pool was empty.
    pub(super) fn lost(&mut self) -> u64 {
        while let Some(lost) = self.fresh.pop() {
            self.lost = lost;
        }
        self.lost
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tell_link(port: &str, is_up: bool) {
    let state = if is_up { "up" } else { "down" };
    log::event("dpdk_link", &[("port", &port), ("link", &state)]);
}

fn wait_for_link(port: u16) -> bool {
    let tries = LINK_WAIT.as_millis() / LINK_PAUSE.as_millis();
    for _ in 0..tries {
        if is_link_up(port) {
            return true;
        }
        std::thread::sleep(LINK_PAUSE);
    }
    false
}

fn is_link_up(port: u16) -> bool {
    let mut link = dpdk_sys::rte_eth_link::default();
    // SAFETY: fills the struct that it is given.
    let code = unsafe { dpdk_sys::rte_eth_link_get_nowait(port, &raw mut link) };
    // A device that cannot tell is taken to be up.
    code != 0 || link.link_status() != 0
}

/// What a device has counted since it started.
#[derive(Default)]
struct Counts {
    lost: u64,
    /// Frames that came in broken, and frames that it could not send.
    errors: [u64; 2],
}

impl Counts {
    /// None of them from a device that does not count.
    fn of(port: u16) -> Self {
        let mut stats = MaybeUninit::<dpdk_sys::rte_eth_stats>::zeroed();
        // SAFETY: fills the struct that it is given, which is plain integers, all zero before.
        let stats = unsafe {
            dpdk_sys::rte_eth_stats_get(port, stats.as_mut_ptr());
            stats.assume_init()
        };
        Self {
            lost: stats.imissed + stats.rx_nombuf,
            errors: [stats.ierrors, stats.oerrors],
        }
    }
}
