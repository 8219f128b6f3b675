//! `bench match --depth`: whether latency grows with the number of live orders.
//!
//! Two books take turns, one with 10,000 live orders and one with 1,000,000, over the same prices; the p50
//! of each pair of runs gives one ratio, so that a machine that is slow for a while is slow for both. Two
//! questions are asked of each pair:
//!
//! - `same orders`: both books get the same commands, on the same 10,000 orders; the larger book holds
//!   990,000 more behind them, which stay. Only the work and the memory that depth itself costs differ.
//! - `any order`: a cancel or replace names any live order with the same chance. In the larger book that
//!   order's memory was last touched a million commands ago, so this shows what a cache miss costs.

use super::book_stage::BookCourse;
use super::course::{Course, Spread, Target, each, percentile};
use super::generate::{FAR, Recipe};
use super::timer::Timer;
use super::workload::{Command, Op, Workload};
use crate::prng::Prng;
use anyhow::{Result, ensure};
use firmware::units::Side;
use matcher::book::LadderBook;
use serde::Serialize;
use std::hint::black_box;

const SAME: &str = "same orders";
const ANY: &str = "any order";
/// Live orders of the smaller and of the larger book.
const LIVE: [u32; 2] = [10_000, 1_000_000];

/// What growth with depth was measured. Times are in ns.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Depth {
    question: &'static str,
    /// Live orders of the smaller and of the larger book.
    live: [u32; 2],
    commands: u64,
    pairs: u32,
    p50_ns: [Spread; 2],
    /// Of the larger book to the smaller, pair by pair.
    p50_ratio: Spread,
    p99_ratio: Spread,
}

/// Measures both questions.
pub(super) fn measure_depth(pairs: u32) -> Result<Vec<Depth>> {
    measure_sizes(pairs, LIVE, FAR)
}

fn measure_sizes(pairs: u32, live: [u32; 2], recipe: Recipe) -> Result<Vec<Depth>> {
    let of = |live: u32| Recipe { live, ..recipe };
    let small = of(live[0]).make();
    let large = with_more(&small, live[1] - live[0], recipe.seed);
    let same = ratio(SAME, live, &small, &large, pairs)?;
    drop(large);
    let any = ratio(ANY, live, &small, &of(live[1]).make(), pairs)?;
    Ok(vec![same, any])
}

/// The same stream over a book that holds `more` orders besides, which nobody touches. They rest at the
/// prices of the stream's own orders or behind them, and come in between those of the first build, so that
/// the orders of the stream are spread over the whole arena.
fn with_more(workload: &Workload, more: u32, seed: u64) -> Workload {
    let mut prng = Prng::new(seed, 1);
    let width = workload.width_ticks() as i32;
    // Behind every price that the stream trades at: outside its range, on both sides.
    let (low, high) = (
        (workload.price_min - width).max(1),
        workload.price_max + width,
    );
    let build = workload
        .warmup()
        .iter()
        .position(|c| c.op != Op::Limit)
        .unwrap_or(workload.warmup);
    let mut commands = Vec::with_capacity(workload.commands.len() + more as usize);
    let mut id = workload.id_max;
    let mut rest = |commands: &mut Vec<Command>, until: u32| {
        while id - workload.id_max < until {
            id += 1;
            let side = if prng.below(2) == 0 {
                Side::Buy
            } else {
                Side::Sell
            };
            let price = match side {
                Side::Buy => prng.between(low.into(), i64::from(workload.price_min) - 1),
                Side::Sell => prng.between(i64::from(workload.price_max) + 1, high.into()),
            };
            commands.push(Command {
                op: Op::Limit,
                side,
                id,
                price: price as i32,
                lots: prng.between(1, 100) as u32,
            });
        }
    };
    for (i, command) in workload.warmup()[..build].iter().enumerate() {
        commands.push(*command);
        rest(
            &mut commands,
            (u64::from(more) * (i as u64 + 1) / build as u64) as u32,
        );
    }
    rest(&mut commands, more);
    let warmup = commands.len() + workload.warmup - build;
    commands.extend_from_slice(&workload.commands[build..]);
    Workload {
        name: format!("{} and {more} more", workload.name),
        price_min: low,
        price_max: high,
        id_max: id,
        live_max: workload.live_max + more,
        warmup,
        commands,
        ..workload.clone()
    }
}

fn ratio(
    question: &'static str,
    live: [u32; 2],
    small: &Workload,
    large: &Workload,
    pairs: u32,
) -> Result<Depth> {
    let timer = Timer::calibrated();
    let (mut p50, mut p50_ratio, mut p99_ratio) = ([vec![], vec![]], vec![], vec![]);
    let same = question == SAME;
    let mut ticks = vec![black_box(1u32); small.timed().len().max(large.timed().len())];
    for _ in 0..pairs {
        let mut pair = [[0.0; 2]; 2];
        let mut totals = Vec::new();
        for (at, workload) in [small, large].into_iter().enumerate() {
            let course = BookCourse::<LadderBook>::new(workload);
            let ticks = &mut ticks[..workload.timed().len()];
            let mut venue = course.start()?;
            course.warmup().iter().for_each(|c| venue.apply(c));
            each(&mut venue, course.timed(), &timer, ticks);
            let off = venue.live().abs_diff(u64::from(live[at]));
            ensure!(
                off * 20 < u64::from(live[at]),
                "{} live orders, not {}",
                venue.live(),
                live[at]
            );
            totals.push(venue.totals());
            ticks.sort_unstable();
            pair[at] = [5_000, 9_900].map(|rank| percentile(ticks, rank, &timer));
        }
        ensure!(
            !same || totals[0] == totals[1],
            "the orders behind changed the fills: {totals:x?}"
        );
        p50[0].push(pair[0][0]);
        p50[1].push(pair[1][0]);
        p50_ratio.push(pair[1][0] / pair[0][0]);
        p99_ratio.push(pair[1][1] / pair[0][1]);
    }
    let [small_p50, large_p50] = p50;
    Ok(Depth {
        question,
        live,
        commands: small.timed().len() as u64,
        pairs,
        p50_ns: [Spread::of(small_p50), Spread::of(large_p50)],
        p50_ratio: Spread::of(p50_ratio),
        p99_ratio: Spread::of(p99_ratio),
    })
}

/// Prints what was measured.
pub(super) fn print(depths: &[Depth]) {
    for d in depths {
        let ([small, large], [few, many]) = (d.p50_ns, d.live);
        println!(
            "{}: p50 {:.1} ns at {few} live orders, {:.1} ns at {many}; ratio of {} pairs {:.3} ({:.3} to {:.3}), p99 {:.3}",
            d.question,
            small.median,
            large.median,
            d.pairs,
            d.p50_ratio.median,
            d.p50_ratio.least,
            d.p50_ratio.most,
            d.p99_ratio.median
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deeper_book_gives_the_same_fills_to_the_same_orders() {
        let recipe = Recipe {
            settle: 1_000,
            timed: 3_000,
            ..FAR
        };
        let depths = measure_sizes(1, [500, 5_000], recipe).unwrap();
        assert_eq!(depths.len(), 2);
        assert!(depths.iter().all(|d| d.p50_ratio.median > 0.0));
        serde_json::to_string(&depths).unwrap();
    }
}
