//! A real Groth16 key and prover for a tiny circuit with the batch circuit's three public inputs. The circuit lets
//! any (C, z, y) pass; what it is for is that a proof holds for the inputs it was made for and for no others.

use std::path::Path;
use std::sync::OnceLock;

use alloy::primitives::U256;
use ark_bn254::{Bn254, Fq, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::{AdditiveGroup, AffineRepr};
use ark_ff::{BigInteger, Field, PrimeField};
use ark_groth16::{Groth16, ProvingKey};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use ark_snark::SNARK;
use ark_std::rand::{SeedableRng, rngs::StdRng};
use l1::VerifyingKeyWords;

/// Anyone can read it here: the key is worthless but for tests.
const SEED: u64 = 0x7E57;

struct Tiny {
    inputs: [Fr; 3],
}

impl ConstraintSynthesizer<Fr> for Tiny {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let [c, z, y] = self.inputs;
        let vc = cs.new_input_variable(|| Ok(c))?;
        let vz = cs.new_input_variable(|| Ok(z))?;
        let vy = cs.new_input_variable(|| Ok(y))?;
        let product = cs.new_witness_variable(|| Ok(c * z))?;
        let square = cs.new_witness_variable(|| Ok((c * z + y).square()))?;
        let lc = |v: Variable| -> LinearCombination<Fr> { v.into() };
        cs.enforce_r1cs_constraint(|| lc(vc), || lc(vz), || lc(product))?;
        let sum = lc(product) + vy;
        cs.enforce_r1cs_constraint(|| sum.clone(), || sum.clone(), || lc(square))
    }
}

fn key() -> &'static ProvingKey<Bn254> {
    static KEY: OnceLock<ProvingKey<Bn254>> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut rng = StdRng::seed_from_u64(SEED);
        let circuit = Tiny {
            inputs: [Fr::ZERO; 3],
        };
        Groth16::<Bn254>::circuit_specific_setup(circuit, &mut rng)
            .expect("the tiny circuit is sound")
            .0
    })
}

fn word(x: Fq) -> U256 {
    U256::from_be_slice(&x.into_bigint().to_bytes_be())
}

fn g1(p: &G1Affine) -> [U256; 2] {
    let (x, y) = p.xy().expect("not the point at infinity");
    [word(x), word(y)]
}

fn g2(p: &G2Affine) -> [U256; 4] {
    let (x, y): (Fq2, Fq2) = p.xy().expect("not the point at infinity");
    [word(x.c1), word(x.c0), word(y.c1), word(y.c0)]
}

/// The verifying key as words.
pub(crate) fn verifying_key() -> VerifyingKeyWords {
    let vk = &key().vk;
    let ic: Vec<[U256; 2]> = vk.gamma_abc_g1.iter().map(g1).collect();
    VerifyingKeyWords {
        alpha1: g1(&vk.alpha_g1),
        beta2: g2(&vk.beta_g2),
        gamma2: g2(&vk.gamma_g2),
        delta2: g2(&vk.delta_g2),
        ic: ic.try_into().expect("three public inputs"),
        insecure: true,
    }
}

/// A proof for these public inputs.
pub(crate) fn prove(inputs: [U256; 3]) -> [U256; 8] {
    let inputs = inputs.map(|w| Fr::from_be_bytes_mod_order(&w.to_be_bytes::<32>()));
    let mut rng = StdRng::seed_from_u64(1);
    let proof =
        Groth16::<Bn254>::prove(key(), Tiny { inputs }, &mut rng).expect("the witness fits");
    let (a, b, c) = (g1(&proof.a), g2(&proof.b), g1(&proof.c));
    [a[0], a[1], b[0], b[1], b[2], b[3], c[0], c[1]]
}

/// Where the contract made from this key is kept.
pub(crate) fn contract_path() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/contracts/test/TinyVerifier.sol"
    ))
}
