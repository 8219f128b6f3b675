//! What carries datagrams: a UDP socket, or in tests a wire with faults.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

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
}

/// Non-blocking UDP sockets: one to talk with the peer and, for market data, one that only listens.
#[derive(Debug)]
pub struct Udp {
    /// Connected to the peer, so that the kernel drops what comes from elsewhere.
    peer: Option<UdpSocket>,
    line: Option<UdpSocket>,
}

impl Udp {
    /// A socket to and from `peer`, at a port that the system picks.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn to(peer: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            peer: Some(connected(peer)?),
            line: None,
        })
    }

    /// A market-data line at `listen` (a multicast group is joined on `interface`), and the re-request
    /// server, if there is one.
    ///
    /// # Errors
    /// When a socket cannot be made or the group cannot be joined.
    pub fn line(
        listen: SocketAddr,
        interface: Ipv4Addr,
        rerequest: Option<SocketAddr>,
    ) -> io::Result<Self> {
        let line = UdpSocket::bind(listen)?;
        if let SocketAddr::V4(a) = listen
            && a.ip().is_multicast()
        {
            line.join_multicast_v4(a.ip(), &interface)?;
        }
        line.set_nonblocking(true)?;
        Ok(Self {
            peer: rerequest.map(connected).transpose()?,
            line: Some(line),
        })
    }

    /// Address of the socket that talks with the peer.
    ///
    /// # Errors
    /// When there is none, or the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.peer.as_ref().or(self.line.as_ref()) {
            Some(socket) => socket.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
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

impl Wire for Udp {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        match self.peer.as_ref().map(|s| s.send(datagram)) {
            Some(Err(e)) if !is_loss(&e) => Err(e),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        for socket in [&self.line, &self.peer].into_iter().flatten() {
            // A few tries, since an ICMP error of the past takes the place of a datagram.
            for _ in 0..4 {
                match socket.recv(buf) {
                    Ok(len) => return Ok(Some(len)),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) if is_loss(&e) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(None)
    }
}
