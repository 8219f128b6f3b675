//! The structs of the referee's C interface: little-endian, C layout, every pad written out.
//!
//! | Struct | Bytes | Fields in order |
//! |---|---|---|
//! | [`NewOrder`] | 32 | id u64, sequence u64, price i64, quantity u32, side u8, ioc u8, pad 2 |
//! | [`Cancel`] | 16 | id u64, sequence u64 |
//! | [`Modify`] | 32 | id u64, sequence u64, new price i64, new quantity u32, side u8, pad 3 |
//! | [`Message`] | 40 | type u8, pad 7, 32 bytes of one of the three |
//! | [`Report`] | 64 | type u8, side u8, pad 6, sequence u64, id u64, price i64, quantity u32, pad 4, maker u64, taker u64, pad 8 |

use bytemuck::{Pod, Zeroable};
use firmware::units::Side;

/// A side from its byte: zero is a buy, anything else a sell.
#[inline]
#[must_use]
pub const fn side_of(byte: u8) -> Side {
    if byte == 0 { Side::Buy } else { Side::Sell }
}

/// A new order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct NewOrder {
    /// The client's name of the order: any value that no resting order has.
    pub id: u64,
    /// Number of the message.
    pub sequence: u64,
    /// Limit, in ticks: any value.
    pub price: i64,
    /// Quantity; of zero nothing rests.
    pub quantity: u32,
    /// 0 buy, 1 sell.
    pub side: u8,
    /// Not zero: what does not trade at once is cancelled.
    pub ioc: u8,
    #[doc(hidden)]
    pub pad: [u8; 2],
}

/// A cancel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Cancel {
    /// The order.
    pub id: u64,
    /// Number of the message.
    pub sequence: u64,
}

/// A modify: cancel and reinsert under the same id, priority lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Modify {
    /// The order.
    pub id: u64,
    /// Number of the message.
    pub sequence: u64,
    /// New limit, in ticks.
    pub price: i64,
    /// New quantity.
    pub quantity: u32,
    /// Side of the reinserted order: 0 buy, 1 sell.
    pub side: u8,
    #[doc(hidden)]
    pub pad: [u8; 3],
}

/// [`Message::kind`] of a [`NewOrder`].
pub const MESSAGE_NEW: u8 = 0;
/// [`Message::kind`] of a [`Cancel`].
pub const MESSAGE_CANCEL: u8 = 1;
/// [`Message::kind`] of a [`Modify`].
pub const MESSAGE_MODIFY: u8 = 2;

/// One message of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Message {
    /// Which of the three the body is.
    pub kind: u8,
    #[doc(hidden)]
    pub pad: [u8; 7],
    /// The body, eight bytes aligned; a cancel fills the first half.
    pub body: [u64; 4],
}

impl Message {
    /// A message around a new order.
    #[must_use]
    pub fn new_order(order: NewOrder) -> Self {
        Self {
            kind: MESSAGE_NEW,
            pad: [0; 7],
            body: bytemuck::cast(order),
        }
    }

    /// A message around a cancel.
    #[must_use]
    pub fn cancel(cancel: Cancel) -> Self {
        Self {
            kind: MESSAGE_CANCEL,
            pad: [0; 7],
            body: [cancel.id, cancel.sequence, 0, 0],
        }
    }

    /// A message around a modify.
    #[must_use]
    pub fn modify(modify: Modify) -> Self {
        Self {
            kind: MESSAGE_MODIFY,
            pad: [0; 7],
            body: bytemuck::cast(modify),
        }
    }
}

/// What a report says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ReportKind {
    /// A new order was taken.
    OrderAck = 0,
    /// A fill, at the maker's price.
    Trade = 1,
    /// An order, or what was left of one, is gone.
    CancelAck = 2,
    /// An order was modified.
    ModifyAck = 3,
    /// A cancel of an order that does not rest.
    CancelReject = 4,
    /// A modify of an order that does not rest.
    ModifyReject = 5,
}

/// A report: one cache line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Report {
    /// A [`ReportKind`].
    pub kind: u8,
    /// Side of the order, where it is known: 0 buy, 1 sell.
    pub side: u8,
    #[doc(hidden)]
    pub pad: [u8; 6],
    /// Number of the message that caused it.
    pub sequence: u64,
    /// The order that the message named.
    pub id: u64,
    /// Price, in ticks: of a trade the maker's.
    pub price: i64,
    /// Quantity: traded, asked for, or (of a cancel) taken off the book.
    pub quantity: u32,
    #[doc(hidden)]
    pub pad2: u32,
    /// Of a trade: the resting order.
    pub maker: u64,
    /// Of a trade: the incoming order.
    pub taker: u64,
    #[doc(hidden)]
    pub pad3: u64,
}

const _: () = assert!(size_of::<NewOrder>() == 32 && size_of::<Modify>() == 32);
const _: () = assert!(size_of::<Cancel>() == 16 && size_of::<Message>() == 40);
const _: () = assert!(size_of::<Report>() == 64);

impl Report {
    /// A report that is no trade.
    #[inline]
    #[must_use]
    pub const fn of_order(
        kind: ReportKind,
        sequence: u64,
        id: u64,
        side: Side,
        price: i64,
        quantity: u32,
    ) -> Self {
        Self {
            kind: kind as u8,
            side: side as u8,
            pad: [0; 6],
            sequence,
            id,
            price,
            quantity,
            pad2: 0,
            maker: 0,
            taker: 0,
            pad3: 0,
        }
    }

    /// A refusal: it knows the order by name only.
    #[inline]
    #[must_use]
    pub const fn reject(kind: ReportKind, sequence: u64, id: u64) -> Self {
        Self::of_order(kind, sequence, id, Side::Buy, 0, 0)
    }

    /// A trade of `quantity` at the maker's `price`; `side` is the taker's.
    #[inline]
    #[must_use]
    pub const fn trade(
        sequence: u64,
        taker: u64,
        side: Side,
        maker: u64,
        price: i64,
        quantity: u32,
    ) -> Self {
        Self {
            maker,
            taker,
            ..Self::of_order(ReportKind::Trade, sequence, taker, side, price, quantity)
        }
    }
}
