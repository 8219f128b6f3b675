//! The constraints by themselves: honest batches satisfy them, and no wire can be moved.

use super::scenario::{CHAIN, Market, Trade, table};
use crate::circuit::{assignment, shape};
use crate::field::Fr;
use crate::gadget::system::Shape;
use crate::native::Group;
use crate::statement::PublicInputs;
use crate::witness::{BatchWitness, Slot};
use ark_ff::Field;
use matcher::batch::Leaf;
use std::collections::BTreeSet;
use std::sync::OnceLock;

pub(crate) fn the_shape() -> &'static Shape {
    static SHAPE: OnceLock<Shape> = OnceLock::new();
    SHAPE.get_or_init(shape)
}

pub(crate) fn honest_assignment(witness: &BatchWitness) -> Vec<Fr> {
    let words = witness.word_elements(&CHAIN);
    let public = PublicInputs::of(&words);
    let elements = public.elements().expect("below the modulus");
    assignment(witness, &words, &elements)
}

/// Groups of all rows that an assignment breaks.
pub(crate) fn broken_groups(values: &[Fr]) -> BTreeSet<Group> {
    let shape = the_shape();
    (0..shape.constraints())
        .filter(|row| !shape.holds(*row, values))
        .map(|row| shape.groups[row])
        .collect()
}

#[test]
fn honest_batches_satisfy_the_constraints() {
    let mut market = Market::new();
    let funding = market.funding();
    let busy = market.busy();
    let full = market.full();
    let empty = market.seal(table(3), &[], &[], &[]);
    for batch in [funding, busy, full, empty] {
        let witness = market.prove(&batch);
        let values = honest_assignment(&witness);
        assert_eq!(values.len(), the_shape().columns);
        assert_eq!(broken_groups(&values), BTreeSet::new(), "{witness:?}");
    }
    assert_eq!(
        broken_groups(&honest_assignment(&ladder())),
        BTreeSet::new()
    );
    assert_eq!(
        broken_groups(&honest_assignment(&waived())),
        BTreeSet::new()
    );
}

/// A batch in which margins are waived.
fn waived() -> BatchWitness {
    let mut market = Market::funded();
    let busy = market.busy();
    market.prove(&busy);
    let mut crash = table(4);
    for value in &mut crash.columns[0].scenario_micro {
        *value = -*value * 1_000;
    }
    let batch = market.seal(crash, &[], &[(2, 1)], &[]);
    let witness = market.prove(&batch);
    assert!(witness.slots.iter().any(|slot| slot.waived));
    witness
}

/// A batch of liquidations, with a settled instrument and funding.
fn ladder() -> BatchWitness {
    let mut market = Market::funded();
    let before = market.before_the_crash();
    market.prove(&before);
    let batch = market.ladder();
    market.prove(&batch)
}

/// Trades, deposits and withdrawals at random, a few batches long, from a seed.
#[test]
fn random_honest_markets_satisfy_the_constraints() {
    for seed in 1..=3u64 {
        let mut market = Market::funded();
        let mut state = seed;
        let mut draw = |n: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % n
        };
        let accounts = [2u32, 7, 300, 65_535];
        for epoch in 2..5 {
            let trades: Vec<Trade> = (0..draw(60))
                .map(|_| {
                    let taker = draw(4) as usize;
                    let maker = (taker + 1 + draw(3) as usize) % 4;
                    let instrument = draw(3) as u16;
                    let price = [60_000, 3_000, 150][usize::from(instrument)] + draw(9) as i32;
                    let lots = draw(40) as i64 - 20;
                    let lots = if lots == 0 { 1 } else { lots };
                    (accounts[taker], accounts[maker], instrument, price, lots)
                })
                .collect();
            let deposits: Vec<_> = (0..draw(9))
                .map(|_| (draw(3) as u32 * 2_000 + 2, draw(1 << 40)))
                .collect();
            let withdrawals: Vec<_> = (0..draw(9)).map(|_| (7, draw(1 << 20))).collect();
            let batch = market.seal(table(epoch), &trades, &deposits, &withdrawals);
            let values = honest_assignment(&market.prove(&batch));
            assert_eq!(the_shape().first_broken(&values), None, "seed {seed}");
        }
    }
}

#[test]
fn the_first_batch_of_all_needs_no_listed_instrument() {
    let mut market = Market::new();
    let mut empty = table(1);
    empty.columns.fill(bytemuck::Zeroable::zeroed());
    // The ends of the range of a scenario value.
    empty.columns[7].scenario_micro[..2].copy_from_slice(&[1 << 30, 1 - (1 << 30)]);
    let batch = market.seal(empty, &[], &[(0, 1), (65_535, (1 << 62) - 1)], &[]);
    let witness = market.prove(&batch);
    assert_eq!(broken_groups(&honest_assignment(&witness)), BTreeSet::new());
}

#[test]
fn the_circuit_has_the_size_that_its_domain_is_paid_for() {
    let shape = the_shape();
    assert_eq!(shape.constraints(), 155_302);
    assert_eq!(shape.columns, 154_215);
    assert_eq!(shape.publics, 4, "the constant one, c, z, y");
    // One more domain doubles proving time; these fit 2^18.
    assert!(shape.constraints() + shape.publics <= 1 << 18);
}

/// Rows that each column stands in.
fn rows_by_column(shape: &Shape) -> Vec<Vec<u32>> {
    let mut rows = vec![Vec::new(); shape.columns];
    for matrix in &shape.matrices {
        for (place, row) in matrix.iter().enumerate() {
            for (_, column) in row {
                if rows[*column].last() != Some(&(place as u32)) {
                    rows[*column].push(place as u32);
                }
            }
        }
    }
    rows
}

/// The waiver of an account that holds nothing changes no other wire: there the prover may choose
/// either value, and S7 says so.
fn free_waivers(witness: &BatchWitness, honest: &[Fr]) -> BTreeSet<usize> {
    let blank = |slot: &Slot| slot.new == Leaf::default() && slot.old == slot.new;
    let mut free = BTreeSet::new();
    for place in (0..witness.slots.len()).filter(|k| blank(&witness.slots[*k])) {
        let mut other = witness.clone();
        other.slots[place].waived ^= true;
        let values = honest_assignment(&other);
        let moved: Vec<usize> = (0..values.len())
            .filter(|c| values[*c] != honest[*c])
            .collect();
        assert_eq!(moved.len(), 1, "only the flag itself moves");
        free.extend(moved);
    }
    free
}

/// Every wire, not a sample: moved alone, flipped as a bit and by a large number, it must break a
/// row that it stands in. The only exception are waivers of accounts that hold nothing; helper wires
/// of zero tests and of waived margins are pinned too. What this cannot see is wires that move
/// together; the forgeries are for that.
#[test]
fn no_wire_can_be_moved_alone() {
    let shape = the_shape();
    let rows = rows_by_column(shape);
    let mut market = Market::funded();
    let busy = market.busy();
    for witness in [market.prove(&busy), waived(), ladder()] {
        let mut values = honest_assignment(&witness);
        let free = free_waivers(&witness, &values);
        let mut noise = Fr::from(0x9e37_79b9_7f4a_7c15u64);
        for column in 1..shape.columns {
            let honest = values[column];
            noise.square_in_place();
            noise += Fr::ONE;
            for (moved, may_pass) in [
                (Fr::ONE - honest, free.contains(&column)),
                (honest + noise, false),
            ] {
                values[column] = moved;
                let noticed = rows[column]
                    .iter()
                    .any(|row| !shape.holds(*row as usize, &values));
                assert_ne!(noticed, may_pass, "wire {column}: {honest} against {moved}");
            }
            values[column] = honest;
        }
    }
}

/// Two neighbouring bits of one number, moved so that the number stays: nothing notices but the two
/// rows that say that a bit is 0 or 1, so none of these rows may be missing.
#[test]
fn bits_that_are_no_bits_are_refused_though_their_sum_is_right() {
    let shape = the_shape();
    let rows = rows_by_column(shape);
    let mut market = Market::funded();
    let busy = market.busy();
    let mut values = honest_assignment(&market.prove(&busy));
    let [a, b, c] = &shape.matrices;
    let flag = |row: usize| {
        let is_flag = a[row].len() == 1 && a[row] == b[row] && b[row] == c[row];
        is_flag.then(|| a[row][0].1)
    };
    let mut unnoticed_elsewhere = 0;
    for row in 1..shape.constraints() {
        let (Some(low), Some(high)) = (flag(row - 1), flag(row)) else {
            continue;
        };
        let honest = (values[low], values[high]);
        values[low] += Fr::from(2u64);
        values[high] -= Fr::ONE;
        let touched = rows[low].iter().chain(&rows[high]);
        let broken: BTreeSet<usize> = touched
            .map(|row| *row as usize)
            .filter(|row| !shape.holds(*row, &values))
            .collect();
        (values[low], values[high]) = honest;
        assert!(broken.contains(&(row - 1)), "row {row}");
        unnoticed_elsewhere += usize::from(broken.iter().all(|b| *b == row || *b == row - 1));
    }
    assert!(unnoticed_elsewhere > 40_000, "{unnoticed_elsewhere} pairs");
}
