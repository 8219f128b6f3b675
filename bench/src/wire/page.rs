//! The page of a run: one HTML file that needs nothing else.

use super::figures::{Curves, Figures, Point, Row};
use crate::report::figures::Percentiles;
use crate::report::page::{STAGES, STYLE, figure, latency_picture, n, ns, percentile_rows};
use crate::report::plot::{self, Axis, Curve, Scale, Unit};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeMap;

/// A percentile is shown when so many samples lie beyond it.
const BEYOND_MIN: f64 = 5.0;

/// The whole page.
pub(crate) fn render(f: &Figures, curves: &[Curves]) -> String {
    let body = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Deltabox wire latency" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(f))
                main {
                    (tiles(f))
                    (warning(f))
                    (overview(f))
                    @for backend in backends(f) { (of_backend(f, curves, backend)) }
                    (run(f))
                    (method())
                }
            }
        }
    };
    body.into_string()
}

fn backends(f: &Figures) -> Vec<&str> {
    let mut names: Vec<&str> = f.rows.iter().map(|r| r.backend.as_str()).collect();
    names.dedup();
    names
}

fn head(f: &Figures) -> Markup {
    let fact = |name: &str| f.machine.get(name).map_or("unknown", String::as_str);
    html! {
        header {
            p.kicker { "Deltabox · wire latency" }
            h1 { "The box beside a bare echo" }
            p.sub {
                (f.setting.get("place").map_or("", String::as_str)) " · " (fact("cores")) " cores of " (fact("cpu"))
                " · kernel " (fact("kernel"))
            }
            @if f.lost == 0 { p.verdict.good { "✓ every request at a planned rate was answered" } }
            @else { p.verdict.bad { "✗ " (n(f.lost)) " requests at planned rates had no answer" } }
        }
    }
}

fn tiles(f: &Figures) -> Markup {
    let first = |durability: &str| f.rows.iter().find(|r| r.durability == durability);
    let tile = |value: String, name: String, note: String| {
        html! { div.tile { p.value { (value) } p.name { (name) } p.note { (note) } } }
    };
    let shown: Vec<&Row> = match (first("relaxed"), first("fsync")) {
        (None, None) => f.rows.iter().take(1).collect(),
        (a, b) => a.into_iter().chain(b).collect(),
    };
    html! {
        section.tiles {
            @for row in shown {
                @let h = &row.headline;
                (tile(ns(h.box_rtt_ns.p50), format!("box, median, {}", row.durability),
                    format!("p99 {} · {} at {}/s", ns(h.box_rtt_ns.p99), row.backend, n(h.rate))))
                (tile(format!("{:.2} ×", h.ratio.p50), "of the echo's median".into(),
                    format!("p99 {:.2} × · echo {}", h.ratio.p99, ns(h.echo_rtt_ns.p50))))
                @if let Some(s) = &row.sustained {
                    (tile(n(s.box_per_s), format!("requests a second, {}", row.durability),
                        format!("echo {} · ratio {:.2}", n(s.echo_per_s), s.ratio)))
                }
            }
        }
    }
}

fn warning(f: &Figures) -> Markup {
    let few = f.machine.get("cores").and_then(|c| c.parse::<u32>().ok()) < Some(4);
    let guest = f.machine.get("virtual machine").is_some_and(|v| v == "yes");
    html! {
        aside.warning {
            strong { "Read these numbers for what they are. " }
            "The place was " (f.setting.get("place").map_or("not told", String::as_str)) ". "
            @if few {
                "With so few cores the box's journal and control tiles take time from the client or from the hot tile. "
            }
            @if guest {
                "The machine is a virtual one: its host takes cores away without a word, which shows in the tails. "
            }
            "The ratio says more than either figure."
        }
    }
}

/// A percentile, or a dash when too few samples lie beyond it.
fn cell(p: &Percentiles, value: u64, beyond: f64) -> String {
    if p.count as f64 * beyond < BEYOND_MIN {
        "–".to_owned()
    } else {
        ns(value)
    }
}

fn overview(f: &Figures) -> Markup {
    let three = |p: &Percentiles| {
        html! {
            td.r { (ns(p.p50)) } td.r { (cell(p, p.p99, 0.01)) } td.r { (cell(p, p.p999, 0.001)) }
        }
    };
    html! {
        section {
            h2 { "Round trips at the headline rate" }
            div.scroll { table {
                thead {
                    tr {
                        th { "backend, durability, mix" } th.r { "rate" }
                        th.r { "echo p50" } th.r { "p99" } th.r { "p99.9" }
                        th.r { "box p50" } th.r { "p99" } th.r { "p99.9" }
                        th.r { "ratio p50" } th.r { "p99" } th.r { "p99.9" } th.r { "lost" }
                    }
                }
                tbody { @for row in &f.rows { @let h = &row.headline; tr {
                    td { b { (row.backend) } " " (row.durability) " " span.dim { (row.mix) } }
                    td.r { (n(h.rate)) } (three(&h.echo_rtt_ns)) (three(&h.box_rtt_ns))
                    td.r { b { (format!("{:.2}", h.ratio.p50)) } } td.r { (format!("{:.2}", h.ratio.p99)) }
                    td.r { (format!("{:.2}", h.ratio.p999)) } td.r { (n(row.lost)) }
                } } }
            } }
            @let searched: Vec<_> = f.rows.iter().filter_map(|r| r.sustained.as_ref().map(|s| (r, s))).collect();
            @if !searched.is_empty() {
                h3 { "Sustained" }
                div.scroll { table {
                    thead { tr {
                        th { "backend, durability, mix" } th.r { "echo, a second" } th.r { "box, a second" }
                        th.r { "box / echo" } th.r { "p99 at most" } th { "" }
                    } }
                    tbody { @for (row, s) in searched { tr {
                        td { b { (row.backend) } " " (row.durability) " " span.dim { (row.mix) } }
                        td.r { (n(s.echo_per_s)) } td.r { (n(s.box_per_s)) } td.r { b { (format!("{:.2}", s.ratio)) } }
                        td.r { (ns(s.p99_max_ns)) }
                        td { @if s.echo_client_bound || s.box_client_bound {
                            span.dim { "the client could send no faster: "
                                (if s.box_client_bound { "box" } else { "" }) " "
                                (if s.echo_client_bound { "echo" } else { "" }) }
                        } }
                    } } }
                } }
            }
            @for m in &f.not_run { p.dim { b { (m.backend) } " did not run: " (m.reason) } }
        }
    }
}

fn curve(name: String, points: Vec<(f64, f64)>, colour: usize, sparse: bool) -> Curve {
    Curve {
        name,
        points,
        sparse,
        colour,
    }
}

fn of_backend(f: &Figures, all: &[Curves], backend: &str) -> Markup {
    let rows: Vec<(&Row, &Curves)> = f
        .rows
        .iter()
        .zip(all)
        .filter(|(row, _)| row.backend == backend)
        .collect();
    // The rows with all rates: one a durability.
    let mains: Vec<&Row> = rows
        .iter()
        .map(|(row, _)| *row)
        .filter(|r| r.rates.len() > 1 || rows.len() == 1)
        .collect();
    let mut by_percentile = Vec::new();
    for (k, (row, curves)) in rows.iter().enumerate() {
        if k == 0 {
            by_percentile.push(curve("echo".into(), curves.echo.clone(), 5, false));
        }
        let name = format!("box {} {}", row.durability, row.mix);
        by_percentile.push(curve(name, curves.the_box.clone(), k % 5, false));
    }
    html! {
        section {
            h2 { "Backend " (backend) }
            (figure("By percentile.",
                "Each point: this share of all requests was answered within this time of their planned send. Every further nine has the same room.",
                &latency_picture(&format!("Round trips over {backend} by percentile"), &by_percentile)))
            @if !mains.is_empty() {
                (figure("By rate.", "Median (line) and 99th percentile (dashed) at each planned rate.",
                    &by_rate(&mains)))
            }
            @for (row, curves) in rows.iter().filter(|(r, _)| !r.stage_ns.is_empty()) { (stages(row, curves)) }
        }
    }
}

fn by_rate(rows: &[&Row]) -> String {
    let line = |row: &Row, pick: fn(&Point) -> u64| -> Vec<(f64, f64)> {
        let points = row.rates.iter();
        points.map(|p| (p.rate as f64, pick(p) as f64)).collect()
    };
    let mut curves = Vec::new();
    if let Some(row) = rows.first() {
        curves.push(curve(
            "echo p50".into(),
            line(row, |p| p.echo_rtt_ns.p50),
            5,
            false,
        ));
        curves.push(curve(
            "echo p99".into(),
            line(row, |p| p.echo_rtt_ns.p99),
            5,
            true,
        ));
    }
    for (k, row) in rows.iter().enumerate() {
        let name = |what: &str| format!("box {} {what}", row.durability);
        curves.push(curve(
            name("p50"),
            line(row, |p| p.box_rtt_ns.p50),
            k % 5,
            false,
        ));
        curves.push(curve(
            name("p99"),
            line(row, |p| p.box_rtt_ns.p99),
            k % 5,
            true,
        ));
    }
    let points = || curves.iter().flat_map(|c| &c.points);
    let (left, right) = plot::decades(points().map(|p| p.0));
    let (low, high) = plot::decades(points().map(|p| p.1));
    let x = Axis {
        scale: Scale::Log(left, right),
        unit: Unit::Plain,
        label: "planned requests a second",
    };
    let y = Axis {
        scale: Scale::Log(low, high),
        unit: Unit::Ns,
        label: "round trip",
    };
    plot::curves("Round trip by rate", 340.0, x, y, &curves)
}

fn stages(row: &Row, curves: &Curves) -> Markup {
    let list: Vec<Curve> = STAGES
        .iter()
        .zip([5, 4, 3, 2, 1, 0])
        .filter_map(|((key, name, _), colour)| {
            let points = &curves.stages.iter().find(|c| c.0 == *key)?.1;
            // The axis has no place for the last of all.
            let points = points.iter().copied().filter(|p| p.0 < 99.9999).collect();
            Some(curve((*name).to_owned(), points, colour, true))
        })
        .collect();
    html! {
        h3 { "Inside the box, " (row.durability) }
        @if let Some(share) = row.group_commit_share {
            p {
                "Waiting for the journal is " b { (format!("{:.0} %", share * 100.0)) } " of the median time inside the box"
                @if let Some([p50, p99]) = row.group_commit_us {
                    "; one group commit takes " (n(p50)) " µs in the median, " (n(p99)) " µs at p99"
                }
                ". What is not in the table is the network, the kernel and the client: about what the echo costs."
            }
        }
        div.scroll { table {
            thead { tr { th { "stage" } th.r { "p50" } th.r { "p99" } th.r { "p99.9" } th.r { "max" } th.r { "count" } } }
            tbody { (percentile_rows(STAGES.iter().map(|(key, name, what)| (*name, *what, row.stage_ns.get(*key))))) }
        } }
        @if !list.is_empty() {
            (figure("Stages.", "From the box's own clock, at the headline rate.",
                &latency_picture(&format!("Stages inside the box, {}", row.durability), &list)))
        }
    }
}

fn run(f: &Figures) -> Markup {
    let table = |title: &str, list: &BTreeMap<String, String>| {
        html! { div {
            h3 { (title) }
            table { tbody { @for (name, value) in list { tr { td { (name) } td { (value) } } } } }
        } }
    };
    let all = || {
        f.rows
            .iter()
            .flat_map(|r| r.rates.iter().map(move |p| (r, p)))
    };
    html! {
        section {
            h2 { "All rates" }
            div.scroll { table {
                thead { tr {
                    th { "backend, durability, mix" } th.r { "rate" } th { "" } th.r { "p50" } th.r { "p90" } th.r { "p99" }
                    th.r { "p99.9" } th.r { "p99.99" } th.r { "max" } th.r { "samples" } th.r { "client late, p99" }
                } }
                tbody { @for (row, p) in all() { @for (who, t) in [("echo", &p.echo_rtt_ns), ("box", &p.box_rtt_ns)] { tr {
                    td { b { (row.backend) } " " (row.durability) " " span.dim { (row.mix) } }
                    td.r { (n(p.rate)) } td { (who) } td.r { (ns(t.p50)) } td.r { (ns(t.p90)) }
                    td.r { (cell(t, t.p99, 0.01)) } td.r { (cell(t, t.p999, 0.001)) } td.r { (cell(t, t.p9999, 0.0001)) }
                    td.r { (ns(t.max)) } td.r { (n(t.count)) } td.r { (ns(p.client_late_ns.p99)) }
                } } } }
            } }
            div.columns { (table("The run", &f.setting)) (table("The machine", &f.machine)) }
        }
    }
}

fn method() -> Markup {
    html! {
        section.method {
            h2 { "What is measured, and how" }
            ul {
                li { b { "Plan. " } "Send times are fixed before a slice begins. A latency is counted from the planned send, so a server that stalls pays for everything it kept waiting, and a late client pays too: how late it was is told." }
                li { b { "Turns. " } "Echo and box take turns, slice by slice, over the same backend and core; the one that is not under test is frozen. The first tenth of a slice gives no sample." }
                li { b { "Client. " } "One thread on its own core; it spins, sends datagrams that were sealed before the slice, one request each, and notes the time of what comes back. Every answer is authenticated, decoded and matched with its request after the slice. It takes no memory meanwhile." }
                li { b { "Lost. " } "A request without an answer after three seconds of silence. In the search for the sustained rate losses are how a rate fails, and are not counted here." }
                li { b { "Sustained. " } "The highest rate at which nothing is lost or refused and the 99th percentile keeps its bound; each rate has two tries." }
                li { b { "Histograms. " } "HDR, three significant digits. A dash stands where fewer than five samples lie beyond a percentile." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{NotRun, Ratio, Sustained};
    use super::*;
    use crate::report::figures::Durations;

    fn durations(at_least: u64, mean: u64) -> Durations {
        let mut prng = crate::prng::Prng::new(at_least, 1);
        let mut d = Durations::default();
        (0..40_000).for_each(|_| d.add(at_least + prng.exponential(mean)));
        d
    }

    /// A run as it could have been.
    fn sample() -> (Figures, Vec<Curves>) {
        let mut f = Figures {
            bench: "wire".into(),
            machine: crate::machine::facts(),
            not_run: vec![NotRun {
                backend: "dpdk".into(),
                reason: "built without it".into(),
            }],
            ..Figures::default()
        };
        f.setting.insert("place".into(), "loopback".into());
        let mut all = Vec::new();
        for backend in ["uring", "xdp"] {
            for (durability, at_least) in [("relaxed", 6_000), ("fsync", 140_000)] {
                let (echo, the_box) = (durations(4_000, 300), durations(at_least, 900));
                let (e, b) = (echo.percentiles(), the_box.percentiles());
                let point = |rate: u64| Point {
                    rate,
                    echo_rtt_ns: Percentiles {
                        p50: e.p50 + rate / 50,
                        ..e
                    },
                    box_rtt_ns: Percentiles {
                        p50: b.p50 + rate / 40,
                        ..b
                    },
                    ratio: Ratio::of(&b, &e),
                    client_late_ns: e,
                    ..Point::default()
                };
                let stage = |v: u64| Percentiles {
                    p50: v,
                    p99: v * 4,
                    p999: v * 9,
                    max: v * 30,
                    count: 40_000,
                    ..Percentiles::default()
                };
                f.rows.push(Row {
                    backend: backend.into(),
                    durability: durability.into(),
                    mix: "rest".into(),
                    headline: point(10_000),
                    rates: [1_000, 10_000, 100_000].map(point).to_vec(),
                    sustained: Some(Sustained {
                        echo_per_s: 400_000,
                        box_per_s: 350_000,
                        ratio: 0.875,
                        p99_max_ns: 5_000_000,
                        ..Sustained::default()
                    }),
                    stage_ns: STAGES
                        .iter()
                        .map(|s| (s.0.to_owned(), stage(900)))
                        .collect(),
                    group_commit_share: Some(0.61),
                    group_commit_us: Some([120, 260]),
                    ..Row::default()
                });
                all.push(Curves {
                    name: format!("{backend} {durability}"),
                    echo: echo.curve(),
                    the_box: the_box.curve(),
                    stages: vec![("rx_gate".into(), vec![(50.0, 900.0), (99.0, 4_000.0)])],
                });
            }
        }
        (f, all)
    }

    #[test]
    fn the_page_stands_alone_and_says_what_must_be_said() {
        let (figures, curves) = sample();
        let page = render(&figures, &curves);
        for words in [
            "every request at a planned rate was answered",
            "Backend xdp",
            "did not run",
            "percentile of requests",
            "planned requests a second",
            "61 %",
            "planned send",
        ] {
            assert!(page.contains(words), "{words}");
        }
        for outside in ["http://", "https://", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.matches("<svg").count() >= 8 && !page.contains("NaN"));
        if let Some(path) = std::env::var_os("DELTABOX_SAMPLE_REPORT") {
            std::fs::write(path, page).expect("written");
        }
    }

    #[test]
    fn losses_are_said_first_and_an_empty_run_has_a_page() {
        let lossy = Figures {
            lost: 1_234,
            ..Figures::default()
        };
        let page = render(&lossy, &[]);
        assert!(page.contains("✗ 1\u{202F}234 requests") && !page.contains("NaN"));
    }
}
