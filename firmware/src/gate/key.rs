//! What the gate looks at in every request, and how a refusal is written down.

use super::*;

/// What the gate looks at in every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) template: u16,
    pub(super) cl_ord_id: u64,
    /// `None` when the request is for all accounts of the member.
    pub(super) account: Option<u32>,
    pub(super) instrument: u16,
    pub(super) is_throttled: bool,
    /// Whether the id names orders.
    pub(super) rises: bool,
}

impl Key {
    pub(super) fn of(request: &Request) -> Self {
        let named = |account: u32| (account != ID32_NULL).then_some(account);
        let all = ID16_NULL;
        let (template, cl_ord_id, account, instrument, is_throttled, rises) = match request {
            Request::NewOrder(m) => (
                NewOrder::TEMPLATE,
                m.cl_ord_id,
                Some(m.account),
                m.instrument,
                true,
                true,
            ),
            Request::Replace(m) => (
                Replace::TEMPLATE,
                m.cl_ord_id,
                Some(m.account),
                m.instrument,
                true,
                true,
            ),
            Request::ReduceQty(m) => (
                ReduceQty::TEMPLATE,
                m.cl_ord_id,
                Some(m.account),
                m.instrument,
                false,
                false,
            ),
            Request::Cancel(m) => (
                Cancel::TEMPLATE,
                m.cl_ord_id,
                Some(m.account),
                m.instrument,
                false,
                false,
            ),
            Request::MassCancel(m) => (
                MassCancel::TEMPLATE,
                m.cl_ord_id,
                named(m.account),
                m.instrument,
                false,
                false,
            ),
            Request::MmpReset(m) => (
                MmpReset::TEMPLATE,
                m.cl_ord_id,
                Some(m.account),
                all,
                true,
                false,
            ),
            Request::KillSwitch(m) => (
                KillSwitch::TEMPLATE,
                m.cl_ord_id,
                named(m.account),
                all,
                false,
                false,
            ),
            Request::OpenOrdersRequest(m) => {
                let template = OpenOrdersRequest::TEMPLATE;
                (
                    template,
                    m.cl_ord_id,
                    Some(m.account),
                    m.instrument,
                    true,
                    false,
                )
            }
            Request::DeadManTimer(m) => {
                (DeadManTimer::TEMPLATE, m.cl_ord_id, None, all, true, false)
            }
            Request::Withdraw(m) => (
                Withdraw::TEMPLATE,
                m.cl_ord_id,
                Some(m.account),
                all,
                true,
                false,
            ),
            Request::MmpConfig(m) => (
                MmpConfig::TEMPLATE,
                m.cl_ord_id,
                Some(m.account),
                all,
                true,
                false,
            ),
            Request::PositionsRequest(m) => (
                PositionsRequest::TEMPLATE,
                m.cl_ord_id,
                Some(m.account),
                all,
                true,
                false,
            ),
        };
        Self {
            template,
            cl_ord_id,
            account,
            instrument,
            is_throttled,
            rises,
        }
    }
}

pub(super) const fn refusal(
    rx_time: TimeNs,
    client_seq: u64,
    key: &Key,
    reason: RejectCode,
) -> InRefused {
    InRefused {
        rx_time: rx_time.0,
        client_seq,
        cl_ord_id: key.cl_ord_id,
        account: match key.account {
            Some(account) => account,
            None => ID32_NULL,
        },
        instrument: key.instrument,
        reason: reason as u16,
        ref_template: key.template,
        pad1: 0,
        pad2: 0,
    }
}
