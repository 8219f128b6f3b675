//! Looks at the engine: what operators see of accounts and instruments. Bounded, and without taking memory.

use super::Core;
use crate::ops::operator::state_word;
use crate::tiles::lanes::{AccountLook, DepthLook, InstrumentRow, LevelRow, Look, OrderRow};
use firmware::units::{AccountId, InstrumentId, Side};
use matcher::book::OrderBook;

impl Core {
    /// Fills in what is wanted.
    pub fn look(&self, look: &mut Look) {
        match look {
            Look::Account(to) => self.look_at_account(to),
            Look::Instruments(rows) => self.look_at_instruments(rows),
            Look::Depth(to) => self.look_at_depth(to),
        }
    }

    fn look_at_depth(&self, to: &mut DepthLook) {
        let (id, book) = (InstrumentId(to.instrument), self.engine.book());
        to.is_listed = book.listed(id).is_some();
        if !to.is_listed {
            return;
        }
        for (side, rows) in [(Side::Buy, &mut to.bids), (Side::Sell, &mut to.asks)] {
            let mut next = book.best(id, side);
            while let Some(price) = next
                && rows.len() < rows.capacity()
            {
                let total = book.level(id, side, price);
                rows.push(LevelRow {
                    price_ticks: price.0,
                    lots: total.lots,
                    orders: total.orders,
                });
                next = book.next_level(id, side, price);
            }
        }
    }

    fn look_at_account(&self, to: &mut AccountLook) {
        let id = AccountId(to.account);
        let Some(account) = self.engine.accounts().get(id) else {
            return;
        };
        to.member = account.member.0;
        to.is_funded = account.is_funded();
        to.is_locked = account.is_locked();
        to.cash_micro = account.cash_micro();
        to.equity_micro = account.equity_micro();
        to.worst_micro = account.worst_micro();
        to.maintenance_micro = account.maintenance_micro();
        let positions = (0..).zip(account.leaf.positions.iter().copied());
        let room = to.positions.capacity();
        to.positions
            .extend(positions.filter(|(_, lots)| *lots != 0).take(room));
        for (order, filled, is_quote) in self.engine.orders_of(id) {
            to.orders_open += 1;
            if to.orders.len() < to.orders.capacity() {
                to.orders.push(OrderRow {
                    order_id: order.id.0,
                    cl_ord_id: order.info.cl_ord_id.0,
                    instrument: order.instrument.0,
                    side: match order.side {
                        Side::Buy => "buy",
                        Side::Sell => "sell",
                    },
                    price_ticks: order.price.0,
                    lots: order.lots,
                    filled,
                    is_quote,
                });
            }
        }
    }

    fn look_at_instruments(&self, rows: &mut Vec<InstrumentRow>) {
        let room = rows.capacity();
        let table = self.engine.table();
        rows.extend(self.engine.instruments().take(room).map(|(listed, state)| {
            let id = InstrumentId(listed.instrument);
            let best = |side| self.engine.book().best(id, side).map(|p| p.0);
            let column = table.and_then(|t| t.columns.get(usize::from(id.0)));
            InstrumentRow {
                instrument: id.0,
                symbol: listed.symbol,
                state: state_word(state),
                bid_ticks: best(Side::Buy),
                ask_ticks: best(Side::Sell),
                tick_micro: listed.tick_micro,
                lot_mark_micro: column.map(|c| c.mark_micro),
            }
        }));
    }
}
