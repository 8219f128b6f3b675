//! The risk table on wires, in range, and its digest.

use crate::field::{Fr, signed};
use crate::gadget::poseidon::long_hash;
use crate::gadget::system::{Lc, System};
use crate::poseidon::Domain;
use crate::state::{SCENARIO_BITS, SCENARIO_OFFSET, SCENARIOS_PER_ELEMENT};
use firmware::limits::{COLLAR_BITS, PRICE_BITS, TICK_VALUE_BITS};
use matcher::table::{Column, RiskTable};

/// Bits of the taker fee rate, and one more of the sum of both rates: the table holds them as i32.
pub(super) const FEE_BITS: u32 = 31;

/// One instrument.
pub(super) struct ColumnWires {
    pub(super) lo: Lc,
    pub(super) width: Lc,
    pub(super) tick_value: Lc,
    pub(super) scenarios: Vec<Lc>,
}

/// The whole table.
pub(super) struct TableWires {
    pub(super) columns: Vec<ColumnWires>,
    pub(super) taker_fee: Lc,
    pub(super) maker_fee: Lc,
    pub(super) digest: Lc,
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
    elements.push(integer(cs, column.mark_micro));
    let mut chunks: Vec<Vec<(&Lc, u32)>> = shifted
        .chunks(SCENARIOS_PER_ELEMENT)
        .map(|chunk| chunk.iter().map(|v| (v, SCENARIO_BITS)).collect())
        .collect();
    if let Some(last) = chunks.last_mut() {
        last.extend([
            (&lo, PRICE_BITS),
            (&width, COLLAR_BITS),
            (&tick_value, TICK_VALUE_BITS),
        ]);
    }
    elements.extend(chunks.iter().map(|chunk| Lc::pack(chunk)));
    let scenarios = shifted.iter().map(|v| v.clone() + -offset).collect();
    ColumnWires {
        lo,
        width,
        tick_value,
        scenarios,
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
    elements.extend([taker_fee.clone(), maker_fee.clone()]);
    elements.push(integer(cs, table.epoch));
    elements.push(integer(cs, table.index_micro));
    let digest = long_hash(cs, Domain::Table, &elements);
    TableWires {
        columns,
        taker_fee,
        maker_fee,
        digest: cs.settle(&digest),
    }
}
