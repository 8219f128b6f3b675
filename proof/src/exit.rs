//! The state as a stranger needs it to leave: a public file of all leaves, the fund and the risk table, of which
//! anyone can check that it is what the root on L1 is the hash of, and take Merkle proofs from it.

use crate::field::{Fr, Word, from_word, signed, to_word};
use crate::poseidon::{Domain, hash4, long_hash};
use crate::state::{LEAF_ELEMENTS, State, Tree, leaf_elements, table_elements};
use ark_ff::AdditiveGroup;
use firmware::limits::{ACCOUNTS, TREE_ARITY, TREE_DEPTH};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// First field of the file.
const FORMAT: &str = "deltabox state 1";
/// Elements of a risk table.
const TABLE_ELEMENTS: usize = 84;
/// Siblings of a path.
const SIBLINGS: usize = TREE_DEPTH * (TREE_ARITY - 1);

/// A leaf and its path, as the contract takes them.
pub type Opening = ([Word; LEAF_ELEMENTS], [Word; SIBLINGS]);

/// Why a state file is refused.
#[derive(Debug, Error)]
pub enum StateFileError {
    /// It is no JSON of the form that is written here.
    #[error("the state file is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of another kind or version.
    #[error("the state file says '{0}', not '{FORMAT}'")]
    Format(String),
    /// A word is not 0x and 64 hex digits of a number below the modulus.
    #[error("the state file: {0} is no field element")]
    Word(String),
    /// A list has another length than it must have.
    #[error("the state file: {what} has {got} elements, not {wanted}")]
    Length {
        /// Which list.
        what: String,
        /// Its length.
        got: usize,
        /// What it must be.
        wanted: usize,
    },
    /// An account that the tree has no leaf for.
    #[error("the state file: account {0} is off the tree")]
    Account(u32),
}

/// The state after a batch, opened.
#[derive(Clone, Debug)]
pub struct ExitState {
    batch_no: u64,
    fund: Fr,
    table: Vec<Fr>,
    leaves: BTreeMap<u32, [Fr; LEAF_ELEMENTS]>,
    tree: Tree,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    batch_no: u64,
    fund_pico: String,
    table: Vec<String>,
    leaves: BTreeMap<u32, Vec<String>>,
}

fn text(element: &Fr) -> String {
    let digits = to_word(element).map(|b| format!("{b:02x}")).concat();
    format!("0x{digits}")
}

fn element(text: &str) -> Result<Fr, StateFileError> {
    let parse = || {
        let digits = text.strip_prefix("0x").filter(|d| d.len() == 64)?;
        let mut word = [0; 32];
        for (byte, pair) in word.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        from_word(&word)
    };
    parse().ok_or_else(|| StateFileError::Word(text.to_owned()))
}

impl ExitState {
    fn new(
        batch_no: u64,
        fund: Fr,
        table: Vec<Fr>,
        leaves: BTreeMap<u32, [Fr; LEAF_ELEMENTS]>,
    ) -> Self {
        let mut tree = Tree::new();
        for (account, leaf) in &leaves {
            tree.set(*account, long_hash(Domain::Leaf, leaf));
        }
        Self {
            batch_no,
            fund,
            table,
            leaves,
            tree,
        }
    }

    /// Opens the prover's own state.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let leaves = state.leaves.iter().map(|(i, l)| (*i, leaf_elements(l)));
        let table = state.table.as_deref().map(table_elements);
        Self::new(
            state.batch_no,
            signed(state.fund_pico),
            table.unwrap_or_default(),
            leaves.collect(),
        )
    }

    /// Reads a state file. What it says is true only if [`Self::root`] is the root on L1.
    ///
    /// # Errors
    /// [`StateFileError`].
    pub fn parse(json: &str) -> Result<Self, StateFileError> {
        let file: File = serde_json::from_str(json)?;
        if file.format != FORMAT {
            return Err(StateFileError::Format(file.format));
        }
        let length = |what: &str, got, wanted| StateFileError::Length {
            what: what.to_owned(),
            got,
            wanted,
        };
        if !file.table.is_empty() && file.table.len() != TABLE_ELEMENTS {
            return Err(length("the table", file.table.len(), TABLE_ELEMENTS));
        }
        let table: Result<Vec<Fr>, _> = file.table.iter().map(|t| element(t)).collect();
        let mut leaves = BTreeMap::new();
        for (account, words) in &file.leaves {
            if *account as usize >= ACCOUNTS {
                return Err(StateFileError::Account(*account));
            }
            if words.len() != LEAF_ELEMENTS {
                let what = format!("leaf {account}");
                return Err(length(&what, words.len(), LEAF_ELEMENTS));
            }
            let mut leaf = [Fr::ZERO; LEAF_ELEMENTS];
            for (place, word) in leaf.iter_mut().zip(words) {
                *place = element(word)?;
            }
            leaves.insert(*account, leaf);
        }
        Ok(Self::new(
            file.batch_no,
            element(&file.fund_pico)?,
            table?,
            leaves,
        ))
    }

    /// The state file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let all = |elements: &[Fr]| elements.iter().map(text).collect::<Vec<_>>();
        let file = File {
            format: FORMAT.to_owned(),
            batch_no: self.batch_no,
            fund_pico: text(&self.fund),
            table: all(&self.table),
            leaves: self.leaves.iter().map(|(i, l)| (*i, all(l))).collect(),
        };
        let json = serde_json::to_string_pretty(&file);
        json.expect("strings and numbers are JSON")
    }

    fn table_digest(&self) -> Fr {
        if self.table.is_empty() {
            return Fr::ZERO;
        }
        long_hash(Domain::Table, &self.table)
    }

    /// The state root that all this hashes to.
    #[must_use]
    pub fn root(&self) -> Word {
        to_word(&hash4(&[
            self.tree.root(),
            self.fund,
            self.table_digest(),
            Fr::from(self.batch_no),
        ]))
    }

    /// Number of the batch after which this is the state.
    #[must_use]
    pub fn batch_no(&self) -> u64 {
        self.batch_no
    }

    /// Root of the tree, fund, digest of the table: what the root is the hash of, with the batch number.
    #[must_use]
    pub fn parts(&self) -> [Word; 3] {
        [self.tree.root(), self.fund, self.table_digest()].map(|e| to_word(&e))
    }

    /// The elements of the risk table; none before the first batch.
    #[must_use]
    pub fn table(&self) -> Vec<Word> {
        self.table.iter().map(to_word).collect()
    }

    /// Accounts that were ever used.
    pub fn accounts(&self) -> impl Iterator<Item = u32> {
        self.leaves.keys().copied()
    }

    /// The leaf of an account with its path; all zeros in the leaf if it was never used.
    #[must_use]
    pub fn open(&self, account: u32) -> Opening {
        let empty = [Fr::ZERO; LEAF_ELEMENTS];
        let leaf = self.leaves.get(&account).unwrap_or(&empty);
        let path = self.tree.path(account);
        let mut siblings = path.as_flattened().iter().map(to_word);
        (
            std::array::from_fn(|i| to_word(&leaf[i])),
            std::array::from_fn(|_| siblings.next().expect("three a level")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::scenario::Market;

    #[test]
    fn a_state_file_reads_back_to_the_same_root_and_openings() {
        let mut state = State::genesis();
        let genesis = ExitState::of(&state);
        assert_eq!(genesis.root(), state.root());
        let mut market = Market::new();
        for batch in [market.funding(), market.busy()] {
            state.apply(&batch).expect("provable");
        }
        let exit = ExitState::of(&state);
        assert_eq!(exit.root(), state.root());
        let again = ExitState::parse(&exit.to_json()).unwrap();
        assert_eq!(again.root(), state.root());
        for account in exit.accounts() {
            assert_eq!(again.open(account), exit.open(account));
        }
    }

    #[test]
    fn a_state_file_that_is_damaged_is_refused_or_has_another_root() {
        let exit = ExitState::of(&State::genesis());
        let json = exit.to_json();
        let refused = |from: &str, to: &str| {
            ExitState::parse(&json.replace(from, to))
                .unwrap_err()
                .to_string()
        };
        assert!(refused("state 1", "state 2").contains("state 2"));
        assert!(refused("\"0x00", "\"0xzz").contains("no field element"));
        assert!(refused("\"0x00", "\"0xff").contains("no field element"));
        assert!(refused("[]", "[\"0x00\"]").contains("84"));
        assert!(refused("{}", "{\"70000\": []}").contains("off the tree"));
        assert!(refused("{}", "{\"7\": []}").contains("leaf 7"));
        let other = json.replace("\"batch_no\": 0", "\"batch_no\": 1");
        assert_ne!(ExitState::parse(&other).unwrap().root(), exit.root());
    }
}
