//! Proves one batch of a deposit and says how long each stage took:
//! `cargo run --release -p proof --example prove_once -- [folder for the key]`.
//!
//! Proving time depends on the circuit, hardly on what is in the batch.

use firmware::limits::TIER_INSTRUMENTS;
use firmware::units::{AccountId, Seq, TimeNs};
use matcher::batch::{DepositRow, SealReason, SealedBatch, SlotKind, TierLeaf, Touched};
use matcher::table::RiskTable;
use proof::{ChainContext, Prover, State, keys};
use std::path::PathBuf;
use std::time::Instant;

fn deposit() -> SealedBatch {
    let account = AccountId(5);
    let owner = [7; 20];
    let new = TierLeaf {
        owner,
        cash_pico: 1_000_000,
        ..TierLeaf::default()
    };
    SealedBatch {
        batch_no: 1,
        first_seq: Seq(1),
        last_seq: Seq(1),
        time: TimeNs(1),
        reason: SealReason::Operator,
        state_hash: [0; 32],
        journal_hash: [0; 32],
        table: RiskTable::zeroed(TIER_INSTRUMENTS),
        fund_old_pico: 0,
        fund_new_pico: 0,
        fills: Vec::new(),
        deposits: vec![DepositRow {
            queue_index: 0,
            account,
            owner,
            key: [0; 32],
            amount_micro: 1,
        }],
        withdrawals: Vec::new(),
        touched: vec![Touched {
            account,
            kind: SlotKind::Normal,
            support_pico: 0,
            charge_pico: 0,
            penalty_pico: 0,
            old: TierLeaf::default().into(),
            new: new.into(),
        }],
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = std::env::args().nth(1).map(PathBuf::from);
    let dir = given.or_else(keys::default_dir).ok_or("no cache folder")?;
    let start = Instant::now();
    let mut say = |stage: &'static str, part: f32| {
        let percent = 100.0 * part;
        println!(
            "{:9.3} s  {percent:3.0} %  {stage}",
            start.elapsed().as_secs_f32()
        );
    };
    let prover = Prover::load_or_create(&dir, &mut say)?;
    let witness = State::genesis().apply(&deposit())?;
    let chain = ChainContext {
        chain_id: 31_337,
        contract: [1; 20],
    };
    let proof = prover.prove(&witness, &chain, &mut say)?;
    prover.verify(&proof)?;
    say("verified", 1.0);
    Ok(())
}
