//! From a sealed batch and the prover's own state to a witness.
//!
//! Nothing in the batch is believed: old leaves must be those of the prover's own tree, and new
//! leaves, fund and amounts are worked out again from the fills and rows.

use crate::field::{Fr, Word, address, to_word};
use crate::native::{equity_micro, equity_pico, folded, settled_fault, table_fault};
use crate::state::{Path, State, Tree, leaf_hash, state_root, table_digest};
use crate::statement::{
    ChainContext, HEAD, MoneyRow, Words, assemble, at, journal_word, tier_word,
};
use ark_ff::AdditiveGroup;
use firmware::limits::{
    ACCOUNTS, AMOUNT_BITS, BATCH_ACCOUNTS, BATCH_DEPOSITS, BATCH_FILLS, BATCH_LANE,
    BATCH_WITHDRAWALS, EQUITY_BITS, FILL_QTY_BITS, SCENARIOS, TIER_INSTRUMENTS, TREE_DEPTH,
};
use firmware::units::{AccountId, PICO_PER_MICRO, Pico};
use matcher::batch::{FillRow, Leaf, SealedBatch, SlotKind, TierLeaf, Touched};
use matcher::table::RiskTable;
use std::collections::BTreeMap;

/// Lanes of fill rows; the rows of a lane share one instrument.
pub(crate) const LANES: usize = BATCH_FILLS / BATCH_LANE;

/// Bits of a payment between an account and the fund, and of the fund, in pico-units.
pub(crate) const PAID_BITS: u32 = 96;

/// Why a batch has no witness. The state is unchanged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// Batches are proven in order.
    #[error("batch {got} does not follow batch {last}")]
    BatchNo {
        /// Last batch applied.
        last: u64,
        /// Number of the batch.
        got: u64,
    },
    /// The batch is larger than the tier.
    #[error("{got} {what}, the tier holds {max}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many fit.
        max: usize,
    },
    /// The risk table has a value that the circuit cannot hold.
    #[error("risk table: {0}")]
    Table(String),
    /// Touched accounts rise strictly.
    #[error("touched account {account} does not follow account {before}")]
    Order {
        /// Account.
        account: u32,
        /// Account before it in the list.
        before: u32,
    },
    /// There is no such leaf.
    #[error("account {0} is outside the state tree")]
    NoSuchAccount(u32),
    /// The batch starts from another state than the prover's.
    #[error("old leaf of account {account}: {field} differs from the prover's tree")]
    OldLeaf {
        /// Account.
        account: u32,
        /// First field that differs.
        field: String,
    },
    /// The batch ends in another state than its own rows lead to.
    #[error(
        "new leaf of account {account}: {field} is not what fills, deposits and withdrawals give"
    )]
    NewLeaf {
        /// Account.
        account: u32,
        /// First field that differs.
        field: String,
    },
    /// The insurance fund does not carry on.
    #[error("insurance fund {when} the batch is {got} pico, expected {expected}")]
    Fund {
        /// "before" or "after".
        when: &'static str,
        /// Value in the batch.
        got: Pico,
        /// Value worked out.
        expected: Pico,
    },
    /// A fill row that cannot be proven.
    #[error("fill row {row}: {why}")]
    Fill {
        /// Place in the batch.
        row: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A deposit that cannot be proven.
    #[error("deposit row {row}: {why}")]
    Deposit {
        /// Place in the batch.
        row: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A withdrawal that cannot be proven.
    #[error("withdrawal row {row}: {why}")]
    Withdrawal {
        /// Place in the batch.
        row: usize,
        /// What is wrong with it.
        why: String,
    },
    /// An account that did more than receive a deposit ends below its margin.
    #[error(
        "account {account} is worth {equity_micro} micro in scenario {scenario}, below its margin"
    )]
    Margin {
        /// Account.
        account: u32,
        /// Scenario.
        scenario: usize,
        /// Equity in that scenario.
        equity_micro: i128,
    },
    /// A liquidated or deleveraged account that the statement does not let be one.
    #[error("account {account}, {kind:?}: {why}")]
    Kind {
        /// Account.
        account: u32,
        /// What it is said to be.
        kind: SlotKind,
        /// What forbids it.
        why: &'static str,
    },
    /// What the fund and deleveraged accounts give is not what bankrupt ones get.
    #[error(
        "support of {support} pico against charges of {charges} pico and a fund of {fund} pico after it"
    )]
    Support {
        /// Received.
        support: Pico,
        /// Paid by deleveraged accounts.
        charges: Pico,
        /// Fund after the batch.
        fund: Pico,
    },
    /// A settled instrument cannot come back or change its value.
    #[error("instrument {0} is settled, and its column changes")]
    Settled(usize),
    /// A sum leaves the range that the circuit is built for.
    #[error("account {account}: {what} out of range")]
    Range {
        /// Account.
        account: u32,
        /// What is out of range.
        what: &'static str,
    },
}

/// Sums of notional of one account, in micro-units, by role and side.
pub(crate) const ROLES: usize = 4;
/// Place in [`Slot::notional`] of a taker's or a maker's buys or sells.
pub(crate) const fn role(is_maker: bool, sells: bool) -> usize {
    2 * is_maker as usize + sells as usize
}

/// One of the eight accounts that the circuit opens; unused ones open a leaf and leave it.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) old: TierLeaf,
    pub(crate) new: TierLeaf,
    pub(crate) path: Path,
    /// The margin need not hold.
    pub(crate) waived: bool,
    pub(crate) kind: SlotKind,
    /// A scenario in which a liquidated account began below zero; the first for others.
    pub(crate) worst: usize,
    pub(crate) support_pico: Pico,
    pub(crate) charge_pico: Pico,
    pub(crate) penalty_pico: Pico,
    pub(crate) notional: [i128; ROLES],
    pub(crate) deposit_micro: i128,
    pub(crate) withdrawal_micro: i128,
    pub(crate) deposits: u64,
    pub(crate) withdrawals: u64,
}

/// A fill as the circuit sees it: accounts by slot, price as an offset from the collar's low end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlotFill {
    pub(crate) taker: usize,
    pub(crate) maker: usize,
    pub(crate) lots: u64,
    pub(crate) offset: i64,
    pub(crate) taker_buys: bool,
}

/// Rows that share an instrument; a lane that is not live has no lots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) instrument: usize,
    pub(crate) live: bool,
    pub(crate) rows: [SlotFill; BATCH_LANE],
}

/// The parts of a state root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) tree: Fr,
    pub(crate) fund_pico: Pico,
    pub(crate) table_digest: Fr,
}

/// Everything that a proof of one batch needs, worked out from the prover's own state.
#[derive(Clone)]
pub struct BatchWitness {
    pub(crate) batch_no: u64,
    pub(crate) last_seq: u64,
    pub(crate) time_ns: u64,
    pub(crate) journal_hash: [u8; 32],
    pub(crate) table: Box<RiskTable>,
    /// The table of the batch before; none before the first.
    pub(crate) old_table: Option<Box<RiskTable>>,
    pub(crate) old: Registers,
    pub(crate) new: Registers,
    pub(crate) slots: [Slot; BATCH_ACCOUNTS],
    pub(crate) lanes: [Lane; LANES],
    pub(crate) deposits: Vec<MoneyRow>,
    pub(crate) withdrawals: Vec<MoneyRow>,
}

/// Number and roots only: the rest is pages long.
impl std::fmt::Debug for BatchWitness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchWitness")
            .field("batch_no", &self.batch_no)
            .field("old", &self.old)
            .field("new", &self.new)
            .finish_non_exhaustive()
    }
}

impl BatchWitness {
    /// Number of the batch.
    #[must_use]
    pub fn batch_no(&self) -> u64 {
        self.batch_no
    }

    /// State root that the batch starts from.
    #[must_use]
    pub fn old_root(&self) -> Word {
        to_word(&self.old_root_element())
    }

    /// State root that the batch ends in.
    #[must_use]
    pub fn new_root(&self) -> Word {
        to_word(&self.new_root_element())
    }

    fn old_root_element(&self) -> Fr {
        let Registers {
            tree,
            fund_pico,
            table_digest,
        } = self.old;
        state_root(tree, fund_pico, table_digest, self.batch_no.wrapping_sub(1))
    }

    fn new_root_element(&self) -> Fr {
        let Registers {
            tree,
            fund_pico,
            table_digest,
        } = self.new;
        state_root(tree, fund_pico, table_digest, self.batch_no)
    }

    /// The public words, as 32 bytes big-endian each.
    #[must_use]
    pub fn words(&self, chain: &ChainContext) -> Vec<Word> {
        self.word_elements(chain).iter().map(to_word).collect()
    }

    pub(crate) fn word_elements(&self, chain: &ChainContext) -> Words {
        let mut head = [Fr::ZERO; HEAD];
        head[at::TIER] = tier_word();
        head[at::CHAIN_ID] = Fr::from(chain.chain_id);
        head[at::CONTRACT] = address(&chain.contract);
        head[at::BATCH_NO] = Fr::from(self.batch_no);
        head[at::OLD_ROOT] = self.old_root_element();
        head[at::NEW_ROOT] = self.new_root_element();
        head[at::JOURNAL_HASH] = journal_word(self.journal_hash);
        head[at::LAST_SEQ] = Fr::from(self.last_seq);
        head[at::TIME_NS] = Fr::from(self.time_ns);
        head[at::DEPOSITS] = Fr::from(self.deposits.len() as u64);
        head[at::WITHDRAWALS] = Fr::from(self.withdrawals.len() as u64);
        assemble(head, &self.deposits, &self.withdrawals)
    }

    /// A batch of nothing: it fixes the circuit's shape, which depends on no value.
    pub(crate) fn blank() -> Self {
        let slot = |index: usize| Slot {
            index: index as u32,
            old: TierLeaf::default(),
            new: TierLeaf::default(),
            path: [[Fr::ZERO; 3]; TREE_DEPTH],
            waived: false,
            kind: SlotKind::Normal,
            worst: 0,
            support_pico: 0,
            charge_pico: 0,
            penalty_pico: 0,
            notional: [0; ROLES],
            deposit_micro: 0,
            withdrawal_micro: 0,
            deposits: 0,
            withdrawals: 0,
        };
        let registers = Registers {
            tree: Fr::ZERO,
            fund_pico: 0,
            table_digest: Fr::ZERO,
        };
        Self {
            batch_no: 0,
            last_seq: 0,
            time_ns: 0,
            journal_hash: [0; 32],
            table: RiskTable::zeroed(TIER_INSTRUMENTS),
            old_table: None,
            old: registers,
            new: registers,
            slots: std::array::from_fn(slot),
            lanes: std::array::from_fn(|_| Lane::default()),
            deposits: Vec::new(),
            withdrawals: Vec::new(),
        }
    }
}

impl State {
    /// Checks a batch against this state and against itself, advances the state, and returns what
    /// a proof of it needs.
    ///
    /// # Errors
    /// Says what does not fit; the state is then unchanged.
    pub fn apply(&mut self, batch: &SealedBatch) -> Result<BatchWitness, WitnessError> {
        check_size(batch)?;
        self.check_start(batch)?;
        if let Some(fault) = table_fault(&batch.table) {
            return Err(WitnessError::Table(fault));
        }
        if let Some(column) = settled_fault(self.table.as_deref(), &batch.table) {
            return Err(WitnessError::Settled(column));
        }
        let mut accounts = Accounts::new(&batch.touched)?;
        accounts.fills(&batch.fills, &batch.table)?;
        accounts.deposits(batch, self.deposits_seen)?;
        accounts.withdrawals(batch)?;
        let gain = accounts.settle(&batch.touched, &batch.table)?;
        let fund_after = self.fund_pico.checked_add(gain);
        if fund_after != Some(batch.fund_new_pico) {
            return Err(WitnessError::Fund {
                when: "after",
                got: batch.fund_new_pico,
                expected: fund_after.unwrap_or(Pico::MAX),
            });
        }
        accounts.check_support(batch.fund_new_pico)?;
        let mut tree = self.tree.clone();
        let slots = self.slots(batch, &accounts, &mut tree);
        let lanes = lanes(batch, &slots)?;
        let new_digest = table_digest(&batch.table);
        let witness = BatchWitness {
            batch_no: batch.batch_no,
            last_seq: batch.last_seq.0,
            time_ns: batch.time.0,
            journal_hash: batch.journal_hash,
            table: batch.table.clone(),
            old_table: self.table.clone(),
            old: Registers {
                tree: self.tree.root(),
                fund_pico: self.fund_pico,
                table_digest: self.table_digest,
            },
            new: Registers {
                tree: tree.root(),
                fund_pico: batch.fund_new_pico,
                table_digest: new_digest,
            },
            slots,
            lanes,
            deposits: accounts.deposit_rows,
            withdrawals: accounts.withdrawal_rows,
        };
        self.tree = tree;
        for (index, account) in &accounts.by_index {
            self.leaves.insert(*index, account.new);
        }
        self.fund_pico = batch.fund_new_pico;
        self.table = Some(batch.table.clone());
        self.table_digest = new_digest;
        self.batch_no = batch.batch_no;
        self.deposits_seen += batch.deposits.len() as u64;
        Ok(witness)
    }

    fn check_start(&self, batch: &SealedBatch) -> Result<(), WitnessError> {
        if self.batch_no.checked_add(1) != Some(batch.batch_no) {
            return Err(WitnessError::BatchNo {
                last: self.batch_no,
                got: batch.batch_no,
            });
        }
        if batch.fund_old_pico != self.fund_pico {
            return Err(WitnessError::Fund {
                when: "before",
                got: batch.fund_old_pico,
                expected: self.fund_pico,
            });
        }
        let mut before: Option<u32> = None;
        for Touched { account, old, .. } in &batch.touched {
            if account.0 as usize >= ACCOUNTS {
                return Err(WitnessError::NoSuchAccount(account.0));
            }
            if let Some(before) = before.filter(|before| *before >= account.0) {
                return Err(WitnessError::Order {
                    account: account.0,
                    before,
                });
            }
            before = Some(account.0);
            if let Some(field) = difference(&tier_leaf(*account, old)?, &self.leaf(*account)) {
                return Err(WitnessError::OldLeaf {
                    account: account.0,
                    field,
                });
            }
        }
        Ok(())
    }

    /// Touched accounts, filled up with untouched leaves, by rising index; updates `tree`.
    fn slots(
        &self,
        batch: &SealedBatch,
        accounts: &Accounts,
        tree: &mut Tree,
    ) -> [Slot; BATCH_ACCOUNTS] {
        let mut indices: Vec<u32> = accounts.by_index.keys().copied().collect();
        // A leaf that is opened gives up its settled positions, so such leaves fill nothing up.
        let is_still = |index: &u32| {
            let leaf = self.leaves.get(index).copied().unwrap_or_default();
            folded(&leaf, &batch.table) == leaf.positions
        };
        let spare = (0..).filter(|i| !accounts.by_index.contains_key(i) && is_still(i));
        indices.extend(spare.take(BATCH_ACCOUNTS - batch.touched.len()));
        indices.sort_unstable();
        let mut indices = indices.into_iter();
        std::array::from_fn(|_| {
            let index = indices.next().expect("filled up to the tier's size");
            let leaf = self.leaves.get(&index).copied().unwrap_or_default();
            let untouched = Account {
                old: leaf,
                new: leaf,
                ..Account::default()
            };
            let account = accounts.by_index.get(&index).unwrap_or(&untouched);
            let path = tree.path(index);
            if account.old != account.new {
                tree.set(index, leaf_hash(&account.new));
            }
            account.slot(index, path, &batch.table)
        })
    }
}

/// The leaf as this tier has it.
fn tier_leaf(account: AccountId, leaf: &Leaf) -> Result<TierLeaf, WitnessError> {
    leaf.of_tier().ok_or(WitnessError::Range {
        account: account.0,
        what: "a position beyond the instruments of this tier",
    })
}

fn check_size(batch: &SealedBatch) -> Result<(), WitnessError> {
    let columns = batch.table.columns.len();
    if columns != TIER_INSTRUMENTS {
        return Err(WitnessError::Table(format!(
            "it has {columns} columns, this tier proves {TIER_INSTRUMENTS}"
        )));
    }
    for (what, got, max) in [
        ("touched accounts", batch.touched.len(), BATCH_ACCOUNTS),
        ("fill rows", batch.fills.len(), BATCH_FILLS),
        ("deposits", batch.deposits.len(), BATCH_DEPOSITS),
        ("withdrawals", batch.withdrawals.len(), BATCH_WITHDRAWALS),
    ] {
        if got > max {
            return Err(WitnessError::TooMany { what, got, max });
        }
    }
    Ok(())
}

/// Name of the first field in which two leaves differ.
fn difference(a: &TierLeaf, b: &TierLeaf) -> Option<String> {
    if a.owner != b.owner {
        return Some("owner".into());
    }
    if a.nonce != b.nonce {
        return Some(format!("nonce ({} against {})", a.nonce, b.nonce));
    }
    if a.cash_pico != b.cash_pico {
        return Some(format!(
            "cash ({} against {} pico)",
            a.cash_pico, b.cash_pico
        ));
    }
    for (name, differs) in [
        ("key", a.key != b.key),
        ("mandate", a.mandate != b.mandate),
        (
            "notional under the mandate",
            a.mandate_used != b.mandate_used,
        ),
        ("flags", a.flags != b.flags),
    ] {
        if differs {
            return Some(name.into());
        }
    }
    let place = (0..TIER_INSTRUMENTS).find(|i| a.positions[*i] != b.positions[*i])?;
    let (mine, theirs) = (a.positions[place], b.positions[place]);
    Some(format!(
        "position in instrument {place} ({mine} against {theirs} lots)"
    ))
}

/// What a batch does to one account.
#[derive(Clone, Default)]
struct Account {
    old: TierLeaf,
    new: TierLeaf,
    lots: [i64; TIER_INSTRUMENTS],
    notional: [i128; ROLES],
    deposit_micro: i128,
    withdrawal_micro: i128,
    deposits: u64,
    withdrawals: u64,
    /// Owner after the deposits.
    owner: [u8; 20],
    kind: SlotKind,
    support_pico: Pico,
    charge_pico: Pico,
    penalty_pico: Pico,
}

impl Account {
    /// It did nothing but receive deposits, so it may end below its margin.
    fn may_waive(&self) -> bool {
        self.kind == SlotKind::Normal
            && self.lots == [0; TIER_INSTRUMENTS]
            && self.notional == [0; ROLES]
            && self.withdrawals == 0
    }

    fn fees_pico(&self, table: &RiskTable) -> Pico {
        let taker = self.notional[role(false, false)] + self.notional[role(false, true)];
        let maker = self.notional[role(true, false)] + self.notional[role(true, true)];
        taker * i128::from(table.taker_fee_ppm) + maker * i128::from(table.maker_fee_ppm)
    }

    /// The leaf that the rows lead to.
    fn expected(&self, table: &RiskTable) -> Option<TierLeaf> {
        let bought = self.notional[role(false, false)] + self.notional[role(true, false)];
        let sold = self.notional[role(false, true)] + self.notional[role(true, true)];
        let mut moved = sold - bought + self.deposit_micro - self.withdrawal_micro;
        let mut positions = folded(&self.old, table);
        for (i, column) in table.columns.iter().enumerate() {
            let funding = i128::from(column.funding_micro);
            // Contracts bought owe no funding of before.
            moved = moved.checked_add(i128::from(self.lots[i]).checked_mul(funding)?)?;
            let given_up = i128::from(self.old.positions[i]) - i128::from(positions[i]);
            let value = i128::from(column.mark_micro) - funding;
            moved = moved.checked_add(given_up.checked_mul(value)?)?;
            positions[i] = positions[i].checked_add(self.lots[i])?;
        }
        let cash_pico = self
            .old
            .cash_pico
            .checked_add(moved.checked_mul(PICO_PER_MICRO)?)?
            .checked_sub(self.fees_pico(table))?
            .checked_add(self.support_pico)?
            .checked_sub(self.charge_pico)?
            .checked_sub(self.penalty_pico)?;
        Some(TierLeaf {
            owner: self.owner,
            nonce: self.old.nonce.checked_add(self.withdrawals)?,
            cash_pico,
            positions,
            ..self.old
        })
    }

    /// The leaf as the batch found it, with what was paid in.
    fn start(&self) -> TierLeaf {
        TierLeaf {
            cash_pico: self.old.cash_pico + self.deposit_micro * PICO_PER_MICRO,
            ..self.old
        }
    }

    /// Why the account may not be what it is said to be.
    fn kind_fault(&self, table: &RiskTable) -> Option<&'static str> {
        let (support, charge, penalty) = (self.support_pico, self.charge_pico, self.penalty_pico);
        let range = 0..1 << PAID_BITS;
        if ![support, charge, penalty].iter().all(|p| range.contains(p)) {
            return Some("an amount is out of range");
        }
        let (is_liquidated, is_deleveraged) = (
            self.kind == SlotKind::Liquidated,
            self.kind == SlotKind::Deleveraged,
        );
        if !is_liquidated && (support, penalty) != (0, 0) {
            return Some("only a liquidated account gets support and pays a penalty");
        }
        if !is_deleveraged && charge != 0 {
            return Some("only a deleveraged account is charged");
        }
        if !is_liquidated && !is_deleveraged {
            return None;
        }
        let before = folded(&self.old, table);
        let reduces = |(old, new): (&i64, &i64)| (0.min(*old)..=0.max(*old)).contains(new);
        if !before.iter().zip(&self.new.positions).all(reduces) {
            return Some("a position does more than shrink");
        }
        if is_deleveraged {
            return None;
        }
        if self.withdrawals != 0 {
            return Some("it withdraws");
        }
        let start = self.start();
        if (0..SCENARIOS).all(|s| equity_pico(&start, table, Some(s)) >= 0) {
            return Some("it began above maintenance");
        }
        if support > 0 && equity_pico(&self.new, table, None) > 0 {
            return Some("it gets more support than it lacks");
        }
        let turnover: i128 = self.notional.iter().sum();
        if penalty > turnover * i128::from(table.liquidation_fee_ppm) {
            return Some("its penalty is above the rate");
        }
        None
    }

    fn slot(&self, index: u32, path: Path, table: &RiskTable) -> Slot {
        let below = (0..SCENARIOS).any(|s| equity_micro(&self.new, table, s) < 0);
        Slot {
            index,
            old: self.old,
            new: self.new,
            path,
            waived: below && self.may_waive(),
            kind: self.kind,
            worst: (0..SCENARIOS)
                .find(|s| equity_pico(&self.start(), table, Some(*s)) < 0)
                .unwrap_or(0),
            support_pico: self.support_pico,
            charge_pico: self.charge_pico,
            penalty_pico: self.penalty_pico,
            notional: self.notional,
            deposit_micro: self.deposit_micro,
            withdrawal_micro: self.withdrawal_micro,
            deposits: self.deposits,
            withdrawals: self.withdrawals,
        }
    }
}

/// The touched accounts by index, and the rows checked so far.
struct Accounts {
    by_index: BTreeMap<u32, Account>,
    deposit_rows: Vec<MoneyRow>,
    withdrawal_rows: Vec<MoneyRow>,
}

impl Accounts {
    fn new(touched: &[Touched]) -> Result<Self, WitnessError> {
        let account = |t: &Touched| {
            let account = Account {
                old: tier_leaf(t.account, &t.old)?,
                new: tier_leaf(t.account, &t.new)?,
                owner: t.old.owner,
                kind: t.kind,
                support_pico: t.support_pico,
                charge_pico: t.charge_pico,
                penalty_pico: t.penalty_pico,
                ..Account::default()
            };
            Ok((t.account.0, account))
        };
        Ok(Self {
            by_index: touched.iter().map(account).collect::<Result<_, _>>()?,
            deposit_rows: Vec::new(),
            withdrawal_rows: Vec::new(),
        })
    }

    fn fills(&mut self, fills: &[FillRow], table: &RiskTable) -> Result<(), WitnessError> {
        for (row, fill) in fills.iter().enumerate() {
            let refuse = |why: String| WitnessError::Fill { row, why };
            if let Some(why) = fill_fault(fill, table) {
                return Err(refuse(why));
            }
            let place = fill.instrument.0 as usize;
            let tick_value = i128::from(table.columns[place].tick_value_micro);
            let notional = i128::from(fill.lots) * i128::from(fill.price.0) * tick_value;
            for (id, is_maker) in [(fill.taker, false), (fill.maker, true)] {
                let buys = fill.taker_buys != is_maker;
                let account = self
                    .by_index
                    .get_mut(&id.0)
                    .ok_or_else(|| refuse(format!("account {id} is not among the touched")))?;
                let lots = fill.lots as i64;
                account.lots[place] += if buys { lots } else { -lots };
                account.notional[role(is_maker, !buys)] += notional;
            }
        }
        Ok(())
    }

    fn deposits(&mut self, batch: &SealedBatch, first: u64) -> Result<(), WitnessError> {
        for (row, deposit) in batch.deposits.iter().enumerate() {
            let refuse = |why: String| WitnessError::Deposit { row, why };
            let (id, due) = (deposit.account, first + row as u64);
            if deposit.queue_index != due {
                let got = deposit.queue_index;
                return Err(refuse(format!("place {got} in the queue, {due} is next")));
            }
            let account = self
                .by_index
                .get_mut(&id.0)
                .ok_or_else(|| refuse(format!("account {id} is not among the touched")))?;
            if account.owner == [0; 20] {
                account.owner = deposit.owner;
            }
            if deposit.owner == [0; 20] || deposit.owner != account.owner {
                return Err(refuse(format!("account {id} has another owner")));
            }
            if deposit.amount_micro >> AMOUNT_BITS != 0 {
                return Err(refuse(format!("amount over {AMOUNT_BITS} bits")));
            }
            account.deposit_micro += i128::from(deposit.amount_micro);
            account.deposits += 1;
            self.deposit_rows.push(MoneyRow {
                account: id.0,
                owner: deposit.owner,
                amount_micro: deposit.amount_micro,
            });
        }
        Ok(())
    }

    fn withdrawals(&mut self, batch: &SealedBatch) -> Result<(), WitnessError> {
        for (row, withdrawal) in batch.withdrawals.iter().enumerate() {
            let refuse = |why: String| WitnessError::Withdrawal { row, why };
            let id = withdrawal.account;
            let account = self
                .by_index
                .get_mut(&id.0)
                .ok_or_else(|| refuse(format!("account {id} is not among the touched")))?;
            if withdrawal.owner == [0; 20] || withdrawal.owner != account.owner {
                return Err(refuse(format!("account {id} has another owner")));
            }
            if withdrawal.amount_micro >> AMOUNT_BITS != 0 {
                return Err(refuse(format!("amount over {AMOUNT_BITS} bits")));
            }
            account.withdrawal_micro += i128::from(withdrawal.amount_micro);
            account.withdrawals += 1;
            self.withdrawal_rows.push(MoneyRow {
                account: id.0,
                owner: withdrawal.owner,
                amount_micro: withdrawal.amount_micro,
            });
        }
        Ok(())
    }

    /// Compares the new leaves with what the rows give, checks margins and kinds, returns what the fund gains.
    fn settle(&self, touched: &[Touched], table: &RiskTable) -> Result<Pico, WitnessError> {
        let mut gain = 0;
        for Touched { account: id, .. } in touched {
            let account = &self.by_index[&id.0];
            let new = &account.new;
            let range = |what| WitnessError::Range {
                account: id.0,
                what,
            };
            let expected = account
                .expected(table)
                .ok_or(range("cash, position or nonce"))?;
            if let Some(field) = difference(new, &expected) {
                return Err(WitnessError::NewLeaf {
                    account: id.0,
                    field,
                });
            }
            let kind = account.kind;
            if let Some(why) = account.kind_fault(table) {
                let account = id.0;
                return Err(WitnessError::Kind { account, kind, why });
            }
            let may_be_below = account.may_waive() || kind == SlotKind::Liquidated;
            for scenario in 0..SCENARIOS {
                let equity_micro = equity_micro(new, table, scenario);
                if equity_micro < 0 && !may_be_below {
                    return Err(WitnessError::Margin {
                        account: id.0,
                        scenario,
                        equity_micro,
                    });
                }
                if equity_micro >= 1 << EQUITY_BITS {
                    return Err(range("scenario equity"));
                }
            }
            gain += account.fees_pico(table) + account.penalty_pico + account.charge_pico
                - account.support_pico;
        }
        Ok(gain)
    }

    /// Support comes from the fund first, and from others only when it is empty.
    fn check_support(&self, fund: Pico) -> Result<(), WitnessError> {
        let sum = |of: fn(&Account) -> Pico| self.by_index.values().map(of).sum::<Pico>();
        let (support, charges) = (sum(|a| a.support_pico), sum(|a| a.charge_pico));
        let is_empty = fund < PICO_PER_MICRO;
        if fund < 0 || fund >> PAID_BITS != 0 || charges > support || (charges > 0 && !is_empty) {
            return Err(WitnessError::Support {
                support,
                charges,
                fund,
            });
        }
        Ok(())
    }
}

fn fill_fault(fill: &FillRow, table: &RiskTable) -> Option<String> {
    let Some(column) = table.columns.get(fill.instrument.0 as usize) else {
        return Some(format!("no instrument {}", fill.instrument));
    };
    let offset = i64::from(fill.price.0) - i64::from(column.collar_lo_ticks);
    if offset < 0 || offset >= i64::from(column.collar_width_ticks) {
        let (lo, width) = (column.collar_lo_ticks, column.collar_width_ticks);
        return Some(format!(
            "price {} is outside the collar of {width} ticks from {lo}",
            fill.price
        ));
    }
    if fill.lots == 0 || fill.lots >> FILL_QTY_BITS != 0 {
        return Some(format!(
            "{} lots, must be 1 to 2^{FILL_QTY_BITS}-1",
            fill.lots
        ));
    }
    if fill.maker == fill.taker {
        return Some(format!("account {} trades with itself", fill.maker));
    }
    None
}

/// Sorts the fill rows into lanes of one instrument each.
fn lanes(batch: &SealedBatch, slots: &[Slot]) -> Result<[Lane; LANES], WitnessError> {
    let slot_of = |id: u32| {
        slots
            .iter()
            .position(|slot| slot.index == id)
            .expect("accounts of fills were checked")
    };
    let mut by_instrument: BTreeMap<usize, Vec<SlotFill>> = BTreeMap::new();
    for fill in &batch.fills {
        let place = fill.instrument.0 as usize;
        let lo = batch.table.columns[place].collar_lo_ticks;
        by_instrument.entry(place).or_default().push(SlotFill {
            taker: slot_of(fill.taker.0),
            maker: slot_of(fill.maker.0),
            lots: fill.lots,
            offset: i64::from(fill.price.0) - i64::from(lo),
            taker_buys: fill.taker_buys,
        });
    }
    let mut lanes = Vec::new();
    for (instrument, fills) in by_instrument {
        for chunk in fills.chunks(BATCH_LANE) {
            let mut rows = [SlotFill::default(); BATCH_LANE];
            rows[..chunk.len()].copy_from_slice(chunk);
            lanes.push(Lane {
                instrument,
                live: true,
                rows,
            });
        }
    }
    let got = lanes.len();
    if got > LANES {
        return Err(WitnessError::TooMany {
            what: "lanes of fill rows of one instrument",
            got,
            max: LANES,
        });
    }
    lanes.resize(LANES, Lane::default());
    Ok(lanes
        .try_into()
        .expect("resized to the number of lanes above"))
}
