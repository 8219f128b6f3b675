//! Checks the feed against the venue's signed checkpoints.

use firmware::wire::feed::{CheckpointMessage, FeedCheckpoint};
use handshake::{FeedHash, PublicKey, checkpoint_session, verify_checkpoint};
use std::collections::VecDeque;

/// Messages kept for the next checkpoint.
const HELD_MAX: usize = 1 << 18;
/// Checkpoints that wait for messages.
const PENDING_MAX: usize = 16;

/// What a checkpoint says of the messages that were delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// All messages of the session up to the checkpoint are those that the venue signed.
    Session,
    /// The messages since the checkpoint before are those that the venue signed; earlier ones were not seen.
    Range,
    /// Its range is empty, or not all messages of it were seen: it says nothing.
    Unseen,
    /// The venue signed other messages than those that came: keep both, they are a proof.
    Different,
}

/// Hashes what is delivered, and compares.
pub(crate) struct Verifier {
    venue: PublicKey,
    /// Hash of all messages up to `hashed`; `None` when some were not seen.
    running: Option<FeedHash>,
    hashed: u64,
    /// Messages behind `hashed`.
    held: VecDeque<(u64, Vec<u8>)>,
    pending: VecDeque<FeedCheckpoint>,
}

impl Verifier {
    pub(crate) fn new(venue: PublicKey) -> Self {
        Self {
            venue,
            running: Some(FeedHash::new()),
            hashed: 0,
            held: VecDeque::new(),
            pending: VecDeque::new(),
        }
    }

    /// Takes the next message.
    pub(crate) fn message(&mut self, seq: u64, bytes: Vec<u8>) {
        self.held.push_back((seq, bytes));
        if self.held.len() > HELD_MAX {
            self.hash_one();
        }
    }

    /// Messages before `next` were not seen.
    pub(crate) fn miss(&mut self, next: u64) {
        self.running = None;
        self.held.clear();
        self.hashed = next - 1;
    }

    fn hash_one(&mut self) {
        if let Some((seq, bytes)) = self.held.pop_front() {
            self.hashed = seq;
            if let Some(running) = &mut self.running {
                running.push(&bytes);
            }
        }
    }

    /// Takes a message of the checkpoint session; `false` when it is not the venue's word on this feed.
    pub(crate) fn checkpoint(&mut self, bytes: &[u8], session: [u8; 10]) -> bool {
        let Ok(CheckpointMessage::FeedCheckpoint(c)) = CheckpointMessage::decode(bytes) else {
            return false;
        };
        let is_good = c.feed_session == checkpoint_session(session)
            && c.first_seq > 0
            && c.last_seq >= c.first_seq - 1
            && verify_checkpoint(&self.venue, &c);
        if is_good && self.pending.iter().all(|p| p.last_seq != c.last_seq) {
            if self.pending.len() == PENDING_MAX {
                self.pending.pop_front();
            }
            let at = self.pending.partition_point(|p| p.last_seq < c.last_seq);
            self.pending.insert(at, c);
        }
        is_good
    }

    /// The next verdict, `next` being the number of the message that is delivered next.
    pub(crate) fn verdict(&mut self, next: u64) -> Option<(FeedCheckpoint, Verdict)> {
        let c = *self.pending.front().filter(|c| c.last_seq < next)?;
        self.pending.pop_front();
        if c.last_seq < self.hashed {
            return Some((c, Verdict::Unseen));
        }
        let has_range = c.first_seq > self.hashed;
        let mut range = FeedHash::new();
        let is_within = |seq: &u64| (c.first_seq..=c.last_seq).contains(seq);
        for (_, bytes) in self.held.iter().filter(|(seq, _)| is_within(seq)) {
            range.push(bytes);
        }
        while self.held.front().is_some_and(|(seq, _)| *seq <= c.last_seq) {
            self.hash_one();
        }
        let range_differs = has_range && range.value() != c.range_hash;
        let verdict = match &self.running {
            Some(running) if running.value() != c.running_hash || range_differs => {
                Verdict::Different
            }
            Some(_) => Verdict::Session,
            None if range_differs => Verdict::Different,
            None if has_range && c.first_seq <= c.last_seq => Verdict::Range,
            None => Verdict::Unseen,
        };
        Some((c, verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use firmware::wire::sbe::Message;
    use handshake::{SecretKey, sign_checkpoint};

    const SESSION: [u8; 10] = *b"20261120A1";

    fn key() -> SecretKey {
        SecretKey::from_seed(&[7; 32])
    }

    fn message(n: u64) -> Vec<u8> {
        vec![n as u8; 30 + (n % 7) as usize]
    }

    fn hash(range: std::ops::RangeInclusive<u64>) -> [u8; 32] {
        let mut hash = FeedHash::new();
        range.for_each(|n| hash.push(&message(n)));
        hash.value()
    }

    fn checkpoint(first_seq: u64, last_seq: u64) -> FeedCheckpoint {
        let c = FeedCheckpoint {
            first_seq,
            last_seq,
            running_hash: hash(1..=last_seq),
            range_hash: hash(first_seq..=last_seq),
            feed_session: checkpoint_session(SESSION),
            ..FeedCheckpoint::zeroed()
        };
        sign_checkpoint(&key(), &c)
    }

    fn give(v: &mut Verifier, c: &FeedCheckpoint) -> bool {
        let bytes = [
            bytemuck::bytes_of(&FeedCheckpoint::HEADER),
            bytemuck::bytes_of(c),
        ];
        v.checkpoint(&bytes.concat(), SESSION)
    }

    fn verdicts(v: &mut Verifier, next: u64) -> Vec<(u64, Verdict)> {
        let all = std::iter::from_fn(|| v.verdict(next));
        all.map(|(c, verdict)| (c.last_seq, verdict)).collect()
    }

    #[test]
    fn checkpoints_of_the_whole_session_verify_early_late_lost_and_out_of_order() {
        let mut v = Verifier::new(key().public());
        assert!(give(&mut v, &checkpoint(1, 10)));
        assert!(give(&mut v, &checkpoint(21, 30)), "11 to 20 is lost");
        for n in 1..=25 {
            v.message(n, message(n));
        }
        assert_eq!(verdicts(&mut v, 26), [(10, Verdict::Session)]);
        (26..=40).for_each(|n| v.message(n, message(n)));
        assert!(give(&mut v, &checkpoint(31, 35)));
        assert!(give(&mut v, &checkpoint(1, 10)), "again");
        assert_eq!(
            verdicts(&mut v, 41),
            [
                (10, Verdict::Session),
                (30, Verdict::Session),
                (35, Verdict::Session)
            ]
        );
        assert!(give(&mut v, &checkpoint(36, 35)), "nothing was said since");
        assert_eq!(verdicts(&mut v, 41), [(35, Verdict::Session)]);
    }

    #[test]
    fn who_came_late_verifies_ranges() {
        let mut v = Verifier::new(key().public());
        v.miss(15);
        (15..=40).for_each(|n| v.message(n, message(n)));
        for c in [checkpoint(11, 20), checkpoint(21, 30), checkpoint(31, 40)] {
            assert!(give(&mut v, &c));
        }
        assert_eq!(
            verdicts(&mut v, 41),
            [
                (20, Verdict::Unseen),
                (30, Verdict::Range),
                (40, Verdict::Range)
            ]
        );
    }

    #[test]
    fn another_message_or_signature_shows() {
        for wrong in 1..=20 {
            let mut v = Verifier::new(key().public());
            for n in 1..=20 {
                let mut bytes = message(n);
                bytes[9] ^= u8::from(n == wrong);
                v.message(n, bytes);
            }
            give(&mut v, &checkpoint(1, 10));
            give(&mut v, &checkpoint(11, 20));
            let first = if wrong <= 10 {
                Verdict::Different
            } else {
                Verdict::Session
            };
            let want = [(10, first), (20, Verdict::Different)];
            assert_eq!(verdicts(&mut v, 21), want, "{wrong}");
        }
        let mut v = Verifier::new(key().public());
        let mut c = checkpoint(1, 10);
        c.signature[3] ^= 1;
        assert!(!give(&mut v, &c) && !v.checkpoint(b"", SESSION));
        let good = checkpoint(1, 10);
        let bytes = [
            bytemuck::bytes_of(&FeedCheckpoint::HEADER),
            bytemuck::bytes_of(&good),
        ];
        assert!(!v.checkpoint(&bytes.concat(), *b"20261120A2"));
        assert_eq!(verdicts(&mut v, 100), []);
    }
}
