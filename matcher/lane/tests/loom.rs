//! Every interleaving, and every stale read that the memory model allows, of short runs of a lane.
//!
//! Built and run by `cargo ci loom`; empty without `--cfg loom`. `LOOM_MAX_PREEMPTIONS` bounds the search:
//! the gate sets it.
#![cfg(loom)]

use lane::{
    Consumer, FRAME_HEAD, Parker, Producer, Waker, Watermark, bounded, frame_words, frames,
};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::time::Duration;

/// Never waited for: under loom a sleep ends only by a wake-up.
const LONG: Duration = Duration::from_secs(60);

/// Pushes `items`, each with a wake-up of its own.
fn send(mut tx: Producer<u32>, waker: &Waker, items: std::ops::Range<u32>) {
    for mut item in items {
        while let Err(back) = tx.push(item) {
            item = back;
            thread::yield_now();
        }
        waker.wake();
    }
}

/// The next item; sleeps whenever there is none.
fn receive(rx: &mut Consumer<u32>, parker: &Parker) -> u32 {
    loop {
        match rx.pop() {
            Some(item) => return item,
            None => drop(parker.park(LONG, || !rx.is_empty()).unwrap()),
        }
    }
}

#[test]
fn an_item_is_never_slept_through() {
    loom::model(|| {
        let (tx, mut rx) = bounded(2);
        let parker = Parker::new().unwrap();
        let waker = parker.waker();
        let sender = thread::spawn(move || send(tx, &waker, 0..2));
        assert_eq!(receive(&mut rx, &parker), 0);
        assert_eq!(receive(&mut rx, &parker), 1);
        sender.join().unwrap();
        assert_eq!(rx.pop(), None);
    });
}

#[test]
fn a_lane_of_one_hands_over_each_item_once_and_in_order() {
    loom::model(|| {
        let (tx, mut rx) = bounded(1);
        let parker = Parker::new().unwrap();
        let waker = parker.waker();
        let sender = thread::spawn(move || send(tx, &waker, 0..2));
        for item in 0..2 {
            assert_eq!(receive(&mut rx, &parker), item);
        }
        sender.join().unwrap();
    });
}

#[test]
fn a_frame_is_seen_whole_or_not_at_all_and_not_slept_through() {
    loom::model(|| {
        let (mut tx, mut rx) = frames(frame_words(8), 8);
        let parker = Parker::new().unwrap();
        let waker = parker.waker();
        let sender = thread::spawn(move || {
            for n in 1..=2_u64 {
                while tx.push([n; FRAME_HEAD], &[n as u8; 8]).is_err() {
                    thread::yield_now();
                }
                waker.wake();
            }
        });
        for n in 1..=2_u64 {
            while rx.is_empty() {
                parker.park(LONG, || !rx.is_empty()).unwrap();
            }
            assert_eq!(rx.pop(), Some(([n; FRAME_HEAD], [n as u8; 8].as_slice())));
        }
        sender.join().unwrap();
    });
}

#[test]
fn a_tile_that_sleeps_behind_two_lanes_misses_neither() {
    loom::model(|| {
        let parker = Parker::new().unwrap();
        let lanes: Vec<_> = (0..2).map(|_| bounded(1)).collect();
        let mut receivers = Vec::new();
        let mut senders = Vec::new();
        for (i, (tx, rx)) in lanes.into_iter().enumerate() {
            let waker = parker.waker();
            let first = i as u32;
            senders.push(thread::spawn(move || send(tx, &waker, first..first + 1)));
            receivers.push(rx);
        }
        let mut found = [false; 2];
        while found.contains(&false) {
            let mut idle = true;
            for rx in &mut receivers {
                while let Some(item) = rx.pop() {
                    assert!(!std::mem::replace(&mut found[item as usize], true));
                    idle = false;
                }
            }
            if idle {
                let has_work = || receivers.iter().any(|rx| !rx.is_empty());
                parker.park(LONG, has_work).unwrap();
            }
        }
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn who_sleeps_on_a_watermark_sees_it_rise() {
    loom::model(|| {
        let mut mark = Watermark::new(0);
        let reader = mark.reader();
        let parker = Parker::new().unwrap();
        let waker = parker.waker();
        let writer = thread::spawn(move || {
            for to in 1..=2 {
                mark.raise(to);
                waker.wake();
            }
        });
        let mut last = 0;
        while last < 2 {
            parker.park(LONG, || reader.get() > last).unwrap();
            let now = reader.get();
            assert!(now >= last, "a watermark fell from {last} to {now}");
            last = now;
        }
        writer.join().unwrap();
    });
}

/// Memory that only the watermark orders: loom fails the model when a read races with a write.
struct Written(Vec<UnsafeCell<u64>>);

// SAFETY: needed to share cells between the model's threads; loom checks every access for a race.
unsafe impl Sync for Written {}

#[test]
fn what_was_written_before_a_rise_is_seen_after_it() {
    loom::model(|| {
        let written = Arc::new(Written((0..2).map(|_| UnsafeCell::new(0)).collect()));
        let mut mark = Watermark::new(0);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (reader, written) = (mark.reader(), Arc::clone(&written));
                thread::spawn(move || {
                    for cell in &written.0[..reader.get() as usize] {
                        // SAFETY: the writer is done with what lies below the watermark.
                        assert_eq!(cell.with(|at| unsafe { *at }), 7);
                    }
                })
            })
            .collect();
        for (i, cell) in written.0.iter().enumerate() {
            // SAFETY: nobody reads a cell above the watermark.
            cell.with_mut(|at| unsafe { *at = 7 });
            mark.raise(i as u64 + 1);
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

/// The parker's protocol with its two fences left out must be found wanting, or these models prove nothing.
#[test]
#[should_panic(expected = "deadlock")]
fn without_its_fences_a_parker_loses_a_wake_up() {
    #[derive(Default)]
    struct Unfenced {
        parked: AtomicBool,
        set: Mutex<bool>,
        rung: Condvar,
    }
    loom::model(|| {
        let (mut tx, rx) = bounded(1);
        let shared = Arc::new(Unfenced::default());
        let theirs = Arc::clone(&shared);
        let sender = thread::spawn(move || {
            tx.push(0).unwrap();
            if theirs.parked.load(Ordering::Relaxed) {
                *theirs.set.lock().unwrap() = true;
                theirs.rung.notify_one();
            }
        });
        shared.parked.store(true, Ordering::Relaxed);
        if rx.is_empty() {
            let mut set = shared.set.lock().unwrap();
            while !*set {
                set = shared.rung.wait(set).unwrap();
            }
        }
        sender.join().unwrap();
    });
}
