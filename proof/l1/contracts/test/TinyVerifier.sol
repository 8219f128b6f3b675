// SPDX-License-Identifier: Apache-2.0
// Generated from a verifying key by `cargo run -p l1 --example render_verifier`; not for editing.
pragma solidity 0.8.37;

import {IVerifier} from "../IVerifier.sol";

/// @title Groth16 verifier over BN254 with three public inputs
/// @notice INSECURE: a development key. Whoever knows its seed can forge proofs; it guards no real money.
/// @dev Checks e(A, B) * e(alpha, -beta) * e(L, -gamma) * e(C, -delta) = 1, L being the public inputs' combination.
/// The key's points are stored negated, so no coordinate of a proof is ever negated here; the precompiles refuse
/// coordinates that are too large and points off the curve or the subgroup. A proof can be changed into another
/// valid one for the same inputs: never use its bytes to tell batches apart.
contract TinyVerifier is IVerifier {
    /// @inheritdoc IVerifier
    bool public constant INSECURE = true;
    /// @inheritdoc IVerifier
    bytes32 public constant VK_HASH = 0x67c6296cfc676cb4cdc307de91baf766ad02f246a9d4c4dbfd83482a9465144b;

    uint256 private constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant ALPHA_X = 0x1d657451f9776b9146ecfa330d5f6ae4e83262eb80f96b632d24381750963b2b;
    uint256 private constant ALPHA_Y = 0x24a3cdaf44e66d6c47e613fc15beb52829a31822705823e7ccbbaea84000c406;
    uint256 private constant BETA_X1 = 0x1f3fdd9e7737c5360ce2c0d736aea8378f3e4fc79a271c14cb62abc3cda95fd3;
    uint256 private constant BETA_X0 = 0x168383da54e03b594e2f1cad331e153ddac107da0db3476d00572c6731d04234;
    uint256 private constant BETA_NEG_Y1 = 0x0e9dee6a8157d0fba24516037a4b93c5fee92d3db867392b9855faf0a9fa3fc6;
    uint256 private constant BETA_NEG_Y0 = 0x0a24316eeaaffb0120e50cc7ba870d7e82bcab28ba71cc6db03d8ee7819962fc;
    uint256 private constant GAMMA_X1 = 0x1262a19f2c5e5fb2db7cc9ef848ca4caf91c786b0e71d5133cb52b24684712dd;
    uint256 private constant GAMMA_X0 = 0x0c08661f7511e122f7f85cc9a93fb2b5b3928194fb6bbd983e7850901c4426f4;
    uint256 private constant GAMMA_NEG_Y1 = 0x18a6e142fa9e87feb7ee97b92f7784a732d9981843ba6f96ddea2d9403c1f958;
    uint256 private constant GAMMA_NEG_Y0 = 0x21168f0ed584adbbf56bc195f4d91d1cb50caa94a2c2825d339dd7e86ab1f4c4;
    uint256 private constant DELTA_X1 = 0x201737f37d3457dc39fb02776ebd870ef593ed8d6b70d76f2ee24b58852f5b3f;
    uint256 private constant DELTA_X0 = 0x2be32316fc60fd9ef2a02dadccbb80ce9215b17618b6e865fd5b1b9c529c9c7f;
    uint256 private constant DELTA_NEG_Y1 = 0x22cf1370ac8bc76f826e2cf6d3e3bd699131e2f90e6c989495cbcd1ba180d7db;
    uint256 private constant DELTA_NEG_Y0 = 0x05e96d9dad8551e874d5dd5a6d0899721fca625cc6394aaf290eb7434966efc5;
    uint256 private constant IC0_X = 0x076578eea2ea88519fad604c4f1381e47af72b0f4bfa20fc85b1718f04561799;
    uint256 private constant IC0_Y = 0x0d5a98ff671edd42c0a3825e3cce02b23c2cd7a66b57e65b77ddf941d7b2dff7;
    uint256 private constant IC1_X = 0x25ab9fc71bf0bb9cb88e81ef84c5e5cfb65a725b83bde6f1dc83ef200a4cdc78;
    uint256 private constant IC1_Y = 0x0361b74f3869663cdcef6d807d5eaa64c673cd21816e8f501092a8bd8f8516bd;
    uint256 private constant IC2_X = 0x08213b1b7cb1408a2dabc87cb7515f7466de6c7a3cb6c9e1dbac55234122a50f;
    uint256 private constant IC2_Y = 0x04abd9d39c799155ebbfa39a90d095871b8447de450346a49225f30832b952ec;
    uint256 private constant IC3_X = 0x0f2426bdd42650bdc820d772a4f1b79b597e19fe5d15fe759f7afc23214d0264;
    uint256 private constant IC3_Y = 0x09cc9d12c4dcf6e9e52aa8eedfbdfb4add7f28b9092b7fb03efafed9e775d0a4;

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
