//! Requests of a client. Prices are int64 x 1e-9 of the quoted asset, quantities integer lots.

use super::sbe::{messages, union};

/// Order rests until it is filled or cancelled.
pub const TIF_GTC: u8 = 0;
/// What does not fill at once is cancelled.
pub const TIF_IOC: u8 = 3;
/// Fills whole at once, or not at all.
pub const TIF_FOK: u8 = 4;
/// Limit order.
pub const ORD_LIMIT: u8 = 0;
/// Market order: an IOC at the collar.
pub const ORD_MARKET: u8 = 1;
/// Flag: reject instead of taking.
pub const FLAG_POST_ONLY: u8 = 1;
/// Flag: may only bring the position nearer to zero.
pub const FLAG_REDUCE_ONLY: u8 = 2;
/// Flag: cancel when the session is lost.
pub const FLAG_CANCEL_ON_DISCONNECT: u8 = 4;
/// Self-trade: cancel the resting order.
pub const STP_CANCEL_MAKER: u8 = 0;
/// Self-trade: cancel the incoming order.
pub const STP_CANCEL_TAKER: u8 = 1;
/// Self-trade: cancel both.
pub const STP_CANCEL_BOTH: u8 = 2;

messages! {
    /// A new order.
    100 NewOrder {
        /// Client's name of the order: rises strictly within the member's day.
        cl_ord_id: u64,
        /// Limit price x 1e-9; null for a market order.
        price: i64,
        /// Lots.
        quantity: i64,
        /// Expiry of a GTD order, ns; zero otherwise.
        expire_time: u64,
        /// Self-match id within the member; zero: the account.
        smp_id: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// 0 limit, 1 market.
        ord_type: u8,
        /// 0 GTC, 1 Day, 2 GTD, 3 IOC, 4 FOK.
        time_in_force: u8,
        /// Bits: 0 post-only, 1 reduce-only, 2 cancel on disconnect.
        flags: u8,
        /// Self-trade prevention of the aggressor: 0 cancel maker, 1 cancel taker, 2 both, 3 decrement.
        stp_mode: u8,
        /// Market-maker protection group; zero: none.
        mmp_group: u8,
        /// Written as zero.
        pad1: u32,
    }
    /// Changes price or quantity of a resting order. A new price or a larger quantity loses priority.
    102 Replace {
        /// New client name of the order.
        cl_ord_id: u64,
        /// Venue's name, or zero to go by `orig_cl_ord_id`.
        order_id: u64,
        /// Client's name of the order to change.
        orig_cl_ord_id: u64,
        /// New price x 1e-9.
        price: i64,
        /// New open quantity in lots.
        quantity: i64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// Bits as in NewOrder; only post-only is read.
        flags: u8,
        /// Written as zero.
        pad1: u8,
    }
    /// Cancels one order. Passes in every trading state and is never throttled.
    104 Cancel {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Venue's name, or zero to go by `orig_cl_ord_id`.
        order_id: u64,
        /// Client's name of the order.
        orig_cl_ord_id: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
    }
    /// Cancels all orders of an account that match, as one event.
    105 MassCancel {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Account.
        account: u32,
        /// Instrument, or 65535 for all.
        instrument: u16,
        /// 0 buy, 1 sell, 255 both.
        side: u8,
        /// Written as zero.
        pad1: u8,
    }
    /// Moves free collateral to the owner's L1 balance with the next batch.
    110 Withdraw {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Micro-units of the settlement asset.
        amount: i64,
        /// Account.
        account: u32,
        /// Written as zero.
        pad1: u32,
    }
}

union! {
    /// What a client may ask for.
    Request { NewOrder, Replace, Cancel, MassCancel, Withdraw }
}
