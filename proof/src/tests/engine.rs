//! What the matching engine seals, proven: a day with a crash and a day with an expiry, batch by batch, through the
//! prover's own state, the native statement and the constraints.

#[path = "../../../matcher/tests/common/mod.rs"]
mod common;

use super::circuit::{honest_assignment, the_shape};
use super::scenario::CHAIN;
use crate::native::check;
use crate::state::State;
use crate::statement::PublicInputs;
use common::day::{Day, MICRO, e9};
use common::{CALL, DAY, INDEX, PERP, RULES, SECOND, T0};
use firmware::wire::input::TIMER_SEAL;
use matcher::batch::{SlotKind, decode};

/// Proves that every batch of a day can be proven; how many slots there were of each kind.
fn prove(day: &mut Day) -> [usize; 4] {
    day.venue.timer(TIMER_SEAL);
    day.check();
    let mut state = State::genesis();
    let mut kinds = [0; 4];
    for bytes in &day.sealed {
        let batch = decode(bytes).expect("the engine encoded it");
        let no = batch.batch_no;
        let witness = state
            .apply(&batch)
            .unwrap_or_else(|e| panic!("batch {no}: {e}"));
        let words = witness.word_elements(&CHAIN);
        let public = PublicInputs::of(&words);
        check(&witness, &words, &public).unwrap_or_else(|e| panic!("batch {no}: {e}"));
        let values = honest_assignment(&witness);
        let broken = the_shape().first_broken(&values);
        let group = broken.map(|row| the_shape().groups[row]);
        assert_eq!(group, None, "batch {no}");
        for touched in &batch.touched {
            kinds[touched.kind as usize] += 1;
        }
    }
    assert_eq!(state.fund_pico(), day.venue.engine.fund_pico());
    kinds
}

#[test]
fn a_crash_with_its_liquidations_is_proven_batch_by_batch() {
    let stakes: Vec<i64> = (1..=24)
        .map(|n| match n {
            1..=8 => 21,
            9..=11 => 36,
            12..=22 => 40,
            _ => 1_000,
        })
        .collect();
    let mut day = Day::new(T0, &stakes, &RULES);
    for n in 1..=11 {
        day.trade(n, n + 11, PERP, 100, e9(1_000));
    }
    day.index(INDEX * 7 / 10);
    for _ in 0..6 {
        if day
            .venue
            .engine
            .accounts()
            .get(firmware::units::AccountId(9))
            .is_some()
        {
            day.order(24, PERP, 50, e9(699));
        }
        day.timer(1);
    }
    let kinds = prove(&mut day);
    assert!(kinds[SlotKind::Liquidated as usize] >= 8, "{kinds:?}");
    assert!(kinds[SlotKind::Deleveraged as usize] > 0, "{kinds:?}");
    assert_eq!(day.equity(1), 0);
}

#[test]
fn funding_and_an_expiry_are_proven_batch_by_batch() {
    let start = T0 + 30 * DAY - 100 * SECOND;
    let mut day = Day::new(start, &[500, 500, 500, 500], &RULES);
    day.trade(1, 2, CALL, 50, e9(20));
    day.trade(3, 2, CALL, 10, e9(20));
    day.trade(1, 2, PERP, 100, e9(1_000));
    day.order(3, PERP, 3, e9(1_002));
    day.timer(40);
    day.index(102 * MICRO);
    day.timer(30);
    day.index(104 * MICRO);
    day.timer(30);
    day.index(104 * MICRO);
    day.timer(1);
    day.trade(4, 3, PERP, 5, e9(1_040));
    day.timer(1);
    let funding = day.venue.engine.table().expect("a table").columns[0].funding_micro;
    assert_ne!(funding, 0);
    assert_eq!(day.position(1, CALL), 0, "it has expired and was paid out");
    let _ = prove(&mut day);
}
