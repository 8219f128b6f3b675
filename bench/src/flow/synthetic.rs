//! Synthetic flow that looks like the real one: arrivals in bursts, quotes that are mostly moved or taken
//! off and seldom filled, sizes with a heavy tail, takers that mostly miss. Pure: a seed and the same
//! sequence of markets and reports give the same orders.

use super::{Ask, Order};
use crate::prng::Prng;
use firmware::units::Side;
use firmware::wire::order::{
    FLAG_CANCEL_ON_DISCONNECT, FLAG_POST_ONLY, STP_CANCEL_MAKER, TIF_GTC, TIF_IOC,
};
use firmware::wire::report::Report;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Requests a second of all makers together.
pub(crate) const MAKER_RATE: u64 = 900;
/// Orders a second of all takers together.
pub(crate) const TAKER_RATE: u64 = 40;

/// Fills in a thousand seconds that the takers aim for together. A batch takes seconds to prove; it has 256
/// rows, but room for eight accounts only, and where there are more it is full after a few fills.
pub(crate) const fn fills_per_1000_s(accounts: usize) -> u64 {
    if accounts <= firmware::limits::BATCH_ACCOUNTS {
        14_000
    } else {
        1_500
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// Chance that an event begets a further one, and then another: a mean of 0.6 children.
const CHILD_PPM: u64 = 375_000;
/// Mean delay of a child.
const CHILD_DELAY_NS: u64 = 8_000_000;
/// Quotes a maker keeps for each side of an instrument.
const LEVELS: usize = 2;
/// One fill in a taker's budget.
const FILL: i64 = 1_000_000;
/// Lots of inventory that move a maker's quotes by one tick.
const LOTS_PER_SKEW_TICK: i64 = 2;
/// Inventory at which a maker stops quoting the side that adds to it.
const INVENTORY_LOTS_MAX: i64 = 400;

/// Times of events: immigrants come at random, each event begets others soon after (the branching form of a
/// Hawkes process), which gives bursts and quiet spells with a steady mean.
#[derive(Debug)]
pub(crate) struct Arrivals {
    prng: Prng,
    immigrant_gap_ns: u64,
    next_immigrant_ns: u64,
    children: BinaryHeap<Reverse<u64>>,
}

impl Arrivals {
    /// A mean of `per_1000_s` events in a thousand seconds.
    pub(crate) fn new(seed: u64, stream: u64, per_1000_s: u64) -> Self {
        // An immigrant has 1 / (1 - 0.6) = 2.5 events in its family, itself included.
        let immigrant_gap_ns = 1_000 * SECOND_NS * 5 / 2 / per_1000_s.max(1);
        let mut prng = Prng::new(seed, stream);
        let next_immigrant_ns = prng.exponential(immigrant_gap_ns);
        Self {
            prng,
            immigrant_gap_ns,
            next_immigrant_ns,
            children: BinaryHeap::new(),
        }
    }

    /// When the next event is due, ns since the start.
    pub(crate) fn due(&self) -> u64 {
        let child = self.children.peek().map_or(u64::MAX, |&Reverse(t)| t);
        child.min(self.next_immigrant_ns)
    }

    /// Takes the event that is due.
    pub(crate) fn take(&mut self) -> u64 {
        let at = self.due();
        if at == self.next_immigrant_ns {
            self.next_immigrant_ns = at + 1 + self.prng.exponential(self.immigrant_gap_ns);
        } else {
            self.children.pop();
        }
        while self.prng.chance(CHILD_PPM) {
            let delay = 1 + self.prng.exponential(CHILD_DELAY_NS);
            self.children.push(Reverse(at + delay));
        }
        at
    }
}

/// What a trader sees of one instrument, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Quote {
    /// Instrument id.
    pub(crate) instrument: u16,
    /// The mark of the last risk table; nothing is quoted before it is known.
    pub(crate) mark: Option<i64>,
    /// Best prices of the book.
    pub(crate) bid: Option<i64>,
    pub(crate) ask: Option<i64>,
    /// Prices that may trade, both ends included.
    pub(crate) collar: (i64, i64),
    /// Perpetual or option: options have their own spread and size.
    pub(crate) option: bool,
}

impl Quote {
    fn half_spread(&self, mark: i64) -> i64 {
        // 0.4 basis points on the perpetual, half a percent of the premium on an option.
        if self.option {
            2 + mark / 200
        } else {
            1 + mark / 25_000
        }
    }
    fn best(&self, side: Side) -> Option<i64> {
        match side {
            Side::Buy => self.bid,
            Side::Sell => self.ask,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    Empty,
    Opening {
        name: u64,
        price: i64,
        lots: i64,
    },
    Live {
        name: u64,
        price: i64,
        lots: i64,
    },
    Changing {
        name: u64,
        next: u64,
        was: (i64, i64),
        price: i64,
        lots: i64,
    },
    Closing {
        name: u64,
        request: u64,
    },
}

/// A market maker: keeps quotes around its view of the fair price and leans against its inventory.
#[derive(Debug)]
pub(crate) struct Maker {
    account: u32,
    prng: Prng,
    /// By place in the market slice, then side, then level.
    slots: Vec<Slot>,
    /// Lots held, and the maker's own view against the mark in ticks, by place in the market slice.
    inventory: Vec<i64>,
    lean: Vec<i64>,
    /// Slot by client order id.
    names: BTreeMap<u64, usize>,
}

impl Maker {
    pub(crate) fn new(seed: u64, account: u32, instruments: usize) -> Self {
        Self {
            account,
            prng: Prng::new(seed, 0x3A4E_0000 + u64::from(account)),
            slots: vec![Slot::Empty; instruments * 2 * LEVELS],
            inventory: vec![0; instruments],
            lean: vec![0; instruments],
            names: BTreeMap::new(),
        }
    }

    /// What to send now under the client order id `name`, if anything.
    pub(crate) fn act(&mut self, name: u64, market: &[Quote]) -> Option<Order> {
        let slot = self.choose(market)?;
        let at = slot / (2 * LEVELS);
        let quote = &market[at];
        let target = self.target(slot, quote);
        let dice = self.prng.below(100);
        let lots = self.prng.size(if quote.option { 3 } else { 8 }, 200);
        let side = side_of(slot);
        let order = |ask| {
            Some(Order {
                account: self.account,
                instrument: quote.instrument,
                ask,
            })
        };
        match (self.slots[slot], target) {
            (Slot::Empty, Some(price)) => {
                self.slots[slot] = Slot::Opening { name, price, lots };
                self.names.insert(name, slot);
                order(Ask::New {
                    side: side as u8,
                    price_ticks: Some(price),
                    lots,
                    tif: TIF_GTC,
                    flags: FLAG_POST_ONLY | FLAG_CANCEL_ON_DISCONNECT,
                    stp: STP_CANCEL_MAKER,
                })
            }
            (Slot::Live { name: orig, .. }, target) if target.is_none() || dice < 45 => {
                self.slots[slot] = Slot::Closing {
                    name: orig,
                    request: name,
                };
                self.names.insert(name, slot);
                order(Ask::Cancel { orig })
            }
            (
                Slot::Live {
                    name: orig,
                    price: old,
                    lots: open,
                },
                Some(price),
            ) => {
                // Some changes only take a part off, which keeps the place in the queue.
                let (price, lots) = if dice < 55 && open > 1 {
                    (old, open - open / 2)
                } else {
                    (price, lots)
                };
                if (price, lots) == (old, open) {
                    return None;
                }
                self.slots[slot] = Slot::Changing {
                    name: orig,
                    next: name,
                    was: (old, open),
                    price,
                    lots,
                };
                self.names.insert(name, slot);
                order(Ask::Replace {
                    orig,
                    price_ticks: price,
                    lots,
                    flags: FLAG_POST_ONLY,
                })
            }
            _ => None,
        }
    }

    /// Of four random slots the one whose quote is farthest from where it should be.
    fn choose(&mut self, market: &[Quote]) -> Option<usize> {
        let mut best = None;
        for _ in 0..4 {
            // Half of the activity is on the first instrument, the perpetual.
            let at = if self.prng.chance(500_000) {
                0
            } else {
                self.prng.below(market.len() as u64) as usize
            };
            let slot = at * 2 * LEVELS + self.prng.below(2 * LEVELS as u64) as usize;
            let drift = self.prng.normal(2);
            self.lean[at] = (self.lean[at] + drift) * 9 / 10;
            let target = self.target(slot, &market[at]);
            let urgency = match (self.slots[slot], target) {
                (Slot::Empty, Some(_)) => 4,
                (Slot::Live { price, .. }, Some(want)) => (price - want).abs(),
                (Slot::Live { .. }, None) => i64::MAX,
                _ => continue,
            };
            if best.is_none_or(|(most, _)| urgency > most) {
                best = Some((urgency, slot));
            }
        }
        best.map(|(_, slot)| slot)
    }

    /// Where the slot's quote should stand; `None` when it should not.
    fn target(&self, slot: usize, quote: &Quote) -> Option<i64> {
        let mark = quote.mark?;
        let at = slot / (2 * LEVELS);
        let level = (slot % LEVELS) as i64;
        let side = side_of(slot);
        if self.inventory[at] * side.sign() >= INVENTORY_LOTS_MAX {
            return None;
        }
        let half = quote.half_spread(mark);
        let skew = (self.inventory[at] / LOTS_PER_SKEW_TICK).clamp(-3 * half, 3 * half);
        let away = half * (level + 1);
        let mut price = mark + self.lean[at] - skew - side.sign() * away;
        // Not through the other side as the feed shows it; the venue may know better and refuse.
        if let Some(other) = quote.best(side.opposite()) {
            price = match side {
                Side::Buy => price.min(other - 1),
                Side::Sell => price.max(other + 1),
            };
        }
        let (lo, hi) = quote.collar;
        (lo.max(1) <= price && price <= hi).then_some(price)
    }

    /// Takes note of a report. `at` gives the place of an instrument in the market slice.
    pub(crate) fn on_report(&mut self, report: &Report, at: impl Fn(u16) -> Option<usize>) {
        match report {
            Report::Accepted(m) => self.opened(m.cl_ord_id),
            Report::Replaced(m) => self.changed(m.cl_ord_id, m.quantity),
            Report::Canceled(m) => self.left(m.cl_ord_id, m.leaves),
            Report::Rejected(m) => self.refused(m.cl_ord_id),
            Report::Filled(m) => {
                if let (Some(at), Some(side)) = (at(m.instrument), Side::from_wire(m.side)) {
                    self.inventory[at] += side.sign() * m.quantity;
                }
                self.left(m.cl_ord_id, m.leaves);
            }
            _ => {}
        }
    }

    /// The request of this name never arrived.
    pub(crate) fn lost(&mut self, name: u64) {
        self.refused(name);
    }

    fn slot_mut(&mut self, name: u64) -> Option<&mut Slot> {
        self.names.get(&name).map(|&slot| &mut self.slots[slot])
    }

    fn opened(&mut self, name: u64) {
        if let Some(slot) = self.slot_mut(name)
            && let Slot::Opening { name, price, lots } = *slot
        {
            *slot = Slot::Live { name, price, lots };
        }
    }

    fn changed(&mut self, next: u64, lots: i64) {
        let Some(slot) = self.slot_mut(next) else {
            return;
        };
        if let Slot::Changing { name, price, .. } = *slot {
            *slot = Slot::Live {
                name: next,
                price,
                lots,
            };
            self.names.remove(&name);
        }
    }

    /// So much of the order of this name is left; without any it left the book.
    fn left(&mut self, name: u64, leaves: i64) {
        if leaves == 0 {
            self.gone(name);
        } else if let Some(Slot::Live { lots, .. }) = self.slot_mut(name) {
            *lots = leaves;
        }
    }

    /// The order of this name left the book.
    fn gone(&mut self, name: u64) {
        let Some(slot) = self.slot_mut(name) else {
            return;
        };
        let owns = match *slot {
            Slot::Empty => false,
            Slot::Opening { name: n, .. }
            | Slot::Live { name: n, .. }
            | Slot::Closing { name: n, .. } => n == name,
            Slot::Changing { name: n, next, .. } => n == name || next == name,
        };
        if owns && let Slot::Closing { request: other, .. } = std::mem::replace(slot, Slot::Empty) {
            self.names.remove(&other);
        }
        self.names.remove(&name);
    }

    /// The request of this name was refused and changed nothing.
    fn refused(&mut self, name: u64) {
        let Some(slot) = self.slot_mut(name) else {
            return;
        };
        *slot = match *slot {
            Slot::Changing {
                name: old,
                next,
                was: (price, lots),
                ..
            } if next == name => Slot::Live {
                name: old,
                price,
                lots,
            },
            // A refused cancel means that the order is gone already.
            Slot::Closing { request, .. } if request == name => Slot::Empty,
            Slot::Opening { name: n, .. } if n == name => Slot::Empty,
            other => other,
        };
        self.names.remove(&name);
    }
}

const fn side_of(slot: usize) -> Side {
    if (slot / LEVELS).is_multiple_of(2) {
        Side::Buy
    } else {
        Side::Sell
    }
}

/// A taker: mostly immediate-or-cancel orders that probe inside the spread, some that hit.
#[derive(Debug)]
pub(crate) struct Taker {
    account: u32,
    prng: Prng,
    /// Fills that it may still make, in millionths; negative while it waits.
    budget: i64,
    budget_ns: u64,
    per_1000_s: i64,
    /// Leans to one side for a while, so that the tape has runs.
    side: Side,
}

impl Taker {
    /// A taker that aims at `fills_per_1000_s`.
    pub(crate) fn new(seed: u64, account: u32, fills_per_1000_s: u64) -> Self {
        let mut prng = Prng::new(seed, 0x7A4E_0000 + u64::from(account));
        Self {
            account,
            // Not all of them start alike, or they would all hit at once.
            budget: prng.between(0, FILL),
            prng,
            budget_ns: 0,
            per_1000_s: fills_per_1000_s as i64,
            side: Side::Buy,
        }
    }

    /// What to send at `now_ns` since the start, if anything.
    pub(crate) fn act(&mut self, now_ns: u64, market: &[Quote]) -> Option<Order> {
        let passed_ms = now_ns.saturating_sub(self.budget_ns) / 1_000_000;
        self.budget_ns += passed_ms * 1_000_000;
        // Thousandths of a fill a second, times ms.
        self.budget = (self.budget + passed_ms as i64 * self.per_1000_s).min(2 * FILL);
        let at = if self.prng.chance(600_000) {
            0
        } else {
            self.prng.below(market.len() as u64) as usize
        };
        let dice = self.prng.below(1_000);
        if self.prng.chance(200_000) {
            self.side = self.side.opposite();
        }
        let quote = &market[at];
        let mark = quote.mark?;
        let lots = self.prng.size(if quote.option { 1 } else { 3 }, 40);
        let side = self.side;
        let through = side.sign() * quote.half_spread(mark);
        let price = match quote.best(side.opposite()) {
            // A finger slips: far outside the collar.
            _ if dice < 12 => Some(mark + side.sign() * (mark / 2)),
            Some(_) if dice < 30 && self.budget >= FILL => None,
            Some(best) if dice < 600 && self.budget >= FILL => Some(best + through / 4),
            // A probe near the middle, short of what is offered as far as the feed tells.
            Some(best) => {
                let middle = mark - through / 2;
                Some(match side {
                    Side::Buy => middle.min(best - 1),
                    Side::Sell => middle.max(best + 1),
                })
            }
            None => Some(mark - through / 2),
        };
        Some(Order {
            account: self.account,
            instrument: quote.instrument,
            ask: Ask::New {
                side: side as u8,
                price_ticks: price.map(|p| p.max(1)),
                lots,
                tif: TIF_IOC,
                flags: 0,
                stp: STP_CANCEL_MAKER,
            },
        })
    }

    /// Takes note of a report.
    pub(crate) fn on_report(&mut self, report: &Report) {
        if matches!(report, Report::Filled(_)) {
            self.budget -= FILL;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use firmware::wire::report::{Accepted, Canceled, Replaced};

    fn market(mark: i64) -> Vec<Quote> {
        let quote = |instrument, mark, option| Quote {
            instrument,
            mark: Some(mark),
            bid: Some(mark - 30),
            ask: Some(mark + 30),
            collar: (mark / 2, mark * 2),
            option,
        };
        vec![quote(0, mark, false), quote(1, 2_000, true)]
    }

    /// The answer of a venue that grants everything.
    fn granted(name: u64, order: &Order) -> Report {
        let (mut accepted, mut replaced, mut canceled): (Accepted, Replaced, Canceled) =
            (Zeroable::zeroed(), Zeroable::zeroed(), Zeroable::zeroed());
        match order.ask {
            Ask::Replace { lots, .. } => {
                (replaced.cl_ord_id, replaced.quantity) = (name, lots);
                Report::Replaced(replaced)
            }
            Ask::Cancel { orig } => {
                canceled.cl_ord_id = orig;
                Report::Canceled(canceled)
            }
            _ => {
                accepted.cl_ord_id = name;
                Report::Accepted(accepted)
            }
        }
    }

    fn maker_run(seed: u64) -> Vec<Order> {
        let mut maker = Maker::new(seed, 1, 2);
        (1..2_000u64)
            .filter_map(|name| {
                let order = maker.act(name, &market(600_000 + name as i64 % 50))?;
                maker.on_report(&granted(name, &order), |i| Some(usize::from(i)));
                Some(order)
            })
            .collect()
    }

    fn taker_run(seed: u64) -> Vec<Order> {
        let mut taker = Taker::new(seed, 5, 3_500);
        (0..1_000u64)
            .filter_map(|k| taker.act(k * 100_000_000, &market(600_000)))
            .collect()
    }

    #[test]
    fn an_order_that_is_only_cut_stays() {
        let mut maker = Maker::new(1, 1, 2);
        let order = maker.act(1, &market(600_000)).unwrap();
        let at = |i| Some(usize::from(i));
        maker.on_report(&granted(1, &order), at);
        let is_live = |maker: &Maker, of: i64| {
            let slots = maker.slots.iter();
            let live =
                slots.filter(|s| matches!(s, Slot::Live { name: 1, lots, .. } if *lots == of));
            live.count() == 1
        };
        let cut = |leaves| {
            Report::Canceled(Canceled {
                cl_ord_id: 1,
                leaves,
                ..Canceled::zeroed()
            })
        };
        maker.on_report(&cut(3), at);
        assert!(is_live(&maker, 3));
        maker.on_report(&cut(0), at);
        assert!(!is_live(&maker, 3) && maker.names.is_empty());
    }

    #[test]
    fn a_seed_fixes_the_flow() {
        assert_eq!(maker_run(4), maker_run(4));
        assert_ne!(maker_run(4), maker_run(5));
        assert_eq!(taker_run(4), taker_run(4));
        assert_ne!(taker_run(4), taker_run(5));
    }

    #[test]
    fn arrivals_keep_their_mean_rate_and_come_in_bursts() {
        let mut a = Arrivals::new(1, 2, 200_000);
        let times: Vec<u64> = (0..20_000).map(|_| a.take()).collect();
        assert!(times.is_sorted());
        let rate = 20_000 * SECOND_NS / times[19_999];
        assert!((180..220).contains(&rate), "{rate} a second");
        // In windows of 20 ms a process without memory would have a variance equal to its mean, 4.
        let windows = times[19_999] / 20_000_000;
        let mut counts = vec![0i64; windows as usize + 1];
        times
            .iter()
            .for_each(|t| counts[(t / 20_000_000) as usize] += 1);
        let mean = 20_000 / windows as i64;
        let variance = counts.iter().map(|c| (c - mean).pow(2)).sum::<i64>() / windows as i64;
        assert!(variance > 2 * mean, "variance {variance}, mean {mean}");
    }

    #[test]
    fn makers_never_quote_through_the_other_side_or_outside_the_collar() {
        for order in maker_run(9) {
            let quote = &market(600_000)[usize::from(order.instrument)];
            let (price, side) = match order.ask {
                Ask::New {
                    price_ticks: Some(p),
                    side,
                    ..
                } => (p, side),
                Ask::Replace { price_ticks, .. } => (price_ticks, 2),
                _ => continue,
            };
            assert!(quote.collar.0 <= price && price <= quote.collar.1);
            assert!(side != 0 || price < quote.ask.expect("set") + 50);
            assert!(side != 1 || price > quote.bid.expect("set"));
        }
    }

    #[test]
    fn most_of_the_makers_traffic_is_changes_and_cancels() {
        let orders = maker_run(2);
        let new = orders
            .iter()
            .filter(|o| matches!(o.ask, Ask::New { .. }))
            .count();
        assert!(
            orders.len() > 200 && new * 2 < orders.len() + 10,
            "{new} of {}",
            orders.len()
        );
    }

    #[test]
    fn a_taker_stops_hitting_when_its_budget_is_spent() {
        let mut taker = Taker::new(1, 5, 0);
        for _ in 0..500 {
            let Some(order) = taker.act(0, &market(600_000)) else {
                continue;
            };
            let Ask::New {
                price_ticks: Some(price),
                side,
                ..
            } = order.ask
            else {
                panic!("no budget, no market order")
            };
            if order.instrument == 0 && (price - 600_000).abs() < 100_000 {
                assert!(if side == 0 {
                    price < 600_000
                } else {
                    price > 600_000
                });
            }
        }
    }
}
