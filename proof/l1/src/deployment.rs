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
    /// The settlement contract.
    pub settlement: Address,
    /// Who commits batches.
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
