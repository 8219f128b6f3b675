//! The market that a LOBSTER file recorded: what traded there, and its best prices over time, from the
//! file's own messages. Kept beside the steps, so that the replay can be compared with it.
//!
//! The file begins in the middle of a day: orders from before it are not in the book that is rebuilt here,
//! only their executions are seen.

use super::Step;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Looks at the best prices, evenly over the run.
pub(crate) const MOMENTS: u64 = 20;

/// A number of fills or executions, and their lots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Amount {
    pub(crate) count: u64,
    pub(crate) lots: i64,
}

impl Amount {
    /// Counts one more.
    pub(crate) fn add(&mut self, lots: i64) {
        self.count += 1;
        self.lots += lots;
    }

    /// The sum of many.
    pub(crate) fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        all.into_iter().fold(Self::default(), |a, b| Self {
            count: a.count + b.count,
            lots: a.lots + b.lots,
        })
    }
}

/// What a step does in the recorded market.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Deed {
    /// Posts the order.
    Post,
    /// Takes the order off, or a part of it.
    Withdraw,
    /// Executes so many lots of the order.
    Execute { lots: i64 },
}

/// The recorded message behind a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// Who sends the step.
    pub(crate) member: u32,
    /// The file's name of the order.
    pub(crate) order: u64,
    pub(crate) deed: Deed,
}

/// The best price of a side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Best {
    /// In the file's units.
    pub(crate) price: i64,
    /// The file's names of the orders there.
    pub(crate) orders: Vec<u64>,
}

/// Both sides at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// ns since the start of trading.
    pub(crate) at_ns: u64,
    /// Bid and ask.
    pub(crate) best: [Option<Best>; 2],
}

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Market {
    /// The file's prices in a tick of the instrument.
    pub(crate) prices_per_tick: i64,
    /// A tick in micro-units.
    pub(crate) tick_micro: i64,
    /// All executions, of visible and hidden orders.
    pub(crate) executions: Amount,
    /// Those that no step stands for, by reason.
    pub(crate) not_replayed: BTreeMap<String, Amount>,
    /// One for each step.
    pub(crate) origins: Vec<Origin>,
    /// Why an order of the file has no step.
    pub(crate) not_posted: BTreeMap<u64, String>,
    pub(crate) moments: Vec<Moment>,
}

/// A visible order of the file.
struct Visible {
    buy: bool,
    price: i64,
    left: i64,
}

/// Puts the market together, message by message.
pub(super) struct Recorder {
    pub(super) market: Market,
    run_ns: u64,
    orders: BTreeMap<u64, Visible>,
    /// By side and price: names in the order of arrival.
    levels: [BTreeMap<i64, Vec<u64>>; 2],
}

/// What the recorder looks at in a message.
pub(super) struct Seen<'a> {
    pub(super) at_ns: u64,
    /// LOBSTER's type.
    pub(super) kind: u8,
    pub(super) order: u64,
    pub(super) size: i64,
    pub(super) price: i64,
    pub(super) buy: bool,
    /// The step that stands for it, with its lots; or why there is none.
    pub(super) step: Result<(&'a Step, i64), &'a str>,
}

impl Recorder {
    pub(super) fn new(seconds: u64, prices_per_tick: i64, tick_micro: i64) -> Self {
        Self {
            market: Market {
                prices_per_tick,
                tick_micro,
                ..Market::default()
            },
            run_ns: seconds * 1_000_000_000,
            orders: BTreeMap::new(),
            levels: [BTreeMap::new(), BTreeMap::new()],
        }
    }

    /// An execution beyond what is replayed.
    pub(super) fn beyond(&mut self, why: &str, executions: Amount) {
        if executions.count > 0 {
            let all = &mut self.market.executions;
            *all = Amount::sum([&*all, &executions]);
            self.market.not_replayed.insert(why.to_owned(), executions);
        }
    }

    pub(super) fn message(&mut self, m: &Seen<'_>) {
        self.moments_before(m.at_ns);
        if matches!(m.kind, 4 | 5) {
            self.execution(m);
        }
        if m.kind == 1
            && let Err(why) = m.step
            && !self.orders.contains_key(&m.order)
        {
            self.market.not_posted.insert(m.order, why.to_owned());
        }
        if let Ok((step, lots)) = m.step {
            self.market.origins.push(Origin {
                member: step.member,
                order: m.order,
                deed: match m.kind {
                    1 => Deed::Post,
                    4 => Deed::Execute { lots },
                    _ => Deed::Withdraw,
                },
            });
        }
        self.rebuild(m);
    }

    fn execution(&mut self, m: &Seen<'_>) {
        self.market.executions.add(m.size);
        let mut miss = |why: &str, lots| {
            let all = &mut self.market.not_replayed;
            all.entry(why.to_owned()).or_default().add(lots);
        };
        match m.step {
            Err(why) => miss(why, m.size),
            Ok((_, lots)) if lots < m.size => {
                miss("execution of more than the order had left", m.size - lots);
            }
            Ok(_) => {}
        }
    }

    fn rebuild(&mut self, m: &Seen<'_>) {
        match m.kind {
            1 if !self.orders.contains_key(&m.order) => {
                let order = Visible {
                    buy: m.buy,
                    price: m.price,
                    left: m.size,
                };
                let level = self.levels[usize::from(!m.buy)].entry(m.price).or_default();
                level.push(m.order);
                self.orders.insert(m.order, order);
            }
            2..=4 => {
                let Some(order) = self.orders.get_mut(&m.order) else {
                    return;
                };
                order.left -= if m.kind == 3 { order.left } else { m.size };
                if order.left <= 0 {
                    let (side, price) = (usize::from(!order.buy), order.price);
                    self.orders.remove(&m.order);
                    let level = self.levels[side].entry(price).or_default();
                    level.retain(|&order| order != m.order);
                    if level.is_empty() {
                        self.levels[side].remove(&price);
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes the moments that come before a message at `at_ns`.
    fn moments_before(&mut self, at_ns: u64) {
        loop {
            let due = (self.market.moments.len() as u64 + 1) * self.run_ns / MOMENTS;
            if due >= at_ns || due > self.run_ns {
                return;
            }
            let best = |(price, orders): (&i64, &Vec<u64>)| Best {
                price: *price,
                orders: orders.clone(),
            };
            let [bids, asks] = &self.levels;
            let best = [
                bids.last_key_value().map(best),
                asks.first_key_value().map(best),
            ];
            self.market.moments.push(Moment { at_ns: due, best });
        }
    }

    /// The market, with all moments of the run.
    pub(super) fn finish(mut self) -> Market {
        self.moments_before(u64::MAX);
        self.market
    }
}
