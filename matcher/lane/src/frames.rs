//! A lane whose items are as long as they are: a few words of head and a body of bytes. What comes off the network
//! has many sizes, and a slot that holds the longest would be copied whole for the shortest.
//!
//! ```text
//! word 0        1 .. HEAD      then
//! body's bytes  head           body, zero padded to a word
//! ```

use crate::queue::rtrb;

/// Words of a frame's head.
pub const FRAME_HEAD: usize = 4;

/// The sending end of a lane of frames. Lives on one tile.
pub struct FrameProducer {
    ring: rtrb::Producer<u64>,
    /// Where a frame is put together, so that the receiver sees it whole or not at all.
    frame: Box<[u64]>,
}

/// The receiving end of a lane of frames. Lives on one tile.
pub struct FrameConsumer {
    ring: rtrb::Consumer<u64>,
    /// The frame taken last.
    frame: Box<[u64]>,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the lane has no room for the frame")]
pub struct FrameFull;

/// Words that a frame with a body of `bytes` takes up in its lane.
#[must_use]
pub const fn frame_words(bytes: usize) -> usize {
    1 + FRAME_HEAD + bytes.div_ceil(size_of::<u64>())
}

/// A lane of `words` for frames whose bodies have at most `body_max` bytes; all its memory is taken here.
///
/// # Panics
/// If not even one of the longest frames fits.
#[must_use]
pub fn frames(words: usize, body_max: usize) -> (FrameProducer, FrameConsumer) {
    let longest = frame_words(body_max);
    assert!(words >= longest, "a lane holds at least one frame");
    let (tx, rx) = rtrb::RingBuffer::new(words);
    let frame = || vec![0; longest].into_boxed_slice();
    (
        FrameProducer {
            ring: tx,
            frame: frame(),
        },
        FrameConsumer {
            ring: rx,
            frame: frame(),
        },
    )
}

impl FrameProducer {
    /// Appends a frame. Like an item of a [lane](crate::bounded) it wakes nobody.
    ///
    /// # Errors
    /// When there is no room; the lane is as before.
    ///
    /// # Panics
    /// If `body` is longer than the lane was made for.
    #[inline]
    pub fn push(&mut self, head: [u64; FRAME_HEAD], body: &[u8]) -> Result<(), FrameFull> {
        let words = frame_words(body.len());
        let frame = &mut self.frame[..words];
        frame[0] = body.len() as u64;
        frame[1..=FRAME_HEAD].copy_from_slice(&head);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut frame[1 + FRAME_HEAD..]);
        let (filled, padding) = bytes.split_at_mut(body.len());
        filled.copy_from_slice(body);
        padding.fill(0);
        self.ring.push_entire_slice(frame).map_err(|_| FrameFull)
    }

    /// Words that surely fit now.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.ring.slots()
    }

    /// Whether so many words fit now; see [`Producer::has_room`](crate::Producer::has_room).
    #[inline]
    #[must_use]
    pub fn has_room(&self, words: usize) -> bool {
        self.ring.cached_slots() >= words || self.ring.slots() >= words
    }

    /// The other end is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl FrameConsumer {
    /// Takes the oldest frame: its head and its body.
    #[inline]
    pub fn pop(&mut self) -> Option<([u64; FRAME_HEAD], &[u8])> {
        let len = *self.ring.peek().ok()? as usize;
        let frame = &mut self.frame[..frame_words(len)];
        // The sender publishes all words of a frame at once.
        let taken = self.ring.pop_entire_slice(frame);
        assert!(taken.is_ok(), "a frame is in the lane whole");
        let mut head = [0; FRAME_HEAD];
        head.copy_from_slice(&frame[1..=FRAME_HEAD]);
        let body: &[u8] = bytemuck::cast_slice(&frame[1 + FRAME_HEAD..]);
        Some((head, &body[..len]))
    }

    /// Nothing to take; read freshly, so it may stand between [`Parker::announce`](crate::Parker::announce) and sleep.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Words that wait.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.slots()
    }

    /// The other end is gone; what it pushed before can still be taken.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{FRAME_HEAD, FrameFull, frame_words, frames};

    #[test]
    fn frames_of_every_length_come_out_as_they_went_in_wherever_the_ring_ends() {
        let longest = 40;
        let (mut tx, mut rx) = frames(2 * frame_words(longest) + 1, longest);
        let body: Vec<u8> = (1..=longest as u8).collect();
        for n in 0..1_000_u64 {
            let lengths = [n as usize % (longest + 1), (7 * n) as usize % (longest + 1)];
            for (i, len) in lengths.into_iter().enumerate() {
                let head = [n, i as u64, u64::MAX, 0];
                assert_eq!(tx.push(head, &body[..len]), Ok(()));
            }
            for (i, len) in lengths.into_iter().enumerate() {
                let (head, got) = rx.pop().unwrap();
                assert_eq!(head, [n, i as u64, u64::MAX, 0]);
                assert_eq!(got, &body[..len]);
            }
            assert!(rx.pop().is_none() && rx.is_empty());
        }
    }

    #[test]
    fn a_frame_that_does_not_fit_changes_nothing() {
        let (mut tx, mut rx) = frames(frame_words(8) + frame_words(0), 8);
        tx.push([1; FRAME_HEAD], &[1; 8]).unwrap();
        assert_eq!(tx.push([2; FRAME_HEAD], &[2]), Err(FrameFull));
        assert_eq!((tx.room(), rx.len()), (frame_words(0), frame_words(8)));
        tx.push([3; FRAME_HEAD], &[]).unwrap();
        assert_eq!(tx.room(), 0);
        assert_eq!(rx.pop(), Some(([1; FRAME_HEAD], [1; 8].as_slice())));
        assert_eq!(rx.pop(), Some(([3; FRAME_HEAD], [].as_slice())));
        drop(tx);
        assert!(rx.is_abandoned() && rx.pop().is_none());
    }

    #[test]
    fn frames_cross_threads_whole() {
        let (mut tx, mut rx) = frames(frame_words(64) + 3, 64);
        let sender = std::thread::spawn(move || {
            for n in 0..20_000_u64 {
                let body = [n as u8; 64];
                while tx.push([n; FRAME_HEAD], &body[..n as usize % 65]).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        for n in 0..20_000_u64 {
            loop {
                if let Some((head, body)) = rx.pop() {
                    assert_eq!((head, body.len()), ([n; FRAME_HEAD], n as usize % 65));
                    assert!(body.iter().all(|b| *b == n as u8));
                    break;
                }
                std::thread::yield_now();
            }
        }
        sender.join().unwrap();
    }
}
