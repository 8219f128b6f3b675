//! The client: once and only once, in order, and clear words for every trouble.

use alloy::primitives::{Address, U256};
use alloy::providers::Provider;
use alloy::sol_types::SolCall;
use l1::devnet::{DEV_CHAIN_ID, DEV_KEYS};
use l1::{L1Client, L1Error, is_dev_chain};

use crate::world::{
    GENESIS_ROOT, ISettlement, OPERATOR, SHORT, World, client, provider, reverted, start_devnet,
    test_bytecode, unproven,
};

#[tokio::test]
async fn deploying_gives_a_record_that_opens_the_contract_in_its_genesis_state() {
    let url = start_devnet(DEV_CHAIN_ID).await;
    let operator = client(&url, 0).await;
    let record = operator.deploy(GENESIS_ROOT, None).await.unwrap();
    assert_eq!(
        (record.chain_id, record.genesis_root),
        (DEV_CHAIN_ID, GENESIS_ROOT)
    );
    let settlement = operator.settlement(&record).await.unwrap();
    let status = settlement.status().await.unwrap();
    assert_eq!(
        (status.root, status.batch_no, status.deposits),
        (GENESIS_ROOT, 0, 0)
    );
    assert_eq!(settlement.committed(1).await.unwrap(), None);
    // A second domain over the same token.
    let other = operator
        .deploy(U256::from(1), Some(record.token))
        .await
        .unwrap();
    assert_eq!(other.token, record.token);
    assert_ne!(other.settlement, record.settlement);
}

#[tokio::test]
async fn an_insecure_key_is_refused_off_development_chains_by_client_and_contract() {
    assert!(is_dev_chain(31_337) && is_dev_chain(1_337) && !is_dev_chain(1));
    let url = start_devnet(5).await;
    let operator = client(&url, 0).await;
    let verifier = operator
        .create("verifier", test_bytecode("TinyVerifier"))
        .await
        .unwrap();
    let block = operator.block_number().await.unwrap();
    let refused = operator
        .deploy_over(operator.address(), GENESIS_ROOT, verifier, verifier)
        .await;
    assert!(
        matches!(refused, Err(L1Error::InsecureKey { chain_id: 5 })),
        "{refused:?}"
    );
    assert_eq!(
        operator.block_number().await.unwrap(),
        block,
        "nothing was sent"
    );

    alloy::sol! { function make(address code, bytes data) external; }
    let poseidon = operator.deploy_poseidon().await.unwrap();
    let behind = operator
        .deploy_code(&SHORT, verifier, poseidon)
        .await
        .unwrap();
    let initialize = ISettlement::initializeCall {
        genesisRoot: GENESIS_ROOT,
        verifier,
        admin: operator.address(),
        operator: operator.address(),
        guardian: operator.address(),
    };
    let data = initialize.abi_encode().into();
    let arguments = makeCall { code: behind, data }.abi_encode();
    let artifact = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/artifacts/SettlementProxy.json"
    );
    let artifact: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(artifact).unwrap()).unwrap();
    let code: alloy::primitives::Bytes = artifact["bytecode"].as_str().unwrap().parse().unwrap();
    let code = [&code[..], &arguments[4..]].concat();
    let (reason, data) = reverted(operator.create("settlement", code.into()).await);
    crate::world::assert_error(
        &data,
        ISettlement::InsecureKey {
            chainId: U256::from(5),
        },
    );
    assert!(reason.contains("INSECURE"), "{reason}");
}

#[tokio::test]
async fn committing_a_batch_again_sends_nothing_and_tells_of_the_first_time() {
    let world = World::new().await;
    let batch = world.next_batch(&[], &[]).await;
    let first = world.operator.commit_batch(&batch).await.unwrap();
    let block = world.operator.client().block_number().await.unwrap();
    // Also for somebody who could not commit it.
    for key in [0, 3] {
        let again = world.user(key).await.commit_batch(&batch).await.unwrap();
        assert_eq!(
            again,
            l1::Committed {
                already: true,
                ..first
            }
        );
    }
    assert_eq!(world.operator.client().block_number().await.unwrap(), block);

    let mut different = batch.clone();
    different.new_root += U256::from(1);
    let refused = world.operator.commit_batch(&different).await;
    assert!(
        matches!(refused, Err(L1Error::DifferentBatch { batch_no: 1, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn two_provers_of_the_operator_that_send_the_same_batch_at_once_both_end_well() {
    let world = World::new().await;
    let other = world.user(OPERATOR).await;
    for _ in 0..3 {
        let batch = world.next_batch(&[], &[]).await;
        let (a, b) = tokio::join!(
            world.operator.commit_batch(&batch),
            other.commit_batch(&batch)
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.tx, a.block), (b.tx, b.block));
        assert!(a.already != b.already, "one of them was first");
    }
    assert_eq!(other.status().await.unwrap().batch_no, 3);
}

#[tokio::test]
async fn whoever_is_not_the_operator_is_told_so_and_nothing_is_sent() {
    let world = World::new().await;
    let stranger = world.user(3).await;
    let batch = world.next_batch(&[], &[]).await;
    let block = stranger.client().block_number().await.unwrap();
    let error = stranger.commit_batch(&batch).await.unwrap_err();
    let (me, boss) = (stranger.client().address(), world.deployment.operator);
    assert!(
        matches!(error, L1Error::NotOperator { batch_no: 1, signer, operator } if (signer, operator) == (me, boss)),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains(&me.to_string()) && text.contains(&boss.to_string()),
        "{text}"
    );
    assert_eq!(stranger.client().block_number().await.unwrap(), block);
}

#[tokio::test]
async fn the_operator_is_the_deployer_or_whom_the_deployer_names() {
    let url = start_devnet(DEV_CHAIN_ID).await;
    let deployer = client(&url, 1).await;
    let own = deployer.deploy(GENESIS_ROOT, None).await.unwrap();
    assert_eq!(own.operator, deployer.address());
    let named = client(&url, 2).await.address();
    let record = deployer
        .deploy_for(named, GENESIS_ROOT, Some(own.token))
        .await
        .unwrap();
    assert_eq!(record.operator, named);
    let opened = deployer.settlement(&record).await.unwrap();
    let refused = opened.commit_batch(&unproven(1, &[], &[])).await;
    assert!(
        matches!(refused, Err(L1Error::NotOperator { operator, .. }) if operator == named),
        "{refused:?}"
    );

    let (reason, data) = reverted(
        deployer
            .deploy_for(Address::ZERO, GENESIS_ROOT, Some(own.token))
            .await,
    );
    crate::world::assert_error(&data, ISettlement::NoOperator {});
    assert!(reason.contains("no operator"), "{reason}");
}

#[tokio::test]
async fn a_batch_before_its_turn_is_an_error_that_names_the_next() {
    let world = World::new().await;
    let refused = world.operator.commit_batch(&unproven(3, &[], &[])).await;
    assert!(
        matches!(refused, Err(L1Error::OutOfOrder { next: 1, given: 3 })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_batch_with_a_bad_proof_is_not_sent_and_the_error_says_so() {
    let world = World::new().await;
    let mut batch = world.next_batch(&[], &[]).await;
    batch.time_ns += 1;
    let block = world.operator.client().block_number().await.unwrap();
    let (reason, _) = reverted(world.operator.commit_batch(&batch).await);
    assert!(reason.contains("proof does not hold"), "{reason}");
    assert_eq!(world.operator.client().block_number().await.unwrap(), block);
}

#[tokio::test]
async fn a_batch_is_found_again_behind_thousands_of_blocks() {
    let world = World::new().await;
    let batch = world.next_batch(&[], &[]).await;
    let first = world.operator.commit_batch(&batch).await.unwrap();
    mine(&world.url, 4_500).await;
    let again = world.operator.commit_batch(&batch).await.unwrap();
    assert_eq!((again.tx, again.already), (first.tx, true));
}

async fn mine(url: &str, blocks: u32) {
    let provider = provider(url);
    for _ in 0..blocks {
        let _: String = provider.raw_request("evm_mine".into(), ()).await.unwrap();
    }
}

#[tokio::test]
async fn deposits_are_told_in_order_once_and_only_when_deep_enough() {
    let world = World::new().await;
    let (user, account, deposits) = world.depositor(1, &[10, 20]).await;
    let mut at_once = user.watch_deposits(0, 0);
    assert_eq!(at_once.poll(&user).await.unwrap(), deposits);
    assert_eq!(at_once.poll(&user).await.unwrap(), []);
    assert_eq!(at_once.next_index(), 2);

    let mut careful = user.watch_deposits(1, 2);
    assert_eq!(careful.poll(&user).await.unwrap(), []);
    mine(&world.url, 1).await;
    assert_eq!(careful.poll(&user).await.unwrap(), []);
    mine(&world.url, 1).await;
    assert_eq!(careful.poll(&user).await.unwrap(), deposits[1..]);

    user.mint_test_token(user.client().address(), 30)
        .await
        .unwrap();
    user.approve(30).await.unwrap();
    let third = user.deposit(account, 30).await.unwrap();
    assert_eq!(at_once.poll(&user).await.unwrap(), [third]);
    assert_eq!(careful.poll(&user).await.unwrap(), []);
    // A watcher that starts anew from its index finds what was missed, however many blocks ago.
    mine(&world.url, 2_100).await;
    let mut anew = user.watch_deposits(2, 2);
    assert_eq!(anew.poll(&user).await.unwrap(), [third]);
    assert_eq!(careful.poll(&user).await.unwrap(), [third]);
}

#[tokio::test]
async fn a_node_that_is_not_there_a_bad_address_and_a_bad_key_are_clear_errors() {
    // A port that was just free: nobody listens.
    let port = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let url = format!("http://127.0.0.1:{port}");
    let error = L1Client::connect(&url, DEV_KEYS[0]).await.err().unwrap();
    assert!(matches!(error, L1Error::NoAnswer { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&url) && text.contains("refused"), "{text}");

    for bad in ["https://127.0.0.1:1", "nonsense", "ftp://x"] {
        let error = L1Client::connect(bad, DEV_KEYS[0]).await.err().unwrap();
        assert!(matches!(error, L1Error::BadUrl { .. }), "{error:?}");
    }
    for bad in [
        "",
        "0x12",
        &DEV_KEYS[0][..64],
        "0x0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let error = L1Client::connect(&url, bad).await.err().unwrap();
        assert!(matches!(error, L1Error::BadSigner), "{error:?}");
        assert!(bad.is_empty() || !error.to_string().contains(bad));
    }
}

#[tokio::test]
async fn a_record_of_another_chain_or_of_contracts_that_are_not_there_is_refused() {
    let world = World::new().await;
    let operator = world.operator.client();
    let mut record = world.deployment.clone();
    record.chain_id = 1;
    let refused = operator.settlement(&record).await.err().unwrap();
    assert!(matches!(
        refused,
        L1Error::WrongChain {
            wanted: 1,
            got: 31_337
        }
    ));
    let mut record = world.deployment.clone();
    record.settlement = Address::repeat_byte(5);
    let refused = operator
        .settlement(&record)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("no contract at"), "{refused}");
    let mut record = world.deployment.clone();
    record.vk_hash.0[0] ^= 1;
    let refused = operator
        .settlement(&record)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("another key"), "{refused}");
}
