//! The settlement contract's rules.

use alloy::primitives::{Address, U256};
use alloy::sol_types::SolCall;
use l1::{Deposit, R, Withdrawal};

use crate::world::{
    GENESIS_ROOT, ISettlement, OPERATOR, World, assert_error, assert_no_proof, call_raw, client,
    commit_call, point, reverted, send_transaction, unproven, words,
};

#[tokio::test]
async fn a_deposit_becomes_state_and_a_withdrawal_becomes_money() {
    the_whole_way(World::new().await).await;
}

/// Deposit, batch, withdrawal, claim: also run on anvil.
pub(crate) async fn the_whole_way(world: World) {
    let (alice, account, deposits) = world.depositor(1, &[700_000_000, 300_000_000]).await;
    assert_eq!(account, 1, "account 0 is never given out");
    assert_eq!([deposits[0].index, deposits[1].index], [0, 1]);
    let me = alice.client().address();

    let first = world.next_batch(&deposits, &[]).await;
    let committed = world.operator.commit_batch(&first).await.unwrap();
    assert!(!committed.already);
    let status = world.operator.status().await.unwrap();
    assert_eq!((status.batch_no, status.root), (1, first.new_root));
    assert_eq!((status.deposits, status.deposits_consumed), (2, 2));
    assert_eq!(status.held_for_state_micro, U256::from(1_000_000_000));
    assert_eq!(status.collateral_micro, U256::from(1_000_000_000));

    let grant = Withdrawal {
        account,
        owner: me,
        amount_micro: 400_000_000,
    };
    let second = world.next_batch(&[], &[grant]).await;
    world.operator.commit_batch(&second).await.unwrap();
    assert_eq!(alice.pending(me).await.unwrap(), U256::from(400_000_000));
    assert_eq!(alice.claim(me).await.unwrap(), U256::from(400_000_000));
    assert_eq!(
        alice.token_balance(me).await.unwrap(),
        U256::from(400_000_000)
    );

    let status = world.operator.status().await.unwrap();
    assert_eq!(status.pending_micro, U256::ZERO);
    assert_eq!(status.held_for_state_micro, U256::from(600_000_000));
    assert_eq!(status.collateral_micro, U256::from(600_000_000));
    assert_eq!(
        (status.last_seq, status.time_ns),
        (second.last_seq, second.time_ns)
    );
}

#[tokio::test]
async fn a_batch_with_any_public_word_changed_after_proving_is_refused() {
    let world = World::new().await;
    let (user, account, deposits) = world.depositor(1, &[500, 600, 700]).await;
    let owner = user.client().address();
    let grant = Withdrawal {
        account,
        owner,
        amount_micro: 5,
    };
    let good = world.next_batch(&deposits[..2], &[grant]).await;

    let mut changed = Vec::new();
    let mut change = |f: &dyn Fn(&mut l1::ProvenBatch)| {
        let mut batch = good.clone();
        f(&mut batch);
        changed.push(batch);
    };
    change(&|b| b.new_root += U256::from(1));
    change(&|b| b.journal_hash += U256::from(1));
    change(&|b| b.last_seq += 1);
    change(&|b| b.time_ns += 1);
    change(&|b| b.deposit_count = 1);
    change(&|b| b.deposit_count = 3);
    change(&|b| b.withdrawals.clear());
    change(&|b| b.withdrawals[0].amount_micro += 1);
    change(&|b| b.withdrawals[0].owner = Address::repeat_byte(9));
    change(&|b| b.withdrawals[0].account += 1);
    change(&|b| b.withdrawals.push(grant));
    change(&|b| b.commitment += U256::from(1));
    for batch in &changed {
        assert_no_proof(&world.refusal(batch).await);
    }
    world.operator.commit_batch(&good).await.unwrap();
}

#[tokio::test]
async fn a_word_at_or_above_the_field_order_is_refused_before_the_proof_is_looked_at() {
    let world = World::new().await;
    let good = world.next_batch(&[], &[]).await;
    let mut batch = good.clone();
    batch.new_root += R;
    assert_error(
        &world.refusal(&batch).await,
        ISettlement::WordNotInField {
            index: U256::from(5),
        },
    );
    let mut batch = good.clone();
    batch.commitment += R;
    assert_error(
        &world.refusal(&batch).await,
        ISettlement::WordNotInField {
            index: U256::from(59),
        },
    );
    let mut batch = good.clone();
    batch.journal_hash = U256::from(1) << 253;
    assert_error(
        &world.refusal(&batch).await,
        ISettlement::JournalHashTooLarge {},
    );
    world.operator.commit_batch(&good).await.unwrap();
}

#[tokio::test]
async fn a_proof_over_another_old_root_contract_or_chain_is_refused() {
    let world = World::new().await;
    let mut batch = unproven(1, &[], &[]);
    world.prove(&mut batch, GENESIS_ROOT + U256::from(1), &[]);
    assert_no_proof(&world.refusal(&batch).await);

    for change in [
        |d: &mut l1::Deployment| d.chain_id += 1,
        |d: &mut l1::Deployment| d.settlement = Address::repeat_byte(7),
    ] {
        let mut elsewhere = world.deployment.clone();
        change(&mut elsewhere);
        let words = words(&elsewhere, GENESIS_ROOT, &[], &batch);
        let (z, y) = point(&words, batch.commitment);
        batch.proof = crate::tiny::prove([batch.commitment, z, y]);
        assert_no_proof(&world.refusal(&batch).await);
    }
}

#[tokio::test]
async fn a_valid_proof_in_a_strangers_hand_is_refused_and_the_operator_may_then_use_it() {
    let world = World::new().await;
    let (_, _, deposits) = world.depositor(1, &[500]).await;
    let batch = world.next_batch(&deposits, &[]).await;
    let call = commit_call(&batch);
    // A depositor, somebody else, and the contract's own address.
    let mut strangers = vec![world.deployment.settlement];
    for key in [1, 9] {
        strangers.push(client(&world.url, key).await.address());
    }
    for caller in strangers {
        let data = world.call(caller, &call).await.err();
        let data = data.expect("the contract took a batch from a stranger");
        assert_error(&data, ISettlement::NotOperator { caller });
    }
    let at = world.deployment.settlement;
    assert!(!send_transaction(&world.url, 9, at, call.abi_encode(), 1_000_000).await);
    assert_eq!(world.operator.status().await.unwrap().batch_no, 0);

    let operator = world.operator.client().address();
    let named = ISettlement::isOperatorCall { who: operator };
    assert!(world.call(operator, &named).await.unwrap());
    world.operator.commit_batch(&batch).await.unwrap();
    assert_eq!(world.operator.status().await.unwrap().batch_no, 1);
}

#[tokio::test]
async fn the_deployer_of_a_contract_with_another_operator_is_a_stranger_too() {
    let mut world = World::new().await;
    let operator = world.user(5).await.client().clone();
    let deployer = world.operator.client();
    world.deployment = deployer
        .deploy_over(
            operator.address(),
            GENESIS_ROOT,
            world.deployment.token,
            world.deployment.verifier,
        )
        .await
        .unwrap();
    let mut batch = unproven(1, &[], &[]);
    world.prove(&mut batch, GENESIS_ROOT, &[]);
    let caller = deployer.address();
    assert_error(
        &world.refusal(&batch).await,
        ISettlement::NotOperator { caller },
    );
    let settlement = operator.settlement(&world.deployment).await.unwrap();
    assert!(!settlement.commit_batch(&batch).await.unwrap().already);
}

#[tokio::test]
async fn a_batch_out_of_turn_is_refused_by_the_contract_itself() {
    let world = World::new().await;
    let mut early = unproven(2, &[], &[]);
    world.prove(&mut early, GENESIS_ROOT, &[]);
    let wrong = ISettlement::WrongBatchNo {
        expected: 1,
        given: 2,
    };
    assert_error(&world.refusal(&early).await, wrong);

    let first = world.next_batch(&[], &[]).await;
    world.operator.commit_batch(&first).await.unwrap();
    let wrong = ISettlement::WrongBatchNo {
        expected: 2,
        given: 1,
    };
    assert_error(&world.refusal(&first).await, wrong);

    let mut back = unproven(2, &[], &[]);
    back.last_seq = first.last_seq - 1;
    world.prove(&mut back, first.new_root, &[]);
    let wrong = ISettlement::BatchGoesBack {
        lastSeq: back.last_seq,
        timeNs: back.time_ns,
    };
    assert_error(&world.refusal(&back).await, wrong);
}

#[tokio::test]
async fn deposits_cannot_be_skipped_reordered_invented_or_consumed_twice() {
    let world = World::new().await;
    let (_, _, deposits) = world.depositor(1, &[100, 200, 300]).await;
    let skipped = [deposits[1]];
    let reordered = [deposits[1], deposits[0]];
    let invented = [Deposit {
        amount_micro: 1_000_000,
        ..deposits[0]
    }];
    for rows in [&skipped[..], &reordered, &invented] {
        let batch = world.next_batch(rows, &[]).await;
        assert_no_proof(&world.refusal(&batch).await);
    }
    let mut too_many = unproven(1, &deposits, &[]);
    too_many.deposit_count = 4;
    let wrong = ISettlement::DepositsNotQueued {
        given: U256::from(4),
        queued: U256::from(3),
    };
    assert_error(&world.refusal(&too_many).await, wrong);
    too_many.deposit_count = 9;
    let wrong = ISettlement::TooManyRows {
        given: U256::from(9),
        most: U256::from(8),
    };
    assert_error(&world.refusal(&too_many).await, wrong);

    let first = world.next_batch(&deposits[..2], &[]).await;
    world.operator.commit_batch(&first).await.unwrap();
    let twice = world.next_batch(&deposits[1..2], &[]).await;
    assert_no_proof(&world.refusal(&twice).await);
    let rest = world.next_batch(&deposits[2..], &[]).await;
    world.operator.commit_batch(&rest).await.unwrap();
    assert_eq!(world.operator.status().await.unwrap().deposits_consumed, 3);
}

#[tokio::test]
async fn withdrawal_rows_are_checked_and_can_never_touch_deposits_that_are_still_queued() {
    let world = World::new().await;
    let (user, account, deposits) = world.depositor(1, &[100, 1_000_000]).await;
    let owner = user.client().address();
    let row = |amount_micro| Withdrawal {
        account,
        owner,
        amount_micro,
    };
    // A proof that claims too much stands here for a broken circuit.
    let greedy = world.next_batch(&deposits[..1], &[row(60), row(41)]).await;
    let wrong = ISettlement::PaysOutMoreThanHeld {
        held: U256::from(100),
        asked: U256::from(101),
    };
    assert_error(&world.refusal(&greedy).await, wrong);

    for amount in [0, 1 << 62, u64::MAX] {
        let batch = world.next_batch(&[], &[row(amount)]).await;
        let wrong = ISettlement::AmountOutOfRange {
            amount: U256::from(amount),
        };
        assert_error(&world.refusal(&batch).await, wrong);
    }
    let ownerless = Withdrawal {
        owner: Address::ZERO,
        ..row(1)
    };
    let batch = world.next_batch(&deposits[..1], &[row(1), ownerless]).await;
    let wrong = ISettlement::WithdrawalWithoutOwner {
        index: U256::from(1),
    };
    assert_error(&world.refusal(&batch).await, wrong);
    let batch = unproven(1, &deposits[..1], &[row(1); 9]);
    let wrong = ISettlement::TooManyRows {
        given: U256::from(9),
        most: U256::from(8),
    };
    assert_error(&world.refusal(&batch).await, wrong);
}

#[tokio::test]
async fn what_was_granted_is_claimed_once_and_only_by_its_owner() {
    let world = World::new().await;
    let (alice, account) = world.funded(1, 1_000).await;
    let me = alice.client().address();
    let grant = Withdrawal {
        account,
        owner: me,
        amount_micro: 300,
    };
    let batch = world.next_batch(&[], &[grant, grant]).await;
    world.operator.commit_batch(&batch).await.unwrap();

    let bob = world.user(2).await;
    let nothing = |owner| ISettlement::NothingToClaim { owner };
    let bobs = bob.client().address();
    assert_error(&reverted(bob.claim(bobs).await).1, nothing(bobs));
    for to in [Address::ZERO, world.deployment.settlement] {
        assert_error(
            &reverted(alice.claim(to).await).1,
            ISettlement::BadRecipient { to },
        );
    }
    assert_eq!(alice.claim(bobs).await.unwrap(), U256::from(600));
    assert_eq!(bob.token_balance(bobs).await.unwrap(), U256::from(600));
    let (reason, data) = reverted(alice.claim(me).await);
    assert_error(&data, nothing(me));
    assert!(reason.contains("nothing to claim"), "{reason}");
}

#[tokio::test]
async fn deposits_need_an_open_account_an_amount_in_range_an_allowance_and_the_money() {
    let world = World::new().await;
    let user = world.user(1).await;
    let me = user.client().address();
    for account in [0, 1] {
        let wrong = ISettlement::UnknownAccount { account };
        assert_error(&reverted(user.deposit(account, 5).await).1, wrong);
    }
    let account = user.open_account().await.unwrap();
    assert_eq!(user.owner_of(account).await.unwrap(), Some(me));
    assert_eq!(user.owner_of(account + 1).await.unwrap(), None);
    for amount in [0, 1 << 62] {
        let wrong = ISettlement::AmountOutOfRange {
            amount: U256::from(amount),
        };
        assert_error(&reverted(user.deposit(account, amount).await).1, wrong);
    }
    // Whatever the token says, the contract says only that the transfer failed.
    assert_error(
        &reverted(user.deposit(account, 5).await).1,
        ISettlement::TransferFailed {},
    );
    user.approve(5).await.unwrap();
    assert_error(
        &reverted(user.deposit(account, 5).await).1,
        ISettlement::TransferFailed {},
    );
    user.mint_test_token(me, 5).await.unwrap();
    user.deposit(account, 5).await.unwrap();
}

#[tokio::test]
async fn anyone_may_fund_an_open_account_and_the_row_names_its_owner() {
    let world = World::new().await;
    let alice = world.user(1).await;
    let account = alice.open_account().await.unwrap();
    let bob = world.user(2).await;
    bob.mint_test_token(bob.client().address(), 9)
        .await
        .unwrap();
    bob.approve(9).await.unwrap();
    let deposit = bob.deposit(account, 9).await.unwrap();
    assert_eq!(
        (deposit.account, deposit.owner),
        (account, alice.client().address())
    );
}

#[tokio::test]
async fn a_batch_that_runs_out_of_gas_changes_nothing() {
    let world = World::new().await;
    let batch = world.next_batch(&[], &[]).await;
    let from = world.operator.client().address();
    let data = commit_call(&batch).abi_encode();
    let at = world.deployment.settlement;
    let mut least = None;
    for gas in (60_000..400_000).step_by(4_000) {
        if call_raw(&world.url, from, at, data.clone(), Some(gas))
            .await
            .is_ok()
        {
            least = Some(gas);
            break;
        }
    }
    // Mined all the same, as a failure.
    assert!(!send_transaction(&world.url, OPERATOR, at, data, 150_000).await);
    assert_eq!(world.operator.status().await.unwrap().batch_no, 0);
    let used = world.operator.commit_batch(&batch).await.unwrap().gas_used;
    let least = least.expect("400,000 gas are enough for an empty batch");
    assert!(
        least + 4_000 > used,
        "it passed with {least} gas and uses {used}"
    );
}
