//! A small venue for tests: gate, sequencer and engine as they are wired in the daemon, with the
//! journal kept in memory and everything audited after every event.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod audit;
pub(crate) mod day;
pub(crate) mod feed_book;
pub(crate) mod machine;
pub(crate) mod script;
pub(crate) mod watch;

use bytemuck::Zeroable;
use firmware::gate::{Command, Gate, GateInstrument, QuoteCommand, Rates};
use firmware::limits::{MEMBERS, TIER_INSTRUMENTS};
use firmware::units::{AccountId, InstrumentId, MemberId, PriceTicks, TimeNs};
use firmware::wire::feed::STATE_OPEN;
use firmware::wire::input::{
    InAccount, InDelist, InDeposit, InDomain, InGap, InInstrument, InOracle, InRiskRules,
    InSession, InTimer, RISK_EXPIRY, RISK_FUNDING, RISK_LIQUIDATION,
};
use firmware::wire::order::Request;
use firmware::wire::quote::{MassQuote, QuoteEntry, QuoteView, encode_quote};
use firmware::wire::sbe::Message;
use matcher::book::OrderBook;
use matcher::engine::{DepositError, Engine, EngineLimits, ListingError};
use matcher::instrument::{Collar, InstrumentKind, InstrumentSpec, OptionTerms};
use matcher::outbox::Outbox;
use matcher::risk_table::{RiskParams, VolInput, build_table};
use matcher::sequencer::{Input, Sequenced, Sequencer};
use matcher::table::RiskTable;

/// The instruments. Their ids leave holes, so that an index mistaken for a position shows.
pub(crate) const PERP: u16 = 0;
/// A call at 100 that expires 30 days after [`T0`].
pub(crate) const CALL: u16 = 3;
/// A put at 95 that expires 60 days after [`T0`], in the last column.
pub(crate) const PUT: u16 = 15;
pub(crate) const ALL: [u16; 3] = [PERP, CALL, PUT];
/// When tests begin.
pub(crate) const T0: u64 = 1_750_000_000_000_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const DAY: u64 = 86_400 * SECOND;
/// The index that tests begin with: 100 units.
pub(crate) const INDEX: i64 = 100_000_000;
/// An oracle report older than this stops orders that may add risk.
pub(crate) const STALE: u64 = 10 * SECOND;
/// A settlement runs when so much time has passed.
pub(crate) const INTERVAL: u64 = 60 * SECOND;
/// Accounts of the domain.
pub(crate) const ACCOUNTS: usize = 160;

/// A tick of the perpetual is 0.1 and of the options 0.01; a lot is 0.01 of the underlying.
pub(crate) fn specs() -> [InstrumentSpec; 3] {
    let perp = InstrumentSpec {
        id: InstrumentId(PERP),
        kind: InstrumentKind::Perpetual,
        lot_e9: 10_000_000,
        tick_micro: 100_000,
        collar: Collar::PpmOfIndex(50_000),
        book_base_ticks: 400,
        book_width_ticks: 1_300,
        order_lots_max: 10_000,
        position_lots_max: 6_000,
    };
    let option = InstrumentSpec {
        tick_micro: 10_000,
        book_base_ticks: 1,
        book_width_ticks: 6_000,
        ..perp
    };
    let terms = |strike_micro, days| OptionTerms {
        strike_micro,
        expiry: TimeNs(T0 + days * DAY),
    };
    [
        perp,
        InstrumentSpec {
            id: InstrumentId(CALL),
            kind: InstrumentKind::Call(terms(100_000_000, 30)),
            ..option
        },
        InstrumentSpec {
            id: InstrumentId(PUT),
            kind: InstrumentKind::Put(terms(95_000_000, 60)),
            ..option
        },
    ]
}

fn listing(spec: &InstrumentSpec) -> InInstrument {
    InInstrument {
        strike_micro: spec.kind.strike_micro().unwrap_or(0),
        expiry: spec.kind.expiry().map_or(0, |e| e.0),
        lot_e9: spec.lot_e9,
        tick_micro: spec.tick_micro,
        order_lots_max: spec.order_lots_max,
        position_lots_max: spec.position_lots_max,
        base_ticks: spec.book_base_ticks,
        width_ticks: spec.book_width_ticks,
        collar_ppm: 50_000,
        instrument: spec.id.0,
        kind: match spec.kind {
            InstrumentKind::Perpetual => 0,
            InstrumentKind::Call(_) => 1,
            InstrumentKind::Put(_) => 2,
            InstrumentKind::Future { .. } => 3,
            kind => unreachable!("no test lists {kind:?}"),
        },
        state: STATE_OPEN,
        ..InInstrument::zeroed()
    }
}

/// So fast that no test is throttled.
const UNTHROTTLED: Rates = Rates {
    requests_per_second: 1_000_000_000,
    quotes_per_second: 1_000_000_000,
};

/// What the next risk table is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Market {
    pub(crate) index_micro: i64,
    pub(crate) vol_e9: i64,
    pub(crate) taker_fee_ppm: i32,
    pub(crate) maker_fee_ppm: i32,
}

impl Default for Market {
    fn default() -> Self {
        Self {
            index_micro: INDEX,
            vol_e9: 600_000_000,
            taker_fee_ppm: 500,
            maker_fee_ppm: -100,
        }
    }
}

/// Parameters of the domain: settlements at a move of 2 % or every [`INTERVAL`].
pub(crate) const DOMAIN: InDomain = InDomain {
    delta_threshold_ppm: 20_000,
    initial_extra_ppm: 200_000,
    settlement_interval_ns: INTERVAL,
    oracle_stale_ns: STALE,
    orders: 0,
    accounts: ACCOUNTS as u32,
    members: MEMBERS as u32,
    instruments: TIER_INSTRUMENTS as u32,
};

/// Rules of risk with everything on: funding each ten seconds, slices of a quarter.
pub(crate) const RULES: InRiskRules = InRiskRules {
    effective_time: 0,
    funding_interval_ns: 10 * SECOND,
    funding_period_ns: 60 * SECOND,
    expiry_window_ns: 60 * SECOND,
    impact_lots: 2,
    vault_delta_e9: 0,
    funding_clamp_ppm: 5_000,
    initial_extra_ppm: 200_000,
    exit_extra_ppm: 50_000,
    liquidation_fee_ppm: 5_000,
    slice_ppm: 250_000,
    vault_account: 0,
    vault_instrument: 0,
    switches: RISK_FUNDING | RISK_EXPIRY | RISK_LIQUIDATION,
    pad1: 0,
    short_option_bp: 0,
    option_haircut_bp: 0,
};

/// One record of the journal, its body aligned as the journal's reader aligns it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    seq: u64,
    time_ns: u64,
    template: u16,
    member: u32,
    len: usize,
    words: Vec<u64>,
}

impl Record {
    fn of(input: &Sequenced<'_>) -> Self {
        let bytes = input.input().bytes();
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self {
            seq: input.seq().0,
            time_ns: input.time().0,
            template: input.input().template(),
            member: input.member().0,
            len: bytes.len(),
            words,
        }
    }

    /// The input as it comes out of a journal.
    pub(crate) fn replay(&self, sequencer: &mut Sequencer, apply: impl FnOnce(&Sequenced<'_>)) {
        let body = &bytemuck::cast_slice::<u64, u8>(&self.words)[..self.len];
        let input = sequencer
            .replay(self.seq, self.time_ns, self.template, self.member, body)
            .expect("a record follows the one before");
        apply(&input);
    }
}

/// Address of the owner of an account.
pub(crate) fn owner_of(account: u32) -> [u8; 20] {
    let mut owner = [0xA0; 20];
    owner[16..].copy_from_slice(&account.to_be_bytes());
    owner
}

/// Gate, sequencer and engine.
#[derive(Debug)]
pub(crate) struct Venue<B> {
    pub(crate) gate: Box<Gate>,
    pub(crate) sequencer: Sequencer,
    pub(crate) engine: Engine<B>,
    pub(crate) out: Outbox,
    pub(crate) market: Market,
    pub(crate) now: u64,
    /// What risk tables are made for.
    pub(crate) specs: Vec<InstrumentSpec>,
    /// Kept when the test asks for it: a run that counts allocations does not.
    pub(crate) journal: Option<Vec<Record>>,
    client_seq: Vec<u64>,
}

impl<B: OrderBook> Venue<B> {
    /// A venue with its instruments listed and its domain set, but no table yet.
    pub(crate) fn new(orders: u32) -> Self {
        let limits = EngineLimits {
            accounts: ACCOUNTS,
            orders,
            ..EngineLimits::default()
        };
        let mut venue = Self {
            gate: Box::new(Gate::new()),
            sequencer: Sequencer::new(),
            engine: Engine::new(limits).expect("the limits are sound"),
            out: Outbox::new(),
            market: Market::default(),
            now: T0,
            specs: Vec::new(),
            journal: Some(Vec::new()),
            client_seq: vec![0; 64],
        };
        venue.venue(&InDomain { orders, ..DOMAIN });
        for spec in specs() {
            venue.list(&spec).expect("the specifications are sound");
        }
        venue
    }

    /// Lists an instrument, asked for as the daemon does.
    pub(crate) fn list(&mut self, spec: &InstrumentSpec) -> Result<(), ListingError> {
        let record = listing(spec);
        self.engine.check_listing(&record)?;
        let gate = GateInstrument {
            tick_e9: spec.tick_micro * 1_000,
            base: PriceTicks(spec.book_base_ticks),
            width_ticks: spec.book_width_ticks,
            order_lots_max: spec.order_lots_max,
            tick2_from: PriceTicks(0),
            tick2_multiple: 0,
        };
        assert!(self.gate.list(spec.id, gate));
        self.venue(&record);
        self.specs.push(*spec);
        Ok(())
    }

    /// Delists one, asked for as the daemon does.
    pub(crate) fn delist(&mut self, instrument: u16) -> Result<(), ListingError> {
        let record = InDelist {
            instrument,
            ..InDelist::zeroed()
        };
        self.engine.check_delisting(&record)?;
        self.gate.delist(InstrumentId(instrument));
        self.venue(&record);
        self.specs.retain(|spec| spec.id.0 != instrument);
        Ok(())
    }

    /// Lets a member trade for an account.
    pub(crate) fn bind(&mut self, account: u32, member: u32) {
        assert!(self.gate.add_member(MemberId(member), UNTHROTTLED));
        assert!(self.gate.bind_account(AccountId(account), MemberId(member)));
        self.venue(&InAccount { account, member });
    }

    fn run(&mut self, input: &Sequenced<'_>) {
        if let Some(journal) = &mut self.journal {
            journal.push(Record::of(input));
        }
        self.engine.apply(input, &mut self.out);
    }

    /// An input of the venue itself.
    pub(crate) fn venue<'a>(&mut self, input: impl Into<Input<'a>>) {
        let input = self.sequencer.venue(input, TimeNs(self.now));
        self.run(&input);
    }

    /// A request of a member, through the gate.
    pub(crate) fn request(&mut self, member: u32, request: impl Into<Request>) {
        self.client_seq[member as usize] += 1;
        let command = Command {
            member: MemberId(member),
            client_seq: self.client_seq[member as usize],
            rx_time: TimeNs(self.now),
            request: request.into(),
        };
        let now = TimeNs(self.now);
        match self.gate.check(&command, now) {
            Ok(admitted) => {
                let input = self.sequencer.admit(&admitted, now);
                self.run(&input);
            }
            Err(refused) => {
                let input = self.sequencer.session(MemberId(member), &refused, now);
                self.run(&input);
            }
        }
    }

    /// A mass quote of a member, through the gate.
    pub(crate) fn quote(&mut self, member: u32, head: &MassQuote, entries: &[QuoteEntry]) {
        self.client_seq[member as usize] += 1;
        let mut bytes = vec![0; 2048];
        bytes[..8].copy_from_slice(bytemuck::bytes_of(&MassQuote::HEADER));
        let len = encode_quote(head, entries, &mut bytes[8..]).expect("at most 32 entries");
        let command = QuoteCommand {
            member: MemberId(member),
            client_seq: self.client_seq[member as usize],
            rx_time: TimeNs(self.now),
            quote: QuoteView::decode(&bytes[..8 + len]).expect("just encoded"),
        };
        let now = TimeNs(self.now);
        match self.gate.check_quote(&command, now) {
            Ok(admitted) => {
                let input = self.sequencer.admit_quote(&admitted, now);
                self.run(&input);
            }
            Err(refused) => {
                let input = self.sequencer.session(MemberId(member), &refused, now);
                self.run(&input);
            }
        }
    }

    /// Number of the member's last request.
    pub(crate) fn client_seq(&self, member: u32) -> u64 {
        self.client_seq[member as usize]
    }

    /// The next deposit of the L1 queue, asked for as the daemon does.
    pub(crate) fn deposit(&mut self, account: u32, amount: u64) -> Result<(), DepositError> {
        let deposit = InDeposit {
            queue_index: self.engine.next_deposit(),
            amount,
            account,
            owner: owner_of(account),
            key: [0; 32],
        };
        self.engine.check_deposit(&deposit)?;
        self.venue(&deposit);
        Ok(())
    }

    /// A member's session begins or ends.
    pub(crate) fn session(&mut self, member: u32, event: u8, cod_policy: u8) {
        let body = InSession {
            session_id: 1,
            event,
            cod_policy,
            pad1: 0,
            pad2: 0,
        };
        let now = TimeNs(self.now);
        let input = self.sequencer.session(MemberId(member), &body, now);
        self.run(&input);
    }

    /// A member's flow skips numbers.
    pub(crate) fn gap(&mut self, member: u32, count: u64) {
        let from_seq_no = self.client_seq[member as usize] + 1;
        self.client_seq[member as usize] += count;
        let body = InGap { from_seq_no, count };
        let now = TimeNs(self.now);
        let input = self.sequencer.session(MemberId(member), &body, now);
        self.run(&input);
    }

    /// A fresh oracle report; the engine reads only its time.
    pub(crate) fn oracle(&mut self) {
        self.venue(&InOracle {
            report_no: 0,
            timestamp: self.now,
            index_micro: self.market.index_micro,
            vol0_e9: self.market.vol_e9,
            vol1_e9: 0,
            vol2_e9: 0,
            vol3_e9: 0,
            key_id: 0,
            pad1: 0,
            signature: [0; 64],
        });
    }

    /// Time passes; see `TIMER_SEAL` and `TIMER_OPERATOR`.
    pub(crate) fn timer(&mut self, flags: u32) {
        self.venue(&InTimer { flags, pad1: 0 });
    }

    /// The table that the market makes.
    pub(crate) fn build(&self) -> Box<RiskTable> {
        let params = RiskParams {
            taker_fee_ppm: self.market.taker_fee_ppm,
            maker_fee_ppm: self.market.maker_fee_ppm,
            ..RiskParams::default()
        };
        let epoch = self.engine.table().map_or(0, |t| t.epoch) + 1;
        let vol = VolInput::flat(self.market.vol_e9);
        let now = TimeNs(self.now);
        let index = self.market.index_micro;
        build_table(epoch, now, index, &vol, &params, &self.specs).expect("the market is sound")
    }

    /// Adopts the table that the market makes.
    pub(crate) fn adopt(&mut self) {
        let table = self.build();
        self.venue(&table);
    }
}
