//! One run: a box, its members, subscribers, oracle, operator and L1, all out of one seed.
//!
//! First with faults, in which nothing may go wrong; then without, in which everybody must get on and everything must
//! arrive; then an orderly end, and once more a start from what is on disk.

use crate::invariant::{Invariant, hold, violated};
use crate::l1::L1;
use crate::member::{Market, Member};
use crate::options::{MS, Options};
use crate::standby::Standby;
use crate::subscriber::Subscriber;
use crate::tally::Tally;
use crate::venue::{self, History, MEMBERS, PLACES, Runs, SOCKETS, Venue, World, oracle_key};
use firmware::session::control_datagram;
use firmware::units::TimeNs;
use firmware::wire::datagram::DatagramBuilder;
use firmware::wire::session::OracleReport;
use handshake::sign_oracle;
use hostd::nic::Endpoint;
use hostd::nic::sim::{Rng, SimNet, SimPeer};
use hostd::ops::admin::AdminRequest;
use hostd::ops::operator::{By, CancelBody, Command, LockBody, StateBody, Which};
use hostd::tiles::core::Core;
use journal::Reader;
use journal::faults::{Behaviour, Happened, Medium, WriteFault};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use tokio::sync::oneshot;

/// Milliseconds in which all must be well again.
const HEALED_MAX: u64 = 20_000;
/// Milliseconds in which the box stops, and everybody hears of it.
const STOPPED_MAX: u64 = 5_000;
const SUBSCRIBERS: u8 = 3;

/// Signs prices.
struct Oracle {
    peer: SimPeer,
    index_micro: i64,
    number: u64,
    next_at: TimeNs,
    silent_until: TimeNs,
}

pub(crate) struct Run {
    options: Options,
    rng: Rng,
    venue: Option<Venue>,
    /// The process before, which has crashed.
    dead: Option<Venue>,
    /// The box starts again then.
    back_at: TimeNs,
    members: Vec<Member>,
    subscribers: Vec<Subscriber>,
    oracle: Oracle,
    l1: L1,
    markets: Vec<Market>,
    has_faults: bool,
    full_until: TimeNs,
    /// The line to the standby.
    line_back_at: TimeNs,
    /// For the report of a failure.
    pub(crate) step: Rc<Cell<u64>>,
    /// Dropped last: its directory is under the venue's disk.
    world: World,
}

/// A directory that costs no disk, where there is one.
fn directory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("deltabox-sim-");
    let dir = if memory.is_dir() {
        builder.tempdir_in(memory)
    } else {
        builder.tempdir()
    };
    dir.unwrap()
}

impl Run {
    pub(crate) fn new(seed: u64, options: Options, step: Rc<Cell<u64>>, tally: &Tally) -> Self {
        let mut rng = Rng(seed);
        let now = venue::begin();
        let clock = Rc::new(Cell::new(now));
        let net = SimNet::new(rng.draw(), now);
        for socket in [SOCKETS[0], SOCKETS[2]] {
            net.set_faults_at(socket, options.orders);
        }
        net.set_tx_full(options.tx_full);
        let dir = directory();
        let medium = Medium::new(rng.draw());
        medium.behave(|b| b.delay_max_ns = options.disk_delay_ns);
        let subscribers = (1..=SUBSCRIBERS)
            .map(|n| Subscriber::new(n, &net, options.feed, &mut rng, now))
            .collect();
        let members = MEMBERS
            .iter()
            .map(|(id, accounts)| Member::new(*id, accounts, options.both_ports, rng.draw(), tally))
            .collect();
        let own = Endpoint::new([10, 3, 0, 1].into(), 9);
        let oracle = Oracle {
            peer: SimPeer::open(&net, &[own]).unwrap(),
            index_micro: 100_000_000_000,
            number: 0,
            next_at: now,
            silent_until: TimeNs(0),
        };
        let accounts = MEMBERS.iter().flat_map(|(_, a)| a.iter().copied());
        let l1 = L1::new(rng.draw(), accounts, tally);
        let config = venue::config(dir.path());
        let standby = options.has_standby.then(|| {
            Standby::new(
                dir.path().join("standby"),
                rng.draw(),
                options.segment_kib << 10,
            )
        });
        let world = World {
            standby,
            net,
            clock,
            medium,
            _dir: dir,
            config,
            segment_kib: options.segment_kib,
            topology: options.topology,
            high_water: options.high_water,
            tally: tally.clone(),
        };
        Self {
            options,
            rng,
            world,
            venue: None,
            dead: None,
            back_at: now,
            members,
            subscribers,
            oracle,
            l1,
            markets: Vec::new(),
            has_faults: true,
            full_until: TimeNs(0),
            line_back_at: TimeNs(0),
            step,
        }
    }

    fn now(&self) -> TimeNs {
        self.world.clock.get()
    }

    fn core(&self) -> Option<&Core> {
        self.venue.as_ref().map(Venue::core)
    }

    /// Once in so many steps, if ever.
    fn once_in(&mut self, steps: u64) -> bool {
        self.has_faults && steps > 0 && self.rng.below(steps) == 0
    }

    /// Runs to the end; the state in which the venue is then.
    pub(crate) fn run(mut self) -> [u8; 32] {
        for _ in 0..self.options.steps {
            self.disturb();
            self.tick(true);
        }
        self.heal();
        self.wait_until_well("after the faults");
        for member in &mut self.members {
            member.probe(self.world.clock.get());
        }
        self.wait_until_well("after everybody was asked to do something");
        self.compare();
        self.end()
    }

    /// One millisecond.
    fn tick(&mut self, acts: bool) {
        self.step.set(self.step.get() + 1);
        let now = TimeNs(self.now().0 + MS);
        self.world.clock.set(now);
        self.world.net.advance_to(now);
        self.world.medium.advance_to(now.0);
        if self.venue.is_none() && now >= self.back_at {
            self.boot();
        }
        self.price(now);
        self.turn();
        for member in &mut self.members {
            member.poll(&self.world.net, now);
            if acts && self.rng.percent(self.options.request_percent) {
                member.act(&self.markets, now);
            }
        }
        for subscriber in &mut self.subscribers {
            subscriber.poll(&self.world.net, now);
        }
        if let Some(venue) = &mut self.venue {
            if let Some(request) = self.l1.offer(now, self.has_faults) {
                venue.ask(request);
            }
            let engine = &venue.core().engine;
            self.l1
                .check_credit(engine.next_deposit(), engine.flows_micro().0);
            if self.step.get().is_multiple_of(64) {
                self.markets = Market::of(venue.core());
            }
        }
        if self.rng.percent(10) {
            let dir = self.world.config.data().batches();
            self.l1.commit(&dir, now);
        }
    }

    fn boot(&mut self) {
        let (venue, history, records) = Venue::boot(&mut self.world);
        // What the process before had made of records that are on disk, a replay makes again.
        if let Some(dead) = self.dead.take() {
            dead.compare(&history, records);
        }
        self.check_history(&history);
        self.markets = Market::of(venue.core());
        self.venue = Some(venue);
        self.world.tally.count("start");
    }

    fn turn(&mut self) {
        let o = &self.options;
        let mut runs = |percent| !self.has_faults || self.rng.percent(percent);
        let runs = Runs {
            journal: runs(o.journal_percent),
            spool: runs(o.spool_percent),
            seal: runs(o.seal_percent),
            feed: runs(o.feed_percent),
            control: runs(o.control_percent),
        };
        let now = self.world.clock.get();
        let Some(venue) = &mut self.venue else { return };
        let is_up = now >= self.line_back_at;
        venue.replicate(&mut self.world.standby, is_up, &self.world.tally);
        if !venue.turn(runs) {
            self.world.tally.count("box stopped by a disk error");
            self.crash();
        }
    }

    /// The process is gone, with what it held in memory; the disk keeps what it has.
    fn crash(&mut self) {
        let Some(mut venue) = self.venue.take() else {
            return;
        };
        venue.note(&self.world.tally);
        venue.lose_disk();
        self.dead = Some(venue);
        self.world.tally.count("crash");
        self.world.medium.behave(|b| b.next_write = None);
        self.back_at = TimeNs(self.now().0 + self.rng.below(200) * MS);
        if self.world.standby.is_some() && self.rng.percent(self.options.failover_percent) {
            self.world.tally.count("standby: leads");
            self.world.fail_over(self.options.disk_delay_ns);
        }
    }

    /// What clients were told stands in the journal, and each request once.
    fn check_history(&self, history: &History) {
        for member in &self.members {
            let none = Vec::new();
            let held = history.reports.get(&member.id.0).unwrap_or(&none);
            for (i, told) in member.told.iter().enumerate() {
                hold!(
                    NothingLost,
                    held.get(i) == Some(told),
                    "{:?} was told {told:?} as report {}, the journal has {:?}",
                    member.id,
                    i + 1,
                    held.get(i)
                );
            }
        }
        for subscriber in &self.subscribers {
            for (number, told) in &subscriber.told {
                let held = history.feed.get(*number as usize - 1).map(|(_, m)| m);
                hold!(
                    NothingLost,
                    held == Some(told),
                    "everybody was told {told:?} as feed message {number}, the journal has {held:?}"
                );
            }
        }
        self.check_requests();
    }

    fn check_requests(&self) {
        let mut applied: BTreeSet<(u32, u64)> = BTreeSet::new();
        let mut dead: BTreeSet<(u32, u64)> = BTreeSet::new();
        let mut reader = Reader::open(self.world.config.data().journal()).unwrap();
        while let Some(record) = reader.next().unwrap() {
            let (member, seq) = (record.header.session, record.header.seq);
            let word = |at: usize| u64::from_le_bytes(*record.body[at..].first_chunk().unwrap());
            match record.header.template {
                // Requests and refusals begin with the time and the number.
                600..=620 => {
                    let number = word(8);
                    let is_new = applied.insert((member, number));
                    hold!(
                        RequestsOnce,
                        is_new && !dead.contains(&(member, number)),
                        "record {seq} applies request {number} of member {member} again"
                    );
                }
                621 => {
                    for number in word(0)..word(0) + word(8) {
                        let is_new = dead.insert((member, number));
                        hold!(
                            RequestsOnce,
                            is_new && !applied.contains(&(member, number)),
                            "record {seq} buries request {number} of member {member} again"
                        );
                    }
                }
                _ => {}
            }
        }
    }

    /// Sends a signed price now and then.
    fn price(&mut self, now: TimeNs) {
        let oracle = &mut self.oracle;
        if now < oracle.next_at || now < oracle.silent_until {
            return;
        }
        oracle.next_at = TimeNs(now.0 + (10 + self.rng.below(30)) * MS);
        let jump = if self.has_faults && self.rng.percent(3) {
            40
        } else {
            1
        };
        let step = self.rng.below(40_000_001) as i64 - 20_000_000;
        oracle.index_micro =
            (oracle.index_micro + jump * step).clamp(90_000_000_000, 110_000_000_000);
        oracle.number += 1;
        let report = OracleReport {
            report_no: oracle.number,
            timestamp: now.0,
            index_micro: oracle.index_micro,
            vol0_e9: 600_000_000,
            vol1_e9: 600_000_000,
            vol2_e9: 600_000_000,
            vol3_e9: 600_000_000,
            key_id: 1,
            pad1: 0,
            signature: [0; 64],
        };
        let mut buffer = DatagramBuilder::new();
        let bytes = control_datagram(&mut buffer, &sign_oracle(&oracle_key(), &report));
        oracle.peer.send(0, SOCKETS[0], bytes);
    }

    /// Something happens that should not.
    fn disturb(&mut self) {
        let (o, now) = (self.options.clone(), self.now());
        if self.once_in(o.crash_in) {
            self.crash();
        }
        if self.once_in(o.disk_error_in) {
            let faults = [WriteFault::Error, WriteFault::ReadOnly, WriteFault::Short];
            let fault = faults[self.rng.below(3) as usize];
            self.world.medium.behave(|b| b.next_write = Some(fault));
        }
        if self.once_in(o.disk_full_in) {
            self.full_until = TimeNs(now.0 + (50 + self.rng.below(400)) * MS);
        }
        let is_full = now < self.full_until;
        self.world.medium.behave(|b| b.is_full = is_full);
        if self.once_in(o.oracle_gap_in) {
            self.world.tally.count("oracle silent");
            self.oracle.silent_until = TimeNs(now.0 + (100 + self.rng.below(600)) * MS);
        }
        if self.once_in(o.l1_outage_in) {
            self.l1.fall_silent(now);
        }
        if self.rng.below(80) == 0 {
            self.l1.somebody_pays(now);
        }
        if self.once_in(o.line_cut_in) {
            self.cut_a_line(now);
        }
        if self.once_in(o.program_in) {
            let at = self.rng.below(self.members.len() as u64) as usize;
            self.members[at].disturb(&self.world.net, now);
        }
        if o.has_standby && self.once_in(o.standby_line_in) {
            self.line_back_at = TimeNs(now.0 + self.rng.below(150) * MS);
        }
        if self.once_in(o.operator_in) {
            self.operate();
        }
    }

    fn cut_a_line(&mut self, now: TimeNs) {
        self.world.tally.count("line cut");
        let until = TimeNs(now.0 + self.rng.below(500) * MS);
        let net = &self.world.net;
        if self.rng.percent(50) {
            let at = self.rng.below(self.subscribers.len() as u64) as usize;
            let ways = PLACES.ways(self.subscribers[at].address);
            let (from, to) = ways[self.rng.below(ways.len() as u64) as usize];
            net.cut(from, to, until);
        } else {
            let member = MEMBERS[self.rng.below(MEMBERS.len() as u64) as usize].0;
            let path = self.rng.below(2) as u8;
            let own = crate::member::address(member, path);
            let port = SOCKETS[if path == 0 { 0 } else { 2 }];
            let (from, to) = if self.rng.percent(50) {
                (own, port)
            } else {
                (port, own)
            };
            net.cut(from, to, until);
        }
    }

    /// The operator does something.
    fn operate(&mut self) {
        let Some(venue) = &mut self.venue else { return };
        let rng = &mut self.rng;
        let which =
            |rng: &mut Rng| [Which::All, Which::One(rng.below(2) as u32)][rng.below(2) as usize];
        let (name, command) = match rng.below(8) {
            0..3 => {
                let states = ["pre-open", "auction", "open", "open", "cancel-only", "halt"];
                let state = states[rng.below(6) as usize].to_owned();
                let instrument = which(rng);
                (
                    "operator: state",
                    Command::State(StateBody { instrument, state }),
                )
            }
            3 | 4 => {
                let member = 1 + rng.below(4) as u32;
                let action = ["lock", "unlock"][rng.below(2) as usize].to_owned();
                let account = Which::All;
                (
                    "operator: lock",
                    Command::Lock(LockBody {
                        member,
                        account,
                        action,
                    }),
                )
            }
            5 | 6 => {
                let member = [None, Some(1 + rng.below(4) as u32)][rng.below(2) as usize];
                let instrument = [None, Some(0)][rng.below(2) as usize];
                let body = CancelBody {
                    member,
                    account: None,
                    instrument,
                };
                ("operator: cancel", Command::Cancel(body))
            }
            _ => {
                self.world.tally.count("operator: seal");
                return venue.ask(AdminRequest::Act(
                    Command::Seal,
                    By::BOX,
                    oneshot::channel().0,
                ));
            }
        };
        self.world.tally.count(name);
        venue.ask(AdminRequest::Act(command, By::BOX, oneshot::channel().0));
    }

    /// From now on nothing goes wrong any more.
    fn heal(&mut self) {
        self.has_faults = false;
        self.line_back_at = TimeNs(0);
        self.world.net.heal();
        self.world.medium.behave(|b| *b = Behaviour::default());
        self.oracle.silent_until = TimeNs(0);
        self.members.iter_mut().for_each(Member::heal);
        for _ in 0..400 {
            self.tick(false);
        }
        let Some(venue) = &mut self.venue else {
            violated(Invariant::Runs, "the box did not start again".into());
        };
        let open = |command| AdminRequest::Act(command, By::BOX, oneshot::channel().0);
        venue.ask(open(Command::State(StateBody {
            instrument: Which::All,
            state: "open".into(),
        })));
        for (member, accounts) in MEMBERS {
            if !accounts.is_empty() {
                let action = "unlock".into();
                let account = Which::All;
                venue.ask(open(Command::Lock(LockBody {
                    member,
                    account,
                    action,
                })));
            }
        }
        venue.ask(AdminRequest::Act(
            Command::Seal,
            By::BOX,
            oneshot::channel().0,
        ));
    }

    fn is_well(&self) -> bool {
        let Some(core) = self.core() else {
            return false;
        };
        let durable = self.world.medium.durable_seq();
        durable == core.engine.last_seq().0
            && self.members.iter().all(|m| m.is_settled(core))
            && self.subscribers.iter().all(|s| s.is_whole(core))
            && self.l1.is_credited()
            && self.l1.batches() + 1 == core.engine.batch_no()
    }

    fn wait_until_well(&mut self, when: &str) {
        for _ in 0..HEALED_MAX {
            self.tick(false);
            if self.is_well() {
                return;
            }
        }
        let Some(core) = self.core() else {
            violated(Invariant::Progress, format!("{when}: the box does not run"));
        };
        let mut state = format!(
            "{when}, within {HEALED_MAX} ms: records {} of {} durable, batches {} of {} committed, deposits all credited: {}",
            self.world.medium.durable_seq(),
            core.engine.last_seq(),
            self.l1.batches(),
            core.engine.batch_no() - 1,
            self.l1.is_credited()
        );
        for m in self.members.iter().filter(|m| !m.is_settled(core)) {
            state += &format!("; {}", m.state(core));
        }
        for s in self.subscribers.iter().filter(|s| !s.is_whole(core)) {
            state += &format!("; {}", s.state(core));
        }
        violated(Invariant::Progress, state);
    }

    /// Everybody sees what the engine has.
    fn compare(&self) {
        let Some(core) = self.core() else { return };
        self.members.iter().for_each(|m| m.compare(core));
        self.subscribers.iter().for_each(|s| s.compare(core));
        self.subscribers
            .iter()
            .for_each(|s| s.note(&self.world.tally));
        let again = self.members.iter().map(Member::asked_again).sum();
        self.world.tally.add("retransmission asked for", again);
    }

    /// An orderly stop, and a replay of all that is on disk.
    fn end(mut self) -> [u8; 32] {
        let (answer, mut stopped) = oneshot::channel();
        if let Some(venue) = &mut self.venue {
            venue.ask(AdminRequest::Act(Command::Stop, By::BOX, answer));
        }
        let is_over = |run: &Self| {
            let has_stopped = run.venue.as_ref().is_some_and(|v| v.has_stopped);
            has_stopped && run.subscribers.iter().all(|s| s.has_ended)
        };
        for _ in 0..STOPPED_MAX {
            if is_over(&self) {
                break;
            }
            self.tick(false);
        }
        hold!(
            Progress,
            is_over(&self),
            "told to stop, and not everybody has heard the end after {STOPPED_MAX} ms"
        );
        let last = stopped.try_recv().ok().and_then(Result::ok);
        let last = last.and_then(|done| done.stopped);
        let (Some(mut venue), Some(stopped)) = (self.venue.take(), last) else {
            violated(
                Invariant::Runs,
                "the box stopped without a last word".into(),
            );
        };
        venue.note(&self.world.tally);
        let counters = venue.core().engine.counters();
        for (what, n) in [
            ("engine: fill", counters.fills),
            ("engine: settlement", counters.settlements),
            ("engine: withdrawal", counters.withdrawals),
        ] {
            self.world.tally.add(what, n);
        }
        venue.lose_disk();
        let (recovered, history, ..) = self.world.recover();
        hold!(
            NothingLost,
            recovered.records == stopped.engine_seq,
            "it stopped after {} records, the journal has {}",
            stopped.engine_seq,
            recovered.records
        );
        venue.compare(&history, recovered.records);
        hold!(
            SameBytes,
            recovered.core.engine.state_hash() == stopped.state_hash,
            "another state after {} records",
            recovered.records
        );
        self.check_history(&history);
        let c = self.world.net.counters();
        for (what, n) in [
            ("net: lost", c.lost),
            ("net: repeated", c.repeated),
            ("net: corrupted", c.corrupted),
            ("net: reordered", c.reordered),
            ("net: unheard", c.unheard),
        ] {
            self.world.tally.add(what, n);
        }
        for (what, n) in self.world.medium.happened() {
            self.world.tally.add(happened(what), n);
        }
        recovered.core.engine.state_hash()
    }
}

const fn happened(what: Happened) -> &'static str {
    match what {
        Happened::Written => "disk: write done",
        Happened::SegmentMade => "disk: segment made",
        Happened::NoSpaceForSegment => "disk: no space for a segment",
        Happened::ErrorReported => "disk: error",
        Happened::LostInSilence => "disk: write lost in silence",
        Happened::Misdirected => "disk: write went elsewhere",
        Happened::CrashWroteNothing => "crash: write in flight lost",
        Happened::CrashWroteAll => "crash: write in flight whole",
        Happened::CrashCutAtByte => "crash: write in flight cut",
        Happened::CrashLeftSectorsOut => "crash: write in flight without some sectors",
    }
}
