//! What the machine gives the real daemon: pages that are there (by its threads' own counts of faults), a clock that is
//! held to the kernel's, receive times.

mod world;

use client::{Side, cancel, limit_order, now, parse_e9};
use std::path::Path;
use world::{World, reports};

/// Page faults of the daemon's threads of a name, minor and major.
fn faults(pid: u32, thread: &str) -> u64 {
    let tasks = format!("/proc/{pid}/task");
    let mut found = false;
    let mut sum = 0;
    for task in std::fs::read_dir(&tasks).unwrap() {
        let task = task.unwrap().path();
        let read = |name| std::fs::read_to_string(Path::join(&task, name)).unwrap_or_default();
        if read("comm").trim() != thread {
            continue;
        }
        found = true;
        let stat = read("stat");
        // After the name, which may hold blanks: state is the first word, minflt the eighth, majflt the tenth.
        let words: Vec<_> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        sum += words[7].parse::<u64>().unwrap() + words[9].parse::<u64>().unwrap();
    }
    assert!(found, "no thread {thread} in {tasks}");
    sum
}

/// Orders that rest, trade and go, `rounds` times over.
fn trade(w: &mut World, ids: &mut u64, rounds: u64) {
    let (mut maker, mut taker) = (w.session(1), w.session(2));
    for round in 0..rounds {
        *ids += 4;
        if round % 20 == 0 {
            w.price(100_000_000_000);
        }
        let price = |p: u64| parse_e9(&p.to_string()).unwrap();
        let order = |id, account, side, p| limit_order(id, account, 0, side, price(p), 2);
        let (id, level) = (*ids, 100_000 + round % 50);
        maker.send(&order(id, 1, Side::Sell, level).into()).unwrap();
        maker
            .send(&order(id + 1, 2, Side::Buy, level - 500).into())
            .unwrap();
        reports(&mut maker, 2);
        taker.send(&order(id, 3, Side::Buy, level).into()).unwrap();
        // Accepted and filled.
        reports(&mut taker, 2);
        maker.send(&cancel(id + 2, 2, 0, id + 1).into()).unwrap();
        // The fill of the maker, and the cancel.
        reports(&mut maker, 2);
    }
    maker.flush(now());
}

#[test]
fn the_hot_tile_runs_without_page_faults() {
    let mut w = World::new();
    w.open();
    let mut ids = 0;
    // Code that has never run, and memory that a first login takes, belong to the start.
    trade(&mut w, &mut ids, 60);
    let before = faults(w.pid(), "hot");
    assert!(
        before > 0,
        "the start faults, and so the count is shown to work"
    );
    trade(&mut w, &mut ids, 100);
    assert_eq!(faults(w.pid(), "hot") - before, 0);
    let status = w.wait_for("clock and NIC in the status", |s| {
        s["nic"]["tx"].as_u64() > Some(500)
    });
    let (nic, clock) = (&status["nic"], &status["clock"]);
    // Loopback has no card that could stamp.
    assert_eq!(
        (&nic["rx_times"], &nic["faults"]),
        (&"kernel".into(), &serde_json::json!({}))
    );
    assert_eq!(clock["gave_up"], false, "{clock}");
    let has_counter = clock["is_counter"] == true;
    assert_eq!(has_counter, clock["checks"].as_u64() > Some(10), "{clock}");
    w.shutdown();
}

#[test]
fn memory_that_must_be_locked_and_cannot_be_stops_the_start() {
    let w = World::new();
    let config = w.config().replace("lock = \"auto\"", "lock = \"on\"");
    std::fs::write(w.config_path(), config).unwrap();
    // Without the right, and with a limit that the rings fit and the rest does not.
    let run = std::process::Command::new("prlimit")
        .args(["--memlock=67108864", "setpriv", "--bounding-set=-ipc_lock"])
        .arg(env!("CARGO_BIN_EXE_hostd"))
        .args(["run", "--config"])
        .arg(w.config_path())
        .output();
    let Ok(out) = run else {
        println!("did not run: prlimit is not installed");
        return;
    };
    let text = String::from_utf8(out.stderr).unwrap();
    let last = text.lines().last().unwrap_or_default();
    if last.starts_with("setpriv:") || last.starts_with("prlimit:") {
        println!("did not run: {last}");
        return;
    }
    assert!(!out.status.success());
    assert!(last.starts_with("hostd: memory.lock = \"on\": "), "{text}");
    assert!(last.contains("LimitMEMLOCK=infinity"), "{text}");
}

#[test]
fn the_daemon_gives_up_what_it_does_not_need() {
    let mut w = World::new();
    w.start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", w.pid())).unwrap();
    let has = |key: &str, value: &str| {
        let line = status.lines().find(|l| l.starts_with(key)).unwrap_or("");
        assert_eq!(line.split_whitespace().nth(1), Some(value), "{key}: {line}");
    };
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", w.pid())).unwrap();
    let cores = limits.lines().find(|l| l.starts_with("Max core")).unwrap();
    let words: Vec<_> = cores.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{cores}");
    w.kill();
    let sandbox = w.logged("sandbox");
    assert_eq!(sandbox.len(), 1);
    let files = sandbox[0]["files"].as_str().unwrap();
    if files.starts_with("confined") {
        has("NoNewPrivs:", "1");
    } else {
        eprintln!("not run: {files}");
    }
}
