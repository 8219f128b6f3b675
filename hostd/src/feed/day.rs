//! The day's feed: store, state and hashes, brought forward message by message.

use super::state::State;
use super::store::Store;
use anyhow::bail;
use firmware::wire::feed::FeedMessage;
use firmware::wire::mold::{END_OF_SESSION, HEADER_LEN, MoldHeader, blocks};
use handshake::FeedHash;
use matcher::outbox::{Outbox, Outcome};
use std::path::Path;

/// A sealed batch that was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct SealedNote {
    /// From 1; zero before the first.
    pub batch_no: u64,
    /// Digest of the ledger at the seal.
    pub ledger_digest: [u8; 32],
}

/// Everything that the feed tile knows.
pub struct FeedDay {
    pub(super) store: Store,
    pub(super) state: State,
    pub(super) running: FeedHash,
    pub(super) range: FeedHash,
    /// First message of the range that `range` is the hash of.
    pub(super) range_first: u64,
    pub(super) sealed: SealedNote,
    pub(super) is_ended: bool,
}

impl FeedDay {
    /// The day before its first message, with room for as many resting `orders` as the engine has; the store
    /// is made in `dir`.
    ///
    /// # Errors
    /// When the store cannot be made.
    pub fn begin(dir: &Path, orders: u32) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::create(dir)?,
            state: State::new(orders),
            running: FeedHash::new(),
            range: FeedHash::new(),
            range_first: 1,
            sealed: SealedNote::default(),
            is_ended: false,
        })
    }

    /// Number of the next message.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.store.next()
    }

    /// Takes what a replayed record caused.
    ///
    /// # Errors
    /// When the store fails, or a batch cannot be read.
    pub fn replay(&mut self, outbox: &Outbox) -> anyhow::Result<()> {
        for outcome in outbox.outcomes() {
            if let Outcome::Feed(message) = outcome {
                let mut bytes = [0; 256];
                let (header, block) = (message.header(), message.block());
                let len = HEADER + block.len();
                bytes[..HEADER].copy_from_slice(bytemuck::bytes_of(&header));
                bytes[HEADER..len].copy_from_slice(block);
                self.take(&bytes[..len], message)?;
            }
        }
        for bytes in outbox.sealed() {
            let batch = matcher::batch::decode(bytes)?;
            self.sealed = SealedNote {
                batch_no: batch.batch_no,
                ledger_digest: batch.state_hash,
            };
        }
        Ok(())
    }

    /// Takes a packet of the feed.
    ///
    /// # Errors
    /// When the store fails, or the packet does not follow.
    pub fn packet(&mut self, packet: &[u8]) -> anyhow::Result<()> {
        let Some((header, rest)) = MoldHeader::decode(packet) else {
            bail!("a packet of the feed of {} bytes", packet.len());
        };
        if header.sequence != self.next() {
            bail!(
                "feed message {} came, {} is next",
                header.sequence,
                self.next()
            );
        }
        if header.count == END_OF_SESSION {
            self.is_ended = true;
            return Ok(());
        }
        for bytes in blocks(rest) {
            let message = FeedMessage::decode(bytes)
                .map_err(|e| anyhow::anyhow!("feed message {}: {e}", self.next()))?;
            self.take(bytes, &message)?;
        }
        if self.next() != header.sequence + u64::from(header.count) {
            bail!("a packet of the feed is cut short");
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], message: &FeedMessage) -> anyhow::Result<()> {
        self.store.push(bytes)?;
        self.running.push(bytes);
        self.range.push(bytes);
        self.state.take(message);
        Ok(())
    }
}

/// Bytes of an SBE header.
const HEADER: usize = firmware::wire::sbe::HEADER_LEN;
const _: () = assert!(HEADER_LEN + 2 + HEADER < firmware::limits::FEED_PAYLOAD_MAX);
