//! `[risk]`: the rules of risk, as they are sequenced.

use bytemuck::Zeroable;
use firmware::wire::input::{InRiskRules, InVolModel, RISK_EXPIRY, RISK_FUNDING, RISK_LIQUIDATION};
use matcher::volatility::HORIZONS;
use serde::Deserialize;

const SECOND_NS: u64 = 1_000_000_000;

/// `[risk]`. Without it nothing is funded, settled at its expiry or liquidated.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RiskSection {
    /// Perpetuals pay funding.
    pub funding: bool,
    /// What has expired is settled at the mean of the index, and paid out.
    pub expiry: bool,
    /// Accounts below maintenance are liquidated.
    pub liquidation: bool,
    /// Time between two fundings, s.
    pub funding_interval_s: u64,
    /// Time in which a premium is paid in full, s.
    pub funding_period_s: u64,
    /// Largest premium that counts, ppm of the mark.
    pub funding_clamp_ppm: u32,
    /// Lots whose mean price is the impact price of a side.
    pub impact_lots: i64,
    /// The settlement price is the mean of the index over so much time before the expiry, s.
    pub expiry_window_s: u64,
    /// A liquidation stops when so much of the maintenance margin is free, ppm of it.
    pub exit_extra_ppm: u32,
    /// Penalty of a liquidation, ppm of the notional closed; it goes to the insurance fund.
    pub liquidation_fee_ppm: u32,
    /// Part of a position that one step of a liquidation closes, ppm.
    pub slice_ppm: u32,
    /// Contingency on short options in initial margin, 1/10000 of their notional.
    pub short_option_bp: u16,
    /// Haircut on the value of long options in initial margin, 1/10000 of it.
    pub option_haircut_bp: u16,
    /// Account that the engine hedges after each settlement; 0: none.
    pub vault_account: u32,
    /// Instrument that it hedges with.
    pub vault_instrument: u16,
    /// Net delta beyond which it hedges, units of underlying x 1e9.
    pub vault_delta_e9: i64,
    /// The range of the margin scenarios follows volatility; without it they have the fixed grid.
    pub adaptive: Option<AdaptiveSection>,
    /// From a change of these rules to when they are in force, s. The first rules of a day are in force at once.
    pub notice_s: u64,
}

impl Default for RiskSection {
    /// Everything is off; the figures are those of large venues (funding every hour of an eight-hour premium, clamped
    /// at half a percent; half an hour of index before an expiry).
    fn default() -> Self {
        Self {
            funding: false,
            expiry: false,
            liquidation: false,
            funding_interval_s: 3_600,
            funding_period_s: 28_800,
            funding_clamp_ppm: 5_000,
            impact_lots: 100,
            expiry_window_s: 1_800,
            exit_extra_ppm: 100_000,
            liquidation_fee_ppm: 5_000,
            slice_ppm: 250_000,
            short_option_bp: 0,
            option_haircut_bp: 0,
            vault_account: 0,
            vault_instrument: 0,
            vault_delta_e9: 0,
            adaptive: None,
            notice_s: 86_400,
        }
    }
}

/// `risk.adaptive`: the model of volatility, matcher/RISK.md.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveSection {
    /// Time between two samples of the index, s.
    pub sample_s: u64,
    /// Weight of the newest sample in the EWMA, ppm.
    pub ewma_ppm: u32,
    /// Samples of the three horizons of HAR.
    pub horizons: [u32; HORIZONS],
    /// Weights of their mean variances, ppm.
    pub weights_ppm: [u32; HORIZONS],
    /// Samples that the range covers: how long a position may take to close.
    pub cover_samples: u32,
    /// The range in standard deviations over that time, x 1000.
    pub multiple_milli: u32,
    /// Narrowest range, ppm of the index.
    pub narrowest_ppm: u32,
    /// Widest range, ppm of the index; that of a box that has seen nothing.
    pub widest_ppm: u32,
    /// Most that the range narrows in a sample, ppm of itself.
    pub narrow_ppm: u32,
}

impl Default for AdaptiveSection {
    /// The model that `bench risk` tests on seeded paths, within 2 and 40 percent.
    fn default() -> Self {
        Self {
            sample_s: 60,
            ewma_ppm: 20_000,
            horizons: [60, 720, 10_080],
            weights_ppm: [300_000, 500_000, 200_000],
            cover_samples: 60,
            multiple_milli: 3_500,
            narrowest_ppm: 20_000,
            widest_ppm: 400_000,
            narrow_ppm: 2_000,
        }
    }
}

impl AdaptiveSection {
    /// The record, in force at once.
    #[must_use]
    pub const fn model(&self) -> InVolModel {
        InVolModel {
            effective_time: 0,
            sample_ns: self.sample_s.saturating_mul(SECOND_NS),
            ewma_ppm: self.ewma_ppm,
            horizon0: self.horizons[0],
            horizon1: self.horizons[1],
            horizon2: self.horizons[2],
            weight0_ppm: self.weights_ppm[0],
            weight1_ppm: self.weights_ppm[1],
            weight2_ppm: self.weights_ppm[2],
            cover_samples: self.cover_samples,
            multiple_milli: self.multiple_milli,
            narrowest_ppm: self.narrowest_ppm,
            widest_ppm: self.widest_ppm,
            narrow_ppm: self.narrow_ppm,
        }
    }
}

impl RiskSection {
    /// The record, in force at once.
    #[must_use]
    pub fn rules(&self, initial_extra_ppm: u32) -> InRiskRules {
        let on = |switch, is_on: bool| if is_on { switch } else { 0 };
        InRiskRules {
            effective_time: 0,
            funding_interval_ns: self.funding_interval_s.saturating_mul(SECOND_NS),
            funding_period_ns: self.funding_period_s.saturating_mul(SECOND_NS),
            expiry_window_ns: self.expiry_window_s.saturating_mul(SECOND_NS),
            impact_lots: self.impact_lots,
            vault_delta_e9: self.vault_delta_e9,
            funding_clamp_ppm: self.funding_clamp_ppm,
            initial_extra_ppm,
            exit_extra_ppm: self.exit_extra_ppm,
            liquidation_fee_ppm: self.liquidation_fee_ppm,
            slice_ppm: self.slice_ppm,
            short_option_bp: self.short_option_bp,
            option_haircut_bp: self.option_haircut_bp,
            vault_account: self.vault_account,
            vault_instrument: self.vault_instrument,
            switches: on(RISK_FUNDING, self.funding)
                | on(RISK_EXPIRY, self.expiry)
                | on(RISK_LIQUIDATION, self.liquidation),
            ..InRiskRules::zeroed()
        }
    }

    /// From a change to when it is in force, ns.
    #[must_use]
    pub const fn notice_ns(&self) -> u64 {
        self.notice_s.saturating_mul(SECOND_NS)
    }
}
