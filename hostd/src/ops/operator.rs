//! What the operator commands: trading states, locks, cancels. A command is checked against the day's listings,
//! members and accounts, and then becomes a sequenced input like any other.

use crate::config::Config;
use crate::storage::recover::Listing;
use crate::tiles::core::Core;
use bytemuck::Zeroable;
use firmware::wire::feed::{
    STATE_AUCTION, STATE_CANCEL_ONLY, STATE_DELIVERED, STATE_HALT, STATE_OPEN, STATE_PRE_OPEN,
    STATE_SETTLE,
};
use firmware::wire::input::{InLock, InOperatorCancel, InTradingState};
use firmware::wire::order::{KILL_LOCK, KILL_UNLOCK};
use firmware::wire::sbe::{ID16_NULL, ID32_NULL};
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

/// A command as the admin socket reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Moves instruments to a trading state.
    State(StateBody),
    /// Locks or unlocks.
    Lock(LockBody),
    /// Cancels orders.
    Cancel(CancelBody),
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

/// A command that passed the checks.
#[derive(Clone, Copy, Debug)]
pub enum OperatorInput {
    /// Another trading state.
    State(InTradingState),
    /// Lock or unlock.
    Lock(InLock),
    /// Cancel.
    Cancel(InOperatorCancel),
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
}

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
        }
    }

    /// HTTP status: 404 for what does not exist, 409 for what does not go together, 422 for unknown words.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Instrument(_) | Self::Member(_) | Self::Account(_) => 404,
            Self::AccountOfAnother { .. } | Self::NoAccounts(_) => 409,
            Self::State(_) | Self::Action(_) => 422,
        }
    }
}

/// Who and what the day knows; it does not change while the box runs.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    instruments: BTreeSet<u32>,
    members: BTreeSet<u32>,
    /// Account to member.
    accounts: BTreeMap<u32, u32>,
}

impl Roll {
    /// What the journal holds, and what is added to it when the day is opened.
    #[must_use]
    pub fn of(config: &Config, core: &Core, listing: &Listing) -> Self {
        let listed = core.listings.values().chain(&listing.instruments);
        let bound = core.accounts.iter().map(|(a, m)| (*a, *m));
        let accounts: BTreeMap<_, _> = bound
            .chain(listing.accounts.iter().map(|a| (a.account, a.member)))
            .collect();
        let configured = config.members.iter().map(|m| m.id);
        Self {
            instruments: listed.map(|l| l.instrument.into()).collect(),
            members: configured.chain(accounts.values().copied()).collect(),
            accounts,
        }
    }

    /// Checks a command.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check(&self, command: &Command) -> Result<OperatorInput, CommandRefused> {
        match command {
            Command::State(body) => self.state(body).map(OperatorInput::State),
            Command::Lock(body) => self.lock(body).map(OperatorInput::Lock),
            Command::Cancel(body) => self.cancel(body).map(OperatorInput::Cancel),
        }
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
            instruments: [0, 3].into(),
            members: [1, 2, 9].into(),
            accounts: [(1, 1), (7, 2)].into(),
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
