//! Market data: order by order, SBE inside MoldUDP64. No account, member or client id ever appears here.

use super::sbe::{messages, union};

/// Flag of every feed message: last of its matching event; a consumer may show the book now.
pub const FLAG_LAST: u8 = 1;
/// Trading state in which orders trade as they come: that of an instrument of which no other was told.
pub const STATE_OPEN: u8 = 2;
/// [`TradingStatus::state`]: orders are collected, nothing trades, the book may cross.
pub const STATE_PRE_OPEN: u8 = 0;
/// [`TradingStatus::state`]: as [`STATE_PRE_OPEN`], with an indicative price on the feed.
pub const STATE_AUCTION: u8 = 1;
/// [`TradingStatus::state`]: only cancels and reductions pass.
pub const STATE_CANCEL_ONLY: u8 = 3;
/// [`TradingStatus::state`]: halted by the venue; only cancels and reductions pass.
pub const STATE_HALT: u8 = 4;
/// [`TradingStatus::state`]: expired, waits for its settlement price; no orders rest.
pub const STATE_SETTLE: u8 = 5;
/// [`LiquidationStep::step`]: its orders were cancelled.
pub const STEP_CANCEL: u8 = 0;
/// [`LiquidationStep::step`]: part of a position was closed in the book.
pub const STEP_CLOSE: u8 = 1;
/// [`LiquidationStep::step`]: the insurance fund paid what was missing.
pub const STEP_FUND: u8 = 2;
/// [`LiquidationStep::step`]: the position was closed against others, by rank.
pub const STEP_DELEVERAGE: u8 = 3;
/// [`LiquidationStep::step`]: others paid what the fund could not.
pub const STEP_CHARGE: u8 = 4;
/// [`TradingStatus::state`]: settled for good; no orders rest.
pub const STATE_DELIVERED: u8 = 6;
/// [`TradingStatus::state`]: no longer listed; its id is not used again.
pub const STATE_DELISTED: u8 = 7;

messages! {
    /// An instrument is listed.
    300 InstrumentDefinition {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Strike x 1e-9; of a power perpetual the index at which it is worth the index; else null.
        strike: i64,
        /// Expiry, ns; of an everlasting option the time between two payments of funding; else zero.
        expiry: u64,
        /// Tick x 1e-9.
        tick_size: i64,
        /// Units of the underlying in a lot x 1e-9.
        lot_size: i64,
        /// Lowest price of the band x 1e-9.
        band_low: i64,
        /// Highest price of the band x 1e-9.
        band_high: i64,
        /// From this price x 1e-9 on the tick is `coarse_tick`; null: one tick for all prices.
        coarse_from: i64,
        /// Tick from `coarse_from` on x 1e-9; null: none.
        coarse_tick: i64,
        /// Name, padded with zero bytes.
        symbol: [u8; 16],
        /// Instrument.
        instrument: u16,
        /// 0 perpetual, 1 call, 2 put, 3 dated future, 4 everlasting call, 5 everlasting put, 6 power perpetual.
        kind: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Value of a tick for one lot, micro-units.
        tick_value_micro: u32,
    }
    /// An instrument enters a trading state.
    301 TradingStatus {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Instrument.
        instrument: u16,
        /// 0 pre-open, 1 auction, 2 open, 3 cancel-only, 4 halt, 5 settle, 6 delivered.
        state: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u32,
    }
    /// What an auction would do if it ended now.
    302 AuctionUpdate {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Price at which all would trade x 1e-9; null while nothing crosses.
        price: i64,
        /// Lots that would trade.
        quantity: i64,
        /// Lots that would be left at that price: above zero of buyers, below zero of sellers.
        imbalance: i64,
        /// Instrument.
        instrument: u16,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u32,
    }
    /// A new risk table is in force.
    303 IndexUpdate {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Risk epoch.
        epoch: u64,
        /// Index, micro-units.
        index_micro: i64,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
        /// Written as zero.
        pad3: u32,
    }
    /// Mark and collar of one instrument in the new table.
    304 MarkPrice {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Risk epoch.
        epoch: u64,
        /// Value of one lot at the mark, micro-units.
        mark_micro: i64,
        /// Lowest price that may trade x 1e-9.
        collar_low: i64,
        /// Highest price that may trade x 1e-9.
        collar_high: i64,
        /// Instrument.
        instrument: u16,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u32,
    }
    /// An order joins the book, behind all others at its price.
    310 OrderAdd {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Order.
        order_id: u64,
        /// Price x 1e-9.
        price: i64,
        /// Lots.
        quantity: i64,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u32,
    }
    /// An order became smaller without a trade and keeps its place.
    311 OrderReduce {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Order.
        order_id: u64,
        /// Lots left.
        quantity: i64,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u32,
    }
    /// An order left the book without a trade.
    313 OrderDelete {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Order.
        order_id: u64,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u32,
    }
    /// A resting order traded; it leaves the book when `leaves` is zero.
    314 OrderExecuted {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Resting order.
        order_id: u64,
        /// Trade.
        trade_id: u64,
        /// Price x 1e-9.
        price: i64,
        /// Lots traded.
        quantity: i64,
        /// Lots left.
        leaves: i64,
        /// Instrument.
        instrument: u16,
        /// Side of the resting order: 0 buy, 1 sell.
        side: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u32,
    }
    /// A delta settlement was made.
    320 SettlementSummary {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// From 1.
        settlement_no: u64,
        /// Index before, micro-units.
        index_before_micro: i64,
        /// Index after, micro-units.
        index_after_micro: i64,
        /// Sum of all positive transfers, micro-units (the negative ones add up to the same).
        transferred: i64,
        /// Sum of the absolute delta legs, micro-units.
        delta_leg: i64,
        /// Sum of the absolute residuals, micro-units.
        residual: i64,
        /// Accounts with a position.
        accounts: u32,
        /// 0 index moved by the threshold, 1 interval passed.
        trigger: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u16,
    }
    /// A batch was closed and goes to the prover.
    321 BatchSealed {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// From 1.
        batch_no: u64,
        /// First journal record covered.
        first_seq: u64,
        /// Netted fill rows.
        fill_rows: u32,
        /// Accounts touched.
        accounts: u32,
        /// 0 full, 1 timer, 2 risk table changed, 3 operator, 4 liquidation.
        reason: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// Funding of an instrument was fixed: holders of a long lot paid `change`, those of a short one received it.
    322 FundingRate {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Paid by a long lot since it was listed, micro-units.
        funding_micro: i64,
        /// Paid by a long lot now, micro-units.
        change: i64,
        /// Mean premium of a lot that it was made from, after the clamp, micro-units.
        premium_micro: i64,
        /// Samples of the premium.
        samples: u32,
        /// Instrument.
        instrument: u16,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u8,
    }
    /// An instrument that has expired has its settlement price.
    323 InstrumentSettled {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Settlement price of one unit of underlying, micro-units.
        price_micro: i64,
        /// What a lot is worth for good, micro-units.
        value_micro: i64,
        /// Instrument.
        instrument: u16,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u32,
    }
    /// A step of a liquidation; whose it is, is not told.
    324 LiquidationStep {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// Penalty of a close, draw of the fund, or charge, micro-units, rounded down.
        amount: i64,
        /// Insurance fund after the step, micro-units, rounded down.
        fund: i64,
        /// Orders cancelled, or lots closed.
        quantity: i64,
        /// Instrument; null where there is none.
        instrument: u16,
        /// 0 orders cancelled, 1 closed in the book, 2 fund paid, 3 deleveraged, 4 charged.
        step: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u32,
    }
    /// Rules of risk, announced or in force.
    325 RiskRules {
        /// Journal record.
        engine_seq: u64,
        /// Time of the record, ns.
        engine_time: u64,
        /// In force from then on, ns.
        effective_time: u64,
        /// Time between two fundings, ns.
        funding_interval: u64,
        /// Time in which a premium is paid in full, ns.
        funding_period: u64,
        /// Time over which the settlement price is averaged, ns.
        expiry_window: u64,
        /// Lots whose mean price is the impact price of a side.
        impact_lots: i64,
        /// Largest premium that counts, ppm of the mark.
        funding_clamp_ppm: u32,
        /// Initial margin over maintenance margin, ppm of the latter.
        initial_extra_ppm: u32,
        /// A liquidation stops when so much of the maintenance margin is free, ppm of it.
        exit_extra_ppm: u32,
        /// Penalty, ppm of the notional that a liquidation closed.
        liquidation_fee_ppm: u32,
        /// Part of a position that one step of a liquidation closes, ppm.
        slice_ppm: u32,
        /// Bit 0 funding, bit 1 expiry, bit 2 liquidation.
        switches: u8,
        /// 0 announced, 1 in force.
        in_force: u8,
        /// Bit 0: last message of the event.
        flags: u8,
        /// Written as zero.
        pad1: u8,
        /// Contingency on short options, 1/10000 of their notional.
        short_option_bp: u16,
        /// Haircut on the value of long options as collateral, 1/10000 of it.
        option_haircut_bp: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// A cycle of snapshots begins: what follows up to the first header is as of `last_seq`.
    330 SnapshotCycle {
        /// From 1 since the daemon's start.
        cycle_no: u64,
        /// Feed messages up to this one are contained.
        last_seq: u64,
        /// Journal record of that message.
        engine_seq: u64,
        /// Instruments that the cycle will show.
        instruments: u16,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// The snapshot of one instrument begins.
    331 SnapshotHeader {
        /// Cycle.
        cycle_no: u64,
        /// Feed messages up to this one are contained.
        last_seq: u64,
        /// Journal record of that message.
        engine_seq: u64,
        /// Resting orders, oldest first.
        orders: u32,
        /// Messages behind this one, the trailer included.
        messages: u32,
        /// Instrument.
        instrument: u16,
        /// 0 pre-open, 1 auction, 2 open, 3 cancel-only, 4 halt, 5 settle, 6 delivered.
        state: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u32,
    }
    /// A resting order; those before it in the snapshot are older.
    332 SnapshotOrder {
        /// Order.
        order_id: u64,
        /// Price x 1e-9.
        price: i64,
        /// Open lots.
        quantity: i64,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u32,
    }
    /// The snapshot of one instrument is complete.
    333 SnapshotTrailer {
        /// As in the header.
        last_seq: u64,
        /// As in the header.
        orders: u32,
        /// Instrument.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
    }
    /// All instruments were shown; the next cycle follows.
    334 EndOfCycle {
        /// Cycle.
        cycle_no: u64,
        /// Newest feed message when the cycle ended.
        last_seq: u64,
        /// Instruments shown: a receiver that has fewer has lost some.
        instruments: u16,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// The venue signs what the feed has said. Hashes are BLAKE3 over `length u16 big-endian | message` of each
    /// message of the range, as in the packets.
    340 FeedCheckpoint {
        /// From 1 since the daemon's start.
        checkpoint_no: u64,
        /// Venue's clock, ns.
        timestamp: u64,
        /// First message of the range.
        first_seq: u64,
        /// Last message of the range; with `first_seq - 1` the range is empty.
        last_seq: u64,
        /// Journal record of the last message.
        engine_seq: u64,
        /// Newest sealed batch that was written; zero before the first.
        batch_no: u64,
        /// Hash of all messages from 1 to `last_seq`.
        running_hash: [u8; 32],
        /// Hash of the messages of the range.
        range_hash: [u8; 32],
        /// Digest of the ledger at the seal of that batch.
        ledger_digest: [u8; 32],
        /// MoldUDP64 session of the feed, padded with zero bytes.
        feed_session: [u8; 16],
        /// Ed25519 by the venue's key.
        signature: [u8; 64],
    }
}

union! {
    /// What everybody is told.
    FeedMessage {
        InstrumentDefinition, TradingStatus, AuctionUpdate, IndexUpdate, MarkPrice, OrderAdd, OrderReduce, OrderDelete, OrderExecuted,
        SettlementSummary, BatchSealed, FundingRate, InstrumentSettled, LiquidationStep, RiskRules,
    }
}

union! {
    /// What the snapshot session carries: its own messages, and those of the feed as they were sent last.
    SnapshotMessage {
        SnapshotCycle, SnapshotHeader, SnapshotOrder, SnapshotTrailer, EndOfCycle,
        InstrumentDefinition, AuctionUpdate, IndexUpdate, MarkPrice, SettlementSummary, BatchSealed,
    }
}

union! {
    /// What the checkpoint session carries.
    CheckpointMessage {
        FeedCheckpoint,
    }
}

impl FeedMessage {
    /// Marks the message as the last of its matching event.
    pub const fn set_last(&mut self) {
        let flags = match self {
            Self::InstrumentDefinition(m) => &mut m.flags,
            Self::TradingStatus(m) => &mut m.flags,
            Self::AuctionUpdate(m) => &mut m.flags,
            Self::IndexUpdate(m) => &mut m.flags,
            Self::MarkPrice(m) => &mut m.flags,
            Self::OrderAdd(m) => &mut m.flags,
            Self::OrderReduce(m) => &mut m.flags,
            Self::OrderDelete(m) => &mut m.flags,
            Self::OrderExecuted(m) => &mut m.flags,
            Self::SettlementSummary(m) => &mut m.flags,
            Self::BatchSealed(m) => &mut m.flags,
            Self::FundingRate(m) => &mut m.flags,
            Self::InstrumentSettled(m) => &mut m.flags,
            Self::LiquidationStep(m) => &mut m.flags,
            Self::RiskRules(m) => &mut m.flags,
        };
        *flags |= FLAG_LAST;
    }

    /// Whether the message is the last of its matching event.
    #[must_use]
    pub fn is_last(&self) -> bool {
        let mut last = *self;
        last.set_last();
        last == *self
    }
}
