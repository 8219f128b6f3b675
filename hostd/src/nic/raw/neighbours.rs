//! Where neighbours live: a table of fixed size, by address.

use firmware::wire::frame::Mac;
use std::net::Ipv4Addr;

/// Sets and places of each; an address has one set.
const SETS: usize = 512;
const WAYS: usize = 8;

/// An unanswered question is asked again after this, ns.
pub(super) const ASK_NS: u64 = 500_000_000;
/// Questions before a neighbour counts as silent.
const TRIES: u8 = 4;
/// An answer is trusted for so long, then asked for again while it is still used, ns.
const FRESH_NS: u64 = 30_000_000_000;

/// What the table knows of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Look {
    /// Where it lives, if that is known.
    pub(super) mac: Option<Mac>,
    /// Now is the time to ask.
    pub(super) ask: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Unspecified: free.
    ip: Ipv4Addr,
    mac: Option<Mac>,
    is_static: bool,
    /// Questions since the last answer.
    tries: u8,
    answered: u64,
    asked: u64,
    used: u64,
}

const FREE: Entry = Entry {
    ip: Ipv4Addr::UNSPECIFIED,
    mac: None,
    is_static: false,
    tries: 0,
    answered: 0,
    asked: 0,
    used: 0,
};

/// The table. Times are of one clock, in ns.
pub(super) struct Neighbours {
    sets: Box<[[Entry; WAYS]]>,
}

impl Neighbours {
    pub(super) fn new() -> Self {
        Self {
            sets: vec![[FREE; WAYS]; SETS].into_boxed_slice(),
        }
    }

    /// Looks an address up that something is to be sent to. One that is not there gets a place, if need be that of
    /// the one which was used longest ago; of those, one that never answered goes first.
    #[inline]
    pub(super) fn look(&mut self, ip: Ipv4Addr, now: u64) -> Look {
        let Some(entry) = self.place(ip, now) else {
            return Look {
                mac: None,
                ask: false,
            };
        };
        entry.used = now;
        let is_fresh = entry.mac.is_some() && now.saturating_sub(entry.answered) < FRESH_NS;
        let ask = !entry.is_static && !is_fresh && entry.is_time_to_ask(now);
        if ask {
            entry.ask(now);
        }
        Look {
            mac: entry.mac,
            ask,
        }
    }

    /// Whether an address that something waits for should be asked for again; `None` while it is silent, which ends
    /// with the next [`look`](Self::look), or when it is gone from the table.
    pub(super) fn again(&mut self, ip: Ipv4Addr, now: u64) -> Option<bool> {
        let entry = self.find(ip)?;
        if !entry.is_time_to_ask(now) {
            return Some(false);
        }
        if entry.tries >= TRIES {
            return None;
        }
        entry.ask(now);
        Some(true)
    }

    /// Where an address lives, if that is known.
    pub(super) fn known(&mut self, ip: Ipv4Addr) -> Option<Mac> {
        self.find(ip)?.mac
    }

    /// A neighbour said where it lives. Without `create` only one that we have asked for is believed. An entry that
    /// was set stays.
    pub(super) fn answered(&mut self, ip: Ipv4Addr, mac: Mac, create: bool, now: u64) {
        let entry = if create {
            self.place(ip, now)
        } else {
            self.find(ip)
        };
        if let Some(entry) = entry.filter(|e| !e.is_static) {
            entry.mac = Some(mac);
            entry.answered = now;
            entry.tries = 0;
        }
    }

    /// Nobody answers for an address any more.
    pub(super) fn lost(&mut self, ip: Ipv4Addr) {
        if let Some(entry) = self.find(ip).filter(|e| !e.is_static) {
            entry.mac = None;
        }
    }

    /// Sets an entry for good; false if too many of its set are.
    #[must_use]
    pub(super) fn set(&mut self, ip: Ipv4Addr, mac: Mac) -> bool {
        let Some(entry) = self.place(ip, 0) else {
            return false;
        };
        entry.mac = Some(mac);
        entry.is_static = true;
        true
    }

    fn set_of(&mut self, ip: Ipv4Addr) -> &mut [Entry; WAYS] {
        // The high bits of a product spread neighbouring addresses.
        let hash = ip.to_bits().wrapping_mul(0x9e37_79b1) >> 16;
        &mut self.sets[hash as usize % SETS]
    }

    fn find(&mut self, ip: Ipv4Addr) -> Option<&mut Entry> {
        self.set_of(ip).iter_mut().find(|e| e.ip == ip)
    }

    fn place(&mut self, ip: Ipv4Addr, now: u64) -> Option<&mut Entry> {
        let set = self.set_of(ip);
        if let Some(at) = set.iter().position(|e| e.ip == ip) {
            return Some(&mut set[at]);
        }
        let worth = |e: &Entry| (!e.ip.is_unspecified(), e.is_static, e.mac.is_some(), e.used);
        let entry = set.iter_mut().min_by_key(|e| worth(e))?;
        if entry.is_static {
            return None;
        }
        *entry = Entry {
            ip,
            used: now,
            ..FREE
        };
        Some(entry)
    }
}

impl Entry {
    fn is_time_to_ask(&self, now: u64) -> bool {
        self.tries == 0 || now.saturating_sub(self.asked) >= ASK_NS
    }

    fn ask(&mut self, now: u64) {
        self.asked = now;
        self.tries = self.tries.saturating_add(1);
        if self.tries > TRIES {
            // It does not answer, or no longer does.
            self.mac = None;
            self.tries = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn look(mac: Option<Mac>, ask: bool) -> Look {
        Look { mac, ask }
    }

    #[test]
    fn a_neighbour_is_asked_for_until_it_answers_or_counts_as_silent() {
        let mut table = Neighbours::new();
        assert_eq!(table.look(A, 0), look(None, true));
        assert_eq!(table.look(A, ASK_NS - 1), look(None, false));
        for n in 1..u64::from(TRIES) {
            assert_eq!(table.again(A, n * ASK_NS), Some(true));
            assert_eq!(table.again(A, n * ASK_NS), Some(false));
        }
        let end = u64::from(TRIES) * ASK_NS;
        assert_eq!(table.again(A, end), None, "silent");
        assert_eq!(table.again(A, end), None, "for all that waits");
        // The next datagram begins anew.
        assert_eq!(table.look(A, end), look(None, true));
        table.answered(A, MAC, false, end + 1);
        assert_eq!(table.look(A, end + 1), look(Some(MAC), false));
        assert_eq!(table.known(A), Some(MAC));
    }

    #[test]
    fn an_answer_is_asked_for_again_when_it_is_old_and_forgotten_when_none_comes() {
        let mut table = Neighbours::new();
        table.answered(A, MAC, true, 0);
        assert_eq!(table.look(A, FRESH_NS - 1), look(Some(MAC), false));
        for n in 0..u64::from(TRIES) {
            let want = look(Some(MAC), true);
            assert_eq!(table.look(A, FRESH_NS + n * ASK_NS), want);
            assert!(!table.look(A, FRESH_NS + n * ASK_NS).ask);
        }
        let late = FRESH_NS + u64::from(TRIES) * ASK_NS;
        assert_eq!(table.look(A, late), look(None, true));
        table.answered(A, OTHER, false, late);
        assert_eq!(table.look(A, late + 1), look(Some(OTHER), false), "moved");
        table.lost(A);
        assert_eq!(table.look(A, late + 2), look(None, true));
    }

    #[test]
    fn what_nobody_asked_for_is_not_believed() {
        let mut table = Neighbours::new();
        table.answered(A, MAC, false, 0);
        assert_eq!(table.known(A), None);
        assert!(table.set(A, MAC));
        table.answered(A, OTHER, true, 1);
        table.lost(A);
        let old = u64::MAX / 2;
        assert_eq!(table.look(A, old), look(Some(MAC), false), "set for good");
    }

    #[test]
    fn those_that_never_answer_cannot_push_out_those_that_do() {
        let mut table = Neighbours::new();
        let address = |n: u32| Ipv4Addr::from_bits(A.to_bits() + n);
        for n in 0..1000 {
            table.answered(address(n), MAC, true, 1);
        }
        // Two networks of addresses that do not exist, all of them used later.
        for n in 1000..200_000 {
            table.look(address(n), 2);
        }
        let kept = (0..1000).filter(|n| table.known(address(*n)).is_some());
        assert_eq!(kept.count(), 1000);
    }
}
