//! What must hold, by name.

use std::fmt;

macro_rules! invariants {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// A promise of the box.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub(crate) enum Invariant { $($(#[doc = $doc])+ $name),+ }

        impl Invariant {
            #[cfg(feature = "planted")]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),+];

            /// One sentence.
            const fn sentence(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii_start()),+ }
            }
        }
    };
}

invariants! {
    /// Nothing leaves the box before its record is durable.
    DurableFirst,
    /// With a standby nothing leaves the box before its record is on the standby's disk.
    ReplicatedFirst,
    /// Whatever a client was ever told is in the recovered journal, under the same number.
    NothingLost,
    /// The same journal gives the same state, reports, feed and sealed batches.
    SameBytes,
    /// A client's open orders and positions are the venue's.
    ClientView,
    /// The book of a feed that is whole is the engine's.
    FeedBook,
    /// Money and contracts are conserved.
    Conserved,
    /// Each deposit of L1 is credited once, in the order of the queue.
    DepositsOnce,
    /// A request is applied once, or is dead, and never both.
    RequestsOnce,
    /// Sealed batches have no gaps and follow from each other.
    SealedChain,
    /// No cancel is refused for load.
    CancelsPass,
    /// After a disk error nothing more is acknowledged.
    SilentAfterError,
    /// After the faults every client gets on, and everything is delivered.
    Progress,
    /// Only a disk error stops the box, and a restart always works.
    Runs,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({})", self.sentence())
    }
}

/// An invariant that does not hold.
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

/// Ends the run.
pub(crate) fn violated(invariant: Invariant, what: String) -> ! {
    std::panic::panic_any(Violation { invariant, what })
}

/// Ends the run unless something holds.
macro_rules! hold {
    ($invariant:ident, $holds:expr, $($what:tt)+) => {
        if !$holds {
            $crate::invariant::violated($crate::invariant::Invariant::$invariant, format!($($what)+));
        }
    };
}
pub(crate) use hold;
