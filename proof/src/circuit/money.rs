//! Cash and the fund (S5, second half), deposits, withdrawals and owners (S6).

use super::Challenges;
use super::slots::{REMAINDER_BITS, SlotWires};
use super::table::TableWires;
use crate::field::Fr;
use crate::gadget::system::{Lc, System, not};
use crate::statement::ROW;
use crate::witness::PAID_BITS;
use ark_ff::{Field, PrimeField};
use firmware::limits::AMOUNT_BITS;
use firmware::units::PICO_PER_MICRO;

/// Cash moves by notionals, funding, settled positions, fees, support, deposits and withdrawals; fees and penalties go to
/// the fund, which gives support first; nothing appears.
pub(super) fn cash(
    cs: &mut System,
    slots: &[SlotWires],
    table: &TableWires,
    fund_old: &Lc,
    fund_new: &Lc,
) {
    let pico = Fr::from(PICO_PER_MICRO as u64);
    let mut income = Lc::zero();
    let mut gained = Lc::zero();
    let (mut support, mut charges) = (Lc::zero(), Lc::zero());
    let mut external = Lc::zero();
    for slot in slots {
        let [taker_buys, taker_sells, maker_buys, maker_sells] =
            [0, 1, 2, 3].map(|k| &slot.notional[k]);
        let taker_fee = cs.product(&table.taker_fee, &(taker_buys.clone() + taker_sells));
        let maker_fee = cs.product(&table.maker_fee, &(maker_buys.clone() + maker_sells));
        let fee = taker_fee + &maker_fee;
        let outside = slot.deposit_micro.clone() - &slot.withdrawal_micro;
        let (settled, funding) = carried(cs, slot, table);
        let micro = taker_sells.clone() + maker_sells - taker_buys - maker_buys;
        let micro = micro + &outside + &settled + &funding;
        let paid = slot.support_pico.clone() - &slot.charge_pico - &slot.penalty_pico;
        let delta = slot.new.cash.clone() - &slot.old.cash;
        cs.enforce_equal(&delta, &(&micro * pico - &fee + &paid));
        income = income + &fee + &slot.penalty_pico;
        support = support + &slot.support_pico;
        charges = charges + &slot.charge_pico;
        gained = gained + &delta;
        external = external + &outside + &settled;
    }
    let fund = fund_new.clone() - fund_old;
    let draw = support - &charges;
    cs.enforce_equal(&fund, &(income - &draw));
    cs.enforce_equal(&(gained + &fund), &(&external * pico));
    // Nobody's charge goes to the fund, and nobody is charged while the fund has a micro-unit.
    cs.range(&draw, PAID_BITS);
    cs.range(fund_new, PAID_BITS);
    let charged = cs.nonzero(&charges);
    let empty = Lc::constant(pico - Fr::ONE) - fund_new;
    let empty = cs.product(&charged, &empty);
    cs.range(&empty, REMAINDER_BITS);
}

/// What positions in settled instruments are worth that the account gives up, and the funding that positions taken in
/// the batch do not owe; micro-units.
fn carried(cs: &mut System, slot: &SlotWires, table: &TableWires) -> (Lc, Lc) {
    let (mut settled, mut funding) = (Lc::zero(), Lc::zero());
    let positions = slot
        .old
        .positions
        .iter()
        .zip(&slot.kept)
        .zip(&slot.new.positions);
    for (((old, kept), new), column) in positions.zip(&table.columns) {
        settled = settled + &cs.product(&(old.clone() - kept), &column.mark);
        funding = funding + &cs.product(&(new.clone() - kept), &column.funding);
    }
    (settled, funding)
}

/// Rows of one kind against what the accounts claim of them.
pub(super) fn rows<'a>(
    cs: &mut System,
    words: &[Lc],
    count: &Lc,
    slots: &'a [SlotWires],
    ch: &Challenges,
    claim: impl Fn(&'a SlotWires) -> (&'a Lc, &'a Lc),
) {
    let mut used_before: Option<Lc> = None;
    let mut used_rows = Lc::zero();
    let mut sum = Lc::zero();
    for (row, words) in words.chunks(ROW).enumerate() {
        let [account, owner, amount] = [&words[0], &words[1], &words[2]];
        let used = cs.flag(count.value().into_bigint() > Fr::from(row as u64).into_bigint());
        let unused = not(&used);
        // Used rows come first, unused ones are zero.
        if let Some(before) = &used_before {
            cs.enforce(&used, &not(before), &Lc::zero());
        }
        for word in words {
            cs.enforce(&unused, word, &Lc::zero());
        }
        cs.range(amount, AMOUNT_BITS);
        sum = sum + &term(cs, account, owner, amount, &used, ch);
        used_rows = used_rows + &used;
        used_before = Some(used);
    }
    cs.enforce_equal(&used_rows, count);
    for slot in slots {
        let (amount, rows) = claim(slot);
        sum = sum - &term(cs, &slot.index, &slot.new.owner, amount, rows, ch);
    }
    cs.enforce_zero(&sum);
}

/// `(amount + gamma * rows) / (r - (account + beta * owner))`.
fn term(cs: &mut System, account: &Lc, owner: &Lc, amount: &Lc, rows: &Lc, ch: &Challenges) -> Lc {
    let folded = cs.product(&ch.beta, owner);
    let pole = ch.r.clone() - account - &folded;
    let counted = cs.product(&ch.gamma, rows);
    cs.quotient(&(counted + amount), &pole)
}

/// An owner changes only from none, and only with a deposit; a nonce counts withdrawals.
pub(super) fn owners(cs: &mut System, slots: &[SlotWires]) {
    for slot in slots {
        let owned = cs.nonzero(&slot.old.owner);
        let funded = cs.nonzero(&slot.deposits);
        let first = cs.product(&not(&owned), &funded);
        let change = slot.new.owner.clone() - &slot.old.owner;
        cs.enforce(&not(&first), &change, &Lc::zero());
        let nonce = slot.old.nonce.clone() + &slot.withdrawals;
        cs.enforce_equal(&nonce, &slot.new.nonce);
    }
}
