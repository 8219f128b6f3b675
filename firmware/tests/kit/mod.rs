//! The schema as tests and generators use it, and golden values for every message in it.
#![allow(dead_code, reason = "each test that takes this in uses a part of it")]

pub(crate) mod values;

use roxmltree::{Document, Node};
use std::collections::BTreeMap;

/// What the bytes of a field mean.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// An integer; of an optional one the value that means "none".
    Number { null: Option<i128> },
    /// Characters padded with zero bytes.
    Text,
    /// Raw bytes.
    Binary,
    /// One of these values.
    Enum(Vec<(u64, String)>),
    /// Any of these bits.
    Set(Vec<(u32, String)>),
}

/// A named type.
#[derive(Clone, Debug)]
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) primitive: String,
    /// Bytes in all.
    pub(crate) size: usize,
    pub(crate) kind: Kind,
    /// What the values or bits of `kind` mean, in its order; empty where the name says it.
    pub(crate) meanings: Vec<String>,
}

impl Type {
    pub(crate) fn is_signed(&self) -> bool {
        self.primitive.starts_with("int")
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) about: String,
    pub(crate) ty: Type,
}

impl Field {
    pub(crate) fn is_pad(&self) -> bool {
        (self.name.strip_prefix("pad"))
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// A message, or one entry of its repeating group.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) len: usize,
    pub(crate) fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) template: u16,
    pub(crate) root: Block,
    /// What repeats after the root block, each behind its own `groupSizeEncoding`.
    pub(crate) groups: Vec<Block>,
}

pub(crate) struct Schema {
    pub(crate) id: u16,
    pub(crate) version: u16,
    pub(crate) messages: Vec<Message>,
}

/// Bytes of `groupSizeEncoding`: length of an entry and number of entries, u16 each.
pub(crate) const DIMENSION_LEN: usize = 4;

fn elements<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(Node::is_element)
}

fn attr<'a>(node: Node<'a, 'a>, name: &str) -> &'a str {
    node.attribute(name)
        .unwrap_or_else(|| panic!("<{}> without {name}", node.tag_name().name()))
}

fn number<T: std::str::FromStr>(node: Node<'_, '_>, name: &str) -> T {
    (attr(node, name).parse()).unwrap_or_else(|_| panic!("{name} of {node:?} is not a number"))
}

fn listed<T: std::str::FromStr>(node: Node<'_, '_>) -> Vec<(T, String)> {
    elements(node)
        .map(|v| {
            let value = v.text().unwrap_or_default().trim().parse();
            let value = value.unwrap_or_else(|_| panic!("{v:?} has no number"));
            (value, attr(v, "name").to_owned())
        })
        .collect()
}

fn primitive_size(name: &str) -> usize {
    match name {
        "char" | "int8" | "uint8" => 1,
        "int16" | "uint16" => 2,
        "int32" | "uint32" => 4,
        "int64" | "uint64" => 8,
        other => panic!("{other} is not in the profile"),
    }
}

fn types(root: Node<'_, '_>) -> BTreeMap<String, Type> {
    let node = elements(root).find(|n| n.has_tag_name("types")).unwrap();
    let mut types = BTreeMap::new();
    for node in elements(node) {
        let (primitive, kind) = match node.tag_name().name() {
            "composite" => continue,
            "enum" => (attr(node, "encodingType"), Kind::Enum(listed(node))),
            "set" => (attr(node, "encodingType"), Kind::Set(listed(node))),
            "type" => {
                let kind = match (
                    attr(node, "primitiveType"),
                    node.attribute("characterEncoding"),
                ) {
                    ("char", None) => Kind::Binary,
                    ("char", Some(_)) => Kind::Text,
                    _ => Kind::Number {
                        null: (node.attribute("nullValue")).map(|v| v.parse().unwrap()),
                    },
                };
                (attr(node, "primitiveType"), kind)
            }
            other => panic!("<{other}> is not in the profile"),
        };
        let count = node.attribute("length").map_or(1, |l| l.parse().unwrap());
        let name = attr(node, "name").to_owned();
        let ty = Type {
            name: name.clone(),
            primitive: primitive.to_owned(),
            size: primitive_size(primitive) * count,
            kind,
            meanings: elements(node)
                .map(|v| v.attribute("description").unwrap_or_default().to_owned())
                .collect(),
        };
        types.insert(name, ty);
    }
    types
}

fn block(node: Node<'_, '_>, types: &BTreeMap<String, Type>) -> Block {
    let fields = elements(node).filter(|n| n.has_tag_name("field"));
    Block {
        name: attr(node, "name").to_owned(),
        about: node.attribute("description").unwrap_or_default().to_owned(),
        len: number(node, "blockLength"),
        fields: fields
            .map(|f| Field {
                name: attr(f, "name").to_owned(),
                offset: number(f, "offset"),
                about: f.attribute("description").unwrap_or_default().to_owned(),
                ty: types[attr(f, "type")].clone(),
            })
            .collect(),
    }
}

/// Reads `schema/deltabox.xml`.
pub(crate) fn schema() -> Schema {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/deltabox.xml");
    let text = std::fs::read_to_string(path).unwrap();
    let doc = Document::parse(&text).unwrap();
    let root = doc.root_element();
    let types = types(root);
    let messages = elements(root).filter(|n| n.tag_name().name() == "message");
    Schema {
        id: number(root, "id"),
        version: number(root, "version"),
        messages: messages
            .map(|m| {
                let groups = elements(m).filter(|n| n.has_tag_name("group"));
                Message {
                    template: number(m, "id"),
                    root: block(m, &types),
                    groups: groups
                        .map(|g| {
                            assert_eq!(attr(g, "dimensionType"), "groupSizeEncoding", "{g:?}");
                            block(g, &types)
                        })
                        .collect(),
                }
            })
            .collect(),
    }
}

/// The file's text, or what a generator wrote anew when `BLESS` is set.
///
/// # Panics
/// When the file is stale.
pub(crate) fn hold(path: &str, want: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    if have == want {
        return;
    }
    assert!(
        std::env::var_os("BLESS").is_some(),
        "{} is stale: BLESS=1 cargo test -p firmware writes it anew; then look at the difference",
        path.display()
    );
    std::fs::write(path, want).unwrap();
}

/// `clOrdId` as `cl_ord_id`, `NewOrder` as `new_order`.
pub(crate) fn snake(camel: &str) -> String {
    let mut name = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}
