//! Tag suites, and SipHash-2-4-128: the suite that a NIC core without AES instructions can afford.
//!
//! The other suite, AES-128-GMAC, needs a cipher and so lives in the `handshake` crate, together
//! with the keys.

/// Bytes of a SipHash key.
pub const SIPHASH_KEY_LEN: usize = 16;

/// How datagrams are tagged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Suite {
    /// No tag (16 zero bytes): lab only, and only on loopback.
    None = 0,
    /// AES-128-GMAC; the nonce is a 4-byte salt and the packet number, big-endian.
    Aes128Gmac = 1,
    /// SipHash-2-4 with 128 bits of output.
    SipHash24 = 2,
}

/// A set of suites as it stands in `Negotiate::suites`: bit `n` is the suite with the value `n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SuiteSet(pub u8);

impl Suite {
    /// From the wire byte.
    #[must_use]
    pub const fn from_wire(b: u8) -> Option<Self> {
        match b {
            0 => Some(Self::None),
            1 => Some(Self::Aes128Gmac),
            2 => Some(Self::SipHash24),
            _ => None,
        }
    }
}

impl core::fmt::Display for Suite {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Aes128Gmac => "aes-128-gmac",
            Self::SipHash24 => "siphash-2-4-128",
        })
    }
}

impl SuiteSet {
    /// Both real suites.
    pub const SAFE: Self = Self(1 << Suite::Aes128Gmac as u8 | 1 << Suite::SipHash24 as u8);

    /// The set of one suite.
    #[must_use]
    pub const fn only(suite: Suite) -> Self {
        Self(1 << suite as u8)
    }

    /// With `suite` added.
    #[must_use]
    pub const fn with(self, suite: Suite) -> Self {
        Self(self.0 | 1 << suite as u8)
    }

    /// Whether `suite` is in it.
    #[must_use]
    pub const fn has(self, suite: Suite) -> bool {
        self.0 & 1 << suite as u8 != 0
    }

    /// The best suite of both sets: GMAC before SipHash before none.
    #[must_use]
    pub const fn best_common(self, other: Self) -> Option<Suite> {
        let both = Self(self.0 & other.0);
        if both.has(Suite::Aes128Gmac) {
            Some(Suite::Aes128Gmac)
        } else if both.has(Suite::SipHash24) {
            Some(Suite::SipHash24)
        } else if both.has(Suite::None) {
            Some(Suite::None)
        } else {
            None
        }
    }
}

/// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF").
#[must_use]
pub fn siphash_2_4_128(key: &[u8; SIPHASH_KEY_LEN], data: &[u8]) -> [u8; 16] {
    let (k0, k1) = key.split_at(8);
    let (k0, k1) = (word(k0), word(k1));
    let mut s = SipState([
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ]);
    let (words, tail) = data.as_chunks::<8>();
    for w in words {
        s.absorb(u64::from_le_bytes(*w));
    }
    s.absorb(word(tail) | (data.len() as u64) << 56);
    s.0[2] ^= 0xee;
    let low = s.squeeze();
    s.0[1] ^= 0xdd;
    let high = s.squeeze();
    let mut out = [0; 16];
    out[..8].copy_from_slice(&low.to_le_bytes());
    out[8..].copy_from_slice(&high.to_le_bytes());
    out
}

/// Up to eight bytes as a little-endian word.
fn word(bytes: &[u8]) -> u64 {
    let mut b = [0; 8];
    b[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(b)
}

struct SipState([u64; 4]);

impl SipState {
    fn absorb(&mut self, m: u64) {
        self.0[3] ^= m;
        self.round();
        self.round();
        self.0[0] ^= m;
    }

    fn squeeze(&mut self) -> u64 {
        for _ in 0..4 {
            self.round();
        }
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }

    #[inline]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the reference implementation (`vectors_sip128`): key 00..0f, input 00, 01, ... of the length
    /// in the first column.
    const VECTORS: [(usize, u128); 9] = [
        (0, 0xa3817f04_ba25a8e6_6df67214_c7550293),
        (1, 0xda87c1d8_6b99af44_34765911_9b22fc45),
        (7, 0xa1f1ebbe_d8dbc153_c0b84aa6_1ff08239),
        (8, 0x3b62a9ba_6258f561_0f83e264_f31497b4),
        (15, 0x5493e999_33b0a811_7e08ec0f_97cfc3d9),
        (16, 0x6ee2a4ca_67b054bb_fd3315bf_85230577),
        (17, 0x473d06e8_738db898_54c066c4_7ae47740),
        (32, 0x7c3956ca_5eeafc3e_363e9d55_6546eb68),
        (63, 0x5150d177_2f50834a_503e069a_973fbd7c),
    ];

    #[test]
    fn siphash_gives_the_reference_vectors() {
        let key = core::array::from_fn(|i| i as u8);
        let input: [u8; 64] = core::array::from_fn(|i| i as u8);
        for (len, want) in VECTORS {
            let got = siphash_2_4_128(&key, &input[..len]);
            assert_eq!(u128::from_be_bytes(got), want, "length {len}");
        }
    }

    #[test]
    fn the_best_common_suite_is_never_none_when_a_real_one_is_shared() {
        for a in 0..8 {
            for b in 0..8 {
                let best = SuiteSet(a).best_common(SuiteSet(b));
                assert_eq!(best.is_none(), a & b == 0);
                if a & b > 1 {
                    assert_ne!(best, Some(Suite::None));
                }
                if let Some(s) = best {
                    assert!(SuiteSet(a).has(s) && SuiteSet(b).has(s));
                    assert_eq!(Suite::from_wire(s as u8), Some(s));
                }
            }
        }
    }
}
