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
        function verify(uint256[3] calldata inputs, uint256[8] calldata proof) external view;
        function INSECURE() external view returns (bool);
        function VK_HASH() external view returns (bytes32);
    }

    /// Constructor of the settlement contract, for its arguments' encoding.
    interface ISettlementMaker {
        function make(address token, address verifier, uint256 genesisRoot, address operator) external;
    }
}

/// Creation bytecode of the settlement contract, without its arguments.
pub(crate) fn settlement_bytecode() -> Bytes {
    creation_bytecode(include_str!("../artifacts/Settlement.json"))
}

/// Creation bytecode of the verifier made from the tier's key.
pub(crate) fn verifier_bytecode() -> Bytes {
    creation_bytecode(include_str!("../artifacts/Groth16Verifier.json"))
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
        S::Reentered(_) => "the token called back into the contract".to_owned(),
    }
}
