//! The chain itself: state, blocks and receipts. No sockets, no JSON.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::consensus::transaction::{Recovered, SignerRecoverable};
use alloy::consensus::{
    Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxEnvelope,
    TxType, constants::EMPTY_OMMER_ROOT_HASH,
};
use alloy::eips::eip2718::{Decodable2718, Typed2718};
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256, logs_bloom};
use alloy::rpc::types as rpc;
use revm::context::result::{EVMError, ExecutionResult, HaltReason, Output};
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::database_interface::{DBErrorMarker, DatabaseRef};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext};

use super::rpc::RpcError;

/// Gas of a block.
pub(super) const BLOCK_GAS: u64 = 36_000_000;
/// Most gas of one transaction (EIP-7825).
const TX_GAS_MAX: u64 = 1 << 24;
/// The base fee never moves: 1 gwei.
pub(super) const BASE_FEE_WEI: u64 = 1_000_000_000;
/// What every development account starts with, in wei: 10,000 ether.
const PREFUNDED_WEI: u128 = 10_000 * 1_000_000_000_000_000_000;

/// A block with its one transaction, or with none (the genesis and what `evm_mine` makes).
pub(super) struct Block {
    pub(super) header: rpc::Header,
    pub(super) mined: Option<Mined>,
}

/// A transaction and what came of it.
pub(super) struct Mined {
    pub(super) tx: rpc::Transaction,
    pub(super) receipt: rpc::TransactionReceipt,
}

/// A development chain: one block per transaction, mined when it arrives; no forks, no queue, no state trie.
pub(super) struct Chain {
    chain_id: u64,
    db: CacheDB<EmptyDB>,
    blocks: Vec<Block>,
    block_of_hash: BTreeMap<B256, usize>,
    block_of_tx: BTreeMap<B256, usize>,
    clock_ahead_s: u64,
}

impl Chain {
    /// A chain at its genesis, with ether for each of `funded`.
    pub(super) fn new(chain_id: u64, funded: impl Iterator<Item = Address>) -> Self {
        let mut db = CacheDB::new(EmptyDB::default());
        for address in funded {
            let info = AccountInfo {
                balance: U256::from(PREFUNDED_WEI),
                ..AccountInfo::default()
            };
            db.insert_account_info(address, info);
        }
        let mut chain = Self {
            chain_id,
            db,
            blocks: Vec::new(),
            block_of_hash: BTreeMap::new(),
            block_of_tx: BTreeMap::new(),
            clock_ahead_s: 0,
        };
        let genesis = chain.next_header();
        chain.push(Block {
            header: sealed(genesis),
            mined: None,
        });
        chain
    }

    pub(super) const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    pub(super) fn head(&self) -> &Block {
        self.blocks
            .last()
            .expect("the genesis is made with the chain")
    }

    pub(super) fn head_number(&self) -> u64 {
        self.head().header.number
    }

    pub(super) fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    pub(super) fn block_by_hash(&self, hash: B256) -> Option<&Block> {
        self.block_of_hash.get(&hash).map(|i| &self.blocks[*i])
    }

    pub(super) fn mined(&self, tx: B256) -> Option<&Mined> {
        self.block_of_tx
            .get(&tx)
            .and_then(|i| self.blocks[*i].mined.as_ref())
    }

    pub(super) fn account(&self, address: Address) -> AccountInfo {
        let Ok(info) = self.db.basic_ref(address);
        info.unwrap_or_default()
    }

    pub(super) fn code(&self, address: Address) -> Bytes {
        let info = self.account(address);
        let Ok(code) = self.db.code_by_hash_ref(info.code_hash);
        info.code.unwrap_or(code).original_bytes()
    }

    pub(super) fn storage(&self, address: Address, slot: U256) -> U256 {
        let Ok(value) = self.db.storage_ref(address, slot);
        value
    }

    /// Lets `seconds` pass before the next block.
    pub(super) fn increase_time(&mut self, seconds: u64) -> u64 {
        self.clock_ahead_s = self.clock_ahead_s.saturating_add(seconds);
        self.clock_ahead_s
    }

    /// Mines a block without a transaction.
    pub(super) fn mine_empty(&mut self) {
        let header = self.next_header();
        self.push(Block {
            header: sealed(header),
            mined: None,
        });
    }

    /// Executes a signed transaction and mines it in a block of its own, whether it reverts or not.
    pub(super) fn send_raw(&mut self, raw: &[u8]) -> Result<B256, RpcError> {
        let tx = TxEnvelope::decode_2718_exact(raw)
            .map_err(|e| RpcError::params(format!("the transaction does not decode: {e}")))?;
        let plain = matches!(
            tx.tx_type(),
            TxType::Legacy | TxType::Eip2930 | TxType::Eip1559
        );
        if !plain {
            return Err(RpcError::params(format!(
                "transaction type {} is not served",
                tx.ty()
            )));
        }
        if tx.chain_id() != Some(self.chain_id) {
            let why = format!(
                "the transaction is for chain {:?}, not {}",
                tx.chain_id(),
                self.chain_id
            );
            return Err(RpcError::server(why));
        }
        if self.block_of_tx.contains_key(tx.tx_hash()) {
            return Err(RpcError::server("already known".to_owned()));
        }
        let from = tx
            .recover_signer()
            .map_err(|e| RpcError::params(format!("the signature does not recover: {e}")))?;
        let header = self.next_header();
        let env = tx_env(&tx, from)?;
        let cfg = cfg(self.chain_id);
        let mut evm = Context::mainnet()
            .with_db(&mut self.db)
            .with_block(block_env(&header))
            .with_cfg(cfg)
            .build_mainnet();
        let result = evm.transact_commit(env).map_err(refused)?;
        let hash = *tx.tx_hash();
        let block = seal(header, Recovered::new_unchecked(tx, from), result);
        self.push(block);
        Ok(hash)
    }

    /// Executes without a trace: `eth_call`.
    pub(super) fn call(&self, request: &rpc::TransactionRequest) -> Result<Bytes, RpcError> {
        let gas = request.gas.unwrap_or(TX_GAS_MAX).min(TX_GAS_MAX);
        match self.simulate(request, gas)? {
            ExecutionResult::Success { output, .. } => Ok(output.into_data()),
            ExecutionResult::Revert { output, .. } => Err(RpcError::reverted(output)),
            ExecutionResult::Halt { reason, .. } => Err(RpcError::halted(&reason)),
        }
    }

    /// The least gas with which the transaction succeeds, give or take 1 in 64.
    pub(super) fn estimate_gas(&self, request: &rpc::TransactionRequest) -> Result<u64, RpcError> {
        let mut enough = request.gas.unwrap_or(TX_GAS_MAX).min(TX_GAS_MAX);
        let mut too_little = match self.simulate(request, enough)? {
            ExecutionResult::Success { gas, .. } => gas.tx_gas_used().saturating_sub(1),
            ExecutionResult::Revert { output, .. } => return Err(RpcError::reverted(output)),
            ExecutionResult::Halt { reason, .. } => return Err(RpcError::halted(&reason)),
        };
        while enough - too_little > 1 + enough / 64 {
            // Gas that a transaction needs is mostly close above what it used.
            let middle =
                (too_little + (enough - too_little) / 2).min(too_little + too_little / 8 + 1);
            let works = match self.simulate(request, middle) {
                Ok(result) => result.is_success(),
                // Below the intrinsic gas the transaction is not even valid.
                Err(_) => false,
            };
            if works {
                enough = middle;
            } else {
                too_little = middle;
            }
        }
        Ok(enough)
    }

    fn simulate(
        &self,
        request: &rpc::TransactionRequest,
        gas: u64,
    ) -> Result<ExecutionResult<HaltReason>, RpcError> {
        let mut cfg = cfg(self.chain_id);
        cfg.disable_nonce_check = true;
        cfg.disable_balance_check = true;
        cfg.disable_base_fee = true;
        cfg.disable_eip3607 = true;
        let from = request.from.unwrap_or_default();
        let env = TxEnv::builder()
            .caller(from)
            .gas_limit(gas)
            .gas_price(0)
            .kind(request.to.unwrap_or(TxKind::Create))
            .value(request.value.unwrap_or_default())
            .data(request.input.clone().into_input().unwrap_or_default())
            .nonce(self.account(from).nonce)
            .chain_id(Some(self.chain_id))
            .access_list(request.access_list.clone().unwrap_or_default())
            .build()
            .map_err(|e| RpcError::params(format!("{e:?}")))?;
        let mut evm = Context::mainnet()
            .with_db(CacheDB::new(&self.db))
            .with_block(block_env(&self.head().header.inner))
            .with_cfg(cfg)
            .build_mainnet();
        evm.transact(env).map(|done| done.result).map_err(refused)
    }

    fn push(&mut self, block: Block) {
        let number = self.blocks.len();
        assert_eq!(
            block.header.number, number as u64,
            "blocks are numbered from 0 without gaps"
        );
        self.block_of_hash.insert(block.header.hash, number);
        if let Some(mined) = &block.mined {
            self.block_of_tx
                .insert(mined.receipt.transaction_hash, number);
        }
        self.db
            .cache
            .block_hashes
            .insert(U256::from(number), block.header.hash);
        self.blocks.push(block);
    }

    /// The header of the block to come, before anything is in it.
    fn next_header(&self) -> Header {
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        let parent = self.blocks.last().map(|b| &b.header);
        let number = self.blocks.len() as u64;
        Header {
            parent_hash: parent.map_or(B256::ZERO, |p| p.hash),
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            number,
            gas_limit: BLOCK_GAS,
            base_fee_per_gas: Some(BASE_FEE_WEI),
            timestamp: (now_s + self.clock_ahead_s).max(parent.map_or(0, |p| p.timestamp + 1)),
            mix_hash: keccak256(number.to_be_bytes()),
            ..Header::default()
        }
    }
}

fn cfg(chain_id: u64) -> CfgEnv {
    let mut cfg = CfgEnv::new_with_spec(SpecId::OSAKA);
    cfg.chain_id = chain_id;
    cfg
}

fn block_env(header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        prevrandao: Some(header.mix_hash),
        ..BlockEnv::default()
    }
}

fn tx_env(tx: &TxEnvelope, from: Address) -> Result<TxEnv, RpcError> {
    TxEnv::builder()
        .tx_type(Some(tx.ty()))
        .caller(from)
        .gas_limit(tx.gas_limit())
        .gas_price(tx.max_fee_per_gas())
        .gas_priority_fee(tx.max_priority_fee_per_gas())
        .kind(tx.kind())
        .value(tx.value())
        .data(tx.input().clone())
        .nonce(tx.nonce())
        .chain_id(tx.chain_id())
        .access_list(tx.access_list().cloned().unwrap_or_default())
        .build()
        .map_err(|e| RpcError::params(format!("{e:?}")))
}

/// A transaction that was not executed at all: bad nonce, no money for gas, and the like.
fn refused<E: DBErrorMarker + std::fmt::Debug>(error: EVMError<E>) -> RpcError {
    match error {
        EVMError::Transaction(e) => RpcError::server(e.to_string()),
        other => RpcError::server(format!("{other:?}")),
    }
}

fn sealed(header: Header) -> rpc::Header {
    rpc::Header::new(header)
}

/// The block that holds `tx` with its outcome.
fn seal(mut header: Header, tx: Recovered<TxEnvelope>, result: ExecutionResult) -> Block {
    let success = result.is_success();
    let gas_used = result.tx_gas_used();
    let contract_address = match &result {
        ExecutionResult::Success {
            output: Output::Create(_, address),
            ..
        } => *address,
        _ => None,
    };
    let logs = if success {
        result.into_logs()
    } else {
        Vec::new()
    };
    let bloom = logs_bloom(&logs);
    let bare = ReceiptWithBloom {
        receipt: Receipt {
            status: Eip658Value::Eip658(success),
            cumulative_gas_used: gas_used,
            logs: logs.clone(),
        },
        logs_bloom: bloom,
    };
    header.gas_used = gas_used;
    header.logs_bloom = bloom;
    header.transactions_root = calculate_transaction_root(&[tx.inner().clone()]);
    header.receipts_root = calculate_receipt_root(&[envelope(tx.tx_type(), bare)]);
    let header = sealed(header);

    let full = ReceiptWithBloom {
        receipt: Receipt {
            status: Eip658Value::Eip658(success),
            cumulative_gas_used: gas_used,
            logs: placed(logs, &header, *tx.tx_hash()),
        },
        logs_bloom: bloom,
    };
    let effective_gas_price = tx.effective_gas_price(header.base_fee_per_gas);
    let receipt = rpc::TransactionReceipt {
        inner: envelope(tx.tx_type(), full),
        transaction_hash: *tx.tx_hash(),
        transaction_index: Some(0),
        block_hash: Some(header.hash),
        block_number: Some(header.number),
        gas_used,
        effective_gas_price,
        blob_gas_used: None,
        blob_gas_price: None,
        from: tx.signer(),
        to: tx.to(),
        contract_address,
    };
    let tx = rpc::Transaction {
        inner: tx,
        block_hash: Some(header.hash),
        block_number: Some(header.number),
        transaction_index: Some(0),
        effective_gas_price: Some(effective_gas_price),
        block_timestamp: Some(header.timestamp),
    };
    Block {
        header,
        mined: Some(Mined { tx, receipt }),
    }
}

fn placed(
    logs: Vec<alloy::primitives::Log>,
    header: &rpc::Header,
    transaction_hash: B256,
) -> Vec<rpc::Log> {
    let place = |(i, inner): (usize, alloy::primitives::Log)| rpc::Log {
        inner,
        block_hash: Some(header.hash),
        block_number: Some(header.number),
        block_timestamp: Some(header.timestamp),
        transaction_hash: Some(transaction_hash),
        transaction_index: Some(0),
        log_index: Some(i as u64),
        removed: false,
    };
    logs.into_iter().enumerate().map(place).collect()
}

fn envelope<T>(tx_type: TxType, receipt: ReceiptWithBloom<Receipt<T>>) -> ReceiptEnvelope<T> {
    match tx_type {
        TxType::Eip2930 => ReceiptEnvelope::Eip2930(receipt),
        TxType::Eip1559 => ReceiptEnvelope::Eip1559(receipt),
        _ => ReceiptEnvelope::Legacy(receipt),
    }
}
