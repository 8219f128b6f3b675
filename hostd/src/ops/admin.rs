//! What the operators' sockets ask of the control tile. Every change becomes a sequenced input; a read never touches
//! the engine's memory.

use crate::ops::operator::{By, Command, CommandRefused, Roll};
use crate::ops::status::Status;
use crate::tiles::lanes::{Look, SessionRow, Stopped};
use crate::tiles::logins::KeyRow;
use matcher::engine::DepositError;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::oneshot;

/// A request of a socket, and where its answer goes.
#[derive(Debug)]
pub enum AdminRequest {
    /// Show.
    Status(oneshot::Sender<Box<Status>>),
    /// Sequence a deposit.
    Deposit(DepositBody, oneshot::Sender<Result<u64, DepositError>>),
    /// Do what an operator commands, as who asks it.
    Act(Command, By, oneshot::Sender<Acted>),
    /// Would a command be taken, and what is it about?
    Check(Command, oneshot::Sender<Result<Scope, CommandRefused>>),
    /// Who and what the day knows.
    Roll(oneshot::Sender<Box<Roll>>),
    /// Look at the engine.
    Look(Box<Look>, oneshot::Sender<Box<Look>>),
    /// Which keys open sessions?
    Keys(oneshot::Sender<Vec<KeyRow>>),
    /// Who has a session?
    Sessions(oneshot::Sender<Vec<SessionRow>>),
    /// The prover says how far it is.
    Proofs(ProofReport),
}

/// Answer to a command.
pub type Acted = Result<Done, CommandRefused>;

/// What came of a command.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Its number in the journal.
    pub engine_seq: Option<u64>,
    /// The batch that it closed.
    pub batch_no: Option<u64>,
    /// Where the box stopped.
    pub stopped: Option<Stopped>,
}

/// What a command is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// Accounts whose orders it cancels, or may cancel.
    pub accounts: Vec<u32>,
}

/// How far the prover is, as it told it: `POST /v1/proofs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProofReport {
    /// Batches proven.
    pub proven_batches: u64,
    /// Batches that L1 has taken.
    pub committed_batches: u64,
    /// L1 block that it has seen last; zero: none since the report before.
    pub l1_block: u64,
}

/// A deposit as L1 recorded it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepositBody {
    /// Place in the queue, from 0.
    pub queue_index: u64,
    /// Account.
    pub account: u32,
    /// Owner on L1.
    pub owner: Address,
    /// Digest of the account's key; all zero where there is none.
    #[serde(default)]
    pub key: Digest,
    /// Micro-units.
    pub amount_micro: u64,
}

/// An L1 address, `0x` and 40 hex digits in JSON.
pub type Address = Hex<20>;
/// A field element, `0x` and 64 hex digits in JSON, big-endian.
pub type Digest = Hex<32>;

/// Bytes as `0x` and hex digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Default for Hex<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let digits = 2 * N;
        let fail =
            || serde::de::Error::custom(format!("'{text}' is not 0x and {digits} hex digits"));
        let hex = text
            .strip_prefix("0x")
            .filter(|h| h.len() == digits && h.is_ascii())
            .ok_or_else(fail)?;
        let mut bytes = [0; N];
        for (i, b) in bytes.iter_mut().enumerate() {
            *b = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| fail())?;
        }
        Ok(Self(bytes))
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
