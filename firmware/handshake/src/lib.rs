//! Login, session keys, datagram tags, signatures of oracle reports and of feed checkpoints.
//!
//! It promises: nothing is signed or derived for a peer that has not shown its address (cookie) and its
//! key (Ed25519); keys are new for every login and different in each direction; comparisons of secrets
//! take constant time; secrets are wiped when dropped and never printed.
//! What may never enter: sockets, clocks (the time is handed in), or any knowledge of orders.
//!
//! ```text
//! client                                   venue
//!   Negotiate, cookie 0, signature 0  ──►    stateless
//!                               ◄──  Challenge: cookie = MAC(address, time bucket, request)
//!   Negotiate, cookie, Ed25519        ──►    cookie, clock, key, signature, session id, suite
//!                               ◄──  NegotiateResponse, Ed25519 over the transcript hash
//!   keys = HKDF-SHA256(X25519, salt = transcript hash), labels "c2s" and "s2c"
//!   Establish, tagged: shows that the client has the keys
//! ```
#![forbid(unsafe_code)]

mod checkpoint;
mod client;
mod cookie;
#[cfg(test)]
mod examples;
mod keys;
mod limiter;
mod oracle;
mod tags;
mod transcript;
mod venue;

pub use checkpoint::{FeedHash, checkpoint_session, sign_checkpoint, verify_checkpoint};
pub use client::{ClientLogin, Credentials, LoggedIn, LoginError, LoginStep};
pub use keys::{KeyError, PublicKey, SecretKey};
pub use limiter::SourceLimiter;
pub use oracle::{sign_oracle, verify_oracle};
pub use tags::{TagKey, TagKeys};
pub use venue::{NewSession, SilentReason, VenueLogin, VenueReply};

/// Start of what a member signs.
pub const DOMAIN_NEGOTIATE: &[u8] = b"deltabox negotiate v1";
/// Start of what the venue signs in a login.
pub const DOMAIN_RESPONSE: &[u8] = b"deltabox response v1";
/// Start of what an oracle signs.
pub const DOMAIN_ORACLE: &[u8] = b"deltabox oracle v1";
/// Start of what the venue signs of its feed.
pub const DOMAIN_CHECKPOINT: &[u8] = b"deltabox checkpoint v1";

/// Bytes from the system's random source.
///
/// # Panics
/// When the system has none: no key may be made then.
fn random<const N: usize>() -> zeroize::Zeroizing<[u8; N]> {
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut()).expect("the system's random source failed");
    bytes
}
