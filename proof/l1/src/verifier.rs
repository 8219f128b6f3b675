//! Makes `Groth16Verifier.sol` from a verifying key.
//!
//! The key file is JSON with 0x-hex words: `alpha1` (x, y), `beta2`, `gamma2`, `delta2` (x1, x0, y1, y0: the EVM's
//! order, imaginary part first), `ic` (four points, for three public inputs), and `insecure` (true unless it says
//! false). Other fields are left alone.

use std::fmt::Write as _;
use std::path::Path;

use alloy::primitives::{B256, U256, keccak256, uint};
use serde::Deserialize;

use crate::L1Error;

/// Order of the base field of BN254: coordinates are below it.
const Q: U256 =
    uint!(21888242871839275222246405745257275088696311157297823662689037894645226208583_U256);
/// Order of the scalar field of BN254: public inputs and words are below it.
pub const R: U256 =
    uint!(21888242871839275222246405745257275088548364400416034343698204186575808495617_U256);
/// The generator of G2, in the EVM's order (EIP-197).
const G2_GENERATOR: [U256; 4] = [
    uint!(11559732032986387107991004021392285783925812861821192530917403151452391805634_U256),
    uint!(10857046999023057135944570762232829481370756359578518086990519993285655852781_U256),
    uint!(4082367875863433681332203403145435568316851327593401208105741076214120093531_U256),
    uint!(8495653923123431417604973247489272438418190587263600148770280649306958101930_U256),
];

const fn insecure_unless_said() -> bool {
    true
}

/// A verifying key as words, in the order that the EVM's pairing precompile wants.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct VerifyingKeyWords {
    /// The point alpha of G1.
    pub alpha1: [U256; 2],
    /// The point beta of G2.
    pub beta2: [U256; 4],
    /// The point gamma of G2.
    pub gamma2: [U256; 4],
    /// The point delta of G2.
    pub delta2: [U256; 4],
    /// The points of G1 for the constant 1 and the three public inputs.
    pub ic: [[U256; 2]; 4],
    /// Whether one party knows how to forge proofs for this key.
    #[serde(default = "insecure_unless_said")]
    pub insecure: bool,
}

impl VerifyingKeyWords {
    /// Reads and checks a key file.
    ///
    /// # Errors
    /// The file cannot be read, is not the JSON described in the module's page, or [`Self::check`] refuses it.
    pub fn read(path: &Path) -> Result<Self, L1Error> {
        let text = std::fs::read_to_string(path).map_err(|e| L1Error::file(path, &e))?;
        let key: Self = serde_json::from_str(&text).map_err(|e| L1Error::file(path, &e))?;
        key.check()?;
        Ok(key)
    }

    /// Refuses keys that are malformed or that are known to let anyone forge proofs: gamma equal to delta, or delta
    /// still the generator, as after a set-up whose second phase was left out.
    ///
    /// Points of G2 are checked for range only: whether they lie in the subgroup shows at the first verification,
    /// since the precompile refuses them otherwise.
    ///
    /// # Errors
    /// [`L1Error::BadKey`] with the reason.
    pub fn check(&self) -> Result<(), L1Error> {
        let bad = |why: &str| Err(L1Error::BadKey(why.to_owned()));
        if self.words().iter().any(|w| *w >= Q) {
            return bad("a coordinate is not below the base field's order");
        }
        let mut g1 = self.ic.iter().chain([&self.alpha1]);
        if g1.any(|p| !on_curve(p)) {
            return bad("alpha or a point of ic is not on the curve");
        }
        for g2 in [&self.beta2, &self.gamma2, &self.delta2] {
            if g2.iter().all(|w| w.is_zero()) {
                return bad("beta, gamma or delta is the point at infinity");
            }
        }
        if self.gamma2 == self.delta2 {
            return bad("gamma equals delta: anyone can forge proofs");
        }
        if self.delta2 == G2_GENERATOR {
            return bad("delta is the generator: the second phase of the set-up was left out");
        }
        Ok(())
    }

    /// keccak256 of the 22 words in the key file's order: names the key on both sides.
    #[must_use]
    pub fn hash(&self) -> B256 {
        let bytes: Vec<u8> = self
            .words()
            .iter()
            .flat_map(U256::to_be_bytes::<32>)
            .collect();
        keccak256(bytes)
    }

    fn words(&self) -> Vec<U256> {
        let g2 = [self.beta2, self.gamma2, self.delta2];
        let mut words = self.alpha1.to_vec();
        words.extend(g2.as_flattened());
        words.extend(self.ic.as_flattened());
        words
    }
}

/// y^2 = x^3 + 3, the point at infinity excluded: no sound key holds it.
fn on_curve([x, y]: &[U256; 2]) -> bool {
    let cube = x.mul_mod(*x, Q).mul_mod(*x, Q);
    y.mul_mod(*y, Q) == cube.add_mod(U256::from(3), Q)
}

/// The text of a contract `name` that checks proofs for `key`; `import_path` leads to `IVerifier.sol`.
///
/// # Errors
/// [`L1Error::BadKey`] if [`VerifyingKeyWords::check`] refuses the key.
pub fn render_verifier(
    key: &VerifyingKeyWords,
    name: &str,
    import_path: &str,
) -> Result<String, L1Error> {
    key.check()?;
    let warning = if key.insecure {
        "INSECURE: a development key. Whoever knows its seed can forge proofs; it guards no real money."
    } else {
        "The key comes from a ceremony; VK_HASH names it."
    };
    Ok(TEMPLATE
        .replace("$NAME", name)
        .replace("$IMPORT", import_path)
        .replace("$WARNING", warning)
        .replace("$INSECURE", if key.insecure { "true" } else { "false" })
        .replace("$VK_HASH", &format!("{:#x}", key.hash()))
        .replace("$CONSTANTS", &constants(key)))
}

fn constants(key: &VerifyingKeyWords) -> String {
    let mut out = String::new();
    let mut put = |name: &str, value: U256| {
        writeln!(out, "    uint256 private constant {name} = {value:#066x};")
            .expect("a String takes all text");
    };
    put("ALPHA_X", key.alpha1[0]);
    put("ALPHA_Y", key.alpha1[1]);
    for (name, [x1, x0, y1, y0]) in [
        ("BETA", key.beta2),
        ("GAMMA", key.gamma2),
        ("DELTA", key.delta2),
    ] {
        put(&format!("{name}_X1"), x1);
        put(&format!("{name}_X0"), x0);
        put(&format!("{name}_NEG_Y1"), negated(y1));
        put(&format!("{name}_NEG_Y0"), negated(y0));
    }
    for (i, [x, y]) in key.ic.iter().enumerate() {
        put(&format!("IC{i}_X"), *x);
        put(&format!("IC{i}_Y"), *y);
    }
    out
}

fn negated(y: U256) -> U256 {
    if y.is_zero() { y } else { Q - y }
}

const TEMPLATE: &str = r#"// SPDX-License-Identifier: Apache-2.0
// Generated from a verifying key by `cargo run -p l1 --example render_verifier`; not for editing.
pragma solidity 0.8.37;

import {IVerifier} from "$IMPORT";

/// @title Groth16 verifier over BN254 with three public inputs
/// @notice $WARNING
/// @dev Checks e(A, B) * e(alpha, -beta) * e(L, -gamma) * e(C, -delta) = 1, L being the public inputs' combination.
/// The key's points are stored negated, so no coordinate of a proof is ever negated here; the precompiles refuse
/// coordinates that are too large and points off the curve or the subgroup. A proof can be changed into another
/// valid one for the same inputs: never use its bytes to tell batches apart.
contract $NAME is IVerifier {
    /// @inheritdoc IVerifier
    bool public constant INSECURE = $INSECURE;
    /// @inheritdoc IVerifier
    bytes32 public constant VK_HASH = $VK_HASH;

    uint256 private constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
$CONSTANTS
    /// @notice Public input `index` is not below R; with it, R times anything could be added unseen.
    error InputNotInField(uint256 index);
    /// @notice A precompile failed: a malformed point, or too little gas. This says nothing about the inputs.
    error PrecompileFailed();
    /// @notice The proof's points are well formed, but the proof does not hold for these inputs.
    error ProofInvalid();

    /// @notice The key's second phase was left out, so that anyone could forge proofs for it.
    error KeyWithoutPhase2();
    /// @notice There is nothing to check, or there is not one proof for each row of inputs.
    error CountsDiffer(uint256 inputs, uint256 proofs);

    constructor() {
        bool gammaIsDelta = GAMMA_X1 == DELTA_X1 && GAMMA_X0 == DELTA_X0;
        bool deltaIsGenerator = DELTA_X1 == 0x198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2
            && DELTA_X0 == 0x1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed;
        if (gammaIsDelta || deltaIsGenerator) revert KeyWithoutPhase2();
    }

    /// @inheritdoc IVerifier
    function verify(uint256[3] calldata inputs, uint256[8] calldata proof) external view {
        for (uint256 i = 0; i < 3; ++i) {
            if (inputs[i] >= R) revert InputNotInField(i);
        }
        (uint256 x, uint256 y) = combine(1, inputs[0], inputs[1], inputs[2]);
        checkPairing(x, y, proof);
    }

    /// @inheritdoc IVerifier
    /// @dev The sum of all checks, each times a factor r_i of 128 bits that comes from all that is checked (r_0 is 1):
    /// prod e(r_i A_i, B_i) * e(sum r_i * alpha, -beta) * e(sum r_i L_i, -gamma) * e(sum r_i C_i, -delta) = 1. A set
    /// of which one does not hold passes with a chance of 2^-128 a try.
    function verifyMany(uint256[3][] calldata inputs, uint256[8][] calldata proofs) external view {
        uint256 k = proofs.length;
        if (k == 0 || inputs.length != k) revert CountsDiffer(inputs.length, k);
        uint256[] memory factors = new uint256[](k);
        uint256[4] memory sums;
        bytes32 seed = keccak256(msg.data);
        for (uint256 i = 0; i < k; ++i) {
            uint256 r = i == 0 ? 1 : uint256(keccak256(abi.encode(seed, i))) & ((1 << 128) - 1);
            factors[i] = r;
            sums[0] = addmod(sums[0], r, R);
            for (uint256 j = 0; j < 3; ++j) {
                if (inputs[i][j] >= R) revert InputNotInField(3 * i + j);
                sums[j + 1] = addmod(sums[j + 1], mulmod(r, inputs[i][j], R), R);
            }
        }
        (uint256 x, uint256 y) = combine(sums[0], sums[1], sums[2], sums[3]);
        checkPairings(x, y, sums[0], factors, proofs);
    }

    /// @dev L = one * IC0 + a * IC1 + b * IC2 + c * IC3.
    function combine(uint256 one, uint256 a, uint256 b, uint256 c) private view returns (uint256 x, uint256 y) {
        bool ok;
        assembly ("memory-safe") {
            // At p: the sum so far (2 words), then a point and its factor (3 words).
            function addTerm(p, icX, icY, factor) -> done {
                mstore(add(p, 0x40), icX)
                mstore(add(p, 0x60), icY)
                mstore(add(p, 0x80), factor)
                done := staticcall(gas(), 7, add(p, 0x40), 0x60, add(p, 0x40), 0x40)
                if done {
                    done := staticcall(gas(), 6, p, 0x80, p, 0x40)
                }
            }
            let p := mload(0x40)
            mstore(p, IC0_X)
            mstore(add(p, 0x20), IC0_Y)
            ok := 1
            if iszero(eq(one, 1)) {
                mstore(add(p, 0x40), one)
                ok := staticcall(gas(), 7, p, 0x60, p, 0x40)
            }
            if ok {
                ok := addTerm(p, IC1_X, IC1_Y, a)
            }
            if ok {
                ok := addTerm(p, IC2_X, IC2_Y, b)
            }
            if ok {
                ok := addTerm(p, IC3_X, IC3_Y, c)
            }
            x := mload(p)
            y := mload(add(p, 0x20))
        }
        if (!ok) revert PrecompileFailed();
    }

    function checkPairings(uint256 x, uint256 y, uint256 sum, uint256[] memory factors, uint256[8][] calldata proofs)
        private
        view
    {
        bool ok;
        bool holds;
        assembly ("memory-safe") {
            // to = factor * the point (2 words) at `from` of the call's data
            function scale(from, factor, to) -> done {
                calldatacopy(to, from, 0x40)
                mstore(add(to, 0x40), factor)
                done := staticcall(gas(), 7, to, 0x60, to, 0x40)
            }
            let k := mload(factors)
            let p := mload(0x40)
            // Behind the pairs: the sum of the scaled C (2 words), and a term of it (3 words).
            let c := add(p, mul(add(k, 3), 0xc0))
            mstore(c, 0)
            mstore(add(c, 0x20), 0)
            ok := 1
            for { let i := 0 } and(ok, lt(i, k)) { i := add(i, 1) } {
                let pair := add(p, mul(i, 0xc0))
                let proof := add(proofs.offset, mul(i, 0x100))
                let factor := mload(add(factors, mul(add(i, 1), 0x20)))
                ok := scale(proof, factor, pair)
                calldatacopy(add(pair, 0x40), add(proof, 0x40), 0x80)
                ok := and(ok, scale(add(proof, 0xc0), factor, add(c, 0x40)))
                ok := and(ok, staticcall(gas(), 6, c, 0x80, c, 0x40))
            }
            let q := add(p, mul(k, 0xc0))
            mstore(q, ALPHA_X)
            mstore(add(q, 0x20), ALPHA_Y)
            mstore(add(q, 0x40), sum)
            ok := and(ok, staticcall(gas(), 7, q, 0x60, q, 0x40))
            mstore(add(q, 0x40), BETA_X1)
            mstore(add(q, 0x60), BETA_X0)
            mstore(add(q, 0x80), BETA_NEG_Y1)
            mstore(add(q, 0xa0), BETA_NEG_Y0)
            mstore(add(q, 0xc0), x)
            mstore(add(q, 0xe0), y)
            mstore(add(q, 0x100), GAMMA_X1)
            mstore(add(q, 0x120), GAMMA_X0)
            mstore(add(q, 0x140), GAMMA_NEG_Y1)
            mstore(add(q, 0x160), GAMMA_NEG_Y0)
            mstore(add(q, 0x180), mload(c))
            mstore(add(q, 0x1a0), mload(add(c, 0x20)))
            mstore(add(q, 0x1c0), DELTA_X1)
            mstore(add(q, 0x1e0), DELTA_X0)
            mstore(add(q, 0x200), DELTA_NEG_Y1)
            mstore(add(q, 0x220), DELTA_NEG_Y0)
            if ok {
                ok := staticcall(gas(), 8, p, mul(add(k, 3), 0xc0), p, 0x20)
            }
            holds := eq(mload(p), 1)
        }
        if (!ok) revert PrecompileFailed();
        if (!holds) revert ProofInvalid();
    }

    function checkPairing(uint256 x, uint256 y, uint256[8] calldata proof) private view {
        bool ok;
        bool holds;
        assembly ("memory-safe") {
            let p := mload(0x40)
            calldatacopy(p, proof, 0xc0)
            mstore(add(p, 0xc0), ALPHA_X)
            mstore(add(p, 0xe0), ALPHA_Y)
            mstore(add(p, 0x100), BETA_X1)
            mstore(add(p, 0x120), BETA_X0)
            mstore(add(p, 0x140), BETA_NEG_Y1)
            mstore(add(p, 0x160), BETA_NEG_Y0)
            mstore(add(p, 0x180), x)
            mstore(add(p, 0x1a0), y)
            mstore(add(p, 0x1c0), GAMMA_X1)
            mstore(add(p, 0x1e0), GAMMA_X0)
            mstore(add(p, 0x200), GAMMA_NEG_Y1)
            mstore(add(p, 0x220), GAMMA_NEG_Y0)
            calldatacopy(add(p, 0x240), add(proof, 0xc0), 0x40)
            mstore(add(p, 0x280), DELTA_X1)
            mstore(add(p, 0x2a0), DELTA_X0)
            mstore(add(p, 0x2c0), DELTA_NEG_Y1)
            mstore(add(p, 0x2e0), DELTA_NEG_Y0)
            ok := staticcall(gas(), 8, p, 0x300, p, 0x20)
            holds := eq(mload(p), 1)
        }
        if (!ok) revert PrecompileFailed();
        if (!holds) revert ProofInvalid();
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    /// A well-formed key with made-up points of G2: good for the checks, useless for proofs.
    fn key() -> VerifyingKeyWords {
        let g1 = [U256::from(1), U256::from(2)];
        let g2 = |n: u64| [0, 1, 2, 3].map(|i| U256::from(n + i));
        VerifyingKeyWords {
            alpha1: g1,
            beta2: g2(10),
            gamma2: g2(20),
            delta2: g2(30),
            ic: [g1; 4],
            insecure: true,
        }
    }

    fn refusal(change: impl Fn(&mut VerifyingKeyWords)) -> String {
        let mut k = key();
        change(&mut k);
        render_verifier(&k, "V", "./IVerifier.sol")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_key_that_lets_anyone_forge_proofs_is_refused() {
        assert!(key().check().is_ok());
        assert!(refusal(|k| k.gamma2 = k.delta2).contains("gamma equals delta"));
        assert!(refusal(|k| k.delta2 = G2_GENERATOR).contains("second phase"));
        assert!(refusal(|k| k.beta2[0] = Q).contains("base field"));
        assert!(refusal(|k| k.ic[2][1] = U256::from(3)).contains("curve"));
        assert!(refusal(|k| k.ic[0] = [U256::ZERO; 2]).contains("curve"));
        assert!(refusal(|k| k.gamma2 = [U256::ZERO; 4]).contains("infinity"));
    }

    #[test]
    fn the_rendered_contract_says_whether_its_key_is_insecure() {
        let text = render_verifier(&key(), "V", "./IVerifier.sol").unwrap();
        assert!(text.contains("bool public constant INSECURE = true;"));
        assert!(text.contains("contract V is IVerifier"));
        assert!(!text.contains('$'));
        let mut k = key();
        k.insecure = false;
        let text = render_verifier(&k, "V", "./IVerifier.sol").unwrap();
        assert!(text.contains("bool public constant INSECURE = false;"));
        assert!(!text.contains("INSECURE: a development key"));
    }

    #[test]
    fn a_key_file_that_does_not_say_otherwise_is_insecure() {
        let word = "\"0x01\"";
        let four = format!("[{word},{word},{word},{word}]");
        let two = format!("[{word},{word}]");
        let text = format!(
            r#"{{"alpha1":{two},"beta2":{four},"gamma2":{four},"delta2":{four},"ic":[{two},{two},{two},{two}],"tier":"small"}}"#
        );
        let key: VerifyingKeyWords = serde_json::from_str(&text).unwrap();
        assert!(key.insecure);
    }
}
