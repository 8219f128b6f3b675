//! Where client, echo and box meet: loopback, or two network namespaces joined by two pairs of virtual Ethernet
//! interfaces, because a raw backend takes an interface for itself and two processes are measured.
//!
//! The namespaces have no name: they are gone with the processes that live in them, however those end.

use super::boxes::Backend;
use crate::venue::{Addresses, loopback};
use crate::worker::enter_netns;
use anyhow::{Context as _, ensure};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs::File;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Ports of a box and of the echo in the namespace, where all are free.
const ORDER_ENTRY: u16 = 4000;
const FEED_SOURCE: u16 = 4001;
const FEED_REQUESTS: u16 = 4004;

/// Which of the two places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seat {
    /// The box's, where there is one.
    First,
    /// The echo's, or the other box's.
    Second,
}

impl Seat {
    /// The client's interface.
    fn near(self) -> String {
        format!("to-seat-{}", self as u8)
    }
    /// The server's interface.
    fn far(self) -> String {
        format!("seat-{}", self as u8)
    }
    fn network(self) -> String {
        format!("10.77.{}.0/24", self as u8)
    }
    /// Of the client (1) or the server (2).
    fn ip(self, end: u8) -> String {
        format!("10.77.{}.{end}", self as u8)
    }
    /// Of the client (1) or the server (2).
    fn mac(self, end: u8) -> String {
        format!("02:00:00:00:0{}:0{end}", self as u8)
    }
}

/// One of the two interfaces on the server's side, and the way there.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// Where orders, or what is to be echoed, come in.
    pub(crate) order_entry: SocketAddrV4,
    /// The other addresses of a venue there.
    pub(crate) addresses: Addresses,
    /// Name of the interface.
    pub(crate) interface: String,
    /// The cable, if there is one.
    pub(crate) link: Option<Link>,
}

/// What a backend that has no kernel below it must know of its cable.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) network: String,
    pub(crate) client: String,
    pub(crate) client_mac: String,
}

/// The place of a run.
pub(crate) struct Bed {
    veth: Option<Veth>,
    /// Takes the feed, so that the kernel does not answer it with errors.
    sink: UdpSocket,
}

struct Veth {
    /// Keeps the server's namespace.
    _server: File,
    path: PathBuf,
}

impl Bed {
    /// Loopback.
    pub(crate) fn loopback() -> anyhow::Result<Self> {
        let sink = sink("127.0.0.1:0")?;
        Ok(Self { veth: None, sink })
    }

    /// Two namespaces; the calling thread, and threads that it starts later, are in the client's from now on.
    /// Needs root.
    pub(crate) fn namespaces() -> anyhow::Result<Self> {
        let server = std::thread::spawn(|| {
            fresh_namespace()?;
            File::open("/proc/thread-self/ns/net").context("no namespace to look at")
        });
        let server = server.join().expect("the thread does not panic")?;
        let path = PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            server.as_raw_fd()
        ));
        fresh_namespace()?;
        let there = path.display();
        ip(None, "link set lo up")?;
        ip(Some(&path), "link set lo up")?;
        for seat in [Seat::First, Seat::Second] {
            // One queue: what polls a single queue must see everything.
            let queues = "numrxqueues 1 numtxqueues 1";
            let (near, far) = (seat.near(), seat.far());
            let [near_mac, far_mac] = [seat.mac(1), seat.mac(2)];
            ip(
                None,
                &format!(
                    "link add {near} {queues} address {near_mac} type veth peer name {far} {queues} \
                     address {far_mac} netns {there}"
                ),
            )?;
            ip(None, &format!("addr add {}/24 dev {near}", seat.ip(1)))?;
            whole_checksums(&near).context("cannot have the kernel write whole checksums")?;
            for (ns, dev, peer) in [(None, &near, 2), (Some(path.as_path()), &far, 1)] {
                ip(ns, &format!("link set {dev} up"))?;
                // A backend that only polls need not answer ARP before it is asked.
                let (peer, mac) = (seat.ip(peer), seat.mac(peer));
                let neighbour =
                    format!("neigh replace {peer} lladdr {mac} dev {dev} nud permanent");
                ip(ns, &neighbour)?;
            }
        }
        let sink = sink("10.77.0.1:4002")?;
        let veth = Veth {
            _server: server,
            path,
        };
        Ok(Self {
            veth: Some(veth),
            sink,
        })
    }

    /// The namespace of box and echo, if it is another than ours.
    pub(crate) fn netns(&self) -> Option<&Path> {
        self.veth.as_ref().map(|v| v.path.as_path())
    }

    /// In words.
    pub(crate) const fn about(&self) -> &'static str {
        match self.veth {
            Some(_) => "two network namespaces joined by veth pairs (no wire, no card)",
            None => "loopback (no wire, no card)",
        }
    }

    /// One of the two places. On loopback each call gives fresh ports.
    pub(crate) fn port(&self, seat: Seat, backend: Backend) -> anyhow::Result<Port> {
        let feed_lines = vec![self.sink.local_addr().context("no address")?.to_string()];
        if let Some(veth) = &self.veth {
            let (host, interface) = (seat.ip(2), seat.far());
            let change = if backend.has_own_addresses() {
                format!("addr flush dev {interface}")
            } else {
                format!("addr replace {host}/24 dev {interface}")
            };
            ip(Some(&veth.path), &change)?;
            return Ok(Port {
                order_entry: at(&format!("{host}:{ORDER_ENTRY}"))?,
                addresses: Addresses {
                    order_entry: format!("{host}:{ORDER_ENTRY}"),
                    feed_source: format!("{host}:{FEED_SOURCE}"),
                    // A kernel socket, whatever the backend; nobody asks.
                    feed_requests: format!("127.0.0.1:{}", FEED_REQUESTS + seat as u16),
                    feed_lines,
                },
                link: Some(Link {
                    network: seat.network(),
                    client: seat.ip(1),
                    client_mac: seat.mac(1),
                }),
                interface,
            });
        }
        let ports = crate::venue::Ports::find()?;
        let addresses = Addresses {
            feed_lines,
            ..Addresses::from(&ports)
        };
        Ok(Port {
            order_entry: at(&loopback(ports.order_entry))?,
            addresses,
            link: None,
            interface: "lo".into(),
        })
    }
}

fn at(text: &str) -> anyhow::Result<SocketAddrV4> {
    text.parse().with_context(|| format!("address {text}"))
}

/// A socket that is never read: what comes is dropped once its small buffer is full.
fn sink(at: &str) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind(at).with_context(|| format!("cannot listen at {at}"))?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4_096).context("a small buffer")?;
    Ok(socket)
}

/// Makes the kernel write whole checksums: on a cable that is none it leaves them to a card that never comes, and a
/// backend that reads frames finds them wrong.
#[expect(unsafe_code, reason = "no safe interface to this ioctl")]
fn whole_checksums(interface: &str) -> std::io::Result<()> {
    const ETHTOOL_STXCSUM: u32 = 0x17;
    let mut off = [ETHTOOL_STXCSUM, 0];
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: off.as_mut_ptr().cast(),
        },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: the request names an interface and a command of two words, both of which outlive the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// Moves the calling thread into a network namespace of its own.
#[expect(unsafe_code, reason = "only a flag that is not used here makes it so")]
fn fresh_namespace() -> anyhow::Result<()> {
    // SAFETY: what could go wrong is sharing of file descriptors (`FILES`), which stays as it is.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .context("cannot make a network namespace: --netns needs root")
}

/// Runs `ip` in a namespace, or where we are.
fn ip(netns: Option<&Path>, words: &str) -> anyhow::Result<()> {
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    let run = {
        let words = words.clone();
        move || Command::new("ip").args(words).output()
    };
    let output = match netns {
        None => run(),
        Some(path) => {
            let path = path.to_path_buf();
            let there = std::thread::spawn(move || {
                enter_netns(&path)?;
                anyhow::Ok(run())
            });
            there.join().expect("the thread does not panic")?
        }
    };
    let output = output.context("cannot run ip: is iproute2 installed?")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
