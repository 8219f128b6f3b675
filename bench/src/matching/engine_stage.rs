//! Stage `engine`: a recorded run of sequenced inputs through the real engine. Included: every check of the
//! engine (collar, position limit, margin in 27 scenarios), self-trade prevention, matching, positions,
//! cash and fees, the open batch and its seals, reports and feed messages written to the outbox as they
//! stand on the wire, and one look at each of them. Not included: what the sides of the engine do (see
//! stage `full`), and the journal.

use super::course::{Course, Finish, Target, book_hash};
use super::recording::{INSTRUMENT, NOW, Recording, Venue};
use anyhow::Result;
use firmware::gate;
use firmware::units::MemberId;
use matcher::book::OrderBook;
use matcher::sequencer::{Sequenced, Sequencer};
use std::marker::PhantomData;

/// The bodies of the inputs, as the gate admitted them, aligned as a journal's reader aligns them.
pub(super) struct Inputs {
    words: Vec<u64>,
    heads: Vec<Head>,
}

#[derive(Clone, Copy)]
struct Head {
    at: usize,
    len: usize,
    template: u16,
    member: MemberId,
}

impl Inputs {
    /// Puts the requests through the gate.
    pub(super) fn of(recording: &Recording) -> Self {
        let mut gate = recording.gate();
        let mut sequencer = Sequencer::new();
        let mut inputs = Self {
            words: Vec::new(),
            heads: Vec::with_capacity(recording.requests.len()),
        };
        for (i, (member, request)) in recording.requests.iter().enumerate() {
            let command = gate::Command {
                member: *member,
                client_seq: i as u64 + 1,
                rx_time: NOW,
                request: *request,
            };
            let checked = gate.check(&command, NOW);
            let input = match &checked {
                Ok(admitted) => sequencer.admit(admitted, NOW),
                Err(refused) => sequencer.session(*member, refused, NOW),
            };
            let (bytes, at) = (input.input().bytes(), inputs.words.len());
            inputs.words.resize(at + bytes.len().div_ceil(8), 0);
            bytemuck::cast_slice_mut(&mut inputs.words[at..])[..bytes.len()].copy_from_slice(bytes);
            inputs.heads.push(Head {
                at,
                len: bytes.len(),
                template: input.input().template(),
                member: *member,
            });
        }
        inputs
    }

    /// The inputs numbered as they come after those that set up the venue.
    pub(super) fn sequenced(&self, mut after: Sequencer) -> Result<Vec<Sequenced<'_>>> {
        let next = after.next_seq().0;
        let inputs = self.heads.iter().enumerate().map(|(i, h)| {
            let bytes: &[u8] = bytemuck::cast_slice(&self.words[h.at..]);
            let (seq, body) = (next + i as u64, &bytes[..h.len]);
            after.replay(seq, NOW.0, h.template, h.member.0, body)
        });
        Ok(inputs.collect::<Result<_, _>>()?)
    }
}

/// The inputs through an engine over the book `B`.
pub(super) struct EngineCourse<'a, B> {
    pub(super) recording: &'a Recording,
    pub(super) inputs: &'a [Sequenced<'a>],
    pub(super) book: PhantomData<B>,
}

impl<'a, B: OrderBook> Target<Sequenced<'a>> for Venue<B> {
    #[inline]
    fn apply(&mut self, input: &Sequenced<'a>) {
        self.engine.apply(input, &mut self.out);
        self.tally.read(&self.out);
    }
}

impl<'a, B: OrderBook> Course for EngineCourse<'a, B> {
    type Command = Sequenced<'a>;
    type Run = Venue<B>;

    fn start(&self) -> Result<Venue<B>> {
        self.recording.venue()
    }

    fn warmup(&self) -> &[Sequenced<'a>] {
        &self.inputs[..self.recording.warmup]
    }

    fn timed(&self) -> &[Sequenced<'a>] {
        &self.inputs[self.recording.warmup..]
    }

    fn finish(&self, venue: Venue<B>) -> Result<Finish> {
        Ok(finish(&venue))
    }
}

/// What a run came to.
pub(super) fn finish<B: OrderBook>(venue: &Venue<B>) -> Finish {
    venue.engine.assert_conserved();
    let hash = venue.engine.state_hash();
    Finish {
        totals: venue.tally.totals,
        book_hash: book_hash(venue.engine.book(), INSTRUMENT),
        live: venue.engine.book().live() as u64,
        rejects: venue.tally.rejects,
        batches: venue.tally.batches,
        state_hash: Some(blake3::Hash::from_bytes(hash).to_hex().to_string()),
    }
}
