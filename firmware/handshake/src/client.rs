//! The client's half of the login.

use crate::tags::TagKeys;
use crate::transcript::{negotiate_part, session_keys, transcript_hash};
use crate::{DOMAIN_NEGOTIATE, DOMAIN_RESPONSE, PublicKey, SecretKey};
use core::net::SocketAddr;
use firmware::session::SessionReject;
use firmware::tag::{Suite, SuiteSet};
use firmware::units::{MemberId, TimeNs};
use firmware::wire::session::{Challenge, Negotiate, NegotiateResponse, SessionMessage};
use x25519_dalek::{PublicKey as EphemeralPublic, StaticSecret};

/// Who logs in, and to whom.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The member.
    pub member: MemberId,
    /// Number of the member's key at the venue.
    pub key_id: u32,
    /// That key.
    pub key: SecretKey,
    /// The venue's public key, known beforehand.
    pub venue: PublicKey,
    /// Suites to offer; [`Suite::None`] is taken for a loopback address only.
    pub suites: SuiteSet,
}

/// A login under way.
pub struct ClientLogin {
    credentials: Credentials,
    ephemeral: StaticSecret,
    request: Negotiate,
    signed: bool,
}

/// What a login gives.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// Of the Negotiate; stands in Establish and Terminate.
    pub session_id: u64,
    /// For every datagram from now on.
    pub conn_id: u32,
    /// Chosen by the venue.
    pub suite: Suite,
    /// Of this session.
    pub keys: TagKeys,
}

/// What to do after a message.
#[derive(Debug)]
pub enum LoginStep {
    /// Send [`ClientLogin::request`] now.
    Send,
    /// The message was not for this step: go on waiting.
    Ignored,
    /// Done.
    Done(Box<LoggedIn>),
}

/// Why a login cannot go on. [`LoginError::BadSignature`] and [`LoginError::Forged`] change nothing: since
/// anybody can send such a message, a caller may go on waiting for the true one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoginError {
    /// Suite none was asked for to a host that is not this one.
    #[error("tag suite none is for loopback only, not for {0}")]
    NoneOffLoopback(SocketAddr),
    /// No suite is offered.
    #[error("no tag suite is offered")]
    NoSuite,
    /// The venue refused.
    #[error("the venue refused the login: {0}")]
    Rejected(SessionReject),
    /// The venue refused with a code that this release does not know.
    #[error("the venue refused the login with the unknown code {0}")]
    RejectedUnknown(u16),
    /// The response is not signed by the pinned venue key.
    #[error("the response is not signed by the pinned venue key")]
    BadSignature,
    /// The response is signed and yet not an answer to this request.
    #[error("the venue's response breaks the protocol: {0}")]
    Forged(&'static str),
}

impl ClientLogin {
    /// Starts a login at venue address `to`. `session_id` is the time in microseconds and must be above
    /// that of any login before with this key.
    ///
    /// # Errors
    /// [`LoginError::NoneOffLoopback`] or [`LoginError::NoSuite`].
    pub fn new(
        credentials: &Credentials,
        to: SocketAddr,
        session_id: u64,
        now: TimeNs,
    ) -> Result<Self, LoginError> {
        if credentials.suites.has(Suite::None) && !to.ip().is_loopback() {
            return Err(LoginError::NoneOffLoopback(to));
        }
        if credentials.suites.0 == 0 {
            return Err(LoginError::NoSuite);
        }
        let ephemeral = StaticSecret::from(*crate::random::<32>());
        let request = Negotiate {
            session_id,
            timestamp: now.0,
            member: credentials.member.0,
            key_id: credentials.key_id,
            suites: credentials.suites.0,
            pad1: 0,
            pad2: 0,
            pad3: 0,
            cookie: [0; 32],
            client_key: EphemeralPublic::from(&ephemeral).to_bytes(),
            venue_key_hash: credentials.venue.pin(),
            signature: [0; 64],
        };
        Ok(Self {
            credentials: credentials.clone(),
            ephemeral,
            request,
            signed: false,
        })
    }

    /// The message to send now; the same again when no answer comes. After 5 s the venue finds its time
    /// stale, and a new login must be started.
    #[must_use]
    pub const fn request(&self) -> &Negotiate {
        &self.request
    }

    /// Takes a message of the venue.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub fn on_message(&mut self, message: &SessionMessage) -> Result<LoginStep, LoginError> {
        match message {
            SessionMessage::Challenge(m) => Ok(self.on_challenge(m)),
            SessionMessage::NegotiateResponse(m) => self.on_response(m),
            SessionMessage::NegotiateReject(m) if m.session_id == self.request.session_id => {
                Err(SessionReject::from_wire(m.reason)
                    .map_or(LoginError::RejectedUnknown(m.reason), LoginError::Rejected))
            }
            _ => Ok(LoginStep::Ignored),
        }
    }

    fn on_challenge(&mut self, m: &Challenge) -> LoginStep {
        if m.session_id != self.request.session_id || self.signed {
            return LoginStep::Ignored;
        }
        self.request.cookie = m.cookie;
        let part = negotiate_part(&self.request);
        self.request.signature = self.credentials.key.sign(DOMAIN_NEGOTIATE, part);
        self.signed = true;
        LoginStep::Send
    }

    fn on_response(&self, m: &NegotiateResponse) -> Result<LoginStep, LoginError> {
        if m.session_id != self.request.session_id || !self.signed {
            return Ok(LoginStep::Ignored);
        }
        let venue = &self.credentials.venue;
        let transcript = transcript_hash(&self.request, m, venue);
        if !venue.verify(DOMAIN_RESPONSE, &transcript, &m.signature) {
            return Err(LoginError::BadSignature);
        }
        let suite = Suite::from_wire(m.suite)
            .filter(|s| self.credentials.suites.has(*s))
            .ok_or(LoginError::Forged("a suite that was not offered"))?;
        if m.conn_id == 0 {
            return Err(LoginError::Forged("connection id 0"));
        }
        let shared = self
            .ephemeral
            .diffie_hellman(&EphemeralPublic::from(m.venue_key));
        let keys = session_keys(suite, &shared, &transcript)
            .ok_or(LoginError::Forged("an ephemeral key without a secret"))?;
        Ok(LoginStep::Done(Box::new(LoggedIn {
            session_id: m.session_id,
            conn_id: m.conn_id,
            suite,
            keys,
        })))
    }
}
