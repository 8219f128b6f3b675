//! JSON-RPC 2.0 over the chain: which methods there are, and what their errors are.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes, U64, U256};
use alloy::rpc::types as eth;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::chain::{BASE_FEE_WEI, BLOCK_GAS, Block, Chain};

/// Most requests in one batch.
const BATCH_MAX: usize = 100;
/// Most logs in one answer.
const LOGS_MAX: usize = 10_000;
/// Most blocks of one fee history.
const FEE_BLOCKS_MAX: u64 = 1_024;
/// What a wallet may offer the miner, in wei; nobody needs to.
const PRIORITY_FEE_WEI: u64 = 0;

/// An error as JSON-RPC has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RpcError {
    code: i64,
    message: String,
    data: Option<Bytes>,
}

impl RpcError {
    const fn new(code: i64, message: String) -> Self {
        Self {
            code,
            message,
            data: None,
        }
    }

    /// The request is understood but its parameters are not.
    pub(super) const fn params(message: String) -> Self {
        Self::new(-32602, message)
    }

    /// The chain refuses.
    pub(super) const fn server(message: String) -> Self {
        Self::new(-32000, message)
    }

    /// The contract reverted; `data` is its error. Code and text are geth's, since clients look for them.
    pub(super) fn reverted(data: Bytes) -> Self {
        Self {
            code: 3,
            message: "execution reverted".to_owned(),
            data: Some(data),
        }
    }

    /// The execution stopped on its own, for example out of gas.
    pub(super) fn halted(reason: &revm::context::result::HaltReason) -> Self {
        Self::server(format!("execution halted: {reason:?}"))
    }

    fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = json!(data);
        }
        error
    }
}

/// Answers one HTTP body: a request or a batch of them. Nothing in `body` can make this panic.
pub(super) fn answer(chain: &mut Chain, body: &[u8]) -> Option<Value> {
    let failed = |e: RpcError| Some(json!({ "jsonrpc": "2.0", "id": null, "error": e.to_json() }));
    match serde_json::from_slice::<Value>(body) {
        Err(e) => failed(RpcError::new(-32700, format!("the body is not JSON: {e}"))),
        Ok(Value::Array(requests)) if requests.is_empty() => {
            failed(RpcError::new(-32600, "the batch is empty".to_owned()))
        }
        Ok(Value::Array(requests)) if requests.len() > BATCH_MAX => failed(RpcError::new(
            -32600,
            format!(
                "a batch of {} requests; {BATCH_MAX} is the most",
                requests.len()
            ),
        )),
        Ok(Value::Array(requests)) => {
            let answers: Vec<Value> = requests
                .iter()
                .filter_map(|r| answer_one(chain, r))
                .collect();
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
        Ok(request) => answer_one(chain, &request),
    }
}

/// `None` for a notification: a request without an id wants no answer.
fn answer_one(chain: &mut Chain, request: &Value) -> Option<Value> {
    let id = request.get("id").cloned();
    let outcome = match request.get("method").and_then(Value::as_str) {
        Some(method) => {
            let params = request.get("params").cloned().unwrap_or(Value::Null);
            call(chain, method, params)
        }
        None => Err(RpcError::new(
            -32600,
            "the request names no method".to_owned(),
        )),
    };
    let is_request = request.get("method").is_some_and(Value::is_string);
    let id = match id {
        None if is_request => return None,
        id => id.unwrap_or(Value::Null),
    };
    Some(match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(e) => json!({ "jsonrpc": "2.0", "id": id, "error": e.to_json() }),
    })
}

fn call(chain: &mut Chain, method: &str, params: Value) -> Result<Value, RpcError> {
    let p = Params::new(params)?;
    match method {
        "web3_clientVersion" => Ok(json!(concat!(
            "deltabox-devnet/",
            env!("CARGO_PKG_VERSION")
        ))),
        "net_version" => Ok(json!(chain.chain_id().to_string())),
        "eth_chainId" => Ok(quantity(chain.chain_id())),
        "eth_syncing" => Ok(json!(false)),
        "eth_blockNumber" => Ok(quantity(chain.head_number())),
        "eth_gasPrice" => Ok(quantity(BASE_FEE_WEI + PRIORITY_FEE_WEI)),
        "eth_maxPriorityFeePerGas" => Ok(quantity(PRIORITY_FEE_WEI)),
        "eth_feeHistory" => fee_history(chain, &p),
        "eth_getBlockByNumber" => block_by_number(chain, &p),
        "eth_getBlockByHash" => block_json(chain.block_by_hash(p.get(0)?), p.get_or(1, false)?),
        "eth_getBalance" => state(chain, &p, 1, |c, a| json!(c.account(a).balance)),
        "eth_getTransactionCount" => state(chain, &p, 1, |c, a| quantity(c.account(a).nonce)),
        "eth_getCode" => state(chain, &p, 1, |c, a| json!(c.code(a))),
        "eth_getStorageAt" => {
            let slot: U256 = p.get(1)?;
            state(chain, &p, 2, |c, a| json!(B256::from(c.storage(a, slot))))
        }
        "eth_call" => {
            head_only(chain, &p, 1)?;
            p.nothing_from(2)?;
            Ok(json!(chain.call(&p.get(0)?)?))
        }
        "eth_estimateGas" => {
            head_only(chain, &p, 1)?;
            p.nothing_from(2)?;
            Ok(quantity(chain.estimate_gas(&p.get(0)?)?))
        }
        "eth_sendRawTransaction" => {
            let raw: Bytes = p.get(0)?;
            Ok(json!(chain.send_raw(&raw)?))
        }
        "eth_getTransactionReceipt" => Ok(chain
            .mined(p.get(0)?)
            .map_or(Value::Null, |m| json!(m.receipt))),
        "eth_getTransactionByHash" => {
            Ok(chain.mined(p.get(0)?).map_or(Value::Null, |m| json!(m.tx)))
        }
        "eth_getLogs" => logs(chain, &p.get(0)?),
        "evm_mine" => {
            chain.mine_empty();
            Ok(json!("0x0"))
        }
        "evm_increaseTime" => {
            let seconds: U256 = p.get(0)?;
            let seconds = u32::try_from(seconds)
                .map_err(|_| RpcError::params("more than 2^32 seconds".to_owned()))?;
            Ok(json!(chain.increase_time(u64::from(seconds))))
        }
        other => Err(RpcError::new(
            -32601,
            format!("method {other} is not served"),
        )),
    }
}

/// Positional parameters.
struct Params(Vec<Value>);

impl Params {
    fn new(params: Value) -> Result<Self, RpcError> {
        match params {
            Value::Null => Ok(Self(Vec::new())),
            Value::Array(values) => Ok(Self(values)),
            _ => Err(RpcError::params("params is not an array".to_owned())),
        }
    }

    fn get<T: DeserializeOwned>(&self, i: usize) -> Result<T, RpcError> {
        let value = self
            .0
            .get(i)
            .ok_or_else(|| RpcError::params(format!("parameter {i} is missing")))?;
        T::deserialize(value).map_err(|e| RpcError::params(format!("parameter {i}: {e}")))
    }

    fn get_or<T: DeserializeOwned>(&self, i: usize, default: T) -> Result<T, RpcError> {
        match self.0.get(i) {
            None | Some(Value::Null) => Ok(default),
            Some(_) => self.get(i),
        }
    }

    /// Refuses what would change the meaning and is not served, as state overrides.
    fn nothing_from(&self, i: usize) -> Result<(), RpcError> {
        if self.0.iter().skip(i).all(Value::is_null) {
            return Ok(());
        }
        Err(RpcError::params(format!(
            "parameter {i}: overrides are not served"
        )))
    }
}

fn quantity(n: u64) -> Value {
    json!(U64::from(n))
}

/// Only the newest state is kept; anything else is refused rather than answered wrongly.
fn head_only(chain: &Chain, p: &Params, i: usize) -> Result<(), RpcError> {
    let head = &chain.head().header;
    let wanted: BlockId = p.get_or(i, BlockId::latest())?;
    let is_head = match wanted {
        BlockId::Hash(h) => h.block_hash == head.hash,
        BlockId::Number(n) => number(chain, n) == head.number,
    };
    if is_head {
        return Ok(());
    }
    Err(RpcError::server(format!(
        "state of block {wanted} is not kept: only the newest, {}, is",
        head.number
    )))
}

/// Blocks here are final at once.
fn number(chain: &Chain, tag: BlockNumberOrTag) -> u64 {
    match tag {
        BlockNumberOrTag::Number(n) => n,
        BlockNumberOrTag::Earliest => 0,
        _ => chain.head_number(),
    }
}

fn state(
    chain: &Chain,
    p: &Params,
    block_at: usize,
    read: impl Fn(&Chain, Address) -> Value,
) -> Result<Value, RpcError> {
    head_only(chain, p, block_at)?;
    Ok(read(chain, p.get(0)?))
}

fn block_by_number(chain: &Chain, p: &Params) -> Result<Value, RpcError> {
    let n = number(chain, p.get(0)?);
    block_json(chain.block(n), p.get_or(1, false)?)
}

fn block_json(block: Option<&Block>, full: bool) -> Result<Value, RpcError> {
    let Some(block) = block else {
        return Ok(Value::Null);
    };
    let txs = block.mined.iter();
    let transactions = if full {
        eth::BlockTransactions::Full(txs.map(|m| m.tx.clone()).collect())
    } else {
        eth::BlockTransactions::Hashes(txs.map(|m| m.receipt.transaction_hash).collect())
    };
    let block: eth::Block = eth::Block {
        header: block.header.clone(),
        uncles: Vec::new(),
        transactions,
        withdrawals: None,
    };
    Ok(json!(block))
}

fn fee_history(chain: &Chain, p: &Params) -> Result<Value, RpcError> {
    let asked: U64 = p.get(0)?;
    let newest = number(chain, p.get(1)?).min(chain.head_number());
    let percentiles: Vec<f64> = p.get_or(2, Vec::new())?;
    let count = asked.to::<u64>().clamp(1, FEE_BLOCKS_MAX).min(newest + 1);
    let oldest = newest + 1 - count;
    let ratios = (oldest..=newest)
        .filter_map(|n| chain.block(n))
        .map(|b| b.header.gas_used as f64 / BLOCK_GAS as f64)
        .collect();
    Ok(json!(eth::FeeHistory {
        base_fee_per_gas: vec![u128::from(BASE_FEE_WEI); count as usize + 1],
        gas_used_ratio: ratios,
        oldest_block: oldest,
        reward: Some(vec![
            vec![u128::from(PRIORITY_FEE_WEI); percentiles.len()];
            count as usize
        ]),
        ..eth::FeeHistory::default()
    }))
}

fn logs(chain: &Chain, filter: &eth::Filter) -> Result<Value, RpcError> {
    let mut found = Vec::new();
    for block in blocks_of(chain, filter)? {
        let Some(mined) = &block.mined else { continue };
        for log in mined.receipt.inner.logs() {
            if filter.matches_address(log.address()) && filter.matches_topics(log.topics()) {
                found.push(log);
            }
        }
        if found.len() > LOGS_MAX {
            return Err(RpcError::server(format!(
                "more than {LOGS_MAX} logs: ask for fewer blocks"
            )));
        }
    }
    Ok(json!(found))
}

fn blocks_of<'a>(chain: &'a Chain, filter: &eth::Filter) -> Result<Vec<&'a Block>, RpcError> {
    match &filter.block_option {
        eth::FilterBlockOption::AtBlockHash(hash) => {
            let block = chain.block_by_hash(*hash);
            Ok(vec![block.ok_or_else(|| {
                RpcError::server(format!("block {hash} is unknown"))
            })?])
        }
        eth::FilterBlockOption::Range {
            from_block,
            to_block,
        } => {
            let from = number(chain, from_block.unwrap_or_default());
            let to = number(chain, to_block.unwrap_or_default()).min(chain.head_number());
            Ok((from..=to).filter_map(|n| chain.block(n)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METHODS: [&str; 18] = [
        "eth_feeHistory",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
        "eth_getBalance",
        "eth_getTransactionCount",
        "eth_getCode",
        "eth_getStorageAt",
        "eth_call",
        "eth_estimateGas",
        "eth_sendRawTransaction",
        "eth_getTransactionReceipt",
        "eth_getTransactionByHash",
        "eth_getLogs",
        "evm_mine",
        "evm_increaseTime",
        "eth_chainId",
        "net_version",
        "eth_nonsense",
    ];

    /// Values that come near to what some parameter wants.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..70)
                .prop_map(|b| Value::from(Bytes::from(b).to_string())),
            any::<u64>().prop_map(|n| Value::from(format!("{n:#x}"))),
            any::<[u8; 20]>().prop_map(|a| Value::from(Address::from(a).to_string())),
            any::<[u8; 32]>().prop_map(|h| Value::from(B256::from(h).to_string())),
            prop_oneof!["latest", "earliest", "pending", "safe"].prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            let name = prop_oneof![
                "from",
                "to",
                "data",
                "input",
                "gas",
                "value",
                "fromBlock",
                "toBlock",
                "address",
                "topics",
                "blockHash",
                "blockNumber",
                "accessList",
                "type",
                "chainId"
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..5)
                    .prop_map(|pairs| Value::from(serde_json::Map::from_iter(pairs))),
            ]
        })
    }

    fn chain() -> Chain {
        Chain::new(31_337, [Address::repeat_byte(1)].into_iter())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn any_bytes_get_an_answer_that_is_json_rpc(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let answered = answer(&mut chain(), &body);
            prop_assert!(answered.is_none_or(|a| a["error"].is_object()));
        }

        #[test]
        fn any_parameters_get_a_result_or_an_error_and_change_no_state(
            method in prop::sample::select(&METHODS[..]),
            params in prop::collection::vec(value(), 0..4),
        ) {
            let mut chain = chain();
            let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
            let answered = answer(&mut chain, request.to_string().as_bytes()).unwrap();
            prop_assert_eq!(&answered["id"], &json!(7));
            prop_assert!(answered["error"].is_object() != answered.get("result").is_some());
            let mined = u64::from(method == "evm_mine");
            prop_assert_eq!(chain.head_number(), mined);
        }
    }

    #[test]
    fn a_transaction_cut_short_or_for_another_chain_is_refused_in_words() {
        let mut chain = chain();
        // The example of EIP-155: a legacy transaction for chain 1.
        let raw = "0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a0\
                   28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b38\
                   00ccf555c9f3dc64214b297fb1966a3b6d83";
        let mut send = |raw: &str| {
            let request = json!({ "id": 1, "method": "eth_sendRawTransaction", "params": [raw] });
            let answered = answer(&mut chain, request.to_string().as_bytes()).unwrap();
            answered["error"]["message"].as_str().unwrap().to_owned()
        };
        assert!(send(raw).contains("for chain Some(1), not 31337"));
        for cut in [2, 4, 10, 100, raw.len() - 2] {
            assert!(
                send(&raw[..cut]).contains("does not decode"),
                "{}",
                send(&raw[..cut])
            );
        }
        assert!(send(&format!("{raw}00")).contains("does not decode"));
        assert!(send("0x03c0").contains("does not decode"));
    }
}
