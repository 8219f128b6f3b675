//! The sealed-batch file: fixed records, little-endian, checked by a digest at the end.
//!
//! ```text
//!  0  magic "DBXBATCH", version u32, counts u32 x4 (fills, deposits, withdrawals, touched), columns u32
//! 32  batch_no, first_seq, last_seq, time u64 | reason u64
//! 72  state_hash 32 | journal_hash 32 | fund_old i128 | fund_new i128
//!  .  risk table | fill rows 40 B | deposit rows 72 B | withdrawal rows 32 B | touched
//!  .  BLAKE3 of everything before
//! ```
//!
//! A touched account is its number and kind (u32 each), support, charge and penalty (i128 each), the old leaf
//! and the new. A leaf is owner 20, zero 4, nonce u64, cash i128, key 32, mandate 32, mandate_used u64,
//! flags u64, positions i64. `columns` says how many columns the table and how many positions a leaf has.

use super::{DepositRow, FillRow, Leaf, SealReason, SealedBatch, SlotKind, Touched, WithdrawalRow};
use crate::table::RiskTable;
use alloc::boxed::Box;
use alloc::vec::Vec;
use firmware::limits::{
    BATCH_ACCOUNTS, BATCH_DEPOSITS, BATCH_FILLS, BATCH_WITHDRAWALS, INSTRUMENTS, TIER_INSTRUMENTS,
};
use firmware::units::{AccountId, InstrumentId, PriceTicks, Seq, TimeNs};
use zerocopy::IntoBytes;

const MAGIC: &[u8; 8] = b"DBXBATCH";
/// Version of the layout.
const VERSION: u32 = 3;
const DIGEST_LEN: usize = 32;

/// Why bytes are not a sealed batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// Not this kind of file.
    #[error("not a sealed batch (wrong magic)")]
    Magic,
    /// Another version.
    #[error("sealed batch of version {0}; this release reads version {VERSION}")]
    Version(u32),
    /// The digest at the end does not match.
    #[error("sealed batch is damaged: its digest does not match")]
    Digest,
    /// The file ends early or late.
    #[error("sealed batch has {got} bytes, its header announces {want}")]
    Length {
        /// Bytes found.
        got: usize,
        /// Bytes announced.
        want: usize,
    },
    /// A count is beyond the tier.
    #[error("sealed batch announces {0} rows of a kind, more than the tier holds")]
    Count(u32),
    /// An unknown value in an enumerated field.
    #[error("sealed batch has an unknown value {0} in an enumerated field")]
    Value(u64),
}

/// Appends the encoded batch to `out`.
pub fn encode(b: &SealedBatch, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    let counts = [
        b.fills.len(),
        b.deposits.len(),
        b.withdrawals.len(),
        b.touched.len(),
    ];
    let columns = b.table.columns.len();
    out.extend_from_slice(&VERSION.to_le_bytes());
    counts
        .iter()
        .for_each(|n| out.extend_from_slice(&(*n as u32).to_le_bytes()));
    out.extend_from_slice(&(columns as u32).to_le_bytes());
    for n in [
        b.batch_no,
        b.first_seq.0,
        b.last_seq.0,
        b.time.0,
        b.reason as u64,
    ] {
        out.extend_from_slice(&n.to_le_bytes());
    }
    out.extend_from_slice(&b.state_hash);
    out.extend_from_slice(&b.journal_hash);
    out.extend_from_slice(&b.fund_old_pico.to_le_bytes());
    out.extend_from_slice(&b.fund_new_pico.to_le_bytes());
    out.extend_from_slice(b.table.bytes());
    for f in &b.fills {
        let row = [
            u64::from(f.maker.0),
            u64::from(f.taker.0),
            u64::from(f.instrument.0) << 1 | u64::from(f.taker_buys),
            f.price.0 as u64,
            f.lots,
        ];
        out.extend_from_slice(bytemuck::bytes_of(&row.map(u64::to_le)));
    }
    for d in &b.deposits {
        out.extend_from_slice(&d.queue_index.to_le_bytes());
        put_transfer(out, d.account, &d.owner, d.amount_micro);
        out.extend_from_slice(&d.key);
    }
    for w in &b.withdrawals {
        put_transfer(out, w.account, &w.owner, w.amount_micro);
    }
    for t in &b.touched {
        out.extend_from_slice(&t.account.0.to_le_bytes());
        out.extend_from_slice(&(t.kind as u32).to_le_bytes());
        for pico in [t.support_pico, t.charge_pico, t.penalty_pico] {
            out.extend_from_slice(&pico.to_le_bytes());
        }
        put_leaf(out, &t.old, columns);
        put_leaf(out, &t.new, columns);
    }
    let digest = blake3::hash(&out[start..]);
    out.extend_from_slice(digest.as_bytes());
}

fn put_transfer(out: &mut Vec<u8>, account: AccountId, owner: &[u8; 20], amount: u64) {
    out.extend_from_slice(&account.0.to_le_bytes());
    out.extend_from_slice(owner);
    out.extend_from_slice(&amount.to_le_bytes());
}

fn put_leaf(out: &mut Vec<u8>, leaf: &Leaf, columns: usize) {
    out.extend_from_slice(&leaf.owner);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&leaf.nonce.to_le_bytes());
    out.extend_from_slice(&leaf.cash_pico.to_le_bytes());
    out.extend_from_slice(&leaf.key);
    out.extend_from_slice(&leaf.mandate);
    out.extend_from_slice(&leaf.mandate_used.to_le_bytes());
    out.extend_from_slice(&leaf.flags.to_le_bytes());
    for positions in leaf.positions[..columns].chunks(TIER_INSTRUMENTS) {
        let mut words = [0; TIER_INSTRUMENTS];
        for (word, position) in words.iter_mut().zip(positions) {
            *word = position.to_le();
        }
        out.extend_from_slice(bytemuck::cast_slice(&words[..positions.len()]));
    }
}

/// Reads an encoded batch.
///
/// # Errors
/// See [`BatchError`].
pub fn decode(bytes: &[u8]) -> Result<SealedBatch, BatchError> {
    let mut r = Reader { bytes, at: 0 };
    if bytes.get(..8) != Some(MAGIC) {
        return Err(BatchError::Magic);
    }
    r.at = 8;
    let version = r.u32()?;
    if version != VERSION {
        return Err(BatchError::Version(version));
    }
    let body = bytes
        .len()
        .checked_sub(DIGEST_LEN)
        .ok_or(BatchError::Length {
            got: bytes.len(),
            want: DIGEST_LEN,
        })?;
    if blake3::hash(&bytes[..body]).as_bytes() != &bytes[body..] {
        return Err(BatchError::Digest);
    }
    r.bytes = &bytes[..body];
    let counts = [
        r.count(BATCH_FILLS)?,
        r.count(BATCH_DEPOSITS)?,
        r.count(BATCH_WITHDRAWALS)?,
        r.count(BATCH_ACCOUNTS)?,
    ];
    let columns = r.columns()?;
    let batch = SealedBatch {
        batch_no: r.u64()?,
        first_seq: Seq(r.u64()?),
        last_seq: Seq(r.u64()?),
        time: TimeNs(r.u64()?),
        reason: reason(r.u64()?)?,
        state_hash: r.array()?,
        journal_hash: r.array()?,
        fund_old_pico: i128::from_le_bytes(r.array()?),
        fund_new_pico: i128::from_le_bytes(r.array()?),
        table: r.table(columns)?,
        fills: (0..counts[0]).map(|_| r.fill()).collect::<Result<_, _>>()?,
        deposits: (0..counts[1])
            .map(|_| r.deposit())
            .collect::<Result<_, _>>()?,
        withdrawals: (0..counts[2])
            .map(|_| r.withdrawal())
            .collect::<Result<_, _>>()?,
        touched: (0..counts[3])
            .map(|_| r.touched(columns))
            .collect::<Result<_, _>>()?,
    };
    if r.at != body {
        return Err(BatchError::Length {
            got: bytes.len(),
            want: r.at + DIGEST_LEN,
        });
    }
    Ok(batch)
}

const fn reason(value: u64) -> Result<SealReason, BatchError> {
    Ok(match value {
        0 => SealReason::Full,
        1 => SealReason::Timer,
        2 => SealReason::TableChange,
        3 => SealReason::Operator,
        4 => SealReason::Liquidation,
        other => return Err(BatchError::Value(other)),
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], BatchError> {
        let want = self.at + n;
        let part = self.bytes.get(self.at..want).ok_or(BatchError::Length {
            got: self.bytes.len() + DIGEST_LEN,
            want: want + DIGEST_LEN,
        })?;
        self.at = want;
        Ok(part)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        let mut a = [0; N];
        a.copy_from_slice(self.take(N)?);
        Ok(a)
    }
    fn i128(&mut self) -> Result<i128, BatchError> {
        self.array().map(i128::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, BatchError> {
        self.array().map(u64::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, BatchError> {
        self.array().map(u32::from_le_bytes)
    }
    fn count(&mut self, max: usize) -> Result<usize, BatchError> {
        let n = self.u32()?;
        if n as usize > max {
            Err(BatchError::Count(n))
        } else {
            Ok(n as usize)
        }
    }
    fn fill(&mut self) -> Result<FillRow, BatchError> {
        let (maker, taker, key, price, lots) = (
            self.u64()?,
            self.u64()?,
            self.u64()?,
            self.u64()?,
            self.u64()?,
        );
        Ok(FillRow {
            maker: AccountId(maker as u32),
            taker: AccountId(taker as u32),
            instrument: InstrumentId((key >> 1) as u16),
            price: PriceTicks(price as i32),
            lots,
            taker_buys: key & 1 == 1,
        })
    }
    fn deposit(&mut self) -> Result<DepositRow, BatchError> {
        Ok(DepositRow {
            queue_index: self.u64()?,
            account: AccountId(self.u32()?),
            owner: self.array()?,
            amount_micro: self.u64()?,
            key: self.array()?,
        })
    }
    fn withdrawal(&mut self) -> Result<WithdrawalRow, BatchError> {
        Ok(WithdrawalRow {
            account: AccountId(self.u32()?),
            owner: self.array()?,
            amount_micro: self.u64()?,
        })
    }
    /// Columns that the header announces.
    fn columns(&mut self) -> Result<usize, BatchError> {
        let n = self.u32()?;
        if (TIER_INSTRUMENTS..=INSTRUMENTS).contains(&(n as usize)) {
            Ok(n as usize)
        } else {
            Err(BatchError::Value(n.into()))
        }
    }
    fn table(&mut self, columns: usize) -> Result<Box<RiskTable>, BatchError> {
        let mut table = RiskTable::zeroed(columns);
        let bytes = table.as_mut_bytes();
        bytes.copy_from_slice(self.take(bytes.len())?);
        Ok(table)
    }
    fn touched(&mut self, columns: usize) -> Result<Touched, BatchError> {
        Ok(Touched {
            account: AccountId(self.u32()?),
            kind: self.kind()?,
            support_pico: self.i128()?,
            charge_pico: self.i128()?,
            penalty_pico: self.i128()?,
            old: self.leaf(columns)?,
            new: self.leaf(columns)?,
        })
    }
    fn kind(&mut self) -> Result<SlotKind, BatchError> {
        let n = self.u32()?;
        let kind = u8::try_from(n).ok().and_then(SlotKind::of);
        kind.ok_or(BatchError::Value(n.into()))
    }
    fn leaf(&mut self, columns: usize) -> Result<Leaf, BatchError> {
        let owner = self.array()?;
        self.u32()?;
        let (nonce, cash_pico) = (self.u64()?, self.i128()?);
        let (key, mandate) = (self.array()?, self.array()?);
        let (mandate_used, flags) = (self.u64()?, self.u64()?);
        let position = |_| Ok(self.u64()? as i64);
        let positions = (0..columns).map(position).collect::<Result<_, _>>()?;
        Ok(Leaf {
            owner,
            nonce,
            cash_pico,
            positions,
            key,
            mandate,
            mandate_used,
            flags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(columns: usize) -> SealedBatch {
        let leaf = Leaf {
            owner: [7; 20],
            nonce: 1,
            cash_pico: -5,
            positions: alloc::vec![3; columns].into(),
            key: [4; 32],
            mandate: [5; 32],
            mandate_used: 6,
            flags: 1,
        };
        SealedBatch {
            batch_no: 4,
            first_seq: Seq(10),
            last_seq: Seq(20),
            time: TimeNs(30),
            reason: SealReason::Operator,
            state_hash: [1; 32],
            journal_hash: [2; 32],
            table: RiskTable::zeroed(columns),
            fund_old_pico: 1,
            fund_new_pico: 1 << 90,
            fills: alloc::vec![FillRow {
                maker: AccountId(1),
                taker: AccountId(2),
                instrument: InstrumentId(3),
                price: PriceTicks(99),
                lots: 7,
                taker_buys: true,
            }],
            deposits: alloc::vec![DepositRow {
                queue_index: 8,
                account: AccountId(1),
                owner: [7; 20],
                key: [4; 32],
                amount_micro: 9
            }],
            withdrawals: alloc::vec![WithdrawalRow {
                account: AccountId(2),
                owner: [8; 20],
                amount_micro: 3
            }],
            touched: alloc::vec![Touched {
                account: AccountId(1),
                kind: SlotKind::Liquidated,
                support_pico: 1 << 70,
                charge_pico: 2,
                penalty_pico: 3,
                old: Leaf::unfunded(columns),
                new: leaf
            }],
        }
    }

    #[test]
    fn a_batch_comes_back_as_it_went() {
        for columns in [TIER_INSTRUMENTS, TIER_INSTRUMENTS + 1, INSTRUMENTS] {
            let mut bytes = Vec::new();
            encode(&batch(columns), &mut bytes);
            assert_eq!(decode(&bytes).unwrap(), batch(columns));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let mut bytes = Vec::new();
        encode(&batch(TIER_INSTRUMENTS), &mut bytes);
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
            bytes[at] ^= 1 << (at % 8);
            assert!(decode(&bytes).is_err(), "flip at {at}");
            bytes[at] ^= 1 << (at % 8);
        }
        bytes.push(0);
        assert!(decode(&bytes).is_err());
    }
}
