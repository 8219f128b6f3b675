//! Market data beside the hot tile: the day's feed, kept by a tile of its own.
//!
//! The hot tile numbers, packs and sends the feed, and hands each packet over by a lane. All else is made here
//! from those packets, that is from what any receiver has: the store that answers re-requests for the whole day, the books
//! behind the snapshots, the hashes behind the signed checkpoints. So none of it can hold up an order, and a
//! snapshot equals what a receiver without loss has.
//!
//! ```text
//!  hot ── packets 2,048 ──► day ─┬─ store: messages of the day ──► answers to re-requests
//!                                ├─ state: books, marks, states ──► snapshot cycles
//!  seal ── batch digests ──────► └─ hashes ──► signed checkpoints
//! ```

mod checkpoints;
pub mod config;
mod day;
mod desk;
mod orders;
mod requests;
mod snapshots;
mod state;
mod store;
mod tile;

pub use day::{FeedDay, SealedNote};
pub use desk::{Desk, FeedCounters, REQUESTS};
pub use tile::FeedTile;

use firmware::limits::FEED_PAYLOAD_MAX;
use firmware::wire::mold::{HEADER_LEN, MoldHeader};
use firmware::wire::sbe::MessageHeader;

/// Depth of the lane from the hot tile, packets. What does not fit stays in the hot tile's log for a while.
pub const PACKETS_DEPTH: usize = 2_048;

/// A packet of the feed on its way from the hot tile, by value.
#[derive(Clone, Copy)]
pub struct FeedPacket {
    len: u16,
    bytes: [u8; FEED_PAYLOAD_MAX],
}

impl FeedPacket {
    /// A copy of a packet.
    ///
    /// # Panics
    /// When it is longer than any packet of the feed.
    #[must_use]
    pub fn new(packet: &[u8]) -> Self {
        let mut bytes = [0; FEED_PAYLOAD_MAX];
        bytes[..packet.len()].copy_from_slice(packet);
        Self {
            len: packet.len() as u16,
            bytes,
        }
    }

    /// The packet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// A MoldUDP64 packet that is being filled.
pub struct PacketBuilder {
    session: [u8; 10],
    bytes: Vec<u8>,
    count: u16,
}

impl PacketBuilder {
    /// An empty packet of a session. All its memory is taken here.
    #[must_use]
    pub fn new(session: [u8; 10]) -> Self {
        let mut bytes = Vec::with_capacity(FEED_PAYLOAD_MAX);
        bytes.resize(HEADER_LEN, 0);
        Self {
            session,
            bytes,
            count: 0,
        }
    }

    /// Name of the session.
    #[must_use]
    pub const fn session(&self) -> [u8; 10] {
        self.session
    }

    /// Messages in the packet.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Bytes that are free.
    #[must_use]
    pub const fn room(&self) -> usize {
        FEED_PAYLOAD_MAX - self.bytes.len()
    }

    /// Empties the packet.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER_LEN);
        self.count = 0;
    }

    /// Adds a message; `false` when it does not fit.
    pub fn push(&mut self, header: MessageHeader, block: &[u8]) -> bool {
        let len = size_of::<MessageHeader>() + block.len();
        if 2 + len > self.room() {
            return false;
        }
        self.bytes.extend_from_slice(&(len as u16).to_be_bytes());
        self.bytes.extend_from_slice(bytemuck::bytes_of(&header));
        self.bytes.extend_from_slice(block);
        self.count += 1;
        true
    }

    /// Adds messages that are framed already, as they stand in the store.
    fn push_framed(&mut self, blocks: &[u8], count: u16) {
        assert!(blocks.len() <= self.room(), "the store keeps to the room");
        self.bytes.extend_from_slice(blocks);
        self.count += count;
    }

    /// The packet, its first message being number `sequence`.
    pub fn finish(&mut self, sequence: u64) -> &[u8] {
        self.finish_as(sequence, self.count)
    }

    /// The packet with another count than that of its messages: a heartbeat or an end of session.
    pub fn finish_as(&mut self, sequence: u64, count: u16) -> &[u8] {
        let header = MoldHeader {
            session: self.session,
            sequence,
            count,
        };
        self.bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        &self.bytes
    }
}
