//! A network in memory, for tests: any number of venues' NICs and clients, and between them datagrams that are lost,
//! repeated, delayed, spoiled and cut off by seed, in a time that moves when told to.
//!
//! ```text
//!  SimNic ── send, flush ──►             ┌──► inbox of a SimPeer   (all of its addresses)
//!                            under way ──┤
//!  SimPeer ── send ────────► by time     └──► inbox of a SimNic    (all of its sockets)
//! ```
//!
//! The same seed and the same calls give the same datagrams at the same times. Without faults it is held to
//! the conformance suite of all backends (`tests/nic.rs`). Nothing in the daemon opens it.

use super::{Endpoint, Nic, NicCounters, NicError, RxBurst, TxFull};
use firmware::limits::DATAGRAM_MAX;
use firmware::units::TimeNs;
use lane::{Parker, Waker};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Datagrams that a NIC holds until they are flushed.
const TX_SLOTS: usize = 512;
/// Room for datagrams that is taken at the start; more is taken when it is needed.
const ROOM: usize = 1 << 10;
/// First port given to a socket that asks for any.
const FIRST_PORT: u16 = 40_000;
/// Addresses from here on are reserved: no route leads there.
const FIRST_RESERVED: u8 = 240;

/// Splitmix64: the same numbers for the same seed, on every machine.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not zero.
    pub const fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    /// True `p` times of a hundred.
    pub const fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

/// What a way does to datagrams, in percent of them. Different delays are what reorders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Lost.
    pub loss: u64,
    /// Sent twice.
    pub repeat: u64,
    /// One bit is flipped.
    pub corrupt: u64,
    /// Each is under way for a time up to this, ns.
    pub delay_max_ns: u64,
    /// Until then nothing gets through.
    pub cut_until: TimeNs,
}

impl Faults {
    /// Everything arrives at once, whole, and in order.
    pub const NONE: Self = Self {
        loss: 0,
        repeat: 0,
        corrupt: 0,
        delay_max_ns: 0,
        cut_until: TimeNs(0),
    };
}

/// What happened to datagrams so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SimCounters {
    /// Given to the network, one for each receiver of a group.
    pub sent: u64,
    /// Lost, also because the way was cut.
    pub lost: u64,
    /// Of these, because it was cut.
    pub cut: u64,
    /// Sent twice.
    pub repeated: u64,
    /// Spoiled.
    pub corrupted: u64,
    /// Given an earlier arrival than one that was sent before.
    pub reordered: u64,
    /// Arrived where nobody listened.
    pub unheard: u64,
    /// Times that a NIC had no slot free because it was told to have none.
    pub tx_full: u64,
}

/// The network. Clones are handles to the same one.
#[derive(Clone)]
pub struct SimNet(Arc<Mutex<State>>);

struct State {
    now: TimeNs,
    rng: Rng,
    faults: Faults,
    /// By an address at either end.
    of_address: BTreeMap<Endpoint, Faults>,
    /// By sender, or group, and receiver.
    of_way: BTreeMap<(Endpoint, Endpoint), Faults>,
    groups: BTreeMap<Endpoint, Vec<Endpoint>>,
    /// Who listens at an address: inbox, and place among its addresses.
    bound: BTreeMap<Endpoint, (usize, usize)>,
    inboxes: Vec<Inbox>,
    /// By time of arrival, then in the order of sending.
    under_way: BinaryHeap<Reverse<UnderWay>>,
    numbered: u64,
    /// The last arrival time given on any way, to count what is overtaken.
    last_at: TimeNs,
    buffers: Vec<Vec<u8>>,
    next_port: u16,
    tx_full: u64,
    counters: SimCounters,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<(usize, Datagram)>,
    waker: Option<Waker>,
}

/// A datagram that is under way or has arrived.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Datagram {
    from: Endpoint,
    /// Receiver or group, as the sender named it.
    to: Endpoint,
    bytes: Vec<u8>,
    at: TimeNs,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    at: TimeNs,
    number: u64,
    /// The group's member, or the receiver itself.
    receiver: Endpoint,
    datagram: Datagram,
}

impl SimNet {
    /// A network without faults or members, at a time.
    #[must_use]
    pub fn new(seed: u64, now: TimeNs) -> Self {
        Self(Arc::new(Mutex::new(State {
            now,
            rng: Rng(seed),
            faults: Faults::NONE,
            of_address: BTreeMap::new(),
            of_way: BTreeMap::new(),
            groups: BTreeMap::new(),
            bound: BTreeMap::new(),
            inboxes: Vec::new(),
            under_way: BinaryHeap::with_capacity(ROOM),
            numbered: 0,
            last_at: now,
            buffers: Vec::with_capacity(ROOM),
            next_port: FIRST_PORT,
            tx_full: 0,
            counters: SimCounters::default(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with the lock held")
    }

    /// Moves the time forward; what is due by then arrives.
    pub fn advance_to(&self, now: TimeNs) {
        let mut state = self.state();
        state.now = state.now.max(now);
        state.arrive();
    }

    /// Faults of all ways that have none of their own.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Faults of all ways from and to an address that have none of their own.
    pub fn set_faults_at(&self, address: Endpoint, faults: Faults) {
        self.state().of_address.insert(address, faults);
    }

    /// Faults of one way: from a sender, or by a group whoever sends to it, to a receiver.
    pub fn set_faults_between(&self, from: Endpoint, to: Endpoint, faults: Faults) {
        self.state().of_way.insert((from, to), faults);
    }

    /// Cuts one way until a time, whatever its other faults are.
    pub fn cut(&self, from: Endpoint, to: Endpoint, until: TimeNs) {
        let mut state = self.state();
        let mut faults = state.faults_of(from, from, to);
        faults.cut_until = faults.cut_until.max(until);
        state.of_way.insert((from, to), faults);
    }

    /// Ends all faults: what is sent from now on arrives at once, whole, and in order.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults = Faults::NONE;
        state.of_address.clear();
        state.of_way.clear();
        state.tx_full = 0;
    }

    /// NICs have no slot free in so many of a hundred sends.
    pub fn set_tx_full(&self, percent: u64) {
        self.state().tx_full = percent;
    }

    /// From now on what is sent to `group` goes to `member` too.
    pub fn join(&self, group: Endpoint, member: Endpoint) {
        let mut state = self.state();
        let members = state.groups.entry(group).or_default();
        if !members.contains(&member) {
            members.push(member);
        }
    }

    /// The process that listened at an address is gone, and what waited for it there is lost.
    pub fn close(&self, address: Endpoint) {
        let mut state = self.state();
        if let Some((inbox, place)) = state.bound.remove(&address) {
            state.inboxes[inbox].waiting.retain(|(p, _)| *p != place);
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> SimCounters {
        self.state().counters
    }

    /// Opens an inbox for addresses, those of port zero on any port.
    fn open(&self, locals: &[Endpoint]) -> Result<(usize, Vec<Endpoint>), NicError> {
        let mut state = self.state();
        let inbox = state.inboxes.len();
        let mut own = Vec::with_capacity(locals.len());
        for (place, local) in locals.iter().enumerate() {
            let mut at = *local;
            while at.port() == 0 || (local.port() == 0 && state.bound.contains_key(&at)) {
                at.set_port(state.next_port);
                state.next_port += 1;
            }
            if state.bound.contains_key(&at) {
                return Err(NicError::Busy(at));
            }
            state.bound.insert(at, (inbox, place));
            own.push(at);
        }
        state.inboxes.push(Inbox {
            waiting: VecDeque::with_capacity(ROOM),
            waker: None,
        });
        Ok((inbox, own))
    }
}

impl State {
    fn faults_of(&self, from: Endpoint, by: Endpoint, to: Endpoint) -> Faults {
        let way = self.of_way.get(&(by, to));
        let address = || self.of_address.get(&from).or(self.of_address.get(&to));
        way.or_else(address).copied().unwrap_or(self.faults)
    }

    fn send(&mut self, from: Endpoint, to: Endpoint, payload: &[u8]) {
        if self.groups.contains_key(&to) {
            for member in 0..self.groups[&to].len() {
                let receiver = self.groups[&to][member];
                self.carry(from, to, to, receiver, payload);
            }
        } else {
            self.carry(from, from, to, to, payload);
        }
        self.arrive();
    }

    /// Takes a copy on its way: `by` a group or from its sender, to `receiver`.
    fn carry(
        &mut self,
        from: Endpoint,
        by: Endpoint,
        to: Endpoint,
        receiver: Endpoint,
        payload: &[u8],
    ) {
        let faults = self.faults_of(from, by, receiver);
        self.counters.sent += 1;
        if self.now < faults.cut_until {
            self.counters.lost += 1;
            self.counters.cut += 1;
            return;
        }
        let repeats = self.rng.percent(faults.repeat);
        self.counters.repeated += u64::from(repeats);
        for _ in 0..1 + u64::from(repeats) {
            if self.rng.percent(faults.loss) {
                self.counters.lost += 1;
                continue;
            }
            let mut bytes = self.buffers.pop().unwrap_or_default();
            bytes.extend_from_slice(payload);
            if !bytes.is_empty() && self.rng.percent(faults.corrupt) {
                let bit = self.rng.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
                self.counters.corrupted += 1;
            }
            let at = TimeNs(self.now.0 + self.rng.below(faults.delay_max_ns + 1));
            self.counters.reordered += u64::from(at < self.last_at);
            self.last_at = self.last_at.max(at);
            self.numbered += 1;
            let number = self.numbered;
            let datagram = Datagram {
                from,
                to,
                bytes,
                at,
            };
            self.under_way.push(Reverse(UnderWay {
                at,
                number,
                receiver,
                datagram,
            }));
        }
    }

    /// Puts what is due where it is listened for.
    fn arrive(&mut self) {
        while let Some(Reverse(first)) = self.under_way.peek()
            && first.at <= self.now
        {
            let Some(Reverse(arrived)) = self.under_way.pop() else {
                return;
            };
            let Some((inbox, place)) = self.bound.get(&arrived.receiver) else {
                self.counters.unheard += 1;
                self.keep(arrived.datagram.bytes);
                continue;
            };
            let inbox = &mut self.inboxes[*inbox];
            inbox.waiting.push_back((*place, arrived.datagram));
            if let Some(waker) = &inbox.waker {
                waker.wake();
            }
        }
    }

    fn keep(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.buffers.push(buffer);
    }
}

/// A datagram that a [`SimPeer`] received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Who sent it.
    pub from: Endpoint,
    /// Where it was sent to: an own address, or a group.
    pub to: Endpoint,
    /// Bytes of it, which stand at the start of the buffer.
    pub len: usize,
}

/// The other end: a client's sockets. Clones share them.
#[derive(Clone)]
pub struct SimPeer {
    net: SimNet,
    inbox: usize,
    own: Vec<Endpoint>,
}

impl SimPeer {
    /// Listens at addresses, those of port zero on any port.
    ///
    /// # Errors
    /// [`NicError::Busy`] when somebody listens there.
    pub fn open(net: &SimNet, locals: &[Endpoint]) -> Result<Self, NicError> {
        let (inbox, own) = net.open(locals)?;
        Ok(Self {
            net: net.clone(),
            inbox,
            own,
        })
    }

    /// An own address.
    #[must_use]
    pub fn local(&self, socket: usize) -> Endpoint {
        self.own[socket]
    }

    /// Sends from an own address.
    pub fn send(&self, socket: usize, to: Endpoint, payload: &[u8]) {
        self.net.state().send(self.own[socket], to, payload);
    }

    /// The next datagram that has arrived, cut off at the end of `buf`.
    pub fn receive(&self, buf: &mut [u8]) -> Option<Received> {
        let mut state = self.net.state();
        state.arrive();
        let (_, d) = state.inboxes[self.inbox].waiting.pop_front()?;
        let len = d.bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&d.bytes[..len]);
        let (from, to) = (d.from, d.to);
        state.keep(d.bytes);
        Some(Received { from, to, len })
    }
}

/// The backend: several sockets in a [`SimNet`].
pub struct SimNic {
    net: SimNet,
    inbox: usize,
    own: Vec<Endpoint>,
    tx: Vec<(usize, Endpoint, Vec<u8>)>,
    queued: usize,
    counters: NicCounters,
}

impl SimNic {
    /// Opens sockets, those of port zero on any port.
    ///
    /// # Errors
    /// [`NicError::Busy`] when somebody listens there.
    pub fn open(net: &SimNet, locals: &[Endpoint]) -> Result<Self, NicError> {
        let (inbox, own) = net.open(locals)?;
        let nobody = Endpoint::new(std::net::Ipv4Addr::UNSPECIFIED, 0);
        let slot = || (0, nobody, Vec::with_capacity(DATAGRAM_MAX));
        Ok(Self {
            net: net.clone(),
            inbox,
            own,
            tx: std::iter::repeat_with(slot).take(TX_SLOTS).collect(),
            queued: 0,
            counters: NicCounters::default(),
        })
    }

    /// Where a socket is bound.
    #[must_use]
    pub fn local(&self, socket: usize) -> Endpoint {
        self.own[socket]
    }
}

impl Nic for SimNic {
    /// Flushes too: a tile that is driven step by step never sleeps, which is when others flush.
    fn poll(&mut self, rx: &mut RxBurst) -> io::Result<usize> {
        self.flush();
        rx.clear();
        let mut state = self.net.state();
        state.arrive();
        while !rx.is_full() {
            let Some((socket, d)) = state.inboxes[self.inbox].waiting.pop_front() else {
                break;
            };
            match d.bytes.len() {
                0 => self.counters.rx_empty += 1,
                1..=DATAGRAM_MAX => {
                    self.counters.rx += 1;
                    rx.push(socket, d.from, d.at, &d.bytes);
                }
                _ => self.counters.rx_oversize += 1,
            }
            state.keep(d.bytes);
        }
        Ok(rx.len())
    }

    fn send(&mut self, socket: usize, to: Endpoint, payload: &[u8]) -> Result<(), TxFull> {
        assert!(
            (1..=DATAGRAM_MAX).contains(&payload.len()),
            "a datagram of {} bytes",
            payload.len()
        );
        let mut state = self.net.state();
        let percent = state.tx_full;
        let is_told = state.rng.percent(percent);
        state.counters.tx_full += u64::from(is_told);
        if is_told || self.queued == TX_SLOTS {
            self.counters.tx_full += 1;
            return Err(TxFull);
        }
        let slot = &mut self.tx[self.queued];
        (slot.0, slot.1) = (socket, to);
        slot.2.clear();
        slot.2.extend_from_slice(payload);
        self.queued += 1;
        Ok(())
    }

    fn flush(&mut self) {
        let mut state = self.net.state();
        for (socket, to, bytes) in &self.tx[..self.queued] {
            if to.ip().octets()[0] < FIRST_RESERVED {
                self.counters.tx += 1;
                state.send(self.own[*socket], *to, bytes);
            } else {
                self.counters.tx_errors += 1;
            }
        }
        self.queued = 0;
    }

    /// Sleeps in the real time; the network's own does not move by that.
    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        self.flush();
        {
            let mut state = self.net.state();
            let inbox = &mut state.inboxes[self.inbox];
            inbox.waker.get_or_insert_with(|| tile.waker());
        }
        let has_arrived = || !self.net.state().inboxes[self.inbox].waiting.is_empty();
        tile.park(timeout, has_arrived).map(drop)
    }

    fn counters(&self) -> &NicCounters {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Endpoint = Endpoint::new(std::net::Ipv4Addr::new(10, 0, 0, 1), 1);
    const B: Endpoint = Endpoint::new(std::net::Ipv4Addr::new(10, 0, 0, 2), 2);
    const GROUP: Endpoint = Endpoint::new(std::net::Ipv4Addr::new(239, 0, 0, 1), 9);

    fn hear(peer: &SimPeer) -> Option<(Endpoint, Vec<u8>)> {
        let mut buf = [0; 64];
        let got = peer.receive(&mut buf)?;
        Some((got.to, buf[..got.len].to_vec()))
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_all_of_them_happen() {
        let run = |seed| {
            let net = SimNet::new(seed, TimeNs(0));
            net.set_faults(Faults {
                loss: 20,
                repeat: 20,
                corrupt: 20,
                delay_max_ns: 50,
                cut_until: TimeNs(10),
            });
            let (a, b) = (
                SimPeer::open(&net, &[A]).unwrap(),
                SimPeer::open(&net, &[B]).unwrap(),
            );
            let mut heard = Vec::new();
            for i in 0..200_u64 {
                net.advance_to(TimeNs(i));
                a.send(0, B, &i.to_le_bytes());
                heard.extend(std::iter::from_fn(|| hear(&b)));
            }
            (heard, net.counters())
        };
        let (heard, counts) = run(7);
        assert_eq!((&heard, counts), (&run(7).0, run(7).1));
        assert_ne!(heard, run(8).0);
        let c = counts;
        assert_eq!((c.sent, c.cut), (200, 10));
        assert!(c.lost > 30 && c.repeated > 20 && c.corrupted > 20 && c.reordered > 50);
    }

    #[test]
    fn a_way_has_its_own_faults_before_those_of_an_address_and_of_all() {
        let net = SimNet::new(1, TimeNs(5));
        let lost = Faults {
            loss: 100,
            ..Faults::NONE
        };
        let (a, b) = (
            SimPeer::open(&net, &[A]).unwrap(),
            SimPeer::open(&net, &[B]).unwrap(),
        );
        net.set_faults(lost);
        a.send(0, B, b"1");
        assert_eq!(hear(&b), None);
        net.set_faults_at(B, Faults::NONE);
        a.send(0, B, b"2");
        b.send(0, A, b"3");
        assert_eq!(hear(&b), Some((B, b"2".to_vec())));
        assert_eq!(hear(&a), Some((A, b"3".to_vec())));
        net.cut(A, B, TimeNs(7));
        a.send(0, B, b"4");
        b.send(0, A, b"5");
        assert_eq!((hear(&b), hear(&a)), (None, Some((A, b"5".to_vec()))));
        net.advance_to(TimeNs(7));
        a.send(0, B, b"6");
        assert_eq!(hear(&b), Some((B, b"6".to_vec())));
        net.heal();
        a.send(0, B, b"7");
        assert_eq!(hear(&b), Some((B, b"7".to_vec())));
    }

    #[test]
    fn a_group_reaches_all_who_joined_and_a_closed_address_nobody() {
        let net = SimNet::new(1, TimeNs(0));
        let (a, b) = (
            SimPeer::open(&net, &[A]).unwrap(),
            SimPeer::open(&net, &[B]).unwrap(),
        );
        let mut nic = SimNic::open(&net, &[Endpoint::new([10, 0, 0, 3].into(), 3)]).unwrap();
        assert!(matches!(SimNic::open(&net, &[A]), Err(NicError::Busy(at)) if at == A));
        net.join(GROUP, A);
        net.join(GROUP, B);
        net.join(GROUP, B);
        nic.send(0, GROUP, b"all").unwrap();
        assert_eq!(hear(&a), None, "not flushed");
        nic.flush();
        for peer in [&a, &b] {
            assert_eq!(hear(peer), Some((GROUP, b"all".to_vec())));
            assert_eq!(hear(peer), None);
        }
        net.close(B);
        a.send(0, B, b"late");
        assert_eq!((hear(&b), net.counters().unheard), (None, 1));
        assert!(SimPeer::open(&net, &[B]).is_ok());
        net.set_tx_full(100);
        assert_eq!(nic.send(0, A, b"none"), Err(TxFull));
        assert_eq!(nic.counters().tx_full, 1);
    }
}
