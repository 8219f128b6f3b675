//! Accounts that are liquidated or deleveraged: the part of S7 that is about them.

use super::slots::SlotWires;
use super::table::TableWires;
use crate::field::{Fr, is_negative};
use crate::gadget::system::{Lc, System, not};
use crate::witness::PAID_BITS;
use ark_ff::Field;
use firmware::limits::SCENARIOS;
use firmware::units::PICO_PER_MICRO;
use matcher::batch::SlotKind;

/// Bits of a position that shrinks.
pub(super) const POSITION_BITS: u32 = 34;
/// Bits of what an account lacks, in pico-units.
pub(super) const LACK_BITS: u32 = 104;

/// Both flags; never both set.
pub(super) struct KindWires {
    pub(super) liquidated: Lc,
    pub(super) deleveraged: Lc,
}

/// Picks the kind, and holds the account to it.
pub(super) fn kind(cs: &mut System, slot: &SlotWires, table: &TableWires) -> KindWires {
    let liquidated = cs.flag(slot.kind == SlotKind::Liquidated);
    let deleveraged = cs.flag(slot.kind == SlotKind::Deleveraged);
    cs.enforce(&liquidated, &deleveraged, &Lc::zero());
    for paid in [&slot.support_pico, &slot.charge_pico, &slot.penalty_pico] {
        cs.range(paid, PAID_BITS);
    }
    // None of these is negative.
    let own = slot.support_pico.clone() + &slot.penalty_pico;
    cs.enforce(&not(&liquidated), &own, &Lc::zero());
    cs.enforce(&not(&deleveraged), &slot.charge_pico, &Lc::zero());
    shrinks(cs, slot, &(liquidated.clone() + &deleveraged));

    let withdrawn = slot.withdrawal_micro.clone() + &slot.withdrawals;
    cs.enforce(&liquidated, &withdrawn, &Lc::zero());
    began_below(cs, slot, table, &liquidated);
    support(cs, slot, table);
    let turnover = Lc::sum(&slot.notional);
    let most = cs.product(&table.liquidation_fee, &turnover);
    let slack = cs.product(&liquidated, &(most - &slot.penalty_pico));
    cs.range(&slack, LACK_BITS);
    KindWires {
        liquidated,
        deleveraged,
    }
}

/// Where `binds` is set, each position ends between its start and zero.
fn shrinks(cs: &mut System, slot: &SlotWires, binds: &Lc) {
    for (old, new) in slot.kept.iter().zip(&slot.new.positions) {
        let is_bound = binds.value() == Fr::ONE;
        let is_short = cs.flag(is_bound && is_negative(&old.value()));
        cs.enforce(&not(binds), &is_short, &Lc::zero());
        // + 1 for a long position, - 1 for a short one
        let sign = Lc::constant(Fr::ONE) - &(&is_short * Fr::from(2u64));
        let sign = cs.product(binds, &sign);
        let left = cs.product(&sign, new);
        cs.range(&left, POSITION_BITS);
        let closed = cs.product(&sign, &(old.clone() - new));
        cs.range(&closed, POSITION_BITS);
    }
}

/// A liquidated account was below zero in the scenario that the prover names, deposits included.
fn began_below(cs: &mut System, slot: &SlotWires, table: &TableWires, liquidated: &Lc) {
    let flags: Vec<Lc> = (0..SCENARIOS).map(|s| cs.flag(s == slot.worst)).collect();
    cs.enforce_equal(&Lc::sum(&flags), &Lc::constant(Fr::ONE));
    let mut held = Lc::zero();
    for (lots, column) in slot.old.positions.iter().zip(&table.columns) {
        let mut value = Lc::zero();
        for (flag, scenario) in flags.iter().zip(&column.scenarios) {
            value = value + &cs.product(flag, scenario);
        }
        held = held + &cs.product(lots, &value);
    }
    let micro = held + &slot.deposit_micro;
    let equity = &micro * Fr::from(PICO_PER_MICRO as u64) + &slot.old.cash;
    let lacks = Lc::zero() - &equity + -Fr::ONE;
    let lacks = cs.product(liquidated, &lacks);
    cs.range(&lacks, LACK_BITS);
}

/// Who gets support is worth nothing at the marks, with it.
fn support(cs: &mut System, slot: &SlotWires, table: &TableWires) {
    let mut held = Lc::zero();
    for (lots, column) in slot.new.positions.iter().zip(&table.columns) {
        held = held + &cs.product(lots, &column.mark);
    }
    let equity = &held * Fr::from(PICO_PER_MICRO as u64) + &slot.new.cash;
    let supported = cs.nonzero(&slot.support_pico);
    let lacks = cs.product(&supported, &(Lc::zero() - &equity));
    cs.range(&lacks, LACK_BITS);
}
