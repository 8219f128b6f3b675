//! What a run of the demo is about: instruments, members, money, index. Made once by `bench demo`, written
//! to the run's folder, read by the worker processes.

use crate::flow::Step;
use crate::flow::market::Market;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Micro-units in a unit.
pub(crate) const MICRO: i64 = 1_000_000;
const DAY_S: u64 = 86_400;

/// Contract type of a listing, in the words of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// No expiry; worth the index.
    Perpetual,
    /// European call.
    Call,
    /// European put.
    Put,
}

/// One instrument as it stands in the venue's configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) id: u16,
    pub(crate) symbol: String,
    pub(crate) kind: Kind,
    /// Micro-units per unit of underlying; zero for a perpetual.
    pub(crate) strike_micro: i64,
    /// Zero for a perpetual.
    pub(crate) expiry_unix_s: u64,
    /// Which volatility of the oracle report prices it.
    pub(crate) expiry_slot: u8,
    pub(crate) lot_e9: i64,
    pub(crate) tick_micro: i64,
    pub(crate) collar_ppm: u32,
    pub(crate) book_base_ticks: i32,
    pub(crate) book_width_ticks: i32,
    pub(crate) order_lots_max: i64,
    pub(crate) position_lots_max: i64,
}

impl Listing {
    /// Value of one tick for one lot, in micro-units.
    pub(crate) const fn tick_value_micro(&self) -> i64 {
        (self.tick_micro as i128 * self.lot_e9 as i128 / 1_000_000_000) as i64
    }
    /// A tick price as it stands on the wire, x 1e-9.
    pub(crate) const fn wire_price(&self, ticks: i64) -> i64 {
        ticks * self.tick_micro * 1_000
    }
}

/// What a member does in the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Quotes both sides, or posts a recorded flow's limit orders.
    Maker,
    /// Sends immediate-or-cancel orders, or a recorded flow's executions.
    Taker,
}

/// A member with its accounts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) accounts: Vec<u32>,
}

/// What the oracle says over time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct IndexModel {
    /// First index, micro-units per unit of underlying.
    pub(crate) start_micro: i64,
    /// Recorded path: (ns since the start of trading, micro-units); empty: a seeded walk.
    pub(crate) path: Vec<(u64, i64)>,
    /// Standard deviation of one step of the walk, ppm of the index.
    pub(crate) step_ppm: i64,
    /// Pull back to the start per step, ppm of the distance.
    pub(crate) reversion_ppm: i64,
    /// Chance of a jump in a step, ppm; a jump is ten to twenty standard deviations.
    pub(crate) jump_chance_ppm: u64,
    /// Implied volatility of the four expiry slots, x 1e9.
    pub(crate) vols_e9: [i64; 4],
}

/// Where the orders come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// Seeded makers and takers that react to the feed.
    Synthetic,
    /// Recorded messages, in the order of sending.
    Recorded(Vec<Step>),
}

/// A run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Scenario {
    /// Where the orders come from, in words.
    pub(crate) title: String,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) listings: Vec<Listing>,
    pub(crate) members: Vec<Member>,
    /// Micro-units by account.
    pub(crate) deposits: BTreeMap<u32, u64>,
    pub(crate) index: IndexModel,
    pub(crate) source: Source,
    /// Recorded messages that could not be mapped, by kind.
    pub(crate) unmapped: BTreeMap<String, u64>,
    /// The market that a LOBSTER file recorded, to compare with.
    pub(crate) market: Option<Market>,
}

/// Where the workers find the venue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Venue {
    pub(crate) order_entry: String,
    /// Answers re-requests of the feed.
    pub(crate) feed_requests: String,
    pub(crate) maker_feed: String,
    pub(crate) taker_feed: String,
    /// Name of the feed's MoldUDP64 session.
    pub(crate) feed_session: String,
    /// 64 hex digits.
    pub(crate) public_key: String,
    /// Holds `member-<id>.key` and `oracle.key`.
    pub(crate) keys: PathBuf,
}

/// The file that `bench demo` hands to its workers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RunFile {
    pub(crate) scenario: Scenario,
    pub(crate) venue: Venue,
}

impl RunFile {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read run file {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no run file", path.display()))
    }
}

/// `accounts` members with one account each: the first half makers, the rest takers.
pub(crate) fn members(accounts: u32) -> Vec<Member> {
    let makers = accounts.div_ceil(2);
    (1..=accounts)
        .map(|id| {
            let (role, name) = if id <= makers {
                (Role::Maker, format!("maker-{id}"))
            } else {
                (Role::Taker, format!("taker-{}", id - makers))
            };
            Member {
                id,
                name,
                role,
                accounts: vec![id],
            }
        })
        .collect()
}

fn perpetual(symbol: &str, index_micro: i64, tick_micro: i64, lot_e9: i64) -> Listing {
    let index_ticks = (index_micro / tick_micro) as i32;
    Listing {
        id: 0,
        symbol: format!("{symbol}-PERP"),
        kind: Kind::Perpetual,
        strike_micro: 0,
        expiry_unix_s: 0,
        expiry_slot: 0,
        lot_e9,
        tick_micro,
        collar_ppm: 50_000,
        book_base_ticks: (index_ticks / 2).max(1),
        book_width_ticks: index_ticks.max(2),
        order_lots_max: 100_000,
        position_lots_max: 10_000_000,
    }
}

fn option(
    symbol: &str,
    id: u16,
    kind: Kind,
    strike: i64,
    (slot, days): (u8, u64),
    now_s: u64,
) -> Listing {
    let letter = if kind == Kind::Call { 'C' } else { 'P' };
    Listing {
        id,
        symbol: format!("{symbol}-{days}D-{strike}-{letter}"),
        kind,
        strike_micro: strike * MICRO,
        // Eight o'clock UTC, as the large option venues have it.
        expiry_unix_s: (now_s / DAY_S + days) * DAY_S + 8 * 3_600,
        expiry_slot: slot,
        lot_e9: 1_000_000,
        tick_micro: MICRO,
        collar_ppm: 50_000,
        book_base_ticks: 1,
        book_width_ticks: 30_000,
        order_lots_max: 10_000,
        position_lots_max: 1_000_000,
    }
}

/// A BTC-like perpetual and a strip of options: a week with two strikes, a month at the money.
pub(crate) fn synthetic(seed: u64, seconds: u64, accounts: u32, now_s: u64) -> Scenario {
    const INDEX: i64 = 60_000;
    let (week, month) = ((0, 7), (1, 30));
    let strip = [
        (Kind::Put, 58_000, week),
        (Kind::Call, 60_000, week),
        (Kind::Put, 60_000, week),
        (Kind::Call, 62_000, week),
        (Kind::Call, 60_000, month),
        (Kind::Put, 60_000, month),
    ];
    let mut listings = vec![perpetual("BTC", INDEX * MICRO, 100_000, 1_000_000)];
    listings.extend(
        (1u16..)
            .zip(strip)
            .map(|(id, (kind, strike, expiry))| option("BTC", id, kind, strike, expiry, now_s)),
    );
    let members = members(accounts);
    Scenario {
        title: format!("synthetic flow, seed {seed}"),
        seed,
        seconds,
        listings,
        deposits: deposits(&members, 250_000),
        members,
        index: IndexModel {
            start_micro: INDEX * MICRO,
            path: Vec::new(),
            step_ppm: 70,
            reversion_ppm: 10_000,
            jump_chance_ppm: 15_000,
            vols_e9: [550_000_000, 600_000_000, 600_000_000, 600_000_000],
        },
        source: Source::Synthetic,
        unmapped: BTreeMap::new(),
        market: None,
    }
}

/// An equity-like perpetual for a recorded flow around `index_micro`, quoted in cents.
pub(crate) fn flow_listing(index_micro: i64) -> Listing {
    // A lot must stay below 2^30 micro-units in the worst scenario, so dear shares come in tenths.
    let lot_e9 = if index_micro < 800 * MICRO {
        1_000_000_000
    } else {
        100_000_000
    };
    perpetual("FLOW", index_micro, 10_000, lot_e9)
}

/// The same amount, in whole units, for every account.
pub(crate) fn deposits(members: &[Member], units: u64) -> BTreeMap<u32, u64> {
    members
        .iter()
        .flat_map(|m| &m.accounts)
        .map(|&account| (account, units * MICRO as u64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::limits::{BAND_TICKS_MAX, INSTRUMENTS, LOT_VALUE_MICRO_MAX};

    #[test]
    fn the_embedded_listings_keep_the_bounds_of_the_system() {
        let s = synthetic(1, 30, 8, 1_700_000_000);
        assert!(s.listings.len() <= INSTRUMENTS);
        for l in s.listings.iter().chain([&flow_listing(585 * MICRO)]) {
            assert!((1..1 << 16).contains(&l.tick_value_micro()), "{}", l.symbol);
            assert!((l.book_base_ticks + l.book_width_ticks) as usize <= BAND_TICKS_MAX);
            assert!(l.symbol.len() <= 16, "{}", l.symbol);
            let worst =
                s.index.start_micro as i128 * 12 / 10 * i128::from(l.lot_e9) / 1_000_000_000;
            assert!(
                l.kind != Kind::Perpetual
                    || l.id != 0
                    || l.symbol != "BTC-PERP"
                    || worst < i128::from(LOT_VALUE_MICRO_MAX)
            );
        }
    }

    #[test]
    fn half_of_the_members_make_and_the_rest_take() {
        let m = members(5);
        assert_eq!(m.iter().filter(|m| m.role == Role::Maker).count(), 3);
        assert_eq!(m.last().map(|m| m.name.as_str()), Some("taker-2"));
    }

    #[test]
    fn a_scenario_survives_its_file() {
        let s = synthetic(1, 30, 8, 1_700_000_000);
        let text = serde_json::to_string(&s).expect("a scenario is plain data");
        assert_eq!(
            serde_json::from_str::<Scenario>(&text).expect("its own text"),
            s
        );
    }
}
