//! The routes, who may use them, and which of them change something. `openapi.json` describes each.

use crate::ops::role::Role;

/// One route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Path; a part in braces is a parameter.
    pub path: &'static str,
    /// The least that its caller must be.
    pub role: Role,
    /// Name of the act, for the audit log and `admin.two_person`; empty for a look.
    pub act: &'static str,
}

const fn look(path: &'static str) -> Route {
    Route {
        method: "GET",
        path,
        role: Role::View,
        act: "",
    }
}

const fn act(path: &'static str, role: Role, act: &'static str) -> Route {
    Route {
        method: "POST",
        path,
        role,
        act,
    }
}

/// All routes.
pub const ROUTES: &[Route] = &[
    look("/v1/status"),
    look("/v1/livez"),
    look("/v1/readyz"),
    look("/metrics"),
    look("/v1/version"),
    look("/v1/openapi.json"),
    look("/v1/whoami"),
    look("/v1/instruments"),
    look("/v1/books/{instrument}"),
    look("/v1/members"),
    look("/v1/keys"),
    look("/v1/sessions"),
    look("/v1/accounts/{account}"),
    look("/v1/jobs"),
    look("/v1/jobs/{job}"),
    look("/v1/approvals"),
    look("/v1/events"),
    look("/v1/audit"),
    look("/v1/config"),
    look("/v1/config/diff"),
    act("/v1/deposits", Role::L1, "deposits"),
    act("/v1/proofs", Role::L1, "proofs"),
    act("/v1/state", Role::Ops, "state"),
    act("/v1/lock", Role::Ops, "lock"),
    act("/v1/cancel", Role::Ops, "cancel"),
    act("/v1/kick", Role::Ops, "kick"),
    act("/v1/seal", Role::Ops, "seal"),
    act("/v1/drain", Role::Ops, "drain"),
    act("/v1/snapshots", Role::Ops, "snapshot"),
    act("/v1/replays", Role::Ops, "replay"),
    act("/v1/approvals/{approval}", Role::Ops, "approve"),
    act("/v1/instruments", Role::Admin, "list"),
    act("/v1/instruments/delist", Role::Admin, "delist"),
    act("/v1/limits", Role::Admin, "limits"),
    act("/v1/keys", Role::Admin, "key"),
    act("/v1/oracle/override", Role::Admin, "override"),
    act("/v1/oracle/release", Role::Admin, "release"),
    act("/v1/config/reload", Role::Admin, "reload"),
    act("/v1/shutdown", Role::Admin, "shutdown"),
];

/// Acts that can be bound to a second person's approval.
pub const TWO_PERSON_ACTS: [&str; 14] = [
    "state", "lock", "cancel", "kick", "seal", "drain", "limits", "key", "override", "release",
    "reload", "shutdown", "list", "delist",
];

/// The route of a method and a path with its braces.
pub(super) fn find(method: &str, path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|r| r.method == method && r.path == path)
}

/// The role that an act needs.
#[must_use]
pub fn role_of(act: &str) -> Role {
    let route = ROUTES.iter().find(|r| r.act == act);
    route.map_or(Role::Admin, |r| r.role)
}
