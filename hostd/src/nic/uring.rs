//! Kernel sockets through io_uring: works anywhere, needs no rights.
//!
//! Receiving is one multishot request per socket that the kernel answers again and again out of a ring of
//! buffers; sending is out of a pool of slots, one request per datagram or per run of equal ones, many per system
//! call. A poll with nothing to do looks at two words of shared memory and makes no call: the kernel raises a flag
//! there when a packet waits for us to fetch it. Neither side allocates.
//!
//! Each datagram comes with the kernel's receive time, or the card's where the card stamps what it receives and its
//! clock is set to the time of day.
//!
//! There is no kernel-side polling thread: it would want a core of its own.

mod rx;
mod tx;

use super::{Endpoint, Nic, NicCounters, NicError, RxBurst, TxFull};
use firmware::limits::DATAGRAM_MAX;
use io_uring::types::{CancelBuilder, Fd, Fixed, Napi, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use lane::Parker;
use rustix::net::sockopt;
use rx::{BUFFER_GROUP, MESSAGE, RX_BUFFERS, RxPool};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;
use tx::{Run, TX_SLOTS, TxPool};

/// Sockets of one ring.
const SOCKETS_MAX: usize = 8;
/// A port that is in use is tried again so often, with this pause: for half a second.
const BIND_TRIES: u32 = 50;
const BIND_PAUSE: Duration = Duration::from_millis(10);
/// What is asked of the kernel for each socket, in each direction.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 4 << 20;

// Every request has room in both queues, so neither can overflow: at most one completion per buffer and
// slot, one per socket when receiving ends, and one for the waker.
const SQ_ENTRIES: u32 = 2 * TX_SLOTS as u32;
const CQ_ENTRIES: u32 = 2048;
const _: () = assert!(TX_SLOTS as usize + SOCKETS_MAX < SQ_ENTRIES as usize);
const _: () = assert!(RX_BUFFERS as usize + TX_SLOTS as usize + SOCKETS_MAX < CQ_ENTRIES as usize);

/// What a completion answers: kind in the high half; in the low the socket, or socket, length and first slot of a run.
const KIND_RX: u64 = 0;
const KIND_TX: u64 = 1 << 32;
const KIND_WAKE: u64 = 2 << 32;

/// UDP sockets behind one ring. Belongs to the thread that polls it first.
pub struct UringNic {
    ring: IoUring,
    sockets: Vec<(UdpSocket, Endpoint)>,
    rx: RxPool,
    tx: TxPool,
    /// Parker whose eventfd the ring watches; none while nothing is armed.
    watched: Option<RawFd>,
    is_enabled: bool,
    /// From a flush, for the next poll.
    failure: Option<io::Error>,
    counters: NicCounters,
}

impl UringNic {
    /// Opens a socket on each of `locals`; port 0 picks a free one.
    ///
    /// # Errors
    /// [`NicError::Busy`] if a port is taken; else what the system said.
    pub fn open(locals: &[Endpoint]) -> Result<Self, NicError> {
        assert!(locals.len() <= SOCKETS_MAX, "at most {SOCKETS_MAX} sockets");
        let sockets = locals
            .iter()
            .map(|&l| open_socket(l))
            .collect::<Result<Vec<_>, _>>()?;
        let failed = |op| move |source| NicError::Ring { op, source };
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_r_disabled()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)
            .map_err(failed("setup"))?;
        let fds: Vec<RawFd> = sockets.iter().map(|(s, _)| s.as_raw_fd()).collect();
        ring.submitter()
            .register_files(&fds)
            .map_err(failed("register files"))?;
        let rx = RxPool::new();
        // SAFETY: the entries live in `rx`, which is dropped after the ring (fields drop in order).
        unsafe {
            let entries = rx.entries.as_ptr() as u64;
            ring.submitter()
                .register_buf_ring_with_flags(entries, RX_BUFFERS, BUFFER_GROUP, 0)
                .map_err(failed("register buffers"))?;
        }
        Ok(Self {
            ring,
            sockets,
            rx,
            tx: TxPool::new(),
            watched: None,
            is_enabled: false,
            failure: None,
            counters: NicCounters::default(),
        })
    }

    /// Lets [`Nic::wait`] poll the device itself for `time` before it sleeps, where the device has NAPI: then no
    /// interrupt stands between a packet and the tile. Returns whether the kernel can (Linux 6.9).
    pub fn busy_poll(&mut self, time: Duration) -> bool {
        let us = time.as_micros().min(10_000) as u32;
        let mut napi = Napi::new()
            .set_busy_poll_timeout(us)
            .set_prefer_busy_poll(true);
        self.ring.submitter().register_napi(&mut napi).is_ok()
    }

    /// Where socket `socket` listens.
    #[must_use]
    pub fn local(&self, socket: usize) -> Endpoint {
        self.sockets[socket].1
    }

    /// Takes the ring for this thread and begins to receive.
    fn enable(&mut self) -> io::Result<()> {
        if !self.is_enabled {
            self.ring.submitter().register_enable_rings()?;
            self.is_enabled = true;
            for socket in 0..self.sockets.len() {
                self.receive(socket);
            }
        }
        Ok(())
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the callers keep what the entry points to until its completion: `MESSAGE` is static,
        // and slots and buffers live in pools that are dropped after the ring.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.expect("the queue has room for every request there can be");
    }

    fn receive(&mut self, socket: usize) {
        let entry =
            opcode::RecvMsgMulti::new(Fixed(socket as u32), &raw const MESSAGE.0, BUFFER_GROUP);
        self.push(&entry.build().user_data(KIND_RX | socket as u64));
    }

    /// Hands the queue to the kernel and fetches what it holds back for us, if there is either.
    fn enter(&mut self) -> io::Result<()> {
        self.enable()?;
        let queue = self.ring.submission();
        let has_work = !queue.is_empty() || queue.taskrun();
        drop(queue);
        if !has_work {
            return Ok(());
        }
        loop {
            match self.ring.submit() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map(drop),
            }
        }
    }

    fn on_received(
        &mut self,
        socket: usize,
        c: &cqueue::Entry,
        burst: &mut RxBurst,
    ) -> io::Result<()> {
        if let Some(buffer) = cqueue::buffer_select(c.flags()) {
            match self.rx.parse(buffer, c.result()) {
                Some((_, _, [])) => self.counters.rx_empty += 1,
                Some((from, time, payload)) => {
                    burst.push(socket, from, time.at, payload);
                    self.counters.rx += 1;
                    self.counters.rx_hardware_times += u64::from(time.is_hardware);
                }
                None => self.counters.rx_oversize += 1,
            }
            self.rx.give_back(buffer);
        }
        match -c.result() {
            ..=0 => {}
            libc::ENOBUFS => self.counters.rx_no_buffer += 1,
            // Reported by the socket on behalf of an earlier datagram, or of memory running short.
            libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ENOMEM
            | libc::EINTR => {
                self.counters.rx_errors += 1;
            }
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        if !cqueue::more(c.flags()) {
            self.receive(socket);
        }
        Ok(())
    }

    fn send_run(&mut self, run: Run) {
        let Run {
            socket,
            first,
            count,
        } = run;
        let what = u64::from(socket) << 28 | u64::from(count) << 16 | u64::from(first);
        let entry = self.tx.request(run).user_data(KIND_TX | what);
        self.push(&entry);
    }

    fn on_sent(&mut self, what: u32, result: i32) {
        let run = Run {
            socket: (what >> 28) as u16,
            first: what as u16,
            count: (what >> 16) as u16 & 0xfff,
        };
        let count = u64::from(run.count);
        match -result {
            // A device or path that takes no runs: each by itself, now and from here on.
            libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP if count > 1 => {
                self.tx.stop_cutting(run.socket);
                self.counters.tx_runs_refused += 1;
                for first in run.first..run.first + run.count {
                    self.send_run(Run {
                        first,
                        count: 1,
                        ..run
                    });
                }
                return;
            }
            1.. => self.counters.tx_errors += count,
            _ => {
                self.counters.tx += count;
                self.counters.tx_in_runs += if count > 1 { count } else { 0 };
            }
        }
        self.tx.free(run);
    }

    fn watch(&mut self, tile: &Parker) {
        let fd = tile.as_fd().as_raw_fd();
        if let Some(watched) = self.watched {
            assert_eq!(watched, fd, "one tile waits on a ring");
            return;
        }
        // Level-triggered when armed: a waker that fired before this ends the wait at once.
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).build();
        self.push(&entry.user_data(KIND_WAKE));
        self.watched = Some(fd);
    }
}

impl Nic for UringNic {
    fn poll(&mut self, rx: &mut RxBurst) -> io::Result<usize> {
        rx.clear();
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.enter()?;
        while !rx.is_full() {
            let Some(completion) = self.ring.completion().next() else {
                break;
            };
            let what = completion.user_data();
            match what & !u64::from(u32::MAX) {
                KIND_RX => self.on_received(what as usize, &completion, rx)?,
                KIND_TX => self.on_sent(what as u32, completion.result()),
                _ => self.watched = None,
            }
        }
        Ok(rx.len())
    }

    fn send(&mut self, socket: usize, to: Endpoint, payload: &[u8]) -> Result<(), TxFull> {
        assert!(
            !payload.is_empty() && payload.len() <= DATAGRAM_MAX,
            "{} bytes",
            payload.len()
        );
        assert!(
            socket < self.sockets.len(),
            "socket {socket} was not opened"
        );
        match self.tx.add(socket, to, payload) {
            None => {
                self.counters.tx_full += 1;
                Err(TxFull)
            }
            Some(complete) => {
                complete.into_iter().for_each(|run| self.send_run(run));
                Ok(())
            }
        }
    }

    fn flush(&mut self) {
        if let Some(run) = self.tx.close() {
            self.send_run(run);
        }
        if !self.ring.submission().is_empty()
            && let Err(failure) = self.enter()
        {
            self.failure = Some(failure);
        }
    }

    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        self.enable()?;
        if let Some(run) = self.tx.close() {
            self.send_run(run);
        }
        self.watch(tile);
        let timeout = Timespec::from(timeout);
        match self
            .ring
            .submitter()
            .submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
        {
            Ok(_) => Ok(()),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn counters(&self) -> &NicCounters {
        &self.counters
    }
}

impl Drop for UringNic {
    fn drop(&mut self) {
        // Nothing may still write into the pools when they go. Not found is what one hopes for.
        let _ = self
            .ring
            .submitter()
            .register_sync_cancel(None, CancelBuilder::any());
    }
}

/// Binds a socket. The kernel takes a ring down after its process is gone, and holds the ring's ports until then:
/// a restart right after a crash waits for them.
fn bind(local: Endpoint) -> io::Result<UdpSocket> {
    for _ in 0..BIND_TRIES {
        match UdpSocket::bind(local) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => std::thread::sleep(BIND_PAUSE),
            other => return other,
        }
    }
    UdpSocket::bind(local)
}

fn open_socket(local: Endpoint) -> Result<(UdpSocket, Endpoint), NicError> {
    let failed = |op| move |source| NicError::Io { op, local, source };
    let socket = bind(local).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => NicError::Busy(local),
        _ => NicError::Io {
            op: "bind",
            local,
            source,
        },
    })?;
    // More than an ordinary user may have needs a right; less is still a working socket.
    if sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER_BYTES).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES)
            .map_err(|e| failed("receive buffer")(e.into()))?;
    }
    if sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER_BYTES).is_err() {
        sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES)
            .map_err(|e| failed("send buffer")(e.into()))?;
    }
    // By the kernel always, by the card where it is set to stamp (`hostd doctor` says how).
    let stamps = libc::SOF_TIMESTAMPING_RX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_RX_HARDWARE
        | libc::SOF_TIMESTAMPING_RAW_HARDWARE;
    // SAFETY: the option's value is an unsigned int, and so is what is passed.
    let stamped = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPING,
            (&raw const stamps).cast(),
            size_of_val(&stamps) as libc::socklen_t,
        )
    };
    if stamped != 0 {
        return Err(failed("receive times")(io::Error::last_os_error()));
    }
    match socket.local_addr().map_err(failed("local address"))? {
        SocketAddr::V4(at) => Ok((socket, at)),
        SocketAddr::V6(_) => unreachable!("bound to an IPv4 address"),
    }
}

#[cfg(test)]
mod tests {
    use super::UringNic;
    use crate::nic::{Endpoint, Nic, RxBurst};
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
    use std::os::fd::AsRawFd;

    fn bed() -> (UringNic, UdpSocket, Endpoint) {
        let nic = UringNic::open(&[Endpoint::new(Ipv4Addr::LOCALHOST, 0)]).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_nonblocking(true).unwrap();
        let SocketAddr::V4(to) = peer.local_addr().unwrap() else {
            unreachable!("bound to IPv4")
        };
        (nic, peer, to)
    }

    /// Sends bursts whose sizes run together in all ways; all of it must come as it was sent, and in order if
    /// `is_ordered`.
    fn say(nic: &mut UringNic, peer: &UdpSocket, to: Endpoint, is_ordered: bool) -> u64 {
        let mut rx = RxBurst::new();
        let mut buffer = [0; 2048];
        let mut next = 0u32;
        for burst in [1, 2, 63, 64, 65, 150] {
            let first = next;
            for i in 0..burst {
                let len = if i % 40 == 39 { 77 } else { 300 };
                let mut payload = vec![next as u8; len];
                payload[..4].copy_from_slice(&next.to_le_bytes());
                nic.send(0, to, &payload).unwrap();
                next += 1;
            }
            nic.flush();
            let mut seen = Vec::new();
            while seen.len() < burst {
                nic.poll(&mut rx).unwrap();
                while let Ok(len) = peer.recv(&mut buffer) {
                    let number = u32::from_le_bytes(buffer[..4].try_into().unwrap());
                    assert!(buffer[4..len].iter().all(|b| *b == number as u8));
                    let want = if (number - first) % 40 == 39 { 77 } else { 300 };
                    assert_eq!(len, want, "datagram {number}");
                    seen.push(number);
                }
            }
            if !is_ordered {
                seen.sort_unstable();
            }
            assert_eq!(seen, (first..next).collect::<Vec<_>>());
        }
        while nic.counters().tx < u64::from(next) {
            nic.poll(&mut rx).unwrap();
        }
        u64::from(next)
    }

    #[test]
    fn bursts_of_equal_datagrams_leave_together_and_arrive_one_by_one() {
        let (mut nic, peer, to) = bed();
        let sent = say(&mut nic, &peer, to, true);
        let c = nic.counters();
        assert_eq!((c.tx, c.tx_errors, c.tx_runs_refused), (sent, 0, 0));
        assert!(c.tx_in_runs > sent / 2, "{c:?}");
    }

    #[test]
    fn where_the_system_takes_no_runs_each_datagram_leaves_by_itself() {
        let (mut nic, peer, to) = bed();
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an int, and so is what is passed. Without checksums nothing can be cut.
        let set = unsafe {
            let socket = nic.sockets[0].0.as_raw_fd();
            let len = size_of_val(&on) as libc::socklen_t;
            libc::setsockopt(
                socket,
                libc::SOL_SOCKET,
                libc::SO_NO_CHECK,
                (&raw const on).cast(),
                len,
            )
        };
        assert_eq!(set, 0);
        let sent = say(&mut nic, &peer, to, false);
        let c = *nic.counters();
        assert_eq!((c.tx, c.tx_errors, c.tx_in_runs), (sent, 0, 0));
        assert!(c.tx_runs_refused > 0);
        // Only the first ones were tried.
        say(&mut nic, &peer, to, true);
        assert_eq!(nic.counters().tx_runs_refused, c.tx_runs_refused);
    }
}
