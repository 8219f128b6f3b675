//! `prover run`: the proving thread on one side, L1 and the venue on the other.

use crate::chain::{NODE_PATIENCE, NodeArgs, SignerArgs, Silence, open, within};
use crate::deposits::Relay;
use crate::keys::keys_dir;
use crate::out::Out;
use crate::store::{OnChain, Store, Stored, Words, proven_batch};
use crate::venue::Venue;
use crate::worker::{Done, Job, work};
use anyhow::{Context, bail, ensure};
use clap::Args;
use l1::{Committed, Deployment, ProvenBatch, Settlement, U256, is_dev_chain};
use proof::{BatchProof, ChainContext};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::sleep;

/// Proven batches that wait for L1 before the proving waits too.
const PROVEN_AHEAD_MAX: usize = 8;
/// Before a silent node is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Blocks on top of a deposit before it is final on a real chain: two epochs.
const CONFIRMATIONS: u64 = 64;

/// `prover run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// The venue's data_dir: holds journal/ and batches/; proofs/ is made in it.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
    /// Deployment record.
    #[arg(long, value_name = "FILE")]
    deployment: PathBuf,
    /// The venue's socket for what comes from L1: l1.sock.
    #[arg(long, value_name = "SOCK")]
    admin: PathBuf,
    #[command(flatten)]
    signer: SignerArgs,
    /// Folder of the proving key; a folder of the user's cache if not given.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Blocks on top of a deposit before the venue hears of it; 0 on development chains, else 64, if not given.
    #[arg(long, value_name = "BLOCKS")]
    confirmations: Option<u64>,
    /// How long the venue may take to come up, seconds.
    #[arg(long, value_name = "S", default_value_t = 120)]
    venue_patience_s: u64,
    /// JSON lines instead of plain ones.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(args: RunArgs, out: Out) -> anyhow::Result<()> {
    let data = &args.data;
    ensure!(data.is_dir(), "{}: no such folder", data.display());
    let deployment = Deployment::read(&args.deployment)?;
    let keys = keys_dir(args.keys.as_deref())?;
    let store = Store::new(data);
    let _lock = store.lock()?;
    let client = args.node.signer(&args.signer).await?;
    let url = &args.node.url;
    // All keys here are development keys.
    let dev = is_dev_chain(client.chain_id());
    ensure!(
        dev,
        "the proving key is INSECURE and chain {} is no development chain",
        client.chain_id()
    );
    // Found at once, not after the first proof.
    ensure!(
        client.address() == deployment.operator,
        "{} signs here, and {} is the contract's operator, who alone commits batches",
        client.address(),
        deployment.operator
    );
    let settlement = open(client, url, &deployment).await?;
    let status = within(url, settlement.status()).await?;
    let job = Job {
        data: data.clone(),
        keys,
        store: store.clone(),
        chain: ChainContext {
            chain_id: deployment.chain_id,
            contract: deployment.settlement.into_array(),
        },
        vk_hash: deployment.vk_hash,
        on_l1: (status.batch_no, status.root),
        out,
    };
    let relay = Relay {
        settlement: settlement.clone(),
        venue: Venue::new(args.admin.clone()),
        confirmations: args
            .confirmations
            .unwrap_or(if dev { 0 } else { CONFIRMATIONS }),
        venue_patience: Duration::from_secs(args.venue_patience_s),
        out,
    };
    let (tx, rx) = channel(PROVEN_AHEAD_MAX);
    let thread = std::thread::Builder::new().name("prove".to_owned());
    thread
        .spawn(move || work(&job, &tx))
        .context("proving thread")?;
    let committer = Committer {
        settlement,
        store,
        venue: Venue::new(args.admin.clone()),
        url: url.clone(),
        out,
    };
    // Both run until one fails; the other is then dropped where it waits.
    tokio::select! {
        failed = committer.run(rx) => failed,
        failed = relay.run() => failed,
    }
}

/// Brings proofs to L1, in order.
struct Committer {
    settlement: Settlement,
    store: Store,
    venue: Venue,
    url: String,
    out: Out,
}

impl Committer {
    async fn run(&self, mut done: Receiver<anyhow::Result<Done>>) -> anyhow::Result<()> {
        while let Some(one) = done.recv().await {
            match one? {
                Done::Proven(ready) => {
                    let (stored, proof) = *ready;
                    self.commit(stored, &proof).await?;
                }
                Done::OnL1 {
                    batch_no,
                    new_root,
                    stored,
                } => self.note(batch_no, new_root, stored).await?,
            }
        }
        bail!("the proving thread ended")
    }

    async fn commit(&self, stored: Stored, proof: &BatchProof) -> anyhow::Result<()> {
        let batch = proven_batch(proof)?;
        let what = || format!("batch {}", batch.batch_no);
        let root = self.ask(async || self.settlement.status().await).await;
        let status = root.with_context(what)?;
        let old_root = Words(&proof.words).old_root();
        if status.batch_no + 1 == batch.batch_no && status.root != old_root {
            bail!(
                "batch {} starts from root {old_root:#066x}, L1 has {:#066x}",
                batch.batch_no,
                status.root
            );
        }
        (self.venue.report(batch.batch_no, status.batch_no, 0)).await;
        let committed = self.send(&batch).await.with_context(what)?;
        self.keep(Some(stored), &committed)?;
        let on_l1 = committed.batch_no;
        self.venue.report(on_l1, on_l1, committed.block).await;
        Ok(())
    }

    /// Committing is idempotent, so silence is answered by asking again.
    async fn send(&self, batch: &ProvenBatch) -> anyhow::Result<Committed> {
        let mut silence = Silence::default();
        loop {
            let sent = self.settlement.commit_batch(batch).await;
            if let Some(committed) = silence.pass(sent)? {
                return Ok(committed);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    async fn ask<T>(
        &self,
        question: impl AsyncFn() -> Result<T, l1::L1Error>,
    ) -> anyhow::Result<T> {
        let mut silence = Silence::default();
        loop {
            let answer = within(&self.url, question()).await;
            if let Some(answer) = silence.pass(answer)? {
                return Ok(answer);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// A batch that was on L1 before: what is missing of it here is looked up there.
    async fn note(
        &self,
        batch_no: u64,
        new_root: U256,
        stored: Option<Box<Stored>>,
    ) -> anyhow::Result<()> {
        if let Some(on_chain) = stored.as_ref().and_then(|s| s.committed.as_ref()) {
            self.tell(batch_no, on_chain, true);
            return Ok(());
        }
        let found = self.ask(async || self.settlement.committed(batch_no).await);
        let found = found.await.with_context(|| format!("batch {batch_no}"))?;
        let committed = found.with_context(|| {
            format!("L1 counts batch {batch_no} as committed, but no event tells of it")
        })?;
        if committed.new_root != new_root {
            bail!(
                "L1 has root {:#066x} after batch {batch_no}, the journal leads to {new_root:#066x}",
                committed.new_root
            );
        }
        self.keep(stored.map(|s| *s), &committed)
    }

    fn keep(&self, stored: Option<Stored>, committed: &Committed) -> anyhow::Result<()> {
        let on_chain = OnChain {
            tx: committed.tx.to_string(),
            block: committed.block,
            gas: committed.gas_used,
        };
        if let Some(mut stored) = stored {
            stored.committed = Some(on_chain.clone());
            self.store.save(&stored)?;
        }
        self.tell(committed.batch_no, &on_chain, committed.already);
        Ok(())
    }

    fn tell(&self, batch_no: u64, on_chain: &OnChain, already: bool) {
        let OnChain { tx, block, gas } = on_chain;
        let fields = json!({
            "batch_no": batch_no,
            "tx": tx,
            "block": block,
            "gas": gas,
            "already": already,
        });
        let when = if already { "was" } else { "is" };
        let text = format!("batch {batch_no}: {when} on L1, block {block}, gas {gas}, {tx}");
        self.out.event("committed", fields, text);
    }
}

const _: () = assert!(ASK_AGAIN.as_millis() < NODE_PATIENCE.as_millis());
