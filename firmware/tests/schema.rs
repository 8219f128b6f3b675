//! Holds the structs of `firmware::wire` against `schema/deltabox.xml`, both ways, and the schema against the
//! interop profile: the part of SBE that independent decoders read alike.

use firmware::reject::RejectCode;
use firmware::session::{RetransmitRefusal, SessionReject, TerminateReason};
use firmware::wire::datagram::DatagramHeader;
use firmware::wire::quote::{GROUP_HEADER_LEN, GROUPED, LOTS_NULL, QUANTITY_NULL};
use firmware::wire::sbe::{
    BYTE_NULL, Field, ID16_NULL, ID32_NULL, MessageHeader, PRICE_NULL, SCHEMA_ID, SCHEMA_VERSION,
};
use firmware::wire::{feed, input, order, report, session};
use roxmltree::{Document, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;

type Row = (&'static str, u16, usize, &'static [Field]);

const PRIMITIVES: [&str; 9] = [
    "char", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
];

fn text() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/deltabox.xml");
    std::fs::read_to_string(path).unwrap()
}

fn tables() -> Vec<Row> {
    [
        session::SCHEMA,
        order::SCHEMA,
        report::SCHEMA,
        feed::SCHEMA,
        input::SCHEMA,
    ]
    .concat()
}

fn elements<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(Node::is_element)
}

fn attr<'a>(node: Node<'a, 'a>, name: &str) -> &'a str {
    node.attribute(name)
        .unwrap_or_else(|| panic!("<{}> without {name}", node.tag_name().name()))
}

fn number<T: std::str::FromStr>(node: Node<'_, '_>, name: &str) -> T {
    let value = attr(node, name);
    value
        .parse()
        .unwrap_or_else(|_| panic!("{name}={value} is not a number"))
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

fn primitive_size(name: &str) -> usize {
    match name {
        "char" | "int8" | "uint8" => 1,
        "int16" | "uint16" => 2,
        "int32" | "uint32" => 4,
        "int64" | "uint64" => 8,
        other => panic!("{other} is not allowed"),
    }
}

/// Named type to (primitive, number of elements).
fn types<'a>(doc: &'a Document<'a>) -> BTreeMap<&'a str, (&'a str, usize)> {
    let types = elements(doc.root_element())
        .find(|n| n.has_tag_name("types"))
        .unwrap();
    let mut map = BTreeMap::new();
    for node in elements(types) {
        let entry = match node.tag_name().name() {
            "type" => {
                let length = node.attribute("length").map_or(1, |l| l.parse().unwrap());
                (attr(node, "primitiveType"), length)
            }
            "enum" | "set" => (attr(node, "encodingType"), 1),
            "composite" => continue,
            other => panic!("<{other}> is not in the profile"),
        };
        assert!(PRIMITIVES.contains(&entry.0), "{node:?}");
        assert!(map.insert(attr(node, "name"), entry).is_none(), "{node:?}");
    }
    map
}

fn messages<'a>(doc: &'a Document<'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    elements(doc.root_element()).filter(|n| n.tag_name().name() == "message")
}

/// The Rust type that a schema type must have.
fn rust_type((primitive, length): (&str, usize)) -> String {
    match primitive {
        "char" => format!("[u8; {length}]"),
        p => p.replace("uint", "u").replace("int", "i"),
    }
}

#[test]
fn the_schema_names_itself_as_the_code_does() {
    let text = text();
    let doc = Document::parse(&text).unwrap();
    let root = doc.root_element();
    assert_eq!(root.tag_name().name(), "messageSchema");
    assert_eq!(number::<u16>(root, "id"), SCHEMA_ID);
    assert_eq!(number::<u16>(root, "version"), SCHEMA_VERSION);
    assert_eq!(attr(root, "byteOrder"), "littleEndian");
    assert_eq!(attr(root, "headerType"), "messageHeader");
}

#[test]
fn every_message_of_the_code_is_in_the_schema_field_by_field() {
    let text = text();
    let doc = Document::parse(&text).unwrap();
    let types = types(&doc);
    let check_block = |name: &str, node: Node<'_, '_>, block: usize, fields: &[Field]| {
        assert_eq!(number::<usize>(node, "blockLength"), block, "{name}");
        let nodes: Vec<_> = elements(node).filter(|n| n.has_tag_name("field")).collect();
        assert_eq!(nodes.len(), fields.len(), "{name}: number of fields");
        for (node, field) in nodes.into_iter().zip(fields) {
            let at = format!("{name}.{}", field.name);
            assert_eq!(attr(node, "name"), camel(field.name), "{at}");
            assert_eq!(number::<usize>(node, "offset"), field.offset, "{at}");
            let kind = types[attr(node, "type")];
            assert_eq!(primitive_size(kind.0) * kind.1, field.size, "{at}");
            assert_eq!(rust_type(kind), field.kind, "{at}");
        }
    };
    let message = |name: &str, template: u16| {
        let node = messages(&doc)
            .find(|n| attr(*n, "name") == name)
            .unwrap_or_else(|| panic!("{name} is not in the schema"));
        assert_eq!(number::<u16>(node, "id"), template, "{name}");
        node
    };
    let groups = |node: Node<'_, '_>| elements(node).filter(|n| n.has_tag_name("group")).count();
    for (name, template, block, fields) in tables() {
        let node = message(name, template);
        assert_eq!(groups(node), 0, "{name}");
        check_block(name, node, block, fields);
    }
    for &(name, template, block, fields, group, entry_block, entry_fields) in GROUPED {
        let node = message(name, template);
        check_block(name, node, block, fields);
        assert_eq!(groups(node), 1, "{name}");
        let node = elements(node).last().unwrap();
        assert_eq!(attr(node, "name"), group, "{name}");
        check_block(group, node, entry_block, entry_fields);
    }
}

#[test]
fn every_message_of_the_schema_is_in_the_code() {
    let text = text();
    let doc = Document::parse(&text).unwrap();
    let plain = tables();
    let with_group = GROUPED.iter().map(|(n, t, ..)| (*n, *t));
    let known: BTreeSet<_> = (plain.iter().map(|(n, t, ..)| (*n, *t)))
        .chain(with_group)
        .collect();
    let listed: BTreeSet<_> = messages(&doc)
        .map(|m| (attr(m, "name"), number::<u16>(m, "id")))
        .collect();
    assert_eq!(listed, known);
    let count = messages(&doc).count();
    assert_eq!(listed.len(), count, "a name and id stand once");
    let ids: BTreeSet<_> = listed.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), listed.len(), "a template id stands once");
}

#[test]
fn headers_have_the_layout_of_their_composites() {
    let text = text();
    let doc = Document::parse(&text).unwrap();
    let layout = |name: &str| -> Vec<(String, usize)> {
        let node = (doc.descendants())
            .find(|n| n.has_tag_name("composite") && n.attribute("name") == Some(name))
            .unwrap();
        let mut offset = 0;
        let mut rows = Vec::new();
        for part in elements(node) {
            rows.push((attr(part, "name").to_owned(), offset));
            offset += primitive_size(attr(part, "primitiveType"));
        }
        rows.push(("end".to_owned(), offset));
        rows
    };
    macro_rules! rows {
        ($t:ty: $($f:ident),+) => {
            vec![$((camel(stringify!($f)), offset_of!($t, $f))),+, ("end".to_owned(), size_of::<$t>())]
        };
    }
    assert_eq!(
        layout("messageHeader"),
        rows!(MessageHeader: block_length, template_id, schema_id, version)
    );
    assert_eq!(
        layout("groupSizeEncoding").last().unwrap().1,
        GROUP_HEADER_LEN
    );
    assert_eq!(
        layout("datagramHeader"),
        rows!(DatagramHeader: version, kind, length, conn_id, packet_no, next_seq_no, ack_seq_no)
    );
}

#[test]
fn messages_keep_the_interop_profile() {
    let text = text();
    let doc = Document::parse(&text).unwrap();
    let types = types(&doc);
    // Checks the fields of a block and returns its length.
    let check_block = |name: &str, fields: &[Node<'_, '_>]| -> usize {
        let (mut end, mut names) = (0, BTreeSet::new());
        for (i, field) in fields.iter().enumerate() {
            let at = format!("{name}.{}", attr(*field, "name"));
            assert!(field.has_tag_name("field"), "{at}: no var-data");
            assert_eq!(number::<usize>(*field, "id"), i + 1, "{at}");
            let kind = attr(*field, "type");
            assert!(!PRIMITIVES.contains(&kind), "{at}: a bare primitive");
            let (primitive, length) = types[kind];
            assert_eq!(number::<usize>(*field, "offset"), end, "{at}: a gap");
            let size = primitive_size(primitive);
            assert!(end.is_multiple_of(size), "{at}: not aligned in its block");
            end += size * length;
            assert_ne!(field.attribute("presence"), Some("constant"), "{at}");
            assert!(names.insert(attr(*field, "name")), "{at} stands twice");
        }
        end
    };
    for message in messages(&doc) {
        let name = attr(message, "name");
        let mut nodes: Vec<_> = elements(message).collect();
        let group = nodes.pop_if(|n| n.has_tag_name("group"));
        let end = check_block(name, &nodes);
        assert_eq!(number::<usize>(message, "blockLength"), end, "{name}");
        let Some(group) = group else { continue };
        // With the two headers before them, entries keep the alignment of their fields.
        assert_eq!(
            (end + GROUP_HEADER_LEN) % 8,
            0,
            "{name}: entries not aligned"
        );
        assert_eq!(attr(group, "dimensionType"), "groupSizeEncoding", "{name}");
        let fields: Vec<_> = elements(group).collect();
        let end = check_block(attr(group, "name"), &fields);
        assert_eq!(number::<usize>(group, "blockLength"), end, "{name}");
    }
}

#[test]
fn types_keep_the_interop_profile() {
    let text = text();
    let doc = Document::parse(&text).unwrap();
    let used: BTreeSet<_> = (doc.descendants())
        .filter(|n| n.has_tag_name("field"))
        .map(|n| attr(n, "type"))
        .collect();
    for (name, (primitive, length)) in types(&doc) {
        assert!(
            name.starts_with(|c: char| c.is_ascii_uppercase()),
            "{name} could be a keyword"
        );
        assert!(length == 1 || primitive == "char", "{name}: numeric array");
        assert!(used.contains(name), "{name} is not used");
    }
    for node in doc.descendants().filter(Node::is_element) {
        let encoding = node.attribute("characterEncoding");
        assert!(matches!(encoding, None | Some("ASCII")), "{node:?}");
        assert_ne!(node.attribute("presence"), Some("constant"), "{node:?}");
        assert!(!node.has_tag_name("ref") && !node.has_tag_name("data"));
        if node.has_tag_name("validValue") {
            // The greatest value of the encoding is its null.
            let encoding = attr(node.parent().unwrap(), "encodingType");
            let max = (1u64 << (8 * primitive_size(encoding))) - 1;
            let value: u64 = node.text().unwrap().parse().unwrap();
            assert!(value < max, "{node:?}");
        }
    }
}

#[test]
fn null_values_are_those_of_the_code() {
    let text = text();
    let doc = Document::parse(&text).unwrap();
    let null = |name: &str| -> String {
        let node = (doc.descendants())
            .find(|n| n.has_tag_name("type") && n.attribute("name") == Some(name))
            .unwrap();
        assert_eq!(node.attribute("presence"), Some("optional"));
        attr(node, "nullValue").to_owned()
    };
    assert_eq!(null("OptionalPrice"), PRICE_NULL.to_string());
    assert_eq!(null("InstrumentOrAll"), ID16_NULL.to_string());
    assert_eq!(null("AccountOrAll"), ID32_NULL.to_string());
    assert_eq!(null("MmpGroupOrAny"), BYTE_NULL.to_string());
    assert_eq!(null("OptionalLots"), QUANTITY_NULL.to_string());
    assert_eq!(null("OptionalLots32"), LOTS_NULL.to_string());
}

#[test]
fn reject_codes_of_the_schema_are_those_of_the_code() {
    let text = text();
    let doc = Document::parse(&text).unwrap();
    let listed = |name: &str| -> Vec<(u16, String)> {
        let node = (doc.descendants())
            .find(|n| n.has_tag_name("enum") && n.attribute("name") == Some(name))
            .unwrap();
        elements(node)
            .map(|v| (v.text().unwrap().parse().unwrap(), attr(v, "name").into()))
            .collect()
    };
    let codes = SessionReject::ALL.iter();
    let codes: Vec<_> = codes.map(|c| (*c as u16, c.name().to_owned())).collect();
    assert_eq!(listed("SessionReject"), codes);
    let codes = TerminateReason::ALL.iter();
    let codes: Vec<_> = codes.map(|c| (*c as u16, c.name().to_owned())).collect();
    assert_eq!(listed("TerminateReason"), codes);
    let codes = RetransmitRefusal::ALL.iter();
    let codes: Vec<_> = codes.map(|c| (*c as u16, c.name().to_owned())).collect();
    assert_eq!(listed("RetransmitRefusal"), codes);
    let codes = RejectCode::ALL.iter();
    let codes: Vec<_> = codes.map(|c| (*c as u16, c.name().to_owned())).collect();
    assert_eq!(listed("RejectCode"), codes);
}
