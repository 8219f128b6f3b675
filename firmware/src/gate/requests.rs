//! Requests of fixed size through the gate: each becomes the record that the journal holds.

use super::*;

impl Gate {
    pub(super) fn new_order(
        &self,
        m: &NewOrder,
        rx_time: u64,
        client_seq: u64,
    ) -> Result<InNewOrder, RejectCode> {
        let i = self.instrument(m.instrument)?;
        if Side::from_wire(m.side).is_none()
            || m.ord_type > ORD_MARKET
            || m.time_in_force > TIF_FOK
            || m.flags > 7
            || m.stp_mode > STP_DECREMENT
        {
            return Err(RejectCode::InvalidField);
        }
        let takes_at_once = matches!(m.time_in_force, TIF_IOC | TIF_FOK);
        let market = m.ord_type == ORD_MARKET;
        if market && !takes_at_once
            || m.flags & order::FLAG_POST_ONLY != 0 && takes_at_once
            || m.mmp_group > MMP_GROUPS
        {
            return Err(RejectCode::InvalidField);
        }
        let has_expiry = m.time_in_force == TIF_GTD;
        if has_expiry && m.expire_time <= rx_time || !has_expiry && m.expire_time != 0 {
            return Err(RejectCode::InvalidExpiry);
        }
        let price_ticks = if market { 0 } else { i.ticks(m.price)? };
        i.check_lots(m.quantity)?;
        Ok(InNewOrder {
            rx_time,
            client_seq,
            cl_ord_id: m.cl_ord_id,
            lots: m.quantity,
            expire_time: m.expire_time,
            smp_id: m.smp_id,
            price_ticks,
            account: m.account,
            instrument: m.instrument,
            side: m.side,
            ord_type: if market { ORD_MARKET } else { ORD_LIMIT },
            time_in_force: m.time_in_force,
            flags: m.flags,
            stp_mode: m.stp_mode,
            mmp_group: m.mmp_group,
        })
    }

    pub(super) fn replace(
        &self,
        m: &Replace,
        rx_time: u64,
        client_seq: u64,
    ) -> Result<InReplace, RejectCode> {
        let i = self.instrument(m.instrument)?;
        if m.flags & !(order::FLAG_POST_ONLY | order::FLAG_TOTAL_QUANTITY) != 0 {
            return Err(RejectCode::InvalidField);
        }
        let price_ticks = i.ticks(m.price)?;
        // Filled and open together can be more than one order may ask for.
        if m.flags & order::FLAG_TOTAL_QUANTITY == 0 {
            i.check_lots(m.quantity)?;
        } else if m.quantity < 1 {
            return Err(RejectCode::QuantityOutOfRange);
        }
        Ok(InReplace {
            rx_time,
            client_seq,
            cl_ord_id: m.cl_ord_id,
            order_id: m.order_id,
            orig_cl_ord_id: m.orig_cl_ord_id,
            lots: m.quantity,
            price_ticks,
            account: m.account,
            instrument: m.instrument,
            flags: m.flags,
            pad1: 0,
            pad2: 0,
        })
    }

    pub(super) fn reduce(
        &self,
        m: &ReduceQty,
        rx_time: u64,
        client_seq: u64,
    ) -> Result<InReduce, RejectCode> {
        self.instrument(m.instrument)?.check_lots(m.quantity)?;
        Ok(InReduce {
            rx_time,
            client_seq,
            cl_ord_id: m.cl_ord_id,
            order_id: m.order_id,
            orig_cl_ord_id: m.orig_cl_ord_id,
            lots: m.quantity,
            account: m.account,
            instrument: m.instrument,
            pad1: 0,
        })
    }

    pub(super) fn open_orders(
        &self,
        m: &OpenOrdersRequest,
        rx_time: u64,
        client_seq: u64,
    ) -> Result<InOpenOrders, RejectCode> {
        if m.instrument != ID16_NULL {
            self.instrument(m.instrument)?;
        }
        Ok(InOpenOrders {
            rx_time,
            client_seq,
            cl_ord_id: m.cl_ord_id,
            after: m.after,
            account: m.account,
            instrument: m.instrument,
            pad1: 0,
        })
    }

    pub(super) fn cancel(
        &self,
        m: &Cancel,
        rx_time: u64,
        client_seq: u64,
    ) -> Result<InCancel, RejectCode> {
        self.instrument(m.instrument)?;
        Ok(InCancel {
            rx_time,
            client_seq,
            cl_ord_id: m.cl_ord_id,
            order_id: m.order_id,
            orig_cl_ord_id: m.orig_cl_ord_id,
            account: m.account,
            instrument: m.instrument,
            pad1: 0,
        })
    }

    pub(super) fn mass_cancel(
        &self,
        m: &MassCancel,
        rx_time: u64,
        client_seq: u64,
    ) -> Result<InMassCancel, RejectCode> {
        if m.instrument != ID16_NULL {
            self.instrument(m.instrument)?;
        }
        let bad_side = m.side != BYTE_NULL && Side::from_wire(m.side).is_none();
        let bad_group = m.mmp_group != BYTE_NULL && m.mmp_group > MMP_GROUPS;
        if bad_side || bad_group || m.scope > SCOPE_QUOTES {
            return Err(RejectCode::InvalidField);
        }
        Ok(InMassCancel {
            rx_time,
            client_seq,
            cl_ord_id: m.cl_ord_id,
            account: m.account,
            instrument: m.instrument,
            side: m.side,
            scope: m.scope,
            mmp_group: m.mmp_group,
            ..InMassCancel::zeroed()
        })
    }
}

pub(super) fn withdraw(
    m: &Withdraw,
    rx_time: u64,
    client_seq: u64,
) -> Result<InWithdraw, RejectCode> {
    if m.amount < 1 || m.amount >= 1 << crate::limits::AMOUNT_BITS {
        return Err(RejectCode::AmountOutOfRange);
    }
    Ok(InWithdraw {
        rx_time,
        client_seq,
        cl_ord_id: m.cl_ord_id,
        amount: m.amount,
        account: m.account,
        pad1: 0,
    })
}

pub(super) fn mmp_reset(
    m: &MmpReset,
    rx_time: u64,
    client_seq: u64,
) -> Result<InMmpReset, RejectCode> {
    check_group(m.mmp_group)?;
    Ok(InMmpReset {
        rx_time,
        client_seq,
        cl_ord_id: m.cl_ord_id,
        account: m.account,
        mmp_group: m.mmp_group,
        ..InMmpReset::zeroed()
    })
}

pub(super) fn mmp_config(
    m: &MmpConfig,
    rx_time: u64,
    client_seq: u64,
) -> Result<InMmpConfig, RejectCode> {
    check_group(m.mmp_group)?;
    let limits = [m.quantity_limit, m.delta_limit, m.vega_limit];
    let spans = m.window_ns == 0 || m.window_ns > SPAN_MAX_NS || m.freeze_ns > SPAN_MAX_NS;
    if spans || limits.iter().any(|l| *l < 0) {
        return Err(RejectCode::InvalidField);
    }
    Ok(InMmpConfig {
        rx_time,
        client_seq,
        cl_ord_id: m.cl_ord_id,
        window_ns: m.window_ns,
        freeze_ns: m.freeze_ns,
        quantity_limit: m.quantity_limit,
        delta_limit: m.delta_limit,
        vega_limit: m.vega_limit,
        account: m.account,
        mmp_group: m.mmp_group,
        ..InMmpConfig::zeroed()
    })
}

const fn check_group(group: u8) -> Result<(), RejectCode> {
    if group == 0 || group > MMP_GROUPS {
        return Err(RejectCode::InvalidField);
    }
    Ok(())
}

pub(super) fn kill_switch(
    m: &KillSwitch,
    rx_time: u64,
    client_seq: u64,
) -> Result<InKillSwitch, RejectCode> {
    if m.action > KILL_UNLOCK {
        return Err(RejectCode::InvalidField);
    }
    Ok(InKillSwitch {
        rx_time,
        client_seq,
        cl_ord_id: m.cl_ord_id,
        account: m.account,
        action: m.action,
        ..InKillSwitch::zeroed()
    })
}

pub(super) const fn dead_man(
    m: &DeadManTimer,
    rx_time: u64,
    client_seq: u64,
) -> Result<InDeadMan, RejectCode> {
    if m.timeout_ns > SPAN_MAX_NS {
        return Err(RejectCode::InvalidField);
    }
    Ok(InDeadMan {
        rx_time,
        client_seq,
        cl_ord_id: m.cl_ord_id,
        timeout_ns: m.timeout_ns,
    })
}

pub(super) const fn positions(m: &PositionsRequest, rx_time: u64, client_seq: u64) -> InPositions {
    InPositions {
        rx_time,
        client_seq,
        cl_ord_id: m.cl_ord_id,
        account: m.account,
        pad1: 0,
    }
}
