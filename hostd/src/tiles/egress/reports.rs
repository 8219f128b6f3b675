//! Reports to members, and what the session layer sends beside them.

use super::Egress;
use crate::nic::Nic;
use crate::tiles::gateway::Flow;
use crate::tiles::lanes::{ReadPurpose, SpoolAnswer};
use crate::tiles::sessions::{Connection, Peer, VENUE_KEEP_ALIVE_MS};
use firmware::session::{KeepAlive, RetransmitRefusal, Terms};
use firmware::units::TimeNs;
use firmware::wire::datagram::{KIND_CONTROL, KIND_DATA, KIND_HEARTBEAT, KIND_RETRANSMISSION};
use firmware::wire::sbe::Message;
use firmware::wire::session::{EstablishmentAck, RetransmitReject, RetransmitRequest};

/// Lowest report that can be asked for: the spool keeps the whole day.
pub const FIRST_REPORT: u64 = 1;

/// What a member's log still holds for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Reports that wait for the disk.
    NotDurable,
    /// Reports that wait for the NIC.
    NicFull,
    /// Reports that the log holds no more: they come out of the spool.
    Spooled,
}

impl Egress {
    /// Sends a datagram of the control tile as it is.
    pub fn control<N: Nic>(&mut self, nic: &mut N, to: Peer, payload: &[u8]) {
        // A lost control datagram is asked for again by the client.
        match nic.send(to.socket.into(), to.address, payload) {
            Ok(()) => self.counters.tx_datagrams += 1,
            Err(_) => self.counters.tx_stalls += 1,
        }
        nic.flush();
    }

    /// Sends a session message under the connection's keys.
    pub fn session<N: Nic, M: Message>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        message: &M,
        now: TimeNs,
    ) {
        self.datagram.clear();
        let fits = self.datagram.push(M::HEADER, bytemuck::bytes_of(message));
        assert!(fits, "a session message fits a datagram");
        // Lost or not sent: the client asks again.
        let _ = self.finish(nic, c, KIND_CONTROL, 0, 0, now);
        nic.flush();
    }

    /// Signs and sends what the builder holds; `false` when the NIC has no room.
    fn finish<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        kind: u8,
        next_seq_no: u64,
        ack_seq_no: u64,
        now: TimeNs,
    ) -> bool {
        let (conn_id, peer) = (c.conn_id, c.peer);
        let (packet_no, key) = c.next_packet();
        let payload = self.datagram.finish(
            kind,
            conn_id,
            packet_no,
            next_seq_no,
            ack_seq_no,
            |no, bytes| key.seal(no, bytes),
        );
        let sent = nic.send(peer.socket.into(), peer.address, payload).is_ok();
        if sent {
            self.counters.tx_datagrams += 1;
            c.keep_alive.sent(now);
        } else {
            self.counters.tx_stalls += 1;
        }
        sent
    }

    /// Answers an Establish. The flow of a fresh connection goes on at the first report that is not
    /// durable yet: everything before it can be asked for again.
    pub fn acknowledge<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        flow: &Flow,
        is_fresh: bool,
        terms: &Terms,
        now: TimeNs,
    ) {
        if is_fresh {
            let mut next = flow.reports.next();
            while next > flow.reports.first()
                && flow
                    .reports
                    .get(next - 1)
                    .is_some_and(|r| r.engine_seq() > self.durable)
            {
                next -= 1;
            }
            c.next_report = next;
            c.keep_alive = KeepAlive::new(VENUE_KEEP_ALIVE_MS, terms.keep_alive_ms, now);
        }
        let ack = EstablishmentAck {
            session_id: c.session_id,
            next_seq_no: c.next_report,
            next_client_seq_no: flow.inbound.expected(),
            keep_alive_ms: VENUE_KEEP_ALIVE_MS,
            pad1: 0,
        };
        self.session(nic, c, &ack, now);
    }

    /// Sends the durable reports that a member has not been sent; returns how many, and what is left.
    pub fn reports<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        flow: &Flow,
        now: TimeNs,
    ) -> (usize, Left) {
        let mut sent = 0;
        if c.next_report < flow.reports.first() {
            return (sent, Left::Spooled);
        }
        while c.next_report < flow.reports.next() {
            let first = c.next_report;
            let count = self.pack(flow, first, u64::MAX);
            if count == 0 {
                return (sent, Left::NotDurable);
            }
            if !self.finish(nic, c, KIND_DATA, first, flow.inbound.expected(), now) {
                return (sent, Left::NicFull);
            }
            c.next_report += u64::from(count);
            sent += count as usize;
        }
        (sent, Left::Nothing)
    }

    /// Packs durable reports from `first` on into the builder, at most `max`.
    fn pack(&mut self, flow: &Flow, first: u64, max: u64) -> u32 {
        self.datagram.clear();
        let mut number = first;
        while number - first < max {
            let Some(report) = flow.reports.get(number) else {
                break;
            };
            if report.engine_seq() > self.durable
                || !self.datagram.push(report.header(), report.block())
            {
                break;
            }
            number += 1;
        }
        self.datagram.count()
    }

    /// Sends reports again out of the log, which holds the first of them: as many as fit one datagram.
    pub fn retransmit<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        flow: &Flow,
        m: &RetransmitRequest,
        now: TimeNs,
    ) {
        let max = u64::from(m.count).min(c.next_report - m.from_seq_no);
        if self.pack(flow, m.from_seq_no, max) > 0 {
            self.counters.retransmissions += 1;
            let expected = flow.inbound.expected();
            let _ = self.finish(nic, c, KIND_RETRANSMISSION, m.from_seq_no, expected, now);
            nic.flush();
        }
    }

    /// Says why reports are not sent again.
    pub fn refuse_retransmission<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        m: &RetransmitRequest,
        (reason, retry_after_ms): (RetransmitRefusal, u32),
        now: TimeNs,
    ) {
        self.counters.retransmit_rejects += 1;
        let reject = RetransmitReject {
            timestamp: m.timestamp,
            from_seq_no: m.from_seq_no,
            first_seq_no: FIRST_REPORT,
            next_seq_no: c.next_report,
            reason: reason as u16,
            pad1: 0,
            retry_after_ms,
        };
        self.session(nic, c, &reject, now);
    }

    /// Sends reports that came out of the spool; `false` when the NIC has no room.
    pub fn spooled<N: Nic>(
        &mut self,
        nic: &mut N,
        c: &mut Connection,
        flow: &Flow,
        answer: &SpoolAnswer,
        now: TimeNs,
    ) -> bool {
        let fits = self.datagram.fill(answer.body.bytes(), answer.count);
        assert!(fits, "a spool body is bounded by a datagram's");
        let kind = match answer.read.purpose {
            ReadPurpose::Retransmission => KIND_RETRANSMISSION,
            ReadPurpose::FirstTime => KIND_DATA,
        };
        self.finish(nic, c, kind, answer.read.from, flow.inbound.expected(), now)
    }

    /// Shows life, what was applied, and which report comes next.
    pub fn heartbeat<N: Nic>(&mut self, nic: &mut N, c: &mut Connection, flow: &Flow, now: TimeNs) {
        self.datagram.clear();
        let (next, expected) = (c.next_report, flow.inbound.expected());
        let _ = self.finish(nic, c, KIND_HEARTBEAT, next, expected, now);
    }
}
