//! Many runs in lockstep, and what came of them.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use firmware::reject::RejectCode;
use firmware::tag::Suite;
use firmware::wire::frame::FrameFault;

use crate::frames::Source;
use crate::lockstep::{Lockstep, Ports, Totals};
use crate::map;
use crate::twin::COUNTERS;

/// Frames of one run.
const RUN: u64 = 20_000;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Frames in all.
    pub frames: u64,
    /// First seed.
    pub seed: u64,
}

/// Ports that never wait, ports that often do, and ports that are mostly closed.
pub const PORTS: [Ports; 4] = [
    Ports {
        word_percent: 100,
        take_percent: 100,
        gap: 0,
    },
    Ports {
        word_percent: 70,
        take_percent: 60,
        gap: 1,
    },
    Ports {
        word_percent: 100,
        take_percent: 12,
        gap: 0,
    },
    Ports {
        word_percent: 95,
        take_percent: 100,
        gap: 40,
    },
];

/// Runs the plan; the first difference is an error.
///
/// # Errors
/// Names the seed and what differs.
pub fn run(plan: &Plan, mut progress: impl FnMut(u64)) -> Result<Totals> {
    let mut sum = Totals {
        counters: vec![0; COUNTERS],
        ..Totals::default()
    };
    let mut seed = plan.seed;
    while sum.frames < plan.frames {
        let ports = PORTS[(seed % 4) as usize];
        let frames = RUN.min(plan.frames - sum.frames);
        let t = Lockstep::new(Source::new(seed), ports)
            .and_then(|pair| pair.run(frames))
            .with_context(|| format!("seed {seed}"))?;
        sum.frames += t.frames;
        sum.descriptors += t.descriptors;
        sum.cycles += t.cycles;
        sum.changes += t.changes;
        for (all, one) in sum.counters.iter_mut().zip(t.counters) {
            *all += one;
        }
        seed += 1;
        progress(sum.frames);
    }
    Ok(sum)
}

/// Cycles from the last word of a lone order to its verdict: without and with a tag to check.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// The connection has no tag.
    pub plain_cycles: u64,
    /// The connection has a SipHash tag, and the request is a new order.
    pub siphash_cycles: u64,
}

/// Measures it on sound orders that come alone.
///
/// # Errors
/// If it is not the same for all of them, or RTL and firmware differ.
pub fn latency() -> Result<Latency> {
    let of = |suite| -> Result<u64> {
        let alone = Ports { gap: 0, ..PORTS[0] };
        let mut pair = Lockstep::new(Source::new(5), alone)?;
        for _ in 0..50 {
            let bytes = pair.source.order(suite);
            pair.give(bytes)?;
        }
        let totals = pair.finish()?;
        let (least, most) = totals.latency.context("no frame")?;
        ensure!(least == most, "a verdict takes {least} to {most} cycles");
        ensure!(totals.descriptors == 50, "an order was dropped");
        Ok(least)
    };
    Ok(Latency {
        plain_cycles: of(Suite::None)?,
        siphash_cycles: of(Suite::SipHash24)?,
    })
}

/// Name of a counter.
fn name(at: usize) -> String {
    let (verdict, reason) = (at / 64, at % 64);
    let known = |list: Vec<(&str, usize)>| {
        let found = list.into_iter().find(|(_, n)| *n == reason);
        found.map_or_else(|| reason.to_string(), |(name, _)| name.to_lowercase())
    };
    match verdict {
        0 => {
            let faults = FrameFault::ALL.iter().map(|f| (f.name(), *f as usize));
            let drops = map::DROPS.iter().map(|(n, r)| (*n, *r as usize));
            format!("dropped {}", known(faults.chain(drops).collect()))
        }
        1 => "admitted".into(),
        2 => {
            let codes = RejectCode::ALL.iter().map(|c| (c.name(), *c as usize));
            format!("refused {}", known(codes.collect()))
        }
        _ => {
            let hosts = map::HOSTS.iter().map(|(n, r)| (*n, *r as usize));
            format!("host {}", known(hosts.collect()))
        }
    }
}

/// For people.
#[must_use]
pub fn table(sum: &Totals, latency: &Latency) -> String {
    let mut s = format!(
        "{} frames, {} descriptors and {} counters compared, 0 mismatches; {} writes in between, {} cycles\n\
         verdict after the last word: {} cycles, {} with a SipHash tag\n",
        sum.frames,
        sum.descriptors,
        COUNTERS,
        sum.changes,
        sum.cycles,
        latency.plain_cycles,
        latency.siphash_cycles
    );
    for (at, count) in sum.counters.iter().enumerate().filter(|(_, c)| **c > 0) {
        let _ = writeln!(s, "{count:>10}  {}", name(at));
    }
    s
}

/// For programs.
#[must_use]
pub fn json(sum: &Totals, latency: &Latency) -> String {
    serde_json::json!({
        "frames_compared": sum.frames,
        "descriptors_compared": sum.descriptors,
        "mismatches": 0,
        "register_writes": sum.changes,
        "cycles": sum.cycles,
        "latency_cycles": latency.plain_cycles,
        "latency_siphash_cycles": latency.siphash_cycles,
    })
    .to_string()
}

/// Verdicts and reasons that no frame of a run had, of those that the RTL can give.
#[must_use]
pub fn missing(sum: &Totals) -> Vec<String> {
    let refusals = [
        RejectCode::Throttled,
        RejectCode::UnknownAccount,
        RejectCode::DuplicateClOrdId,
        RejectCode::Overloaded,
        RejectCode::UnknownInstrument,
        RejectCode::InvalidField,
        RejectCode::PriceOffTick,
        RejectCode::PriceOutOfBand,
        RejectCode::QuantityOutOfRange,
        RejectCode::InvalidExpiry,
        RejectCode::ReadOnly,
    ];
    (FrameFault::ALL.iter().map(|f| *f as usize))
        .chain(map::DROPS.iter().map(|(_, r)| *r as usize))
        .chain([64])
        .chain(refusals.iter().map(|c| 128 + *c as usize))
        .chain(map::HOSTS.iter().map(|(_, r)| 192 + *r as usize))
        .filter(|at| sum.counters[*at] == 0)
        .map(name)
        .collect()
}
