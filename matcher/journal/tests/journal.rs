//! The journal against a plain list of what was appended.

use firmware::wire::journal::RECORD_HEADER_LEN;
use journal::{
    ARCHIVE, Chain, Config, End, FileDisk, GroupCommit, JournalDir, JournalError, Mark, Reader,
    Record, Tail, archive, genesis, segment_name,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::os::unix::fs::FileExt;
use std::path::Path;

const CONFIG: Config = Config {
    segment_bytes: 32 * 1024,
    batch_bytes: 16 * 1024,
    epoch: 7,
};

/// A record as a list keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    seq: u64,
    time_ns: u64,
    template: u16,
    source: u16,
    session: u32,
    body: Vec<u8>,
    chain: Chain,
}

fn kept(view: &journal::RecordView<'_>) -> Kept {
    let h = view.header;
    assert_eq!(h.len as usize, RECORD_HEADER_LEN + view.body.len());
    assert_eq!(
        view.body.as_ptr() as usize % 8,
        0,
        "bodies can be read in place"
    );
    Kept {
        seq: h.seq,
        time_ns: h.time_ns,
        template: h.template,
        source: h.source,
        session: h.session,
        body: view.body.to_vec(),
        chain: view.chain.hash(),
    }
}

fn read(dir: &Path) -> Result<(Vec<Kept>, End), JournalError> {
    let mut reader = Reader::open(dir)?;
    let mut all = Vec::new();
    while let Some(view) = reader.next()? {
        all.push(kept(&view));
    }
    Ok((all, reader.end().clone()))
}

fn resume(dir: &Path, end: &End) -> GroupCommit<FileDisk> {
    let disk = FileDisk::new(JournalDir::open(dir).unwrap());
    GroupCommit::resume(CONFIG, end, disk).unwrap()
}

/// Appends a record whose fields follow from its number and body.
fn append(journal: &mut GroupCommit<FileDisk>, list: &mut Vec<Kept>, body: &[u8]) {
    let seq = journal.next_seq();
    let (time_ns, template, source, session) = (seq * 1000, seq as u16, 3, seq as u32 * 7);
    let record = Record {
        seq,
        time_ns,
        template,
        source,
        session,
        body,
    };
    if journal.append(&record).is_err() {
        journal.flush().unwrap();
        journal.append(&record).unwrap();
    }
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(8), 0);
    list.push(Kept {
        seq,
        time_ns,
        template,
        source,
        session,
        body,
        chain: journal.chain(),
    });
}

/// A journal of batches with the given bodies, and the list of what is in it.
fn build(dir: &Path, batches: &[Vec<Vec<u8>>]) -> Vec<Kept> {
    let mut list = Vec::new();
    let mut journal = resume(dir, &End::genesis());
    for batch in batches {
        for body in batch {
            append(&mut journal, &mut list, body);
        }
        journal.flush().unwrap();
    }
    list
}

fn body(len: usize, salt: u8) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add(salt) | 1)
        .collect()
}

/// Three batches of a few records in one segment; the last begins at the offset returned.
fn three_batches(dir: &Path) -> (Vec<Kept>, u64, usize) {
    let batches = [
        vec![body(48, 1), body(5, 2)],
        vec![body(96, 3), body(0, 4), body(4000, 5)],
        vec![body(48, 6), body(13, 7), body(1200, 8), body(64, 9)],
    ];
    let list = build(dir, &batches);
    (list, 4096 + 4096 + 8192, 4)
}

#[test]
fn the_bytes_on_disk_stay_the_same_from_release_to_release() {
    let dir = tempfile::tempdir().unwrap();
    let (list, ..) = three_batches(dir.path());
    let bytes = std::fs::read(dir.path().join(segment_name(1))).unwrap();
    assert_eq!(bytes.len() as u64, CONFIG.segment_bytes);
    let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(&genesis()[..8]), GENESIS);
    assert_eq!(hex(&list.last().unwrap().chain[..8]), CHAIN);
    assert_eq!(hex(&blake3::hash(&bytes).as_bytes()[..8]), FILE);
}
const GENESIS: &str = "836f5e53b48cae60";
const CHAIN: &str = "c616e7f005456a50";
const FILE: &str = "5fe1c3dd2ac94c4d";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_appended_is_read_back_over_batches_segments_and_restarts(
        runs in vec(vec(vec((0..600_usize, any::<u8>()), 1..12), 1..6), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut list, mut seen) = (Vec::new(), Vec::new());
        let mut live = Reader::open(dir.path()).unwrap();
        let mut end = End::genesis();
        for run in runs {
            let mut journal = resume(dir.path(), &end);
            for batch in run {
                for (len, salt) in batch {
                    append(&mut journal, &mut list, &body(len, salt));
                }
                journal.flush().unwrap();
                prop_assert_eq!(journal.durable_seq(), list.len() as u64);
                while let Some(view) = live.next_until(journal.durable_seq()).unwrap() {
                    seen.push(kept(&view));
                }
                prop_assert_eq!(&seen, &list);
            }
            prop_assert_eq!(journal.chain(), list.last().unwrap().chain);
            drop(journal);
            let (found, at) = read(dir.path()).unwrap();
            prop_assert_eq!(&found, &list);
            prop_assert_eq!(&at.tail, &Tail::Clean);
            prop_assert_eq!(at.last_time_ns, list.len() as u64 * 1000);
            end = at;
        }
    }
}

#[test]
fn the_chain_is_one_hash_over_each_batch_and_over_its_first_part_for_a_record_inside() {
    let dir = tempfile::tempdir().unwrap();
    let (list, ..) = three_batches(dir.path());
    let bytes = std::fs::read(dir.path().join(segment_name(1))).unwrap();
    let mut kept = list.iter();
    let mut before = genesis();
    for (batch, records) in [(0x1000, 2), (0x2000, 3), (0x4000, 4)] {
        let mut end = batch + 72;
        for _ in 0..records {
            end += u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
            let epoch = &bytes[batch + 32..batch + 40];
            let hash = blake3::hash(&[epoch, &before[..], &bytes[batch + 72..end]].concat());
            assert_eq!(kept.next().unwrap().chain, *hash.as_bytes());
        }
        assert_eq!(bytes[batch + 40..batch + 72], before);
        before = kept
            .as_slice()
            .first()
            .map_or(before, |_| list[list.len() - kept.len() - 1].chain);
    }
    assert!(kept.next().is_none());
}

#[test]
fn a_reader_inside_a_batch_knows_the_hash_of_what_it_read() {
    let dir = tempfile::tempdir().unwrap();
    let (list, ..) = three_batches(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.chain(), genesis());
    for kept in &list {
        assert!(reader.next().unwrap().is_some());
        assert_eq!(reader.chain(), kept.chain);
    }
}

/// Reads after damage that a torn write could have done; the batches before must be whole.
fn expect_torn(dir: &Path, list: &[Kept], last: usize, what: &str) -> End {
    let (found, end) = read(dir).unwrap_or_else(|e| panic!("{what}: {e}"));
    let before = &list[..list.len() - last];
    assert!(
        found == list || found == before,
        "{what}: {} records",
        found.len()
    );
    if found == list {
        assert_eq!(end.tail, Tail::Clean, "{what}");
    }
    end
}

#[test]
fn a_last_batch_cut_at_any_byte_loses_itself_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (list, offset, last) = three_batches(dir.path());
    let path = dir.path().join(segment_name(1));
    let good = std::fs::read(&path).unwrap();
    for k in 0..=1700 {
        let cut = offset as usize + k;
        for is_truncated in [true, false] {
            let mut bytes = good[..cut].to_vec();
            if !is_truncated {
                bytes.resize(good.len(), 0);
            }
            std::fs::write(&path, &bytes).unwrap();
            let what = format!("cut at byte {k}, truncated {is_truncated}");
            let end = expect_torn(dir.path(), &list, last, &what);
            if end.next_seq == list.len() as u64 + 1 {
                assert!(k > 1200, "{what}");
            } else if k > 0 {
                let Tail::Torn {
                    segment: 1,
                    offset: at,
                    bytes,
                    ..
                } = end.tail
                else {
                    panic!("{what}: {:?}", end.tail)
                };
                assert_eq!(at, offset);
                assert!(bytes <= k as u64);
            }
            if k % 331 == 0 {
                let mut list = list[..end.next_seq as usize - 1].to_vec();
                let mut journal = resume(dir.path(), &end);
                append(&mut journal, &mut list, &body(40, 99));
                journal.flush().unwrap();
                drop(journal);
                let (found, end) = read(dir.path()).unwrap();
                assert_eq!((found, end.tail), (list, Tail::Clean), "{what}");
                assert_eq!(
                    std::fs::metadata(&path).unwrap().len(),
                    CONFIG.segment_bytes
                );
                std::fs::remove_file(dir.path().join(segment_name(2))).unwrap();
                std::fs::remove_file(dir.path().join(segment_name(3))).unwrap();
            }
        }
    }
}

#[test]
fn a_last_batch_with_any_sectors_missing_loses_itself_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let batches = [
        vec![body(48, 1)],
        (0..30).map(|i| body(48 + i, i as u8)).collect(),
    ];
    let list = build(dir.path(), &batches);
    let path = dir.path().join(segment_name(1));
    let good = std::fs::read(&path).unwrap();
    let sectors = 30 * 110 / 512;
    for missing in 0..1_u32 << sectors {
        let mut bytes = good.clone();
        for sector in (0..sectors).filter(|s| missing >> s & 1 == 1) {
            bytes[8192 + sector * 512..][..512].fill(0);
        }
        std::fs::write(&path, &bytes).unwrap();
        let end = expect_torn(
            dir.path(),
            &list,
            30,
            &format!("sectors {missing:b} missing"),
        );
        assert_eq!(end.next_seq == 32, missing == 0);
    }
}

#[test]
fn a_segment_header_cut_at_any_byte_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let list = build(
        dir.path(),
        &[
            vec![body(12_000, 1)],
            vec![body(12_000, 2)],
            vec![body(12_000, 3)],
        ],
    );
    let path = dir.path().join(segment_name(2));
    let good = std::fs::read(&path).unwrap();
    for k in 0..90 {
        let mut bytes = good[..k].to_vec();
        bytes.resize(good.len(), 0);
        std::fs::write(&path, &bytes).unwrap();
        let end = expect_torn(dir.path(), &list, 1, &format!("header cut at byte {k}"));
        assert_eq!(
            (end.segment, end.next_seq),
            if k < 80 { (1, 3) } else { (2, 3) }
        );
        assert_eq!(
            matches!(
                end.tail,
                Tail::Torn {
                    segment: 2,
                    offset: 0,
                    ..
                }
            ),
            0 < k && k < 80
        );
        if k % 13 == 0 {
            let mut list = list[..2].to_vec();
            let mut journal = resume(dir.path(), &end);
            append(&mut journal, &mut list, &body(12_000, 4));
            journal.flush().unwrap();
            drop(journal);
            assert_eq!(read(dir.path()).unwrap().0, list);
        }
    }
}

/// Flips each byte of `range` of a segment in one bit, which changes from byte to byte.
fn flips(path: &Path, range: std::ops::Range<u64>, mut check: impl FnMut(u64)) {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    for at in range {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << (at % 8)], at).unwrap();
        check(at);
        file.write_all_at(&byte, at).unwrap();
    }
}

#[test]
fn a_bit_flipped_in_what_was_durable_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (list, last_batch, _) = three_batches(dir.path());
    let path = dir.path().join(segment_name(1));
    flips(&path, 0..last_batch, |at| match read(dir.path()) {
        Err(JournalError::Corrupt {
            segment: 1,
            offset,
            seq,
            ..
        }) => {
            // The batch's or record's place: at the flip or shortly before it.
            assert!(
                offset <= at && at < offset + 8192,
                "byte {at:#x} named at {offset:#x}"
            );
            assert!(seq >= 1 && seq <= list.len() as u64);
        }
        other => panic!("byte {at:#x}: {other:?}"),
    });
}

#[test]
fn a_bit_flipped_before_a_later_segment_is_found_there() {
    let dir = tempfile::tempdir().unwrap();
    build(
        dir.path(),
        &[
            vec![body(12_000, 1)],
            vec![body(12_000, 2)],
            vec![body(12_000, 3)],
        ],
    );
    let path = dir.path().join(segment_name(1));
    flips(&path, 4096 + 2 * 12_288..CONFIG.segment_bytes, |at| {
        let Err(JournalError::Corrupt { segment: 1, .. }) = read(dir.path()) else {
            panic!("byte {at:#x} of the unused end of a segment");
        };
    });
    let path = dir.path().join(segment_name(2));
    flips(&path, 0..4096, |at| {
        let Err(JournalError::Corrupt { .. }) = read(dir.path()) else {
            panic!("byte {at:#x} of a segment header");
        };
    });
}

#[test]
fn a_bit_flipped_in_the_last_batch_is_never_taken_for_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let (list, last_batch, last) = three_batches(dir.path());
    let path = dir.path().join(segment_name(1));
    let (mut refused, mut torn) = (0, 0);
    flips(&path, last_batch..CONFIG.segment_bytes, |at| {
        match read(dir.path()) {
            Err(JournalError::Corrupt { segment: 1, .. }) => refused += 1,
            Ok((
                found,
                End {
                    tail: Tail::Torn { .. },
                    ..
                },
            )) => {
                let whole = &list[..found.len()];
                assert!(
                    found == whole && found.len() + last >= list.len(),
                    "byte {at:#x}"
                );
                torn += 1;
            }
            other => panic!("byte {at:#x}: {other:?}"),
        }
    });
    // Nearly all flips inside the batch are told from a cut write.
    assert!(refused > 1400 && torn > 0, "{refused} refused, {torn} torn");
}

#[test]
fn an_error_names_segment_offset_and_record() {
    let dir = tempfile::tempdir().unwrap();
    three_batches(dir.path());
    let path = dir.path().join(segment_name(1));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    // In the body of record 3, the first of the second batch.
    file.write_all_at(&[0], 0x2000 + 72 + 40).unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    let place = "journal-00000001.seg offset 0x2048: record 3: crc mismatch (stored 0x";
    assert!(error.starts_with(place), "{error}");
}

#[test]
fn a_zeroed_batch_before_a_whole_one_is_a_hole_not_an_end() {
    let dir = tempfile::tempdir().unwrap();
    three_batches(dir.path());
    let path = dir.path().join(segment_name(1));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0; 8192], 0x2000).unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    assert_eq!(
        error,
        "journal-00000001.seg offset 0x2000: record 3: nothing here, but a later batch at \
         journal-00000001.seg offset 0x4000 is whole"
    );
}

#[test]
fn a_batch_of_another_journal_or_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_, last_batch, _) = three_batches(dir.path());
    let path = dir.path().join(segment_name(1));
    let good = std::fs::read(&path).unwrap();
    // The second batch again where the third was, then where the fourth would be.
    for at in [last_batch as usize, last_batch as usize + 4096] {
        let mut bytes = good.clone();
        bytes.copy_within(8192..16384, at);
        std::fs::write(&path, &bytes).unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("it belongs to segment 1 block 2"), "{error}");
    }
    let other = tempfile::tempdir().unwrap();
    let batches = [
        vec![body(48, 1), body(5, 2)],
        vec![body(96, 0), body(0, 4), body(4000, 5)],
    ];
    build(other.path(), &batches);
    let foreign = std::fs::read(other.path().join(segment_name(1))).unwrap();
    let mut bytes = good.clone();
    bytes[8192..16384].copy_from_slice(&foreign[8192..16384]);
    std::fs::write(&path, &bytes).unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("offset 0x4000") && error.contains("chain hash differs"),
        "{error}"
    );
}

#[test]
fn a_missing_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    build(
        dir.path(),
        &[
            vec![body(12_000, 1)],
            vec![body(12_000, 2)],
            vec![body(12_000, 3)],
        ],
    );
    std::fs::remove_file(dir.path().join(segment_name(2))).unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    assert_eq!(
        error,
        "journal-00000002.seg is missing, but journal-00000003.seg exists"
    );
}

/// A journal over several segments, with batches of several records, and its list.
fn six_segments(dir: &Path) -> Vec<Kept> {
    let batches: Vec<Vec<Vec<u8>>> = (0..18)
        .map(|i| (0..=i % 4).map(|n| body(2500 + 31 * i, n as u8)).collect())
        .collect();
    let list = build(dir, &batches);
    assert!(dir.join(segment_name(6)).exists());
    list
}

fn mark(list: &[Kept], seq: u64) -> Mark {
    let chain = (seq as usize)
        .checked_sub(1)
        .map_or_else(genesis, |i| list[i].chain);
    Mark { seq, chain }
}

#[test]
fn a_reader_opened_at_any_record_goes_on_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let list = six_segments(dir.path());
    let whole = read(dir.path()).unwrap().1;
    for seq in 0..=list.len() as u64 {
        let mut reader = Reader::open_at(dir.path(), &mark(&list, seq)).unwrap();
        assert_eq!(
            (reader.next_seq(), reader.chain()),
            (seq + 1, mark(&list, seq).chain)
        );
        let mut rest = Vec::new();
        while let Some(view) = reader.next().unwrap() {
            rest.push(kept(&view));
        }
        assert_eq!(rest, list[seq as usize..], "from {seq}");
        assert_eq!(reader.end(), &whole, "the writer can go on, from {seq}");
    }
}

#[test]
fn a_mark_of_another_journal_or_beyond_the_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let list = six_segments(dir.path());
    let open = |m: &Mark| match Reader::open_at(dir.path(), m) {
        Ok(_) => panic!("{m:?} was taken"),
        Err(e) => e.to_string(),
    };
    for seq in [0, 1, 7, list.len() as u64] {
        let mut other = mark(&list, seq);
        other.chain[31] ^= 1;
        let error = open(&other);
        assert!(error.contains("this is another journal"), "{error}");
    }
    let last = list.len() as u64;
    let beyond = Mark {
        seq: last + 1,
        chain: genesis(),
    };
    assert_eq!(
        open(&beyond),
        format!(
            "the journal ends with record {last}, but record {} had been durable",
            last + 1
        )
    );
    std::fs::remove_file(dir.path().join(segment_name(1))).unwrap();
    assert_eq!(
        open(&mark(&list, 1)),
        "record 1 is in no segment of the journal or its archive"
    );
}

#[test]
fn a_reader_opened_at_a_mark_needs_no_segment_before_it_and_checks_all_after() {
    let dir = tempfile::tempdir().unwrap();
    let list = six_segments(dir.path());
    let later = list.len() as u64 - 3;
    for segment in 1..=3 {
        std::fs::remove_file(dir.path().join(segment_name(segment))).unwrap();
    }
    let mut reader = Reader::open_at(dir.path(), &mark(&list, later)).unwrap();
    assert_eq!(kept(&reader.next().unwrap().unwrap()), list[later as usize]);
    let error = Reader::open(dir.path()).err().unwrap().to_string();
    assert!(
        error.starts_with("journal-00000001.seg is missing"),
        "{error}"
    );
    std::fs::remove_file(dir.path().join(segment_name(5))).unwrap();
    let in_fourth = list.iter().rposition(|k| {
        Reader::open_at(dir.path(), &mark(&list, k.seq))
            .is_err_and(|e| e.to_string().contains("00000005.seg is missing"))
    });
    assert!(
        in_fourth.is_some(),
        "the hole after the mark's segment is named"
    );
}

#[test]
fn closed_segments_move_to_the_archive_and_are_read_there() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let list = six_segments(dir);
    let here = |n| dir.join(segment_name(n)).exists();
    let there = |n| dir.join(ARCHIVE).join(segment_name(n)).exists();
    assert_eq!(archive(dir, 1, 0).unwrap(), [0; 0], "all is needed");
    assert!(!dir.join(ARCHIVE).exists());
    // The record is one of segment 3: it and what follows stays.
    let needed = 1
        + (1..=list.len() as u64)
            .find(|seq| {
                let mut reader = Reader::open_at(dir, &mark(&list, *seq - 1)).unwrap();
                reader.next().unwrap();
                reader.batch().segment == 3
            })
            .unwrap();
    assert_eq!(archive(dir, needed, 0).unwrap(), [1, 2]);
    assert_eq!(archive(dir, needed, 0).unwrap(), [0; 0]);
    assert!(there(1) && there(2) && !here(1) && !here(2) && here(3));
    // Everything may go: two closed ones are kept, and the one being written.
    let mut left = 3..;
    let moved = archive(dir, u64::MAX, 2).unwrap();
    assert!(moved.iter().all(|n| left.next() == Some(*n)));
    let current = moved.last().unwrap() + 3;
    assert!(here(current) && here(current - 1) && here(current - 2) && !here(current - 3));
    assert_eq!(read(dir).unwrap().0, list);
    let end = read(dir).unwrap().1;
    let mut list = list;
    let mut journal = resume(dir, &end);
    append(&mut journal, &mut list, &body(40, 99));
    journal.flush().unwrap();
    drop(journal);
    assert_eq!(read(dir).unwrap().0, list);
}

#[test]
fn an_archive_on_another_disk_gets_copies() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let dir = dir.path();
    use std::os::unix::fs::MetadataExt;
    let is_other = std::fs::metadata(dir).unwrap().dev() != other.path().metadata().unwrap().dev();
    assert!(is_other, "/dev/shm is a file system of its own");
    std::os::unix::fs::symlink(other.path(), dir.join(ARCHIVE)).unwrap();
    let list = six_segments(dir);
    let moved = archive(dir, u64::MAX, 0).unwrap();
    assert!(moved.len() >= 5);
    assert!(other.path().join(segment_name(1)).exists() && !dir.join(segment_name(1)).exists());
    assert_eq!(read(dir).unwrap().0, list);
}

#[test]
fn a_live_reader_goes_on_while_segments_move() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut reader = Reader::open(dir).unwrap();
    let (mut list, mut seen) = (Vec::new(), Vec::new());
    let mut journal = resume(dir, &End::genesis());
    for i in 0..60_usize {
        append(&mut journal, &mut list, &body(9000, i as u8));
        journal.flush().unwrap();
        if i % 7 == 6 {
            archive(dir, u64::MAX, 0).unwrap();
            while let Some(view) = reader.next_until(journal.durable_seq()).unwrap() {
                seen.push(kept(&view));
            }
            assert_eq!(seen, list);
        }
    }
}

#[test]
fn a_segment_cut_short_at_any_byte_before_a_later_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let batches = [
        vec![body(12_000, 1)],
        vec![body(12_000, 2)],
        vec![body(12_000, 3)],
    ];
    build(dir.path(), &batches);
    let path = dir.path().join(segment_name(1));
    let good = std::fs::read(&path).unwrap();
    // Up to where the padding of its last batch begins: zeros that are missing are zeros.
    for len in (0..4096 + 12_288 + 12_096).step_by(97) {
        std::fs::write(&path, &good[..len]).unwrap();
        match read(dir.path()) {
            Err(JournalError::Corrupt { segment: 1, .. }) => {}
            Err(other) => panic!("cut at {len}: {other}"),
            Ok((found, _)) => panic!("cut at {len}: {} records", found.len()),
        }
    }
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = JournalDir::open(dir.path()).unwrap();
    let error = JournalDir::open(dir.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("is in use by another process (it holds the lock)"),
        "{error}"
    );
    drop(first);
    JournalDir::open(dir.path()).unwrap();
}

#[test]
fn a_segment_that_was_never_finished_is_removed_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let names = [
        "journal-00000009.tmp",
        "journal-9.tmp",
        "notes.tmp",
        "journal-00000009.txt",
    ];
    for name in names {
        std::fs::write(dir.path().join(name), b"x").unwrap();
    }
    JournalDir::open(dir.path()).unwrap();
    assert_eq!(
        names.map(|n| dir.path().join(n).exists()),
        [false, true, true, true]
    );
}

#[test]
fn a_full_writer_gives_the_record_back_and_goes_on_when_a_write_completes() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = resume(dir.path(), &End::genesis());
    let body = body(16_000, 1);
    let record = |seq| Record {
        seq,
        time_ns: 0,
        template: 0,
        source: 0,
        session: 0,
        body: &body,
    };
    journal.append(&record(1)).unwrap();
    assert_eq!(journal.append(&record(2)), Err(journal::Full));
    // The header of the segment, then the first record, which frees the other buffer.
    assert!(journal.poll().unwrap() && journal.poll().unwrap());
    journal.append(&record(2)).unwrap();
    assert_eq!(journal.append(&record(3)), Err(journal::Full));
    assert_eq!(journal.durable_seq(), 0);
    journal.flush().unwrap();
    assert_eq!((journal.durable_seq(), journal.next_seq()), (2, 3));
    assert_eq!(journal.free_segments(), 2);
}

#[test]
#[should_panic(expected = "records are numbered without gaps")]
fn a_gap_in_the_numbers_stops_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = resume(dir.path(), &End::genesis());
    let record = Record {
        seq: 2,
        time_ns: 0,
        template: 0,
        source: 0,
        session: 0,
        body: &[],
    };
    let _ = journal.append(&record);
}
