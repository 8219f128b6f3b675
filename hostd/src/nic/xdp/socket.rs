//! One AF_XDP socket on one queue of an interface: frames in memory that we share with the kernel, and four rings
//! of places in it.
//!
//! ```text
//!          fill: free places ──►        ──► rx: places with a frame ──►  tile
//!  tile                          kernel
//!          tx: places with a frame ──►  ──► completion: free places ──►  tile
//! ```
//!
//! In each ring one side moves `producer`, the other `consumer`; both only count up, and each has entries of its own
//! between the two.

use super::XdpError;
use crate::machine::clock::wall_clock;
use crate::nic::TxFull;
use firmware::units::TimeNs;
use firmware::wire::frame::FRAME_MAX;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

#[expect(
    clippy::disallowed_types,
    reason = "shared with the kernel, not with a thread of ours"
)]
type Shared = std::sync::atomic::AtomicU32;

/// Bytes of a place: a frame, and the room that the kernel leaves in front of it.
const PLACE: usize = 2048;
/// Places for frames that arrive. The kernel has no other buffer for us, so they hold what comes while the tile does
/// something else.
const RX_PLACES: u32 = 2048;
/// Places for frames that leave.
const TX_PLACES: u32 = 1024;
const AREA: usize = (RX_PLACES + TX_PLACES) as usize * PLACE;
/// What the kernel leaves free in front of a frame.
const HEADROOM: usize = 256;
const _: () = assert!(HEADROOM + FRAME_MAX <= PLACE);
const _: () = assert!(RX_PLACES.is_power_of_two() && TX_PLACES.is_power_of_two());
/// Calls in which the kernel takes nothing before we leave the rest for later.
const FRUITLESS_KICKS: u32 = 2;

// Options that the libc crate does not name, as in the kernel's socket.h.
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// Memory that we share with the kernel.
struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    /// Memory of our own when there is no socket, else one of the socket's rings.
    fn new(len: usize, socket: Option<(RawFd, libc::off_t)>) -> io::Result<Self> {
        let (flags, fd, offset) = match socket {
            Some((fd, offset)) => (libc::MAP_SHARED, fd, offset),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
        };
        // SAFETY: the kernel chooses where, so nothing that exists is touched.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags | libc::MAP_POPULATE,
                fd,
                offset,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { at: at.cast(), len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by us with this length; whoever has pointers into it holds it too.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// One ring. `T` is a descriptor or the offset of a place.
struct Ring<T> {
    /// Holds what the pointers lead to.
    _map: Mapping,
    producer: *const Shared,
    consumer: *const Shared,
    flags: *const Shared,
    entries: *mut T,
    mask: u32,
    /// Our own index, and what we last saw of the kernel's.
    own: u32,
    other: u32,
}

impl<T: Copy> Ring<T> {
    fn map(
        fd: RawFd,
        size: u32,
        at: libc::off_t,
        offsets: &libc::xdp_ring_offset,
    ) -> io::Result<Self> {
        let len = offsets.desc as usize + size as usize * size_of::<T>();
        let map = Mapping::new(len, Some((fd, at)))?;
        let base = map.at;
        // SAFETY: the kernel said where its words are; they and the entries lie within `len`, aligned, and the
        // mapping lives as long as the ring.
        unsafe {
            Ok(Self {
                producer: base.add(offsets.producer as usize).cast(),
                consumer: base.add(offsets.consumer as usize).cast(),
                flags: base.add(offsets.flags as usize).cast(),
                entries: base.add(offsets.desc as usize).cast(),
                _map: map,
                mask: size - 1,
                own: 0,
                other: 0,
            })
        }
    }

    const fn word(&self, at: *const Shared) -> &Shared {
        // SAFETY: one of our three pointers; the mapping lives as long as `self`, and the kernel touches the word
        // only as one piece.
        unsafe { &*at }
    }

    /// The kernel wants to be called before it goes on with this ring.
    fn needs_wakeup(&self) -> bool {
        self.word(self.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    // The side that puts things in: fill and tx.

    /// Puts an entry in, which the kernel sees after [`publish`](Self::publish). There must be room: each ring has
    /// as many entries as there are places that could be in it.
    fn put(&mut self, value: T) {
        let at = (self.own & self.mask) as usize;
        // SAFETY: masked, so within the ring; the kernel has long taken what was there, since places in use are
        // never more than entries, and reads it again only behind `producer`.
        unsafe { self.entries.add(at).write(value) };
        self.own = self.own.wrapping_add(1);
    }

    /// Shows the kernel what was put in. Release: it sees the entries, and what they lead to, before the count.
    fn publish(&self) {
        self.word(self.producer).store(self.own, Ordering::Release);
    }

    /// Entries that the kernel has not taken.
    fn untaken(&self) -> u32 {
        let taken = self.word(self.consumer).load(Ordering::Acquire);
        self.own.wrapping_sub(taken)
    }

    // The side that takes things out: rx and completion.

    /// Entries that can be taken, at most `max`. Acquire: we see what the kernel wrote before it counted.
    fn available(&mut self, max: u32) -> u32 {
        if self.other == self.own {
            self.other = self.word(self.producer).load(Ordering::Acquire);
        }
        self.other.wrapping_sub(self.own).min(max)
    }

    /// Takes an entry that is [available](Self::available).
    fn take(&mut self) -> T {
        let at = (self.own & self.mask) as usize;
        self.own = self.own.wrapping_add(1);
        // SAFETY: masked, so within the ring; the kernel wrote it before it counted, and leaves it until we release.
        unsafe { self.entries.add(at).read() }
    }

    /// Gives the kernel back what was taken. Release: we have read it before.
    fn release(&self) {
        self.word(self.consumer).store(self.own, Ordering::Release);
    }
}

/// How frames get between the card and our memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transfer {
    /// The card reads and writes it.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

/// What a socket is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub(super) ifindex: u32,
    pub(super) queue: u32,
    pub(super) transfer: Transfer,
    /// The kernel polls the card on our calls, for at most so long; zero leaves it to interrupts.
    pub(super) busy_poll_us: u32,
}

/// The socket.
pub(super) struct XdpSocket {
    fd: OwnedFd,
    fill: Ring<u64>,
    rx: Ring<libc::xdp_desc>,
    tx: Ring<libc::xdp_desc>,
    completion: Ring<u64>,
    /// Offsets of the free places for frames that leave.
    free: Vec<u64>,
    /// Something was built that the kernel has not been shown.
    has_unpublished: bool,
    /// Something was shown that it has not taken.
    has_untaken: bool,
    is_busy_polled: bool,
    area: Mapping,
}

// SAFETY: the pointers lead into mappings that the socket owns alone; only the kernel is on the other side.
unsafe impl Send for XdpSocket {}

impl XdpSocket {
    pub(super) fn open(binding: &Binding) -> Result<Self, XdpError> {
        let fail = |op| {
            move |source| XdpError::Socket {
                op,
                queue: binding.queue,
                source,
            }
        };
        // SAFETY: makes a descriptor, which is ours alone.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(fail("make a socket")(io::Error::last_os_error()));
        }
        // SAFETY: just made, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let area = Mapping::new(AREA, None).map_err(fail("take memory"))?;
        let memory = libc::xdp_umem_reg {
            addr: area.at as u64,
            len: AREA as u64,
            chunk_size: PLACE as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set(&fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &memory).map_err(fail("share memory"))?;
        for (name, size) in [
            (libc::XDP_UMEM_FILL_RING, RX_PLACES),
            (libc::XDP_UMEM_COMPLETION_RING, TX_PLACES),
            (libc::XDP_RX_RING, RX_PLACES),
            (libc::XDP_TX_RING, TX_PLACES),
        ] {
            set(&fd, libc::SOL_XDP, name, &size).map_err(fail("make a ring"))?;
        }
        let offsets: libc::xdp_mmap_offsets =
            get(&fd, libc::XDP_MMAP_OFFSETS).map_err(fail("find the rings"))?;
        let raw = fd.as_raw_fd();
        let map = fail("map a ring");
        let mut fill = Ring::map(
            raw,
            RX_PLACES,
            libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t,
            &offsets.fr,
        )
        .map_err(&map)?;
        for place in 0..RX_PLACES {
            fill.put(u64::from(place) * PLACE as u64);
        }
        fill.publish();
        let socket = Self {
            rx: Ring::map(raw, RX_PLACES, libc::XDP_PGOFF_RX_RING, &offsets.rx).map_err(&map)?,
            tx: Ring::map(raw, TX_PLACES, libc::XDP_PGOFF_TX_RING, &offsets.tx).map_err(&map)?,
            completion: Ring::map(
                raw,
                TX_PLACES,
                libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t,
                &offsets.cr,
            )
            .map_err(&map)?,
            fill,
            free: (RX_PLACES..RX_PLACES + TX_PLACES)
                .map(|place| u64::from(place) * PLACE as u64)
                .collect(),
            has_unpublished: false,
            has_untaken: false,
            is_busy_polled: binding.busy_poll_us > 0,
            area,
            fd,
        };
        if socket.is_busy_polled {
            socket
                .busy_poll(binding.busy_poll_us)
                .map_err(fail("busy polling"))?;
        }
        socket.bind(binding).map_err(fail("bind"))?;
        Ok(socket)
    }

    fn busy_poll(&self, us: u32) -> io::Result<()> {
        let prefer: libc::c_int = 1;
        set(&self.fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &prefer)?;
        set(&self.fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &us)?;
        let budget = crate::nic::BURST as libc::c_int;
        set(&self.fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget)
    }

    fn bind(&self, binding: &Binding) -> io::Result<()> {
        let transfer = match binding.transfer {
            Transfer::ZeroCopy => libc::XDP_ZEROCOPY,
            Transfer::Copy => libc::XDP_COPY,
        };
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: transfer | libc::XDP_USE_NEED_WAKEUP,
            sxdp_ifindex: binding.ifindex,
            sxdp_queue_id: binding.queue,
            sxdp_shared_umem_fd: 0,
        };
        // SAFETY: address and length belong together.
        let bound = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// See [`FramePort::receive`](crate::nic::raw::FramePort::receive).
    pub(super) fn receive(
        &mut self,
        max: usize,
        on: &mut impl FnMut(&[u8], TimeNs),
    ) -> io::Result<usize> {
        if self.has_untaken {
            self.tx.publish();
            self.kick()?;
        }
        let count = self.rx.available(max as u32);
        if count == 0 {
            if self.is_busy_polled || self.fill.needs_wakeup() {
                self.wake_rx()?;
            }
            return Ok(0);
        }
        let now = wall_clock();
        for _ in 0..count {
            let desc = self.rx.take();
            on(self.frame(&desc), now);
            // Rounded down to the place by the kernel.
            self.fill.put(desc.addr);
        }
        self.rx.release();
        self.fill.publish();
        Ok(count as usize)
    }

    /// A frame that the kernel wrote.
    fn frame(&self, desc: &libc::xdp_desc) -> &[u8] {
        let (at, len) = (desc.addr as usize, desc.len as usize);
        assert!(at <= AREA && len <= AREA - at, "a frame outside our memory");
        // SAFETY: within the area; the place is ours until it is put into the fill ring, which borrows `self` anew.
        unsafe { std::slice::from_raw_parts(self.area.at.add(at), len) }
    }

    /// See [`FramePort::transmit`](crate::nic::raw::FramePort::transmit).
    pub(super) fn transmit(
        &mut self,
        build: impl FnOnce(&mut [u8; FRAME_MAX]) -> usize,
    ) -> Result<(), TxFull> {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.reap();
                self.free.pop().ok_or(TxFull)?
            }
        };
        // SAFETY: the place is within the area, longer than a frame, and free: neither the kernel nor a slice of
        // ours uses it.
        let room = unsafe { &mut *self.area.at.add(place as usize).cast::<[u8; FRAME_MAX]>() };
        let len = build(room);
        assert!(len <= FRAME_MAX, "a frame of {len} bytes");
        self.tx.put(libc::xdp_desc {
            addr: place,
            len: len as u32,
            options: 0,
        });
        self.has_unpublished = true;
        Ok(())
    }

    /// Takes back the places of what has left.
    fn reap(&mut self) {
        let count = self.completion.available(TX_PLACES);
        for _ in 0..count {
            let place = self.completion.take();
            self.free.push(place);
        }
        if count > 0 {
            self.completion.release();
        }
    }

    /// Hands what was built to the kernel.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.has_unpublished {
            self.has_unpublished = false;
            self.tx.publish();
            self.kick()?;
            // What has left is used again first, while it is in the cache.
            self.reap();
        }
        Ok(())
    }

    /// Has the kernel take what is in the tx ring, as far as it goes: what the card has no room for now is tried
    /// again in the next poll.
    fn kick(&mut self) -> io::Result<()> {
        let mut fruitless = 0;
        let mut left = self.tx.untaken();
        while left > 0 && self.tx.needs_wakeup() && fruitless < FRUITLESS_KICKS {
            // SAFETY: sends nothing but the wish to send; no memory is passed.
            let sent = unsafe {
                libc::sendto(
                    self.fd(),
                    std::ptr::null(),
                    0,
                    libc::MSG_DONTWAIT,
                    std::ptr::null(),
                    0,
                )
            };
            if sent < 0 {
                forgive(io::Error::last_os_error())?;
            }
            // It takes a few dozen at a call.
            let now_left = self.tx.untaken();
            fruitless = if now_left < left { 0 } else { fruitless + 1 };
            left = now_left;
            if self.free.is_empty() {
                self.reap();
            }
        }
        self.has_untaken = left > 0;
        Ok(())
    }

    /// Has the kernel look for frames.
    fn wake_rx(&self) -> io::Result<()> {
        // SAFETY: receives nothing; no memory is passed.
        let got = unsafe {
            libc::recvfrom(
                self.fd(),
                std::ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if got < 0 {
            forgive(io::Error::last_os_error())?;
        }
        Ok(())
    }

    /// Fails once the interface is gone: then nothing comes any more, and nobody says so.
    pub(super) fn check(&self) -> io::Result<()> {
        match rustix::net::sockopt::socket_error(&self.fd)? {
            Ok(()) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Frames for us that found no place.
    pub(super) fn lost(&self) -> u64 {
        let statistics: io::Result<libc::xdp_statistics> = get(&self.fd, libc::XDP_STATISTICS);
        // That there is an interface is checked elsewhere.
        statistics.map_or(0, |s| s.rx_dropped + s.rx_ring_full)
    }
}

/// An error that passes by itself, as when the card is busy or the cable is out, is none.
fn forgive(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR | libc::ENETDOWN) => Ok(()),
        _ => Err(error),
    }
}

fn set<T>(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: value and length belong together, and the kernel only reads.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Reads an option that is a struct of plain numbers.
fn get<T>(fd: &OwnedFd, name: libc::c_int) -> io::Result<T> {
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            name,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if (len as usize) < size_of::<T>() {
        return Err(io::Error::other("this kernel is too old"));
    }
    // SAFETY: as long as its type, and both types that are read here are numbers throughout.
    Ok(unsafe { value.assume_init() })
}
