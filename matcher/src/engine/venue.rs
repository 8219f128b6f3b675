//! Inputs of the venue: listings, accounts, risk tables, time.

use super::{Cause, Engine, Listed, Member, Stamp};
use crate::accounts::Exposure;
use crate::batch::SealReason;
use crate::book::OrderBook;
use crate::outbox::Outbox;
use crate::settlement::Trigger;
use crate::table::{Column, RiskTable};
use firmware::limits::DOMAIN_LOTS_MAX;
use firmware::units::{AccountId, InstrumentId, PriceTicks, Side};
use firmware::wire::feed::{
    IndexUpdate, InstrumentDefinition, MarkPrice, STATE_AUCTION, STATE_DELISTED, STATE_PRE_OPEN,
    SettlementSummary, TradingStatus,
};
use firmware::wire::input::{InAccount, InInstrument, InTimer, TIMER_OPERATOR, TIMER_SEAL};
use firmware::wire::report::{CANCEL_COLLAR, CANCEL_MARGIN, SettlementReport};

impl<B: OrderBook> Engine<B> {
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
            *slot = Some(Member::new());
        }
        if let Some(member) = slot
            && !member.accounts.contains(&AccountId(m.account))
        {
            member.accounts.push(AccountId(m.account));
        }
    }

    pub(super) fn list(&mut self, stamp: &Stamp, m: &InInstrument, out: &mut Outbox) {
        let id = InstrumentId(m.instrument);
        self.book
            .list(id, PriceTicks(m.base_ticks), m.width_ticks as u32)
            .expect("instruments are checked with the configuration");
        self.widen(stamp, RiskTable::width_for(m.instrument), out);
        let tick_e9 = m.tick_micro * 1_000;
        self.instruments[m.instrument as usize] = Some(Listed {
            spec: *m,
            tick_e9,
            state: m.state,
            collects: false,
            shown: None,
        });
        if matches!(m.state, STATE_PRE_OPEN | STATE_AUCTION) {
            self.collect(id);
        }
        assert!(
            self.position_limits() <= DOMAIN_LOTS_MAX,
            "position limits are checked with the configuration"
        );
        let tick_value = i128::from(m.tick_micro) * i128::from(m.lot_e9) / 1_000_000_000;
        let coarse = |ticks: i64| match m.tick2_multiple {
            0 => firmware::wire::sbe::PRICE_NULL,
            _ => ticks * tick_e9,
        };
        out.feed(InstrumentDefinition {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            strike: if m.strike_micro == 0 {
                firmware::wire::sbe::PRICE_NULL
            } else {
                m.strike_micro * 1_000
            },
            expiry: m.expiry,
            tick_size: tick_e9,
            lot_size: m.lot_e9,
            band_low: i64::from(m.base_ticks) * tick_e9,
            band_high: i64::from(m.base_ticks + m.width_ticks - 1) * tick_e9,
            coarse_from: coarse(i64::from(m.tick2_from_ticks)),
            coarse_tick: coarse(i64::from(m.tick2_multiple)),
            symbol: m.symbol,
            instrument: m.instrument,
            kind: m.kind,
            flags: 0,
            tick_value_micro: tick_value as u32,
        });
        out.feed(TradingStatus {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            instrument: m.instrument,
            state: m.state,
            flags: 0,
            pad1: 0,
        });
    }

    /// Makes table and batch as wide as the listed instruments ask for. One batch has one width.
    fn widen(&mut self, stamp: &Stamp, columns: usize, out: &mut Outbox) {
        if columns > self.table.columns.len() {
            self.seal(stamp, SealReason::Operator, out);
            self.table = self.table.widened(columns);
            self.spare_table = Some(RiskTable::zeroed(columns));
            self.batch.widen(columns);
        }
    }

    pub(super) fn timer(&mut self, stamp: &Stamp, m: &InTimer, out: &mut Outbox) {
        self.advance_rules(stamp, out);
        self.advance_expiries(stamp, out);
        self.expire(stamp, out);
        self.show_auctions(stamp, out);
        self.sample_premiums();
        self.liquidate(stamp, out);
        self.fold_holders(stamp, out);
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
        self.advance_rules(stamp, out);
        self.advance_expiries(stamp, out);
        let mut next = self.spare_table.take().expect("there is room for a table");
        next.adopt(table);
        let taken = self.complete(stamp, &mut next);
        if taken {
            if !self.batch_allows(&next) {
                self.seal(stamp, SealReason::TableChange, out);
            }
            core::mem::swap(&mut self.table, &mut next);
        }
        self.spare_table = Some(next);
        if !taken {
            // The table in force stays, under the next number: those that follow can be adopted.
            self.table.epoch = table.epoch;
            self.counters.tables_refused += 1;
            return;
        }
        let before = self.spare_table.as_ref().expect("just kept");
        self.settled.join(before, &self.table);
        self.margin.adopt(&self.table);
        self.has_table = true;
        self.observe(stamp);
        self.rebase();
        self.tell_table(stamp, out);
        self.tell_funding(stamp, out);
        self.tell_settled(stamp, out);
        self.cancel_outside_collar(stamp, out);
        for at in 0..self.accounts.funded().len() {
            let id = self.accounts.funded()[at];
            // Accounts are few and orders are many: most are decided by their bound.
            let may_be_short = self.accounts.at(id).bound_with_orders_micro() < 0;
            if may_be_short && self.worst_with_orders_micro(id).is_some_and(|w| w < 0) {
                let cause = Cause::of(CANCEL_MARGIN);
                let count = self.sweep_account(stamp, id, cause, |_| true, out);
                if self.accounts.at(id).is_below_maintenance() {
                    self.tell_canceled_all(stamp, id, count, out);
                }
            }
        }
        self.liquidate(stamp, out);
        if !self.settled.has_started() {
            self.settled.start(0, stamp.time, &self.table);
        }
        self.settle_if_due(stamp, out);
    }

    /// Cancels what the collar left behind. Such orders stand at the head of their side.
    fn cancel_outside_collar(&mut self, stamp: &Stamp, out: &mut Outbox) {
        for i in 0..self.instruments.len() {
            if self.instruments[i].is_none() {
                continue;
            }
            let c = &self.table.columns[i];
            let (lo, width) = (c.collar_lo_ticks, c.collar_width_ticks);
            for side in [Side::Buy, Side::Sell] {
                // A closed instrument has no collar at all: (0, 0) would leave its asks standing.
                let outside = |p: PriceTicks| {
                    width == 0
                        || match side {
                            Side::Buy => p.0 >= lo + width,
                            Side::Sell => p.0 < lo,
                        }
                };
                let instrument = InstrumentId(i as u16);
                while let Some(order) = self.book.front(instrument, side)
                    && outside(order.price)
                {
                    self.remove_order(stamp, order.id, Cause::of(CANCEL_COLLAR), out);
                }
            }
        }
    }

    /// Whether the open batch can still be proven when it is sealed under `table`: the circuit knows no
    /// other table, so it also takes fees and notionals from it.
    fn batch_allows(&self, table: &RiskTable) -> bool {
        let fees = |t: &RiskTable| (t.taker_fee_ppm, t.maker_fee_ppm);
        let newly_settled = table.columns.iter().zip(&self.table.columns);
        if newly_settled
            .into_iter()
            .any(|(c, now)| c.is_settled != now.is_settled)
        {
            return false;
        }
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
                    && c.funding_micro == now.funding_micro
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

    /// Works out anew what the margin check keeps of each account.
    pub(super) fn rebase(&mut self) {
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
            let Some(listed) = listed.as_ref().filter(|l| l.state != STATE_DELISTED) else {
                continue;
            };
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
        self.hedge_vault(stamp, out);
    }
}
