//! Random streams through engine, exported functions and twin: every report byte for byte, best
//! prices and depths after every message.
//!
//! `REFEREE_CASES=N` runs N streams of each kind (default 40), `REFEREE_SEED=S` one stream of each with that seed.

mod common;

use common::{Direct, Exported, Subject, Twin, compare};
use referee::Limits;
use referee::abi::{Cancel, Message, Modify, NewOrder};
use referee::engine::FRAMES;

/// SplitMix64: the same stream for the same seed everywhere.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }
}

/// How prices come about.
#[derive(Clone, Copy, Debug)]
enum Prices {
    /// Near a middle that walks slowly: the window follows.
    Walk,
    /// Near a middle that jumps anywhere now and then.
    Jumps,
    /// Near a middle that often goes to where it has been: moves find a book there, and orders come in
    /// between its prices while it moves.
    Hops,
    /// Anywhere, with both ends of the range.
    Anywhere,
}

struct Stream {
    random: Random,
    prices: Prices,
    middle: i64,
    spread: u64,
    ids: u64,
    sequence: u64,
    /// Prices named so far, a few of the last ones.
    named: Vec<i64>,
}

impl Stream {
    fn new(seed: u64, prices: Prices, spread: u64) -> Self {
        Self {
            random: Random(seed),
            prices,
            middle: 33_504,
            spread,
            ids: 60,
            sequence: 0,
            named: Vec::new(),
        }
    }

    /// A price for an order of `side`: mostly away from the middle, so that books grow deep.
    fn price(&mut self, side: u8) -> i64 {
        let random = &mut self.random;
        match self.prices {
            Prices::Walk => {
                self.middle += random.below(self.spread / 2 + 3) as i64 - self.spread as i64 / 8;
            }
            Prices::Jumps if random.below(150) == 0 => self.middle = random.bits() as i64,
            Prices::Hops if random.below(40) == 0 => {
                let hop = 1_500.max(30 * self.spread as i64);
                self.middle = 33_504 + hop * random.below(3) as i64;
            }
            Prices::Anywhere if random.below(3) == 0 => {
                let ends = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
                return ends[random.below(7) as usize];
            }
            Prices::Anywhere if random.below(2) == 0 => return random.bits() as i64,
            _ => {}
        }
        let away = random.below(self.spread) as i64;
        let passive = random.below(5) > 0;
        let off = if passive == (side == 0) { -away } else { away };
        self.middle.saturating_add(off)
    }

    /// Few ids, so that they are reused; most far from each other, some in one place of the id map.
    fn id(&mut self) -> u64 {
        let pick = self.random.below(self.ids);
        match pick % 3 {
            0 => pick,
            1 => pick << 40 | 5,
            _ => u64::MAX - pick,
        }
    }

    fn quantity(&mut self) -> u32 {
        match self.random.below(120) {
            0 => 0,
            1 => u32::MAX,
            2 => (1 << 24) - 2 + self.random.below(4) as u32,
            3 => self.random.bits() as u32,
            _ => 1 + self.random.below(100) as u32,
        }
    }

    fn next(&mut self) -> Message {
        self.sequence += 1;
        let (id, sequence, side) = (self.id(), self.sequence, self.random.below(2) as u8);
        let (price, quantity) = (self.price(side), self.quantity());
        if self.named.len() == 12 {
            self.named.remove(self.random.below(12) as usize);
        }
        self.named.push(price);
        match self.random.below(10) {
            0..6 => Message::new_order(NewOrder {
                id,
                sequence,
                price,
                quantity,
                side,
                ioc: u8::from(self.random.below(6) == 0),
                pad: [0; 2],
            }),
            6..8 => Message::cancel(Cancel { id, sequence }),
            _ => Message::modify(Modify {
                id,
                sequence,
                price,
                quantity,
                side,
                pad: [0; 3],
            }),
        }
    }
}

/// The seeds to run.
fn seeds() -> Vec<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    match number("REFEREE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("REFEREE_CASES").unwrap_or(40)).collect(),
    }
}

/// Plays one stream and gives the most orders seen outside the window and the number of reports.
fn play(
    subject: &mut Direct,
    seed: u64,
    prices: Prices,
    spread: u64,
    ids: u64,
    orders: u32,
) -> (u32, usize) {
    let mut twin = Twin::new(orders);
    let mut stream = Stream::new(seed, prices, spread);
    stream.ids = ids;
    let (mut cold, mut reports) = (0, 0);
    for _ in 0..1_500 {
        let message = stream.next();
        let expected = twin.message(&message);
        let at = format!(
            "message {} of {prices:?}; again: REFEREE_SEED={seed}",
            stream.sequence
        );
        compare(subject, &twin, &message, &expected, &stream.named, &at);
        assert_eq!(subject.0.live() as usize, twin.live(), "{at}");
        if stream.sequence.is_multiple_of(16) {
            subject.0.check();
        }
        cold = cold.max(subject.0.cold());
        reports += expected.len();
    }
    (cold, reports)
}

/// A small window and few orders, so that the window moves, both tiers are in use and the memory
/// runs out.
#[test]
fn random_streams_agree_with_the_twin() {
    for seed in seeds() {
        for prices in [Prices::Walk, Prices::Jumps, Prices::Hops, Prices::Anywhere] {
            for (spread, ids, orders) in [
                (8, 60, 40),
                (40, 1_200, 900),
                (400, 300, 200),
                (3 * 16 * u64::from(FRAMES), 90, 90),
            ] {
                let mut subject = Direct::new(Limits {
                    orders,
                    page_bits: 4,
                });
                let (cold, reports) = play(&mut subject, seed, prices, spread, ids, orders);
                assert!(reports > 1_000, "{reports} reports");
                let near = matches!(prices, Prices::Walk) && spread <= 40;
                assert!(
                    near || cold > 0,
                    "all of {prices:?} +-{spread} fitted the window"
                );
            }
        }
    }
}

/// The same through the exported functions, with the memory of a real run: one call a message,
/// and batches.
#[test]
fn random_streams_through_the_c_interface_agree_with_the_twin() {
    for seed in seeds().into_iter().take(4) {
        for (prices, batched) in [
            (Prices::Walk, false),
            (Prices::Jumps, true),
            (Prices::Anywhere, false),
        ] {
            let mut subject = Exported::start(batched);
            let mut twin = Twin::new(Limits::FULL.orders);
            let mut stream = Stream::new(seed, prices, 300_000);
            for _ in 0..3_000 {
                let message = stream.next();
                let expected = twin.message(&message);
                let at = format!(
                    "message {} of {prices:?}; again: REFEREE_SEED={seed}",
                    stream.sequence
                );
                compare(&mut subject, &twin, &message, &expected, &stream.named, &at);
            }
        }
    }
}

#[test]
fn a_batch_gives_the_reports_of_its_messages_one_by_one() {
    for seed in seeds().into_iter().take(4) {
        let mut subject = Exported::start(true);
        let mut twin = Twin::new(Limits::FULL.orders);
        let mut stream = Stream::new(seed, Prices::Walk, 50);
        for run in 0..200 {
            let mut messages: Vec<Message> = (0..run).map(|_| stream.next()).collect();
            // What is no message has no report.
            messages.push(Message {
                kind: 3,
                ..Message::cancel(Cancel { id: 1, sequence: 0 })
            });
            let expected: Vec<_> = messages.iter().flat_map(|m| twin.message(m)).collect();
            assert_eq!(
                subject.batch(&messages),
                expected,
                "again: REFEREE_SEED={seed}"
            );
            assert_eq!(subject.best(), twin.best(), "again: REFEREE_SEED={seed}");
        }
    }
}
