//! The Wireshark dissector and what it is tried on. The tables in `readers/deltabox.lua` come from the schema:
//! `BLESS=1 cargo test -p firmware` writes them anew. The captures hold every vector in the frames that our
//! builders make; `cargo ci readers` has tshark read them.

mod kit;

use firmware::tag::siphash_2_4_128;
use firmware::wire::datagram::{
    DatagramBuilder, KIND_CONTROL, KIND_DATA, KIND_HEARTBEAT, KIND_RETRANSMISSION,
};
use firmware::wire::frame::{FRAME_MAX, Mac, Station, UdpHead, build_udp};
use firmware::wire::mold::{END_OF_SESSION, MoldHeader};
use firmware::wire::sbe;
use kit::values::{Variant, vector};
use kit::{Block, Field, Kind, Message, Schema, hold, schema, snake};
use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::path::Path;

/// Templates from here on stand in the journal only.
const JOURNAL_FIRST: u16 = 600;
/// Templates from here on (and below the journal's) stand in the feed.
const FEED_FIRST: u16 = 300;
/// Templates from here on (and below the feed's) are reports; from 100 requests, below session messages.
const REPORT_FIRST: u16 = 200;
const REQUEST_FIRST: u16 = 100;
/// A report among the session messages.
const NOT_APPLIED: u16 = 11;

fn lua_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn field(f: &Field) -> String {
    let mut text = format!(
        "{{ abbr = \"{}\", name = \"{}\", offset = {}, size = {}, ",
        snake(&f.name),
        f.name,
        f.offset,
        f.ty.size
    );
    let mut kind = f.ty.primitive.replace("uint", "u").replace("int", "i");
    let mut more = String::new();
    match &f.ty.kind {
        Kind::Text => kind = "text".to_owned(),
        Kind::Binary => kind = "bytes".to_owned(),
        Kind::Enum(_) => write!(more, "enum = \"{}\", ", f.ty.name).unwrap(),
        Kind::Set(_) => write!(more, "set = \"{}\", ", f.ty.name).unwrap(),
        Kind::Number { null } => {
            if let Some(null) = null {
                write!(more, "null = \"{null}\", ").unwrap();
            }
            match f.ty.name.as_str() {
                "Price" | "OptionalPrice" => more += "scale = 9, ",
                "Micro" => more += "scale = 6, ",
                "TimeNs" => more += "time = true, ",
                _ => {}
            }
        }
    }
    let about = lua_string(&f.about);
    write!(text, "kind = \"{kind}\", {more}about = {about} }}").unwrap();
    text
}

fn fields(text: &mut String, indent: &str, block: &Block) {
    for f in &block.fields {
        writeln!(text, "{indent}{},", field(f)).unwrap();
    }
}

fn on_the_wire(schema: &Schema) -> impl Iterator<Item = &Message> {
    (schema.messages.iter()).filter(|m| m.template < JOURNAL_FIRST)
}

fn tables(schema: &Schema) -> String {
    let mut text = format!("local SCHEMA_ID = {}\n\n", schema.id);
    let mut enums = std::collections::BTreeMap::new();
    let mut sets = std::collections::BTreeMap::new();
    for m in on_the_wire(schema) {
        let blocks = std::iter::once(&m.root).chain(&m.groups);
        for f in blocks.flat_map(|b| &b.fields) {
            match &f.ty.kind {
                Kind::Enum(list) => {
                    let null = (1u128 << (8 * f.ty.size)) - 1;
                    let mut row: Vec<_> = (list.iter())
                        .map(|(v, n)| format!("[{v}] = \"{n}\""))
                        .collect();
                    row.push(format!("[{null}] = \"none\""));
                    enums.insert(&f.ty.name, row);
                }
                Kind::Set(list) => {
                    let row = list.iter().map(|(b, n)| format!("[{b}] = \"{n}\""));
                    sets.insert(&f.ty.name, row.collect::<Vec<_>>());
                }
                _ => {}
            }
        }
    }
    for (name, map) in [("ENUMS", enums), ("SETS", sets)] {
        writeln!(text, "local {name} = {{").unwrap();
        for (ty, row) in map {
            writeln!(text, "    {ty} = {{ {} }},", row.join(", ")).unwrap();
        }
        text += "}\n\n";
    }
    text += "local MESSAGES = {\n";
    for m in on_the_wire(schema) {
        let (name, abbr) = (&m.root.name, snake(&m.root.name));
        let about = lua_string(&m.root.about);
        writeln!(text, "    [{}] = {{", m.template).unwrap();
        writeln!(
            text,
            "        name = \"{name}\", abbr = \"{abbr}\", about = {about},"
        )
        .unwrap();
        text += "        fields = {\n";
        fields(&mut text, "            ", &m.root);
        text += "        },\n        groups = {\n";
        for g in &m.groups {
            let (name, abbr, about) = (&g.name, snake(&g.name), lua_string(&g.about));
            writeln!(
                text,
                "            {{ name = \"{name}\", abbr = \"{abbr}\", about = {about}, fields = {{"
            )
            .unwrap();
            fields(&mut text, "                ", g);
            text += "            } },\n";
        }
        text += "        },\n    },\n";
    }
    text + "}\n"
}

#[test]
fn the_tables_of_the_dissector_are_those_of_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/readers/deltabox.lua");
    let text = std::fs::read_to_string(path).unwrap();
    let (open, close) = ("\n-- generated\n", "-- end\n");
    let start = text.find(open).expect("the opening mark") + open.len();
    let end = start + text[start..].find(close).expect("the closing mark");
    let want = [&text[..start], &tables(&schema()), &text[end..]].concat();
    hold("readers/deltabox.lua", &want);
}

/// A capture file in the making: UDP over IPv4 over Ethernet.
struct Pcap {
    bytes: Vec<u8>,
    frames: u32,
}

const VENUE: [u8; 4] = [10, 0, 0, 1];
const CLIENT: [u8; 4] = [10, 0, 0, 2];
const GROUP: [u8; 4] = [239, 0, 0, 1];
const ORDER_PORT: u16 = 4000;
const FEED_PORT: u16 = 4001;
const REREQUEST_PORT: u16 = 4002;
const CLIENT_PORT: u16 = 50_000;

impl Pcap {
    fn new() -> Self {
        let mut bytes = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        for part in [2u16, 4] {
            bytes.extend(part.to_le_bytes());
        }
        // Zone, accuracy, longest frame, Ethernet.
        for part in [0u32, 0, 65_535, 1] {
            bytes.extend(part.to_le_bytes());
        }
        Self { bytes, frames: 0 }
    }

    fn push(&mut self, from: ([u8; 4], u16), to: ([u8; 4], u16), payload: &[u8]) {
        let station = Station {
            mac: Mac([2, 0, 0, 0, 0, 2]),
            vlan: None,
        };
        let (from, to) = (
            SocketAddrV4::new(from.0.into(), from.1),
            SocketAddrV4::new(to.0.into(), to.1),
        );
        let head = UdpHead {
            to_mac: Mac([2, 0, 0, 0, 0, 1]),
            from,
            to,
            id: self.frames as u16,
            ttl: 64,
        };
        let mut frame = [0; FRAME_MAX];
        let len = build_udp(&station, &head, payload, &mut frame);
        let frame = &frame[..len];
        self.frames += 1;
        for part in [
            1_800_000_000,
            self.frames,
            frame.len() as u32,
            frame.len() as u32,
        ] {
            self.bytes.extend(part.to_le_bytes());
        }
        self.bytes.extend(frame);
    }

    fn save(&self, name: &str) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(path, &self.bytes).unwrap();
    }
}

/// A datagram of these messages, each from its SBE header on.
fn datagram(kind: u8, number: u64, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = DatagramBuilder::new();
    for m in messages {
        let (head, block) = m.split_at(sbe::HEADER_LEN);
        assert!(builder.push(bytemuck::pod_read_unaligned(head), block));
    }
    let tag = |_: u64, bytes: &[u8]| siphash_2_4_128(&[7; 16], bytes);
    (builder.finish(kind, 0x107, number, number + 1000, number + 2000, tag)).to_vec()
}

fn mold(sequence: u64, count: u16, messages: &[Vec<u8>]) -> Vec<u8> {
    let header = MoldHeader {
        session: *b"20261120A1",
        sequence,
        count,
    };
    let mut bytes = header.encode().to_vec();
    for m in messages {
        bytes.extend((m.len() as u16).to_be_bytes());
        bytes.extend(m);
    }
    bytes
}

/// Every vector of the wire, one a frame in the order of `vectors/messages.json`; then frames of several
/// messages, of none, and broken ones. What must be seen in them stands in `readers/test_tshark.py`.
#[test]
fn captures_of_every_message_are_written_for_tshark() {
    let schema = schema();
    let (venue, client) = ((VENUE, ORDER_PORT), (CLIENT, CLIENT_PORT));
    let (line, everybody) = ((VENUE, 3999), (GROUP, FEED_PORT));
    let (mut orders, mut feed) = (Pcap::new(), Pcap::new());
    let (mut number, mut sequence) = (0, 1);
    for m in on_the_wire(&schema) {
        for variant in Variant::ALL {
            let bytes = vector(&schema, m, variant).bytes;
            if m.template >= FEED_FIRST {
                feed.push(line, everybody, &mold(sequence, 1, &[bytes]));
                sequence += 1;
                continue;
            }
            number += 1;
            let is_report = m.template >= REPORT_FIRST || m.template == NOT_APPLIED;
            if is_report {
                orders.push(venue, client, &datagram(KIND_DATA, number, &[bytes]));
            } else if m.template >= REQUEST_FIRST {
                orders.push(client, venue, &datagram(KIND_DATA, number, &[bytes]));
            } else {
                orders.push(client, venue, &datagram(KIND_CONTROL, number, &[bytes]));
            }
        }
    }
    let some = |templates: &[u16]| -> Vec<Vec<u8>> {
        let find = |t: &u16| schema.messages.iter().find(|m| m.template == *t).unwrap();
        (templates.iter())
            .map(|t| vector(&schema, find(t), Variant::Distinct).bytes)
            .collect()
    };
    orders.push(
        client,
        venue,
        &datagram(KIND_DATA, 1, &some(&[100, 104, 105])),
    );
    let reports = some(&[200, 205]);
    orders.push(venue, client, &datagram(KIND_RETRANSMISSION, 2, &reports));
    orders.push(client, venue, &datagram(KIND_HEARTBEAT, 3, &[]));
    // Found by the header: nobody knows this port.
    let elsewhere = (VENUE, 45_678);
    orders.push(client, elsewhere, &datagram(KIND_DATA, 4, &some(&[100])));
    // A message whose size goes beyond the datagram, and one of another schema.
    let mut broken = datagram(KIND_DATA, 5, &some(&[100]));
    broken[32] = 0xff;
    orders.push(client, venue, &broken);
    let mut other = some(&[100]);
    other[0][4] ^= 1;
    orders.push(client, venue, &datagram(KIND_DATA, 6, &other));
    // A newer version's longer block.
    let mut newer = some(&[104]);
    newer[0][0] += 8;
    newer[0][6] += 1;
    newer[0].extend([0xaa; 8]);
    orders.push(client, venue, &datagram(KIND_DATA, 7, &newer));
    orders.save("order_entry.pcap");

    feed.push(line, everybody, &mold(sequence, 3, &some(&[310, 314, 313])));
    feed.push(line, everybody, &mold(sequence + 3, 0, &[]));
    feed.push(line, everybody, &mold(sequence + 3, END_OF_SESSION, &[]));
    let rerequest = (VENUE, REREQUEST_PORT);
    feed.push((CLIENT, CLIENT_PORT), rerequest, &mold(5, 2, &[]));
    feed.push(
        rerequest,
        (CLIENT, CLIENT_PORT),
        &mold(5, 2, &some(&[310, 311])),
    );
    feed.save("feed.pcap");
    assert!(orders.frames > 80 && feed.frames > 40);
}
