//! RTL and firmware agree on every verdict, descriptor and counter.
#![cfg(feature = "verilator")]

use cosim::campaign::{self, PORTS, Plan};
use cosim::frames::Source;
use cosim::lockstep::Lockstep;
use firmware::tag::siphash_2_4_128;
use firmware::wire::datagram::{DatagramBuilder, KIND_DATA};
use firmware::wire::descriptor::{HostReason, Verdict};
use firmware::wire::sbe::MessageHeader;

/// Verdict latency that DESIGN asks for, cycles.
const PLAIN_CYCLES_MAX: u64 = 12;
/// The same with a SipHash tag to check.
const SIPHASH_CYCLES_MAX: u64 = 40;

#[test]
fn a_hundred_thousand_frames_get_the_same_verdicts_whatever_the_ports_do() {
    let plan = Plan {
        frames: 120_000,
        seed: 1,
    };
    let sum = campaign::run(&plan, |_| ()).unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(sum.frames, plan.frames);
    assert!(sum.changes > 1_000, "{} writes", sum.changes);
    let missing = campaign::missing(&sum);
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

#[test]
fn a_verdict_takes_the_same_cycles_for_every_lone_order() {
    let latency = campaign::latency().unwrap_or_else(|e| panic!("{e:#}"));
    assert!(latency.plain_cycles <= PLAIN_CYCLES_MAX, "{latency:?}");
    assert!(latency.siphash_cycles <= SIPHASH_CYCLES_MAX, "{latency:?}");
}

#[test]
fn a_twin_that_is_wrong_in_one_limit_is_found() {
    let mut pair = Lockstep::new(Source::new(2), PORTS[0]).expect("set up");
    let (id, mut wrong) = pair.source.instruments[3];
    wrong.order_lots_max -= 1;
    pair.twin().list(id, wrong);
    let error = pair.run(20_000).expect_err("the largest order differs");
    assert!(error.to_string().contains("RTL"), "{error:#}");
}

/// The golden messages of all languages, each in a datagram of its own.
#[test]
fn golden_messages_get_the_same_verdicts() {
    let text = include_str!("../../../firmware/vectors/messages.json");
    let all: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let mut pair = Lockstep::new(Source::new(6), PORTS[0]).expect("set up");
    let row = pair
        .source
        .sessions()
        .nth(8)
        .expect("a session with a SipHash tag");
    let mut packet_no = 0;
    let mut seq_no = row.expected;
    let mut known = 0;
    for vector in all["vectors"].as_array().expect("vectors") {
        let hex = vector["hex"].as_str().expect("hex");
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        let (head, block) = bytes.split_at(8);
        let head: MessageHeader = bytemuck::pod_read_unaligned(head);
        let mut builder = DatagramBuilder::new();
        assert!(builder.push(head, block));
        packet_no += 1;
        let payload = builder.finish(KIND_DATA, row.conn_id, packet_no, seq_no, 7, |_, data| {
            siphash_2_4_128(&row.key, data)
        });
        let frame = pair.source.wrap(payload);
        let outcome = pair
            .give(frame)
            .unwrap_or_else(|e| panic!("{}: {e:#}", vector["message"]));
        if outcome.verdict == Verdict::Host {
            assert_eq!(
                outcome.reason,
                HostReason::Request as u8,
                "{}",
                vector["message"]
            );
            pair.resume(row.conn_id).unwrap_or_else(|e| panic!("{e:#}"));
        } else {
            assert_ne!(outcome.verdict, Verdict::Dropped, "{}", vector["message"]);
            known += 1;
            seq_no += 1;
        }
    }
    assert!(known >= 10, "only {known} messages that the RTL knows");
    pair.finish().unwrap_or_else(|e| panic!("{e:#}"));
}
