//! Puts the machine of [`topology`](crate::tiles::topology) together, starts its tiles, and takes it apart again.

use crate::config::{Config, Durability};
use crate::feed::{Desk as FeedDesk, FeedCounters, FeedDay, FeedPacket, FeedTile, SealedNote};
use crate::machine::clock::{Clock, RealClock};
use crate::machine::doctor::{self, Depth, Subject};
use crate::machine::notify::Notifier;
use crate::machine::{log, memory, sandbox};
use crate::nic::{AnyNic, UringNic};
use crate::ops::audit::{AuditLog, Entry, Outcome};
use crate::ops::operator::{KeyBody, Roll};
use crate::ops::server::Server;
use crate::ops::status::Stages;
use crate::replication::Tee;
use crate::replication::etcd::Lead;
use crate::replication::primary::{Gates, Primary};
use crate::storage::disk::{self, UringDisk};
use crate::storage::recover::{Restored, missing, publish_held, restore};
use crate::storage::snapshot::{self, Keeper};
use crate::tiles::control::{ControlTile, Desk, Ended};
use crate::tiles::core::Core;
use crate::tiles::egress::FeedEgress;
use crate::tiles::engine::EngineStage;
use crate::tiles::gateway::{Flows, GatewayStage};
use crate::tiles::hot::{HotLanes, HotTile};
use crate::tiles::journal_tile::{JournalStage, JournalStats, JournalTile, SealTile, Taken};
use crate::tiles::logins::LoginDesk;
use crate::tiles::meters::{LaneMeter, Machine, TileMeter, TileReader};
use crate::tiles::oracle_desk::OracleDesk;
use crate::tiles::pinned::{EngineTile, GatewayTile};
use crate::tiles::spool::SpoolTile;
use crate::tiles::tile::{self, Pace};
use crate::tiles::topology::{Planned, Stage, TopologyName, depth, plan};
use crate::tiles::wiring::{HIGH_WATER, HotWiring, JournalEnds, SpoolEnds, Wiring};
use anyhow::{Context, bail};
use firmware::tag::{Suite, SuiteSet};
use firmware::units::TimeNs;
use handshake::{PublicKey, SecretKey, VenueLogin};
use journal::{GroupCommit, JournalDir};
use lane::{Consumer, Gauges, Parker, Producer, Watermark, WatermarkReader};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

type Tile = JoinHandle<anyhow::Result<()>>;

/// Boots the box and runs it until it is told to stop.
///
/// # Errors
/// Whatever stops it, in one line.
pub fn run(config: &Config) -> anyhow::Result<()> {
    sandbox::enter(config);
    doctor::examine(&Subject::of(config), Depth::Quick).log();
    let key = SecretKey::load(&config.venue.key_file).context("venue.key_file")?;
    drop(key);
    let data = config.data();
    let batches = data.batches();
    std::fs::create_dir_all(&batches)
        .with_context(|| format!("cannot make {}", batches.display()))?;
    let dir = JournalDir::open(data.journal()).context("journal")?;
    let restored = restore(config)?;
    run_restored(config, dir, restored, None)
}

/// Runs the box on from a state that is at the end of its journal. `lead`: it was taken before.
///
/// # Errors
/// Whatever stops it, in one line.
pub(crate) fn run_restored(
    config: &Config,
    dir: JournalDir,
    restored: Restored,
    lead: Option<(Lead, u64)>,
) -> anyhow::Result<()> {
    let key = SecretKey::load(&config.venue.key_file).context("venue.key_file")?;
    let data = config.data();
    let batches = data.batches();
    let Restored {
        core,
        end,
        spool: spool_files,
        day,
    } = restored;
    let listing = missing(config, &core)?;
    // One clock for all tiles, so that their times can be compared.
    let clock = RealClock::starting_after(TimeNs(end.last_time_ns));
    let mut plan = Plan::new(config, clock.clone())?;

    let durability = match config.journal.durability {
        Durability::Fsync | Durability::Replicated => disk::Durability::Fsync,
        Durability::Relaxed => disk::Durability::Relaxed,
    };
    let archive = &config.journal.archive_dir;
    link_archive(&dir, archive.as_deref()).context("journal.archive_dir")?;
    let mut disk = UringDisk::open(dir, durability, None).context("journal")?;
    if config.topology.name == TopologyName::Shared {
        disk.write_in_place();
    }
    if let Some(keep) = config.journal.keep_segments {
        disk.archive_closed(disk::Retention {
            keep,
            needed_from: needed_from(config),
        });
    }
    let primary = match &config.replication {
        None => None,
        Some(section) => {
            let (data, journal) = (data.path().to_owned(), data.journal());
            let begun = Primary::begin(section, data, journal, &end, lead);
            Some(begun.context("replication")?)
        }
    };
    let journal_config = journal::Config {
        segment_bytes: config.journal.segment_mib << 20,
        epoch: primary.as_ref().map_or(end.epoch, Primary::epoch),
        ..Default::default()
    };
    let (disk, tee) = match &primary {
        None => (Tee::alone(disk), None),
        Some(primary) => {
            let (disk, ends) = Tee::new(disk, &end, primary.waker());
            (disk, Some(ends))
        }
    };
    let commit = GroupCommit::resume(journal_config, &end, disk).context("journal")?;
    let Wiring {
        mut gateway,
        mut engine,
        spool_link,
        packets: (packets_in, packets_meter),
        hot,
        journal,
        spool,
        feed: packets,
        control,
        lanes,
    } = Wiring::new(config.topology.name, commit.durable_seq())?;
    plan.machine.lanes = lanes;

    let stats = Arc::new(Mutex::new(JournalStats::new()));
    let (to_seal, sealed) = mpsc::channel();
    let (notes, written) = mpsc::channel();
    let JournalEnds {
        lane,
        hot: hot_waker,
        durable,
        space,
        spares,
    } = journal;
    let mut told = durable.reader();
    let (mut to_seal, mut replication) = (to_seal, None);
    if let (Some(primary), Some(ends)) = (primary, tee) {
        plan.machine.replication = Some(primary.shared());
        let mut gates = None;
        if config.journal.durability == Durability::Replicated {
            let (released, lack) = (Watermark::new(0), Gauges::new());
            let (on_disk, sealed) = mpsc::channel();
            told = released.reader();
            gateway.durable = released.reader();
            engine.lack = Some(lack.reader());
            gates = Some(Gates {
                released,
                hot: spool.hot.clone(),
                lack,
                sealed,
                to_seal: std::mem::replace(&mut to_seal, on_disk),
            });
        }
        replication = Some(primary.start(ends, gates).context("replication")?);
        wait_for_quorum(&told, end.next_seq - 1);
    }
    publish_held(&batches)?;
    let keeper = Keeper {
        section: config.snapshot,
        data,
        durable: told,
    };
    let _keeper = keeper.start()?;
    let journal = JournalStage {
        taken: Taken::nothing(),
        commit,
        lane,
        seal: to_seal,
        hot: hot_waker,
        durable,
        space,
        stats: Arc::clone(&stats),
    };
    let tile = SealTile {
        lane: sealed,
        spares,
        notes,
        batches,
    };
    let seal = plan.start(Stage::Seal, |pace| tile.run(pace))?;
    let SpoolEnds {
        lane,
        answers,
        parker,
        hot: hot_waker,
    } = spool;
    let tile = SpoolTile {
        files: spool_files,
        lane,
        answers,
        parker,
        hot: hot_waker,
    };
    let spool = plan.start(Stage::Spool, |pace| tile.run(pace))?;

    let oracle = OracleDesk::of(config, &core, &listing);
    let roll = Roll::of(config, &core, &listing);
    let shown = Arc::new(Mutex::new(FeedCounters::default()));
    assert_eq!(
        day.next(),
        core.next_feed,
        "the feed's day ends where the core does"
    );
    let feed = start_feed(config, &mut plan, day, packets, written, Arc::clone(&shown))?;
    let egress = feed_egress(config, &core, packets_in, packets_meter);
    let interval_ns = config.domain.batch_interval_ms * 1_000_000;
    let (hot, journal) = match hot {
        HotWiring::Shared(parker) => {
            let lanes = HotLanes {
                gateway,
                engine,
                high_water: HIGH_WATER,
                parker,
            };
            let clock = clock.clone();
            let tile = plan.start_with_nic(config, move |nic| {
                let mut tile = HotTile::new(
                    nic,
                    clock,
                    core,
                    lanes,
                    Some(journal),
                    spool_link,
                    egress,
                    interval_ns,
                );
                tile.open_day(&listing);
                tile
            })?;
            (vec![tile], None)
        }
        HotWiring::Pinned {
            journal: journal_parker,
            gateway: gateway_parker,
            engine: engine_parker,
            tell,
            told,
        } => {
            let tile = JournalTile {
                stage: journal,
                parker: journal_parker,
            };
            let journal = plan.start(Stage::Journal, |pace| tile.run(pace))?;
            let (flows, now) = (Flows::after(&core), clock.clone().now());
            let engine_waker = engine_parker.waker();
            let gateway_clock = clock.clone();
            let gateway = plan.start_with_nic(config, move |nic| {
                let stage = GatewayStage::new(nic, now, flows, gateway, spool_link, egress);
                GatewayTile::new(stage, told, engine_waker, gateway_clock, gateway_parker)
            })?;
            let stage = EngineStage::new(core, engine, HIGH_WATER, interval_ns, now);
            let mut tile = EngineTile::new(stage, tell, clock.clone(), engine_parker);
            tile.open_day(&listing);
            let engine = plan.start_tile(Stage::Engine, tile)?;
            (vec![gateway, engine], Some(journal))
        }
    };

    let (planned, meter) = plan.take(Stage::Control);
    let pace = Pace::new(clock, meter, planned.wait);
    let audit = AuditLog::open(&config.data().audit()).context("audit log")?;
    let mut logins = login(config, key)?;
    set_keys(&mut logins, &audit.1);
    let tile = ControlTile {
        lanes: control,
        logins,
        oracle,
        roll,
        stages: Stages::new(),
        durability: config.journal.durability.name(),
        journal: stats,
        feed: shown,
        machine: plan.machine,
        pace,
        desk: {
            let mut desk = Desk::new();
            desk.slow.limit_ns = config.admin.slow_us * 1_000;
            desk
        },
    };
    let hot_tiles = plan.hot;
    // The control tile runs on the process's first thread, after all others began on cores of their own.
    settle(&planned)?;
    let ended = control_loop(config, tile, audit, hot_tiles);
    let tiles = Tiles {
        hot,
        journal,
        replication,
        seal,
        spool,
        feed,
    };
    finish(ended, tiles)
}

/// A box tells of its whole journal when it is asked again: so it opens only when all of it may be told.
fn wait_for_quorum(told: &WatermarkReader, last_seq: u64) {
    if told.get() < last_seq {
        log::event("waits_for_quorum", &[("last_seq", &last_seq)]);
    }
    while told.get() < last_seq {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says from which record on a start should find the journal's segments in place.
fn needed_from(config: &Config) -> Box<dyn FnMut() -> u64 + Send> {
    let (data, section) = (config.data(), config.snapshot);
    Box::new(move || {
        if section.every_records.is_none() && section.every_s.is_none() {
            // Every start reads all of it, from wherever it is.
            return u64::MAX;
        }
        snapshot::needed_from(&data).unwrap_or_else(|error| {
            log::event("snapshots_unreadable", &[("reason", &error)]);
            journal::FIRST_SEQ
        })
    })
}

/// Makes the journal's archive a link to `archive`, which is on another disk as a rule, so that every reader finds it.
pub(crate) fn link_archive(dir: &JournalDir, archive: Option<&Path>) -> anyhow::Result<()> {
    let Some(archive) = archive else {
        return Ok(());
    };
    std::fs::create_dir_all(archive)
        .with_context(|| format!("cannot make {}", archive.display()))?;
    let wanted = archive.canonicalize()?;
    let link = dir.path().join(journal::ARCHIVE);
    match link.canonicalize() {
        Ok(found) if found == wanted => Ok(()),
        Ok(_) => bail!(
            "{} is there already and is another directory; move its files to {} and remove it",
            link.display(),
            archive.display()
        ),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !link.is_symlink() => {
            std::os::unix::fs::symlink(&wanted, &link)
                .with_context(|| format!("cannot make {}", link.display()))
        }
        Err(e) => Err(e).with_context(|| link.display().to_string()),
    }
}

/// The tiles to be started, and what is shown of them.
struct Plan {
    tiles: Vec<Planned>,
    clock: RealClock,
    machine: Machine,
    /// Of the tiles that members wait for.
    hot: Vec<TileReader>,
}

impl Plan {
    fn new(config: &Config, clock: RealClock) -> anyhow::Result<Self> {
        Ok(Self {
            tiles: plan(&config.topology, config.net.polling()).map_err(anyhow::Error::msg)?,
            clock,
            machine: Machine::default(),
            hot: Vec::new(),
        })
    }

    /// The tile that does this, and its meter.
    fn take(&mut self, stage: Stage) -> (Planned, TileMeter) {
        let planned = self.tiles.iter().find(|p| p.tile.stages.contains(&stage));
        let planned = *planned.expect("every stage has a tile");
        let meter = TileMeter::new();
        if planned.tile.is_hot() {
            self.hot.push(meter.reader());
        }
        let shown = (planned.tile.name, planned.core, meter.reader());
        self.machine.tiles.push(shown);
        (planned, meter)
    }

    /// Starts the tile that does this; its loop is its own.
    fn start(
        &mut self,
        stage: Stage,
        run: impl FnOnce(Pace<RealClock>) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<Tile> {
        let (planned, meter) = self.take(stage);
        let pace = Pace::new(self.clock.clone(), meter, planned.wait);
        started(planned, move |ready| {
            let _ = ready.send(Ok(()));
            run(pace)
        })
    }

    /// Starts a tile that was made before.
    fn start_tile(
        &mut self,
        stage: Stage,
        tile: impl tile::Tile + Send + 'static,
    ) -> anyhow::Result<Tile> {
        let (planned, meter) = self.take(stage);
        started(planned, move |ready| {
            let _ = ready.send(Ok(()));
            tile::run(tile, planned.wait, meter)
        })
    }

    /// Starts the tile with the gateway. A NIC belongs to the thread that made it, so the tile is made there.
    fn start_with_nic<T: tile::Tile>(
        &mut self,
        config: &Config,
        make: impl FnOnce(AnyNic) -> T + Send + 'static,
    ) -> anyhow::Result<Tile> {
        let (planned, meter) = self.take(Stage::Gateway);
        let (net, sockets) = (config.net.clone(), sockets(config));
        started(planned, move |ready| {
            let nic = match AnyNic::open(&net, &sockets) {
                Ok(nic) => nic,
                Err(e) => {
                    let _ = ready.send(Err(e.context("net")));
                    return Ok(());
                }
            };
            let tile = make(nic);
            let _ = ready.send(Ok(()));
            tile::run(tile, planned.wait, meter)
        })
    }
}

/// The sockets of the gateway, in the order that `egress` names them in.
fn sockets(config: &Config) -> Vec<std::net::SocketAddrV4> {
    let mut sockets = vec![config.net.order_entry, config.feed.source];
    sockets.extend(config.net.order_entry_b);
    sockets
}

fn feed_egress(
    config: &Config,
    core: &Core,
    lane: Producer<FeedPacket>,
    meter: LaneMeter,
) -> FeedEgress {
    FeedEgress::new(
        config.feed.session_name(),
        config.feed.lines().collect(),
        config.feed.heartbeat_ms * 1_000_000,
        (lane, meter),
        core.next_feed,
        config.capacity.orders as usize,
    )
}

/// Starts the feed tile.
fn start_feed(
    config: &Config,
    plan: &mut Plan,
    day: FeedDay,
    lane: Consumer<FeedPacket>,
    sealed: mpsc::Receiver<SealedNote>,
    shown: Arc<Mutex<FeedCounters>>,
) -> anyhow::Result<Tile> {
    let key = SecretKey::load(&config.venue.key_file).context("venue.key_file")?;
    let section = config.feed.clone();
    let (planned, meter) = plan.take(Stage::Feed);
    let mut pace = Pace::new(plan.clock.clone(), meter, planned.wait);
    started(planned, move |ready| {
        let nic = match UringNic::open(&[section.requests.listen]) {
            Ok(nic) => nic,
            Err(e) => {
                let _ = ready.send(Err(anyhow::Error::from(e).context("feed")));
                return Ok(());
            }
        };
        let tile = FeedTile {
            nic,
            lane,
            sealed,
            parker: Parker::new()?,
            desk: FeedDesk::new(&section, day, key, pace.now()),
            shown,
            linger: Duration::from_millis(section.linger_ms),
        };
        let _ = ready.send(Ok(()));
        tile.run(pace)
    })
}

fn login(config: &Config, key: SecretKey) -> anyhow::Result<LoginDesk> {
    let suites = if config.venue.allow_untagged {
        SuiteSet::SAFE.with(Suite::None)
    } else {
        SuiteSet::SAFE
    };
    let mut login = VenueLogin::new(key, suites);
    for m in &config.members {
        login.register(m.member(), 1, PublicKey::from_hex(&m.public_key)?);
    }
    let locked = config.members.iter().filter(|m| m.locked);
    Ok(LoginDesk::new(login, locked.map(|m| m.member()).collect()))
}

/// Tells systemd that the box lives, for as long as every hot tile turns.
async fn watch(notifier: Rc<Notifier>, hot: Vec<TileReader>) {
    let Some(interval) = notifier.interval() else {
        return std::future::pending().await;
    };
    let turns = || -> Vec<u64> { hot.iter().map(|t| t.get().polls).collect() };
    let mut before = turns();
    loop {
        tokio::time::sleep(interval).await;
        let now = turns();
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            notifier.lives();
        } else {
            log::event("tile_stands_still", &[]);
        }
        before = now;
    }
}

/// Keys that operators set go before the configuration's.
fn set_keys(logins: &mut LoginDesk, entries: &[Entry]) {
    let mut asked = std::collections::BTreeMap::new();
    for draft in entries.iter().map(|e| &e.draft) {
        if draft.act != "key" {
            continue;
        }
        match draft.outcome {
            Outcome::Asked | Outcome::Approved => drop(asked.insert(&draft.key, &draft.args)),
            Outcome::Done => {
                let args = asked.get(&draft.key).copied();
                if let Some(Ok(body)) = args.map(|a| serde_json::from_value::<KeyBody>(a.clone())) {
                    logins.set_key(&body);
                }
            }
            _ => {}
        }
    }
}

fn control_loop(
    config: &Config,
    control: ControlTile<RealClock>,
    audit: (AuditLog, Vec<Entry>),
    hot: Vec<TileReader>,
) -> anyhow::Result<Ended> {
    let notifier = Rc::new(Notifier::from_environment());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let (desk, requests) = tokio::sync::mpsc::channel(depth::ADMIN);
        let server = Server::start(config, desk, audit)?;
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        memory::settle(&config.memory)?;
        println!("hostd: ready");
        notifier.ready("the box is up; hostd admin day status says whether it is ready to trade");
        let ended = {
            // Beside the control tile on one thread: neither lives without the other.
            let lives = watch(Rc::clone(&notifier), hot);
            let mut run = std::pin::pin!(control.run(requests, signal));
            let mut lives = std::pin::pin!(lives);
            std::future::poll_fn(|cx| {
                let _ = lives.as_mut().poll(cx);
                run.as_mut().poll(cx)
            })
            .await
        };
        notifier.stops();
        // The answer to the request to stop goes out before the sockets close.
        drop(server);
        ended
    })
}

struct Tiles {
    /// The tiles with gateway and engine, in this order.
    hot: Vec<Tile>,
    /// Where it has a tile of its own.
    journal: Option<Tile>,
    replication: Option<JoinHandle<()>>,
    seal: Tile,
    spool: Tile,
    feed: Tile,
}

fn finish(ended: anyhow::Result<Ended>, tiles: Tiles) -> anyhow::Result<()> {
    let ended = ended?;
    let died = |e: Box<dyn std::any::Any + Send>| {
        let text = e.downcast_ref::<String>().cloned();
        anyhow::anyhow!("a tile panicked: {}", text.unwrap_or_default())
    };
    // The journal first, and the engine before the gateway: when one fails, who works for it only says that it is gone.
    let mut hot = Vec::new();
    for tile in tiles.hot {
        hot.push(tile.join().map_err(died)?);
    }
    if let Some(journal) = tiles.journal {
        journal.join().map_err(died)?.context("journal")?;
    }
    if let Some(replication) = tiles.replication {
        replication.join().map_err(died)?;
    }
    let spool = tiles.spool.join().map_err(died)?;
    tiles.seal.join().map_err(died)?.context("seal tile")?;
    spool.context("spool")?;
    tiles.feed.join().map_err(died)?.context("feed tile")?;
    for tile in hot.into_iter().rev() {
        tile.context("hot tile")?;
    }
    if matches!(ended, Ended::GatewayLost) {
        bail!("the gateway stopped by itself");
    }
    log::event("stopped", &[]);
    Ok(())
}

type Ready = mpsc::Sender<anyhow::Result<()>>;

/// Starts a tile's thread where it belongs, and waits until it says that it is ready.
fn started(
    planned: Planned,
    body: impl FnOnce(Ready) -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<Tile> {
    let name = planned.tile.name;
    let (ready, is_ready) = mpsc::channel();
    let tile = std::thread::Builder::new()
        .name(name.into())
        .spawn(move || match settle(&planned) {
            Ok(()) => body(ready),
            Err(e) => {
                let _ = ready.send(Err(e));
                Ok(())
            }
        })
        .with_context(|| format!("cannot start tile {name}"))?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(tile),
        Ok(Err(e)) => Err(e),
        Err(_) => bail!("the {name} tile died at start"),
    }
}

/// Puts the calling thread where the plan says.
pub(crate) fn settle(planned: &Planned) -> anyhow::Result<()> {
    if let Some(core) = planned.core {
        lane::pin_to_core(core).with_context(|| format!("topology.cores.{}", planned.tile.name))?;
    }
    // Without the right to it the tile runs like any other process: slower beside others, no less correct.
    if let Err(e) = rustix::process::nice(planned.nice()) {
        log::event("no_priority", &[("reason", &e)]);
    }
    if planned.is_urgent()
        && let Err(e) = go_first()
    {
        let name = planned.tile.name;
        log::event("no_real_time", &[("tile", &name), ("reason", &e)]);
    }
    Ok(())
}

/// The calling thread interrupts every ordinary one.
fn go_first() -> io::Result<()> {
    let least = libc::sched_param { sched_priority: 1 };
    // SAFETY: needed because rustix has no call for it. Sound because the kernel only reads `least`.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const least) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
