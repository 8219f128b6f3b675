//! The eight accounts: leaves and paths (S2), what they put into the transcript, margins (S7).

use super::kinds::KindWires;
use super::table::{TableWires, kept};
use crate::field::{Fr, signed};
use crate::gadget::poseidon::{hash4, long_hash};
use crate::gadget::system::{Lc, System, not};
use crate::poseidon::Domain;
use crate::state::{LEAF_ELEMENTS, Path, children, leaf_elements, leaf_hash};
use crate::witness::Slot;
use ark_ff::{AdditiveGroup, Field};
use firmware::limits::{EQUITY_BITS, TREE_DEPTH};
use firmware::units::PICO_PER_MICRO;
use matcher::batch::{SlotKind, TierLeaf};

/// Bits of a leaf index.
const INDEX_BITS: u32 = 2 * TREE_DEPTH as u32;
/// Bits of the part of a micro-unit that rounding cash down drops, in pico-units.
pub(super) const REMAINDER_BITS: u32 = 20;

const _: () = assert!(PICO_PER_MICRO < 1 << REMAINDER_BITS);

/// A leaf on wires.
pub(super) struct LeafWires {
    pub(super) owner: Lc,
    pub(super) nonce: Lc,
    pub(super) cash: Lc,
    pub(super) positions: Vec<Lc>,
    hash: Lc,
}

/// One account on wires.
pub(super) struct SlotWires {
    pub(super) index: Lc,
    pub(super) old: LeafWires,
    pub(super) new: LeafWires,
    /// Old positions without those in settled instruments.
    pub(super) kept: Vec<Lc>,
    pub(super) support_pico: Lc,
    pub(super) charge_pico: Lc,
    pub(super) penalty_pico: Lc,
    pub(super) notional: Vec<Lc>,
    pub(super) deposit_micro: Lc,
    pub(super) withdrawal_micro: Lc,
    pub(super) deposits: Lc,
    pub(super) withdrawals: Lc,
    waived: bool,
    /// What the prover says that was done to it.
    pub(super) kind: SlotKind,
    /// Scenario in which it says that a liquidated account began below zero.
    pub(super) worst: usize,
}

fn leaf(cs: &mut System, leaf: &TierLeaf) -> LeafWires {
    let values = leaf_elements(leaf);
    let used = 3 + leaf.positions.len();
    let mut elements: Vec<Lc> = values[..used].iter().map(|v| cs.wire(*v)).collect();
    // Key, mandate, notional under it, flags: zero in this tier.
    elements.resize(LEAF_ELEMENTS, Lc::zero());
    let hash = long_hash(cs, Domain::Leaf, &elements);
    elements.truncate(used);
    let positions = elements.split_off(3);
    let [owner, nonce, cash] = elements.try_into().expect("three before the positions");
    LeafWires {
        owner,
        nonce,
        cash,
        positions,
        hash,
    }
}

/// One level of both paths at once: the old children hold the old node, and the new children are
/// the old ones with the node replaced.
fn level(cs: &mut System, place: &[Lc], values: [Fr; 4], old: &Lc, new: &Lc) -> (Lc, Lc) {
    let [low, high] = [&place[0], &place[1]];
    let kids: Vec<Lc> = values.iter().map(|v| cs.wire(*v)).collect();
    // kids[place] = old
    let first = cs.product(low, &(kids[1].clone() - &kids[0])) + &kids[0];
    let second = cs.product(low, &(kids[3].clone() - &kids[2])) + &kids[2];
    cs.enforce(high, &(second - &first), &(old.clone() - &first));
    // What each child changes by: the difference at its place, else nothing.
    let both = cs.product(low, high);
    let change = new.clone() - old;
    let at1 = cs.product(&(low.clone() - &both), &change);
    let at2 = cs.product(&(high.clone() - &both), &change);
    let at3 = cs.product(&both, &change);
    let at0 = change - &at1 - &at2 - &at3;
    let moved: Vec<Lc> = kids
        .iter()
        .zip([at0, at1, at2, at3])
        .map(|(kid, change)| kid.clone() + &change)
        .collect();
    let up_old = hash4(cs, [&kids[0], &kids[1], &kids[2], &kids[3]]);
    let up_new = hash4(cs, [&moved[0], &moved[1], &moved[2], &moved[3]]);
    (up_old, up_new)
}

/// Both roots that a slot's leaves lead to.
fn roots(
    cs: &mut System,
    index_bits: &[Lc],
    slot: &Slot,
    old: &LeafWires,
    new: &LeafWires,
) -> (Lc, Lc) {
    let path: &Path = &slot.path;
    let mut node = leaf_hash(&slot.old);
    let (mut up_old, mut up_new) = (old.hash.clone(), new.hash.clone());
    for (height, siblings) in path.iter().enumerate() {
        let place = slot.index as usize >> (2 * height) & 3;
        let values = children(node, place, siblings);
        let bits = &index_bits[2 * height..2 * height + 2];
        (up_old, up_new) = level(cs, bits, values, &up_old, &up_new);
        node = up_old.value();
    }
    (up_old, up_new)
}

/// Opens all slots: S2.
pub(super) fn open(
    cs: &mut System,
    slots: &[Slot],
    table: &TableWires,
    old_tree: &Lc,
    new_tree: &Lc,
) -> Vec<SlotWires> {
    let mut root = old_tree.clone();
    let mut wires: Vec<SlotWires> = Vec::with_capacity(slots.len());
    for slot in slots {
        let old = leaf(cs, &slot.old);
        let new = leaf(cs, &slot.new);
        let index_bits = cs.bits(Fr::from(slot.index), INDEX_BITS);
        let index = Lc::from_bits(&index_bits);
        if let Some(before) = wires.last() {
            let gap = index.clone() - &before.index + -Fr::ONE;
            cs.range(&gap, INDEX_BITS);
        }
        let (from, to) = roots(cs, &index_bits, slot, &old, &new);
        cs.enforce_equal(&from, &root);
        root = to;
        wires.push(SlotWires {
            index,
            kept: kept(cs, &old.positions, table),
            old,
            new,
            support_pico: cs.wire(signed(slot.support_pico)),
            charge_pico: cs.wire(signed(slot.charge_pico)),
            penalty_pico: cs.wire(signed(slot.penalty_pico)),
            notional: slot.notional.iter().map(|n| cs.wire(signed(*n))).collect(),
            deposit_micro: cs.wire(signed(slot.deposit_micro)),
            withdrawal_micro: cs.wire(signed(slot.withdrawal_micro)),
            deposits: cs.wire(Fr::from(slot.deposits)),
            withdrawals: cs.wire(Fr::from(slot.withdrawals)),
            waived: slot.waived,
            kind: slot.kind,
            worst: slot.worst,
        });
    }
    cs.enforce_equal(&root, new_tree);
    wires
}

/// Everything about the slots that an identity speaks about.
pub(super) fn absorb(slots: &[SlotWires], transcript: &mut Vec<Lc>) {
    for slot in slots {
        transcript.extend([
            slot.index.clone(),
            slot.old.hash.clone(),
            slot.new.hash.clone(),
        ]);
        transcript.extend_from_slice(&slot.notional);
        transcript.extend([
            slot.deposit_micro.clone(),
            slot.withdrawal_micro.clone(),
            slot.deposits.clone(),
            slot.withdrawals.clone(),
        ]);
    }
}

/// S7 for one account. Where the margin is waived or the account is liquidated, cash and positions are taken as zero.
pub(super) fn margin(cs: &mut System, slot: &SlotWires, kind: &KindWires, table: &TableWires) {
    let waived = cs.flag(slot.waived);
    for (old, new) in slot.kept.iter().zip(&slot.new.positions) {
        cs.enforce(&waived, &(new.clone() - old), &Lc::zero());
    }
    // By S5 and S6 none of these is negative, so the sum is zero only if each is.
    let acted = Lc::sum(&slot.notional) + &slot.withdrawal_micro + &slot.withdrawals;
    let acted = acted + &kind.liquidated + &kind.deleveraged;
    cs.enforce(&waived, &acted, &Lc::zero());
    let counted = not(&waived) - &kind.liquidated;

    let cash = cs.product(&counted, &slot.new.cash);
    let (floor, remainder) = floor_micro(cash.value());
    let remainder_bits = cs.bits(remainder, REMAINDER_BITS);
    let remainder = Lc::from_bits(&remainder_bits);
    let largest = Fr::from(PICO_PER_MICRO as u64 - 1);
    cs.range(&(Lc::constant(largest) - &remainder), REMAINDER_BITS);
    let floor = cs.wire(floor);
    let micro = Fr::from(PICO_PER_MICRO as u64);
    cs.enforce_equal(&(&floor * micro + &remainder), &cash);

    let scenarios = table.columns.first().map_or(0, |c| c.scenarios.len());
    for scenario in 0..scenarios {
        let mut held = Lc::zero();
        for (lots, column) in slot.new.positions.iter().zip(&table.columns) {
            held = held + &cs.product(lots, &column.scenarios[scenario]);
        }
        let held = cs.product(&counted, &held);
        cs.range(&(floor.clone() + &held), EQUITY_BITS);
    }
}

/// Quotient and remainder of signed pico-units by a micro-unit, rounded down. A value beyond 128
/// bits is no cash: it gets a pair that satisfies nothing.
fn floor_micro(cash: Fr) -> (Fr, Fr) {
    let magnitude = |v: Fr| {
        let limbs = ark_ff::PrimeField::into_bigint(v).0;
        let small = limbs[2..] == [0; 2] && limbs[1] >> 63 == 0;
        small.then_some(i128::from(limbs[0]) | i128::from(limbs[1]) << 64)
    };
    let cash = magnitude(cash).or_else(|| magnitude(-cash).map(|v| -v));
    cash.map_or((Fr::ZERO, Fr::ONE), |cash| {
        let floor = cash.div_euclid(PICO_PER_MICRO);
        (signed(floor), signed(cash.rem_euclid(PICO_PER_MICRO)))
    })
}
