//! The rules of risk, one by one: funding, expiry, the liquidation ladder, notice periods, the hedging vault. Every
//! event is audited as in the property tests, and every batch against the rules of its slots.

mod common;

use common::audit::equity_pico;
use common::day::{Day, MICRO, e9};
use common::{ALL, CALL, DAY, INDEX, PERP, RULES, SECOND, T0};
use firmware::units::{AccountId, InstrumentId};
use firmware::wire::feed::{
    FeedMessage, STATE_DELIVERED, STEP_CHARGE, STEP_CLOSE, STEP_DELEVERAGE, STEP_FUND,
};
use firmware::wire::input::InRiskRules;
use firmware::wire::report::Report;
use matcher::book::OrderBook;
use matcher::engine::RulesError;
use matcher::outbox::Outcome;

#[test]
fn a_gap_of_thirty_percent_in_one_tick_ends_solvent() {
    // 49 long with all that their margin allows, 49 on the other side, one careful long, one maker.
    let stakes: Vec<i64> = (1..=100)
        .map(|n| match n {
            1..=35 => 21,
            36..=49 => 36,
            50..=98 => 40,
            _ => 1_000,
        })
        .collect();
    let mut day = Day::new(T0, &stakes, &RULES);
    for n in 1..=49 {
        day.trade(n, n + 49, PERP, 100, e9(1_000));
    }
    day.trade(99, 100, PERP, 100, e9(1_000));
    let careful = (day.position(99, PERP), day.equity(99));
    day.index(INDEX * 7 / 10);
    assert_eq!(
        day.position(99, PERP),
        careful.0,
        "a healthy account is left alone"
    );
    assert_eq!(
        careful.1 - day.equity(99),
        30 * MICRO,
        "and loses what the gap costs"
    );
    for n in 1..=35 {
        assert_eq!(day.position(n, PERP), 0, "bankrupt account {n} is closed");
        assert_eq!(day.equity(n), 0, "and ends at zero");
    }
    for n in 36..=49 {
        // A claim is left, but nobody quotes yet: it waits for the book.
        assert_eq!(day.position(n, PERP), 100);
        assert!(day.equity(n) > 0);
    }
    // A maker quotes at the new price, and the others are closed step by step.
    for step in 0..40 {
        if day.venue.engine.book().live() == 0 {
            day.order(100, PERP, 200, e9(699));
        }
        day.timer(1);
        if step % 10 == 9 {
            day.index(INDEX * 7 / 10);
        }
    }
    for n in 1..=100 {
        let found = day.venue.engine.accounts().get(AccountId(n));
        let account = found.expect("it exists");
        assert!(!account.is_below_maintenance(), "account {n}");
    }
    assert!(
        (36..=49).all(|n| day.position(n, PERP) > 0),
        "a slice is enough"
    );
    for step in [STEP_CLOSE, STEP_FUND, STEP_DELEVERAGE, STEP_CHARGE] {
        assert!(day.steps(step) > 0, "step {step} of the ladder");
    }
    let met = day.end();
    assert!(met.auditor.by_kind[2] >= 49 && met.auditor.by_kind[3] > 0);
}

#[test]
fn nobody_is_liquidated_while_the_rules_are_off() {
    let off = InRiskRules {
        switches: 0,
        ..RULES
    };
    let mut day = Day::new(T0, &[21, 60], &off);
    day.trade(1, 2, PERP, 100, e9(1_000));
    day.index(INDEX * 7 / 10);
    assert_eq!((day.position(1, PERP), day.steps(STEP_FUND)), (100, 0));
    assert!(day.equity(1) < 0);
}

#[test]
fn longs_pay_shorts_the_clamped_premium_and_a_later_buyer_pays_nothing_of_it() {
    let mut day = Day::new(T0, &[1_000, 1_000, 1_000, 1_000], &RULES);
    day.trade(1, 2, PERP, 100, e9(1_000));
    // Three lots bid at 100.2: the premium is 0.2 % of the index, below the clamp of 0.5 %.
    day.order(3, PERP, 3, e9(1_002));
    for _ in 0..10 {
        day.timer(1);
    }
    let before = (day.equity(1), day.equity(2));
    day.index(INDEX);
    // 0.002 a lot for a minute, a sixth of it for ten seconds, towards zero: 333 micro-units a lot.
    assert_eq!(day.equity(1), before.0 - 33_300);
    assert_eq!(day.equity(2), before.1 + 33_300);
    let table = day.venue.engine.table().expect("a table");
    assert_eq!(table.columns[0].funding_micro, 333);
    let paid: Vec<(u32, i64)> = (day.told.iter())
        .filter_map(|o| match o {
            Outcome::Report(_, Report::FundingReport(m)) => Some((m.account, m.amount)),
            _ => None,
        })
        .collect();
    assert_eq!(paid, [(1, -33_300), (2, 33_300)]);
    // Who comes after the funding owes nothing of it.
    let fresh = day.equity(4);
    day.order(4, PERP, -3, e9(1_002));
    let fee = 3 * 1_002_000 * 500 / 1_000_000;
    assert_eq!(day.equity(4), fresh + 3 * 2_000 - fee);
    let _ = day.end();
}

#[test]
fn a_premium_beyond_the_clamp_counts_as_the_clamp_and_one_lot_moves_nothing() {
    let mut day = Day::new(T0, &[1_000, 1_000, 1_000], &RULES);
    day.trade(1, 2, PERP, 100, e9(1_000));
    // Below the impact quantity a quote is no price.
    day.order(3, PERP, 1, e9(1_040));
    for _ in 0..10 {
        day.timer(1);
    }
    day.index(INDEX);
    assert_eq!(
        day.venue.engine.table().expect("a table").columns[0].funding_micro,
        0
    );
    day.order(3, PERP, 5, e9(1_040));
    for _ in 0..10 {
        day.timer(1);
    }
    day.index(INDEX);
    // 0.5 % of 1 unit, a sixth of it.
    assert_eq!(
        day.venue.engine.table().expect("a table").columns[0].funding_micro,
        833
    );
}

#[test]
fn an_option_settles_at_the_mean_of_the_index_and_every_holder_is_paid() {
    let start = T0 + 30 * DAY - 100 * SECOND;
    let mut day = Day::new(start, &[500, 500, 500, 500], &RULES);
    day.trade(1, 2, CALL, 50, e9(20));
    day.trade(3, 2, CALL, 10, e9(20));
    day.timer(40);
    // The window is the last minute: half of it at 102, half at 104.
    day.index(102 * MICRO);
    day.timer(30);
    day.index(104 * MICRO);
    day.timer(30);
    assert!(day.venue.engine.table().expect("a table").columns[3].is_settled == 0);
    let fund = day.venue.engine.fund_pico();
    day.index(110 * MICRO);
    let column = day.venue.engine.table().expect("a table").columns[3];
    // 3 above the strike, a hundredth of it a lot.
    assert_eq!((column.is_settled, column.mark_micro), (1, 30_000));
    let claims: Vec<i64> = (1..=3).map(|n| day.equity(n)).collect();
    day.timer(1);
    for n in 1..=3 {
        assert_eq!(day.position(n, CALL), 0);
        assert_eq!(
            day.equity(n),
            claims[n as usize - 1],
            "paying out moves no claim"
        );
    }
    assert_eq!(day.venue.engine.fund_pico(), fund);
    let delivered = day.told.iter().any(|o| {
        matches!(o, Outcome::Feed(FeedMessage::TradingStatus(m)) if m.instrument == CALL && m.state == STATE_DELIVERED)
    });
    assert!(delivered);
    assert!(day.end().auditor.folded == 120);
}

#[test]
fn a_change_of_rules_is_announced_and_waits_for_its_time() {
    let mut day = Day::new(T0, &[21, 60], &RULES);
    day.trade(1, 2, PERP, 100, e9(1_000));
    let stricter = InRiskRules {
        effective_time: day.venue.now + 60 * SECOND,
        switches: 0,
        ..RULES
    };
    day.venue.venue(&stricter);
    day.check();
    let notices = |day: &Day| -> Vec<(u8, u8)> {
        let told = day.told.iter().filter_map(|o| match o {
            Outcome::Feed(FeedMessage::RiskRules(m)) => Some((m.in_force, m.switches)),
            _ => None,
        });
        told.collect()
    };
    assert_eq!(notices(&day), [(1, 7), (0, 0)]);
    day.timer(59);
    assert_eq!(notices(&day).len(), 2);
    day.timer(1);
    assert_eq!(notices(&day), [(1, 7), (0, 0), (1, 0)]);
    let faults = [
        (
            InRiskRules {
                switches: 8,
                ..RULES
            },
            RulesError::Switches(8),
        ),
        (
            InRiskRules {
                impact_lots: 0,
                ..RULES
            },
            RulesError::Funding,
        ),
        (
            InRiskRules {
                funding_interval_ns: 0,
                ..RULES
            },
            RulesError::Funding,
        ),
        (
            InRiskRules {
                liquidation_fee_ppm: 100_001,
                ..RULES
            },
            RulesError::Fee(100_001),
        ),
        (
            InRiskRules {
                slice_ppm: 0,
                ..RULES
            },
            RulesError::Slice(0),
        ),
        (
            InRiskRules {
                exit_extra_ppm: 10_000_001,
                ..RULES
            },
            RulesError::Extra(10_000_001),
        ),
        (
            InRiskRules {
                vault_account: 9_999,
                ..RULES
            },
            RulesError::Vault {
                account: 9_999,
                instrument: 0,
            },
        ),
    ];
    for (rules, fault) in faults {
        assert_eq!(day.venue.engine.check_rules(&rules), Err(fault));
    }
}

#[test]
fn the_vault_hedges_after_each_settlement_by_an_ordinary_order() {
    let rules = InRiskRules {
        vault_account: 1,
        vault_instrument: PERP,
        vault_delta_e9: 100_000_000,
        ..RULES
    };
    let mut day = Day::new(T0, &[1_000, 1_000, 1_000], &rules);
    day.trade(2, 1, PERP, 60, e9(1_000));
    day.order(3, PERP, -100, e9(1_030));
    assert_eq!(day.venue.engine.net_delta_e9(AccountId(1)), -600_000_000);
    // The index moves by the threshold: a settlement, and then the hedge.
    day.index(102 * MICRO);
    assert_eq!(day.position(1, PERP), 0);
    day.index(INDEX);
    assert_eq!(
        day.position(1, PERP),
        0,
        "within its threshold it does nothing"
    );
}

#[test]
fn an_isolated_account_of_the_same_owner_loses_only_its_own_margin() {
    let mut day = Day::new(T0, &[21, 500, 500], &RULES);
    day.trade(1, 3, PERP, 100, e9(1_000));
    day.trade(2, 3, PERP, 10, e9(1_000));
    let other = day.equity(2);
    day.index(INDEX * 7 / 10);
    assert_eq!((day.position(1, PERP), day.equity(1)), (0, 0));
    assert_eq!(day.position(2, PERP), 10);
    assert_eq!(day.equity(2), other - 3 * MICRO);
}

#[test]
fn a_bankrupt_domain_changes_nothing_in_another() {
    let run = |beside: bool| {
        let mut day = Day::new(T0, &[100, 100], &RULES);
        day.trade(1, 2, PERP, 10, e9(1_000));
        let mut bad = beside.then(|| Day::new(T0, &[21, 40], &RULES));
        if let Some(bad) = &mut bad {
            bad.trade(1, 2, PERP, 100, e9(1_000));
            bad.index(INDEX * 6 / 10);
            assert!(bad.steps(STEP_DELEVERAGE) > 0);
        }
        day.timer(1);
        day.venue.engine.state_hash()
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn claims_reckoned_from_leaf_and_table_are_those_of_the_engine() {
    let mut day = Day::new(T0, &[100, 100], &RULES);
    day.trade(1, 2, PERP, 10, e9(1_000));
    let table = day.venue.build();
    for id in [1, 2].map(AccountId) {
        let account = day.venue.engine.accounts().get(id).expect("it exists");
        let leaf = account.leaf.of_tier().expect("few instruments");
        let micro = equity_pico(&leaf, &table).div_euclid(1_000_000);
        assert_eq!(micro, i128::from(account.equity_micro()));
    }
    assert!(ALL.contains(&InstrumentId(PERP).0));
}
