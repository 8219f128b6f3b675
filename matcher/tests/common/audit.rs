//! The batch auditor: what a settlement layer believes that sees nothing but sealed batches.
//!
//! It is written from the rules of the money, not from the engine: it keeps its own leaves and lets a
//! batch change them only as fills, deposits and withdrawals say.

use super::{PERP, owner_of};
use firmware::limits::{BATCH_ACCOUNTS, BATCH_FILLS, BATCH_LANE, FILL_QTY_BITS, TIER_INSTRUMENTS};
use firmware::units::Pico;
use matcher::accounts::Accounts;
use matcher::batch::{FillRow, Leaf, SealReason, SealedBatch, SlotKind, TierLeaf, decode};
use matcher::table::RiskTable;
use std::collections::{BTreeMap, BTreeSet};

const PICO: i128 = 1_000_000;

/// State of the settlement layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auditor {
    leaves: BTreeMap<u32, TierLeaf>,
    fund_pico: Pico,
    batches: u64,
    next_deposit: u64,
    last_seq: u64,
    last_time: u64,
    last_epoch: u64,
    /// Deposits less withdrawals.
    held_micro: i128,
    pub(crate) by_reason: [u64; 5],
    /// Slots by kind.
    pub(crate) by_kind: [u64; 4],
    /// Lots that became cash at an expiry.
    pub(crate) folded: u64,
    pub(crate) waived: u64,
    pub(crate) rows: u64,
}

impl Auditor {
    /// Applies one sealed batch, or panics at the first thing that does not follow.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> SealedBatch {
        let b = decode(bytes).expect("a sealed batch decodes");
        self.check_place(&b);
        let before = self.leaves.clone();
        let mut rows: BTreeSet<u32> = BTreeSet::new();
        // A batch is a net: deposits go first only so that every account of a fill exists.
        let folded = self.fold(&b, &mut rows);
        self.deposits(&b, &mut rows);
        let begun = self.leaves.clone();
        self.fills(&b, &mut rows);
        self.withdrawals(&b, &mut rows);
        self.slots(&b, &begun, &mut rows);
        self.check_leaves(&b, &before, &rows);
        self.check_margin(&b, &folded);
        self.check_sums(&b.table);
        self.by_reason[b.reason as usize] += 1;
        self.rows += b.fills.len() as u64;
        b
    }

    fn check_place(&mut self, b: &SealedBatch) {
        assert_eq!(
            b.batch_no,
            self.batches + 1,
            "batches are numbered without gaps"
        );
        // A long order may be split: the record that ends a batch can go on in the next one.
        assert_eq!(b.first_seq.0, self.last_seq.max(1), "no record is left out");
        assert!(b.last_seq.0 >= b.first_seq.0 && b.time.0 >= self.last_time);
        assert!(b.table.epoch >= self.last_epoch, "tables do not run back");
        assert_eq!(b.fund_old_pico, self.fund_pico, "the fund goes on");
        self.batches = b.batch_no;
        self.last_seq = b.last_seq.0;
        self.last_time = b.time.0;
        self.last_epoch = b.table.epoch;
    }

    fn fills(&mut self, b: &SealedBatch, rows: &mut BTreeSet<u32>) {
        let mut lanes = [0usize; TIER_INSTRUMENTS];
        for f in &b.fills {
            let c = &b.table.columns[f.instrument.0 as usize];
            let offset = i64::from(f.price.0) - i64::from(c.collar_lo_ticks);
            assert!(
                0 <= offset && offset < i64::from(c.collar_width_ticks),
                "in the collar: {f:?}"
            );
            assert!(f.lots > 0 && f.lots < 1 << FILL_QTY_BITS, "{f:?}");
            assert_ne!(f.maker, f.taker, "{f:?}");
            lanes[f.instrument.0 as usize] += 1;
            rows.extend([f.maker.0, f.taker.0]);
            self.fill(f, &b.table);
        }
        let lanes: usize = lanes.iter().map(|n| n.div_ceil(BATCH_LANE)).sum();
        assert!(
            lanes <= BATCH_FILLS / BATCH_LANE,
            "{lanes} lanes do not fit the tier"
        );
    }

    /// What expired becomes cash in every touched leaf; gives the leaves before anything else.
    fn fold(&mut self, b: &SealedBatch, rows: &mut BTreeSet<u32>) -> BTreeMap<u32, TierLeaf> {
        for t in &b.touched {
            let leaf = self.leaves.entry(t.account.0).or_default();
            for (p, c) in leaf.positions.iter_mut().zip(&b.table.columns) {
                if c.is_settled != 0 && *p != 0 {
                    let value = c.mark_micro - c.funding_micro;
                    leaf.cash_pico += i128::from(*p) * i128::from(value) * PICO;
                    self.folded += p.unsigned_abs();
                    *p = 0;
                    rows.insert(t.account.0);
                }
            }
        }
        self.leaves.clone()
    }

    /// Support, charges and penalties, and what each kind of slot may do. `begun` has the deposits in.
    fn slots(
        &mut self,
        b: &SealedBatch,
        begun: &BTreeMap<u32, TierLeaf>,
        rows: &mut BTreeSet<u32>,
    ) {
        let (mut support, mut charges) = (0, 0);
        for t in &b.touched {
            self.by_kind[t.kind as usize] += 1;
            assert!(t.support_pico >= 0 && t.charge_pico >= 0 && t.penalty_pico >= 0);
            let leaf = self.leaves.get_mut(&t.account.0).expect("a known account");
            leaf.cash_pico += t.support_pico - t.charge_pico - t.penalty_pico;
            self.fund_pico += t.penalty_pico;
            support += t.support_pico;
            charges += t.charge_pico;
            if t.support_pico + t.charge_pico > 0 {
                rows.insert(t.account.0);
            }
            let old = begun[&t.account.0];
            let reduces = old
                .positions
                .iter()
                .zip(&leaf.positions)
                .all(|(o, n)| n.abs() <= o.abs() && (*n == 0 || n.signum() == o.signum()));
            let is_of = |f: &&FillRow| f.maker == t.account || f.taker == t.account;
            let notional: i128 = (b.fills.iter().filter(is_of))
                .map(|f| {
                    let tick = b.table.columns[f.instrument.0 as usize].tick_value_micro;
                    i128::from(f.lots) * i128::from(f.price.0) * i128::from(tick)
                })
                .sum();
            match t.kind {
                SlotKind::Normal | SlotKind::Waived => {
                    assert_eq!((t.support_pico, t.charge_pico, t.penalty_pico), (0, 0, 0));
                }
                SlotKind::Liquidated => {
                    assert!(
                        worst_micro(&old.into(), &b.table) < 0,
                        "it began above maintenance"
                    );
                    assert!(reduces, "a liquidation only reduces");
                    assert_eq!(t.charge_pico, 0);
                    assert_eq!(leaf.nonce, old.nonce, "nothing is withdrawn");
                    let most = notional * i128::from(b.table.liquidation_fee_ppm);
                    assert!(t.penalty_pico <= most, "a penalty above the fee");
                    let equity = equity_pico(leaf, &b.table);
                    assert!(t.support_pico == 0 || equity <= 0, "support beyond zero");
                }
                SlotKind::Deleveraged => {
                    assert!(reduces, "deleveraging only reduces");
                    assert_eq!((t.support_pico, t.penalty_pico), (0, 0));
                }
            }
        }
        let draw = support - charges;
        assert!(draw >= 0, "charges beyond the support");
        self.fund_pico -= draw;
        assert!(self.fund_pico >= 0, "the fund is not below zero");
        assert!(
            charges == 0 || self.fund_pico < PICO,
            "charges before the fund"
        );
        assert_eq!(b.fund_new_pico, self.fund_pico, "the fund");
    }

    fn fill(&mut self, f: &FillRow, table: &RiskTable) {
        let column = &table.columns[f.instrument.0 as usize];
        let tick_value = i128::from(column.tick_value_micro);
        let funding = i128::from(f.lots) * i128::from(column.funding_micro) * PICO;
        let notional = i128::from(f.lots) * i128::from(f.price.0) * tick_value;
        let (taker_fee, maker_fee) = (
            notional * i128::from(table.taker_fee_ppm),
            notional * i128::from(table.maker_fee_ppm),
        );
        let bought = if f.taker_buys { 1 } else { -1 };
        let mut book = |account, sign: i64, fee| {
            let leaf: &mut TierLeaf = self
                .leaves
                .get_mut(&account)
                .expect("a funded account trades");
            leaf.positions[f.instrument.0 as usize] += sign * f.lots as i64;
            leaf.cash_pico -= i128::from(sign) * (notional * PICO - funding) + fee;
        };
        book(f.taker.0, bought, taker_fee);
        book(f.maker.0, -bought, maker_fee);
        self.fund_pico += taker_fee + maker_fee;
    }

    fn deposits(&mut self, b: &SealedBatch, rows: &mut BTreeSet<u32>) {
        assert!(b.deposits.len() <= 8);
        for d in &b.deposits {
            assert_eq!(d.queue_index, self.next_deposit, "the queue has no gaps");
            self.next_deposit += 1;
            assert_eq!(d.owner, owner_of(d.account.0));
            let leaf = self.leaves.entry(d.account.0).or_default();
            assert!(leaf.owner == [0; 20] || leaf.owner == d.owner);
            leaf.owner = d.owner;
            leaf.cash_pico += i128::from(d.amount_micro) * PICO;
            self.held_micro += i128::from(d.amount_micro);
            rows.insert(d.account.0);
        }
    }

    fn withdrawals(&mut self, b: &SealedBatch, rows: &mut BTreeSet<u32>) {
        assert!(b.withdrawals.len() <= 8);
        for w in &b.withdrawals {
            let leaf = self.leaves.get_mut(&w.account.0).expect("a funded account");
            assert_eq!(leaf.owner, w.owner, "only the owner is paid");
            leaf.nonce += 1;
            leaf.cash_pico -= i128::from(w.amount_micro) * PICO;
            self.held_micro -= i128::from(w.amount_micro);
            rows.insert(w.account.0);
        }
    }

    fn check_leaves(
        &self,
        b: &SealedBatch,
        before: &BTreeMap<u32, TierLeaf>,
        rows: &BTreeSet<u32>,
    ) {
        assert!(b.touched.len() <= BATCH_ACCOUNTS);
        let touched: Vec<u32> = b.touched.iter().map(|t| t.account.0).collect();
        assert!(
            touched.iter().eq(rows.iter()),
            "touched, by rising account: {touched:?}"
        );
        for t in &b.touched {
            let old = before.get(&t.account.0).copied().unwrap_or_default();
            assert_eq!(
                t.old,
                old.into(),
                "old leaf of {} in batch {}",
                t.account,
                b.batch_no
            );
            assert_eq!(
                t.new,
                self.leaves[&t.account.0].into(),
                "new leaf of {}",
                t.account
            );
        }
    }

    /// Every touched account is above its margin in all scenarios of the batch's table, unless nothing
    /// happened to it but deposits.
    fn check_margin(&mut self, b: &SealedBatch, before: &BTreeMap<u32, TierLeaf>) {
        for t in &b.touched {
            let active = b
                .fills
                .iter()
                .any(|f| f.maker == t.account || f.taker == t.account)
                || b.withdrawals.iter().any(|w| w.account == t.account)
                || before
                    .get(&t.account.0)
                    .map_or([0; TIER_INSTRUMENTS], |l| l.positions)[..]
                    != t.new.positions[..];
            let worst = worst_micro(&t.new, &b.table);
            if worst < 0 && t.kind != SlotKind::Liquidated {
                assert!(
                    !active,
                    "account {} ends batch {} at {worst}",
                    t.account, b.batch_no
                );
                self.waived += 1;
            }
        }
    }

    fn check_sums(&self, table: &RiskTable) {
        let mut owed = 0;
        for (i, c) in table.columns.iter().enumerate().take(TIER_INSTRUMENTS) {
            let sum: i64 = self.leaves.values().map(|l| l.positions[i]).sum();
            if c.is_settled != 0 {
                owed += i128::from(sum) * i128::from(c.mark_micro - c.funding_micro) * PICO;
            } else {
                assert_eq!(sum, 0, "positions of instrument {i}");
            }
        }
        let cash: i128 = self.leaves.values().map(|l| l.cash_pico).sum();
        let claims = cash + owed + self.fund_pico;
        assert_eq!(claims, self.held_micro * PICO, "the money");
    }

    /// Panics unless the engine's accounts are what the batches say. Call it right after a seal.
    pub(crate) fn assert_equals(&self, accounts: &Accounts, fund_pico: Pico) {
        assert_eq!(self.fund_pico, fund_pico);
        let engine: BTreeMap<u32, TierLeaf> = accounts
            .funded()
            .iter()
            .map(|id| (id.0, narrow(&accounts.get(*id).expect("it exists").leaf)))
            .collect();
        assert_eq!(self.leaves, engine);
    }

    /// Number of batches seen.
    pub(crate) const fn batches(&self) -> u64 {
        self.batches
    }
}

/// The leaf of an account that holds nothing beyond the tier.
fn narrow(leaf: &Leaf) -> TierLeaf {
    leaf.of_tier().expect("the tests list few instruments")
}

/// Equity in the worst scenario, as the statement of the proof defines it.
pub(crate) fn worst_micro(leaf: &Leaf, table: &RiskTable) -> i128 {
    let cash = leaf.cash_pico.div_euclid(PICO);
    let equity = |s: usize| {
        let value = |i: usize| {
            let c = &table.columns[i];
            i128::from(leaf.positions[i]) * i128::from(c.scenario_micro[s] - c.funding_micro)
        };
        cash + (0..leaf.positions.len()).map(value).sum::<i128>()
    };
    let scenarios = table.columns[PERP as usize].scenario_micro.len();
    (0..scenarios).map(equity).min().expect("scenarios")
}

/// Claim of a leaf at the marks.
pub(crate) fn equity_pico(leaf: &TierLeaf, table: &RiskTable) -> i128 {
    let held = leaf.positions.iter().zip(&table.columns);
    let value = held.map(|(p, c)| i128::from(*p) * i128::from(c.mark_micro - c.funding_micro));
    leaf.cash_pico + value.sum::<i128>() * PICO
}

/// Name of a reason.
pub(crate) const fn reason_name(reason: u8) -> &'static str {
    match reason {
        r if r == SealReason::Full as u8 => "full",
        r if r == SealReason::Timer as u8 => "timer",
        r if r == SealReason::TableChange as u8 => "table",
        r if r == SealReason::Liquidation as u8 => "liquidation",
        _ => "operator",
    }
}
