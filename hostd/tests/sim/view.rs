//! What a member knows of its orders and positions from nothing but its reports.

use client::Report;
use firmware::wire::report::QuoteStatus;
use std::collections::BTreeMap;

/// An order that rests, as far as the reports say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Resting {
    pub(crate) account: u32,
    pub(crate) instrument: u16,
    pub(crate) side: u8,
    pub(crate) cl_ord_id: u64,
    /// `None` for a quote of which nothing was filled: its report does not repeat what was asked for.
    pub(crate) leaves: Option<i64>,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct View {
    pub(crate) orders: BTreeMap<u64, Resting>,
    /// By account, instrument and side.
    quotes: BTreeMap<(u32, u16, u8), u64>,
    /// By account and instrument.
    pub(crate) positions: BTreeMap<(u32, u16), i64>,
}

impl View {
    pub(crate) fn take(&mut self, report: &Report) {
        match report {
            Report::Accepted(m) => {
                let order = Resting {
                    account: m.account,
                    instrument: m.instrument,
                    side: m.side,
                    cl_ord_id: m.cl_ord_id,
                    leaves: Some(m.quantity),
                };
                self.orders.insert(m.order_id, order);
            }
            Report::Replaced(m) => {
                self.orders.remove(&m.prev_order_id);
                let order = Resting {
                    account: m.account,
                    instrument: m.instrument,
                    side: m.side,
                    cl_ord_id: m.cl_ord_id,
                    leaves: Some(m.quantity),
                };
                self.orders.insert(m.order_id, order);
            }
            Report::Canceled(m) => self.set(m.order_id, m.leaves),
            Report::Filled(m) => {
                let sign = if m.side == 0 { 1 } else { -1 };
                *self.positions.entry((m.account, m.instrument)).or_default() += sign * m.quantity;
                self.set(m.order_id, m.leaves);
            }
            Report::QuoteStatus(m) => {
                self.quote(m, 0, m.bid_status, m.bid_order_id);
                self.quote(m, 1, m.ask_status, m.ask_order_id);
            }
            _ => {}
        }
    }

    fn set(&mut self, order_id: u64, leaves: i64) {
        if leaves == 0 {
            self.orders.remove(&order_id);
        } else if let Some(order) = self.orders.get_mut(&order_id) {
            order.leaves = Some(leaves);
        }
    }

    fn quote(&mut self, m: &QuoteStatus, side: u8, status: u16, order_id: u64) {
        if status == 0 {
            return;
        }
        let place = (m.account, m.instrument, side);
        let before = self.quotes.remove(&place);
        if before == Some(order_id) {
            self.quotes.insert(place, order_id);
            return;
        }
        if let Some(before) = before {
            self.orders.remove(&before);
        }
        if order_id != 0 {
            self.quotes.insert(place, order_id);
            let order = Resting {
                account: m.account,
                instrument: m.instrument,
                side,
                cl_ord_id: m.cl_ord_id,
                leaves: None,
            };
            self.orders.insert(order_id, order);
        }
    }
}
