//! JSON lines on standard error, one an event. Never called on a hot path.

use std::fmt::Display;
use std::io::Write;

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
    // Nobody reads standard error: nothing can be done about it.
    let _ = writeln!(std::io::stderr(), "{}", serde_json::Value::Object(line));
}
