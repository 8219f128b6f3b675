//! A prover of batches: the circuit's rows and the key, kept between proofs.

use crate::circuit::{assignment, shape};
use crate::field::{Word, from_word, to_word};
use crate::gadget::system::Shape;
use crate::groth16::{self, Key, Progress, ProofError, VerifyingKeyEvm};
use crate::keys::{self, KeyError};
use crate::native::{Group, Violation, check};
use crate::statement::{ChainContext, PublicInputs, WORDS, Words};
use crate::witness::BatchWitness;
use std::path::Path;

/// A proof with all that the contract needs to check it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchProof {
    /// `A.x A.y B.x_c1 B.x_c0 B.y_c1 B.y_c0 C.x C.y`, 32 bytes big-endian each.
    pub proof_evm: [u8; 256],
    /// Public words of the batch.
    pub words: Vec<Word>,
    /// Long Poseidon hash of the words.
    pub c: Word,
    /// Challenge point.
    pub z: Word,
    /// The words' value at it.
    pub y: Word,
}

/// Why a batch has no proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The witness does not satisfy the statement.
    #[error("the batch does not satisfy the statement: {0}")]
    Statement(#[from] Violation),
    /// The witness satisfies the native statement and not the circuit: one of the two is wrong.
    #[error("constraint {row} of {group:?} does not hold, though the native statement does")]
    Constraint {
        /// First row that does not hold.
        row: usize,
        /// Its group.
        group: Group,
    },
    /// The proof system failed.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// Why a proof was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Not as many words as the tier has.
    #[error("{0} words, this tier has {WORDS}")]
    Arity(usize),
    /// A word is not below the modulus.
    #[error("word {0} is not below the modulus of the scalar field")]
    WordRange(usize),
    /// A public input is not what the words give.
    #[error("public input {0} is not what the words give")]
    Public(&'static str),
    /// The proof itself.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// Proves batches of the small tier with one key.
pub struct Prover {
    shape: Shape,
    key: Key,
    evm: VerifyingKeyEvm,
}

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prover")
            .field("constraints", &self.constraints())
            .finish_non_exhaustive()
    }
}

impl Prover {
    /// Loads the development key of this circuit from a folder, or makes it (seconds) if there is
    /// none. INSECURE: anyone can forge proofs under it.
    ///
    /// # Errors
    /// A key that is there and corrupt or unfit is refused, never silently replaced.
    pub fn load_or_create(dir: &Path, progress: Progress<'_>) -> Result<Self, KeyError> {
        progress("building the circuit", 0.0);
        let shape = shape();
        let key = keys::load_or_create(dir, &shape, progress)?;
        Self::ready(shape, key, progress)
    }

    /// Makes the development key again and replaces what is in the folder.
    ///
    /// # Errors
    /// If the setup or the disk fails.
    pub fn remake(dir: &Path, progress: Progress<'_>) -> Result<Self, KeyError> {
        progress("building the circuit", 0.0);
        let shape = shape();
        let key = keys::remake(dir, &shape, progress)?;
        Self::ready(shape, key, progress)
    }

    fn ready(shape: Shape, key: Key, progress: Progress<'_>) -> Result<Self, KeyError> {
        let evm = VerifyingKeyEvm::of(&key.vk).map_err(KeyError::Setup)?;
        progress("key ready", 1.0);
        Ok(Self { shape, key, evm })
    }

    /// Rows of the circuit.
    #[must_use]
    pub fn constraints(&self) -> usize {
        self.shape.constraints()
    }

    /// Rows of each group of the statement.
    #[must_use]
    pub fn constraints_by_group(&self) -> Vec<(Group, usize)> {
        let mut rows: Vec<(Group, usize)> = Vec::new();
        for group in &self.shape.groups {
            match rows.iter_mut().find(|(g, _)| g == group) {
                Some((_, n)) => *n += 1,
                None => rows.push((*group, 1)),
            }
        }
        rows.sort_by_key(|(g, _)| *g as u8);
        rows
    }

    /// The verifying key in the contract's layout.
    #[must_use]
    pub fn verifying_key_evm(&self) -> &VerifyingKeyEvm {
        &self.evm
    }

    /// Proves a batch for one contract, with fresh randomness.
    ///
    /// # Errors
    /// If the witness does not satisfy the statement: the number that it breaks, and where.
    pub fn prove(
        &self,
        witness: &BatchWitness,
        chain: &ChainContext,
        progress: Progress<'_>,
    ) -> Result<BatchProof, ProveError> {
        progress("native statement", 0.0);
        let words = witness.word_elements(chain);
        let public = PublicInputs::of(&words);
        check(witness, &words, &public)?;
        let elements = public.elements().expect("made from field elements");
        progress("witness", 0.005);
        let values = assignment(witness, &words, &elements);
        progress("constraints", 0.015);
        if let Some(row) = self.shape.first_broken(&values) {
            let group = self.shape.groups[row];
            return Err(ProveError::Constraint { row, group });
        }
        let proof_evm = groth16::prove(&self.key, &self.shape, &values, progress)?;
        let PublicInputs { c, z, y } = public;
        Ok(BatchProof {
            proof_evm,
            words: words.iter().map(to_word).collect(),
            c,
            z,
            y,
        })
    }

    /// Checks a proof as the contract does: the public inputs against the words, then the pairing.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn verify(&self, proof: &BatchProof) -> Result<(), VerifyError> {
        if proof.words.len() != WORDS {
            return Err(VerifyError::Arity(proof.words.len()));
        }
        let mut words: Words = [Default::default(); WORDS];
        for (place, (element, word)) in words.iter_mut().zip(&proof.words).enumerate() {
            *element = from_word(word).ok_or(VerifyError::WordRange(place))?;
        }
        let public = PublicInputs::of(&words);
        for (name, given, due) in [
            ("c", &proof.c, &public.c),
            ("z", &proof.z, &public.z),
            ("y", &proof.y, &public.y),
        ] {
            if given != due {
                return Err(VerifyError::Public(name));
            }
        }
        groth16::verify(&self.key.vk, &proof.proof_evm, &public)?;
        Ok(())
    }
}
