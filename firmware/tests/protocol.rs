//! Keeps the generated parts of `PROTOCOL.md` as the code has them. After a change of the code:
//! `BLESS=1 cargo test -p firmware --test protocol` writes them anew.

use firmware::reject::RejectCode;
use firmware::session::{RetransmitRefusal, SessionReject, TerminateReason};
use firmware::wire::feed::{FLAG_LAST, OrderDelete, OrderExecuted};
use firmware::wire::mold::{END_OF_SESSION, MoldHeader};
use firmware::wire::quote::GROUPED;
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
        let grouped: String = GROUPED
            .iter()
            .filter(|(_, template, ..)| name == "requests" && *template < 600)
            .map(
                |(name, template, block, fields, group, entry_block, entry)| {
                    let entry: Row = (group, *template, *entry_block, entry);
                    let of = format!("{template} {group}");
                    let entries =
                        layout(&entry).replace(&of, &format!("    group {group}, each entry:"));
                    layout(&(name, *template, *block, fields)) + &entries
                },
            )
            .collect();
        check(name, &format!("```text\n{rows}{grouped}```\n"));
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
    check("feed example", &feed_example());
}

/// Rows of offset, hex and meaning.
fn rows(bytes: &[u8], parts: &[(usize, &str)]) -> String {
    let (mut text, mut at) = (String::from("```text\n"), 0);
    for (len, meaning) in parts {
        let hex: String = bytes[at..at + len]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        writeln!(text, "{at:>4}  {hex:<32}  {meaning}").unwrap();
        at += len;
    }
    assert_eq!(at, bytes.len());
    text + "```\n"
}

/// A packet of one event, and what has no messages: heartbeat, end of session, re-request.
fn feed_example() -> String {
    let executed = OrderExecuted {
        engine_seq: 1001,
        engine_time: 1_800_000_000_004_000_000,
        order_id: 4_294_967_297,
        trade_id: 77,
        price: 65_000_500_000_000,
        quantity: 3,
        leaves: 0,
        instrument: 2,
        side: 1,
        flags: 0,
        pad1: 0,
    };
    let deleted = OrderDelete {
        engine_seq: 1001,
        engine_time: 1_800_000_000_004_000_000,
        order_id: 4_294_967_298,
        instrument: 2,
        side: 0,
        flags: FLAG_LAST,
        pad1: 0,
    };
    let session = *b"DELTA00001";
    let head = |sequence, count| {
        let header = MoldHeader {
            session,
            sequence,
            count,
        };
        header.encode()
    };
    let mut packet = head(501, 2).to_vec();
    for (header, block) in [
        (OrderExecuted::HEADER, bytemuck::bytes_of(&executed)),
        (OrderDelete::HEADER, bytemuck::bytes_of(&deleted)),
    ] {
        packet.extend((8 + block.len() as u16).to_be_bytes());
        packet.extend(bytemuck::bytes_of(&header));
        packet.extend(block);
    }
    let event = [
        (10, "session \"DELTA00001\""),
        (8, "sequence 501, big-endian"),
        (2, "count 2, big-endian"),
        (2, "length 72, big-endian"),
        (
            8,
            "OrderExecuted: block 64, template 314, schema 0xDB01, version 1",
        ),
        (8, "engineSeq 1001"),
        (8, "engineTime 1800000000004000000"),
        (8, "orderId 4294967297"),
        (8, "tradeId 77"),
        (8, "price 65,000.5"),
        (8, "quantity 3 lots"),
        (8, "leaves 0"),
        (2, "instrument 2"),
        (1, "side 1: the resting order sold"),
        (1, "flags 0: the event goes on"),
        (4, "pad"),
        (2, "length 40, big-endian"),
        (
            8,
            "OrderDelete: block 32, template 313, schema 0xDB01, version 1",
        ),
        (8, "engineSeq 1001"),
        (8, "engineTime 1800000000004000000"),
        (8, "orderId 4294967298"),
        (2, "instrument 2"),
        (1, "side 0"),
        (1, "flags 1: last of the event"),
        (4, "pad"),
    ];
    let bare = |sequence, count, what: &str, number: &str| {
        rows(
            &head(sequence, count),
            &[(10, "session"), (8, number), (2, what)],
        )
    };
    [
        "An order fills and another is gone, in one event:\n\n",
        &rows(&packet, &event),
        "\nA heartbeat after it:\n\n",
        &bare(503, 0, "count 0", "sequence 503: the next"),
        "\nA re-request of both messages, sent unicast; the answer is the packet above:\n\n",
        &bare(
            501,
            2,
            "count 2: how many",
            "sequence 501: the first wanted",
        ),
        "\nThe end of the session:\n\n",
        &bare(
            503,
            END_OF_SESSION,
            "count 65535",
            "sequence 503: none comes",
        ),
    ]
    .concat()
}
