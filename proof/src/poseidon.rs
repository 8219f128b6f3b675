//! Poseidon over the scalar field of BN254 with circomlib's parameters, so that Solidity and
//! JavaScript libraries check the same paths. Source: Grassi et al., "Poseidon" (USENIX Security
//! 2021): x^5, 8 full rounds, round constants and matrix from the Grain register of its appendix E.
//!
//! A partial round raises one lane only, so everything between the two halves of full rounds is
//! linear in the lanes on entry and in the outputs of the partial rounds. [`Permutation`] holds that
//! linear map worked out once: the native hash gets shorter by it, and the circuit gets its
//! linear combinations without multiplying matrices of symbols.

use crate::field::Fr;
use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};
use std::sync::OnceLock;

/// Full rounds, half of them before the partial rounds.
const FULL_ROUNDS: usize = 8;
/// Partial rounds by width, from width 2: circomlib's table.
const PARTIAL_ROUNDS: [usize; 16] = [
    56, 57, 56, 60, 60, 63, 64, 63, 60, 66, 60, 65, 70, 60, 64, 68,
];
/// Elements that one step of the long hash takes in.
pub(crate) const BLOCK: usize = 16;

/// What a long hash is a hash of. With the length it is the first capacity element, so no two
/// uses can be confused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(crate) enum Domain {
    /// A leaf of the state tree.
    Leaf = 1,
    /// The risk table.
    Table = 2,
    /// The public words of a batch.
    Words = 3,
    /// The transcript that the challenges are squeezed from.
    Challenge = 4,
}

/// First capacity element of a long hash of `len` elements.
pub(crate) fn tag(domain: Domain, len: usize) -> Fr {
    Fr::from((domain as u64) << 32 | len as u64)
}

/// One linear form over the lanes that enter the partial rounds and the partial outputs so far.
pub(crate) struct Form {
    /// Over the S-box outputs of the last full round before.
    pub(crate) lanes: Vec<Fr>,
    /// Over the S-box outputs of the partial rounds before.
    pub(crate) partials: Vec<Fr>,
    /// Constant.
    pub(crate) constant: Fr,
}

/// The permutation of one width, in the shape described above.
pub(crate) struct Permutation {
    /// Constants of the full rounds. Those of the first round after the partial ones are zero
    /// here: they stand in `exit`.
    pub(crate) full: Vec<Vec<Fr>>,
    /// Mixing matrix.
    pub(crate) mix: Vec<Vec<Fr>>,
    /// S-box input of each partial round.
    pub(crate) partial: Vec<Form>,
    /// The lanes after the partial rounds, with the next round's constants.
    pub(crate) exit: Vec<Form>,
}

/// The Grain register: 80 bits, shifted towards bit 0.
struct Grain(u128);

impl Grain {
    fn new(width: usize, partial_rounds: usize) -> Self {
        let mut state = 0u128;
        let mut put = |first: u32, bits: u32, value: u128| {
            for k in 0..bits {
                state |= (value >> (bits - 1 - k) & 1) << (first + k);
            }
        };
        put(0, 2, 1); // prime field
        put(2, 4, 0); // x^5, not the inverse
        put(6, 12, u128::from(Fr::MODULUS_BIT_SIZE));
        put(18, 12, width as u128);
        put(30, 10, FULL_ROUNDS as u128);
        put(40, 10, partial_rounds as u128);
        put(50, 30, (1 << 30) - 1);
        let mut grain = Self(state);
        for _ in 0..160 {
            grain.step();
        }
        grain
    }

    fn step(&mut self) -> bool {
        let s = self.0;
        let bit = (s >> 62 ^ s >> 51 ^ s >> 38 ^ s >> 23 ^ s >> 13 ^ s) & 1;
        self.0 = s >> 1 | bit << 79;
        bit == 1
    }

    /// Self-shrinking output: of two bits the second counts, if the first is set.
    fn bit(&mut self) -> bool {
        while !self.step() {
            self.step();
        }
        self.step()
    }

    fn limbs(&mut self) -> [u64; 4] {
        let mut limbs = [0u64; 4];
        for place in (0..Fr::MODULUS_BIT_SIZE as usize).rev() {
            limbs[place / 64] |= u64::from(self.bit()) << (place % 64);
        }
        limbs
    }

    fn element(&mut self) -> Fr {
        loop {
            if let Some(value) = Fr::from_bigint(BigInt::new(self.limbs())) {
                return value;
            }
        }
    }

    /// Reduced, not rejected: so the reference draws the matrix.
    fn element_reduced(&mut self) -> Fr {
        let bytes: Vec<u8> = self.limbs().iter().flat_map(|l| l.to_le_bytes()).collect();
        Fr::from_le_bytes_mod_order(&bytes)
    }
}

/// Constants of all rounds, and the mixing matrix, of one width.
fn parameters(width: usize) -> (Vec<Vec<Fr>>, Vec<Vec<Fr>>) {
    let partial_rounds = PARTIAL_ROUNDS[width - 2];
    let mut grain = Grain::new(width, partial_rounds);
    let constants = (0..FULL_ROUNDS + partial_rounds)
        .map(|_| (0..width).map(|_| grain.element()).collect())
        .collect();
    let x: Vec<Fr> = (0..width).map(|_| grain.element_reduced()).collect();
    let y: Vec<Fr> = (0..width).map(|_| grain.element_reduced()).collect();
    let cauchy = |x: &Fr, y: &Fr| {
        (*x + y)
            .inverse()
            .expect("the register yields distinct points")
    };
    let mix = x
        .iter()
        .map(|x| y.iter().map(|y| cauchy(x, y)).collect())
        .collect();
    (constants, mix)
}

/// `x^5`.
fn fifth(x: Fr) -> Fr {
    let x2 = x.square();
    x2.square() * x
}

fn dot(row: &[Fr], values: &[Fr]) -> Fr {
    row.iter().zip(values).map(|(a, b)| *a * b).sum()
}

impl Form {
    fn zero(width: usize, partials: usize) -> Self {
        Self {
            lanes: vec![Fr::ZERO; width],
            partials: vec![Fr::ZERO; partials],
            constant: Fr::ZERO,
        }
    }

    fn add(&mut self, scale: &Fr, other: &Self) {
        let pairs = self.lanes.iter_mut().zip(&other.lanes);
        let partials = self.partials.iter_mut().zip(&other.partials);
        for (mine, theirs) in pairs.chain(partials) {
            *mine += *scale * theirs;
        }
        self.constant += *scale * other.constant;
    }

    pub(crate) fn value(&self, lanes: &[Fr], partials: &[Fr]) -> Fr {
        dot(&self.lanes, lanes) + dot(&self.partials, partials) + self.constant
    }
}

fn mixed(mix: &[Vec<Fr>], state: &[Form], partials: usize) -> Vec<Form> {
    mix.iter()
        .map(|row| {
            let mut sum = Form::zero(state.len(), partials);
            for (scale, form) in row.iter().zip(state) {
                sum.add(scale, form);
            }
            sum
        })
        .collect()
}

impl Permutation {
    fn new(width: usize) -> Self {
        let (constants, mix) = parameters(width);
        let half = FULL_ROUNDS / 2;
        let partial_rounds = PARTIAL_ROUNDS[width - 2];
        let entry: Vec<Form> = (0..width)
            .map(|lane| {
                let mut form = Form::zero(width, 0);
                form.lanes[lane] = Fr::ONE;
                form
            })
            .collect();
        let mut state = mixed(&mix, &entry, 0);
        let mut partial = Vec::with_capacity(partial_rounds);
        for (round, round_constants) in constants[half..half + partial_rounds].iter().enumerate() {
            for (form, constant) in state.iter_mut().zip(round_constants) {
                form.constant += constant;
            }
            let mut output = Form::zero(width, round + 1);
            output.partials[round] = Fr::ONE;
            partial.push(std::mem::replace(&mut state[0], output));
            state = mixed(&mix, &state, round + 1);
        }
        for (form, constant) in state.iter_mut().zip(&constants[half + partial_rounds]) {
            form.constant += constant;
        }
        let mut full: Vec<Vec<Fr>> = constants[..half].to_vec();
        full.push(vec![Fr::ZERO; width]);
        full.extend_from_slice(&constants[half + partial_rounds + 1..]);
        Self {
            full,
            mix,
            partial,
            exit: state,
        }
    }

    /// Width 5: nodes of the state tree and the state root.
    pub(crate) fn five() -> &'static Self {
        static FIVE: OnceLock<Permutation> = OnceLock::new();
        FIVE.get_or_init(|| Self::new(5))
    }

    /// Width 17: the long hash.
    pub(crate) fn seventeen() -> &'static Self {
        static SEVENTEEN: OnceLock<Permutation> = OnceLock::new();
        SEVENTEEN.get_or_init(|| Self::new(BLOCK + 1))
    }

    fn full_round(&self, round: usize, state: &mut [Fr]) {
        for (lane, constant) in state.iter_mut().zip(&self.full[round]) {
            *lane = fifth(*lane + constant);
        }
    }

    fn mixed(&self, state: &[Fr]) -> Vec<Fr> {
        self.mix.iter().map(|row| dot(row, state)).collect()
    }

    /// All lanes after the permutation.
    pub(crate) fn permute(&self, mut state: Vec<Fr>) -> Vec<Fr> {
        let half = FULL_ROUNDS / 2;
        for round in 0..half {
            self.full_round(round, &mut state);
            if round + 1 < half {
                state = self.mixed(&state);
            }
        }
        let mut partials = Vec::with_capacity(self.partial.len());
        for form in &self.partial {
            partials.push(fifth(form.value(&state, &partials)));
        }
        state = self
            .exit
            .iter()
            .map(|form| form.value(&state, &partials))
            .collect();
        for round in half..FULL_ROUNDS {
            self.full_round(round, &mut state);
            state = self.mixed(&state);
        }
        state
    }
}

/// `H(x1..x4)`: a node of the tree, or the state root.
pub(crate) fn hash4(inputs: &[Fr; 4]) -> Fr {
    let mut state = vec![Fr::ZERO];
    state.extend_from_slice(inputs);
    Permutation::five().permute(state)[0]
}

/// The last state of the long hash: element 0 is the hash.
pub(crate) fn long_state(domain: Domain, inputs: &[Fr]) -> Vec<Fr> {
    let mut state = vec![Fr::ZERO; BLOCK + 1];
    state[0] = tag(domain, inputs.len());
    for block in inputs.chunks(BLOCK) {
        state.truncate(1);
        state.extend_from_slice(block);
        state.resize(BLOCK + 1, Fr::ZERO);
        state = Permutation::seventeen().permute(state);
    }
    state
}

/// The long hash: blocks of 16, the first capacity element from domain and length, the last block
/// filled with zeros.
pub(crate) fn long_hash(domain: Domain, inputs: &[Fr]) -> Fr {
    long_state(domain, inputs)[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    // From circomlibjs 0.1.7: `p = await buildPoseidonReference()`, then
    // `p.F.toString(p([1,2,..], init, 1))`; poseidon-lite 0.3.0 (poseidon2, poseidon4, poseidon16)
    // gives the same numbers where init is 0.
    const T3_1_2: &str =
        "7853200120776062878684798364095072458815029376092732009249414926327459813530";
    const T5_1_TO_4: &str =
        "18821383157269793795438455681495246036402687001665670618754263018637548127333";
    const T5_ZEROS: &str =
        "2351654555892372227640888372176282444150254868378439619268573230312091195718";
    const T17_1_TO_16: &str =
        "9989051620750914585850546081941653841776809718687451684622678807385399211877";
    // `p([1..16], 7, 4)`
    const T17_INIT_7: [&str; 4] = [
        "19147069379069478326455243309150019974468116368525856156042820429662673156435",
        "5707421856567550591473827923984861916394970815101921667020735740677808616064",
        "8399936713182164849637321713291713502656983740245600335723869377425571186144",
        "15869767986043032599957805341944386411281310111830285903537868534860703868306",
    ];

    fn number(text: &str) -> Fr {
        Fr::from_str(text).expect("a decimal number")
    }

    fn counting(first: u64, n: u64) -> Vec<Fr> {
        (0..=n)
            .map(|i| Fr::from(if i == 0 { first } else { i }))
            .collect()
    }

    #[test]
    fn hashes_equal_those_of_circomlib() {
        assert_eq!(
            Permutation::new(3).permute(counting(0, 2))[0],
            number(T3_1_2)
        );
        assert_eq!(
            Permutation::five().permute(counting(0, 4))[0],
            number(T5_1_TO_4)
        );
        assert_eq!(hash4(&[Fr::ZERO; 4]), number(T5_ZEROS));
        let seventeen = Permutation::seventeen();
        assert_eq!(seventeen.permute(counting(0, 16))[0], number(T17_1_TO_16));
        let out = seventeen.permute(counting(7, 16));
        for (lane, expected) in out.iter().zip(T17_INIT_7) {
            assert_eq!(*lane, number(expected));
        }
    }

    /// The definition, round by round.
    fn permute_slowly(width: usize, mut state: Vec<Fr>) -> Vec<Fr> {
        let (constants, mix) = parameters(width);
        let half = FULL_ROUNDS / 2;
        for (round, round_constants) in constants.iter().enumerate() {
            for (lane, constant) in state.iter_mut().zip(round_constants) {
                *lane += constant;
            }
            let is_full = round < half || round >= constants.len() - half;
            let raised = if is_full { width } else { 1 };
            for lane in &mut state[..raised] {
                *lane = lane.pow([5]);
            }
            state = mix.iter().map(|row| dot(row, &state)).collect();
        }
        state
    }

    #[test]
    fn the_shortened_permutation_equals_the_definition() {
        for (width, permutation) in [(5, Permutation::five()), (17, Permutation::seventeen())] {
            let mut state: Vec<Fr> = (0..width as u64).map(|i| Fr::from(i * i + 3)).collect();
            for _ in 0..3 {
                let fast = permutation.permute(state.clone());
                assert_eq!(fast, permute_slowly(width, state));
                state = fast;
            }
        }
    }

    #[test]
    fn a_long_hash_depends_on_domain_and_length() {
        let zeros = [Fr::ZERO; 17];
        let one = long_hash(Domain::Leaf, &zeros[..16]);
        assert_ne!(one, long_hash(Domain::Leaf, &zeros));
        assert_ne!(one, long_hash(Domain::Leaf, &zeros[..15]));
        assert_ne!(one, long_hash(Domain::Words, &zeros[..16]));
    }
}
