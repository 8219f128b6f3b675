//! What an instrument is: contract terms, lot and tick, book window, limits. Plain data, so that a
//! configuration, the books, the gate and the risk table all read one description.

use crate::pricing::PERIOD_NS_MAX;
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

/// The terms of an option that never expires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EverlastingTerms {
    /// Strike, in micro-units per unit of underlying.
    pub strike_micro: i64,
    /// Time between two payments of funding, ns: the shorter it is, the less time the option is worth.
    pub period_ns: u64,
}

/// What is listed. All of it is linear: quoted, margined and settled in the settlement asset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InstrumentKind {
    /// Perpetual: worth the index.
    Perpetual,
    /// Dated future: worth the index, until it expires.
    Future {
        /// From this moment on it trades no more.
        expiry: TimeNs,
    },
    /// European call.
    Call(OptionTerms),
    /// European put.
    Put(OptionTerms),
    /// Everlasting call.
    EverlastingCall(EverlastingTerms),
    /// Everlasting put.
    EverlastingPut(EverlastingTerms),
    /// Power perpetual: worth the square of the index over a scale.
    Squared {
        /// The index at which it is worth the index, in micro-units per unit of underlying.
        scale_micro: i64,
    },
}

impl InstrumentKind {
    /// The strike, for an option.
    #[must_use]
    pub const fn strike_micro(&self) -> Option<i64> {
        match *self {
            Self::Call(terms) | Self::Put(terms) => Some(terms.strike_micro),
            Self::EverlastingCall(terms) | Self::EverlastingPut(terms) => Some(terms.strike_micro),
            Self::Perpetual | Self::Future { .. } | Self::Squared { .. } => None,
        }
    }

    /// When it expires; what never does has none.
    #[must_use]
    pub const fn expiry(&self) -> Option<TimeNs> {
        match *self {
            Self::Future { expiry } => Some(expiry),
            Self::Call(terms) | Self::Put(terms) => Some(terms.expiry),
            _ => None,
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
    /// Scale of a power perpetual outside `1..=INDEX_MICRO_MAX`.
    #[error("scale of {0} micro-units is not in 1..={INDEX_MICRO_MAX}")]
    Scale(i64),
    /// Period of an everlasting option that no basket has.
    #[error("period of {0} ns is not in 1..={PERIOD_NS_MAX}")]
    Period(u64),
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
        if let Some(strike_micro) = self.kind.strike_micro()
            && !(1..=INDEX_MICRO_MAX).contains(&strike_micro)
        {
            return Err(InstrumentError::Strike(strike_micro));
        }
        match self.kind {
            InstrumentKind::Squared { scale_micro }
                if !(1..=INDEX_MICRO_MAX).contains(&scale_micro) =>
            {
                return Err(InstrumentError::Scale(scale_micro));
            }
            InstrumentKind::EverlastingCall(terms) | InstrumentKind::EverlastingPut(terms)
                if !(1..=PERIOD_NS_MAX).contains(&terms.period_ns) =>
            {
                return Err(InstrumentError::Period(terms.period_ns));
            }
            _ => {}
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
