//! `[admin]`: the operators' sockets, and who may speak there.

use crate::ops::role::{Role, User};
use crate::ops::server::TWO_PERSON_ACTS;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `[admin]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where the sockets are made, one a role: `view.sock`, `l1.sock`, `ops.sock`, `admin.sock`.
    pub dir: PathBuf,
    /// Unix group of a role's socket, by name or number. A socket with a group has mode 0660, one without 0600.
    #[serde(default)]
    pub groups: BTreeMap<Role, Group>,
    /// Who may speak there besides root and the user that the box runs as.
    #[serde(default)]
    pub users: Vec<User>,
    /// Acts that a second person has to approve.
    #[serde(default)]
    pub two_person: Vec<String>,
    /// How long such an act waits for that, s.
    #[serde(default = "approval_s_default")]
    pub approval_s: u64,
    /// A request that takes as long from datagram to report is logged with its stages, one a second at most, us; 0: none
    /// is.
    #[serde(default = "slow_us_default")]
    pub slow_us: u64,
}

const fn slow_us_default() -> u64 {
    20_000
}

const fn approval_s_default() -> u64 {
    600
}

/// A Unix group.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged)]
pub enum Group {
    /// By number.
    Id(u32),
    /// By name.
    Name(String),
}

impl Admin {
    /// The socket of a role.
    #[must_use]
    pub fn socket(&self, role: Role) -> PathBuf {
        role.socket(&self.dir)
    }

    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let mut uids = BTreeSet::new();
        for u in &self.users {
            if !uids.insert(u.uid) {
                return Err(format!("admin.users: uid {} stands there twice", u.uid));
            }
            if u.name.is_empty() {
                return Err(format!("admin.users: uid {} has no name", u.uid));
            }
        }
        for act in &self.two_person {
            if !TWO_PERSON_ACTS.contains(&act.as_str()) {
                return Err(format!(
                    "admin.two_person: '{act}' is none of {}",
                    TWO_PERSON_ACTS.join(", ")
                ));
            }
        }
        if !(10..=86_400).contains(&self.approval_s) {
            return Err(format!(
                "admin.approval_s: {} must be in 10..=86400",
                self.approval_s
            ));
        }
        Ok(())
    }
}

/// `[metrics]`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// TCP address on loopback that serves `/metrics`, `/v1/livez` and `/v1/readyz`; without it only the sockets do.
    pub listen: Option<SocketAddr>,
}

impl Metrics {
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        match self.listen {
            Some(at) if !at.ip().is_loopback() => {
                Err(format!("metrics.listen: {at} is not on loopback"))
            }
            _ => Ok(()),
        }
    }
}

/// `[page]`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// TCP address on loopback that serves a status page for a browser, which only shows; without it there is none.
    pub listen: Option<SocketAddr>,
}

impl Page {
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        match self.listen {
            Some(at) if !at.ip().is_loopback() => {
                Err(format!("page.listen: {at} is not on loopback"))
            }
            _ => Ok(()),
        }
    }
}
