// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the settlement contract offers
/// @notice Collateral of one risk domain is held here. Accounts are opened and funded by their owners; the operator
/// moves the state root on by valid proofs; what a batch grants, its owner claims without asking anybody. An owner
/// whom the operator does not serve forces it: a request that nobody answers in time lets anyone freeze the contract,
/// and then every owner leaves with what the last root says, by a Merkle proof.
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
    /// @param key Which of the verifying keys the proof is for.
    struct Batch {
        uint64 batchNo;
        uint256 newRoot;
        uint256 journalHash;
        uint64 lastSeq;
        uint64 timeNs;
        uint64 depositCount;
        WithdrawalRow[] withdrawals;
        uint16 key;
    }

    /// @notice What is fixed at deployment. Times are in seconds.
    /// @param forcedWindow How long a forced request may stand.
    /// @param depositWindow How long a deposit may wait before its owner may take it back.
    /// @param exitWindow How long claims are gathered after a freeze before they are paid.
    /// @param changeDelay Between the announcement of a change and the change; longer than a forced request and the
    /// exit together.
    /// @param requestsMax Forced requests that may stand at a time.
    /// @param requestFeeWei What a forced request costs, against spam: about what an answer costs the operator.
    struct Parameters {
        uint64 forcedWindow;
        uint64 depositWindow;
        uint64 exitWindow;
        uint64 changeDelay;
        uint64 requestsMax;
        uint256 requestFeeWei;
    }

    /// @notice A verifying key.
    /// @param verifier The contract made from it.
    /// @param inUse Whether batches may be proven with it.
    /// @param tag First word of its batches: names statement, tier and version.
    struct Key {
        address verifier;
        bool inUse;
        uint256 tag;
    }

    /// @notice What an owner can force.
    enum RequestKind {
        Withdrawal,
        Close
    }

    /// @notice A forced request.
    /// @param owner Who made it: the account's owner.
    /// @param account The account.
    /// @param deadline When it must be answered, seconds since the Unix epoch.
    /// @param remaining Token units that are still to be withdrawn.
    /// @param kind Withdrawal, or close of all positions.
    /// @param isOpen Whether it stands.
    struct Request {
        address owner;
        uint32 account;
        uint64 deadline;
        uint64 remaining;
        RequestKind kind;
        bool isOpen;
    }

    /// @notice What a state root is the hash of, besides the batch number.
    /// @param tree Root of the tree of leaves.
    /// @param fund Insurance fund, pico-units.
    /// @param tableDigest Digest of the risk table; 0 before the first batch.
    struct StateParts {
        uint256 tree;
        uint256 fund;
        uint256 tableDigest;
    }

    /// @notice An opened leaf with its path.
    /// @param leaf owner, nonce, cash, position 0..15, key, mandate, mandate_used, flags.
    /// @param siblings Three a level from the bottom, in the order of the children without the path's own.
    struct LeafProof {
        uint256[23] leaf;
        uint256[24] siblings;
    }

    /// @notice A claim that was brought within the exit window.
    struct Owed {
        address owner;
        uint256 micro;
    }

    /// @notice What the admin may change after a delay.
    enum Change {
        AddVerifier,
        RemoveVerifier,
        Upgrade
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
    /// @notice The contract is frozen for good: only claims, refunds and escapes are left.
    error Frozen();
    /// @notice Escapes are for a frozen contract.
    error NotFrozen();
    /// @notice More than one deposit may hold.
    error DepositTooLarge(uint256 amount, uint256 most);
    /// @notice With this deposit there would be more collateral here than the limit.
    error CollateralFull(uint256 total, uint256 most);
    /// @notice Deposit `index` was consumed by a batch or taken back.
    error DepositNotQueued(uint64 index);
    /// @notice Only the account's owner may do this.
    error NotOwner(uint32 account, address caller);
    /// @notice This may be done from `time` on, or after it.
    error TooEarly(uint64 time);
    /// @notice A forced request costs `fee` wei, no more and no less.
    error WrongFee(uint256 fee, uint256 given);
    /// @notice Request `id` stands.
    error RequestStands(uint64 id);
    /// @notice There is no such request, or it is answered.
    error RequestNotOpen(uint64 id);
    /// @notice As many requests stand as may stand at a time.
    error TooManyRequests(uint256 most);
    /// @notice The parts do not hash to the root on record.
    error NotTheRoot();
    /// @notice The leaf does not lie at this account in the state.
    error NotInState(uint32 account);
    /// @notice The table is not that of the state, or is missing where it is needed.
    error WrongTable();
    /// @notice The table of the last root was opened already.
    error ExitIsOpen();
    /// @notice The table of the last root must be opened first.
    error ExitNotOpen();
    /// @notice The account's leaf was brought already.
    error AlreadyEscaped(uint32 account);
    /// @notice The account has no owner in the state, or nothing is owed to it.
    error NothingToEscape(uint32 account);
    /// @notice No such verifying key, or one that is not in use any more.
    error KeyNotInUse(uint16 key);
    /// @notice Batches that are committed together must be proven with one key.
    error KeysDiffer();
    /// @notice The last verifying key stays.
    error LastKey();
    /// @notice A window is 0 or longer than a year, or the delay is not longer than forced request and exit together.
    error BadParameters();
    /// @notice This change was not announced.
    error NotAnnounced(Change change, address target, uint256 argument);

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

    /// @notice Deposit `index` was taken back; its money waits for its owner's claim.
    event DepositReclaimed(uint64 indexed index, uint32 indexed account, address indexed owner, uint64 amount);
    /// @notice A forced request was made; `amount` is 0 for a close.
    event Requested(
        uint64 indexed id, uint32 indexed account, address indexed owner, RequestKind kind, uint64 amount, uint64 deadline
    );
    /// @notice A request was answered, by a batch or by a proof that it is done or cannot be done.
    event RequestAnswered(uint64 indexed id, uint32 indexed account, bool byProof);
    /// @notice Request `id` was not answered in time: the contract is frozen for good.
    event FrozenFor(uint64 indexed id, uint32 indexed account);
    /// @notice The table of the last root is open; claims are gathered until `endsAt`.
    event ExitOpened(uint64 endsAt);
    /// @notice The account's leaf was brought and valued, in pico-units.
    event Escaped(uint32 indexed account, address indexed owner, int256 claimPico);
    /// @notice Of `owed` token units `paid` were granted to `owner`.
    event EscapePaid(uint32 indexed account, address indexed owner, uint256 owed, uint256 paid);
    /// @notice Limits on a deposit and on all collateral together were set.
    event LimitsSet(uint64 depositMax, uint64 collateralMax);
    /// @notice A change may be made from `time` on.
    event ChangeAnnounced(Change change, address target, uint256 argument, uint64 time);
    /// @notice An announced change will not be made.
    event ChangeWithdrawn(Change change, address target, uint256 argument);
    /// @notice Batches may be proven with this key from now on.
    event KeyAdded(uint16 indexed key, address verifier, uint256 tag, bytes32 vkHash);
    /// @notice Batches may not be proven with this key any more.
    event KeyRemoved(uint16 indexed key);

    /// @notice Once, by the proxy's constructor.
    function initialize(uint256 genesisRoot, address verifier, address admin, address operator, address guardian)
        external;

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

    /// @notice The same for several batches, in order, by one pairing check: cheaper for each than alone. All are for
    /// one key; at most 16.
    function commitBatches(Batch[] calldata batches, uint256[] calldata commitments, uint256[8][] calldata proofs)
        external;

    /// @notice Takes a deposit back that no batch consumed: by its owner after its deadline; by anyone, for its owner,
    /// once the contract is frozen. The money is then there to be claimed.
    function reclaim(uint64 index) external;

    /// @notice Forces the withdrawal of `amount` by the deadline. One that the account's margin does not allow can be
    /// answered by a proof of that.
    function requestWithdrawal(uint32 account, uint64 amount) external payable returns (uint64 id);

    /// @notice Forces the close of all positions by the deadline.
    function requestClose(uint32 account) external payable returns (uint64 id);

    /// @notice Answers a request from the state of the last batch: a close, if the account has no position; a
    /// withdrawal, if the account has no owner there, or if what remains is more than its margin lets go.
    /// @param table The 84 elements of the risk table; needed for a withdrawal by an account that has positions.
    function answerRequest(uint64 id, StateParts calldata state, LeafProof calldata proof, uint256[] calldata table)
        external;

    /// @notice Freezes the contract for good, if request `id` stands past its deadline. Anyone may.
    function freeze(uint64 id) external;

    /// @notice After a freeze, once, by anyone: opens what the last root is the hash of, and begins the exit window.
    /// @param table The 84 elements of the risk table; none if no batch was ever committed.
    function openExit(StateParts calldata state, uint256[] calldata table) external;

    /// @notice Brings an account's leaf, once, by anyone: its claim is cash + sum of position * (mark - funding). A claim
    /// within the exit window is paid by `settleEscape`, a later one at once.
    function escape(uint32 account, LeafProof calldata proof) external;

    /// @notice After the exit window, by anyone: grants the account's owner the share of a claim brought within it.
    function settleEscape(uint32 account) external;

    /// @notice Shuts `open`, `deposit` and the commit of batches. Claims, requests, the freeze and all that follows
    /// stay open. For the guardian.
    function pause() external;

    /// @notice Ends a pause. For the admin.
    function unpause() external;

    /// @notice Limits of one deposit and of all collateral; below 2^62. For the admin.
    function setLimits(uint64 depositMax, uint64 collateralMax) external;

    /// @notice Sends the fees of forced requests to `to`. For the admin.
    function collectFees(address payable to) external;

    /// @notice Announces a change. `argument` is the tag of a key to be added, the number of one to be removed, or the
    /// hash of the call that goes with an upgrade. For the admin; not while frozen.
    function announce(Change change, address target, uint256 argument) external;

    /// @notice Takes an announcement back. For the admin.
    function withdrawChange(Change change, address target, uint256 argument) external;

    /// @notice Adds a verifying key that was announced. For the admin.
    function addVerifier(address verifier, uint256 tag) external;

    /// @notice Takes a verifying key out of use that was announced for it; never the last. For the admin.
    function removeVerifier(uint16 key) external;

    /// @notice Sends all that batches have granted to the caller to `to`. No role can stop it.
    function claim(address to) external returns (uint256 amount);

    /// @notice The collateral token.
    function token() external view returns (address);
    /// @notice The verifier of the first key.
    function verifier() external view returns (address);
    /// @notice Verifying key number `key`.
    function keyAt(uint16 key) external view returns (Key memory);
    /// @notice Verifying keys ever added.
    function keysCount() external view returns (uint256);
    /// @notice Whether this address commits batches.
    function isOperator(address who) external view returns (bool);
    /// @notice What was fixed at deployment.
    function parameters() external view returns (Parameters memory);
    /// @notice Whether the contract is frozen.
    function frozen() external view returns (bool);
    /// @notice Most that one deposit may hold.
    function depositMax() external view returns (uint64);
    /// @notice Most that all collateral may be.
    function collateralMax() external view returns (uint64);
    /// @notice Deposits that wait in the queue, together.
    function totalQueued() external view returns (uint256);
    /// @notice When the owner of deposit `index` may take it back, seconds since the Unix epoch.
    function depositDeadline(uint64 index) external view returns (uint64);
    /// @notice Forced requests ever made; the last one's number.
    function requestsCount() external view returns (uint64);
    /// @notice Forced requests that stand.
    function requestsOpen() external view returns (uint64);
    /// @notice Forced request `id`.
    function requestAt(uint64 id) external view returns (Request memory);
    /// @notice The request of this kind that stands for an account; 0 for none.
    function openRequest(uint32 account, RequestKind kind) external view returns (uint64 id);
    /// @notice Fees of forced requests that were not collected yet.
    function feesWei() external view returns (uint256);
    /// @notice Whether the account's leaf was brought.
    function escaped(uint32 account) external view returns (bool);
    /// @notice When the exit window ends; 0 if no exit is open.
    function exitEndsAt() external view returns (uint64);
    /// @notice Claims brought in the window, what the claims below zero lack, and from the first payment on: what there
    /// was to pay, what is owed in all, and what was paid. Token units.
    function exitTotals()
        external
        view
        returns (uint256 registered, uint256 shortfall, uint256 held, uint256 total, uint256 paid);
    /// @notice A claim that waits for `settleEscape`.
    function owedAfterExit(uint32 account) external view returns (Owed memory);
    /// @notice When an announced change may be made; 0 if it is not announced.
    function readyAt(bytes32 change) external view returns (uint64);
    /// @notice The name of a change in `readyAt`.
    function changeId(Change change, address target, uint256 argument) external pure returns (bytes32);
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
