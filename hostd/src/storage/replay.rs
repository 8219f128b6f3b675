//! `hostd replay`: a journal becomes a state, from its first record, from the newest sound snapshot, or both. It
//! writes nothing, so it runs beside a box, but for the tail that the box is writing.

use crate::ops::admin::hex;
use crate::storage::data_dir::DataDir;
use crate::storage::recover::{Recovered, recover, tail_note};
use crate::storage::snapshot;
use crate::tiles::core::Core;
use anyhow::{Context, ensure};
use handshake::FeedHash;
use serde_json::{Value, json};
use std::time::Instant;

/// Where a replay begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// With the first record.
    Genesis,
    /// With the newest sound snapshot.
    Snapshot,
    /// Both, and they must come to the same.
    Both,
}

/// How far a replay goes, and what it says on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// Record to stop at; the journal may then be one that is being written.
    pub until: Option<u64>,
    /// Says on standard error where it is.
    pub shows_progress: bool,
}

/// Records between two lines of progress.
const PROGRESS: u64 = 1 << 16;

/// Replays the journal in `data` and prints the state that it leads to.
///
/// # Errors
/// When journal or snapshot are damaged, or two replays differ.
pub fn run(data: &DataDir, from: From, extent: Extent, as_json: bool) -> anyhow::Result<()> {
    let ends = match from {
        From::Genesis => vec![from_genesis(data, extent)?],
        From::Snapshot => vec![from_snapshot(data, extent)?],
        From::Both => vec![from_genesis(data, extent)?, from_snapshot(data, extent)?],
    };
    for end in &ends {
        if as_json {
            println!("{}", serde_json::to_string_pretty(&end.all())?);
        } else {
            end.print();
        }
    }
    if let [one, other] = &ends[..] {
        ensure!(
            one.state() == other.state(),
            "the replay from the snapshot came to another state than the one from the first record"
        );
    }
    Ok(())
}

/// A replayed journal.
struct End {
    /// Snapshot that the replay began with.
    from: Option<String>,
    recovered: Recovered,
    feed: FeedHash,
    /// How long the journal took.
    seconds: f64,
}

fn from_genesis(data: &DataDir, extent: Extent) -> anyhow::Result<End> {
    let mark = snapshot::genesis();
    follow(data, Core::default(), &mark, FeedHash::new(), None, extent)
}

fn from_snapshot(data: &DataDir, extent: Extent) -> anyhow::Result<End> {
    let (core, mark, feed, name) = snapshot::newest(data)?;
    follow(data, core, &mark, feed, Some(name), extent)
}

fn follow(
    data: &DataDir,
    core: Core,
    mark: &journal::Mark,
    mut feed: FeedHash,
    from: Option<String>,
    extent: Extent,
) -> anyhow::Result<End> {
    let dir = data.journal();
    ensure!(dir.is_dir(), "{}: no journal there", dir.display());
    let begun = Instant::now();
    let recovered = recover(&dir, core, mark, extent.until, None, |core| {
        let seq = core.engine.last_seq().0;
        if extent.shows_progress && seq.is_multiple_of(PROGRESS) {
            eprintln!("at {seq}");
        }
        for outcome in core.outbox.outcomes() {
            if let matcher::outbox::Outcome::Feed(m) = outcome {
                feed.push_parts(m.header(), m.block());
            }
        }
        Ok(())
    })
    .context("replay")?;
    let seconds = begun.elapsed().as_secs_f64();
    recovered.core.engine.assert_conserved();
    Ok(End {
        from,
        recovered,
        feed,
        seconds,
    })
}

impl End {
    fn tail(&self) -> String {
        tail_note(&self.recovered.end.tail).unwrap_or_else(|| "clean".into())
    }

    fn state_hash(&self) -> String {
        hex(&self.recovered.core.engine.state_hash())
    }

    fn accounts(&self) -> Vec<Value> {
        let accounts = self.recovered.core.engine.accounts();
        let funded = accounts.funded().iter();
        let funded = funded.filter_map(|id| accounts.get(*id).map(|a| (id, a)));
        funded
            .map(|(id, a)| {
                json!({
                    "account": id.0,
                    "member": a.member.0,
                    "cash_pico": a.leaf.cash_pico.to_string(),
                    "nonce": a.leaf.nonce,
                    "positions": a.leaf.positions,
                })
            })
            .collect()
    }

    /// What does not depend on where the replay began.
    fn state(&self) -> Value {
        let core = &self.recovered.core;
        let engine = &core.engine;
        let (deposits, withdrawals) = engine.flows_micro();
        let members = core.members.iter().enumerate();
        let members = members.filter_map(|(id, flow)| {
            let flow = flow.as_ref()?;
            Some(json!({
                "member": id,
                "next_request": flow.next_request,
                "next_report": flow.next_report,
            }))
        });
        json!({
            "last_seq": engine.last_seq().0,
            "state_hash": self.state_hash(),
            "journal_hash": hex(&self.recovered.mark.chain),
            "batches_sealed": engine.batch_no() - 1,
            "feed_messages": core.next_feed - 1,
            "feed_hash": hex(&self.feed.value()),
            "members": members.collect::<Vec<_>>(),
            "accounts": self.accounts(),
            "fund_pico": engine.fund_pico().to_string(),
            "deposits_micro": deposits,
            "withdrawals_micro": withdrawals,
            "contracts_sum_zero": engine.accounts().contracts().iter().all(|n| *n == 0),
            "tail": self.tail(),
        })
    }

    fn all(&self) -> Value {
        let mut all = self.state();
        all["records"] = self.recovered.records.into();
        all["from"] = self.from.clone().into();
        all["seconds"] = self.seconds.into();
        all
    }

    fn print(&self) {
        let from = self.from.as_deref().unwrap_or("the first record");
        let (records, mark) = (self.recovered.records, &self.recovered.mark);
        println!("from {from}: {records} records, the last is {}", mark.seq);
        let per_s = records as f64 / self.seconds;
        println!("{:.3} s  {per_s:.0} records/s", self.seconds);
        println!("state    {}", self.state_hash());
        println!("journal  {}", hex(&mark.chain));
        println!("feed     {}", hex(&self.feed.value()));
        println!("tail     {}", self.tail());
        let (deposits, withdrawals) = self.recovered.core.engine.flows_micro();
        println!(
            "accounts {}  deposits {deposits}  withdrawals {withdrawals} micro-units",
            self.recovered.core.engine.accounts().funded().len()
        );
    }
}
