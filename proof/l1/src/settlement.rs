//! The settlement contract, as a trader, a prover and a watcher use it.

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Log, TransactionReceipt};
use alloy::sol_types::SolEvent;
use serde::{Deserialize, Serialize};

use crate::contracts::{IGroth16Verifier, ISettlement, IToken};
use crate::{Deployment, L1Client, L1Error};

/// Gas that a batch is sent with: the dearest batch of the small tier (8 deposits, 8 withdrawals to new owners) with
/// half as much again. Fixed, because an estimate is worth nothing where running out of gas looks like an answer.
pub const COMMIT_GAS: u64 = 900_000;
/// Most blocks in one search for logs; public nodes refuse more.
const LOG_BLOCKS_MAX: u64 = 2_000;

/// A withdrawal granted by a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Withdrawal {
    /// The account that pays.
    pub account: u32,
    /// Its owner, who may claim.
    pub owner: Address,
    /// Micro-units; above 0, below 2^62.
    pub amount_micro: u64,
}

/// A proven batch, as the contract wants it. All else that the proof is about, the contract knows itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProvenBatch {
    /// From 1, without gaps.
    pub batch_no: u64,
    /// State root after it.
    pub new_root: U256,
    /// Journal chain hash, top 3 bits cleared.
    pub journal_hash: U256,
    /// Sequence number of its last record.
    pub last_seq: u64,
    /// Time of that record, ns since the Unix epoch.
    pub time_ns: u64,
    /// Deposits that it consumes from the queue's head; at most 8.
    pub deposit_count: u64,
    /// What it grants; at most 8.
    pub withdrawals: Vec<Withdrawal>,
    /// The commitment C: the first public input.
    pub commitment: U256,
    /// Groth16 points A (x, y), B (x1, x0, y1, y0), C (x, y).
    pub proof: [U256; 8],
}

/// What the chain says of a committed batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The batch.
    pub batch_no: u64,
    /// State root after it.
    pub new_root: U256,
    /// The transaction that committed it.
    pub tx: B256,
    /// The block of that transaction.
    pub block: u64,
    /// Gas that it used.
    pub gas_used: u64,
    /// Whether it was there before this call.
    pub already: bool,
}

/// A deposit as queued on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deposit {
    /// Its place in the queue, from 0 without gaps; rows that their owners took back do not count.
    pub index: u64,
    /// The account that is funded.
    pub account: u32,
    /// The account's owner.
    pub owner: Address,
    /// Micro-units; above 0, below 2^62.
    pub amount_micro: u64,
    /// The block that it is in.
    pub block: u64,
}

/// The contract's registers, all of one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// The block that they were read at.
    pub block: u64,
    /// State root after the last batch.
    pub root: U256,
    /// Number of the last batch; 0 before the first.
    pub batch_no: u64,
    /// Last journal record that is settled.
    pub last_seq: u64,
    /// Time of that record, ns since the Unix epoch.
    pub time_ns: u64,
    /// Deposits ever queued, those that were taken back included.
    pub deposits: u64,
    /// Rows of the queue that batches have passed, those that were taken back before included.
    pub deposits_consumed: u64,
    /// Micro-units granted and not yet claimed.
    pub pending_micro: U256,
    /// Micro-units that stand behind the state tree.
    pub held_for_state_micro: U256,
    /// Micro-units that the contract really has: queued deposits, held and pending together, or more.
    pub collateral_micro: U256,
}

/// A deployed settlement contract, opened with the signing key of its client.
#[derive(Clone)]
pub struct Settlement {
    client: L1Client,
    deployment: Deployment,
}

impl Settlement {
    pub(crate) async fn open(client: L1Client, deployment: Deployment) -> Result<Self, L1Error> {
        if client.chain_id() != deployment.chain_id {
            return Err(L1Error::WrongChain {
                wanted: deployment.chain_id,
                got: client.chain_id(),
            });
        }
        let this = Self { client, deployment };
        let wrong = |what: &str| Err(L1Error::WrongDeployment(what.to_owned()));
        let at = this.deployment.settlement;
        let code = this.client.provider().get_code_at(at).await;
        if code.map_err(|e| this.client.failed("code", e))?.is_empty() {
            return wrong(&format!(
                "no contract at {at}: another chain, or a development chain that was restarted"
            ));
        }
        if this.client.read(at, ISettlement::tokenCall {}).await? != this.deployment.token {
            return wrong("the contract has another token");
        }
        if this.client.read(at, ISettlement::verifierCall {}).await? != this.deployment.verifier {
            return wrong("the contract has another verifier");
        }
        let vk_hash = IGroth16Verifier::VK_HASHCall {};
        if this.client.read(this.deployment.verifier, vk_hash).await? != this.deployment.vk_hash {
            return wrong("the verifier is made from another key");
        }
        Ok(this)
    }

    /// The record that it was opened with.
    #[must_use]
    pub const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The connection and key that it uses.
    #[must_use]
    pub const fn client(&self) -> &L1Client {
        &self.client
    }

    /// The contract's registers.
    ///
    /// # Errors
    /// The node's.
    pub async fn status(&self) -> Result<Status, L1Error> {
        loop {
            let block = self.client.block_number().await?;
            let status = self.read_status(block).await?;
            // Reads of one request each: if a block came between, they may not fit each other.
            if self.client.block_number().await? == block {
                return Ok(status);
            }
        }
    }

    async fn read_status(&self, block: u64) -> Result<Status, L1Error> {
        let (c, at) = (&self.client, self.deployment.settlement);
        let balance = IToken::balanceOfCall { owner: at };
        Ok(Status {
            block,
            root: c.read(at, ISettlement::rootCall {}).await?,
            batch_no: c.read(at, ISettlement::batchNoCall {}).await?,
            last_seq: c.read(at, ISettlement::lastSeqCall {}).await?,
            time_ns: c.read(at, ISettlement::timeNsCall {}).await?,
            deposits: c.read(at, ISettlement::depositsCountCall {}).await?,
            deposits_consumed: c.read(at, ISettlement::depositsConsumedCall {}).await?,
            pending_micro: c.read(at, ISettlement::totalPendingCall {}).await?,
            held_for_state_micro: c.read(at, ISettlement::heldForStateCall {}).await?,
            collateral_micro: c.read(self.deployment.token, balance).await?,
        })
    }

    /// Opens an account for the signing address and returns its id.
    ///
    /// # Errors
    /// The node's or the contract's.
    pub async fn open_account(&self) -> Result<u32, L1Error> {
        let at = self.deployment.settlement;
        let receipt = self
            .client
            .write("open an account", at, &ISettlement::openCall {}, None)
            .await?;
        self.event::<ISettlement::AccountOpened>(&receipt)
            .map(|e| e.account)
    }

    /// Owner of an account; `None` if it was never opened.
    ///
    /// # Errors
    /// The node's.
    pub async fn owner_of(&self, account: u32) -> Result<Option<Address>, L1Error> {
        let call = ISettlement::ownerOfCall { account };
        let owner = self.client.read(self.deployment.settlement, call).await?;
        Ok((!owner.is_zero()).then_some(owner))
    }

    /// Makes worthless test money for `to`. Only the test token can do that.
    ///
    /// # Errors
    /// The node's or the token's.
    pub async fn mint_test_token(&self, to: Address, amount_micro: u64) -> Result<(), L1Error> {
        let call = IToken::mintCall {
            to,
            amount: U256::from(amount_micro),
        };
        self.client
            .write("mint test money", self.deployment.token, &call, None)
            .await?;
        Ok(())
    }

    /// Lets the contract take up to `amount_micro` from the signing address.
    ///
    /// # Errors
    /// The node's or the token's.
    pub async fn approve(&self, amount_micro: u64) -> Result<(), L1Error> {
        let spender = self.deployment.settlement;
        let call = IToken::approveCall {
            spender,
            amount: U256::from(amount_micro),
        };
        self.client
            .write("approve", self.deployment.token, &call, None)
            .await?;
        Ok(())
    }

    /// Deposits from the signing address to `account`, which must be open; [`Self::approve`] comes before.
    ///
    /// # Errors
    /// The node's, the contract's or the token's.
    pub async fn deposit(&self, account: u32, amount_micro: u64) -> Result<Deposit, L1Error> {
        let call = ISettlement::depositCall {
            account,
            amount: amount_micro,
        };
        let receipt = self
            .client
            .write("deposit", self.deployment.settlement, &call, None)
            .await?;
        let event = self.event::<ISettlement::Deposited>(&receipt)?;
        Ok(deposit_of(&event, receipt.block_number.unwrap_or_default()))
    }

    /// Follows the deposit queue from row `next_index` on, rows being told once `confirmations` blocks lie on top
    /// of theirs (0: at once).
    #[must_use]
    pub fn watch_deposits(&self, next_index: u64, confirmations: u64) -> DepositWatch {
        DepositWatch {
            next_index,
            next_block: self.deployment.block,
            confirmations,
            gone: BTreeSet::new(),
            gone_block: self.deployment.block,
        }
    }

    /// Queue rows that their owners took back, up to and with a block. The contract's own counts
    /// ([`Status::deposits`], [`Status::deposits_consumed`]) go over these rows; [`Deposit::index`] does not.
    ///
    /// # Errors
    /// The node's; [`L1Error::Inconsistent`] if an event does not decode.
    pub async fn reclaimed_rows(&self, last_block: u64) -> Result<BTreeSet<u64>, L1Error> {
        let mut watch = self.watch_deposits(0, 0);
        watch.find_gone(self, last_block).await?;
        Ok(watch.gone)
    }

    /// Commits a batch, once: if the contract has it already, this says so and sends nothing, whoever signs. Safe
    /// to call again after any error.
    ///
    /// # Errors
    /// [`L1Error::NotOperator`] if another key than the operator's signs here; [`L1Error::OutOfOrder`] before its turn; [`L1Error::DifferentBatch`] if another batch has its number;
    /// [`L1Error::Reverted`] if the contract refuses it, in which case nothing was sent; the node's.
    pub async fn commit_batch(&self, batch: &ProvenBatch) -> Result<Committed, L1Error> {
        let at = self.deployment.settlement;
        let last = self.client.read(at, ISettlement::batchNoCall {}).await?;
        if last >= batch.batch_no {
            return self.committed_before(batch).await;
        }
        if batch.batch_no != last + 1 {
            return Err(L1Error::OutOfOrder {
                next: last + 1,
                given: batch.batch_no,
            });
        }
        self.check_operator(batch.batch_no).await?;
        let what = format!("commit batch {}", batch.batch_no);
        let receipt = match self
            .client
            .write(&what, at, &commit_call(batch), Some(COMMIT_GAS))
            .await
        {
            Ok(receipt) => receipt,
            // Perhaps another process of the operator was faster; whatever the error says, the contract knows.
            Err(e) => match self.client.read(at, ISettlement::batchNoCall {}).await {
                Ok(last) if last >= batch.batch_no => return self.committed_before(batch).await,
                _ => return Err(e),
            },
        };
        let event = self.event::<ISettlement::BatchCommitted>(&receipt)?;
        Ok(Committed {
            batch_no: event.batchNo,
            new_root: event.newRoot,
            tx: receipt.transaction_hash,
            block: receipt.block_number.unwrap_or_default(),
            gas_used: receipt.gas_used,
            already: false,
        })
    }

    async fn check_operator(&self, batch_no: u64) -> Result<(), L1Error> {
        let signer = self.client.address();
        let call = ISettlement::isOperatorCall { who: signer };
        if self.client.read(self.deployment.settlement, call).await? {
            return Ok(());
        }
        Err(L1Error::NotOperator {
            batch_no,
            signer,
            operator: self.deployment.operator,
        })
    }

    /// Commits batches that follow each other in one transaction, which costs less for each. Those that the contract
    /// has already are left out; if it has all, nothing is sent.
    ///
    /// # Errors
    /// As [`Self::commit_batch`].
    pub async fn commit_batches(&self, batches: &[ProvenBatch]) -> Result<u64, L1Error> {
        let at = self.deployment.settlement;
        let last = self.client.read(at, ISettlement::batchNoCall {}).await?;
        let (old, new): (Vec<&ProvenBatch>, _) = batches.iter().partition(|b| b.batch_no <= last);
        for batch in old {
            self.committed_before(batch).await?;
        }
        let new: Vec<&ProvenBatch> = new;
        let Some(first) = new.first() else {
            return Ok(0);
        };
        if first.batch_no != last + 1 {
            return Err(L1Error::OutOfOrder {
                next: last + 1,
                given: first.batch_no,
            });
        }
        self.check_operator(first.batch_no).await?;
        let what = format!("commit {} batches from {}", new.len(), first.batch_no);
        let call = ISettlement::commitBatchesCall {
            batches: new.iter().map(|b| commit_call(b).batch).collect(),
            commitments: new.iter().map(|b| b.commitment).collect(),
            proofs: new.iter().map(|b| b.proof).collect(),
        };
        let gas = COMMIT_GAS * new.len() as u64;
        let receipt = self.client.write(&what, at, &call, Some(gas)).await?;
        Ok(receipt.gas_used)
    }

    async fn committed_before(&self, batch: &ProvenBatch) -> Result<Committed, L1Error> {
        let batch_no = batch.batch_no;
        let found = self.committed(batch_no).await?;
        let found = found.ok_or_else(|| {
            L1Error::Inconsistent(format!(
                "batch {batch_no} counts as committed, but no event tells of it"
            ))
        })?;
        if found.new_root != batch.new_root {
            let (committed, given) = (found.new_root, batch.new_root);
            return Err(L1Error::DifferentBatch {
                batch_no,
                committed,
                given,
            });
        }
        Ok(found)
    }

    /// What the chain says of batch `batch_no`; `None` if it is not committed.
    ///
    /// # Errors
    /// The node's.
    pub async fn committed(&self, batch_no: u64) -> Result<Option<Committed>, L1Error> {
        let filter = Filter::new()
            .address(self.deployment.settlement)
            .event_signature(ISettlement::BatchCommitted::SIGNATURE_HASH)
            .topic1(U256::from(batch_no));
        let head = self.client.block_number().await?;
        // Newest first: whoever asks, asks about a batch of late.
        let mut to = head;
        loop {
            let from = to
                .saturating_sub(LOG_BLOCKS_MAX - 1)
                .max(self.deployment.block);
            if let Some(log) = self.logs(&filter, from, to).await?.pop() {
                return self.committed_in(&log).await.map(Some);
            }
            if from <= self.deployment.block {
                return Ok(None);
            }
            to = from - 1;
        }
    }

    async fn committed_in(&self, log: &Log) -> Result<Committed, L1Error> {
        let event = decode::<ISettlement::BatchCommitted>(log)?;
        let tx = log.transaction_hash.unwrap_or_default();
        let receipt = self.client.provider().get_transaction_receipt(tx).await;
        let receipt = receipt.map_err(|e| self.client.failed("receipt", e))?;
        Ok(Committed {
            batch_no: event.batchNo,
            new_root: event.newRoot,
            tx,
            block: log.block_number.unwrap_or_default(),
            gas_used: receipt.map_or(0, |r| r.gas_used),
            already: true,
        })
    }

    /// What `owner` can claim, in micro-units.
    ///
    /// # Errors
    /// The node's.
    pub async fn pending(&self, owner: Address) -> Result<U256, L1Error> {
        let call = ISettlement::pendingCall { owner };
        self.client.read(self.deployment.settlement, call).await
    }

    /// Tokens of `owner`, in micro-units.
    ///
    /// # Errors
    /// The node's.
    pub async fn token_balance(&self, owner: Address) -> Result<U256, L1Error> {
        self.client
            .read(self.deployment.token, IToken::balanceOfCall { owner })
            .await
    }

    /// Claims all that was granted to the signing address and sends it to `to`; returns micro-units.
    ///
    /// # Errors
    /// [`L1Error::Reverted`] if there is nothing to claim; the node's or the token's.
    pub async fn claim(&self, to: Address) -> Result<U256, L1Error> {
        let call = ISettlement::claimCall { to };
        let receipt = self
            .client
            .write("claim", self.deployment.settlement, &call, None)
            .await?;
        self.event::<ISettlement::Claimed>(&receipt)
            .map(|e| e.amount)
    }

    async fn logs(&self, filter: &Filter, from: u64, to: u64) -> Result<Vec<Log>, L1Error> {
        let filter = filter.clone().from_block(from).to_block(to);
        let logs = self.client.provider().get_logs(&filter).await;
        logs.map_err(|e| self.client.failed("logs", e))
    }

    /// The one event of type `E` that the contract emitted in a transaction.
    pub(crate) fn event<E: SolEvent>(&self, receipt: &TransactionReceipt) -> Result<E, L1Error> {
        let logs = receipt.inner.logs().iter();
        let mut ours = logs.filter(|log| log.address() == self.deployment.settlement);
        let found = ours.find(|log| log.topic0() == Some(&E::SIGNATURE_HASH));
        let missing = || {
            L1Error::Inconsistent(format!(
                "{} without its event {}",
                receipt.transaction_hash,
                E::SIGNATURE
            ))
        };
        decode(found.ok_or_else(missing)?)
    }
}

/// A place in the deposit queue. It keeps nothing that could not be found again from the index of the next row.
#[derive(Clone, Debug)]
pub struct DepositWatch {
    next_index: u64,
    next_block: u64,
    confirmations: u64,
    /// Rows that their owners took back before a batch consumed them, as far as it was looked.
    gone: BTreeSet<u64>,
    gone_block: u64,
}

impl DepositWatch {
    /// The index of the next row to be told.
    #[must_use]
    pub const fn next_index(&self) -> u64 {
        self.next_index
    }

    /// The deposits that have become deep enough since the last call, in queue order. On an error nothing is lost:
    /// the next call looks at the same blocks again.
    ///
    /// # Errors
    /// [`L1Error::Inconsistent`] if a row is missing or is not what the queue holds: a reorganisation deeper than
    /// the confirmations asked for, or a node that lies; the node's.
    pub async fn poll(&mut self, settlement: &Settlement) -> Result<Vec<Deposit>, L1Error> {
        let head = settlement.client.block_number().await?;
        let filter = Filter::new()
            .address(settlement.deployment.settlement)
            .event_signature(ISettlement::Deposited::SIGNATURE_HASH);
        let Some(deep) = head.checked_sub(self.confirmations) else {
            return Ok(Vec::new());
        };
        self.find_gone(settlement, head).await?;
        while self.next_block <= deep {
            let to = deep.min(self.next_block + LOG_BLOCKS_MAX - 1);
            let logs = settlement.logs(&filter, self.next_block, to).await?;
            let found = self.take(settlement, &logs).await?;
            self.next_block = to + 1;
            if let Some(last) = found.last() {
                self.next_index = last.index + 1;
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// Rows that were taken back are none for the venue, whose count goes on without them.
    async fn find_gone(&mut self, settlement: &Settlement, head: u64) -> Result<(), L1Error> {
        let filter = Filter::new()
            .address(settlement.deployment.settlement)
            .event_signature(ISettlement::DepositReclaimed::SIGNATURE_HASH);
        while self.gone_block <= head {
            let to = head.min(self.gone_block + LOG_BLOCKS_MAX - 1);
            for log in settlement.logs(&filter, self.gone_block, to).await? {
                let event = decode::<ISettlement::DepositReclaimed>(&log)?;
                self.gone.insert(event.index);
            }
            self.gone_block = to + 1;
        }
        Ok(())
    }

    async fn take(&self, settlement: &Settlement, logs: &[Log]) -> Result<Vec<Deposit>, L1Error> {
        let mut found = Vec::new();
        let mut next = self.next_index;
        for log in logs {
            let mut event = decode::<ISettlement::Deposited>(log)?;
            if self.gone.contains(&event.index) {
                continue;
            }
            let row = event.index;
            event.index -= self.gone.range(..row).count() as u64;
            if event.index < next {
                continue;
            }
            if event.index > next {
                let text = format!("deposit {} follows deposit {next}", event.index);
                return Err(L1Error::Inconsistent(text));
            }
            let call = ISettlement::depositAtCall { index: row };
            let row = settlement
                .client
                .read(settlement.deployment.settlement, call)
                .await?;
            if (row.account, row.owner, row.amount) != (event.account, event.owner, event.amount) {
                return Err(L1Error::Inconsistent(format!(
                    "deposit {next} is not what its event told"
                )));
            }
            found.push(deposit_of(&event, log.block_number.unwrap_or_default()));
            next += 1;
        }
        Ok(found)
    }
}

const fn deposit_of(event: &ISettlement::Deposited, block: u64) -> Deposit {
    Deposit {
        index: event.index,
        account: event.account,
        owner: event.owner,
        amount_micro: event.amount,
        block,
    }
}

fn decode<E: SolEvent>(log: &Log) -> Result<E, L1Error> {
    let event = E::decode_log(&log.inner);
    let event = event.map_err(|e| L1Error::Inconsistent(format!("event {}: {e}", E::SIGNATURE)))?;
    Ok(event.data)
}

fn commit_call(batch: &ProvenBatch) -> ISettlement::commitBatchCall {
    let rows = batch
        .withdrawals
        .iter()
        .map(|w| ISettlement::WithdrawalRow {
            account: w.account,
            owner: w.owner,
            amount: w.amount_micro,
        });
    ISettlement::commitBatchCall {
        batch: ISettlement::Batch {
            batchNo: batch.batch_no,
            newRoot: batch.new_root,
            journalHash: batch.journal_hash,
            lastSeq: batch.last_seq,
            timeNs: batch.time_ns,
            depositCount: batch.deposit_count,
            withdrawals: rows.collect(),
            key: 0,
        },
        commitment: batch.commitment,
        proof: batch.proof,
    }
}
