// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

/// @title The address that holds the money and that proofs are for
/// @dev OpenZeppelin's proxy under a name of ours, so that its bytecode is among the artifacts.
contract SettlementProxy is ERC1967Proxy {
    constructor(address code, bytes memory data) payable ERC1967Proxy(code, data) {}
}
