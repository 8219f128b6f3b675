// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {IPoseidon} from "./IPoseidon.sol";
import {ISettlement} from "./ISettlement.sol";
import {IVerifier} from "./IVerifier.sol";
import {Words} from "./Words.sol";
import {Batches} from "./parts/Batches.sol";
import {Exit} from "./parts/Exit.sol";

/// @title Settlement of one risk domain
/// @notice Holds the collateral, the deposit queue and the state root. The root moves only by a valid proof over
/// words that this contract puts together from its own state, so a submitter cannot skip, reorder or invent a
/// deposit, nor replay a batch. No role can move anybody's money, and none can stop a claim, a forced request, a
/// freeze or an escape.
/// @dev Stands behind an ERC-1967 proxy. What the admin may change (code, verifying keys) is announced first and can
/// be done only after a delay longer than a forced request and the exit together, and never while frozen.
contract Settlement is Batches, Exit, Initializable, UUPSUpgradeable {
    /// @dev Seconds; a window must end while its users are alive.
    uint256 private constant WINDOW_MAX = 365 days;

    uint256 private immutable CHANGE_DELAY;
    /// @inheritdoc ISettlement
    mapping(bytes32 change => uint64 time) public readyAt;

    /// @param token_ The collateral token, with 6 decimals.
    /// @param poseidon_ The hash of the state tree.
    /// @param p Windows, delay, fee and cap; the same for good but by an upgrade.
    constructor(address token_, address poseidon_, Parameters memory p) {
        if (token_.code.length == 0) revert NoCode(token_);
        if (poseidon_.code.length == 0) revert NoCode(poseidon_);
        bool sane = p.forcedWindow > 0 && p.depositWindow > 0 && p.exitWindow > 0 && p.forcedWindow <= WINDOW_MAX
            && p.depositWindow <= WINDOW_MAX && p.exitWindow <= WINDOW_MAX && p.changeDelay <= WINDOW_MAX
            && p.requestsMax > 0;
        if (!sane || p.changeDelay <= p.forcedWindow + p.exitWindow) revert BadParameters();
        TOKEN = IERC20(token_);
        POSEIDON = IPoseidon(poseidon_);
        FORCED_WINDOW = p.forcedWindow;
        DEPOSIT_WINDOW = p.depositWindow;
        EXIT_WINDOW = p.exitWindow;
        CHANGE_DELAY = p.changeDelay;
        REQUEST_FEE_WEI = p.requestFeeWei;
        REQUESTS_MAX = p.requestsMax;
        _disableInitializers();
    }

    /// @inheritdoc ISettlement
    function initialize(uint256 genesisRoot, address verifier_, address admin, address operator, address guardian)
        external
        initializer
    {
        if (genesisRoot >= Words.R) revert WordNotInField(Words.OLD_ROOT);
        if (operator == address(0)) revert NoOperator();
        root = genesisRoot;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(OPERATOR_ROLE, operator);
        _grantRole(GUARDIAN_ROLE, guardian);
        setLimitsNow(AMOUNT_END - 1, AMOUNT_END - 1);
        addKey(verifier_, Words.DOMAIN_TAG);
    }

    /// @inheritdoc ISettlement
    function announce(Change change, address target, uint256 argument)
        external
        nonReentrant
        unfrozen
        onlyRole(DEFAULT_ADMIN_ROLE)
    {
        uint64 time = uint64(block.timestamp + CHANGE_DELAY);
        readyAt[changeId(change, target, argument)] = time;
        emit ChangeAnnounced(change, target, argument, time);
    }

    /// @inheritdoc ISettlement
    function withdrawChange(Change change, address target, uint256 argument)
        external
        nonReentrant
        onlyRole(DEFAULT_ADMIN_ROLE)
    {
        delete readyAt[changeId(change, target, argument)];
        emit ChangeWithdrawn(change, target, argument);
    }

    /// @inheritdoc ISettlement
    function addVerifier(address verifier_, uint256 tag) external nonReentrant onlyRole(DEFAULT_ADMIN_ROLE) {
        take(Change.AddVerifier, verifier_, tag);
        addKey(verifier_, tag);
    }

    /// @inheritdoc ISettlement
    function removeVerifier(uint16 key) external nonReentrant onlyRole(DEFAULT_ADMIN_ROLE) {
        if (key >= keys.length || !keys[key].inUse) revert KeyNotInUse(key);
        take(Change.RemoveVerifier, keys[key].verifier, key);
        if (keysInUse == 1) revert LastKey();
        keysInUse -= 1;
        keys[key].inUse = false;
        emit KeyRemoved(key);
    }

    /// @inheritdoc ISettlement
    function parameters() external view returns (Parameters memory) {
        return Parameters(
            uint64(FORCED_WINDOW),
            uint64(DEPOSIT_WINDOW),
            uint64(EXIT_WINDOW),
            uint64(CHANGE_DELAY),
            uint64(REQUESTS_MAX),
            REQUEST_FEE_WEI
        );
    }

    /// @inheritdoc ISettlement
    function changeId(Change change, address target, uint256 argument) public pure returns (bytes32) {
        return keccak256(abi.encode(change, target, argument));
    }

    /// @inheritdoc UUPSUpgradeable
    function upgradeToAndCall(address code, bytes memory data) public payable override onlyRole(DEFAULT_ADMIN_ROLE) {
        take(Change.Upgrade, code, uint256(keccak256(data)));
        super.upgradeToAndCall(code, data);
    }

    /// @dev The role was checked and the announcement used up before.
    function _authorizeUpgrade(address) internal override onlyRole(DEFAULT_ADMIN_ROLE) {}

    /// @dev Uses an announcement up, if its time has come.
    function take(Change change, address target, uint256 argument) private unfrozen {
        bytes32 id = changeId(change, target, argument);
        uint64 time = readyAt[id];
        if (time == 0) revert NotAnnounced(change, target, argument);
        if (block.timestamp < time) revert TooEarly(time);
        delete readyAt[id];
    }

    function addKey(address verifier_, uint256 tag) private {
        if (verifier_.code.length == 0) revert NoCode(verifier_);
        bool devChain = block.chainid == 31337 || block.chainid == 1337;
        if (!devChain && IVerifier(verifier_).INSECURE()) revert InsecureKey(block.chainid);
        if (tag >= Words.R) revert WordNotInField(Words.TAG);
        emit KeyAdded(uint16(keys.length), verifier_, tag, IVerifier(verifier_).VK_HASH());
        keys.push(Key(verifier_, true, tag));
        keysInUse += 1;
    }
}
