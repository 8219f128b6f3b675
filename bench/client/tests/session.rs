//! The session over a bad network: every report once and in order, every request applied once or not at all.

mod common;

use client::{
    Config, EndReason, Event, OrderIds, Report, Request, SecretKey, SendError, Sent, Session, Side,
    limit_order, mass_cancel,
};
use common::{End, Faults, MS, Pipe, Rng, START, Venue, credentials};
use firmware::session::{SessionReject, TerminateReason};
use firmware::units::{MemberId, TimeNs};
use handshake::LoginError;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const BAD: Faults = Faults {
    loss: 20,
    repeat: 20,
    corrupt: 0,
    delay_max_ms: 20,
};

fn config() -> Config {
    let mut config = Config::new("192.0.2.2:5000".parse().unwrap(), credentials());
    config.keep_alive_ms = 100;
    config
}

/// A client and a venue, two pipes, and what the client was told.
struct Lab {
    session: Session<End>,
    venue: Venue,
    up: Rc<RefCell<Pipe>>,
    down: Rc<RefCell<Pipe>>,
    clock: Rc<Cell<TimeNs>>,
    reports: Vec<Report>,
    sent: BTreeMap<u64, Request>,
    lost: BTreeMap<u64, Request>,
    opened: Vec<(u64, u64)>,
    ended: Vec<EndReason>,
}

impl Lab {
    fn new(seed: u64, faults: Faults, config: Config) -> Self {
        let (up, down) = (Pipe::new(seed, faults), Pipe::new(!seed, faults));
        let clock = Rc::new(Cell::new(START));
        let end = End {
            out: up.clone(),
            inward: down.clone(),
            clock: clock.clone(),
        };
        Self {
            session: Session::start(config, end, START).unwrap(),
            venue: Venue::new(seed ^ 0x5555),
            up,
            down,
            clock,
            reports: Vec::new(),
            sent: BTreeMap::new(),
            lost: BTreeMap::new(),
            opened: Vec::new(),
            ended: Vec::new(),
        }
    }

    fn faults(&self, faults: Faults) {
        self.up.borrow_mut().faults = faults;
        self.down.borrow_mut().faults = faults;
    }

    /// One millisecond.
    fn step(&mut self) {
        let now = TimeNs(self.clock.get().0 + MS);
        self.clock.set(now);
        let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        loop {
            let datagram = self.up.borrow_mut().receive(now);
            let Some(datagram) = datagram else { break };
            self.venue.on_datagram(&datagram, from, now);
        }
        self.venue.tick(now);
        for d in self.venue.out.drain(..) {
            self.down.borrow_mut().send(&d, now);
        }
        while let Some(event) = self.session.poll(now) {
            match event {
                Event::Report { seq, report } => {
                    self.reports.push(report);
                    assert_eq!(seq, self.reports.len() as u64, "in order, once");
                }
                Event::NotApplied {
                    client_seq,
                    request,
                } => {
                    let Sent::Request(request) = request else {
                        panic!("no mass quote was sent");
                    };
                    let before = self.lost.insert(client_seq, request);
                    assert!(before.is_none(), "{client_seq} told twice");
                }
                Event::Established {
                    next_client_seq,
                    next_report,
                } => self.opened.push((next_client_seq, next_report)),
                Event::Ended(reason) => self.ended.push(reason),
                other => panic!("{other:?}"),
            }
        }
    }

    fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..60_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("not within a minute: {what}");
    }

    fn open(&mut self) {
        let before = self.opened.len();
        self.run_until("established", |l| l.opened.len() > before);
    }

    fn send_some(&mut self, ids: &mut OrderIds, rng: &mut Rng) {
        for _ in 0..rng.below(4) {
            let id = ids.next_id();
            let request: Request = if rng.percent(10) {
                mass_cancel(id, 1, None, None).into()
            } else {
                limit_order(id, 1, 0, Side::Buy, 5_000_000_000, 1).into()
            };
            let seq = self.session.send(&request).unwrap();
            assert!(self.sent.insert(seq, request).is_none());
        }
        if rng.percent(50) {
            self.session.flush(self.clock.get());
        }
    }

    fn run_until_settled(&mut self) {
        self.run_until("all settled", |l| {
            l.session.pending().next().is_none() && l.reports.len() == l.venue.log.len()
        });
    }

    /// Both ends agree on everything.
    fn check(&self) {
        assert_eq!(self.reports, self.venue.log);
        let dead: BTreeSet<u64> = self.lost.keys().copied().collect();
        assert_eq!(dead, self.venue.dead);
        let mut all = self.venue.applied.clone();
        all.extend(self.lost.clone());
        assert_eq!(all, self.sent, "each request is applied or lost, as sent");
        let both = self.venue.applied.keys().find(|s| dead.contains(s));
        assert_eq!(both, None);
    }
}

#[test]
fn over_a_bad_network_every_report_comes_once_and_every_request_is_settled() {
    let mut seen = [0; 6];
    for seed in 0..12 {
        let mut lab = Lab::new(seed, BAD, config());
        lab.open();
        lab.faults(Faults { corrupt: 5, ..BAD });
        let (mut ids, mut rng) = (OrderIds::starting_at(1), Rng(seed));
        for _ in 0..300 {
            lab.send_some(&mut ids, &mut rng);
            lab.step();
        }
        lab.run_until_settled();
        lab.check();
        assert!(lab.ended.is_empty(), "{:?}", lab.ended);
        let c = lab.session.counters();
        assert_eq!(c.malformed, 0);
        let met = [
            c.retransmit_requests,
            c.duplicate_reports,
            c.replayed,
            c.bad_tags,
            c.not_applied,
            lab.venue.applied.len() as u64,
        ];
        for (sum, n) in seen.iter_mut().zip(met) {
            *sum += n;
        }
    }
    assert!(
        seen.iter().all(|n| *n > 20),
        "every fault was met: {seen:?}"
    );
}

#[test]
fn on_a_good_network_nothing_is_lost_and_nothing_is_asked_for_twice() {
    let mut lab = Lab::new(1, Faults::default(), config());
    lab.open();
    let (mut ids, mut rng) = (OrderIds::starting_at(1), Rng(1));
    for _ in 0..300 {
        lab.send_some(&mut ids, &mut rng);
        lab.step();
    }
    lab.run_until_settled();
    lab.check();
    let c = lab.session.counters();
    assert_eq!(c.retransmit_requests, 0);
    assert_eq!(c.duplicate_reports + c.foreign + c.replayed + c.bad_tags, 0);
    assert!(lab.lost.is_empty());
    assert!(c.sent < 400, "requests share datagrams: {}", c.sent);
}

#[test]
fn a_request_lost_at_the_end_of_the_flow_is_told_without_another_request() {
    let mut lab = Lab::new(2, Faults::default(), config());
    lab.open();
    let all = Faults {
        loss: 100,
        ..Faults::default()
    };
    lab.faults(all);
    let request = limit_order(1, 1, 0, Side::Sell, 1, 1).into();
    let seq = lab.session.send(&request).unwrap();
    lab.sent.insert(seq, request);
    lab.session.flush(lab.clock.get());
    lab.faults(Faults::default());
    let before = lab.clock.get();
    lab.run_until_settled();
    lab.check();
    assert_eq!(lab.lost.len(), 1);
    let took = lab.clock.get().0 - before.0;
    assert!(
        took <= 60 * MS,
        "before the next regular heartbeat: {took} ns"
    );
}

#[test]
fn silence_ends_the_session_at_both_ends_and_a_new_login_goes_on_where_it_was() {
    for seed in 20..26 {
        let mut lab = Lab::new(seed, BAD, config());
        lab.open();
        let (mut ids, mut rng) = (OrderIds::starting_at(1), Rng(seed));
        for round in 1..4 {
            for _ in 0..100 {
                lab.send_some(&mut ids, &mut rng);
                lab.step();
            }
            lab.faults(Faults { loss: 100, ..BAD });
            lab.send_some(&mut ids, &mut rng);
            lab.run_until("lost", |l| {
                l.ended.len() == round && !l.venue.is_connected()
            });
            assert_eq!(lab.ended.last(), Some(&EndReason::Lost));
            let request = limit_order(1, 1, 0, Side::Buy, 1, 1).into();
            let refused = lab.session.send(&request);
            assert_eq!(refused, Err(SendError::NotEstablished));
            lab.faults(BAD);
            lab.session.reconnect(lab.clock.get()).unwrap();
            lab.open();
        }
        lab.run_until_settled();
        lab.check();
        assert_eq!((lab.session.counters().logins, lab.venue.lost), (4, 3));
    }
}

#[test]
fn a_venue_that_forgot_the_session_is_logged_in_to_again() {
    let mut lab = Lab::new(3, Faults::default(), config());
    lab.open();
    lab.venue.drop_connections();
    lab.run_until("lost", |l| !l.ended.is_empty());
    assert_eq!(lab.ended, [EndReason::Lost]);
    lab.session.reconnect(lab.clock.get()).unwrap();
    lab.open();
}

#[test]
fn either_end_can_end_the_session() {
    let mut lab = Lab::new(4, Faults::default(), config());
    lab.open();
    lab.venue.stop(lab.clock.get());
    lab.run_until("ended", |l| !l.ended.is_empty());
    assert_eq!(
        lab.ended,
        [EndReason::Terminated(TerminateReason::VenueStops as u16)]
    );
    lab.session.reconnect(lab.clock.get()).unwrap();
    lab.open();
    lab.session.terminate(lab.clock.get());
    lab.run_until("ended", |l| l.ended.len() == 2);
    assert_eq!(lab.ended[1], EndReason::Closed);
    lab.run_until("told", |l| l.venue.terminated > 0);
    assert!(!lab.venue.is_connected());
}

#[test]
fn reports_of_the_past_come_first_unless_only_new_ones_are_wanted() {
    let mut lab = Lab::new(5, Faults::default(), config());
    lab.open();
    let (mut ids, mut rng) = (OrderIds::starting_at(1), Rng(5));
    for _ in 0..100 {
        lab.send_some(&mut ids, &mut rng);
        lab.step();
    }
    lab.run_until_settled();
    let (count, next) = (lab.reports.len() as u64, lab.sent.len() as u64 + 1);
    let end = |lab: &Lab| End {
        out: lab.up.clone(),
        inward: lab.down.clone(),
        clock: lab.clock.clone(),
    };
    // A new program of the same member, all reports wanted.
    let now = TimeNs(lab.clock.get().0 + MS);
    lab.session = Session::start(config(), end(&lab), now).unwrap();
    lab.reports.clear();
    lab.open();
    assert_eq!(lab.opened.last(), Some(&(next, 1)));
    lab.run_until_settled();
    lab.check();
    // And one that begins now.
    let mut only_new = config();
    only_new.first_report = None;
    lab.session = Session::start(only_new, end(&lab), TimeNs(now.0 + 1000 * MS)).unwrap();
    lab.open();
    assert_eq!(lab.opened.last(), Some(&(next, count + 1)));
    lab.send_some(&mut ids, &mut Rng(1));
    lab.run_until_settled();
    lab.check();
}

#[test]
fn a_login_that_cannot_work_says_why() {
    let failed = |config: Config| {
        let mut lab = Lab::new(6, Faults::default(), config);
        lab.run_until("ended", |l| !l.ended.is_empty());
        (lab.ended[0], lab.ended[0].to_string())
    };
    let rejected = |code| EndReason::Login(LoginError::Rejected(code));
    let mut wrong = config();
    wrong.credentials.venue = SecretKey::from_seed(&[9; 32]).public();
    let (reason, text) = failed(wrong);
    assert_eq!(reason, rejected(SessionReject::WrongVenueKey));
    assert!(text.contains("pinned another venue key"), "{text}");
    let mut wrong = config();
    wrong.credentials.member = MemberId(8);
    assert_eq!(failed(wrong).0, rejected(SessionReject::UnknownKey));
    let mut wrong = config();
    wrong.keep_alive_ms = 19;
    let (reason, text) = failed(wrong);
    let refused = EndReason::Refused(SessionReject::KeepAliveOutOfRange);
    assert_eq!(reason, refused, "{text}");
}

#[test]
fn without_a_venue_the_login_gives_up_in_time_and_asks_the_right_question() {
    let nothing = Faults {
        loss: 100,
        ..Faults::default()
    };
    let mut config = config();
    config.login_timeout = Duration::from_secs(6);
    let mut lab = Lab::new(7, nothing, config);
    lab.run_until("ended", |l| !l.ended.is_empty());
    assert_eq!(lab.ended, [EndReason::NoAnswer { forged: 0 }]);
    assert!(lab.ended[0].to_string().contains("is the venue running"));
    assert_eq!(lab.clock.get().0 - START.0, 6000 * MS);
    assert!(lab.session.counters().sent < 20, "it backs off");
}

#[test]
fn the_number_of_unanswered_requests_is_bounded() {
    let mut config = config();
    config.pending_max = 3;
    let mut lab = Lab::new(8, Faults::default(), config);
    lab.open();
    let send = |lab: &mut Lab, id| {
        let r = limit_order(id, 1, 0, Side::Buy, 1, 1).into();
        lab.session.send(&r)
    };
    assert_eq!(
        [1, 2, 3].map(|id| send(&mut lab, id)),
        [Ok(1), Ok(2), Ok(3)]
    );
    assert_eq!(send(&mut lab, 4), Err(SendError::TooManyPending));
    lab.run_until_settled();
    assert_eq!(send(&mut lab, 5), Ok(4), "the refused one took no number");
}

#[test]
fn a_session_over_real_sockets_connects_trades_and_ends() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let venue_address = socket.local_addr().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let venue = std::thread::spawn(move || {
        let (mut venue, mut buf) = (Venue::new(1), [0; 2048]);
        let mut peer = None;
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        while stopped.try_recv().is_err() {
            if let Ok((len, from)) = socket.recv_from(&mut buf) {
                peer = Some(from);
                venue.on_datagram(&buf[..len], from, client::now());
            }
            venue.tick(client::now());
            for d in venue.out.drain(..) {
                socket.send_to(&d, peer.unwrap()).unwrap();
            }
        }
        venue
    });
    let mut config = Config::new(venue_address, credentials());
    config.keep_alive_ms = 100;
    let mut session = Session::connect(config).unwrap();
    for id in 1..=100 {
        let request = limit_order(id, 1, 0, Side::Buy, 1, 1).into();
        assert_eq!(session.send(&request), Ok(id));
    }
    let mut seen = 0;
    while seen < 100 {
        match session.poll(client::now()) {
            Some(Event::Report { seq, .. }) => {
                seen += 1;
                assert_eq!(seq, seen);
            }
            Some(Event::NotApplied { .. }) | None => {}
            Some(other) => panic!("{other:?}"),
        }
        if session.pending().next().is_none() {
            break;
        }
    }
    session.terminate(client::now());
    // Until the venue has heard of it.
    std::thread::sleep(Duration::from_millis(50));
    stop.send(()).unwrap();
    let venue = venue.join().unwrap();
    assert_eq!(venue.applied.len() + venue.dead.len(), 100);
}
