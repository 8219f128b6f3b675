//! Listing and delisting while the day runs: what is checked before such an input is sequenced, and the delisting.
//!
//! An id is used once in a journal: the column of what was settled keeps its value in the proof for good, and nobody
//! who reads old records has to ask which instrument an id was then.

use super::{Engine, Stamp};
use crate::book::{Band, BookError, OrderBook};
use crate::outbox::Outbox;
use firmware::limits::{DOMAIN_LOTS_MAX, ORDER_LOTS_MAX};
use firmware::units::{InstrumentId, PriceTicks};
use firmware::wire::feed::{STATE_DELISTED, STATE_OPEN};
use firmware::wire::input::{InDelist, InInstrument, KIND_CALL, KIND_FUTURE, KIND_POWER, KIND_PUT};

/// Why an instrument cannot be listed or delisted now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListingError {
    /// Not a column of this domain.
    #[error("id must be below {1}, which is what this domain holds, not {0}")]
    Id(u16, usize),
    /// Listed, or was.
    #[error("instrument {0} was listed before: an id is used once in a journal")]
    Used(u16),
    /// Not a kind.
    #[error("kind {0} is not known")]
    Kind(u8),
    /// Not a state to begin in.
    #[error("an instrument begins in PreOpen, Auction or Open, not in state {0}")]
    State(u8),
    /// It would begin expired.
    #[error("it would be expired: {0} ns is not after now")]
    Expired(u64),
    /// No band.
    #[error("band: {0}")]
    Band(BookError),
    /// Tick, lot or a limit is not above zero.
    #[error(
        "tick, lot, collar, order limit and position limit must be above zero and within their bounds"
    )]
    Limits,
    /// All accounts together could hold too much.
    #[error(
        "the position limits of all listed instruments would add up to {0}, above {DOMAIN_LOTS_MAX}"
    )]
    Positions(i64),
    /// Not listed, or not any more.
    #[error("instrument {0} is not listed")]
    NotListed(u16),
    /// Somebody holds it.
    #[error(
        "{accounts} accounts hold instrument {instrument}: it can be delisted when nobody does"
    )]
    Held {
        /// Instrument.
        instrument: u16,
        /// How many.
        accounts: usize,
    },
    /// The vault hedges with it.
    #[error("the vault hedges with instrument {0}: other rules must be in force first")]
    Vault(u16),
}

impl<B: OrderBook> Engine<B> {
    /// Whether an instrument can be listed now. Terms that pricing asks for are checked where records are made.
    ///
    /// # Errors
    /// See [`ListingError`].
    pub fn check_listing(&self, m: &InInstrument) -> Result<(), ListingError> {
        let (id, columns) = (m.instrument, self.instruments.len());
        let held = self.domain.instruments as usize;
        let most = if held == 0 { columns } else { held };
        let Some(place) = self.instruments.get(usize::from(id)) else {
            return Err(ListingError::Id(id, most));
        };
        if usize::from(id) >= most {
            return Err(ListingError::Id(id, most));
        }
        if place.is_some() {
            return Err(ListingError::Used(id));
        }
        if m.kind > KIND_POWER {
            return Err(ListingError::Kind(m.kind));
        }
        if m.state > STATE_OPEN {
            return Err(ListingError::State(m.state));
        }
        let expires = matches!(m.kind, KIND_CALL | KIND_PUT | KIND_FUTURE);
        if expires && m.expiry <= self.last_time.0 {
            return Err(ListingError::Expired(m.expiry));
        }
        let width = u32::try_from(m.width_ticks).unwrap_or(0);
        Band::checked(PriceTicks(m.base_ticks), width).map_err(ListingError::Band)?;
        let bounded = m.tick_micro > 0
            && m.tick_micro.checked_mul(1_000).is_some()
            && m.lot_e9 > 0
            && m.collar_ppm > 0
            && (1..=ORDER_LOTS_MAX).contains(&m.order_lots_max)
            && m.position_lots_max > 0;
        if !bounded {
            return Err(ListingError::Limits);
        }
        let lots = self.position_limits().saturating_add(m.position_lots_max);
        if lots > DOMAIN_LOTS_MAX {
            return Err(ListingError::Positions(lots));
        }
        Ok(())
    }

    /// Whether an instrument can be delisted now.
    ///
    /// # Errors
    /// See [`ListingError`].
    pub fn check_delisting(&self, m: &InDelist) -> Result<(), ListingError> {
        let (id, i) = (m.instrument, usize::from(m.instrument));
        if !self.is_listed(i) {
            return Err(ListingError::NotListed(id));
        }
        let hedges = |r: &firmware::wire::input::InRiskRules| {
            r.vault_account != 0 && r.vault_instrument == id
        };
        let in_force = self.rules.are_set.then_some(&self.rules.now);
        if in_force.is_some_and(hedges) || self.risk_rules().as_ref().is_some_and(hedges) {
            return Err(ListingError::Vault(id));
        }
        let held = |a: &&firmware::units::AccountId| {
            let account = self.accounts.get(**a).expect("a funded account exists");
            account.leaf.positions[i] != 0
        };
        match self.accounts.funded().iter().filter(held).count() {
            0 => Ok(()),
            accounts => Err(ListingError::Held {
                instrument: id,
                accounts,
            }),
        }
    }

    /// Columns of the risk tables that can be adopted now.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.table.columns.len()
    }

    /// Whether an instrument is listed and has not been delisted.
    pub(super) fn is_listed(&self, i: usize) -> bool {
        let listed = self.instruments.get(i).and_then(Option::as_ref);
        listed.is_some_and(|l| l.state != STATE_DELISTED)
    }

    /// Sum of the position limits of what is listed.
    pub(super) fn position_limits(&self) -> i64 {
        let limits = self.instruments.iter().flatten();
        limits
            .filter(|l| l.state != STATE_DELISTED)
            .map(|l| l.spec.position_lots_max)
            .sum()
    }

    /// Ends an instrument: its orders go, and it takes no more for good.
    ///
    /// # Panics
    /// When it was not checked before it was sequenced.
    pub(super) fn delist(&mut self, stamp: &Stamp, m: &InDelist, out: &mut Outbox) {
        if let Err(why) = self.check_delisting(m) {
            panic!("delistings are checked before they are sequenced: {why}");
        }
        let i = usize::from(m.instrument);
        self.enter(stamp, InstrumentId(m.instrument), STATE_DELISTED, out);
        self.premiums[i] = super::Premium::default();
        self.averages[i] = super::Average::default();
    }
}
