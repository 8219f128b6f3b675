//! The referee's rules as text: each line is a message or a question, and what must be answered. Every
//! scenario runs on the slow twin, on the engine with a small window, and on the exported functions, one
//! call a message and as batches; after each message all reports are compared byte for byte with the
//! twin's, and so are best prices and the depth at every price named so far.
//!
//! ```text
//! new ID SIDE PRICE xQUANTITY [ioc]  => reports
//! cancel ID                          => reports
//! modify ID SIDE PRICE xQUANTITY     => reports
//! best                               => BID | ASK, `-` for an empty side
//! depth SIDE PRICE                   => quantity
//! fill N FIRST SIDE PRICE xQUANTITY  => N orders with ids from FIRST on, each acknowledged
//! ```
//!
//! Reports: `ack`, `MAKER xQUANTITY @PRICE` for a trade, `cancelled xQUANTITY`, `modified`, `rejected`.
//! A price may be `min`, `max`, or `min+1`, `max-1`.

mod common;

use common::{Direct, Exported, Subject, Twin, compare};
use firmware::units::Side;
use referee::Limits;
use referee::abi::{Cancel, Message, Modify, NewOrder, Report, ReportKind};

const ORDERS: u32 = 8_192;

struct Scenario {
    name: &'static str,
    lines: &'static str,
}

fn price(word: &str) -> i64 {
    match word {
        "min" => i64::MIN,
        "min+1" => i64::MIN + 1,
        "max" => i64::MAX,
        "max-1" => i64::MAX - 1,
        _ => word.parse().expect("a price"),
    }
}

fn side(word: &str) -> Side {
    match word {
        "buy" => Side::Buy,
        "sell" => Side::Sell,
        other => panic!("side {other}"),
    }
}

fn quantity(word: &str) -> u32 {
    let digits = word.strip_prefix('x').expect("a quantity begins with x");
    digits.parse().expect("a quantity")
}

fn text(report: &Report) -> String {
    match report.kind {
        k if k == ReportKind::OrderAck as u8 => "ack".into(),
        k if k == ReportKind::Trade as u8 => {
            assert_eq!(report.taker, report.id, "a trade is the incoming order's");
            format!("{} x{} @{}", report.maker, report.quantity, report.price)
        }
        k if k == ReportKind::CancelAck as u8 => format!("cancelled x{}", report.quantity),
        k if k == ReportKind::ModifyAck as u8 => "modified".into(),
        _ => "rejected".into(),
    }
}

fn texts(reports: &[Report]) -> String {
    reports.iter().map(text).collect::<Vec<_>>().join("; ")
}

/// The messages of a line; none for a question.
fn messages(words: &[&str], sequence: &mut u64) -> Vec<Message> {
    let mut next = || {
        *sequence += 1;
        *sequence
    };
    let new = |id, sequence, words: &[&str]| {
        Message::new_order(NewOrder {
            id,
            sequence,
            side: side(words[0]) as u8,
            price: price(words[1]),
            quantity: quantity(words[2]),
            ioc: u8::from(words.get(3) == Some(&"ioc")),
            pad: [0; 2],
        })
    };
    let id = || words[1].parse().expect("an id");
    match words[0] {
        "new" => vec![new(id(), next(), &words[2..])],
        "fill" => {
            let first: u64 = words[2].parse().expect("an id");
            let ids = first..first + id();
            ids.map(|id| new(id, next(), &words[3..])).collect()
        }
        "cancel" => vec![Message::cancel(Cancel {
            id: id(),
            sequence: next(),
        })],
        "modify" => vec![Message::modify(Modify {
            id: id(),
            sequence: next(),
            side: side(words[2]) as u8,
            price: price(words[3]),
            quantity: quantity(words[4]),
            pad: [0; 3],
        })],
        _ => Vec::new(),
    }
}

fn answer(twin: &Twin, words: &[&str]) -> String {
    match words[0] {
        "best" => {
            let (bid, ask) = twin.best();
            let shown = |price: i64, none: i64| {
                if price == none {
                    "-".into()
                } else {
                    price.to_string()
                }
            };
            format!("{} | {}", shown(bid, i64::MIN), shown(ask, i64::MAX))
        }
        "depth" => twin.depth(price(words[2]), side(words[1])).to_string(),
        other => panic!("no such line: {other}"),
    }
}

fn play(scenario: &Scenario, subject: &mut dyn Subject) {
    let mut twin = Twin::new(ORDERS);
    let (mut sequence, mut prices) = (0, vec![0]);
    for line in scenario
        .lines
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
    {
        let at = format!("`{}`: {line}", scenario.name);
        let (asked, expected) = line.split_once("=>").expect("an answer");
        let words: Vec<&str> = asked.split_whitespace().collect();
        let messages = messages(&words, &mut sequence);
        if messages.is_empty() {
            assert_eq!(answer(&twin, &words), expected.trim(), "{at}");
            continue;
        }
        if let Some(at) = words.iter().position(|w| ["buy", "sell"].contains(w)) {
            let price = price(words[at + 1]);
            prices.extend([price.saturating_sub(1), price, price.saturating_add(1)]);
            prices.sort_unstable();
            prices.dedup();
        }
        for message in &messages {
            let reports = twin.message(message);
            assert_eq!(texts(&reports), expected.trim(), "{at}");
            compare(subject, &twin, message, &reports, &prices, &at);
        }
    }
}

fn play_all(subjects: impl Fn() -> Vec<Box<dyn Subject>>) {
    for scenario in SCENARIOS {
        for mut subject in subjects() {
            play(scenario, &mut *subject);
        }
    }
}

#[test]
fn the_engine_keeps_every_rule() {
    // Pages of sixteen ticks: hundreds of ticks leave the window. Of a million: all are inside.
    play_all(|| {
        let direct = |page_bits| {
            Box::new(Direct::new(Limits {
                orders: ORDERS,
                page_bits,
            })) as Box<dyn Subject>
        };
        vec![direct(4), direct(14)]
    });
}

/// Most of its time goes to taking the memory of a real run for each scenario.
#[test]
fn the_exported_functions_keep_every_rule() {
    for (k, scenario) in SCENARIOS.iter().enumerate() {
        play(scenario, &mut Exported::start(k % 2 == 0));
    }
}

/// Too long to write out: each maker one trade, oldest first, and an empty book.
#[test]
fn a_sweep_of_five_thousand_makers_trades_with_each_in_order() {
    let order = |id, side: Side, quantity, ioc| {
        Message::new_order(NewOrder {
            id,
            sequence: id,
            side: side as u8,
            price: 100,
            quantity,
            ioc,
            pad: [0; 2],
        })
    };
    let mut subject = Exported::start(true);
    let makers: Vec<_> = (1..=5_000).map(|id| order(id, Side::Sell, 1, 0)).collect();
    assert_eq!(subject.batch(&makers).len(), 5_000);
    let reports = subject.batch(&[order(5_001, Side::Buy, 5_000, 1)]);
    let ack = Report::of_order(ReportKind::OrderAck, 5_001, 5_001, Side::Buy, 100, 5_000);
    let trades = (1..=5_000).map(|maker| Report::trade(5_001, 5_001, Side::Buy, maker, 100, 1));
    assert_eq!(
        reports,
        std::iter::once(ack).chain(trades).collect::<Vec<_>>()
    );
    assert_eq!(subject.best(), (i64::MIN, i64::MAX));
}

/// Full is an answer, not a stall: what would rest is cancelled, all else goes on.
#[test]
fn a_full_book_cancels_what_would_rest() {
    let limits = Limits {
        orders: 3,
        page_bits: 4,
    };
    let (mut subject, mut twin) = (Direct::new(limits), Twin::new(3));
    let lines = [
        ("new 1 buy 100 x10", "ack"),
        ("new 2 buy 99 x10", "ack"),
        ("new 3 sell 5000 x10", "ack"),
        ("new 4 buy 98 x10", "ack; cancelled x10"),
        ("cancel 4", "rejected"),
        ("new 5 sell 100 x12", "ack; 1 x10 @100"),
        ("new 6 sell 101 x1", "ack; cancelled x1"),
        ("modify 5 sell 102 x1", "modified"),
        ("cancel 5", "cancelled x1"),
        ("new 6 sell 101 x1", "ack"),
    ];
    let mut sequence = 0;
    for (line, expected) in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        for message in messages(&words, &mut sequence) {
            let reports = twin.message(&message);
            assert_eq!(texts(&reports), expected, "{line}");
            compare(
                &mut subject,
                &twin,
                &message,
                &reports,
                &[98, 100, 101, 5000],
                line,
            );
            subject.0.check();
        }
    }
}

#[test]
fn scenarios_have_names_of_their_own() {
    let mut names: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SCENARIOS.len());
    assert!(names.len() > 34, "{}", names.len());
}

macro_rules! scenarios {
    ($($name:literal: $lines:literal)*) => {
        &[$(Scenario { name: $name, lines: $lines }),*]
    };
}

const SCENARIOS: &[Scenario] = scenarios! {
    // Time priority inside a level.
    "the older of two orders at a price trades first": "
        new 1 buy 100 x10          => ack
        new 2 buy 100 x10          => ack
        new 3 sell 100 x10         => ack; 1 x10 @100
        best                       => 100 | -
        depth buy 100              => 10
        cancel 1                   => rejected
        cancel 2                   => cancelled x10"
    "cancelling the middle of a level keeps the orders behind it": "
        new 1 buy 250 x7           => ack
        new 2 buy 250 x8           => ack
        new 3 buy 250 x9           => ack
        cancel 2                   => cancelled x8
        new 4 sell 250 x20 ioc     => ack; 1 x7 @250; 3 x9 @250; cancelled x4
        best                       => - | -"
    "cancelling the head of a level keeps the orders behind it": "
        new 1 buy 250 x7           => ack
        new 2 buy 250 x8           => ack
        new 3 buy 250 x9           => ack
        cancel 1                   => cancelled x7
        new 4 sell 250 x17 ioc     => ack; 2 x8 @250; 3 x9 @250
        best                       => - | -"
    "cancelling the tail of a level leaves a queue that takes new orders": "
        new 1 sell 250 x7          => ack
        new 2 sell 250 x8          => ack
        cancel 2                   => cancelled x8
        new 3 sell 250 x9          => ack
        new 4 buy 250 x16          => ack; 1 x7 @250; 3 x9 @250"
    "scattered cancels in a deep queue keep its order": "
        fill 9 1 buy 60 x10        => ack
        cancel 2                   => cancelled x10
        cancel 6                   => cancelled x10
        cancel 8                   => cancelled x10
        depth buy 60               => 60
        new 20 sell 60 x60 ioc     => ack; 1 x10 @60; 3 x10 @60; 4 x10 @60; 5 x10 @60; 7 x10 @60; 9 x10 @60
        best                       => - | -"
    "a partly filled order stays at the head across separate aggressors": "
        fill 4 1 buy 100 x10       => ack
        new 5 sell 100 x15 ioc     => ack; 1 x10 @100; 2 x5 @100
        new 6 sell 100 x13 ioc     => ack; 2 x5 @100; 3 x8 @100
        depth buy 100              => 12
        new 7 sell 100 x12 ioc     => ack; 3 x2 @100; 4 x10 @100"
    "an aggressor that the first maker exhausts leaves the second alone": "
        new 1 sell 100 x5          => ack
        new 2 sell 100 x6          => ack
        new 3 buy 100 x5 ioc       => ack; 1 x5 @100
        depth sell 100             => 6
        new 4 buy 100 x1 ioc       => ack; 2 x1 @100"
    "one order takes a whole level in one trade a maker": "
        new 1 sell 9 x30           => ack
        new 2 sell 9 x40           => ack
        new 3 buy 9 x100           => ack; 1 x30 @9; 2 x40 @9
        best                       => 9 | -
        new 4 sell 9 x31 ioc       => ack; 3 x30 @9; cancelled x1"
    "a sweep of thousands of makers is one trade each, in order": "
        fill 3 1 sell 100 x1       => ack
        fill 4096 1000 sell 101 x1 => ack
        depth sell 101             => 4096
        new 7 buy 100 x3 ioc       => ack; 1 x1 @100; 2 x1 @100; 3 x1 @100
        new 8 buy 101 x2 ioc       => ack; 1000 x1 @101; 1001 x1 @101
        depth sell 101             => 4094"

    // Price priority.
    "an order sweeps levels best price first": "
        new 1 sell 303 x10         => ack
        new 2 sell 301 x10         => ack
        new 3 sell 302 x10         => ack
        new 4 buy 303 x30 ioc      => ack; 2 x10 @301; 3 x10 @302; 1 x10 @303
        best                       => - | -"
    "bids that came out of order trade highest first": "
        new 1 buy 90 x4            => ack
        new 2 buy 95 x4            => ack
        new 3 buy 92 x4            => ack
        new 4 sell 90 x12 ioc      => ack; 2 x4 @95; 3 x4 @92; 1 x4 @90"
    "asks that came out of order trade lowest first": "
        new 1 sell 105 x10         => ack
        new 2 sell 100 x10         => ack
        new 3 buy 105 x10 ioc      => ack; 2 x10 @100
        best                       => - | 105"
    "two levels with cancels at head and tail keep both priorities": "
        new 1 buy 70 x5            => ack
        new 2 buy 70 x6            => ack
        new 3 buy 71 x7            => ack
        new 4 buy 71 x8            => ack
        cancel 1                   => cancelled x5
        cancel 4                   => cancelled x8
        new 5 sell 70 x20 ioc      => ack; 3 x7 @71; 2 x6 @70; cancelled x7"
    "an order that takes exactly three levels leaves nothing": "
        new 1 sell 100 x10         => ack
        new 2 sell 101 x20         => ack
        new 3 sell 102 x30         => ack
        new 4 buy 102 x60 ioc      => ack; 1 x10 @100; 2 x20 @101; 3 x30 @102
        best                       => - | -
        cancel 4                   => rejected"

    // Prices of trades.
    "a trade is at the maker's price, whichever side comes in": "
        new 1 sell 100 x10         => ack
        new 2 buy 105 x10 ioc      => ack; 1 x10 @100
        new 3 buy 200 x10          => ack
        new 4 sell 195 x10 ioc     => ack; 3 x10 @200"
    "a marketable limit stops at its own price and rests there": "
        new 1 sell 100 x5          => ack
        new 2 sell 105 x10         => ack
        new 3 buy 102 x12          => ack; 1 x5 @100
        best                       => 102 | 105
        depth buy 102              => 7
        new 4 sell 102 x7 ioc      => ack; 3 x7 @102"
    "an order at the touch's own price trades": "
        new 1 sell 100 x5          => ack
        new 2 buy 99 x5            => ack
        new 3 buy 100 x1           => ack; 1 x1 @100
        new 4 sell 99 x1           => ack; 2 x1 @99"

    // What is left over.
    "what a sweep leaves rests as the new touch": "
        new 1 sell 100 x10         => ack
        new 2 sell 101 x10         => ack
        new 3 sell 102 x10         => ack
        new 4 buy 102 x35          => ack; 1 x10 @100; 2 x10 @101; 3 x10 @102
        best                       => 102 | -
        new 5 sell 102 x5 ioc      => ack; 4 x5 @102
        best                       => - | -"
    "what an immediate-or-cancel order leaves never rests": "
        new 1 sell 100 x10         => ack
        new 2 buy 100 x15 ioc      => ack; 1 x10 @100; cancelled x5
        best                       => - | -
        new 3 sell 100 x5 ioc      => ack; cancelled x5
        cancel 2                   => rejected
        modify 2 buy 100 x5        => rejected"
    "an immediate-or-cancel order that meets nothing is cancelled whole": "
        new 1 buy 100 x3 ioc       => ack; cancelled x3
        new 2 sell 200 x1          => ack
        new 3 buy 199 x3 ioc       => ack; cancelled x3
        depth sell 200             => 1"
    "a resting order is drained exactly": "
        new 1 sell 100 x20         => ack
        new 2 buy 100 x8 ioc       => ack; 1 x8 @100
        new 3 buy 100 x12 ioc      => ack; 1 x12 @100
        new 4 buy 100 x5 ioc       => ack; cancelled x5"
    "what a partial fill leaves can be cancelled": "
        new 1 sell 100 x10         => ack
        new 2 buy 100 x6           => ack; 1 x6 @100
        depth sell 100             => 4
        cancel 1                   => cancelled x4
        best                       => - | -"
    "a level emptied by a sweep takes orders again": "
        new 1 sell 100 x10         => ack
        new 2 sell 101 x10         => ack
        new 3 sell 102 x10         => ack
        new 4 buy 102 x30 ioc      => ack; 1 x10 @100; 2 x10 @101; 3 x10 @102
        new 5 sell 101 x8          => ack
        new 6 buy 101 x8 ioc       => ack; 5 x8 @101
        new 7 sell 103 x8          => ack
        new 8 buy 103 x9           => ack; 7 x8 @103
        best                       => 103 | -"

    // The touch after a cancel.
    "the next bid is the touch when the best is cancelled": "
        new 1 buy 100 x10          => ack
        new 2 buy 99 x7            => ack
        cancel 1                   => cancelled x10
        best                       => 99 | -
        new 3 sell 99 x7 ioc       => ack; 2 x7 @99"
    "the next ask is the touch when the best is cancelled": "
        new 1 sell 100 x10         => ack
        new 2 sell 101 x7          => ack
        cancel 1                   => cancelled x10
        best                       => - | 101
        new 3 buy 101 x7 ioc       => ack; 2 x7 @101"
    "a side that was empty is filled again": "
        new 1 buy 100 x10          => ack
        cancel 1                   => cancelled x10
        best                       => - | -
        new 2 buy 95 x8            => ack
        new 3 sell 95 x8 ioc       => ack; 2 x8 @95
        best                       => - | -"

    // Orders that do not rest.
    "an order filled whole can be neither cancelled nor modified": "
        new 1 sell 100 x10         => ack
        new 2 buy 100 x10          => ack; 1 x10 @100
        cancel 1                   => rejected
        modify 1 sell 101 x5       => rejected
        cancel 2                   => rejected
        modify 2 buy 99 x5         => rejected
        best                       => - | -"
    "a cancelled order can be neither cancelled nor modified again": "
        new 1 buy 100 x10          => ack
        cancel 1                   => cancelled x10
        cancel 1                   => rejected
        modify 1 buy 101 x5        => rejected"
    "an id that was never seen is rejected on an empty book": "
        cancel 999                 => rejected
        modify 999 buy 100 x5      => rejected
        best                       => - | -"
    "a huge id that was never seen is rejected": "
        cancel 2000000             => rejected
        cancel 18446744073709551615 => rejected
        modify 9223372036854775808 sell 1 x1 => rejected
        cancel 0                   => rejected"

    // Ids.
    "the id of a cancelled order names a new one": "
        new 1 buy 100 x10          => ack
        cancel 1                   => cancelled x10
        new 1 sell 200 x10         => ack
        new 2 buy 200 x10 ioc      => ack; 1 x10 @200"
    "the id of a filled order names a new one": "
        new 1 buy 100 x10          => ack
        new 2 sell 100 x10         => ack; 1 x10 @100
        new 1 sell 200 x10         => ack
        new 3 buy 200 x10 ioc      => ack; 1 x10 @200
        new 2 buy 50 x1            => ack
        cancel 2                   => cancelled x1"
    "ids may be any value, neighbours or worlds apart": "
        new 0 buy 100 x1           => ack
        new 18446744073709551615 buy 100 x2 => ack
        new 1048576 buy 100 x3     => ack
        new 2097152 buy 100 x4     => ack
        new 4294967296 buy 100 x5  => ack
        new 9223372036854775808 buy 100 x6 => ack
        cancel 1048576             => cancelled x3
        new 7 sell 100 x18 ioc     => ack; 0 x1 @100; 18446744073709551615 x2 @100; 2097152 x4 @100; 4294967296 x5 @100; 9223372036854775808 x6 @100
        cancel 0                   => rejected
        cancel 4294967296          => rejected"
    "an order under the id of a resting one is cancelled and does not trade": "
        new 1 buy 100 x10          => ack
        new 2 sell 105 x10         => ack
        new 1 buy 105 x4           => ack; cancelled x4
        new 1 sell 100 x4 ioc      => ack; cancelled x4
        depth buy 100              => 10
        depth sell 105             => 10
        cancel 1                   => cancelled x10"

    // Modify.
    "a modify into the other side trades": "
        new 1 sell 100 x10         => ack
        new 2 buy 99 x10           => ack
        modify 2 buy 100 x10       => 1 x10 @100; modified
        best                       => - | -
        cancel 2                   => rejected"
    "a modify beyond the touch trades at the maker's price, whichever side": "
        new 1 sell 100 x10         => ack
        new 2 buy 90 x10           => ack
        modify 2 buy 105 x10       => 1 x10 @100; modified
        new 3 buy 200 x10          => ack
        new 4 sell 210 x10         => ack
        modify 4 sell 195 x10      => 3 x10 @200; modified"
    "what a modify leaves over rests at its new price": "
        new 1 sell 100 x4          => ack
        new 2 buy 90 x10           => ack
        modify 2 buy 101 x10       => 1 x4 @100; modified
        best                       => 101 | -
        depth buy 101              => 6
        depth buy 90               => 0"
    "what a partial fill leaves can be modified": "
        new 1 sell 100 x10         => ack
        new 2 buy 100 x4           => ack; 1 x4 @100
        modify 1 sell 101 x6       => modified
        new 3 buy 101 x6 ioc       => ack; 1 x6 @101"
    "a modify of one order leaves its neighbour at the price": "
        new 1 buy 100 x10          => ack
        new 2 buy 100 x10          => ack
        modify 1 buy 99 x10        => modified
        new 3 sell 100 x10 ioc     => ack; 2 x10 @100
        best                       => 99 | -"
    "a modify loses priority, even to fewer at the same price": "
        new 1 buy 100 x10          => ack
        new 2 buy 100 x10          => ack
        modify 1 buy 100 x9        => modified
        new 3 sell 100 x12 ioc     => ack; 2 x10 @100; 1 x2 @100"
    "a modify to another side moves the order there": "
        new 1 buy 100 x10          => ack
        modify 1 sell 110 x5       => modified
        best                       => - | 110
        new 2 buy 110 x5           => ack; 1 x5 @110"
    "a modify does not trade with the order's own old place": "
        new 1 sell 100 x10         => ack
        modify 1 buy 100 x10       => modified
        best                       => 100 | -"

    // Quantities.
    "a quantity of zero is acknowledged and does not rest": "
        new 1 buy 100 x0           => ack
        cancel 1                   => rejected
        new 2 sell 100 x0 ioc      => ack
        new 3 buy 90 x5            => ack
        modify 3 buy 91 x0         => modified
        best                       => - | -
        cancel 3                   => rejected"
    "the largest quantity rests, trades in parts, and keeps its place": "
        new 1 sell 100 x4294967295 => ack
        new 2 sell 100 x5          => ack
        depth sell 100             => 4294967300
        new 3 buy 100 x10 ioc      => ack; 1 x10 @100
        depth sell 100             => 4294967290
        new 4 buy 100 x4278190080 ioc => ack; 1 x4278190080 @100
        depth sell 100             => 16777210
        new 5 buy 100 x16777200 ioc => ack; 1 x16777200 @100
        new 6 buy 100 x6           => ack; 1 x5 @100; 2 x1 @100
        cancel 2                   => cancelled x4"
    "an order of the largest quantity takes others of it": "
        new 1 buy 100 x4294967295  => ack
        new 2 buy 100 x4294967295  => ack
        depth buy 100              => 8589934590
        new 3 sell 99 x4294967295  => ack; 1 x4294967295 @100
        new 4 sell 99 x4294967295 ioc => ack; 2 x4294967295 @100
        best                       => - | -"
    "a quantity at the book's bound, one below and one above": "
        new 1 sell 10 x16777214    => ack
        new 2 sell 10 x16777215    => ack
        new 3 sell 10 x16777216    => ack
        depth sell 10              => 50331645
        new 4 buy 10 x50331644 ioc => ack; 1 x16777214 @10; 2 x16777215 @10; 3 x16777215 @10
        cancel 3                   => cancelled x1"
    "an order of the largest quantity can be cancelled and modified": "
        new 1 buy 100 x4294967295  => ack
        new 2 sell 100 x1 ioc      => ack; 1 x1 @100
        modify 1 buy 101 x4294967295 => modified
        depth buy 101              => 4294967295
        modify 1 buy 101 x3        => modified
        depth buy 101              => 3
        modify 1 buy 101 x20000000 => modified
        cancel 1                   => cancelled x20000000"

    // Prices far from each other.
    "a price beyond sixteen bits is a price": "
        new 1 sell 200000 x10      => ack
        new 2 buy 200000 x10 ioc   => ack; 1 x10 @200000
        new 3 buy 8589934592 x1    => ack
        best                       => 8589934592 | -"
    "negative prices and zero are prices": "
        new 1 buy -5 x10           => ack
        new 2 sell 0 x10           => ack
        new 3 buy 0 x4             => ack; 2 x4 @0
        new 4 sell -5 x4           => ack; 1 x4 @-5
        best                       => -5 | 0
        new 5 sell -1000000 x6     => ack; 1 x6 @-5
        best                       => - | 0"
    "both ends of the range of prices are prices": "
        new 1 buy min x10          => ack
        depth buy min              => 10
        new 2 sell max x10         => ack
        depth sell max             => 10
        new 3 sell min x4          => ack; 1 x4 @-9223372036854775808
        new 4 buy max x4           => ack; 2 x4 @9223372036854775807
        new 5 buy min+1 x1         => ack
        new 6 sell max-1 x1        => ack
        best                       => -9223372036854775807 | 9223372036854775806
        new 7 sell min x20 ioc     => ack; 5 x1 @-9223372036854775807; 1 x6 @-9223372036854775808; cancelled x13
        new 8 buy max x20 ioc      => ack; 6 x1 @9223372036854775806; 2 x6 @9223372036854775807; cancelled x13"
    "an order sweeps from the window into the far tier and back": "
        new 1 sell 1000 x1         => ack
        new 2 sell 50000000 x1     => ack
        new 3 sell 1001 x1         => ack
        new 4 sell max x1          => ack
        new 5 sell 50000000 x2     => ack
        new 6 buy max x10          => ack; 1 x1 @1000; 3 x1 @1001; 2 x1 @50000000; 5 x2 @50000000; 4 x1 @9223372036854775807
        best                       => 9223372036854775807 | -
        cancel 6                   => cancelled x4"
    "time priority holds at a price that moves from the far tier to the window": "
        new 1 sell 1000 x1         => ack
        fill 20 100 sell 3000 x2   => ack
        new 2 buy 1000 x1          => ack; 1 x1 @1000
        new 3 buy 2990 x1          => ack
        fill 5 200 sell 3000 x2    => ack
        cancel 110                 => cancelled x2
        new 4 buy 3000 x21 ioc     => ack; 100 x2 @3000; 101 x2 @3000; 102 x2 @3000; 103 x2 @3000; 104 x2 @3000; 105 x2 @3000; 106 x2 @3000; 107 x2 @3000; 108 x2 @3000; 109 x2 @3000; 111 x1 @3000
        fill 5 300 sell 3000 x2    => ack
        new 5 buy 3000 x19 ioc     => ack; 111 x1 @3000; 112 x2 @3000; 113 x2 @3000; 114 x2 @3000; 115 x2 @3000; 116 x2 @3000; 117 x2 @3000; 118 x2 @3000; 119 x2 @3000; 200 x2 @3000"
    "time priority holds at a price that the window leaves": "
        fill 20 100 buy 1000 x2    => ack
        new 1 sell 5001 x1         => ack
        new 2 buy 5000 x1          => ack
        fill 3 200 buy 1000 x2     => ack
        new 3 sell 5000 x1         => ack; 2 x1 @5000
        new 4 sell 1000 x45 ioc    => ack; 100 x2 @1000; 101 x2 @1000; 102 x2 @1000; 103 x2 @1000; 104 x2 @1000; 105 x2 @1000; 106 x2 @1000; 107 x2 @1000; 108 x2 @1000; 109 x2 @1000; 110 x2 @1000; 111 x2 @1000; 112 x2 @1000; 113 x2 @1000; 114 x2 @1000; 115 x2 @1000; 116 x2 @1000; 117 x2 @1000; 118 x2 @1000; 119 x2 @1000; 200 x2 @1000; 201 x2 @1000; 202 x1 @1000
        cancel 202                 => cancelled x1"
    "prices that the window has left and those still in it trade in turn": "
        fill 20 100 buy 1000 x2    => ack
        new 50 buy 998 x1          => ack
        new 1 sell 5001 x1         => ack
        new 2 buy 5000 x1          => ack
        new 51 buy 999 x1          => ack
        new 3 sell 998 x44 ioc     => ack; 2 x1 @5000; 100 x2 @1000; 101 x2 @1000; 102 x2 @1000; 103 x2 @1000; 104 x2 @1000; 105 x2 @1000; 106 x2 @1000; 107 x2 @1000; 108 x2 @1000; 109 x2 @1000; 110 x2 @1000; 111 x2 @1000; 112 x2 @1000; 113 x2 @1000; 114 x2 @1000; 115 x2 @1000; 116 x2 @1000; 117 x2 @1000; 118 x2 @1000; 119 x2 @1000; 51 x1 @999; 50 x1 @998; cancelled x1"
    "a far order of the largest quantity keeps it on the way into the window": "
        new 1 buy 10 x1            => ack
        new 2 sell 9000 x4294967295 => ack
        cancel 1                   => cancelled x1
        new 3 buy 8999 x1          => ack
        new 4 buy 8998 x1          => ack
        depth sell 9000            => 4294967295
        new 5 buy 9000 x4294967290 => ack; 2 x4294967290 @9000
        cancel 2                   => cancelled x5"
};
