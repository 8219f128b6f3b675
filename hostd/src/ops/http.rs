//! One HTTP/1.1 request over a Unix socket: what the daemon's own command line asks of a running box.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest answer that is read.
const ANSWER_MAX: u64 = 1 << 26;

/// An answer: status and body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Sends a request and reads the whole answer. `key`: the Idempotency-Key of a change.
///
/// # Errors
/// When nobody listens, or the answer is none.
pub fn call(
    socket: &Path,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &str,
    patience: Duration,
) -> io::Result<Answer> {
    let mut answer =
        BufReader::new(ask(socket, method, path, key, body, Some(patience))?.take(ANSWER_MAX));
    let (status, length) = head(&mut answer)?;
    let mut body = Vec::new();
    match length {
        Some(length) => answer.take(length).read_to_end(&mut body)?,
        None => answer.read_to_end(&mut body)?,
    };
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(Answer { status, body })
}

/// Follows server-sent events: gives each `data` with its `id`, until `take` says that it is enough.
///
/// # Errors
/// When nobody listens, or the stream breaks off.
pub fn follow(
    socket: &Path,
    path: &str,
    mut take: impl FnMut(&str, &str) -> bool,
) -> io::Result<()> {
    let mut answer = BufReader::new(ask(socket, "GET", path, None, "", None)?);
    let (status, _) = head(&mut answer)?;
    if status != 200 {
        return Err(io::Error::other(format!("status {status}")));
    }
    let mut id = String::new();
    for line in answer.lines() {
        let line = line?;
        // The lengths of chunks stand on lines of their own, and are no fields.
        if let Some(value) = line.strip_prefix("id: ") {
            value.clone_into(&mut id);
        } else if let Some(data) = line.strip_prefix("data: ")
            && !take(&id, data)
        {
            return Ok(());
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &str,
    patience: Option<Duration>,
) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(patience)?;
    let key = key.map_or_else(String::new, |k| format!("Idempotency-Key: {k}\r\n"));
    // In one write: who refuses before it has read the body may be gone before a second one.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: hostd\r\nConnection: close\r\nContent-Type: application/json\r\n{key}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// Reads status and headers; the length of the body if it is said.
fn head(answer: &mut impl BufRead) -> io::Result<(u16, Option<u64>)> {
    let bad = || io::Error::other("the answer is no HTTP");
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(bad)?;
    let mut length = None;
    loop {
        line.clear();
        if answer.read_line(&mut line)? == 0 {
            return Err(bad());
        }
        let header = line.trim_end();
        if header.is_empty() {
            return Ok((status, length));
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
}
