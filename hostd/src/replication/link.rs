//! A connection between two boxes, and the frames on it.

use super::wire::{Frame, GREETING_LEN, HEAD_LEN, Kind, PAYLOAD_MAX, Way, greeting, read_greeting};
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for an answer on a connection that is being made.
pub(super) const ANSWER: Duration = Duration::from_secs(1);

/// The key that all boxes share.
pub(crate) fn load_key(path: &Path) -> anyhow::Result<[u8; 32]> {
    let name = || format!("replication.key_file {}", path.display());
    let mode = std::fs::metadata(path).with_context(name)?;
    ensure!(
        mode.permissions().mode() & 0o077 == 0,
        "{}: others may read it; chmod 600",
        name()
    );
    let text = std::fs::read_to_string(path).with_context(name)?;
    unhex(text.trim()).with_context(|| format!("{}: not 64 hex digits", name()))
}

/// 32 bytes of hex.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, b) in bytes.iter_mut().enumerate() {
        *b = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

pub(crate) fn nonce() -> anyhow::Result<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
    Ok(nonce)
}

/// A connection whose sides have met, driven by one thread that waits.
pub(crate) struct Link {
    stream: TcpStream,
    out: Way,
    back: Way,
    sending: Vec<u8>,
    received: Vec<u8>,
    /// Of these the first are a frame that was handed out.
    used: usize,
}

impl Link {
    pub(crate) fn connect(to: SocketAddr, key: &[u8; 32]) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&to, ANSWER)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let own = nonce()?;
        stream.write_all(&greeting(&own))?;
        let mut theirs = [0; GREETING_LEN];
        stream.read_exact(&mut theirs)?;
        let (out, back) = Way::pair(key, &own, &read_greeting(&theirs)?);
        Ok(Self {
            stream,
            out,
            back,
            sending: Vec::with_capacity(4096),
            received: Vec::with_capacity(2 * (HEAD_LEN + PAYLOAD_MAX)),
            used: 0,
        })
    }

    pub(crate) fn set_patience(&self, patience: Duration) -> anyhow::Result<()> {
        Ok(self.stream.set_read_timeout(Some(patience))?)
    }

    pub(crate) fn send(&mut self, kind: Kind, epoch: u64, payload: &[u8]) -> anyhow::Result<()> {
        self.sending.clear();
        self.out.seal(kind, epoch, &[payload], &mut self.sending);
        Ok(self.stream.write_all(&self.sending)?)
    }

    pub(crate) fn send_json(
        &mut self,
        kind: Kind,
        epoch: u64,
        body: &impl Serialize,
    ) -> anyhow::Result<()> {
        self.send(kind, epoch, &serde_json::to_vec(body)?)
    }

    /// The next frame; `None` if none came within the patience.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Frame<'_>>> {
        self.received.drain(..self.used);
        self.used = 0;
        loop {
            if Way::is_ready(&self.received) {
                let frame = self.back.open(&self.received)?.context("it is ready")?;
                self.used = frame.len();
                return Ok(Some(frame));
            }
            let have = self.received.len();
            self.received.resize(have + (64 << 10), 0);
            let read = self.stream.read(&mut self.received[have..]);
            self.received.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => bail!("the other side closed the connection"),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The next frame, which must come, be of this kind and be JSON; a refusal is an error.
    pub(crate) fn answer<T: DeserializeOwned>(&mut self, kind: Kind) -> anyhow::Result<(u64, T)> {
        let begun = Instant::now();
        while begun.elapsed() < ANSWER {
            if let Some(frame) = self.next()? {
                ensure!(frame.kind == kind, "it answered with {:?}", frame.kind);
                return Ok((frame.epoch, serde_json::from_slice(frame.payload)?));
            }
        }
        bail!("no answer")
    }
}
