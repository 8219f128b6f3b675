//! A day of operators, through their real command line and against the real daemon: start, trade, halt, resume, kick,
//! raise a limit with two persons, cancel all, snapshot, crash, replay, end. At its end the audit log fits the journal,
//! and the journal replays to the state that the box stopped in.

mod world;

use client::{Event, Report, Side, limit_order, now, parse_e9};
use firmware::reject::RejectCode;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};
use world::{World, reports};

const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const NOT_FOUND: i32 = 4;
const CONFLICT: i32 = 5;
const UNREACHABLE: i32 = 6;

/// Two persons of this box besides root: Unix users that need not exist.
const ALICE: u32 = 64_001;
const BOB: u32 = 64_002;
const GROUP: u32 = 64_000;

fn json(w: &World, args: &[&str]) -> Value {
    let (code, text) = w.operate(&[&["--json", "--reason", "a day of a test"], args].concat());
    assert_eq!(code, 0, "{args:?}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"))
}

fn fails(w: &World, args: &[&str], want: i32, words: &str) {
    let (code, text) = w.operate(args);
    assert_eq!(code, want, "{args:?}: {text}");
    assert!(text.contains(words), "{args:?}: {text}");
}

fn order(w: &World, member: u32, id: u64, side: Side, price: &str) -> Report {
    let account = if member == 1 { 1 } else { 3 };
    let mut session = w.session(member);
    let order = limit_order(id, account, 0, side, parse_e9(price).unwrap(), 1);
    session.send(&order.into()).unwrap();
    let report = reports(&mut session, 1)[0];
    session.terminate(now());
    report
}

#[test]
fn a_day_from_start_to_end() {
    let mut w = World::new();
    let text = w.config().replacen(
        "symbol = \"BTC-PERP\"",
        "symbol = \"BTC-PERP\"\nstate = \"pre-open\"",
        1,
    );
    std::fs::write(w.config_path(), text).unwrap();
    fails(&w, &["status"], UNREACHABLE, "no box answers on");
    w.open();

    // Start of day.
    let ready = json(&w, &["day", "status"]);
    assert_eq!(ready["ready"], true, "{ready}");
    let listed = json(&w, &["instrument", "list"]);
    assert_eq!(listed[0]["state"], "pre-open", "{listed}");
    json(&w, &["day", "start"]);
    let listed = json(&w, &["instrument", "list"]);
    assert_eq!(listed[0]["state"], "open", "{listed}");

    // List another one; it trades, and goes again.
    let file = w.dir.path().join("future.toml");
    let future = "id = 7\nsymbol = \"BTC-27AUG\"\nkind = \"future\"\nexpiry_unix_s = 4102444800\ntick = \"0.5\"\n\
        lot = \"0.001\"\nband_low = \"10000\"\nband_high = \"300000\"\ncollar_ppm = 100000\n\
        order_lots_max = 1000\nposition_lots_max = 1000\n";
    std::fs::write(&file, future).unwrap();
    let add = ["instrument", "add", file.to_str().unwrap()];
    json(&w, &add);
    let again = [&["--reason", "a test"][..], &add].concat();
    fails(&w, &again, CONFLICT, "listing_refused");
    let listed = json(&w, &["instrument", "list"]);
    assert_eq!(listed[2]["symbol"], "BTC-27AUG", "{listed}");
    json(&w, &["--yes", "instrument", "delist", "7"]);
    std::fs::write(&file, future.replace("lot =", "lots =")).unwrap();
    fails(&w, &again, REFUSED, "unknown field `lots`");

    // Trade.
    assert!(matches!(
        order(&w, 1, 1, Side::Sell, "100000.5"),
        Report::Accepted(_)
    ));
    let account = json(&w, &["order", "list", "--account", "1"]);
    assert_eq!(account["orders"][0]["cl_ord_id"], 1, "{account}");

    // Halt, and resume.
    json(&w, &["instrument", "halt", "0"]);
    let code = RejectCode::Halted as u16;
    let refused = order(&w, 2, 1, Side::Buy, "99000");
    assert!(
        matches!(refused, Report::Rejected(m) if m.reason == code),
        "{refused:?}"
    );
    fails(
        &w,
        &["instrument", "resume", "0", "--reason", "a test"],
        USAGE,
        "nobody can be asked here: say --yes",
    );
    json(&w, &["--yes", "instrument", "resume", "0"]);
    assert!(matches!(
        order(&w, 2, 2, Side::Buy, "99000"),
        Report::Accepted(_)
    ));

    // Kick.
    let mut maker = w.session(1);
    let sessions = json(&w, &["session", "list"]);
    assert_eq!(sessions[0]["member"], 1, "{sessions}");
    json(&w, &["--yes", "session", "kick", "1"]);
    let begun = Instant::now();
    while !matches!(maker.poll(now()), Some(Event::Ended(_))) {
        assert!(begun.elapsed() < Duration::from_secs(10), "not kicked");
    }
    fails(
        &w,
        &["--yes", "session", "kick", "1", "--reason", "a test"],
        NOT_FOUND,
        "member 1 has no session (no_session)",
    );

    // At a glance. What is shown is a tenth of a second old at most.
    w.wait_for("the refusal", |s| s["rejects"]["Halted"] == 1);
    let dir = w.dir.path().to_str().unwrap().to_owned();
    let glance = world::hostd(&["top", "--once", "--dir", &dir]).unwrap();
    let glance = String::from_utf8(glance).unwrap();
    for words in [
        "latency by stage",
        "BTC-PERP",
        "Halted",
        "the oracles agree",
        "\n  ready\n",
    ] {
        assert!(glance.contains(words), "no {words}: {glance}");
    }

    // What is wrong is said.
    fails(
        &w,
        &["instrument", "halt", "0"],
        USAGE,
        "--reason is needed",
    );
    fails(
        &w,
        &["instrument", "halt", "9", "--reason", "a test"],
        NOT_FOUND,
        "instrument 9 is not listed (unknown_instrument)",
    );
    fails(
        &w,
        &[
            "instrument",
            "state",
            "0",
            "shut",
            "--yes",
            "--reason",
            "a test",
        ],
        REFUSED,
        "'shut' is no trading state",
    );
    let key = ["--key", "same-key-1", "--reason", "a test"];
    let lock = [&["member", "unlock", "1"][..], &key].concat();
    assert_eq!(w.operate(&lock).0, 0);
    let other = [&["member", "unlock", "2"][..], &key].concat();
    fails(&w, &other, CONFLICT, "belongs to another request");

    // Cancel all, after a look at what it would do.
    let trial = json(&w, &["--dry-run", "order", "cancel-all"]);
    assert_eq!(trial["effect"]["orders"], 2, "{trial}");
    json(&w, &["--yes", "order", "cancel-all"]);
    w.wait_for("no orders", |s| s["live_orders"] == 0);

    // A snapshot and a crash; the box goes on where it was.
    let taken = json(&w, &["snapshot", "take"]);
    assert_eq!(taken["state"], "done", "{taken}");
    w.kill();
    w.start();
    w.price(100_000_000_000);
    w.wait_for("a table", |s| s["risk_epoch"].as_u64() > Some(0));
    let replayed = json(&w, &["replay", "run"]);
    assert_eq!(replayed["state"], "done", "{replayed}");
    assert!(replayed["result"]["state_hash"].is_string(), "{replayed}");

    // Keys: the configuration's, one more, and that one gone again.
    let keys = json(&w, &["member", "keys"]);
    assert_eq!(keys.as_array().unwrap().len(), 2, "{keys}");
    let public = world::key(7).public().to_string();
    json(&w, &["member", "key-add", "1", "2", &public]);
    assert_eq!(
        json(&w, &["member", "keys"])[1]["public_key"],
        public.as_str()
    );
    w.kill();
    w.start();
    // Set by an operator, so a start finds it.
    assert_eq!(json(&w, &["member", "keys"])[1]["key_id"], 2);
    json(&w, &["--yes", "member", "key-revoke", "1", "2"]);
    assert_eq!(json(&w, &["member", "keys"]).as_array().unwrap().len(), 2);
    w.price(100_000_000_000);

    // The same prices by the operator's word, and the oracles' again.
    fails(
        &w,
        &["oracle", "release", "--reason", "a test"],
        CONFLICT,
        "no override of the prices is in force",
    );
    let vols = ["600000000"; 4];
    let own = [
        &[
            "--yes",
            "oracle",
            "override",
            "--index-micro",
            "100000000000",
            "--vols-e9",
        ][..],
        &vols,
    ];
    json(&w, &own.concat());
    w.wait_for("own prices", |s| s["oracle"]["is_overridden"] == true);
    json(&w, &["oracle", "release"]);

    // End of day.
    json_lines(&w, &["--yes", "day", "end"], 4);
    let stopped = json(&w, &["--yes", "box", "stop"]);
    w.wait_for_end();
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
    let data = w.data();
    let verified = json(&w, &["audit", "verify", "--data", data.to_str().unwrap()]);
    assert!(
        verified["acts_in_journal"].as_u64() >= Some(10),
        "{verified}"
    );
    assert!(verified["refused"].as_u64() >= Some(4), "{verified}");

    // A log that was cut short does not fit the journal any more, and neither does one with another word in it.
    let log = data.join("audit.jsonl");
    let whole = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    let verify = ["audit", "verify", "--data", data.to_str().unwrap()];
    std::fs::write(&log, lines[..lines.len() - 2].concat()).unwrap();
    fails(
        &w,
        &verify,
        REFUSED,
        "the audit log has no entry of this act",
    );
    std::fs::write(
        &log,
        whole.replacen("a day of a test", "a day of a pest", 1),
    )
    .unwrap();
    fails(&w, &verify, REFUSED, "its hash is not that of its text");
    std::fs::write(&log, &whole).unwrap();
}

/// A command that prints one JSON value a step.
fn json_lines(w: &World, args: &[&str], steps: usize) {
    let (code, text) = w.operate(&[&["--json", "--reason", "a day of a test"], args].concat());
    assert_eq!(code, 0, "{args:?}: {text}");
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    assert_eq!(values.map(Result::unwrap).count(), steps, "{text}");
}

/// The command line as another Unix user; its binary lies where that user can reach it.
fn operate_as(w: &World, uid: u32, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(w.dir.path().join("hostd"));
    command.args(["admin", "--json", "--dir"]).arg(w.dir.path());
    command
        .args(["--reason", "two persons", "--yes"])
        .args(args);
    let out = command.uid(uid).gid(GROUP).output().unwrap();
    let text = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    (out.status.code().unwrap_or(-1), text)
}

#[test]
fn a_limit_is_raised_by_two_persons_and_by_nobody_alone() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can speak as two users");
        return;
    }
    let mut w = World::new();
    let open = |path: &std::path::Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    open(w.dir.path());
    std::fs::copy(env!("CARGO_BIN_EXE_hostd"), w.dir.path().join("hostd")).unwrap();
    let users = format!(
        "two_person = [\"limits\"]\ngroups = {{ view = {GROUP}, ops = {GROUP}, admin = {GROUP} }}\n\
         [[admin.users]]\nuid = {ALICE}\nname = \"alice\"\nrole = \"admin\"\n\
         [[admin.users]]\nuid = {BOB}\nname = \"bob\"\nrole = \"admin\"\n\
         [[admin.users]]\nuid = {}\nname = \"carol\"\nrole = \"ops\"\n",
        BOB + 1
    );
    let text = w
        .config()
        .replacen("\n[domain]", &format!("\n{users}\n[domain]"), 1);
    std::fs::write(w.config_path(), text).unwrap();
    w.open();
    let limits = ["member", "limits", "1", "--orders-per-second", "2000"];
    let (code, text) = operate_as(&w, ALICE, &limits);
    assert_eq!(code, 0, "{text}");
    let waiting: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(waiting["state"], "waiting", "{text}");
    let n = waiting["approval"].to_string();
    let approve = ["approval", "approve", &n];
    let refused = |uid: u32, args: &[&str], code: &str| {
        let (exit, text) = operate_as(&w, uid, args);
        assert!(
            exit != 0 && text.contains(code),
            "{uid} {args:?}: {exit} {text}"
        );
    };
    // Neither its asker, nor who may not do it, nor a stranger.
    refused(ALICE, &approve, "same_person");
    refused(BOB + 1, &approve, "not_permitted");
    refused(BOB + 1, &limits, "not_permitted");
    refused(BOB + 2, &["status"], "unknown_user");
    let rate = |w: &World| w.admin("GET", "/v1/members", "").1[0]["orders_per_second"].clone();
    let before = rate(&w);
    let (code, text) = operate_as(&w, BOB, &approve);
    assert_eq!(code, 0, "{text}");
    assert_ne!(before, rate(&w));
    assert_eq!(rate(&w), 2_000);
    refused(BOB, &approve, "approval_closed");
    // The journal has both of them.
    let stopped = w.shutdown();
    let data = w.data();
    let acts = world::hostd(&[
        "journal",
        "inspect",
        "--json",
        "--template",
        "InOperatorAct",
        "--data",
        data.to_str().unwrap(),
    ]);
    let acts = String::from_utf8(acts.unwrap()).unwrap();
    let first: Value = serde_json::from_str(acts.lines().next().unwrap()).unwrap();
    let text = first.to_string();
    assert!(
        text.contains(&ALICE.to_string()) && text.contains(&BOB.to_string()),
        "{text}"
    );
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
    let (code, text) = w.operate(&["audit", "verify", "--data", data.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
}
