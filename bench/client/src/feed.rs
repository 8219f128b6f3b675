//! Market data: MoldUDP64 with recovery of gaps, and the books that follow from it.

use crate::book::{Book, Inconsistent};
use crate::ordered::Ordered;
use crate::wire::{Udp, Wire};
use firmware::limits::DATAGRAM_MAX;
use firmware::session::SEQ_NO_MAX;
use firmware::units::{Side, TimeNs};
use firmware::wire::feed::FeedMessage;
use firmware::wire::mold::{END_OF_SESSION, MoldHeader, blocks};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Most messages asked for at a time; the answer holds what fits one packet.
const REREQUEST_MAX: u64 = 1024;
/// Packets taken in one poll at most.
const RECEIVE_BURST: usize = 256;

/// Where the feed comes from.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Multicast group, or a unicast address of this machine.
    pub listen: SocketAddr,
    /// Interface on which the group is joined.
    pub interface: Ipv4Addr,
    /// Re-request server; without one a gap is never filled and the feed stops there.
    pub rerequest: Option<SocketAddr>,
    /// Session to follow; `None` takes that of the first packet.
    pub session: Option<[u8; 10]>,
    /// A re-request that was not answered is repeated after this time.
    pub retry: Duration,
}

impl FeedConfig {
    /// A feed at `listen`, with re-requests to `rerequest`.
    #[must_use]
    pub const fn new(listen: SocketAddr, rerequest: Option<SocketAddr>) -> Self {
        Self {
            listen,
            interface: Ipv4Addr::UNSPECIFIED,
            rerequest,
            session: None,
            retry: Duration::from_millis(20),
        }
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
    /// The venue has closed the feed session, and everything before was delivered.
    EndOfSession,
}

/// What was counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FeedCounters {
    /// Packets received.
    pub packets: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Messages that had come before.
    pub duplicates: u64,
    /// Re-requests sent.
    pub rerequests: u64,
    /// Packets that are not MoldUDP64.
    pub malformed: u64,
    /// Packets of another session.
    pub foreign: u64,
    /// Messages of a template that this release does not know.
    pub unknown: u64,
    /// Messages that do not fit the book: a fault of the venue.
    pub inconsistent: u64,
}

/// Follows a feed and keeps the book of each instrument.
pub struct Feed<W: Wire = Udp> {
    wire: W,
    retry_ns: u64,
    session: Option<[u8; 10]>,
    flow: Ordered<Option<FeedMessage>>,
    /// Number after the last message of the session, once it is known.
    end: Option<u64>,
    ended: bool,
    /// Messages of an event that is not whole yet.
    event: Vec<FeedMessage>,
    books: BTreeMap<u16, Book>,
    counters: FeedCounters,
}

impl Feed<Udp> {
    /// Joins the feed, from the first message of its session on: what was before is asked for.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub fn join(config: &FeedConfig) -> io::Result<Self> {
        let wire = Udp::line(config.listen, config.interface, config.rerequest)?;
        Ok(Self::over(wire, config))
    }
}

impl<W: Wire> Feed<W> {
    /// The feed over any wire: `receive` gives packets of the line and answers to re-requests, `send` goes to
    /// the re-request server.
    #[must_use]
    pub fn over(wire: W, config: &FeedConfig) -> Self {
        Self {
            wire,
            retry_ns: config.retry.as_nanos() as u64,
            session: config.session,
            flow: Ordered::starting_at(1),
            end: None,
            ended: false,
            event: Vec::new(),
            books: BTreeMap::new(),
            counters: FeedCounters::default(),
        }
    }

    /// The book of an instrument, always at the end of a matching event.
    #[must_use]
    pub fn book(&self, instrument: u16) -> Option<&Book> {
        self.books.get(&instrument)
    }

    /// All books with their instruments.
    pub fn books(&self) -> impl Iterator<Item = (u16, &Book)> {
        self.books.iter().map(|(i, b)| (*i, b))
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &FeedCounters {
        &self.counters
    }

    /// Number of the next message to be delivered.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.flow.next()
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
            match self.wire.receive(&mut buf)? {
                Some(len) => self.on_packet(&buf[..len.min(DATAGRAM_MAX)]),
                None => break,
            }
        }
        self.rerequest(now)?;
        Ok(self.step())
    }

    fn on_packet(&mut self, packet: &[u8]) {
        self.counters.packets += 1;
        let Some((header, rest)) = MoldHeader::decode(packet) else {
            self.counters.malformed += 1;
            return;
        };
        let end_of_session = header.count == END_OF_SESSION;
        let count = if end_of_session { 0 } else { header.count };
        if header.sequence == 0 || header.sequence > SEQ_NO_MAX {
            self.counters.malformed += 1;
            return;
        }
        if *self.session.get_or_insert(header.session) != header.session {
            self.counters.foreign += 1;
            return;
        }
        let messages: Vec<&[u8]> = blocks(rest).take(count.into()).collect();
        if messages.len() != usize::from(count) {
            self.counters.malformed += 1;
            return;
        }
        self.flow.announce(header.sequence);
        if end_of_session {
            self.end = Some(header.sequence);
        }
        for (seq, bytes) in (header.sequence..).zip(messages) {
            if !self.flow.offer(seq, FeedMessage::decode(bytes).ok()) {
                self.counters.duplicates += 1;
            }
        }
    }

    fn rerequest(&mut self, now: TimeNs) -> io::Result<()> {
        let Some(session) = self.session else {
            return Ok(());
        };
        let Some((sequence, count)) = self.flow.request_due(now, self.retry_ns) else {
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

    /// Delivers one message.
    fn step(&mut self) -> Option<FeedEvent> {
        while let Some((seq, message)) = self.flow.pop() {
            self.counters.messages += 1;
            let Some(message) = message else {
                self.counters.unknown += 1;
                continue;
            };
            self.event.push(message);
            let settled = message.is_last();
            if settled {
                self.settle();
            }
            return Some(FeedEvent::Message {
                seq,
                message,
                settled,
            });
        }
        if !self.ended && self.end == Some(self.flow.next()) {
            self.ended = true;
            return Some(FeedEvent::EndOfSession);
        }
        None
    }

    /// Brings a whole event into the books.
    fn settle(&mut self) {
        for message in std::mem::take(&mut self.event) {
            if self.apply(&message).is_err() {
                self.counters.inconsistent += 1;
            }
        }
    }

    fn apply(&mut self, message: &FeedMessage) -> Result<(), Inconsistent> {
        let (instrument, side) = match message {
            FeedMessage::OrderAdd(m) => (m.instrument, m.side),
            FeedMessage::OrderReduce(m) => (m.instrument, m.side),
            FeedMessage::OrderDelete(m) => (m.instrument, m.side),
            FeedMessage::OrderExecuted(m) => (m.instrument, m.side),
            FeedMessage::InstrumentDefinition(m) => {
                self.books.entry(m.instrument).or_default();
                return Ok(());
            }
            // A book may cross while its instrument is not open: levels are kept, not judged.
            FeedMessage::TradingStatus(_)
            | FeedMessage::AuctionUpdate(_)
            | FeedMessage::IndexUpdate(_)
            | FeedMessage::MarkPrice(_)
            | FeedMessage::SettlementSummary(_)
            | FeedMessage::BatchSealed(_) => return Ok(()),
        };
        let side = Side::from_wire(side).ok_or(Inconsistent)?;
        let book = self.books.entry(instrument).or_default();
        match message {
            FeedMessage::OrderAdd(m) => book.add(m.order_id, side, m.price, m.quantity),
            FeedMessage::OrderReduce(m) => book.set(m.order_id, side, m.quantity),
            FeedMessage::OrderDelete(m) => book.set(m.order_id, side, 0),
            FeedMessage::OrderExecuted(m) => {
                let order = book.order(m.order_id).ok_or(Inconsistent)?;
                if order.quantity.checked_sub(m.leaves) != Some(m.quantity)
                    || order.price != m.price
                {
                    return Err(Inconsistent);
                }
                book.set(m.order_id, side, m.leaves)
            }
            _ => Ok(()),
        }
    }
}
