//! The journal tile: takes records off its lane, commits them in groups, and says what is durable. A sealed
//! batch goes to the seal tile once its last record is durable: making a file durable takes a file system's
//! own commits, which would hold up every report behind it.

use crate::clock::Clock;
use crate::feed::SealedNote;
use crate::lanes::{RecordHead, ToJournal};
use crate::tile::{Pace, Wait};
use anyhow::Context;
use hdrhistogram::Histogram;
use journal::{Chain, Disk, GroupCommit, Record};
use lane::{Consumer, Parker, Producer, Waker, Watermark};
use matcher::planted::{self, Bug};
use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// What a group commit costs, for people.
#[derive(Debug)]
pub struct JournalStats {
    /// Bytes of record bodies and headers.
    pub bytes: u64,
    /// Group commits.
    pub commits: u64,
    /// Duration of a commit, us.
    pub commit_us: Histogram<u64>,
}

impl JournalStats {
    /// Nothing measured yet.
    #[must_use]
    pub fn new() -> Self {
        let commit_us = Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are sound");
        Self {
            bytes: 0,
            commits: 0,
            commit_us,
        }
    }
}

impl Default for JournalStats {
    fn default() -> Self {
        Self::new()
    }
}

/// The tile.
pub struct JournalTile<D> {
    /// The journal.
    pub commit: GroupCommit<D>,
    /// What comes in.
    pub lane: Consumer<ToJournal>,
    /// Sealed batches whose records are durable.
    pub seal: mpsc::Sender<SealedFile>,
    /// Where it sleeps.
    pub parker: Parker,
    /// Who waits for durability.
    pub hot: Waker,
    /// Last durable record.
    pub durable: Watermark,
    /// Measurements.
    pub stats: Arc<Mutex<JournalStats>>,
    /// What was taken off the lane and is not handed on.
    pub taken: Taken,
}

/// What the journal tile has taken off its lane and not handed on: the first bytes of a long record, and batches
/// that wait for their last record.
#[derive(Debug)]
pub struct Taken {
    parts: Vec<u8>,
    batches: VecDeque<SealedFile>,
}

impl Taken {
    /// Nothing yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            parts: Vec::with_capacity(1 << 10),
            batches: VecDeque::new(),
        }
    }
}

/// A sealed batch on its way to its file.
#[derive(Debug)]
pub struct SealedFile {
    last_seq: u64,
    ledger_digest: [u8; 32],
    pub(crate) batch_no: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Writes sealed batches, off the way of everything else.
pub struct SealTile {
    /// From the journal tile.
    pub lane: mpsc::Receiver<SealedFile>,
    /// Buffers of written batches, back to the hot tile.
    pub spares: Producer<Vec<u8>>,
    /// To the feed tile: which batches are written.
    pub notes: mpsc::Sender<SealedNote>,
    /// Where sealed batches go.
    pub batches: PathBuf,
}

impl SealTile {
    /// Runs until the journal tile is gone.
    ///
    /// # Errors
    /// When a batch cannot be written: the journal tile finds its lane closed and stops the box.
    pub fn run(mut self, mut pace: Pace<impl Clock>) -> anyhow::Result<()> {
        while let Ok(sealed) = self.lane.recv() {
            pace.slept(true);
            pace.turn(1);
            self.write(sealed)?;
        }
        Ok(())
    }

    /// Writes the batch that waits longest, without waiting for one; returns whether there was one.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn turn(&mut self) -> anyhow::Result<bool> {
        let sealed = self.lane.try_recv();
        sealed.map_or(Ok(false), |s| self.write(s).map(|()| true))
    }

    fn write(&mut self, sealed: SealedFile) -> anyhow::Result<()> {
        if sealed.batch_no % 3 == 2 && planted::is(Bug::SkipsBatches) {
            return Ok(());
        }
        write_batch(&self.batches, sealed.batch_no, &sealed.bytes)?;
        // A feed tile that is gone is the hot tile's to find out.
        let _ = self.notes.send(SealedNote {
            batch_no: sealed.batch_no,
            ledger_digest: sealed.ledger_digest,
        });
        // A full lane of spares is fine: the hot tile has enough then.
        let _ = self.spares.push(sealed.bytes);
        Ok(())
    }
}

impl<D: Disk> JournalTile<D> {
    /// Runs until the hot tile is gone and everything is durable.
    ///
    /// # Errors
    /// Any failure of the disk: nothing is tried again, the box stops.
    pub fn run(mut self, mut pace: Pace<impl Clock>) -> anyhow::Result<()> {
        loop {
            let taken = self.take();
            pace.turn(taken as usize);
            if taken == 0 {
                if self.lane.is_abandoned() && self.lane.is_empty() {
                    return Ok(());
                }
                if pace.wait == Wait::Spin {
                    std::hint::spin_loop();
                    continue;
                }
                let lane = &self.lane;
                let slept = self
                    .parker
                    .park(Duration::from_millis(50), || !lane.is_empty());
                pace.slept(slept.context("journal tile")?);
                continue;
            }
            let begun = Instant::now();
            self.commit.flush().context("journal")?;
            self.publish(taken, begun)?;
        }
    }

    /// One turn without sleeping, for a driver of its own: takes what the lane holds, takes note of a completed
    /// write, begins the next. Returns whether anything of that happened.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn turn(&mut self) -> anyhow::Result<bool> {
        let taken = self.take();
        let begun = Instant::now();
        let has_moved = match self.commit.poll() {
            Err(_) if planted::is(Bug::IgnoresDiskErrors) => {
                self.durable.raise(self.commit.next_seq() - 1);
                false
            }
            moved => moved.context("journal")?,
        };
        if has_moved {
            self.publish(taken, begun)?;
        }
        Ok(has_moved || taken > 0)
    }

    /// Appends what the lane holds; returns the bytes taken (at least 1 if anything came).
    fn take(&mut self) -> u64 {
        let Taken { parts, batches } = &mut self.taken;
        let mut bytes = 0;
        while let Some(item) = self.lane.peek() {
            let (head, body): (RecordHead, &[u8]) = match item {
                ToJournal::Part(body) => {
                    parts.extend_from_slice(body);
                    self.lane.pop();
                    continue;
                }
                ToJournal::Record { head, len, body } => (*head, &body[..*len as usize]),
                ToJournal::RiskTable(head, table) => (*head, table.bytes()),
                ToJournal::Sealed(_) => {
                    let Some(ToJournal::Sealed(bytes)) = self.lane.pop() else {
                        unreachable!("just peeked")
                    };
                    batches.push_back(with_chain(bytes, self.commit.chain()));
                    continue;
                }
            };
            let before = parts.len();
            let body = if before == 0 {
                body
            } else {
                parts.extend_from_slice(body);
                parts.as_slice()
            };
            let len = body.len();
            let record = Record {
                seq: head.seq,
                time_ns: head.time_ns,
                template: head.template,
                source: u16::from(head.session != 0),
                session: head.session,
                body,
            };
            if self.commit.append(&record).is_err() {
                parts.truncate(before);
                break;
            }
            bytes += len as u64 + 32;
            parts.clear();
            self.lane.pop();
        }
        bytes
    }

    /// Says what is durable now, and hands on the batches that are.
    fn publish(&mut self, bytes: u64, begun: Instant) -> anyhow::Result<()> {
        let durable = if planted::is(Bug::ReleasesBeforeDurable) {
            self.commit.next_seq() - 1
        } else {
            self.commit.durable_seq()
        };
        self.durable.raise(durable);
        self.hot.wake();
        let us = begun.elapsed().as_micros() as u64;
        let mut stats = self.stats.lock().expect("nobody panics with the lock held");
        stats.bytes += bytes;
        stats.commits += 1;
        stats.commit_us.saturating_record(us.max(1));
        drop(stats);
        self.release_batches()
    }

    fn release_batches(&mut self) -> anyhow::Result<()> {
        let durable = self.commit.durable_seq();
        while let Some(sealed) = (self.taken.batches).pop_front_if(|b| b.last_seq <= durable) {
            self.seal
                .send(sealed)
                .context("the seal tile has stopped")?;
        }
        Ok(())
    }
}

/// Fills in the hash of the journal up to the batch's last record.
pub(crate) fn with_chain(mut bytes: Vec<u8>, chain: Chain) -> SealedFile {
    let mut batch = matcher::batch::decode(&bytes).expect("the engine encoded it");
    batch.journal_hash = chain;
    bytes.clear();
    matcher::batch::encode(&batch, &mut bytes);
    SealedFile {
        last_seq: batch.last_seq.0,
        ledger_digest: batch.state_hash,
        batch_no: batch.batch_no,
        bytes,
    }
}

/// Name of a sealed batch's file.
#[must_use]
pub fn batch_name(batch_no: u64) -> String {
    format!("batch-{batch_no:08}.sealed")
}

/// Writes a sealed batch so that a reader sees it whole or not at all.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_batch(dir: &Path, batch_no: u64, bytes: &[u8]) -> anyhow::Result<()> {
    let name = batch_name(batch_no);
    let (temp, path) = (dir.join(format!(".{name}")), dir.join(name));
    let write = || {
        let mut file = fs::File::create(&temp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp, &path)?;
        fs::File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
