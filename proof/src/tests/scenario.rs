//! A small market with an honest ledger: makes the sealed batches that the tests prove or break.

use crate::state::State;
use crate::statement::ChainContext;
use crate::witness::BatchWitness;
use firmware::limits::{SCENARIOS, TIER_INSTRUMENTS};
use firmware::units::{AccountId, InstrumentId, PICO_PER_MICRO, PriceTicks, Seq, TimeNs};
use matcher::batch::{
    DepositRow, FillRow, Leaf, SealReason, SealedBatch, SlotKind, TierLeaf, Touched, WithdrawalRow,
};
use matcher::table::{Column, RiskTable};
use std::collections::BTreeMap;

/// Anvil's chain id, and the address that its first account's first contract gets.
pub(crate) const CHAIN: ChainContext = ChainContext {
    chain_id: 31_337,
    contract: [
        0x5f, 0xbd, 0xb2, 0x31, 0x56, 0x78, 0xaf, 0xec, 0xb3, 0x67, 0xf0, 0x32, 0xd9, 0x3f, 0x64,
        0x2f, 0x64, 0x18, 0x0a, 0xa3,
    ],
};

/// Instruments 0 to 3 are listed, the last with a negative worst case.
pub(crate) fn table(epoch: u64) -> Box<RiskTable> {
    let column = |place: usize| {
        if place >= 4 {
            return bytemuck::Zeroable::zeroed();
        }
        let tick_value_micro = [10, 1, 100, 65_535][place];
        let mark_ticks: i64 = [60_000, 3_000, 150, 40][place];
        let mark_micro = mark_ticks * i64::from(tick_value_micro);
        let shock = |s: usize| {
            let percent = (s as i64 % 9 - 4) * 5 + (s as i64 / 9 - 1);
            mark_micro + mark_micro * percent / 100 - if place == 3 { mark_micro } else { 0 }
        };
        Column {
            mark_micro,
            scenario_micro: std::array::from_fn::<i64, SCENARIOS, _>(shock),
            delta_e9: 0,
            collar_lo_ticks: (mark_ticks - mark_ticks / 5) as i32,
            collar_width_ticks: (mark_ticks * 2 / 5) as i32,
            tick_value_micro,
            is_settled: 0,
            funding_micro: 0,
        }
    };
    let mut table = RiskTable::zeroed(TIER_INSTRUMENTS);
    table.epoch = epoch;
    table.index_micro = 60_000_000_000;
    table.taker_fee_ppm = 450;
    table.maker_fee_ppm = -100;
    for (place, values) in table.columns.iter_mut().enumerate() {
        *values = column(place);
    }
    table
}

/// The index has lost 40 %, instrument 2 is settled.
pub(crate) fn crashed(epoch: u64) -> Box<RiskTable> {
    let mut table = table(epoch);
    table.liquidation_fee_ppm = 5_000;
    let falls = &mut table.columns[0];
    falls.funding_micro = 1_234;
    falls.mark_micro = falls.mark_micro * 6 / 10;
    falls
        .scenario_micro
        .iter_mut()
        .for_each(|v| *v = *v * 6 / 10);
    falls.collar_lo_ticks = 30_000;
    let settled = &mut table.columns[2];
    settled.is_settled = 1;
    settled.collar_width_ticks = 0;
    settled.mark_micro = 20_000;
    settled.scenario_micro = [20_000; SCENARIOS];
    settled.funding_micro = -90;
    table
}

/// An address that reads as its account.
pub(crate) fn owner(account: u32) -> [u8; 20] {
    let mut owner = [0xa0; 20];
    owner[16..].copy_from_slice(&account.to_be_bytes());
    owner
}

/// `taker`, `maker`, instrument, price, lots (negative: the taker sells).
pub(crate) type Trade = (u32, u32, u16, i32, i64);

/// The ledger beside the prover's state.
pub(crate) struct Market {
    pub(crate) state: State,
    leaves: BTreeMap<u32, Leaf>,
    fund: i128,
    batch_no: u64,
    deposits: u64,
}

impl Market {
    pub(crate) fn new() -> Self {
        Self {
            state: State::genesis(),
            leaves: BTreeMap::new(),
            fund: 0,
            batch_no: 0,
            deposits: 0,
        }
    }

    /// With money on four accounts and one batch behind it.
    pub(crate) fn funded() -> Self {
        let mut market = Self::new();
        let batch = market.funding();
        market.state.apply(&batch).expect("funding is in order");
        market
    }

    /// The batch that funds four accounts, one of them twice.
    pub(crate) fn funding(&mut self) -> SealedBatch {
        let rows = [
            (2, 5_000_000_000),
            (7, 9_000_000_000),
            (300, 1_000_000_000),
            (65_535, 70_000_000_000),
            (2, 1),
        ];
        self.seal(table(1), &[], &rows, &[])
    }

    /// The account's new leaf; when it is first touched its settled positions become cash.
    fn touch<'a>(
        &mut self,
        touched: &'a mut BTreeMap<u32, Touched>,
        table: &RiskTable,
        account: u32,
    ) -> &'a mut Leaf {
        let old = self.leaves.get(&account).cloned();
        let old = old.unwrap_or_else(|| TierLeaf::default().into());
        let mut new = old.clone();
        for (lots, column) in new.positions.iter_mut().zip(&table.columns) {
            if column.is_settled == 1 {
                let value = column.mark_micro - column.funding_micro;
                new.cash_pico += i128::from(*lots * value) * PICO_PER_MICRO;
                *lots = 0;
            }
        }
        let entry = touched.entry(account).or_insert(Touched {
            account: AccountId(account),
            kind: SlotKind::Normal,
            support_pico: 0,
            charge_pico: 0,
            penalty_pico: 0,
            old,
            new,
        });
        &mut entry.new
    }

    /// Carries out what is asked and seals it; nothing here is checked.
    pub(crate) fn seal(
        &mut self,
        table: Box<RiskTable>,
        trades: &[Trade],
        deposits: &[(u32, u64)],
        withdrawals: &[(u32, u64)],
    ) -> SealedBatch {
        self.seal_kinds(table, trades, deposits, withdrawals, &[])
    }

    /// The same with accounts that are liquidated or deleveraged, and the penalties of the former, micro-units. A
    /// liquidated account that owes and holds nothing more is brought to zero: by the fund, and where that is empty by
    /// the first deleveraged account.
    pub(crate) fn seal_kinds(
        &mut self,
        table: Box<RiskTable>,
        trades: &[Trade],
        deposits: &[(u32, u64)],
        withdrawals: &[(u32, u64)],
        kinds: &[(u32, SlotKind, i64)],
    ) -> SealedBatch {
        let mut touched = BTreeMap::new();
        let fund_old_pico = self.fund;
        let mut batch_deposits = Vec::new();
        for (account, amount_micro) in deposits {
            let leaf = self.touch(&mut touched, &table, *account);
            leaf.owner = owner(*account);
            leaf.cash_pico += PICO_PER_MICRO * i128::from(*amount_micro);
            batch_deposits.push(DepositRow {
                queue_index: self.deposits,
                account: AccountId(*account),
                owner: owner(*account),
                key: [0; 32],
                amount_micro: *amount_micro,
            });
            self.deposits += 1;
        }
        let mut fills = Vec::new();
        for trade in trades {
            fills.push(self.trade(&mut touched, &table, trade));
        }
        let mut batch_withdrawals = Vec::new();
        for (account, amount_micro) in withdrawals {
            let leaf = self.touch(&mut touched, &table, *account);
            leaf.cash_pico -= PICO_PER_MICRO * i128::from(*amount_micro);
            leaf.nonce += 1;
            batch_withdrawals.push(WithdrawalRow {
                account: AccountId(*account),
                owner: owner(*account),
                amount_micro: *amount_micro,
            });
        }
        let mut owed = 0;
        for (account, kind, penalty) in kinds {
            self.touch(&mut touched, &table, *account);
            let slot = touched.get_mut(account).expect("just touched");
            slot.kind = *kind;
            slot.penalty_pico = i128::from(*penalty) * PICO_PER_MICRO;
            slot.new.cash_pico -= slot.penalty_pico;
            self.fund += slot.penalty_pico;
            if *kind == SlotKind::Liquidated && slot.new.positions.iter().all(|p| *p == 0) {
                slot.support_pico = (-slot.new.cash_pico).max(0);
                slot.new.cash_pico += slot.support_pico;
                owed += slot.support_pico;
            }
        }
        let drawn = owed.min(self.fund);
        self.fund -= drawn;
        if let Some((account, _, _)) = kinds.iter().find(|k| k.1 == SlotKind::Deleveraged) {
            let slot = touched.get_mut(account).expect("touched");
            slot.charge_pico = owed - drawn;
            slot.new.cash_pico -= slot.charge_pico;
        }
        self.batch_no += 1;
        for (account, touched) in &touched {
            self.leaves.insert(*account, touched.new.clone());
        }
        SealedBatch {
            batch_no: self.batch_no,
            first_seq: Seq(self.batch_no * 100 + 1),
            last_seq: Seq(self.batch_no * 100 + 100),
            time: TimeNs(1_700_000_000_000_000_000 + self.batch_no),
            reason: SealReason::Timer,
            state_hash: [0; 32],
            journal_hash: *blake3::hash(&self.batch_no.to_le_bytes()).as_bytes(),
            table,
            fund_old_pico,
            fund_new_pico: self.fund,
            fills,
            deposits: batch_deposits,
            withdrawals: batch_withdrawals,
            touched: touched.into_values().collect(),
        }
    }

    fn trade(
        &mut self,
        touched: &mut BTreeMap<u32, Touched>,
        table: &RiskTable,
        &(taker, maker, instrument, price, lots): &Trade,
    ) -> FillRow {
        let tick_value = table.columns[usize::from(instrument)].tick_value_micro;
        let notional = i128::from(lots.abs()) * i128::from(price) * i128::from(tick_value);
        let legs = [
            (taker, lots, table.taker_fee_ppm),
            (maker, -lots, table.maker_fee_ppm),
        ];
        for (account, lots, fee_ppm) in legs {
            let leaf = self.touch(touched, table, account);
            let fee = notional * i128::from(fee_ppm);
            leaf.positions[usize::from(instrument)] += lots;
            let funding = i128::from(lots * table.columns[usize::from(instrument)].funding_micro);
            leaf.cash_pico -= i128::from(lots.signum()) * PICO_PER_MICRO * notional + fee;
            leaf.cash_pico += funding * PICO_PER_MICRO;
            self.fund += fee;
        }
        FillRow {
            maker: AccountId(maker),
            taker: AccountId(taker),
            instrument: InstrumentId(instrument),
            price: PriceTicks(price),
            lots: lots.unsigned_abs(),
            taker_buys: lots > 0,
        }
    }

    /// Trades, a deposit and withdrawals, on a funded market.
    pub(crate) fn busy(&mut self) -> SealedBatch {
        let trades = [
            (2, 7, 0, 60_100, 500),
            (7, 2, 0, 59_900, 120),
            (65_535, 7, 1, 3_010, -2_000),
            (300, 65_535, 1, 2_990, 77),
            (2, 65_535, 2, 151, -30),
            (65_535, 2, 3, 41, 9),
        ];
        let deposits = [(300, 123_456_789), (4_096, 5_000_000)];
        let withdrawals = [(7, 1_000_000), (65_535, 2_500_000), (7, 1)];
        self.seal(table(2), &trades, &deposits, &withdrawals)
    }

    /// Positions with funding, and a table after which account 300 owes more than it has, 4096 is below maintenance, and
    /// instrument 2 is settled.
    pub(crate) fn before_the_crash(&mut self) -> SealedBatch {
        let mut table = table(2);
        table.columns[0].funding_micro = 500;
        table.columns[2].funding_micro = -70;
        let trades = [
            (300, 7, 0, 60_000, 7_000),
            (4_096, 65_535, 0, 60_000, 3_800),
            (2, 65_535, 2, 151, -30),
        ];
        self.seal(table, &trades, &[(4_096, 1_000_000_000)], &[])
    }

    /// The ladder after [`Self::before_the_crash`]: 300 is closed against 7, which is deleveraged, and supported; a step
    /// of 4096 with a penalty; account 2 is there with a deposit, and gives up what it held of the settled instrument.
    pub(crate) fn ladder(&mut self) -> SealedBatch {
        let trades = [
            (300, 7, 0, 36_000, -7_000),
            (4_096, 65_535, 0, 36_010, -1_000),
        ];
        let kinds = [
            (4_096, SlotKind::Liquidated, 1_700_000),
            (300, SlotKind::Liquidated, 0),
            (7, SlotKind::Deleveraged, 0),
        ];
        self.seal_kinds(crashed(3), &trades, &[(2, 5)], &[], &kinds)
    }

    /// As many rows as the tier holds.
    pub(crate) fn full(&mut self) -> SealedBatch {
        let accounts = [2u32, 7, 300, 65_535];
        let trades: Vec<Trade> = (0..256)
            .map(|i| {
                let (instrument, lo) = [(0, 60_000), (1, 3_000), (2, 150), (3, 40)][i % 4];
                let taker = accounts[i / 4 % 4];
                let maker = accounts[(i / 4 + 1 + i % 3) % 4];
                let lots = (i as i64 % 7 + 1) * if i % 5 < 2 { -1 } else { 1 };
                (taker, maker, instrument, lo + i as i32 % 5, lots)
            })
            .collect();
        let deposits: Vec<(u32, u64)> = (0..8).map(|i| (accounts[i % 4], i as u64)).collect();
        let withdrawals: Vec<(u32, u64)> = (0..8).map(|i| (accounts[i % 3], 7)).collect();
        self.seal(table(2), &trades, &deposits, &withdrawals)
    }

    pub(crate) fn prove(&mut self, batch: &SealedBatch) -> BatchWitness {
        self.state.apply(batch).expect("an honest batch")
    }
}
