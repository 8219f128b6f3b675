//! Proofs with the real key: one test, because making the key takes seconds.

use super::scenario::CHAIN;
use super::vectors;
use crate::groth16::ProofError;
use crate::prover::{BatchProof, ProveError, Prover, VerifyError};
use crate::witness::BatchWitness;
use serde_json::json;

fn silent(_: &'static str, _: f32) {}

#[test]
fn a_batch_is_proven_and_verified_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let made = Prover::load_or_create(dir.path(), &mut silent).expect("a new key");
    let prover = Prover::load_or_create(dir.path(), &mut silent).expect("the same key");
    assert_eq!(made.verifying_key_evm(), prover.verifying_key_evm());
    drop(made);
    let witnesses = vectors::witnesses();
    let busy = &witnesses[1];

    let mut parts = Vec::new();
    let proof = prover
        .prove(busy, &CHAIN, &mut |_, part| parts.push(part))
        .expect("an honest batch");
    assert!(parts.is_sorted() && parts.first() == Some(&0.0) && parts.last() == Some(&1.0));
    prover.verify(&proof).expect("holds");
    let again = prover.prove(busy, &CHAIN, &mut silent).expect("once more");
    assert_ne!(again.proof_evm, proof.proof_evm, "fresh randomness");

    refuses_bent_proofs(&prover, &proof);
    refuses_broken_witnesses(&prover, busy);
    if vectors::writing() {
        write_vectors(&prover, &witnesses);
    }
    holds_the_committed_vectors(&prover);
}

fn refuses_bent_proofs(prover: &Prover, honest: &BatchProof) {
    let bent = |bend: &dyn Fn(&mut BatchProof)| {
        let mut proof = honest.clone();
        bend(&mut proof);
        prover.verify(&proof).expect_err("bent").to_string()
    };
    for (byte, expected) in [
        (31, "proof point A is not on the curve"),
        (191, "proof point B is not on the curve"),
        (255, "proof point C is not on the curve"),
    ] {
        assert_eq!(bent(&|p| p.proof_evm[byte] ^= 1), expected);
    }
    let above = "proof word 0 is not below the modulus of the base field";
    assert_eq!(bent(&|p| p.proof_evm[0] |= 0xf0), above);
    let rejected = "the proof does not hold for these public inputs";
    // Another point of the group: C for A.
    assert_eq!(bent(&|p| p.proof_evm.copy_within(192..256, 0)), rejected);
    assert_eq!(bent(&|p| p.proof_evm[192..].fill(0)), rejected);
    let input = "public input c is not what the words give";
    assert_eq!(bent(&|p| p.c[31] ^= 1), input);
    assert_eq!(bent(&|p| p.words[5][31] ^= 1), input);
    let input = "public input y is not what the words give";
    assert_eq!(bent(&|p| p.y[31] ^= 1), input);
    let word = "word 6 is not below the modulus of the scalar field";
    assert_eq!(bent(&|p| p.words[6][0] = 0xff), word);
    let mut short = honest.clone();
    short.words.pop();
    let error = prover.verify(&short).expect_err("58 words");
    assert!(matches!(error, VerifyError::Arity(58)), "{error}");

    // Words and inputs that fit each other, and not the proof.
    let mut other = CHAIN;
    other.chain_id += 1;
    let words = vectors::witnesses()[1].words(&other);
    let elements = vectors::witnesses()[1].word_elements(&other);
    let public = crate::statement::PublicInputs::of(&elements);
    let proof = BatchProof {
        proof_evm: honest.proof_evm,
        words,
        c: public.c,
        z: public.z,
        y: public.y,
    };
    let error = prover.verify(&proof).expect_err("another chain");
    assert!(
        matches!(error, VerifyError::Proof(ProofError::Rejected)),
        "{error}"
    );
}

fn refuses_broken_witnesses(prover: &Prover, honest: &BatchWitness) {
    let mut broken = honest.clone();
    broken.slots[7].new.cash_pico += 1;
    let error = prover
        .prove(&broken, &CHAIN, &mut silent)
        .expect_err("broken");
    assert!(matches!(error, ProveError::Statement(_)), "{error}");
    let expected = "the batch does not satisfy the statement: S2: new tree";
    assert_eq!(error.to_string(), expected);
}

fn write_vectors(prover: &Prover, witnesses: &[BatchWitness]) {
    let mut all = vectors::statement();
    for (place, witness) in witnesses.iter().enumerate() {
        let proof = prover.prove(witness, &CHAIN, &mut silent).expect("honest");
        all["batches"][place]["proof"] = json!(vectors::hex(&proof.proof_evm));
    }
    vectors::write(vectors::BATCHES, &all);
    let key = vectors::verifying_key(prover.verifying_key_evm());
    vectors::write(vectors::KEY, &key);
}

fn holds_the_committed_vectors(prover: &Prover) {
    let key = vectors::verifying_key(prover.verifying_key_evm());
    let fixed = "the seed is fixed, and so is the key";
    assert_eq!(vectors::committed(vectors::KEY), key, "{fixed}");
    let committed = vectors::committed(vectors::BATCHES);
    for batch in committed["batches"].as_array().expect("a list") {
        prover.verify(&vectors::proof_of(batch)).expect("committed");
    }
}
