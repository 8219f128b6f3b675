//! Bugs on purpose, one for each promise of the box: the simulator of the whole box (`hostd/tests/sim`) must find each
//! and name the promise that it breaks, or it is no proof of anything.
//!
//! Without the feature `planted` [`is`] is `false` at compile time, and nothing of a bug is built. With it a test
//! plants a bug on its own thread. A build without debug assertions refuses the feature.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("planted bugs are for tests, and this is a build that could be shipped");

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Bug { $($(#[doc = $doc])+ $name),+ }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
        }
    };
}

bugs! {
    /// What is appended counts as durable when any write is done.
    ReleasesBeforeDurable,
    /// What is on the own disk is told, whatever standbys have.
    ReleasesBeforeQuorum,
    /// A recovery stops half way.
    RecoversHalf,
    /// A replay stamps records a nanosecond later.
    ReplaysOtherwise,
    /// An order that goes for another reason than its owner's cancel goes without a report.
    CancelsInSilence,
    /// The feed is not told of an order that leaves the book without a trade.
    DeletesInSilence,
    /// A millionth of a micro-unit of each fee is gone.
    LosesOfFees,
    /// A deposit that comes again is credited again.
    CreditsAgain,
    /// A recovery forgets which requests were applied.
    ForgetsRequests,
    /// Each third sealed batch is not written.
    SkipsBatches,
    /// Cancels are refused while many orders rest.
    RefusesCancels,
    /// A failed write counts as done.
    IgnoresDiskErrors,
    /// Reports that are asked for again are read and not handed over.
    SwallowsReads,
    /// A journal that ends with a cut write is refused.
    RefusesTornTails,
}

/// Whether a bug is planted: never, but in tests that ask for it.
#[cfg(not(feature = "planted"))]
#[inline(always)]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
std::thread_local! {
    static PLANTED: core::cell::Cell<Option<Bug>> = const { core::cell::Cell::new(None) };
}

/// Whether a bug is planted on this thread.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Plants a bug on this thread in the place of the one before.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}
