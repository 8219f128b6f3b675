//! Fill rows: ranges and collars (S3), positions (S4) and notionals (S5) against the accounts.

use super::Challenges;
use super::slots::SlotWires;
use super::table::TableWires;
use crate::field::{Fr, signed};
use crate::gadget::system::{Lc, System, not};
use crate::witness::{Lane, ROLES, SlotFill};
use ark_ff::Field;
use firmware::limits::{BATCH_ACCOUNTS, COLLAR_BITS, FILL_QTY_BITS, TIER_INSTRUMENTS};

/// Bits of a slot number.
const SLOT_BITS: u32 = BATCH_ACCOUNTS.ilog2();
/// Slot numbers in a key: a power of two not below the number of slots, so that keys never meet.
const KEY_STRIDE: u64 = 256;
/// Bits of a lane's instrument and its live flag in the transcript.
const LANE_BITS: u32 = TIER_INSTRUMENTS.ilog2() + 1;
/// Bits of a fill in the transcript.
const FILL_BITS: u32 = 2 * SLOT_BITS + FILL_QTY_BITS + COLLAR_BITS + 1;
/// Fills in one element of the transcript.
const FILLS_PER_ELEMENT: usize = 4;

const _: () = assert!(BATCH_ACCOUNTS.is_power_of_two() && TIER_INSTRUMENTS.is_power_of_two());
const _: () = assert!(BATCH_ACCOUNTS as u64 <= KEY_STRIDE);
const _: () = assert!(FILL_BITS * FILLS_PER_ELEMENT as u32 <= 253);

/// One fill on wires; every part is made of bits.
struct FillWires {
    taker: Lc,
    maker: Lc,
    lots: Lc,
    offset: Lc,
    taker_buys: Lc,
}

/// Fills of one instrument.
pub(super) struct LaneWires {
    instrument: Lc,
    live: Lc,
    lo: Lc,
    tick_value: Lc,
    fills: Vec<FillWires>,
}

/// Index and parameters of the lane's instrument, picked by one flag per instrument.
fn pick(cs: &mut System, lane: &Lane, table: &TableWires) -> (Lc, [Lc; 3]) {
    let flags: Vec<Lc> = (0..TIER_INSTRUMENTS)
        .map(|i| cs.flag(i == lane.instrument))
        .collect();
    cs.enforce_equal(&Lc::sum(&flags), &Lc::constant(Fr::ONE));
    let mut index = Lc::zero();
    let mut picked = [Lc::zero(), Lc::zero(), Lc::zero()];
    for (place, (flag, column)) in flags.iter().zip(&table.columns).enumerate() {
        index.add_scaled(Fr::from(place as u64), flag);
        for (sum, value) in picked
            .iter_mut()
            .zip([&column.lo, &column.width, &column.tick_value])
        {
            let term = cs.product(flag, value);
            sum.add_scaled(Fr::ONE, &term);
        }
    }
    (cs.settle(&index), picked.map(|sum| cs.settle(&sum)))
}

fn fill(cs: &mut System, fill: &SlotFill, span: &Lc) -> FillWires {
    let slot =
        |cs: &mut System, slot: usize| Lc::from_bits(&cs.bits(Fr::from(slot as u64), SLOT_BITS));
    let taker = slot(cs, fill.taker);
    let maker = slot(cs, fill.maker);
    let lots = Lc::from_bits(&cs.bits(Fr::from(fill.lots), FILL_QTY_BITS));
    let offset = Lc::from_bits(&cs.bits(signed(fill.offset.into()), COLLAR_BITS));
    // offset <= width - 1
    cs.range(&(span.clone() - &offset), COLLAR_BITS);
    let taker_buys = cs.flag(fill.taker_buys);
    FillWires {
        taker,
        maker,
        lots,
        offset,
        taker_buys,
    }
}

/// S3.
pub(super) fn lanes(cs: &mut System, lanes: &[Lane], table: &TableWires) -> Vec<LaneWires> {
    let mut wires = Vec::with_capacity(lanes.len());
    for lane in lanes {
        let (instrument, [lo, width, tick_value]) = pick(cs, lane, table);
        let live = cs.flag(lane.live);
        // Of an instrument that is not listed the width is 0, and the span negative. A lane that is
        // not live has span 0 and no lots, so that a table without instruments has lanes too.
        let span = cs.product(&live, &(width + -Fr::ONE));
        let fills: Vec<FillWires> = lane.rows.iter().map(|row| fill(cs, row, &span)).collect();
        let lots = Lc::sum(fills.iter().map(|fill| &fill.lots));
        cs.enforce(&not(&live), &lots, &Lc::zero());
        wires.push(LaneWires {
            instrument,
            live,
            lo,
            tick_value,
            fills,
        });
    }
    wires
}

/// The lanes' instruments, and all fills: made of bits, so packing is one-to-one.
pub(super) fn absorb(lanes: &[LaneWires], transcript: &mut Vec<Lc>) {
    let heads: Vec<(&Lc, u32)> = lanes
        .iter()
        .flat_map(|lane| [(&lane.instrument, LANE_BITS - 1), (&lane.live, 1)])
        .collect();
    transcript.push(Lc::pack(&heads));
    for lane in lanes {
        for fills in lane.fills.chunks(FILLS_PER_ELEMENT) {
            let parts: Vec<(&Lc, u32)> = fills
                .iter()
                .flat_map(|fill| {
                    [
                        (&fill.taker, SLOT_BITS),
                        (&fill.maker, SLOT_BITS),
                        (&fill.lots, FILL_QTY_BITS),
                        (&fill.offset, COLLAR_BITS),
                        (&fill.taker_buys, 1),
                    ]
                })
                .collect();
            transcript.push(Lc::pack(&parts));
        }
    }
}

/// `r - (slot + 256 * kind)`.
fn pole(r: &Lc, slot: &Lc, kind: &Lc) -> Lc {
    let mut pole = r.clone() - slot;
    pole.add_scaled(-Fr::from(KEY_STRIDE), kind);
    pole
}

/// The same for a slot and a kind that are fixed.
fn fixed_pole(r: &Lc, slot: usize, kind: usize) -> Lc {
    r.clone() + -Fr::from(slot as u64 + KEY_STRIDE * kind as u64)
}

/// S4: signed lots of all fills over their poles against position changes over theirs.
pub(super) fn positions(
    cs: &mut System,
    lanes: &[LaneWires],
    slots: &[SlotWires],
    ch: &Challenges,
) {
    let mut sum = Lc::zero();
    for lane in lanes {
        for fill in &lane.fills {
            // + lots where the taker buys, else - lots
            let sign = &fill.taker_buys * Fr::from(2u64) + -Fr::ONE;
            let lots = cs.product(&fill.lots, &sign);
            let taker = cs.quotient(&lots, &pole(&ch.r, &fill.taker, &lane.instrument));
            let maker = cs.quotient(&lots, &pole(&ch.r, &fill.maker, &lane.instrument));
            sum = sum + &taker - &maker;
        }
    }
    for (slot, wires) in slots.iter().enumerate() {
        let (old, new) = (&wires.kept, &wires.new.positions);
        for (instrument, (old, new)) in old.iter().zip(new).enumerate() {
            let delta = new.clone() - old;
            let term = cs.quotient(&delta, &fixed_pole(&ch.r, slot, instrument));
            sum = sum - &term;
        }
    }
    cs.enforce_zero(&sum);
}

/// S5, first half: notionals of all fills over their poles against the sums that accounts claim,
/// by role and side: taker buys 0, taker sells 1, maker buys 2, maker sells 3.
pub(super) fn notionals(
    cs: &mut System,
    lanes: &[LaneWires],
    slots: &[SlotWires],
    ch: &Challenges,
) {
    let mut sum = Lc::zero();
    for lane in lanes {
        let mut lane_sum = Lc::zero();
        for fill in &lane.fills {
            let ticks = cs.product(&fill.lots, &(lane.lo.clone() + &fill.offset));
            let taker_role = not(&fill.taker_buys);
            let maker_role = fill.taker_buys.clone() + Fr::from(2u64);
            let taker = cs.quotient(&ticks, &pole(&ch.r, &fill.taker, &taker_role));
            let maker = cs.quotient(&ticks, &pole(&ch.r, &fill.maker, &maker_role));
            lane_sum = lane_sum + &taker + &maker;
        }
        // One instrument a lane, so its tick value comes out of the sum.
        sum = sum + &cs.product(&lane.tick_value, &lane_sum);
    }
    for (slot, wires) in slots.iter().enumerate() {
        assert_eq!(
            wires.notional.len(),
            ROLES,
            "one sum for each role and side"
        );
        for (role, notional) in wires.notional.iter().enumerate() {
            let term = cs.quotient(notional, &fixed_pole(&ch.r, slot, role));
            sum = sum - &term;
        }
    }
    cs.enforce_zero(&sum);
}
