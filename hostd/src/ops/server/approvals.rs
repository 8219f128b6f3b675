//! The two-person rule: an act that waits until a second person approves it.

use super::problem::Problem;
use crate::ops::operator::Command;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Approvals that are kept.
const KEPT: usize = 256;

/// What is about to be done, if somebody approves.
#[derive(Clone, Debug)]
pub(super) enum Staged {
    /// A command of the operator.
    Command(Box<Command>),
    /// The configuration is read again.
    Reload,
}

/// How an act stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Nobody has answered.
    Waiting,
    /// It was done, or tried.
    Approved,
    /// Somebody said no.
    Denied,
    /// Nobody answered in time.
    Expired,
}

/// An act that waits, or waited.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Approval {
    /// Its number.
    pub(super) approval: u64,
    /// Which act.
    pub(super) act: &'static str,
    /// With which arguments.
    pub(super) args: Value,
    /// Why, in the asker's words.
    pub(super) reason: String,
    /// Unix user that asked.
    pub(super) uid: u32,
    /// Its name.
    pub(super) user: String,
    /// How it stands.
    pub(super) state: State,
    /// What came of it.
    pub(super) result: Option<Value>,
    /// Idempotency key of the asker.
    pub(super) key: String,
    #[serde(skip)]
    staged: Option<Staged>,
    #[serde(skip)]
    until: Instant,
}

/// All of them, by number.
#[derive(Debug)]
pub(super) struct Approvals {
    wait: Duration,
    next: u64,
    all: BTreeMap<u64, Approval>,
}

/// What is to be staged.
#[derive(Debug)]
pub(super) struct New {
    /// Which act.
    pub(super) act: &'static str,
    /// With which arguments.
    pub(super) args: Value,
    /// Why.
    pub(super) reason: String,
    /// Who asks.
    pub(super) uid: u32,
    /// Its name.
    pub(super) user: String,
    /// Its key.
    pub(super) key: String,
    /// What it is.
    pub(super) staged: Staged,
}

impl Approvals {
    /// None yet; numbers go on after `last`.
    pub(super) const fn new(wait: Duration, last: u64) -> Self {
        Self {
            wait,
            next: last + 1,
            all: BTreeMap::new(),
        }
    }

    /// Stages an act; its number.
    pub(super) fn stage(&mut self, new: New, now: Instant) -> u64 {
        let approval = self.next;
        self.next += 1;
        let New {
            act,
            args,
            reason,
            uid,
            user,
            key,
            staged,
        } = new;
        let waiting = Approval {
            approval,
            act,
            args,
            reason,
            uid,
            user,
            state: State::Waiting,
            result: None,
            key,
            staged: Some(staged),
            until: now + self.wait,
        };
        self.all.insert(approval, waiting);
        while self.all.len() > KEPT {
            self.all.pop_first();
        }
        approval
    }

    /// All, the newest last, as they stand now.
    pub(super) fn list(&mut self, now: Instant) -> Vec<Approval> {
        self.expire(now);
        self.all.values().cloned().collect()
    }

    fn expire(&mut self, now: Instant) {
        for a in self.all.values_mut() {
            if a.state == State::Waiting && now >= a.until {
                a.state = State::Expired;
                a.staged = None;
            }
        }
    }

    /// Looks at one that waits.
    ///
    /// # Errors
    /// When there is none, or it waits no more.
    pub(super) fn waiting(&mut self, approval: u64, now: Instant) -> Result<&Approval, Problem> {
        self.expire(now);
        let Some(a) = self.all.get(&approval) else {
            return Err(Problem::new(
                404,
                "unknown_approval",
                format!("there is no approval {approval}"),
            ));
        };
        if a.state == State::Waiting {
            return Ok(a);
        }
        let word = match a.state {
            State::Waiting | State::Approved => "was approved",
            State::Denied => "was denied",
            State::Expired => "has expired",
        };
        Err(Problem::new(
            409,
            "approval_closed",
            format!("approval {approval} {word}"),
        ))
    }

    /// Answers one that waits; when it is approved, what is to be done.
    ///
    /// # Errors
    /// When there is none, it waits no more, or the asker would approve himself.
    pub(super) fn answer(
        &mut self,
        approval: u64,
        uid: u32,
        is_yes: bool,
        now: Instant,
    ) -> Result<Option<(Approval, Staged)>, Problem> {
        let asker = self.waiting(approval, now)?.uid;
        if is_yes && asker == uid {
            return Err(Problem::new(
                403,
                "same_person",
                "who asked for an act cannot approve it",
            ));
        }
        let a = self.all.get_mut(&approval).expect("it waits");
        let staged = a.staged.take();
        a.state = if is_yes {
            State::Approved
        } else {
            State::Denied
        };
        Ok(staged.filter(|_| is_yes).map(|s| (a.clone(), s)))
    }

    /// Notes what came of an approved act.
    pub(super) fn note(&mut self, approval: u64, result: Value) {
        if let Some(a) = self.all.get_mut(&approval) {
            a.result = Some(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(uid: u32) -> New {
        New {
            act: "seal",
            args: Value::Null,
            reason: String::new(),
            uid,
            user: "u".into(),
            key: "k".into(),
            staged: Staged::Command(Box::new(Command::Seal)),
        }
    }

    #[test]
    fn a_second_person_approves_once_and_in_time() {
        let (wait, t0) = (Duration::from_secs(10), Instant::now());
        let mut all = Approvals::new(wait, 4);
        assert_eq!(all.stage(new(7), t0), 5);
        let code = |r: Result<_, Problem>| r.map(|_: Option<_>| ()).unwrap_err().code;
        assert_eq!(code(all.answer(6, 8, true, t0)), "unknown_approval");
        assert_eq!(code(all.answer(5, 7, true, t0)), "same_person");
        assert!(all.answer(5, 8, true, t0).unwrap().is_some());
        assert_eq!(code(all.answer(5, 8, true, t0)), "approval_closed");
        // Who asked may take it back.
        assert_eq!(all.stage(new(7), t0), 6);
        assert!(all.answer(6, 7, false, t0).unwrap().is_none());
        assert_eq!(all.stage(new(7), t0), 7);
        assert_eq!(code(all.answer(7, 8, true, t0 + wait)), "approval_closed");
        let states: Vec<_> = all.list(t0 + wait).iter().map(|a| a.state).collect();
        assert_eq!(states, [State::Approved, State::Denied, State::Expired]);
    }
}
