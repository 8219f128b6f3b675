//! The thread between the tile and the kernel's tables: the tile asks for neighbours over a lane and hears of them, and
//! of changed routes, over another, and makes no call of its own.

use super::XdpError;
use super::interface::{Interface, routes};
use super::netlink::Netlink;
use crate::machine::log;
use crate::nic::raw::{News, Routes};
use firmware::wire::frame::Mac;
use lane::{Consumer, Parker, Producer, Waker, bounded};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

/// Groups of changes: neighbours, addresses, routes.
const GROUPS: u32 = 0x4 | 0x10 | 0x40;
/// Questions and news under way.
const ASKS_DEPTH: usize = 256;
const NEWS_DEPTH: usize = 64;
/// Longest sleep: how often what the kernel got instead of us is counted.
const PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// Neighbours that are watched; beyond, all are forgotten, and those in use are asked for again.
const WATCHED_MAX: usize = 4096;

/// What the tile holds of it.
pub(super) struct Ends {
    pub(super) asks: Producer<Ipv4Addr>,
    pub(super) waker: Waker,
    pub(super) news: Consumer<News>,
}

/// The running thread; ends when this is dropped.
pub(super) struct Watcher {
    stop: Option<Sender<()>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say any more.
            let _ = thread.join();
        }
    }
}

struct Desk {
    home: u32,
    questions: Netlink,
    changes: Netlink,
    asks: Consumer<Ipv4Addr>,
    news: Producer<News>,
    parker: Parker,
    stop: Receiver<()>,
    watched: BTreeSet<Ipv4Addr>,
    routes: Routes,
    has_new_routes: bool,
    /// The kernel's sockets on our ports.
    sockets: Vec<UdpSocket>,
}

/// Reads the routes and starts the thread, in the network namespace of the caller. It reads what comes to `sockets`.
pub(super) fn start(
    interface: &Interface,
    sockets: Vec<UdpSocket>,
) -> Result<(Watcher, Ends, Routes), XdpError> {
    let fail = |op| {
        let interface = interface.name.clone();
        move |source| XdpError::Interface {
            interface,
            op,
            source,
        }
    };
    // Before the routes are read, so that no change is missed.
    let changes = Netlink::open(GROUPS).map_err(fail("watch the kernel's tables"))?;
    let mut questions = Netlink::open(0).map_err(fail("ask the kernel"))?;
    let routes = routes(&mut questions, interface.home)
        .map_err(fail("read the routes"))?
        .map_err(|e| XdpError::Unfit(format!("{}: {e}", interface.name)))?;
    let (asks_in, asks) = bounded(ASKS_DEPTH);
    let (news, news_out) = bounded(NEWS_DEPTH);
    let (stop, is_stopped) = channel();
    let parker = Parker::new().map_err(fail("make a parker"))?;
    let waker = parker.waker();
    let mut desk = Desk {
        home: interface.home,
        questions,
        changes,
        asks,
        news,
        parker,
        stop: is_stopped,
        watched: BTreeSet::new(),
        routes,
        has_new_routes: false,
        sockets,
    };
    let thread = std::thread::Builder::new()
        .name("neighbours".into())
        .spawn(move || desk.run())
        .map_err(fail("start a thread"))?;
    let watcher = Watcher {
        stop: Some(stop),
        waker: waker.clone(),
        thread: Some(thread),
    };
    let ends = Ends {
        asks: asks_in,
        waker,
        news: news_out,
    };
    Ok((watcher, ends, routes))
}

impl Desk {
    fn run(&mut self) {
        while matches!(self.stop.try_recv(), Err(TryRecvError::Empty)) {
            if let Err(error) = self.turn() {
                // The tile goes on with what it knows; what it does not know stays unsent, and is counted.
                log::event("neighbours", &[("error", &error)]);
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        self.sleep()?;
        while let Some(ip) = self.asks.pop() {
            self.answer(ip)?;
        }
        self.take_changes()?;
        if self.has_new_routes && self.news.push(News::Routes(self.routes)).is_ok() {
            self.has_new_routes = false;
        }
        self.count_missed();
        Ok(())
    }

    fn sleep(&mut self) -> io::Result<()> {
        self.parker.announce();
        let slept = if self.asks.is_empty() {
            let mut fds = [
                PollFd::new(&self.parker, PollFlags::IN),
                PollFd::new(&self.changes, PollFlags::IN),
            ];
            match poll(&mut fds, Some(&PAUSE)) {
                Err(e) if e != rustix::io::Errno::INTR => Err(e.into()),
                _ => Ok(()),
            }
        } else {
            Ok(())
        };
        self.parker.resume();
        slept
    }

    /// Tells where a neighbour is, as far as the kernel knows, and has it make sure.
    fn answer(&mut self, ip: Ipv4Addr) -> io::Result<()> {
        if self.watched.len() >= WATCHED_MAX {
            self.watched.clear();
        }
        self.watched.insert(ip);
        let known = self.questions.neighbour(self.home, ip)?;
        if let Some(mac) = known.as_ref().and_then(place) {
            // What finds no room is asked for again.
            let _ = self.news.push(News::Found(ip, mac));
        }
        if !known.as_ref().is_some_and(is_sure) {
            self.questions.probe(self.home, ip)?;
        }
        Ok(())
    }

    fn take_changes(&mut self) -> io::Result<()> {
        let Self {
            changes,
            watched,
            news,
            home,
            ..
        } = self;
        let mut has_route_change = false;
        let is_whole = changes.changes(|message| match message {
            RouteNetlinkMessage::NewNeighbour(n) if n.header.ifindex == *home => {
                if let Some(ip) = address(n).filter(|ip| watched.contains(ip)) {
                    let told = match place(n) {
                        Some(mac) => News::Found(ip, mac),
                        None if n.header.state == NeighbourState::Failed => News::Lost(ip),
                        None => return,
                    };
                    let _ = news.push(told);
                }
            }
            // The kernel forgets those that it does not use itself. That says nothing of them.
            RouteNetlinkMessage::NewRoute(_)
            | RouteNetlinkMessage::DelRoute(_)
            | RouteNetlinkMessage::NewAddress(_)
            | RouteNetlinkMessage::DelAddress(_) => has_route_change = true,
            _ => {}
        })?;
        if has_route_change || !is_whole {
            match routes(&mut self.questions, self.home)? {
                Ok(routes) if routes != self.routes => {
                    self.routes = routes;
                    self.has_new_routes = true;
                }
                Ok(_) => {}
                Err(error) => log::event("neighbours", &[("error", &error)]),
            }
        }
        Ok(())
    }

    /// Counts what came to the kernel's sockets on our ports: it should have come to the tile.
    fn count_missed(&mut self) {
        let mut missed = 0;
        for socket in &self.sockets {
            while socket.recv(&mut []).is_ok() {
                missed += 1;
            }
        }
        if missed > 0 {
            let _ = self.news.push(News::Missed(missed));
        }
    }
}

fn address(neighbour: &NeighbourMessage) -> Option<Ipv4Addr> {
    (neighbour.attributes.iter()).find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(*ip),
        _ => None,
    })
}

/// Where a neighbour is, if the kernel would send to it now.
fn place(neighbour: &NeighbourMessage) -> Option<Mac> {
    match neighbour.header.state {
        NeighbourState::Reachable
        | NeighbourState::Stale
        | NeighbourState::Delay
        | NeighbourState::Probe
        | NeighbourState::Noarp
        | NeighbourState::Permanent => {}
        _ => return None,
    }
    (neighbour.attributes.iter()).find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => Some(Mac(bytes[..].try_into().ok()?)),
        _ => None,
    })
}

/// Whether the kernel has heard of it lately, or needs not.
fn is_sure(neighbour: &NeighbourMessage) -> bool {
    matches!(
        neighbour.header.state,
        NeighbourState::Reachable | NeighbourState::Noarp | NeighbourState::Permanent
    )
}
