//! `hostd journal` as an operator meets it: the real program over good, live and damaged journals.

mod world;

use client::{Side, limit_order, parse_e9};
use firmware::reject::RejectCode;
use firmware::wire::input::{InAccount, InNewOrder, InRefused};
use firmware::wire::sbe::Message;
use journal::{
    BLOCK_LEN, Config, End, FileDisk, GroupCommit, JournalDir, Reader, Record, archive,
    segment_name,
};
use serde_json::Value;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use world::{World, reports};

const CONFIG: Config = Config {
    segment_bytes: 64 * 1024,
    batch_bytes: 16 * 1024,
    epoch: 3,
};

/// Exit code and what it said on both.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }

    #[track_caller]
    fn lines(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{}", self.err);
        let lines = self.out.lines();
        lines.map(|l| serde_json::from_str(l).unwrap()).collect()
    }
}

fn hostd(args: &[&str]) -> Said {
    let done = Command::new(env!("CARGO_BIN_EXE_hostd"))
        .arg("journal")
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        code: done.status.code().unwrap(),
        out: text(done.stdout),
        err: text(done.stderr),
    }
}

fn on(dir: &Path, args: &[&str]) -> Said {
    let dir = dir.to_str().unwrap();
    hostd(&[args, &["--dir", dir]].concat())
}

/// A journal of `batches` group commits of three records each: an account, an order, a refusal.
fn build(dir: &Path, batches: u64) {
    let disk = FileDisk::new(JournalDir::open(dir).unwrap());
    let mut journal = GroupCommit::resume(CONFIG, &End::genesis(), disk).unwrap();
    for n in 1..=batches {
        let account = InAccount {
            account: n as u32,
            member: 7,
        };
        let order = InNewOrder {
            client_seq: n,
            lots: -5,
            price_ticks: 1000,
            instrument: 2,
            ..bytemuck::Zeroable::zeroed()
        };
        let refused = InRefused {
            reason: RejectCode::PriceOffTick as u16,
            ..bytemuck::Zeroable::zeroed()
        };
        let bodies: [(u16, u32, &[u8]); 3] = [
            (InAccount::TEMPLATE, 0, bytemuck::bytes_of(&account)),
            (InNewOrder::TEMPLATE, 7, bytemuck::bytes_of(&order)),
            (InRefused::TEMPLATE, 8, bytemuck::bytes_of(&refused)),
        ];
        for (template, session, body) in bodies {
            let record = Record {
                seq: journal.next_seq(),
                time_ns: 1_800_000_000_000_000_000 + n,
                template,
                source: u16::from(session != 0),
                session,
                body,
            };
            journal.append(&record).unwrap();
        }
        journal.flush().unwrap();
    }
}

fn overwrite(dir: &Path, segment: u32, offset: u64, bytes: &[u8]) {
    let path = dir.join(segment_name(segment));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn a_whole_journal_is_verified_over_segments_and_archive() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), 50);
    assert_eq!(archive(dir.path(), u64::MAX, 1).unwrap(), [1, 2]);
    let mut reader = Reader::open(dir.path()).unwrap();
    while reader.next().unwrap().is_some() {}
    let said = on(dir.path(), &["verify", "--json"]);
    let v = said.json();
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(
        (&v["ok"], &v["live"], &v["damage"]),
        (&true.into(), &false.into(), &Value::Null)
    );
    assert_eq!(
        (
            v["records"].as_u64(),
            v["batches"].as_u64(),
            v["last_seq"].as_u64()
        ),
        (Some(150), Some(50), Some(150))
    );
    assert_eq!(
        (
            v["segments_begun"].as_u64(),
            v["segments_archived"].as_u64()
        ),
        (Some(4), Some(2))
    );
    assert_eq!(v["bytes"].as_u64(), Some((50 + 4) * BLOCK_LEN as u64));
    assert_eq!(v["journal_hash"], hostd::ops::admin::hex(&reader.chain()));
    assert_eq!(v["tail"], "clean");
    assert!(v["records_per_s"].as_f64().unwrap() > 0.0);
    let said = on(dir.path(), &["verify"]);
    assert!(
        said.out.contains(": ok\n") && said.out.contains("(4 begun, 2 archived)"),
        "{}",
        said.out
    );
}

#[test]
fn damage_is_named_with_its_place_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), 20);
    // In the body of record 8, the second of the third batch.
    overwrite(dir.path(), 1, 3 * BLOCK_LEN as u64 + 72 + 40 + 40, &[0xff]);
    let said = on(dir.path(), &["verify", "--json"]);
    let v = said.json();
    assert_eq!(said.code, 1);
    assert_eq!((&v["ok"], v["last_seq"].as_u64()), (&false.into(), Some(6)));
    let damage = &v["damage"];
    assert_eq!(
        (damage["segment"].as_u64(), damage["seq"].as_u64()),
        (Some(1), Some(8))
    );
    assert_eq!(
        damage["offset"].as_u64(),
        Some(3 * BLOCK_LEN as u64 + 72 + 40)
    );
    assert!(damage["what"].as_str().unwrap().starts_with("crc mismatch"));
    let said = on(dir.path(), &["verify"]);
    assert_eq!(said.code, 1);
    for part in [
        "DAMAGED",
        "journal-00000001.seg offset 0x3070: record 8: crc",
        "Records 1 to 6 are whole",
        "restore",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let said = on(dir.path(), &["inspect"]);
    assert_eq!(
        (said.code, said.out.lines().count()),
        (1, 6),
        "what is whole is shown"
    );
    assert!(said.err.contains("record 8: crc mismatch"), "{}", said.err);
    std::fs::remove_file(dir.path().join(segment_name(1))).unwrap();
    let said = on(dir.path(), &["verify"]);
    assert_eq!(said.code, 1);
    assert!(
        said.out.contains("Put journal-00000001.seg back"),
        "{}",
        said.out
    );
}

#[test]
fn what_cannot_be_done_has_a_code_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(hostd(&["verify"]).code, 2);
    assert_eq!(hostd(&["verify", "--dir", "/x", "--data", "/x"]).code, 2);
    let said = on(&dir.path().join("nowhere"), &["verify"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("nowhere: no journal there"),
        "{}",
        said.err
    );
    build(dir.path(), 1);
    let said = on(dir.path(), &["inspect", "--template", "NewOrdr"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("no message is called that"),
        "{}",
        said.err
    );
    std::fs::rename(
        dir.path().join(segment_name(1)),
        dir.path().join(segment_name(4)),
    )
    .unwrap();
    let said = on(dir.path(), &["inspect", "--from", "2"]);
    assert!(
        said.code == 2 && said.err.contains("record 2 is in no segment"),
        "{}",
        said.err
    );
}

#[test]
fn records_are_shown_by_name_and_field_and_filtered() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), 50);
    let all = on(dir.path(), &["inspect", "--json"]).lines();
    assert_eq!(all.len(), 150);
    assert_eq!(all[1]["message"], "InNewOrder");
    let fields = &all[1]["fields"];
    assert_eq!(
        (fields["lots"].as_i64(), fields["price_ticks"].as_i64()),
        (Some(-5), Some(1000))
    );
    assert_eq!(fields["client_seq"].as_u64(), Some(1));
    assert!(fields.get("pad1").is_none());
    assert_eq!(all[2]["fields"]["reason_name"], "PriceOffTick");
    assert_eq!(all[0]["fields"]["member"].as_u64(), Some(7));
    let seqs = |args: &[&str]| -> Vec<u64> {
        let lines = on(dir.path(), &[&["inspect", "--json"], args].concat()).lines();
        lines.iter().map(|l| l["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(
        seqs(&["--from", "100", "--to", "104"]),
        [100, 101, 102, 103, 104]
    );
    assert_eq!(
        seqs(&["--from", "100", "--to", "106", "--member", "7"]),
        [101, 104]
    );
    assert_eq!(seqs(&["--to", "7", "--template", "neworder"]), [2, 5]);
    assert_eq!(seqs(&["--to", "7", "--template", "InRefused"]), [3, 6]);
    assert_eq!(seqs(&["--to", "4", "--template", "600"]), [2]);
    let text = on(dir.path(), &["inspect", "--from", "2", "--to", "3"]).out;
    let mut lines = text.lines();
    let order = lines.next().unwrap();
    assert!(
        order.contains("1800000000.000000001  member 7     NewOrder")
            && order.contains(" lots=-5 "),
        "{order}"
    );
    assert!(lines.next().unwrap().contains("reason=13 "), "{text}");
    let segments = on(dir.path(), &["inspect", "--segments", "--json"]).lines();
    assert_eq!(segments[1]["first_seq"].as_u64(), Some(46));
    assert_eq!(
        (&segments[1]["state"], segments[1]["epoch"].as_u64()),
        (&"begun".into(), Some(3))
    );
    assert_eq!(segments.last().unwrap()["state"], "not begun");
    let batches = on(
        dir.path(),
        &[
            "inspect",
            "--batches",
            "--from",
            "47",
            "--to",
            "52",
            "--json",
        ],
    )
    .lines();
    let spans: Vec<_> = batches
        .iter()
        .map(|b| (b["first_seq"].as_u64(), b["last_seq"].as_u64()))
        .collect();
    assert_eq!(
        spans,
        [
            (Some(46), Some(48)),
            (Some(49), Some(51)),
            (Some(52), Some(54))
        ]
    );
    assert_eq!(batches[0]["segment"].as_u64(), Some(2));
}

#[test]
fn a_torn_tail_is_shown_kept_and_dropped_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), 5);
    let said = on(dir.path(), &["truncate-torn-tail", "--yes"]);
    assert!(
        said.code == 0 && said.out.contains("the tail is clean after record 15"),
        "{}",
        said.out
    );
    // The last batch stops in its second record.
    let (path, at) = (dir.path().join(segment_name(1)), 5 * BLOCK_LEN);
    let good = std::fs::read(&path).unwrap();
    overwrite(dir.path(), 1, at as u64 + 150, &[0; 300]);
    let torn = std::fs::read(&path).unwrap();
    let said = on(dir.path(), &["verify"]);
    assert!(
        said.code == 0 && said.out.contains("was cut off before it was durable"),
        "{}",
        said.out
    );
    let said = on(dir.path(), &["truncate-torn-tail"]);
    assert_eq!(said.code, 0);
    for part in [
        "segment 1 offset 0x5000",
        "record 12 is the last that was durable",
        "--yes",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert_eq!(std::fs::read(&path).unwrap(), torn, "only shown");
    let held = JournalDir::open(dir.path()).unwrap();
    for args in [
        &["truncate-torn-tail"][..],
        &["truncate-torn-tail", "--yes"],
    ] {
        let said = on(dir.path(), args);
        assert!(
            said.code == 2 && said.err.contains("in use by another process"),
            "{}",
            said.err
        );
    }
    drop(held);
    let said = on(dir.path(), &["truncate-torn-tail", "--yes"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let kept = std::fs::read(dir.path().join("torn-00000001-00005000.0")).unwrap();
    assert_eq!(kept, torn[at..at + kept.len()]);
    assert!(torn[at + kept.len()..].iter().all(|b| *b == 0));
    let after = std::fs::read(&path).unwrap();
    assert!(after[..at] == good[..at] && after[at..].iter().all(|b| *b == 0));
    let said = on(dir.path(), &["verify", "--json"]).json();
    assert_eq!(
        (&said["tail"], said["last_seq"].as_u64()),
        (&"clean".into(), Some(12))
    );
}

#[test]
fn damage_is_never_taken_for_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), 5);
    // A bit of the last batch, which is there to its end.
    overwrite(dir.path(), 1, 5 * BLOCK_LEN as u64 + 72 + 33, &[0x80]);
    let before = std::fs::read(dir.path().join(segment_name(1))).unwrap();
    let said = on(dir.path(), &["truncate-torn-tail", "--yes"]);
    assert_eq!(said.code, 1);
    for part in [
        "journal-00000001.seg offset 0x5048: record 13",
        "no torn tail",
        "Nothing was changed",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    assert_eq!(
        std::fs::read(dir.path().join(segment_name(1))).unwrap(),
        before
    );
}

#[test]
fn a_box_moves_its_closed_segments_and_is_recovered_and_replayed_from_both_places() {
    let mut w = World::new();
    let other = tempfile::tempdir().unwrap();
    let sizes = format!(
        "segment_mib = 1\nkeep_segments = 1\narchive_dir = {:?}",
        other.path()
    );
    let text = w.config().replace("segment_mib = 16", &sizes);
    std::fs::write(w.config_path(), text).unwrap();
    w.open();
    let mut maker = w.session(1);
    let price = parse_e9("100000.5").unwrap();
    let mut id = 0;
    // A group commit each, 4 KiB; the first segment moves when the third is begun.
    while !other.path().join(segment_name(1)).exists() {
        id += 1;
        assert!(id < 4_000, "nothing was moved");
        let order = limit_order(id, 1, 0, Side::Sell, price, 1);
        maker.send(&order.into()).unwrap();
        reports(&mut maker, 1);
    }
    w.kill();
    let dir = w.data().join("journal");
    assert!(!dir.join(segment_name(1)).exists() && dir.join(segment_name(2)).exists());
    let verified = on(&dir, &["verify", "--json"]).json();
    assert_eq!(verified["segments_archived"].as_u64(), Some(1));
    let replayed = w.replay();
    assert_eq!(replayed["records"], verified["records"]);
    w.start();
    w.shutdown();
}

#[test]
fn a_running_box_can_be_looked_at_and_is_not_disturbed() {
    let mut w = World::new();
    w.open();
    let mut maker = w.session(1);
    for n in 1..=20 {
        let price = parse_e9("100000.5").unwrap();
        maker
            .send(&limit_order(n, 1, 0, Side::Sell, price, 1).into())
            .unwrap();
        reports(&mut maker, 1);
        let data = w.data();
        let data = data.to_str().unwrap();
        let said = hostd(&["verify", "--json", "--data", data]);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        let v = said.json();
        assert_eq!((&v["ok"], &v["live"]), (&true.into(), &true.into()));
        let orders = hostd(&[
            "inspect",
            "--json",
            "--template",
            "NewOrder",
            "--data",
            data,
        ])
        .lines();
        assert_eq!(orders.len() as u64, n, "what was answered is there");
    }
    let said = hostd(&["truncate-torn-tail", "--data", w.data().to_str().unwrap()]);
    assert!(
        said.code == 2 && said.err.contains("in use by another process"),
        "{}",
        said.err
    );
    w.shutdown();
}
