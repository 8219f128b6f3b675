//! What one proof covers: the net of a run of the journal.

mod builder;
mod codec;

pub(crate) use builder::BatchBuilder;
pub use codec::{BatchError, decode, encode};

use crate::snapshot::{Sink, SnapshotError, Source};
use crate::table::RiskTable;
use alloc::{boxed::Box, vec::Vec};
use firmware::limits::{POSITION_LOTS_MAX, TIER_INSTRUMENTS};
use firmware::units::{AccountId, InstrumentId, Pico, PriceTicks, Seq, TimeNs};

/// What the state tree commits to for one account. `P` holds the positions: as many as the domain can
/// list, or an array of those that a tier of the circuit has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leaf<P = Box<[i64]>> {
    /// L1 address that owns the account; all zero while the account has never been funded.
    pub owner: [u8; 20],
    /// Rises with each withdrawal.
    pub nonce: u64,
    /// Raw cash in pico-units: never marked to market. Claim = cash + sum of position x mark.
    pub cash_pico: Pico,
    /// Lots held per instrument, signed.
    pub positions: P,
}

/// A leaf as the circuit's small tier has it.
pub type TierLeaf = Leaf<[i64; TIER_INSTRUMENTS]>;

impl Leaf {
    /// The leaf of an account that was never funded.
    pub(crate) fn unfunded(instruments: usize) -> Self {
        Self {
            owner: [0; 20],
            nonce: 0,
            cash_pico: 0,
            positions: alloc::vec![0; instruments].into(),
        }
    }

    /// Becomes what `other` is, as far as its first `instruments` go; takes no memory.
    pub(crate) fn copy_from(&mut self, other: &Self, instruments: usize) {
        self.owner = other.owner;
        self.nonce = other.nonce;
        self.cash_pico = other.cash_pico;
        self.positions[..instruments].copy_from_slice(&other.positions[..instruments]);
    }

    /// Writes the leaf, with only those positions that are open.
    pub(crate) fn save(&self, to: &mut impl Sink) {
        let Self {
            owner,
            nonce,
            cash_pico,
            positions,
        } = self;
        to.put(owner);
        to.pod(nonce);
        to.pod(cash_pico);
        let open = positions.iter().enumerate().filter(|(_, p)| **p != 0);
        to.pod(&(open.clone().count() as u16));
        for (i, lots) in open {
            to.pod(&(i as u16));
            to.pod(lots);
        }
    }

    /// Reads what [`Self::save`] wrote into a leaf without positions; returns how many are open.
    pub(crate) fn load(&mut self, from: &mut impl Source) -> Result<u16, SnapshotError> {
        self.owner = from.pod()?;
        self.nonce = from.pod()?;
        self.cash_pico = from.pod()?;
        let open: u16 = from.pod()?;
        for _ in 0..open {
            let i: u16 = from.pod()?;
            let lots: i64 = from.pod()?;
            let possible = lots != 0 && (-POSITION_LOTS_MAX..=POSITION_LOTS_MAX).contains(&lots);
            let place = self.positions.get_mut(usize::from(i));
            let place = place.filter(|p| **p == 0 && possible);
            *place.ok_or(SnapshotError::Value("position"))? = lots;
        }
        Ok(open)
    }

    /// The leaf as a tier has it; `None` if it holds a position in an instrument that the tier has no
    /// room for.
    #[must_use]
    pub fn of_tier<const N: usize>(&self) -> Option<Leaf<[i64; N]>> {
        let mut positions = [0; N];
        let held = self.positions.len().min(N);
        let (inside, beyond) = self.positions.split_at(held);
        positions[..held].copy_from_slice(inside);
        beyond.iter().all(|p| *p == 0).then_some(Leaf {
            owner: self.owner,
            nonce: self.nonce,
            cash_pico: self.cash_pico,
            positions,
        })
    }
}

impl From<TierLeaf> for Leaf {
    fn from(leaf: TierLeaf) -> Self {
        Self {
            owner: leaf.owner,
            nonce: leaf.nonce,
            cash_pico: leaf.cash_pico,
            positions: leaf.positions.into(),
        }
    }
}

/// Fills of one pair of accounts at one price, added up: the circuit proves the net, not the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FillRow {
    /// Account of the resting order.
    pub maker: AccountId,
    /// Account of the incoming order. Never the maker.
    pub taker: AccountId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Price of the fills, inside the collar of the batch's table.
    pub price: PriceTicks,
    /// Sum of the quantities, `0 < lots < 2^FILL_QTY_BITS`.
    pub lots: u64,
    /// The taker bought.
    pub taker_buys: bool,
}

/// A deposit that the batch consumes, in the order of the L1 queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DepositRow {
    /// Place in the L1 queue, from 0, without gaps.
    pub queue_index: u64,
    /// Account credited.
    pub account: AccountId,
    /// L1 address that the contract has on record for the account.
    pub owner: [u8; 20],
    /// Amount.
    pub amount_micro: u64,
}

/// A withdrawal that the batch grants; the L1 contract credits it to the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WithdrawalRow {
    /// Account debited.
    pub account: AccountId,
    /// L1 address of the account's owner.
    pub owner: [u8; 20],
    /// Amount.
    pub amount_micro: u64,
}

/// An account that the batch touched, before and after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touched {
    /// Account: index of the leaf.
    pub account: AccountId,
    /// Leaf at the end of the batch before.
    pub old: Leaf,
    /// Leaf at the end of this batch.
    pub new: Leaf,
}

/// Why a batch was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SealReason {
    /// The tier has no room for what comes next.
    Full = 0,
    /// A timer command asked for it.
    Timer = 1,
    /// The next risk table would leave a touched account below its margin, or a fill outside its collar.
    TableChange = 2,
    /// An operator asked for it.
    Operator = 3,
}

/// A closed batch: everything that the prover needs, and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedBatch {
    /// From 1, without gaps.
    pub batch_no: u64,
    /// First record that the batch covers (a long order may be split between two batches).
    pub first_seq: Seq,
    /// Last record that the batch covers.
    pub last_seq: Seq,
    /// Time of the last record.
    pub time: TimeNs,
    /// Why it was closed.
    pub reason: SealReason,
    /// Digest of the ledger at the seal, chained over all seals: a replay must come to the same. Of the books
    /// it holds the number of orders and the next id, for a walk over all orders would stop trading.
    pub state_hash: [u8; 32],
    /// Hash chain over the journal's records up to `last_seq`; filled in by the journal.
    pub journal_hash: [u8; 32],
    /// The risk table in force at the seal; every touched account is above its margin in it.
    pub table: Box<RiskTable>,
    /// Insurance fund before, in pico-units: it receives all fees.
    pub fund_old_pico: Pico,
    /// Insurance fund after.
    pub fund_new_pico: Pico,
    /// Netted fills.
    pub fills: Vec<FillRow>,
    /// Deposits consumed.
    pub deposits: Vec<DepositRow>,
    /// Withdrawals granted.
    pub withdrawals: Vec<WithdrawalRow>,
    /// Touched accounts, by rising account.
    pub touched: Vec<Touched>,
}
