//! The measurements of one box beside one echo: slices that take turns, so that a machine that is slow for a while
//! is slow for both.

use super::boxes::{Peer, Venue};
use super::figures::{Curves, Point, Row, Sustained};
use super::line::{Line, Tape, Until, play};
use super::load::{Ground, Load, Mix, Prepared};
use super::plan::{Arrivals, due_times};
use super::search::Search;
use super::tally::{BoxReader, Tally, read_echo};
use crate::report::figures::{Percentiles, stage_curves};
use anyhow::Context as _;
use client::Keys;
use firmware::tag::Suite;
use handshake::{TagKey, TagKeys};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Requests of one slice at most.
pub(crate) const SLICE_REQUESTS_MAX: usize = 1 << 17;
/// Bytes of answers that one slice can have.
const SLICE_BYTES: usize = SLICE_REQUESTS_MAX * 512;
/// Part of a slice, 1/n, that is sent first and gives no sample.
const LEAD_IN: usize = 10;
/// After a process goes on: what waited for it is done, and it polls.
const SETTLE: Duration = Duration::from_millis(20);
/// An answer that has not come when nothing came for this time is lost, ns: longer than a disk or a host that takes
/// cores away may hold one back.
pub(crate) const QUIET_NS: u64 = 3_000_000_000;
/// In the search, where losing is how a rate fails, ns.
const SEARCH_QUIET_NS: u64 = 300_000_000;
/// A slice of the search, ms.
const SEARCH_SLICE_MS: u64 = 250;
/// The client kept its plan if 99 % of its sends were no later than this, ns.
const CLIENT_LATE_MAX_NS: u64 = 500_000;

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) arrivals: Arrivals,
    /// The rate of the headline, warm-up and stages.
    pub(crate) headline: u64,
    /// All rates, rising, the headline among them.
    pub(crate) rates: Vec<u64>,
    /// At each rate, for each of the two.
    pub(crate) seconds: f64,
    /// Fewer samples than this make a rate take longer.
    pub(crate) samples: u64,
    pub(crate) slice_ms: u64,
    pub(crate) mixes: Vec<Mix>,
    /// The search starts here and goes no higher; none if zero.
    pub(crate) search: (u64, u64),
    pub(crate) p99_max_ns: u64,
    pub(crate) seed: u64,
}

/// A box under measurement.
pub(crate) struct BoxEnd<'a> {
    venue: &'a Venue,
    line: &'a Line,
    load: Load,
    reader: BoxReader,
}

impl<'a> BoxEnd<'a> {
    /// Logs in. The box runs from here on, until it is frozen.
    pub(crate) fn open(venue: &'a Venue, line: &'a Line) -> anyhow::Result<Self> {
        let load = venue.login.open(venue.peer.order_entry, line)?;
        let keys = load.keys();
        Ok(Self {
            venue,
            line,
            reader: BoxReader::new(keys.conn_id, keys.keys.s2c.clone()),
            load,
        })
    }

    /// Sends one slice to the box, which runs meanwhile and not after.
    pub(crate) fn slice(
        &mut self,
        mix: Mix,
        due: &[u64],
        quiet_ns: u64,
        hand: &mut Hand,
    ) -> anyhow::Result<Tally> {
        self.load.prepare(mix, due.len(), &mut hand.prepared);
        self.venue.peer.thaw();
        std::thread::sleep(SETTLE);
        self.line.drain();
        let until = Until {
            messages: hand.prepared.reports,
            quiet_ns,
        };
        play(self.line, &hand.prepared, due, until, &mut hand.tape)?;
        self.venue.peer.freeze();
        let warm = due.len() / LEAD_IN;
        self.reader.read(&hand.prepared, due, warm, &hand.tape)
    }
}

/// The echo under measurement: it is sent what the box is sent.
pub(crate) struct EchoEnd<'a> {
    peer: &'a Peer,
    line: &'a Line,
    load: Load,
}

impl<'a> EchoEnd<'a> {
    /// It is sent requests like the box's, under keys that nobody knows. The echo runs until it is frozen.
    pub(crate) fn to(peer: &'a Peer, line: &'a Line, ground: Ground) -> Self {
        peer.freeze();
        let key = || TagKey::new(Suite::Aes128Gmac, &[7; 16], [7; 4]);
        let keys = Keys {
            conn_id: 1,
            keys: TagKeys {
                c2s: key(),
                s2c: key(),
            },
            packet_no: 0,
            next_client_seq: 1,
        };
        Self {
            peer,
            line,
            load: Load::new(keys, ground, 1),
        }
    }

    fn slice(
        &mut self,
        mix: Mix,
        due: &[u64],
        quiet_ns: u64,
        hand: &mut Hand,
    ) -> anyhow::Result<Tally> {
        self.load.prepare(mix, due.len(), &mut hand.prepared);
        self.peer.thaw();
        std::thread::sleep(SETTLE);
        self.line.drain();
        let until = Until {
            messages: due.len(),
            quiet_ns,
        };
        play(self.line, &hand.prepared, due, until, &mut hand.tape)?;
        self.peer.freeze();
        read_echo(&hand.prepared, due, due.len() / LEAD_IN, &hand.tape)
    }
}

/// Memory of the measuring client, used by one slice after the other.
pub(crate) struct Hand {
    prepared: Prepared,
    tape: Tape,
}

impl Hand {
    pub(crate) fn new() -> Self {
        Self {
            prepared: Prepared::default(),
            tape: Tape::new(SLICE_REQUESTS_MAX, SLICE_BYTES),
        }
    }
}

/// Requests of a slice of so many ms.
pub(crate) fn slice_requests(rate: u64, ms: u64) -> usize {
    let count = rate.saturating_mul(ms) / 1_000;
    (count as usize).clamp(20, SLICE_REQUESTS_MAX)
}

/// Echo and box, measured in turn.
pub(crate) struct Course<'a> {
    pub(crate) echo: EchoEnd<'a>,
    pub(crate) the_box: BoxEnd<'a>,
    pub(crate) hand: Hand,
    pub(crate) wanted: &'a Wanted,
    /// Looks after the processes between slices; an error ends the course.
    pub(crate) check: &'a mut dyn FnMut(&str) -> anyhow::Result<()>,
}

impl Course<'_> {
    /// Slices at one rate: echo, box, echo, box, until both have what is wanted.
    fn rate(&mut self, mix: Mix, rate: u64) -> anyhow::Result<(Tally, Tally)> {
        let w = self.wanted;
        let (mut echo, mut the_box) = (Tally::default(), Tally::default());
        let mut round = 0;
        while the_box.seconds < w.seconds || the_box.rtt.percentiles().count < w.samples {
            let count = slice_requests(rate, w.slice_ms);
            // The same plan for both.
            let due = due_times(w.arrivals, rate, count, w.seed + round);
            echo.merge(&self.echo.slice(mix, &due, QUIET_NS, &mut self.hand)?);
            the_box.merge(&self.the_box.slice(mix, &due, QUIET_NS, &mut self.hand)?);
            round += 1;
            (self.check)(&format!(
                "{} at {rate}/s, {:.0} s",
                mix.name(),
                the_box.seconds
            ))?;
        }
        Ok((echo, the_box))
    }

    /// Everything that is wanted, a row for each mix.
    pub(crate) fn run(&mut self) -> anyhow::Result<Vec<(Row, Curves)>> {
        let w = self.wanted;
        let (first, others) = w.mixes.split_first().context("no mix")?;
        // A slice of each warms up, and says early what does not work at all.
        let count = slice_requests(w.headline, w.slice_ms);
        let due = due_times(w.arrivals, w.headline, count, w.seed);
        self.echo.slice(*first, &due, QUIET_NS, &mut self.hand)?;
        self.the_box.slice(*first, &due, QUIET_NS, &mut self.hand)?;
        let mut rows = vec![self.headline(*first)?];
        let (row, _) = &mut rows[0];
        let status = self.status()?;
        row.stages(status.as_ref());
        for &rate in w.rates.iter().filter(|&&r| r != w.headline) {
            let (echo, the_box) = self.rate(*first, rate)?;
            row.rates.push(Point::of(rate, &echo, &the_box));
        }
        row.rates.sort_by_key(|p| p.rate);
        row.count_lost();
        for &mix in others {
            rows.push(self.headline(mix)?);
        }
        if w.search.1 > 0 {
            rows[0].0.sustained = Some(self.sustained(*first)?);
        }
        if let Some(status) = status {
            rows[0].1.stages = stage_curves(&status["stage_ns"]);
        }
        Ok(rows)
    }

    fn headline(&mut self, mix: Mix) -> anyhow::Result<(Row, Curves)> {
        let rate = self.wanted.headline;
        let (echo, the_box) = self.rate(mix, rate)?;
        let point = Point::of(rate, &echo, &the_box);
        let mut row = Row {
            mix: mix.name().to_owned(),
            rates: vec![point.clone()],
            headline: point,
            request_bytes: the_box.bytes.0,
            report_bytes: the_box.bytes.1,
            ..Row::default()
        };
        row.count_lost();
        let curves = Curves {
            echo: echo.rtt.curve(),
            the_box: the_box.rtt.curve(),
            ..Curves::default()
        };
        Ok((row, curves))
    }

    /// What the box says of itself; it must run to do so.
    fn status(&self) -> anyhow::Result<Option<Value>> {
        let venue = self.the_box.venue;
        venue.peer.thaw();
        // Its counters are shown every 100 ms.
        std::thread::sleep(10 * SETTLE);
        let status = venue.status();
        venue.peer.freeze();
        status
    }

    /// Looks for the highest rate of each, in turn.
    fn sustained(&mut self, mix: Mix) -> anyhow::Result<Sustained> {
        let w = self.wanted;
        let search = || Search::new(w.search.0, w.search.1);
        let mut ends = [(search(), false), (search(), false)];
        let mut seed = w.seed + 1_000_000;
        while ends.iter().any(|(s, _)| s.next().is_some()) {
            for (k, (search, client_bound)) in ends.iter_mut().enumerate() {
                let Some(rate) = search.next() else {
                    continue;
                };
                seed += 1;
                let count = slice_requests(rate, SEARCH_SLICE_MS);
                let due = due_times(w.arrivals, rate, count, seed);
                let tally = if k == 0 {
                    self.echo
                        .slice(mix, &due, SEARCH_QUIET_NS, &mut self.hand)?
                } else {
                    self.the_box
                        .slice(mix, &due, SEARCH_QUIET_NS, &mut self.hand)?
                };
                let is_late = tally.late.percentiles().p99 > CLIENT_LATE_MAX_NS;
                let holds = tally.lost == 0
                    && tally.refusals() == 0
                    && !is_late
                    && tally.rtt.percentiles().p99 <= w.p99_max_ns;
                search.judge(holds);
                if !holds {
                    *client_bound = is_late && tally.lost == 0;
                }
                let name = ["echo", "box"][k];
                (self.check)(&format!("search: {name} at {rate}/s"))?;
            }
        }
        let [(echo, echo_bound), (the_box, box_bound)] = ends;
        let ratio = match echo.held() {
            0 => 0.0,
            e => the_box.held() as f64 / e as f64,
        };
        Ok(Sustained {
            echo_per_s: echo.held(),
            box_per_s: the_box.held(),
            ratio,
            p99_max_ns: w.p99_max_ns,
            echo_client_bound: echo_bound || echo.is_open_ended(),
            box_client_bound: box_bound || the_box.is_open_ended(),
        })
    }
}

impl Row {
    fn count_lost(&mut self) {
        self.lost = self.rates.iter().map(|p| p.echo_lost + p.box_lost).sum();
    }

    /// Takes over what the box's status says of its stages.
    fn stages(&mut self, status: Option<&Value>) {
        let Some(status) = status else { return };
        let stages: BTreeMap<String, Percentiles> =
            serde_json::from_value(status["stage_ns"].clone()).unwrap_or_default();
        let median = |key: &str| stages.get(key).map(|s| s.p50).filter(|v| *v > 0);
        // Both from the box's clock and of the same requests; the first is a part of the second.
        let share = median("matched_durable").zip(median("rx_tx"));
        self.group_commit_share = share.map(|(wait, whole)| wait as f64 / whole as f64);
        self.stage_ns = stages;
        let us = |name: &str| status["journal"][name].as_u64();
        self.group_commit_us = us("p50_us").zip(us("p99_us")).map(|(a, b)| [a, b]);
    }
}
