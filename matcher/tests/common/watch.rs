//! Checks what must hold after every event, from outside the engine.

use super::Venue;
use super::audit::{Auditor, worst_micro};
use super::feed_book::FeedBook;
use firmware::limits::SCENARIOS;
use firmware::units::{AccountId, InstrumentId, PICO_PER_MICRO, Side};
use firmware::wire::feed::FeedMessage;
use firmware::wire::report::{CANCEL_REQUESTED, DEAD_MAN_FIRED, MMP_RESET, Report};
use firmware::wire::sbe::ID16_NULL;
use matcher::book::{Order, OrderBook};
use matcher::outbox::Outcome;
use matcher::table::RiskTable;
use std::collections::BTreeMap;

/// Subscriber, settlement layer and supervisor of one venue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    feed: FeedBook,
    pub(crate) auditor: Auditor,
    requests: u64,
    pub(crate) canceled: [u64; 16],
    pub(crate) rejected: BTreeMap<u16, u64>,
    pub(crate) settled: [u64; 2],
    pub(crate) fills: u64,
    pub(crate) replaced: u64,
    /// Steps of liquidations.
    pub(crate) steps: [u64; 5],
    pub(crate) fundings: u64,
}

impl Watch {
    /// Checks the venue after an event.
    pub(crate) fn check<B: OrderBook>(&mut self, venue: &Venue<B>) {
        let outcomes = venue.out.outcomes();
        self.feed(outcomes, venue);
        for bytes in venue.out.sealed() {
            let batch = self.auditor.take(bytes);
            assert_eq!(batch.last_seq, venue.engine.last_seq());
        }
        self.reports(outcomes, venue);
        lots_are_accounted_for(outcomes);
        money(venue);
        margins(venue);
    }

    fn feed<B: OrderBook>(&mut self, outcomes: &[Outcome], venue: &Venue<B>) {
        let messages: Vec<&FeedMessage> = outcomes
            .iter()
            .filter_map(|o| match o {
                Outcome::Feed(m) => Some(m),
                Outcome::Report(..) => None,
            })
            .collect();
        for (i, m) in messages.iter().enumerate() {
            assert_eq!(
                m.is_last(),
                i + 1 == messages.len(),
                "the last flag of {m:?}"
            );
            match m {
                FeedMessage::LiquidationStep(m) => self.steps[m.step as usize] += 1,
                FeedMessage::FundingRate(m) => self.fundings += u64::from(m.change != 0),
                _ => {}
            }
            self.feed.take(m);
        }
        self.feed.assert_equals(venue.engine.book());
    }

    fn reports<B: OrderBook>(&mut self, outcomes: &[Outcome], venue: &Venue<B>) {
        let mut answers = 0;
        for outcome in outcomes {
            let Outcome::Report(_, report) = outcome else {
                continue;
            };
            assert_eq!(report.engine_seq(), venue.engine.last_seq().0);
            match report {
                Report::Accepted(_)
                | Report::MassCancelAck(_)
                | Report::WithdrawReport(_)
                | Report::MassQuoteAck(_)
                | Report::OpenOrdersEnd(_) => answers += 1,
                Report::MmpEvent(m) => answers += u64::from(m.event >= MMP_RESET),
                Report::KillSwitchAck(m) => answers += u64::from(m.by == 0),
                Report::DeadManReport(m) => answers += u64::from(m.event != DEAD_MAN_FIRED),
                Report::PositionMargin(m) => answers += u64::from(m.instrument == ID16_NULL),
                Report::Replaced(_) => {
                    answers += 1;
                    self.replaced += 1;
                }
                Report::Rejected(m) => {
                    answers += 1;
                    *self.rejected.entry(m.reason).or_default() += 1;
                }
                Report::Canceled(m) => {
                    answers += u64::from(m.reason == CANCEL_REQUESTED);
                    self.canceled[m.reason as usize] += 1;
                }
                Report::SettlementReport(m) => self.settled[m.trigger as usize] += 1,
                Report::Filled(m) => self.fills += u64::from(m.liquidity),
                Report::NotApplied(_)
                | Report::FundingReport(_)
                | Report::ExpiryReport(_)
                | Report::LiquidationReport(_)
                | Report::DepositReport(_)
                | Report::OpenOrder(_)
                | Report::QuoteStatus(_) => {}
            }
        }
        let requests = venue.engine.counters().requests;
        assert_eq!(answers, requests - self.requests, "one answer a request");
        self.requests = requests;
    }
}

/// What an order asked for is filled, cancelled or rests, and has one name from the answer on.
fn lots_are_accounted_for(outcomes: &[Outcome]) {
    let answer = outcomes.iter().find_map(|o| match o {
        Outcome::Report(_, Report::Accepted(m)) => Some((m.order_id, m.quantity)),
        Outcome::Report(_, Report::Replaced(m)) if m.order_id != m.prev_order_id => {
            Some((m.order_id, m.quantity))
        }
        _ => None,
    });
    let Some((id, quantity)) = answer else { return };
    let mut left = quantity;
    for outcome in outcomes {
        match outcome {
            Outcome::Report(_, Report::Filled(m)) if m.liquidity == 1 => {
                assert_eq!(m.order_id, id, "{m:?}");
                left -= m.quantity;
                assert_eq!(m.leaves, left, "{m:?}");
            }
            Outcome::Report(_, Report::Canceled(m)) if m.order_id == id => left -= m.quantity,
            Outcome::Feed(FeedMessage::OrderAdd(m)) => {
                assert_eq!(m.order_id, id, "{m:?}");
                left -= m.quantity;
            }
            _ => {}
        }
    }
    assert_eq!(left, 0, "lots of order {id} are lost");
}

fn money<B: OrderBook>(venue: &Venue<B>) {
    let engine = &venue.engine;
    let (paid_in, paid_out) = engine.flows_micro();
    let mut cash = engine.accounts().cash_pico() + engine.fund_pico();
    for (i, lots) in engine.accounts().contracts().iter().enumerate() {
        let column = engine.table().and_then(|t| t.columns.get(i));
        if let Some(c) = column.filter(|c| c.is_settled != 0) {
            let value = i128::from(c.mark_micro - c.funding_micro);
            cash += i128::from(*lots) * value * PICO_PER_MICRO;
        } else {
            assert_eq!(*lots, 0, "contracts of instrument {i}");
        }
    }
    let held = i128::from(paid_in.wrapping_sub(paid_out));
    assert_eq!(cash, held * PICO_PER_MICRO, "money is conserved");
}

/// Equity of every account is reckoned anew from its leaf, its open orders and the table.
fn margins<B: OrderBook>(venue: &Venue<B>) {
    let engine = &venue.engine;
    let Some(table) = engine.table() else { return };
    let mut open: BTreeMap<AccountId, Vec<Order>> = BTreeMap::new();
    let ids = (0..table.columns.len()).map(|i| InstrumentId(i as u16));
    for i in ids.filter(|i| engine.book().listed(*i).is_some()) {
        for side in [Side::Buy, Side::Sell] {
            for price in engine.book().levels(i, side) {
                for o in engine.book().orders(i, side, price) {
                    open.entry(o.info.account).or_default().push(o);
                }
            }
        }
    }
    for id in engine.accounts().funded() {
        let account = engine.accounts().get(*id).expect("it exists");
        let orders = open.remove(id).unwrap_or_default();
        let alone = worst_micro(&account.leaf, table);
        assert_eq!(i128::from(account.worst_micro()), alone, "account {id}");
        let value: i64 = (account.leaf.positions.iter().zip(&table.columns))
            .map(|(p, c)| p * (c.mark_micro - c.funding_micro))
            .sum();
        let equity = account.cash_micro() + value;
        assert_eq!(account.equity_micro(), equity, "equity of account {id}");
        let worst = (0..SCENARIOS).map(|s| {
            let held: i128 = (account.leaf.positions.iter().zip(&table.columns))
                .map(|(p, c)| i128::from(*p) * i128::from(c.scenario_micro[s] - c.funding_micro))
                .sum();
            held + orders.iter().map(|o| worst_of(o, table, s)).sum::<i128>()
        });
        let cash = account.leaf.cash_pico.div_euclid(PICO_PER_MICRO);
        let worst = cash + worst.min().expect("scenarios");
        assert_eq!(
            i128::from(engine.worst_with_orders_micro(*id).expect("it exists")),
            worst,
            "the reserve of account {id}"
        );
        assert!(
            worst >= 0 || orders.is_empty(),
            "account {id} has open orders that it cannot carry: {worst}"
        );
    }
    assert!(open.is_empty(), "orders of accounts that were never funded");
}

/// The worst that an order can bring in a scenario: filled at its limit with the larger fee, or not at all.
fn worst_of(o: &Order, table: &RiskTable, s: usize) -> i128 {
    let c = &table.columns[o.instrument.0 as usize];
    let lot_price = i128::from(o.price.0) * i128::from(c.tick_value_micro);
    let rate = i128::from(table.taker_fee_ppm.max(table.maker_fee_ppm));
    let fee = (lot_price * rate + 999_999) / 1_000_000;
    let gain = i128::from(o.side.sign()) * (i128::from(c.scenario_micro[s]) - lot_price) - fee;
    (i128::from(o.lots) * gain).min(0)
}

impl Watch {
    /// Learns what is listed, when the definitions went by unseen.
    pub(crate) fn list(&mut self, specs: &[matcher::instrument::InstrumentSpec]) {
        for spec in specs {
            self.feed.list(spec.id.0, spec.tick_micro * 1_000);
        }
    }

    /// Adds what another run met.
    pub(crate) fn add(&mut self, other: &Self) {
        let sum = |to: &mut [u64], from: &[u64]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        sum(&mut self.canceled, &other.canceled);
        sum(&mut self.settled, &other.settled);
        sum(&mut self.auditor.by_reason, &other.auditor.by_reason);
        sum(&mut self.auditor.by_kind, &other.auditor.by_kind);
        sum(&mut self.steps, &other.steps);
        self.fundings += other.fundings;
        self.auditor.folded += other.auditor.folded;
        self.auditor.waived += other.auditor.waived;
        self.auditor.rows += other.auditor.rows;
        self.fills += other.fills;
        self.replaced += other.replaced;
        for (code, n) in &other.rejected {
            *self.rejected.entry(*code).or_default() += n;
        }
    }
}
