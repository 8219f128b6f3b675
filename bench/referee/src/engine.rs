//! The messages of the referee over our book.
//!
//! # Prices
//!
//! The book's instruments serve as page frames: a page is a run of prices of a fixed number of ticks,
//! and the window is [`FRAMES`] pages in a row, page `p` in frame `p mod FRAMES`. What lies outside
//! rests in the ordered tier (`src/cold.rs`). When the touch leaves the middle of the window, the
//! window moves: orders of pages that leave it go to the ordered tier, then orders of pages that entered
//! it come back, [`MOVES_PER_MESSAGE`] of them with each message, so no message pays for the way.
//!
//! One rule keeps time priority however far a move has got: at any price, orders in the book are older
//! than those in the ordered tier. So the newest leave first and the oldest return first, and a
//! new order at a price that the ordered tier holds joins its queue there.
//!
//! # Quantities
//!
//! An order of the book has at most [`ORDER_LOTS_MAX`] lots. What an order has beyond that is kept in
//! the flags that the book carries for its caller, and refills the lots in place: the order
//! keeps its place in the queue.
//!
//! # Work
//!
//! A message costs its fills, a bounded number of steps to find each price, and a bounded number of
//! moved orders.

use crate::abi::{self, Cancel, Message, Modify, NewOrder, Report, ReportKind};
use crate::cold::{Cold, ColdOrder};
use crate::ids::{Ids, Place};
use firmware::limits::ORDER_LOTS_MAX;
use firmware::units::{ClOrdId, InstrumentId, OrderId, PriceTicks, Side};
use matcher::book::{
    BOOK_ORDERS_MAX, BookError, BookLimits, LadderBook, MakerAction, OrderBook, OrderInfo,
    match_limit,
};

/// Pages of the window.
pub const FRAMES: u32 = 64;
/// Orders that change tiers with one message.
pub const MOVES_PER_MESSAGE: u32 = 8;

/// The touch may be this many pages from either end before the window moves.
const MARGIN_PAGES: i64 = FRAMES as i64 / 4;
/// Lowest price of a book's band: zero is no price there.
const BAND_BASE: i32 = 1;
/// Set in the place of an order of the ordered tier; the rest is its slot.
const IN_COLD: Place = 1 << 31;

const _: () = assert!(BOOK_ORDERS_MAX as u64 <= IN_COLD);
const _: () = assert!(FRAMES == u64::BITS);
// The lots beyond the book's largest order fit the flags.
const _: () = assert!(ORDER_LOTS_MAX < u32::MAX as i64);

/// Where reports go, in the order in which they are made.
pub trait Sink {
    /// Takes one report.
    fn push(&mut self, report: &Report);
}

impl Sink for Vec<Report> {
    fn push(&mut self, report: &Report) {
        self.push(*report);
    }
}

/// How much memory the engine takes at start. Nothing grows later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Orders that can rest at a time; `1..=BOOK_ORDERS_MAX`.
    pub orders: u32,
    /// Ticks of a page, as a power of two; `4..=18`. (Below, differences of pages could overflow.)
    pub page_bits: u32,
}

impl Limits {
    /// A million orders and a window of a million ticks.
    pub const FULL: Self = Self {
        orders: BOOK_ORDERS_MAX,
        page_bits: 14,
    };
}

/// What moves between the tiers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Task {
    /// Nothing.
    Idle,
    /// Orders of pages that will not be in the window when it begins with page `target`.
    Leave { target: i64 },
    /// Orders of the window's pages that rest in the ordered tier.
    Return,
}

/// A book behind the referee's messages. See the [module's page](self).
#[derive(Debug)]
pub struct Engine {
    book: LadderBook,
    cold: Cold,
    ids: Ids,
    page_bits: u32,
    orders_max: u32,
    /// Orders of both tiers.
    live: u32,
    /// Orders of the book with more lots than it holds.
    oversized: u32,
    /// First page of the window.
    first_page: i64,
    /// By side, the frames that hold orders of it.
    occupied: [u64; 2],
    task: Task,
}

/// What an order that matches is to the reports.
#[derive(Clone, Copy)]
struct Taker {
    id: u64,
    sequence: u64,
    side: Side,
    price: i64,
}

/// Whether a resting order of `side` at `price` meets `limit`; or: whether `price` is no worse than `limit`.
#[inline]
fn reaches(side: Side, price: i64, limit: i64) -> bool {
    match side {
        Side::Buy => price >= limit,
        Side::Sell => price <= limit,
    }
}

/// The better of two prices of a side, where there are any.
#[inline]
fn better(side: Side, a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if reaches(side, a, b) { a } else { b }),
        _ => a.or(b),
    }
}

impl Engine {
    /// Takes all memory. `seed` keys the hash of order ids.
    ///
    /// # Errors
    /// [`BookError::BadLimits`], [`BookError::BadBand`].
    pub fn new(limits: Limits, seed: u64) -> Result<Self, BookError> {
        let mut book = LadderBook::new(BookLimits {
            instruments: FRAMES as u16,
            orders: limits.orders,
        })?;
        if !(4..=18).contains(&limits.page_bits) {
            return Err(BookError::BadBand);
        }
        for frame in 0..FRAMES as u16 {
            book.list(
                InstrumentId(frame),
                PriceTicks(BAND_BASE),
                1 << limits.page_bits,
            )?;
        }
        Ok(Self {
            book,
            cold: Cold::new(limits.orders),
            ids: Ids::new(limits.orders, seed),
            page_bits: limits.page_bits,
            orders_max: limits.orders,
            live: 0,
            oversized: 0,
            first_page: 0,
            occupied: [0; 2],
            task: Task::Idle,
        })
    }

    /// One message of a batch. A kind that does not exist is no message: nothing happens.
    #[inline]
    pub fn message(&mut self, message: &Message, sink: &mut impl Sink) {
        match message.kind {
            abi::MESSAGE_NEW => self.new_order(&bytemuck::cast(message.body), sink),
            abi::MESSAGE_CANCEL => {
                let [id, sequence, ..] = message.body;
                self.cancel(&Cancel { id, sequence }, sink);
            }
            abi::MESSAGE_MODIFY => self.modify(&bytemuck::cast(message.body), sink),
            _ => {}
        }
    }

    /// A new order: one OrderAck, a Trade a fill, and a CancelAck for what neither traded nor rests. That
    /// is the remainder of an IOC, what no memory is left for, and all of an order under the id of
    /// one that rests (it does not trade).
    #[inline]
    pub fn new_order(&mut self, order: &NewOrder, sink: &mut impl Sink) {
        let taker = Taker {
            id: order.id,
            sequence: order.sequence,
            side: abi::side_of(order.side),
            price: order.price,
        };
        sink.push(&taker.report(ReportKind::OrderAck, order.quantity));
        let known = self.ids.get(order.id).is_some();
        let left = if known {
            order.quantity
        } else {
            self.take(taker, order.quantity, sink)
        };
        if left > 0 && (known || order.ioc != 0 || !self.rest(taker, left)) {
            sink.push(&taker.report(ReportKind::CancelAck, left));
        }
        self.work();
    }

    /// A cancel: CancelAck, or CancelReject if the order does not rest.
    #[inline]
    pub fn cancel(&mut self, cancel: &Cancel, sink: &mut impl Sink) {
        let report = match self.remove(cancel.id) {
            Some(order) => Report::of_order(
                ReportKind::CancelAck,
                cancel.sequence,
                cancel.id,
                order.side,
                order.price,
                order.quantity,
            ),
            None => Report::reject(ReportKind::CancelReject, cancel.sequence, cancel.id),
        };
        sink.push(&report);
        self.work();
    }

    /// A modify: the order leaves and comes back as a new one under its id; a Trade a fill, then
    /// one ModifyAck. ModifyReject if the order does not rest.
    #[inline]
    pub fn modify(&mut self, modify: &Modify, sink: &mut impl Sink) {
        if self.remove(modify.id).is_none() {
            sink.push(&Report::reject(
                ReportKind::ModifyReject,
                modify.sequence,
                modify.id,
            ));
        } else {
            let taker = Taker {
                id: modify.id,
                sequence: modify.sequence,
                side: abi::side_of(modify.side),
                price: modify.price,
            };
            let left = self.take(taker, modify.quantity, sink);
            if left > 0 {
                let rests = self.rest(taker, left);
                assert!(rests, "the order's own place is free");
            }
            sink.push(&taker.report(ReportKind::ModifyAck, modify.quantity));
        }
        self.work();
    }

    /// Best price of a side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<i64> {
        let hot = self.hot_best(side).map(|(_, price)| price);
        better(side, hot, self.cold.best(side))
    }

    /// Quantity that rests at a price.
    #[must_use]
    pub fn depth(&self, side: Side, price: i64) -> u64 {
        let cold = self.cold.depth(side, price);
        let Some(frame) = self.frame(price) else {
            return cold;
        };
        let ticks = self.ticks(price);
        let beyond: u64 = if self.oversized == 0 {
            0
        } else {
            let orders = self.book.orders(frame, side, ticks);
            orders.map(|order| u64::from(order.info.flags)).sum()
        };
        self.book.level(frame, side, ticks).lots + beyond + cold
    }

    /// Orders that rest.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Orders that rest outside the window.
    #[must_use]
    pub fn cold(&self) -> u32 {
        self.live - self.book.live() as u32
    }

    // Prices and frames.

    #[inline]
    fn page(&self, price: i64) -> i64 {
        price >> self.page_bits
    }

    /// The frame of a price inside the window.
    #[inline]
    fn frame(&self, price: i64) -> Option<InstrumentId> {
        let page = self.page(price);
        stays(page, self.first_page)
            .then(|| InstrumentId(page.rem_euclid(i64::from(FRAMES)) as u16))
    }

    /// A price as the book of its frame knows it.
    #[inline]
    fn ticks(&self, price: i64) -> PriceTicks {
        PriceTicks((price & ((1 << self.page_bits) - 1)) as i32 + BAND_BASE)
    }

    /// Lowest price of the page in a frame.
    #[inline]
    fn frame_base(&self, frame: InstrumentId) -> i64 {
        let ahead = (i64::from(frame.0) - self.first_page).rem_euclid(i64::from(FRAMES));
        (self.first_page + ahead) << self.page_bits
    }

    #[inline]
    fn price(&self, frame: InstrumentId, ticks: PriceTicks) -> i64 {
        self.frame_base(frame) + i64::from(ticks.0 - BAND_BASE)
    }

    /// Best price of a side inside the window, and its frame.
    #[inline]
    fn hot_best(&self, side: Side) -> Option<(InstrumentId, i64)> {
        let frames = self.occupied[side as usize];
        if frames == 0 {
            return None;
        }
        // From the first page upwards.
        let turn = self.first_page.rem_euclid(i64::from(FRAMES)) as u32;
        let pages = frames.rotate_right(turn);
        let page = match side {
            Side::Buy => FRAMES - 1 - pages.leading_zeros(),
            Side::Sell => pages.trailing_zeros(),
        };
        let frame = InstrumentId(((page + turn) % FRAMES) as u16);
        let ticks = self.book.best(frame, side).expect("the frame is occupied");
        Some((frame, self.price(frame, ticks)))
    }

    /// After an order of `side` left the book.
    #[inline]
    fn left_frame(&mut self, frame: InstrumentId, side: Side) {
        if self.book.best(frame, side).is_none() {
            self.occupied[side as usize] &= !(1 << frame.0);
        }
    }

    // Orders.

    /// Matches and gives back what is left.
    #[inline]
    fn take(&mut self, taker: Taker, quantity: u32, sink: &mut impl Sink) -> u32 {
        let side = taker.side.opposite();
        let mut left = quantity;
        while left > 0 {
            let hot = self.hot_best(side);
            let cold = self.cold.best(side);
            match (hot, cold) {
                // At the same price the book's orders are older.
                (Some((frame, price)), cold) if cold.is_none_or(|c| reaches(side, price, c)) => {
                    if !reaches(side, price, taker.price) {
                        break;
                    }
                    let limit = better(side, Some(taker.price), cold).unwrap_or(taker.price);
                    left = self.take_hot(taker, frame, limit, left, sink);
                }
                (_, Some(price)) if reaches(side, price, taker.price) => {
                    left = self.take_cold(taker, left, sink);
                }
                _ => break,
            }
        }
        left
    }

    /// Matches inside one frame, up to `limit` or the end of its page.
    #[inline]
    fn take_hot(
        &mut self,
        taker: Taker,
        frame: InstrumentId,
        limit: i64,
        quantity: u32,
        sink: &mut impl Sink,
    ) -> u32 {
        let side = taker.side.opposite();
        let base = self.frame_base(frame);
        let end = (1 << self.page_bits) - 1;
        // Prices of the page reach the limit, so only a limit worse than all of them is cut.
        let limit = limit.saturating_sub(base).clamp(0, end);
        let (ids, live) = (&mut self.ids, &mut self.live);
        let mut oversized = false;
        let left = match_limit(
            &mut self.book,
            frame,
            taker.side,
            PriceTicks(limit as i32 + BAND_BASE),
            i64::from(quantity),
            |meeting| {
                if meeting.maker.info.flags != 0 {
                    oversized = true;
                    return MakerAction::Stop;
                }
                let maker = meeting.maker.info.cl_ord_id.0;
                let price = base + i64::from(meeting.maker.price.0 - BAND_BASE);
                sink.push(&taker.trade(maker, price, meeting.lots as u32));
                if meeting.maker_remaining == 0 {
                    ids.remove(maker);
                    *live -= 1;
                }
                MakerAction::Fill
            },
        );
        let mut left = left as u32;
        if oversized {
            left = self.take_oversized(taker, frame, left, sink);
        }
        self.left_frame(frame, side);
        left
    }

    /// Trades with the oldest order of a frame, which has more lots than the book holds.
    #[cold]
    fn take_oversized(
        &mut self,
        taker: Taker,
        frame: InstrumentId,
        quantity: u32,
        sink: &mut impl Sink,
    ) -> u32 {
        let order = self.book.front(frame, taker.side.opposite());
        let order = order.expect("the matching loop stopped at an order");
        let (maker, open) = (order.info.cl_ord_id.0, open_quantity(&order));
        let traded = quantity.min(open);
        sink.push(&taker.trade(maker, self.price(frame, order.price), traded));
        let left = open - traded;
        if left == 0 {
            self.book.cancel(order.id);
            self.ids.remove(maker);
            self.live -= 1;
            self.oversized -= 1;
        } else {
            let (lots, beyond) = split(left);
            if lots < order.lots {
                self.book
                    .reduce(order.id, lots)
                    .expect("it has more lots than that");
            }
            let info = self.book.info_mut(order.id).expect("it is live");
            info.flags = beyond;
            self.oversized -= u32::from(beyond == 0);
        }
        quantity - traded
    }

    /// Trades with the oldest order of the ordered tier.
    fn take_cold(&mut self, taker: Taker, quantity: u32, sink: &mut impl Sink) -> u32 {
        let side = taker.side.opposite();
        let best = self.cold.best(side).expect("a price was found");
        let slot = self.cold.front_from(side, best).expect("its order too");
        let maker = self.cold.get(slot);
        let traded = quantity.min(maker.quantity);
        sink.push(&taker.trade(maker.id, maker.price, traded));
        if traded == maker.quantity {
            self.cold.remove(slot);
            self.ids.remove(maker.id);
            self.live -= 1;
        } else {
            self.cold.shrink(slot, traded);
        }
        quantity - traded
    }

    /// Rests an order that meets nothing; false if there is no memory left for it.
    #[inline]
    fn rest(&mut self, order: Taker, quantity: u32) -> bool {
        if self.live == self.orders_max {
            return false;
        }
        self.live += 1;
        if self.live == 1 {
            self.first_page = self.page(order.price) - i64::from(FRAMES) / 2;
            self.task = Task::Idle;
        }
        let order = ColdOrder {
            id: order.id,
            side: order.side,
            price: order.price,
            quantity,
        };
        let place = match self.hot_frame(order.side, order.price) {
            Some(frame) => self.insert(frame, order),
            None => IN_COLD | Place::from(self.cold.push_back(order)),
        };
        self.ids.insert(order.id, place);
        let from_edge = self.page(order.price) - self.first_page - MARGIN_PAGES;
        if !(0..i64::from(FRAMES) - 2 * MARGIN_PAGES).contains(&from_edge) {
            self.follow(order.side);
        }
        true
    }

    /// The frame that a new order at `price` rests in.
    #[inline]
    fn hot_frame(&self, side: Side, price: i64) -> Option<InstrumentId> {
        let frame = self.frame(price)?;
        let hot = match self.task {
            Task::Idle => true,
            Task::Leave { target } => stays(self.page(price), target),
            Task::Return => self.cold.depth(side, price) == 0,
        };
        hot.then_some(frame)
    }

    /// Rests an order in the book, behind all others of its price.
    #[inline]
    fn insert(&mut self, frame: InstrumentId, order: ColdOrder) -> Place {
        let (lots, beyond) = split(order.quantity);
        let info = OrderInfo {
            cl_ord_id: ClOrdId(order.id),
            flags: beyond,
            ..OrderInfo::default()
        };
        self.oversized += u32::from(beyond != 0);
        self.occupied[order.side as usize] |= 1 << frame.0;
        let id = self
            .book
            .insert(frame, order.side, self.ticks(order.price), lots, info);
        id.expect("the price is in the band, the lots are in range, a slot is free")
            .0
    }

    /// Takes an order out of its tier.
    #[inline]
    fn remove(&mut self, id: u64) -> Option<ColdOrder> {
        let place = self.ids.remove(id)?;
        self.live -= 1;
        Some(if place & IN_COLD == 0 {
            self.withdraw(OrderId(place))
        } else {
            self.cold.remove((place & !IN_COLD) as u32)
        })
    }

    /// Takes an order out of the book.
    #[inline]
    fn withdraw(&mut self, id: OrderId) -> ColdOrder {
        let order = self.book.cancel(id).expect("its place was known");
        self.oversized -= u32::from(order.info.flags != 0);
        self.left_frame(order.instrument, order.side);
        ColdOrder {
            id: order.info.cl_ord_id.0,
            side: order.side,
            price: self.price(order.instrument, order.price),
            quantity: open_quantity(&order),
        }
    }

    // The window.

    /// An order of `side` came to rest away from the middle of the window: the window moves if the
    /// touch is there too.
    #[cold]
    fn follow(&mut self, side: Side) {
        if self.task != Task::Idle {
            return;
        }
        let reach = (i64::from(FRAMES) / 2) << self.page_bits;
        let touch = [Side::Buy, Side::Sell].map(|side| self.best(side));
        let middle = match touch {
            [Some(bid), Some(ask)] if ask.checked_sub(bid).is_some_and(|gap| gap < reach) => {
                bid + (ask - bid) / 2
            }
            // No touch to stay in the middle of; while one side's is inside, the window serves.
            _ if touch.iter().flatten().any(|&p| self.frame(p).is_some()) => return,
            _ => touch[side as usize].expect("an order of the side rests"),
        };
        let page = self.page(middle);
        let from_edge = page - self.first_page - MARGIN_PAGES;
        if !(0..i64::from(FRAMES) - 2 * MARGIN_PAGES).contains(&from_edge) {
            self.task = Task::Leave {
                target: page - i64::from(FRAMES) / 2,
            };
        }
    }

    /// The part of a move that one message pays for.
    #[inline]
    fn work(&mut self) {
        if self.task != Task::Idle {
            self.move_some();
        }
    }

    #[cold]
    fn move_some(&mut self) {
        for _ in 0..MOVES_PER_MESSAGE {
            match self.task {
                Task::Idle => return,
                Task::Leave { target } => {
                    if !self.move_out(target) {
                        self.first_page = target;
                        self.task = Task::Return;
                    }
                }
                Task::Return => {
                    if !self.move_in(Side::Buy) && !self.move_in(Side::Sell) {
                        self.task = Task::Idle;
                    }
                }
            }
        }
    }

    /// Moves one order out of a page that leaves the window: the newest of its price.
    fn move_out(&mut self, target: i64) -> bool {
        for side in [Side::Buy, Side::Sell] {
            let leaving = |frame: u32| {
                let page = self.page(self.frame_base(InstrumentId(frame as u16)));
                self.occupied[side as usize] >> frame & 1 == 1 && !stays(page, target)
            };
            let Some(frame) = (0..FRAMES).find(|&frame| leaving(frame)) else {
                continue;
            };
            let frame = InstrumentId(frame as u16);
            let newest = self
                .book
                .best(frame, side)
                .and_then(|ticks| self.book.last_in_level(frame, side, ticks))
                .expect("the frame is occupied");
            let order = self.withdraw(newest);
            let slot = self.cold.push_front(order);
            self.ids.moved(order.id, IN_COLD | Place::from(slot));
            return true;
        }
        false
    }

    /// Best price of a side that the window could hold.
    fn window_best(&self, side: Side) -> i64 {
        let page = match side {
            Side::Buy => self.first_page + i64::from(FRAMES) - 1,
            Side::Sell => self.first_page,
        };
        // The window's ends may be beyond all prices.
        let base = page.clamp(self.page(i64::MIN), self.page(i64::MAX)) << self.page_bits;
        match side {
            Side::Buy => base + ((1 << self.page_bits) - 1),
            Side::Sell => base,
        }
    }

    /// Moves one order of a side back into the window: the oldest of the best price there.
    fn move_in(&mut self, side: Side) -> bool {
        let best = self.window_best(side);
        let Some(slot) = self.cold.front_from(side, best) else {
            return false;
        };
        let Some(frame) = self.frame(self.cold.get(slot).price) else {
            return false;
        };
        let order = self.cold.remove(slot);
        let place = self.insert(frame, order);
        self.ids.moved(order.id, place);
        true
    }

    /// Walks everything and panics at the first thing that is not as it must be. For tests.
    pub fn check(&self) {
        self.book.check_invariants();
        let cold = self.cold.check();
        assert_eq!(self.live as usize, self.book.live() + cold);
        let (mut oversized, mut seen) = (0, 0);
        for frame in (0..FRAMES as u16).map(InstrumentId) {
            for side in [Side::Buy, Side::Sell] {
                let occupied = self.occupied[side as usize] >> frame.0 & 1 == 1;
                assert_eq!(occupied, self.book.best(frame, side).is_some());
                for ticks in self.book.levels(frame, side) {
                    for order in self.book.orders(frame, side, ticks) {
                        seen += 1;
                        oversized += u32::from(order.info.flags != 0);
                        assert!(order.info.flags == 0 || order.lots == ORDER_LOTS_MAX);
                        assert_eq!(self.ids.get(order.info.cl_ord_id.0), Some(order.id.0));
                        let price = self.price(frame, ticks);
                        assert_eq!((self.frame(price), self.ticks(price)), (Some(frame), ticks));
                    }
                }
            }
        }
        assert_eq!((seen, oversized), (self.book.live(), self.oversized));
        if let (Some(bid), Some(ask)) = (self.best(Side::Buy), self.best(Side::Sell)) {
            assert!(bid < ask, "crossed");
        }
        if self.task == Task::Idle {
            for (side, first) in [
                (Side::Buy, self.window_best(Side::Buy)),
                (Side::Sell, self.window_best(Side::Sell)),
            ] {
                let next = self.cold.front_from(side, first);
                let next = next.map(|slot| self.cold.get(slot).price);
                let inside = next.is_some_and(|price| self.frame(price).is_some());
                assert!(
                    !inside,
                    "a price of the window was left in the ordered tier"
                );
            }
        }
    }
}

impl Taker {
    #[inline]
    fn report(&self, kind: ReportKind, quantity: u32) -> Report {
        Report::of_order(
            kind,
            self.sequence,
            self.id,
            self.side,
            self.price,
            quantity,
        )
    }

    #[inline]
    fn trade(&self, maker: u64, price: i64, quantity: u32) -> Report {
        Report::trade(self.sequence, self.id, self.side, maker, price, quantity)
    }
}

/// Whether a page is in the window that begins with `target`.
#[inline]
fn stays(page: i64, target: i64) -> bool {
    (0..i64::from(FRAMES)).contains(&(page - target))
}

/// A quantity as the lots that the book holds and those beyond.
#[inline]
fn split(quantity: u32) -> (i64, u32) {
    let lots = i64::from(quantity).min(ORDER_LOTS_MAX);
    (lots, quantity - lots as u32)
}

/// All that is open of an order of the book.
#[inline]
fn open_quantity(order: &matcher::book::Order) -> u32 {
    order.lots as u32 + order.info.flags
}
