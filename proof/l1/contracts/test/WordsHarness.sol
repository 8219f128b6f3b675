// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISettlement} from "../ISettlement.sol";
import {IVerifier} from "../IVerifier.sol";
import {Words} from "../Words.sol";

/// @title Opens the library of public words to tests
contract WordsHarness {
    /// @notice The challenge and the value at it, as the settlement contract works them out.
    function point(uint256[] calldata given, uint256 commitment) public pure returns (uint256 z, uint256 y) {
        uint256[] memory words = Words.allocate();
        require(given.length == Words.COUNT);
        for (uint256 i = 0; i < Words.COUNT; ++i) words[i] = given[i];
        return Words.point(words, commitment);
    }

    /// @notice Takes words and proof on the settlement contract's own way: words, point, verifier.
    function check(IVerifier verifier, uint256[] calldata given, uint256 commitment, uint256[8] calldata proof)
        external
        view
    {
        (uint256 z, uint256 y) = point(given, commitment);
        verifier.verify([commitment, z, y], proof);
    }

    /// @notice The first word of every batch.
    function tag() external pure returns (uint256) {
        return Words.DOMAIN_TAG;
    }
}
