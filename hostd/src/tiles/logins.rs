//! Logins: what the control tile does with a Negotiate. Nothing here grows with what comes in.

use crate::ops::operator::{CommandRefused, KeyBody};
use crate::tiles::lanes::{ControlDatagram, ToGateway};
use crate::tiles::sessions::{LOGINS_MAX, Peer, conn_id};
use firmware::session::SessionReject;
use firmware::units::{MemberId, TimeNs};
use firmware::wire::datagram::DatagramBuilder;
use firmware::wire::session::Negotiate;
use handshake::{PublicKey, SilentReason, SourceLimiter, VenueLogin, VenueReply};
use lane::Producer;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Logins a second from one address. A login takes two requests, and twice as many over two order ports.
const LOGINS_PER_SECOND: u32 = 20;
/// Highest number of a member's key.
pub const KEY_ID_MAX: u32 = 255;
/// Addresses whose rates are told apart.
const LIMITER_SLOTS: usize = 1 << 10;

/// Counts of logins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct LoginCounters {
    /// Negotiate messages.
    pub requests: u64,
    /// Dropped: more than one address may send.
    pub limited: u64,
    /// Answered with a cookie.
    pub challenges: u64,
    /// Answered with a session.
    pub sessions: u64,
    /// Answered as before: the answer was lost.
    pub repeated: u64,
    /// Answered with a reject.
    pub rejects: u64,
    /// Dropped: a cookie that was not made for this address and request.
    pub bad_cookies: u64,
    /// Dropped: signed before there was a cookie.
    pub signed_too_early: u64,
}

/// A member's key.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct KeyRow {
    /// Whose.
    pub member: u32,
    /// Its number.
    pub key_id: u32,
    /// Ed25519, hex.
    pub public_key: String,
}

/// Answers Negotiate messages.
pub struct LoginDesk {
    login: VenueLogin,
    limiter: SourceLimiter,
    locked: BTreeSet<MemberId>,
    count: u32,
    is_stopping: bool,
    /// What was counted.
    pub counters: LoginCounters,
}

impl LoginDesk {
    /// A desk with the registered keys in `login`; `locked` members are refused.
    #[must_use]
    pub fn new(login: VenueLogin, locked: BTreeSet<MemberId>) -> Self {
        Self {
            login,
            limiter: SourceLimiter::new(LIMITER_SLOTS, LOGINS_PER_SECOND),
            locked,
            count: 0,
            is_stopping: false,
            counters: LoginCounters::default(),
        }
    }

    /// Refuses logins from now on.
    pub const fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Members' keys: member, number, hex.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyRow> {
        let rows = self.login.keys().map(|(member, key_id, key)| KeyRow {
            member: member.0,
            key_id,
            public_key: key.to_string(),
        });
        rows.collect()
    }

    /// Whether a key can be set.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_key(body: &KeyBody) -> Result<(), CommandRefused> {
        let bad = |why: String| Err(CommandRefused::Key(why));
        if !(1..=KEY_ID_MAX).contains(&body.key_id) {
            return bad(format!(
                "key_id: {} must be in 1..={KEY_ID_MAX}",
                body.key_id
            ));
        }
        match body.public_key.as_deref().map(PublicKey::from_hex) {
            Some(Err(e)) => bad(format!("public_key: {e}")),
            _ => Ok(()),
        }
    }

    /// Adds, replaces or revokes a member's key; sessions that it opened go on until they end.
    pub fn set_key(&mut self, body: &KeyBody) {
        let member = MemberId(body.member);
        match body.public_key.as_deref().map(PublicKey::from_hex) {
            Some(Ok(key)) => self.login.register(member, body.key_id, key),
            Some(Err(_)) => {}
            None => drop(self.login.revoke(member, body.key_id)),
        }
    }

    /// Takes a Negotiate; keys and answer go to the gateway, which is the caller's to wake.
    pub fn on_negotiate(
        &mut self,
        m: &Negotiate,
        from: Peer,
        now: TimeNs,
        to_gateway: &mut Producer<ToGateway>,
    ) {
        self.counters.requests += 1;
        let address = SocketAddr::V4(from.address);
        if !self.limiter.allow(address.ip(), now) {
            self.counters.limited += 1;
            return;
        }
        let next = self.count % LOGINS_MAX + 1;
        let (is_stopping, has_room, locked) =
            (self.is_stopping, to_gateway.room() >= 2, &self.locked);
        let open = |member: MemberId| {
            if is_stopping {
                return Err(SessionReject::NotServing);
            }
            if locked.contains(&member) {
                return Err(SessionReject::MemberLocked);
            }
            if !has_room {
                return Err(SessionReject::Full);
            }
            Ok(conn_id(member, next))
        };
        let mut reply = self.login.on_negotiate(m, address, now, open);
        let count = match &mut reply {
            VenueReply::Challenge(_) => &mut self.counters.challenges,
            VenueReply::Reject(..) => &mut self.counters.rejects,
            VenueReply::Silent(SilentReason::BadCookie) => &mut self.counters.bad_cookies,
            VenueReply::Silent(SilentReason::SignedTooEarly) => &mut self.counters.signed_too_early,
            VenueReply::Response { session, .. } => match session.take() {
                Some(session) => {
                    self.count = next;
                    // Before the answer, so that the Establish finds its keys.
                    let sent = to_gateway.push(ToGateway::Login(session, from));
                    assert!(sent.is_ok(), "its room was looked at");
                    &mut self.counters.sessions
                }
                None => &mut self.counters.repeated,
            },
        };
        *count += 1;
        let mut buffer = DatagramBuilder::new();
        if let Some(datagram) = reply
            .datagram(&mut buffer)
            .and_then(|b| ControlDatagram::new(from, b))
        {
            // A lost answer is asked for again.
            let _ = to_gateway.push(ToGateway::Send(datagram));
        }
    }
}
