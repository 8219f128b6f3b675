//! Tagged datagrams of one login: packet numbers, tags, replay window, heartbeats.

use firmware::session::{KeepAlive, PACKET_NO_MAX, Window};
use firmware::units::TimeNs;
use firmware::wire::datagram::{self, DatagramBuilder, DatagramHeader, TAG_LEN};
use handshake::LoggedIn;

/// One login's keys and counters.
pub(crate) struct Link {
    pub(crate) session: LoggedIn,
    window: Window,
    /// Of the last datagram sent.
    packet_no: u64,
    pub(crate) alive: KeepAlive,
}

/// Why a datagram is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dropped {
    /// Not a datagram, or of another connection.
    Foreign,
    /// Seen before, or too old.
    Replayed,
    /// The tag is wrong.
    BadTag,
}

impl Link {
    pub(crate) fn new(session: LoggedIn, keep_alive_ms: u32, now: TimeNs) -> Self {
        Self {
            session,
            window: Window::new(),
            packet_no: 0,
            alive: KeepAlive::new(keep_alive_ms, keep_alive_ms, now),
        }
    }

    /// Number of the last datagram that was sent.
    pub(crate) const fn packet_no(&self) -> u64 {
        self.packet_no
    }

    /// Whether the keys have to be replaced by a new login.
    pub(crate) const fn keys_used_up(&self) -> bool {
        self.packet_no >= PACKET_NO_MAX
    }

    /// Seals what was pushed into `buf`.
    pub(crate) fn seal<'b>(
        &mut self,
        buf: &'b mut DatagramBuilder,
        kind: u8,
        next_seq_no: u64,
        ack_seq_no: u64,
        now: TimeNs,
    ) -> &'b [u8] {
        self.packet_no += 1;
        self.alive.sent(now);
        let key = &self.session.keys.c2s;
        buf.finish(
            kind,
            self.session.conn_id,
            self.packet_no,
            next_seq_no,
            ack_seq_no,
            |no, bytes| key.seal(no, bytes),
        )
    }

    /// Takes a datagram of the venue: frame, connection, window, tag, in order of cost.
    pub(crate) fn open<'p>(
        &mut self,
        payload: &'p [u8],
        now: TimeNs,
    ) -> Result<(DatagramHeader, &'p [u8]), Dropped> {
        let (header, body, tag) = datagram::split(payload).map_err(|_| Dropped::Foreign)?;
        if header.conn_id != self.session.conn_id {
            return Err(Dropped::Foreign);
        }
        if self.window.check(header.packet_no).is_err() {
            return Err(Dropped::Replayed);
        }
        let signed = &payload[..payload.len() - TAG_LEN];
        if !(self.session.keys.s2c).verify(header.packet_no, signed, tag) {
            return Err(Dropped::BadTag);
        }
        self.window.mark(header.packet_no);
        self.alive.heard(now);
        Ok((header, body))
    }
}
