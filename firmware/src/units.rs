//! Newtypes for everything that is counted, so that ticks, lots and money cannot be mixed.
//!
//! | Type | Unit | Width |
//! |---|---|---|
//! | [`PriceTicks`] | integer ticks of the instrument, on the book | i32, `0 < t < 2^24` |
//! | [`Lots`] | integer lots (orders are positive, positions are signed) | i64 |
//! | [`Micro`] | 1e-6 of the settlement asset | i64 on the wire, i128 in between |
//! | [`Pico`] | 1e-12 of the settlement asset: raw cash, so that a fee in ppm is exact | i128 |
//! | [`TimeNs`] | ns since the Unix epoch | u64 |

use bytemuck::{Pod, Zeroable};

macro_rules! unit {
    ($(#[$m:meta])* $name:ident($inner:ty)) => {
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Pod, Zeroable)]
        #[repr(transparent)]
        pub struct $name(pub $inner);
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

unit!(/// An account of a risk domain: the index of its leaf in the state tree.
    AccountId(u32));
unit!(/// A trading member: owner of sessions and accounts. Reports are numbered per member session key.
    MemberId(u32));
unit!(/// A listed instrument: the index of its column in the risk table.
    InstrumentId(u16));
unit!(/// The place of a record in the journal; from 1, without gaps.
    Seq(u64));
unit!(/// The client's name of an order: rises strictly within a session.
    ClOrdId(u64));
unit!(/// The venue's name of an order: arena slot in the low 32 bits, generation above.
    OrderId(u64));
unit!(/// A price on the book, in the instrument's ticks.
    PriceTicks(i32));
unit!(/// A quantity in the instrument's lots; signed where it is a position.
    Lots(i64));
unit!(/// Money in 1e-6 of the settlement asset.
    Micro(i64));
unit!(/// Nanoseconds since the Unix epoch.
    TimeNs(u64));

/// Raw cash in 1e-12 of the settlement asset. A notional is whole micro-units and a fee rate is whole
/// ppm, so cash in pico-units never rounds.
pub type Pico = i128;

/// Pico-units in a micro-unit.
pub const PICO_PER_MICRO: i128 = 1_000_000;

impl OrderId {
    /// The id of arena slot `slot` in its `generation`-th use.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | slot as u64)
    }
    /// Arena slot.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }
    /// Generation of the slot.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Which side of the book.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Side {
    /// Bids.
    Buy = 0,
    /// Asks.
    Sell = 1,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
    /// +1 for a buy, -1 for a sell.
    #[must_use]
    pub const fn sign(self) -> i64 {
        match self {
            Self::Buy => 1,
            Self::Sell => -1,
        }
    }
    /// From the wire byte.
    #[must_use]
    pub const fn from_wire(b: u8) -> Option<Self> {
        match b {
            0 => Some(Self::Buy),
            1 => Some(Self::Sell),
            _ => None,
        }
    }
}
