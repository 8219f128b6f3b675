//! The configuration: one TOML file, typed, checked once at boot. Unknown keys are refused.

mod admin;
mod dpdk;
mod instrument;
mod risk;
mod xdp;

pub use admin::{Admin, Group, Metrics, Page};
pub use dpdk::DpdkSection;
pub use instrument::{CoarseTick, Instrument, Kind, StartState, spec};
pub use risk::{AdaptiveSection, RiskSection};
pub use xdp::{CopyMode, Mode, XDP_QUEUES_MAX, XdpSection};

use crate::capacity::Capacity;
use crate::feed::config::FeedSection;
use crate::machine::memory::Memory;
use crate::replication::ReplicationSection;
use crate::storage::data_dir::DataDir;
use crate::tiles::topology::{TopologyName, plan};
use firmware::gate::Rates;
use firmware::limits::{DOMAIN_LOTS_MAX, TIER_INSTRUMENTS};
use firmware::units::MemberId;
use firmware::wire::input::InDomain;
use handshake::PublicKey;
use matcher::oracle::{Panel, PanelRules};
use matcher::risk_table::RiskParams;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

/// Why a configuration is refused: one line for people.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}")]
pub struct ConfigError {
    path: PathBuf,
    what: String,
}

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it was read, and the text.
    #[serde(skip)]
    pub source: Source,
    /// Who we are.
    pub venue: Venue,
    /// Addresses and NIC backend.
    pub net: Net,
    /// Market data.
    pub feed: FeedSection,
    /// Durability.
    pub journal: Journal,
    /// The boxes that hold one journal.
    pub replication: Option<ReplicationSection>,
    /// When snapshots are made.
    #[serde(default)]
    pub snapshot: SnapshotSection,
    /// Which tiles share a core.
    pub topology: TopologySection,
    /// The operators' sockets.
    pub admin: Admin,
    /// Metrics for scrapers that cannot use a Unix socket.
    #[serde(default)]
    pub metrics: Metrics,
    /// A status page for browsers.
    #[serde(default)]
    pub page: Page,
    /// How much the box holds.
    #[serde(default)]
    pub capacity: Capacity,
    /// Locked and huge pages.
    #[serde(default)]
    pub memory: Memory,
    /// Rules of the risk domain.
    pub domain: Domain,
    /// Funding, expiry, liquidation.
    pub risk: Option<RiskSection>,
    /// When the oracles' reports count, and when they agree.
    #[serde(default)]
    pub oracle_panel: OraclePanel,
    /// Who may log in.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Whose prices count.
    #[serde(default)]
    pub oracles: Vec<Oracle>,
    /// What is listed at the start of the day.
    #[serde(default)]
    pub instruments: Vec<Instrument>,
}

/// Where a configuration came from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; empty for a text without one.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// `[venue]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Venue {
    /// Holds `journal/` and `batches/`.
    pub data_dir: PathBuf,
    /// Hex seed of the venue's Ed25519 key, mode 0600.
    pub key_file: PathBuf,
    /// Offer tag suite `none` to loopback clients: for laboratories only.
    #[serde(default)]
    pub allow_untagged: bool,
}

/// `[net]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Net {
    /// `uring`, `xdp` or `dpdk`.
    pub backend: Backend,
    /// Where orders come in.
    pub order_entry: SocketAddrV4,
    /// A second port for the same datagrams, on another path through the network: the first copy counts.
    pub order_entry_b: Option<SocketAddrV4>,
    /// `adaptive` or `busy`.
    #[serde(default)]
    pub poll: Poll,
    /// With `adaptive`: gateway and engine look again for so long after the last work before they sleep.
    #[serde(default = "spin_us_default")]
    pub spin_us: u32,
    /// For `xdp`.
    pub xdp: Option<XdpSection>,
    /// For `dpdk`.
    pub dpdk: Option<DpdkSection>,
}

const fn spin_us_default() -> u32 {
    50
}

/// `net.poll`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// Sleep when nothing comes.
    #[default]
    Adaptive,
    /// Never sleep: needs cores of their own.
    Busy,
}

/// How gateway and engine wait for work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polling {
    /// They look again for so long, then sleep.
    Adaptive {
        /// From the last work to the sleep, ns.
        linger_ns: u64,
    },
    /// They never sleep.
    Busy,
}

impl Net {
    /// What `poll` and `spin_us` say.
    #[must_use]
    pub const fn polling(&self) -> Polling {
        match self.poll {
            Poll::Adaptive => Polling::Adaptive {
                linger_ns: self.spin_us as u64 * 1_000,
            },
            Poll::Busy => Polling::Busy,
        }
    }
}

/// NIC backends of this release.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// io_uring over kernel UDP sockets: works anywhere, needs no rights.
    Uring,
    /// AF_XDP: frames straight from a kernel driver's queues.
    Xdp,
    /// DPDK on a port of its own; needs a hostd built with the feature `dpdk`.
    Dpdk,
}

/// `[journal]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// `fsync`, `replicated` or `relaxed`.
    pub durability: Durability,
    /// Size of a segment file.
    #[serde(default = "segment_mib_default")]
    pub segment_mib: u64,
    /// Closed segments that stay beside the one being written; older ones move to the archive, where replay, audit
    /// and prover find them. Without it all stay. None is ever removed.
    pub keep_segments: Option<u32>,
    /// Where the archive is, if not in `journal/archive`: on another disk, say.
    pub archive_dir: Option<PathBuf>,
}

const fn segment_mib_default() -> u64 {
    64
}

/// `[snapshot]`: by whichever comes first; without both keys none is made while the box runs.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotSection {
    /// After so many records.
    pub every_records: Option<u64>,
    /// After so many seconds, if there is anything new.
    pub every_s: Option<u64>,
}

/// When something may leave the box.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once its record is on disk.
    Fsync,
    /// Once standbys have its record on disk, and by `replication.wait` our own disk too.
    Replicated,
    /// Once its record is handed to the kernel. Lost when the machine stops; named in every status.
    Relaxed,
}

impl Durability {
    /// As it stands in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Replicated => "replicated",
            Self::Relaxed => "relaxed",
        }
    }
}

/// `[topology]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopologySection {
    /// `shared` or `pinned`.
    pub name: TopologyName,
    /// Cores by tile; a tile that is not named is free to move.
    #[serde(default)]
    pub cores: BTreeMap<String, usize>,
}

impl TopologySection {
    /// Cores of the tiles that must not be disturbed.
    #[must_use]
    pub fn hot_cores(&self) -> Vec<usize> {
        let planned = plan(self, Polling::Adaptive { linger_ns: 0 }).unwrap_or_default();
        let hot = planned.iter().filter(|p| p.tile.is_hot());
        hot.filter_map(|p| p.core).collect()
    }
}

/// `[domain]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// A settlement runs when the index moved by this, ppm.
    pub delta_threshold_ppm: u32,
    /// A settlement runs when this has passed.
    pub settlement_interval_ms: u64,
    /// Initial margin over maintenance margin, ppm of the loss in the worst scenario.
    pub initial_extra_ppm: u32,
    /// Fee of takers, ppm of the notional.
    pub taker_fee_ppm: i32,
    /// Fee of makers; negative is a rebate.
    pub maker_fee_ppm: i32,
    /// An open batch is sealed when it is this old.
    pub batch_interval_ms: u64,
    /// A new risk table is made at most this often.
    pub risk_epoch_ms: u64,
    /// An oracle report older than this halts orders that may add risk.
    pub oracle_stale_ms: u64,
    /// The batches are to be proven and settled on L1, which binds the domain to the instruments of the
    /// circuit's small tier. Without proofs more instruments trade and settle inside the box.
    #[serde(default = "proofs_default")]
    pub proofs: bool,
}

const fn proofs_default() -> bool {
    true
}

/// `[[members]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// 1 to `capacity.members`.
    pub id: u32,
    /// For people.
    pub name: String,
    /// Ed25519, hex.
    pub public_key: String,
    /// Accounts that it trades for.
    #[serde(default)]
    pub accounts: Vec<u32>,
    /// Members whose reports it gets copies of; it may then not trade itself.
    #[serde(default)]
    pub drop_copy_of: Vec<u32>,
    /// Logins are refused.
    #[serde(default)]
    pub locked: bool,
    /// Requests a second; cancels are not counted.
    #[serde(default = "orders_per_second_default")]
    pub orders_per_second: u32,
    /// Entries of mass quotes a second.
    #[serde(default = "quotes_per_second_default")]
    pub quotes_per_second: u32,
}

const fn orders_per_second_default() -> u32 {
    1_000
}

const fn quotes_per_second_default() -> u32 {
    10_000
}

/// `[oracle_panel]`; a report older than `domain.oracle_stale_ms` does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OraclePanel {
    /// Oracles that must agree: more than half of them. Absent: just more than half.
    pub quorum: Option<u8>,
    /// Farthest that an index may lie from the median to agree with it, ppm.
    pub deviation_ppm: u32,
    /// An oracle that was not heard for this long is named in the status; at most `domain.oracle_stale_ms`.
    /// Absent: a second, or that if it is less.
    pub heartbeat_ms: Option<u64>,
    /// A report from further ahead of our clock is refused.
    pub max_ahead_ms: u64,
}

impl Default for OraclePanel {
    fn default() -> Self {
        Self {
            quorum: None,
            deviation_ppm: 20_000,
            heartbeat_ms: None,
            max_ahead_ms: 1_000,
        }
    }
}

/// `[[oracles]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oracle {
    /// Key id in its reports.
    pub id: u32,
    /// Ed25519, hex.
    pub public_key: String,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// One line: the file, the key and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let fail = |what: String| ConfigError {
            path: path.to_owned(),
            what,
        };
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        let mut config = Self::parse(&text).map_err(fail)?;
        path.clone_into(&mut config.source.path);
        Ok(config)
    }

    /// Parses and checks a text.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|e| one_line(&e.to_string()))?;
        text.clone_into(&mut config.source.text);
        config.check()?;
        Ok(config)
    }

    fn check_backend(&self) -> Result<(), String> {
        let net = &self.net;
        let mut locals = vec![*net.order_entry.ip(), *self.feed.source.ip()];
        locals.extend(net.order_entry_b.map(|b| *b.ip()));
        let missing = |name: &str| Err(format!("net.backend = \"{name}\" needs [net.{name}]"));
        match net.backend {
            Backend::Uring => Ok(()),
            Backend::Xdp => (net.xdp.as_ref()).map_or_else(|| missing("xdp"), XdpSection::check),
            Backend::Dpdk => {
                (net.dpdk.as_ref()).map_or_else(|| missing("dpdk"), |d| d.check(&locals))
            }
        }
    }

    fn check_risk(&self) -> Result<(), String> {
        let Some(risk) = &self.risk else {
            return Ok(());
        };
        matcher::engine::check_rules(&risk.rules(self.domain.initial_extra_ppm))
            .map_err(|e| format!("risk: {e}"))?;
        if let Some(adaptive) = &risk.adaptive {
            matcher::engine::check_vol_model(&adaptive.model())
                .map_err(|e| format!("risk.adaptive: {e}"))?;
        }
        let (account, instrument) = (risk.vault_account, risk.vault_instrument);
        let is_bound = self.members.iter().any(|m| m.accounts.contains(&account));
        let is_listed = self.instruments.iter().any(|i| i.id == instrument);
        if account != 0 && !(is_bound && is_listed && risk.vault_delta_e9 >= 0) {
            return Err(format!(
                "risk: the vault needs an account of [[members]], an instrument of [[instruments]] and a \
                 vault_delta_e9 of at least 0, not {account}, {instrument} and {}",
                risk.vault_delta_e9
            ));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        self.feed.check()?;
        if self.net.spin_us > 10_000 {
            return Err(
                "net.spin_us must be at most 10000: net.poll = \"busy\" never sleeps".into(),
            );
        }
        plan(&self.topology, self.net.polling())?;
        let every = [self.snapshot.every_records, self.snapshot.every_s];
        if every.contains(&Some(0)) {
            return Err("snapshot.every_records and snapshot.every_s must be at least 1".into());
        }
        if !(1..=4096).contains(&self.journal.segment_mib) {
            return Err("journal.segment_mib must be in 1..=4096".into());
        }
        if let Some(replication) = &self.replication {
            replication.check()?;
        }
        match (self.journal.durability, &self.replication) {
            (Durability::Replicated, None) => {
                return Err("journal.durability = \"replicated\" needs [replication]".into());
            }
            (Durability::Relaxed, Some(_)) => {
                return Err(
                    "[replication] needs journal.durability = \"replicated\" or \"fsync\"".into(),
                );
            }
            _ => {}
        }
        if self.journal.archive_dir.is_some() && self.journal.keep_segments.is_none() {
            return Err("journal.archive_dir needs journal.keep_segments".into());
        }
        let ports = [Some(self.net.order_entry), self.net.order_entry_b];
        if self.venue.allow_untagged && ports.iter().flatten().any(|p| !p.ip().is_loopback()) {
            return Err("venue.allow_untagged needs order ports on loopback".into());
        }
        self.check_backend()?;
        self.check_risk()?;
        self.admin.check()?;
        self.metrics.check()?;
        self.page.check()?;
        self.capacity.check()?;
        self.check_members()?;
        for o in &self.oracles {
            PublicKey::from_hex(&o.public_key)
                .map_err(|e| format!("oracle {}: public_key: {e}", o.id))?;
        }
        if self.oracles.is_empty() {
            return Err("at least one [[oracles]] is needed: without prices nothing trades".into());
        }
        let ids: Vec<u32> = self.oracles.iter().map(|o| o.id).collect();
        Panel::new(self.panel_rules(), &ids).map_err(|e| format!("oracle_panel: {e}"))?;
        if self.instruments.is_empty() {
            return Err("at least one [[instruments]] is needed".into());
        }
        let mut ids = BTreeSet::new();
        for i in &self.instruments {
            if !ids.insert(i.id) {
                return Err(format!("instrument {} is listed twice", i.id));
            }
            i.listing()?;
            if self.domain.proofs && usize::from(i.id) >= TIER_INSTRUMENTS {
                return Err(format!(
                    "instrument {} ({}): id must be below {TIER_INSTRUMENTS}, which is what the circuit's small tier proves; domain.proofs = false lists more",
                    i.id, i.symbol
                ));
            }
            let instruments = self.capacity.instruments;
            if i.id >= instruments {
                return Err(format!(
                    "instrument {} ({}): id must be below capacity.instruments, {instruments}",
                    i.id, i.symbol
                ));
            }
        }
        let lots: i64 = self.instruments.iter().map(|i| i.position_lots_max).sum();
        if lots > DOMAIN_LOTS_MAX {
            return Err(format!(
                "the position_lots_max of all instruments add up to {lots}, above {DOMAIN_LOTS_MAX}"
            ));
        }
        matcher::risk_table::check_params(&self.risk_params()).map_err(|e| format!("domain: {e}"))
    }

    fn check_members(&self) -> Result<(), String> {
        let (mut ids, mut accounts) = (BTreeSet::new(), BTreeSet::new());
        let (members, capacity_accounts) = (self.capacity.members, self.capacity.accounts);
        for m in &self.members {
            if !(1..=members).contains(&m.id) {
                return Err(format!("member {}: id must be in 1..={members}", m.id));
            }
            if !ids.insert(m.id) {
                return Err(format!("member {} stands there twice", m.id));
            }
            PublicKey::from_hex(&m.public_key)
                .map_err(|e| format!("member {}: public_key: {e}", m.id))?;
            for a in &m.accounts {
                if !(1..capacity_accounts).contains(a) {
                    return Err(format!(
                        "member {}: account {a} must be in 1..{capacity_accounts}",
                        m.id
                    ));
                }
                if !accounts.insert(*a) {
                    return Err(format!("account {a} belongs to two members"));
                }
            }
        }
        self.members
            .iter()
            .try_for_each(|m| self.check_drop_copy(m))
    }

    fn check_drop_copy(&self, m: &Member) -> Result<(), String> {
        let fail = |why: String| Err(format!("member {}: drop_copy_of: {why}", m.id));
        if !m.drop_copy_of.is_empty() && !m.accounts.is_empty() {
            return fail("who gets copies may not trade: accounts must be empty".into());
        }
        let mut seen = BTreeSet::new();
        for of in &m.drop_copy_of {
            let Some(other) = self.members.iter().find(|o| o.id == *of) else {
                return fail(format!("no member {of} is configured"));
            };
            if !other.drop_copy_of.is_empty() {
                return fail(format!("member {of} gets copies itself"));
            }
            if !seen.insert(of) {
                return fail(format!("member {of} stands there twice"));
            }
        }
        Ok(())
    }

    /// Margin and fee rules.
    #[must_use]
    pub fn risk_params(&self) -> RiskParams {
        RiskParams {
            taker_fee_ppm: self.domain.taker_fee_ppm,
            maker_fee_ppm: self.domain.maker_fee_ppm,
            ..RiskParams::default()
        }
    }

    /// When oracle reports count, and when they agree.
    #[must_use]
    pub fn panel_rules(&self) -> PanelRules {
        let (panel, stale_ms) = (&self.oracle_panel, self.domain.oracle_stale_ms);
        let majority = (self.oracles.len() / 2 + 1).min(usize::from(u8::MAX)) as u8;
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        PanelRules {
            quorum: panel.quorum.unwrap_or(majority),
            max_age_ns: ns(stale_ms),
            max_ahead_ns: ns(panel.max_ahead_ms),
            heartbeat_ns: ns(panel.heartbeat_ms.unwrap_or(stale_ms.min(1_000))),
            deviation_ppm: panel.deviation_ppm,
        }
    }

    /// The domain's record at the start of the journal.
    #[must_use]
    pub const fn domain_record(&self) -> InDomain {
        InDomain {
            delta_threshold_ppm: self.domain.delta_threshold_ppm,
            initial_extra_ppm: self.domain.initial_extra_ppm,
            settlement_interval_ns: self.domain.settlement_interval_ms * 1_000_000,
            oracle_stale_ns: self.domain.oracle_stale_ms * 1_000_000,
            orders: self.capacity.orders,
            accounts: self.capacity.accounts,
            members: self.capacity.members,
            instruments: self.capacity.instruments as u32,
        }
    }

    /// Where the venue's data are.
    #[must_use]
    pub fn data(&self) -> DataDir {
        DataDir::new(&self.venue.data_dir)
    }
}

impl Member {
    /// Its id.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        MemberId(self.id)
    }

    /// What the gate lets through in a second.
    #[must_use]
    pub const fn rates(&self) -> Rates {
        Rates {
            requests_per_second: self.orders_per_second,
            quotes_per_second: self.quotes_per_second,
        }
    }
}

/// Keeps an error of the TOML parser on one line.
fn one_line(text: &str) -> String {
    let parts = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('|'));
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
