//! Random streams through engine, exported functions and twin: every report byte for byte, best
//! prices and depths after every message.
//!
//! `REFEREE_CASES=N` runs N streams of each kind (default 40), `REFEREE_SEED=S` one stream of each with that seed.

mod common;

use common::stream::{Prices, Stream};
use common::{Direct, Exported, Subject, Twin, compare};
use referee::Limits;
use referee::abi::{Cancel, Message};
use referee::engine::FRAMES;

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
