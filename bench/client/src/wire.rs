//! What carries datagrams: a UDP socket, or in tests a wire with faults.

use crate::feed::FeedConfig;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Where a datagram of market data came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Line A of the feed.
    LineA,
    /// Line B.
    LineB,
    /// The peer: answers to re-requests.
    Peer,
    /// Snapshots.
    Snapshots,
    /// Signed checkpoints.
    Checkpoints,
}

/// Sends and receives whole datagrams, without waiting. Either may lose them.
pub trait Wire {
    /// Sends one datagram.
    ///
    /// # Errors
    /// Only what will not go away; a full buffer counts as loss.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Takes the next datagram into `buf` and gives its length; `None` when there is none now.
    ///
    /// # Errors
    /// Only what will not go away.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>>;

    /// As [`receive`](Self::receive), and says where the datagram came in. A wire that does not tell lines apart
    /// passes for line A.
    ///
    /// # Errors
    /// Only what will not go away.
    fn receive_from(&mut self, buf: &mut [u8]) -> io::Result<Option<(usize, Source)>> {
        Ok(self.receive(buf)?.map(|len| (len, Source::LineA)))
    }
}

/// A non-blocking UDP socket to one peer, or one to each of its two addresses.
#[derive(Debug)]
pub struct Udp {
    /// Connected, so that the kernel drops what comes from elsewhere.
    socket: UdpSocket,
    /// To the second address: it is sent a copy of every datagram.
    socket_b: Option<UdpSocket>,
}

impl Udp {
    /// A socket to and from `peer`, at a port that the system picks.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn to(peer: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: connected(peer)?,
            socket_b: None,
        })
    }

    /// Sockets to and from both addresses of a peer, at ports that the system picks.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub fn to_both(a: SocketAddr, b: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: connected(a)?,
            socket_b: Some(connected(b)?),
        })
    }

    /// Its own address; with two, that of the first.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        [Some(&self.socket), self.socket_b.as_ref()]
            .into_iter()
            .flatten()
    }
}

/// Non-blocking UDP sockets for market data: those that only listen, and one to the re-request server.
#[derive(Debug)]
pub struct FeedSockets {
    sockets: Vec<(Source, UdpSocket)>,
    /// The next one to look at: a busy line does not keep the others waiting.
    next: usize,
}

impl FeedSockets {
    /// Listens where the configuration says; multicast groups are joined on its interface.
    ///
    /// # Errors
    /// When a socket cannot be made or a group cannot be joined.
    pub fn open(config: &FeedConfig) -> io::Result<Self> {
        let listening = [
            (Source::LineA, Some(config.line_a)),
            (Source::LineB, config.line_b),
            (Source::Snapshots, config.snapshots),
            (Source::Checkpoints, config.checkpoints.map(|c| c.listen)),
        ];
        let mut sockets = Vec::new();
        for (source, at) in listening {
            if let Some(at) = at {
                sockets.push((source, listen(at, config.interface)?));
            }
        }
        if let Some(peer) = config.rerequest {
            sockets.push((Source::Peer, connected(peer)?));
        }
        Ok(Self { sockets, next: 0 })
    }
}

impl Wire for FeedSockets {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let peer = self.sockets.iter().find(|(s, _)| *s == Source::Peer);
        match peer.map(|(_, socket)| socket.send(datagram)) {
            Some(Err(e)) if !is_loss(&e) => Err(e),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(self.receive_from(buf)?.map(|(len, _)| len))
    }

    fn receive_from(&mut self, buf: &mut [u8]) -> io::Result<Option<(usize, Source)>> {
        for _ in 0..self.sockets.len() {
            let (source, socket) = &self.sockets[self.next];
            self.next = (self.next + 1) % self.sockets.len();
            if let Some(len) = take(socket, buf)? {
                return Ok(Some((len, *source)));
            }
        }
        Ok(None)
    }
}

fn listen(at: SocketAddr, interface: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    if let SocketAddr::V4(a) = at
        && a.ip().is_multicast()
    {
        socket.join_multicast_v4(a.ip(), &interface)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn connected(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if peer.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether an error only means that a datagram is gone. An ICMP error is among them: anybody can send one.
fn is_loss(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::WouldBlock
            | K::Interrupted
            | K::ConnectionRefused
            | K::ConnectionReset
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::OutOfMemory
    )
}

/// The next datagram of a socket.
fn take(socket: &UdpSocket, buf: &mut [u8]) -> io::Result<Option<usize>> {
    // A few tries, since an ICMP error of the past takes the place of a datagram.
    for _ in 0..4 {
        match socket.recv(buf) {
            Ok(len) => return Ok(Some(len)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if is_loss(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

impl Wire for Udp {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let (mut result, mut is_sent) = (Ok(()), false);
        for socket in self.sockets() {
            match socket.send(datagram) {
                Err(e) if !is_loss(&e) => result = Err(e),
                _ => is_sent = true,
            }
        }
        // One path that is gone for good is what the other one is for.
        if is_sent { Ok(()) } else { result }
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let (mut result, mut is_alive) = (Ok(None), false);
        for socket in self.sockets() {
            match take(socket, buf) {
                Ok(Some(len)) => return Ok(Some(len)),
                Ok(None) => is_alive = true,
                Err(e) => result = Err(e),
            }
        }
        if is_alive { Ok(None) } else { result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_are_sent_each_datagram_and_heard() {
        let venue = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [a, b] = [0, 1].map(|i: usize| venue[i].local_addr().unwrap());
        let mut wire = Udp::to_both(a, b).unwrap();
        wire.send(b"up").unwrap();
        let mut buf = [0; 16];
        for socket in &venue {
            let (len, from) = socket.recv_from(&mut buf).unwrap();
            assert_eq!(buf[..len], *b"up");
            socket.send_to(b"down", from).unwrap();
        }
        for _ in 0..2 {
            let len = loop {
                if let Some(len) = wire.receive(&mut buf).unwrap() {
                    break len;
                }
            };
            assert_eq!(buf[..len], *b"down");
        }
    }
}
