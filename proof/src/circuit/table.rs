//! The risk table on wires, in range, and its digest; and what it may change of the table before.

use crate::field::{Fr, power_of_two, signed};
use crate::gadget::poseidon::long_hash;
use crate::gadget::system::{Lc, System, not};
use crate::native::LIQUIDATION_FEE_BITS;
use crate::poseidon::Domain;
use crate::state::{
    FUNDING_BITS, FUNDING_OFFSET, LIQUIDATION_FEE_AT, SCENARIO_BITS, SCENARIO_OFFSET,
    SCENARIOS_PER_ELEMENT, SETTLED_AT, table_elements,
};
use ark_ff::{AdditiveGroup, BigInteger, PrimeField};
use firmware::limits::{COLLAR_BITS, PRICE_BITS, TICK_VALUE_BITS, TIER_INSTRUMENTS};
use matcher::table::{Column, RiskTable};

/// Bits of the taker fee rate, and one more of the sum of both rates: the table holds them as i32.
pub(super) const FEE_BITS: u32 = 31;
/// Elements of a column.
const COLUMN_ELEMENTS: usize = 5;

const _: () = assert!(FEE_BITS < LIQUIDATION_FEE_AT);

/// One instrument.
pub(super) struct ColumnWires {
    pub(super) lo: Lc,
    pub(super) width: Lc,
    pub(super) tick_value: Lc,
    /// Value of a lot in each scenario, less the funding that it owes.
    pub(super) scenarios: Vec<Lc>,
    /// Value of a lot at the mark, less the funding that it owes.
    pub(super) mark: Lc,
    pub(super) funding: Lc,
    pub(super) settled: Lc,
}

/// The whole table.
pub(super) struct TableWires {
    pub(super) columns: Vec<ColumnWires>,
    pub(super) taker_fee: Lc,
    pub(super) maker_fee: Lc,
    pub(super) liquidation_fee: Lc,
    pub(super) digest: Lc,
    elements: Vec<Lc>,
}

/// A wire of a signed integer, unchecked.
fn integer(cs: &mut System, value: impl Into<i128>) -> Lc {
    cs.wire(signed(value.into()))
}

fn ranged(cs: &mut System, value: impl Into<i128>, bits: u32) -> Lc {
    let wire = integer(cs, value);
    cs.range(&wire, bits);
    wire
}

fn column(cs: &mut System, column: &Column, elements: &mut Vec<Lc>) -> ColumnWires {
    let lo = ranged(cs, column.collar_lo_ticks, PRICE_BITS);
    let width = ranged(cs, column.collar_width_ticks, COLLAR_BITS);
    let tick_value = ranged(cs, column.tick_value_micro, TICK_VALUE_BITS);
    let offset = Fr::from(SCENARIO_OFFSET as u64);
    let mut shifted = Vec::with_capacity(column.scenario_micro.len());
    for value in column.scenario_micro {
        shifted.push(integer(cs, value) + offset);
    }
    for value in &shifted {
        cs.range(value, SCENARIO_BITS);
    }
    let mark = integer(cs, column.mark_micro);
    cs.range(&(mark.clone() + offset), SCENARIO_BITS);
    let shifted_funding = ranged(
        cs,
        i128::from(column.funding_micro) + i128::from(FUNDING_OFFSET),
        FUNDING_BITS,
    );
    let settled = cs.flag(column.is_settled == 1);
    // Settled: no price, and its value in every scenario.
    cs.enforce(&settled, &width, &Lc::zero());
    for value in &shifted {
        let change = value.clone() + -offset - &mark;
        cs.enforce(&settled, &change, &Lc::zero());
    }
    elements.push(mark.clone());
    let mut chunks: Vec<Vec<(&Lc, u32)>> = shifted
        .chunks(SCENARIOS_PER_ELEMENT)
        .map(|chunk| chunk.iter().map(|v| (v, SCENARIO_BITS)).collect())
        .collect();
    if let Some(last) = chunks.last_mut() {
        last.extend([
            (&lo, PRICE_BITS),
            (&width, COLLAR_BITS),
            (&tick_value, TICK_VALUE_BITS),
            (&shifted_funding, FUNDING_BITS),
            (&settled, 1),
        ]);
    }
    elements.extend(chunks.iter().map(|chunk| Lc::pack(chunk)));
    let funding = shifted_funding + -Fr::from(FUNDING_OFFSET as u64);
    let net = |v: &Lc| v.clone() + -offset - &funding;
    ColumnWires {
        scenarios: shifted.iter().map(net).collect(),
        mark: mark - &funding,
        lo,
        width,
        tick_value,
        funding,
        settled,
    }
}

/// Allocates the table and works out its digest, as `state::table_digest` does.
pub(super) fn table(cs: &mut System, table: &RiskTable) -> TableWires {
    let mut elements = Vec::new();
    let mut columns = Vec::with_capacity(table.columns.len());
    for values in &table.columns {
        columns.push(column(cs, values, &mut elements));
    }
    let taker_fee = ranged(cs, table.taker_fee_ppm, FEE_BITS);
    let maker_fee = integer(cs, table.maker_fee_ppm);
    cs.range(&(taker_fee.clone() + &maker_fee), FEE_BITS + 1);
    let liquidation_fee = ranged(cs, table.liquidation_fee_ppm, LIQUIDATION_FEE_BITS);
    let mut fees = taker_fee.clone();
    fees.add_scaled(power_of_two(LIQUIDATION_FEE_AT), &liquidation_fee);
    elements.extend([fees, maker_fee.clone()]);
    elements.push(integer(cs, table.epoch));
    elements.push(integer(cs, table.index_micro));
    let digest = long_hash(cs, Domain::Table, &elements);
    TableWires {
        columns,
        taker_fee,
        maker_fee,
        liquidation_fee,
        digest: cs.settle(&digest),
        elements,
    }
}

/// Opens the table before: what was settled in it stays as it was. Before the first batch its digest is zero, which no
/// table has, and nothing is asked.
pub(super) fn follows(cs: &mut System, old: Option<&RiskTable>, old_digest: &Lc, new: &TableWires) {
    let values = old.map_or_else(|| vec![Fr::ZERO; new.elements.len()], table_elements);
    let old: Vec<Lc> = values.iter().map(|v| cs.wire(*v)).collect();
    let digest = long_hash(cs, Domain::Table, &old);
    let exists = cs.nonzero(old_digest);
    cs.enforce(&exists, &(digest - old_digest), &Lc::zero());
    let columns = old
        .chunks(COLUMN_ELEMENTS)
        .zip(new.elements.chunks(COLUMN_ELEMENTS));
    for (old, new) in columns.take(TIER_INSTRUMENTS) {
        let last = &old[COLUMN_ELEMENTS - 1];
        let bits = last.value().into_bigint();
        let settled = cs.flag(bits.get_bit(SETTLED_AT as usize));
        // The flag is the top bit of what the table before was proven to be made of.
        let mut below = last.clone();
        below.add_scaled(-power_of_two(SETTLED_AT), &settled);
        cs.range(&below, SETTLED_AT);
        let binds = cs.product(&exists, &settled);
        for (old, new) in old.iter().zip(new) {
            cs.enforce(&binds, &(new.clone() - old), &Lc::zero());
        }
    }
}

/// Positions of a leaf without those in settled instruments.
pub(super) fn kept(cs: &mut System, positions: &[Lc], table: &TableWires) -> Vec<Lc> {
    let pairs = positions.iter().zip(&table.columns);
    pairs
        .map(|(lots, column)| cs.product(&not(&column.settled), lots))
        .collect()
}
