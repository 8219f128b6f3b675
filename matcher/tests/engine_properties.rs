//! Any stream of inputs keeps the promises of the engine: both books give the same bytes, money and
//! contracts are conserved, sealed batches prove themselves to an auditor that knows nothing else, the feed
//! rebuilds the book, no account has orders that it cannot carry, and the journal gives the same state.
//!
//! Streams come from a fixed seed, so every run sees the same ones; set `ENGINE_SEED` to see others. A
//! failure prints the seed and the shortest stream that still fails.

mod common;

use bytemuck::Zeroable;
use common::watch::Watch;
use common::{ALL, Market, PERP, Record, SECOND, Venue, specs};
use firmware::reject::RejectCode;
use firmware::units::{InstrumentId, OrderId};
use firmware::wire::input::{TIMER_OPERATOR, TIMER_SEAL};
use firmware::wire::order::{
    Cancel, MassCancel, NewOrder, ORD_LIMIT, ORD_MARKET, Replace, TIF_FOK, TIF_GTC, TIF_IOC,
    Withdraw,
};
use firmware::wire::report::{CANCEL_COLLAR, CANCEL_DISCONNECT, CANCEL_MARGIN, CANCEL_STP, Report};
use firmware::wire::sbe::{BYTE_NULL, ID16_NULL};
use matcher::book::{LadderBook, OrderBook};
use matcher::engine::{Engine, EngineLimits};
use matcher::outbox::{Outbox, Outcome};
use matcher::reference::ReferenceBook;
use matcher::sequencer::Sequencer;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::cell::RefCell;

/// Orders that can rest: few, so that the book is full at times.
const ORDERS: u32 = 24;
/// Kinds of orders from here on rest.
const RESTS: u8 = 4;

/// One input. Accounts, instruments and orders are picked from what is there, so that most requests are
/// sensible and every shorter stream is one, too.
#[derive(Clone, Debug)]
enum Step {
    Order {
        who: u8,
        at: u8,
        sell: bool,
        lots: i64,
        /// Ticks from the mark.
        away: i64,
        kind: u8,
        flags: u8,
        stp: u8,
    },
    Replace {
        who: u8,
        pick: u8,
        by_id: bool,
        lots: i64,
        away: i64,
        post: bool,
    },
    Cancel {
        who: u8,
        pick: u8,
        by_id: bool,
    },
    MassCancel {
        who: u8,
        at: Option<u8>,
        side: Option<bool>,
    },
    Withdraw {
        who: u8,
        /// Of the cash and of what the worst scenario leaves.
        percent: i64,
    },
    Deposit {
        who: u8,
        amount: u64,
    },
    Table {
        /// Change of the index.
        move_ppm: i64,
        vol_percent: i64,
        fees: Option<(i32, i32)>,
    },
    Oracle,
    Wait {
        seconds: u64,
    },
    Timer {
        flags: u8,
    },
    Session {
        who: u8,
        event: u8,
        policy: u8,
    },
}

/// What a stream is about.
#[derive(Clone, Copy)]
struct Mix {
    /// Accounts that act: 8 of them fit a batch.
    accounts: u8,
    /// Deposit of each at the start, micro-units.
    stake: u64,
    /// Weight of the steps that trade, against 20 of all the others.
    trading: u32,
    /// The index often jumps.
    wild: bool,
    steps: usize,
    cases: u32,
}

fn lots() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 1i64..30, 4 => 30i64..400, 1 => 400i64..7_000]
}

fn away() -> impl Strategy<Value = i64> {
    prop_oneof![12 => -6i64..=6, 4 => -30i64..=30, 1 => -700i64..=700]
}

fn trade(accounts: u8) -> impl Strategy<Value = Step> {
    let who = move || 0..accounts;
    let order = (
        (who(), any::<u8>(), any::<bool>(), lots(), away()),
        (0u8..12, 0u8..20, 0u8..20),
    );
    let order = order.prop_map(
        |((who, at, sell, lots, away), (kind, flags, stp))| Step::Order {
            who,
            at,
            sell,
            lots,
            away,
            kind,
            // Most orders are plain, and few ask for what is not offered.
            flags: match (flags, kind >= RESTS) {
                (0..=9, _) => 0,
                (10..=12, true) => 1,
                (13..=15, true) => 4,
                (16, true) => 5,
                (10..=16, false) => 2,
                (odd, _) => odd - 12,
            },
            stp: match stp {
                0..=9 => 0,
                10..=13 => 1,
                14..=18 => 2,
                _ => 3,
            },
        },
    );
    let replace = (
        who(),
        any::<u8>(),
        any::<bool>(),
        lots(),
        away(),
        any::<bool>(),
    )
        .prop_map(|(who, pick, by_id, lots, away, post)| Step::Replace {
            who,
            pick,
            by_id,
            lots,
            away,
            post,
        });
    let cancel = (who(), any::<u8>(), any::<bool>()).prop_map(|(who, pick, by_id)| Step::Cancel {
        who,
        pick,
        by_id,
    });
    prop_oneof![10 => order, 3 => replace, 2 => cancel]
}

fn other(accounts: u8, wild: bool) -> impl Strategy<Value = Step> {
    let who = move || 0..accounts;
    let side = proptest::option::of(any::<bool>());
    let mass = (who(), proptest::option::of(any::<u8>()), side)
        .prop_map(|(who, at, side)| Step::MassCancel { who, at, side });
    let withdraw = (who(), 1i64..=110).prop_map(|(who, percent)| Step::Withdraw { who, percent });
    let amount = prop_oneof![1u64..100_000, 1u64..20_000_000];
    let deposit = (who(), amount).prop_map(|(who, amount)| Step::Deposit { who, amount });
    let jumps = if wild { 6 } else { 1 };
    let drift = prop_oneof![
        20 => -3_000i64..=3_000,
        jumps => -25_000i64..=25_000,
        jumps => -150_000i64..=170_000,
    ];
    let fees = prop_oneof![
        8 => Just(None),
        1 => Just(Some((500, -100))),
        1 => Just(Some((300, 200))),
        1 => Just(Some((333, -333))),
    ];
    let table = (drift, 40i64..90, fees).prop_map(|(move_ppm, vol_percent, fees)| Step::Table {
        move_ppm,
        vol_percent,
        fees,
    });
    let session = (who(), 0u8..4, 0u8..3).prop_map(|(who, event, policy)| Step::Session {
        who,
        event,
        policy,
    });
    prop_oneof![
        2 => mass,
        2 => withdraw,
        2 => deposit,
        6 => table,
        2 => Just(Step::Oracle),
        2 => prop_oneof![4 => 1u64..5, 1 => 5u64..80].prop_map(|seconds| Step::Wait { seconds }),
        2 => (0u8..8).prop_map(|flags| Step::Timer { flags }),
        2 => session,
    ]
}

fn stream(mix: Mix) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        mix.trading => trade(mix.accounts).boxed(),
        20 => other(mix.accounts, mix.wild).boxed(),
    ];
    proptest::collection::vec(step, 1..mix.steps)
}

/// A stream on one kind of book.
struct Run<B> {
    venue: Venue<B>,
    watch: Watch,
    /// Client's name, venue's name and instrument of every order that rested, by account.
    orders: Vec<Vec<(u64, u64, u16)>>,
    cl_ord_id: u64,
}

impl<B: OrderBook> Run<B> {
    fn new(mix: Mix) -> Self {
        let mut watch = Watch::default();
        watch.list(&specs());
        let mut run = Self {
            venue: Venue::new(ORDERS),
            watch,
            orders: vec![Vec::new(); usize::from(mix.accounts)],
            cl_ord_id: 0,
        };
        for who in 0..mix.accounts {
            run.venue.bind(account(who), member(who));
            let deposited = run.venue.deposit(account(who), mix.stake);
            deposited.expect("a deposit that follows");
            run.watch.check(&run.venue);
        }
        run.venue.adopt();
        run.venue.oracle();
        run.watch.check(&run.venue);
        run
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Order {
                who,
                at,
                sell,
                lots,
                away,
                kind,
                flags,
                stp,
            } => {
                let (ord_type, time_in_force) = match kind {
                    0 => (ORD_MARKET, TIF_IOC),
                    1 => (ORD_MARKET, TIF_FOK),
                    2 => (ORD_LIMIT, TIF_IOC),
                    3 => (ORD_LIMIT, TIF_FOK),
                    RESTS.. => (ORD_LIMIT, TIF_GTC),
                };
                let instrument = ALL[usize::from(at) % ALL.len()];
                let order = NewOrder {
                    cl_ord_id: self.next_name(),
                    price: self.price(instrument, away),
                    quantity: lots,
                    expire_time: 0,
                    smp_id: 0,
                    account: account(who),
                    instrument,
                    side: u8::from(sell),
                    ord_type,
                    time_in_force,
                    flags,
                    stp_mode: stp,
                    mmp_group: 0,
                    pad1: 0,
                };
                self.venue.request(member(who), order);
            }
            Step::Replace {
                who,
                pick,
                by_id,
                lots,
                away,
                post,
            } => {
                let (name, id, instrument) = self.pick(who, pick);
                let replace = Replace {
                    cl_ord_id: self.next_name(),
                    order_id: if by_id { id } else { 0 },
                    orig_cl_ord_id: name,
                    price: self.price(instrument, away),
                    quantity: lots,
                    account: account(who),
                    instrument,
                    flags: u8::from(post),
                    pad1: 0,
                };
                self.venue.request(member(who), replace);
            }
            Step::Cancel { who, pick, by_id } => {
                let (name, id, instrument) = self.pick(who, pick);
                let cancel = Cancel {
                    cl_ord_id: 1,
                    order_id: if by_id { id } else { 0 },
                    orig_cl_ord_id: name,
                    account: account(who),
                    instrument,
                    pad1: 0,
                };
                self.venue.request(member(who), cancel);
            }
            Step::MassCancel { who, at, side } => {
                let mass = MassCancel {
                    cl_ord_id: 1,
                    account: account(who),
                    instrument: at.map_or(ID16_NULL, |i| ALL[usize::from(i) % ALL.len()]),
                    side: side.map_or(BYTE_NULL, u8::from),
                    mmp_group: BYTE_NULL,
                    ..MassCancel::zeroed()
                };
                self.venue.request(member(who), mass);
            }
            Step::Withdraw { who, percent } => {
                let id = firmware::units::AccountId(account(who));
                let a = self.venue.engine.accounts().get(id).expect("it exists");
                let free = a.worst_with_orders_micro().min(a.cash_micro());
                let withdraw = Withdraw {
                    cl_ord_id: 1,
                    // One in eleven asks for more than there is.
                    amount: free / 100 * if percent > 100 { percent } else { percent / 4 },
                    account: account(who),
                    pad1: 0,
                };
                self.venue.request(member(who), withdraw);
            }
            Step::Deposit { who, amount } => {
                let deposited = self.venue.deposit(account(who), amount);
                deposited.expect("a deposit that follows");
            }
            Step::Table {
                move_ppm,
                vol_percent,
                fees,
            } => self.table(move_ppm, vol_percent, fees),
            Step::Oracle => self.venue.oracle(),
            Step::Wait { seconds } => {
                self.venue.now += seconds * SECOND;
                self.venue.out.clear();
                return;
            }
            Step::Timer { flags } => self.venue.timer(match flags {
                0 => TIMER_SEAL,
                1 => TIMER_SEAL | TIMER_OPERATOR,
                _ => 0,
            }),
            Step::Session { who, event, policy } => {
                self.venue.session(member(who), event, policy);
            }
        }
        self.watch.check(&self.venue);
        self.learn();
    }

    fn next_name(&mut self) -> u64 {
        self.cl_ord_id += 1;
        self.cl_ord_id
    }

    /// Ticks from the mark, as a price of the wire, inside the band.
    fn price(&self, instrument: u16, away: i64) -> i64 {
        let specs = specs();
        let spec = specs.iter().find(|s| s.id == InstrumentId(instrument));
        let spec = spec.expect("a listed instrument");
        let mark =
            self.venue.engine.table().expect("a table").columns[instrument as usize].mark_micro;
        let tick_value = i64::from(spec.tick_value_micro().expect("a tick"));
        let base = i64::from(spec.book_base_ticks);
        let top = base + i64::from(spec.book_width_ticks) - 1;
        (mark / tick_value + away).clamp(base, top) * spec.tick_micro * 1_000
    }

    /// One of an account's live orders or, now and then, of all that it ever had, or a name that nobody has.
    fn pick(&self, who: u8, pick: u8) -> (u64, u64, u16) {
        let pick = usize::from(pick);
        let live = |o: &&(u64, u64, u16)| {
            pick.is_multiple_of(8) || self.venue.engine.book().get(OrderId(o.1)).is_some()
        };
        let orders = &self.orders[usize::from(who)];
        let found: Vec<_> = orders.iter().filter(live).collect();
        let back = found
            .len()
            .checked_sub(1)
            .map(|last| last - pick % found.len());
        back.map_or((pick as u64, 0, PERP), |at| *found[at])
    }

    fn learn(&mut self) {
        for outcome in self.venue.out.outcomes() {
            let Outcome::Report(_, report) = outcome else {
                continue;
            };
            let named = match report {
                Report::Accepted(m) => (m.account, (m.cl_ord_id, m.order_id, m.instrument)),
                Report::Replaced(m) => (m.account, (m.cl_ord_id, m.order_id, m.instrument)),
                _ => continue,
            };
            self.orders[named.0 as usize - 1].push(named.1);
        }
    }

    fn table(&mut self, move_ppm: i64, vol_percent: i64, fees: Option<(i32, i32)>) {
        let old = self.venue.market;
        let moved = old.index_micro + old.index_micro * move_ppm / 1_000_000;
        let (taker_fee_ppm, maker_fee_ppm) = fees.unwrap_or((old.taker_fee_ppm, old.maker_fee_ppm));
        self.venue.market = Market {
            index_micro: moved.clamp(60_000_000, 140_000_000),
            vol_e9: vol_percent * 10_000_000,
            taker_fee_ppm,
            maker_fee_ppm,
        };
        self.venue.oracle();
        self.watch.check(&self.venue);
        self.venue.adopt();
    }
}

const fn account(who: u8) -> u32 {
    who as u32 + 1
}

/// The first two accounts belong to one member.
const fn member(who: u8) -> u32 {
    if who == 0 { 2 } else { account(who) }
}

/// Runs a stream on both books, ends it with a seal and replays its journal.
fn check(mix: Mix, steps: &[Step]) -> Watch {
    let (mut fast, mut slow) = (Run::<LadderBook>::new(mix), Run::<ReferenceBook>::new(mix));
    let mut sealed = Vec::new();
    let end = Step::Timer { flags: 1 };
    for step in steps.iter().chain([&end]) {
        fast.step(step);
        slow.step(step);
        assert_eq!(fast.venue.out.outcomes(), slow.venue.out.outcomes());
        assert!(
            fast.venue.out.sealed().eq(slow.venue.out.sealed()),
            "the books seal different bytes"
        );
        assert_eq!(
            fast.venue.engine.state_hash(),
            slow.venue.engine.state_hash(),
            "the books lead to different states"
        );
        sealed.extend(fast.venue.out.sealed().map(<[u8]>::to_vec));
    }
    fast.venue.engine.book().check_invariants();
    let (accounts, fund) = (fast.venue.engine.accounts(), fast.venue.engine.fund_pico());
    fast.watch.auditor.assert_equals(accounts, fund);
    replay(&fast.venue, &sealed);
    fast.watch
}

/// The journal alone gives the same batches and the same state.
fn replay<B: OrderBook>(venue: &Venue<B>, sealed: &[Vec<u8>]) {
    let limits = EngineLimits {
        accounts: common::ACCOUNTS,
        orders: ORDERS,
        ..EngineLimits::default()
    };
    let mut engine = Engine::<LadderBook>::new(limits).expect("the limits are sound");
    let (mut sequencer, mut out, mut again) = (Sequencer::new(), Outbox::new(), Vec::new());
    let journal: &[Record] = venue.journal.as_deref().expect("a journal is kept");
    for record in journal {
        record.replay(&mut sequencer, |input| engine.apply(input, &mut out));
        again.extend(out.sealed().map(<[u8]>::to_vec));
    }
    assert_eq!(engine.state_hash(), venue.engine.state_hash());
    // Batches of the setup were sealed before the caller began to count.
    assert!(again.ends_with(sealed), "a replay seals other bytes");
}

/// Runs the streams of a mix and tells what they met; `None` for streams that were asked for, which may
/// meet anything.
fn all_streams(mix: Mix) -> Option<Watch> {
    let asked = std::env::var("ENGINE_SEED").ok();
    let seed = asked.as_ref().map_or(1, |s| s.parse().expect("a number"));
    let mut bytes = [0u8; 32];
    bytes[..8].copy_from_slice(&u64::to_le_bytes(seed));
    let config = Config {
        cases: mix.cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let met = RefCell::new(Watch::default());
    let result = runner.run(&stream(mix), |steps| {
        let watch = check(mix, &steps);
        met.borrow_mut().add(&watch);
        Ok(())
    });
    match result {
        Ok(()) => asked.is_none().then(|| met.into_inner()),
        Err(TestError::Fail(reason, steps)) => {
            panic!("ENGINE_SEED={seed}: {reason}\nthe shortest stream: {steps:#?}")
        }
        Err(abort) => panic!("ENGINE_SEED={seed}: {abort}"),
    }
}

#[test]
fn streams_of_few_accounts_keep_every_promise() {
    let met = all_streams(Mix {
        accounts: 5,
        stake: 400_000_000,
        trading: 400,
        wild: false,
        steps: 600,
        cases: 60,
    });
    let Some(met) = met else { return };
    assert!(met.fills > 1_000 && met.replaced > 500, "{met:?}");
    assert!(met.canceled[CANCEL_STP as usize] > 100, "{met:?}");
    for code in [
        RejectCode::UnknownOrder,
        RejectCode::WouldTake,
        RejectCode::WouldIncrease,
        RejectCode::CannotFillWhole,
        RejectCode::PriceOutOfCollar,
        RejectCode::PositionLimit,
        RejectCode::BookFull,
    ] {
        assert!(
            met.rejected.contains_key(&(code as u16)),
            "{code:?}: {met:?}"
        );
    }
}

#[test]
fn streams_of_many_accounts_keep_every_promise() {
    let met = all_streams(Mix {
        accounts: 14,
        stake: 300_000_000,
        trading: 60,
        wild: false,
        steps: 500,
        cases: 60,
    });
    let Some(met) = met else { return };
    assert!(met.auditor.by_reason.iter().all(|n| *n > 20), "{met:?}");
    assert!(
        met.rejected.contains_key(&(RejectCode::OracleStale as u16)),
        "{met:?}"
    );
}

#[test]
fn streams_of_poor_accounts_in_a_wild_market_keep_every_promise() {
    let met = all_streams(Mix {
        accounts: 7,
        stake: 12_000_000,
        trading: 60,
        wild: true,
        steps: 500,
        cases: 80,
    });
    let Some(met) = met else { return };
    for reason in [CANCEL_COLLAR, CANCEL_MARGIN, CANCEL_DISCONNECT] {
        assert!(met.canceled[reason as usize] > 10, "{reason}: {met:?}");
    }
    for code in [
        RejectCode::InsufficientMargin,
        RejectCode::BelowMaintenance,
        RejectCode::InsufficientCollateral,
    ] {
        assert!(
            met.rejected.contains_key(&(code as u16)),
            "{code:?}: {met:?}"
        );
    }
    assert!(met.settled.iter().all(|n| *n > 20), "{met:?}");
    assert!(met.auditor.waived > 0, "{met:?}");
}
