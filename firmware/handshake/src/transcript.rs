//! What is signed and hashed in a login, and the keys that come out: the same code at both ends.

use crate::tags::{MATERIAL_LEN, TagKey, TagKeys};
use crate::{DOMAIN_RESPONSE, PublicKey};
use core::mem::offset_of;
use firmware::tag::Suite;
use firmware::wire::session::{Negotiate, NegotiateResponse};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use x25519_dalek::SharedSecret;
use zeroize::Zeroizing;

/// All fields of a Negotiate before its signature.
pub(crate) fn negotiate_part(m: &Negotiate) -> &[u8] {
    &bytemuck::bytes_of(m)[..offset_of!(Negotiate, signature)]
}

/// SHA-256 over domain string, the signed Negotiate whole, all fields of the response before its
/// signature, and the venue's public key.
pub(crate) fn transcript_hash(
    request: &Negotiate,
    response: &NegotiateResponse,
    venue: &PublicKey,
) -> [u8; 32] {
    let part = &bytemuck::bytes_of(response)[..offset_of!(NegotiateResponse, signature)];
    Sha256::new()
        .chain_update(DOMAIN_RESPONSE)
        .chain_update(bytemuck::bytes_of(request))
        .chain_update(part)
        .chain_update(venue.to_bytes())
        .finalize()
        .into()
}

/// HKDF-SHA256 of the shared secret, salted with the transcript hash: 16 bytes of key and 4 of salt for
/// each of the labels "c2s" and "s2c". `None` when the secret is all zero.
pub(crate) fn session_keys(
    suite: Suite,
    shared: &SharedSecret,
    transcript: &[u8; 32],
) -> Option<TagKeys> {
    let [c2s, s2c] = key_material(shared, transcript)?;
    Some(TagKeys {
        c2s: TagKey::from_material(suite, &c2s),
        s2c: TagKey::from_material(suite, &s2c),
    })
}

/// Key and salt of each direction, as 20 bytes.
pub(crate) fn key_material(
    shared: &SharedSecret,
    transcript: &[u8; 32],
) -> Option<[Zeroizing<[u8; MATERIAL_LEN]>; 2]> {
    if !shared.was_contributory() {
        return None;
    }
    let kdf = Hkdf::<Sha256>::new(Some(transcript), shared.as_bytes());
    let material = |label: &[u8]| {
        let mut material = Zeroizing::new([0; MATERIAL_LEN]);
        kdf.expand(label, material.as_mut())
            .expect("20 bytes are within HKDF's bound");
        material
    };
    Some([material(b"c2s"), material(b"s2c")])
}
