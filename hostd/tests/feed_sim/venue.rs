//! The venue of the simulation: the real core, egress and feed desk, and a random market.

use crate::wires::FeedPlaces;
use bytemuck::Zeroable;
use client::{Side, cancel, limit_order, mass_cancel};
use firmware::gate::Command;
use firmware::units::{InstrumentId, MemberId, TimeNs};
use firmware::wire::feed::{AuctionUpdate, FeedMessage, STATE_OPEN};
use firmware::wire::input::{InDeposit, InOracle, InTimer, InTradingState, TIMER_SEAL};
use firmware::wire::order::{Replace, Request, TIF_GTC, TIF_IOC};
use handshake::SecretKey;
use hostd::config::{Config, spec};
use hostd::feed::{Desk, FeedDay, FeedPacket, SealedNote};
use hostd::machine::logs::{FeedLog, Log};
use hostd::nic::sim::{Rng, SimNet, SimNic};
use hostd::nic::{Endpoint, Nic, RxBurst};
use hostd::storage::recover::missing;
use hostd::tiles::core::Core;
use hostd::tiles::egress::{Egress, FeedEgress};
use hostd::tiles::meters::LaneMeter;
use lane::{Consumer, bounded};
use matcher::book::OrderBook;
use matcher::risk_table::{RiskParams, VolInput, build_table};
use matcher::sequencer::Input;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

/// So fast that nothing is throttled.
const RATES: firmware::gate::Rates = firmware::gate::Rates {
    requests_per_second: 1_000_000,
    quotes_per_second: 1_000_000,
};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const START: TimeNs = TimeNs(1_800_000_000_000_000_000);
const INDEX_MICRO: i64 = 100_000_000_000;
/// As in the example's configuration.
pub(crate) const INSTRUMENTS: [u16; 2] = [0, 1];

/// As in the example's configuration; the lines' destinations are groups here.
pub(crate) const PLACES: FeedPlaces = FeedPlaces {
    groups: [at(4_002), at(4_003), at(4_005), at(4_006)],
    server: at(4_004),
};
const SOURCE: Endpoint = at(4_001);

const fn at(port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::LOCALHOST, port)
}

/// A client's own address.
pub(crate) fn address(client: usize) -> Endpoint {
    Endpoint::new([10, 0, 0, client as u8 + 1].into(), 9)
}

/// By side and price: the queue, each order with its open lots.
pub(crate) type Levels = BTreeMap<(u8, i64), Vec<(u64, i64)>>;

fn digest(book: &Levels) -> u64 {
    let mut hasher = DefaultHasher::new();
    book.hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn venue_key() -> SecretKey {
    SecretKey::from_seed(&[9; 32])
}

fn config() -> Config {
    let key = venue_key().public().to_bytes();
    let key: String = key.iter().map(|b| format!("{b:02x}")).collect();
    let text = include_str!("../example.toml")
        .replace("PUBLIC_KEY", &key)
        .replace("heartbeat_ms = 1000", "heartbeat_ms = 100")
        .replace("\"127.0.0.0/8\"", "\"10.0.0.0/24\"");
    Config::parse(&text).unwrap()
}

pub(crate) struct Venue {
    pub(crate) core: Core,
    egress: Egress,
    /// All that was said.
    said: FeedLog,
    desk: Desk,
    lane: Consumer<FeedPacket>,
    nic: SimNic,
    burst: RxBurst,
    rng: Rng,
    config: Config,
    epoch: u64,
    reports: u64,
    next_id: [u64; 2],
    /// The feed tile has taken this many milliseconds off.
    stalled: u64,
    /// Digests of every book that there was at the end of an event, by instrument.
    history: [BTreeSet<u64>; 2],
    _store: tempfile::TempDir,
}

impl Venue {
    pub(crate) fn new(seed: u64, net: &SimNet, lane_depth: usize) -> Self {
        let config = config();
        let mut core = Core::default();
        for m in [1, 2] {
            core.add_member(MemberId(m), RATES);
        }
        let store = tempfile::tempdir().unwrap();
        let (packets, lane) = bounded(lane_depth);
        let day = FeedDay::begin(store.path(), config.capacity.orders).unwrap();
        let feed = FeedEgress::new(
            config.feed.session_name(),
            config.feed.lines().collect(),
            config.feed.heartbeat_ms * MS,
            (packets, LaneMeter::new(lane_depth)),
            core.next_feed,
            config.capacity.orders as usize,
        );
        let mut venue = Self {
            core,
            egress: Egress::new(feed, 0),
            said: Log::new(1 << 18, 1),
            desk: Desk::new(&config.feed, day, venue_key(), START),
            lane,
            nic: SimNic::open(net, &[PLACES.server, SOURCE]).unwrap(),
            burst: RxBurst::new(),
            rng: Rng(seed ^ 0x5eed),
            config,
            epoch: 0,
            reports: 0,
            next_id: [1; 2],
            stalled: 0,
            history: [const { BTreeSet::new() }; 2],
            _store: store,
        };
        venue.open();
        venue
    }

    fn input<'a>(&mut self, input: impl Into<Input<'a>>, now: TimeNs) {
        let sequenced = self.core.sequencer.venue(input, now);
        self.core.apply(&sequenced);
        self.remember();
        let sealed = self.core.outbox.sealed().last();
        if let Some(batch) = sealed.map(|b| matcher::batch::decode(b).unwrap()) {
            self.desk.sealed(SealedNote {
                batch_no: batch.batch_no,
                ledger_digest: batch.state_hash,
            });
        }
    }

    fn open(&mut self) {
        let listing = missing(&self.config, &self.core).unwrap();
        self.input(&listing.domain.unwrap(), START);
        for i in &listing.instruments {
            self.input(i, START);
        }
        for a in &listing.accounts {
            self.input(a, START);
        }
        for account in 1..=3 {
            let deposit = InDeposit {
                queue_index: u64::from(account) - 1,
                amount: 1_000_000_000_000_000,
                account,
                owner: [account as u8; 20],
                key: [0; 32],
            };
            self.input(&deposit, START);
        }
        self.price(START);
    }

    /// A new oracle report and risk table.
    fn price(&mut self, now: TimeNs) {
        self.reports += 1;
        self.epoch += 1;
        let index_micro = INDEX_MICRO + self.rng.below(200) as i64 * 100_000;
        let oracle = InOracle {
            report_no: self.reports,
            timestamp: now.0,
            index_micro,
            key_id: 1,
            ..Zeroable::zeroed()
        };
        self.input(&oracle, now);
        let specs: Vec<_> = self.core.listings.values().map(spec).collect();
        let (vol, params) = (VolInput::flat(600_000_000), RiskParams::default());
        let table = build_table(self.epoch, now, index_micro, &vol, &params, &specs).unwrap();
        self.input(&table, now);
    }

    /// Something happens in the market.
    pub(crate) fn trade(&mut self, now: TimeNs) {
        for _ in 0..self.rng.below(8) {
            self.request(now);
        }
        match self.rng.below(200) {
            0..4 => self.price(now),
            4 | 5 => {
                let seal = InTimer {
                    flags: TIMER_SEAL,
                    pad1: 0,
                };
                self.input(&seal, now);
            }
            6..9 => {
                // Open more often than not; auctions collect a crossed book before.
                let state = [0, 1, 2, 2, 2, 3, 4][self.rng.below(7) as usize];
                let instrument = INSTRUMENTS[self.rng.below(2) as usize];
                let change = InTradingState {
                    instrument,
                    state,
                    ..Zeroable::zeroed()
                };
                self.input(&change, now);
            }
            _ => {}
        }
    }

    fn request(&mut self, now: TimeNs) {
        let member = self.rng.below(2) as usize;
        let account = if member == 0 {
            1 + self.rng.below(2) as u32
        } else {
            3
        };
        let instrument = INSTRUMENTS[self.rng.below(2) as usize];
        let cl_ord_id = self.next_id[member];
        self.next_id[member] += 1;
        let older = cl_ord_id.saturating_sub(1 + self.rng.below(60)).max(1);
        let (price, quantity) = (self.a_price(instrument), 1 + self.rng.below(9) as i64);
        let request: Request = match self.rng.below(100) {
            0..60 => {
                let side = [Side::Buy, Side::Sell][self.rng.below(2) as usize];
                let mut order = limit_order(cl_ord_id, account, instrument, side, price, quantity);
                order.time_in_force = if self.rng.percent(10) {
                    TIF_IOC
                } else {
                    TIF_GTC
                };
                order.into()
            }
            60..85 => cancel(cl_ord_id, account, instrument, older).into(),
            85..99 => Replace {
                cl_ord_id,
                orig_cl_ord_id: older,
                price,
                quantity,
                account,
                instrument,
                ..Zeroable::zeroed()
            }
            .into(),
            _ => mass_cancel(cl_ord_id, account, None, None).into(),
        };
        let command = Command {
            member: MemberId(member as u32 + 1),
            client_seq: cl_ord_id,
            rx_time: now,
            request,
        };
        let checked = self.core.gate.check(&command, now);
        let sequenced = match &checked {
            Ok(admitted) => self.core.sequencer.admit(admitted, now),
            Err(refused) => self.core.sequencer.session(command.member, refused, now),
        };
        self.core.apply(&sequenced);
        self.remember();
    }

    fn remember(&mut self) {
        let seq = self.core.engine.last_seq().0;
        for message in self.core.said() {
            self.egress.say(seq, message);
            self.said.push((seq, *message));
        }
        for (i, instrument) in INSTRUMENTS.into_iter().enumerate() {
            if self.core.listings.contains_key(&instrument) {
                let book = self.book(instrument);
                self.history[i].insert(digest(&book));
            }
        }
    }

    /// Whether the book of an instrument was ever like this at the end of an event.
    pub(crate) fn has_been(&self, instrument: u16, book: &Levels) -> bool {
        self.history[usize::from(instrument)].contains(&digest(book))
    }

    /// A price near the middle of the collar, as the feed told it last.
    fn a_price(&mut self, instrument: u16) -> i64 {
        let log = &self.said;
        let marks = (log.first()..log.next()).rev().filter_map(|n| log.get(n));
        let (low, high) = marks
            .filter_map(|(_, m)| match m {
                FeedMessage::MarkPrice(m) if m.instrument == instrument => {
                    Some((m.collar_low, m.collar_high))
                }
                _ => None,
            })
            .next()
            .unwrap();
        let tick = self.core.listings[&instrument].tick_micro * 1_000;
        let middle = (low + high) / 2 / tick;
        (middle + self.rng.below(16) as i64 - 8) * tick
    }

    /// State and indicative auction of an instrument, as the feed told them last.
    pub(crate) fn state(&self, instrument: u16) -> (u8, Option<AuctionUpdate>) {
        let (mut state, mut auction) = (STATE_OPEN, None);
        let log = &self.said;
        for (_, message) in (log.first()..log.next()).filter_map(|n| log.get(n)) {
            match message {
                FeedMessage::TradingStatus(m) if m.instrument == instrument => {
                    (state, auction) = (m.state, None);
                }
                FeedMessage::AuctionUpdate(m) if m.instrument == instrument => auction = Some(*m),
                _ => {}
            }
        }
        (state, auction)
    }

    /// Lets out what is durable; `lag`: the newest records are not.
    pub(crate) fn turn(&mut self, lag: bool, now: TimeNs) {
        let last = self.core.engine.last_seq().0;
        let back = if lag { self.rng.below(6) } else { 0 };
        let durable = self.egress.durable().max(last.saturating_sub(back));
        self.egress.advance(durable);
        self.egress.feed(&mut self.nic, now);
        self.egress.feed_heartbeat(&mut self.nic, now);
        if self.stalled > 0 {
            self.stalled -= 1;
        } else {
            self.take_packets();
            if lag && self.rng.percent(1) {
                self.stalled = self.rng.below(60);
            }
        }
        loop {
            let count = self.nic.poll(&mut self.burst).unwrap();
            for frame in self.burst.iter() {
                let desk = &mut self.desk;
                desk.request(&mut self.nic, frame.from, frame.payload, now)
                    .unwrap();
            }
            if count == 0 {
                break;
            }
        }
        self.desk.turn(&mut self.nic, now);
        self.nic.flush();
    }

    fn take_packets(&mut self) {
        while let Some(packet) = self.lane.pop() {
            self.desk.feed(packet.bytes()).unwrap();
        }
    }

    /// Ends the session; everything was sent before.
    pub(crate) fn end(&mut self) {
        self.take_packets();
        self.egress.feed_end(&mut self.nic);
        self.nic.flush();
        self.take_packets();
        assert!(self.desk.is_ended());
    }

    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// The engine's book as the feed names it: by side, price and queue.
    pub(crate) fn book(&self, instrument: u16) -> Levels {
        let tick = self.core.listings[&instrument].tick_micro * 1_000;
        let (book, id) = (self.core.engine.book(), InstrumentId(instrument));
        let mut levels = BTreeMap::new();
        for side in [Side::Buy, Side::Sell] {
            for price in book.levels(id, side) {
                let orders = book.orders(id, side, price).map(|o| (o.id.0, o.lots));
                levels.insert(
                    (side as u8, i64::from(price.0) * tick),
                    orders.collect::<Vec<_>>(),
                );
            }
        }
        levels
    }
}
