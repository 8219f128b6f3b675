//! Reports to a client: one sequenced flow a member, a pure function of the journal.
//!
//! `engine_seq` is the journal record that caused the report; nothing is sent before that record is as
//! durable as the box is configured to make it.

use super::sbe::{messages, union};

/// Cancelled because the client asked.
pub const CANCEL_REQUESTED: u8 = 0;
/// Cancelled: the rest of an IOC order, or a FOK order that could not fill whole.
pub const CANCEL_IOC: u8 = 1;
/// Cancelled by self-trade prevention.
pub const CANCEL_STP: u8 = 2;
/// Cancelled by a mass cancel.
pub const CANCEL_MASS: u8 = 3;
/// Cancelled because the session was lost.
pub const CANCEL_DISCONNECT: u8 = 4;
/// Cancelled because the account fell below its margin.
pub const CANCEL_MARGIN: u8 = 5;
/// Cancelled because the price left the collar.
pub const CANCEL_COLLAR: u8 = 6;
/// Cancelled: the order reached the bound on fills in one event.
pub const CANCEL_FILL_LIMIT: u8 = 7;

messages! {
    /// Venue to client: the requests numbered so were never received; they are dead.
    11 NotApplied {
        /// First number skipped.
        from_seq_no: u64,
        /// How many.
        count: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
    }
    /// The order is accepted; `leaves` rests unless fills follow.
    200 Accepted {
        /// Venue's name of the order.
        order_id: u64,
        /// Client's name.
        cl_ord_id: u64,
        /// Number of the request.
        client_seq: u64,
        /// Price x 1e-9.
        price: i64,
        /// Lots.
        quantity: i64,
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// Flags of the order.
        flags: u8,
    }
    /// The request is refused and changed nothing.
    201 Rejected {
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Number of the request.
        client_seq: u64,
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// Reject code.
        reason: u16,
        /// Template of the request.
        ref_template: u16,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// The order was changed.
    203 Replaced {
        /// Venue's name from now on (new when priority was lost).
        order_id: u64,
        /// Venue's name before.
        prev_order_id: u64,
        /// Client's name from now on.
        cl_ord_id: u64,
        /// Number of the request.
        client_seq: u64,
        /// Price x 1e-9.
        price: i64,
        /// Open lots.
        quantity: i64,
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// Written as zero.
        pad1: u8,
    }
    /// The order is gone.
    204 Canceled {
        /// Venue's name.
        order_id: u64,
        /// Client's name of the order.
        cl_ord_id: u64,
        /// Client's name of the request, or zero.
        request_cl_ord_id: u64,
        /// Number of the request, or zero.
        client_seq: u64,
        /// Lots taken off.
        quantity: i64,
        /// When the request was received, ns, or zero.
        rx_time: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// 0 requested, 1 IOC rest, 2 self-trade, 3 mass cancel, 4 disconnect, 5 margin, 6 collar, 7 fill limit.
        reason: u8,
    }
    /// A fill, at the maker's price.
    205 Filled {
        /// Venue's name of the order.
        order_id: u64,
        /// Client's name.
        cl_ord_id: u64,
        /// The same number for both sides of the trade.
        trade_id: u64,
        /// Price x 1e-9.
        price: i64,
        /// Lots filled.
        quantity: i64,
        /// Lots still open.
        leaves: i64,
        /// Fee in micro-units, rounded up for display (the account is charged exactly); negative is a rebate.
        fee: i64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// 0 maker, 1 taker.
        liquidity: u8,
    }
    /// The mass cancel is done; each order had its own Canceled before.
    206 MassCancelAck {
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Number of the request.
        client_seq: u64,
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Orders cancelled.
        count: u32,
    }
    /// A deposit from L1 was credited.
    212 DepositReport {
        /// Place in the L1 queue.
        queue_index: u64,
        /// Micro-units.
        amount: i64,
        /// Raw cash after, micro-units, rounded down.
        cash: i64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Written as zero.
        pad1: u32,
    }
    /// A withdrawal was granted; it can be claimed on L1 once batch `batch_no` is committed.
    213 WithdrawReport {
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Number of the request.
        client_seq: u64,
        /// Micro-units.
        amount: i64,
        /// Raw cash after, micro-units, rounded down.
        cash: i64,
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Batch that carries it.
        batch_no: u64,
        /// Account.
        account: u32,
        /// Written as zero.
        pad1: u32,
    }
    /// What a delta settlement moved for one account.
    214 SettlementReport {
        /// From 1.
        settlement_no: u64,
        /// Sum of position x (new mark - old mark), micro-units; positive is received.
        transfer: i64,
        /// Part explained by delta: sum of position x delta x (new index - old index).
        delta_leg: i64,
        /// The rest: gamma, vega, theta.
        residual: i64,
        /// Settled collateral after, micro-units, rounded down.
        collateral: i64,
        /// Maintenance margin after, micro-units.
        maintenance: i64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// 0 index moved by the threshold, 1 interval passed.
        trigger: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
    }
}

union! {
    /// What a member is told.
    Report {
        NotApplied, Accepted, Rejected, Replaced, Canceled, Filled, MassCancelAck, DepositReport, WithdrawReport,
        SettlementReport,
    }
}

impl Report {
    /// The journal record that caused the report.
    #[must_use]
    pub const fn engine_seq(&self) -> u64 {
        match self {
            Self::NotApplied(m) => m.engine_seq,
            Self::Accepted(m) => m.engine_seq,
            Self::Rejected(m) => m.engine_seq,
            Self::Replaced(m) => m.engine_seq,
            Self::Canceled(m) => m.engine_seq,
            Self::Filled(m) => m.engine_seq,
            Self::MassCancelAck(m) => m.engine_seq,
            Self::DepositReport(m) => m.engine_seq,
            Self::WithdrawReport(m) => m.engine_seq,
            Self::SettlementReport(m) => m.engine_seq,
        }
    }
}
