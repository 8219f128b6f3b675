//! Session rules that both ends share: pure, with the time handed in.
//!
//! | Rule | Here |
//! |---|---|
//! | a packet number is taken once | [`Window`] |
//! | a request number is taken once, a skipped one never | [`Inbound`] |
//! | silence for three intervals ends a session | [`KeepAlive`] |
//! | what an Establish may say | [`Terms::of`] |
//! | why a login is refused | [`SessionReject`] |
//! | why a session ends | [`TerminateReason`] |
//! | why reports are not sent again | [`RetransmitRefusal`] |
//!
//! Session messages (templates 1 to 10 and 20) travel in datagrams of kind 0 and take no number of
//! either flow. Before the keys exist such a datagram has connection id 0, packet number 0 and a zero
//! tag; afterwards it is tagged like any other.

mod codes;

pub use codes::{RetransmitRefusal, SessionReject, TerminateReason};

use crate::units::TimeNs;
use crate::wire::datagram::{self, DatagramBuilder, DatagramError, KIND_CONTROL, TAG_LEN};
use crate::wire::sbe::{Message, SbeError};
use crate::wire::session::{Establish, SessionMessage};

/// A login whose clock is further off than this is refused, ns.
pub const STALE_NS: u64 = 5_000_000_000;
/// Shortest heartbeat interval, ms.
pub const KEEP_ALIVE_MS_MIN: u32 = 20;
/// Longest heartbeat interval, ms.
pub const KEEP_ALIVE_MS_MAX: u32 = 10_000;
/// Silent intervals after which the peer counts as lost.
pub const KEEP_ALIVE_MISSES: u64 = 3;
/// Keys are not used for more packets than this; a new login makes new ones.
pub const PACKET_NO_MAX: u64 = 1 << 48;
/// Highest number of a flow; far above what a day can use, so that arithmetic on numbers cannot wrap.
pub const SEQ_NO_MAX: u64 = 1 << 62;

/// Cancel on disconnect: never.
pub const COD_NEVER: u8 = 0;
/// Cancel on disconnect: orders flagged so.
pub const COD_FLAGGED: u8 = 1;
/// Cancel on disconnect: all orders.
pub const COD_ALL: u8 = 2;

/// Why a packet number is refused, before any work is done on the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketRefused {
    /// Taken before.
    Seen,
    /// Older than the window.
    TooOld,
    /// Beyond [`PACKET_NO_MAX`]: the keys are used up.
    KeysUsedUp,
}

/// Anti-replay window of 64 packet numbers. Numbers start at 1.
///
/// [`check`](Self::check) before the tag, [`mark`](Self::mark) only after the tag is verified: else a
/// forger could burn numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Highest number marked.
    top: u64,
    /// Bit `i`: number `top - i` is marked.
    bits: u64,
}

impl Window {
    /// Nothing seen; number 0 counts as seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { top: 0, bits: 1 }
    }

    /// Whether the number is new.
    ///
    /// # Errors
    /// See [`PacketRefused`].
    pub const fn check(&self, packet_no: u64) -> Result<(), PacketRefused> {
        if packet_no > PACKET_NO_MAX {
            return Err(PacketRefused::KeysUsedUp);
        }
        if packet_no > self.top {
            return Ok(());
        }
        let age = self.top - packet_no;
        if age >= u64::BITS as u64 {
            Err(PacketRefused::TooOld)
        } else if self.bits >> age & 1 == 1 {
            Err(PacketRefused::Seen)
        } else {
            Ok(())
        }
    }

    /// Takes the number of a packet whose tag is verified.
    ///
    /// # Panics
    /// When [`check`](Self::check) refuses the number.
    pub const fn mark(&mut self, packet_no: u64) {
        assert!(self.check(packet_no).is_ok(), "marked a refused packet");
        if packet_no > self.top {
            let step = packet_no - self.top;
            self.bits = if step >= u64::BITS as u64 {
                1
            } else {
                self.bits << step | 1
            };
            self.top = packet_no;
        } else {
            self.bits |= 1 << (self.top - packet_no);
        }
    }

    /// Highest number marked.
    #[must_use]
    pub const fn top(&self) -> u64 {
        self.top
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

/// What to do with a datagram of a client's flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    /// All of it was applied before, or is dead: drop, count.
    Duplicate,
    /// Skip so many requests at its start and apply the rest.
    Apply {
        /// Requests that were applied before.
        skip: u32,
    },
    /// Report the skipped numbers as not applied, then apply the whole datagram.
    Gap {
        /// First number skipped.
        from: u64,
        /// How many.
        count: u64,
    },
    /// A number outside `1..=SEQ_NO_MAX`: a protocol error, nothing changed.
    OutOfRange,
}

/// A client's request flow: idempotent. Every number is applied at most once, a skipped one is dead for
/// ever, and a lost request never holds up a later one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inbound {
    expected: u64,
}

impl Inbound {
    /// A flow that goes on at `expected` (1 for a new one).
    ///
    /// # Panics
    /// When `expected` is 0 or beyond [`SEQ_NO_MAX`].
    #[must_use]
    pub const fn resume(expected: u64) -> Self {
        assert!(expected >= 1 && expected <= SEQ_NO_MAX);
        Self { expected }
    }

    /// The next number that would be applied.
    #[must_use]
    pub const fn expected(&self) -> u64 {
        self.expected
    }

    /// Offers a datagram with `count` requests from `first_seq` on. A heartbeat is an offer of none: it
    /// shows a gap at the end of the flow that no request has shown yet.
    #[must_use]
    pub const fn offer(&mut self, first_seq: u64, count: u32) -> Offer {
        if first_seq == 0 || first_seq > SEQ_NO_MAX - count as u64 {
            return Offer::OutOfRange;
        }
        let (was, end) = (self.expected, first_seq + count as u64);
        if first_seq > was {
            self.expected = end;
            return Offer::Gap {
                from: was,
                count: first_seq - was,
            };
        }
        if end < was || (end == was && count > 0) {
            return Offer::Duplicate;
        }
        self.expected = end;
        Offer::Apply {
            skip: (was - first_seq) as u32,
        }
    }
}

impl Default for Inbound {
    fn default() -> Self {
        Self::resume(1)
    }
}

/// Heartbeats of one session, both ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    own_ns: u64,
    peer_ns: u64,
    last_sent: TimeNs,
    last_heard: TimeNs,
}

impl KeepAlive {
    /// Starts at `now`; the intervals are those that each side announced.
    #[must_use]
    pub const fn new(own_ms: u32, peer_ms: u32, now: TimeNs) -> Self {
        Self {
            own_ns: own_ms as u64 * 1_000_000,
            peer_ns: peer_ms as u64 * 1_000_000,
            last_sent: now,
            last_heard: now,
        }
    }

    /// A datagram was sent.
    pub const fn sent(&mut self, now: TimeNs) {
        self.last_sent = now;
    }

    /// A datagram with a valid tag came in. Nothing else shows life, least of all an ICMP error.
    pub const fn heard(&mut self, now: TimeNs) {
        self.last_heard = now;
    }

    /// When that was last.
    #[must_use]
    pub const fn last_heard(&self) -> TimeNs {
        self.last_heard
    }

    /// Whether a heartbeat is due: nothing was sent for our interval.
    #[must_use]
    pub const fn heartbeat_due(&self, now: TimeNs) -> bool {
        self.quiet_for(now, self.own_ns)
    }

    /// Whether nothing was sent for `span_ns`.
    #[must_use]
    pub const fn quiet_for(&self, now: TimeNs, span_ns: u64) -> bool {
        now.0.saturating_sub(self.last_sent.0) >= span_ns
    }

    /// Whether the peer is lost: silent for three of its intervals.
    #[must_use]
    pub const fn lost(&self, now: TimeNs) -> bool {
        self.lost_for(now, 0)
    }

    /// Whether the peer is [`lost`](Self::lost) and was silent for `grace_ns` more.
    #[must_use]
    pub const fn lost_for(&self, now: TimeNs, grace_ns: u64) -> bool {
        let silent = now.0.saturating_sub(self.last_heard.0);
        silent >= (KEEP_ALIVE_MISSES * self.peer_ns).saturating_add(grace_ns)
    }

    /// The next moment at which one of the two answers can change.
    #[must_use]
    pub const fn next_deadline(&self) -> TimeNs {
        let send = self.last_sent.0 + self.own_ns;
        let lose = self.last_heard.0 + KEEP_ALIVE_MISSES * self.peer_ns;
        TimeNs(if send < lose { send } else { lose })
    }
}

/// Whether two clocks are near enough for a login.
#[must_use]
pub const fn is_fresh(timestamp: TimeNs, now: TimeNs) -> bool {
    now.0.abs_diff(timestamp.0) <= STALE_NS
}

/// What an accepted Establish asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Interval of the client's heartbeats, ms.
    pub keep_alive_ms: u32,
    /// One of the `COD_` values.
    pub cod_policy: u8,
    /// Number that the client would give its next request.
    pub next_seq_no: u64,
}

impl Terms {
    /// Checks an Establish that came under the keys of session `session_id`.
    ///
    /// # Errors
    /// The code for the EstablishmentReject; the order of the checks is that of the fields.
    pub const fn of(
        establish: &Establish,
        session_id: u64,
        now: TimeNs,
    ) -> Result<Self, SessionReject> {
        if establish.session_id != session_id {
            return Err(SessionReject::WrongSession);
        }
        if !is_fresh(TimeNs(establish.timestamp), now) {
            return Err(SessionReject::StaleTime);
        }
        if establish.next_seq_no == 0 || establish.next_seq_no > SEQ_NO_MAX {
            return Err(SessionReject::SeqNoOutOfRange);
        }
        let ms = establish.keep_alive_ms;
        if ms < KEEP_ALIVE_MS_MIN || ms > KEEP_ALIVE_MS_MAX {
            return Err(SessionReject::KeepAliveOutOfRange);
        }
        if establish.cod_policy > COD_ALL {
            return Err(SessionReject::BadCodPolicy);
        }
        Ok(Self {
            keep_alive_ms: ms,
            cod_policy: establish.cod_policy,
            next_seq_no: establish.next_seq_no,
        })
    }
}

/// Writes a login message as an untagged control datagram (connection id 0, packet number 0).
pub fn control_datagram<'b, M: Message>(buf: &'b mut DatagramBuilder, message: &M) -> &'b [u8] {
    buf.clear();
    let fits = buf.push(M::HEADER, bytemuck::bytes_of(message));
    assert!(fits, "every session message fits a datagram");
    buf.finish(KIND_CONTROL, 0, 0, 0, 0, |_, _| [0; TAG_LEN])
}

/// Why a payload is not a control datagram. It is counted and never answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlError {
    /// Not a datagram.
    Frame(DatagramError),
    /// Of a connection, or with a tag: not a login message.
    NotControl,
    /// Not exactly one message.
    NotOneMessage,
    /// Not a message of the session layer.
    Message(SbeError),
}

/// Reads an untagged control datagram: exactly one session message. Those under keys are tagged, and read with
/// [`read_session_message`].
///
/// # Errors
/// See [`ControlError`].
pub fn read_control(payload: &[u8]) -> Result<SessionMessage, ControlError> {
    let (header, body, tag) = datagram::split(payload).map_err(ControlError::Frame)?;
    let numbers = header.packet_no | header.next_seq_no | header.ack_seq_no;
    if header.kind != KIND_CONTROL || header.conn_id != 0 || numbers != 0 || *tag != [0; TAG_LEN] {
        return Err(ControlError::NotControl);
    }
    read_session_message(body)
}

/// Reads the body of a control datagram whose tag is verified: exactly one session message.
///
/// # Errors
/// [`ControlError::NotOneMessage`] or [`ControlError::Message`].
pub fn read_session_message(body: &[u8]) -> Result<SessionMessage, ControlError> {
    let mut messages = datagram::messages(body);
    match (messages.next(), messages.next()) {
        (Some(Ok(bytes)), None) => SessionMessage::decode(bytes).map_err(ControlError::Message),
        _ => Err(ControlError::NotOneMessage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::session::Challenge;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set_of_all_numbers_seen(
            steps in prop::collection::vec((0u64..4, 0u64..150, any::<bool>()), 1..400)
        ) {
            let (mut window, mut seen, mut top) = (Window::new(), BTreeSet::from([0]), 0u64);
            for (ahead, back, genuine) in steps {
                let no = (top + ahead).saturating_sub(if ahead == 0 { back } else { 0 });
                let want = if no <= top && top - no >= 64 {
                    Err(PacketRefused::TooOld)
                } else if seen.contains(&no) {
                    Err(PacketRefused::Seen)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(no), want);
                if want.is_ok() && genuine {
                    window.mark(no);
                    seen.insert(no);
                    top = top.max(no);
                }
                prop_assert_eq!(window.top(), top);
            }
        }

        #[test]
        fn each_number_of_a_flow_is_applied_or_dead_exactly_once(
            offers in prop::collection::vec((1u64..200, 0u32..8), 1..100)
        ) {
            let mut flow = Inbound::default();
            let (mut applied, mut dead) = (BTreeSet::new(), BTreeSet::new());
            for (first, count) in offers {
                let before = flow.expected();
                let take = match flow.offer(first, count) {
                    Offer::Duplicate => {
                        prop_assert!(first + u64::from(count) <= before);
                        0..0
                    }
                    Offer::Apply { skip } => {
                        prop_assert!(skip <= count);
                        first + u64::from(skip)..first + u64::from(count)
                    }
                    Offer::Gap { from, count: gap } => {
                        prop_assert_eq!(from, before);
                        dead.extend(from..from + gap);
                        first..first + u64::from(count)
                    }
                    Offer::OutOfRange => unreachable!("numbers are small"),
                };
                for seq in take {
                    prop_assert!(applied.insert(seq) && !dead.contains(&seq));
                }
                // What is below the expected number is settled, what is above is untouched.
                prop_assert_eq!(applied.len() + dead.len(), flow.expected() as usize - 1);
            }
        }
    }

    #[test]
    fn the_window_jumps_without_a_shift_overflow() {
        let mut w = Window::new();
        for no in [1, 64, 65, 200, PACKET_NO_MAX] {
            assert_eq!(w.check(no), Ok(()));
            w.mark(no);
            assert_eq!(w.check(no), Err(PacketRefused::Seen));
        }
        assert_eq!(w.check(PACKET_NO_MAX - 63), Ok(()));
        assert_eq!(w.check(PACKET_NO_MAX - 64), Err(PacketRefused::TooOld));
        assert_eq!(w.check(PACKET_NO_MAX + 1), Err(PacketRefused::KeysUsedUp));
    }

    #[test]
    fn a_partly_applied_datagram_is_applied_from_where_it_is_new() {
        let mut flow = Inbound::resume(10);
        assert_eq!(flow.offer(8, 4), Offer::Apply { skip: 2 });
        assert_eq!(flow.expected(), 12);
        assert_eq!(flow.offer(8, 4), Offer::Duplicate);
        assert_eq!(flow.offer(12, 0), Offer::Apply { skip: 0 });
        assert_eq!(flow.offer(11, 0), Offer::Duplicate);
        assert_eq!(flow.offer(15, 0), Offer::Gap { from: 12, count: 3 });
        assert_eq!(flow.offer(13, 1), Offer::Duplicate);
    }

    #[test]
    fn a_wild_number_changes_nothing() {
        let mut flow = Inbound::resume(10);
        for (first, count) in [(0, 1), (u64::MAX, 1), (SEQ_NO_MAX, 1), (u64::MAX, u32::MAX)] {
            assert_eq!(flow.offer(first, count), Offer::OutOfRange);
            assert_eq!(flow, Inbound::resume(10));
        }
    }

    #[test]
    fn three_silent_intervals_lose_the_peer_and_one_asks_for_a_heartbeat() {
        let ms = |n: u64| TimeNs(1_000_000_000 + n * 1_000_000);
        let mut k = KeepAlive::new(100, 50, ms(0));
        assert!(!k.heartbeat_due(ms(99)) && k.heartbeat_due(ms(100)));
        assert!(!k.lost(ms(149)) && k.lost(ms(150)));
        k.sent(ms(100));
        k.heard(ms(140));
        assert!(!k.heartbeat_due(ms(199)) && !k.lost(ms(289)) && k.lost(ms(290)));
        assert_eq!(k.next_deadline(), ms(200));
        assert!(!k.lost(ms(0)), "a clock that steps back loses nobody");
    }

    #[test]
    fn an_establish_is_checked_field_by_field() {
        let now = TimeNs(1_700_000_000_000_000_000);
        let good = Establish {
            session_id: 7,
            timestamp: now.0 + STALE_NS,
            next_seq_no: 1,
            keep_alive_ms: 20,
            cod_policy: COD_ALL,
            pad1: 0,
            pad2: 0,
        };
        assert!(Terms::of(&good, 7, now).is_ok());
        let bad = |change: fn(&mut Establish)| {
            let mut e = good;
            change(&mut e);
            Terms::of(&e, 7, now).unwrap_err()
        };
        assert_eq!(bad(|e| e.session_id = 8), SessionReject::WrongSession);
        assert_eq!(bad(|e| e.timestamp += 1), SessionReject::StaleTime);
        assert_eq!(bad(|e| e.next_seq_no = 0), SessionReject::SeqNoOutOfRange);
        let range = SessionReject::KeepAliveOutOfRange;
        assert_eq!(bad(|e| e.keep_alive_ms = 19), range);
        assert_eq!(bad(|e| e.keep_alive_ms = 10_001), range);
        assert_eq!(bad(|e| e.cod_policy = 3), SessionReject::BadCodPolicy);
    }

    #[test]
    fn session_reject_codes_survive_the_wire() {
        for &code in SessionReject::ALL {
            assert_eq!(SessionReject::from_wire(code as u16), Some(code));
            assert!(code.text().ends_with('.'));
        }
        assert_eq!(SessionReject::from_wire(0), None);
    }

    #[test]
    fn a_control_datagram_is_read_back_and_nothing_else_is_taken_for_it() {
        let challenge = Challenge {
            session_id: 5,
            cookie: [9; 32],
        };
        let mut buf = DatagramBuilder::new();
        let bytes = control_datagram(&mut buf, &challenge).to_vec();
        assert_eq!(
            read_control(&bytes),
            Ok(SessionMessage::Challenge(challenge))
        );
        // Header, size prefix, SBE header and tag: each bit there changes what the datagram is.
        let (body, end) = (32 + 10, bytes.len() - TAG_LEN);
        for bit in (0..body * 8).chain(end * 8..bytes.len() * 8) {
            let mut b = bytes.clone();
            b[bit / 8] ^= 1 << (bit % 8);
            // The SBE version may differ: a newer sender is understood.
            let version = (32 + 8) * 8..(32 + 10) * 8;
            let same = read_control(&b) == Ok(SessionMessage::Challenge(challenge));
            assert_eq!(same, version.contains(&bit), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(read_control(&bytes[..len]).is_err());
        }
    }
}
