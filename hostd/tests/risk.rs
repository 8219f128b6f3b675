//! Rules of risk in the daemon: sequenced once, announced when they change, refused when they make no sense.

mod world;

use client::{Report, Side, limit_order, now, parse_e9};
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
        ("liquidate = true", "unknown field `liquidate`"),
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
