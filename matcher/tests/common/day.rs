//! A day at the small venue in which the rules of risk are at work: watched after every event, every batch kept.

use super::watch::Watch;
use super::{INDEX, SECOND, Venue, specs};
use bytemuck::Zeroable;
use firmware::units::AccountId;
use firmware::wire::feed::FeedMessage;
use firmware::wire::input::{InRiskRules, TIMER_SEAL};
use firmware::wire::order::{NewOrder, ORD_LIMIT, TIF_GTC};
use firmware::wire::report::Report;
use matcher::book::LadderBook;
use matcher::engine::DepositError;
use matcher::outbox::Outcome;

/// Micro-units in a unit.
pub(crate) const MICRO: i64 = 1_000_000;

/// A venue that is watched after every event.
pub(crate) struct Day {
    pub(crate) venue: Venue<LadderBook>,
    pub(crate) watch: Watch,
    names: u64,
    /// All that was told.
    pub(crate) told: Vec<Outcome>,
    /// Batches that were sealed.
    pub(crate) sealed: Vec<Vec<u8>>,
}

impl Day {
    /// Accounts from 1 on, each with its stake in whole units; account `n` is traded for by member `n % 40 + 1`.
    pub(crate) fn new(now: u64, stakes: &[i64], rules: &InRiskRules) -> Self {
        let mut watch = Watch::default();
        watch.list(&specs());
        let mut day = Self {
            venue: Venue::new(10_000),
            watch,
            names: 0,
            told: Vec::new(),
            sealed: Vec::new(),
        };
        day.venue.now = now;
        for (at, stake) in stakes.iter().enumerate() {
            let account = at as u32 + 1;
            day.venue.bind(account, member(account));
            let paid: Result<(), DepositError> = day.venue.deposit(account, (stake * MICRO) as u64);
            paid.expect("a deposit that follows");
            day.check();
        }
        day.venue.venue(rules);
        day.check();
        day.index(INDEX);
        day
    }

    pub(crate) fn check(&mut self) {
        self.watch.check(&self.venue);
        self.told.extend_from_slice(self.venue.out.outcomes());
        self.sealed
            .extend(self.venue.out.sealed().map(<[u8]>::to_vec));
    }

    pub(crate) fn order(&mut self, account: u32, instrument: u16, signed_lots: i64, price_e9: i64) {
        self.names += 1;
        let order = NewOrder {
            cl_ord_id: self.names,
            price: price_e9,
            quantity: signed_lots.abs(),
            account,
            instrument,
            side: u8::from(signed_lots < 0),
            ord_type: ORD_LIMIT,
            time_in_force: TIF_GTC,
            ..NewOrder::zeroed()
        };
        self.venue.request(member(account), order);
        let refused = self.venue.out.outcomes().iter().find_map(|o| match o {
            Outcome::Report(_, Report::Rejected(m)) => Some(m.reason),
            _ => None,
        });
        assert_eq!(
            refused, None,
            "account {account} {signed_lots} @ {price_e9}"
        );
        self.check();
    }

    /// The seller quotes, the buyer takes.
    pub(crate) fn trade(
        &mut self,
        buyer: u32,
        seller: u32,
        instrument: u16,
        lots: i64,
        price_e9: i64,
    ) {
        self.order(seller, instrument, -lots, price_e9);
        self.order(buyer, instrument, lots, price_e9);
    }

    pub(crate) fn index(&mut self, index_micro: i64) {
        self.venue.market.index_micro = index_micro;
        self.venue.oracle();
        self.check();
        self.venue.adopt();
        self.check();
    }

    pub(crate) fn timer(&mut self, seconds: u64) {
        self.venue.now += seconds * SECOND;
        self.venue.timer(0);
        self.check();
    }

    pub(crate) fn equity(&self, account: u32) -> i64 {
        let found = self.venue.engine.accounts().get(AccountId(account));
        found.expect("it exists").equity_micro()
    }

    pub(crate) fn position(&self, account: u32, instrument: u16) -> i64 {
        let found = self.venue.engine.accounts().get(AccountId(account));
        found.expect("it exists").leaf.positions[usize::from(instrument)]
    }

    pub(crate) fn steps(&self, step: u8) -> usize {
        let is_it = |o: &&Outcome| matches!(o, Outcome::Feed(FeedMessage::LiquidationStep(m)) if m.step == step);
        self.told.iter().filter(is_it).count()
    }

    /// Ends the day: everything is sealed, and the auditor's leaves are the engine's.
    pub(crate) fn end(mut self) -> Watch {
        self.venue.timer(TIMER_SEAL);
        self.check();
        let engine = &self.venue.engine;
        self.watch
            .auditor
            .assert_equals(engine.accounts(), engine.fund_pico());
        self.watch
    }
}

/// Who trades for an account.
const fn member(account: u32) -> u32 {
    account % 40 + 1
}

/// A price of so many tenths.
pub(crate) const fn e9(tenths: i64) -> i64 {
    tenths * 100_000_000
}
