//! The measuring client's socket, and the loop that keeps the plan: sends what is due, takes what has come, notes
//! the time of both, and does nothing else. What was received is looked at after the slice.

use super::load::Prepared;
use crate::clock::monotonic_ns;
use crate::matching::allocations;
use anyhow::{Context as _, bail, ensure};
use firmware::limits::DATAGRAM_MAX;
use firmware::wire::datagram::{BODY_MAX, HEADER_LEN, TAG_LEN, messages};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg, sockopt};
use std::io::{self, IoSlice};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;

/// Datagrams that one system call sends at most when the client is behind its plan.
const BURST: usize = 16;
/// Datagrams taken between two looks at the plan.
const TAKE: usize = 16;
/// What is asked of the kernel for the socket, in each direction.
const SOCKET_BUFFER_BYTES: usize = 16 << 20;
/// Time between the call and the first planned send, ns.
const LEAD_NS: u64 = 1_000_000;

/// A connected UDP socket that never blocks.
#[derive(Debug)]
pub(crate) struct Line(UdpSocket);

impl Line {
    /// A socket to and from `peer`.
    pub(crate) fn to(peer: SocketAddrV4) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0").context("no UDP port")?;
        socket
            .connect(peer)
            .with_context(|| format!("cannot reach {peer}"))?;
        socket
            .set_nonblocking(true)
            .context("a socket that always blocks")?;
        // More than an ordinary user may have needs a right; less still works.
        if sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER_BYTES).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES);
        }
        if sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER_BYTES).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES);
        }
        Ok(Self(socket))
    }

    /// Sends datagrams `from..until`; returns how many the kernel took.
    fn send(&self, all: &Prepared, from: usize, until: usize) -> io::Result<usize> {
        if until - from == 1 {
            return match self.0.send(all.get(from)) {
                Ok(_) => Ok(1),
                Err(e) if is_passing(&e) => Ok(0),
                Err(e) => Err(e),
            };
        }
        let count = (until - from).min(BURST);
        // Places beyond `count` repeat the last datagram and are not handed over.
        let parts: [_; BURST] =
            std::array::from_fn(|i| [IoSlice::new(all.get(from + i.min(count - 1)))]);
        let mut controls: [_; BURST] = std::array::from_fn(|_| SendAncillaryBuffer::default());
        let mut at = parts.iter();
        let mut heads = controls.each_mut().map(|control| {
            let part = at.next().expect("as many parts as controls");
            MMsgHdr::new(part, control)
        });
        match sendmmsg(self.0.as_fd(), &mut heads[..count], SendFlags::empty()) {
            Ok(sent) => Ok(sent),
            Err(e) if is_passing(&e.into()) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }

    fn take(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match self.0.recv(buf) {
            Ok(len) => Ok(Some(len)),
            Err(e) if is_passing(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Forgets what has come so far.
    pub(crate) fn drain(&self) {
        let mut buf = [0; DATAGRAM_MAX];
        while let Ok(Some(_)) = self.take(&mut buf) {}
    }
}

/// The kernel is full for a moment, or the peer was not there a moment ago.
fn is_passing(e: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        e.kind(),
        K::WouldBlock | K::Interrupted | K::ConnectionRefused | K::OutOfMemory
    ) || e.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

impl client::Wire for &Line {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        match self.0.send(datagram) {
            Err(e) if !is_passing(&e) => Err(e),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        Line::take(self, buf)
    }
}

/// A datagram that came back.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// ns after the slice's start.
    at_ns: u64,
    start: u32,
    len: u16,
}

/// Memory for what a slice sees; taken once and touched, so that no slice meets a page fault.
pub(crate) struct Tape {
    bytes: Box<[u8]>,
    heard: Vec<Heard>,
    /// When each datagram was handed to the kernel, ns after the slice's start.
    pub(crate) sent_ns: Vec<u64>,
}

impl Tape {
    /// Room for slices of up to `requests`, with up to `bytes` of answers.
    pub(crate) fn new(requests: usize, bytes: usize) -> Self {
        let mut tape = Self {
            bytes: vec![1; bytes].into(),
            heard: vec![
                Heard {
                    at_ns: 1,
                    start: 1,
                    len: 1
                };
                2 * requests + 64
            ],
            sent_ns: vec![1; requests],
        };
        tape.heard.clear();
        tape.sent_ns.clear();
        tape
    }

    /// What came back, with its time in ns after the slice's start.
    pub(crate) fn heard(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.heard.iter().map(|h| {
            let bytes = &self.bytes[h.start as usize..][..usize::from(h.len)];
            (h.at_ns, bytes)
        })
    }
}

/// When a slice is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// So many messages have come back: each datagram of the echo holds one, those of the box hold reports.
    pub(crate) messages: usize,
    /// Or nothing has come for so long since the last send or answer.
    pub(crate) quiet_ns: u64,
}

/// Plays one slice: sends `all` at `due` (ns after the start), and takes what comes back.
///
/// # Errors
/// When the socket fails, the tape is full, or the loop took memory (which would be a fault of this program).
pub(crate) fn play(
    line: &Line,
    all: &Prepared,
    due: &[u64],
    until: Until,
    tape: &mut Tape,
) -> anyhow::Result<()> {
    assert_eq!(all.len(), due.len(), "a time for each datagram");
    ensure!(
        due.len() <= tape.sent_ns.capacity(),
        "a slice of {} requests, and room for {}",
        due.len(),
        tape.sent_ns.capacity()
    );
    tape.heard.clear();
    tape.sent_ns.clear();
    let allocations = allocations::count();
    let (mut next, mut messages_left) = (0, until.messages);
    let (mut end, mut last_ns) = (0usize, 0u64);
    let start = monotonic_ns() + LEAD_NS;
    loop {
        // Before the start nothing is due.
        let Some(now) = monotonic_ns().checked_sub(start) else {
            continue;
        };
        if next < due.len() && due[next] <= now {
            let mut to = next + 1;
            while to < due.len() && to - next < BURST && due[to] <= now {
                to += 1;
            }
            let sent = line.send(all, next, to).context("sending")?;
            for _ in 0..sent {
                tape.sent_ns.push(now);
            }
            next += sent;
            last_ns = now;
        }
        for _ in 0..TAKE {
            let Some(room) = tape.bytes.get_mut(end..end + DATAGRAM_MAX) else {
                bail!("more answers than this slice has room for");
            };
            let Some(len) = line.take(room).context("receiving")? else {
                break;
            };
            let at_ns = monotonic_ns() - start;
            let count = message_count(&room[..len]);
            if tape.heard.len() == tape.heard.capacity() {
                bail!("more datagrams than this slice has room for");
            }
            tape.heard.push(Heard {
                at_ns,
                start: end as u32,
                len: len as u16,
            });
            end += len.next_multiple_of(64);
            messages_left = messages_left.saturating_sub(count);
            last_ns = at_ns;
        }
        if next == due.len() {
            let is_quiet = now > last_ns && now - last_ns > until.quiet_ns;
            if messages_left == 0 || is_quiet {
                break;
            }
        }
    }
    let taken = allocations::count() - allocations;
    ensure!(taken == 0, "the measuring loop took memory {taken} times");
    Ok(())
}

/// Messages in a datagram, by their size prefixes alone.
#[inline]
fn message_count(payload: &[u8]) -> usize {
    const _: () = assert!(HEADER_LEN + BODY_MAX + TAG_LEN == DATAGRAM_MAX);
    match payload.len().checked_sub(TAG_LEN) {
        Some(end) if end > HEADER_LEN => messages(&payload[HEADER_LEN..end]).count(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::{GROUND, keys};
    use super::super::load::{Load, Mix};
    use super::super::plan::{Arrivals, due_times};
    use super::super::tally::{Tally, read_echo};
    use super::*;

    /// Plays `due` against an echo that answers with `serve`, and reads what came back.
    fn against(
        due: &[u64],
        warm: usize,
        serve: impl FnOnce(UdpSocket) + Send,
    ) -> (anyhow::Result<Tally>, Tape) {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(at) = server.local_addr().unwrap() else {
            panic!("bound to an IPv4 address");
        };
        let line = Line::to(at).unwrap();
        let mut load = Load::new(keys(), GROUND, 1);
        let mut all = Prepared::default();
        load.prepare(Mix::Rest, due.len(), &mut all);
        let mut tape = Tape::new(due.len(), 1 << 20);
        let until = Until {
            messages: due.len(),
            quiet_ns: 200_000_000,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| serve(server));
            play(&line, &all, due, until, &mut tape).unwrap();
        });
        (read_echo(&all, due, warm, &tape), tape)
    }

    fn echo_one(server: &UdpSocket) {
        let mut buf = [0; DATAGRAM_MAX];
        let (len, from) = server.recv_from(&mut buf).unwrap();
        server.send_to(&buf[..len], from).unwrap();
    }

    fn longer_than(tally: &Tally, ns: u64) -> u64 {
        let pairs = tally.rtt.pairs();
        pairs.iter().filter(|p| p.0 >= ns).map(|p| p.1).sum()
    }

    #[test]
    fn a_server_that_stalls_pays_for_every_request_that_was_planned_meanwhile() {
        let due = due_times(Arrivals::Even, 1_000, 200, 1);
        let (tally, tape) = against(&due, 0, |server| {
            (0..50).for_each(|_| echo_one(&server));
            // Holds 100 requests back until the last of them has come: 100 ms, as planned.
            let mut held = Vec::new();
            while held.len() < 100 {
                let mut buf = [0; DATAGRAM_MAX];
                let (len, from) = server.recv_from(&mut buf).unwrap();
                held.push((buf[..len].to_vec(), from));
            }
            for (bytes, from) in held {
                server.send_to(&bytes, from).unwrap();
            }
            (0..50).for_each(|_| echo_one(&server));
        });
        let tally = tally.unwrap();
        assert_eq!((tally.sent, tally.lost), (200, 0));
        // A client that waits for each answer would have one such sample, and a fine 99th percentile.
        assert!(
            longer_than(&tally, 49_900_000) >= 50,
            "{:?}",
            tally.rtt.pairs()
        );
        assert!(tally.rtt.percentiles().p99 >= 95_000_000);
        for (sent, due) in tape.sent_ns.iter().zip(&due) {
            assert!(sent >= due, "nothing is sent before its time");
        }
    }

    #[test]
    fn what_does_not_come_back_is_lost_and_warm_up_gives_no_sample() {
        let due = due_times(Arrivals::Even, 20_000, 100, 1);
        let (tally, _) = against(&due, 10, |server| {
            let mut buf = [0; DATAGRAM_MAX];
            for k in 0..100 {
                let (len, from) = server.recv_from(&mut buf).unwrap();
                // Every tenth is dropped, every seventh comes twice.
                let times = if k % 10 == 9 {
                    0
                } else {
                    1 + usize::from(k % 7 == 0)
                };
                for _ in 0..times {
                    server.send_to(&buf[..len], from).unwrap();
                }
            }
        });
        let tally = tally.unwrap();
        assert_eq!((tally.sent, tally.lost), (100, 10));
        assert_eq!(tally.rtt.percentiles().count, 81);
        assert_eq!(tally.late.percentiles().count, 90);
    }

    #[test]
    fn an_echo_that_changes_a_byte_is_found_out() {
        let due = due_times(Arrivals::Even, 20_000, 10, 1);
        let (tally, _) = against(&due, 0, |server| {
            let mut buf = [0; DATAGRAM_MAX];
            for k in 0..10 {
                let (len, from) = server.recv_from(&mut buf).unwrap();
                buf[len - 1] ^= u8::from(k == 5);
                server.send_to(&buf[..len], from).unwrap();
            }
        });
        let error = tally.expect_err("not an echo").to_string();
        assert!(error.contains("request 5 differs"), "{error}");
    }
}
