//! The hot tile of topology `shared`: ingress, gate, sequencer, engine and egress, run to completion.
//!
//! One turn: take what the control tile sent, take a burst off the NIC, run each request through to its
//! outcomes, let out what has become durable. Nothing is sent before its record is durable, and while the
//! journal has no room nothing is taken in: packets wait in the socket, nothing is half done.

mod io;
mod sessions;
mod spool_link;

pub use spool_link::{SPOOL_READS_MAX, SpoolLink};

use crate::clock::Clock;
use crate::core::Core;
use crate::egress::{Egress, FeedEgress, ORDERS, ORDERS_B};
use crate::lanes::{
    ControlDatagram, FromHot, RecordHead, SMALL_BODY_MAX, Snapshot, StageTimes, ToHot, ToJournal,
    WireCounters,
};
use crate::nic::{BURST, Nic, RxBurst};
use crate::operator::OperatorInput;
use crate::recover::Listing;
use crate::sessions::{Authentic, Connection, Peer, Place};
use firmware::gate::{Command, QuoteCommand, refuse_malformed};
use firmware::limits::DATAGRAM_MAX;
use firmware::session::{Offer, PacketRefused};
use firmware::units::{MemberId, TimeNs};
use firmware::wire::datagram::{self, DatagramHeader, KIND_CONTROL, KIND_DATA, KIND_HEARTBEAT};
use firmware::wire::input::{InGap, InTimer, TIMER_OPERATOR, TIMER_SEAL};
use firmware::wire::quote::Asked;
use io::TileIo;
use lane::{Consumer, Parker, Producer, Waker, WatermarkReader};
use matcher::sequencer::{Input, Sequenced};
use std::time::Duration;

/// Requests that fit one datagram: prefix, header and the smallest block are 26 bytes.
const REQUESTS_PER_DATAGRAM: usize = DATAGRAM_MAX / 26;
/// Room that the journal's lane must have before a burst is taken: all requests of all its datagrams, and
/// as much again for a gap, the batches that they seal and the timers in between.
pub const JOURNAL_ROOM: usize = 2 * BURST * REQUESTS_PER_DATAGRAM;
/// Control messages taken in one turn.
const CONTROL_BURST: usize = 16;
/// Turns without work before the tile parks.
pub const SPINS: u32 = 64;
/// Longest sleep: heartbeats and timers are looked at when it ends.
pub const PARK: Duration = Duration::from_millis(5);
/// Shortest sleep: something may be due that there is no room for.
const PARK_MIN: Duration = Duration::from_micros(50);
/// How often sessions and timers are looked at, ns.
const HOUSEKEEPING_NS: u64 = 2_000_000;
/// How often the time is sequenced, ns: interval settlements run then.
const TIMER_NS: u64 = 500_000_000;
/// How often a snapshot is shown, ns.
const SNAPSHOT_NS: u64 = 100_000_000;

/// Ends of the lanes that the hot tile holds.
pub struct HotLanes {
    /// From the control tile.
    pub control_in: Consumer<ToHot>,
    /// To the control tile.
    pub control_out: Producer<FromHot>,
    /// Wakes the control tile.
    pub control: Waker,
    /// To the journal tile.
    pub journal: Producer<ToJournal>,
    /// Wakes the journal tile.
    pub journal_waker: Waker,
    /// Buffers for sealed batches, back from the journal tile.
    pub spares: Consumer<Vec<u8>>,
    /// What is durable.
    pub durable: WatermarkReader,
    /// Stage times, to the control tile.
    pub samples: Producer<StageTimes>,
    /// Snapshots, to the control tile.
    pub snapshots: Producer<Snapshot>,
    /// Where this tile sleeps.
    pub parker: Parker,
}

/// The tile.
pub struct HotTile<N, C> {
    nic: N,
    clock: C,
    core: Core,
    lanes: HotLanes,
    io: TileIo,
    batch_interval_ns: u64,
    next_housekeeping: u64,
    next_timer: u64,
    /// When the engine has something to do by itself, ns.
    next_deadline: u64,
    next_seal: u64,
    next_snapshot: u64,
    is_stopping: bool,
}

impl<N: Nic, C: Clock> HotTile<N, C> {
    /// A tile around a core that has replayed its journal.
    pub fn new(
        nic: N,
        mut clock: C,
        core: Core,
        lanes: HotLanes,
        spool: SpoolLink,
        feed: FeedEgress,
        batch_interval_ns: u64,
    ) -> Self {
        let egress = Egress::new(feed, lanes.durable.get());
        let now = clock.now();
        let next_deadline = core.engine.next_deadline().0;
        Self {
            nic,
            io: TileIo::new(egress, spool, now),
            clock,
            core,
            lanes,
            batch_interval_ns,
            next_housekeeping: 0,
            next_timer: 0,
            next_deadline,
            next_seal: now.0 + batch_interval_ns,
            next_snapshot: 0,
            is_stopping: false,
        }
    }

    /// Sequences what the journal lacks for this configuration, before anything else.
    pub fn open_day(&mut self, listing: &Listing) {
        let now = self.clock.now();
        if let Some(domain) = &listing.domain {
            self.venue(domain, now);
        }
        listing.instruments.iter().for_each(|i| self.venue(i, now));
        listing.accounts.iter().for_each(|a| self.venue(a, now));
        (listing.drop_copies.iter()).for_each(|c| self.venue(c, now));
        self.end_sessions_of_before(now);
        self.lanes.journal_waker.wake();
    }

    /// Runs until the control tile says stop.
    ///
    /// # Errors
    /// When the NIC fails, or journal or feed tile is gone: the box stops.
    pub fn run(mut self) -> anyhow::Result<()> {
        let mut burst = RxBurst::new();
        let mut idle = 0;
        loop {
            let work = self.turn(&mut burst)?;
            if self.is_stopping && self.is_drained() {
                self.finish();
                return Ok(());
            }
            if self.lanes.journal.is_abandoned() {
                anyhow::bail!("the journal has stopped");
            }
            if self.io.egress.feed.is_abandoned() {
                anyhow::bail!("the feed tile has stopped");
            }
            if self.io.spool.is_abandoned() {
                anyhow::bail!("the spool has stopped");
            }
            idle = if work > 0 { 0 } else { idle + 1 };
            if idle > SPINS {
                self.park()?;
                idle = 0;
            }
        }
    }

    fn park(&mut self) -> anyhow::Result<()> {
        self.lanes.parker.announce();
        let durable_moved =
            self.io.egress.is_waiting() && self.lanes.durable.get() > self.io.egress.durable();
        if self.lanes.control_in.is_empty() && !durable_moved && !self.io.spool.has_answers() {
            let left = self.next_deadline.saturating_sub(self.clock.now().0);
            let pause = Duration::from_nanos(left).clamp(PARK_MIN, PARK);
            self.nic.wait(&self.lanes.parker, pause)?;
        }
        self.lanes.parker.resume();
        Ok(())
    }

    /// The core, for tests and audits.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// What was counted on the datagram side.
    #[must_use]
    pub const fn counters(&self) -> &WireCounters {
        &self.io.egress.counters
    }

    /// One turn of the loop; returns how much was done.
    ///
    /// # Errors
    /// When the NIC fails.
    pub fn turn(&mut self, burst: &mut RxBurst) -> anyhow::Result<usize> {
        let now = self.clock.now();
        let mut work = self.take_control(now);
        let taken = self.take_datagrams(burst, now)?;
        // After the datagrams: one of them may put the deadline off.
        if now.0 >= self.next_deadline && taken.is_some() && self.has_room() {
            self.pass_time(0, now);
            work += 1;
        }
        if now.0 >= self.next_housekeeping {
            self.next_housekeeping = now.0 + HOUSEKEEPING_NS;
            self.housekeeping(now);
        }
        // Nobody counts as silent while what he sent may wait in a socket.
        if let Some(count) = taken {
            work += count + self.run_timers(now, count < BURST);
        }
        if work > 0 {
            self.lanes.journal_waker.wake();
        }
        work += self.io.take_spooled(&self.core, now, &mut self.nic);
        work += self.let_out();
        self.io.spool.nudge();
        Ok(work)
    }

    /// Takes what has come in; `None` when nothing may be taken now.
    fn take_datagrams(
        &mut self,
        burst: &mut RxBurst,
        now: TimeNs,
    ) -> anyhow::Result<Option<usize>> {
        if self.is_stopping {
            return Ok(None);
        }
        if !self.has_room() {
            self.note_stall();
            return Ok(None);
        }
        let count = self.nic.poll(burst)?;
        for frame in burst.iter() {
            if frame.socket == ORDERS || frame.socket == ORDERS_B {
                let from = Peer {
                    socket: frame.socket as u16,
                    address: frame.from,
                };
                self.on_datagram(from, frame.payload, frame.rx_time, now);
            } else {
                // The feed's source only sends; re-requests have their own server.
                self.io.egress.counters.bad_frame += 1;
            }
        }
        Ok(Some(count))
    }

    /// Whether what one burst causes as a rule can be handed on.
    fn has_room(&self) -> bool {
        self.lanes.journal.room() >= JOURNAL_ROOM
            && self.io.spool.has_room()
            && self.io.egress.feed.has_room(&self.core.feed)
    }

    fn note_stall(&mut self) {
        let counters = &mut self.io.egress.counters;
        if self.lanes.journal.room() < JOURNAL_ROOM {
            counters.journal_stalls += 1;
        } else if self.io.spool.has_room() {
            counters.feed_stalls += 1;
        } else {
            counters.spool_stalls += 1;
        }
    }

    fn take_control(&mut self, now: TimeNs) -> usize {
        for taken in 0..CONTROL_BURST {
            if !self.has_room() {
                return taken;
            }
            let Some(message) = self.lanes.control_in.pop() else {
                return taken;
            };
            self.on_control(message, now);
        }
        CONTROL_BURST
    }

    fn on_control(&mut self, message: ToHot, now: TimeNs) {
        match message {
            ToHot::Login(session, peer) => {
                let member = session.member;
                self.io
                    .connections
                    .add_pending(member, Connection::new(*session, peer, now));
            }
            ToHot::Send(d) => self.io.egress.control(&mut self.nic, d.peer, d.payload()),
            ToHot::Oracle(report) => self.venue(&report, now),
            ToHot::RiskTable(table) => self.adopt(table, now),
            ToHot::Deposit(deposit) => {
                let answer = self.core.engine.check_deposit(&deposit).map(|()| {
                    self.venue(&deposit, now);
                    self.core.engine.next_deposit()
                });
                self.answer(FromHot::Deposit(answer));
            }
            ToHot::Operator(command) => {
                match &command {
                    OperatorInput::State(m) => self.venue(m, now),
                    OperatorInput::Lock(m) => self.venue(m, now),
                    OperatorInput::Cancel(m) => self.venue(m, now),
                }
                self.answer(FromHot::Operated(self.core.engine.last_seq().0));
            }
            ToHot::Seal => {
                self.pass_time(TIMER_SEAL | TIMER_OPERATOR, now);
                self.answer(FromHot::Sealed(self.core.engine.batch_no() - 1));
            }
            ToHot::Stop => self.is_stopping = true,
        }
    }

    fn answer(&mut self, message: FromHot) {
        // The control tile asks one thing at a time and has room for the answer.
        let sent = self.lanes.control_out.push(message);
        assert!(
            sent.is_ok(),
            "the control tile left no room for an answer that it asked for"
        );
        self.lanes.control.wake();
    }

    /// Sequences and applies an input of the venue.
    fn venue<'a>(&mut self, input: impl Into<Input<'a>>, now: TimeNs) {
        let sequenced = self.core.sequencer.venue(input, now);
        self.journal(&sequenced);
        self.apply(&sequenced);
    }

    /// Sequences the time: what is due happens.
    fn pass_time(&mut self, flags: u32, now: TimeNs) {
        self.venue(&InTimer { flags, pad1: 0 }, now);
    }

    fn adopt(&mut self, table: Box<matcher::table::RiskTable>, now: TimeNs) {
        let sequenced = self.core.sequencer.venue(&*table, now);
        let head = head(&sequenced);
        self.apply(&sequenced);
        // A batch that the table closes covers the table's own record, so the record goes first.
        let sealed = self.take_sealed();
        self.push(ToJournal::RiskTable(head, table));
        sealed
            .into_iter()
            .for_each(|b| self.push(ToJournal::Sealed(b)));
    }

    fn journal(&mut self, s: &Sequenced<'_>) {
        let mut bytes = s.input().bytes();
        while let Some((part, rest)) = bytes.split_first_chunk::<SMALL_BODY_MAX>()
            && !rest.is_empty()
        {
            self.push(ToJournal::Part(*part));
            bytes = rest;
        }
        let mut body = [0; SMALL_BODY_MAX];
        body[..bytes.len()].copy_from_slice(bytes);
        self.push(ToJournal::Record {
            head: head(s),
            len: bytes.len() as u16,
            body,
        });
    }

    fn push(&mut self, item: ToJournal) {
        let mut left = self.lanes.journal.push(item);
        // There was room for what one burst causes as a rule. More than that waits here.
        while let Err(item) = left {
            if self.lanes.journal.is_abandoned() {
                // The loop finds it out and stops the box.
                return;
            }
            self.io.egress.counters.journal_waits += 1;
            self.lanes.journal_waker.wake();
            std::hint::spin_loop();
            left = self.lanes.journal.push(item);
        }
    }

    /// Applies an input whose record the journal has been given.
    fn apply(&mut self, s: &Sequenced<'_>) {
        self.core.apply(s);
        self.next_deadline = self.core.engine.next_deadline().0;
        self.io.note_reports(&self.core);
        if !matches!(s.input(), Input::RiskTable(_)) {
            for batch in self.take_sealed() {
                self.push(ToJournal::Sealed(batch));
            }
        }
    }

    /// Batches that the last input closed, each in a buffer of its own.
    fn take_sealed(&mut self) -> Vec<Vec<u8>> {
        // An empty Vec takes no memory; batches are closed every few seconds at most.
        let spares = &mut self.lanes.spares;
        let copy = |bytes: &[u8]| {
            let mut buffer = spares.pop().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(bytes);
            buffer
        };
        self.core.outbox.sealed().map(copy).collect()
    }

    fn on_datagram(&mut self, from: Peer, payload: &[u8], rx_time: TimeNs, now: TimeNs) {
        let is_b = u64::from(usize::from(from.socket) == ORDERS_B);
        self.io.egress.counters.rx_datagrams += 1;
        self.io.egress.counters.rx_datagrams_b += is_b;
        let Ok((header, body, tag)) = datagram::split(payload) else {
            self.io.egress.counters.bad_frame += 1;
            return;
        };
        if header.kind == KIND_CONTROL && header.conn_id == 0 {
            return self.forward(from, payload);
        }
        let Some((member, place, connection)) = self.io.connections.find(header.conn_id) else {
            self.io.egress.counters.unknown_connection += 1;
            return;
        };
        let signed = &payload[..payload.len() - tag.len()];
        let counters = &mut self.io.egress.counters;
        match connection.authenticate(&header, signed, tag) {
            Authentic::Yes => {}
            Authentic::Refused(PacketRefused::Seen) => return counters.replayed += 1,
            Authentic::Refused(PacketRefused::TooOld) => return counters.too_old += 1,
            Authentic::Refused(PacketRefused::KeysUsedUp) => return counters.keys_used_up += 1,
            Authentic::BadTag => return counters.bad_tag += 1,
        }
        counters.first_on_b += is_b;
        connection.keep_alive.heard(now);
        connection.peer = from;
        match (header.kind, place) {
            (KIND_CONTROL, _) => self.on_session_message(member, place, body, now),
            (KIND_DATA, Place::Live) => self.on_requests(member, &header, body, rx_time, now),
            (KIND_HEARTBEAT, Place::Live) => drop(self.offer(member, header.next_seq_no, 0, now)),
            _ => self.io.egress.counters.bad_frame += 1,
        }
    }

    /// Logins and oracle reports cost hundreds of microseconds: they are the control tile's.
    fn forward(&mut self, from: Peer, payload: &[u8]) {
        let sent = ControlDatagram::new(from, payload).is_some_and(|d| {
            self.lanes.control_out.room() > 8
                && self.lanes.control_out.push(FromHot::Control(d)).is_ok()
        });
        if sent {
            self.lanes.control.wake();
        } else {
            self.io.egress.counters.control_dropped += 1;
        }
    }

    /// Offers numbers to a member's flow; a gap is sequenced and reported. Returns how many requests at
    /// the start of the datagram are to be skipped, or `None` when all are.
    fn offer(&mut self, member: MemberId, first: u64, count: u32, now: TimeNs) -> Option<u32> {
        let flow = self.core.members[member.0 as usize].as_mut()?;
        match flow.inbound.offer(first, count) {
            Offer::Apply { skip } => {
                self.io.egress.counters.duplicate_requests += u64::from(skip);
                Some(skip)
            }
            Offer::Duplicate => {
                self.io.egress.counters.duplicate_requests += u64::from(count);
                None
            }
            Offer::Gap { from, count } => {
                self.io.egress.counters.gaps += count;
                let gap = InGap {
                    from_seq_no: from,
                    count,
                };
                self.member_input(member, &gap, now);
                Some(0)
            }
            Offer::OutOfRange => {
                self.protocol_error(member, now);
                None
            }
        }
    }

    fn member_input<'a>(&mut self, member: MemberId, input: impl Into<Input<'a>>, now: TimeNs) {
        let sequenced = self.core.sequencer.session(member, input, now);
        self.journal(&sequenced);
        self.apply(&sequenced);
    }

    fn on_requests(
        &mut self,
        member: MemberId,
        header: &DatagramHeader,
        body: &[u8],
        rx_time: TimeNs,
        now: TimeNs,
    ) {
        let count = datagram::messages(body).count() as u32;
        let Some(skip) = self.offer(member, header.next_seq_no, count, now) else {
            return;
        };
        for (i, message) in datagram::messages(body).enumerate().skip(skip as usize) {
            let client_seq = header.next_seq_no + i as u64;
            match message.ok().and_then(|m| Asked::decode(m).ok()) {
                Some(Asked::Request(request)) => self.request(Command {
                    member,
                    client_seq,
                    rx_time,
                    request,
                }),
                Some(Asked::MassQuote(quote)) => self.mass_quote(QuoteCommand {
                    member,
                    client_seq,
                    rx_time,
                    quote,
                }),
                None => {
                    self.io.egress.counters.malformed += 1;
                    let head = message
                        .ok()
                        .and_then(|m| firmware::wire::sbe::split(m).ok())
                        .map(|(h, _)| h);
                    let refused = refuse_malformed(head, client_seq, rx_time);
                    self.member_input(member, &refused, now);
                }
            }
        }
    }

    fn request(&mut self, command: Command) {
        let now = self.clock.now();
        let checked = self.core.gate.check(&command, now);
        let gated = self.clock.now();
        let sequenced = match &checked {
            Ok(admitted) => self.core.sequencer.admit(admitted, now),
            Err(refused) => self.core.sequencer.session(command.member, refused, now),
        };
        self.run_through(&sequenced, command.rx_time, gated);
    }

    fn mass_quote(&mut self, command: QuoteCommand<'_>) {
        let now = self.clock.now();
        let checked = self.core.gate.check_quote(&command, now);
        let gated = self.clock.now();
        let sequenced = match &checked {
            Ok(quote) => self.core.sequencer.admit_quote(quote, now),
            Err(refused) => self.core.sequencer.session(command.member, refused, now),
        };
        self.run_through(&sequenced, command.rx_time, gated);
    }

    /// Takes a sequenced request through journal and engine, and notes the times.
    fn run_through(&mut self, sequenced: &Sequenced<'_>, rx_time: TimeNs, gated: TimeNs) {
        let mut times = StageTimes {
            rx: rx_time.0,
            gated: gated.0,
            seq: sequenced.seq().0,
            ..StageTimes::default()
        };
        self.journal(sequenced);
        times.sequenced = self.clock.now().0;
        self.apply(sequenced);
        times.matched = self.clock.now().0;
        if self.io.in_flight.len() < self.io.in_flight.capacity() {
            self.io.in_flight.push_back(times);
        } else {
            self.io.egress.counters.samples_dropped += 1;
        }
    }

    fn housekeeping(&mut self, now: TimeNs) {
        if !self.has_room() {
            return;
        }
        self.io.egress.feed_heartbeat(&mut self.nic, now);
        self.nic.flush();
        if now.0 >= self.next_timer && !self.is_stopping {
            self.next_timer = now.0 + TIMER_NS;
            if self.core.engine.batch_is_empty() {
                self.next_seal = now.0 + self.batch_interval_ns;
            }
            let seal = now.0 >= self.next_seal;
            if seal {
                self.next_seal = now.0 + self.batch_interval_ns;
            }
            self.pass_time(if seal { TIMER_SEAL } else { 0 }, now);
            self.lanes.journal_waker.wake();
        }
        if now.0 >= self.next_snapshot {
            self.next_snapshot = now.0 + SNAPSHOT_NS;
            // No room: the control tile has newer ones to read than it reads.
            let _ = self.lanes.snapshots.push(self.snapshot());
            self.lanes.control.wake();
        }
    }

    /// Sends what has become durable; returns how much that was.
    fn let_out(&mut self) -> usize {
        let durable = self.lanes.durable.get();
        if !self.io.egress.is_waiting() && durable == self.io.egress.durable() {
            return 0;
        }
        let seen = self.clock.now();
        let sent = self.io.let_out(&self.core, durable, seen, &mut self.nic);
        let tx = self.clock.now();
        while let Some(front) = self.io.in_flight.front_mut() {
            if front.seq > durable {
                break;
            }
            front.durable = seen.0;
            front.tx = tx.0;
            let sample = *front;
            self.io.in_flight.pop_front();
            if self.lanes.samples.push(sample).is_err() {
                self.io.egress.counters.samples_dropped += 1;
            }
        }
        sent
    }

    fn is_drained(&self) -> bool {
        self.lanes.durable.get() >= self.core.engine.last_seq().0 && !self.io.egress.is_waiting()
    }

    fn finish(&mut self) {
        let now = self.clock.now();
        self.io.say_goodbye(now, &mut self.nic);
        let _ = self.lanes.snapshots.push(self.snapshot());
        self.answer(FromHot::Stopped {
            engine_seq: self.core.engine.last_seq().0,
            state_hash: self.core.engine.state_hash(),
            batches_sealed: self.core.engine.batch_no() - 1,
        });
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            engine_seq: self.core.engine.last_seq().0,
            durable_seq: self.lanes.durable.get(),
            sessions: self.io.connections.live().len() as u32,
            live_orders: matcher::book::OrderBook::live(self.core.engine.book()) as u64,
            next_deposit: self.core.engine.next_deposit(),
            batches_sealed: self.core.engine.batch_no() - 1,
            risk_epoch: self.core.engine.table().map_or(0, |t| t.epoch),
            engine: self.core.engine.counters(),
            rejects: self.core.rejects,
            wire: self.io.egress.counters,
            clock: self.clock.health(),
        }
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
