//! What every backend that moves raw frames has in common: which frames are ours, who lives where, and what a
//! datagram looks like on the cable. Such a backend is a [`FramePort`] inside a [`RawNic`].
//!
//! - A frame that is not a sound datagram to one of our sockets is counted by its [`FrameFault`] and dropped.
//! - Where neighbours live is found out by a [`Finder`]: by ARP of our own, or from the kernel's table. Until it
//!   is known a neighbour's datagrams wait, a few of them; the rest is dropped and counted, and so are those for
//!   a neighbour who does not answer.
//! - To ourselves, to broadcast addresses and where no route leads nothing is sent: that counts as refused.
//! - Groups are sent to with [`MULTICAST_TTL`] and never listened to.

mod neighbours;
mod routes;
mod waiting;

pub use routes::{Hop, ROUTES_MAX, Route, Routes, TooManyRoutes, Way};

use super::{BURST, Endpoint, Nic, NicCounters, RxBurst, TxFull};
use crate::machine::clock::monotonic_ns;
use firmware::limits::DATAGRAM_MAX;
use firmware::units::TimeNs;
use firmware::wire::frame::{
    self, Arp, FRAME_MAX, FrameFault, Inbound, Mac, Station, UdpFrame, UdpHead,
};
use lane::{Consumer, Parker, Producer, Waker};
use neighbours::Neighbours;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use waiting::{Fate, Waiting};

/// Hops that a datagram to a host may take.
const TTL: u8 = 64;
/// Hops that a datagram to a group may take: it stays on the cable, as with a kernel's socket that nobody told otherwise.
pub const MULTICAST_TTL: u8 = 1;
/// ARP messages that one poll takes in.
const ARP_BURST: usize = 16;
/// Neighbours that are asked for again at once.
const ASK_BURST: usize = 16;
/// Polls after which the time is read even if nothing happens.
const IDLE_POLLS: u32 = 1 << 10;
/// How often what waits, and what the device lost, is looked at, ns.
const TICK_NS: u64 = 10_000_000;
const LOSSES_NS: u64 = 1_000_000_000;

/// One device that moves whole Ethernet frames, without their check sequence. Takes all memory when made.
pub trait FramePort {
    /// Hands up to `max` frames that have arrived to `on`, each with the time when the card, the kernel or this poll
    /// saw it; returns how many. Never sleeps.
    ///
    /// # Errors
    /// If the device cannot go on; also when that showed in an earlier [`flush`](Self::flush).
    fn receive(&mut self, max: usize, on: impl FnMut(&[u8], TimeNs)) -> io::Result<usize>;

    /// Lets `build` write a frame into a free slot and say its length. It leaves with the next
    /// [`flush`](Self::flush), in order.
    ///
    /// # Errors
    /// [`TxFull`] if no slot is free; `build` is not called then.
    fn transmit(&mut self, build: impl FnOnce(&mut [u8; FRAME_MAX]) -> usize)
    -> Result<(), TxFull>;

    /// Hands what is queued to the device.
    fn flush(&mut self);

    /// Flushes, then sleeps until a frame may have arrived, a waker of `tile` fires, or `timeout`; see
    /// [`Nic::wait`].
    ///
    /// # Errors
    /// If the device cannot go on.
    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()>;

    /// Frames that the device dropped so far because there was no room for them. Asked for about once a second.
    fn lost(&mut self) -> u64;
}

/// Who we are and what is around us.
#[derive(Clone, Debug)]
pub struct Host {
    /// On the cable.
    pub station: Station,
    /// Our sockets, in order; any address of ours, no port twice at one address.
    pub locals: Vec<Endpoint>,
    /// Which way to others.
    pub routes: Routes,
    /// Neighbours that are never asked.
    pub neighbours: Vec<(Ipv4Addr, Mac)>,
}

/// How it is found out where neighbours live.
pub enum Finder {
    /// By ARP: we ask, and answer for the addresses of our sockets. For devices that the kernel does not see.
    Arp,
    /// From the kernel, which has the addresses and answers for them.
    Kernel(KernelTable),
}

/// Our end of the lanes to the thread that asks the kernel.
pub struct KernelTable {
    /// Neighbours to be found, or looked at again.
    pub asks: Producer<Ipv4Addr>,
    /// Wakes the thread.
    pub waker: Waker,
    /// What it found.
    pub news: Consumer<News>,
}

/// What the kernel knows.
#[expect(
    clippy::large_enum_variant,
    reason = "few are under way, and a box would be freed on the tile"
)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// A neighbour lives here.
    Found(Ipv4Addr, Mac),
    /// A neighbour does not answer any more.
    Lost(Ipv4Addr),
    /// The routes have changed.
    Routes(Routes),
    /// So many more datagrams for us came to the kernel.
    Missed(u64),
}

/// Too many of [`Host::neighbours`] for the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no room for the neighbour {0}")]
pub struct NoRoom(pub Ipv4Addr);

/// A NIC over raw frames.
pub struct RawNic<P> {
    port: P,
    host: Host,
    finder: Finder,
    neighbours: Neighbours,
    waiting: Waiting,
    arp: [Option<Arp>; ARP_BURST],
    /// Of the last frame sent.
    id: u16,
    /// When it was read last, ns; for nothing that needs to be exact.
    now: u64,
    idle_polls: u32,
    next_tick: u64,
    next_losses: u64,
    is_announced: bool,
    counters: NicCounters,
}

impl<P: FramePort> RawNic<P> {
    /// A NIC over `port`.
    ///
    /// # Errors
    /// If there are too many fixed neighbours.
    pub fn new(port: P, host: Host, finder: Finder) -> Result<Self, NoRoom> {
        let mut neighbours = Neighbours::new();
        for (ip, mac) in &host.neighbours {
            if !neighbours.set(*ip, *mac) {
                return Err(NoRoom(*ip));
            }
        }
        Ok(Self {
            port,
            host,
            finder,
            neighbours,
            waiting: Waiting::new(),
            arp: [None; ARP_BURST],
            id: 0,
            now: monotonic_ns(),
            idle_polls: 0,
            next_tick: 0,
            next_losses: 0,
            is_announced: false,
            counters: NicCounters::default(),
        })
    }

    /// The device.
    pub const fn port(&self) -> &P {
        &self.port
    }

    /// Where socket `socket` listens.
    #[must_use]
    pub fn local(&self, socket: usize) -> Endpoint {
        self.host.locals[socket]
    }

    /// Says to all where our addresses live, so that switches and neighbours know before anybody asks.
    fn announce(&mut self) {
        self.is_announced = true;
        if matches!(self.finder, Finder::Kernel(_)) {
            return;
        }
        for at in 0..self.host.locals.len() {
            let ip = *self.host.locals[at].ip();
            let is_first = (self.host.locals[..at].iter()).all(|l| *l.ip() != ip);
            if is_first {
                let mac = self.host.station.mac;
                self.send_arp(true, ip, Mac([0; 6]), ip, mac);
            }
        }
        self.port.flush();
    }

    fn send_arp(&mut self, is_request: bool, from: Ipv4Addr, to_mac: Mac, to: Ipv4Addr, mac: Mac) {
        let arp = Arp {
            is_request,
            sender_mac: mac,
            sender_ip: from,
            target_mac: to_mac,
            target_ip: to,
        };
        let station = &self.host.station;
        let built = |out: &mut [u8; FRAME_MAX]| frame::build_arp(station, &arp, out);
        match self.port.transmit(built) {
            Ok(()) => self.counters.arp_tx += 1,
            // It will be asked again.
            Err(TxFull) => self.counters.tx_full += 1,
        }
    }

    /// Where a neighbour lives, if that is known and nothing that was sent before waits for it.
    #[inline]
    fn find(&mut self, ip: Ipv4Addr) -> Option<Mac> {
        if self.waiting.is_full() {
            // So that forged senders cannot have us ask for ever more addresses.
            return self.neighbours.known(ip).filter(|_| !self.waiting.has(ip));
        }
        let look = self.neighbours.look(ip, self.now);
        if look.ask && !self.is_own(ip) {
            self.ask(ip);
        }
        (look.mac).filter(|_| self.waiting.is_empty() || !self.waiting.has(ip))
    }

    /// Keeps a datagram until its neighbour is known.
    #[cold]
    fn keep(&mut self, ip: Ipv4Addr, socket: usize, to: Endpoint, payload: &[u8]) {
        if self.is_own(ip) {
            self.counters.tx_errors += 1;
        } else if !self.waiting.push(ip, socket, to, payload) {
            self.counters.tx_unresolved += 1;
        }
    }

    fn is_own(&self, ip: Ipv4Addr) -> bool {
        self.host.locals.iter().any(|l| *l.ip() == ip)
    }

    /// Asks where a neighbour lives.
    fn ask(&mut self, ip: Ipv4Addr) {
        match &mut self.finder {
            Finder::Arp => {
                // From the address of ours that has a way there; all are on one cable.
                let from = *self.host.locals[0].ip();
                let mac = self.host.station.mac;
                self.send_arp(true, from, Mac([0; 6]), ip, mac);
            }
            Finder::Kernel(table) => {
                // What finds no room is asked again.
                if table.asks.push(ip).is_ok() {
                    table.waker.wake();
                }
            }
        }
    }

    fn take_arp(&mut self) {
        for at in 0..ARP_BURST {
            let Some(arp) = self.arp[at].take() else {
                break;
            };
            self.on_arp(arp);
        }
    }

    fn on_arp(&mut self, arp: Arp) {
        self.counters.arp_rx += 1;
        if self.is_own(arp.sender_ip) {
            self.counters.arp_conflicts += 1;
            return;
        }
        let is_for_us = self.is_own(arp.target_ip);
        if self.host.routes.is_neighbour(arp.sender_ip) {
            // Who asks for us will soon hear from us.
            let create = is_for_us && arp.is_request;
            let (ip, mac) = (arp.sender_ip, arp.sender_mac);
            self.neighbours.answered(ip, mac, create, self.now);
        }
        if arp.is_request && is_for_us {
            let mac = self.host.station.mac;
            self.send_arp(false, arp.target_ip, arp.sender_mac, arp.sender_ip, mac);
        }
    }

    /// Takes what the kernel's table says; whether that was anything.
    fn take_news(&mut self) -> bool {
        let Finder::Kernel(table) = &mut self.finder else {
            return false;
        };
        let mut is_any = false;
        while let Some(news) = table.news.pop() {
            is_any = true;
            match news {
                News::Found(ip, mac) => self.neighbours.answered(ip, mac, false, self.now),
                News::Lost(ip) => self.neighbours.lost(ip),
                News::Routes(routes) => self.host.routes = routes,
                News::Missed(count) => self.counters.rx_missed += count,
            }
        }
        is_any
    }

    /// Sends on what waited for a neighbour that is known by now, asks again for those that are not, and gives up
    /// those that do not answer.
    fn serve_waiting(&mut self) {
        let Self {
            port,
            host,
            neighbours,
            waiting,
            counters,
            id,
            now,
            ..
        } = self;
        let mut to_ask = [None; ASK_BURST];
        let mut asks = 0;
        waiting.retain(|ip, socket, to, payload| {
            if let Some(mac) = neighbours.known(ip) {
                return match transmit(port, host, id, socket, mac, TTL, to, payload) {
                    Ok(()) => {
                        counters.tx += 1;
                        Fate::Go
                    }
                    Err(TxFull) => Fate::Stay,
                };
            }
            if asks == ASK_BURST {
                return Fate::Stay;
            }
            match neighbours.again(ip, *now) {
                None => {
                    counters.tx_unresolved += 1;
                    Fate::Go
                }
                Some(is_due) => {
                    if is_due {
                        to_ask[asks] = Some(ip);
                        asks += 1;
                    }
                    Fate::Stay
                }
            }
        });
        to_ask.into_iter().flatten().for_each(|ip| self.ask(ip));
        self.port.flush();
    }

    /// What need not happen in every poll.
    fn look_around(&mut self, has_arp: bool) {
        self.now = monotonic_ns();
        self.idle_polls = 0;
        if has_arp {
            self.take_arp();
            self.port.flush();
        }
        let has_news = self.take_news() || has_arp || self.now >= self.next_tick;
        if has_news && !self.waiting.is_empty() {
            self.serve_waiting();
        }
        if self.now >= self.next_tick {
            self.next_tick = self.now + TICK_NS;
        }
        if self.now >= self.next_losses {
            self.next_losses = self.now + LOSSES_NS;
            self.counters.rx_lost = self.port.lost();
        }
    }
}

/// Builds a datagram's frame in the device.
#[inline]
#[expect(
    clippy::too_many_arguments,
    reason = "parts of a NIC that are borrowed one by one"
)]
fn transmit<P: FramePort>(
    port: &mut P,
    host: &Host,
    id: &mut u16,
    socket: usize,
    to_mac: Mac,
    ttl: u8,
    to: Endpoint,
    payload: &[u8],
) -> Result<(), TxFull> {
    let head = UdpHead {
        to_mac,
        from: host.locals[socket],
        to,
        id: *id,
        ttl,
    };
    port.transmit(|out| frame::build_udp(&host.station, &head, payload, out))?;
    *id = id.wrapping_add(1);
    Ok(())
}

/// The socket that a sound datagram is for.
#[inline]
fn socket_of(locals: &[Endpoint], udp: &UdpFrame<'_>) -> Result<usize, FrameFault> {
    let mut fault = FrameFault::IpDestination;
    for (socket, local) in locals.iter().enumerate() {
        if local.ip() != udp.to.ip() {
            continue;
        }
        if udp.from.ip() == local.ip() {
            return Err(FrameFault::IpSource);
        }
        if local.port() == udp.to.port() {
            return Ok(socket);
        }
        fault = FrameFault::UdpPort;
    }
    Err(fault)
}

impl<P: FramePort> Nic for RawNic<P> {
    fn poll(&mut self, rx: &mut RxBurst) -> io::Result<usize> {
        rx.clear();
        if !self.is_announced {
            self.announce();
        }
        let Self {
            port,
            host,
            arp,
            counters,
            ..
        } = self;
        let mut arps = 0;
        let taken = port.receive(BURST, |bytes, rx_time| {
            match frame::parse(bytes, &host.station) {
                Ok(Inbound::Udp(udp)) => match socket_of(&host.locals, &udp) {
                    Ok(_) if udp.payload.is_empty() => counters.rx_empty += 1,
                    Ok(_) if udp.payload.len() > DATAGRAM_MAX => counters.rx_oversize += 1,
                    Ok(socket) => {
                        rx.push(socket, udp.from, rx_time, udp.payload);
                        counters.rx += 1;
                    }
                    Err(fault) => counters.faults[fault as usize] += 1,
                },
                Ok(Inbound::Arp(message)) => {
                    // More than these in one burst is a storm; who wants an answer asks again.
                    if let Some(place) = arp.get_mut(arps) {
                        *place = Some(message);
                        arps += 1;
                    }
                }
                Err(fault) => counters.faults[fault as usize] += 1,
            }
        })?;
        self.idle_polls += 1;
        if taken > 0 || !self.waiting.is_empty() || self.idle_polls >= IDLE_POLLS {
            self.look_around(arps > 0);
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
            socket < self.host.locals.len(),
            "socket {socket} was not opened"
        );
        let (mac, ttl) = match self.host.routes.hop(*to.ip()) {
            Hop::Group => (Mac::of_group(*to.ip()), MULTICAST_TTL),
            Hop::Neighbour(ip) => match self.find(ip) {
                Some(mac) => (mac, TTL),
                None => {
                    self.keep(ip, socket, to, payload);
                    return Ok(());
                }
            },
            Hop::Nowhere => {
                self.counters.tx_errors += 1;
                return Ok(());
            }
        };
        let Self { port, host, id, .. } = self;
        let sent = transmit(port, host, id, socket, mac, ttl, to, payload);
        match sent {
            Ok(()) => self.counters.tx += 1,
            Err(TxFull) => self.counters.tx_full += 1,
        }
        sent
    }

    fn flush(&mut self) {
        self.port.flush();
    }

    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        // What the kernel's table says wakes nobody: while something waits for it sleep is short.
        let is_waiting = !self.waiting.is_empty();
        let timeout = if is_waiting {
            timeout.min(Duration::from_nanos(TICK_NS))
        } else {
            timeout
        };
        self.port.wait(tile, timeout)?;
        self.idle_polls = IDLE_POLLS;
        Ok(())
    }

    fn counters(&self) -> &NicCounters {
        &self.counters
    }
}

#[cfg(test)]
mod tests;
