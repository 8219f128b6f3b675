//! Rules of risk in the daemon: sequenced once, announced when they change, refused when they make no sense.

mod world;

use client::{Report, Side, limit_order, now, parse_e9};
use matcher::risk_table::RiskParams;
use matcher::table::RiskTable;
use matcher::volatility::Volatility;
use std::time::{SystemTime, UNIX_EPOCH};
use world::{World, hostd, reports};

const TEMPLATE: &str = "RiskRules";

/// Bodies of the journal's records of rules.
fn records(w: &World) -> Vec<serde_json::Value> {
    let data = w.data();
    let out = hostd(&[
        "journal",
        "inspect",
        "--data",
        data.to_str().unwrap(),
        "--template",
        TEMPLATE,
        "--json",
    ])
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().filter(|l| !l.trim().is_empty());
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn with(w: &mut World, risk: &str) {
    w.set_topology(&format!("name = \"shared\"\n\n[risk]\n{risk}"));
}

#[test]
fn rules_are_sequenced_once_and_a_change_waits_for_its_notice() {
    let mut w = World::new();
    with(&mut w, "funding = true\nliquidation = true");
    w.start();
    w.shutdown();
    assert_eq!(records(&w).len(), 1);
    w.start();
    w.shutdown();
    assert_eq!(records(&w).len(), 1, "the same rules need no record");
    with(
        &mut w,
        "funding = true\nliquidation = true\nslice_ppm = 100000\nnotice_s = 3600",
    );
    w.start();
    w.shutdown();
    let all = records(&w);
    assert_eq!(all.len(), 2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let replay = w.replay();
    assert_eq!(replay["contracts_sum_zero"], true, "{replay} at {now:?}");
    w.start();
    w.shutdown();
    assert_eq!(
        records(&w).len(),
        2,
        "what is announced is not announced again"
    );
}

#[test]
fn rules_that_make_no_sense_are_one_clear_line() {
    for (risk, want) in [
        (
            "liquidation = true\nslice_ppm = 0",
            "risk: a slice of 0 ppm is not in 1..=1000000",
        ),
        (
            "funding = true\nfunding_interval_s = 0",
            "risk: funding needs an interval",
        ),
        (
            "liquidation_fee_ppm = 100001",
            "risk: liquidation fee of 100001 ppm",
        ),
        (
            "vault_account = 77",
            "risk: the vault needs an account of [[members]]",
        ),
        (
            "short_option_bp = 10001",
            "risk: short_option_bp of 10001 basis points is above 10000",
        ),
        ("liquidate = true", "unknown field `liquidate`"),
        (
            "adaptive = { narrowest_ppm = 500000 }",
            "risk.adaptive: range of 500000 to 400000 ppm",
        ),
        (
            "adaptive = { weights = [1, 2, 3] }",
            "unknown field `weights`",
        ),
    ] {
        let mut w = World::new();
        with(&mut w, risk);
        let said = w.start_and_fail();
        assert!(said.contains(want), "{risk}: {said}");
    }
}

/// Bodies and heads of the journal's records of one message.
fn inspected(w: &World, template: &str) -> Vec<serde_json::Value> {
    let data = w.data();
    let args = ["journal", "inspect", "--data", data.to_str().unwrap()];
    let out = hostd(&[&args[..], &["--template", template, "--json"]].concat()).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().filter(|l| !l.trim().is_empty());
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// The mean of the index over the window before `expiry`, weighed by time, from the journal alone.
fn mean_index(w: &World, expiry_ns: u64, window_ns: u64) -> i64 {
    let tables = inspected(w, "RiskTable");
    let rows: Vec<(u64, i64)> = tables
        .iter()
        .map(|r| {
            let index = r["fields"]["index_micro"].as_i64().unwrap();
            (r["time_ns"].as_u64().unwrap(), index)
        })
        .collect();
    let (mut sum, mut covered) = (0, 0);
    for (at, (from, index)) in rows.iter().enumerate() {
        let until = rows.get(at + 1).map_or(u64::MAX, |r| r.0).min(expiry_ns);
        let span = until.saturating_sub((*from).max(expiry_ns - window_ns));
        sum += i128::from(*index) * i128::from(span);
        covered += i128::from(span);
    }
    ((sum + covered / 2) / covered) as i64
}

#[test]
fn a_dated_future_and_an_option_are_listed_trade_and_settle_at_the_mean_index() {
    let mut w = World::new();
    with(&mut w, "expiry = true\nexpiry_window_s = 4");
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let expiry_s = unix.as_secs() + 10;
    let listed = |id: u16, symbol: &str, kind: &str| {
        format!(
            "\n[[instruments]]\nid = {id}\nsymbol = \"{symbol}\"\nkind = \"{kind}\"\n\
             expiry_unix_s = {expiry_s}\ntick = \"1\"\nlot = \"0.001\"\nband_low = \"1\"\n\
             band_high = \"200000\"\ncollar_ppm = 50000\norder_lots_max = 1000\n\
             position_lots_max = 10000\n"
        )
    };
    let text = w.config()
        + &listed(2, "BTC-FUT", "future")
        + &listed(3, "BTC-PUT", "put")
        + "strike = \"101000\"\n";
    std::fs::write(w.config_path(), text).unwrap();
    w.open();
    let definitions = inspected(&w, "Instrument");
    assert_eq!(definitions.len(), 4);
    assert_eq!(definitions[2]["fields"]["kind"], 3);
    let (mut maker, mut taker) = (w.session(1), w.session(2));
    for (id, instrument, price) in [(1, 2, "100000"), (2, 3, "1000")] {
        let price = parse_e9(price).unwrap();
        let sell = limit_order(id, 1, instrument, Side::Sell, price, 10);
        let buy = limit_order(id, 3, instrument, Side::Buy, price, 4);
        maker.send(&sell.into()).unwrap();
        let rested = reports(&mut maker, 1);
        assert!(matches!(rested[0], Report::Accepted(_)), "{rested:?}");
        taker.send(&buy.into()).unwrap();
        let fills = reports(&mut taker, 2);
        assert!(
            matches!(fills[1], Report::Filled(m) if m.quantity == 4),
            "{fills:?}"
        );
        assert_eq!(reports(&mut maker, 1).len(), 1);
    }
    // Prices go on, and move inside the window.
    let begun = std::time::Instant::now();
    let mut told = Vec::new();
    while told.len() < 2 {
        w.price(if now().0 / 1_000_000_000 + 2 < expiry_s {
            100_000_000_000
        } else {
            100_500_000_000
        });
        while let Some(event) = taker.poll(now()) {
            if let client::Event::Report { report, .. } = event
                && let Report::ExpiryReport(m) = report
            {
                told.push(m);
            }
        }
        maker.poll(now());
        assert!(begun.elapsed().as_secs() < 30, "{told:?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let mean = mean_index(&w, expiry_s * 1_000_000_000, 4_000_000_000);
    assert!(
        (100_000_000_000..=100_500_000_000).contains(&mean),
        "{mean}"
    );
    let lot = |price: i64| (price + 500) / 1_000;
    let values = [(2, lot(mean)), (3, lot(101_000_000_000 - mean))];
    for (m, (instrument, value)) in told.iter().zip(values) {
        assert_eq!((m.instrument, m.position, m.account), (instrument, 4, 3));
        assert_eq!(m.value_micro, value, "mean {mean}");
    }
    // What is settled takes no order.
    let price = parse_e9("100000").unwrap();
    let late = limit_order(9, 3, 2, Side::Buy, price, 1);
    taker.send(&late.into()).unwrap();
    let begun = std::time::Instant::now();
    loop {
        match taker.poll(now()) {
            Some(client::Event::Report {
                report: Report::Rejected(m),
                ..
            }) => {
                assert_eq!(
                    m.reason,
                    firmware::reject::RejectCode::NotInThisState as u16
                );
                break;
            }
            Some(_) => {}
            None => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
        assert!(begun.elapsed().as_secs() < 10);
    }
    let stopped = w.shutdown();
    let replay = w.replay();
    assert_eq!(stopped["state_hash"], replay["state_hash"]);
    assert_eq!(replay["contracts_sum_zero"], true);
    // The same day goes on: the listing is the journal's, settled as it was.
    w.start();
    w.shutdown();
    assert_eq!(inspected(&w, "Instrument").len(), 4);
}

fn operate(
    w: &World,
    route: &str,
    key: &str,
    body: &serde_json::Value,
) -> (u16, serde_json::Value) {
    w.admin_with("POST", route, key, &body.to_string())
}

#[test]
fn an_instrument_is_listed_and_delisted_while_the_box_runs_and_after_a_crash() {
    let mut w = World::new();
    let year = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 31_536_000;
    let wanted = |id: u16, kind: &str| {
        serde_json::json!({
            "id": id, "symbol": "BTC-FUT", "kind": kind, "expiry_unix_s": year, "tick": "1",
            "lot": "0.001", "band_low": "1", "band_high": "200000", "collar_ppm": 50000,
            "order_lots_max": 1000, "position_lots_max": 10000, "reason": "a test",
        })
    };
    w.open();
    let code = |a: &(u16, serde_json::Value)| (a.0, a.1["code"].as_str().unwrap_or("").to_owned());
    // Nothing of what is refused stands in the journal.
    for (n, route, body, want) in [
        (
            1,
            "/v1/instruments",
            wanted(16, "future"),
            (422, "bad_instrument"),
        ),
        (
            2,
            "/v1/instruments",
            wanted(2, "perpetual"),
            (422, "bad_instrument"),
        ),
        (
            3,
            "/v1/instruments",
            wanted(1, "future"),
            (409, "listing_refused"),
        ),
        (
            4,
            "/v1/instruments",
            {
                // A lot that is worth too much in a scenario would leave all without a table.
                let mut large = wanted(2, "future");
                large["lot"] = "0.05".into();
                large
            },
            (422, "bad_instrument"),
        ),
        (
            5,
            "/v1/instruments/delist",
            serde_json::json!({"instrument": 9, "reason": "a test"}),
            (404, "unknown_instrument"),
        ),
    ] {
        let answer = operate(&w, route, &format!("refused-{n:04}"), &body);
        let (status, word) = code(&answer);
        assert_eq!((status, word.as_str()), want, "{n}: {answer:?}");
    }
    assert_eq!(inspected(&w, "Instrument").len(), 2);
    let answer = operate(&w, "/v1/instruments", "list-00001", &wanted(2, "future"));
    assert_eq!(answer.0, 200, "{answer:?}");
    let epoch = w.wait_for("a status", |_| true)["risk_epoch"]
        .as_u64()
        .unwrap();
    w.price(100_000_000_000);
    w.wait_for("the next table", |s| s["risk_epoch"].as_u64() > Some(epoch));
    let price = parse_e9("100000").unwrap();
    let (mut maker, mut taker) = (w.session(1), w.session(2));
    let trade = |maker: &mut client::Session, taker: &mut client::Session, id: u64, buys: Side| {
        let sells = if buys == Side::Buy {
            Side::Sell
        } else {
            Side::Buy
        };
        maker
            .send(&limit_order(id, 1, 2, sells, price, 4).into())
            .unwrap();
        let rested = reports(maker, 1);
        assert!(matches!(rested[0], Report::Accepted(_)), "{rested:?}");
        taker
            .send(&limit_order(id, 3, 2, buys, price, 4).into())
            .unwrap();
        let fills = reports(taker, 2);
        assert!(
            matches!(fills[1], Report::Filled(m) if m.quantity == 4),
            "{fills:?}"
        );
        reports(maker, 1);
    };
    trade(&mut maker, &mut taker, 1, Side::Buy);
    let delist = serde_json::json!({"instrument": 2, "reason": "a test"});
    let held = operate(&w, "/v1/instruments/delist", "delist-0001", &delist);
    assert_eq!(code(&held), (409, "listing_refused".to_owned()), "{held:?}");
    assert!(
        held.1["title"]
            .as_str()
            .unwrap()
            .contains("2 accounts hold"),
        "{held:?}"
    );
    // From the whole journal, and from a snapshot with the listing in it; the configuration does not have it.
    for from_snapshot in [false, true] {
        drop((maker, taker));
        w.kill();
        if from_snapshot {
            w.snapshot().unwrap();
        }
        w.start();
        w.price(100_000_000_000);
        let epoch = w.admin("GET", "/v1/status", "").1["risk_epoch"].as_u64();
        w.wait_for("the next table", |s| s["risk_epoch"].as_u64() > epoch);
        (maker, taker) = (w.session(1), w.session(2));
    }
    trade(&mut maker, &mut taker, 10, Side::Sell);
    let answer = operate(&w, "/v1/instruments/delist", "delist-0002", &delist);
    assert_eq!(answer.0, 200, "{answer:?}");
    taker
        .send(&limit_order(20, 3, 2, Side::Buy, price, 1).into())
        .unwrap();
    let late = reports(&mut taker, 1);
    let unknown = firmware::reject::RejectCode::UnknownInstrument as u16;
    assert!(
        matches!(late[0], Report::Rejected(m) if m.reason == unknown),
        "{late:?}"
    );
    let again = operate(&w, "/v1/instruments", "list-00002", &wanted(2, "future"));
    assert_eq!(
        code(&again),
        (409, "listing_refused".to_owned()),
        "{again:?}"
    );
    let rows = w.admin("GET", "/v1/instruments", "").1.to_string();
    assert!(rows.contains("delisted"), "{rows}");
    let stopped = w.shutdown();
    let replay = w.replay();
    assert_eq!(stopped["state_hash"], replay["state_hash"]);
    // What the configuration adds is listed at the next start.
    let text = w.config()
        + "\n[[instruments]]\nid = 3\nsymbol = \"BTC-SQ\"\nkind = \"power-perpetual\"\nscale = \"100000\"\n\
           tick = \"1\"\nlot = \"0.001\"\nband_low = \"1\"\nband_high = \"400000\"\ncollar_ppm = 50000\n\
           order_lots_max = 1000\nposition_lots_max = 10000\n";
    std::fs::write(w.config_path(), text).unwrap();
    w.start();
    w.price(100_000_000_000);
    let epoch = w.admin("GET", "/v1/status", "").1["risk_epoch"].as_u64();
    w.wait_for("the next table", |s| s["risk_epoch"].as_u64() > epoch);
    let stopped = w.shutdown();
    assert_eq!(inspected(&w, "Instrument").len(), 4);
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
}

/// The tables of the journal with the times of their records: index, and what the perpetual is worth in each scenario.
fn tables(w: &World) -> Vec<(u64, i64, Vec<i64>)> {
    let mut reader = journal::Reader::open(w.data().join("journal")).unwrap();
    let mut tables = Vec::new();
    while let Some(view) = reader.next().unwrap() {
        if view.header.template == firmware::wire::input::IN_RISK_TABLE {
            let mut words = vec![0u64; view.body.len() / 8];
            bytemuck::cast_slice_mut(&mut words).copy_from_slice(view.body);
            let table = RiskTable::from_bytes(bytemuck::cast_slice(&words)).unwrap();
            let values = table.columns[0].scenario_micro.to_vec();
            tables.push((view.header.time_ns, table.index_micro, values));
        }
    }
    tables
}

#[test]
fn the_range_of_every_table_follows_from_the_tables_before_it() {
    let mut w = World::new();
    let adaptive = "adaptive = { sample_s = 1, horizons = [2, 5, 10], narrow_ppm = 300000, narrowest_ppm = 40000 }";
    with(&mut w, adaptive);
    w.open();
    // Moves of the index, of no beat that the samples could fall in with, until the range is as wanted.
    let swing = |w: &mut World, ppm: i64, wanted: &dyn Fn(u64) -> bool| {
        let begun = std::time::Instant::now();
        for round in 0.. {
            w.price(100_000_000_000 + 100_000 * ppm * (round * round % 5));
            std::thread::sleep(std::time::Duration::from_millis(170));
            let status = w.admin("GET", "/v1/status", "").1;
            let range = status["oracle"]["range_ppm"].as_u64().unwrap();
            if wanted(range) {
                return range;
            }
            assert!(begun.elapsed().as_secs() < 60, "the range stays at {range}");
        }
        unreachable!("it is wanted some time")
    };
    let calm = swing(&mut w, 10, &|range| range <= 50_000);
    swing(&mut w, 10_000, &|range| range > calm + 10_000);
    w.kill();
    w.start();
    for _ in 0..8 {
        swing(&mut w, 10, &|_| true);
    }
    let stopped = w.shutdown();
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
    assert_eq!(inspected(&w, "VolModel").len(), 1);
    // A twin that sees only the journal.
    let section = hostd::config::Config::load(&w.config_path()).unwrap();
    let record = section.risk.unwrap().adaptive.unwrap().model();
    let mut twin = Volatility::new(matcher::engine::vol_model(&record)).unwrap();
    let all = tables(&w);
    assert!(all.len() > 30, "{}", all.len());
    let mut ranges = std::collections::BTreeSet::new();
    for (time, index, values) in all {
        let shocks = RiskParams::default()
            .with_range(twin.range_ppm())
            .price_shocks_ppm;
        // A lot is a thousandth.
        let want = shocks.map(|s| {
            let shocked = (i128::from(index) * i128::from(1_000_000 + s) + 500_000) / 1_000_000;
            ((shocked + 500) / 1_000) as i64
        });
        assert_eq!(values[..9], want, "range {}", twin.range_ppm());
        ranges.insert(twin.range_ppm());
        twin.observe(firmware::units::TimeNs(time), index);
    }
    assert!(ranges.len() > 5, "{ranges:?}");
}
