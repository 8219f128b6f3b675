//! One tile or two: the same stages, the same journal, the same answer when the venue does not keep up.

mod lab;

use client::{OrderIds, Report, Side, cancel, limit_order, mass_cancel, parse_e9};
use firmware::reject::RejectCode;
use firmware::wire::order::{FLAG_REDUCE_ONLY, NewOrder, ReduceQty};
use hostd::tiles::engine::HighWater;
use hostd::tiles::topology::TopologyName::{self, Pinned, Shared};
use hostd::tiles::wiring::HIGH_WATER;
use lab::{Lab, MS, Place, Rng};

fn order(id: u64, account: u32, side: Side, price: u64) -> NewOrder {
    let price = parse_e9(&price.to_string()).unwrap();
    limit_order(id, account, 0, side, price, 1)
}

/// Two members trade, one leaves and comes again, a third falls silent.
fn a_day(topology: TopologyName) -> Lab {
    let mut lab = Lab::on(topology, 80, 3);
    for member in 1..=3 {
        lab.open(Lab::config(member), member == 2);
    }
    let (mut ids, mut rng) = (OrderIds::starting_at(1), Rng(80));
    for step in 0..400 {
        for (at, account) in [(0, 1), (1, 3), (0, 2)] {
            if !lab.members[at].session.is_open() {
                continue;
            }
            let id = ids.next_id();
            let side = [Side::Buy, Side::Sell][rng.below(2) as usize];
            match rng.below(20) {
                0 => drop(lab.members[at].send(mass_cancel(id, account, None, None))),
                1 => drop(lab.members[at].send(cancel(id, account, 0, id - 3))),
                _ => {
                    let price = 99_995 + rng.below(10);
                    lab.members[at].send(order(id, account, side, price));
                }
            }
        }
        if step == 150 {
            let now = lab.now();
            lab.members[1].session.terminate(now);
        }
        if step == 200 {
            lab.members[2].is_silent = true;
        }
        lab.step();
    }
    lab.run_ms(1_000);
    lab.venue.take_records();
    lab
}

#[test]
fn the_same_requests_write_the_same_journal_on_one_tile_and_on_two() {
    let [one, two] = [Shared, Pinned].map(a_day);
    let (a, b) = (&one.venue.records, &two.venue.records);
    assert!(a.len() > 800, "{} records", a.len());
    for (a, b) in a.iter().zip(b) {
        // Session ids are drawn by the client.
        let is_session = a.header.template == 622;
        let body = |r: &lab::Stored| r.body()[if is_session { 8 } else { 0 }..].to_vec();
        assert_eq!((a.header, body(a)), (b.header, body(b)));
    }
    assert_eq!(a.len(), b.len());
    let hash = |lab: &Lab| lab.venue.tile.core().engine.state_hash();
    assert_eq!(hash(&one), hash(&two));
    let fills = one.venue.tile.core().engine.counters().fills;
    assert!(fills > 100, "{fills} fills");
}

fn codes(reports: &[Report]) -> Vec<u16> {
    let code = |r: &Report| match r {
        Report::Rejected(r) => Some(r.reason),
        _ => None,
    };
    reports.iter().filter_map(code).collect()
}

/// While the journal takes nothing, new risk is refused from the mark on, and cancels and reductions pass.
fn overload(topology: TopologyName) {
    const MARK: usize = 40;
    let place = Place {
        topology,
        high_water: HighWater {
            journal: MARK,
            ..HIGH_WATER
        },
    };
    let mut lab = Lab::at(place, 81, 2);
    let at = lab.open(Lab::config(1), false);
    let mut big = order(1, 1, Side::Buy, 99_000);
    big.quantity = 10;
    lab.members[at].send(big);
    lab.settle();
    lab.durable_percent = 0;
    let before = lab.members[at].reports.len();
    // One a turn, as the mark is looked at once a turn.
    for id in 2..=100 {
        lab.members[at].send(order(id, 1, Side::Buy, 98_000));
        lab.run_ms(1);
    }
    let reduce = ReduceQty {
        cl_ord_id: 101,
        orig_cl_ord_id: 1,
        quantity: 4,
        account: 1,
        ..bytemuck::Zeroable::zeroed()
    };
    lab.members[at].send(reduce);
    lab.members[at].send(cancel(102, 1, 0, 2));
    let mut reducing = order(103, 1, Side::Sell, 101_000);
    reducing.flags = FLAG_REDUCE_ONLY;
    lab.members[at].send(reducing);
    lab.run_ms(5);
    let lane = lab.venue.lane("journal");
    assert!(
        lane.used > MARK as u64 && lane.high_water >= lane.used,
        "{lane:?}"
    );
    assert_eq!(lab.members[at].reports.len(), before, "nothing is durable");

    // The journal goes on, and so does the venue.
    lab.durable_percent = 100;
    lab.settle();
    lab.members[at].send(order(104, 1, Side::Buy, 98_000));
    lab.settle();
    let told = &lab.members[at].reports[before..];
    let refused = codes(told);
    let overloaded = RejectCode::Overloaded as u16;
    let count = refused.iter().filter(|c| **c == overloaded).count();
    assert_eq!(lane.refusals, count as u64);
    assert!((40..=80).contains(&count), "{count} refusals: {lane:?}");
    // The reduce-only order got through the gate: that it has nothing to reduce is the engine's to say.
    assert_eq!(refused.len(), count + 1);
    assert_eq!(refused[count], RejectCode::WouldIncrease as u16);
    let [.., reduced, canceled, _, last] = told else {
        panic!("{told:?}");
    };
    assert!(
        matches!(reduced, Report::Replaced(m) if m.cl_ord_id == 1 && m.quantity == 4),
        "{reduced:?}"
    );
    assert!(
        matches!(canceled, Report::Canceled(m) if m.cl_ord_id == 2),
        "{canceled:?}"
    );
    assert!(
        matches!(last, Report::Accepted(m) if m.cl_ord_id == 104),
        "{last:?}"
    );
    // A replay, whose lanes are empty, refuses the same.
    lab.check();
    let hash = lab.venue.tile.core().engine.state_hash();
    assert_eq!(lab.replayed_hash(), hash);
    lab.crash();
    let (id, told) = (lab.members[at].id, lab.members[at].reports.clone());
    assert_eq!(lab.venue.reports(id), told);
}

#[test]
fn an_overloaded_venue_refuses_new_risk_and_replays_it_on_one_tile() {
    overload(Shared);
}

#[test]
fn an_overloaded_venue_refuses_new_risk_and_replays_it_on_two_tiles() {
    overload(Pinned);
}

/// With the journal's lane full, nothing is taken in and nothing is lost: packets wait, and go through in order.
fn fill(topology: TopologyName) {
    let mut lab = Lab::on(topology, 82, 2);
    let mut config = Lab::config(1);
    config.keep_alive_ms = 5_000;
    let at = lab.open(config, false);
    let before = lab.venue.tile.counters();
    lab.durable_percent = 0;
    let mut id = 0;
    // Until the network holds what neither lane has room for.
    while lab.venue.lane("arrivals").stalls < 20 {
        for _ in 0..2_000 {
            id += 1;
            // An id that was used: each is refused by the gate, and costs one record and one report.
            lab.members[at].send(order(1, 1, Side::Buy, 99_000));
        }
        lab.step();
        assert!(id < 300_000, "{:?}", lab.venue.lane("arrivals"));
    }
    let (journal, arrivals) = (lab.venue.lane("journal"), lab.venue.lane("arrivals"));
    assert!(
        journal.stalls > 0 && journal.used < journal.depth,
        "{journal:?}"
    );
    assert!(arrivals.used > HIGH_WATER.arrivals as u64, "{arrivals:?}");
    let sequenced = lab.venue.tile.core().engine.last_seq().0;
    lab.run_ms(3);
    assert_eq!(lab.venue.tile.core().engine.last_seq().0, sequenced);
    lab.durable_percent = 100;
    lab.settle();
    lab.check();
    let after = lab.venue.tile.counters();
    assert_eq!((after.gaps, after.dropped_for_tx), (before.gaps, 0));
    let refused = codes(&lab.members[at].reports);
    // The first of all was good; from the mark on the venue said that it had too much to do.
    assert_eq!(refused.len() as u64, id - 1);
    let overloaded = refused
        .iter()
        .filter(|c| **c == RejectCode::Overloaded as u16);
    let shown = lab.venue.lane("journal").refusals;
    assert_eq!(overloaded.count() as u64, shown);
    assert!(shown > 1_000, "{shown}");
    assert!(
        lab.now().0 - lab::START.0 < 5_000 * MS,
        "within the time of a heartbeat"
    );
}

/// Both lanes full, and no send slot left: only a poll of the NIC brings slots back, so the gateway polls and drops
/// what comes, rather than stand still for ever. Who sent it hears of it.
#[test]
fn with_full_lanes_and_a_full_nic_the_gateway_still_gets_its_send_slots_back() {
    let mut lab = Lab::on(Pinned, 83, 2);
    let mut config = Lab::config(1);
    config.keep_alive_ms = 5_000;
    let at = lab.open(config, false);
    lab.durable_percent = 0;
    let mut sent = 0;
    while lab.venue.lane("arrivals").stalls < 20 {
        for _ in 0..2_000 {
            sent += 1;
            lab.members[at].send(order(1, 1, Side::Buy, 99_000));
        }
        lab.step();
    }
    // Some reports may leave, and cannot.
    lab.net.set_tx_full(100);
    let durable = lab.venue.durable() + 50;
    lab.venue.journal.durable.raise(durable);
    lab.run_ms(5);
    let c = lab.venue.tile.counters();
    assert!(c.tx_stalls > 0 && c.dropped_for_tx > 0, "{c:?}");
    lab.net.set_tx_full(0);
    lab.durable_percent = 100;
    lab.settle();
    lab.check();
    let m = &lab.members[at];
    assert!(
        !m.lost.is_empty(),
        "what was dropped is dead, and its sender knows"
    );
    assert_eq!(m.sent.len(), sent);
}

#[test]
fn with_full_lanes_packets_wait_on_one_tile() {
    fill(Shared);
}

#[test]
fn with_full_lanes_packets_wait_on_two_tiles() {
    fill(Pinned);
}
