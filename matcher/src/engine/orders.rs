//! Requests of members that are about one order: new, replace, reduce, cancel; and their checks.

use super::incoming::{Incoming, Marks, passing_id};
use super::tracked::{ORDERS, Orders, QUOTES};
use super::{CLIENT_IDS, Cause, Engine, Stamp, exposure, feed_deleted, refuse};
use crate::accounts::Exposure;
use crate::book::{Order, OrderBook};
use crate::outbox::Outbox;
use crate::planted::{self, Bug};
use firmware::reject::RejectCode;
use firmware::units::{
    AccountId, ClOrdId, InstrumentId, MemberId, OrderId, PriceTicks, Side, TimeNs,
};
use firmware::wire::feed::{STATE_AUCTION, STATE_HALT, STATE_OPEN, STATE_PRE_OPEN};
use firmware::wire::input::{InCancel, InNewOrder, InReduce, InRefused, InReplace};
use firmware::wire::order::{
    Cancel, FLAG_POST_ONLY, FLAG_TOTAL_QUANTITY, NewOrder, ORD_MARKET, ReduceQty, Replace, TIF_DAY,
    TIF_FOK, TIF_IOC,
};
use firmware::wire::report::{Accepted, CANCEL_REQUESTED, Replaced};

/// A day, ns: Day orders go at the next midnight UTC.
const DAY_NS: u64 = 86_400_000_000_000;

impl<B: OrderBook> Engine<B> {
    pub(super) fn new_order(&mut self, stamp: &Stamp, m: &InNewOrder, out: &mut Outbox) {
        self.counters.requests += 1;
        let mut incoming = self.incoming(stamp, m);
        if let Err(code) = self.check_new(stamp, &incoming) {
            let refusal = refusal!(m, NewOrder, m.instrument);
            return reject(stamp, refusal, code, out);
        }
        self.counters.acks += 1;
        incoming.name = self.name(&incoming);
        out.report(
            stamp.member,
            Accepted {
                order_id: incoming.name.0,
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
        self.place(stamp, &incoming, out);
    }

    /// The order as it goes into the book; a market order's limit is the far end of the collar.
    fn incoming(&self, stamp: &Stamp, m: &InNewOrder) -> Incoming {
        let side = Side::from_wire(m.side).expect("the gate checked the side");
        let limit = if m.ord_type == ORD_MARKET {
            // Where nothing may trade, the check refuses it.
            let (lo, hi) = self.collar(m.instrument as usize).unwrap_or_default();
            if side == Side::Buy { hi } else { lo }
        } else {
            m.price_ticks
        };
        Incoming {
            name: passing_id(stamp, 0),
            member: stamp.member,
            account: AccountId(m.account),
            instrument: InstrumentId(m.instrument),
            side,
            limit: PriceTicks(limit),
            lots: m.lots,
            filled: 0,
            takes_at_once: matches!(m.time_in_force, TIF_IOC | TIF_FOK),
            fills_whole: m.time_in_force == TIF_FOK,
            is_quote: false,
            stp_mode: m.stp_mode,
            flags: m.flags,
            mmp_group: m.mmp_group,
            smp_id: m.smp_id,
            expire_time: match m.time_in_force {
                TIF_DAY => (stamp.time.0 / DAY_NS + 1) * DAY_NS,
                _ => m.expire_time,
            },
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            rx_time: m.rx_time,
        }
    }

    fn check_new(&mut self, stamp: &Stamp, incoming: &Incoming) -> Result<(), RejectCode> {
        self.admit(stamp, incoming, None)?;
        if incoming.fills_whole && !self.can_fill_whole(incoming) {
            return Err(RejectCode::CannotFillWhole);
        }
        Ok(())
    }

    /// The checks that new orders, replaces and quotes share; `old` is the order that is taken off for it.
    pub(super) fn admit(
        &mut self,
        stamp: &Stamp,
        n: &Incoming,
        old: Option<&Order>,
    ) -> Result<(), RejectCode> {
        match self.check_incoming(stamp, n, old) {
            Err(RejectCode::InsufficientMargin) if self.prepare_account(n.account) => {
                self.check_incoming(stamp, n, old)
            }
            result => result,
        }
    }

    /// Prepares an account for the exact margin check; `false` when it was prepared before.
    pub(super) fn prepare_account(&mut self, id: AccountId) -> bool {
        let account = self.accounts.at(id);
        if account.keeps_all() {
            return false;
        }
        account.keep_all(&self.margin, open_orders(&self.orders, &self.book, id));
        true
    }

    /// Equity of an account in the worst scenario if the worst set of its open orders fills.
    #[must_use]
    pub fn worst_with_orders_micro(&self, id: AccountId) -> Option<i64> {
        let orders = open_orders(&self.orders, &self.book, id);
        let account = self.accounts.get(id)?;
        Some(account.worst_with_orders_micro(&self.margin, orders))
    }

    fn check_incoming(
        &self,
        stamp: &Stamp,
        n: &Incoming,
        old: Option<&Order>,
    ) -> Result<(), RejectCode> {
        let i = n.instrument.0 as usize;
        self.check_state(n)?;
        let (lo, hi) = self.collar(i)?;
        self.check_account(stamp, n.account, n.reduces(), n.mmp_group)?;
        if n.expire_time != 0 && n.expire_time <= stamp.time.0 {
            return Err(RejectCode::InvalidExpiry);
        }
        let account = (self.accounts.get(n.account)).expect("just looked at");
        let position = account.leaf.positions[i];
        let kept = account.open_lots(i, n.side) - old.map_or(0, |o| o.lots);
        if n.reduces() {
            let reducible = (-n.side.sign() * position).max(0) - kept;
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
        let (addon, initial_extra_ppm) = if n.reduces() {
            (0, 0)
        } else {
            let addon = self.addon_micro(account, extra, drop);
            (addon, self.initial_extra_ppm())
        };
        if !account.covers(&self.margin, extra, drop, addon, initial_extra_ppm) {
            return Err(RejectCode::InsufficientMargin);
        }
        if !n.takes_at_once && old.is_none() && self.book.live() == self.book.capacity() {
            return Err(RejectCode::BookFull);
        }
        Ok(())
    }

    /// Whether the instrument's trading state takes such an order.
    fn check_state(&self, n: &Incoming) -> Result<(), RejectCode> {
        match self.listed(n.instrument.0 as usize).state {
            STATE_OPEN => Ok(()),
            // No price is known yet: nothing can fill at once, or promise not to.
            STATE_PRE_OPEN | STATE_AUCTION if !n.takes_at_once => {
                if n.flags & FLAG_POST_ONLY == 0 {
                    Ok(())
                } else {
                    Err(RejectCode::NotInThisState)
                }
            }
            STATE_HALT => Err(RejectCode::Halted),
            _ => Err(RejectCode::NotInThisState),
        }
    }

    /// Whether the account may send orders at all.
    pub(super) fn check_account(
        &self,
        stamp: &Stamp,
        id: AccountId,
        reduces: bool,
        mmp_group: u8,
    ) -> Result<(), RejectCode> {
        let account = self
            .accounts
            .get(id)
            .filter(|a| a.is_funded())
            .ok_or(RejectCode::NoSuchAccount)?;
        assert_eq!(
            account.member, stamp.member,
            "the gate let a stranger through"
        );
        if account.is_locked() && !reduces {
            return Err(RejectCode::Locked);
        }
        if mmp_group == 0 {
            return Ok(());
        }
        match self.groups.get(id, mmp_group) {
            None => Err(RejectCode::NoSuchMmpGroup),
            Some(group) if group.is_frozen(stamp.time) => Err(RejectCode::MmpFrozen),
            Some(_) => Ok(()),
        }
    }

    /// Lowest and highest price that may trade.
    pub(super) fn collar(&self, instrument: usize) -> Result<(i32, i32), RejectCode> {
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

    pub(super) fn replace(&mut self, stamp: &Stamp, m: &InReplace, out: &mut Outbox) {
        self.counters.requests += 1;
        let refusal = refusal!(m, Replace, m.instrument);
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
        let tracked = *self.orders.of(old.id);
        let is_total = m.flags & FLAG_TOTAL_QUANTITY != 0;
        let lots = m.lots - if is_total { tracked.filled } else { 0 };
        if lots <= 0 {
            // All that was asked for in total has filled meanwhile.
            self.counters.acks += 1;
            let cause = cause!(m, CANCEL_REQUESTED);
            self.remove_order(stamp, old.id, cause, out);
            return;
        }
        let same_price = old.price.0 == m.price_ticks;
        if same_price && lots == old.lots {
            return reject(stamp, refusal, RejectCode::NothingToChange, out);
        }
        if lots > self.listed(m.instrument as usize).spec.order_lots_max {
            return reject(stamp, refusal, RejectCode::QuantityOutOfRange, out);
        }
        let replaced = Replaced {
            order_id: old.id.0,
            prev_order_id: old.id.0,
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            price: self.price_e9(old.instrument, PriceTicks(m.price_ticks)),
            quantity: lots,
            filled: tracked.filled,
            rx_time: m.rx_time,
            engine_time: stamp.time.0,
            engine_seq: stamp.seq.0,
            account: m.account,
            instrument: m.instrument,
            side: old.side as u8,
            pad1: 0,
        };
        if same_price && lots < old.lots {
            self.counters.acks += 1;
            let info = self.book.info_mut(old.id).expect("the order lives");
            info.cl_ord_id = ClOrdId(m.cl_ord_id);
            self.remember(stamp.member, m.cl_ord_id, old.id);
            out.report(stamp.member, replaced);
            return self.shrink(stamp, &old, lots, out);
        }
        let mut incoming = Incoming {
            name: passing_id(stamp, 0),
            member: stamp.member,
            account: old.info.account,
            instrument: old.instrument,
            side: old.side,
            limit: PriceTicks(m.price_ticks),
            lots,
            filled: tracked.filled,
            takes_at_once: false,
            fills_whole: false,
            is_quote: old.info.is_quote(),
            stp_mode: old.info.stp_mode(),
            flags: old.info.wire_flags() & !FLAG_POST_ONLY | m.flags & FLAG_POST_ONLY,
            mmp_group: old.info.mmp_group(),
            smp_id: tracked.smp_id,
            expire_time: tracked.expire_time,
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            rx_time: m.rx_time,
        };
        if let Err(code) = self.admit(stamp, &incoming, Some(&old)) {
            return reject(stamp, refusal, code, out);
        }
        self.counters.acks += 1;
        self.take_off(old.id).expect("the order was just found");
        incoming.name = self.name(&incoming);
        out.report(
            stamp.member,
            Replaced {
                order_id: incoming.name.0,
                ..replaced
            },
        );
        feed_deleted(stamp, &old, out);
        self.place(stamp, &incoming, out);
    }

    /// Lowers the open quantity of a resting order, which keeps its place; tells the feed.
    pub(super) fn shrink(&mut self, stamp: &Stamp, old: &Order, lots: i64, out: &mut Outbox) {
        let taken = self
            .book
            .reduce(old.id, lots)
            .expect("the order lives and the quantity is smaller");
        self.accounts.at(old.info.account).close_order(
            &self.margin,
            Exposure {
                lots: taken,
                ..exposure(old)
            },
        );
        self.feed_reduced(stamp, old, lots, out);
    }

    pub(super) fn reduce(&mut self, stamp: &Stamp, m: &InReduce, out: &mut Outbox) {
        self.counters.requests += 1;
        let found = self.find(
            stamp.member,
            m.order_id,
            m.orig_cl_ord_id,
            m.account,
            m.instrument,
        );
        let fault = match &found {
            None => Some(RejectCode::UnknownOrder),
            Some(old) if m.lots >= old.lots => Some(RejectCode::NothingToChange),
            Some(_) => None,
        };
        let (Some(old), None) = (found, fault) else {
            let refusal = refusal!(m, ReduceQty, m.instrument);
            let code = fault.unwrap_or(RejectCode::UnknownOrder);
            return reject(stamp, refusal, code, out);
        };
        self.counters.acks += 1;
        out.report(
            stamp.member,
            Replaced {
                order_id: old.id.0,
                prev_order_id: old.id.0,
                cl_ord_id: old.info.cl_ord_id.0,
                client_seq: m.client_seq,
                price: self.price_e9(old.instrument, old.price),
                quantity: m.lots,
                filled: self.orders.of(old.id).filled,
                rx_time: m.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: m.account,
                instrument: m.instrument,
                side: old.side as u8,
                pad1: 0,
            },
        );
        self.shrink(stamp, &old, m.lots, out);
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
            let refusal = refusal!(m, Cancel, m.instrument);
            return reject(stamp, refusal, RejectCode::UnknownOrder, out);
        };
        if self.book.live() > 8 && planted::is(Bug::RefusesCancels) {
            return reject(
                stamp,
                refusal!(m, Cancel, m.instrument),
                RejectCode::Busy,
                out,
            );
        }
        self.counters.acks += 1;
        let cause = cause!(m, CANCEL_REQUESTED);
        self.remove_order(stamp, order.id, cause, out);
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

    pub(super) fn remember(&mut self, member: MemberId, cl_ord_id: u64, id: OrderId) {
        if let Some(Some(m)) = self.members.get_mut(member.0 as usize) {
            m.ids[cl_ord_id as usize % CLIENT_IDS] = (cl_ord_id, id);
        }
    }
}

/// All open orders of an account, as the margin check sees them.
fn open_orders<'a, B: OrderBook>(
    orders: &'a Orders,
    book: &'a B,
    id: AccountId,
) -> impl Iterator<Item = Exposure> + 'a {
    let lists = [ORDERS, QUOTES].into_iter();
    lists
        .flat_map(move |list| orders.list(id, list))
        .map(|t| exposure(&book.get(t.id).expect("a tracked order rests")))
}

/// Refuses a request for `code`.
pub(super) fn reject(stamp: &Stamp, request: InRefused, code: RejectCode, out: &mut Outbox) {
    let refused = InRefused {
        reason: code as u16,
        ..request
    };
    refuse(stamp, &refused, out);
}
