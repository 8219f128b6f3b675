//! The real circuit's words and proofs, from `proof/vectors`, before the contracts that are deployed for it.

use std::path::Path;

use alloy::primitives::{Address, Bytes, U256, uint};
use alloy::sol_types::{SolCall, SolError};
use l1::devnet::DEV_CHAIN_ID;
use l1::{Deployment, R, VerifyingKeyWords};
use serde_json::Value;

use crate::world::{
    GENESIS_ROOT, IVerifierErrors, call_raw, client, point, start_devnet, test_bytecode,
};

alloy::sol! {
    /// `contracts/test/WordsHarness.sol`.
    interface IHarness {
        function point(uint256[] calldata given, uint256 commitment) external returns (uint256 z, uint256 y);
        function check(address verifier, uint256[] calldata given, uint256 commitment, uint256[8] calldata proof) external view;
        function tag() external returns (uint256);
    }

    function INSECURE() external view returns (bool);
}

/// Order of the base field: the negative of a point (x, y) is (x, Q - y).
const Q: U256 =
    uint!(21888242871839275222246405745257275088696311157297823662689037894645226208583_U256);

/// A batch of the vectors.
#[derive(Clone)]
struct Golden {
    words: [U256; 59],
    /// C, z and y.
    inputs: [U256; 3],
    proof: [U256; 8],
}

fn word(value: &Value) -> U256 {
    value.as_str().unwrap().parse().unwrap()
}

fn read(file: &str) -> Value {
    let path = format!("{}/../vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn golden() -> Vec<Golden> {
    let batches = read("small.json");
    let batches = batches["batches"].as_array().unwrap();
    assert!(batches.len() > 1);
    let one = |batch: &Value| {
        let words: Vec<U256> = batch["words"]
            .as_array()
            .unwrap()
            .iter()
            .map(word)
            .collect();
        let proof: Bytes = batch["proof"].as_str().unwrap().parse().unwrap();
        let proof: Vec<U256> = proof.chunks(32).map(U256::from_be_slice).collect();
        Golden {
            words: words.try_into().unwrap(),
            inputs: ["c", "z", "y"].map(|name| word(&batch[name])),
            proof: proof.try_into().unwrap(),
        }
    };
    batches.iter().map(one).collect()
}

struct Chain {
    url: String,
    deployment: Deployment,
    harness: Address,
}

impl Chain {
    /// The contracts as everybody deploys them, and the harness.
    async fn new() -> Self {
        let url = start_devnet(DEV_CHAIN_ID).await;
        let operator = client(&url, 0).await;
        let deployment = operator.deploy(GENESIS_ROOT, None).await.unwrap();
        let harness = operator.create("harness", test_bytecode("WordsHarness"));
        let harness = harness.await.unwrap();
        Self {
            url,
            deployment,
            harness,
        }
    }

    async fn call<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, Bytes> {
        let answer = call_raw(&self.url, Address::ZERO, to, call.abi_encode(), None).await?;
        Ok(C::abi_decode_returns(&answer).unwrap())
    }

    /// The verifier's answer; `Err` is its error.
    async fn verify(&self, inputs: [U256; 3], proof: [U256; 8]) -> Result<(), Bytes> {
        let call = IVerifierErrors::verifyCall { inputs, proof };
        self.call(self.deployment.verifier, &call).await.map(drop)
    }

    /// Words and proof on the settlement contract's way: the contract derives z and y itself.
    async fn check(&self, batch: &Golden) -> Result<(), Bytes> {
        let call = IHarness::checkCall {
            verifier: self.deployment.verifier,
            given: batch.words.to_vec(),
            commitment: batch.inputs[0],
            proof: batch.proof,
        };
        self.call(self.harness, &call).await.map(drop)
    }
}

#[track_caller]
fn assert_refused(answer: Result<(), Bytes>, wanted: impl SolError, what: &str) {
    let data = answer.expect_err(what);
    assert_eq!(data.to_vec(), wanted.abi_encode(), "{what}: got {data}");
}

#[tokio::test]
async fn the_contract_reads_the_golden_words_as_the_statement_does() {
    let chain = Chain::new().await;
    let tag = chain.call(chain.harness, &IHarness::tagCall {}).await;
    let tag = tag.unwrap();
    for batch in golden() {
        assert_eq!(batch.words[0], tag);
        let [commitment, z, y] = batch.inputs;
        assert_eq!(point(&batch.words, commitment), (z, y));
        let given = batch.words.to_vec();
        let call = IHarness::pointCall { given, commitment };
        let answer = chain.call(chain.harness, &call).await.unwrap();
        assert_eq!((answer.z, answer.y), (z, y));
    }
}

#[tokio::test]
async fn the_deployed_verifier_holds_the_circuits_key_and_says_that_it_is_insecure() {
    let chain = Chain::new().await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/vk.json");
    let key = VerifyingKeyWords::read(Path::new(path)).unwrap();
    assert!(key.insecure, "every key so far comes from a known seed");
    assert_eq!(chain.deployment.vk_hash, key.hash());
    assert!(chain.deployment.insecure_key);
    let insecure = chain.call(chain.deployment.verifier, &INSECURECall {});
    assert!(insecure.await.unwrap());
    let source = include_str!("../../contracts/Groth16Verifier.sol");
    assert!(source.contains("@notice INSECURE: a development key."));
}

#[tokio::test]
async fn the_circuits_proofs_hold_on_chain_for_their_words_and_for_no_others() {
    let chain = Chain::new().await;
    let golden = golden();
    for (i, batch) in golden.iter().enumerate() {
        chain.verify(batch.inputs, batch.proof).await.unwrap();
        chain.check(batch).await.unwrap();
        let mut other = batch.clone();
        other.proof = golden[(i + 1) % golden.len()].proof;
        let what = format!("batch {i} with the proof of another");
        assert_refused(
            chain.check(&other).await,
            IVerifierErrors::ProofInvalid {},
            &what,
        );
    }
    let busy = &golden[1];
    for i in 0..busy.words.len() {
        let mut changed = busy.clone();
        changed.words[i] ^= U256::from(1);
        let what = format!("word {i} changed");
        assert_refused(
            chain.check(&changed).await,
            IVerifierErrors::ProofInvalid {},
            &what,
        );
    }
}

#[tokio::test]
async fn a_flipped_byte_anywhere_in_the_circuits_proof_is_refused_as_a_malformed_point() {
    let chain = Chain::new().await;
    let Golden { inputs, proof, .. } = golden().swap_remove(1);
    chain.verify(inputs, proof).await.unwrap();
    for byte in 0..256 {
        let mut flipped = proof;
        flipped[byte / 32] ^= U256::from(0xFF) << (8 * (byte % 32));
        let what = format!("byte {} of word {} flipped", byte % 32, byte / 32);
        assert_refused(
            chain.verify(inputs, flipped).await,
            IVerifierErrors::PrecompileFailed {},
            &what,
        );
    }
    // Points that are well formed, and wrong.
    for y in [1, 7] {
        let mut negated = proof;
        negated[y] = Q - negated[y];
        assert_refused(
            chain.verify(inputs, negated).await,
            IVerifierErrors::ProofInvalid {},
            "a negated point",
        );
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_public_input_of_the_circuit_is_refused() {
    let chain = Chain::new().await;
    let Golden { inputs, proof, .. } = golden().swap_remove(1);
    chain.verify(inputs, proof).await.unwrap();
    let mut too_large = 0;
    for byte in 0..96 {
        let mut flipped = inputs;
        let i = byte / 32;
        flipped[i] ^= U256::from(0xFF) << (8 * (byte % 32));
        let answer = chain.verify(flipped, proof).await;
        let what = format!("byte {} of input {i} flipped", byte % 32);
        if flipped[i] < R {
            assert_refused(answer, IVerifierErrors::ProofInvalid {}, &what);
        } else {
            let index = U256::from(i);
            assert_refused(answer, IVerifierErrors::InputNotInField { index }, &what);
            too_large += 1;
        }
    }
    assert!(too_large >= 3, "the top byte of each is then too large");
}
