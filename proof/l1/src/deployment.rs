//! The record of what was deployed where: small, JSON, kept beside the prover's state.

use std::path::Path;

use alloy::primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};

use crate::L1Error;

/// Where the contracts of a risk domain are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The chain.
    pub chain_id: u64,
    /// The collateral token.
    pub token: Address,
    /// The proof verifier.
    pub verifier: Address,
    /// The settlement contract: the proxy, which holds the money.
    pub settlement: Address,
    /// The code behind it at deployment.
    pub code: Address,
    /// The hash of the state tree.
    pub poseidon: Address,
    /// Who announces changes and names operators.
    pub admin: Address,
    /// Who commits batches at first.
    pub operator: Address,
    /// A block before the settlement contract's first: nothing of interest lies before.
    pub block: u64,
    /// Names the verifying key, as [`crate::VerifyingKeyWords::hash`] does.
    pub vk_hash: B256,
    /// Whether that key is a development key.
    pub insecure_key: bool,
    /// State root before batch 1.
    pub genesis_root: U256,
}

/// What is fixed when the contract is deployed. Times are in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// How long a forced request may stand.
    pub forced_window_s: u64,
    /// How long a deposit may wait before its owner may take it back.
    pub deposit_window_s: u64,
    /// How long claims are gathered after a freeze before they are paid.
    pub exit_window_s: u64,
    /// Between the announcement of a change and the change.
    pub change_delay_s: u64,
    /// Forced requests that may stand at a time.
    pub requests_max: u64,
    /// What a forced request costs, in wei.
    pub request_fee_wei: U256,
}

const DAY_S: u64 = 86_400;

impl Default for Terms {
    /// A week for each window, three weeks for changes, 4,096 requests at 0.01 ether each, which is about what the
    /// answer to one costs.
    fn default() -> Self {
        Self {
            forced_window_s: 7 * DAY_S,
            deposit_window_s: 7 * DAY_S,
            exit_window_s: 7 * DAY_S,
            change_delay_s: 21 * DAY_S,
            requests_max: 4_096,
            request_fee_wei: U256::from(10_000_000_000_000_000u64),
        }
    }
}

/// Who may do what at first. The admin can change all three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    /// Announces changes, names operators and guardians, sets limits, ends pauses.
    pub admin: Address,
    /// Commits batches.
    pub operator: Address,
    /// Pauses.
    pub guardian: Address,
}

impl Roles {
    /// All three in one hand, as on a development chain.
    #[must_use]
    pub const fn all(who: Address) -> Self {
        Self {
            admin: who,
            operator: who,
            guardian: who,
        }
    }
}

impl Deployment {
    /// Reads a record.
    ///
    /// # Errors
    /// [`L1Error::File`] with the file and the reason.
    pub fn read(path: &Path) -> Result<Self, L1Error> {
        let text = std::fs::read_to_string(path).map_err(|e| L1Error::file(path, &e))?;
        serde_json::from_str(&text).map_err(|e| L1Error::file(path, &e))
    }

    /// Writes the record whole or not at all: to a file beside it first, then renamed.
    ///
    /// # Errors
    /// [`L1Error::File`] with the file and the reason.
    pub fn write(&self, path: &Path) -> Result<(), L1Error> {
        let text = serde_json::to_string_pretty(self).map_err(|e| L1Error::file(path, &e))?;
        let beside = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            std::fs::write(&beside, text + "\n")?;
            std::fs::File::open(&beside)?.sync_all()?;
            std::fs::rename(&beside, path)
        };
        write().map_err(|e| L1Error::file(path, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_written_and_a_broken_one_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l1.json");
        let record = Deployment {
            chain_id: 31_337,
            token: Address::repeat_byte(1),
            verifier: Address::repeat_byte(2),
            settlement: Address::repeat_byte(3),
            code: Address::repeat_byte(7),
            poseidon: Address::repeat_byte(8),
            admin: Address::repeat_byte(9),
            operator: Address::repeat_byte(6),
            block: 7,
            vk_hash: B256::repeat_byte(4),
            insecure_key: true,
            genesis_root: U256::from(5),
        };
        assert!(matches!(Deployment::read(&path), Err(L1Error::File { .. })));
        record.write(&path).unwrap();
        assert_eq!(Deployment::read(&path).unwrap(), record);
        std::fs::write(&path, "{\"chain_id\": 1}").unwrap();
        let error = Deployment::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("l1.json") && error.contains("token"),
            "{error}"
        );
    }
}
