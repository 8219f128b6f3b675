// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ISettlement} from "../ISettlement.sol";
import {Words} from "../Words.sol";

/// @title The money: accounts, the deposit queue, claims, limits and the pause
/// @dev A token is foreign code: every door that writes is shut while it runs. Pausing shuts `open`, `deposit` and
/// the commit of batches, and nothing else; freezing shuts the same for good.
abstract contract Vault is ISettlement, AccessControl, Pausable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice Commits batches.
    bytes32 public constant OPERATOR_ROLE = keccak256("OPERATOR");
    /// @notice Pauses. Only the admin ends a pause.
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN");
    /// @dev Account ids are leaf indices of a tree of this many leaves.
    uint256 private constant ACCOUNTS = 1 << 16;
    /// @dev All collateral together stays below this: the engine holds it in 62 bits, and a deposit that it had to
    /// refuse would block the queue.
    uint64 internal constant AMOUNT_END = 1 << 62;

    /// @dev All that changes with every batch besides the root, in one storage word.
    struct Progress {
        uint64 batchNo;
        uint64 lastSeq;
        uint64 timeNs;
        uint64 depositsConsumed;
    }

    IERC20 internal immutable TOKEN;
    uint256 internal immutable FORCED_WINDOW;
    uint256 internal immutable DEPOSIT_WINDOW;

    /// @inheritdoc ISettlement
    uint256 public root;
    Progress internal progress;
    /// @inheritdoc ISettlement
    uint64 public depositsCount;
    /// @inheritdoc ISettlement
    uint64 public depositMax;
    /// @inheritdoc ISettlement
    uint64 public collateralMax;
    /// @inheritdoc ISettlement
    uint32 public accountsCount;
    /// @inheritdoc ISettlement
    bool public frozen;
    /// @inheritdoc ISettlement
    uint256 public heldForState;
    /// @inheritdoc ISettlement
    uint256 public totalPending;
    /// @inheritdoc ISettlement
    uint256 public totalQueued;
    /// @inheritdoc ISettlement
    mapping(address owner => uint256 amount) public pending;
    /// @inheritdoc ISettlement
    mapping(uint32 account => address owner) public ownerOf;
    mapping(uint64 index => DepositRow row) internal queue;
    /// @dev Eight deadlines in a word; seconds since the Unix epoch, good until 2106.
    mapping(uint64 group => uint32[8] deadlines) private depositDeadlines;

    modifier unfrozen() {
        if (frozen) revert Frozen();
        _;
    }

    /// @inheritdoc ISettlement
    function open() external nonReentrant whenNotPaused unfrozen returns (uint32 account) {
        account = accountsCount + 1;
        if (account >= ACCOUNTS) revert AccountsFull();
        accountsCount = account;
        ownerOf[account] = msg.sender;
        emit AccountOpened(account, msg.sender);
    }

    /// @inheritdoc ISettlement
    function deposit(uint32 account, uint64 amount)
        external
        nonReentrant
        whenNotPaused
        unfrozen
        returns (uint64 index)
    {
        address owner = ownerOf[account];
        if (owner == address(0)) revert UnknownAccount(account);
        checkAmount(amount);
        if (amount > depositMax) revert DepositTooLarge(amount, depositMax);
        uint256 total = heldForState + totalQueued + amount;
        if (total > collateralMax) revert CollateralFull(total, collateralMax);
        totalQueued += amount;
        index = depositsCount;
        depositsCount = index + 1;
        queue[index] = DepositRow(owner, account, amount);
        depositDeadlines[index / 8][index % 8] = uint32(block.timestamp + DEPOSIT_WINDOW);
        emit Deposited(index, account, owner, amount);
        uint256 before = TOKEN.balanceOf(address(this));
        if (!TOKEN.trySafeTransferFrom(msg.sender, address(this), amount)) revert TransferFailed();
        uint256 received = TOKEN.balanceOf(address(this)) - before;
        if (received != amount) revert WrongAmountReceived(amount, received);
    }

    /// @inheritdoc ISettlement
    function reclaim(uint64 index) external nonReentrant {
        DepositRow memory row = depositAt(index);
        if (index < progress.depositsConsumed || row.amount == 0) revert DepositNotQueued(index);
        if (!frozen) {
            if (msg.sender != row.owner) revert NotOwner(row.account, msg.sender);
            uint64 deadline = depositDeadline(index);
            if (block.timestamp <= deadline) revert TooEarly(deadline);
        }
        queue[index].amount = 0;
        totalQueued -= row.amount;
        credit(row.owner, row.amount);
        emit DepositReclaimed(index, row.account, row.owner, row.amount);
    }

    /// @inheritdoc ISettlement
    function claim(address to) external nonReentrant returns (uint256 amount) {
        if (to == address(0) || to == address(this)) revert BadRecipient(to);
        amount = pending[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        pending[msg.sender] = 0;
        totalPending -= amount;
        emit Claimed(msg.sender, to, amount);
        if (!TOKEN.trySafeTransfer(to, amount)) revert TransferFailed();
    }

    /// @inheritdoc ISettlement
    function pause() external nonReentrant onlyRole(GUARDIAN_ROLE) {
        _pause();
    }

    /// @inheritdoc ISettlement
    function unpause() external nonReentrant onlyRole(DEFAULT_ADMIN_ROLE) {
        _unpause();
    }

    /// @inheritdoc ISettlement
    function setLimits(uint64 depositMax_, uint64 collateralMax_) external nonReentrant onlyRole(DEFAULT_ADMIN_ROLE) {
        setLimitsNow(depositMax_, collateralMax_);
    }

    /// @inheritdoc ISettlement
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc ISettlement
    function isOperator(address who) external view returns (bool) {
        return hasRole(OPERATOR_ROLE, who);
    }

    /// @inheritdoc ISettlement
    function batchNo() external view returns (uint64) {
        return progress.batchNo;
    }

    /// @inheritdoc ISettlement
    function lastSeq() external view returns (uint64) {
        return progress.lastSeq;
    }

    /// @inheritdoc ISettlement
    function timeNs() external view returns (uint64) {
        return progress.timeNs;
    }

    /// @inheritdoc ISettlement
    function depositsConsumed() external view returns (uint64) {
        return progress.depositsConsumed;
    }

    /// @inheritdoc ISettlement
    function depositAt(uint64 index) public view returns (DepositRow memory) {
        if (index >= depositsCount) revert DepositsNotQueued(uint256(index) + 1, depositsCount);
        return queue[index];
    }

    /// @inheritdoc ISettlement
    function depositDeadline(uint64 index) public view returns (uint64) {
        return depositDeadlines[index / 8][index % 8];
    }

    function setLimitsNow(uint64 depositMax_, uint64 collateralMax_) internal {
        if (collateralMax_ >= AMOUNT_END) revert AmountOutOfRange(collateralMax_);
        depositMax = depositMax_;
        collateralMax = collateralMax_;
        emit LimitsSet(depositMax_, collateralMax_);
    }

    function credit(address owner, uint256 amount) internal {
        pending[owner] += amount;
        totalPending += amount;
    }

    function checkAmount(uint256 amount) internal pure {
        if (amount == 0 || amount >= AMOUNT_END) revert AmountOutOfRange(amount);
    }
}
