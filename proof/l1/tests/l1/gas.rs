//! What batches cost, held against the committed snapshot, so that a change of cost shows in review.

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256, keccak256};
use alloy::providers::Provider;
use l1::{COMMIT_GAS, Deposit, ProvenBatch, RequestKind, Withdrawal};

use crate::book::{Book, Column};
use crate::many::chained;
use crate::world::{HOUR_S, World, provider, unproven};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/gas.json");
/// A byte of calldata costs 16 gas, a zero byte 4.
const ZERO_BYTE_SAVES: u64 = 12;

/// Commits a batch and returns its gas, as if no byte of its hashes and its proof were zero: how many are is chance,
/// at most a few, and would move the snapshot with every change of key or proof.
async fn gas(world: &World, deposits: &[Deposit], withdrawals: &[Withdrawal]) -> u64 {
    let status = world.operator.status().await.unwrap();
    let no = status.batch_no + 1;
    let hash = |text: &str| U256::from_be_bytes(keccak256(format!("{text} {no}")).0) >> 3;
    let mut batch = ProvenBatch {
        new_root: hash("root"),
        journal_hash: hash("journal"),
        ..unproven(no, deposits, withdrawals)
    };
    world.prove(&mut batch, status.root, deposits);
    let used = world.operator.commit_batch(&batch).await.unwrap().gas_used;
    used + zeros_save(&batch)
}

/// What the zero bytes of a batch's hashes and proof saved.
fn zeros_save(batch: &ProvenBatch) -> u64 {
    let hashes = [batch.new_root, batch.journal_hash, batch.commitment];
    let words = hashes.iter().chain(&batch.proof);
    let zeros = words.flat_map(U256::to_be_bytes::<32>).filter(|b| *b == 0);
    ZERO_BYTE_SAVES * zeros.count() as u64
}

/// Gas of the last block, which holds one transaction.
async fn last(world: &World) -> u64 {
    let node = provider(&world.url);
    let block = node
        .get_block(alloy::eips::BlockId::latest())
        .await
        .unwrap();
    block.unwrap().header.gas_used
}

/// From a deposit to the money after a freeze, door by door. Word for word the same each time, so no chance is in it.
async fn ways_out() -> BTreeMap<String, u64> {
    let world = World::short().await;
    let mut costs = BTreeMap::new();
    let mut put = |door: &str, gas: u64| costs.insert(door.to_owned(), gas);
    let (alice, account, deposits) = world.depositor(1, &[1_000_000]).await;
    put("deposit_first", last(&world).await);
    let (bob, other, more) = world.depositor(2, &[1_000_000; 2]).await;
    put("deposit", last(&world).await);
    let column = Column {
        mark: 500,
        spread: 130,
        funding: 20,
    };
    let mut book = Book::default();
    book.list(&[column; 16]);
    let cash = 1_000_000_000_000;
    book.set(account, alice.client().address(), cash, &[3; 16]);
    book.set(other, bob.client().address(), cash, &[-3; 16]);
    let rows = [deposits[0], more[0]];
    world.commit_book(&book, &rows, &[]).await;
    let too_much = RequestKind::Withdrawal(2_000_000);
    let id = alice.request(account, too_much).await.unwrap().id;
    put("request_withdrawal", last(&world).await);
    let (parts, proof) = (book.parts(), book.proof(account));
    let answer = world
        .operator
        .answer_request(id, parts, &proof, &book.table);
    answer.await.unwrap();
    put("answer_withdrawal_16_positions", last(&world).await);
    let id = alice.request(account, RequestKind::Close).await.unwrap().id;
    put("request_close", last(&world).await);
    world.pass(2 * HOUR_S).await;
    bob.freeze(id).await.unwrap();
    put("freeze", last(&world).await);
    bob.reclaim(more[1].index).await.unwrap();
    put("reclaim", last(&world).await);
    bob.open_exit(parts, &book.table).await.unwrap();
    put("open_exit", last(&world).await);
    alice.escape(account, &proof).await.unwrap();
    put("escape_16_positions", last(&world).await);
    world.pass(2 * HOUR_S).await;
    alice.settle_escape(account).await.unwrap();
    put("settle_escape", last(&world).await);
    costs
}

#[tokio::test]
async fn committing_a_batch_costs_exactly_what_the_snapshot_says() {
    let world = World::new().await;
    // The first batches of a contract pay for storage words that later ones find there.
    let (user, account) = world.funded(1, 1_000_000).await;
    let owner = user.client().address();
    let mut costs = BTreeMap::new();
    costs.insert("empty", gas(&world, &[], &[]).await);

    let (_, _, deposits) = world.depositor(2, &[1 << 46; 8]).await;
    costs.insert("deposits_8", gas(&world, &deposits, &[]).await);

    let grant = |owner| Withdrawal {
        account,
        owner,
        amount_micro: 0x1234_5678_9ABC,
    };
    let (_, _, deposits) = world.depositor(3, &[1 << 46; 8]).await;
    let grants: Vec<Withdrawal> = (1..=8).map(|i| grant(Address::repeat_byte(i))).collect();
    let full = gas(&world, &deposits, &grants).await;
    costs.insert("deposits_8_withdrawals_8_to_new_owners", full);

    costs.insert(
        "withdrawal_1_to_new_owner",
        gas(&world, &[], &[grant(owner)]).await,
    );

    let mut others = BTreeMap::new();
    for k in [2, 4, 8] {
        let batches = chained(&world, k, &[], &[]).await;
        let all = world.operator.commit_batches(&batches).await.unwrap();
        let all = all + batches.iter().map(zeros_save).sum::<u64>();
        others.insert(format!("commitBatches_{k}_empty_each"), all / k as u64);
    }
    user.claim(owner).await.unwrap();
    others.insert("claim".to_owned(), last(&world).await);
    others.extend(ways_out().await);

    assert!(full < COMMIT_GAS / 3 * 2, "{full} gas: raise COMMIT_GAS");
    let text =
        serde_json::to_string_pretty(&serde_json::json!({ "commitBatch": costs, "other": others }))
            .unwrap();
    if std::env::var_os("WRITE_GAS_SNAPSHOT").is_some() {
        std::fs::write(SNAPSHOT, text.clone() + "\n").unwrap();
    }
    let kept = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        kept.trim_end() == text,
        "{SNAPSHOT} says {kept}but now it is {text}\nif that is right, run this test with WRITE_GAS_SNAPSHOT=1"
    );
}
