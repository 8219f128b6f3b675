//! The session layer of the venue and the client, both real, over a bad network: every report once and in order, every
//! request applied once or not at all, whatever is lost, repeated, reordered, spoiled, or crashes.

mod lab;

use client::{
    EndReason, MemberId, OrderIds, Report, Request, Side, limit_order, mass_cancel, parse_e9,
};
use firmware::session::{
    COD_ALL, COD_FLAGGED, COD_NEVER, KEEP_ALIVE_MS_MAX, RetransmitRefusal, SEQ_NO_MAX, STALE_NS,
    SessionReject, TerminateReason, read_session_message,
};
use firmware::tag::{Suite, SuiteSet};
use firmware::wire::datagram::{self, KIND_DATA, KIND_HEARTBEAT, KIND_RETRANSMISSION};
use firmware::wire::input::{
    SESSION_ENDED, SESSION_ESTABLISHED, SESSION_LOST, SESSION_REPLACED, SESSION_TERMINATED,
};
use firmware::wire::order::{FLAG_CANCEL_ON_DISCONNECT, NewOrder};
use firmware::wire::report::CANCEL_DISCONNECT;
use firmware::wire::session::{
    Establish, RetransmitReject, RetransmitRequest, SessionMessage, Terminate,
};
use hostd::tiles::egress::{ORDERS, ORDERS_B};
use lab::raw::{Raw, reason};
use lab::{Faults, Lab, MS, Rng, address};

const BAD: Faults = Faults {
    loss: 15,
    repeat: 15,
    corrupt: 3,
    delay_max_ns: 12 * MS,
    ..Faults::NONE
};
const LOST_LINE: Faults = Faults {
    loss: 100,
    ..Faults::NONE
};

fn order(id: u64, account: u32, side: Side, price: &str, lots: i64) -> NewOrder {
    limit_order(id, account, 0, side, parse_e9(price).unwrap(), lots)
}

/// Orders that rest, trade, or are refused, and mass cancels.
fn send_some(lab: &mut Lab, at: usize, ids: &mut OrderIds, rng: &mut Rng) {
    let member = &mut lab.members[at];
    if !member.session.is_open() {
        return;
    }
    // Accounts 1 and 2 are member 1's, account 3 is member 2's; others have none and are refused.
    let account = [1, 3, 1, 9][(member.id.0 as usize - 1) % 4];
    for _ in 0..rng.below(4) {
        let id = ids.next_id();
        let request: Request = if rng.percent(8) {
            mass_cancel(id, account, None, None).into()
        } else {
            let side = [Side::Buy, Side::Sell][rng.below(2) as usize];
            let price = format!("{}", 99_990 + rng.below(20));
            order(id, account, side, &price, 1 + rng.below(5) as i64).into()
        };
        member.send(request);
    }
    if rng.percent(50) {
        member.session.flush(lab.clock.get());
    }
}

/// Runs members against each other and the network; returns how often each thing was met.
fn storm(seed: u64, both: bool, suites: SuiteSet, crashes: u32) -> [u64; 9] {
    let mut lab = Lab::new(seed, 3);
    lab.durable_percent = 30;
    lab.spool_percent = 40;
    lab.faults(BAD);
    lab.net.set_tx_full(5);
    let mut ids = OrderIds::starting_at(1);
    let mut rng = Rng(seed);
    for member in 1..=3 {
        let mut config = Lab::config(member);
        config.credentials.suites = suites;
        config.cod_policy = [COD_NEVER, COD_FLAGGED, COD_ALL][rng.below(3) as usize];
        lab.start(config, both);
    }
    let mut met = [0; 9];
    let note = |lab: &Lab, met: &mut [u64; 9]| {
        let c = lab.venue.tile.counters();
        let counts = [
            c.gaps,
            c.duplicate_requests + c.replayed,
            c.bad_tag,
            c.retransmissions,
            c.tx_stalls,
            c.lost_sessions,
            c.first_on_b,
        ];
        (met.iter_mut().zip(counts)).for_each(|(sum, n)| *sum += n);
    };
    for round in 0..=crashes {
        for step in 0..900 {
            for at in 0..3 {
                send_some(&mut lab, at, &mut ids, &mut rng);
            }
            // A line that is dead for a while: sessions are lost at both ends.
            match step {
                300 => lab.faults_of(ORDERS, LOST_LINE),
                350 => lab.faults(LOST_LINE),
                700 => lab.faults(BAD),
                _ => {}
            }
            lab.step();
            revive(&mut lab);
        }
        if round < crashes {
            note(&lab, &mut met);
            lab.crash();
        }
    }
    lab.faults(Faults::default());
    lab.net.set_tx_full(0);
    for _ in 0..3_000 {
        lab.step();
        revive(&mut lab);
    }
    lab.settle();
    lab.check();
    note(&lab, &mut met);
    for m in &lab.members {
        met[7] += m.lost.len() as u64;
        met[8] += m.session.counters().retransmit_requests;
        assert_eq!(m.session.counters().malformed, 0);
    }
    met
}

/// Programs that lost their session log in again.
fn revive(lab: &mut Lab) {
    let now = lab.now();
    for m in &mut lab.members {
        if !m.ended.is_empty() {
            m.ended.clear();
            m.session.reconnect(now).unwrap();
        }
    }
}

/// Storms by seed. `SESSION_SEEDS=n` runs `n` times as many of each kind, `SESSION_SEED=s` that one alone.
fn storms(first: u64, count: u64, both: bool, suite: Suite, crashes: u32) {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    let seeds = match number("SESSION_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + count * number("SESSION_SEEDS").unwrap_or(1),
    };
    let is_one = seeds.end - seeds.start < count;
    let mut met = [0; 9];
    for seed in seeds {
        let run = || storm(seed, both, SuiteSet::only(suite), crashes);
        match std::panic::catch_unwind(run) {
            Ok(of_seed) => (met.iter_mut().zip(of_seed)).for_each(|(sum, n)| *sum += n),
            Err(e) => {
                eprintln!("again with: SESSION_SEED={seed} cargo test -p hostd --test sessions");
                std::panic::resume_unwind(e);
            }
        }
    }
    let names = [
        "gaps",
        "copies",
        "bad tags",
        "retransmissions",
        "full NIC",
        "lost sessions",
        "first on B",
        "not applied",
        "retransmit requests",
    ];
    for (name, n) in names.iter().zip(met) {
        let is_met = is_one || n > 3 || (!both && *name == "first on B");
        assert!(is_met, "{name}: {n} of {met:?}");
    }
}

#[test]
fn over_a_bad_network_every_report_comes_once_and_every_request_is_settled() {
    storms(1, 4, false, Suite::Aes128Gmac, 0);
}

#[test]
fn over_two_bad_lines_with_siphash_it_holds_as_well() {
    storms(10_000, 3, true, Suite::SipHash24, 0);
}

#[test]
fn a_venue_that_crashes_in_the_middle_goes_on_where_its_journal_ends() {
    storms(20_000, 3, false, Suite::SipHash24, 2);
    storms(30_000, 1, true, Suite::Aes128Gmac, 2);
}

#[test]
fn each_refusal_of_a_login_has_its_code() {
    let mut lab = Lab::new(40, 3);
    lab.locked.insert(MemberId(2));
    lab.run_ms(2);
    lab.crash();
    let at = lab.start(Lab::config(2), false);
    lab.run_until("refused", |l| !l.members[at].ended.is_empty());
    let rejected = |code| EndReason::Login(handshake::LoginError::Rejected(code));
    assert_eq!(
        lab.members[at].ended,
        [rejected(SessionReject::MemberLocked)]
    );
    let mut raw = Raw::login(&mut lab, 1);
    let good = raw.establish(lab.now());
    let bad: [(Establish, SessionReject); 7] = [
        (
            Establish {
                session_id: 1,
                ..good
            },
            SessionReject::WrongSession,
        ),
        (
            Establish {
                timestamp: good.timestamp - STALE_NS - MS,
                ..good
            },
            SessionReject::StaleTime,
        ),
        (
            Establish {
                next_seq_no: 0,
                ..good
            },
            SessionReject::SeqNoOutOfRange,
        ),
        (
            Establish {
                next_seq_no: SEQ_NO_MAX + 1,
                ..good
            },
            SessionReject::SeqNoOutOfRange,
        ),
        (
            Establish {
                keep_alive_ms: 19,
                ..good
            },
            SessionReject::KeepAliveOutOfRange,
        ),
        (
            Establish {
                keep_alive_ms: 10_001,
                ..good
            },
            SessionReject::KeepAliveOutOfRange,
        ),
        (
            Establish {
                cod_policy: 3,
                ..good
            },
            SessionReject::BadCodPolicy,
        ),
    ];
    for (establish, code) in bad {
        assert_eq!(
            reason(raw.ask(&mut lab, establish)),
            code as u16,
            "{code:?}"
        );
    }
    assert_eq!(lab.venue.tile.counters().establish_rejects, 7);
    assert_eq!(lab.session_events(MemberId(1)), [], "nothing was opened");
    // The keys are good still, and an Establish that comes again is answered again.
    for _ in 0..2 {
        let answer = raw.ask(&mut lab, good);
        assert!(
            matches!(answer, Some(SessionMessage::EstablishmentAck(_))),
            "{answer:?}"
        );
    }
    assert_eq!(lab.venue.tile.counters().established, 1);
    lab.venue.logins.stop();
    let at = lab.start(Lab::config(3), false);
    lab.run_until("refused", |l| !l.members[at].ended.is_empty());
    assert_eq!(lab.members[at].ended, [rejected(SessionReject::NotServing)]);
    assert_eq!(lab.venue.logins.counters.rejects, 2);
}

#[test]
fn every_end_of_a_session_is_told_sequenced_and_cancels_by_policy() {
    let mut lab = Lab::new(41, 3);
    let events = |lab: &Lab| -> Vec<u8> {
        let all = lab.session_events(MemberId(1));
        all.iter().map(|(event, _)| *event).collect()
    };
    let flagged = |id| NewOrder {
        flags: FLAG_CANCEL_ON_DISCONNECT,
        ..order(id, 1, Side::Buy, "99000", 1)
    };
    let live = |lab: &Lab| matcher::book::OrderBook::live(lab.venue.tile.core().engine.book());
    let (mut id, mut next) = (0, 1);
    let mut want = Vec::new();
    // Each round: a session, an order that stays and one that goes, and an end.
    for round in 0..5 {
        let mut raw = Raw::login(&mut lab, 1);
        let establish = Establish {
            next_seq_no: next,
            ..raw.establish(lab.now())
        };
        raw.ask(&mut lab, establish);
        want.push(SESSION_ESTABLISHED);
        let pair = [
            flagged(id + 1).into(),
            order(id + 2, 1, Side::Buy, "98000", 1).into(),
        ];
        let d = raw.datagram(KIND_DATA, next, &pair);
        raw.send(&mut lab, &d);
        raw.listen(&mut lab, 3);
        id += 2;
        next += 2;
        assert_eq!(live(&lab), round + 2, "round {round}");
        raw.heard.clear();
        match round {
            0 => {
                let bye = Terminate {
                    session_id: raw.logged_in.session_id,
                    reason: 0,
                    pad1: 0,
                    pad2: 0,
                };
                // For another session: nothing happens.
                assert_eq!(
                    raw.ask(
                        &mut lab,
                        Terminate {
                            session_id: 5,
                            ..bye
                        }
                    ),
                    None
                );
                raw.tell(&mut lab, bye);
                raw.tell(&mut lab, bye);
                raw.listen(&mut lab, 5);
                assert_eq!(raw.heard.len(), 1, "answered once");
                assert_eq!(
                    reason(raw.heard.last().copied()),
                    TerminateReason::Finished as u16
                );
                want.push(SESSION_TERMINATED);
            }
            1 => {
                raw.listen(&mut lab, 3_000 + 5);
                assert_eq!(
                    reason(raw.heard.last().copied()),
                    TerminateReason::TimedOut as u16
                );
                want.push(SESSION_LOST);
            }
            2 => {
                let d = raw.datagram(
                    KIND_DATA,
                    0,
                    &[order(id + 1, 1, Side::Buy, "98000", 1).into()],
                );
                raw.send(&mut lab, &d);
                raw.listen(&mut lab, 3);
                assert_eq!(
                    reason(raw.heard.last().copied()),
                    TerminateReason::ProtocolError as u16
                );
                want.push(SESSION_ENDED);
            }
            3 => {
                let mut newer = Raw::login(&mut lab, 1);
                assert_eq!(live(&lab), round + 2, "keys alone disturb nobody");
                let establish = Establish {
                    next_seq_no: next + 7,
                    ..newer.establish(lab.now())
                };
                newer.tell(&mut lab, establish);
                lab.step();
                // Both at one address: the old one is told first.
                let d = lab.take_down(address(1, 0)).unwrap();
                let (header, body, _) = datagram::split(&d).unwrap();
                assert_eq!(header.conn_id, raw.logged_in.conn_id);
                let told = reason(read_session_message(body).ok());
                assert_eq!(told, TerminateReason::Replaced as u16);
                want.extend([SESSION_REPLACED, SESSION_ESTABLISHED]);
                newer.listen(&mut lab, 3);
                let (_, dead) = lab.numbers(MemberId(1));
                assert_eq!(
                    dead.into_iter().collect::<Vec<_>>(),
                    (next..next + 7).collect::<Vec<_>>()
                );
                let Some(SessionMessage::EstablishmentAck(ack)) = newer.heard.first() else {
                    panic!("{:?}", newer.heard);
                };
                assert_eq!(ack.next_client_seq_no, next + 7);
                next += 7;
                // The next one ends it.
                want.push(SESSION_REPLACED);
            }
            _ => {
                lab.crash();
                lab.run_ms(3);
                want.push(SESSION_LOST);
            }
        }
        assert_eq!(
            live(&lab),
            round + 1,
            "round {round}: the flagged order is gone"
        );
        let told = lab.venue.reports(MemberId(1));
        let gone = |r: &&Report| matches!(r, Report::Canceled(m) if m.reason == CANCEL_DISCONNECT);
        assert_eq!(told.iter().filter(gone).count(), round + 1);
    }
    assert_eq!(events(&lab), want);
    // A replay of the whole journal ends in the same state.
    let hash = lab.venue.tile.core().engine.state_hash();
    lab.crash();
    assert_eq!(lab.venue.tile.core().engine.state_hash(), hash);
}

#[test]
fn a_silent_member_is_lost_after_three_intervals_and_a_slot_among_any_number_of_sessions() {
    let mut lab = Lab::new(42, 120);
    for member in 1..=100 {
        let mut config = Lab::config(member);
        config.keep_alive_ms = 20 + member % 7 * 30;
        lab.start(config, false);
    }
    let mut slow = Lab::config(101);
    slow.keep_alive_ms = KEEP_ALIVE_MS_MAX;
    lab.start(slow, false);
    lab.run_until("all open", |l| {
        l.members.iter().all(|m| m.session.is_open())
    });
    lab.run_ms(1_000);
    assert_eq!(lab.venue.tile.counters().lost_sessions, 0);
    for at in [0, 3, 57, 100] {
        let id = lab.members[at].id;
        let interval = if at == 100 {
            10_000
        } else {
            u64::from(20 + id.0 % 7 * 30)
        };
        lab.members[at].is_silent = true;
        let begun = lab.now();
        lab.run_until("lost", |l| {
            l.session_events(id)
                .last()
                .is_some_and(|e| e.0 == SESSION_LOST)
        });
        let lost = lab.records(id).last().unwrap().header.time_ns;
        let ms = (lost - begun.0) / MS;
        // Its last datagram was sent up to an interval before it fell silent.
        assert!(
            ms >= 2 * interval - 2 && ms <= 3 * interval + 4,
            "{interval}: {ms}"
        );
    }
    assert_eq!(lab.venue.tile.counters().lost_sessions, 4);
    let alive = lab
        .members
        .iter()
        .filter(|m| m.session.is_open() && !m.is_silent);
    assert_eq!(alive.count(), 97, "nobody else is lost at either end");
}

#[test]
fn what_a_turn_costs_does_not_grow_with_the_sessions_that_are_open() {
    let looks = |idle: u32| {
        let mut lab = Lab::new(43, idle + 1);
        for member in 2..idle + 2 {
            let mut config = Lab::config(member);
            config.keep_alive_ms = KEEP_ALIVE_MS_MAX;
            lab.start(config, false);
            // As fast as logins are answered.
            lab.run_ms(u64::from(member % 20 == 0));
        }
        lab.open(Lab::config(1), false);
        lab.run_until("all open", |l| {
            l.members.iter().all(|m| m.session.is_open())
        });
        let before = lab.venue.tile.counters();
        let mut ids = OrderIds::starting_at(1);
        let active = lab.members.len() - 1;
        for _ in 0..200 {
            let request = order(ids.next_id(), 1, Side::Buy, "99000", 1);
            lab.members[active].send(request);
            lab.step();
        }
        let after = lab.venue.tile.counters();
        (
            after.report_looks - before.report_looks,
            after.timer_looks - before.timer_looks,
        )
    };
    let (few, _) = looks(2);
    let (many, timers) = looks(1_000);
    assert_eq!(few, many, "only who has reports is looked at");
    assert!((190..=500).contains(&many), "{many} looks for 200 orders");
    // In 200 ms each idle session is looked at for one heartbeat at most.
    assert!(timers <= 1_010, "{timers} looks at timers");
}

#[test]
fn a_bad_tag_an_old_number_and_an_unknown_connection_are_silent_and_counted() {
    for suite in [Suite::Aes128Gmac, Suite::SipHash24] {
        let mut lab = Lab::new(44, 3);
        let mut raw = Raw::open_with(&mut lab, 1, SuiteSet::only(suite));
        assert_eq!(raw.logged_in.suite, suite);
        let request = [order(1, 1, Side::Buy, "99000", 1).into()];
        let good = raw.datagram(KIND_DATA, 1, &request);
        let before = lab.venue.tile.counters();
        for bit in 8 * 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            raw.send(&mut lab, &bad);
        }
        let mut unknown = good.clone();
        unknown[4..8].copy_from_slice(&0x00ff_f00f_u32.to_le_bytes());
        raw.send(&mut lab, &unknown);
        lab.run_ms(40);
        let c = lab.venue.tile.counters();
        assert_eq!(c.unknown_connection - before.unknown_connection, 1);
        // A flipped bit of the packet number makes it too old, used up, or the tag wrong.
        let refused = c.bad_tag - before.bad_tag + c.too_old - before.too_old + c.keys_used_up
            - before.keys_used_up
            + c.replayed
            - before.replayed;
        assert_eq!(refused, (good.len() as u64 - 8) * 8);
        assert!(c.bad_tag > before.bad_tag + 500 && c.keys_used_up > before.keys_used_up);
        assert_eq!(c.tx_datagrams, before.tx_datagrams, "nothing is answered");
        // None of it burnt the number: the true one is taken, once, on whatever port its copies come.
        raw.send(&mut lab, &good);
        lab.send_up(ORDERS_B, address(1, 0), &good);
        raw.send(&mut lab, &good);
        lab.run_ms(3);
        assert_eq!(lab.venue.tile.counters().replayed - c.replayed, 2);
        assert_eq!(lab.numbers(MemberId(1)).0.len(), 1);
    }
}

#[test]
fn what_cannot_be_sent_again_is_refused_for_its_reason() {
    let mut lab = Lab::new(46, 3);
    let mut raw = Raw::open(&mut lab, 1);
    // Far more than the hot tile holds; the first are in the spool.
    let (mut id, total) = (0, 3_000);
    while id < total {
        let requests: Vec<Request> = (1..=20)
            .map(|n| order(id + n, 1, Side::Buy, "99000", 1).into())
            .collect();
        let d = raw.datagram(KIND_DATA, id + 1, &requests);
        raw.send(&mut lab, &d);
        raw.listen(&mut lab, 1);
        id += 20;
    }
    raw.listen(&mut lab, 5);
    let next = raw.reports.last().unwrap().0 + 1;
    assert!(next > total);
    let all = std::mem::take(&mut raw.reports);
    let refused = |m: Option<RetransmitReject>| {
        let m = m.expect("a refusal");
        assert_eq!((m.first_seq_no, m.next_seq_no), (1, next));
        (
            RetransmitRefusal::from_wire(m.reason).unwrap(),
            m.retry_after_ms,
        )
    };
    use RetransmitRefusal as R;
    assert_eq!(refused(raw.retransmit(&mut lab, 0, 5)), (R::TooLow, 0));
    assert_eq!(refused(raw.retransmit(&mut lab, next, 5)), (R::TooHigh, 0));
    assert_eq!(refused(raw.retransmit(&mut lab, 1, 0)), (R::EmptyRange, 0));
    // Out of the spool, out of memory, across the edge, and at the end: one datagram each.
    for from in [1, 2, next - 1_025, next - 1_024, next - 1] {
        raw.kinds = [0; 4];
        assert_eq!(raw.retransmit(&mut lab, from, u32::MAX), None);
        assert_eq!(raw.kinds[KIND_RETRANSMISSION as usize], 1, "{from}");
        let got = std::mem::take(&mut raw.reports);
        let first = all.iter().position(|(n, _)| *n == from);
        // The two deposits were reported before the session was open.
        let want = first.map_or(&all[..0], |i| &all[i..]);
        assert!(!got.is_empty());
        let (known, told): (Vec<_>, Vec<_>) =
            (want.iter().zip(&got)).map(|(a, b)| (*a, *b)).unzip();
        assert_eq!(known, told);
    }
    // While the spool is busy with one request the next one is refused.
    lab.spool_percent = 0;
    assert_eq!(raw.retransmit(&mut lab, 1, 5), None);
    let (why, wait) = refused(raw.retransmit(&mut lab, 1, 5));
    assert!(why == R::Busy && wait > 0);
    lab.spool_percent = 100;
    raw.listen(&mut lab, 3);
    // More than the member's rate allows.
    raw.kinds = [0; 4];
    raw.heard.clear();
    for _ in 0..5_000 {
        let request = RetransmitRequest {
            timestamp: 77,
            from_seq_no: next - 1,
            count: 1,
            pad1: 0,
        };
        raw.tell(&mut lab, request);
    }
    raw.listen(&mut lab, 200);
    let limited = raw.heard.iter().filter(|m| {
        matches!(m, SessionMessage::RetransmitReject(m) if m.reason == R::RateLimit as u16 && m.retry_after_ms == 1)
    });
    let (limited, served) = (limited.count(), raw.kinds[KIND_RETRANSMISSION as usize]);
    assert!(
        served >= 4_000 && limited > 0 && limited + served as usize == 5_000,
        "{served} {limited}"
    );
    let c = lab.venue.tile.counters();
    assert_eq!(c.retransmit_rejects, 4 + limited as u64);
    assert!(c.spool_reads >= 4);
}

#[test]
fn one_event_with_more_reports_than_memory_holds_skips_none() {
    let mut lab = Lab::new(47, 2);
    lab.durable_percent = 40;
    lab.spool_percent = 60;
    lab.net.set_tx_full(10);
    let at = lab.open(Lab::config(1), false);
    for id in 1..=4_000 {
        lab.members[at].send(order(id, 1, Side::Buy, "99000", 1));
        if id % 80 == 0 {
            lab.step();
        }
    }
    lab.settle();
    lab.members[at].send(mass_cancel(4_001, 1, None, None));
    lab.settle();
    lab.check();
    assert_eq!(lab.members[at].reports.len(), 2 + 2 * 4_000 + 1);
    // Only the two deposits came before the session was open.
    assert!(lab.members[at].session.counters().retransmit_requests <= 2);
}

#[test]
fn a_spool_without_room_holds_up_what_comes_in_and_loses_nothing() {
    let mut lab = Lab::new(48, 2);
    let at = lab.open(Lab::config(1), false);
    lab.spool_percent = 0;
    let mut id = 0;
    while lab.venue.tile.counters().spool_stalls == 0 {
        for _ in 0..400 {
            id += 1;
            lab.members[at].send(order(id, 9, Side::Buy, "99000", 1));
        }
        lab.step();
        assert!(id < 60_000);
    }
    let before = lab.venue.records.len();
    lab.run_ms(20);
    assert!(lab.venue.records.len() <= before + 2, "nothing is taken in");
    lab.spool_percent = 100;
    lab.settle();
    lab.check();
}

#[test]
fn a_heartbeat_shows_what_was_lost_at_the_end_of_the_flow() {
    let mut lab = Lab::new(49, 2);
    let mut raw = Raw::open(&mut lab, 1);
    let d = raw.datagram(KIND_HEARTBEAT, 5, &[]);
    raw.send(&mut lab, &d);
    raw.listen(&mut lab, 3);
    let last = raw.reports.last().map(|(_, r)| *r);
    assert!(
        matches!(last, Some(Report::NotApplied(m)) if (m.from_seq_no, m.count) == (1, 4)),
        "{last:?}"
    );
    // A dead number never acts, also within a datagram whose end is new.
    let requests: Vec<Request> = (1..=3)
        .map(|n| order(n, 1, Side::Buy, "99000", 1).into())
        .collect();
    let d = raw.datagram(KIND_DATA, 3, &requests);
    raw.send(&mut lab, &d);
    raw.listen(&mut lab, 3);
    let (applied, dead) = lab.numbers(MemberId(1));
    assert_eq!(applied.into_iter().collect::<Vec<_>>(), [5]);
    assert_eq!(dead.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
}
