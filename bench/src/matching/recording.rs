//! A workload as the requests of members: who asks, for which account, by which name.
//!
//! Orders are spread over accounts, and accounts over members. A cancel or replace goes by the client's id
//! while that is young, and by the venue's id otherwise; the venue's id is known only after the order was
//! accepted, so the requests are recorded once from a venue that runs, and played back from then on.

use super::workload::{Command, Op, Totals, Workload};
use anyhow::{Result, ensure};
use bytemuck::Zeroable;
use firmware::gate::{self, Gate, GateInstrument, Rates};
use firmware::limits::{GATE_ACCOUNTS, ORDER_LOTS_MAX, POSITION_LOTS_MAX};
use firmware::units::{AccountId, InstrumentId, MemberId, PriceTicks, TimeNs};
use firmware::wire::input::{InAccount, InDeposit, InDomain, InInstrument, InOracle};
use firmware::wire::order::{Cancel, NewOrder, ORD_LIMIT, Replace, Request, TIF_GTC, TIF_IOC};
use firmware::wire::report::Report;
use matcher::book::{BOOK_ORDERS_MAX, LadderBook, OrderBook};
use matcher::engine::{Engine, EngineLimits};
use matcher::instrument::{Collar, InstrumentKind, InstrumentSpec};
use matcher::outbox::{Outbox, Outcome};
use matcher::risk_table::{RiskParams, VolInput, build_table};
use matcher::sequencer::{Sequenced, Sequencer};
use matcher::table::RiskTable;

pub(super) const INSTRUMENT: InstrumentId = InstrumentId(0);
/// When everything happens.
pub(super) const NOW: TimeNs = TimeNs(1_750_000_000_000_000_000);
/// A tick of the price, micro-units.
const TICK_MICRO: i64 = 100_000;
/// A tick as prices stand on the wire.
pub(super) const TICK_E9: i64 = TICK_MICRO * 1_000;
/// A lot is 0.01 of the underlying: a tick of a lot is worth 1,000 micro-units.
const LOT_E9: i64 = 10_000_000;
/// Collateral of each account, micro-units: no order of a workload is refused for want of it.
const DEPOSIT_MICRO: u64 = 1 << 52;
/// Members that share the accounts.
pub(super) const MEMBERS: u32 = 8;
/// A client's id is used for so many commands after it was given.
const YOUNG: u64 = 4_000;

/// The requests of a workload, warm-up and timed part, in order.
pub(super) struct Recording {
    pub(super) name: String,
    pub(super) accounts: u32,
    pub(super) requests: Vec<(MemberId, Request)>,
    pub(super) warmup: usize,
    listing: InInstrument,
    table: Box<RiskTable>,
}

/// The member that trades for an account.
pub(super) const fn member_of(account: u32) -> MemberId {
    MemberId(1 + account % MEMBERS)
}

/// Spreads ids over accounts `1..=accounts`.
const fn account_of(id: u32, accounts: u32) -> u32 {
    let spread = (id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    1 + ((spread * accounts as u64) >> 32) as u32
}

impl Recording {
    /// Runs the workload once, request by request.
    pub(super) fn of(workload: &Workload, accounts: u32) -> Result<Self> {
        ensure!(
            (1..GATE_ACCOUNTS as u32).contains(&accounts),
            "accounts: 1 to {}",
            GATE_ACCOUNTS - 1
        );
        let spec = spec(workload);
        let played = workload.warmup().len() + workload.timed().len();
        let mut recording = Self {
            name: workload.name.clone(),
            accounts,
            requests: Vec::with_capacity(played),
            warmup: workload.warmup().len(),
            listing: listing(&spec),
            table: table(&spec, workload)?,
        };
        let mut venue = recording.venue::<LadderBook>()?;
        let mut gate = recording.gate();
        let mut names = vec![Name::default(); workload.id_max as usize + 1];
        for (i, command) in workload.commands[..played].iter().enumerate() {
            let number = i as u64 + 1;
            let (member, request) = ask(command, number, names[command.id as usize], accounts);
            venue.request(&mut gate, member, number, request);
            if let Some(order_id) = venue.named() {
                names[command.id as usize] = Name {
                    order_id,
                    cl_ord_id: number,
                };
            }
            recording.requests.push((member, request));
        }
        Ok(recording)
    }

    /// A venue with everything listed, funded and priced, before the first request.
    pub(super) fn venue<B: OrderBook>(&self) -> Result<Venue<B>> {
        self.venue_told(|_| {})
    }

    /// As [`venue`](Self::venue); tells each input that makes it.
    pub(super) fn venue_told<B: OrderBook>(
        &self,
        mut told: impl FnMut(&Sequenced<'_>),
    ) -> Result<Venue<B>> {
        let limits = EngineLimits {
            accounts: GATE_ACCOUNTS,
            orders: BOOK_ORDERS_MAX,
            ..EngineLimits::default()
        };
        let engine = Engine::new(limits)?;
        let mut venue = Venue {
            engine,
            sequencer: Sequencer::new(),
            out: Outbox::new(),
            tally: Tally::default(),
        };
        venue.input(
            &InDomain {
                delta_threshold_ppm: 20_000,
                initial_extra_ppm: 200_000,
                settlement_interval_ns: u64::MAX,
                oracle_stale_ns: u64::MAX,
                orders: limits.orders,
                accounts: limits.accounts as u32,
                members: limits.members,
                instruments: limits.instruments.into(),
            },
            &mut told,
        );
        venue.input(&self.listing, &mut told);
        for account in 1..=self.accounts {
            let member = member_of(account).0;
            venue.input(&InAccount { account, member }, &mut told);
            venue.input(
                &InDeposit {
                    queue_index: u64::from(account) - 1,
                    amount: DEPOSIT_MICRO,
                    account,
                    owner: [account as u8 | 0x40; 20],
                    key: [0; 32],
                },
                &mut told,
            );
        }
        venue.input(
            &InOracle {
                report_no: 0,
                timestamp: NOW.0,
                index_micro: self.table.index_micro,
                vol0_e9: 0,
                vol1_e9: 0,
                vol2_e9: 0,
                vol3_e9: 0,
                key_id: 0,
                pad1: 0,
                signature: [0; 64],
            },
            &mut told,
        );
        venue.input(&*self.table, &mut told);
        venue.tally = Tally::default();
        Ok(venue)
    }

    /// The gate of that venue.
    pub(super) fn gate(&self) -> Box<Gate> {
        let mut gate = Box::new(Gate::new());
        let instrument = GateInstrument {
            tick_e9: TICK_E9,
            base: PriceTicks(self.listing.base_ticks),
            width_ticks: self.listing.width_ticks,
            order_lots_max: self.listing.order_lots_max,
            tick2_from: PriceTicks(0),
            tick2_multiple: 0,
        };
        let mut done = gate.list(INSTRUMENT, instrument);
        let rates = Rates {
            requests_per_second: u32::MAX,
            quotes_per_second: u32::MAX,
        };
        for member in 1..=MEMBERS {
            // No request of a workload is throttled: all of them come at one moment.
            done &= gate.add_member(MemberId(member), rates);
        }
        for account in 1..=self.accounts {
            done &= gate.bind_account(AccountId(account), member_of(account));
        }
        assert!(done, "the gate has room for the members and accounts");
        gate
    }
}

/// How an order is known.
#[derive(Clone, Copy, Default)]
struct Name {
    order_id: u64,
    cl_ord_id: u64,
}

/// The request that a command becomes; `number` is its client id, and `name` that of the order before.
fn ask(c: &Command, number: u64, name: Name, accounts: u32) -> (MemberId, Request) {
    let account = account_of(c.id, accounts);
    let young = number - name.cl_ord_id < YOUNG;
    let (order_id, orig_cl_ord_id) = if young {
        (0, name.cl_ord_id)
    } else {
        (name.order_id, 0)
    };
    let price = i64::from(c.price) * TICK_E9;
    let request = match c.op {
        Op::Limit | Op::Ioc => Request::NewOrder(NewOrder {
            cl_ord_id: number,
            price,
            quantity: c.lots.into(),
            expire_time: 0,
            smp_id: 0,
            account,
            instrument: INSTRUMENT.0,
            side: c.side as u8,
            ord_type: ORD_LIMIT,
            time_in_force: if c.op == Op::Ioc { TIF_IOC } else { TIF_GTC },
            flags: 0,
            stp_mode: 0,
            mmp_group: 0,
            pad1: 0,
        }),
        Op::Cancel => Request::Cancel(Cancel {
            cl_ord_id: number,
            order_id,
            orig_cl_ord_id,
            account,
            instrument: INSTRUMENT.0,
            pad1: 0,
        }),
        Op::Replace => Request::Replace(Replace {
            cl_ord_id: number,
            order_id,
            orig_cl_ord_id,
            price,
            quantity: c.lots.into(),
            account,
            instrument: INSTRUMENT.0,
            flags: 0,
            pad1: 0,
        }),
    };
    (member_of(account), request)
}

/// Sequencer and engine, with what their outcomes add up to.
pub(super) struct Venue<B> {
    pub(super) engine: Engine<B>,
    pub(super) sequencer: Sequencer,
    pub(super) out: Outbox,
    pub(super) tally: Tally,
}

/// What the outcomes add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) totals: Totals,
    pub(super) rejects: u64,
    pub(super) batches: u64,
}

impl Tally {
    /// Reads the outcomes of one request once, as the side does that sends them.
    #[inline]
    pub(super) fn read(&mut self, out: &Outbox) {
        let mut taker = 0;
        for outcome in out.outcomes() {
            match outcome {
                Outcome::Report(_, Report::Filled(m)) if m.liquidity == 1 => taker = m.cl_ord_id,
                Outcome::Report(_, Report::Filled(m)) => self.totals.add(
                    m.cl_ord_id as u32,
                    taker as u32,
                    (m.price / TICK_E9) as i32,
                    m.quantity as u32,
                ),
                Outcome::Report(_, Report::Rejected(_)) => self.rejects += 1,
                _ => {}
            }
        }
        self.batches += out.sealed().count() as u64;
    }
}

impl<B: OrderBook> Venue<B> {
    fn input<'a>(
        &mut self,
        input: impl Into<matcher::sequencer::Input<'a>>,
        told: &mut impl FnMut(&Sequenced<'_>),
    ) {
        let input = self.sequencer.venue(input, NOW);
        told(&input);
        self.engine.apply(&input, &mut self.out);
    }

    fn request(&mut self, gate: &mut Gate, member: MemberId, client_seq: u64, request: Request) {
        let command = gate::Command {
            member,
            client_seq,
            rx_time: NOW,
            request,
        };
        let checked = gate.check(&command, NOW);
        let input = match &checked {
            Ok(admitted) => self.sequencer.admit(admitted, NOW),
            Err(refused) => self.sequencer.session(member, refused, NOW),
        };
        self.engine.apply(&input, &mut self.out);
    }

    /// The name that the last request gave to an order.
    fn named(&self) -> Option<u64> {
        self.out.outcomes().iter().find_map(|o| match o {
            Outcome::Report(_, Report::Accepted(m)) => Some(m.order_id),
            Outcome::Report(_, Report::Replaced(m)) => Some(m.order_id),
            _ => None,
        })
    }
}

/// A perpetual whose band and collar hold every price of the workload.
fn spec(workload: &Workload) -> InstrumentSpec {
    InstrumentSpec {
        id: INSTRUMENT,
        kind: InstrumentKind::Perpetual,
        lot_e9: LOT_E9,
        tick_micro: TICK_MICRO,
        collar: Collar::Ticks(workload.width_ticks()),
        book_base_ticks: workload.price_min,
        book_width_ticks: workload.width_ticks() as i32,
        order_lots_max: ORDER_LOTS_MAX,
        position_lots_max: POSITION_LOTS_MAX,
    }
}

fn listing(spec: &InstrumentSpec) -> InInstrument {
    InInstrument {
        strike_micro: 0,
        expiry: 0,
        lot_e9: spec.lot_e9,
        tick_micro: spec.tick_micro,
        order_lots_max: spec.order_lots_max,
        position_lots_max: spec.position_lots_max,
        base_ticks: spec.book_base_ticks,
        width_ticks: spec.book_width_ticks,
        collar_ppm: 0,
        instrument: spec.id.0,
        kind: 0,
        vol_slot: 0,
        state: firmware::wire::feed::STATE_OPEN,
        ..InInstrument::zeroed()
    }
}

/// The table that the venue's own pricing makes, the index in the middle of the prices.
fn table(spec: &InstrumentSpec, workload: &Workload) -> Result<Box<RiskTable>> {
    let middle = (i64::from(workload.price_min) + i64::from(workload.price_max)) / 2;
    let params = RiskParams {
        maker_fee_ppm: -100,
        ..RiskParams::default()
    };
    let vol = VolInput::flat(600_000_000);
    let specs = std::slice::from_ref(spec);
    Ok(build_table(
        1,
        NOW,
        middle * TICK_MICRO,
        &vol,
        &params,
        specs,
    )?)
}
