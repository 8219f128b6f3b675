use super::draw;
use super::model::{Answers, HISTORY, Model};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

fn answers(at: f64, requests: u64) -> Answers {
    let stage = json!({"p50": 1_500, "p99": 250_000, "p999": 1_000_000, "max": 2_000_000});
    Answers {
        status: json!({
            "state": "open", "engine_seq": 120, "durable_seq": 118, "sessions": 2,
            "memory_resident_bytes": 200u64 << 20, "requests": requests, "acks": 0, "fills": 7,
            "journal": {"durability": "fsync", "bytes": 4_096, "commits": 10},
            "datagrams": {"rx_datagrams": 90, "tx_datagrams": 80},
            "lanes": {"arrivals": {"depth": 100, "used": 50, "high_water": 60, "refusals": 1, "stalls": 2}},
            "rejects": {"Throttled": 3, "Halted": 9},
            "stage_ns": {"rx_tx": stage, "rx_gate": stage},
            "batches_sealed": 5, "risk_epoch": 4, "settlements": 1, "live_orders": 33, "deposits": 3,
            "withdrawals": 0, "proofs": {"proven_batches": 4, "committed_batches": 3, "l1_block": 77},
            "oracle": {"error": null, "is_overridden": false}, "replication": null,
        }),
        health: json!({"ready": false, "checks": [
            {"check": "journal", "ok": true, "is": "fine"},
            {"check": "oracle", "ok": false, "is": "0 oracles are fresh, 1 must be"},
        ]}),
        instruments: json!([
            {"instrument": 0, "symbol": "BTC-PERP", "state": "open", "bid_ticks": 199_999,
             "ask_ticks": null, "tick_micro": 500_000},
        ]),
        at,
    }
}

fn model() -> Model {
    let mut model = Model::default();
    model.take(answers(10.0, 100));
    model.take(answers(12.0, 300));
    model
}

#[test]
fn the_text_has_every_part() {
    let want = "\
box
  open  sessions 2  memory 200 MiB  durability fsync
  record 120  on disk 118 (2 behind)
  NOT READY oracle: 0 oracles are fresh, 1 must be

latency by stage
  us                       p50       p99     p99.9       max
  rx_gate                  1.5     250.0    1000.0    2000.0
  gate_sequenced           0.0       0.0       0.0       0.0
  sequenced_matched        0.0       0.0       0.0       0.0
  matched_durable          0.0       0.0       0.0       0.0
  durable_tx               0.0       0.0       0.0       0.0
  rx_tx                    1.5     250.0    1000.0    2000.0

rates
  requests              100/s           300
  acks                    0/s             0
  fills                   0/s             7
  datagrams in            0/s            90
  datagrams out           0/s            80
  journal bytes           0/s          4096
  group commits           0/s            10

lanes
  arrivals  [#####     ]     50 of 100    most 60     refused 1 stalled 2

rejects by reason
  Halted                           9
  Throttled                        3

settlement and proofs
  risk epoch 4  settlements 1  live orders 33
  deposits 3  withdrawals 0
  batches sealed 5  proven 4 (1 behind)  on L1 3  L1 block 77
  oracle: the oracles agree

instruments
  id  symbol            state                  bid           ask
  0   BTC-PERP          open              99999.50             -
";
    assert_eq!(model().text(), want);
}

/// What a terminal of this size shows.
fn screen(
    width: u16,
    height: u16,
    model: &Model,
    is_paused: bool,
    trouble: Option<&str>,
) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let frame = |f: &mut ratatui::Frame<'_>| draw::all(f, model, is_paused, trouble);
    terminal.draw(frame).unwrap();
    terminal.backend().to_string()
}

#[test]
fn a_wide_terminal_shows_two_columns_and_a_narrow_one_no_less() {
    let model = model();
    let (wide, narrow) = (
        screen(180, 45, &model, false, None),
        screen(100, 60, &model, true, None),
    );
    for part in model.parts() {
        assert!(wide.contains(&format!(" {} ", part.title)), "{wide}");
        assert!(narrow.contains(&format!(" {} ", part.title)), "{narrow}");
    }
    let first = wide.lines().next().unwrap();
    assert!(
        first.contains(" box ") && first.contains(" latency by stage "),
        "{first}"
    );
    assert!(
        wide.contains("p99 from datagram to report, 250 us"),
        "{wide}"
    );
    assert!(wide.contains("p pauses  q ends"), "{wide}");
    assert!(narrow.contains("PAUSED"), "{narrow}");
    let lost = screen(180, 45, &model, false, Some("no box answers on view.sock"));
    assert!(lost.contains("no box answers on view.sock"), "{lost}");
}

#[test]
fn nothing_breaks_where_there_is_nothing_or_too_much() {
    let mut model = Model::default();
    for at in 0..2 * HISTORY {
        model.take(Answers {
            status: Value::Null,
            at: at as f64,
            ..Answers::default()
        });
    }
    assert_eq!(model.p99_us.len(), HISTORY);
    assert!(model.text().contains("no prover has spoken"));
    for (width, height) in [(1, 1), (3, 2), (40, 4), (400, 200)] {
        screen(width, height, &model, false, None);
    }
    // A box that was started anew counts from zero: no rate, and no overflow.
    model.take(answers(500.0, 900));
    model.take(answers(501.0, 1));
    assert!(model.text().contains("requests                0/s"));
}
