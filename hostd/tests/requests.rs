//! Requests that are answered by several reports, and what is due by itself, over the real session layer.

mod lab;

use client::{
    OrderIds, Report, Sent, Side, dead_man_timer, kill_switch, limit_order, mass_quote,
    open_orders, parse_e9, positions, quote, unlock,
};
use firmware::units::MemberId;
use firmware::wire::input::InTimer;
use firmware::wire::order::{NewOrder, TIF_GTD};
use firmware::wire::report::{
    CANCEL_DEAD_MAN, CANCEL_EXPIRED, DEAD_MAN_ARMED, DEAD_MAN_FIRED, QUOTE_ACCEPTED,
};
use firmware::wire::sbe::{ID16_NULL, Message};
use lab::{Faults, Lab, MS, Rng};
use std::collections::BTreeSet;

fn order(id: u64, price: &str) -> NewOrder {
    limit_order(id, 1, 0, Side::Buy, parse_e9(price).unwrap(), 1)
}

/// Times at which the journal says that time passed.
fn timers(lab: &Lab) -> Vec<u64> {
    let all = lab.records(MemberId(0));
    let timers = all.filter(|r| r.header.template == InTimer::TEMPLATE);
    timers.map(|r| r.header.time_ns).collect()
}

#[test]
fn what_is_due_happens_within_a_turn_and_costs_no_record_before() {
    let mut lab = Lab::new(70, 2);
    let at = lab.open(Lab::config(1), false);
    lab.run_until("a timer", |l| !timers(l).is_empty());
    let begun = lab.now().0;
    lab.members[at].send(order(1, "99000"));
    lab.members[at].send(NewOrder {
        time_in_force: TIF_GTD,
        expire_time: begun + 20 * MS + 1,
        ..order(2, "98000")
    });
    lab.members[at].send(dead_man_timer(3, 50 * MS));
    lab.settle();
    let told = |lab: &Lab| lab.members[at].reports.last().copied();
    lab.run_ms(25);
    assert!(
        matches!(told(&lab), Some(Report::Canceled(m)) if m.cl_ord_id == 2 && m.reason == CANCEL_EXPIRED),
        "{:?}",
        told(&lab)
    );
    // Armed again in time, it is put off.
    lab.members[at].send(dead_man_timer(4, 50 * MS));
    lab.settle();
    let Some(Report::DeadManReport(armed)) = told(&lab) else {
        panic!("{:?}", told(&lab));
    };
    assert_eq!(armed.event, DEAD_MAN_ARMED);
    lab.run_until("deadline", |l| l.now().0 >= armed.deadline + 3 * MS);
    lab.settle();
    let reports = &lab.members[at].reports;
    let [Report::Canceled(gone), Report::DeadManReport(fired)] = reports[reports.len() - 2..]
    else {
        panic!("{reports:?}");
    };
    assert_eq!((gone.cl_ord_id, gone.reason), (1, CANCEL_DEAD_MAN));
    assert_eq!((fired.event, fired.count), (DEAD_MAN_FIRED, 1));
    assert!(
        (armed.deadline..=armed.deadline + MS).contains(&fired.engine_time),
        "{fired:?}"
    );
    // One for the expiry, one for the dead man; the next one of every half second is not due.
    let passed: Vec<_> = timers(&lab).into_iter().filter(|t| *t > begun).collect();
    assert_eq!(passed.len(), 2, "{passed:?}");
    assert!(passed[0] > begun + 20 * MS && passed[0] <= begun + 21 * MS + 1);
    assert_eq!(passed[1], fired.engine_time);
}

#[test]
fn a_deadline_that_passed_while_the_venue_was_down_is_met_at_once() {
    let mut lab = Lab::new(71, 2);
    let at = lab.open(Lab::config(1), false);
    lab.members[at].send(order(1, "99000"));
    lab.members[at].send(dead_man_timer(2, 50 * MS));
    lab.settle();
    lab.crash();
    lab.clock.set(client::TimeNs(lab.now().0 + 60 * MS));
    lab.run_ms(1);
    let live = matcher::book::OrderBook::live(lab.venue.tile.core().engine.book());
    assert_eq!(live, 0);
}

/// Checks that the reports of each mass quote, page of open orders and list of positions stand together, parts
/// before their end; returns how many of each there were, and of quotes accepted.
fn check_answers(reports: &[Report]) -> [usize; 4] {
    let mut met = [0; 4];
    let mut parts: Vec<&Report> = Vec::new();
    for report in reports {
        match report {
            Report::QuoteStatus(_) | Report::OpenOrder(_) => parts.push(report),
            Report::PositionMargin(m) if m.instrument != ID16_NULL => parts.push(report),
            Report::MassQuoteAck(m) => {
                let entries = std::mem::take(&mut parts);
                assert_eq!(entries.len(), usize::from(m.entries));
                for (place, part) in entries.iter().enumerate() {
                    let Report::QuoteStatus(s) = part else {
                        panic!("{part:?}");
                    };
                    assert_eq!((s.client_seq, usize::from(s.entry)), (m.client_seq, place));
                    met[3] += usize::from(s.bid_status == QUOTE_ACCEPTED);
                }
                met[0] += 1;
            }
            Report::OpenOrdersEnd(m) => {
                let orders = std::mem::take(&mut parts);
                assert_eq!(orders.len(), m.count as usize);
                let named = |r: &&Report| matches!(r, Report::OpenOrder(o) if o.request_cl_ord_id == m.cl_ord_id);
                assert!(orders.iter().all(named));
                met[1] += 1;
            }
            Report::PositionMargin(m) => {
                let held = std::mem::take(&mut parts);
                let named = |r: &&Report| matches!(r, Report::PositionMargin(p) if p.client_seq == m.client_seq);
                assert!(held.iter().all(named));
                met[2] += 1;
            }
            _ => {}
        }
    }
    assert!(parts.is_empty());
    met
}

/// Programs that lost their session log in again.
fn revive(lab: &mut Lab) {
    let now = lab.now();
    for m in lab.members.iter_mut().filter(|m| !m.ended.is_empty()) {
        m.ended.clear();
        m.session.reconnect(now).unwrap();
    }
}

#[test]
fn quotes_and_questions_over_a_bad_network_are_answered_whole_or_told_lost() {
    let mut lab = Lab::new(72, 2);
    lab.durable_percent = 40;
    lab.spool_percent = 50;
    lab.net.set_tx_full(5);
    lab.faults(Faults {
        loss: 15,
        repeat: 15,
        corrupt: 3,
        delay_max_ns: 8 * MS,
        ..Faults::NONE
    });
    let (maker, taker) = (
        lab.open(Lab::config(1), true),
        lab.open(Lab::config(2), false),
    );
    let (mut ids, mut rng) = (OrderIds::starting_at(1), Rng(72));
    let mut sent = BTreeSet::new();
    for step in 0..1_200 {
        if step == 600 {
            lab.crash();
        }
        let id = ids.next_id();
        let m = &mut lab.members[maker];
        if m.session.is_open() {
            let seq = match rng.below(12) {
                0 => m.session.send(&open_orders(id, 1, None, 0).into()),
                1 => m.session.send(&positions(id, 1).into()),
                2 if rng.percent(30) => m.session.send(&kill_switch(id, None).into()),
                2 => m.session.send(&unlock(id, None).into()),
                _ => {
                    let bid = 99_980_000_000_000 + rng.below(10) as i64 * 1_000_000_000;
                    let lots = 1 + rng.below(3) as i64;
                    let perp = quote(0, Some((bid, lots)), Some((bid + 15_000_000_000, lots)));
                    let option = quote(1, Some((1_000_000_000, lots)), None);
                    let entries = [perp, option];
                    let count = 1 + rng.below(2) as usize;
                    m.session.send_quote(&mass_quote(id, 1), &entries[..count])
                }
            };
            assert!(sent.insert(seq.unwrap()));
        }
        let t = &mut lab.members[taker];
        if t.session.is_open() && rng.percent(20) {
            let side = [Side::Buy, Side::Sell][rng.below(2) as usize];
            let price = 99_985_000_000_000 + rng.below(10) as i64 * 1_000_000_000;
            t.send(limit_order(ids.next_id(), 3, 0, side, price, 1));
        }
        lab.step();
        revive(&mut lab);
    }
    lab.faults(Faults::default());
    lab.net.set_tx_full(0);
    for _ in 0..3_000 {
        lab.step();
        revive(&mut lab);
    }
    lab.settle();
    lab.venue.take_records();
    let (applied, dead) = lab.numbers(MemberId(1));
    let told = lab.venue.reports(MemberId(1));
    let m = &lab.members[maker];
    assert_eq!(m.reports, told);
    assert_eq!(m.lost.keys().copied().collect::<BTreeSet<_>>(), dead);
    assert_eq!(applied.union(&dead).copied().collect::<BTreeSet<_>>(), sent);
    let lost_quotes = m.lost.values().filter(|r| matches!(r, Sent::MassQuote(..)));
    assert!(lost_quotes.count() > 5);
    let met = check_answers(&told);
    assert!(met.iter().all(|n| *n > 20), "{met:?}");
    assert!(told.iter().any(|r| matches!(r, Report::KillSwitchAck(_))));
    assert!(told.iter().any(|r| matches!(r, Report::Filled(_))));
    assert!(m.session.counters().retransmit_requests > 5);
}
