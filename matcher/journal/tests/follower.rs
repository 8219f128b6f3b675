//! A copy is the original, byte for byte, wherever it was interrupted; what is not the next piece changes nothing.

use journal::{
    Config, End, Fault, FileDisk, FollowError, Follower, GroupCommit, JournalDir, Mark, Piece,
    Pieces, Reader, Record, segment_name,
};
use std::path::Path;

const SEGMENT: u64 = 64 * 1024;

fn config(epoch: u64) -> Config {
    Config {
        segment_bytes: SEGMENT,
        batch_bytes: 16 * 1024,
        epoch,
    }
}

fn end(dir: &Path) -> End {
    let mut reader = Reader::open(dir).unwrap();
    while reader.next().unwrap().is_some() {}
    reader.end().clone()
}

/// Appends records in batches of different sizes.
fn write(dir: &Path, epoch: u64, batches: u64) {
    let held = JournalDir::open(dir).unwrap();
    let end = end(dir);
    let mut journal = GroupCommit::resume(config(epoch), &end, FileDisk::new(held)).unwrap();
    for batch in 0..batches {
        for i in 0..1 + batch * 7 % 13 {
            let seq = journal.next_seq();
            let body = vec![seq as u8; (8 + i * 97 % 900) as usize];
            let record = Record {
                seq,
                time_ns: seq * 1_000,
                template: 1,
                source: 0,
                session: 7,
                body: &body,
            };
            journal.append(&record).unwrap();
        }
        journal.flush().unwrap();
    }
}

fn follower(dir: &Path) -> Follower<FileDisk> {
    let held = JournalDir::open(dir).unwrap();
    Follower::resume(SEGMENT, &end(dir), FileDisk::new(held)).unwrap()
}

/// Where a copy goes on.
fn after(original: &Path, end: &End) -> Option<Pieces> {
    let mark = Mark {
        seq: end.next_seq - 1,
        chain: end.chain,
    };
    let begun = if end.offset > 0 { end.segment } else { 0 };
    Pieces::after(original, &mark, begun).unwrap()
}

fn used(dir: &Path) -> Vec<u8> {
    let end = end(dir);
    (1..=end.segment)
        .flat_map(|s| std::fs::read(dir.join(segment_name(s))).unwrap())
        .collect()
}

#[test]
fn a_copy_is_the_same_bytes_wherever_it_was_interrupted() {
    let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (original, copy) = (original.path(), copy.path());
    let (mut total, mut starts) = (0, 0);
    for epoch in [1, 1, 4] {
        write(original, epoch, 60);
        let last = end(original).next_seq - 1;
        // A new process for each few pieces: one, two, three, and so on.
        for few in 1.. {
            let mut follower = follower(copy);
            let mut pieces = after(original, follower.end()).unwrap();
            starts += 1;
            let mut is_over = false;
            for _ in 0..few {
                let Some(piece) = pieces.next(last).unwrap() else {
                    is_over = true;
                    break;
                };
                follower.take(&piece).unwrap();
                for record in follower.records() {
                    total += 1;
                    assert_eq!(record.header.seq, total);
                    assert_eq!(record.body[0], total as u8);
                }
            }
            if is_over {
                break;
            }
        }
        assert_eq!(total, last);
        assert_eq!(end(copy), end(original));
        assert_eq!(end(copy).epoch, epoch);
        assert!(used(copy) == used(original), "the bytes differ");
    }
    assert!(starts > 30, "hardly interrupted: {starts}");
}

#[test]
fn a_piece_that_is_not_the_next_one_or_not_whole_changes_nothing() {
    let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (original, copy) = (original.path(), copy.path());
    write(original, 3, 8);
    let mut pieces = after(original, &End::genesis()).unwrap();
    let mut list = Vec::new();
    while let Some(p) = pieces.next(u64::MAX).unwrap() {
        list.push((p.segment, p.offset, p.bytes.to_vec()));
    }
    let piece = |i: usize| {
        let (segment, offset, bytes) = &list[i];
        Piece {
            segment: *segment,
            offset: *offset,
            bytes,
            last_seq: None,
        }
    };
    let mut follower = follower(copy);
    for i in 0..list.len() {
        let before = follower.end().clone();
        for other in (0..list.len()).filter(|o| *o != i) {
            let e = follower.take(&piece(other)).unwrap_err();
            assert!(matches!(e, FollowError::Refused { .. }), "{e}");
        }
        let len = list[i].2.len();
        for at in (0..len).step_by(if i < 3 { 1 } else { 61 }) {
            let mut bytes = list[i].2.clone();
            bytes[at] ^= 0x10;
            let flipped = Piece {
                bytes: &bytes,
                ..piece(i)
            };
            assert!(follower.take(&flipped).is_err(), "piece {i} byte {at:#x}");
        }
        let cut = Piece {
            bytes: &list[i].2[..len - 1],
            ..piece(i)
        };
        assert!(follower.take(&cut).is_err());
        assert_eq!(*follower.end(), before);
        follower.take(&piece(i)).unwrap();
    }
    assert!(used(copy) == used(original), "the bytes differ");
}

#[test]
fn an_older_epoch_is_refused_by_name_by_copy_and_reader() {
    let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (original, copy) = (original.path(), copy.path());
    write(original, 5, 1);
    for path in std::fs::read_dir(original).unwrap() {
        let path = path.unwrap().path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    // The original goes on under an older lead, which a writer would not do.
    let held = JournalDir::open(original).unwrap();
    let mut at = end(original);
    at.epoch = 4;
    let mut journal = GroupCommit::resume(config(4), &at, FileDisk::new(held)).unwrap();
    let record = Record {
        seq: at.next_seq,
        time_ns: 1,
        template: 1,
        source: 0,
        session: 0,
        body: &[1; 8],
    };
    journal.append(&record).unwrap();
    journal.flush().unwrap();
    let bytes = std::fs::read(original.join(segment_name(1))).unwrap();
    let batch = &bytes[at.offset as usize..at.offset as usize + 4096];
    let piece = Piece {
        segment: 1,
        offset: at.offset,
        bytes: batch,
        last_seq: None,
    };
    let fault = Fault::Epoch { found: 4, held: 5 };
    match follower(copy).take(&piece).unwrap_err() {
        FollowError::Refused { fault: found, .. } => assert_eq!(found, fault),
        other => panic!("{other}"),
    }
    let mut reader = Reader::open(original).unwrap();
    let error = loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was read"),
            Err(e) => break e.to_string(),
        }
    };
    assert!(error.contains(&fault.to_string()), "{error}");
}

#[test]
fn a_copy_of_another_history_is_told_apart_and_can_be_cut_back() {
    let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (original, copy) = (original.path(), copy.path());
    write(original, 1, 30);
    let common = end(original);
    let mut copying = follower(copy);
    let mut pieces = after(original, &End::genesis()).unwrap();
    while let Some(piece) = pieces.next(u64::MAX).unwrap() {
        copying.take(&piece).unwrap();
    }
    drop(copying);
    write(copy, 1, 50);
    assert!(after(original, &end(copy)).is_none(), "it is longer");
    write(original, 2, 90);
    assert!(after(original, &end(copy)).is_none(), "it is another");
    JournalDir::open(copy).unwrap().cut_after(&common).unwrap();
    assert_eq!(end(copy), common);
    let mut copying = follower(copy);
    let mut pieces = after(original, copying.end()).unwrap();
    while let Some(piece) = pieces.next(u64::MAX).unwrap() {
        copying.take(&piece).unwrap();
    }
    assert!(used(copy) == used(original), "the bytes differ");
    // Who fell behind is served from the segment that it is in.
    let near = Pieces::near(original, common.next_seq, common.segment, u64::MAX).unwrap();
    assert_eq!(near.next_seq(), common.next_seq);
}
