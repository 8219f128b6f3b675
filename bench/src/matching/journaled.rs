//! A workload as a journal: everything that a venue sequenced while members asked for it.

use super::generate::TOUCH;
use super::recording::{NOW, Recording};
use anyhow::{Context, Result};
use firmware::gate;
use journal::{Config, End, FileDisk, GroupCommit, JournalDir, Record};
use matcher::book::LadderBook;
use matcher::sequencer::Sequenced;
use std::path::Path;

/// Accounts that the orders are spread over.
const ACCOUNTS: u32 = 1_000;

/// Writes the journal of stream `touch` with so many timed commands into `dir`; returns its records.
///
/// # Errors
/// If the directory cannot be written.
pub(crate) fn write_journal(dir: &Path, timed: u32) -> Result<u64> {
    let recipe = super::generate::Recipe { timed, ..TOUCH };
    let recording = Recording::of(&recipe.make(), ACCOUNTS)?;
    let disk = FileDisk::new(JournalDir::open(dir).context("journal")?);
    let mut journal = GroupCommit::resume(Config::default(), &End::genesis(), disk)?;
    let mut failed = None;
    let mut append = |input: &Sequenced<'_>| {
        let record = Record {
            seq: input.seq().0,
            time_ns: input.time().0,
            template: input.input().template(),
            source: u16::from(input.member().0 != 0),
            session: input.member().0,
            body: input.input().bytes(),
        };
        if failed.is_none() && journal.append(&record).is_err() {
            failed = journal.flush().err();
            assert!(
                failed.is_some() || journal.append(&record).is_ok(),
                "an empty buffer has room"
            );
        }
    };
    let mut sequencer = recording.venue_told::<LadderBook>(&mut append)?.sequencer;
    let mut gate = recording.gate();
    for (number, (member, request)) in (1..).zip(&recording.requests) {
        let command = gate::Command {
            member: *member,
            client_seq: number,
            rx_time: NOW,
            request: *request,
        };
        let checked = gate.check(&command, NOW);
        append(&match &checked {
            Ok(admitted) => sequencer.admit(admitted, NOW),
            Err(refused) => sequencer.session(*member, refused, NOW),
        });
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    journal.flush()?;
    Ok(journal.durable_seq())
}
