//! The batch auditor: what a settlement layer believes that sees nothing but sealed batches.
//!
//! It is written from the rules of the money, not from the engine: it keeps its own leaves and lets a
//! batch change them only as fills, deposits and withdrawals say.

use super::{PERP, owner_of};
use firmware::limits::{BATCH_ACCOUNTS, BATCH_FILLS, BATCH_LANE, FILL_QTY_BITS, TIER_INSTRUMENTS};
use firmware::units::Pico;
use matcher::accounts::Accounts;
use matcher::batch::{FillRow, Leaf, SealReason, SealedBatch, TierLeaf, decode};
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
    pub(crate) by_reason: [u64; 4],
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
        self.deposits(&b, &mut rows);
        self.fills(&b, &mut rows);
        self.withdrawals(&b, &mut rows);
        self.check_leaves(&b, &before, &rows);
        self.check_margin(&b, &before);
        self.check_sums();
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
        assert_eq!(
            b.fund_new_pico, self.fund_pico,
            "the fund moves by the fees"
        );
    }

    fn fill(&mut self, f: &FillRow, table: &RiskTable) {
        let tick_value = i128::from(table.columns[f.instrument.0 as usize].tick_value_micro);
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
            leaf.cash_pico -= i128::from(sign) * notional * PICO + fee;
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
            if worst < 0 {
                assert!(
                    !active,
                    "account {} ends batch {} at {worst}",
                    t.account, b.batch_no
                );
                self.waived += 1;
            }
        }
    }

    fn check_sums(&self) {
        for i in 0..TIER_INSTRUMENTS {
            let sum: i64 = self.leaves.values().map(|l| l.positions[i]).sum();
            assert_eq!(sum, 0, "positions of instrument {i}");
        }
        let cash: i128 = self.leaves.values().map(|l| l.cash_pico).sum();
        assert_eq!(cash + self.fund_pico, self.held_micro * PICO, "the money");
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
            i128::from(leaf.positions[i]) * i128::from(table.columns[i].scenario_micro[s])
        };
        cash + (0..leaf.positions.len()).map(value).sum::<i128>()
    };
    let scenarios = table.columns[PERP as usize].scenario_micro.len();
    (0..scenarios).map(equity).min().expect("scenarios")
}

/// Name of a reason.
pub(crate) const fn reason_name(reason: u8) -> &'static str {
    match reason {
        r if r == SealReason::Full as u8 => "full",
        r if r == SealReason::Timer as u8 => "timer",
        r if r == SealReason::TableChange as u8 => "table",
        _ => "operator",
    }
}
