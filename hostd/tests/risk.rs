//! Rules of risk in the daemon: sequenced once, announced when they change, refused when they make no sense.

mod world;

use std::time::{SystemTime, UNIX_EPOCH};
use world::{World, hostd};

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
