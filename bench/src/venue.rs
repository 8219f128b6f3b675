//! The venue's configuration, keys and ports, made afresh for each run.

use crate::oracle::ORACLE_KEY_ID;
use crate::scenario::{Kind, Listing, Scenario, Venue};
use anyhow::Context as _;
use handshake::SecretKey;
use serde::Serialize;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

/// An open batch is sealed at this age: half of what a proof takes on two busy cores must not be all.
pub(crate) const BATCH_INTERVAL_MS: u64 = 8_000;
/// Name of the feed's session.
pub(crate) const FEED_SESSION: &str = "DELTA00001";

/// Files and sockets of a run. Paths are relative to the project's folder, where all processes run: a Unix
/// socket's path must stay short.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }
    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("log")
    }
    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("venue.toml")
    }
    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("admin.sock")
    }
    /// For the prover, which needs no more than it.
    pub(crate) fn l1_socket(&self) -> PathBuf {
        self.root.join("l1.sock")
    }
    pub(crate) fn deployment(&self) -> PathBuf {
        self.root.join("deployment.json")
    }
    pub(crate) fn run_file(&self) -> PathBuf {
        self.root.join("run.json")
    }
    pub(crate) fn acks(&self, worker: &str) -> PathBuf {
        self.root.join(format!("{worker}.acks"))
    }
    pub(crate) fn result(&self, worker: &str) -> PathBuf {
        self.root.join(format!("{worker}.json"))
    }
}

/// Where the venue listens and whom it sends its feed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Addresses {
    pub(crate) order_entry: String,
    pub(crate) feed_source: String,
    pub(crate) feed_requests: String,
    /// Who hears line A.
    pub(crate) feed_lines: Vec<String>,
}

/// Loopback ports that were free a moment ago.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) order_entry: u16,
    pub(crate) feed_source: u16,
    /// Re-requests of the feed.
    pub(crate) feed_requests: u16,
    pub(crate) maker_feed: u16,
    pub(crate) taker_feed: u16,
    /// The demo listens too: settlements and seals are on the feed.
    pub(crate) demo_feed: u16,
    pub(crate) l1: u16,
}

impl Ports {
    /// Asks the system for free ports; all are held at once, so they differ.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let any = ("127.0.0.1", 0);
        let udp: Vec<UdpSocket> = (0..6)
            .map(|_| UdpSocket::bind(any))
            .collect::<Result<_, _>>()
            .context("no free UDP port on loopback")?;
        let tcp = TcpListener::bind(any).context("no free TCP port on loopback")?;
        let port = |k: usize| {
            udp[k]
                .local_addr()
                .map(|a| a.port())
                .context("a socket without an address")
        };
        Ok(Self {
            order_entry: port(0)?,
            feed_source: port(1)?,
            maker_feed: port(2)?,
            taker_feed: port(3)?,
            demo_feed: port(4)?,
            feed_requests: port(5)?,
            l1: tcp
                .local_addr()
                .context("a socket without an address")?
                .port(),
        })
    }
}

impl From<&Ports> for Addresses {
    fn from(ports: &Ports) -> Self {
        Self {
            order_entry: loopback(ports.order_entry),
            feed_source: loopback(ports.feed_source),
            feed_requests: loopback(ports.feed_requests),
            feed_lines: [ports.maker_feed, ports.taker_feed, ports.demo_feed]
                .map(loopback)
                .to_vec(),
        }
    }
}

/// An address on loopback.
pub(crate) fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[derive(Serialize)]
struct Config {
    venue: VenueSection,
    net: NetSection,
    feed: FeedSection,
    journal: JournalSection,
    topology: TopologySection,
    admin: AdminSection,
    domain: DomainSection,
    risk: RiskSection,
    members: Vec<MemberSection>,
    oracles: Vec<OracleSection>,
    instruments: Vec<InstrumentSection>,
}

#[derive(Serialize)]
struct VenueSection {
    data_dir: PathBuf,
    key_file: PathBuf,
}

#[derive(Serialize)]
struct NetSection {
    backend: &'static str,
    order_entry: String,
}

#[derive(Serialize)]
struct FeedSection {
    session: &'static str,
    source: String,
    line_a: Vec<String>,
    requests: RequestsSection,
}

#[derive(Serialize)]
struct RequestsSection {
    listen: String,
}

#[derive(Serialize)]
struct JournalSection {
    durability: &'static str,
    segment_mib: u32,
}

#[derive(Serialize)]
struct TopologySection {
    name: &'static str,
}

#[derive(Serialize)]
struct AdminSection {
    dir: PathBuf,
}

#[derive(Serialize)]
struct DomainSection {
    delta_threshold_ppm: u32,
    settlement_interval_ms: u64,
    initial_extra_ppm: u32,
    taker_fee_ppm: i32,
    maker_fee_ppm: i32,
    batch_interval_ms: u64,
    risk_epoch_ms: u64,
    oracle_stale_ms: u64,
}

/// Funding every few seconds, so that a demo has some; liquidation and expiry as at a venue.
#[derive(Serialize)]
struct RiskSection {
    funding: bool,
    funding_interval_s: u64,
    funding_period_s: u64,
    impact_lots: u64,
    expiry: bool,
    liquidation: bool,
    notice_s: u64,
}

#[derive(Serialize)]
struct MemberSection {
    id: u32,
    name: String,
    public_key: String,
    accounts: Vec<u32>,
    orders_per_second: u32,
}

#[derive(Serialize)]
struct OracleSection {
    id: u32,
    public_key: String,
}

#[derive(Serialize)]
struct InstrumentSection {
    id: u16,
    symbol: String,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    strike: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_unix_s: Option<u64>,
    tick: String,
    lot: String,
    band_low: String,
    band_high: String,
    collar_ppm: u32,
    order_lots_max: i64,
    position_lots_max: i64,
    vol_slot: u8,
}

/// An integer with `digits` decimals, as the configuration wants its decimals: exact, no trailing zeros.
fn decimal(value: i64, digits: usize) -> String {
    let one = 10i64.pow(digits as u32);
    let fraction = format!("{:0digits$}", value % one);
    match fraction.trim_end_matches('0') {
        "" => (value / one).to_string(),
        rest => format!("{}.{rest}", value / one),
    }
}

impl InstrumentSection {
    fn of(l: &Listing) -> Self {
        let option = l.kind != Kind::Perpetual;
        let ticks = |t: i32| decimal(i64::from(t) * l.tick_micro, 6);
        Self {
            id: l.id,
            symbol: l.symbol.clone(),
            kind: l.kind,
            strike: option.then(|| decimal(l.strike_micro, 6)),
            expiry_unix_s: option.then_some(l.expiry_unix_s),
            tick: decimal(l.tick_micro, 6),
            lot: decimal(l.lot_e9, 9),
            band_low: ticks(l.book_base_ticks),
            band_high: ticks(l.book_base_ticks + l.book_width_ticks - 1),
            collar_ppm: l.collar_ppm,
            order_lots_max: l.order_lots_max,
            position_lots_max: l.position_lots_max,
            vol_slot: l.expiry_slot,
        }
    }
}

/// Public keys of a run, in hex.
struct PublicKeys {
    venue: String,
    oracle: String,
    members: Vec<String>,
}

fn make_keys(dir: &Path, scenario: &Scenario) -> anyhow::Result<PublicKeys> {
    let make = |name: &str| -> anyhow::Result<String> {
        Ok(SecretKey::generate_file(&dir.join(name))?
            .public()
            .to_string())
    };
    Ok(PublicKeys {
        venue: make("venue.key")?,
        oracle: make("oracle.key")?,
        members: scenario
            .members
            .iter()
            .map(|m| make(&format!("member-{}.key", m.id)))
            .collect::<Result<_, _>>()?,
    })
}

/// The configuration, for callers to change before it is written.
fn config(
    scenario: &Scenario,
    layout: &Layout,
    at: &Addresses,
    keys: &PublicKeys,
) -> anyhow::Result<toml::Table> {
    let config = Config {
        venue: VenueSection {
            data_dir: layout.data(),
            key_file: layout.keys().join("venue.key"),
        },
        net: NetSection {
            backend: "uring",
            order_entry: at.order_entry.clone(),
        },
        feed: FeedSection {
            session: FEED_SESSION,
            source: at.feed_source.clone(),
            line_a: at.feed_lines.clone(),
            requests: RequestsSection {
                listen: at.feed_requests.clone(),
            },
        },
        journal: JournalSection {
            durability: "fsync",
            segment_mib: 64,
        },
        topology: TopologySection { name: "shared" },
        admin: AdminSection {
            dir: layout.root.clone(),
        },
        domain: DomainSection {
            delta_threshold_ppm: 500,
            settlement_interval_ms: 5_000,
            initial_extra_ppm: 250_000,
            taker_fee_ppm: 300,
            maker_fee_ppm: -100,
            batch_interval_ms: BATCH_INTERVAL_MS,
            risk_epoch_ms: 250,
            oracle_stale_ms: 5_000,
        },
        risk: RiskSection {
            funding: true,
            funding_interval_s: 10,
            funding_period_s: 3_600,
            impact_lots: 1,
            expiry: true,
            liquidation: true,
            notice_s: 0,
        },
        members: scenario
            .members
            .iter()
            .zip(&keys.members)
            .map(|(m, key)| MemberSection {
                id: m.id,
                name: m.name.clone(),
                public_key: key.clone(),
                accounts: m.accounts.clone(),
                orders_per_second: 20_000,
            })
            .collect(),
        oracles: vec![OracleSection {
            id: ORACLE_KEY_ID,
            public_key: keys.oracle.clone(),
        }],
        instruments: scenario
            .listings
            .iter()
            .map(InstrumentSection::of)
            .collect(),
    };
    toml::Table::try_from(&config).context("the configuration cannot be written as TOML")
}

/// Makes keys and configuration in the run's folder and tells the venue's public key. `adjust` has the last word
/// on the configuration.
pub(crate) fn prepare(
    scenario: &Scenario,
    layout: &Layout,
    at: &Addresses,
    adjust: impl FnOnce(&mut toml::Table),
) -> anyhow::Result<String> {
    for dir in [layout.data(), layout.keys(), layout.logs()] {
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let keys = make_keys(&layout.keys(), scenario)?;
    let mut table = config(scenario, layout, at, &keys)?;
    adjust(&mut table);
    let path = layout.config();
    std::fs::write(&path, table.to_string())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(keys.venue)
}

/// [`prepare`] on loopback, as `bench demo` has it, and what its workers must know.
pub(crate) fn prepare_on_loopback(
    scenario: &Scenario,
    layout: &Layout,
    ports: &Ports,
) -> anyhow::Result<Venue> {
    let public_key = prepare(scenario, layout, &Addresses::from(ports), |_| {})?;
    Ok(Venue {
        order_entry: loopback(ports.order_entry),
        feed_requests: loopback(ports.feed_requests),
        maker_feed: loopback(ports.maker_feed),
        taker_feed: loopback(ports.taker_feed),
        feed_session: FEED_SESSION.to_owned(),
        public_key,
        keys: layout.keys(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_short() {
        assert_eq!(decimal(100_000, 6), "0.1");
        assert_eq!(decimal(58_000_000_000, 6), "58000");
        assert_eq!(decimal(1_000_000, 9), "0.001");
        assert_eq!(decimal(1, 6), "0.000001");
    }

    #[test]
    fn the_configuration_has_the_sections_and_decimals_that_the_venue_reads() {
        let scenario = crate::scenario::synthetic(1, 30, 4, 1_700_000_000);
        let layout = Layout {
            root: ".demo/x".into(),
        };
        let ports = Ports {
            order_entry: 1,
            feed_source: 2,
            feed_requests: 7,
            maker_feed: 3,
            taker_feed: 4,
            demo_feed: 5,
            l1: 6,
        };
        let keys = PublicKeys {
            venue: "aa".into(),
            oracle: "bb".into(),
            members: vec!["cc".into(); 4],
        };
        let table =
            config(&scenario, &layout, &Addresses::from(&ports), &keys).expect("plain data");
        assert_eq!(table["feed"]["line_a"][2].as_str(), Some("127.0.0.1:5"));
        assert_eq!(table["journal"]["durability"].as_str(), Some("fsync"));
        assert_eq!(table["members"].as_array().map(Vec::len), Some(4));
        let perpetual = &table["instruments"][0];
        assert_eq!(perpetual["tick"].as_str(), Some("0.1"));
        assert_eq!(
            (
                perpetual["band_low"].as_str(),
                perpetual["band_high"].as_str()
            ),
            (Some("30000"), Some("89999.9"))
        );
        assert!(perpetual.get("strike").is_none());
        assert_eq!(table["instruments"][1]["strike"].as_str(), Some("58000"));
        assert_eq!(table["instruments"][6]["vol_slot"].as_integer(), Some(1));
    }

    #[test]
    fn keys_and_configuration_land_in_the_folder_of_the_run() {
        let dir = tempfile::tempdir().expect("a folder");
        let scenario = crate::scenario::synthetic(1, 30, 2, 1_700_000_000);
        let layout = Layout {
            root: dir.path().join("run"),
        };
        let ports = Ports::find().expect("free ports");
        let venue = prepare_on_loopback(&scenario, &layout, &ports).expect("a writable folder");
        let text = std::fs::read_to_string(layout.config()).expect("written");
        assert!(
            text.contains(
                &SecretKey::load(&layout.keys().join("member-2.key"))
                    .expect("made")
                    .public()
                    .to_string()
            )
        );
        assert_eq!(venue.public_key.len(), 64);
    }
}
