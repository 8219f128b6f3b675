//! The login, whole and broken.

use bytemuck::{Pod, bytes_of, bytes_of_mut};
use core::net::SocketAddr;
use firmware::session::{STALE_NS, SessionReject, read_control};
use firmware::tag::{Suite, SuiteSet};
use firmware::units::{MemberId, TimeNs};
use firmware::wire::datagram::DatagramBuilder;
use firmware::wire::session::{Challenge, Negotiate, NegotiateResponse, SessionMessage};
use handshake::{
    ClientLogin, Credentials, LoggedIn, LoginError, LoginStep, NewSession, SecretKey, SilentReason,
    VenueLogin, VenueReply,
};

const NOW: TimeNs = TimeNs(1_800_000_000_000_000_000);
const MEMBER: MemberId = MemberId(7);

fn client_address() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

fn venue_address() -> SocketAddr {
    "192.0.2.2:5000".parse().unwrap()
}

fn venue_key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn venue() -> VenueLogin {
    let mut venue = VenueLogin::new(venue_key(), SuiteSet::SAFE);
    venue.register(MEMBER, 3, SecretKey::from_seed(&[2; 32]).public());
    venue
}

fn credentials() -> Credentials {
    Credentials {
        member: MEMBER,
        key_id: 3,
        key: SecretKey::from_seed(&[2; 32]),
        venue: venue_key().public(),
        suites: SuiteSet::SAFE,
    }
}

fn start(credentials: &Credentials) -> ClientLogin {
    ClientLogin::new(credentials, venue_address(), NOW.0 / 1000, NOW).unwrap()
}

fn ask(venue: &mut VenueLogin, request: &Negotiate) -> VenueReply {
    venue.on_negotiate(request, client_address(), NOW, |_| Ok(42))
}

fn challenge(venue: &mut VenueLogin, request: &Negotiate) -> Challenge {
    match ask(venue, request) {
        VenueReply::Challenge(c) => c,
        other => panic!("{other:?}"),
    }
}

/// Brings a login to where its signed request is ready.
fn signed(venue: &mut VenueLogin, credentials: &Credentials) -> ClientLogin {
    let mut client = start(credentials);
    let c = challenge(venue, client.request());
    let step = client.on_message(&c.into()).unwrap();
    assert!(matches!(step, LoginStep::Send));
    client
}

fn response(reply: VenueReply) -> (NegotiateResponse, Box<NewSession>) {
    match reply {
        VenueReply::Response {
            response,
            session: Some(session),
        } => (response, session),
        other => panic!("{other:?}"),
    }
}

fn done(step: LoginStep) -> Box<LoggedIn> {
    match step {
        LoginStep::Done(l) => l,
        other => panic!("{other:?}"),
    }
}

fn code(reply: &VenueReply) -> SessionReject {
    match reply {
        VenueReply::Reject(m, code) => {
            assert_eq!(m.reason, *code as u16);
            *code
        }
        other => panic!("{other:?}"),
    }
}

/// Each single-bit variant of a message.
fn flips<M: Pod>(m: &M) -> impl Iterator<Item = (usize, M)> + use<M> {
    let m = *m;
    (0..size_of::<M>() * 8).map(move |bit| {
        let mut flipped = m;
        bytes_of_mut(&mut flipped)[bit / 8] ^= 1 << (bit % 8);
        (bit, flipped)
    })
}

#[test]
fn a_login_through_datagrams_gives_both_ends_the_same_keys() {
    let (mut venue, mut client) = (venue(), start(&credentials()));
    let (mut to_venue, mut to_client) = (DatagramBuilder::new(), DatagramBuilder::new());
    let mut opened = None;
    let logged_in = loop {
        let sent = firmware::session::control_datagram(&mut to_venue, client.request());
        let Ok(SessionMessage::Negotiate(request)) = read_control(sent) else {
            panic!("a Negotiate was sent");
        };
        let request_len = sent.len();
        let reply = ask(&mut venue, &request);
        let answer = reply.datagram(&mut to_client).unwrap();
        assert!(answer.len() < request_len, "no amplification");
        let message = read_control(answer).unwrap();
        if let VenueReply::Response { session, .. } = reply {
            opened = session;
        }
        if let LoginStep::Done(l) = client.on_message(&message).unwrap() {
            break l;
        }
    };
    let opened = opened.unwrap();
    assert_eq!(opened.member, MEMBER);
    assert_eq!(
        (logged_in.conn_id, logged_in.suite),
        (42, Suite::Aes128Gmac)
    );
    assert_eq!(logged_in.session_id, opened.session_id);
    let up = logged_in.keys.c2s.seal(1, b"up");
    assert!(opened.keys.c2s.verify(1, b"up", &up));
    let down = opened.keys.s2c.seal(1, b"up");
    assert!(logged_in.keys.s2c.verify(1, b"up", &down));
    assert_ne!(up, down, "each direction has its own key");
}

#[test]
fn any_bit_flipped_in_the_first_request_spoils_the_cookie() {
    let mut venue = venue();
    let client = start(&credentials());
    for (bit, flipped) in flips(client.request()) {
        match ask(&mut venue, &flipped) {
            VenueReply::Silent(_) => {}
            VenueReply::Challenge(c) => {
                // The client goes on with its own request, for which this cookie was not made.
                let mut honest = start(&credentials());
                let before = *honest.request();
                let c = Challenge {
                    session_id: before.session_id,
                    ..c
                };
                let _ = honest.on_message(&c.into()).unwrap();
                let reply = ask(&mut venue, honest.request());
                let silent = matches!(reply, VenueReply::Silent(SilentReason::BadCookie));
                assert!(silent, "bit {bit}: {reply:?}");
            }
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn any_bit_flipped_in_the_challenge_ends_the_login() {
    let mut venue = venue();
    let client = start(&credentials());
    let c = challenge(&mut venue, client.request());
    for (bit, flipped) in flips(&c) {
        let mut client = start(&credentials());
        match client.on_message(&flipped.into()).unwrap() {
            LoginStep::Ignored => {}
            LoginStep::Send => {
                let reply = ask(&mut venue, client.request());
                let silent = matches!(reply, VenueReply::Silent(SilentReason::BadCookie));
                assert!(silent, "bit {bit}: {reply:?}");
            }
            LoginStep::Done(_) => panic!("bit {bit}"),
        }
    }
}

#[test]
fn any_bit_flipped_in_the_signed_request_opens_nothing() {
    let mut venue = venue();
    let client = signed(&mut venue, &credentials());
    for (bit, flipped) in flips(client.request()) {
        match ask(&mut venue, &flipped) {
            VenueReply::Silent(_) => {}
            reply => assert_eq!(code(&reply), SessionReject::BadSignature, "bit {bit}"),
        }
    }
    let _ = response(ask(&mut venue, client.request()));
}

#[test]
fn any_bit_flipped_in_the_response_is_noticed() {
    let mut venue = venue();
    let mut client = signed(&mut venue, &credentials());
    let (good, _) = response(ask(&mut venue, client.request()));
    for (bit, flipped) in flips(&good) {
        match client.on_message(&flipped.into()) {
            Err(LoginError::BadSignature) | Ok(LoginStep::Ignored) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    let _ = done(client.on_message(&good.into()).unwrap());
}

#[test]
fn a_cookie_is_worth_nothing_at_another_address_or_later() {
    let mut venue = venue();
    let client = signed(&mut venue, &credentials());
    for other in ["192.0.2.9:4000", "192.0.2.1:4001", "[2001:db8::1]:4000"] {
        let reply = venue.on_negotiate(client.request(), other.parse().unwrap(), NOW, |_| Ok(1));
        let bad = matches!(reply, VenueReply::Silent(SilentReason::BadCookie));
        assert!(bad, "{other}: {reply:?}");
    }
    let later = TimeNs(NOW.0 + 61_000_000_000);
    let reply = venue.on_negotiate(client.request(), client_address(), later, |_| Ok(1));
    let bad = matches!(reply, VenueReply::Silent(SilentReason::BadCookie));
    assert!(bad, "{reply:?}");
}

#[test]
fn a_clock_more_than_five_seconds_off_is_refused() {
    let mut venue = venue();
    let client = signed(&mut venue, &credentials());
    for (now, ok) in [
        (NOW.0 + STALE_NS + 1, false),
        (NOW.0 - STALE_NS - 1, false),
        (NOW.0 + STALE_NS, true),
    ] {
        let reply = venue.on_negotiate(client.request(), client_address(), TimeNs(now), |_| Ok(1));
        if ok {
            let _ = response(reply);
        } else {
            assert_eq!(code(&reply), SessionReject::StaleTime);
        }
    }
}

#[test]
fn a_client_that_pinned_another_venue_key_is_told_and_takes_no_answer() {
    let mut venue = venue();
    let wrong = Credentials {
        venue: SecretKey::from_seed(&[9; 32]).public(),
        ..credentials()
    };
    let mut client = signed(&mut venue, &wrong);
    let reply = ask(&mut venue, client.request());
    assert_eq!(code(&reply), SessionReject::WrongVenueKey);
    // Another venue that answers all the same is not believed.
    let mut impostor = VenueLogin::new(SecretKey::from_seed(&[8; 32]), SuiteSet::SAFE);
    impostor.register(MEMBER, 3, credentials().key.public());
    let mut request = *signed(&mut impostor, &wrong).request();
    request.venue_key_hash = SecretKey::from_seed(&[8; 32]).public().pin();
    assert!(matches!(
        ask(&mut impostor, &request),
        VenueReply::Silent(SilentReason::BadCookie)
    ));
    let (forged, _) = response({
        let cheat = Credentials {
            venue: SecretKey::from_seed(&[8; 32]).public(),
            ..credentials()
        };
        let c = signed(&mut impostor, &cheat);
        ask(&mut impostor, c.request())
    });
    let got = client.on_message(&forged.into());
    assert!(matches!(got, Err(LoginError::BadSignature)), "{got:?}");
}

#[test]
fn only_the_registered_key_of_the_member_opens_a_session() {
    let mut venue = venue();
    let logins = [
        (MemberId(8), 3, [2; 32], SessionReject::UnknownKey),
        (MEMBER, 4, [2; 32], SessionReject::UnknownKey),
        (MEMBER, 3, [5; 32], SessionReject::BadSignature),
    ];
    for (member, key_id, seed, want) in logins {
        let c = Credentials {
            member,
            key_id,
            key: SecretKey::from_seed(&seed),
            ..credentials()
        };
        let client = signed(&mut venue, &c);
        assert_eq!(code(&ask(&mut venue, client.request())), want);
    }
    assert!(venue.revoke(MEMBER, 3) && !venue.revoke(MEMBER, 3));
    let client = signed(&mut venue, &credentials());
    let reply = ask(&mut venue, client.request());
    assert_eq!(code(&reply), SessionReject::UnknownKey);
}

#[test]
fn the_same_request_again_gets_the_same_answer_and_an_older_one_none() {
    let mut venue = venue();
    let mut client = signed(&mut venue, &credentials());
    let (first, session) = response(ask(&mut venue, client.request()));
    let reply = venue.on_negotiate(client.request(), client_address(), NOW, |_| {
        panic!("no second connection for one request")
    });
    let VenueReply::Response {
        response: again,
        session: None,
    } = reply
    else {
        panic!("{reply:?}");
    };
    assert_eq!(bytes_of(&again), bytes_of(&first));
    let logged_in = done(client.on_message(&again.into()).unwrap());
    let tag = logged_in.keys.c2s.seal(1, b"x");
    assert!(session.keys.c2s.verify(1, b"x", &tag));
    // Another request with the same session id, as a replay or a clock that stands still would make it.
    let other = signed(&mut venue, &credentials());
    let reply = ask(&mut venue, other.request());
    assert_eq!(code(&reply), SessionReject::SessionIdUsed);
}

#[test]
fn an_ephemeral_key_without_a_secret_is_refused_even_when_signed() {
    // Points of small order: 0, 1, and -1.
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    let mut one = [0; 32];
    one[0] = 1;
    for point in [[0; 32], one, minus_one] {
        let shared = x25519_dalek::x25519([77; 32], point);
        assert_eq!(shared, [0; 32], "this point gives no secret");
        let mut venue = venue();
        // A member signs it, so that only the check of the secret stands in the way.
        let request = Negotiate {
            client_key: point,
            ..*start(&credentials()).request()
        };
        let cookie = challenge(&mut venue, &request).cookie;
        let mut request = Negotiate { cookie, ..request };
        let mut text = handshake::DOMAIN_NEGOTIATE.to_vec();
        text.extend_from_slice(&bytes_of(&request)[..size_of::<Negotiate>() - 64]);
        let key = ed25519_dalek::SigningKey::from_bytes(&[2; 32]);
        request.signature = ed25519_dalek::Signer::sign(&key, &text).to_bytes();
        let reply = ask(&mut venue, &request);
        assert_eq!(code(&reply), SessionReject::BadClientKey);
    }
}

#[test]
fn suite_none_needs_the_configuration_and_a_loopback_address() {
    let none = SuiteSet::only(Suite::None);
    let lab = Credentials {
        suites: none,
        ..credentials()
    };
    let refused = ClientLogin::new(&lab, venue_address(), 1, NOW).err();
    assert_eq!(refused, Some(LoginError::NoneOffLoopback(venue_address())));
    let loopback: SocketAddr = "127.0.0.1:4000".parse().unwrap();
    for (allowed, from, want) in [
        (SuiteSet::SAFE, loopback, None),
        (SuiteSet::SAFE.with(Suite::None), client_address(), None),
        (
            SuiteSet::SAFE.with(Suite::None),
            loopback,
            Some(Suite::None),
        ),
    ] {
        let mut venue = VenueLogin::new(venue_key(), allowed);
        venue.register(MEMBER, 3, lab.key.public());
        let mut client = ClientLogin::new(&lab, loopback, 1, NOW).unwrap();
        let VenueReply::Challenge(c) = venue.on_negotiate(client.request(), from, NOW, |_| Ok(1))
        else {
            panic!("no challenge");
        };
        let _ = client.on_message(&c.into()).unwrap();
        let reply = venue.on_negotiate(client.request(), from, NOW, |_| Ok(1));
        match want {
            None => assert_eq!(code(&reply), SessionReject::NoCommonSuite),
            Some(suite) => {
                let (m, _) = response(reply);
                assert_eq!(done(client.on_message(&m.into()).unwrap()).suite, suite);
            }
        }
    }
}

#[test]
fn a_full_venue_says_so_and_remembers_nothing() {
    let mut venue = venue();
    let client = signed(&mut venue, &credentials());
    let full = |_| Err(SessionReject::Full);
    let reply = venue.on_negotiate(client.request(), client_address(), NOW, full);
    assert_eq!(code(&reply), SessionReject::Full);
    let mut buf = DatagramBuilder::new();
    let message = read_control(reply.datagram(&mut buf).unwrap()).unwrap();
    let mut client = client;
    let got = client.on_message(&message);
    let told = matches!(got, Err(LoginError::Rejected(SessionReject::Full)));
    assert!(told, "{got:?}");
    let _ = response(ask(&mut venue, client.request()));
}
