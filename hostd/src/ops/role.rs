//! Who may do what: roles, the socket of each, and the users that hold them.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A role. Each has a socket of its own; what it may do, [`Role::includes`] says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    View,
    /// Hands over what is final on L1, and says how far the proofs are.
    L1,
    /// Halts, resumes, kicks, cancels, seals, makes snapshots.
    Ops,
    /// Everything: limits, keys, prices, the configuration, stop.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::View, Self::L1, Self::Ops, Self::Admin];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::L1 => "l1",
            Self::Ops => "ops",
            Self::Admin => "admin",
        }
    }

    /// Whether who has this role may do what needs `other`: everybody may look, and an admin may do anything.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Admin, _) | (_, Self::View) | (Self::Ops, Self::Ops) | (Self::L1, Self::L1)
        )
    }

    /// Its socket in a directory.
    #[must_use]
    pub fn socket(self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.sock", self.word()))
    }
}

/// A user that may speak on the sockets.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Unix user.
    pub uid: u32,
    /// For people, and for the audit log.
    pub name: String,
    /// The highest role that it has.
    pub role: Role,
}

/// Everybody who may speak.
#[derive(Clone, Debug)]
pub struct Users {
    listed: Vec<User>,
    own_uid: u32,
}

impl Users {
    /// The listed users, the box's own and root.
    #[must_use]
    pub fn new(listed: Vec<User>, own_uid: u32) -> Self {
        Self { listed, own_uid }
    }

    /// Name and role of a Unix user. Root, and the user that the box runs as, could read its memory: they are admins.
    #[must_use]
    pub fn find(&self, uid: u32) -> Option<(&str, Role)> {
        match self.listed.iter().find(|u| u.uid == uid) {
            Some(user) => Some((&user.name, user.role)),
            None if uid == 0 => Some(("root", Role::Admin)),
            None if uid == self.own_uid => Some(("hostd", Role::Admin)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_includes_what_it_should_and_nothing_else() {
        let may = |role: Role| Role::ALL.map(|other| role.includes(other));
        // In the order view, l1, ops, admin.
        assert_eq!(may(Role::View), [true, false, false, false]);
        assert_eq!(may(Role::L1), [true, true, false, false]);
        assert_eq!(may(Role::Ops), [true, false, true, false]);
        assert_eq!(may(Role::Admin), [true; 4]);
    }

    #[test]
    fn who_is_not_listed_may_nothing() {
        let alice = User {
            uid: 7,
            name: "alice".into(),
            role: Role::Ops,
        };
        let users = Users::new(vec![alice], 9);
        assert_eq!(users.find(7), Some(("alice", Role::Ops)));
        assert_eq!(users.find(0), Some(("root", Role::Admin)));
        assert_eq!(users.find(9), Some(("hostd", Role::Admin)));
        assert_eq!(users.find(8), None);
    }
}
