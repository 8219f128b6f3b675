//! The add-ons of initial margin: a slow twin decides every order and withdrawal of a seeded stream anew, from the
//! leaf, the book and the table, and the engine must agree.

mod common;

use common::day::{Day, e9};
use common::{ALL, CALL, INDEX, PUT, RULES, T0, specs};
use firmware::limits::SCENARIOS;
use firmware::reject::RejectCode;
use firmware::units::{AccountId, InstrumentId, PICO_PER_MICRO, Side};
use firmware::wire::input::InRiskRules;
use firmware::wire::order::{NewOrder, ORD_LIMIT, TIF_GTC, Withdraw};
use firmware::wire::report::Report;
use matcher::book::OrderBook;
use matcher::outbox::Outcome;

const STRICT: InRiskRules = InRiskRules {
    short_option_bp: 150,
    option_haircut_bp: 2_500,
    ..RULES
};

/// Instrument, side, price in ticks and lots.
type Asked = (u16, Side, i64, i64);

/// All that the book holds of an account, one by one.
fn open(day: &Day, account: u32) -> Vec<Asked> {
    let book = day.venue.engine.book();
    let mut open = Vec::new();
    for i in ALL {
        for side in [Side::Buy, Side::Sell] {
            for price in book.levels(InstrumentId(i), side) {
                let own = book.orders(InstrumentId(i), side, price);
                let own = own.filter(|o| o.info.account == AccountId(account));
                open.extend(own.map(|o| (i, side, i64::from(price.0), o.lots)));
            }
        }
    }
    open
}

/// Contingency and haircut of an account with these orders, each rounded up.
fn addon(day: &Day, account: u32, orders: &[Asked], rules: &InRiskRules) -> i128 {
    let table = day.venue.engine.table().expect("a table");
    let lot_e9 = i128::from(specs()[0].lot_e9);
    let up = |n: i128, d: i128| -(-n).div_euclid(d);
    let mut sum = 0;
    for i in [CALL, PUT] {
        let column = table.columns[usize::from(i)];
        let lots = |side: Side| {
            let own = orders.iter().filter(|o| o.0 == i && o.1 == side);
            own.map(|o| i128::from(o.3)).sum::<i128>()
        };
        let position = i128::from(day.position(account, i));
        let short = (lots(Side::Sell) - position).max(0);
        let long = (lots(Side::Buy) + position).max(0);
        let notional = up(i128::from(table.index_micro) * lot_e9, 1_000_000_000);
        sum += up(short * notional * i128::from(rules.short_option_bp), 10_000);
        let value = i128::from(column.mark_micro - column.funding_micro).max(0);
        sum += up(long * value * i128::from(rules.option_haircut_bp), 10_000);
    }
    sum
}

/// What is free of the initial margin of the scenarios, in the worst of them.
fn free(day: &Day, account: u32, orders: &[Asked]) -> i128 {
    let engine = &day.venue.engine;
    let table = engine.table().expect("a table");
    let leaf = &engine.accounts().get(AccountId(account)).unwrap().leaf;
    let columns = || leaf.positions.iter().zip(&table.columns);
    let rate = i128::from(table.taker_fee_ppm.max(table.maker_fee_ppm));
    let in_scenario = |s: usize| {
        let held = columns()
            .map(|(p, c)| i128::from(*p) * i128::from(c.scenario_micro[s] - c.funding_micro));
        let filled = orders.iter().map(|(i, side, ticks, lots)| {
            let c = &table.columns[usize::from(*i)];
            let price = i128::from(*ticks) * i128::from(c.tick_value_micro);
            let fee = (price * rate + 999_999) / 1_000_000;
            let gain = i128::from(side.sign()) * (i128::from(c.scenario_micro[s]) - price) - fee;
            (gain * i128::from(*lots)).min(0)
        });
        held.sum::<i128>() + filled.sum::<i128>()
    };
    let worst = (0..SCENARIOS).map(in_scenario).min().unwrap();
    let value: i128 = columns()
        .map(|(p, c)| i128::from(*p) * i128::from(c.mark_micro - c.funding_micro))
        .sum();
    let kept = (value - worst).max(0) * i128::from(RULES.initial_extra_ppm) / 1_000_000;
    leaf.cash_pico.div_euclid(PICO_PER_MICRO) + worst - kept
}

fn verdict(day: &Day) -> Option<u16> {
    day.venue.out.outcomes().iter().find_map(|o| match o {
        Outcome::Report(_, Report::Rejected(m)) => Some(m.reason),
        _ => None,
    })
}

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// What became of the orders and withdrawals of a stream.
#[derive(Default)]
struct Met {
    passed: u64,
    refused: u64,
    /// Refused for nothing but the add-ons.
    by_addon: u64,
}

fn stream(seed: u64, met: &mut Met) {
    let mut day = Day::new(T0, &[6, 10, 20, 40, 400], &STRICT);
    let mut random = Lcg(seed);
    for step in 0..600u64 {
        let account = 1 + random.below(5) as u32;
        let before = open(&day, account);
        match random.below(12) {
            0 => {
                let index = INDEX + INDEX / 1_000 * (random.below(41) as i64 - 20);
                day.venue.now += 1_000_000_000;
                day.index(index);
                continue;
            }
            1 => {
                let own = addon(&day, account, &before, &STRICT);
                let free = free(&day, account, &before);
                let amount = (free - own).max(0) + random.below(3) as i128 - 1;
                let amount = i64::try_from(amount.max(1)).unwrap();
                let ask = Withdraw {
                    cl_ord_id: (1 << 40) + step,
                    amount,
                    account,
                    pad1: 0,
                };
                day.venue.request(account % 40 + 1, ask);
                let got = verdict(&day);
                let covered = i128::from(amount) + own <= free;
                match got {
                    None => assert!(covered, "seed {seed} step {step}"),
                    Some(code) if code == RejectCode::InsufficientCollateral as u16 => {
                        assert!(!covered, "seed {seed} step {step}");
                    }
                    Some(_) => {}
                }
                day.check();
                // Names rise: the member's next order needs a larger one.
                continue;
            }
            _ => {}
        }
        let i = ALL[random.below(3) as usize];
        let spec = specs().into_iter().find(|s| s.id.0 == i).unwrap();
        let column = day.venue.engine.table().unwrap().columns[usize::from(i)];
        let mark = column.mark_micro / i64::from(column.tick_value_micro);
        let ticks = (mark + random.below(21) as i64 - 10).max(1);
        let (side, lots) = (
            if random.below(2) == 0 {
                Side::Buy
            } else {
                Side::Sell
            },
            1 + random.below(80) as i64,
        );
        let order = NewOrder {
            cl_ord_id: (1 << 40) + step,
            price: ticks * spec.tick_micro * 1_000,
            quantity: lots,
            account,
            instrument: i,
            side: side as u8,
            ord_type: ORD_LIMIT,
            time_in_force: TIF_GTC,
            ..bytemuck::Zeroable::zeroed()
        };
        let mut with = before.clone();
        with.push((i, side, ticks, lots));
        let (free, own) = (
            free(&day, account, &with),
            addon(&day, account, &with, &STRICT),
        );
        let all: Vec<i128> = (1..=5)
            .map(|n| {
                if n == account {
                    own
                } else {
                    addon(&day, n, &open(&day, n), &STRICT)
                }
            })
            .collect();
        day.venue.request(account % 40 + 1, order);
        match verdict(&day) {
            None => {
                assert!(own <= free, "seed {seed} step {step}: {own} > {free}");
                met.passed += 1;
            }
            Some(code) if code == RejectCode::InsufficientMargin as u16 => {
                assert!(own > free, "seed {seed} step {step}: {own} <= {free}");
                met.refused += 1;
                met.by_addon += u64::from(free >= 0);
            }
            Some(_) => {}
        }
        day.check();
        // Whatever filled: nobody needs more than before, with the new order among the open ones.
        for (n, most) in (1..=5).zip(all) {
            assert!(
                addon(&day, n, &open(&day, n), &STRICT) <= most,
                "seed {seed} step {step}"
            );
        }
    }
    let _ = day.end();
}

#[test]
fn the_engine_decides_as_a_slow_twin_does() {
    let mut met = Met::default();
    (1..=12).for_each(|seed| stream(seed, &mut met));
    let Met {
        passed,
        refused,
        by_addon,
    } = met;
    assert!(
        passed > 500 && refused > 500 && by_addon > 100,
        "{passed} {refused} {by_addon}"
    );
}

#[test]
fn a_short_call_needs_its_contingency_and_a_long_one_is_worth_less_and_nobody_is_liquidated_for_it()
{
    // A lot of a hundredth at 100 is worth 1: ten short ask for 0.5 at five percent.
    let rules = InRiskRules {
        short_option_bp: 500,
        option_haircut_bp: 1_000,
        ..RULES
    };
    let mut day = Day::new(
        T0,
        &[100, 100],
        &InRiskRules {
            short_option_bp: 0,
            ..RULES
        },
    );
    day.trade(1, 2, CALL, 10, e9(69));
    let mark = day.venue.engine.table().unwrap().columns[3].mark_micro;
    assert_eq!(addon(&day, 2, &[], &rules), 500_000);
    assert_eq!(
        addon(&day, 1, &[], &rules),
        (i128::from(10 * mark) + 9) / 10
    );
    let withdraw = |day: &mut Day, name: u64, account: u32, amount: i128| {
        let ask = Withdraw {
            cl_ord_id: name,
            amount: i64::try_from(amount).unwrap(),
            account,
            pad1: 0,
        };
        day.venue.request(account % 40 + 1, ask);
        let got = verdict(day);
        day.check();
        got
    };
    let too_much = Some(RejectCode::InsufficientCollateral as u16);
    let (one, two) = (free(&day, 1, &[]), free(&day, 2, &[]));
    day.venue.venue(&rules);
    day.check();
    day.index(INDEX);
    let (own_one, own_two) = (addon(&day, 1, &[], &rules), 500_000);
    assert_eq!((one, two), (free(&day, 1, &[]), free(&day, 2, &[])));
    assert_eq!(withdraw(&mut day, 100, 1, one - own_one + 1), too_much);
    assert_eq!(withdraw(&mut day, 101, 2, two - own_two + 1), too_much);
    assert_eq!(withdraw(&mut day, 102, 1, one - own_one), None);
    assert_eq!(withdraw(&mut day, 103, 2, two - own_two), None);
    // A table that leaves them short of it liquidates nobody, for the scenarios are still covered.
    day.index(INDEX * 1_002 / 1_000);
    assert!(free(&day, 2, &[]) < addon(&day, 2, &[], &rules));
    day.timer(1);
    assert_eq!((day.position(2, CALL), day.steps(1)), (-10, 0));
    assert!(day.equity(2) > 0);
    let _ = day.end();
}
