//! For each number of the statement, witnesses that break that number alone: the native statement
//! must name it, and the constraints that fail must be of that group and no other.

use super::circuit::broken_groups;
use super::scenario::{CHAIN, Market, crashed, owner, table};
use crate::circuit::assignment;
use crate::field::{Fr, Word, address, from_word, signed, to_word};
use crate::native::{Group, check, folded};
use crate::state::{Tree, leaf_hash, root_of, table_digest};
use crate::statement::{DEPOSITS_AT, PublicInputs, WITHDRAWALS_AT, Words, at};
use crate::witness::{BatchWitness, ROLES, Slot, role};
use ark_ff::Field;
use firmware::limits::TIER_INSTRUMENTS;
use firmware::units::PICO_PER_MICRO;
use matcher::batch::SlotKind;
use std::collections::BTreeSet;

/// A witness with its words, to be broken and put together again around the break.
struct Forgery {
    before: Tree,
    w: BatchWitness,
    words: Words,
    /// Given instead of what the words give.
    public: Option<PublicInputs>,
}

impl Forgery {
    /// Trades, deposits and withdrawals of accounts 2, 7, 300, 4096 and 65535; leaves 0, 1 and 3
    /// fill the slots up.
    fn busy() -> Self {
        let mut market = Market::funded();
        let before = market.state.tree.clone();
        let batch = market.busy();
        let w = market.prove(&batch);
        let words = w.word_elements(&CHAIN);
        Self {
            before,
            w,
            words,
            public: None,
        }
    }

    /// A liquidated account that is supported, one that pays a penalty, one that is charged, one that gives up a settled
    /// position; see [`Market::ladder`].
    fn ladder() -> Self {
        let mut market = Market::funded();
        let batch = market.before_the_crash();
        market.prove(&batch);
        let before = market.state.tree.clone();
        let batch = market.ladder();
        let w = market.prove(&batch);
        let words = w.word_elements(&CHAIN);
        Self {
            before,
            w,
            words,
            public: None,
        }
    }

    fn slot(&mut self, account: u32) -> &mut Slot {
        let mut slots = self.w.slots.iter_mut();
        slots.find(|slot| slot.index == account).expect("a slot")
    }

    /// The first lane of an instrument.
    fn lane(&mut self, instrument: usize) -> &mut crate::witness::Lane {
        let mut lanes = self.w.lanes.iter_mut();
        let found = lanes.find(|lane| lane.live && lane.instrument == instrument);
        found.expect("a lane")
    }

    /// Positions as the fills say.
    fn reposition(&mut self) -> &mut Self {
        let mut moved = vec![[0i64; TIER_INSTRUMENTS]; self.w.slots.len()];
        for lane in &self.w.lanes {
            for fill in &lane.rows {
                let lots = fill.lots as i64 * if fill.taker_buys { 1 } else { -1 };
                moved[fill.taker][lane.instrument] += lots;
                moved[fill.maker][lane.instrument] -= lots;
            }
        }
        for (slot, moved) in self.w.slots.iter_mut().zip(moved) {
            let kept = folded(&slot.old, &self.w.table);
            for (place, lots) in moved.into_iter().enumerate() {
                slot.new.positions[place] = kept[place] + lots;
            }
        }
        self
    }

    /// Notionals as the fills say.
    fn renotional(&mut self) -> &mut Self {
        let mut sums = vec![[0i128; ROLES]; self.w.slots.len()];
        for lane in &self.w.lanes {
            let column = &self.w.table.columns[lane.instrument];
            for fill in &lane.rows {
                let price = i64::from(column.collar_lo_ticks) + fill.offset;
                let notional =
                    i128::from(fill.lots) * i128::from(price) * i128::from(column.tick_value_micro);
                sums[fill.taker][role(false, !fill.taker_buys)] += notional;
                sums[fill.maker][role(true, fill.taker_buys)] += notional;
            }
        }
        for (slot, sums) in self.w.slots.iter_mut().zip(sums) {
            slot.notional = sums;
        }
        self
    }

    /// Cash and fund as the notionals, deposits and withdrawals that the slots claim say.
    fn recash(&mut self) -> &mut Self {
        let table = &self.w.table;
        let rates = [table.taker_fee_ppm, table.maker_fee_ppm].map(i128::from);
        self.w.new.fund_pico = self.w.old.fund_pico;
        for slot in &mut self.w.slots {
            let [taker_buys, taker_sells, maker_buys, maker_sells] = slot.notional;
            let fee = (taker_buys + taker_sells) * rates[0] + (maker_buys + maker_sells) * rates[1];
            let sold = taker_sells + maker_sells - taker_buys - maker_buys;
            let mut moved = sold + slot.deposit_micro - slot.withdrawal_micro;
            let kept = folded(&slot.old, table);
            for (i, column) in table.columns.iter().enumerate() {
                let gone = slot.old.positions[i] - kept[i];
                let taken = slot.new.positions[i] - kept[i];
                let value = column.mark_micro - column.funding_micro;
                moved += i128::from(gone * value + taken * column.funding_micro);
            }
            let paid = slot.support_pico - slot.charge_pico - slot.penalty_pico;
            slot.new.cash_pico = slot.old.cash_pico + PICO_PER_MICRO * moved - fee + paid;
            self.w.new.fund_pico += fee - paid;
        }
        self
    }

    /// Paths, new tree, digest and words as the slots, table and registers say.
    fn rehash(&mut self) -> &mut Self {
        let mut tree = self.before.clone();
        for slot in &mut self.w.slots {
            let new = leaf_hash(&slot.new);
            slot.path = tree.path(slot.index);
            self.w.new.tree = root_of(slot.index, new, &slot.path);
            tree.set(slot.index, new);
        }
        self.w.new.table_digest = table_digest(&self.w.table);
        self.words = self.w.word_elements(&CHAIN);
        self
    }

    /// The charge that leaves the fund empty, and all that follows from it.
    fn balance(&mut self) {
        self.recash();
        let left = self.w.new.fund_pico;
        self.slot(7).charge_pico -= left;
        self.recash().rehash();
    }

    /// A tree before in which the old leaves are as the slots say, and all that follows from it.
    fn reopen(&mut self) {
        for slot in &self.w.slots {
            self.before.set(slot.index, leaf_hash(&slot.old));
        }
        self.w.old.tree = self.before.root();
        self.rehash();
    }

    /// Everything but what the fills themselves say.
    fn follow_fills(&mut self) {
        self.reposition().renotional().recash().rehash();
    }

    fn public(&self) -> PublicInputs {
        self.public.unwrap_or_else(|| PublicInputs::of(&self.words))
    }
}

type Break = fn(&mut Forgery);

/// Breaks one number of a busy batch alone, in every way of the list.
fn refused(group: Group, cases: &[(&str, Break)]) {
    refused_in(Forgery::busy, group, cases);
}

/// Breaks one number alone, in every way of the list.
fn refused_in(batch: fn() -> Forgery, group: Group, cases: &[(&str, Break)]) {
    for (name, break_it) in cases {
        let mut forgery = batch();
        break_it(&mut forgery);
        let public = forgery.public();
        let native = check(&forgery.w, &forgery.words, &public).expect_err(name);
        assert_eq!(native.group, group, "{name}: {native}");
        let elements = public.elements().expect("below the modulus");
        let values = assignment(&forgery.w, &forgery.words, &elements);
        assert_eq!(broken_groups(&values), BTreeSet::from([group]), "{name}");
    }
}

fn bumped(word: &Word) -> Word {
    to_word(&(from_word(word).expect("below the modulus") + Fr::ONE))
}

#[test]
fn an_untouched_forgery_is_an_honest_batch() {
    let mut forgery = Forgery::busy();
    let honest = forgery.words;
    forgery.follow_fills();
    assert_eq!(forgery.words, honest);
    check(&forgery.w, &forgery.words, &forgery.public()).expect("nothing was broken");
}

#[test]
fn s1_refuses_wrong_roots_registers_and_tables() {
    refused(
        Group::S1,
        &[
            ("new root", |f| f.words[at::NEW_ROOT] += Fr::ONE),
            ("old root", |f| f.words[at::OLD_ROOT] += Fr::ONE),
            ("skipped batch number", |f| f.words[at::BATCH_NO] += Fr::ONE),
            ("another fund before", |f| {
                f.w.old.fund_pico += 1;
                f.w.new.fund_pico += 1;
            }),
            ("another table than the digest", |f| {
                f.words[at::NEW_ROOT] += Fr::ONE;
                f.w.table.epoch += 1;
            }),
            ("scenario value out of range", |f| {
                f.w.table.columns[15].scenario_micro[26] = (1 << 30) + 1;
                f.rehash();
            }),
            ("scenario value out of range below", |f| {
                f.w.table.columns[15].scenario_micro[0] = -(1 << 30);
                f.rehash();
            }),
            ("tick value out of range", |f| {
                f.w.table.columns[15].tick_value_micro = 1 << 16;
                f.rehash();
            }),
            ("collar below zero", |f| {
                f.w.table.columns[15].collar_lo_ticks = -1;
                f.rehash();
            }),
            ("rebate over the taker fee", |f| {
                f.w.table.maker_fee_ppm = -451;
                f.w.old.fund_pico += 1 << 60;
                f.recash().rehash();
            }),
            ("negative taker fee", |f| {
                f.w.table.taker_fee_ppm = -1;
                f.w.table.maker_fee_ppm = 2;
                f.recash().rehash();
            }),
        ],
    );
}

#[test]
fn s2_refuses_leaves_that_are_not_the_trees() {
    refused(
        Group::S2,
        &[
            ("stale old leaf", |f| {
                f.slot(2).old.nonce += 1;
                f.slot(2).new.nonce += 1;
                f.rehash();
            }),
            ("an account opened twice", |f| {
                f.w.slots[1] = f.w.slots[0].clone();
                f.rehash();
            }),
            ("accounts out of order", |f| {
                f.w.slots.swap(0, 1);
                f.rehash();
            }),
            ("another new tree", |f| {
                f.w.new.tree += Fr::ONE;
                f.words = f.w.word_elements(&CHAIN);
            }),
            ("another sibling", |f| {
                f.w.slots[7].path[3][1] += Fr::ONE;
                let slot = &f.w.slots[7];
                f.w.new.tree = root_of(slot.index, leaf_hash(&slot.new), &slot.path);
                f.words = f.w.word_elements(&CHAIN);
            }),
        ],
    );
}

#[test]
fn s3_refuses_fills_outside_their_collar() {
    refused(
        Group::S3,
        &[
            ("price above the collar", |f| {
                let width = f.w.table.columns[0].collar_width_ticks;
                f.lane(0).rows[0].offset = i64::from(width);
                f.follow_fills();
            }),
            ("instrument that is not listed", |f| {
                f.lane(3).instrument = 9;
                f.follow_fills();
            }),
            ("lots in a lane that is not live", |f| {
                let lane = f.lane(3);
                lane.live = false;
                lane.rows[0].offset = 0;
                f.follow_fills();
            }),
        ],
    );
}

#[test]
fn s4_refuses_positions_that_the_fills_do_not_give() {
    refused(
        Group::S4,
        &[
            ("one lot from nowhere", |f| {
                f.slot(2).new.positions[0] += 1;
                f.rehash();
            }),
            ("one lot from another account", |f| {
                f.slot(2).new.positions[0] += 1;
                f.slot(7).new.positions[0] -= 1;
                f.rehash();
            }),
            ("one lot from another instrument", |f| {
                f.slot(7).new.positions[1] += 1;
                f.slot(7).new.positions[2] -= 1;
                f.rehash();
            }),
            ("fill the other way round", |f| {
                let row = &mut f.lane(3).rows[0];
                row.taker_buys = !row.taker_buys;
                f.renotional().recash().rehash();
            }),
            ("a position for an account without fills", |f| {
                f.slot(4_096).new.positions[15] = 1;
                f.slot(7).new.positions[15] = -1;
                f.rehash();
            }),
        ],
    );
}

#[test]
fn s5_refuses_cash_that_the_fills_do_not_give() {
    refused(
        Group::S5,
        &[
            ("a pico from nowhere", |f| {
                f.slot(2).new.cash_pico += 1;
                f.rehash();
            }),
            ("stolen, in balance", |f| {
                f.slot(2).new.cash_pico += PICO_PER_MICRO;
                f.slot(7).new.cash_pico -= PICO_PER_MICRO;
                f.rehash();
            }),
            ("fund kept short", |f| {
                f.w.new.fund_pico -= 1;
                f.rehash();
            }),
            ("fees stolen from the fund, in balance", |f| {
                f.w.new.fund_pico -= 5;
                f.slot(2).new.cash_pico += 5;
                f.rehash();
            }),
            ("a smaller notional claimed", |f| {
                f.slot(2).notional[role(false, false)] -= 1_000;
                f.recash().rehash();
            }),
            ("taker fees evaded as a maker", |f| {
                let notional = &mut f.slot(2).notional;
                notional[role(true, false)] += notional[role(false, false)];
                notional[role(false, false)] = 0;
                f.recash().rehash();
            }),
        ],
    );
}

#[test]
fn s6_refuses_deposits_withdrawals_and_owners_that_do_not_match() {
    refused(
        Group::S6,
        &[
            ("deposit to the wrong account", |f| {
                let amount = std::mem::take(&mut f.slot(300).deposit_micro);
                f.slot(300).deposits = 0;
                f.slot(7).deposit_micro += amount;
                f.slot(7).deposits += 1;
                f.recash().rehash();
            }),
            ("deposit of another owner", |f| {
                f.words[DEPOSITS_AT + 1] = address(&owner(7));
            }),
            ("withdrawal of another owner", |f| {
                f.words[WITHDRAWALS_AT + 1] = address(&owner(2));
            }),
            ("withdrawal by an account that is not touched", |f| {
                f.words[WITHDRAWALS_AT] = Fr::from(8u64);
            }),
            ("withdrawal paid by another account", |f| {
                f.slot(7).withdrawal_micro -= 500;
                f.slot(2).withdrawal_micro += 500;
                f.recash().rehash();
            }),
            ("nonce that does not count", |f| {
                f.slot(7).new.nonce -= 1;
                f.rehash();
            }),
            ("nonce without a withdrawal", |f| {
                f.slot(2).new.nonce += 1;
                f.rehash();
            }),
            ("owner that changes without a deposit", |f| {
                f.slot(2).new.owner = owner(9);
                f.rehash();
            }),
            ("account without owner taken without a deposit", |f| {
                f.slot(3).new.owner = owner(9);
                f.rehash();
            }),
            ("account taken over with a deposit", |f| {
                f.slot(300).new.owner = owner(9);
                f.w.deposits[0].owner = owner(9);
                f.rehash();
            }),
            ("more deposits counted than rows", |f| {
                f.words[at::DEPOSITS] += Fr::ONE;
            }),
            ("fewer withdrawals counted than rows", |f| {
                f.words[at::WITHDRAWALS] -= Fr::ONE;
            }),
            ("deposit over 62 bits", |f| {
                f.w.deposits[1].amount_micro = 1 << 62;
                f.slot(4_096).deposit_micro = 1 << 62;
                f.recash().rehash();
            }),
            ("negative withdrawal", |f| {
                let gain = -1_000_000 - 1;
                f.slot(65_535).withdrawal_micro = gain;
                f.recash().rehash();
                f.words[WITHDRAWALS_AT + 3 + 2] = signed(gain);
            }),
        ],
    );
}

#[test]
fn s7_refuses_accounts_below_their_margin() {
    refused(
        Group::S7,
        &[
            ("below the margin in one scenario", |f| {
                f.w.table.columns[0].scenario_micro[5] = 1 - (1 << 30);
                f.rehash();
            }),
            ("waived for an account that traded", |f| {
                f.w.table.columns[0].scenario_micro[5] = 1 - (1 << 30);
                f.slot(2).waived = true;
                f.rehash();
            }),
            ("more equity than the range holds", |f| {
                f.slot(3).old.cash_pico = 1 << 90;
                f.slot(3).new.cash_pico = 1 << 90;
                f.before.set(3, leaf_hash(&f.w.slots[3].old.clone()));
                f.w.old.tree = f.before.root();
                f.rehash();
            }),
        ],
    );
}

#[test]
fn an_untouched_ladder_is_an_honest_batch() {
    let mut forgery = Forgery::ladder();
    let honest = forgery.words;
    forgery.follow_fills();
    assert_eq!(forgery.words, honest);
    let public = forgery.public();
    check(&forgery.w, &forgery.words, &public).expect("nothing was broken");
    let elements = public.elements().expect("below the modulus");
    let values = assignment(&forgery.w, &forgery.words, &elements);
    assert_eq!(broken_groups(&values), BTreeSet::new());
    let supported = forgery.slot(300).support_pico;
    let charged = forgery.slot(7).charge_pico;
    assert!(supported > charged && charged > 0 && forgery.w.new.fund_pico == 0);
    assert!(forgery.slot(2).old.positions[2] != 0 && forgery.slot(2).new.positions[2] == 0);
}

#[test]
fn s1_refuses_settled_instruments_that_come_back_or_move() {
    // The batch after the ladder: instrument 2 was settled in the table before.
    fn after() -> Forgery {
        let mut market = Market::funded();
        for batch in [market.before_the_crash(), market.ladder()] {
            market.prove(&batch);
        }
        let before = market.state.tree.clone();
        let batch = market.seal(crashed(4), &[], &[(2, 5)], &[]);
        let w = market.prove(&batch);
        let words = w.word_elements(&CHAIN);
        Forgery {
            before,
            w,
            words,
            public: None,
        }
    }
    refused_in(
        after,
        Group::S1,
        &[
            ("settled at another value", |f| {
                let column = &mut f.w.table.columns[2];
                column.mark_micro += 1;
                column.scenario_micro = [column.mark_micro; 27];
                f.recash().rehash();
            }),
            ("settled with other funding", |f| {
                f.w.table.columns[2].funding_micro += 1;
                f.recash().rehash();
            }),
            ("no longer settled", |f| {
                f.w.table.columns[2].is_settled = 0;
                f.reposition().recash().rehash();
            }),
            ("another table before", |f| {
                f.w.old_table.as_mut().expect("a table").columns[2].is_settled = 0;
            }),
            ("no table before", |f| f.w.old_table = None),
        ],
    );
    refused_in(
        Forgery::ladder,
        Group::S1,
        &[
            ("settled, with a scenario of its own", |f| {
                f.w.table.columns[2].scenario_micro[3] += 1;
                f.rehash();
            }),
            ("settled, with a collar", |f| {
                f.w.table.columns[2].collar_width_ticks = 1;
                f.rehash();
            }),
            ("mark out of range", |f| {
                f.w.table.columns[9].mark_micro = (1 << 30) + 1;
                f.rehash();
            }),
            ("funding out of range", |f| {
                f.w.table.columns[9].funding_micro = 1 << 40;
                f.rehash();
            }),
            ("liquidation fee out of range", |f| {
                f.w.table.liquidation_fee_ppm = 1 << 17;
                f.rehash();
            }),
        ],
    );
}

#[test]
fn s4_refuses_settled_positions_that_stay() {
    refused_in(
        Forgery::ladder,
        Group::S4,
        &[("a settled position is kept", |f| {
            f.w.table.columns[2].funding_micro = 0;
            let lots = f.slot(2).old.positions[2];
            f.slot(2).new.positions[2] = lots;
            f.recash().rehash();
        })],
    );
}

#[test]
fn s5_refuses_funding_settlement_and_support_that_do_not_add_up() {
    refused_in(
        Forgery::ladder,
        Group::S5,
        &[
            ("funding of before the trade", |f| {
                f.slot(4_096).new.cash_pico += 1_234 * 1_000 * PICO_PER_MICRO;
                f.slot(65_535).new.cash_pico -= 1_234 * 1_000 * PICO_PER_MICRO;
                f.rehash();
            }),
            ("a settled position for another value", |f| {
                f.slot(2).new.cash_pico += PICO_PER_MICRO;
                f.rehash();
            }),
            ("support that leaves the fund twice", |f| {
                f.slot(300).support_pico -= 5;
                f.slot(300).new.cash_pico -= 5;
                f.rehash();
            }),
            ("support from nowhere", |f| {
                f.slot(4_096).support_pico += 5;
                f.slot(4_096).new.cash_pico += 5;
                f.slot(300).old.cash_pico -= 1 << 70;
                f.slot(4_096).old.cash_pico -= 1 << 70;
                f.slot(4_096).new.cash_pico -= 1 << 70;
                f.slot(300).new.cash_pico -= 1 << 70;
                f.reopen();
            }),
            ("penalty that the fund does not get", |f| {
                f.slot(4_096).penalty_pico -= 5;
                f.rehash();
            }),
            ("charged while the fund has money", |f| {
                let more = 2 * PICO_PER_MICRO;
                f.slot(7).charge_pico += more;
                f.recash().rehash();
            }),
            ("charges that go to the fund", |f| {
                let all = f.slot(300).support_pico;
                f.slot(7).charge_pico = all + 1;
                f.w.old.fund_pico = 0;
                f.recash().rehash();
            }),
            ("a fund below zero", |f| {
                f.slot(7).charge_pico -= 1;
                f.recash().rehash();
            }),
        ],
    );
}

#[test]
fn s7_refuses_liquidations_and_charges_that_are_not_due() {
    refused_in(
        Forgery::ladder,
        Group::S7,
        &[
            ("liquidated above maintenance", |f| {
                f.slot(65_535).kind = SlotKind::Liquidated;
            }),
            ("liquidated above maintenance in the scenario named", |f| {
                let healthy = (0..27).find(|s| f.w.table.columns[0].scenario_micro[*s] > 400_000);
                f.slot(4_096).worst = healthy.expect("the index rises in some");
            }),
            ("below the margin and not liquidated", |f| {
                f.slot(4_096).kind = SlotKind::Normal;
                f.slot(7).charge_pico += f.slot(4_096).penalty_pico;
                f.slot(4_096).penalty_pico = 0;
                f.recash().rehash();
            }),
            ("liquidated, and a position grows", |f| {
                let row = &mut f.lane(0).rows[1];
                row.taker_buys = !row.taker_buys;
                f.follow_fills();
            }),
            ("liquidated, and a position crosses zero", |f| {
                f.lane(0).rows[1].lots = 3_801;
                f.follow_fills();
                f.balance();
            }),
            ("deleveraged, and a position crosses zero", |f| {
                f.slot(4_096).kind = SlotKind::Normal;
                f.slot(65_535).kind = SlotKind::Deleveraged;
                f.lane(0).rows[1].lots = 3_801;
                f.slot(7).charge_pico += f.slot(4_096).penalty_pico;
                f.slot(4_096).penalty_pico = 0;
                f.follow_fills();
                f.balance();
            }),
            ("support for an account that is not liquidated", |f| {
                f.slot(65_535).support_pico = 7;
                f.slot(7).charge_pico += 7;
                f.recash().rehash();
            }),
            ("a charge for an account that is not deleveraged", |f| {
                let charge = std::mem::take(&mut f.slot(7).charge_pico);
                f.slot(65_535).charge_pico = charge;
                f.recash().rehash();
            }),
            ("more support than is lacking", |f| {
                f.slot(300).support_pico += 1;
                f.slot(7).charge_pico += 1;
                f.recash().rehash();
            }),
            ("a penalty above the rate", |f| {
                f.slot(4_096).penalty_pico = 36_010 * 10 * 1_000 * 5_000 + 1;
                f.balance();
            }),
            ("a negative penalty", |f| {
                f.slot(4_096).penalty_pico = -1;
                f.balance();
            }),
            ("waived for a liquidated account", |f| {
                f.slot(4_096).waived = true;
            }),
        ],
    );
}

#[test]
fn a_waiver_is_for_accounts_that_only_receive() {
    let mut market = Market::funded();
    let trade = market.seal(table(1), &[(2, 7, 0, 60_000, 100)], &[], &[]);
    market.prove(&trade);
    let before = market.state.tree.clone();
    let batch = market.seal(table(2), &[], &[(2, 9)], &[(2, 3), (7, 0)]);
    let mut w = market.prove(&batch);
    let words = w.word_elements(&CHAIN);
    let mut forgery = Forgery {
        before,
        w: w.clone(),
        words,
        public: None,
    };
    for account in [2, 7] {
        forgery.w = w.clone();
        forgery.slot(account).waived = true;
        let public = forgery.public();
        let native = check(&forgery.w, &forgery.words, &public).expect_err("withdrew");
        assert_eq!(native.group, Group::S7, "{native}");
        let elements = public.elements().expect("below the modulus");
        let values = assignment(&forgery.w, &forgery.words, &elements);
        assert_eq!(broken_groups(&values), BTreeSet::from([Group::S7]));
    }
    // An account that did nothing may be waived at will.
    w.slots
        .iter_mut()
        .find(|s| s.index == 0)
        .expect("a slot")
        .waived = true;
    let public = PublicInputs::of(&words);
    check(&w, &words, &public).expect("waived by choice");
    let elements = public.elements().expect("below the modulus");
    assert_eq!(
        broken_groups(&assignment(&w, &words, &elements)),
        BTreeSet::new()
    );
}

#[test]
fn s8_refuses_public_inputs_that_do_not_stand_for_the_words() {
    refused(
        Group::S8,
        &[
            ("another y", |f| {
                let honest = f.public();
                let y = bumped(&honest.y);
                f.public = Some(PublicInputs { y, ..honest });
            }),
            ("another c", |f| {
                let honest = f.public();
                let c = bumped(&honest.c);
                f.public = Some(PublicInputs { c, ..honest });
            }),
            ("another z", |f| {
                let honest = f.public();
                let z = bumped(&honest.z);
                f.public = Some(PublicInputs { z, ..honest });
            }),
            ("another tier", |f| f.words[at::TIER] += Fr::ONE),
            ("inputs of another chain", |f| {
                f.public = Some(f.public());
                f.words[at::CHAIN_ID] += Fr::ONE;
            }),
        ],
    );
}
