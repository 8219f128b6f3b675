// SPDX-License-Identifier: Apache-2.0
// Generated from a verifying key by `cargo run -p l1 --example render_verifier`; not for editing.
pragma solidity 0.8.37;

import {IVerifier} from "./IVerifier.sol";

/// @title Groth16 verifier over BN254 with three public inputs
/// @notice INSECURE: a development key. Whoever knows its seed can forge proofs; it guards no real money.
/// @dev Checks e(A, B) * e(alpha, -beta) * e(L, -gamma) * e(C, -delta) = 1, L being the public inputs' combination.
/// The key's points are stored negated, so no coordinate of a proof is ever negated here; the precompiles refuse
/// coordinates that are too large and points off the curve or the subgroup. A proof can be changed into another
/// valid one for the same inputs: never use its bytes to tell batches apart.
contract Groth16Verifier is IVerifier {
    /// @inheritdoc IVerifier
    bool public constant INSECURE = true;
    /// @inheritdoc IVerifier
    bytes32 public constant VK_HASH = 0x73910430763c5c1f97ffb5aa5f1b3813c4a1ddcd1c21048a1c2658918ce0c7c7;

    uint256 private constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant ALPHA_X = 0x1955239a7fa4d56ba083d5c8f6ca8b01765a08281a3b226289719f0d482341c2;
    uint256 private constant ALPHA_Y = 0x01d094c23f0ed8557c4e4817c944d5879e84b8e4da123fca9205e5ac84227393;
    uint256 private constant BETA_X1 = 0x17a4afbe0cd7b12dd66e247581fd3c61a71331a8af11deff9031ece75ad83158;
    uint256 private constant BETA_X0 = 0x0ab432f122e9dca5d99e90ff4976ed50b4a49f2622d1e7b16e16f8cb910145c7;
    uint256 private constant BETA_NEG_Y1 = 0x1e1b4eb8958bcdb4ceadeacef75d034ec766d96f68e076943b2dbabe5aea1a11;
    uint256 private constant BETA_NEG_Y0 = 0x2fb808f8f8d64436f5ac04791169d06620b78566f3e5e1398f8ce98f44c57072;
    uint256 private constant GAMMA_X1 = 0x28f83d4a582c464e58ea1894e6923d32aa4e5197890123e1d9c7778e9c6684c5;
    uint256 private constant GAMMA_X0 = 0x1f4f6109150aae1eeea3134c71782cf5603f23bd1986a5cc241ac5cc72fe179a;
    uint256 private constant GAMMA_NEG_Y1 = 0x2e55b7915475208816debe3a7282a849412a3a5bf1a719232b0456a9783fa4fe;
    uint256 private constant GAMMA_NEG_Y0 = 0x1ca8574bf85ee657d1ca284bd896c6c0cd10e4886a6b8d6e155926f7ca4a5767;
    uint256 private constant DELTA_X1 = 0x09d1b3e0982ab5d89f299a5becbf29d4eb3c0cb89e3a40a72f6bdc3dffba5743;
    uint256 private constant DELTA_X0 = 0x03a1ecaec2f468a70d70dc4d2b24b4706bfb86b772efbffdb16163c67835d93a;
    uint256 private constant DELTA_NEG_Y1 = 0x003e528b70964c737641addcb69260cc38e772429edaeb13c90f9374d60ec176;
    uint256 private constant DELTA_NEG_Y0 = 0x1ef3994f8657321ec0c27b16524eb9ccb5793c9b02b304b9790e391c416d5860;
    uint256 private constant IC0_X = 0x30611a84612f4d182225e075270dd03c19d877968b08ac94421ae3cb3b1e31e9;
    uint256 private constant IC0_Y = 0x09b7b235a8161c4dbb8d6a19ea9819c815cf9a2ffc3a80a48a5eeb635dbb6f66;
    uint256 private constant IC1_X = 0x192594be6212c24ab788af5a4be5401b8c0a4db6fad8dadff08e5875d2aec977;
    uint256 private constant IC1_Y = 0x268c25c6ea0e648ecaa730e541f302009bb50303d0df7aaafe8ab0c331ce34a3;
    uint256 private constant IC2_X = 0x1dff88c1514fbc34958c7c711aebe222b5dca50e92a118a2a0eedb22467e450b;
    uint256 private constant IC2_Y = 0x1f8cb72d6f182d7ee556257a38d3180070fb8f9317a2d5b6a7b1dc04adf7f8b6;
    uint256 private constant IC3_X = 0x140f6344b1b7805caf41fbdb49238bf16b7e6f4165d477f3805096c365d49870;
    uint256 private constant IC3_Y = 0x0a7ea6356ac7e1e9854301d932086986461ec5739aa41fa41d30de6d6bd28151;

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
