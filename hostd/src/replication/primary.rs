//! The primary's replication thread: pieces to standbys, acknowledgements back, and what may leave the box.

use super::config::ReplicationSection;
use super::leadership::{Leadership, Operator};
use super::link::load_key;
use super::peer::{Came, Peer, Standby};
use super::promotion::{ask_one, roll_call};
use super::quorum::{Lack, Rule, Want};
use super::status::{ReplicationStatus, Shared, StandbyStatus};
use super::tee::{TeeEnds, Written};
use super::term::{Began, Term, fork};
use super::wire::{Ask, Hello, Kind, Refusal, State, Welcome};
use super::{etcd, link};
use crate::machine::log;
use crate::ops::admin::hex;
use crate::tiles::journal_tile::SealedFile;
use anyhow::{Context, bail};
use journal::{Mark, Pieces};
use lane::{Gauges, Parker, Waker, Watermark};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two turns at the latest.
const TURN: Duration = Duration::from_millis(50);
/// A standby hears so often that the primary is there.
const BEAT: Duration = Duration::from_millis(100);
/// Between two calls at boxes that are not connected.
const CALL: Duration = Duration::from_millis(500);
/// Who connects says what it wants within this.
const STRANGER: Duration = Duration::from_secs(2);
/// A thread that did not run for so long was paused.
const PAUSED: Duration = Duration::from_millis(300);
/// Connections at once.
const PEERS_MAX: usize = 32;
/// Writes that are kept for standbys that are nearly there.
const KEPT: usize = 24;

/// What the thread does for durability `replicated`.
pub struct Gates {
    /// Up to where the box may tell.
    pub released: Watermark,
    /// Wakes who tells.
    pub hot: Waker,
    /// One while new risk is refused.
    pub lack: Gauges<1>,
    /// Batches whose records are on the own disk.
    pub sealed: mpsc::Receiver<SealedFile>,
    /// Batches whose records are released.
    pub to_seal: mpsc::Sender<SealedFile>,
}

/// The thread, before it runs.
pub struct Primary {
    section: ReplicationSection,
    key: [u8; 32],
    data: PathBuf,
    journal: PathBuf,
    term: Term,
    listener: TcpListener,
    parker: Parker,
    shared: Shared,
    leadership: Box<dyn Leadership>,
}

impl Primary {
    /// Makes sure that nobody else leads, begins this box's lead, and listens.
    ///
    /// # Errors
    /// When another box leads, or has what this one lacks; or when the system refuses.
    pub(crate) fn begin(
        section: &ReplicationSection,
        data: PathBuf,
        journal: PathBuf,
        end: &journal::End,
        lead: Option<(etcd::Lead, u64)>,
    ) -> anyhow::Result<Self> {
        let key = load_key(&section.key_file)?;
        let mut term = Term::load(&data)?;
        // A standby that was just promoted has begun its lead already, and so has one that died before its first word.
        let is_begun = term.leader == section.name
            && (term.history.last()).is_some_and(|b| {
                b.epoch == term.epoch && b.first_seq == end.next_seq && term.epoch > end.epoch
            });
        let (leadership, epoch): (Box<dyn Leadership>, u64) = match (lead, &section.etcd) {
            (Some((lead, epoch)), _) => (Box::new(lead), epoch),
            (None, Some(e)) => {
                let (lead, epoch) = etcd::Lead::acquire(section, e, term.epoch, false)?;
                (Box::new(lead), epoch)
            }
            (None, None) => {
                roll_call(section, &key, &term, end, !is_begun && !term.alone)?;
                let next = term.epoch.max(end.epoch) + u64::from(!is_begun);
                (Box::new(Operator), next)
            }
        };
        if !is_begun || epoch != term.epoch {
            term.begin(Began {
                epoch,
                leader: section.name.clone(),
                first_seq: end.next_seq,
                chain: hex(&end.chain),
            });
            term.save(&data)?;
        }
        let listener = TcpListener::bind(section.listen)
            .with_context(|| format!("replication.listen {}", section.listen))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Mutex::new(ReplicationStatus {
            name: section.name.clone(),
            role: "primary",
            epoch: term.epoch,
            leader: section.name.clone(),
            decided_by: leadership.name(),
            waits_for: "disk",
            quorum: section.quorum,
            alone: term.alone,
            ..ReplicationStatus::default()
        }));
        log::event("leads", &[("epoch", &term.epoch), ("alone", &term.alone)]);
        Ok(Self {
            section: section.clone(),
            key,
            data,
            journal,
            term,
            listener,
            parker: Parker::new()?,
            shared,
            leadership,
        })
    }

    /// The epoch in which it leads.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.term.epoch
    }

    /// What is shown of it.
    #[must_use]
    pub fn shared(&self) -> Shared {
        Arc::clone(&self.shared)
    }

    /// Wakes it.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.parker.waker()
    }

    /// Starts the thread. It ends when the journal's stage is gone; when another box leads, so does the process.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(self, ends: TeeEnds, gates: Option<Gates>) -> anyhow::Result<JoinHandle<()>> {
        let (section, key) = (self.section.clone(), self.key);
        let shared = Arc::clone(&self.shared);
        let epoch = self.term.epoch;
        let (met, meets) = mpsc::channel();
        let caller = std::thread::Builder::new().name("replication-call".into());
        caller.spawn(move || call(&section, &key, epoch, &shared, &met))?;
        let want = Want::new(
            self.section.bound(),
            self.section.alone_after_ms.map(Duration::from_millis),
        );
        if gates.is_some() {
            let mut s = self
                .shared
                .lock()
                .expect("nobody panics with the lock held");
            s.waits_for = self.section.wait.name();
        }
        let mut thread = Thread {
            on_disk: ends.on_disk.get(),
            released: None,
            ends,
            gates,
            want,
            peers: Vec::new(),
            last: VecDeque::new(),
            held: VecDeque::new(),
            recorded: None,
            beat: Instant::now(),
            meets,
            refuses: false,
            primary: self,
        };
        let name = std::thread::Builder::new().name("replication".into());
        Ok(name.spawn(move || {
            super::go_first();
            if let Err(e) = thread.run() {
                log::event("replication_stopped", &[("reason", &format!("{e:#}"))]);
                eprintln!("hostd: replication: {e:#}");
                // Nothing is released any more, and the journal is as good as after a crash.
                std::process::exit(1);
            }
        })?)
    }
}

/// Hands on sealed batches in order, as far as their records are released; `held` keeps the others.
///
/// # Errors
/// When the seal tile is gone.
pub fn hand_on(
    held: &mut VecDeque<SealedFile>,
    sealed: &mpsc::Receiver<SealedFile>,
    to_seal: &mpsc::Sender<SealedFile>,
    released: u64,
) -> anyhow::Result<()> {
    held.extend(sealed.try_iter());
    while let Some(sealed) = held.pop_front_if(|s| s.last_seq() <= released) {
        to_seal.send(sealed).context("the seal tile has stopped")?;
    }
    Ok(())
}

/// Calls at boxes that are not connected, so that one that led before hears of this lead.
fn call(
    section: &ReplicationSection,
    key: &[u8; 32],
    epoch: u64,
    shared: &Shared,
    met: &mpsc::Sender<(u64, State)>,
) {
    let ask = Ask {
        name: section.name.clone(),
        leads: true,
    };
    loop {
        for peer in &section.peers {
            let status = super::status::show(shared);
            if (status.standbys.iter()).any(|s| s.name == peer.name && s.state != "lost") {
                continue;
            }
            if let Ok(answer) = ask_one(peer, key, epoch, &ask)
                && met.send(answer).is_err()
            {
                return;
            }
        }
        std::thread::sleep(CALL);
    }
}

struct Thread {
    primary: Primary,
    ends: TeeEnds,
    gates: Option<Gates>,
    want: Want,
    peers: Vec<Peer>,
    /// The last writes.
    last: VecDeque<Written>,
    /// Sealed batches that wait for their last record.
    held: VecDeque<SealedFile>,
    on_disk: u64,
    /// As was released last.
    released: Option<u64>,
    /// The in-sync set as it is recorded, where one is.
    recorded: Option<BTreeSet<String>>,
    beat: Instant,
    meets: mpsc::Receiver<(u64, State)>,
    refuses: bool,
}

impl Thread {
    fn run(&mut self) -> anyhow::Result<()> {
        let mut turned = Instant::now();
        loop {
            // Who was stopped for so long may have been led past meanwhile: what lies in its sockets is from before,
            // and standbys that still follow it come back.
            if turned.elapsed() > PAUSED {
                log::event("was_paused", &[("ms", &turned.elapsed().as_millis())]);
                self.peers.clear();
            }
            turned = Instant::now();
            if let Err(why) = self.primary.leadership.check() {
                bail!("the lead of epoch {} is lost: {why}", self.epoch());
            }
            self.primary.parker.announce();
            let is_over = self.ends.written.is_abandoned();
            self.take_writes();
            self.on_disk = self.ends.on_disk.get();
            self.accept()?;
            self.hear()?;
            self.send();
            self.release()?;
            if is_over {
                // Batches that are not released are written by the next start, or not at all.
                return Ok(());
            }
            self.sleep()?;
            self.primary.parker.resume();
        }
    }

    fn epoch(&self) -> u64 {
        self.primary.term.epoch
    }

    fn take_writes(&mut self) {
        while let Some(written) = self.ends.written.pop() {
            if self.last.len() == KEPT
                && let Some(old) = self.last.pop_front()
            {
                // There is a place for each buffer.
                let _ = self.ends.spares.push(old.bytes);
            }
            self.last.push_back(written);
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        loop {
            match self.primary.listener.accept() {
                Ok((stream, _)) if self.peers.len() < PEERS_MAX => {
                    if let Ok(peer) = Peer::new(stream, Instant::now()) {
                        self.peers.push(peer);
                    }
                }
                Ok(_) => self.count("too_many"),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("accept"),
            }
        }
    }

    fn count(&self, code: &str) {
        let shared = &self.primary.shared;
        let mut s = shared.lock().expect("nobody panics with the lock held");
        *s.refused.entry(code.to_owned()).or_default() += 1;
    }

    /// Takes what peers say.
    fn hear(&mut self) -> anyhow::Result<()> {
        while let Ok((epoch, state)) = self.meets.try_recv() {
            self.meet(epoch, &state.name, &state.leader)?;
        }
        let now = Instant::now();
        let mut peers = std::mem::take(&mut self.peers);
        let mut taken = Vec::new();
        let mut kept = Vec::with_capacity(peers.len());
        for mut peer in peers.drain(..) {
            match self.hear_one(&mut peer, now)? {
                Ok(()) => {
                    let is_late = peer.standby.is_none() && peer.since.elapsed() > STRANGER;
                    if !is_late {
                        taken.extend(peer.standby.as_ref().map(|s| s.name.clone()));
                        kept.push(peer);
                    }
                }
                Err(why) => self.lose(&peer, &why),
            }
        }
        // Of two connections of one standby the later counts.
        let mut seen = BTreeSet::new();
        kept.reverse();
        kept.retain(|p| {
            p.standby
                .as_ref()
                .is_none_or(|s| seen.insert(s.name.clone()))
        });
        kept.reverse();
        self.peers = kept;
        Ok(())
    }

    fn lose(&self, peer: &Peer, why: &anyhow::Error) {
        if let Some(s) = &peer.standby {
            let reason = format!("{why:#}");
            log::event("standby_lost", &[("name", &s.name), ("reason", &reason)]);
        }
    }

    /// The outer error ends the lead, the inner one the connection.
    fn hear_one(&mut self, peer: &mut Peer, now: Instant) -> anyhow::Result<anyhow::Result<()>> {
        let closed = peer.receive();
        loop {
            match peer.next(&self.primary.key) {
                Ok(Some(came)) => {
                    if came.epoch > self.epoch() {
                        let said: serde_json::Value =
                            serde_json::from_slice(&came.payload).unwrap_or_default();
                        let name = said["name"].as_str().unwrap_or("another box");
                        let leads = said["leads"].as_bool() == Some(true);
                        self.meet(came.epoch, name, if leads { name } else { "another box" })?;
                    }
                    if let Err(e) = self.on_frame(peer, &came, now) {
                        return Ok(Err(e));
                    }
                }
                Ok(None) => return Ok(closed),
                Err(e) => {
                    self.count("bad_frame");
                    return Ok(Err(e));
                }
            }
        }
    }

    /// Another box has met an epoch: if it is above ours, we do not lead any more.
    fn meet(&mut self, epoch: u64, name: &str, leader: &str) -> anyhow::Result<()> {
        let own = self.epoch();
        if epoch <= own {
            return Ok(());
        }
        // The promise outlives this process: it will not lead in an old epoch again.
        self.primary.term.epoch = epoch;
        leader.clone_into(&mut self.primary.term.leader);
        self.primary.term.save(&self.primary.data)?;
        bail!(
            "fenced: {name} has met epoch {epoch}, led by {leader}, and this box led epoch {own}"
        );
    }

    fn on_frame(&mut self, peer: &mut Peer, came: &Came, now: Instant) -> anyhow::Result<()> {
        match came.kind {
            Kind::Ack => peer.acknowledged(&came.payload, now),
            Kind::Ask => {
                let state = State {
                    name: self.primary.section.name.clone(),
                    role: "primary".into(),
                    leader: self.primary.section.name.clone(),
                    next_seq: self.on_disk + 1,
                    tail_epoch: self.epoch(),
                };
                peer.say_json(Kind::State, self.epoch(), &state)
            }
            Kind::Hello => self.on_hello(peer, came),
            other => bail!("it sent {other:?}"),
        }
    }

    fn refuse(&self, peer: &mut Peer, code: &str, reason: String) -> anyhow::Result<()> {
        self.count(code);
        log::event("standby_refused", &[("code", &code), ("reason", &reason)]);
        let refusal = Refusal {
            code: code.into(),
            reason,
            history: self.primary.term.history.clone(),
        };
        peer.is_over = true;
        peer.say_json(Kind::Refusal, self.epoch(), &refusal)
    }

    fn on_hello(&mut self, peer: &mut Peer, came: &Came) -> anyhow::Result<()> {
        let hello: Hello = serde_json::from_slice(&came.payload).context("hello")?;
        let name = &hello.name;
        if (self.primary.section.peers.iter()).all(|p| p.name != *name) {
            return self.refuse(
                peer,
                "unknown_box",
                format!("{name} is not among the peers"),
            );
        }
        let chain = link::unhex(&hello.chain).context("chain")?;
        let seq = hello.next_seq.checked_sub(1).context("next_seq")?;
        let mark = Mark { seq, chain };
        let pieces = Pieces::after(&self.primary.journal, &mark, hello.segment);
        match pieces.context("the journal cannot be read for a standby")? {
            Some(pieces) if seq <= self.on_disk => {
                let at = (hello.segment.max(1), hello.offset);
                log::event(
                    "standby_joins",
                    &[("name", name), ("next_seq", &hello.next_seq)],
                );
                let welcome = Welcome {
                    name: self.primary.section.name.clone(),
                    history: self.primary.term.history.clone(),
                };
                peer.standby = Some(Standby::new(name.clone(), at, pieces, hello.next_seq));
                peer.say_json(Kind::Welcome, self.epoch(), &welcome)
            }
            // It was quicker than our own disk, and lost the line meanwhile.
            _ if seq > self.on_disk
                && fork(&self.primary.term.history, hello.tail_epoch).is_none() =>
            {
                let reason = format!("{name} holds record {seq}, which our disk does not yet");
                self.refuse(peer, "ahead", reason)
            }
            _ => {
                let last = self.on_disk;
                let reason = format!(
                    "{name} ends with record {seq} of another history than ours, which ends with {last}"
                );
                self.refuse(peer, "diverged", reason)
            }
        }
    }

    /// Sends what standbys lack.
    fn send(&mut self) {
        let now = Instant::now();
        let is_beat = now - self.beat >= BEAT;
        if is_beat {
            self.beat = now;
        }
        let (epoch, on_disk) = (self.epoch(), self.on_disk);
        let released = self.released.unwrap_or(0);
        let (dir, last) = (&self.primary.journal, &self.last);
        let mut lost = Vec::new();
        for (i, peer) in self.peers.iter_mut().enumerate() {
            if is_beat && peer.standby.is_some() {
                let (a, b) = (on_disk.to_le_bytes(), released.to_le_bytes());
                peer.say(Kind::Beat, epoch, &[&a, &b]);
            }
            let sent = (peer.fill(dir, epoch, last, on_disk, now)).and_then(|()| peer.send());
            if let Err(why) = sent {
                lost.push((i, why));
            }
        }
        for (i, why) in lost.into_iter().rev() {
            let peer = self.peers.remove(i);
            self.lose(&peer, &why);
        }
    }

    fn acked(&self) -> BTreeMap<String, u64> {
        let standbys = self.peers.iter().filter_map(|p| p.standby.as_ref());
        standbys.map(|s| (s.name.clone(), s.acked)).collect()
    }

    /// Says up to where the box may tell.
    fn release(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let acked = self.acked();
        let bound = self.primary.section.bound();
        // Near is who was sent everything and does not lack it for longer than the bound; in sync, who also has all
        // that was told.
        let on_disk = self.on_disk;
        let standbys = self.peers.iter().filter_map(|p| p.standby.as_ref());
        let near: Vec<&Standby> = standbys
            .filter(|s| {
                let is_slow = s.behind_since.is_some_and(|since| now - since > bound);
                !is_slow && s.is_sent(on_disk)
            })
            .collect();
        let is_enough = near.len() >= self.primary.section.quorum;
        let told = self.released.unwrap_or(0);
        let live = near.iter().filter(|s| s.acked >= told);
        let live: BTreeSet<String> = live.map(|s| s.name.clone()).collect();
        let lack = self.want.note(is_enough || self.primary.term.alone, now);
        self.set_alone(is_enough, lack)?;
        let alone = self.primary.term.alone;
        self.recorded = self.primary.leadership.record(&live);
        let recorded = self.recorded.as_ref();
        let rule = Rule {
            quorum: if alone {
                0
            } else {
                self.primary.section.quorum
            },
            wait: self.primary.section.wait,
        };
        let released = match (alone, recorded) {
            (false, recorded) => rule.released(self.on_disk, &acked, recorded),
            // Who may be promoted has all that is released, also now.
            (true, Some(set)) if !set.is_empty() => rule.released(self.on_disk, &acked, Some(set)),
            (true, _) => Some(self.on_disk),
        };
        if let Some(to) = released
            && self.released.is_none_or(|r| to > r)
        {
            self.released = Some(to);
            if let Some(gates) = &mut self.gates {
                gates.released.raise(to);
                gates.hot.wake();
            }
        }
        self.set_refusal(lack == Lack::RefuseRisk);
        self.seal()?;
        self.show(&live, now);
        Ok(())
    }

    /// Alone is only who was let, by the operator or by the configuration, and only until there is a quorum.
    fn set_alone(&mut self, is_enough: bool, lack: Lack) -> anyhow::Result<()> {
        let alone = match lack {
            _ if is_enough => false,
            Lack::Alone => true,
            _ => self.primary.term.alone,
        };
        if alone != self.primary.term.alone {
            self.primary.term.alone = alone;
            self.primary.term.save(&self.primary.data)?;
            log::event(
                if alone {
                    "goes_on_alone"
                } else {
                    "quorum_back"
                },
                &[("epoch", &self.epoch())],
            );
        }
        Ok(())
    }

    fn set_refusal(&mut self, refuses: bool) {
        if refuses == self.refuses {
            return;
        }
        self.refuses = refuses;
        log::event(
            if refuses {
                "quorum_lost"
            } else {
                "quorum_back"
            },
            &[("released_seq", &self.released.unwrap_or(0))],
        );
        if let Some(gates) = &mut self.gates {
            gates.lack.set(0, refuses.into());
        }
    }

    /// Hands on the batches that a failover cannot take back.
    fn seal(&mut self) -> anyhow::Result<()> {
        let Some(gates) = &self.gates else {
            return Ok(());
        };
        let released = self.released.unwrap_or(0);
        hand_on(&mut self.held, &gates.sealed, &gates.to_seal, released)
    }

    fn show(&self, live: &BTreeSet<String>, now: Instant) {
        let section = &self.primary.section;
        let standbys = section.peers.iter().map(|p| {
            let of = |peer: &Peer| {
                let s = peer.standby.as_ref().filter(|s| s.name == p.name)?;
                Some(StandbyStatus {
                    name: p.name.clone(),
                    state: if live.contains(&p.name) {
                        "in_sync"
                    } else {
                        "catching_up"
                    },
                    durable_seq: s.acked,
                    lag_records: self.on_disk.saturating_sub(s.acked),
                    lag_ms: s.behind_since.map_or(0, |b| (now - b).as_millis() as u64),
                })
            };
            self.peers.iter().find_map(of).unwrap_or(StandbyStatus {
                name: p.name.clone(),
                state: "lost",
                ..StandbyStatus::default()
            })
        });
        let standbys = standbys.collect();
        let in_sync = self.recorded.as_ref().unwrap_or(live);
        let shared = &self.primary.shared;
        let mut s = shared.lock().expect("nobody panics with the lock held");
        s.standbys = standbys;
        s.in_sync = in_sync.iter().cloned().collect();
        s.alone = self.primary.term.alone;
        s.refuses_risk = self.refuses;
        s.disk_seq = self.on_disk;
        s.released_seq = self.released.unwrap_or(0);
        s.applied_seq = self.on_disk;
    }

    fn sleep(&self) -> anyhow::Result<()> {
        if !self.ends.written.is_empty() || self.ends.on_disk.get() > self.on_disk {
            return Ok(());
        }
        let mut fds = Vec::with_capacity(2 + self.peers.len());
        fds.push(PollFd::new(&self.primary.parker, PollFlags::IN));
        fds.push(PollFd::new(&self.primary.listener, PollFlags::IN));
        for peer in &self.peers {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, peer.has_output());
            fds.push(PollFd::new(&peer.stream, flags));
        }
        let turn = Timespec {
            tv_sec: 0,
            tv_nsec: TURN.as_nanos() as i64,
        };
        match poll(&mut fds, Some(&turn)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e).context("poll"),
        }
    }
}
