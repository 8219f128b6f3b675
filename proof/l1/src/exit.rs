//! The doors that nobody can shut: forced requests, the freeze, the escape, refunds.

use alloy::primitives::{Address, U256};

use crate::contracts::ISettlement;
use crate::{L1Error, Settlement};

/// What an owner can force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKind {
    /// A withdrawal of so many micro-units.
    Withdrawal(u64),
    /// The close of all positions.
    Close,
}

/// A forced request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Its number, from 1.
    pub id: u64,
    /// The account.
    pub account: u32,
    /// Who made it.
    pub owner: Address,
    /// Withdrawal, with what is still to be paid, or close.
    pub kind: RequestKind,
    /// When it must be answered, seconds since the Unix epoch.
    pub deadline_s: u64,
    /// Whether it stands.
    pub is_open: bool,
}

/// What a state root is the hash of, besides the batch number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateParts {
    /// Root of the tree of leaves.
    pub tree: U256,
    /// Insurance fund in pico-units, as a field element.
    pub fund: U256,
    /// Digest of the risk table; 0 before the first batch.
    pub table_digest: U256,
}

/// A leaf and its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeafProof {
    /// owner, nonce, cash, position 0..15, key, mandate, mandate_used, flags.
    pub leaf: [U256; 23],
    /// Three a level from the bottom, in the order of the children without the path's own.
    pub siblings: [U256; 24],
}

/// Sums of an exit, in micro-units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitTotals {
    /// Claims brought within the window.
    pub registered_micro: U256,
    /// What claims below zero lack.
    pub shortfall_micro: U256,
    /// What there was to pay; 0 before the first payment.
    pub held_micro: U256,
    /// What is owed in all; 0 before the first payment.
    pub total_micro: U256,
    /// What was paid.
    pub paid_micro: U256,
}

impl From<StateParts> for ISettlement::StateParts {
    fn from(parts: StateParts) -> Self {
        Self {
            tree: parts.tree,
            fund: parts.fund,
            tableDigest: parts.table_digest,
        }
    }
}

impl From<&LeafProof> for ISettlement::LeafProof {
    fn from(proof: &LeafProof) -> Self {
        Self {
            leaf: proof.leaf,
            siblings: proof.siblings,
        }
    }
}

impl Settlement {
    /// Makes a forced request for an account of the signing address, with the fee; returns it as the contract has it.
    ///
    /// # Errors
    /// The node's or the contract's.
    pub async fn request(&self, account: u32, kind: RequestKind) -> Result<Request, L1Error> {
        let (client, at) = (self.client(), self.deployment().settlement);
        let terms = client.read(at, ISettlement::parametersCall {}).await?;
        let fee = terms.requestFeeWei;
        let receipt = match kind {
            RequestKind::Withdrawal(amount) => {
                let call = ISettlement::requestWithdrawalCall { account, amount };
                client.pay("request a withdrawal", at, &call, fee).await?
            }
            RequestKind::Close => {
                let call = ISettlement::requestCloseCall { account };
                client.pay("request a close", at, &call, fee).await?
            }
        };
        let event = self.event::<ISettlement::Requested>(&receipt)?;
        self.request_at(event.id).await
    }

    /// Forced request `id`.
    ///
    /// # Errors
    /// [`L1Error::Reverted`] if there is none; the node's.
    pub async fn request_at(&self, id: u64) -> Result<Request, L1Error> {
        let call = ISettlement::requestAtCall { id };
        let r = self
            .client()
            .read(self.deployment().settlement, call)
            .await?;
        Ok(Request {
            id,
            account: r.account,
            owner: r.owner,
            kind: match r.kind {
                ISettlement::RequestKind::Close => RequestKind::Close,
                _ => RequestKind::Withdrawal(r.remaining),
            },
            deadline_s: r.deadline,
            is_open: r.isOpen,
        })
    }

    /// The forced requests that stand, oldest first.
    ///
    /// # Errors
    /// The node's.
    pub async fn open_requests(&self) -> Result<Vec<Request>, L1Error> {
        let at = self.deployment().settlement;
        let last = self
            .client()
            .read(at, ISettlement::requestsCountCall {})
            .await?;
        let mut left = self
            .client()
            .read(at, ISettlement::requestsOpenCall {})
            .await?;
        let mut open = Vec::new();
        // Newest first, as old ones are mostly answered.
        for id in (1..=last).rev() {
            if left == 0 {
                break;
            }
            let request = self.request_at(id).await?;
            if request.is_open {
                open.push(request);
                left -= 1;
            }
        }
        open.reverse();
        Ok(open)
    }

    /// Shows that request `id` is done or cannot be done, from the state of the last batch.
    ///
    /// # Errors
    /// [`L1Error::Reverted`] if the state does not show it; the node's.
    pub async fn answer_request(
        &self,
        id: u64,
        state: StateParts,
        proof: &LeafProof,
        table: &[U256],
    ) -> Result<(), L1Error> {
        let call = ISettlement::answerRequestCall {
            id,
            state: state.into(),
            proof: proof.into(),
            table: table.to_vec(),
        };
        let at = self.deployment().settlement;
        self.client()
            .write("answer a request", at, &call, None)
            .await?;
        Ok(())
    }

    /// Whether the contract is frozen.
    ///
    /// # Errors
    /// The node's.
    pub async fn frozen(&self) -> Result<bool, L1Error> {
        let call = ISettlement::frozenCall {};
        self.client().read(self.deployment().settlement, call).await
    }

    /// Freezes the contract for good because of request `id`.
    ///
    /// # Errors
    /// [`L1Error::Reverted`] if the request does not stand or its deadline is not past; the node's.
    pub async fn freeze(&self, id: u64) -> Result<(), L1Error> {
        let (call, at) = (ISettlement::freezeCall { id }, self.deployment().settlement);
        self.client().write("freeze", at, &call, None).await?;
        Ok(())
    }

    /// Opens the exit of a frozen contract; returns when its window ends, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`L1Error::Reverted`] if it is not frozen, or open already, or this is not the state; the node's.
    pub async fn open_exit(&self, state: StateParts, table: &[U256]) -> Result<u64, L1Error> {
        let call = ISettlement::openExitCall {
            state: state.into(),
            table: table.to_vec(),
        };
        let at = self.deployment().settlement;
        let receipt = self
            .client()
            .write("open the exit", at, &call, None)
            .await?;
        Ok(self.event::<ISettlement::ExitOpened>(&receipt)?.endsAt)
    }

    /// When the exit window ends, in seconds since the Unix epoch; `None` if the exit is not open.
    ///
    /// # Errors
    /// The node's.
    pub async fn exit_ends_s(&self) -> Result<Option<u64>, L1Error> {
        let call = ISettlement::exitEndsAtCall {};
        let ends = self
            .client()
            .read(self.deployment().settlement, call)
            .await?;
        Ok((ends != 0).then_some(ends))
    }

    /// Brings an account's leaf and returns its claim in pico-units, as text because it may be below zero.
    ///
    /// # Errors
    /// [`L1Error::Reverted`] if the leaf is not in the state or was brought before; the node's.
    pub async fn escape(&self, account: u32, proof: &LeafProof) -> Result<String, L1Error> {
        let call = ISettlement::escapeCall {
            account,
            proof: proof.into(),
        };
        let at = self.deployment().settlement;
        let receipt = self.client().write("escape", at, &call, None).await?;
        let event = self.event::<ISettlement::Escaped>(&receipt)?;
        Ok(event.claimPico.to_string())
    }

    /// Whether the account's leaf was brought.
    ///
    /// # Errors
    /// The node's.
    pub async fn escaped(&self, account: u32) -> Result<bool, L1Error> {
        let call = ISettlement::escapedCall { account };
        self.client().read(self.deployment().settlement, call).await
    }

    /// After the window: grants the owner of `account` the share of its claim; returns what was granted, micro-units.
    ///
    /// # Errors
    /// [`L1Error::Reverted`] within the window, or if nothing is owed; the node's.
    pub async fn settle_escape(&self, account: u32) -> Result<U256, L1Error> {
        let call = ISettlement::settleEscapeCall { account };
        let at = self.deployment().settlement;
        let receipt = self
            .client()
            .write("settle an escape", at, &call, None)
            .await?;
        Ok(self.event::<ISettlement::EscapePaid>(&receipt)?.paid)
    }

    /// Sums of the exit.
    ///
    /// # Errors
    /// The node's.
    pub async fn exit_totals(&self) -> Result<ExitTotals, L1Error> {
        let call = ISettlement::exitTotalsCall {};
        let t = self
            .client()
            .read(self.deployment().settlement, call)
            .await?;
        Ok(ExitTotals {
            registered_micro: t.registered,
            shortfall_micro: t.shortfall,
            held_micro: t.held,
            total_micro: t.total,
            paid_micro: t.paid,
        })
    }

    /// Takes deposit `index` back; its owner can claim the money then. Returns micro-units.
    ///
    /// # Errors
    /// [`L1Error::Reverted`] if it was consumed, or its time has not come; the node's.
    pub async fn reclaim(&self, index: u64) -> Result<u64, L1Error> {
        let call = ISettlement::reclaimCall { index };
        let at = self.deployment().settlement;
        let receipt = self
            .client()
            .write("take a deposit back", at, &call, None)
            .await?;
        Ok(self
            .event::<ISettlement::DepositReclaimed>(&receipt)?
            .amount)
    }
}
