//! Accounts for every lot that a recorded market traded and a replay did not, or the other way round, and
//! for every best price that differs.
//!
//! Three sources that know nothing of each other: the file ([`Market`]), the private reports on the steps, and
//! the public feed. The account closes when, in lots,
//!
//! ```text
//! file's executions = as recorded + elsewhere + for each reason: not here
//! trades on the feed = as recorded + elsewhere + posted orders that met one
//! ```
//!
//! and no lot is left without a reason. Best prices are looked at while the run goes on; one that the feed
//! shows later than the reports can stay unexplained, which is counted and no fault. *As recorded* is a fill of an execution with its own order;
//! *elsewhere* one with another order, which the recorded market did not have there any more, or which stood
//! before it in a queue of ours.

use super::market::{Amount, Deed, Market, Moment};
use client::Report;
use firmware::reject::RejectCode;
use firmware::wire::report as wire;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// The reason that is none: the account of lots does not close with it.
pub(crate) const UNEXPLAINED: &str = "unexplained";

/// Best bid and ask, in ticks.
type Quotes = [Option<i64>; 2];

/// Best prices at a moment: the file's and ours.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Look {
    /// ns since the start of trading.
    pub(crate) at_ns: u64,
    pub(crate) recorded: Quotes,
    pub(crate) ours: Quotes,
    /// Why bid and ask differ, if they do.
    pub(crate) why: [Option<String>; 2],
    /// Our trades on the feed so far.
    pub(crate) trades: Amount,
}

/// The comparison at the end of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reconciliation {
    /// A tick in micro-units.
    pub(crate) tick_micro: i64,
    /// What the file executed.
    pub(crate) recorded: Amount,
    /// What the feed says that we traded.
    pub(crate) traded: Amount,
    /// Fills of an execution with its own order.
    pub(crate) as_recorded: Amount,
    /// Fills of an execution with another order.
    pub(crate) elsewhere: Amount,
    /// Fills of posted orders that met one when they came.
    pub(crate) posted: Amount,
    /// Recorded lots that did not trade here, by reason.
    pub(crate) not_here: BTreeMap<String, Amount>,
    pub(crate) looks: Vec<Look>,
    pub(crate) closes: bool,
}

impl Reconciliation {
    /// Best prices that were compared, those that were equal, and how many differed for each reason.
    pub(crate) fn best_prices(&self) -> (u64, u64, BTreeMap<&str, u64>) {
        let mut reasons = BTreeMap::new();
        for why in self.looks.iter().flat_map(|look| look.why.iter().flatten()) {
            *reasons.entry(why.as_str()).or_default() += 1;
        }
        let all = 2 * self.looks.len() as u64;
        (all, all - reasons.values().sum::<u64>(), reasons)
    }

    /// The comparison in words and numbers, one line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let amount = |a: &Amount| format!("{} in {} lots", a.count, a.lots);
        let mut lines = vec![
            format!("executions in the file     {}", amount(&self.recorded)),
            format!("our trades, on the feed    {}", amount(&self.traded)),
            format!("  with the recorded order  {}", amount(&self.as_recorded)),
            format!("  with another order       {}", amount(&self.elsewhere)),
            format!("  of a new order at once   {}", amount(&self.posted)),
        ];
        let missing = self.not_here.iter();
        lines.extend(missing.map(|(why, a)| format!("  not here: {why}: {}", amount(a))));
        let (all, equal, reasons) = self.best_prices();
        lines.push(format!("best prices                {equal} of {all} equal"));
        lines.extend(
            reasons
                .iter()
                .map(|(why, n)| format!("  {n} differ: {why}")),
        );
        lines.push(format!(
            "{:>10}  {:>21}  {:>21}  {:>8}{:>10}",
            "second", "recorded bid, ask", "our bid, ask", "trades", "lots"
        ));
        lines.extend(self.looks.iter().map(|look| {
            let price = |ticks: Option<i64>| {
                let micro = |t: i64| (t * self.tick_micro) as f64 / 1e6;
                ticks.map_or_else(|| "-".to_owned(), |t| format!("{:.2}", micro(t)))
            };
            let pair = |q: &Quotes| format!("{:>10} {:>10}", price(q[0]), price(q[1]));
            format!(
                "{:>10.1}  {}  {}  {:>8}{:>10}",
                look.at_ns as f64 / 1e9,
                pair(&look.recorded),
                pair(&look.ours),
                look.trades.count,
                look.trades.lots
            )
        }));
        let yes = if self.closes { "yes" } else { "NO" };
        lines.push(format!("every lot has its reason: {yes}"));
        lines
    }

    fn check(&mut self) {
        let both = self.as_recorded.lots + self.elsewhere.lots;
        let missing = Amount::sum(self.not_here.values()).lots;
        let explained = !self.not_here.contains_key(UNEXPLAINED);
        self.closes = self.recorded.lots == both + missing
            && self.traded.lots == both + self.posted.lots
            && self.traded.count
                == self.as_recorded.count + self.elsewhere.count + self.posted.count
            && explained;
    }
}

/// What became of a recorded order here.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Fate {
    Unanswered,
    Rests,
    Refused(String),
    Traded,
    Cancelled(u8),
}

/// A step at work.
#[derive(Clone, Debug, Default)]
struct Progress {
    filled: i64,
    /// Why the rest did not trade.
    rest: Option<String>,
}

/// One side of a trade, until the other comes.
#[derive(Clone, Copy, Debug)]
enum Half {
    /// The file's name of the resting order.
    Maker(u64),
    /// The step that came in.
    Taker(usize),
}

/// Follows a replay.
pub(crate) struct Reconciler {
    market: Market,
    /// Place of a step by member and the client's name.
    steps: BTreeMap<(u32, u64), usize>,
    progress: Vec<Progress>,
    /// By the file's name.
    fates: BTreeMap<u64, Fate>,
    /// The file's names by the venue's.
    names: BTreeMap<u64, u64>,
    /// Orders whose cancel or reduction was refused.
    kept: BTreeSet<u64>,
    /// Orders of which an execution met another one, or none.
    spared: BTreeSet<u64>,
    halves: BTreeMap<u64, Half>,
    result: Reconciliation,
}

fn cancel_reason(reason: u8) -> &'static str {
    match reason {
        wire::CANCEL_REQUESTED => "as asked",
        wire::CANCEL_IOC => "rest of an IOC",
        wire::CANCEL_STP => "self-trade",
        wire::CANCEL_MASS => "mass cancel",
        wire::CANCEL_DISCONNECT => "disconnect",
        wire::CANCEL_MARGIN => "margin",
        wire::CANCEL_COLLAR => "collar",
        wire::CANCEL_FILL_LIMIT => "fill limit",
        _ => "by the venue",
    }
}

fn code_name(reason: u16) -> String {
    RejectCode::from_wire(reason).map_or_else(|| format!("code {reason}"), |c| c.name().to_owned())
}

impl Reconciler {
    /// Follows the steps of `market`, none of which was sent yet.
    pub(crate) fn new(market: Market) -> Self {
        let mut ids = super::ClientIds::default();
        let steps = market.origins.iter().enumerate();
        Self {
            steps: steps
                .map(|(k, o)| ((o.member, ids.next(o.member)), k))
                .collect(),
            progress: vec![Progress::default(); market.origins.len()],
            fates: BTreeMap::new(),
            names: BTreeMap::new(),
            kept: BTreeSet::new(),
            spared: BTreeSet::new(),
            halves: BTreeMap::new(),
            result: Reconciliation {
                tick_micro: market.tick_micro,
                recorded: market.executions,
                not_here: market.not_replayed.clone(),
                ..Reconciliation::default()
            },
            market,
        }
    }

    /// The step behind a client's name, with its place.
    fn step(&self, member: u32, name: u64) -> Option<(usize, u64, Deed)> {
        let at = *self.steps.get(&(member, name))?;
        let origin = self.market.origins[at];
        Some((at, origin.order, origin.deed))
    }

    /// Takes in a report to a member.
    pub(crate) fn report(&mut self, member: u32, report: &Report) {
        match report {
            Report::Accepted(m) => {
                if let Some((_, order, Deed::Post)) = self.step(member, m.cl_ord_id) {
                    self.fates.insert(order, Fate::Rests);
                    self.names.insert(m.order_id, order);
                }
            }
            Report::Replaced(m) => {
                if let Some(order) = self.names.remove(&m.prev_order_id) {
                    self.names.insert(m.order_id, order);
                }
            }
            Report::Rejected(m) => self.rejected(member, m.cl_ord_id, code_name(m.reason)),
            // With leaves it lost lots only.
            Report::Canceled(m) if m.leaves == 0 => self.cancelled(member, m.cl_ord_id, m.reason),
            Report::Filled(m) => {
                let Some((at, order, deed)) = self.step(member, m.cl_ord_id) else {
                    return;
                };
                let half = if m.liquidity == 1 {
                    self.progress[at].filled += m.quantity;
                    Half::Taker(at)
                } else {
                    Half::Maker(order)
                };
                if m.leaves == 0 && !matches!(deed, Deed::Execute { .. }) {
                    self.fates.insert(order, Fate::Traded);
                }
                self.half(m.trade_id, half, m.quantity);
            }
            _ => {}
        }
    }

    fn rejected(&mut self, member: u32, name: u64, code: String) {
        match self.step(member, name) {
            Some((_, order, Deed::Post)) => {
                self.fates.insert(order, Fate::Refused(code));
            }
            Some((_, order, Deed::Withdraw)) => {
                self.kept.insert(order);
            }
            Some((at, order, Deed::Execute { .. })) => {
                self.progress[at].rest = Some(format!("its taker was refused: {code}"));
                self.spared.insert(order);
            }
            None => {}
        }
    }

    fn cancelled(&mut self, member: u32, name: u64, reason: u8) {
        let Some((at, order, deed)) = self.step(member, name) else {
            return;
        };
        if let Deed::Execute { .. } = deed {
            let why = match reason {
                wire::CANCEL_IOC => self.absent(order),
                other => format!("its taker was cancelled: {}", cancel_reason(other)),
            };
            self.progress[at].rest = Some(why);
            self.spared.insert(order);
        } else {
            self.fates.insert(order, Fate::Cancelled(reason));
        }
    }

    /// Why an order of the file is not on our book.
    fn absent(&self, order: u64) -> String {
        if let Some(why) = self.market.not_posted.get(&order) {
            return why.clone();
        }
        match self.fates.get(&order) {
            None => "its order was never sent".to_owned(),
            Some(Fate::Unanswered) => "its order has no answer".to_owned(),
            Some(Fate::Refused(code)) => format!("its order was refused: {code}"),
            Some(Fate::Traded) => "its order had traded here already".to_owned(),
            Some(Fate::Cancelled(reason)) => {
                format!("its order was cancelled: {}", cancel_reason(*reason))
            }
            Some(Fate::Rests) => UNEXPLAINED.to_owned(),
        }
    }

    /// A step was sent.
    pub(crate) fn sent(&mut self, member: u32, name: u64) {
        if let Some((_, order, Deed::Post)) = self.step(member, name) {
            self.fates.insert(order, Fate::Unanswered);
        }
    }

    /// One side's report of a trade; with the second the trade is known.
    fn half(&mut self, trade_id: u64, half: Half, lots: i64) {
        let Some(other) = self.halves.remove(&trade_id) else {
            self.halves.insert(trade_id, half);
            return;
        };
        let ((Half::Maker(order), Half::Taker(at)) | (Half::Taker(at), Half::Maker(order))) =
            (half, other)
        else {
            return;
        };
        let origin = self.market.origins[at];
        match origin.deed {
            Deed::Execute { .. } if origin.order == order => self.result.as_recorded.add(lots),
            Deed::Execute { .. } => {
                self.spared.insert(origin.order);
                self.result.elsewhere.add(lots);
            }
            _ => self.result.posted.add(lots),
        }
    }

    /// A trade on the feed.
    pub(crate) fn trade(&mut self, lots: i64) {
        self.result.traded.add(lots);
    }

    /// When the best prices are to be compared next, ns since the start.
    pub(crate) fn next_look_ns(&self) -> Option<u64> {
        let next = self.market.moments.get(self.result.looks.len())?;
        Some(next.at_ns)
    }

    /// Compares the best prices with ours, given with the venue's name of the first order there. `settled`: all
    /// that was sent is answered.
    pub(crate) fn look(&mut self, ours: [Option<(i64, u64)>; 2], settled: bool) {
        let Some(moment) = self.market.moments.get(self.result.looks.len()) else {
            return;
        };
        let why = [0, 1].map(|side| self.why(moment, side, ours[side], settled));
        let per_tick = self.market.prices_per_tick.max(1);
        let look = Look {
            at_ns: moment.at_ns,
            recorded: [0, 1].map(|side| Some(moment.best[side].as_ref()?.price / per_tick)),
            ours: ours.map(|best| best.map(|(price, _)| price)),
            why,
            trades: self.result.traded,
        };
        self.result.looks.push(look);
    }

    /// Why a best price differs from the recorded one; none if it does not.
    fn why(
        &self,
        moment: &Moment,
        side: usize,
        ours: Option<(i64, u64)>,
        settled: bool,
    ) -> Option<String> {
        let recorded = moment.best[side].as_ref();
        // In the file's units, and so that the better price is the greater one on both sides.
        let better_is_greater = |price: i64| if side == 0 { price } else { -price };
        let theirs = recorded.map(|best| better_is_greater(best.price));
        let mine = ours.map(|(ticks, _)| better_is_greater(ticks * self.market.prices_per_tick));
        // No price at all is the worst one.
        let order = theirs.cmp(&mine);
        if order == Ordering::Equal {
            return None;
        }
        if !settled {
            return Some("an answer was on its way".to_owned());
        }
        Some(match (order, recorded, ours) {
            (Ordering::Greater, Some(best), _) => {
                let first = best.orders.first().copied().unwrap_or_default();
                format!("not on our book: {}", self.absent(first))
            }
            (_, _, Some((_, venue_name))) => {
                format!("still on our book: {}", self.present(venue_name))
            }
            _ => UNEXPLAINED.to_owned(),
        })
        .map(|why| match why.ends_with(UNEXPLAINED) {
            true => UNEXPLAINED.to_owned(),
            false => why,
        })
    }

    /// Why an order of ours rests that the file has no more.
    fn present(&self, venue_name: u64) -> &'static str {
        match self.names.get(&venue_name) {
            Some(order) if self.kept.contains(order) => "its cancel was refused",
            Some(order) if self.spared.contains(order) => {
                "its execution met another order, or none"
            }
            _ => UNEXPLAINED,
        }
    }

    /// The comparison of the whole run.
    pub(crate) fn finish(mut self) -> Reconciliation {
        for (origin, progress) in self.market.origins.iter().zip(&self.progress) {
            if let Deed::Execute { lots } = origin.deed
                && lots > progress.filled
            {
                let why = progress
                    .rest
                    .as_deref()
                    .unwrap_or("its taker has no answer");
                let reason = self.result.not_here.entry(why.to_owned()).or_default();
                reason.add(lots - progress.filled);
            }
        }
        self.result.check();
        self.result
    }
}

#[cfg(test)]
mod tests;
