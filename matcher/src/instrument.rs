//! What an instrument is: contract terms, lot and tick, book window, limits. Plain data, so that a
//! configuration, the books, the gate and the risk table all read one description.

use firmware::limits::{
    INSTRUMENTS, ORDER_LOTS_MAX, POSITION_LOTS_MAX, PRICE_BITS, TICK_VALUE_BITS,
};
use firmware::units::{InstrumentId, TimeNs};

/// Largest index, forward or strike, in micro-units per unit of underlying (17.6 million units).
/// It keeps the exact intermediate of an option price inside an `i128`.
pub const INDEX_MICRO_MAX: i64 = 1 << 44;
/// Largest lot: a million units of underlying, in units x 1e9.
pub const LOT_E9_MAX: i64 = 1_000_000_000_000_000;
/// Parts of a whole in `lot_e9`.
const E9: i128 = 1_000_000_000;

/// The terms of an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionTerms {
    /// Strike, in micro-units per unit of underlying.
    pub strike_micro: i64,
    /// From this moment on the option is worth its intrinsic value.
    pub expiry: TimeNs,
}

/// What is listed. All of it is linear: quoted, margined and settled in the settlement asset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InstrumentKind {
    /// Perpetual: worth the index.
    Perpetual,
    /// European call.
    Call(OptionTerms),
    /// European put.
    Put(OptionTerms),
}

impl InstrumentKind {
    /// The terms, for an option.
    #[must_use]
    pub const fn option_terms(&self) -> Option<OptionTerms> {
        match *self {
            Self::Perpetual => None,
            Self::Call(terms) | Self::Put(terms) => Some(terms),
        }
    }
}

/// Half-width of the collar: how far from the mark a trade may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collar {
    /// Parts per million of the index (for options too: a share of a small premium would be no room
    /// at all), rounded up to whole ticks.
    PpmOfIndex(u32),
    /// Ticks.
    Ticks(u32),
}

/// One listed instrument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InstrumentSpec {
    /// Its column in the risk table.
    pub id: InstrumentId,
    /// Contract.
    pub kind: InstrumentKind,
    /// Units of underlying in one lot, x 1e9.
    pub lot_e9: i64,
    /// One tick of the price of one unit of underlying, in micro-units. `tick_micro * lot_e9 / 1e9`
    /// (the value of a tick for a lot) must be whole: see [`InstrumentSpec::tick_value_micro`].
    pub tick_micro: i64,
    /// Trades are confined to the mark plus or minus this, at least one tick.
    pub collar: Collar,
    /// Lowest price that the book can hold, at least 1.
    pub book_base_ticks: i32,
    /// Number of prices that the book can hold.
    pub book_width_ticks: i32,
    /// Largest quantity of one order.
    pub order_lots_max: i64,
    /// Largest absolute position of one account.
    pub position_lots_max: i64,
}

/// Why an [`InstrumentSpec`] is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InstrumentError {
    /// The id is not a column of the table.
    #[error("instrument id {0} is not below {INSTRUMENTS}")]
    Id(u16),
    /// Strike outside `1..=INDEX_MICRO_MAX`.
    #[error("strike of {0} micro-units is not in 1..={INDEX_MICRO_MAX}")]
    Strike(i64),
    /// Lot outside `1..=LOT_E9_MAX`.
    #[error("lot_e9 of {0} is not in 1..={LOT_E9_MAX}")]
    Lot(i64),
    /// Tick outside `1..=INDEX_MICRO_MAX`.
    #[error("tick of {0} micro-units is not in 1..={INDEX_MICRO_MAX}")]
    Tick(i64),
    /// A tick of a lot is not a whole number of micro-units.
    #[error(
        "tick_micro {tick_micro} x lot_e9 {lot_e9} is not a multiple of 1e9, so a tick of a lot is no whole number of micro-units"
    )]
    TickValueFraction {
        /// Tick.
        tick_micro: i64,
        /// Lot.
        lot_e9: i64,
    },
    /// A tick of a lot is worth too much for the circuit.
    #[error("a tick of a lot is worth {0} micro-units, not in 1..2^{TICK_VALUE_BITS}")]
    TickValue(i128),
    /// Collar of no width.
    #[error("the collar has no width")]
    Collar,
    /// Book window outside `1..2^PRICE_BITS`.
    #[error("book window of {width} ticks from {base} is empty or not within 1..2^{PRICE_BITS}")]
    BookWindow {
        /// Lowest price.
        base: i32,
        /// Number of prices.
        width: i32,
    },
    /// Order limit outside `1..=ORDER_LOTS_MAX`.
    #[error("order limit of {0} lots is not in 1..={ORDER_LOTS_MAX}")]
    OrderLots(i64),
    /// Position limit outside `1..=POSITION_LOTS_MAX`.
    #[error("position limit of {0} lots is not in 1..={POSITION_LOTS_MAX}")]
    PositionLots(i64),
}

impl InstrumentSpec {
    /// Checks every field against the bounds of the system and against each other.
    ///
    /// # Errors
    /// The first field that is out of bounds, in the order of [`InstrumentError`].
    pub fn validate(&self) -> Result<(), InstrumentError> {
        if usize::from(self.id.0) >= INSTRUMENTS {
            return Err(InstrumentError::Id(self.id.0));
        }
        if let Some(terms) = self.kind.option_terms()
            && !(1..=INDEX_MICRO_MAX).contains(&terms.strike_micro)
        {
            return Err(InstrumentError::Strike(terms.strike_micro));
        }
        self.tick_value_micro()?;
        if matches!(self.collar, Collar::PpmOfIndex(0) | Collar::Ticks(0)) {
            return Err(InstrumentError::Collar);
        }
        let (base, width) = (self.book_base_ticks, self.book_width_ticks);
        if base < 1 || width < 1 || i64::from(base) + i64::from(width) > 1 << PRICE_BITS {
            return Err(InstrumentError::BookWindow { base, width });
        }
        if !(1..=ORDER_LOTS_MAX).contains(&self.order_lots_max) {
            return Err(InstrumentError::OrderLots(self.order_lots_max));
        }
        if !(1..=POSITION_LOTS_MAX).contains(&self.position_lots_max) {
            return Err(InstrumentError::PositionLots(self.position_lots_max));
        }
        Ok(())
    }

    /// Value of one tick for one lot, `tick_micro * lot_e9 / 1e9` micro-units: exact, in `1..2^16`.
    ///
    /// # Errors
    /// `Lot`, `Tick`, `TickValueFraction` or `TickValue`.
    pub fn tick_value_micro(&self) -> Result<u32, InstrumentError> {
        let (tick_micro, lot_e9) = (self.tick_micro, self.lot_e9);
        if !(1..=LOT_E9_MAX).contains(&lot_e9) {
            return Err(InstrumentError::Lot(lot_e9));
        }
        if !(1..=INDEX_MICRO_MAX).contains(&tick_micro) {
            return Err(InstrumentError::Tick(tick_micro));
        }
        let product = i128::from(tick_micro) * i128::from(lot_e9);
        if product % E9 != 0 {
            return Err(InstrumentError::TickValueFraction { tick_micro, lot_e9 });
        }
        let value = product / E9;
        if !(1..1 << TICK_VALUE_BITS).contains(&value) {
            return Err(InstrumentError::TickValue(value));
        }
        Ok(value as u32)
    }

    /// Value of one lot at `price_micro` per unit of underlying, in micro-units, rounded to nearest
    /// with halves up. Exact for a whole number of ticks.
    #[must_use]
    pub fn lot_value_micro(&self, price_micro: i64) -> i128 {
        (i128::from(price_micro) * i128::from(self.lot_e9) + E9 / 2).div_euclid(E9)
    }
}
