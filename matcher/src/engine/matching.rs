//! Matching: an order meets the book, fills are booked, what is left rests or goes.

use super::incoming::{Incoming, Marks};
use super::{Cause, Engine, Stamp, exposure};
use crate::accounts::Exposure;
use crate::batch::{FillRow, SealReason};
use crate::book::{Order, OrderBook, reaches};
use crate::outbox::Outbox;
use crate::planted::{self, Bug};
use firmware::limits::FILLS_PER_ORDER_MAX;
use firmware::units::{
    AccountId, InstrumentId, MemberId, OrderId, PICO_PER_MICRO, PriceTicks, Side,
};
use firmware::wire::feed::{OrderAdd, OrderExecuted};
use firmware::wire::order::{STP_CANCEL_BOTH, STP_CANCEL_MAKER, STP_CANCEL_TAKER, STP_DECREMENT};
use firmware::wire::report::{
    CANCEL_FILL_LIMIT, CANCEL_IOC, CANCEL_MMP, CANCEL_REDUCE_ONLY, CANCEL_STP, Canceled, Filled,
};

/// Why matching ended before the order was filled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing more to match with.
    Exhausted,
    /// Self-trade prevention stopped it.
    SelfTrade,
    /// Its own protection group triggered.
    Protected,
    /// The bound on fills.
    FillLimit,
}

/// What a fill did, for its reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Booked {
    trade_id: u64,
    price_e9: i64,
    maker_fee: i128,
    taker_fee: i128,
}

/// One side of a fill, as its report tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    pub(super) member: MemberId,
    pub(super) account: AccountId,
    pub(super) order_id: OrderId,
    pub(super) cl_ord_id: u64,
    pub(super) side: Side,
    pub(super) leaves: i64,
    pub(super) filled: i64,
}

impl<B: OrderBook> Engine<B> {
    /// The name of an order that is about to be placed: that of its place in the book if it meets nothing, else
    /// the passing one that it has.
    #[inline]
    pub(super) fn name(&self, n: &Incoming) -> OrderId {
        let meets = !self.is_collecting(n.instrument)
            && (n.takes_at_once || self.crosses(n.instrument, n.side, n.limit));
        if meets {
            n.name
        } else {
            self.book.next_id().expect("room was checked before")
        }
    }

    /// Matches an order and rests what is left of it. Returns its name in the book if it rests.
    pub(super) fn place(
        &mut self,
        stamp: &Stamp,
        n: &Incoming,
        out: &mut Outbox,
    ) -> Option<OrderId> {
        let (open, end) = if n.passes() {
            self.take(stamp, n, out)
        } else {
            (n.lots, End::Exhausted)
        };
        if n.fills_whole {
            self.cancel_triggered(stamp, out);
        }
        if open == 0 {
            return None;
        }
        if !n.takes_at_once && end == End::Exhausted {
            return Some(self.rest(stamp, n, open, out));
        }
        out.report(
            n.member,
            Canceled {
                order_id: n.name.0,
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
                    End::Protected => CANCEL_MMP,
                    End::FillLimit => CANCEL_FILL_LIMIT,
                },
            },
        );
        None
    }

    fn rest(&mut self, stamp: &Stamp, n: &Incoming, open: i64, out: &mut Outbox) -> OrderId {
        let info = n.info();
        let id = self.book.insert(n.instrument, n.side, n.limit, open, info);
        let id = id.expect("band, size and room were checked before");
        let filled = n.filled + n.lots - open;
        self.orders
            .insert(n.account, info.list(), id, n.expire_time, n.smp_id, filled);
        // Only what rests is reserved: nothing looks at the account's reserve while the order passes.
        let account = self.accounts.at(n.account);
        account.open_order(&self.margin, n.exposure(open));
        account.reduce_only_orders += u32::from(info.is_reduce_only());
        if n.passes() {
            out.rename(n.name, id);
        } else {
            assert_eq!(id, n.name, "the book gave another place than it announced");
        }
        if !n.is_quote {
            self.remember(n.member, n.cl_ord_id, id);
        }
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
        id
    }

    /// Whether the two must not trade with each other: orders of one account, or of one member under the
    /// same self-match id.
    fn is_self(&self, n: &Incoming, maker: &Order) -> bool {
        maker.info.account == n.account
            || n.smp_id != 0
                && maker.info.session == n.member.0
                && self.orders.of(maker.id).smp_id == n.smp_id
    }

    /// Trades at the makers' prices until the order is filled or must stop; returns the lots left open.
    pub(super) fn take(&mut self, stamp: &Stamp, n: &Incoming, out: &mut Outbox) -> (i64, End) {
        let other = n.side.opposite();
        let mut open = n.lots;
        for _ in 0..FILLS_PER_ORDER_MAX {
            // Most orders meet nothing: the best price is looked at before an order is touched.
            if open == 0 || !self.crosses(n.instrument, n.side, n.limit) {
                return (open, End::Exhausted);
            }
            let front = self.book.front(n.instrument, other);
            let maker = front.expect("the best level holds an order");
            if self.is_self(n, &maker) {
                match n.stp_mode {
                    STP_CANCEL_TAKER => return (open, End::SelfTrade),
                    STP_DECREMENT => open = self.decrement(stamp, n, &maker, open, out),
                    mode => {
                        self.remove_order(stamp, maker.id, Cause::of(CANCEL_STP), out);
                        if mode == STP_CANCEL_BOTH {
                            return (open, End::SelfTrade);
                        }
                    }
                }
                continue;
            }
            let lots = open.min(maker.lots);
            open -= lots;
            if self.trade(stamp, n, &maker, lots, open, out) {
                return (open, End::Protected);
            }
        }
        let more = open > 0 && self.crosses(n.instrument, n.side, n.limit);
        (open, if more { End::FillLimit } else { End::Exhausted })
    }

    /// Takes the smaller quantity off both orders without a trade; returns what stays open of the incoming.
    fn decrement(
        &mut self,
        stamp: &Stamp,
        n: &Incoming,
        maker: &Order,
        open: i64,
        out: &mut Outbox,
    ) -> i64 {
        let lots = open.min(maker.lots);
        self.cut_order(stamp, maker, maker.lots - lots, Cause::of(CANCEL_STP), out);
        out.report(
            n.member,
            Canceled {
                order_id: n.name.0,
                cl_ord_id: n.cl_ord_id,
                request_cl_ord_id: 0,
                client_seq: n.client_seq,
                quantity: lots,
                leaves: open - lots,
                rx_time: n.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: n.account.0,
                instrument: n.instrument.0,
                side: n.side as u8,
                reason: CANCEL_STP,
            },
        );
        open - lots
    }

    /// One fill of an incoming order. Returns whether the incoming order must stop because its own
    /// protection group triggered.
    fn trade(
        &mut self,
        stamp: &Stamp,
        n: &Incoming,
        maker: &Order,
        lots: i64,
        taker_left: i64,
        out: &mut Outbox,
    ) -> bool {
        let row = FillRow {
            maker: maker.info.account,
            taker: n.account,
            instrument: n.instrument,
            price: maker.price,
            lots: lots as u64,
            taker_buys: n.side == Side::Buy,
        };
        // A batch that this fill does not fit closes before the fill moves anything.
        self.make_room_for(stamp, &row, out);
        let leg = self.fill_resting(maker, lots);
        let booked = self.book_fill(stamp, &row, out);
        let taker = Leg {
            member: n.member,
            account: n.account,
            order_id: n.name,
            cl_ord_id: n.cl_ord_id,
            side: n.side,
            leaves: taker_left,
            filled: n.filled + n.lots - taker_left,
        };
        report_fill(stamp, &row, &booked, &taker, 1, out);
        report_fill(stamp, &row, &booked, &leg, 0, out);
        feed_fill(stamp, &row, &booked, &leg, out);

        let group = maker.info.mmp_group();
        let sign = maker.side.sign();
        self.note_fill(maker.info.account, group, n.instrument, sign * lots, stamp);
        let mut triggered = false;
        if n.mmp_group != 0 {
            self.note_fill(n.account, n.mmp_group, n.instrument, -sign * lots, stamp);
            triggered = self.is_triggered(n.account, n.mmp_group);
        }
        // A fill-or-kill order was promised what rests now: the groups it triggers go when it is done.
        if !n.fills_whole {
            self.cancel_triggered(stamp, out);
        }
        self.trim_reduce_only(stamp, maker.info.account, n.instrument, out);
        self.trim_reduce_only(stamp, n.account, n.instrument, out);
        triggered && taker_left > 0 && !n.fills_whole
    }

    /// One fill between two resting orders at an auction's price.
    pub(super) fn cross(
        &mut self,
        stamp: &Stamp,
        bid: &Order,
        ask: &Order,
        price: PriceTicks,
        out: &mut Outbox,
    ) {
        let lots = bid.lots.min(ask.lots);
        // The order that came later is the taker.
        let bid_is_later = self.orders.of(bid.id).entry > self.orders.of(ask.id).entry;
        let (maker, taker) = if bid_is_later { (ask, bid) } else { (bid, ask) };
        let row = FillRow {
            maker: maker.info.account,
            taker: taker.info.account,
            instrument: bid.instrument,
            price,
            lots: lots as u64,
            taker_buys: bid_is_later,
        };
        self.make_room_for(stamp, &row, out);
        let maker_leg = self.fill_resting(maker, lots);
        let taker_leg = self.fill_resting(taker, lots);
        let booked = self.book_fill(stamp, &row, out);
        report_fill(stamp, &row, &booked, &taker_leg, 1, out);
        report_fill(stamp, &row, &booked, &maker_leg, 0, out);
        feed_fill(stamp, &row, &booked, &maker_leg, out);
        feed_fill(stamp, &row, &booked, &taker_leg, out);
        for order in [maker, taker] {
            let (account, group) = (order.info.account, order.info.mmp_group());
            self.note_fill(
                account,
                group,
                bid.instrument,
                order.side.sign() * lots,
                stamp,
            );
        }
        self.cancel_triggered(stamp, out);
        for order in [maker, taker] {
            self.trim_reduce_only(stamp, order.info.account, bid.instrument, out);
        }
    }

    /// What two orders of an auction that must not trade with each other come to: the later one's mode decides.
    /// Returns `false` when they may trade.
    pub(super) fn part_selves(
        &mut self,
        stamp: &Stamp,
        bid: &Order,
        ask: &Order,
        out: &mut Outbox,
    ) -> bool {
        let (b, a) = (self.orders.of(bid.id), self.orders.of(ask.id));
        let same_id = b.smp_id != 0 && b.smp_id == a.smp_id;
        let one_member = bid.info.session == ask.info.session;
        if bid.info.account != ask.info.account && !(same_id && one_member) {
            return false;
        }
        let (earlier, later) = if b.entry > a.entry {
            (ask, bid)
        } else {
            (bid, ask)
        };
        let cause = Cause::of(CANCEL_STP);
        match later.info.stp_mode() {
            STP_CANCEL_MAKER => {
                self.remove_order(stamp, earlier.id, cause, out);
            }
            STP_CANCEL_TAKER => {
                self.remove_order(stamp, later.id, cause, out);
            }
            STP_DECREMENT => {
                let lots = bid.lots.min(ask.lots);
                for order in [earlier, later] {
                    self.cut_order(stamp, order, order.lots - lots, cause, out);
                }
            }
            _ => {
                self.remove_order(stamp, earlier.id, cause, out);
                self.remove_order(stamp, later.id, cause, out);
            }
        }
        true
    }

    pub(super) fn make_room_for(&mut self, stamp: &Stamp, row: &FillRow, out: &mut Outbox) {
        if !self.batch.fill_fits(row) {
            self.seal(stamp, SealReason::Full, out);
        }
    }

    /// Takes the lots of a fill off a resting order.
    fn fill_resting(&mut self, order: &Order, lots: i64) -> Leg {
        let filled = self.orders.add_filled(order.id, lots);
        let leaves = self.book.fill(order.id, lots);
        if leaves == 0 {
            self.forget(order);
        }
        self.accounts.at(order.info.account).close_order(
            &self.margin,
            Exposure {
                lots,
                ..exposure(order)
            },
        );
        Leg {
            member: MemberId(order.info.session),
            account: order.info.account,
            order_id: order.id,
            cl_ord_id: order.info.cl_ord_id.0,
            side: order.side,
            leaves,
            filled,
        }
    }

    /// Moves contracts and cash, fees included, and writes the fill into the batch.
    pub(super) fn book_fill(&mut self, stamp: &Stamp, row: &FillRow, out: &mut Outbox) -> Booked {
        let i = row.instrument.0 as usize;
        let column = &self.table.columns[i];
        let offset = row.price.0 - column.collar_lo_ticks;
        assert!(
            offset >= 0 && offset < column.collar_width_ticks,
            "a fill outside the collar"
        );
        for id in [row.maker, row.taker] {
            self.touch(stamp, id, out);
        }
        self.batch.add_fill(*row);

        let table = &*self.table;
        let lots = row.lots as i64;
        let notional = i128::from(lots)
            * i128::from(row.price.0)
            * i128::from(table.columns[i].tick_value_micro);
        let taker_fee = notional * i128::from(table.taker_fee_ppm);
        let maker_fee = notional * i128::from(table.maker_fee_ppm);
        let sign = if row.taker_buys { 1 } else { -1 };
        let paid = i128::from(sign) * notional * PICO_PER_MICRO;
        let taker = self.accounts.at(row.taker);
        taker.fill(&self.margin, i, sign * lots, -paid - taker_fee);
        let maker = self.accounts.at(row.maker);
        maker.fill(&self.margin, i, -sign * lots, paid - maker_fee);
        let lost = i128::from(planted::is(Bug::LosesOfFees));
        self.fund_pico += taker_fee + maker_fee - lost;

        let trade_id = self.next_trade;
        self.next_trade += 1;
        self.counters.fills += 1;
        Booked {
            trade_id,
            price_e9: self.price_e9(row.instrument, row.price),
            maker_fee,
            taker_fee,
        }
    }

    /// Cuts an account's resting reduce-only orders back to what still reduces its position, the oldest
    /// first served.
    pub(super) fn trim_reduce_only(
        &mut self,
        stamp: &Stamp,
        id: AccountId,
        instrument: InstrumentId,
        out: &mut Outbox,
    ) {
        let account = self.accounts.at(id);
        if account.reduce_only_orders == 0 {
            return;
        }
        let position = account.leaf.positions[instrument.0 as usize];
        let mut room = [Side::Buy, Side::Sell].map(|s| (-s.sign() * position).max(0));
        let mut next = self.orders.first(id, super::tracked::ORDERS);
        while let Some(at) = next {
            next = self.orders.next(at);
            let order = self.book.get(at).expect("a tracked order rests");
            if order.instrument != instrument || !order.info.is_reduce_only() {
                continue;
            }
            let room = &mut room[order.side as usize];
            let kept = order.lots.min(*room);
            *room -= kept;
            if kept < order.lots {
                let cause = Cause::of(CANCEL_REDUCE_ONLY);
                self.cut_order(stamp, &order, kept, cause, out);
            }
        }
    }

    pub(super) fn crosses(&self, instrument: InstrumentId, side: Side, limit: PriceTicks) -> bool {
        let other = side.opposite();
        self.book
            .best(instrument, other)
            .is_some_and(|best| reaches(other, best, limit))
    }

    /// Whether a fill-or-kill order fills whole within the bound on fills. Orders that it must not trade with
    /// are left out, and reduce-only orders too: a fill before them may cut them back.
    pub(super) fn can_fill_whole(&self, n: &Incoming) -> bool {
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
            if self.is_self(n, &maker) {
                if n.stp_mode != STP_CANCEL_MAKER {
                    return false;
                }
            } else if !maker.info.is_reduce_only() {
                open -= maker.lots;
            }
            if open <= 0 {
                return true;
            }
        }
        false
    }
}

pub(super) fn report_fill(
    stamp: &Stamp,
    row: &FillRow,
    booked: &Booked,
    leg: &Leg,
    liquidity: u8,
    out: &mut Outbox,
) {
    let fee = if liquidity == 1 {
        booked.taker_fee
    } else {
        booked.maker_fee
    };
    out.report(
        leg.member,
        Filled {
            order_id: leg.order_id.0,
            cl_ord_id: leg.cl_ord_id,
            trade_id: booked.trade_id,
            price: booked.price_e9,
            quantity: row.lots as i64,
            leaves: leg.leaves,
            filled: leg.filled,
            fee: fee_micro(fee),
            engine_time: stamp.time.0,
            engine_seq: stamp.seq.0,
            account: leg.account.0,
            instrument: row.instrument.0,
            side: leg.side as u8,
            liquidity,
        },
    );
}

/// Tells everybody that a resting order traded.
fn feed_fill(stamp: &Stamp, row: &FillRow, booked: &Booked, leg: &Leg, out: &mut Outbox) {
    out.feed(OrderExecuted {
        engine_seq: stamp.seq.0,
        engine_time: stamp.time.0,
        order_id: leg.order_id.0,
        trade_id: booked.trade_id,
        price: booked.price_e9,
        quantity: row.lots as i64,
        leaves: leg.leaves,
        instrument: row.instrument.0,
        side: leg.side as u8,
        flags: 0,
        pad1: 0,
    });
}

/// Fee for display, rounded against the account.
fn fee_micro(fee_pico: i128) -> i64 {
    // Nearly all fees fit 64 bits, and a division of those is a multiplication.
    match i64::try_from(fee_pico) {
        Ok(fee) if fee != i64::MIN => -(-fee).div_euclid(PICO_PER_MICRO as i64),
        _ => -(-fee_pico).div_euclid(PICO_PER_MICRO) as i64,
    }
}
