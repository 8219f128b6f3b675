//! The suite.

use firmware::limits::DATAGRAM_MAX;
use hostd::nic::{BURST, Endpoint, Nic, RxBurst, TxFull};
use lane::Parker;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// A wait that ends by its timeout instead of by its cause would take this long.
const LONG: Duration = Duration::from_secs(60);
pub(crate) const ORDERS: usize = 0;
pub(crate) const FEED: usize = 1;

/// The other end of a backend.
pub(crate) trait Peer: Send + 'static {
    fn address(&self) -> Endpoint;
    fn tell(&self, to: Endpoint, payload: &[u8]);
    /// Waits for a datagram.
    fn hear(&self, buffer: &mut [u8]) -> (usize, Endpoint);
    /// The same socket, for another thread.
    fn share(&self) -> Self;
    /// Another socket in the same place.
    fn another(&self) -> Self;
    /// The longest datagram that comes over whole; longer ones come in fragments, which are faults where they show.
    fn longest(&self) -> usize {
        65_507
    }
}

/// A backend with two sockets, and a peer of it.
struct Bed<N, P> {
    nic: N,
    locals: [Endpoint; 2],
    peer: P,
    rx: RxBurst,
}

fn endpoint(at: SocketAddr) -> Endpoint {
    let SocketAddr::V4(at) = at else {
        panic!("{at}")
    };
    at
}

pub(crate) fn peer() -> UdpSocket {
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    peer
}

impl Peer for UdpSocket {
    fn address(&self) -> Endpoint {
        endpoint(self.local_addr().unwrap())
    }

    fn tell(&self, to: Endpoint, payload: &[u8]) {
        assert_eq!(self.send_to(payload, to).unwrap(), payload.len());
    }

    fn hear(&self, buffer: &mut [u8]) -> (usize, Endpoint) {
        loop {
            match self.recv_from(buffer) {
                Ok((n, from)) => return (n, endpoint(from)),
                // The ring may interrupt a blocking call of the thread that owns it.
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn share(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn another(&self) -> Self {
        peer()
    }
}

impl<N: Nic, P: Peer> Bed<N, P> {
    fn new(make: impl Fn(&[Endpoint]) -> (N, [Endpoint; 2], P)) -> Self {
        let any = Endpoint::new(Ipv4Addr::LOCALHOST, 0);
        let (mut nic, locals, peer) = make(&[any, any]);
        // The first poll begins to receive.
        let mut rx = RxBurst::new();
        assert_eq!(nic.poll(&mut rx).unwrap(), 0);
        let mut bed = Self {
            nic,
            locals,
            peer,
            rx,
        };
        bed.greet();
        bed
    }

    /// One datagram to the peer: whoever moves frames knows where it lives from then on.
    fn greet(&mut self) {
        let before = self.nic.counters().tx;
        self.nic
            .send(ORDERS, self.peer.address(), b"hello")
            .unwrap();
        self.nic.flush();
        while self.nic.counters().tx == before {
            assert_eq!(self.nic.poll(&mut self.rx).unwrap(), 0);
        }
        assert_eq!(self.peer.hear(&mut [0; 8]), (5, self.locals[ORDERS]));
    }

    fn address(&self) -> Endpoint {
        self.peer.address()
    }

    fn tell(&self, socket: usize, payload: &[u8]) {
        self.peer.tell(self.locals[socket], payload);
    }

    /// Polls until `n` datagrams came, each handed to `on`.
    fn take(&mut self, n: usize, mut on: impl FnMut(&mut N, hostd::nic::Frame<'_>)) {
        let mut seen = 0;
        while seen < n {
            seen += self.nic.poll(&mut self.rx).unwrap();
            for frame in self.rx.iter() {
                on(&mut self.nic, frame);
            }
            std::hint::spin_loop();
        }
        assert_eq!(seen, n, "nothing comes twice");
    }

    /// Sends, polling away what is in the way.
    fn say(nic: &mut N, socket: usize, to: Endpoint, payload: &[u8]) {
        // Frames that come meanwhile belong to a test that expects none.
        let mut rx = RxBurst::new();
        while nic.send(socket, to, payload) == Err(TxFull) {
            nic.flush();
            assert_eq!(nic.poll(&mut rx).unwrap(), 0);
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + len) as u8).collect()
}

/// Every size comes in and goes out whole, with the address it came from; none and too much do not.
fn it_echoes_datagrams_of_every_size<N: Nic, P: Peer>(bed: &mut Bed<N, P>) {
    let mut buffer = [0; 2048];
    let sizes: Vec<usize> = (0..=DATAGRAM_MAX).collect();
    for (i, burst) in sizes.chunks(37).enumerate() {
        let socket = i % 2;
        for &len in burst {
            bed.tell(socket, &pattern(len));
        }
        let whole = burst.iter().filter(|&&len| len > 0).count();
        let address = bed.address();
        bed.take(whole, |nic, frame| {
            assert_eq!((frame.socket, frame.from), (socket, address));
            assert_eq!(frame.payload, pattern(frame.payload.len()));
            nic.send(frame.socket, frame.from, frame.payload).unwrap();
        });
        bed.nic.flush();
        for &len in burst.iter().filter(|&&len| len > 0) {
            let (n, from) = bed.peer.hear(&mut buffer);
            assert_eq!((n, from), (len, bed.locals[socket]));
            assert_eq!(buffer[..n], pattern(len));
        }
    }
    assert_eq!(bed.nic.counters().rx_empty, 1);
    assert_eq!(bed.nic.counters().rx, DATAGRAM_MAX as u64);
}

fn it_drops_and_counts_what_is_empty_or_too_long<N: Nic, P: Peer>(bed: &mut Bed<N, P>) {
    let before = *bed.nic.counters();
    let sizes = [DATAGRAM_MAX + 1, 0, 1900, 2048, 9000, 65_000];
    for len in sizes {
        bed.tell(ORDERS, &vec![1; len]);
    }
    let whole = DATAGRAM_MAX + 1..=bed.peer.longest();
    let oversize = sizes.iter().filter(|len| whole.contains(len)).count() as u64;
    bed.tell(ORDERS, b"last");
    bed.take(1, |_, frame| assert_eq!(frame.payload, b"last"));
    let after = bed.nic.counters();
    assert_eq!(after.rx_empty - before.rx_empty, 1);
    assert_eq!(after.rx_oversize - before.rx_oversize, oversize);
    assert_eq!(after.rx - before.rx, 1);
}

/// What fits the socket's buffer arrives, all of it and in order, also when nobody polls meanwhile.
fn it_loses_nothing_and_keeps_order<N: Nic, P: Peer>(bed: &mut Bed<N, P>) {
    let mut next = 0_u32;
    for _ in 0..50 {
        for i in next..next + 200 {
            let mut payload = pattern(64);
            payload[..4].copy_from_slice(&i.to_le_bytes());
            bed.tell(ORDERS, &payload);
        }
        bed.take(200, |_, frame| {
            assert_eq!(frame.payload[..4], next.to_le_bytes());
            assert_eq!(frame.payload.len(), 64);
            next += 1;
        });
    }
    assert_eq!(next, 10_000);
    assert_eq!(bed.nic.counters().rx, 10_000);
}

/// More datagrams wait, for both sockets, than the backend has buffers: it pauses, and then goes on.
fn it_survives_running_out_of_receive_buffers<N: Nic, P: Peer>(bed: &mut Bed<N, P>) {
    for round in 0..10 {
        let mut next = [0_u32; 2];
        for i in 0..400_u32 {
            bed.tell(ORDERS, &i.to_le_bytes());
            bed.tell(FEED, &i.to_le_bytes());
        }
        bed.take(800, |_, frame| {
            assert_eq!(
                frame.payload,
                next[frame.socket].to_le_bytes(),
                "round {round}"
            );
            next[frame.socket] += 1;
        });
    }
}

fn it_gives_back_a_datagram_without_a_slot_and_recovers<N: Nic, P: Peer>(bed: &mut Bed<N, P>) {
    // Several, so that none gets more at once than its socket holds.
    let sinks: [P; 8] = std::array::from_fn(|_| bed.peer.another());
    let to = |i: u32| sinks[i as usize % 8].address();
    let mut queued = 0_u32;
    while bed.nic.send(ORDERS, to(queued), &queued.to_le_bytes()) == Ok(()) {
        queued += 1;
        assert!(queued < 2000, "the pool has an end");
    }
    assert_eq!(bed.nic.counters().tx_full, 1);
    for i in queued..queued + 100 {
        Bed::<N, P>::say(&mut bed.nic, ORDERS, to(i), &i.to_le_bytes());
    }
    bed.nic.flush();
    let mut buffer = [0; 8];
    for i in 0..queued + 100 {
        assert_eq!(sinks[i as usize % 8].hear(&mut buffer).0, 4);
        assert_eq!(buffer[..4], i.to_le_bytes());
    }
}

fn it_counts_what_the_system_refuses_to_send<N: Nic, P: Peer>(bed: &mut Bed<N, P>) {
    let before = *bed.nic.counters();
    // Reserved; no route leads there.
    let nowhere = Endpoint::new(Ipv4Addr::new(240, 0, 0, 1), 9);
    bed.nic.send(ORDERS, nowhere, b"lost").unwrap();
    bed.nic.send(ORDERS, bed.address(), b"kept").unwrap();
    bed.nic.flush();
    let mut buffer = [0; 8];
    assert_eq!(bed.peer.hear(&mut buffer).0, 4);
    while bed.nic.counters().tx + bed.nic.counters().tx_errors < before.tx + before.tx_errors + 2 {
        bed.nic.poll(&mut bed.rx).unwrap();
    }
    assert_eq!(bed.nic.counters().tx_errors, before.tx_errors + 1);
}

fn it_stamps_the_time_of_arrival<N: Nic, P: Peer>(bed: &mut Bed<N, P>) {
    let before = hostd::machine::clock::wall_clock();
    bed.tell(FEED, b"a");
    bed.tell(FEED, b"b");
    let mut times = Vec::new();
    bed.take(2, |_, frame| times.push(frame.rx_time));
    let after = hostd::machine::clock::wall_clock();
    assert!(before <= times[0] && times[0] <= times[1] && times[1] <= after);
}

fn it_wakes_for_a_packet_a_waker_and_a_timeout<N: Nic, P: Peer>(bed: &mut Bed<N, P>) {
    let tile = Parker::new().unwrap();
    let sleep = |nic: &mut N, timeout| {
        tile.announce();
        nic.wait(&tile, timeout).unwrap();
        tile.resume();
    };
    for round in 0..50 {
        // Both arrive before or during the sleep, as it happens.
        let waker = tile.waker();
        let (is_packet, to) = (round % 2 == 0, bed.locals[round / 2 % 2]);
        let socket = bed.peer.share();
        let other = std::thread::spawn(move || {
            if is_packet {
                socket.tell(to, b"wake");
            }
            is_packet
        });
        if !is_packet {
            other.join().unwrap();
            tile.announce();
            let wake = std::thread::spawn(move || waker.wake());
            bed.nic.wait(&tile, LONG).unwrap();
            wake.join().unwrap();
            tile.resume();
            continue;
        }
        let mut seen = 0;
        while seen == 0 {
            sleep(&mut bed.nic, LONG);
            seen = bed.nic.poll(&mut bed.rx).unwrap();
        }
        other.join().unwrap();
    }
    // Left-overs of the rounds above may end one or two early; then only the timeout is left.
    for _ in 0..5 {
        sleep(&mut bed.nic, Duration::from_millis(1));
        assert_eq!(bed.nic.poll(&mut bed.rx).unwrap(), 0);
    }
}

/// After a warm-up, turns of poll, send, flush and wait take no memory.
fn it_does_not_allocate_while_it_runs<N: Nic, P: Peer>(bed: &mut Bed<N, P>) {
    let tile = Parker::new().unwrap();
    let turn = |bed: &mut Bed<N, P>| {
        for _ in 0..BURST / 2 {
            bed.tell(ORDERS, b"ping");
        }
        bed.take(BURST / 2, |nic, frame| {
            nic.send(FEED, frame.from, frame.payload).unwrap()
        });
        tile.announce();
        bed.nic.wait(&tile, Duration::from_millis(1)).unwrap();
        tile.resume();
        let mut buffer = [0; 8];
        for _ in 0..BURST / 2 {
            bed.peer.hear(&mut buffer);
        }
    };
    turn(bed);
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        turn(bed);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

pub(crate) fn conformance<N: Nic, P: Peer>(make: impl Fn(&[Endpoint]) -> (N, [Endpoint; 2], P)) {
    let parts: [fn(&mut Bed<N, P>); 8] = [
        it_echoes_datagrams_of_every_size,
        it_drops_and_counts_what_is_empty_or_too_long,
        it_loses_nothing_and_keeps_order,
        it_survives_running_out_of_receive_buffers,
        it_gives_back_a_datagram_without_a_slot_and_recovers,
        it_counts_what_the_system_refuses_to_send,
        it_stamps_the_time_of_arrival,
        it_does_not_allocate_while_it_runs,
    ];
    for part in parts {
        part(&mut Bed::new(&make));
    }
    // The tile of a backend is one for its life, so this comes with a backend of its own.
    it_wakes_for_a_packet_a_waker_and_a_timeout(&mut Bed::new(&make));
}

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
