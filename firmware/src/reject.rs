//! One code per reason. A request with several faults is refused for the first that is looked at: the
//! gate's come before the engine's, and the engine looks at trading state, account, lock, group, oracle or reduce-only, collar,
//! post-only, position, margin, room, and last at whether a fill-or-kill order can fill whole.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $value:literal $name:ident),+ $(,)?) => {
        /// Why a request was refused. A refused request changes nothing.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u16)]
        pub enum RejectCode { $($(#[doc = $doc])+ $name = $value),+ }

        impl RejectCode {
            /// All codes, by rising number.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
            /// Name as in the protocol document.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
            /// One sentence for people.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii_start()),+ }
            }
            /// From the wire.
            #[must_use]
            pub const fn from_wire(code: u16) -> Option<Self> {
                match code { $($value => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

codes! {
    /// The message is cut short, of another schema, or not a request.
    1 Malformed,
    /// More requests than the member's rate allows; cancels are never counted.
    2 Throttled,
    /// The member may not trade for this account.
    3 UnknownAccount,
    /// The client order id does not rise.
    4 DuplicateClOrdId,
    /// The venue has more to do than it keeps up with, or hardly any disk left: what may add risk is refused until that has passed; cancels and reductions pass.
    5 Overloaded,
    /// No such instrument is listed.
    10 UnknownInstrument,
    /// Side, order type, time in force, flags or self-trade mode is not one of the values allowed.
    11 InvalidField,
    /// The price is not a multiple of the tick.
    13 PriceOffTick,
    /// The price is outside the instrument's band.
    14 PriceOutOfBand,
    /// The quantity is zero, negative or beyond the instrument's limit.
    15 QuantityOutOfRange,
    /// The amount is zero or negative, or beyond what fits one batch.
    16 AmountOutOfRange,
    /// A mass quote has no entry, more than 32, or an instrument twice.
    17 BadEntries,
    /// The expiry is missing, not after now, or given without GTD.
    18 InvalidExpiry,
    /// A lane or table of the venue is full; the request may be sent again.
    20 Busy,
    /// Trading is halted; cancels pass.
    30 Halted,
    /// The oracle is stale; cancels and reducing orders pass.
    31 OracleStale,
    /// The price is outside the collar around the mark.
    32 PriceOutOfCollar,
    /// No live order of this account has the id.
    33 UnknownOrder,
    /// The order would take although it is post-only.
    34 WouldTake,
    /// The order would not bring the position nearer to zero although it is reduce-only.
    35 WouldIncrease,
    /// A fill-or-kill order cannot fill whole.
    36 CannotFillWhole,
    /// The position could pass the instrument's limit.
    37 PositionLimit,
    /// Free collateral does not cover the worst case of the order.
    38 InsufficientMargin,
    /// The account is below its maintenance margin: only cancels and deposits pass until it is above again.
    39 BelowMaintenance,
    /// The account has never been funded.
    40 NoSuchAccount,
    /// All order slots are taken.
    41 BookFull,
    /// The amount is more than the free collateral.
    42 InsufficientCollateral,
    /// The new quantity or price is the same as before, or a reduction does not reduce.
    43 NothingToChange,
    /// The account is locked by the kill switch or by the venue; cancels and reduce-only orders pass.
    44 Locked,
    /// The instrument's trading state does not take such an order; cancels pass.
    45 NotInThisState,
    /// The market-maker protection group has triggered and is frozen.
    46 MmpFrozen,
    /// The account has no market-maker protection group of this number.
    47 NoSuchMmpGroup,
    /// The session only reads: it gets copies of another member's reports.
    48 ReadOnly,
    /// The lock is the venue's: only the venue can undo it.
    49 LockedByVenue,
}

const _: () = assert!(RejectCode::ALL.len() < 64);
