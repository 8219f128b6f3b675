//! The whole machine on a page: tiles, lanes, depths, who wakes whom.
//!
//! ```text
//!  topology `shared`
//!                      control_in  256
//!   control ─────────────────────────────►  hot  ◄────────►  NIC: orders, feed lines A and B
//!   (login, oracle,  ◄────────────────────   │  ▲  ▲ │ ◄─────── answers 64 ─── spool ──► a file a member
//!    risk tables,      control_out 256       │  │  │ ├──── reports 65,536 ──►
//!    admin socket)   ◄── samples 65,536      │  │  │ └── packets 2,048 ──►  feed  ◄──►  NIC: re-requests,
//!                    ◄── snapshots 16        │  │  │                        │   ▲         snapshots, checkpoints
//!                                            │  │  │ spares 8               ▼   │
//!                                            │  │  │ (buffers of            store of the day
//!                                            │  │  │  sealed batches)           │
//!                                            │  │ durable (watermark)           │
//!                                   journal  ▼  │                               │
//!                                    14,336  journal ──► segments               │
//!                                               │                               │ batch digests
//!                                               └──► seal ──► sealed batches ───┘
//! ```
//!
//! `hot` runs ingress, gate, sequencer, engine and egress to completion. On two cores the hot tile has
//! one, the others share the rest of the machine.

use crate::clock::{Clock, RealClock};
use crate::config::{Config, Durability, TopologyName};
use crate::control::{ControlLanes, ControlTile, Desk, Ended, OracleDesk};
use crate::core::Core;
use crate::disk::{self, UringDisk};
use crate::doctor::{self, Depth, Subject};
use crate::egress::FeedEgress;
use crate::feed::{
    Desk as FeedDesk, FeedCounters, FeedDay, FeedPacket, FeedTile, PACKETS_DEPTH, SealedNote,
};
use crate::hot::{HotLanes, HotTile, JOURNAL_ROOM, SPOOL_READS_MAX, SpoolLink};
use crate::journal_tile::{JournalStats, JournalTile, SealTile, Taken};
use crate::logins::LoginDesk;
use crate::nic::{AnyNic, UringNic};
use crate::operator::Roll;
use crate::recover::{Listing, missing, recover, tail_note};
use crate::spool::{SpoolFiles, SpoolTile};
use crate::status::Stages;
use crate::{admin, log, memory};
use anyhow::{Context, bail};
use firmware::tag::{Suite, SuiteSet};
use firmware::units::TimeNs;
use handshake::{PublicKey, SecretKey, VenueLogin};
use journal::{GroupCommit, JournalDir};
use lane::{Consumer, Parker, Producer, Watermark, bounded};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// Nice value of hot and journal tile where the system allows it (root, or CAP_SYS_NICE): on shared cores a
/// waking tile then goes before whatever else runs there.
const TILE_NICE: i32 = -15;
/// Depth of the lane to the journal, records.
const JOURNAL_DEPTH: usize = 2 * JOURNAL_ROOM;
/// Depth of the lanes between hot and control tile.
const CONTROL_DEPTH: usize = 256;
/// Stage samples under way.
const SAMPLES_DEPTH: usize = 1 << 16;
/// Snapshots under way.
const SNAPSHOTS_DEPTH: usize = 16;
/// Reports on their way to the spool: more than one event makes as a rule, many times over.
const SPOOL_DEPTH: usize = 1 << 16;
/// Spare buffers of sealed batches.
const SPARES_DEPTH: usize = 8;
/// Admin requests under way.
const ADMIN_DEPTH: usize = 64;

type Tile = JoinHandle<anyhow::Result<()>>;

/// Boots the box and runs it until it is told to stop.
///
/// # Errors
/// Whatever stops it, in one line.
pub fn run(config: &Config) -> anyhow::Result<()> {
    doctor::examine(&Subject::of(config), Depth::Quick).log();
    match config.topology.name {
        TopologyName::Shared => run_shared(config),
    }
}

fn run_shared(config: &Config) -> anyhow::Result<()> {
    let key = SecretKey::load(&config.venue.key_file).context("venue.key_file")?;
    let batches = config.batches_dir();
    std::fs::create_dir_all(&batches)
        .with_context(|| format!("cannot make {}", batches.display()))?;
    let dir = JournalDir::open(config.journal_dir()).context("journal")?;
    let mut spool_files = SpoolFiles::create(&config.spool_dir())?;
    let mut core = Core::new(&config.capacity);
    for m in &config.members {
        core.add_member(m.member(), m.rates());
    }
    let mut day = FeedDay::begin(&config.feed_dir(), config.capacity.orders)?;
    let recovered = recover(dir.path(), core, Some(&batches), |core| {
        for (member, report) in core.told() {
            spool_files.append(member, report)?;
        }
        day.replay(&core.outbox)
    })?;
    if let Some(note) = tail_note(&recovered.end.tail) {
        log::event("journal_tail", &[("note", &note)]);
    }
    log::event(
        "recovered",
        &[
            ("records", &recovered.records),
            (
                "state_hash",
                &admin::hex(&recovered.core.engine.state_hash()),
            ),
        ],
    );
    let core = recovered.core;
    let listing = missing(config, &core)?;
    let floor = TimeNs(recovered.end.last_time_ns);

    let (control_in, hot_from_control) = bounded(CONTROL_DEPTH);
    let (hot_to_control, control_out) = bounded(CONTROL_DEPTH);
    let (samples_in, samples) = bounded(SAMPLES_DEPTH);
    let (snapshots_in, snapshots) = bounded(SNAPSHOTS_DEPTH);
    let (journal_in, journal_out) = bounded(JOURNAL_DEPTH);
    let (spares_in, spares) = bounded(SPARES_DEPTH);
    let (spool_in, spool_out) = bounded(SPOOL_DEPTH);
    let (answers_in, answers) = bounded(SPOOL_READS_MAX);
    let (hot_parker, control_parker, journal_parker) =
        (Parker::new()?, Parker::new()?, Parker::new()?);
    let spool_parker = Parker::new()?;
    let (hot_waker, control_waker, journal_waker) = (
        hot_parker.waker(),
        control_parker.waker(),
        journal_parker.waker(),
    );

    let durability = match config.journal.durability {
        Durability::Fsync => disk::Durability::Fsync,
        Durability::Relaxed => disk::Durability::Relaxed,
    };
    let disk = UringDisk::open(dir, durability, None).context("journal")?;
    let journal_config = journal::Config {
        segment_bytes: config.journal.segment_mib << 20,
        ..Default::default()
    };
    let commit = GroupCommit::resume(journal_config, &recovered.end, disk).context("journal")?;
    let durable = Watermark::new(commit.durable_seq());
    let stats = Arc::new(Mutex::new(JournalStats::new()));
    let (to_seal, sealed) = mpsc::channel();
    let (notes, written) = mpsc::channel();
    let tile = JournalTile {
        taken: Taken::nothing(),
        commit,
        lane: journal_out,
        seal: to_seal,
        parker: journal_parker,
        hot: hot_waker.clone(),
        durable,
        stats: Arc::clone(&stats),
    };
    let seal = SealTile {
        lane: sealed,
        spares: spares_in,
        notes,
        batches,
    };
    let durable = tile.durable.reader();
    let spool = SpoolLink::new(spool_in, spool_parker.waker(), answers);
    let spool_tile = SpoolTile {
        files: spool_files,
        lane: spool_out,
        answers: answers_in,
        parker: spool_parker,
        hot: hot_waker.clone(),
    };
    let journal = spawn("journal", TILE_NICE, move || tile.run())?;
    let seal = spawn("seal", 0, move || seal.run())?;
    let spool_tile = spawn("spool", 0, move || spool_tile.run())?;

    let oracle = oracle_desk(config, &core, &listing);
    let roll = Roll::of(config, &core, &listing);
    let lanes = HotLanes {
        control_in: hot_from_control,
        control_out: hot_to_control,
        control: control_waker,
        journal: journal_in,
        journal_waker,
        spares,
        durable,
        samples: samples_in,
        snapshots: snapshots_in,
        parker: hot_parker,
    };
    let shown = Arc::new(Mutex::new(FeedCounters::default()));
    let (packets_in, packets) = bounded(PACKETS_DEPTH);
    let first = core.feed.next();
    assert_eq!(day.next(), first, "the feed's day ends where the core does");
    let feed = start_feed(config, day, packets, written, Arc::clone(&shown), floor)?;
    let hot = start_hot(config, core, lanes, spool, packets_in, listing, floor)?;

    let control = ControlTile {
        lanes: ControlLanes {
            to_hot: control_in,
            hot: hot_waker,
            from_hot: control_out,
            samples,
            snapshots,
            parker: control_parker,
        },
        clock: RealClock::starting_after(floor),
        logins: login(config, key)?,
        oracle,
        roll,
        stages: Stages::new(),
        durability: match config.journal.durability {
            Durability::Fsync => "fsync",
            Durability::Relaxed => "relaxed",
        },
        journal: stats,
        feed: shown,
        desk: Desk::new(),
    };
    let ended = control_loop(config, control);
    let tiles = Tiles {
        hot,
        journal,
        seal,
        spool: spool_tile,
        feed,
    };
    finish(ended, tiles)
}

/// Starts the hot tile; a NIC belongs to the thread that made it, so its errors come back by a channel.
fn start_hot(
    config: &Config,
    core: Core,
    lanes: HotLanes,
    spool: SpoolLink,
    packets: Producer<FeedPacket>,
    listing: Listing,
    floor: TimeNs,
) -> anyhow::Result<Tile> {
    let mut sockets = vec![config.net.order_entry, config.feed.source];
    sockets.extend(config.net.order_entry_b);
    let feed = FeedEgress::new(
        config.feed.session_name(),
        config.feed.lines().collect(),
        config.feed.heartbeat_ms * 1_000_000,
        packets,
        core.feed.next(),
    );
    let (interval_ns, hot_core) = (
        config.domain.batch_interval_ms * 1_000_000,
        config.topology.hot_core,
    );
    let net = config.net.clone();
    let (ready, is_ready) = mpsc::channel();
    let tile = spawn("hot", TILE_NICE, move || {
        let pinned = hot_core
            .map_or(Ok(()), lane::pin_to_core)
            .context("topology.hot_core");
        let nic = match pinned.and_then(|()| AnyNic::open(&net, &sockets)) {
            Ok(nic) => nic,
            Err(e) => {
                let _ = ready.send(Err(e));
                return Ok(());
            }
        };
        let mut tile = HotTile::new(
            nic,
            RealClock::starting_after(floor),
            core,
            lanes,
            spool,
            feed,
            interval_ns,
        );
        tile.open_day(&listing);
        let _ = ready.send(Ok(()));
        tile.run()
    })?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(tile),
        Ok(Err(e)) => Err(e.context("net")),
        Err(_) => bail!("the hot tile died at start"),
    }
}

/// Starts the feed tile.
fn start_feed(
    config: &Config,
    day: FeedDay,
    lane: Consumer<FeedPacket>,
    sealed: mpsc::Receiver<SealedNote>,
    shown: Arc<Mutex<FeedCounters>>,
    floor: TimeNs,
) -> anyhow::Result<Tile> {
    let key = SecretKey::load(&config.venue.key_file).context("venue.key_file")?;
    let section = config.feed.clone();
    let (ready, is_ready) = mpsc::channel();
    let tile = spawn("feed", 0, move || {
        let nic = match UringNic::open(&[section.requests.listen]) {
            Ok(nic) => nic,
            Err(e) => {
                let _ = ready.send(Err(anyhow::Error::from(e)));
                return Ok(());
            }
        };
        let mut clock = RealClock::starting_after(floor);
        let now = clock.now();
        let tile = FeedTile {
            nic,
            clock,
            lane,
            sealed,
            parker: Parker::new()?,
            desk: FeedDesk::new(&section, day, key, now),
            shown,
            linger: Duration::from_millis(section.linger_ms),
        };
        let _ = ready.send(Ok(()));
        tile.run()
    })?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(tile),
        Ok(Err(e)) => Err(e.context("feed")),
        Err(_) => bail!("the feed tile died at start"),
    }
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

fn oracle_desk(config: &Config, core: &Core, listing: &Listing) -> OracleDesk {
    let keys = config.oracles.iter().map(|o| {
        let key = PublicKey::from_hex(&o.public_key).expect("checked with the configuration");
        (o.id, key)
    });
    let listings: Vec<_> = core
        .listings
        .values()
        .chain(&listing.instruments)
        .copied()
        .collect();
    let epoch = core.engine.table().map_or(0, |t| t.epoch);
    let d = &config.domain;
    OracleDesk::new(
        keys.collect(),
        &listings,
        config.risk_params(),
        epoch,
        d.risk_epoch_ms * 1_000_000,
        d.oracle_stale_ms * 1_000_000,
    )
}

fn control_loop(config: &Config, control: ControlTile<RealClock>) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let socket: PathBuf = config.admin.socket.clone();
    runtime.block_on(async move {
        let (desk, requests) = tokio::sync::mpsc::channel(ADMIN_DEPTH);
        admin::serve(&socket, desk)?;
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        memory::settle(&config.memory)?;
        println!("hostd: ready");
        let ended = control.run(requests, signal).await;
        // The answer to the shutdown request is on its way out.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = std::fs::remove_file(&socket);
        ended
    })
}

struct Tiles {
    hot: Tile,
    journal: Tile,
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
    // The journal first: when it fails, the hot tile only says that it is gone.
    let hot = tiles.hot.join().map_err(died)?;
    let journal = tiles.journal.join().map_err(died)?;
    let spool = tiles.spool.join().map_err(died)?;
    tiles.seal.join().map_err(died)?.context("seal tile")?;
    journal.context("journal")?;
    spool.context("spool")?;
    tiles.feed.join().map_err(died)?.context("feed tile")?;
    hot.context("hot tile")?;
    if matches!(ended, Ended::HotTileLost) {
        bail!("the hot tile stopped by itself");
    }
    log::event("stopped", &[]);
    Ok(())
}

fn spawn(
    name: &str,
    nice: i32,
    body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<Tile> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // Without the right to it the tile runs like any other process: slower beside others, no less correct.
            if let Err(e) = rustix::process::nice(nice) {
                log::event("no_priority", &[("reason", &e)]);
            }
            body()
        })
        .with_context(|| format!("cannot start tile {name}"))
}
