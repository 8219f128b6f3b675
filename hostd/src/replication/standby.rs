//! `hostd standby`: follows a primary, and becomes one when told to.

use super::config::ReplicationSection;
use super::control::{Control, Order};
use super::link::{Link, load_key, unhex};
use super::promotion::may_lead;
use super::status::{ReplicationStatus, Shared};
use super::term::{Began, Term, fork};
use super::wire::{Hello, Kind, Refusal, State, Welcome, numbers, read_piece};
use super::{etcd, go_first, peer};
use crate::config::Config;
use crate::feed::FeedDay;
use crate::machine::{log, sandbox};
use crate::ops::admin::hex;
use crate::ops::role::Role;
use crate::storage::disk::{Durability, UringDisk};
use crate::storage::recover::{Restored, hold_batches, restore, write_missing};
use crate::storage::snapshot;
use crate::tiles::boot;
use crate::tiles::core::Core;
use crate::tiles::spool::SpoolFiles;
use anyhow::{Context, bail, ensure};
use journal::{End, FollowError, Follower, JournalDir, Mark, Pieces};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks for orders.
const TURN: Duration = Duration::from_millis(50);
/// A primary that says nothing for so long is lost.
const SILENCE: Duration = Duration::from_secs(1);
/// Between two tries to find a primary.
const AGAIN: Duration = Duration::from_millis(200);

/// What was promised, shared by who follows and who answers.
type Promise = Arc<Mutex<Term>>;

enum Outcome {
    /// It leads now.
    Promoted(Box<Restored>, Option<(etcd::Lead, u64)>),
    /// It was told to stop.
    Stopped,
    /// Its journal was cut back: from the start.
    Again,
}

/// Runs a standby until it is told to stop, or as the primary once it is promoted.
///
/// # Errors
/// Whatever stops it, in one line.
pub fn run(config: &Config) -> anyhow::Result<()> {
    sandbox::enter(config);
    let section = (config.replication.as_ref()).context("a standby needs [replication]")?;
    let key = load_key(&section.key_file)?;
    let data = config.data();
    let term = Term::load(data.path())?;
    let shared = Arc::new(Mutex::new(ReplicationStatus {
        name: section.name.clone(),
        role: "standby",
        epoch: term.epoch,
        leader: term.leader.clone(),
        decided_by: if section.etcd.is_some() {
            "etcd"
        } else {
            "operator"
        },
        waits_for: "disk",
        quorum: section.quorum,
        ..ReplicationStatus::default()
    }));
    let promise = Arc::new(Mutex::new(term));
    let control = Control::serve(&config.admin.socket(Role::Admin), Arc::clone(&shared))?;
    let answering = Answering::start(section, key, data.path().into(), &promise, &shared)?;
    // A thread of its own goes first, and what it becomes at a promotion does not inherit that.
    let followed = std::thread::scope(|scope| {
        let body = || follow(config, section, key, &promise, &shared, &control);
        let thread = std::thread::Builder::new().name("standby".into());
        let thread = thread.spawn_scoped(scope, body)?;
        let died = |_| anyhow::anyhow!("the standby's thread panicked");
        thread.join().map_err(died)?
    });
    let Some((restored, lead)) = followed? else {
        return Ok(());
    };
    // Their places are the primary's now.
    drop(answering);
    control.stop();
    let dir = JournalDir::open(data.journal()).context("journal")?;
    boot::run_restored(config, dir, *restored, lead)
}

type Promoted = (Box<Restored>, Option<(etcd::Lead, u64)>);

/// Follows until this box leads; `None` when it was told to stop.
fn follow(
    config: &Config,
    section: &ReplicationSection,
    key: [u8; 32],
    promise: &Promise,
    shared: &Shared,
    control: &Control,
) -> anyhow::Result<Option<Promoted>> {
    go_first();
    let mut is_ready = false;
    loop {
        let mut standby = Standby::start(config, section, key, promise, shared, control)?;
        if !is_ready {
            println!("hostd: standby");
            is_ready = true;
        }
        match standby.follow()? {
            Outcome::Promoted(restored, lead) => return Ok(Some((restored, lead))),
            Outcome::Stopped => return Ok(None),
            Outcome::Again => {}
        }
    }
}

/// The thread that tells others who this box is.
struct Answering {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    fn start(
        section: &ReplicationSection,
        key: [u8; 32],
        data: PathBuf,
        promise: &Promise,
        shared: &Shared,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(section.listen)
            .with_context(|| format!("replication.listen {}", section.listen))?;
        listener.set_nonblocking(true)?;
        let (stop, stopped) = mpsc::channel::<()>();
        let (promise, shared) = (Arc::clone(promise), Arc::clone(shared));
        let name = section.name.clone();
        let thread = std::thread::Builder::new().name("replication-answer".into());
        let thread = thread.spawn(move || {
            let pause = Duration::from_millis(20);
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                while let Ok((stream, _)) = listener.accept() {
                    // Who does not speak our protocol, or not in time, gets no answer.
                    let _ = answer(stream, &key, &name, &data, &promise, &shared);
                }
            }
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(
    stream: TcpStream,
    key: &[u8; 32],
    name: &str,
    data: &std::path::Path,
    promise: &Promise,
    shared: &Shared,
) -> anyhow::Result<()> {
    let mut peer = peer::Peer::new(stream, Instant::now())?;
    let begun = Instant::now();
    while begun.elapsed() < SILENCE {
        peer.send()?;
        peer.receive()?;
        let Some(came) = peer.next(key)? else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let mut term = promise.lock().expect("nobody panics with the lock held");
        if came.kind == Kind::Ask {
            let ask: super::wire::Ask = serde_json::from_slice(&came.payload)?;
            if ask.leads && came.epoch > term.epoch {
                term.epoch = came.epoch;
                term.leader = ask.name;
                term.save(data)?;
            }
            let status = super::status::show(shared);
            let state = State {
                name: name.to_owned(),
                role: "standby".into(),
                leader: term.leader.clone(),
                next_seq: status.disk_seq + 1,
                tail_epoch: status.tail_epoch,
            };
            peer.say_json(Kind::State, term.epoch, &state)?;
        } else {
            let refusal = Refusal {
                code: "not_primary".into(),
                reason: format!(
                    "{name} is a standby; {} leads epoch {}",
                    term.leader, term.epoch
                ),
                history: Vec::new(),
            };
            peer.say_json(Kind::Refusal, term.epoch, &refusal)?;
        }
        drop(term);
        while peer.has_output() && begun.elapsed() < SILENCE {
            peer.send()?;
        }
        return Ok(());
    }
    bail!("it said nothing")
}

/// What follows from the records so far.
struct Applied {
    core: Core,
    spool: SpoolFiles,
    day: FeedDay,
}

impl Applied {
    fn flush(&mut self) -> anyhow::Result<()> {
        self.spool.flush()?;
        self.day.flush()
    }
}

struct Standby<'a> {
    config: &'a Config,
    section: &'a ReplicationSection,
    key: [u8; 32],
    promise: &'a Promise,
    shared: &'a Shared,
    control: &'a Control,
    applied: Option<Applied>,
    /// None while the directory is needed otherwise.
    copy: Option<Follower<UringDisk>>,
    watch: Option<etcd::Watch>,
}

impl<'a> Standby<'a> {
    fn start(
        config: &'a Config,
        section: &'a ReplicationSection,
        key: [u8; 32],
        promise: &'a Promise,
        shared: &'a Shared,
        control: &'a Control,
    ) -> anyhow::Result<Self> {
        let data = config.data();
        // What they say may be told of once this box leads.
        hold_batches(&data.batches())?;
        let dir = JournalDir::open(data.journal()).context("journal")?;
        boot::link_archive(&dir, config.journal.archive_dir.as_deref())
            .context("journal.archive_dir")?;
        let restored = restore(config)?;
        let mut disk = UringDisk::open(dir, Durability::Fsync, None).context("journal")?;
        disk.write_in_place();
        let bytes = config.journal.segment_mib << 20;
        let copy = Follower::resume(bytes, &restored.end, disk).context("journal")?;
        let standby = Self {
            config,
            section,
            key,
            promise,
            shared,
            control,
            applied: Some(Applied {
                core: restored.core,
                spool: restored.spool,
                day: restored.day,
            }),
            copy: Some(copy),
            watch: section
                .etcd
                .as_ref()
                .map(|e| etcd::Watch::start(e, &section.name)),
        };
        standby.show(0);
        Ok(standby)
    }

    fn end(&self) -> &End {
        self.copy
            .as_ref()
            .expect("it is taken only at the end")
            .end()
    }

    fn applied(&mut self) -> &mut Applied {
        self.applied.as_mut().expect("it is taken only at the end")
    }

    fn show(&self, released: u64) {
        let end = self.end();
        let term = self
            .promise
            .lock()
            .expect("nobody panics with the lock held");
        let mut s = self
            .shared
            .lock()
            .expect("nobody panics with the lock held");
        (s.epoch, s.leader) = (term.epoch, term.leader.clone());
        s.disk_seq = end.next_seq - 1;
        s.tail_epoch = end.epoch;
        s.released_seq = s.released_seq.max(released);
        let applied = self.applied.as_ref();
        s.applied_seq = applied.map_or(0, |a| a.core.engine.last_seq().0);
    }

    fn trouble(&self, why: Option<String>) {
        let mut s = self
            .shared
            .lock()
            .expect("nobody panics with the lock held");
        if s.trouble != why {
            match &why {
                Some(why) => log::event("standby_waits", &[("reason", why)]),
                None => log::event(
                    "standby_follows",
                    &[("leader", &s.leader), ("epoch", &s.epoch)],
                ),
            }
            s.trouble = why;
        }
    }

    /// Follows whoever leads until there is something else to do.
    fn follow(&mut self) -> anyhow::Result<Outcome> {
        loop {
            let mut why = Vec::new();
            for peer in &self.section.peers {
                let link = match Link::connect(peer.address, &self.key) {
                    Ok(link) => link,
                    Err(e) => {
                        why.push(format!("{}: {e:#}", peer.name));
                        continue;
                    }
                };
                match self.follow_one(link) {
                    Ok(Some(outcome)) => return Ok(outcome),
                    Ok(None) => {}
                    Err(e) if is_final(&e) => return Err(e),
                    Err(e) => why.push(format!("{}: {e:#}", peer.name)),
                }
            }
            self.trouble(Some(why.join("; ")));
            self.applied().flush()?;
            let begun = Instant::now();
            while begun.elapsed() < AGAIN {
                if let Some(outcome) = self.take_orders()? {
                    return Ok(outcome);
                }
                std::thread::sleep(TURN);
            }
        }
    }

    fn epoch(&self) -> u64 {
        self.promise
            .lock()
            .expect("nobody panics with the lock held")
            .epoch
    }

    fn follow_one(&mut self, mut link: Link) -> anyhow::Result<Option<Outcome>> {
        let end = self.end();
        let hello = Hello {
            name: self.section.name.clone(),
            next_seq: end.next_seq,
            chain: hex(&end.chain),
            segment: if end.offset > 0 { end.segment } else { 0 },
            offset: end.offset,
            tail_epoch: end.epoch,
        };
        link.send_json(Kind::Hello, self.epoch(), &hello)?;
        let begun = Instant::now();
        let (epoch, welcome) = loop {
            ensure!(begun.elapsed() < SILENCE, "no answer");
            let Some(frame) = link.next()? else {
                continue;
            };
            match frame.kind {
                Kind::Welcome => {
                    break (
                        frame.epoch,
                        serde_json::from_slice::<Welcome>(frame.payload)?,
                    );
                }
                Kind::Refusal => {
                    let refusal: Refusal = serde_json::from_slice(frame.payload)?;
                    return if refusal.code == "diverged" && frame.epoch >= self.epoch() {
                        self.cut_back(&refusal).map(Some)
                    } else {
                        bail!("{}: {}", refusal.code, refusal.reason)
                    };
                }
                other => bail!("it answered with {other:?}"),
            }
        };
        self.promise(epoch, &welcome)?;
        self.show(0);
        self.trouble(None);
        link.set_patience(TURN)?;
        let mut heard = Instant::now();
        loop {
            if let Some(outcome) = self.take_orders()? {
                return Ok(Some(outcome));
            }
            let promised = self.epoch();
            let Some(frame) = link.next()? else {
                ensure!(heard.elapsed() < SILENCE, "{} says nothing", welcome.name);
                continue;
            };
            heard = Instant::now();
            if frame.epoch < promised {
                self.count("stale_epoch");
                bail!(
                    "{} leads epoch {} still, and this box has met {promised}",
                    welcome.name,
                    frame.epoch
                );
            }
            match frame.kind {
                Kind::Piece => {
                    let piece = read_piece(frame.payload).context("a piece has a place")?;
                    let copy = self.copy.as_mut().expect("it is taken only at the end");
                    copy.take(&piece)?;
                    let durable = copy.end().next_seq - 1;
                    // On disk is part of the state, whether or not the primary hears of it.
                    let sent = link.send(Kind::Ack, promised, &durable.to_le_bytes());
                    self.apply().map_err(|e| Broken(format!("{e:#}")))?;
                    sent?;
                }
                Kind::Beat => {
                    let [_, released] = numbers(frame.payload).context("a beat is two numbers")?;
                    let durable = self.end().next_seq - 1;
                    link.send(Kind::Ack, promised, &durable.to_le_bytes())?;
                    self.show(released);
                }
                other => bail!("it sent {other:?}"),
            }
        }
    }

    fn count(&self, code: &str) {
        let mut s = self
            .shared
            .lock()
            .expect("nobody panics with the lock held");
        *s.refused.entry(code.to_owned()).or_default() += 1;
    }

    /// From now on nothing of an older epoch is taken, over any crash.
    fn promise(&mut self, epoch: u64, welcome: &Welcome) -> anyhow::Result<()> {
        if let Some(known) = self.watch.as_ref().and_then(etcd::Watch::leader) {
            ensure!(
                known == (welcome.name.clone(), epoch),
                "{} says that it leads epoch {epoch}, and etcd says that {} leads epoch {}",
                welcome.name,
                known.0,
                known.1
            );
        }
        let mut term = self
            .promise
            .lock()
            .expect("nobody panics with the lock held");
        if epoch < term.epoch {
            drop(term);
            self.count("stale_epoch");
            bail!(
                "{} leads epoch {epoch}, and this box has met {}",
                welcome.name,
                self.epoch()
            );
        }
        ensure!(
            epoch > term.epoch || term.leader.is_empty() || term.leader == welcome.name,
            "{} says that it leads epoch {epoch}, which {} leads",
            welcome.name,
            term.leader
        );
        let before = term.clone();
        term.learn(epoch, &welcome.name, &welcome.history);
        term.alone = false;
        if *term != before {
            term.save(self.config.data().path())?;
        }
        Ok(())
    }

    /// The records taken last become part of the state.
    fn apply(&mut self) -> anyhow::Result<()> {
        let copy = self.copy.as_ref().expect("it is taken only at the end");
        let applied = self.applied.as_mut().expect("it is taken only at the end");
        let batches = self.config.data().batches();
        for view in copy.records() {
            let seq = view.header.seq;
            let Applied { core, spool, day } = applied;
            (core.replay(&view)).with_context(|| format!("journal record {seq}"))?;
            for (member, report) in core.told() {
                spool.append(member, report)?;
            }
            day.replay(&core.outbox)?;
            for bytes in core.outbox.sealed() {
                write_missing(&batches, bytes, view.chain.hash())?;
            }
        }
        Ok(())
    }

    /// Our journal ends with records that are not part of the primary's: none of them was ever acknowledged, so they
    /// go.
    fn cut_back(&mut self, refusal: &Refusal) -> anyhow::Result<Outcome> {
        let end = self.end().clone();
        let Some(began) = fork(&refusal.history, end.epoch) else {
            bail!(
                "{}, and it names no later epoch: this box needs a copy of its data",
                refusal.reason
            );
        };
        let chain = unhex(&began.chain).context("chain")?;
        let seq = began.first_seq - 1;
        let data = self.config.data();
        let common = Pieces::after(&data.journal(), &Mark { seq, chain }, 0).context("journal")?;
        let Some(common) = common else {
            bail!(
                "{}, and epoch {} began after record {seq} of a history that is not ours: this box needs a copy of its data",
                refusal.reason,
                began.epoch
            );
        };
        let mut to = common.end().clone();
        to.next_seq = began.first_seq;
        let dropped = end.next_seq - began.first_seq;
        log::event(
            "journal_cut_back",
            &[
                ("first", &began.first_seq),
                ("records", &dropped),
                ("epoch", &began.epoch),
            ],
        );
        self.copy = None;
        let dir = JournalDir::open(data.journal()).context("journal")?;
        // First what is counted on after the cut, so that a crash in between leaves nothing ahead of the journal.
        snapshot::drop_after(&data, seq)?;
        crate::storage::recover::drop_batches_after(&data.batches(), seq)?;
        dir.cut_after(&to).context("journal")?;
        Ok(Outcome::Again)
    }

    fn take_orders(&mut self) -> anyhow::Result<Option<Outcome>> {
        match self.control.order() {
            None => {}
            Some(Order::Stop(reply)) => {
                self.applied().flush()?;
                let engine = &self.applied().core.engine;
                let answer = serde_json::json!({
                    "engine_seq": engine.last_seq().0,
                    "state_hash": hex(&engine.state_hash()),
                });
                reply.answer(Ok(answer));
                return Ok(Some(Outcome::Stopped));
            }
            Some(Order::Promote {
                alone,
                force,
                reply,
            }) => match self.lead(alone, force) {
                Ok((epoch, lead)) => {
                    reply.answer(Ok(serde_json::json!({ "epoch": epoch })));
                    return Ok(Some(self.hand_over(lead)?));
                }
                Err(e) => reply.answer(Err(format!("{e:#}"))),
            },
        }
        let Some(watch) = &self.watch else {
            return Ok(None);
        };
        if !watch.may_lead() {
            return Ok(None);
        }
        match self.lead(false, false) {
            Ok((_, lead)) => Ok(Some(self.hand_over(lead)?)),
            Err(e) => {
                self.trouble(Some(format!("{e:#}")));
                Ok(None)
            }
        }
    }

    /// Begins a lead, if this box may have it.
    fn lead(
        &mut self,
        alone: bool,
        force: bool,
    ) -> anyhow::Result<(u64, Option<(etcd::Lead, u64)>)> {
        let end = self.end().clone();
        let known = self
            .promise
            .lock()
            .expect("nobody panics with the lock held")
            .clone();
        let (epoch, lead) = match &self.section.etcd {
            Some(e) => {
                let (lead, epoch) = etcd::Lead::acquire(self.section, e, known.epoch, force)?;
                (epoch, Some((lead, epoch)))
            }
            None => {
                let epoch = may_lead(self.config, self.section, &self.key, &known, &end, force)?;
                (epoch, None)
            }
        };
        let mut term = self
            .promise
            .lock()
            .expect("nobody panics with the lock held");
        term.begin(Began {
            epoch,
            leader: self.section.name.clone(),
            first_seq: end.next_seq,
            chain: hex(&end.chain),
        });
        term.alone = alone;
        term.save(self.config.data().path())?;
        log::event(
            "promoted",
            &[("epoch", &epoch), ("last_seq", &(end.next_seq - 1))],
        );
        Ok((epoch, lead))
    }

    /// The state as a start would have it.
    fn hand_over(&mut self, lead: Option<(etcd::Lead, u64)>) -> anyhow::Result<Outcome> {
        let end = self.end().clone();
        self.copy = None;
        let mut applied = self.applied.take().context("it is taken once")?;
        applied.flush()?;
        let Applied { core, spool, day } = applied;
        let restored = Restored {
            core,
            end,
            spool,
            day,
        };
        Ok(Outcome::Promoted(Box::new(restored), lead))
    }
}

/// A record that is on disk and does not apply.
#[derive(Debug, thiserror::Error)]
#[error("the state cannot follow its journal: {0}")]
struct Broken(String);

/// Our own disk or state failed, or the boxes cannot ever go together.
fn is_final(e: &anyhow::Error) -> bool {
    let refused = e.downcast_ref::<FollowError>();
    let refused = refused.is_some_and(|e| !matches!(e, FollowError::Refused { .. }));
    refused || e.is::<Broken>() || e.is::<journal::DiskError>()
}
