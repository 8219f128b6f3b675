//! A small venue for the prover's tests: the real gate, sequencer, engine and journal, driven by hand; and its admin
//! socket, as far as the prover uses it.

use bytemuck::Zeroable;
use firmware::gate::{Command, Gate, GateInstrument, Rates};
use firmware::limits::{ACCOUNTS, TIER_INSTRUMENTS};
use firmware::units::{AccountId, InstrumentId, MemberId, PriceTicks, TimeNs};
use firmware::wire::input::{
    InAccount, InDeposit, InDomain, InInstrument, InOracle, InTimer, TIMER_OPERATOR, TIMER_SEAL,
};
use firmware::wire::order::{NewOrder, ORD_LIMIT, Request, TIF_GTC, TIF_IOC, Withdraw};
use journal::{Config, End, FileDisk, GroupCommit, JournalDir, Record};
use matcher::book::LadderBook;
use matcher::engine::{DepositError, Engine, EngineLimits};
use matcher::instrument::{Collar, InstrumentKind, InstrumentSpec};
use matcher::outbox::Outbox;
use matcher::risk_table::{RiskParams, VolInput, build_table};
use matcher::sequencer::{Input, Sequenced, Sequencer};
use std::fs;
use std::path::{Path, PathBuf};

/// Journal files of a size that tests can fill.
const CONFIG: Config = Config {
    segment_bytes: 1 << 20,
    batch_bytes: 64 * 1024,
    epoch: 1,
};
/// Midnight of the tests, ns.
const START_NS: u64 = 1_700_000_000_000_000_000;
/// The index, and so the mark of the perpetual: 60,000 units.
const INDEX_MICRO: i64 = 60_000_000_000;
/// One lot is a thousandth of a unit of underlying.
const LOT_E9: i64 = 1_000_000;
/// One tick is a whole unit of the settlement asset.
const TICK_MICRO: i64 = 1_000_000;

/// Accounts and members of the same numbers.
pub(crate) const MAKER: u32 = 1;
/// See [`MAKER`].
pub(crate) const TAKER: u32 = 2;

/// The venue.
pub(crate) struct Venue {
    gate: Box<Gate>,
    sequencer: Sequencer,
    engine: Engine<LadderBook>,
    outbox: Outbox,
    journal: GroupCommit<FileDisk>,
    batches: PathBuf,
    time: u64,
    requests: u64,
}

impl Venue {
    /// Opens for the day in `data`: one perpetual, two members with an account each, a price.
    pub(crate) fn open(data: &Path) -> Self {
        let batches = data.join("batches");
        fs::create_dir_all(&batches).expect("batches folder");
        let disk = JournalDir::open(data.join("journal")).expect("journal folder");
        let journal = GroupCommit::resume(CONFIG, &End::genesis(), FileDisk::new(disk));
        let limits = EngineLimits {
            accounts: ACCOUNTS,
            ..EngineLimits::default()
        };
        let mut venue = Self {
            gate: Box::new(Gate::new()),
            sequencer: Sequencer::new(),
            engine: Engine::new(limits).expect("engine"),
            outbox: Outbox::new(),
            journal: journal.expect("journal"),
            batches,
            time: START_NS,
            requests: 0,
        };
        venue.list();
        venue
    }

    fn list(&mut self) {
        self.venue(&InDomain {
            delta_threshold_ppm: 500,
            initial_extra_ppm: 250_000,
            settlement_interval_ns: 5_000_000_000,
            oracle_stale_ns: 60_000_000_000,
            orders: EngineLimits::default().orders,
            accounts: ACCOUNTS as u32,
            members: EngineLimits::default().members,
            instruments: TIER_INSTRUMENTS as u32,
        });
        let listed = InInstrument {
            strike_micro: 0,
            expiry: 0,
            lot_e9: LOT_E9,
            tick_micro: TICK_MICRO,
            order_lots_max: 10_000,
            position_lots_max: 100_000,
            base_ticks: 30_000,
            width_ticks: 60_000,
            collar_ppm: 50_000,
            instrument: 0,
            kind: 0,
            vol_slot: 0,
            symbol: *b"BTC-PERP\0\0\0\0\0\0\0\0",
            state: firmware::wire::feed::STATE_OPEN,
            ..InInstrument::zeroed()
        };
        self.venue(&listed);
        let gate = GateInstrument {
            tick_e9: TICK_MICRO * 1_000,
            base: PriceTicks(listed.base_ticks),
            width_ticks: listed.width_ticks,
            order_lots_max: listed.order_lots_max,
            tick2_from: PriceTicks(0),
            tick2_multiple: 0,
        };
        assert!(self.gate.list(InstrumentId(0), gate));
        let rates = Rates {
            requests_per_second: 1_000,
            quotes_per_second: 1_000,
        };
        for account in [MAKER, TAKER] {
            assert!(self.gate.add_member(MemberId(account), rates));
            assert!(
                self.gate
                    .bind_account(AccountId(account), MemberId(account))
            );
            self.venue(&InAccount {
                account,
                member: account,
            });
        }
        self.price(1, INDEX_MICRO);
    }

    /// An oracle report, and the risk table that follows from it.
    pub(crate) fn price(&mut self, epoch: u64, index_micro: i64) {
        self.venue(&InOracle {
            report_no: epoch,
            timestamp: self.time,
            index_micro,
            vol0_e9: 0,
            vol1_e9: 0,
            vol2_e9: 0,
            vol3_e9: 0,
            key_id: 1,
            pad1: 0,
            signature: [0; 64],
        });
        let spec = InstrumentSpec {
            id: InstrumentId(0),
            kind: InstrumentKind::Perpetual,
            lot_e9: LOT_E9,
            tick_micro: TICK_MICRO,
            collar: Collar::PpmOfIndex(50_000),
            book_base_ticks: 30_000,
            book_width_ticks: 60_000,
            order_lots_max: 10_000,
            position_lots_max: 100_000,
        };
        let params = RiskParams {
            taker_fee_ppm: 300,
            maker_fee_ppm: -100,
            ..RiskParams::default()
        };
        let vol = VolInput::flat(600_000_000);
        let table = build_table(
            epoch,
            TimeNs(self.time),
            index_micro,
            &vol,
            &params,
            &[spec],
        );
        self.venue(&table.expect("a table"));
    }

    fn tick(&mut self) -> TimeNs {
        self.time += 1_000_000;
        TimeNs(self.time)
    }

    fn venue<'a>(&mut self, input: impl Into<Input<'a>>) {
        let now = self.tick();
        let input = self.sequencer.venue(input, now);
        self.take(&input);
    }

    /// Sends a request through the gate.
    fn ask(&mut self, member: u32, request: impl Into<Request>) {
        let now = self.tick();
        let command = Command {
            member: MemberId(member),
            client_seq: self.requests,
            rx_time: now,
            request: request.into(),
        };
        let admitted = self.gate.check(&command, now).expect("a sound request");
        let input = self.sequencer.admit(&admitted, now);
        self.take(&input);
    }

    /// Journals and applies an input, and writes the batches that it sealed.
    fn take(&mut self, input: &Sequenced<'_>) {
        let record = Record {
            seq: input.seq().0,
            time_ns: input.time().0,
            template: input.input().template(),
            source: u16::from(input.member().0 != 0),
            session: input.member().0,
            body: input.input().bytes(),
        };
        self.journal.append(&record).expect("room");
        self.journal.flush().expect("durable");
        let chain = self.journal.chain();
        self.engine.apply(input, &mut self.outbox);
        for sealed in self.outbox.sealed() {
            let mut batch = matcher::batch::decode(sealed).expect("just encoded");
            batch.journal_hash = chain;
            let mut bytes = Vec::new();
            matcher::batch::encode(&batch, &mut bytes);
            let name = format!("batch-{:08}.sealed", batch.batch_no);
            let beside = self.batches.join("new");
            fs::write(&beside, &bytes).expect("written");
            fs::rename(&beside, self.batches.join(name)).expect("renamed");
        }
    }

    /// Sequences a deposit; gives the place in the L1 queue that comes next.
    pub(crate) fn deposit(&mut self, deposit: &InDeposit) -> Result<u64, DepositError> {
        match self.engine.check_deposit(deposit) {
            Ok(()) => self.venue(deposit),
            // Taken before.
            Err(DepositError::Order { want, got }) if got < want => {}
            Err(e) => return Err(e),
        }
        Ok(self.engine.next_deposit())
    }

    /// Place in the L1 queue that comes next.
    pub(crate) fn next_deposit(&self) -> u64 {
        self.engine.next_deposit()
    }

    fn order(&mut self, account: u32, side: u8, price_ticks: i64, lots: i64, time_in_force: u8) {
        self.requests += 1;
        self.ask(
            account,
            NewOrder {
                cl_ord_id: self.requests,
                price: price_ticks * TICK_MICRO * 1_000,
                quantity: lots,
                expire_time: 0,
                smp_id: 0,
                account,
                instrument: 0,
                side,
                ord_type: ORD_LIMIT,
                time_in_force,
                flags: 0,
                stp_mode: 0,
                mmp_group: 0,
                pad1: 0,
            },
        );
    }

    /// The maker offers at two prices and the taker takes all of the first and part of the second.
    pub(crate) fn trade(&mut self) {
        let before = self.engine.counters().fills;
        self.order(MAKER, 1, 60_000, 20, TIF_GTC);
        self.order(MAKER, 1, 60_010, 20, TIF_GTC);
        self.order(TAKER, 0, 60_010, 30, TIF_IOC);
        assert_eq!(self.engine.counters().fills, before + 2);
    }

    /// The owner of an account takes money out.
    pub(crate) fn withdraw(&mut self, account: u32, amount_micro: i64) {
        self.requests += 1;
        let before = self.engine.counters().withdrawals;
        self.ask(
            account,
            Withdraw {
                cl_ord_id: self.requests,
                amount: amount_micro,
                account,
                pad1: 0,
            },
        );
        assert_eq!(self.engine.counters().withdrawals, before + 1, "granted");
    }

    /// Closes the open batch and gives its number.
    pub(crate) fn seal(&mut self) -> u64 {
        let batch_no = self.engine.batch_no();
        self.venue(&InTimer {
            flags: TIMER_SEAL | TIMER_OPERATOR,
            pad1: 0,
        });
        assert_eq!(self.engine.batch_no(), batch_no + 1, "sealed");
        batch_no
    }
}
