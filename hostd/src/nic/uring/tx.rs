//! Sending: slots for datagrams on their way out, and runs of them that leave in one request.
//!
//! Datagrams of one size to one address that are queued one after the other are handed over as one message that the
//! kernel or the card cuts (UDP segmentation): a quarter of the cost in bursts, nothing else lost or gained
//! (`send_cost` among the examples). Zero-copy sending costs more than the copy at these sizes, and is not used.

use crate::nic::Endpoint;
use firmware::limits::DATAGRAM_MAX;
use io_uring::types::Fixed;
use io_uring::{opcode, squeue};

/// Datagrams queued or being sent at a time.
pub(super) const TX_SLOTS: u16 = 1024;
/// Datagrams and bytes of one message, as the kernel takes them.
const RUN_MAX: u16 = 64;
const RUN_BYTES_MAX: usize = 65_000;

const NAME_LEN: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;
/// A control message with a u16, padded.
const CONTROL_WORDS: usize = 3;

/// Consecutive slots that leave together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) socket: u16,
    pub(super) first: u16,
    pub(super) count: u16,
}

/// A run that may still grow.
struct Open {
    run: Run,
    to: Endpoint,
    /// Bytes of each of its datagrams; a shorter one ends it.
    each: usize,
    bytes: usize,
    is_ended: bool,
}

/// Slots of datagrams on their way out.
pub(super) struct TxPool {
    slots: Box<[Slot]>,
    /// The kernel's view of each slot's payload, so that those of a run lie side by side.
    vectors: Box<[libc::iovec]>,
    /// From here on slots are fresh: taken in order, so that runs form.
    fresh: u16,
    /// Slots before that which are free again.
    spare: Vec<u16>,
    /// Slots taken.
    used: u16,
    open: Option<Open>,
    /// By socket: whether runs are cut on the way.
    cuts: [bool; super::SOCKETS_MAX],
}

// SAFETY: the pointers in it lead into its own boxes, which move with it.
unsafe impl Send for TxPool {}

#[derive(Clone, Copy)]
struct Slot {
    to: libc::sockaddr_in,
    header: libc::msghdr,
    control: [u64; CONTROL_WORDS],
    payload: [u8; DATAGRAM_MAX],
}

impl TxPool {
    pub(super) fn new() -> Self {
        // SAFETY: all-zero is a valid value of these, of addresses and lengths.
        let nothing: (libc::sockaddr_in, libc::msghdr) = unsafe { std::mem::zeroed() };
        let slot = Slot {
            to: libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                ..nothing.0
            },
            header: nothing.1,
            control: [0; CONTROL_WORDS],
            payload: [0; DATAGRAM_MAX],
        };
        let mut slots = vec![slot; usize::from(TX_SLOTS)].into_boxed_slice();
        let vectors = slots.iter_mut().map(|s| libc::iovec {
            iov_base: s.payload.as_mut_ptr().cast(),
            iov_len: 0,
        });
        Self {
            vectors: vectors.collect(),
            slots,
            fresh: 0,
            spare: Vec::with_capacity(usize::from(TX_SLOTS)),
            used: 0,
            open: None,
            cuts: [true; super::SOCKETS_MAX],
        }
    }

    /// Takes a datagram. `None` if there is no room; else the run before it, if that is complete now.
    pub(super) fn add(
        &mut self,
        socket: usize,
        to: Endpoint,
        payload: &[u8],
    ) -> Option<Option<Run>> {
        let slot = self.take()?;
        let at = &mut self.slots[usize::from(slot)];
        at.to.sin_port = to.port().to_be();
        at.to.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
        at.payload[..payload.len()].copy_from_slice(payload);
        self.vectors[usize::from(slot)].iov_len = payload.len();
        let len = payload.len();
        if let Some(open) = &mut self.open
            && open.run.socket == socket as u16
            && open.run.first + open.run.count == slot
            && open.to == to
            && !open.is_ended
            && len <= open.each
            && open.run.count < RUN_MAX
            && open.bytes + len <= RUN_BYTES_MAX
            && self.cuts[socket]
        {
            open.run.count += 1;
            open.bytes += len;
            open.is_ended = len < open.each;
            return Some(None);
        }
        let before = self.close();
        self.open = Some(Open {
            run: Run {
                socket: socket as u16,
                first: slot,
                count: 1,
            },
            to,
            each: len,
            bytes: len,
            is_ended: false,
        });
        Some(before)
    }

    /// The last run, which does not grow any more.
    pub(super) fn close(&mut self) -> Option<Run> {
        self.open.take().map(|open| open.run)
    }

    fn take(&mut self) -> Option<u16> {
        if self.used == 0 {
            // Nothing is under way: begin again with the slots that are in the cache.
            self.fresh = 0;
            self.spare.clear();
        }
        let slot = if self.fresh < TX_SLOTS {
            self.fresh += 1;
            self.fresh - 1
        } else {
            self.spare.pop()?
        };
        self.used += 1;
        Some(slot)
    }

    /// Gives the slots of a run back.
    pub(super) fn free(&mut self, run: Run) {
        self.used -= run.count;
        self.spare.extend(run.first..run.first + run.count);
    }

    /// From now on each datagram of this socket leaves by itself.
    pub(super) fn stop_cutting(&mut self, socket: u16) {
        self.cuts[usize::from(socket)] = false;
    }

    /// The request that sends a run. What it points to stays as it is until the run is freed.
    pub(super) fn request(&mut self, run: Run) -> squeue::Entry {
        let first = usize::from(run.first);
        let each = self.vectors[first].iov_len;
        let fd = Fixed(u32::from(run.socket));
        let slot = &mut self.slots[first];
        if run.count == 1 {
            return opcode::Send::new(fd, slot.payload.as_ptr(), each as u32)
                .dest_addr((&raw const slot.to).cast())
                .dest_addr_len(NAME_LEN)
                .build();
        }
        // Length, level and kind, value: a control header and where to cut.
        let control_len = size_of::<libc::cmsghdr>() + size_of::<u16>();
        let kind = u64::from_ne_bytes(bytemuck::cast([libc::SOL_UDP, libc::UDP_SEGMENT]));
        let mut value = [0; 8];
        value[..2].copy_from_slice(&(each as u16).to_ne_bytes());
        slot.control = [control_len as u64, kind, u64::from_ne_bytes(value)];
        slot.header.msg_name = (&raw mut slot.to).cast();
        slot.header.msg_namelen = NAME_LEN;
        slot.header.msg_iov = &raw mut self.vectors[first];
        slot.header.msg_iovlen = usize::from(run.count) as _;
        slot.header.msg_control = slot.control.as_mut_ptr().cast();
        slot.header.msg_controllen = size_of_val(&slot.control) as _;
        opcode::SendMsg::new(fd, &raw const slot.header).build()
    }
}

#[cfg(test)]
mod tests {
    use super::{Run, TX_SLOTS, TxPool};
    use crate::nic::Endpoint;
    use std::net::Ipv4Addr;

    fn to(port: u16) -> Endpoint {
        Endpoint::new(Ipv4Addr::LOCALHOST, port)
    }

    /// Runs of these datagrams: socket, port, length.
    fn runs(pool: &mut TxPool, datagrams: &[(usize, u16, usize)]) -> Vec<u16> {
        let mut all = Vec::new();
        for &(socket, port, len) in datagrams {
            all.extend(pool.add(socket, to(port), &vec![1; len]).unwrap());
        }
        all.extend(pool.close());
        all.iter().for_each(|run| pool.free(*run));
        all.iter().map(|r| r.count).collect()
    }

    #[test]
    fn equal_datagrams_to_one_address_leave_together() {
        let mut pool = TxPool::new();
        let a = (0, 1, 100);
        assert_eq!(runs(&mut pool, &[a, a, a]), [3]);
        assert_eq!(runs(&mut pool, &[a, (1, 1, 100), a]), [1, 1, 1]);
        assert_eq!(
            runs(&mut pool, &[a, (0, 2, 100), (0, 2, 100), a]),
            [1, 2, 1]
        );
        // A shorter one may be the last, a longer one never.
        assert_eq!(
            runs(&mut pool, &[a, a, (0, 1, 99), (0, 1, 99), a]),
            [3, 1, 1]
        );
        assert_eq!(runs(&mut pool, &[a, (0, 1, 101)]), [1, 1]);
        assert_eq!(runs(&mut pool, &[a; 150]), [64, 64, 22]);
        assert_eq!(runs(&mut pool, &[(0, 1, 1400); 100]), [46, 46, 8]);
        pool.stop_cutting(0);
        assert_eq!(runs(&mut pool, &[a, a, (1, 1, 9), (1, 1, 9)]), [1, 1, 2]);
    }

    #[test]
    fn slots_are_never_given_out_twice_and_all_come_back() {
        let mut pool = TxPool::new();
        let mut under_way: Vec<Run> = Vec::new();
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let pick = (random >> 33) as usize;
            if !pick.is_multiple_of(3) {
                match pool.add(0, to((pick % 2) as u16), &[1; 50]) {
                    Some(before) => under_way.extend(before),
                    None => under_way.extend(pool.close()),
                }
            } else if !under_way.is_empty() {
                let run = under_way.swap_remove(pick % under_way.len());
                pool.free(run);
            }
            let mut taken = [false; TX_SLOTS as usize];
            for run in &under_way {
                for slot in run.first..run.first + run.count {
                    assert!(!std::mem::replace(&mut taken[usize::from(slot)], true));
                }
            }
        }
        under_way.extend(pool.close());
        under_way.into_iter().for_each(|run| pool.free(run));
        let all = (0..TX_SLOTS)
            .filter(|_| pool.add(0, to(1), &[1]).is_some())
            .count();
        assert_eq!(all, usize::from(TX_SLOTS));
        assert_eq!(pool.add(0, to(1), &[1]), None);
    }
}
