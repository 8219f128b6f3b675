//! What a hand-over between two pinned tiles costs: our lane, what else could carry it, and a plain ring, for the sizes
//! that the machine uses.
//!
//! `cargo run --release -p lane --example lanes -- [CORE CORE] [--items N]`
//!
//! One way: items a second when one core pushes and the other takes as fast as they can. Both ways: one item there
//! and back, so twice what a request pays to cross.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures time; the lane itself knows none"
)]

use crossbeam_queue::ArrayQueue;
use lane::{bounded, frame_words, frames, pin_to_core};
use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// Items that fit.
const DEPTH: usize = 4_096;
const ROUND_TRIPS: usize = 200_000;

/// An item of `N` words.
type Item<const N: usize> = [u64; N];

trait Tx<T>: Send {
    fn push(&mut self, item: T) -> bool;
}

trait Rx<T>: Send {
    fn pop(&mut self) -> Option<T>;
}

type Ends<T> = (Box<dyn Tx<T>>, Box<dyn Rx<T>>);

impl<T: Send> Tx<T> for lane::Producer<T> {
    fn push(&mut self, item: T) -> bool {
        Self::push(self, item).is_ok()
    }
}

impl<T: Send> Rx<T> for lane::Consumer<T> {
    fn pop(&mut self) -> Option<T> {
        Self::pop(self)
    }
}

impl<T: Send> Tx<T> for Arc<ArrayQueue<T>> {
    fn push(&mut self, item: T) -> bool {
        ArrayQueue::push(self, item).is_ok()
    }
}

impl<T: Send> Rx<T> for Arc<ArrayQueue<T>> {
    fn pop(&mut self) -> Option<T> {
        ArrayQueue::pop(self)
    }
}

impl<T: Send> Tx<T> for crossbeam_channel::Sender<T> {
    fn push(&mut self, item: T) -> bool {
        self.try_send(item).is_ok()
    }
}

impl<T: Send> Rx<T> for crossbeam_channel::Receiver<T> {
    fn pop(&mut self) -> Option<T> {
        self.try_recv().ok()
    }
}

/// A lane of frames whose bodies have the size of the item.
impl<const N: usize> Tx<Item<N>> for lane::FrameProducer {
    fn push(&mut self, item: Item<N>) -> bool {
        Self::push(self, [0; lane::FRAME_HEAD], bytemuck::cast_slice(&item)).is_ok()
    }
}

impl<const N: usize> Rx<Item<N>> for lane::FrameConsumer {
    fn pop(&mut self) -> Option<Item<N>> {
        let (_, body) = Self::pop(self)?;
        Some(bytemuck::pod_read_unaligned(body))
    }
}

/// The textbook's ring: both ends look at both indices each time, and these share a line.
struct Plain {
    head: AtomicU64,
    tail: AtomicU64,
    words: Vec<AtomicU64>,
}

struct PlainTx(Arc<Plain>);
struct PlainRx(Arc<Plain>);

impl<const N: usize> Tx<Item<N>> for PlainTx {
    fn push(&mut self, item: Item<N>) -> bool {
        let ring = &*self.0;
        let tail = ring.tail.load(Ordering::Relaxed);
        if tail - ring.head.load(Ordering::Acquire) == DEPTH as u64 {
            return false;
        }
        let at = tail as usize % DEPTH * N;
        for (word, value) in ring.words[at..at + N].iter().zip(item) {
            word.store(value, Ordering::Relaxed);
        }
        ring.tail.store(tail + 1, Ordering::Release);
        true
    }
}

impl<const N: usize> Rx<Item<N>> for PlainRx {
    fn pop(&mut self) -> Option<Item<N>> {
        let ring = &*self.0;
        let head = ring.head.load(Ordering::Relaxed);
        if ring.tail.load(Ordering::Acquire) == head {
            return None;
        }
        let at = head as usize % DEPTH * N;
        let item = std::array::from_fn(|i| ring.words[at + i].load(Ordering::Relaxed));
        ring.head.store(head + 1, Ordering::Release);
        Some(item)
    }
}

fn ends<const N: usize>(kind: &str) -> Ends<Item<N>> {
    match kind {
        "lane" => {
            let (tx, rx) = bounded(DEPTH);
            (Box::new(tx), Box::new(rx))
        }
        "lane of frames" => {
            let (tx, rx) = frames(DEPTH * frame_words(8 * N), 8 * N);
            (Box::new(tx), Box::new(rx))
        }
        "ArrayQueue" => {
            let queue = Arc::new(ArrayQueue::new(DEPTH));
            (Box::new(Arc::clone(&queue)), Box::new(queue))
        }
        "channel" => {
            let (tx, rx) = crossbeam_channel::bounded(DEPTH);
            (Box::new(tx), Box::new(rx))
        }
        _ => {
            let ring = Arc::new(Plain {
                head: AtomicU64::new(0),
                tail: AtomicU64::new(0),
                words: (0..DEPTH * N).map(|_| AtomicU64::new(0)).collect(),
            });
            (
                Box::new(PlainTx(Arc::clone(&ring))),
                Box::new(PlainRx(ring)),
            )
        }
    }
}

fn pop<T>(rx: &mut dyn Rx<T>) -> T {
    loop {
        if let Some(item) = rx.pop() {
            return item;
        }
        spin_loop();
    }
}

fn push<T: Copy>(tx: &mut dyn Tx<T>, item: T) {
    while !tx.push(item) {
        spin_loop();
    }
}

/// Nanoseconds an item, one way, and a sum that must hold.
fn one_way<const N: usize>(kind: &str, cores: [usize; 2], items: u64) -> f64 {
    let (mut tx, mut rx) = ends::<N>(kind);
    let taker = thread::spawn(move || {
        pin_to_core(cores[1]).expect("the core exists");
        let mut sum = 0_u64;
        for _ in 0..items {
            let item = black_box(pop(&mut *rx));
            sum = sum.wrapping_add(item[0]).wrapping_add(item[N - 1]);
        }
        sum
    });
    pin_to_core(cores[0]).expect("the core exists");
    let begun = Instant::now();
    for i in 0..items {
        push(&mut *tx, black_box([i; N]));
    }
    let sum = taker.join().expect("the taker ends");
    let ns = begun.elapsed().as_nanos() as f64 / items as f64;
    assert_eq!(sum, items * (items - 1), "nothing lost, nothing twice");
    ns
}

/// Round trips in ns: p50, p99, p99.9, worst.
fn both_ways<const N: usize>(kind: &str, cores: [usize; 2]) -> [u64; 4] {
    let (mut there, mut from) = ends::<N>(kind);
    let (mut back, mut here) = ends::<N>(kind);
    let echo = thread::spawn(move || {
        pin_to_core(cores[1]).expect("the core exists");
        for _ in 0..ROUND_TRIPS {
            let item = pop(&mut *from);
            push(&mut *back, item);
        }
    });
    pin_to_core(cores[0]).expect("the core exists");
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for i in 0..ROUND_TRIPS as u64 {
        let begun = Instant::now();
        push(&mut *there, black_box([i; N]));
        let item = pop(&mut *here);
        times.push(begun.elapsed().as_nanos() as u64);
        assert_eq!((item[0], item[N - 1]), (i, i));
    }
    echo.join().expect("the echo ends");
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    [at(0.5), at(0.99), at(0.999), at(1.0)]
}

fn rows<const N: usize>(what: &str, cores: [usize; 2], items: u64) {
    for kind in [
        "lane",
        "lane of frames",
        "ArrayQueue",
        "channel",
        "plain ring",
    ] {
        // The best of three: what the machine did beside it is not the queue's.
        let ns = (0..3)
            .map(|_| one_way::<N>(kind, cores, items))
            .fold(f64::INFINITY, f64::min);
        let [p50, p99, p999, worst] = both_ways::<N>(kind, cores);
        println!(
            "{what:<10} {:>4} B  {kind:<15} {ns:>8.1} ns/item {:>8.2} M/s   round trip p50 {p50:>6} p99 {p99:>6} p99.9 {p999:>7} worst {worst:>9} ns",
            8 * N,
            1e3 / ns
        );
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |s: &String| s.parse::<usize>().ok();
    let cores: Vec<usize> = args.iter().map_while(number).collect();
    let cores = match cores[..] {
        [] => [0, 1],
        [a, b] if a != b => [a, b],
        _ => panic!("two different cores"),
    };
    let items = args.iter().position(|a| a == "--items");
    let items = items
        .and_then(|i| number(args.get(i + 1)?))
        .unwrap_or(4_000_000) as u64;
    println!("cores {cores:?}, depth {DEPTH}, {items} items one way, {ROUND_TRIPS} round trips");
    rows::<1>("watermark", cores, items);
    rows::<7>("times", cores, items);
    rows::<16>("request", cores, items);
    rows::<22>("record", cores, items);
}
