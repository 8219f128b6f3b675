//! `bench wire`: the round trip of a request through the box, from the planned send to the report, beside that of a
//! bare echo over the same backend, socket options and polling, in slices that take turns. How it is done and what
//! it cannot know: `bench/LATENCY.md`.

pub(crate) mod bed;
pub(crate) mod boxes;
pub(crate) mod course;
pub(crate) mod figures;
pub(crate) mod line;
pub(crate) mod load;
mod page;
pub(crate) mod plan;
mod search;
pub(crate) mod tally;

use crate::children::bin_dir;
use crate::machine;
use crate::place::{RUNS, project_root, run_name, writable};
use crate::report::plot::{grouped, ns_text};
use anyhow::{Context as _, bail, ensure};
use bed::{Bed, Seat};
use boxes::{Backend, Cores, Durability, Login, Peer, Rig, Setting, Topology, Venue};
use course::{BoxEnd, Course, EchoEnd, Hand, Wanted};
use figures::{Curves, Figures, NotRun, Row};
use line::Line;
use load::Mix;
use plan::Arrivals;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

/// Nice value of the measuring thread where the system allows it: that of the box's hot tile.
const CLIENT_NICE: i32 = -15;

/// `bench wire`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Network backends of box and echo; all that run here if not given, and on loopback uring.
    #[arg(long, value_enum, value_delimiter = ',')]
    backend: Vec<Backend>,
    /// When reports may leave the box.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["relaxed", "fsync"])]
    durability: Vec<Durability>,
    /// Which requests: all rates and the search take the first, the headline rate takes each.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["rest", "cross"])]
    mix: Vec<Mix>,
    /// Planned rates, requests a second.
    #[arg(long, value_delimiter = ',', default_values = ["1000", "10000", "30000", "100000"])]
    rates: Vec<u64>,
    /// The rate whose figures stand for all.
    #[arg(long, default_value_t = 10_000)]
    headline: u64,
    /// How planned times are spread.
    #[arg(long, value_enum, default_value = "even")]
    arrivals: Arrivals,
    /// How long to measure each of echo and box at each rate.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Samples of each at each rate at least: below this a rate takes longer.
    #[arg(long, default_value_t = 10_000)]
    samples: u64,
    /// Length of a slice, before the other one has its turn.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(20..=5_000))]
    slice_ms: u64,
    /// Lowest rate of the search for what is sustained.
    #[arg(long, default_value_t = 50_000)]
    search_from: u64,
    /// Highest rate of the search; 0 leaves the search out.
    #[arg(long, default_value_t = 3_000_000)]
    search_to: u64,
    /// A rate is sustained if nothing is lost or refused and 99 % of the answers take no longer than this.
    #[arg(long, default_value_t = 5_000)]
    p99_max_us: u64,
    /// Make two network namespaces joined by veth, instead of loopback. Needs root.
    #[arg(long)]
    netns: bool,
    /// Measure a box that runs elsewhere, at its order-entry address.
    #[arg(long, value_name = "ADDR", requires_all = ["echo", "member"], conflicts_with_all = ["netns", "backend"])]
    r#box: Option<SocketAddrV4>,
    /// Where the echo of that box listens (`hostd echo`, on the same card).
    #[arg(long, value_name = "ADDR", requires = "box")]
    echo: Option<SocketAddrV4>,
    /// Member of that box: a TOML file with member, key_file, venue_key, accounts, instrument, price, tick.
    #[arg(long, value_name = "FILE", requires = "box")]
    member: Option<PathBuf>,
    #[command(flatten)]
    cores: CoreArgs,
    /// Merged into the configuration of box and echo, over what the bench writes: topology, polling, NIC.
    #[arg(long, value_name = "FILE")]
    box_config: Option<PathBuf>,
    /// Seed of planned times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the figures.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to write the page with pictures.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Which cores, of `bench wire` and `bench ab`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct CoreArgs {
    /// Which stages of the box share a thread; `pinned` where there are cores enough for it.
    #[arg(long, value_enum)]
    topology: Option<Topology>,
    /// Core of the measuring client.
    #[arg(long)]
    client_core: Option<usize>,
    /// Core of the tile that has the NIC, and of the echo.
    #[arg(long)]
    hot_core: Option<usize>,
    /// Core of the engine, in topology `pinned`.
    #[arg(long)]
    engine_core: Option<usize>,
    /// Core of the journal, in topology `pinned`.
    #[arg(long)]
    journal_core: Option<usize>,
    /// Cores of everything else of the box.
    #[arg(long, value_delimiter = ',')]
    other_cores: Vec<usize>,
}

impl CoreArgs {
    /// Fills in what was not named, out of this machine's cores.
    pub(crate) fn choose(&self) -> anyhow::Result<Cores> {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        self.choose_of(&machine::whole_cores(), all)
    }

    /// From the last whole core down: client, NIC, and in topology `pinned` engine and journal as long as one core is
    /// left. Everything else has the cores that nobody sits on, or all where there is none.
    fn choose_of(&self, whole: &[usize], all: usize) -> anyhow::Result<Cores> {
        let named = [
            self.client_core,
            self.hot_core,
            self.engine_core,
            self.journal_core,
        ];
        let is_free = |c: &usize| !named.contains(&Some(*c));
        let mut free: Vec<usize> = whole.iter().copied().filter(is_free).collect();
        let mut first = |core: Option<usize>| core.or_else(|| free.pop());
        let (Some(client), Some(hot)) = (first(self.client_core), first(self.hot_core)) else {
            bail!("too few cores: name --client-core and --hot-core, the same if need be");
        };
        let topology = self.topology.unwrap_or(if free.len() >= 3 {
            Topology::Pinned
        } else {
            Topology::Shared
        });
        let mut own = |core: Option<usize>| {
            let is_free = topology == Topology::Pinned && free.len() >= 2;
            core.or_else(|| is_free.then(|| free.pop()).flatten())
        };
        let (engine, journal) = (own(self.engine_core), own(self.journal_core));
        let taken = [Some(client), Some(hot), engine, journal];
        let mut others = self.other_cores.clone();
        if others.is_empty() {
            others = (0..all).filter(|c| !taken.contains(&Some(*c))).collect();
        }
        if others.is_empty() {
            others = (0..all).collect();
        }
        Ok(Cores {
            topology,
            client,
            hot,
            engine,
            journal,
            others,
        })
    }
}

impl Args {
    fn wanted(&self) -> anyhow::Result<Wanted> {
        let mut rates = self.rates.clone();
        rates.push(self.headline);
        rates.sort_unstable();
        rates.dedup();
        ensure!(rates[0] > 0, "a rate must be positive");
        ensure!(
            self.seconds.is_finite() && self.seconds >= 0.0,
            "--seconds must be a time"
        );
        let mut mixes = self.mix.clone();
        mixes.dedup();
        Ok(Wanted {
            arrivals: self.arrivals,
            headline: self.headline,
            rates,
            seconds: self.seconds,
            samples: self.samples,
            slice_ms: self.slice_ms,
            mixes,
            search: (self.search_from, self.search_to),
            p99_max_ns: self.p99_max_us * 1_000,
            seed: self.seed,
        })
    }

    fn overlay(&self) -> anyhow::Result<toml::Table> {
        read_overlay(self.box_config.as_deref())
    }
}

/// What is merged into a configuration.
pub(crate) fn read_overlay(path: Option<&Path>) -> anyhow::Result<toml::Table> {
    let Some(path) = path else {
        return Ok(toml::Table::new());
    };
    let what = || format!("{}", path.display());
    let text = std::fs::read_to_string(path).with_context(what)?;
    text.parse().with_context(what)
}

/// Runs the bench.
///
/// # Errors
/// With the first thing that failed, and when a request at a planned rate had no answer.
pub(crate) fn run(mut args: Args) -> anyhow::Result<()> {
    let outputs = [&mut args.json, &mut args.report, &mut args.box_config];
    for path in outputs.into_iter().flatten() {
        *path = std::path::absolute(&path).context("where are we?")?;
    }
    for path in args.json.iter().chain(&args.report) {
        writable(path)?;
    }
    let (wanted, overlay, cores) = (args.wanted()?, args.overlay()?, args.cores.choose()?);
    let mut figures = Figures {
        bench: "wire".into(),
        machine: machine::facts(),
        ..Figures::default()
    };
    let mut all = Vec::new();
    if let (Some(at), Some(echo), Some(member)) = (args.r#box, args.echo, &args.member) {
        let name = "another machine, or another network of this one";
        note_setting(&mut figures, &wanted, &cores, name, &overlay);
        let venue = Venue::elsewhere(at, Login::read(member)?);
        all.extend(elsewhere(&venue, &Peer::elsewhere(echo), &wanted, &cores)?);
    } else {
        ensure!(
            args.netns || args.backend.iter().all(|b| *b == Backend::Uring),
            "only the backend uring runs on loopback: give --netns"
        );
        let root = project_root()?;
        std::env::set_current_dir(&root)
            .with_context(|| format!("cannot enter {}", root.display()))?;
        let bed = if args.netns {
            Bed::namespaces()?
        } else {
            Bed::loopback()?
        };
        note_setting(&mut figures, &wanted, &cores, bed.about(), &overlay);
        let folder = Folder(Path::new(RUNS).join(run_name()));
        let mut rig = Rig::new(folder.0.clone(), bin_dir()?)?;
        let backends = match &args.backend[..] {
            [] if args.netns => &Backend::ALL[..],
            // The others take an interface for themselves.
            [] => &[Backend::Uring],
            named => named,
        };
        for &backend in backends {
            for &durability in &args.durability {
                let setting = Setting {
                    backend,
                    durability,
                    cores: cores.clone(),
                    overlay: overlay.clone(),
                };
                match here(&mut rig, &bed, &setting, &wanted)? {
                    Ok(rows) => all.extend(rows),
                    Err(reason) if args.backend.is_empty() => {
                        let reason = format!("{reason:#}");
                        let backend = backend.name().to_owned();
                        figures.not_run.push(NotRun { backend, reason });
                        break;
                    }
                    Err(reason) => return Err(reason.context(backend.name())),
                }
            }
        }
    }
    figures.lost = all.iter().map(|(row, _)| row.lost).sum();
    figures.rows = all.iter().map(|(row, _)| row.clone()).collect();
    let curves: Vec<_> = all.into_iter().map(|(_, curves)| curves).collect();
    finish(&args, &figures, &curves)
}

/// A folder that goes with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is no more than a folder left over.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn note_setting(
    figures: &mut Figures,
    wanted: &Wanted,
    cores: &Cores,
    place: &str,
    overlay: &toml::Table,
) {
    let mut note = |name: &str, value: String| {
        figures.setting.insert(name.into(), value);
    };
    note("place", place.into());
    note("client core", cores.client.to_string());
    note("core of NIC and echo", cores.hot.to_string());
    note("topology", format!("{:?}", cores.topology).to_lowercase());
    for (tile, core) in [("engine", cores.engine), ("journal", cores.journal)] {
        if let Some(core) = core {
            note(&format!("{tile} core"), core.to_string());
        }
    }
    note("cores of the rest", format!("{:?}", cores.others));
    note("arrivals", format!("{:?}", wanted.arrivals).to_lowercase());
    for mix in &wanted.mixes {
        note(&format!("mix {}", mix.name()), mix.about().into());
    }
    if !overlay.is_empty() {
        note("changed configuration", overlay.to_string());
    }
}

type Measured = Vec<(Row, Curves)>;

/// Measures a box and an echo that run elsewhere.
fn elsewhere(
    venue: &Venue,
    echo: &Peer,
    wanted: &Wanted,
    cores: &Cores,
) -> anyhow::Result<Measured> {
    let mut rows = measure(venue, echo, wanted, cores, &mut |what| {
        progress(what);
        Ok(())
    })?;
    for (row, curves) in &mut rows {
        row.backend = "elsewhere".into();
        row.durability = "as configured".into();
        curves.name = row.name();
    }
    Ok(rows)
}

/// Measures with one backend and durability here. The inner error says why the backend does not run.
fn here(
    rig: &mut Rig,
    bed: &Bed,
    setting: &Setting,
    wanted: &Wanted,
) -> anyhow::Result<anyhow::Result<Measured>> {
    let name = format!("{} {}", setting.backend.name(), setting.durability.name());
    let echo = match rig.start_echo("hostd", bed, setting) {
        Ok(echo) => echo,
        Err(reason) => {
            rig.check_stop()?;
            rig.stop("echo");
            return Ok(Err(reason));
        }
    };
    let venue = rig.start_box("box", "hostd", (bed, Seat::First), setting)?;
    let rows = measure(&venue, &echo, wanted, &setting.cores, &mut |what| {
        progress(&format!("{name}: {what}"));
        rig.check()
    });
    // A box that stopped by itself says why; the client only misses its answers.
    rig.check()?;
    let mut rows = rows.with_context(|| name.clone())?;
    drop(venue);
    rig.stop("box");
    rig.stop("echo");
    for (row, curves) in &mut rows {
        row.backend = setting.backend.name().into();
        row.durability = setting.durability.name().into();
        curves.name = row.name();
    }
    Ok(Ok(rows))
}

/// Measures on a thread of its own, which sits on the client's core.
fn measure(
    venue: &Venue,
    echo: &Peer,
    wanted: &Wanted,
    cores: &Cores,
    check: &mut (dyn FnMut(&str) -> anyhow::Result<()> + Send),
) -> anyhow::Result<Measured> {
    on_client_core(cores, || {
        let (line, echo_line) = (
            Line::to(venue.peer.order_entry)?,
            Line::to(echo.order_entry)?,
        );
        let the_box = BoxEnd::open(venue, &line)?;
        // The box would take the echo's core.
        venue.peer.freeze();
        let mut course = Course {
            echo: EchoEnd::to(echo, &echo_line, venue.login.ground),
            the_box,
            hand: Hand::new(),
            wanted,
            check: &mut |what| check(what),
        };
        course.run()
    })
}

/// Runs `work` on a thread that sits on the client's core, with the hot tile's priority where that is allowed.
pub(crate) fn on_client_core<T: Send>(
    cores: &Cores,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            lane::pin_to_core(cores.client).context("--client-core")?;
            // Without the right to it the client runs like any other process.
            let _ = rustix::process::nice(CLIENT_NICE);
            work()
        });
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

pub(crate) fn progress(what: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        // Nobody misses a progress line.
        let _ = write!(out, "\r\x1b[Kwire: {what}");
    }
}

fn finish(args: &Args, figures: &Figures, curves: &[Curves]) -> anyhow::Result<()> {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    print!("{}", text(figures));
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(figures).context("figures")?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.report {
        std::fs::write(path, page::render(figures, curves))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("report: {}", path.display());
    }
    ensure!(!figures.rows.is_empty(), "no backend runs here");
    if figures.lost > 0 {
        bail!("{} requests at planned rates had no answer", figures.lost);
    }
    Ok(())
}

impl Row {
    /// Backend, durability and mix.
    pub(crate) fn name(&self) -> String {
        format!("{} {} {}", self.backend, self.durability, self.mix)
    }
}

/// The figures for people, a line of JSON for each row among them.
fn text(figures: &Figures) -> String {
    let mut lines = Vec::new();
    for row in &figures.rows {
        let h = &row.headline;
        let trio = |p: &crate::report::figures::Percentiles| {
            let [a, b, c] = [p.p50, p.p99, p.p999].map(|v| ns_text(v as f64));
            format!("p50 {a}  p99 {b}  p99.9 {c}")
        };
        lines.push(format!("{} at {}/s", row.name(), grouped(h.rate.into())));
        lines.push(format!("  echo   {}", trio(&h.echo_rtt_ns)));
        lines.push(format!("  box    {}", trio(&h.box_rtt_ns)));
        lines.push(format!(
            "  ratio  p50 {:.3}  p99 {:.3}  p99.9 {:.3}   lost: {}",
            h.ratio.p50, h.ratio.p99, h.ratio.p999, row.lost
        ));
        if let Some(share) = row.group_commit_share {
            lines.push(format!(
                "  waiting for the journal: {:.0} % of the median time inside the box",
                share * 100.0
            ));
        }
        if let Some(s) = &row.sustained {
            let least = |is_bound: bool| if is_bound { "at least " } else { "" };
            lines.push(format!(
                "  sustained a second: echo {}{}  box {}{}  ratio {:.2}",
                least(s.echo_client_bound),
                grouped(s.echo_per_s.into()),
                least(s.box_client_bound),
                grouped(s.box_per_s.into()),
                s.ratio
            ));
        }
        if !h.refused.is_empty() {
            lines.push(format!("  refused: {:?}", h.refused));
        }
    }
    for n in &figures.not_run {
        lines.push(format!("{}: not run: {}", n.backend, n.reason));
    }
    lines.push(format!("lost: {}\n", figures.lost));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(args: &CoreArgs, whole: &[usize], all: usize) -> Cores {
        args.choose_of(whole, all).expect("enough cores")
    }

    #[test]
    fn cores_are_chosen_by_how_many_there_are() {
        let args = CoreArgs::default();
        let two = chosen(&args, &[0, 1], 2);
        assert_eq!(
            (two.client, two.hot, two.topology),
            (1, 0, Topology::Shared)
        );
        assert_eq!((two.engine, two.others), (None, vec![0, 1]));
        // Eight threads on four cores: siblings of those that poll are left alone.
        let four = chosen(&args, &[0, 2, 4, 6], 8);
        assert_eq!(
            (four.client, four.hot, four.topology),
            (6, 4, Topology::Shared)
        );
        let eight = chosen(&args, &[0, 1, 2, 3, 4, 5, 6, 7], 8);
        assert_eq!(
            (eight.client, eight.hot, eight.topology),
            (7, 6, Topology::Pinned)
        );
        assert_eq!((eight.engine, eight.journal), (Some(5), Some(4)));
        assert_eq!(eight.others, [0, 1, 2, 3]);
        assert!(args.choose_of(&[0], 1).is_err());
    }

    #[test]
    fn cores_that_are_named_are_nobody_elses() {
        let args = CoreArgs {
            topology: Some(Topology::Pinned),
            hot_core: Some(7),
            other_cores: vec![1],
            ..CoreArgs::default()
        };
        let c = chosen(&args, &[0, 1, 2, 3, 4, 5, 6, 7], 8);
        assert_eq!((c.client, c.hot, c.engine), (6, 7, Some(5)));
        assert_eq!(c.others, [1]);
        let tight = CoreArgs {
            topology: Some(Topology::Pinned),
            ..CoreArgs::default()
        };
        let c = chosen(&tight, &[0, 1], 2);
        assert_eq!((c.engine, c.journal), (None, None));
    }
}
