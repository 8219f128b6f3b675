//! The order-entry session: login, requests out, reports in.

use crate::answers::{answered, is_last_answer};
use crate::link::{Dropped, Link};
use crate::ordered::Ordered;
use crate::wire::{Udp, Wire};
use firmware::limits::DATAGRAM_MAX;
use firmware::session::{
    KEEP_ALIVE_MS_MAX, KEEP_ALIVE_MS_MIN, KeepAlive, RetransmitRefusal, SEQ_NO_MAX, SessionReject,
    TerminateReason, control_datagram, read_control, read_session_message,
};
use firmware::units::TimeNs;
use firmware::wire::datagram::{
    DatagramBuilder, KIND_CONTROL, KIND_DATA, KIND_HEARTBEAT, KIND_RETRANSMISSION, messages,
};
use firmware::wire::order::Request;
use firmware::wire::quote::{MassQuote, QuoteEntry, encode_quote};
use firmware::wire::report::{NotApplied, Report};
use firmware::wire::sbe::{Message, MessageHeader};
use firmware::wire::session::{
    Establish, EstablishmentAck, RetransmitReject, RetransmitRequest, SessionMessage, Terminate,
};
use handshake::{ClientLogin, Credentials, LoginError, LoginStep, TagKeys};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// First pause before a login message is sent again; doubled each time, ns.
const LOGIN_RETRY_NS: u64 = 100_000_000;
/// Longest such pause, ns.
const LOGIN_RETRY_MAX_NS: u64 = 1_000_000_000;
/// A login attempt is started afresh after this time, before its clock gets stale, ns.
const LOGIN_ATTEMPT_NS: u64 = 4_000_000_000;
/// With requests unanswered and nothing sent for so long, a heartbeat shows the venue what it may have
/// missed, ns.
const PROBE_NS: u64 = 50_000_000;
/// A venue that wants a retransmission later than this is asked all the same, ms.
const RETRY_AFTER_MS_MAX: u32 = 2_000;
/// Datagrams taken in one poll at most, so that timers are never starved.
const RECEIVE_BURST: usize = 64;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Config {
    /// Order-entry address of the venue.
    pub venue: SocketAddr,
    /// Its second one, if both are to be used: every datagram goes to both, and the first copy counts.
    pub venue_b: Option<SocketAddr>,
    /// Member, its key, the venue's key, suites.
    pub credentials: Credentials,
    /// Interval of heartbeats, 20 to 10,000 ms. Silence for three of them ends the session at either end.
    pub keep_alive_ms: u32,
    /// Cancel on disconnect: one of `firmware::session::COD_*`.
    pub cod_policy: u8,
    /// The first report wanted: 1 for the whole day, `None` for only what comes from now on.
    pub first_report: Option<u64>,
    /// A login that takes longer has failed.
    pub login_timeout: Duration,
    /// A retransmission that was not answered is asked for again after this time.
    pub retransmit_retry: Duration,
    /// Requests without a report at a time; [`SendError::TooManyPending`] beyond.
    pub pending_max: usize,
    /// The member gets copies of others' reports: they answer no request of this session, which sends none.
    pub is_drop_copy: bool,
}

impl Config {
    /// Heartbeats each second, cancel on disconnect for flagged orders, all reports of the day.
    #[must_use]
    pub const fn new(venue: SocketAddr, credentials: Credentials) -> Self {
        Self {
            venue,
            venue_b: None,
            credentials,
            keep_alive_ms: 1000,
            cod_policy: firmware::session::COD_FLAGGED,
            first_report: Some(1),
            login_timeout: Duration::from_secs(10),
            retransmit_retry: Duration::from_millis(50),
            pending_max: 1 << 16,
            is_drop_copy: false,
        }
    }
}

/// A request as it was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// A message of fixed size.
    Request(Request),
    /// A mass quote.
    MassQuote(MassQuote, Box<[QuoteEntry]>),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The session is open, for the first time or again.
    Established {
        /// Number of the next request.
        next_client_seq: u64,
        /// Number of the next report to be delivered.
        next_report: u64,
    },
    /// A report, once and in order.
    Report {
        /// Its number.
        seq: u64,
        /// The report.
        report: Report,
    },
    /// A request of ours never reached the venue and never will: follows the [`NotApplied`] report.
    NotApplied {
        /// Its number.
        client_seq: u64,
        /// The request; sending it again is the caller's choice.
        request: Sent,
    },
    /// A report of a template that this release does not know.
    UnknownReport {
        /// Its number.
        seq: u64,
    },
    /// Reports that the venue does not keep any more.
    ReportsGone {
        /// The first.
        from: u64,
        /// How many.
        count: u64,
    },
    /// The session is over; [`Session::reconnect`] opens it again.
    Ended(EndReason),
}

/// Why a session ended or could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// We ended it.
    Closed,
    /// The venue ended it; a `firmware::session::TerminateReason`.
    Terminated(u16),
    /// The venue was silent for three heartbeat intervals.
    Lost,
    /// The login failed.
    Login(LoginError),
    /// The keys were agreed on and yet the venue does not open the flows.
    Refused(SessionReject),
    /// No usable answer within the login timeout.
    NoAnswer {
        /// Responses that were not signed by the pinned venue key.
        forged: u64,
    },
    /// The keys have sealed as many datagrams as they may: log in again.
    KeysUsedUp,
    /// The socket failed.
    Io(io::ErrorKind),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by this side"),
            Self::Terminated(n) => match TerminateReason::from_wire(*n) {
                Some(reason) => write!(f, "the venue ended the session: {reason}"),
                None => write!(f, "the venue ended the session with reason {n}"),
            },
            Self::Lost => f.write_str("the venue was silent for three heartbeat intervals"),
            Self::Login(e) => e.fmt(f),
            Self::Refused(code) => write!(f, "the venue does not open the session: {code}"),
            Self::NoAnswer { forged: 0 } => f.write_str(
                "no answer from the venue: is the address right, and is the venue running?",
            ),
            Self::NoAnswer { forged } => write!(
                f,
                "{forged} answers, none signed by the pinned venue key: is it the right one?"
            ),
            Self::KeysUsedUp => f.write_str("the session keys are used up"),
            Self::Io(kind) => write!(f, "socket: {kind}"),
        }
    }
}

impl std::error::Error for EndReason {}

/// Why a request was not taken; nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The session is not open.
    NotEstablished,
    /// A session that gets copies may ask for nothing; see [`Config::is_drop_copy`].
    DropCopy,
    /// Too many requests wait for their report.
    TooManyPending,
    /// A mass quote of more than [`QUOTE_ENTRIES_MAX`](firmware::wire::quote::QUOTE_ENTRIES_MAX) entries.
    TooManyEntries,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotEstablished => "the session is not open",
            Self::DropCopy => "a session that gets copies may ask for nothing",
            Self::TooManyPending => "too many requests wait for their report",
            Self::TooManyEntries => "a mass quote holds at most 32 entries",
        })
    }
}

impl std::error::Error for SendError {}

/// What was counted since the session object was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SessionCounters {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams received.
    pub received: u64,
    /// Not for this connection, or not understood.
    pub foreign: u64,
    /// Packet numbers seen before or too old.
    pub replayed: u64,
    /// Wrong tags.
    pub bad_tags: u64,
    /// Responses that the pinned venue key did not sign.
    pub forged: u64,
    /// Messages with a broken frame under a valid tag: a fault of the venue.
    pub malformed: u64,
    /// Reports that had come before.
    pub duplicate_reports: u64,
    /// Retransmissions asked for.
    pub retransmit_requests: u64,
    /// Requests that the venue reported as never received.
    pub not_applied: u64,
    /// Logins completed.
    pub logins: u64,
}

enum State {
    /// Messages of the login go to and fro.
    LoggingIn(Box<ClientLogin>),
    /// The keys are there; Establish is not answered yet.
    Establishing(Box<Link>),
    Open(Box<Link>),
    Ended,
}

/// What the datagrams of an open session are made with; see [`Session::hand_over`].
pub struct Keys {
    /// Connection that stands in each datagram.
    pub conn_id: u32,
    /// Tag keys of both directions.
    pub keys: TagKeys,
    /// Number of the last datagram that was sent.
    pub packet_no: u64,
    /// Number of the next request.
    pub next_client_seq: u64,
}

/// A session with the venue, over any [`Wire`].
///
/// ```text
/// send(request)   queued; goes out with flush, poll, or when the datagram is full
/// poll(now)       receives, answers, keeps the session alive; gives the next event
/// ```
pub struct Session<W: Wire = Udp> {
    config: Config,
    wire: W,
    state: State,
    /// End of the login timeout, while a login is under way.
    give_up_at: TimeNs,
    /// Start of this login attempt.
    attempt_at: TimeNs,
    retry_at: TimeNs,
    retry_pause_ns: u64,
    last_session_id: u64,
    forged_before: u64,
    /// Number of the next request.
    next_client_seq: u64,
    /// Requests in `outbox` have the numbers up to `next_client_seq`.
    outbox: DatagramBuilder,
    /// The next request number that the venue expects, as it last said.
    acked: u64,
    pending: BTreeMap<u64, Sent>,
    reports: Option<Ordered<Option<Report>>>,
    events: VecDeque<Event>,
    counters: SessionCounters,
    clock: TimeNs,
}

impl Session<Udp> {
    /// Connects and waits until the session is open.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub fn connect(config: Config) -> Result<Self, EndReason> {
        let wire = match config.venue_b {
            Some(b) => Udp::to_both(config.venue, b),
            None => Udp::to(config.venue),
        };
        let wire = wire.map_err(|e| EndReason::Io(e.kind()))?;
        let mut session = Self::start(config, wire, crate::now())?;
        loop {
            match session.poll(crate::now()) {
                Some(Event::Established { .. }) => return Ok(session),
                Some(Event::Ended(reason)) => return Err(reason),
                Some(_) => {}
                None => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }
}

impl<W: Wire> Session<W> {
    /// Starts a login over `wire`; [`poll`](Self::poll) brings it to its end.
    ///
    /// # Errors
    /// When the credentials cannot be used for this address.
    pub fn start(config: Config, wire: W, now: TimeNs) -> Result<Self, EndReason> {
        let mut session = Self {
            reports: config.first_report.map(Ordered::starting_at),
            config,
            wire,
            state: State::Ended,
            give_up_at: now,
            attempt_at: now,
            retry_at: now,
            retry_pause_ns: 0,
            last_session_id: 0,
            forged_before: 0,
            next_client_seq: 1,
            outbox: DatagramBuilder::new(),
            acked: 1,
            pending: BTreeMap::new(),
            events: VecDeque::new(),
            counters: SessionCounters::default(),
            clock: now,
        };
        session.reconnect(now)?;
        Ok(session)
    }

    /// Logs in again; both flows go on where they were. Without effect on requests still pending: each is
    /// answered by its report or by [`Event::NotApplied`] once the session is open.
    ///
    /// # Errors
    /// When the credentials cannot be used for this address.
    pub fn reconnect(&mut self, now: TimeNs) -> Result<(), EndReason> {
        self.clock = now;
        // Never sent: its numbers would be reported as not applied, and rightly so.
        self.outbox.clear();
        self.forged_before = self.counters.forged;
        self.give_up_at = TimeNs(now.0 + self.config.login_timeout.as_nanos() as u64);
        self.begin_login(now)
    }

    fn begin_login(&mut self, now: TimeNs) -> Result<(), EndReason> {
        let session_id = (now.0 / 1000).max(self.last_session_id + 1);
        let login = ClientLogin::new(&self.config.credentials, self.config.venue, session_id, now)
            .map_err(EndReason::Login)?;
        self.last_session_id = session_id;
        self.state = State::LoggingIn(Box::new(login));
        self.attempt_at = now;
        self.restart_retry(now);
        Ok(())
    }

    fn login_afresh(&mut self, now: TimeNs) {
        if let Err(reason) = self.begin_login(now) {
            self.end(reason);
        }
    }

    /// Whether requests can be sent.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &SessionCounters {
        &self.counters
    }

    /// The wire, for its own counters and faults.
    pub const fn wire_mut(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Requests without a report yet, by number. What is here when a session ends may or may not have
    /// reached the venue; after [`reconnect`](Self::reconnect) each is resolved.
    pub fn pending(&self) -> impl Iterator<Item = (u64, &Sent)> {
        self.pending.iter().map(|(seq, r)| (*seq, r))
    }

    /// Queues a request and gives its number. Requests share a datagram until [`flush`](Self::flush).
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&mut self, request: &Request) -> Result<u64, SendError> {
        self.queue(request.header(), request.block(), Sent::Request(*request))
    }

    /// Queues a mass quote and gives its number.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send_quote(
        &mut self,
        head: &MassQuote,
        entries: &[QuoteEntry],
    ) -> Result<u64, SendError> {
        let mut block = [0; DATAGRAM_MAX];
        let len = encode_quote(head, entries, &mut block).ok_or(SendError::TooManyEntries)?;
        let sent = Sent::MassQuote(*head, entries.into());
        self.queue(MassQuote::HEADER, &block[..len], sent)
    }

    fn queue(
        &mut self,
        header: MessageHeader,
        block: &[u8],
        request: Sent,
    ) -> Result<u64, SendError> {
        if self.config.is_drop_copy {
            return Err(SendError::DropCopy);
        }
        if !self.is_open() {
            return Err(SendError::NotEstablished);
        }
        if self.pending.len() >= self.config.pending_max {
            return Err(SendError::TooManyPending);
        }
        if !self.outbox.push(header, block) {
            self.flush(self.clock);
            // The socket may have failed.
            if !self.is_open() || !self.outbox.push(header, block) {
                return Err(SendError::NotEstablished);
            }
        }
        let seq = self.next_client_seq;
        self.next_client_seq += 1;
        self.pending.insert(seq, request);
        Ok(seq)
    }

    /// Sends what is queued.
    pub fn flush(&mut self, now: TimeNs) {
        self.clock = now;
        if self.outbox.count() > 0 {
            let first = self.next_client_seq - u64::from(self.outbox.count());
            self.transmit(KIND_DATA, first, now);
        }
    }

    /// Gives up an open session without ending it, and hands over its wire and what its datagrams are made
    /// with: for a program that seals ahead of time and opens later by itself. Nothing is kept alive or asked for
    /// again from then on.
    ///
    /// # Errors
    /// The session as it was, if it is not open.
    pub fn hand_over(mut self) -> Result<(W, Keys), Box<Self>> {
        self.flush(self.clock);
        let State::Open(link) = &self.state else {
            return Err(Box::new(self));
        };
        let keys = Keys {
            conn_id: link.session.conn_id,
            keys: link.session.keys.clone(),
            packet_no: link.packet_no(),
            next_client_seq: self.next_client_seq,
        };
        Ok((self.wire, keys))
    }

    /// Ends the session. The venue acts on cancel-on-disconnect at once.
    pub fn terminate(&mut self, now: TimeNs) {
        self.flush(now);
        if let State::Open(link) | State::Establishing(link) = &self.state {
            let message = Terminate {
                session_id: link.session.session_id,
                reason: TerminateReason::Finished as u16,
                pad1: 0,
                pad2: 0,
            };
            // Twice, since it is not answered; the second is ignored.
            for _ in 0..2 {
                self.transmit_control(message.into(), now);
            }
        }
        self.end(EndReason::Closed);
    }

    /// Does what is to be done at `now` and gives the next event; `None` when there is none. To be called
    /// until `None`, and again when a datagram may have come or a few ms have passed.
    pub fn poll(&mut self, now: TimeNs) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        self.clock = now;
        if matches!(self.state, State::Ended) {
            return None;
        }
        self.receive_burst(now);
        self.flush(now);
        self.run_timers(now);
        self.events.pop_front()
    }

    fn receive_burst(&mut self, now: TimeNs) {
        let mut buf = [0; DATAGRAM_MAX];
        for _ in 0..RECEIVE_BURST {
            match self.wire.receive(&mut buf) {
                Ok(None) => return,
                Ok(Some(len)) => {
                    self.counters.received += 1;
                    self.on_datagram(&buf[..len.min(DATAGRAM_MAX)], now);
                }
                Err(e) => return self.end(EndReason::Io(e.kind())),
            }
        }
    }

    fn on_datagram(&mut self, payload: &[u8], now: TimeNs) {
        let link = match &mut self.state {
            State::Ended => return,
            State::LoggingIn(_) => return self.on_login_datagram(payload, now),
            State::Establishing(link) | State::Open(link) => link,
        };
        let (header, body) = match link.open(payload, now) {
            Ok(opened) => opened,
            Err(Dropped::Foreign) => {
                self.counters.foreign += 1;
                return;
            }
            Err(Dropped::Replayed) => {
                self.counters.replayed += 1;
                return;
            }
            Err(Dropped::BadTag) => {
                self.counters.bad_tags += 1;
                return;
            }
        };
        match header.kind {
            KIND_CONTROL => self.on_control(body, now),
            // Until the flows are open their state is not known; what comes early is asked for again.
            _ if !self.is_open() => {}
            KIND_DATA | KIND_RETRANSMISSION => {
                self.acked = self.acked.max(header.ack_seq_no);
                self.on_reports(header.next_seq_no, body);
            }
            _ => {
                self.acked = self.acked.max(header.ack_seq_no);
                if let Some(reports) = &mut self.reports {
                    reports.announce(header.next_seq_no);
                }
            }
        }
        self.deliver();
    }

    fn on_login_datagram(&mut self, payload: &[u8], now: TimeNs) {
        let State::LoggingIn(login) = &mut self.state else {
            return;
        };
        let Ok(message) = read_control(payload) else {
            self.counters.foreign += 1;
            return;
        };
        match login.on_message(&message) {
            Ok(LoginStep::Send) => {
                self.restart_retry(now);
            }
            Ok(LoginStep::Ignored) => self.counters.foreign += 1,
            Ok(LoginStep::Done(session)) => {
                let link = Link::new(*session, self.config.keep_alive_ms, now);
                self.state = State::Establishing(Box::new(link));
                self.restart_retry(now);
            }
            // Anybody can send such a thing: the true answer may still come.
            Err(LoginError::BadSignature) => self.counters.forged += 1,
            Err(e) => self.end(EndReason::Login(e)),
        }
    }

    fn on_control(&mut self, body: &[u8], now: TimeNs) {
        match read_session_message(body) {
            Ok(SessionMessage::EstablishmentAck(m)) => self.on_established(&m, now),
            Ok(SessionMessage::EstablishmentReject(m)) => {
                if matches!(self.state, State::Establishing(_)) {
                    let code = SessionReject::from_wire(m.reason);
                    let unknown = LoginError::RejectedUnknown(m.reason);
                    self.end(code.map_or(EndReason::Login(unknown), EndReason::Refused));
                }
            }
            Ok(SessionMessage::Terminate(m)) => self.end(EndReason::Terminated(m.reason)),
            Ok(SessionMessage::RetransmitReject(m)) => self.on_retransmit_reject(&m, now),
            _ => self.counters.malformed += 1,
        }
    }

    fn on_established(&mut self, m: &EstablishmentAck, now: TimeNs) {
        let State::Establishing(link) = &mut self.state else {
            return;
        };
        if m.session_id != link.session.session_id {
            self.counters.malformed += 1;
            return;
        }
        link.alive = KeepAlive::new(
            self.config.keep_alive_ms,
            m.keep_alive_ms.clamp(KEEP_ALIVE_MS_MIN, KEEP_ALIVE_MS_MAX),
            now,
        );
        if let State::Establishing(link) = std::mem::replace(&mut self.state, State::Ended) {
            self.state = State::Open(link);
        }
        let reports = (self.reports).get_or_insert_with(|| Ordered::starting_at(m.next_seq_no));
        reports.announce(m.next_seq_no);
        self.acked = m.next_client_seq_no;
        // Ours is higher when requests got lost: the venue reports those as not applied.
        self.next_client_seq = self.next_client_seq.max(m.next_client_seq_no);
        self.counters.logins += 1;
        self.events.push_back(Event::Established {
            next_client_seq: self.next_client_seq,
            next_report: reports.next(),
        });
    }

    fn on_reports(&mut self, first: u64, body: &[u8]) {
        let Some(reports) = &mut self.reports else {
            return;
        };
        if first > SEQ_NO_MAX {
            self.counters.malformed += 1;
            return;
        }
        for (seq, message) in (first..).zip(messages(body)) {
            let Ok(message) = message else {
                self.counters.malformed += 1;
                return;
            };
            if !reports.offer(seq, Report::decode(message).ok()) {
                self.counters.duplicate_reports += 1;
            }
        }
    }

    /// Hands over the reports that are next.
    fn deliver(&mut self) {
        while let Some((seq, report)) = self.reports.as_mut().and_then(Ordered::pop) {
            let Some(report) = report else {
                self.events.push_back(Event::UnknownReport { seq });
                continue;
            };
            self.events.push_back(Event::Report { seq, report });
            if let Report::NotApplied(m) = report {
                self.drop_pending(&m);
            } else if let Some(client_seq) = answered(&report)
                && let Some(request) = self.pending.get(&client_seq)
                && is_last_answer(&report, request)
            {
                self.pending.remove(&client_seq);
            }
        }
    }

    fn drop_pending(&mut self, m: &NotApplied) {
        let end = m.from_seq_no.saturating_add(m.count);
        while let Some((&client_seq, _)) = self.pending.range(m.from_seq_no..end).next() {
            if let Some(request) = self.pending.remove(&client_seq) {
                self.counters.not_applied += 1;
                self.events.push_back(Event::NotApplied {
                    client_seq,
                    request,
                });
            }
        }
    }

    fn on_retransmit_reject(&mut self, m: &RetransmitReject, now: TimeNs) {
        let Some(reports) = &mut self.reports else {
            return;
        };
        match RetransmitRefusal::from_wire(m.reason) {
            Some(RetransmitRefusal::TooLow) => {
                if reports.next() == m.from_seq_no
                    && let Some((from, count)) = reports.skip_to(m.first_seq_no)
                {
                    self.events.push_back(Event::ReportsGone { from, count });
                }
            }
            // Otherwise the retry comes by itself; not before the venue wants to hear it.
            _ => reports.hold_until(TimeNs(
                now.0 + u64::from(m.retry_after_ms.min(RETRY_AFTER_MS_MAX)) * 1_000_000,
            )),
        }
    }

    fn run_timers(&mut self, now: TimeNs) {
        match &self.state {
            State::Ended => {}
            State::LoggingIn(login) => {
                if now >= self.give_up_at {
                    let forged = self.counters.forged - self.forged_before;
                    self.end(EndReason::NoAnswer { forged });
                } else if now.0 >= self.attempt_at.0 + LOGIN_ATTEMPT_NS {
                    self.login_afresh(now);
                } else if now >= self.retry_at {
                    let datagram = control_datagram(&mut self.outbox, login.request());
                    let result = self.wire.send(datagram);
                    self.after_send(result);
                    self.back_off(now);
                }
            }
            State::Establishing(link) => {
                let session_id = link.session.session_id;
                if now >= self.give_up_at {
                    self.end(EndReason::NoAnswer { forged: 0 });
                } else if now.0 >= self.attempt_at.0 + LOGIN_ATTEMPT_NS {
                    // The venue may have forgotten the keys.
                    self.login_afresh(now);
                } else if now >= self.retry_at {
                    self.back_off(now);
                    let message = Establish {
                        session_id,
                        timestamp: now.0,
                        next_seq_no: self.next_client_seq,
                        keep_alive_ms: self.config.keep_alive_ms,
                        cod_policy: self.config.cod_policy,
                        pad1: 0,
                        pad2: 0,
                    };
                    self.transmit_control(message.into(), now);
                }
            }
            State::Open(link) => {
                let unanswered = self.acked < self.next_client_seq;
                let probe = unanswered && link.alive.quiet_for(now, PROBE_NS);
                if link.alive.lost(now) {
                    self.end(EndReason::Lost);
                } else if link.keys_used_up() {
                    self.end(EndReason::KeysUsedUp);
                } else {
                    if probe || link.alive.heartbeat_due(now) {
                        self.transmit(KIND_HEARTBEAT, self.next_client_seq, now);
                    }
                    self.ask_for_reports(now);
                }
            }
        }
    }

    fn ask_for_reports(&mut self, now: TimeNs) {
        let retry_ns = self.config.retransmit_retry.as_nanos() as u64;
        let due = (self.reports.as_mut()).and_then(|r| r.request_due(now, retry_ns, 0));
        if let Some((from_seq_no, count)) = due {
            self.counters.retransmit_requests += 1;
            let message = RetransmitRequest {
                timestamp: now.0,
                from_seq_no,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                pad1: 0,
            };
            self.transmit_control(message.into(), now);
        }
    }

    const fn restart_retry(&mut self, now: TimeNs) {
        self.retry_at = now;
        self.retry_pause_ns = LOGIN_RETRY_NS;
    }

    fn back_off(&mut self, now: TimeNs) {
        self.retry_at = TimeNs(now.0 + self.retry_pause_ns);
        self.retry_pause_ns = (2 * self.retry_pause_ns).min(LOGIN_RETRY_MAX_NS);
    }

    /// Seals the outbox and sends it.
    fn transmit(&mut self, kind: u8, next_seq_no: u64, now: TimeNs) {
        let (State::Open(link) | State::Establishing(link)) = &mut self.state else {
            return;
        };
        let ack = self.reports.as_ref().map_or(1, Ordered::next);
        let (next_seq_no, ack) = match kind {
            KIND_CONTROL => (0, 0),
            _ => (next_seq_no, ack),
        };
        let datagram = link.seal(&mut self.outbox, kind, next_seq_no, ack, now);
        let result = self.wire.send(datagram);
        self.after_send(result);
    }

    /// Sends a tagged session message. Requests that are queued go out first.
    fn transmit_control(&mut self, message: SessionMessage, now: TimeNs) {
        self.flush(now);
        let fits = self.outbox.push(message.header(), message.block());
        assert!(fits, "an empty datagram takes any session message");
        self.transmit(KIND_CONTROL, 0, now);
    }

    fn after_send(&mut self, result: io::Result<()>) {
        self.outbox.clear();
        self.counters.sent += 1;
        if let Err(e) = result {
            self.end(EndReason::Io(e.kind()));
        }
    }

    /// Ends the session once.
    fn end(&mut self, reason: EndReason) {
        if !matches!(self.state, State::Ended) {
            self.state = State::Ended;
            self.outbox.clear();
            self.events.push_back(Event::Ended(reason));
        }
    }
}
