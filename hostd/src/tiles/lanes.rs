//! What travels between tiles.

use crate::machine::clock::ClockHealth;
use crate::nic::NicCounters;
use crate::ops::operator::OperatorInput;
use crate::tiles::sessions::Peer;
use firmware::units::{MemberId, TimeNs};
use firmware::wire::datagram::BODY_MAX;
use firmware::wire::feed::FeedMessage;
use firmware::wire::input::{InDeposit, InGap, InOperatorAct, InOracle, InSession};
use firmware::wire::report::Report;
use handshake::NewSession;
use lane::{FRAME_HEAD, FrameConsumer, FrameProducer, frames};
use matcher::engine::{DepositError, EngineCounters, ListingError};
use matcher::table::RiskTable;

/// Largest control datagram: a Negotiate is 258 bytes.
pub const CONTROL_MAX: usize = 312;
/// Largest body of a record that travels by value; only a risk table is larger.
pub const SMALL_BODY_MAX: usize = 136;

const _: () = assert!(size_of::<InOracle>() <= SMALL_BODY_MAX);

/// A datagram by value.
#[derive(Clone, Copy, Debug)]
pub struct ControlDatagram {
    /// Where from or where to.
    pub peer: Peer,
    len: u16,
    bytes: [u8; CONTROL_MAX],
}

impl ControlDatagram {
    /// A copy of `payload`; `None` when it is longer than any control datagram.
    #[must_use]
    pub fn new(peer: Peer, payload: &[u8]) -> Option<Self> {
        let mut bytes = [0; CONTROL_MAX];
        bytes.get_mut(..payload.len())?.copy_from_slice(payload);
        Some(Self {
            peer,
            len: payload.len() as u16,
            bytes,
        })
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// Control tile to gateway.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "by value on purpose: who takes it frees nothing"
)]
pub enum ToGateway {
    /// Keys of a login that waits for its Establish.
    Login(Box<NewSession>, Peer),
    /// A control datagram to send.
    Send(ControlDatagram),
    /// A member's session ends.
    Kick(MemberId),
    /// Who has a session? The list has room for all.
    Look(Vec<SessionRow>),
    /// Take nothing in any more, let everything become durable, answer with [`FromGateway::Stopped`].
    Stop,
}

/// Gateway to control tile.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "by value on purpose: the gateway takes no memory"
)]
pub enum FromGateway {
    /// A control datagram that came in.
    Control(ControlDatagram),
    /// Answer to a look.
    Looked(Vec<SessionRow>),
    /// Everything is durable and sent.
    Stopped(Stopped),
}

/// A member's session.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct SessionRow {
    /// Whose.
    pub member: u32,
    /// The client's number of it.
    pub session_id: u64,
    /// Where the last authentic datagram came from.
    pub peer: std::net::SocketAddrV4,
    /// Since when nothing came, ns.
    pub silent_ns: u64,
    /// Number of the next report.
    pub next_report: u64,
}

/// Control tile to engine.
#[derive(Debug)]
pub enum ToEngine {
    /// A verified oracle report.
    Oracle(InOracle),
    /// The next risk table.
    RiskTable(Box<RiskTable>),
    /// A deposit that is final on L1.
    Deposit(InDeposit),
    /// A command of an operator: who acts, and the command's own record where it has one.
    Operator(InOperatorAct, Option<OperatorInput>),
    /// A look at the engine; see [`Look`].
    Look(Box<Look>),
}

/// What somebody wants to see of the engine. The lists have room for what may be told; the engine takes no memory.
#[derive(Debug)]
pub enum Look {
    /// One account.
    Account(AccountLook),
    /// All instruments.
    Instruments(Vec<InstrumentRow>),
    /// The best levels of one book.
    Depth(DepthLook),
}

/// The best levels of a book, as many as the lists have room for.
#[derive(Debug, Default, serde::Serialize)]
pub struct DepthLook {
    /// Of which instrument.
    pub instrument: u16,
    /// Whether it is listed.
    pub is_listed: bool,
    /// The best bid first.
    pub bids: Vec<LevelRow>,
    /// The best offer first.
    pub asks: Vec<LevelRow>,
}

/// One level of a book.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct LevelRow {
    /// Price, ticks.
    pub price_ticks: i32,
    /// Open lots of all its orders.
    pub lots: u64,
    /// Its orders.
    pub orders: u32,
}

/// One account as the engine sees it.
#[derive(Debug, Default, serde::Serialize)]
pub struct AccountLook {
    /// Which.
    pub account: u32,
    /// Whose; zero: nobody's.
    pub member: u32,
    /// Whether a deposit ever came.
    pub is_funded: bool,
    /// Locked by its member or by the venue.
    pub is_locked: bool,
    /// Cash, micro-units.
    pub cash_micro: i64,
    /// Cash and positions at the marks, micro-units.
    pub equity_micro: i64,
    /// Equity in the worst scenario, micro-units; below zero it is liquidated.
    pub worst_micro: i64,
    /// Loss from the mark to the worst scenario, micro-units.
    pub maintenance_micro: i64,
    /// Positions: instrument and lots.
    pub positions: Vec<(u16, i64)>,
    /// Orders that rest, in all.
    pub orders_open: u32,
    /// The oldest of them.
    pub orders: Vec<OrderRow>,
}

/// One resting order.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct OrderRow {
    /// The venue's name of it.
    pub order_id: u64,
    /// The client's.
    pub cl_ord_id: u64,
    /// Instrument.
    pub instrument: u16,
    /// `buy` or `sell`.
    pub side: &'static str,
    /// Price, ticks.
    pub price_ticks: i32,
    /// Open lots.
    pub lots: i64,
    /// Lots filled before.
    pub filled: i64,
    /// Part of a mass quote.
    pub is_quote: bool,
}

/// One instrument as the engine sees it.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct InstrumentRow {
    /// Which.
    pub instrument: u16,
    /// Its name, padded with zero bytes.
    #[serde(serialize_with = "symbol")]
    pub symbol: [u8; 16],
    /// Trading state, by its word.
    pub state: &'static str,
    /// Highest bid, ticks.
    pub bid_ticks: Option<i32>,
    /// Lowest offer, ticks.
    pub ask_ticks: Option<i32>,
    /// Tick, micro-units.
    pub tick_micro: i64,
    /// Mark of one lot, micro-units.
    pub lot_mark_micro: Option<i64>,
}

fn symbol<S: serde::Serializer>(name: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
    let len = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    to.serialize_str(&String::from_utf8_lossy(&name[..len]))
}

/// Engine to control tile.
#[derive(Debug)]
pub enum FromEngine {
    /// Answer to a deposit: the next place in the queue, or why not.
    Deposit(Result<u64, DepositError>),
    /// Answer to a command of an operator.
    Operated {
        /// The command's number in the journal.
        seq: u64,
        /// The batch that was sealed last.
        batch_no: u64,
    },
    /// A risk table was adopted, and this is how far the next one should reach.
    Adopted {
        /// Range of the scenarios, ppm of the index; none: the fixed grid.
        range_ppm: Option<u32>,
    },
    /// Answer to a command of an operator that cannot be: nothing was journaled.
    Declined(ListingError),
    /// Answer to a look.
    Looked(Box<Look>),
}

/// Where the engine stood when it stopped.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// Last record.
    pub engine_seq: u64,
    /// State after it.
    pub state_hash: [u8; 32],
    /// Batches sealed.
    pub batches_sealed: u64,
}

/// Gateway to engine: what came in of members, authentic and in order.
#[derive(Clone, Copy, Debug)]
pub enum Arrival<'a> {
    /// Messages of one datagram.
    Requests {
        /// Whose.
        member: MemberId,
        /// Number of the first message.
        first: u64,
        /// Messages at the start that were applied before.
        skip: u32,
        /// When the datagram was received.
        rx_time: TimeNs,
        /// The messages, each with its size before it.
        body: &'a [u8],
    },
    /// Numbers that a member skipped.
    Gap(MemberId, InGap),
    /// A member's session began or ended.
    Session(MemberId, InSession),
    /// Nothing comes after this.
    Stop,
}

const REQUESTS: u64 = 0;
const GAP: u64 = 1;
const SESSION: u64 = 2;
const STOP: u64 = 3;

/// The gateway's end of the lane of arrivals.
pub struct ArrivalsIn(FrameProducer);

/// The engine's end.
pub struct ArrivalsOut(FrameConsumer);

/// The lane of arrivals, of so many words.
#[must_use]
pub fn arrivals(words: usize) -> (ArrivalsIn, ArrivalsOut) {
    let (tx, rx) = frames(words, BODY_MAX);
    (ArrivalsIn(tx), ArrivalsOut(rx))
}

impl ArrivalsIn {
    /// Hands an arrival over; `false` when the lane has no room.
    pub fn push(&mut self, arrival: &Arrival<'_>) -> bool {
        let head = |kind: u64, member: MemberId| kind | u64::from(member.0) << 32;
        let (head, body): ([u64; FRAME_HEAD], &[u8]) = match arrival {
            Arrival::Requests {
                member,
                first,
                skip,
                rx_time,
                body,
            } => {
                let words = [head(REQUESTS, *member), *first, (*skip).into(), rx_time.0];
                (words, body)
            }
            Arrival::Gap(member, m) => ([head(GAP, *member), m.from_seq_no, m.count, 0], &[]),
            Arrival::Session(member, m) => {
                ([head(SESSION, *member), 0, 0, 0], bytemuck::bytes_of(m))
            }
            Arrival::Stop => ([STOP, 0, 0, 0], &[]),
        };
        self.0.push(head, body).is_ok()
    }

    /// Words that surely fit now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.room()
    }

    /// Whether so many words fit now, without a look at the engine's index while there was room at the last one.
    #[must_use]
    pub fn has_room(&self, words: usize) -> bool {
        self.0.has_room(words)
    }

    /// The engine is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

impl ArrivalsOut {
    /// Takes the oldest arrival.
    pub fn pop(&mut self) -> Option<Arrival<'_>> {
        let ([kind, a, b, c], body) = self.0.pop()?;
        let member = MemberId((kind >> 32) as u32);
        Some(match kind & u64::from(u32::MAX) {
            REQUESTS => Arrival::Requests {
                member,
                first: a,
                skip: b as u32,
                rx_time: TimeNs(c),
                body,
            },
            GAP => Arrival::Gap(
                member,
                InGap {
                    from_seq_no: a,
                    count: b,
                },
            ),
            SESSION => Arrival::Session(member, bytemuck::pod_read_unaligned(body)),
            _ => Arrival::Stop,
        })
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Words that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The gateway is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

/// Engine to gateway, when they are two tiles: what members and everybody are to be told, in order.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// A member's next report.
    Report(MemberId, Report),
    /// The next feed message, and the record that caused it.
    Feed(u64, FeedMessage),
    /// Nothing comes after this.
    Stopped(Stopped),
}

/// Engine to journal tile.
#[derive(Debug)]
pub enum ToJournal {
    /// A record.
    Record {
        /// Number, time, template, member.
        head: RecordHead,
        /// Length of the body.
        len: u16,
        /// Body.
        body: [u8; SMALL_BODY_MAX],
    },
    /// The first bytes of a body that is longer than a record's room: the record with the rest follows.
    Part([u8; SMALL_BODY_MAX]),
    /// A risk table's record.
    RiskTable(RecordHead, Box<RiskTable>),
    /// A batch that the record before closed, encoded, in a buffer that goes back by the spare lane.
    Sealed(Vec<u8>),
}

/// Gateway to spool tile.
#[derive(Clone, Copy, Debug)]
pub enum ToSpool {
    /// A member's next report.
    Report(MemberId, Report),
    /// Reports that the gateway holds no more.
    Read(SpoolRead),
}

/// Reports wanted from the spool.
#[derive(Clone, Copy, Debug)]
pub struct SpoolRead {
    /// Whose.
    pub member: MemberId,
    /// Connection that waits: an answer for another one is dropped.
    pub conn_id: u32,
    /// First number.
    pub from: u64,
    /// How many at most.
    pub count: u32,
    /// Reports of records after this one are not wanted.
    pub durable: u64,
    /// Whether they were sent before.
    pub purpose: ReadPurpose,
}

/// What reports out of the spool are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadPurpose {
    /// The client asked for them again.
    Retransmission,
    /// They were never sent: one event made more than the gateway holds.
    FirstTime,
}

/// Spool tile to gateway.
#[derive(Clone, Copy, Debug)]
pub struct SpoolAnswer {
    /// What was asked.
    pub read: SpoolRead,
    /// Reports in the body.
    pub count: u32,
    /// The messages.
    pub body: SpoolBody,
}

/// Messages of one datagram.
#[derive(Clone, Copy, Debug)]
pub struct SpoolBody {
    len: u16,
    bytes: [u8; BODY_MAX],
}

impl SpoolBody {
    /// No message.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            len: 0,
            bytes: [0; BODY_MAX],
        }
    }

    /// Forgets the messages.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Room for `size` more bytes; `None` when there is not so much.
    pub fn grow(&mut self, size: usize) -> Option<&mut [u8]> {
        let at = self.len as usize;
        let room = self.bytes.get_mut(at..at + size)?;
        self.len += size as u16;
        Some(room)
    }

    /// The messages, each with its size before it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl Default for SpoolBody {
    fn default() -> Self {
        Self::new()
    }
}

/// What a record's header needs.
#[derive(Clone, Copy, Debug)]
pub struct RecordHead {
    /// Number.
    pub seq: u64,
    /// Time.
    pub time_ns: u64,
    /// Template.
    pub template: u16,
    /// Member, or zero.
    pub session: u32,
}

/// Times of one request on its way through, ns.
#[derive(Clone, Copy, Debug, Default)]
pub struct StageTimes {
    /// Record.
    pub seq: u64,
    /// Datagram received.
    pub rx: u64,
    /// Tag, session, decode and gate done.
    pub gated: u64,
    /// Numbered and handed to the journal.
    pub sequenced: u64,
    /// Engine done.
    pub matched: u64,
    /// Seen to be durable.
    pub durable: u64,
    /// Report handed to the NIC.
    pub tx: u64,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Counts of the datagram side.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
        pub struct WireCounters { $($(#[doc = $doc])+ pub $name: u64),+ }

        impl WireCounters {
            /// The counts of two stages together: each counts what it does.
            #[must_use]
            pub const fn plus(&self, other: &Self) -> Self {
                Self { $($name: self.$name + other.$name),+ }
            }
        }
    };
}

counters! {
    /// Datagrams received on the order port.
    rx_datagrams,
    /// Of these, on the second order port.
    rx_datagrams_b,
    /// Datagrams that came first, or alone, on the second order port.
    first_on_b,
    /// Datagrams sent to members.
    tx_datagrams,
    /// Feed packets sent, per destination.
    feed_packets,
    /// Shorter than header and tag, another version, or a wrong length.
    bad_frame,
    /// No connection of that id.
    unknown_connection,
    /// Packet number seen before: a replay, or the second copy of a datagram sent to both order ports.
    replayed,
    /// Packet number older than the window.
    too_old,
    /// Packet number beyond what the keys may be used for.
    keys_used_up,
    /// Wrong tag: dropped in silence.
    bad_tag,
    /// Requests applied before.
    duplicate_requests,
    /// Numbers that were skipped and are dead.
    gaps,
    /// Messages that are no requests.
    malformed,
    /// Control datagrams that the control tile had no room for.
    control_dropped,
    /// Logins established.
    established,
    /// Establish messages refused.
    establish_rejects,
    /// Sessions ended by the client.
    terminated,
    /// Sessions ended because the client broke the protocol under a valid tag.
    protocol_errors,
    /// Sessions lost by silence.
    lost_sessions,
    /// Turns of the engine in which the spool had no room, so that nothing was taken in.
    spool_stalls,
    /// Turns of the engine in which the feed tile was too far behind, so that nothing was taken in.
    feed_stalls,
    /// Looks at a full spool lane in the middle of an event.
    spool_waits,
    /// Reads asked of the spool.
    spool_reads,
    /// Retransmission requests served.
    retransmissions,
    /// Retransmission requests refused.
    retransmit_rejects,
    /// Turns of the loop in which the feed tile had no room for a packet; it gets it later.
    feed_lags,
    /// Turns of the engine in which the journal had no room, so that nothing was taken in.
    journal_stalls,
    /// Looks at a full journal lane in the middle of an event.
    journal_waits,
    /// Datagrams dropped in a turn in which the engine had no room, to get send slots back from the NIC.
    dropped_for_tx,
    /// Turns of the loop in which the NIC had no room to send.
    tx_stalls,
    /// Looks at a session because its timer was due.
    timer_looks,
    /// Looks at a session because it had reports to be sent.
    report_looks,
    /// Stage samples that there was no room for.
    samples_dropped,
}

/// What the engine shows of itself, a few times a second.
#[derive(Clone, Copy, Debug)]
pub struct EngineSnapshot {
    /// Last record.
    pub engine_seq: u64,
    /// Last durable record.
    pub durable_seq: u64,
    /// Resting orders.
    pub live_orders: u64,
    /// Next place in the L1 deposit queue.
    pub next_deposit: u64,
    /// Batches sealed.
    pub batches_sealed: u64,
    /// Risk epoch in force.
    pub risk_epoch: u64,
    /// Engine's counts.
    pub engine: EngineCounters,
    /// Rejects by code.
    pub rejects: [u64; 64],
    /// Its part of the datagram side's counts.
    pub wire: WireCounters,
    /// How the clock that stamps records fares.
    pub clock: ClockHealth,
}

/// What the gateway shows of itself, a few times a second.
#[derive(Clone, Copy, Debug)]
pub struct GatewaySnapshot {
    /// Live sessions.
    pub sessions: u32,
    /// Its part of the datagram side's counts.
    pub wire: WireCounters,
    /// The NIC's counts.
    pub nic: NicCounters,
}
