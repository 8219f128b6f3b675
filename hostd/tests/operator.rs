//! What the operator sets up and commands, with the whole daemon.

mod world;

use client::{
    Feed, FeedConfig, FeedEvent, FeedMessage, Report, Session, Side, cancel, limit_order, now,
    parse_e9, unlock,
};
use firmware::reject::RejectCode;
use firmware::wire::feed::{STATE_HALT, STATE_OPEN, STATE_PRE_OPEN};
use firmware::wire::order::{KILL_LOCK, KILL_UNLOCK, NewOrder, TIF_IOC};
use firmware::wire::report::{CANCEL_KILL_SWITCH, CANCEL_OPERATOR};
use std::time::{Duration, Instant};
use world::{World, key, reports};

fn order(id: u64, account: u32, side: Side, price: &str, lots: i64) -> NewOrder {
    limit_order(id, account, 0, side, parse_e9(price).unwrap(), lots)
}

/// Sends an order and gives its first report.
fn ask(session: &mut Session, order: NewOrder) -> Report {
    session.send(&order.into()).unwrap();
    reports(session, 1)[0]
}

fn is_rejected(report: &Report, code: RejectCode) -> bool {
    matches!(report, Report::Rejected(m) if m.reason == code as u16)
}

/// The whole flow of a member so far.
fn flow(w: &World, member: u32, count: usize) -> Vec<Report> {
    let mut config = w.session_config(member);
    config.first_report = Some(1);
    config.is_drop_copy = member == 4;
    let mut session = Session::connect(config).unwrap();
    let all = reports(&mut session, count);
    session.terminate(now());
    all
}

#[test]
fn a_drop_copy_hears_what_its_member_hears_and_may_ask_for_nothing() {
    let mut w = World::new();
    let member = |id: u8, rest: &str| {
        let public = key(id).public().to_bytes();
        let hex: String = public.iter().map(|b| format!("{b:02x}")).collect();
        format!("\n[[members]]\nid = {id}\nname = \"copy\"\npublic_key = \"{hex}\"\n{rest}\n")
    };
    let plain = w.config();
    let with_copy = plain.clone() + &member(4, "drop_copy_of = [2]");
    std::fs::write(w.config_path(), &with_copy).unwrap();
    w.open();
    let (mut maker, mut bob) = (w.session(1), w.session(2));
    let mut copy = w.session(4);
    let maker_told = ask(&mut maker, order(1, 1, Side::Sell, "100000.5", 10));
    assert!(matches!(maker_told, Report::Accepted(_)));
    let buy = NewOrder {
        time_in_force: TIF_IOC,
        ..order(1, 3, Side::Buy, "100001", 4)
    };
    bob.send(&buy.into()).unwrap();
    let mut told = reports(&mut bob, 2);
    told.push(ask(&mut bob, order(2, 3, Side::Buy, "99000", 1)));
    bob.send(&cancel(3, 3, 0, 2).into()).unwrap();
    told.extend(reports(&mut bob, 1));
    assert_eq!(reports(&mut copy, 4), told);
    // Its own order, for bob's account, and bob hears nothing of it.
    let refused = ask(&mut copy, order(9, 3, Side::Buy, "99000", 1));
    assert!(is_rejected(&refused, RejectCode::ReadOnly), "{refused:?}");
    told.push(ask(&mut bob, order(4, 3, Side::Buy, "99000", 1)));
    assert_eq!(reports(&mut copy, 1), told[4..]);
    // One flow, which a restart does not change: bob's deposit came first, the refusal stands where it came.
    let mut want = flow(&w, 2, 6);
    assert_eq!(want[1..], told);
    want.insert(5, refused);
    for _ in 0..2 {
        assert_eq!(flow(&w, 4, 7), want);
        drop((maker, bob, copy));
        w.kill();
        w.start();
        (maker, bob, copy) = (w.session(1), w.session(2), w.session(4));
    }
    let stopped = w.shutdown();
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
    // The day's journal says who gets copies; the configuration may add to it, and not contradict it.
    std::fs::write(w.config_path(), &plain).unwrap();
    let line = w.start_and_fail();
    assert!(
        line.contains("member 4 gets copies of member 2's reports in the journal but not in"),
        "{line}"
    );
    let no_accounts = with_copy.replace("accounts = [1, 2]", "drop_copy_of = [2]");
    std::fs::write(w.config_path(), no_accounts).unwrap();
    let line = w.start_and_fail();
    assert!(
        line.contains("member 1: drop_copy_of: it trades for account 1 in the journal"),
        "{line}"
    );
    let more = with_copy + &member(5, "drop_copy_of = [1, 2]");
    std::fs::write(w.config_path(), more).unwrap();
    w.start();
}

/// Follows the feed until `done` of all that came.
fn follow(feed: &mut Feed, what: &str, done: impl Fn(&[FeedMessage]) -> bool) {
    let (mut came, begun) = (Vec::new(), Instant::now());
    while !done(&came) {
        match feed.poll(now()).unwrap() {
            Some(FeedEvent::Message { message, .. }) => came.push(message),
            Some(_) => {}
            None => std::thread::sleep(Duration::from_micros(200)),
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "no {what}: {came:?}"
        );
    }
}

#[test]
fn the_operator_opens_halts_locks_and_cancels() {
    let mut w = World::new();
    let text = w.config().replacen(
        "symbol = \"BTC-PERP\"",
        "symbol = \"BTC-PERP\"\nstate = \"pre-open\"",
        1,
    );
    std::fs::write(w.config_path(), text).unwrap();
    w.open();
    let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut feed = Feed::join(&FeedConfig::new(at(w.ports[2]), Some(at(w.ports[4])))).unwrap();
    let (mut maker, mut bob) = (w.session(1), w.session(2));
    let mut last_seq = 0;
    let mut command = |w: &World, route: &str, body: &str| {
        let (code, answer) = w.admin("POST", route, body);
        assert_eq!(code, 200, "{route} {body}: {answer}");
        let seq = answer["engine_seq"].as_u64().unwrap();
        assert!(seq > last_seq, "{answer}");
        last_seq = seq;
        seq
    };
    // They cross, and nothing trades before the instrument opens.
    for (session, order) in [
        (&mut maker, order(1, 1, Side::Buy, "100010", 10)),
        (&mut bob, order(1, 3, Side::Sell, "100000", 4)),
    ] {
        let accepted = ask(session, order);
        assert!(matches!(accepted, Report::Accepted(_)), "{accepted:?}");
    }
    let opened = command(&w, "/v1/state", r#"{"instrument": 0, "state": "open"}"#);
    // Buyers are left over at all prices at which four lots trade, so the highest is the one.
    let price = parse_e9("100010").unwrap();
    for (session, leaves) in [(&mut maker, 6), (&mut bob, 0)] {
        let fill = reports(session, 1)[0];
        assert!(
            matches!(fill, Report::Filled(m) if (m.price, m.quantity, m.leaves) == (price, 4, leaves) && m.engine_seq == opened),
            "{fill:?}"
        );
    }
    let status = |state: u8| move |m: &FeedMessage| matches!(m, FeedMessage::TradingStatus(s) if (s.instrument, s.state) == (0, state));
    follow(&mut feed, "opening", |came| {
        let auction = |m: &FeedMessage| matches!(m, FeedMessage::AuctionUpdate(a) if (a.price, a.quantity, a.imbalance) == (price, 4, 6));
        let place = |is: &dyn Fn(&FeedMessage) -> bool| came.iter().position(is);
        let before = place(&status(STATE_PRE_OPEN));
        let (told, open) = (place(&auction), place(&status(STATE_OPEN)));
        before.is_some() && told.is_some() && open > told && told > before
    });

    command(&w, "/v1/state", r#"{"instrument": "all", "state": "halt"}"#);
    let halted = ask(&mut bob, order(2, 3, Side::Sell, "101000", 1));
    assert!(is_rejected(&halted, RejectCode::Halted), "{halted:?}");
    follow(&mut feed, "halt", |came| {
        came.iter().any(status(STATE_HALT))
    });
    command(&w, "/v1/state", r#"{"instrument": "all", "state": "open"}"#);

    let lock = |action: &str| format!(r#"{{"member": 1, "account": 1, "action": "{action}"}}"#);
    command(&w, "/v1/lock", &lock("lock"));
    let told = reports(&mut maker, 2);
    assert!(
        matches!(told[0], Report::Canceled(m) if (m.cl_ord_id, m.reason, m.leaves) == (1, CANCEL_KILL_SWITCH, 0)),
        "{told:?}"
    );
    let is_ack = |r: &Report, action: u8| matches!(r, Report::KillSwitchAck(m) if (m.account, m.action, m.by) == (1, action, 1));
    assert!(is_ack(&told[1], KILL_LOCK), "{told:?}");
    let locked = ask(&mut maker, order(2, 1, Side::Buy, "99000", 1));
    assert!(is_rejected(&locked, RejectCode::Locked), "{locked:?}");
    maker.send(&unlock(3, Some(1)).into()).unwrap();
    let kept = reports(&mut maker, 1)[0];
    assert!(is_rejected(&kept, RejectCode::LockedByVenue), "{kept:?}");
    command(&w, "/v1/lock", &lock("unlock"));
    assert!(is_ack(&reports(&mut maker, 1)[0], KILL_UNLOCK));

    for (id, account) in [(4, 1), (5, 2)] {
        let rests = ask(&mut maker, order(id, account, Side::Buy, "99000", 1));
        assert!(matches!(rests, Report::Accepted(_)), "{rests:?}");
    }
    // Each mistake is named and changes nothing.
    for (route, body, status, word) in [
        (
            "/v1/state",
            r#"{"instrument": 7, "state": "halt"}"#,
            404,
            "instrument 7 is not listed",
        ),
        (
            "/v1/state",
            r#"{"instrument": 0, "state": "shut"}"#,
            422,
            "'shut' is no trading state",
        ),
        (
            "/v1/state",
            r#"{"instrument": "0", "state": "halt"}"#,
            422,
            "neither an id nor",
        ),
        ("/v1/state", r#"{"instrument": 0"#, 400, "EOF"),
        (
            "/v1/lock",
            r#"{"member": 8, "account": "all", "action": "lock"}"#,
            404,
            "no member 8",
        ),
        (
            "/v1/lock",
            r#"{"member": 2, "account": 1, "action": "lock"}"#,
            409,
            "account 1 is member 1's",
        ),
        (
            "/v1/lock",
            r#"{"member": 1, "account": 9, "action": "lock"}"#,
            404,
            "account 9",
        ),
        (
            "/v1/lock",
            r#"{"member": 1, "account": 1, "action": "open"}"#,
            422,
            "neither lock nor unlock",
        ),
        (
            "/v1/cancel",
            r#"{"member": 2, "account": 1}"#,
            409,
            "account 1 is member 1's",
        ),
        (
            "/v1/cancel",
            r#"{"instrument": 65535}"#,
            404,
            "instrument 65535 is not listed",
        ),
        (
            "/v1/cancel",
            r#"{"acount": 1}"#,
            422,
            "unknown field `acount`",
        ),
    ] {
        let (code, answer) = w.admin("POST", route, body);
        let title = answer["title"].as_str().unwrap_or_default();
        assert!(
            code == status && title.contains(word),
            "{body}: {code} {answer}"
        );
        assert_eq!(answer["status"], code, "{answer}");
    }
    let rests = ask(&mut maker, order(6, 1, Side::Buy, "99000", 1));
    assert!(
        matches!(rests, Report::Accepted(_)),
        "neither halted nor locked: {rests:?}"
    );
    command(&w, "/v1/cancel", r#"{"member": 1, "account": 2}"#);
    let gone = reports(&mut maker, 1)[0];
    assert!(
        matches!(gone, Report::Canceled(m) if (m.cl_ord_id, m.reason) == (5, CANCEL_OPERATOR)),
        "{gone:?}"
    );
    command(&w, "/v1/cancel", "{}");
    let gone: Vec<_> = (reports(&mut maker, 2).iter())
        .map(|r| match r {
            Report::Canceled(m) if m.reason == CANCEL_OPERATOR => m.cl_ord_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(gone, [4, 6]);
    let stopped = w.shutdown();
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
}
