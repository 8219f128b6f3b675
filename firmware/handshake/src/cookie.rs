//! The stateless cookie: shows that the client reads at its source address, at no cost in memory.

use core::net::SocketAddr;
use firmware::units::TimeNs;
use firmware::wire::session::Negotiate;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret makes cookies for so long, and they are taken for as long again, ns.
const BUCKET_NS: u64 = 30_000_000_000;

/// The rotating secret. A new random one every 30 s; the one before still counts.
pub(crate) struct CookieJar {
    bucket: u64,
    current: Zeroizing<[u8; 32]>,
    previous: Zeroizing<[u8; 32]>,
}

impl CookieJar {
    pub(crate) fn new() -> Self {
        Self {
            bucket: 0,
            current: crate::random(),
            previous: crate::random(),
        }
    }

    fn rotate(&mut self, now: TimeNs) {
        let bucket = now.0 / BUCKET_NS;
        // A clock that steps back must not bring back an old secret: it is gone.
        if bucket > self.bucket {
            let fresh = crate::random();
            let old = core::mem::replace(&mut self.current, fresh);
            self.previous = if bucket == self.bucket + 1 {
                old
            } else {
                crate::random()
            };
            self.bucket = bucket;
        }
    }

    /// The cookie for a request, whatever stands in its cookie and signature.
    pub(crate) fn make(&mut self, request: &Negotiate, from: SocketAddr, now: TimeNs) -> [u8; 32] {
        self.rotate(now);
        mac(&self.current, self.bucket, request, from)
    }

    /// Whether the request carries the cookie that was made for it at this address.
    pub(crate) fn check(&mut self, request: &Negotiate, from: SocketAddr, now: TimeNs) -> bool {
        self.rotate(now);
        let current = mac(&self.current, self.bucket, request, from);
        let previous = mac(&self.previous, self.bucket.wrapping_sub(1), request, from);
        (current.ct_eq(&request.cookie) | previous.ct_eq(&request.cookie)).into()
    }
}

fn mac(secret: &[u8; 32], bucket: u64, request: &Negotiate, from: SocketAddr) -> [u8; 32] {
    let bare = Negotiate {
        cookie: [0; 32],
        signature: [0; 64],
        ..*request
    };
    let mut h = blake3::Hasher::new_keyed(secret);
    h.update(&bucket.to_le_bytes());
    match from {
        SocketAddr::V4(a) => h.update(&[4]).update(&a.ip().octets()),
        SocketAddr::V6(a) => h.update(&[6]).update(&a.ip().octets()),
    };
    h.update(&from.port().to_le_bytes());
    h.update(bytemuck::bytes_of(&bare));
    *h.finalize().as_bytes()
}
