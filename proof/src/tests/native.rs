//! What the witness builder accepts and refuses.

use super::scenario::{CHAIN, Market, owner, table};
use crate::native::check;
use crate::statement::PublicInputs;
use crate::witness::{BatchWitness, WitnessError};
use matcher::batch::SealedBatch;

fn holds(witness: &BatchWitness) {
    let words = witness.word_elements(&CHAIN);
    assert_eq!(check(witness, &words, &PublicInputs::of(&words)), Ok(()));
}

#[test]
fn honest_batches_satisfy_the_native_statement() {
    let mut market = Market::new();
    let funding = market.funding();
    holds(&market.prove(&funding));
    let busy = market.busy();
    holds(&market.prove(&busy));
    let full = market.full();
    holds(&market.prove(&full));
    let empty = market.seal(table(3), &[], &[], &[]);
    let witness = market.prove(&empty);
    holds(&witness);
    assert_eq!(market.state.root(), witness.new_root());
    assert_eq!(market.state.batch_no(), 4);
}

/// A change to a sealed batch.
type Break = fn(&mut SealedBatch);

#[test]
fn a_sealed_batch_that_does_not_add_up_is_refused_and_changes_nothing() {
    let cases: [(&str, Break); 20] = [
        ("does not follow batch", |b| b.batch_no += 1),
        ("before the batch", |b| b.fund_old_pico += 1),
        ("after the batch", |b| b.fund_new_pico -= 1),
        ("old leaf of account 7: nonce", |b| {
            b.touched[1].old.nonce += 1
        }),
        ("new leaf of account 7: cash", |b| {
            b.touched[1].new.cash_pico += 1;
        }),
        ("new leaf of account 2: position in instrument 3", |b| {
            b.touched[0].new.positions[3] += 1;
        }),
        ("new leaf of account 7: nonce", |b| {
            b.touched[1].new.nonce = 0
        }),
        ("new leaf of account 7: owner", |b| {
            b.touched[1].new.owner = owner(8);
        }),
        ("does not follow account", |b| b.touched.swap(0, 1)),
        ("outside the collar", |b| b.fills[0].price.0 = 72_000),
        ("0 lots", |b| b.fills[0].lots = 0),
        ("trades with itself", |b| {
            b.fills[0].maker = b.fills[0].taker
        }),
        ("no instrument 16", |b| b.fills[0].instrument.0 = 16),
        ("not among the touched", |b| b.fills[0].maker.0 = 9),
        ("place 9 in the queue, 5 is next", |b| {
            b.deposits[0].queue_index = 9;
        }),
        ("deposit row 0: account 300 has another owner", |b| {
            b.deposits[0].owner = owner(2);
        }),
        ("withdrawal row 0: account 7 has another owner", |b| {
            b.withdrawals[0].owner = owner(2);
        }),
        ("amount over 62 bits", |b| {
            b.withdrawals[0].amount_micro = 1 << 62;
        }),
        ("maker rebate", |b| b.table.maker_fee_ppm = -451),
        ("collar width", |b| {
            b.table.columns[9].collar_width_ticks = 1 << 20;
        }),
    ];
    let mut market = Market::funded();
    let honest = market.busy();
    let root = market.state.root();
    for (expected, break_it) in cases {
        let mut batch = honest.clone();
        break_it(&mut batch);
        let error = market.state.apply(&batch).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(market.state.root(), root, "{expected}");
    }
    market.prove(&honest);
}

#[test]
fn a_batch_larger_than_the_tier_is_refused() {
    let mut market = Market::funded();
    let mut batch = market.full();
    batch.fills.push(batch.fills[0]);
    let error = market.state.apply(&batch).expect_err("257 rows");
    assert_eq!(error.to_string(), "257 fill rows, the tier holds 256");
    let trades: Vec<_> = (0..256)
        .map(|i| {
            (
                2,
                7,
                if i < 17 { 1 } else { 0 },
                [60_000, 3_000][usize::from(i < 17)],
                1,
            )
        })
        .collect();
    let mut market = Market::funded();
    let batch = market.seal(table(1), &trades, &[], &[]);
    let error = market
        .state
        .apply(&batch)
        .expect_err("17 rows take two lanes");
    assert!(
        matches!(
            error,
            WitnessError::TooMany {
                got: 17,
                max: 16,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_account_below_its_margin_passes_only_if_it_did_nothing_but_receive_a_deposit() {
    let mut market = Market::funded();
    let batch = market.seal(table(1), &[(2, 65_535, 0, 60_000, 60_000)], &[], &[]);
    let error = market.state.apply(&batch).expect_err("far below");
    assert!(
        matches!(error, WitnessError::Margin { account: 2, .. }),
        "{error}"
    );

    let mut market = Market::funded();
    let batch = market.seal(table(1), &[(2, 65_535, 0, 60_000, 10_000)], &[], &[]);
    market.prove(&batch);
    let mut crash = table(2);
    for value in &mut crash.columns[0].scenario_micro {
        *value /= 100;
    }
    let batch = market.seal(crash, &[], &[(2, 5)], &[]);
    let witness = market.prove(&batch);
    let waived: Vec<u32> = witness
        .slots
        .iter()
        .filter(|slot| slot.waived)
        .map(|slot| slot.index)
        .collect();
    assert_eq!(waived, [2]);
    holds(&witness);
}
