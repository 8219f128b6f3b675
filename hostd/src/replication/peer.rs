//! A connection at the primary, driven by one thread that never waits for it.

use super::link::nonce;
use super::tee::Written;
use super::wire::{
    GREETING_LEN, HEAD_LEN, Kind, PAYLOAD_MAX, Way, greeting, numbers, place, read_greeting,
};
use anyhow::{Context, bail};
use journal::{Piece, Pieces};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

/// More is not prepared for a standby that does not take it.
const AHEAD_BYTES: usize = 1 << 20;
/// Who has not greeted and said what it wants has so little room.
const STRANGER_BYTES: usize = 4 * HEAD_LEN + 4096;

/// A standby that was taken.
pub(super) struct Standby {
    pub(super) name: String,
    /// It was sent the journal up to here: segment and offset.
    at: (u32, u64),
    /// And up to before this record.
    next_seq: u64,
    /// The journal on disk from there on, for who is behind.
    pieces: Option<Pieces>,
    pub(super) acked: u64,
    /// Since when it lacks something and acknowledges nothing.
    pub(super) behind_since: Option<Instant>,
}

impl Standby {
    pub(super) fn new(name: String, at: (u32, u64), pieces: Pieces, next_seq: u64) -> Self {
        Self {
            name,
            at,
            next_seq,
            pieces: Some(pieces),
            acked: next_seq - 1,
            behind_since: None,
        }
    }
}

impl Standby {
    fn prepare(
        &mut self,
        piece: &Piece<'_>,
        epoch: u64,
        now: Instant,
        out: &mut Way,
        to: &mut Vec<u8>,
    ) {
        let place = place(piece.segment, piece.offset);
        out.seal(Kind::Piece, epoch, &[&place, piece.bytes], to);
        self.at = (piece.segment, piece.offset + piece.bytes.len() as u64);
        if let Some(seq) = piece.last_seq {
            self.next_seq = seq + 1;
            self.behind_since.get_or_insert(now);
        }
    }

    /// It was sent all that is on the primary's disk.
    pub(super) const fn is_sent(&self, on_disk: u64) -> bool {
        self.next_seq > on_disk
    }
}

pub(super) struct Peer {
    pub(super) stream: TcpStream,
    own_nonce: [u8; 32],
    /// Out and back; none before the other side has greeted.
    ways: Option<(Way, Way)>,
    received: Vec<u8>,
    sending: Vec<u8>,
    sent: usize,
    pub(super) standby: Option<Standby>,
    pub(super) since: Instant,
    /// Close once everything is sent.
    pub(super) is_over: bool,
}

/// A frame that came, on its own.
pub(super) struct Came {
    pub(super) kind: Kind,
    pub(super) epoch: u64,
    pub(super) payload: Vec<u8>,
}

impl Peer {
    pub(super) fn new(stream: TcpStream, now: Instant) -> anyhow::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let own_nonce = nonce()?;
        Ok(Self {
            stream,
            own_nonce,
            ways: None,
            received: Vec::new(),
            sending: greeting(&own_nonce).to_vec(),
            sent: 0,
            standby: None,
            since: now,
            is_over: false,
        })
    }

    pub(super) const fn has_output(&self) -> bool {
        self.sent < self.sending.len()
    }

    /// Reads what has come.
    pub(super) fn receive(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("it closed the connection"),
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
            let most = if self.standby.is_some() {
                HEAD_LEN + PAYLOAD_MAX
            } else {
                STRANGER_BYTES
            };
            if self.received.len() > most {
                bail!("it sends more than it may");
            }
        }
    }

    /// The next frame that has come.
    pub(super) fn next(&mut self, key: &[u8; 32]) -> anyhow::Result<Option<Came>> {
        if self.ways.is_none() {
            let Some(first) = self.received.first_chunk::<GREETING_LEN>() else {
                return Ok(None);
            };
            let theirs = read_greeting(first)?;
            let (back, out) = Way::pair(key, &theirs, &self.own_nonce);
            self.ways = Some((out, back));
            self.received.drain(..GREETING_LEN);
        }
        let (_, back) = self.ways.as_mut().context("just made")?;
        let Some(frame) = back.open(&self.received)? else {
            return Ok(None);
        };
        let came = Came {
            kind: frame.kind,
            epoch: frame.epoch,
            payload: frame.payload.to_vec(),
        };
        let len = frame.len();
        self.received.drain(..len);
        Ok(Some(came))
    }

    pub(super) fn say(&mut self, kind: Kind, epoch: u64, payload: &[&[u8]]) {
        if let Some((out, _)) = &mut self.ways {
            out.seal(kind, epoch, payload, &mut self.sending);
        }
    }

    pub(super) fn say_json(
        &mut self,
        kind: Kind,
        epoch: u64,
        body: &impl Serialize,
    ) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec(body)?;
        self.say(kind, epoch, &[&bytes]);
        Ok(())
    }

    /// Takes an acknowledgement.
    pub(super) fn acknowledged(&mut self, payload: &[u8], now: Instant) -> anyhow::Result<()> {
        let standby = self.standby.as_mut().context("it is no standby")?;
        let [seq] = numbers(payload).context("an acknowledgement is a number")?;
        if seq < standby.acked || seq >= standby.next_seq {
            bail!(
                "it acknowledged record {seq}, after {} and before it was sent {}",
                standby.acked,
                standby.next_seq
            );
        }
        if seq > standby.acked {
            standby.acked = seq;
            standby.behind_since = (seq + 1 < standby.next_seq).then_some(now);
        }
        Ok(())
    }

    /// Prepares what the standby lacks: of the last writes what follows where it is, else what the disk has.
    pub(super) fn fill(
        &mut self,
        dir: &Path,
        epoch: u64,
        last: &VecDeque<Written>,
        on_disk: u64,
        now: Instant,
    ) -> anyhow::Result<()> {
        let (Some(s), Some((out, _))) = (&mut self.standby, &mut self.ways) else {
            return Ok(());
        };
        if self.sent == self.sending.len() || self.sent > AHEAD_BYTES {
            self.sending.drain(..self.sent);
            self.sent = 0;
        }
        while self.sending.len() - self.sent < AHEAD_BYTES {
            if let Some(w) = last.iter().find(|w| w.after == s.at) {
                let piece = Piece {
                    segment: w.segment,
                    offset: w.offset,
                    bytes: &w.bytes,
                    last_seq: w.last_seq,
                };
                s.pieces = None;
                s.prepare(&piece, epoch, now, out, &mut self.sending);
                continue;
            }
            if s.next_seq > on_disk {
                break;
            }
            let mut pieces = match s.pieces.take() {
                Some(pieces) => pieces,
                None => Pieces::near(dir, s.next_seq, s.at.0, on_disk)?,
            };
            let Some(piece) = pieces.next(on_disk)? else {
                bail!("record {} is on disk and cannot be read back", s.next_seq);
            };
            s.prepare(&piece, epoch, now, out, &mut self.sending);
            s.pieces = Some(pieces);
        }
        Ok(())
    }

    /// Sends what is prepared, as far as the system takes it.
    pub(super) fn send(&mut self) -> anyhow::Result<()> {
        while self.has_output() {
            match self.stream.write(&self.sending[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        if self.is_over {
            bail!("it was told why not");
        }
        Ok(())
    }
}
