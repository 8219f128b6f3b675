//! Any bytes in a journal's segments give records, a torn tail or a precise error: never a panic, never a record
//! that was not appended, and what is accepted can be gone on from.
#![no_main]

use fuzz::Bytes;
use journal::{
    BLOCK_LEN, Chain, Config, End, FileDisk, GroupCommit, JournalDir, JournalError, Reader, Record,
    Writer, segment_name,
};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

const CONFIG: Config = Config {
    segment_bytes: 7 * BLOCK_LEN as u64,
    batch_bytes: 2 * BLOCK_LEN,
    epoch: 1,
};
const SEGMENTS: usize = 3;

type Kept = (u64, Vec<u8>, Chain);
type Segments = Vec<Vec<u8>>;

fn record(seq: u64, body: &[u8]) -> Record<'_> {
    Record {
        seq,
        time_ns: seq,
        template: 7,
        source: 0,
        session: 0,
        body,
    }
}

/// A whole journal of the fuzzer's choice, and what is in it.
fn build(data: &mut Bytes<'_>) -> (Segments, Vec<Kept>) {
    let mut segments = vec![vec![0; CONFIG.segment_bytes as usize]; SEGMENTS];
    let mut writer = Writer::resume(CONFIG, &End::genesis());
    let mut list: Vec<Kept> = Vec::new();
    for _ in 0..1 + data.below(12) {
        let before = list.len();
        for _ in 0..1 + data.below(5) {
            let len_max = if data.flag() { 64 } else { 2_500 };
            let len = data.below(len_max) as usize;
            let mut body = vec![data.byte(); len];
            let seq = writer.next_seq();
            if writer.append(&record(seq, &body)).is_err() {
                break;
            }
            body.resize(len.next_multiple_of(8), 0);
            list.push((seq, body, writer.chain()));
        }
        while let Some(batch) = writer.take_batch(u32::MAX) {
            let (segment, at) = (batch.segment() as usize, batch.offset() as usize);
            if segment > SEGMENTS {
                list.truncate(before);
                return (segments, list);
            }
            segments[segment - 1][at..at + batch.bytes().len()].copy_from_slice(batch.bytes());
            writer.give_back(batch);
        }
    }
    (segments, list)
}

/// Damage of the fuzzer's choice.
fn damage(data: &mut Bytes<'_>, segments: &mut Segments) {
    while !data.is_empty() {
        let segment = data.below(SEGMENTS as u32) as usize;
        let len = segments[segment].len();
        if len == 0 {
            return;
        }
        let at = data.below(len as u32) as usize;
        match data.below(6) {
            0 => segments[segment][at] ^= 1 << data.below(8),
            1 => segments[segment][at] = data.byte(),
            2 => {
                let end = (at + data.below(9_000) as usize).min(len);
                segments[segment][at..end].fill(0);
            }
            3 => segments[segment].truncate(at),
            4 => {
                // A block that landed somewhere else.
                let from = data.below(SEGMENTS as u32) as usize;
                let block = at - at % BLOCK_LEN;
                let blocks = segments[from].len() / BLOCK_LEN;
                if blocks > 0 && block + BLOCK_LEN <= len {
                    let source = data.below(blocks as u32) as usize * BLOCK_LEN;
                    let copy = segments[from][source..source + BLOCK_LEN].to_vec();
                    segments[segment][block..block + BLOCK_LEN].copy_from_slice(&copy);
                }
            }
            _ => {
                let bytes = data.array::<16>();
                let end = (at + bytes.len()).min(len);
                segments[segment][at..end].copy_from_slice(&bytes[..end - at]);
            }
        }
    }
}

/// What a reader makes of it, up to an error.
fn read(dir: &Path) -> (Vec<Kept>, Result<End, JournalError>) {
    let mut list = Vec::new();
    let mut read = || {
        let mut reader = Reader::open(dir)?;
        while let Some(view) = reader.next()? {
            list.push((view.header.seq, view.body.to_vec(), view.chain.hash()));
        }
        Ok(reader.end().clone())
    };
    let end = read();
    (list, end)
}

fn check(dir: &Path, appended: Option<&[Kept]>) {
    let (found, end) = read(dir);
    if let Some(list) = appended {
        assert!(list.starts_with(&found), "a record that nobody appended");
    }
    let end = match end {
        Ok(end) => end,
        Err(JournalError::Corrupt { segment, seq, .. }) => {
            assert!((1..=SEGMENTS as u32).contains(&segment));
            assert!(seq > found.len() as u64, "what was read is whole");
            return;
        }
        Err(JournalError::Missing { .. }) => return,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(end.next_seq, found.len() as u64 + 1);
    let disk = FileDisk::new(JournalDir::open(dir).expect("a lock"));
    let mut journal = GroupCommit::resume(CONFIG, &end, disk).expect("a journal to go on with");
    journal
        .append(&record(end.next_seq, &[9; 16]))
        .expect("room");
    journal.flush().expect("a disk");
    let chain = journal.chain();
    drop(journal);
    let (again, end) = read(dir);
    end.expect("what was accepted can be gone on from");
    assert!(again.starts_with(&found) && again.len() == found.len() + 1);
    assert_eq!(again.last().map(|r| r.2), Some(chain));
}

fuzz_target!(|data: &[u8]| {
    let dir = tempfile::tempdir_in("/dev/shm").expect("memory");
    let mut data = Bytes::new(data);
    let is_raw = data.below(4) == 0;
    let (mut segments, mut list) = (vec![vec![0; CONFIG.segment_bytes as usize]; SEGMENTS], None);
    if !is_raw {
        let (built, appended) = build(&mut data);
        segments = built;
        list = Some(appended);
    }
    damage(&mut data, &mut segments);
    for (number, bytes) in (1..).zip(&segments) {
        std::fs::write(dir.path().join(segment_name(number)), bytes).expect("memory");
    }
    check(dir.path(), list.as_deref());
});
