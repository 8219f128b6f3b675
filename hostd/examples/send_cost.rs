//! What sending a datagram costs the tile in each way that io_uring has, by size and burst:
//! `cargo run --release -p hostd --example send_cost [ADDRESS:PORT]`.
//!
//! Given is the processor time of this thread, so that a busy machine does not show. On loopback (the default) that
//! includes handing the datagram to the receiver's socket, the same for all; with the address of a socket on another
//! machine it is what the NIC's driver takes.

use io_uring::types::Fixed;
use io_uring::{IoUring, opcode, squeue};
use rustix::time::{ClockId, clock_gettime};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

const RUNS: usize = 400;
const SEGMENTS_MAX: usize = 64;
const DATAGRAM_MAX: usize = 65_507;

struct Bed {
    ring: IoUring,
    to: libc::sockaddr_in,
    sink: Option<UdpSocket>,
    payload: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Way {
    /// One request a datagram.
    Send,
    /// The same without a copy.
    ZeroCopy,
    /// One request for many datagrams of equal size, which the kernel or the card cuts.
    Segments,
}

fn cpu_ns() -> u64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// A message whose control part says where to cut.
#[repr(C)]
struct Segmented {
    header: libc::msghdr,
    vector: libc::iovec,
    control: [u64; 3],
}

impl Bed {
    fn new(to: Option<SocketAddrV4>) -> std::io::Result<Self> {
        let sink = match to {
            Some(_) => None,
            None => Some(UdpSocket::bind("127.0.0.1:0")?),
        };
        let to = match (to, &sink) {
            (Some(to), _) => to,
            (None, Some(sink)) => match sink.local_addr()? {
                SocketAddr::V4(at) => at,
                SocketAddr::V6(_) => unreachable!("bound to IPv4"),
            },
            (None, None) => unreachable!("one of them is there"),
        };
        if let Some(sink) = &sink {
            sink.set_nonblocking(true)?;
            rustix::net::sockopt::set_socket_recv_buffer_size(sink, 4 << 20)?;
        }
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, 4 << 20)?;
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(256)?;
        ring.submitter().register_files(&[socket.as_raw_fd()])?;
        // The ring holds the socket from here on.
        drop(socket);
        Ok(Self {
            ring,
            to: libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: to.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(to.ip().octets()),
                },
                sin_zero: [0; 8],
            },
            sink,
            payload: vec![7; 1 << 16],
        })
    }

    /// Sends a burst and waits for its completions; ns of this thread, or what the kernel said.
    fn burst(&mut self, way: Way, len: usize, count: usize) -> Result<u64, i32> {
        let address = (&raw const self.to).cast::<libc::sockaddr>();
        let address_len = size_of::<libc::sockaddr_in>() as u32;
        let mut messages: Vec<Box<Segmented>> = Vec::new();
        if let Way::Segments = way {
            let most = SEGMENTS_MAX.min(DATAGRAM_MAX / len);
            let mut left = count;
            while left > 0 {
                let now = left.min(most);
                left -= now;
                messages.push(self.segmented(len, now));
            }
        }
        let begun = cpu_ns();
        let entries: Vec<squeue::Entry> = match way {
            Way::Send => (0..count)
                .map(|_| {
                    opcode::Send::new(Fixed(0), self.payload.as_ptr(), len as u32)
                        .dest_addr(address)
                        .dest_addr_len(address_len)
                        .build()
                })
                .collect(),
            Way::ZeroCopy => (0..count)
                .map(|_| {
                    opcode::SendZc::new(Fixed(0), self.payload.as_ptr(), len as u32)
                        .dest_addr(address)
                        .dest_addr_len(address_len)
                        .build()
                })
                .collect(),
            Way::Segments => messages
                .iter()
                .map(|m| opcode::SendMsg::new(Fixed(0), &raw const m.header).build())
                .collect(),
        };
        for entry in &entries {
            // SAFETY: payload, address and messages outlive the wait for all completions below.
            unsafe { self.ring.submission().push(entry) }.expect("256 entries are enough");
        }
        let mut left = entries.len();
        let mut failed = 0;
        self.ring
            .submit_and_wait(left)
            .map_err(|e| e.raw_os_error().unwrap_or(0))?;
        while left > 0 {
            while let Some(done) = self.ring.completion().next() {
                // Without a copy there is a second completion, when the kernel lets go of the memory.
                left -= usize::from(!io_uring::cqueue::more(done.flags()));
                failed = failed.min(done.result());
            }
            if left > 0 {
                self.ring
                    .submit_and_wait(1)
                    .map_err(|e| e.raw_os_error().unwrap_or(0))?;
            }
        }
        let spent = cpu_ns() - begun;
        if failed < 0 {
            return Err(-failed);
        }
        self.drain(len, count);
        Ok(spent)
    }

    fn segmented(&self, len: usize, count: usize) -> Box<Segmented> {
        let mut m = Box::new(Segmented {
            // SAFETY: all-zero is a valid message header.
            header: unsafe { std::mem::zeroed() },
            vector: libc::iovec {
                iov_base: self.payload.as_ptr().cast_mut().cast(),
                iov_len: len * count,
            },
            control: [
                // A control message of 16 + 2 bytes.
                18,
                libc::SOL_UDP as u64 | (libc::UDP_SEGMENT as u64) << 32,
                len as u64,
            ],
        });
        m.header.msg_name = (&raw const self.to).cast_mut().cast();
        m.header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        m.header.msg_iov = &raw mut m.vector;
        m.header.msg_iovlen = 1;
        m.header.msg_control = m.control.as_mut_ptr().cast();
        m.header.msg_controllen = size_of_val(&m.control) as _;
        m
    }

    /// Empties the receiver, and checks that every datagram came as it should.
    fn drain(&self, len: usize, count: usize) {
        let Some(sink) = &self.sink else {
            return;
        };
        let mut buffer = [0; 2048];
        for _ in 0..count {
            assert_eq!(sink.recv(&mut buffer).expect("loopback loses nothing"), len);
        }
    }

    /// Median, ns a datagram.
    fn cost(&mut self, way: Way, len: usize, count: usize) -> String {
        let mut times = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            match self.burst(way, len, count) {
                Ok(ns) => times.push(ns / count as u64),
                Err(code) => return std::io::Error::from_raw_os_error(code).kind().to_string(),
            }
        }
        times.sort_unstable();
        times[RUNS / 2].to_string()
    }
}

fn main() -> std::io::Result<()> {
    let to = std::env::args()
        .nth(1)
        .map(|a| a.parse().expect("ADDRESS:PORT"));
    let mut bed = Bed::new(to)?;
    println!("processor time a datagram, ns, median of {RUNS} bursts");
    println!(
        "{:>6} {:>6} {:>10} {:>10} {:>10}",
        "bytes", "burst", "send", "zero copy", "segments"
    );
    for len in [100, 400, 1200] {
        for count in [1, 8, 64] {
            let [send, zero_copy, segments] =
                [Way::Send, Way::ZeroCopy, Way::Segments].map(|way| bed.cost(way, len, count));
            println!("{len:>6} {count:>6} {send:>10} {zero_copy:>10} {segments:>10}");
        }
    }
    Ok(())
}
