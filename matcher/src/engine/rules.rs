//! Rules of risk: what is in force, what is announced, and the part of it that every table takes over.

use super::addons::WHOLE_BP;
use super::{Engine, Stamp};
use crate::batch::SealReason;
use crate::book::OrderBook;
use crate::outbox::Outbox;
use crate::snapshot::{Sink, SnapshotError, Source, ensure};
use bytemuck::Zeroable;
use firmware::units::AccountId;
use firmware::wire::feed::RiskRules;
use firmware::wire::input::{InRiskRules, RISK_EXPIRY, RISK_FUNDING, RISK_LIQUIDATION};

/// Highest penalty, ppm of the notional.
const LIQUIDATION_FEE_PPM_MAX: u32 = 100_000;
/// A whole, in ppm.
const WHOLE_PPM: u32 = 1_000_000;

/// Why rules of risk cannot be the next input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RulesError {
    /// A switch that this release does not know.
    #[error("switches {0:#x} are not of this release")]
    Switches(u8),
    /// No time between two fundings, or none in which a premium is paid.
    #[error(
        "funding needs an interval of at least 1 ns that is not longer than the period, and at least 1 impact lot"
    )]
    Funding,
    /// Beyond what the circuit takes.
    #[error("liquidation fee of {0} ppm is above {LIQUIDATION_FEE_PPM_MAX}")]
    Fee(u32),
    /// No step, or more than all.
    #[error("a slice of {0} ppm is not in 1..={WHOLE_PPM}")]
    Slice(u32),
    /// More than the whole collateral in reserve.
    #[error("an extra of {0} ppm over maintenance is above 10000000")]
    Extra(u32),
    /// More than the whole.
    #[error("{what} of {bp} basis points is above {WHOLE_BP}")]
    Addon {
        /// Which.
        what: &'static str,
        /// Asked for.
        bp: u16,
    },
    /// No such account or instrument.
    #[error("vault account {account} or instrument {instrument} is not there")]
    Vault {
        /// Account.
        account: u32,
        /// Instrument.
        instrument: u16,
    },
}

/// The rules in force, and those announced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) now: InRiskRules,
    next: Option<InRiskRules>,
    /// Rules were set at all: the initial margin is theirs.
    pub(super) are_set: bool,
}

impl Default for Rules {
    /// Everything is off.
    fn default() -> Self {
        Self {
            now: InRiskRules::zeroed(),
            next: None,
            are_set: false,
        }
    }
}

impl Rules {
    const fn has(&self, switch: u8) -> bool {
        self.now.switches & switch != 0
    }

    pub(super) const fn funding(&self) -> bool {
        self.has(RISK_FUNDING)
    }

    pub(super) const fn expiry(&self) -> bool {
        self.has(RISK_EXPIRY)
    }

    pub(super) const fn liquidation(&self) -> bool {
        self.has(RISK_LIQUIDATION)
    }

    pub(super) fn save(&self, to: &mut impl Sink) {
        to.pod(&u8::from(self.are_set));
        to.pod(&self.now);
        to.pod(&u8::from(self.next.is_some()));
        if let Some(next) = &self.next {
            to.pod(next);
        }
    }

    pub(super) fn load(from: &mut impl Source) -> Result<Self, SnapshotError> {
        let are_set = from.flag("rules of risk")?;
        let now: InRiskRules = from.pod()?;
        ensure(!are_set || check_rules(&now).is_ok(), "rules of risk")?;
        let next = if from.flag("announced rules")? {
            let next: InRiskRules = from.pod()?;
            ensure(check_rules(&next).is_ok(), "announced rules")?;
            Some(next)
        } else {
            None
        };
        Ok(Self { now, next, are_set })
    }

    pub(super) fn digest(&self, h: &mut blake3::Hasher) {
        h.update(&[u8::from(self.are_set), u8::from(self.next.is_some())]);
        h.update(bytemuck::bytes_of(&self.now));
        if let Some(next) = &self.next {
            h.update(bytemuck::bytes_of(next));
        }
    }
}

/// Whether the values of rules are in range, whatever is listed.
///
/// # Errors
/// See [`RulesError`].
pub fn check_rules(m: &InRiskRules) -> Result<(), RulesError> {
    if m.switches & !(RISK_FUNDING | RISK_EXPIRY | RISK_LIQUIDATION) != 0 {
        return Err(RulesError::Switches(m.switches));
    }
    let (interval, period) = (m.funding_interval_ns, m.funding_period_ns);
    let sound = interval >= 1 && interval <= period && m.impact_lots >= 1;
    if m.switches & RISK_FUNDING != 0 && !sound {
        return Err(RulesError::Funding);
    }
    if m.liquidation_fee_ppm > LIQUIDATION_FEE_PPM_MAX {
        return Err(RulesError::Fee(m.liquidation_fee_ppm));
    }
    if m.switches & RISK_LIQUIDATION != 0 && !(1..=WHOLE_PPM).contains(&m.slice_ppm) {
        return Err(RulesError::Slice(m.slice_ppm));
    }
    for (what, bp) in [
        ("short_option_bp", m.short_option_bp),
        ("option_haircut_bp", m.option_haircut_bp),
    ] {
        if bp > WHOLE_BP {
            return Err(RulesError::Addon { what, bp });
        }
    }
    let extra = m.initial_extra_ppm.max(m.exit_extra_ppm);
    if extra > 10 * WHOLE_PPM {
        return Err(RulesError::Extra(extra));
    }
    Ok(())
}

impl<B: OrderBook> Engine<B> {
    /// Whether rules of risk can be sequenced now.
    ///
    /// # Errors
    /// See [`RulesError`].
    pub fn check_rules(&self, m: &InRiskRules) -> Result<(), RulesError> {
        check_rules(m)?;
        let (account, instrument) = (m.vault_account, m.vault_instrument);
        let is_there = self.accounts.get(AccountId(account)).is_some()
            && self.is_listed(usize::from(instrument))
            && m.vault_delta_e9 >= 0;
        if account != 0 && !is_there {
            return Err(RulesError::Vault {
                account,
                instrument,
            });
        }
        Ok(())
    }

    /// The rules that were sequenced last, in force or announced; none yet.
    #[must_use]
    pub fn risk_rules(&self) -> Option<InRiskRules> {
        let in_force = self.rules.are_set.then_some(self.rules.now);
        self.rules.next.or(in_force)
    }

    /// Initial margin over maintenance margin, ppm of the latter.
    pub(super) const fn initial_extra_ppm(&self) -> u32 {
        if self.rules.are_set {
            self.rules.now.initial_extra_ppm
        } else {
            self.domain.initial_extra_ppm
        }
    }

    pub(super) fn announce(&mut self, stamp: &Stamp, m: &InRiskRules, out: &mut Outbox) {
        self.check_rules(m)
            .expect("rules are checked before they are sequenced");
        self.rules.next = Some(*m);
        if m.effective_time > stamp.time.0 {
            tell(stamp, m, false, out);
        }
        self.advance_rules(stamp, out);
    }

    /// Puts announced rules in force when their time has come.
    pub(super) fn advance_rules(&mut self, stamp: &Stamp, out: &mut Outbox) {
        let Some(next) = self.rules.next.filter(|n| n.effective_time <= stamp.time.0) else {
            return;
        };
        // Penalties of a batch are bounded by the fee in its table.
        if next.liquidation_fee_ppm != self.table.liquidation_fee_ppm {
            self.seal(stamp, SealReason::Operator, out);
            self.table.liquidation_fee_ppm = next.liquidation_fee_ppm;
        }
        if !self.rules.funding() {
            self.premiums.fill(super::Premium::default());
            self.funded_at = stamp.time;
        }
        if !self.rules.expiry() {
            self.averages.fill(super::Average::default());
            self.averaged_to = stamp.time;
        }
        self.rules = Rules {
            now: next,
            next: None,
            are_set: true,
        };
        tell(stamp, &next, true, out);
    }

    /// Adds all that the rules keep to a digest of the state.
    pub(super) fn digest_risk(&self, h: &mut blake3::Hasher) {
        if !self.rules.are_set && self.rules.next.is_none() {
            return;
        }
        self.rules.digest(h);
        h.update(&self.funded_at.0.to_le_bytes());
        h.update(&self.averaged_to.0.to_le_bytes());
        for i in 0..self.table.columns.len() {
            self.premiums[i].digest(h);
            self.averages[i].digest(h);
        }
    }
}

fn tell(stamp: &Stamp, m: &InRiskRules, in_force: bool, out: &mut Outbox) {
    out.feed(RiskRules {
        engine_seq: stamp.seq.0,
        engine_time: stamp.time.0,
        effective_time: m.effective_time,
        funding_interval: m.funding_interval_ns,
        funding_period: m.funding_period_ns,
        expiry_window: m.expiry_window_ns,
        impact_lots: m.impact_lots,
        funding_clamp_ppm: m.funding_clamp_ppm,
        initial_extra_ppm: m.initial_extra_ppm,
        exit_extra_ppm: m.exit_extra_ppm,
        liquidation_fee_ppm: m.liquidation_fee_ppm,
        slice_ppm: m.slice_ppm,
        switches: m.switches,
        in_force: u8::from(in_force),
        flags: 0,
        pad1: 0,
        short_option_bp: m.short_option_bp,
        option_haircut_bp: m.option_haircut_bp,
        pad2: 0,
    });
}
