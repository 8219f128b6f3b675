//! `bench wire` and `bench ab` as a user runs them, small, over the real daemon. Nothing is asserted on how long
//! anything took.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, SystemTime};

const BENCH: &str = env!("CARGO_BIN_EXE_bench");

/// One run at a time: two that poll would wait for each other's cores.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    // A test that failed has nothing to leave in disorder.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the bench stands in the project's folder")
}

/// Newest change of a source file below a folder.
fn newest(dir: &Path) -> SystemTime {
    let entries = std::fs::read_dir(dir).expect("a folder of sources");
    let newest = entries.map(|entry| {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            newest(&path)
        } else {
            let meta = path.metadata().expect("readable");
            meta.modified().expect("a time")
        }
    });
    newest.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The daemon beside the bench: `cargo test --workspace` builds it; where only this crate is tested it may be
/// missing or old.
fn hostd() -> PathBuf {
    static BUILT: Once = Once::new();
    let path = Path::new(BENCH).with_file_name("hostd");
    BUILT.call_once(|| {
        let sources = ["hostd/src", "firmware", "matcher"].map(|d| newest(&root().join(d)));
        let built = path.metadata().and_then(|m| m.modified());
        if built.is_ok_and(|built| sources.iter().all(|s| *s <= built)) {
            return;
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "-p", "hostd"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let target = Path::new(BENCH)
            .ancestors()
            .nth(2)
            .expect("a target folder");
        cargo.env("CARGO_TARGET_DIR", target).current_dir(root());
        assert!(cargo.status().expect("cargo runs").success());
    });
    path
}

fn bench(args: &str) -> Command {
    let mut command = Command::new(BENCH);
    command.args(args.split_whitespace()).current_dir(root());
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        command.args("--client-core 0 --hot-core 0".split(' '));
    }
    command
}

/// Runs the bench, which must succeed, and gives what it wrote as JSON.
fn figures(args: &str, more: &[&Path]) -> (Value, String) {
    hostd();
    let _turn = turn();
    let dir = tempfile::tempdir().expect("a folder");
    let json = dir.path().join("out.json");
    let mut command = bench(args);
    command.args(more).arg("--json").arg(&json);
    let output = command.output().expect("the bench runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{args}:\n{out}{err}");
    let text = std::fs::read_to_string(&json).expect("written");
    (serde_json::from_str(&text).expect("JSON"), out)
}

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("{v} is no number"))
}

/// A row as it must be, whatever its figures are.
fn check_row(row: &Value, rate: u64, rates: usize) {
    for name in ["echo_rtt_ns", "box_rtt_ns"] {
        let p = |q: &str| number(&row[name][q]);
        let all = ["p50", "p90", "p99", "p999", "p9999", "max"].map(p);
        assert!(all.is_sorted() && all[0] > 0.0, "{name}: {all:?}");
        assert!(p("count") >= 200.0, "{name}: {}", p("count"));
    }
    for q in ["p50", "p99", "p999"] {
        let (b, e) = (
            number(&row["box_rtt_ns"][q]),
            number(&row["echo_rtt_ns"][q]),
        );
        assert!((number(&row["ratio"][q]) - b / e).abs() < 1e-9);
    }
    assert_eq!(row["lost"], 0);
    assert_eq!(row["rate"], rate);
    assert_eq!(row["refused"], serde_json::json!({}));
    assert_eq!(row["rates"].as_array().map(Vec::len), Some(rates));
    assert!(number(&row["request_bytes"]) >= 48.0 && number(&row["report_bytes"]) >= 48.0);
    assert!(number(&row["client_late_ns"]["count"]) >= 400.0);
}

#[test]
fn a_small_run_on_loopback_loses_nothing_and_has_every_figure() {
    let dir = tempfile::tempdir().expect("a folder");
    let page = dir.path().join("page.html");
    let (f, text) = figures(
        "wire --backend uring --durability relaxed,fsync --mix rest,cross --headline 2000 --rates 500 \
         --seconds 0.2 --samples 200 --slice-ms 100 --search-from 400 --search-to 500 --report",
        &[&page],
    );
    assert_eq!((&f["bench"], &f["lost"]), (&"wire".into(), &0.into()));
    let rows = f["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 4, "a row for each durability and mix");
    for (k, row) in rows.iter().enumerate() {
        let is_first = k % 2 == 0;
        assert_eq!(row["backend"], "uring");
        assert_eq!(row["durability"], ["relaxed", "fsync"][k / 2]);
        assert_eq!(row["mix"], ["rest", "cross"][k % 2]);
        check_row(row, 2_000, if is_first { 2 } else { 1 });
        assert_eq!(row["sustained"].is_object(), is_first);
        if is_first {
            let share = number(&row["group_commit_share"]);
            assert!(share > 0.0 && share <= 1.01, "{share}");
            for stage in ["rx_gate", "matched_durable", "durable_tx", "rx_tx"] {
                assert!(number(&row["stage_ns"][stage]["count"]) >= 400.0, "{stage}");
            }
            let s = &row["sustained"];
            assert_eq!(s["box_per_s"].as_u64().map(|v| v <= 500), Some(true), "{s}");
        }
    }
    assert!(f["machine"]["kernel"].is_string() && f["setting"]["client core"].is_string());
    assert!(text.contains("uring fsync rest at 2\u{202F}000/s") && text.contains("\nlost: 0\n"));
    let page = std::fs::read_to_string(&page).expect("written");
    assert!(page.contains("Backend uring") && page.contains("every request at a planned rate"));
}

/// Set by the gate that is about this: then a machine that cannot run it fails it.
const MUST_RUN: &str = "DELTABOX_VETH_REQUIRED";

#[test]
fn a_run_between_namespaces_is_as_good_on_every_backend_that_runs_here() {
    let must_run = std::env::var_os(MUST_RUN).is_some();
    if !is_root() {
        assert!(!must_run, "network namespaces need root");
        println!("NOT RUN: network namespaces need root");
        return;
    }
    let (f, _) = figures(
        "wire --netns --durability relaxed --mix rest --headline 2000 --rates 2000 \
         --seconds 0.2 --samples 200 --slice-ms 100 --search-to 0",
        &[],
    );
    assert_eq!(f["lost"], 0);
    let place = f["setting"]["place"].as_str().expect("told");
    assert!(place.contains("namespaces"), "{place}");
    let rows = f["rows"].as_array().expect("rows");
    rows.iter().for_each(|row| check_row(row, 2_000, 1));
    let names: Vec<_> = rows.iter().map(|r| r["backend"].as_str()).collect();
    assert_eq!(names[0], Some("uring"));
    assert!(
        !must_run || names.contains(&Some("xdp")),
        "{}",
        f["not_run"]
    );
    let others = f["not_run"].as_array().expect("told");
    assert_eq!(names.len() + others.len(), 3);
    for other in others {
        let words = ["backend", "reason"].map(|k| other[k].as_str().unwrap_or("?"));
        println!("NOT RUN: {}", words.join(": "));
    }
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:"));
    uid.and_then(|l| l.split_whitespace().nth(1)) == Some("0")
}

#[test]
fn two_builds_are_compared_pair_by_pair() {
    let hostd = hostd();
    let (f, text) = figures(
        "ab --rate 2000 --rounds 2 --pairs 2 --slice-ms 100",
        &[&hostd, hostd.parent().expect("a folder")],
    );
    assert_eq!((&f["bench"], &f["lost"]), (&"ab".into(), &0.into()));
    for name in ["p50", "p90", "p99", "p999"] {
        let finding = &f["findings"][name];
        let [low, mean, high] = ["low", "mean", "high"].map(|k| number(&finding["ratio"][k]));
        assert!(0.0 < low && low <= mean && mean <= high, "{finding}");
        let verdict = finding["verdict"].as_str().expect("words");
        let expected = if high < 1.0 {
            "faster"
        } else if low > 1.0 {
            "slower"
        } else {
            "no difference seen"
        };
        assert_eq!(verdict, expected);
    }
    // Four pairs of slices of 200 requests, nine tenths of which are samples.
    for side in ["old_rtt_ns", "new_rtt_ns"] {
        assert_eq!(f[side]["count"], 4 * 180);
    }
    assert!(text.contains("p99 ") && text.contains("lost: 0"));
}

/// Processes of ours by the folder of the run that stands in their command line.
fn processes_with(words: &str) -> usize {
    let all = std::fs::read_dir("/proc").expect("proc");
    let names = all.filter_map(|e| std::fs::read(e.ok()?.path().join("cmdline")).ok());
    names
        .filter(|line| String::from_utf8_lossy(line).contains(words))
        .count()
}

#[test]
fn a_run_that_is_interrupted_ends_its_processes() {
    hostd();
    let _turn = turn();
    let mut run: Child = bench(
        "wire --backend uring --durability relaxed --mix rest --headline 1000 --rates 1000 --seconds 300",
    )
    .stdout(Stdio::null())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the bench runs");
    let folder = format!("-{}/", run.id());
    // Echo and box are there.
    while processes_with(&folder) < 2 {
        assert!(run.try_wait().expect("waits").is_none(), "it ended early");
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = Command::new("kill")
        .args(["-INT", &run.id().to_string()])
        .status();
    assert!(kill.expect("kill runs").success());
    let output = run.wait_with_output().expect("it ends");
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("interrupted"), "{words}");
    assert_eq!(processes_with(&folder), 0);
    let left = std::fs::read_dir(root().join(".demo")).expect("a folder");
    let left: Vec<_> = left.map(|e| e.expect("readable").file_name()).collect();
    let name = format!("-{}", folder.trim_matches(['-', '/']));
    assert!(
        !left.iter().any(|n| n.to_string_lossy().ends_with(&name)),
        "{left:?}"
    );
}
