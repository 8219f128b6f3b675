//! The fast book and its slow twin give the same answers, ids and books for any calls.
#![no_main]

use firmware::units::{AccountId, ClOrdId, InstrumentId, OrderId, PriceTicks, Side};
use fuzz::Bytes;
use libfuzzer_sys::fuzz_target;
use matcher::book::{
    BookError, BookLimits, LadderBook, MakerAction, Meeting, Order, OrderBook, OrderInfo,
    match_limit,
};
use matcher::reference::ReferenceBook;

const LIMITS: BookLimits = BookLimits {
    instruments: 3,
    orders: 20,
};
/// Base and width of the instruments; the last is never listed.
const BANDS: [(i32, u32); 2] = [(10, 6), (1_000, 4_200)];
const CALLS_MAX: usize = 500;
/// Calls between two looks at whole books.
const WHOLE_EVERY: usize = 32;

#[derive(Clone, Copy, Debug)]
enum Call {
    Enter {
        at: u16,
        side: Side,
        price: i32,
        lots: i64,
        rule: u8,
    },
    Cancel(OrderId),
    Reduce(OrderId, i64),
    Fill(u16, Side, i64),
    Rename(OrderId, u64),
    Depth(u16, Side, i32, i64, u32),
    Collect(u16),
    Uncollect(u16),
}

#[derive(PartialEq, Debug)]
enum Answer {
    Entered(
        Vec<(Meeting, MakerAction)>,
        i64,
        Option<Result<OrderId, BookError>>,
    ),
    Order(Option<Order>),
    Reduced(Result<i64, BookError>),
    Filled(Option<i64>),
    Yes(bool),
}

struct Run<B> {
    book: B,
    collects: [bool; 3],
}

impl<B: OrderBook> Run<B> {
    fn new() -> Self {
        let mut book = B::new(LIMITS).expect("sound limits");
        for (i, (base, width)) in BANDS.into_iter().enumerate() {
            book.list(InstrumentId(i as u16), PriceTicks(base), width)
                .expect("sound bands");
        }
        Self {
            book,
            collects: [false; 3],
        }
    }

    fn apply(&mut self, call: Call) -> Answer {
        match call {
            Call::Enter {
                at,
                side,
                price,
                lots,
                rule,
            } => self.enter(InstrumentId(at), side, PriceTicks(price), lots, rule),
            Call::Cancel(id) => Answer::Order(self.book.cancel(id)),
            Call::Reduce(id, to) => Answer::Reduced(self.book.reduce(id, to)),
            Call::Fill(at, side, lots) => {
                let front = self.book.front(InstrumentId(at), side);
                Answer::Filled(front.map(|o| self.book.fill(o.id, lots.min(o.lots))))
            }
            Call::Rename(id, name) => {
                let info = self.book.info_mut(id);
                Answer::Yes(info.map(|i| i.cl_ord_id = ClOrdId(name)).is_some())
            }
            Call::Depth(at, side, price, wanted, orders) => Answer::Yes(self.book.depth_within(
                InstrumentId(at),
                side,
                PriceTicks(price),
                wanted,
                orders,
            )),
            Call::Collect(at) => {
                let listed = self.book.listed(InstrumentId(at)).is_some();
                if listed {
                    self.book.collect(InstrumentId(at));
                    self.collects[usize::from(at)] = true;
                }
                Answer::Yes(listed)
            }
            Call::Uncollect(at) => {
                let best = |side| self.book.best(InstrumentId(at), side);
                let crossed =
                    matches!((best(Side::Buy), best(Side::Sell)), (Some(b), Some(a)) if b >= a);
                let may = self.collects[usize::from(at)] && !crossed;
                if may {
                    self.book.uncollect(InstrumentId(at));
                    self.collects[usize::from(at)] = false;
                }
                Answer::Yes(may)
            }
        }
    }

    /// Matches, then rests what is left; rests at once while orders are collected.
    fn enter(
        &mut self,
        at: InstrumentId,
        side: Side,
        price: PriceTicks,
        lots: i64,
        rule: u8,
    ) -> Answer {
        let mut meetings = Vec::new();
        let mut left = lots;
        if !self.collects[usize::from(at.0)] {
            left = match_limit(&mut self.book, at, side, price, lots, |m| {
                let action = match rule.wrapping_add(m.maker.info.account.0 as u8) % 8 {
                    0 => MakerAction::CancelMaker,
                    1 => MakerAction::CancelMakerAndStop,
                    2 => MakerAction::Stop,
                    _ => MakerAction::Fill,
                };
                meetings.push((*m, action));
                action
            });
        }
        let stopped = meetings
            .last()
            .is_some_and(|m| matches!(m.1, MakerAction::Stop | MakerAction::CancelMakerAndStop));
        let info = OrderInfo {
            account: AccountId(u32::from(rule) / 3),
            session: 3,
            cl_ord_id: ClOrdId(u64::from(rule)),
            flags: 1,
        };
        let rested = (!stopped && (left > 0 || lots <= 0))
            .then(|| self.book.insert(at, side, price, left, info));
        Answer::Entered(meetings, left, rested)
    }
}

/// What costs little, after each call.
fn same_tops(fast: &LadderBook, slow: &ReferenceBook) {
    assert_eq!(fast.next_id(), slow.next_id());
    assert_eq!(fast.live(), slow.live());
    for at in (0..LIMITS.instruments).map(InstrumentId) {
        for side in [Side::Buy, Side::Sell] {
            assert_eq!(fast.best(at, side), slow.best(at, side));
            assert_eq!(fast.front(at, side), slow.front(at, side));
        }
    }
}

/// Every level and order, and each book's own invariants.
fn same_books(fast: &LadderBook, slow: &ReferenceBook) {
    for at in (0..LIMITS.instruments).map(InstrumentId) {
        for side in [Side::Buy, Side::Sell] {
            assert!(fast.levels(at, side).eq(slow.levels(at, side)));
            for price in slow.levels(at, side) {
                assert_eq!(fast.level(at, side, price), slow.level(at, side, price));
                assert!(
                    fast.orders(at, side, price)
                        .eq(slow.orders(at, side, price))
                );
                assert_eq!(
                    fast.last_in_level(at, side, price),
                    slow.last_in_level(at, side, price)
                );
            }
        }
    }
    fast.check_invariants();
    slow.check_invariants();
}

fn call(bytes: &mut Bytes<'_>, ids: &[OrderId]) -> Call {
    let kind = bytes.below(24);
    let at = match bytes.byte() {
        0..120 => 0,
        120..250 => 1,
        _ => 2,
    };
    let side = if bytes.flag() { Side::Buy } else { Side::Sell };
    let id = |bytes: &mut Bytes<'_>| ids[bytes.below(ids.len() as u32) as usize];
    let price = |bytes: &mut Bytes<'_>| match at {
        0 => bytes.within(8, 17) as i32,
        _ if bytes.flag() => 3_100 + bytes.within(-4, 4) as i32,
        _ => bytes.within(998, 5_201) as i32,
    };
    match kind {
        0..12 => Call::Enter {
            at,
            side,
            price: price(bytes),
            lots: bytes.within(-1, 14),
            rule: bytes.byte(),
        },
        12..15 => Call::Cancel(id(bytes)),
        15..17 => Call::Reduce(id(bytes), bytes.within(-1, 14)),
        17 | 18 => Call::Fill(at, side, bytes.within(1, 14)),
        19 => Call::Rename(id(bytes), bytes.word()),
        20 | 21 => Call::Depth(at, side, price(bytes), bytes.within(-1, 60), bytes.below(9)),
        22 => Call::Collect(at),
        _ => Call::Uncollect(at),
    }
}

fuzz_target!(|data: &[u8]| {
    let (mut fast, mut slow) = (Run::<LadderBook>::new(), Run::<ReferenceBook>::new());
    let mut ids = vec![
        OrderId(0),
        OrderId(u64::MAX),
        OrderId::new(LIMITS.orders + 1, 1),
    ];
    let mut bytes = Bytes::new(data);
    for n in 0..CALLS_MAX {
        if bytes.is_empty() {
            break;
        }
        let call = call(&mut bytes, &ids);
        let answer = fast.apply(call);
        assert_eq!(answer, slow.apply(call), "answers to call {n}, {call:?}");
        if let Answer::Entered(_, _, Some(Ok(id))) = answer {
            assert!(!ids.contains(&id), "an id was given twice");
            ids.push(id);
        }
        same_tops(&fast.book, &slow.book);
        if n % WHOLE_EVERY == 0 {
            same_books(&fast.book, &slow.book);
        }
    }
    same_books(&fast.book, &slow.book);
});
