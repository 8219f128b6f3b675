//! Poseidon as the paper writes it, in plain Rust, and the contract beside it. The tests of escapes build their trees
//! with the plain one, so contract, circuit and this page have to agree.

use std::path::Path;
use std::sync::OnceLock;

use alloy::primitives::{Address, U256, keccak256};
use alloy::sol_types::SolCall;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, BigInteger, Field, PrimeField};
use l1::R;
use l1::devnet::DEV_CHAIN_ID;

use crate::world::{assert_bytes, call_raw, client, start_devnet};

alloy::sol! {
    interface IPoseidon {
        error ElementNotInField(uint256 index);
        function hash4(uint256[4] calldata elements) external view returns (uint256);
        function longHash(uint256 domain, uint256[] calldata elements) external view returns (uint256);
        function merkleRoot(uint256 index, uint256 leaf, uint256[24] calldata siblings) external view returns (uint256);
    }
}

const FULL_ROUNDS: usize = 8;

struct Parameters {
    constants: Vec<Vec<Fr>>,
    mix: Vec<Vec<Fr>>,
    partial_rounds: usize,
}

/// From the 80-bit Grain register, held as plain bits.
fn parameters(width: usize) -> Parameters {
    let partial_rounds = if width == 5 { 60 } else { 68 };
    let mut bits = Vec::new();
    for (value, count) in [(1, 2), (0, 4), (254, 12), (width, 12), (FULL_ROUNDS, 10)] {
        bits.extend((0..count).rev().map(|k| value >> k & 1 == 1));
    }
    bits.extend((0..10).rev().map(|k| partial_rounds >> k & 1 == 1));
    bits.extend([true; 30]);
    let step = |bits: &mut Vec<bool>| {
        let bit = [62, 51, 38, 23, 13, 0]
            .iter()
            .fold(false, |b, i| b ^ bits[*i]);
        bits.remove(0);
        bits.push(bit);
        bit
    };
    for _ in 0..160 {
        step(&mut bits);
    }
    let mut number = || {
        (0..254).fold(U256::ZERO, |n, _| {
            while !step(&mut bits) {
                step(&mut bits);
            }
            n << 1 | U256::from(step(&mut bits))
        })
    };
    let mut below = || loop {
        let n = number();
        if n < R {
            return element(n);
        }
    };
    let rounds = FULL_ROUNDS + partial_rounds;
    let constants = (0..rounds)
        .map(|_| (0..width).map(|_| below()).collect())
        .collect();
    let [x, y]: [Vec<Fr>; 2] =
        [(); 2].map(|()| (0..width).map(|_| element(number() % R)).collect());
    let row = |x: &Fr| y.iter().map(|y| (*x + y).inverse().unwrap()).collect();
    Parameters {
        constants,
        mix: x.iter().map(row).collect(),
        partial_rounds,
    }
}

fn element(word: U256) -> Fr {
    Fr::from_be_bytes_mod_order(&word.to_be_bytes::<32>())
}

fn word(x: Fr) -> U256 {
    U256::from_be_slice(&x.into_bigint().to_bytes_be())
}

fn permute(p: &Parameters, mut state: Vec<Fr>) -> Vec<Fr> {
    let half = FULL_ROUNDS / 2;
    for (round, constants) in p.constants.iter().enumerate() {
        for (lane, c) in state.iter_mut().zip(constants) {
            *lane += c;
        }
        let raised = if (half..half + p.partial_rounds).contains(&round) {
            1
        } else {
            state.len()
        };
        for lane in &mut state[..raised] {
            *lane = lane.pow([5]);
        }
        let mixed = p.mix.iter().map(|row| {
            row.iter()
                .zip(&state)
                .fold(Fr::ZERO, |sum, (m, s)| sum + *m * s)
        });
        state = mixed.collect();
    }
    state
}

/// `H4`.
pub(crate) fn hash4(elements: [U256; 4]) -> U256 {
    static FIVE: OnceLock<Parameters> = OnceLock::new();
    let mut state = vec![Fr::ZERO];
    state.extend(elements.map(element));
    word(permute(FIVE.get_or_init(|| parameters(5)), state)[0])
}

/// `L`.
pub(crate) fn long_hash(domain: u64, elements: &[U256]) -> U256 {
    static SEVENTEEN: OnceLock<Parameters> = OnceLock::new();
    let p = SEVENTEEN.get_or_init(|| parameters(17));
    let mut cap = Fr::from(domain << 32 | elements.len() as u64);
    for block in elements.chunks(16) {
        let mut state = vec![cap];
        state.extend(block.iter().map(|e| element(*e)));
        state.resize(17, Fr::ZERO);
        cap = permute(p, state)[0];
    }
    word(cap)
}

struct Hasher {
    url: String,
    at: Address,
}

impl Hasher {
    async fn new() -> Self {
        let url = start_devnet(DEV_CHAIN_ID).await;
        let at = client(&url, 0).await.deploy_poseidon().await.unwrap();
        Self { url, at }
    }

    async fn ask<C: SolCall>(&self, call: &C) -> Result<C::Return, alloy::primitives::Bytes> {
        let answer = call_raw(&self.url, Address::ZERO, self.at, call.abi_encode(), None).await?;
        Ok(C::abi_decode_returns(&answer).unwrap())
    }

    async fn long(&self, domain: u64, elements: &[U256]) -> U256 {
        let domain = U256::from(domain);
        let elements = elements.to_vec();
        let call = IPoseidon::longHashCall { domain, elements };
        self.ask(&call).await.unwrap()
    }
}

fn some(n: u64) -> U256 {
    U256::from_be_bytes(keccak256(n.to_be_bytes()).0) % R
}

#[tokio::test]
async fn the_contract_hashes_as_circomlib_and_as_the_plain_twin_do() {
    let hasher = Hasher::new().await;
    let elements = [1, 2, 3, 4].map(U256::from);
    let known = U256::from_str_radix(
        "18821383157269793795438455681495246036402687001665670618754263018637548127333",
        10,
    );
    let call = IPoseidon::hash4Call { elements };
    assert_eq!(hasher.ask(&call).await.unwrap(), known.unwrap());
    assert_eq!(hash4(elements), known.unwrap());
    for n in 0..4 {
        let elements = [0, 1, 2, 3].map(|i| some(4 * n + i));
        let call = IPoseidon::hash4Call { elements };
        assert_eq!(hasher.ask(&call).await.unwrap(), hash4(elements));
    }
    let edges = [U256::ZERO, U256::from(1), R - U256::from(1), some(9)];
    let call = IPoseidon::hash4Call { elements: edges };
    assert_eq!(hasher.ask(&call).await.unwrap(), hash4(edges));
    for len in [0, 1, 15, 16, 17, 23, 32, 84] {
        let elements: Vec<U256> = (0..len).map(|i| some(100 + i)).collect();
        let domain = 1 + len % 4;
        let twin = long_hash(domain, &elements);
        assert_eq!(hasher.long(domain, &elements).await, twin, "{len} elements");
    }
}

#[tokio::test]
async fn the_contract_makes_the_golden_commitments_from_the_golden_words() {
    let hasher = Hasher::new().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/small.json");
    let golden: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let word = |v: &serde_json::Value| v.as_str().unwrap().parse::<U256>().unwrap();
    for batch in golden["batches"].as_array().unwrap() {
        let words: Vec<U256> = batch["words"]
            .as_array()
            .unwrap()
            .iter()
            .map(word)
            .collect();
        assert_eq!(hasher.long(3, &words).await, word(&batch["c"]));
    }
}

#[tokio::test]
async fn a_path_leads_to_the_root_and_an_element_out_of_the_field_is_refused() {
    let hasher = Hasher::new().await;
    let siblings: [U256; 24] = std::array::from_fn(|i| some(200 + i as u64));
    for index in [0u32, 1, 0xE4E4, 65_535] {
        let leaf = some(u64::from(index));
        let mut node = leaf;
        for (level, others) in siblings.chunks(3).enumerate() {
            let mut children = others.to_vec();
            children.insert((index >> (2 * level) & 3) as usize, node);
            node = hash4(children.try_into().unwrap());
        }
        let call = IPoseidon::merkleRootCall {
            index: U256::from(index),
            leaf,
            siblings,
        };
        assert_eq!(hasher.ask(&call).await.unwrap(), node);
        let mut bad = call;
        bad.siblings[7] = R;
        let index = U256::from(7);
        let error = hasher.ask(&bad).await.unwrap_err();
        assert_bytes(&error, IPoseidon::ElementNotInField { index });
    }
}

#[tokio::test]
async fn hashes_stay_within_the_gas_that_the_readme_names() {
    let hasher = Hasher::new().await;
    let leaf: Vec<U256> = (0..23).map(some).collect();
    let call = IPoseidon::longHashCall {
        domain: U256::from(1),
        elements: leaf,
    };
    let node = IPoseidon::hash4Call {
        elements: [1, 2, 3, 4].map(some),
    };
    for (what, data, most) in [
        ("leaf", call.abi_encode(), 850_000),
        ("node", node.abi_encode(), 130_000),
    ] {
        let used = hasher.gas(data).await;
        println!("{what}: {used} gas, the transaction's own included");
        assert!(used < most, "{what}: {used}");
    }
}

impl Hasher {
    async fn gas(&self, data: Vec<u8>) -> u64 {
        use alloy::providers::Provider;
        use alloy::rpc::types::TransactionRequest;
        let request = TransactionRequest {
            to: Some(alloy::primitives::TxKind::Call(self.at)),
            input: alloy::primitives::Bytes::from(data).into(),
            ..TransactionRequest::default()
        };
        crate::world::provider(&self.url)
            .estimate_gas(request)
            .await
            .unwrap()
    }
}
