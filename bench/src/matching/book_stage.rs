//! Stage `book`: the order book with its matching loop. Included: price-time matching, level totals, the
//! engine's data kept beside each order, orders named by the book's own handles, a checksum over every
//! fill. Not included: accounts, margin, self-trade prevention, reports, journal.

use super::course::{Course, Finish, Target, book_hash};
use super::workload::{Command, Op, Totals, Workload};
use anyhow::{Result, ensure};
use firmware::units::{AccountId, ClOrdId, InstrumentId, OrderId, PriceTicks};
use matcher::book::{BOOK_ORDERS_MAX, BookLimits, MakerAction, OrderBook, OrderInfo, match_limit};
use std::hint::black_box;
use std::marker::PhantomData;

const INSTRUMENT: InstrumentId = InstrumentId(0);

/// A book whose orders are known by the workload's ids.
pub(super) struct Venue<B> {
    book: B,
    /// The book's name of each of the workload's orders; of a dead one it is a dead name.
    names: Vec<OrderId>,
    totals: Totals,
    /// Orders that the book would not rest.
    refused: u64,
}

impl<B: OrderBook> Venue<B> {
    /// Orders that rest.
    pub(super) fn live(&self) -> u64 {
        self.book.live() as u64
    }

    /// Fills so far.
    pub(super) const fn totals(&self) -> Totals {
        self.totals
    }

    #[inline]
    fn take(&mut self, command: &Command) -> i64 {
        let totals = &mut self.totals;
        let (side, limit) = (command.side, PriceTicks(command.price));
        match_limit(
            &mut self.book,
            INSTRUMENT,
            side,
            limit,
            i64::from(command.lots),
            |m| {
                totals.add(
                    m.maker.info.cl_ord_id.0 as u32,
                    command.id,
                    m.maker.price.0,
                    m.lots as u32,
                );
                MakerAction::Fill
            },
        )
    }

    #[inline]
    fn enter(&mut self, command: &Command) {
        let lots = self.take(command);
        if lots == 0 {
            return;
        }
        let info = OrderInfo {
            account: AccountId(command.id & 0xFFFF),
            session: 0,
            cl_ord_id: ClOrdId(u64::from(command.id)),
            flags: 0,
        };
        match self.book.insert(
            INSTRUMENT,
            command.side,
            PriceTicks(command.price),
            lots,
            info,
        ) {
            Ok(id) => self.names[command.id as usize] = id,
            Err(_) => self.refused += 1,
        }
    }
}

impl<B: OrderBook> Target<Command> for Venue<B> {
    #[inline]
    fn apply(&mut self, command: &Command) {
        match command.op {
            Op::Limit => self.enter(command),
            // The account is what a venue releases the order's margin to.
            Op::Cancel => {
                let cancelled = self.book.cancel(self.names[command.id as usize]);
                black_box(cancelled.map(|order| order.info.account));
            }
            // A replace of a dead order is a reject.
            Op::Replace => {
                if self.book.cancel(self.names[command.id as usize]).is_some() {
                    self.enter(command);
                }
            }
            Op::Ioc => {
                self.take(command);
            }
        }
    }
}

/// A workload through the book `B`.
pub(super) struct BookCourse<'a, B> {
    workload: &'a Workload,
    book: PhantomData<B>,
}

impl<'a, B> BookCourse<'a, B> {
    pub(super) const fn new(workload: &'a Workload) -> Self {
        Self {
            workload,
            book: PhantomData,
        }
    }
}

impl<B: OrderBook> Course for BookCourse<'_, B> {
    type Command = Command;
    type Run = Venue<B>;

    fn start(&self) -> Result<Venue<B>> {
        // The arena of a whole venue, not one cut to the workload.
        let mut book = B::new(BookLimits {
            instruments: 1,
            orders: BOOK_ORDERS_MAX,
        })?;
        book.list(
            INSTRUMENT,
            PriceTicks(self.workload.price_min),
            self.workload.width_ticks(),
        )?;
        let names = vec![black_box(OrderId(0)); self.workload.id_max as usize + 1];
        Ok(Venue {
            book,
            names,
            totals: Totals::default(),
            refused: 0,
        })
    }

    fn warmup(&self) -> &[Command] {
        self.workload.warmup()
    }

    fn timed(&self) -> &[Command] {
        self.workload.timed()
    }

    fn finish(&self, mut venue: Venue<B>) -> Result<Finish> {
        let (book_hash, live) = (book_hash(&venue.book, INSTRUMENT), venue.live());
        self.workload.drain().iter().for_each(|c| venue.apply(c));
        ensure!(
            venue.refused == 0,
            "the book refused {} orders",
            venue.refused
        );
        ensure!(
            venue.book.live() == 0,
            "{} orders are left on the book after the drain",
            venue.book.live()
        );
        ensure!(
            venue.totals == self.workload.totals,
            "{}: the file says {:x?}, the run gave {:x?}",
            self.workload.name,
            self.workload.totals,
            venue.totals
        );
        Ok(Finish {
            totals: venue.totals,
            book_hash,
            live,
            rejects: 0,
            batches: 0,
            state_hash: None,
        })
    }
}
