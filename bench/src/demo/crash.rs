//! One account through a fall of prices: the engine that the venue runs, with a seeded path and two makers, from the
//! opening trade to the last step of its liquidation. It is no part of the day that the demo trades: that day is too
//! short and too calm to liquidate anybody.

use crate::prng::Prng;
use anyhow::{Result, ensure};
use bytemuck::Zeroable;
use firmware::gate::{self, Gate, GateInstrument, Rates};
use firmware::limits::TIER_INSTRUMENTS;
use firmware::units::{AccountId, InstrumentId, MemberId, PriceTicks, Side, TimeNs};
use firmware::wire::input::{
    InAccount, InDeposit, InDomain, InInstrument, InOracle, InRiskRules, InTimer, KIND_PUT,
    RISK_LIQUIDATION,
};
use firmware::wire::order::{MassCancel, NewOrder, ORD_LIMIT, Request, SCOPE_ALL, TIF_GTC};
use firmware::wire::report::Report;
use firmware::wire::sbe::{BYTE_NULL, ID16_NULL};
use matcher::book::LadderBook;
use matcher::engine::{Engine, EngineLimits};
use matcher::instrument::{Collar, InstrumentKind, InstrumentSpec, OptionTerms};
use matcher::outbox::{Outbox, Outcome};
use matcher::risk_table::{RiskParams, VolInput, build_table};
use matcher::sequencer::{Input, Sequenced, Sequencer};

const SECOND: u64 = 1_000_000_000;
const BEGIN: u64 = 1_750_000_000 * SECOND;
/// Seconds that the story takes.
pub(crate) const SECONDS: u64 = 120;
const MICRO: i64 = 1_000_000;
const INDEX: i64 = 60_000 * MICRO;
const PERP: u16 = 0;
const PUT: u16 = 1;
/// The account that is watched, and its money in units.
const OWN: u32 = 1;
const STAKE: u64 = 3_900;
/// It is long so many lots of the perpetual, and short so many puts.
const LONG: i64 = 200;
const SHORT: i64 = 120;
/// Lots that a maker shows at a price.
const DEPTH: i64 = 12;

/// The account at the end of a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    pub(crate) at_s: u64,
    pub(crate) index_micro: i64,
    pub(crate) equity_micro: i64,
    pub(crate) maintenance_micro: i64,
    /// Lots of the perpetual and of the put.
    pub(crate) lots: [i64; 2],
}

/// A step of its liquidation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) at_s: u64,
    /// As in the report: 0 cancel, 1 close, 2 fund, 3 deleverage, 4 charge.
    pub(crate) step: u8,
    /// 0 perpetual, 1 put.
    pub(crate) instrument: Option<usize>,
    pub(crate) lots: i64,
}

/// What a settlement moved to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    pub(crate) at_s: u64,
    pub(crate) delta_leg_micro: i64,
    pub(crate) residual_micro: i64,
}

/// The story of the account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Crash {
    pub(crate) samples: Vec<Sample>,
    pub(crate) steps: Vec<Step>,
    pub(crate) moves: Vec<Move>,
}

struct Venue {
    gate: Box<Gate>,
    sequencer: Sequencer,
    engine: Engine<LadderBook>,
    out: Outbox,
    now: u64,
    names: u64,
    story: Crash,
}

/// Plays the story of a seed.
pub(crate) fn play(seed: u64) -> Result<Crash> {
    let mut v = Venue::open()?;
    let mut prng = Prng::new(seed, 0xC4A5);
    let mut index = INDEX;
    v.price(index)?;
    v.quote()?;
    v.order(OWN, PERP, Side::Buy, v.mark(PERP) * 1_005 / 1_000, LONG)?;
    v.order(OWN, PUT, Side::Sell, v.mark(PUT) * 985 / 1_000, SHORT)?;
    // A bid of its own for puts, far below what they are worth: the first step takes it off.
    v.order(OWN, PUT, Side::Buy, v.mark(PUT) * 600 / 1_000, 5)?;
    let held = v.sample(0, index)?;
    ensure!(
        held.lots == [LONG, -SHORT],
        "the opening trades did not fill: {held:?}"
    );
    for second in 1..SECONDS {
        v.now = BEGIN + second * SECOND;
        let noise = prng.below(1_601) as i64 - 800;
        let drift = match second {
            10..60 => -900,
            60 => -45_000,
            61..75 => -2_500,
            _ => 0,
        };
        index += index / MICRO * (noise + drift);
        v.price(index)?;
        v.quote()?;
        v.timer();
        v.sample(second, index)?;
    }
    Ok(v.story)
}

fn specs() -> [InstrumentSpec; 2] {
    let perp = InstrumentSpec {
        id: InstrumentId(PERP),
        kind: InstrumentKind::Perpetual,
        lot_e9: MICRO,
        tick_micro: 100_000,
        collar: Collar::PpmOfIndex(50_000),
        book_base_ticks: 300_000,
        book_width_ticks: 400_000,
        order_lots_max: 10_000,
        position_lots_max: 1_000_000,
    };
    let terms = OptionTerms {
        strike_micro: INDEX,
        expiry: TimeNs(BEGIN + 30 * 86_400 * SECOND),
    };
    let put = InstrumentSpec {
        id: InstrumentId(PUT),
        kind: InstrumentKind::Put(terms),
        tick_micro: MICRO,
        book_base_ticks: 1,
        book_width_ticks: 60_000,
        ..perp
    };
    [perp, put]
}

impl Venue {
    fn open() -> Result<Self> {
        let limits = EngineLimits {
            accounts: 8,
            orders: 1_024,
            members: 8,
            ..EngineLimits::default()
        };
        let mut v = Self {
            gate: Box::new(Gate::new()),
            sequencer: Sequencer::new(),
            engine: Engine::new(limits)?,
            out: Outbox::new(),
            now: BEGIN,
            names: 0,
            story: Crash::default(),
        };
        v.venue(&InDomain {
            delta_threshold_ppm: 500,
            initial_extra_ppm: 100_000,
            settlement_interval_ns: 5 * SECOND,
            oracle_stale_ns: 10 * SECOND,
            orders: limits.orders,
            accounts: limits.accounts as u32,
            members: limits.members,
            instruments: TIER_INSTRUMENTS as u32,
        });
        for spec in specs() {
            v.list(&spec)?;
        }
        for account in 1..=3 {
            v.bind(account)?;
        }
        v.venue(&InRiskRules {
            initial_extra_ppm: 100_000,
            exit_extra_ppm: 100_000,
            liquidation_fee_ppm: 5_000,
            slice_ppm: 250_000,
            switches: RISK_LIQUIDATION,
            ..InRiskRules::zeroed()
        });
        Ok(v)
    }

    fn list(&mut self, spec: &InstrumentSpec) -> Result<()> {
        let listing = InInstrument {
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
            kind: if spec.id.0 == PUT { KIND_PUT } else { 0 },
            state: firmware::wire::feed::STATE_OPEN,
            ..InInstrument::zeroed()
        };
        self.engine.check_listing(&listing)?;
        let gate = GateInstrument {
            tick_e9: spec.tick_micro * 1_000,
            base: PriceTicks(spec.book_base_ticks),
            width_ticks: spec.book_width_ticks,
            order_lots_max: spec.order_lots_max,
            tick2_from: PriceTicks(0),
            tick2_multiple: 0,
        };
        ensure!(self.gate.list(spec.id, gate), "the gate has no such id");
        self.venue(&listing);
        Ok(())
    }

    /// Account `n` is member `n`'s; all but the first are rich.
    fn bind(&mut self, account: u32) -> Result<()> {
        let rates = Rates {
            requests_per_second: 1_000_000,
            quotes_per_second: 1_000_000,
        };
        let bound = self.gate.add_member(MemberId(account), rates)
            && self
                .gate
                .bind_account(AccountId(account), MemberId(account));
        ensure!(bound, "the gate has no account {account}");
        self.venue(&InAccount {
            account,
            member: account,
        });
        let units = if account == OWN { STAKE } else { 10_000_000 };
        let deposit = InDeposit {
            queue_index: self.engine.next_deposit(),
            amount: units * MICRO as u64,
            account,
            owner: [account as u8; 20],
            key: [0; 32],
        };
        self.engine.check_deposit(&deposit)?;
        self.venue(&deposit);
        Ok(())
    }

    fn venue<'a>(&mut self, input: impl Into<Input<'a>>) {
        let input = self.sequencer.venue(input, TimeNs(self.now));
        self.apply(&input);
    }

    fn apply(&mut self, input: &Sequenced<'_>) {
        self.engine.apply(input, &mut self.out);
        let at_s = (self.now - BEGIN) / SECOND;
        let known = |i: u16| (i != ID16_NULL).then_some(usize::from(i));
        for outcome in self.out.outcomes() {
            match outcome {
                Outcome::Report(_, Report::LiquidationReport(m)) if m.account == OWN => {
                    self.story.steps.push(Step {
                        at_s,
                        step: m.step,
                        instrument: known(m.instrument),
                        lots: m.quantity,
                    });
                }
                Outcome::Report(_, Report::SettlementReport(m)) if m.account == OWN => {
                    self.story.moves.push(Move {
                        at_s,
                        delta_leg_micro: m.delta_leg,
                        residual_micro: m.residual,
                    });
                }
                _ => {}
            }
        }
    }

    fn request(&mut self, member: u32, request: impl Into<Request>) -> Result<()> {
        self.names += 1;
        let command = gate::Command {
            member: MemberId(member),
            client_seq: self.names,
            rx_time: TimeNs(self.now),
            request: request.into(),
        };
        let admitted = self.gate.check(&command, TimeNs(self.now));
        let admitted = admitted.map_err(|r| anyhow::anyhow!("the gate refused: {}", r.reason))?;
        let input = self.sequencer.admit(&admitted, TimeNs(self.now));
        self.apply(&input);
        Ok(())
    }

    /// Mark in micro-units of a lot.
    fn mark(&self, instrument: u16) -> i64 {
        let table = self.engine.table();
        table.map_or(0, |t| t.columns[usize::from(instrument)].mark_micro)
    }

    /// An order for so many micro-units a lot, to the nearest tick.
    fn order(
        &mut self,
        account: u32,
        instrument: u16,
        side: Side,
        lot_micro: i64,
        lots: i64,
    ) -> Result<()> {
        let spec = specs()[usize::from(instrument)];
        let tick_value = i64::from(spec.tick_value_micro()?);
        let order = NewOrder {
            cl_ord_id: self.names + 1,
            price: (lot_micro / tick_value).max(1) * spec.tick_micro * 1_000,
            quantity: lots,
            account,
            instrument,
            side: side as u8,
            ord_type: ORD_LIMIT,
            time_in_force: TIF_GTC,
            ..NewOrder::zeroed()
        };
        self.request(account, order)
    }

    /// Both makers show both sides anew; the first time with room for the opening trades.
    fn quote(&mut self) -> Result<()> {
        let depth = if self.now == BEGIN { LONG } else { DEPTH };
        for (maker, away) in [(2, 2), (3, 4)] {
            self.request(
                maker,
                MassCancel {
                    cl_ord_id: self.names + 1,
                    account: maker,
                    instrument: ID16_NULL,
                    side: BYTE_NULL,
                    scope: SCOPE_ALL,
                    ..MassCancel::zeroed()
                },
            )?;
            for instrument in [PERP, PUT] {
                let mark = self.mark(instrument);
                self.order(
                    maker,
                    instrument,
                    Side::Buy,
                    mark * (1_000 - away) / 1_000,
                    depth,
                )?;
                self.order(
                    maker,
                    instrument,
                    Side::Sell,
                    mark * (1_000 + away) / 1_000,
                    depth,
                )?;
            }
        }
        Ok(())
    }

    fn price(&mut self, index_micro: i64) -> Result<()> {
        self.venue(&InOracle {
            timestamp: self.now,
            index_micro,
            ..InOracle::zeroed()
        });
        let epoch = self.engine.table().map_or(0, |t| t.epoch) + 1;
        let table = build_table(
            epoch,
            TimeNs(self.now),
            index_micro,
            &VolInput::flat(600_000_000),
            &RiskParams::default(),
            &specs(),
        )?;
        self.venue(&table);
        Ok(())
    }

    fn timer(&mut self) {
        self.venue(&InTimer::zeroed());
    }

    fn sample(&mut self, at_s: u64, index_micro: i64) -> Result<Sample> {
        let account = self.engine.accounts().get(AccountId(OWN));
        let account = account.ok_or_else(|| anyhow::anyhow!("no account {OWN}"))?;
        let positions = &account.leaf.positions;
        let sample = Sample {
            at_s,
            index_micro,
            equity_micro: account.equity_micro(),
            maintenance_micro: account.maintenance_micro(),
            lots: [positions[usize::from(PERP)], positions[usize::from(PUT)]],
        };
        self.story.samples.push(sample);
        self.engine.assert_conserved();
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_cancelled_closed_step_by_step_and_left_above_its_margin() {
        for seed in [1, 42] {
            let story = play(seed).unwrap();
            assert_eq!(story, play(seed).unwrap());
            let before = story
                .samples
                .iter()
                .take_while(|s| s.equity_micro >= s.maintenance_micro);
            let first = story.steps.first().expect("a liquidation");
            assert!(before.count() as u64 >= first.at_s && first.at_s > 10);
            assert_eq!((first.step, first.lots), (0, 1), "its bid goes first");
            let closed = |i: usize| -> i64 {
                let of = story
                    .steps
                    .iter()
                    .filter(|s| s.step == 1 && s.instrument == Some(i));
                of.map(|s| s.lots).sum()
            };
            let last = story.samples.last().unwrap();
            assert_eq!([LONG - closed(0), closed(1) - SHORT], last.lots);
            assert!(closed(0) + closed(1) > 20, "{:?}", story.steps);
            assert!(last.equity_micro > 0 && last.equity_micro >= last.maintenance_micro);
            assert!(story.moves.len() > 50);
            assert!(story.moves.iter().any(|m| m.residual_micro != 0));
        }
    }
}
