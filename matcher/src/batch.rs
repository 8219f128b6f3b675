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
    /// Digest of the key that countersigns for the account, as a field element, big-endian; zero: none yet.
    pub key: [u8; 32],
    /// The mandate under which the account trades, packed, big-endian; zero: none.
    pub mandate: [u8; 32],
    /// Notional filled under this mandate, micro-units.
    pub mandate_used: u64,
    /// Bit 0: countersigned.
    pub flags: u64,
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
            key: [0; 32],
            mandate: [0; 32],
            mandate_used: 0,
            flags: 0,
        }
    }

    /// Becomes what `other` is, as far as its first `instruments` go; takes no memory.
    pub(crate) fn copy_from(&mut self, other: &Self, instruments: usize) {
        self.owner = other.owner;
        self.nonce = other.nonce;
        self.cash_pico = other.cash_pico;
        self.positions[..instruments].copy_from_slice(&other.positions[..instruments]);
        self.key = other.key;
        self.mandate = other.mandate;
        self.mandate_used = other.mandate_used;
        self.flags = other.flags;
    }

    /// Adds the leaf to a digest, with its first `instruments` positions.
    pub(crate) fn digest(&self, instruments: usize, h: &mut blake3::Hasher) {
        let Self {
            owner,
            nonce,
            cash_pico,
            positions,
            key,
            mandate,
            mandate_used,
            flags,
        } = self;
        let mut head = [0; 124];
        head[..20].copy_from_slice(owner);
        head[20..28].copy_from_slice(&nonce.to_le_bytes());
        head[28..44].copy_from_slice(&cash_pico.to_le_bytes());
        head[44..76].copy_from_slice(key);
        head[76..108].copy_from_slice(mandate);
        head[108..116].copy_from_slice(&mandate_used.to_le_bytes());
        head[116..].copy_from_slice(&flags.to_le_bytes());
        h.update(&head);
        h.update(bytemuck::cast_slice(&positions[..instruments]));
    }

    /// Writes the leaf, with only those positions that are open.
    pub(crate) fn save(&self, to: &mut impl Sink) {
        let Self {
            owner,
            nonce,
            cash_pico,
            positions,
            key,
            mandate,
            mandate_used,
            flags,
        } = self;
        to.put(owner);
        to.pod(nonce);
        to.pod(cash_pico);
        to.put(key);
        to.put(mandate);
        to.pod(mandate_used);
        to.pod(flags);
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
        self.key = from.pod()?;
        self.mandate = from.pod()?;
        self.mandate_used = from.pod()?;
        self.flags = from.pod()?;
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
            key: self.key,
            mandate: self.mandate,
            mandate_used: self.mandate_used,
            flags: self.flags,
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
            key: leaf.key,
            mandate: leaf.mandate,
            mandate_used: leaf.mandate_used,
            flags: leaf.flags,
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
    /// Digest of the account's key, big-endian; zero: none. An account that has none takes it over.
    pub key: [u8; 32],
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

/// What a batch did to an account, and so which rule its end must meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum SlotKind {
    /// It ends above maintenance.
    #[default]
    Normal = 0,
    /// Nothing but deposits came to it; the prover works it out from the rows.
    Waived = 1,
    /// It began below maintenance and only reduced; it may end below.
    Liquidated = 2,
    /// It was asked to reduce so that a bankrupt account could close, and ends above maintenance.
    Deleveraged = 3,
}

impl SlotKind {
    /// The kind of this number.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Normal,
            1 => Self::Waived,
            2 => Self::Liquidated,
            3 => Self::Deleveraged,
            _ => return None,
        })
    }
}

/// An account that the batch touched, before and after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touched {
    /// Account: index of the leaf.
    pub account: AccountId,
    /// What was done to it.
    pub kind: SlotKind,
    /// Received from the fund and from charges, not negative; only a liquidated account does.
    pub support_pico: Pico,
    /// Paid towards the support of others, not negative; only a deleveraged account does.
    pub charge_pico: Pico,
    /// Paid to the fund for being liquidated, not negative.
    pub penalty_pico: Pico,
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
    /// A liquidation begins or ends.
    Liquidation = 4,
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
