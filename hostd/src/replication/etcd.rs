//! Who leads, decided by etcd: a key with a lease says who, the revision that made it is the epoch, and the in-sync set
//! beside it changes by compare-and-set only while the lead holds.
//!
//! ```text
//! PREFIX/leader    name of the primary; made only where it is not; gone when its lease is
//! PREFIX/in_sync   names of the boxes that hold all that was released, as JSON; only these may lead next
//! ```
//!
//! It speaks etcd's JSON gateway (`/v3/...`, etcd 3.4 or later). Nothing of it is on the way of a report: a thread of
//! its own renews the lease, and the replication thread reads what that thread has found.

use super::config::{EtcdSection, ReplicationSection, Wait};
use crate::machine::log;
use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Longest wait for one of its members.
const ANSWER: Duration = Duration::from_millis(500);
/// Between two looks of a standby.
const LOOK: Duration = Duration::from_millis(200);
/// Longest answer that is read.
const ANSWER_MAX: u64 = 1 << 20;

/// Time since the machine started, sleep included: a lease runs on while the machine sleeps.
fn boot_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs() as u32)
}

/// Its members, called one after the other.
#[derive(Clone)]
struct Client {
    endpoints: Vec<SocketAddr>,
    prefix: String,
}

impl Client {
    fn new(section: &EtcdSection) -> Self {
        Self {
            endpoints: section.endpoints.clone(),
            prefix: section.prefix.trim_end_matches('/').to_owned(),
        }
    }

    fn key(&self, name: &str) -> String {
        BASE64.encode(format!("{}/{name}", self.prefix))
    }

    fn call(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut why = anyhow::anyhow!("no endpoint");
        for endpoint in &self.endpoints {
            match post(*endpoint, path, body) {
                Ok(answer) => return Ok(answer),
                Err(e) => why = e.context(format!("etcd {endpoint}")),
            }
        }
        Err(why)
    }

    /// Value, creating and last revision of a key.
    fn get(&self, name: &str) -> anyhow::Result<Option<(Vec<u8>, u64, u64)>> {
        let answer = self.call("/v3/kv/range", &json!({ "key": self.key(name) }))?;
        let Some(kv) = answer["kvs"].get(0) else {
            return Ok(None);
        };
        let value = BASE64
            .decode(kv["value"].as_str().unwrap_or(""))
            .context("etcd: a value")?;
        Ok(Some((
            value,
            number(&kv["create_revision"]),
            number(&kv["mod_revision"]),
        )))
    }

    fn leader(&self) -> anyhow::Result<Option<(String, u64)>> {
        let found = self.get("leader")?;
        Ok(found.map(|(name, created, _)| (String::from_utf8_lossy(&name).into_owned(), created)))
    }

    /// The in-sync set and its last revision; zero if it was never recorded.
    fn in_sync(&self) -> anyhow::Result<(Option<BTreeSet<String>>, u64)> {
        match self.get("in_sync")? {
            None => Ok((None, 0)),
            Some((value, _, modified)) => Ok((Some(serde_json::from_slice(&value)?), modified)),
        }
    }
}

/// Its JSON has 64-bit numbers as text.
fn number(value: &Value) -> u64 {
    let text = value.as_str().and_then(|s| s.parse().ok());
    text.or_else(|| value.as_u64()).unwrap_or(0)
}

fn post(to: SocketAddr, path: &str, body: &Value) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&to, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let body = body.to_string();
    // HTTP/1.0: the answer ends with the connection, and comes in one piece.
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
    let answer: Value = serde_json::from_str(body).context("its answer is no JSON")?;
    let code = head.split(' ').nth(1).unwrap_or("");
    ensure!(
        code == "200",
        "{code}: {}",
        answer["error"].as_str().unwrap_or("no reason given")
    );
    Ok(answer)
}

/// What the thread and the box share.
struct Held {
    /// Why the lead is lost.
    lost: Option<String>,
    /// The last grant or renewal was asked for then, on the machine's clock.
    renewed: Duration,
    /// The set that is recorded.
    recorded: BTreeSet<String>,
    /// The set that shall be.
    wanted: BTreeSet<String>,
    /// Who is in a set that was sent and may be recorded by now, or be so still.
    pending: BTreeSet<String>,
}

/// A lead that this box holds. Dropping it gives it back.
pub(crate) struct Lead {
    held: Arc<Mutex<Held>>,
    /// The thread ends when this is gone.
    _stop: mpsc::Sender<()>,
    lease: Duration,
    /// This box, if all that is released is on its own disk.
    own: Option<String>,
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().expect("nobody panics with the lock held")
}

impl Lead {
    /// Takes the lead if nobody has it and this box holds all that was released; with it the epoch.
    ///
    /// # Errors
    /// When that does not hold, or etcd does not answer, or counts epochs lower than `met`. With `force` it does not
    /// matter what this box holds.
    pub(crate) fn acquire(
        replication: &ReplicationSection,
        section: &EtcdSection,
        met: u64,
        force: bool,
    ) -> anyhow::Result<(Self, u64)> {
        let name = replication.name.as_str();
        let client = Client::new(section);
        let renewed = boot_time();
        let lease = client.call(
            "/v3/lease/grant",
            &json!({ "TTL": section.lease_s, "ID": 0 }),
        )?;
        let lease = number(&lease["ID"]);
        let key = client.key("leader");
        let answer = client.call(
            "/v3/kv/txn",
            &json!({
                "compare": [{ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" }],
                "success": [{ "requestPut": {
                    "key": key, "value": BASE64.encode(name), "lease": lease.to_string(),
                } }],
            }),
        )?;
        if answer["succeeded"].as_bool() != Some(true) {
            let leader = client.leader()?;
            bail!(
                "{} leads",
                leader.map_or("another box".into(), |(n, e)| format!("{n} (epoch {e})"))
            );
        }
        let epoch = number(&answer["header"]["revision"]);
        let give_back = || client.call("/v3/lease/revoke", &json!({ "ID": lease.to_string() }));
        if epoch <= met {
            let _ = give_back();
            bail!(
                "etcd is at revision {epoch}, and this box has met epoch {met}: it is another etcd"
            );
        }
        let (recorded, revision) = client.in_sync()?;
        if let Some(set) = &recorded
            && !set.contains(name)
            && !force
        {
            let _ = give_back();
            let names: Vec<&str> = set.iter().map(String::as_str).collect();
            bail!(
                "{name} is not in sync; that are {}: start one of these, or this one with `hostd standby`",
                names.join(", ")
            );
        }
        let recorded = recorded.unwrap_or_default();
        let held = Arc::new(Mutex::new(Held {
            lost: None,
            renewed,
            wanted: recorded.clone(),
            pending: BTreeSet::new(),
            recorded,
        }));
        let (stop, stopped) = mpsc::channel();
        let keeper = Keeper {
            client,
            lease,
            epoch,
            revision,
            held: Arc::clone(&held),
            stopped,
            pause: Duration::from_secs(section.lease_s) / 6,
        };
        let thread = std::thread::Builder::new().name("etcd".into());
        thread.spawn(move || keeper.run())?;
        let lead = Self {
            held,
            _stop: stop,
            lease: Duration::from_secs(section.lease_s),
            own: (replication.wait == Wait::Both).then(|| name.to_owned()),
        };
        Ok((lead, epoch))
    }
}

impl super::leadership::Leadership for Lead {
    fn check(&mut self) -> Result<(), String> {
        let held = lock(&self.held);
        if let Some(why) = &held.lost {
            return Err(why.clone());
        }
        // Before the others may think so: a quarter of the lease is for clocks and for a thread that waits its turn.
        let age = boot_time() - held.renewed;
        if age > self.lease * 3 / 4 {
            return Err(format!(
                "its lease was not renewed for {} ms",
                age.as_millis()
            ));
        }
        Ok(())
    }

    fn record(&mut self, wanted: &BTreeSet<String>) -> Option<BTreeSet<String>> {
        let mut held = lock(&self.held);
        held.wanted.clone_from(wanted);
        held.wanted.extend(self.own.clone());
        let sets = [&held.recorded, &held.wanted, &held.pending];
        let mut all: BTreeSet<String> = sets.into_iter().flatten().cloned().collect();
        // It has what it released.
        if let Some(own) = &self.own {
            all.remove(own);
        }
        Some(all)
    }

    fn name(&self) -> &'static str {
        "etcd"
    }
}

struct Keeper {
    client: Client,
    lease: u64,
    epoch: u64,
    /// Last revision of the in-sync set.
    revision: u64,
    held: Arc<Mutex<Held>>,
    stopped: mpsc::Receiver<()>,
    pause: Duration,
}

impl Keeper {
    fn run(mut self) {
        let turn = Duration::from_millis(10);
        let mut since = self.pause;
        while self.stopped.recv_timeout(turn) == Err(RecvTimeoutError::Timeout) {
            since += turn;
            if since >= self.pause {
                since = Duration::ZERO;
                self.renew();
            }
            let wanted = {
                let mut held = lock(&self.held);
                let wanted = held.wanted.clone();
                let is_due = wanted != held.recorded || self.revision == 0;
                if is_due {
                    held.pending.extend(wanted.iter().cloned());
                }
                is_due.then_some(wanted)
            };
            if let Some(wanted) = wanted
                && let Err(e) = self.record(&wanted)
            {
                log::event("etcd_in_sync", &[("reason", &format!("{e:#}"))]);
                std::thread::sleep(self.pause / 2);
                since += self.pause / 2;
            }
        }
        let _ = (self.client).call("/v3/lease/revoke", &json!({ "ID": self.lease.to_string() }));
    }

    fn renew(&self) {
        let asked = boot_time();
        let id = self.lease.to_string();
        match self
            .client
            .call("/v3/lease/keepalive", &json!({ "ID": id }))
        {
            Ok(answer) if number(&answer["result"]["TTL"]) > 0 => lock(&self.held).renewed = asked,
            Ok(_) => {
                let why = "etcd has let the lease expire".to_owned();
                lock(&self.held).lost = Some(why);
            }
            // The lease's own time decides.
            Err(e) => log::event("etcd_silent", &[("reason", &format!("{e:#}"))]),
        }
    }

    /// Records the set, if nobody else did and the lead holds.
    fn record(&mut self, wanted: &BTreeSet<String>) -> anyhow::Result<()> {
        let (leader, in_sync) = (self.client.key("leader"), self.client.key("in_sync"));
        let value = BASE64.encode(serde_json::to_vec(wanted)?);
        let answer = self.client.call(
            "/v3/kv/txn",
            &json!({
                "compare": [
                    { "key": leader, "target": "CREATE", "result": "EQUAL", "create_revision": self.epoch.to_string() },
                    { "key": in_sync, "target": "MOD", "result": "EQUAL", "mod_revision": self.revision.to_string() },
                ],
                "success": [{ "requestPut": { "key": in_sync, "value": value } }],
            }),
        )?;
        if answer["succeeded"].as_bool() == Some(true) {
            self.revision = number(&answer["header"]["revision"]);
            let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
            log::event(
                "in_sync",
                &[("names", &names.join(" ")), ("epoch", &self.epoch)],
            );
            let mut held = lock(&self.held);
            held.recorded.clone_from(wanted);
            // What was sent before can no more succeed.
            held.pending.clear();
            return Ok(());
        }
        // An answer that was lost may have been a yes.
        let (recorded, revision) = self.client.in_sync()?;
        if self.client.leader()?.map(|l| l.1) != Some(self.epoch) {
            lock(&self.held).lost = Some("etcd names another leader, or none".to_owned());
            return Ok(());
        }
        self.revision = revision;
        lock(&self.held).recorded = recorded.unwrap_or_default();
        Ok(())
    }
}

#[derive(Default)]
struct Seen {
    /// Etcd answered last time.
    is_fresh: bool,
    leader: Option<(String, u64)>,
    is_in_sync: bool,
}

/// A standby's look at who leads.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    /// The thread ends when this is gone.
    _stop: mpsc::Sender<()>,
}

impl Watch {
    /// Looks from now on.
    pub(crate) fn start(section: &EtcdSection, name: &str) -> Self {
        let (client, name) = (Client::new(section), name.to_owned());
        let (stop, stopped) = mpsc::channel::<()>();
        let watch = Self {
            seen: Arc::default(),
            _stop: stop,
        };
        let seen = Arc::clone(&watch.seen);
        let thread = std::thread::Builder::new().name("etcd-watch".into());
        let look = move || {
            // In this order: a set that is read before a leader is gone may be an old one.
            let leader = client.leader()?;
            let (set, _) = client.in_sync()?;
            anyhow::Ok(Seen {
                is_fresh: true,
                leader,
                is_in_sync: set.is_some_and(|s| s.contains(&name)),
            })
        };
        let started = thread.spawn(move || {
            let mut is_first = true;
            while is_first || stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                is_first = false;
                let found = look().unwrap_or_default();
                *seen.lock().expect("nobody panics with the lock held") = found;
            }
        });
        if let Err(e) = started {
            log::event("etcd_watch", &[("reason", &e)]);
        }
        watch
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics with the lock held")
    }

    /// Who leads, and in which epoch, if etcd answers and somebody does.
    pub(crate) fn leader(&self) -> Option<(String, u64)> {
        self.seen().leader.clone()
    }

    /// Nobody leads, and this box is among those that may.
    pub(crate) fn may_lead(&self) -> bool {
        let seen = self.seen();
        seen.is_fresh && seen.leader.is_none() && seen.is_in_sync
    }
}
