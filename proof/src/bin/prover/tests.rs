//! Forged and damaged files are refused by name; no key is needed for that.

#[path = "../../../tests/prover_venue/mod.rs"]
mod venue;

use crate::batches::{batch_path, next_batch};
use crate::replay::Replay;
use crate::store::{OnChain, Store, Stored, Words, proven_batch, word_name};
use firmware::wire::input::InDeposit;
use matcher::batch::SealedBatch;
use proof::{BatchProof, ChainContext, State, WORDS};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use venue::{MAKER, TAKER, Venue};

const CHAIN: ChainContext = ChainContext {
    chain_id: 31_337,
    contract: [0x5f; 20],
};

fn owner(account: u32) -> [u8; 20] {
    [account as u8; 20]
}

/// A venue with two sealed batches: deposits; then trades, a price and a withdrawal.
fn two_batches() -> (TempDir, Venue) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut venue = Venue::open(dir.path());
    for (queue_index, account) in [(0, MAKER), (1, TAKER)] {
        let deposit = InDeposit {
            queue_index,
            amount: 5_000_000_000,
            account,
            owner: owner(account),
            key: [0; 32],
        };
        assert_eq!(venue.deposit(&deposit), Ok(queue_index + 1));
        assert_eq!(venue.deposit(&deposit), Ok(queue_index + 1), "once only");
    }
    assert_eq!(venue.next_deposit(), 2);
    assert_eq!(venue.seal(), 1);
    venue.trade();
    venue.price(2, 60_050_000_000);
    venue.withdraw(MAKER, 1_000_000);
    assert_eq!(venue.seal(), 2);
    (dir, venue)
}

fn read(data: &Path, batch_no: u64) -> SealedBatch {
    let bytes = fs::read(batch_path(data, batch_no)).expect("sealed");
    matcher::batch::decode(&bytes).expect("sound")
}

fn write(data: &Path, batch: &SealedBatch) {
    let mut bytes = Vec::new();
    matcher::batch::encode(batch, &mut bytes);
    fs::write(batch_path(data, batch.batch_no), bytes).expect("written");
}

/// Both batches, or the first error.
fn follow(data: &Path) -> Result<[SealedBatch; 2], String> {
    let mut replay = Replay::open(&data.join("journal")).map_err(|e| format!("{e:#}"))?;
    let mut next = |n| match next_batch(data, n, &mut replay) {
        Ok(batch) => Ok(batch.expect("the file is there")),
        Err(e) => Err(format!("{e:#}")),
    };
    Ok([next(1)?, next(2)?])
}

#[test]
fn the_journal_replayed_here_seals_what_the_venue_sealed_and_the_state_takes_it() {
    let (dir, _venue) = two_batches();
    let data = dir.path();
    let [first, second] = follow(data).expect("honest");
    assert_eq!(
        [first.clone(), second.clone()],
        [1, 2].map(|n| read(data, n))
    );
    assert_eq!((second.fills.len(), second.withdrawals.len()), (2, 1));
    let mut state = State::genesis();
    for batch in [&first, &second] {
        let old = state.root();
        let witness = state.apply(batch).expect("provable");
        assert_eq!(witness.old_root(), old);
        assert_eq!(witness.new_root(), state.root());
    }
    let mut replay = Replay::open(&data.join("journal")).expect("a journal");
    let none = next_batch(data, 3, &mut replay).expect("nothing wrong");
    assert!(none.is_none(), "not sealed yet");
    let mut at_rest = Vec::new();
    while let Some(batch) = replay.batch_at_rest().expect("sound") {
        at_rest.push(batch);
    }
    assert_eq!(at_rest, [first, second]);
    assert_eq!(replay.tail(), None);
}

#[test]
fn a_batch_file_that_says_other_than_the_journal_is_refused_by_its_first_difference() {
    let (dir, _venue) = two_batches();
    let data = dir.path();
    let honest = read(data, 2);
    type Forge = fn(&mut SealedBatch);
    let forgeries: [(&str, Forge); 9] = [
        ("fill row 1 is FillRow", |b| b.fills[1].lots += 1),
        ("1 fill rows, the replay says 2", |b| b.fills.truncate(1)),
        ("withdrawal 0 is WithdrawalRow", |b| {
            b.withdrawals[0].owner[0] ^= 1;
        }),
        ("touched account 0 is Touched", |b| {
            b.touched[0].new.cash_pico += 1;
        }),
        ("risk column 0 is Column", |b| {
            b.table.columns[0].mark_micro += 1;
        }),
        ("risk table", |b| b.table.epoch += 1),
        ("new fund is", |b| b.fund_new_pico += 1),
        ("journal hash is \"0x", |b| b.journal_hash[31] ^= 1),
        ("state hash is \"0x", |b| b.state_hash[0] ^= 1),
    ];
    for (expected, forge) in forgeries {
        let mut forged = honest.clone();
        forge(&mut forged);
        write(data, &forged);
        let error = follow(data).expect_err(expected);
        let start = format!(
            "{} is not what the journal leads to: {expected}",
            batch_path(data, 2).display()
        );
        assert!(error.starts_with(&start), "{error}");
    }
    let mut early = honest;
    early.last_seq.0 -= 1;
    write(data, &early);
    let error = follow(data).expect_err("sealed later");
    assert!(error.contains("seals no batch 2"), "{error}");
}

#[test]
fn a_flipped_byte_of_a_batch_file_or_of_the_journal_is_named() {
    let (dir, _venue) = two_batches();
    let data = dir.path();
    let path = batch_path(data, 1);
    let sound = fs::read(&path).expect("sealed");
    for place in [0, 9, 40, sound.len() / 2, sound.len() - 1] {
        let mut bent = sound.clone();
        bent[place] ^= 1;
        fs::write(&path, &bent).expect("written");
        let error = follow(data).expect_err("bent");
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(error.contains("sealed batch"), "{error}");
    }
    fs::write(&path, &sound).expect("written");
    let journal = data.join("journal").join(journal::segment_name(1));
    let sound = fs::read(&journal).expect("a segment");
    // The third batch of records: behind the segment's header and two batches of one block each.
    let mut bent = sound.clone();
    bent[3 * journal::BLOCK_LEN + 100] ^= 1;
    fs::write(&journal, &bent).expect("written");
    let error = follow(data).expect_err("bent");
    assert!(error.starts_with("batch 1: journal in "), "{error}");
    let place = "journal-00000001.seg offset 0x3048: record 3: crc mismatch";
    assert!(error.contains(place), "{error}");
    fs::write(&journal, &sound).expect("written");
    follow(data).expect("whole again");
}

/// Words and inputs of a real batch; the points are those of no proof.
fn unproven() -> (TempDir, BatchProof) {
    let (dir, _venue) = two_batches();
    let mut state = State::genesis();
    let mut words = Vec::new();
    for batch in follow(dir.path()).expect("honest") {
        words = state.apply(&batch).expect("provable").words(&CHAIN);
    }
    let proof = BatchProof {
        proof_evm: std::array::from_fn(|i| i as u8 | 1),
        c: words[5],
        z: words[4],
        y: words[6],
        words,
    };
    (dir, proof)
}

#[test]
fn a_stored_proof_reads_back_as_it_was_and_becomes_the_contracts_call() {
    let (dir, proof) = unproven();
    let store = Store::new(dir.path());
    let lock = store.lock().expect("nobody else");
    let refused = store.lock().expect_err("held").to_string();
    assert!(refused.starts_with("another prover works in"), "{refused}");
    drop(lock);
    assert_eq!(store.load(2).expect("no file"), None);
    let mut stored = Stored::new(2, 1_234, &proof);
    store.save(&stored).expect("saved");
    stored.committed = Some(OnChain {
        tx: "0xab".into(),
        block: 7,
        gas: 300_000,
    });
    store.save(&stored).expect("replaced");
    assert_eq!(store.load(2).expect("there"), Some(stored.clone()));
    assert_eq!(store.list().expect("a folder"), [2]);
    assert_eq!(stored.batch_proof().expect("whole"), proof);

    let call = proven_batch(&proof).expect("small numbers");
    let batch = read(dir.path(), 2);
    assert_eq!((call.batch_no, call.last_seq), (2, batch.last_seq.0));
    assert_eq!((call.time_ns, call.deposit_count), (batch.time.0, 0));
    let [row] = &call.withdrawals[..] else {
        panic!("one withdrawal")
    };
    assert_eq!((row.account, row.amount_micro), (MAKER, 1_000_000));
    assert_eq!(row.owner.into_array(), owner(MAKER));

    let words = Words(&proof.words);
    assert_eq!(words.other_contract(&CHAIN), None);
    let mut other = CHAIN;
    other.contract[19] = 0;
    let named = words.other_contract(&other).expect("another");
    assert!(named.ends_with("5f on chain 31337"), "{named}");
}

#[test]
fn a_proof_file_with_a_wrong_byte_is_refused_or_gives_another_proof() {
    let (dir, proof) = unproven();
    let store = Store::new(dir.path());
    drop(store.lock().expect("nobody else"));
    let stored = Stored::new(2, 5, &proof);
    store.save(&stored).expect("saved");
    let sound = fs::read(store.path(2)).expect("there");
    let mut refused = 0;
    for place in 0..sound.len() {
        let mut bent = sound.clone();
        bent[place] ^= 1;
        let read = Stored::parse(&bent).and_then(|s| Ok((s.batch_proof()?, s)));
        match read {
            Err(e) => {
                refused += 1;
                assert!(!format!("{e:#}").is_empty());
            }
            // Nothing else is loose but white space.
            Ok((same, mut s)) if same == proof => {
                s.prove_ms = 5;
                assert_eq!(s, stored, "byte {place}");
            }
            // Another proof, which the key refuses.
            Ok(_) => {}
        }
    }
    assert!(refused > 0);
}

#[test]
fn precise_words_for_what_is_wrong_with_a_proof_file() {
    let (dir, proof) = unproven();
    let path: PathBuf = dir.path().join("proof.json");
    let text = serde_json::to_string(&Stored::new(2, 5, &proof)).expect("json");
    let error = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).expect("written");
        let read = Stored::read(&path).and_then(|s| s.batch_proof());
        format!("{:#}", read.expect_err(to))
    };
    for (from, to, expected) in [
        (
            "\"batch_no\":2",
            "\"batch_no\":3",
            "batch number 3, its words say 2",
        ),
        ("deltabox proof 1", "deltabox proof 2", "this release reads"),
        (
            "groth16",
            "plonk",
            "plonk over bn128, not groth16 over bn128",
        ),
        ("\"committed\":null", "\"comitted\":null", "unknown field"),
        ("0x0000", "0x000g", "is not 0x and 64 lower-case hex digits"),
        ("\"1\"]", "\"2\"]", "a point is not affine"),
    ] {
        let error = error(from, to);
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(word_name(6), "journal hash");
    assert_eq!(word_name(11), "account of deposit row 0");
    assert_eq!(word_name(WORDS - 1), "amount of withdrawal row 7");
}
