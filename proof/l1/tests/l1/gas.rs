//! What batches cost, held against the committed snapshot, so that a change of cost shows in review.

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256, keccak256};
use l1::{COMMIT_GAS, Deposit, ProvenBatch, Withdrawal};

use crate::world::{World, unproven};

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
    let hashes = [batch.new_root, batch.journal_hash, batch.commitment];
    let words = hashes.iter().chain(&batch.proof);
    let zeros = words.flat_map(U256::to_be_bytes::<32>).filter(|b| *b == 0);
    used + ZERO_BYTE_SAVES * zeros.count() as u64
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

    assert!(full < COMMIT_GAS / 3 * 2, "{full} gas: raise COMMIT_GAS");
    let text = serde_json::to_string_pretty(&serde_json::json!({ "commitBatch": costs })).unwrap();
    if std::env::var_os("WRITE_GAS_SNAPSHOT").is_some() {
        std::fs::write(SNAPSHOT, text.clone() + "\n").unwrap();
    }
    let kept = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        kept.trim_end() == text,
        "{SNAPSHOT} says {kept}but now it is {text}\nif that is right, run this test with WRITE_GAS_SNAPSHOT=1"
    );
}
