//! Requests of members: orders, replaces, cancels, withdrawals.

use super::{CLIENT_IDS, Cause, Engine, Stamp, exposure, feed_deleted, refuse};
use crate::accounts::Exposure;
use crate::batch::{FillRow, SealReason, WithdrawalRow};
use crate::book::{Order, OrderBook, OrderInfo, reaches};
use crate::outbox::Outbox;
use bytemuck::Zeroable;
use firmware::limits::FILLS_PER_ORDER_MAX;
use firmware::reject::RejectCode;
use firmware::units::{
    AccountId, ClOrdId, InstrumentId, MemberId, OrderId, PICO_PER_MICRO, PriceTicks, Side, TimeNs,
};
use firmware::wire::feed::{OrderAdd, OrderExecuted};
use firmware::wire::input::{InCancel, InMassCancel, InNewOrder, InRefused, InReplace, InWithdraw};
use firmware::wire::order::{
    Cancel, FLAG_POST_ONLY, FLAG_REDUCE_ONLY, NewOrder, ORD_MARKET, Replace, STP_CANCEL_BOTH,
    STP_CANCEL_MAKER, STP_CANCEL_TAKER, TIF_FOK, TIF_GTC, Withdraw,
};
use firmware::wire::report::{
    Accepted, CANCEL_FILL_LIMIT, CANCEL_IOC, CANCEL_MASS, CANCEL_REQUESTED, CANCEL_STP, Canceled,
    Filled, MassCancelAck, Replaced, WithdrawReport,
};
use firmware::wire::sbe::{BYTE_NULL, ID16_NULL, Message};

/// Marks the id of an order that never rests, and of one whose place is not known yet.
const PASSING: u64 = 1 << 63;

/// Where a resting order's self-trade mode stands in its flags, above those of the wire.
const STP_SHIFT: u32 = 8;

/// A checked order on its way into the book.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    account: AccountId,
    instrument: InstrumentId,
    side: Side,
    limit: PriceTicks,
    lots: i64,
    rests: bool,
    stp_mode: u8,
    flags: u8,
    cl_ord_id: u64,
    client_seq: u64,
    rx_time: u64,
}

impl Incoming {
    fn exposure(&self, lots: i64) -> Exposure {
        Exposure {
            instrument: self.instrument.0 as usize,
            side: self.side,
            price: self.limit,
            lots,
        }
    }
}

/// Why matching ended before the order was filled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing more to match with.
    Exhausted,
    /// Self-trade prevention stopped it.
    SelfTrade,
    /// The bound on fills.
    FillLimit,
}

impl<B: OrderBook> Engine<B> {
    pub(super) fn new_order(&mut self, stamp: &Stamp, m: &InNewOrder, out: &mut Outbox) {
        self.counters.requests += 1;
        let incoming = self.incoming(m);
        if let Err(code) = self.check_new(stamp, m, &incoming) {
            let refusal = InRefused {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                rx_time: m.rx_time,
                account: m.account,
                instrument: m.instrument,
                ref_template: NewOrder::TEMPLATE,
                ..InRefused::zeroed()
            };
            return reject(stamp, refusal, code, out);
        }
        self.counters.acks += 1;
        let name = self.name(stamp, &incoming);
        out.report(
            stamp.member,
            Accepted {
                order_id: name.0,
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                price: self.price_e9(incoming.instrument, incoming.limit),
                quantity: m.lots,
                rx_time: m.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: m.account,
                instrument: m.instrument,
                side: m.side,
                flags: m.flags,
            },
        );
        self.place(stamp, &incoming, name, out);
    }

    /// The order as it goes into the book; a market order's limit is the far end of the collar.
    fn incoming(&self, m: &InNewOrder) -> Incoming {
        let side = Side::from_wire(m.side).expect("the gate checked the side");
        let limit = if m.ord_type == ORD_MARKET {
            // Where nothing may trade, the check refuses it.
            let (lo, hi) = self.collar(m.instrument as usize).unwrap_or_default();
            if side == Side::Buy { hi } else { lo }
        } else {
            m.price_ticks
        };
        Incoming {
            account: AccountId(m.account),
            instrument: InstrumentId(m.instrument),
            side,
            limit: PriceTicks(limit),
            lots: m.lots,
            rests: m.time_in_force == TIF_GTC,
            stp_mode: m.stp_mode,
            flags: m.flags,
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            rx_time: m.rx_time,
        }
    }

    fn check_new(
        &self,
        stamp: &Stamp,
        m: &InNewOrder,
        incoming: &Incoming,
    ) -> Result<(), RejectCode> {
        self.check_incoming(stamp, incoming, None)?;
        if m.time_in_force == TIF_FOK && !self.can_fill_whole(incoming) {
            return Err(RejectCode::CannotFillWhole);
        }
        Ok(())
    }

    /// The checks that a new order and a replace share; `old` is the order that a replace takes off.
    fn check_incoming(
        &self,
        stamp: &Stamp,
        n: &Incoming,
        old: Option<&Order>,
    ) -> Result<(), RejectCode> {
        let i = n.instrument.0 as usize;
        let (lo, hi) = self.collar(i)?;
        let account = self
            .accounts
            .get(n.account)
            .filter(|a| a.is_funded())
            .ok_or(RejectCode::NoSuchAccount)?;
        assert_eq!(
            account.member, stamp.member,
            "the gate let a stranger through"
        );
        let position = account.leaf.positions[i];
        let reduces = n.flags & FLAG_REDUCE_ONLY != 0;
        if reduces {
            let reducible = (-n.side.sign() * position).max(0) - account.open_lots(i, n.side);
            if n.lots > reducible {
                return Err(RejectCode::WouldIncrease);
            }
        } else if self.is_stale(stamp.time) {
            return Err(RejectCode::OracleStale);
        }
        // Reckoned, not branched on: sides are as good as random.
        let end = [hi, lo][n.side as usize];
        if (i64::from(n.limit.0) - i64::from(end)) * n.side.sign() > 0 {
            return Err(RejectCode::PriceOutOfCollar);
        }
        if n.flags & FLAG_POST_ONLY != 0 && self.crosses(n.instrument, n.side, n.limit) {
            return Err(RejectCode::WouldTake);
        }
        let kept = account.open_lots(i, n.side) - old.map_or(0, |o| o.lots);
        let reach = n.side.sign() * position + kept + n.lots;
        if reach > self.listed(i).spec.position_lots_max {
            return Err(RejectCode::PositionLimit);
        }
        if account.is_below_maintenance() {
            return Err(RejectCode::BelowMaintenance);
        }
        let extra = Some(n.exposure(n.lots));
        let drop = old.map(exposure);
        // An account between maintenance and initial margin must be able to take risk off.
        let initial_extra_ppm = if reduces {
            0
        } else {
            self.domain.initial_extra_ppm
        };
        if !account.covers(&self.margin, extra, drop, 0, initial_extra_ppm) {
            return Err(RejectCode::InsufficientMargin);
        }
        if n.rests && old.is_none() && self.book.live() == self.book.capacity() {
            return Err(RejectCode::BookFull);
        }
        Ok(())
    }

    /// Lowest and highest price that may trade.
    fn collar(&self, instrument: usize) -> Result<(i32, i32), RejectCode> {
        let column = &self.table.columns[instrument];
        if !self.has_table || column.collar_width_ticks == 0 {
            return Err(RejectCode::Halted);
        }
        let lo = column.collar_lo_ticks;
        Ok((lo, lo + column.collar_width_ticks - 1))
    }

    fn is_stale(&self, now: TimeNs) -> bool {
        now.0.saturating_sub(self.oracle_time.0) > self.domain.oracle_stale_ns
    }

    fn crosses(&self, instrument: InstrumentId, side: Side, limit: PriceTicks) -> bool {
        let other = side.opposite();
        self.book
            .best(instrument, other)
            .is_some_and(|best| reaches(other, best, limit))
    }

    /// Whether a fill-or-kill order fills whole within the bound on fills, its own account's orders left out.
    fn can_fill_whole(&self, n: &Incoming) -> bool {
        let other = n.side.opposite();
        let within = self
            .book
            .levels(n.instrument, other)
            .take_while(|p| reaches(other, *p, n.limit));
        let orders = within
            .flat_map(|p| self.book.orders(n.instrument, other, p))
            .take(FILLS_PER_ORDER_MAX);
        let mut open = n.lots;
        for maker in orders {
            if maker.info.account != n.account {
                open -= maker.lots;
            } else if n.stp_mode != STP_CANCEL_MAKER {
                return false;
            }
            if open <= 0 {
                return true;
            }
        }
        false
    }

    /// The name of an order that is about to be placed: that of its place in the book if it meets nothing,
    /// and a passing one, given back by `place`, if it trades first or never rests.
    fn name(&self, stamp: &Stamp, n: &Incoming) -> OrderId {
        if n.rests && !self.crosses(n.instrument, n.side, n.limit) {
            self.book.next_id().expect("room was checked before")
        } else {
            OrderId(PASSING | stamp.seq.0)
        }
    }

    /// Matches an order and rests what is left of it; `name` is what [`Self::name`] gave it.
    fn place(&mut self, stamp: &Stamp, n: &Incoming, name: OrderId, out: &mut Outbox) {
        let passes = name.0 & PASSING != 0;
        let (open, end) = if passes {
            self.take(stamp, n, out)
        } else {
            (n.lots, End::Exhausted)
        };
        if open == 0 {
            return;
        }
        if n.rests && end == End::Exhausted {
            let info = OrderInfo {
                account: n.account,
                session: stamp.member.0,
                cl_ord_id: ClOrdId(n.cl_ord_id),
                flags: u32::from(n.flags) | u32::from(n.stp_mode) << STP_SHIFT,
            };
            let id = self.book.insert(n.instrument, n.side, n.limit, open, info);
            let id = id.expect("band, size and room were checked before");
            // Only what rests is reserved: nothing looks at the account's reserve while the order passes.
            self.accounts
                .at(n.account)
                .open_order(&self.margin, n.exposure(open));
            if passes {
                out.rename(name, id);
            } else {
                assert_eq!(id, name, "the book gave another place than it announced");
            }
            self.remember(stamp.member, n.cl_ord_id, id);
            out.feed(OrderAdd {
                engine_seq: stamp.seq.0,
                engine_time: stamp.time.0,
                order_id: id.0,
                price: self.price_e9(n.instrument, n.limit),
                quantity: open,
                instrument: n.instrument.0,
                side: n.side as u8,
                flags: 0,
                pad1: 0,
            });
            return;
        }
        out.report(
            stamp.member,
            Canceled {
                order_id: name.0,
                cl_ord_id: n.cl_ord_id,
                request_cl_ord_id: 0,
                client_seq: n.client_seq,
                quantity: open,
                leaves: 0,
                rx_time: n.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: n.account.0,
                instrument: n.instrument.0,
                side: n.side as u8,
                reason: match end {
                    End::Exhausted => CANCEL_IOC,
                    End::SelfTrade => CANCEL_STP,
                    End::FillLimit => CANCEL_FILL_LIMIT,
                },
            },
        );
    }

    /// Trades at the makers' prices until the order is filled or must stop; returns the lots left open.
    fn take(&mut self, stamp: &Stamp, n: &Incoming, out: &mut Outbox) -> (i64, End) {
        let other = n.side.opposite();
        let mut open = n.lots;
        for _ in 0..FILLS_PER_ORDER_MAX {
            // Most orders meet nothing: the best price is looked at before an order is touched.
            if open == 0 || !self.crosses(n.instrument, n.side, n.limit) {
                return (open, End::Exhausted);
            }
            let front = self.book.front(n.instrument, other);
            let maker = front.expect("the best level holds an order");
            if maker.info.account == n.account {
                if n.stp_mode != STP_CANCEL_TAKER {
                    self.remove_order(
                        stamp,
                        maker.id,
                        Cause {
                            reason: CANCEL_STP,
                            ..Cause::default()
                        },
                        out,
                    );
                }
                if n.stp_mode == STP_CANCEL_TAKER || n.stp_mode == STP_CANCEL_BOTH {
                    return (open, End::SelfTrade);
                }
                continue;
            }
            let lots = open.min(maker.lots);
            self.trade(stamp, n, &maker, lots, open - lots, out);
            open -= lots;
        }
        let more = open > 0 && self.crosses(n.instrument, n.side, n.limit);
        (open, if more { End::FillLimit } else { End::Exhausted })
    }

    /// One fill: book, accounts, batch, reports.
    fn trade(
        &mut self,
        stamp: &Stamp,
        n: &Incoming,
        maker: &Order,
        lots: i64,
        taker_left: i64,
        out: &mut Outbox,
    ) {
        let i = n.instrument.0 as usize;
        let maker_account = maker.info.account;
        let row = FillRow {
            maker: maker_account,
            taker: n.account,
            instrument: n.instrument,
            price: maker.price,
            lots: lots as u64,
            taker_buys: n.side == Side::Buy,
        };
        let column = &self.table.columns[i];
        let offset = maker.price.0 - column.collar_lo_ticks;
        assert!(
            offset >= 0 && offset < column.collar_width_ticks,
            "a fill outside the collar"
        );
        if !self.batch.fill_fits(&row) {
            self.seal(stamp, SealReason::Full, out);
        }
        for id in [maker_account, n.account] {
            self.batch.touch(id, &self.accounts.at(id).leaf);
        }
        self.batch.add_fill(row);

        let table = &*self.table;
        let notional = i128::from(lots)
            * i128::from(maker.price.0)
            * i128::from(table.columns[i].tick_value_micro);
        let taker_fee = notional * i128::from(table.taker_fee_ppm);
        let maker_fee = notional * i128::from(table.maker_fee_ppm);
        let maker_left = self.book.fill(maker.id, lots);
        let signed = n.side.sign() * lots;
        let paid = i128::from(n.side.sign()) * notional * PICO_PER_MICRO;

        let taker = self.accounts.at(n.account);
        taker.fill(&self.margin, i, signed, -paid - taker_fee);
        let resting = self.accounts.at(maker_account);
        resting.close_order(
            &self.margin,
            Exposure {
                lots,
                ..exposure(maker)
            },
        );
        resting.fill(&self.margin, i, -signed, paid - maker_fee);
        self.fund_pico += taker_fee + maker_fee;

        let trade_id = self.next_trade;
        self.next_trade += 1;
        self.counters.fills += 1;
        let price = self.price_e9(n.instrument, maker.price);
        let fill = Filled {
            order_id: PASSING | stamp.seq.0,
            cl_ord_id: n.cl_ord_id,
            trade_id,
            price,
            quantity: lots,
            leaves: taker_left,
            filled: 0,
            fee: fee_micro(taker_fee),
            engine_time: stamp.time.0,
            engine_seq: stamp.seq.0,
            account: n.account.0,
            instrument: n.instrument.0,
            side: n.side as u8,
            liquidity: 1,
        };
        out.report(stamp.member, fill);
        out.report(
            MemberId(maker.info.session),
            Filled {
                order_id: maker.id.0,
                cl_ord_id: maker.info.cl_ord_id.0,
                leaves: maker_left,
                fee: fee_micro(maker_fee),
                account: maker_account.0,
                side: maker.side as u8,
                liquidity: 0,
                ..fill
            },
        );
        out.feed(OrderExecuted {
            engine_seq: stamp.seq.0,
            engine_time: stamp.time.0,
            order_id: maker.id.0,
            trade_id,
            price,
            quantity: lots,
            leaves: maker_left,
            instrument: n.instrument.0,
            side: maker.side as u8,
            flags: 0,
            pad1: 0,
        });
    }

    pub(super) fn replace(&mut self, stamp: &Stamp, m: &InReplace, out: &mut Outbox) {
        self.counters.requests += 1;
        let refusal = InRefused {
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            rx_time: m.rx_time,
            account: m.account,
            instrument: m.instrument,
            ref_template: Replace::TEMPLATE,
            ..InRefused::zeroed()
        };
        let found = self.find(
            stamp.member,
            m.order_id,
            m.orig_cl_ord_id,
            m.account,
            m.instrument,
        );
        let Some(old) = found else {
            return reject(stamp, refusal, RejectCode::UnknownOrder, out);
        };
        let same_price = old.price.0 == m.price_ticks;
        if same_price && m.lots == old.lots {
            return reject(stamp, refusal, RejectCode::NothingToChange, out);
        }
        let replaced = Replaced {
            order_id: old.id.0,
            prev_order_id: old.id.0,
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            price: i64::from(m.price_ticks) * self.listed(m.instrument as usize).tick_e9,
            quantity: m.lots,
            filled: 0,
            rx_time: m.rx_time,
            engine_time: stamp.time.0,
            engine_seq: stamp.seq.0,
            account: m.account,
            instrument: m.instrument,
            side: old.side as u8,
            pad1: 0,
        };
        if same_price && m.lots < old.lots {
            return self.reduce(stamp, m, &old, replaced, out);
        }
        let incoming = Incoming {
            account: old.info.account,
            instrument: old.instrument,
            side: old.side,
            limit: PriceTicks(m.price_ticks),
            lots: m.lots,
            rests: true,
            stp_mode: (old.info.flags >> STP_SHIFT) as u8,
            flags: old.info.flags as u8 & !FLAG_POST_ONLY | m.flags,
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            rx_time: m.rx_time,
        };
        if let Err(code) = self.check_incoming(stamp, &incoming, Some(&old)) {
            return reject(stamp, refusal, code, out);
        }
        self.counters.acks += 1;
        self.book.cancel(old.id).expect("the order was just found");
        self.accounts
            .at(old.info.account)
            .close_order(&self.margin, exposure(&old));
        let name = self.name(stamp, &incoming);
        out.report(
            stamp.member,
            Replaced {
                order_id: name.0,
                ..replaced
            },
        );
        feed_deleted(stamp, &old, out);
        self.place(stamp, &incoming, name, out);
    }

    /// A smaller quantity at the same price keeps the place in the queue.
    fn reduce(
        &mut self,
        stamp: &Stamp,
        m: &InReplace,
        old: &Order,
        replaced: Replaced,
        out: &mut Outbox,
    ) {
        self.counters.acks += 1;
        let taken = self
            .book
            .reduce(old.id, m.lots)
            .expect("the order lives and the quantity is smaller");
        self.accounts.at(old.info.account).close_order(
            &self.margin,
            Exposure {
                lots: taken,
                ..exposure(old)
            },
        );
        self.book
            .info_mut(old.id)
            .expect("the order lives")
            .cl_ord_id = ClOrdId(m.cl_ord_id);
        self.remember(stamp.member, m.cl_ord_id, old.id);
        out.report(stamp.member, replaced);
        self.feed_reduced(stamp, old, m.lots, out);
    }

    pub(super) fn cancel(&mut self, stamp: &Stamp, m: &InCancel, out: &mut Outbox) {
        self.counters.requests += 1;
        let found = self.find(
            stamp.member,
            m.order_id,
            m.orig_cl_ord_id,
            m.account,
            m.instrument,
        );
        let Some(order) = found else {
            let refusal = InRefused {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                rx_time: m.rx_time,
                account: m.account,
                instrument: m.instrument,
                ref_template: Cancel::TEMPLATE,
                ..InRefused::zeroed()
            };
            return reject(stamp, refusal, RejectCode::UnknownOrder, out);
        };
        self.counters.acks += 1;
        let cause = Cause {
            reason: CANCEL_REQUESTED,
            request_cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            rx_time: m.rx_time,
        };
        self.remove_order(stamp, order.id, cause, out);
    }

    pub(super) fn mass_cancel(&mut self, stamp: &Stamp, m: &InMassCancel, out: &mut Outbox) {
        self.counters.requests += 1;
        self.counters.acks += 1;
        self.collect_account(AccountId(m.account), |instrument, side| {
            (m.instrument == ID16_NULL || instrument.0 == m.instrument)
                && (m.side == BYTE_NULL || side as u8 == m.side)
        });
        let cause = Cause {
            reason: CANCEL_MASS,
            request_cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            rx_time: m.rx_time,
        };
        let count = self.sweep(stamp, cause, out);
        out.report(
            stamp.member,
            MassCancelAck {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                rx_time: m.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: m.account,
                count,
            },
        );
    }

    pub(super) fn withdraw(&mut self, stamp: &Stamp, m: &InWithdraw, out: &mut Outbox) {
        self.counters.requests += 1;
        let id = AccountId(m.account);
        if let Err(code) = self.check_withdraw(m) {
            let refusal = InRefused {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                rx_time: m.rx_time,
                account: m.account,
                instrument: ID16_NULL,
                ref_template: Withdraw::TEMPLATE,
                ..InRefused::zeroed()
            };
            return reject(stamp, refusal, code, out);
        }
        self.counters.acks += 1;
        self.counters.withdrawals += 1;
        if !self.batch.withdrawal_fits(id) {
            self.seal(stamp, SealReason::Full, out);
        }
        let account = self.accounts.at(id);
        self.batch.touch(id, &account.leaf);
        account.leaf.cash_pico -= i128::from(m.amount) * PICO_PER_MICRO;
        account.leaf.nonce += 1;
        let (owner, cash) = (account.leaf.owner, account.cash_micro());
        self.batch.add_withdrawal(WithdrawalRow {
            account: id,
            owner,
            amount_micro: m.amount as u64,
        });
        self.withdrawn_micro = self.withdrawn_micro.wrapping_add(m.amount as u64);
        out.report(
            stamp.member,
            WithdrawReport {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                amount: m.amount,
                cash,
                rx_time: m.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                batch_no: self.batch.batch_no(),
                account: m.account,
                pad1: 0,
            },
        );
    }

    fn check_withdraw(&self, m: &InWithdraw) -> Result<(), RejectCode> {
        let found = self
            .accounts
            .get(AccountId(m.account))
            .filter(|a| a.is_funded());
        let account = found.ok_or(RejectCode::NoSuchAccount)?;
        if account.is_below_maintenance() {
            return Err(RejectCode::BelowMaintenance);
        }
        if !account.covers(
            &self.margin,
            None,
            None,
            m.amount,
            self.domain.initial_extra_ppm,
        ) {
            return Err(RejectCode::InsufficientCollateral);
        }
        Ok(())
    }

    /// A live order of the account by the venue's name or, if that is zero, by the client's.
    fn find(
        &self,
        member: MemberId,
        order_id: u64,
        orig_cl_ord_id: u64,
        account: u32,
        instrument: u16,
    ) -> Option<Order> {
        let id = if order_id != 0 {
            Some(OrderId(order_id))
        } else {
            self.look_up(member, orig_cl_ord_id)
        };
        let order = self.book.get(id?)?;
        let named = order_id != 0 || order.info.cl_ord_id.0 == orig_cl_ord_id;
        (named && order.info.account.0 == account && order.instrument.0 == instrument)
            .then_some(order)
    }

    fn look_up(&self, member: MemberId, cl_ord_id: u64) -> Option<OrderId> {
        let ring = &self.members.get(member.0 as usize)?.as_ref()?.ids;
        let (held, id) = ring[cl_ord_id as usize % CLIENT_IDS];
        (held == cl_ord_id && cl_ord_id != 0).then_some(id)
    }

    fn remember(&mut self, member: MemberId, cl_ord_id: u64, id: OrderId) {
        if let Some(Some(m)) = self.members.get_mut(member.0 as usize) {
            m.ids[cl_ord_id as usize % CLIENT_IDS] = (cl_ord_id, id);
        }
    }
}

/// Refuses a request for `code`.
fn reject(stamp: &Stamp, request: InRefused, code: RejectCode, out: &mut Outbox) {
    let refused = InRefused {
        reason: code as u16,
        ..request
    };
    refuse(stamp, &refused, out);
}

/// Fee for display, rounded against the account.
fn fee_micro(fee_pico: i128) -> i64 {
    // Nearly all fees fit 64 bits, and a division of those is a multiplication.
    match i64::try_from(fee_pico) {
        Ok(fee) if fee != i64::MIN => -(-fee).div_euclid(PICO_PER_MICRO as i64),
        _ => -(-fee_pico).div_euclid(PICO_PER_MICRO) as i64,
    }
}
