//! Checkpoints: what the feed has said, hashed and signed, in a MoldUDP64 session of their own.

use super::PacketBuilder;
use super::day::FeedDay;
use firmware::units::TimeNs;
use firmware::wire::feed::FeedCheckpoint;
use firmware::wire::sbe::Message;
use handshake::{FeedHash, SecretKey, checkpoint_session, sign_checkpoint};

/// Makes and packs them.
pub(crate) struct Checkpoints {
    packet: PacketBuilder,
    key: SecretKey,
    feed_session: [u8; 10],
    interval_ns: u64,
    /// Number of the next message in the session.
    sequence: u64,
    checkpoint_no: u64,
    due: u64,
}

impl Checkpoints {
    /// One per `interval_ns`, about the feed `feed_session`; the session's numbers go on from `sequence`.
    pub(crate) fn new(
        session: [u8; 10],
        feed_session: [u8; 10],
        interval_ns: u64,
        sequence: u64,
        key: SecretKey,
    ) -> Self {
        Self {
            packet: PacketBuilder::new(session),
            key,
            feed_session,
            interval_ns,
            sequence,
            checkpoint_no: 0,
            due: 0,
        }
    }

    /// A packet without messages.
    pub(crate) fn bare(&mut self, count: u16) -> &[u8] {
        self.packet.clear();
        self.packet.finish_as(self.sequence, count)
    }

    /// Whether the next one is due.
    pub(crate) const fn is_due(&self, now: TimeNs) -> bool {
        now.0 >= self.due
    }

    /// The packet with the checkpoint of all that the day holds; the next range begins behind it.
    pub(crate) fn packet(&mut self, day: &mut FeedDay, now: TimeNs) -> &[u8] {
        self.due = now.0 + self.interval_ns;
        self.checkpoint_no += 1;
        let next = day.next();
        let checkpoint = FeedCheckpoint {
            checkpoint_no: self.checkpoint_no,
            timestamp: now.0,
            first_seq: day.range_first,
            last_seq: next - 1,
            engine_seq: day.state.engine_seq,
            batch_no: day.sealed.batch_no,
            running_hash: day.running.value(),
            range_hash: day.range.value(),
            ledger_digest: day.sealed.ledger_digest,
            feed_session: checkpoint_session(self.feed_session),
            signature: [0; 64],
        };
        day.range = FeedHash::new();
        day.range_first = next;
        let signed = sign_checkpoint(&self.key, &checkpoint);
        self.packet.clear();
        let fits = (self.packet).push(FeedCheckpoint::HEADER, bytemuck::bytes_of(&signed));
        assert!(fits, "a checkpoint fits a packet");
        let first = self.sequence;
        self.sequence += 1;
        self.packet.finish(first)
    }
}
