// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISettlement} from "../ISettlement.sol";
import {IVerifier} from "../IVerifier.sol";
import {Words} from "../Words.sol";
import {Requests} from "./Requests.sol";

/// @title Batches: the root moves only by a valid proof over words that this contract puts together itself
abstract contract Batches is Requests {
    uint256 private constant JOURNAL_HASH_END = 1 << 253;
    /// @dev Batches in one transaction.
    uint256 private constant BATCHES_MAX = 16;

    Key[] internal keys;
    uint256 internal keysInUse;

    modifier onlyOperator() {
        if (!hasRole(OPERATOR_ROLE, msg.sender)) revert NotOperator(msg.sender);
        _;
    }

    /// @inheritdoc ISettlement
    function commitBatch(Batch calldata batch, uint256 commitment, uint256[8] calldata proof)
        external
        nonReentrant
        whenNotPaused
        unfrozen
        onlyOperator
    {
        (IVerifier verifier_, uint256 tag) = keyInUse(batch.key);
        verifier_.verify(step(batch, commitment, tag), proof);
    }

    /// @inheritdoc ISettlement
    function commitBatches(Batch[] calldata batches, uint256[] calldata commitments, uint256[8][] calldata proofs)
        external
        nonReentrant
        whenNotPaused
        unfrozen
        onlyOperator
    {
        uint256 k = batches.length;
        if (k == 0 || k > BATCHES_MAX || commitments.length != k || proofs.length != k) {
            revert TooManyRows(k, BATCHES_MAX);
        }
        (IVerifier verifier_, uint256 tag) = keyInUse(batches[0].key);
        uint256[3][] memory inputs = new uint256[3][](k);
        for (uint256 i = 0; i < k; ++i) {
            if (batches[i].key != batches[0].key) revert KeysDiffer();
            inputs[i] = step(batches[i], commitments[i], tag);
        }
        verifier_.verifyMany(inputs, proofs);
    }

    /// @inheritdoc ISettlement
    function keyAt(uint16 key) external view returns (Key memory) {
        if (key >= keys.length) revert KeyNotInUse(key);
        return keys[key];
    }

    /// @inheritdoc ISettlement
    function keysCount() external view returns (uint256) {
        return keys.length;
    }

    /// @inheritdoc ISettlement
    function verifier() external view returns (address) {
        return address(keys[0].verifier);
    }

    function keyInUse(uint16 key) private view returns (IVerifier, uint256) {
        if (key >= keys.length || !keys[key].inUse) revert KeyNotInUse(key);
        return (IVerifier(keys[key].verifier), keys[key].tag);
    }

    /// @dev Moves the state on by one batch and returns the public inputs that its proof must hold for. The caller
    /// reverts if it does not.
    function step(Batch calldata batch, uint256 commitment, uint256 tag) private returns (uint256[3] memory) {
        Progress memory next = nextProgress(batch);
        (uint256[] memory words, uint256 paidIn) = publicWords(batch, next, tag);
        uint256 paidOut = addWithdrawals(words, batch.withdrawals);
        (uint256 z, uint256 y) = Words.point(words, commitment);
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
        return [commitment, z, y];
    }

    /// @dev Checks the batch's place in the order of batches and returns what follows it, deposits not yet counted.
    function nextProgress(Batch calldata batch) private view returns (Progress memory) {
        Progress memory last = progress;
        if (batch.batchNo != last.batchNo + 1) revert WrongBatchNo(last.batchNo + 1, batch.batchNo);
        if (batch.lastSeq < last.lastSeq || batch.timeNs < last.timeNs) {
            revert BatchGoesBack(batch.lastSeq, batch.timeNs);
        }
        if (batch.depositCount > Words.ROWS) revert TooManyRows(batch.depositCount, Words.ROWS);
        return Progress(batch.batchNo, batch.lastSeq, batch.timeNs, last.depositsConsumed);
    }

    /// @dev All words but the withdrawal rows, and the sum of the deposits among them. Rows that were reclaimed are
    /// passed over.
    function publicWords(Batch calldata batch, Progress memory next, uint256 tag)
        private
        view
        returns (uint256[] memory words, uint256 paidIn)
    {
        if (batch.newRoot >= Words.R) revert WordNotInField(Words.NEW_ROOT);
        if (batch.journalHash >= JOURNAL_HASH_END) revert JournalHashTooLarge();
        words = Words.allocate();
        words[Words.TAG] = tag;
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
        uint64 count = depositsCount;
        for (uint64 i = 0; i < batch.depositCount;) {
            if (next.depositsConsumed >= count) revert DepositsNotQueued(batch.depositCount, i);
            DepositRow memory row = queue[next.depositsConsumed];
            next.depositsConsumed += 1;
            if (row.amount == 0) continue;
            Words.setRow(words, Words.DEPOSITS + 3 * i, row.account, row.owner, row.amount);
            paidIn += row.amount;
            ++i;
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
        if (paidIn != 0) totalQueued -= paidIn;
        if (paidOut != 0) totalPending += paidOut;
    }

    function creditAll(Batch calldata batch) private {
        for (uint256 i = 0; i < batch.withdrawals.length; ++i) {
            WithdrawalRow calldata row = batch.withdrawals[i];
            pending[row.owner] += row.amount;
            countWithdrawal(row.account, row.amount);
            emit WithdrawalCredited(batch.batchNo, row.account, row.owner, row.amount);
        }
    }
}
