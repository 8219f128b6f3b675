//! Once sessions are open, gateway and engine take no memory, on one tile or on two: not for requests and their reports, not for heartbeats, not
//! for what is lost, spoiled, asked for again, or waits for the NIC. Closing a batch and logging in are left out.

mod lab;

use client::{OrderIds, Side, cancel, limit_order, mass_cancel, parse_e9};
use firmware::wire::input::InDropCopy;
use hostd::ops::operator::OperatorInput;
use hostd::storage::recover::Listing;
use hostd::tiles::lanes::ToEngine;
use hostd::tiles::topology::TopologyName;
use lab::{Faults, IN_TILE, Lab, MS, Rng};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// Counts what the hot tile takes.
struct Counting;

fn count() {
    // While a thread ends its locals are gone, and so is the tile.
    if IN_TILE.try_with(Cell::get).unwrap_or(false) {
        let _ = TAKEN.try_with(|t| t.set(t.get() + 1));
    }
}

// SAFETY: needed because only the global allocator sees every allocation. Sound because each call goes on to the
// system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_hot_tile_with_open_sessions_takes_no_memory() {
    takes_no_memory(TopologyName::Shared);
}

#[test]
fn gateway_and_engine_with_open_sessions_take_no_memory() {
    takes_no_memory(TopologyName::Pinned);
}

fn takes_no_memory(topology: TopologyName) {
    let mut lab = Lab::on(topology, 60, 40);
    // The last one gets copies of all that the first two are told.
    let copies = [1, 2].map(|of| InDropCopy { member: 40, of });
    lab.venue.tile.open_day(&Listing {
        drop_copies: copies.into(),
        ..Listing::default()
    });
    for member in 1..=40 {
        lab.start(Lab::config(member), member % 2 == 0);
    }
    lab.run_until("all open", |l| {
        l.members.iter().all(|m| m.session.is_open())
    });
    lab.run_ms(50);
    lab.durable_percent = 50;
    lab.spool_percent = 50;
    lab.faults(Faults {
        loss: 5,
        repeat: 5,
        corrupt: 2,
        delay_max_ns: 3 * MS,
        ..Faults::NONE
    });
    lab.net.set_tx_full(3);
    let (mut ids, mut rng) = (OrderIds::starting_at(1), Rng(60));
    let (before, counters, fills) = {
        let tile = &lab.venue.tile;
        (
            TAKEN.get(),
            tile.counters(),
            tile.core().engine.counters().fills,
        )
    };
    for _ in 0..1_500 {
        for (at, account) in [(0, 1), (1, 3)] {
            let member = &mut lab.members[at];
            if !member.session.is_open() {
                continue;
            }
            let id = ids.next_id();
            let side = [Side::Buy, Side::Sell][rng.below(2) as usize];
            let price = format!("{}", 99_995 + rng.below(10));
            match rng.below(20) {
                0 => drop(member.send(mass_cancel(id, account, None, None))),
                1 => drop(member.send(cancel(id, account, 0, id - 2))),
                _ => {
                    let price = parse_e9(&price).unwrap();
                    member.send(limit_order(id, account, 0, side, price, 1));
                }
            }
        }
        lab.step();
    }
    let tile = &lab.venue.tile;
    assert_eq!(TAKEN.get() - before, 0, "allocations on hot tiles");
    let told = |member: usize| {
        let flow = tile.core().members[member].as_ref().unwrap();
        flow.next_report - 1
    };
    assert_eq!(told(40), told(1) + told(2));
    let c = tile.counters();
    // All of it happened meanwhile.
    assert!(tile.core().engine.counters().fills - fills > 200);
    for (name, now, was) in [
        ("gaps", c.gaps, counters.gaps),
        ("copies", c.replayed, counters.replayed),
        ("bad tags", c.bad_tag, counters.bad_tag),
        (
            "retransmissions",
            c.retransmissions,
            counters.retransmissions,
        ),
        ("full NIC", c.tx_stalls, counters.tx_stalls),
        ("timers", c.timer_looks, counters.timer_looks),
    ] {
        assert!(now > was + 5, "{name}: {now} after {was}");
    }
    assert!(
        lab.venue
            .control
            .to_engine
            .push(ToEngine::Operator(
                bytemuck::Zeroable::zeroed(),
                Some(OperatorInput::Seal)
            ))
            .is_ok()
    );
    lab.step();
    assert!(
        TAKEN.get() > before,
        "closing a batch takes memory, and so the count is shown to work"
    );
}
