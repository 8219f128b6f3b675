//! `bench workload DIR`: makes the recorded streams that `bench match` plays.
//!
//! | Stream | Live orders | Prices | Timed commands |
//! |---|---|---|---|
//! | `touch` | 8,000 | 1,001 | about half new, 40 % cancel, 5 % replace, 5 % marketable |
//! | `deep` | 200,000 | 40,001 | the same |
//! | `moves` | 1,000 | 1,001 | 82 % replace, else as the mix that exchange-core publishes for its tests |
//! | `far` | 1,000,000 | 200,001 | as `touch` |
//!
//! A cancel or replace names any live order with the same chance. A marketable order takes up to five
//! levels and at most 24 orders; four of five are immediate-or-cancel, and of the others a quarter sweep
//! more than there is and rest the remainder. Fills remove orders too, so the chance of a new order is
//! steered to hold the number of live orders. The middle of the market wanders and is pulled back.
//!
//! All is integer arithmetic from a fixed seed, so a stream has the same bytes on every machine. A plain
//! matcher (maps and queues) runs beside and gives the totals that stand in the header.

use super::workload::{Command, Op, Totals, Workload};
use crate::prng::Prng;
use anyhow::{Context, Result};
use firmware::units::Side;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

/// `bench workload`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder to write to; it is made if it is missing.
    dir: PathBuf,
    /// Only these streams.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Makes the streams.
///
/// # Errors
/// When the folder cannot be written, or a stream is asked for that does not exist.
pub(crate) fn run(args: &Args) -> Result<()> {
    let known = |name: &String| ALL.iter().any(|r| r.name == name);
    if let Some(unknown) = args.only.iter().find(|name| !known(name)) {
        anyhow::bail!("there is no stream {unknown:?}");
    }
    std::fs::create_dir_all(&args.dir)
        .with_context(|| format!("creating {}", args.dir.display()))?;
    for recipe in ALL {
        if !args.only.is_empty() && !args.only.iter().any(|name| name == recipe.name) {
            continue;
        }
        let workload = recipe.make();
        let path = args.dir.join(format!("{}.obw", recipe.name));
        std::fs::write(&path, workload.encode())
            .with_context(|| format!("writing {}", path.display()))?;
        let t = workload.totals;
        println!(
            "{}: {} commands, {} of them timed, up to {} live orders, {} fills, volume {}, checksum {:016x}",
            path.display(),
            workload.commands.len(),
            workload.timed().len(),
            workload.live_max,
            t.fills,
            t.volume,
            t.checksum
        );
    }
    Ok(())
}

/// Largest quantity of a new order, lots.
const LOTS_MAX: i64 = 100;
/// Most resting orders that a marketable order is meant to meet.
const TAKEN_MAX: usize = 24;
/// The middle is reckoned in this part of a tick.
const MIDDLE_UNIT: i64 = 16;

/// What a stream is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub(super) name: &'static str,
    pub(super) seed: u64,
    /// Middle of the range of prices.
    pub(super) center: i32,
    /// Prices run so far from it.
    pub(super) half_width: i32,
    /// Live orders that the stream holds.
    pub(super) live: u32,
    /// Commands between the first build of the book and the timed part.
    pub(super) settle: u32,
    pub(super) timed: u32,
    /// Chances of new, cancel, replace and marketable, out of a thousand.
    pub(super) mix: [u64; 4],
    /// How far from the middle a new order rests: chance out of a thousand, from, to, in ticks.
    pub(super) away: &'static [(u64, i64, i64)],
    /// Largest step of the middle, in sixteenths of a tick, every fourth command.
    pub(super) step: i64,
    /// Largest move of a replace, ticks.
    pub(super) move_max: i64,
}

const MIX: [u64; 4] = [450, 450, 50, 50];

pub(super) const TOUCH: Recipe = Recipe {
    name: "touch",
    seed: 20_260_101,
    center: 10_000,
    half_width: 500,
    live: 8_000,
    settle: 32_000,
    timed: 2_000_000,
    mix: MIX,
    away: &[(100, 0, 4), (250, 5, 24), (400, 25, 124), (250, 125, 460)],
    step: 12,
    move_max: 8,
};

pub(super) const DEEP: Recipe = Recipe {
    name: "deep",
    seed: 20_260_102,
    center: 30_000,
    half_width: 20_000,
    live: 200_000,
    settle: 800_000,
    away: &[
        (60, 0, 30),
        (140, 31, 300),
        (300, 301, 3_000),
        (500, 3_001, 19_500),
    ],
    step: 200,
    move_max: 400,
    ..TOUCH
};

pub(super) const MOVES: Recipe = Recipe {
    name: "moves",
    seed: 20_260_103,
    live: 1_000,
    settle: 4_000,
    mix: [90, 60, 820, 30],
    away: &[(150, 0, 20), (350, 21, 150), (500, 151, 400)],
    move_max: 40,
    ..TOUCH
};

pub(super) const FAR: Recipe = Recipe {
    name: "far",
    seed: 20_260_104,
    center: 300_000,
    half_width: 100_000,
    live: 1_000_000,
    settle: 1_000_000,
    away: &[
        (60, 0, 150),
        (140, 151, 1_500),
        (300, 1_501, 15_000),
        (500, 15_001, 97_500),
    ],
    step: 1_000,
    move_max: 2_000,
    ..TOUCH
};

const ALL: [Recipe; 4] = [TOUCH, DEEP, MOVES, FAR];

impl Recipe {
    /// The whole stream with its totals.
    pub(super) fn make(&self) -> Workload {
        let mut maker = Maker::new(*self);
        while maker.book.live.len() < self.live as usize {
            maker.rest();
        }
        maker.play(self.settle);
        let warmup = maker.commands.len();
        maker.play(self.timed);
        let before_drain = maker.commands.len();
        maker.drain();
        Workload {
            name: self.name.into(),
            seed: self.seed,
            price_min: maker.lowest(),
            price_max: maker.highest(),
            id_max: maker.next_id - 1,
            live_max: maker.book.live_max as u32,
            warmup,
            drain: maker.commands.len() - before_drain,
            totals: maker.book.totals,
            priceless: maker.book.priceless,
            commands: maker.commands,
        }
    }
}

/// An order of the plain matcher, under its id.
#[derive(Clone, Copy, Debug)]
struct Resting {
    side: Side,
    price: i32,
    lots: u32,
    /// Its place in [`Plain::live`], if it rests.
    place: Option<u32>,
}

/// The plain matcher.
#[derive(Debug, Default)]
struct Plain {
    /// Queues of ids by price: bids, asks.
    sides: [BTreeMap<i32, VecDeque<u32>>; 2],
    /// By id.
    orders: BTreeMap<u32, Resting>,
    /// Ids that rest, so that any can be drawn with the same chance.
    live: Vec<u32>,
    live_max: usize,
    totals: Totals,
    /// The checksum with all prices zero.
    priceless: u64,
}

impl Plain {
    fn best(&self, side: Side) -> Option<i32> {
        let prices = &self.sides[side as usize];
        match side {
            Side::Buy => prices.keys().next_back().copied(),
            Side::Sell => prices.keys().next().copied(),
        }
    }

    /// Matches, then rests what is left unless it is immediate-or-cancel.
    fn enter(&mut self, c: &Command) {
        let other = c.side.opposite();
        let mut left = c.lots;
        while left > 0 {
            let Some(price) = self.best(other) else { break };
            let meets = match c.side {
                Side::Buy => price <= c.price,
                Side::Sell => price >= c.price,
            };
            if !meets {
                break;
            }
            let maker = self.sides[other as usize][&price][0];
            let order = self.orders.get_mut(&maker).expect("a queued order lives");
            let lots = left.min(order.lots);
            order.lots -= lots;
            left -= lots;
            let is_gone = order.lots == 0;
            self.totals.add(maker, c.id, price, lots);
            let mut priceless = Totals {
                checksum: self.priceless,
                ..Totals::default()
            };
            priceless.add(maker, c.id, 0, lots);
            self.priceless = priceless.checksum;
            if is_gone {
                self.remove(maker);
            }
        }
        if left > 0 && c.op != Op::Ioc {
            let queue = self.sides[c.side as usize].entry(c.price).or_default();
            queue.push_back(c.id);
            let resting = Resting {
                side: c.side,
                price: c.price,
                lots: left,
                place: Some(self.live.len() as u32),
            };
            self.orders.insert(c.id, resting);
            self.live.push(c.id);
            self.live_max = self.live_max.max(self.live.len());
        }
    }

    fn remove(&mut self, id: u32) {
        let order = self.orders.remove(&id).expect("only live orders go");
        let prices = &mut self.sides[order.side as usize];
        let queue = prices.get_mut(&order.price).expect("it has a queue");
        let at = queue.iter().position(|q| *q == id);
        queue.remove(at.expect("it stands in its queue"));
        if queue.is_empty() {
            prices.remove(&order.price);
        }
        let place = order.place.expect("it rests");
        self.live.swap_remove(place as usize);
        if let Some(moved) = self.live.get(place as usize) {
            let moved = self.orders.get_mut(moved).expect("it lives");
            moved.place = Some(place);
        }
    }
}

/// Draws commands and applies each to the plain matcher.
struct Maker {
    recipe: Recipe,
    prng: Prng,
    book: Plain,
    commands: Vec<Command>,
    /// Of the market, less the center, in [`MIDDLE_UNIT`]s.
    middle: i64,
    next_id: u32,
}

impl Maker {
    fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            prng: Prng::new(recipe.seed, 0),
            book: Plain::default(),
            commands: Vec::new(),
            middle: 0,
            next_id: 1,
        }
    }

    const fn lowest(&self) -> i32 {
        self.recipe.center - self.recipe.half_width
    }

    const fn highest(&self) -> i32 {
        self.recipe.center + self.recipe.half_width
    }

    fn middle(&self) -> i64 {
        i64::from(self.recipe.center) + self.middle / MIDDLE_UNIT
    }

    fn side(&mut self) -> Side {
        if self.prng.below(2) == 0 {
            Side::Buy
        } else {
            Side::Sell
        }
    }

    fn fresh_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn push(&mut self, op: Op, side: Side, id: u32, price: i32, lots: u32) {
        let command = Command {
            op,
            side,
            id,
            price,
            lots,
        };
        match op {
            Op::Limit | Op::Ioc => self.book.enter(&command),
            Op::Cancel => self.book.remove(id),
            Op::Replace => {
                self.book.remove(id);
                self.book.enter(&command);
            }
        }
        self.commands.push(command);
    }

    fn play(&mut self, commands: u32) {
        for n in 0..commands {
            if n % 4 == 0 {
                self.wander();
            }
            let (live, wanted) = (self.book.live.len() as i64, i64::from(self.recipe.live));
            let lack = ((wanted - live) * 2_000 / wanted).clamp(-200, 200);
            let [new, cancel, replace, take] = self.recipe.mix;
            let new = new.saturating_add_signed(lack).max(20);
            let cancel = cancel.saturating_add_signed(-lack).max(20);
            let dice = self.prng.below(new + cancel + replace + take);
            if dice < new {
                self.rest();
            } else if dice < new + cancel {
                self.cancel();
            } else if dice < new + cancel + replace {
                self.replace();
            } else {
                self.take();
            }
        }
    }

    /// Moves the middle; the further out it is, the more it is pulled back.
    fn wander(&mut self) {
        let step = self.recipe.step;
        let pull = self.middle >> 10;
        let bound = i64::from(self.recipe.half_width) / 2 * MIDDLE_UNIT;
        self.middle += self.prng.between(-step, step) - pull;
        self.middle = self.middle.clamp(-bound, bound);
    }

    /// The price nearest to `wanted` at which an order of `side` rests, if the range of prices has one.
    fn passive(&self, side: Side, wanted: i64) -> Option<i32> {
        let (low, high) = (self.lowest(), self.highest());
        let wanted = wanted.clamp(low.into(), high.into()) as i32;
        let other = self.book.best(side.opposite());
        let price = match side {
            Side::Buy => other.map_or(wanted, |ask| wanted.min(ask - 1)),
            Side::Sell => other.map_or(wanted, |bid| wanted.max(bid + 1)),
        };
        (low..=high).contains(&price).then_some(price)
    }

    /// A new order that rests.
    fn rest(&mut self) {
        loop {
            let side = self.side();
            let mut dice = self.prng.below(1_000);
            let band = self.recipe.away.iter().find(|band| {
                let hit = dice < band.0;
                dice = dice.saturating_sub(band.0);
                hit
            });
            let (_, from, to) = *band.expect("the chances add up to a thousand");
            let away = 1 + self.prng.between(from, to);
            let wanted = self.middle() - side.sign() * away;
            if let Some(price) = self.passive(side, wanted) {
                let lots = self.prng.between(1, LOTS_MAX) as u32;
                let id = self.fresh_id();
                return self.push(Op::Limit, side, id, price, lots);
            }
        }
    }

    fn any_live(&mut self) -> Option<u32> {
        let count = self.book.live.len() as u64;
        (count > 0).then(|| self.book.live[self.prng.below(count) as usize])
    }

    fn cancel(&mut self) {
        let Some(id) = self.any_live() else {
            return self.rest();
        };
        let order = self.book.orders[&id];
        self.push(Op::Cancel, order.side, id, order.price, 0);
    }

    /// Three of four change the price, by as much towards the middle as away from it; the others grow.
    fn replace(&mut self) {
        let Some(id) = self.any_live() else {
            return self.rest();
        };
        let order = self.book.orders[&id];
        let (mut price, mut lots) = (order.price, order.lots);
        if self.prng.below(4) == 0 {
            lots += self.prng.between(1, 50) as u32;
        } else {
            let moved = self.prng.between(1, self.recipe.move_max);
            let sign = if self.prng.below(2) == 0 { 1 } else { -1 };
            match self.passive(order.side, i64::from(price) + sign * moved) {
                Some(p) => price = p,
                None => lots += 1,
            }
        }
        self.push(Op::Replace, order.side, id, price, lots.min(1_000));
    }

    fn take(&mut self) {
        let bests = (self.book.best(Side::Buy), self.book.best(Side::Sell));
        let (Some(bid), Some(ask)) = bests else {
            return self.rest();
        };
        // Mostly towards the middle, so that the book follows it.
        let (middle, follows) = (self.middle(), self.prng.below(10) < 8);
        let side = if follows && i64::from(ask) <= middle {
            Side::Buy
        } else if follows && i64::from(bid) >= middle {
            Side::Sell
        } else {
            self.side()
        };
        let levels = match self.prng.below(100) {
            0..=54 => 1,
            55..=76 => 2,
            77..=88 => 3,
            89..=95 => 4,
            _ => 5,
        };
        let (price, up_to_last, all) = self.reach(side.opposite(), levels);
        let mut lots = up_to_last + 1 + self.prng.below(all - up_to_last);
        let rests = self.prng.below(5) == 0;
        if rests && self.prng.below(4) == 0 {
            lots = all + self.prng.between(1, 60) as u64;
        }
        let id = self.fresh_id();
        let op = if rests { Op::Limit } else { Op::Ioc };
        self.push(op, side, id, price, lots as u32);
    }

    /// The last of the first `levels` of a side within the bound on orders, with the lots before it and
    /// the lots with it.
    fn reach(&self, side: Side, levels: usize) -> (i32, u64, u64) {
        let prices = &self.book.sides[side as usize];
        let (mut price, mut before, mut all, mut orders) = (0, 0, 0, 0);
        let mut level = |(at, queue): (&i32, &VecDeque<u32>)| {
            let taken = queue.iter().take(TAKEN_MAX);
            if orders > 0 && orders + taken.len() > TAKEN_MAX {
                return false;
            }
            orders += taken.len();
            before = all;
            all += taken
                .map(|id| u64::from(self.book.orders[id].lots))
                .sum::<u64>();
            price = *at;
            true
        };
        match side {
            Side::Buy => prices.iter().rev().take(levels).all(&mut level),
            Side::Sell => prices.iter().take(levels).all(&mut level),
        };
        (price, before, all)
    }

    /// Two sweeps empty the book, so that the checksum covers what was left on it.
    fn drain(&mut self) {
        for (side, price) in [(Side::Buy, self.highest()), (Side::Sell, self.lowest())] {
            let id = self.fresh_id();
            self.push(Op::Ioc, side, id, price, 1_000_000_000);
        }
        assert!(self.book.live.is_empty(), "a sweep takes all");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stream of a few thousand commands.
    pub(in crate::matching) fn small(recipe: Recipe) -> Workload {
        Recipe {
            live: 400,
            settle: 400,
            timed: 4_000,
            ..recipe
        }
        .make()
    }

    #[test]
    fn a_stream_is_what_its_recipe_says() {
        let (touch, moves) = (small(TOUCH), small(MOVES));
        let share = |w: &Workload, op| {
            let hits = w.timed().iter().filter(|c| c.op == op).count();
            hits * 100 / w.timed().len()
        };
        assert!((36..52).contains(&share(&touch, Op::Cancel)));
        assert!((3..7).contains(&share(&touch, Op::Replace)));
        assert!((3..7).contains(&share(&touch, Op::Ioc)));
        assert!((78..86).contains(&share(&moves, Op::Replace)));
        assert!((400..500).contains(&touch.live_max), "{}", touch.live_max);
        assert!(touch.totals.fills > 500, "{:?}", touch.totals);
        ensure_round_trip(&touch);
    }

    fn ensure_round_trip(workload: &Workload) {
        let read = Workload::parse(&workload.encode()).unwrap();
        assert_eq!(read.totals, workload.totals);
        assert_eq!(read.commands, workload.commands);
        assert_eq!(
            (read.warmup, read.drain, read.live_max, read.seed),
            (
                workload.warmup,
                workload.drain,
                workload.live_max,
                workload.seed
            )
        );
    }

    #[test]
    fn a_seed_gives_one_stream() {
        assert_eq!(small(DEEP).encode(), small(DEEP).encode());
        let other = Recipe { seed: 1, ..DEEP };
        assert_ne!(small(other).totals, small(DEEP).totals);
    }
}
