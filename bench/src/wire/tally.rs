//! What a slice says: each answer is authenticated, decoded and matched with its request by number; latencies are
//! counted from the planned send.

use super::line::Tape;
use super::load::Prepared;
use crate::report::figures::Durations;
use anyhow::{bail, ensure};
use client::{Report, answered};
use firmware::reject::RejectCode;
use firmware::session::{Window, read_session_message};
use firmware::wire::datagram::{self, KIND_CONTROL, KIND_DATA, TAG_LEN};
use firmware::wire::session::SessionMessage;
use handshake::TagKey;
use std::collections::BTreeMap;

/// One or more slices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// From the planned send to the first answer.
    pub(crate) rtt: Durations,
    /// From the planned send to the real one: what the client itself was late.
    pub(crate) late: Durations,
    /// Requests sent, warm-up included.
    pub(crate) sent: u64,
    /// Of those, without any answer.
    pub(crate) lost: u64,
    /// Of those, refused; by code.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// Planned time of all slices together.
    pub(crate) seconds: f64,
    /// Bytes of the first request and of its answer, payload.
    pub(crate) bytes: (usize, usize),
}

impl Tally {
    /// Adds another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.rtt.merge(&other.rtt);
        self.late.merge(&other.late);
        self.sent += other.sent;
        self.lost += other.lost;
        self.seconds += other.seconds;
        for (code, n) in &other.refused {
            *self.refused.entry(code).or_default() += n;
        }
        if other.bytes.0 > 0 {
            self.bytes = other.bytes;
        }
    }

    /// All requests that were refused.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// What came back for each request of a slice, and when.
struct Matching<'a> {
    due: &'a [u64],
    /// Requests before this one are warm-up: sent, and lost if they are, but no sample.
    warm: usize,
    is_answered: Vec<bool>,
    tally: Tally,
}

impl<'a> Matching<'a> {
    fn new(all: &Prepared, due: &'a [u64], warm: usize, tape: &Tape) -> Self {
        let mut tally = Tally {
            sent: due.len() as u64,
            lost: due.len() as u64,
            seconds: due.last().map_or(0.0, |l| *l as f64 / 1e9),
            ..Tally::default()
        };
        tally.bytes.0 = if all.len() > 0 { all.get(0).len() } else { 0 };
        for (sent, due) in tape.sent_ns.iter().zip(due).skip(warm) {
            tally.late.add(sent - due);
        }
        Self {
            due,
            warm,
            is_answered: vec![false; due.len()],
            tally,
        }
    }

    /// Request `i` has an answer; `true` when it is the first one.
    fn answer(&mut self, i: usize, at_ns: u64) -> bool {
        if std::mem::replace(&mut self.is_answered[i], true) {
            return false;
        }
        self.tally.lost -= 1;
        if i >= self.warm {
            self.tally.rtt.add(at_ns.saturating_sub(self.due[i]));
        }
        true
    }
}

/// Reads a slice of the echo: what comes back must be what was sent.
///
/// # Errors
/// When something else came back.
pub(crate) fn read_echo(
    all: &Prepared,
    due: &[u64],
    warm: usize,
    tape: &Tape,
) -> anyhow::Result<Tally> {
    let mut matching = Matching::new(all, due, warm, tape);
    for (at_ns, payload) in tape.heard() {
        let number = datagram::split(payload)
            .ok()
            .and_then(|(header, _, _)| header.next_seq_no.checked_sub(all.first_client_seq));
        let Some(i) = number.filter(|&i| i < due.len() as u64) else {
            // Of a slice before this one, on an overloaded echo.
            continue;
        };
        ensure!(
            all.get(i as usize) == payload,
            "the echo of request {i} differs from the request: is it an echo?"
        );
        if matching.answer(i as usize, at_ns) {
            matching.tally.bytes.1 = payload.len();
        }
    }
    Ok(matching.tally)
}

/// Reads slices of a box, under the keys of one session.
pub(crate) struct BoxReader {
    conn_id: u32,
    s2c: TagKey,
    window: Window,
}

impl BoxReader {
    pub(crate) const fn new(conn_id: u32, s2c: TagKey) -> Self {
        Self {
            conn_id,
            s2c,
            window: Window::new(),
        }
    }

    /// Reads a slice: every datagram is authenticated, every report decoded.
    ///
    /// # Errors
    /// When the box ended the session or speaks in tongues.
    pub(crate) fn read(
        &mut self,
        all: &Prepared,
        due: &[u64],
        warm: usize,
        tape: &Tape,
    ) -> anyhow::Result<Tally> {
        let mut matching = Matching::new(all, due, warm, tape);
        for (at_ns, payload) in tape.heard() {
            let Ok((header, body, tag)) = datagram::split(payload) else {
                bail!("a datagram of the box has a broken frame");
            };
            let signed = &payload[..payload.len() - TAG_LEN];
            if header.conn_id != self.conn_id || self.window.check(header.packet_no).is_err() {
                continue;
            }
            ensure!(
                self.s2c.verify(header.packet_no, signed, tag),
                "a datagram of the box has a wrong tag"
            );
            self.window.mark(header.packet_no);
            match header.kind {
                KIND_DATA => read_reports(all, payload.len(), body, at_ns, &mut matching)?,
                KIND_CONTROL => {
                    if let Ok(SessionMessage::Terminate(m)) = read_session_message(body) {
                        bail!("the box ended the session with reason {}", m.reason);
                    }
                }
                _ => {}
            }
        }
        Ok(matching.tally)
    }
}

/// Reads the reports of one datagram.
fn read_reports(
    all: &Prepared,
    len: usize,
    body: &[u8],
    at_ns: u64,
    matching: &mut Matching<'_>,
) -> anyhow::Result<()> {
    for message in datagram::messages(body) {
        let Some(report) = message.ok().and_then(|m| Report::decode(m).ok()) else {
            bail!("the box sent a report that this client does not know");
        };
        let number = answered(&report).and_then(|n| n.checked_sub(all.first_client_seq));
        let Some(i) = number.filter(|&i| i < matching.due.len() as u64) else {
            continue;
        };
        if !matching.answer(i as usize, at_ns) {
            continue;
        }
        matching.tally.bytes.1 = len;
        if let Report::Rejected(m) = &report {
            let name = RejectCode::from_wire(m.reason).map_or("unknown", RejectCode::name);
            *matching.tally.refused.entry(name).or_default() += 1;
        }
    }
    Ok(())
}
