//! The whole daemon from outside.

mod world;

use client::{
    Feed, FeedConfig, FeedEvent, Report, Side, cancel, limit_order, mass_cancel, now, parse_e9,
};
use firmware::tag::{Suite, SuiteSet};
use firmware::wire::order::{FLAG_CANCEL_ON_DISCONNECT, NewOrder, TIF_IOC, Withdraw};
use std::time::{Duration, Instant};
use world::{World, reports, topologies};

fn order(id: u64, account: u32, side: Side, price: &str, lots: i64) -> NewOrder {
    limit_order(id, account, 0, side, parse_e9(price).unwrap(), lots)
}

#[test]
fn two_clients_trade_and_the_replay_agrees() {
    for topology in topologies() {
        trade(&topology);
    }
}

fn trade(topology: &str) {
    let mut w = World::new();
    w.set_topology(topology);
    w.open();
    let (mut maker, mut taker) = (w.session(1), w.session(2));
    maker
        .send(&order(1, 1, Side::Sell, "100000.5", 10).into())
        .unwrap();
    let accepted = reports(&mut maker, 1);
    assert!(
        matches!(accepted[0], Report::Accepted(m) if m.cl_ord_id == 1 && m.quantity == 10),
        "{accepted:?}"
    );
    taker
        .send(
            &NewOrder {
                time_in_force: TIF_IOC,
                ..order(1, 3, Side::Buy, "100001", 4)
            }
            .into(),
        )
        .unwrap();
    let fills = reports(&mut taker, 2);
    assert!(
        matches!(fills[1], Report::Filled(m) if m.price == 100_000_500_000_000 && m.quantity == 4 && m.leaves == 0),
        "{fills:?}"
    );
    let maker_fill = reports(&mut maker, 1);
    assert!(
        matches!(maker_fill[0], Report::Filled(m) if m.leaves == 6 && m.liquidity == 0),
        "{maker_fill:?}"
    );
    maker.send(&cancel(2, 1, 0, 1).into()).unwrap();
    assert!(matches!(reports(&mut maker, 1)[0], Report::Canceled(m) if m.quantity == 6));
    let gone = Withdraw {
        cl_ord_id: 9,
        amount: 1_000_000,
        account: 3,
        pad1: 0,
    };
    taker.send(&gone.into()).unwrap();
    let paid = reports(&mut taker, 1);
    assert!(
        matches!(paid[0], Report::WithdrawReport(m) if m.batch_no == 1),
        "{paid:?}"
    );
    assert_eq!(w.admin("POST", "/v1/seal", "").1["batch_no"], 1);
    check_machine(&w, topology);
    let stopped = w.shutdown();
    let replay = w.replay();
    assert_eq!(stopped["state_hash"], replay["state_hash"]);
    assert_eq!(replay["contracts_sum_zero"], true);
    let bytes = std::fs::read(w.data().join("batches/batch-00000001.sealed")).unwrap();
    let batch = matcher::batch::decode(&bytes).unwrap();
    assert_eq!(
        (
            batch.fills.len(),
            batch.deposits.len(),
            batch.withdrawals.len()
        ),
        (1, 3, 1)
    );
}

/// Every tile of the topology shows that it works, and every lane what was in it.
fn check_machine(w: &World, topology: &str) {
    let is_pinned = topology.contains("pinned");
    let hot: &[&str] = if is_pinned {
        &["gateway", "engine", "journal"]
    } else {
        &["hot"]
    };
    let status = w.wait_for("counts of all tiles", |s| {
        let tiles = &s["tiles"];
        let names = hot.iter().chain(&["spool", "feed", "seal", "control"]);
        let count = |tile: &str, what: &str| tiles[tile][what].as_u64().unwrap_or(0);
        names
            .into_iter()
            .all(|n| count(n, "polls") > 0 && count(n, "work") > 0)
    });
    let names: Vec<_> = status["tiles"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), hot.len() + 4, "{names:?}");
    let spins = topology.contains("cores");
    for tile in hot.iter().filter(|t| **t != "journal") {
        let tile = &status["tiles"][tile];
        assert_eq!(tile["core"].is_null(), !spins, "{tile}");
        // A tile with a core of its own never sleeps; the others have slept, and were woken.
        assert_eq!(tile["parks"] == 0, spins, "{tile}");
        assert!(spins || tile["wakes"].as_u64() > Some(0), "{tile}");
        assert!(tile["gap_max_ns"].as_u64() > Some(0), "{tile}");
    }
    for (lane, counts) in status["lanes"].as_object().unwrap() {
        let count = |what: &str| counts[what].as_u64().unwrap();
        assert!(count("used") <= count("high_water") && count("high_water") < count("depth"));
        assert_eq!(
            count("refusals") + count("stalls") + count("waits"),
            0,
            "{lane}"
        );
    }
    assert!(status["lanes"]["journal"]["depth"].as_u64() > Some(0));
    assert_eq!(status["lanes"]["told"].is_object(), is_pinned);
}

#[test]
fn a_lost_session_cancels_what_was_flagged_and_a_new_login_hears_of_it() {
    for topology in topologies() {
        lose_a_session(&topology);
    }
}

fn lose_a_session(topology: &str) {
    let mut w = World::new();
    w.set_topology(topology);
    w.open();
    let mut config = w.session_config(1);
    config.keep_alive_ms = 50;
    config.cod_policy = 1;
    let mut maker = client::Session::connect(config.clone()).unwrap();
    let flagged = NewOrder {
        flags: FLAG_CANCEL_ON_DISCONNECT,
        ..order(1, 1, Side::Buy, "99000", 1)
    };
    maker.send(&flagged.into()).unwrap();
    maker
        .send(&order(2, 1, Side::Buy, "98000", 1).into())
        .unwrap();
    reports(&mut maker, 2);
    drop(maker);
    w.wait_for("lost session", |s| {
        s["datagrams"]["lost_sessions"] == 1 && s["live_orders"] == 1
    });
    // The new login asks for the whole day and hears what happened while it was away.
    config.first_report = Some(1);
    let mut again = client::Session::connect(config).unwrap();
    again.send(&mass_cancel(3, 1, None, None).into()).unwrap();
    let told: Vec<_> = reports(&mut again, 7)
        .iter()
        .map(|r| match r {
            Report::DepositReport(_) => "deposit".to_owned(),
            Report::Accepted(m) => format!("accepted {}", m.cl_ord_id),
            Report::Canceled(m) => format!("canceled {} for reason {}", m.cl_ord_id, m.reason),
            Report::MassCancelAck(m) => format!("mass cancel of {}", m.count),
            other => format!("{other:?}"),
        })
        .collect();
    let want = [
        "deposit",
        "deposit",
        "accepted 1",
        "accepted 2",
        "canceled 1 for reason 4",
        "canceled 2 for reason 3",
        "mass cancel of 1",
    ];
    assert_eq!(told, want);
}

#[test]
fn a_login_hears_the_whole_day_again_also_after_a_restart() {
    let mut w = World::new();
    w.open();
    let mut maker = w.session(1);
    let mut told = Vec::new();
    // Many times what the hot tile holds in memory.
    for batch in 0..12 {
        for id in 1..=300 {
            let id = 300 * batch + id;
            maker
                .send(&order(id, 1, Side::Buy, "99000", 1).into())
                .unwrap();
        }
        told.extend(reports(&mut maker, 300));
    }
    // Many cancels out of one request: more reports at once than the hot tile holds.
    maker
        .send(&mass_cancel(10_000, 1, None, None).into())
        .unwrap();
    told.extend(reports(&mut maker, 3_601));
    drop(maker);
    for _ in 0..2 {
        let mut config = w.session_config(1);
        config.first_report = Some(1);
        let mut again = client::Session::connect(config).unwrap();
        // Two deposits came first.
        let all = reports(&mut again, 2 + told.len());
        assert_eq!(all[2..], told);
        assert!(again.counters().retransmit_requests > 100);
        drop(again);
        w.kill();
        w.start();
    }
}

#[test]
fn each_tag_suite_trades_over_one_order_port_and_over_both() {
    let mut w = World::new();
    w.open();
    let (mut id, mut sessions) = (0, 0);
    let suites = [Suite::Aes128Gmac, Suite::SipHash24, Suite::None];
    for (suite, both) in suites.into_iter().flat_map(|s| [(s, false), (s, true)]) {
        let before = w.wait_for("end of the session before", |s| {
            s["datagrams"]["terminated"] == sessions
        });
        sessions += 1;
        let mut config = w.session_config(1);
        config.credentials.suites = SuiteSet::only(suite);
        config.venue_b = both.then(|| ([127, 0, 0, 1], w.ports[7]).into());
        let mut maker = client::Session::connect(config).unwrap();
        for _ in 0..20 {
            id += 1;
            maker
                .send(&order(id, 1, Side::Buy, "99000", 1).into())
                .unwrap();
            let told = reports(&mut maker, 1);
            assert!(
                matches!(told[0], Report::Accepted(m) if m.cl_ord_id == id),
                "{suite}: {told:?}"
            );
        }
        // Gateway and engine show their counts each in its own time.
        let count = |s: &serde_json::Value, name: &str| s["datagrams"][name].as_u64().unwrap();
        let after = w.wait_for("counts", |s| {
            let gained = |name: &str| count(s, name) - count(&before, name);
            let copies = if both { 20 } else { 0 };
            s["requests"] == id
                && gained("established") == 1
                && gained("rx_datagrams") > 20
                && gained("replayed") >= copies
        });
        let gained = |name: &str| count(&after, name) - count(&before, name);
        // A client on a busy machine may ask again for what is on its way: that is no fault.
        assert_eq!(gained("bad_tag") + gained("gaps"), 0);
        assert_eq!(gained("established"), 1);
        // Of each datagram that came twice the second was dropped before its tag was looked at.
        assert_eq!(gained("replayed") >= 20, both, "{suite}");
        assert_eq!(gained("rx_datagrams_b") > 0, both, "{suite}");
        maker.terminate(now());
    }
    // And one that knows the second port only.
    let mut config = w.session_config(1);
    config.venue = ([127, 0, 0, 1], w.ports[7]).into();
    let mut maker = client::Session::connect(config).unwrap();
    maker
        .send(&mass_cancel(id + 1, 1, None, None).into())
        .unwrap();
    assert_eq!(reports(&mut maker, id as usize + 1).len(), id as usize + 1);
}

#[test]
fn a_flipped_byte_in_the_journal_is_named() {
    let mut w = World::new();
    w.open();
    let mut maker = w.session(1);
    for id in 1..200 {
        maker
            .send(&order(id, 1, Side::Buy, "99000", 1).into())
            .unwrap();
    }
    reports(&mut maker, 199);
    w.shutdown();
    let segment = w.data().join("journal/journal-00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096 + 200] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let error = World::replay_error(&w.data());
    assert!(
        error.contains("journal-00000001.seg") && error.contains("record 2: crc mismatch"),
        "{error}"
    );
    assert!(w.start_and_fail().contains("journal-00000001.seg"));
}

#[test]
fn each_mistake_at_start_is_one_clear_line() {
    let w = World::new();
    let change = |from: &str, to: &str| {
        let text = w.config();
        assert!(text.contains(from), "{from}");
        std::fs::write(w.config_path(), text.replacen(from, to, 1)).unwrap();
    };
    change("segment_mib", "segment_mb");
    let unknown = w.start_and_fail();
    assert!(
        unknown.starts_with("hostd: ") && unknown.contains("unknown field `segment_mb`"),
        "{unknown}"
    );
    change("", "");
    let busy = std::net::UdpSocket::bind(("127.0.0.1", w.ports[0])).unwrap();
    assert!(
        w.start_and_fail()
            .contains(&format!("UDP 127.0.0.1:{} is in use", w.ports[0]))
    );
    drop(busy);
    change("venue.key", "nowhere.key");
    assert!(w.start_and_fail().contains("nowhere.key"));
    std::fs::write(w.dir.path().join("file"), "").unwrap();
    change("/run\"", "/file/run\"");
    assert!(w.start_and_fail().contains("/file/run"));
    std::fs::remove_file(w.config_path()).unwrap();
    assert!(w.start_and_fail().contains("hostd.toml: No such file"));
}

#[test]
fn a_second_daemon_on_the_same_journal_is_refused() {
    let mut w = World::new();
    w.start();
    let line = w.start_and_fail();
    assert!(line.contains("in use by another process"), "{line}");
    assert!(w.is_running());
}

#[test]
fn a_journal_that_lost_its_durable_end_is_refused() {
    let mut w = World::new();
    w.open();
    assert_eq!(w.admin("POST", "/v1/seal", "").1["batch_no"], 1);
    w.shutdown();
    // The batch stays, the journal is gone.
    std::fs::remove_dir_all(w.data().join("journal")).unwrap();
    let line = w.start_and_fail();
    assert!(
        line.contains("batch-00000001.sealed covers record") && line.contains("are missing"),
        "{line}"
    );
}

#[test]
fn a_full_disk_is_one_clear_line() {
    let w = World::new();
    let small = w.dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(&small)
        .status()
        .is_ok_and(|s| s.success());
    if !mounted {
        eprintln!("not tried: mounting a small file system needs root");
        return;
    }
    let text = w.config().replace(
        &w.data().display().to_string(),
        &small.join("run").display().to_string(),
    );
    std::fs::write(w.config_path(), text).unwrap();
    let line = w.start_and_fail();
    let unmounted = std::process::Command::new("umount")
        .arg(&small)
        .status()
        .unwrap();
    assert!(unmounted.success());
    assert!(line.to_lowercase().contains("no space"), "{line}");
}

#[test]
fn a_spool_that_fails_stops_the_box_with_one_clear_line_and_a_restart_goes_on() {
    for topology in topologies() {
        fail_the_spool(&topology);
    }
}

fn fail_the_spool(topology: &str) {
    let mut w = World::new();
    w.set_topology(topology);
    w.open();
    let file = w.data().join("spool/member-0001.reports");
    std::fs::create_dir(&file).unwrap();
    let mut maker = w.session(1);
    for id in 1..=100 {
        maker
            .send(&order(id, 1, Side::Buy, "99000", 1).into())
            .unwrap();
    }
    maker.flush(now());
    let line = w.wait_for_failure();
    assert!(
        line.starts_with("hostd: spool: cannot open ") && line.contains("member-0001.reports"),
        "{line}"
    );
    drop(maker);
    w.start();
    let mut config = w.session_config(1);
    config.first_report = Some(1);
    let mut again = client::Session::connect(config).unwrap();
    assert!(reports(&mut again, 2).len() == 2);
    let stopped = w.shutdown();
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
}

#[test]
fn the_admin_socket_answers_nonsense_precisely() {
    let mut w = World::new();
    w.start();
    assert_eq!(w.admin("GET", "/v1/nothing", "").0, 404);
    assert_eq!(w.admin("GET", "/v1/deposits", "").0, 405);
    let (code, text) = w.admin("POST", "/v1/deposits", "[{\"queue_index\": 0}]");
    assert!(
        code == 422 && text.to_string().contains("missing field `account`"),
        "{code} {text}"
    );
    let row = |index: u64, owner: &str| {
        format!(
            "[{{\"queue_index\": {index}, \"account\": 1, \"owner\": \"{owner}\", \"amount_micro\": 5}}]"
        )
    };
    let owner = format!("0x{:040x}", 7);
    assert!(
        w.admin("POST", "/v1/deposits", &row(0, "0x12"))
            .1
            .to_string()
            .contains("40 hex digits")
    );
    let (code, text) = w.admin("POST", "/v1/deposits", &row(3, &owner));
    assert_eq!(
        (code, text["title"].as_str().unwrap()),
        (
            409,
            "deposit 3 does not follow: deposit 0 is next in the queue"
        )
    );
    assert_eq!(
        w.admin("POST", "/v1/deposits", &row(0, &owner)).1["next_queue_index"],
        1
    );
    assert_eq!(
        w.admin("POST", "/v1/deposits", &row(0, &owner)).1["next_queue_index"],
        1,
        "again is no harm"
    );
    w.wait_for("deposit", |s| s["deposits"] == 1);
}

/// Follows a feed until `done` says so; panics after ten seconds.
fn follow(feed: &mut Feed, what: &str, mut done: impl FnMut(&Feed, Option<FeedEvent>) -> bool) {
    let begun = Instant::now();
    loop {
        let event = feed.poll(now()).unwrap();
        if done(feed, event) {
            return;
        }
        if event.is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        let (counters, next) = (feed.counters(), feed.next_seq());
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "no {what}: {next}, {counters:?}"
        );
    }
}

/// Best prices and number of orders of an instrument.
fn top(feed: &Feed, instrument: u16) -> (Option<i64>, Option<i64>, usize) {
    let book = feed.book(instrument).unwrap();
    let price = |level: Option<client::Level>| level.map(|l| l.price);
    (price(book.best_bid()), price(book.best_ask()), book.len())
}

#[test]
fn the_feed_on_two_lines_a_late_joiner_and_the_end_of_the_session() {
    let mut w = World::new();
    w.open();
    let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let [_, _, line_a, line_b, requests, snapshots, checkpoints, ..] = w.ports;
    // Line A of this one is deaf: what it hears comes by line B, and what was before by re-request.
    let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = FeedConfig::new(deaf.local_addr().unwrap(), Some(at(requests)));
    drop(deaf);
    let config = config
        .with_line_b(at(line_b))
        .with_checkpoints(at(checkpoints), world::key(9).public());
    let mut whole = Feed::join(&config).unwrap();
    let mut maker = w.session(1);
    for id in 1..=300 {
        let side = if id % 2 == 0 { Side::Buy } else { Side::Sell };
        let price = if id % 2 == 0 { 99_000 } else { 101_000 } + id as i64;
        maker
            .send(&order(id, 1, side, &price.to_string(), 2).into())
            .unwrap();
    }
    reports(&mut maker, 300);
    let best = parse_e9("99300").unwrap();
    follow(&mut whole, "whole book", |feed, _| {
        feed.book(0).is_some_and(|b| b.len() == 300) && feed.counters().verified > 0
    });
    assert_eq!(top(&whole, 0).0, Some(best));
    let [a, b] = whole.lines();
    assert!(a.packets == 0 && b.packets > 0 && whole.counters().rerequests > 0);

    // A late joiner without a re-request server has everything from snapshots.
    let config = FeedConfig::new(at(line_a), None).with_snapshots(at(snapshots));
    let mut late = Feed::join(&config).unwrap();
    follow(&mut late, "late joiner", |_, event| {
        event == Some(FeedEvent::Synced)
    });
    assert!(late.counters().snapshots == 2 && late.counters().rerequests == 0);
    assert_eq!(top(&late, 0), top(&whole, 0));
    assert_eq!(top(&late, 1), (None, None, 0));
    let symbol = late.instrument(1).unwrap().definition().unwrap().symbol;
    assert_eq!(&symbol[..12], b"BTC-100000-C");
    assert!(late.index().is_some() && late.instrument(0).unwrap().mark().is_some());

    // A restart in the middle: the day goes on, and all of it can still be asked for.
    w.kill();
    w.start();
    w.price(100_000_000_000);
    let mut maker = w.session(1);
    maker.send(&mass_cancel(301, 1, None, None).into()).unwrap();
    reports(&mut maker, 301);
    let config = FeedConfig::new(at(line_a), None);
    for feed in [&mut whole, &mut late] {
        follow(feed, "empty book", |feed, _| {
            feed.book(0).is_some_and(|b| b.is_empty())
        });
    }
    drop(late);
    let mut first = Feed::join(&FeedConfig {
        rerequest: Some(at(requests)),
        ..config
    })
    .unwrap();
    follow(&mut first, "whole day", |feed, _| {
        feed.next_seq() == whole.next_seq() && feed.next_seq() > 601
    });
    let served = w.wait_for("re-requests", |s| {
        s["feed"]["requests_served"].as_u64() > Some(0)
    });
    assert_eq!(served["feed"]["requests_malformed"], 0);
    let verified = whole.counters().verified;
    w.shutdown();
    let mut feed_hash_holds = false;
    for feed in [&mut whole, &mut first] {
        follow(feed, "end of session", |_, event| {
            if let Some(FeedEvent::Checkpoint { verdict, .. }) = event {
                assert_eq!(verdict, client::Verdict::Session);
                feed_hash_holds = true;
            }
            event == Some(FeedEvent::EndOfSession)
        });
    }
    assert!(feed_hash_holds && whole.counters().verified > verified);
    let replay = w.replay();
    assert_eq!(replay["feed_messages"], whole.next_seq() - 1);
    assert_eq!(whole.counters().forged + whole.counters().inconsistent, 0);
}
