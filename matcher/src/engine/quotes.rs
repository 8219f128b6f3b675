//! Mass quotes. An account has at most one quote a side of an instrument; an entry takes its place.
//!
//! The whole message is refused when the account may not send orders at all; a fault of one side refuses
//! that side only. Whatever rested on a side that an entry names is gone afterwards unless it was kept or
//! reduced: a stale quote never stays behind a refused one. The same price and quantity again keep the
//! place in the queue, a smaller quantity too (Deribit's rules). Sides are withdrawn before any is placed,
//! so that quotes that move up or down never meet themselves.

use super::incoming::{Incoming, passing_id};
use super::orders::reject;
use super::tracked::QUOTES;
use super::{Engine, Stamp, feed_deleted};
use crate::book::{Order, OrderBook};
use crate::outbox::Outbox;
use firmware::units::{AccountId, InstrumentId, OrderId, PriceTicks, Side};
use firmware::wire::quote::{InQuoteEntry, LOTS_NULL, MassQuote, QuoteRef};
use firmware::wire::report::{
    MassQuoteAck, QUOTE_ACCEPTED, QUOTE_KEPT, QUOTE_REDUCED, QUOTE_UNTOUCHED, QUOTE_WITHDRAWN,
    QuoteStatus,
};
use firmware::wire::sbe::ID16_NULL;

/// What an entry asks of one side.
#[derive(Clone, Copy)]
struct Wanted {
    ticks: i32,
    lots: u32,
}

impl Wanted {
    const fn of(entry: &InQuoteEntry, side: Side) -> Self {
        match side {
            Side::Buy => Self {
                ticks: entry.bid_ticks,
                lots: entry.bid_lots,
            },
            Side::Sell => Self {
                ticks: entry.ask_ticks,
                lots: entry.ask_lots,
            },
        }
    }

    /// Whether there is something to rest.
    const fn is_order(self) -> bool {
        self.lots != 0 && self.lots != LOTS_NULL
    }
}

impl<B: OrderBook> Engine<B> {
    pub(super) fn mass_quote(&mut self, stamp: &Stamp, q: QuoteRef<'_>, out: &mut Outbox) {
        self.counters.requests += 1;
        let account = AccountId(q.head.account);
        let asks_for_orders = q
            .entries
            .iter()
            .any(|e| Wanted::of(e, Side::Buy).is_order() || Wanted::of(e, Side::Sell).is_order());
        // What only withdraws always passes.
        if asks_for_orders
            && let Err(code) = self.check_account(stamp, account, false, q.head.mmp_group)
        {
            let refusal = refusal!(q.head, MassQuote, ID16_NULL);
            return reject(stamp, refusal, code, out);
        }
        self.counters.acks += 1;
        self.find_quotes(account);
        let mut refused = 0;
        for (place, entry) in q.entries.iter().enumerate() {
            refused += self.quote_entry(stamp, q, place, entry, out);
        }
        self.quoted.iter_mut().for_each(|q| *q = [OrderId(0); 2]);
        out.report(
            stamp.member,
            MassQuoteAck {
                cl_ord_id: q.head.cl_ord_id,
                client_seq: q.head.client_seq,
                rx_time: q.head.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: q.head.account,
                entries: q.entries.len() as u16,
                refused,
            },
        );
    }

    /// Looks up all quotes of an account in one walk over them.
    fn find_quotes(&mut self, account: AccountId) {
        for t in self.orders.list(account, QUOTES) {
            let order = self.book.get(t.id).expect("a tracked order rests");
            self.quoted[order.instrument.0 as usize][order.side as usize] = t.id;
        }
    }

    /// Carries out one entry; returns how many of its sides were refused.
    fn quote_entry(
        &mut self,
        stamp: &Stamp,
        q: QuoteRef<'_>,
        place: usize,
        entry: &InQuoteEntry,
        out: &mut Outbox,
    ) -> u16 {
        let sides = [Side::Buy, Side::Sell];
        let mut ids = self.quoted[entry.instrument as usize];
        let mut status = [QUOTE_UNTOUCHED; 2];
        let mut incoming = sides.map(|side| Self::quote_of(stamp, q, place, entry, side));
        for side in sides {
            let s = side as usize;
            // An earlier entry's fill may have triggered a protection group and taken the quote off.
            let old = self.book.get(ids[s]);
            let wanted = Wanted::of(entry, side);
            status[s] = self.clear_side(stamp, old, wanted, &incoming[s], out);
            if status[s] == QUOTE_ACCEPTED || status[s] == QUOTE_WITHDRAWN || old.is_none() {
                ids[s] = OrderId(0);
            }
        }
        let mut refused = 0;
        for side in sides {
            let s = side as usize;
            if status[s] != QUOTE_ACCEPTED {
                continue;
            }
            let n = &mut incoming[s];
            match self.admit(stamp, n, None) {
                Ok(()) => {
                    n.name = self.name(n);
                    ids[s] = self.place(stamp, n, out).unwrap_or(OrderId(0));
                }
                Err(code) => {
                    status[s] = code as u16;
                    refused += 1;
                }
            }
        }
        // The ask's fills may have taken the bid off again.
        let named = ids.map(|id| self.book.get(id).map_or(0, |o| o.id.0));
        out.report(
            stamp.member,
            QuoteStatus {
                cl_ord_id: q.head.cl_ord_id,
                client_seq: q.head.client_seq,
                bid_order_id: named[0],
                ask_order_id: named[1],
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: q.head.account,
                instrument: entry.instrument,
                entry: place as u16,
                bid_status: status[0],
                ask_status: status[1],
                pad1: 0,
            },
        );
        refused
    }

    fn quote_of(
        stamp: &Stamp,
        q: QuoteRef<'_>,
        place: usize,
        entry: &InQuoteEntry,
        side: Side,
    ) -> Incoming {
        let wanted = Wanted::of(entry, side);
        Incoming {
            name: passing_id(stamp, 1 + 2 * place as u64 + side as u64),
            member: stamp.member,
            account: AccountId(q.head.account),
            instrument: InstrumentId(entry.instrument),
            side,
            limit: PriceTicks(wanted.ticks),
            lots: i64::from(wanted.lots),
            filled: 0,
            takes_at_once: false,
            fills_whole: false,
            is_quote: true,
            stp_mode: q.head.stp_mode,
            flags: q.head.flags,
            mmp_group: q.head.mmp_group,
            smp_id: q.head.smp_id,
            expire_time: 0,
            cl_ord_id: q.head.cl_ord_id,
            client_seq: q.head.client_seq,
            rx_time: q.head.rx_time,
        }
    }

    /// Does what a side asks as far as it takes off or keeps; [`QUOTE_ACCEPTED`] means that an order is to be
    /// placed.
    fn clear_side(
        &mut self,
        stamp: &Stamp,
        old: Option<Order>,
        wanted: Wanted,
        n: &Incoming,
        out: &mut Outbox,
    ) -> u16 {
        if wanted.lots == LOTS_NULL {
            return QUOTE_UNTOUCHED;
        }
        let Some(old) = old else {
            return if wanted.lots == 0 {
                QUOTE_WITHDRAWN
            } else {
                QUOTE_ACCEPTED
            };
        };
        let is_alike = old.price == n.limit
            && old.info.flags == n.marks()
            && self.orders.of(old.id).smp_id == n.smp_id;
        if wanted.lots != 0 && is_alike && n.lots <= old.lots {
            let info = self.book.info_mut(old.id).expect("the quote lives");
            info.cl_ord_id = firmware::units::ClOrdId(n.cl_ord_id);
            if n.lots == old.lots {
                return QUOTE_KEPT;
            }
            self.shrink(stamp, &old, n.lots, out);
            return QUOTE_REDUCED;
        }
        self.take_off(old.id).expect("the quote lives");
        feed_deleted(stamp, &old, out);
        if wanted.lots == 0 {
            QUOTE_WITHDRAWN
        } else {
            QUOTE_ACCEPTED
        }
    }
}
