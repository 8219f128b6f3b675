//! The operators' sockets, with the whole daemon: who may do what, once and not twice, written down and provable.

mod world;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use world::World;

fn answer(w: &World, route: &str, key: &str, body: &Value) -> (u16, Value) {
    w.admin_with("POST", route, key, &body.to_string())
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or("no code"))
}

#[test]
fn the_document_describes_every_route_and_no_other() {
    let mut w = World::new();
    w.start();
    let (status, document) = w.admin("GET", "/v1/openapi.json", "");
    assert_eq!(status, 200);
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            let route = hostd::ops::server::ROUTES;
            let route = route
                .iter()
                .find(|r| r.path == path && r.method.eq_ignore_ascii_case(method));
            let role = route.map(|r| r.role.word());
            assert_eq!(operation["x-role"].as_str(), role, "{method} {path}");
        }
    }
    let served = hostd::ops::server::ROUTES.iter();
    let served: BTreeSet<_> = served
        .map(|r| (r.method.to_owned(), r.path.to_owned()))
        .collect();
    assert_eq!(described, served);
    // What is described is there, and answers what is described for it.
    for (method, path) in &described {
        let route = path
            .replace("{account}", "1")
            .replace("{instrument}", "0")
            .replace("{job}", "1")
            .replace("{approval}", "1");
        if method == "POST" || path == "/v1/events" {
            continue;
        }
        let (status, _) = w.admin(method, &route, "");
        let responses = &document["paths"][path]["get"]["responses"];
        assert!(
            responses[status.to_string()].is_object(),
            "{path}: {status}"
        );
    }
}

#[test]
fn a_change_is_done_once_whatever_comes_again() {
    let mut w = World::new();
    w.open();
    let halt = json!({"instrument": 0, "state": "halt", "reason": "a test"});
    let first = answer(&w, "/v1/state", "key-00000001", &halt);
    assert_eq!(first.0, 200, "{first:?}");
    let seq = first.1["engine_seq"].as_u64().unwrap();
    assert_eq!(answer(&w, "/v1/state", "key-00000001", &halt), first);
    // Another reason is the same request, another state is not.
    let other = json!({"instrument": 0, "state": "halt", "reason": "again"});
    assert_eq!(answer(&w, "/v1/state", "key-00000001", &other), first);
    let open = json!({"instrument": 0, "state": "open", "reason": "a test"});
    let refused = answer(&w, "/v1/state", "key-00000001", &open);
    assert_eq!(code(&refused), (409, "idempotency_key_reused"));
    // A refusal frees its key.
    let bad = json!({"instrument": 9, "state": "open", "reason": "a test"});
    let refused = answer(&w, "/v1/state", "key-00000002", &bad);
    assert_eq!(code(&refused), (404, "unknown_instrument"));
    let second = answer(&w, "/v1/state", "key-00000002", &open);
    assert!(second.1["engine_seq"].as_u64().unwrap() > seq, "{second:?}");
    // What was answered is known after a crash too.
    w.kill();
    w.start();
    assert_eq!(answer(&w, "/v1/state", "key-00000001", &halt), first);
    assert_eq!(answer(&w, "/v1/state", "key-00000002", &open), second);
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    let mut w = World::new();
    w.start();
    let key = "key-00000001";
    let cases = [
        (json!({"member": 1}), (422, "no_reason")),
        (json!({"member": 1, "reason": "x"}), (422, "no_reason")),
        (json!({"reason": "a test"}), (422, "bad_request")),
        (
            json!({"member": 1, "reason": "a test", "why": 1}),
            (422, "bad_request"),
        ),
        (
            json!({"member": 1, "reason": "a test", "dry_run": 1}),
            (422, "bad_request"),
        ),
        (
            json!({"member": 9, "reason": "a test"}),
            (404, "unknown_member"),
        ),
        (
            json!({"member": 1, "reason": "a test"}),
            (404, "no_session"),
        ),
    ];
    for (body, want) in cases {
        assert_eq!(code(&answer(&w, "/v1/kick", key, &body)), want, "{body}");
    }
    let body = json!({"member": 1, "reason": "a test"});
    for bad in ["short", "with space", ""] {
        let refused = answer(&w, "/v1/kick", bad, &body);
        assert_eq!(code(&refused), (400, "idempotency_key"), "{bad}");
    }
    let refused = w.admin_with("POST", "/v1/kick", key, "{");
    assert_eq!(code(&refused), (400, "bad_request"));
    let limits = |n: u64| json!({"member": 1, "orders_per_second": n, "reason": "a test"});
    assert_eq!(
        code(&answer(&w, "/v1/limits", key, &limits(0))),
        (422, "bad_rate")
    );
    let refused = answer(&w, "/v1/limits", key, &limits(1_000_001));
    assert_eq!(code(&refused), (422, "bad_rate"));
    // All of it is in the audit log, and nothing in the journal.
    let (_, entries) = w.admin("GET", "/v1/audit", "");
    let refused = entries
        .as_str()
        .unwrap()
        .lines()
        .filter(|l| l.contains("\"refused\""));
    assert_eq!(refused.count(), 13);
    let stopped = w.shutdown();
    let inspected = world::hostd(&[
        "journal",
        "inspect",
        "--json",
        "--template",
        "InOperatorAct",
        "--data",
        w.data().to_str().unwrap(),
    ]);
    // The shutdown's own.
    assert_eq!(
        String::from_utf8(inspected.unwrap())
            .unwrap()
            .lines()
            .count(),
        1
    );
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
}

#[test]
fn a_trial_says_what_would_come_of_it_and_changes_nothing() {
    let mut w = World::new();
    w.open();
    let mut maker = w.session(1);
    for id in 1..=3 {
        let price = client::parse_e9("99000").unwrap();
        let order = client::limit_order(id, 1, 0, client::Side::Buy, price, 1);
        maker.send(&order.into()).unwrap();
    }
    world::reports(&mut maker, 3);
    let before = w.admin("GET", "/v1/status", "").1["engine_seq"].clone();
    let trial = json!({"member": 1, "reason": "a test", "dry_run": true});
    let (status, tried) = answer(&w, "/v1/cancel", "", &trial);
    assert_eq!((status, &tried["dry_run"]), (400, &Value::Null), "{tried}");
    let (status, tried) = w.admin("POST", "/v1/cancel", &trial.to_string());
    assert_eq!(
        (status, &tried["effect"]["orders"]),
        (200, &3.into()),
        "{tried}"
    );
    assert_eq!(tried["effect"]["accounts"], json!([1, 2]));
    let (_, account) = w.admin("GET", "/v1/accounts/1", "");
    assert_eq!(account["orders_open"], 3);
    assert_eq!(account["orders"][0]["cl_ord_id"], 1);
    assert_eq!(account["cash_micro"], world::FUNDS_MICRO);
    // The timer's records aside, nothing was sequenced.
    let acts = world::hostd(&[
        "journal",
        "inspect",
        "--json",
        "--template",
        "InOperatorAct",
        "--data",
        w.data().to_str().unwrap(),
    ]);
    assert!(acts.unwrap().is_empty(), "{before}");
    let (_, sessions) = w.admin("GET", "/v1/sessions", "");
    assert_eq!(sessions[0]["member"], 1, "{sessions}");
    let (status, kicked) = w.admin("POST", "/v1/kick", r#"{"member": 1}"#);
    assert_eq!(status, 200, "{kicked}");
    let begun = std::time::Instant::now();
    let reason = loop {
        if let Some(client::Event::Ended(reason)) = maker.poll(client::now()) {
            break reason.to_string();
        }
        assert!(begun.elapsed().as_secs() < 10, "not kicked");
    };
    assert!(reason.contains("operator ended the session"), "{reason}");
    w.wait_for("no session", |s| s["sessions"] == 0);
    drop(w.session(1));
}

#[test]
fn limits_that_operators_set_stay_and_are_the_journals() {
    let mut w = World::new();
    w.open();
    let (status, set) = w.admin(
        "POST",
        "/v1/limits",
        r#"{"member": 2, "orders_per_second": 3}"#,
    );
    assert_eq!(status, 200, "{set}");
    let rates = |w: &World| {
        let (_, members) = w.admin("GET", "/v1/members", "");
        let all = members.as_array().unwrap().clone();
        let bob = all.into_iter().find(|m| m["member"] == 2).unwrap();
        (
            bob["orders_per_second"].clone(),
            bob["quotes_per_second"].clone(),
        )
    };
    let throttled = |w: &World, first: u64| {
        let mut bob = w.session(2);
        for id in first..first + 8 {
            let price = client::parse_e9("99000").unwrap();
            let order = client::limit_order(id, 3, 0, client::Side::Buy, price, 1);
            bob.send(&order.into()).unwrap();
        }
        let told = world::reports(&mut bob, 8);
        let code = firmware::reject::RejectCode::Throttled as u16;
        told.iter()
            .filter(|r| matches!(r, client::Report::Rejected(m) if m.reason == code))
            .count()
    };
    assert_eq!(rates(&w), (3.into(), 10_000.into()));
    assert!(throttled(&w, 1) >= 4);
    w.kill();
    w.start();
    assert_eq!(rates(&w), (3.into(), 10_000.into()));
    w.price(100_000_000_000);
    w.wait_for("a table", |s| s["risk_epoch"].as_u64() > Some(0));
    assert!(throttled(&w, 100) >= 4);
    let stopped = w.shutdown();
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
}
