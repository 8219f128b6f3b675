//! The one place that knows the proof system: Groth16 over BN254 from arkworks.
//!
//! The library's own `prove` and `verify` are not used. Its `prove` builds the constraints again
//! each time and tells nothing while it runs; its `verify` (0.6.0) ignores public inputs beyond those
//! of the key, and takes missing ones for zero. The sums below are those of Groth, "On the Size of
//! Pairing-based Non-interactive Arguments" (EUROCRYPT 2016), section 3.2; the polynomial part
//! and the setup are the library's.

use crate::field::{Fr, Word, from_word};
use crate::gadget::system::{Row, Shape};
use crate::statement::PublicInputs;
use ark_bn254::{Bn254, Fq, Fq2, G1Affine, G1Projective, G2Affine, G2Projective};
use ark_ec::pairing::Pairing;
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::{BigInt, BigInteger, PrimeField};
use ark_groth16::r1cs_to_qap::{LibsnarkReduction, R1CSToQAP};
use ark_groth16::{Groth16, ProvingKey, VerifyingKey};
use ark_poly::GeneralEvaluationDomain;
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use ark_std::rand::SeedableRng;
use ark_std::rand::rngs::StdRng;
use std::ops::Neg;

pub(crate) type Key = ProvingKey<Bn254>;

/// Public inputs of the proof.
const PUBLICS: usize = 3;

/// Whoever knows the seed can forge proofs, and everybody does: for development only.
const INSECURE_DEV_SEED: [u8; 32] = *b"deltabox INSECURE dev key seed 1";

/// Told the name of the stage that begins, and the part of all work done before it (0 to 1; by
/// measured shares, so an estimate).
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, f32);

/// Why a proof was refused, or not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// A coordinate of the proof is not below the base field's modulus.
    #[error("proof word {word} is not below the modulus of the base field")]
    Coordinate {
        /// Which of the eight words.
        word: usize,
    },
    /// A point of the proof is not a point of its group.
    #[error("proof point {point} is {what}")]
    Point {
        /// "A", "B" or "C".
        point: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A public input is not below the modulus: the same proof would pass for two inputs.
    #[error("public input {name} is not below the modulus of the scalar field")]
    PublicRange {
        /// "c", "z" or "y".
        name: &'static str,
    },
    /// The pairing equation does not hold.
    #[error("the proof does not hold for these public inputs")]
    Rejected,
    /// The key is unfit.
    #[error("verifying key: {0}")]
    VerifyingKey(&'static str),
    /// The setup failed.
    #[error("setup: {0}")]
    Setup(String),
    /// The system gave no random bytes.
    #[error("no randomness from the system: {0}")]
    Randomness(getrandom::Error),
    /// The polynomial part failed.
    #[error("quotient polynomial: {0}")]
    Quotient(String),
}

/// The rows again, for the library's setup.
struct Replay<'a>(&'a Shape);

impl ConstraintSynthesizer<Fr> for Replay<'_> {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let missing = || Err(SynthesisError::AssignmentMissing);
        for _ in 1..self.0.publics {
            let _ = cs.new_input_variable(missing)?;
        }
        for _ in self.0.publics..self.0.columns {
            let _ = cs.new_witness_variable(missing)?;
        }
        let publics = self.0.publics;
        let combination = |row: &Row| {
            let variable = |column: usize| match column {
                0 => Variable::One,
                column if column < publics => Variable::instance(column),
                column => Variable::witness(column - publics),
            };
            LinearCombination(
                row.iter()
                    .map(|(c, column)| (*c, variable(*column)))
                    .collect(),
            )
        };
        let [a, b, c] = &self.0.matrices;
        for ((a, b), c) in a.iter().zip(b).zip(c) {
            cs.enforce_r1cs_constraint(|| combination(a), || combination(b), || combination(c))?;
        }
        Ok(())
    }
}

/// A key from the fixed seed: the same on every machine, and worth nothing.
pub(crate) fn insecure_setup(shape: &Shape) -> Result<Key, ProofError> {
    let mut rng = StdRng::from_seed(INSECURE_DEV_SEED);
    Groth16::<Bn254>::generate_random_parameters_with_reduction(Replay(shape), &mut rng)
        .map_err(|error| ProofError::Setup(error.to_string()))
}

/// Whether a key is of this circuit's size and its verifying part is fit.
pub(crate) fn check_key(key: &Key, shape: &Shape) -> Result<(), ProofError> {
    let rows = shape.constraints() + shape.publics;
    let sizes = key.a_query.len() == shape.columns
        && key.b_g1_query.len() == shape.columns
        && key.b_g2_query.len() == shape.columns
        && key.l_query.len() == shape.columns - shape.publics
        && key.h_query.len() == rows.next_power_of_two() - 1;
    if !sizes {
        return Err(ProofError::VerifyingKey("it is of another circuit"));
    }
    lint(&key.vk)
}

/// Refuses the keys that real deployments were robbed with: a second phase that was skipped leaves
/// delta equal to gamma or to the generator, and then anyone can forge.
fn lint(vk: &VerifyingKey<Bn254>) -> Result<(), ProofError> {
    let generator = G2Affine::generator();
    let fault = if vk.gamma_g2 == vk.delta_g2 {
        Some("gamma equals delta")
    } else if vk.delta_g2 == generator {
        Some("delta is the generator")
    } else if vk.gamma_g2 == generator {
        Some("gamma is the generator")
    } else if vk.gamma_abc_g1.len() != PUBLICS + 1 {
        Some("it is not for three public inputs")
    } else {
        let g1 = vk.gamma_abc_g1.iter().chain([&vk.alpha_g1]);
        let g1_fit = g1.clone().all(|p| check_g1(p, "").is_ok() && !p.is_zero());
        let g2 = [&vk.beta_g2, &vk.gamma_g2, &vk.delta_g2];
        let g2_fit = g2.iter().all(|p| check_g2(p, "").is_ok() && !p.is_zero());
        (!g1_fit || !g2_fit).then_some("a point is zero or not of its group")
    };
    fault.map_or(Ok(()), |fault| Err(ProofError::VerifyingKey(fault)))
}

fn check_g1(p: &G1Affine, point: &'static str) -> Result<(), ProofError> {
    // BN254's first group is the whole curve.
    if p.is_on_curve() {
        return Ok(());
    }
    let what = "not on the curve";
    Err(ProofError::Point { point, what })
}

fn check_g2(p: &G2Affine, point: &'static str) -> Result<(), ProofError> {
    let what = if !p.is_on_curve() {
        "not on the curve"
    } else if !p.is_in_correct_subgroup_assuming_on_curve() {
        "not in the subgroup"
    } else {
        return Ok(());
    };
    Err(ProofError::Point { point, what })
}

/// A scalar from the system's randomness, uniform but for 2^-256.
fn random_scalar() -> Result<Fr, ProofError> {
    let mut bytes = [0u8; 64];
    getrandom::fill(&mut bytes).map_err(ProofError::Randomness)?;
    Ok(Fr::from_le_bytes_mod_order(&bytes))
}

/// Proves that the assignment satisfies the rows. The caller has checked that it does: nothing here
/// would notice, but the proof would not verify.
pub(crate) fn prove(
    key: &Key,
    shape: &Shape,
    assignment: &[Fr],
    progress: Progress<'_>,
) -> Result<[u8; 256], ProofError> {
    let (r, s) = (random_scalar()?, random_scalar()?);
    progress("quotient polynomial (FFT)", 0.03);
    let h = LibsnarkReduction::witness_map_from_matrices::<Fr, GeneralEvaluationDomain<Fr>>(
        &shape.matrices,
        shape.publics,
        shape.constraints(),
        assignment,
    )
    .map_err(|error| ProofError::Quotient(error.to_string()))?;
    let integers = |values: &[Fr]| -> Vec<BigInt<4>> {
        values.iter().map(|value| value.into_bigint()).collect()
    };
    let h = integers(&h);
    let all = integers(assignment);

    progress("commitment to the quotient (MSM)", 0.12);
    let quotient_sum = G1Projective::msm_bigint(&key.h_query, &h);
    progress("commitment to the witness (MSM)", 0.30);
    let witness_sum = G1Projective::msm_bigint(&key.l_query, &all[shape.publics..]);
    progress("A (MSM)", 0.40);
    let a = key.delta_g1 * r + key.vk.alpha_g1 + G1Projective::msm_bigint(&key.a_query, &all);
    progress("B in G1 (MSM)", 0.51);
    let b1 = key.delta_g1 * s + key.beta_g1 + G1Projective::msm_bigint(&key.b_g1_query, &all);
    progress("B in G2 (MSM)", 0.59);
    let b = key.vk.delta_g2 * s + key.vk.beta_g2 + G2Projective::msm_bigint(&key.b_g2_query, &all);
    let c = witness_sum + quotient_sum + a * s + b1 * r - key.delta_g1 * (r * s);
    progress("proof", 1.0);
    Ok(encode(&a.into_affine(), &b.into_affine(), &c.into_affine()))
}

/// The three public inputs, each below the modulus.
fn public_elements(public: &PublicInputs) -> Result<[Fr; PUBLICS], ProofError> {
    let element = |name, word: &Word| from_word(word).ok_or(ProofError::PublicRange { name });
    Ok([
        element("c", &public.c)?,
        element("z", &public.z)?,
        element("y", &public.y)?,
    ])
}

/// Checks a proof as the contract does.
pub(crate) fn verify(
    vk: &VerifyingKey<Bn254>,
    proof: &[u8; 256],
    public: &PublicInputs,
) -> Result<(), ProofError> {
    lint(vk)?;
    let inputs = public_elements(public)?;
    let (a, b, c) = decode(proof)?;
    let mut combined = vk.gamma_abc_g1[0].into_group();
    for (input, point) in inputs.iter().zip(&vk.gamma_abc_g1[1..]) {
        combined += *point * input;
    }
    // e(A, B) = e(alpha, beta) e(inputs, gamma) e(C, delta)
    let left = [a.neg(), vk.alpha_g1, combined.into_affine(), c];
    let right = [b, vk.beta_g2, vk.gamma_g2, vk.delta_g2];
    let product = Bn254::multi_pairing(left, right);
    if product == ark_ec::pairing::PairingOutput::default() {
        Ok(())
    } else {
        Err(ProofError::Rejected)
    }
}

fn fq_word(value: &Fq) -> Word {
    let mut word = [0u8; 32];
    word.copy_from_slice(&value.into_bigint().to_bytes_be());
    word
}

fn g1_words(p: &G1Affine) -> [Word; 2] {
    let (x, y) = p.xy().unwrap_or_default();
    [fq_word(&x), fq_word(&y)]
}

/// Imaginary part first, as the EVM's precompiles want it.
fn g2_words(p: &G2Affine) -> [Word; 4] {
    let (x, y) = p.xy().unwrap_or_default();
    [
        fq_word(&x.c1),
        fq_word(&x.c0),
        fq_word(&y.c1),
        fq_word(&y.c0),
    ]
}

/// `A.x A.y B.x_c1 B.x_c0 B.y_c1 B.y_c0 C.x C.y`, 32 bytes big-endian each.
fn encode(a: &G1Affine, b: &G2Affine, c: &G1Affine) -> [u8; 256] {
    let words = [&g1_words(a)[..], &g2_words(b), &g1_words(c)].concat();
    let mut bytes = [0u8; 256];
    for (place, word) in bytes.chunks_exact_mut(32).zip(&words) {
        place.copy_from_slice(word);
    }
    bytes
}

fn decode(bytes: &[u8; 256]) -> Result<(G1Affine, G2Affine, G1Affine), ProofError> {
    let mut words = [Fq::default(); 8];
    for (word, (value, chunk)) in words.iter_mut().zip(bytes.chunks_exact(32)).enumerate() {
        let mut limbs = [0u64; 4];
        for (limb, part) in limbs.iter_mut().zip(chunk.rchunks_exact(8)) {
            *limb = part.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        }
        *value = Fq::from_bigint(BigInt::new(limbs)).ok_or(ProofError::Coordinate { word })?;
    }
    let g1 = |x: Fq, y: Fq| {
        if x == Fq::default() && y == Fq::default() {
            G1Affine::zero()
        } else {
            G1Affine::new_unchecked(x, y)
        }
    };
    let [ax, ay, bx1, bx0, by1, by0, cx, cy] = words;
    let (a, c) = (g1(ax, ay), g1(cx, cy));
    let b = if words[2..6] == [Fq::default(); 4] {
        G2Affine::zero()
    } else {
        G2Affine::new_unchecked(Fq2::new(bx0, bx1), Fq2::new(by0, by1))
    };
    check_g1(&a, "A")?;
    check_g2(&b, "B")?;
    check_g1(&c, "C")?;
    Ok((a, b, c))
}

/// The verifying key as the contract holds it: 32 bytes big-endian a coordinate, G1 as `x y`, G2
/// as `x_c1 x_c0 y_c1 y_c0`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyingKeyEvm {
    /// alpha in G1.
    pub alpha1: [Word; 2],
    /// beta in G2.
    pub beta2: [Word; 4],
    /// gamma in G2.
    pub gamma2: [Word; 4],
    /// delta in G2.
    pub delta2: [Word; 4],
    /// For the constant one, then for `c`, `z` and `y`.
    pub ic: [[Word; 2]; PUBLICS + 1],
}

impl VerifyingKeyEvm {
    pub(crate) fn of(vk: &VerifyingKey<Bn254>) -> Result<Self, ProofError> {
        lint(vk)?;
        Ok(Self {
            alpha1: g1_words(&vk.alpha_g1),
            beta2: g2_words(&vk.beta_g2),
            gamma2: g2_words(&vk.gamma_g2),
            delta2: g2_words(&vk.delta_g2),
            ic: std::array::from_fn(|i| g1_words(&vk.gamma_abc_g1[i])),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::PrimeGroup;

    fn point(n: u64) -> G1Affine {
        (G1Projective::generator() * Fr::from(n)).into_affine()
    }

    fn point2(n: u64) -> G2Affine {
        (G2Projective::generator() * Fr::from(n)).into_affine()
    }

    fn key() -> VerifyingKey<Bn254> {
        VerifyingKey {
            alpha_g1: point(2),
            beta_g2: point2(3),
            gamma_g2: point2(4),
            delta_g2: point2(5),
            gamma_abc_g1: [6, 7, 8, 9].map(point).to_vec(),
        }
    }

    /// A change to a key.
    type Harm = fn(&mut VerifyingKey<Bn254>);

    #[test]
    fn keys_of_a_skipped_second_phase_are_refused() {
        assert!(lint(&key()).is_ok());
        let cases: [(&str, Harm); 6] = [
            ("gamma equals delta", |vk| vk.gamma_g2 = vk.delta_g2),
            ("delta is the generator", |vk| vk.delta_g2 = point2(1)),
            ("gamma is the generator", |vk| vk.gamma_g2 = point2(1)),
            ("three public inputs", |vk| {
                vk.gamma_abc_g1.pop();
            }),
            ("three public inputs", |vk| vk.gamma_abc_g1.push(point(1))),
            ("zero or not of its group", |vk| vk.alpha_g1 = point(0)),
        ];
        for (expected, break_it) in cases {
            let mut vk = key();
            break_it(&mut vk);
            let error = lint(&vk).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_proof_comes_back_from_its_bytes_and_points_off_the_curve_are_named() {
        let (a, b, c) = (point(11), point2(12), point(13));
        let bytes = encode(&a, &b, &c);
        assert_eq!(decode(&bytes).expect("three points"), (a, b, c));
        for (byte, expected) in [
            (31, "point A is not on the curve"),
            (127, "point B is not on the curve"),
            (255, "point C is not on the curve"),
        ] {
            let mut bent = bytes;
            bent[byte] ^= 1;
            assert!(
                decode(&bent)
                    .expect_err(expected)
                    .to_string()
                    .contains(expected)
            );
        }
        let mut bent = bytes;
        bent[32] |= 0xf0;
        let error = decode(&bent).expect_err("above the modulus").to_string();
        assert!(error.starts_with("proof word 1 is not below"), "{error}");
    }
}
