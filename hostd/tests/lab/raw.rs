//! A client of bare messages, for what the real one never says.

use super::{Lab, address, venue_address};
use client::{MemberId, Report, Request};
use firmware::session::{COD_FLAGGED, read_control, read_session_message};
use firmware::tag::SuiteSet;
use firmware::units::TimeNs;
use firmware::wire::datagram::{self, DatagramBuilder, DatagramHeader, KIND_CONTROL};
use firmware::wire::session::{Establish, RetransmitReject, RetransmitRequest, SessionMessage};
use handshake::{ClientLogin, LoggedIn, LoginStep};
use hostd::tiles::egress::ORDERS;

/// A client that says what it is told to, right or wrong.
pub(crate) struct Raw {
    pub(crate) member: MemberId,
    pub(crate) logged_in: LoggedIn,
    packet_no: u64,
    /// Session messages that came, and how many datagrams of each kind.
    pub(crate) heard: Vec<SessionMessage>,
    pub(crate) kinds: [u32; 4],
    pub(crate) reports: Vec<(u64, Report)>,
}

impl Raw {
    /// Logs in up to the keys.
    pub(crate) fn login(lab: &mut Lab, member: u32) -> Self {
        Self::login_with(lab, member, SuiteSet::SAFE)
    }

    pub(crate) fn login_with(lab: &mut Lab, member: u32, suites: SuiteSet) -> Self {
        let mut credentials = Lab::config(member).credentials;
        credentials.suites = suites;
        let (own, now) = (address(member, 0), lab.now());
        let mut login =
            ClientLogin::new(&credentials, venue_address(), now.0 / 1_000, now).unwrap();
        let mut buf = DatagramBuilder::new();
        for _ in 0..20 {
            let request = firmware::session::control_datagram(&mut buf, login.request());
            lab.send_up(ORDERS, own, request);
            lab.run_ms(2);
            while let Some(d) = lab.take_down(own) {
                let Ok(m) = read_control(&d) else { continue };
                if let LoginStep::Done(logged_in) = login.on_message(&m).unwrap() {
                    return Self {
                        member: MemberId(member),
                        logged_in: *logged_in,
                        packet_no: 0,
                        heard: Vec::new(),
                        kinds: [0; 4],
                        reports: Vec::new(),
                    };
                }
            }
        }
        panic!("no login");
    }

    pub(crate) fn establish(&self, now: TimeNs) -> Establish {
        Establish {
            session_id: self.logged_in.session_id,
            timestamp: now.0,
            next_seq_no: 1,
            keep_alive_ms: 1_000,
            cod_policy: COD_FLAGGED,
            pad1: 0,
            pad2: 0,
        }
    }

    pub(crate) fn open(lab: &mut Lab, member: u32) -> Self {
        Self::open_with(lab, member, SuiteSet::SAFE)
    }

    pub(crate) fn open_with(lab: &mut Lab, member: u32, suites: SuiteSet) -> Self {
        let mut raw = Self::login_with(lab, member, suites);
        let establish = raw.establish(lab.now());
        let answer = raw.ask(lab, establish);
        assert!(
            matches!(answer, Some(SessionMessage::EstablishmentAck(_))),
            "{answer:?}"
        );
        raw
    }

    pub(crate) fn datagram(&mut self, kind: u8, next: u64, messages: &[Request]) -> Vec<u8> {
        let mut buf = DatagramBuilder::new();
        messages
            .iter()
            .for_each(|m| assert!(buf.push(m.header(), m.block())));
        self.seal(&mut buf, kind, next)
    }

    pub(crate) fn seal(&mut self, buf: &mut DatagramBuilder, kind: u8, next: u64) -> Vec<u8> {
        self.packet_no += 1;
        let keys = &self.logged_in.keys.c2s;
        let (conn, no) = (self.logged_in.conn_id, self.packet_no);
        buf.finish(kind, conn, no, next, 0, |no, b| keys.seal(no, b))
            .to_vec()
    }

    pub(crate) fn send(&mut self, lab: &mut Lab, bytes: &[u8]) {
        lab.send_up(ORDERS, address(self.member.0, 0), bytes);
    }

    pub(crate) fn tell(&mut self, lab: &mut Lab, m: impl Into<SessionMessage>) {
        let m = m.into();
        let mut buf = DatagramBuilder::new();
        assert!(buf.push(m.header(), m.block()));
        let bytes = self.seal(&mut buf, KIND_CONTROL, 0);
        self.send(lab, &bytes);
    }

    /// Tells, and gives the last session message of the answer.
    pub(crate) fn ask(
        &mut self,
        lab: &mut Lab,
        m: impl Into<SessionMessage>,
    ) -> Option<SessionMessage> {
        self.tell(lab, m);
        self.heard.clear();
        self.listen(lab, 3);
        self.heard.last().copied()
    }

    pub(crate) fn listen(&mut self, lab: &mut Lab, ms: u64) {
        for _ in 0..ms {
            lab.step();
            while let Some(d) = lab.take_down(address(self.member.0, 0)) {
                let (header, body, tag): (DatagramHeader, _, _) = datagram::split(&d).unwrap();
                if header.conn_id != self.logged_in.conn_id {
                    continue;
                }
                let keys = &self.logged_in.keys.s2c;
                assert!(keys.verify(header.packet_no, &d[..d.len() - 16], tag));
                self.kinds[header.kind as usize] += 1;
                if header.kind == KIND_CONTROL {
                    self.heard.push(read_session_message(body).unwrap());
                } else {
                    let reports = datagram::messages(body);
                    let reports = reports.map(|m| Report::decode(m.unwrap()).unwrap());
                    self.reports.extend((header.next_seq_no..).zip(reports));
                }
            }
        }
    }

    pub(crate) fn retransmit(
        &mut self,
        lab: &mut Lab,
        from_seq_no: u64,
        count: u32,
    ) -> Option<RetransmitReject> {
        let request = RetransmitRequest {
            timestamp: 77,
            from_seq_no,
            count,
            pad1: 0,
        };
        match self.ask(lab, request) {
            None => None,
            Some(SessionMessage::RetransmitReject(m)) => {
                assert_eq!((m.timestamp, m.from_seq_no), (77, from_seq_no));
                Some(m)
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn reason(m: Option<SessionMessage>) -> u16 {
    match m {
        Some(SessionMessage::EstablishmentReject(m)) => m.reason,
        Some(SessionMessage::Terminate(m)) => m.reason,
        other => panic!("{other:?}"),
    }
}
