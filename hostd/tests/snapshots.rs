//! The whole daemon, started from snapshots: it is the same box as one that replayed all of its journal.

mod world;

use client::{
    Feed, FeedConfig, FeedEvent, Report, Session, Side, cancel, limit_order, mass_cancel, now,
    parse_e9,
};
use firmware::wire::order::{NewOrder, TIF_IOC, Withdraw};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use world::{World, hostd, reports};

fn order(id: u64, account: u32, side: Side, price: &str, lots: i64) -> NewOrder {
    limit_order(id, account, 0, side, parse_e9(price).unwrap(), lots)
}

/// Files in a directory of the venue, by name.
fn files(w: &World, dir: &str) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(w.data().join(dir))
        .into_iter()
        .flatten()
        .map(|e| e.unwrap().path())
        .collect();
    all.sort();
    all
}

fn snapshots(w: &World) -> Vec<String> {
    let name = |p: PathBuf| p.file_name().unwrap().to_str().unwrap().to_owned();
    files(w, "snapshots").into_iter().map(name).collect()
}

/// Resting orders, fills, cancels: what members 1 and 2 hear of it comes behind `told`.
fn trade(w: &mut World, from: u64, count: u64, told: &mut [Vec<Report>; 2]) {
    let (mut maker, mut taker) = (w.session(1), w.session(2));
    for id in from..from + count {
        let price = format!("{}", 100_000 + id % 50);
        maker
            .send(&order(id, 1, Side::Sell, &price, 3).into())
            .unwrap();
        told[0].extend(reports(&mut maker, 1));
        match id % 3 {
            0 => {
                maker.send(&cancel(1_000_000, 1, 0, id).into()).unwrap();
                told[0].extend(reports(&mut maker, 1));
            }
            1 => {
                let take = NewOrder {
                    time_in_force: TIF_IOC,
                    ..order(id, 3, Side::Buy, "100100", 1)
                };
                taker.send(&take.into()).unwrap();
                told[1].extend(reports(&mut taker, 2));
                told[0].extend(reports(&mut maker, 1));
            }
            _ => {}
        }
    }
    maker.terminate(now());
    taker.terminate(now());
}

/// A member's reports of the whole day, asked for again.
fn heard(w: &World, member: u32, count: usize) -> Vec<Report> {
    let mut config = w.session_config(member);
    config.first_report = Some(1);
    reports(&mut Session::connect(config).unwrap(), count)
}

/// What the daemon that was killed last began with, and how many records it replayed.
fn began(w: &World) -> (String, u64) {
    let line = &w.logged("recovered")[0];
    let text = |key: &str| line[key].as_str().unwrap().to_owned();
    (text("from"), text("records").parse().unwrap())
}

/// Both replays come to the same; the state.
fn both(w: &World) -> serde_json::Value {
    let data = w.data();
    let args = ["replay", "--from-genesis", "--from-snapshot", "--data"];
    hostd(&[&args[..], &[data.to_str().unwrap()]].concat()).unwrap();
    let (mut whole, mut short) = (w.replay(), w.replay_from("--from-snapshot"));
    for all in [&mut whole, &mut short] {
        let all = all.as_object_mut().unwrap();
        for key in ["records", "from", "seconds"] {
            assert!(all.remove(key).is_some());
        }
    }
    assert_eq!(whole, short);
    whole
}

#[test]
fn a_start_from_a_snapshot_is_the_same_box() {
    let mut w = World::new();
    w.open();
    let mut told = [Vec::new(), Vec::new()];
    trade(&mut w, 1, 60, &mut told);
    assert_eq!(w.admin("POST", "/v1/seal", "").1["batch_no"], 1);
    trade(&mut w, 100, 30, &mut told);
    // Beside the running box, which says what is durable.
    let first = w.snapshot().unwrap();
    assert_eq!(first["from"], serde_json::Value::Null);
    let seq = first["seq"].as_u64().unwrap();
    assert_eq!(first["records"].as_u64(), Some(seq));
    let (data, until) = (w.data(), seq.to_string());
    let again = [
        "snapshot",
        "--data",
        data.to_str().unwrap(),
        "--until",
        &until,
    ];
    let again: serde_json::Value = serde_json::from_slice(&hostd(&again).unwrap()).unwrap();
    assert!(again["path"].is_null() && again["state_hash"] == first["state_hash"]);
    trade(&mut w, 200, 30, &mut told);
    w.kill();
    let state = both(&w);

    // Started from it twice, the box goes on where it was.
    for round in 0..2 {
        w.start();
        w.price(100_000_000_000);
        trade(&mut w, 300 + 100 * round, 20, &mut told);
        w.kill();
        let (from, records) = began(&w);
        assert_eq!(from, format!("snapshot-{seq:020}.snap"));
        let replay = both(&w);
        let last = replay["last_seq"].as_u64().unwrap();
        assert!(records > 0 && records < last - seq && replay != state);
    }

    // The second snapshot goes on from the first.
    let second = w.snapshot().unwrap();
    assert!(
        second["from"]
            .as_str()
            .unwrap()
            .ends_with(&format!("{seq:020}.snap"))
    );
    assert!(second["records"].as_u64().unwrap() < second["seq"].as_u64().unwrap());
    both(&w);
    w.start();
    for (member, told) in [(1, &told[0]), (2, &told[1])] {
        let deposits = if member == 1 { 2 } else { 1 };
        assert_eq!(
            heard(&w, member, deposits + told.len())[deposits..],
            told[..]
        );
    }
    w.kill();
    assert_eq!(began(&w).1, 0, "all of it was in the snapshot");

    // Files and batches are those of a box that replayed all.
    let read = |w: &World| -> Vec<(PathBuf, Vec<u8>)> {
        let all = ["spool", "feed", "batches"].map(|dir| files(w, dir));
        let all = all.into_iter().flatten();
        all.map(|p| (p.clone(), std::fs::read(p).unwrap()))
            .collect()
    };
    w.start();
    w.shutdown();
    let short = read(&w);
    assert!(short.len() >= 5);
    let sealed = w.data().join("batches/batch-00000001.sealed");
    std::fs::remove_file(&sealed).unwrap();
    std::fs::remove_dir_all(w.data().join("snapshots")).unwrap();
    w.start();
    w.kill();
    assert_eq!(began(&w).0, "the first record");
    // A start lists nothing new, so both wrote the same; the one that was told to stop said goodbye to sessions.
    let whole = read(&w);
    let names = |all: &[(PathBuf, Vec<u8>)]| all.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&short), names(&whole));
    for ((name, short), (_, whole)) in short.iter().zip(&whole) {
        assert!(short == whole, "{}", name.display());
    }
}

#[test]
fn the_feed_of_the_day_is_whole_after_a_start_from_a_snapshot() {
    let mut w = World::new();
    w.open();
    let mut told = [Vec::new(), Vec::new()];
    trade(&mut w, 1, 60, &mut told);
    w.snapshot().unwrap();
    trade(&mut w, 100, 10, &mut told);
    w.kill();
    w.start();
    w.price(100_000_000_000);
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let [_, _, line_a, line_b, requests, snapshots, checkpoints, ..] = w.ports;
    let whole = FeedConfig::new(at(line_b), Some(at(requests)))
        .with_checkpoints(at(checkpoints), world::key(9).public());
    let late = FeedConfig::new(at(line_a), None).with_snapshots(at(snapshots));
    let mut whole = Feed::join(&whole).unwrap();
    let mut late = Feed::join(&late).unwrap();
    trade(&mut w, 200, 10, &mut told);
    let begun = Instant::now();
    let mut synced = false;
    loop {
        let events = [whole.poll(now()).unwrap(), late.poll(now()).unwrap()];
        synced |= events[1] == Some(FeedEvent::Synced);
        let status = w.admin("GET", "/v1/status", "").1;
        let last = status["feed"]["messages"].as_u64().unwrap_or(0);
        let level = whole.next_seq() == late.next_seq() && whole.counters().verified > 0;
        if synced && level && whole.next_seq() > last.max(200) {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{} {} {:?} {:?}",
            whole.next_seq(),
            late.next_seq(),
            whole.counters(),
            late.counters()
        );
    }
    let books = [&whole, &late].map(|f| {
        let book = f.book(0).unwrap();
        (book.best_bid(), book.best_ask(), book.len())
    });
    assert_eq!(books[0], books[1]);
    assert!(books[0].2 > 20 && whole.counters().rerequests > 0);
    assert_eq!(whole.counters().forged + whole.counters().inconsistent, 0);
    w.kill();
    assert!(began(&w).0.starts_with("snapshot-"));
}

#[test]
fn snapshots_are_made_while_orders_flow_and_nothing_acknowledged_is_lost() {
    let mut w = World::new();
    let text = w
        .config()
        .replace("[journal]", "[snapshot]\nevery_records = 150\n\n[journal]");
    std::fs::write(w.config_path(), text).unwrap();
    w.open();
    let mut acknowledged = BTreeSet::new();
    let (mut id, mut from_snapshots) = (0, 0);
    for round in 0..3 {
        let mut maker = w.session(1);
        let (begun, before) = (Instant::now(), snapshots(&w));
        // Until a snapshot was made under load, and a little longer.
        let mut made = None;
        while made.is_none_or(|t: Instant| t.elapsed() < Duration::from_millis(30 * round)) {
            id += 1;
            let price = format!("{}", 99_000 + id % 500);
            maker
                .send(&order(id, 1, Side::Buy, &price, 1).into())
                .unwrap();
            maker.flush(now());
            while let Some(event) = maker.poll(now()) {
                if let client::Event::Report {
                    report: Report::Accepted(m),
                    ..
                } = event
                {
                    acknowledged.insert(m.cl_ord_id);
                }
            }
            if made.is_none() && id % 16 == 0 && snapshots(&w) != before {
                made = Some(Instant::now());
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "no snapshot");
            std::thread::sleep(Duration::from_millis(2));
        }
        w.kill();
        from_snapshots += usize::from(began(&w).0.starts_with("snapshot-"));
        assert!(snapshots(&w).iter().filter(|n| !n.starts_with('.')).count() <= 2);
        both(&w);
        w.start();
        w.price(100_000_000_000);
    }
    assert_eq!(from_snapshots, 2);
    let mut maker = w.session(1);
    maker
        .send(&mass_cancel(id + 1, 1, None, None).into())
        .unwrap();
    let mut canceled = BTreeSet::new();
    let begun = Instant::now();
    while !acknowledged.is_subset(&canceled) {
        if let Some(client::Event::Report {
            report: Report::Canceled(m),
            ..
        }) = maker.poll(now())
        {
            canceled.insert(m.cl_ord_id);
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert!(acknowledged.len() > 50);
}

/// Flips a byte of a file.
fn damage(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// Starts and stops the box; what it began with and why it refused snapshots.
fn restart(w: &mut World) -> (String, Vec<String>) {
    w.start();
    w.kill();
    let refused = w.logged("snapshot_refused");
    let why = |l: &serde_json::Value| l["reason"].as_str().unwrap().to_owned();
    (began(w).0, refused.iter().map(why).collect())
}

#[test]
fn whatever_is_damaged_is_named_and_the_start_goes_further_back() {
    let mut w = World::new();
    w.open();
    let mut told = [Vec::new(), Vec::new()];
    let mut names = Vec::new();
    for round in 0..2 {
        trade(&mut w, 1 + 100 * round, 30, &mut told);
        assert_eq!(w.admin("POST", "/v1/seal", "").0, 200);
        w.shutdown();
        let made = w.snapshot().unwrap();
        names.push(format!(
            "snapshot-{:020}.snap",
            made["seq"].as_u64().unwrap()
        ));
        if round == 0 {
            w.start();
            w.price(100_000_000_000);
        }
    }
    assert_eq!(snapshots(&w), names);
    both(&w);
    let [old, new] = [&names[0], &names[1]].map(|n| w.data().join("snapshots").join(n));
    assert_eq!(restart(&mut w), (names[1].clone(), vec![]));

    // The newest one; `snapshot::tests` damages it all over.
    let sound = std::fs::read(&new).unwrap();
    damage(&new, sound.len() / 2);
    let (from, refused) = restart(&mut w);
    assert_eq!((from.as_str(), refused.len()), (names[0].as_str(), 1));
    assert!(refused[0].starts_with(&names[1]) && refused[0].contains("digest"));
    both(&w);

    // Both, and then what they count on: then all is replayed, and all of it is whole again.
    let old_sound = std::fs::read(&old).unwrap();
    damage(&old, 200);
    let (from, refused) = restart(&mut w);
    assert_eq!((from.as_str(), refused.len()), ("the first record", 2));
    std::fs::write(&old, old_sound).unwrap();
    std::fs::write(&new, &sound).unwrap();
    let data = w.data();
    for (file, at, why) in [
        ("spool/member-0001.reports", 20, "report 1 is damaged"),
        ("feed/messages", 40, "feed's store"),
        ("feed/index", 8, "place of message 2"),
    ] {
        assert_eq!(restart(&mut w), (names[1].clone(), vec![]), "{file}");
        damage(&data.join(file), at);
        let (from, refused) = restart(&mut w);
        assert_eq!(from, "the first record", "{refused:?}");
        assert!(refused.iter().all(|r| r.contains(why)), "{refused:?}");
    }
    std::fs::remove_file(data.join("batches/batch-00000001.sealed")).unwrap();
    let (from, refused) = restart(&mut w);
    assert_eq!(from, "the first record");
    assert!(
        refused[0].contains("batch-00000001.sealed is missing"),
        "{refused:?}"
    );
    assert_eq!(restart(&mut w), (names[1].clone(), vec![]));
    w.start();
    assert_eq!(heard(&w, 1, 2 + told[0].len())[2..], told[0][..]);
    assert_eq!(w.shutdown()["state_hash"], both(&w)["state_hash"]);
}

#[test]
fn a_snapshot_of_another_journal_or_ahead_of_its_own_stops_the_start() {
    let mut w = World::new();
    w.open();
    let mut told = [Vec::new(), Vec::new()];
    trade(&mut w, 1, 10, &mut told);
    w.shutdown();
    w.snapshot().unwrap();
    let journal = w.data().join("journal");
    let kept = w.data().join("kept");
    std::fs::rename(&journal, &kept).unwrap();
    let line = w.start_and_fail();
    assert!(line.contains("start from snapshot-"), "{line}");
    std::fs::remove_dir_all(&journal).unwrap();
    // As long a journal of another day.
    std::fs::rename(w.data().join("snapshots"), w.data().join("away")).unwrap();
    std::fs::remove_dir_all(w.data().join("batches")).unwrap();
    w.open();
    trade(&mut w, 1, 20, &mut told);
    w.shutdown();
    std::fs::remove_dir_all(w.data().join("snapshots")).unwrap();
    std::fs::rename(w.data().join("away"), w.data().join("snapshots")).unwrap();
    // Spool and feed of the other day lie there, so that the snapshot is not even looked at further.
    w.start();
    w.kill();
    assert_eq!(began(&w).0, "the first record");
    assert_eq!(w.logged("snapshot_refused").len(), 1);
}

#[test]
fn a_snapshot_that_cannot_be_made_says_why() {
    let w = World::new();
    let line = w.snapshot().unwrap_err();
    assert!(line.contains("no journal there"), "{line}");
    let mut w = w;
    w.open();
    let data = w.data();
    let data = data.to_str().unwrap();
    let line = hostd(&["snapshot", "--data", data]).unwrap_err();
    assert!(line.contains("with --config it is asked"), "{line}");
    let line = hostd(&["snapshot", "--data", data, "--until", "9999"]).unwrap_err();
    assert!(line.contains("record 9999 is not there"), "{line}");
    assert_eq!(snapshots(&w), Vec::<String>::new());
    let args = ["replay", "--from-snapshot", "--data", data];
    assert!(hostd(&args).unwrap_err().contains("no snapshot there"));
    let line = hostd(&[
        "snapshot",
        "--data",
        data,
        "--until",
        "5",
        "--child-of",
        "1",
    ]);
    assert!(line.unwrap_err().contains("is gone"));
    let five = hostd(&["snapshot", "--data", data, "--until", "5"]).unwrap();
    let five: serde_json::Value = serde_json::from_slice(&five).unwrap();
    assert_eq!(
        (five["seq"].as_u64(), five["records"].as_u64()),
        (Some(5), Some(5))
    );
    w.kill();
    both(&w);
    // Withdrawals and the rest of a member's money come through as well.
    w.start();
    w.price(100_000_000_000);
    let mut taker = w.session(2);
    let gone = Withdraw {
        cl_ord_id: 9,
        amount: 1_000_000,
        account: 3,
        pad1: 0,
    };
    taker.send(&gone.into()).unwrap();
    assert!(matches!(
        reports(&mut taker, 1)[0],
        Report::WithdrawReport(_)
    ));
    assert_eq!(w.shutdown()["state_hash"], both(&w)["state_hash"]);
}
