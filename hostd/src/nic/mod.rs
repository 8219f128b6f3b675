//! Datagrams in and out, whatever carries them.
//!
//! A [`Nic`] takes and gives UDP payloads over IPv4. A backend that moves raw frames instead of using the kernel's
//! sockets parses, checks and strips their headers inside ([`raw`]), and is held to the same conformance suite
//! (`tests/nic/`). Which to choose, and what each needs, is in `hostd/NIC.md`.

use firmware::limits::DATAGRAM_MAX;
use firmware::units::TimeNs;
use firmware::wire::frame::FrameFault;
use lane::Parker;
use serde::{Serialize, Serializer};
use std::io;
use std::time::Duration;

mod any;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod raw;
pub mod sim;
mod uring;
pub mod xdp;

pub use any::AnyNic;
pub(crate) use uring::SOCKET_BUFFER_BYTES;
pub use uring::UringNic;

/// An address and port.
pub type Endpoint = std::net::SocketAddrV4;

/// Datagrams that one poll takes at most: enough to spread the cost of a call, few enough that the
/// first of them does not wait for the last.
pub const BURST: usize = 64;

/// The network as one tile sees it. Takes all memory when made.
///
/// Sockets are named by their place in the list that the backend was opened with.
pub trait Nic {
    /// Replaces what `rx` holds by up to [`BURST`] datagrams that have arrived; returns how many. Never
    /// sleeps. Datagrams of no bytes, or of more than [`DATAGRAM_MAX`], are dropped and counted.
    ///
    /// # Errors
    /// If the backend cannot go on; also when that showed in an earlier [`flush`](Self::flush).
    fn poll(&mut self, rx: &mut RxBurst) -> io::Result<usize>;

    /// Queues `payload` for sending from `socket`; it leaves with the next [`flush`](Self::flush). What
    /// is queued on one socket leaves in order, unless the system runs out of room in between.
    ///
    /// # Errors
    /// [`TxFull`] if all slots are in use: flush, poll, and try again.
    ///
    /// # Panics
    /// If `payload` is empty or longer than [`DATAGRAM_MAX`]: nobody may build such a datagram.
    fn send(&mut self, socket: usize, to: Endpoint, payload: &[u8]) -> Result<(), TxFull>;

    /// Sends what is queued. A failure is told by the next poll.
    fn flush(&mut self);

    /// Flushes, then sleeps until a datagram may have arrived, a waker of `tile` fires, or `timeout`.
    /// May return early. The tile must have [announced](Parker::announce) that it sleeps, and looked at
    /// its lanes after that.
    ///
    /// # Errors
    /// If the backend cannot go on.
    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()>;

    /// What happened so far.
    fn counters(&self) -> &NicCounters;
}

/// No slot is free for another datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("every send slot is in use")]
pub struct TxFull;

/// Why a backend could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NicError {
    /// Someone else has the port.
    #[error("UDP {0} is in use by another process")]
    Busy(Endpoint),
    /// The system refused.
    #[error("UDP {local}: {op}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// For which socket.
        local: Endpoint,
        /// The answer.
        source: io::Error,
    },
    /// No ring. io_uring may be switched off by sysctl or by a container's policy.
    #[error("io_uring: {op}: {source}")]
    Ring {
        /// What was being done.
        op: &'static str,
        /// The answer.
        source: io::Error,
    },
}

/// Counts since start. They only rise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct NicCounters {
    /// Datagrams handed to the tile.
    pub rx: u64,
    /// Dropped: no bytes.
    pub rx_empty: u64,
    /// Dropped: more bytes than any of ours has.
    pub rx_oversize: u64,
    /// Receiving paused because every buffer was taken; nothing is lost while the socket has room.
    pub rx_no_buffer: u64,
    /// Receiving failed and was begun again.
    pub rx_errors: u64,
    /// Datagrams that the system took.
    pub tx: u64,
    /// Datagrams that it refused, as for an address without a route.
    pub tx_errors: u64,
    /// Times that no slot was free.
    pub tx_full: u64,
    /// Datagrams handed to the tile whose receive time is the card's; the others' is the kernel's, or ours.
    pub rx_hardware_times: u64,
    /// Datagrams that left in one request with others.
    pub tx_in_runs: u64,
    /// Such requests that the system refused; their datagrams left one by one.
    pub tx_runs_refused: u64,
    /// Dropped: the neighbour did not answer, or too much waited for it. From here on backends over raw frames only.
    pub tx_unresolved: u64,
    /// Lost before we saw them: the device had no room.
    pub rx_lost: u64,
    /// Datagrams for us that went to the kernel instead, as from a queue that we do not serve.
    pub rx_missed: u64,
    /// Frames refused, by the number of their [`FrameFault`].
    #[serde(serialize_with = "by_name")]
    pub faults: [u64; FrameFault::COUNT],
    /// ARP messages taken.
    pub arp_rx: u64,
    /// ARP messages sent.
    pub arp_tx: u64,
    /// Others said that an address of ours is theirs.
    pub arp_conflicts: u64,
}

/// Frames refused, by the name of their fault; those that never happened are left out.
fn by_name<S: Serializer>(faults: &[u64; FrameFault::COUNT], s: S) -> Result<S::Ok, S::Error> {
    let named = FrameFault::ALL.iter().zip(faults).filter(|(_, n)| **n > 0);
    s.collect_map(named.map(|(fault, n)| (fault.name(), n)))
}

/// Room for the datagrams of one poll. Made once, used for ever.
pub struct RxBurst {
    heads: [RxHead; BURST],
    bytes: Box<[[u8; DATAGRAM_MAX]; BURST]>,
    len: usize,
}

#[derive(Clone, Copy)]
struct RxHead {
    socket: usize,
    from: Endpoint,
    rx_time: TimeNs,
    len: usize,
}

/// A datagram that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Which of our sockets it came to.
    pub socket: usize,
    /// Who sent it, if the address is not forged.
    pub from: Endpoint,
    /// When the kernel or the card saw it, by the wall clock.
    pub rx_time: TimeNs,
    /// What it says: 1 to [`DATAGRAM_MAX`] bytes.
    pub payload: &'a [u8],
}

impl RxBurst {
    /// An empty burst.
    #[must_use]
    pub fn new() -> Self {
        let nobody = Endpoint::new(std::net::Ipv4Addr::UNSPECIFIED, 0);
        let head = RxHead {
            socket: 0,
            from: nobody,
            rx_time: TimeNs(0),
            len: 0,
        };
        Self {
            heads: [head; BURST],
            bytes: Box::new([[0; DATAGRAM_MAX]; BURST]),
            len: 0,
        }
    }

    /// How many datagrams it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// It holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Datagram `i`, in order of arrival per socket.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn get(&self, i: usize) -> Frame<'_> {
        let RxHead {
            socket,
            from,
            rx_time,
            len,
        } = self.heads[..self.len][i];
        Frame {
            socket,
            from,
            rx_time,
            payload: &self.bytes[i][..len],
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Frame<'_>> {
        (0..self.len).map(|i| self.get(i))
    }

    /// Forgets all datagrams.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Whether it holds as many as it can.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len == BURST
    }

    /// Adds a datagram.
    ///
    /// # Panics
    /// If the burst is full, or the payload longer than [`DATAGRAM_MAX`].
    pub fn push(&mut self, socket: usize, from: Endpoint, rx_time: TimeNs, payload: &[u8]) {
        let len = payload.len();
        self.bytes[self.len][..len].copy_from_slice(payload);
        self.heads[self.len] = RxHead {
            socket,
            from,
            rx_time,
            len,
        };
        self.len += 1;
    }
}

impl Default for RxBurst {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameFault, NicCounters};

    #[test]
    fn faults_are_shown_by_name() {
        let mut counters = NicCounters::default();
        counters.faults[FrameFault::Vlan as usize] = 2;
        counters.faults[FrameFault::UdpPort as usize] = 3;
        let shown = serde_json::to_value(counters).unwrap();
        assert_eq!(
            shown["faults"],
            serde_json::json!({ "vlan": 2, "udp_port": 3 })
        );
        assert_eq!(shown["rx_missed"], 0);
    }
}
