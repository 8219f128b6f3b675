// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title TEST money that calls back into whoever moves it
/// @notice While a transfer runs it makes `attack` on the caller once, and keeps the outcome for the test to read.
contract ReenteringToken {
    mapping(address owner => uint256 amount) public balanceOf;
    bytes public attack;
    bool public attacked;
    bool public succeeded;
    bytes public answer;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function setAttack(bytes calldata attack_) external {
        attack = attack_;
        attacked = false;
    }

    /// @notice Lets a test open an account that this token owns, so that its attack has something to gain.
    function forward(address to, bytes calldata data) external returns (bytes memory result) {
        bool ok;
        (ok, result) = to.call(data);
        require(ok);
    }

    function approve(address, uint256) external pure returns (bool) {
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        return move(from, to, amount);
    }

    function move(address from, address to, uint256 amount) private returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        if (attack.length != 0 && !attacked) {
            attacked = true;
            (succeeded, answer) = msg.sender.call(attack);
        }
        return true;
    }
}
