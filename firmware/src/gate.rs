//! The gate: a decoded [`Command`] becomes [`Admitted`], or a [`RejectCode`].
//!
//! It holds what can be checked without the book: who may trade for which account, rates, ids that
//! must rise, ticks, bands and sizes. Margin and trading state are the engine's.
//! Cancels are never throttled.

use crate::limits::{GATE_ACCOUNTS, GATE_MEMBERS, INSTRUMENTS};
use crate::rate::TokenBucket;
use crate::reject::RejectCode;
use crate::units::{AccountId, InstrumentId, MemberId, PriceTicks, Side, TimeNs};
use crate::wire::input::{InCancel, InMassCancel, InNewOrder, InRefused, InReplace, InWithdraw};
use crate::wire::order::{
    self, Cancel, MassCancel, NewOrder, ORD_LIMIT, ORD_MARKET, Replace, Request, TIF_FOK, TIF_GTC,
    TIF_IOC, Withdraw,
};
use crate::wire::sbe::{BYTE_NULL, ID16_NULL, Message, MessageHeader};

/// A request that was decoded from an authentic datagram, in order.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Who asks.
    pub member: MemberId,
    /// Number of the request in the member's flow.
    pub client_seq: u64,
    /// When the datagram was received.
    pub rx_time: TimeNs,
    /// What is asked.
    pub request: Request,
}

/// What the gate lets through: only [`Gate::check`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Admitted {
    member: MemberId,
    body: AdmittedBody,
}

/// The body of an admitted command, as it stands in the journal.
#[derive(Clone, Copy, Debug)]
pub enum AdmittedBody {
    /// New order.
    NewOrder(InNewOrder),
    /// Replace.
    Replace(InReplace),
    /// Cancel.
    Cancel(InCancel),
    /// Mass cancel.
    MassCancel(InMassCancel),
    /// Withdrawal.
    Withdraw(InWithdraw),
}

impl Admitted {
    /// Who asked.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        self.member
    }
    /// The typed body.
    #[must_use]
    pub const fn body(&self) -> &AdmittedBody {
        &self.body
    }
    /// Template of the journal record.
    #[must_use]
    pub const fn template(&self) -> u16 {
        match self.body {
            AdmittedBody::NewOrder(_) => InNewOrder::TEMPLATE,
            AdmittedBody::Replace(_) => InReplace::TEMPLATE,
            AdmittedBody::Cancel(_) => InCancel::TEMPLATE,
            AdmittedBody::MassCancel(_) => InMassCancel::TEMPLATE,
            AdmittedBody::Withdraw(_) => InWithdraw::TEMPLATE,
        }
    }
    /// Bytes of the journal record's body.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.body {
            AdmittedBody::NewOrder(b) => bytemuck::bytes_of(b),
            AdmittedBody::Replace(b) => bytemuck::bytes_of(b),
            AdmittedBody::Cancel(b) => bytemuck::bytes_of(b),
            AdmittedBody::MassCancel(b) => bytemuck::bytes_of(b),
            AdmittedBody::Withdraw(b) => bytemuck::bytes_of(b),
        }
    }
}

/// What the gate knows of an instrument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GateInstrument {
    /// Tick x 1e-9 of the wire price.
    pub tick_e9: i64,
    /// Lowest price of the band.
    pub base: PriceTicks,
    /// Prices in the band.
    pub width_ticks: i32,
    /// Largest order.
    pub order_lots_max: i64,
}

#[derive(Clone, Copy, Debug)]
struct GateMember {
    bucket: TokenBucket,
    last_cl_ord_id: u64,
}

/// The gate of one risk domain.
#[derive(Clone, Debug)]
pub struct Gate {
    instruments: [Option<GateInstrument>; INSTRUMENTS],
    /// Member of each account; zero: nobody.
    account_member: [u32; GATE_ACCOUNTS],
    members: [Option<GateMember>; GATE_MEMBERS],
}

impl Gate {
    /// A gate that lets nothing through.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            instruments: [None; INSTRUMENTS],
            account_member: [0; GATE_ACCOUNTS],
            members: [None; GATE_MEMBERS],
        }
    }

    /// Lets orders for an instrument through; `false` when the id is out of range.
    #[must_use]
    pub fn list(&mut self, id: InstrumentId, instrument: GateInstrument) -> bool {
        let slot = self.instruments.get_mut(id.0 as usize);
        slot.map(|s| *s = Some(instrument)).is_some()
    }

    /// Registers a member with its rate; `false` when the id is zero or out of range.
    #[must_use]
    pub fn add_member(&mut self, member: MemberId, requests_per_second: u32) -> bool {
        if member.0 == 0 {
            return false;
        }
        let slot = self.members.get_mut(member.0 as usize);
        let fresh = GateMember {
            bucket: TokenBucket::new(requests_per_second),
            last_cl_ord_id: 0,
        };
        slot.map(|s| *s = Some(fresh)).is_some()
    }

    /// Lets a member trade for an account; `false` when the account is out of range.
    #[must_use]
    pub fn bind_account(&mut self, account: AccountId, member: MemberId) -> bool {
        let slot = self.account_member.get_mut(account.0 as usize);
        slot.map(|s| *s = member.0).is_some()
    }

    /// Remembers an id that the journal holds already, so that it stays dead after a restart.
    pub fn note_cl_ord_id(&mut self, member: MemberId, cl_ord_id: u64) {
        if let Some(Some(m)) = self.members.get_mut(member.0 as usize) {
            m.last_cl_ord_id = m.last_cl_ord_id.max(cl_ord_id);
        }
    }

    /// Checks a command.
    ///
    /// # Errors
    /// The record of the refusal, which is journaled and reported like any other input.
    pub fn check(&mut self, command: &Command, now: TimeNs) -> Result<Admitted, InRefused> {
        let (template, cl_ord_id, account, instrument) = key(&command.request);
        self.check_body(command, now)
            .map(|body| Admitted {
                member: command.member,
                body,
            })
            .map_err(|reason| InRefused {
                rx_time: command.rx_time.0,
                client_seq: command.client_seq,
                cl_ord_id,
                account,
                instrument,
                reason: reason as u16,
                ref_template: template,
                pad1: 0,
                pad2: 0,
            })
    }

    fn check_body(&mut self, c: &Command, now: TimeNs) -> Result<AdmittedBody, RejectCode> {
        let (_, cl_ord_id, account, _) = key(&c.request);
        let throttled = matches!(
            c.request,
            Request::NewOrder(_) | Request::Replace(_) | Request::Withdraw(_)
        );
        let Some(Some(member)) = self.members.get_mut(c.member.0 as usize) else {
            return Err(RejectCode::UnknownAccount);
        };
        if throttled && !member.bucket.take(now) {
            return Err(RejectCode::Throttled);
        }
        if self.account_member.get(account as usize) != Some(&c.member.0) {
            return Err(RejectCode::UnknownAccount);
        }
        let names_an_order = matches!(c.request, Request::NewOrder(_) | Request::Replace(_));
        if names_an_order && cl_ord_id <= member.last_cl_ord_id {
            return Err(RejectCode::DuplicateClOrdId);
        }
        let (rx, seq) = (c.rx_time.0, c.client_seq);
        let body = match &c.request {
            Request::NewOrder(m) => AdmittedBody::NewOrder(self.new_order(m, rx, seq)?),
            Request::Replace(m) => AdmittedBody::Replace(self.replace(m, rx, seq)?),
            Request::Cancel(m) => AdmittedBody::Cancel(self.cancel(m, rx, seq)?),
            Request::MassCancel(m) => AdmittedBody::MassCancel(self.mass_cancel(m, rx, seq)?),
            Request::Withdraw(m) => AdmittedBody::Withdraw(withdraw(m, rx, seq)?),
        };
        if names_an_order && let Some(Some(member)) = self.members.get_mut(c.member.0 as usize) {
            member.last_cl_ord_id = cl_ord_id;
        }
        Ok(body)
    }

    fn instrument(&self, id: u16) -> Result<&GateInstrument, RejectCode> {
        match self.instruments.get(id as usize) {
            Some(Some(i)) => Ok(i),
            _ => Err(RejectCode::UnknownInstrument),
        }
    }

    fn new_order(
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
            || m.stp_mode > 3
        {
            return Err(RejectCode::InvalidField);
        }
        let rests = m.time_in_force == TIF_GTC;
        let takes_at_once = matches!(m.time_in_force, TIF_IOC | TIF_FOK);
        let market = m.ord_type == ORD_MARKET;
        if market && rests || (m.flags & order::FLAG_POST_ONLY != 0 && !rests) {
            return Err(RejectCode::InvalidField);
        }
        let reduce_only = m.flags & order::FLAG_REDUCE_ONLY != 0;
        if !(rests || takes_at_once)
            || reduce_only && rests
            || m.stp_mode == 3
            || m.mmp_group != 0
            || m.smp_id != 0
            || m.expire_time != 0
        {
            return Err(RejectCode::NotSupported);
        }
        let price_ticks = if market { 0 } else { i.ticks(m.price)? };
        i.check_lots(m.quantity)?;
        Ok(InNewOrder {
            rx_time,
            client_seq,
            cl_ord_id: m.cl_ord_id,
            lots: m.quantity,
            price_ticks,
            account: m.account,
            instrument: m.instrument,
            side: m.side,
            ord_type: if market { ORD_MARKET } else { ORD_LIMIT },
            time_in_force: m.time_in_force,
            flags: m.flags,
            stp_mode: m.stp_mode,
            pad1: 0,
        })
    }

    fn replace(&self, m: &Replace, rx_time: u64, client_seq: u64) -> Result<InReplace, RejectCode> {
        let i = self.instrument(m.instrument)?;
        if m.flags & !order::FLAG_POST_ONLY != 0 {
            return Err(RejectCode::InvalidField);
        }
        let price_ticks = i.ticks(m.price)?;
        i.check_lots(m.quantity)?;
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

    fn cancel(&self, m: &Cancel, rx_time: u64, client_seq: u64) -> Result<InCancel, RejectCode> {
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

    fn mass_cancel(
        &self,
        m: &MassCancel,
        rx_time: u64,
        client_seq: u64,
    ) -> Result<InMassCancel, RejectCode> {
        if m.instrument != ID16_NULL {
            self.instrument(m.instrument)?;
        }
        if m.side != BYTE_NULL && Side::from_wire(m.side).is_none() {
            return Err(RejectCode::InvalidField);
        }
        Ok(InMassCancel {
            rx_time,
            client_seq,
            cl_ord_id: m.cl_ord_id,
            account: m.account,
            instrument: m.instrument,
            side: m.side,
            pad1: 0,
        })
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl GateInstrument {
    /// Wire price to ticks, inside the band.
    fn ticks(&self, price_e9: i64) -> Result<i32, RejectCode> {
        if price_e9 % self.tick_e9 != 0 {
            return Err(RejectCode::PriceOffTick);
        }
        let ticks = price_e9 / self.tick_e9;
        let low = i64::from(self.base.0);
        if ticks < low || ticks >= low + i64::from(self.width_ticks) {
            return Err(RejectCode::PriceOutOfBand);
        }
        Ok(ticks as i32)
    }

    fn check_lots(&self, lots: i64) -> Result<(), RejectCode> {
        if lots < 1 || lots > self.order_lots_max {
            return Err(RejectCode::QuantityOutOfRange);
        }
        Ok(())
    }
}

fn withdraw(m: &Withdraw, rx_time: u64, client_seq: u64) -> Result<InWithdraw, RejectCode> {
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

/// Template, client id, account and instrument of a request.
const fn key(request: &Request) -> (u16, u64, u32, u16) {
    match request {
        Request::NewOrder(m) => (NewOrder::TEMPLATE, m.cl_ord_id, m.account, m.instrument),
        Request::Replace(m) => (Replace::TEMPLATE, m.cl_ord_id, m.account, m.instrument),
        Request::Cancel(m) => (Cancel::TEMPLATE, m.cl_ord_id, m.account, m.instrument),
        Request::MassCancel(m) => (MassCancel::TEMPLATE, m.cl_ord_id, m.account, m.instrument),
        Request::Withdraw(m) => (Withdraw::TEMPLATE, m.cl_ord_id, m.account, ID16_NULL),
    }
}

/// The record of a request that could not even be decoded; its number is spent all the same.
#[must_use]
pub const fn refuse_malformed(
    header: Option<MessageHeader>,
    client_seq: u64,
    rx_time: TimeNs,
) -> InRefused {
    InRefused {
        rx_time: rx_time.0,
        client_seq,
        cl_ord_id: 0,
        account: 0,
        instrument: ID16_NULL,
        reason: RejectCode::Malformed as u16,
        ref_template: match header {
            Some(h) => h.template_id,
            None => 0,
        },
        pad1: 0,
        pad2: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: u32 = 7;

    fn gate() -> Gate {
        let mut g = Gate::new();
        assert!(g.add_member(MemberId(1), 1_000));
        assert!(g.add_member(MemberId(2), 1_000));
        assert!(g.bind_account(AccountId(ACCOUNT), MemberId(1)));
        let i = GateInstrument {
            tick_e9: 500_000_000,
            base: PriceTicks(100),
            width_ticks: 1_000,
            order_lots_max: 50,
        };
        assert!(g.list(InstrumentId(3), i));
        g
    }

    fn order() -> NewOrder {
        NewOrder {
            cl_ord_id: 10,
            price: 100_000_000_000,
            quantity: 5,
            expire_time: 0,
            smp_id: 0,
            account: ACCOUNT,
            instrument: 3,
            side: 0,
            ord_type: ORD_LIMIT,
            time_in_force: TIF_GTC,
            flags: 0,
            stp_mode: 0,
            mmp_group: 0,
            pad1: 0,
        }
    }

    fn ask(g: &mut Gate, member: u32, request: impl Into<Request>) -> Result<Admitted, RejectCode> {
        let c = Command {
            member: MemberId(member),
            client_seq: 1,
            rx_time: TimeNs(1),
            request: request.into(),
        };
        g.check(&c, TimeNs(1))
            .map_err(|r| RejectCode::from_wire(r.reason).unwrap())
    }

    #[test]
    fn a_good_order_is_admitted_in_ticks() {
        let a = ask(&mut gate(), 1, order()).unwrap();
        let AdmittedBody::NewOrder(b) = a.body() else {
            panic!("{a:?}")
        };
        assert_eq!((b.price_ticks, b.lots, a.member()), (200, 5, MemberId(1)));
        assert_eq!(
            (a.template(), a.bytes().len()),
            (600, size_of::<InNewOrder>())
        );
    }

    #[test]
    fn each_fault_has_its_own_code() {
        type Change = fn(&mut NewOrder);
        let table: &[(Change, RejectCode)] = &[
            (|m| m.account = 8, RejectCode::UnknownAccount),
            (|m| m.account = u32::MAX, RejectCode::UnknownAccount),
            (|m| m.cl_ord_id = 0, RejectCode::DuplicateClOrdId),
            (|m| m.instrument = 4, RejectCode::UnknownInstrument),
            (|m| m.instrument = 999, RejectCode::UnknownInstrument),
            (|m| m.side = 2, RejectCode::InvalidField),
            (|m| m.ord_type = 2, RejectCode::InvalidField),
            (|m| m.time_in_force = 5, RejectCode::InvalidField),
            (|m| m.flags = 8, RejectCode::InvalidField),
            (|m| m.stp_mode = 4, RejectCode::InvalidField),
            (|m| m.ord_type = ORD_MARKET, RejectCode::InvalidField),
            (
                |m| {
                    m.time_in_force = TIF_IOC;
                    m.flags = order::FLAG_POST_ONLY;
                },
                RejectCode::InvalidField,
            ),
            (|m| m.time_in_force = 1, RejectCode::NotSupported),
            (|m| m.stp_mode = 3, RejectCode::NotSupported),
            (|m| m.mmp_group = 1, RejectCode::NotSupported),
            (|m| m.price += 1, RejectCode::PriceOffTick),
            (|m| m.price = 49_500_000_000, RejectCode::PriceOutOfBand),
            (|m| m.price = 550_000_000_000, RejectCode::PriceOutOfBand),
            (|m| m.price = i64::MIN, RejectCode::PriceOffTick),
            (|m| m.price = -500_000_000, RejectCode::PriceOutOfBand),
            (|m| m.quantity = 0, RejectCode::QuantityOutOfRange),
            (|m| m.quantity = -1, RejectCode::QuantityOutOfRange),
            (|m| m.quantity = 51, RejectCode::QuantityOutOfRange),
        ];
        for (n, (change, code)) in table.iter().enumerate() {
            let mut m = order();
            change(&mut m);
            assert_eq!(ask(&mut gate(), 1, m).unwrap_err(), *code, "row {n}");
        }
    }

    #[test]
    fn a_refused_order_does_not_spend_its_client_id() {
        let mut g = gate();
        let mut bad = order();
        bad.quantity = 0;
        assert!(ask(&mut g, 1, bad).is_err());
        assert!(ask(&mut g, 1, order()).is_ok());
        assert_eq!(
            ask(&mut g, 1, order()).unwrap_err(),
            RejectCode::DuplicateClOrdId
        );
        g.note_cl_ord_id(MemberId(1), 100);
        let mut m = order();
        m.cl_ord_id = 100;
        assert_eq!(ask(&mut g, 1, m).unwrap_err(), RejectCode::DuplicateClOrdId);
    }

    #[test]
    fn nobody_trades_for_the_account_of_another_member() {
        assert_eq!(
            ask(&mut gate(), 2, order()).unwrap_err(),
            RejectCode::UnknownAccount
        );
        assert_eq!(
            ask(&mut gate(), 9, order()).unwrap_err(),
            RejectCode::UnknownAccount
        );
    }

    #[test]
    fn orders_are_throttled_and_cancels_are_not() {
        let mut g = gate();
        assert!(g.add_member(MemberId(1), 1));
        let mut m = order();
        assert!(ask(&mut g, 1, m).is_ok());
        m.cl_ord_id += 1;
        assert_eq!(ask(&mut g, 1, m).unwrap_err(), RejectCode::Throttled);
        let cancel = Cancel {
            cl_ord_id: 1,
            order_id: 5,
            orig_cl_ord_id: 0,
            account: ACCOUNT,
            instrument: 3,
            pad1: 0,
        };
        for _ in 0..10 {
            assert!(ask(&mut g, 1, cancel).is_ok());
        }
    }
}
