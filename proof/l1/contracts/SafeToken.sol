// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "./IERC20.sol";
import {ISettlement} from "./ISettlement.sol";

/// @title Transfers of tokens that keep to ERC-20 loosely
/// @dev A token may answer true or nothing at all; false, a revert or any other answer is a failure.
library SafeToken {
    /// @notice Takes `amount` from `from` and returns what really arrived, which a token with fees makes less.
    function pull(IERC20 token, address from, uint256 amount) internal returns (uint256 received) {
        uint256 before = token.balanceOf(address(this));
        call(token, abi.encodeCall(IERC20.transferFrom, (from, address(this), amount)));
        uint256 later = token.balanceOf(address(this));
        return later > before ? later - before : 0;
    }

    /// @notice Sends `amount` to `to`.
    function push(IERC20 token, address to, uint256 amount) internal {
        call(token, abi.encodeCall(IERC20.transfer, (to, amount)));
    }

    /// @dev The caller has made sure that the token has code. Answers beyond the first word are not copied, so a
    /// token cannot spend our gas on memory.
    function call(IERC20 token, bytes memory data) private {
        bool ok;
        assembly ("memory-safe") {
            mstore(0, 0)
            ok := call(gas(), token, 0, add(data, 0x20), mload(data), 0, 0x20)
            if ok {
                let size := returndatasize()
                ok := or(iszero(size), and(gt(size, 0x1f), eq(mload(0), 1)))
            }
        }
        if (!ok) revert ISettlement.TransferFailed();
    }
}
