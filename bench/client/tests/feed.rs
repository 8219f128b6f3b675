//! The feed over a bad network: every message once and in order, and the books of a plain model.

mod common;

use client::{Feed, FeedConfig, FeedEvent, FeedMessage, Level, Side, TimeNs};
use common::{End, Faults, MS, Pipe, Rng, START};
use firmware::limits::FEED_PAYLOAD_MAX;
use firmware::wire::feed::{OrderAdd, OrderDelete, OrderExecuted, OrderReduce};
use firmware::wire::mold::{END_OF_SESSION, HEADER_LEN, MoldHeader};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

const SESSION: [u8; 10] = *b"20261120A1";

/// Orders by name, in order of arrival: no levels, no queues.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Model(BTreeMap<u64, (u16, u8, i64, i64)>);

impl Model {
    fn levels(&self, instrument: u16, side: Side) -> Vec<Level> {
        let mut levels: BTreeMap<i64, Level> = BTreeMap::new();
        for (i, s, price, quantity) in self.0.values() {
            if (*i, *s) == (instrument, side as u8) {
                let level = levels.entry(*price).or_insert(Level {
                    price: *price,
                    quantity: 0,
                    orders: 0,
                });
                level.quantity += quantity;
                level.orders += 1;
            }
        }
        let mut levels: Vec<_> = levels.into_values().collect();
        if side == Side::Buy {
            levels.reverse();
        }
        levels
    }

    fn queue(&self, instrument: u16, side: Side, price: i64) -> Vec<(u64, i64)> {
        let here = |(_, o): &(&u64, &(u16, u8, i64, i64))| {
            (o.0, o.1, o.2) == (instrument, side as u8, price)
        };
        self.0
            .iter()
            .filter(here)
            .map(|(id, o)| (*id, o.3))
            .collect()
    }

    /// A random event of one to four messages, the last one marked.
    fn event(&mut self, rng: &mut Rng, next_id: &mut u64) -> Vec<FeedMessage> {
        let mut messages: Vec<FeedMessage> = Vec::new();
        for _ in 0..=rng.below(4) {
            let pick = rng.below(self.0.len().max(1) as u64) as usize;
            let picked = self.0.iter().nth(pick).map(|(id, o)| (*id, *o));
            messages.push(match (rng.below(5), picked) {
                (2, Some((order_id, (instrument, side, price, open)))) => {
                    let quantity = 1 + rng.below(open as u64) as i64;
                    self.take(order_id, quantity);
                    OrderExecuted {
                        order_id,
                        price,
                        quantity,
                        leaves: open - quantity,
                        instrument,
                        side,
                        ..bytemuck::Zeroable::zeroed()
                    }
                    .into()
                }
                (3, Some((order_id, (instrument, side, _, open)))) if open > 1 => {
                    let quantity = 1 + rng.below(open as u64 - 1) as i64;
                    self.take(order_id, open - quantity);
                    OrderReduce {
                        order_id,
                        quantity,
                        instrument,
                        side,
                        ..bytemuck::Zeroable::zeroed()
                    }
                    .into()
                }
                (4, Some((order_id, (instrument, side, _, open)))) => {
                    self.take(order_id, open);
                    OrderDelete {
                        order_id,
                        instrument,
                        side,
                        ..bytemuck::Zeroable::zeroed()
                    }
                    .into()
                }
                _ => {
                    let add = OrderAdd {
                        order_id: *next_id,
                        price: (100 + rng.below(8) as i64) * 1_000_000_000,
                        quantity: 1 + rng.below(9) as i64,
                        instrument: rng.below(2) as u16,
                        side: rng.below(2) as u8,
                        ..bytemuck::Zeroable::zeroed()
                    };
                    *next_id += 1;
                    let order = (add.instrument, add.side, add.price, add.quantity);
                    self.0.insert(add.order_id, order);
                    add.into()
                }
            });
        }
        messages.last_mut().unwrap().set_last();
        messages
    }

    fn take(&mut self, order_id: u64, quantity: i64) {
        let order = self.0.get_mut(&order_id).unwrap();
        order.3 -= quantity;
        if order.3 == 0 {
            self.0.remove(&order_id);
        }
    }
}

/// Messages from `first` on in one packet; gives how many went in.
fn packet(log: &[FeedMessage], first: u64, most: usize) -> (Vec<u8>, usize) {
    let mut bytes = vec![0; HEADER_LEN];
    let mut count = 0;
    for m in log[first as usize - 1..].iter().take(most) {
        let len = 8 + m.block().len();
        if bytes.len() + 2 + len > FEED_PAYLOAD_MAX {
            break;
        }
        bytes.extend_from_slice(&(len as u16).to_be_bytes());
        bytes.extend_from_slice(bytemuck::bytes_of(&m.header()));
        bytes.extend_from_slice(m.block());
        count += 1;
    }
    let header = MoldHeader {
        session: SESSION,
        sequence: first,
        count: count as u16,
    };
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    (bytes, count)
}

fn bare(sequence: u64, count: u16) -> [u8; HEADER_LEN] {
    let header = MoldHeader {
        session: SESSION,
        sequence,
        count,
    };
    header.encode()
}

fn check_books(feed: &Feed<End>, model: &Model) {
    for instrument in 0..2 {
        for side in [Side::Buy, Side::Sell] {
            let want = model.levels(instrument, side);
            let book = feed.book(instrument);
            let got: Vec<_> = book.into_iter().flat_map(|b| b.levels(side)).collect();
            assert_eq!(got, want);
            let Some(book) = book else { continue };
            let best = match side {
                Side::Buy => book.best_bid(),
                Side::Sell => book.best_ask(),
            };
            assert_eq!(best.as_ref(), want.first());
            for level in want {
                let queue = book.queue(side, level.price);
                let queue: Vec<_> = queue.map(|o| (o.order_id, o.quantity)).collect();
                assert_eq!(queue, model.queue(instrument, side, level.price));
            }
        }
    }
}

/// Runs a feed of 400 events; returns it with the log and the number of events seen whole.
fn run(seed: u64, faults: Faults, late_start: usize) -> (Feed<End>, Vec<FeedMessage>, usize) {
    let (line, requests) = (Pipe::new(seed, faults), Pipe::new(!seed, faults));
    let clock = Rc::new(Cell::new(START));
    let end = End {
        out: requests.clone(),
        inward: line.clone(),
        clock: clock.clone(),
    };
    let config = FeedConfig::new("239.0.0.1:6000".parse().unwrap(), None);
    let mut feed = Feed::over(end, &config);
    let (mut rng, mut model, mut next_id) = (Rng(seed), Model::default(), 1);
    let mut log: Vec<FeedMessage> = Vec::new();
    // The model as it stood after each event, by number of the event's last message.
    let mut states = BTreeMap::new();
    let (mut sent, mut seen, mut whole) = (0, 0, 0);
    for step in 0..20_000 {
        clock.set(TimeNs(clock.get().0 + MS));
        let now = clock.get();
        if step < 400 {
            log.extend(model.event(&mut rng, &mut next_id));
            states.insert(log.len() as u64, model.clone());
        }
        while sent < log.len() {
            let most = 1 + rng.below(6) as usize;
            let (bytes, count) = packet(&log, sent as u64 + 1, most);
            sent += count;
            if step >= late_start {
                line.borrow_mut().send(&bytes, now);
            }
        }
        if step % 100 == 99 {
            let count = if step > 400 { END_OF_SESSION } else { 0 };
            let heartbeat = bare(log.len() as u64 + 1, count);
            line.borrow_mut().send(&heartbeat, now);
        }
        serve(&requests, &line, &log, now);
        while let Some(event) = feed.poll(now).unwrap() {
            match event {
                FeedEvent::Message {
                    seq,
                    message,
                    settled,
                } => {
                    seen += 1;
                    assert_eq!((seq, message), (seen, log[seq as usize - 1]));
                    assert_eq!(settled, states.contains_key(&seq));
                    if settled {
                        whole += 1;
                        check_books(&feed, &states[&seq]);
                    }
                }
                FeedEvent::EndOfSession => {
                    assert_eq!(seen, log.len() as u64);
                    return (feed, log, whole);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    panic!("the session did not end: {seen} of {} messages", log.len());
}

/// The re-request server.
fn serve(requests: &Rc<RefCell<Pipe>>, line: &Rc<RefCell<Pipe>>, log: &[FeedMessage], now: TimeNs) {
    loop {
        let request = requests.borrow_mut().receive(now);
        let Some(request) = request else { return };
        let (m, _) = MoldHeader::decode(&request).unwrap();
        assert_eq!((m.session, request.len()), (SESSION, HEADER_LEN));
        if m.sequence >= 1 && m.sequence <= log.len() as u64 {
            let (answer, _) = packet(log, m.sequence, m.count.into());
            line.borrow_mut().send(&answer, now);
        }
    }
}

#[test]
fn over_a_bad_network_the_books_equal_the_model_after_every_event() {
    for seed in 0..8 {
        let bad = Faults {
            loss: 15,
            repeat: 15,
            corrupt: 0,
            delay_max_ms: 10,
        };
        let (feed, log, whole) = run(seed, bad, 0);
        let c = feed.counters();
        assert_eq!((c.messages, whole), (log.len() as u64, 400));
        assert_eq!(
            (c.inconsistent, c.unknown, c.malformed, c.foreign),
            (0, 0, 0, 0)
        );
        assert!(c.rerequests > 0 && c.duplicates > 0);
    }
}

#[test]
fn on_a_good_network_nothing_is_asked_for() {
    let (feed, _, whole) = run(100, Faults::default(), 0);
    assert_eq!((feed.counters().rerequests, whole), (0, 400));
}

#[test]
fn a_late_start_gets_the_whole_session_by_re_request() {
    let (feed, _, whole) = run(101, Faults::default(), 300);
    assert_eq!(whole, 400);
    assert!(feed.counters().rerequests > 10);
}

#[test]
fn what_is_not_of_the_feed_changes_nothing_and_is_counted() {
    let (line, requests) = (
        Pipe::new(0, Faults::default()),
        Pipe::new(1, Faults::default()),
    );
    let end = End {
        out: requests,
        inward: line.clone(),
        clock: Rc::new(Cell::new(START)),
    };
    let mut config = FeedConfig::new("239.0.0.1:6000".parse().unwrap(), None);
    config.session = Some(SESSION);
    let mut feed = Feed::over(end, &config);
    let add = OrderAdd {
        order_id: 1,
        price: 1,
        quantity: 1,
        flags: 1,
        ..bytemuck::Zeroable::zeroed()
    };
    let good = packet(&[add.into()], 1, 1).0;
    let mut send = |bytes: &[u8]| {
        line.borrow_mut().send(bytes, START);
        feed.poll(START).unwrap()
    };
    for len in 0..good.len() {
        assert_eq!(send(&good[..len]), None);
    }
    let mut other = good.clone();
    other[0] ^= 1;
    assert_eq!(send(&other), None);
    for wild in [0, 1 << 63, u64::MAX] {
        assert_eq!(send(&bare(wild, 0)), None);
        assert_eq!(send(&bare(wild, END_OF_SESSION)), None);
    }
    let mut unknown = good.clone();
    unknown[HEADER_LEN + 2 + 2..HEADER_LEN + 2 + 4].copy_from_slice(&999u16.to_le_bytes());
    assert_eq!(send(&unknown), None);
    // The unknown one took number 1; orders that are not there take nothing.
    let stray = OrderDelete {
        order_id: 77,
        flags: 1,
        ..bytemuck::Zeroable::zeroed()
    };
    let log = [add.into(), stray.into(), add.into(), add.into()];
    for first in 2..=4 {
        assert!(send(&packet(&log, first, 1).0).is_some());
    }
    let c = feed.counters();
    assert_eq!(c.malformed, good.len() as u64 + 6);
    assert_eq!((c.foreign, c.unknown), (1, 1));
    assert_eq!(
        c.inconsistent, 2,
        "a stray delete, and an order that is there"
    );
    assert_eq!(feed.book(0).unwrap().len(), 1);
}
