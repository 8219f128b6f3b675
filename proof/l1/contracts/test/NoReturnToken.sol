// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title TEST money whose transfers answer nothing, as some old tokens do
/// @notice `fee` units vanish in every transferFrom, and `broken` makes transfers answer false instead.
contract NoReturnToken {
    mapping(address owner => uint256 amount) public balanceOf;
    uint256 public fee;
    bool public broken;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function setFee(uint256 fee_) external {
        fee = fee_;
    }

    function setBroken(bool broken_) external {
        broken = broken_;
    }

    function approve(address, uint256) external {}

    function transfer(address to, uint256 amount) external {
        move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        move(from, to, amount);
        balanceOf[to] -= fee;
    }

    function move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        if (!broken) return;
        assembly {
            mstore(0, 0)
            return(0, 0x20)
        }
    }
}
