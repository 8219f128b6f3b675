//! Memory that is taken at the start and really there: a page that the kernel only promises costs its first
//! writer a fault in the middle of trading.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use core::mem::MaybeUninit;

/// A slice of equal values, every page of it written.
#[must_use]
pub fn taken<T: Copy>(value: T, len: usize) -> Box<[T]> {
    // Hidden from the optimiser, which would turn a vector of zeros into pages that are only promised.
    vec![black_box(value); len].into_boxed_slice()
}

/// An empty vector with room for `capacity` values, every page of it written.
#[must_use]
pub fn reserved<T>(capacity: usize) -> Vec<T> {
    let mut room = Vec::with_capacity(capacity);
    for place in room.spare_capacity_mut() {
        *place = MaybeUninit::zeroed();
    }
    black_box(room.as_mut_ptr());
    room
}
