//! What the prover says: JSON lines for programs, plain lines for people.

use serde_json::{Map, Value};
use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, SystemTime};

/// Now, ns since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_nanos() as u64
}

/// Lower-case hex after `0x`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|b| format!("{b:02x}"));
    std::iter::once("0x".to_owned()).chain(digits).collect()
}

/// Standard output, in one of two tongues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    json: bool,
}

impl Out {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Tells an event: its name and fields as a JSON line, or `text`. Nothing if the text is empty and no JSON is
    /// wanted.
    pub(crate) fn event(self, name: &str, fields: Value, text: impl Display) {
        if !self.json {
            let text = text.to_string();
            if !text.is_empty() {
                line(&text);
            }
            return;
        }
        let mut all = Map::new();
        all.insert("event".to_owned(), name.into());
        all.insert("time_ns".to_owned(), now_ns().into());
        if let Value::Object(fields) = fields {
            all.extend(fields);
        }
        line(&Value::Object(all).to_string());
    }

    /// Tells the result of a command that has one.
    pub(crate) fn result(self, fields: &Value, text: impl Display) {
        if self.json {
            line(&fields.to_string());
        } else {
            line(&text.to_string());
        }
    }
}

/// Whoever stopped reading stopped caring: a closed pipe does not stop the proving.
fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}
