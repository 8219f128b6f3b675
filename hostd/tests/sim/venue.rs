//! The box: every tile of the daemon, wired as the daemon wires them, on one thread.

use crate::hot_tiles::{HotTiles, Parts};
use crate::invariant::hold;
use crate::options::{MS, START};
use crate::standby::{Link, Standby};
use crate::tally::Tally;
use crate::watched::Watched;
use crate::wires::FeedPlaces;
use client::{MemberId, Report};
use firmware::tag::SuiteSet;
use firmware::units::TimeNs;
use firmware::wire::feed::FeedMessage;
use handshake::{PublicKey, SecretKey, VenueLogin};
use hostd::config::Config;
use hostd::feed::{Desk as FeedDesk, FeedCounters, FeedDay, FeedTile};
use hostd::machine::clock::Clock;
use hostd::nic::sim::{SimNet, SimNic};
use hostd::nic::{Endpoint, RxBurst};
use hostd::ops::admin::AdminRequest;
use hostd::ops::operator::Roll;
use hostd::ops::status::Stages;
use hostd::replication::Tee;
use hostd::storage::recover::{missing, recover};
use hostd::tiles::control::{ControlTile, Desk as ControlDesk};
use hostd::tiles::core::Core;
use hostd::tiles::egress::FeedEgress;
use hostd::tiles::engine::HighWater;
use hostd::tiles::journal_tile::{JournalStage, JournalStats, SealTile, Taken};
use hostd::tiles::logins::LoginDesk;
use hostd::tiles::meters::{Machine, TileMeter};
use hostd::tiles::oracle_desk::OracleDesk;
use hostd::tiles::spool::{SpoolFiles, SpoolTile};
use hostd::tiles::tile::{Pace, Wait};
use hostd::tiles::topology::TopologyName;
use hostd::tiles::wiring::Wiring;
use journal::faults::{FaultDisk, Medium};
use journal::{GroupCommit, JournalDir, Tail};
use lane::Parker;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const fn at(port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::LOCALHOST, port)
}

/// Order port A, source of the feed, order port B: the hot tile's.
pub(crate) const SOCKETS: [Endpoint; 3] = [at(4_000), at(4_001), at(4_007)];
/// The lines' destinations are groups here.
pub(crate) const PLACES: FeedPlaces = FeedPlaces {
    groups: [at(4_002), at(4_003), at(4_005), at(4_006)],
    server: at(4_004),
};
/// Largest group commit: smaller than the daemon's, so that segments can be small.
const BATCH_BYTES: usize = 64 << 10;

/// Members and their accounts; the last one gets copies of the first two.
pub(crate) const MEMBERS: [(u32, &[u32]); 5] =
    [(1, &[1, 2]), (2, &[3]), (3, &[4]), (4, &[5]), (5, &[])];
pub(crate) const DROP_COPY: u32 = 5;
/// Requests a second of a member whose rate is low.
pub(crate) const THROTTLED: (u32, u32) = (4, 30);

pub(crate) fn member_key(member: u32) -> SecretKey {
    SecretKey::from_seed(&[member as u8; 32])
}

pub(crate) fn venue_key() -> SecretKey {
    SecretKey::from_seed(&[99; 32])
}

pub(crate) fn oracle_key() -> SecretKey {
    SecretKey::from_seed(&[77; 32])
}

fn hex(key: &SecretKey) -> String {
    let bytes = key.public().to_bytes();
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The example's configuration with short intervals, other members, and few places.
pub(crate) fn config(dir: &Path) -> Config {
    let example = include_str!("../example.toml");
    let (head, tail) = (
        example.split("[[members]]").next().unwrap(),
        example.split("[[instruments]]").skip(1),
    );
    let mut text = head.to_owned();
    for (from, to) in [
        (
            "data_dir = \"run\"",
            format!("data_dir = \"{}\"", dir.display()),
        ),
        (
            "settlement_interval_ms = 5000",
            "settlement_interval_ms = 700".into(),
        ),
        ("batch_interval_ms = 6000", "batch_interval_ms = 400".into()),
        ("risk_epoch_ms = 250", "risk_epoch_ms = 40".into()),
        ("oracle_stale_ms = 5000", "oracle_stale_ms = 300".into()),
        ("heartbeat_ms = 1000", "heartbeat_ms = 100".into()),
        ("\"127.0.0.0/8\"", "\"10.0.0.0/8\"".into()),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, &to);
    }
    text += "[capacity]\norders = 256\naccounts = 64\nmembers = 16\n";
    for (id, accounts) in MEMBERS {
        let rate = if id == THROTTLED.0 {
            THROTTLED.1
        } else {
            100_000
        };
        text += &format!(
            "[[members]]\nid = {id}\nname = \"m{id}\"\npublic_key = \"{}\"\naccounts = {accounts:?}\norders_per_second = {rate}\n",
            hex(&member_key(id)),
        );
        if id == DROP_COPY {
            text += "drop_copy_of = [1, 2]\n";
        }
    }
    text += &format!(
        "[[oracles]]\nid = 1\npublic_key = \"{}\"\n",
        hex(&oracle_key())
    );
    for instrument in tail {
        text += "[[instruments]]";
        text += instrument;
    }
    Config::parse(&text).unwrap()
}

/// The time of all tiles.
#[derive(Clone)]
pub(crate) struct SimClock(pub(crate) Rc<Cell<TimeNs>>);

impl Clock for SimClock {
    fn now(&mut self) -> TimeNs {
        self.0.get()
    }
}

/// What a recovered journal says.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) reports: BTreeMap<u32, Vec<Report>>,
    /// Record and message.
    pub(crate) feed: Vec<(u64, FeedMessage)>,
}

/// What outlives the box's process.
pub(crate) struct World {
    pub(crate) net: SimNet,
    pub(crate) clock: Rc<Cell<TimeNs>>,
    pub(crate) medium: Medium,
    /// The other box.
    pub(crate) standby: Option<Standby>,
    /// Removed with the rest.
    pub(crate) _dir: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) segment_kib: u64,
    pub(crate) topology: TopologyName,
    pub(crate) high_water: HighWater,
    pub(crate) tally: Tally,
}

impl World {
    /// Replays what is on disk, as a start does; damage or a contradiction is a violation.
    pub(crate) fn recover(
        &self,
    ) -> (
        hostd::storage::recover::Recovered,
        History,
        SpoolFiles,
        FeedDay,
    ) {
        let config = &self.config;
        let mut core = Core::new(&config.capacity);
        for m in &config.members {
            core.add_member(m.member(), m.rates());
        }
        let mut files = SpoolFiles::create(&config.data().spool()).unwrap();
        let mut day = FeedDay::begin(&config.data().feed(), config.capacity.orders).unwrap();
        let mut history = History::default();
        let batches = config.data().batches();
        let follow = |core: &Core| {
            for (member, report) in core.told() {
                files.append(member, report)?;
                history.reports.entry(member.0).or_default().push(*report);
            }
            for outcome in core.outbox.outcomes() {
                if let matcher::outbox::Outcome::Feed(message) = outcome {
                    let seq = core.engine.last_seq().0;
                    history.feed.push((seq, *message));
                }
            }
            day.replay(&core.outbox)
        };
        let recovered = recover(
            &config.data().journal(),
            core,
            &hostd::storage::snapshot::genesis(),
            None,
            Some(&batches),
            follow,
        );
        let recovered = recovered.unwrap_or_else(|e| {
            let text = format!("{e:#}");
            let differs = text.contains("differs from what the journal says");
            hold!(SameBytes, !differs, "{text}");
            hold!(NothingLost, !text.contains("records are missing"), "{text}");
            hold!(Runs, false, "no start: {text}");
            unreachable!("it was said")
        });
        if !matches!(recovered.end.tail, Tail::Clean) {
            self.tally.count("torn tail dropped");
        }
        (recovered, history, files, day)
    }
}

/// The box's process: what a crash takes away.
pub(crate) struct Venue {
    pub(crate) hot: HotTiles<Watched, SimClock, Tee<FaultDisk>>,
    /// Where it has a tile of its own, and lives.
    journal: Option<JournalStage<Tee<FaultDisk>>>,
    /// The journal has failed, or its disk is lost.
    is_dying: bool,
    seal: SealTile,
    spool: SpoolTile,
    feed: FeedTile<SimNic>,
    feed_burst: RxBurst,
    pub(crate) control: ControlTile<SimClock>,
    feed_sent: Rc<Cell<u64>>,
    medium: Medium,
    link: Option<Link>,
    /// The standby's.
    standby: Option<Medium>,
    clock: Rc<Cell<TimeNs>>,
    /// Turns since the journal tile ended: the other threads find it out a little later.
    turns_without_journal: u32,
    /// It was told to stop and has.
    pub(crate) has_stopped: bool,
}

/// Which tiles run in a turn; the hot tile always does.
#[derive(Clone, Copy)]
pub(crate) struct Runs {
    pub(crate) journal: bool,
    pub(crate) spool: bool,
    pub(crate) seal: bool,
    pub(crate) feed: bool,
    pub(crate) control: bool,
}

fn login(config: &Config) -> LoginDesk {
    let mut login = VenueLogin::new(venue_key(), SuiteSet::SAFE);
    for m in &config.members {
        login.register(m.member(), 1, PublicKey::from_hex(&m.public_key).unwrap());
    }
    LoginDesk::new(login, std::collections::BTreeSet::new())
}

impl Venue {
    /// Starts out of what is on disk.
    pub(crate) fn boot(world: &mut World) -> (Self, History, u64) {
        let mut standby = world.standby.take();
        let (config, net, clock) = (&world.config, &world.net, &world.clock);
        std::fs::create_dir_all(config.data().batches()).unwrap();
        let dir = JournalDir::open(config.data().journal()).unwrap();
        let (recovered, history, files, day) = world.recover();
        let core = recovered.core;
        let listing = missing(config, &core).unwrap();
        hold!(
            NothingLost,
            recovered.records >= world.medium.durable_seq(),
            "{} records were recovered of {} durable ones",
            recovered.records,
            world.medium.durable_seq()
        );

        let (to_seal, sealed) = mpsc::channel();
        let (notes, written) = mpsc::channel();
        let medium = world.medium.clone();
        let disk = FaultDisk::new(dir, medium.clone());
        let (to_seal, mut link, disk) = match &mut standby {
            None => (to_seal, None, Tee::alone(disk)),
            Some(standby) => {
                let (on_disk, sealed) = mpsc::channel();
                let waker = Parker::new().unwrap().waker();
                let (disk, ends) = Tee::new(disk, &recovered.end, waker);
                let dir = config.data().journal();
                let link = Link::new(standby, ends, dir, &recovered.end, (sealed, to_seal));
                (on_disk, Some(link), disk)
            }
        };
        let sizes = journal::Config {
            epoch: standby.as_ref().map_or(0, |s| s.epoch),
            segment_bytes: world.segment_kib << 10,
            batch_bytes: BATCH_BYTES,
        };
        let commit = GroupCommit::resume(sizes, &recovered.end, disk).unwrap();
        let Wiring {
            mut gateway,
            engine,
            spool_link,
            packets: (packets_in, packets_meter),
            hot,
            journal: ends,
            spool,
            feed: packets,
            control,
            lanes,
        } = Wiring::new(world.topology, commit.durable_seq()).unwrap();
        if let (Some(link), Some(standby)) = (&mut link, &mut standby) {
            // It opens once the standby has all of its journal.
            link.catch_up(standby, &world.tally);
            gateway.durable = link.released();
        }
        let stats = Arc::new(Mutex::new(JournalStats::new()));
        let journal = JournalStage {
            taken: Taken::nothing(),
            commit,
            lane: ends.lane,
            seal: to_seal,
            hot: ends.hot,
            durable: ends.durable,
            space: ends.space,
            stats: Arc::clone(&stats),
        };
        let oracle = OracleDesk::of(config, &core, &listing);
        let roll = Roll::of(config, &core, &listing);
        // The process before is gone, and so are its sockets.
        SOCKETS
            .iter()
            .chain([&PLACES.server])
            .for_each(|s| net.close(*s));
        let feed_sent = Rc::new(Cell::new(core.next_feed));
        let standby_medium = standby.as_ref().map(|s| s.medium.clone());
        let nic = Watched {
            nic: SimNic::open(net, &SOCKETS).unwrap(),
            medium: medium.clone(),
            standby: standby_medium.clone(),
            feed_sent: Rc::clone(&feed_sent),
            tally: world.tally.clone(),
        };
        let egress = FeedEgress::new(
            config.feed.session_name(),
            config.feed.lines().collect(),
            config.feed.heartbeat_ms * MS,
            (packets_in, packets_meter),
            core.next_feed,
            config.capacity.orders as usize,
        );
        let shown = Arc::new(Mutex::new(FeedCounters::default()));
        let desk = FeedDesk::new(&config.feed, day, venue_key(), clock.get());
        let own_clock = || SimClock(Rc::clone(clock));
        let parts = Parts {
            hot,
            gateway,
            engine,
            spool_link,
            feed: egress,
            batch_interval_ns: config.domain.batch_interval_ms * MS,
            high_water: world.high_water,
        };
        let (mut hot, journal) = HotTiles::new(nic, own_clock(), core, Some(journal), parts);
        hot.open_day(&listing);
        let venue = Self {
            hot,
            journal,
            is_dying: false,
            seal: SealTile {
                lane: sealed,
                spares: ends.spares,
                notes,
                batches: config.data().batches(),
            },
            spool: SpoolTile {
                files,
                lane: spool.lane,
                answers: spool.answers,
                parker: spool.parker,
                hot: spool.hot,
            },
            feed: FeedTile {
                nic: SimNic::open(net, &[PLACES.server]).unwrap(),
                lane: packets,
                sealed: written,
                parker: Parker::new().unwrap(),
                desk,
                shown: Arc::clone(&shown),
                linger: Duration::ZERO,
            },
            feed_burst: RxBurst::new(),
            control: ControlTile {
                lanes: control,
                machine: Machine {
                    lanes,
                    ..Machine::default()
                },
                pace: Pace::new(own_clock(), TileMeter::new(), Wait::Spin),
                logins: login(config),
                oracle,
                roll,
                stages: Stages::new(),
                durability: "fsync",
                journal: stats,
                feed: shown,
                desk: ControlDesk::new(),
            },
            feed_sent,
            medium,
            link,
            standby: standby_medium,
            clock: Rc::clone(clock),
            turns_without_journal: 0,
            has_stopped: false,
        };
        world.standby = standby;
        (venue, history, recovered.records)
    }

    pub(crate) fn core(&self) -> &Core {
        self.hot.core()
    }

    /// The box lives on for a moment after its journal has failed.
    pub(crate) fn is_dying(&self) -> bool {
        self.is_dying
    }

    /// The power goes: what was not on disk is not there any more.
    pub(crate) fn lose_disk(&mut self) {
        self.is_dying = true;
        self.journal = None;
        if let HotTiles::Shared(tile) = &mut self.hot {
            *tile.journal() = None;
        }
    }

    /// What the replication thread does in a turn.
    pub(crate) fn replicate(&mut self, standby: &mut Option<Standby>, is_up: bool, tally: &Tally) {
        if let (Some(link), Some(standby)) = (&mut self.link, standby) {
            link.turn(standby, is_up, tally);
            self.turn_hot();
        }
    }

    /// A turn of each tile that runs; `false` when the box has ended.
    pub(crate) fn turn(&mut self, runs: Runs) -> bool {
        if self.has_stopped {
            // The feed tile serves on for a while.
            self.feed
                .turn(&mut self.feed_burst, self.clock.get())
                .unwrap();
            return true;
        }
        self.has_stopped = runs.control && self.control.turn();
        self.turn_hot();
        if runs.journal {
            self.turn_journal();
            self.turn_hot();
        }
        if runs.spool {
            self.spool.turn().unwrap();
        }
        if runs.seal {
            while self.seal.turn().unwrap() {}
        }
        if runs.feed {
            self.feed
                .turn(&mut self.feed_burst, self.clock.get())
                .unwrap();
        }
        if self.is_dying() {
            self.turns_without_journal += 1;
        }
        self.turns_without_journal < 4
    }

    fn turn_hot(&mut self) {
        let is_inside = matches!(self.hot, HotTiles::Shared(_));
        if is_inside && self.is_dying {
            return;
        }
        if let Err(e) = self.hot.turn() {
            self.journal_failed(&e);
        }
        self.check_feed();
        self.check_money();
    }

    fn turn_journal(&mut self) {
        let Some(tile) = &mut self.journal else {
            return;
        };
        if let Err(e) = tile.turn() {
            self.journal_failed(&e);
        }
    }

    fn journal_failed(&mut self, e: &anyhow::Error) {
        hold!(
            Runs,
            self.medium.has_failed(),
            "the journal stopped without a disk error: {e:#}"
        );
        self.lose_disk();
    }

    /// The last feed message that has left was durable.
    fn check_feed(&self) {
        let sent = self.feed_sent.get();
        if let Some((seq, message)) = self.hot.said().get(sent - 1) {
            let (durable, has_failed) = (self.medium.durable_seq(), self.medium.has_failed());
            hold!(
                SilentAfterError,
                !has_failed || *seq <= durable,
                "feed message {} of record {seq} left after the disk had failed at {durable}",
                sent - 1
            );
            hold!(
                DurableFirst,
                *seq <= durable,
                "feed message {} of record {seq} left, durable is {durable}: {message:?}",
                sent - 1
            );
            let standby = self.standby.as_ref().map(Medium::durable_seq);
            hold!(
                ReplicatedFirst,
                standby.is_none_or(|there| *seq <= there),
                "feed message {} of record {seq} left, the standby has {standby:?}: {message:?}",
                sent - 1
            );
        }
    }

    fn check_money(&self) {
        let engine = &self.core().engine;
        let (paid_in, paid_out) = engine.flows_micro();
        let held = i128::from(paid_in.wrapping_sub(paid_out)) * firmware::units::PICO_PER_MICRO;
        let claims = engine.accounts().cash_pico() + engine.fund_pico();
        hold!(
            Conserved,
            claims == held,
            "claims of {claims} pico against {held} of collateral at record {}",
            engine.last_seq()
        );
        let contracts = engine.accounts().contracts();
        hold!(
            Conserved,
            contracts.iter().all(|c| *c == 0),
            "contracts sum to {contracts:?}"
        );
    }

    /// What its feed tile and hot tile counted.
    pub(crate) fn note(&self, tally: &Tally) {
        let c = self.hot.counters();
        for (what, n) in [
            ("gap of requests", c.gaps),
            ("request came again", c.duplicate_requests),
            ("datagram came again", c.replayed),
            ("bad tag", c.bad_tag),
            ("session established", c.established),
            ("session ended by the client", c.terminated),
            ("session lost", c.lost_sessions),
            ("first on port B", c.first_on_b),
            ("read from the spool", c.spool_reads),
            ("NIC without room", c.tx_stalls),
            (
                "re-request served",
                self.feed.desk.counters().requests_served,
            ),
            ("checkpoint signed", self.feed.desk.counters().checkpoints),
        ] {
            tally.add(what, n);
        }
    }

    pub(crate) fn ask(&mut self, request: AdminRequest) {
        self.control.on_admin(request);
    }

    /// Reports that the live box made and the journal has, against what a replay of it says.
    pub(crate) fn compare(&self, history: &History, records: u64) {
        for (member, _) in MEMBERS {
            let Some(flow) = self.hot.flows().get(MemberId(member)) else {
                continue;
            };
            let none = Vec::new();
            let replayed = history.reports.get(&member).unwrap_or(&none);
            for number in flow.reports.first()..flow.reports.next() {
                let live = flow.reports.get(number).unwrap();
                if live.engine_seq() > records {
                    break;
                }
                let again = replayed.get(number as usize - 1);
                hold!(
                    SameBytes,
                    again == Some(live),
                    "report {number} of {:?} was {live:?}, replayed {again:?}",
                    MemberId(member)
                );
            }
        }
        let said = self.hot.said();
        for number in said.first()..said.next() {
            let live = said.get(number).unwrap();
            if live.0 > records {
                break;
            }
            let again = history.feed.get(number as usize - 1);
            hold!(
                SameBytes,
                again == Some(live),
                "feed message {number} was {live:?}, replayed {again:?}"
            );
        }
    }
}

/// Where time begins.
pub(crate) const fn begin() -> TimeNs {
    START
}
