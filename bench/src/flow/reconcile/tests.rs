//! A small LOBSTER file with every kind of difference, through a plain venue, and what can go wrong with the
//! account.

use super::super::{Ask, ClientIds, lobster};
use super::*;
use crate::scenario::{Scenario, Source};
use bytemuck::Zeroable;
use client::Report;
use firmware::units::{ClOrdId, InstrumentId, OrderId, PriceTicks, Side};
use firmware::wire::order::TIF_IOC;
use firmware::wire::report::{
    Accepted, CANCEL_IOC, CANCEL_REQUESTED, Canceled, Filled, Rejected, Replaced,
};
use matcher::book::{BookLimits, LadderBook, MakerAction, OrderBook, OrderInfo, match_limit};
use std::path::Path;

const INSTRUMENT: InstrumentId = InstrumentId(0);
/// Posts of so many lots are refused.
const REFUSED_LOTS: i64 = 900;

/// What leaves the venue.
enum Out {
    Report(u32, Report),
    Trade(i64),
}

/// A book with the reports of a venue around it; no accounts, one refusal.
struct Venue {
    book: LadderBook,
    trades: u64,
}

impl Venue {
    fn new() -> Self {
        let mut book = LadderBook::new(BookLimits {
            instruments: 1,
            orders: 100,
        })
        .unwrap();
        book.list(INSTRUMENT, PriceTicks(1), 100_000).unwrap();
        Self { book, trades: 0 }
    }

    fn find(&self, member: u32, name: u64) -> Option<OrderId> {
        [Side::Buy, Side::Sell]
            .into_iter()
            .find_map(|side| {
                let levels = self.book.levels(INSTRUMENT, side);
                let mut orders = levels.flat_map(|p| self.book.orders(INSTRUMENT, side, p));
                orders.find(|o| (o.info.session, o.info.cl_ord_id.0) == (member, name))
            })
            .map(|order| order.id)
    }

    fn enter(
        &mut self,
        member: u32,
        name: u64,
        side: Side,
        ticks: i64,
        lots: i64,
        ioc: bool,
    ) -> Vec<Out> {
        if !ioc && lots >= REFUSED_LOTS {
            return vec![rejected(member, name, RejectCode::InsufficientMargin)];
        }
        let limit = PriceTicks(ticks as i32);
        let mut out = Vec::new();
        let mut open = lots;
        let trades = &mut self.trades;
        let left = match_limit(&mut self.book, INSTRUMENT, side, limit, lots, |m| {
            *trades += 1;
            open -= m.lots;
            let fill = |name, leaves, liquidity| {
                Report::Filled(Filled {
                    cl_ord_id: name,
                    trade_id: *trades,
                    quantity: m.lots,
                    leaves,
                    liquidity,
                    ..Filled::zeroed()
                })
            };
            let maker = m.maker.info;
            out.push(Out::Report(member, fill(name, open, 1)));
            out.push(Out::Trade(m.lots));
            out.push(Out::Report(
                maker.session,
                fill(maker.cl_ord_id.0, m.maker_remaining, 0),
            ));
            MakerAction::Fill
        });
        let mut order_id = 0;
        if left > 0 && !ioc {
            let info = OrderInfo {
                session: member,
                cl_ord_id: ClOrdId(name),
                ..OrderInfo::default()
            };
            order_id = self
                .book
                .insert(INSTRUMENT, side, limit, left, info)
                .unwrap()
                .0;
        }
        let accepted = Accepted {
            order_id,
            cl_ord_id: name,
            ..Accepted::zeroed()
        };
        out.insert(0, Out::Report(member, Report::Accepted(accepted)));
        if left > 0 && ioc {
            out.push(canceled(member, name, CANCEL_IOC));
        }
        out
    }

    fn apply(&mut self, member: u32, name: u64, ask: &Ask) -> Vec<Out> {
        match *ask {
            Ask::New {
                side,
                price_ticks,
                lots,
                tif,
                ..
            } => {
                let side = Side::from_wire(side).unwrap();
                let ticks = price_ticks.unwrap();
                self.enter(member, name, side, ticks, lots, tif == TIF_IOC)
            }
            Ask::Replace { orig, lots, .. } => {
                let Some(id) = self.find(member, orig) else {
                    return vec![rejected(member, name, RejectCode::UnknownOrder)];
                };
                self.book.reduce(id, lots).unwrap();
                self.book.info_mut(id).unwrap().cl_ord_id = ClOrdId(name);
                let replaced = Replaced {
                    order_id: id.0,
                    prev_order_id: id.0,
                    cl_ord_id: name,
                    ..Replaced::zeroed()
                };
                vec![Out::Report(member, Report::Replaced(replaced))]
            }
            Ask::Cancel { orig } => match self.find(member, orig) {
                Some(id) => {
                    self.book.cancel(id);
                    vec![canceled(member, orig, CANCEL_REQUESTED)]
                }
                None => vec![rejected(member, name, RejectCode::UnknownOrder)],
            },
            ref other => panic!("LOBSTER has no {other:?}"),
        }
    }

    fn best(&self) -> [Option<(i64, u64)>; 2] {
        [Side::Buy, Side::Sell].map(|side| {
            let front = self.book.front(INSTRUMENT, side)?;
            Some((i64::from(front.price.0), front.id.0))
        })
    }
}

fn rejected(member: u32, name: u64, code: RejectCode) -> Out {
    let report = Rejected {
        cl_ord_id: name,
        reason: code as u16,
        ..Rejected::zeroed()
    };
    Out::Report(member, Report::Rejected(report))
}

fn canceled(member: u32, name: u64, reason: u8) -> Out {
    let report = Canceled {
        cl_ord_id: name,
        reason,
        ..Canceled::zeroed()
    };
    Out::Report(member, Report::Canceled(report))
}

fn scenario() -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flow/market_message.csv");
    lobster::scenario(&path, 1, 20, 4).unwrap()
}

/// Replays the file; `keep` says of each output, by its number, whether it gets through.
fn replay(keep: impl Fn(usize, &Out) -> bool) -> Reconciliation {
    let scenario = scenario();
    let Source::Recorded(steps) = &scenario.source else {
        panic!("a recorded flow");
    };
    let mut reconciler = Reconciler::new(scenario.market.unwrap());
    let (mut venue, mut ids, mut outputs) = (Venue::new(), ClientIds::default(), 0);
    for step in steps {
        while reconciler.next_look_ns().is_some_and(|at| at < step.at_ns) {
            reconciler.look(venue.best(), true);
        }
        let name = ids.next(step.member);
        reconciler.sent(step.member, name);
        for out in venue.apply(step.member, name, &step.order.ask) {
            outputs += 1;
            if keep(outputs, &out) {
                match out {
                    Out::Report(member, report) => reconciler.report(member, &report),
                    Out::Trade(lots) => reconciler.trade(lots),
                }
            }
        }
    }
    while reconciler.next_look_ns().is_some() {
        reconciler.look(venue.best(), true);
    }
    reconciler.finish()
}

#[test]
fn every_difference_has_its_reason_and_the_account_closes() {
    let r = replay(|_, _| true);
    assert!(r.closes, "{:#?}", r.lines());
    let amounts = |a: &Amount| (a.count, a.lots);
    assert_eq!(
        [r.recorded, r.traded, r.as_recorded, r.elsewhere, r.posted].map(|a| amounts(&a)),
        [(10, 338), (7, 198), (3, 120), (3, 53), (1, 25)]
    );
    let not_here = r.not_here.iter();
    let not_here: Vec<_> = not_here
        .map(|(why, a)| (why.as_str(), amounts(a)))
        .collect();
    assert_eq!(
        not_here,
        [
            (
                "execution (type 4) of an order from before the file",
                (1, 40)
            ),
            (
                "execution (type 4) of an order that was not mapped",
                (2, 25)
            ),
            ("execution of more than the order had left", (1, 20)),
            ("hidden execution (type 5)", (1, 30)),
            ("its order was refused: InsufficientMargin", (1, 50)),
        ]
    );
    let reasons = BTreeMap::from([
        ("not on our book: its order had traded here already", 7),
        (
            "not on our book: its order was refused: InsufficientMargin",
            3,
        ),
        (
            "not on our book: new order (type 1) priced between two ticks",
            2,
        ),
        (
            "still on our book: its execution met another order, or none",
            2,
        ),
    ]);
    assert_eq!(r.best_prices(), (40, 26, reasons));
}

/// The number of the first output that is as asked.
fn first(pick: impl Fn(&Out) -> bool) -> usize {
    let found = std::cell::Cell::new(0);
    replay(|k, out| {
        if found.get() == 0 && pick(out) {
            found.set(k);
        }
        true
    });
    assert_ne!(found.get(), 0, "no such output");
    found.get()
}

#[test]
fn a_trade_that_the_feed_does_not_show_leaves_the_account_open() {
    let lost = first(|out| matches!(out, Out::Trade(_)));
    assert!(!replay(|k, _| k != lost).closes);
}

#[test]
fn a_fill_that_one_side_is_not_told_leaves_the_account_open() {
    for side in [0, 1] {
        let lost =
            first(|out| matches!(out, Out::Report(_, Report::Filled(m)) if m.liquidity == side));
        assert!(!replay(|k, _| k != lost).closes, "side {side}");
    }
}

#[test]
fn an_order_that_vanishes_leaves_a_best_price_unexplained() {
    let mut reconciler = Reconciler::new(scenario().market.unwrap());
    // Our book is empty although the venue took the first order and never said that it is gone.
    reconciler.sent(2, 1);
    let accepted = Report::Accepted(Accepted {
        order_id: 7,
        cl_ord_id: 1,
        ..Accepted::zeroed()
    });
    reconciler.report(2, &accepted);
    reconciler.look([None, None], true);
    let r = reconciler.finish();
    assert_eq!(r.looks[0].why[0].as_deref(), Some(UNEXPLAINED));
}
