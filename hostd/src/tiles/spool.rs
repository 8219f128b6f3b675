//! The spool: every report of the day in a file a member, so that a client can have any of them again.
//!
//! ```text
//! member-0007.reports      slot of report n at (n - 1) x SLOT bytes
//!  0 u16  length of what follows at 16, zero padded to the slot
//!  4 u32  CRC32C of member, n, and the slot without these four bytes
//!  8 u64  journal record that caused the report
//! 16 SBE header, block
//! ```
//!
//! It is a cache of what the journal says: the box itself makes nothing of it durable, and a start from the first
//! record writes it anew. A snapshot makes durable what was said up to its record, and a start from it goes on
//! behind that. Whoever replays the journal writes the same bytes to the same places, so the one that makes a
//! snapshot may write beside the box, and what an earlier run left behind the last report is never looked at.
//!
//! The hot tile hands each report over as it is made; what it is asked for and no longer holds is
//! read here, off the hot path, and goes back as the body of a datagram. Keys never come here.
//!
//! A failed write or read stops the box, as the journal's do: a venue that cannot say again what it said breaks
//! its protocol.

use crate::machine::clock::Clock;
use crate::tiles::lanes::{SpoolAnswer, SpoolBody, SpoolRead, ToSpool};
use crate::tiles::tile::Pace;
use anyhow::{Context, bail, ensure};
use firmware::limits::GATE_MEMBERS;
use firmware::units::MemberId;
use firmware::wire::datagram::PREFIX_LEN;
use firmware::wire::report::Report;
use firmware::wire::sbe;
use lane::{Consumer, Parker, Producer, Waker};
use matcher::planted::{self, Bug};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes before the message.
const HEAD: usize = 16;
/// Bytes of a slot: any report fits.
pub const SLOT: usize = (HEAD + sbe::HEADER_LEN + size_of::<Report>()).next_multiple_of(8);
/// Where the checksum of a slot stands.
const CRC: std::ops::Range<usize> = 4..8;
/// Slots of a member that are written at once.
const TAIL_SLOTS: usize = 32;
/// Files that are open at once; a member beyond takes the place of the one unused for longest.
const OPEN_MAX: usize = 256;
/// Items taken off the lane before answers go out.
const BURST: usize = 4_096;
/// Longest sleep. The hot tile wakes nobody for a report, so that it pays nothing for one.
const PARK: Duration = Duration::from_millis(10);

/// The files.
#[derive(Debug)]
pub struct SpoolFiles {
    dir: PathBuf,
    members: Vec<MemberSpool>,
    open: Vec<OpenFile>,
    uses: u64,
    chunk: Vec<u8>,
}

#[derive(Debug, Default)]
struct MemberSpool {
    /// Reports in the file.
    written: u64,
    /// Slots that are not in the file yet.
    tail: Vec<u8>,
}

#[derive(Debug)]
struct OpenFile {
    member: MemberId,
    file: File,
    last_use: u64,
}

impl SpoolFiles {
    /// An empty spool in `dir`; what an earlier run left there is removed.
    ///
    /// # Errors
    /// When the directory cannot be made anew.
    pub fn create(dir: &Path) -> anyhow::Result<Self> {
        let failed = || format!("spool {}", dir.display());
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(failed)?;
        }
        Self::rewrite(dir)
    }

    /// A spool that writes the day anew over what is in `dir`, where another process may read.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn rewrite(dir: &Path) -> anyhow::Result<Self> {
        let failed = || format!("spool {}", dir.display());
        std::fs::create_dir_all(dir).with_context(failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            members: (0..GATE_MEMBERS).map(|_| MemberSpool::default()).collect(),
            open: Vec::with_capacity(OPEN_MAX),
            uses: 0,
            chunk: vec![0; TAIL_SLOTS * SLOT],
        })
    }

    /// The spool in `dir` behind the first `counts` reports of each member, all of which it looks at.
    ///
    /// # Errors
    /// When a report is missing or damaged: which one.
    pub fn resume(
        dir: &Path,
        counts: impl Iterator<Item = (MemberId, u64)>,
    ) -> anyhow::Result<Self> {
        let mut spool = Self::rewrite(dir)?;
        for (member, count) in counts.filter(|(_, count)| *count > 0) {
            spool.members[member.0 as usize].written = count;
            let mut first = 0;
            while first < count {
                let n = (count - first).min(TAIL_SLOTS as u64) as usize;
                spool.read_slots(member, first, n)?;
                let slots = spool.chunk[..n * SLOT].chunks_exact(SLOT);
                for (number, slot) in (first + 1..).zip(slots) {
                    if message(member, number, slot).is_none() {
                        bail!(
                            "{}: report {number} is damaged",
                            spool.path(member).display()
                        );
                    }
                }
                first += n as u64;
            }
        }
        Ok(spool)
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        for at in 0..self.members.len() {
            self.write_out(MemberId(at as u32))?;
        }
        Ok(())
    }

    /// Makes all reports so far durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        for at in 0..self.members.len() {
            let member = MemberId(at as u32);
            if self.members[at].written > 0 {
                let synced = self.file(member)?.sync_all();
                synced.with_context(|| format!("cannot sync {}", self.path(member).display()))?;
            }
        }
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.with_context(|| format!("cannot sync {}", self.dir.display()))
    }

    /// Reports of a member so far.
    #[must_use]
    pub fn count(&self, member: MemberId) -> u64 {
        let m = &self.members[member.0 as usize];
        m.written + (m.tail.len() / SLOT) as u64
    }

    /// Takes a member's next report.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn append(&mut self, member: MemberId, report: &Report) -> anyhow::Result<()> {
        let number = self.count(member) + 1;
        let m = &mut self.members[member.0 as usize];
        let at = m.tail.len();
        if m.tail.capacity() == 0 {
            m.tail.reserve_exact(TAIL_SLOTS * SLOT);
        }
        m.tail.resize(at + SLOT, 0);
        let (header, block) = (report.header(), report.block());
        let len = sbe::HEADER_LEN + block.len();
        let slot = &mut m.tail[at..];
        slot[..2].copy_from_slice(&(len as u16).to_le_bytes());
        slot[8..16].copy_from_slice(&report.engine_seq().to_le_bytes());
        slot[HEAD..HEAD + sbe::HEADER_LEN].copy_from_slice(bytemuck::bytes_of(&header));
        slot[HEAD + sbe::HEADER_LEN..HEAD + len].copy_from_slice(block);
        let crc = checksum(member, number, slot);
        slot[CRC].copy_from_slice(&crc.to_le_bytes());
        if m.tail.len() < TAIL_SLOTS * SLOT {
            return Ok(());
        }
        self.write_out(member)
    }

    /// Writes a member's reports that are still in memory.
    fn write_out(&mut self, member: MemberId) -> anyhow::Result<()> {
        let m = &mut self.members[member.0 as usize];
        if m.tail.is_empty() {
            return Ok(());
        }
        let offset = m.written * SLOT as u64;
        let mut tail = std::mem::take(&mut m.tail);
        let wrote = self.file(member)?.write_all_at(&tail, offset);
        wrote.with_context(|| format!("cannot write {}", self.path(member).display()))?;
        let m = &mut self.members[member.0 as usize];
        m.written += (tail.len() / SLOT) as u64;
        tail.clear();
        m.tail = tail;
        Ok(())
    }

    /// Packs reports from `from` on, at most `count`, into the body of one datagram; those of records after
    /// `durable` are left out. Returns how many.
    ///
    /// # Errors
    /// When the member's file cannot be read or does not hold what was written.
    pub fn read(
        &mut self,
        member: MemberId,
        from: u64,
        count: u64,
        durable: u64,
        body: &mut SpoolBody,
    ) -> anyhow::Result<u32> {
        body.clear();
        let end = self
            .count(member)
            .saturating_add(1)
            .min(from.saturating_add(count));
        let mut number = from.max(1);
        while number < end {
            let m = &self.members[member.0 as usize];
            let first = number - 1;
            let slots = if first < m.written {
                let n = (m.written - first).min(end - number).min(TAIL_SLOTS as u64) as usize;
                self.read_slots(member, first, n)?;
                &self.chunk[..n * SLOT]
            } else {
                &m.tail[(first - m.written) as usize * SLOT..]
            };
            for slot in slots.chunks_exact(SLOT) {
                let Some(message) = message(member, number, slot) else {
                    bail!(
                        "{}: report {number} is damaged",
                        self.path(member).display()
                    );
                };
                let seq = u64::from_le_bytes(*slot[8..].first_chunk().expect("a slot is longer"));
                if number == end || seq > durable || !body.push(message) {
                    return Ok((number - from) as u32);
                }
                number += 1;
            }
        }
        Ok(number.saturating_sub(from) as u32)
    }

    fn read_slots(&mut self, member: MemberId, first: u64, count: usize) -> anyhow::Result<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let read = self
            .file(member)?
            .read_exact_at(&mut chunk[..count * SLOT], first * SLOT as u64);
        self.chunk = chunk;
        read.with_context(|| format!("cannot read {}", self.path(member).display()))
    }

    /// The member's file, opened if need be.
    fn file(&mut self, member: MemberId) -> anyhow::Result<&File> {
        self.uses += 1;
        let held = self.open.iter().position(|o| o.member == member);
        let at = match held {
            Some(at) => at,
            None => self.open_file(member)?,
        };
        self.open[at].last_use = self.uses;
        Ok(&self.open[at].file)
    }

    fn open_file(&mut self, member: MemberId) -> anyhow::Result<usize> {
        let path = self.path(member);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let opened = OpenFile {
            member,
            file,
            last_use: self.uses,
        };
        if self.open.len() < OPEN_MAX {
            self.open.push(opened);
            return Ok(self.open.len() - 1);
        }
        let oldest = (0..OPEN_MAX).min_by_key(|i| self.open[*i].last_use);
        let at = oldest.expect("at least one file may be open");
        self.open[at] = opened;
        Ok(at)
    }

    fn path(&self, member: MemberId) -> PathBuf {
        self.dir.join(format!("member-{:04}.reports", member.0))
    }
}

/// The message in the slot of a member's report, unless the slot is damaged.
fn message(member: MemberId, number: u64, slot: &[u8]) -> Option<&[u8]> {
    let len = u16::from_le_bytes(*slot.first_chunk()?) as usize;
    let is_sound = len >= sbe::HEADER_LEN
        && HEAD + len <= SLOT
        && slot[CRC] == checksum(member, number, slot).to_le_bytes();
    is_sound.then(|| &slot[HEAD..HEAD + len])
}

/// What stands in a slot at [`CRC`].
fn checksum(member: MemberId, number: u64, slot: &[u8]) -> u32 {
    let mut place = [0; 12];
    place[..4].copy_from_slice(&member.0.to_le_bytes());
    place[4..].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c::crc32c(&place);
    let crc = crc32c::crc32c_append(crc, &slot[..CRC.start]);
    crc32c::crc32c_append(crc, &slot[CRC.end..])
}

impl SpoolBody {
    /// Appends a message as it stands in a datagram; `false` when it does not fit.
    fn push(&mut self, message: &[u8]) -> bool {
        let size = PREFIX_LEN + message.len();
        let Some(at) = self.grow(size) else {
            return false;
        };
        at[..PREFIX_LEN].copy_from_slice(&(size as u16).to_le_bytes());
        at[PREFIX_LEN..].copy_from_slice(message);
        true
    }
}

/// The tile around the files.
pub struct SpoolTile {
    /// The files.
    pub files: SpoolFiles,
    /// From the hot tile.
    pub lane: Consumer<ToSpool>,
    /// To the hot tile, with room for all reads that may be under way.
    pub answers: Producer<SpoolAnswer>,
    /// Where it sleeps.
    pub parker: Parker,
    /// Wakes the hot tile.
    pub hot: Waker,
}

impl SpoolTile {
    /// Runs until the hot tile is gone.
    ///
    /// # Errors
    /// Any failure of the disk: nothing is tried again, the box stops.
    pub fn run(mut self, mut pace: Pace<impl Clock>) -> anyhow::Result<()> {
        loop {
            let work = self.turn()?;
            pace.turn(work);
            if work > 0 {
                continue;
            }
            if self.lane.is_abandoned() && self.lane.is_empty() {
                return Ok(());
            }
            let lane = &self.lane;
            let slept = self.parker.park(PARK, || !lane.is_empty());
            pace.slept(slept.context("spool tile")?);
        }
    }

    /// Takes what the lane holds, up to a bound; returns how much that was.
    ///
    /// # Errors
    /// Any failure of the disk.
    pub fn turn(&mut self) -> anyhow::Result<usize> {
        for taken in 0..BURST {
            match self.lane.pop() {
                None => {
                    return Ok(taken);
                }
                Some(ToSpool::Report(member, report)) => self.files.append(member, &report)?,
                Some(ToSpool::Read(read)) => self.answer(read)?,
            }
        }
        // The hot tile may wait for room.
        self.hot.wake();
        Ok(BURST)
    }

    fn answer(&mut self, read: SpoolRead) -> anyhow::Result<()> {
        let mut answer = SpoolAnswer {
            read,
            count: 0,
            body: SpoolBody::new(),
        };
        let SpoolRead {
            member,
            from,
            count,
            durable,
            ..
        } = read;
        answer.count =
            self.files
                .read(member, from, u64::from(count), durable, &mut answer.body)?;
        if planted::is(Bug::SwallowsReads) {
            return Ok(());
        }
        ensure!(
            self.answers.push(answer).is_ok(),
            "the hot tile left no room for an answer that it asked for"
        );
        self.hot.wake();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use firmware::wire::datagram;
    use firmware::wire::report::{Accepted, NotApplied};

    /// The `n`-th report of a member, of one of two sizes, of record `n`.
    fn report(member: MemberId, n: u64) -> Report {
        if n.is_multiple_of(3) {
            NotApplied {
                engine_seq: n,
                from_seq_no: u64::from(member.0),
                ..NotApplied::zeroed()
            }
            .into()
        } else {
            Accepted {
                engine_seq: n,
                account: member.0,
                ..Accepted::zeroed()
            }
            .into()
        }
    }

    fn read(
        files: &mut SpoolFiles,
        member: MemberId,
        from: u64,
        count: u64,
        durable: u64,
    ) -> Vec<Report> {
        let mut body = SpoolBody::new();
        let n = files.read(member, from, count, durable, &mut body).unwrap();
        let all: Vec<_> = datagram::messages(body.bytes())
            .map(|m| Report::decode(m.unwrap()).unwrap())
            .collect();
        assert_eq!(all.len(), n as usize);
        all
    }

    #[test]
    fn any_report_of_the_day_can_be_read_whatever_file_was_open_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = SpoolFiles::create(&dir.path().join("spool")).unwrap();
        // Twice as many members as files may be open, so that each file is closed and opened again.
        let members: Vec<_> = (1..=GATE_MEMBERS.min(2 * OPEN_MAX) as u32 - 1)
            .map(MemberId)
            .collect();
        let total = 2 * TAIL_SLOTS as u64 + 5;
        for n in 1..=total {
            for m in &members {
                files.append(*m, &report(*m, n)).unwrap();
            }
        }
        assert!(files.open.len() <= OPEN_MAX);
        for m in members.iter().step_by(17) {
            assert_eq!(files.count(*m), total);
            let mut next = 1;
            while next <= total {
                let got = read(&mut files, *m, next, u64::MAX, u64::MAX);
                assert!(!got.is_empty());
                for r in got {
                    assert_eq!(r, report(*m, next));
                    next += 1;
                }
            }
            assert_eq!(read(&mut files, *m, total + 1, 5, u64::MAX), []);
            // Across the end of what is written, with a bound on the count and one on the record.
            let edge = 2 * TAIL_SLOTS as u64 - 1;
            let want: Vec<_> = (edge..edge + 4).map(|n| report(*m, n)).collect();
            assert_eq!(read(&mut files, *m, edge, 4, u64::MAX), want);
            assert_eq!(read(&mut files, *m, edge, 4, edge + 1), want[..2]);
        }
    }

    #[test]
    fn a_spool_goes_on_behind_any_report_and_what_lies_there_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let m = MemberId(7);
        let other = MemberId(8);
        let mut files = SpoolFiles::rewrite(dir.path()).unwrap();
        for n in 1..=TAIL_SLOTS as u64 + 5 {
            files.append(m, &report(m, n)).unwrap();
        }
        files.append(other, &report(other, 1)).unwrap();
        files.sync().unwrap();
        for n in 1..=9 {
            files.append(m, &report(m, 1_000 + n)).unwrap();
        }
        files.flush().unwrap();
        // A crash: what was said after the snapshot never was, and something else is said now.
        let counts = [(m, TAIL_SLOTS as u64 + 5), (other, 1), (MemberId(9), 0)];
        let mut files = SpoolFiles::resume(dir.path(), counts.into_iter()).unwrap();
        for n in 38..=40 {
            files.append(m, &report(m, n)).unwrap();
        }
        let want: Vec<_> = (30..=40).map(|n| report(m, n)).collect();
        assert_eq!(files.count(m), 40);
        assert_eq!(read(&mut files, m, 30, 100, u64::MAX), want);
        files.flush().unwrap();
        assert_eq!(read(&mut files, m, 30, 100, u64::MAX), want);

        let path = dir.path().join("member-0007.reports");
        let sound = std::fs::read(&path).unwrap();
        let resume = || SpoolFiles::resume(dir.path(), counts.into_iter());
        for byte in (0..SLOT).chain(36 * SLOT..37 * SLOT) {
            let mut bytes = sound.clone();
            bytes[byte] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            let error = resume().unwrap_err().to_string();
            let named = format!("member-0007.reports: report {} is damaged", byte / SLOT + 1);
            assert!(error.contains(&named), "{byte}: {error}");
        }
        // Behind the last one anything may stand; before it nothing may be missing.
        let mut bytes = sound.clone();
        bytes[37 * SLOT] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        resume().unwrap();
        std::fs::write(&path, &sound[..36 * SLOT]).unwrap();
        assert!(format!("{:#}", resume().unwrap_err()).contains("cannot read"));
    }

    #[test]
    fn a_start_begins_with_an_empty_spool_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let m = MemberId(7);
        for _ in 0..2 {
            let mut files = SpoolFiles::create(&path).unwrap();
            assert_eq!(files.count(m), 0);
            for n in 1..=TAIL_SLOTS as u64 {
                files.append(m, &report(m, n)).unwrap();
            }
            assert_eq!(read(&mut files, m, 1, 1, 9), [report(m, 1)]);
            let file = path.join("member-0007.reports");
            let mut bytes = std::fs::read(&file).unwrap();
            assert_eq!(bytes.len(), TAIL_SLOTS * SLOT);
            bytes[SLOT] = 0xff;
            std::fs::write(&file, bytes).unwrap();
            let error = files.read(m, 1, 9, 9, &mut SpoolBody::new()).unwrap_err();
            assert!(
                error.to_string().contains("member-0007.reports: report 2"),
                "{error}"
            );
            std::fs::write(&file, [0; SLOT]).unwrap();
            let error = files.read(m, 2, 9, 9, &mut SpoolBody::new()).unwrap_err();
            assert!(error.to_string().contains("cannot read"), "{error}");
        }
    }
}
