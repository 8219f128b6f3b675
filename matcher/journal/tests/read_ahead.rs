//! Reading ahead against reading.

use journal::{Config, End, FileDisk, GroupCommit, JournalDir, Mark, ReadAhead, Reader, Record};

/// Reading ahead gives what reading gives: records, hashes, end, and the fault of a damaged journal.
#[test]
fn a_journal_that_is_read_ahead_is_the_same_journal() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let config = Config {
        segment_bytes: 1 << 20,
        batch_bytes: 64 * 1024,
        epoch: 0,
    };
    let disk = FileDisk::new(JournalDir::open(dir).unwrap());
    let mut journal = GroupCommit::resume(config, &End::genesis(), disk).unwrap();
    for seq in 1..=30_000_u64 {
        let body = vec![seq as u8; 8 + (seq % 97) as usize];
        let record = Record {
            seq,
            time_ns: seq,
            template: 1,
            source: 2,
            session: 3,
            body: &body,
        };
        while journal.append(&record).is_err() {
            journal.wait().unwrap();
        }
        if seq % 41 == 0 {
            journal.flush().unwrap();
        }
    }
    journal.flush().unwrap();
    let compare = |from: &Mark| {
        let mut plain = Reader::open_at(dir, from).unwrap();
        let mut ahead = ReadAhead::start(Reader::open_at(dir, from).unwrap()).unwrap();
        loop {
            assert_eq!(
                (plain.next_seq(), plain.chain()),
                (ahead.next_seq(), ahead.chain())
            );
            match (plain.next().unwrap(), ahead.next().unwrap()) {
                (None, None) => break,
                (one, other) => {
                    let (one, other) = (one.unwrap(), other.unwrap());
                    assert_eq!((one.header, one.body), (other.header, other.body));
                    assert_eq!(one.body.as_ptr() as usize % 8, 0);
                    assert_eq!(other.body.as_ptr() as usize % 8, 0);
                    if one.header.seq % 13 == 0 {
                        assert_eq!(one.chain.hash(), other.chain.hash());
                    }
                }
            }
        }
        assert_eq!(*plain.end(), ahead.end());
    };
    compare(&Mark {
        seq: 0,
        chain: journal::genesis(),
    });
    let mut reader = Reader::open(dir).unwrap();
    while reader.next_seq() <= 12_345 {
        reader.next().unwrap().unwrap();
    }
    compare(&Mark {
        seq: 12_345,
        chain: reader.chain(),
    });

    let path = journal::segment_path(dir, 2);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[300_000] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let mut plain = Reader::open(dir).unwrap();
    let mut ahead = ReadAhead::start(Reader::open(dir).unwrap()).unwrap();
    let fault = |next: &mut dyn FnMut() -> Result<bool, journal::JournalError>| loop {
        match next() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(e) => return Some(e.to_string()),
        }
    };
    let one = fault(&mut || plain.next().map(|r| r.is_some()));
    assert!(one.is_some());
    assert_eq!(one, fault(&mut || ahead.next().map(|r| r.is_some())));
}
