//! Datagrams that wait until their neighbour is found: few, and not for long.

use crate::nic::Endpoint;
use firmware::limits::DATAGRAM_MAX;
use std::net::Ipv4Addr;

/// Datagrams that wait in all, and for one neighbour.
const SLOTS: usize = 256;
const PER_NEIGHBOUR: usize = 64;

/// The queue. One neighbour's datagrams keep their order.
pub(super) struct Waiting {
    slots: Box<[Slot]>,
    /// Slots in use, oldest first; then the free ones.
    order: Box<[u16]>,
    used: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    neighbour: Ipv4Addr,
    socket: usize,
    to: Endpoint,
    len: usize,
    payload: [u8; DATAGRAM_MAX],
}

/// What becomes of a neighbour's datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It waits on.
    Stay,
    /// It is gone: sent, or given up.
    Go,
}

impl Waiting {
    pub(super) fn new() -> Self {
        let slot = Slot {
            neighbour: Ipv4Addr::UNSPECIFIED,
            socket: 0,
            to: Endpoint::new(Ipv4Addr::UNSPECIFIED, 0),
            len: 0,
            payload: [0; DATAGRAM_MAX],
        };
        Self {
            slots: vec![slot; SLOTS].into_boxed_slice(),
            order: (0..SLOTS as u16).collect(),
            used: 0,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.used == SLOTS
    }

    /// Whether something waits for a neighbour.
    pub(super) fn has(&self, neighbour: Ipv4Addr) -> bool {
        self.of(neighbour) > 0
    }

    fn of(&self, neighbour: Ipv4Addr) -> usize {
        let used = self.order[..self.used].iter();
        used.filter(|&&at| self.slots[usize::from(at)].neighbour == neighbour)
            .count()
    }

    /// Takes a datagram in; false if there is no room for it.
    #[must_use]
    pub(super) fn push(
        &mut self,
        neighbour: Ipv4Addr,
        socket: usize,
        to: Endpoint,
        payload: &[u8],
    ) -> bool {
        if self.is_full() || self.of(neighbour) >= PER_NEIGHBOUR {
            return false;
        }
        let slot = &mut self.slots[usize::from(self.order[self.used])];
        (slot.neighbour, slot.socket, slot.to, slot.len) = (neighbour, socket, to, payload.len());
        slot.payload[..payload.len()].copy_from_slice(payload);
        self.used += 1;
        true
    }

    /// Shows every datagram, oldest first, and lets `judge` say what becomes of it.
    pub(super) fn retain(
        &mut self,
        mut judge: impl FnMut(Ipv4Addr, usize, Endpoint, &[u8]) -> Fate,
    ) {
        let mut kept = 0;
        for at in 0..self.used {
            let slot = &self.slots[usize::from(self.order[at])];
            let fate = judge(
                slot.neighbour,
                slot.socket,
                slot.to,
                &slot.payload[..slot.len],
            );
            if fate == Fate::Stay {
                self.order.swap(kept, at);
                kept += 1;
            }
        }
        self.used = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_keeps_its_order_and_its_bounds() {
        let mut waiting = Waiting::new();
        let host = |n: u8| Ipv4Addr::new(10, 0, 0, n);
        let to = |n: u8| Endpoint::new(host(n), 9);
        for i in 0..100_u8 {
            let fits = waiting.push(host(i % 2), usize::from(i), to(i % 2), &[i; 3]);
            assert!(fits);
        }
        for _ in 0..14 {
            assert!(waiting.push(host(0), 0, to(0), b"more"));
        }
        assert!(!waiting.push(host(0), 0, to(0), b"too many"));
        assert!(waiting.has(host(1)) && !waiting.has(host(2)));

        let mut seen = Vec::new();
        waiting.retain(|neighbour, socket, at, payload| {
            assert_eq!(at, to(neighbour.octets()[3]));
            if neighbour == host(0) || seen.len() >= 20 {
                return Fate::Stay;
            }
            seen.push((socket as u8, payload.to_vec()));
            Fate::Go
        });
        waiting.retain(|neighbour, socket, _, payload| {
            if neighbour == host(1) {
                seen.push((socket as u8, payload.to_vec()));
                return Fate::Go;
            }
            Fate::Stay
        });
        let want = (1..100).step_by(2).map(|i| (i, vec![i; 3]));
        assert!(seen.into_iter().eq(want));
        assert_eq!(waiting.of(host(0)), 64);
        waiting.retain(|_, _, _, _| Fate::Go);
        assert!(waiting.is_empty());
        for n in 0..4 {
            for _ in 0..PER_NEIGHBOUR {
                assert!(waiting.push(host(n), 0, to(n), b"a"));
            }
        }
        assert!(!waiting.push(host(9), 0, to(9), b"full"));
    }
}
