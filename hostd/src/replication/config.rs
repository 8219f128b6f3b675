//! `[replication]` of the configuration.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[replication]`: the boxes that hold one journal. `hostd/REPLICATION.md` says what each key does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicationSection {
    /// Name of this box among its peers.
    pub name: String,
    /// Where peers reach it.
    pub listen: SocketAddr,
    /// 64 hex digits that all boxes share, mode 0600; `hostd keygen` makes one.
    pub key_file: PathBuf,
    /// Standbys that must have a record before it counts as replicated.
    #[serde(default = "quorum_default")]
    pub quorum: usize,
    /// What durability `replicated` waits for.
    #[serde(default)]
    pub wait: Wait,
    /// Without a quorum for so long new risk is refused.
    #[serde(default = "bound_ms_default")]
    pub bound_ms: u64,
    /// Without a quorum for so long the box goes on alone, with its own disk only. Absent: never.
    pub alone_after_ms: Option<u64>,
    /// The other boxes.
    pub peers: Vec<Peer>,
    /// Who leads is decided there. Absent: by the operator, with `hostd promote`.
    pub etcd: Option<EtcdSection>,
}

const fn quorum_default() -> usize {
    1
}

const fn bound_ms_default() -> u64 {
    1_000
}

/// `replication.wait`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// The quorum's disks and our own.
    #[default]
    Both,
    /// The quorum's disks.
    Quorum,
}

impl Wait {
    /// As it stands in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Quorum => "quorum",
        }
    }
}

/// `[[replication.peers]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its `replication.name`.
    pub name: String,
    /// Its `replication.listen`, as seen from here.
    pub address: SocketAddr,
}

/// `[replication.etcd]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdSection {
    /// Addresses of its members' client ports (HTTP).
    pub endpoints: Vec<SocketAddr>,
    /// Keys of this venue begin with it.
    pub prefix: String,
    /// A primary that cannot renew its lease for so long has lost it.
    #[serde(default = "lease_s_default")]
    pub lease_s: u64,
}

const fn lease_s_default() -> u64 {
    3
}

impl ReplicationSection {
    /// Checks it.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::from([self.name.as_str()]);
        let is_name = |n: &str| {
            (1..=32).contains(&n.len())
                && n.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        for name in self.peers.iter().map(|p| p.name.as_str()) {
            if !names.insert(name) {
                return Err(format!("replication: two boxes are called {name}"));
            }
        }
        if let Some(name) = names.iter().find(|n| !is_name(n)) {
            return Err(format!(
                "replication: '{name}' is no name: 1 to 32 letters, digits, '-', '_' or '.'"
            ));
        }
        let peers = self.peers.len();
        if !(1..=peers).contains(&self.quorum) {
            return Err(format!(
                "replication.quorum must be in 1..={peers}, the number of peers"
            ));
        }
        if self.alone_after_ms.is_some_and(|ms| ms < self.bound_ms) {
            return Err("replication.alone_after_ms must be at least replication.bound_ms".into());
        }
        match &self.etcd {
            Some(e) if e.endpoints.is_empty() => {
                Err("replication.etcd.endpoints must name at least one".into())
            }
            Some(e) if !e.prefix.starts_with('/') || e.prefix.len() < 2 => {
                Err("replication.etcd.prefix must begin with '/' and name the venue".into())
            }
            Some(e) if !(1..=60).contains(&e.lease_s) => {
                Err("replication.etcd.lease_s must be in 1..=60".into())
            }
            _ => Ok(()),
        }
    }

    /// Without a quorum for so long new risk is refused.
    #[must_use]
    pub const fn bound(&self) -> Duration {
        Duration::from_millis(self.bound_ms)
    }
}
