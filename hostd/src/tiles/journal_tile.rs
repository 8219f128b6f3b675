//! The journal: takes records off its lane, commits them in groups, and says what is durable. A sealed
//! batch goes to the seal tile once its last record is durable: making a file durable takes a file system's
//! own commits, which would hold up every report behind it.
//!
//! The stage works in turns. It has a tile of its own in topology `pinned`, and is the last stage before the way out on
//! the hot tile of `shared`.

use crate::feed::SealedNote;
use crate::machine::clock::Clock;
use crate::machine::log;
use crate::tiles::lanes::{RecordHead, ToJournal};
use crate::tiles::tile::{Pace, Wait};
use anyhow::Context;
use hdrhistogram::Histogram;
use journal::{Chain, Disk, GroupCommit, Record};
use lane::{Consumer, Gauges, Parker, Producer, Waker, Watermark};
use matcher::planted::{self, Bug};
use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Longest sleep without records.
const PARK: Duration = Duration::from_millis(50);
/// Between two looks for a segment that records wait for.
pub(crate) const SEGMENT_WAIT: Duration = Duration::from_millis(1);

/// What a group commit costs, for people.
#[derive(Debug)]
pub struct JournalStats {
    /// Bytes of record bodies and headers.
    pub bytes: u64,
    /// Group commits.
    pub commits: u64,
    /// Duration of a commit, us.
    pub commit_us: Histogram<u64>,
    /// Segments made and not begun.
    pub segments_ahead: u32,
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
            segments_ahead: 0,
        }
    }
}

impl Default for JournalStats {
    fn default() -> Self {
        Self::new()
    }
}

/// The stage.
pub struct JournalStage<D> {
    /// The journal.
    pub commit: GroupCommit<D>,
    /// What comes in.
    pub lane: Consumer<ToJournal>,
    /// Sealed batches whose records are durable.
    pub seal: mpsc::Sender<SealedFile>,
    /// Who waits for durability, if that is another tile.
    pub hot: Option<Waker>,
    /// Last durable record.
    pub durable: Watermark,
    /// One while space for segments runs short, else zero: then only what lowers risk is let in.
    pub space: Gauges<1>,
    /// Measurements.
    pub stats: Arc<Mutex<JournalStats>>,
    /// What was taken off the lane and is not handed on.
    pub taken: Taken,
}

/// A tile with this stage only.
pub struct JournalTile<D> {
    /// What it does.
    pub stage: JournalStage<D>,
    /// Where it sleeps.
    pub parker: Parker,
}

/// What the journal has taken off its lane and not handed on: the first bytes of a long record, and batches
/// that wait for their last record; and what it knows of the write in flight.
#[derive(Debug)]
pub struct Taken {
    parts: Vec<u8>,
    batches: VecDeque<SealedFile>,
    /// Bytes that no figure counts yet.
    bytes: u64,
    /// When the write in flight began.
    begun: Option<Instant>,
    /// As was said last.
    is_short: bool,
}

impl Taken {
    /// Nothing yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            parts: Vec::with_capacity(1 << 10),
            batches: VecDeque::new(),
            bytes: 0,
            begun: None,
            is_short: false,
        }
    }
}

/// A sealed batch on its way to its file.
#[derive(Debug)]
pub struct SealedFile {
    /// Its last record.
    last_seq: u64,
    /// Hash of the journal up to that record.
    chain: Chain,
    /// As the engine encoded it, without that hash.
    bytes: Vec<u8>,
}

impl SealedFile {
    /// Its last record.
    pub(crate) const fn last_seq(&self) -> u64 {
        self.last_seq
    }
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
        let sealed = with_chain(sealed.bytes, sealed.chain);
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
    /// One write is in flight; what arrives meanwhile is encoded meanwhile, and the next write takes all of it.
    ///
    /// # Errors
    /// Any failure of the disk: nothing is tried again, the box stops. Lack of space is none while the box runs: it
    /// goes on when there is some, and until then nothing more is durable.
    pub fn run(self, mut pace: Pace<impl Clock>) -> anyhow::Result<()> {
        let Self { mut stage, parker } = self;
        loop {
            let taken = stage.take();
            if stage.commit.is_in_flight() {
                pace.turn(taken as usize);
                let is_done = if pace.wait == Wait::Spin {
                    stage.commit.poll_durable()
                } else {
                    stage.commit.wait_durable()
                };
                if is_done.context("journal")? {
                    stage.publish()?;
                }
                continue;
            }
            let has_begun = stage.begin()?;
            pace.turn(taken as usize + usize::from(has_begun));
            if taken > 0 || has_begun {
                continue;
            }
            if stage.lane.is_abandoned() && stage.lane.is_empty() {
                // Nobody waits for a segment any more that there may never be space for.
                return stage.commit.flush().context("journal");
            }
            if pace.wait == Wait::Spin {
                std::hint::spin_loop();
                continue;
            }
            // Records that wait for a segment may have left no room for what the lane holds.
            let (lane, waits) = (&stage.lane, stage.commit.has_records());
            let timeout = if waits { SEGMENT_WAIT } else { PARK };
            let slept = parker.park(timeout, || !waits && !lane.is_empty());
            pace.slept(slept.context("journal tile")?);
        }
    }
}

impl<D: Disk> JournalStage<D> {
    /// What the lane holds goes to the disk and becomes durable as far as that takes no waiting; returns whether
    /// anything happened. A disk that [writes in place](crate::storage::disk::UringDisk::write_in_place) is done with all of it
    /// when this returns.
    ///
    /// # Errors
    /// As [`JournalTile::run`].
    pub fn turn(&mut self) -> anyhow::Result<bool> {
        let mut has_worked = self.step()?;
        while self.commit.has_records() && self.step()? {
            has_worked = true;
        }
        Ok(has_worked)
    }

    /// Makes room in a lane that is full in the middle of an event: waits for the write in flight, or for a segment.
    ///
    /// # Errors
    /// As [`JournalTile::run`].
    pub fn make_room(&mut self) -> anyhow::Result<()> {
        if self.turn()? {
            return Ok(());
        }
        if self.commit.is_in_flight() {
            if self.commit.wait_durable().context("journal")? {
                self.publish()?;
            }
        } else {
            std::thread::sleep(SEGMENT_WAIT);
        }
        Ok(())
    }

    /// Whether something can be done at once.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.lane.is_empty() && !self.commit.has_records()
    }

    /// Whether it waits for the disk, or for a segment.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.commit.has_records()
    }

    /// Takes what the lane holds, takes note of a completed write, begins the next. Returns whether anything of that
    /// happened.
    fn step(&mut self) -> anyhow::Result<bool> {
        let taken = self.take();
        let is_done = match self.commit.poll_durable() {
            Err(_) if planted::is(Bug::IgnoresDiskErrors) => {
                self.durable.raise(self.commit.next_seq() - 1);
                return Ok(taken > 0);
            }
            done => done.context("journal")?,
        };
        if is_done {
            self.publish()?;
        }
        Ok(self.begin()? || is_done || taken > 0)
    }

    /// Begins the next write if it can, and says whether space runs short.
    fn begin(&mut self) -> anyhow::Result<bool> {
        // Before it begins: it may be over when it has.
        let now = self.commit.has_records().then(Instant::now);
        let has_begun = self.commit.begin().context("journal")?;
        if has_begun {
            self.taken.begun = now;
        }
        let is_short = self.commit.is_short_of_space();
        if is_short != self.taken.is_short {
            self.taken.is_short = is_short;
            self.space.set(0, is_short.into());
            let free = self.commit.free_segments();
            log::event(
                if is_short {
                    "journal_space_short"
                } else {
                    "journal_space_back"
                },
                &[("segments_ahead", &free)],
            );
        }
        Ok(has_begun)
    }

    /// Appends what the lane holds; returns the bytes taken (at least 1 if anything came).
    fn take(&mut self) -> u64 {
        let Taken { parts, batches, .. } = &mut self.taken;
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
                    batches.push_back(SealedFile {
                        last_seq: self.commit.next_seq() - 1,
                        chain: self.commit.chain(),
                        bytes,
                    });
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
        self.taken.bytes += bytes;
        bytes
    }

    /// Says what is durable now, and hands on the batches that are.
    fn publish(&mut self) -> anyhow::Result<()> {
        let durable = if planted::is(Bug::ReleasesBeforeDurable) {
            self.commit.next_seq() - 1
        } else {
            self.commit.durable_seq()
        };
        self.durable.raise(durable);
        if let Some(hot) = &self.hot {
            hot.wake();
        }
        let begun = self.taken.begun.take();
        let us = begun.map_or(0, |b| b.elapsed().as_micros() as u64);
        let mut stats = self.stats.lock().expect("nobody panics with the lock held");
        stats.bytes += std::mem::take(&mut self.taken.bytes);
        stats.commits += 1;
        stats.segments_ahead = self.commit.free_segments();
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

/// A batch as its file holds it.
#[derive(Debug)]
pub(crate) struct WholeBatch {
    ledger_digest: [u8; 32],
    pub(crate) batch_no: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Fills in the hash of the journal up to the batch's last record.
pub(crate) fn with_chain(mut bytes: Vec<u8>, chain: Chain) -> WholeBatch {
    let mut batch = matcher::batch::decode(&bytes).expect("the engine encoded it");
    batch.journal_hash = chain;
    bytes.clear();
    matcher::batch::encode(&batch, &mut bytes);
    WholeBatch {
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
    // Who makes a snapshot may write the same one at the same time.
    let temp = dir.join(format!(".{name}.{}", std::process::id()));
    let path = dir.join(name);
    let write = || {
        let mut file = fs::File::create(&temp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp, &path)?;
        fs::File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
