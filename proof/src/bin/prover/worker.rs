//! The proving thread: sealed batches in, proofs out, in order. It runs at low priority, so that on a small machine
//! the venue's tiles come first; the proof system's own threads are its children and inherit that.

use crate::batches::next_batch;
use crate::keys::{load_key, vk_hash};
use crate::out::{Out, hex};
use crate::replay::Replay;
use crate::store::{KEY_WARNING, Store, Stored, Words, word_name};
use anyhow::{Context, bail};
use l1::{B256, U256};
use matcher::batch::SealedBatch;
use proof::{BatchProof, BatchWitness, ChainContext, Prover, State};
use serde_json::json;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// Nice value of the thread, unless the process was started with a larger one: about a tenth of the share of a
/// tile at 0.
const NICENESS: i32 = 10;
/// Between two looks for the next batch.
const POLL: Duration = Duration::from_millis(100);
/// Times that a proof says how far it is.
const PROGRESS_STEPS: f32 = 20.0;

/// What the thread works with.
pub(crate) struct Job {
    pub(crate) data: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) store: Store,
    pub(crate) chain: ChainContext,
    /// Of the key that the contract's verifier is made from.
    pub(crate) vk_hash: B256,
    /// Batches that L1 has, and its root.
    pub(crate) on_l1: (u64, U256),
    pub(crate) out: Out,
}

/// What comes of a batch.
pub(crate) enum Done {
    /// L1 does not have it, as far as was known at the start.
    Proven(Box<(Stored, BatchProof)>),
    /// L1 has it; its stored proof, if there is one.
    OnL1 {
        batch_no: u64,
        new_root: U256,
        stored: Option<Box<Stored>>,
    },
}

/// Works until nobody listens any more. The first error is the last message.
pub(crate) fn work(job: &Job, done: &Sender<anyhow::Result<Done>>) {
    if let Err(e) = run(job, done) {
        // Nobody listens only when the process is about to end.
        let _ = done.blocking_send(Err(e));
    }
}

fn run(job: &Job, done: &Sender<anyhow::Result<Done>>) -> anyhow::Result<()> {
    step_back();
    let prover = ready_prover(job)?;
    let journal = job.data.join("journal");
    while !journal.is_dir() {
        if done.is_closed() {
            return Ok(());
        }
        sleep(POLL);
    }
    let mut replay = Replay::open(&journal)?;
    let mut state = State::genesis();
    loop {
        let batch_no = state.batch_no() + 1;
        let batch = loop {
            if let Some(batch) = next_batch(&job.data, batch_no, &mut replay)? {
                break batch;
            }
            if done.is_closed() {
                return Ok(());
            }
            sleep(POLL);
        };
        tell_sealed(job.out, &batch);
        let witness = state.apply(&batch);
        let witness = witness.with_context(|| format!("batch {batch_no}"))?;
        let one = settle(job, &prover, &witness)?;
        if done.blocking_send(Ok(one)).is_err() {
            return Ok(());
        }
    }
}

/// Lowers the priority of this thread, and so of those that it will start.
fn step_back() {
    // On Linux these two speak of the calling thread alone. Less priority is never refused; if it were, the proofs
    // would only come less politely.
    let held = rustix::process::getpriority_process(None).unwrap_or(0);
    let _ = rustix::process::setpriority_process(None, held.max(NICENESS));
}

fn ready_prover(job: &Job) -> anyhow::Result<Prover> {
    let begun = Instant::now();
    let prover = load_key(&job.keys, false, job.out)?;
    let hash = vk_hash(&prover);
    if hash != job.vk_hash {
        bail!(
            "the contract's verifier is made from key {}, the key here is {hash}: deploy again, or build the release that deployed",
            job.vk_hash
        );
    }
    let fields = json!({
        "hash": hash.to_string(),
        "insecure": true,
        "text": KEY_WARNING,
        "constraints": prover.constraints(),
        "ms": begun.elapsed().as_millis() as u64,
    });
    let text = format!(
        "key {hash} ready, {} constraints ({KEY_WARNING})",
        prover.constraints()
    );
    job.out.event("key", fields, text);
    Ok(prover)
}

fn tell_sealed(out: Out, batch: &SealedBatch) {
    let batch_no = batch.batch_no;
    let fields = json!({
        "batch_no": batch_no,
        "sealed_time_ns": batch.time.0,
        "first_seq": batch.first_seq.0,
        "last_seq": batch.last_seq.0,
        "reason": format!("{:?}", batch.reason),
        "fill_rows": batch.fills.len(),
        "accounts": batch.touched.len(),
        "deposits": batch.deposits.len(),
        "withdrawals": batch.withdrawals.len(),
        "journal_hash": hex(&batch.journal_hash),
    });
    let text = format!(
        "batch {batch_no}: records {} to {}, {} fill rows, {} accounts, {} deposits, {} withdrawals",
        batch.first_seq.0,
        batch.last_seq.0,
        batch.fills.len(),
        batch.touched.len(),
        batch.deposits.len(),
        batch.withdrawals.len()
    );
    out.event("sealed", fields, text);
}

/// Finds or makes what L1 needs for one batch.
fn settle(job: &Job, prover: &Prover, witness: &BatchWitness) -> anyhow::Result<Done> {
    let batch_no = witness.batch_no();
    let new_root = U256::from_be_bytes(witness.new_root());
    let (on_l1, root) = job.on_l1;
    if batch_no == on_l1 && new_root != root {
        bail!(
            "L1 has root {root:#066x} after batch {batch_no}, the journal leads to {new_root:#066x}"
        );
    }
    let stored = job.store.load(batch_no)?;
    if batch_no <= on_l1 {
        let stored = stored.map(Box::new);
        return Ok(Done::OnL1 {
            batch_no,
            new_root,
            stored,
        });
    }
    let ready = match stored {
        Some(stored) => {
            let path = job.store.path(batch_no);
            let checked = checked(job, prover, witness, &stored);
            let proof = checked
                .with_context(|| format!("{}; move it away to prove again", path.display()))?;
            let fields = json!({ "batch_no": batch_no, "stored": true, "ms": stored.prove_ms });
            let text = format!("batch {batch_no}: proven before, the stored proof holds");
            job.out.event("proven", fields, text);
            (stored, proof)
        }
        None => prove(job, prover, witness)?,
    };
    Ok(Done::Proven(Box::new(ready)))
}

/// A stored proof, if it is for this very batch and contract, and holds.
fn checked(
    job: &Job,
    prover: &Prover,
    witness: &BatchWitness,
    stored: &Stored,
) -> anyhow::Result<BatchProof> {
    let proof = stored.batch_proof()?;
    if let Some(other) = Words(&proof.words).other_contract(&job.chain) {
        bail!("it is for {other}");
    }
    let words = witness.words(&job.chain);
    let first = words.iter().zip(&proof.words).position(|(a, b)| a != b);
    if let Some(place) = first {
        let name = word_name(place);
        let (due, held) = (hex(&words[place]), hex(&proof.words[place]));
        bail!("it is for another batch: {name} is {held}, the journal leads to {due}");
    }
    prover.verify(&proof)?;
    Ok(proof)
}

fn prove(
    job: &Job,
    prover: &Prover,
    witness: &BatchWitness,
) -> anyhow::Result<(Stored, BatchProof)> {
    let (out, batch_no) = (job.out, witness.batch_no());
    let begun = Instant::now();
    out.event(
        "proving",
        json!({ "batch_no": batch_no }),
        format!("batch {batch_no}: proving"),
    );
    let mut told = -1.0;
    let mut progress = |stage: &'static str, fraction: f32| {
        let step = (fraction * PROGRESS_STEPS).floor();
        if step > told {
            told = step;
            let percent = f64::from(fraction * 100.0).round();
            let fields =
                json!({ "batch_no": batch_no, "stage": stage, "fraction": percent / 100.0 });
            let text = format!("batch {batch_no}: {percent} % {stage}");
            out.event("progress", fields, text);
        }
    };
    let what = || format!("batch {batch_no}");
    let proof = prover.prove(witness, &job.chain, &mut progress);
    let proof = proof.with_context(what)?;
    prover.verify(&proof).with_context(what)?;
    let ms = begun.elapsed().as_millis() as u64;
    let stored = Stored::new(batch_no, ms, &proof);
    job.store.save(&stored)?;
    let fields = json!({ "batch_no": batch_no, "stored": false, "ms": ms });
    out.event(
        "proven",
        fields,
        format!("batch {batch_no}: proven in {ms} ms"),
    );
    Ok((stored, proof))
}
