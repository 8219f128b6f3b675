//! The engine: applies one sequenced input at a time and says what it caused.
//!
//! All branching lives here and in `engine/`; arithmetic lives in `accounts`, `settlement` and `batch`.
//! Invariants, checked at every seal for what the batch touched and asserted where they could break:
//! - contracts of each instrument sum to zero; cash of all accounts plus the fund equals deposits less
//!   withdrawals, to the pico-unit;
//! - an account that a batch touched with more than a deposit is above maintenance when the batch is sealed;
//! - every fill of a batch lies inside the collar of the table that the batch is sealed under.

/// The record of a refused request: all admitted requests have these fields.
macro_rules! refusal {
    ($request:expr, $template:ty, $instrument:expr) => {
        firmware::wire::input::InRefused {
            cl_ord_id: $request.cl_ord_id,
            client_seq: $request.client_seq,
            rx_time: $request.rx_time,
            account: $request.account,
            instrument: $instrument,
            ref_template: <$template as firmware::wire::sbe::Message>::TEMPLATE,
            ..bytemuck::Zeroable::zeroed()
        }
    };
}

/// The cause of a cancellation that a request asked for.
macro_rules! cause {
    ($request:expr, $reason:expr) => {
        Cause {
            reason: $reason,
            request_cl_ord_id: $request.cl_ord_id,
            client_seq: $request.client_seq,
            rx_time: $request.rx_time,
        }
    };
}

mod addons;
mod expiry;
mod funding;
mod groups;
mod incoming;
mod ladder;
mod listing;
mod matching;
mod money;
mod orders;
mod protect;
mod queries;
mod quotes;
mod ranging;
mod rules;
mod snapshot;
mod states;
mod tracked;
mod vault;
mod venue;
mod view;

pub use listing::ListingError;
pub use money::DepositError;
pub use ranging::{check_vol_model, vol_model};
pub use rules::{RulesError, check_rules};

use crate::accounts::{Accounts, Exposure};
use crate::batch::{BatchBuilder, SealReason, SlotKind};
use crate::book::{BookError, BookLimits, Order, OrderBook};
use crate::margin::Margin;
use crate::memory::taken;
use crate::outbox::Outbox;
use crate::planted::{self, Bug};
use crate::sequencer::{Input, Sequenced};
use crate::settlement::{Settled, Terms};
use crate::table::RiskTable;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytemuck::Zeroable;
use expiry::Average;
use firmware::limits::{MEMBERS, TIER_INSTRUMENTS};
use firmware::units::{
    AccountId, InstrumentId, MemberId, OrderId, PICO_PER_MICRO, Pico, PriceTicks, Seq, TimeNs,
};
use firmware::wire::feed::{OrderDelete, OrderReduce};
use firmware::wire::input::{InDomain, InInstrument, InRefused};
use firmware::wire::report::{Canceled, ExpiryReport, NotApplied, Rejected};
use funding::Premium;
use groups::Groups;
use incoming::Marks;
use ladder::Acting;
use ranging::Ranging;
use rules::Rules;
use states::Clearing;
use tracked::Orders;

/// Client order ids that can be looked up per member; a power of two. An id that is this much older than
/// the newest can still be cancelled by the venue's order id.
const CLIENT_IDS: usize = 1 << 12;
/// Market-maker protection groups of all accounts together.
const MMP_GROUPS_MAX: usize = 4_096;

/// Sizes that are fixed at start.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Account ids run below this.
    pub accounts: usize,
    /// Orders that can rest at a time.
    pub orders: u32,
    /// Member ids run up to this.
    pub members: u32,
    /// Instrument ids run below this; at most [`firmware::limits::INSTRUMENTS`].
    pub instruments: u16,
}

impl EngineLimits {
    /// As the domain's record says: the engine that replays a journal refuses what the first one refused.
    #[must_use]
    pub const fn of(domain: &InDomain) -> Self {
        Self {
            accounts: domain.accounts as usize,
            orders: domain.orders,
            instruments: domain.instruments as u16,
            members: domain.members,
        }
    }
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            accounts: firmware::limits::GATE_ACCOUNTS,
            orders: 1 << 16,
            members: MEMBERS as u32,
            instruments: TIER_INSTRUMENTS as u16,
        }
    }
}

/// Counts of what happened, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct EngineCounters {
    pub requests: u64,
    pub acks: u64,
    pub fills: u64,
    pub settlements: u64,
    pub deposits: u64,
    pub withdrawals: u64,
    pub batches: u64,
    pub fill_rows: u64,
    pub tables_refused: u64,
    pub fundings: u64,
    pub expiries: u64,
    pub liquidation_steps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Listed {
    spec: InInstrument,
    tick_e9: i64,
    /// Trading state.
    state: u8,
    /// Orders are collected and may cross.
    collects: bool,
    /// What the feed was last told of the auction.
    shown: Option<Option<Clearing>>,
}

#[derive(Clone, Debug)]
struct Member {
    /// Cancel on disconnect: 0 never, 1 flagged orders, 2 all.
    cod_policy: u8,
    /// Ring from client order id to order.
    ids: Box<[(u64, OrderId)]>,
    /// Accounts that it trades for.
    accounts: Vec<AccountId>,
    /// When its dead-man timer fires; zero: never.
    dead_man: u64,
}

impl Member {
    fn new() -> Self {
        Self {
            cod_policy: 0,
            ids: taken((0, OrderId(0)), CLIENT_IDS),
            accounts: Vec::new(),
            dead_man: 0,
        }
    }
}

/// What every report of one input has in common.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    seq: Seq,
    time: TimeNs,
    member: MemberId,
}

/// The deterministic state of one risk domain.
#[derive(Debug)]
pub struct Engine<B> {
    book: B,
    accounts: Accounts,
    table: Box<RiskTable>,
    /// The same table, laid out for the margin check.
    margin: Margin,
    has_table: bool,
    instruments: Box<[Option<Listed>]>,
    members: Vec<Option<Member>>,
    domain: InDomain,
    settled: Settled,
    batch: BatchBuilder,
    fund_pico: Pico,
    deposited_micro: u64,
    withdrawn_micro: u64,
    next_deposit: u64,
    oracle_time: TimeNs,
    next_trade: u64,
    last_seq: Seq,
    last_time: TimeNs,
    counters: EngineCounters,
    /// What is kept of resting orders beside the book.
    orders: Orders,
    /// Market-maker protection.
    groups: Groups,
    /// The quotes of the account that a mass quote is about, by instrument and side; empty between two.
    quoted: Box<[[OrderId; 2]]>,
    /// When the first dead-man timer fires.
    next_dead_man: u64,
    /// Rules of risk, in force and announced.
    rules: Rules,
    /// Premiums since the last funding, by instrument.
    premiums: Box<[Premium]>,
    /// When funding was last fixed.
    funded_at: TimeNs,
    /// Index before each expiry, by instrument.
    averages: Box<[Average]>,
    /// Until when the averages reach.
    averaged_to: TimeNs,
    /// Room for the table that comes next.
    spare_table: Option<Box<RiskTable>>,
    /// How far scenarios reach.
    ranging: Ranging,
    /// Who is being liquidated; nobody between two inputs.
    acting: Option<Acting>,
}

impl<B: OrderBook> Engine<B> {
    /// An engine at the start of a journal.
    ///
    /// # Errors
    /// When the limits are beyond what the books can hold.
    pub fn new(limits: EngineLimits) -> Result<Self, BookError> {
        let book = B::new(BookLimits {
            instruments: limits.instruments,
            orders: limits.orders,
        })?;
        let instruments = usize::from(limits.instruments).max(TIER_INSTRUMENTS);
        Ok(Self {
            book,
            accounts: Accounts::new(limits.accounts, instruments),
            table: RiskTable::zeroed(TIER_INSTRUMENTS),
            margin: Margin::new(instruments),
            has_table: false,
            instruments: alloc::vec![None; instruments].into(),
            members: alloc::vec![None; limits.members as usize + 1],
            domain: InDomain::zeroed(),
            settled: Settled::never(instruments),
            batch: BatchBuilder::new(instruments),
            fund_pico: 0,
            deposited_micro: 0,
            withdrawn_micro: 0,
            next_deposit: 0,
            oracle_time: TimeNs(0),
            next_trade: 1,
            last_seq: Seq(0),
            last_time: TimeNs(0),
            counters: EngineCounters::default(),
            orders: Orders::new(limits.accounts, limits.orders),
            groups: Groups::new(MMP_GROUPS_MAX),
            quoted: alloc::vec![[OrderId(0); 2]; instruments].into(),
            next_dead_man: u64::MAX,
            rules: Rules::default(),
            premiums: alloc::vec![Premium::default(); instruments].into(),
            funded_at: TimeNs(0),
            averages: alloc::vec![Average::default(); instruments].into(),
            averaged_to: TimeNs(0),
            spare_table: Some(RiskTable::zeroed(TIER_INSTRUMENTS)),
            ranging: Ranging::default(),
            acting: None,
        })
    }

    /// Applies one input. `out` is cleared first and holds what the input caused.
    ///
    /// # Panics
    /// When an invariant is broken: the box stops, and the journal brings it back.
    pub fn apply(&mut self, input: &Sequenced<'_>, out: &mut Outbox) {
        out.clear();
        // By reference everywhere: three fields just written do not make one wide load.
        let stamp = &Stamp {
            seq: input.seq(),
            time: input.time(),
            member: input.member(),
        };
        assert_eq!(
            stamp.seq.0,
            self.last_seq.0 + 1,
            "inputs reach the engine in order"
        );
        self.last_seq = stamp.seq;
        self.last_time = stamp.time;
        match *input.input() {
            Input::NewOrder(m) => self.new_order(stamp, m, out),
            Input::Replace(m) => self.replace(stamp, m, out),
            Input::Cancel(m) => self.cancel(stamp, m, out),
            Input::MassCancel(m) => self.mass_cancel(stamp, m, out),
            Input::Withdraw(m) => self.withdraw(stamp, m, out),
            Input::Refused(m) => {
                self.counters.requests += 1;
                refuse(stamp, m, out);
            }
            Input::Gap(m) => out.report(
                stamp.member,
                NotApplied {
                    from_seq_no: m.from_seq_no,
                    count: m.count,
                    engine_time: stamp.time.0,
                    engine_seq: stamp.seq.0,
                },
            ),
            Input::Session(m) => self.session(stamp, m, out),
            Input::Deposit(m) => self.deposit(stamp, m, out),
            Input::Oracle(m) => self.oracle_time = TimeNs(self.oracle_time.0.max(m.timestamp)),
            Input::MassQuote(q) => self.mass_quote(stamp, q, out),
            Input::Reduce(m) => self.reduce(stamp, m, out),
            Input::MmpReset(m) => self.mmp_reset(stamp, m, out),
            Input::KillSwitch(m) => self.kill_switch(stamp, m, out),
            Input::OpenOrders(m) => self.open_orders(stamp, m, out),
            Input::DeadMan(m) => self.dead_man(stamp, m, out),
            Input::MmpConfig(m) => self.mmp_config(stamp, m, out),
            Input::Positions(m) => self.positions(stamp, m, out),
            Input::TradingState(m) => self.trading_state(stamp, m, out),
            Input::OperatorCancel(m) => self.operator_cancel(stamp, m, out),
            Input::Lock(m) => self.operator_lock(stamp, m, out),
            // Whom reports are copied to is settled where reports are numbered, rates in the gate.
            Input::DropCopy(_) | Input::OperatorAct(_) | Input::MemberLimits(_) => {}
            Input::Timer(m) => self.timer(stamp, m, out),
            Input::Account(m) => self.bind_account(m),
            Input::Domain(m) => self.domain = *m,
            Input::Instrument(m) => self.list(stamp, m, out),
            Input::Delist(m) => self.delist(stamp, m, out),
            Input::RiskTable(m) => self.adopt(stamp, m, out),
            Input::RiskRules(m) => self.announce(stamp, m, out),
            Input::VolModel(m) => self.announce_model(stamp, m),
        }
        out.finish();
    }

    /// Number of the deposit that comes next in the L1 queue.
    #[must_use]
    pub const fn next_deposit(&self) -> u64 {
        self.next_deposit
    }

    /// Accounts, for reports and audits.
    #[must_use]
    pub const fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The risk table in force.
    #[must_use]
    pub fn table(&self) -> Option<&RiskTable> {
        self.has_table.then_some(&*self.table)
    }

    /// Insurance fund.
    #[must_use]
    pub const fn fund_pico(&self) -> Pico {
        self.fund_pico
    }

    /// Sum of all deposits and of all withdrawals, in micro-units, modulo 2^64: money can go in and out for
    /// ever, while their difference is bounded.
    #[must_use]
    pub const fn flows_micro(&self) -> (u64, u64) {
        (self.deposited_micro, self.withdrawn_micro)
    }

    /// Number of the open batch.
    #[must_use]
    pub const fn batch_no(&self) -> u64 {
        self.batch.batch_no()
    }

    /// Whether nothing waits for a seal.
    #[must_use]
    pub const fn batch_is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Counts of what happened.
    #[must_use]
    pub const fn counters(&self) -> EngineCounters {
        self.counters
    }

    /// The books, for snapshots and tests.
    #[must_use]
    pub const fn book(&self) -> &B {
        &self.book
    }

    /// Last input applied.
    #[must_use]
    pub const fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Time of the last input applied.
    #[must_use]
    pub const fn last_time(&self) -> TimeNs {
        self.last_time
    }

    /// Digest of the whole state: the same for any implementation of the books.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        let mut h = blake3::Hasher::new();
        h.update(b"deltabox state v2");
        for n in [
            self.last_seq.0,
            self.last_time.0,
            self.next_deposit,
            self.next_trade,
            self.deposited_micro,
            self.withdrawn_micro,
            self.oracle_time.0,
            u64::from(self.has_table),
        ] {
            h.update(&n.to_le_bytes());
        }
        h.update(&self.fund_pico.to_le_bytes())
            .update(self.table.bytes());
        h.update(bytemuck::bytes_of(&self.domain));
        if self.settled.has_started() {
            self.settled.digest(&mut h);
        }
        self.digest_risk(&mut h);
        self.ranging.digest(&mut h);
        for id in self.accounts.funded() {
            let a = &self.accounts.get(*id).expect("a funded account exists");
            h.update(&id.0.to_le_bytes())
                .update(&a.member.0.to_le_bytes())
                .update(&[a.locks]);
            self.orders.digest(*id, &mut h);
            a.leaf.digest(self.table.columns.len(), &mut h);
        }
        for (i, listed) in self.instruments.iter().enumerate() {
            if let Some(l) = listed {
                h.update(bytemuck::bytes_of(&l.spec));
                h.update(&[l.state, u8::from(l.collects)]);
                self.digest_book(InstrumentId(i as u16), &mut h);
            }
        }
        h.update(&self.book.next_id().map_or(0, |id| id.0).to_le_bytes());
        for member in self.members.iter().flatten() {
            h.update(&[member.cod_policy]);
            h.update(&member.dead_man.to_le_bytes());
        }
        self.groups.digest(&mut h);
        h.update(&self.orders.next_entry().to_le_bytes());
        self.batch.digest(&mut h);
        *h.finalize().as_bytes()
    }

    /// Digest of what a seal fixes, chained over all seals. Batches close in the middle of trading, so it must
    /// not walk all orders and accounts as [`Self::state_hash`] does.
    fn ledger_hash(&self) -> [u8; 32] {
        let mut h = blake3::Hasher::new();
        h.update(b"deltabox ledger v2");
        for n in [
            self.last_seq.0,
            self.last_time.0,
            self.next_deposit,
            self.next_trade,
            self.oracle_time.0,
            self.table.epoch,
            self.book.live() as u64,
            self.book.next_id().map_or(0, |id| id.0),
        ] {
            h.update(&n.to_le_bytes());
        }
        if self.settled.has_started() {
            self.settled.digest(&mut h);
        }
        self.batch.digest(&mut h);
        *h.finalize().as_bytes()
    }

    fn digest_book(&self, instrument: InstrumentId, h: &mut blake3::Hasher) {
        use firmware::units::Side::{Buy, Sell};
        for side in [Buy, Sell] {
            for price in self.book.levels(instrument, side) {
                for o in self.book.orders(instrument, side, price) {
                    h.update(&o.id.0.to_le_bytes())
                        .update(&o.price.0.to_le_bytes())
                        .update(&o.lots.to_le_bytes());
                    h.update(&o.info.account.0.to_le_bytes())
                        .update(&o.info.session.to_le_bytes());
                    h.update(&o.info.cl_ord_id.0.to_le_bytes())
                        .update(&o.info.flags.to_le_bytes());
                }
            }
        }
    }

    /// Deposits less withdrawals.
    pub(crate) const fn collateral_micro(&self) -> u64 {
        self.deposited_micro.wrapping_sub(self.withdrawn_micro)
    }

    /// Checks that money and contracts are conserved.
    ///
    /// # Panics
    /// When they are not: the box stops.
    pub fn assert_conserved(&self) {
        let mut claims = self.accounts.cash_pico() + self.fund_pico;
        let contracts = self.accounts.contracts();
        for (i, lots) in contracts.into_iter().enumerate() {
            match self.table.columns.get(i) {
                // Some holders have their cash already.
                Some(c) if c.is_settled != 0 => {
                    let value = c.mark_micro - c.funding_micro;
                    claims += i128::from(lots * value) * PICO_PER_MICRO;
                }
                _ => assert_eq!(lots, 0, "contracts do not sum to zero"),
            }
        }
        assert_eq!(
            claims,
            i128::from(self.collateral_micro()) * PICO_PER_MICRO,
            "claims differ from collateral"
        );
    }

    /// Closes the open batch; does nothing when it is empty.
    fn seal(&mut self, stamp: &Stamp, reason: SealReason, out: &mut Outbox) {
        if self.batch.is_empty() {
            return;
        }
        let accounts = &self.accounts;
        let touched_is_sound = |id: AccountId| {
            let a = accounts.get(id).expect("a touched account exists");
            let slot = self.batch.slot(id);
            a.worst_micro() >= 0
                || slot.is_some_and(|t| t.kind == SlotKind::Liquidated)
                || self.batch.only_deposited(id, &a.leaf, &self.table)
        };
        assert!(
            self.batch.touched().all(touched_is_sound),
            "a touched account is below maintenance at a seal"
        );
        let leaf = |id: AccountId| &accounts.get(id).expect("a touched account exists").leaf;
        self.batch.close(
            reason,
            stamp.seq,
            stamp.time,
            &self.table,
            self.fund_pico,
            leaf,
        );
        let ledger_hash = self.ledger_hash();
        let batch = self.batch.closed(ledger_hash);
        self.counters.batches += 1;
        self.counters.fill_rows += batch.fills.len() as u64;
        out.feed(firmware::wire::feed::BatchSealed {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            batch_no: batch.batch_no,
            first_seq: batch.first_seq.0,
            fill_rows: batch.fills.len() as u32,
            accounts: batch.touched.len() as u32,
            reason: reason as u8,
            flags: 0,
            pad1: 0,
            pad2: 0,
        });
        out.seal(batch);
        // A long order may go on in the next batch under the same record.
        self.batch.reopen(stamp.seq);
    }

    fn terms(&self) -> Terms {
        Terms {
            threshold_ppm: self.domain.delta_threshold_ppm,
            interval_ns: self.domain.settlement_interval_ns,
        }
    }

    /// Remembers the leaf as the batch found it, and what of it has been settled becomes cash.
    fn touch(&mut self, stamp: &Stamp, id: AccountId, out: &mut Outbox) {
        let account = self.accounts.at(id);
        if !self.batch.touch(id, &account.leaf) {
            return;
        }
        let member = account.member;
        account.fold(&self.table, |i, lots, value_micro| {
            if member.0 != 0 {
                out.report(
                    member,
                    ExpiryReport {
                        amount: lots * value_micro,
                        position: lots,
                        value_micro,
                        engine_time: stamp.time.0,
                        engine_seq: stamp.seq.0,
                        account: id.0,
                        instrument: i as u16,
                        pad1: 0,
                    },
                );
            }
        });
        self.batch.slot_mut(id).kind = self.kind_of(id);
    }

    fn listed(&self, instrument: usize) -> &Listed {
        self.instruments[instrument]
            .as_ref()
            .expect("the gate lets only listed instruments through")
    }

    fn price_e9(&self, instrument: InstrumentId, price: PriceTicks) -> i64 {
        i64::from(price.0) * self.listed(instrument.0 as usize).tick_e9
    }

    /// Takes an order off the book and frees what it reserved.
    fn take_off(&mut self, id: OrderId) -> Option<Order> {
        let order = self.book.cancel(id)?;
        self.forget(&order);
        self.accounts
            .at(order.info.account)
            .close_order(&self.margin, exposure(&order));
        Some(order)
    }

    /// Drops what was kept of an order that has left the book.
    #[inline]
    fn forget(&mut self, order: &Order) {
        let (id, info) = (order.info.account, &order.info);
        self.orders.remove(id, info.list(), order.id);
        if info.is_reduce_only() {
            self.accounts.at(id).reduce_only_orders -= 1;
        }
    }

    /// Takes an order off the book and tells the member and the feed.
    fn remove_order(&mut self, stamp: &Stamp, id: OrderId, cause: Cause, out: &mut Outbox) -> bool {
        let Some(order) = self.take_off(id) else {
            return false;
        };
        if cause.reason == firmware::wire::report::CANCEL_REQUESTED
            || !planted::is(Bug::CancelsInSilence)
        {
            tell_canceled(stamp, &order, 0, cause, out);
        }
        if !planted::is(Bug::DeletesInSilence) {
            feed_deleted(stamp, &order, out);
        }
        true
    }

    /// Lowers an order to `leaves` lots without a trade, or takes it off; tells the member and the feed.
    fn cut_order(
        &mut self,
        stamp: &Stamp,
        order: &Order,
        leaves: i64,
        cause: Cause,
        out: &mut Outbox,
    ) {
        if leaves == 0 {
            self.remove_order(stamp, order.id, cause, out);
        } else {
            tell_canceled(stamp, order, leaves, cause, out);
            self.shrink(stamp, order, leaves, out);
        }
    }

    fn feed_reduced(&self, stamp: &Stamp, order: &Order, lots: i64, out: &mut Outbox) {
        out.feed(OrderReduce {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            order_id: order.id.0,
            quantity: lots,
            instrument: order.instrument.0,
            side: order.side as u8,
            flags: 0,
            pad1: 0,
        });
    }
}

/// Why an order goes, as its report tells it.
#[derive(Clone, Copy, Debug)]
struct Cause {
    reason: u8,
    request_cl_ord_id: u64,
    client_seq: u64,
    rx_time: u64,
}

impl Cause {
    /// A cause that is no request.
    const fn of(reason: u8) -> Self {
        Self {
            reason,
            request_cl_ord_id: 0,
            client_seq: 0,
            rx_time: 0,
        }
    }
}

/// Tells the member that lots of an order are gone without a trade.
fn tell_canceled(stamp: &Stamp, order: &Order, leaves: i64, cause: Cause, out: &mut Outbox) {
    out.report(
        MemberId(order.info.session),
        Canceled {
            order_id: order.id.0,
            cl_ord_id: order.info.cl_ord_id.0,
            request_cl_ord_id: cause.request_cl_ord_id,
            client_seq: cause.client_seq,
            quantity: order.lots - leaves,
            leaves,
            rx_time: cause.rx_time,
            engine_time: stamp.time.0,
            engine_seq: stamp.seq.0,
            account: order.info.account.0,
            instrument: order.instrument.0,
            side: order.side as u8,
            reason: cause.reason,
        },
    );
}

fn exposure(order: &Order) -> Exposure {
    Exposure {
        instrument: order.instrument.0 as usize,
        side: order.side,
        price: order.price,
        lots: order.lots,
    }
}

/// Tells the member that a request was refused, by the gate or by the engine.
fn refuse(stamp: &Stamp, r: &InRefused, out: &mut Outbox) {
    out.report(
        stamp.member,
        Rejected {
            cl_ord_id: r.cl_ord_id,
            client_seq: r.client_seq,
            rx_time: r.rx_time,
            engine_time: stamp.time.0,
            engine_seq: stamp.seq.0,
            account: r.account,
            instrument: r.instrument,
            reason: r.reason,
            ref_template: r.ref_template,
            pad1: 0,
            pad2: 0,
        },
    );
}

/// Tells everybody that an order left the book without a trade.
fn feed_deleted(stamp: &Stamp, order: &Order, out: &mut Outbox) {
    out.feed(OrderDelete {
        engine_seq: stamp.seq.0,
        engine_time: stamp.time.0,
        order_id: order.id.0,
        instrument: order.instrument.0,
        side: order.side as u8,
        flags: 0,
        pad1: 0,
    });
}
