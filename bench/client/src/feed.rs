//! Market data: MoldUDP64 on two lines, with recovery by re-request and by snapshot, and the books that follow.
//!
//! ```text
//!  line A ─┐                        ┌─► events, one by one
//!  line B ─┼─► in order, once each ─┴─► whole matching events ─► market: books, marks, states
//!  answers ┘   a gap: wait for the other line, ask, give up            ▲
//!  snapshots ──────────────────────────────────────────────────────────┘ when messages were missed
//! ```

use crate::book::Book;
use crate::checkpoint::{Verdict, Verifier};
use crate::market::{Instrument, Market};
use crate::ordered::Ordered;
use crate::snapshot::{Piece, SnapshotReader};
use crate::wire::{FeedSockets, Source, Wire};
use firmware::limits::DATAGRAM_MAX;
use firmware::session::SEQ_NO_MAX;
use firmware::units::TimeNs;
use firmware::wire::feed::{BatchSealed, FeedMessage, IndexUpdate, SettlementSummary};
use firmware::wire::mold::{END_OF_SESSION, MoldHeader, blocks};
use handshake::PublicKey;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Most messages asked for at a time; the answer holds what fits one packet.
const REREQUEST_MAX: u64 = 1024;
/// Packets taken in one poll at most.
const RECEIVE_BURST: usize = 256;

/// Where to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// At the session's first message; what was before is asked for. For those who need every trade of the day.
    First,
    /// At the first message that comes, with the books of a snapshot. For all others.
    Snapshot,
}

/// Where checkpoints come from, and who signs them.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoints {
    /// Multicast group, or a unicast address of this machine.
    pub listen: SocketAddr,
    /// The venue's key.
    pub venue: PublicKey,
}

/// Where the feed comes from, and how losses are made good.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Line A: a multicast group, or a unicast address of this machine.
    pub line_a: SocketAddr,
    /// Line B: the same messages by another way.
    pub line_b: Option<SocketAddr>,
    /// Snapshot session; without one every gap must be filled by re-request.
    pub snapshots: Option<SocketAddr>,
    /// Checkpoint session; without one nothing is verified.
    pub checkpoints: Option<Checkpoints>,
    /// Interface on which groups are joined.
    pub interface: Ipv4Addr,
    /// Re-request server; with neither it nor snapshots the feed stops at the first gap.
    pub rerequest: Option<SocketAddr>,
    /// Session to follow; `None` takes that of the first packet.
    pub session: Option<[u8; 10]>,
    /// Where to begin; [`Start::Snapshot`] needs snapshots.
    pub start: Start,
    /// A gap may close by itself for so long (late packets, the other line) before it is asked for.
    pub patience: Duration,
    /// A re-request that was not answered is repeated after this time.
    pub retry: Duration,
    /// With snapshots: a gap that has not begun to close by then is skipped.
    pub give_up: Duration,
    /// With snapshots: a longer gap is skipped at once.
    pub recover_max: u64,
}

impl FeedConfig {
    /// A feed at `line_a` from its first message on, with re-requests to `rerequest`.
    #[must_use]
    pub const fn new(line_a: SocketAddr, rerequest: Option<SocketAddr>) -> Self {
        Self {
            line_a,
            line_b: None,
            snapshots: None,
            checkpoints: None,
            interface: Ipv4Addr::UNSPECIFIED,
            rerequest,
            session: None,
            start: Start::First,
            patience: Duration::ZERO,
            retry: Duration::from_millis(20),
            give_up: Duration::from_secs(1),
            recover_max: 100_000,
        }
    }

    /// Also listens to line B, and gives it 2 ms to fill what line A has lost.
    #[must_use]
    pub const fn with_line_b(mut self, line_b: SocketAddr) -> Self {
        self.line_b = Some(line_b);
        self.patience = Duration::from_millis(2);
        self
    }

    /// Takes books from snapshots, at the start and after losses that re-requests cannot make good.
    #[must_use]
    pub const fn with_snapshots(mut self, snapshots: SocketAddr) -> Self {
        self.snapshots = Some(snapshots);
        self.start = Start::Snapshot;
        self
    }

    /// Verifies what comes against checkpoints that `venue` has signed.
    #[must_use]
    pub const fn with_checkpoints(mut self, listen: SocketAddr, venue: PublicKey) -> Self {
        self.checkpoints = Some(Checkpoints { listen, venue });
        self
    }
}

/// What came on the feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeedEvent {
    /// A message, once and in order. With the last message of a matching event, the books have moved.
    Message {
        /// Its number.
        seq: u64,
        /// The message.
        message: FeedMessage,
        /// Whether the books show the event whole now.
        settled: bool,
    },
    /// Messages that are not made good one by one: all books are gone until snapshots bring them back.
    Skipped {
        /// First of them.
        from: u64,
        /// How many.
        count: u64,
    },
    /// A book is there, from a snapshot and what followed it.
    BookReady {
        /// Its instrument.
        instrument: u16,
    },
    /// Everything is known that the feed has said: all instruments, all books.
    Synced,
    /// A signed checkpoint was compared with what came.
    Checkpoint {
        /// Its last message.
        last_seq: u64,
        /// Newest sealed batch that it names.
        batch_no: u64,
        /// The result.
        verdict: Verdict,
    },
    /// The venue has closed the feed session, and everything before was delivered.
    EndOfSession,
}

/// What was counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FeedCounters {
    /// Packets received, of all sessions.
    pub packets: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Messages that had come before; with two lines about half of all.
    pub duplicates: u64,
    /// Messages skipped: a snapshot stands for them.
    pub skipped: u64,
    /// Re-requests sent.
    pub rerequests: u64,
    /// Packets that are not MoldUDP64.
    pub malformed: u64,
    /// Packets of another session.
    pub foreign: u64,
    /// Messages of a template that this release does not know.
    pub unknown: u64,
    /// Books taken from snapshots.
    pub snapshots: u64,
    /// Snapshot cycles of which something was lost.
    pub cycles_lost: u64,
    /// Checkpoints that agreed.
    pub verified: u64,
    /// Checkpoints that are not signed by the venue for this session.
    pub forged: u64,
    /// Messages that do not fit the book: a fault of the venue.
    pub inconsistent: u64,
    /// Events after which a book in open trading was crossed: a fault of the venue.
    pub crossed: u64,
}

/// What one line brought.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LineCounters {
    /// Packets.
    pub packets: u64,
    /// Messages that the line passed over; late ones come to it still.
    pub missed: u64,
    /// Messages that it brought first.
    pub first: u64,
    /// When it was heard last; zero before.
    pub last: TimeNs,
    /// Number that it should bring next.
    next: u64,
}

/// One message on its way to its turn.
struct Item {
    message: Option<FeedMessage>,
    /// Kept for the checkpoints only.
    bytes: Vec<u8>,
}

/// Follows a feed and keeps the book of each instrument.
pub struct Feed<W: Wire = FeedSockets> {
    wire: W,
    config: FeedConfig,
    session: Option<[u8; 10]>,
    /// `None` until the first packet says where to begin.
    flow: Option<Ordered<Item>>,
    lines: [LineCounters; 2],
    /// Number after the last message of the session, once it is known.
    end: Option<u64>,
    has_ended: bool,
    /// Messages of an event that is not whole yet.
    event: Vec<(u64, FeedMessage)>,
    market: Market,
    snapshots: SnapshotReader,
    snapshot_session: Option<[u8; 10]>,
    verifier: Option<Verifier>,
    was_synced: bool,
    /// What is told before the next message.
    events: VecDeque<FeedEvent>,
    counters: FeedCounters,
}

impl Feed<FeedSockets> {
    /// Joins the feed.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub fn join(config: &FeedConfig) -> io::Result<Self> {
        Ok(Self::over(FeedSockets::open(config)?, config))
    }
}

impl<W: Wire> Feed<W> {
    /// The feed over any wire: `receive_from` gives packets of the lines, answers to re-requests, snapshots and
    /// checkpoints; `send` goes to the re-request server.
    #[must_use]
    pub fn over(wire: W, config: &FeedConfig) -> Self {
        let starts_first = config.start == Start::First || config.snapshots.is_none();
        Self {
            wire,
            session: config.session,
            flow: starts_first.then(|| Ordered::starting_at(1)),
            lines: [LineCounters::default(); 2],
            end: None,
            has_ended: false,
            event: Vec::new(),
            market: Market::default(),
            snapshots: SnapshotReader::new(),
            snapshot_session: None,
            verifier: config.checkpoints.map(|c| Verifier::new(c.venue)),
            was_synced: starts_first,
            events: VecDeque::new(),
            counters: FeedCounters::default(),
            config: config.clone(),
        }
    }

    /// The book of an instrument, always at the end of a matching event; `None` while it is not known.
    #[must_use]
    pub fn book(&self, instrument: u16) -> Option<&Book> {
        self.instrument(instrument)?.book()
    }

    /// All books that are known, with their instruments.
    pub fn books(&self) -> impl Iterator<Item = (u16, &Book)> {
        self.instruments()
            .filter_map(|(id, i)| i.book().map(|b| (id, b)))
    }

    /// An instrument.
    #[must_use]
    pub fn instrument(&self, instrument: u16) -> Option<&Instrument> {
        self.market.instruments().get(&instrument)
    }

    /// All instruments.
    pub fn instruments(&self) -> impl Iterator<Item = (u16, &Instrument)> {
        (self.market.instruments().iter()).map(|(id, i)| (*id, i))
    }

    /// Newest index.
    #[must_use]
    pub const fn index(&self) -> Option<&IndexUpdate> {
        self.market.index()
    }

    /// Last settlement.
    #[must_use]
    pub const fn settlement(&self) -> Option<&SettlementSummary> {
        self.market.settlement()
    }

    /// Last sealed batch.
    #[must_use]
    pub const fn batch(&self) -> Option<&BatchSealed> {
        self.market.batch()
    }

    /// Whether everything is known that the feed has said up to the last settled message.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.flow.is_some() && self.market.is_synced()
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> FeedCounters {
        FeedCounters {
            inconsistent: self.market.faults.inconsistent,
            crossed: self.market.faults.crossed,
            ..self.counters
        }
    }

    /// What lines A and B brought.
    #[must_use]
    pub const fn lines(&self) -> &[LineCounters; 2] {
        &self.lines
    }

    /// Number of the next message to be delivered; zero until the first packet has come.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.flow.as_ref().map_or(0, Ordered::next)
    }

    /// The wire, for its own counters and faults.
    pub const fn wire_mut(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Does what is to be done at `now` and gives the next event; `None` when there is none. The books stand
    /// at the last message that was returned as settled, never in the middle of a matching event.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn poll(&mut self, now: TimeNs) -> io::Result<Option<FeedEvent>> {
        if let Some(event) = self.step() {
            return Ok(Some(event));
        }
        let mut buf = [0; DATAGRAM_MAX];
        for _ in 0..RECEIVE_BURST {
            match self.wire.receive_from(&mut buf)? {
                Some((len, source)) => self.on_packet(source, &buf[..len.min(DATAGRAM_MAX)], now),
                None => break,
            }
        }
        self.read_snapshots(now);
        self.recover(now)?;
        Ok(self.step())
    }

    fn on_packet(&mut self, source: Source, packet: &[u8], now: TimeNs) {
        self.counters.packets += 1;
        let Some((header, rest)) = MoldHeader::decode(packet) else {
            self.counters.malformed += 1;
            return;
        };
        let is_end = header.count == END_OF_SESSION;
        let count = if is_end { 0 } else { header.count };
        let messages: Vec<&[u8]> = blocks(rest).take(count.into()).collect();
        let is_sound =
            (1..=SEQ_NO_MAX).contains(&header.sequence) && messages.len() == usize::from(count);
        if !is_sound {
            self.counters.malformed += 1;
            return;
        }
        match source {
            Source::Snapshots => self.on_snapshots(&header, &messages),
            Source::Checkpoints => self.on_checkpoints(&messages),
            Source::LineA | Source::LineB | Source::Peer => {
                if *self.session.get_or_insert(header.session) == header.session {
                    self.on_feed(source, header.sequence, &messages, is_end, now);
                } else {
                    self.counters.foreign += 1;
                }
            }
        }
    }

    fn on_feed(
        &mut self,
        source: Source,
        first: u64,
        messages: &[&[u8]],
        is_end: bool,
        now: TimeNs,
    ) {
        if self.flow.is_none() {
            self.begin(first);
        }
        let Some(flow) = &mut self.flow else { return };
        flow.announce(first);
        if is_end {
            self.end = Some(first);
        }
        let keeps_bytes = self.verifier.is_some();
        let mut new = 0;
        for (seq, bytes) in (first..).zip(messages) {
            let item = Item {
                message: FeedMessage::decode(bytes).ok(),
                bytes: if keeps_bytes {
                    bytes.to_vec()
                } else {
                    Vec::new()
                },
            };
            new += u64::from(flow.offer(seq, item));
        }
        self.counters.duplicates += messages.len() as u64 - new;
        let line = match source {
            Source::LineA => &mut self.lines[0],
            Source::LineB => &mut self.lines[1],
            _ => return,
        };
        line.packets += 1;
        line.first += new;
        line.last = now;
        if line.next > 0 {
            line.missed += first.saturating_sub(line.next);
        }
        line.next = line.next.max(first + messages.len() as u64);
    }

    /// The first packet says where the feed is: what was before is not seen.
    fn begin(&mut self, first: u64) {
        self.flow = Some(Ordered::starting_at(first));
        if first > 1 {
            self.market.miss(first - 1);
            if let Some(verifier) = &mut self.verifier {
                verifier.miss(first);
            }
        }
    }

    fn on_snapshots(&mut self, header: &MoldHeader, messages: &[&[u8]]) {
        if *self.snapshot_session.get_or_insert(header.session) != header.session {
            self.counters.foreign += 1;
            return;
        }
        // Most of the time nobody needs them.
        if self.is_synced() {
            self.snapshots.reset();
            return;
        }
        for (number, bytes) in (header.sequence..).zip(messages) {
            self.snapshots.offer(number, bytes);
        }
    }

    fn read_snapshots(&mut self, now: TimeNs) {
        if self.flow.is_none() {
            // Nobody knows yet how new a snapshot has to be.
            self.snapshots.reset();
        }
        while let Some(piece) = self.snapshots.poll(now) {
            match piece {
                Piece::Venue(message) => self.market.venue(&message),
                Piece::Instrument(snapshot) => {
                    let (id, last_seq) = (snapshot.header.instrument, snapshot.header.last_seq);
                    if self.market.wants(id, last_seq) {
                        self.counters.snapshots += 1;
                        self.market.snapshot(&snapshot);
                        self.events
                            .push_back(FeedEvent::BookReady { instrument: id });
                    }
                }
                Piece::Complete(cycle) => self.market.cycle(&cycle),
                Piece::Incomplete => self.counters.cycles_lost += 1,
            }
        }
        let is_synced = self.is_synced();
        if is_synced && !self.was_synced {
            self.events.push_back(FeedEvent::Synced);
        }
        self.was_synced = is_synced;
    }

    fn on_checkpoints(&mut self, messages: &[&[u8]]) {
        let (Some(verifier), Some(session)) = (&mut self.verifier, self.session) else {
            return;
        };
        for bytes in messages {
            if !verifier.checkpoint(bytes, session) {
                self.counters.forged += 1;
            }
        }
    }

    /// Makes a gap good: by the other line, by a re-request, by snapshots.
    fn recover(&mut self, now: TimeNs) -> io::Result<()> {
        let (Some(session), Some(flow)) = (self.session, &mut self.flow) else {
            return Ok(());
        };
        if self.config.snapshots.is_some()
            && let Some((from, count)) = flow.missing()
        {
            let wait = if self.config.rerequest.is_some() {
                self.config.give_up
            } else {
                self.config.patience.max(self.config.retry)
            };
            if count > self.config.recover_max || flow.stuck_ns(now) >= nanos(wait) {
                flow.skip_to(u64::MAX);
                self.skipped(from, count);
                return Ok(());
            }
        }
        let (retry, patience) = (nanos(self.config.retry), nanos(self.config.patience));
        let Some((sequence, count)) = flow.request_due(now, retry, patience) else {
            return Ok(());
        };
        self.counters.rerequests += 1;
        let request = MoldHeader {
            session,
            sequence,
            count: count.min(REREQUEST_MAX) as u16,
        };
        self.wire.send(&request.encode())
    }

    fn skipped(&mut self, from: u64, count: u64) {
        self.counters.skipped += count;
        self.event.clear();
        self.market.miss(from + count - 1);
        if let Some(verifier) = &mut self.verifier {
            verifier.miss(from + count);
        }
        self.was_synced = false;
        // What was to be told of the books is not so any more.
        (self.events).retain(|e| matches!(e, FeedEvent::Skipped { .. }));
        self.events.push_back(FeedEvent::Skipped { from, count });
    }

    /// Delivers one event.
    fn step(&mut self) -> Option<FeedEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let flow = self.flow.as_mut()?;
        if let Some((c, verdict)) = (self.verifier.as_mut()).and_then(|v| v.verdict(flow.next())) {
            let is_good = matches!(verdict, Verdict::Session | Verdict::Range);
            self.counters.verified += u64::from(is_good);
            return Some(FeedEvent::Checkpoint {
                last_seq: c.last_seq,
                batch_no: c.batch_no,
                verdict,
            });
        }
        while let Some((seq, item)) = flow.pop() {
            self.counters.messages += 1;
            if let Some(verifier) = &mut self.verifier {
                verifier.message(seq, item.bytes);
            }
            let Some(message) = item.message else {
                self.counters.unknown += 1;
                continue;
            };
            self.event.push((seq, message));
            let settled = message.is_last();
            if settled {
                self.market.event(&self.event);
                self.event.clear();
            }
            return Some(FeedEvent::Message {
                seq,
                message,
                settled,
            });
        }
        if !self.has_ended && self.end == Some(flow.next()) {
            self.has_ended = true;
            return Some(FeedEvent::EndOfSession);
        }
        None
    }
}

const fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}
