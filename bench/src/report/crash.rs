//! Pictures of one account through a fall of prices.

use super::page::figure;
use super::plot::{self, Axis, Curve, Lane, Scale, Segment, Unit, grouped};
use crate::demo::crash::{Crash, SECONDS, Step};
use maud::{Markup, html};

/// Names of the steps of the ladder, in the order of the wire.
const STEPS: [&str; 5] = ["cancel", "close", "fund", "deleverage", "charge"];
const INSTRUMENTS: [&str; 2] = ["perp", "put"];

fn units(micro: i64) -> f64 {
    micro as f64 / 1e6
}

fn x() -> Axis<'static> {
    Axis {
        scale: Scale::Linear(0.0, SECONDS as f64),
        unit: Unit::Seconds,
        label: "since the opening trades",
    }
}

/// An axis that all points fit in, with zero on it.
fn y<'a>(label: &'a str, list: &[Curve]) -> Axis<'a> {
    let values = list.iter().flat_map(|c| &c.points).map(|p| p.1);
    let (lo, hi) = values.fold((0.0f64, 0.01f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
    let room = (hi - lo) * 0.06;
    let lo = if lo < 0.0 { lo - room } else { 0.0 };
    Axis {
        scale: Scale::Linear(lo, hi + room),
        unit: Unit::Plain,
        label,
    }
}

fn curve(name: &str, colour: usize, points: impl Iterator<Item = (u64, f64)>) -> Curve {
    Curve {
        name: name.into(),
        points: points.map(|(at, v)| (at as f64, v)).collect(),
        colour,
        ..Curve::default()
    }
}

/// Claim against margin.
fn margin(c: &Crash) -> String {
    let list = [
        curve(
            "claim at the mark",
            0,
            c.samples.iter().map(|s| (s.at_s, units(s.equity_micro))),
        ),
        curve(
            "maintenance margin",
            2,
            c.samples
                .iter()
                .map(|s| (s.at_s, units(s.maintenance_micro))),
        ),
    ];
    plot::curves(
        "Claim and maintenance margin",
        260.0,
        x(),
        y("units", &list),
        &list,
    )
}

fn positions(c: &Crash) -> String {
    let list = [0, 1].map(|i| {
        let name = format!("{}, lots", INSTRUMENTS[i]);
        curve(
            &name,
            [3, 4][i],
            c.samples.iter().map(|s| (s.at_s, s.lots[i] as f64)),
        )
    });
    plot::curves("Positions", 200.0, x(), y("lots", &list), &list)
}

/// One row for each step of the ladder and instrument that came.
fn ladder(c: &Crash) -> String {
    let mut rows: Vec<(u8, Option<usize>)> =
        c.steps.iter().map(|s| (s.step, s.instrument)).collect();
    rows.sort_unstable();
    rows.dedup();
    let lanes: Vec<Lane> = rows
        .iter()
        .map(|&(step, instrument)| {
            let own: Vec<&Step> = (c.steps.iter())
                .filter(|s| (s.step, s.instrument) == (step, instrument))
                .collect();
            let of = instrument.map_or(String::new(), |i| format!(" {}", INSTRUMENTS[i.min(1)]));
            let what = if step == 0 { "orders" } else { "lots" };
            let lots: i64 = own.iter().map(|s| s.lots).sum();
            Lane {
                label: format!("{}{of}", STEPS[usize::from(step).min(4)]),
                note: format!("{} {what} in {} steps", grouped(lots.into()), own.len()),
                segments: own
                    .iter()
                    .map(|s| Segment {
                        from: s.at_s as f64,
                        to: s.at_s as f64 + 0.8,
                        colour: usize::from(step),
                        title: format!("{} s: {} {what}", s.at_s, s.lots),
                    })
                    .collect(),
            }
        })
        .collect();
    plot::timeline("Steps of the liquidation", x(), &[], &lanes)
}

/// What settlements have moved so far, by leg.
fn moves(c: &Crash) -> String {
    let running = |pick: fn(&crate::demo::crash::Move) -> i64| {
        let mut sum = 0;
        let points: Vec<_> = (c.moves.iter())
            .map(|m| {
                sum += pick(m);
                (m.at_s, units(sum))
            })
            .collect();
        points.into_iter()
    };
    let list = [
        curve(
            "delta leg: position × delta × move of the index",
            0,
            running(|m| m.delta_leg_micro),
        ),
        curve(
            "residual: gamma, vega, theta",
            2,
            running(|m| m.residual_micro),
        ),
        curve("both", 5, running(|m| m.delta_leg_micro + m.residual_micro)),
    ];
    plot::curves(
        "Settled so far",
        260.0,
        x(),
        y("units, summed", &list),
        &list,
    )
}

/// The section of the page.
pub(crate) fn section(c: &Crash) -> Markup {
    let first = c.steps.first().map(|s| s.at_s);
    html! {
        section {
            h2 { "One account through a fall" }
            p { "The same engine with a seeded path: an account that is long perpetuals and short puts, two makers, and an index that falls. It is no part of the day above, which is too short and too calm to liquidate anybody." }
            (figure("Claim and margin", &first.map_or_else(
                || "The account stayed above its maintenance margin.".to_owned(),
                |s| format!("The account fell below its maintenance margin after {s} s. From then on it is closed step by step, until it is above it again with a tenth to spare."),
            ), &margin(c)))
            @if !c.steps.is_empty() {
                (figure("The ladder", "its orders are cancelled, then a quarter of a position at a time is closed against the book, the costliest first, as far as the makers quote inside the collar.", &ladder(c)))
            }
            (figure("Positions", "the liquidation brings both towards zero, and stops as soon as it may.", &positions(c)))
            (figure("Collateral moved by delta settlement", "to the account, summed up. The delta leg is what the deltas of the last settlement say; the rest is curvature, volatility and time.", &moves(c)))
        }
    }
}
