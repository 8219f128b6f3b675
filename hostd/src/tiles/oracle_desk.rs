//! Signed prices in, risk tables out: who may say what the price is, and when what they say becomes a table.

use crate::config::Config;
use crate::ops::operator::{CommandRefused, OverrideBody};
use crate::storage::recover::Listing;
use crate::tiles::core::Core;
use firmware::limits::INSTRUMENTS;
use firmware::units::TimeNs;
use firmware::wire::input::{InInstrument, InOracle};
use firmware::wire::session::OracleReport;
use handshake::{PublicKey, verify_oracle};
use matcher::instrument::InstrumentSpec;
use matcher::oracle::{Panel, PanelRules, Reading, Report, ReportFault, RulesError};
use matcher::risk_table::{RiskParams, VolInput, build_table};
use matcher::table::RiskTable;
use serde::Serialize;
use std::collections::BTreeMap;

/// The desk.
pub struct OracleDesk {
    keys: BTreeMap<u32, PublicKey>,
    /// Seats stand in the order of the key ids.
    panel: Panel,
    specs: Vec<InstrumentSpec>,
    vol_slots: [u8; INSTRUMENTS],
    params: RiskParams,
    epoch: u64,
    epoch_ns: u64,
    last_table: TimeNs,
    /// The next table is due whenever the last one was made.
    is_due: bool,
    /// The operator's prices: while they are there, the oracles' do not count.
    operators: Option<OverrideBody>,
    /// A table is on its way, and the engine has not said yet how far the next one should reach.
    waits: bool,
    /// How far scenarios reach, ppm; none: as far as the grid of `params`.
    range_ppm: Option<u32>,
    /// Index and volatilities of the last table.
    prices: Option<(i64, [i64; 4])>,
    status: OracleStatus,
}

/// What the oracles come to, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OracleStatus {
    /// Keys of the oracles that the last table was made from.
    pub agreeing: Vec<u32>,
    /// Keys of those whose index was too far from the median.
    pub outliers: Vec<u32>,
    /// Keys of those that were not heard within the heartbeat.
    pub silent: Vec<u32>,
    /// Reports that were not taken.
    pub refused: u64,
    /// Why no table could be made when one was due; none if one was.
    pub error: Option<String>,
    /// The prices are the operator's.
    pub is_overridden: bool,
    /// How far the scenarios of the next table reach, ppm of the index; none: as far as the fixed grid.
    pub range_ppm: Option<u32>,
}

/// Why an oracle report is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportRefused {
    /// The panel does not take it.
    Fault(ReportFault),
    /// Wrong signature.
    Signature,
}

impl OracleDesk {
    /// The desk of a configuration that goes on where the core stands.
    ///
    /// # Panics
    /// When a key or the panel's rules are not sound: both are checked with the configuration.
    #[must_use]
    pub fn of(config: &Config, core: &Core, listing: &Listing) -> Self {
        let keys = config.oracles.iter().map(|o| {
            let key = PublicKey::from_hex(&o.public_key);
            (o.id, key.expect("checked with the configuration"))
        });
        let listings: Vec<_> = (core.listed().chain(&listing.instruments))
            .copied()
            .collect();
        let epoch = core.engine.table().map_or(0, |t| t.epoch);
        let first = listing.vol_model.map(|(m, _)| m.widest_ppm);
        let range_ppm = core.engine.range_ppm().or(first);
        let mut desk = Self::new(
            keys.collect(),
            config.panel_rules(),
            &listings,
            config.risk_params(),
            epoch,
            config.domain.risk_epoch_ms * 1_000_000,
        )
        .expect("checked with the configuration");
        desk.adopted(range_ppm);
        desk
    }

    /// Whether the table just made is on its way. One that is not never was.
    pub fn sent(&mut self, sent: bool) {
        self.waits = sent;
        if !sent {
            self.epoch -= 1;
            self.is_due = true;
        }
    }

    /// The engine has adopted the last table: so far should the next one reach.
    pub fn adopted(&mut self, range_ppm: Option<u32>) {
        self.waits = false;
        self.range_ppm = range_ppm;
        self.status.range_ppm = range_ppm;
    }

    /// The rules of the next table.
    fn params(&self) -> RiskParams {
        (self.range_ppm).map_or(self.params, |range| self.params.with_range(range))
    }

    fn new(
        keys: BTreeMap<u32, PublicKey>,
        rules: PanelRules,
        listings: &[InInstrument],
        params: RiskParams,
        epoch: u64,
        epoch_ns: u64,
    ) -> Result<Self, RulesError> {
        let mut vol_slots = [0; INSTRUMENTS];
        listings
            .iter()
            .for_each(|l| vol_slots[l.instrument as usize] = l.vol_slot);
        let ids: Vec<u32> = keys.keys().copied().collect();
        Ok(Self {
            panel: Panel::new(rules, &ids)?,
            keys,
            specs: listings.iter().map(crate::config::spec).collect(),
            vol_slots,
            params,
            epoch,
            epoch_ns,
            last_table: TimeNs(0),
            is_due: false,
            operators: None,
            prices: None,
            waits: false,
            range_ppm: None,
            status: OracleStatus::default(),
        })
    }

    /// What the oracles came to last.
    #[must_use]
    pub const fn status(&self) -> &OracleStatus {
        &self.status
    }

    /// Checks a report; a good one replaces the last one of its key.
    ///
    /// # Errors
    /// Why it is not taken; counted.
    pub fn report(
        &mut self,
        report: &OracleReport,
        now: TimeNs,
    ) -> Result<InOracle, ReportRefused> {
        let taken = self.take(report, now);
        self.status.refused += u64::from(taken.is_err());
        taken
    }

    fn take(&mut self, report: &OracleReport, now: TimeNs) -> Result<InOracle, ReportRefused> {
        let said = Report {
            number: report.report_no,
            time: TimeNs(report.timestamp),
            index_micro: report.index_micro,
            vols_e9: [
                report.vol0_e9,
                report.vol1_e9,
                report.vol2_e9,
                report.vol3_e9,
            ],
        };
        // The signature last: it costs more than all the rest.
        let seat = self.panel.check(report.key_id, &said, now);
        let seat = seat.map_err(ReportRefused::Fault)?;
        if !verify_oracle(&self.keys[&report.key_id], report) {
            return Err(ReportRefused::Signature);
        }
        self.panel.seat(seat, &said);
        Ok(InOracle {
            report_no: report.report_no,
            timestamp: report.timestamp,
            index_micro: report.index_micro,
            vol0_e9: report.vol0_e9,
            vol1_e9: report.vol1_e9,
            vol2_e9: report.vol2_e9,
            vol3_e9: report.vol3_e9,
            key_id: report.key_id,
            pad1: 0,
            signature: report.signature,
        })
    }

    /// Whether a table can be made of the operator's prices.
    ///
    /// # Errors
    /// Why not.
    pub fn check_override(&self, body: &OverrideBody, now: TimeNs) -> Result<(), CommandRefused> {
        self.build(body.index_micro, &body.vols_e9, now)
            .map(drop)
            .map_err(CommandRefused::Price)
    }

    /// Whether an instrument can be priced beside the others at the last prices: one that cannot would leave all
    /// without a table.
    ///
    /// # Errors
    /// Why not.
    pub fn check_listing(&self, m: &InInstrument) -> Result<(), CommandRefused> {
        let Some((index, vols_e9)) = self.prices else {
            return Ok(());
        };
        let mut vol = VolInput::flat(0);
        vol.vol_e9[usize::from(m.instrument)] = vols_e9[usize::from(m.vol_slot)];
        let spec = crate::config::spec(m);
        build_table(1, self.last_table, index, &vol, &self.params(), &[spec])
            .map(drop)
            .map_err(|e| CommandRefused::Terms(e.to_string()))
    }

    /// Prices an instrument from now on, and at once.
    pub fn list(&mut self, m: &InInstrument) {
        self.vol_slots[usize::from(m.instrument)] = m.vol_slot;
        self.specs.push(crate::config::spec(m));
        self.is_due = true;
    }

    /// Prices an instrument no more.
    pub fn delist(&mut self, instrument: u16) {
        self.specs.retain(|spec| spec.id.0 != instrument);
    }

    /// Makes tables of the operator's prices from now on, whatever the oracles say.
    pub fn override_with(&mut self, body: &OverrideBody) {
        self.operators = Some(*body);
        self.status.is_overridden = true;
        self.is_due = true;
    }

    /// The oracles rule again.
    pub fn release(&mut self) {
        self.operators = None;
        self.status.is_overridden = false;
    }

    /// Whether the prices are the operator's.
    #[must_use]
    pub const fn is_overridden(&self) -> bool {
        self.operators.is_some()
    }

    /// The next risk table if one is due and the oracles agree, or the operator has spoken.
    pub fn table(&mut self, now: TimeNs) -> Option<Box<RiskTable>> {
        if self.waits || !self.is_due && now.0 < self.last_table.0 + self.epoch_ns {
            return None;
        }
        let prices = match (self.operators, self.panel.read(now)) {
            (Some(own), _) => Ok((own.index_micro, own.vols_e9)),
            (None, Ok(reading)) => {
                self.note(&reading);
                Ok((reading.index_micro, reading.vols_e9))
            }
            (None, Err(e)) => Err(e.to_string()),
        };
        let built = prices.and_then(|(index, vols_e9)| {
            let table = self.build(index, &vols_e9, now)?;
            self.prices = Some((index, vols_e9));
            Ok(table)
        });
        match built {
            Ok(table) => {
                self.epoch += 1;
                self.last_table = now;
                self.is_due = false;
                self.status.error = None;
                Some(table)
            }
            Err(text) => {
                if self.status.error.as_ref() != Some(&text) {
                    crate::machine::log::event("no_risk_table", &[("reason", &text)]);
                }
                self.status.error = Some(text);
                None
            }
        }
    }

    fn build(&self, index: i64, vols_e9: &[i64; 4], now: TimeNs) -> Result<Box<RiskTable>, String> {
        let mut vol = VolInput::flat(0);
        for (vol, slot) in vol.vol_e9.iter_mut().zip(self.vol_slots) {
            *vol = vols_e9[usize::from(slot)];
        }
        build_table(
            self.epoch + 1,
            now,
            index,
            &vol,
            &self.params(),
            &self.specs,
        )
        .map_err(|e| e.to_string())
    }

    fn note(&mut self, reading: &Reading) {
        let keys = |seats: u16| -> Vec<u32> {
            let seated = self.keys.keys().enumerate();
            seated
                .filter_map(|(i, key)| (seats & 1 << i != 0).then_some(*key))
                .collect()
        };
        let (agreeing, outliers) = (keys(reading.agreeing), keys(reading.outliers));
        let silent = keys(reading.silent);
        if outliers != self.status.outliers && !outliers.is_empty() {
            crate::machine::log::event("oracle_outliers", &[("keys", &format!("{outliers:?}"))]);
        }
        if silent != self.status.silent && !silent.is_empty() {
            crate::machine::log::event("oracle_silent", &[("keys", &format!("{silent:?}"))]);
        }
        self.status.agreeing = agreeing;
        self.status.outliers = outliers;
        self.status.silent = silent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use handshake::{SecretKey, sign_oracle};

    const NOW: TimeNs = TimeNs(100_000_000_000);
    const SECOND: u64 = 1_000_000_000;

    fn key(id: u32) -> SecretKey {
        SecretKey::from_seed(&[id as u8; 32])
    }

    fn desk(quorum: u8, ids: &[u32]) -> OracleDesk {
        let rules = PanelRules {
            quorum,
            max_age_ns: 5 * SECOND,
            max_ahead_ns: SECOND,
            heartbeat_ns: SECOND,
            deviation_ppm: 10_000,
        };
        let keys = ids.iter().map(|id| (*id, key(*id).public())).collect();
        OracleDesk::new(keys, rules, &[], RiskParams::default(), 0, 1).unwrap()
    }

    fn report(id: u32, number: u64, time: TimeNs, index_micro: i64) -> OracleReport {
        let plain = OracleReport {
            report_no: number,
            timestamp: time.0,
            index_micro,
            key_id: id,
            ..Zeroable::zeroed()
        };
        sign_oracle(&key(id), &plain)
    }

    #[test]
    fn a_bad_report_is_refused_for_its_reason_and_counted() {
        let mut desk = desk(1, &[7]);
        let good = report(7, 2, NOW, 5);
        let fault = |f| Err(ReportRefused::Fault(f));
        let stranger = OracleReport { key_id: 8, ..good };
        assert_eq!(desk.report(&stranger, NOW), fault(ReportFault::Key));
        let forged = OracleReport {
            index_micro: 6,
            ..good
        };
        assert_eq!(desk.report(&forged, NOW), Err(ReportRefused::Signature));
        let zero = report(7, 2, NOW, 0);
        assert_eq!(desk.report(&zero, NOW), fault(ReportFault::Value));
        let old = report(7, 2, TimeNs(1), 5);
        assert_eq!(desk.report(&old, NOW), fault(ReportFault::Stale));
        let early = report(7, 2, TimeNs(NOW.0 + 2 * SECOND), 5);
        assert_eq!(desk.report(&early, NOW), fault(ReportFault::Future));
        assert!(desk.report(&good, NOW).is_ok());
        assert_eq!(desk.report(&good, NOW), fault(ReportFault::Replayed));
        assert_eq!(desk.status().refused, 6);
        let table = desk.table(NOW).unwrap();
        assert_eq!((table.epoch, table.index_micro), (1, 5));
    }

    #[test]
    fn a_forged_report_takes_no_number_from_its_oracle() {
        let mut desk = desk(1, &[7]);
        let far = OracleReport {
            report_no: u64::MAX,
            ..report(7, 1, NOW, 5)
        };
        assert_eq!(desk.report(&far, NOW), Err(ReportRefused::Signature));
        assert!(desk.report(&report(7, 1, NOW, 5), NOW).is_ok());
    }

    #[test]
    fn a_table_needs_a_quorum_that_agrees_and_names_who_does_not() {
        let mut desk = desk(2, &[3, 5, 9]);
        assert!(desk.table(NOW).is_none());
        assert!(
            desk.status()
                .error
                .as_ref()
                .unwrap()
                .contains("0 oracles are fresh")
        );
        desk.report(&report(9, 1, NOW, 1_000_000), NOW).unwrap();
        assert!(desk.table(NOW).is_none());
        desk.report(&report(3, 1, NOW, 2_000_000), NOW).unwrap();
        assert!(desk.table(NOW).is_none());
        assert!(desk.status().error.as_ref().unwrap().contains("1 of 2"));
        desk.report(&report(5, 1, NOW, 1_001_000), NOW).unwrap();
        assert_eq!(desk.table(NOW).unwrap().index_micro, 1_001_000);
        let status = desk.status();
        assert_eq!(
            (&status.agreeing[..], &status.outliers[..]),
            (&[5, 9][..], &[3][..])
        );
        assert_eq!((&status.silent[..], &status.error), (&[][..], &None));
        // Two of three have fallen silent, but still count.
        let later = TimeNs(NOW.0 + 2 * SECOND);
        desk.report(&report(5, 2, later, 1_001_000), later).unwrap();
        assert!(desk.table(later).is_some());
        assert_eq!(desk.status().silent, [3, 9]);
    }
}
