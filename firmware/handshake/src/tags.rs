//! Tags of datagrams: one key per direction.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use core::cell::RefCell;
use core::fmt;
use firmware::tag::{Suite, siphash_2_4_128};
use firmware::wire::datagram::TAG_LEN;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of key material per direction: key and salt.
pub(crate) const MATERIAL_LEN: usize = 20;

/// Seals or verifies the datagrams of one direction of one session.
#[derive(Clone)]
pub struct TagKey(Inner);

#[derive(Clone)]
enum Inner {
    None,
    Gmac(Box<Gmac>),
    SipHash(Zeroizing<[u8; 16]>),
}

/// Packets whose masks are made at once: as many blocks as the cipher takes side by side.
const MASKS: usize = 16;

/// Blocks of a short packet, such as one order, with the block of its lengths.
const SHORT: usize = 12;

/// AES-128-GMAC (NIST SP 800-38D): the GHASH of the bytes and their length, under a mask that the cipher
/// makes from the packet number.
///
/// Packet numbers follow each other, so the masks of the next ones are made in one call: a single block
/// costs the cipher nearly as much as sixteen.
#[derive(Clone)]
struct Gmac {
    cipher: Aes128,
    /// Keyed, nothing hashed yet.
    hash: GHash,
    /// Stands before the packet number in the nonce.
    salt: [u8; 4],
    masks: RefCell<Masks>,
}

/// Masks of `MASKS` packets from `first` on, if there are any yet.
#[derive(Clone)]
struct Masks {
    first: Option<u64>,
    blocks: Zeroizing<[[u8; TAG_LEN]; MASKS]>,
}

impl Gmac {
    fn new(key: &[u8; 16], salt: [u8; 4]) -> Self {
        let cipher = Aes128::new(key.into());
        let mut h = aes::Block::default();
        cipher.encrypt_block(&mut h);
        Self {
            cipher,
            hash: GHash::new(&h),
            salt,
            masks: RefCell::new(Masks {
                first: None,
                blocks: Zeroizing::default(),
            }),
        }
    }

    fn tag(&self, packet_no: u64, bytes: &[u8]) -> [u8; TAG_LEN] {
        let mut hash = self.hash.clone();
        // The lengths in bits of what is signed and of what is encrypted, which is nothing.
        let mut lengths = ghash::Block::default();
        lengths[..8].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
        let count = bytes.len().div_ceil(TAG_LEN) + 1;
        if count <= SHORT {
            // Blocks of zeros in front change nothing, and blocks by fours cost less than one by one.
            let mut blocks = [ghash::Block::default(); SHORT];
            let used = &mut blocks[..count.next_multiple_of(4)];
            let (last, data) = used.split_last_mut().expect("four blocks at least");
            let empty = data.len() + 1 - count;
            for (block, chunk) in data[empty..].iter_mut().zip(bytes.chunks(TAG_LEN)) {
                block[..chunk.len()].copy_from_slice(chunk);
            }
            *last = lengths;
            hash.update(used);
        } else {
            hash.update_padded(bytes);
            hash.update(&[lengths]);
        }
        let (digest, mask) = (hash.finalize(), self.mask(packet_no));
        core::array::from_fn(|i| digest[i] ^ mask[i])
    }

    fn mask(&self, packet_no: u64) -> [u8; TAG_LEN] {
        let mut masks = self.masks.borrow_mut();
        let ahead = masks.first.and_then(|first| packet_no.checked_sub(first));
        if let Some(at) = ahead.filter(|at| *at < MASKS as u64) {
            return masks.blocks[at as usize];
        }
        let mut blocks = [aes::Block::default(); MASKS];
        for (i, block) in blocks.iter_mut().enumerate() {
            block[..4].copy_from_slice(&self.salt);
            block[4..12].copy_from_slice(&packet_no.wrapping_add(i as u64).to_be_bytes());
            block[15] = 1;
        }
        self.cipher.encrypt_blocks(&mut blocks);
        for (mask, block) in masks.blocks.iter_mut().zip(blocks) {
            *mask = block.into();
        }
        masks.first = Some(packet_no);
        masks.blocks[0]
    }
}

/// The keys of a session.
#[derive(Clone, Debug)]
pub struct TagKeys {
    /// Client to venue.
    pub c2s: TagKey,
    /// Venue to client.
    pub s2c: TagKey,
}

impl TagKey {
    /// A key from 16 bytes of key and 4 bytes of salt; the salt is for GMAC only.
    #[must_use]
    pub fn new(suite: Suite, key: &[u8; 16], salt: [u8; 4]) -> Self {
        Self(match suite {
            Suite::None => Inner::None,
            Suite::Aes128Gmac => Inner::Gmac(Box::new(Gmac::new(key, salt))),
            Suite::SipHash24 => Inner::SipHash(Zeroizing::new(*key)),
        })
    }

    pub(crate) fn from_material(suite: Suite, material: &[u8; MATERIAL_LEN]) -> Self {
        let (key, salt) = material.split_at(16);
        let key = Zeroizing::new(<[u8; 16]>::try_from(key).expect("split at 16"));
        Self::new(suite, &key, salt.try_into().expect("20 bytes"))
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        match self.0 {
            Inner::None => Suite::None,
            Inner::Gmac(_) => Suite::Aes128Gmac,
            Inner::SipHash(_) => Suite::SipHash24,
        }
    }

    /// The tag of `bytes`, everything of the datagram before its tag.
    ///
    /// A packet number must never be sealed twice with different bytes: GMAC would give its key away.
    #[must_use]
    pub fn seal(&self, packet_no: u64, bytes: &[u8]) -> [u8; TAG_LEN] {
        match &self.0 {
            Inner::None => [0; TAG_LEN],
            Inner::Gmac(gmac) => gmac.tag(packet_no, bytes),
            // The packet number stands in the header, under the tag.
            Inner::SipHash(key) => siphash_2_4_128(key, bytes),
        }
    }

    /// Whether `tag` belongs to the packet; takes the same time wherever they differ.
    #[must_use]
    pub fn verify(&self, packet_no: u64, bytes: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        self.seal(packet_no, bytes).ct_eq(tag).into()
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagKey({})", self.suite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    /// NIST CAVP, `gcmEncryptExtIV128.rsp`, no plaintext, 128 bits of AAD; and the first test case of the
    /// GCM paper (McGrew, Viega), with no text at all. Salt and packet number together are the IV.
    #[test]
    fn gmac_gives_the_published_tags() {
        let nist = [
            (
                "77be63708971c4e240d1cb79e8d77feb",
                0xe0e0_0f19_u32,
                0xfed7_ba01_36a7_97f3_u64,
                "7a43ec1d9c0a5a78a0b16533a6213cab",
                "209fcc8d3675ed938e9c7166709dd946",
            ),
            (
                "7680c5d3ca6154758e510f4d25b98820",
                0xf8f1_05f9,
                0xc3df_4965_7803_21f8,
                "c94c410194c765e3dcc7964379758ed3",
                "94dca8edfcf90bb74b153c8d48a17930",
            ),
        ];
        for (key, salt, packet_no, aad, tag) in nist {
            let key = TagKey::new(Suite::Aes128Gmac, &hex(key), salt.to_be_bytes());
            assert_eq!(key.seal(packet_no, &hex::<16>(aad)), hex(tag));
        }
        let zero = TagKey::new(Suite::Aes128Gmac, &[0; 16], [0; 4]);
        assert_eq!(zero.seal(0, b""), hex("58e2fccefa7e3061367f1d57a4e7455a"));
    }

    #[test]
    fn gmac_agrees_with_a_whole_aead_for_packets_in_any_order() {
        use aes_gcm::aead::AeadInOut;
        let (key, salt) = ([0x42; 16], [9, 8, 7, 6]);
        let ours = TagKey::new(Suite::Aes128Gmac, &key, salt);
        let twin = aes_gcm::Aes128Gcm::new(&key.into());
        let bytes: Vec<u8> = (0..=255).cycle().take(1_500).collect();
        let far = [u64::MAX, u64::MAX - 3, 0, 1 << 48, u64::MAX];
        let numbers = (1..40).chain([38, 20, 5, 40, 90, 89]).chain(far);
        let anywhere = numbers.enumerate().map(|(i, no)| (no, i * 37 % 1_500));
        // Each length around the bound of a short packet.
        let lengths = (0..=260).map(|len| (1_000 + len as u64, len));
        for (packet_no, len) in anywhere.chain(lengths) {
            let bytes = &bytes[..len];
            let mut nonce = aes_gcm::Nonce::default();
            nonce[..4].copy_from_slice(&salt);
            nonce[4..].copy_from_slice(&packet_no.to_be_bytes());
            let tag = twin.encrypt_inout_detached(&nonce, bytes, (&mut [][..]).into());
            let want: [u8; 16] = tag.unwrap().into();
            assert_eq!(ours.seal(packet_no, bytes), want, "packet {packet_no}");
        }
    }

    #[test]
    fn a_flipped_bit_of_packet_number_bytes_or_tag_is_noticed() {
        let bytes: Vec<u8> = (0..90).collect();
        for suite in [Suite::Aes128Gmac, Suite::SipHash24] {
            let key = TagKey::new(suite, &[0x5a; 16], [1, 2, 3, 4]);
            let tag = key.seal(77, &bytes);
            assert!(key.verify(77, &bytes, &tag));
            for bit in 0..bytes.len() * 8 {
                let mut b = bytes.clone();
                b[bit / 8] ^= 1 << (bit % 8);
                assert!(!key.verify(77, &b, &tag), "{suite} byte bit {bit}");
            }
            for bit in 0..128 {
                let mut t = tag;
                t[bit / 8] ^= 1 << (bit % 8);
                assert!(!key.verify(77, &bytes, &t), "{suite} tag bit {bit}");
            }
            if suite == Suite::Aes128Gmac {
                for bit in 0..64 {
                    assert!(!key.verify(77 ^ 1 << bit, &bytes, &tag), "nonce bit {bit}");
                }
                let salted = TagKey::new(suite, &[0x5a; 16], [1, 2, 3, 5]);
                assert!(!salted.verify(77, &bytes, &tag));
            }
        }
    }

    #[test]
    fn suite_none_takes_only_the_zero_tag() {
        let key = TagKey::new(Suite::None, &[0; 16], [0; 4]);
        assert!(key.verify(1, b"x", &[0; 16]));
        let mut tag = [0; 16];
        tag[15] = 1;
        assert!(!key.verify(1, b"x", &tag));
    }
}
