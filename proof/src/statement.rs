//! The public side of a batch: its words, and the three public inputs that stand for them.

use crate::field::{Fr, Word, address, from_word, low_253, to_word};
use crate::poseidon::{Domain, long_hash};
use ark_ff::AdditiveGroup;
use firmware::limits::{BATCH_DEPOSITS, BATCH_WITHDRAWALS};
use sha3::{Digest, Keccak256};

/// First word of every batch of this tier: its name as an integer, big-endian.
pub const TIER_NAME: &[u8; 17] = b"deltabox.small.v2";
/// Words before the rows.
pub(crate) const HEAD: usize = 11;
/// Words of one deposit or withdrawal: account, owner, amount in micro-units.
pub(crate) const ROW: usize = 3;
/// First word of the deposits.
pub(crate) const DEPOSITS_AT: usize = HEAD;
/// First word of the withdrawals.
pub(crate) const WITHDRAWALS_AT: usize = DEPOSITS_AT + ROW * BATCH_DEPOSITS;
/// Words of a batch.
pub const WORDS: usize = WITHDRAWALS_AT + ROW * BATCH_WITHDRAWALS;

const _: () = assert!(WORDS == 59);

/// Places of the words before the rows.
pub(crate) mod at {
    pub(crate) const TIER: usize = 0;
    pub(crate) const CHAIN_ID: usize = 1;
    pub(crate) const CONTRACT: usize = 2;
    pub(crate) const BATCH_NO: usize = 3;
    pub(crate) const OLD_ROOT: usize = 4;
    pub(crate) const NEW_ROOT: usize = 5;
    pub(crate) const JOURNAL_HASH: usize = 6;
    pub(crate) const LAST_SEQ: usize = 7;
    pub(crate) const TIME_NS: usize = 8;
    pub(crate) const DEPOSITS: usize = 9;
    pub(crate) const WITHDRAWALS: usize = 10;
}

/// The contract that a proof is for: a proof for one is worth nothing at another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainContext {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Address of the settlement contract.
    pub contract: [u8; 20],
}

/// A deposit or a withdrawal as the statement sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct MoneyRow {
    pub(crate) account: u32,
    pub(crate) owner: [u8; 20],
    pub(crate) amount_micro: u64,
}

impl MoneyRow {
    pub(crate) fn words(&self) -> [Fr; ROW] {
        [
            Fr::from(self.account),
            address(&self.owner),
            Fr::from(self.amount_micro),
        ]
    }
}

/// The words of a batch, as field elements.
pub(crate) type Words = [Fr; WORDS];

pub(crate) fn tier_word() -> Fr {
    let mut word = [0u8; 32];
    word[32 - TIER_NAME.len()..].copy_from_slice(TIER_NAME);
    from_word(&word).expect("17 bytes are below the modulus")
}

pub(crate) fn journal_word(hash: [u8; 32]) -> Fr {
    low_253(hash)
}

/// The public inputs of the proof, in the verifier's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicInputs {
    /// Long Poseidon hash of the words.
    pub c: Word,
    /// `keccak256(words, c)`, each as 32 bytes big-endian, with the top three bits cleared.
    pub z: Word,
    /// `sum words[i] * z^i` modulo the field's modulus.
    pub y: Word,
}

impl PublicInputs {
    /// Derives them from the words, as the contract does for all but `c`.
    pub(crate) fn of(words: &Words) -> Self {
        let c = long_hash(Domain::Words, words);
        let z = challenge(words, &c);
        Self {
            c: to_word(&c),
            z: to_word(&z),
            y: to_word(&evaluate(words, &z)),
        }
    }

    /// `None` if one of them is not below the modulus.
    pub(crate) fn elements(&self) -> Option<[Fr; 3]> {
        Some([
            from_word(&self.c)?,
            from_word(&self.z)?,
            from_word(&self.y)?,
        ])
    }
}

/// The point at which the words are evaluated.
pub(crate) fn challenge(words: &Words, c: &Fr) -> Fr {
    let mut hash = Keccak256::new();
    for word in words.iter().chain([c]) {
        hash.update(to_word(word));
    }
    low_253(hash.finalize().into())
}

/// `sum words[i] * z^i`.
pub(crate) fn evaluate(words: &Words, z: &Fr) -> Fr {
    words
        .iter()
        .rev()
        .fold(Fr::ZERO, |sum, word| sum * z + word)
}

/// Words of rows of deposits and withdrawals after the head, unused rows zero.
pub(crate) fn assemble(head: [Fr; HEAD], deposits: &[MoneyRow], withdrawals: &[MoneyRow]) -> Words {
    let mut words = [Fr::ZERO; WORDS];
    words[..HEAD].copy_from_slice(&head);
    for (rows, first) in [(deposits, DEPOSITS_AT), (withdrawals, WITHDRAWALS_AT)] {
        for (row, place) in rows.iter().zip(words[first..].chunks_mut(ROW)) {
            place.copy_from_slice(&row.words());
        }
    }
    words
}
