//! The statement in plain Rust, one function per numbered group of `STATEMENT.md`.
//!
//! It reads the same witness as the circuit, so a test can break one number and see both refuse.

use crate::field::{Fr, address, from_word};
use crate::poseidon::{Domain, long_hash};
use crate::state::{
    FUNDING_BITS, FUNDING_OFFSET, SCENARIO_OFFSET, column_elements, leaf_hash, root_of, state_root,
    table_digest,
};
use crate::statement::{
    DEPOSITS_AT, PublicInputs, ROW, WITHDRAWALS_AT, Words, at, evaluate, tier_word,
};
use crate::witness::{BatchWitness, PAID_BITS, ROLES, Slot, role};
use ark_ff::{AdditiveGroup, PrimeField};
use firmware::limits::{
    ACCOUNTS, AMOUNT_BITS, BATCH_ACCOUNTS, BATCH_DEPOSITS, BATCH_WITHDRAWALS, COLLAR_BITS,
    EQUITY_BITS, FILL_QTY_BITS, LOT_VALUE_MICRO_MAX, PRICE_BITS, SCENARIOS, TICK_VALUE_BITS,
    TIER_INSTRUMENTS,
};
use firmware::units::PICO_PER_MICRO;
use matcher::batch::{SlotKind, TierLeaf};
use matcher::table::{Column, RiskTable};

/// Bits of the liquidation fee rate, ppm.
pub(crate) const LIQUIDATION_FEE_BITS: u32 = 17;

/// A numbered group of the statement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// Roots open to trees, fund, risk table and batch number; the table's values are in range.
    S1 = 1,
    /// Leaves are distinct and lead from the old tree to the new one.
    S2,
    /// Fill rows are in range, inside their collars, of a listed instrument.
    S3,
    /// Positions move by the fills; those in settled instruments end.
    S4,
    /// Cash moves by notionals, funding, settled positions, fees, support, deposits and withdrawals, and none appears.
    S5,
    /// Deposits and withdrawals go to and come from their owners' accounts.
    S6,
    /// Accounts that did more than receive a deposit end above their margin, or were below it and only shrank.
    S7,
    /// The public inputs stand for the words.
    S8,
}

/// A group of the statement that does not hold, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{group:?}: {what}")]
pub struct Violation {
    /// The group.
    pub group: Group,
    /// What does not hold.
    pub what: String,
}

type Check = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(what()) }
}

/// Checks every group in order.
pub(crate) fn check(
    w: &BatchWitness,
    words: &Words,
    public: &PublicInputs,
) -> Result<(), Violation> {
    for (group, result) in [
        (Group::S1, roots(w, words)),
        (Group::S2, leaves(w)),
        (Group::S3, fills(w)),
        (Group::S4, positions(w)),
        (Group::S5, cash(w)),
        (Group::S6, money_rows(w, words)),
        (Group::S7, margins(w)),
        (Group::S8, publics(words, public)),
    ] {
        result.map_err(|what| Violation { group, what })?;
    }
    Ok(())
}

/// Why a table does not fit the circuit's ranges.
pub(crate) fn table_fault(table: &RiskTable) -> Option<String> {
    let (taker, maker) = (table.taker_fee_ppm, table.maker_fee_ppm);
    if taker < 0 {
        return Some(format!("taker fee {taker} ppm is negative"));
    }
    if i64::from(taker) + i64::from(maker) < 0 {
        return Some(format!(
            "maker rebate {maker} ppm is larger than the taker fee {taker} ppm"
        ));
    }
    if table.liquidation_fee_ppm >> LIQUIDATION_FEE_BITS != 0 {
        let rate = table.liquidation_fee_ppm;
        return Some(format!(
            "liquidation fee {rate} ppm is not within {LIQUIDATION_FEE_BITS} bits"
        ));
    }
    table
        .columns
        .iter()
        .enumerate()
        .find_map(|(place, column)| {
            column_fault(column).map(|what| format!("instrument {place}: {what}"))
        })
}

fn column_fault(column: &Column) -> Option<String> {
    let outside = |value: i64, bits: u32| value < 0 || value >> bits != 0;
    for (name, value, bits) in [
        ("collar low end", column.collar_lo_ticks.into(), PRICE_BITS),
        (
            "collar width",
            column.collar_width_ticks.into(),
            COLLAR_BITS,
        ),
        (
            "tick value",
            column.tick_value_micro.into(),
            TICK_VALUE_BITS,
        ),
        ("settled flag", column.is_settled.into(), 1),
        (
            "funding",
            column.funding_micro.saturating_add(FUNDING_OFFSET),
            FUNDING_BITS,
        ),
    ] {
        if outside(value, bits) {
            return Some(format!("{name} {value} is not within {bits} bits"));
        }
    }
    let range = -SCENARIO_OFFSET..=LOT_VALUE_MICRO_MAX;
    let mark = column.mark_micro;
    if !range.contains(&mark) {
        return Some(format!("mark {mark} is out of range"));
    }
    if column.is_settled == 1 {
        if column.collar_width_ticks != 0 {
            return Some("it is settled and has a collar".into());
        }
        if column.scenario_micro.iter().any(|v| *v != mark) {
            return Some("it is settled and a scenario is not its value".into());
        }
    }
    let scenario = column
        .scenario_micro
        .iter()
        .position(|v| !range.contains(v))?;
    Some(format!(
        "value {} in scenario {scenario} is out of range",
        column.scenario_micro[scenario]
    ))
}

/// A column that was settled and is no longer what it was.
pub(crate) fn settled_fault(old: Option<&RiskTable>, new: &RiskTable) -> Option<usize> {
    let pairs = old?.columns.iter().zip(&new.columns);
    let changes = |(old, new): (&Column, &Column)| {
        old.is_settled == 1 && column_elements(old) != column_elements(new)
    };
    pairs.map(changes).position(|changes| changes)
}

/// The positions of a leaf without those in settled instruments.
pub(crate) fn folded(leaf: &TierLeaf, table: &RiskTable) -> [i64; TIER_INSTRUMENTS] {
    std::array::from_fn(|i| match table.columns[i].is_settled {
        0 => leaf.positions[i],
        _ => 0,
    })
}

/// Worth of all positions in one scenario, or at the marks, less the funding that they owe, in micro-units.
fn held_micro(leaf: &TierLeaf, table: &RiskTable, scenario: Option<usize>) -> i128 {
    let positions = leaf.positions.iter().zip(&table.columns);
    let worth = |(lots, column): (&i64, &Column)| {
        let value = scenario.map_or(column.mark_micro, |s| column.scenario_micro[s]);
        i128::from(*lots) * (i128::from(value) - i128::from(column.funding_micro))
    };
    positions.map(worth).sum()
}

/// Worth of a leaf in one scenario, in micro-units: cash rounded down, positions at the scenario.
pub(crate) fn equity_micro(leaf: &TierLeaf, table: &RiskTable, scenario: usize) -> i128 {
    leaf.cash_pico.div_euclid(PICO_PER_MICRO) + held_micro(leaf, table, Some(scenario))
}

/// Worth of a leaf in one scenario, or at the marks, in pico-units.
pub(crate) fn equity_pico(leaf: &TierLeaf, table: &RiskTable, scenario: Option<usize>) -> i128 {
    leaf.cash_pico + held_micro(leaf, table, scenario) * PICO_PER_MICRO
}

/// S1.
fn roots(w: &BatchWitness, words: &Words) -> Check {
    if let Some(fault) = table_fault(&w.table) {
        return Err(fault);
    }
    ensure(words[at::BATCH_NO] == Fr::from(w.batch_no), || {
        format!("batch number is not {}", w.batch_no)
    })?;
    let before = w.batch_no.wrapping_sub(1);
    let old = state_root(w.old.tree, w.old.fund_pico, w.old.table_digest, before);
    ensure(words[at::OLD_ROOT] == old, || "old root".into())?;
    match &w.old_table {
        None => ensure(w.old.table_digest == Fr::ZERO, || {
            "a table before that is not shown".into()
        })?,
        Some(table) => ensure(w.old.table_digest == table_digest(table), || {
            "digest of the risk table before".into()
        })?,
    }
    if let Some(column) = settled_fault(w.old_table.as_deref(), &w.table) {
        return Err(format!("instrument {column} was settled and changes"));
    }
    ensure(w.new.table_digest == table_digest(&w.table), || {
        "digest of the risk table".into()
    })?;
    let new = state_root(w.new.tree, w.new.fund_pico, w.new.table_digest, w.batch_no);
    ensure(words[at::NEW_ROOT] == new, || "new root".into())
}

/// S2.
fn leaves(w: &BatchWitness) -> Check {
    let mut root = w.old.tree;
    let mut before = None;
    for slot in &w.slots {
        let index = slot.index;
        ensure((index as usize) < ACCOUNTS, || format!("no leaf {index}"))?;
        ensure(before.is_none_or(|before| before < index), || {
            format!("leaf {index} does not follow the leaf before it")
        })?;
        before = Some(index);
        ensure(
            root_of(index, leaf_hash(&slot.old), &slot.path) == root,
            || format!("old leaf {index} is not in the tree"),
        )?;
        root = root_of(index, leaf_hash(&slot.new), &slot.path);
    }
    ensure(root == w.new.tree, || "new tree".into())
}

/// S3.
fn fills(w: &BatchWitness) -> Check {
    for (lane, rows) in w.lanes.iter().enumerate() {
        let column = w.table.columns.get(rows.instrument);
        let column = column.ok_or_else(|| format!("lane {lane}: no such instrument"))?;
        let width = if rows.live {
            i64::from(column.collar_width_ticks)
        } else {
            1
        };
        for (row, fill) in rows.rows.iter().enumerate() {
            let say = |what: &str| format!("lane {lane}, row {row}: {what}");
            ensure(fill.taker.max(fill.maker) < BATCH_ACCOUNTS, || {
                say("no such slot")
            })?;
            ensure(fill.lots >> FILL_QTY_BITS == 0, || say("too many lots"))?;
            ensure(rows.live || fill.lots == 0, || {
                say("lots in a lane that is not live")
            })?;
            ensure((0..width).contains(&fill.offset), || {
                say("price outside the collar")
            })?;
        }
    }
    Ok(())
}

/// S4.
fn positions(w: &BatchWitness) -> Check {
    let mut moved = [[0i128; TIER_INSTRUMENTS]; BATCH_ACCOUNTS];
    for lane in &w.lanes {
        for fill in &lane.rows {
            let lots = i128::from(fill.lots) * if fill.taker_buys { 1 } else { -1 };
            moved[fill.taker][lane.instrument] += lots;
            moved[fill.maker][lane.instrument] -= lots;
        }
    }
    for (slot, moved) in w.slots.iter().zip(&moved) {
        let before = folded(&slot.old, &w.table);
        for (place, moved) in moved.iter().enumerate() {
            let delta = i128::from(slot.new.positions[place]) - i128::from(before[place]);
            ensure(delta == *moved, || {
                let index = slot.index;
                format!("leaf {index}, instrument {place}: moved {delta}, fills say {moved}")
            })?;
        }
    }
    Ok(())
}

/// S5.
fn cash(w: &BatchWitness) -> Check {
    let mut notional = [[0i128; ROLES]; BATCH_ACCOUNTS];
    for lane in &w.lanes {
        let column = &w.table.columns[lane.instrument];
        for fill in &lane.rows {
            let price = i128::from(column.collar_lo_ticks) + i128::from(fill.offset);
            let value = i128::from(fill.lots) * price * i128::from(column.tick_value_micro);
            notional[fill.taker][role(false, !fill.taker_buys)] += value;
            notional[fill.maker][role(true, fill.taker_buys)] += value;
        }
    }
    let (taker_ppm, maker_ppm) = (w.table.taker_fee_ppm, w.table.maker_fee_ppm);
    let (mut income, mut gained, mut funded) = (0, 0, 0);
    let (mut support, mut charges) = (0, 0);
    for (slot, notional) in w.slots.iter().zip(&notional) {
        let index = slot.index;
        ensure(slot.notional == *notional, || {
            format!("leaf {index}: sums of notional differ from the fills")
        })?;
        let [taker_buys, taker_sells, maker_buys, maker_sells] = *notional;
        let fee = (taker_buys + taker_sells) * i128::from(taker_ppm)
            + (maker_buys + maker_sells) * i128::from(maker_ppm);
        let external = slot.deposit_micro - slot.withdrawal_micro;
        let sold = taker_sells + maker_sells - taker_buys - maker_buys;
        let before = folded(&slot.old, &w.table);
        let (mut settled, mut funding) = (0, 0);
        for (place, column) in w.table.columns.iter().enumerate() {
            let owed = i128::from(column.funding_micro);
            let [old, kept, new] = [
                slot.old.positions[place],
                before[place],
                slot.new.positions[place],
            ]
            .map(i128::from);
            funding += (new - kept) * owed;
            settled += (old - kept) * (i128::from(column.mark_micro) - owed);
        }
        let paid = slot.support_pico - slot.charge_pico - slot.penalty_pico;
        let moved = PICO_PER_MICRO * (sold + external + settled + funding) - fee + paid;
        let delta = slot.new.cash_pico - slot.old.cash_pico;
        ensure(delta == moved, || {
            format!("leaf {index}: cash moved by {delta} pico, not {moved}")
        })?;
        income += fee + slot.penalty_pico;
        support += slot.support_pico;
        charges += slot.charge_pico;
        gained += delta;
        funded += external + settled;
    }
    let fund = w.new.fund_pico - w.old.fund_pico;
    let draw = support - charges;
    ensure(fund == income - draw, || {
        format!("insurance fund moved by {fund} pico, it earned {income} and gave {draw}")
    })?;
    let within = |amount: i128| (0..1 << PAID_BITS).contains(&amount);
    ensure(within(draw), || "charges are above the support".into())?;
    ensure(within(w.new.fund_pico), || {
        "the insurance fund is out of range".into()
    })?;
    ensure(charges == 0 || w.new.fund_pico < PICO_PER_MICRO, || {
        "accounts are charged while the fund has money".into()
    })?;
    ensure(gained + fund == PICO_PER_MICRO * funded, || {
        "money is not conserved".into()
    })
}

/// An integer below `2^bits`.
fn integer(value: &Fr, bits: u32) -> Option<u64> {
    let limbs = value.into_bigint().0;
    let fits = limbs[1..] == [0; 3] && (bits == 64 || limbs[0] >> bits == 0);
    fits.then_some(limbs[0])
}

/// Adds up one kind of rows per slot: amounts and how many.
fn row_sums(w: &BatchWitness, rows: &[Fr], count: &Fr) -> Result<Vec<(i128, u64)>, String> {
    let max = rows.len() / ROW;
    let used = integer(count, 32).filter(|n| *n <= max as u64);
    let used = used.ok_or("more rows than the tier holds")? as usize;
    let mut sums = vec![(0i128, 0u64); BATCH_ACCOUNTS];
    for (row, words) in rows.chunks(ROW).enumerate() {
        if row >= used {
            ensure(words == [Fr::ZERO; ROW], || {
                format!("row {row} is not used")
            })?;
            continue;
        }
        let amount = integer(&words[2], AMOUNT_BITS);
        let amount = amount.ok_or_else(|| format!("row {row}: amount out of range"))?;
        let owns =
            |slot: &Slot| words[0] == Fr::from(slot.index) && words[1] == address(&slot.new.owner);
        let place = w.slots.iter().position(owns);
        let place =
            place.ok_or_else(|| format!("row {row}: no such account with such an owner"))?;
        sums[place].0 += i128::from(amount);
        sums[place].1 += 1;
    }
    Ok(sums)
}

/// S6.
fn money_rows(w: &BatchWitness, words: &Words) -> Check {
    let deposit_words = &words[DEPOSITS_AT..DEPOSITS_AT + ROW * BATCH_DEPOSITS];
    let withdrawal_words = &words[WITHDRAWALS_AT..WITHDRAWALS_AT + ROW * BATCH_WITHDRAWALS];
    let deposits = row_sums(w, deposit_words, &words[at::DEPOSITS])
        .map_err(|what| format!("deposits: {what}"))?;
    let withdrawals = row_sums(w, withdrawal_words, &words[at::WITHDRAWALS])
        .map_err(|what| format!("withdrawals: {what}"))?;
    for (slot, (deposit, withdrawal)) in w.slots.iter().zip(deposits.iter().zip(&withdrawals)) {
        let index = slot.index;
        ensure((slot.deposit_micro, slot.deposits) == *deposit, || {
            format!("leaf {index}: deposits differ from the rows")
        })?;
        ensure(
            (slot.withdrawal_micro, slot.withdrawals) == *withdrawal,
            || format!("leaf {index}: withdrawals differ from the rows"),
        )?;
        let first_deposit = slot.old.owner == [0; 20] && slot.deposits > 0;
        ensure(slot.new.owner == slot.old.owner || first_deposit, || {
            format!("leaf {index}: the owner changes")
        })?;
        let nonce = slot.old.nonce.checked_add(slot.withdrawals);
        ensure(nonce == Some(slot.new.nonce), || {
            format!("leaf {index}: nonce does not count the withdrawals")
        })?;
    }
    Ok(())
}

/// S7.
fn margins(w: &BatchWitness) -> Check {
    for slot in &w.slots {
        let index = slot.index;
        kind_holds(slot, &w.table).map_err(|what| format!("leaf {index}: {what}"))?;
        let acted = folded(&slot.old, &w.table) != slot.new.positions
            || slot.kind != SlotKind::Normal
            || slot.notional != [0; ROLES]
            || slot.withdrawal_micro != 0
            || slot.withdrawals != 0;
        if slot.waived {
            ensure(!acted, || {
                format!("leaf {index}: margin waived for an account that acted")
            })?;
            continue;
        }
        if slot.kind == SlotKind::Liquidated {
            continue;
        }
        for scenario in 0..SCENARIOS {
            let equity = equity_micro(&slot.new, &w.table, scenario);
            ensure((0..1 << EQUITY_BITS).contains(&equity), || {
                format!("leaf {index}: equity {equity} micro in scenario {scenario}")
            })?;
        }
    }
    Ok(())
}

/// The part of S7 on liquidated and deleveraged accounts.
fn kind_holds(slot: &Slot, table: &RiskTable) -> Check {
    let is = |kind| slot.kind == kind;
    let (liquidated, deleveraged) = (is(SlotKind::Liquidated), is(SlotKind::Deleveraged));
    for (what, amount, may) in [
        ("support", slot.support_pico, liquidated),
        ("penalty", slot.penalty_pico, liquidated),
        ("charge", slot.charge_pico, deleveraged),
    ] {
        let range = 0..if may { 1 << PAID_BITS } else { 1 };
        ensure(range.contains(&amount), || {
            format!("{what} of {amount} pico")
        })?;
    }
    if liquidated || deleveraged {
        let before = folded(&slot.old, table);
        for (place, (old, new)) in before.iter().zip(&slot.new.positions).enumerate() {
            ensure((0.min(*old)..=0.max(*old)).contains(new), || {
                format!("position in instrument {place} does more than shrink")
            })?;
        }
    }
    if !liquidated {
        return Ok(());
    }
    ensure((slot.withdrawal_micro, slot.withdrawals) == (0, 0), || {
        "withdraws while it is liquidated".into()
    })?;
    let mut start = slot.old;
    start.cash_pico += slot.deposit_micro * PICO_PER_MICRO;
    ensure(equity_pico(&start, table, Some(slot.worst)) < 0, || {
        "liquidated above maintenance".into()
    })?;
    let left = equity_pico(&slot.new, table, None);
    ensure(slot.support_pico == 0 || left <= 0, || {
        format!("supported although it is worth {left} pico")
    })?;
    let turnover: i128 = slot.notional.iter().sum();
    let most = turnover * i128::from(table.liquidation_fee_ppm);
    ensure(slot.penalty_pico <= most, || {
        format!("penalty of {} pico, {most} at most", slot.penalty_pico)
    })
}

/// S8.
fn publics(words: &Words, public: &PublicInputs) -> Check {
    ensure(words[at::TIER] == tier_word(), || "tier".into())?;
    let c = from_word(&public.c).ok_or("c is not below the modulus")?;
    let z = from_word(&public.z).ok_or("z is not below the modulus")?;
    let y = from_word(&public.y).ok_or("y is not below the modulus")?;
    ensure(c == long_hash(Domain::Words, words), || {
        "c is not the hash of the words".into()
    })?;
    ensure(y == evaluate(words, &z), || {
        "y is not the value of the words at z".into()
    })
}
