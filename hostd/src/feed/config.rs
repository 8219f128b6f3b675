//! `[feed]` of the configuration.

use crate::machine::ipv4_net::Ipv4Net;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddrV4;

/// `[feed]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedSection {
    /// MoldUDP64 session, exactly ten ASCII characters.
    pub session: String,
    /// Where lines A and B come from.
    pub source: SocketAddrV4,
    /// Where line A goes: multicast groups or hosts.
    pub line_a: Vec<SocketAddrV4>,
    /// Where line B goes: the same messages by another way.
    #[serde(default)]
    pub line_b: Vec<SocketAddrV4>,
    /// A line is silent no longer than this.
    #[serde(default = "heartbeat_ms_default")]
    pub heartbeat_ms: u64,
    /// At shutdown the end of the session is repeated, and re-requests are served, for so long.
    #[serde(default = "linger_ms_default")]
    pub linger_ms: u64,
    /// Re-request server.
    pub requests: RequestsSection,
    /// Snapshot cycles; none without.
    pub snapshots: Option<SnapshotsSection>,
    /// Signed checkpoints; none without.
    pub checkpoints: Option<CheckpointsSection>,
}

const fn heartbeat_ms_default() -> u64 {
    1_000
}

const fn linger_ms_default() -> u64 {
    1_000
}

/// `[feed.requests]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestsSection {
    /// Where re-requests come in; snapshots and checkpoints leave from there too.
    pub listen: SocketAddrV4,
    /// Answers a second to all.
    #[serde(default = "per_second_default")]
    pub per_second: u32,
    /// Answers a second to one address.
    #[serde(default = "per_requester_default")]
    pub per_requester: u32,
    /// Networks that may ask, as `10.1.0.0/16`; all when empty. An answer is up to 70 times as long as its request,
    /// so on a network where source addresses can be forged this list keeps the venue from being used against
    /// others.
    #[serde(default)]
    pub requesters: Vec<Ipv4Net>,
}

const fn per_second_default() -> u32 {
    4_000
}

const fn per_requester_default() -> u32 {
    1_000
}

/// `[feed.snapshots]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotsSection {
    /// MoldUDP64 session of their own.
    pub session: String,
    /// Where they go.
    pub destinations: Vec<SocketAddrV4>,
    /// A cycle begins at most this often.
    #[serde(default = "cycle_ms_default")]
    pub interval_ms: u64,
    /// Pace.
    #[serde(default = "messages_per_second_default")]
    pub messages_per_second: u32,
}

const fn cycle_ms_default() -> u64 {
    500
}

const fn messages_per_second_default() -> u32 {
    20_000
}

/// `[feed.checkpoints]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointsSection {
    /// MoldUDP64 session of their own.
    pub session: String,
    /// Where they go.
    pub destinations: Vec<SocketAddrV4>,
    /// One per so long.
    #[serde(default = "checkpoint_ms_default")]
    pub interval_ms: u64,
}

const fn checkpoint_ms_default() -> u64 {
    1_000
}

/// A name that was checked.
fn name(session: &str) -> [u8; 10] {
    (session.as_bytes().try_into()).expect("ten characters, as checked")
}

impl SnapshotsSection {
    /// Name of the session.
    #[must_use]
    pub fn session_name(&self) -> [u8; 10] {
        name(&self.session)
    }
}

impl CheckpointsSection {
    /// Name of the session.
    #[must_use]
    pub fn session_name(&self) -> [u8; 10] {
        name(&self.session)
    }
}

impl FeedSection {
    /// Name of the session.
    #[must_use]
    pub fn session_name(&self) -> [u8; 10] {
        name(&self.session)
    }

    /// All destinations of both lines.
    pub fn lines(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.line_a.iter().chain(&self.line_b).copied()
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn check(&self) -> Result<(), String> {
        let sessions = [
            Some(("feed.session", &self.session)),
            (self.snapshots.as_ref()).map(|s| ("feed.snapshots.session", &s.session)),
            (self.checkpoints.as_ref()).map(|s| ("feed.checkpoints.session", &s.session)),
        ];
        let mut names = BTreeSet::new();
        for (key, session) in sessions.into_iter().flatten() {
            if session.len() != 10 || !session.is_ascii() {
                return Err(format!("{key} must be ten ASCII characters"));
            }
            if !names.insert(session) {
                return Err(format!("{key} is the name of another session too"));
            }
        }
        let within = |key: &str, value: u64, low: u64, high: u64| {
            (low..=high)
                .contains(&value)
                .then_some(())
                .ok_or(format!("{key} must be in {low}..={high}"))
        };
        within("feed.heartbeat_ms", self.heartbeat_ms, 100, 10_000)?;
        within("feed.linger_ms", self.linger_ms, 0, 60_000)?;
        if let Some(s) = &self.snapshots {
            within("feed.snapshots.interval_ms", s.interval_ms, 10, 3_600_000)?;
            let pace = s.messages_per_second.into();
            within("feed.snapshots.messages_per_second", pace, 1, 10_000_000)?;
        }
        if let Some(c) = &self.checkpoints {
            within("feed.checkpoints.interval_ms", c.interval_ms, 10, 3_600_000)?;
        }
        Ok(())
    }
}
