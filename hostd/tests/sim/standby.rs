//! Another box with the same journal, and the line between the two: the copy, the rule and the pieces are those of the
//! daemon, the line is lost and comes back by the seed.

use crate::invariant::hold;
use crate::tally::Tally;
use crate::venue::World;
use hostd::replication::Wait;
use hostd::replication::primary::hand_on;
use hostd::replication::quorum::Rule;
use hostd::replication::tee::{TeeEnds, Written};
use hostd::replication::term::{Began, Term, fork};
use hostd::tiles::journal_tile::SealedFile;
use journal::faults::{Behaviour, FaultDisk, Medium};
use journal::{End, Follower, JournalDir, Mark, Piece, Pieces, Reader};
use lane::{Watermark, WatermarkReader};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// Writes that the primary keeps for it, and sends in a turn.
const KEPT: usize = 4;

/// The other box: what a crash of the primary leaves alone.
pub(crate) struct Standby {
    /// Its data directory.
    dir: PathBuf,
    pub(crate) medium: Medium,
    segment_bytes: u64,
    copy: Option<Follower<FaultDisk>>,
    /// What both have met; each start of a primary is a lead of its own.
    pub(crate) epoch: u64,
    term: Term,
}

fn end_of(journal: &Path) -> End {
    let mut reader = Reader::open(journal).unwrap();
    while reader.next().unwrap().is_some() {}
    reader.end().clone()
}

fn hex(bytes: &[u8]) -> String {
    hostd::ops::admin::hex(bytes)
}

impl Standby {
    pub(crate) fn new(dir: PathBuf, seed: u64, segment_bytes: u64) -> Self {
        Self {
            dir,
            medium: Medium::new(seed),
            segment_bytes,
            copy: None,
            epoch: 0,
            term: Term::default(),
        }
    }

    fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Its process starts, if it does not run.
    fn copy(&mut self) -> &mut Follower<FaultDisk> {
        let (journal, medium) = (self.journal(), self.medium.clone());
        self.copy.get_or_insert_with(|| {
            let held = JournalDir::open(&journal).unwrap();
            let end = end_of(&journal);
            let disk = FaultDisk::new(held, medium);
            Follower::resume(self.segment_bytes, &end, disk).unwrap()
        })
    }
}

impl World {
    /// The standby leads, and what led before is its standby.
    pub(crate) fn fail_over(&mut self, disk_delay_ns: u64) {
        let Some(standby) = &mut self.standby else {
            return;
        };
        standby.copy = None;
        std::mem::swap(&mut self.config.venue.data_dir, &mut standby.dir);
        std::mem::swap(&mut self.medium, &mut standby.medium);
        standby.medium.behave(|b| *b = Behaviour::default());
        self.medium.behave(|b| b.delay_max_ns = disk_delay_ns);
    }
}

type Seal = (mpsc::Receiver<SealedFile>, mpsc::Sender<SealedFile>);

/// The primary's end of the line.
pub(crate) struct Link {
    ends: TeeEnds,
    journal: PathBuf,
    released: Watermark,
    last: VecDeque<Written>,
    seal: Seal,
    held: VecDeque<SealedFile>,
    /// The line holds, and what is sent next: place, record, and the journal on disk from there on.
    at: Option<(u32, u64)>,
    pieces: Option<Pieces>,
}

impl Link {
    /// A lead begins.
    pub(crate) fn new(
        standby: &mut Standby,
        ends: TeeEnds,
        journal: PathBuf,
        end: &End,
        seal: Seal,
    ) -> Self {
        standby.epoch += 1;
        standby.term.begin(Began {
            epoch: standby.epoch,
            leader: "primary".into(),
            first_seq: end.next_seq,
            chain: hex(&end.chain),
        });
        Self {
            ends,
            journal,
            released: Watermark::new(0),
            last: VecDeque::new(),
            seal,
            held: VecDeque::new(),
            at: None,
            pieces: None,
        }
    }

    pub(crate) fn released(&self) -> WatermarkReader {
        self.released.reader()
    }

    /// Until the standby has all that is on the primary's disk.
    pub(crate) fn catch_up(&mut self, standby: &mut Standby, tally: &Tally) {
        let all = self.ends.on_disk.get();
        for _ in 0..1_000_000 {
            self.turn(standby, true, tally);
            if self.released.reader().get() == all {
                return;
            }
        }
        hold!(Progress, false, "the standby does not get record {all}");
    }

    fn connect(&mut self, standby: &mut Standby, tally: &Tally) {
        let end = standby.copy().end().clone();
        let mark = Mark {
            seq: end.next_seq - 1,
            chain: end.chain,
        };
        let begun = if end.offset > 0 { end.segment } else { 0 };
        let pieces = Pieces::after(&self.journal, &mark, begun).unwrap();
        match pieces {
            Some(pieces) if mark.seq <= self.ends.on_disk.get() => {
                tally.count("standby: connected");
                self.at = Some((end.segment, end.offset));
                self.pieces = Some(pieces);
            }
            // It was quicker than the primary's disk, and lost the line meanwhile.
            _ if mark.seq > self.ends.on_disk.get()
                && fork(&standby.term.history, end.epoch).is_none() =>
            {
                tally.count("standby: ahead");
            }
            _ => {
                // Its records after the fork were never told: each lead begins with all that was.
                tally.count("standby: cut back");
                let Some(began) = fork(&standby.term.history, end.epoch) else {
                    hold!(
                        SameBytes,
                        false,
                        "the journals part at no later epoch than {}",
                        end.epoch
                    );
                    return;
                };
                let (seq, told) = (began.first_seq - 1, self.released.reader().get());
                hold!(
                    NothingLost,
                    seq >= told,
                    "the journals part at record {seq}, and {told} was told"
                );
                let mut chain = [0; 32];
                for (i, b) in chain.iter_mut().enumerate() {
                    *b = u8::from_str_radix(&began.chain[2 * i..2 * i + 2], 16).unwrap();
                }
                standby.copy = None;
                let common = Pieces::after(&standby.journal(), &Mark { seq, chain }, 0).unwrap();
                let Some(common) = common else {
                    hold!(SameBytes, false, "the journals differ before record {seq}");
                    return;
                };
                let held = JournalDir::open(standby.journal()).unwrap();
                held.cut_after(common.end()).unwrap();
            }
        }
    }

    /// What the replication thread and the standby do in a turn.
    pub(crate) fn turn(&mut self, standby: &mut Standby, is_up: bool, tally: &Tally) {
        while let Some(written) = self.ends.written.pop() {
            if self.last.len() == KEPT
                && let Some(old) = self.last.pop_front()
            {
                let _ = self.ends.spares.push(old.bytes);
            }
            self.last.push_back(written);
        }
        if !is_up && self.at.is_some() {
            tally.count("standby: line lost");
            // Its process may go with it.
            standby.copy = None;
            (self.at, self.pieces) = (None, None);
        }
        if is_up && self.at.is_none() {
            self.connect(standby, tally);
        }
        if self.at.is_some() {
            for _ in 0..KEPT {
                self.send(standby);
            }
        }
        let mut acked = BTreeMap::new();
        if self.at.is_some() {
            acked.insert("b".to_owned(), standby.copy().end().next_seq - 1);
        }
        let rule = Rule {
            quorum: 1,
            wait: Wait::Both,
        };
        if let Some(to) = rule.released(self.ends.on_disk.get(), &acked, None)
            && to > self.released.reader().get()
        {
            self.released.raise(to);
        }
        let released = self.released.reader().get();
        let handed = hand_on(&mut self.held, &self.seal.0, &self.seal.1, released);
        handed.unwrap();
    }

    /// Sends the next piece, if there is one.
    fn send(&mut self, standby: &mut Standby) {
        let Some(at) = self.at else { return };
        let on_disk = self.ends.on_disk.get();
        let copy = standby.copy();
        let mut take = |piece: &Piece<'_>| {
            let taken = copy.take(piece);
            hold!(
                SameBytes,
                taken.is_ok(),
                "a piece was refused: {:?}",
                taken.err()
            );
            self.at = Some((piece.segment, piece.offset + piece.bytes.len() as u64));
        };
        if let Some(w) = self.last.iter().find(|w| w.after == at) {
            take(&Piece {
                segment: w.segment,
                offset: w.offset,
                bytes: &w.bytes,
                last_seq: w.last_seq,
            });
            self.pieces = None;
            return;
        }
        let next_seq = standby.copy().end().next_seq;
        if next_seq > on_disk {
            return;
        }
        let mut pieces = self
            .pieces
            .take()
            .unwrap_or_else(|| Pieces::near(&self.journal, next_seq, at.0, on_disk).unwrap());
        if let Some(piece) = pieces.next(on_disk).unwrap() {
            let taken = standby.copy().take(&piece);
            hold!(
                SameBytes,
                taken.is_ok(),
                "a piece was refused: {:?}",
                taken.err()
            );
            self.at = Some((piece.segment, piece.offset + piece.bytes.len() as u64));
        }
        self.pieces = Some(pieces);
    }
}
