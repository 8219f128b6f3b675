// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISettlement} from "../ISettlement.sol";
import {Leaf} from "./Leaf.sol";
import {Requests} from "./Requests.sol";

/// @title The way out after a freeze
/// @notice The table of the last root is opened once; then each account's leaf is opened once and valued at it. After
/// the exit window claims are paid: in full where the money behind the state covers them, else in proportion.
/// Claims below zero get nothing; what they lack is first the fund's loss, then everybody's.
/// @dev The circuit keeps sum of claims + fund = money behind the state. So the claims above zero come to
/// `held - fund + what the claims below zero lack`, of which only the last is not known: anyone may bring such leaves
/// within the window. Where nobody does, the sum of the claims brought takes its place if it is larger.
abstract contract Exit is Requests {
    int256 private constant PICO = 1e6;
    uint256 internal immutable EXIT_WINDOW;

    struct ExitState {
        uint256 tree;
        int256 fundPico;
        uint64 endsAt;
        bool isShared;
        uint256 shortfallMicro;
        uint256 registeredMicro;
        uint256 heldMicro;
        uint256 totalMicro;
        uint256 paidMicro;
    }

    ExitState private exit;
    int64[16] private prices;
    /// @inheritdoc ISettlement
    mapping(uint32 account => bool done) public escaped;
    mapping(uint32 account => Owed owed) private owedTo;

    /// @inheritdoc ISettlement
    function openExit(StateParts calldata state, uint256[] calldata table) external nonReentrant {
        if (!frozen) revert NotFrozen();
        if (exit.endsAt != 0) revert ExitIsOpen();
        checkState(state);
        if (Leaf.tableDigest(POSEIDON, table) != state.tableDigest) revert WrongTable();
        exit.tree = state.tree;
        exit.fundPico = Leaf.signed(state.fund);
        exit.endsAt = uint64(block.timestamp + EXIT_WINDOW);
        if (table.length != 0) {
            for (uint256 i = 0; i < Leaf.INSTRUMENTS; ++i) prices[i] = Leaf.price(table, i);
        }
        emit ExitOpened(exit.endsAt);
    }

    /// @inheritdoc ISettlement
    function escape(uint32 account, LeafProof calldata proof) external nonReentrant {
        if (exit.endsAt == 0) revert ExitNotOpen();
        if (escaped[account]) revert AlreadyEscaped(account);
        Leaf.check(POSEIDON, exit.tree, account, proof);
        address owner = Leaf.owner(proof);
        if (owner == address(0)) revert NothingToEscape(account);
        escaped[account] = true;
        int256 claimPico = Leaf.claimPico(proof, prices);
        emit Escaped(account, owner, claimPico);
        bool isWindowOpen = block.timestamp <= exit.endsAt;
        if (claimPico <= 0) {
            if (isWindowOpen) exit.shortfallMicro += uint256((-claimPico + PICO - 1) / PICO);
            return;
        }
        uint256 micro = uint256(claimPico / PICO);
        if (isWindowOpen) {
            exit.registeredMicro += micro;
            owedTo[account] = Owed(owner, micro);
        } else {
            payOut(account, owner, micro);
        }
    }

    /// @inheritdoc ISettlement
    function settleEscape(uint32 account) external nonReentrant {
        if (exit.endsAt == 0) revert ExitNotOpen();
        if (block.timestamp <= exit.endsAt) revert TooEarly(exit.endsAt);
        Owed memory owed = owedTo[account];
        if (owed.micro == 0) revert NothingToEscape(account);
        delete owedTo[account];
        payOut(account, owed.owner, owed.micro);
    }

    /// @inheritdoc ISettlement
    function exitEndsAt() external view returns (uint64) {
        return exit.endsAt;
    }

    /// @inheritdoc ISettlement
    function exitTotals()
        external
        view
        returns (uint256 registered, uint256 shortfall, uint256 held, uint256 total, uint256 paid)
    {
        return (exit.registeredMicro, exit.shortfallMicro, exit.heldMicro, exit.totalMicro, exit.paidMicro);
    }

    /// @inheritdoc ISettlement
    function owedAfterExit(uint32 account) external view returns (Owed memory) {
        return owedTo[account];
    }

    function payOut(uint32 account, address owner, uint256 micro) private {
        if (!exit.isShared) fixShares();
        uint256 paid = exit.totalMicro <= exit.heldMicro ? micro : micro * exit.heldMicro / exit.totalMicro;
        uint256 left = exit.heldMicro - exit.paidMicro;
        // Only if claims below zero were not brought in time.
        if (paid > left) paid = left;
        exit.paidMicro += paid;
        heldForState -= paid;
        credit(owner, paid);
        emit EscapePaid(account, owner, micro, paid);
    }

    /// @dev Once, at the first payment: what there is and what is owed.
    function fixShares() private {
        exit.isShared = true;
        uint256 balance = TOKEN.balanceOf(address(this));
        uint256 others = totalPending + totalQueued;
        uint256 held = heldForState;
        uint256 there = balance > others ? balance - others : 0;
        exit.heldMicro = there < held ? there : held;
        int256 total = int256(held + exit.shortfallMicro) * PICO - exit.fundPico;
        uint256 totalMicro = total <= 0 ? 0 : uint256((total + PICO - 1) / PICO);
        exit.totalMicro = totalMicro > exit.registeredMicro ? totalMicro : exit.registeredMicro;
    }
}
