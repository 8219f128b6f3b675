//! Every bound of the system, with the relations between them settled at compile time.

/// Instruments that the gate, the books and the engine of a risk domain can hold.
pub const INSTRUMENTS: usize = 256;
/// Small tier: instruments of the circuit, columns of its risk table. A domain that lists more trades and
/// settles, but this tier cannot prove its batches.
pub const TIER_INSTRUMENTS: usize = 16;
/// Margin scenarios: 9 price shocks x 3 volatility shocks.
pub const SCENARIOS: usize = 27;
/// Accounts of a risk domain: leaves of the state tree (arity 4, depth 8).
pub const ACCOUNTS: usize = 1 << 16;
/// Depth of the state tree.
pub const TREE_DEPTH: usize = 8;
/// Children of a node of the state tree.
pub const TREE_ARITY: usize = 4;

/// Small tier: accounts that one batch can touch.
pub const BATCH_ACCOUNTS: usize = 8;
/// Small tier: fill rows of one batch.
pub const BATCH_FILLS: usize = 256;
/// Small tier: fill rows that share one instrument in the circuit.
pub const BATCH_LANE: usize = 16;
/// Small tier: deposits consumed by one batch.
pub const BATCH_DEPOSITS: usize = 8;
/// Small tier: withdrawals granted by one batch.
pub const BATCH_WITHDRAWALS: usize = 8;

/// Bits of the quantity of one fill row in the circuit.
pub const FILL_QTY_BITS: u32 = 30;
/// Bits of the width of an instrument's collar, in ticks.
pub const COLLAR_BITS: u32 = 20;
/// Bits of a tick price.
pub const PRICE_BITS: u32 = 24;
/// Bits of the value of a tick per lot, in micro-units.
pub const TICK_VALUE_BITS: u32 = 16;
/// Largest quantity of one order, in lots.
pub const ORDER_LOTS_MAX: i64 = (1 << 24) - 1;
/// Largest absolute position of an account in one instrument, in lots.
pub const POSITION_LOTS_MAX: i64 = 1 << 28;
/// Largest sum of the position limits of a domain's instruments, in lots.
pub const DOMAIN_LOTS_MAX: i64 = TIER_INSTRUMENTS as i64 * POSITION_LOTS_MAX;
/// Largest absolute value of one lot in any scenario, in micro-units.
pub const LOT_VALUE_MICRO_MAX: i64 = 1 << 30;
/// Bits of a scenario equity in the circuit, in micro-units.
pub const EQUITY_BITS: u32 = 64;
/// Bits of a deposit or a withdrawal, in micro-units.
pub const AMOUNT_BITS: u32 = 62;

/// Members of a risk domain, each with one session: ids run from 1 to this.
pub const MEMBERS: usize = 1 << 12;
/// Places for members, by id: place 0 stands for the venue.
pub const GATE_MEMBERS: usize = MEMBERS + 1;
/// Accounts that the gate can hold: all that the state tree has leaves for.
pub const GATE_ACCOUNTS: usize = ACCOUNTS;
/// Price levels of one book: the width of an instrument's band.
pub const BAND_TICKS_MAX: usize = 1 << PRICE_BITS;
/// UDP payload that never fragments on an Ethernet path.
pub const DATAGRAM_MAX: usize = 1472;
/// Payload of a market-data packet.
pub const FEED_PAYLOAD_MAX: usize = 1400;
/// Fills of one incoming order; the rest of the order is cancelled beyond it, so that work is bounded.
pub const FILLS_PER_ORDER_MAX: usize = 1024;

const _: () = assert!(TREE_ARITY.pow(TREE_DEPTH as u32) == ACCOUNTS);
const _: () = assert!(BATCH_FILLS.is_multiple_of(BATCH_LANE));
const _: () = assert!(ORDER_LOTS_MAX < 1 << FILL_QTY_BITS);
const _: () = assert!(TIER_INSTRUMENTS <= INSTRUMENTS);
// The positions' value in one scenario, summed over all instruments, fits the scenario equity.
const _: () =
    assert!(DOMAIN_LOTS_MAX as i128 * LOT_VALUE_MICRO_MAX as i128 <= 1 << (EQUITY_BITS - 2));
// The notional of one batch, in pico-units, is far from wrapping a 254-bit field.
const _: () = assert!(FILL_QTY_BITS + PRICE_BITS + TICK_VALUE_BITS + 20 + 8 < 200);
