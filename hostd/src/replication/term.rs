//! What a box remembers of leads: the highest epoch that it has met, who leads in it, and where each epoch began.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where an epoch began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Began {
    /// The epoch.
    pub epoch: u64,
    /// Who leads in it.
    pub leader: String,
    /// Its first record.
    pub first_seq: u64,
    /// Hash of the journal before that record, hex.
    pub chain: String,
}

/// `replication.json` in the data directory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The highest epoch met; frames of a lower one are refused. Zero: none.
    pub epoch: u64,
    /// Who leads in it.
    pub leader: String,
    /// The operator let it lead without standbys, until there is one.
    pub alone: bool,
    /// Where each epoch began, rising.
    pub history: Vec<Began>,
}

fn path(data: &Path) -> PathBuf {
    data.join("replication.json")
}

impl Term {
    /// As it was saved last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(data: &Path) -> anyhow::Result<Self> {
        let path = path(data);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e).with_context(|| path.display().to_string()),
        }
    }

    /// Makes it durable: what was promised is kept over any crash.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, data: &Path) -> anyhow::Result<()> {
        let path = path(data);
        let temp = path.with_extension("tmp");
        let write = || {
            std::fs::create_dir_all(data)?;
            let mut file = File::create(&temp)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            std::fs::rename(&temp, &path)?;
            File::open(data)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// A lead begins at `first_seq`.
    pub fn begin(&mut self, began: Began) {
        self.epoch = began.epoch;
        self.leader.clone_from(&began.leader);
        self.history.retain(|b| b.epoch < began.epoch);
        self.history.push(began);
    }

    /// Takes over a primary's history, as far as our own journal of `next_seq` goes.
    pub fn learn(&mut self, epoch: u64, leader: &str, history: &[Began]) {
        self.epoch = epoch;
        self.leader = leader.to_owned();
        self.history = history.to_vec();
    }
}

/// Where a journal whose last record is of `tail_epoch` must be cut to become part of the one with this history: the
/// first record of the next epoch there. `None` if there is none.
#[must_use]
pub fn fork(history: &[Began], tail_epoch: u64) -> Option<&Began> {
    history.iter().find(|b| b.epoch > tail_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(epoch: u64, first_seq: u64) -> Began {
        Began {
            epoch,
            leader: "a".into(),
            first_seq,
            chain: String::new(),
        }
    }

    #[test]
    fn what_was_saved_is_there_again_and_a_fork_is_where_the_next_epoch_began() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Term::load(dir.path()).unwrap(), Term::default());
        let mut term = Term::default();
        term.begin(began(1, 1));
        term.begin(began(4, 50));
        term.save(dir.path()).unwrap();
        assert_eq!(Term::load(dir.path()).unwrap(), term);
        assert_eq!((term.epoch, term.leader.as_str()), (4, "a"));
        assert_eq!(fork(&term.history, 1).unwrap().first_seq, 50);
        assert_eq!(fork(&term.history, 4), None);
    }
}
