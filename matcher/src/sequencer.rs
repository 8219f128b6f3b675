//! The line of determinism: the only maker of [`Sequenced`].
//!
//! Left of it things may race; right of it everything is a function of what it made. It gives each
//! input the next number and a time that never runs backwards, and on replay it checks both.

use crate::table::RiskTable;
use alloc::boxed::Box;
use firmware::gate::{Admitted, AdmittedBody, AdmittedQuote};
use firmware::units::{MemberId, Seq, TimeNs};
use firmware::wire::input::{
    IN_RISK_TABLE, InAccount, InCancel, InDeadMan, InDelist, InDeposit, InDomain, InDropCopy,
    InGap, InInstrument, InKillSwitch, InLock, InMassCancel, InMemberLimits, InMmpConfig,
    InMmpReset, InNewOrder, InOpenOrders, InOperatorAct, InOperatorCancel, InOracle, InPositions,
    InReduce, InRefused, InReplace, InRiskRules, InSession, InTimer, InTradingState, InVolModel,
    InWithdraw,
};
use firmware::wire::quote::{InMassQuote, QuoteRef};
use firmware::wire::sbe::Message;

/// A sequenced input.
#[derive(Clone, Copy, Debug)]
pub struct Sequenced<'a> {
    seq: Seq,
    time: TimeNs,
    member: MemberId,
    input: Input<'a>,
}

/// The typed body of a sequenced input.
#[derive(Clone, Copy, Debug)]
#[expect(
    missing_docs,
    reason = "each variant is the record of the same name in firmware::wire::input"
)]
pub enum Input<'a> {
    NewOrder(&'a InNewOrder),
    MassQuote(QuoteRef<'a>),
    Replace(&'a InReplace),
    Reduce(&'a InReduce),
    Cancel(&'a InCancel),
    MassCancel(&'a InMassCancel),
    MmpReset(&'a InMmpReset),
    KillSwitch(&'a InKillSwitch),
    OpenOrders(&'a InOpenOrders),
    DeadMan(&'a InDeadMan),
    Withdraw(&'a InWithdraw),
    MmpConfig(&'a InMmpConfig),
    Positions(&'a InPositions),
    Refused(&'a InRefused),
    Gap(&'a InGap),
    Session(&'a InSession),
    Deposit(&'a InDeposit),
    Oracle(&'a InOracle),
    Timer(&'a InTimer),
    TradingState(&'a InTradingState),
    Account(&'a InAccount),
    Domain(&'a InDomain),
    Instrument(&'a InInstrument),
    Delist(&'a InDelist),
    OperatorCancel(&'a InOperatorCancel),
    DropCopy(&'a InDropCopy),
    Lock(&'a InLock),
    RiskRules(&'a InRiskRules),
    VolModel(&'a InVolModel),
    OperatorAct(&'a InOperatorAct),
    MemberLimits(&'a InMemberLimits),
    RiskTable(&'a RiskTable),
}

impl<'a> Sequenced<'a> {
    /// Place in the journal.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }
    /// Time of the input.
    #[must_use]
    pub const fn time(&self) -> TimeNs {
        self.time
    }
    /// Member that it comes from; zero: the venue itself.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        self.member
    }
    /// What it says.
    #[must_use]
    pub const fn input(&self) -> &Input<'a> {
        &self.input
    }
}

macro_rules! inputs {
    ($($variant:ident = $ty:ty, $template:expr);+ $(;)?) => {
        impl<'a> Input<'a> {
            /// Template of the journal record.
            #[must_use]
            pub const fn template(&self) -> u16 {
                match self {
                    Self::MassQuote(_) => InMassQuote::TEMPLATE,
                    $(Self::$variant(_) => $template,)+
                    Self::RiskTable(_) => IN_RISK_TABLE,
                }
            }
            /// Body of the journal record.
            #[must_use]
            pub fn bytes(&self) -> &'a [u8] {
                match *self {
                    Self::MassQuote(m) => m.bytes(),
                    $(Self::$variant(m) => bytemuck::bytes_of(m),)+
                    Self::RiskTable(table) => table.bytes(),
                }
            }
            /// Reads the body of a record, which must be aligned to 8 bytes.
            fn decode(template: u16, body: &'a [u8]) -> Result<Self, ReplayError> {
                match template {
                    InMassQuote::TEMPLATE => match QuoteRef::read(body) {
                        Some(quote) => Ok(Self::MassQuote(quote)),
                        None => Err(ReplayError::Quote),
                    },
                    $(t if t == $template => {
                        let size = size_of::<$ty>();
                        let bytes = body.get(..size).ok_or(ReplayError::Body { template, got: body.len(), want: size })?;
                        let m = bytemuck::try_from_bytes(bytes).map_err(|_| ReplayError::Alignment)?;
                        Ok(Self::$variant(m))
                    })+
                    IN_RISK_TABLE => RiskTable::from_bytes(body).map(Self::RiskTable).ok_or(ReplayError::Table(body.len())),
                    other => Err(ReplayError::Template(other)),
                }
            }
        }
        $(impl<'a> From<&'a $ty> for Input<'a> { fn from(m: &'a $ty) -> Self { Self::$variant(m) } })+
    };
}

inputs! {
    NewOrder = InNewOrder, InNewOrder::TEMPLATE;
    Replace = InReplace, InReplace::TEMPLATE;
    Reduce = InReduce, InReduce::TEMPLATE;
    Cancel = InCancel, InCancel::TEMPLATE;
    MassCancel = InMassCancel, InMassCancel::TEMPLATE;
    MmpReset = InMmpReset, InMmpReset::TEMPLATE;
    KillSwitch = InKillSwitch, InKillSwitch::TEMPLATE;
    OpenOrders = InOpenOrders, InOpenOrders::TEMPLATE;
    DeadMan = InDeadMan, InDeadMan::TEMPLATE;
    Withdraw = InWithdraw, InWithdraw::TEMPLATE;
    MmpConfig = InMmpConfig, InMmpConfig::TEMPLATE;
    Positions = InPositions, InPositions::TEMPLATE;
    Refused = InRefused, InRefused::TEMPLATE;
    Gap = InGap, InGap::TEMPLATE;
    Session = InSession, InSession::TEMPLATE;
    Deposit = InDeposit, InDeposit::TEMPLATE;
    Oracle = InOracle, InOracle::TEMPLATE;
    Timer = InTimer, InTimer::TEMPLATE;
    TradingState = InTradingState, InTradingState::TEMPLATE;
    Account = InAccount, InAccount::TEMPLATE;
    Domain = InDomain, InDomain::TEMPLATE;
    Instrument = InInstrument, InInstrument::TEMPLATE;
    Delist = InDelist, InDelist::TEMPLATE;
    OperatorCancel = InOperatorCancel, InOperatorCancel::TEMPLATE;
    DropCopy = InDropCopy, InDropCopy::TEMPLATE;
    Lock = InLock, InLock::TEMPLATE;
    RiskRules = InRiskRules, InRiskRules::TEMPLATE;
    VolModel = InVolModel, InVolModel::TEMPLATE;
    OperatorAct = InOperatorAct, InOperatorAct::TEMPLATE;
    MemberLimits = InMemberLimits, InMemberLimits::TEMPLATE;
}

impl<'a> From<&'a RiskTable> for Input<'a> {
    fn from(table: &'a RiskTable) -> Self {
        Self::RiskTable(table)
    }
}

impl<'a> From<&'a Box<RiskTable>> for Input<'a> {
    fn from(table: &'a Box<RiskTable>) -> Self {
        Self::RiskTable(table)
    }
}

/// Why a journal record cannot be replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// Records are missing or out of order.
    #[error("record {got} follows record {}", .want - 1)]
    Order {
        /// Number expected.
        want: u64,
        /// Number found.
        got: u64,
    },
    /// The time ran backwards.
    #[error("record {seq}: time {got} ns is before {last} ns")]
    Time {
        /// Record.
        seq: u64,
        /// Time of the record before.
        last: u64,
        /// Time found.
        got: u64,
    },
    /// Not a template of this release.
    #[error("template {0} is not a journal record of this release")]
    Template(u16),
    /// The body is too short.
    #[error("template {template}: body of {got} bytes, {want} needed")]
    Body {
        /// Template.
        template: u16,
        /// Bytes found.
        got: usize,
        /// Bytes needed.
        want: usize,
    },
    /// The body is not a whole number of columns, too few of them, or not aligned.
    #[error("a body of {0} bytes is not that of a risk table")]
    Table(usize),
    /// A mass quote whose entries are cut short or of another layout.
    #[error("a mass quote is cut short, or its entries are of another layout")]
    Quote,
    /// The caller handed in a body that is not aligned.
    #[error("the body is not aligned to 8 bytes")]
    Alignment,
}

/// Numbers inputs.
#[derive(Clone, Debug)]
pub struct Sequencer {
    next: u64,
    time: TimeNs,
}

impl Sequencer {
    /// A sequencer at the start of a journal: the first record is number 1.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            next: 1,
            time: TimeNs(0),
        }
    }

    /// A sequencer that goes on behind record `last`, of which this is the time.
    #[must_use]
    pub const fn after(last: Seq, time: TimeNs) -> Self {
        Self {
            next: last.0 + 1,
            time,
        }
    }

    /// The number that the next input gets.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        Seq(self.next)
    }

    /// Sequences what the gate let through.
    pub fn admit<'a>(&mut self, admitted: &'a Admitted, now: TimeNs) -> Sequenced<'a> {
        let input = match admitted.body() {
            AdmittedBody::NewOrder(m) => Input::NewOrder(m),
            AdmittedBody::Replace(m) => Input::Replace(m),
            AdmittedBody::Reduce(m) => Input::Reduce(m),
            AdmittedBody::Cancel(m) => Input::Cancel(m),
            AdmittedBody::MassCancel(m) => Input::MassCancel(m),
            AdmittedBody::MmpReset(m) => Input::MmpReset(m),
            AdmittedBody::KillSwitch(m) => Input::KillSwitch(m),
            AdmittedBody::OpenOrders(m) => Input::OpenOrders(m),
            AdmittedBody::DeadMan(m) => Input::DeadMan(m),
            AdmittedBody::Withdraw(m) => Input::Withdraw(m),
            AdmittedBody::MmpConfig(m) => Input::MmpConfig(m),
            AdmittedBody::Positions(m) => Input::Positions(m),
        };
        self.stamp(admitted.member(), input, now)
    }

    /// Sequences a mass quote that the gate let through.
    pub fn admit_quote<'a>(&mut self, admitted: &'a AdmittedQuote, now: TimeNs) -> Sequenced<'a> {
        self.stamp(admitted.member(), Input::MassQuote(admitted.quote()), now)
    }

    /// Sequences a refusal, a gap or a session event of a member.
    ///
    /// # Panics
    /// When the input is a request: those go through the gate.
    pub fn session<'a>(
        &mut self,
        member: MemberId,
        input: impl Into<Input<'a>>,
        now: TimeNs,
    ) -> Sequenced<'a> {
        let input = input.into();
        assert!(
            matches!(input, Input::Refused(_) | Input::Gap(_) | Input::Session(_)),
            "a request reached the sequencer without the gate"
        );
        self.stamp(member, input, now)
    }

    /// Sequences an input of the venue itself.
    ///
    /// # Panics
    /// When the input is a member's.
    pub fn venue<'a>(&mut self, input: impl Into<Input<'a>>, now: TimeNs) -> Sequenced<'a> {
        let input = input.into();
        assert!(
            matches!(
                input,
                Input::Deposit(_)
                    | Input::Oracle(_)
                    | Input::Timer(_)
                    | Input::TradingState(_)
                    | Input::OperatorCancel(_)
                    | Input::DropCopy(_)
                    | Input::Lock(_)
                    | Input::RiskRules(_)
                    | Input::VolModel(_)
                    | Input::OperatorAct(_)
                    | Input::MemberLimits(_)
                    | Input::Account(_)
                    | Input::Domain(_)
                    | Input::Instrument(_)
                    | Input::Delist(_)
                    | Input::RiskTable(_)
            ),
            "a member's input was given as the venue's"
        );
        self.stamp(MemberId(0), input, now)
    }

    /// Takes the next record of a journal.
    ///
    /// # Errors
    /// When the record does not follow the one before, or is not one of this release.
    pub fn replay<'a>(
        &mut self,
        seq: u64,
        time_ns: u64,
        template: u16,
        member: u32,
        body: &'a [u8],
    ) -> Result<Sequenced<'a>, ReplayError> {
        if seq != self.next {
            return Err(ReplayError::Order {
                want: self.next,
                got: seq,
            });
        }
        if time_ns < self.time.0 {
            return Err(ReplayError::Time {
                seq,
                last: self.time.0,
                got: time_ns,
            });
        }
        let input = Input::decode(template, body)?;
        Ok(self.stamp(MemberId(member), input, TimeNs(time_ns)))
    }

    fn stamp<'a>(&mut self, member: MemberId, input: Input<'a>, now: TimeNs) -> Sequenced<'a> {
        let seq = Seq(self.next);
        self.next += 1;
        self.time = self.time.max(now);
        Sequenced {
            seq,
            time: self.time,
            member,
            input,
        }
    }
}

impl Default for Sequencer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replay_refuses_what_does_not_follow() {
        let timer = InTimer { flags: 0, pad1: 0 };
        let body = bytemuck::bytes_of(&timer);
        let words = [0u64; 1];
        let aligned: &[u8] = bytemuck::cast_slice(&words);
        assert_eq!(aligned.len(), body.len());
        let mut s = Sequencer::new();
        assert!(s.replay(1, 10, InTimer::TEMPLATE, 0, aligned).is_ok());
        let order = s.replay(3, 10, InTimer::TEMPLATE, 0, aligned).unwrap_err();
        assert_eq!(order.to_string(), "record 3 follows record 1");
        let time = s.replay(2, 9, InTimer::TEMPLATE, 0, aligned).unwrap_err();
        assert_eq!(
            time,
            ReplayError::Time {
                seq: 2,
                last: 10,
                got: 9
            }
        );
        assert_eq!(
            s.replay(2, 10, 999, 0, aligned).unwrap_err(),
            ReplayError::Template(999)
        );
        assert!(matches!(
            s.replay(2, 10, InDeposit::TEMPLATE, 0, aligned),
            Err(ReplayError::Body { .. })
        ));
        assert!(s.replay(2, 10, InTimer::TEMPLATE, 0, aligned).is_ok());
    }

    #[test]
    fn the_time_never_runs_backwards() {
        let t = InTimer { flags: 0, pad1: 0 };
        let mut s = Sequencer::new();
        assert_eq!(s.venue(&t, TimeNs(100)).time(), TimeNs(100));
        let next = s.venue(&t, TimeNs(50));
        assert_eq!((next.time(), next.seq()), (TimeNs(100), Seq(2)));
    }
}
