//! The day's feed: store, state and hashes, brought forward message by message.

use super::state::State;
use super::store::Store;
use anyhow::{bail, ensure};
use firmware::wire::feed::FeedMessage;
use firmware::wire::mold::{END_OF_SESSION, HEADER_LEN, MoldHeader, blocks};
use handshake::FeedHash;
use matcher::outbox::{Outbox, Outcome};
use matcher::snapshot::{Sink, Source};
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
    /// is made anew in `dir`.
    ///
    /// # Errors
    /// When the store cannot be made.
    pub fn begin(dir: &Path, orders: u32) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::rewrite(dir)?,
            state: State::new(orders),
            running: FeedHash::new(),
            range: FeedHash::new(),
            range_first: 1,
            sealed: SealedNote::default(),
            is_ended: false,
        })
    }

    /// The day as it was saved; the store in `dir` goes on behind its last message.
    ///
    /// # Errors
    /// When the bytes are not those of a day, or the store does not hold what was said.
    pub fn resume(dir: &Path, orders: u32, from: &mut impl Source) -> anyhow::Result<Self> {
        let saved = Saved::read(from)?;
        let state = State::load(orders, from)?;
        let (store, running) = Store::resume(dir, saved.messages, saved.bytes)?;
        ensure!(
            running.value() == saved.hash,
            "the feed's store in {} is damaged: its first {} messages have another hash",
            dir.display(),
            saved.messages
        );
        Ok(Self {
            store,
            state,
            // As after a start from the first record: the first checkpoint is about all messages.
            range: running.clone(),
            running,
            range_first: 1,
            sealed: saved.sealed,
            is_ended: false,
        })
    }

    /// Hash of the messages that a day had said when it was saved, out of the store in `dir`.
    ///
    /// # Errors
    /// As for [`Self::resume`].
    pub fn hash_of(dir: &Path, from: &mut impl Source) -> anyhow::Result<FeedHash> {
        let saved = Saved::read(from)?;
        let hash = super::store::check(dir, saved.messages, saved.bytes)?;
        ensure!(hash.value() == saved.hash, "the feed's store is damaged");
        Ok(hash)
    }

    /// Writes the day between two records.
    pub fn save(&self, to: &mut impl Sink) {
        assert!(self.state.is_whole(), "a record's messages end together");
        to.part(PART);
        to.pod(&(self.next() - 1));
        to.pod(&self.store.bytes());
        to.put(&self.running.value());
        to.pod(&self.sealed.batch_no);
        to.put(&self.sealed.ledger_digest);
        self.state.save(to);
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// When the store fails.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.store.flush()
    }

    /// Makes all messages so far durable in the store's `dir`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn sync(&mut self, dir: &Path) -> anyhow::Result<()> {
        self.store.sync(dir)
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

/// What stands before the state.
struct Saved {
    messages: u64,
    bytes: u64,
    hash: [u8; 32],
    sealed: SealedNote,
}

impl Saved {
    fn read(from: &mut impl Source) -> anyhow::Result<Self> {
        from.part(PART)?;
        Ok(Self {
            messages: from.pod()?,
            bytes: from.pod()?,
            hash: from.pod()?,
            sealed: SealedNote {
                batch_no: from.pod()?,
                ledger_digest: from.pod()?,
            },
        })
    }
}

/// Begins the feed in a snapshot.
const PART: [u8; 4] = *b"FEED";
/// Bytes of an SBE header.
const HEADER: usize = firmware::wire::sbe::HEADER_LEN;
const _: () = assert!(HEADER_LEN + 2 + HEADER < firmware::limits::FEED_PAYLOAD_MAX);
