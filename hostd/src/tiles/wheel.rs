//! One timer a member, in a wheel: setting, moving and dropping one costs the same for any number of members,
//! and only what is due is looked at.
//!
//! ```text
//! slot       0    1    2   ...            each slot is 2 ms of time, and a list of members
//!                 │
//!                 ▼ now                   a deadline beyond the wheel stands in its last slot and is
//!                                         put in again from there
//! ```
//!
//! A timer may come early by less than a slot, or because its deadline was beyond the wheel, and never later
//! than the first look after its slot has passed: who owns the deadline checks it.

use firmware::limits::GATE_MEMBERS;
use firmware::units::{MemberId, TimeNs};

/// Time that one slot stands for, ns.
pub const SLOT_NS: u64 = 2_000_000;
/// Slots: two seconds.
const SLOTS: u64 = 1_024;
/// No member: the end of a list, or a timer that is not set.
const NONE: u16 = u16::MAX;

const _: () = assert!(GATE_MEMBERS < NONE as usize && SLOTS < NONE as u64);

#[derive(Clone, Copy, Debug)]
struct Timer {
    slot: u16,
    before: u16,
    after: u16,
}

const UNSET: Timer = Timer {
    slot: NONE,
    before: NONE,
    after: NONE,
};

/// The wheel. Its memory is taken when it is made.
#[derive(Clone, Debug)]
pub struct Wheel {
    /// First member of each slot's list.
    heads: Box<[u16]>,
    /// By member.
    timers: Box<[Timer]>,
    /// The slot that is looked at next, counted from the epoch.
    cursor: u64,
}

impl Wheel {
    /// A wheel without timers that begins to turn at `now`.
    #[must_use]
    pub fn new(now: TimeNs) -> Self {
        Self {
            heads: vec![NONE; SLOTS as usize].into(),
            timers: vec![UNSET; GATE_MEMBERS].into(),
            cursor: now.0 / SLOT_NS,
        }
    }

    /// Sets or moves a member's timer.
    pub fn set(&mut self, member: MemberId, deadline: TimeNs) {
        self.clear(member);
        // A deadline of the past is due in the slot that is looked at next.
        let at = (deadline.0 / SLOT_NS).clamp(self.cursor, self.cursor + SLOTS - 1);
        let slot = (at % SLOTS) as u16;
        let (id, head) = (member.0 as u16, self.heads[slot as usize]);
        self.timers[id as usize] = Timer {
            slot,
            before: NONE,
            after: head,
        };
        if head != NONE {
            self.timers[head as usize].before = id;
        }
        self.heads[slot as usize] = id;
    }

    /// Drops a member's timer, if it is set.
    pub fn clear(&mut self, member: MemberId) {
        let timer = std::mem::replace(&mut self.timers[member.0 as usize], UNSET);
        if timer.slot == NONE {
            return;
        }
        if timer.before == NONE {
            self.heads[timer.slot as usize] = timer.after;
        } else {
            self.timers[timer.before as usize].after = timer.after;
        }
        if timer.after != NONE {
            self.timers[timer.after as usize].before = timer.before;
        }
    }

    /// Takes a timer whose slot has begun; `None` when there is none. To be called until then, or with a
    /// bound: what is left comes with the next call.
    pub fn pop(&mut self, now: TimeNs) -> Option<MemberId> {
        let current = now.0 / SLOT_NS;
        // After a long sleep each slot is looked at once.
        self.cursor = self.cursor.max((current + 1).saturating_sub(SLOTS));
        while self.cursor <= current {
            let head = self.heads[(self.cursor % SLOTS) as usize];
            if head != NONE {
                let member = MemberId(u32::from(head));
                self.clear(member);
                return Some(member);
            }
            if self.cursor == current {
                break;
            }
            self.cursor += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_timer_comes_in_its_slot_and_once() {
        let mut wheel = Wheel::new(TimeNs(0));
        let member = MemberId(3);
        wheel.set(member, TimeNs(10 * SLOT_NS));
        assert_eq!(wheel.pop(TimeNs(10 * SLOT_NS - 1)), None);
        assert_eq!(wheel.pop(TimeNs(10 * SLOT_NS)), Some(member));
        assert_eq!(wheel.pop(TimeNs(u64::MAX / 2)), None);
    }

    #[test]
    fn a_deadline_of_the_past_is_due_at_once_and_one_beyond_the_wheel_comes_early() {
        let start = TimeNs(1_800_000_000_000_000_000);
        let mut wheel = Wheel::new(start);
        wheel.set(MemberId(1), TimeNs(0));
        wheel.set(MemberId(2), TimeNs(start.0 + 2 * SLOTS * SLOT_NS));
        assert_eq!(wheel.pop(start), Some(MemberId(1)));
        assert_eq!(wheel.pop(start), None);
        let end = TimeNs(start.0 + (SLOTS - 1) * SLOT_NS);
        assert_eq!(wheel.pop(end), Some(MemberId(2)));
    }

    proptest! {
        #[test]
        fn no_timer_is_early_by_a_slot_late_or_lost(
            steps in prop::collection::vec((1..40_u32, 0..SLOTS * SLOT_NS / 2, 0..3 * SLOT_NS, any::<bool>()), 1..300)
        ) {
            let mut now = TimeNs(77 * SLOT_NS);
            let mut wheel = Wheel::new(now);
            let mut slow = BTreeMap::new();
            for (id, after, pass, is_set) in steps {
                let member = MemberId(id);
                if is_set {
                    let deadline = TimeNs(now.0 + after);
                    wheel.set(member, deadline);
                    slow.insert(id, deadline);
                } else {
                    wheel.clear(member);
                    slow.remove(&id);
                }
                now.0 += pass;
                while let Some(MemberId(id)) = wheel.pop(now) {
                    let deadline = slow.remove(&id);
                    prop_assert!(deadline.is_some_and(|d| d.0 / SLOT_NS <= now.0 / SLOT_NS));
                }
                prop_assert!(slow.values().all(|d| d.0 / SLOT_NS > now.0 / SLOT_NS));
            }
        }
    }
}
