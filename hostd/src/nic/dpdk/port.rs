//! One port of DPDK: a queue in, a queue out, a pool of frames.

use super::DpdkError;
use super::eal;
use super::watch::Watch;
use crate::config::DpdkSection;
use crate::machine::clock::wall_clock;
use crate::machine::log;
use crate::nic::raw::FramePort;
use crate::nic::{BURST, TxFull};
use dpdk_sys::{
    rte_epoll_event, rte_eth_conf, rte_eth_dev_info, rte_mbuf, rte_mempool, shim_frame,
};
use firmware::units::TimeNs;
use firmware::wire::frame::{FRAME_MAX, Mac};
use lane::Parker;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use std::collections::BTreeSet;
use std::ffi::{CString, c_int};
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Descriptors of each queue, if the device has so many.
const DESCRIPTORS: u16 = 1024;
/// Frames under way to the device's queue.
const TX_MAX: usize = 1024;
/// Frames of the pool: both queues full, as many again under way, the thread's cache. One less than a power of two
/// is what its ring holds best.
const POOL_FRAMES: u32 = 8191;
const POOL_CACHE: u32 = 256;
const _: () = assert!(
    POOL_FRAMES as usize > 2 * DESCRIPTORS as usize + TX_MAX + BURST + 2 * POOL_CACHE as usize
);
/// A frame of ours fits, and a longer one shows by its length.
const _: () = assert!(FRAME_MAX + 128 < dpdk_sys::SHIM_MBUF_LEN as usize);
const START_TRIES: u32 = 6;
const START_PAUSE: Duration = Duration::from_millis(100);
/// Without interrupts an idle tile naps, from the first of these to the second: what a frame may wait.
const NAP_MIN: Duration = Duration::from_micros(10);
const NAP_MAX: Duration = Duration::from_micros(160);
/// A device's time this far from ours is not the wall clock's.
const STAMP_AGE_MAX_NS: u64 = 1_000_000_000;

/// Ports that somebody has, by name: DPDK would let a second one close them.
static OWNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

const NO_FRAME: shim_frame = shim_frame {
    mbuf: std::ptr::null_mut(),
    data: std::ptr::null(),
    len: 0,
    held: 0,
    stamp: 0,
};

/// A started port. Belongs to one thread at a time.
pub struct Port {
    id: u16,
    name: String,
    mac: Mac,
    pool: *mut rte_mempool,
    stamps: Option<Stamps>,
    rx: Box<[shim_frame; BURST]>,
    rx_len: usize,
    /// The first of them that was not looked at.
    rx_next: usize,
    /// When they were taken.
    rx_now: TimeNs,
    tx: Box<[*mut rte_mbuf; TX_MAX]>,
    tx_len: usize,
    /// The polling thread is one of DPDK's.
    is_entered: bool,
    sleep: Option<Sleep>,
    watch: Option<Watch>,
}

// SAFETY: nothing that it points to belongs to a thread: a thread's cache of frames is found by the thread that
// takes or gives them.
unsafe impl Send for Port {}

/// Where a frame's time of arrival lies.
#[derive(Clone, Copy)]
struct Stamps {
    offset: c_int,
    flag: u64,
}

/// Sleeping on the device's interrupt.
struct Sleep {
    epoll: OwnedFd,
    /// What DPDK keeps a pointer to, for the tile's eventfd; none before the first wait.
    tile: Option<Box<rte_epoll_event>>,
}

impl Port {
    /// Begins DPDK if it does not run, finds or plugs in the port, and starts it.
    ///
    /// # Errors
    /// What DPDK refuses, and why.
    pub(super) fn open(section: &DpdkSection) -> Result<Self, DpdkError> {
        eal::start(&section.eal)?;
        let first = match Self::plugged(&section.port)?.started() {
            Ok(port) => return Ok(port),
            Err(error) => error,
        };
        // A driver over the kernel may find the interface still held by a port that is gone, which the kernel takes down
        // a little later.
        for _ in 1..START_TRIES {
            std::thread::sleep(START_PAUSE);
            if let Ok(port) = Self::plugged(&section.port).and_then(Self::started) {
                return Ok(port);
            }
        }
        Err(first)
    }

    /// The port, not started. Dropping it gives the device back.
    fn plugged(device: &str) -> Result<Self, DpdkError> {
        eal::listen();
        let name = device_name(device).to_owned();
        let mut owned = OWNED.lock().expect("nobody panics with it");
        if !owned.insert(name.clone()) {
            return Err(DpdkError::Taken(name));
        }
        let id = find_or_plug(device).inspect_err(|_| {
            owned.remove(&name);
        })?;
        Ok(Self {
            id,
            name,
            mac: Mac([0; 6]),
            pool: std::ptr::null_mut(),
            stamps: None,
            rx: Box::new([NO_FRAME; BURST]),
            rx_len: 0,
            rx_next: 0,
            rx_now: TimeNs(0),
            tx: Box::new([std::ptr::null_mut(); TX_MAX]),
            tx_len: 0,
            is_entered: false,
            sleep: None,
            watch: None,
        })
    }

    fn started(mut self) -> Result<Self, DpdkError> {
        self.start()?;
        Ok(self)
    }

    fn start(&mut self) -> Result<(), DpdkError> {
        let info = device_info(self.id)?;
        if info.rx_offload_capa & u64::from(dpdk_sys::SHIM_RX_OFFLOAD_TIMESTAMP) != 0 {
            self.stamps = register_stamps();
        }
        self.pool = make_pool(self.id)?;
        // Some devices cannot be set up with the interrupt that others sleep on.
        let has_interrupt = self.bring_up(&info, true).is_ok();
        if !has_interrupt {
            self.bring_up(&info, false)?;
        }
        // SAFETY: no memory is handed over.
        let code = unsafe { dpdk_sys::rte_eth_promiscuous_disable(self.id) };
        if code != 0 && code != -libc::ENOTSUP {
            return Err(DpdkError::told("promiscuous mode off", code));
        }
        let mut mac = dpdk_sys::rte_ether_addr::default();
        // SAFETY: fills the struct that it is given.
        check("address", unsafe {
            dpdk_sys::rte_eth_macaddr_get(self.id, &raw mut mac)
        })?;
        self.mac = Mac(mac.addr_bytes);
        if has_interrupt {
            self.sleep = Sleep::on(self.id);
        }
        let watch = Watch::begin(self.id, &self.name);
        self.watch = Some(watch.map_err(|e| DpdkError::refused("thread", &e.to_string()))?);
        log::event(
            "dpdk_port",
            &[
                ("port", &self.name),
                ("mac", &self.mac),
                (
                    "sleeps",
                    &self
                        .sleep
                        .as_ref()
                        .map_or("by naps", |_| "on its interrupt"),
                ),
                (
                    "rx_time",
                    &self.stamps.map_or("when polled", |_| "from the device"),
                ),
            ],
        );
        Ok(())
    }

    /// One queue each way, started.
    fn bring_up(&mut self, info: &rte_eth_dev_info, with_interrupt: bool) -> Result<(), DpdkError> {
        let mut wish = rte_eth_conf::default();
        wish.intr_conf.set_rxq(u32::from(with_interrupt));
        if self.stamps.is_some() {
            wish.rxmode.offloads |= u64::from(dpdk_sys::SHIM_RX_OFFLOAD_TIMESTAMP);
        }
        // All our frames come from one pool and have one owner.
        wish.txmode.offloads =
            info.tx_offload_capa & u64::from(dpdk_sys::SHIM_TX_OFFLOAD_FAST_FREE);
        let (mut rx, mut tx) = (DESCRIPTORS, DESCRIPTORS);
        let id = self.id;
        // SAFETY: the structs are read before the calls return, and null asks for the device's defaults. The pool
        // lives until the port is closed.
        unsafe {
            check(
                "configuration",
                dpdk_sys::rte_eth_dev_configure(id, 1, 1, &raw const wish),
            )?;
            check(
                "queue sizes",
                dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &raw mut rx, &raw mut tx),
            )?;
            let socket = dpdk_sys::rte_eth_dev_socket_id(id) as u32;
            let null = std::ptr::null();
            check(
                "receive queue",
                dpdk_sys::rte_eth_rx_queue_setup(id, 0, rx, socket, null, self.pool),
            )?;
            check(
                "send queue",
                dpdk_sys::rte_eth_tx_queue_setup(id, 0, tx, socket, std::ptr::null()),
            )?;
            check("start", dpdk_sys::rte_eth_dev_start(id))
        }
    }

    /// The device's address.
    pub(super) const fn mac(&self) -> Mac {
        self.mac
    }

    /// Takes a burst from the device unless there are frames left of the last one; returns how many there are.
    fn look(&mut self) -> usize {
        if self.rx_next == self.rx_len {
            self.release();
            let (offset, flag) = self.stamps.map_or((-1, 0), |s| (s.offset, s.flag));
            let (room, max) = (self.rx.as_mut_ptr(), BURST as u16);
            // SAFETY: the port is started, this thread is the only one that polls it, and there is room for so many.
            self.rx_len = usize::from(unsafe {
                dpdk_sys::shim_rx_burst(self.id, 0, room, max, offset, flag)
            });
            if self.rx_len > 0 {
                self.rx_now = wall_clock();
            }
        }
        self.rx_len - self.rx_next
    }

    fn release(&mut self) {
        for frame in &self.rx[..self.rx_len] {
            // SAFETY: received and not freed yet; the list is emptied below.
            unsafe { dpdk_sys::shim_free(frame.mbuf) };
        }
        (self.rx_len, self.rx_next) = (0, 0);
    }

    fn nap(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        let end = Instant::now() + timeout;
        let mut nap = NAP_MIN;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || is_awake(tile, nap.min(left))? {
                return Ok(());
            }
            self.flush();
            if self.look() > 0 {
                return Ok(());
            }
            nap = NAP_MAX.min(2 * nap);
        }
    }
}

impl FramePort for Port {
    fn receive(&mut self, max: usize, mut on: impl FnMut(&[u8], TimeNs)) -> io::Result<usize> {
        if !self.is_entered {
            self.is_entered = true;
            eal::enter_thread();
        }
        let n = self.look().min(max);
        for frame in &self.rx[self.rx_next..self.rx_next + n] {
            // A frame that the device put into several buffers is longer than any of ours, and is cut to the first.
            // SAFETY: the frame is ours until `release`, and holds so many bytes.
            let bytes = unsafe { std::slice::from_raw_parts(frame.data, frame.held as usize) };
            on(bytes, arrival(frame.stamp, self.rx_now));
        }
        self.rx_next += n;
        Ok(n)
    }

    fn transmit(
        &mut self,
        build: impl FnOnce(&mut [u8; FRAME_MAX]) -> usize,
    ) -> Result<(), TxFull> {
        if self.tx_len == TX_MAX {
            return Err(TxFull);
        }
        let mut data = std::ptr::null_mut();
        // SAFETY: the pool lives; the address is filled when a frame comes back.
        let mbuf = unsafe { dpdk_sys::shim_alloc(self.pool, &raw mut data, FRAME_MAX as u16) };
        if mbuf.is_null() {
            return Err(TxFull);
        }
        // SAFETY: the frame is ours alone and has room for FRAME_MAX bytes, which any bytes are valid for.
        let len = build(unsafe { &mut *data.cast::<[u8; FRAME_MAX]>() });
        assert!(len <= FRAME_MAX, "{len} bytes");
        // SAFETY: ours, with room for so many bytes.
        unsafe { dpdk_sys::shim_set_len(mbuf, len as u16) };
        self.tx[self.tx_len] = mbuf;
        self.tx_len += 1;
        Ok(())
    }

    /// What the device has no room for goes with the next flush.
    fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.tx_len {
            let rest = &mut self.tx[sent..self.tx_len];
            // SAFETY: frames of ours; those that it takes are its own from then on, and are forgotten below.
            let n = usize::from(unsafe {
                dpdk_sys::shim_tx_burst(self.id, 0, rest.as_mut_ptr(), rest.len() as u16)
            });
            if n == 0 {
                break;
            }
            sent += n;
        }
        self.tx.copy_within(sent..self.tx_len, 0);
        self.tx_len -= sent;
    }

    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        self.flush();
        if self.look() > 0 {
            return Ok(());
        }
        match self.sleep.take() {
            // Frames that the device did not take are to be offered again soon.
            Some(mut sleep) if self.tx_len == 0 => {
                let slept = sleep.until(self, tile, timeout);
                self.sleep = Some(sleep);
                slept
            }
            sleep => {
                self.sleep = sleep;
                self.nap(tile, timeout)
            }
        }
    }

    fn lost(&mut self) -> u64 {
        let watch = self.watch.as_mut().expect("as long as the port lives");
        watch.lost()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Whoever asks the device from another thread goes first.
        self.watch = None;
        self.release();
        for mbuf in &self.tx[..self.tx_len] {
            // SAFETY: never handed over.
            unsafe { dpdk_sys::shim_free(*mbuf) };
        }
        let device = device_info(self.id).map(|info| info.device);
        // SAFETY: the port is ours, and nobody polls it any more. The pool goes last, when no queue holds a frame.
        unsafe {
            dpdk_sys::rte_eth_dev_stop(self.id);
            dpdk_sys::rte_eth_dev_close(self.id);
            if let Ok(device) = device {
                dpdk_sys::rte_dev_remove(device);
            }
            dpdk_sys::rte_mempool_free(self.pool);
        }
        if let Ok(mut owned) = OWNED.lock() {
            owned.remove(&self.name);
        }
    }
}

impl Sleep {
    /// None if the device has no interrupt for its queue.
    fn on(port: u16) -> Option<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).ok()?;
        // SAFETY: adds the queue's descriptor to a list that is ours; DPDK holds the record of it.
        let code = unsafe {
            let add = dpdk_sys::SHIM_INTR_ADD as c_int;
            dpdk_sys::rte_eth_dev_rx_intr_ctl_q(
                port,
                0,
                epoll.as_raw_fd(),
                add,
                std::ptr::null_mut(),
            )
        };
        (code == 0).then_some(Self { epoll, tile: None })
    }

    fn until(&mut self, port: &mut Port, tile: &Parker, timeout: Duration) -> io::Result<()> {
        self.watch(tile)?;
        // SAFETY: no memory is handed over; the queue has an interrupt.
        if unsafe { dpdk_sys::rte_eth_dev_rx_intr_enable(port.id, 0) } != 0 {
            return port.nap(tile, timeout);
        }
        // What came before the interrupt was on raises none.
        let code = if port.look() > 0 {
            0
        } else {
            let mut events = [rte_epoll_event::default(); 2];
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            let millis = c_int::try_from(millis).unwrap_or(c_int::MAX);
            // SAFETY: there is room for two events, and the records that they are told from outlive the call.
            unsafe {
                dpdk_sys::rte_epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), 2, millis)
            }
        };
        // SAFETY: as above.
        unsafe { dpdk_sys::rte_eth_dev_rx_intr_disable(port.id, 0) };
        if code < 0 {
            return Err(io::Error::from_raw_os_error(eal::errno()));
        }
        Ok(())
    }

    fn watch(&mut self, tile: &Parker) -> io::Result<()> {
        let fd = tile.as_fd().as_raw_fd();
        if let Some(watched) = &self.tile {
            assert_eq!(watched.fd, fd, "one tile waits on a port");
            return Ok(());
        }
        let mut event = Box::<rte_epoll_event>::default();
        event.epdata.event = libc::EPOLLIN as u32;
        // SAFETY: DPDK keeps the pointer as long as the list lives, which is dropped before the box (fields drop in
        // order).
        let code = unsafe {
            dpdk_sys::rte_epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                fd,
                &raw mut *event,
            )
        };
        if code < 0 {
            return Err(io::Error::from_raw_os_error(-code));
        }
        self.tile = Some(event);
        Ok(())
    }
}

/// Whether the tile was woken, now or within `timeout`.
fn is_awake(tile: &Parker, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match poll(&mut [PollFd::new(tile, PollFlags::IN)], Some(&timeout)) {
        Ok(n) => Ok(n > 0),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

/// The device's time if it is the wall clock's, else when it was polled: a clock of the device's own counts from
/// anywhere.
fn arrival(stamp: u64, now: TimeNs) -> TimeNs {
    match now.0.checked_sub(stamp) {
        Some(age) if age <= STAMP_AGE_MAX_NS => TimeNs(stamp),
        _ => now,
    }
}

/// A device's string without its parameters: the name of its port.
fn device_name(device: &str) -> &str {
    device.split(',').next().unwrap_or_default()
}

/// The port of this device: one that DPDK found at start, else plugged in now.
fn find_or_plug(device: &str) -> Result<u16, DpdkError> {
    let c_string = |text: &str| {
        CString::new(text).map_err(|_| DpdkError::refused("port", "its name has a zero byte"))
    };
    let name = c_string(device_name(device))?;
    let find = || {
        let mut id = 0;
        // SAFETY: reads a C string, fills a number.
        let code = unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut id) };
        (code == 0).then_some(id)
    };
    if let Some(id) = find() {
        return Ok(id);
    }
    let whole = c_string(device)?;
    // SAFETY: reads a C string.
    let code = unsafe { dpdk_sys::rte_dev_probe(whole.as_ptr()) };
    check("device", code)?;
    find().ok_or_else(|| DpdkError::refused("device", "it brings no port of its own name"))
}

fn device_info(port: u16) -> Result<rte_eth_dev_info, DpdkError> {
    let mut info = rte_eth_dev_info::default();
    // SAFETY: fills the struct that it is given.
    check("information", unsafe {
        dpdk_sys::rte_eth_dev_info_get(port, &raw mut info)
    })?;
    Ok(info)
}

fn register_stamps() -> Option<Stamps> {
    let (mut offset, mut flag) = (-1, 0);
    // SAFETY: fills two numbers.
    let code =
        unsafe { dpdk_sys::rte_mbuf_dyn_rx_timestamp_register(&raw mut offset, &raw mut flag) };
    (code == 0).then_some(Stamps { offset, flag })
}

fn make_pool(port: u16) -> Result<*mut rte_mempool, DpdkError> {
    let name = CString::new(format!("frames_{port}")).expect("no zero byte");
    // SAFETY: reads a C string.
    let pool = unsafe {
        let socket = dpdk_sys::rte_eth_dev_socket_id(port);
        dpdk_sys::rte_pktmbuf_pool_create(
            name.as_ptr(),
            POOL_FRAMES,
            POOL_CACHE,
            0,
            dpdk_sys::SHIM_MBUF_LEN as u16,
            socket,
        )
    };
    if pool.is_null() {
        return Err(DpdkError::told("memory for frames", -eal::errno()));
    }
    Ok(pool)
}

fn check(op: &'static str, code: c_int) -> Result<(), DpdkError> {
    if code == 0 {
        Ok(())
    } else {
        Err(DpdkError::told(op, code))
    }
}

#[cfg(test)]
mod tests {
    use super::{STAMP_AGE_MAX_NS, arrival, device_name};
    use firmware::units::TimeNs;

    #[test]
    fn a_device_clock_counts_only_if_it_is_the_wall_clock() {
        let now = TimeNs(1_800_000_000_000_000_000);
        assert_eq!(arrival(now.0 - 5, now), TimeNs(now.0 - 5));
        assert_eq!(
            arrival(now.0 - STAMP_AGE_MAX_NS, now),
            TimeNs(now.0 - STAMP_AGE_MAX_NS)
        );
        for other in [0, 77, now.0 - STAMP_AGE_MAX_NS - 1, now.0 + 1, u64::MAX] {
            assert_eq!(arrival(other, now), now);
        }
    }

    #[test]
    fn a_port_is_called_like_its_device() {
        assert_eq!(
            device_name("net_af_packet0,iface=veth0,framecnt=512"),
            "net_af_packet0"
        );
        assert_eq!(device_name("0000:3b:00.0"), "0000:3b:00.0");
    }
}
