//! The vectors that the contract's tests share: what the contract must derive from its own words.
//!
//! `DELTABOX_WRITE_VECTORS=1 cargo test -p proof vectors` writes them again after a change of the
//! statement.

use super::scenario::{CHAIN, Market};
use crate::field::Word;
use crate::state::State;
use crate::statement::PublicInputs;
use crate::witness::BatchWitness;
use serde_json::{Value, json};

pub(crate) const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/small.json");

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("0x{digits}")
}

/// Genesis, a batch of deposits, a batch of everything, an empty batch.
pub(crate) fn witnesses() -> Vec<BatchWitness> {
    let mut market = Market::new();
    let funding = market.funding();
    let busy = market.busy();
    let quiet = market.seal(super::scenario::table(3), &[], &[], &[]);
    [funding, busy, quiet]
        .iter()
        .map(|batch| market.prove(batch))
        .collect()
}

fn batch(witness: &BatchWitness) -> Value {
    let public = PublicInputs::of(&witness.word_elements(&CHAIN));
    let words: Vec<String> = witness
        .words(&CHAIN)
        .iter()
        .map(|w: &Word| hex(w))
        .collect();
    json!({
        "batch_no": witness.batch_no(),
        "old_root": hex(&witness.old_root()),
        "new_root": hex(&witness.new_root()),
        "words": words,
        "c": hex(&public.c),
        "z": hex(&public.z),
        "y": hex(&public.y),
    })
}

pub(crate) fn statement() -> Value {
    json!({
        "chain_id": CHAIN.chain_id,
        "contract": hex(&CHAIN.contract),
        "genesis_root": hex(&State::genesis().root()),
        "batches": witnesses().iter().map(batch).collect::<Vec<_>>(),
    })
}

pub(crate) fn committed() -> Value {
    let text = std::fs::read_to_string(FILE).expect("vectors are committed");
    serde_json::from_str(&text).expect("vectors are JSON")
}

#[test]
fn the_committed_vectors_are_what_the_code_derives() {
    let fresh = statement();
    if std::env::var_os("DELTABOX_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&fresh).expect("a JSON value");
        std::fs::write(FILE, text + "\n").expect("the vectors folder is writable");
    }
    let committed = committed();
    for part in ["chain_id", "contract", "genesis_root"] {
        assert_eq!(committed[part], fresh[part], "{part}");
    }
    let fresh = fresh["batches"].as_array().expect("a list");
    let committed = committed["batches"].as_array().expect("a list");
    assert_eq!(committed.len(), fresh.len());
    for (committed, fresh) in committed.iter().zip(fresh) {
        for (name, value) in fresh.as_object().expect("an object") {
            assert_eq!(
                &committed[name], value,
                "batch {}, {name}",
                fresh["batch_no"]
            );
        }
    }
}
