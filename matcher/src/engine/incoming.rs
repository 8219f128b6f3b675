//! A checked order on its way into the book, and what the book keeps of it.

use super::Stamp;
use crate::accounts::Exposure;
use crate::book::OrderInfo;
use firmware::units::{AccountId, ClOrdId, InstrumentId, MemberId, OrderId, PriceTicks, Side};
use firmware::wire::order::FLAG_REDUCE_ONLY;

use super::tracked::{ORDERS, QUOTES};

/// Marks the id of an order that never rests, and of one whose place is not known yet.
const PASSING: u64 = 1 << 63;
/// Where the place of an order among those of its event stands in such an id.
const PLACE_SHIFT: u32 = 48;

/// Where a resting order's self-trade mode stands in its flags, above those of the wire.
const STP_SHIFT: u32 = 8;
const STP_MASK: u32 = 3;
/// Set for an order that came in a mass quote.
const QUOTE: u32 = 1 << 10;
/// Where its protection group stands.
const MMP_SHIFT: u32 = 16;

/// An order on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    /// Its name: that of its place in the book if it is known to rest untouched, else a passing one.
    pub(super) name: OrderId,
    pub(super) member: MemberId,
    pub(super) account: AccountId,
    pub(super) instrument: InstrumentId,
    pub(super) side: Side,
    pub(super) limit: PriceTicks,
    pub(super) lots: i64,
    /// Lots filled under earlier names.
    pub(super) filled: i64,
    pub(super) takes_at_once: bool,
    pub(super) fills_whole: bool,
    pub(super) is_quote: bool,
    pub(super) stp_mode: u8,
    pub(super) flags: u8,
    pub(super) mmp_group: u8,
    pub(super) smp_id: u64,
    /// Zero: never.
    pub(super) expire_time: u64,
    pub(super) cl_ord_id: u64,
    pub(super) client_seq: u64,
    pub(super) rx_time: u64,
}

/// The name of the `place`-th order of an event until it rests.
pub(super) const fn passing_id(stamp: &Stamp, place: u64) -> OrderId {
    OrderId(PASSING | place << PLACE_SHIFT | stamp.seq.0)
}

impl Incoming {
    pub(super) fn exposure(&self, lots: i64) -> Exposure {
        Exposure {
            instrument: self.instrument.0 as usize,
            side: self.side,
            price: self.limit,
            lots,
        }
    }

    pub(super) const fn reduces(&self) -> bool {
        self.flags & FLAG_REDUCE_ONLY != 0
    }

    /// Whether the name is a passing one.
    pub(super) const fn passes(&self) -> bool {
        self.name.0 & PASSING != 0
    }

    /// What the book keeps.
    pub(super) const fn info(&self) -> OrderInfo {
        OrderInfo {
            account: self.account,
            session: self.member.0,
            cl_ord_id: ClOrdId(self.cl_ord_id),
            flags: self.marks(),
        }
    }

    /// The flags of [`Self::info`].
    pub(super) const fn marks(&self) -> u32 {
        let quote = if self.is_quote { QUOTE } else { 0 };
        self.flags as u32
            | (self.stp_mode as u32) << STP_SHIFT
            | quote
            | (self.mmp_group as u32) << MMP_SHIFT
    }
}

/// What the engine reads of a resting order's flags.
pub(super) trait Marks {
    fn wire_flags(&self) -> u8;
    fn stp_mode(&self) -> u8;
    fn mmp_group(&self) -> u8;
    fn is_quote(&self) -> bool;
    fn is_reduce_only(&self) -> bool;
    /// Index of the list of the account that it stands in.
    fn list(&self) -> usize;
}

impl Marks for OrderInfo {
    fn wire_flags(&self) -> u8 {
        self.flags as u8
    }
    fn stp_mode(&self) -> u8 {
        (self.flags >> STP_SHIFT & STP_MASK) as u8
    }
    fn mmp_group(&self) -> u8 {
        (self.flags >> MMP_SHIFT) as u8
    }
    fn is_quote(&self) -> bool {
        self.flags & QUOTE != 0
    }
    fn is_reduce_only(&self) -> bool {
        self.flags as u8 & FLAG_REDUCE_ONLY != 0
    }
    fn list(&self) -> usize {
        if self.is_quote() { QUOTES } else { ORDERS }
    }
}
