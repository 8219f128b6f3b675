//! The open batch: nets fills as they happen and says when the tier has no room left.

use super::{DepositRow, FillRow, Leaf, SealReason, SealedBatch, SlotKind, Touched, WithdrawalRow};
use crate::snapshot::{Sink, SnapshotError, Source, ensure};
use crate::table::RiskTable;
use alloc::boxed::Box;
use alloc::vec::Vec;
use firmware::limits::{
    ACCOUNTS, BATCH_ACCOUNTS, BATCH_DEPOSITS, BATCH_FILLS, BATCH_LANE, BATCH_WITHDRAWALS,
    FILL_QTY_BITS, TIER_INSTRUMENTS,
};
use firmware::units::{AccountId, InstrumentId, PICO_PER_MICRO, Pico, PriceTicks, Seq, TimeNs};

/// Slots of the index over fill rows; a power of two, at most a quarter full.
const INDEX: usize = 4 * BATCH_FILLS;
/// Begins the open batch in a snapshot.
const PART: [u8; 4] = *b"BTCH";
/// Empty slot of the index.
const NONE: u16 = u16::MAX;

const _: () = assert!(INDEX.is_power_of_two() && BATCH_FILLS < NONE as usize);

/// The open batch. Its memory is taken once; sealing clears it.
#[derive(Clone, Debug)]
pub(crate) struct BatchBuilder {
    batch: SealedBatch,
    /// Accounts of `batch.touched`, in the same order while the batch is open: the leaves beside them are
    /// too large to search through.
    accounts: Vec<AccountId>,
    /// Places for touched accounts that the open batch does not need.
    spare: Vec<Touched>,
    index: Box<[u16; INDEX]>,
    /// Rows as [`sort_key`] writes them, while they are sorted.
    keys: Vec<u128>,
    /// Fill rows of each instrument: rows of one lane of the circuit share an instrument.
    rows: Box<[usize]>,
    /// Lanes that those rows open.
    lanes: usize,
    /// Lowest and highest price filled, per instrument.
    prices: Box<[Option<(PriceTicks, PriceTicks)>]>,
}

impl BatchBuilder {
    /// An empty batch of a domain that can list so many instruments.
    pub(crate) fn new(instruments: usize) -> Self {
        let place = Touched {
            account: AccountId(0),
            kind: SlotKind::Normal,
            support_pico: 0,
            charge_pico: 0,
            penalty_pico: 0,
            old: Leaf::unfunded(instruments),
            new: Leaf::unfunded(instruments),
        };
        Self {
            batch: SealedBatch {
                batch_no: 1,
                first_seq: Seq(1),
                last_seq: Seq(0),
                time: TimeNs(0),
                reason: SealReason::Full,
                state_hash: [0; 32],
                journal_hash: [0; 32],
                table: RiskTable::zeroed(TIER_INSTRUMENTS),
                fund_old_pico: 0,
                fund_new_pico: 0,
                fills: Vec::with_capacity(BATCH_FILLS),
                deposits: Vec::with_capacity(BATCH_DEPOSITS),
                withdrawals: Vec::with_capacity(BATCH_WITHDRAWALS),
                touched: Vec::with_capacity(BATCH_ACCOUNTS),
            },
            accounts: Vec::with_capacity(BATCH_ACCOUNTS),
            spare: alloc::vec![place; BATCH_ACCOUNTS],
            index: Box::new([NONE; INDEX]),
            keys: Vec::with_capacity(BATCH_FILLS),
            rows: alloc::vec![0; instruments].into(),
            lanes: 0,
            prices: alloc::vec![None; instruments].into(),
        }
    }

    pub(crate) const fn batch_no(&self) -> u64 {
        self.batch.batch_no
    }

    pub(crate) const fn is_empty(&self) -> bool {
        // Whatever a batch does, it does to an account.
        self.accounts.is_empty()
    }

    pub(crate) fn touched(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.accounts.iter().copied()
    }

    /// Makes room for the columns of a wider table.
    ///
    /// # Panics
    /// When the batch is not empty: one batch has one width.
    pub(crate) fn widen(&mut self, columns: usize) {
        assert!(self.is_empty(), "a batch does not change its width");
        self.batch.table = self.batch.table.widened(columns);
    }

    /// Lowest and highest price filled in each instrument since the last seal.
    pub(crate) const fn prices(&self) -> &[Option<(PriceTicks, PriceTicks)>] {
        &self.prices
    }

    /// Whether the batch did nothing to the account but credit deposits: the circuit waives the margin then.
    pub(crate) fn only_deposited(&self, account: AccountId, now: &Leaf, table: &RiskTable) -> bool {
        let traded = |f: &FillRow| f.maker == account || f.taker == account;
        let Some(slot) = self.slot(account) else {
            return false;
        };
        // What a settled instrument turned into cash does not count as a change.
        let same = |((old, now), c): ((&i64, &i64), &crate::table::Column)| {
            old == now || c.is_settled != 0
        };
        let positions = slot.old.positions.iter().zip(&now.positions);
        positions.zip(&table.columns).all(same)
            && !self.batch.fills.iter().any(traded)
            && !self.batch.withdrawals.iter().any(|w| w.account == account)
    }

    /// What the batch says of an account that it touched.
    pub(crate) fn slot(&self, account: AccountId) -> Option<&Touched> {
        let at = self.accounts.iter().position(|a| *a == account)?;
        Some(&self.batch.touched[at])
    }

    /// As [`Self::slot`], of an account that was touched.
    pub(crate) fn slot_mut(&mut self, account: AccountId) -> &mut Touched {
        let at = self.accounts.iter().position(|a| *a == account);
        &mut self.batch.touched[at.expect("the account was touched")]
    }

    fn is_touched(&self, account: AccountId) -> bool {
        // All of the few are compared: where the one stands is as good as random.
        let hits = self.accounts.iter().map(|a| *a == account);
        hits.fold(false, |any, hit| any | hit)
    }

    /// Whether the accounts fit beside those already touched.
    pub(crate) fn accounts_fit(&self, accounts: &[AccountId]) -> bool {
        let fresh = accounts.iter().filter(|a| !self.is_touched(**a)).count();
        self.accounts.len() + fresh <= BATCH_ACCOUNTS
    }

    /// Where the row of `fill` is, or where its index would go.
    fn find(&self, fill: &FillRow) -> Result<usize, usize> {
        let mut slot = hash(fill) as usize % INDEX;
        loop {
            let at = self.index[slot];
            if at == NONE {
                return Err(slot);
            }
            let row = &self.batch.fills[at as usize];
            if same_key(row, fill) && row.lots + fill.lots < 1 << FILL_QTY_BITS {
                return Ok(at as usize);
            }
            slot = (slot + 1) % INDEX;
        }
    }

    pub(crate) fn fill_fits(&self, fill: &FillRow) -> bool {
        if !self.accounts_fit(&[fill.maker, fill.taker]) {
            return false;
        }
        let opens_lane = self.opens_lane(fill.instrument.0 as usize);
        let has_room = self.batch.fills.len() < BATCH_FILLS
            && (!opens_lane || self.lanes < BATCH_FILLS / BATCH_LANE);
        // Only a batch without room for another row must know whether the fill needs one.
        has_room || self.find(fill).is_ok()
    }

    /// Whether the next row of the instrument is the first of a lane.
    fn opens_lane(&self, instrument: usize) -> bool {
        self.rows[instrument].is_multiple_of(BATCH_LANE)
    }

    pub(crate) fn deposit_fits(&self, account: AccountId) -> bool {
        self.batch.deposits.len() < BATCH_DEPOSITS && self.accounts_fit(&[account])
    }

    pub(crate) fn withdrawal_fits(&self, account: AccountId) -> bool {
        self.batch.withdrawals.len() < BATCH_WITHDRAWALS && self.accounts_fit(&[account])
    }

    /// Remembers the leaf as it was before the batch first changed it.
    ///
    /// # Panics
    /// When the tier is full: the caller asks `*_fits` first.
    /// Says whether this is the first time.
    pub(crate) fn touch(&mut self, account: AccountId, leaf: &Leaf) -> bool {
        let is_first = !self.is_touched(account);
        if is_first {
            let mut place = self
                .spare
                .pop()
                .expect("the batch has room for the account, as was asked");
            let instruments = self.batch.table.columns.len();
            place.account = account;
            place.kind = SlotKind::Normal;
            (place.support_pico, place.charge_pico, place.penalty_pico) = (0, 0, 0);
            place.old.copy_from(leaf, instruments);
            place.new.copy_from(leaf, instruments);
            self.accounts.push(account);
            self.batch.touched.push(place);
        }
        is_first
    }

    pub(crate) fn add_fill(&mut self, fill: FillRow) {
        assert!(
            fill.maker != fill.taker,
            "account {} traded with itself",
            fill.maker
        );
        self.note_price(&fill);
        match self.find(&fill) {
            Ok(row) => self.batch.fills[row].lots += fill.lots,
            Err(slot) => self.push_row(slot, fill),
        }
    }

    fn note_price(&mut self, fill: &FillRow) {
        let price = &mut self.prices[fill.instrument.0 as usize];
        let (lo, hi) = price.unwrap_or((fill.price, fill.price));
        *price = Some((lo.min(fill.price), hi.max(fill.price)));
    }

    fn push_row(&mut self, slot: usize, fill: FillRow) {
        assert!(
            self.batch.fills.len() < BATCH_FILLS,
            "the batch has no room for another fill row"
        );
        let i = fill.instrument.0 as usize;
        self.index[slot] = self.batch.fills.len() as u16;
        self.batch.fills.push(fill);
        self.lanes += usize::from(self.opens_lane(i));
        self.rows[i] += 1;
    }

    /// Where the index of another row goes, whatever it could be added to.
    fn free_index(&self, fill: &FillRow) -> usize {
        let mut slot = hash(fill) as usize % INDEX;
        while self.index[slot] != NONE {
            slot = (slot + 1) % INDEX;
        }
        slot
    }

    pub(crate) fn add_deposit(&mut self, row: DepositRow) {
        assert!(
            self.batch.deposits.len() < BATCH_DEPOSITS,
            "the batch has no room for another deposit"
        );
        self.batch.deposits.push(row);
    }

    pub(crate) fn add_withdrawal(&mut self, row: WithdrawalRow) {
        assert!(
            self.batch.withdrawals.len() < BATCH_WITHDRAWALS,
            "the batch has no room for another withdrawal"
        );
        self.batch.withdrawals.push(row);
    }

    /// Closes the batch: `new_leaf` tells what an account is now. The caller encodes what
    /// [`BatchBuilder::closed`] gives and then calls [`BatchBuilder::reopen`].
    ///
    /// # Panics
    /// When the batch does not conserve money and contracts.
    pub(crate) fn close<'a>(
        &mut self,
        reason: SealReason,
        last_seq: Seq,
        time: TimeNs,
        table: &RiskTable,
        fund_pico: Pico,
        new_leaf: impl Fn(AccountId) -> &'a Leaf,
    ) {
        let b = &mut self.batch;
        b.reason = reason;
        b.last_seq = last_seq;
        b.time = time;
        b.table.adopt(table);
        b.fund_new_pico = fund_pico;
        for t in &mut b.touched {
            t.new.copy_from(new_leaf(t.account), table.columns.len());
        }
        b.touched.sort_unstable_by_key(|t| t.account);
        // Whole rows as numbers that sort as their fields do: comparing them field by field would take most
        // of a seal.
        self.keys.clear();
        self.keys.extend(b.fills.iter().map(sort_key));
        self.keys.sort_unstable();
        b.fills.clear();
        b.fills.extend(self.keys.iter().map(|key| row_of(*key)));
        self.assert_conserved();
    }

    /// The closed batch, with the digest of the ledger put in.
    pub(crate) const fn closed(&mut self, ledger_hash: [u8; 32]) -> &SealedBatch {
        self.batch.state_hash = ledger_hash;
        &self.batch
    }

    /// The leaves that the batch did not touch are what they were: if its changes add up, all does.
    fn assert_conserved(&self) {
        let b = &self.batch;
        let mut pico = b.fund_new_pico - b.fund_old_pico;
        let (mut support, mut charges, mut penalties) = (0, 0, 0);
        for t in &b.touched {
            pico += t.new.cash_pico - t.old.cash_pico;
            support += t.support_pico;
            charges += t.charge_pico;
            penalties += t.penalty_pico;
            // Lots of settled instruments became cash; else only fills move lots, and those add up.
            for (i, c) in b.table.columns.iter().enumerate() {
                let folded = t.old.positions[i] - t.new.positions[i];
                let value = c.mark_micro - c.funding_micro;
                if c.is_settled != 0 {
                    pico -= i128::from(folded * value) * PICO_PER_MICRO;
                }
            }
        }
        let rates = i128::from(b.table.taker_fee_ppm) + i128::from(b.table.maker_fee_ppm);
        let notional = |f: &FillRow| {
            let column = &b.table.columns[usize::from(f.instrument.0)];
            i128::from(f.lots) * i128::from(f.price.0) * i128::from(column.tick_value_micro)
        };
        let fees: i128 = b.fills.iter().map(notional).sum::<i128>() * rates;
        let draw = b.fund_old_pico + fees + penalties - b.fund_new_pico;
        assert!(
            support == draw + charges && draw >= 0 && b.fund_new_pico >= 0,
            "batch {}: support of {support} is not a draw of {draw} and charges of {charges}",
            b.batch_no
        );
        let paid_in: i128 = b.deposits.iter().map(|d| i128::from(d.amount_micro)).sum();
        let paid_out: i128 = (b.withdrawals.iter())
            .map(|w| i128::from(w.amount_micro))
            .sum();
        assert_eq!(
            pico,
            (paid_in - paid_out) * PICO_PER_MICRO,
            "batch {} does not conserve money",
            b.batch_no
        );
        for (i, column) in b.table.columns.iter().enumerate() {
            if column.is_settled != 0 {
                continue;
            }
            let moved = b
                .touched
                .iter()
                .map(|t| t.new.positions[i] - t.old.positions[i]);
            assert_eq!(
                moved.sum::<i64>(),
                0,
                "batch {} does not conserve the contracts of instrument {i}",
                b.batch_no
            );
        }
    }

    /// Starts the next batch with the record `first_seq`.
    pub(crate) fn reopen(&mut self, first_seq: Seq) {
        let b = &mut self.batch;
        b.batch_no += 1;
        b.first_seq = first_seq;
        b.fund_old_pico = b.fund_new_pico;
        for f in b.fills.drain(..) {
            let i = f.instrument.0 as usize;
            self.rows[i] = 0;
            self.prices[i] = None;
        }
        self.lanes = 0;
        b.deposits.clear();
        b.withdrawals.clear();
        self.spare.append(&mut b.touched);
        self.accounts.clear();
        self.index.fill(NONE);
    }

    /// Writes the open batch, and what it carries over from its forerunner.
    pub(crate) fn save(&self, to: &mut impl Sink) {
        let Self {
            batch,
            // Of the rows, and places for more of them.
            accounts: _,
            spare: _,
            index: _,
            keys: _,
            rows: _,
            lanes: _,
            prices: _,
        } = self;
        let SealedBatch {
            batch_no,
            first_seq,
            state_hash,
            fund_old_pico,
            fund_new_pico,
            table,
            fills,
            deposits,
            withdrawals,
            touched,
            // Of the batch that was closed last.
            last_seq: _,
            time: _,
            reason: _,
            journal_hash: _,
        } = batch;
        to.part(PART);
        to.pod(batch_no);
        to.pod(first_seq);
        to.put(state_hash);
        to.pod(&[*fund_old_pico, *fund_new_pico]);
        to.count(table.columns.len());
        to.count(fills.len());
        for f in fills {
            to.pod(&sort_key(f));
        }
        to.count(deposits.len());
        for d in deposits {
            to.pod(&[d.queue_index, d.amount_micro]);
            to.pod(&d.account);
            to.put(&d.owner);
            to.put(&d.key);
        }
        to.count(withdrawals.len());
        for w in withdrawals {
            to.pod(&w.amount_micro);
            to.pod(&w.account);
            to.put(&w.owner);
        }
        to.count(touched.len());
        for t in touched {
            to.pod(&t.account);
            to.pod(&(t.kind as u8));
            to.pod(&[t.support_pico, t.charge_pico, t.penalty_pico]);
            t.old.save(to);
        }
    }

    /// Reads what [`Self::save`] wrote into a fresh batch of a domain of so many instruments and accounts.
    pub(crate) fn load(
        &mut self,
        instruments: usize,
        accounts: usize,
        from: &mut impl Source,
    ) -> Result<(), SnapshotError> {
        from.part(PART)?;
        let b = &mut self.batch;
        b.batch_no = from.pod()?;
        b.first_seq = from.pod()?;
        b.state_hash = from.pod()?;
        [b.fund_old_pico, b.fund_new_pico] = from.pod()?;
        let columns = from.below(instruments + 1, "width of the batch")?;
        ensure(columns >= TIER_INSTRUMENTS, "width of the batch")?;
        self.widen(columns);
        let known = |id: AccountId| ensure((id.0 as usize) < accounts, "account of the batch");
        for _ in 0..from.below(BATCH_FILLS + 1, "number of fills")? {
            let key = from.pod()?;
            let fill = row_of(key);
            ensure(sort_key(&fill) == key, "fill")?;
            known(fill.maker)?;
            known(fill.taker)?;
            let sound = usize::from(fill.instrument.0) < columns && fill.maker != fill.taker;
            ensure(sound, "fill")?;
            self.note_price(&fill);
            let slot = self.free_index(&fill);
            self.push_row(slot, fill);
        }
        for _ in 0..from.below(BATCH_DEPOSITS + 1, "number of deposits")? {
            let [queue_index, amount_micro]: [u64; 2] = from.pod()?;
            let row = DepositRow {
                queue_index,
                amount_micro,
                account: from.pod()?,
                owner: from.pod()?,
                key: from.pod()?,
            };
            known(row.account)?;
            self.add_deposit(row);
        }
        for _ in 0..from.below(BATCH_WITHDRAWALS + 1, "number of withdrawals")? {
            let row = WithdrawalRow {
                amount_micro: from.pod()?,
                account: from.pod()?,
                owner: from.pod()?,
            };
            known(row.account)?;
            self.add_withdrawal(row);
        }
        let mut old = Leaf::unfunded(instruments);
        for _ in 0..from.below(BATCH_ACCOUNTS + 1, "number of touched accounts")? {
            let account: AccountId = from.pod()?;
            known(account)?;
            ensure(!self.is_touched(account), "touched account")?;
            let kind = SlotKind::of(from.pod()?).ok_or(SnapshotError::Value("kind of a slot"))?;
            let [support_pico, charge_pico, penalty_pico]: [i128; 3] = from.pod()?;
            old.positions.fill(0);
            old.load(from)?;
            self.touch(account, &old);
            let place = self.batch.touched.last_mut().expect("just touched");
            place.kind = kind;
            place.support_pico = support_pico;
            place.charge_pico = charge_pico;
            place.penalty_pico = penalty_pico;
        }
        Ok(())
    }

    /// Adds the batch, open or closed, and through the digest of the seal before all its forerunners.
    pub(crate) fn digest(&self, h: &mut blake3::Hasher) {
        let b = &self.batch;
        for n in [
            b.batch_no,
            b.fills.len() as u64,
            b.deposits.len() as u64,
            b.withdrawals.len() as u64,
        ] {
            h.update(&n.to_le_bytes());
        }
        h.update(&b.state_hash)
            .update(&b.fund_old_pico.to_le_bytes())
            .update(&b.fund_new_pico.to_le_bytes());
        for d in &b.deposits {
            h.update(&d.account.0.to_le_bytes())
                .update(&d.amount_micro.to_le_bytes())
                .update(&d.key);
        }
        for w in &b.withdrawals {
            h.update(&w.account.0.to_le_bytes())
                .update(&w.amount_micro.to_le_bytes());
        }
        for t in &b.touched {
            h.update(&t.account.0.to_le_bytes())
                .update(&[t.kind as u8])
                .update(&t.support_pico.to_le_bytes())
                .update(&t.charge_pico.to_le_bytes())
                .update(&t.penalty_pico.to_le_bytes());
            t.new.digest(b.table.columns.len(), h);
        }
        // All rows at once: the hasher takes kilobytes in wide strides, and a few bytes at a high price.
        let mut rows = [0; BATCH_FILLS * ROW_LEN];
        for (row, f) in rows.chunks_exact_mut(ROW_LEN).zip(&b.fills) {
            row[..4].copy_from_slice(&f.maker.0.to_le_bytes());
            row[4..8].copy_from_slice(&f.taker.0.to_le_bytes());
            row[8..10].copy_from_slice(&f.instrument.0.to_le_bytes());
            row[10..14].copy_from_slice(&f.price.0.to_le_bytes());
            row[14..22].copy_from_slice(&f.lots.to_le_bytes());
            row[22] = u8::from(f.taker_buys);
        }
        h.update(&rows[..b.fills.len() * ROW_LEN]);
    }
}

/// Bytes of a fill row in the digest.
const ROW_LEN: usize = 23;

// Price, both accounts, the taker's side and the lots fit below the instrument.
const _: () = assert!(ACCOUNTS <= 1 << 16 && FILL_QTY_BITS <= 31);

/// A row as a number: instrument, price, maker, taker, side of the taker, lots, from the highest bits down.
fn sort_key(f: &FillRow) -> u128 {
    // Prices are positive, so their order is that of the bits.
    (u128::from(f.instrument.0) << 96)
        | (u128::from(f.price.0 as u32) << 64)
        | (u128::from(f.maker.0) << 48)
        | (u128::from(f.taker.0) << 32)
        | (u128::from(f.taker_buys) << 31)
        | u128::from(f.lots)
}

/// The row that [`sort_key`] wrote.
const fn row_of(key: u128) -> FillRow {
    FillRow {
        maker: AccountId((key >> 48) as u32 & 0xFFFF),
        taker: AccountId((key >> 32) as u32 & 0xFFFF),
        instrument: InstrumentId((key >> 96) as u16),
        price: PriceTicks((key >> 64) as u32 as i32),
        lots: key as u64 & ((1 << 31) - 1),
        taker_buys: key >> 31 & 1 == 1,
    }
}

const fn same_key(a: &FillRow, b: &FillRow) -> bool {
    a.maker.0 == b.maker.0
        && a.taker.0 == b.taker.0
        && a.instrument.0 == b.instrument.0
        && a.price.0 == b.price.0
        && a.taker_buys == b.taker_buys
}

/// Fibonacci hashing of a row's key; only spreads, nothing depends on its value.
const fn hash(f: &FillRow) -> u32 {
    let key = (f.maker.0 as u64) << 40
        ^ (f.taker.0 as u64) << 26
        ^ (f.price.0 as u64) << 5
        ^ (f.instrument.0 as u64) << 1
        ^ f.taker_buys as u64;
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::limits::PRICE_BITS;
    use proptest::prelude::*;

    fn row() -> impl Strategy<Value = FillRow> {
        let account = || prop_oneof![0..3u32, Just(ACCOUNTS as u32 - 1)];
        let price = prop_oneof![1..4i32, Just((1 << PRICE_BITS) - 1)];
        let lots = prop_oneof![1..4u64, Just((1 << FILL_QTY_BITS) - 1)];
        (account(), account(), 0..3u16, price, lots, any::<bool>()).prop_map(
            |(maker, taker, instrument, price, lots, taker_buys)| FillRow {
                maker: AccountId(maker),
                taker: AccountId(taker),
                instrument: InstrumentId(instrument),
                price: PriceTicks(price),
                lots,
                taker_buys,
            },
        )
    }

    proptest! {
        #[test]
        fn rows_sort_as_their_fields_and_come_back(a in row(), b in row()) {
            let fields = |f: &FillRow| {
                (f.instrument, f.price, f.maker, f.taker, f.taker_buys, f.lots)
            };
            prop_assert_eq!(row_of(sort_key(&a)), a);
            prop_assert_eq!(sort_key(&a).cmp(&sort_key(&b)), fields(&a).cmp(&fields(&b)));
        }
    }
}
