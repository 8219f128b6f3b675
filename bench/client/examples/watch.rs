//! Watches the market: both lines, books from snapshots, and whether the venue signed what it said.
//!
//! ```text
//! cargo run -p client --example watch -- <line A> <line B> <re-requests> <snapshots> <checkpoints> <venue public key, hex>
//! ```

use client::{E9, Feed, FeedConfig, FeedEvent, now};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [line_a, line_b, requests, snapshots, checkpoints, key] = args.as_slice() else {
        return Err(
            "usage: watch <line A> <line B> <re-requests> <snapshots> <checkpoints> <venue public key>"
                .into(),
        );
    };
    let config = FeedConfig::new(line_a.parse()?, Some(requests.parse()?))
        .with_line_b(line_b.parse()?)
        .with_snapshots(snapshots.parse()?)
        .with_checkpoints(checkpoints.parse()?, key.parse()?);
    let mut feed = Feed::join(&config)?;
    loop {
        match feed.poll(now())? {
            None => std::thread::sleep(Duration::from_millis(1)),
            // In the middle of a matching event the books still show the one before.
            Some(FeedEvent::Message { settled: false, .. }) => {}
            Some(FeedEvent::Message { seq, message, .. }) => {
                print!("{seq:>9} {:<20}", message.name());
                for (instrument, book) in feed.books() {
                    let price = |level: Option<client::Level>| {
                        level.map_or("-".to_owned(), |l| E9(l.price).to_string())
                    };
                    let (bid, ask) = (price(book.best_bid()), price(book.best_ask()));
                    print!("  {instrument}: {bid} / {ask}");
                }
                println!();
            }
            Some(FeedEvent::Skipped { from, count }) => {
                println!("{count} messages from {from} are lost: waiting for snapshots");
            }
            Some(FeedEvent::BookReady { instrument }) => println!("book of {instrument} is there"),
            Some(FeedEvent::Synced) => println!("everything is known"),
            Some(FeedEvent::Checkpoint {
                last_seq,
                batch_no,
                verdict,
            }) => println!("signed up to {last_seq}, batch {batch_no}: {verdict:?}"),
            Some(FeedEvent::EndOfSession) => {
                println!("{:?}", feed.counters());
                return Ok(());
            }
        }
    }
}
