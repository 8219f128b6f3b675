//! The fast book and its slow twin give the same answers, the same ids and the same books on any
//! stream of calls; a third, independent reading of the orders checks what the two share.

use firmware::units::{AccountId, ClOrdId, InstrumentId, OrderId, PriceTicks, Side};
use matcher::book::{
    BookLimits, LadderBook, MakerAction, Meeting, Order, OrderBook, OrderInfo, match_limit, reaches,
};
use matcher::reference::ReferenceBook;
use proptest::prelude::*;

const LIMITS: BookLimits = BookLimits {
    instruments: 4,
    orders: 14,
};
/// Base and width of the listed instruments; the others are never listed.
const BANDS: [(i32, u32); 2] = [(10, 6), (1_000, 4_200)];

#[derive(Clone, Debug)]
enum Call {
    /// Match, then rest what is left unless the matching was stopped.
    Enter {
        at: usize,
        side: Side,
        price: i32,
        lots: i64,
        rule: u8,
    },
    Cancel {
        pick: usize,
    },
    Reduce {
        pick: usize,
        to: i64,
    },
    Fill {
        at: usize,
        side: Side,
        lots: i64,
    },
    Rename {
        pick: usize,
        name: u64,
    },
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

/// An instrument, mostly listed, and a price, mostly inside its band and often near the middle.
fn place() -> impl Strategy<Value = (usize, i32)> {
    prop_oneof![
        6 => (0..BANDS[0].1 as i32).prop_map(|o| (0, BANDS[0].0 + o)),
        4 => (0..BANDS[1].1 as i32).prop_map(|o| (1, BANDS[1].0 + o)),
        4 => (-3i32..3).prop_map(|o| (1, BANDS[1].0 + 2_100 + o)),
        1 => (0usize..5, -5i32..6_000),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => (place(), side(), -1i64..12, any::<u8>())
            .prop_map(|((at, price), side, lots, rule)| Call::Enter { at, side, price, lots, rule }),
        3 => any::<usize>().prop_map(|pick| Call::Cancel { pick }),
        2 => (any::<usize>(), -1i64..12).prop_map(|(pick, to)| Call::Reduce { pick, to }),
        1 => (0usize..2, side(), 1i64..12).prop_map(|(at, side, lots)| Call::Fill { at, side, lots }),
        1 => (any::<usize>(), any::<u64>()).prop_map(|(pick, name)| Call::Rename { pick, name }),
    ]
}

struct Run<B> {
    book: B,
    /// Every id ever given, dead or alive.
    ids: Vec<OrderId>,
}

impl<B: OrderBook> Run<B> {
    fn new() -> Self {
        let mut book = B::new(LIMITS).unwrap();
        for (i, (base, width)) in BANDS.into_iter().enumerate() {
            book.list(InstrumentId(i as u16), PriceTicks(base), width)
                .unwrap();
        }
        Self {
            book,
            ids: vec![
                OrderId(0),
                OrderId(u64::MAX),
                OrderId::new(LIMITS.orders + 1, 1),
            ],
        }
    }

    /// Applies a call and gives its whole answer as text.
    fn apply(&mut self, call: &Call) -> String {
        match *call {
            Call::Enter {
                at,
                side,
                price,
                lots,
                rule,
            } => self.enter(at, side, price, lots, rule),
            Call::Cancel { pick } => {
                format!("{:?}", self.book.cancel(self.ids[pick % self.ids.len()]))
            }
            Call::Reduce { pick, to } => format!(
                "{:?}",
                self.book.reduce(self.ids[pick % self.ids.len()], to)
            ),
            Call::Fill { at, side, lots } => {
                let front = self.book.front(InstrumentId(at as u16), side);
                format!(
                    "{:?}",
                    front.map(|o| self.book.fill(o.id, lots.min(o.lots)))
                )
            }
            Call::Rename { pick, name } => {
                let info = self.book.info_mut(self.ids[pick % self.ids.len()]);
                format!("{:?}", info.map(|i| i.cl_ord_id = ClOrdId(name)))
            }
        }
    }

    fn enter(&mut self, at: usize, side: Side, price: i32, lots: i64, rule: u8) -> String {
        let (at, price) = (InstrumentId(at as u16), PriceTicks(price));
        let before = flat(&self.book, at, side.opposite());
        let mut meetings: Vec<(Meeting, MakerAction)> = Vec::new();
        let left = match_limit(&mut self.book, at, side, price, lots, |m| {
            let action = match rule.wrapping_add(m.maker.info.account.0 as u8) % 16 {
                0 => MakerAction::CancelMaker,
                1 => MakerAction::CancelMakerAndStop,
                2 => MakerAction::Stop,
                _ => MakerAction::Fill,
            };
            meetings.push((*m, action));
            action
        });
        check_match(&before, side, price, lots, left, &meetings);
        let stopped = meetings
            .last()
            .is_some_and(|m| matches!(m.1, MakerAction::Stop | MakerAction::CancelMakerAndStop));
        let n = self.ids.len() as u64;
        let info = OrderInfo {
            account: AccountId(n as u32 * 7),
            session: 3,
            cl_ord_id: ClOrdId(n),
            flags: 1,
        };
        let rested = (!stopped && (left > 0 || lots <= 0))
            .then(|| self.book.insert(at, side, price, left, info));
        if let Some(Ok(id)) = rested {
            assert!(!self.ids.contains(&id), "an id was given twice");
            self.ids.push(id);
        }
        format!("{meetings:?} {left} {rested:?}")
    }

    /// All that can be asked, as text.
    fn picture(&self) -> String {
        let book = &self.book;
        let mut text = format!("{} {} {:?}", book.live(), book.capacity(), book.next_id());
        for at in (0..5).map(InstrumentId) {
            text += &format!("\n{:?}", book.listed(at));
            for side in [Side::Buy, Side::Sell] {
                text += &format!(
                    "\n{at} {side:?} {:?} {:?}",
                    book.best(at, side),
                    book.front(at, side)
                );
                for price in book.levels(at, side) {
                    let orders: Vec<_> = book.orders(at, side, price).collect();
                    text += &format!("\n{price} {:?} {orders:?}", book.level(at, side, price));
                }
            }
        }
        for &id in &self.ids {
            text += &format!("\n{:?} {:?}", book.get(id), book.next_in_level(id));
        }
        text
    }
}

/// The orders of a side, as they would trade.
fn flat<B: OrderBook>(book: &B, at: InstrumentId, side: Side) -> Vec<Order> {
    book.levels(at, side)
        .flat_map(|price| book.orders(at, side, price).collect::<Vec<_>>())
        .collect()
}

/// What a match did, read off the queue as it was before.
fn check_match(
    queue: &[Order],
    side: Side,
    limit: PriceTicks,
    lots: i64,
    left: i64,
    meetings: &[(Meeting, MakerAction)],
) {
    let mut open = lots;
    for (place, (meeting, action)) in meetings.iter().enumerate() {
        assert_eq!(
            meeting.maker, queue[place],
            "makers are met in the order of the queue"
        );
        assert!(reaches(side.opposite(), meeting.maker.price, limit));
        assert_eq!(meeting.lots, open.min(meeting.maker.lots));
        assert_eq!(meeting.maker_remaining, meeting.maker.lots - meeting.lots);
        assert_eq!(meeting.taker_remaining, open - meeting.lots);
        if *action == MakerAction::Fill {
            open -= meeting.lots;
        }
    }
    assert_eq!(left, open);
    let stopped = meetings
        .last()
        .is_some_and(|m| matches!(m.1, MakerAction::Stop | MakerAction::CancelMakerAndStop));
    let more = queue
        .get(meetings.len())
        .is_some_and(|o| reaches(side.opposite(), o.price, limit));
    assert!(left <= 0 || stopped || !more, "matching ended early");
}

/// Depth, and the queries at prices that need not be levels, against the plain list of orders.
fn check_queries<B: OrderBook>(
    book: &B,
    at: usize,
    side: Side,
    price: i32,
    wanted: i64,
    orders_max: u32,
) {
    let (at, price) = (InstrumentId(at as u16), PriceTicks(price));
    let queue = flat(book, at, side);
    let within = queue.iter().filter(|o| reaches(side, o.price, price));
    let depth: i64 = within.take(orders_max as usize).map(|o| o.lots).sum();
    assert_eq!(
        book.depth_within(at, side, price, wanted, orders_max),
        depth >= wanted
    );
    let here: Vec<_> = queue.iter().filter(|o| o.price == price).collect();
    let level = book.level(at, side, price);
    assert_eq!(
        (level.lots as i64, level.orders as usize),
        (here.iter().map(|o| o.lots).sum(), here.len())
    );
    assert_eq!(
        book.first_in_level(at, side, price),
        here.first().map(|o| o.id)
    );
    assert_eq!(
        book.last_in_level(at, side, price),
        here.last().map(|o| o.id)
    );
    let worse = queue.iter().find(|o| !reaches(side, o.price, price));
    assert_eq!(book.next_level(at, side, price), worse.map(|o| o.price));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_book_and_its_slow_twin_agree_on_every_call(
        calls in proptest::collection::vec((call(), place(), side(), 0i64..40, 0u32..9), 1..80),
    ) {
        let (mut fast, mut slow) = (Run::<LadderBook>::new(), Run::<ReferenceBook>::new());
        for (call, (at, price), side, wanted, orders_max) in calls {
            prop_assert_eq!(fast.apply(&call), slow.apply(&call), "answers to {:?}", call);
            fast.book.check_invariants();
            slow.book.check_invariants();
            prop_assert_eq!(fast.picture(), slow.picture(), "books after {:?}", call);
            check_queries(&fast.book, at, side, price, wanted, orders_max);
            check_queries(&slow.book, at, side, price, wanted, orders_max);
        }
    }
}
