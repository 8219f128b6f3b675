//! The venue's half of the login.

use crate::cookie::CookieJar;
use crate::tags::TagKeys;
use crate::transcript::{negotiate_part, session_keys, transcript_hash};
use crate::{DOMAIN_NEGOTIATE, DOMAIN_RESPONSE, PublicKey, SecretKey};
use core::net::SocketAddr;
use firmware::session::{SessionReject, control_datagram, is_fresh};
use firmware::tag::{Suite, SuiteSet};
use firmware::units::{MemberId, TimeNs};
use firmware::wire::datagram::DatagramBuilder;
use firmware::wire::session::{Challenge, Negotiate, NegotiateReject, NegotiateResponse};
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey as EphemeralPublic, StaticSecret};

/// The venue's logins: registered keys, the cookie secret, and the last answer to each key. Its memory
/// grows with registered keys only, never with what comes in.
pub struct VenueLogin {
    key: SecretKey,
    pin: [u8; 32],
    suites: SuiteSet,
    cookies: CookieJar,
    members: BTreeMap<(u32, u32), Registered>,
}

struct Registered {
    key: PublicKey,
    /// The last request that was answered with a session, as hash, and the answer.
    last: Option<([u8; 32], NegotiateResponse)>,
}

/// A session whose keys were just made.
///
/// It counts only once an Establish with a valid tag has come under these keys: until then an older
/// session of the member must live on, since a request can be sent by anyone who has seen it.
#[derive(Debug)]
pub struct NewSession {
    /// The member.
    pub member: MemberId,
    /// Which of its keys signed.
    pub key_id: u32,
    /// Of the Negotiate.
    pub session_id: u64,
    /// As given by the caller.
    pub conn_id: u32,
    /// For this session.
    pub keys: TagKeys,
}

/// What to do with a Negotiate.
#[derive(Debug)]
pub enum VenueReply {
    /// Send the cookie; nothing is remembered.
    Challenge(Challenge),
    /// Send the response.
    Response {
        /// The message.
        response: NegotiateResponse,
        /// The new session; `None` when the same request came again and is answered as before.
        session: Option<Box<NewSession>>,
    },
    /// Send the reject.
    Reject(NegotiateReject, SessionReject),
    /// Send nothing; count it.
    Silent(SilentReason),
}

/// Why nothing is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SilentReason {
    /// The cookie is not the one for this address and request, or too old.
    BadCookie,
    /// A request without a cookie carries a signature.
    SignedTooEarly,
}

impl VenueReply {
    /// The datagram to send to where the Negotiate came from, if any.
    pub fn datagram<'b>(&self, buf: &'b mut DatagramBuilder) -> Option<&'b [u8]> {
        match self {
            Self::Challenge(m) => Some(control_datagram(buf, m)),
            Self::Response { response, .. } => Some(control_datagram(buf, response)),
            Self::Reject(m, _) => Some(control_datagram(buf, m)),
            Self::Silent(_) => None,
        }
    }
}

impl VenueLogin {
    /// Logins signed with `key`. `suites` are those that may be used; [`Suite::None`], if it is among them,
    /// is given to loopback addresses only.
    #[must_use]
    pub fn new(key: SecretKey, suites: SuiteSet) -> Self {
        Self {
            pin: key.public().pin(),
            key,
            suites,
            cookies: CookieJar::new(),
            members: BTreeMap::new(),
        }
    }

    /// Registers a member's key, or puts another in its place.
    pub fn register(&mut self, member: MemberId, key_id: u32, key: PublicKey) {
        self.members
            .insert((member.0, key_id), Registered { key, last: None });
    }

    /// Members' keys, with their numbers.
    pub fn keys(&self) -> impl Iterator<Item = (MemberId, u32, PublicKey)> + '_ {
        let all = self.members.iter();
        all.map(|((member, key_id), r)| (MemberId(*member), *key_id, r.key))
    }

    /// Forgets a member's key; `false` when there was none. Sessions that it opened are the caller's to end.
    pub fn revoke(&mut self, member: MemberId, key_id: u32) -> bool {
        self.members.remove(&(member.0, key_id)).is_some()
    }

    /// Answers a Negotiate that came from address `from`. `open` is asked last, when all checks have
    /// passed, and gives the new connection's id (not 0) or the reason for a reject.
    ///
    /// Costs a hash without a cookie, and two signatures' and a key agreement's time with a good one (about
    /// 0.2 ms): put a [`SourceLimiter`](crate::SourceLimiter) in front.
    pub fn on_negotiate(
        &mut self,
        request: &Negotiate,
        from: SocketAddr,
        now: TimeNs,
        open: impl FnOnce(MemberId) -> Result<u32, SessionReject>,
    ) -> VenueReply {
        if request.cookie == [0; 32] {
            if request.signature != [0; 64] {
                return VenueReply::Silent(SilentReason::SignedTooEarly);
            }
            return VenueReply::Challenge(Challenge {
                session_id: request.session_id,
                cookie: self.cookies.make(request, from, now),
            });
        }
        if !self.cookies.check(request, from, now) {
            return VenueReply::Silent(SilentReason::BadCookie);
        }
        match self.answer(request, from, now, open) {
            Ok((response, session)) => VenueReply::Response { response, session },
            Err(code) => {
                let reject = NegotiateReject {
                    session_id: request.session_id,
                    reason: code as u16,
                    pad1: 0,
                    pad2: 0,
                };
                VenueReply::Reject(reject, code)
            }
        }
    }

    /// The checks after the cookie, cheap ones first.
    fn answer(
        &mut self,
        request: &Negotiate,
        from: SocketAddr,
        now: TimeNs,
        open: impl FnOnce(MemberId) -> Result<u32, SessionReject>,
    ) -> Result<(NegotiateResponse, Option<Box<NewSession>>), SessionReject> {
        if !is_fresh(TimeNs(request.timestamp), now) {
            return Err(SessionReject::StaleTime);
        }
        if !bool::from(self.pin.ct_eq(&request.venue_key_hash)) {
            return Err(SessionReject::WrongVenueKey);
        }
        let registered = self
            .members
            .get_mut(&(request.member, request.key_id))
            .ok_or(SessionReject::UnknownKey)?;
        let part = negotiate_part(request);
        if !(registered.key).verify(DOMAIN_NEGOTIATE, part, &request.signature) {
            return Err(SessionReject::BadSignature);
        }
        let hash = *blake3::hash(bytemuck::bytes_of(request)).as_bytes();
        if let Some((last_hash, last)) = &registered.last {
            if *last_hash == hash {
                return Ok((*last, None));
            }
            if request.session_id <= last.session_id {
                return Err(SessionReject::SessionIdUsed);
            }
        }
        let suite = self.suite_for(request, from)?;
        let member = MemberId(request.member);
        let (response, keys) = self.respond(request, suite, now, || open(member))?;
        let session = NewSession {
            member,
            key_id: request.key_id,
            session_id: request.session_id,
            conn_id: response.conn_id,
            keys,
        };
        if let Some(r) = self.members.get_mut(&(request.member, request.key_id)) {
            r.last = Some((hash, response));
        }
        Ok((response, Some(Box::new(session))))
    }

    fn suite_for(&self, request: &Negotiate, from: SocketAddr) -> Result<Suite, SessionReject> {
        let allowed = if from.ip().is_loopback() {
            self.suites
        } else {
            SuiteSet(self.suites.0 & SuiteSet::SAFE.0)
        };
        SuiteSet(request.suites)
            .best_common(allowed)
            .ok_or(SessionReject::NoCommonSuite)
    }

    /// Key agreement and signature.
    fn respond(
        &self,
        request: &Negotiate,
        suite: Suite,
        now: TimeNs,
        open: impl FnOnce() -> Result<u32, SessionReject>,
    ) -> Result<(NegotiateResponse, TagKeys), SessionReject> {
        let ephemeral = StaticSecret::from(*crate::random::<32>());
        let shared = ephemeral.diffie_hellman(&EphemeralPublic::from(request.client_key));
        if !shared.was_contributory() {
            return Err(SessionReject::BadClientKey);
        }
        let conn_id = open()?;
        assert!(conn_id != 0, "connection id 0 marks the login");
        let mut response = NegotiateResponse {
            session_id: request.session_id,
            timestamp: now.0,
            conn_id,
            suite: suite as u8,
            pad1: 0,
            pad2: 0,
            venue_key: EphemeralPublic::from(&ephemeral).to_bytes(),
            signature: [0; 64],
        };
        let transcript = transcript_hash(request, &response, &self.key.public());
        response.signature = self.key.sign(DOMAIN_RESPONSE, &transcript);
        let keys = session_keys(suite, &shared, &transcript).ok_or(SessionReject::BadClientKey)?;
        Ok((response, keys))
    }
}
