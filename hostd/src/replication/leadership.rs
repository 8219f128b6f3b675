//! Who leads: decided by the operator, or by etcd.

use std::collections::BTreeSet;

/// What a primary asks of who decides.
pub(crate) trait Leadership: Send {
    /// Whether it still leads.
    ///
    /// # Errors
    /// Why not: it must not say another word.
    fn check(&mut self) -> Result<(), String>;

    /// Asks for this in-sync set to be recorded, and says which one is: `None` where none ever is. Until the one asked
    /// for is recorded, both count.
    fn record(&mut self, wanted: &BTreeSet<String>) -> Option<BTreeSet<String>>;

    /// For the status.
    fn name(&self) -> &'static str;
}

/// The operator decides: an epoch is as good as the fence around it, and that are the standbys themselves. Without
/// their quorum an old primary releases nothing.
pub(crate) struct Operator;

impl Leadership for Operator {
    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, _wanted: &BTreeSet<String>) -> Option<BTreeSet<String>> {
        None
    }

    fn name(&self) -> &'static str {
        "operator"
    }
}
