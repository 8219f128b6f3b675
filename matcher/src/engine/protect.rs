//! What takes many orders off at once: mass cancels, protection groups, kill switch and locks, dead-man
//! timers, lost sessions, expiries. Each is one event; every order has a report of its own before the last.

use super::incoming::Marks;
use super::orders::reject;
use super::tracked::{ORDERS, QUOTES};
use super::{Cause, Engine, Stamp};
use crate::book::{Order, OrderBook};
use crate::outbox::Outbox;
use bytemuck::Zeroable;
use firmware::reject::RejectCode;
use firmware::units::{AccountId, InstrumentId, MemberId, TimeNs};
use firmware::wire::input::{
    InDeadMan, InKillSwitch, InLock, InMassCancel, InMmpConfig, InMmpReset, InOperatorCancel,
    InSession, SESSION_ESTABLISHED,
};
use firmware::wire::order::{
    FLAG_CANCEL_ON_DISCONNECT, KILL_LOCK, KillSwitch, MmpConfig, MmpReset, SCOPE_ORDERS,
    SCOPE_QUOTES,
};
use firmware::wire::report::{
    CANCEL_DEAD_MAN, CANCEL_DISCONNECT, CANCEL_EXPIRED, CANCEL_KILL_SWITCH, CANCEL_MASS,
    CANCEL_MMP, CANCEL_OPERATOR, DEAD_MAN_ARMED, DEAD_MAN_DISARMED, DEAD_MAN_FIRED, DeadManReport,
    KillSwitchAck, MMP_CONFIGURED, MMP_RESET, MassCancelAck, MmpEvent,
};
use firmware::wire::sbe::{BYTE_NULL, ID16_NULL, ID32_NULL};

/// Whose lock is on an account; bits.
pub(super) const LOCKED_BY_MEMBER: u8 = 1;
pub(super) const LOCKED_BY_VENUE: u8 = 2;

/// [`KillSwitchAck::by`]: the venue.
const BY_VENUE: u8 = 1;

impl<B: OrderBook> Engine<B> {
    /// Cancels the orders of an account for which `wanted` holds, oldest first, orders before quotes.
    pub(super) fn sweep_account(
        &mut self,
        stamp: &Stamp,
        account: AccountId,
        cause: Cause,
        wanted: impl Fn(&Order) -> bool,
        out: &mut Outbox,
    ) -> u32 {
        let mut count = 0;
        for list in [ORDERS, QUOTES] {
            let mut next = self.orders.first(account, list);
            while let Some(id) = next {
                next = self.orders.next(id);
                let order = self.book.get(id).expect("a tracked order rests");
                if wanted(&order) {
                    count += u32::from(self.remove_order(stamp, id, cause, out));
                }
            }
        }
        count
    }

    /// As [`Self::sweep_account`], for all accounts of a member.
    fn sweep_member(
        &mut self,
        stamp: &Stamp,
        member: MemberId,
        cause: Cause,
        wanted: impl Fn(&Order) -> bool,
        out: &mut Outbox,
    ) -> u32 {
        let mut count = 0;
        for at in 0.. {
            let Some(account) = self.account_of(member, at) else {
                return count;
            };
            count += self.sweep_account(stamp, account, cause, &wanted, out);
        }
        count
    }

    /// The `at`-th account of a member.
    fn account_of(&self, member: MemberId, at: usize) -> Option<AccountId> {
        let member = self.members.get(member.0 as usize)?.as_ref()?;
        member.accounts.get(at).copied()
    }

    pub(super) fn mass_cancel(&mut self, stamp: &Stamp, m: &InMassCancel, out: &mut Outbox) {
        self.counters.requests += 1;
        self.counters.acks += 1;
        let cause = cause!(m, CANCEL_MASS);
        let wanted = |o: &Order| {
            (m.instrument == ID16_NULL || o.instrument.0 == m.instrument)
                && (m.side == BYTE_NULL || o.side as u8 == m.side)
                && (m.mmp_group == BYTE_NULL || o.info.mmp_group() == m.mmp_group)
                && match m.scope {
                    SCOPE_ORDERS => !o.info.is_quote(),
                    SCOPE_QUOTES => o.info.is_quote(),
                    _ => true,
                }
        };
        let count = if m.account == ID32_NULL {
            self.sweep_member(stamp, stamp.member, cause, wanted, out)
        } else {
            self.sweep_account(stamp, AccountId(m.account), cause, wanted, out)
        };
        out.report(
            stamp.member,
            MassCancelAck {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                rx_time: m.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: m.account,
                count,
            },
        );
    }

    pub(super) fn operator_cancel(
        &mut self,
        stamp: &Stamp,
        m: &InOperatorCancel,
        out: &mut Outbox,
    ) {
        let cause = Cause::of(CANCEL_OPERATOR);
        let wanted = |o: &Order| m.instrument == ID16_NULL || o.instrument.0 == m.instrument;
        for at in 0..self.accounts.funded().len() {
            let id = self.accounts.funded()[at];
            let member = self.accounts.at(id).member.0;
            if (m.member == 0 || m.member == member)
                && (m.account == ID32_NULL || m.account == id.0)
            {
                self.sweep_account(stamp, id, cause, wanted, out);
            }
        }
    }

    // Protection groups.

    pub(super) fn mmp_config(&mut self, stamp: &Stamp, m: &InMmpConfig, out: &mut Outbox) {
        self.counters.requests += 1;
        if !self.groups.configure(m) {
            let refusal = refusal!(m, MmpConfig, ID16_NULL);
            return reject(stamp, refusal, RejectCode::Busy, out);
        }
        self.counters.acks += 1;
        let event = MmpEvent {
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            rx_time: m.rx_time,
            event: MMP_CONFIGURED,
            ..mmp_event(stamp, AccountId(m.account), m.mmp_group)
        };
        out.report(stamp.member, event);
    }

    pub(super) fn mmp_reset(&mut self, stamp: &Stamp, m: &InMmpReset, out: &mut Outbox) {
        self.counters.requests += 1;
        if !self.groups.reset(AccountId(m.account), m.mmp_group) {
            let refusal = refusal!(m, MmpReset, ID16_NULL);
            return reject(stamp, refusal, RejectCode::NoSuchMmpGroup, out);
        }
        self.counters.acks += 1;
        let event = MmpEvent {
            cl_ord_id: m.cl_ord_id,
            client_seq: m.client_seq,
            rx_time: m.rx_time,
            event: MMP_RESET,
            ..mmp_event(stamp, AccountId(m.account), m.mmp_group)
        };
        out.report(stamp.member, event);
    }

    /// Counts a fill of an order of a protection group.
    pub(super) fn note_fill(
        &mut self,
        account: AccountId,
        group: u8,
        instrument: InstrumentId,
        signed_lots: i64,
        stamp: &Stamp,
    ) {
        if group != 0 {
            let column = &self.table.columns[instrument.0 as usize];
            self.groups
                .count(account, group, stamp.time, signed_lots, column);
        }
    }

    /// Whether a group has reached a limit in this event.
    pub(super) fn is_triggered(&self, account: AccountId, group: u8) -> bool {
        self.groups
            .get(account, group)
            .is_some_and(|g| g.triggered.is_some())
    }

    /// Cancels the orders of all groups that reached a limit.
    pub(super) fn cancel_triggered(&mut self, stamp: &Stamp, out: &mut Outbox) {
        while let Some((account, group, event, frozen_until)) = self.groups.next_due() {
            let of_group = |o: &Order| o.info.mmp_group() == group;
            let cause = Cause::of(CANCEL_MMP);
            let count = self.sweep_account(stamp, account, cause, of_group, out);
            let member = self.accounts.at(account).member;
            let event = MmpEvent {
                frozen_until,
                count,
                event,
                ..mmp_event(stamp, account, group)
            };
            out.report(member, event);
        }
    }

    // Kill switch and locks.

    pub(super) fn kill_switch(&mut self, stamp: &Stamp, m: &InKillSwitch, out: &mut Outbox) {
        self.counters.requests += 1;
        let locks = m.action == KILL_LOCK;
        let one = (m.account != ID32_NULL).then_some(AccountId(m.account));
        let by_venue =
            one.is_some_and(|id| self.accounts.at(id).locks & LOCKED_BY_VENUE != 0) && !locks;
        if by_venue {
            let refusal = refusal!(m, KillSwitch, ID16_NULL);
            return reject(stamp, refusal, RejectCode::LockedByVenue, out);
        }
        self.counters.acks += 1;
        let cause = cause!(m, CANCEL_KILL_SWITCH);
        let member = stamp.member;
        let count = self.lock(stamp, member, one, locks, LOCKED_BY_MEMBER, cause, out);
        out.report(
            stamp.member,
            KillSwitchAck {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                rx_time: m.rx_time,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: m.account,
                count,
                action: m.action,
                by: 0,
                pad1: 0,
                pad2: 0,
            },
        );
    }

    /// The operator's lock.
    pub(super) fn operator_lock(&mut self, stamp: &Stamp, m: &InLock, out: &mut Outbox) {
        let one = (m.account != ID32_NULL).then_some(AccountId(m.account));
        let cause = Cause::of(CANCEL_KILL_SWITCH);
        let (member, locks) = (MemberId(m.member), m.action == KILL_LOCK);
        let count = self.lock(stamp, member, one, locks, LOCKED_BY_VENUE, cause, out);
        out.report(
            member,
            KillSwitchAck {
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                account: m.account,
                count,
                action: m.action,
                by: BY_VENUE,
                ..KillSwitchAck::zeroed()
            },
        );
    }

    /// Locks or unlocks an account, or all of a member; a lock cancels everything.
    #[expect(clippy::too_many_arguments, reason = "each is a part of one sentence")]
    fn lock(
        &mut self,
        stamp: &Stamp,
        member: MemberId,
        one: Option<AccountId>,
        locks: bool,
        bit: u8,
        cause: Cause,
        out: &mut Outbox,
    ) -> u32 {
        let mut count = 0;
        for at in 0.. {
            let Some(id) = self.account_of(member, at) else {
                break;
            };
            if one.is_some_and(|one| one != id) {
                continue;
            }
            let account = self.accounts.at(id);
            if locks {
                account.locks |= bit;
                count += self.sweep_account(stamp, id, cause, |_| true, out);
            } else {
                account.locks &= !bit;
            }
        }
        count
    }

    // Dead-man timer, lost sessions, expiry.

    pub(super) fn dead_man(&mut self, stamp: &Stamp, m: &InDeadMan, out: &mut Outbox) {
        self.counters.requests += 1;
        self.counters.acks += 1;
        let deadline = match m.timeout_ns {
            0 => 0,
            timeout => stamp.time.0.saturating_add(timeout),
        };
        if let Some(Some(member)) = self.members.get_mut(stamp.member.0 as usize) {
            member.dead_man = deadline;
        }
        self.next_dead_man = self.first_dead_man();
        out.report(
            stamp.member,
            DeadManReport {
                cl_ord_id: m.cl_ord_id,
                client_seq: m.client_seq,
                rx_time: m.rx_time,
                deadline,
                engine_time: stamp.time.0,
                engine_seq: stamp.seq.0,
                count: 0,
                event: if deadline == 0 {
                    DEAD_MAN_DISARMED
                } else {
                    DEAD_MAN_ARMED
                },
                pad1: 0,
                pad2: 0,
            },
        );
    }

    pub(super) fn first_dead_man(&self) -> u64 {
        let armed = self.members.iter().flatten().map(|m| m.dead_man);
        armed.filter(|t| *t != 0).min().unwrap_or(u64::MAX)
    }

    /// When the next order expires or dead-man timer fires: time should be sequenced then.
    #[must_use]
    pub fn next_deadline(&self) -> TimeNs {
        let expiry = self.orders.first_expiry().map_or(u64::MAX, |(t, _)| t.0);
        TimeNs(expiry.min(self.next_dead_man))
    }

    /// Cancels what has expired, and the orders of members whose dead-man timer has run out.
    pub(super) fn expire(&mut self, stamp: &Stamp, out: &mut Outbox) {
        while let Some((time, id)) = self.orders.first_expiry() {
            if time > stamp.time {
                break;
            }
            self.remove_order(stamp, id, Cause::of(CANCEL_EXPIRED), out);
        }
        if self.next_dead_man > stamp.time.0 {
            return;
        }
        for at in 0..self.members.len() {
            let Some(member) = &mut self.members[at] else {
                continue;
            };
            if member.dead_man == 0 || member.dead_man > stamp.time.0 {
                continue;
            }
            member.dead_man = 0;
            let member = MemberId(at as u32);
            let cause = Cause::of(CANCEL_DEAD_MAN);
            let count = self.sweep_member(stamp, member, cause, |_| true, out);
            out.report(
                member,
                DeadManReport {
                    engine_time: stamp.time.0,
                    engine_seq: stamp.seq.0,
                    count,
                    event: DEAD_MAN_FIRED,
                    ..DeadManReport::zeroed()
                },
            );
        }
        self.next_dead_man = self.first_dead_man();
    }

    pub(super) fn session(&mut self, stamp: &Stamp, m: &InSession, out: &mut Outbox) {
        let slot = self.members.get_mut(stamp.member.0 as usize);
        let Some(Some(member)) = slot else { return };
        if m.event == SESSION_ESTABLISHED {
            member.cod_policy = m.cod_policy;
            return;
        }
        let policy = member.cod_policy;
        if policy == 0 {
            return;
        }
        let wanted =
            |o: &Order| policy == 2 || o.info.wire_flags() & FLAG_CANCEL_ON_DISCONNECT != 0;
        let cause = Cause::of(CANCEL_DISCONNECT);
        self.sweep_member(stamp, stamp.member, cause, wanted, out);
    }
}

fn mmp_event(stamp: &Stamp, account: AccountId, group: u8) -> MmpEvent {
    MmpEvent {
        engine_time: stamp.time.0,
        engine_seq: stamp.seq.0,
        account: account.0,
        mmp_group: group,
        ..MmpEvent::zeroed()
    }
}
