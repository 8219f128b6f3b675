//! The contracts as this crate sees them: bindings read from the Solidity itself, bytecode from the artifacts.

use alloy::primitives::Bytes;
use alloy::sol;
use alloy::sol_types::SolInterface;

sol!(
    #[sol(all_derives)]
    "contracts/ISettlement.sol"
);

sol! {
    /// The parts of the collateral token that are used here; `mint` is the test token's own.
    #[derive(Debug)]
    interface IToken {
        error BalanceTooLow(address from, uint256 held, uint256 asked);
        error AllowanceTooLow(address spender, uint256 allowed, uint256 asked);
        function balanceOf(address owner) external view returns (uint256);
        function approve(address spender, uint256 amount) external returns (bool);
        function mint(address to, uint256 amount) external;
    }

    /// What a generated verifier offers.
    #[derive(Debug)]
    interface IGroth16Verifier {
        error InputNotInField(uint256 index);
        error PrecompileFailed();
        error ProofInvalid();
        error KeyWithoutPhase2();
        error CountsDiffer(uint256 inputs, uint256 proofs);
        function verify(uint256[3] calldata inputs, uint256[8] calldata proof) external view;
        function INSECURE() external view returns (bool);
        function VK_HASH() external view returns (bytes32);
    }

    /// Constructors of the settlement contract and its proxy, for their arguments' encoding.
    interface ISettlementMaker {
        function make(address token, address poseidon, uint64 forcedWindow, uint64 depositWindow, uint64 exitWindow, uint64 changeDelay, uint64 requestsMax, uint256 requestFeeWei) external;
        function makeProxy(address code, bytes data) external;
    }

    /// What the contracts that we build on say.
    #[derive(Debug)]
    interface IBase {
        error AccessControlUnauthorizedAccount(address account, bytes32 neededRole);
        error EnforcedPause();
        error ExpectedPause();
        error ReentrancyGuardReentrantCall();
        error InvalidInitialization();
        error ElementNotInField(uint256 index);
        function grantRole(bytes32 role, address account) external;
        function revokeRole(bytes32 role, address account) external;
        function hasRole(bytes32 role, address account) external view returns (bool);
        function paused() external view returns (bool);
        function upgradeToAndCall(address code, bytes data) external payable;
    }
}

/// Creation bytecode of the settlement contract, without its arguments.
pub(crate) fn settlement_bytecode() -> Bytes {
    creation_bytecode(include_str!("../artifacts/Settlement.json"))
}

/// Creation bytecode of the proxy that stands before it, without its arguments.
pub(crate) fn proxy_bytecode() -> Bytes {
    creation_bytecode(include_str!("../artifacts/SettlementProxy.json"))
}

/// Creation bytecode of the verifier made from the tier's key.
pub(crate) fn verifier_bytecode() -> Bytes {
    creation_bytecode(include_str!("../artifacts/Groth16Verifier.json"))
}

/// Creation bytecode of the two contracts that hold Poseidon's constants.
pub(crate) fn poseidon_tables_bytecode() -> [Bytes; 2] {
    [
        creation_bytecode(include_str!("../artifacts/PoseidonTableA.json")),
        creation_bytecode(include_str!("../artifacts/PoseidonTableB.json")),
    ]
}

/// Creation bytecode of the hash, without the addresses of its tables.
pub(crate) fn poseidon_bytecode() -> Bytes {
    creation_bytecode(include_str!("../artifacts/Poseidon.json"))
}

/// Creation bytecode of the test token.
pub(crate) fn test_token_bytecode() -> Bytes {
    creation_bytecode(include_str!("../artifacts/TestToken.json"))
}

/// Whether that key is a development key: the contract's source says so, which is known before anything is sent.
pub(crate) fn verifier_is_insecure() -> bool {
    !include_str!("../contracts/Groth16Verifier.sol")
        .contains("bool public constant INSECURE = false;")
}

fn creation_bytecode(artifact: &str) -> Bytes {
    #[derive(serde::Deserialize)]
    struct Artifact {
        bytecode: Bytes,
    }
    let artifact: Artifact =
        serde_json::from_str(artifact).expect("artifacts are written by build.mjs and compiled in");
    artifact.bytecode
}

/// A contract's error in words.
pub(crate) fn explain(data: &Bytes) -> String {
    use ISettlement::ISettlementErrors as S;
    if let Ok(error) = S::abi_decode(data) {
        return explain_settlement(&error);
    }
    if let Ok(error) = IGroth16Verifier::IGroth16VerifierErrors::abi_decode(data) {
        use IGroth16Verifier::IGroth16VerifierErrors as V;
        return match error {
            V::InputNotInField(e) => {
                format!("public input {} is not below the field's order", e.index)
            }
            V::PrecompileFailed(_) => {
                "a pairing precompile failed: a malformed point in the proof, or too little gas"
                    .to_owned()
            }
            V::KeyWithoutPhase2(_) => {
                "the verifying key has no second phase: anyone could forge proofs".to_owned()
            }
            V::CountsDiffer(e) => format!("{} rows of inputs, {} proofs", e.inputs, e.proofs),
            V::ProofInvalid(_) => "the proof does not hold for the contract's words".to_owned(),
        };
    }
    if let Ok(error) = IToken::ITokenErrors::abi_decode(data) {
        use IToken::ITokenErrors as T;
        return match error {
            T::BalanceTooLow(e) => format!(
                "{} holds {} token units, {} are asked for",
                e.from, e.held, e.asked
            ),
            T::AllowanceTooLow(e) => {
                format!(
                    "{} may spend {} token units, {} are asked for",
                    e.spender, e.allowed, e.asked
                )
            }
        };
    }
    if let Ok(error) = IBase::IBaseErrors::abi_decode(data) {
        use IBase::IBaseErrors as B;
        return match error {
            B::AccessControlUnauthorizedAccount(e) => {
                format!("{} lacks the role {}", e.account, e.neededRole)
            }
            B::EnforcedPause(_) => "the contract is paused".to_owned(),
            B::ExpectedPause(_) => "the contract is not paused".to_owned(),
            B::ReentrancyGuardReentrantCall(_) => {
                "the token called back into the contract".to_owned()
            }
            B::InvalidInitialization(_) => "the contract is initialized already".to_owned(),
            B::ElementNotInField(e) => {
                format!("element {} is not below the field's order", e.index)
            }
        };
    }
    if data.is_empty() {
        return "no reason given (a malformed call, or out of gas)".to_owned();
    }
    format!("unknown error {data}")
}

fn explain_settlement(error: &ISettlement::ISettlementErrors) -> String {
    use ISettlement::ISettlementErrors as S;
    match error {
        S::InsecureKey(e) => format!("an INSECURE verifying key on chain {}", e.chainId),
        S::NoCode(e) => format!("no code at {}", e.r#where),
        S::NoOperator(_) => "no operator is named".to_owned(),
        S::NotOperator(e) => format!(
            "{} is not the operator, who alone commits batches",
            e.caller
        ),
        S::AccountsFull(_) => "all account ids are taken".to_owned(),
        S::UnknownAccount(e) => format!("account {} was never opened", e.account),
        S::AmountOutOfRange(e) => format!("amount {} is 0, or 2^62 or more", e.amount),
        S::WrongAmountReceived(e) => {
            format!(
                "the token delivered {} units instead of {}",
                e.received, e.expected
            )
        }
        S::TransferFailed(_) => "the token refused the transfer".to_owned(),
        S::WrongBatchNo(e) => format!("batch {} is given, {} is next", e.given, e.expected),
        S::BatchGoesBack(e) => {
            format!(
                "the batch ends at seq {} and {} ns, before the last one",
                e.lastSeq, e.timeNs
            )
        }
        S::TooManyRows(e) => format!("{} rows, {} is the most", e.given, e.most),
        S::DepositsNotQueued(e) => format!(
            "{} deposits are asked for, {} are queued",
            e.given, e.queued
        ),
        S::WordNotInField(e) => format!("public word {} is not below the field's order", e.index),
        S::JournalHashTooLarge(_) => "the journal hash has one of its top 3 bits set".to_owned(),
        S::WithdrawalWithoutOwner(e) => format!("withdrawal row {} names no owner", e.index),
        S::PaysOutMoreThanHeld(e) => {
            format!("{} units are asked for, {} are held", e.asked, e.held)
        }
        S::NothingToClaim(e) => format!("{} has nothing to claim", e.owner),
        S::BadRecipient(e) => format!("claims cannot go to {}", e.to),
        S::Frozen(_) => "the contract is frozen for good".to_owned(),
        S::NotFrozen(_) => "the contract is not frozen".to_owned(),
        S::DepositTooLarge(e) => {
            format!("{} units in one deposit, {} is the most", e.amount, e.most)
        }
        S::CollateralFull(e) => {
            format!(
                "all collateral would be {} units, {} is the most",
                e.total, e.most
            )
        }
        S::DepositNotQueued(e) => format!("deposit {} was consumed or taken back", e.index),
        S::NotOwner(e) => format!("{} does not own account {}", e.caller, e.account),
        S::TooEarly(e) => format!("too early: only after {} s of the Unix epoch", e.time),
        S::WrongFee(e) => format!("the fee is {} wei, {} are given", e.fee, e.given),
        S::RequestStands(e) => format!("request {} stands", e.id),
        S::RequestNotOpen(e) => format!("request {} does not stand", e.id),
        S::TooManyRequests(e) => format!("{} requests stand, which is the most", e.most),
        S::NotTheRoot(_) => "the state given is not that of the root on record".to_owned(),
        S::NotInState(e) => format!("account {} has another leaf in the state", e.account),
        S::WrongTable(_) => "the risk table is missing or not that of the state".to_owned(),
        S::ExitIsOpen(_) => "the exit is open already".to_owned(),
        S::ExitNotOpen(_) => "the exit is not open yet".to_owned(),
        S::AlreadyEscaped(e) => format!("account {} escaped already", e.account),
        S::NothingToEscape(e) => format!("nothing is owed to account {}", e.account),
        S::KeyNotInUse(e) => format!("verifying key {} is not in use", e.key),
        S::KeysDiffer(_) => "batches of different keys in one transaction".to_owned(),
        S::LastKey(_) => "the last verifying key stays".to_owned(),
        S::BadParameters(_) => {
            "a window is 0 or longer than a year, or the delay of changes is too short".to_owned()
        }
        S::NotAnnounced(_) => "this change was not announced".to_owned(),
    }
}
