//! The same way on anvil, which is another node around the EVM: the client and the embedded chain's likeness to it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use alloy::primitives::Address;
use alloy::providers::Provider;
use l1::devnet::DEV_KEYS;
use l1::{L1Client, L1Error};
use serde_json::{Value, json};

use crate::exit::everyone_leaves;
use crate::settlement::the_whole_way;
use crate::world::{World, client, provider};

struct Anvil(Child);

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A new anvil; `None` where it is not installed.
async fn anvil(more: &[&str]) -> Option<(Anvil, String)> {
    let binary = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../.tools/l1/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
    );
    if !std::path::Path::new(binary).exists() {
        // Tools are installed by the runner; a bare `cargo test` does without.
        assert!(
            std::env::var_os("CI").is_none(),
            "anvil is not installed: node proof/l1/build.mjs --install"
        );
        println!("anvil is not installed: not tried");
        return None;
    }
    let port = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let child = Command::new(binary)
        .args(["--host", "127.0.0.1", "--silent"])
        .args(["--port", &port.to_string()])
        .args(more)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let anvil = Anvil(child);
    let url = format!("http://127.0.0.1:{port}");
    let mut tries = 0;
    while L1Client::connect(&url, DEV_KEYS[0]).await.is_err() {
        tries += 1;
        assert!(tries < 200, "anvil does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some((anvil, url))
}

#[tokio::test]
async fn the_whole_way_works_on_anvil_too() {
    let Some((_anvil, url)) = anvil(&[]).await else {
        return;
    };
    the_whole_way(World::with_token(url, None).await).await;
}

#[tokio::test]
async fn a_freeze_and_everyones_escape_work_on_anvil_too() {
    let Some((_anvil, url)) = anvil(&[]).await else {
        return;
    };
    everyone_leaves(World::short_on(url).await).await;
}

#[tokio::test]
async fn a_transaction_that_is_stuck_is_sent_again_with_a_higher_fee_and_mined_once() {
    let Some((_anvil, url)) = anvil(&[]).await else {
        return;
    };
    let world = World::with_token(url, None).await;
    let node = provider(&world.url);
    let ask = async |method: &'static str, params: Value| {
        let answer = node.raw_request::<_, Value>(method.into(), params);
        answer.await.unwrap()
    };
    ask("evm_setAutomine", json!([false])).await;
    let impatient = client(&world.url, 1).await;
    let impatient = impatient.bump_after(Duration::from_millis(300));
    let nonce = node
        .get_transaction_count(impatient.address())
        .await
        .unwrap();
    let user = impatient.settlement(&world.deployment).await.unwrap();
    let opening = tokio::spawn(async move { user.open_account().await });
    let mut fees = std::collections::BTreeSet::new();
    while fees.len() < 3 {
        let pool = ask("txpool_content", json!([])).await;
        let pending = pool["pending"].as_object().unwrap();
        let all = pending
            .values()
            .flat_map(|of| of.as_object().unwrap().values());
        for tx in all {
            fees.insert(tx["maxFeePerGas"].to_string());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ask("evm_mine", json!([])).await;
    assert_eq!(opening.await.unwrap().unwrap(), 1);
    let me = client(&world.url, 1).await.address();
    assert_eq!(node.get_transaction_count(me).await.unwrap(), nonce + 1);
}

#[tokio::test]
async fn a_batch_that_a_reorganisation_took_away_is_sent_again() {
    let Some((_anvil, url)) = anvil(&[]).await else {
        return;
    };
    let world = World::with_token(url, None).await;
    let (_, _, deposits) = world.depositor(1, &[500]).await;
    let node = provider(&world.url);
    let batch = world.next_batch(&deposits, &[]).await;
    world.operator.commit_batch(&batch).await.unwrap();
    // Depth, and transactions to put into the new blocks: none.
    let reorg = json!([1, []]);
    node.raw_request::<_, Value>("anvil_reorg".into(), reorg)
        .await
        .unwrap();
    assert_eq!(world.operator.status().await.unwrap().batch_no, 0);
    let again = world.operator.commit_batch(&batch).await.unwrap();
    assert!(!again.already);
    let status = world.operator.status().await.unwrap();
    assert_eq!((status.batch_no, status.root), (1, batch.new_root));
    assert!(world.operator.commit_batch(&batch).await.unwrap().already);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_happen_and_sends_nothing() {
    let world = World::new().await;
    let dry = client(&world.url, 1).await.dry_run();
    let user = dry.settlement(&world.deployment).await.unwrap();
    let before = user.status().await.unwrap().block;
    assert!(matches!(
        user.open_account().await,
        Err(L1Error::DryRun { gas, .. }) if gas > 21_000
    ));
    let (reason, _) = crate::world::reverted(user.claim(dry.address()).await);
    assert!(reason.contains("nothing to claim"), "{reason}");
    assert_eq!(user.status().await.unwrap().block, before);
}

#[tokio::test]
async fn the_development_accounts_are_those_of_anvil() {
    let url = crate::world::start_devnet(l1::devnet::DEV_CHAIN_ID).await;
    let first: Address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
        .parse()
        .unwrap();
    let last: Address = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"
        .parse()
        .unwrap();
    assert_eq!(client(&url, 0).await.address(), first);
    assert_eq!(client(&url, 9).await.address(), last);
}
