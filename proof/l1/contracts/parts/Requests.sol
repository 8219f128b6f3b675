// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPoseidon} from "../IPoseidon.sol";
import {ISettlement} from "../ISettlement.sol";
import {Leaf} from "./Leaf.sol";
import {Vault} from "./Vault.sol";

/// @title Forced withdrawals and closes, and the freeze
/// @dev A request stands until a batch does what it asks for, or somebody proves from the state that it is done or
/// cannot be done. One that stands past its deadline lets anyone freeze the contract. No role and no pause can
/// stop a request, an answer or a freeze.
abstract contract Requests is Vault {
    IPoseidon internal immutable POSEIDON;
    uint256 internal immutable REQUEST_FEE_WEI;
    uint256 internal immutable REQUESTS_MAX;

    /// @inheritdoc ISettlement
    uint64 public requestsCount;
    /// @inheritdoc ISettlement
    uint64 public requestsOpen;
    /// @inheritdoc ISettlement
    uint256 public feesWei;
    mapping(uint64 id => Request request) private requests;
    /// @inheritdoc ISettlement
    mapping(uint32 account => mapping(RequestKind kind => uint64 id)) public openRequest;

    /// @inheritdoc ISettlement
    function requestWithdrawal(uint32 account, uint64 amount) external payable nonReentrant returns (uint64 id) {
        checkAmount(amount);
        return add(account, RequestKind.Withdrawal, amount);
    }

    /// @inheritdoc ISettlement
    function requestClose(uint32 account) external payable nonReentrant returns (uint64 id) {
        return add(account, RequestKind.Close, 0);
    }

    /// @inheritdoc ISettlement
    function answerRequest(uint64 id, StateParts calldata state, LeafProof calldata proof, uint256[] calldata table)
        external
        nonReentrant
        unfrozen
    {
        Request memory r = requestAt(id);
        if (!r.isOpen) revert RequestNotOpen(id);
        checkState(state);
        Leaf.check(POSEIDON, state.tree, r.account, proof);
        if (table.length != 0 && Leaf.tableDigest(POSEIDON, table) != state.tableDigest) revert WrongTable();
        bool isAnswered;
        if (r.kind == RequestKind.Close) {
            isAnswered = Leaf.isFlat(proof);
        } else {
            // An account that no batch has touched has no owner in the state, and nothing that could be paid.
            isAnswered = Leaf.owner(proof) != r.owner || int256(uint256(r.remaining)) > Leaf.free(proof, table);
        }
        if (!isAnswered) revert RequestStands(id);
        close(id, r, true);
    }

    /// @inheritdoc ISettlement
    function freeze(uint64 id) external nonReentrant unfrozen {
        Request memory r = requestAt(id);
        if (!r.isOpen) revert RequestNotOpen(id);
        if (block.timestamp <= r.deadline) revert TooEarly(r.deadline);
        frozen = true;
        emit FrozenFor(id, r.account);
    }

    /// @inheritdoc ISettlement
    function collectFees(address payable to) external nonReentrant onlyRole(DEFAULT_ADMIN_ROLE) {
        if (to == address(0)) revert BadRecipient(to);
        uint256 amount = feesWei;
        feesWei = 0;
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert TransferFailed();
    }

    /// @inheritdoc ISettlement
    function requestAt(uint64 id) public view returns (Request memory) {
        if (id == 0 || id > requestsCount) revert RequestNotOpen(id);
        return requests[id];
    }

    /// @dev What a batch paid to `account` counts against its open request.
    function countWithdrawal(uint32 account, uint64 amount) internal {
        uint64 id = openRequest[account][RequestKind.Withdrawal];
        if (id == 0) return;
        Request memory r = requests[id];
        if (amount < r.remaining) requests[id].remaining = r.remaining - amount;
        else close(id, r, false);
    }

    /// @dev Reverts unless the root on record is that of these parts.
    function checkState(StateParts calldata state) internal view {
        uint256[4] memory parts = [state.tree, state.fund, state.tableDigest, uint256(progress.batchNo)];
        if (POSEIDON.hash4(parts) != root) revert NotTheRoot();
    }

    function add(uint32 account, RequestKind kind, uint64 amount) private unfrozen returns (uint64 id) {
        if (ownerOf[account] != msg.sender) revert NotOwner(account, msg.sender);
        if (msg.value != REQUEST_FEE_WEI) revert WrongFee(REQUEST_FEE_WEI, msg.value);
        if (openRequest[account][kind] != 0) revert RequestStands(openRequest[account][kind]);
        if (requestsOpen >= REQUESTS_MAX) revert TooManyRequests(REQUESTS_MAX);
        feesWei += msg.value;
        id = requestsCount + 1;
        requestsCount = id;
        requestsOpen += 1;
        openRequest[account][kind] = id;
        uint64 deadline = uint64(block.timestamp + FORCED_WINDOW);
        requests[id] = Request(msg.sender, account, deadline, amount, kind, true);
        emit Requested(id, account, msg.sender, kind, amount, deadline);
    }

    function close(uint64 id, Request memory r, bool byProof) private {
        requests[id].isOpen = false;
        requests[id].remaining = 0;
        delete openRequest[r.account][r.kind];
        requestsOpen -= 1;
        emit RequestAnswered(id, r.account, byProof);
    }
}
