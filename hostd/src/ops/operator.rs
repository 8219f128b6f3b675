//! What the operator commands: trading states, locks, cancels. A command is checked against the day's listings,
//! members and accounts, and then becomes a sequenced input like any other.

use crate::config::{Config, Instrument};
use crate::storage::recover::Listing;
use crate::tiles::core::Core;
use bytemuck::Zeroable;
use firmware::limits::TIER_INSTRUMENTS;
use firmware::wire::feed::{
    STATE_AUCTION, STATE_CANCEL_ONLY, STATE_DELISTED, STATE_DELIVERED, STATE_HALT, STATE_OPEN,
    STATE_PRE_OPEN, STATE_SETTLE,
};
use firmware::wire::input::{
    InDelist, InInstrument, InLock, InMemberLimits, InOperatorAct, InOperatorCancel, InRiskRules,
    InTradingState,
};
use firmware::wire::order::{KILL_LOCK, KILL_UNLOCK};
use firmware::wire::sbe::{ID16_NULL, ID32_NULL};
use matcher::engine::{ListingError, check_rules};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};

/// Trading states by their words.
const STATES: [(&str, u8); 7] = [
    ("pre-open", STATE_PRE_OPEN),
    ("auction", STATE_AUCTION),
    ("open", STATE_OPEN),
    ("cancel-only", STATE_CANCEL_ONLY),
    ("halt", STATE_HALT),
    ("settle", STATE_SETTLE),
    ("delivered", STATE_DELIVERED),
];

/// The word of a trading state.
#[must_use]
pub fn state_word(state: u8) -> &'static str {
    let word = STATES.iter().find(|(_, number)| *number == state);
    match word {
        Some((word, _)) => word,
        // No state that the operator can set: it is the end of a listing.
        None if state == STATE_DELISTED => "delisted",
        None => "unknown",
    }
}

/// An id, or `"all"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Every one.
    All,
    /// This one.
    One(u32),
}

impl<'de> Deserialize<'de> for Which {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(d)?;
        let id = value.as_u64().and_then(|n| u32::try_from(n).ok());
        match (id, value.as_str()) {
            (Some(id), _) => Ok(Self::One(id)),
            (_, Some("all")) => Ok(Self::All),
            _ => Err(serde::de::Error::custom(format!(
                "{value} is neither an id nor \"all\""
            ))),
        }
    }
}

/// A command as the operators' sockets read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Moves instruments to a trading state.
    State(StateBody),
    /// Locks or unlocks.
    Lock(LockBody),
    /// Cancels orders.
    Cancel(CancelBody),
    /// Ends a member's session.
    Kick(KickBody),
    /// Sets a member's rates.
    Limits(LimitsBody),
    /// Closes the open batch.
    Seal,
    /// Refuses logins, and orders that may add risk.
    Drain,
    /// Stops the box when everything is durable.
    Stop,
    /// The prices are the operator's, not the oracles'.
    Override(OverrideBody),
    /// The prices are the oracles' again.
    Release,
    /// Adds or revokes a key of a member.
    Key(KeyBody),
    /// Other rules of risk, after so much notice, ns.
    Rules(InRiskRules, u64),
    /// Lists an instrument.
    List(Box<Instrument>),
    /// Delists one.
    Delist(DelistBody),
}

impl Command {
    /// Its number in the journal.
    #[must_use]
    pub const fn act(&self) -> u16 {
        match self {
            Self::State(_) => 1,
            Self::Lock(_) => 2,
            Self::Cancel(_) => 3,
            Self::Kick(_) => 4,
            Self::Limits(_) => 5,
            Self::Seal => 6,
            Self::Drain => 7,
            Self::Stop => 8,
            Self::Rules(..) => 9,
            Self::Override(_) => 10,
            Self::Release => 11,
            Self::Key(_) => 12,
            Self::List(_) => 13,
            Self::Delist(_) => 14,
        }
    }

    /// Member, account or instrument that it is about, or the null value.
    #[must_use]
    pub fn subject(&self) -> u32 {
        let one = |which: Which| match which {
            Which::All => None,
            Which::One(id) => Some(id),
        };
        let subject = match self {
            Self::State(b) => one(b.instrument),
            Self::Lock(b) => Some(b.member),
            Self::Cancel(b) => b.account.or(b.member).or(b.instrument.map(Into::into)),
            Self::Kick(b) => Some(b.member),
            Self::Limits(b) => Some(b.member),
            Self::Key(b) => Some(b.member),
            Self::List(b) => Some(b.id.into()),
            Self::Delist(b) => Some(b.instrument.into()),
            Self::Seal
            | Self::Drain
            | Self::Stop
            | Self::Override(_)
            | Self::Release
            | Self::Rules(..) => None,
        };
        subject.unwrap_or(ID32_NULL)
    }
}

/// Who asks for a command: what the journal keeps of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct By {
    /// See [`InOperatorAct::request`].
    pub request: u64,
    /// Unix user that asked.
    pub uid: u32,
    /// Unix user that approved.
    pub approver: Option<u32>,
}

impl By {
    /// The box itself.
    pub const BOX: Self = Self {
        request: 0,
        uid: 0,
        approver: None,
    };

    /// The record that comes before the command's own.
    #[must_use]
    pub fn record(&self, command: &Command) -> InOperatorAct {
        InOperatorAct {
            request: self.request,
            uid: self.uid,
            approver: self.approver.unwrap_or(ID32_NULL),
            subject: command.subject(),
            act: command.act(),
            pad1: 0,
        }
    }
}

/// `POST /v1/state`
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateBody {
    /// Which instruments.
    pub instrument: Which,
    /// Word of the state.
    pub state: String,
}

/// `POST /v1/lock`
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockBody {
    /// Whose accounts.
    pub member: u32,
    /// Which of them.
    pub account: Which,
    /// `lock` or `unlock`.
    pub action: String,
}

/// `POST /v1/cancel`: what is left out means all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelBody {
    /// Whose orders.
    pub member: Option<u32>,
    /// Of which account.
    pub account: Option<u32>,
    /// In which instrument.
    pub instrument: Option<u16>,
}

/// `POST /v1/kick`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KickBody {
    /// Whose session.
    pub member: u32,
}

/// `POST /v1/limits`: what is left out stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsBody {
    /// Whose.
    pub member: u32,
    /// Requests a second.
    pub orders_per_second: Option<u32>,
    /// Entries of mass quotes a second.
    pub quotes_per_second: Option<u32>,
}

/// `POST /v1/oracle/override`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideBody {
    /// Index, micro-units.
    pub index_micro: i64,
    /// Volatilities of the four slots, scaled by 1e9.
    pub vols_e9: [i64; 4],
}

/// `POST /v1/keys`
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyBody {
    /// Whose.
    pub member: u32,
    /// Number of the key, 1 to 255; the configuration's key is 1.
    pub key_id: u32,
    /// Ed25519, hex; left out: the key is revoked.
    pub public_key: Option<String>,
}

/// `POST /v1/instruments/delist`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelistBody {
    /// Which.
    pub instrument: u16,
}

/// A command that passed the checks.
#[derive(Clone, Copy, Debug)]
pub enum OperatorInput {
    /// Another trading state.
    State(InTradingState),
    /// Lock or unlock.
    Lock(InLock),
    /// Cancel.
    Cancel(InOperatorCancel),
    /// Rates of a member.
    Limits(InMemberLimits),
    /// Rules of risk, after so much notice, ns.
    Rules(InRiskRules, u64),
    /// Close the open batch.
    Seal,
    /// A listing.
    List(InInstrument),
    /// The end of one.
    Delist(InDelist),
}

/// Why a command is refused: nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandRefused {
    /// Not listed.
    #[error("instrument {0} is not listed")]
    Instrument(u32),
    /// Not configured.
    #[error("there is no member {0}")]
    Member(u32),
    /// Bound to nobody.
    #[error("no member trades for account {0}")]
    Account(u32),
    /// Bound to another member.
    #[error("account {account} is member {owner}'s, not member {member}'s")]
    AccountOfAnother {
        /// Asked for.
        account: u32,
        /// Its member.
        owner: u32,
        /// The member named.
        member: u32,
    },
    /// There is nothing to lock.
    #[error("member {0} trades for no account")]
    NoAccounts(u32),
    /// Not a state.
    #[error(
        "'{0}' is no trading state: pre-open, auction, open, cancel-only, halt, settle or delivered"
    )]
    State(String),
    /// Not an action.
    #[error("'{0}' is neither lock nor unlock")]
    Action(String),
    /// Nothing to end.
    #[error("member {0} has no session")]
    NoSession(u32),
    /// Beyond what a rate can be.
    #[error("{key}: {got} must be in 1..={RATE_MAX}")]
    Rate {
        /// Which.
        key: &'static str,
        /// Asked for.
        got: u32,
    },
    /// No rate was named.
    #[error("neither orders_per_second nor quotes_per_second is named")]
    NoRate,
    /// No price.
    #[error("{0}")]
    Price(String),
    /// The oracles rule already.
    #[error("no override of the prices is in force")]
    NoOverride,
    /// No rules.
    #[error("risk: {0}")]
    Rules(String),
    /// It cannot be listed, as it is or at all.
    #[error("{0}")]
    Terms(String),
    /// It cannot be listed or delisted now.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// Not a key.
    #[error("{0}")]
    Key(String),
    /// The box is full of other requests.
    #[error("the engine has no room for a command now: ask again")]
    Busy,
}

/// Highest rate that can be set.
pub const RATE_MAX: u32 = 1_000_000;

impl CommandRefused {
    /// Word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Instrument(_) => "unknown_instrument",
            Self::Member(_) => "unknown_member",
            Self::Account(_) => "unknown_account",
            Self::AccountOfAnother { .. } => "account_of_another_member",
            Self::NoAccounts(_) => "no_accounts",
            Self::State(_) => "unknown_state",
            Self::Action(_) => "unknown_action",
            Self::NoSession(_) => "no_session",
            Self::Rate { .. } | Self::NoRate => "bad_rate",
            Self::Price(_) => "bad_price",
            Self::NoOverride => "no_override",
            Self::Rules(_) => "bad_rules",
            Self::Key(_) => "bad_key",
            Self::Terms(_) => "bad_instrument",
            Self::Listing(_) => "listing_refused",
            Self::Busy => "busy",
        }
    }

    /// HTTP status: 404 for what does not exist, 409 for what does not go together, 422 for unknown words.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Instrument(_) | Self::Member(_) | Self::Account(_) | Self::NoSession(_) => 404,
            Self::AccountOfAnother { .. }
            | Self::NoAccounts(_)
            | Self::NoOverride
            | Self::Listing(_) => 409,
            Self::State(_)
            | Self::Action(_)
            | Self::Rate { .. }
            | Self::NoRate
            | Self::Price(_)
            | Self::Rules(_)
            | Self::Terms(_)
            | Self::Key(_) => 422,
            Self::Busy => 503,
        }
    }
}

/// Who and what the day knows.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    instruments: BTreeSet<u32>,
    members: BTreeSet<u32>,
    /// Account to member.
    accounts: BTreeMap<u32, u32>,
    /// Requests and quotes a second, by member.
    rates: BTreeMap<u32, (u32, u32)>,
    /// Instrument ids run below this.
    ids: u32,
    /// The ids run below those of the circuit because of `domain.proofs`.
    proofs: bool,
}

impl Roll {
    /// What the journal holds, and what is added to it when the day is opened.
    #[must_use]
    pub fn of(config: &Config, core: &Core, listing: &Listing) -> Self {
        let listed = core.listed().chain(&listing.instruments);
        let proofs = config.domain.proofs;
        let held = u32::from(config.capacity.instruments);
        let ids = if proofs {
            held.min(TIER_INSTRUMENTS as u32)
        } else {
            held
        };
        let bound = core.accounts.iter().map(|(a, m)| (*a, *m));
        let accounts: BTreeMap<_, _> = bound
            .chain(listing.accounts.iter().map(|a| (a.account, a.member)))
            .collect();
        let configured = config.members.iter().map(|m| m.id);
        let rates =
            (config.members.iter()).map(|m| (m.id, (m.orders_per_second, m.quotes_per_second)));
        let set =
            (core.limits.values()).map(|l| (l.member, (l.orders_per_second, l.quotes_per_second)));
        Self {
            instruments: listed.map(|l| l.instrument.into()).collect(),
            members: configured.chain(accounts.values().copied()).collect(),
            accounts,
            rates: rates.chain(set).collect(),
            ids,
            proofs,
        }
    }

    /// Members, with the accounts that they trade for and their rates: requests and quotes a second.
    pub fn members(&self) -> impl Iterator<Item = (u32, Vec<u32>, Option<(u32, u32)>)> + '_ {
        self.members.iter().map(|m| {
            let own = self.accounts.iter().filter(|(_, owner)| *owner == m);
            (
                *m,
                own.map(|(a, _)| *a).collect(),
                self.rates.get(m).copied(),
            )
        })
    }

    /// Notes what a command changed.
    pub fn note(&mut self, input: &OperatorInput) {
        if let OperatorInput::Limits(m) = input {
            let rates = (m.orders_per_second, m.quotes_per_second);
            self.rates.insert(m.member, rates);
        }
    }

    /// Notes a listing, or the end of one, that stands in the journal.
    pub fn note_listing(&mut self, command: &Command) {
        match command {
            Command::List(b) => drop(self.instruments.insert(b.id.into())),
            Command::Delist(b) => drop(self.instruments.remove(&b.instrument.into())),
            _ => {}
        }
    }

    /// Accounts that a cancel or a lock is about.
    #[must_use]
    pub fn accounts_of(&self, command: &Command) -> Vec<u32> {
        let (member, account) = match command {
            Command::Lock(b) => match b.account {
                Which::All => (Some(b.member), None),
                Which::One(id) => (Some(b.member), Some(id)),
            },
            Command::Cancel(b) => (b.member, b.account),
            Command::Kick(b) => (Some(b.member), None),
            _ => return Vec::new(),
        };
        let is_meant = |a: u32, m: u32| {
            member.is_none_or(|member| member == m) && account.is_none_or(|account| account == a)
        };
        let all = self.accounts.iter().filter(|(a, m)| is_meant(**a, **m));
        all.map(|(a, _)| *a).collect()
    }

    /// Checks a command.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check(&self, command: &Command) -> Result<Option<OperatorInput>, CommandRefused> {
        Ok(Some(match command {
            Command::State(body) => OperatorInput::State(self.state(body)?),
            Command::Lock(body) => OperatorInput::Lock(self.lock(body)?),
            Command::Cancel(body) => OperatorInput::Cancel(self.cancel(body)?),
            Command::Limits(body) => OperatorInput::Limits(self.limits(body)?),
            Command::Rules(rules, notice_ns) => {
                check_rules(rules).map_err(|e| CommandRefused::Rules(e.to_string()))?;
                OperatorInput::Rules(*rules, *notice_ns)
            }
            Command::Seal => OperatorInput::Seal,
            Command::List(body) => OperatorInput::List(self.list(body)?),
            Command::Delist(body) => OperatorInput::Delist(InDelist {
                instrument: self.instrument(body.instrument.into())?,
                ..InDelist::zeroed()
            }),
            Command::Drain => OperatorInput::State(InTradingState {
                instrument: ID16_NULL,
                state: STATE_CANCEL_ONLY,
                ..InTradingState::zeroed()
            }),
            Command::Kick(body) => {
                self.member(body.member)?;
                return Ok(None);
            }
            Command::Key(body) => {
                self.member(body.member)?;
                return Ok(None);
            }
            Command::Stop | Command::Override(_) | Command::Release => return Ok(None),
        }))
    }

    /// Whether the id was used before, and what else hangs on the day, is the engine's to say.
    fn list(&self, body: &Instrument) -> Result<InInstrument, CommandRefused> {
        let record = body.listing().map_err(CommandRefused::Terms)?;
        if u32::from(body.id) >= self.ids {
            let why = if self.proofs {
                "what the circuit's small tier proves, and capacity.instruments"
            } else {
                "capacity.instruments"
            };
            let (id, symbol, ids) = (body.id, &body.symbol, self.ids);
            return Err(CommandRefused::Terms(format!(
                "instrument {id} ({symbol}): id must be below {ids}: {why}"
            )));
        }
        Ok(record)
    }

    fn limits(&self, body: &LimitsBody) -> Result<InMemberLimits, CommandRefused> {
        self.member(body.member)?;
        let LimitsBody {
            member,
            orders_per_second,
            quotes_per_second,
        } = *body;
        if orders_per_second.is_none() && quotes_per_second.is_none() {
            return Err(CommandRefused::NoRate);
        }
        let held = self.rates.get(&member).copied().unwrap_or((1, 1));
        let rate = |key, asked: Option<u32>, held| match asked {
            Some(got) if !(1..=RATE_MAX).contains(&got) => Err(CommandRefused::Rate { key, got }),
            Some(rate) => Ok(rate),
            None => Ok(held),
        };
        Ok(InMemberLimits {
            member,
            orders_per_second: rate("orders_per_second", orders_per_second, held.0)?,
            quotes_per_second: rate("quotes_per_second", quotes_per_second, held.1)?,
            pad1: 0,
        })
    }

    fn state(&self, body: &StateBody) -> Result<InTradingState, CommandRefused> {
        let (_, state) = STATES
            .iter()
            .find(|(word, _)| *word == body.state)
            .ok_or_else(|| CommandRefused::State(body.state.clone()))?;
        Ok(InTradingState {
            instrument: match body.instrument {
                Which::All => ID16_NULL,
                Which::One(id) => self.instrument(id)?,
            },
            state: *state,
            ..InTradingState::zeroed()
        })
    }

    fn lock(&self, body: &LockBody) -> Result<InLock, CommandRefused> {
        let action = match body.action.as_str() {
            "lock" => KILL_LOCK,
            "unlock" => KILL_UNLOCK,
            _ => return Err(CommandRefused::Action(body.action.clone())),
        };
        self.member(body.member)?;
        let account = match body.account {
            Which::All if self.accounts.values().all(|m| *m != body.member) => {
                return Err(CommandRefused::NoAccounts(body.member));
            }
            Which::All => ID32_NULL,
            Which::One(id) => self.account(id, Some(body.member))?,
        };
        Ok(InLock {
            member: body.member,
            account,
            action,
            ..InLock::zeroed()
        })
    }

    fn cancel(&self, body: &CancelBody) -> Result<InOperatorCancel, CommandRefused> {
        body.member.map_or(Ok(()), |id| self.member(id))?;
        Ok(InOperatorCancel {
            member: body.member.unwrap_or(0),
            account: match body.account {
                None => ID32_NULL,
                Some(id) => self.account(id, body.member)?,
            },
            instrument: match body.instrument {
                None => ID16_NULL,
                Some(id) => self.instrument(id.into())?,
            },
            ..InOperatorCancel::zeroed()
        })
    }

    fn instrument(&self, id: u32) -> Result<u16, CommandRefused> {
        let listed = self.instruments.contains(&id);
        let id16 = u16::try_from(id).ok().filter(|_| listed);
        id16.ok_or(CommandRefused::Instrument(id))
    }

    fn member(&self, id: u32) -> Result<(), CommandRefused> {
        let known = self.members.contains(&id);
        known.then_some(()).ok_or(CommandRefused::Member(id))
    }

    /// An account, of that member if one is named.
    fn account(&self, account: u32, member: Option<u32>) -> Result<u32, CommandRefused> {
        match (self.accounts.get(&account), member) {
            (None, _) => Err(CommandRefused::Account(account)),
            (Some(&owner), Some(member)) if owner != member => {
                Err(CommandRefused::AccountOfAnother {
                    account,
                    owner,
                    member,
                })
            }
            _ => Ok(account),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll() -> Roll {
        Roll {
            ids: 16,
            proofs: true,
            instruments: [0, 3].into(),
            members: [1, 2, 9].into(),
            accounts: [(1, 1), (7, 2)].into(),
            rates: [(1, (1_000, 10_000))].into(),
        }
    }

    fn state(text: &str) -> Result<(u16, u8), CommandRefused> {
        let body = serde_json::from_str(text).unwrap();
        roll().state(&body).map(|m| (m.instrument, m.state))
    }

    fn lock(text: &str) -> Result<(u32, u32, u8), CommandRefused> {
        let body = serde_json::from_str(text).unwrap();
        let m = roll().lock(&body)?;
        Ok((m.member, m.account, m.action))
    }

    fn cancel(text: &str) -> Result<(u32, u32, u16), CommandRefused> {
        let body = serde_json::from_str(text).unwrap();
        let m = roll().cancel(&body)?;
        Ok((m.member, m.account, m.instrument))
    }

    #[test]
    fn commands_become_the_inputs_that_they_name() {
        for (word, number) in STATES {
            let one = format!("{{\"instrument\": 3, \"state\": \"{word}\"}}");
            assert_eq!(state(&one), Ok((3, number)));
            let all = one.replace('3', "\"all\"");
            assert_eq!(state(&all), Ok((ID16_NULL, number)));
        }
        let text = r#"{"member": 2, "account": 7, "action": "lock"}"#;
        assert_eq!(lock(text), Ok((2, 7, KILL_LOCK)));
        let text = r#"{"member": 2, "account": "all", "action": "unlock"}"#;
        assert_eq!(lock(text), Ok((2, ID32_NULL, KILL_UNLOCK)));
        assert_eq!(cancel("{}"), Ok((0, ID32_NULL, ID16_NULL)));
        let text = r#"{"member": 2, "account": 7, "instrument": 0}"#;
        assert_eq!(cancel(text), Ok((2, 7, 0)));
        assert_eq!(cancel(r#"{"account": 1}"#), Ok((0, 1, ID16_NULL)));
    }

    #[test]
    fn each_mistake_has_its_reason() {
        let ids = [1, 65_535, 65_539, u32::MAX];
        for id in ids {
            let text = format!("{{\"instrument\": {id}, \"state\": \"open\"}}");
            assert_eq!(state(&text), Err(CommandRefused::Instrument(id)));
        }
        let refused = state(r#"{"instrument": 3, "state": "Open"}"#).unwrap_err();
        assert_eq!(
            (refused.status(), refused.code()),
            (422, "unknown_state"),
            "{refused}"
        );
        let of = |member, account: &str, action: &str| {
            lock(&format!(
                "{{\"member\": {member}, \"account\": {account}, \"action\": \"{action}\"}}"
            ))
        };
        let another = CommandRefused::AccountOfAnother {
            account: 7,
            owner: 2,
            member: 1,
        };
        assert_eq!(of(1, "7", "lock"), Err(another.clone()));
        assert_eq!(
            of(1, "4294967295", "lock"),
            Err(CommandRefused::Account(u32::MAX))
        );
        assert_eq!(of(3, "\"all\"", "lock"), Err(CommandRefused::Member(3)));
        assert_eq!(of(9, "\"all\"", "lock"), Err(CommandRefused::NoAccounts(9)));
        assert_eq!(
            of(1, "1", "seize"),
            Err(CommandRefused::Action("seize".into()))
        );
        assert_eq!(cancel(r#"{"member": 1, "account": 7}"#), Err(another));
        assert_eq!(cancel(r#"{"member": 0}"#), Err(CommandRefused::Member(0)));
        assert_eq!(
            cancel(r#"{"instrument": 65535}"#),
            Err(CommandRefused::Instrument(65_535))
        );
        for bad in [
            r#"{"instrument": "every", "state": "open"}"#,
            r#"{"instrument": -1, "state": "open"}"#,
            r#"{"instrument": null, "state": "open"}"#,
            r#"{"instrument": 3}"#,
        ] {
            assert!(serde_json::from_str::<StateBody>(bad).is_err(), "{bad}");
        }
        // A misspelled key must not widen what is cancelled.
        assert!(serde_json::from_str::<CancelBody>(r#"{"acount": 7}"#).is_err());
    }
}
