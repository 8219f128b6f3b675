//! `bench ab`: two builds of hostd on one machine, the same plan, in turns. Each pair of slices gives one ratio per
//! percentile; rounds start both boxes afresh, for where memory lands is chance too. What is said of a difference is
//! an interval, and "no difference seen" when it holds one.

mod bootstrap;
mod build;

use crate::children::bin_dir;
use crate::machine;
use crate::place::{RUNS, project_root, run_name, writable};
use crate::report::figures::{Durations, Percentiles};
use crate::report::plot::ns_text;
use crate::wire::bed::{Bed, Seat};
use crate::wire::boxes::{Backend, Durability, Rig, Setting, Venue};
use crate::wire::course::{BoxEnd, Hand, QUIET_NS, slice_requests};
use crate::wire::line::Line;
use crate::wire::load::Mix;
use crate::wire::plan::{Arrivals, due_times};
use crate::wire::{CoreArgs, Folder, on_client_core, progress, read_overlay};
use anyhow::{Context as _, ensure};
use bootstrap::{Interval, interval};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `bench ab`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The one to compare with: a hostd program, a folder with one, or a git revision.
    old: String,
    /// The one that is judged.
    new: String,
    /// Network backend.
    #[arg(long, value_enum, default_value = "uring")]
    backend: Backend,
    /// When reports may leave the box.
    #[arg(long, value_enum, default_value = "relaxed")]
    durability: Durability,
    /// Which requests.
    #[arg(long, value_enum, default_value = "rest")]
    mix: Mix,
    /// Planned requests a second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// How planned times are spread.
    #[arg(long, value_enum, default_value = "even")]
    arrivals: Arrivals,
    /// Rounds: both boxes start afresh in each.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..=1_000))]
    rounds: u64,
    /// Pairs of slices in a round.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pairs: u64,
    /// Length of a slice.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(20..=5_000))]
    slice_ms: u64,
    /// Confidence of the intervals.
    #[arg(long, default_value_t = 0.95)]
    confidence: f64,
    /// Make two network namespaces joined by veth, instead of loopback. Needs root.
    #[arg(long)]
    netns: bool,
    #[command(flatten)]
    cores: CoreArgs,
    /// Merged into the configuration of both boxes.
    #[arg(long, value_name = "FILE")]
    box_config: Option<PathBuf>,
    /// Seed of planned times and of the resampling.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the figures.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What the pairs say of one percentile.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Finding {
    /// New over old: below one is faster.
    ratio: Interval,
    /// "faster", "slower" or "no difference seen".
    verdict: String,
}

/// The figures, as `--json` writes them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Figures {
    bench: String,
    old: String,
    new: String,
    /// All slices of a side together.
    old_rtt_ns: Percentiles,
    new_rtt_ns: Percentiles,
    /// By percentile: p50, p90, p99, p999.
    findings: BTreeMap<String, Finding>,
    lost: u64,
    setting: BTreeMap<String, String>,
    machine: BTreeMap<String, String>,
}

/// Takes one percentile out of all.
type Pick = fn(&Percentiles) -> u64;

/// Percentiles that are compared.
const COMPARED: [(&str, Pick); 4] = [
    ("p50", |p| p.p50),
    ("p90", |p| p.p90),
    ("p99", |p| p.p99),
    ("p999", |p| p.p999),
];

/// One pair of slices.
#[derive(Clone, Copy, Debug)]
struct Pair {
    old: Percentiles,
    new: Percentiles,
}

/// Compares the two.
///
/// # Errors
/// With the first thing that failed, and when a request had no answer.
pub(crate) fn run(mut args: Args) -> anyhow::Result<()> {
    for path in [&mut args.json, &mut args.box_config].into_iter().flatten() {
        *path = std::path::absolute(&path).context("where are we?")?;
    }
    if let Some(path) = &args.json {
        writable(path)?;
    }
    ensure!(
        args.confidence > 0.0 && args.confidence < 1.0 && args.rate > 0,
        "--confidence lies between 0 and 1, --rate is positive"
    );
    ensure!(
        args.netns || args.backend == Backend::Uring,
        "only the backend uring runs on loopback: give --netns"
    );
    let root = project_root()?;
    let programs = [
        build::program(&args.old, &root).context("OLD")?,
        build::program(&args.new, &root).context("NEW")?,
    ];
    std::env::set_current_dir(&root).with_context(|| format!("cannot enter {}", root.display()))?;
    let setting = Setting {
        backend: args.backend,
        durability: args.durability,
        cores: args.cores.choose()?,
        overlay: read_overlay(args.box_config.as_deref())?,
    };
    let bed = if args.netns {
        Bed::namespaces()?
    } else {
        Bed::loopback()?
    };
    let folder = Folder(Path::new(RUNS).join(run_name()));
    let mut rig = Rig::new(folder.0.clone(), bin_dir()?)?;
    let mut totals = Totals::default();
    let mut rounds = Vec::new();
    for round in 0..args.rounds {
        let pairs = play_round(
            &args,
            round,
            &programs,
            &mut rig,
            &bed,
            &setting,
            &mut totals,
        )?;
        rounds.push(pairs);
    }
    let findings = judge(&rounds, args.confidence, args.seed);
    let mut figures = Figures {
        bench: "ab".into(),
        old: args.old.clone(),
        new: args.new.clone(),
        old_rtt_ns: totals.rtt[0].percentiles(),
        new_rtt_ns: totals.rtt[1].percentiles(),
        findings,
        lost: totals.lost,
        machine: machine::facts(),
        ..Figures::default()
    };
    for (name, value) in [
        ("place", bed.about().to_owned()),
        ("backend", args.backend.name().to_owned()),
        ("durability", args.durability.name().to_owned()),
        ("mix", args.mix.name().to_owned()),
        ("rate", args.rate.to_string()),
        ("rounds", args.rounds.to_string()),
        ("pairs in a round", args.pairs.to_string()),
        ("slice, ms", args.slice_ms.to_string()),
        ("confidence", args.confidence.to_string()),
    ] {
        figures.setting.insert(name.into(), value);
    }
    progress("");
    print!("{}", text(&figures));
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&figures).context("figures")?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(figures.lost == 0, "{} requests had no answer", figures.lost);
    Ok(())
}

/// All slices of both sides.
#[derive(Default)]
struct Totals {
    rtt: [Durations; 2],
    lost: u64,
}

/// One round: both boxes afresh, which changes place from round to round.
fn play_round(
    args: &Args,
    round: u64,
    programs: &[PathBuf; 2],
    rig: &mut Rig,
    bed: &Bed,
    setting: &Setting,
    totals: &mut Totals,
) -> anyhow::Result<Vec<Pair>> {
    let seats = if round.is_multiple_of(2) {
        [Seat::First, Seat::Second]
    } else {
        [Seat::Second, Seat::First]
    };
    let names = ["old", "new"];
    let mut venues = Vec::new();
    for side in 0..2 {
        let program = programs[side].display().to_string();
        let venue = rig
            .start_box(names[side], &program, (bed, seats[side]), setting)
            .with_context(|| names[side])?;
        venue.peer.freeze();
        venues.push(venue);
    }
    let pairs = on_client_core(&setting.cores, || {
        let mut hand = Hand::new();
        let lines = [
            Line::to(venues[0].peer.order_entry)?,
            Line::to(venues[1].peer.order_entry)?,
        ];
        let mut ends = Vec::new();
        for (venue, line) in venues.iter().zip(&lines) {
            ends.push(open(venue, line)?);
        }
        let count = slice_requests(args.rate, args.slice_ms);
        let mut pairs = Vec::new();
        // One pair more than wanted: the first warms up.
        for k in 0..=args.pairs {
            let due = due_times(
                args.arrivals,
                args.rate,
                count,
                args.seed + round * 1_000 + k,
            );
            let order = if k.is_multiple_of(2) { [0, 1] } else { [1, 0] };
            let mut both = [Percentiles::default(); 2];
            for side in order {
                let tally = ends[side].slice(args.mix, &due, QUIET_NS, &mut hand)?;
                totals.lost += tally.lost;
                if k > 0 {
                    both[side] = tally.rtt.percentiles();
                    totals.rtt[side].merge(&tally.rtt);
                }
            }
            if k > 0 {
                pairs.push(Pair {
                    old: both[0],
                    new: both[1],
                });
            }
            rig.check()?;
            progress(&format!("round {} of {}", round + 1, args.rounds));
        }
        Ok(pairs)
    });
    // A box that stopped by itself says why; the client only misses its answers.
    rig.check()?;
    drop(venues);
    names.iter().for_each(|name| rig.stop(name));
    pairs
}

/// Logs in, and freezes the box again.
fn open<'a>(venue: &'a Venue, line: &'a Line) -> anyhow::Result<BoxEnd<'a>> {
    venue.peer.thaw();
    let end = BoxEnd::open(venue, line);
    venue.peer.freeze();
    end
}

/// What all rounds say, by percentile.
fn judge(rounds: &[Vec<Pair>], confidence: f64, seed: u64) -> BTreeMap<String, Finding> {
    let of = |pick: Pick| -> Option<Finding> {
        // Logarithms, so that twice as slow and twice as fast weigh the same.
        let log = |p: &Pair| (pick(&p.new).max(1) as f64 / pick(&p.old).max(1) as f64).ln();
        let logs: Vec<Vec<f64>> = rounds.iter().map(|r| r.iter().map(log).collect()).collect();
        let i = interval(&logs, confidence, seed)?;
        let verdict = if i.high < 0.0 {
            "faster"
        } else if i.low > 0.0 {
            "slower"
        } else {
            "no difference seen"
        };
        Some(Finding {
            ratio: Interval {
                low: i.low.exp(),
                mean: i.mean.exp(),
                high: i.high.exp(),
            },
            verdict: verdict.to_owned(),
        })
    };
    COMPARED
        .iter()
        .filter_map(|(name, pick)| Some(((*name).to_owned(), of(*pick)?)))
        .collect()
}

fn text(f: &Figures) -> String {
    let mut lines = vec![format!("old {}\nnew {}", f.old, f.new)];
    for (name, pick) in COMPARED {
        let Some(finding) = f.findings.get(name) else {
            continue;
        };
        let i = finding.ratio;
        lines.push(format!(
            "  {name:<5} old {:>8}  new {:>8}  ratio {:.3} ({:.3} to {:.3})  {}",
            ns_text(pick(&f.old_rtt_ns) as f64),
            ns_text(pick(&f.new_rtt_ns) as f64),
            i.mean,
            i.low,
            i.high,
            finding.verdict
        ));
    }
    lines.push(format!("lost: {}\n", f.lost));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    /// Rounds in which the new one takes `percent` of the old one's time, on a machine whose speed wanders.
    fn rounds(percent: u64) -> Vec<Vec<Pair>> {
        let mut prng = Prng::new(percent, 2);
        let mut pair = || {
            let machine = 9_000 + prng.below(6_000);
            let mut slice = |scale: u64| {
                let at = |ns: u64, noise: u64| (ns + noise) * machine / 10_000 * scale / 100;
                Percentiles {
                    p50: at(5_000, prng.below(100)),
                    p90: at(6_000, prng.below(200)),
                    p99: at(9_000, prng.below(900)),
                    p999: at(20_000, prng.below(60_000)),
                    ..Percentiles::default()
                }
            };
            Pair {
                old: slice(100),
                new: slice(percent),
            }
        };
        (0..8).map(|_| (0..8).map(|_| pair()).collect()).collect()
    }

    #[test]
    fn a_machine_that_wanders_hides_no_difference_and_makes_none() {
        let verdicts = |percent| -> Vec<String> {
            let all = judge(&rounds(percent), 0.95, 1);
            all.into_values().map(|f| f.verdict).collect()
        };
        // In the order of names: p50, p90, p99, p999.
        assert_eq!(verdicts(90)[..3], ["faster"; 3]);
        assert_eq!(verdicts(115)[..3], ["slower"; 3]);
        assert_eq!(verdicts(100)[..3], ["no difference seen"; 3]);
        let p50 = &judge(&rounds(90), 0.95, 1)["p50"].ratio;
        assert!(
            p50.low < 0.9 && p50.high > 0.9 && p50.high - p50.low < 0.02,
            "{p50:?}"
        );
    }
}
