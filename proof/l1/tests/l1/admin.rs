//! What the admin, the guardian and the operator may do, when, and what none of them may.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::sol_types::{SolCall, SolError};
use l1::{L1Error, RequestKind, Roles, Terms};

use crate::world::{
    GENESIS_ROOT, HOUR_S, ISettlement, SHORT, World, assert_bytes, assert_error, client, reverted,
    test_bytecode, unproven,
};

alloy::sol! {
    error AccessControlUnauthorizedAccount(address account, bytes32 neededRole);
    function grantRole(bytes32 role, address account) external;
    function revokeRole(bytes32 role, address account) external;
    function upgradeToAndCall(address code, bytes data) external payable;
}

use ISettlement::Change;

async fn assert_denied<C: SolCall>(world: &World, call: &C, role: B256) {
    for key in [1, 9] {
        let account = client(&world.url, key).await.address();
        let data = world.call(account, call).await.err();
        let wanted = AccessControlUnauthorizedAccount {
            account,
            neededRole: role,
        };
        let data = data.unwrap_or_else(|| panic!("{} let a stranger in", C::SIGNATURE));
        assert_bytes(&data, wanted);
    }
}

fn announce(change: Change, target: Address, argument: U256) -> ISettlement::announceCall {
    ISettlement::announceCall {
        change,
        target,
        argument,
    }
}

#[tokio::test]
async fn every_door_of_a_role_is_shut_to_strangers() {
    let world = World::short().await;
    let (admin, some) = (B256::ZERO, Address::repeat_byte(5));
    let guardian = keccak256("GUARDIAN");
    assert_denied(&world, &ISettlement::pauseCall {}, guardian).await;
    assert_denied(&world, &ISettlement::unpauseCall {}, admin).await;
    let limits = ISettlement::setLimitsCall {
        depositMax: 1,
        collateralMax: 1,
    };
    assert_denied(&world, &limits, admin).await;
    assert_denied(&world, &ISettlement::collectFeesCall { to: some }, admin).await;
    let call = announce(Change::Upgrade, some, U256::ZERO);
    assert_denied(&world, &call, admin).await;
    let call = ISettlement::withdrawChangeCall {
        change: Change::Upgrade,
        target: some,
        argument: U256::ZERO,
    };
    assert_denied(&world, &call, admin).await;
    let call = ISettlement::addVerifierCall {
        verifier: some,
        tag: U256::from(1),
    };
    assert_denied(&world, &call, admin).await;
    assert_denied(&world, &ISettlement::removeVerifierCall { key: 0 }, admin).await;
    let call = upgradeToAndCallCall {
        code: some,
        data: Bytes::new(),
    };
    assert_denied(&world, &call, admin).await;
    let call = grantRoleCall {
        role: keccak256("OPERATOR"),
        account: some,
    };
    assert_denied(&world, &call, admin).await;
    // The proxy is set up once, the code behind it never.
    let again = ISettlement::initializeCall {
        genesisRoot: U256::from(1),
        verifier: world.deployment.verifier,
        admin: some,
        operator: some,
        guardian: some,
    };
    for at in [world.deployment.settlement, world.deployment.code] {
        let data = crate::world::call_raw(&world.url, some, at, again.abi_encode(), None).await;
        assert_eq!(
            data.unwrap_err().to_vec(),
            keccak256("InvalidInitialization()")[..4]
        );
    }
}

#[tokio::test]
async fn the_admin_moves_the_operators_role_and_the_old_one_is_a_stranger() {
    let world = World::short().await;
    let role = keccak256("OPERATOR");
    let (old, new) = (world.operator.client().address(), world.user(5).await);
    let account = new.client().address();
    world
        .send(0, &grantRoleCall { role, account })
        .await
        .unwrap();
    let account = old;
    world
        .send(0, &revokeRoleCall { role, account })
        .await
        .unwrap();
    let batch = world.next_batch(&[], &[]).await;
    let wrong = ISettlement::NotOperator { caller: old };
    assert_error(&world.refusal(&batch).await, wrong);
    assert!(matches!(
        world.operator.commit_batch(&batch).await,
        Err(L1Error::NotOperator { .. })
    ));
    new.commit_batch(&batch).await.unwrap();
}

#[tokio::test]
async fn a_verifying_key_comes_after_the_delay_and_the_last_one_stays() {
    let world = World::short().await;
    let operator = world.operator.client();
    let code = test_bytecode("TinyVerifier");
    let verifier = operator.create("another verifier", code).await.unwrap();
    let tag = U256::from(77);
    let add = ISettlement::addVerifierCall { verifier, tag };
    let wrong = || ISettlement::NotAnnounced {
        change: Change::AddVerifier,
        target: verifier,
        argument: tag,
    };
    assert_error(&world.send(0, &add).await.unwrap_err(), wrong());
    let call = announce(Change::AddVerifier, verifier, tag);
    world.send(0, &call).await.unwrap();
    world.pass(SHORT.change_delay_s - 60).await;
    let early = world.send(0, &add).await.unwrap_err();
    assert!(ISettlement::TooEarly::abi_decode(&early).is_ok());
    world.pass(120).await;
    world.send(0, &add).await.unwrap();
    // Used up.
    assert_error(&world.send(0, &add).await.unwrap_err(), wrong());

    let remove = ISettlement::removeVerifierCall { key: 0 };
    let target = world.deployment.verifier;
    let call = announce(Change::RemoveVerifier, target, U256::ZERO);
    world.send(0, &call).await.unwrap();
    assert!(world.send(0, &remove).await.is_err());
    world.pass(SHORT.change_delay_s + 60).await;
    world.send(0, &remove).await.unwrap();
    let batch = world.next_batch(&[], &[]).await;
    let wrong = ISettlement::KeyNotInUse { key: 0 };
    assert_error(&world.refusal(&batch).await, wrong);
    let call = announce(Change::RemoveVerifier, verifier, U256::from(1));
    world.send(0, &call).await.unwrap();
    world.pass(SHORT.change_delay_s + 60).await;
    let last = ISettlement::removeVerifierCall { key: 1 };
    assert_error(
        &world.send(0, &last).await.unwrap_err(),
        ISettlement::LastKey {},
    );
}

#[tokio::test]
async fn an_upgrade_is_announced_users_leave_first_and_none_comes_while_frozen() {
    let world = World::short().await;
    let (alice, account) = world.funded(1, 1_000).await;
    let d = &world.deployment;
    let terms = Terms {
        requests_max: 11,
        ..SHORT
    };
    let deployer = world.operator.client();
    let code = deployer
        .deploy_code(&terms, d.token, d.poseidon)
        .await
        .unwrap();
    let data = Bytes::new();
    let argument = U256::from_be_bytes(keccak256(&data).0);
    let upgrade = upgradeToAndCallCall { code, data };
    assert!(world.send(0, &upgrade).await.is_err());
    let call = announce(Change::Upgrade, code, argument);
    world.send(0, &call).await.unwrap();
    // Forced out and paid, long before the change may come.
    alice
        .request(account, RequestKind::Withdrawal(1_000))
        .await
        .unwrap();
    let owner = alice.client().address();
    let row = l1::Withdrawal {
        account,
        owner,
        amount_micro: 1_000,
    };
    let batch = world.next_batch(&[], &[row]).await;
    world.operator.commit_batch(&batch).await.unwrap();
    assert_eq!(alice.claim(owner).await.unwrap(), U256::from(1_000));
    world.pass(2 * HOUR_S).await;
    let early = world.send(0, &upgrade).await.unwrap_err();
    assert!(ISettlement::TooEarly::abi_decode(&early).is_ok());
    world.pass(SHORT.change_delay_s).await;
    world.send(0, &upgrade).await.unwrap();
    let terms = world
        .call(owner, &ISettlement::parametersCall {})
        .await
        .unwrap();
    assert_eq!(terms.requestsMax, 11);
    let status = alice.status().await.unwrap();
    assert_eq!((status.batch_no, status.root), (2, batch.new_root));

    world.send(0, &call).await.unwrap();
    alice.request(account, RequestKind::Close).await.unwrap();
    world.pass(2 * SHORT.change_delay_s).await;
    alice.freeze(2).await.unwrap();
    let frozen = world.send(0, &upgrade).await.unwrap_err();
    assert_error(&frozen, ISettlement::Frozen {});
    let frozen = world.send(0, &call).await.unwrap_err();
    assert_error(&frozen, ISettlement::Frozen {});
}

#[tokio::test]
async fn terms_that_would_let_a_change_overtake_an_exit_are_refused() {
    let world = World::short().await;
    let d = &world.deployment;
    let refused = [
        Terms {
            change_delay_s: 2 * HOUR_S,
            ..SHORT
        },
        Terms {
            forced_window_s: 0,
            ..SHORT
        },
        Terms {
            exit_window_s: 400 * 24 * HOUR_S,
            change_delay_s: 500 * 24 * HOUR_S,
            ..SHORT
        },
        Terms {
            requests_max: 0,
            ..SHORT
        },
    ];
    for terms in refused {
        let deployer = world.operator.client();
        let roles = Roles::all(deployer.address());
        let made = deployer.deploy_on(&terms, roles, GENESIS_ROOT, d.token, d.verifier);
        assert_error(&reverted(made.await).1, ISettlement::BadParameters {});
    }
}

#[tokio::test]
async fn limits_bind_a_deposit_and_all_collateral_and_nothing_else() {
    let world = World::short().await;
    let (alice, account) = world.funded(1, 1_000).await;
    alice
        .mint_test_token(alice.client().address(), u64::MAX)
        .await
        .unwrap();
    alice.approve(u64::MAX).await.unwrap();
    // The engine holds collateral in 62 bits, and the queue's head must never be refused there.
    let most = (1u64 << 62) - 1;
    let wrong = ISettlement::CollateralFull {
        total: U256::from(1u64 << 62),
        most: U256::from(most),
    };
    let full = alice.deposit(account, most - 999).await;
    assert_error(&reverted(full).1, wrong);
    alice.deposit(account, most - 1_000).await.unwrap();
    let limits = ISettlement::setLimitsCall {
        depositMax: 10,
        collateralMax: most,
    };
    world.send(0, &limits).await.unwrap();
    let wrong = ISettlement::DepositTooLarge {
        amount: U256::from(11),
        most: U256::from(10),
    };
    assert_error(&reverted(alice.deposit(account, 11).await).1, wrong);
    let limits = ISettlement::setLimitsCall {
        depositMax: 10,
        collateralMax: 1 << 62,
    };
    let wrong = ISettlement::AmountOutOfRange {
        amount: U256::from(1u64 << 62),
    };
    assert_error(&world.send(0, &limits).await.unwrap_err(), wrong);
    let row = l1::Withdrawal {
        account,
        owner: alice.client().address(),
        amount_micro: 900,
    };
    let mut batch = unproven(2, &[], &[row]);
    world.prove(&mut batch, alice.status().await.unwrap().root, &[]);
    world.operator.commit_batch(&batch).await.unwrap();
}
