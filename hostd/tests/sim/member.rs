//! A member: programs of the real client library that come and go, and random requests.

use crate::invariant::hold;
use crate::options::MS;
use crate::tally::Tally;
use crate::venue::{DROP_COPY, SOCKETS, member_key, venue_key};
use crate::view::View;
use crate::wires::OrderWire;
use bytemuck::Zeroable;
use client::{
    Config, Credentials, EndReason, Event, MemberId, Report, Request, SendError, Session, Side,
    cancel, dead_man_timer, kill_switch, limit_order, market_order, mass_cancel, mass_quote,
    open_orders, positions, quote, reduce, unlock,
};
use firmware::reject::RejectCode;
use firmware::session::{COD_ALL, COD_FLAGGED, COD_NEVER};
use firmware::tag::{Suite, SuiteSet};
use firmware::units::TimeNs;
use firmware::wire::order::{
    FLAG_CANCEL_ON_DISCONNECT, FLAG_POST_ONLY, FLAG_REDUCE_ONLY, MmpConfig, MmpReset, NewOrder,
    Replace, TIF_FOK, TIF_GTD, TIF_IOC, Withdraw,
};
use hostd::nic::Endpoint;
use hostd::nic::sim::{Rng, SimNet, SimPeer};
use hostd::tiles::core::Core;
use hostd::tiles::egress::{ORDERS, ORDERS_B};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Templates of requests that must pass under any load: reduce, cancel, mass cancel, kill switch.
const CANCELS: [u16; 4] = [103, 104, 105, 107];

/// A member's address on each path.
pub(crate) fn address(member: u32, path: u8) -> Endpoint {
    Endpoint::new(Ipv4Addr::new(10, 1, path, member as u8), 4_000)
}

/// Where an instrument trades: the middle of its collar, its price step, its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Market {
    pub(crate) instrument: u16,
    pub(crate) middle_ticks: i64,
    pub(crate) tick_e9: i64,
}

impl Market {
    /// As the engine has it; none before the first risk table.
    pub(crate) fn of(core: &Core) -> Vec<Self> {
        let Some(table) = core.engine.table() else {
            return Vec::new();
        };
        let market = |(id, l): (&u16, &firmware::wire::input::InInstrument)| {
            let c = &table.columns[usize::from(*id)];
            Self {
                instrument: *id,
                middle_ticks: i64::from(c.collar_lo_ticks) + i64::from(c.collar_width_ticks) / 2,
                tick_e9: l.tick_micro * 1_000,
            }
        };
        core.listings.iter().map(market).collect()
    }
}

struct Program {
    session: Session<OrderWire>,
    heard: u64,
}

pub(crate) struct Member {
    pub(crate) id: MemberId,
    accounts: &'static [u32],
    /// All that any of its programs was ever told, by number from 1.
    pub(crate) told: Vec<Report>,
    pub(crate) view: View,
    program: Option<Program>,
    config: Config,
    both: bool,
    /// The program hangs until then.
    stalled_until: TimeNs,
    /// It logs in again then.
    back_at: TimeNs,
    next_id: u64,
    rng: Rng,
    tally: Tally,
}

fn session_config(member: u32, rng: &mut Rng) -> Config {
    let suite = [Suite::Aes128Gmac, Suite::SipHash24][rng.below(2) as usize];
    let credentials = Credentials {
        member: MemberId(member),
        key_id: 1,
        key: member_key(member),
        venue: venue_key().public(),
        suites: SuiteSet::only(suite),
    };
    let mut config = Config::new(SOCKETS[ORDERS].into(), credentials);
    config.keep_alive_ms = 40 + rng.below(200) as u32;
    config.cod_policy = [COD_NEVER, COD_FLAGGED, COD_ALL][rng.below(3) as usize];
    config.is_drop_copy = member == DROP_COPY;
    config
}

impl Member {
    pub(crate) fn new(
        id: u32,
        accounts: &'static [u32],
        both: bool,
        seed: u64,
        tally: &Tally,
    ) -> Self {
        let mut rng = Rng(seed);
        Self {
            id: MemberId(id),
            accounts,
            told: Vec::new(),
            view: View::default(),
            program: None,
            config: session_config(id, &mut rng),
            both,
            stalled_until: TimeNs(0),
            back_at: TimeNs(0),
            next_id: 1,
            rng,
            tally: tally.clone(),
        }
    }

    /// A program of the member starts; one that ran before is gone without a word.
    fn start(&mut self, net: &SimNet, now: TimeNs) {
        let own = [0, 1].map(|path| {
            net.close(address(self.id.0, path));
            SimPeer::open(net, &[address(self.id.0, path)]).unwrap()
        });
        let wire = OrderWire {
            own,
            venue: [SOCKETS[ORDERS], SOCKETS[ORDERS_B]],
            both: self.both,
        };
        let session = Session::start(self.config.clone(), wire, now).unwrap();
        self.program = Some(Program { session, heard: 0 });
        self.tally.count("program started");
    }

    pub(crate) fn is_open(&self) -> bool {
        self.program.as_ref().is_some_and(|p| p.session.is_open())
    }

    /// The program that runs has heard everything that the venue has told, and nothing of it is unanswered.
    pub(crate) fn is_settled(&self, core: &Core) -> bool {
        let flow = core.members[self.id.0 as usize].as_ref().unwrap();
        self.program.as_ref().is_some_and(|p| {
            p.session.is_open()
                && p.heard + 1 == flow.next_report
                && p.session.pending().next().is_none()
        })
    }

    /// For people: why it is not settled.
    pub(crate) fn state(&self, core: &Core) -> String {
        let next = core.members[self.id.0 as usize]
            .as_ref()
            .map(|f| f.next_report);
        let p = self.program.as_ref();
        format!(
            "{:?}: open {}, heard {:?} of {:?}, pending {:?}",
            self.id,
            self.is_open(),
            p.map(|p| p.heard),
            next.map(|n| n - 1),
            p.map(|p| p.session.pending().map(|(n, _)| n).collect::<Vec<_>>()),
        )
    }

    pub(crate) fn stall(&mut self, now: TimeNs) {
        self.tally.count("program hangs");
        self.stalled_until = TimeNs(now.0 + (20 + self.rng.below(900)) * MS);
    }

    /// The program ends, in order or not, or another one starts beside it.
    pub(crate) fn disturb(&mut self, net: &SimNet, now: TimeNs) {
        match self.rng.below(4) {
            0 => self.stall(now),
            1 => self.start(net, now),
            2 => {
                self.tally.count("program dies");
                self.program = None;
                self.back_at = TimeNs(now.0 + self.rng.below(400) * MS);
            }
            _ => {
                if let Some(p) = &mut self.program {
                    p.session.terminate(now);
                }
                self.back_at = TimeNs(now.0 + self.rng.below(100) * MS);
            }
        }
    }

    /// From now on it hangs no more.
    pub(crate) fn heal(&mut self) {
        self.stalled_until = TimeNs(0);
        self.back_at = TimeNs(0);
    }

    pub(crate) fn poll(&mut self, net: &SimNet, now: TimeNs) {
        if now < self.stalled_until {
            return;
        }
        if self.program.is_none() && now >= self.back_at {
            self.start(net, now);
        }
        while let Some(event) = self.program.as_mut().and_then(|p| p.session.poll(now)) {
            match event {
                Event::Report { seq, report } => self.hear(seq, report),
                Event::NotApplied { .. } => self.tally.count("request lost"),
                Event::Established { .. } => {}
                Event::Ended(reason) => self.ended(reason, now),
                other => hold!(NothingLost, false, "{:?}: {other:?}", self.id),
            }
        }
        if let Some(p) = &self.program {
            let c = p.session.counters();
            hold!(
                Runs,
                c.malformed == 0,
                "{:?} was sent what it cannot read",
                self.id
            );
        }
    }

    fn ended(&mut self, reason: EndReason, now: TimeNs) {
        self.tally.count(match reason {
            EndReason::Closed => "session closed",
            EndReason::Terminated(_) => "session terminated by the venue",
            EndReason::Lost => "venue lost",
            EndReason::NoAnswer { .. } => "no answer to a login",
            EndReason::Login(_) | EndReason::Refused(_) => "login refused",
            EndReason::KeysUsedUp | EndReason::Io(_) => "session failed",
        });
        if now >= self.back_at
            && let Some(p) = &mut self.program
        {
            p.session.reconnect(now).unwrap();
        } else {
            self.program = None;
        }
    }

    fn hear(&mut self, seq: u64, report: Report) {
        let Some(p) = &mut self.program else { return };
        p.heard += 1;
        hold!(
            NothingLost,
            seq == p.heard,
            "{:?} heard report {seq} as number {}",
            self.id,
            p.heard
        );
        if let Some(before) = self.told.get(seq as usize - 1) {
            hold!(
                NothingLost,
                *before == report,
                "{:?} was told {before:?} as report {seq}, and now {report:?}",
                self.id
            );
            return;
        }
        self.told.push(report);
        self.view.take(&report);
        self.note(&report);
    }

    fn note(&self, report: &Report) {
        if self.id.0 == DROP_COPY {
            self.tally.count("copy of a report");
            return;
        }
        self.tally.count(match report {
            Report::NotApplied(_) => "told: not applied",
            Report::Accepted(_) => "told: accepted",
            Report::Rejected(m) => {
                let code = RejectCode::from_wire(m.reason);
                use RejectCode::{Busy, Overloaded, Throttled};
                let is_load = matches!(code, Some(Throttled | Overloaded | Busy));
                hold!(
                    CancelsPass,
                    !is_load || !CANCELS.contains(&m.ref_template),
                    "{:?}: a request of template {} was refused: {m:?}",
                    self.id,
                    m.ref_template
                );
                code.map_or("rejected: unknown", RejectCode::name)
            }
            Report::MassQuoteAck(_) => "told: mass quote done",
            Report::Replaced(_) => "told: replaced",
            Report::Canceled(m) => CANCEL_REASONS[usize::from(m.reason)],
            Report::Filled(_) => "told: filled",
            Report::MassCancelAck(_) => "told: mass cancel done",
            Report::MmpEvent(m) if m.event < 3 => "told: protection triggered",
            Report::MmpEvent(_) => "told: protection set",
            Report::OpenOrder(_) => "told: open order",
            Report::PositionMargin(_) => "told: position",
            Report::WithdrawReport(_) => "told: withdrawal granted",
            Report::SettlementReport(_) => "told: settled",
            Report::DepositReport(_) => "told: deposit",
            Report::FundingReport(_) => "told: funding",
            Report::ExpiryReport(_) => "told: expiry",
            Report::LiquidationReport(_) => "told: liquidation",
            Report::KillSwitchAck(m) if m.action == 0 => "told: locked",
            Report::KillSwitchAck(_) => "told: unlocked",
            Report::OpenOrdersEnd(_) => "told: end of open orders",
            Report::DeadManReport(m) if m.event == 2 => "told: dead-man timer fired",
            Report::DeadManReport(_) => "told: dead-man timer set",
            Report::QuoteStatus(_) => "told: quote status",
        });
    }

    /// Orders and positions as the reports have them are those of the venue.
    pub(crate) fn compare(&self, core: &Core) {
        if self.id.0 == DROP_COPY {
            return;
        }
        use matcher::book::OrderBook;
        let book = core.engine.book();
        let mut held: BTreeMap<u64, (u32, u16, u8, i64)> = BTreeMap::new();
        for id in core.listings.keys() {
            let instrument = firmware::units::InstrumentId(*id);
            for side in [Side::Buy, Side::Sell] {
                for price in book.levels(instrument, side) {
                    for o in book.orders(instrument, side, price) {
                        if self.accounts.contains(&o.info.account.0) {
                            held.insert(o.id.0, (o.info.account.0, *id, side as u8, o.lots));
                        }
                    }
                }
            }
        }
        for (id, (account, instrument, side, lots)) in &held {
            let seen = self.view.orders.get(id);
            let same = seen.is_some_and(|o| {
                (o.account, o.instrument, o.side) == (*account, *instrument, *side)
                    && o.leaves.is_none_or(|l| l == *lots)
            });
            hold!(
                ClientView,
                same,
                "{:?} sees {seen:?} where order {id} of account {account} rests with {lots} lots",
                self.id
            );
        }
        for (id, order) in &self.view.orders {
            hold!(
                ClientView,
                held.contains_key(id),
                "{:?} sees order {id} that does not rest: {order:?}",
                self.id
            );
        }
        for account in self.accounts {
            let held = core
                .engine
                .accounts()
                .get(firmware::units::AccountId(*account))
                .unwrap();
            for instrument in core.listings.keys() {
                let seen = self.view.positions.get(&(*account, *instrument)).copied();
                let position = held.leaf.positions[usize::from(*instrument)];
                hold!(
                    ClientView,
                    seen.unwrap_or(0) == position,
                    "{:?} sees a position of {seen:?} in {instrument}, account {account} holds {position}",
                    self.id
                );
            }
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn send(&mut self, request: impl Into<Request>) {
        let Some(p) = &mut self.program else { return };
        match p.session.send(&request.into()) {
            Ok(_) => self.tally.count("request sent"),
            Err(SendError::NotEstablished | SendError::DropCopy | SendError::TooManyPending) => {}
            Err(e) => panic!("{e}"),
        }
    }

    /// Asks for something that has an answer; used to see that everybody gets on.
    pub(crate) fn probe(&mut self, now: TimeNs) {
        let Some(account) = self.accounts.first().copied() else {
            return;
        };
        let id = self.id();
        self.send(positions(id, account));
        let id = self.id();
        self.send(mass_cancel(id, account, None, None));
        if let Some(p) = &mut self.program {
            p.session.flush(now);
        }
    }

    /// Sends some requests.
    pub(crate) fn act(&mut self, markets: &[Market], now: TimeNs) {
        if !self.is_open() || now < self.stalled_until || self.accounts.is_empty() {
            return;
        }
        for _ in 0..1 + self.rng.below(3) {
            let at = self.rng.below(markets.len().max(1) as u64) as usize;
            if let Some(market) = markets.get(at) {
                self.request(*market, markets, now);
            }
        }
        if self.rng.percent(60)
            && let Some(p) = &mut self.program
        {
            p.session.flush(now);
        }
    }

    fn request(&mut self, market: Market, markets: &[Market], now: TimeNs) {
        let accounts = self.accounts.len() as u64;
        let mut account = self.accounts[self.rng.below(accounts) as usize];
        if self.rng.percent(1) {
            account = 9;
        }
        let id = self.id();
        let Market { instrument, .. } = market;
        let resting: Vec<_> = self.view.orders.iter().map(|(id, o)| (*id, *o)).collect();
        let known = |rng: &mut Rng| match resting.len() {
            0 => None,
            n => Some(resting[rng.below(n as u64) as usize].1),
        };
        match self.rng.below(200) {
            0..90 => {
                let order = self.order(id, account, market, now);
                self.send(order);
            }
            90..120 => {
                let of = known(&mut self.rng);
                let (account, instrument, orig) = of
                    .map_or((account, instrument, 77_777_777), |o| {
                        (o.account, o.instrument, o.cl_ord_id)
                    });
                self.send(cancel(id, account, instrument, orig));
            }
            120..135 => {
                let Some(o) = known(&mut self.rng) else {
                    return;
                };
                let (price, quantity) = (self.price(market), 1 + self.rng.below(9) as i64);
                self.send(Replace {
                    cl_ord_id: id,
                    orig_cl_ord_id: o.cl_ord_id,
                    price,
                    quantity,
                    account: o.account,
                    instrument: o.instrument,
                    ..Zeroable::zeroed()
                });
            }
            135..142 => {
                let Some(o) = known(&mut self.rng) else {
                    return;
                };
                self.send(reduce(id, o.account, o.instrument, o.cl_ord_id, 1));
            }
            142..172 => self.quote(id, account, markets),
            172..175 => {
                let side = [None, Some(Side::Buy)][self.rng.below(2) as usize];
                let only = [None, Some(instrument)][self.rng.below(2) as usize];
                self.send(mass_cancel(id, account, only, side));
            }
            175 => {
                let whose = [None, Some(account)][self.rng.below(2) as usize];
                self.send(kill_switch(id, whose));
            }
            176..180 => self.send(unlock(id, None)),
            180..184 => {
                let timeout = self.rng.below(200) * MS;
                self.send(dead_man_timer(id, timeout));
            }
            184..187 => self.send(open_orders(id, account, None, 0)),
            187..190 => self.send(positions(id, account)),
            190..193 => {
                let amount = 1_000_000 * (1 + self.rng.below(500) as i64);
                self.send(Withdraw {
                    cl_ord_id: id,
                    amount,
                    account,
                    pad1: 0,
                });
            }
            193..197 => {
                let config = MmpConfig {
                    cl_ord_id: id,
                    window_ns: 100 * MS,
                    freeze_ns: [0, 50 * MS][self.rng.below(2) as usize],
                    quantity_limit: 1 + self.rng.below(12) as i64,
                    account,
                    mmp_group: 1,
                    ..Zeroable::zeroed()
                };
                self.send(config);
            }
            _ => self.send(MmpReset {
                cl_ord_id: id,
                account,
                mmp_group: 1,
                ..Zeroable::zeroed()
            }),
        }
    }

    fn price(&mut self, market: Market) -> i64 {
        let away = self.rng.below(24) as i64 - 12;
        (market.middle_ticks + away) * market.tick_e9
    }

    fn order(&mut self, id: u64, account: u32, market: Market, now: TimeNs) -> NewOrder {
        let side = [Side::Buy, Side::Sell][self.rng.below(2) as usize];
        let lots = match self.rng.below(30) {
            0 => 50_000,
            1..4 => 100 + self.rng.below(300) as i64,
            _ => 1 + self.rng.below(12) as i64,
        };
        let instrument = market.instrument;
        let price = self.price(market);
        let mut order = limit_order(id, account, instrument, side, price, lots);
        match self.rng.below(20) {
            0 | 1 => order.time_in_force = TIF_IOC,
            2 => order.time_in_force = TIF_FOK,
            3 => {
                order.time_in_force = TIF_GTD;
                order.expire_time = now.0 + (20 + self.rng.below(400)) * MS;
            }
            4 => order.flags = FLAG_POST_ONLY,
            5 => order.flags = FLAG_REDUCE_ONLY,
            6..9 => order.flags = FLAG_CANCEL_ON_DISCONNECT,
            9 => order = market_order(id, account, instrument, side, lots),
            10 => order.mmp_group = 1,
            _ => {}
        }
        order.stp_mode = self.rng.below(4) as u8;
        order
    }

    fn quote(&mut self, id: u64, account: u32, markets: &[Market]) {
        let mut entries = Vec::new();
        for market in markets {
            let mid = self.price(*market);
            let mut side = |away: i64| match self.rng.below(8) {
                0 => None,
                1 => Some((mid + away * market.tick_e9, 0)),
                _ => Some((mid + away * market.tick_e9, 1 + self.rng.below(9) as i64)),
            };
            let (bid, ask) = (side(-3), side(3));
            entries.push(quote(market.instrument, bid, ask));
        }
        let mut head = mass_quote(id, account);
        head.mmp_group = u8::from(self.rng.percent(40));
        let Some(p) = &mut self.program else { return };
        match p.session.send_quote(&head, &entries) {
            Ok(_) => self.tally.count("request sent"),
            Err(SendError::NotEstablished | SendError::DropCopy | SendError::TooManyPending) => {}
            Err(e) => panic!("{e}"),
        }
    }

    /// What the library counted.
    pub(crate) fn asked_again(&self) -> u64 {
        let of = |p: &Program| p.session.counters().retransmit_requests;
        self.program.as_ref().map_or(0, of)
    }
}

/// By number of the reason.
pub(crate) const CANCEL_REASONS: [&str; 15] = [
    "canceled: asked for",
    "canceled: rest of IOC or FOK",
    "canceled: self-trade",
    "canceled: mass cancel",
    "canceled: disconnect",
    "canceled: margin",
    "canceled: collar",
    "canceled: fill limit",
    "canceled: expired",
    "canceled: dead-man timer",
    "canceled: kill switch",
    "canceled: protection",
    "canceled: trading state",
    "canceled: operator",
    "canceled: reduce-only",
];
