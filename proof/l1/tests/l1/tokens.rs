//! Tokens that behave badly.

use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::{SolCall, SolError};
use l1::Withdrawal;
use l1::devnet::DEV_CHAIN_ID;

use crate::world::{
    ISettlement, World, assert_error, call_raw, reverted, send_transaction, start_devnet,
};

alloy::sol! {
    function setFee(uint256 fee) external;
    function setBroken(bool broken) external;
    function setAttack(bytes calldata attack) external;
    function attacked() external returns (bool);
    function succeeded() external returns (bool);
    error ReentrancyGuardReentrantCall();
    function answer() external returns (bytes memory);
}

async fn world_with(token: &str) -> World {
    World::with_token(start_devnet(DEV_CHAIN_ID).await, Some(token)).await
}

async fn send(world: &World, to: Address, data: Vec<u8>) {
    assert!(send_transaction(&world.url, 9, to, data, 3_000_000).await);
}

#[tokio::test]
async fn a_token_that_returns_nothing_works_and_one_that_answers_false_does_not() {
    let world = world_with("NoReturnToken").await;
    let (user, account, deposits) = world.depositor(1, &[1_000]).await;
    let me = user.client().address();
    let grant = Withdrawal {
        account,
        owner: me,
        amount_micro: 400,
    };
    let batch = world.next_batch(&deposits, &[grant]).await;
    world.operator.commit_batch(&batch).await.unwrap();

    send(
        &world,
        world.deployment.token,
        setBrokenCall { broken: true }.abi_encode(),
    )
    .await;
    assert_error(
        &reverted(user.claim(me).await).1,
        ISettlement::TransferFailed {},
    );
    assert_error(
        &reverted(user.deposit(account, 1).await).1,
        ISettlement::TransferFailed {},
    );
    send(
        &world,
        world.deployment.token,
        setBrokenCall { broken: false }.abi_encode(),
    )
    .await;
    assert_eq!(user.claim(me).await.unwrap(), U256::from(400));
}

#[tokio::test]
async fn a_token_that_delivers_less_than_asked_is_refused() {
    let world = world_with("NoReturnToken").await;
    let (user, account, _) = world.depositor(1, &[1_000]).await;
    send(
        &world,
        world.deployment.token,
        setFeeCall { fee: U256::from(3) }.abi_encode(),
    )
    .await;
    user.mint_test_token(user.client().address(), 50)
        .await
        .unwrap();
    let short = ISettlement::WrongAmountReceived {
        expected: U256::from(50),
        received: U256::from(47),
    };
    assert_error(&reverted(user.deposit(account, 50).await).1, short);
    assert_eq!(user.status().await.unwrap().deposits, 1);
}

#[tokio::test]
async fn a_token_that_calls_back_finds_every_door_that_writes_shut() {
    let world = world_with("ReenteringToken").await;
    let (user, account, _) = world.depositor(1, &[1_000]).await;
    let (token, me) = (world.deployment.token, user.client().address());
    let artifact = concat!(env!("CARGO_MANIFEST_DIR"), "/artifacts/Settlement.json");
    let artifact: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(artifact).unwrap()).unwrap();
    let abi: alloy::json_abi::JsonAbi = serde_json::from_value(artifact["abi"].clone()).unwrap();
    let writers = abi.functions().filter(|f| {
        !matches!(
            f.state_mutability,
            alloy::json_abi::StateMutability::View | alloy::json_abi::StateMutability::Pure
        )
    });
    let mut doors = 0;
    for function in writers {
        // Zeros decode as arguments of every door here but the batch, which needs an offset to its rows.
        let mut attack = function.selector().to_vec();
        attack.extend_from_slice(&[0; 32 * 64]);
        if function.name == "commitBatch" {
            attack = crate::world::commit_call(&crate::world::unproven(1, &[], &[])).abi_encode();
        }
        send(
            &world,
            token,
            setAttackCall {
                attack: attack.into(),
            }
            .abi_encode(),
        )
        .await;
        user.mint_test_token(me, 7).await.unwrap();
        user.deposit(account, 7).await.unwrap();
        let read = async |data: Vec<u8>| call_raw(&world.url, me, token, data, None).await.unwrap();
        let attacked = attackedCall::abi_decode_returns(&read(attackedCall {}.abi_encode()).await);
        assert!(attacked.unwrap(), "{} was not tried", function.name);
        let succeeded =
            succeededCall::abi_decode_returns(&read(succeededCall {}.abi_encode()).await);
        assert!(!succeeded.unwrap(), "{} let the token in", function.name);
        // These ask for a role that a token has not, or for a proxy that is not set up yet.
        let is_for_roles = [
            "grantRole",
            "revokeRole",
            "renounceRole",
            "initialize",
            "upgradeToAndCall",
        ]
        .contains(&function.name.as_str());
        if !is_for_roles {
            let answer =
                answerCall::abi_decode_returns(&read(answerCall {}.abi_encode()).await).unwrap();
            assert_eq!(
                answer,
                Bytes::from(ReentrancyGuardReentrantCall {}.abi_encode()),
                "{}",
                function.name
            );
        }
        doors += 1;
    }
    assert_eq!(doors, 26, "a new door is tried too; count it here");
}

#[tokio::test]
async fn a_token_that_calls_back_while_it_pays_out_gets_nothing_twice() {
    let world = world_with("ReenteringToken").await;
    let (user, account) = world.funded(1, 1_000).await;
    let me = user.client().address();
    let token = world.deployment.token;
    // The token itself is owed money too, so that its claim would have something to take.
    let grants = [me, token].map(|owner| Withdrawal {
        account,
        owner,
        amount_micro: 100,
    });
    let batch = world.next_batch(&[], &grants).await;
    world.operator.commit_batch(&batch).await.unwrap();
    let attack = ISettlement::claimCall { to: token }.abi_encode();
    send(
        &world,
        token,
        setAttackCall {
            attack: attack.into(),
        }
        .abi_encode(),
    )
    .await;
    assert_eq!(user.claim(me).await.unwrap(), U256::from(100));
    let succeeded = call_raw(&world.url, me, token, succeededCall {}.abi_encode(), None)
        .await
        .unwrap();
    assert!(!succeededCall::abi_decode_returns(&succeeded).unwrap());
    assert_eq!(user.pending(token).await.unwrap(), U256::from(100));
    assert_eq!(
        user.status().await.unwrap().collateral_micro,
        U256::from(900)
    );
}
