//! The control tile: logins, oracle reports, risk tables, the admin socket's requests, measurements.
//! Everything slow; it can delay gateway and engine by nothing but what it sends there.

use crate::feed::FeedCounters;
use crate::machine::clock::Clock;
use crate::ops::admin::{Acted, Done, ProofReport, Scope};
use crate::ops::admin::{AdminRequest, DepositBody};
use crate::ops::operator::{By, Command, CommandRefused, OperatorInput, Roll};
use crate::ops::status::{ControlCounts, HotStatus, Stages, Status};
use crate::tiles::journal_tile::JournalStats;
use crate::tiles::lanes::{
    ControlDatagram, EngineSnapshot, FromEngine, FromGateway, GatewaySnapshot, Look, SessionRow,
    StageTimes, ToEngine, ToGateway,
};
use crate::tiles::logins::LoginDesk;
use crate::tiles::meters::Machine;
use crate::tiles::oracle_desk::OracleDesk;
use crate::tiles::tile::Pace;
use firmware::session::read_control;
use firmware::units::MemberId;
use firmware::wire::input::InDeposit;
use firmware::wire::session::{Negotiate, SessionMessage};
use lane::{Consumer, Parker, Producer, Waker};
use matcher::engine::DepositError;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

/// Sessions that are shown at most.
const SESSION_ROWS: usize = 4_096;

/// Ends of the lanes that the control tile holds.
pub struct ControlLanes {
    /// To the gateway.
    pub to_gateway: Producer<ToGateway>,
    /// Wakes the gateway.
    pub gateway: Waker,
    /// From the gateway.
    pub from_gateway: Consumer<FromGateway>,
    /// To the engine.
    pub to_engine: Producer<ToEngine>,
    /// Wakes the engine.
    pub engine: Waker,
    /// From the engine.
    pub from_engine: Consumer<FromEngine>,
    /// Stage times of requests.
    pub samples: Consumer<StageTimes>,
    /// Snapshots of the gateway.
    pub gateway_snapshots: Consumer<GatewaySnapshot>,
    /// Snapshots of the engine.
    pub engine_snapshots: Consumer<EngineSnapshot>,
    /// Where this tile sleeps.
    pub parker: Parker,
}

/// What the control tile is made of.
pub struct ControlTile<C> {
    /// Lanes.
    pub lanes: ControlLanes,
    /// Logins.
    pub logins: LoginDesk,
    /// Oracle.
    pub oracle: OracleDesk,
    /// What the operator's commands are checked against.
    pub roll: Roll,
    /// What is shown.
    pub stages: Stages,
    /// Name of the durability mode.
    pub durability: &'static str,
    /// The journal's measurements.
    pub journal: Arc<Mutex<JournalStats>>,
    /// The feed tile's counts.
    pub feed: Arc<Mutex<FeedCounters>>,
    /// What tiles and lanes show of themselves.
    pub machine: Machine,
    /// Counts its own turns.
    pub pace: Pace<C>,
    /// State for the admin socket.
    pub desk: Desk,
}

/// Logs requests that took longer than they should, one a second at most; the rest is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlowLog {
    /// From when on a request counts as slow, ns; zero: none does.
    pub limit_ns: u64,
    /// Since the last line.
    unsaid: u64,
    next_ns: u64,
}

/// Between two lines of the log of slow requests, ns.
const SLOW_TURN_NS: u64 = 1_000_000_000;

impl SlowLog {
    /// Looks at a request; returns whether it was logged.
    pub fn look(&mut self, t: &StageTimes) -> bool {
        let took = t.tx.saturating_sub(t.rx);
        if self.limit_ns == 0 || took < self.limit_ns {
            return false;
        }
        self.unsaid += 1;
        if t.tx < self.next_ns {
            return false;
        }
        self.next_ns = t.tx + SLOW_TURN_NS;
        let us = |from: u64, to: u64| to.saturating_sub(from) / 1_000;
        crate::machine::log::event(
            "slow_request",
            &[
                ("seq", &t.seq),
                ("took_us", &(took / 1_000)),
                ("rx_gate_us", &us(t.rx, t.gated)),
                ("gate_sequenced_us", &us(t.gated, t.sequenced)),
                ("sequenced_matched_us", &us(t.sequenced, t.matched)),
                ("matched_durable_us", &us(t.matched, t.durable)),
                ("durable_tx_us", &us(t.durable, t.tx)),
                ("since_last_line", &self.unsaid),
            ],
        );
        self.unsaid = 0;
        true
    }
}

/// Things that the control tile keeps for itself.
pub struct Desk {
    gateway: Option<GatewaySnapshot>,
    engine: Option<EngineSnapshot>,
    deposits: VecDeque<oneshot::Sender<Result<u64, DepositError>>>,
    acts: VecDeque<(Command, oneshot::Sender<Acted>)>,
    looks: VecDeque<oneshot::Sender<Box<Look>>>,
    sessions: VecDeque<oneshot::Sender<Vec<SessionRow>>>,
    stop: Option<oneshot::Sender<Acted>>,
    proofs: Option<ProofReport>,
    /// Which requests took long.
    pub slow: SlowLog,
    bad_control: u64,
}

impl Desk {
    /// An empty desk.
    #[must_use]
    pub fn new() -> Self {
        Self {
            gateway: None,
            engine: None,
            deposits: VecDeque::new(),
            acts: VecDeque::new(),
            looks: VecDeque::new(),
            sessions: VecDeque::new(),
            stop: None,
            proofs: None,
            slow: SlowLog::default(),
            bad_control: 0,
        }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

/// How the tile ended.
#[derive(Debug)]
pub enum Ended {
    /// The operator asked for it.
    Stopped,
    /// A signal asked for it.
    Signal,
    /// The gateway is gone.
    GatewayLost,
}

impl<C: Clock> ControlTile<C> {
    /// Runs until the box stops.
    ///
    /// # Errors
    /// When the eventfd cannot be watched.
    pub async fn run(
        mut self,
        mut admin: mpsc::Receiver<AdminRequest>,
        mut signal: tokio::signal::unix::Signal,
    ) -> anyhow::Result<Ended> {
        let fd = self.lanes.parker.as_fd().try_clone_to_owned()?;
        // SAFETY: needed because tokio has no safe way to watch a descriptor of one's own. Sound because
        // `fd` is an owned eventfd that moves into `event`, so it stays open while it is registered.
        let event = unsafe { AsyncFd::register(fd) }?;
        let mut ended = Ended::Stopped;
        loop {
            self.lanes.parker.announce();
            let is_idle = !self.has_work();
            if is_idle {
                tokio::select! {
                    ready = event.readable() => ready?.clear_ready(),
                    request = admin.recv() => if let Some(r) = request { self.on_admin(r) },
                    _ = signal.recv(), if !matches!(ended, Ended::Signal) => {
                        ended = Ended::Signal;
                        self.stop();
                    },
                    () = tokio::time::sleep(Duration::from_millis(20)) => {},
                }
            }
            let was_woken = self.lanes.parker.resume();
            if is_idle {
                self.pace.slept(was_woken);
            }
            if self.turn() {
                return Ok(ended);
            }
            // The gateway finds out when the engine is gone, and ends as well.
            if self.lanes.from_gateway.is_abandoned() && self.lanes.from_gateway.is_empty() {
                return Ok(Ended::GatewayLost);
            }
        }
    }

    /// Does what came by the lanes and what is due, without sleeping; returns whether the box has stopped.
    pub fn turn(&mut self) -> bool {
        let mut work = 0;
        while let Some(sample) = self.lanes.samples.pop() {
            self.stages.record(&sample);
            self.desk.slow.look(&sample);
            work += 1;
        }
        while let Some(snapshot) = self.lanes.engine_snapshots.pop() {
            let before = self.desk.engine.replace(snapshot);
            if snapshot.clock.gave_up && !before.is_some_and(|b| b.clock.gave_up) {
                crate::machine::log::event(
                    "clock_counter_given_up",
                    &[("checks", &snapshot.clock.checks)],
                );
            }
        }
        while let Some(snapshot) = self.lanes.gateway_snapshots.pop() {
            self.desk.gateway = Some(snapshot);
        }
        while let Some(answer) = self.lanes.from_engine.pop() {
            self.on_engine(answer);
            work += 1;
        }
        while let Some(message) = self.lanes.from_gateway.pop() {
            if self.on_gateway(message) {
                return true;
            }
            work += 1;
        }
        let now = self.pace.now();
        if let Some(table) = self.oracle.table(now) {
            let sent = self.send(ToEngine::RiskTable(table));
            self.oracle.sent(sent);
            work += 1;
        }
        self.pace.turn(work);
        false
    }

    fn has_work(&self) -> bool {
        let l = &self.lanes;
        !l.from_gateway.is_empty()
            || !l.from_engine.is_empty()
            || !l.engine_snapshots.is_empty()
            || !l.gateway_snapshots.is_empty()
    }

    fn send(&mut self, message: ToEngine) -> bool {
        let sent = self.lanes.to_engine.push(message).is_ok();
        self.lanes.engine.wake();
        sent
    }

    fn stop(&mut self) {
        self.logins.stop();
        // Without room the operator hears that the box does not answer, and asks again.
        let _ = self.lanes.to_gateway.push(ToGateway::Stop);
        self.lanes.gateway.wake();
    }

    fn on_engine(&mut self, answer: FromEngine) {
        match answer {
            FromEngine::Deposit(answer) => {
                if let Some(reply) = self.desk.deposits.pop_front() {
                    let _ = reply.send(answer);
                }
            }
            FromEngine::Operated { seq, batch_no } => {
                if let Some((command, reply)) = self.desk.acts.pop_front() {
                    self.acted(&command, seq, batch_no, reply);
                }
            }
            FromEngine::Adopted { range_ppm } => self.oracle.adopted(range_ppm),
            FromEngine::Declined(why) => {
                if let Some((_, reply)) = self.desk.acts.pop_front() {
                    let _ = reply.send(Err(why.into()));
                }
            }
            FromEngine::Looked(look) => {
                if let Some(reply) = self.desk.looks.pop_front() {
                    let _ = reply.send(look);
                }
            }
        }
    }

    /// Does what is not the engine's part of a command that stands in the journal, and answers.
    fn acted(&mut self, command: &Command, seq: u64, batch_no: u64, reply: oneshot::Sender<Acted>) {
        let mut done = Done {
            engine_seq: Some(seq),
            batch_no: None,
            stopped: None,
        };
        match command {
            Command::Kick(body) => {
                // Without room the session stays, and the operator sees it there.
                let _ = (self.lanes.to_gateway).push(ToGateway::Kick(MemberId(body.member)));
                self.lanes.gateway.wake();
            }
            Command::Drain => self.logins.stop(),
            Command::Seal => done.batch_no = Some(batch_no),
            Command::Override(body) => self.oracle.override_with(body),
            Command::Release => self.oracle.release(),
            Command::Key(body) => self.logins.set_key(body),
            Command::List(body) => {
                self.roll.note_listing(command);
                if let Ok(record) = body.listing() {
                    self.oracle.list(&record);
                }
            }
            Command::Delist(body) => {
                self.roll.note_listing(command);
                self.oracle.delist(body.instrument);
            }
            Command::Stop => {
                self.desk.stop = Some(reply);
                return self.stop();
            }
            Command::State(_)
            | Command::Lock(_)
            | Command::Cancel(_)
            | Command::Limits(_)
            | Command::Rules(..) => {}
        }
        let _ = reply.send(Ok(done));
    }

    /// Returns whether the box has stopped.
    fn on_gateway(&mut self, message: FromGateway) -> bool {
        match message {
            FromGateway::Control(d) => self.on_control(&d),
            FromGateway::Looked(rows) => {
                if let Some(reply) = self.desk.sessions.pop_front() {
                    let _ = reply.send(rows);
                }
            }
            FromGateway::Stopped(stopped) => {
                if let Some(reply) = self.desk.stop.take() {
                    let _ = reply.send(Ok(Done {
                        engine_seq: Some(stopped.engine_seq),
                        batch_no: None,
                        stopped: Some(stopped),
                    }));
                }
                return true;
            }
        }
        false
    }

    fn on_control(&mut self, d: &ControlDatagram) {
        match read_control(d.payload()) {
            Ok(SessionMessage::Negotiate(m)) => self.on_negotiate(&m, d),
            Ok(SessionMessage::OracleReport(m)) => {
                let now = self.pace.now();
                if let Ok(input) = self.oracle.report(&m, now) {
                    self.send(ToEngine::Oracle(input));
                }
            }
            _ => self.desk.bad_control += 1,
        }
    }

    fn on_negotiate(&mut self, m: &Negotiate, d: &ControlDatagram) {
        let now = self.pace.now();
        self.logins
            .on_negotiate(m, d.peer, now, &mut self.lanes.to_gateway);
        self.lanes.gateway.wake();
    }

    /// Takes a request of the admin socket; the answer comes when the hot tile has given it.
    pub fn on_admin(&mut self, request: AdminRequest) {
        match request {
            AdminRequest::Status(reply) => {
                let _ = reply.send(Box::new(self.status()));
            }
            AdminRequest::Deposit(body, reply) => {
                self.desk.deposits.push_back(reply);
                self.send(ToEngine::Deposit(deposit_input(&body)));
            }
            AdminRequest::Act(command, by, reply) => self.act(command, by, reply),
            AdminRequest::Check(command, reply) => {
                let _ = reply.send(self.check(&command).map(|_| Scope {
                    accounts: self.roll.accounts_of(&command),
                }));
            }
            AdminRequest::Keys(reply) => drop(reply.send(self.logins.keys())),
            AdminRequest::Roll(reply) => drop(reply.send(Box::new(self.roll.clone()))),
            AdminRequest::Look(look, reply) => {
                if self.send(ToEngine::Look(look)) {
                    self.desk.looks.push_back(reply);
                }
            }
            AdminRequest::Sessions(reply) => {
                let rows = Vec::with_capacity(SESSION_ROWS);
                if self.lanes.to_gateway.push(ToGateway::Look(rows)).is_ok() {
                    self.desk.sessions.push_back(reply);
                }
                self.lanes.gateway.wake();
            }
            AdminRequest::Proofs(report) => {
                let before = self.desk.proofs.map_or(0, |p| p.l1_block);
                self.desk.proofs = Some(ProofReport {
                    l1_block: report.l1_block.max(before),
                    ..report
                });
            }
        }
    }

    fn check(&mut self, command: &Command) -> Result<Option<OperatorInput>, CommandRefused> {
        let now = self.pace.now();
        match command {
            Command::Override(body) => self.oracle.check_override(body, now)?,
            Command::Release if !self.oracle.is_overridden() => {
                return Err(CommandRefused::NoOverride);
            }
            Command::Key(body) => LoginDesk::check_key(body)?,
            Command::List(body) => {
                if let Ok(record) = body.listing() {
                    self.oracle.check_listing(&record)?;
                }
            }
            _ => {}
        }
        self.roll.check(command)
    }

    fn act(&mut self, command: Command, by: By, reply: oneshot::Sender<Acted>) {
        let input = match self.check(&command) {
            Ok(input) => input,
            Err(why) => return drop(reply.send(Err(why))),
        };
        if !self.send(ToEngine::Operator(by.record(&command), input)) {
            return drop(reply.send(Err(CommandRefused::Busy)));
        }
        input.iter().for_each(|input| self.roll.note(input));
        self.desk.acts.push_back((command, reply));
    }

    fn status(&self) -> Status {
        let journal = self
            .journal
            .lock()
            .expect("nobody panics with the lock held");
        Status::new(
            HotStatus {
                engine: self.desk.engine.as_ref(),
                gateway: self.desk.gateway.as_ref(),
                machine: self.machine.show(),
            },
            &self.stages,
            &journal,
            *self.feed.lock().expect("nobody panics with the lock held"),
            self.durability,
            self.oracle.status().clone(),
            ControlCounts {
                logins: self.logins.counters,
                bad_control: self.desk.bad_control,
                proofs: self.desk.proofs,
            },
        )
    }
}

const fn deposit_input(body: &DepositBody) -> InDeposit {
    InDeposit {
        queue_index: body.queue_index,
        amount: body.amount_micro,
        account: body.account,
        owner: body.owner.0,
        key: body.key.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_requests_are_logged_one_a_second_and_counted() {
        let request = |rx: u64, took: u64| StageTimes {
            rx,
            tx: rx + took,
            ..StageTimes::default()
        };
        let mut off = SlowLog::default();
        assert!(!off.look(&request(0, u64::MAX / 2)));
        let mut slow = SlowLog {
            limit_ns: 1_000_000,
            ..SlowLog::default()
        };
        assert!(!slow.look(&request(5, 999_999)));
        assert!(slow.look(&request(5, 1_000_000)));
        for n in 0..3 {
            assert!(!slow.look(&request(10 + n, 2_000_000)));
        }
        assert_eq!(slow.unsaid, 3);
        assert!(slow.look(&request(SLOW_TURN_NS + 5, 1_000_000)));
        assert_eq!(slow.unsaid, 0);
    }
}
