//! How much the box holds. All of it is taken at the start; what does not fit is refused by a code.

use firmware::limits::{ACCOUNTS, INSTRUMENTS, MEMBERS, TIER_INSTRUMENTS};
use firmware::wire::input::InDomain;
use matcher::book::BOOK_ORDERS_MAX;
use matcher::engine::EngineLimits;
use serde::Deserialize;

/// `[capacity]`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capacity {
    /// Orders that can rest at a time. An order that finds no room is rejected with `BookFull`.
    pub orders: u32,
    /// Accounts: ids run below this. With fewer than the state tree has leaves, a deposit on L1 for an
    /// account beyond them holds up the deposits behind it.
    pub accounts: u32,
    /// Members, and so sessions: ids run from 1 to this.
    pub members: u32,
    /// Instruments: ids run below this.
    pub instruments: u16,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            orders: 1 << 16,
            accounts: ACCOUNTS as u32,
            members: 256,
            instruments: TIER_INSTRUMENTS as u16,
        }
    }
}

impl Capacity {
    /// As much as this release can hold.
    pub const MAX: Self = Self {
        orders: BOOK_ORDERS_MAX,
        accounts: ACCOUNTS as u32,
        members: MEMBERS as u32,
        instruments: INSTRUMENTS as u16,
    };

    /// As the domain's record at the start of a journal says.
    #[must_use]
    pub const fn of(domain: &InDomain) -> Self {
        Self {
            orders: domain.orders,
            accounts: domain.accounts,
            members: domain.members,
            instruments: domain.instruments as u16,
        }
    }

    /// Checks each size against its bound.
    ///
    /// # Errors
    /// Which key is wrong, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let max = Self::MAX;
        for (key, value, max) in [
            ("orders", self.orders, max.orders),
            ("accounts", self.accounts, max.accounts),
            ("members", self.members, max.members),
            (
                "instruments",
                self.instruments.into(),
                max.instruments.into(),
            ),
        ] {
            if !(1..=max).contains(&value) {
                return Err(format!("capacity.{key}: {value} is not in 1..={max}"));
            }
        }
        Ok(())
    }

    /// Memory that the core of this size takes at the start, bytes, give or take a tenth; books not counted, which
    /// take [`TICK_BYTES`] for each price of their bands.
    #[must_use]
    pub const fn core_bytes(&self) -> u64 {
        // Measured, and held by the test of the largest box.
        let account = 744 + 24 * self.instruments as u64;
        (21 << 20)
            + self.orders as u64 * 476
            + self.accounts as u64 * account
            + self.members as u64 * 171_000
    }

    /// The same as limits of the engine.
    #[must_use]
    pub const fn engine(&self) -> EngineLimits {
        EngineLimits {
            accounts: self.accounts as usize,
            orders: self.orders,
            instruments: self.instruments,
            members: self.members,
        }
    }
}

/// Memory of one price in a book's band: its level, and its part of the bitmap.
pub const TICK_BYTES: u64 = 17;

/// Memory of this process that is really there, bytes; zero where the system does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
