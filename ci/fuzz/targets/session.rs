//! The session machine against plain models, over any schedule: no number is taken twice, no request is
//! applied twice, silence is what the clock says, and a login opens a session only for who asked for it.
#![no_main]

use firmware::session::{
    Inbound, KeepAlive, Offer, PACKET_NO_MAX, PacketRefused, SEQ_NO_MAX, SessionReject, Window,
};
use firmware::tag::SuiteSet;
use firmware::units::{MemberId, TimeNs};
use firmware::wire::session::{Negotiate, SessionMessage};
use fuzz::Bytes;
use handshake::{
    ClientLogin, Credentials, LoggedIn, LoginStep, NewSession, SecretKey, VenueLogin, VenueReply,
};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::net::SocketAddr;

const STEPS_MAX: usize = 400;
const NOW: u64 = 1_750_000_000_000_000_000;

/// A number near `around`, or far away now and then.
fn near(bytes: &mut Bytes<'_>, around: u64) -> u64 {
    match bytes.byte() {
        0..200 => around.saturating_add_signed(bytes.within(-80, 80)),
        200..250 => around.saturating_add_signed(bytes.within(-2, 2)),
        _ => bytes.word() >> bytes.below(64),
    }
}

fn window(bytes: &mut Bytes<'_>) {
    let (mut window, mut seen, mut top) = (Window::new(), BTreeSet::from([0]), 0u64);
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            return;
        }
        let no = near(bytes, top);
        let want = if no > PACKET_NO_MAX {
            Err(PacketRefused::KeysUsedUp)
        } else if no <= top && top - no >= 64 {
            Err(PacketRefused::TooOld)
        } else if seen.contains(&no) {
            Err(PacketRefused::Seen)
        } else {
            Ok(())
        };
        assert_eq!(window.check(no), want, "packet {no} at top {top}");
        // A forged packet is looked at and never marked.
        if want.is_ok() && bytes.flag() {
            window.mark(no);
            assert!(seen.insert(no), "packet {no} was taken twice");
            top = top.max(no);
            assert!(window.check(no).is_err());
        }
        assert_eq!(window.top(), top);
    }
}

/// Every number below the expected one is applied or dead, never both, none twice, none above it.
fn inbound(bytes: &mut Bytes<'_>) {
    let start = near(bytes, 1).clamp(1, SEQ_NO_MAX);
    let mut flow = Inbound::resume(start);
    let mut applied = BTreeSet::new();
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            return;
        }
        let before = flow.expected();
        let (first, count) = (near(bytes, before), u64::from(bytes.byte() % 40));
        let end = first.checked_add(count);
        let in_range = first >= 1 && end.is_some_and(|end| end <= SEQ_NO_MAX);
        let (take, expected) = match flow.offer(first, count as u32) {
            Offer::OutOfRange => {
                assert!(!in_range, "{first} + {count}");
                (0..0, before)
            }
            Offer::Duplicate => {
                assert!(in_range && first + count <= before);
                (0..0, before)
            }
            Offer::Apply { skip } => {
                assert!(in_range && first + u64::from(skip) == before);
                (before..first + count, first + count)
            }
            Offer::Gap { from, count: gap } => {
                assert!(in_range && gap > 0);
                assert_eq!((from, from + gap), (before, first));
                (first..first + count, first + count)
            }
        };
        assert_eq!(flow.expected(), expected);
        for no in take {
            assert!(no >= before && applied.insert(no), "request {no} twice");
        }
    }
}

fn keep_alive(bytes: &mut Bytes<'_>) {
    let ms = |bytes: &mut Bytes<'_>| 20 + bytes.below(9_981);
    let (own, peer) = (ms(bytes), ms(bytes));
    let (own_ns, peer_ns) = (u64::from(own) * 1_000_000, u64::from(peer) * 1_000_000);
    let mut now = NOW;
    let mut keeper = KeepAlive::new(own, peer, TimeNs(now));
    let (mut sent, mut heard) = (now, now);
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            return;
        }
        // Now and then the clock is stepped back.
        let step = bytes.within(-100, 20_000) * 1_000_000;
        now = now.saturating_add_signed(step);
        let grace = u64::from(bytes.byte()) * 10_000_000;
        let silent = now.saturating_sub(heard);
        assert_eq!(keeper.lost(TimeNs(now)), silent >= 3 * peer_ns);
        assert_eq!(
            keeper.lost_for(TimeNs(now), grace),
            silent >= 3 * peer_ns + grace
        );
        assert_eq!(
            keeper.heartbeat_due(TimeNs(now)),
            now.saturating_sub(sent) >= own_ns
        );
        let due = keeper.next_deadline().0;
        assert_eq!(due, (sent + own_ns).min(heard + 3 * peer_ns));
        assert!(now >= due || !keeper.lost(TimeNs(now)) && !keeper.heartbeat_due(TimeNs(now)));
        match bytes.byte() % 4 {
            0 => {
                keeper.sent(TimeNs(now));
                sent = now;
            }
            1 => {
                keeper.heard(TimeNs(now));
                heard = now;
            }
            _ => {}
        }
    }
}

/// A message under way between a client and the venue.
#[derive(Clone, Copy)]
enum Mail {
    ToVenue(Negotiate, u16),
    ToClient(SessionMessage),
}

struct Logins {
    venue: VenueLogin,
    credentials: [Credentials; 2],
    clients: Vec<(ClientLogin, u16, u64)>,
    mail: Vec<Mail>,
    /// Requests as some client signed them.
    signed: Vec<Negotiate>,
    /// Cookies that were made, each with the port that it was sent to.
    cookies: Vec<([u8; 32], u16)>,
    opened: Vec<NewSession>,
    now: u64,
    last_id: u64,
}

impl Logins {
    fn new() -> Self {
        let key = SecretKey::from_seed(&[7; 32]);
        let pinned = key.public();
        let mut venue = VenueLogin::new(key, SuiteSet::SAFE);
        let credentials = [1u8, 2].map(|n| {
            let key = SecretKey::from_seed(&[n; 32]);
            venue.register(MemberId(u32::from(n)), 1, key.public());
            Credentials {
                member: MemberId(u32::from(n)),
                key_id: 1,
                key,
                venue: pinned,
                suites: SuiteSet::SAFE,
            }
        });
        Self {
            venue,
            credentials,
            clients: Vec::new(),
            mail: Vec::new(),
            signed: Vec::new(),
            cookies: Vec::new(),
            opened: Vec::new(),
            now: NOW,
            last_id: 1,
        }
    }

    fn start(&mut self, bytes: &mut Bytes<'_>) {
        // Mostly a new id; now and then one of before, which must not open a session again.
        let id = if bytes.byte().is_multiple_of(8) {
            self.last_id
        } else {
            self.last_id + 1
        };
        self.last_id = id;
        let who = usize::from(bytes.flag());
        let port = 4_000 + u16::from(bytes.byte() % 3);
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        let login = ClientLogin::new(&self.credentials[who], to, id, TimeNs(self.now));
        let login = login.expect("suites that go anywhere");
        self.mail.push(Mail::ToVenue(*login.request(), port));
        self.clients.push((login, port, id));
    }

    fn deliver_to_venue(&mut self, request: Negotiate, port: u16, open: bool) {
        let from = SocketAddr::from(([127, 0, 0, 1], port));
        let conn_id = self.opened.len() as u32 + 1;
        let give = |_: MemberId| {
            if open {
                Ok(conn_id)
            } else {
                Err(SessionReject::Full)
            }
        };
        let reply = self
            .venue
            .on_negotiate(&request, from, TimeNs(self.now), give);
        match reply {
            VenueReply::Challenge(m) => {
                assert_eq!((request.cookie, request.signature), ([0; 32], [0; 64]));
                self.cookies.push((m.cookie, port));
                self.mail.push(Mail::ToClient(SessionMessage::Challenge(m)));
            }
            VenueReply::Response { response, session } => {
                assert!(
                    self.signed.contains(&request),
                    "an answer to what nobody signed"
                );
                assert!(
                    self.cookies.contains(&(request.cookie, port)),
                    "an answer to an address that was never seen"
                );
                assert!(request.timestamp.abs_diff(self.now) <= firmware::session::STALE_NS);
                if let Some(session) = session {
                    for other in &self.opened {
                        assert!(
                            other.member != session.member || other.session_id < session.session_id,
                            "a session id was used twice"
                        );
                    }
                    self.opened.push(*session);
                }
                self.mail
                    .push(Mail::ToClient(SessionMessage::NegotiateResponse(response)));
            }
            VenueReply::Reject(m, code) => {
                assert_eq!(m.reason, code as u16);
                self.mail
                    .push(Mail::ToClient(SessionMessage::NegotiateReject(m)));
            }
            VenueReply::Silent(_) => {}
        }
    }

    fn deliver_to_client(&mut self, at: usize, message: &SessionMessage) {
        let (login, port, _) = &mut self.clients[at];
        match login.on_message(message) {
            Ok(LoginStep::Send) => {
                let request = *login.request();
                self.signed.push(request);
                self.mail.push(Mail::ToVenue(request, *port));
            }
            Ok(LoginStep::Done(done)) => {
                let request = *login.request();
                self.agree(&request, &done);
            }
            Ok(LoginStep::Ignored) | Err(_) => {}
        }
    }

    /// Both ends hold the same keys, and only they do.
    fn agree(&self, request: &Negotiate, done: &LoggedIn) {
        let mut same = self.opened.iter().filter(|s| s.conn_id == done.conn_id);
        let session = same.next().expect("the venue opened what the client holds");
        assert!(same.next().is_none());
        assert_eq!(
            (session.member.0, session.session_id),
            (request.member, done.session_id)
        );
        let tag = done.keys.c2s.seal(1, b"request");
        assert!(session.keys.c2s.verify(1, b"request", &tag));
        assert!(!session.keys.s2c.verify(1, b"request", &tag));
        let tag = session.keys.s2c.seal(1, b"report");
        assert!(done.keys.s2c.verify(1, b"report", &tag));
    }
}

fn login(bytes: &mut Bytes<'_>) {
    let mut logins = Logins::new();
    for _ in 0..40 {
        if bytes.is_empty() {
            return;
        }
        match bytes.byte() % 16 {
            0..3 => logins.start(bytes),
            3 => logins.now += u64::from(bytes.byte()) * 100_000_000,
            4 => {
                let who = usize::from(bytes.flag());
                let credentials = &logins.credentials[who];
                logins.venue.revoke(credentials.member, 1);
            }
            _ if logins.mail.is_empty() => {}
            kind => {
                // Newest first, often; any other, again, later or changed.
                let back = bytes.byte() as usize;
                let newest = logins.mail.len() - 1;
                let at = if back < 128 {
                    newest
                } else {
                    back % logins.mail.len()
                };
                let flip = (kind == 5).then(|| bytes.word());
                match logins.mail[at] {
                    Mail::ToVenue(mut request, mut port) => {
                        if let Some(flip) = flip {
                            let raw = bytemuck::bytes_of_mut(&mut request);
                            let place = flip as usize % raw.len();
                            raw[place] ^= (flip >> 32) as u8;
                        }
                        if kind == 6 {
                            port += 1;
                        }
                        logins.deliver_to_venue(request, port, kind != 7);
                    }
                    Mail::ToClient(message) if !logins.clients.is_empty() => {
                        let to = bytes.byte() as usize;
                        let last = logins.clients.len() - 1;
                        let to = if to < 128 {
                            last
                        } else {
                            to % logins.clients.len()
                        };
                        let mut raw = bytemuck::bytes_of(&message.header()).to_vec();
                        raw.extend(message.block());
                        if let Some(flip) = flip {
                            let place = flip as usize % raw.len();
                            raw[place] ^= (flip >> 32) as u8;
                        }
                        if let Ok(message) = SessionMessage::decode(&raw) {
                            logins.deliver_to_client(to, &message);
                        }
                    }
                    Mail::ToClient(_) => {}
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    match bytes.byte() % 4 {
        0 => window(&mut bytes),
        1 => inbound(&mut bytes),
        2 => keep_alive(&mut bytes),
        _ => login(&mut bytes),
    }
});
