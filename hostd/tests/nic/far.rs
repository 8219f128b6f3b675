//! The kernel at the other end of a cable.

use crate::conformance::Peer;
use crate::veth;
use hostd::nic::Endpoint;
use std::net::UdpSocket;

/// A kernel's socket, and the longest datagram of it that the driver at our end hands over whole.
pub(crate) struct Far {
    pub(crate) socket: UdpSocket,
    pub(crate) longest: usize,
}

impl Far {
    /// The calling thread must be at the peer's end.
    pub(crate) fn open(longest: usize) -> Self {
        let socket = veth::peer_socket();
        Self { socket, longest }
    }
}

impl Peer for Far {
    fn address(&self) -> Endpoint {
        self.socket.address()
    }

    fn tell(&self, to: Endpoint, payload: &[u8]) {
        self.socket.tell(to, payload);
    }

    fn hear(&self, buffer: &mut [u8]) -> (usize, Endpoint) {
        self.socket.hear(buffer)
    }

    fn share(&self) -> Self {
        let socket = self.socket.share();
        Self { socket, ..*self }
    }

    fn another(&self) -> Self {
        Self::open(self.longest)
    }

    fn longest(&self) -> usize {
        self.longest
    }
}
