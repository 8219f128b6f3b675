//! Outcomes as the lines of a script.

use super::*;
use firmware::reject::RejectCode;
use firmware::units::MemberId;
use firmware::wire::feed::FeedMessage;
use firmware::wire::report::{
    QUOTE_ACCEPTED, QUOTE_KEPT, QUOTE_REDUCED, QUOTE_UNTOUCHED, QUOTE_WITHDRAWN, Report,
};
use matcher::outbox::Outcome;
use std::fmt::Write as _;

const MMP_EVENTS: [&str; 5] = ["quantity", "delta", "vega", "reset", "configured"];
const CANCELED: [&str; 15] = [
    "requested",
    "ioc",
    "self-trade",
    "mass",
    "disconnect",
    "margin",
    "collar",
    "fill limit",
    "expired",
    "dead man",
    "kill switch",
    "mmp",
    "state",
    "operator",
    "reduce-only",
];

impl<B: OrderBook> Run<B> {
    pub(super) fn render(&mut self) -> Vec<String> {
        let outcomes = self.venue.out.outcomes().to_vec();
        outcomes.iter().filter_map(|o| self.line(o)).collect()
    }

    fn line(&mut self, outcome: &Outcome) -> Option<String> {
        match outcome {
            Outcome::Report(to, report) => {
                match report {
                    Report::Accepted(m) => {
                        let name = self.named(m.cl_ord_id).to_owned();
                        self.ids.insert(m.order_id, name);
                    }
                    Report::Replaced(m) => {
                        let name = self.named(m.cl_ord_id).to_owned();
                        self.ids.insert(m.order_id, name);
                    }
                    Report::QuoteStatus(m) => {
                        let name = self.named(m.cl_ord_id).to_owned();
                        for id in [m.bid_order_id, m.ask_order_id] {
                            self.ids.insert(id, name.clone());
                        }
                    }
                    _ => {}
                }
                Some(self.report(*to, report))
            }
            Outcome::Feed(m) => self.feed_line(m),
        }
    }

    fn report(&self, to: MemberId, report: &Report) -> String {
        let (text, account) = match report {
            Report::Accepted(m) => (
                format!(
                    "accepted {} {} {} {} @ {}",
                    self.ids[&m.order_id],
                    side_name(m.side),
                    name_of(m.instrument),
                    m.quantity,
                    price(m.instrument, m.price)
                ),
                m.account,
            ),
            Report::Rejected(m) => {
                let code = RejectCode::from_wire(m.reason).expect("a code");
                (format!("rejected {}", code.name()), m.account)
            }
            Report::Replaced(m) => (
                format!(
                    "replaced {} {} {} {} @ {} {} its place",
                    self.named(m.cl_ord_id),
                    side_name(m.side),
                    name_of(m.instrument),
                    m.quantity,
                    price(m.instrument, m.price),
                    if m.order_id == m.prev_order_id {
                        "keeps"
                    } else {
                        "loses"
                    }
                ),
                m.account,
            ),
            Report::Canceled(m) => (
                format!(
                    "canceled {} {} {}{}",
                    self.named(m.cl_ord_id),
                    m.quantity,
                    CANCELED[m.reason as usize],
                    match m.leaves {
                        0 => String::new(),
                        leaves => format!(" leaves {leaves}"),
                    }
                ),
                m.account,
            ),
            Report::Filled(m) => {
                // Quotes have one client's name, and their own is told after their fills.
                assert!(
                    self.quotes.contains(&m.cl_ord_id)
                        || self.ids.get(&m.order_id).map(String::as_str)
                            == Some(self.named(m.cl_ord_id)),
                    "names of {m:?}"
                );
                (
                    format!(
                        "filled {} {} @ {} leaves {} {} fee {}",
                        self.named(m.cl_ord_id),
                        m.quantity,
                        price(m.instrument, m.price),
                        m.leaves,
                        if m.liquidity == 1 { "taker" } else { "maker" },
                        decimal(m.fee)
                    ),
                    m.account,
                )
            }
            Report::MassCancelAck(m) => {
                let whose = if m.account == ID32_NULL {
                    to.0
                } else {
                    m.account
                };
                (format!("mass-canceled {}", m.count), whose)
            }
            Report::FundingReport(m) => (
                format!("funding {} {}", name_of(m.instrument), decimal(m.amount)),
                m.account,
            ),
            Report::ExpiryReport(m) => (
                format!(
                    "expired {} {} lots at {} for {}",
                    name_of(m.instrument),
                    m.position,
                    decimal(m.value_micro),
                    decimal(m.amount)
                ),
                m.account,
            ),
            Report::LiquidationReport(m) => (
                format!(
                    "liquidation step {} {} pays {} equity {}",
                    m.step,
                    m.quantity,
                    decimal(m.amount),
                    decimal(m.equity)
                ),
                m.account,
            ),
            Report::DepositReport(m) => (
                format!(
                    "deposited {} number {} cash {}",
                    decimal(m.amount),
                    m.queue_index,
                    decimal(m.cash)
                ),
                m.account,
            ),
            Report::WithdrawReport(m) => (
                format!(
                    "withdrew {} cash {} in batch {}",
                    decimal(m.amount),
                    decimal(m.cash),
                    m.batch_no
                ),
                m.account,
            ),
            Report::SettlementReport(m) => (
                format!(
                    "settled {} transfer {} delta {} rest {} collateral {} maintenance {}",
                    m.settlement_no,
                    decimal(m.transfer),
                    decimal(m.delta_leg),
                    decimal(m.residual),
                    decimal(m.collateral),
                    decimal(m.maintenance)
                ),
                m.account,
            ),
            Report::NotApplied(m) => (format!("not applied {}", m.count), to.0),
            Report::MassQuoteAck(m) => (
                format!("quoted {} refused {}", m.entries, m.refused),
                m.account,
            ),
            Report::QuoteStatus(m) => (
                format!(
                    "quote {} bid {} ask {}",
                    name_of(m.instrument),
                    quote_status(m.bid_status),
                    quote_status(m.ask_status)
                ),
                m.account,
            ),
            Report::MmpEvent(m) => (
                format!(
                    "mmp {} {} canceled {}{}",
                    m.mmp_group,
                    MMP_EVENTS[m.event as usize],
                    m.count,
                    match m.frozen_until {
                        0 => String::new(),
                        u64::MAX => " until reset".to_owned(),
                        t => format!(" for {} ms", (t - m.engine_time) / 1_000_000),
                    }
                ),
                m.account,
            ),
            Report::OpenOrder(m) => (
                format!(
                    "open {} {} {} {} @ {} filled {}",
                    self.named(m.cl_ord_id),
                    side_name(m.side),
                    name_of(m.instrument),
                    m.quantity,
                    price(m.instrument, m.price),
                    m.filled
                ),
                m.account,
            ),
            Report::OpenOrdersEnd(m) => (
                format!(
                    "open orders {}{}",
                    m.count,
                    if m.after == 0 { "" } else { " and more" }
                ),
                m.account,
            ),
            Report::PositionMargin(m) if m.instrument == ID16_NULL => (
                format!(
                    "account cash {} equity {} worst {}{}",
                    decimal(m.cash),
                    decimal(m.equity),
                    decimal(m.worst),
                    if m.is_locked == 0 { "" } else { " locked" }
                ),
                m.account,
            ),
            Report::PositionMargin(m) => (
                format!(
                    "position {} {} mark {}",
                    name_of(m.instrument),
                    m.position,
                    decimal(m.mark)
                ),
                m.account,
            ),
            Report::KillSwitchAck(m) => (
                format!(
                    "{} by {} canceled {}",
                    if m.action == 0 { "locked" } else { "unlocked" },
                    if m.by == 0 { "member" } else { "venue" },
                    m.count
                ),
                if m.account == ID32_NULL {
                    to.0
                } else {
                    m.account
                },
            ),
            Report::DeadManReport(m) => (
                format!(
                    "dead man {} canceled {}",
                    ["armed", "disarmed", "fired"][m.event as usize],
                    m.count
                ),
                to.0,
            ),
        };
        let mut line = format!("{} {text}", NAMES[account as usize - 1]);
        if member(account) != to.0 {
            write!(line, " to {}", NAMES[to.0 as usize - 1]).expect("text");
        }
        line
    }

    fn feed_line(&self, m: &FeedMessage) -> Option<String> {
        let name = |id: u64| self.ids.get(&id).map_or("?", String::as_str);
        Some(match m {
            FeedMessage::SettlementSummary(m) => format!(
                "feed settlement {} by {} index {} to {} transferred {} delta {} rest {} accounts {}",
                m.settlement_no,
                if m.trigger == 0 { "move" } else { "time" },
                decimal(m.index_before_micro),
                decimal(m.index_after_micro),
                decimal(m.transferred),
                decimal(m.delta_leg),
                decimal(m.residual),
                m.accounts
            ),
            FeedMessage::BatchSealed(m) => format!(
                "feed sealed {} {} rows {} accounts {}",
                m.batch_no,
                reason_name(m.reason),
                m.fill_rows,
                m.accounts
            ),
            FeedMessage::FundingRate(m) => format!(
                "feed funding {} {} in all {}",
                name_of(m.instrument),
                decimal(m.change),
                decimal(m.funding_micro)
            ),
            FeedMessage::InstrumentSettled(m) => format!(
                "feed settled {} at {} for {}",
                name_of(m.instrument),
                decimal(m.price_micro),
                decimal(m.value_micro)
            ),
            FeedMessage::LiquidationStep(m) => format!(
                "feed liquidation step {} {} of {} fund {}",
                m.step,
                m.quantity,
                decimal(m.amount),
                decimal(m.fund)
            ),
            FeedMessage::RiskRules(m) => format!(
                "feed rules {} switches {}",
                if m.in_force == 1 {
                    "in force"
                } else {
                    "announced"
                },
                m.switches
            ),
            _ if !self.feed => return None,
            FeedMessage::OrderAdd(m) => format!(
                "feed add {} {} {} {} @ {}",
                name(m.order_id),
                side_name(m.side),
                name_of(m.instrument),
                m.quantity,
                price(m.instrument, m.price)
            ),
            FeedMessage::OrderReduce(m) => {
                format!("feed reduce {} to {}", name(m.order_id), m.quantity)
            }
            FeedMessage::OrderDelete(m) => format!("feed delete {}", name(m.order_id)),
            FeedMessage::OrderExecuted(m) => format!(
                "feed trade {} {} @ {} leaves {}",
                name(m.order_id),
                m.quantity,
                price(m.instrument, m.price),
                m.leaves
            ),
            FeedMessage::IndexUpdate(m) => {
                format!("feed index {} epoch {}", decimal(m.index_micro), m.epoch)
            }
            FeedMessage::MarkPrice(m) => format!(
                "feed mark {} {} collar {} to {}",
                name_of(m.instrument),
                decimal(m.mark_micro),
                price(m.instrument, m.collar_low),
                price(m.instrument, m.collar_high)
            ),
            FeedMessage::InstrumentDefinition(m) => format!("feed lists {}", name_of(m.instrument)),
            FeedMessage::TradingStatus(m) => {
                format!(
                    "feed state {} {}",
                    name_of(m.instrument),
                    STATES[m.state as usize]
                )
            }
            FeedMessage::AuctionUpdate(m) => format!(
                "feed auction {} {} @ {} imbalance {}",
                name_of(m.instrument),
                m.quantity,
                if m.price == firmware::wire::sbe::PRICE_NULL {
                    "-".to_owned()
                } else {
                    price(m.instrument, m.price)
                },
                m.imbalance
            ),
        })
    }
}

pub(super) fn quote_status(status: u16) -> &'static str {
    match status {
        QUOTE_UNTOUCHED => "-",
        QUOTE_ACCEPTED => "accepted",
        QUOTE_KEPT => "kept",
        QUOTE_WITHDRAWN => "withdrawn",
        QUOTE_REDUCED => "reduced",
        code => RejectCode::from_wire(code).expect("a code").name(),
    }
}

pub(super) const fn side_name(side: u8) -> &'static str {
    if side == 0 { "buy" } else { "sell" }
}

pub(super) fn decimal(micro: i64) -> String {
    let sign = if micro < 0 { "-" } else { "" };
    let micro = micro.unsigned_abs();
    format!("{sign}{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

pub(super) fn price(instrument: u16, e9: i64) -> String {
    let places = if instrument == PERP { 1 } else { 2 };
    let text = decimal(e9 / 1_000);
    text[..text.len() - 6 + places].to_owned()
}

pub(super) fn name_of(id: u16) -> &'static str {
    let found = INSTRUMENTS.iter().find(|(_, i)| *i == id);
    found.map_or("none", |(name, _)| name)
}
