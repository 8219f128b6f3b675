//! The statement as constraints, group by group as `STATEMENT.md` numbers them.
//!
//! Order matters in one place: everything that the identities of S4, S5 and S6 speak about is on
//! wires, in range, and absorbed by the transcript before a challenge is squeezed from it.

mod bounds;
mod fills;
mod kinds;
mod money;
mod slots;
mod table;

use crate::field::Fr;
use crate::gadget::poseidon::{hash4, long_hash, long_state};
use crate::gadget::system::{Lc, Shape, System};
use crate::native::Group;
use crate::poseidon::Domain;
use crate::statement::{DEPOSITS_AT, ROW, WITHDRAWALS_AT, Words, at, tier_word};
use crate::witness::BatchWitness;
use ark_ff::{AdditiveGroup, Field};
use firmware::limits::{BATCH_DEPOSITS, BATCH_WITHDRAWALS};

/// Challenges, all from one squeeze.
struct Challenges {
    /// The point at which rational identities are compared.
    r: Lc,
    /// Folds an owner into the key of a deposit or withdrawal.
    beta: Lc,
    /// Folds the count of rows into the sum of their amounts.
    gamma: Lc,
}

/// `c`, `z` and `y` as given: the circuit checks them, so a wrong one is unsatisfiable.
pub(crate) fn synthesize(cs: &mut System, w: &BatchWitness, words: &Words, public: &[Fr; 3]) {
    cs.enter(Group::S8);
    let [c, z, y] = public.map(|value| cs.public(value));
    let words: Vec<Lc> = words.iter().map(|word| cs.wire(*word)).collect();
    bind_words(cs, &words, &c, &z, &y);

    cs.enter(Group::S1);
    let table = table::table(cs, &w.table);
    let old_tree = cs.wire(w.old.tree);
    let new_tree = cs.wire(w.new.tree);
    let fund_old = cs.wire(crate::field::signed(w.old.fund_pico));
    let fund_new = cs.wire(crate::field::signed(w.new.fund_pico));
    let old_digest = cs.wire(w.old.table_digest);
    let batch_no = &words[at::BATCH_NO];
    let before = batch_no.clone() + -Fr::ONE;
    table::follows(cs, w.old_table.as_deref(), &old_digest, &table);
    let old_root = hash4(cs, [&old_tree, &fund_old, &old_digest, &before]);
    cs.enforce_equal(&old_root, &words[at::OLD_ROOT]);
    let new_root = hash4(cs, [&new_tree, &fund_new, &table.digest, batch_no]);
    cs.enforce_equal(&new_root, &words[at::NEW_ROOT]);

    cs.enter(Group::S2);
    let slots = slots::open(cs, &w.slots, &table, &old_tree, &new_tree);

    cs.enter(Group::S3);
    let lanes = fills::lanes(cs, &w.lanes, &table);

    cs.enter(Group::S4);
    let mut transcript = vec![c, table.digest.clone(), old_tree];
    slots::absorb(&slots, &mut transcript);
    fills::absorb(&lanes, &mut transcript);
    let challenges = squeeze(cs, &transcript);
    fills::positions(cs, &lanes, &slots, &challenges);

    cs.enter(Group::S5);
    fills::notionals(cs, &lanes, &slots, &challenges);
    money::cash(cs, &slots, &table, &fund_old, &fund_new);

    cs.enter(Group::S6);
    let deposits = &words[DEPOSITS_AT..DEPOSITS_AT + ROW * BATCH_DEPOSITS];
    let withdrawals = &words[WITHDRAWALS_AT..WITHDRAWALS_AT + ROW * BATCH_WITHDRAWALS];
    money::rows(
        cs,
        deposits,
        &words[at::DEPOSITS],
        &slots,
        &challenges,
        |s| (&s.deposit_micro, &s.deposits),
    );
    money::rows(
        cs,
        withdrawals,
        &words[at::WITHDRAWALS],
        &slots,
        &challenges,
        |s| (&s.withdrawal_micro, &s.withdrawals),
    );
    money::owners(cs, &slots);

    cs.enter(Group::S7);
    for slot in &slots {
        let kind = kinds::kind(cs, slot, &table);
        slots::margin(cs, slot, &kind, &table);
    }
}

/// S8.
fn bind_words(cs: &mut System, words: &[Lc], c: &Lc, z: &Lc, y: &Lc) {
    cs.enforce_equal(&words[at::TIER], &Lc::constant(tier_word()));
    let hash = long_hash(cs, Domain::Words, words);
    cs.enforce_equal(&hash, c);
    let mut sum = Lc::zero();
    for word in words[1..].iter().rev() {
        let with_word = sum + word;
        sum = cs.product(&with_word, z);
    }
    cs.enforce_equal(&(sum + &words[0]), y);
}

fn squeeze(cs: &mut System, transcript: &[Lc]) -> Challenges {
    let state = long_state(cs, Domain::Challenge, transcript);
    Challenges {
        r: cs.settle(&state[0]),
        beta: cs.settle(&state[1]),
        gamma: cs.settle(&state[2]),
    }
}

/// Values of all wires for a witness; says nothing about whether they satisfy the constraints.
pub(crate) fn assignment(w: &BatchWitness, words: &Words, public: &[Fr; 3]) -> Vec<Fr> {
    let mut cs = System::new();
    synthesize(&mut cs, w, words, public);
    cs.into_parts().0
}

/// The circuit's rows. They depend on no value.
pub(crate) fn shape() -> Shape {
    let mut cs = System::with_shape();
    let blank = BatchWitness::blank();
    let words = [Fr::ZERO; crate::statement::WORDS];
    synthesize(&mut cs, &blank, &words, &[Fr::ZERO; 3]);
    cs.into_parts().1.expect("built with the shape")
}
