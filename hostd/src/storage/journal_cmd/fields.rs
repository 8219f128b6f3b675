//! Names and fields of records, from the same tables as the schema.

use firmware::reject::RejectCode;
use firmware::wire::input::{self, IN_RISK_TABLE, InRefused};
use firmware::wire::quote::{InMassQuote, InQuoteEntry, QuoteRef};
use firmware::wire::sbe::{Field, Message};
use matcher::table::RiskTable;
use serde_json::{Map, Value, json};

/// Name of a record's message; None if this release knows none with this number.
pub(super) fn name_of(template: u16) -> Option<&'static str> {
    let plain = input::SCHEMA.iter().find(|row| row.1 == template);
    match template {
        InMassQuote::TEMPLATE => Some(InMassQuote::NAME),
        IN_RISK_TABLE => Some("RiskTable"),
        _ => plain.map(|row| row.0),
    }
}

/// Number of the message called `name`, with or without the `In` before it, or given as a number.
pub(super) fn template_of(name: &str) -> Option<u16> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let is_it = |known: &str| {
        known.eq_ignore_ascii_case(name)
            || (known.strip_prefix("In")).is_some_and(|k| k.eq_ignore_ascii_case(name))
    };
    let plain = input::SCHEMA.iter().find(|row| is_it(row.0)).map(|r| r.1);
    plain
        .or_else(|| is_it(InMassQuote::NAME).then_some(InMassQuote::TEMPLATE))
        .or_else(|| is_it("RiskTable").then_some(IN_RISK_TABLE))
}

/// The fields of a record's body, by name; padding is left out.
///
/// # Errors
/// What does not fit, in words, if the body is not one of this release.
pub(super) fn decode(template: u16, body: &[u8]) -> Result<Map<String, Value>, String> {
    match template {
        InMassQuote::TEMPLATE => {
            let quote = QuoteRef::read(body).ok_or("entries do not fit the body")?;
            let mut map = fields(InMassQuote::FIELDS, body);
            let entries = quote.entries.iter().map(bytemuck::bytes_of);
            let entries = entries.map(|e| Value::from(fields(InQuoteEntry::FIELDS, e)));
            map.insert("entries".into(), entries.collect());
            Ok(map)
        }
        IN_RISK_TABLE => {
            let table = RiskTable::from_bytes(body).ok_or("not a table of this release")?;
            let mut map = Map::new();
            map.insert("epoch".into(), table.epoch.into());
            map.insert("index_micro".into(), table.index_micro.into());
            map.insert("columns".into(), table.columns.len().into());
            Ok(map)
        }
        _ => {
            let row = input::SCHEMA.iter().find(|row| row.1 == template);
            let (_, _, block, list) = row.ok_or("no message has this number")?;
            if body.len() < *block {
                return Err(format!("{} bytes, {block} needed", body.len()));
            }
            let mut map = fields(list, body);
            if template == InRefused::TEMPLATE
                && let Some(code) = (map.get("reason").and_then(Value::as_u64))
                    .and_then(|r| RejectCode::from_wire(r as u16))
            {
                map.insert("reason_name".into(), code.name().into());
            }
            Ok(map)
        }
    }
}

fn fields(list: &[Field], body: &[u8]) -> Map<String, Value> {
    let shown = list.iter().filter(|f| !f.name.starts_with("pad"));
    shown
        .filter_map(|f| {
            let bytes = body.get(f.offset..f.offset + f.size)?;
            Some((f.name.to_owned(), value(f.kind, bytes)))
        })
        .collect()
}

fn value(kind: &str, bytes: &[u8]) -> Value {
    macro_rules! number {
        ($($ty:ident)+) => {
            match kind {
                $(stringify!($ty) => {
                    let n: $ty = bytemuck::pod_read_unaligned(bytes);
                    return json!(n);
                })+
                _ => {}
            }
        };
    }
    number!(u8 i8 u16 i16 u32 i32 u64 i64);
    json!(crate::ops::admin::hex(bytes))
}
