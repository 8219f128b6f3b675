// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The hash of the state tree, with circomlib's parameters
interface IPoseidon {
    /// @notice Element `index` of what is to be hashed is not below the order of the scalar field.
    error ElementNotInField(uint256 index);

    /// @notice Width 5 with capacity 0: circomlib's `poseidon([a, b, c, d])`.
    function hash4(uint256[4] calldata elements) external view returns (uint256);

    /// @notice The long hash: `capacity = domain * 2^32 + length`, then for each block of 16 elements, the last filled
    /// with zeros, `capacity = permute(capacity, block)[0]` at width 17.
    function longHash(uint256 domain, uint256[] calldata elements) external view returns (uint256);

    /// @notice The root of a tree of arity 4 and depth 8 that `leaf` at `index` leads to.
    /// @param siblings Three a level from the bottom, in the order of the children without the path's own.
    function merkleRoot(uint256 index, uint256 leaf, uint256[24] calldata siblings) external view returns (uint256);
}
