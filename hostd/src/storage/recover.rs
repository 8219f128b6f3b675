//! Recovery: a journal becomes a core. `hostd run` and `hostd replay` start here alike.

use crate::config::{Config, Durability};
use crate::feed::FeedDay;
use crate::machine::log;
use crate::ops::admin;
use crate::storage::snapshot::{self, Beginner, Start};
use crate::tiles::core::Core;
use crate::tiles::journal_tile::{WholeBatch, batch_name, with_chain, write_batch};
use crate::tiles::spool::SpoolFiles;
use anyhow::{Context, bail, ensure};
use firmware::limits::DOMAIN_LOTS_MAX;
use firmware::wire::input::{
    InAccount, InDomain, InDropCopy, InInstrument, InRiskRules, InVolModel,
};
use journal::{End, Mark, ReadAhead, Reader, Tail};
use matcher::planted::{self, Bug};
use std::path::Path;
use std::time::Instant;

/// A core at the end of its journal.
#[derive(Debug)]
pub struct Recovered {
    /// The state.
    pub core: Core,
    /// Where the journal goes on.
    pub end: End,
    /// The last record, and the journal's hash there.
    pub mark: Mark,
    /// Segment in which the replay began.
    pub first_segment: u32,
    /// Records replayed.
    pub records: u64,
}

/// A box's state at the end of its journal.
pub struct Restored {
    /// The state.
    pub core: Core,
    /// Where the journal goes on.
    pub end: End,
    /// What members were told.
    pub spool: SpoolFiles,
    /// What the feed said.
    pub day: FeedDay,
}

/// Brings the box back from its newest sound snapshot and the journal behind it. Members have their rates.
///
/// # Errors
/// As [`recover`]; or when the configuration is not that of the snapshot.
pub fn restore(config: &Config) -> anyhow::Result<Restored> {
    let data = config.data();
    let _lock = snapshot::lock_for_start(&data)?;
    let begun = Instant::now();
    let mut start = Start::newest(&data, &config.capacity, Beginner::Box)?;
    for why in &start.refused {
        log::event("snapshot_refused", &[("reason", why)]);
    }
    if start.from.is_some() {
        check_domain(config, &start.core)?;
    }
    for m in &config.members {
        start.core.add_member(m.member(), m.rates());
    }
    let Start {
        core,
        mark,
        mut spool,
        mut day,
        from,
        refused,
    } = start;
    let from_name = from.as_deref().unwrap_or("the first record");
    let batches = data.batches();
    if config.journal.durability == Durability::Replicated {
        hold_batches(&batches)?;
    }
    let journal = data.journal();
    let recovered = recover(&journal, core, &mark, None, Some(&batches), |core| {
        for (member, report) in core.told() {
            spool.append(member, report)?;
        }
        Start::day_of(&mut day, &data, core)?.replay(&core.outbox)
    })
    .with_context(|| format!("start from {from_name}"))?;
    let core = recovered.core;
    Start::day_of(&mut day, &data, &core)?;
    let mut day = day.expect("just made");
    // Who makes the next snapshot finds in the files what it counts on.
    spool.flush()?;
    day.flush()?;
    if let Some(note) = tail_note(&recovered.end.tail) {
        log::event("journal_tail", &[("note", &note)]);
    }
    log::event(
        "recovered",
        &[
            ("from", &from_name),
            ("records", &recovered.records),
            ("last_seq", &recovered.mark.seq),
            ("snapshots_refused", &refused.len()),
            ("ms", &begun.elapsed().as_millis()),
            ("state_hash", &admin::hex(&core.engine.state_hash())),
        ],
    );
    Ok(Restored {
        core,
        end: recovered.end,
        spool,
        day,
    })
}

/// Replays the journal in `dir` behind `mark`, which is where `core` stands: to its end, or to record `until` of a
/// journal that is being written. With `batches`, sealed batches that are missing there are written again.
/// `follow` sees the core after each record.
///
/// # Errors
/// Damage is named with segment, offset and record; nothing is skipped or cut off in silence.
pub fn recover(
    dir: &Path,
    mut core: Core,
    mark: &Mark,
    until: Option<u64>,
    batches: Option<&Path>,
    mut follow: impl FnMut(&Core) -> anyhow::Result<()>,
) -> anyhow::Result<Recovered> {
    let mut records = 0;
    let reader = Reader::open_at(dir, mark)
        .with_context(|| format!("cannot read the journal in {}", dir.display()))?;
    let first_segment = reader.end().segment;
    let mut source = match until {
        None if planted::is(Bug::RecoversHalf) => Source::Live(Box::new(reader), half(dir)?),
        None => Source::AtRest(ReadAhead::start(reader).context("read-ahead")?),
        Some(until) => Source::Live(Box::new(reader), until),
    };
    loop {
        let next = match &mut source {
            Source::AtRest(ahead) => ahead.next(),
            Source::Live(reader, until) => reader.next_until(*until),
        };
        let Some(view) = next.context("journal")? else {
            break;
        };
        let seq = view.header.seq;
        core.replay(&view)
            .with_context(|| format!("journal record {seq}"))?;
        records += 1;
        follow(&core)?;
        if let Some(batches) = batches {
            for bytes in core.outbox.sealed() {
                write_missing(batches, bytes, view.chain.hash())?;
            }
        }
    }
    let (mark, end) = source.finish();
    if let Tail::Torn { .. } = end.tail
        && planted::is(Bug::RefusesTornTails)
    {
        bail!("the journal ends with a cut write");
    }
    if let (Some(batches), None) = (batches, until) {
        check_batches(batches, mark.seq + 1)?;
    }
    Ok(Recovered {
        core,
        end,
        mark,
        first_segment,
        records,
    })
}

/// Where records come from: a journal that nobody writes is read ahead.
enum Source {
    AtRest(ReadAhead),
    /// Up to a record.
    Live(Box<Reader>, u64),
}

impl Source {
    /// The place behind the last record, and where the journal ends.
    fn finish(self) -> (Mark, End) {
        match self {
            Self::AtRest(ahead) => {
                let mark = mark(ahead.next_seq(), ahead.chain());
                (mark, ahead.end())
            }
            Self::Live(reader, _) => (
                mark(reader.next_seq(), reader.chain()),
                reader.end().clone(),
            ),
        }
    }
}

const fn mark(next_seq: u64, chain: journal::Chain) -> Mark {
    Mark {
        seq: next_seq - 1,
        chain,
    }
}

/// For [`Bug::RecoversHalf`].
fn half(dir: &Path) -> anyhow::Result<u64> {
    let mut reader = Reader::open(dir)?;
    while reader.next()?.is_some() {}
    Ok(reader.next_seq() / 2)
}

/// Folder for sealed batches whose records are on the own disk and may not be told of yet.
const HELD: &str = "held";

/// From now on batches that are missing in `dir` are held back, until they are [published](publish_held).
pub(crate) fn hold_batches(dir: &Path) -> anyhow::Result<()> {
    let held = dir.join(HELD);
    std::fs::create_dir_all(&held).with_context(|| format!("cannot make {}", held.display()))
}

/// Batches that were held back take their place: all records of the journal may be told of.
pub(crate) fn publish_held(dir: &Path) -> anyhow::Result<()> {
    let held = dir.join(HELD);
    if !held.is_dir() {
        return Ok(());
    }
    let publish = || {
        for entry in std::fs::read_dir(&held)? {
            let path = entry?.path();
            match path.file_name() {
                Some(name) if path.extension().is_some_and(|e| e == "sealed") => {
                    std::fs::rename(&path, dir.join(name))?;
                }
                // Left over from a crash in the middle of a write.
                _ => std::fs::remove_file(&path)?,
            }
        }
        std::fs::remove_dir(&held)?;
        std::fs::File::open(dir)?.sync_all()
    };
    publish().with_context(|| format!("cannot publish {}", held.display()))
}

/// A crash between the journal's write and the batch's leaves the batch to be written now.
pub(crate) fn write_missing(dir: &Path, bytes: &[u8], chain: journal::Chain) -> anyhow::Result<()> {
    let WholeBatch {
        batch_no, bytes, ..
    } = with_chain(bytes.to_vec(), chain);
    let held = dir.join(HELD);
    let is_there = |dir: &Path| {
        let path = dir.join(batch_name(batch_no));
        match std::fs::read(&path) {
            Ok(found) if found == bytes => Ok(true),
            Ok(_) => bail!("{} differs from what the journal says", path.display()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).with_context(|| path.display().to_string()),
        }
    };
    if is_there(dir)? {
        return Ok(());
    }
    if !held.is_dir() {
        return write_batch(dir, batch_no, &bytes);
    }
    if is_there(&held)? {
        return Ok(());
    }
    write_batch(&held, batch_no, &bytes)
}

/// A sealed batch is written after its last record is durable. One that is ahead of the journal shows that
/// durable records are gone, which the tail alone cannot show when the damage hit the very last of them.
fn check_batches(dir: &Path, next_seq: u64) -> anyhow::Result<()> {
    let failed = || format!("cannot read {}", dir.display());
    for entry in std::fs::read_dir(dir).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.extension().is_none_or(|e| e != "sealed") {
            continue;
        }
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let batch = matcher::batch::decode(&bytes).with_context(|| path.display().to_string())?;
        if batch.last_seq.0 >= next_seq {
            bail!(
                "{} covers record {}, but the journal ends with record {}: durable records are missing",
                path.display(),
                batch.last_seq,
                next_seq - 1
            );
        }
    }
    Ok(())
}

/// Removes sealed batches that cover records after `seq`, which leave the journal.
pub(crate) fn drop_batches_after(dir: &Path, seq: u64) -> anyhow::Result<()> {
    let held = dir.join(HELD);
    if held.is_dir() {
        drop_batches_after(&held, seq)?;
    }
    let failed = || format!("cannot read {}", dir.display());
    for entry in std::fs::read_dir(dir).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.extension().is_none_or(|e| e != "sealed") {
            continue;
        }
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let batch = matcher::batch::decode(&bytes).with_context(|| path.display().to_string())?;
        if batch.last_seq.0 > seq {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    std::fs::File::open(dir)
        .and_then(|d| d.sync_all())
        .with_context(failed)
}

/// One line about a tail that was not clean.
#[must_use]
pub fn tail_note(tail: &Tail) -> Option<String> {
    match tail {
        Tail::Clean => None,
        Tail::Torn {
            segment,
            offset,
            bytes,
            fault,
        } => Some(format!(
            "segment {segment} offset {offset:#x}: a write of {bytes} bytes was cut off before it was durable ({fault}); it is dropped"
        )),
    }
}

/// Records that the journal lacks for this configuration, in order.
#[derive(Debug, Default)]
pub struct Listing {
    /// At the start only.
    pub domain: Option<InDomain>,
    /// What the configuration lists and the journal does not.
    pub instruments: Vec<InInstrument>,
    /// New accounts.
    pub accounts: Vec<InAccount>,
    /// New receivers of copies.
    pub drop_copies: Vec<InDropCopy>,
    /// Rules of risk that are not the journal's, and from when on they are in force, ns from now.
    pub risk_rules: Option<(InRiskRules, u64)>,
    /// A model of volatility that is not the journal's, likewise.
    pub vol_model: Option<(InVolModel, u64)>,
}

/// Compares the configuration with what the journal holds.
///
/// # Errors
/// When the two contradict each other: the journal is the truth of the day, so the operator must choose.
pub fn missing(config: &Config, core: &Core) -> anyhow::Result<Listing> {
    let mut listing = Listing::default();
    match core.domain {
        None => listing.domain = Some(config.domain_record()),
        Some(_) => check_domain(config, core)?,
    }
    for i in &config.instruments {
        let wanted = i.listing().map_err(anyhow::Error::msg)?;
        match core.listings.get(&i.id) {
            None => {
                (core.engine.check_listing(&wanted))
                    .map_err(|e| anyhow::anyhow!("instrument {} ({}): {e}", i.id, i.symbol))?;
                listing.instruments.push(wanted);
            }
            Some(held) if *held == wanted => {}
            _ => bail!(
                "instrument {} ({}) differs from what the journal holds",
                i.id,
                i.symbol
            ),
        }
    }
    // What operators have listed counts beside what the configuration lists.
    let listed = core.listed().chain(&listing.instruments);
    let lots: i64 = listed.map(|i| i.position_lots_max).sum();
    ensure!(
        lots <= DOMAIN_LOTS_MAX,
        "the position_lots_max of all listed instruments add up to {lots}, above {DOMAIN_LOTS_MAX}"
    );
    if let Some(id) = core
        .listings
        .keys()
        .filter(|id| !core.listed_later.contains(id) && !core.delisted.contains(id))
        .find(|id| config.instruments.iter().all(|i| i.id != **id))
    {
        bail!("instrument {id} stands in the journal but not in the configuration");
    }
    for m in &config.members {
        for account in &m.accounts {
            match core.accounts.get(account) {
                None => listing.accounts.push(InAccount {
                    account: *account,
                    member: m.id,
                }),
                Some(held) if *held == m.id => {}
                Some(held) => bail!(
                    "account {account} belongs to member {held} in the journal, not to {}",
                    m.id
                ),
            }
        }
    }
    drop_copies(config, core, &mut listing)?;
    listing.risk_rules = risk_rules(config, core);
    listing.vol_model = vol_model(config, core);
    Ok(listing)
}

/// The first rules of a day are in force at once; a change is announced. Rules that the configuration no longer has stay.
fn risk_rules(config: &Config, core: &Core) -> Option<(InRiskRules, u64)> {
    let risk = config.risk.as_ref()?;
    let wanted = risk.rules(config.domain.initial_extra_ppm);
    match core.engine.risk_rules() {
        None => Some((wanted, 0)),
        Some(held) => {
            let held = InRiskRules {
                effective_time: 0,
                ..held
            };
            (held != wanted).then_some((wanted, risk.notice_ns()))
        }
    }
}

/// As [`risk_rules`].
fn vol_model(config: &Config, core: &Core) -> Option<(InVolModel, u64)> {
    let risk = config.risk.as_ref()?;
    let wanted = risk.adaptive?.model();
    match core.engine.vol_model() {
        None => Some((wanted, 0)),
        Some(held) => {
            let held = InVolModel {
                effective_time: 0,
                ..held
            };
            (held != wanted).then_some((wanted, risk.notice_ns()))
        }
    }
}

fn check_domain(config: &Config, core: &Core) -> anyhow::Result<()> {
    ensure!(
        core.domain == Some(config.domain_record()),
        "[domain] or [capacity] differs from what the journal holds; they change with a new data_dir only"
    );
    Ok(())
}

/// Who gets copies of whose reports.
fn drop_copies(config: &Config, core: &Core, listing: &mut Listing) -> anyhow::Result<()> {
    let wanted = |member: u32, of: u32| {
        let m = config.members.iter().find(|m| m.id == member);
        m.is_some_and(|m| m.drop_copy_of.contains(&of))
    };
    if let Some((member, of)) = core.drop_copies.iter().find(|(m, of)| !wanted(*m, *of)) {
        bail!(
            "member {member} gets copies of member {of}'s reports in the journal but not in the configuration"
        );
    }
    for m in config.members.iter().filter(|m| !m.drop_copy_of.is_empty()) {
        if let Some((account, _)) = core.accounts.iter().find(|(_, member)| **member == m.id) {
            bail!(
                "member {}: drop_copy_of: it trades for account {account} in the journal, and who gets copies may not trade",
                m.id
            );
        }
        let new = |of: &&u32| !core.drop_copies.contains(&(m.id, **of));
        listing
            .drop_copies
            .extend(m.drop_copy_of.iter().filter(new).map(|of| InDropCopy {
                member: m.id,
                of: *of,
            }));
    }
    Ok(())
}
