//! Stands in for `rtrb` under loom, which sees only its own atomics: the same loads and stores with the same
//! orders, each end with its copy of the other's index, and cells whose every access loom checks for a race.
//!
//! `rtrb` itself is not modelled; its own threads cross it in the tests of `queue`.

#![expect(
    unsafe_code,
    reason = "the slots of a ring are shared memory: loom checks each access"
)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::cell::Cell;

pub(crate) struct RingBuffer<T> {
    /// Items taken so far. Stored by the consumer, whose partner is the producer's load.
    head: AtomicUsize,
    /// Items pushed so far. Stored by the producer, whose partner is the consumer's load.
    tail: AtomicUsize,
    abandoned: AtomicBool,
    slots: Vec<UnsafeCell<Option<T>>>,
}

// SAFETY: needed because a slot is written on one thread and read on another. Only the producer touches
// the slots between tail and head + depth, only the consumer those between head and tail; loom fails a
// model in which two accesses to a cell are not ordered.
unsafe impl<T: Send> Sync for RingBuffer<T> {}

pub(crate) struct Producer<T> {
    ring: Arc<RingBuffer<T>>,
    head: Cell<usize>,
    tail: usize,
}

pub(crate) struct Consumer<T> {
    ring: Arc<RingBuffer<T>>,
    head: usize,
    tail: Cell<usize>,
}

pub(crate) enum PushError<T> {
    Full(T),
}

impl<T> RingBuffer<T> {
    #[expect(clippy::new_ret_no_self, reason = "named as in rtrb")]
    pub(crate) fn new(depth: usize) -> (Producer<T>, Consumer<T>) {
        let ring = Arc::new(Self {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
            slots: (0..depth).map(|_| UnsafeCell::new(None)).collect(),
        });
        let producer = Producer {
            ring: Arc::clone(&ring),
            head: Cell::new(0),
            tail: 0,
        };
        let consumer = Consumer {
            ring,
            head: 0,
            tail: Cell::new(0),
        };
        (producer, consumer)
    }

    fn slot(&self, at: usize) -> &UnsafeCell<Option<T>> {
        &self.slots[at % self.slots.len()]
    }
}

impl<T> Producer<T> {
    pub(crate) fn push(&mut self, item: T) -> Result<(), PushError<T>> {
        let depth = self.ring.slots.len();
        if self.tail - self.head.get() == depth {
            self.head.set(self.ring.head.load(Ordering::Acquire));
            if self.tail - self.head.get() == depth {
                return Err(PushError::Full(item));
            }
        }
        // SAFETY: the slot at the tail is free, and only this end writes free slots.
        let write = |slot: *mut Option<T>| unsafe { *slot = Some(item) };
        self.ring.slot(self.tail).with_mut(write);
        self.tail += 1;
        self.ring.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    pub(crate) fn push_entire_slice(&mut self, items: &[T]) -> Result<(), ()>
    where
        T: Copy,
    {
        let depth = self.ring.slots.len();
        if depth - (self.tail - self.head.get()) < items.len() && self.slots() < items.len() {
            return Err(());
        }
        for (i, item) in items.iter().enumerate() {
            // SAFETY: as in `push`: the slots from the tail on are free.
            let write = |slot: *mut Option<T>| unsafe { *slot = Some(*item) };
            self.ring.slot(self.tail + i).with_mut(write);
        }
        self.tail += items.len();
        self.ring.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    pub(crate) fn cached_slots(&self) -> usize {
        self.ring.slots.len() - (self.tail - self.head.get())
    }

    pub(crate) fn slots(&self) -> usize {
        self.head.set(self.ring.head.load(Ordering::Acquire));
        self.ring.slots.len() - (self.tail - self.head.get())
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.ring.abandoned.load(Ordering::Acquire)
    }
}

impl<T> Consumer<T> {
    pub(crate) fn pop(&mut self) -> Result<T, ()> {
        if self.is_empty() {
            return Err(());
        }
        // SAFETY: the slot at the head is filled, and only this end touches filled slots.
        let take = |slot: *mut Option<T>| unsafe { (*slot).take() };
        let item = self.ring.slot(self.head).with_mut(take);
        self.head += 1;
        self.ring.head.store(self.head, Ordering::Release);
        Ok(item.expect("a filled slot"))
    }

    pub(crate) fn pop_entire_slice(&mut self, items: &mut [T]) -> Result<(), ()>
    where
        T: Copy,
    {
        if self.tail.get() - self.head < items.len() && self.slots() < items.len() {
            return Err(());
        }
        for (i, item) in items.iter_mut().enumerate() {
            // SAFETY: as in `pop`: the slots from the head to the tail are filled.
            let take = |slot: *mut Option<T>| unsafe { (*slot).take() };
            *item = (self.ring.slot(self.head + i).with_mut(take)).expect("a filled slot");
        }
        self.head += items.len();
        self.ring.head.store(self.head, Ordering::Release);
        Ok(())
    }

    pub(crate) fn peek(&self) -> Result<&T, ()> {
        if self.is_empty() {
            return Err(());
        }
        // SAFETY: as in `pop`; the slot stays filled while `self` is borrowed.
        let look = |slot: *const Option<T>| unsafe { (*slot).as_ref() };
        Ok(self.ring.slot(self.head).with(look).expect("a filled slot"))
    }

    pub(crate) fn is_empty(&self) -> bool {
        if self.head == self.tail.get() {
            self.tail.set(self.ring.tail.load(Ordering::Acquire));
        }
        self.head == self.tail.get()
    }

    pub(crate) fn slots(&self) -> usize {
        self.tail.set(self.ring.tail.load(Ordering::Acquire));
        self.tail.get() - self.head
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.ring.abandoned.load(Ordering::Acquire)
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.ring.abandoned.store(true, Ordering::Release);
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.ring.abandoned.store(true, Ordering::Release);
    }
}
