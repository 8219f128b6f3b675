//! JSON lines on standard error, one an event. Never called on a hot path. The last events are kept, so that who connects
//! later, or again, can follow them by number.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Events that are kept.
const KEPT: usize = 1_024;

static LAST: Mutex<Kept> = Mutex::new(Kept {
    number: 0,
    lines: VecDeque::new(),
});

struct Kept {
    /// Of the last event; the first has 1.
    number: u64,
    lines: VecDeque<Arc<str>>,
}

/// Writes an event with its fields.
pub fn event(name: &str, fields: &[(&str, &dyn Display)]) {
    let mut line = serde_json::Map::new();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    line.insert("time_ms".into(), (now.as_millis() as u64).into());
    line.insert("event".into(), name.into());
    for (key, value) in fields {
        line.insert((*key).into(), value.to_string().into());
    }
    let line = serde_json::Value::Object(line).to_string();
    // Nobody reads standard error: nothing can be done about it.
    let _ = writeln!(std::io::stderr(), "{line}");
    let mut kept = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    kept.number += 1;
    kept.lines.push_back(line.into());
    if kept.lines.len() > KEPT {
        kept.lines.pop_front();
    }
}

/// The events after number `after` that are kept, with their numbers, oldest first.
#[must_use]
pub fn since(after: u64) -> Vec<(u64, Arc<str>)> {
    let kept = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let first = kept.number + 1 - kept.lines.len() as u64;
    let numbered = (first..).zip(&kept.lines);
    numbered
        .filter(|(n, _)| *n > after)
        .map(|(n, line)| (n, Arc::clone(line)))
        .collect()
}
