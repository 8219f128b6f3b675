//! The gateway: the stage that owns the NIC.
//!
//! On the way in it checks frame, connection, anti-replay window and tag, keeps each member's flow of requests in
//! order, and hands the engine what is to be sequenced. On the way out it holds what members and everybody were told,
//! signs and sends it once it is durable, and sends it again when asked. Keys never leave it, and no state of it is
//! needed to replay a journal: what it hands over is what the journal says happened.

mod flows;
mod io;
mod sessions;
mod spool_link;

pub use flows::{Flow, Flows};
pub use spool_link::{SPOOL_READS_MAX, SpoolLink};

use crate::machine::clock::Clock;
use crate::machine::logs::FeedLog;
use crate::nic::{BURST, Nic, RxBurst};
use crate::tiles::egress::{Egress, FeedEgress, ORDERS, ORDERS_B};
use crate::tiles::lanes::{
    Arrival, ArrivalsIn, ControlDatagram, FromGateway, GatewaySnapshot, SessionRow, StageTimes,
    Stopped, ToGateway, Told, WireCounters,
};
use crate::tiles::meters::LaneMeter;
use crate::tiles::outlet::Outlet;
use crate::tiles::sessions::{Authentic, Connection, Peer, Place};
use firmware::session::{Offer, PacketRefused};
use firmware::units::{MemberId, TimeNs};
use firmware::wire::datagram::{
    self, BODY_MAX, DatagramHeader, KIND_CONTROL, KIND_DATA, KIND_HEARTBEAT,
};
use firmware::wire::feed::FeedMessage;
use firmware::wire::input::InGap;
use firmware::wire::report::Report;
use io::TileIo;
use lane::{Consumer, Producer, Waker, WatermarkReader, frame_words};

/// Control messages taken in one turn.
const CONTROL_BURST: usize = 16;
/// What the engine said that is taken in one turn: far less than the room that is looked for before.
const TOLD_BURST: usize = 1_024;
/// How often the feed's silence is looked at, ns.
const HOUSEKEEPING_NS: u64 = 2_000_000;
/// How often a snapshot is shown, ns.
const SNAPSHOT_NS: u64 = 100_000_000;
/// Words that the engine's lane must have free before a burst is taken: its datagrams, and for each a gap and what
/// else a session may cause.
pub const ARRIVALS_ROOM: usize = BURST * (frame_words(BODY_MAX) + 4 * frame_words(16));

/// Ends of the lanes that the gateway holds.
pub struct GatewayLanes {
    /// From the control tile.
    pub control_in: Consumer<ToGateway>,
    /// To the control tile.
    pub control_out: Producer<FromGateway>,
    /// Wakes the control tile.
    pub control: Waker,
    /// To the engine.
    pub arrivals: ArrivalsIn,
    /// Measures it.
    pub arrivals_meter: LaneMeter,
    /// What is durable.
    pub durable: WatermarkReader,
    /// Times of requests whose reports wait for the disk, from the engine.
    pub times: Consumer<StageTimes>,
    /// The same with all their times, to the control tile.
    pub samples: Producer<StageTimes>,
    /// Snapshots, to the control tile.
    pub snapshots: Producer<GatewaySnapshot>,
}

/// The stage.
pub struct GatewayStage<N> {
    nic: N,
    lanes: GatewayLanes,
    io: TileIo,
    next_housekeeping: u64,
    next_snapshot: u64,
    /// Times that the NIC was full, when it was polled last.
    tx_stalls_seen: u64,
    is_stopping: bool,
    /// The engine has been told to stop.
    has_stopped_engine: bool,
    /// Where the engine stopped.
    stopped: Option<Stopped>,
    /// The control tile has been told that everything is sent.
    is_done: bool,
}

impl<N: Nic> GatewayStage<N> {
    /// A gateway that goes on with `flows`.
    #[must_use]
    pub fn new(
        nic: N,
        now: TimeNs,
        flows: Flows,
        lanes: GatewayLanes,
        spool: SpoolLink,
        feed: FeedEgress,
    ) -> Self {
        let egress = Egress::new(feed, lanes.durable.get());
        Self {
            nic,
            io: TileIo::new(egress, spool, flows, now),
            lanes,
            next_housekeeping: 0,
            next_snapshot: 0,
            tx_stalls_seen: 0,
            is_stopping: false,
            has_stopped_engine: false,
            stopped: None,
            is_done: false,
        }
    }

    /// Takes in what the control tile and the network have for the engine; returns how much that was.
    ///
    /// # Errors
    /// When the NIC fails.
    pub fn take_in(
        &mut self,
        clock: &mut impl Clock,
        burst: &mut RxBurst,
    ) -> anyhow::Result<usize> {
        let now = clock.now();
        let mut work = self.take_control(now);
        let taken = self.take_datagrams(burst, now)?;
        if now.0 >= self.next_housekeeping {
            self.next_housekeeping = now.0 + HOUSEKEEPING_NS;
            self.housekeeping(now);
        }
        // Nobody counts as silent while what he sent may wait in a socket.
        if let Some(count) = taken {
            work += count + self.run_timers(now, count < BURST);
        }
        if work > 0 {
            self.note_arrivals();
        }
        if self.is_stopping && !self.has_stopped_engine {
            self.has_stopped_engine = self.lanes.arrivals.push(&Arrival::Stop);
            work += 1;
        }
        Ok(work)
    }

    /// Takes what the engine said off its lane, as far as there is room for it; returns how much that was.
    pub fn take_told(&mut self, lane: &mut Consumer<Told>) -> usize {
        if lane.is_empty() || !self.has_room() {
            return 0;
        }
        for taken in 0..TOLD_BURST {
            match lane.pop() {
                None => return taken,
                Some(Told::Report(member, report)) => self.report(member, &report),
                Some(Told::Feed(seq, message)) => self.feed(seq, &message),
                Some(Told::Stopped(stopped)) => self.stopped(stopped),
            }
        }
        TOLD_BURST
    }

    /// Sends what has become durable, and what the spool has read; returns how much that was.
    pub fn let_out(&mut self, clock: &mut impl Clock) -> usize {
        let mut work = self.io.take_spooled(clock, &mut self.nic);
        work += self.send_durable(clock);
        self.io.spool.nudge();
        if !self.is_done
            && let Some(stopped) = self.stopped
            && self.lanes.durable.get() >= stopped.engine_seq
            && !self.io.egress.is_waiting()
        {
            self.finish(stopped, clock.now());
            work += 1;
        }
        work
    }

    /// Whether everything was sent and the control tile has been told so.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether the engine has said its last word.
    #[must_use]
    pub const fn has_heard_all(&self) -> bool {
        self.stopped.is_some()
    }

    /// Whether something waits in a lane.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let durable_moved =
            self.io.egress.is_waiting() && self.lanes.durable.get() > self.io.egress.durable();
        !self.lanes.control_in.is_empty() || durable_moved || self.io.spool.has_answers()
    }

    /// The NIC, to sleep on.
    pub const fn nic(&mut self) -> &mut N {
        &mut self.nic
    }

    /// Finds out whether a tile that it hands something to is gone.
    ///
    /// # Errors
    /// Which one: the box stops.
    pub fn check_neighbours(&self) -> anyhow::Result<()> {
        if self.io.egress.feed.is_abandoned() {
            anyhow::bail!("the feed tile has stopped");
        }
        if self.io.spool.is_abandoned() {
            anyhow::bail!("the spool has stopped");
        }
        Ok(())
    }

    /// What was counted here.
    #[must_use]
    pub const fn counters(&self) -> &WireCounters {
        &self.io.egress.counters
    }

    /// What members asked and were told.
    #[must_use]
    pub const fn flows(&self) -> &Flows {
        &self.io.flows
    }

    /// What everybody was told, as far as it is held here.
    #[must_use]
    pub const fn said(&self) -> &FeedLog {
        self.io.egress.feed.said()
    }

    /// Takes what has come in; `None` when nothing may be taken now.
    fn take_datagrams(
        &mut self,
        burst: &mut RxBurst,
        now: TimeNs,
    ) -> anyhow::Result<Option<usize>> {
        if self.is_stopping || !self.note_room() {
            self.free_send_slots(burst)?;
            return Ok(None);
        }
        let count = self.nic.poll(burst)?;
        self.tx_stalls_seen = self.io.egress.counters.tx_stalls;
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

    /// Only a poll brings send slots back. If none were left, and what waits to be sent is why nothing may be taken in,
    /// the box would stand still for ever: then what comes in is dropped, and its senders hear of it as of any loss.
    fn free_send_slots(&mut self, burst: &mut RxBurst) -> anyhow::Result<()> {
        let counters = &mut self.io.egress.counters;
        if counters.tx_stalls > self.tx_stalls_seen {
            self.tx_stalls_seen = counters.tx_stalls;
            counters.dropped_for_tx += self.nic.poll(burst)? as u64;
        }
        Ok(())
    }

    /// Whether the engine has room for a burst; while it has not, packets wait in the NIC.
    fn note_room(&mut self) -> bool {
        let has_room = self.lanes.arrivals.has_room(ARRIVALS_ROOM);
        if !has_room {
            self.lanes.arrivals_meter.stalled();
            self.note_arrivals();
        }
        has_room
    }

    /// Shows how full the engine's lane is. A look at the other end costs it a cache line, so idle turns take none.
    fn note_arrivals(&mut self) {
        let room = self.lanes.arrivals.room();
        self.lanes.arrivals_meter.note_room(room);
    }

    fn take_control(&mut self, now: TimeNs) -> usize {
        for taken in 0..CONTROL_BURST {
            // A session that the operator ends is the engine's to hear of.
            if !self.lanes.arrivals.has_room(ARRIVALS_ROOM) {
                return taken;
            }
            match self.lanes.control_in.pop() {
                None => return taken,
                Some(ToGateway::Login(session, peer)) => {
                    let member = session.member;
                    self.io
                        .connections
                        .add_pending(member, Connection::new(*session, peer, now));
                }
                Some(ToGateway::Send(d)) => {
                    self.io.egress.control(&mut self.nic, d.peer, d.payload());
                }
                Some(ToGateway::Kick(member)) => self.kick(member, now),
                Some(ToGateway::Look(rows)) => self.show_sessions(rows, now),
                Some(ToGateway::Stop) => self.is_stopping = true,
            }
        }
        CONTROL_BURST
    }

    fn show_sessions(&mut self, mut rows: Vec<SessionRow>, now: TimeNs) {
        let room = rows.capacity();
        let live = self.io.connections.live_rows();
        rows.extend(live.take(room).map(|(member, c)| SessionRow {
            member: member.0,
            session_id: c.session_id,
            peer: c.peer.address,
            silent_ns: now.0.saturating_sub(c.keep_alive.last_heard().0),
            next_report: c.next_report,
        }));
        // The control tile asked for it and has room for the answer.
        let sent = self.lanes.control_out.push(FromGateway::Looked(rows));
        assert!(sent.is_ok(), "the control tile has room for what it asked");
        self.lanes.control.wake();
    }

    /// Hands the engine what came in. There is room: it was looked at before a burst was taken.
    fn arrive(&mut self, arrival: &Arrival<'_>) {
        let pushed = self.lanes.arrivals.push(arrival);
        assert!(
            pushed || self.lanes.arrivals.is_abandoned(),
            "the engine's lane has room for what one burst causes"
        );
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
                && self.lanes.control_out.push(FromGateway::Control(d)).is_ok()
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
        let flow = self.io.flows.get_mut(member)?;
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
                self.arrive(&Arrival::Gap(member, gap));
                Some(0)
            }
            Offer::OutOfRange => {
                self.protocol_error(member, now);
                None
            }
        }
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
        if let Some(skip) = self.offer(member, header.next_seq_no, count, now)
            && skip < count
        {
            self.arrive(&Arrival::Requests {
                member,
                first: header.next_seq_no,
                skip,
                rx_time,
                body,
            });
        }
    }

    fn housekeeping(&mut self, now: TimeNs) {
        if self.has_room() {
            self.io.egress.feed_heartbeat(&mut self.nic, now);
            self.nic.flush();
        }
        if now.0 >= self.next_snapshot {
            self.next_snapshot = now.0 + SNAPSHOT_NS;
            self.show();
        }
    }

    fn show(&mut self) {
        self.note_arrivals();
        let snapshot = GatewaySnapshot {
            sessions: self.io.connections.live().len() as u32,
            wire: self.io.egress.counters,
            nic: *self.nic.counters(),
        };
        // No room: the control tile has newer ones to read than it reads.
        let _ = self.lanes.snapshots.push(snapshot);
        self.lanes.control.wake();
    }

    /// Sends what has become durable; returns how much that was.
    fn send_durable(&mut self, clock: &mut impl Clock) -> usize {
        let durable = self.lanes.durable.get();
        if !self.io.egress.is_waiting() && durable == self.io.egress.durable() {
            return 0;
        }
        let seen = clock.now();
        let sent = self.io.let_out(durable, seen, &mut self.nic);
        let tx = clock.now();
        while let Some(mut sample) = self.lanes.times.peek().copied() {
            if sample.seq > durable {
                break;
            }
            self.lanes.times.pop();
            sample.durable = seen.0;
            sample.tx = tx.0;
            if self.lanes.samples.push(sample).is_err() {
                self.io.egress.counters.samples_dropped += 1;
            }
        }
        sent
    }

    fn finish(&mut self, stopped: Stopped, now: TimeNs) {
        self.io.say_goodbye(now, &mut self.nic);
        self.show();
        // The control tile asked for it and has room for the answer.
        let sent = self.lanes.control_out.push(FromGateway::Stopped(stopped));
        assert!(sent.is_ok(), "the control tile has room for the last word");
        self.lanes.control.wake();
        self.is_done = true;
    }
}

/// On one tile with the engine, the gateway is told without a lane between.
impl<N: Nic> Outlet for GatewayStage<N> {
    fn has_room(&self) -> bool {
        self.io.spool.has_room() && self.io.egress.feed.has_room()
    }

    fn report(&mut self, member: MemberId, report: &Report) {
        self.io.report(member, report);
    }

    fn feed(&mut self, seq: u64, message: &FeedMessage) {
        self.io.egress.say(seq, message);
    }

    fn stopped(&mut self, stopped: Stopped) {
        self.stopped = Some(stopped);
    }

    fn note_stall(&mut self) {
        if self.io.spool.has_room() {
            self.io.egress.counters.feed_stalls += 1;
        } else {
            self.io.egress.counters.spool_stalls += 1;
        }
    }

    fn is_abandoned(&self) -> bool {
        false
    }
}
