//! A subscriber of the feed: the real client library on lines that lose, repeat, delay, and are cut.

use crate::invariant::hold;
use crate::options::MS;
use crate::tally::Tally;
use crate::venue::{PLACES, venue_key};
use crate::wires::{self, FeedWire};
use client::{Feed, FeedConfig, FeedEvent, Side, Start, Verdict};
use firmware::units::{InstrumentId, TimeNs};
use firmware::wire::feed::FeedMessage;
use hostd::nic::Endpoint;
use hostd::nic::sim::{Faults, Rng, SimNet};
use hostd::tiles::core::Core;
use matcher::book::OrderBook;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) struct Subscriber {
    feed: Feed<FeedWire>,
    name: String,
    pub(crate) address: Endpoint,
    joins_at: TimeNs,
    has_joined: bool,
    /// The session is over for it, and it has all of it.
    pub(crate) has_ended: bool,
    /// What it was told, by number.
    pub(crate) told: BTreeMap<u64, FeedMessage>,
}

impl Subscriber {
    pub(crate) fn new(
        number: u8,
        net: &SimNet,
        faults: Faults,
        rng: &mut Rng,
        now: TimeNs,
    ) -> Self {
        let any = "239.0.0.1:6000".parse().unwrap();
        let has_server = rng.percent(75);
        let mut config = FeedConfig::new(any, has_server.then_some(any)).with_line_b(any);
        let mut name = format!("subscriber {number} (");
        if !has_server || rng.percent(60) {
            config = config.with_snapshots(any);
            config.give_up = Duration::from_millis(40 + rng.below(300));
            config.recover_max = 50 + rng.below(2_000);
            name += "snapshots ";
            if has_server && rng.percent(30) {
                config.start = Start::First;
            }
        }
        config = config.with_checkpoints(any, venue_key().public());
        name += if has_server { "server)" } else { ")" };
        let address = Endpoint::new([10, 2, 0, number].into(), 9);
        for (from, to) in PLACES.ways(address) {
            net.set_faults_between(from, to, faults);
        }
        let wire = FeedWire::open(net, address, PLACES, has_server);
        let late = if rng.percent(50) { 0 } else { rng.below(600) };
        Self {
            feed: Feed::over(wire, &config),
            name,
            address,
            joins_at: TimeNs(now.0 + late * MS),
            has_joined: false,
            has_ended: false,
            told: BTreeMap::new(),
        }
    }

    pub(crate) fn poll(&mut self, net: &SimNet, now: TimeNs) {
        if now < self.joins_at {
            return;
        }
        if !self.has_joined {
            self.has_joined = true;
            wires::join(net, self.address, PLACES);
        }
        while let Some(event) = self.feed.poll(now).unwrap() {
            match event {
                FeedEvent::Message { seq, message, .. } => {
                    self.told.insert(seq, message);
                }
                FeedEvent::Checkpoint { verdict, .. } => {
                    hold!(
                        FeedBook,
                        verdict != Verdict::Different,
                        "{}: a checkpoint differs",
                        self.name
                    );
                }
                FeedEvent::EndOfSession => self.has_ended = true,
                _ => {}
            }
        }
    }

    pub(crate) fn is_whole(&self, core: &Core) -> bool {
        self.feed.is_synced() && self.feed.next_seq() == core.next_feed
    }

    pub(crate) fn state(&self, core: &Core) -> String {
        format!(
            "{}: synced {}, next {} of {}",
            self.name,
            self.feed.is_synced(),
            self.feed.next_seq(),
            core.next_feed
        )
    }

    /// Its books are the engine's.
    pub(crate) fn compare(&self, core: &Core) {
        let c = self.feed.counters();
        let faults = [c.inconsistent, c.unknown, c.malformed, c.crossed, c.forged];
        hold!(
            FeedBook,
            faults == [0; 5],
            "{}: inconsistent, unknown, malformed, crossed, forged: {faults:?}",
            self.name
        );
        for (id, listing) in &core.listings {
            let Some(book) = self.feed.book(*id) else {
                hold!(FeedBook, false, "{} has no book of {id}", self.name);
                continue;
            };
            let tick = listing.tick_micro * 1_000;
            let (engine, instrument) = (core.engine.book(), InstrumentId(*id));
            for side in [Side::Buy, Side::Sell] {
                let mut held = Vec::new();
                for price in engine.levels(instrument, side) {
                    let orders = engine.orders(instrument, side, price);
                    held.extend(orders.map(|o| (i64::from(price.0) * tick, o.id.0, o.lots)));
                }
                let mut seen = Vec::new();
                for level in book.levels(side) {
                    let queue = book.queue(side, level.price);
                    seen.extend(queue.map(|o| (level.price, o.order_id, o.quantity)));
                }
                held.sort_by_key(|h| h.0);
                seen.sort_by_key(|s| s.0);
                hold!(
                    FeedBook,
                    held == seen,
                    "{}: instrument {id}, {side:?}: {seen:?}, the engine has {held:?}",
                    self.name
                );
            }
        }
    }

    pub(crate) fn note(&self, tally: &Tally) {
        let c = self.feed.counters();
        for (what, n) in [
            ("feed re-request", c.rerequests),
            ("feed snapshot", c.snapshots),
            ("feed skipped", c.skipped),
            ("feed checkpoint verified", c.verified),
        ] {
            tally.add(what, n);
        }
    }
}
