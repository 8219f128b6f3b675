//! The scalar field of BN254, and the few ways in and out of it.

pub(crate) use ark_bn254::Fr;
use ark_ff::{BigInteger, PrimeField};

/// A field element, big-endian, below the field's modulus.
pub type Word = [u8; 32];

/// A signed integer: negative values wrap to the top of the field.
pub(crate) fn signed(v: i128) -> Fr {
    let magnitude = Fr::from(v.unsigned_abs());
    if v < 0 { -magnitude } else { magnitude }
}

/// Whether an element stands for a negative integer: lies in the upper half of the field.
pub(crate) fn is_negative(value: &Fr) -> bool {
    value.into_bigint() > Fr::MODULUS_MINUS_ONE_DIV_TWO
}

/// Big-endian bytes; `None` if they are not below the modulus.
pub(crate) fn from_word(word: &Word) -> Option<Fr> {
    let mut limbs = [0u64; 4];
    for (limb, chunk) in limbs.iter_mut().zip(word.rchunks_exact(8)) {
        *limb = chunk
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    Fr::from_bigint(ark_ff::BigInt::new(limbs))
}

/// Big-endian bytes.
pub(crate) fn to_word(value: &Fr) -> Word {
    let mut word = [0u8; 32];
    word.copy_from_slice(&value.into_bigint().to_bytes_be());
    word
}

/// An L1 address as an integer below 2^160.
pub(crate) fn address(bytes: &[u8; 20]) -> Fr {
    Fr::from_be_bytes_mod_order(bytes)
}

/// 256 bits with the top three cleared: below 2^253, and so below the modulus.
pub(crate) fn low_253(mut bytes: [u8; 32]) -> Fr {
    bytes[0] &= 0x1f;
    Fr::from_be_bytes_mod_order(&bytes)
}

/// `2^n`.
pub(crate) fn power_of_two(n: u32) -> Fr {
    let mut limbs = [0u64; 4];
    limbs[(n / 64) as usize] = 1 << (n % 64);
    Fr::new(ark_ff::BigInt::new(limbs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::Field;

    #[test]
    fn words_at_or_above_the_modulus_are_refused_and_others_come_back() {
        let top = to_word(&-Fr::from(1u64));
        assert_eq!(from_word(&top), Some(-Fr::from(1u64)));
        let mut modulus = top;
        modulus[31] += 1;
        assert_eq!(from_word(&modulus), None);
        assert_eq!(from_word(&[0xff; 32]), None);
        assert_eq!(signed(-5) + Fr::from(5u64), Fr::from(0u64));
        assert!(
            is_negative(&signed(-1))
                && !is_negative(&signed(0))
                && !is_negative(&signed(i128::MAX))
        );
        assert_eq!(power_of_two(100), Fr::from(2u64).pow([100]));
    }
}
