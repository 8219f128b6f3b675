//! The demo's own ear on the public feed: index, settlements and seals, for the pictures.

use super::Signalled;
use crate::clock::now_ns;
use crate::sockets::{Sockets, sleep};
use anyhow::Context as _;
use client::{Feed, FeedConfig, FeedEvent, FeedMessage};
use firmware::units::TimeNs;
use firmware::wire::feed::{BatchSealed, IndexUpdate, SettlementSummary};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// What the demo reports of the feed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    Index(IndexUpdate),
    Settlement(SettlementSummary),
    Sealed(BatchSealed),
    /// Re-requests so far.
    Gaps(u64),
}

/// Follows the feed on its own thread until nobody listens to it any more.
pub(crate) fn listen(line: &str, requests: &str, tx: Sender<Signalled>) -> anyhow::Result<()> {
    let sockets = Sockets::new(requests, Some(line))?;
    let handles = sockets.handles()?;
    let config = FeedConfig::new(line.parse().context("feed address")?, None);
    let mut feed = Feed::over(sockets, &config);
    std::thread::spawn(move || {
        let mut gaps = 0;
        loop {
            // A socket that fails leaves pictures out; the end check does not depend on this thread.
            while let Ok(Some(event)) = feed.poll(TimeNs(now_ns())) {
                let FeedEvent::Message { message, .. } = event else {
                    continue;
                };
                let seen = match message {
                    FeedMessage::IndexUpdate(m) => Seen::Index(m),
                    FeedMessage::SettlementSummary(m) => Seen::Settlement(m),
                    FeedMessage::BatchSealed(m) => Seen::Sealed(m),
                    _ => continue,
                };
                if tx.send(Signalled::Feed(seen)).is_err() {
                    return;
                }
            }
            let now = feed.counters().rerequests;
            if now != gaps {
                gaps = now;
                if tx.send(Signalled::Feed(Seen::Gaps(now))).is_err() {
                    return;
                }
            }
            sleep(&handles, Duration::from_millis(20));
        }
    });
    Ok(())
}
