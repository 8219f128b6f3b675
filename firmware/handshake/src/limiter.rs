//! A bound on login work per source address, in memory that does not grow.

use core::net::IpAddr;
use firmware::rate::TokenBucket;
use firmware::units::TimeNs;
use zeroize::Zeroizing;

/// Token buckets in a fixed table, found by a keyed hash of the address (IPv6: of its /64), so that
/// nobody can pick whom to collide with. Sources that collide share a bucket.
pub struct SourceLimiter {
    key: Zeroizing<[u8; 32]>,
    slots: Box<[TokenBucket]>,
}

impl SourceLimiter {
    /// `slots` buckets of `per_second` datagrams each.
    ///
    /// # Panics
    /// When `slots` is 0.
    #[must_use]
    pub fn new(slots: usize, per_second: u32) -> Self {
        assert!(slots > 0);
        Self {
            key: crate::random(),
            slots: vec![TokenBucket::new(per_second); slots].into(),
        }
    }

    /// Whether a datagram of this source may be worked on.
    #[must_use]
    pub fn allow(&mut self, from: IpAddr, now: TimeNs) -> bool {
        let mut id = [0; 9];
        match from {
            IpAddr::V4(a) => id[..4].copy_from_slice(&a.octets()),
            IpAddr::V6(a) => {
                id[..8].copy_from_slice(&a.octets()[..8]);
                id[8] = 6;
            }
        }
        let hash = blake3::keyed_hash(&self.key, &id);
        let word = u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("32 bytes"));
        let at = (word % self.slots.len() as u64) as usize;
        self.slots[at].take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_loud_source_does_not_silence_the_others() {
        let mut limiter = SourceLimiter::new(4096, 10);
        let now = TimeNs(1_000_000_000);
        let loud = IpAddr::from([10, 0, 0, 1]);
        let through = (0..1000).filter(|_| limiter.allow(loud, now)).count();
        assert_eq!(through, 10);
        let others = (0..100u8).map(|i| IpAddr::from([10, 0, 1, i]));
        let heard = others.filter(|a| limiter.allow(*a, now)).count();
        assert!(heard >= 98, "{heard} of 100");
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_share_a_bucket() {
        let mut limiter = SourceLimiter::new(64, 5);
        let now = TimeNs(1);
        let host = |n| IpAddr::from([0x2001, 0xdb8, 0, 7, n, 0, 0, n]);
        assert_eq!((0..50).filter(|n| limiter.allow(host(*n), now)).count(), 5);
    }
}
