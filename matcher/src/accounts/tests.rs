//! The account against the plain formula, which is written here as it stands in words.

use super::*;
use firmware::limits::{
    LOT_VALUE_MICRO_MAX, ORDER_LOTS_MAX, PRICE_BITS, TICK_VALUE_BITS, TIER_INSTRUMENTS,
};
use proptest::prelude::*;

/// Columns that the tests use, so that instruments meet.
const USED: usize = 3;
/// Largest order of the random steps.
const LOTS_MAX: i64 = ORDER_LOTS_MAX >> 2;

/// An account as a list of what it holds and has open.
#[derive(Clone, Debug, Default)]
struct Plain {
    cash_pico: i128,
    positions: [i64; USED],
    orders: Vec<Exposure>,
}

/// What an order can bring in a scenario: filled at its limit with the larger fee, or not at all.
fn order_in(e: &Exposure, table: &RiskTable, s: usize) -> i128 {
    let c = &table.columns[e.instrument];
    let price = i128::from(e.price.0) * i128::from(c.tick_value_micro);
    let rate = i128::from(table.taker_fee_ppm.max(table.maker_fee_ppm));
    let fee = (price * rate + 999_999) / 1_000_000;
    let gain = i128::from(e.side.sign()) * (i128::from(c.scenario_micro[s]) - price) - fee;
    (i128::from(e.lots) * gain).min(0)
}

impl Plain {
    fn held(&self, table: &RiskTable, s: usize) -> i128 {
        let worth = |(p, c): (&i64, &crate::table::Column)| {
            i128::from(*p) * i128::from(c.scenario_micro[s])
        };
        self.positions.iter().zip(&table.columns).map(worth).sum()
    }

    fn value(&self, table: &RiskTable) -> i128 {
        let worth =
            |(p, c): (&i64, &crate::table::Column)| i128::from(*p) * i128::from(c.mark_micro);
        self.positions.iter().zip(&table.columns).map(worth).sum()
    }

    fn worst(&self, table: &RiskTable, orders: &[Exposure]) -> i128 {
        let all = |s| {
            let orders = orders.iter().map(|e| order_in(e, table, s));
            self.held(table, s) + orders.sum::<i128>()
        };
        (0..SCENARIOS).map(all).min().expect("there are scenarios")
    }

    /// Cash, rounded down to micro-units, that the check asks for.
    fn wanted(&self, table: &RiskTable, orders: &[Exposure], debit: i64, ppm: u32) -> i128 {
        let worst = self.worst(table, orders);
        let loss = (self.value(table) - worst).max(0);
        loss * i128::from(ppm) / 1_000_000 - worst + i128::from(debit)
    }
}

/// One thing that happens to an account.
#[derive(Clone, Debug)]
enum Step {
    /// An order comes to rest.
    Rest(Exposure),
    /// Lots of the `n`-th open order go, filled at `cash` or not at all.
    Close(usize, i64, Option<i64>),
    /// A fill of an order that never rested.
    Take(usize, i64, i64),
    /// Another table.
    Adopt(Box<RiskTable>),
}

/// What is asked after each step: a further order, one to drop, a debit, the rate, and how far the cash is
/// from what decides, in pico-units.
#[derive(Clone, Debug)]
struct Question {
    extra: Option<Exposure>,
    drop: Option<usize>,
    debit: i64,
    ppm: u32,
    off: i128,
}

fn price() -> impl Strategy<Value = PriceTicks> {
    let ticks = prop_oneof![
        1..=200,
        (1 << 14) - 50..=(1 << 14) + 50,
        1..1 << PRICE_BITS,
        Just((1 << PRICE_BITS) - 1),
    ];
    ticks.prop_map(PriceTicks)
}

fn exposure() -> impl Strategy<Value = Exposure> {
    let lots = prop_oneof![1i64..=50, 1..=LOTS_MAX, Just(LOTS_MAX)];
    (0..USED, any::<bool>(), price(), lots).prop_map(|(instrument, buy, price, lots)| Exposure {
        instrument,
        side: if buy { Side::Buy } else { Side::Sell },
        price,
        lots,
    })
}

fn table() -> impl Strategy<Value = Box<RiskTable>> {
    let value = prop_oneof![
        0i64..=20_000,
        -LOT_VALUE_MICRO_MAX..=LOT_VALUE_MICRO_MAX,
        Just(LOT_VALUE_MICRO_MAX),
        Just(-LOT_VALUE_MICRO_MAX),
    ];
    // Prices of a lot reach past 30 bits, but the sums stay inside what an account can pay for.
    let tick = prop_oneof![1u32..=100, 1u32..1 << 9];
    let column = (prop::collection::vec(value.clone(), SCENARIOS), value, tick);
    let fees = (0i32..=100_000, -1_000i32..=100_000);
    (prop::collection::vec(column, USED), fees).prop_map(|(columns, (taker, maker))| {
        let mut table = RiskTable::zeroed(TIER_INSTRUMENTS);
        table.taker_fee_ppm = taker;
        table.maker_fee_ppm = maker.max(-taker);
        for (to, (values, mark, tick)) in table.columns.iter_mut().zip(columns) {
            to.scenario_micro = values.try_into().expect("one a scenario");
            to.mark_micro = mark;
            to.tick_value_micro = tick;
        }
        table
    })
}

fn step() -> impl Strategy<Value = Step> {
    let cash = -1_000_000_000_000i64..=1_000_000_000_000;
    prop_oneof![
        4 => exposure().prop_map(Step::Rest),
        3 => (any::<usize>(), 1..=ORDER_LOTS_MAX, prop::option::of(cash.clone()))
            .prop_map(|(n, lots, fill)| Step::Close(n, lots, fill)),
        1 => (0..USED, -10_000i64..=10_000, cash).prop_map(|(i, lots, c)| Step::Take(i, lots, c)),
        1 => table().prop_map(Step::Adopt),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let off = prop_oneof![
        -2i128..=2,
        -1_000_002i128..=1_000_002,
        -(1i128 << 80)..=1i128 << 80,
    ];
    (
        prop::option::of(exposure()),
        prop::option::of(any::<usize>()),
        prop_oneof![Just(0i64), 0..=1i64 << 40],
        prop_oneof![Just(0u32), Just(200_000), 0..=2_000_000u32],
        off,
    )
        .prop_map(|(extra, drop, debit, ppm, off)| Question {
            extra,
            drop,
            debit,
            ppm,
            off,
        })
}

/// The account under test beside the plain one.
struct Pair {
    table: Box<RiskTable>,
    margin: Margin,
    account: Account,
    plain: Plain,
}

impl Pair {
    fn new(table: Box<RiskTable>) -> Self {
        let mut margin = Margin::new(TIER_INSTRUMENTS);
        margin.adopt(&table);
        Self {
            table,
            margin,
            account: Account::new(TIER_INSTRUMENTS),
            plain: Plain::default(),
        }
    }

    fn filled(&mut self, instrument: usize, signed: i64, cash_pico: i128) {
        self.account
            .fill(&self.margin, instrument, signed, cash_pico);
        self.plain.positions[instrument] += signed;
        self.plain.cash_pico += cash_pico;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Rest(e) => {
                self.account.open_order(&self.margin, e);
                self.plain.orders.push(e);
            }
            Step::Close(n, lots, fill) if !self.plain.orders.is_empty() => {
                let n = n % self.plain.orders.len();
                let order = &mut self.plain.orders[n];
                let lots = lots.min(order.lots);
                let closed = Exposure { lots, ..*order };
                order.lots -= lots;
                if order.lots == 0 {
                    self.plain.orders.remove(n);
                }
                self.account.close_order(&self.margin, closed);
                if let Some(cash) = fill {
                    let signed = closed.side.sign() * lots;
                    self.filled(closed.instrument, signed, cash.into());
                }
            }
            Step::Close(..) => {}
            Step::Take(instrument, signed, cash) => self.filled(instrument, signed, cash.into()),
            Step::Adopt(table) => {
                self.table = table;
                self.margin.adopt(&self.table);
                self.account.rebase(&self.table);
                for e in &self.plain.orders {
                    self.account.open_order(&self.margin, *e);
                }
            }
        }
    }

    /// Gives the account what it needs, and a little more or less, and asks.
    fn ask(&mut self, q: &Question) -> Result<(), TestCaseError> {
        let mut orders = self.plain.orders.clone();
        let drop = q.drop.filter(|_| !orders.is_empty());
        let drop = drop.map(|n| orders.remove(n % orders.len()));
        orders.extend(q.extra);
        let wanted = self.plain.wanted(&self.table, &orders, q.debit, q.ppm);
        let bounded = (wanted * PICO_PER_MICRO + q.off).clamp(-(1 << 82), 1 << 82);
        self.account.leaf.cash_pico = bounded;
        self.plain.cash_pico = bounded;
        let cash = bounded.div_euclid(PICO_PER_MICRO);
        let open = || self.plain.orders.iter().copied();
        if !self.account.keeps_all() {
            let sure = (self.account).covers(&self.margin, q.extra, drop, q.debit, q.ppm);
            prop_assert!(!sure || cash >= wanted, "the bound lets too much through");
            self.account.keep_all(&self.margin, open());
        }
        let covers = self
            .account
            .covers(&self.margin, q.extra, drop, q.debit, q.ppm);
        prop_assert_eq!(covers, cash >= wanted, "cash {} of {}", cash, wanted);

        let alone = cash + self.plain.worst(&self.table, &[]);
        prop_assert_eq!(i128::from(self.account.worst_micro()), alone);
        prop_assert_eq!(self.account.is_below_maintenance(), alone < 0);
        let all = cash + self.plain.worst(&self.table, &self.plain.orders);
        let worst = self.account.worst_with_orders_micro(&self.margin, open());
        prop_assert_eq!(i128::from(worst), all);
        prop_assert_eq!(self.account.cash_micro() + self.account.all.least(), worst);
        prop_assert!(self.account.bound_with_orders_micro() <= all);
        let equity = cash + self.plain.value(&self.table);
        prop_assert_eq!(i128::from(self.account.equity_micro()), equity);
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_check_decides_as_the_plain_formula_to_the_last_unit(
        first in table(),
        steps in prop::collection::vec((step(), question()), 1..40),
    ) {
        let mut pair = Pair::new(first);
        for (step, question) in steps {
            pair.step(step);
            pair.ask(&question)?;
        }
    }
}

#[test]
fn the_largest_ask_at_the_highest_price_reserves_nothing() {
    let mut table = RiskTable::zeroed(TIER_INSTRUMENTS);
    table.columns[0].tick_value_micro = (1 << TICK_VALUE_BITS) - 1;
    let mut margin = Margin::new(TIER_INSTRUMENTS);
    margin.adopt(&table);
    let mut account = Account::new(TIER_INSTRUMENTS);
    account.keep_all(&margin, core::iter::empty());
    account.open_order(
        &margin,
        Exposure {
            instrument: 0,
            side: Side::Sell,
            price: PriceTicks((1 << PRICE_BITS) - 1),
            lots: ORDER_LOTS_MAX,
        },
    );
    assert_eq!((account.all, account.at_risk), (Lanes::ZERO, 0));
}
