//! Once warm, the engine takes no memory: not for orders, fills, cancels, replaces, mass cancels, batches
//! that close, nor for new risk tables.

mod common;

use bytemuck::Zeroable;
use common::{ACCOUNTS, PERP, Venue};
use firmware::wire::input::TIMER_SEAL;
use firmware::wire::order::{
    Cancel, FLAG_POST_ONLY, MassCancel, NewOrder, ORD_LIMIT, Replace, TIF_GTC, TIF_IOC,
};
use firmware::wire::sbe::{BYTE_NULL, ID16_NULL};
use matcher::book::{LadderBook, OrderBook};
use matcher::engine::{Engine, EngineLimits};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator with a count of what each thread takes.
struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter left, and nobody who asks.
    let _ = TAKEN.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the memory came from `System` with this layout.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the memory came from `System` with this layout; the caller answers for `size`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn taken(what: impl FnOnce()) -> u64 {
    let before = TAKEN.with(Cell::get);
    what();
    TAKEN.with(Cell::get) - before
}

/// Makers and takers that quote, replace, trade and cancel around the mark.
struct Floor {
    venue: Venue<LadderBook>,
    next_name: u64,
}

impl Floor {
    fn open() -> Self {
        let mut venue = Venue::new(4_096);
        for who in 1..=10 {
            venue.bind(who, who);
            venue.deposit(who, 1_000_000_000_000).expect("it follows");
        }
        venue.adopt();
        venue.oracle();
        venue.journal = None;
        Self {
            venue,
            next_name: 0,
        }
    }

    fn order(&mut self, who: u32, side: u8, lots: i64, ticks: i64, tif: u8, flags: u8) -> u64 {
        self.next_name += 1;
        let order = NewOrder {
            cl_ord_id: self.next_name,
            price: ticks * 100_000_000,
            quantity: lots,
            expire_time: 0,
            smp_id: 0,
            account: who,
            instrument: PERP,
            side,
            ord_type: ORD_LIMIT,
            time_in_force: tif,
            flags,
            stp_mode: 0,
            mmp_group: 0,
            pad1: 0,
        };
        self.venue.request(who, order);
        self.next_name
    }

    fn replace(&mut self, who: u32, name: u64, lots: i64, ticks: i64) -> u64 {
        self.next_name += 1;
        let replace = Replace {
            cl_ord_id: self.next_name,
            order_id: 0,
            orig_cl_ord_id: name,
            price: ticks * 100_000_000,
            quantity: lots,
            account: who,
            instrument: PERP,
            flags: 0,
            pad1: 0,
        };
        self.venue.request(who, replace);
        self.next_name
    }

    fn cancel(&mut self, who: u32, name: u64) {
        let cancel = Cancel {
            cl_ord_id: 0,
            order_id: 0,
            orig_cl_ord_id: name,
            account: who,
            instrument: PERP,
            pad1: 0,
        };
        self.venue.request(who, cancel);
    }

    fn mass_cancel(&mut self, who: u32) {
        let mass = MassCancel {
            cl_ord_id: 0,
            account: who,
            instrument: ID16_NULL,
            side: BYTE_NULL,
            mmp_group: BYTE_NULL,
            ..MassCancel::zeroed()
        };
        self.venue.request(who, mass);
    }

    /// Ordinary commands; the accounts are more than a batch holds, so batches close in between.
    fn round(&mut self) {
        for who in 1..=10 {
            let away = i64::from(who);
            let bid = self.order(who, 0, 20, 999 - away, TIF_GTC, FLAG_POST_ONLY);
            let ask = self.order(who, 1, 20, 1_001 + away, TIF_GTC, FLAG_POST_ONLY);
            let bid = self.replace(who, bid, 10, 999 - away);
            let ask = self.replace(who, ask, 30, 1_001 + away);
            self.replace(who, ask, 30, 1_002 + away);
            if who % 3 == 0 {
                self.cancel(who, bid);
            }
        }
        for who in 1..=10 {
            self.order(who, 0, 35, 1_008, TIF_IOC, 0);
            self.order(who, 1, 25, 992, TIF_IOC, 0);
        }
        for who in 1..=10 {
            self.mass_cancel(who);
        }
    }

    /// As many orders and fills in one event as there can be.
    fn sweep(&mut self) {
        for i in 0..1_040 {
            self.order(2 + i % 9, 1, 1, 1_000 + i64::from(i) / 64, TIF_GTC, 0);
        }
        self.order(1, 0, 1_040, 1_040, TIF_GTC, 0);
        for who in 1..=10 {
            self.mass_cancel(who);
        }
    }
}

#[test]
fn applying_commands_takes_no_memory_once_warm() {
    let mut floor = Floor::open();
    floor.sweep();
    floor.round();
    let before = floor.venue.engine.counters();
    let rounds = taken(|| (0..20).for_each(|_| floor.round()));
    let sweeps = taken(|| (0..3).for_each(|_| floor.sweep()));
    let after = floor.venue.engine.counters();
    assert!(after.fills - before.fills > 3_000, "{after:?}");
    assert!(after.batches - before.batches > 20, "{after:?}");
    assert_eq!((rounds, sweeps), (0, 0));
}

#[test]
fn the_first_commands_take_no_memory_either() {
    let mut floor = Floor::open();
    assert_eq!(taken(|| floor.round()), 0);
}

#[test]
fn the_first_commands_after_a_snapshot_was_read_take_no_memory_either() {
    let mut floor = Floor::open();
    floor.round();
    let mut bytes = Vec::new();
    floor.venue.engine.save(&mut bytes);
    let limits = EngineLimits {
        accounts: ACCOUNTS,
        orders: 4_096,
        ..EngineLimits::default()
    };
    floor.venue.engine = Engine::load(limits, &mut bytes.as_slice()).expect("just saved");
    assert_eq!(taken(|| floor.round()), 0);
}

#[test]
fn tables_timers_and_money_take_no_memory_once_warm() {
    let mut floor = Floor::open();
    floor.round();
    floor.order(1, 0, 5, 995, TIF_GTC, 0);
    for i in 0..8 {
        floor.venue.market.index_micro += if i % 2 == 0 { 2_500_000 } else { -2_500_000 };
        let table = floor.venue.build();
        let took = taken(|| {
            floor.venue.venue(&table);
            floor.venue.oracle();
            floor.venue.deposit(3, 1_000_000).expect("it follows");
            floor.venue.timer(TIMER_SEAL);
        });
        assert_eq!(took, 0, "table {i}");
    }
    assert!(floor.venue.engine.counters().settlements > 3);
    assert_eq!(floor.venue.engine.book().live(), 1);
}

#[test]
fn the_counter_counts() {
    assert_eq!(taken(|| drop(std::hint::black_box(vec![0u8; 64]))), 1);
}
