// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "../IVerifier.sol";

/// @title A verifier that takes everything
/// @notice For tests of what comes after a proof, where the proof itself was tested elsewhere.
contract OpenVerifier is IVerifier {
    /// @inheritdoc IVerifier
    bool public constant INSECURE = true;
    /// @inheritdoc IVerifier
    bytes32 public constant VK_HASH = 0;

    /// @inheritdoc IVerifier
    function verify(uint256[3] calldata, uint256[8] calldata) external view {}

    /// @inheritdoc IVerifier
    function verifyMany(uint256[3][] calldata, uint256[8][] calldata) external view {}
}
