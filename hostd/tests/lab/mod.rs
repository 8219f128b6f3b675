//! A venue without sockets, threads or sleep: the real gateway, engine, spool tile and login desk, driven step by step, with
//! a network between them and real client sessions that loses, repeats, reorders and spoils datagrams by seed.
//!
//! Time moves a millisecond a step. What the hot tile hands to the journal becomes durable some steps later; a crash
//! keeps what was durable and nothing else.

// Each test binary uses a part of it.
#![allow(dead_code)]

#[path = "../hot_tiles/mod.rs"]
pub(crate) mod hot_tiles;
pub(crate) mod raw;
#[path = "../wires/mod.rs"]
pub(crate) mod wires;

use client::{Config, Credentials, EndReason, Event, MemberId, Report, Request, Sent, Session};
use firmware::gate::Rates;
use firmware::limits::DATAGRAM_MAX;
use firmware::session::read_control;
use firmware::tag::SuiteSet;
use firmware::units::TimeNs;
use firmware::wire::input::{InDeposit, InOracle};
use firmware::wire::journal::RecordHeader;
use firmware::wire::session::SessionMessage;
use handshake::{SecretKey, VenueLogin};
use hostd::config::Config as VenueConfig;
use hostd::feed::FeedPacket;
use hostd::machine::clock::Clock;
pub(crate) use hostd::nic::sim::{Faults, Rng};
use hostd::nic::sim::{SimNet, SimNic, SimPeer};
use hostd::nic::{Endpoint, Nic, NicCounters, RxBurst, TxFull};
use hostd::storage::recover::missing;
use hostd::tiles::control::ControlLanes;
use hostd::tiles::core::Core;
use hostd::tiles::egress::{FeedEgress, ORDERS, ORDERS_B};
use hostd::tiles::engine::HighWater;
use hostd::tiles::lanes::{FromGateway, SpoolBody, ToEngine, ToJournal};
use hostd::tiles::logins::LoginDesk;
use hostd::tiles::meters::{LaneCounts, LaneReader};
use hostd::tiles::spool::{SpoolFiles, SpoolTile};
use hostd::tiles::topology::TopologyName;
use hostd::tiles::wiring::{HIGH_WATER, JournalEnds, SpoolEnds, Wiring};
use hot_tiles::{HotTiles, Parts};
use journal::{ChainAt, RecordView};
use lane::{Consumer, Parker};
use matcher::risk_table::{VolInput, build_table};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use wires::OrderWire;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const START: TimeNs = TimeNs(1_800_000_000_000_000_000);
const INDEX_MICRO: i64 = 100_000_000_000;

thread_local! {
    /// Gateway or engine is at work, and not within the NIC: what takes memory now is theirs.
    pub(crate) static IN_TILE: Cell<bool> = const { Cell::new(false) };
}

/// Work of the network, whoever called it.
fn in_network<T>(work: impl FnOnce() -> T) -> T {
    let was = IN_TILE.replace(false);
    let result = work();
    IN_TILE.set(was);
    result
}

/// The venue's NIC: what it does is the network's work.
pub(crate) struct LabNic(SimNic);

impl Nic for LabNic {
    fn poll(&mut self, rx: &mut RxBurst) -> io::Result<usize> {
        in_network(|| self.0.poll(rx))
    }

    fn send(&mut self, socket: usize, to: Endpoint, payload: &[u8]) -> Result<(), TxFull> {
        in_network(|| self.0.send(socket, to, payload))
    }

    fn flush(&mut self) {
        in_network(|| self.0.flush());
    }

    fn wait(&mut self, tile: &Parker, timeout: Duration) -> io::Result<()> {
        self.0.wait(tile, timeout)
    }

    fn counters(&self) -> &NicCounters {
        self.0.counters()
    }
}

/// The venue's clock.
#[derive(Clone)]
pub(crate) struct LabClock(Rc<Cell<TimeNs>>);

impl Clock for LabClock {
    fn now(&mut self) -> TimeNs {
        self.0.get()
    }
}

/// A record of the journal.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) header: RecordHeader,
    /// Aligned, as a reader hands it out.
    body: Vec<u64>,
    len: usize,
}

impl Stored {
    pub(crate) fn body(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.body)[..self.len]
    }
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) fn member_key(member: u32) -> SecretKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&member.to_le_bytes());
    SecretKey::from_seed(&seed)
}

fn venue_config() -> VenueConfig {
    let hex = key(1).public().to_bytes();
    let hex: String = hex.iter().map(|b| format!("{b:02x}")).collect();
    VenueConfig::parse(&include_str!("../example.toml").replace("PUBLIC_KEY", &hex)).unwrap()
}

/// The core after `records`; `follow` sees it after each.
fn replay(
    config: &VenueConfig,
    members: u32,
    records: &[Stored],
    mut follow: impl FnMut(&Core),
) -> Core {
    let mut core = Core::new(&config.capacity);
    let rates = Rates {
        requests_per_second: 1_000_000,
        quotes_per_second: 1_000_000,
    };
    (1..=members).for_each(|m| core.add_member(MemberId(m), rates));
    for r in records {
        let view = RecordView {
            header: r.header,
            body: bytemuck::cast_slice(&r.body),
            chain: ChainAt::default(),
        };
        core.replay(&view).unwrap();
        follow(&core);
    }
    core
}

/// Where gateway and engine run, and from which marks on new risk is refused.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) topology: TopologyName,
    pub(crate) high_water: HighWater,
}

/// The venue's process: what a crash takes away.
pub(crate) struct Venue {
    pub(crate) tile: HotTiles<LabNic, LabClock, journal::FileDisk>,
    pub(crate) spool: SpoolTile,
    pub(crate) logins: LoginDesk,
    pub(crate) control: ControlLanes,
    pub(crate) journal: JournalEnds,
    lanes: Vec<(&'static str, LaneReader)>,
    packets: Consumer<FeedPacket>,
    /// All records; those beyond `durable` are lost in a crash.
    pub(crate) records: Vec<Stored>,
    pub(crate) control_in: u64,
    /// First bytes of a long record.
    part: Vec<u8>,
}

impl Venue {
    /// Boots out of `records`.
    pub(crate) fn boot(
        place: Place,
        net: &SimNet,
        clock: &Rc<Cell<TimeNs>>,
        records: Vec<Stored>,
        members: u32,
        dir: &std::path::Path,
        locked: BTreeSet<MemberId>,
    ) -> Self {
        let mut config = venue_config();
        config.capacity.members = config.capacity.members.max(members);
        let mut files = SpoolFiles::create(dir).unwrap();
        let core = replay(&config, members, &records, |core| {
            for (member, report) in core.told() {
                files.append(member, report).unwrap();
            }
        });
        let listing = missing(&config, &core).unwrap();
        let mut login = VenueLogin::new(key(9), SuiteSet::SAFE);
        (1..=members).for_each(|m| login.register(MemberId(m), 1, member_key(m).public()));
        let Wiring {
            gateway,
            engine,
            spool_link,
            packets: (packets_in, packets_meter),
            hot,
            journal,
            spool,
            feed: packets,
            control,
            lanes,
        } = Wiring::new(place.topology, records.len() as u64).unwrap();
        let feed = FeedEgress::new(
            *b"LAB0000001",
            vec![],
            1_000_000_000,
            (packets_in, packets_meter),
            core.next_feed,
            config.capacity.orders as usize,
        );
        // The process before is gone, and so are its sockets.
        VENUE_SOCKETS.iter().for_each(|local| net.close(*local));
        let nic = LabNic(SimNic::open(net, &VENUE_SOCKETS).unwrap());
        let parts = Parts {
            hot,
            gateway,
            engine,
            spool_link,
            feed,
            batch_interval_ns: 3_600_000_000_000,
            high_water: place.high_water,
        };
        // The lab takes the records itself.
        let (mut tile, _) = HotTiles::new(nic, LabClock(clock.clone()), core, None, parts);
        tile.open_day(&listing);
        let is_new = records.is_empty();
        let SpoolEnds {
            lane,
            answers,
            parker,
            hot,
        } = spool;
        let mut venue = Self {
            tile,
            spool: SpoolTile {
                files,
                lane,
                answers,
                parker,
                hot,
            },
            logins: LoginDesk::new(login, locked),
            control,
            journal,
            lanes,
            packets,
            records,
            control_in: 0,
            part: Vec::new(),
        };
        if is_new {
            venue.open_market(&config, clock.get());
        }
        venue
    }

    /// Funds the accounts and prices the instruments.
    fn open_market(&mut self, config: &VenueConfig, now: TimeNs) {
        for account in 1..=3 {
            let deposit = InDeposit {
                queue_index: u64::from(account) - 1,
                amount: 1_000_000_000_000,
                account,
                owner: [account as u8; 20],
                key: [0; 32],
            };
            assert!(
                self.control
                    .to_engine
                    .push(ToEngine::Deposit(deposit))
                    .is_ok()
            );
        }
        let specs: Vec<_> = config
            .instruments
            .iter()
            .map(|i| hostd::config::spec(&i.listing().unwrap()))
            .collect();
        let vol = VolInput::flat(600_000_000);
        let params = config.risk_params();
        let table = build_table(1, now, INDEX_MICRO, &vol, &params, &specs).unwrap();
        assert!(
            self.control
                .to_engine
                .push(ToEngine::RiskTable(table))
                .is_ok()
        );
    }

    pub(crate) fn turn(&mut self) {
        IN_TILE.set(true);
        self.tile.turn().unwrap();
        IN_TILE.set(false);
        while let Some(packet) = self.packets.pop() {
            assert!(!packet.bytes().is_empty());
        }
        let c = &mut self.control;
        while c.samples.pop().is_some()
            || c.engine_snapshots.pop().is_some()
            || c.gateway_snapshots.pop().is_some()
        {}
    }

    /// Takes records off the lane, as the journal tile does before a write.
    pub(crate) fn take_records(&mut self) {
        while let Some(item) = self.journal.lane.pop() {
            let (head, last) = match &item {
                ToJournal::Part(body) => {
                    self.part.extend_from_slice(body);
                    continue;
                }
                ToJournal::Record { head, len, body } => (*head, &body[..*len as usize]),
                ToJournal::RiskTable(head, table) => (*head, table.bytes()),
                ToJournal::Sealed(_) => continue,
            };
            let bytes = [&self.part, last].concat();
            self.part.clear();
            let mut body = vec![0_u64; bytes.len().div_ceil(8)];
            bytemuck::cast_slice_mut(&mut body)[..bytes.len()].copy_from_slice(&bytes);
            assert_eq!(
                head.seq,
                self.records.len() as u64 + 1,
                "records have no gaps"
            );
            self.records.push(Stored {
                header: RecordHeader {
                    seq: head.seq,
                    time_ns: head.time_ns,
                    template: head.template,
                    session: head.session,
                    ..RecordHeader::default()
                },
                body,
                len: bytes.len(),
            });
        }
    }

    /// The write is done.
    pub(crate) fn make_durable(&mut self) {
        self.journal.durable.raise(self.records.len() as u64);
    }

    /// What a lane shows of itself.
    pub(crate) fn lane(&self, name: &str) -> LaneCounts {
        let lane = self.lanes.iter().find(|(n, _)| *n == name);
        lane.unwrap().1.get()
    }

    pub(crate) fn durable(&self) -> u64 {
        self.journal.durable.reader().get()
    }

    fn answer_control(&mut self, now: TimeNs) {
        while self.control.from_engine.pop().is_some() {}
        while let Some(message) = self.control.from_gateway.pop() {
            if let FromGateway::Control(d) = message {
                self.control_in += 1;
                if let Ok(SessionMessage::Negotiate(m)) = read_control(d.payload()) {
                    let lane = &mut self.control.to_gateway;
                    self.logins.on_negotiate(&m, d.peer, now, lane);
                }
            }
        }
    }

    /// All reports of a member, as the spool has them.
    pub(crate) fn reports(&mut self, member: MemberId) -> Vec<Report> {
        while self.spool.turn().unwrap() > 0 {}
        let (mut all, count) = (Vec::new(), self.spool.files.count(member));
        let mut body = SpoolBody::new();
        while (all.len() as u64) < count {
            let from = all.len() as u64 + 1;
            let n = (self.spool.files)
                .read(member, from, u64::MAX, u64::MAX, &mut body)
                .unwrap();
            assert!(n > 0);
            let messages = firmware::wire::datagram::messages(body.bytes());
            all.extend(messages.map(|m| Report::decode(m.unwrap()).unwrap()));
        }
        all
    }
}

/// A member's program, and what it was told.
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) session: Session<OrderWire>,
    pub(crate) reports: Vec<Report>,
    pub(crate) sent: BTreeMap<u64, Request>,
    pub(crate) lost: BTreeMap<u64, Sent>,
    pub(crate) opened: u32,
    pub(crate) ended: Vec<EndReason>,
    /// It does nothing, as a program that hangs.
    pub(crate) is_silent: bool,
}

impl Member {
    fn poll(&mut self, now: TimeNs) {
        if self.is_silent {
            return;
        }
        while let Some(event) = self.session.poll(now) {
            match event {
                Event::Report { seq, report } => {
                    self.reports.push(report);
                    assert_eq!(seq, self.reports.len() as u64, "in order, once");
                }
                Event::NotApplied {
                    client_seq,
                    request,
                } => {
                    let before = self.lost.insert(client_seq, request);
                    assert!(before.is_none(), "{client_seq} told twice");
                }
                Event::Established { .. } => self.opened += 1,
                Event::Ended(reason) => self.ended.push(reason),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn send(&mut self, request: impl Into<Request>) -> u64 {
        let request = request.into();
        let seq = self.session.send(&request).unwrap();
        assert!(self.sent.insert(seq, request).is_none());
        seq
    }
}

pub(crate) struct Lab {
    pub(crate) clock: Rc<Cell<TimeNs>>,
    pub(crate) net: SimNet,
    /// Clients' sockets: programs of a member share them.
    peers: RefCell<BTreeMap<Endpoint, SimPeer>>,
    pub(crate) venue: Venue,
    pub(crate) members: Vec<Member>,
    pub(crate) rng: Rng,
    pub(crate) locked: BTreeSet<MemberId>,
    /// Percent of steps in which what is under way becomes durable.
    pub(crate) durable_percent: u64,
    /// Percent of steps in which the spool tile runs.
    pub(crate) spool_percent: u64,
    pub(crate) place: Place,
    registered: u32,
    dir: tempfile::TempDir,
}

pub(crate) fn address(member: u32, path: u8) -> Endpoint {
    Endpoint::new(
        Ipv4Addr::new(10, path, (member >> 8) as u8, member as u8),
        4_000,
    )
}

/// The venue's sockets, in the order of [`ORDERS`], feed and [`ORDERS_B`].
const VENUE_SOCKETS: [Endpoint; 3] = [
    Endpoint::new(Ipv4Addr::new(192, 0, 2, 1), 4_000),
    Endpoint::new(Ipv4Addr::new(192, 0, 2, 1), 4_001),
    Endpoint::new(Ipv4Addr::new(192, 0, 2, 1), 4_007),
];

pub(crate) fn venue_address() -> SocketAddr {
    VENUE_SOCKETS[ORDERS].into()
}

impl Lab {
    /// A venue with so many registered members, none of them logged in, and a network without faults.
    pub(crate) fn new(seed: u64, registered: u32) -> Self {
        Self::on(TopologyName::Shared, seed, registered)
    }

    /// The same, on this topology.
    pub(crate) fn on(topology: TopologyName, seed: u64, registered: u32) -> Self {
        let high_water = HIGH_WATER;
        let place = Place {
            topology,
            high_water,
        };
        Self::at(place, seed, registered)
    }

    pub(crate) fn at(place: Place, seed: u64, registered: u32) -> Self {
        let clock = Rc::new(Cell::new(START));
        let net = SimNet::new(seed, START);
        let dir = tempfile::tempdir().unwrap();
        let venue = Venue::boot(
            place,
            &net,
            &clock,
            vec![],
            registered,
            &dir.path().join("0"),
            BTreeSet::new(),
        );
        Self {
            clock,
            net,
            peers: RefCell::default(),
            venue,
            members: Vec::new(),
            rng: Rng(seed ^ 4),
            locked: BTreeSet::new(),
            durable_percent: 100,
            spool_percent: 100,
            place,
            registered,
            dir,
        }
    }

    pub(crate) fn now(&self) -> TimeNs {
        self.clock.get()
    }

    pub(crate) fn config(member: u32) -> Config {
        let credentials = Credentials {
            member: MemberId(member),
            key_id: 1,
            key: member_key(member),
            venue: key(9).public(),
            suites: SuiteSet::SAFE,
        };
        let mut config = Config::new(venue_address(), credentials);
        config.keep_alive_ms = 100;
        config
    }

    /// A program of a member begins to log in; its place in `members`.
    pub(crate) fn start(&mut self, config: Config, both: bool) -> usize {
        let id = config.credentials.member;
        let end = OrderWire {
            own: [0, 1].map(|path| self.peer(address(id.0, path))),
            venue: [VENUE_SOCKETS[ORDERS], VENUE_SOCKETS[ORDERS_B]],
            both,
        };
        self.members.push(Member {
            id,
            session: Session::start(config, end, self.now()).unwrap(),
            reports: Vec::new(),
            sent: BTreeMap::new(),
            lost: BTreeMap::new(),
            opened: 0,
            ended: Vec::new(),
            is_silent: false,
        });
        self.members.len() - 1
    }

    pub(crate) fn open(&mut self, config: Config, both: bool) -> usize {
        let at = self.start(config, both);
        self.run_until("established", |l| l.members[at].session.is_open());
        at
    }

    /// The socket at a client's address.
    pub(crate) fn peer(&self, address: Endpoint) -> SimPeer {
        let open = || SimPeer::open(&self.net, &[address]).unwrap();
        let mut peers = self.peers.borrow_mut();
        peers.entry(address).or_insert_with(open).clone()
    }

    /// Faults of both order ports.
    pub(crate) fn faults(&self, faults: Faults) {
        self.faults_of(ORDERS, faults);
        self.faults_of(ORDERS_B, faults);
    }

    /// Faults of one order port.
    pub(crate) fn faults_of(&self, socket: usize, faults: Faults) {
        self.net.set_faults_at(VENUE_SOCKETS[socket], faults);
    }

    /// Sends from a client's address to an order port.
    pub(crate) fn send_up(&self, socket: usize, from: Endpoint, bytes: &[u8]) {
        self.peer(from).send(0, VENUE_SOCKETS[socket], bytes);
    }

    /// What has arrived at a client's address.
    pub(crate) fn take_down(&self, at: Endpoint) -> Option<Vec<u8>> {
        let mut buf = [0; DATAGRAM_MAX];
        let received = self.peer(at).receive(&mut buf)?;
        Some(buf[..received.len].to_vec())
    }

    /// One millisecond.
    pub(crate) fn step(&mut self) {
        let now = TimeNs(self.now().0 + MS);
        self.clock.set(now);
        self.net.advance_to(now);
        // Fresh prices, as an oracle would send them.
        if (now.0 - START.0).is_multiple_of(1_000 * MS) || now.0 == START.0 + MS {
            let report = InOracle {
                report_no: now.0,
                timestamp: now.0,
                index_micro: INDEX_MICRO,
                key_id: 1,
                ..bytemuck::Zeroable::zeroed()
            };
            let _ = self.venue.control.to_engine.push(ToEngine::Oracle(report));
        }
        for _ in 0..2 {
            self.venue.turn();
            self.venue.answer_control(now);
            if self.rng.percent(self.spool_percent) {
                self.venue.spool.turn().unwrap();
            }
            if self.rng.percent(self.durable_percent) {
                self.venue.take_records();
                self.venue.make_durable();
            }
        }
        self.members.iter_mut().for_each(|m| m.poll(now));
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.step());
    }

    pub(crate) fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..60_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("not within a minute: {what}");
    }

    /// The venue's process ends without a word and starts again from what was durable.
    pub(crate) fn crash(&mut self) {
        let durable = self.venue.durable() as usize;
        let mut records = std::mem::take(&mut self.venue.records);
        records.truncate(durable);
        let dir = self.dir.path().join(self.now().0.to_string());
        let locked = self.locked.clone();
        self.venue = Venue::boot(
            self.place,
            &self.net,
            &self.clock,
            records,
            self.registered,
            &dir,
            locked,
        );
    }

    /// State after a replay of all records.
    pub(crate) fn replayed_hash(&mut self) -> [u8; 32] {
        self.venue.take_records();
        let mut config = venue_config();
        config.capacity.members = config.capacity.members.max(self.registered);
        let core = replay(&config, self.registered, &self.venue.records, |_| {});
        core.engine.state_hash()
    }

    /// Until each member's requests are settled and each report has come.
    pub(crate) fn settle(&mut self) {
        self.run_until("all settled", |l| {
            l.members.iter().all(|m| {
                let flow = l.venue.tile.core().members[m.id.0 as usize]
                    .as_ref()
                    .unwrap();
                m.session.pending().next().is_none()
                    && m.reports.len() as u64 + 1 == flow.next_report
            })
        });
    }

    /// Records of a member, oldest first.
    pub(crate) fn records(&self, member: MemberId) -> impl Iterator<Item = &Stored> {
        let all = self.venue.records.iter();
        all.filter(move |r| r.header.session == member.0)
    }

    /// Venue, journal and clients agree on every request and every report.
    pub(crate) fn check(&mut self) {
        self.venue.take_records();
        for i in 0..self.members.len() {
            let id = self.members[i].id;
            // What the gateway keeps of a member is what the journal says.
            let flow = self.venue.tile.flows().get(id).unwrap();
            let in_core = self.venue.tile.core().members[id.0 as usize]
                .as_ref()
                .unwrap();
            assert_eq!(flow.inbound.expected(), in_core.next_request, "{id:?}");
            assert_eq!(flow.reports.next(), in_core.next_report, "{id:?}");
            let (applied, dead) = self.numbers(id);
            let told = self.venue.reports(id);
            let m = &self.members[i];
            assert_eq!(m.reports, told, "{id:?}");
            let lost: BTreeSet<u64> = m.lost.keys().copied().collect();
            assert_eq!(lost, dead, "{id:?}");
            let sent: BTreeSet<u64> = m.sent.keys().copied().collect();
            let all: BTreeSet<u64> = applied.union(&dead).copied().collect();
            assert_eq!(all, sent, "{id:?}: each request is applied or dead");
            assert_eq!(
                all.len(),
                applied.len() + dead.len(),
                "{id:?}: and not both"
            );
        }
    }

    /// Numbers of a member's requests that the journal holds as applied, and as dead.
    pub(crate) fn numbers(&self, member: MemberId) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let (mut applied, mut dead) = (BTreeSet::new(), BTreeSet::new());
        for r in self.records(member) {
            let word = |at: usize| u64::from_le_bytes(*r.body()[at..].first_chunk().unwrap());
            match r.header.template {
                // Requests and refusals begin with the time and the number.
                600..=620 => assert!(applied.insert(word(8)), "{} applied twice", word(8)),
                621 => {
                    for n in word(0)..word(0) + word(8) {
                        assert!(dead.insert(n), "{n} dead twice");
                    }
                }
                _ => {}
            }
        }
        (applied, dead)
    }

    /// Events of a member's sessions in the journal: event and session id.
    pub(crate) fn session_events(&self, member: MemberId) -> Vec<(u8, u64)> {
        self.records(member)
            .filter(|r| r.header.template == 622)
            .map(|r| {
                (
                    r.body()[8],
                    u64::from_le_bytes(*r.body().first_chunk().unwrap()),
                )
            })
            .collect()
    }
}
