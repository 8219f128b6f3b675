//! One connection to a node, with the key that signs: reads, transactions, deployment.

use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use alloy::transports::http::reqwest;
use alloy::transports::{RpcError, TransportErrorKind};
use tokio::time::{Instant, sleep};

use crate::contracts::{
    self, IGroth16Verifier, ISettlement, ISettlementMaker, proxy_bytecode, settlement_bytecode,
    test_token_bytecode, verifier_bytecode,
};
use crate::{Deployment, L1Error, Roles, Settlement, Terms};

/// How long the node may take to answer one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a transaction may take to be mined: ten slots of mainnet.
const MINED_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a transaction may wait before it is sent again with a higher fee: three slots of mainnet.
const BUMP_AFTER: Duration = Duration::from_secs(36);
/// A fee goes up by an eighth and a little; nodes want a tenth to replace a transaction.
const BUMP_EIGHTHS: u128 = 9;
/// How often a receipt is asked for from a node on this machine.
const POLL_LOCAL: Duration = Duration::from_millis(20);
/// How often a receipt is asked for from a node elsewhere.
const POLL_REMOTE: Duration = Duration::from_secs(2);

/// Whether `chain_id` is one of those that development nodes use, where an INSECURE key does no harm.
#[must_use]
pub const fn is_dev_chain(chain_id: u64) -> bool {
    chain_id == 31_337 || chain_id == 1_337
}

/// A connection to a node, with the key that signs its transactions. Cheap to clone.
#[derive(Clone)]
pub struct L1Client {
    provider: DynProvider,
    signer: PrivateKeySigner,
    url: String,
    chain_id: u64,
    poll: Duration,
    bump_after: Duration,
    dry_run: bool,
}

impl L1Client {
    /// Connects to the node at `url` (`http://host:port`); `key` is 32 bytes of hex.
    ///
    /// # Errors
    /// [`L1Error::BadUrl`], [`L1Error::BadSigner`], or [`L1Error::NoAnswer`] if the node does not tell its chain id
    /// within 20 s.
    pub async fn connect(url: &str, key: &str) -> Result<Self, L1Error> {
        let bad = |reason: &str| L1Error::BadUrl {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let parsed = reqwest::Url::parse(url).map_err(|e| bad(&e.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(bad(
                "only http:// is spoken; put a local proxy before a node that wants TLS",
            ));
        }
        let local = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        let mut http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT);
        if local {
            // A proxy that the environment names is not for this machine's own ports.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|e| bad(&e.to_string()))?;
        let signer: PrivateKeySigner = key.trim().parse().map_err(|_| L1Error::BadSigner)?;
        let provider = ProviderBuilder::new().disable_recommended_fillers();
        let mut client = Self {
            provider: provider.connect_reqwest(http, parsed).erased(),
            signer,
            url: url.to_owned(),
            chain_id: 0,
            poll: if local { POLL_LOCAL } else { POLL_REMOTE },
            bump_after: BUMP_AFTER,
            dry_run: false,
        };
        let chain_id = client.provider.get_chain_id().await;
        client.chain_id = chain_id.map_err(|e| client.failed("chain id", e))?;
        Ok(client)
    }

    /// The same client, but transactions are only tried: each ends with [`L1Error::DryRun`] or with the reason for which
    /// it would fail, and none is sent.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// The same client, with another wait before a transaction is sent again with a higher fee.
    #[must_use]
    pub const fn bump_after(mut self, wait: Duration) -> Self {
        self.bump_after = wait;
        self
    }

    /// The address that signs.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.signer.address()
    }

    /// The node's chain.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Number of the newest block.
    ///
    /// # Errors
    /// The node's.
    pub async fn block_number(&self) -> Result<u64, L1Error> {
        let number = self.provider.get_block_number().await;
        number.map_err(|e| self.failed("block number", e))
    }

    /// Deploys the verifier and the settlement contract, and the worthless test token unless `token` is given. The
    /// address that signs becomes the operator.
    ///
    /// # Errors
    /// As [`Self::deploy_for`].
    pub async fn deploy(
        &self,
        genesis_root: U256,
        token: Option<Address>,
    ) -> Result<Deployment, L1Error> {
        self.deploy_for(self.address(), genesis_root, token).await
    }

    /// The same with another `operator`: the only address that will ever be able to commit batches.
    ///
    /// # Errors
    /// [`L1Error::InsecureKey`] before any transaction if the compiled-in key is a development key and the chain is
    /// none; otherwise the node's or the contracts'.
    pub async fn deploy_for(
        &self,
        operator: Address,
        genesis_root: U256,
        token: Option<Address>,
    ) -> Result<Deployment, L1Error> {
        let roles = Roles {
            operator,
            ..Roles::all(self.address())
        };
        self.deploy_with(&Terms::default(), roles, genesis_root, token)
            .await
    }

    /// The same on terms and with roles that are given.
    ///
    /// # Errors
    /// As [`Self::deploy_for`].
    pub async fn deploy_with(
        &self,
        terms: &Terms,
        roles: Roles,
        genesis_root: U256,
        token: Option<Address>,
    ) -> Result<Deployment, L1Error> {
        if contracts::verifier_is_insecure() && !is_dev_chain(self.chain_id) {
            return Err(L1Error::InsecureKey {
                chain_id: self.chain_id,
            });
        }
        let token = match token {
            Some(token) => token,
            None => {
                self.create("deploy the test token", test_token_bytecode())
                    .await?
            }
        };
        let verifier = self
            .create("deploy the verifier", verifier_bytecode())
            .await?;
        self.deploy_on(terms, roles, genesis_root, token, verifier)
            .await
    }

    /// Deploys the settlement contract over a token and a verifier that stand already, on the usual terms; the address
    /// that signs becomes admin and guardian.
    ///
    /// # Errors
    /// As [`Self::deploy_on`].
    pub async fn deploy_over(
        &self,
        operator: Address,
        genesis_root: U256,
        token: Address,
        verifier: Address,
    ) -> Result<Deployment, L1Error> {
        let roles = Roles {
            operator,
            ..Roles::all(self.address())
        };
        self.deploy_on(&Terms::default(), roles, genesis_root, token, verifier)
            .await
    }

    /// The same on terms and with roles that are given.
    ///
    /// # Errors
    /// [`L1Error::InsecureKey`] if the verifier says so of its key and the chain is no development chain; otherwise
    /// the node's or the contract's.
    pub async fn deploy_on(
        &self,
        terms: &Terms,
        roles: Roles,
        genesis_root: U256,
        token: Address,
        verifier: Address,
    ) -> Result<Deployment, L1Error> {
        let insecure_key = self
            .read(verifier, IGroth16Verifier::INSECURECall {})
            .await?;
        if insecure_key && !is_dev_chain(self.chain_id) {
            return Err(L1Error::InsecureKey {
                chain_id: self.chain_id,
            });
        }
        let vk_hash = self
            .read(verifier, IGroth16Verifier::VK_HASHCall {})
            .await?;
        let poseidon = self.deploy_poseidon().await?;
        let code = self.deploy_code(terms, token, poseidon).await?;
        let initialize = ISettlement::initializeCall {
            genesisRoot: genesis_root,
            verifier,
            admin: roles.admin,
            operator: roles.operator,
            guardian: roles.guardian,
        };
        let proxy = ISettlementMaker::makeProxyCall {
            code,
            data: initialize.abi_encode().into(),
        };
        let block = self.block_number().await?;
        let settlement = self
            .create(
                "deploy the settlement contract",
                with_arguments(proxy_bytecode(), &proxy),
            )
            .await?;
        Ok(Deployment {
            chain_id: self.chain_id,
            token,
            verifier,
            settlement,
            code,
            poseidon,
            admin: roles.admin,
            operator: roles.operator,
            block,
            vk_hash,
            insecure_key,
            genesis_root,
        })
    }

    /// Deploys the code of the settlement contract alone: behind no proxy yet, as for an upgrade.
    ///
    /// # Errors
    /// The node's or the contract's.
    pub async fn deploy_code(
        &self,
        terms: &Terms,
        token: Address,
        poseidon: Address,
    ) -> Result<Address, L1Error> {
        let arguments = ISettlementMaker::makeCall {
            token,
            poseidon,
            forcedWindow: terms.forced_window_s,
            depositWindow: terms.deposit_window_s,
            exitWindow: terms.exit_window_s,
            changeDelay: terms.change_delay_s,
            requestsMax: terms.requests_max,
            requestFeeWei: terms.request_fee_wei,
        };
        let code = with_arguments(settlement_bytecode(), &arguments);
        self.create("deploy the settlement contract's code", code)
            .await
    }

    /// Deploys the hash of the state tree with its tables.
    ///
    /// # Errors
    /// The node's.
    pub async fn deploy_poseidon(&self) -> Result<Address, L1Error> {
        let mut code = contracts::poseidon_bytecode().to_vec();
        for table in contracts::poseidon_tables_bytecode() {
            let at = self.create("deploy Poseidon's constants", table).await?;
            code.extend_from_slice(at.into_word().as_slice());
        }
        self.create("deploy Poseidon", code.into()).await
    }

    /// Deploys any contract from its creation bytecode with the arguments behind it.
    ///
    /// # Errors
    /// The node's or the constructor's.
    pub async fn create(&self, what: &str, code: Bytes) -> Result<Address, L1Error> {
        let receipt = self
            .send(what, TxKind::Create, code, U256::ZERO, None)
            .await?;
        receipt
            .contract_address
            .ok_or_else(|| L1Error::Inconsistent(format!("{what}: a receipt without an address")))
    }

    /// Opens a deployed settlement contract.
    ///
    /// # Errors
    /// [`L1Error::WrongChain`], [`L1Error::WrongDeployment`] if the contracts are not those of the record, or the
    /// node's.
    pub async fn settlement(&self, deployment: &Deployment) -> Result<Settlement, L1Error> {
        Settlement::open(self.clone(), deployment.clone()).await
    }

    pub(crate) const fn provider(&self) -> &DynProvider {
        &self.provider
    }

    /// Calls a function that writes nothing.
    pub(crate) async fn read<C: SolCall>(
        &self,
        to: Address,
        call: C,
    ) -> Result<C::Return, L1Error> {
        let request = self.request(TxKind::Call(to), call.abi_encode().into());
        let answer = self.provider.call(request).await;
        let answer = answer.map_err(|e| self.failed(C::SIGNATURE, e))?;
        C::abi_decode_returns(&answer).map_err(|e| {
            L1Error::WrongDeployment(format!("{to} does not answer to {}: {e}", C::SIGNATURE))
        })
    }

    /// Sends a call as a transaction and waits until it is mined.
    pub(crate) async fn write<C: SolCall>(
        &self,
        what: &str,
        to: Address,
        call: &C,
        gas: Option<u64>,
    ) -> Result<TransactionReceipt, L1Error> {
        let input = call.abi_encode().into();
        self.send(what, TxKind::Call(to), input, U256::ZERO, gas)
            .await
    }

    /// The same with ether.
    pub(crate) async fn pay<C: SolCall>(
        &self,
        what: &str,
        to: Address,
        call: &C,
        wei: U256,
    ) -> Result<TransactionReceipt, L1Error> {
        let input = call.abi_encode().into();
        self.send(what, TxKind::Call(to), input, wei, None).await
    }

    /// Tries the transaction first, so that one that would revert costs nothing and says why; then sends it with
    /// `gas`, or with the node's estimate and a quarter on top.
    async fn send(
        &self,
        what: &str,
        kind: TxKind,
        input: Bytes,
        value: U256,
        gas: Option<u64>,
    ) -> Result<TransactionReceipt, L1Error> {
        let mut request = self.request(kind, input.clone());
        request.value = Some(value);
        request.gas = gas;
        let gas_limit = match gas {
            Some(gas) => {
                let tried = self.provider.call(request.clone()).await;
                tried.map_err(|e| self.failed(what, e))?;
                gas
            }
            None => {
                let estimate = self.provider.estimate_gas(request.clone()).await;
                let estimate = estimate.map_err(|e| self.failed(what, e))?;
                estimate + estimate / 4
            }
        };
        if self.dry_run {
            return Err(L1Error::DryRun {
                what: what.to_owned(),
                gas: gas_limit,
            });
        }
        let fees = self.provider.estimate_eip1559_fees().await;
        let fees = fees.map_err(|e| self.failed("fee history", e))?;
        let nonce = self
            .provider
            .get_transaction_count(self.address())
            .pending()
            .await;
        let tx = TxEip1559 {
            chain_id: self.chain_id,
            nonce: nonce.map_err(|e| self.failed("nonce", e))?,
            gas_limit,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            to: kind,
            value,
            access_list: Default::default(),
            input,
        };
        let receipt = self.send_signed(what, tx).await?;
        if receipt.status() {
            return Ok(receipt);
        }
        // It reverted although it had passed before: somebody was faster. Trying again tells the reason.
        match self.provider.call(request).await {
            Err(e) => Err(self.failed(what, e)),
            Ok(_) => Err(L1Error::Reverted {
                what: what.to_owned(),
                reason: format!(
                    "transaction {} reverted when mined, and would pass now",
                    receipt.transaction_hash
                ),
                data: Bytes::new(),
            }),
        }
    }

    /// Signs, sends and waits. What is not mined after a while is sent again under the same nonce with a higher fee, so
    /// that only one of all can ever be mined.
    async fn send_signed(
        &self,
        what: &str,
        mut tx: TxEip1559,
    ) -> Result<TransactionReceipt, L1Error> {
        let deadline = Instant::now() + MINED_TIMEOUT;
        let mut hashes = vec![self.send_once(what, &tx).await?];
        let mut bump_at = Instant::now() + self.bump_after;
        loop {
            for hash in &hashes {
                let receipt = self.provider.get_transaction_receipt(*hash).await;
                if let Some(receipt) = receipt.map_err(|e| self.failed(what, e))? {
                    return Ok(receipt);
                }
            }
            if Instant::now() >= deadline {
                let seconds = MINED_TIMEOUT.as_secs();
                return Err(L1Error::NotMined {
                    what: what.to_owned(),
                    tx: *hashes.last().expect("one was sent"),
                    seconds,
                });
            }
            if Instant::now() >= bump_at {
                bump_at = Instant::now() + self.bump_after;
                tx.max_fee_per_gas = tx.max_fee_per_gas * BUMP_EIGHTHS / 8 + 1;
                tx.max_priority_fee_per_gas = tx.max_priority_fee_per_gas * BUMP_EIGHTHS / 8 + 1;
                // A refusal means that one of those before was mined just now, or that the node wants more: both show.
                if let Ok(hash) = self.send_once(what, &tx).await {
                    hashes.push(hash);
                }
            }
            sleep(self.poll).await;
        }
    }

    async fn send_once(&self, what: &str, tx: &TxEip1559) -> Result<B256, L1Error> {
        let signature = self
            .signer
            .sign_hash_sync(&tx.signature_hash())
            .map_err(|_| L1Error::BadSigner)?;
        let tx = TxEnvelope::from(tx.clone().into_signed(signature));
        let hash = *tx.tx_hash();
        let sent = self.provider.send_raw_transaction(&tx.encoded_2718()).await;
        // Receipts are polled for, so the builder that would do it is not needed.
        drop(sent.map_err(|e| self.failed(what, e))?);
        Ok(hash)
    }

    fn request(&self, to: TxKind, input: Bytes) -> TransactionRequest {
        TransactionRequest {
            from: Some(self.address()),
            to: Some(to),
            input: input.into(),
            ..TransactionRequest::default()
        }
    }

    /// Sorts a failed request: the contract's error, the node's, or no answer at all.
    pub(crate) fn failed(&self, what: &str, error: RpcError<TransportErrorKind>) -> L1Error {
        let what = what.to_owned();
        match error {
            RpcError::ErrorResp(payload) => match payload.as_revert_data() {
                Some(data) => L1Error::Reverted {
                    what,
                    reason: contracts::explain(&data),
                    data,
                },
                None => L1Error::Refused {
                    what,
                    reason: payload.message.to_string(),
                },
            },
            RpcError::Transport(e) => L1Error::NoAnswer {
                url: self.url.clone(),
                reason: causes(&e),
            },
            other => L1Error::Refused {
                what,
                reason: other.to_string(),
            },
        }
    }
}

/// Creation bytecode with a constructor's arguments behind it.
fn with_arguments<C: SolCall>(code: Bytes, arguments: &C) -> Bytes {
    let mut code = code.to_vec();
    // The four bytes of the selector are not part of a constructor's arguments.
    code.extend_from_slice(&arguments.abi_encode()[4..]);
    code.into()
}

/// An error with what lies behind it: "connection refused" stands at the end of the chain.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
