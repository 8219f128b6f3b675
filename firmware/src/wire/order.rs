//! Requests of a client. Prices are int64 x 1e-9 of the quoted asset, quantities integer lots.

use super::sbe::{messages, union};

/// Order rests until it is filled or cancelled.
pub const TIF_GTC: u8 = 0;
/// Rests until the trading day ends, at midnight UTC.
pub const TIF_DAY: u8 = 1;
/// Rests until its expiry.
pub const TIF_GTD: u8 = 2;
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
/// Flag of a replace: its quantity counts what was filled already (in-flight mitigation).
pub const FLAG_TOTAL_QUANTITY: u8 = 8;
/// Self-trade: cancel both.
pub const STP_CANCEL_BOTH: u8 = 2;
/// Self-trade: take the smaller quantity off both, without a trade.
pub const STP_DECREMENT: u8 = 3;
/// Scope of a mass cancel: orders and quotes.
pub const SCOPE_ALL: u8 = 0;
/// Scope of a mass cancel: orders that did not come in a mass quote.
pub const SCOPE_ORDERS: u8 = 1;
/// Scope of a mass cancel: quotes.
pub const SCOPE_QUOTES: u8 = 2;
/// Kill switch: cancel everything and lock.
pub const KILL_LOCK: u8 = 0;
/// Kill switch: unlock.
pub const KILL_UNLOCK: u8 = 1;

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
        /// Self-match id: orders of the member with the same id never trade with each other. Zero: only orders of the same account.
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
        /// New open quantity in lots; with bit 3 of the flags, open and filled together.
        quantity: i64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// Bits: 0 post-only from now on, 3 the quantity counts what was filled already.
        flags: u8,
        /// Written as zero.
        pad1: u8,
    }
    /// Lowers the open quantity of a resting order, which keeps its place in the queue and its names.
    103 ReduceQty {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Venue's name, or zero to go by `orig_cl_ord_id`.
        order_id: u64,
        /// Client's name of the order.
        orig_cl_ord_id: u64,
        /// New open quantity in lots, lower than before.
        quantity: i64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
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
    /// Cancels all orders that match, as one event.
    105 MassCancel {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Account, or 4294967295 for all accounts of the member.
        account: u32,
        /// Instrument, or 65535 for all.
        instrument: u16,
        /// 0 buy, 1 sell, 255 both.
        side: u8,
        /// 0 orders and quotes, 1 orders only, 2 quotes only.
        scope: u8,
        /// Market-maker protection group, or 255 for any.
        mmp_group: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
        /// Written as zero.
        pad3: u32,
    }
    /// Lets a market-maker protection group quote again, with empty counters.
    106 MmpReset {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Account.
        account: u32,
        /// Group, 1 to 16.
        mmp_group: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
    }
    /// Cancels everything and locks: until it is unlocked only cancels and reduce-only orders pass.
    107 KillSwitch {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Account, or 4294967295 for all accounts of the member.
        account: u32,
        /// 0 lock, 1 unlock.
        action: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
    }
    /// Asks for the open orders of an account, oldest first, a page at a time.
    108 OpenOrdersRequest {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Entry number after which to go on; zero for the first page.
        after: u64,
        /// Account.
        account: u32,
        /// Instrument, or 65535 for all.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
    }
    /// Arms the dead-man timer: unless it is armed again in time, all orders of the member are cancelled.
    109 DeadManTimer {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Time until it fires, ns; zero disarms it.
        timeout_ns: u64,
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
    /// Sets the limits of a market-maker protection group and resets it.
    111 MmpConfig {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Fills count for this long, ns.
        window_ns: u64,
        /// The group is frozen for this long once it triggers, ns; zero: until it is reset.
        freeze_ns: u64,
        /// Lots that may fill within the window; zero: no limit.
        quantity_limit: i64,
        /// Absolute net delta of the window's fills, units of underlying x 1e-9; zero: no limit.
        delta_limit: i64,
        /// Absolute net vega of the window's fills, micro-units between the lowest and the highest volatility of the margin scenarios; zero: no limit.
        vega_limit: i64,
        /// Account.
        account: u32,
        /// Group, 1 to 16.
        mmp_group: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
    }
    /// Asks for positions and margin of an account.
    112 PositionsRequest {
        /// Client's name of this request.
        cl_ord_id: u64,
        /// Account.
        account: u32,
        /// Written as zero.
        pad1: u32,
    }
}

union! {
    /// What a client may ask for with a message of fixed size; a [`MassQuote`](super::quote::MassQuote) has its own reader.
    Request {
        NewOrder, Replace, ReduceQty, Cancel, MassCancel, MmpReset, KillSwitch, OpenOrdersRequest, DeadManTimer,
        Withdraw, MmpConfig, PositionsRequest,
    }
}
