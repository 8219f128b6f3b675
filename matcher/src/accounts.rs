//! Accounts in a fixed table, each with what the margin check needs kept up to date.
//!
//! Invariant, for every account and scenario `s` (all in micro-units): `floor(cash) + all[s]`, where
//! `all[s]` is `held[s]` less the worst that each open order can do, does not fall by any set of fills of
//! those orders: a fill replaces an order's worst by the real thing, which is not worse. So an account
//! that passed the check when its last order came in can never be filled below it while the risk table
//! stands.
//!
//! Most checks are decided by one number: the least of `held` less the sum of what each open order loses
//! in its own worst scenario lies at or below the least of `all`, so an account that passes with it
//! passes. Only where it does not, the scenarios are looked at one by one, and only from then on until the
//! next table does the account keep `all` up to date.

use crate::batch::Leaf;
use crate::margin::{LANES, Lanes, LotRisk, Margin};
use crate::snapshot::{Sink, SnapshotError, Source, ensure};
use crate::table::RiskTable;
use alloc::boxed::Box;
use alloc::vec::Vec;
use firmware::limits::{ACCOUNTS, EQUITY_BITS, INSTRUMENTS, SCENARIOS};
use firmware::units::{AccountId, MemberId, PICO_PER_MICRO, Pico, PriceTicks, Side};

/// Bounds beyond this are not used: half of what the value of positions may be.
const BOUND_MAX: i128 = 1 << (EQUITY_BITS - 3);

/// Begins the accounts in a snapshot.
const PART: [u8; 4] = *b"ACCT";

/// One account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Member that trades for it; zero: nobody yet.
    pub member: MemberId,
    /// What the state tree commits to.
    pub leaf: Leaf,
    /// Instruments in which a position is open, so that those without any are passed over.
    positions_open: u16,
    /// Sum of position x mark: kept up to date, so that no check walks all instruments.
    value: i64,
    /// The least of `held`.
    held_least: i64,
    /// Sum over all open orders of lots x the most that a lot can lose.
    at_risk: i128,
    /// Sum of position x scenario value.
    held: Lanes,
    /// `held` less what all open orders can lose; only while `keeps_all`.
    all: Lanes,
    /// Whether `all` is kept up to date: from the first check that needs it until the next table.
    keeps_all: bool,
    /// Whose lock is on it; see the engine's kill switch.
    pub(crate) locks: u8,
    /// Resting reduce-only orders: fills look after them only where there are some.
    pub(crate) reduce_only_orders: u32,
    /// Open lots to buy and to sell, per instrument.
    open: Box<[[i64; 2]]>,
}

/// An order as the margin check sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exposure {
    pub instrument: usize,
    pub side: Side,
    pub price: PriceTicks,
    pub lots: i64,
}

impl Account {
    fn new(instruments: usize) -> Self {
        Self {
            member: MemberId(0),
            leaf: Leaf::unfunded(instruments),
            positions_open: 0,
            value: 0,
            held_least: 0,
            at_risk: 0,
            held: Lanes::ZERO,
            locks: 0,
            reduce_only_orders: 0,
            all: Lanes::ZERO,
            keeps_all: false,
            open: alloc::vec![[0; 2]; instruments].into(),
        }
    }

    /// Whether a deposit ever came.
    #[must_use]
    pub fn is_funded(&self) -> bool {
        self.leaf.owner != [0; 20]
    }

    /// Raw cash in micro-units, rounded down: against the account.
    #[must_use]
    pub const fn cash_micro(&self) -> i64 {
        self.leaf.cash_pico.div_euclid(PICO_PER_MICRO) as i64
    }

    /// Whether the member or the venue has locked it: only orders that reduce pass.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.locks != 0
    }

    /// Whether any position is open.
    #[must_use]
    pub const fn has_position(&self) -> bool {
        self.positions_open != 0
    }

    /// Claim at the marks of the table in force: cash plus the value of all positions.
    #[must_use]
    pub const fn equity_micro(&self) -> i64 {
        self.cash_micro() + self.value
    }

    /// Equity in the worst scenario if no open order fills.
    #[must_use]
    pub const fn worst_micro(&self) -> i64 {
        self.cash_micro() + self.held_least
    }

    /// Whether the equity in the worst scenario is below zero if no open order fills.
    #[must_use]
    pub const fn is_below_maintenance(&self) -> bool {
        // As `worst_micro() < 0`, without a division.
        self.leaf.cash_pico + self.held_least as i128 * PICO_PER_MICRO < 0
    }

    /// A number at or below the equity in the worst scenario if the worst set of open orders fills.
    pub(crate) fn bound_with_orders_micro(&self) -> i128 {
        i128::from(self.cash_micro()) + i128::from(self.held_least) - self.at_risk
    }

    /// Equity in the worst scenario if the worst set of these, its open orders, fills.
    pub(crate) fn worst_with_orders_micro(
        &self,
        margin: &Margin,
        orders: impl Iterator<Item = Exposure>,
    ) -> i64 {
        self.cash_micro() + self.all_with(margin, orders).least()
    }

    fn all_with(&self, margin: &Margin, orders: impl Iterator<Item = Exposure>) -> Lanes {
        let mut all = self.held;
        orders.for_each(|e| margin.lot(e).charge(e.lots, &mut all));
        all
    }

    /// Whether a check that the bound does not decide can be made.
    pub(crate) const fn keeps_all(&self) -> bool {
        self.keeps_all
    }

    /// Prepares for checks that the bound does not decide; `orders` are all its open orders. Most accounts never
    /// come near enough to their limit under a table to need it.
    #[cold]
    pub(crate) fn keep_all(&mut self, margin: &Margin, orders: impl Iterator<Item = Exposure>) {
        self.all = self.all_with(margin, orders);
        self.keeps_all = true;
    }

    /// Maintenance margin: the loss from the mark to the worst scenario.
    #[must_use]
    pub fn maintenance_micro(&self) -> i64 {
        (self.equity_micro() - self.worst_micro()).max(0)
    }

    /// Open lots of one side.
    pub(crate) const fn open_lots(&self, instrument: usize, side: Side) -> i64 {
        self.open[instrument][side as usize]
    }

    /// Whether the account, with `extra` added to its orders, keeps `initial_extra_ppm` of its worst
    /// loss free. `extra` must not be in the reserve yet; `drop` is taken out of it first. Without
    /// [`Self::keeps_all`] a "no" only says that the bound does not decide.
    pub(crate) fn covers(
        &self,
        margin: &Margin,
        extra: Option<Exposure>,
        drop: Option<Exposure>,
        debit_micro: i64,
        initial_extra_ppm: u32,
    ) -> bool {
        let mut bound = i128::from(self.held_least) - self.at_risk;
        if let Some(e) = extra {
            bound -= i128::from(margin.lot(e).most()) * i128::from(e.lots);
        }
        if let Some(e) = drop {
            bound += i128::from(margin.lot(e).most()) * i128::from(e.lots);
        }
        let ppm = i128::from(initial_extra_ppm);
        // Far beyond what collateral can be: so that 64 bits hold the differences below.
        if !(-BOUND_MAX..=BOUND_MAX).contains(&bound) {
            return self.covers_exactly(margin, extra, drop, debit_micro, ppm);
        }
        let bound = bound as i64;
        // What is left in the worst case, against the part of the loss that must stay free; both x 1e6. Cash
        // is not rounded down here, and the part is not either: see below.
        let left = self.leaf.cash_pico + i128::from(bound - debit_micro) * PICO_PER_MICRO;
        let kept_free = i128::from((self.value - bound).max(0)) * ppm;
        left >= kept_free || self.covers_exactly(margin, extra, drop, debit_micro, ppm)
    }

    /// The check itself. It lets through whatever the bound lets through: the true worst is at or above the
    /// bound, and `floor(cash) >= floor(part)` follows from `cash >= part`.
    #[cold]
    #[inline(never)]
    fn covers_exactly(
        &self,
        margin: &Margin,
        extra: Option<Exposure>,
        drop: Option<Exposure>,
        debit_micro: i64,
        ppm: i128,
    ) -> bool {
        if !self.keeps_all {
            return false;
        }
        let [extra, drop] =
            [extra, drop].map(|e| e.map_or(([0; LANES], 0), |e| (margin.lot(e).losses(), e.lots)));
        let worst = (0..LANES).map(|s| {
            let change =
                |(losses, lots): &([i64; LANES], i64)| i128::from(losses[s]) * i128::from(*lots);
            i128::from(self.all.0[s]) - change(&extra) + change(&drop)
        });
        let worst = worst.min().expect("there are scenarios");
        let loss = (i128::from(self.value) - worst).max(0);
        let cash = i128::from(self.cash_micro()) - i128::from(debit_micro);
        cash + worst >= loss * ppm / 1_000_000
    }

    /// Adds an open order.
    pub(crate) fn open_order(&mut self, margin: &Margin, e: Exposure) {
        self.open_order_at(&margin.lot(e), e);
    }

    /// Adds an open order when the risk of its lots is known, as it is for all orders of one level.
    #[inline]
    pub(crate) fn open_order_at(&mut self, lot: &LotRisk<'_>, e: Exposure) {
        if self.keeps_all {
            lot.charge(e.lots, &mut self.all);
        }
        self.at_risk += i128::from(lot.most()) * i128::from(e.lots);
        self.open[e.instrument][e.side as usize] += e.lots;
    }

    /// Takes lots of an open order off: cancelled, reduced or filled.
    #[inline]
    pub(crate) fn close_order(&mut self, margin: &Margin, e: Exposure) {
        let lot = margin.lot(e);
        if self.keeps_all {
            lot.release(e.lots, &mut self.all);
        }
        self.at_risk -= i128::from(lot.most()) * i128::from(e.lots);
        let open = &mut self.open[e.instrument][e.side as usize];
        *open -= e.lots;
        assert!(*open >= 0, "open lots below zero");
    }

    /// Books a fill: `cash_pico` is what the account receives, fee included. What the lots have paid in funding
    /// before is made up for: from here on they count as if they had been held since the listing.
    pub(crate) fn fill(
        &mut self,
        margin: &Margin,
        instrument: usize,
        signed_lots: i64,
        cash_pico: Pico,
    ) {
        let position = &mut self.leaf.positions[instrument];
        let was_open = u16::from(*position != 0);
        *position += signed_lots;
        self.positions_open = self.positions_open + u16::from(*position != 0) - was_open;
        self.leaf.cash_pico += cash_pico;
        let column = margin.column(instrument);
        self.leaf.cash_pico += i128::from(signed_lots * column.funding_micro) * PICO_PER_MICRO;
        self.value += signed_lots * column.mark_micro;
        let lots = i32::try_from(signed_lots).expect("a fill is no larger than an order");
        self.held.hold(lots, &column.values);
        if self.keeps_all {
            self.all.hold(lots, &column.values);
        }
        self.held_least = self.held.least();
    }

    /// Computes what depends on the table anew; open orders must be added again afterwards.
    fn rebase(&mut self, table: &RiskTable) {
        self.held = Lanes::of(&self.held_under(table));
        self.held_least = self.held.least();
        self.value = self.value_under(table);
        self.keeps_all = false;
        self.at_risk = 0;
        self.open.fill([0; 2]);
    }

    fn value_under(&self, table: &RiskTable) -> i64 {
        if !self.has_position() {
            return 0;
        }
        let worth = self.leaf.positions.iter().zip(&table.columns);
        worth
            .map(|(p, c)| p * (c.mark_micro - c.funding_micro))
            .sum()
    }

    fn held_under(&self, table: &RiskTable) -> [i64; SCENARIOS] {
        let mut held = [0; SCENARIOS];
        if !self.has_position() {
            return held;
        }
        for (p, c) in self.leaf.positions.iter().zip(&table.columns) {
            if *p != 0 {
                for (h, v) in held.iter_mut().zip(&c.scenario_micro) {
                    *h += p * (v - c.funding_micro);
                }
            }
        }
        held
    }

    /// Claim at the marks in force, in pico-units: exact.
    pub(crate) const fn equity_pico(&self) -> Pico {
        self.leaf.cash_pico + self.value as i128 * PICO_PER_MICRO
    }

    /// Equity in the worst scenario after `signed_lots` more of an instrument for `cash_pico`, funding left out.
    pub(crate) fn worst_after_pico(
        &self,
        margin: &Margin,
        instrument: usize,
        signed_lots: i64,
        cash_pico: Pico,
    ) -> Pico {
        let column = margin.column(instrument);
        let mut held = self.held;
        held.hold(signed_lots as i32, &column.values);
        let funding = i128::from(signed_lots * column.funding_micro);
        let held = i128::from(held.least()) + funding;
        self.leaf.cash_pico + cash_pico + held * PICO_PER_MICRO
    }

    /// What a position loses from the mark to the account's worst scenario.
    pub(crate) fn loss_of(&self, margin: &Margin, instrument: usize) -> i64 {
        let column = margin.column(instrument);
        let at = self.held.0.iter().position(|h| *h == self.held_least);
        let value = column.values[at.unwrap_or_default()];
        self.leaf.positions[instrument] * (column.mark_micro - i64::from(value))
    }

    /// Turns positions in settled instruments into cash; tells each to `tell` (instrument, lots, value of a lot).
    pub(crate) fn fold(&mut self, table: &RiskTable, mut tell: impl FnMut(usize, i64, i64)) {
        for (i, c) in table.columns.iter().enumerate() {
            let lots = self.leaf.positions[i];
            if c.is_settled == 0 || lots == 0 {
                continue;
            }
            let value = c.mark_micro - c.funding_micro;
            self.leaf.positions[i] = 0;
            self.positions_open -= 1;
            self.leaf.cash_pico += i128::from(lots * value) * PICO_PER_MICRO;
            self.value -= lots * value;
            // The same in all scenarios: what the worst one is does not change.
            for lane in self.held.0.iter_mut().chain(&mut self.all.0) {
                *lane -= lots * value;
            }
            self.held_least -= lots * value;
            tell(i, lots, c.mark_micro);
        }
    }

    /// Whether it holds lots of a settled instrument.
    pub(crate) fn holds_settled(&self, table: &RiskTable) -> bool {
        let held = self.leaf.positions.iter().zip(&table.columns);
        self.has_position() && held.into_iter().any(|(p, c)| *p != 0 && c.is_settled != 0)
    }

    /// Equity in the worst scenario under another table, without orders.
    pub(crate) fn worst_under(&self, table: &RiskTable) -> i64 {
        let worst = self.held_under(table).into_iter().fold(i64::MAX, i64::min);
        self.cash_micro() + worst
    }
}

/// All accounts of the domain.
#[derive(Clone, Debug)]
pub struct Accounts {
    table: Vec<Account>,
    /// Funded accounts, by rising id.
    funded: Vec<AccountId>,
}

impl Accounts {
    pub(crate) fn new(capacity: usize, instruments: usize) -> Self {
        assert!(
            capacity <= ACCOUNTS,
            "more accounts than the state tree has leaves"
        );
        Self {
            table: alloc::vec![Account::new(instruments); capacity],
            funded: Vec::with_capacity(capacity),
        }
    }

    /// The account; `None` beyond the configured number.
    #[must_use]
    pub fn get(&self, id: AccountId) -> Option<&Account> {
        self.table.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: AccountId) -> Option<&mut Account> {
        self.table.get_mut(id.0 as usize)
    }

    /// An account that is known to exist.
    pub(crate) fn at(&mut self, id: AccountId) -> &mut Account {
        &mut self.table[id.0 as usize]
    }

    /// Ids run below this.
    pub(crate) const fn count(&self) -> usize {
        self.table.len()
    }

    /// Accounts that were ever funded, by rising id.
    #[must_use]
    pub fn funded(&self) -> &[AccountId] {
        &self.funded
    }

    /// Books a deposit; the first one sets the owner, and the first that brings a key the key.
    pub(crate) fn deposit(
        &mut self,
        id: AccountId,
        owner: [u8; 20],
        key: &[u8; 32],
        amount_micro: u64,
    ) {
        let account = self.at(id);
        if !account.is_funded() {
            account.leaf.owner = owner;
            if let Err(at) = self.funded.binary_search(&id) {
                self.funded.insert(at, id);
            }
        }
        let leaf = &mut self.at(id).leaf;
        if leaf.key == [0; 32] {
            leaf.key = *key;
        }
        leaf.cash_pico += i128::from(amount_micro) * PICO_PER_MICRO;
    }

    pub(crate) fn rebase(&mut self, table: &RiskTable) {
        for id in &self.funded {
            self.table[id.0 as usize].rebase(table);
        }
    }

    /// Writes every account that is anybody's, and what cannot be worked out anew of each.
    pub(crate) fn save(&self, to: &mut impl Sink) {
        to.part(PART);
        let is_fresh = |a: &Account| a.member.0 == 0 && !a.is_funded() && a.locks == 0;
        let held = self.table.iter().enumerate().filter(|(_, a)| !is_fresh(a));
        to.count(held.clone().count());
        for (id, account) in held {
            let Account {
                member,
                leaf,
                locks,
                keeps_all,
                // Of positions, open orders and the table.
                positions_open: _,
                value: _,
                held_least: _,
                at_risk: _,
                held: _,
                all: _,
                reduce_only_orders: _,
                open: _,
            } = account;
            to.count(id);
            to.pod(member);
            to.pod(locks);
            to.pod(&u8::from(*keeps_all));
            leaf.save(to);
        }
    }

    /// Reads what [`Self::save`] wrote into a fresh table; returns the accounts that keep the exact sums of the
    /// margin check, which the caller makes once the orders rest.
    pub(crate) fn load(&mut self, from: &mut impl Source) -> Result<Vec<AccountId>, SnapshotError> {
        from.part(PART)?;
        let mut keep_all = Vec::new();
        let mut least = 0;
        for _ in 0..from.below(self.table.len() + 1, "number of accounts")? {
            let at = from.below(self.table.len(), "account")?;
            ensure(at >= least, "order of accounts")?;
            least = at + 1;
            let (id, account) = (AccountId(at as u32), &mut self.table[at]);
            account.member = from.pod()?;
            account.locks = from.pod()?;
            if from.flag("margin check")? {
                keep_all.push(id);
            }
            account.positions_open = account.leaf.load(from)?;
            if account.is_funded() {
                self.funded.push(id);
            }
        }
        Ok(keep_all)
    }

    /// Sum of all raw cash.
    #[must_use]
    pub fn cash_pico(&self) -> Pico {
        self.funded
            .iter()
            .map(|id| self.table[id.0 as usize].leaf.cash_pico)
            .sum()
    }

    /// Sum of all positions, per instrument: zero at any time.
    #[must_use]
    pub fn contracts(&self) -> [i64; INSTRUMENTS] {
        let mut sums = [0; INSTRUMENTS];
        let accounts = self.funded.iter().map(|id| &self.table[id.0 as usize]);
        for account in accounts.filter(|a| a.has_position()) {
            for (s, p) in sums.iter_mut().zip(&account.leaf.positions) {
                *s += p;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests;
