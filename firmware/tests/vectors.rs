//! Golden vectors: `vectors/messages.json` holds every message of the schema with values that only a right
//! reader gets, as bytes and as fields. Decoders of others read it too (`cargo ci readers`).
//! After a change of the schema: `BLESS=1 cargo test -p firmware` writes it anew.

mod kit;

use firmware::wire::input::InNewOrder;
use firmware::wire::quote::{GROUPED, MassQuote, QuoteView, encode_quote};
use firmware::wire::sbe::Message as _;
use firmware::wire::sbe::{Field, HEADER_LEN};
use firmware::wire::{feed, input, order, report, session};
use kit::values::{Value, Values, Variant, Vector, hex, json, vector};
use kit::{Block, Message, Schema, hold, schema, snake};
use std::fmt::Write;

type Row = (&'static str, u16, usize, &'static [Field]);

/// The structs of the code, by template.
fn rows() -> Vec<Row> {
    let grouped = GROUPED.iter();
    let grouped = grouped.map(|&(name, template, len, fields, ..)| (name, template, len, fields));
    let mut rows = [
        session::SCHEMA,
        order::SCHEMA,
        report::SCHEMA,
        feed::SCHEMA,
        input::SCHEMA,
    ]
    .concat();
    rows.extend(grouped);
    rows
}

fn vectors(schema: &Schema) -> Vec<(&Message, Vector)> {
    let messages = schema.messages.iter();
    messages
        .flat_map(|m| Variant::ALL.map(|v| (m, vector(schema, m, v))))
        .collect()
}

fn fields(block: &Block, values: &Values) -> String {
    let pairs = block.fields.iter().zip(values);
    let pairs: Vec<_> = pairs
        .map(|(f, v)| format!("\"{}\":{}", f.name, json(&f.ty, v)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn file(schema: &Schema) -> String {
    let mut text = format!(
        "{{\"schemaId\":{},\"version\":{},\"vectors\":[",
        schema.id, schema.version
    );
    for (i, (m, v)) in vectors(schema).iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let (name, variant) = (&m.root.name, v.variant.name());
        write!(
            text,
            "{comma}\n{{\"message\":\"{name}\",\"template\":{},\"variant\":\"{variant}\",\n",
            m.template
        )
        .unwrap();
        writeln!(text, " \"hex\":\"{}\",", hex(&v.bytes)).unwrap();
        let groups = m.groups.iter().zip(&v.groups).map(|(g, entries)| {
            let entries: Vec<_> = entries.iter().map(|e| fields(g, e)).collect();
            format!("\"{}\":[{}]", g.name, entries.join(","))
        });
        let groups: Vec<_> = groups.collect();
        let root = fields(&m.root, &v.root);
        write!(
            text,
            " \"fields\":{root},\n \"groups\":{{{}}}}}",
            groups.join(",")
        )
        .unwrap();
    }
    text + "\n]}\n"
}

#[test]
fn the_vectors_on_disk_are_those_of_schema_and_code() {
    let schema = schema();
    hold("vectors/messages.json", &file(&schema));
}

/// A message of the wire as its struct shows it, and the bytes that the struct gives.
fn through_struct(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    macro_rules! first {
        ($($union:ty),+) => {$(
            if let Ok(m) = <$union>::decode(bytes) {
                let bytes = [bytemuck::bytes_of(&m.header()), m.block()].concat();
                return Some((format!("{m:?}"), bytes));
            }
        )+};
    }
    first!(
        session::SessionMessage,
        order::Request,
        report::Report,
        feed::FeedMessage,
        feed::SnapshotMessage,
        feed::CheckpointMessage
    );
    let quote = QuoteView::decode(bytes).ok()?;
    let entries: Vec<_> = quote.entries().collect();
    let mut block = vec![0; bytes.len() - HEADER_LEN];
    assert_eq!(
        encode_quote(&quote.head, &entries, &mut block),
        Some(block.len())
    );
    let header = bytemuck::bytes_of(&MassQuote::HEADER);
    Some((
        format!("{:?} {entries:?}", quote.head),
        [header, &block].concat(),
    ))
}

/// Finds `name: value` of each field in the text, in order; returns what follows the last.
fn find_all<'a>(mut text: &'a str, at: &str, block: &Block, values: &Values) -> &'a str {
    for (field, value) in block.fields.iter().zip(values) {
        let value = match value {
            Value::Number(n) => n.to_string(),
            Value::Bytes(b) => format!("{b:?}"),
        };
        let want = format!(" {}: {value}", snake(&field.name));
        let place = (text.find(&want)).unwrap_or_else(|| panic!("{at}: no \"{want}\" in {text}"));
        text = &text[place + want.len()..];
        assert!(text.starts_with([',', ' ']), "{at}: {want} goes on: {text}");
    }
    text
}

#[test]
fn the_structs_read_and_write_every_vector_of_the_wire() {
    let schema = schema();
    let mut read = 0;
    for (m, v) in vectors(&schema) {
        let at = format!("{} {}", m.root.name, v.variant.name());
        let journal_only = m.template >= InNewOrder::TEMPLATE;
        if journal_only {
            continue;
        }
        let (shown, bytes) = through_struct(&v.bytes)
            .unwrap_or_else(|| panic!("{at}: no union in `through_struct` takes it"));
        let mut rest = find_all(&shown, &at, &m.root, &v.root);
        for (group, entries) in m.groups.iter().zip(&v.groups) {
            for entry in entries {
                rest = find_all(rest, &at, group, entry);
            }
        }
        assert_eq!(bytes, v.bytes, "{at}");
        read += 1;
    }
    assert!(read >= 100, "only {read} vectors were read");
}

/// Inputs of the journal have no decoder of their own: their struct's field table must put each value there.
#[test]
fn the_field_tables_of_the_structs_find_every_value() {
    let schema = schema();
    let rows = rows();
    for (m, v) in vectors(&schema) {
        let row = rows.iter().find(|row| row.1 == m.template);
        let (name, _, len, fields) = row.unwrap_or_else(|| panic!("{} has no struct", m.root.name));
        assert_eq!((*name, *len), (m.root.name.as_str(), m.root.len));
        assert_eq!(fields.len(), v.root.len(), "{name}");
        let block = &v.bytes[HEADER_LEN..HEADER_LEN + len];
        for (field, value) in fields.iter().zip(&v.root) {
            let bytes = &block[field.offset..field.offset + field.size];
            let got = match value {
                Value::Bytes(_) => Value::Bytes(bytes.to_vec()),
                Value::Number(_) => {
                    let negative = field.kind.starts_with('i') && bytes[field.size - 1] & 0x80 != 0;
                    let mut wide = [if negative { 0xff } else { 0 }; 16];
                    wide[..field.size].copy_from_slice(bytes);
                    Value::Number(i128::from_le_bytes(wide))
                }
            };
            assert_eq!(got, *value, "{name}.{}", field.name);
        }
    }
}

/// Bytes that are alike could be swapped unseen.
#[test]
fn distinct_vectors_tell_every_field_from_its_neighbours() {
    let schema = schema();
    for m in &schema.messages {
        let v = vector(&schema, m, Variant::Distinct);
        let wide = m.root.fields.iter().zip(&v.root);
        let wide: Vec<_> = wide
            .filter(|(f, _)| f.ty.size > 1 && !f.is_pad())
            .filter(|(f, _)| matches!(f.ty.kind, kit::Kind::Number { .. }))
            .collect();
        for (i, (f, a)) in wide.iter().enumerate() {
            for (g, b) in &wide[i + 1..] {
                assert_ne!(a, b, "{}: {} and {}", m.root.name, f.name, g.name);
            }
            let Value::Number(n) = a else { unreachable!() };
            let bytes = &n.to_le_bytes()[..f.ty.size];
            let mut back = bytes.to_vec();
            back.reverse();
            assert_ne!(
                bytes, back,
                "{}: byte order of {} does not show",
                m.root.name, f.name
            );
        }
    }
}
