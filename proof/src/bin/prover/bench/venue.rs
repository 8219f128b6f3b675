//! A batch for the bench: eight accounts that trade one perpetual until so many rows are in the open batch.

use anyhow::{Context, ensure};
use bytemuck::Zeroable;
use firmware::gate::{Command, Gate, GateInstrument, Rates};
use firmware::limits::{BATCH_ACCOUNTS, TIER_INSTRUMENTS};
use firmware::units::{AccountId, InstrumentId, MemberId, PriceTicks, TimeNs};
use firmware::wire::feed::STATE_OPEN;
use firmware::wire::input::{
    InAccount, InDeposit, InDomain, InInstrument, InOracle, InTimer, TIMER_OPERATOR, TIMER_SEAL,
};
use firmware::wire::order::{NewOrder, ORD_LIMIT, Request, TIF_GTC, TIF_IOC};
use matcher::batch::{SealedBatch, decode};
use matcher::book::LadderBook;
use matcher::engine::{Engine, EngineLimits};
use matcher::instrument::{Collar, InstrumentKind, InstrumentSpec};
use matcher::outbox::Outbox;
use matcher::risk_table::{RiskParams, VolInput, build_table};
use matcher::sequencer::{Input, Sequenced, Sequencer};

const ACCOUNTS: u32 = BATCH_ACCOUNTS as u32;
/// A hundredth of the underlying.
const LOT_E9: i64 = 10_000_000;
/// One unit.
const TICK_MICRO: i64 = 1_000_000;
const INDEX_TICKS: i32 = 60_000;
const START_NS: u64 = 1_700_000_000_000_000_000;
const FUNDS_MICRO: u64 = 1_000_000_000_000;

struct Venue {
    gate: Box<Gate>,
    sequencer: Sequencer,
    engine: Engine<LadderBook>,
    outbox: Outbox,
    sealed: Vec<Vec<u8>>,
    time: u64,
    requests: u64,
}

/// The batch that the engine seals when it holds `rows` rows of fills.
pub(super) fn full_batch(rows: u32) -> anyhow::Result<SealedBatch> {
    let mut venue = Venue::open()?;
    // Another pair or another price is another row; so each trade is one.
    let pairs = (1..=ACCOUNTS).flat_map(|a| (a + 1..=ACCOUNTS).map(move |b| (a, b)));
    let pairs: Vec<_> = pairs.collect();
    for n in 0..rows as usize {
        let (seller, buyer) = pairs[n % pairs.len()];
        let price = INDEX_TICKS + (n / pairs.len()) as i32;
        venue.order(seller, 1, price, TIF_GTC)?;
        venue.order(buyer, 0, price, TIF_IOC)?;
    }
    venue.venue(&InTimer {
        flags: TIMER_SEAL | TIMER_OPERATOR,
        pad1: 0,
    });
    // Deposits may have closed a batch of their own before.
    let last = venue.sealed.iter().rev().map(|b| decode(b));
    let batches = last.collect::<Result<Vec<_>, _>>();
    let mut batches = batches.map_err(|e| anyhow::anyhow!("the engine's batch: {e:?}"))?;
    ensure!(
        batches.len() == 1,
        "the engine sealed {} batches",
        batches.len()
    );
    batches.pop().context("a batch")
}

impl Venue {
    fn open() -> anyhow::Result<Self> {
        let limits = EngineLimits::default();
        let engine = Engine::new(limits).map_err(|e| anyhow::anyhow!("engine: {e}"))?;
        let mut venue = Self {
            gate: Box::new(Gate::new()),
            sequencer: Sequencer::new(),
            engine,
            outbox: Outbox::new(),
            sealed: Vec::new(),
            time: START_NS,
            requests: 0,
        };
        venue.venue(&InDomain {
            delta_threshold_ppm: 500,
            initial_extra_ppm: 250_000,
            settlement_interval_ns: 3_600_000_000_000,
            oracle_stale_ns: 3_600_000_000_000,
            orders: limits.orders,
            accounts: limits.accounts as u32,
            members: limits.members,
            instruments: TIER_INSTRUMENTS as u32,
        });
        let listed = InInstrument {
            lot_e9: LOT_E9,
            tick_micro: TICK_MICRO,
            order_lots_max: 10_000,
            position_lots_max: 100_000,
            base_ticks: INDEX_TICKS / 2,
            width_ticks: INDEX_TICKS,
            collar_ppm: 50_000,
            symbol: *b"BENCH-PERP\0\0\0\0\0\0",
            state: STATE_OPEN,
            ..InInstrument::zeroed()
        };
        venue.venue(&listed);
        let gate = GateInstrument {
            tick_e9: TICK_MICRO * 1_000,
            base: PriceTicks(listed.base_ticks),
            width_ticks: listed.width_ticks,
            order_lots_max: listed.order_lots_max,
            tick2_from: PriceTicks(0),
            tick2_multiple: 0,
        };
        ensure!(venue.gate.list(InstrumentId(0), gate), "gate");
        venue.members()?;
        venue.price(&listed)?;
        Ok(venue)
    }

    fn members(&mut self) -> anyhow::Result<()> {
        let rates = Rates {
            requests_per_second: 1_000_000,
            quotes_per_second: 1,
        };
        for account in 1..=ACCOUNTS {
            let is_member = self.gate.add_member(MemberId(account), rates)
                && (self.gate).bind_account(AccountId(account), MemberId(account));
            ensure!(is_member, "gate");
            let member = account;
            self.venue(&InAccount { account, member });
            let mut owner = [0; 20];
            owner[19] = account as u8;
            self.venue(&InDeposit {
                queue_index: u64::from(account) - 1,
                amount: FUNDS_MICRO,
                account,
                owner,
                key: [0; 32],
            });
        }
        Ok(())
    }

    fn price(&mut self, listed: &InInstrument) -> anyhow::Result<()> {
        let spec = InstrumentSpec {
            id: InstrumentId(0),
            kind: InstrumentKind::Perpetual,
            lot_e9: LOT_E9,
            tick_micro: TICK_MICRO,
            collar: Collar::PpmOfIndex(listed.collar_ppm),
            book_base_ticks: listed.base_ticks,
            book_width_ticks: listed.width_ticks,
            order_lots_max: listed.order_lots_max,
            position_lots_max: listed.position_lots_max,
        };
        let params = RiskParams {
            taker_fee_ppm: 300,
            maker_fee_ppm: -100,
            ..RiskParams::default()
        };
        let index = i64::from(INDEX_TICKS) * TICK_MICRO;
        self.venue(&InOracle {
            report_no: 1,
            timestamp: self.time,
            index_micro: index,
            key_id: 1,
            ..InOracle::zeroed()
        });
        let vol = VolInput::flat(600_000_000);
        let table = build_table(1, TimeNs(self.time), index, &vol, &params, &[spec]);
        self.venue(&table.map_err(|e| anyhow::anyhow!("risk table: {e}"))?);
        Ok(())
    }

    fn tick(&mut self) -> TimeNs {
        self.time += 1_000;
        TimeNs(self.time)
    }

    fn venue<'a>(&mut self, input: impl Into<Input<'a>>) {
        let now = self.tick();
        let input = self.sequencer.venue(input, now);
        self.take(&input);
    }

    fn take(&mut self, input: &Sequenced<'_>) {
        self.engine.apply(input, &mut self.outbox);
        self.sealed.extend(self.outbox.sealed().map(|b| b.to_vec()));
    }

    fn order(
        &mut self,
        account: u32,
        side: u8,
        price: i32,
        time_in_force: u8,
    ) -> anyhow::Result<()> {
        self.requests += 1;
        let now = self.tick();
        let order = NewOrder {
            cl_ord_id: self.requests,
            price: i64::from(price) * TICK_MICRO * 1_000,
            quantity: 1,
            account,
            side,
            ord_type: ORD_LIMIT,
            time_in_force,
            ..NewOrder::zeroed()
        };
        let command = Command {
            member: MemberId(account),
            client_seq: self.requests,
            rx_time: now,
            request: Request::NewOrder(order),
        };
        let admitted = self.gate.check(&command, now);
        let admitted = admitted.map_err(|r| anyhow::anyhow!("refused with code {}", r.reason))?;
        let input = self.sequencer.admit(&admitted, now);
        self.take(&input);
        Ok(())
    }
}
