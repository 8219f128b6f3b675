//! The status as Prometheus text. Names begin with `hostd_`, times are seconds, sizes bytes, counters end in `_total`.
//! No label has a member, an account or an order in it: what a label can be is known when the box is built.

use crate::ops::health;
use crate::ops::status::{STAGE_BOUNDS_NS, Status};
use serde_json::Value;
use std::fmt::Write;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

use Kind::{Counter, Gauge};

/// One number of the status: where, its name, its help, and by what it is divided.
const NUMBERS: &[(&str, &str, Kind, &str, f64)] = &[
    (
        "/engine_seq",
        "engine_seq",
        Counter,
        "Last record that the engine has applied.",
        1.0,
    ),
    (
        "/durable_seq",
        "durable_seq",
        Counter,
        "Last record that is on disk.",
        1.0,
    ),
    ("/sessions", "sessions", Gauge, "Live sessions.", 1.0),
    (
        "/requests",
        "requests_total",
        Counter,
        "Requests that were sequenced.",
        1.0,
    ),
    (
        "/acks",
        "acks_total",
        Counter,
        "Requests that were acknowledged.",
        1.0,
    ),
    ("/fills", "fills_total", Counter, "Trades.", 1.0),
    (
        "/fill_rows",
        "fill_rows_total",
        Counter,
        "Rows of netted fills in batches.",
        1.0,
    ),
    (
        "/settlements",
        "settlements_total",
        Counter,
        "Delta settlements.",
        1.0,
    ),
    (
        "/deposits",
        "deposits_total",
        Counter,
        "Deposits credited.",
        1.0,
    ),
    (
        "/withdrawals",
        "withdrawals_total",
        Counter,
        "Withdrawals.",
        1.0,
    ),
    (
        "/batches_sealed",
        "batches_sealed_total",
        Counter,
        "Batches sealed.",
        1.0,
    ),
    ("/live_orders", "orders_live", Gauge, "Resting orders.", 1.0),
    (
        "/risk_epoch",
        "risk_epoch",
        Counter,
        "Risk table in force.",
        1.0,
    ),
    (
        "/memory_resident_bytes",
        "memory_resident_bytes",
        Gauge,
        "Resident memory.",
        1.0,
    ),
    (
        "/bad_control",
        "bad_control_total",
        Counter,
        "Control datagrams that are none.",
        1.0,
    ),
    (
        "/oracle/refused",
        "oracle_reports_refused_total",
        Counter,
        "Oracle reports that were not taken.",
        1.0,
    ),
    (
        "/journal/bytes",
        "journal_bytes_total",
        Counter,
        "Bytes written to the journal.",
        1.0,
    ),
    (
        "/journal/commits",
        "journal_commits_total",
        Counter,
        "Group commits.",
        1.0,
    ),
    (
        "/journal/p99_us",
        "journal_commit_p99_seconds",
        Gauge,
        "99 of 100 group commits took at most this.",
        1e6,
    ),
    (
        "/journal/max_us",
        "journal_commit_max_seconds",
        Gauge,
        "The longest group commit.",
        1e6,
    ),
    (
        "/journal/segments_ahead",
        "journal_segments_ahead",
        Gauge,
        "Segments that are prepared.",
        1.0,
    ),
    (
        "/clock/drift_ppb",
        "clock_drift_ppb",
        Gauge,
        "Drift of the counter against the kernel's clock.",
        1.0,
    ),
    (
        "/clock/error_max_ns",
        "clock_error_max_seconds",
        Gauge,
        "Largest error of the counter.",
        1e9,
    ),
    (
        "/proofs/proven_batches",
        "batches_proven_total",
        Counter,
        "Batches proven, as the prover told.",
        1.0,
    ),
    (
        "/proofs/committed_batches",
        "batches_committed_total",
        Counter,
        "Batches that L1 has taken, as the prover told.",
        1.0,
    ),
    (
        "/proofs/l1_block",
        "l1_block",
        Counter,
        "L1 block that the prover has seen last.",
        1.0,
    ),
    (
        "/replication/epoch",
        "replication_epoch",
        Gauge,
        "Highest epoch that the box has met.",
        1.0,
    ),
    (
        "/replication/released_seq",
        "replication_released_seq",
        Counter,
        "Last record that may be told of.",
        1.0,
    ),
];

/// Objects of numbers: where, name, label, help.
const FAMILIES: &[(&str, &str, &str, &str)] = &[
    (
        "/rejects",
        "rejects_total",
        "reason",
        "Requests refused, by reject code.",
    ),
    (
        "/datagrams",
        "datagrams_total",
        "kind",
        "What was counted at the datagrams, by kind.",
    ),
    (
        "/logins",
        "logins_total",
        "kind",
        "Logins, by what became of them.",
    ),
    ("/feed", "feed_total", "kind", "Market data, by kind."),
    (
        "/nic",
        "nic_total",
        "kind",
        "What the NIC counted, by kind.",
    ),
    (
        "/nic/faults",
        "nic_faults_total",
        "fault",
        "Frames that the NIC backend refused, by fault.",
    ),
];

/// Rows of objects: where, label, and of each the field, its name, kind, help and divisor.
type Field = (&'static str, &'static str, Kind, &'static str, f64);
const ROWS: &[(&str, &str, &[Field])] = &[
    (
        "/lanes",
        "lane",
        &[
            ("depth", "lane_depth", Gauge, "How much fits a lane.", 1.0),
            ("used", "lane_used", Gauge, "How much is in a lane.", 1.0),
            (
                "high_water",
                "lane_high_water",
                Gauge,
                "The most that was in a lane.",
                1.0,
            ),
            (
                "refusals",
                "lane_refusals_total",
                Counter,
                "Requests refused because a lane was above its mark.",
                1.0,
            ),
            (
                "stalls",
                "lane_stalls_total",
                Counter,
                "Turns without room in a lane.",
                1.0,
            ),
        ],
    ),
    (
        "/tiles",
        "tile",
        &[
            (
                "polls",
                "tile_polls_total",
                Counter,
                "Turns of a tile's loop.",
                1.0,
            ),
            (
                "idle_polls",
                "tile_idle_polls_total",
                Counter,
                "Turns without work.",
                1.0,
            ),
            (
                "work",
                "tile_work_total",
                Counter,
                "Items handled by a tile.",
                1.0,
            ),
            (
                "parks",
                "tile_parks_total",
                Counter,
                "Times that a tile slept.",
                1.0,
            ),
            (
                "gap_max_ns",
                "tile_gap_max_seconds",
                Gauge,
                "Longest time between two turns.",
                1e9,
            ),
        ],
    ),
];

/// Of each standby.
const STANDBYS: [Field; 2] = [
    (
        "lag_records",
        "standby_lag_records",
        Gauge,
        "Records that a standby lacks.",
        1.0,
    ),
    (
        "lag_ms",
        "standby_lag_seconds",
        Gauge,
        "How long a standby does not acknowledge what it lacks.",
        1e3,
    ),
];

/// Names of all metrics, without those that a histogram adds.
pub fn names() -> impl Iterator<Item = String> {
    let numbers = NUMBERS.iter().map(|n| n.1);
    let families = FAMILIES.iter().map(|f| f.1);
    let rows = ROWS.iter().flat_map(|r| r.2).map(|f| f.1);
    let all = numbers
        .chain(families)
        .chain(rows)
        .chain(STANDBYS.map(|f| f.1));
    let rest = ["stage_seconds", "ready", "check", "build_info"];
    all.chain(rest).map(|name| format!("hostd_{name}"))
}

/// The text of a status.
#[must_use]
pub fn text(status: &Status) -> String {
    let value = serde_json::to_value(status).unwrap_or_default();
    let mut out = String::with_capacity(16 << 10);
    for &(at, name, kind, help, by) in NUMBERS {
        if let Some(n) = value.pointer(at).and_then(Value::as_f64) {
            head(&mut out, name, kind, help);
            sample(&mut out, name, "", n / by);
        }
    }
    for &(at, name, label, help) in FAMILIES {
        let rows = value.pointer(at).and_then(Value::as_object);
        let rows = rows.into_iter().flatten();
        let mut rows = rows.filter_map(|(k, v)| Some((k, v.as_f64()?))).peekable();
        if rows.peek().is_some() {
            head(&mut out, name, Counter, help);
        }
        for (key, n) in rows {
            sample(&mut out, name, &format!("{{{label}=\"{key}\"}}"), n);
        }
    }
    for &(at, label, fields) in ROWS {
        for &(field, name, kind, help, by) in fields {
            head(&mut out, name, kind, help);
            for (key, row) in value
                .pointer(at)
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                if let Some(n) = row[field].as_f64() {
                    sample(&mut out, name, &format!("{{{label}=\"{key}\"}}"), n / by);
                }
            }
        }
    }
    standbys(&mut out, &value);
    stages(&mut out, status);
    let health = health::of(&value);
    head(&mut out, "ready", Gauge, "1: the box is ready.");
    sample(&mut out, "ready", "", f64::from(u8::from(health.ready)));
    head(
        &mut out,
        "check",
        Gauge,
        "1: what was looked at is as it should be.",
    );
    for c in &health.checks {
        let labels = format!("{{check=\"{}\"}}", c.check);
        sample(&mut out, "check", &labels, f64::from(u8::from(c.ok)));
    }
    head(&mut out, "build_info", Gauge, "Version of the daemon.");
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    sample(&mut out, "build_info", &version, 1.0);
    out
}

fn standbys(out: &mut String, value: &Value) {
    let rows = value.pointer("/replication/standbys");
    let Some(rows) = rows.and_then(Value::as_array).filter(|r| !r.is_empty()) else {
        return;
    };
    for (field, name, kind, help, by) in STANDBYS {
        head(out, name, kind, help);
        for row in rows {
            let standby = row["name"].as_str().unwrap_or_default();
            let standby = standby.replace('\\', "\\\\").replace('"', "\\\"");
            let n = row[field].as_f64().unwrap_or(0.0);
            sample(out, name, &format!("{{standby=\"{standby}\"}}"), n / by);
        }
    }
}

/// Times of the stages of a request, as histograms.
fn stages(out: &mut String, status: &Status) {
    let name = "stage_seconds";
    let help = "Time of a stage of a request: rx, gate, sequenced, matched, durable, tx.";
    let _ = writeln!(
        out,
        "# HELP hostd_{name} {help}\n# TYPE hostd_{name} histogram"
    );
    for (stage, times) in status.stages() {
        let counts = times.counts();
        for (bound, count) in STAGE_BOUNDS_NS.iter().zip(counts) {
            let le = *bound as f64 / 1e9;
            let labels = format!("{{stage=\"{stage}\",le=\"{le}\"}}");
            sample(out, "stage_seconds_bucket", &labels, *count as f64);
        }
        let all = times.count() as f64;
        let inf = format!("{{stage=\"{stage}\",le=\"+Inf\"}}");
        sample(out, "stage_seconds_bucket", &inf, all);
        let labels = format!("{{stage=\"{stage}\"}}");
        sample(out, "stage_seconds_sum", &labels, times.sum_ns() / 1e9);
        sample(out, "stage_seconds_count", &labels, all);
    }
}

fn head(out: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = if kind == Counter { "counter" } else { "gauge" };
    let _ = writeln!(
        out,
        "# HELP hostd_{name} {help}\n# TYPE hostd_{name} {kind}"
    );
}

fn sample(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(out, "hostd_{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::names;
    use std::collections::BTreeSet;

    /// Words that begin with `hostd_`, without what a histogram adds to its name.
    fn mentioned(text: &str) -> BTreeSet<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c: char| !is_part(c));
        let words = words.filter(|w| w.starts_with("hostd_"));
        let base = |w: &str| {
            let ends = ["_bucket", "_sum", "_count"];
            let end = ends.iter().find_map(|e| w.strip_suffix(e));
            end.unwrap_or(w).to_owned()
        };
        words.map(base).collect()
    }

    #[test]
    fn dashboard_and_rules_speak_of_metrics_that_there_are() {
        let all: BTreeSet<_> = names().collect();
        for (page, text, least) in [
            ("dashboard", include_str!("../../dashboards/hostd.json"), 15),
            ("rules", include_str!("../../dashboards/alerts.yml"), 8),
            ("runbook", include_str!("../../RUNBOOK.md"), 4),
        ] {
            let mentioned = mentioned(text);
            assert!(mentioned.len() >= least, "{page}: {mentioned:?}");
            let strange: Vec<_> = mentioned.difference(&all).collect();
            assert!(strange.is_empty(), "{page}: {strange:?}");
        }
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../../dashboards/hostd.json")).unwrap();
        assert_eq!(dashboard["panels"].as_array().unwrap().len(), 12);
    }

    #[test]
    fn each_rule_names_a_part_of_the_runbook() {
        let rules = include_str!("../../dashboards/alerts.yml");
        let book = include_str!("../../RUNBOOK.md");
        let named = rules
            .lines()
            .filter_map(|l| l.trim().strip_prefix("runbook: "));
        let named: Vec<_> = named.collect();
        assert_eq!(named.len(), rules.matches("- alert:").count());
        for part in named {
            let title = part
                .trim_matches('\'')
                .strip_prefix("hostd/RUNBOOK.md, ")
                .unwrap();
            assert!(book.contains(&format!("\n## {title}\n")), "{title}");
        }
    }
}
