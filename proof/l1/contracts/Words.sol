// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISettlement} from "./ISettlement.sol";

/// @title The public words of a batch (small tier), and the point that binds a proof to them
/// @notice 59 words, each below R: 11 of the batch, then 8 deposit rows and 8 withdrawal rows of (account, owner,
/// amount) each; unused rows are zero. The proof has three public inputs: the commitment C to the words,
/// z = keccak256(words, C) with its top 3 bits cleared, and y = sum of words[i] * z^i. The circuit shows that C and
/// y come from the words it worked on; as z follows from C and from the words of this contract, the two lists are
/// the same but for a chance of about 59 in 2^250.
library Words {
    /// @notice Order of the scalar field of BN254.
    uint256 internal constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    /// @notice Names statement, tier and version: the text as a big-endian integer.
    uint256 internal constant DOMAIN_TAG = uint256(uint136(bytes17("deltabox.small.v2")));
    /// @notice Rows of deposits, and of withdrawals, in a batch.
    uint256 internal constant ROWS = 8;

    uint256 internal constant TAG = 0;
    uint256 internal constant CHAIN_ID = 1;
    uint256 internal constant CONTRACT = 2;
    uint256 internal constant BATCH_NO = 3;
    uint256 internal constant OLD_ROOT = 4;
    uint256 internal constant NEW_ROOT = 5;
    uint256 internal constant JOURNAL_HASH = 6;
    uint256 internal constant LAST_SEQ = 7;
    uint256 internal constant TIME_NS = 8;
    uint256 internal constant DEPOSIT_COUNT = 9;
    uint256 internal constant WITHDRAWAL_COUNT = 10;
    uint256 internal constant DEPOSITS = 11;
    uint256 internal constant WITHDRAWALS = DEPOSITS + 3 * ROWS;
    uint256 internal constant COUNT = WITHDRAWALS + 3 * ROWS;

    /// @notice Room for the words and, behind them, the commitment.
    function allocate() internal pure returns (uint256[] memory) {
        return new uint256[](COUNT + 1);
    }

    /// @notice Writes one deposit or withdrawal row from word `first` on.
    function setRow(uint256[] memory words, uint256 first, uint256 account, address owner, uint256 amount) internal pure {
        words[first] = account;
        words[first + 1] = uint256(uint160(owner));
        words[first + 2] = amount;
    }

    /// @notice The challenge z and the value y of the words at z. Checks that every word and the commitment are
    /// below R, so that no second list gives the same value.
    function point(uint256[] memory words, uint256 commitment) internal pure returns (uint256 z, uint256 y) {
        if (commitment >= R) revert ISettlement.WordNotInField(COUNT);
        words[COUNT] = commitment;
        uint256 hash;
        assembly ("memory-safe") {
            hash := keccak256(add(words, 0x20), mul(mload(words), 0x20))
        }
        z = hash & ((1 << 253) - 1);
        for (uint256 i = COUNT; i > 0; ) {
            --i;
            uint256 word;
            assembly ("memory-safe") {
                word := mload(add(add(words, 0x20), mul(i, 0x20)))
            }
            if (word >= R) revert ISettlement.WordNotInField(i);
            assembly ("memory-safe") {
                y := addmod(mulmod(y, z, R), word, R)
            }
        }
    }
}
