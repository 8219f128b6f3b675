//! The engine: the stage that decides. It sequences what members, venue and clock ask for, gives each record to the
//! journal, applies it, and says what came of it. Everything behind its sequencer is a function of the journal
//! ([`Core`]).
//!
//! While the journal or whoever listens has no room for what a burst may cause, nothing is taken in. Before that, from
//! a mark on, the gate refuses what may add risk: the refusal is a record like any other, so a replay needs to know
//! nothing of how full a lane was.

use crate::machine::clock::Clock;
use crate::nic::BURST;
use crate::ops::operator::OperatorInput;
use crate::storage::recover::Listing;
use crate::tiles::core::Core;
use crate::tiles::lanes::{
    Arrival, ArrivalsOut, EngineSnapshot, FromEngine, RecordHead, SMALL_BODY_MAX, StageTimes,
    Stopped, ToEngine, ToJournal, WireCounters,
};
use crate::tiles::meters::LaneMeter;
use crate::tiles::outlet::Outlet;
use bytemuck::Zeroable;
use firmware::gate::{Command, QuoteCommand, refuse_malformed};
use firmware::limits::DATAGRAM_MAX;
use firmware::units::{MemberId, TimeNs};
use firmware::wire::datagram;
use firmware::wire::input::{
    InRiskRules, InSession, InTimer, InVolModel, SESSION_LOST, TIMER_OPERATOR, TIMER_SEAL,
};
use firmware::wire::quote::Asked;
use lane::{Consumer, GaugesReader, Producer, Waker, WatermarkReader};
use matcher::engine::ListingError;
use matcher::sequencer::{Input, Sequenced};

/// Requests that fit one datagram: prefix, header and the smallest block are 26 bytes.
const REQUESTS_PER_DATAGRAM: usize = DATAGRAM_MAX / 26;
/// Room that the journal's lane must have before a burst is taken: all requests of all its datagrams, and
/// as much again for a gap, the batches that they seal and the timers in between.
pub const JOURNAL_ROOM: usize = 2 * BURST * REQUESTS_PER_DATAGRAM;
/// Control messages taken in one turn.
const CONTROL_BURST: usize = 16;
/// How often the time is sequenced, ns: interval settlements run then.
const TIMER_NS: u64 = 500_000_000;
/// How often a snapshot is shown, ns.
const SNAPSHOT_NS: u64 = 100_000_000;

/// Ends of the lanes that the engine holds.
pub struct EngineLanes {
    /// From the control tile.
    pub control_in: Consumer<ToEngine>,
    /// To the control tile.
    pub control_out: Producer<FromEngine>,
    /// Wakes the control tile.
    pub control: Waker,
    /// From the gateway.
    pub arrivals: ArrivalsOut,
    /// To the journal tile.
    pub journal: Producer<ToJournal>,
    /// Measures it.
    pub journal_meter: LaneMeter,
    /// Wakes the journal tile.
    pub journal_waker: Waker,
    /// Buffers for sealed batches, back from the seal tile.
    pub spares: Consumer<Vec<u8>>,
    /// What is durable, to be shown.
    pub durable: WatermarkReader,
    /// Whether the journal's space runs short.
    pub space: GaugesReader<1>,
    /// Whether a quorum of standbys is lacking.
    pub lack: Option<GaugesReader<1>>,
    /// Times of requests, to the gateway.
    pub times: Producer<StageTimes>,
    /// Snapshots, to the control tile.
    pub snapshots: Producer<EngineSnapshot>,
}

/// How full its lanes may be before the engine refuses what may add risk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HighWater {
    /// Records on their way to the journal.
    pub journal: usize,
    /// Words of arrivals that wait.
    pub arrivals: usize,
}

/// The stage.
pub struct EngineStage {
    core: Core,
    lanes: EngineLanes,
    counters: WireCounters,
    high_water: HighWater,
    batch_interval_ns: u64,
    next_timer: u64,
    /// When the engine has something to do by itself, ns.
    next_deadline: u64,
    next_seal: u64,
    next_snapshot: u64,
    is_stopped: bool,
}

impl EngineStage {
    /// A stage around a core that has replayed its journal.
    #[must_use]
    pub fn new(
        core: Core,
        lanes: EngineLanes,
        high_water: HighWater,
        batch_interval_ns: u64,
        now: TimeNs,
    ) -> Self {
        Self {
            next_deadline: core.engine.next_deadline().0,
            core,
            lanes,
            counters: WireCounters::default(),
            high_water,
            batch_interval_ns,
            next_timer: 0,
            next_seal: now.0 + batch_interval_ns,
            next_snapshot: 0,
            is_stopped: false,
        }
    }

    /// Sequences what the journal lacks for this configuration, before anything else.
    pub fn open_day(&mut self, listing: &Listing, now: TimeNs, out: &mut impl Outlet) {
        if let Some(domain) = &listing.domain {
            self.venue(domain, now, out);
        }
        for i in &listing.instruments {
            self.venue(i, now, out);
        }
        for a in &listing.accounts {
            self.venue(a, now, out);
        }
        for c in &listing.drop_copies {
            self.venue(c, now, out);
        }
        if let Some((rules, notice_ns)) = &listing.risk_rules {
            let rules = InRiskRules {
                effective_time: match notice_ns {
                    0 => 0,
                    notice => now.0 + notice,
                },
                ..*rules
            };
            self.venue(&rules, now, out);
        }
        if let Some((model, notice_ns)) = &listing.vol_model {
            let model = InVolModel {
                effective_time: match notice_ns {
                    0 => 0,
                    notice => now.0 + notice,
                },
                ..*model
            };
            self.venue(&model, now, out);
        }
        self.end_sessions_of_before(now, out);
        self.lanes.journal_waker.wake();
    }

    /// Sessions that the journal shows open ended with the process that held their keys.
    fn end_sessions_of_before(&mut self, now: TimeNs, out: &mut impl Outlet) {
        for id in 0..self.core.members.len() {
            let open = self.core.members[id]
                .as_mut()
                .and_then(|f| f.session.take());
            if let Some(session_id) = open {
                let event = InSession {
                    session_id,
                    event: SESSION_LOST,
                    ..InSession::zeroed()
                };
                self.member_input(MemberId(id as u32), &event, now, out);
            }
        }
    }

    /// One turn: takes what has come in, and what is due; returns how much was done.
    pub fn poll(&mut self, clock: &mut impl Clock, out: &mut impl Outlet) -> usize {
        if self.is_stopped {
            return 0;
        }
        let now = clock.now();
        let mut work = self.take_control(now, out);
        let taken = self.take_arrivals(clock, out);
        if let Some(count) = taken {
            work += count;
            // After the datagrams: one of them may put the deadline off.
            if now.0 >= self.next_deadline && self.has_room(out) {
                self.pass_time(0, now, out);
                work += 1;
            }
            work += self.run_timer(now, out);
        }
        if now.0 >= self.next_snapshot {
            self.next_snapshot = now.0 + SNAPSHOT_NS;
            self.show(clock);
        }
        if work > 0 {
            self.lanes.journal_waker.wake();
        }
        work
    }

    /// Whether something waits in a lane.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.lanes.control_in.is_empty() || !self.lanes.arrivals.is_empty()
    }

    /// Whether it has said its last word.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// When it has something to do by itself.
    #[must_use]
    pub const fn next_deadline(&self) -> TimeNs {
        TimeNs(self.next_deadline)
    }

    /// Finds out whether the tile behind the journal's lane, or the gateway, is gone.
    ///
    /// # Errors
    /// Which one: the box stops.
    pub fn check_neighbours(&self) -> anyhow::Result<()> {
        if self.lanes.journal.is_abandoned() {
            anyhow::bail!("the journal has stopped");
        }
        Ok(())
    }

    /// Whether the gateway is gone and all that it sent was taken.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        self.lanes.arrivals.is_abandoned() && self.lanes.arrivals.is_empty()
    }

    /// The core, for tests and audits.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// What was counted here.
    #[must_use]
    pub const fn counters(&self) -> &WireCounters {
        &self.counters
    }

    /// Whether what one burst causes as a rule can be handed on.
    fn has_room(&self, out: &impl Outlet) -> bool {
        self.lanes.journal.has_room(JOURNAL_ROOM) && out.has_room()
    }

    fn take_control(&mut self, now: TimeNs, out: &mut impl Outlet) -> usize {
        for taken in 0..CONTROL_BURST {
            if self.lanes.control_in.is_empty() || !self.has_room(out) {
                return taken;
            }
            let Some(message) = self.lanes.control_in.pop() else {
                return taken;
            };
            self.on_control(message, now, out);
        }
        CONTROL_BURST
    }

    fn on_control(&mut self, message: ToEngine, now: TimeNs, out: &mut impl Outlet) {
        match message {
            ToEngine::Oracle(report) => self.venue(&report, now, out),
            ToEngine::RiskTable(table) => {
                // One that was made before the last listing lacks its column.
                let columns = self.core.engine.columns();
                let table = if table.columns.len() < columns {
                    table.widened(columns)
                } else {
                    table
                };
                self.adopt(table, now, out);
                self.answer(FromEngine::Adopted {
                    range_ppm: self.core.engine.range_ppm(),
                });
            }
            ToEngine::Deposit(deposit) => {
                let checked = self.core.engine.check_deposit(&deposit);
                let answer = checked.map(|()| {
                    self.venue(&deposit, now, out);
                    self.core.engine.next_deposit()
                });
                self.answer(FromEngine::Deposit(answer));
            }
            ToEngine::Operator(act, command) => {
                if let Err(why) = self.check_listing(command.as_ref()) {
                    return self.answer(FromEngine::Declined(why));
                }
                self.venue(&act, now, out);
                match &command {
                    None => {}
                    Some(OperatorInput::State(m)) => self.venue(m, now, out),
                    Some(OperatorInput::Lock(m)) => self.venue(m, now, out),
                    Some(OperatorInput::Cancel(m)) => self.venue(m, now, out),
                    Some(OperatorInput::Limits(m)) => self.venue(m, now, out),
                    Some(OperatorInput::List(m)) => self.venue(m, now, out),
                    Some(OperatorInput::Delist(m)) => self.venue(m, now, out),
                    Some(OperatorInput::Rules(m, notice_ns)) => {
                        let rules = InRiskRules {
                            effective_time: now.0 + notice_ns,
                            ..*m
                        };
                        self.venue(&rules, now, out);
                    }
                    Some(OperatorInput::Seal) => {
                        self.pass_time(TIMER_SEAL | TIMER_OPERATOR, now, out);
                    }
                }
                let engine = &self.core.engine;
                self.answer(FromEngine::Operated {
                    seq: engine.last_seq().0,
                    batch_no: engine.batch_no() - 1,
                });
            }
            ToEngine::Look(mut look) => {
                self.core.look(&mut look);
                self.answer(FromEngine::Looked(look));
            }
        }
    }

    /// Whether a listing, or the end of one, can be sequenced now.
    fn check_listing(&self, command: Option<&OperatorInput>) -> Result<(), ListingError> {
        match command {
            Some(OperatorInput::List(m)) => self.core.engine.check_listing(m),
            Some(OperatorInput::Delist(m)) => self.core.engine.check_delisting(m),
            _ => Ok(()),
        }
    }

    fn answer(&mut self, message: FromEngine) {
        // The control tile asks one thing at a time and has room for the answer.
        let sent = self.lanes.control_out.push(message);
        assert!(
            sent.is_ok(),
            "the control tile left no room for an answer that it asked for"
        );
        self.lanes.control.wake();
    }

    /// Takes what the gateway handed over, a burst at most; `None` when nothing may be taken now.
    fn take_arrivals(&mut self, clock: &mut impl Clock, out: &mut impl Outlet) -> Option<usize> {
        // Looks at the other ends of its lanes cost these a cache line, so idle turns take none.
        if self.lanes.arrivals.is_empty() {
            return Some(0);
        }
        let room = self.note_journal();
        if room < JOURNAL_ROOM || !out.has_room() {
            self.note_stall(room, out);
            return None;
        }
        let is_over = self.lanes.journal_meter.used() > self.high_water.journal as u64
            || self.lanes.arrivals.len() > self.high_water.arrivals
            || self.lanes.space.get() != [0]
            || (self.lanes.lack.as_ref()).is_some_and(|lack| lack.get() != [0]);
        self.core.gate.set_overloaded(is_over);
        let mut taken = 0;
        while taken < BURST && self.take_arrival(clock, out) {
            taken += 1;
        }
        Some(taken)
    }

    /// Shows how full the journal's lane is; returns its room.
    fn note_journal(&mut self) -> usize {
        let room = self.lanes.journal.room();
        self.lanes.journal_meter.note_room(room);
        room
    }

    fn note_stall(&mut self, room: usize, out: &mut impl Outlet) {
        if room < JOURNAL_ROOM {
            self.counters.journal_stalls += 1;
            self.lanes.journal_meter.stalled();
        } else {
            out.note_stall();
        }
    }

    fn take_arrival(&mut self, clock: &mut impl Clock, out: &mut impl Outlet) -> bool {
        // The frame lies in the lane's own buffer, which the rest of the stage does not touch.
        let Self {
            core,
            lanes,
            counters,
            next_deadline,
            ..
        } = self;
        let EngineLanes {
            arrivals,
            journal,
            journal_waker,
            journal_meter,
            spares,
            times,
            ..
        } = lanes;
        let Some(arrival) = arrivals.pop() else {
            return false;
        };
        let mut run = Run {
            core,
            journal,
            journal_waker,
            journal_meter,
            spares,
            times,
            counters,
            next_deadline,
        };
        match arrival {
            Arrival::Requests {
                member,
                first,
                skip,
                rx_time,
                body,
            } => run.requests(member, first, skip, rx_time, body, clock, out),
            Arrival::Gap(member, gap) => run.member_input(member, &gap, clock.now(), out),
            Arrival::Session(member, event) => run.member_input(member, &event, clock.now(), out),
            Arrival::Stop => self.stop(clock, out),
        }
        true
    }

    fn run(&mut self) -> Run<'_> {
        Run {
            core: &mut self.core,
            journal: &mut self.lanes.journal,
            journal_waker: &self.lanes.journal_waker,
            journal_meter: &mut self.lanes.journal_meter,
            spares: &mut self.lanes.spares,
            times: &mut self.lanes.times,
            counters: &mut self.counters,
            next_deadline: &mut self.next_deadline,
        }
    }

    /// Sequences and applies an input of the venue.
    fn venue<'a>(&mut self, input: impl Into<Input<'a>>, now: TimeNs, out: &mut impl Outlet) {
        self.run().venue(input, now, out);
    }

    fn member_input<'a>(
        &mut self,
        member: MemberId,
        input: impl Into<Input<'a>>,
        now: TimeNs,
        out: &mut impl Outlet,
    ) {
        self.run().member_input(member, input, now, out);
    }

    /// Sequences the time: what is due happens.
    fn pass_time(&mut self, flags: u32, now: TimeNs, out: &mut impl Outlet) {
        self.venue(&InTimer { flags, pad1: 0 }, now, out);
    }

    fn adopt(&mut self, table: Box<matcher::table::RiskTable>, now: TimeNs, out: &mut impl Outlet) {
        self.run().adopt(table, now, out);
    }

    fn run_timer(&mut self, now: TimeNs, out: &mut impl Outlet) -> usize {
        if now.0 < self.next_timer || self.is_stopped || !self.has_room(out) {
            return 0;
        }
        self.next_timer = now.0 + TIMER_NS;
        if self.core.engine.batch_is_empty() {
            self.next_seal = now.0 + self.batch_interval_ns;
        }
        let seal = now.0 >= self.next_seal;
        if seal {
            self.next_seal = now.0 + self.batch_interval_ns;
        }
        self.pass_time(if seal { TIMER_SEAL } else { 0 }, now, out);
        1
    }

    fn stop(&mut self, clock: &impl Clock, out: &mut impl Outlet) {
        self.is_stopped = true;
        self.show(clock);
        out.stopped(Stopped {
            engine_seq: self.core.engine.last_seq().0,
            state_hash: self.core.engine.state_hash(),
            batches_sealed: self.core.engine.batch_no() - 1,
        });
    }

    fn show(&mut self, clock: &impl Clock) {
        self.note_journal();
        let engine = &self.core.engine;
        let snapshot = EngineSnapshot {
            engine_seq: engine.last_seq().0,
            durable_seq: self.lanes.durable.get(),
            live_orders: matcher::book::OrderBook::live(engine.book()) as u64,
            next_deposit: engine.next_deposit(),
            batches_sealed: engine.batch_no() - 1,
            risk_epoch: engine.table().map_or(0, |t| t.epoch),
            engine: engine.counters(),
            rejects: self.core.rejects,
            wire: self.counters,
            clock: clock.health(),
        };
        // No room: the control tile has newer ones to read than it reads.
        let _ = self.lanes.snapshots.push(snapshot);
        self.lanes.control.wake();
    }
}

/// What an input goes through, while its bytes lie in another part of the stage.
struct Run<'r> {
    core: &'r mut Core,
    journal: &'r mut Producer<ToJournal>,
    journal_waker: &'r Waker,
    journal_meter: &'r mut LaneMeter,
    spares: &'r mut Consumer<Vec<u8>>,
    times: &'r mut Producer<StageTimes>,
    counters: &'r mut WireCounters,
    next_deadline: &'r mut u64,
}

impl Run<'_> {
    fn venue<'a>(&mut self, input: impl Into<Input<'a>>, now: TimeNs, out: &mut impl Outlet) {
        let sequenced = self.core.sequencer.venue(input, now);
        self.journal(&sequenced, out);
        self.apply(&sequenced, out);
    }

    fn member_input<'a>(
        &mut self,
        member: MemberId,
        input: impl Into<Input<'a>>,
        now: TimeNs,
        out: &mut impl Outlet,
    ) {
        let sequenced = self.core.sequencer.session(member, input, now);
        self.journal(&sequenced, out);
        self.apply(&sequenced, out);
    }

    fn adopt(&mut self, table: Box<matcher::table::RiskTable>, now: TimeNs, out: &mut impl Outlet) {
        let sequenced = self.core.sequencer.venue(&*table, now);
        let head = head(&sequenced);
        self.apply(&sequenced, out);
        // A batch that the table closes covers the table's own record, so the record goes first.
        let sealed = self.take_sealed();
        self.push(ToJournal::RiskTable(head, table), out);
        sealed
            .into_iter()
            .for_each(|b| self.push(ToJournal::Sealed(b), out));
    }

    #[expect(clippy::too_many_arguments, reason = "an arrival, taken apart")]
    fn requests(
        &mut self,
        member: MemberId,
        first: u64,
        skip: u32,
        rx_time: TimeNs,
        body: &[u8],
        clock: &mut impl Clock,
        out: &mut impl Outlet,
    ) {
        for (i, message) in datagram::messages(body).enumerate().skip(skip as usize) {
            let client_seq = first + i as u64;
            match message.ok().and_then(|m| Asked::decode(m).ok()) {
                Some(Asked::Request(request)) => {
                    let command = Command {
                        member,
                        client_seq,
                        rx_time,
                        request,
                    };
                    self.request(&command, clock, out);
                }
                Some(Asked::MassQuote(quote)) => {
                    let command = QuoteCommand {
                        member,
                        client_seq,
                        rx_time,
                        quote,
                    };
                    self.mass_quote(&command, clock, out);
                }
                None => {
                    self.counters.malformed += 1;
                    let head = message
                        .ok()
                        .and_then(|m| firmware::wire::sbe::split(m).ok())
                        .map(|(h, _)| h);
                    let refused = refuse_malformed(head, client_seq, rx_time);
                    self.member_input(member, &refused, clock.now(), out);
                }
            }
        }
    }

    fn request(&mut self, command: &Command, clock: &mut impl Clock, out: &mut impl Outlet) {
        let now = clock.now();
        let checked = self.core.gate.check(command, now);
        let gated = clock.now();
        let sequenced = match &checked {
            Ok(admitted) => self.core.sequencer.admit(admitted, now),
            Err(refused) => {
                note_refusal(self.journal_meter, refused.reason);
                self.core.sequencer.session(command.member, refused, now)
            }
        };
        self.run_through(&sequenced, command.rx_time, gated, clock, out);
    }

    fn mass_quote(
        &mut self,
        command: &QuoteCommand<'_>,
        clock: &mut impl Clock,
        out: &mut impl Outlet,
    ) {
        let now = clock.now();
        let checked = self.core.gate.check_quote(command, now);
        let gated = clock.now();
        let sequenced = match &checked {
            Ok(quote) => self.core.sequencer.admit_quote(quote, now),
            Err(refused) => {
                note_refusal(self.journal_meter, refused.reason);
                self.core.sequencer.session(command.member, refused, now)
            }
        };
        self.run_through(&sequenced, command.rx_time, gated, clock, out);
    }

    /// Takes a sequenced request through journal and engine, and notes the times.
    fn run_through(
        &mut self,
        sequenced: &Sequenced<'_>,
        rx_time: TimeNs,
        gated: TimeNs,
        clock: &mut impl Clock,
        out: &mut impl Outlet,
    ) {
        let mut times = StageTimes {
            rx: rx_time.0,
            gated: gated.0,
            seq: sequenced.seq().0,
            ..StageTimes::default()
        };
        self.journal(sequenced, out);
        times.sequenced = clock.now().0;
        self.apply(sequenced, out);
        times.matched = clock.now().0;
        if self.times.push(times).is_err() {
            self.counters.samples_dropped += 1;
        }
    }

    fn journal(&mut self, s: &Sequenced<'_>, out: &mut impl Outlet) {
        let mut bytes = s.input().bytes();
        while let Some((part, rest)) = bytes.split_first_chunk::<SMALL_BODY_MAX>()
            && !rest.is_empty()
        {
            self.push(ToJournal::Part(*part), out);
            bytes = rest;
        }
        let mut body = [0; SMALL_BODY_MAX];
        body[..bytes.len()].copy_from_slice(bytes);
        let record = ToJournal::Record {
            head: head(s),
            len: bytes.len() as u16,
            body,
        };
        self.push(record, out);
    }

    fn push(&mut self, item: ToJournal, out: &mut impl Outlet) {
        let mut left = self.journal.push(item);
        // There was room for what one burst causes as a rule. More than that waits here.
        while let Err(item) = left {
            if self.journal.is_abandoned() {
                // The loop finds it out and stops the box.
                return;
            }
            self.counters.journal_waits += 1;
            self.journal_meter.waited();
            self.journal_waker.wake();
            if !out.wait_for_journal() {
                return;
            }
            left = self.journal.push(item);
        }
    }

    /// Applies an input whose record the journal has been given, and says what came of it.
    fn apply(&mut self, s: &Sequenced<'_>, out: &mut impl Outlet) {
        self.core.apply(s);
        *self.next_deadline = self.core.engine.next_deadline().0;
        for (member, report) in self.core.told() {
            out.report(member, report);
        }
        for message in self.core.said() {
            out.feed(s.seq().0, message);
        }
        if !matches!(s.input(), Input::RiskTable(_)) {
            for batch in self.take_sealed() {
                self.push(ToJournal::Sealed(batch), out);
            }
        }
    }

    /// Batches that the last input closed, each in a buffer of its own.
    fn take_sealed(&mut self) -> Vec<Vec<u8>> {
        // An empty Vec takes no memory; batches are closed every few seconds at most.
        let spares = &mut *self.spares;
        let copy = |bytes: &[u8]| {
            let mut buffer = spares.pop().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(bytes);
            buffer
        };
        self.core.outbox.sealed().map(copy).collect()
    }
}

fn note_refusal(meter: &mut LaneMeter, reason: u16) {
    if reason == firmware::reject::RejectCode::Overloaded as u16 {
        meter.refused(1);
    }
}

fn head(s: &Sequenced<'_>) -> RecordHead {
    RecordHead {
        seq: s.seq().0,
        time_ns: s.time().0,
        template: s.input().template(),
        session: s.member().0,
    }
}
