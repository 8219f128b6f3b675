//! The engine takes all its memory at the start: nothing for orders, fills, ids anywhere, prices far away, or
//! a window that moves.

mod common;

use common::stream::{Prices, Stream};
use referee::abi::{Message, Report};
use referee::engine::Sink;
use referee::{Engine, Limits};
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

#[derive(Default)]
struct Counter {
    reports: u64,
}

impl Sink for Counter {
    fn push(&mut self, _: &Report) {
        self.reports += 1;
    }
}

#[test]
fn the_running_engine_takes_no_memory() {
    for prices in [Prices::Walk, Prices::Jumps, Prices::Hops, Prices::Anywhere] {
        let limits = Limits {
            orders: 900,
            page_bits: 4,
        };
        let mut engine = Engine::new(limits, 1).unwrap();
        let mut stream = Stream::new(1, prices, 40);
        stream.ids = 1_200;
        let messages: Vec<Message> = (0..20_000).map(|_| stream.next()).collect();
        let (mut sink, mut cold) = (Counter::default(), 0);
        let before = TAKEN.with(Cell::get);
        for message in &messages {
            engine.message(message, &mut sink);
            cold = cold.max(engine.cold());
        }
        let taken = TAKEN.with(Cell::get) - before;
        assert_eq!(taken, 0, "{prices:?}");
        assert!(sink.reports > 20_000, "{prices:?}: {}", sink.reports);
        let far = matches!(prices, Prices::Walk) || cold > 0;
        assert!(far, "{prices:?}: all orders were in the window");
    }
}
