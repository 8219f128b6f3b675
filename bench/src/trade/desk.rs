//! One member's session with what it trades and what it waits for.

use super::tally::Tally;
use crate::clock::now_ns;
use crate::flow::Order;
use crate::flow::synthetic::{Arrivals, Maker, Quote, Taker};
use crate::scenario::{Listing, Member, Venue};
use crate::sockets::Sockets;
use anyhow::{Context as _, bail};
use client::{Config, Credentials, Event, PublicKey, Report, Request, SecretKey, Session};
use firmware::tag::SuiteSet;
use firmware::units::{MemberId, TimeNs};
use std::collections::BTreeMap;

/// Where a desk's orders come from.
#[derive(Debug)]
pub(super) enum Strategy {
    Maker(Maker, Arrivals),
    Taker(Taker, Arrivals),
    /// The floor's plan.
    Plan,
}

impl Strategy {
    /// A maker that acts `per_1000_s` times in a thousand seconds.
    pub(super) fn maker(maker: Maker, seed: u64, stream: u64, per_1000_s: u64) -> Self {
        Self::Maker(maker, Arrivals::new(seed, stream, per_1000_s))
    }
    /// A taker that acts `per_1000_s` times in a thousand seconds.
    pub(super) fn taker(taker: Taker, seed: u64, stream: u64, per_1000_s: u64) -> Self {
        Self::Taker(taker, Arrivals::new(seed, stream, per_1000_s))
    }

    /// When it acts next, ns since the start.
    pub(super) fn due(&self) -> Option<u64> {
        match self {
            Self::Maker(_, arrivals) | Self::Taker(_, arrivals) => Some(arrivals.due()),
            Self::Plan => None,
        }
    }

    /// Takes the event that is due.
    pub(super) fn act(&mut self, name: u64, market: &[Quote]) -> Option<Order> {
        match self {
            Self::Maker(maker, arrivals) => {
                arrivals.take();
                maker.act(name, market)
            }
            Self::Taker(taker, arrivals) => {
                let at = arrivals.take();
                taker.act(at, market)
            }
            Self::Plan => None,
        }
    }
}

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug)]
struct Sent {
    planned_ns: u64,
    sent_ns: u64,
}

/// A member at work.
pub(super) struct Desk {
    member: u32,
    name: String,
    pub(super) accounts: Vec<u32>,
    session: Session<Sockets>,
    pub(super) strategy: Strategy,
    /// Client order id of the last request.
    last_name: u64,
    /// By number of the request.
    in_flight: BTreeMap<u64, Sent>,
    /// The venue's names of orders that may rest, by ours: a name of ours is forgotten by the venue after
    /// some thousand further requests, its own never.
    venue_names: BTreeMap<u64, u64>,
}

/// What a report answers.
struct Answer {
    client_seq: u64,
    cl_ord_id: u64,
    rx_time: u64,
    engine_time: u64,
}

fn answer(report: &Report) -> Option<Answer> {
    let (client_seq, cl_ord_id, rx_time, engine_time) = match report {
        Report::Accepted(m) => (m.client_seq, m.cl_ord_id, m.rx_time, m.engine_time),
        Report::Rejected(m) => (m.client_seq, m.cl_ord_id, m.rx_time, m.engine_time),
        Report::Replaced(m) => (m.client_seq, m.cl_ord_id, m.rx_time, m.engine_time),
        Report::Canceled(m) => (m.client_seq, m.request_cl_ord_id, m.rx_time, m.engine_time),
        Report::MassCancelAck(m) => (m.client_seq, m.cl_ord_id, m.rx_time, m.engine_time),
        Report::WithdrawReport(m) => (m.client_seq, m.cl_ord_id, m.rx_time, m.engine_time),
        _ => return None,
    };
    (client_seq != 0).then_some(Answer {
        client_seq,
        cl_ord_id,
        rx_time,
        engine_time,
    })
}

impl Desk {
    /// Begins a login; [`take_in`](Self::take_in) completes it.
    pub(super) fn open(
        member: &Member,
        venue: &Venue,
        sockets: Sockets,
        strategy: Strategy,
    ) -> anyhow::Result<Self> {
        let key = SecretKey::load(&venue.keys.join(format!("member-{}.key", member.id)))?;
        let credentials = Credentials {
            member: MemberId(member.id),
            key_id: 1,
            key,
            venue: PublicKey::from_hex(&venue.public_key)?,
            suites: SuiteSet::SAFE,
        };
        let config = Config::new(
            venue.order_entry.parse().context("order-entry address")?,
            credentials,
        );
        let session = Session::start(config, sockets, TimeNs(now_ns()))?;
        Ok(Self {
            member: member.id,
            name: member.name.clone(),
            accounts: member.accounts.clone(),
            session,
            strategy,
            last_name: 0,
            in_flight: BTreeMap::new(),
            venue_names: BTreeMap::new(),
        })
    }

    pub(super) fn is_open(&self) -> bool {
        self.session.is_open()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The client order id that the next request will have.
    pub(super) fn next_name(&self) -> u64 {
        self.last_name + 1
    }

    /// Sends a request at once.
    pub(super) fn send(
        &mut self,
        order: &Order,
        planned_ns: u64,
        listings: &[Listing],
        tally: &mut Tally,
    ) {
        self.last_name += 1;
        let mut request = order.request(self.last_name, listings);
        let venue = |name: u64| self.venue_names.get(&name).copied().unwrap_or(0);
        match &mut request {
            Request::Replace(m) => m.order_id = venue(m.orig_cl_ord_id),
            Request::Cancel(m) => m.order_id = venue(m.orig_cl_ord_id),
            _ => {}
        }
        match self.session.send(&request) {
            Ok(client_seq) => {
                let sent_ns = now_ns();
                self.session.flush(TimeNs(sent_ns));
                self.in_flight.insert(
                    client_seq,
                    Sent {
                        planned_ns,
                        sent_ns,
                    },
                );
                tally.sent(self.member, self.last_name, &request);
            }
            // The venue is far behind, or gone: the strategy must not wait for this one.
            Err(_) => {
                tally.not_sent += 1;
                self.lost(self.last_name);
            }
        }
    }

    fn lost(&mut self, name: u64) {
        if let Strategy::Maker(maker, _) = &mut self.strategy {
            maker.lost(name);
        }
    }

    /// Reads what has come. `at` gives the place of an instrument in the market.
    pub(super) fn take_in(
        &mut self,
        tally: &mut Tally,
        at: impl Fn(u16) -> Option<usize>,
    ) -> anyhow::Result<()> {
        while let Some(event) = self.session.poll(TimeNs(now_ns())) {
            match event {
                Event::Established { .. } => {}
                Event::Report { report, .. } => self.on_report(&report, tally, &at),
                Event::NotApplied {
                    client_seq,
                    request,
                } => {
                    self.in_flight.remove(&client_seq);
                    tally.not_applied += 1;
                    self.lost(name_of(&request));
                }
                Event::UnknownReport { seq } => {
                    bail!("{}: report {seq} is of an unknown kind", self.name)
                }
                Event::ReportsGone { from, count } => {
                    bail!("{}: {count} reports from {from} on are gone", self.name)
                }
                Event::Ended(reason) => bail!("{}: {reason}", self.name),
            }
        }
        Ok(())
    }

    fn on_report(
        &mut self,
        report: &Report,
        tally: &mut Tally,
        at: &impl Fn(u16) -> Option<usize>,
    ) {
        if let Some(a) = answer(report)
            && let Some(sent) = self.in_flight.remove(&a.client_seq)
        {
            let now = now_ns();
            tally.rtt(
                now.saturating_sub(sent.sent_ns),
                now.saturating_sub(sent.planned_ns),
            );
            if a.rx_time != 0 {
                tally.parts(sent.sent_ns, a.rx_time, a.engine_time, now);
            }
            tally.answered(self.member, a.client_seq, a.cl_ord_id, report);
        }
        match report {
            Report::Accepted(m) => {
                self.venue_names.insert(m.cl_ord_id, m.order_id);
            }
            Report::Replaced(m) => {
                self.venue_names.retain(|_, id| *id != m.prev_order_id);
                self.venue_names.insert(m.cl_ord_id, m.order_id);
            }
            Report::Canceled(m) if m.leaves == 0 => {
                self.venue_names.remove(&m.cl_ord_id);
            }
            Report::Filled(m) if m.leaves == 0 => {
                self.venue_names.remove(&m.cl_ord_id);
            }
            _ => {}
        }
        tally.saw(self.member, report);
        match &mut self.strategy {
            Strategy::Maker(maker, _) => maker.on_report(report, at),
            Strategy::Taker(taker, _) => taker.on_report(report),
            Strategy::Plan => {}
        }
    }

    /// Logs out.
    pub(super) fn terminate(&mut self) {
        self.session.terminate(TimeNs(now_ns()));
    }
}

/// Client's name of a request of the kinds that a desk sends.
const fn name_of(request: &client::Sent) -> u64 {
    match request {
        client::Sent::Request(Request::NewOrder(m)) => m.cl_ord_id,
        client::Sent::Request(Request::Replace(m)) => m.cl_ord_id,
        client::Sent::Request(Request::Cancel(m)) => m.cl_ord_id,
        client::Sent::Request(Request::MassCancel(m)) => m.cl_ord_id,
        client::Sent::Request(Request::Withdraw(m)) => m.cl_ord_id,
        _ => panic!("a desk sends no such request"),
    }
}
