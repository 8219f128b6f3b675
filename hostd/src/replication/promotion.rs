//! Whether a box may lead: what the others say.

use super::config::{Peer, ReplicationSection};
use super::link::Link;
use super::term::Term;
use super::wire::{Ask, Kind, State};
use crate::config::Config;
use crate::machine::log;
use anyhow::{bail, ensure};
use journal::End;
use std::time::Duration;

/// Between two roll calls of a start that needs more answers.
const AGAIN: Duration = Duration::from_millis(500);

/// What the peers that can be reached say of themselves, with the epoch that they have met.
pub(super) fn ask_all(
    section: &ReplicationSection,
    key: &[u8; 32],
    epoch: u64,
) -> Vec<(u64, State)> {
    let ask = Ask {
        name: section.name.clone(),
        leads: false,
    };
    let answers = section.peers.iter();
    answers
        .filter_map(|peer| ask_one(peer, key, epoch, &ask).ok())
        .collect()
}

/// What one box says of itself, with the epoch that it has met.
pub(crate) fn ask_one(
    peer: &Peer,
    key: &[u8; 32],
    epoch: u64,
    ask: &Ask,
) -> anyhow::Result<(u64, State)> {
    let mut link = Link::connect(peer.address, key)?;
    link.send_json(Kind::Ask, epoch, ask)?;
    link.answer::<State>(Kind::State)
}

fn end_of(state: &State) -> (u64, u64) {
    (state.tail_epoch, state.next_seq)
}

/// A box that led before may start again, unless another one leads or has met a later lead. Where reports did not wait
/// for our own disk (`strict`), so many others must say that they hold no record more that all would be known.
pub(super) fn roll_call(
    section: &ReplicationSection,
    key: &[u8; 32],
    term: &Term,
    end: &End,
    strict: bool,
) -> anyhow::Result<()> {
    if term.epoch > 0 && term.leader != section.name {
        bail!(
            "epoch {} is led by {}: start this box with `hostd standby`, or `hostd promote` it then",
            term.epoch,
            term.leader
        );
    }
    let strict = strict && section.wait == super::Wait::Quorum && end.next_seq > journal::FIRST_SEQ;
    let needed = if strict {
        section.peers.len() - section.quorum + 1
    } else {
        0
    };
    let mut is_said = false;
    loop {
        let answers = ask_all(section, key, term.epoch);
        for (epoch, state) in &answers {
            if state.role == "primary" || *epoch > term.epoch {
                bail!(
                    "epoch {epoch} is led by {}, says {}: start this box with `hostd standby`",
                    state.leader,
                    state.name
                );
            }
            if strict && end_of(state) > (end.epoch, end.next_seq) {
                bail!(
                    "{} holds record {} of epoch {}, and this journal ends with {} of epoch {}: promote {}",
                    state.name,
                    state.next_seq - 1,
                    state.tail_epoch,
                    end.next_seq - 1,
                    end.epoch,
                    state.name
                );
            }
        }
        if answers.len() >= needed {
            return Ok(());
        }
        if !is_said {
            is_said = true;
            let heard = answers.len();
            log::event(
                "start_waits_for_peers",
                &[("heard", &heard), ("needed", &needed)],
            );
        }
        std::thread::sleep(AGAIN);
    }
}

/// Whether a standby that ends at `end` may be promoted by hand, and the epoch that it leads in then.
pub(super) fn may_lead(
    config: &Config,
    section: &ReplicationSection,
    key: &[u8; 32],
    term: &Term,
    end: &End,
    force: bool,
) -> anyhow::Result<u64> {
    let answers = ask_all(section, key, term.epoch);
    let highest = answers.iter().map(|(epoch, _)| *epoch).max().unwrap_or(0);
    let epoch = term.epoch.max(end.epoch).max(highest) + 1;
    if force {
        return Ok(epoch);
    }
    if let Some((_, state)) = answers.iter().find(|(_, s)| s.role == "primary") {
        bail!(
            "{} leads and answers: stop it first, or promote with --force, which drops what it has not replicated",
            state.name
        );
    }
    let own = (end.epoch, end.next_seq);
    if let Some((_, state)) = answers.iter().find(|(_, s)| end_of(s) > own) {
        bail!(
            "{} holds record {} of epoch {}, and this box ends with {} of epoch {}: promote {}",
            state.name,
            state.next_seq - 1,
            state.tail_epoch,
            end.next_seq - 1,
            end.epoch,
            state.name
        );
    }
    let is_replicated = config.journal.durability == crate::config::Durability::Replicated;
    let needed = section.peers.len() - section.quorum;
    ensure!(
        !is_replicated || answers.len() >= needed,
        "{} other standbys answer, and {needed} must, or what was acknowledged might be on none of them: --force promotes all the same",
        answers.len()
    );
    Ok(epoch)
}
