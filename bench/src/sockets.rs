//! UDP sockets that a thread can sleep on: the client library never blocks, so its user waits in `poll(2)`
//! and thus sees an answer as soon as the kernel has it, without spinning.

use anyhow::Context as _;
use client::Wire;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

/// A socket to the venue and, for market data, one that only listens.
#[derive(Debug)]
pub(crate) struct Sockets {
    peer: UdpSocket,
    line: Option<UdpSocket>,
}

impl Sockets {
    /// To and from `peer`; listens at `line` too when given.
    pub(crate) fn new(peer: &str, line: Option<&str>) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").context("no UDP port on loopback")?;
        socket
            .connect(peer)
            .with_context(|| format!("cannot reach {peer}"))?;
        socket
            .set_nonblocking(true)
            .context("a socket that always blocks")?;
        let line = match line {
            Some(at) => {
                let line = UdpSocket::bind(at).with_context(|| format!("cannot listen at {at}"))?;
                line.set_nonblocking(true)
                    .context("a socket that always blocks")?;
                Some(line)
            }
            None => None,
        };
        Ok(Self { peer: socket, line })
    }

    /// Own handles of the sockets, for [`sleep`].
    pub(crate) fn handles(&self) -> anyhow::Result<Vec<OwnedFd>> {
        let both = [Some(&self.peer), self.line.as_ref()].into_iter().flatten();
        both.map(|s| {
            s.as_fd()
                .try_clone_to_owned()
                .context("no more file descriptors")
        })
        .collect()
    }
}

/// Loopback only loses a datagram by a full buffer or a peer that is not there (yet): both count as loss.
fn is_loss(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::WouldBlock | K::Interrupted | K::ConnectionRefused | K::OutOfMemory
    )
}

impl Wire for Sockets {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        match self.peer.send(datagram) {
            Err(e) if !is_loss(&e) => Err(e),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        for socket in [self.line.as_ref(), Some(&self.peer)].into_iter().flatten() {
            match socket.recv(buf) {
                Ok(len) => return Ok(Some(len)),
                Err(e) if is_loss(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }
}

/// Sleeps until one of the handles can be read, or the time is up.
pub(crate) fn sleep(handles: &[OwnedFd], at_most: Duration) {
    let mut fds: Vec<PollFd<'_>> = handles
        .iter()
        .map(|h| PollFd::new(h, PollFlags::IN))
        .collect();
    let time = Timespec {
        tv_sec: at_most.as_secs() as i64,
        tv_nsec: i64::from(at_most.subsec_nanos()),
    };
    // An interrupted sleep is a short one; the caller looks at its clock anyway.
    let _ = poll(&mut fds, Some(&time));
}
