//! Frames straight from a kernel driver's queue: AF_XDP.
//!
//! - A filter (`program`) takes the datagrams for our sockets; ARP, ICMP and all other ports stay with the kernel, which
//!   keeps the addresses, answers for them, and tells us (`watcher`) where neighbours are. `ip neigh`, `ip route` and
//!   `ping` work as ever.
//! - One AF_XDP socket serves each queue in which our datagrams can arrive; all are sent by the first.
//! - The kernel's sockets on our ports stay open, so that no other process gets them. A datagram that comes there, as
//!   from a queue that nobody serves, is dropped and counted as missed.
//! - The time of arrival is the time of the poll that took the frame.
//! - Nothing is left behind when the process ends, however it ends.
//!
//! Needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, or root. Checksums are checked: a peer on the same machine, over a
//! veth, must not leave its own to a card that is not there (`ethtool -K IFACE tx off` at its end).

mod interface;
mod netlink;
mod program;
mod socket;
mod watcher;

use super::raw::{Finder, FramePort, Host, KernelTable, NoRoom, RawNic};
use super::{Endpoint, TxFull};
use crate::config::XDP_QUEUES_MAX as QUEUES_MAX;
use crate::config::{CopyMode, Mode, XdpSection};
use firmware::units::TimeNs;
use firmware::wire::frame::{FRAME_MAX, Station};
use interface::Interface;
use lane::Parker;
use program::{Filter, Hook};
use socket::{Binding, Transfer, XdpSocket};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;
use watcher::Watcher;

/// What is in use is tried again so often, with this pause: the kernel takes sockets and programs of a process
/// down after the process is gone.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// Why the backend could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// Something about the interface could not be found out.
    #[error("{interface}: {op}: {source}")]
    Interface {
        /// Its name.
        interface: String,
        /// What was being done.
        op: &'static str,
        /// The answer.
        source: io::Error,
    },
    /// The interface cannot be used as it is.
    #[error("{0}")]
    Unfit(String),
    /// Someone else has the port.
    #[error("UDP {0} is in use by another process")]
    Busy(Endpoint),
    /// A port of ours cannot be had.
    #[error("UDP {local}: {source}")]
    Port {
        /// Which.
        local: Endpoint,
        /// The answer.
        source: io::Error,
    },
    /// The filter could not be set up.
    #[error("XDP: {op}: {source}")]
    Program {
        /// What was being done.
        op: &'static str,
        /// The answer.
        source: io::Error,
    },
    /// The kernel does not take the filter for safe.
    #[error("XDP: load the program: {source}: {log}")]
    Refused {
        /// The answer.
        source: io::Error,
        /// What its verifier said last.
        log: String,
    },
    /// A queue's socket could not be set up.
    #[error("AF_XDP: queue {queue}: {op}: {source}")]
    Socket {
        /// What was being done.
        op: &'static str,
        /// For which queue.
        queue: u32,
        /// The answer.
        source: io::Error,
    },
    /// Too many fixed neighbours.
    #[error(transparent)]
    Neighbours(#[from] NoRoom),
}

impl XdpError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Program { source, .. } | Self::Socket { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    fn is_busy(&self) -> bool {
        self.errno() == Some(libc::EBUSY)
    }
}

/// The backend.
pub type XdpNic = RawNic<XdpPort>;

/// The queues of an interface that we serve. Fields go in order: first nothing is redirected any more.
pub struct XdpPort {
    _filter: Filter,
    sockets: Vec<XdpSocket>,
    /// Whose frames are taken first in the next poll.
    turn: usize,
    /// From a flush, for the next poll.
    failure: Option<io::Error>,
    got: String,
    _watcher: Watcher,
}

/// Opens the backend with these sockets.
///
/// # Errors
/// What does not fit, and the command that mends it where there is one.
pub fn open(section: &XdpSection, sockets: &[Endpoint]) -> Result<XdpNic, XdpError> {
    let interface = Interface::find(section, sockets)?;
    let queues = queues(section, &interface)?;
    let ports = sockets.iter().map(reserve).collect::<Result<Vec<_>, _>>()?;
    let locals = (ports.iter().zip(sockets))
        .map(|(port, local)| match port.local_addr() {
            Ok(std::net::SocketAddr::V4(at)) => Ok(at),
            Ok(other) => unreachable!("{other} for {local}"),
            Err(source) => Err(XdpError::Port {
                local: *local,
                source,
            }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (watcher, ends, routes) = watcher::start(&interface, ports)?;
    let (filter, xdp_sockets, got) = bind_all(section, &interface, &queues, &locals)?;
    let port = XdpPort {
        _filter: filter,
        sockets: xdp_sockets,
        turn: 0,
        failure: None,
        got,
        _watcher: watcher,
    };
    let host = Host {
        station: Station {
            mac: interface.mac,
            vlan: section.vlan,
        },
        locals,
        routes,
        // `ip neigh add ... permanent` is the place for them.
        neighbours: Vec::new(),
    };
    let finder = Finder::Kernel(KernelTable {
        asks: ends.asks,
        waker: ends.waker,
        news: ends.news,
    });
    Ok(RawNic::new(port, host, finder)?)
}

/// The queues to be served, or why these are not enough.
fn queues(section: &XdpSection, interface: &Interface) -> Result<Vec<u32>, XdpError> {
    let (name, count) = (&interface.name, interface.queues);
    let unfit = |what: String| Err(XdpError::Unfit(format!("{name}: {what}")));
    let queues = section.queues.clone().unwrap_or((0..count).collect());
    if queues.len() > QUEUES_MAX {
        return unfit(format!(
            "it has {count} queues and at most {QUEUES_MAX} can be served: ethtool -L {name} combined {QUEUES_MAX}"
        ));
    }
    if let Some(beyond) = queues.iter().find(|q| **q >= count) {
        return unfit(format!(
            "net.xdp.queues names queue {beyond}, and it has {count}"
        ));
    }
    let unserved: Vec<String> = (0..count)
        .filter(|q| !queues.contains(q))
        .map(|q| q.to_string())
        .collect();
    if !unserved.is_empty() && !section.steered {
        return unfit(format!(
            "our datagrams may arrive in queue {}, which net.xdp.queues does not name: serve all queues, or \
             have one (ethtool -L {name} combined 1), or steer our ports (ethtool -N {name} flow-type udp4 \
             dst-port PORT action QUEUE) and say steered = true",
            unserved.join(", ")
        ));
    }
    Ok(queues)
}

/// A kernel's socket on a port of ours, so that nobody else has it.
fn reserve(local: &Endpoint) -> Result<UdpSocket, XdpError> {
    let bind = || {
        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => XdpError::Busy(*local),
            _ => XdpError::Port {
                local: *local,
                source,
            },
        };
        let socket = UdpSocket::bind(local).map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        Ok(socket)
    };
    retry(bind, |e| matches!(e, XdpError::Busy(_)))
}

fn retry<T>(
    mut call: impl FnMut() -> Result<T, XdpError>,
    is_passing: impl Fn(&XdpError) -> bool,
) -> Result<T, XdpError> {
    for _ in 0..TRIES {
        match call() {
            Err(e) if is_passing(&e) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    call()
}

/// Sets up filter and sockets in the best way that is allowed and works, and says which that is.
fn bind_all(
    section: &XdpSection,
    interface: &Interface,
    queues: &[u32],
    locals: &[Endpoint],
) -> Result<(Filter, Vec<XdpSocket>, String), XdpError> {
    let ways = [
        (Hook::Native, Transfer::ZeroCopy),
        (Hook::Native, Transfer::Copy),
        (Hook::Generic, Transfer::Copy),
    ];
    let allowed = ways.into_iter().filter(|(hook, transfer)| {
        let mode = match section.mode {
            Mode::Auto => true,
            Mode::Native => *hook == Hook::Native,
            Mode::Generic => *hook == Hook::Generic,
        };
        let copy = match section.copy {
            CopyMode::Auto => true,
            CopyMode::ZeroCopy => *transfer == Transfer::ZeroCopy,
            CopyMode::Copy => *transfer == Transfer::Copy,
        };
        mode && copy
    });
    let mut last = None;
    for (hook, transfer) in allowed {
        let bound = retry(
            || bind(section, interface, queues, locals, hook, transfer),
            XdpError::is_busy,
        );
        match bound {
            Ok((filter, sockets)) => {
                let hook = match hook {
                    Hook::Native => "native",
                    Hook::Generic => "generic",
                };
                let transfer = match transfer {
                    Transfer::ZeroCopy => "zero-copy",
                    Transfer::Copy => "copy",
                };
                let name = &interface.name;
                let got = format!("{name}: {hook}, {transfer}, queues {queues:?}");
                return Ok((filter, sockets, got));
            }
            // No other way will help against these.
            Err(e) if matches!(e.errno(), Some(libc::EPERM | libc::ENOBUFS)) => {
                return Err(hint(e));
            }
            Err(e) => last = Some(e),
        }
    }
    Err(hint(
        last.expect("the section was checked: a way is allowed"),
    ))
}

/// What an error of this kind means here.
fn hint(error: XdpError) -> XdpError {
    let what = match error.errno() {
        Some(libc::EPERM) => "needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, or root",
        Some(libc::ENOBUFS) => "too little memory may be locked: raise the memlock limit",
        Some(libc::EBUSY) => "another program, or another process' socket, is there already",
        Some(libc::EOPNOTSUPP) => {
            "the driver cannot do that: set net.xdp.mode and net.xdp.copy to auto"
        }
        _ => return error,
    };
    XdpError::Unfit(format!("{error}: {what}"))
}

fn bind(
    section: &XdpSection,
    interface: &Interface,
    queues: &[u32],
    locals: &[Endpoint],
    hook: Hook,
    transfer: Transfer,
) -> Result<(Filter, Vec<XdpSocket>), XdpError> {
    let filter = Filter::attach(interface.index, locals, interface.queues, hook)?;
    let mut sockets = Vec::new();
    for &queue in queues {
        let binding = Binding {
            ifindex: interface.index,
            queue,
            transfer,
            busy_poll_us: section.busy_poll_us,
        };
        let socket = XdpSocket::open(&binding)?;
        filter.serve(queue, socket.fd())?;
        sockets.push(socket);
    }
    Ok((filter, sockets))
}

impl XdpPort {
    /// What it got, for people: interface, mode, copy, queues.
    #[must_use]
    pub fn got(&self) -> &str {
        &self.got
    }

    /// Fails once the interface is gone.
    fn check(&self) -> io::Result<()> {
        self.sockets.iter().try_for_each(XdpSocket::check)
    }
}

impl FramePort for XdpPort {
    fn receive(&mut self, max: usize, mut on: impl FnMut(&[u8], TimeNs)) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let (count, mut taken) = (self.sockets.len(), 0);
        for i in 0..count {
            let socket = &mut self.sockets[(self.turn + i) % count];
            taken += socket.receive(max - taken, &mut on)?;
        }
        // So that a full queue does not keep the others waiting for ever.
        self.turn = (self.turn + 1) % count;
        Ok(taken)
    }

    fn transmit(
        &mut self,
        build: impl FnOnce(&mut [u8; FRAME_MAX]) -> usize,
    ) -> Result<(), TxFull> {
        self.sockets[0].transmit(build)
    }

    fn flush(&mut self) {
        if let Err(failure) = self.sockets[0].flush() {
            self.failure = Some(failure);
        }
    }

    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        self.flush();
        let none = libc::pollfd {
            fd: -1,
            events: 0,
            revents: 0,
        };
        let mut fds = [none; QUEUES_MAX + 1];
        fds[0].fd = tile.as_raw_fd();
        for (entry, socket) in fds[1..].iter_mut().zip(&self.sockets) {
            entry.fd = socket.fd();
        }
        let fds = &mut fds[..=self.sockets.len()];
        fds.iter_mut().for_each(|f| f.events = libc::POLLIN);
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: as many entries as it is told, and a time that lives here.
        let woken = unsafe {
            libc::ppoll(
                fds.as_mut_ptr(),
                fds.len() as libc::nfds_t,
                &raw const timeout,
                std::ptr::null(),
            )
        };
        if woken < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let is_wrong = |f: &libc::pollfd| f.revents & !libc::POLLIN != 0;
        if woken > 0 && fds[1..].iter().any(is_wrong) {
            self.check()?;
        }
        Ok(())
    }

    fn lost(&mut self) -> u64 {
        // Also for a tile that never sleeps.
        if self.failure.is_none() {
            self.failure = self.check().err();
        }
        self.sockets.iter().map(XdpSocket::lost).sum()
    }
}
