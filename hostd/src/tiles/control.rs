//! The control tile: logins, oracle reports, risk tables, the admin socket's requests, measurements.
//! Everything slow; it can delay gateway and engine by nothing but what it sends there.

use crate::feed::FeedCounters;
use crate::machine::clock::Clock;
use crate::ops::admin::{AdminRequest, DepositBody};
use crate::ops::operator::{CommandRefused, Roll};
use crate::ops::status::{ControlCounts, HotStatus, Stages, Status};
use crate::tiles::journal_tile::JournalStats;
use crate::tiles::lanes::{
    ControlDatagram, EngineSnapshot, FromEngine, FromGateway, GatewaySnapshot, StageTimes, Stopped,
    ToEngine, ToGateway,
};
use crate::tiles::logins::LoginDesk;
use crate::tiles::meters::Machine;
use crate::tiles::oracle_desk::OracleDesk;
use crate::tiles::tile::Pace;
use firmware::session::read_control;
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

/// Things that the control tile keeps for itself.
pub struct Desk {
    gateway: Option<GatewaySnapshot>,
    engine: Option<EngineSnapshot>,
    deposits: VecDeque<oneshot::Sender<Result<u64, DepositError>>>,
    seals: VecDeque<oneshot::Sender<u64>>,
    commands: VecDeque<oneshot::Sender<Result<u64, CommandRefused>>>,
    stop: Option<oneshot::Sender<Stopped>>,
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
            seals: VecDeque::new(),
            commands: VecDeque::new(),
            stop: None,
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
            self.send(ToEngine::RiskTable(table));
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
            FromEngine::Operated(seq) => {
                if let Some(reply) = self.desk.commands.pop_front() {
                    let _ = reply.send(Ok(seq));
                }
            }
            FromEngine::Sealed(batch_no) => {
                if let Some(reply) = self.desk.seals.pop_front() {
                    let _ = reply.send(batch_no);
                }
            }
        }
    }

    /// Returns whether the box has stopped.
    fn on_gateway(&mut self, message: FromGateway) -> bool {
        match message {
            FromGateway::Control(d) => self.on_control(&d),
            FromGateway::Stopped(stopped) => {
                if let Some(reply) = self.desk.stop.take() {
                    let _ = reply.send(stopped);
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
            AdminRequest::Operate(command, reply) => match self.roll.check(&command) {
                Ok(input) => {
                    // Without room the asker hears that the box does not answer.
                    if self.send(ToEngine::Operator(input)) {
                        self.desk.commands.push_back(reply);
                    }
                }
                Err(why) => drop(reply.send(Err(why))),
            },
            AdminRequest::Seal(reply) => {
                self.desk.seals.push_back(reply);
                self.send(ToEngine::Seal);
            }
            AdminRequest::Shutdown(reply) => {
                self.desk.stop = Some(reply);
                self.stop();
            }
        }
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
