//! Reading a journal at rest ahead of whoever replays it: reading, checking and hashing take as long as matching does,
//! and need nothing of it, so a thread of their own does them.

use crate::error::JournalError;
use crate::format::Chain;
use crate::reader::{ChainAt, Reader, RecordView};
use crate::tail::End;
use firmware::wire::journal::RecordHeader;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes that are handed over together: enough to make the handing over cheap.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait at most.
const CHUNKS_AHEAD: usize = 8;

/// A [`Reader`] that reads ahead. It gives the same records and ends with the same word.
pub struct ReadAhead {
    chunks: Receiver<Result<Chunk, JournalError>>,
    chunk: Chunk,
    /// Place of the next record in the chunk.
    at: usize,
    /// Number of the next record, and the hash before it.
    next_seq: u64,
    chain: Chain,
    thread: Option<JoinHandle<Reader>>,
}

/// Some whole batches, checked.
struct Chunk {
    /// What is hashed of each batch, one after the other, each from a multiple of 8 on.
    words: Vec<u64>,
    records: Vec<Place>,
    /// Hash after the last of them.
    chain: Chain,
}

/// A record in its chunk: bytes of its chunk.
struct Place {
    header: RecordHeader,
    /// Where what is hashed of its batch begins.
    hashed: usize,
    body: usize,
    end: usize,
}

impl ReadAhead {
    /// Goes on where `reader` stands.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(reader: Reader) -> std::io::Result<Self> {
        let (send, chunks) = sync_channel(CHUNKS_AHEAD);
        let (next_seq, chain) = (reader.next_seq(), reader.chain());
        let thread = std::thread::Builder::new()
            .name("read-ahead".into())
            .spawn(move || read(reader, &send))?;
        Ok(Self {
            chunks,
            chunk: Chunk::empty(chain),
            at: 0,
            next_seq,
            chain,
            thread: Some(thread),
        })
    }

    /// The next record; None at the end of the journal.
    ///
    /// # Errors
    /// As [`Reader::next`].
    ///
    /// # Panics
    /// When the reading thread did.
    #[expect(
        clippy::should_implement_trait,
        reason = "the view borrows from the reader"
    )]
    pub fn next(&mut self) -> Result<Option<RecordView<'_>>, JournalError> {
        while self.at == self.chunk.records.len() {
            self.chain = self.chunk.chain;
            // The other end is dropped when the journal is at its end.
            let Ok(chunk) = self.chunks.recv() else {
                return Ok(None);
            };
            (self.chunk, self.at) = (chunk?, 0);
        }
        let place = &self.chunk.records[self.at];
        self.at += 1;
        self.next_seq = place.header.seq + 1;
        let bytes: &[u8] = bytemuck::cast_slice(&self.chunk.words);
        Ok(Some(RecordView {
            header: place.header,
            body: &bytes[place.body..place.end],
            chain: ChainAt::of(&bytes[place.hashed..place.end]),
        }))
    }

    /// Number of the record that comes next.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Hash of all records given so far.
    #[must_use]
    pub fn chain(&self) -> Chain {
        let Some(last) = self.at.checked_sub(1) else {
            return self.chain;
        };
        let (bytes, last): (&[u8], _) = (
            bytemuck::cast_slice(&self.chunk.words),
            &self.chunk.records[last],
        );
        ChainAt::of(&bytes[last.hashed..last.end]).hash()
    }

    /// Where the journal ends.
    ///
    /// # Panics
    /// When the reading thread did, or [`next`](Self::next) has not returned None yet.
    #[must_use]
    pub fn end(mut self) -> End {
        assert!(
            self.at == self.chunk.records.len() && self.chunks.recv().is_err(),
            "the end is known when all was read"
        );
        let thread = self.thread.take().expect("it is joined once");
        let reader = thread.join().expect("the reading thread does not panic");
        reader.end().clone()
    }
}

impl Chunk {
    const fn empty(chain: Chain) -> Self {
        Self {
            words: Vec::new(),
            records: Vec::new(),
            chain,
        }
    }
}

/// Reads to the end, or until nobody listens any more.
fn read(mut reader: Reader, to: &SyncSender<Result<Chunk, JournalError>>) -> Reader {
    loop {
        let (chunk, goes_on) = match fill(&mut reader) {
            Ok(filled) => filled,
            Err(error) => {
                let _ = to.send(Err(error));
                return reader;
            }
        };
        let is_heard = chunk.records.is_empty() || to.send(Ok(chunk)).is_ok();
        if !goes_on || !is_heard {
            return reader;
        }
    }
}

/// The next whole batches, and whether more may follow. What comes before damage is not lost: it is met again.
fn fill(reader: &mut Reader) -> Result<(Chunk, bool), JournalError> {
    let mut chunk = Chunk::empty(reader.chain());
    chunk.words.reserve(2 * CHUNK_BYTES / 8);
    // The batch at hand: where it begins in the chunk.
    let mut from = 0;
    loop {
        let header = match reader.next()? {
            None => return Ok((chunk, false)),
            Some(view) => {
                let hashed = view.chain.bytes();
                let end = from + hashed.len();
                chunk.records.push(Place {
                    header: view.header,
                    hashed: from,
                    body: end - view.body.len(),
                    end,
                });
                view.header
            }
        };
        let batch = reader.batch();
        if header.seq + 1 < batch.first_seq + u64::from(batch.count) {
            continue;
        }
        let whole = reader.last_hashed();
        chunk.words.resize((from + whole.len()).div_ceil(8), 0);
        let to: &mut [u8] = bytemuck::cast_slice_mut(&mut chunk.words);
        to[from..from + whole.len()].copy_from_slice(whole);
        chunk.chain = reader.chain();
        from = chunk.words.len() * 8;
        if from >= CHUNK_BYTES {
            return Ok((chunk, true));
        }
    }
}
