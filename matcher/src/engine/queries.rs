//! Questions of members. They change nothing, but their answers are numbered reports, so they are inputs.

use super::incoming::Marks;
use super::tracked::{ORDERS, QUOTES, Tracked};
use super::{Engine, Stamp};
use crate::book::OrderBook;
use crate::outbox::Outbox;
use bytemuck::Zeroable;
use firmware::units::AccountId;
use firmware::wire::input::{InOpenOrders, InPositions};
use firmware::wire::report::{OpenOrder, OpenOrdersEnd, PositionMargin};
use firmware::wire::sbe::ID16_NULL;

/// Open orders of a page.
const PAGE: usize = 128;

impl<B: OrderBook> Engine<B> {
    pub(super) fn open_orders(&mut self, stamp: &Stamp, m: &InOpenOrders, out: &mut Outbox) {
        self.counters.requests += 1;
        self.counters.acks += 1;
        let account = AccountId(m.account);
        let wanted = |t: &&Tracked| {
            t.entry > m.after
                && (m.instrument == ID16_NULL
                    || self
                        .book
                        .get(t.id)
                        .is_some_and(|o| o.instrument.0 == m.instrument))
        };
        // Both lists are by age: they are merged.
        let mut orders = self.orders.list(account, ORDERS).filter(wanted).peekable();
        let mut quotes = self.orders.list(account, QUOTES).filter(wanted).peekable();
        let mut merged = core::iter::from_fn(|| match (orders.peek(), quotes.peek()) {
            (Some(o), Some(q)) if o.entry > q.entry => quotes.next(),
            (Some(_), _) => orders.next(),
            (None, _) => quotes.next(),
        })
        .peekable();
        let (mut count, mut last) = (0, 0);
        while count < PAGE
            && let Some(t) = merged.next()
        {
            let order = self.book.get(t.id).expect("a tracked order rests");
            (count, last) = (count + 1, t.entry);
            out.report(
                stamp.member,
                OpenOrder {
                    request_cl_ord_id: m.cl_ord_id,
                    order_id: order.id.0,
                    cl_ord_id: order.info.cl_ord_id.0,
                    entry: t.entry,
                    price: self.price_e9(order.instrument, order.price),
                    quantity: order.lots,
                    filled: t.filled,
                    expire_time: t.expire_time,
                    engine_time: stamp.time.0,
                    engine_seq: stamp.seq.0,
                    account: m.account,
                    instrument: order.instrument.0,
                    side: order.side as u8,
                    flags: order.info.wire_flags(),
                    mmp_group: order.info.mmp_group(),
                    is_quote: u8::from(order.info.is_quote()),
                    pad1: 0,
                    pad2: 0,
                },
            );
        }
        let after = if merged.peek().is_some() { last } else { 0 };
        out.report(
            stamp.member,
            OpenOrdersEnd {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                after,
                rx_time: m.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: m.account,
                count: count as u32,
            },
        );
    }

    pub(super) fn positions(&mut self, stamp: &Stamp, m: &InPositions, out: &mut Outbox) {
        self.counters.requests += 1;
        self.counters.acks += 1;
        let id = AccountId(m.account);
        let account = self.accounts.get(id).expect("the gate knows the account");
        let base = PositionMargin {
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            engine_time: stamp.time.0,
            engine_seq: stamp.seq.0,
            account: m.account,
            ..PositionMargin::zeroed()
        };
        let held = account.leaf.positions.iter().zip(&self.table.columns);
        for (i, (position, column)) in held.enumerate().filter(|(_, (p, _))| **p != 0) {
            out.report(
                stamp.member,
                PositionMargin {
                    position: *position,
                    mark: column.mark_micro,
                    instrument: i as u16,
                    ..base
                },
            );
        }
        out.report(
            stamp.member,
            PositionMargin {
                cash: account.cash_micro(),
                equity: account.equity_micro(),
                maintenance: account.maintenance_micro(),
                worst: self.worst_with_orders_micro(id).unwrap_or_default(),
                instrument: ID16_NULL,
                is_locked: u8::from(account.is_locked()),
                ..base
            },
        );
    }
}
