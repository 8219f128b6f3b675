//! Receiving: buffers that the kernel fills again and again, and what it writes into them.

use crate::machine::clock::wall_clock;
use crate::nic::Endpoint;
use firmware::limits::DATAGRAM_MAX;
use firmware::units::TimeNs;
use io_uring::types::{BufRingEntry, RecvMsgOut};
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

/// Space for a sender's address in a receive buffer.
const NAME_LEN: usize = size_of::<libc::sockaddr_in>();
/// Space for the receive times: a control header and three timespecs, by software, unused, by the card.
const CONTROL_LEN: usize = size_of::<libc::cmsghdr>() + 3 * size_of::<libc::timespec>();
/// Where the payload begins in a receive buffer: after the kernel's own header and the two above.
const PAYLOAD_AT: usize = 16 + NAME_LEN + CONTROL_LEN;
/// A payload of ours fits, and one byte more, so that an oversize one shows.
const RX_BUFFER_LEN: usize = 2048;
const _: () = assert!(PAYLOAD_AT + DATAGRAM_MAX < RX_BUFFER_LEN);

pub(super) const BUFFER_GROUP: u16 = 0;
/// Receive buffers; a power of two. Few, so that they stay in the cache: what does not fit waits in the
/// socket, which is larger.
pub(super) const RX_BUFFERS: u16 = 256;
/// A card's clock that is further from the kernel's stamp than this is not set to the time of day, ns.
const CARD_SKEW_MAX_NS: u64 = 1_000_000;

/// The shape of what is received, the same for all sockets: the kernel reads only the two lengths.
pub(super) struct Message(pub(super) libc::msghdr);
// SAFETY: nobody writes it, and its pointers are null.
unsafe impl Sync for Message {}
pub(super) static MESSAGE: Message = Message(libc::msghdr {
    msg_name: std::ptr::null_mut(),
    msg_namelen: NAME_LEN as libc::socklen_t,
    msg_iov: std::ptr::null_mut(),
    msg_iovlen: 0,
    msg_control: std::ptr::null_mut(),
    msg_controllen: CONTROL_LEN,
    msg_flags: 0,
});

/// Buffers that the kernel receives into, and the ring in which they are offered to it.
pub(super) struct RxPool {
    /// As the kernel wants it: page-aligned, one entry per buffer, the ring's tail in a reserved field of
    /// the first.
    pub(super) entries: Box<[EntryPage]>,
    buffers: Box<[[u8; RX_BUFFER_LEN]]>,
    tail: u16,
}

const ENTRY_LEN: usize = size_of::<BufRingEntry>();
const _: () = assert!(ENTRY_LEN == 16 && (RX_BUFFERS as usize * ENTRY_LEN).is_multiple_of(4096));

#[derive(Clone, Copy)]
#[repr(C, align(4096))]
pub(super) struct EntryPage([u8; 4096]);

impl RxPool {
    pub(super) fn new() -> Self {
        let pages = RX_BUFFERS as usize * ENTRY_LEN / size_of::<EntryPage>();
        let mut pool = Self {
            entries: vec![EntryPage([0; 4096]); pages].into_boxed_slice(),
            buffers: vec![[0; RX_BUFFER_LEN]; RX_BUFFERS as usize].into_boxed_slice(),
            tail: 0,
        };
        for buffer in 0..RX_BUFFERS {
            pool.give_back(buffer);
        }
        pool
    }

    /// Offers a buffer to the kernel (again).
    pub(super) fn give_back(&mut self, buffer: u16) {
        let address = self.buffers[usize::from(buffer)].as_mut_ptr() as u64;
        let ring: *mut BufRingEntry = self.entries.as_mut_ptr().cast();
        let slot = usize::from(self.tail % RX_BUFFERS);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `slot` is within the pages, which hold RX_BUFFERS entries of plain integers. The kernel
        // reads an entry only after the tail has passed it, and this one it has long consumed.
        unsafe {
            let entry = &mut *ring.add(slot);
            entry.set_addr(address);
            entry.set_len(RX_BUFFER_LEN as u32);
            entry.set_bid(buffer);
        }
        publish(ring, self.tail);
    }

    /// Sender, time and payload in a buffer of which the kernel filled `len` bytes; None if the datagram
    /// is longer than any of ours.
    pub(super) fn parse(&self, buffer: u16, len: i32) -> Option<(Endpoint, RxTime, &[u8])> {
        let bytes = &self.buffers[usize::from(buffer)][..usize::try_from(len).ok()?];
        let message = RecvMsgOut::parse(bytes, &MESSAGE.0).ok()?;
        let payload = &bytes[PAYLOAD_AT..];
        if message.is_payload_truncated() || payload.len() > DATAGRAM_MAX {
            return None;
        }
        let from = read_name(message.name_data())?;
        let rx_time = read_time(message.control_data());
        Some((from, rx_time, payload))
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "shared with the kernel, not with a thread of ours"
)]
fn publish(ring: *mut BufRingEntry, tail: u16) {
    // SAFETY: the tail is an aligned u16 in the first entry. Release, so that the kernel, which acquires
    // it, sees the entries before it. Only this thread and the kernel touch it.
    unsafe {
        let at = BufRingEntry::tail(ring).cast_mut();
        std::sync::atomic::AtomicU16::from_ptr(at).store(tail, Ordering::Release);
    }
}

/// The sender's address, as `sockaddr_in` has it.
fn read_name(name: &[u8]) -> Option<Endpoint> {
    let port = name.get(2..4)?.try_into().ok()?;
    let ip: [u8; 4] = name.get(4..8)?.try_into().ok()?;
    Some(Endpoint::new(Ipv4Addr::from(ip), u16::from_be_bytes(port)))
}

/// When a datagram arrived, and who says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RxTime {
    pub(super) at: TimeNs,
    /// Stamped by the card; else by the kernel.
    pub(super) is_hardware: bool,
}

/// The receive time: one control message with three times. The card's is taken if it stamped and its clock is set to
/// the time of day, which shows when it is a little before the kernel's.
fn read_time(control: &[u8]) -> RxTime {
    let head = size_of::<libc::cmsghdr>();
    let word = |at: usize| {
        let bytes = control.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_ne_bytes(bytes))
    };
    let time = |n: usize| {
        let at = head + n * size_of::<libc::timespec>();
        let ns = word(at)?
            .checked_mul(1_000_000_000)?
            .checked_add(word(at + 8)?)?;
        (ns > 0).then_some(ns)
    };
    let is_time = control.get(8..16).is_some_and(|kind| {
        kind[..4] == libc::SOL_SOCKET.to_ne_bytes()
            && kind[4..] == libc::SCM_TIMESTAMPING.to_ne_bytes()
    });
    let (software, card) = if is_time {
        (time(0), time(2))
    } else {
        (None, None)
    };
    let software = software.unwrap_or_else(|| wall_clock().0);
    match card {
        Some(at) if at <= software && software - at <= CARD_SKEW_MAX_NS => RxTime {
            at: TimeNs(at),
            is_hardware: true,
        },
        _ => RxTime {
            at: TimeNs(software),
            is_hardware: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{RxTime, read_time};
    use firmware::units::TimeNs;

    const NOW: u64 = 1_800_000_000_000_000_000;

    fn control(kind: i32, times: [u64; 3]) -> Vec<u8> {
        let mut bytes = 64u64.to_ne_bytes().to_vec();
        bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        for ns in times {
            bytes.extend((ns / 1_000_000_000).to_ne_bytes());
            bytes.extend((ns % 1_000_000_000).to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn the_cards_time_counts_when_it_is_the_time_of_day() {
        let read = |software, card| {
            let t = read_time(&control(libc::SCM_TIMESTAMPING, [software, 0, card]));
            (t.at.0, t.is_hardware)
        };
        assert_eq!(read(NOW, 0), (NOW, false));
        assert_eq!(read(NOW, NOW - 900), (NOW - 900, true));
        // A clock on atomic time, one since boot, and one that runs ahead.
        for odd in [
            NOW + 37_000_000_000,
            12_345_678_901,
            NOW + 1,
            NOW - 2_000_000,
        ] {
            assert_eq!(read(NOW, odd), (NOW, false), "{odd}");
        }
    }

    #[test]
    fn without_a_stamp_it_is_the_time_of_reading() {
        let before = crate::machine::clock::wall_clock();
        for bytes in [
            Vec::new(),
            control(libc::SCM_TIMESTAMPING, [0, 0, NOW]),
            control(libc::SCM_RIGHTS, [NOW, 0, NOW]),
            control(libc::SCM_TIMESTAMPING, [NOW, 0, 0])[..20].to_vec(),
        ] {
            let RxTime { at, is_hardware } = read_time(&bytes);
            assert!(
                before <= at && at <= crate::machine::clock::wall_clock(),
                "{bytes:?}"
            );
            assert!(!is_hardware);
            assert_ne!(at, TimeNs(NOW));
        }
    }
}
