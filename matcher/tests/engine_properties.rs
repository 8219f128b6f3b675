//! Any stream of inputs keeps the promises of the engine: both books give the same bytes, money and
//! contracts are conserved, sealed batches prove themselves to an auditor that knows nothing else, the feed
//! rebuilds the book, no account has orders that it cannot carry, and the journal gives the same state.
//!
//! Streams come from a fixed seed, so every run sees the same ones; set `ENGINE_SEED` to see others, and
//! `ENGINE_SEEDS` to see so many venues from that one on (`cargo ci sim` does). A failure prints the seed,
//! the command that runs it again, and the shortest stream that still fails.

mod common;

use common::machine::{Entry, Mix, RESTS, Step, check};
use common::watch::Watch;
use firmware::reject::RejectCode;
use firmware::wire::feed::{
    STATE_AUCTION, STATE_CANCEL_ONLY, STATE_DELIVERED, STATE_HALT, STATE_OPEN, STATE_PRE_OPEN,
    STATE_SETTLE,
};
use firmware::wire::order::{FLAG_POST_ONLY, FLAG_TOTAL_QUANTITY};
use firmware::wire::report::{
    CANCEL_COLLAR, CANCEL_DEAD_MAN, CANCEL_DISCONNECT, CANCEL_EXPIRED, CANCEL_KILL_SWITCH,
    CANCEL_MARGIN, CANCEL_MASS, CANCEL_MMP, CANCEL_OPERATOR, CANCEL_STATE, CANCEL_STP,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::cell::RefCell;

/// Orders that can rest: few, so that the book is full at times.
const ORDERS: u32 = 24;

fn lots() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 1i64..30, 4 => 30i64..400, 1 => 400i64..7_000]
}

fn away() -> impl Strategy<Value = i64> {
    prop_oneof![12 => -6i64..=6, 4 => -30i64..=30, 1 => -700i64..=700]
}

fn trade(accounts: u8) -> impl Strategy<Value = Step> {
    let who = move || 0..accounts;
    let order = (
        (who(), any::<u8>(), any::<bool>(), lots(), away()),
        (0u8..14, 0u8..20, 0u8..24),
        (smp_id(), group(), 1u64..60),
    );
    let order = order.prop_map(
        |((who, at, sell, lots, away), (kind, flags, stp), (smp_id, group, life))| Step::Order {
            who,
            at,
            sell,
            lots,
            away,
            kind,
            // Most orders are plain, and few ask for what is not offered.
            flags: match (flags, kind >= RESTS) {
                (0..=9, _) => 0,
                (10..=12, true) => 1,
                (13..=15, true) => 4,
                (16, true) => 5,
                (10..=16, false) => 2,
                (odd, _) => odd - 12,
            },
            stp: match stp {
                0..=9 => 0,
                10..=13 => 1,
                14..=17 => 2,
                18..=22 => 3,
                _ => 4,
            },
            smp_id,
            group,
            life,
        },
    );
    let replace = (
        who(),
        any::<u8>(),
        any::<bool>(),
        lots(),
        away(),
        prop_oneof![
            6 => Just(0),
            4 => Just(FLAG_POST_ONLY),
            3 => Just(FLAG_TOTAL_QUANTITY),
        ],
    )
        .prop_map(|(who, pick, by_id, lots, away, flags)| Step::Replace {
            who,
            pick,
            by_id,
            lots,
            away,
            flags,
        });
    let reduce =
        (who(), any::<u8>(), any::<bool>(), 1i64..20).prop_map(|(who, pick, by_id, lots)| {
            Step::Reduce {
                who,
                pick,
                by_id,
                lots,
            }
        });
    let cancel = (who(), any::<u8>(), any::<bool>()).prop_map(|(who, pick, by_id)| Step::Cancel {
        who,
        pick,
        by_id,
    });
    prop_oneof![10 => order, 3 => replace, 1 => reduce, 2 => cancel, 3 => quote(accounts)]
}

fn smp_id() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 1 => 1u64..3]
}

/// Protection groups are 1 to 16; most orders have none.
fn group() -> impl Strategy<Value = u8> {
    prop_oneof![5 => Just(0u8), 4 => 1u8..3]
}

fn quote(accounts: u8) -> impl Strategy<Value = Step> {
    // Bids mostly below the mark and asks above it, so that quotes rest.
    let side = |low: i64, high: i64| {
        prop_oneof![
            8 => (1i64..30, low..=high).prop_map(Some),
            1 => (30i64..400, -8i64..=8).prop_map(Some),
            1 => Just(Some((0, 0))),
            2 => Just(None),
        ]
    };
    let entry =
        (any::<u8>(), side(-6, 1), side(-1, 6)).prop_map(|(at, bid, ask)| Entry { at, bid, ask });
    let quote = (
        0..accounts,
        proptest::collection::vec(entry, 1..4),
        prop_oneof![6 => Just(0u8), 2 => Just(FLAG_POST_ONLY), 2 => Just(4u8), 1 => Just(2u8)],
        0u8..5,
        smp_id(),
        group(),
    );
    quote.prop_map(|(who, entries, flags, stp, smp_id, group)| Step::Quote {
        who,
        entries,
        flags,
        stp,
        smp_id,
        group,
    })
}

/// What protects a member, and what it asks.
fn protect(accounts: u8) -> impl Strategy<Value = Step> {
    let who = move || 0..accounts;
    let limit = || prop_oneof![1 => Just(0i64), 4 => 1i64..40, 1 => 40i64..400];
    let config = (
        who(),
        prop_oneof![1 => 0u8..18, 8 => 1u8..3],
        1u64..60,
        0u64..20,
        limit(),
        limit(),
        limit(),
    )
        .prop_map(
            |(who, group, window_s, freeze_s, lots, delta, vega)| Step::MmpConfig {
                who,
                group,
                window_s,
                freeze_s,
                lots,
                delta_e9: delta * 10_000_000,
                vega: vega * 10_000,
            },
        );
    let kill = (who(), any::<bool>(), 0u8..5).prop_map(|(who, all, unlock)| Step::KillSwitch {
        who,
        all,
        unlock: unlock > 0,
    });
    let at = || proptest::option::of(any::<u8>());
    prop_oneof![
        5 => config,
        2 => (who(), 0u8..4).prop_map(|(who, group)| Step::MmpReset { who, group }),
        1 => kill,
        1 => (who(), 0u64..20).prop_map(|(who, seconds)| Step::DeadMan { who, seconds }),
        1 => (who(), at(), 0u64..200).prop_map(|(who, at, after)| Step::OpenOrders { who, at, after }),
        1 => who().prop_map(|who| Step::Positions { who }),
        1 => (who(), 1u64..1_000).prop_map(|(who, count)| Step::Gap { who, count }),
    ]
}

/// What the operator does: mostly, instruments open again.
fn operate(accounts: u8) -> impl Strategy<Value = Step> {
    let who = move || 0..accounts;
    let at = || proptest::option::weighted(0.9, any::<u8>());
    let state = prop_oneof![
        2 => Just(STATE_PRE_OPEN),
        3 => Just(STATE_AUCTION),
        1 => Just(STATE_CANCEL_ONLY),
        1 => Just(STATE_HALT),
        1 => Just(STATE_SETTLE),
        1 => Just(STATE_DELIVERED),
    ];
    let cancel = (
        proptest::option::of(who()),
        proptest::option::of(who()),
        at(),
    )
        .prop_map(|(member, who, at)| Step::OperatorCancel { member, who, at });
    let lock = (who(), any::<bool>(), 0u8..5).prop_map(|(who, all, unlock)| Step::Lock {
        who,
        all,
        unlock: unlock > 0,
    });
    prop_oneof![
        8 => proptest::option::weighted(0.3, any::<u8>())
            .prop_map(|at| Step::State { at, state: STATE_OPEN }),
        4 => (at(), state).prop_map(|(at, state)| Step::State { at, state }),
        1 => cancel,
        2 => lock,
    ]
}

fn other(accounts: u8, wild: bool, risk: bool) -> impl Strategy<Value = Step> {
    let who = move || 0..accounts;
    let side = proptest::option::of(any::<bool>());
    let mass = (
        who(),
        proptest::bool::weighted(0.3),
        proptest::option::of(any::<u8>()),
        side,
        prop_oneof![3 => Just(0u8), 1 => 1u8..3],
        proptest::option::weighted(0.2, group()),
    );
    let mass = mass.prop_map(|(who, all, at, side, scope, group)| Step::MassCancel {
        who,
        all,
        at,
        side,
        scope,
        group,
    });
    let withdraw = (who(), 1i64..=110).prop_map(|(who, percent)| Step::Withdraw { who, percent });
    let amount = prop_oneof![1u64..100_000, 1u64..20_000_000];
    let deposit = (who(), amount).prop_map(|(who, amount)| Step::Deposit { who, amount });
    let jumps = if wild { 6 } else { 1 };
    let drift = prop_oneof![
        20 => -3_000i64..=3_000,
        jumps => -25_000i64..=25_000,
        jumps => -150_000i64..=170_000,
        // Beyond every scenario: some are bankrupt at once.
        u32::from(risk) => -400_000i64..=500_000,
    ];
    let fees = prop_oneof![
        8 => Just(None),
        1 => Just(Some((500, -100))),
        1 => Just(Some((300, 200))),
        1 => Just(Some((333, -333))),
    ];
    let table = (drift, 40i64..90, fees).prop_map(|(move_ppm, vol_percent, fees)| Step::Table {
        move_ppm,
        vol_percent,
        fees,
    });
    let session = (who(), 0u8..4, 0u8..3).prop_map(|(who, event, policy)| Step::Session {
        who,
        event,
        policy,
    });
    prop_oneof![
        2 => protect(accounts),
        2 => operate(accounts),
        2 => mass,
        2 => withdraw,
        2 => deposit,
        6 => table,
        2 => Just(Step::Oracle),
        2 => prop_oneof![4 => 1u64..5, 1 => 5u64..80].prop_map(|seconds| Step::Wait { seconds }),
        2 => (0u8..8).prop_map(|flags| Step::Timer { flags }),
        2 => session,
    ]
}

fn stream(mix: Mix) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        mix.trading => trade(mix.accounts).boxed(),
        20 => other(mix.accounts, mix.wild, mix.risk).boxed(),
    ];
    proptest::collection::vec(step, 1..mix.steps)
}

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text}")),
    )
}

/// Runs the streams of a mix that a seed gives, and tells what they met.
fn streams_of(seed: u64, mix: Mix, again: &str) -> Watch {
    let mut bytes = [0u8; 32];
    bytes[..8].copy_from_slice(&u64::to_le_bytes(seed));
    let config = Config {
        cases: mix.cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let met = RefCell::new(Watch::default());
    let result = runner.run(&stream(mix), |steps| {
        let watch = check(mix, &steps);
        met.borrow_mut().add(&watch);
        Ok(())
    });
    match result {
        Ok(()) => met.into_inner(),
        Err(TestError::Fail(reason, steps)) => {
            panic!(
                "seed {seed}: {reason}\nthe shortest stream of {mix:?}: {steps:#?}\nagain: {again}"
            )
        }
        Err(abort) => panic!("seed {seed}: {abort}\nagain: {again}"),
    }
}

/// `None` for streams that were asked for, which may meet anything.
fn all_streams(mix: Mix) -> Option<Watch> {
    let wanted = asked("ENGINE_SEED");
    let seed = wanted.unwrap_or(1);
    let again = format!("ENGINE_SEED={seed} cargo test -p matcher --test engine_properties");
    let met = streams_of(seed, mix, &again);
    wanted.is_none().then_some(met)
}

/// The venue of a seed.
fn any_mix(seed: u64) -> Mix {
    let mut state = seed;
    // SplitMix64.
    let mut draw = |below: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    };
    Mix {
        accounts: 2 + draw(13) as u8,
        stake: [12_000_000, 60_000_000, 300_000_000, 2_000_000_000][draw(4) as usize],
        trading: [20, 60, 200, 400][draw(4) as usize],
        wild: draw(3) == 0,
        orders: [6, ORDERS, 100, 400][draw(4) as usize],
        steps: 400,
        cases: 3,
        risk: seed.is_multiple_of(3),
    }
}

#[test]
fn any_venue_of_any_seed_keeps_every_promise() {
    let from = asked("ENGINE_SEED").unwrap_or(1);
    for seed in from..from + asked("ENGINE_SEEDS").unwrap_or(6) {
        let again = format!("cargo ci sim --seeds 1 --from {seed}");
        streams_of(seed, any_mix(seed), &again);
    }
}

#[test]
fn streams_of_few_accounts_keep_every_promise() {
    let met = all_streams(Mix {
        accounts: 5,
        stake: 400_000_000,
        trading: 400,
        wild: false,
        orders: ORDERS,
        steps: 600,
        cases: 60,
        risk: false,
    });
    let Some(met) = met else { return };
    assert!(met.fills > 1_000 && met.replaced > 500, "{met:?}");
    assert!(met.canceled[CANCEL_STP as usize] > 100, "{met:?}");
    for code in [
        RejectCode::UnknownOrder,
        RejectCode::WouldTake,
        RejectCode::WouldIncrease,
        RejectCode::CannotFillWhole,
        RejectCode::PriceOutOfCollar,
        RejectCode::PositionLimit,
        RejectCode::BookFull,
    ] {
        assert!(
            met.rejected.contains_key(&(code as u16)),
            "{code:?}: {met:?}"
        );
    }
}

#[test]
fn streams_of_many_accounts_keep_every_promise() {
    let met = all_streams(Mix {
        accounts: 14,
        stake: 300_000_000,
        trading: 60,
        wild: false,
        orders: ORDERS,
        steps: 500,
        cases: 60,
        risk: false,
    });
    let Some(met) = met else { return };
    for reason in [
        CANCEL_MASS,
        CANCEL_EXPIRED,
        CANCEL_MMP,
        CANCEL_KILL_SWITCH,
        CANCEL_DEAD_MAN,
        CANCEL_OPERATOR,
        CANCEL_STATE,
    ] {
        assert!(met.canceled[reason as usize] > 0, "{reason}: {met:?}");
    }
    assert!(
        met.auditor.by_reason[..4].iter().all(|n| *n > 20),
        "{met:?}"
    );
    assert!(
        met.rejected.contains_key(&(RejectCode::OracleStale as u16)),
        "{met:?}"
    );
}

#[test]
fn streams_of_poor_accounts_in_a_wild_market_keep_every_promise() {
    let met = all_streams(Mix {
        accounts: 7,
        stake: 12_000_000,
        trading: 60,
        wild: true,
        orders: ORDERS,
        steps: 500,
        cases: 80,
        risk: false,
    });
    let Some(met) = met else { return };
    for reason in [CANCEL_COLLAR, CANCEL_MARGIN, CANCEL_DISCONNECT] {
        assert!(met.canceled[reason as usize] > 10, "{reason}: {met:?}");
    }
    for code in [
        RejectCode::InsufficientMargin,
        RejectCode::BelowMaintenance,
        RejectCode::InsufficientCollateral,
    ] {
        assert!(
            met.rejected.contains_key(&(code as u16)),
            "{code:?}: {met:?}"
        );
    }
    assert!(met.settled.iter().all(|n| *n > 20), "{met:?}");
    assert!(met.auditor.waived > 0, "{met:?}");
}

#[test]
fn streams_under_all_rules_of_risk_keep_every_promise() {
    let met = all_streams(Mix {
        accounts: 12,
        stake: 9_000_000,
        trading: 70,
        wild: true,
        orders: 2 * ORDERS,
        steps: 500,
        cases: 120,
        risk: true,
    });
    let Some(met) = met else { return };
    assert!(met.steps.iter().all(|n| *n > 0), "{met:?}");
    assert!(
        met.auditor.by_kind[2] > 20 && met.auditor.by_kind[3] > 0,
        "{met:?}"
    );
    assert!(met.fundings > 20 && met.auditor.folded > 0, "{met:?}");
}
