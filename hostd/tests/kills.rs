//! The daemon killed at random points under load, with clients of the real library: whatever any of them was told is
//! there after the restart, under the same number and with the same bytes.
//!
//! Each start is on another topology: gateway and engine on one tile, on two that sleep, on two that never do.
//!
//! `KILLS=200 cargo test -p hostd --test kills` kills more often (`cargo ci sim` does); `KILLS_SEED=7` draws other points.

#[path = "sim/view.rs"]
mod view;
mod world;

use client::{
    Event, OrderIds, Report, Request, Session, Side, cancel, limit_order, mass_cancel, now,
    open_orders, parse_e9,
};
use firmware::wire::order::{TIF_GTC, TIF_IOC};
use hostd::nic::sim::Rng;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use view::View;
use world::{World, topologies};

/// Kills by default.
const KILLS: u64 = 6;
/// Every so many rounds a client asks for the whole day again.
const WHOLE_DAY: u64 = 8;
/// Else for so many reports that it has.
const OVERLAP: usize = 300;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A member, and all that it was ever told.
struct Member {
    id: u32,
    accounts: &'static [u32],
    told: Vec<Report>,
    view: View,
    session: Option<Session>,
    sent: u64,
    /// Told again after a restart.
    again: u64,
}

impl Member {
    const fn new(id: u32, accounts: &'static [u32], view: View) -> Self {
        Self {
            id,
            accounts,
            told: Vec::new(),
            view,
            session: None,
            sent: 0,
            again: 0,
        }
    }

    fn login(&mut self, w: &World, whole_day: bool) {
        let mut config = w.session_config(self.id);
        let from = if whole_day {
            0
        } else {
            self.told.len().saturating_sub(OVERLAP)
        };
        config.first_report = Some(from as u64 + 1);
        self.session = Some(Session::connect(config).unwrap());
    }

    /// Takes what has come; whether the session is over.
    fn poll(&mut self) -> bool {
        while let Some(event) = self.session.as_mut().and_then(|s| s.poll(now())) {
            match event {
                Event::Report { seq, report } => self.hear(seq as usize, report),
                Event::Ended(_) => return true,
                Event::Established { .. } | Event::NotApplied { .. } => {}
                other => panic!("member {}: {other:?}", self.id),
            }
        }
        false
    }

    fn hear(&mut self, seq: usize, report: Report) {
        match self.told.get(seq - 1) {
            Some(before) => {
                assert_eq!(
                    *before, report,
                    "member {}: report {seq} is another now",
                    self.id
                );
                self.again += 1;
            }
            None => {
                assert_eq!(
                    seq,
                    self.told.len() + 1,
                    "member {}: reports in order",
                    self.id
                );
                self.told.push(report);
                self.view.take(&report);
            }
        }
    }

    fn send(&mut self, request: impl Into<Request>) {
        // A session that has just ended takes nothing.
        if let Some(s) = &mut self.session
            && s.send(&request.into()).is_ok()
        {
            self.sent += 1;
        }
    }

    fn trade(&mut self, ids: &mut OrderIds, rng: &mut Rng) {
        for _ in 0..1 + rng.below(6) {
            let (id, at) = (
                ids.next_id(),
                rng.below(self.accounts.len() as u64) as usize,
            );
            let account = self.accounts[at];
            match rng.below(40) {
                0 => self.send(mass_cancel(id, account, None, None)),
                1..6 => self.send(cancel(id, account, 0, id.saturating_sub(1 + rng.below(20)))),
                _ => {
                    let side = [Side::Buy, Side::Sell][rng.below(2) as usize];
                    let price = parse_e9(&(99_990 + rng.below(20)).to_string()).unwrap();
                    let mut order =
                        limit_order(id, account, 0, side, price, 1 + rng.below(5) as i64);
                    order.time_in_force = if rng.percent(10) { TIF_IOC } else { TIF_GTC };
                    self.send(order);
                }
            }
        }
        if let Some(s) = &mut self.session {
            s.flush(now());
        }
    }

    /// Waits until nothing is unanswered and everything told so far was heard.
    fn settle(&mut self, least: usize) {
        let begun = Instant::now();
        while self.told.len() < least
            || self
                .session
                .as_ref()
                .is_some_and(|s| s.pending().next().is_some())
        {
            assert!(!self.poll(), "member {}: the session ended", self.id);
            assert!(
                begun.elapsed() < PATIENCE,
                "member {}: {} of {least}",
                self.id,
                self.told.len()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The venue's list of open orders is the one that the reports make.
    fn compare(&mut self, ids: &mut OrderIds) {
        let mut listed = BTreeMap::new();
        for account in self.accounts {
            let mut after = 0;
            loop {
                let first = self.told.len();
                self.send(open_orders(ids.next_id(), *account, None, after));
                self.settle(first + 1);
                let mut end = None;
                for report in &self.told[first..] {
                    match report {
                        Report::OpenOrder(m) => {
                            listed.insert(m.order_id, (m.account, m.side, Some(m.quantity)));
                        }
                        Report::OpenOrdersEnd(m) => end = Some(m.after),
                        _ => {}
                    }
                }
                after = end.expect("a page has an end");
                if after == 0 {
                    break;
                }
            }
        }
        let seen: BTreeMap<_, _> = (self.view.orders.iter())
            .map(|(id, o)| (*id, (o.account, o.side, o.leaves)))
            .collect();
        assert_eq!(listed, seen, "member {}", self.id);
    }
}

#[test]
fn nothing_that_a_client_was_told_is_lost_however_often_the_box_is_killed() {
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |v: String| v.parse::<u64>().unwrap())
    };
    let (kills, seed) = (number("KILLS", KILLS), number("KILLS_SEED", 1));
    let mut rng = Rng(seed);
    let topologies = topologies();
    let mut w = World::new();
    w.open();
    let mut ids = OrderIds::starting_at(1);
    let mut members = [
        Member::new(1, &[1, 2], View::default()),
        Member::new(2, &[3], View::default()),
    ];
    let (mut seals, mut acknowledged) = (0, 0);
    for kill in 0..kills {
        for m in &mut members {
            m.login(&w, kill % WHOLE_DAY == 0);
        }
        // Some are killed before anything happened, some while a batch is sealed, most in the middle of trading.
        let rounds = if rng.percent(10) {
            0
        } else {
            10 + rng.below(150)
        };
        for _ in 0..rounds {
            let mut is_over = false;
            for m in &mut members {
                m.trade(&mut ids, &mut rng);
                is_over |= m.poll();
            }
            // On a machine that did not let the client run for seconds.
            if is_over {
                break;
            }
            std::thread::sleep(Duration::from_micros(rng.below(600)));
        }
        if rng.percent(20) {
            seals += 1;
            let socket = w.socket();
            // The answer may never come.
            std::thread::spawn(move || {
                use std::io::Write;
                let stream = std::os::unix::net::UnixStream::connect(socket);
                let body = "{\"reason\": \"a test\"}";
                let text = format!(
                    "POST /v1/seal HTTP/1.1\r\nHost: hostd\r\nIdempotency-Key: kill-{}\r\nContent-Length: {}\r\n\r\n{body}",
                    client::now().0,
                    body.len()
                );
                stream.and_then(|mut s| s.write_all(text.as_bytes()))
            });
            std::thread::sleep(Duration::from_micros(rng.below(2_000)));
        }
        w.kill();
        // What was on its way when the box died was told too.
        for m in &mut members {
            m.poll();
            m.session = None;
        }
        acknowledged = members.iter().map(|m| m.told.len() as u64).sum();
        w.set_topology(&topologies[kill as usize % topologies.len()]);
        w.start();
        w.price(100_000_000_000);
    }
    for m in &mut members {
        let had = m.told.len();
        m.again = 0;
        m.login(&w, true);
        let begun = Instant::now();
        while (m.again as usize) < had {
            assert!(
                !m.poll() && begun.elapsed() < PATIENCE,
                "{} of {had} again",
                m.again
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        m.compare(&mut ids);
    }
    let told: Vec<_> = members.iter().map(|m| m.told.len()).collect();
    println!(
        "{kills} kills, {seals} while sealing, {acknowledged} reports before them, {told:?} in the end"
    );
    assert!(
        told.iter().all(|n| *n as u64 > 20 * kills),
        "hardly anything was told: {told:?}"
    );
    let stopped = w.shutdown();
    let replay = w.replay();
    assert_eq!(stopped["state_hash"], replay["state_hash"]);
    assert_eq!(replay["contracts_sum_zero"], true);
}
