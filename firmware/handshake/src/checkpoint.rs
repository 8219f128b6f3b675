//! Feed checkpoints: the venue signs what the feed has said, and a receiver checks it.

use crate::{DOMAIN_CHECKPOINT, PublicKey, SecretKey};
use core::mem::offset_of;
use firmware::wire::feed::FeedCheckpoint;
use firmware::wire::sbe::MessageHeader;

fn signed_part(checkpoint: &FeedCheckpoint) -> &[u8] {
    &bytemuck::bytes_of(checkpoint)[..offset_of!(FeedCheckpoint, signature)]
}

/// The checkpoint with its signature filled in.
#[must_use]
pub fn sign_checkpoint(key: &SecretKey, checkpoint: &FeedCheckpoint) -> FeedCheckpoint {
    FeedCheckpoint {
        signature: key.sign(DOMAIN_CHECKPOINT, signed_part(checkpoint)),
        ..*checkpoint
    }
}

/// Whether `key` signed the checkpoint. That the hashes are those of the messages is the caller's to check.
#[must_use]
pub fn verify_checkpoint(key: &PublicKey, checkpoint: &FeedCheckpoint) -> bool {
    key.verify(
        DOMAIN_CHECKPOINT,
        signed_part(checkpoint),
        &checkpoint.signature,
    )
}

/// Name of a feed session as a checkpoint holds it.
#[must_use]
pub fn checkpoint_session(session: [u8; 10]) -> [u8; 16] {
    let mut padded = [0; 16];
    padded[..10].copy_from_slice(&session);
    padded
}

/// Bytes that are hashed together: BLAKE3 takes whole kilobytes side by side, several times as fast as one by one.
const TOGETHER: usize = 16 << 10;

/// BLAKE3 over messages as the packets hold them: `length u16 big-endian | message`, one after the other.
#[derive(Clone, Debug, Default)]
pub struct FeedHash {
    hasher: blake3::Hasher,
    /// Not hashed yet; less than [`TOGETHER`].
    waiting: Vec<u8>,
}

impl FeedHash {
    /// The hash of no messages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message, from its SBE header on.
    ///
    /// # Panics
    /// When it is longer than any packet.
    pub fn push(&mut self, message: &[u8]) {
        let len = u16::try_from(message.len()).expect("a message fits a packet");
        self.add(&len.to_be_bytes());
        self.add(message);
    }

    /// Adds a message, put together from its SBE header and its block.
    pub fn push_parts(&mut self, header: MessageHeader, block: &[u8]) {
        let len = (size_of::<MessageHeader>() + block.len()) as u16;
        self.add(&len.to_be_bytes());
        self.add(bytemuck::bytes_of(&header));
        self.add(block);
    }

    /// Adds messages that are framed already, as they stand in packets.
    pub fn push_framed(&mut self, blocks: &[u8]) {
        self.add(blocks);
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn value(&self) -> [u8; 32] {
        let mut all = self.hasher.clone();
        all.update(&self.waiting);
        *all.finalize().as_bytes()
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while self.waiting.len() + bytes.len() >= TOGETHER {
            let (now, later) = bytes.split_at(TOGETHER - self.waiting.len());
            self.waiting.extend_from_slice(now);
            self.hasher.update(&self.waiting);
            self.waiting.clear();
            bytes = later;
        }
        self.waiting.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use firmware::wire::sbe::Message;

    #[test]
    fn each_bit_of_a_checkpoint_is_signed() {
        let key = SecretKey::from_seed(&[3; 32]);
        let checkpoint = FeedCheckpoint {
            checkpoint_no: 7,
            last_seq: 1_000,
            running_hash: [5; 32],
            feed_session: checkpoint_session(*b"20261120A1"),
            ..FeedCheckpoint::zeroed()
        };
        let checkpoint = sign_checkpoint(&key, &checkpoint);
        assert!(verify_checkpoint(&key.public(), &checkpoint));
        for bit in 0..size_of::<FeedCheckpoint>() * 8 {
            let mut flipped = checkpoint;
            bytemuck::bytes_of_mut(&mut flipped)[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify_checkpoint(&key.public(), &flipped), "bit {bit}");
        }
        let other = SecretKey::from_seed(&[4; 32]).public();
        assert!(!verify_checkpoint(&other, &checkpoint));
    }

    #[test]
    fn the_hash_is_blake3_of_lengths_and_messages() {
        let mut hash = FeedHash::new();
        assert_eq!(hash.value(), *blake3::hash(b"").as_bytes());
        hash.push(b"abc");
        hash.push(b"");
        assert_eq!(hash.value(), *blake3::hash(b"\0\x03abc\0\0").as_bytes());
        let message = FeedCheckpoint::zeroed();
        let (mut parts, mut whole) = (hash.clone(), hash);
        let bytes = [
            bytemuck::bytes_of(&FeedCheckpoint::HEADER),
            bytemuck::bytes_of(&message),
        ];
        whole.push(&bytes.concat());
        parts.push_parts(FeedCheckpoint::HEADER, bytes[1]);
        assert_eq!(parts.value(), whole.value());
    }

    #[test]
    fn the_hash_does_not_depend_on_how_the_bytes_came() {
        let bytes: Vec<u8> = (0..5 * TOGETHER + 77).map(|i| (i * i / 7) as u8).collect();
        let want = *blake3::hash(&bytes).as_bytes();
        for step in [
            1,
            59,
            1_024,
            TOGETHER - 1,
            TOGETHER,
            TOGETHER + 1,
            bytes.len(),
        ] {
            let mut hash = FeedHash::new();
            for (i, part) in bytes.chunks(step).enumerate() {
                hash.push_framed(part);
                if i % 1_000 == 3 {
                    let so_far = &bytes[..(i + 1) * step];
                    assert_eq!(hash.value(), *blake3::hash(so_far).as_bytes());
                }
            }
            assert_eq!(hash.value(), want, "{step} at a time");
        }
    }
}
