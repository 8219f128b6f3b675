//! The session layer of the gateway: Establish, Terminate, heartbeats, loss. Everything about a session that
//! the engine acts on is sequenced, so that a replay cancels on disconnect where the live box did.

use super::{ARRIVALS_ROOM, GatewayStage};
use crate::nic::Nic;
use crate::tiles::lanes::Arrival;
use crate::tiles::sessions::{Connection, Place};
use bytemuck::Zeroable;
use firmware::session::{COD_ALL, TerminateReason, Terms};
use firmware::units::{MemberId, TimeNs};
use firmware::wire::input::{
    InSession, SESSION_ENDED, SESSION_ESTABLISHED, SESSION_LOST, SESSION_REPLACED,
    SESSION_TERMINATED,
};
use firmware::wire::session::{Establish, EstablishmentReject, SessionMessage, Terminate};

/// Timers looked at in one turn: as many heartbeats do not hold up a request by more than some tens of us.
const TIMERS_PER_TURN: usize = 32;

impl<N: Nic> GatewayStage<N> {
    pub(super) fn on_session_message(
        &mut self,
        member: MemberId,
        place: Place,
        body: &[u8],
        now: TimeNs,
    ) {
        match (firmware::session::read_session_message(body), place) {
            (Ok(SessionMessage::Establish(m)), _) => self.establish(member, place, &m, now),
            (Ok(SessionMessage::Terminate(m)), Place::Live) => self.terminated(member, &m, now),
            (Ok(SessionMessage::RetransmitRequest(m)), Place::Live) => {
                self.io.retransmit(member, &m, now, &mut self.nic);
            }
            // A message of a later release changes nothing.
            _ => self.io.egress.counters.bad_frame += 1,
        }
    }

    fn establish(&mut self, member: MemberId, place: Place, m: &Establish, now: TimeNs) {
        let Some(connection) = self.io.connections.at(member, place) else {
            return;
        };
        let terms = match Terms::of(m, connection.session_id, now) {
            Ok(terms) => terms,
            Err(code) => {
                self.io.egress.counters.establish_rejects += 1;
                let reject = EstablishmentReject {
                    session_id: m.session_id,
                    reason: code as u16,
                    pad1: 0,
                    pad2: 0,
                };
                return (self.io.egress).session(&mut self.nic, connection, &reject, now);
            }
        };
        if place == Place::Pending {
            self.open(member, m.session_id, &terms, now);
        }
        // An Establish that comes again was not answered, or the answer was lost: it is answered again.
        let is_fresh = place == Place::Pending;
        self.io
            .acknowledge(member, is_fresh, &terms, now, &mut self.nic);
    }

    /// Puts the pending connection in the place of the live one.
    fn open(&mut self, member: MemberId, session_id: u64, terms: &Terms, now: TimeNs) {
        if let Some(mut old) = self.io.connections.promote(member) {
            self.io
                .terminate(&mut old, TerminateReason::Replaced, now, &mut self.nic);
            self.session_event(member, SESSION_REPLACED, old.session_id);
        }
        self.io.egress.counters.established += 1;
        let event = InSession {
            session_id,
            event: SESSION_ESTABLISHED,
            cod_policy: terms.cod_policy.min(COD_ALL),
            pad1: 0,
            pad2: 0,
        };
        self.arrive(&Arrival::Session(member, event));
        // What the client numbered and the venue never saw is dead: datagrams under the old keys are not
        // taken any more.
        self.offer(member, terms.next_seq_no, 0, now);
    }

    /// The client ends its session: answered once, in kind.
    fn terminated(&mut self, member: MemberId, m: &Terminate, now: TimeNs) {
        let live = self.io.connections.live_of(member);
        if live.is_none_or(|c| c.session_id != m.session_id) {
            self.io.egress.counters.bad_frame += 1;
            return;
        }
        self.io.egress.counters.terminated += 1;
        self.end(member, SESSION_TERMINATED, TerminateReason::Finished, now);
    }

    /// The client broke the protocol under a valid tag.
    pub(super) fn protocol_error(&mut self, member: MemberId, now: TimeNs) {
        self.io.egress.counters.protocol_errors += 1;
        self.end(member, SESSION_ENDED, TerminateReason::ProtocolError, now);
    }

    /// The operator ends a session.
    pub(super) fn kick(&mut self, member: MemberId, now: TimeNs) {
        self.end(member, SESSION_ENDED, TerminateReason::Kicked, now);
    }

    fn end(&mut self, member: MemberId, event: u8, reason: TerminateReason, now: TimeNs) {
        let closed = self.io.close(member, reason, now, &mut self.nic);
        if let Some(Connection { session_id, .. }) = closed {
            self.session_event(member, event, session_id);
        }
    }

    fn session_event(&mut self, member: MemberId, event: u8, session_id: u64) {
        let event = InSession {
            event,
            session_id,
            ..InSession::zeroed()
        };
        self.arrive(&Arrival::Session(member, event));
    }

    /// Heartbeats and lost members; returns how many timers were looked at. `is_drained`: nothing that came
    /// in waits to be heard.
    pub(super) fn run_timers(&mut self, now: TimeNs, is_drained: bool) -> usize {
        for looked in 0..TIMERS_PER_TURN {
            if !self.lanes.arrivals.has_room(ARRIVALS_ROOM) {
                return looked;
            }
            let Some((member, ended)) = self.io.due(now, is_drained, &mut self.nic) else {
                return looked;
            };
            match ended {
                None => {}
                Some(TerminateReason::TimedOut) => {
                    self.io.egress.counters.lost_sessions += 1;
                    self.end(member, SESSION_LOST, TerminateReason::TimedOut, now);
                }
                Some(reason) => self.end(member, SESSION_ENDED, reason, now),
            }
        }
        TIMERS_PER_TURN
    }
}
