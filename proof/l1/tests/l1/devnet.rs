//! The development chain as a stranger's client sees it.

use alloy::consensus::TxEnvelope;
use alloy::consensus::proofs::calculate_transaction_root;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, U256};
use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use l1::L1Error;
use l1::devnet::{DEV_CHAIN_ID, Devnet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{World, provider, start_devnet};

#[tokio::test]
async fn a_busy_port_is_one_clear_error() {
    let first = Devnet::bind(0, DEV_CHAIN_ID).await.unwrap();
    let port: u16 = first.url().rsplit(':').next().unwrap().parse().unwrap();
    let error = Devnet::bind(port, DEV_CHAIN_ID).await.err().unwrap();
    assert!(matches!(error, L1Error::Port { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&port.to_string()) && text.contains("in use"),
        "{text}"
    );
}

#[tokio::test]
async fn blocks_transactions_receipts_and_logs_fit_each_other() {
    let world = World::new().await;
    let (_, _, deposits) = world.depositor(1, &[5, 6]).await;
    let node = provider(&world.url);
    let head = node.get_block_number().await.unwrap();
    let mut parent = None;
    for n in 0..=head {
        let block = node
            .get_block_by_number(n.into())
            .full()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(block.header.number, n);
        assert_eq!(block.header.hash, block.header.inner.hash_slow());
        let txs: Vec<TxEnvelope> = block
            .transactions
            .txns()
            .map(|tx| tx.inner.inner().clone())
            .collect();
        assert_eq!(
            block.header.transactions_root,
            calculate_transaction_root(&txs)
        );
        if let Some(parent) = parent {
            assert_eq!(block.header.parent_hash, parent);
        }
        parent = Some(block.header.hash);
        let by_hash = node
            .get_block_by_hash(block.header.hash)
            .full()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(by_hash, block);
        for tx in block.transactions.txns() {
            let hash = *tx.inner.tx_hash();
            let receipt = node.get_transaction_receipt(hash).await.unwrap().unwrap();
            assert_eq!(receipt.block_hash, Some(block.header.hash));
            assert_eq!(receipt.gas_used, block.header.gas_used);
            assert_eq!(receipt.from, tx.inner.signer());
            assert_eq!(
                &node.get_transaction_by_hash(hash).await.unwrap().unwrap(),
                tx
            );
        }
    }
    let ours = Filter::new()
        .address(world.deployment.settlement)
        .from_block(0);
    let logs = node
        .get_logs(
            &ours
                .clone()
                .event("Deposited(uint64,uint32,address,uint64)"),
        )
        .await
        .unwrap();
    let blocks: Vec<u64> = logs.iter().map(|l| l.block_number.unwrap()).collect();
    assert_eq!(blocks, deposits.iter().map(|d| d.block).collect::<Vec<_>>());
    assert_eq!(
        node.get_logs(&ours.clone().topic1(U256::from(1)))
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        node.get_logs(&ours.to_block(deposits[0].block))
            .await
            .unwrap()
            .len(),
        9,
        "seven of the set-up, the account, the deposit"
    );
    assert_eq!(
        node.get_logs(&Filter::new().address(Address::ZERO).from_block(0))
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn every_method_that_a_client_needs_is_served() {
    let world = World::new().await;
    let node = provider(&world.url);
    let operator = world.operator.client().address();
    assert_eq!(node.get_chain_id().await.unwrap(), DEV_CHAIN_ID);
    assert_eq!(node.get_net_version().await.unwrap(), DEV_CHAIN_ID);
    assert!(
        node.get_client_version()
            .await
            .unwrap()
            .starts_with("deltabox-devnet/")
    );
    assert!(matches!(
        node.syncing().await.unwrap(),
        alloy::rpc::types::SyncStatus::None
    ));
    assert!(node.get_gas_price().await.unwrap() > 0);
    node.get_max_priority_fee_per_gas().await.unwrap();
    let fees = node
        .get_fee_history(10, BlockNumberOrTag::Latest, &[50.0])
        .await
        .unwrap();
    assert_eq!(fees.base_fee_per_gas.len(), fees.gas_used_ratio.len() + 1);
    assert_eq!(fees.reward.unwrap().len(), fees.gas_used_ratio.len());
    assert!(node.get_balance(operator).await.unwrap() > U256::ZERO);
    assert_eq!(node.get_transaction_count(operator).await.unwrap(), 13);
    assert!(
        !node
            .get_code_at(world.deployment.settlement)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(node.get_code_at(operator).await.unwrap().is_empty());
    let root = node
        .get_storage_at(world.deployment.settlement, U256::from(2))
        .await
        .unwrap();
    assert_eq!(root, crate::world::GENESIS_ROOT);
    assert!(
        node.get_block_by_number(999_999.into())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        node.get_transaction_receipt(Default::default())
            .await
            .unwrap()
            .is_none()
    );
    let old = node
        .get_balance(operator)
        .block_id(BlockId::number(0))
        .await;
    assert!(old.unwrap_err().to_string().contains("only the newest"));
    let unknown: Result<String, _> = node.raw_request("eth_mining".into(), ()).await;
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("eth_mining is not served")
    );
}

async fn http(url: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .unwrap();
    // The server may answer and close before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_no_request_gets_an_error_and_the_next_client_is_served() {
    let url = start_devnet(DEV_CHAIN_ID).await;
    let post = |body: &str| {
        let length = body.len();
        format!(
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    assert!(
        http(
            &url,
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .await
        .contains("405")
    );
    assert!(
        http(&url, post("nonsense").as_bytes())
            .await
            .contains("-32700")
    );
    assert!(http(&url, post("[]").as_bytes()).await.contains("-32600"));
    assert!(http(&url, post("{}").as_bytes()).await.contains("-32600"));
    let nested = "[".repeat(200_000);
    assert!(
        http(&url, post(&nested).as_bytes())
            .await
            .contains("-32700")
    );
    let large = post(&" ".repeat(2 << 20));
    assert!(http(&url, large.as_bytes()).await.contains("413"));
    assert!(
        http(&url, b"\0\0\0\x01garbage\r\n\r\n")
            .await
            .contains("400")
    );
    let note = r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#;
    assert!(http(&url, post(note).as_bytes()).await.contains("204"));
    let batch =
        r#"[{"id":1,"method":"eth_chainId"},{"id":"b","method":"eth_blockNumber","params":[]},7]"#;
    let answer = http(&url, post(batch).as_bytes()).await;
    assert!(
        answer.contains("0x7a69") && answer.contains(r#""id":"b""#) && answer.contains("-32600"),
        "{answer}"
    );
    assert_eq!(provider(&url).get_chain_id().await.unwrap(), DEV_CHAIN_ID);
}
