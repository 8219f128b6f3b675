//! The liquidation ladder: cancel, close step by step inside the collar, insurance fund, deleveraging by rank,
//! charges. `RISK.md`, section "Liquidation", has every rule; `SlotKind` says what a batch shows of it.
//!
//! A batch must show that an account began below maintenance, so the open batch is closed before a liquidation and
//! after it, and each fill of a liquidation is looked at before the next.

use super::incoming::{Incoming, passing_id};
use super::matching::{Leg, report_fill};
use super::{Cause, Engine, Stamp};
use crate::batch::{FillRow, SealReason, SlotKind};
use crate::book::OrderBook;
use crate::outbox::Outbox;
use alloc::vec::Vec;
use core::cmp::Reverse;
use firmware::limits::{INSTRUMENTS, ORDER_LOTS_MAX};
use firmware::units::{AccountId, InstrumentId, OrderId, PICO_PER_MICRO, Pico, PriceTicks, Side};
use firmware::wire::feed::{
    LiquidationStep, STATE_OPEN, STEP_CANCEL, STEP_CHARGE, STEP_CLOSE, STEP_DELEVERAGE, STEP_FUND,
};
use firmware::wire::order::{FLAG_REDUCE_ONLY, STP_CANCEL_MAKER};
use firmware::wire::report::{CANCEL_MARGIN, LiquidationReport};
use firmware::wire::sbe::ID16_NULL;

/// Who is being liquidated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acting {
    account: AccountId,
    /// Whoever else is touched is deleveraged.
    deleverages: bool,
}

/// What a step is told of.
#[derive(Clone, Copy, Debug)]
struct Step {
    step: u8,
    instrument: u16,
    quantity: i64,
    /// Paid by the account; negative is received.
    amount_pico: Pico,
    is_own: bool,
}

impl<B: OrderBook> Engine<B> {
    /// What kind of slot an account gets that the batch touches now.
    pub(super) fn kind_of(&self, id: AccountId) -> SlotKind {
        let account = self.accounts.get(id).expect("a touched account exists");
        match self.acting {
            Some(acting) if acting.account == id || acting.deleverages => {
                if account.is_below_maintenance() {
                    SlotKind::Liquidated
                } else if acting.account == id {
                    SlotKind::Normal
                } else {
                    SlotKind::Deleveraged
                }
            }
            _ => SlotKind::Normal,
        }
    }

    /// One round of the ladder over all accounts below maintenance, by rising number.
    pub(super) fn liquidate(&mut self, stamp: &Stamp, out: &mut Outbox) {
        if !self.rules.liquidation() || !self.has_table {
            return;
        }
        let mut has_begun = false;
        for at in 0..self.accounts.funded().len() {
            let id = self.accounts.funded()[at];
            if !self.accounts.at(id).is_below_maintenance() {
                continue;
            }
            if !has_begun {
                self.seal(stamp, SealReason::Liquidation, out);
                has_begun = true;
            }
            let cause = Cause::of(CANCEL_MARGIN);
            let count = self.sweep_account(stamp, id, cause, |_| true, out);
            self.tell_canceled_all(stamp, id, count, out);
            self.acting = Some(Acting {
                account: id,
                deleverages: false,
            });
            self.close_out(stamp, id, out);
            self.acting = None;
        }
        if !has_begun {
            return;
        }
        self.seal(stamp, SealReason::Liquidation, out);
        for at in 0..self.accounts.funded().len() {
            let id = self.accounts.funded()[at];
            let account = self.accounts.at(id);
            if account.is_below_maintenance() && account.equity_pico() <= 0 {
                self.acting = Some(Acting {
                    account: id,
                    deleverages: true,
                });
                self.resolve(stamp, id, out);
                self.acting = None;
                self.seal(stamp, SealReason::Liquidation, out);
            }
        }
    }

    /// Closes positions in the book: a slice of each, or all of them when nothing is left to lose.
    fn close_out(&mut self, stamp: &Stamp, id: AccountId, out: &mut Outbox) {
        let mut is_done = [false; INSTRUMENTS];
        loop {
            let (account, margin) = (self.accounts.get(id).expect("it exists"), &self.margin);
            let open = account.leaf.positions.iter().enumerate();
            let open = open.filter(|(i, p)| **p != 0 && !is_done[*i]);
            // What costs most in the worst scenario goes first.
            let next = open.max_by_key(|(i, _)| (account.loss_of(margin, *i), Reverse(*i)));
            let Some((i, position)) = next.map(|(i, p)| (i, *p)) else {
                return;
            };
            is_done[i] = true;
            let all = position.abs();
            let slice = if account.equity_pico() <= 0 {
                all
            } else {
                let ppm = i128::from(self.rules.now.slice_ppm);
                ((i128::from(all) * ppm + 999_999) / 1_000_000) as i64
            };
            if self.close_slice(stamp, id, i, slice, out) {
                return;
            }
        }
    }

    /// Closes up to `lots` of one position, fill by fill; `true` when the account has recovered.
    fn close_slice(
        &mut self,
        stamp: &Stamp,
        id: AccountId,
        i: usize,
        lots: i64,
        out: &mut Outbox,
    ) -> bool {
        let (mut closed, mut paid, mut has_recovered) = (0, 0, false);
        let instrument = InstrumentId(i as u16);
        while closed < lots {
            has_recovered = self.has_recovered(id);
            if has_recovered {
                break;
            }
            let is_open = self.listed(i).state == STATE_OPEN;
            let Some((lo, hi)) = self.collar(i).ok().filter(|_| is_open) else {
                break;
            };
            let account = self.accounts.at(id);
            let (position, member) = (account.leaf.positions[i], account.member);
            let side = if position > 0 { Side::Sell } else { Side::Buy };
            let limit = PriceTicks(if side == Side::Buy { hi } else { lo });
            let front = self.book.front(instrument, side.opposite());
            let Some(maker) = front.filter(|_| self.crosses(instrument, side, limit)) else {
                break;
            };
            let row = FillRow {
                maker: maker.info.account,
                taker: id,
                instrument,
                price: maker.price,
                lots: maker.lots.min(lots - closed) as u64,
                taker_buys: side == Side::Buy,
            };
            // Once above maintenance it is only closed further in the batch that saw it below.
            let is_sound = !self.accounts.at(id).is_below_maintenance();
            if is_sound && !self.batch.fill_fits(&row) {
                break;
            }
            let order = Incoming {
                name: passing_id(stamp, 0),
                member,
                account: id,
                instrument,
                side,
                limit: maker.price,
                lots: row.lots as i64,
                filled: 0,
                takes_at_once: true,
                fills_whole: false,
                is_quote: false,
                stp_mode: STP_CANCEL_MAKER,
                flags: FLAG_REDUCE_ONLY,
                mmp_group: 0,
                smp_id: 0,
                expire_time: 0,
                cl_ord_id: 0,
                client_seq: 0,
                rx_time: 0,
            };
            let own = Stamp { member, ..*stamp };
            let (left, _) = self.take(&own, &order, out);
            let filled = order.lots - left;
            if filled == 0 {
                break;
            }
            closed += filled;
            paid += self.penalize(id, &row, filled);
        }
        if closed > 0 {
            let step = Step {
                step: STEP_CLOSE,
                instrument: instrument.0,
                quantity: closed,
                amount_pico: paid,
                is_own: true,
            };
            self.tell_step(stamp, id, step, out);
        }
        has_recovered || self.has_recovered(id)
    }

    /// Whether an account is above the level at which its liquidation stops, or may not be closed further in this
    /// batch.
    fn has_recovered(&self, id: AccountId) -> bool {
        let account = self.accounts.get(id).expect("it exists");
        if account.is_below_maintenance() {
            return false;
        }
        let slot = self.batch.slot(id);
        let began_below = slot.is_some_and(|t| t.kind == SlotKind::Liquidated);
        let exit_ppm = i128::from(self.rules.now.exit_extra_ppm);
        let kept_free = i128::from(account.maintenance_micro()) * exit_ppm / 1_000_000;
        !began_below || i128::from(account.worst_micro()) >= kept_free
    }

    /// The penalty of a fill; never more than the claim that is left.
    fn penalize(&mut self, id: AccountId, row: &FillRow, lots: i64) -> Pico {
        let column = &self.table.columns[usize::from(row.instrument.0)];
        let notional =
            i128::from(lots) * i128::from(row.price.0) * i128::from(column.tick_value_micro);
        let whole = notional * i128::from(self.table.liquidation_fee_ppm);
        let slot = self.batch.slot_mut(id);
        let account = self.accounts.at(id);
        if slot.kind != SlotKind::Liquidated {
            return 0;
        }
        let paid = whole.min(account.equity_pico()).max(0);
        account.leaf.cash_pico -= paid;
        slot.penalty_pico += paid;
        self.fund_pico += paid;
        paid
    }

    /// An account whose claim is used up: what is open is closed against others, what is missing is paid.
    fn resolve(&mut self, stamp: &Stamp, id: AccountId, out: &mut Outbox) {
        let mut closed: Vec<(AccountId, i64)> = Vec::new();
        for i in 0..self.table.columns.len() {
            self.deleverage(stamp, id, i, &mut closed, out);
        }
        self.draw(stamp, id, out);
        if self.accounts.at(id).equity_pico() < 0 {
            self.charge_closed(stamp, id, &closed, out);
            self.charge_ranked(stamp, id, out);
        }
    }

    /// Holders on the other side of a position, those that have gained most with most leverage first.
    fn ranked(&self, id: AccountId, wanted: impl Fn(&[i64]) -> bool) -> Vec<AccountId> {
        let mut ranked: Vec<((i128, i128), AccountId)> = Vec::new();
        for other in self.accounts.funded() {
            let account = self.accounts.get(*other).expect("a funded account exists");
            if *other == id || !wanted(&account.leaf.positions) {
                continue;
            }
            let gain = self.settled.transfer(account, &self.table).total.max(0);
            let equity = i128::from(account.equity_micro().max(1));
            let leverage = i128::from(account.maintenance_micro()) * 1_000_000 / equity;
            ranked.push(((i128::from(gain) * leverage, leverage), *other));
        }
        ranked.sort_by_key(|(rank, other)| (Reverse(*rank), *other));
        ranked.into_iter().map(|(_, other)| other).collect()
    }

    /// Closes a position against holders of the other side, at the mark.
    fn deleverage(
        &mut self,
        stamp: &Stamp,
        id: AccountId,
        i: usize,
        closed: &mut Vec<(AccountId, i64)>,
        out: &mut Outbox,
    ) {
        let position = self.accounts.at(id).leaf.positions[i];
        let column = self.table.columns[i];
        if position == 0 || column.is_settled != 0 || column.collar_width_ticks == 0 {
            return;
        }
        let tick = i64::from(column.tick_value_micro);
        let mark = (column.mark_micro + tick / 2).div_euclid(tick);
        let lo = i64::from(column.collar_lo_ticks);
        let hi = lo + i64::from(column.collar_width_ticks) - 1;
        let price = PriceTicks(mark.clamp(lo, hi) as i32);
        let mut open = position.abs();
        for other in self.ranked(id, |held| held[i].signum() == -position.signum()) {
            if open == 0 || !self.accounts.at(id).is_below_maintenance() {
                return;
            }
            let held = self.accounts.at(other).leaf.positions[i];
            let most = open.min(held.abs()).min(ORDER_LOTS_MAX);
            let lots = self.can_give(other, i, held.signum() * most, price);
            if lots == 0 {
                continue;
            }
            let row = FillRow {
                maker: other,
                taker: id,
                instrument: InstrumentId(i as u16),
                price,
                lots: lots as u64,
                taker_buys: position < 0,
            };
            self.make_room_for(stamp, &row, out);
            let booked = self.book_fill(stamp, &row, out);
            let leg = |engine: &mut Self, account: AccountId, side: Side| Leg {
                member: engine.accounts.at(account).member,
                account,
                order_id: OrderId(0),
                cl_ord_id: 0,
                side,
                leaves: 0,
                filled: lots,
            };
            let side = if row.taker_buys {
                Side::Buy
            } else {
                Side::Sell
            };
            let (taker, maker) = (leg(self, id, side), leg(self, other, side.opposite()));
            for (leg, liquidity) in [(taker, 1), (maker, 0)] {
                if leg.member.0 != 0 {
                    report_fill(stamp, &row, &booked, &leg, liquidity, out);
                }
            }
            let step = Step {
                step: STEP_DELEVERAGE,
                instrument: row.instrument.0,
                quantity: lots,
                amount_pico: 0,
                is_own: false,
            };
            self.tell_step(stamp, other, step, out);
            self.report_step(
                stamp,
                id,
                Step {
                    is_own: true,
                    ..step
                },
                out,
            );
            self.after_others_fill(stamp, other, row.instrument, out);
            open -= lots;
            closed.push((other, lots));
        }
    }

    /// Lots of `signed_most` that an account can give up at a price without going below maintenance.
    fn can_give(&mut self, id: AccountId, i: usize, signed_most: i64, price: PriceTicks) -> i64 {
        let account = self.accounts.get(id).expect("it exists");
        if account.is_below_maintenance() {
            return signed_most.abs();
        }
        let tick_value = i128::from(self.table.columns[i].tick_value_micro);
        let fee_ppm = i128::from(self.table.maker_fee_ppm);
        let mut lots = signed_most.abs();
        while lots > 0 {
            let notional = i128::from(lots) * i128::from(price.0) * tick_value;
            let cash = i128::from(signed_most.signum()) * notional * PICO_PER_MICRO;
            let signed = -signed_most.signum() * lots;
            let cash = cash - notional * fee_ppm;
            if account.worst_after_pico(&self.margin, i, signed, cash) >= 0 {
                return lots;
            }
            lots /= 2;
        }
        0
    }

    /// What another account's orders were checked against has changed: what no longer fits goes.
    fn after_others_fill(
        &mut self,
        stamp: &Stamp,
        id: AccountId,
        instrument: InstrumentId,
        out: &mut Outbox,
    ) {
        self.trim_reduce_only(stamp, id, instrument, out);
        if self.worst_with_orders_micro(id).is_some_and(|w| w < 0) {
            self.sweep_account(stamp, id, Cause::of(CANCEL_MARGIN), |_| true, out);
        }
    }

    /// The insurance fund pays what is missing to zero, as far as it can.
    fn draw(&mut self, stamp: &Stamp, id: AccountId, out: &mut Outbox) {
        let missing = -self.accounts.at(id).equity_pico();
        if missing <= 0 || self.fund_pico == 0 {
            return;
        }
        if !self.batch.accounts_fit(&[id]) {
            self.seal(stamp, SealReason::Full, out);
        }
        self.touch(stamp, id, out);
        let paid = missing.min(self.fund_pico);
        self.fund_pico -= paid;
        self.support(id, paid);
        let step = Step {
            step: STEP_FUND,
            instrument: ID16_NULL,
            quantity: 0,
            amount_pico: -paid,
            is_own: true,
        };
        self.tell_step(stamp, id, step, out);
    }

    fn support(&mut self, id: AccountId, paid: Pico) {
        self.accounts.at(id).leaf.cash_pico += paid;
        self.batch.slot_mut(id).support_pico += paid;
    }

    /// What is missing is shared by those whose positions were closed, in proportion to the lots.
    fn charge_closed(
        &mut self,
        stamp: &Stamp,
        id: AccountId,
        closed: &[(AccountId, i64)],
        out: &mut Outbox,
    ) {
        let missing = -self.accounts.at(id).equity_pico();
        let all: i128 = closed.iter().map(|(_, lots)| i128::from(*lots)).sum();
        for (other, lots) in closed {
            let share = missing * i128::from(*lots) / all;
            self.charge(stamp, id, *other, share, out);
        }
        // What rounding left over, and what some could not pay.
        for (other, _) in closed {
            let missing = -self.accounts.at(id).equity_pico();
            self.charge(stamp, id, *other, missing, out);
        }
    }

    /// What is missing still is paid by whoever holds positions, by rank.
    fn charge_ranked(&mut self, stamp: &Stamp, id: AccountId, out: &mut Outbox) {
        for other in self.ranked(id, |held| held.iter().any(|p| *p != 0)) {
            let missing = -self.accounts.at(id).equity_pico();
            self.charge(stamp, id, other, missing, out);
        }
    }

    /// Moves up to `wanted` from one account to another; nobody is brought below maintenance.
    fn charge(
        &mut self,
        stamp: &Stamp,
        to: AccountId,
        from: AccountId,
        wanted: Pico,
        out: &mut Outbox,
    ) {
        let spare = self
            .accounts
            .at(from)
            .worst_after_pico(&self.margin, 0, 0, 0);
        let paid = wanted.min(spare);
        if paid <= 0 {
            return;
        }
        if !self.batch.accounts_fit(&[to, from]) {
            self.seal(stamp, SealReason::Full, out);
        }
        self.touch(stamp, to, out);
        self.touch(stamp, from, out);
        self.accounts.at(from).leaf.cash_pico -= paid;
        self.batch.slot_mut(from).charge_pico += paid;
        self.support(to, paid);
        let step = Step {
            step: STEP_CHARGE,
            instrument: ID16_NULL,
            quantity: 0,
            amount_pico: paid,
            is_own: false,
        };
        self.tell_step(stamp, from, step, out);
        if self.worst_with_orders_micro(from).is_some_and(|w| w < 0) {
            self.sweep_account(stamp, from, Cause::of(CANCEL_MARGIN), |_| true, out);
        }
    }

    /// Tells that the orders of an account below maintenance were cancelled.
    pub(super) fn tell_canceled_all(
        &mut self,
        stamp: &Stamp,
        id: AccountId,
        count: u32,
        out: &mut Outbox,
    ) {
        if count > 0 && self.rules.liquidation() {
            let step = Step {
                step: STEP_CANCEL,
                instrument: ID16_NULL,
                quantity: i64::from(count),
                amount_pico: 0,
                is_own: true,
            };
            self.tell_step(stamp, id, step, out);
        }
    }

    fn tell_step(&mut self, stamp: &Stamp, id: AccountId, step: Step, out: &mut Outbox) {
        self.counters.liquidation_steps += 1;
        out.feed(LiquidationStep {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            amount: step.amount_pico.abs().div_euclid(PICO_PER_MICRO) as i64,
            fund: self.fund_pico.div_euclid(PICO_PER_MICRO) as i64,
            quantity: step.quantity,
            instrument: step.instrument,
            step: step.step,
            flags: 0,
            pad1: 0,
        });
        self.report_step(stamp, id, step, out);
    }

    fn report_step(&self, stamp: &Stamp, id: AccountId, step: Step, out: &mut Outbox) {
        let account = self.accounts.get(id).expect("it exists");
        if account.member.0 == 0 {
            return;
        }
        out.report(
            account.member,
            LiquidationReport {
                amount: -(-step.amount_pico).div_euclid(PICO_PER_MICRO) as i64,
                quantity: step.quantity,
                equity: account.equity_micro(),
                maintenance: account.maintenance_micro(),
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: id.0,
                instrument: step.instrument,
                step: step.step,
                is_own: u8::from(step.is_own),
            },
        );
    }
}
