//! `bench trade`: members as real clients over UDP. One process has several sessions on one thread; it sleeps
//! between sends and wakes for answers.

mod desk;
mod tally;

use crate::clock::{Deadline, now_ns};
use crate::flow::reconcile::Reconciler;
use crate::flow::synthetic::{MAKER_RATE, Maker, Quote, TAKER_RATE, Taker, fills_per_1000_s};
use crate::flow::{Order, Step};
use crate::scenario::{Kind, Listing, Role, RunFile, Source};
use crate::sockets::{Sockets, sleep};
use anyhow::{Context as _, bail};
use client::{Feed, FeedConfig, FeedEvent, FeedMessage};
use desk::{Desk, Strategy};
use firmware::units::{Side, TimeNs};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;
use tally::Tally;
pub(crate) use tally::TradeResult;

/// Longest sleep: sessions have timers of their own.
const NAP: Duration = Duration::from_millis(10);
/// Sends of one turn at most, so that answers are read in between.
const BURST: usize = 32;
/// How long sessions may take to open and marks to appear.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// What the feed says of an answered request is here after this time.
const SETTLE: Duration = Duration::from_millis(50);
/// How long the last answers may take.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// Which members this process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Part {
    /// All makers of a synthetic flow.
    Makers,
    /// All takers of a synthetic flow.
    Takers,
    /// All members of a recorded flow: one thread keeps its order.
    Recorded,
}

/// `bench trade`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Run file that `bench demo` wrote.
    #[arg(long)]
    run: PathBuf,
    /// Which members.
    #[arg(long, value_enum)]
    part: Part,
    /// Where to write each answered request.
    #[arg(long)]
    acks: PathBuf,
    /// Where to write the figures at the end.
    #[arg(long)]
    result: PathBuf,
}

/// Trades from the line `start <ns>` on standard input until the scenario's time is over, then obeys
/// `withdraw <account> <micro>` and `finish`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let file = RunFile::read(&args.run)?;
    let mut floor = Floor::open(&file, args)?;
    floor.wait_until_ready()?;
    say(&json!({"event": "ready", "sessions": floor.desks.len()}));
    let start_ns = floor.wait_for_start()?;
    floor.trade(start_ns, file.scenario.seconds)?;
    floor.drain()?;
    say(&json!({"event": "traded", "unanswered": floor.unanswered()}));
    floor.obey()?;
    floor.close(args)
}

fn say(value: &serde_json::Value) {
    use std::io::Write as _;
    // A parent that does not listen any more has closed standard input too, which ends us.
    let _ = writeln!(std::io::stdout(), "{value}");
}

/// All desks of the process, the feed, and what they saw.
struct Floor {
    desks: Vec<Desk>,
    /// Place of a member's desk.
    by_member: BTreeMap<u32, usize>,
    feed: Feed<Sockets>,
    listings: Vec<Listing>,
    /// Place of an instrument in `listings` and `market`.
    places: BTreeMap<u16, usize>,
    market: Vec<Quote>,
    plan: VecDeque<Step>,
    handles: Vec<OwnedFd>,
    tally: Tally,
    last_sent_ns: u64,
    commands: Receiver<String>,
}

impl Floor {
    fn open(file: &RunFile, args: &Args) -> anyhow::Result<Self> {
        let s = &file.scenario;
        let venue = &file.venue;
        let chosen: Vec<_> = s
            .members
            .iter()
            .filter(|m| match args.part {
                Part::Makers => m.role == Role::Maker,
                Part::Takers => m.role == Role::Taker,
                Part::Recorded => true,
            })
            .collect();
        let count = chosen.len() as u64;
        let mut handles = Vec::new();
        let mut desks = Vec::new();
        for member in &chosen {
            let account = *member
                .accounts
                .first()
                .with_context(|| format!("{} has no account", member.name))?;
            let stream = u64::from(member.id);
            let strategy = match args.part {
                Part::Makers => Strategy::maker(
                    Maker::new(s.seed, account, s.listings.len()),
                    s.seed,
                    stream,
                    MAKER_RATE * 1_000 / count,
                ),
                Part::Takers => Strategy::taker(
                    Taker::new(s.seed, account, fills_per_1000_s(s.deposits.len()) / count),
                    s.seed,
                    stream,
                    TAKER_RATE * 1_000 / count,
                ),
                Part::Recorded => Strategy::Plan,
            };
            let sockets = Sockets::new(&venue.order_entry, None)?;
            handles.extend(sockets.handles()?);
            desks.push(Desk::open(member, venue, sockets, strategy)?);
        }
        let line = if args.part == Part::Takers {
            &venue.taker_feed
        } else {
            &venue.maker_feed
        };
        let sockets = Sockets::new(&venue.feed_requests, Some(line))?;
        handles.extend(sockets.handles()?);
        let config = FeedConfig::new(line.parse().context("feed address")?, None);
        let plan = match (&s.source, args.part) {
            (Source::Recorded(steps), Part::Recorded) => steps.iter().copied().collect(),
            (Source::Synthetic, Part::Makers | Part::Takers) => VecDeque::new(),
            _ => bail!("the run file's flow is not for this part"),
        };
        Ok(Self {
            by_member: chosen.iter().enumerate().map(|(k, m)| (m.id, k)).collect(),
            desks,
            feed: Feed::over(sockets, &config),
            places: s
                .listings
                .iter()
                .enumerate()
                .map(|(k, l)| (l.id, k))
                .collect(),
            market: s.listings.iter().map(empty_quote).collect(),
            listings: s.listings.clone(),
            plan,
            handles,
            tally: Tally::create(&args.acks, s.market.clone().map(Reconciler::new))?,
            last_sent_ns: 0,
            commands: crate::worker::stdin_lines(),
        })
    }

    /// Reads everything that has come.
    fn take_in(&mut self) -> anyhow::Result<()> {
        let places = &self.places;
        for desk in &mut self.desks {
            desk.take_in(&mut self.tally, |i| places.get(&i).copied())?;
        }
        let mut moved = false;
        while let Some(event) = self.feed.poll(TimeNs(now_ns())).context("feed socket")? {
            if let FeedEvent::Message { message, .. } = event {
                self.tally.feed_messages += 1;
                moved = true;
                if let FeedMessage::OrderExecuted(m) = message
                    && let Some(reconciler) = &mut self.tally.reconciler
                {
                    reconciler.trade(m.quantity);
                }
                if let FeedMessage::MarkPrice(m) = message
                    && let Some(&at) = self.places.get(&m.instrument)
                {
                    let l = &self.listings[at];
                    let tick = l.wire_price(1);
                    let quote = &mut self.market[at];
                    quote.mark = Some(m.mark_micro / l.tick_value_micro());
                    quote.collar = (m.collar_low / tick, m.collar_high / tick);
                }
            }
        }
        if moved {
            for (quote, l) in self.market.iter_mut().zip(&self.listings) {
                let Some(book) = self.feed.book(l.id) else {
                    continue;
                };
                let tick = l.wire_price(1);
                quote.bid = book.best_bid().map(|level| level.price / tick);
                quote.ask = book.best_ask().map(|level| level.price / tick);
            }
        }
        Ok(())
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Deadline::after(READY_PATIENCE);
        loop {
            self.take_in()?;
            if self.desks.iter().all(Desk::is_open) && self.market.iter().all(|q| q.mark.is_some())
            {
                return Ok(());
            }
            if let Err(TryRecvError::Disconnected) = self.commands.try_recv() {
                bail!("the parent is gone");
            }
            if deadline.passed() {
                let open = self.desks.iter().filter(|d| d.is_open()).count();
                let marks = self.market.iter().filter(|q| q.mark.is_some()).count();
                bail!(
                    "not ready after {} s: {open} of {} sessions open, marks of {marks} of {} instruments on the feed",
                    READY_PATIENCE.as_secs(),
                    self.desks.len(),
                    self.market.len()
                );
            }
            sleep(&self.handles, NAP);
        }
    }

    fn wait_for_start(&mut self) -> anyhow::Result<u64> {
        loop {
            self.take_in()?;
            match self.commands.try_recv() {
                Ok(line) => {
                    let ns = line
                        .strip_prefix("start ")
                        .with_context(|| format!("{line:?} instead of start"))?;
                    return ns.trim().parse().context("start: no time");
                }
                Err(TryRecvError::Disconnected) => bail!("the parent is gone"),
                Err(TryRecvError::Empty) => sleep(&self.handles, NAP),
            }
        }
    }

    /// When the next send is planned, ns since the epoch.
    fn next_due(&self, start_ns: u64) -> u64 {
        let planned = self.plan.front().map(|s| s.at_ns);
        let drawn = self.desks.iter().filter_map(|d| d.strategy.due()).min();
        start_ns.saturating_add(
            planned
                .into_iter()
                .chain(drawn)
                .min()
                .unwrap_or(u64::MAX / 2),
        )
    }

    fn trade(&mut self, start_ns: u64, seconds: u64) -> anyhow::Result<()> {
        let end_ns = start_ns + seconds * 1_000_000_000;
        let mut told_ns = start_ns;
        loop {
            self.take_in()?;
            let now = now_ns();
            if now >= end_ns
                && self
                    .plan
                    .front()
                    .is_none_or(|s| start_ns + s.at_ns > end_ns)
            {
                break;
            }
            if now >= told_ns + 1_000_000_000 {
                told_ns += 1_000_000_000;
                say(&self.tally.progress(now - start_ns));
            }
            for _ in 0..BURST {
                let now = now_ns();
                // Before every send: a step behind the moment must not come first.
                self.look(start_ns, false);
                let due = self.next_due(start_ns);
                if due > now {
                    break;
                }
                self.send_next(start_ns, due);
            }
            let left = self.next_due(start_ns).min(end_ns).saturating_sub(now_ns());
            if left > 0 {
                sleep(&self.handles, Duration::from_nanos(left).min(NAP));
            }
            if let Err(TryRecvError::Disconnected) = self.commands.try_recv() {
                bail!("the parent is gone");
            }
        }
        say(&self.tally.progress(now_ns() - start_ns));
        self.wait_for_answers()?;
        sleep(&self.handles, SETTLE);
        self.take_in()?;
        self.look(start_ns, true);
        Ok(())
    }

    /// Compares the best prices with the recorded ones, if it is time: after all steps up to the moment, and
    /// when they are answered and the feed is here, but before the step behind it. `over`: no step follows.
    fn look(&mut self, start_ns: u64, over: bool) {
        let settled = self.unanswered() == 0;
        let Some(reconciler) = &mut self.tally.reconciler else {
            return;
        };
        while let Some(at_ns) = reconciler.next_look_ns() {
            let now = now_ns();
            let next_ns = self.plan.front().map(|step| step.at_ns);
            if !over && (now < start_ns + at_ns || next_ns.is_some_and(|next| next <= at_ns)) {
                return;
            }
            let settled = settled && (over || now >= self.last_sent_ns + SETTLE.as_nanos() as u64);
            let pressing = next_ns.is_some_and(|next| now >= start_ns + next);
            if !settled && !pressing && !over {
                return;
            }
            let Some(listing) = self.listings.first() else {
                return;
            };
            let book = self.feed.book(listing.id);
            let best = [Side::Buy, Side::Sell].map(|side| {
                let level = book?.levels(side).next()?;
                let first = book?.queue(side, level.price).next()?;
                Some((level.price / listing.wire_price(1), first.order_id))
            });
            reconciler.look(best, settled);
        }
    }

    /// Sends what is due at `due_ns`.
    fn send_next(&mut self, start_ns: u64, due_ns: u64) {
        if let Some(step) = self.plan.front().copied()
            && start_ns + step.at_ns == due_ns
        {
            self.plan.pop_front();
            // Checked when the plan was made: every step has a member.
            if let Some(&at) = self.by_member.get(&step.member) {
                self.last_sent_ns = now_ns();
                self.desks[at].send(&step.order, due_ns, &self.listings, &mut self.tally);
            }
            return;
        }
        let Some(desk) = self
            .desks
            .iter_mut()
            .find(|d| d.strategy.due().is_some_and(|t| start_ns + t == due_ns))
        else {
            return;
        };
        if let Some(order) = desk.strategy.act(desk.next_name(), &self.market) {
            desk.send(&order, due_ns, &self.listings, &mut self.tally);
        }
    }

    /// Takes all orders off and waits for the last answers.
    fn drain(&mut self) -> anyhow::Result<()> {
        let now = now_ns();
        for desk in &mut self.desks {
            for account in desk.accounts.clone() {
                let order = Order {
                    account,
                    instrument: firmware::wire::sbe::ID16_NULL,
                    ask: crate::flow::Ask::MassCancel {
                        side: firmware::wire::sbe::BYTE_NULL,
                    },
                };
                desk.send(&order, now, &self.listings, &mut self.tally);
            }
        }
        self.wait_for_answers()
    }

    fn wait_for_answers(&mut self) -> anyhow::Result<()> {
        let deadline = Deadline::after(DRAIN_PATIENCE);
        while self.unanswered() > 0 && !deadline.passed() {
            self.take_in()?;
            sleep(&self.handles, NAP);
        }
        Ok(())
    }

    fn unanswered(&self) -> u64 {
        self.desks.iter().map(|d| d.in_flight() as u64).sum()
    }

    /// Follows commands until `finish`.
    fn obey(&mut self) -> anyhow::Result<()> {
        loop {
            self.take_in()?;
            match self.commands.try_recv() {
                Ok(line) => {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    match words[..] {
                        ["finish"] => return Ok(()),
                        ["withdraw", account, amount] => {
                            self.withdraw(
                                account.parse().context("account")?,
                                amount.parse().context("amount")?,
                            )?;
                        }
                        _ => bail!("{line:?} is no command"),
                    }
                }
                Err(TryRecvError::Disconnected) => bail!("the parent is gone"),
                Err(TryRecvError::Empty) => sleep(&self.handles, NAP),
            }
        }
    }

    fn withdraw(&mut self, account: u32, amount: i64) -> anyhow::Result<()> {
        let desk = self
            .desks
            .iter_mut()
            .find(|d| d.accounts.contains(&account));
        let desk = desk.with_context(|| format!("account {account} is not traded here"))?;
        let order = Order {
            account,
            instrument: 0,
            ask: crate::flow::Ask::Withdraw { amount },
        };
        desk.send(&order, now_ns(), &self.listings, &mut self.tally);
        self.wait_for_answers()?;
        match self.tally.withdrawn.take() {
            Some(Ok(batch_no)) => {
                say(
                    &json!({"event": "withdrawn", "account": account, "amount": amount, "batch_no": batch_no}),
                );
            }
            Some(Err(code)) => {
                say(&json!({"event": "withdraw_refused", "account": account, "code": code}))
            }
            None => {
                say(&json!({"event": "withdraw_refused", "account": account, "code": "no answer"}))
            }
        }
        Ok(())
    }

    fn close(mut self, args: &Args) -> anyhow::Result<()> {
        for desk in &mut self.desks {
            desk.terminate();
        }
        self.tally.feed_rerequests = self.feed.counters().rerequests;
        let unanswered = self.unanswered();
        let result = self.tally.finish(unanswered)?;
        let text = serde_json::to_string(&result).context("figures")?;
        std::fs::write(&args.result, text)
            .with_context(|| format!("cannot write {}", args.result.display()))
    }
}

fn empty_quote(l: &Listing) -> Quote {
    Quote {
        instrument: l.id,
        option: l.kind != Kind::Perpetual,
        ..Quote::default()
    }
}
