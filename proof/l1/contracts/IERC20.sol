// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The part of ERC-20 that settlement needs
interface IERC20 {
    /// @notice Tokens of `owner`.
    function balanceOf(address owner) external view returns (uint256);
    /// @notice Sends the caller's tokens.
    function transfer(address to, uint256 amount) external returns (bool);
    /// @notice Sends tokens of `from` that the caller may spend.
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}
