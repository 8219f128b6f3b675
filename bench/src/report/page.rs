//! The report: one HTML file that needs nothing else, no script, no font, no network.

use super::figures::{Figures, Percentiles, Record};
use super::plot::{self, Axis, Curve, Lane, Scale, Segment, Unit, grouped, ns_text};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Colours and shapes of all pages, light and dark.
pub(crate) const STYLE: &str = include_str!("style.css");

/// Stages inside the venue in the order of the path, with what they mean.
pub(crate) const STAGES: [(&str, &str, &str); 6] = [
    (
        "rx_gate",
        "receive → gate",
        "the kernel's receive time until the gate has admitted or refused it: wake-up, tag, session window, decode, checks",
    ),
    (
        "gate_sequenced",
        "gate → sequenced",
        "until the request has its place in the journal's order",
    ),
    (
        "sequenced_matched",
        "sequenced → matched",
        "the engine: margin, book, fills, reports made",
    ),
    (
        "matched_durable",
        "matched → durable",
        "held until the record is on disk (group commit, fsync)",
    ),
    (
        "durable_tx",
        "durable → sent",
        "sealed with the tag and handed to the kernel",
    ),
    ("rx_tx", "receive → sent", "the whole way inside the venue"),
];

/// Parts of the round trip that the client can tell from the times in the reports.
const PARTS: [(&str, &str, &str); 3] = [
    (
        "send_to_rx",
        "send → receipt",
        "client's send call until the kernel's receive time at the venue",
    ),
    (
        "rx_to_sequenced",
        "receipt → sequenced",
        "inside the venue up to the sequenced time in the report",
    ),
    (
        "sequenced_to_report",
        "sequenced → report",
        "matching, disk, send, kernel, wake-up of the client",
    ),
];

/// A whole number in groups of three.
pub(crate) fn n(v: u64) -> String {
    grouped(i128::from(v))
}

/// A duration in the unit that suits it.
pub(crate) fn ns(v: u64) -> String {
    ns_text(v as f64)
}

/// Micro-units as units with two decimals.
fn money(micro: i64) -> String {
    crate::demo::money(micro)
}

/// The whole page.
pub(crate) fn render(r: &Record) -> String {
    let f = &r.figures;
    let body = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Deltabox demo report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(f))
                main {
                    (tiles(f))
                    (warning(f))
                    (latency(r))
                    (throughput(r))
                    (settlements(r))
                    (super::crash::section(&r.crash))
                    (batches(r))
                    (end_check(f))
                    (tables(r))
                    (method(f))
                }
            }
        }
    };
    body.into_string()
}

fn holds(f: &Figures) -> bool {
    let c = &f.checks;
    [
        c.state_root_match,
        c.conservation_ok,
        c.contracts_sum_zero,
        c.replay_hash_match,
        c.acks_in_journal,
        c.all_batches_on_l1,
        c.withdrawal_claimed,
    ]
    .into_iter()
    .all(|b| b)
}

fn head(f: &Figures) -> Markup {
    html! {
        header {
            p.kicker { "Deltabox · demo report" }
            h1 { "From a UDP order to a proof on L1" }
            p.sub {
                (f.title) " · " (f.seconds) " s of trading · " (f.accounts) " accounts"
                @if let (Some(cpu), Some(cores)) = (f.machine.get("cpu"), f.machine.get("cores")) {
                    " · " (cores) " cores of " (cpu)
                }
            }
            @if holds(f) { p.verdict.good { "✓ every end check holds" } }
            @else { p.verdict.bad { "✗ the end check does not hold" } }
        }
    }
}

fn tiles(f: &Figures) -> Markup {
    let tile = |value: String, name: &str, note: String| {
        html! { div.tile { p.value { (value) } p.name { (name) } p.note { (note) } } }
    };
    html! {
        section.tiles {
            (tile(n(f.requests), "requests", format!("{} acks · {} rejects", n(f.acks), n(f.rejects))))
            (tile(n(f.fills), "fills", format!("{} settlements", n(f.settlements))))
            (tile(ns(f.rtt_ns.p50), "round trip, median", format!("p99 {} · p99.9 {}", ns(f.rtt_ns.p99), ns(f.rtt_ns.p999))))
            (tile(format!("{} / {}", f.batches_committed, f.batches_sealed), "batches on L1", format!("{} gas each", n(f.l1_gas_per_batch))))
            (tile(ns(f.prove_ms * 1_000_000), "proof, mean", format!("worst {}", ns(f.prove_ms_max * 1_000_000))))
            (tile(ns(f.seal_to_l1_ms * 1_000_000), "seal to L1, mean", format!("worst {}", ns(f.seal_to_l1_ms_max * 1_000_000))))
        }
    }
}

fn warning(f: &Figures) -> Markup {
    html! {
        aside.warning {
            strong { "Read these numbers for what they are. " }
            "All processes (venue, prover, dev chain, oracle, clients) share one machine and its loopback: there is no \
             network in the round trip, and proving takes the same cores as matching. The proving key is an "
            strong { (f.proving_key) }
            "."
        }
    }
}

/// A picture with its title and what it shows.
pub(crate) fn figure(title: &str, text: &str, picture: &str) -> Markup {
    html! { figure { figcaption { b { (title) } " " (text) } (PreEscaped(picture)) } }
}

fn latency(r: &Record) -> Markup {
    let curves: Vec<Curve> = r
        .client_curves
        .iter()
        .zip([0, 5, 1, 2, 3])
        .filter(|((_, points), _)| !points.is_empty())
        .map(|((name, points), colour)| Curve {
            name: name.clone(),
            points: points.clone(),
            sparse: false,
            colour,
        })
        .collect();
    let stages: Vec<Curve> = STAGES
        .iter()
        .zip([5, 4, 3, 2, 1, 0])
        .filter_map(|((key, name, _), colour)| stage_curve(r, key, name, colour))
        .collect();
    html! {
        section {
            h2 { "Latency" }
            (figure(
                "Round trip at the client.",
                "Each point: this share of all answered requests came back within this time. Both axes are logarithmic; every further nine has the same room.",
                &latency_picture("Latency percentiles at the client", &curves),
            ))
            (figure(
                "Stages inside the venue.",
                "From the venue's own clock; known at the marked percentiles and at the maximum.",
                &latency_picture("Latency percentiles of the stages", &stages),
            ))
        }
    }
}

/// The known points of a stage, to the last percentile that its count supports.
fn stage_curve(r: &Record, key: &str, name: &str, colour: usize) -> Option<Curve> {
    let p = r.figures.stage_ns.get(key).filter(|p| p.count > 1)?;
    let last = (100.0 * (1.0 - 1.0 / p.count as f64)).min(99.999);
    let told = r.stage_curves.iter().find(|c| c.0 == key).map(|c| &c.1[..]);
    let few = [
        (50.0, p.p50 as f64),
        (99.0, p.p99 as f64),
        (99.9, p.p999 as f64),
    ];
    let mut points = told.filter(|c| !c.is_empty()).unwrap_or(&few).to_vec();
    points.retain(|&(at, _)| at < last);
    points.push((last, p.max as f64));
    Some(Curve {
        name: name.to_owned(),
        points,
        sparse: true,
        colour,
    })
}

/// Latency by percentile, both axes logarithmic.
pub(crate) fn latency_picture(alt: &str, curves: &[Curve]) -> String {
    let all = || curves.iter().flat_map(|c| &c.points);
    let (lo, hi) = plot::decades(all().map(|p| p.1));
    let last = all().map(|p| p.0).fold(99.0, f64::max).min(99.999);
    let x = Axis {
        scale: Scale::Percentile(last),
        unit: Unit::Percent,
        label: "percentile of requests",
    };
    let y = Axis {
        scale: Scale::Log(lo, hi),
        unit: Unit::Ns,
        label: "latency",
    };
    plot::curves(alt, 380.0, x, y, curves)
}

fn span(r: &Record) -> f64 {
    let last = r.moments.last().map_or(0.0, |m| m.at_s);
    last.max(r.figures.seconds as f64)
}

fn throughput(r: &Record) -> Markup {
    let x = Axis {
        scale: Scale::Linear(0.0, span(r)),
        unit: Unit::Seconds,
        label: "since trading began",
    };
    let line = |name: &str, colour, pick: fn(&super::figures::Moment) -> f64| Curve {
        name: name.to_owned(),
        points: r.moments.iter().map(|m| (m.at_s, pick(m))).collect(),
        sparse: false,
        colour,
    };
    let linear = |curves: &[Curve], label, height| {
        let most = curves
            .iter()
            .flat_map(|c| &c.points)
            .map(|p| p.1)
            .fold(1.0, f64::max);
        let y = Axis {
            scale: Scale::Linear(0.0, plot::axis_top(most)),
            unit: Unit::Plain,
            label,
        };
        plot::curves(label, height, x, y, curves)
    };
    let rtt = [
        line("median", 0, |m| m.rtt_p50_ns),
        line("99 %", 2, |m| m.rtt_p99_ns),
    ];
    let (lo, hi) = plot::decades(rtt.iter().flat_map(|c| &c.points).map(|p| p.1));
    let y = Axis {
        scale: Scale::Log(lo, hi),
        unit: Unit::Ns,
        label: "round trip",
    };
    html! {
        section {
            h2 { "Throughput over time" }
            (figure("Requests", "sent by all clients, in each second.", &linear(&[line("requests", 0, |m| m.requests_per_s)], "requests a second", 220.0)))
            (figure("Fills", "in each second. The takers keep the rate down on purpose: one batch holds 256 netted rows and is proven on the same two cores.", &linear(&[line("fills", 1, |m| m.fills_per_s)], "fills a second", 190.0)))
            (figure("Round trip", "second by second: what proving next door costs can be seen here.", &plot::curves("Round trip over time", 240.0, x, y, &rtt)))
        }
    }
}

fn settlements(r: &Record) -> Markup {
    let since = |t: u64| (t as f64 - r.start_ns as f64) / 1e9;
    let list: Vec<_> = r
        .figures
        .settlement_list
        .iter()
        .filter(|s| since(s.time_ns) >= 0.0)
        .collect();
    let end = list.last().map_or(0.0, |s| since(s.time_ns)).max(span(r));
    let units = |micro: i64| micro as f64 / 1e6;
    let groups: Vec<(f64, Vec<f64>)> = list
        .iter()
        .map(|s| {
            (
                since(s.time_ns),
                vec![units(s.delta_leg_micro), units(s.residual_micro)],
            )
        })
        .collect();
    let most = groups
        .iter()
        .flat_map(|g| &g.1)
        .copied()
        .fold(0.01, f64::max);
    let x = Axis {
        scale: Scale::Linear(0.0, end + 0.5),
        unit: Unit::Seconds,
        label: "since trading began",
    };
    let y = Axis {
        scale: Scale::Linear(0.0, plot::axis_top(most)),
        unit: Unit::Plain,
        label: "moved, units",
    };
    let bars = plot::bars(
        "Settlement transfers",
        280.0,
        x,
        y,
        &[
            ("delta leg: position × delta × move of the index", 0),
            ("residual: gamma, vega, theta", 2),
        ],
        &groups,
    );
    let index: Vec<(f64, f64)> = r
        .index
        .iter()
        .copied()
        .filter(|p| (0.0..=end).contains(&p.0))
        .collect();
    html! {
        section {
            h2 { "Delta settlement" }
            @if !index.is_empty() {
                (figure("Index", "as the signed oracle reports moved it. A settlement runs when it has moved by the threshold (500 ppm) or after five seconds.", &index_picture(x, index)))
            }
            (figure("Transfers", "of each settlement: sums of the absolute values over all accounts. The transfers themselves add up to zero.", &bars))
        }
    }
}

fn index_picture(x: Axis<'_>, points: Vec<(f64, f64)>) -> String {
    let (lo, hi) = points.iter().fold((f64::MAX, f64::MIN), |(lo, hi), p| {
        (lo.min(p.1), hi.max(p.1))
    });
    let room = ((hi - lo) * 0.15).max(hi * 1e-5);
    let y = Axis {
        scale: Scale::Linear(lo - room, hi + room),
        unit: Unit::Plain,
        label: "index",
    };
    plot::curves(
        "Index",
        190.0,
        x,
        y,
        &[Curve {
            points,
            colour: 3,
            ..Curve::default()
        }],
    )
}

fn batches(r: &Record) -> Markup {
    let since = |t: u64| (t as f64 - r.start_ns as f64) / 1e9;
    let mut lanes = Vec::new();
    let (mut first, mut last) = (0.0f64, span(r));
    for b in &r.figures.batches {
        let mut segments = Vec::new();
        let mut put = |from: u64, to: u64, colour, what: &str| {
            if from > 0 && to > from {
                let title = format!("{what}: {}", ns(to - from));
                segments.push(Segment {
                    from: since(from),
                    to: since(to),
                    colour,
                    title,
                });
            }
        };
        put(b.sealed_ns, b.proving_ns, 5, "waiting");
        put(b.proving_ns, b.proven_ns, 0, "proving");
        put(b.proven_ns, b.committed_ns, 1, "to L1");
        let note = match b.committed_ns {
            0 => "not on L1".to_owned(),
            at => format!(
                "{} rows · {} gas · {}",
                b.fill_rows,
                n(b.gas),
                ns(at.saturating_sub(b.sealed_ns))
            ),
        };
        first = segments.iter().map(|s| s.from).fold(first, f64::min);
        last = segments.iter().map(|s| s.to).fold(last, f64::max);
        lanes.push(Lane {
            label: format!("batch {}", b.batch_no),
            segments,
            note,
        });
    }
    let x = Axis {
        scale: Scale::Linear(first.floor(), last.ceil()),
        unit: Unit::Seconds,
        label: "since trading began",
    };
    let names = [("waiting for the prover", 5), ("proving", 0), ("to L1", 1)];
    let picture = plot::timeline("Batches from seal to L1", x, &names, &lanes);
    html! {
        section {
            h2 { "Batches, from seal to L1" }
            (figure("Each line is one batch.", "It begins when the batch is sealed and ends when the contract has verified its proof.", &picture))
            div.scroll { table {
                thead { tr { th { "batch" } th { "closed by" } th.r { "fill rows" } th.r { "accounts" } th.r { "proof" } th.r { "seal to L1" } th.r { "gas" } } }
                tbody { @for b in &r.figures.batches { tr {
                    td { (b.batch_no) } td { (b.reason) } td.r { (n(b.fill_rows)) } td.r { (n(b.accounts)) }
                    td.r { (ns(b.prove_ms * 1_000_000)) }
                    td.r { (ns(b.committed_ns.saturating_sub(b.sealed_ns))) }
                    td.r { (n(b.gas)) }
                } } }
            } }
        }
    }
}

fn end_check(f: &Figures) -> Markup {
    let c = &f.checks;
    let lines = [
        (c.state_root_match, "The state root on L1 is the one that the engine's state gives.".to_owned()),
        (c.conservation_ok, "Collateral in the contract equals all claims, withdrawals not yet claimed and deposits not yet consumed.".to_owned()),
        (c.contracts_sum_zero, "For each instrument, the positions of all accounts sum to zero.".to_owned()),
        (c.acks_in_journal, format!("All {} answered requests stand in the journal, at the record that the answer named.", n(c.acks_checked))),
        (c.replay_hash_match, "Replaying the journal gives the state hash that the venue ended with.".to_owned()),
        (c.all_batches_on_l1, format!("All {} sealed batches are on L1, each with a proof that the contract verified.", n(f.batches_sealed))),
        (c.withdrawal_claimed, format!("One account withdrew {} and its owner claimed it on L1.", money(f.withdrawn_micro as i64))),
    ];
    html! {
        section {
            h2 { "End check" }
            ul.checks { @for (good, text) in lines { li class=(if good { "good" } else { "bad" }) { (text) } } }
        }
    }
}

/// Rows of a table: name and what it is, percentiles, count.
pub(crate) fn percentile_rows<'a>(
    rows: impl Iterator<Item = (&'a str, &'a str, Option<&'a Percentiles>)>,
) -> Markup {
    html! {
        @for (name, what, p) in rows {
            @if let Some(p) = p {
                tr {
                    td { b { (name) } br; span.dim { (what) } }
                    td.r { (ns(p.p50)) } td.r { (ns(p.p99)) } td.r { (ns(p.p999)) } td.r { (ns(p.max)) } td.r { (n(p.count)) }
                }
            }
        }
    }
}

fn tables(r: &Record) -> Markup {
    let f = &r.figures;
    let whole = [
        (
            "round trip",
            "client's send call until the first report on the request is in the client's hands",
            Some(&f.rtt_ns),
        ),
        (
            "from the planned send",
            "the same, counted from when the open-loop plan wanted the send",
            Some(&f.rtt_from_plan_ns),
        ),
    ];
    let count = |title: &str, list: &std::collections::BTreeMap<String, u64>| {
        html! { @if !list.is_empty() { div {
            h3 { (title) }
            table { tbody { @for (name, count) in list { tr { td { (name) } td.r { (n(*count)) } } } } }
        } } }
    };
    html! {
        section {
            h2 { "Figures" }
            div.scroll { table {
                thead { tr { th { "what" } th.r { "p50" } th.r { "p99" } th.r { "p99.9" } th.r { "max" } th.r { "count" } } }
                tbody {
                    (percentile_rows(whole.into_iter()))
                    (percentile_rows(PARTS.iter().map(|(key, name, what)| (*name, *what, f.client_ns.get(*key)))))
                    (percentile_rows(STAGES.iter().map(|(key, name, what)| (*name, *what, f.stage_ns.get(*key)))))
                }
            } }
            div.columns {
                (count("Requests by kind", &f.requests_by_kind))
                (count("Rejects by code", &f.rejects_by_code))
                (count("Recorded messages that were not replayed", &f.unmapped))
                div {
                    h3 { "Journal and feed" }
                    table { tbody {
                        tr { td { "journal records" } td.r { (n(f.journal_records)) } }
                        tr { td { "journal bytes" } td.r { (n(f.journal_bytes)) } }
                        tr { td { "group commits" } td.r { (n(f.journal_commits)) } }
                        tr { td { "commit to disk, p50" } td.r { (ns(f.journal_commit_ns.p50)) } }
                        tr { td { "commit to disk, p99" } td.r { (ns(f.journal_commit_ns.p99)) } }
                        tr { td { "commit to disk, max" } td.r { (ns(f.journal_commit_ns.max)) } }
                        tr { td { "feed messages received" } td.r { (n(f.feed_messages)) } }
                        tr { td { "feed gaps asked for again" } td.r { (n(f.feed_gaps)) } }
                        tr { td { "requests without an answer" } td.r { (n(f.unanswered)) } }
                    } }
                }
            }
            @if let Some(reconciliation) = &f.reconciliation {
                h3 { "Beside the recorded market" }
                pre { (reconciliation.lines().join("\n")) }
            }
            h3 { "The run" }
            table { tbody {
                @for (name, value) in &r.settings { tr { td { (name) } td { (value) } } }
                @for (name, value) in &f.machine { tr { td { (name) } td { (value) } } }
            } }
        }
    }
}

fn method(f: &Figures) -> Markup {
    html! {
        section.method {
            h2 { "What is measured, and how" }
            ul {
                li { b { "Load. " } "Clients are open loop: each send has a planned time, and a late answer delays no send (a maker changes one quote at a time). Every client sleeps in poll(2) between events; nothing spins but what the venue itself spins." }
                li { b { "Round trip. " } "Read from the client's clock before the datagram is handed to the kernel and after the first report on that request is out of it, tag checked. Recorded in HDR histograms with three significant digits." }
                li { b { "Parts and stages. " } "All processes read the same machine's clock, so the times in the reports can be compared with the client's. Stages come from the venue's own counters." }
                li { b { "Rates. " } "Differences of running totals, second by second." }
                li { b { "Batches. " } "Seal: time of the journal record that closed the batch. Proving and L1: as the prover tells. Gas: of the transaction that commits the batch, verification included." }
                li { b { "Settlements. " } "From the public feed, which carries sums over all accounts only." }
                li { b { "End check. " } "The audit replays the journal and compares it with the contract; answers were written down by the clients as they came, and are looked up in the journal afterwards." }
                li { b { "Not measured here. " } "A network, kernel bypass, pinned cores, replication: this is loopback on a shared machine. The proving key is an " (f.proving_key) "." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::{Batch, Moment, Settlement};

    /// A run as it could have been.
    pub(crate) fn sample() -> Record {
        const S: u64 = 1_000_000_000;
        let stage = |p50: u64| Percentiles {
            p50,
            p99: p50 * 9,
            p999: p50 * 30,
            max: p50 * 80,
            count: 27_000,
            ..Percentiles::default()
        };
        let mut durations = super::super::figures::Durations::default();
        let mut prng = crate::prng::Prng::new(1, 1);
        (0..27_000).for_each(|_| durations.add(150_000 + prng.exponential(180_000)));
        let batches = (1..=5).map(|k| {
            let sealed = (100 + 8 * k) * S;
            Batch {
                batch_no: k,
                sealed_ns: sealed,
                proving_ns: sealed + S / 3,
                proven_ns: sealed + 7 * S,
                committed_ns: sealed + 7 * S + S / 4,
                prove_ms: 6_700,
                gas: 312_345,
                fill_rows: 96 + k,
                accounts: 8,
                reason: "timer".into(),
                tx: "0x1".into(),
            }
        });
        let settlements = (1..=9i64).map(|k| Settlement {
            settlement_no: k as u64,
            time_ns: (100 + 3 * k as u64) * S,
            transferred_micro: k * 1_000_000,
            delta_leg_micro: k * 1_300_000,
            residual_micro: 200_000 + k * 30_000,
            trigger: "interval".into(),
            ..Settlement::default()
        });
        let figures = Figures {
            title: "synthetic flow, seed 1".into(),
            seconds: 30,
            requests: 27_000,
            fills: 410,
            rtt_ns: durations.percentiles(),
            stage_ns: STAGES
                .iter()
                .zip([2_000, 900, 3_000, 240_000, 5_000, 260_000])
                .map(|(s, v)| (s.0.to_owned(), stage(v)))
                .collect(),
            batches: batches.collect(),
            settlement_list: settlements.collect(),
            proving_key: "INSECURE dev key".into(),
            ..Figures::default()
        };
        Record {
            figures,
            start_ns: 100 * S,
            moments: (1..=30)
                .map(|k| Moment {
                    at_s: f64::from(k),
                    requests_per_s: 850.0 + f64::from(k * 37 % 120),
                    fills_per_s: 12.0 + f64::from(k % 5),
                    rtt_p50_ns: 3e5,
                    rtt_p99_ns: 2e6,
                })
                .collect(),
            index: (0..120)
                .map(|k| (f64::from(k) / 4.0, 60_000.0 + f64::from(k * 13 % 29)))
                .collect(),
            client_curves: vec![("round trip".into(), durations.curve())],
            stage_curves: Vec::new(),
            settings: vec![("Durability".into(), "fsync".into())],
            crash: crate::demo::crash::play(1).expect("the engine takes it"),
        }
    }

    #[test]
    fn the_page_stands_alone_and_says_what_must_be_said() {
        let page = render(&sample());
        for words in [
            "INSECURE",
            "loopback",
            "Delta settlement",
            "close perp",
            "fell below its maintenance margin",
            "seal to L1",
            "percentile of requests",
            "does not hold",
        ] {
            assert!(page.contains(words), "{words}");
        }
        for outside in ["http://", "https://", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.matches("<svg").count() >= 11 && !page.contains("NaN"));
        if let Some(path) = std::env::var_os("DELTABOX_SAMPLE_REPORT") {
            std::fs::write(path, page).expect("written");
        }
    }

    #[test]
    fn a_run_that_saw_nothing_still_has_a_page() {
        let page = render(&Record::default());
        assert!(!page.contains("NaN") && !page.contains("inf\""));
    }
}
