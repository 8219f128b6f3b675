//! A venue under a stream of inputs: on both books at once, watched after every step, replayed at the end.
//!
//! Property tests draw streams from seeds, the fuzzer from its bytes.

use super::watch::Watch;
use super::{ACCOUNTS, ALL, Market, PERP, Record, SECOND, Venue, specs};
use bytemuck::Zeroable;
use firmware::units::{InstrumentId, OrderId};
use firmware::wire::input::{InLock, InOperatorCancel, InTradingState, TIMER_OPERATOR, TIMER_SEAL};
use firmware::wire::order::{
    Cancel, DeadManTimer, KillSwitch, MassCancel, MmpConfig, MmpReset, NewOrder, ORD_LIMIT,
    ORD_MARKET, OpenOrdersRequest, PositionsRequest, ReduceQty, Replace, TIF_DAY, TIF_FOK, TIF_GTC,
    TIF_GTD, TIF_IOC, Withdraw,
};
use firmware::wire::quote::{MassQuote, QUANTITY_NULL, QuoteEntry};
use firmware::wire::report::Report;
use firmware::wire::sbe::{BYTE_NULL, ID16_NULL, ID32_NULL};
use matcher::accounts::Account;
use matcher::book::{LadderBook, OrderBook};
use matcher::engine::{Engine, EngineLimits};
use matcher::outbox::{Outbox, Outcome};
use matcher::reference::ReferenceBook;
use matcher::sequencer::Sequencer;

/// Kinds of orders from here on rest.
pub(crate) const RESTS: u8 = 4;

/// One input. Accounts, instruments and orders are picked from what is there, so that most requests are
/// sensible and every shorter stream is one, too.
#[derive(Clone, Debug)]
pub(crate) enum Step {
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
        /// Self-match id of the member.
        smp_id: u64,
        group: u8,
        /// Seconds that a GTD order may rest.
        life: u64,
    },
    Replace {
        who: u8,
        pick: u8,
        by_id: bool,
        lots: i64,
        away: i64,
        flags: u8,
    },
    Reduce {
        who: u8,
        pick: u8,
        by_id: bool,
        lots: i64,
    },
    Quote {
        who: u8,
        entries: Vec<Entry>,
        flags: u8,
        stp: u8,
        smp_id: u64,
        group: u8,
    },
    Cancel {
        who: u8,
        pick: u8,
        by_id: bool,
    },
    MassCancel {
        who: u8,
        /// All accounts of the member.
        all: bool,
        at: Option<u8>,
        side: Option<bool>,
        scope: u8,
        group: Option<u8>,
    },
    MmpConfig {
        who: u8,
        group: u8,
        window_s: u64,
        freeze_s: u64,
        lots: i64,
        delta_e9: i64,
        vega: i64,
    },
    MmpReset {
        who: u8,
        group: u8,
    },
    KillSwitch {
        who: u8,
        all: bool,
        unlock: bool,
    },
    DeadMan {
        who: u8,
        seconds: u64,
    },
    OpenOrders {
        who: u8,
        at: Option<u8>,
        after: u64,
    },
    Positions {
        who: u8,
    },
    /// The member's flow skipped numbers.
    Gap {
        who: u8,
        count: u64,
    },
    State {
        at: Option<u8>,
        state: u8,
    },
    OperatorCancel {
        member: Option<u8>,
        who: Option<u8>,
        at: Option<u8>,
    },
    Lock {
        who: u8,
        all: bool,
        unlock: bool,
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

/// Both sides of an instrument in a mass quote: lots and ticks from the mark; none leaves a side as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) at: u8,
    pub(crate) bid: Option<(i64, i64)>,
    pub(crate) ask: Option<(i64, i64)>,
}

/// What a stream is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// Accounts that act: 8 of them fit a batch.
    pub(crate) accounts: u8,
    /// Deposit of each at the start, micro-units.
    pub(crate) stake: u64,
    /// Weight of the steps that trade, against 20 of all the others.
    pub(crate) trading: u32,
    /// The index often jumps.
    pub(crate) wild: bool,
    /// Orders that can rest: few, so that the book is full at times.
    pub(crate) orders: u32,
    pub(crate) steps: usize,
    pub(crate) cases: u32,
    /// Funding, expiry and liquidation are on, and the call is about to expire.
    pub(crate) risk: bool,
}

/// A stream on one kind of book.
pub(crate) struct Run<B> {
    pub(crate) venue: Venue<B>,
    pub(crate) watch: Watch,
    /// Client's name, venue's name and instrument of every order that rested, by account.
    orders: Vec<Vec<(u64, u64, u16)>>,
    cl_ord_id: u64,
    liquidates: bool,
}

impl<B: OrderBook> Run<B> {
    /// A venue whose accounts have their stakes, with a table and a fresh index.
    pub(crate) fn new(mix: Mix) -> Self {
        let mut watch = Watch::default();
        watch.list(&specs());
        let mut run = Self {
            venue: Venue::new(mix.orders),
            watch,
            orders: vec![Vec::new(); usize::from(mix.accounts)],
            cl_ord_id: 0,
            liquidates: mix.risk,
        };
        if mix.risk {
            run.venue.now = super::T0 + 30 * super::DAY - 100 * SECOND;
        }
        for who in 0..mix.accounts {
            run.venue.bind(account(who), member(who));
            let deposited = run.venue.deposit(account(who), mix.stake);
            deposited.expect("a deposit that follows");
            run.watch.check(&run.venue);
        }
        run.venue.adopt();
        run.venue.oracle();
        run.watch.check(&run.venue);
        if mix.risk {
            run.venue.venue(&super::RULES);
            run.watch.check(&run.venue);
        }
        run
    }

    /// Applies a step and checks all that must hold after it.
    pub(crate) fn step(&mut self, step: &Step) {
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
                smp_id,
                group,
                life,
            } => {
                let (ord_type, time_in_force) = match kind {
                    0 => (ORD_MARKET, TIF_IOC),
                    1 => (ORD_MARKET, TIF_FOK),
                    2 => (ORD_LIMIT, TIF_IOC),
                    3 => (ORD_LIMIT, TIF_FOK),
                    4 => (ORD_LIMIT, TIF_DAY),
                    5 => (ORD_LIMIT, TIF_GTD),
                    _ => (ORD_LIMIT, TIF_GTC),
                };
                let instrument = ALL[usize::from(at) % ALL.len()];
                let order = NewOrder {
                    cl_ord_id: self.next_name(),
                    price: self.price(instrument, away),
                    quantity: lots,
                    expire_time: if time_in_force == TIF_GTD {
                        self.venue.now + life * SECOND
                    } else {
                        0
                    },
                    smp_id,
                    account: account(who),
                    instrument,
                    side: u8::from(sell),
                    ord_type,
                    time_in_force,
                    flags,
                    stp_mode: stp,
                    mmp_group: group,
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
                flags,
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
                    flags,
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
            Step::Reduce {
                who,
                pick,
                by_id,
                lots,
            } => {
                let (name, id, instrument) = self.pick(who, pick);
                let reduce = ReduceQty {
                    cl_ord_id: 1,
                    order_id: if by_id { id } else { 0 },
                    orig_cl_ord_id: name,
                    quantity: lots,
                    account: account(who),
                    instrument,
                    pad1: 0,
                };
                self.venue.request(member(who), reduce);
            }
            Step::Quote {
                who,
                ref entries,
                flags,
                stp,
                smp_id,
                group,
            } => {
                let head = MassQuote {
                    cl_ord_id: self.next_name(),
                    smp_id,
                    account: account(who),
                    mmp_group: group,
                    stp_mode: stp,
                    flags,
                    ..MassQuote::zeroed()
                };
                let entries: Vec<_> = entries.iter().map(|e| self.entry(e)).collect();
                self.venue.quote(member(who), &head, &entries);
            }
            Step::MassCancel {
                who,
                all,
                at,
                side,
                scope,
                group,
            } => {
                let mass = MassCancel {
                    cl_ord_id: 1,
                    account: if all { ID32_NULL } else { account(who) },
                    instrument: instrument_or_all(at),
                    side: side.map_or(BYTE_NULL, u8::from),
                    scope,
                    mmp_group: group.unwrap_or(BYTE_NULL),
                    ..MassCancel::zeroed()
                };
                self.venue.request(member(who), mass);
            }
            Step::MmpConfig {
                who,
                group,
                window_s,
                freeze_s,
                lots,
                delta_e9,
                vega,
            } => {
                let config = MmpConfig {
                    cl_ord_id: 1,
                    window_ns: window_s * SECOND,
                    freeze_ns: freeze_s * SECOND,
                    quantity_limit: lots,
                    delta_limit: delta_e9,
                    vega_limit: vega,
                    account: account(who),
                    mmp_group: group,
                    pad1: 0,
                    pad2: 0,
                };
                self.venue.request(member(who), config);
            }
            Step::MmpReset { who, group } => {
                let reset = MmpReset {
                    cl_ord_id: 1,
                    account: account(who),
                    mmp_group: group,
                    pad1: 0,
                    pad2: 0,
                };
                self.venue.request(member(who), reset);
            }
            Step::KillSwitch { who, all, unlock } => {
                let kill = KillSwitch {
                    cl_ord_id: 1,
                    account: if all { ID32_NULL } else { account(who) },
                    action: u8::from(unlock),
                    pad1: 0,
                    pad2: 0,
                };
                self.venue.request(member(who), kill);
            }
            Step::DeadMan { who, seconds } => {
                let timer = DeadManTimer {
                    cl_ord_id: 1,
                    timeout_ns: seconds * SECOND,
                };
                self.venue.request(member(who), timer);
            }
            Step::OpenOrders { who, at, after } => {
                let request = OpenOrdersRequest {
                    cl_ord_id: 1,
                    after,
                    account: account(who),
                    instrument: instrument_or_all(at),
                    pad1: 0,
                };
                self.venue.request(member(who), request);
            }
            Step::Positions { who } => {
                let request = PositionsRequest {
                    cl_ord_id: 1,
                    account: account(who),
                    pad1: 0,
                };
                self.venue.request(member(who), request);
            }
            Step::Gap { who, count } => self.venue.gap(member(who), count),
            Step::State { at, state } => self.venue.venue(&InTradingState {
                instrument: instrument_or_all(at),
                state,
                pad1: 0,
                pad2: 0,
            }),
            Step::OperatorCancel {
                member: of,
                who,
                at,
            } => self.venue.venue(&InOperatorCancel {
                member: of.map_or(0, member),
                account: who.map_or(ID32_NULL, account),
                instrument: instrument_or_all(at),
                pad1: 0,
                pad2: 0,
            }),
            Step::Lock { who, all, unlock } => self.venue.venue(&InLock {
                member: member(who),
                account: if all { ID32_NULL } else { account(who) },
                action: u8::from(unlock),
                ..InLock::zeroed()
            }),
            Step::Withdraw { who, percent } => {
                let id = firmware::units::AccountId(account(who));
                let a = self.venue.engine.accounts().get(id).expect("it exists");
                let worst = self.venue.engine.worst_with_orders_micro(id);
                let free = worst.expect("it exists").min(a.cash_micro());
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
        if self.liquidates && matches!(step, Step::Table { .. } | Step::Timer { .. }) {
            self.nobody_is_left_below_zero();
        }
        self.learn();
    }

    /// A claim below zero stays only where neither the fund nor any holder has anything to give.
    fn nobody_is_left_below_zero(&self) {
        let engine = &self.venue.engine;
        let all = || {
            let funded = engine.accounts().funded().iter();
            funded.map(|id| engine.accounts().get(*id).expect("it exists"))
        };
        let can_pay = |a: &Account| a.has_position() && a.worst_micro() > 0;
        let is_dry = engine.fund_pico() == 0 && !all().any(can_pay);
        for account in all() {
            let equity = account.equity_micro();
            assert!(
                equity >= 0 || is_dry,
                "a claim of {equity} is left as it is"
            );
        }
    }

    fn next_name(&mut self) -> u64 {
        self.cl_ord_id += 1;
        self.cl_ord_id
    }

    fn entry(&self, entry: &Entry) -> QuoteEntry {
        let instrument = ALL[usize::from(entry.at) % ALL.len()];
        let side = |wanted: Option<(i64, i64)>| match wanted {
            Some((lots, away)) => (self.price(instrument, away), lots),
            None => (0, QUANTITY_NULL),
        };
        let (bid_price, bid_quantity) = side(entry.bid);
        let (ask_price, ask_quantity) = side(entry.ask);
        QuoteEntry {
            bid_price,
            bid_quantity,
            ask_price,
            ask_quantity,
            instrument,
            pad1: 0,
            pad2: 0,
        }
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

/// An instrument that is picked, or all.
fn instrument_or_all(at: Option<u8>) -> u16 {
    at.map_or(ID16_NULL, |i| ALL[usize::from(i) % ALL.len()])
}

/// Runs a stream on both books, ends it with a seal and replays its journal. Twice on the way the state is
/// written and read back: those engines then follow the journal beside the ones that were not stopped.
pub(crate) fn check(mix: Mix, steps: &[Step]) -> Watch {
    let (mut fast, mut slow) = (Run::<LadderBook>::new(mix), Run::<ReferenceBook>::new(mix));
    let mut sealed = Vec::new();
    let end = Step::Timer { flags: 1 };
    let (mut early, mut late) = (None, None);
    for (at, step) in steps.iter().chain([&end]).enumerate() {
        if at == steps.len() / 3 {
            early = Some(Restored::<LadderBook>::of(&fast.venue, &slow.venue, mix));
        }
        if at == steps.len() * 3 / 4 {
            late = Some(Restored::<ReferenceBook>::of(&fast.venue, &slow.venue, mix));
        }
        fast.step(step);
        slow.step(step);
        if let Some(early) = &mut early {
            early.follow(&fast.venue);
        }
        if let Some(late) = &mut late {
            late.follow(&fast.venue);
        }
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
    early.expect("a stream has a third").end(&fast.venue);
    late.expect("a stream has three quarters").end(&fast.venue);
    let (accounts, fund) = (fast.venue.engine.accounts(), fast.venue.engine.fund_pico());
    fast.watch.auditor.assert_equals(accounts, fund);
    replay(&fast.venue, mix.orders, &sealed);
    fast.watch
}

/// An engine that was read back from a snapshot, and goes on with the journal of the one that wrote it.
struct Restored<B> {
    engine: Engine<B>,
    sequencer: Sequencer,
    out: Outbox,
    /// Records applied.
    at: usize,
}

impl<B: OrderBook> Restored<B> {
    /// Both books write the same bytes, which an engine that was read back writes again.
    fn of(fast: &Venue<LadderBook>, slow: &Venue<ReferenceBook>, mix: Mix) -> Self {
        let bytes = saved(&fast.engine);
        assert!(bytes == saved(&slow.engine), "the books save other bytes");
        let mut rest = bytes.as_slice();
        let engine = Engine::<B>::load(limits(mix.orders), &mut rest).expect("just saved");
        assert!(rest.is_empty());
        assert_eq!(engine.state_hash(), fast.engine.state_hash());
        assert!(saved(&engine) == bytes);
        engine.book().check_invariants();
        Self {
            sequencer: Sequencer::after(engine.last_seq(), engine.last_time()),
            engine,
            out: Outbox::new(),
            at: fast.journal.as_ref().map_or(0, Vec::len),
        }
    }

    /// Applies what was journaled since: the last input causes the same here as there.
    fn follow(&mut self, venue: &Venue<LadderBook>) {
        let journal = venue.journal.as_deref().expect("a journal is kept");
        let records = &journal[self.at..];
        for record in records {
            let (engine, out) = (&mut self.engine, &mut self.out);
            record.replay(&mut self.sequencer, |input| engine.apply(input, out));
        }
        self.at = journal.len();
        if !records.is_empty() {
            assert_eq!(self.out.outcomes(), venue.out.outcomes());
            assert!(self.out.sealed().eq(venue.out.sealed()));
        }
    }

    fn end(&self, venue: &Venue<LadderBook>) {
        assert_eq!(self.engine.state_hash(), venue.engine.state_hash());
        assert!(
            saved(&self.engine) == saved(&venue.engine),
            "other bytes at the end"
        );
        self.engine.book().check_invariants();
    }
}

fn saved<B: OrderBook>(engine: &Engine<B>) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.save(&mut bytes);
    bytes
}

fn limits(orders: u32) -> EngineLimits {
    EngineLimits {
        accounts: ACCOUNTS,
        orders,
        ..EngineLimits::default()
    }
}

/// The journal alone gives the same batches and the same state.
fn replay<B: OrderBook>(venue: &Venue<B>, orders: u32, sealed: &[Vec<u8>]) {
    let mut engine = Engine::<LadderBook>::new(limits(orders)).expect("the limits are sound");
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
