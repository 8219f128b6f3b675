//! A small HTTP/1.1 client for the venue's admin socket.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest answer that is read.
const ANSWER_MAX: u64 = 1 << 22;

/// The admin socket of one venue.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    socket: PathBuf,
}

impl Admin {
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// `GET path`.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call("GET", path, None, Duration::from_secs(5))
    }

    /// `POST path` with a JSON body; the venue may take `patience` to answer.
    pub(crate) fn post(
        &self,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> anyhow::Result<Value> {
        self.call("POST", path, Some(body), patience)
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> anyhow::Result<Value> {
        let what = || format!("{method} {path} on {}", self.socket.display());
        // Each of our calls is a request of its own.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let key = format!("bench-{}", now.as_nanos());
        let with_reason = |body: &Value| match body {
            Value::Object(args) => {
                let mut args = args.clone();
                args.entry("reason").or_insert_with(|| "bench".into());
                Value::Object(args).to_string()
            }
            other => other.to_string(),
        };
        let body = body.map(with_reason).unwrap_or_default();
        let mut stream = UnixStream::connect(&self.socket).with_context(what)?;
        stream.set_read_timeout(Some(patience)).with_context(what)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: hostd\r\nconnection: close\r\ncontent-type: application/json\r\n\
             idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).with_context(what)?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_MAX)
            .read_to_end(&mut answer)
            .with_context(what)?;
        parse(&answer).with_context(what)
    }
}

/// Status and JSON body of an answer that ends with the connection.
fn parse(answer: &[u8]) -> anyhow::Result<Value> {
    let end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .context("the answer is cut short")?;
    let head = std::str::from_utf8(&answer[..end]).context("the answer's head is no text")?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .context("the answer has no status")?;
    let header = |name: &str| {
        head.lines().skip(1).find_map(|l| {
            let (key, value) = l.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let mut body = &answer[end + 4..];
    if let Some(length) = header("content-length") {
        let length: usize = length.parse().context("content-length")?;
        body = body.get(..length).context("the answer is cut short")?;
    } else if header("transfer-encoding").is_some() {
        bail!("a chunked answer is not expected here");
    }
    if !status.starts_with('2') {
        bail!("status {status}: {}", String::from_utf8_lossy(body).trim());
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).context("the answer is no JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_refusals_keep_their_words() {
        let ok = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}").expect("good");
        assert_eq!(ok["a"], 1);
        let no = parse(b"HTTP/1.1 409 Conflict\r\ncontent-length: 12\r\n\r\nout of order")
            .expect_err("refused");
        assert_eq!(no.to_string(), "status 409: out of order");
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}").is_err());
        assert!(parse(b"").is_err());
    }
}
