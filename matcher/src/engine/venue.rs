//! Inputs of the venue: listings, accounts, deposits, risk tables, time, sessions.

use super::{CLIENT_IDS, Cause, Engine, Listed, Member, Stamp};
use crate::accounts::Exposure;
use crate::batch::{DepositRow, SealReason};
use crate::book::{Order, OrderBook};
use crate::memory::taken;
use crate::outbox::Outbox;
use crate::settlement::Trigger;
use crate::table::{Column, RiskTable};
use firmware::limits::{AMOUNT_BITS, DOMAIN_LOTS_MAX};
use firmware::units::{AccountId, InstrumentId, OrderId, PriceTicks, Side};
use firmware::wire::feed::{IndexUpdate, InstrumentDefinition, MarkPrice, SettlementSummary};
use firmware::wire::input::{
    InAccount, InDeposit, InInstrument, InSession, InTimer, SESSION_ESTABLISHED, TIMER_OPERATOR,
    TIMER_SEAL,
};
use firmware::wire::order::FLAG_CANCEL_ON_DISCONNECT;
use firmware::wire::report::{
    CANCEL_COLLAR, CANCEL_DISCONNECT, CANCEL_MARGIN, DepositReport, SettlementReport,
};

/// Why a deposit cannot be the next input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DepositError {
    /// Not the next in the L1 queue.
    #[error("deposit {got} does not follow: deposit {want} is next in the queue")]
    Order {
        /// Expected.
        want: u64,
        /// Given.
        got: u64,
    },
    /// No such account.
    #[error("deposit for account {0}, which is beyond the accounts of this domain")]
    Account(u32),
    /// Zero owner, or another than before.
    #[error("deposit for account {0} names another owner than before")]
    Owner(u32),
    /// Zero or too large.
    #[error("deposit of {0} micro-units is not in 1..2^{AMOUNT_BITS}")]
    Amount(u64),
    /// All collateral together would not fit the bits of an equity.
    #[error("deposit of {0} micro-units would bring the collateral to 2^{AMOUNT_BITS} or more")]
    Total(u64),
}

impl<B: OrderBook> Engine<B> {
    /// Whether a deposit can be sequenced now.
    ///
    /// # Errors
    /// See [`DepositError`].
    pub fn check_deposit(&self, m: &InDeposit) -> Result<(), DepositError> {
        if m.queue_index != self.next_deposit {
            return Err(DepositError::Order {
                want: self.next_deposit,
                got: m.queue_index,
            });
        }
        let found = self
            .accounts
            .get(AccountId(m.account))
            .filter(|_| m.account != 0);
        let account = found.ok_or(DepositError::Account(m.account))?;
        if m.owner == [0; 20] || account.is_funded() && account.leaf.owner != m.owner {
            return Err(DepositError::Owner(m.account));
        }
        if m.amount == 0 || m.amount >= 1 << AMOUNT_BITS {
            return Err(DepositError::Amount(m.amount));
        }
        if self.collateral_micro() + m.amount >= 1 << AMOUNT_BITS {
            return Err(DepositError::Total(m.amount));
        }
        Ok(())
    }

    pub(super) fn deposit(&mut self, stamp: &Stamp, m: &InDeposit, out: &mut Outbox) {
        self.check_deposit(m)
            .expect("a deposit is checked before it is sequenced");
        let id = AccountId(m.account);
        if !self.batch.deposit_fits(id) {
            self.seal(stamp, SealReason::Full, out);
        }
        self.batch.touch(id, &self.accounts.at(id).leaf);
        self.accounts.deposit(id, m.owner, m.amount);
        let row = DepositRow {
            queue_index: m.queue_index,
            account: id,
            owner: m.owner,
            amount_micro: m.amount,
        };
        self.batch.add_deposit(row);
        self.next_deposit += 1;
        self.deposited_micro = self.deposited_micro.wrapping_add(m.amount);
        self.counters.deposits += 1;
        let account = self.accounts.at(id);
        if account.member.0 != 0 {
            out.report(
                account.member,
                DepositReport {
                    queue_index: m.queue_index,
                    amount: m.amount as i64,
                    cash: account.cash_micro(),
                    engine_time: stamp.time.0,
                    engine_seq: stamp.seq.0,
                    account: m.account,
                    pad1: 0,
                },
            );
        }
    }

    pub(super) fn bind_account(&mut self, m: &InAccount) {
        let account = self
            .accounts
            .get_mut(AccountId(m.account))
            .expect("accounts are checked with the configuration");
        account.member = firmware::units::MemberId(m.member);
        let slot = self
            .members
            .get_mut(m.member as usize)
            .expect("members are checked with the configuration");
        if slot.is_none() {
            *slot = Some(Member {
                cod_policy: 0,
                ids: taken((0, OrderId(0)), CLIENT_IDS),
            });
        }
    }

    pub(super) fn list(&mut self, stamp: &Stamp, m: &InInstrument, out: &mut Outbox) {
        let id = InstrumentId(m.instrument);
        self.book
            .list(id, PriceTicks(m.base_ticks), m.width_ticks as u32)
            .expect("instruments are checked with the configuration");
        self.widen(stamp, RiskTable::width_for(m.instrument), out);
        let tick_e9 = m.tick_micro * 1_000;
        self.instruments[m.instrument as usize] = Some(Listed { spec: *m, tick_e9 });
        let limits = self.instruments.iter().flatten();
        let lots: i64 = limits.map(|l| l.spec.position_lots_max).sum();
        assert!(
            lots <= DOMAIN_LOTS_MAX,
            "position limits are checked with the configuration"
        );
        let tick_value = i128::from(m.tick_micro) * i128::from(m.lot_e9) / 1_000_000_000;
        out.feed(InstrumentDefinition {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            strike: if m.kind == 0 {
                firmware::wire::sbe::PRICE_NULL
            } else {
                m.strike_micro * 1_000
            },
            expiry: m.expiry,
            tick_size: tick_e9,
            lot_size: m.lot_e9,
            band_low: i64::from(m.base_ticks) * tick_e9,
            band_high: i64::from(m.base_ticks + m.width_ticks - 1) * tick_e9,
            symbol: m.symbol,
            instrument: m.instrument,
            kind: m.kind,
            flags: 0,
            tick_value_micro: tick_value as u32,
        });
    }

    /// Makes table and batch as wide as the listed instruments ask for. One batch has one width.
    fn widen(&mut self, stamp: &Stamp, columns: usize, out: &mut Outbox) {
        if columns > self.table.columns.len() {
            self.seal(stamp, SealReason::Operator, out);
            self.table = self.table.widened(columns);
            self.batch.widen(columns);
        }
    }

    pub(super) fn session(&mut self, stamp: &Stamp, m: &InSession, out: &mut Outbox) {
        let slot = self.members.get_mut(stamp.member.0 as usize);
        let Some(Some(member)) = slot else { return };
        if m.event == SESSION_ESTABLISHED {
            member.cod_policy = m.cod_policy;
            return;
        }
        let policy = member.cod_policy;
        if policy == 0 {
            return;
        }
        let flagged = |o: &Order| o.info.flags as u8 & FLAG_CANCEL_ON_DISCONNECT != 0;
        self.collect(|o| o.info.session == stamp.member.0 && (policy == 2 || flagged(o)));
        self.sweep_for(stamp, CANCEL_DISCONNECT, out);
    }

    pub(super) fn timer(&mut self, stamp: &Stamp, m: &InTimer, out: &mut Outbox) {
        self.settle_if_due(stamp, out);
        if m.flags & TIMER_SEAL != 0 {
            let operator = m.flags & TIMER_OPERATOR != 0;
            let reason = if operator {
                SealReason::Operator
            } else {
                SealReason::Timer
            };
            self.seal(stamp, reason, out);
        }
    }

    /// Adopts a risk table: closes the batch first if the new table would make it unprovable, cancels what
    /// the new table does not allow, and settles if it is due.
    pub(super) fn adopt(&mut self, stamp: &Stamp, table: &RiskTable, out: &mut Outbox) {
        assert_eq!(table.epoch, self.table.epoch + 1, "risk epochs rise by one");
        assert_eq!(
            table.columns.len(),
            self.table.columns.len(),
            "a table is as wide as the listed instruments ask for"
        );
        if !self.batch_allows(table) {
            self.seal(stamp, SealReason::TableChange, out);
        }
        self.table.adopt(table);
        self.margin.adopt(table);
        self.has_table = true;
        self.rebase();
        self.tell_table(stamp, out);
        self.collect_outside_collar();
        self.sweep_for(stamp, CANCEL_COLLAR, out);
        let accounts = &self.accounts;
        let short = |id: AccountId| {
            let account = accounts.get(id).expect("an account with orders exists");
            account.worst_with_orders_micro() < 0
        };
        // Accounts are few and orders are many: most tables leave nobody short.
        if accounts.funded().iter().any(|id| short(*id)) {
            let of_short = |o: &Order| short(o.info.account);
            Self::collect_into(&self.book, &self.instruments, &mut self.sweep, of_short);
            self.sweep_for(stamp, CANCEL_MARGIN, out);
        }
        if !self.settled.has_started() {
            self.settled.start(0, stamp.time, &self.table);
        }
        self.settle_if_due(stamp, out);
    }

    /// Collects what the collar left behind. Such orders stand at the head of their side, so the walk ends
    /// at the first price that may trade.
    fn collect_outside_collar(&mut self) {
        self.sweep.clear();
        for i in (0..self.instruments.len()).filter(|i| self.instruments[*i].is_some()) {
            let (id, c) = (InstrumentId(i as u16), &self.table.columns[i]);
            for side in [Side::Buy, Side::Sell] {
                // A closed instrument has no collar at all: (0, 0) would leave its asks standing.
                let outside = |p: &PriceTicks| {
                    c.collar_width_ticks == 0
                        || match side {
                            Side::Buy => p.0 >= c.collar_lo_ticks + c.collar_width_ticks,
                            Side::Sell => p.0 < c.collar_lo_ticks,
                        }
                };
                for price in self.book.levels(id, side).take_while(outside) {
                    let orders = self.book.orders(id, side, price);
                    self.sweep.extend(orders.map(|o| o.id));
                }
            }
        }
    }

    fn sweep_for(&mut self, stamp: &Stamp, reason: u8, out: &mut Outbox) {
        let cause = Cause {
            reason,
            ..Cause::default()
        };
        self.sweep(stamp, cause, out);
    }

    /// Whether the open batch can still be proven when it is sealed under `table`: the circuit knows no
    /// other table, so it also takes fees and notionals from it.
    fn batch_allows(&self, table: &RiskTable) -> bool {
        let fees = |t: &RiskTable| (t.taker_fee_ppm, t.maker_fee_ppm);
        let filled = self.batch.prices().iter().any(Option::is_some);
        if filled && fees(table) != fees(&self.table) {
            return false;
        }
        let healthy = |id: AccountId| {
            let a = self.accounts.get(id).expect("a touched account exists");
            a.worst_under(table) >= 0
        };
        let inside = |(i, (c, now)): (usize, (&Column, &Column))| {
            self.batch.prices()[i].is_none_or(|(lo, hi)| {
                lo.0 >= c.collar_lo_ticks
                    && hi.0 < c.collar_lo_ticks + c.collar_width_ticks
                    && c.tick_value_micro == now.tick_value_micro
            })
        };
        self.batch.touched().all(healthy)
            && table
                .columns
                .iter()
                .zip(&self.table.columns)
                .enumerate()
                .all(inside)
    }

    fn rebase(&mut self) {
        self.accounts.rebase(&self.table);
        for i in 0..self.instruments.len() {
            if self.instruments[i].is_none() {
                continue;
            }
            let id = InstrumentId(i as u16);
            for side in [Side::Buy, Side::Sell] {
                for price in self.book.levels(id, side) {
                    let lot = Exposure {
                        instrument: i,
                        side,
                        price,
                        lots: 1,
                    };
                    let risk = self.margin.lot(lot);
                    for o in self.book.orders(id, side, price) {
                        let account = self.accounts.at(o.info.account);
                        account.open_order_at(&risk, super::exposure(&o));
                    }
                }
            }
        }
    }

    fn tell_table(&self, stamp: &Stamp, out: &mut Outbox) {
        let epoch = self.table.epoch;
        out.feed(IndexUpdate {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            epoch,
            index_micro: self.table.index_micro,
            flags: 0,
            pad1: 0,
            pad2: 0,
            pad3: 0,
        });
        for (i, listed) in self.instruments.iter().enumerate() {
            let Some(listed) = listed else { continue };
            let c = &self.table.columns[i];
            out.feed(MarkPrice {
                engine_seq: stamp.seq.0,
                engine_time: stamp.time.0,
                epoch,
                mark_micro: c.mark_micro,
                collar_low: i64::from(c.collar_lo_ticks) * listed.tick_e9,
                collar_high: i64::from(c.collar_lo_ticks + c.collar_width_ticks - 1)
                    * listed.tick_e9,
                instrument: i as u16,
                flags: 0,
                pad1: 0,
                pad2: 0,
            });
        }
    }

    fn settle_if_due(&mut self, stamp: &Stamp, out: &mut Outbox) {
        if !self.settled.has_started() {
            return;
        }
        let index_micro = self.table.index_micro;
        if let Some(trigger) = self.settled.due(self.terms(), stamp.time, index_micro) {
            self.settle(stamp, trigger, out);
        }
    }

    fn settle(&mut self, stamp: &Stamp, trigger: Trigger, out: &mut Outbox) {
        let before = &self.settled;
        let no = before.no + 1;
        let (mut net, mut paid, mut delta_leg, mut residual, mut count) = (0, 0, 0, 0, 0);
        for id in self.accounts.funded() {
            let account = self.accounts.get(*id).expect("a funded account exists");
            if !account.has_position() {
                continue;
            }
            let t = before.transfer(account, &self.table);
            net += t.total;
            paid += t.total.max(0);
            delta_leg += t.delta_leg.abs();
            residual += t.residual().abs();
            count += 1;
            if account.member.0 != 0 {
                out.report(
                    account.member,
                    SettlementReport {
                        settlement_no: no,
                        transfer: t.total,
                        delta_leg: t.delta_leg,
                        residual: t.residual(),
                        collateral: account.equity_micro(),
                        maintenance: account.maintenance_micro(),
                        engine_time: stamp.time.0,
                        engine_seq: stamp.seq.0,
                        account: id.0,
                        trigger: trigger as u8,
                        pad1: 0,
                        pad2: 0,
                    },
                );
            }
        }
        assert_eq!(
            net, 0,
            "the transfers of settlement {no} do not sum to zero"
        );
        out.feed(SettlementSummary {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            settlement_no: no,
            index_before_micro: before.index_micro,
            index_after_micro: self.table.index_micro,
            transferred: paid,
            delta_leg,
            residual,
            accounts: count,
            trigger: trigger as u8,
            flags: 0,
            pad1: 0,
        });
        self.counters.settlements += 1;
        self.settled.start(no, stamp.time, &self.table);
        self.assert_conserved();
    }
}
