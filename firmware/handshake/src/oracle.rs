//! Signatures of oracle reports.

use crate::{DOMAIN_ORACLE, PublicKey, SecretKey};
use core::mem::offset_of;
use firmware::wire::session::OracleReport;

fn signed_part(report: &OracleReport) -> &[u8] {
    &bytemuck::bytes_of(report)[..offset_of!(OracleReport, signature)]
}

/// The report with its signature filled in.
#[must_use]
pub fn sign_oracle(key: &SecretKey, report: &OracleReport) -> OracleReport {
    OracleReport {
        signature: key.sign(DOMAIN_ORACLE, signed_part(report)),
        ..*report
    }
}

/// Whether `key` signed the report. Rising report numbers and time are the caller's to check.
#[must_use]
pub fn verify_oracle(key: &PublicKey, report: &OracleReport) -> bool {
    key.verify(DOMAIN_ORACLE, signed_part(report), &report.signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    #[test]
    fn each_bit_of_an_oracle_report_is_signed() {
        let key = SecretKey::from_seed(&[3; 32]);
        let report = OracleReport {
            report_no: 1,
            index_micro: 65_000_000_000,
            ..OracleReport::zeroed()
        };
        let report = sign_oracle(&key, &report);
        assert!(verify_oracle(&key.public(), &report));
        for bit in 0..size_of::<OracleReport>() * 8 {
            let mut flipped = report;
            bytemuck::bytes_of_mut(&mut flipped)[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify_oracle(&key.public(), &flipped), "bit {bit}");
        }
        let other = SecretKey::from_seed(&[4; 32]).public();
        assert!(!verify_oracle(&other, &report));
    }
}
