//! The part of the gateway that sends: connections, what waits for them, and their timers. What a turn costs
//! grows with what there is to do, never with how many sessions are open.

use super::flows::{Flow, Flows};
use super::spool_link::SpoolLink;
use crate::machine::clock::Clock;
use crate::member_set::MemberSet;
use crate::nic::Nic;
use crate::tiles::egress::{Egress, FIRST_REPORT, Left};
use crate::tiles::lanes::{ReadPurpose, SpoolRead};
use crate::tiles::sessions::{Connection, Connections};
use crate::tiles::wheel::{SLOT_NS, Wheel};
use firmware::rate::TokenBucket;
use firmware::session::{RetransmitRefusal, TerminateReason, Terms};
use firmware::units::{MemberId, TimeNs};
use firmware::wire::report::Report;
use firmware::wire::session::{RetransmitRequest, Terminate};

/// With more datagrams waiting than one burst takes, a silent member is given this much longer, ns: what
/// would save it may be among them.
const LOSS_GRACE_NS: u64 = 1_000_000_000;

/// Retransmissions a second, of all members together.
const RETRANSMISSIONS_PER_SECOND: u32 = 50_000;
/// A client that asks while a read is under way may ask again after this time, ms.
const BUSY_RETRY_MS: u32 = 5;

pub(super) struct TileIo {
    pub(super) connections: Connections,
    pub(super) egress: Egress,
    pub(super) spool: SpoolLink,
    pub(super) flows: Flows,
    retransmissions: TokenBucket,
    /// One a live connection, for heartbeats and loss.
    wheel: Wheel,
    /// Members with reports that were not all sent.
    waiting: MemberSet,
    /// The NIC was full in the middle of the waiting members: the next turn goes on with this one.
    held_at: Option<MemberId>,
}

impl TileIo {
    pub(super) fn new(egress: Egress, spool: SpoolLink, flows: Flows, now: TimeNs) -> Self {
        Self {
            connections: Connections::new(),
            egress,
            spool,
            flows,
            retransmissions: TokenBucket::new(RETRANSMISSIONS_PER_SECOND),
            wheel: Wheel::new(now),
            waiting: MemberSet::new(),
            held_at: None,
        }
    }

    /// Takes a member's next report: it waits here until it is durable.
    pub(super) fn report(&mut self, member: MemberId, report: &Report) {
        let Some(flow) = self.flows.get_mut(member) else {
            return;
        };
        flow.reports.push(*report);
        self.egress.expect(report.engine_seq());
        self.waiting.insert(member);
        self.spool.report(member, report, &mut self.egress.counters);
    }

    /// Takes the next member whose timer is due, sends its heartbeat if that is why, and gives the
    /// reason if the session is over. `is_drained`: nothing that came in waits to be heard.
    pub(super) fn due<N: Nic>(
        &mut self,
        now: TimeNs,
        is_drained: bool,
        nic: &mut N,
    ) -> Option<(MemberId, Option<TerminateReason>)> {
        let member = self.wheel.pop(now)?;
        self.egress.counters.timer_looks += 1;
        let Some((c, flow)) = pair(&mut self.connections, &self.flows, member) else {
            return Some((member, None));
        };
        let grace = if is_drained { 0 } else { LOSS_GRACE_NS };
        if c.keep_alive.lost_for(now, grace) {
            return Some((member, Some(TerminateReason::TimedOut)));
        }
        if c.keys_used_up() {
            return Some((member, Some(TerminateReason::KeysUsedUp)));
        }
        if c.keep_alive.heartbeat_due(now) {
            self.egress.heartbeat(nic, c, flow, now);
        }
        // What could not be done now is looked at again in the next slot.
        let next = c.keep_alive.next_deadline().0.max(now.0 + SLOT_NS);
        self.wheel.set(member, TimeNs(next));
        Some((member, None))
    }

    /// Answers an Establish; of a fresh connection it also sets where the flow of reports goes on.
    pub(super) fn acknowledge<N: Nic>(
        &mut self,
        member: MemberId,
        is_fresh: bool,
        terms: &Terms,
        now: TimeNs,
        nic: &mut N,
    ) {
        let Some((c, flow)) = pair(&mut self.connections, &self.flows, member) else {
            return;
        };
        self.egress.acknowledge(nic, c, flow, is_fresh, terms, now);
        self.wheel.set(member, c.keep_alive.next_deadline());
        if is_fresh {
            self.waiting.insert(member);
        }
    }

    /// Answers a RetransmitRequest: with one datagram, now or when the spool has read it, or with the reason.
    pub(super) fn retransmit<N: Nic>(
        &mut self,
        member: MemberId,
        m: &RetransmitRequest,
        now: TimeNs,
        nic: &mut N,
    ) {
        let Some((c, flow)) = pair(&mut self.connections, &self.flows, member) else {
            return;
        };
        let allowed = allow(c, &mut self.retransmissions, m, now);
        let refused = match allowed {
            Ok(()) if m.from_seq_no >= flow.reports.first() => {
                return self.egress.retransmit(nic, c, flow, m, now);
            }
            Ok(()) => {
                let read = SpoolRead {
                    member,
                    conn_id: c.conn_id,
                    from: m.from_seq_no,
                    count: (c.next_report - m.from_seq_no).min(m.count.into()) as u32,
                    durable: self.egress.durable(),
                    purpose: ReadPurpose::Retransmission,
                };
                if self.spool.read(read) {
                    c.is_reading = true;
                    self.egress.counters.spool_reads += 1;
                    return;
                }
                (RetransmitRefusal::Busy, BUSY_RETRY_MS)
            }
            Err(refused) => refused,
        };
        self.egress.refuse_retransmission(nic, c, m, refused, now);
    }

    /// Sends what the spool has read; returns how many answers came.
    pub(super) fn take_spooled<N: Nic>(&mut self, clock: &mut impl Clock, nic: &mut N) -> usize {
        if !self.spool.has_answers() {
            return 0;
        }
        let (mut taken, now) = (0, clock.now());
        while let Some(answer) = self.spool.answer() {
            taken += 1;
            let read = answer.read;
            let Some((c, flow)) = pair(&mut self.connections, &self.flows, read.member)
                .filter(|(c, _)| c.conn_id == read.conn_id)
            else {
                continue;
            };
            match read.purpose {
                ReadPurpose::Retransmission => {
                    c.is_reading = false;
                    // Without an answer the client asks again.
                    if answer.count > 0 && self.egress.spooled(nic, c, flow, &answer, now) {
                        self.egress.counters.retransmissions += 1;
                    }
                }
                ReadPurpose::FirstTime => {
                    c.is_catching_up = false;
                    if answer.count > 0
                        && read.from == c.next_report
                        && self.egress.spooled(nic, c, flow, &answer, now)
                    {
                        c.next_report += u64::from(answer.count);
                    }
                    self.waiting.insert(read.member);
                    if answer.count > 0 {
                        let after = MemberId(read.member.0 + 1);
                        self.send_reports(read.member, Some(after), now, nic);
                    }
                }
            }
        }
        if taken > 0 {
            nic.flush();
        }
        taken
    }

    /// Ends a member's live connection; with a reason the member is told.
    pub(super) fn close<N: Nic>(
        &mut self,
        member: MemberId,
        reason: TerminateReason,
        now: TimeNs,
        nic: &mut N,
    ) -> Option<Connection> {
        self.wheel.clear(member);
        let mut connection = self.connections.close(member)?;
        self.terminate(&mut connection, reason, now, nic);
        Some(connection)
    }

    /// Tells a client that its connection is over.
    pub(super) fn terminate<N: Nic>(
        &mut self,
        connection: &mut Connection,
        reason: TerminateReason,
        now: TimeNs,
        nic: &mut N,
    ) {
        let bye = Terminate {
            session_id: connection.session_id,
            reason: reason as u16,
            pad1: 0,
            pad2: 0,
        };
        self.egress.session(nic, connection, &bye, now);
    }

    /// Sends what has become durable; returns how much that was.
    pub(super) fn let_out<N: Nic>(&mut self, durable: u64, now: TimeNs, nic: &mut N) -> usize {
        let has_moved = durable > self.egress.durable();
        self.egress.advance(durable);
        let mut sent = 0;
        if has_moved || self.held_at.is_some() {
            // Where the NIC was full it goes on: members of low numbers have no right of way.
            let start = self.held_at.take().unwrap_or(MemberId(0));
            sent += self.send_reports(start, None, now, nic);
            if self.held_at.is_none() && start.0 > 0 {
                sent += self.send_reports(MemberId(0), Some(start), now, nic);
            }
        }
        let (n, done) = self.egress.feed(nic, now);
        let has_left = self.held_at.is_some() || !done;
        self.egress.set_waiting(has_left);
        nic.flush();
        sent + n
    }

    /// Sends the durable reports of the waiting members in `from..until`, until the NIC is full.
    fn send_reports<N: Nic>(
        &mut self,
        from: MemberId,
        until: Option<MemberId>,
        now: TimeNs,
        nic: &mut N,
    ) -> usize {
        let (mut sent, mut at) = (0, from);
        while let Some(member) = self.waiting.next_from(at) {
            if until.is_some_and(|u| member >= u) {
                break;
            }
            at = MemberId(member.0 + 1);
            self.egress.counters.report_looks += 1;
            let Some((c, flow)) = pair(&mut self.connections, &self.flows, member) else {
                // Nobody hears it; a later login asks for what it missed.
                self.waiting.remove(member);
                continue;
            };
            let (n, left) = self.egress.reports(nic, c, flow, now);
            sent += n;
            match left {
                Left::Nothing => drop(self.waiting.remove(member)),
                Left::NotDurable => {}
                Left::Spooled => {
                    let read = SpoolRead {
                        member,
                        conn_id: c.conn_id,
                        from: c.next_report,
                        count: (flow.reports.first() - c.next_report).min(u32::MAX.into()) as u32,
                        durable: self.egress.durable(),
                        purpose: ReadPurpose::FirstTime,
                    };
                    // Without room for another read it waits like the others.
                    if c.is_catching_up || self.spool.read(read) {
                        c.is_catching_up = true;
                        self.waiting.remove(member);
                    }
                }
                Left::NicFull => {
                    self.held_at = Some(member);
                    break;
                }
            }
        }
        sent
    }

    pub(super) fn say_goodbye<N: Nic>(&mut self, now: TimeNs, nic: &mut N) {
        let mut at = MemberId(0);
        while let Some(member) = self.connections.live().next_from(at) {
            at = MemberId(member.0 + 1);
            self.close(member, TerminateReason::VenueStops, now, nic);
        }
        self.egress.feed_end(nic);
        nic.flush();
    }
}

/// Whether reports may be sent again, or why not and when to ask again, ms.
fn allow(
    c: &mut Connection,
    all: &mut TokenBucket,
    m: &RetransmitRequest,
    now: TimeNs,
) -> Result<(), (RetransmitRefusal, u32)> {
    if m.count == 0 {
        return Err((RetransmitRefusal::EmptyRange, 0));
    }
    if m.from_seq_no < FIRST_REPORT {
        return Err((RetransmitRefusal::TooLow, 0));
    }
    if m.from_seq_no >= c.next_report {
        return Err((RetransmitRefusal::TooHigh, 0));
    }
    if c.is_reading {
        return Err((RetransmitRefusal::Busy, BUSY_RETRY_MS));
    }
    for bucket in [&mut c.retransmissions, all] {
        if !bucket.take(now) {
            let ms = bucket.wait_ns(now).div_ceil(1_000_000);
            return Err((RetransmitRefusal::RateLimit, ms as u32));
        }
    }
    Ok(())
}

/// A member's live connection and its flow.
fn pair<'a>(
    connections: &'a mut Connections,
    flows: &'a Flows,
    member: MemberId,
) -> Option<(&'a mut Connection, &'a Flow)> {
    let flow = flows.get(member)?;
    Some((connections.live_of(member)?, flow))
}
