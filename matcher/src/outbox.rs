//! What one input caused, in order. The memory is taken once; the egress side drains it after each input.

use crate::engine::EngineLimits;
use crate::memory::reserved;
use alloc::vec::Vec;
use firmware::limits::FILLS_PER_ORDER_MAX;
use firmware::units::{MemberId, OrderId};
use firmware::wire::feed::FeedMessage;
use firmware::wire::report::Report;

/// One thing that an input caused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A member is told, in the member's numbered flow.
    Report(MemberId, Report),
    /// Everybody is told.
    Feed(FeedMessage),
}

/// Outcomes of one input, and the batches that it closed.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    outcomes: Vec<Outcome>,
    sealed: Vec<u8>,
    sealed_ends: Vec<usize>,
    last_feed: Option<usize>,
}

impl Outbox {
    /// An outbox with room for the largest event of an order; one that cancels more orders than that makes it
    /// grow.
    #[must_use]
    pub fn new() -> Self {
        Self::with_room(4 * FILLS_PER_ORDER_MAX + 16)
    }

    /// An outbox with room for any event of an engine of these limits, were it one that cancels all orders or
    /// settles all accounts.
    #[must_use]
    pub fn of(limits: &EngineLimits) -> Self {
        let canceled = 2 * limits.orders as usize;
        let told = limits.accounts + 4 * usize::from(limits.instruments);
        Self::with_room(canceled + told + 4 * FILLS_PER_ORDER_MAX + 16)
    }

    fn with_room(outcomes: usize) -> Self {
        Self {
            outcomes: reserved(outcomes),
            sealed: reserved(256 << 10),
            sealed_ends: Vec::with_capacity(64),
            last_feed: None,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.outcomes.clear();
        self.sealed.clear();
        self.sealed_ends.clear();
        self.last_feed = None;
    }

    /// What happened, in order.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Encoded batches (see [`crate::batch::decode`]) that the input closed, in order.
    pub fn sealed(&self) -> impl Iterator<Item = &[u8]> {
        let starts = core::iter::once(0).chain(self.sealed_ends.iter().copied());
        starts
            .zip(&self.sealed_ends)
            .map(|(start, end)| &self.sealed[start..*end])
    }

    pub(crate) fn report(&mut self, member: MemberId, report: impl Into<Report>) {
        self.outcomes.push(Outcome::Report(member, report.into()));
    }

    pub(crate) fn feed(&mut self, message: impl Into<FeedMessage>) {
        self.last_feed = Some(self.outcomes.len());
        self.outcomes.push(Outcome::Feed(message.into()));
    }

    /// Gives an order its name once its place in the book is known.
    pub(crate) fn rename(&mut self, from: OrderId, to: OrderId) {
        for outcome in &mut self.outcomes {
            let Outcome::Report(_, report) = outcome else {
                continue;
            };
            let name = match report {
                Report::Accepted(m) => &mut m.order_id,
                Report::Replaced(m) => &mut m.order_id,
                Report::Filled(m) => &mut m.order_id,
                Report::Canceled(m) => &mut m.order_id,
                _ => continue,
            };
            if *name == from.0 {
                *name = to.0;
            }
        }
    }

    pub(crate) fn seal(&mut self, batch: &crate::batch::SealedBatch) {
        crate::batch::encode(batch, &mut self.sealed);
        self.sealed_ends.push(self.sealed.len());
    }

    /// Marks the last feed message of the event.
    pub(crate) fn finish(&mut self) {
        if let Some(at) = self.last_feed
            && let Outcome::Feed(message) = &mut self.outcomes[at]
        {
            message.set_last();
        }
    }
}
