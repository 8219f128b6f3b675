//! What a box shows of its replication.

use serde::Serialize;
use std::sync::{Arc, Mutex};

/// A standby as the primary sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct StandbyStatus {
    /// Its name.
    pub name: String,
    /// `catching_up`, `in_sync` or `lost`.
    pub state: &'static str,
    /// It has on disk up to.
    pub durable_seq: u64,
    /// Records that it lacks.
    pub lag_records: u64,
    /// It does not acknowledge what it lacks for so long, ms.
    pub lag_ms: u64,
}

/// The part `replication` of the status.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ReplicationStatus {
    /// Name of this box.
    pub name: String,
    /// `primary` or `standby`.
    pub role: &'static str,
    /// The highest epoch that it has met.
    pub epoch: u64,
    /// Who leads, as far as it knows.
    pub leader: String,
    /// Who decides that: `operator` or `etcd`.
    pub decided_by: &'static str,
    /// What reports wait for: `disk`, `quorum` or `both`.
    pub waits_for: &'static str,
    /// Standbys asked for.
    pub quorum: usize,
    /// Names of the standbys that have all that was released.
    pub in_sync: Vec<String>,
    /// It goes on without standbys.
    pub alone: bool,
    /// New risk is refused for want of a quorum.
    pub refuses_risk: bool,
    /// On the own disk up to.
    pub disk_seq: u64,
    /// Epoch of the last record there.
    pub tail_epoch: u64,
    /// May be told of up to.
    pub released_seq: u64,
    /// Applied up to; of a standby.
    pub applied_seq: u64,
    /// The standbys; of a primary.
    pub standbys: Vec<StandbyStatus>,
    /// Connections and frames that were refused, by reason.
    pub refused: std::collections::BTreeMap<String, u64>,
    /// Why it does not go on, if it does not.
    pub trouble: Option<String>,
}

/// Shared by who works and who shows.
pub type Shared = Arc<Mutex<ReplicationStatus>>;

/// A copy of what is shown now.
#[must_use]
pub fn show(shared: &Shared) -> ReplicationStatus {
    shared
        .lock()
        .expect("nobody panics with the lock held")
        .clone()
}
