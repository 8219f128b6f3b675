//! The gate: a decoded [`Command`] becomes [`Admitted`], or a [`RejectCode`].
//!
//! It holds what can be checked without the book: who may trade for which account, rates, ids that
//! must rise, ticks, bands and sizes. Margin and trading state are the engine's.
//! Cancels are never throttled.

mod key;
mod quotes;
mod requests;
#[cfg(test)]
mod tests;

pub use quotes::{AdmittedQuote, QuoteCommand};

use crate::limits::{GATE_ACCOUNTS, GATE_MEMBERS, INSTRUMENTS};
use crate::rate::TokenBucket;
use crate::reject::RejectCode;
use crate::units::{AccountId, InstrumentId, MemberId, PriceTicks, Side, TimeNs};
use crate::wire::input::{
    InCancel, InDeadMan, InKillSwitch, InMassCancel, InMmpConfig, InMmpReset, InNewOrder,
    InOpenOrders, InPositions, InReduce, InRefused, InReplace, InWithdraw,
};
use crate::wire::order::{
    self, Cancel, DeadManTimer, KILL_UNLOCK, KillSwitch, MassCancel, MmpConfig, MmpReset, NewOrder,
    ORD_LIMIT, ORD_MARKET, OpenOrdersRequest, PositionsRequest, ReduceQty, Replace, Request,
    SCOPE_QUOTES, STP_DECREMENT, TIF_FOK, TIF_GTD, TIF_IOC, Withdraw,
};
use crate::wire::quote::{
    InMassQuote, InQuoteEntry, LOTS_NULL, MassQuote, QUANTITY_NULL, QUOTE_ENTRIES_MAX, QuoteEntry,
    QuoteRecord, QuoteRef, QuoteView,
};
use crate::wire::sbe::{BYTE_NULL, ID16_NULL, ID32_NULL, Message, MessageHeader};
use bytemuck::Zeroable;
use key::{Key, refusal};
use requests::{dead_man, kill_switch, mmp_config, mmp_reset, positions, withdraw};

/// Market-maker protection groups of an account; numbered from 1.
pub const MMP_GROUPS: u8 = 16;
/// Longest window or freeze of a protection group, and longest dead-man timer: a day, ns.
pub const SPAN_MAX_NS: u64 = 86_400_000_000_000;

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

macro_rules! bodies {
    ($($(#[$m:meta])* $name:ident($ty:ident)),+ $(,)?) => {
        /// The body of an admitted command, as it stands in the journal.
        #[derive(Clone, Copy, Debug)]
        pub enum AdmittedBody { $($(#[$m])* $name($ty)),+ }

        impl Admitted {
            /// Template of the journal record.
            #[must_use]
            pub const fn template(&self) -> u16 {
                match self.body { $(AdmittedBody::$name(_) => $ty::TEMPLATE),+ }
            }
            /// Bytes of the journal record's body.
            #[must_use]
            pub fn bytes(&self) -> &[u8] {
                match &self.body { $(AdmittedBody::$name(b) => bytemuck::bytes_of(b)),+ }
            }
        }
    };
}

bodies! {
    /// New order.
    NewOrder(InNewOrder),
    /// Replace.
    Replace(InReplace),
    /// Reduction.
    Reduce(InReduce),
    /// Cancel.
    Cancel(InCancel),
    /// Mass cancel.
    MassCancel(InMassCancel),
    /// Reset of a protection group.
    MmpReset(InMmpReset),
    /// Kill switch.
    KillSwitch(InKillSwitch),
    /// Open orders wanted.
    OpenOrders(InOpenOrders),
    /// Dead-man timer.
    DeadMan(InDeadMan),
    /// Withdrawal.
    Withdraw(InWithdraw),
    /// Configuration of a protection group.
    MmpConfig(InMmpConfig),
    /// Positions wanted.
    Positions(InPositions),
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
    /// From this price on, prices are multiples of `tick2_multiple` ticks; zero: one tick for all prices.
    pub tick2_from: PriceTicks,
    /// Ticks in a step from `tick2_from` on.
    pub tick2_multiple: u32,
}

#[derive(Clone, Copy, Debug)]
struct GateMember {
    /// Requests other than cancels and mass quotes.
    orders: TokenBucket,
    /// Entries of mass quotes.
    quotes: TokenBucket,
    last_cl_ord_id: u64,
    /// Gets copies of another's reports and may ask for nothing.
    is_read_only: bool,
}

/// The gate of one risk domain.
#[derive(Clone, Debug)]
pub struct Gate {
    instruments: [Option<GateInstrument>; INSTRUMENTS],
    /// Member of each account; zero: nobody.
    account_member: [u32; GATE_ACCOUNTS],
    members: [Option<GateMember>; GATE_MEMBERS],
    /// The venue does not keep up.
    is_overloaded: bool,
}

impl Gate {
    /// A gate that lets nothing through.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            instruments: [None; INSTRUMENTS],
            account_member: [0; GATE_ACCOUNTS],
            members: [None; GATE_MEMBERS],
            is_overloaded: false,
        }
    }

    /// While it is set, requests that may add risk are refused. Nothing of it is in the journal but the refusals.
    pub const fn set_overloaded(&mut self, is_overloaded: bool) {
        self.is_overloaded = is_overloaded;
    }

    /// Lets orders for an instrument through; `false` when the id is out of range.
    #[must_use]
    pub fn list(&mut self, id: InstrumentId, instrument: GateInstrument) -> bool {
        let slot = self.instruments.get_mut(id.0 as usize);
        slot.map(|s| *s = Some(instrument)).is_some()
    }

    /// Lets no more orders for an instrument through.
    pub fn delist(&mut self, id: InstrumentId) {
        if let Some(slot) = self.instruments.get_mut(id.0 as usize) {
            *slot = None;
        }
    }

    /// Registers a member with its rates, or sets them anew; `false` when the id is zero or out of range.
    #[must_use]
    pub fn add_member(&mut self, member: MemberId, rates: Rates) -> bool {
        if member.0 == 0 {
            return false;
        }
        let Some(slot) = self.members.get_mut(member.0 as usize) else {
            return false;
        };
        let before = slot.map_or((0, false), |m| (m.last_cl_ord_id, m.is_read_only));
        *slot = Some(GateMember {
            orders: TokenBucket::new(rates.requests_per_second),
            quotes: TokenBucket::new(rates.quotes_per_second),
            last_cl_ord_id: before.0,
            is_read_only: before.1,
        });
        true
    }

    /// Makes a member one that gets copies of another's reports and may ask for nothing.
    pub fn make_read_only(&mut self, member: MemberId) {
        if let Some(Some(m)) = self.members.get_mut(member.0 as usize) {
            m.is_read_only = true;
        }
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

    /// Highest id that a member gave an order; zero: none yet.
    #[must_use]
    pub fn last_cl_ord_id(&self, member: MemberId) -> u64 {
        match self.members.get(member.0 as usize) {
            Some(Some(m)) => m.last_cl_ord_id,
            _ => 0,
        }
    }

    /// Checks a command.
    ///
    /// # Errors
    /// The record of the refusal, which is journaled and reported like any other input.
    pub fn check(&mut self, command: &Command, now: TimeNs) -> Result<Admitted, InRefused> {
        self.check_body(command, now)
            .map(|body| Admitted {
                member: command.member,
                body,
            })
            .map_err(|reason| {
                let key = Key::of(&command.request);
                refusal(command.rx_time, command.client_seq, &key, reason)
            })
    }

    fn check_body(&mut self, c: &Command, now: TimeNs) -> Result<AdmittedBody, RejectCode> {
        let key = Key::of(&c.request);
        let Some(Some(member)) = self.members.get_mut(c.member.0 as usize) else {
            return Err(RejectCode::UnknownAccount);
        };
        if member.is_read_only {
            return Err(RejectCode::ReadOnly);
        }
        if key.is_throttled && !member.orders.take(now) {
            return Err(RejectCode::Throttled);
        }
        if self.is_overloaded && may_add_risk(&c.request) {
            return Err(RejectCode::Overloaded);
        }
        self.check_account(c.member, &key)?;
        self.check_rising(c.member, &key)?;
        let (rx, seq) = (c.rx_time.0, c.client_seq);
        let body = match &c.request {
            Request::NewOrder(m) => AdmittedBody::NewOrder(self.new_order(m, rx, seq)?),
            Request::Replace(m) => AdmittedBody::Replace(self.replace(m, rx, seq)?),
            Request::ReduceQty(m) => AdmittedBody::Reduce(self.reduce(m, rx, seq)?),
            Request::Cancel(m) => AdmittedBody::Cancel(self.cancel(m, rx, seq)?),
            Request::MassCancel(m) => AdmittedBody::MassCancel(self.mass_cancel(m, rx, seq)?),
            Request::MmpReset(m) => AdmittedBody::MmpReset(mmp_reset(m, rx, seq)?),
            Request::KillSwitch(m) => AdmittedBody::KillSwitch(kill_switch(m, rx, seq)?),
            Request::OpenOrdersRequest(m) => {
                AdmittedBody::OpenOrders(self.open_orders(m, rx, seq)?)
            }
            Request::DeadManTimer(m) => AdmittedBody::DeadMan(dead_man(m, rx, seq)?),
            Request::Withdraw(m) => AdmittedBody::Withdraw(withdraw(m, rx, seq)?),
            Request::MmpConfig(m) => AdmittedBody::MmpConfig(mmp_config(m, rx, seq)?),
            Request::PositionsRequest(m) => AdmittedBody::Positions(positions(m, rx, seq)),
        };
        self.note_rising(c.member, &key);
        Ok(body)
    }

    fn check_account(&self, member: MemberId, key: &Key) -> Result<(), RejectCode> {
        let Some(account) = key.account else {
            return Ok(());
        };
        if self.account_member.get(account as usize) == Some(&member.0) {
            Ok(())
        } else {
            Err(RejectCode::UnknownAccount)
        }
    }

    /// Ids that name orders must rise.
    fn check_rising(&self, member: MemberId, key: &Key) -> Result<(), RejectCode> {
        if key.rises && key.cl_ord_id <= self.last_cl_ord_id(member) {
            return Err(RejectCode::DuplicateClOrdId);
        }
        Ok(())
    }

    fn note_rising(&mut self, member: MemberId, key: &Key) {
        if key.rises
            && let Some(Some(m)) = self.members.get_mut(member.0 as usize)
        {
            m.last_cl_ord_id = key.cl_ord_id;
        }
    }

    fn instrument(&self, id: u16) -> Result<&GateInstrument, RejectCode> {
        match self.instruments.get(id as usize) {
            Some(Some(i)) => Ok(i),
            _ => Err(RejectCode::UnknownInstrument),
        }
    }
}

/// Whether a request may leave its account with more risk than before. A reduce-only order may not.
const fn may_add_risk(request: &Request) -> bool {
    match request {
        Request::NewOrder(m) => m.flags & order::FLAG_REDUCE_ONLY == 0,
        Request::Replace(_) => true,
        _ => false,
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
        let is_coarse = self.tick2_multiple > 1 && ticks >= i64::from(self.tick2_from.0);
        if is_coarse && ticks % i64::from(self.tick2_multiple) != 0 {
            return Err(RejectCode::PriceOffTick);
        }
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

/// Rates of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Requests other than cancels and mass quotes.
    pub requests_per_second: u32,
    /// Entries of mass quotes.
    pub quotes_per_second: u32,
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
