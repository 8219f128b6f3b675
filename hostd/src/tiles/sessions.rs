//! Connections of members: keys, anti-replay window, heartbeats, where to send.
//!
//! A member has at most one live connection. A login that is not confirmed yet waits beside it: only an
//! Establish under its keys makes it the live one, so that a replayed Negotiate disturbs nobody.

use crate::member_set::MemberSet;
use firmware::limits::{GATE_MEMBERS, MEMBERS};
use firmware::rate::TokenBucket;
use firmware::session::{KeepAlive, PACKET_NO_MAX, PacketRefused, Window};
use firmware::units::{MemberId, TimeNs};
use firmware::wire::datagram::{DatagramHeader, TAG_LEN};
use handshake::{NewSession, TagKey, TagKeys};
use std::net::SocketAddrV4;

/// Interval of the venue's own heartbeats, ms.
pub const VENUE_KEEP_ALIVE_MS: u32 = 250;

/// Retransmissions a second of one member.
pub const RETRANSMISSIONS_PER_SECOND: u32 = 4_000;

/// The other end of a connection: where it is, and through which of our sockets it is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Place among the NIC's sockets.
    pub socket: u16,
    /// Its address.
    pub address: SocketAddrV4,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Of the Negotiate.
    pub session_id: u64,
    /// In every datagram.
    pub conn_id: u32,
    /// Where the last authentic datagram came from. Of two copies that is the one which came first.
    pub peer: Peer,
    /// Heartbeats.
    pub keep_alive: KeepAlive,
    /// Number of the last report sent plus one.
    pub next_report: u64,
    /// A retransmission is on its way out of the spool.
    pub is_reading: bool,
    /// Reports that were never sent are on their way out of the spool.
    pub is_catching_up: bool,
    /// Bound on retransmissions: the member's, whatever the connection.
    pub retransmissions: TokenBucket,
    keys: TagKeys,
    window: Window,
    tx_packet_no: u64,
}

impl Connection {
    /// A connection whose keys were just agreed.
    #[must_use]
    pub fn new(session: NewSession, peer: Peer, now: TimeNs) -> Self {
        Self {
            session_id: session.session_id,
            conn_id: session.conn_id,
            peer,
            keep_alive: KeepAlive::new(VENUE_KEEP_ALIVE_MS, VENUE_KEEP_ALIVE_MS, now),
            next_report: 1,
            is_reading: false,
            is_catching_up: false,
            retransmissions: TokenBucket::new(RETRANSMISSIONS_PER_SECOND),
            keys: session.keys,
            window: Window::new(),
            tx_packet_no: 0,
        }
    }

    /// Checks number and tag of a datagram; `signed` is everything before the tag.
    pub fn authenticate(
        &mut self,
        header: &DatagramHeader,
        signed: &[u8],
        tag: &[u8; TAG_LEN],
    ) -> Authentic {
        if let Err(why) = self.window.check(header.packet_no) {
            return Authentic::Refused(why);
        }
        if !self.keys.c2s.verify(header.packet_no, signed, tag) {
            return Authentic::BadTag;
        }
        self.window.mark(header.packet_no);
        Authentic::Yes
    }

    /// Whether the venue has sealed about as many datagrams as it may. The margin is far more than it sends
    /// between two looks.
    #[must_use]
    pub const fn keys_used_up(&self) -> bool {
        self.tx_packet_no >= PACKET_NO_MAX - (1 << 32)
    }

    /// Number of the next datagram to send, and the keys that sign it.
    pub const fn next_packet(&mut self) -> (u64, &TagKey) {
        self.tx_packet_no += 1;
        (self.tx_packet_no, &self.keys.s2c)
    }
}

/// Whether a datagram is what it claims to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authentic {
    /// It is.
    Yes,
    /// Its number may not be taken.
    Refused(PacketRefused),
    /// Its tag is wrong.
    BadTag,
}

/// Which of a member's two places a connection holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Established.
    Live,
    /// Keys agreed, not established.
    Pending,
}

#[derive(Debug, Default)]
struct Slot {
    live: Option<Connection>,
    pending: Option<Connection>,
    /// Of the connection that was closed last.
    retransmissions: Option<TokenBucket>,
}

/// All connections, by member. A connection id has the member in its low bits, so finding one takes one look.
#[derive(Debug)]
pub struct Connections {
    slots: Vec<Slot>,
    /// Members with a live connection.
    live: MemberSet,
}

/// Bits of a connection id that name the member, less one; the bits above count its logins.
const MEMBER_BITS: u32 = 12;
const MEMBER_MASK: u32 = (1 << MEMBER_BITS) - 1;
/// Logins are counted from 1 to this in connection ids, and then from 1 again.
pub const LOGINS_MAX: u32 = (1 << (u32::BITS - MEMBER_BITS)) - 1;

const _: () = assert!(MEMBERS <= 1 << MEMBER_BITS);

/// The connection id of a member's login number `n` in `1..=LOGINS_MAX`. An id that comes again after so many
/// logins comes with other keys.
#[must_use]
pub const fn conn_id(member: MemberId, n: u32) -> u32 {
    n << MEMBER_BITS | (member.0 - 1) & MEMBER_MASK
}

impl Connections {
    /// No connections.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: (0..GATE_MEMBERS).map(|_| Slot::default()).collect(),
            live: MemberSet::new(),
        }
    }

    /// Members with a live connection.
    #[must_use]
    pub const fn live(&self) -> &MemberSet {
        &self.live
    }

    /// The live connections, by member.
    pub fn live_rows(&self) -> impl Iterator<Item = (MemberId, &Connection)> {
        let slots = (0..).map(MemberId).zip(&self.slots);
        slots.filter_map(|(member, slot)| Some((member, slot.live.as_ref()?)))
    }

    /// Puts a fresh login beside the live connection, in place of an earlier one that was never confirmed.
    pub fn add_pending(&mut self, member: MemberId, connection: Connection) {
        self.slots[member.0 as usize].pending = Some(connection);
    }

    /// The connection of that id.
    pub fn find(&mut self, conn_id: u32) -> Option<(MemberId, Place, &mut Connection)> {
        let member = MemberId((conn_id & MEMBER_MASK) + 1);
        let slot = self.slots.get_mut(member.0 as usize)?;
        if slot.live.as_ref().is_some_and(|c| c.conn_id == conn_id) {
            return slot.live.as_mut().map(|c| (member, Place::Live, c));
        }
        let pending = slot.pending.as_mut().filter(|c| c.conn_id == conn_id);
        pending.map(|c| (member, Place::Pending, c))
    }

    /// The connection at a member's place.
    pub fn at(&mut self, member: MemberId, place: Place) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(member.0 as usize)?;
        match place {
            Place::Live => slot.live.as_mut(),
            Place::Pending => slot.pending.as_mut(),
        }
    }

    /// A member's live connection.
    pub fn live_of(&mut self, member: MemberId) -> Option<&mut Connection> {
        self.slots.get_mut(member.0 as usize)?.live.as_mut()
    }

    /// Makes the pending connection the live one; returns the one that it takes the place of.
    ///
    /// # Panics
    /// When none is pending.
    pub fn promote(&mut self, member: MemberId) -> Option<Connection> {
        let slot = &mut self.slots[member.0 as usize];
        let mut fresh = slot
            .pending
            .take()
            .expect("promoted without a pending connection");
        let bucket = slot.live.as_ref().map(|c| c.retransmissions);
        if let Some(bucket) = bucket.or(slot.retransmissions) {
            fresh.retransmissions = bucket;
        }
        self.live.insert(member);
        slot.live.replace(fresh)
    }

    /// Ends the live connection.
    pub fn close(&mut self, member: MemberId) -> Option<Connection> {
        self.live.remove(member);
        let slot = self.slots.get_mut(member.0 as usize)?;
        let closed = slot.live.take()?;
        slot.retransmissions = Some(closed.retransmissions);
        Some(closed)
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::tag::Suite;
    use std::net::Ipv4Addr;

    fn login(member: MemberId, n: u32) -> Connection {
        let key = TagKey::new(Suite::SipHash24, &[n as u8; 16], [0; 4]);
        let session = NewSession {
            member,
            key_id: 1,
            session_id: u64::from(n),
            conn_id: conn_id(member, n),
            keys: TagKeys {
                c2s: key.clone(),
                s2c: key,
            },
        };
        let peer = Peer {
            socket: 0,
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1),
        };
        Connection::new(session, peer, TimeNs(0))
    }

    #[test]
    fn each_member_is_found_by_its_connections_ids_and_by_no_other() {
        let mut all = Connections::new();
        let members = || (1..=MEMBERS as u32).map(MemberId);
        for member in members() {
            all.add_pending(member, login(member, 1));
            assert!(all.promote(member).is_none());
            all.add_pending(member, login(member, LOGINS_MAX));
        }
        assert_eq!(all.live().len(), MEMBERS);
        for member in members() {
            for (n, place) in [(1, Place::Live), (LOGINS_MAX, Place::Pending)] {
                let id = conn_id(member, n);
                assert_ne!(id, 0, "that is the login's");
                let found = all.find(id).map(|(m, p, c)| (m, p, c.session_id));
                assert_eq!(found, Some((member, place, n.into())));
            }
            assert!(all.find(conn_id(member, 2)).is_none());
        }
        let last = MemberId(MEMBERS as u32);
        assert_eq!(all.promote(last).map(|c| c.session_id), Some(1));
        assert!(all.find(conn_id(last, 1)).is_none(), "replaced");
        assert!(all.close(last).is_some() && all.close(last).is_none());
        assert_eq!(all.live().len(), MEMBERS - 1);
    }

    #[test]
    fn a_new_login_brings_no_new_retransmissions() {
        let mut all = Connections::new();
        let (member, now) = (MemberId(7), TimeNs(1));
        for n in 1..4 {
            all.add_pending(member, login(member, n));
            all.promote(member);
            let c = all.live_of(member).unwrap();
            let served = (0..2 * RETRANSMISSIONS_PER_SECOND)
                .filter(|_| c.retransmissions.take(now))
                .count() as u32;
            assert_eq!(
                served,
                if n == 1 {
                    RETRANSMISSIONS_PER_SECOND
                } else {
                    0
                }
            );
            if n == 2 {
                all.close(member);
            }
        }
    }
}
