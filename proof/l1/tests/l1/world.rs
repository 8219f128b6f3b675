//! A chain with the contracts on it, and an independent twin of the public words.

use alloy::consensus::{SignableTransaction, TxEnvelope, TxLegacy};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, Bytes, TxKind, U256, keccak256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::{SignerSync, local::PrivateKeySigner};
use alloy::sol;
use alloy::sol_types::{SolCall, SolError, SolInterface};
use alloy::transports::RpcError;
use l1::devnet::{DEV_CHAIN_ID, DEV_KEYS, Devnet};
use l1::{
    Deployment, Deposit, L1Client, L1Error, ProvenBatch, R, Roles, Settlement, Terms, Withdrawal,
};

use crate::book::Book;
use crate::tiny;

sol!(
    #[sol(all_derives)]
    "contracts/ISettlement.sol"
);

sol! {
    #[derive(Debug, PartialEq)]
    interface IVerifierErrors {
        error InputNotInField(uint256 index);
        error PrecompileFailed();
        error ProofInvalid();
        function verify(uint256[3] calldata inputs, uint256[8] calldata proof) external view;
    }
}

pub(crate) const GENESIS_ROOT: U256 = U256::from_limbs([0x6E05, 0, 0, 1]);
/// Who deploys and settles; traders are the keys after it.
pub(crate) const OPERATOR: usize = 0;

/// Terms for tests: an hour each, a day for changes, ten requests at 1,000 wei.
pub(crate) const SHORT: Terms = Terms {
    forced_window_s: HOUR_S,
    deposit_window_s: HOUR_S,
    exit_window_s: HOUR_S,
    change_delay_s: 24 * HOUR_S,
    requests_max: 10,
    request_fee_wei: U256::from_limbs([1_000, 0, 0, 0]),
};
pub(crate) const HOUR_S: u64 = 3_600;

/// Starts a development chain that lives as long as the test's runtime, and returns its address.
pub(crate) async fn start_devnet(chain_id: u64) -> String {
    let devnet = Devnet::bind(0, chain_id).await.unwrap();
    let url = devnet.url();
    tokio::spawn(devnet.run());
    url
}

pub(crate) async fn client(url: &str, key: usize) -> L1Client {
    L1Client::connect(url, DEV_KEYS[key]).await.unwrap()
}

/// Creation bytecode of a contract of `contracts/test`.
pub(crate) fn test_bytecode(name: &str) -> Bytes {
    let path = format!("{}/artifacts/test/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let artifact: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    artifact["bytecode"].as_str().unwrap().parse().unwrap()
}

pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) deployment: Deployment,
    pub(crate) operator: Settlement,
}

impl World {
    /// A new development chain with the settlement contract over the test token and the test key's verifier.
    pub(crate) async fn new() -> Self {
        let url = start_devnet(DEV_CHAIN_ID).await;
        Self::with_token(url, None).await
    }

    /// The same with short windows: an hour for requests and deposits and the exit, a day for changes.
    pub(crate) async fn short() -> Self {
        Self::short_on(start_devnet(DEV_CHAIN_ID).await).await
    }

    pub(crate) async fn short_on(url: String) -> Self {
        let operator = client(&url, OPERATOR).await;
        let token = operator.deploy(GENESIS_ROOT, None).await.unwrap().token;
        let verifier = operator
            .create("verifier", test_bytecode("TinyVerifier"))
            .await
            .unwrap();
        let roles = Roles::all(operator.address());
        let deployment = operator
            .deploy_on(&SHORT, roles, GENESIS_ROOT, token, verifier)
            .await
            .unwrap();
        let operator = operator.settlement(&deployment).await.unwrap();
        Self {
            url,
            deployment,
            operator,
        }
    }

    /// The same on any node, with a token from `contracts/test` if `token` names one.
    pub(crate) async fn with_token(url: String, token: Option<&str>) -> Self {
        let operator = client(&url, OPERATOR).await;
        let token = match token {
            Some(name) => operator.create(name, test_bytecode(name)).await.unwrap(),
            None => operator.deploy(GENESIS_ROOT, None).await.unwrap().token,
        };
        let verifier = operator
            .create("verifier", test_bytecode("TinyVerifier"))
            .await
            .unwrap();
        let deployment = operator
            .deploy_over(operator.address(), GENESIS_ROOT, token, verifier)
            .await
            .unwrap();
        let operator = operator.settlement(&deployment).await.unwrap();
        Self {
            url,
            deployment,
            operator,
        }
    }

    pub(crate) async fn user(&self, key: usize) -> Settlement {
        client(&self.url, key)
            .await
            .settlement(&self.deployment)
            .await
            .unwrap()
    }

    /// A user with an account that has `amounts` queued as deposits.
    pub(crate) async fn depositor(
        &self,
        key: usize,
        amounts: &[u64],
    ) -> (Settlement, u32, Vec<Deposit>) {
        let user = self.user(key).await;
        let account = user.open_account().await.unwrap();
        let sum = amounts.iter().sum();
        user.mint_test_token(user.client().address(), sum)
            .await
            .unwrap();
        user.approve(sum).await.unwrap();
        let mut deposits = Vec::new();
        for amount in amounts {
            deposits.push(user.deposit(account, *amount).await.unwrap());
        }
        (user, account, deposits)
    }

    /// Deposits `amount` for a new account and commits a batch that consumes it.
    pub(crate) async fn funded(&self, key: usize, amount: u64) -> (Settlement, u32) {
        let (user, account, deposits) = self.depositor(key, &[amount]).await;
        let batch = self.next_batch(&deposits, &[]).await;
        self.operator.commit_batch(&batch).await.unwrap();
        (user, account)
    }

    /// The next batch, honestly proven against the contract's state.
    pub(crate) async fn next_batch(
        &self,
        deposits: &[Deposit],
        withdrawals: &[Withdrawal],
    ) -> ProvenBatch {
        let status = self.operator.status().await.unwrap();
        let mut batch = unproven(status.batch_no + 1, deposits, withdrawals);
        self.prove(&mut batch, status.root, deposits);
        batch
    }

    /// Proves `batch` as if the contract's root were `old_root` and these deposits the queue's oldest.
    pub(crate) fn prove(&self, batch: &mut ProvenBatch, old_root: U256, deposits: &[Deposit]) {
        let words = words(&self.deployment, old_root, deposits, batch);
        let (z, y) = point(&words, batch.commitment);
        batch.proof = tiny::prove([batch.commitment, z, y]);
    }

    /// Commits a batch after which the state is `book`.
    pub(crate) async fn commit_book(
        &self,
        book: &Book,
        deposits: &[Deposit],
        withdrawals: &[Withdrawal],
    ) {
        let status = self.operator.status().await.unwrap();
        let mut batch = unproven(status.batch_no + 1, deposits, withdrawals);
        batch.new_root = book.root(batch.batch_no);
        self.prove(&mut batch, status.root, deposits);
        self.operator.commit_batch(&batch).await.unwrap();
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        let node = provider(&self.url);
        let passed = node.raw_request::<_, serde_json::Value>("evm_increaseTime".into(), [seconds]);
        passed.await.unwrap();
        let mined = node.raw_request::<_, serde_json::Value>("evm_mine".into(), [(); 0]);
        mined.await.unwrap();
    }

    /// Sends `call` as development account `key`; `Err` is the contract's error, and then nothing was sent.
    pub(crate) async fn send<C: SolCall>(&self, key: usize, call: &C) -> Result<(), Bytes> {
        let from = client(&self.url, key).await.address();
        let (at, data) = (self.deployment.settlement, call.abi_encode());
        call_raw(&self.url, from, at, data.clone(), None).await?;
        assert!(send_transaction(&self.url, key, at, data, 15_000_000).await);
        Ok(())
    }

    /// Sends `call` to the settlement contract without a transaction; `Err` is the contract's error.
    pub(crate) async fn call<C: SolCall>(
        &self,
        from: Address,
        call: &C,
    ) -> Result<C::Return, Bytes> {
        let data = call_raw(
            &self.url,
            from,
            self.deployment.settlement,
            call.abi_encode(),
            None,
        )
        .await?;
        Ok(C::abi_decode_returns(&data).unwrap())
    }

    /// The error with which the contract refuses `batch`.
    pub(crate) async fn refusal(&self, batch: &ProvenBatch) -> Bytes {
        let from = self.operator.client().address();
        self.call(from, &commit_call(batch))
            .await
            .err()
            .expect("the contract took a batch that it must refuse")
    }
}

pub(crate) fn provider(url: &str) -> DynProvider {
    ProviderBuilder::new()
        .disable_recommended_fillers()
        .connect_http(url.parse().unwrap())
        .erased()
}

/// `eth_call`; `Err` is the revert data, empty if the execution halted.
pub(crate) async fn call_raw(
    url: &str,
    from: Address,
    to: Address,
    data: Vec<u8>,
    gas: Option<u64>,
) -> Result<Bytes, Bytes> {
    let request = TransactionRequest {
        from: Some(from),
        to: Some(TxKind::Call(to)),
        input: Bytes::from(data).into(),
        gas,
        ..TransactionRequest::default()
    };
    match provider(url).call(request).await {
        Ok(answer) => Ok(answer),
        Err(RpcError::ErrorResp(e)) => Err(e.as_revert_data().unwrap_or_default()),
        Err(e) => panic!("the node does not answer: {e}"),
    }
}

/// Sends any call as a legacy transaction of development account `key`, past the client; tells whether it succeeded.
pub(crate) async fn send_transaction(
    url: &str,
    key: usize,
    to: Address,
    data: Vec<u8>,
    gas_limit: u64,
) -> bool {
    let provider = provider(url);
    let signer: PrivateKeySigner = DEV_KEYS[key].parse().unwrap();
    let tx = TxLegacy {
        chain_id: Some(DEV_CHAIN_ID),
        nonce: provider
            .get_transaction_count(signer.address())
            .await
            .unwrap(),
        gas_price: provider.get_gas_price().await.unwrap(),
        gas_limit,
        to: TxKind::Call(to),
        value: U256::ZERO,
        input: data.into(),
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    let tx = TxEnvelope::from(tx.into_signed(signature));
    let sent = provider
        .send_raw_transaction(&tx.encoded_2718())
        .await
        .unwrap();
    let receipt = provider
        .get_transaction_receipt(*sent.tx_hash())
        .await
        .unwrap();
    receipt.unwrap().status()
}

pub(crate) fn unproven(
    batch_no: u64,
    deposits: &[Deposit],
    withdrawals: &[Withdrawal],
) -> ProvenBatch {
    ProvenBatch {
        batch_no,
        new_root: U256::from(1_000 + batch_no),
        journal_hash: U256::from(batch_no) << 200,
        last_seq: 50 * batch_no,
        time_ns: 1_700_000_000_000_000_000 + batch_no,
        deposit_count: deposits.len() as u64,
        withdrawals: withdrawals.to_vec(),
        // The tiny circuit leaves the commitment free, so any element of the field will do.
        commitment: U256::from_be_bytes(keccak256([batch_no as u8]).0) >> 3,
        proof: [U256::ZERO; 8],
    }
}

pub(crate) fn commit_call(batch: &ProvenBatch) -> ISettlement::commitBatchCall {
    let row = |w: &Withdrawal| ISettlement::WithdrawalRow {
        account: w.account,
        owner: w.owner,
        amount: w.amount_micro,
    };
    ISettlement::commitBatchCall {
        batch: ISettlement::Batch {
            batchNo: batch.batch_no,
            newRoot: batch.new_root,
            journalHash: batch.journal_hash,
            lastSeq: batch.last_seq,
            timeNs: batch.time_ns,
            depositCount: batch.deposit_count,
            withdrawals: batch.withdrawals.iter().map(row).collect(),
            key: 0,
        },
        commitment: batch.commitment,
        proof: batch.proof,
    }
}

/// The 59 public words, put together a second time and in another language than the contract's.
pub(crate) fn words(
    deployment: &Deployment,
    old_root: U256,
    deposits: &[Deposit],
    batch: &ProvenBatch,
) -> [U256; 59] {
    let mut words = [U256::ZERO; 59];
    let tag = U256::from_be_slice(b"deltabox.small.v2");
    let address = |a: Address| U256::from_be_slice(a.as_slice());
    let head = [
        tag,
        U256::from(deployment.chain_id),
        address(deployment.settlement),
        U256::from(batch.batch_no),
        old_root,
        batch.new_root,
        batch.journal_hash,
        U256::from(batch.last_seq),
        U256::from(batch.time_ns),
        U256::from(batch.deposit_count),
        U256::from(batch.withdrawals.len()),
    ];
    words[..11].copy_from_slice(&head);
    let row = |account: u32, owner: Address, amount: u64| {
        [U256::from(account), address(owner), U256::from(amount)]
    };
    for (i, d) in deposits.iter().enumerate() {
        words[11 + 3 * i..][..3].copy_from_slice(&row(d.account, d.owner, d.amount_micro));
    }
    for (i, w) in batch.withdrawals.iter().enumerate() {
        words[35 + 3 * i..][..3].copy_from_slice(&row(w.account, w.owner, w.amount_micro));
    }
    words
}

/// z and y of the words.
pub(crate) fn point(words: &[U256; 59], commitment: U256) -> (U256, U256) {
    let mut bytes = Vec::new();
    for word in words.iter().chain([&commitment]) {
        bytes.extend_from_slice(&word.to_be_bytes::<32>());
    }
    let z = U256::from_be_bytes(keccak256(bytes).0) & ((U256::from(1) << 253) - U256::from(1));
    let mut power = U256::from(1);
    let mut y = U256::ZERO;
    for word in words {
        y = y.add_mod(word.mul_mod(power, R), R);
        power = power.mul_mod(z, R);
    }
    (z, y)
}

/// Asserts that `data` is exactly this error of the settlement contract.
#[track_caller]
pub(crate) fn assert_error(data: &Bytes, wanted: impl SolError) {
    assert_eq!(
        data.to_vec(),
        wanted.abi_encode(),
        "got {:?}",
        ISettlement::ISettlementErrors::abi_decode(data)
    );
}

/// Asserts that `data` is exactly this error, of whatever contract.
#[track_caller]
pub(crate) fn assert_bytes(data: &Bytes, wanted: impl SolError) {
    assert_eq!(data.to_vec(), wanted.abi_encode(), "got {data}");
}

/// Asserts that `data` says that the proof does not hold: invalid, or with points off the curve.
#[track_caller]
pub(crate) fn assert_no_proof(data: &Bytes) {
    use IVerifierErrors::IVerifierErrorsErrors as E;
    let error = E::abi_decode(data);
    assert!(
        matches!(error, Ok(E::ProofInvalid(_) | E::PrecompileFailed(_))),
        "got {data}"
    );
}

/// The contract's error in an [`L1Error::Reverted`].
#[track_caller]
pub(crate) fn reverted<T: std::fmt::Debug>(result: Result<T, L1Error>) -> (String, Bytes) {
    match result {
        Err(L1Error::Reverted { reason, data, .. }) => (reason, data),
        other => panic!("expected a revert, got {other:?}"),
    }
}
