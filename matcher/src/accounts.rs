//! Accounts in a fixed table, each with what the margin check needs kept up to date.
//!
//! Invariant, for every account and scenario `s` (all in micro-units):
//! `floor(cash) + held[s] + reserve[s] <= floor(cash) + held[s]` after any set of fills of its open
//! orders, because `reserve[s]` is the sum of each open order's worst contribution and a fill replaces
//! that contribution by the real one, which is not worse. So an account that passed the check when
//! its last order came in can never be filled below it while the risk table stands.

use crate::batch::Leaf;
use crate::table::RiskTable;
use alloc::vec::Vec;
use firmware::limits::{ACCOUNTS, INSTRUMENTS, SCENARIOS};
use firmware::units::{AccountId, MemberId, PICO_PER_MICRO, Pico, PriceTicks, Side};

/// One account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Member that trades for it; zero: nobody yet.
    pub member: MemberId,
    /// What the state tree commits to.
    pub leaf: Leaf,
    /// Sum of position x mark: kept up to date, so that no check walks all instruments.
    value: i64,
    /// Sum of position x scenario value, per scenario.
    held: [i64; SCENARIOS],
    /// Worst contribution of all open orders, per scenario; never positive.
    reserve: [i64; SCENARIOS],
    /// Open lots to buy and to sell, per instrument.
    open: [[i64; 2]; INSTRUMENTS],
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
    const fn new() -> Self {
        Self {
            member: MemberId(0),
            leaf: Leaf {
                owner: [0; 20],
                nonce: 0,
                cash_pico: 0,
                positions: [0; INSTRUMENTS],
            },
            value: 0,
            held: [0; SCENARIOS],
            reserve: [0; SCENARIOS],
            open: [[0; 2]; INSTRUMENTS],
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

    /// Whether any position is open.
    #[must_use]
    pub fn has_position(&self) -> bool {
        self.leaf.positions.iter().any(|p| *p != 0)
    }

    /// Claim at the marks of the table in force: cash plus the value of all positions.
    #[must_use]
    pub const fn equity_micro(&self) -> i64 {
        self.cash_micro() + self.value
    }

    /// Equity in the worst scenario if no open order fills. Below zero the account is below maintenance.
    #[must_use]
    pub fn worst_micro(&self) -> i64 {
        let worst = self.held.iter().copied().fold(i64::MAX, i64::min);
        self.cash_micro() + worst
    }

    /// Equity in the worst scenario if the worst set of open orders fills.
    #[must_use]
    pub fn worst_with_orders_micro(&self) -> i64 {
        let sums = self.held.iter().zip(&self.reserve).map(|(h, r)| h + r);
        self.cash_micro() + sums.fold(i64::MAX, i64::min)
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
    /// loss free. `extra` must not be in the reserve yet; `drop` is taken out of it first.
    pub(crate) fn covers(
        &self,
        table: &RiskTable,
        extra: Option<Exposure>,
        drop: Option<Exposure>,
        debit_micro: i64,
        initial_extra_ppm: u32,
    ) -> bool {
        let [extra, drop] = [extra, drop]
            .map(|e| e.map_or(([0; SCENARIOS], 0), |e| (e.worst_of_lot(table), e.lots)));
        let mut worst = i64::MAX;
        for s in 0..SCENARIOS {
            let change = extra.1 * extra.0[s] - drop.1 * drop.0[s];
            worst = worst.min(self.held[s] + self.reserve[s] + change);
        }
        let cash = self.cash_micro() - debit_micro;
        let loss = (self.value - worst).max(0);
        let buffer = i128::from(loss) * i128::from(initial_extra_ppm) / 1_000_000;
        i128::from(cash) + i128::from(worst) >= buffer
    }

    /// Adds an open order.
    pub(crate) fn open_order(&mut self, table: &RiskTable, e: Exposure) {
        self.change_reserve(&e.worst_of_lot(table), e, 1);
    }

    /// Takes lots of an open order off: cancelled, reduced or filled.
    pub(crate) fn close_order(&mut self, table: &RiskTable, e: Exposure) {
        self.change_reserve(&e.worst_of_lot(table), e, -1);
    }

    /// Adds an open order when what its lots can lose is known, as it is for all orders of one level.
    pub(crate) fn open_order_at(&mut self, worst_of_lot: &[i64; SCENARIOS], e: Exposure) {
        self.change_reserve(worst_of_lot, e, 1);
    }

    fn change_reserve(&mut self, worst_of_lot: &[i64; SCENARIOS], e: Exposure, sign: i64) {
        for (reserve, worst) in self.reserve.iter_mut().zip(worst_of_lot) {
            *reserve += sign * e.lots * worst;
        }
        let open = &mut self.open[e.instrument][e.side as usize];
        *open += sign * e.lots;
        assert!(*open >= 0, "open lots below zero");
    }

    /// Books a fill: `cash_pico` is what the account receives, fee included.
    pub(crate) fn fill(
        &mut self,
        table: &RiskTable,
        instrument: usize,
        signed_lots: i64,
        cash_pico: Pico,
    ) {
        self.leaf.positions[instrument] += signed_lots;
        self.leaf.cash_pico += cash_pico;
        let column = &table.columns[instrument];
        self.value += signed_lots * column.mark_micro;
        for s in 0..SCENARIOS {
            self.held[s] += signed_lots * column.scenario_micro[s];
        }
    }

    /// Computes what depends on the table anew; open orders must be added again afterwards.
    fn rebase(&mut self, table: &RiskTable) {
        self.held = self.held_under(table);
        self.value = (self.leaf.positions.iter().zip(&table.columns))
            .map(|(p, c)| p * c.mark_micro)
            .sum();
        self.reserve = [0; SCENARIOS];
        self.open = [[0; 2]; INSTRUMENTS];
    }

    fn held_under(&self, table: &RiskTable) -> [i64; SCENARIOS] {
        let mut held = [0; SCENARIOS];
        for (p, c) in self.leaf.positions.iter().zip(&table.columns) {
            if *p != 0 {
                for (h, v) in held.iter_mut().zip(&c.scenario_micro) {
                    *h += p * v;
                }
            }
        }
        held
    }

    /// Equity in the worst scenario under another table, without orders.
    pub(crate) fn worst_under(&self, table: &RiskTable) -> i64 {
        let worst = self.held_under(table).into_iter().fold(i64::MAX, i64::min);
        self.cash_micro() + worst
    }
}

impl Exposure {
    /// The worst that a fill of one lot can do in each scenario: a loss, or nothing if it does not fill.
    /// The fee is whole micro-units a lot, rounded up, so that partial fills never cost more than reserved.
    /// A gain is cut before it is multiplied: that of a far ask would be more than 64 bits hold.
    pub(crate) fn worst_of_lot(self, table: &RiskTable) -> [i64; SCENARIOS] {
        let c = &table.columns[self.instrument];
        let lot_price = i64::from(self.price.0) * i64::from(c.tick_value_micro);
        let rate = table.taker_fee_ppm.max(table.maker_fee_ppm);
        let fee = (lot_price * i64::from(rate) + 999_999) / 1_000_000;
        let sign = self.side.sign();
        c.scenario_micro
            .map(|v| (sign * (v - lot_price) - fee).min(0))
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
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(
            capacity <= ACCOUNTS,
            "more accounts than the state tree has leaves"
        );
        Self {
            table: alloc::vec![Account::new(); capacity],
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

    /// Accounts that were ever funded, by rising id.
    #[must_use]
    pub fn funded(&self) -> &[AccountId] {
        &self.funded
    }

    /// Books a deposit; the first one sets the owner.
    pub(crate) fn deposit(&mut self, id: AccountId, owner: [u8; 20], amount_micro: u64) {
        let account = self.at(id);
        if !account.is_funded() {
            account.leaf.owner = owner;
            if let Err(at) = self.funded.binary_search(&id) {
                self.funded.insert(at, id);
            }
        }
        self.at(id).leaf.cash_pico += i128::from(amount_micro) * PICO_PER_MICRO;
    }

    pub(crate) fn rebase(&mut self, table: &RiskTable) {
        for id in &self.funded {
            self.table[id.0 as usize].rebase(table);
        }
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
        for id in &self.funded {
            for (s, p) in sums
                .iter_mut()
                .zip(&self.table[id.0 as usize].leaf.positions)
            {
                *s += p;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use firmware::limits::{ORDER_LOTS_MAX, PRICE_BITS, TICK_VALUE_BITS};

    #[test]
    fn the_largest_ask_at_the_highest_price_reserves_nothing() {
        let mut table = RiskTable::zeroed();
        table.columns[0].tick_value_micro = (1 << TICK_VALUE_BITS) - 1;
        let ask = Exposure {
            instrument: 0,
            side: Side::Sell,
            price: PriceTicks((1 << PRICE_BITS) - 1),
            lots: ORDER_LOTS_MAX,
        };
        assert_eq!(ask.worst_of_lot(&table), [0; SCENARIOS]);
    }
}
