//! Small things that every user of the wire needs: prices, ids, requests.

use core::fmt;
use firmware::units::{Side, TimeNs};
use firmware::wire::order::{
    Cancel, DeadManTimer, KILL_LOCK, KILL_UNLOCK, KillSwitch, MassCancel, NewOrder, ORD_LIMIT,
    ORD_MARKET, OpenOrdersRequest, PositionsRequest, ReduceQty, SCOPE_ALL, TIF_GTC, TIF_IOC,
};
use firmware::wire::quote::{MassQuote, QUANTITY_NULL, QuoteEntry};
use firmware::wire::sbe::{BYTE_NULL, ID16_NULL, ID32_NULL, PRICE_NULL};
use std::time::SystemTime;

/// One, in the wire's fixed point.
const ONE_E9: i64 = 1_000_000_000;

/// The system's clock, ns since the Unix epoch.
///
/// # Panics
/// When the clock stands before 1970.
#[must_use]
pub fn now() -> TimeNs {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("the clock stands before 1970");
    TimeNs(since.as_nanos() as u64)
}

/// Shows a wire number (x 1e-9) as a decimal without trailing zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct E9(pub i64);

impl fmt::Display for E9 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let size = self.0.unsigned_abs();
        let one = ONE_E9.unsigned_abs();
        let (whole, part) = (size / one, size % one);
        let digits = format!("{part:09}");
        let digits = digits.trim_end_matches('0');
        let point = if digits.is_empty() { "" } else { "." };
        f.pad(&format!("{sign}{whole}{point}{digits}"))
    }
}

/// The text is not a decimal with at most nine places that fits the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseE9Error(String);

impl fmt::Display for ParseE9Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not a decimal with at most nine places",
            self.0
        )
    }
}

impl std::error::Error for ParseE9Error {}

/// Reads a decimal such as `-12.5` exactly into the wire's fixed point (x 1e-9).
///
/// # Errors
/// [`ParseE9Error`].
pub fn parse_e9(text: &str) -> Result<i64, ParseE9Error> {
    let read = || {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, part) = rest.split_once('.').unwrap_or((rest, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 9 {
            return None;
        }
        let whole: i64 = whole.parse().ok()?;
        let part: i64 = format!("{part:0<9}").parse().ok()?;
        let (whole, part) = if negative {
            (-whole, -part)
        } else {
            (whole, part)
        };
        whole.checked_mul(ONE_E9)?.checked_add(part)
    };
    // The lowest number is the wire's null.
    match read() {
        Some(v) if v != PRICE_NULL => Ok(v),
        _ => Err(ParseE9Error(text.to_owned())),
    }
}

/// Client order ids: they must rise strictly within a member's day, restarts included, so they start at
/// the time in microseconds. A member with several programs gives each its own accounts.
#[derive(Clone, Debug)]
pub struct OrderIds {
    next: u64,
}

impl OrderIds {
    /// Starts at the time.
    #[must_use]
    pub const fn from_time(now: TimeNs) -> Self {
        Self { next: now.0 / 1000 }
    }

    /// Goes on at a known id.
    #[must_use]
    pub const fn starting_at(next: u64) -> Self {
        Self { next }
    }

    /// A new id.
    pub const fn next_id(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }
}

/// A limit order that rests until cancelled. Price x 1e-9, quantity in lots. Change fields for the rest:
/// `NewOrder { flags: FLAG_POST_ONLY, ..limit_order(..) }`.
#[must_use]
pub const fn limit_order(
    cl_ord_id: u64,
    account: u32,
    instrument: u16,
    side: Side,
    price: i64,
    quantity: i64,
) -> NewOrder {
    NewOrder {
        cl_ord_id,
        price,
        quantity,
        expire_time: 0,
        smp_id: 0,
        account,
        instrument,
        side: side as u8,
        ord_type: ORD_LIMIT,
        time_in_force: TIF_GTC,
        flags: 0,
        stp_mode: 0,
        mmp_group: 0,
        pad1: 0,
    }
}

/// A market order: fills at once up to the collar, the rest is cancelled.
#[must_use]
pub const fn market_order(
    cl_ord_id: u64,
    account: u32,
    instrument: u16,
    side: Side,
    quantity: i64,
) -> NewOrder {
    NewOrder {
        ord_type: ORD_MARKET,
        time_in_force: TIF_IOC,
        ..limit_order(cl_ord_id, account, instrument, side, PRICE_NULL, quantity)
    }
}

/// Cancels the order that the client named `orig_cl_ord_id`.
#[must_use]
pub const fn cancel(cl_ord_id: u64, account: u32, instrument: u16, orig_cl_ord_id: u64) -> Cancel {
    Cancel {
        cl_ord_id,
        order_id: 0,
        orig_cl_ord_id,
        account,
        instrument,
        pad1: 0,
    }
}

/// Cancels all orders of the account, of one instrument and side if given.
#[must_use]
pub const fn mass_cancel(
    cl_ord_id: u64,
    account: u32,
    instrument: Option<u16>,
    side: Option<Side>,
) -> MassCancel {
    MassCancel {
        cl_ord_id,
        account,
        instrument: match instrument {
            Some(i) => i,
            None => ID16_NULL,
        },
        side: match side {
            Some(s) => s as u8,
            None => BYTE_NULL,
        },
        scope: SCOPE_ALL,
        mmp_group: BYTE_NULL,
        pad1: 0,
        pad2: 0,
        pad3: 0,
    }
}

/// Lowers the open quantity of the order that the client named `orig_cl_ord_id` to `quantity` lots; it keeps its
/// place in the queue.
#[must_use]
pub const fn reduce(
    cl_ord_id: u64,
    account: u32,
    instrument: u16,
    orig_cl_ord_id: u64,
    quantity: i64,
) -> ReduceQty {
    ReduceQty {
        cl_ord_id,
        order_id: 0,
        orig_cl_ord_id,
        quantity,
        account,
        instrument,
        pad1: 0,
    }
}

/// The head of a mass quote; its entries are made by [`quote`], and
/// [`Session::send_quote`](crate::Session::send_quote) sends both.
#[must_use]
pub const fn mass_quote(cl_ord_id: u64, account: u32) -> MassQuote {
    MassQuote {
        cl_ord_id,
        smp_id: 0,
        account,
        mmp_group: 0,
        stp_mode: 0,
        flags: 0,
        pad1: 0,
        pad2: 0,
        // Filled in when it is encoded.
        block_length: 0,
        num_in_group: 0,
    }
}

/// Both sides of one instrument, each with price x 1e-9 and lots. A side of zero lots is withdrawn, one that is
/// `None` stays as it is.
#[must_use]
pub const fn quote(
    instrument: u16,
    bid: Option<(i64, i64)>,
    ask: Option<(i64, i64)>,
) -> QuoteEntry {
    const UNTOUCHED: (i64, i64) = (PRICE_NULL, QUANTITY_NULL);
    let (bid_price, bid_quantity) = match bid {
        Some(side) => side,
        None => UNTOUCHED,
    };
    let (ask_price, ask_quantity) = match ask {
        Some(side) => side,
        None => UNTOUCHED,
    };
    QuoteEntry {
        bid_price,
        bid_quantity,
        ask_price,
        ask_quantity,
        instrument,
        pad1: 0,
        pad2: 0,
    }
}

/// Cancels everything of the account, of all the member's accounts if `None`, and locks: only cancels and
/// reduce-only orders pass until [`unlock`].
#[must_use]
pub const fn kill_switch(cl_ord_id: u64, account: Option<u32>) -> KillSwitch {
    KillSwitch {
        cl_ord_id,
        account: match account {
            Some(id) => id,
            None => ID32_NULL,
        },
        action: KILL_LOCK,
        pad1: 0,
        pad2: 0,
    }
}

/// Takes the lock of a [`kill_switch`] off.
#[must_use]
pub const fn unlock(cl_ord_id: u64, account: Option<u32>) -> KillSwitch {
    KillSwitch {
        action: KILL_UNLOCK,
        ..kill_switch(cl_ord_id, account)
    }
}

/// Cancels all orders of the member in `timeout_ns`, unless it is sent again before; zero disarms it.
#[must_use]
pub const fn dead_man_timer(cl_ord_id: u64, timeout_ns: u64) -> DeadManTimer {
    DeadManTimer {
        cl_ord_id,
        timeout_ns,
    }
}

/// Asks for a page of the account's open orders, of one instrument if given. The next page begins after the
/// `after` of the answer's end; the first after zero.
#[must_use]
pub const fn open_orders(
    cl_ord_id: u64,
    account: u32,
    instrument: Option<u16>,
    after: u64,
) -> OpenOrdersRequest {
    OpenOrdersRequest {
        cl_ord_id,
        after,
        account,
        instrument: match instrument {
            Some(i) => i,
            None => ID16_NULL,
        },
        pad1: 0,
    }
}

/// Asks for positions and margin of the account.
#[must_use]
pub const fn positions(cl_ord_id: u64, account: u32) -> PositionsRequest {
    PositionsRequest {
        cl_ord_id,
        account,
        pad1: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_both_ways() {
        for (text, value) in [
            ("0", 0),
            ("65000.5", 65_000_500_000_000),
            ("-0.000000001", -1),
            ("9223372036.854775807", i64::MAX),
            ("-9223372036.854775807", -i64::MAX),
            ("100", 100_000_000_000),
        ] {
            assert_eq!(parse_e9(text), Ok(value), "{text}");
            assert_eq!(E9(value).to_string(), text);
        }
        assert_eq!(parse_e9("1.50"), Ok(1_500_000_000));
        assert_eq!(
            format!("{:>6}|{:<5}|", E9(1_500_000_000), E9(-2_000_000_000)),
            "   1.5|-2   |"
        );
    }

    #[test]
    fn what_is_no_decimal_or_too_large_is_refused() {
        let bad = [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1.0000000001",
            "1e3",
            "+1",
            "1,5",
            " 1",
            "--1",
            "1.-5",
            "9223372036.854775808",
            "-9223372036.854775808",
            "99999999999999999999",
        ];
        for text in bad {
            assert!(parse_e9(text).is_err(), "{text}");
        }
    }

    #[test]
    fn order_ids_rise_strictly() {
        let mut ids = OrderIds::from_time(TimeNs(5_000_999));
        assert_eq!(
            [ids.next_id(), ids.next_id(), ids.next_id()],
            [5000, 5001, 5002]
        );
    }
}
