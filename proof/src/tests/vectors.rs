//! The vectors that the contract's tests share: words of three batches from genesis with what the
//! contract must derive from them and a proof for each, and the development verifying key.
//!
//! `DELTABOX_WRITE_VECTORS=1 cargo test -p proof` writes them again after a change of the statement.

use super::scenario::{CHAIN, Market, table};
use crate::field::Word;
use crate::groth16::VerifyingKeyEvm;
use crate::prover::BatchProof;
use crate::state::State;
use crate::statement::PublicInputs;
use crate::witness::BatchWitness;
use serde_json::{Value, json};

/// Words, public inputs and proofs.
pub(super) const BATCHES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/small.json");
/// The verifying key, in the form that the contract is rendered from.
pub(super) const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/vk.json");

pub(super) fn writing() -> bool {
    std::env::var_os("DELTABOX_WRITE_VECTORS").is_some()
}

pub(super) fn write(file: &str, vectors: &Value) {
    let text = serde_json::to_string_pretty(vectors).expect("a JSON value");
    std::fs::write(file, text + "\n").expect("the vectors folder is writable");
}

pub(super) fn committed(file: &str) -> Value {
    let text = std::fs::read_to_string(file).expect("vectors are committed");
    serde_json::from_str(&text).expect("vectors are JSON")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("0x{digits}")
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let digits = digits.expect("0x and digits");
    assert_eq!(digits.len(), 2 * N);
    std::array::from_fn(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("hex"))
}

fn hexes(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| hex(word)).collect()
}

/// A batch of deposits, a batch of everything, a batch of nothing.
pub(super) fn witnesses() -> Vec<BatchWitness> {
    let mut market = Market::new();
    let funding = market.funding();
    let busy = market.busy();
    let quiet = market.seal(table(3), &[], &[], &[]);
    [funding, busy, quiet]
        .iter()
        .map(|batch| market.prove(batch))
        .collect()
}

fn batch(witness: &BatchWitness) -> Value {
    let public = PublicInputs::of(&witness.word_elements(&CHAIN));
    json!({
        "batch_no": witness.batch_no(),
        "old_root": hex(&witness.old_root()),
        "new_root": hex(&witness.new_root()),
        "words": hexes(&witness.words(&CHAIN)),
        "c": hex(&public.c),
        "z": hex(&public.z),
        "y": hex(&public.y),
    })
}

/// All but the key and the proofs.
pub(super) fn statement() -> Value {
    json!({
        "chain_id": CHAIN.chain_id,
        "contract": hex(&CHAIN.contract),
        "genesis_root": hex(&State::genesis().root()),
        "batches": witnesses().iter().map(batch).collect::<Vec<_>>(),
    })
}

pub(super) fn verifying_key(key: &VerifyingKeyEvm) -> Value {
    json!({
        "tier": "small",
        "insecure": true,
        "alpha1": hexes(&key.alpha1),
        "beta2": hexes(&key.beta2),
        "gamma2": hexes(&key.gamma2),
        "delta2": hexes(&key.delta2),
        "ic": key.ic.iter().map(|point| hexes(point)).collect::<Vec<_>>(),
    })
}

pub(super) fn proof_of(batch: &Value) -> BatchProof {
    let words = batch["words"].as_array().expect("a list");
    BatchProof {
        proof_evm: bytes(&batch["proof"]),
        words: words.iter().map(bytes).collect(),
        c: bytes(&batch["c"]),
        z: bytes(&batch["z"]),
        y: bytes(&batch["y"]),
    }
}

#[test]
fn the_committed_words_are_what_the_code_derives() {
    if writing() {
        return;
    }
    let (fresh, committed) = (statement(), committed(BATCHES));
    for part in ["chain_id", "contract", "genesis_root"] {
        assert_eq!(committed[part], fresh[part], "{part}");
    }
    let fresh = fresh["batches"].as_array().expect("a list");
    let committed = committed["batches"].as_array().expect("a list");
    assert_eq!(committed.len(), fresh.len());
    for (committed, fresh) in committed.iter().zip(fresh) {
        for (name, value) in fresh.as_object().expect("an object") {
            let batch = &fresh["batch_no"];
            assert_eq!(&committed[name], value, "batch {batch}, {name}");
        }
    }
}
