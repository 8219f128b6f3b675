//! The audit log: who asked for what, and what came of it, refusals too. One JSON line an entry, each with the hash of
//! the one before, on disk before the box does what it says. The journal has the first bytes of the hash of each entry
//! that led to a record ([`InOperatorAct::request`]), so that a log that was cut short, or written anew, does not fit
//! the journal any more.
//!
//! An entry's hash is BLAKE3 over its line up to `,"hash":`.

use crate::ops::admin::hex;
use crate::storage::data_dir::DataDir;
use anyhow::{Context, bail};
use firmware::wire::input::InOperatorAct;
use firmware::wire::sbe::Message;
use journal::Reader;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use tokio::sync::oneshot;

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is about to be done: what comes of it stands in a later entry with the same key.
    Asked,
    /// It was done.
    Done,
    /// It was refused and changed nothing.
    Refused,
    /// It was only tried.
    DryRun,
    /// It waits for a second person.
    Staged,
    /// A second person approved it: it is about to be done.
    Approved,
    /// A second person, or who asked for it, took it back.
    Denied,
    /// Nobody answered, or the box stopped before it could: it may have been done.
    Unknown,
}

/// Who asked, as the kernel says, and as what.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Who {
    /// Unix user.
    pub uid: u32,
    /// Unix group.
    pub gid: u32,
    /// Process.
    pub pid: Option<i32>,
    /// Its program.
    pub exe: Option<String>,
    /// Name of the user in `[[admin.users]]`; none where the user is not listed.
    pub user: Option<String>,
    /// Role of the socket.
    pub socket: String,
}

/// What is written of a request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Draft {
    /// Who asked.
    #[serde(flatten)]
    pub who: Who,
    /// For what: the act's name, or method and path where there is no such act.
    pub act: String,
    /// With which arguments.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
    /// Why, in the asker's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Idempotency key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Code of the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Number of its record in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_seq: Option<u64>,
    /// Number of the approval that it waits for, or that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<u64>,
    /// What was answered: HTTP status and body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<(u16, Value)>,
}

/// One entry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// From 1, without a gap.
    pub n: u64,
    /// Hash of the entry before; zeros for the first.
    pub prev: String,
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    /// The rest.
    #[serde(flatten)]
    pub draft: Draft,
}

const HASH_FIELD: &str = ",\"hash\":\"";

/// The text of an entry, and its hash.
fn seal(entry: &Entry) -> anyhow::Result<(String, [u8; 32])> {
    let text = serde_json::to_string(entry)?;
    let body = text.strip_suffix('}').context("an entry is an object")?;
    let hash = *blake3::hash(body.as_bytes()).as_bytes();
    Ok((format!("{body}{HASH_FIELD}{}\"}}\n", hex(&hash)), hash))
}

/// Reads an entry and checks its own hash.
fn unseal(line: &str) -> Result<(Entry, [u8; 32]), String> {
    let at = line.rfind(HASH_FIELD).ok_or("it has no hash")?;
    let body = &line[..at];
    let hash = *blake3::hash(body.as_bytes()).as_bytes();
    if line[at..] != format!("{HASH_FIELD}{}\"}}", hex(&hash)) {
        return Err("its hash is not that of its text".into());
    }
    let entry = serde_json::from_str(&format!("{body}}}")).map_err(|e| e.to_string())?;
    Ok((entry, hash))
}

/// What the journal keeps of an entry.
#[must_use]
pub fn anchor(hash: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    // Zero stands for the box itself.
    u64::from_le_bytes(first).max(1)
}

type Written = Result<u64, String>;

/// The open log, written by a thread of its own: a slow disk holds up who asks and nobody else.
#[derive(Clone, Debug)]
pub struct AuditLog(mpsc::Sender<(Box<Draft>, oneshot::Sender<Written>)>);

struct Writer {
    file: File,
    next: u64,
    prev: String,
}

impl AuditLog {
    /// Opens the log, drops a last line that was cut off, checks the chain and gives all entries.
    ///
    /// # Errors
    /// When it cannot be opened, or an entry is not what was written.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Vec<Entry>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .with_context(|| path.display().to_string())?;
        let (entries, head, len) = read(&file, path)?;
        if file.metadata()?.len() > len {
            // Nobody was answered before all of a line was on disk.
            file.set_len(len)?;
            crate::machine::log::event("audit_tail_dropped", &[("bytes", &len)]);
        }
        file.seek(std::io::SeekFrom::End(0))?;
        file.sync_all()?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        let mut writer = Writer {
            file,
            next: entries.len() as u64 + 1,
            prev: hex(&head),
        };
        let (asks, asked) = mpsc::channel::<(Box<Draft>, oneshot::Sender<Written>)>();
        let thread = std::thread::Builder::new().name("audit".into());
        thread.spawn(move || {
            for (draft, reply) in asked {
                let written = writer.write(*draft).map_err(|e| format!("{e:#}"));
                let _ = reply.send(written);
            }
        })?;
        Ok((Self(asks), entries))
    }

    /// Writes an entry; on disk when this returns, with what the journal keeps of it.
    ///
    /// # Errors
    /// Why it is not on disk.
    pub async fn write(&self, draft: Draft) -> Result<u64, String> {
        let (reply, written) = oneshot::channel();
        let gone = "the audit log's thread is gone";
        self.0
            .send((Box::new(draft), reply))
            .map_err(|_| gone.to_owned())?;
        written.await.map_err(|_| gone.to_owned())?
    }
}

impl Writer {
    fn write(&mut self, draft: Draft) -> anyhow::Result<u64> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let entry = Entry {
            n: self.next,
            prev: self.prev.clone(),
            time_ms: now.as_millis() as u64,
            draft,
        };
        let (line, hash) = seal(&entry)?;
        let before = self.file.metadata()?.len();
        let written = (self.file.write_all(line.as_bytes())).and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            // What may be there of it must not stand before the next entry.
            self.file.set_len(before)?;
            return Err(e).context("audit log");
        }
        self.next += 1;
        self.prev = hex(&hash);
        Ok(anchor(&hash))
    }
}

/// All whole entries, the hash of the last, and how far they reach.
fn read(file: &File, path: &Path) -> anyhow::Result<(Vec<Entry>, [u8; 32], u64)> {
    let (mut entries, mut head, mut len) = (Vec::new(), [0; 32], 0);
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    loop {
        line.clear();
        let bytes = reader.read_line(&mut line)?;
        let Some(text) = line.strip_suffix('\n') else {
            return Ok((entries, head, len));
        };
        let n = entries.len() as u64 + 1;
        let fail = |why: &str| format!("{}: entry {n}: {why}", path.display());
        let (entry, hash) = match unseal(text) {
            Ok(read) => read,
            Err(why) => bail!(fail(&why)),
        };
        if entry.n != n || entry.prev != hex(&head) {
            bail!(fail("it does not follow the one before"));
        }
        entries.push(entry);
        (head, len) = (hash, len + bytes as u64);
    }
}

/// What a verification came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verified {
    /// Entries, all in one chain.
    pub entries: u64,
    /// Hash of the last.
    pub head: String,
    /// Refusals among them.
    pub refused: u64,
    /// Acts in the journal that were asked for on the sockets; each has its entry.
    pub acts_in_journal: u64,
    /// Last record of the journal that was looked at.
    pub last_seq: u64,
}

/// Checks the log of a venue's data against itself and against the journal.
///
/// # Errors
/// The first entry or record that does not fit.
pub fn verify(data: &DataDir) -> anyhow::Result<Verified> {
    let path = data.audit();
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    let (entries, head, _) = read(&file, &path)?;
    let mut anchors = BTreeMap::new();
    for entry in &entries {
        let (_, hash) = seal(entry)?;
        if matches!(entry.draft.outcome, Outcome::Asked | Outcome::Approved) {
            anchors.insert(anchor(&hash), entry);
        }
    }
    let mut found = BTreeMap::new();
    let mut reader = Reader::open(data.journal()).context("journal")?;
    while let Some(view) = reader.next().context("journal")? {
        if view.header.template != InOperatorAct::TEMPLATE {
            continue;
        }
        let act: InOperatorAct = bytemuck::pod_read_unaligned(view.body);
        if act.request == 0 {
            continue;
        }
        let seq = view.header.seq;
        let Some(entry) = anchors.get(&act.request) else {
            bail!("record {seq} of the journal: the audit log has no entry of this act");
        };
        let asker = entry.draft.who.uid;
        let is_his = match entry.draft.outcome {
            Outcome::Approved => act.approver == asker,
            _ => act.uid == asker,
        };
        if !is_his {
            bail!(
                "record {seq} of the journal: user {} asked, but user {asker} in entry {} of the audit log",
                act.uid,
                entry.n
            );
        }
        found.insert(act.request, seq);
    }
    let last_seq = reader.next_seq() - 1;
    let mut asked: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &entries {
        let draft = &entry.draft;
        match (draft.outcome, draft.engine_seq) {
            (Outcome::Asked | Outcome::Approved, _) => {
                let (_, hash) = seal(entry)?;
                asked.insert(&draft.key, anchor(&hash));
            }
            (Outcome::Done, Some(seq)) if seq <= last_seq => {
                let request = asked.get(draft.key.as_str());
                let at = request.and_then(|r| found.get(r));
                if at.is_none_or(|at| *at > seq) {
                    bail!(
                        "entry {} of the audit log: the journal has no act of it up to record {seq}",
                        entry.n
                    );
                }
            }
            _ => {}
        }
    }
    let refused = entries.iter();
    let refused = refused.filter(|e| e.draft.outcome == Outcome::Refused);
    Ok(Verified {
        entries: entries.len() as u64,
        head: hex(&head),
        refused: refused.count() as u64,
        acts_in_journal: found.len() as u64,
        last_seq,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(act: &str, outcome: Outcome) -> Draft {
        Draft {
            who: Who {
                uid: 7,
                socket: "ops".into(),
                ..Who::default()
            },
            act: act.into(),
            args: serde_json::json!({"member": 3}),
            reason: "because \"of\" },\"hash\":\"x".into(),
            key: format!("key-{act}"),
            outcome,
            code: None,
            engine_seq: None,
            approval: None,
            reply: None,
        }
    }

    fn write(log: &AuditLog, draft: Draft) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(log.write(draft)).unwrap()
    }

    #[test]
    fn what_was_written_is_read_back_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (log, none) = AuditLog::open(&path).unwrap();
        assert!(none.is_empty());
        write(&log, draft("a", Outcome::Asked));
        drop(log);
        let (log, one) = AuditLog::open(&path).unwrap();
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].draft, draft("a", Outcome::Asked));
        write(&log, draft("b", Outcome::Refused));
        drop(log);
        // A line that was cut off was never answered.
        let whole = std::fs::read(&path).unwrap();
        let mut cut = whole.clone();
        cut.extend_from_slice(&whole[..40]);
        std::fs::write(&path, &cut).unwrap();
        let (log, two) = AuditLog::open(&path).unwrap();
        assert_eq!(two.len(), 2);
        drop(log);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn each_changed_byte_and_each_missing_entry_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (log, _) = AuditLog::open(&path).unwrap();
        for act in ["a", "b", "c"] {
            write(&log, draft(act, Outcome::Done));
        }
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        let refuses = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            AuditLog::open(&path).is_err()
        };
        for at in 0..whole.len() - 1 {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            // The last line without its end is one that was cut off.
            assert!(refuses(&bad), "byte {at}");
        }
        let lines: Vec<_> = whole.split_inclusive(|b| *b == b'\n').collect();
        assert!(refuses(&[lines[0], lines[2]].concat()));
        assert!(refuses(&[lines[1], lines[0], lines[2]].concat()));
        assert!(!refuses(&whole));
    }
}
