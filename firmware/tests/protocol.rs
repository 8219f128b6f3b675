//! Keeps the generated parts of `PROTOCOL.md` as the code has them. After a change of the code:
//! `BLESS=1 cargo test -p firmware --test protocol` writes them anew.

use firmware::reject::RejectCode;
use firmware::session::{RetransmitRefusal, SessionReject, TerminateReason};
use firmware::tag::siphash_2_4_128;
use firmware::wire::datagram::{DatagramBuilder, HEADER_LEN, KIND_DATA, TAG_LEN};
use firmware::wire::order::{FLAG_POST_ONLY, NewOrder};
use firmware::wire::sbe::{Field, Message};
use firmware::wire::{feed, order, report, session};
use std::fmt::Write;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/PROTOCOL.md");

type Row = (&'static str, u16, usize, &'static [Field]);

/// Holds the text between two marks against `want`, or puts it there.
fn check(name: &str, want: &str) {
    let text = std::fs::read_to_string(PATH).unwrap();
    let (open, close) = (
        format!("<!-- generated: {name} -->\n"),
        format!("<!-- end: {name} -->"),
    );
    let start = text.find(&open).expect("the opening mark") + open.len();
    let end = text.find(&close).expect("the closing mark");
    if text[start..end] == *want {
        return;
    }
    assert!(
        std::env::var_os("BLESS").is_some(),
        "part \"{name}\" of PROTOCOL.md is stale (BLESS=1 writes it anew); it should be:\n{want}"
    );
    std::fs::write(PATH, [&text[..start], want, &text[end..]].concat()).unwrap();
}

fn camel(rust: &str) -> String {
    let mut upper = false;
    let mut name = String::new();
    for c in rust.chars() {
        if c == '_' {
            upper = true;
        } else {
            name.push(if upper { c.to_ascii_uppercase() } else { c });
            upper = false;
        }
    }
    name
}

/// One message: name, id, block length, and each field as `offset name type`.
fn layout((name, template, block, fields): &Row) -> String {
    let mut text = format!("{template} {name}, {block} bytes\n");
    let mut line = String::from("   ");
    for f in *fields {
        let kind = f.kind.replace("[u8; ", "char[");
        let item = format!(" {} {} {kind};", f.offset, camel(f.name));
        if line.len() + item.len() > 110 {
            writeln!(text, "{line}").unwrap();
            line = String::from("   ");
        }
        line += &item;
    }
    line.pop();
    writeln!(text, "{line}").unwrap();
    text
}

/// A table of codes.
fn reasons(rows: impl Iterator<Item = (u16, &'static str, &'static str)>) -> String {
    let head = String::from("| Code | Name | Meaning |\n|---|---|---|\n");
    rows.fold(head, |mut table, (code, name, text)| {
        writeln!(table, "| {code} | {name} | {text} |").unwrap();
        table
    })
}

/// All generated parts in one test: they share a file.
#[test]
fn the_generated_parts_of_the_protocol_document_are_as_the_code() {
    for (name, rows) in [
        ("session messages", session::SCHEMA),
        ("requests", order::SCHEMA),
        ("reports", report::SCHEMA),
        ("feed messages", feed::SCHEMA),
    ] {
        let rows: String = rows.iter().map(layout).collect();
        check(name, &format!("```text\n{rows}```\n"));
    }
    let codes = SessionReject::ALL.iter();
    let codes = codes.map(|c| (*c as u16, c.name(), c.text()));
    check("login codes", &reasons(codes));
    let codes = TerminateReason::ALL.iter();
    let codes = codes.map(|c| (*c as u16, c.name(), c.text()));
    check("terminate reasons", &reasons(codes));
    let codes = RetransmitRefusal::ALL.iter();
    let codes = codes.map(|c| (*c as u16, c.name(), c.text()));
    check("retransmit refusals", &reasons(codes));
    let mut codes = String::from("| Code | Name | Meaning |\n|---|---|---|\n");
    for c in RejectCode::ALL {
        let sentence = c.sentence().trim();
        writeln!(codes, "| {} | {} | {sentence} |", *c as u16, c.name()).unwrap();
    }
    check("reject codes", &codes);
    check("example", &example());
}

/// A post-only order in a datagram of suite SipHash, byte by byte.
fn example() -> String {
    let order = NewOrder {
        cl_ord_id: 1_000_001,
        price: 65_000_500_000_000,
        quantity: 3,
        expire_time: 0,
        smp_id: 0,
        account: 9,
        instrument: 2,
        side: 1,
        ord_type: 0,
        time_in_force: 0,
        flags: FLAG_POST_ONLY,
        stp_mode: 0,
        mmp_group: 0,
        pad1: 0,
    };
    let key: [u8; 16] = std::array::from_fn(|i| i as u8);
    let mut buf = DatagramBuilder::new();
    assert!(buf.push(NewOrder::HEADER, bytemuck::bytes_of(&order)));
    let bytes = buf.finish(KIND_DATA, 0x107, 5, 17, 42, |_, signed| {
        siphash_2_4_128(&key, signed)
    });
    let block = HEADER_LEN + 2 + 8;
    let parts: [(usize, &str); 18] = [
        (1, "version 1"),
        (1, "kind 1: data"),
        (2, "length 114"),
        (4, "connId 0x107"),
        (8, "packetNo 5"),
        (8, "nextSeqNo 17: number of this order"),
        (8, "ackSeqNo 42: the next report expected"),
        (2, "msgSize 66"),
        (8, "SBE: block 56, template 100, schema 0xDB01, version 1"),
        (8, "clOrdId 1,000,001"),
        (8, "price 65,000.5"),
        (8, "quantity 3 lots"),
        (16, "expireTime 0, smpId 0"),
        (4, "account 9"),
        (2, "instrument 2"),
        (6, "sell, limit, GTC, post-only, stp 0, mmp 0"),
        (4, "pad"),
        (16, "tag"),
    ];
    let mut text = String::from("```text\n");
    let mut at = 0;
    for (len, meaning) in parts {
        let hex: String = bytes[at..at + len]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        writeln!(text, "{at:>4}  {hex:<32}  {meaning}").unwrap();
        at += len;
    }
    assert_eq!(at, bytes.len());
    assert_eq!(at, block + size_of::<NewOrder>() + TAG_LEN);
    text + "```\n"
}
