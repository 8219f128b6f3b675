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
/// Cancelled: its time in force has ended.
pub const CANCEL_EXPIRED: u8 = 8;
/// Cancelled because the dead-man timer fired.
pub const CANCEL_DEAD_MAN: u8 = 9;
/// Cancelled by the kill switch.
pub const CANCEL_KILL_SWITCH: u8 = 10;
/// Cancelled because its market-maker protection group triggered.
pub const CANCEL_MMP: u8 = 11;
/// Cancelled because the instrument's trading state takes no orders.
pub const CANCEL_STATE: u8 = 12;
/// Cancelled by the operator.
pub const CANCEL_OPERATOR: u8 = 13;
/// Cancelled because a reduce-only order would no longer reduce.
pub const CANCEL_REDUCE_ONLY: u8 = 14;

/// [`MmpEvent::event`]: the lots filled within the window reached the limit.
pub const MMP_QUANTITY: u8 = 0;
/// [`MmpEvent::event`]: the net delta reached the limit.
pub const MMP_DELTA: u8 = 1;
/// [`MmpEvent::event`]: the net vega reached the limit.
pub const MMP_VEGA: u8 = 2;
/// [`MmpEvent::event`]: reset by the member.
pub const MMP_RESET: u8 = 3;
/// [`MmpEvent::event`]: configured by the member, and reset.
pub const MMP_CONFIGURED: u8 = 4;

/// [`DeadManReport::event`]: armed.
pub const DEAD_MAN_ARMED: u8 = 0;
/// [`DeadManReport::event`]: disarmed.
pub const DEAD_MAN_DISARMED: u8 = 1;
/// [`DeadManReport::event`]: fired; every order of the member had its Canceled before.
pub const DEAD_MAN_FIRED: u8 = 2;

/// Status of a side of a quote: it was not named in the entry.
pub const QUOTE_UNTOUCHED: u16 = 0;
/// Status of a side of a quote: it rests or has traded as asked; other values are reject codes.
pub const QUOTE_ACCEPTED: u16 = 1_000;
/// Status of a side of a quote: the same price and quantity rested already, and keep their place.
pub const QUOTE_KEPT: u16 = 1_001;
/// Status of a side of a quote: withdrawn.
pub const QUOTE_WITHDRAWN: u16 = 1_002;
/// Status of a side of a quote: only its quantity was lowered; it keeps its place.
pub const QUOTE_REDUCED: u16 = 1_003;

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
    /// The mass quote is done; each entry had its QuoteStatus before.
    202 MassQuoteAck {
        /// Client's name of the mass quote.
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
        /// Entries.
        entries: u16,
        /// Sides that were refused.
        refused: u16,
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
        /// Lots filled since the order came in.
        filled: i64,
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
    /// Lots were taken off an order without a trade; with no leaves it is gone.
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
        /// Lots still open; zero unless a self-trade decrement or a reduce-only cut left some.
        leaves: i64,
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
        /// 0 requested, 1 IOC rest, 2 self-trade, 3 mass cancel, 4 disconnect, 5 margin, 6 collar, 7 fill limit,
        /// 8 expired, 9 dead-man timer, 10 kill switch, 11 market-maker protection, 12 trading state, 13 operator,
        /// 14 reduce-only.
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
        /// Lots filled since the order came in, this fill included.
        filled: i64,
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
    /// A market-maker protection group triggered, was reset or configured.
    207 MmpEvent {
        /// Client's name of the request, or zero.
        cl_ord_id: u64,
        /// Number of the request, or zero.
        client_seq: u64,
        /// When the request was received, ns, or zero.
        rx_time: u64,
        /// The group takes no orders before this time, ns; zero: it is open; 2^64 - 1: until it is reset.
        frozen_until: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Orders cancelled; each had its own Canceled before.
        count: u32,
        /// Group.
        mmp_group: u8,
        /// 0 quantity limit, 1 delta limit, 2 vega limit, 3 reset, 4 configured.
        event: u8,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// An open order, as asked for.
    208 OpenOrder {
        /// Client's name of the request.
        request_cl_ord_id: u64,
        /// Venue's name of the order.
        order_id: u64,
        /// Client's name of the order.
        cl_ord_id: u64,
        /// Entry number: rises with each order that comes to rest.
        entry: u64,
        /// Price x 1e-9.
        price: i64,
        /// Open lots.
        quantity: i64,
        /// Lots filled since the order came in.
        filled: i64,
        /// Expiry, ns; zero: none.
        expire_time: u64,
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
        /// Market-maker protection group; zero: none.
        mmp_group: u8,
        /// 1 when it came in a mass quote.
        is_quote: u8,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// A position, or (instrument 65535, last) the account as a whole.
    209 PositionMargin {
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Number of the request.
        client_seq: u64,
        /// Lots held; negative is short. Zero for the account as a whole.
        position: i64,
        /// Value of one lot at the mark, micro-units; zero for the account as a whole.
        mark: i64,
        /// Raw cash, micro-units, rounded down; zero for a position.
        cash: i64,
        /// Cash and positions at the marks, micro-units; zero for a position.
        equity: i64,
        /// Maintenance margin, micro-units; zero for a position.
        maintenance: i64,
        /// Equity in the worst scenario with the worst set of open orders filled, micro-units; zero for a position.
        worst: i64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument; 65535: the account as a whole.
        instrument: u16,
        /// 1 when the account is locked.
        is_locked: u8,
        /// Written as zero.
        pad1: u8,
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
    /// A deposit from L1 was credited.
    215 DepositReport {
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
    /// The kill switch was used, by the member or by the operator.
    216 KillSwitchAck {
        /// Client's name of the request, or zero.
        cl_ord_id: u64,
        /// Number of the request, or zero.
        client_seq: u64,
        /// When the request was received, ns, or zero.
        rx_time: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account, or 4294967295 for all accounts of the member.
        account: u32,
        /// Orders cancelled; each had its own Canceled before.
        count: u32,
        /// 0 locked, 1 unlocked.
        action: u8,
        /// 0 by the member, 1 by the operator, whose lock the member cannot undo.
        by: u8,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// The page of open orders is complete.
    217 OpenOrdersEnd {
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Number of the request.
        client_seq: u64,
        /// Entry number to go on after; zero: there are no more.
        after: u64,
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record: the orders stand as of here.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Orders of this page.
        count: u32,
    }
    /// The dead-man timer was armed, disarmed, or has fired.
    218 DeadManReport {
        /// Client's name of the request, or zero.
        cl_ord_id: u64,
        /// Number of the request, or zero.
        client_seq: u64,
        /// When the request was received, ns, or zero.
        rx_time: u64,
        /// When it fires, ns; zero: never.
        deadline: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Orders cancelled; each had its own Canceled before.
        count: u32,
        /// 0 armed, 1 disarmed, 2 fired.
        event: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
    }
    /// What became of one entry of a mass quote. Whatever rested on a side that the entry names is gone, unless
    /// it was kept or reduced.
    219 QuoteStatus {
        /// Client's name of the mass quote.
        cl_ord_id: u64,
        /// Number of the request.
        client_seq: u64,
        /// Venue's name of the bid; zero: none rests.
        bid_order_id: u64,
        /// Venue's name of the ask; zero: none rests.
        ask_order_id: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// Place of the entry in the mass quote, from 0.
        entry: u16,
        /// 0 not named, 1000 accepted, 1001 kept, 1002 withdrawn, 1003 reduced; else a reject code.
        bid_status: u16,
        /// As for the bid.
        ask_status: u16,
        /// Written as zero.
        pad1: u32,
    }
    /// Funding was paid or received.
    220 FundingReport {
        /// Received, micro-units; negative is paid.
        amount: i64,
        /// Position, lots.
        position: i64,
        /// Paid by a long lot since it was listed, micro-units.
        funding_micro: i64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
    }
    /// A position in an expired instrument became cash.
    221 ExpiryReport {
        /// Received, micro-units; negative is paid.
        amount: i64,
        /// Lots that were held.
        position: i64,
        /// Settlement value of a lot, micro-units.
        value_micro: i64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
    }
    /// A step of a liquidation touched the account.
    222 LiquidationReport {
        /// Paid for the step, micro-units, rounded up; negative is received.
        amount: i64,
        /// Orders cancelled, or lots closed.
        quantity: i64,
        /// Claim after, micro-units, rounded down.
        equity: i64,
        /// Maintenance margin after, micro-units.
        maintenance: i64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Journal record.
        engine_seq: u64,
        /// Account.
        account: u32,
        /// Instrument; null where there is none.
        instrument: u16,
        /// 0 orders cancelled, 1 closed in the book, 2 fund paid, 3 deleveraged, 4 charged.
        step: u8,
        /// Whether the account is the one that is liquidated: 1, else 0.
        is_own: u8,
    }
}

union! {
    /// What a member is told.
    Report {
        NotApplied, Accepted, Rejected, MassQuoteAck, Replaced, Canceled, Filled, MassCancelAck, MmpEvent, OpenOrder, PositionMargin, WithdrawReport, SettlementReport, DepositReport, KillSwitchAck, OpenOrdersEnd, DeadManReport, QuoteStatus, FundingReport, ExpiryReport, LiquidationReport,
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
            Self::MassQuoteAck(m) => m.engine_seq,
            Self::Replaced(m) => m.engine_seq,
            Self::Canceled(m) => m.engine_seq,
            Self::Filled(m) => m.engine_seq,
            Self::MassCancelAck(m) => m.engine_seq,
            Self::MmpEvent(m) => m.engine_seq,
            Self::OpenOrder(m) => m.engine_seq,
            Self::PositionMargin(m) => m.engine_seq,
            Self::WithdrawReport(m) => m.engine_seq,
            Self::SettlementReport(m) => m.engine_seq,
            Self::DepositReport(m) => m.engine_seq,
            Self::KillSwitchAck(m) => m.engine_seq,
            Self::OpenOrdersEnd(m) => m.engine_seq,
            Self::DeadManReport(m) => m.engine_seq,
            Self::QuoteStatus(m) => m.engine_seq,
            Self::FundingReport(m) => m.engine_seq,
            Self::ExpiryReport(m) => m.engine_seq,
            Self::LiquidationReport(m) => m.engine_seq,
        }
    }
}
