// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A checker of batch proofs
interface IVerifier {
    /// @notice Returns if `proof` holds for `inputs`, and reverts in every other case; it never answers false, so
    /// running out of gas cannot be taken for a verdict.
    /// @param inputs The public inputs (C, z, y).
    /// @param proof Groth16 points A (x, y), B (x1, x0, y1, y0), C (x, y).
    function verify(uint256[3] calldata inputs, uint256[8] calldata proof) external view;

    /// @notice The same for several proofs of one key by one pairing check, which costs less for each. Reverts unless
    /// all hold.
    function verifyMany(uint256[3][] calldata inputs, uint256[8][] calldata proofs) external view;

    /// @notice Whether the key was made by one party from a known seed, so that anyone can forge proofs.
    function INSECURE() external view returns (bool);

    /// @notice keccak256 of the verifying key's 22 words, in the order of the key file.
    function VK_HASH() external view returns (bytes32);
}
