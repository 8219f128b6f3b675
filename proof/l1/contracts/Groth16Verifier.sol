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
    bytes32 public constant VK_HASH = 0x1364d1c8f3a084ba7f6ad0711c1dc251d35eb4151d40ea09a1ad742d27664c8c;

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
    uint256 private constant IC0_X = 0x1ac3547dcf42359ad57bf5ea6e1bb4d45a4d7f7060b4e1925ac4d2a1a9ca9de3;
    uint256 private constant IC0_Y = 0x15f606f95382ff2bcc8c177d337865aa5149221a9e70bb1f13c717ecc24339f3;
    uint256 private constant IC1_X = 0x19e6bb9d9d488aa4f2b1d66df2d694668a3e46f91f2bd2e7d11844934447fff3;
    uint256 private constant IC1_Y = 0x1ee3bd8ba1a6bd545a5fc2651023d213c68a653e643f5835a7bc0f1ab21208be;
    uint256 private constant IC2_X = 0x01fe60a26e957ee21fa9b3d6b7f7d17723cb6a5f07b8165f330a43fbc32016bc;
    uint256 private constant IC2_Y = 0x08361958bea3f26616c4e503ca85c934a4620cdcfc8c673efa52684bfc7568db;
    uint256 private constant IC3_X = 0x2ecb04fae923fe6d0387f147a26c0a3b28d15034acbb23258e34703ca167dd5d;
    uint256 private constant IC3_Y = 0x0b249f458889b4fc26a16271d6e207bf821ed137bf6e8e7d87f0f9bd45b6df83;

    /// @notice Public input `index` is not below R; with it, R times anything could be added unseen.
    error InputNotInField(uint256 index);
    /// @notice A precompile failed: a malformed point, or too little gas. This says nothing about the inputs.
    error PrecompileFailed();
    /// @notice The proof's points are well formed, but the proof does not hold for these inputs.
    error ProofInvalid();

    /// @inheritdoc IVerifier
    function verify(uint256[3] calldata inputs, uint256[8] calldata proof) external view {
        for (uint256 i = 0; i < 3; ++i) {
            if (inputs[i] >= R) revert InputNotInField(i);
        }
        (uint256 x, uint256 y) = combine(inputs);
        checkPairing(x, y, proof);
    }

    /// @dev L = IC0 + inputs[0] * IC1 + inputs[1] * IC2 + inputs[2] * IC3.
    function combine(uint256[3] calldata inputs) private view returns (uint256 x, uint256 y) {
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
            ok := addTerm(p, IC1_X, IC1_Y, calldataload(inputs))
            if ok {
                ok := addTerm(p, IC2_X, IC2_Y, calldataload(add(inputs, 0x20)))
            }
            if ok {
                ok := addTerm(p, IC3_X, IC3_Y, calldataload(add(inputs, 0x40)))
            }
            x := mload(p)
            y := mload(add(p, 0x20))
        }
        if (!ok) revert PrecompileFailed();
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
