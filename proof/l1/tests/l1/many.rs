//! Several batches in one transaction, under one pairing check.

use alloy::primitives::U256;
use l1::{Deposit, L1Error, ProvenBatch, Withdrawal};

use crate::world::{ISettlement, World, assert_error, assert_no_proof, commit_call, unproven};

/// `count` batches that follow each other, honestly proven.
pub(crate) async fn chained(
    world: &World,
    count: usize,
    deposits: &[Deposit],
    withdrawals: &[Withdrawal],
) -> Vec<ProvenBatch> {
    let status = world.operator.status().await.unwrap();
    let mut root = status.root;
    let mut batches = Vec::new();
    for i in 0..count {
        let no = status.batch_no + 1 + i as u64;
        let mine = if i == 0 { deposits } else { &[] };
        let mut batch = unproven(no, mine, if i == 0 { withdrawals } else { &[] });
        batch.new_root = U256::from_be_bytes(alloy::primitives::keccak256(no.to_be_bytes()).0) >> 3;
        world.prove(&mut batch, root, mine);
        root = batch.new_root;
        batches.push(batch);
    }
    batches
}

fn call(batches: &[ProvenBatch]) -> ISettlement::commitBatchesCall {
    ISettlement::commitBatchesCall {
        batches: batches.iter().map(|b| commit_call(b).batch).collect(),
        commitments: batches.iter().map(|b| b.commitment).collect(),
        proofs: batches.iter().map(|b| b.proof).collect(),
    }
}

#[tokio::test]
async fn many_batches_in_one_transaction_move_the_state_as_one_by_one_and_cost_less() {
    let world = World::new().await;
    let (user, account, deposits) = world.depositor(1, &[1_000]).await;
    let row = Withdrawal {
        account,
        owner: user.client().address(),
        amount_micro: 100,
    };
    let batches = chained(&world, 4, &deposits, &[row]).await;
    world.operator.commit_batches(&batches).await.unwrap();
    let status = user.status().await.unwrap();
    assert_eq!((status.batch_no, status.root), (4, batches[3].new_root));
    assert_eq!(status.pending_micro, U256::from(100));
    assert_eq!(status.deposits_consumed, 1);
    // All there already: nothing is sent.
    assert_eq!(world.operator.commit_batches(&batches).await.unwrap(), 0);
    for i in 0..4 {
        let told = world.operator.committed(1 + i).await.unwrap().unwrap();
        assert_eq!(told.new_root, batches[i as usize].new_root);
    }
    let alone = chained(&world, 1, &[], &[]).await;
    let alone = world
        .operator
        .commit_batch(&alone[0])
        .await
        .unwrap()
        .gas_used;
    let mut last = alone;
    for k in [2, 4, 8] {
        let batches = chained(&world, k, &[], &[]).await;
        let each = world.operator.commit_batches(&batches).await.unwrap() / k as u64;
        println!("{k} batches: {each} gas each, alone {alone}");
        assert!(each < last, "{k}: {each}, fewer: {last}");
        last = each;
    }
}

#[tokio::test]
async fn one_bad_batch_among_many_sinks_all() {
    let world = World::new().await;
    let good = chained(&world, 3, &[], &[]).await;
    let from = world.operator.client().address();
    for i in 0..3 {
        let mut bad = good.clone();
        bad[i].time_ns += 1;
        for later in &mut bad[i + 1..] {
            later.time_ns += 1;
        }
        let data = world.call(from, &call(&bad)).await.err().unwrap();
        assert_no_proof(&data);
        let mut swapped = good.clone();
        swapped[i].proof = good[(i + 1) % 3].proof;
        let data = world.call(from, &call(&swapped)).await.err().unwrap();
        assert_no_proof(&data);
    }
    let mut skipped = good.clone();
    skipped.remove(1);
    let data = world.call(from, &call(&skipped)).await.err().unwrap();
    let wrong = ISettlement::WrongBatchNo {
        expected: 2,
        given: 3,
    };
    assert_error(&data, wrong);
    let mut uneven = call(&good);
    uneven.proofs.pop();
    assert!(world.call(from, &uneven).await.is_err());
    assert!(world.call(from, &call(&[])).await.is_err());
    let caller = world.user(3).await.client().address();
    let data = world.call(caller, &call(&good)).await.err().unwrap();
    assert_error(&data, ISettlement::NotOperator { caller });
    assert!(matches!(
        world.operator.commit_batches(&good[1..]).await,
        Err(L1Error::OutOfOrder { next: 1, given: 2 })
    ));
    world.operator.commit_batches(&good).await.unwrap();
}
