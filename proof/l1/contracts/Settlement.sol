// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "./IERC20.sol";
import {ISettlement} from "./ISettlement.sol";
import {IVerifier} from "./IVerifier.sol";
import {SafeToken} from "./SafeToken.sol";
import {Words} from "./Words.sol";

/// @title Settlement of one risk domain
/// @notice Holds the collateral, the deposit queue and the state root. The root moves only by a valid proof over
/// words that this contract puts together from its own state, so a submitter cannot skip, reorder or invent a
/// deposit, nor replay a batch.
/// @dev One role, fixed for good: the operator, who alone commits batches. No owner, no pause: there is nothing here
/// that could stop a claim. Not here yet, and refused by having no door at all: taking back a deposit that no batch
/// consumed in time, forced withdrawal, freeze and escape, a window for a batch's time against the block's, and
/// change of the verifier or the operator.
contract Settlement is ISettlement {
    using SafeToken for IERC20;

    /// @notice Account ids are leaf indices of a tree of this many leaves.
    uint256 private constant ACCOUNTS = 1 << 16;
    uint256 private constant AMOUNT_END = 1 << 62;
    uint256 private constant JOURNAL_HASH_END = 1 << 253;

    /// @dev All that changes with every batch besides the root, in one storage word.
    struct Progress {
        uint64 batchNo;
        uint64 lastSeq;
        uint64 timeNs;
        uint64 depositsConsumed;
    }

    IERC20 private immutable TOKEN;
    IVerifier private immutable VERIFIER;
    address private immutable OPERATOR;

    /// @inheritdoc ISettlement
    uint256 public root;
    Progress private progress;
    /// @inheritdoc ISettlement
    uint256 public heldForState;
    /// @inheritdoc ISettlement
    uint256 public totalPending;
    /// @inheritdoc ISettlement
    mapping(address owner => uint256 amount) public pending;
    /// @inheritdoc ISettlement
    mapping(uint32 account => address owner) public ownerOf;
    /// @inheritdoc ISettlement
    uint32 public accountsCount;
    /// @inheritdoc ISettlement
    uint64 public depositsCount;
    mapping(uint64 index => DepositRow row) private queue;
    bool private transient entered;

    /// @dev A token is foreign code: while it runs, every door that writes is shut.
    modifier guarded() {
        if (entered) revert Reentered();
        entered = true;
        _;
        entered = false;
    }

    /// @param token_ The collateral token, with 6 decimals.
    /// @param verifier_ The verifier made from the tier's verifying key.
    /// @param genesisRoot State root before the first batch.
    /// @param operator_ Who may commit batches.
    constructor(address token_, address verifier_, uint256 genesisRoot, address operator_) {
        if (token_.code.length == 0) revert NoCode(token_);
        if (verifier_.code.length == 0) revert NoCode(verifier_);
        bool devChain = block.chainid == 31337 || block.chainid == 1337;
        if (!devChain && IVerifier(verifier_).INSECURE()) revert InsecureKey(block.chainid);
        if (genesisRoot >= Words.R) revert WordNotInField(Words.OLD_ROOT);
        if (operator_ == address(0)) revert NoOperator();
        TOKEN = IERC20(token_);
        VERIFIER = IVerifier(verifier_);
        OPERATOR = operator_;
        root = genesisRoot;
    }

    /// @inheritdoc ISettlement
    function open() external guarded returns (uint32 account) {
        account = accountsCount + 1;
        if (account >= ACCOUNTS) revert AccountsFull();
        accountsCount = account;
        ownerOf[account] = msg.sender;
        emit AccountOpened(account, msg.sender);
    }

    /// @inheritdoc ISettlement
    function deposit(uint32 account, uint64 amount) external guarded returns (uint64 index) {
        address owner = ownerOf[account];
        if (owner == address(0)) revert UnknownAccount(account);
        checkAmount(amount);
        uint256 received = TOKEN.pull(msg.sender, amount);
        if (received != amount) revert WrongAmountReceived(amount, received);
        index = depositsCount;
        depositsCount = index + 1;
        queue[index] = DepositRow(owner, account, amount);
        emit Deposited(index, account, owner, amount);
    }

    /// @inheritdoc ISettlement
    function commitBatch(Batch calldata batch, uint256 commitment, uint256[8] calldata proof) external guarded {
        if (msg.sender != OPERATOR) revert NotOperator(msg.sender);
        Progress memory next = nextProgress(batch);
        (uint256[] memory words, uint256 paidIn) = publicWords(batch);
        uint256 paidOut = addWithdrawals(words, batch.withdrawals);
        (uint256 z, uint256 y) = Words.point(words, commitment);
        VERIFIER.verify([commitment, z, y], proof);

        root = batch.newRoot;
        progress = next;
        moveHeld(paidIn, paidOut);
        creditAll(batch);
        emit BatchCommitted(
            batch.batchNo,
            batch.newRoot,
            batch.journalHash,
            batch.lastSeq,
            batch.timeNs,
            next.depositsConsumed,
            commitment
        );
    }

    /// @inheritdoc ISettlement
    function claim(address to) external guarded returns (uint256 amount) {
        if (to == address(0) || to == address(this)) revert BadRecipient(to);
        amount = pending[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        pending[msg.sender] = 0;
        totalPending -= amount;
        emit Claimed(msg.sender, to, amount);
        TOKEN.push(to, amount);
    }

    /// @inheritdoc ISettlement
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc ISettlement
    function verifier() external view returns (address) {
        return address(VERIFIER);
    }

    /// @inheritdoc ISettlement
    function operator() external view returns (address) {
        return OPERATOR;
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
    function depositAt(uint64 index) external view returns (DepositRow memory) {
        if (index >= depositsCount) revert DepositsNotQueued(uint256(index) + 1, depositsCount);
        return queue[index];
    }

    /// @dev Checks the batch's place in the order of batches and returns what follows it.
    function nextProgress(Batch calldata batch) private view returns (Progress memory) {
        Progress memory last = progress;
        if (batch.batchNo != last.batchNo + 1) revert WrongBatchNo(last.batchNo + 1, batch.batchNo);
        if (batch.lastSeq < last.lastSeq || batch.timeNs < last.timeNs) {
            revert BatchGoesBack(batch.lastSeq, batch.timeNs);
        }
        if (batch.depositCount > Words.ROWS) revert TooManyRows(batch.depositCount, Words.ROWS);
        uint64 consumed = last.depositsConsumed + batch.depositCount;
        if (consumed > depositsCount) {
            revert DepositsNotQueued(batch.depositCount, depositsCount - last.depositsConsumed);
        }
        return Progress(batch.batchNo, batch.lastSeq, batch.timeNs, consumed);
    }

    /// @dev All words but the withdrawal rows, and the sum of the deposits among them.
    function publicWords(Batch calldata batch) private view returns (uint256[] memory words, uint256 paidIn) {
        if (batch.newRoot >= Words.R) revert WordNotInField(Words.NEW_ROOT);
        if (batch.journalHash >= JOURNAL_HASH_END) revert JournalHashTooLarge();
        words = Words.allocate();
        words[Words.TAG] = Words.DOMAIN_TAG;
        words[Words.CHAIN_ID] = block.chainid;
        words[Words.CONTRACT] = uint256(uint160(address(this)));
        words[Words.BATCH_NO] = batch.batchNo;
        words[Words.OLD_ROOT] = root;
        words[Words.NEW_ROOT] = batch.newRoot;
        words[Words.JOURNAL_HASH] = batch.journalHash;
        words[Words.LAST_SEQ] = batch.lastSeq;
        words[Words.TIME_NS] = batch.timeNs;
        words[Words.DEPOSIT_COUNT] = batch.depositCount;
        words[Words.WITHDRAWAL_COUNT] = batch.withdrawals.length;
        uint64 first = progress.depositsConsumed;
        for (uint64 i = 0; i < batch.depositCount; ++i) {
            DepositRow memory row = queue[first + i];
            Words.setRow(words, Words.DEPOSITS + 3 * i, row.account, row.owner, row.amount);
            paidIn += row.amount;
        }
    }

    /// @dev Writes the withdrawal rows into the words and returns their sum.
    function addWithdrawals(uint256[] memory words, WithdrawalRow[] calldata rows)
        private
        pure
        returns (uint256 paidOut)
    {
        if (rows.length > Words.ROWS) revert TooManyRows(rows.length, Words.ROWS);
        for (uint256 i = 0; i < rows.length; ++i) {
            WithdrawalRow calldata row = rows[i];
            checkAmount(row.amount);
            if (row.owner == address(0)) revert WithdrawalWithoutOwner(i);
            Words.setRow(words, Words.WITHDRAWALS + 3 * i, row.account, row.owner, row.amount);
            paidOut += row.amount;
        }
    }

    /// @dev A second lock behind the proof: even a broken circuit cannot touch deposits that are still queued, nor
    /// what is already granted to others.
    function moveHeld(uint256 paidIn, uint256 paidOut) private {
        if (paidIn == 0 && paidOut == 0) return;
        uint256 held = heldForState + paidIn;
        if (paidOut > held) revert PaysOutMoreThanHeld(held, paidOut);
        heldForState = held - paidOut;
        if (paidOut != 0) totalPending += paidOut;
    }

    function creditAll(Batch calldata batch) private {
        for (uint256 i = 0; i < batch.withdrawals.length; ++i) {
            WithdrawalRow calldata row = batch.withdrawals[i];
            pending[row.owner] += row.amount;
            emit WithdrawalCredited(batch.batchNo, row.account, row.owner, row.amount);
        }
    }

    function checkAmount(uint256 amount) private pure {
        if (amount == 0 || amount >= AMOUNT_END) revert AmountOutOfRange(amount);
    }
}
