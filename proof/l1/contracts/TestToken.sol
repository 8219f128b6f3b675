// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "./IERC20.sol";

/// @title TEST money for development chains
/// @notice Anyone can mint any amount, so it is worth nothing. 6 decimals, as the settlement asset's micro-units.
contract TestToken is IERC20 {
    /// @notice Says what it is.
    string public constant name = "TEST dollar (worthless)";
    /// @notice Says what it is.
    string public constant symbol = "TESTUSD";
    /// @notice Token units are micro-units.
    uint8 public constant decimals = 6;

    /// @notice All tokens minted.
    uint256 public totalSupply;
    /// @inheritdoc IERC20
    mapping(address owner => uint256 amount) public balanceOf;
    /// @notice What `spender` may send of `owner`'s tokens.
    mapping(address owner => mapping(address spender => uint256 amount)) public allowance;

    /// @notice Tokens moved.
    event Transfer(address indexed from, address indexed to, uint256 amount);
    /// @notice A spender's allowance was set.
    event Approval(address indexed owner, address indexed spender, uint256 amount);

    /// @notice `from` holds less than is asked for.
    error BalanceTooLow(address from, uint256 held, uint256 asked);
    /// @notice `spender` may spend less than is asked for.
    error AllowanceTooLow(address spender, uint256 allowed, uint256 asked);

    /// @notice Makes `amount` of new tokens for `to`.
    function mint(address to, uint256 amount) external {
        totalSupply += amount;
        balanceOf[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    /// @notice Lets `spender` send up to `amount` of the caller's tokens.
    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }

    /// @inheritdoc IERC20
    function transfer(address to, uint256 amount) external returns (bool) {
        move(msg.sender, to, amount);
        return true;
    }

    /// @inheritdoc IERC20
    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed < amount) revert AllowanceTooLow(msg.sender, allowed, amount);
        if (allowed != type(uint256).max) allowance[from][msg.sender] = allowed - amount;
        move(from, to, amount);
        return true;
    }

    function move(address from, address to, uint256 amount) private {
        uint256 held = balanceOf[from];
        if (held < amount) revert BalanceTooLow(from, held, amount);
        balanceOf[from] = held - amount;
        balanceOf[to] += amount;
        emit Transfer(from, to, amount);
    }
}
