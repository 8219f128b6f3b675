//! The generated verifier: what it refuses, and that it never answers no by any other way than a revert.

use std::path::Path;

use alloy::primitives::{Address, U256};
use alloy::sol_types::{SolCall, SolError};
use l1::devnet::DEV_CHAIN_ID;
use l1::{R, VerifyingKeyWords};

use crate::tiny;
use crate::world::{
    IVerifierErrors, assert_no_proof, call_raw, client, start_devnet, test_bytecode,
};

const INPUTS: [U256; 3] = [
    U256::from_limbs([5, 0, 0, 1]),
    U256::from_limbs([7, 0, 0, 2]),
    U256::ZERO,
];

async fn verifier() -> (String, Address) {
    let url = start_devnet(DEV_CHAIN_ID).await;
    let at = client(&url, 0)
        .await
        .create("verifier", test_bytecode("TinyVerifier"))
        .await
        .unwrap();
    (url, at)
}

fn call(inputs: [U256; 3], proof: [U256; 8]) -> Vec<u8> {
    IVerifierErrors::verifyCall { inputs, proof }.abi_encode()
}

#[test]
fn the_test_verifier_is_the_one_made_from_the_test_key() {
    let text =
        l1::render_verifier(&tiny::verifying_key(), "TinyVerifier", "../IVerifier.sol").unwrap();
    if std::env::var_os("WRITE_TINY_VERIFIER").is_some() {
        std::fs::write(tiny::contract_path(), &text).unwrap();
    }
    let kept = std::fs::read_to_string(tiny::contract_path()).unwrap_or_default();
    assert!(
        kept == text,
        "{} is stale: run this test with WRITE_TINY_VERIFIER=1, then node proof/l1/build.mjs",
        tiny::contract_path().display()
    );
}

#[test]
fn the_tiers_verifier_is_the_one_made_from_the_committed_key() {
    let key = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/vk.json"));
    let contract = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/contracts/Groth16Verifier.sol"
    ));
    let key = VerifyingKeyWords::read(key).unwrap();
    let text = l1::render_verifier(&key, "Groth16Verifier", "./IVerifier.sol").unwrap();
    assert!(
        std::fs::read_to_string(contract).unwrap() == text,
        "stale: cargo run -p l1 --example render_verifier -- proof/vectors/vk.json \
         proof/l1/contracts/Groth16Verifier.sol && node proof/l1/build.mjs"
    );
}

#[tokio::test]
async fn a_proof_holds_for_its_inputs_and_an_input_with_the_field_order_added_is_refused() {
    let (url, at) = verifier().await;
    let proof = tiny::prove(INPUTS);
    assert!(
        call_raw(&url, at, at, call(INPUTS, proof), None)
            .await
            .unwrap()
            .is_empty()
    );
    for i in 0..3 {
        // The precompile itself would take it as the same number.
        let mut inputs = INPUTS;
        inputs[i] += R;
        let data = call_raw(&url, at, at, call(inputs, proof), None)
            .await
            .unwrap_err();
        let wanted = IVerifierErrors::InputNotInField {
            index: U256::from(i),
        };
        assert_eq!(data.to_vec(), wanted.abi_encode());
        let mut inputs = INPUTS;
        inputs[i] = inputs[i].add_mod(U256::from(1), R);
        assert_no_proof(
            &call_raw(&url, at, at, call(inputs, proof), None)
                .await
                .unwrap_err(),
        );
    }
}

#[tokio::test]
async fn a_proof_with_one_bit_flipped_is_refused() {
    let (url, at) = verifier().await;
    let proof = tiny::prove(INPUTS);
    for word in 0..8 {
        for bit in [0, 7, 100, 248, 255] {
            let mut flipped = proof;
            flipped[word] ^= U256::from(1) << bit;
            let answer = call_raw(&url, at, at, call(INPUTS, flipped), None).await;
            assert_no_proof(&answer.expect_err("a flipped bit went unnoticed"));
        }
    }
    assert_no_proof(
        &call_raw(&url, at, at, call(INPUTS, [U256::ZERO; 8]), None)
            .await
            .unwrap_err(),
    );
}

#[tokio::test]
async fn too_little_gas_reverts_and_is_never_taken_for_a_verdict() {
    let (url, at) = verifier().await;
    let proof = tiny::prove(INPUTS);
    let mut wrong = INPUTS;
    wrong[2] = U256::from(1);
    let mut passed = 0;
    for gas in (22_000..300_000).step_by(2_500) {
        let good = call_raw(&url, at, at, call(INPUTS, proof), Some(gas)).await;
        passed += u32::from(good.is_ok());
        assert!(
            good.is_ok() || passed == 0,
            "{gas} gas are too little though less was enough"
        );
        // A valid proof cut short must not be called invalid either.
        if let Err(data) = good {
            assert_ne!(data.to_vec(), IVerifierErrors::ProofInvalid {}.abi_encode());
        }
        assert!(
            call_raw(&url, at, at, call(wrong, proof), Some(gas))
                .await
                .is_err()
        );
    }
    assert!(passed > 10);
}

#[tokio::test]
async fn a_call_with_too_few_bytes_is_refused() {
    let (url, at) = verifier().await;
    let whole = call(INPUTS, tiny::prove(INPUTS));
    for length in [0, 3, 4, 100, whole.len() - 1] {
        assert!(
            call_raw(&url, at, at, whole[..length].to_vec(), None)
                .await
                .is_err()
        );
    }
}
