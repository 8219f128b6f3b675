//! Bodies of the journal's records: the sequenced inputs. Everything right of the sequencer is a function
//! of these. Requests of clients stand here in their admitted form: prices in ticks, checked by the gate.
//!
//! The record header (see [`super::journal`]) has the sequence number, the time, the template and, in
//! `session`, the member that a record comes from (zero: the venue itself).

use super::sbe::messages;

messages! {
    /// An admitted new order.
    600 InNewOrder {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name.
        cl_ord_id: u64,
        /// Lots.
        lots: i64,
        /// Expiry of a GTD order, ns; zero otherwise.
        expire_time: u64,
        /// As in NewOrder.
        smp_id: u64,
        /// Limit price; for a market order the far end of the collar is filled in by the engine.
        price_ticks: i32,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// 0 buy, 1 sell.
        side: u8,
        /// 0 limit, 1 market.
        ord_type: u8,
        /// As in NewOrder.
        time_in_force: u8,
        /// As in NewOrder.
        flags: u8,
        /// As in NewOrder.
        stp_mode: u8,
        /// As in NewOrder.
        mmp_group: u8,
    }
    /// An admitted replace.
    602 InReplace {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// New client name.
        cl_ord_id: u64,
        /// Venue's name or zero.
        order_id: u64,
        /// Client's name before.
        orig_cl_ord_id: u64,
        /// New open lots.
        lots: i64,
        /// New price.
        price_ticks: i32,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// As in Replace.
        flags: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u32,
    }
    /// An admitted reduction.
    603 InReduce {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Venue's name or zero.
        order_id: u64,
        /// Client's name of the order.
        orig_cl_ord_id: u64,
        /// New open lots.
        lots: i64,
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
    }
    /// An admitted cancel.
    604 InCancel {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Venue's name or zero.
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
    /// An admitted mass cancel.
    605 InMassCancel {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Account, or 4294967295 for all of the member.
        account: u32,
        /// Instrument, or 65535 for all.
        instrument: u16,
        /// 0 buy, 1 sell, 255 both.
        side: u8,
        /// As in MassCancel.
        scope: u8,
        /// As in MassCancel.
        mmp_group: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
        /// Written as zero.
        pad3: u32,
    }
    /// An admitted reset of a market-maker protection group.
    606 InMmpReset {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Account.
        account: u32,
        /// Group.
        mmp_group: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
    }
    /// An admitted use of the kill switch.
    607 InKillSwitch {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Account, or 4294967295 for all of the member.
        account: u32,
        /// 0 lock, 1 unlock.
        action: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
    }
    /// An admitted request for open orders. It changes nothing, but its answer is numbered like any other.
    608 InOpenOrders {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Entry number after which to go on.
        after: u64,
        /// Account.
        account: u32,
        /// Instrument, or 65535 for all.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
    }
    /// The dead-man timer is armed or disarmed.
    609 InDeadMan {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Time until it fires, ns; zero disarms it.
        timeout_ns: u64,
    }
    /// An admitted withdrawal.
    610 InWithdraw {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Micro-units.
        amount: i64,
        /// Account.
        account: u32,
        /// Written as zero.
        pad1: u32,
    }
    /// An admitted configuration of a market-maker protection group.
    611 InMmpConfig {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// As in MmpConfig.
        window_ns: u64,
        /// As in MmpConfig.
        freeze_ns: u64,
        /// As in MmpConfig.
        quantity_limit: i64,
        /// As in MmpConfig.
        delta_limit: i64,
        /// As in MmpConfig.
        vega_limit: i64,
        /// Account.
        account: u32,
        /// Group.
        mmp_group: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
    }
    /// An admitted request for positions. It changes nothing, but its answer is numbered like any other.
    612 InPositions {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
        /// Account.
        account: u32,
        /// Written as zero.
        pad1: u32,
    }
    /// A request that the gate refused: in the journal because its report is numbered like any other.
    620 InRefused {
        /// When the datagram was received, ns.
        rx_time: u64,
        /// Number of the request.
        client_seq: u64,
        /// Client's name of the request.
        cl_ord_id: u64,
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
    /// Numbers that a member's flow skipped; they are dead.
    621 InGap {
        /// First number skipped.
        from_seq_no: u64,
        /// How many.
        count: u64,
    }
    /// A member's session began or ended.
    622 InSession {
        /// Of the Negotiate.
        session_id: u64,
        /// 0 established, 1 terminated by the client, 2 lost (silence), 3 replaced, 4 ended by the venue.
        event: u8,
        /// 0 never, 1 flagged orders, 2 all.
        cod_policy: u8,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// A deposit that is final on L1.
    900 InDeposit {
        /// Place in the L1 queue.
        queue_index: u64,
        /// Micro-units.
        amount: u64,
        /// Account.
        account: u32,
        /// L1 address of the owner.
        owner: [u8; 20],
        /// Digest of the account's key, a field element, big-endian; zero: none.
        key: [u8; 32],
    }
    /// A verified oracle report; the signature stays with it.
    901 InOracle {
        /// The report as it came.
        report_no: u64,
        /// Time of observation, ns.
        timestamp: u64,
        /// Index in micro-units.
        index_micro: i64,
        /// Volatility of expiry slot 0, scaled by 1e9.
        vol0_e9: i64,
        /// Slot 1.
        vol1_e9: i64,
        /// Slot 2.
        vol2_e9: i64,
        /// Slot 3.
        vol3_e9: i64,
        /// Oracle key.
        key_id: u32,
        /// Written as zero.
        pad1: u32,
        /// Signature of the report.
        signature: [u8; 64],
    }
    /// The time passes: interval settlements and timer seals happen here.
    902 InTimer {
        /// Bit 0: seal the open batch; bit 1: the operator asked for it.
        flags: u32,
        /// Written as zero.
        pad1: u32,
    }
    /// The operator moves instruments to another trading state.
    903 InTradingState {
        /// Instrument, or 65535 for all.
        instrument: u16,
        /// State: see TradingStatus.
        state: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u32,
    }
    /// An instrument is listed.
    905 InInstrument {
        /// Strike, micro-units; the scale of a power perpetual; else zero.
        strike_micro: i64,
        /// Expiry, ns; the period of an everlasting option; else zero.
        expiry: u64,
        /// Units of underlying in a lot x 1e9.
        lot_e9: i64,
        /// Tick of the price of one unit of underlying, micro-units.
        tick_micro: i64,
        /// Largest order, lots.
        order_lots_max: i64,
        /// Largest absolute position, lots.
        position_lots_max: i64,
        /// Lowest price of the band.
        base_ticks: i32,
        /// Prices in the band.
        width_ticks: i32,
        /// Half-width of the collar, ppm of the index.
        collar_ppm: u32,
        /// From this price on the tick is `tick2_multiple` times as large; zero: one tick for all prices.
        tick2_from_ticks: i32,
        /// Ticks in a step of the price from `tick2_from_ticks` on.
        tick2_multiple: u32,
        /// Instrument.
        instrument: u16,
        /// 0 perpetual, 1 call, 2 put, 3 dated future, 4 everlasting call, 5 everlasting put, 6 power perpetual.
        kind: u8,
        /// Volatility slot of the oracle reports.
        vol_slot: u8,
        /// Trading state at the start: see TradingStatus.
        state: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
        /// Written as zero.
        pad3: u32,
        /// Name, padded with zero bytes.
        symbol: [u8; 16],
    }
    /// The operator cancels orders.
    906 InOperatorCancel {
        /// Member, or zero for all.
        member: u32,
        /// Account, or 4294967295 for all.
        account: u32,
        /// Instrument, or 65535 for all.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// A member trades for an account.
    907 InAccount {
        /// Account.
        account: u32,
        /// Member.
        member: u32,
    }
    /// Parameters of the risk domain, at the start of the day.
    908 InDomain {
        /// A settlement runs when the index moved by this much, ppm.
        delta_threshold_ppm: u32,
        /// Initial margin over maintenance margin, ppm of the latter.
        initial_extra_ppm: u32,
        /// A settlement runs when this much time has passed, ns.
        settlement_interval_ns: u64,
        /// An oracle report older than this halts orders that may add risk, ns.
        oracle_stale_ns: u64,
        /// Orders that can rest at a time.
        orders: u32,
        /// Account ids run below this.
        accounts: u32,
        /// Member ids run up to this.
        members: u32,
        /// Instrument ids run below this.
        instruments: u32,
    }
    /// A member, who may not trade, gets a copy of every report of another.
    909 InDropCopy {
        /// Who gets the copies.
        member: u32,
        /// Whose reports they are.
        of: u32,
    }
    /// The operator locks or unlocks.
    910 InLock {
        /// Member.
        member: u32,
        /// Account, or 4294967295 for all of the member.
        account: u32,
        /// 0 lock, 1 unlock.
        action: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
        /// Written as zero.
        pad3: u32,
    }
    /// Rules of risk: funding, expiry, liquidation, the hedging vault. In force from `effective_time` on; until
    /// then the feed shows them as announced.
    911 InRiskRules {
        /// From when on, ns; not later than now: at once.
        effective_time: u64,
        /// Time between two fundings, ns; at least 1 where funding is on.
        funding_interval_ns: u64,
        /// Time in which a premium is paid in full, ns; at least 1 where funding is on.
        funding_period_ns: u64,
        /// The settlement price is the mean of the index over so much time before the expiry, ns; zero: the index.
        expiry_window_ns: u64,
        /// Lots whose mean price is the impact price of a side.
        impact_lots: i64,
        /// The vault hedges when its net delta is beyond this, units of underlying x 1e9.
        vault_delta_e9: i64,
        /// Largest premium that counts, ppm of the mark.
        funding_clamp_ppm: u32,
        /// Initial margin over maintenance margin, ppm of the latter.
        initial_extra_ppm: u32,
        /// A liquidation stops when so much of the maintenance margin is free, ppm of it.
        exit_extra_ppm: u32,
        /// Penalty, ppm of the notional that a liquidation closed; at most 100000.
        liquidation_fee_ppm: u32,
        /// Part of a position that one step of a liquidation closes, ppm; 1 to 1000000.
        slice_ppm: u32,
        /// Account of the vault; zero: none.
        vault_account: u32,
        /// Instrument that the vault hedges with.
        vault_instrument: u16,
        /// Bit 0 funding, bit 1 expiry, bit 2 liquidation.
        switches: u8,
        /// Written as zero.
        pad1: u8,
        /// Contingency on short options, 1/10000 of their notional; zero: none.
        short_option_bp: u16,
        /// Haircut on the value of long options as collateral, 1/10000 of it; zero: none.
        option_haircut_bp: u16,
    }
    /// An operator acts. It changes nothing; what it is about comes right after, if the journal has a record of its own
    /// for that.
    920 InOperatorAct {
        /// First eight bytes, little-endian, of the hash of the audit log's entry of the request; zero: of the box itself.
        request: u64,
        /// Unix user that asked.
        uid: u32,
        /// Unix user that approved, or 4294967295: nobody had to.
        approver: u32,
        /// Member, account or instrument that it is about, or 4294967295.
        subject: u32,
        /// 1 state, 2 lock, 3 cancel, 4 kick, 5 limits, 6 seal, 7 drain, 8 stop, 9 reload, 10 price override,
        /// 11 end of the override, 12 key, 13 list, 14 delist.
        act: u16,
        /// Written as zero.
        pad1: u16,
    }
    /// The operator sets a member's rates; they stay until they are set again, whatever the configuration says.
    921 InMemberLimits {
        /// Member.
        member: u32,
        /// Requests a second; cancels are not counted.
        orders_per_second: u32,
        /// Entries of mass quotes a second.
        quotes_per_second: u32,
        /// Written as zero.
        pad1: u32,
    }
    /// An instrument that nobody holds is delisted: its orders go, and its id is not used again.
    922 InDelist {
        /// Instrument.
        instrument: u16,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// How the range of the margin scenarios follows volatility: matcher/RISK.md.
    923 InVolModel {
        /// It is in force from then on, ns; in the past: at once.
        effective_time: u64,
        /// Time between two samples of the index, ns.
        sample_ns: u64,
        /// Weight of the newest sample in the EWMA, ppm; zero leaves the EWMA out.
        ewma_ppm: u32,
        /// Samples of the shortest horizon.
        horizon0: u32,
        /// Samples of the middle horizon.
        horizon1: u32,
        /// Samples of the longest horizon.
        horizon2: u32,
        /// Weight of the shortest horizon, ppm.
        weight0_ppm: u32,
        /// Weight of the middle horizon, ppm.
        weight1_ppm: u32,
        /// Weight of the longest horizon, ppm.
        weight2_ppm: u32,
        /// Samples that the range covers.
        cover_samples: u32,
        /// The range in standard deviations over that time, x 1000.
        multiple_milli: u32,
        /// Narrowest range, ppm of the index.
        narrowest_ppm: u32,
        /// Widest range, ppm of the index.
        widest_ppm: u32,
        /// Most that the range narrows in a sample, ppm of itself.
        narrow_ppm: u32,
    }
}
/// [`InRiskRules::switches`]: perpetuals and their like pay funding.
pub const RISK_FUNDING: u8 = 1;
/// [`InRiskRules::switches`]: what has expired is settled and delivered.
pub const RISK_EXPIRY: u8 = 2;
/// [`InRiskRules::switches`]: accounts below maintenance are liquidated.
pub const RISK_LIQUIDATION: u8 = 4;
/// [`InInstrument::kind`]: perpetual.
pub const KIND_PERPETUAL: u8 = 0;
/// [`InInstrument::kind`]: European call.
pub const KIND_CALL: u8 = 1;
/// [`InInstrument::kind`]: European put.
pub const KIND_PUT: u8 = 2;
/// [`InInstrument::kind`]: dated future.
pub const KIND_FUTURE: u8 = 3;
/// [`InInstrument::kind`]: everlasting call; `expiry` is the time between two payments.
pub const KIND_EVERLASTING_CALL: u8 = 4;
/// [`InInstrument::kind`]: everlasting put.
pub const KIND_EVERLASTING_PUT: u8 = 5;
/// [`InInstrument::kind`]: power perpetual of the second power; `strike_micro` is its scale.
pub const KIND_POWER: u8 = 6;
/// A risk table (body: `matcher::table::RiskTable`) is adopted.
pub const IN_RISK_TABLE: u16 = 904;
/// [`InSession::event`]: established.
pub const SESSION_ESTABLISHED: u8 = 0;
/// [`InSession::event`]: terminated by the client.
pub const SESSION_TERMINATED: u8 = 1;
/// [`InSession::event`]: silence for three intervals.
pub const SESSION_LOST: u8 = 2;
/// [`InSession::event`]: a newer login took over.
pub const SESSION_REPLACED: u8 = 3;
/// [`InSession::event`]: ended by the venue.
pub const SESSION_ENDED: u8 = 4;
/// [`InTimer::flags`]: seal the open batch.
pub const TIMER_SEAL: u32 = 1;
/// [`InTimer::flags`]: the operator asked for the seal.
pub const TIMER_OPERATOR: u32 = 2;
