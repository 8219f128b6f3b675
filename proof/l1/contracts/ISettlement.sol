// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the settlement contract offers
/// @notice Collateral of one risk domain is held here. Accounts are opened and funded by their owners; the operator
/// moves the state root on by valid proofs; what a batch grants, its owner claims without asking anybody.
/// All money is in units of the collateral token (6 decimals: 1e-6 of the settlement asset).
interface ISettlement {
    /// @notice One row of the deposit queue, packed in one storage word.
    /// @param owner The account's owner when the deposit was made.
    /// @param account The account that is funded.
    /// @param amount Token units; above 0 and below 2^62.
    struct DepositRow {
        address owner;
        uint32 account;
        uint64 amount;
    }

    /// @notice One withdrawal granted by a batch.
    /// @param account The account that pays.
    /// @param owner The account's owner, who may claim.
    /// @param amount Token units; above 0 and below 2^62.
    struct WithdrawalRow {
        uint32 account;
        address owner;
        uint64 amount;
    }

    /// @notice What a submitter says about a batch. All else that the proof is about (chain id, this contract's
    /// address, the old root, the deposit rows) is read from the contract itself.
    /// @param batchNo Must be one above the last; it is here only so that a stale or early batch has a clear error.
    /// @param newRoot State root after the batch.
    /// @param journalHash Chain hash of the journal at the batch's end, top 3 bits cleared.
    /// @param lastSeq Sequence number of the last journal record in the batch.
    /// @param timeNs Time of that record, ns since the Unix epoch.
    /// @param depositCount How many rows of the deposit queue the batch consumes, from the oldest; at most 8.
    /// @param withdrawals What the batch grants; at most 8 rows.
    struct Batch {
        uint64 batchNo;
        uint256 newRoot;
        uint256 journalHash;
        uint64 lastSeq;
        uint64 timeNs;
        uint64 depositCount;
        WithdrawalRow[] withdrawals;
    }

    /// @notice The key that the verifier was made from is a development key, and this is no development chain.
    error InsecureKey(uint256 chainId);
    /// @notice The address given for the token or the verifier holds no code.
    error NoCode(address where);
    /// @notice A contract without an operator would take deposits that no batch could ever consume.
    error NoOperator();
    /// @notice Only the operator commits batches.
    error NotOperator(address caller);
    /// @notice All account ids of the state tree are taken.
    error AccountsFull();
    /// @notice No account has this id.
    error UnknownAccount(uint32 account);
    /// @notice The amount is 0, or 2^62 or more.
    error AmountOutOfRange(uint256 amount);
    /// @notice The token delivered another amount than it was asked for.
    error WrongAmountReceived(uint256 expected, uint256 received);
    /// @notice The token refused the transfer, or answered false.
    error TransferFailed();
    /// @notice The batch number is not one above the last.
    error WrongBatchNo(uint64 expected, uint64 given);
    /// @notice A batch cannot end before the one before it, in sequence numbers or in time.
    error BatchGoesBack(uint64 lastSeq, uint64 timeNs);
    /// @notice More rows than a batch of this tier has.
    error TooManyRows(uint256 given, uint256 most);
    /// @notice The batch consumes deposits that the queue does not hold.
    error DepositsNotQueued(uint256 given, uint256 queued);
    /// @notice Public word `index` is not a member of the scalar field; 59 stands for the commitment.
    error WordNotInField(uint256 index);
    /// @notice The journal hash has one of its top 3 bits set.
    error JournalHashTooLarge();
    /// @notice Withdrawal row `index` names no owner.
    error WithdrawalWithoutOwner(uint256 index);
    /// @notice The batch would pay out more than all consumed deposits together have paid in.
    error PaysOutMoreThanHeld(uint256 held, uint256 asked);
    /// @notice The caller has nothing to claim.
    error NothingToClaim(address owner);
    /// @notice Claims cannot be sent to the zero address or to this contract.
    error BadRecipient(address to);
    /// @notice A token called back into this contract.
    error Reentered();

    /// @notice `account` was opened; `owner` is its owner for good.
    event AccountOpened(uint32 indexed account, address indexed owner);
    /// @notice Row `index` was added to the deposit queue.
    event Deposited(uint64 indexed index, uint32 indexed account, address indexed owner, uint64 amount);
    /// @notice The proof of a batch was accepted and the state moved on.
    event BatchCommitted(
        uint64 indexed batchNo,
        uint256 newRoot,
        uint256 journalHash,
        uint64 lastSeq,
        uint64 timeNs,
        uint64 depositsConsumed,
        uint256 commitment
    );
    /// @notice A batch granted `amount` to `owner`, who can claim it from now on.
    event WithdrawalCredited(uint64 indexed batchNo, uint32 indexed account, address indexed owner, uint64 amount);
    /// @notice `owner` claimed `amount`, which went to `to`.
    event Claimed(address indexed owner, address indexed to, uint256 amount);

    /// @notice Opens an account for the caller. Ids are 1, 2, 3 and so on; id 0 is never used.
    function open() external returns (uint32 account);

    /// @notice Takes `amount` from the caller and queues it as a deposit to `account`. Anyone may fund an opened
    /// account; the money is then the owner's.
    function deposit(uint32 account, uint64 amount) external returns (uint64 index);

    /// @notice Moves the state on by one batch. For the operator only, as the proof alone is no permission yet: it
    /// shows that money and contracts are conserved and margins kept, but not that an account's owner agreed to a
    /// fill, and anybody can run the prover. Once the circuit checks mandates signed by the owners, anyone may submit.
    /// @param commitment Poseidon commitment C to the batch's public words.
    /// @param proof Groth16 points A (x, y), B (x1, x0, y1, y0), C (x, y).
    function commitBatch(Batch calldata batch, uint256 commitment, uint256[8] calldata proof) external;

    /// @notice Sends all that batches have granted to the caller to `to`. No role can stop it.
    function claim(address to) external returns (uint256 amount);

    /// @notice The collateral token.
    function token() external view returns (address);
    /// @notice The verifier of batch proofs.
    function verifier() external view returns (address);
    /// @notice Who commits batches; the same for good.
    function operator() external view returns (address);
    /// @notice State root after the last batch.
    function root() external view returns (uint256);
    /// @notice Number of the last batch; 0 before the first.
    function batchNo() external view returns (uint64);
    /// @notice Sequence number of the last journal record that is settled here.
    function lastSeq() external view returns (uint64);
    /// @notice Time of that record, ns since the Unix epoch.
    function timeNs() external view returns (uint64);
    /// @notice Deposits ever queued; the next one's index.
    function depositsCount() external view returns (uint64);
    /// @notice Deposits that batches have consumed; the index of the oldest that is still queued.
    function depositsConsumed() external view returns (uint64);
    /// @notice Row `index` of the deposit queue.
    function depositAt(uint64 index) external view returns (DepositRow memory);
    /// @notice Accounts ever opened; the last one's id.
    function accountsCount() external view returns (uint32);
    /// @notice Owner of `account`, or zero if it was never opened.
    function ownerOf(uint32 account) external view returns (address);
    /// @notice What `owner` can claim now.
    function pending(address owner) external view returns (uint256);
    /// @notice What all owners together can claim now.
    function totalPending() external view returns (uint256);
    /// @notice Consumed deposits less granted withdrawals: the money that stands behind the state tree.
    function heldForState() external view returns (uint256);
}
