//! Kernel sockets through io_uring: works anywhere, needs no rights.
//!
//! Receiving is one multishot request per socket that the kernel answers again and again out of a ring of
//! buffers; sending is one request per datagram out of a pool of slots, many per system call. A poll with
//! nothing to do looks at two words of shared memory and makes no call. Neither side allocates.
//!
//! There is no kernel-side polling thread: it would want a core of its own.

use super::{Endpoint, Nic, NicCounters, NicError, RxBurst, TxFull};
use crate::clock::wall_clock;
use firmware::limits::DATAGRAM_MAX;
use firmware::units::TimeNs;
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, Fixed, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use lane::Parker;
use rustix::net::sockopt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Receive buffers; a power of two. Few, so that they stay in the cache: what does not fit waits in the
/// socket, which is larger.
const RX_BUFFERS: u16 = 256;
/// Datagrams queued or being sent at a time.
const TX_SLOTS: u16 = 1024;
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

/// Space for a sender's address in a receive buffer.
const NAME_LEN: usize = size_of::<libc::sockaddr_in>();
/// Space for the receive time: a control header and a timespec.
const CONTROL_LEN: usize = size_of::<libc::cmsghdr>() + size_of::<libc::timespec>();
/// Where the payload begins in a receive buffer: after the kernel's own header and the two above.
const PAYLOAD_AT: usize = 16 + NAME_LEN + CONTROL_LEN;
/// A payload of ours fits, and one byte more, so that an oversize one shows.
const RX_BUFFER_LEN: usize = 2048;
const _: () = assert!(PAYLOAD_AT + DATAGRAM_MAX < RX_BUFFER_LEN);

const BUFFER_GROUP: u16 = 0;

/// What a completion answers: kind in the high half, index in the low.
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
                Some((from, rx_time, payload)) => {
                    burst.push(socket, from, rx_time, payload);
                    self.counters.rx += 1;
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

    fn on_sent(&mut self, slot: u16, result: i32) {
        self.tx.free.push(slot);
        if result < 0 {
            self.counters.tx_errors += 1;
        } else {
            self.counters.tx += 1;
        }
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
                KIND_TX => self.on_sent(what as u16, completion.result()),
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
        let Some(slot) = self.tx.free.pop() else {
            self.counters.tx_full += 1;
            return Err(TxFull);
        };
        let entry = self.tx.fill(slot, socket, to, payload);
        self.push(&entry);
        Ok(())
    }

    fn flush(&mut self) {
        if !self.ring.submission().is_empty()
            && let Err(failure) = self.enter()
        {
            self.failure = Some(failure);
        }
    }

    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        self.enable()?;
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
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int, and so is what is passed.
    let stamped = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
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

/// The shape of what is received, the same for all sockets: the kernel reads only the two lengths.
struct Message(libc::msghdr);
// SAFETY: nobody writes it, and its pointers are null.
unsafe impl Sync for Message {}
static MESSAGE: Message = Message(libc::msghdr {
    msg_name: std::ptr::null_mut(),
    msg_namelen: NAME_LEN as libc::socklen_t,
    msg_iov: std::ptr::null_mut(),
    msg_iovlen: 0,
    msg_control: std::ptr::null_mut(),
    msg_controllen: CONTROL_LEN,
    msg_flags: 0,
});

/// Buffers that the kernel receives into, and the ring in which they are offered to it.
struct RxPool {
    /// As the kernel wants it: page-aligned, one entry per buffer, the ring's tail in a reserved field of
    /// the first.
    entries: Box<[EntryPage]>,
    buffers: Box<[[u8; RX_BUFFER_LEN]]>,
    tail: u16,
}

const ENTRY_LEN: usize = size_of::<BufRingEntry>();
const _: () = assert!(ENTRY_LEN == 16 && (RX_BUFFERS as usize * ENTRY_LEN).is_multiple_of(4096));

#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct EntryPage([u8; 4096]);

impl RxPool {
    fn new() -> Self {
        let pages = RX_BUFFERS as usize * ENTRY_LEN / size_of::<EntryPage>();
        let mut pool = Self {
            entries: vec![EntryPage([0; 4096]); pages].into_boxed_slice(),
            buffers: vec![[0; RX_BUFFER_LEN]; RX_BUFFERS as usize].into_boxed_slice(),
            tail: 0,
        };
        for buffer in 0..RX_BUFFERS {
            pool.give_back(buffer);
        }
        pool
    }

    /// Offers a buffer to the kernel (again).
    fn give_back(&mut self, buffer: u16) {
        let address = self.buffers[usize::from(buffer)].as_mut_ptr() as u64;
        let ring: *mut BufRingEntry = self.entries.as_mut_ptr().cast();
        let slot = usize::from(self.tail % RX_BUFFERS);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `slot` is within the pages, which hold RX_BUFFERS entries of plain integers. The kernel
        // reads an entry only after the tail has passed it, and this one it has long consumed.
        unsafe {
            let entry = &mut *ring.add(slot);
            entry.set_addr(address);
            entry.set_len(RX_BUFFER_LEN as u32);
            entry.set_bid(buffer);
        }
        publish(ring, self.tail);
    }

    /// Sender, time and payload in a buffer of which the kernel filled `len` bytes; None if the datagram
    /// is longer than any of ours.
    fn parse(&self, buffer: u16, len: i32) -> Option<(Endpoint, TimeNs, &[u8])> {
        let bytes = &self.buffers[usize::from(buffer)][..usize::try_from(len).ok()?];
        let message = RecvMsgOut::parse(bytes, &MESSAGE.0).ok()?;
        let payload = &bytes[PAYLOAD_AT..];
        if message.is_payload_truncated() || payload.len() > DATAGRAM_MAX {
            return None;
        }
        let from = read_name(message.name_data())?;
        let rx_time = read_time(message.control_data()).unwrap_or_else(wall_clock);
        Some((from, rx_time, payload))
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "shared with the kernel, not with a thread of ours"
)]
fn publish(ring: *mut BufRingEntry, tail: u16) {
    // SAFETY: the tail is an aligned u16 in the first entry. Release, so that the kernel, which acquires
    // it, sees the entries before it. Only this thread and the kernel touch it.
    unsafe {
        let at = BufRingEntry::tail(ring).cast_mut();
        std::sync::atomic::AtomicU16::from_ptr(at).store(tail, Ordering::Release);
    }
}

/// The sender's address, as `sockaddr_in` has it.
fn read_name(name: &[u8]) -> Option<Endpoint> {
    let port = name.get(2..4)?.try_into().ok()?;
    let ip: [u8; 4] = name.get(4..8)?.try_into().ok()?;
    Some(Endpoint::new(Ipv4Addr::from(ip), u16::from_be_bytes(port)))
}

/// The receive time: one control message, a header and a timespec.
fn read_time(control: &[u8]) -> Option<TimeNs> {
    let word = |at: usize| {
        Some(u64::from_ne_bytes(
            control.get(at..at + 8)?.try_into().ok()?,
        ))
    };
    let kind = control.get(8..16)?;
    let is_time = kind[..4] == libc::SOL_SOCKET.to_ne_bytes()
        && kind[4..] == libc::SCM_TIMESTAMPNS.to_ne_bytes();
    let at = size_of::<libc::cmsghdr>();
    is_time.then_some(TimeNs(
        word(at)?
            .checked_mul(1_000_000_000)?
            .checked_add(word(at + 8)?)?,
    ))
}

/// Datagrams on their way out.
struct TxPool {
    slots: Box<[TxSlot]>,
    free: Vec<u16>,
}

#[derive(Clone, Copy)]
struct TxSlot {
    to: libc::sockaddr_in,
    payload: [u8; DATAGRAM_MAX],
}

impl TxPool {
    fn new() -> Self {
        let nowhere = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr { s_addr: 0 },
            sin_zero: [0; 8],
        };
        let slot = TxSlot {
            to: nowhere,
            payload: [0; DATAGRAM_MAX],
        };
        let slots = vec![slot; usize::from(TX_SLOTS)].into_boxed_slice();
        Self {
            slots,
            free: (0..TX_SLOTS).collect(),
        }
    }

    fn fill(&mut self, slot: u16, socket: usize, to: Endpoint, payload: &[u8]) -> squeue::Entry {
        let at = &mut self.slots[usize::from(slot)];
        at.to.sin_port = to.port().to_be();
        at.to.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
        at.payload[..payload.len()].copy_from_slice(payload);
        opcode::Send::new(
            Fixed(socket as u32),
            at.payload.as_ptr(),
            payload.len() as u32,
        )
        .dest_addr((&raw const at.to).cast())
        .dest_addr_len(NAME_LEN as libc::socklen_t)
        .build()
        .user_data(KIND_TX | u64::from(slot))
    }
}
