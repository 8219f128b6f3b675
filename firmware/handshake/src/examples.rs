//! The worked examples of `PROTOCOL.md` that need keys: a login with fixed ones, and datagrams under the keys that
//! come out. `BLESS=1 cargo test -p handshake` writes them anew; the Python client computes them once more.

use crate::tags::TagKey;
use crate::transcript::{key_material, negotiate_part, session_keys, transcript_hash};
use crate::{DOMAIN_NEGOTIATE, DOMAIN_RESPONSE, SecretKey};
use firmware::session::{COD_FLAGGED, control_datagram};
use firmware::tag::Suite;
use firmware::wire::datagram::{self, DatagramBuilder, KIND_CONTROL, KIND_DATA};
use firmware::wire::order::{FLAG_POST_ONLY, NewOrder};
use firmware::wire::report::Accepted;
use firmware::wire::sbe::{self, Field, Message, SCHEMA_VERSION};
use firmware::wire::session::{
    Challenge, Establish, EstablishmentAck, Negotiate, NegotiateResponse,
};
use firmware::wire::{order, report, session};
use std::fmt::Write as _;
use x25519_dalek::{PublicKey as EphemeralPublic, StaticSecret};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../PROTOCOL.md");
/// 15 January 2027, 08:00 UTC.
const NOW_NS: u64 = 1_800_000_000_000_000_000;
const CONN_ID: u32 = 0x0001_0007;

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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").unwrap();
        text
    })
}

fn camel(rust: &str) -> String {
    let mut words = rust.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (head, tail) = word.split_at(1);
        name += &head.to_uppercase();
        name += tail;
    }
    name
}

/// Bytes on paper: offset, hex, meaning.
struct Page<'a> {
    bytes: &'a [u8],
    at: usize,
    text: String,
}

impl Page<'_> {
    fn row(&mut self, len: usize, meaning: &str) {
        for (i, part) in self.bytes[self.at..self.at + len].chunks(32).enumerate() {
            let meaning = if i == 0 { meaning } else { "" };
            let line = format!("{:>4}  {:<32}  {meaning}", self.at + 32 * i, hex(part));
            writeln!(self.text, "{}", line.trim_end()).unwrap();
        }
        self.at += len;
    }

    fn number(&mut self, len: usize, name: &str) {
        let mut wide = [0; 16];
        let bytes = &self.bytes[self.at..self.at + len];
        wide[..len].copy_from_slice(bytes);
        let value = i128::from_le_bytes(wide);
        self.row(len, &format!("{name} {value}"));
    }
}

/// Every byte of a datagram with its meaning. The values of the examples are not negative.
fn page(bytes: &[u8]) -> String {
    let rows: Vec<(&str, u16, usize, &[Field])> =
        [session::SCHEMA, order::SCHEMA, report::SCHEMA].concat();
    let mut page = Page {
        bytes,
        at: 0,
        text: String::new(),
    };
    for (len, name) in [
        (1, "version"),
        (1, "kind"),
        (2, "length"),
        (4, "connId"),
        (8, "packetNo"),
        (8, "nextSeqNo"),
        (8, "ackSeqNo"),
    ] {
        page.number(len, name);
    }
    let end = bytes.len() - datagram::TAG_LEN;
    while page.at < end {
        page.number(2, "msgSize");
        let (header, _) = sbe::split(&bytes[page.at..]).unwrap();
        let row = rows.iter().find(|row| row.1 == header.template_id);
        let (name, template, block, fields) = row.unwrap();
        let about = format!(
            "{name}: block {block}, template {template}, schema 0xDB01, version {SCHEMA_VERSION}"
        );
        page.row(sbe::HEADER_LEN, &about);
        for field in *fields {
            let name = camel(field.name);
            if field.name.starts_with("pad") {
                page.row(field.size, "pad");
            } else if field.kind.starts_with('[') {
                page.row(field.size, &name);
            } else {
                page.number(field.size, &name);
            }
        }
    }
    page.row(datagram::TAG_LEN, "tag");
    page.text
}

fn fenced(text: &str) -> String {
    format!("```text\n{text}```\n")
}

/// A tagged datagram of one message.
fn tagged<M: Message>(
    key: &TagKey,
    kind: u8,
    message: &M,
    packet_no: u64,
    numbers: [u64; 2],
) -> Vec<u8> {
    let mut buffer = DatagramBuilder::new();
    assert!(buffer.push(M::HEADER, bytemuck::bytes_of(message)));
    let [next, ack] = numbers;
    let seal = |n, bytes: &[u8]| key.seal(n, bytes);
    let bytes = buffer.finish(kind, CONN_ID, packet_no, next, ack, seal);
    let (header, _, tag) = datagram::split(bytes).unwrap();
    let signed = &bytes[..bytes.len() - datagram::TAG_LEN];
    assert!(key.verify(header.packet_no, signed, tag));
    bytes.to_vec()
}

struct Login {
    material: [[u8; 20]; 2],
}

/// The whole login; gives the keys.
fn login() -> Login {
    let member = SecretKey::from_seed(&[0x01; 32]);
    let venue = SecretKey::from_seed(&[0x09; 32]);
    let client_secret = StaticSecret::from([0x11; 32]);
    let venue_secret = StaticSecret::from([0x22; 32]);
    let session_id = NOW_NS / 1000;
    let mut buffer = DatagramBuilder::new();

    let mut request = Negotiate {
        session_id,
        timestamp: NOW_NS,
        member: 1,
        key_id: 1,
        suites: 0b110,
        pad1: 0,
        pad2: 0,
        pad3: 0,
        cookie: [0; 32],
        client_key: EphemeralPublic::from(&client_secret).to_bytes(),
        venue_key_hash: venue.public().pin(),
        signature: [0; 64],
    };
    let first = page(control_datagram(&mut buffer, &request));
    let challenge = Challenge {
        session_id,
        cookie: core::array::from_fn(|i| 0xc0 + i as u8),
    };
    let cookie = page(control_datagram(&mut buffer, &challenge));
    request.cookie = challenge.cookie;
    request.signature = member.sign(DOMAIN_NEGOTIATE, negotiate_part(&request));
    assert!(member.public().verify(
        DOMAIN_NEGOTIATE,
        negotiate_part(&request),
        &request.signature
    ));
    let second = page(control_datagram(&mut buffer, &request));
    let mut response = NegotiateResponse {
        session_id,
        timestamp: NOW_NS + 1_000_000,
        conn_id: CONN_ID,
        suite: Suite::Aes128Gmac as u8,
        pad1: 0,
        pad2: 0,
        venue_key: EphemeralPublic::from(&venue_secret).to_bytes(),
        signature: [0; 64],
    };
    let transcript = transcript_hash(&request, &response, &venue.public());
    response.signature = venue.sign(DOMAIN_RESPONSE, &transcript);
    let answer = page(control_datagram(&mut buffer, &response));

    let shared = client_secret.diffie_hellman(&EphemeralPublic::from(response.venue_key));
    let same = venue_secret.diffie_hellman(&EphemeralPublic::from(request.client_key));
    assert_eq!(shared.as_bytes(), same.as_bytes());
    let keys = session_keys(Suite::Aes128Gmac, &shared, &transcript).unwrap();
    let material = key_material(&shared, &transcript).unwrap().map(|m| *m);
    let [c2s, s2c] = &material;
    let establish = Establish {
        session_id,
        timestamp: NOW_NS + 2_000_000,
        next_seq_no: 1,
        keep_alive_ms: 1000,
        cod_policy: COD_FLAGGED,
        pad1: 0,
        pad2: 0,
    };
    let establish = page(&tagged(&keys.c2s, KIND_CONTROL, &establish, 1, [0, 0]));
    let ack = EstablishmentAck {
        session_id,
        next_seq_no: 42,
        next_client_seq_no: 17,
        keep_alive_ms: 1000,
        pad1: 0,
    };
    let ack = page(&tagged(&keys.s2c, KIND_CONTROL, &ack, 1, [0, 0]));

    let known = [
        ("member seed", &[0x01; 32][..]),
        ("member public key", &member.public().to_bytes()),
        ("venue public key", &venue.public().to_bytes()),
        ("client secret", &[0x11; 32]),
        ("client key", &request.client_key),
    ];
    let found = [
        ("shared secret", &shared.as_bytes()[..]),
        ("transcript hash", &transcript),
        ("c2s key", &c2s[..16]),
        ("c2s salt", &c2s[16..]),
        ("s2c key", &s2c[..16]),
        ("s2c salt", &s2c[16..]),
    ];
    let list = |rows: &[(&str, &[u8])]| {
        rows.iter().fold(String::new(), |mut text, (name, bytes)| {
            writeln!(text, "{name:<18} {}", hex(bytes)).unwrap();
            text
        })
    };
    let text = [
        "What the client has:\n\n",
        &fenced(&list(&known)),
        "\nNegotiate, for the cookie:\n\n",
        &fenced(&first),
        "\nChallenge:\n\n",
        &fenced(&cookie),
        "\nNegotiate, with cookie and signature:\n\n",
        &fenced(&second),
        "\nNegotiateResponse:\n\n",
        &fenced(&answer),
        "\nWhat both compute then:\n\n",
        &fenced(&list(&found)),
        "\nEstablish, the first datagram with a tag:\n\n",
        &fenced(&establish),
        "\nEstablishmentAck:\n\n",
        &fenced(&ack),
    ];
    check("login example", &text.concat());
    Login { material }
}

/// All of them in one test: they share a file.
#[test]
fn the_worked_examples_with_keys_are_as_the_code() {
    let Login {
        material: [c2s, s2c],
    } = login();
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
    let gmac = TagKey::from_material(Suite::Aes128Gmac, &c2s);
    let sip = TagKey::from_material(Suite::SipHash24, &c2s);
    let with_gmac = tagged(&gmac, KIND_DATA, &order, 2, [17, 42]);
    let with_sip = tagged(&sip, KIND_DATA, &order, 2, [17, 42]);
    let tag = &with_sip[with_sip.len() - datagram::TAG_LEN..];
    let accepted = Accepted {
        order_id: 4_294_967_297,
        cl_ord_id: order.cl_ord_id,
        client_seq: 17,
        price: order.price,
        quantity: order.quantity,
        rx_time: NOW_NS + 3_000_000,
        engine_time: NOW_NS + 3_000_900,
        engine_seq: 1000,
        account: order.account,
        instrument: order.instrument,
        side: order.side,
        flags: order.flags,
    };
    let venue = TagKey::from_material(Suite::Aes128Gmac, &s2c);
    let report = tagged(&venue, KIND_DATA, &accepted, 2, [42, 18]);
    let text = [
        "The order: sell 3 lots of instrument 2 at 65,000.5, post-only.\n\n",
        &fenced(&page(&with_gmac)),
        &format!(
            "\nUnder suite 2 with the same key all is the same but the tag: `{}`.\n",
            hex(tag)
        ),
        "\nThe report on it:\n\n",
        &fenced(&page(&report)),
    ];
    check("order example", &text.concat());
}
