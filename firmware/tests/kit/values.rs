//! Golden values: for each field of each message, in four variants, a value that only a reader at the right
//! offset, of the right width, sign and byte order gets.

use super::{Block, DIMENSION_LEN, Field, Kind, Message, Schema, Type};
use std::fmt::Write;

/// How the fields of a vector are filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    /// All bytes of the message differ from their neighbours.
    Distinct,
    /// The lowest value of each field; no entries in a group.
    Lowest,
    /// The highest value of each field.
    Highest,
    /// The value that SBE keeps for "none", in each field.
    Null,
}

impl Variant {
    pub(crate) const ALL: [Self; 4] = [Self::Distinct, Self::Lowest, Self::Highest, Self::Null];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Distinct => "distinct",
            Self::Lowest => "lowest",
            Self::Highest => "highest",
            Self::Null => "null",
        }
    }

    fn entries(self) -> usize {
        match self {
            Self::Distinct => 3,
            Self::Lowest => 0,
            Self::Highest => 1,
            Self::Null => 2,
        }
    }
}

/// A field's value on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Number(i128),
    Bytes(Vec<u8>),
}

/// The values of a block, in the order of its fields.
pub(crate) type Values = Vec<Value>;

/// A message with all its values and its bytes, from the SBE header on.
pub(crate) struct Vector {
    pub(crate) variant: Variant,
    pub(crate) root: Values,
    /// For each group its entries.
    pub(crate) groups: Vec<Vec<Values>>,
    pub(crate) bytes: Vec<u8>,
}

/// A byte that differs from those beside it; never zero.
fn mark(template: u16, salt: usize, at: usize) -> u8 {
    ((usize::from(template) * 31 + salt * 101 + at * 37) % 251 + 1) as u8
}

fn low(ty: &Type) -> i128 {
    if ty.is_signed() {
        -(1 << (8 * ty.size - 1)) + 1
    } else {
        0
    }
}

fn high(ty: &Type) -> i128 {
    if ty.is_signed() {
        (1 << (8 * ty.size - 1)) - 1
    } else {
        (1 << (8 * ty.size)) - 2
    }
}

fn none(ty: &Type) -> i128 {
    match ty.kind {
        Kind::Number { null: Some(null) } => null,
        Kind::Set(_) => 0,
        _ if ty.is_signed() => low(ty) - 1,
        _ => high(ty) + 1,
    }
}

fn value(message: &Message, field: &Field, index: usize, salt: usize, variant: Variant) -> Value {
    use Variant::{Distinct, Highest, Lowest, Null};
    let ty = &field.ty;
    let marks = |len: usize| -> Vec<u8> {
        (0..len)
            .map(|i| mark(message.template, salt, field.offset + i))
            .collect()
    };
    if field.is_pad() {
        return Value::Number(0);
    }
    match &ty.kind {
        Kind::Binary => Value::Bytes(match variant {
            Distinct => marks(ty.size),
            Lowest | Null => vec![0; ty.size],
            Highest => vec![0xff; ty.size],
        }),
        Kind::Text => {
            let text = match variant {
                Distinct => format!("{}-{salt}", message.template),
                Lowest | Null => String::new(),
                Highest => "~".repeat(ty.size),
            };
            let mut bytes = text.into_bytes();
            bytes.resize(ty.size, 0);
            Value::Bytes(bytes)
        }
        Kind::Number { .. } => Value::Number(match variant {
            Distinct => {
                let mut wide = [0; 16];
                wide[..ty.size].copy_from_slice(&marks(ty.size));
                let value = i128::from_le_bytes(wide);
                // The top bit is the sign.
                if ty.is_signed() && value > high(ty) {
                    value - (1 << (8 * ty.size))
                } else {
                    value
                }
            }
            Lowest => low(ty),
            Highest => high(ty),
            Null => none(ty),
        }),
        Kind::Enum(list) => {
            let mut all: Vec<_> = list.iter().map(|(v, _)| i128::from(*v)).collect();
            all.sort_unstable();
            Value::Number(match variant {
                Distinct => all[(usize::from(message.template) + index + salt) % all.len()],
                Lowest => all[0],
                Highest => all[all.len() - 1],
                Null => none(ty),
            })
        }
        Kind::Set(list) => {
            let all = list.iter().fold(0, |m, (bit, _)| m | 1i128 << bit);
            let one = list[(index + salt) % list.len()].0;
            Value::Number(match variant {
                Distinct => 1 << one,
                Lowest | Null => 0,
                Highest => all,
            })
        }
    }
}

fn values(message: &Message, block: &Block, salt: usize, variant: Variant) -> Values {
    let fields = block.fields.iter().enumerate();
    fields
        .map(|(i, f)| value(message, f, i, salt, variant))
        .collect()
}

/// Writes a block: each field at its offset.
fn write(bytes: &mut Vec<u8>, block: &Block, values: &Values) {
    let start = bytes.len();
    bytes.resize(start + block.len, 0);
    for (field, value) in block.fields.iter().zip(values) {
        let at = start + field.offset;
        let place = &mut bytes[at..at + field.ty.size];
        match value {
            Value::Number(n) => place.copy_from_slice(&n.to_le_bytes()[..place.len()]),
            Value::Bytes(b) => place.copy_from_slice(b),
        }
    }
}

/// The vector of a message in a variant.
pub(crate) fn vector(schema: &Schema, message: &Message, variant: Variant) -> Vector {
    let root = values(message, &message.root, 0, variant);
    let mut bytes = Vec::new();
    for part in [
        message.root.len as u16,
        message.template,
        schema.id,
        schema.version,
    ] {
        bytes.extend(part.to_le_bytes());
    }
    write(&mut bytes, &message.root, &root);
    let mut groups = Vec::new();
    for group in &message.groups {
        let count = variant.entries();
        let dimension = [
            (group.len as u16).to_le_bytes(),
            (count as u16).to_le_bytes(),
        ]
        .concat();
        assert_eq!(dimension.len(), DIMENSION_LEN);
        bytes.extend(dimension);
        let entries: Vec<_> = (1..=count)
            .map(|salt| values(message, group, salt, variant))
            .collect();
        for entry in &entries {
            write(&mut bytes, group, entry);
        }
        groups.push(entries);
    }
    Vector {
        variant,
        root,
        groups,
        bytes,
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").unwrap();
        text
    })
}

/// The value as it stands in the JSON file. "None" of an optional number is `null`; an enum has its name, a set
/// its choices, beside the number.
pub(crate) fn json(ty: &Type, value: &Value) -> String {
    match (&ty.kind, value) {
        (Kind::Binary, Value::Bytes(b)) => format!("{{\"hex\":\"{}\"}}", hex(b)),
        (Kind::Text, Value::Bytes(b)) => {
            let end = b.iter().position(|b| *b == 0).unwrap_or(b.len());
            let text = std::str::from_utf8(&b[..end]).unwrap();
            format!("{{\"hex\":\"{}\",\"text\":\"{text}\"}}", hex(b))
        }
        (Kind::Number { null: Some(null) }, Value::Number(n)) if n == null => "null".to_owned(),
        (Kind::Number { .. }, Value::Number(n)) => n.to_string(),
        (Kind::Enum(list), Value::Number(n)) => {
            let name = list.iter().find(|(v, _)| i128::from(*v) == *n);
            let name = name.map_or("null".to_owned(), |(_, name)| format!("\"{name}\""));
            format!("{{\"value\":{n},\"name\":{name}}}")
        }
        (Kind::Set(list), Value::Number(n)) => {
            let names: Vec<_> = (list.iter().filter(|(bit, _)| n >> bit & 1 == 1))
                .map(|(_, name)| format!("\"{name}\""))
                .collect();
            format!("{{\"value\":{n},\"choices\":[{}]}}", names.join(","))
        }
        (kind, value) => panic!("{value:?} is no value of {kind:?}"),
    }
}
