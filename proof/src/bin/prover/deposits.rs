//! The way in: final L1 deposits go to the venue, in queue order, each once.
//!
//! Nothing is kept here. The venue is asked what it expects next, before every look at L1; so a venue that
//! restarted and lost what was not durable, and a prover that was killed in the middle, both go on from there.

use crate::chain::{NODE_PATIENCE, Silence};
use crate::out::Out;
use crate::venue::{Taken, Venue};
use anyhow::Context;
use l1::{Deposit, DepositWatch, Settlement};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks.
const POLL: Duration = Duration::from_millis(400);
/// Between two looks while the venue does not answer, or refuses.
const POLL_TROUBLE: Duration = Duration::from_secs(1);
/// How often trouble that lasts is told again.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Deposits in one request.
const REQUEST_DEPOSITS_MAX: usize = 64;

/// What the relay works with.
pub(crate) struct Relay {
    pub(crate) settlement: Settlement,
    pub(crate) venue: Venue,
    /// Blocks on top of a deposit before it counts as final.
    pub(crate) confirmations: u64,
    /// How long the venue may take to come up at first.
    pub(crate) venue_patience: Duration,
    pub(crate) out: Out,
}

impl Relay {
    /// Runs for ever.
    ///
    /// # Errors
    /// If the venue never came up, if L1 stays silent, or if it contradicts itself. A venue that was up and went
    /// away is only told of: batches that it left are still to be proven.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut seen = false;
        let mut trouble = Trouble::default();
        let mut watch: Option<DepositWatch> = None;
        let mut silence = Silence::default();
        loop {
            match self.venue.next_deposit().await {
                Ok(next) => {
                    seen = true;
                    if watch.as_ref().is_none_or(|w| w.next_index() != next) {
                        watch = Some(self.settlement.watch_deposits(next, self.confirmations));
                    }
                }
                Err(e) if !seen && begun.elapsed() >= self.venue_patience => {
                    let seconds = self.venue_patience.as_secs();
                    return Err(e.context(format!("the venue did not come up in {seconds} s")));
                }
                Err(e) => {
                    let when = if seen { "went away" } else { "is not up yet" };
                    trouble.tell(self.out, &format!("the venue {when}: {e:#}"));
                    sleep(POLL_TROUBLE).await;
                    continue;
                }
            }
            let Some(watch) = &mut watch else { continue };
            let found = watch.poll(&self.settlement).await;
            let Some(found) = silence.pass(found).context("deposits")? else {
                sleep(POLL_TROUBLE).await;
                continue;
            };
            let delivered = self.deliver(&found, &mut trouble).await;
            sleep(if delivered { POLL } else { POLL_TROUBLE }).await;
        }
    }

    /// Whether the venue took all.
    async fn deliver(&self, found: &[Deposit], trouble: &mut Trouble) -> bool {
        for part in found.chunks(REQUEST_DEPOSITS_MAX) {
            match self.venue.deposit(part).await {
                Ok(Taken::All) => {
                    trouble.over();
                    part.iter().for_each(|d| self.tell(d));
                }
                Ok(Taken::Refused(reason)) => {
                    trouble.tell(self.out, &format!("the venue refuses a deposit: {reason}"));
                    return false;
                }
                Err(e) => {
                    trouble.tell(self.out, &format!("deposits wait: {e:#}"));
                    return false;
                }
            }
        }
        true
    }

    fn tell(&self, d: &Deposit) {
        let fields = json!({
            "queue_index": d.index,
            "account": d.account,
            "owner": d.owner.to_string(),
            "amount_micro": d.amount_micro,
            "block": d.block,
        });
        let text = format!(
            "deposit {}: {} micro-units for account {} handed to the venue",
            d.index, d.amount_micro, d.account
        );
        self.out.event("deposit", fields, text);
    }
}

/// Trouble that lasts is told when it begins or changes, and now and then.
#[derive(Default)]
struct Trouble {
    told: Option<(String, Instant)>,
}

impl Trouble {
    fn tell(&mut self, out: Out, text: &str) {
        let is_repeated = self
            .told
            .as_ref()
            .is_some_and(|(told, at)| told == text && at.elapsed() < TELL_EVERY);
        if !is_repeated {
            self.told = Some((text.to_owned(), Instant::now()));
            out.event("warning", json!({ "text": text }), text);
        }
    }

    fn over(&mut self) {
        self.told = None;
    }
}

const _: () = assert!(POLL_TROUBLE.as_millis() < NODE_PATIENCE.as_millis());
