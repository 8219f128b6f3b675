//! Idempotency: what was answered under which key. A request that comes again gets the answer of the first, and is not
//! done twice. The audit log holds the answers, so that they outlive the process.

use super::problem::Problem;
use crate::ops::audit::{Entry, Outcome};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// Keys that are remembered.
const KEYS_MAX: usize = 10_000;
/// Codes of refusals because of the key.
const KEY_CODES: [&str; 3] = ["idempotency_key_reused", "outcome_unknown", "in_progress"];
/// Shortest and longest key.
const KEY_LEN: std::ops::RangeInclusive<usize> = 8..=64;

/// An answer: HTTP status and body.
pub(super) type Reply = (u16, Value);

#[derive(Debug)]
struct Known {
    fingerprint: [u8; 32],
    /// None while the first request is under way, or its end is not known.
    reply: Option<Reply>,
    is_lost: bool,
}

/// The answers by key.
#[derive(Debug, Default)]
pub(super) struct Replies {
    known: BTreeMap<String, Known>,
    by_age: VecDeque<String>,
}

/// What to do with a request.
#[derive(Debug, PartialEq)]
pub(super) enum Begin {
    /// It is the first with its key: do it, then [`Replies::end`].
    Do,
    /// Answer this.
    Again(Reply),
}

/// Which request it is: the same user wants the same of the same act.
#[must_use]
pub(super) fn fingerprint(uid: u32, act: &str, args: &Value) -> [u8; 32] {
    // serde_json's maps are sorted by key, so the text is the same for the same arguments.
    *blake3::hash(format!("{uid}\n{act}\n{args}").as_bytes()).as_bytes()
}

/// Checks a key's form.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_key(key: Option<&str>) -> Result<&str, Problem> {
    let fail = |why: &str| Err(Problem::new(400, "idempotency_key", why));
    let Some(key) = key else {
        return fail("the header Idempotency-Key is missing");
    };
    let is_sound = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !KEY_LEN.contains(&key.len()) || !key.bytes().all(is_sound) {
        return fail("Idempotency-Key must have 8 to 64 letters, digits, '-' or '_'");
    }
    Ok(key)
}

impl Replies {
    /// What the audit log says was answered.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut replies = Self::default();
        for entry in entries {
            let draft = &entry.draft;
            let (key, uid) = (&draft.key, draft.who.uid);
            match draft.outcome {
                Outcome::Asked => {
                    let known = Known {
                        fingerprint: fingerprint(uid, &draft.act, &draft.args),
                        reply: None,
                        is_lost: true,
                    };
                    replies.put(key, known);
                }
                Outcome::Done | Outcome::Staged => replies.end(key, draft.reply.clone()),
                // A refusal because of the key says nothing of who had it first.
                Outcome::Refused if !KEY_CODES.contains(&draft.code.as_deref().unwrap_or("")) => {
                    replies.end(key, None);
                }
                _ => {}
            }
        }
        replies
    }

    fn put(&mut self, key: &str, known: Known) {
        if self.known.insert(key.to_owned(), known).is_none() {
            self.by_age.push_back(key.to_owned());
        }
        if self.by_age.len() > KEYS_MAX
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Takes a request.
    ///
    /// # Errors
    /// When its key belongs to another one, or to one whose end is not known.
    pub(super) fn begin(&mut self, key: &str, fingerprint: [u8; 32]) -> Result<Begin, Problem> {
        let conflict = |code, why: &str| Err(Problem::new(409, code, why));
        match self.known.get(key) {
            None => {
                let known = Known {
                    fingerprint,
                    reply: None,
                    is_lost: false,
                };
                self.put(key, known);
                Ok(Begin::Do)
            }
            Some(known) if known.fingerprint != fingerprint => conflict(
                "idempotency_key_reused",
                "this Idempotency-Key belongs to another request",
            ),
            Some(Known { reply: Some(r), .. }) => Ok(Begin::Again(r.clone())),
            Some(Known { is_lost: true, .. }) => conflict(
                "outcome_unknown",
                "the box stopped while it did this: look whether the journal has it before you ask again under a new key",
            ),
            Some(_) => conflict("in_progress", "this request is under way"),
        }
    }

    /// Keeps the answer; without one the key is free again: nothing was done under it.
    pub(super) fn end(&mut self, key: &str, reply: Option<Reply>) {
        match reply {
            None => {
                if self.known.remove(key).is_some() {
                    self.by_age.retain(|k| k != key);
                }
            }
            Some(reply) => {
                if let Some(known) = self.known.get_mut(key) {
                    known.reply = Some(reply);
                    known.is_lost = false;
                }
            }
        }
    }

    /// It is not known what became of the request.
    pub(super) fn lose(&mut self, key: &str) {
        if let Some(known) = self.known.get_mut(key) {
            known.is_lost = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "0123-4567";

    fn code(result: Result<Begin, Problem>) -> &'static str {
        result.unwrap_err().code
    }

    #[test]
    fn a_request_is_done_once_and_answered_as_often_as_it_comes() {
        let mut replies = Replies::default();
        let args = json!({"member": 1});
        let (one, other) = (fingerprint(7, "kick", &args), fingerprint(8, "kick", &args));
        assert_eq!(replies.begin(KEY, one), Ok(Begin::Do));
        assert_eq!(code(replies.begin(KEY, one)), "in_progress");
        let reply = (200, json!({"engine_seq": 5}));
        replies.end(KEY, Some(reply.clone()));
        assert_eq!(replies.begin(KEY, one), Ok(Begin::Again(reply)));
        assert_eq!(code(replies.begin(KEY, other)), "idempotency_key_reused");
        // What was refused changed nothing: its key is free.
        assert_eq!(replies.begin("another-key", other), Ok(Begin::Do));
        replies.end("another-key", None);
        assert_eq!(replies.begin("another-key", one), Ok(Begin::Do));
        replies.lose("another-key");
        assert_eq!(code(replies.begin("another-key", one)), "outcome_unknown");
    }

    #[test]
    fn the_oldest_keys_are_forgotten() {
        let mut replies = Replies::default();
        for n in 0..=KEYS_MAX {
            let key = format!("key-{n:08}");
            assert_eq!(replies.begin(&key, [0; 32]), Ok(Begin::Do));
            replies.end(&key, Some((200, Value::Null)));
        }
        assert_eq!(replies.begin("key-00000000", [1; 32]), Ok(Begin::Do));
        assert_eq!(
            code(replies.begin("key-00000002", [1; 32])),
            "idempotency_key_reused"
        );
    }

    #[test]
    fn a_key_has_its_form() {
        assert_eq!(check_key(Some(KEY)), Ok(KEY));
        for bad in [
            None,
            Some("short"),
            Some("with space"),
            Some(&"x".repeat(65)[..]),
        ] {
            assert_eq!(check_key(bad).unwrap_err().code, "idempotency_key");
        }
    }
}
