//! What all tests of the referee's interface share: the slow twin, and the two ways to our engine.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod stream;

use firmware::units::Side;
use referee::abi::{self, Cancel, Message, Modify, NewOrder, Report, ReportKind};
use referee::exports::Transport;
use referee::{Engine, Limits};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something that answers the referee's messages and queries.
pub(crate) trait Subject {
    fn name(&self) -> &'static str;
    fn message(&mut self, message: &Message) -> Vec<Report>;
    /// With the interface's values for an empty side.
    fn best(&self) -> (i64, i64);
    fn depth(&self, price: i64, side: Side) -> u64;
}

/// The slow, obvious twin: what the interface says, in maps and queues.
#[derive(Default)]
pub(crate) struct Twin {
    /// Queues of (id, open quantity) by price: bids, asks.
    sides: [BTreeMap<i64, VecDeque<(u64, u32)>>; 2],
    resting: BTreeMap<u64, (Side, i64)>,
    pub(crate) orders_max: usize,
}

impl Twin {
    pub(crate) fn new(orders_max: u32) -> Self {
        Self {
            orders_max: orders_max as usize,
            ..Self::default()
        }
    }

    pub(crate) fn live(&self) -> usize {
        self.resting.len()
    }

    fn best_of(&self, side: Side) -> Option<i64> {
        let prices = &self.sides[side as usize];
        match side {
            Side::Buy => prices.keys().next_back().copied(),
            Side::Sell => prices.keys().next().copied(),
        }
    }

    /// Takes an order out; its side, price and open quantity.
    fn remove(&mut self, id: u64) -> Option<(Side, i64, u32)> {
        let (side, price) = self.resting.remove(&id)?;
        let prices = &mut self.sides[side as usize];
        let queue = prices.get_mut(&price).unwrap();
        let at = queue.iter().position(|order| order.0 == id).unwrap();
        let (_, open) = queue.remove(at).unwrap();
        if queue.is_empty() {
            prices.remove(&price);
        }
        Some((side, price, open))
    }

    fn rest(&mut self, id: u64, side: Side, price: i64, quantity: u32) {
        self.resting.insert(id, (side, price));
        let queue = self.sides[side as usize].entry(price).or_default();
        queue.push_back((id, quantity));
    }

    /// Matches; what is left.
    fn take(
        &mut self,
        (id, sequence): (u64, u64),
        side: Side,
        limit: i64,
        quantity: u32,
        reports: &mut Vec<Report>,
    ) -> u32 {
        let mut left = quantity;
        while left > 0 {
            let Some(price) = self.best_of(side.opposite()) else {
                break;
            };
            let crosses = match side {
                Side::Buy => price <= limit,
                Side::Sell => price >= limit,
            };
            if !crosses {
                break;
            }
            let queue = self.sides[side.opposite() as usize]
                .get_mut(&price)
                .unwrap();
            let (maker, open) = queue.front_mut().unwrap();
            let (maker, traded) = (*maker, left.min(*open));
            *open -= traded;
            let gone = *open == 0;
            left -= traded;
            reports.push(Report::trade(sequence, id, side, maker, price, traded));
            if gone {
                self.remove(maker);
            }
        }
        left
    }

    fn new_order(&mut self, order: NewOrder) -> Vec<Report> {
        let side = abi::side_of(order.side);
        let report = |kind, quantity| {
            Report::of_order(kind, order.sequence, order.id, side, order.price, quantity)
        };
        let mut reports = vec![report(ReportKind::OrderAck, order.quantity)];
        if self.resting.contains_key(&order.id) {
            if order.quantity > 0 {
                reports.push(report(ReportKind::CancelAck, order.quantity));
            }
            return reports;
        }
        let name = (order.id, order.sequence);
        let left = self.take(name, side, order.price, order.quantity, &mut reports);
        if left > 0 {
            if order.ioc != 0 || self.resting.len() == self.orders_max {
                reports.push(report(ReportKind::CancelAck, left));
            } else {
                self.rest(order.id, side, order.price, left);
            }
        }
        reports
    }

    fn modify(&mut self, modify: Modify) -> Vec<Report> {
        let side = abi::side_of(modify.side);
        if self.remove(modify.id).is_none() {
            return vec![Report::reject(
                ReportKind::ModifyReject,
                modify.sequence,
                modify.id,
            )];
        }
        let mut reports = Vec::new();
        let name = (modify.id, modify.sequence);
        let left = self.take(name, side, modify.price, modify.quantity, &mut reports);
        if left > 0 {
            self.rest(modify.id, side, modify.price, left);
        }
        reports.push(Report::of_order(
            ReportKind::ModifyAck,
            modify.sequence,
            modify.id,
            side,
            modify.price,
            modify.quantity,
        ));
        reports
    }

    fn cancel(&mut self, cancel: Cancel) -> Vec<Report> {
        let Cancel { id, sequence } = cancel;
        vec![match self.remove(id) {
            Some((side, price, open)) => {
                Report::of_order(ReportKind::CancelAck, sequence, id, side, price, open)
            }
            None => Report::reject(ReportKind::CancelReject, sequence, id),
        }]
    }
}

impl Subject for Twin {
    fn name(&self) -> &'static str {
        "the twin"
    }

    fn message(&mut self, message: &Message) -> Vec<Report> {
        match message.kind {
            abi::MESSAGE_NEW => self.new_order(bytemuck::cast(message.body)),
            abi::MESSAGE_CANCEL => {
                let [id, sequence, ..] = message.body;
                self.cancel(Cancel { id, sequence })
            }
            abi::MESSAGE_MODIFY => self.modify(bytemuck::cast(message.body)),
            _ => Vec::new(),
        }
    }

    fn best(&self) -> (i64, i64) {
        (
            self.best_of(Side::Buy).unwrap_or(i64::MIN),
            self.best_of(Side::Sell).unwrap_or(i64::MAX),
        )
    }

    fn depth(&self, price: i64, side: Side) -> u64 {
        let queue = self.sides[side as usize].get(&price);
        queue.map_or(0, |q| q.iter().map(|order| u64::from(order.1)).sum())
    }
}

/// The engine as a Rust value, with limits of the test's choice.
pub(crate) struct Direct(pub(crate) Engine);

impl Direct {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Engine::new(limits, 1).unwrap())
    }
}

impl Subject for Direct {
    fn name(&self) -> &'static str {
        "the engine"
    }

    fn message(&mut self, message: &Message) -> Vec<Report> {
        let mut reports = Vec::new();
        self.0.message(message, &mut reports);
        reports
    }

    fn best(&self) -> (i64, i64) {
        (
            self.0.best(Side::Buy).unwrap_or(i64::MIN),
            self.0.best(Side::Sell).unwrap_or(i64::MAX),
        )
    }

    fn depth(&self, price: i64, side: Side) -> u64 {
        self.0.depth(side, price)
    }
}

/// The exported symbols, as a C program declares them.
mod symbols {
    use super::{Cancel, Message, Modify, NewOrder, Transport, c_void};

    unsafe extern "C" {
        pub(super) fn engine_init(seed: u64, transport: *const Transport, sink: *mut c_void);
        pub(super) fn engine_shutdown();
        pub(super) fn engine_on_new_order(order: *const NewOrder);
        pub(super) fn engine_on_cancel(cancel: *const Cancel);
        pub(super) fn engine_on_modify(modify: *const Modify);
        pub(super) fn engine_on_batch(messages: *const Message, count: u32);
        pub(super) fn engine_flush();
        pub(super) fn engine_query_best_bid() -> i64;
        pub(super) fn engine_query_best_ask() -> i64;
        pub(super) fn engine_query_depth_at(price: i64, side: u8) -> u64;
    }
}

/// A queue that is full at every third push, so that the engine has to push again.
#[derive(Default)]
struct Stubborn {
    reports: Vec<Report>,
    pushes: u32,
}

unsafe extern "C" fn push(handle: *mut c_void, report: *const Report) -> c_int {
    // SAFETY: `handle` is the queue that `Exported` owns and touches only between calls.
    let (queue, report) = unsafe { (&mut *handle.cast::<Stubborn>(), *report) };
    queue.pushes += 1;
    if queue.pushes.is_multiple_of(3) {
        return 0;
    }
    queue.reports.push(report);
    1
}

static TRANSPORT: Transport = Transport {
    create: None,
    push: Some(push),
    drain: None,
    flush: None,
    destroy: None,
};

/// The engine behind its C interface; there is one a process, so tests wait for each other.
pub(crate) struct Exported {
    queue: *mut Stubborn,
    batched: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Exported {
    /// Starts it; `batched` hands every message over as a batch of one.
    pub(crate) fn start(batched: bool) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = Box::into_raw(Box::<Stubborn>::default());
        // SAFETY: one `Exported` at a time, and its queue outlives the engine.
        unsafe { symbols::engine_init(23, &raw const TRANSPORT, queue.cast()) };
        Self {
            queue,
            batched,
            _alone: alone,
        }
    }

    /// Hands over a run of messages as one batch.
    pub(crate) fn batch(&mut self, messages: &[Message]) -> Vec<Report> {
        // SAFETY: the engine runs and this is the only thread that calls it.
        unsafe {
            symbols::engine_on_batch(messages.as_ptr(), messages.len() as u32);
            symbols::engine_flush();
            core::mem::take(&mut (*self.queue).reports)
        }
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        // SAFETY: the engine runs; after its end nobody has the queue but us.
        unsafe {
            symbols::engine_shutdown();
            drop(Box::from_raw(self.queue));
        }
    }
}

impl Subject for Exported {
    fn name(&self) -> &'static str {
        "the exported functions"
    }

    fn message(&mut self, message: &Message) -> Vec<Report> {
        if self.batched {
            return self.batch(&[*message]);
        }
        let body = &raw const message.body;
        // SAFETY: the engine runs, this is the only thread that calls it, and the body is of the type
        // that the message says.
        unsafe {
            match message.kind {
                abi::MESSAGE_NEW => symbols::engine_on_new_order(body.cast()),
                abi::MESSAGE_CANCEL => symbols::engine_on_cancel(body.cast()),
                _ => symbols::engine_on_modify(body.cast()),
            }
            symbols::engine_flush();
            core::mem::take(&mut (*self.queue).reports)
        }
    }

    fn best(&self) -> (i64, i64) {
        // SAFETY: the engine runs and this is the only thread that calls it.
        unsafe {
            (
                symbols::engine_query_best_bid(),
                symbols::engine_query_best_ask(),
            )
        }
    }

    fn depth(&self, price: i64, side: Side) -> u64 {
        // SAFETY: the engine runs and this is the only thread that calls it.
        unsafe { symbols::engine_query_depth_at(price, side as u8) }
    }
}

/// Panics unless `subject` answers a message, and the audit queries after it, as the twin did.
pub(crate) fn compare(
    subject: &mut dyn Subject,
    twin: &Twin,
    message: &Message,
    expected: &[Report],
    prices: &[i64],
    at: &str,
) {
    let reports = subject.message(message);
    let (got, want): (&[u8], &[u8]) = (
        bytemuck::cast_slice(&reports),
        bytemuck::cast_slice(expected),
    );
    assert!(
        got == want,
        "{} at {at}: {message:?}\n got {reports:#?}\nwant {expected:#?}",
        subject.name()
    );
    assert_eq!(
        subject.best(),
        twin.best(),
        "best prices of {} at {at}",
        subject.name()
    );
    for &price in prices {
        for side in [Side::Buy, Side::Sell] {
            assert_eq!(
                subject.depth(price, side),
                twin.depth(price, side),
                "depth of {side:?} at {price} of {} at {at}",
                subject.name()
            );
        }
    }
}
