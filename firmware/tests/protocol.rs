//! Keeps the generated parts of `PROTOCOL.md` as the code has them. After a change of the code:
//! `BLESS=1 cargo test -p firmware --test protocol` writes them anew. The byte tables come from the schema, which
//! another test holds against the structs.

mod kit;

use firmware::reject::RejectCode;
use firmware::session::{RetransmitRefusal, SessionReject, TerminateReason};
use firmware::wire::feed::{FLAG_LAST, OrderDelete, OrderExecuted};
use firmware::wire::mold::{END_OF_SESSION, MoldHeader};
use firmware::wire::order::FLAG_POST_ONLY;
use firmware::wire::quote::{MassQuote, QUANTITY_NULL, QuoteEntry, encode_quote};
use firmware::wire::report::NotApplied;
use firmware::wire::sbe::Message;
use kit::Kind;
use std::collections::BTreeMap;
use std::fmt::Write;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/PROTOCOL.md");

/// Templates from here on stand in the journal only.
const JOURNAL_FIRST: u16 = 600;

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

/// Widest line of a code block.
const WIDTH: usize = 110;

/// Items one after the other, in lines of at most [`WIDTH`].
fn wrapped(indent: &str, items: impl Iterator<Item = String>) -> String {
    let (mut text, mut line) = (String::new(), String::from(indent));
    for item in items {
        if line.len() + item.len() > WIDTH && line != indent {
            writeln!(text, "{}", line.trim_end()).unwrap();
            line = String::from(indent);
        }
        line += &item;
        line += " ";
    }
    let line = line.trim_end().trim_end_matches([';', ',']);
    writeln!(text, "{line}").unwrap();
    text
}

/// A field as `offset name type`, with the name of an enum or set and the null of an optional number.
fn item(f: &kit::Field) -> String {
    let mut ty = f.ty.primitive.replace("uint", "u").replace("int", "i");
    match &f.ty.kind {
        Kind::Text | Kind::Binary => write!(ty, "[{}]", f.ty.size).unwrap(),
        Kind::Enum(_) | Kind::Set(_) => write!(ty, " {}", f.ty.name).unwrap(),
        Kind::Number { null: Some(null) } if *null < 0 => ty += " (null: the lowest)",
        Kind::Number { null: Some(null) } => write!(ty, " (null: {null})").unwrap(),
        Kind::Number { null: None } => {}
    }
    format!("{} {} {ty};", f.offset, f.name)
}

/// One message: id, name, block length; what it is; its fields, and those of its group.
fn layout(m: &kit::Message) -> String {
    let root = &m.root;
    let mut text = format!("{} {}, {} bytes\n", m.template, root.name, root.len);
    text += &wrapped("    ", root.about.split(' ').map(str::to_owned));
    text += &wrapped("    ", root.fields.iter().map(item));
    for group in &m.groups {
        let about = format!(
            "    then the group {}, entries of {} bytes:",
            group.name, group.len
        );
        writeln!(text, "{about}").unwrap();
        text += &wrapped("        ", group.fields.iter().map(item));
    }
    text
}

/// Every enum and set of these messages but those that have a table of their own.
fn values(messages: &[&kit::Message]) -> String {
    const TABLES: [&str; 4] = [
        "SessionReject",
        "RejectCode",
        "TerminateReason",
        "RetransmitRefusal",
    ];
    let blocks = messages
        .iter()
        .flat_map(|m| std::iter::once(&m.root).chain(&m.groups));
    let types: BTreeMap<_, _> = blocks
        .flat_map(|b| &b.fields)
        .map(|f| (f.ty.name.clone(), f.ty.clone()))
        .filter(|(name, _)| !TABLES.contains(&name.as_str()))
        .collect();
    let mut text = String::new();
    for (name, ty) in types {
        let (bit, list): (_, Vec<_>) = match &ty.kind {
            Kind::Enum(list) => ("", list.iter().map(|(v, n)| (*v, n)).collect()),
            Kind::Set(list) => (
                "bit ",
                list.iter().map(|(b, n)| (u64::from(*b), n)).collect(),
            ),
            _ => continue,
        };
        writeln!(text, "{name}").unwrap();
        let items = list.iter().zip(&ty.meanings).map(|((value, name), about)| {
            let about = match about.trim_end_matches('.') {
                "" => String::new(),
                about => format!(" ({about})"),
            };
            format!("{bit}{value} {name}{about},")
        });
        text += &wrapped("    ", items);
    }
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

/// In which of the lists a message stands, by its template.
const fn part(template: u16) -> usize {
    match template {
        // A report among the session messages.
        NotApplied::TEMPLATE => 2,
        0..100 => 0,
        100..200 => 1,
        200..300 => 2,
        _ => 3,
    }
}

/// All generated parts in one test: they share a file.
#[test]
fn the_generated_parts_of_the_protocol_document_are_as_the_code() {
    let schema = kit::schema();
    let mut messages: Vec<_> = (schema.messages.iter())
        .filter(|m| m.template < JOURNAL_FIRST)
        .collect();
    messages.sort_by_key(|m| m.template);
    let parts = ["session messages", "requests", "reports", "feed messages"];
    for (i, name) in parts.into_iter().enumerate() {
        let rows: String = (messages.iter())
            .filter(|m| part(m.template) == i)
            .map(|m| layout(m))
            .collect();
        check(name, &format!("```text\n{rows}```\n"));
    }
    let listed = values(&messages);
    check("values", &format!("```text\n{listed}```\n"));
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
    check("quote example", &quote_example());
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

/// A message with a group: two instruments, and one side that stays as it is.
fn quote_example() -> String {
    let mut head: MassQuote = bytemuck::Zeroable::zeroed();
    head.cl_ord_id = 1_000_002;
    head.account = 9;
    head.mmp_group = 1;
    head.flags = FLAG_POST_ONLY;
    let mut entries: [QuoteEntry; 2] = bytemuck::Zeroable::zeroed();
    entries[0].bid_price = 64_999_500_000_000;
    entries[0].bid_quantity = 5;
    entries[0].ask_price = 65_000_500_000_000;
    entries[0].ask_quantity = 5;
    entries[0].instrument = 2;
    entries[1].bid_price = 1_250_000_000_000;
    entries[1].bid_quantity = 10;
    entries[1].ask_quantity = QUANTITY_NULL;
    entries[1].instrument = 3;
    let mut block = [0; 256];
    let len = encode_quote(&head, &entries, &mut block).unwrap();
    let message = [bytemuck::bytes_of(&MassQuote::HEADER), &block[..len]].concat();
    let entry = |bid: &'static str, lots, ask, ask_lots, instrument| {
        [
            (8, bid),
            (8, lots),
            (8, ask),
            (8, ask_lots),
            (2, instrument),
            (2, "pad"),
            (4, "pad"),
        ]
    };
    let root = [
        (
            8,
            "MassQuote: block 28, template 101, schema 0xDB01, version 1",
        ),
        (8, "clOrdId 1000002"),
        (8, "smpId 0"),
        (4, "account 9"),
        (1, "mmpGroup 1"),
        (1, "stpMode 0"),
        (1, "flags 1"),
        (1, "pad"),
        (4, "pad"),
        (2, "group: entries of 40 bytes"),
        (2, "group: 2 entries"),
    ];
    let both = entry(
        "bidPrice 64,999.5",
        "bidQuantity 5",
        "askPrice 65,000.5",
        "askQuantity 5",
        "instrument 2",
    );
    let bid = entry(
        "bidPrice 1,250",
        "bidQuantity 10",
        "askPrice 0",
        "askQuantity null: this side stays as it is",
        "instrument 3",
    );
    rows(&message, &[&root[..], &both, &bid].concat())
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
