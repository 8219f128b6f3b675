//! `hostd journal inspect`.

use super::fields::{decode, name_of, template_of};
use super::{Failure, is_live};
use crate::ops::admin::hex;
use clap::Args;
use journal::{BatchView, Reader, RecordView, SegmentInfo, list_segments};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

/// What is shown.
#[derive(Args)]
pub struct Filter {
    /// First record; those of its segment before it are read and not shown.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Last record.
    #[arg(long)]
    to: Option<u64>,
    /// Only records of this member; 0 is the venue itself.
    #[arg(long)]
    member: Option<u32>,
    /// Only records of this message, by name (NewOrder) or number (600).
    #[arg(long)]
    template: Option<String>,
    /// Segments instead of records.
    #[arg(long, conflicts_with_all = ["batches", "member", "template", "from", "to"])]
    segments: bool,
    /// Group commits instead of records.
    #[arg(long, conflicts_with_all = ["member", "template"])]
    batches: bool,
}

pub(super) fn run(
    dir: &Path,
    filter: &Filter,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let template = match &filter.template {
        None => None,
        Some(name) => Some(template_of(name).ok_or_else(|| {
            Failure::Cannot(format!("--template {name}: no message is called that"))
        })?),
    };
    if filter.segments {
        return list_segments(dir)?
            .iter()
            .try_for_each(|s| segment(s, json, out));
    }
    let live = is_live(dir);
    let mut reader = if filter.from <= 1 {
        Reader::open(dir)?
    } else {
        Reader::open_near(dir, filter.from)?
    };
    let last = filter.to.unwrap_or(u64::MAX);
    let mut shown_batch = None;
    while reader.next_seq() <= last {
        let view = if live {
            reader.next_until(last)?
        } else {
            reader.next()?
        };
        let Some(view) = view else {
            return Ok(());
        };
        let h = view.header;
        let is_wanted = h.seq >= filter.from
            && filter.member.is_none_or(|m| m == h.session)
            && template.is_none_or(|t| t == h.template);
        if !is_wanted {
            continue;
        }
        if !filter.batches {
            record(&view, json, out)?;
        } else if shown_batch != Some(reader.batch().first_seq) {
            shown_batch = Some(reader.batch().first_seq);
            batch(reader.batch(), json, out)?;
        }
    }
    Ok(())
}

fn segment(s: &SegmentInfo, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let state = match s.begun {
        Some(_) if s.is_archived => "archived",
        Some(_) => "begun",
        None => "not begun",
    };
    if json {
        let line = json!({
            "segment": s.segment,
            "state": state,
            "file_bytes": s.file_bytes,
            "first_seq": s.begun.map(|b| b.0),
            "epoch": s.begun.map(|b| b.1),
        });
        writeln!(out, "{line}")?;
    } else {
        let begun = s.begun.map_or_else(String::new, |(first_seq, epoch)| {
            format!("  from record {first_seq}  epoch {epoch}")
        });
        let name = journal::segment_name(s.segment);
        writeln!(out, "{name}  {} bytes  {state}{begun}", s.file_bytes)?;
    }
    Ok(())
}

fn batch(b: &BatchView, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let last_seq = b.first_seq + u64::from(b.count) - 1;
    if json {
        let line = json!({
            "segment": b.segment,
            "offset": b.offset,
            "bytes": b.len,
            "first_seq": b.first_seq,
            "last_seq": last_seq,
            "records": b.count,
            "journal_hash": hex(&b.chain),
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(
            out,
            "{} {:#010x}  {:>6} bytes  records {}..={last_seq}  hash {}",
            journal::segment_name(b.segment),
            b.offset,
            b.len,
            b.first_seq,
            hex(&b.chain)
        )?;
    }
    Ok(())
}

fn record(view: &RecordView<'_>, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let h = view.header;
    let name = name_of(h.template).unwrap_or("?");
    let fields = decode(h.template, view.body);
    if json {
        let mut line = Map::new();
        line.insert("seq".into(), h.seq.into());
        line.insert("time_ns".into(), h.time_ns.into());
        line.insert("member".into(), h.session.into());
        line.insert("template".into(), h.template.into());
        line.insert("message".into(), name.into());
        match fields {
            Ok(fields) => line.insert("fields".into(), fields.into()),
            Err(why) => line.insert("undecoded".into(), why.into()),
        };
        writeln!(out, "{}", Value::from(line))?;
        return Ok(());
    }
    let said = match fields {
        Ok(fields) => line_of(&fields),
        Err(why) => format!("not decoded: {why}"),
    };
    let (s, ns) = (h.time_ns / 1_000_000_000, h.time_ns % 1_000_000_000);
    let name = name.strip_prefix("In").unwrap_or(name);
    writeln!(
        out,
        "{:>10}  {s}.{ns:09}  member {:<5} {name:<15} {said}",
        h.seq, h.session
    )?;
    Ok(())
}

fn line_of(fields: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let gap = if text.is_empty() { "" } else { " " };
        match value {
            Value::String(s) => _ = write!(text, "{gap}{name}={s}"),
            Value::Array(entries) => {
                for entry in entries.iter().filter_map(Value::as_object) {
                    _ = write!(text, "{gap}[{}]", line_of(entry));
                }
            }
            other => _ = write!(text, "{gap}{name}={other}"),
        }
    }
    text
}
