//! Which report answers which request, and which of several is the last.

use crate::session::Sent;
use firmware::wire::order::Request;
use firmware::wire::report::Report;
use firmware::wire::sbe::ID16_NULL;

/// Number of the request that a report answers.
pub const fn answered(report: &Report) -> Option<u64> {
    match report {
        Report::Accepted(m) => Some(m.client_seq),
        Report::Rejected(m) => Some(m.client_seq),
        Report::Replaced(m) => Some(m.client_seq),
        Report::Canceled(m) => Some(m.client_seq),
        Report::MassCancelAck(m) => Some(m.client_seq),
        Report::WithdrawReport(m) => Some(m.client_seq),
        Report::MassQuoteAck(m) => Some(m.client_seq),
        Report::MmpEvent(m) => Some(m.client_seq),
        Report::PositionMargin(m) => Some(m.client_seq),
        Report::KillSwitchAck(m) => Some(m.client_seq),
        Report::OpenOrdersEnd(m) => Some(m.client_seq),
        Report::DeadManReport(m) => Some(m.client_seq),
        Report::NotApplied(_)
        | Report::Filled(_)
        | Report::OpenOrder(_)
        | Report::QuoteStatus(_)
        | Report::FundingReport(_)
        | Report::ExpiryReport(_)
        | Report::LiquidationReport(_)
        | Report::DepositReport(_)
        | Report::SettlementReport(_) => None,
    }
}

/// Whether the report is the last answer to the request: each order of a mass cancel or of the kill switch
/// has a report of its own before, each position too.
pub(crate) const fn is_last_answer(report: &Report, request: &Sent) -> bool {
    let Sent::Request(request) = request else {
        return matches!(report, Report::MassQuoteAck(_) | Report::Rejected(_));
    };
    match (request, report) {
        (Request::MassCancel(_) | Request::KillSwitch(_), Report::Canceled(_)) => false,
        (Request::PositionsRequest(_), Report::PositionMargin(m)) => m.instrument == ID16_NULL,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use firmware::wire::quote::MassQuote;
    use firmware::wire::report::{
        Canceled, KillSwitchAck, MassCancelAck, MassQuoteAck, OpenOrder, OpenOrdersEnd,
        PositionMargin, QuoteStatus, Rejected,
    };

    /// Whether each report ends the request, which has number 0 like all reports here.
    fn ends(request: &Sent, reports: &[Report]) -> Vec<bool> {
        let is_end = |r: &Report| answered(r) == Some(0) && is_last_answer(r, request);
        reports.iter().map(is_end).collect()
    }

    #[test]
    fn a_request_with_several_reports_ends_with_the_last() {
        let canceled = || Report::from(Canceled::zeroed());
        let position = |instrument| {
            Report::from(PositionMargin {
                instrument,
                ..Zeroable::zeroed()
            })
        };
        let request = |r: Request| Sent::Request(r);
        let mass_cancel = request(crate::mass_cancel(1, 1, None, None).into());
        let kill = request(crate::kill_switch(1, None).into());
        let open = request(crate::open_orders(1, 1, None, 0).into());
        let positions = request(crate::positions(1, 1).into());
        let quote = Sent::MassQuote(MassQuote::zeroed(), [].into());
        let cases: [(&Sent, Vec<Report>); 5] = [
            (
                &mass_cancel,
                vec![canceled(), MassCancelAck::zeroed().into()],
            ),
            (&kill, vec![canceled(), KillSwitchAck::zeroed().into()]),
            (
                &open,
                vec![OpenOrder::zeroed().into(), OpenOrdersEnd::zeroed().into()],
            ),
            (&positions, vec![position(3), position(ID16_NULL)]),
            // A side's own trade may take another order off under the quote's number.
            (
                &quote,
                vec![
                    QuoteStatus::zeroed().into(),
                    canceled(),
                    MassQuoteAck::zeroed().into(),
                ],
            ),
        ];
        for (request, reports) in cases {
            let mut want = vec![false; reports.len()];
            want[reports.len() - 1] = true;
            assert_eq!(ends(request, &reports), want, "{request:?}");
            let refused = [Report::from(Rejected::zeroed())];
            assert_eq!(ends(request, &refused), [true], "{request:?}");
        }
    }
}
