//! Priority rules as text: each line is a call and what it must answer, run on both books.
//!
//! ```text
//! rest NAME SIDE PRICE LOTS     => slot.generation of the id, or the error
//! enter NAME SIDE LIMIT LOTS    => trades `MAKER LOTS@PRICE`, then what became of the remainder
//! take SIDE LIMIT LOTS          => the same, the remainder is dropped
//! cancel NAME | reduce NAME TO  => lots taken off the book, or why not
//! queue SIDE                    => `PRICE: NAME LOTS, ..` for each level, best first
//! depth SIDE LIMIT LOTS MAX     => whether that much is there within MAX orders
//! ```

use firmware::units::{AccountId, ClOrdId, InstrumentId, OrderId, PriceTicks, Side};
use matcher::book::{
    BookError, BookLimits, LadderBook, MakerAction, Meeting, Order, OrderBook, OrderInfo,
    match_limit,
};
use matcher::reference::ReferenceBook;
use std::collections::BTreeMap;

const INSTRUMENT: InstrumentId = InstrumentId(2);
const ORDERS: u32 = 4;

struct Run<B> {
    book: B,
    /// The id that each name had last; ids of dead orders stay, to be used against the book.
    ids: BTreeMap<String, OrderId>,
    /// Names by client order id.
    names: Vec<String>,
}

impl<B: OrderBook> Run<B> {
    fn new() -> Self {
        let mut book = B::new(BookLimits {
            instruments: 3,
            orders: ORDERS,
        })
        .unwrap();
        book.list(INSTRUMENT, PriceTicks(100), 5_000).unwrap();
        Self {
            book,
            ids: BTreeMap::new(),
            names: Vec::new(),
        }
    }

    fn name(&self, order: &Order) -> &str {
        &self.names[order.info.cl_ord_id.0 as usize]
    }

    fn rest(&mut self, name: &str, side: Side, price: i32, lots: i64) -> String {
        let info = OrderInfo {
            account: AccountId(7),
            session: 1,
            cl_ord_id: ClOrdId(self.names.len() as u64),
            flags: 0,
        };
        self.names.push(name.into());
        match self
            .book
            .insert(INSTRUMENT, side, PriceTicks(price), lots, info)
        {
            Ok(id) => {
                self.ids.insert(name.into(), id);
                format!("{}.{}", id.slot(), id.generation())
            }
            Err(e) => format!("{e:?}"),
        }
    }

    fn take(&mut self, side: Side, limit: i32, lots: i64) -> (Vec<String>, i64) {
        let mut meetings: Vec<Meeting> = Vec::new();
        let left = match_limit(
            &mut self.book,
            INSTRUMENT,
            side,
            PriceTicks(limit),
            lots,
            |m| {
                meetings.push(*m);
                MakerAction::Fill
            },
        );
        let trades = meetings
            .iter()
            .map(|m| format!("{} {}@{}", self.name(&m.maker), m.lots, m.maker.price));
        (trades.collect(), left)
    }

    fn queue(&self, side: Side) -> String {
        let levels = self.book.levels(INSTRUMENT, side).map(|price| {
            let orders = self.book.orders(INSTRUMENT, side, price);
            let orders: Vec<_> = orders
                .map(|o| format!("{} {}", self.name(&o), o.lots))
                .collect();
            format!("{price}: {}", orders.join(", "))
        });
        levels.collect::<Vec<_>>().join("; ")
    }

    fn line(&mut self, call: &str) -> String {
        let words: Vec<&str> = call.split_whitespace().collect();
        let number = |i: usize| words[i].parse::<i64>().unwrap();
        let side = |i: usize| {
            if words[i] == "buy" {
                Side::Buy
            } else {
                Side::Sell
            }
        };
        match words[0] {
            "rest" => self.rest(words[1], side(2), number(3) as i32, number(4)),
            "take" => {
                let (trades, left) = self.take(side(1), number(2) as i32, number(3));
                format!("{}; left {left}", trades.join(", "))
            }
            "enter" => {
                let (mut trades, left) = self.take(side(2), number(3) as i32, number(4));
                if left > 0 {
                    trades.push(format!(
                        "rests {left} as {}",
                        self.rest(words[1], side(2), number(3) as i32, left)
                    ));
                }
                trades.join(", ")
            }
            "cancel" => self
                .book
                .cancel(self.ids[words[1]])
                .map_or("dead".into(), |o| o.lots.to_string()),
            "reduce" => match self.book.reduce(self.ids[words[1]], number(2)) {
                Ok(lots) => lots.to_string(),
                Err(e) => format!("{e:?}"),
            },
            "queue" => self.queue(side(1)),
            "depth" => {
                let limit = PriceTicks(number(2) as i32);
                self.book
                    .depth_within(INSTRUMENT, side(1), limit, number(3), number(4) as u32)
                    .to_string()
            }
            other => panic!("unknown call {other}"),
        }
    }

    fn play(mut self, scenario: &str) {
        for line in scenario.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (call, expected) = line.split_once("=>").unwrap();
            assert_eq!(
                self.line(call),
                expected.trim(),
                "{} at: {line}",
                std::any::type_name::<B>()
            );
            self.book.check_invariants();
        }
    }
}

fn play(scenario: &str) {
    Run::<ReferenceBook>::new().play(scenario);
    Run::<LadderBook>::new().play(scenario);
}

#[test]
fn older_orders_at_a_price_trade_first() {
    play(
        "rest a sell 200 5 => 1.1
         rest b sell 200 5 => 2.1
         take buy 200 7    => a 5@200, b 2@200; left 0
         queue sell        => 200: b 3",
    );
}

#[test]
fn better_prices_trade_before_older_orders() {
    play(
        "rest a buy 200 1  => 1.1
         rest b buy 202 1  => 2.1
         rest c buy 201 1  => 3.1
         queue buy         => 202: b 1; 201: c 1; 200: a 1
         take sell 200 2   => b 1@202, c 1@201; left 0",
    );
}

#[test]
fn a_partial_fill_keeps_priority() {
    play(
        "rest a sell 200 5 => 1.1
         rest b sell 200 5 => 2.1
         take buy 200 2    => a 2@200; left 0
         rest c sell 200 5 => 3.1
         take buy 200 4    => a 3@200, b 1@200; left 0
         queue sell        => 200: b 4, c 5",
    );
}

#[test]
fn a_reduction_keeps_priority_and_only_reduces() {
    play(
        "rest a sell 200 5 => 1.1
         rest b sell 200 5 => 2.1
         reduce a 5        => BadLots
         reduce a 6        => BadLots
         reduce a 0        => BadLots
         reduce a -1       => BadLots
         reduce a 2        => 3
         queue sell        => 200: a 2, b 5
         take buy 200 3    => a 2@200, b 1@200; left 0
         reduce a 1        => DeadOrder",
    );
}

#[test]
fn a_replaced_order_goes_to_the_back_of_its_price() {
    play(
        "rest a buy 200 5  => 1.1
         rest b buy 200 5  => 2.1
         cancel a          => 5
         rest a buy 200 6  => 1.2
         take sell 200 6   => b 5@200, a 1@200; left 0",
    );
}

#[test]
fn a_trade_is_at_the_price_of_the_maker() {
    play(
        "rest a sell 200 1 => 1.1
         rest b sell 203 1 => 2.1
         take buy 5000 2   => a 1@200, b 1@203; left 0",
    );
}

#[test]
fn a_sweep_of_several_levels_stops_at_its_limit_and_the_remainder_rests_there() {
    play(
        "rest a sell 200 1    => 1.1
         rest b sell 300 2    => 2.1
         rest c sell 4900 3   => 3.1
         enter t buy 4899 10  => a 1@200, b 2@300, rests 7 as 2.2
         queue buy            => 4899: t 7
         queue sell           => 4900: c 3
         take sell 1 10       => t 7@4899; left 3
         queue buy            => ",
    );
}

#[test]
fn a_cancel_in_the_middle_keeps_the_order_of_the_others() {
    play(
        "rest a buy 200 1 => 1.1
         rest b buy 200 2 => 2.1
         rest c buy 200 3 => 3.1
         cancel b         => 2
         queue buy        => 200: a 1, c 3
         cancel a         => 1
         cancel c         => 3
         queue buy        => ",
    );
}

#[test]
fn a_cancel_of_a_dead_order_changes_nothing() {
    play(
        "rest a buy 200 1 => 1.1
         rest b buy 200 2 => 2.1
         take sell 200 1  => a 1@200; left 0
         cancel a         => dead
         cancel b         => 2
         cancel b         => dead
         queue buy        => ",
    );
}

#[test]
fn an_old_id_does_not_reach_the_order_that_got_its_slot() {
    // The name x keeps the id of a dead order: `rest` under another name takes the slot.
    play(
        "rest x buy 200 1 => 1.1
         cancel x         => 1
         rest y buy 200 2 => 1.2
         cancel x         => dead
         reduce x 1       => DeadOrder
         queue buy        => 200: y 2",
    );
}

#[test]
fn the_slot_freed_last_is_reused_first() {
    play(
        "rest a buy 200 1 => 1.1
         rest b buy 200 1 => 2.1
         rest c buy 200 1 => 3.1
         cancel a         => 1
         cancel c         => 1
         rest d buy 200 1 => 3.2
         rest e buy 200 1 => 1.2
         rest f buy 200 1 => 4.1",
    );
}

#[test]
fn a_full_arena_refuses_and_recovers() {
    play(
        "rest a buy 200 1    => 1.1
         rest b buy 201 1    => 2.1
         rest c sell 300 1   => 3.1
         rest d sell 301 1   => 4.1
         rest e buy 200 1    => Full
         queue buy           => 201: b 1; 200: a 1
         enter f sell 201 2  => b 1@201, rests 1 as 2.2
         queue sell          => 201: f 1; 300: c 1; 301: d 1
         rest e buy 200 1    => Full
         cancel d            => 1
         rest e buy 200 1    => 4.2",
    );
}

#[test]
fn orders_outside_the_band_or_without_lots_are_refused() {
    play(
        "rest a buy 99 1            => OutOfBand
         rest a sell 5100 1         => OutOfBand
         rest a buy -5 1            => OutOfBand
         rest a buy 200 0           => BadLots
         rest a buy 200 -1          => BadLots
         rest a buy 200 16777216    => BadLots
         rest a buy 100 16777215    => 1.1
         rest b sell 5099 1         => 2.1
         take sell 0 20000000       => a 16777215@100; left 3222785",
    );
}

#[test]
fn depth_counts_lots_and_orders_up_to_the_limit() {
    play(
        "rest a sell 200 5     => 1.1
         rest b sell 200 6     => 2.1
         rest c sell 250 7     => 3.1
         depth sell 199 1 9    => false
         depth sell 200 11 9   => true
         depth sell 200 12 9   => false
         depth sell 249 12 9   => false
         depth sell 250 18 9   => true
         depth sell 250 18 3   => true
         depth sell 250 18 2   => false
         depth sell 250 11 2   => true
         depth sell 250 6 1    => false
         depth sell 250 5 1    => true
         depth sell 9999 19 9  => false
         depth buy 1 1 9       => false",
    );
}

fn every_action_does_what_it_says<B: OrderBook>() {
    let mut run = Run::<B>::new();
    for (name, price) in [("a", 200), ("b", 201), ("c", 202), ("d", 203)] {
        run.rest(name, Side::Sell, price, 10);
    }
    let mut script = [
        MakerAction::CancelMaker,
        MakerAction::Fill,
        MakerAction::CancelMakerAndStop,
    ]
    .into_iter();
    let mut met = Vec::new();
    let take = |book: &mut B, met: &mut Vec<_>, script: &mut dyn Iterator<Item = MakerAction>| {
        match_limit(book, INSTRUMENT, Side::Buy, PriceTicks(300), 15, |m| {
            met.push((
                m.maker.price.0,
                m.lots,
                m.maker_remaining,
                m.taker_remaining,
            ));
            script.next().unwrap_or(MakerAction::Stop)
        })
    };
    let left = take(&mut run.book, &mut met, &mut script);
    assert_eq!((left, run.queue(Side::Sell).as_str()), (5, "203: d 10"));
    // Only the meeting at 201 traded, so the next ones offer the same five lots.
    assert_eq!(met, [(200, 10, 0, 5), (201, 10, 0, 5), (202, 5, 5, 0)]);
    let left = take(&mut run.book, &mut met, &mut script);
    assert_eq!((left, run.queue(Side::Sell).as_str()), (15, "203: d 10"));
    run.book.check_invariants();
}

#[test]
fn the_matching_loop_obeys_every_action() {
    every_action_does_what_it_says::<ReferenceBook>();
    every_action_does_what_it_says::<LadderBook>();
}

fn a_guess_is_refused<B: OrderBook>() {
    let mut run = Run::<B>::new();
    run.rest("a", Side::Sell, 200, 1);
    let guesses = [
        run.book.next_id().unwrap(),
        OrderId(0),
        OrderId::new(0, 1),
        OrderId::new(ORDERS + 1, 1),
        OrderId(u64::MAX),
    ];
    for id in guesses {
        assert_eq!(run.book.get(id), None);
        assert_eq!(run.book.cancel(id), None);
        assert_eq!(run.book.reduce(id, 1), Err(BookError::DeadOrder));
        assert_eq!(run.book.info_mut(id), None);
        assert_eq!(run.book.next_in_level(id), None);
    }
    run.book.check_invariants();
    assert_eq!(run.queue(Side::Sell), "200: a 1");
}

#[test]
fn an_id_that_was_never_given_names_no_order() {
    a_guess_is_refused::<ReferenceBook>();
    a_guess_is_refused::<LadderBook>();
}

fn limits_are_checked<B: OrderBook>() {
    let refused = [(0, 1), (257, 1), (1, 0), (1, 1 << 20)];
    for (instruments, orders) in refused {
        assert_eq!(
            B::new(BookLimits {
                instruments,
                orders
            })
            .err(),
            Some(BookError::BadLimits)
        );
    }
    let mut book = B::new(BookLimits {
        instruments: 2,
        orders: 1,
    })
    .unwrap();
    let mut list = |i, base, width| book.list(InstrumentId(i), PriceTicks(base), width);
    assert_eq!(list(2, 1, 1), Err(BookError::UnknownInstrument));
    assert_eq!(list(0, 0, 1), Err(BookError::BadBand));
    assert_eq!(list(0, 1, 0), Err(BookError::BadBand));
    assert_eq!(list(0, 2, (1 << 24) - 1), Err(BookError::BadBand));
    assert_eq!(list(0, i32::MAX, u32::MAX), Err(BookError::BadBand));
    assert_eq!(list(0, (1 << 24) - 3, 3), Ok(()));
    assert_eq!(list(0, 1, 1), Err(BookError::AlreadyListed));
    let (top, info) = (PriceTicks((1 << 24) - 1), OrderInfo::default());
    assert_eq!(
        book.insert(InstrumentId(1), Side::Buy, top, 1, info),
        Err(BookError::NotListed)
    );
    assert_eq!(
        book.insert(InstrumentId(9), Side::Buy, top, 1, info),
        Err(BookError::NotListed)
    );
    let id = book
        .insert(InstrumentId(0), Side::Buy, top, 1, info)
        .unwrap();
    assert_eq!(
        book.get(id).map(|o| (o.price, o.side)),
        Some((top, Side::Buy))
    );
    assert_eq!(
        (
            book.best(InstrumentId(1), Side::Buy),
            book.listed(InstrumentId(1))
        ),
        (None, None)
    );
    assert_eq!((book.live(), book.capacity(), book.next_id()), (1, 1, None));
    book.info_mut(id).unwrap().cl_ord_id = ClOrdId(99);
    assert_eq!(book.get(id).unwrap().info.cl_ord_id, ClOrdId(99));
}

#[test]
fn limits_and_bands_are_checked_when_memory_is_taken() {
    limits_are_checked::<ReferenceBook>();
    limits_are_checked::<LadderBook>();
}

#[test]
#[should_panic(expected = "an order that crosses the book was rested")]
fn resting_a_crossing_order_in_the_fast_book_is_a_broken_invariant() {
    let mut run = Run::<LadderBook>::new();
    run.rest("a", Side::Sell, 200, 1);
    run.rest("b", Side::Buy, 200, 1);
}

#[test]
#[should_panic(expected = "an order that crosses the book was rested")]
fn resting_a_crossing_order_in_the_slow_book_is_a_broken_invariant() {
    let mut run = Run::<ReferenceBook>::new();
    run.rest("a", Side::Buy, 200, 1);
    run.rest("b", Side::Sell, 200, 1);
}

#[test]
#[should_panic(expected = "a fill of a dead order")]
fn filling_a_dead_order_is_a_broken_invariant() {
    let mut run = Run::<LadderBook>::new();
    run.rest("a", Side::Sell, 200, 1);
    run.book.fill(run.ids["a"], 1);
    run.book.fill(run.ids["a"], 1);
}
