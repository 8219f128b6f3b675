//! The processes that are measured: boxes and the bare echo. Only the one under test runs; the others are frozen, so
//! that two that poll can have the same core in turn.

use super::bed::{Bed, Port, Seat};
use super::line::Line;
use super::load::{Ground, Load};
use crate::admin::Admin;
use crate::children::{Children, Freezer, Spoken, Start};
use crate::clock::{Deadline, now_ns};
use crate::oracle::{self, ORACLE_KEY_ID};
use crate::scenario::{self, Scenario};
use crate::venue::{self, Layout};
use anyhow::{Context as _, bail, ensure};
use client::{Config, Credentials, Event, MemberId, PublicKey, SecretKey, Session, TimeNs};
use firmware::tag::SuiteSet;
use firmware::wire::session::OracleReport;
use serde_json::{Value, json};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A process must serve within this.
const START: Duration = Duration::from_secs(30);
/// A login and the first risk table must be there within this.
const OPEN: Duration = Duration::from_secs(15);
/// Deposit of each account, micro-units: fees of a long run must not use it up.
const DEPOSIT_MICRO: u64 = 100_000_000_000_000;
/// Between two oracle reports: seldom, for signing them takes a core.
const ORACLE_EVERY: Duration = Duration::from_secs(1);
/// Prices of a box that is frozen most of the time must not be stale when it goes on.
const ORACLE_STALE_MS: i64 = 600_000;
/// The longest that a session may be silent: three of these, while other processes have their slices.
const KEEP_ALIVE_MS: u32 = 10_000;
/// Requests that the gate lets through in a second: the bench finds its own limit.
const ORDERS_PER_SECOND: i64 = 1_000_000_000;
/// Id of the only member.
const MEMBER: u32 = 1;
/// Key of no one, on L1.
const OWNER: &str = "0x00000000000000000000000000000000000000d1";

/// What a network backend of hostd is called, and what its configuration needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Backend {
    /// Kernel sockets through io_uring.
    Uring,
    /// AF_XDP.
    Xdp,
    /// DPDK, on the interface by its af_packet driver.
    Dpdk,
}

impl Backend {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Uring, Self::Xdp, Self::Dpdk];

    /// Its addresses are its own: a kernel that had them too would answer for ports that it does not know.
    pub(crate) const fn has_own_addresses(self) -> bool {
        matches!(self, Self::Dpdk)
    }

    /// Its name in figures and in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Xdp => "xdp",
            Self::Dpdk => "dpdk",
        }
    }
}

/// What leaves the box when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Durability {
    /// Once its record is on disk.
    Fsync,
    /// Once its record is handed to the kernel.
    Relaxed,
}

impl Durability {
    /// Its name in figures and in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Relaxed => "relaxed",
        }
    }
}

/// Which stages of the box share a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Topology {
    /// Gateway, engine and journal on one tile, which sleeps when there is nothing to do.
    Shared,
    /// Gateway, engine and journal on tiles of their own, which spin where they have a core.
    Pinned,
}

/// Who sits where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cores {
    pub(crate) topology: Topology,
    /// The measuring client.
    pub(crate) client: usize,
    /// The tile that has the NIC, and the echo in its turn.
    pub(crate) hot: usize,
    /// The engine's and the journal's tile, where they have a core of their own.
    pub(crate) engine: Option<usize>,
    pub(crate) journal: Option<usize>,
    /// All other threads of the box, and of this program.
    pub(crate) others: Vec<usize>,
}

impl Cores {
    /// The box's part of the configuration.
    fn topology(&self) -> String {
        let hot = self.hot;
        match self.topology {
            Topology::Shared => {
                format!("[topology]\nname = \"shared\"\n[topology.cores]\nhot = {hot}\n")
            }
            Topology::Pinned => {
                let mut text =
                    format!("[topology]\nname = \"pinned\"\n[topology.cores]\ngateway = {hot}\n");
                for (tile, core) in [("engine", self.engine), ("journal", self.journal)] {
                    if let Some(core) = core {
                        text.push_str(&format!("{tile} = {core}\n"));
                    }
                }
                text
            }
        }
    }
}

/// How box and echo are configured.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) backend: Backend,
    pub(crate) durability: Durability,
    pub(crate) cores: Cores,
    /// Merged into the configuration, last.
    pub(crate) overlay: toml::Table,
}

impl Setting {
    fn adjust(&self, port: &Port, table: &mut toml::Table) {
        let (backend, durability) = (self.backend.name(), self.durability.name());
        let (topology, interface) = (self.cores.topology(), &port.interface);
        let section = match self.backend {
            Backend::Uring => String::new(),
            // Behind the driver it is the faster one on a veth.
            Backend::Xdp => {
                format!("[net.xdp]\ninterface = \"{interface}\"\nmode = \"generic\"\n")
            }
            Backend::Dpdk => {
                let (network, gateway, mac) = port.link.as_ref().map_or(("", "", ""), |l| {
                    (l.network.as_str(), l.client.as_str(), l.client_mac.as_str())
                });
                format!(
                    "[net.dpdk]\neal = [\"--no-huge\", \"--no-pci\", \"-m\", \"256\"]\n\
                     port = \"net_af_packet0,iface={interface}\"\n\
                     network = \"{network}\"\ngateway = \"{gateway}\"\n\
                     [net.dpdk.neighbours]\n\"{gateway}\" = \"{mac}\"\n"
                )
            }
        };
        let ours = format!(
            "[net]\nbackend = \"{backend}\"\n{section}\
             [journal]\ndurability = \"{durability}\"\n\
             {topology}\
             [domain]\nrisk_epoch_ms = 1000\noracle_stale_ms = {ORACLE_STALE_MS}\n"
        );
        merge(table, &ours.parse().expect("TOML as written here"));
        let members = table.get_mut("members").and_then(toml::Value::as_array_mut);
        for member in members.into_iter().flatten() {
            if let Some(member) = member.as_table_mut() {
                member.insert("orders_per_second".into(), ORDERS_PER_SECOND.into());
            }
        }
        merge(table, &self.overlay);
    }
}

/// Puts `over` into `table`, section by section; other values are replaced.
fn merge(table: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

/// What happens outside the measuring thread.
#[derive(Debug)]
enum Signal {
    Spoken(Spoken),
    Stop,
}

impl From<Spoken> for Signal {
    fn from(spoken: Spoken) -> Self {
        Self::Spoken(spoken)
    }
}

/// A process under test.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) order_entry: SocketAddrV4,
    /// None when it is not ours to freeze.
    freezer: Option<Freezer>,
}

impl Peer {
    /// One that runs elsewhere.
    pub(crate) const fn elsewhere(order_entry: SocketAddrV4) -> Self {
        Self {
            order_entry,
            freezer: None,
        }
    }
    /// Stops it until it is needed.
    pub(crate) fn freeze(&self) {
        self.freezer.into_iter().for_each(Freezer::freeze);
    }
    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.freezer.into_iter().for_each(Freezer::thaw);
    }
}

/// A box that serves, with a member that can log in.
pub(crate) struct Venue {
    pub(crate) peer: Peer,
    pub(crate) login: Login,
    /// None when it is out of reach.
    pub(crate) admin: Option<Admin>,
    _oracle: Option<Oracle>,
}

impl Venue {
    /// One that runs elsewhere.
    pub(crate) const fn elsewhere(order_entry: SocketAddrV4, login: Login) -> Self {
        Self {
            peer: Peer::elsewhere(order_entry),
            login,
            admin: None,
            _oracle: None,
        }
    }

    /// What the box says of itself, if it is in reach.
    pub(crate) fn status(&self) -> anyhow::Result<Option<Value>> {
        self.admin.as_ref().map(|a| a.get("/v1/status")).transpose()
    }
}

/// What a login takes, and what the member may trade.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) member: u32,
    pub(crate) key_file: PathBuf,
    /// 64 hex digits.
    pub(crate) venue_key: String,
    pub(crate) ground: Ground,
}

impl Login {
    /// Logs in over `line` and gives the flow of requests.
    pub(crate) fn open(&self, to: SocketAddrV4, line: &Line) -> anyhow::Result<Load> {
        let credentials = Credentials {
            member: MemberId(self.member),
            key_id: 1,
            key: SecretKey::load(&self.key_file)?,
            venue: PublicKey::from_hex(&self.venue_key)?,
            suites: SuiteSet::SAFE,
        };
        let config = Config {
            keep_alive_ms: KEEP_ALIVE_MS,
            first_report: None,
            ..Config::new(SocketAddr::V4(to), credentials)
        };
        let mut session = Session::start(config, line, TimeNs(now_ns()))?;
        let deadline = Deadline::after(OPEN);
        loop {
            match session.poll(TimeNs(now_ns())) {
                Some(Event::Established { .. }) => break,
                Some(Event::Ended(reason)) => bail!("login at {to}: {reason}"),
                _ => {}
            }
            ensure!(!deadline.passed(), "login at {to}: no answer");
            std::thread::sleep(Duration::from_micros(200));
        }
        let Ok((_, keys)) = session.hand_over() else {
            bail!("the session was closed at once");
        };
        // Ids must rise over the member's day, and so does the time.
        Ok(Load::new(keys, self.ground, now_ns() / 1_000))
    }
}

/// Signed prices, until dropped.
struct Oracle {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Oracle {
    fn start(key: SecretKey, to: SocketAddrV4, index_micro: i64) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0").context("no UDP port")?;
        socket
            .connect(to)
            .with_context(|| format!("cannot reach {to}"))?;
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            for report_no in 1.. {
                let report = OracleReport {
                    report_no,
                    timestamp: now_ns(),
                    index_micro,
                    vol0_e9: 600_000_000,
                    vol1_e9: 600_000_000,
                    vol2_e9: 600_000_000,
                    vol3_e9: 600_000_000,
                    key_id: ORACLE_KEY_ID,
                    pad1: 0,
                    signature: [0; 64],
                };
                let report = handshake::sign_oracle(&key, &report);
                // What the box does not hear, the next report says again.
                let _ = socket.send(&oracle::datagram(&report));
                if stopped.recv_timeout(ORACLE_EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.stop = None;
        // It is at its sleep, which ends with the channel.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// All processes of a run, and their files.
pub(crate) struct Rig {
    children: Children<Signal>,
    heard: Receiver<Signal>,
    root: PathBuf,
}

impl Rig {
    /// Files in `root`, programs in `bin`. Ends with an error at the first Ctrl-C that [`check`](Self::check)
    /// or a start meets.
    pub(crate) fn new(root: PathBuf, bin: PathBuf) -> anyhow::Result<Self> {
        let logs = root.join("log");
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot make {}", logs.display()))?;
        let (tx, heard) = channel();
        let stop = tx.clone();
        crate::children::on_signal(move || drop(stop.send(Signal::Stop)))?;
        Ok(Self {
            children: Children::new(bin, logs, tx),
            heard,
            root,
        })
    }

    /// Fails when a process has ended, or the user wants to stop.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.check_stop()?;
        self.children.check()
    }

    /// Fails when the user wants to stop.
    pub(crate) fn check_stop(&mut self) -> anyhow::Result<()> {
        loop {
            match self.heard.try_recv() {
                Ok(Signal::Stop) => bail!("interrupted"),
                Ok(Signal::Spoken(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn wait_ready(&mut self, name: &'static str) -> anyhow::Result<()> {
        let deadline = Deadline::after(START);
        while !deadline.passed() {
            match self.heard.recv_timeout(Duration::from_millis(20)) {
                Ok(Signal::Spoken(Spoken::Line { name: who, line }))
                    if who == name && line == "hostd: ready" =>
                {
                    return Ok(());
                }
                Ok(Signal::Stop) => bail!("interrupted"),
                _ => self.children.check()?,
            }
        }
        bail!("{name} does not serve after {} s", START.as_secs())
    }

    fn start(
        &mut self,
        name: &'static str,
        program: &str,
        command: &str,
        layout: &Layout,
        bed: &Bed,
        cores: &Cores,
    ) -> anyhow::Result<Freezer> {
        let config = layout.config().display().to_string();
        let args = [command, "--config", &config].map(str::to_owned);
        let how = Start {
            may_end: false,
            netns: bed.netns(),
            cores: &cores.others,
        };
        self.children.start(name, program, &args, how)?;
        self.wait_ready(name)?;
        self.children.freezer(name)
    }

    /// Ends a process and removes its files.
    pub(crate) fn stop(&mut self, name: &'static str) {
        self.children.stop(name);
        // A long run would otherwise keep the journals of all its boxes.
        let _ = std::fs::remove_dir_all(self.root.join(name));
    }

    /// Starts `program` as the bare echo.
    pub(crate) fn start_echo(
        &mut self,
        program: &str,
        bed: &Bed,
        setting: &Setting,
    ) -> anyhow::Result<Peer> {
        let (layout, port) = (
            self.layout("echo"),
            bed.port(Seat::Second, setting.backend)?,
        );
        venue::prepare(&scenario(), &layout, &port.addresses, |table| {
            setting.adjust(&port, table);
        })?;
        let freezer = self.start("echo", program, "echo", &layout, bed, &setting.cores)?;
        Ok(Peer {
            order_entry: port.order_entry,
            freezer: Some(freezer),
        })
    }

    fn layout(&self, name: &str) -> Layout {
        Layout {
            root: self.root.join(name),
        }
    }

    /// Starts `program` as a box called `name`, funds its member's accounts, and waits until it has a price.
    pub(crate) fn start_box(
        &mut self,
        name: &'static str,
        program: &str,
        (bed, seat): (&Bed, Seat),
        setting: &Setting,
    ) -> anyhow::Result<Venue> {
        let (layout, port, scenario) = (
            self.layout(name),
            bed.port(seat, setting.backend)?,
            scenario(),
        );
        let venue_key = venue::prepare(&scenario, &layout, &port.addresses, |table| {
            setting.adjust(&port, table);
        })?;
        let freezer = self.start(name, program, "run", &layout, bed, &setting.cores)?;
        let admin = Admin::new(layout.socket());
        let (member, listing) = (&scenario.members[0], &scenario.listings[0]);
        for (k, account) in member.accounts.iter().enumerate() {
            let body = json!([{
                "queue_index": k, "account": account, "owner": OWNER, "amount_micro": DEPOSIT_MICRO,
            }]);
            admin.post("/v1/deposits", &body, OPEN)?;
        }
        let index_micro = scenario.index.start_micro;
        let key = SecretKey::load(&layout.keys().join("oracle.key"))?;
        let oracle = Oracle::start(key, port.order_entry, index_micro)?;
        let deadline = Deadline::after(OPEN);
        while admin.get("/v1/status")?["risk_epoch"].as_u64() < Some(1) {
            ensure!(!deadline.passed(), "{name} takes no price of the oracle");
            self.check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        let tick_e9 = listing.wire_price(1);
        Ok(Venue {
            peer: Peer {
                order_entry: port.order_entry,
                freezer: Some(freezer),
            },
            login: Login {
                member: MEMBER,
                key_file: layout.keys().join(format!("member-{MEMBER}.key")),
                venue_key,
                ground: Ground {
                    accounts: [member.accounts[0], member.accounts[1]],
                    instrument: listing.id,
                    price_e9: listing.wire_price(index_micro / listing.tick_micro),
                    tick_e9,
                },
            },
            admin: Some(admin),
            _oracle: Some(oracle),
        })
    }
}

/// One perpetual, one member with two accounts.
fn scenario() -> Scenario {
    let mut s = scenario::synthetic(1, 1, 2, now_ns() / 1_000_000_000);
    s.listings.truncate(1);
    s.members.truncate(1);
    s.members[0].accounts = vec![1, 2];
    s
}

/// A member of a box that runs elsewhere, as its file says.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Credential {
    member: u32,
    key_file: PathBuf,
    venue_key: String,
    accounts: [u32; 2],
    instrument: u16,
    price: String,
    tick: String,
}

impl Login {
    /// Reads the file that names a member of a box that runs elsewhere.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let what = || format!("{}", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        let c: Credential = toml::from_str(&text).with_context(what)?;
        let e9 = |text: &str| {
            client::parse_e9(text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
        };
        let (price_e9, tick_e9) = (e9(&c.price)?, e9(&c.tick)?);
        ensure!(
            tick_e9 > 0 && price_e9 > 0 && price_e9 % tick_e9 == 0,
            "{}: the price must be positive and whole ticks",
            path.display()
        );
        Ok(Self {
            member: c.member,
            key_file: c.key_file,
            venue_key: c.venue_key,
            ground: Ground {
                accounts: c.accounts,
                instrument: c.instrument,
                price_e9,
                tick_e9,
            },
        })
    }
}
