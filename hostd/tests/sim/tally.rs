//! How often each kind of thing happened: a simulator that never met something says nothing about it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Counts by name. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Tally(Rc<RefCell<BTreeMap<&'static str, u64>>>);

impl Tally {
    pub(crate) fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&self, what: &'static str, n: u64) {
        if n > 0 {
            *self.0.borrow_mut().entry(what).or_default() += n;
        }
    }

    pub(crate) fn get(&self, what: &'static str) -> u64 {
        self.0.borrow().get(what).copied().unwrap_or(0)
    }

    pub(crate) fn lines(&self) -> String {
        let counts = self.0.borrow();
        let line = |(what, n): (&&str, &u64)| format!("{n:>9} {what}\n");
        counts.iter().map(line).collect()
    }
}
