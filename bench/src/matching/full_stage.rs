//! Stage `full`: everything that the hot tile does to a request, from its datagram to its outcomes, one
//! request a datagram. Included: the frame's check, the connection, the anti-replay window, the tag
//! (AES-128-GMAC), the member's flow, the SBE decoding, the gate, the sequencer, the journal's record with
//! its CRC32C in the buffer of a group commit, and all of stage `engine`. Not included: the socket, clocks,
//! and what other tiles do: the journal's hash chain and its disk, the tags of the reports.

use super::course::{Course, Finish, Target};
use super::engine_stage::finish;
use super::recording::{MEMBERS, NOW, Recording, Venue};
use anyhow::{Result, ensure};
use firmware::gate::{Command, Gate};
use firmware::session::{Inbound, Offer, Window};
use firmware::tag::Suite;
use firmware::units::MemberId;
use firmware::wire::datagram::{self, DatagramBuilder, KIND_DATA};
use firmware::wire::journal::RecordHeader;
use firmware::wire::order::Request;
use handshake::TagKey;
use journal::{BATCH_BYTES_MAX, Record, encode_record};
use matcher::book::OrderBook;
use std::marker::PhantomData;
use std::ops::Range;

/// The key of each member's connection; the bench is both ends.
fn key_of(member: u32) -> TagKey {
    TagKey::new(Suite::Aes128Gmac, &[member as u8 | 0x40; 16], [7; 4])
}

/// The datagrams of a recording, as they come out of the socket.
pub(super) struct Datagrams {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Datagrams {
    /// Writes and tags one datagram a request.
    pub(super) fn of(recording: &Recording) -> Self {
        let keys: Vec<_> = (0..=MEMBERS).map(key_of).collect();
        let mut sent = vec![0u64; keys.len()];
        let mut builder = DatagramBuilder::new();
        let mut datagrams = Self {
            bytes: Vec::new(),
            places: Vec::with_capacity(recording.requests.len()),
        };
        for (member, request) in &recording.requests {
            let (key, sent) = (&keys[member.0 as usize], &mut sent[member.0 as usize]);
            *sent += 1;
            builder.clear();
            let fits = builder.push(request.header(), request.block());
            assert!(fits, "a request fits a datagram");
            let tag = |no, bytes: &[u8]| key.seal(no, bytes);
            let payload = builder.finish(KIND_DATA, member.0, *sent, *sent, 1, tag);
            let start = datagrams.bytes.len();
            datagrams.bytes.extend_from_slice(payload);
            datagrams.places.push(start..datagrams.bytes.len());
        }
        datagrams
    }

    pub(super) fn payloads(&self) -> Vec<&[u8]> {
        let places = self.places.iter().cloned();
        places.map(|place| &self.bytes[place]).collect()
    }
}

/// A member's connection and flow.
struct Connection {
    key: TagKey,
    window: Window,
    inbound: Inbound,
}

/// The venue with all that stands before the engine.
pub(super) struct Tile<B> {
    venue: Venue<B>,
    gate: Box<Gate>,
    connections: Vec<Connection>,
    /// The buffer of a group commit, and how much of it is filled.
    buffer: Box<[u8]>,
    filled: usize,
    /// Datagrams or requests that were dropped: none should be.
    dropped: u64,
}

impl<B: OrderBook> Tile<B> {
    /// What the hot tile does with a datagram. `None` drops it.
    #[inline]
    fn on_datagram(&mut self, payload: &[u8]) -> Option<()> {
        let (header, body, tag) = datagram::split(payload).ok()?;
        let member = MemberId(header.conn_id);
        let connection = self.connections.get_mut(member.0 as usize)?;
        let signed = &payload[..payload.len() - tag.len()];
        connection.window.check(header.packet_no).ok()?;
        if !connection.key.verify(header.packet_no, signed, tag) {
            return None;
        }
        connection.window.mark(header.packet_no);
        let count = datagram::messages(body).count() as u32;
        let offer = connection.inbound.offer(header.next_seq_no, count);
        let Offer::Apply { skip } = offer else {
            return None;
        };
        for (i, message) in datagram::messages(body).enumerate().skip(skip as usize) {
            let request = Request::decode(message.ok()?).ok()?;
            self.on_request(&Command {
                member,
                client_seq: header.next_seq_no + i as u64,
                rx_time: NOW,
                request,
            });
        }
        Some(())
    }

    #[inline]
    fn on_request(&mut self, command: &Command) {
        let checked = self.gate.check(command, NOW);
        let sequencer = &mut self.venue.sequencer;
        let input = match &checked {
            Ok(admitted) => sequencer.admit(admitted, NOW),
            Err(refused) => sequencer.session(command.member, refused, NOW),
        };
        let record = Record {
            seq: input.seq().0,
            time_ns: input.time().0,
            template: input.input().template(),
            source: 1,
            session: input.member().0,
            body: input.input().bytes(),
        };
        let len = RecordHeader::record_len(record.body.len());
        if self.filled + len > self.buffer.len() {
            self.filled = 0;
        }
        encode_record(&record, &mut self.buffer[self.filled..self.filled + len]);
        self.filled += len;
        self.venue.engine.apply(&input, &mut self.venue.out);
        self.venue.tally.read(&self.venue.out);
    }
}

impl<'a, B: OrderBook> Target<&'a [u8]> for Tile<B> {
    #[inline]
    fn apply(&mut self, payload: &&'a [u8]) {
        if self.on_datagram(payload).is_none() {
            self.dropped += 1;
        }
    }
}

/// The datagrams through a venue over the book `B`.
pub(super) struct FullCourse<'a, B> {
    pub(super) recording: &'a Recording,
    pub(super) payloads: &'a [&'a [u8]],
    pub(super) book: PhantomData<B>,
}

impl<'a, B: OrderBook> Course for FullCourse<'a, B> {
    type Command = &'a [u8];
    type Run = Tile<B>;

    fn start(&self) -> Result<Tile<B>> {
        let connection = |member| Connection {
            key: key_of(member),
            window: Window::new(),
            inbound: Inbound::default(),
        };
        Ok(Tile {
            venue: self.recording.venue()?,
            gate: self.recording.gate(),
            connections: (0..=MEMBERS).map(connection).collect(),
            buffer: std::hint::black_box(vec![0; BATCH_BYTES_MAX]).into(),
            filled: 0,
            dropped: 0,
        })
    }

    fn warmup(&self) -> &[&'a [u8]] {
        &self.payloads[..self.recording.warmup]
    }

    fn timed(&self) -> &[&'a [u8]] {
        &self.payloads[self.recording.warmup..]
    }

    fn finish(&self, run: Tile<B>) -> Result<Finish> {
        ensure!(run.dropped == 0, "{} datagrams were dropped", run.dropped);
        Ok(finish(&run.venue))
    }
}
