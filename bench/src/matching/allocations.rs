//! Counts the calls of the allocator, so that a bench can say that a timed part made none.

#![expect(
    unsafe_code,
    reason = "an allocator can only be wrapped by an unsafe impl"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Of this thread: other threads' allocations are none of a timed part's business.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Allocations and reallocations of this thread so far.
pub(crate) fn count() -> u64 {
    CALLS.with(Cell::get)
}

fn counted() {
    // A thread that is being torn down has no counter any more.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain cell of the
// thread, initialised without allocating and without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        counted();
        // SAFETY: the caller keeps the contract of this same function.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        counted();
        // SAFETY: the caller keeps the contract of this same function.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        counted();
        // SAFETY: the caller keeps the contract of this same function.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this same function.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::count;
    use std::hint::black_box;

    #[test]
    fn each_allocation_is_counted() {
        let before = count();
        let kept = black_box(Box::new(1u8));
        let grown = black_box(vec![0u8; 1_000]);
        assert_eq!(count() - before, 2);
        drop((kept, grown));
        assert_eq!(count() - before, 2);
    }
}
