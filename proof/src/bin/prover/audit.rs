//! `prover audit`: does L1 hold what the journal leads to? From the journal and L1 alone: no batch file, no proof
//! file and no word of the venue is believed.

use crate::chain::{NodeArgs, amount, open, within};
use crate::http;
use crate::out::{Out, hex};
use crate::replay::Replay;
use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use firmware::limits::{ACCOUNTS, INSTRUMENTS, TIER_INSTRUMENTS};
use firmware::units::{AccountId, PICO_PER_MICRO, Pico};
use l1::{Committed, Deployment, Settlement, Status, U256};
use proof::State;
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};
use std::path::{Path, PathBuf};
use tokio::net::TcpStream;

/// The event that a committed batch leaves behind.
const BATCH_COMMITTED: &str = "BatchCommitted(uint64,uint256,uint256,uint64,uint64,uint64,uint256)";

/// `prover audit`.
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// The venue's data_dir.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
    /// Deployment record.
    #[arg(long, value_name = "FILE")]
    deployment: PathBuf,
    /// JSON instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the journal leads to.
struct Journal {
    /// State after the last batch that L1 has, or after the last one sealed if L1 has more.
    state: State,
    /// Journal hash, last record and time of that batch.
    journal_hash: [u8; 32],
    last_seq: u64,
    time_ns: u64,
    deposits: u64,
    sealed: u64,
    records: u64,
    engine_contracts: bool,
    tail: Option<String>,
}

/// What L1 says.
struct Chain {
    status: Status,
    /// Deposits that batches consumed, as the venue counts: without rows that their owners took back.
    deposits_consumed: u64,
    unconsumed_micro: U256,
    /// Journal hash of the last batch; `None` before the first.
    journal_hash: Option<[u8; 32]>,
}

pub(crate) async fn audit(args: AuditArgs, out: Out) -> anyhow::Result<()> {
    let deployment = Deployment::read(&args.deployment)?;
    let url = &args.node.url;
    let settlement = open(args.node.reader().await?, url, &deployment).await?;
    let chain = read_chain(url, &settlement).await?;
    let journal = replay(&args.data.join("journal"), chain.status.batch_no)?;
    let found = Found::of(&journal, &chain);
    let fields = found.fields(&journal, &chain);
    let text = format!(
        "{} batches on L1, {} sealed, {} records\nroot {:#066x}\ncollateral {} = claims {} + unclaimed {} + unconsumed deposits {} + surplus {} (micro-units)",
        chain.status.batch_no,
        journal.sealed,
        journal.records,
        chain.status.root,
        chain.status.collateral_micro,
        found.claims_text(),
        chain.status.pending_micro,
        chain.unconsumed_micro,
        found.surplus_micro,
    );
    out.result(&fields, text);
    found.judge(&journal, &chain)
}

fn replay(dir: &Path, batches: u64) -> anyhow::Result<Journal> {
    ensure!(dir.is_dir(), "{}: no journal there", dir.display());
    let mut replay = Replay::open(dir)?;
    let mut journal = Journal {
        state: State::genesis(),
        journal_hash: [0; 32],
        last_seq: 0,
        time_ns: 0,
        deposits: 0,
        sealed: 0,
        records: 0,
        engine_contracts: true,
        tail: None,
    };
    while let Some(batch) = replay.batch_at_rest()? {
        journal.sealed = batch.batch_no;
        if batch.batch_no > batches {
            continue;
        }
        let applied = journal.state.apply(&batch);
        applied.with_context(|| format!("batch {}", batch.batch_no))?;
        journal.journal_hash = batch.journal_hash;
        journal.last_seq = batch.last_seq.0;
        journal.time_ns = batch.time.0;
        journal.deposits += batch.deposits.len() as u64;
    }
    let engine = replay.engine();
    journal.records = engine.last_seq().0;
    journal.engine_contracts = engine.accounts().contracts() == [0; INSTRUMENTS];
    journal.tail = replay.tail();
    Ok(journal)
}

async fn read_chain(url: &str, settlement: &Settlement) -> anyhow::Result<Chain> {
    let status = within(url, settlement.status()).await?;
    let mut unconsumed_micro = U256::ZERO;
    // The contract counts rows of its queue; a row that was taken back is a hole there, and none to the venue.
    let gone = within(url, settlement.reclaimed_rows(status.block)).await?;
    let passed = gone.range(..status.deposits_consumed).count() as u64;
    let deposits_consumed = status.deposits_consumed - passed;
    let deposits = status.deposits - gone.len() as u64;
    let mut watch = settlement.watch_deposits(deposits_consumed, 0);
    while watch.next_index() < deposits {
        let found = within(url, watch.poll(settlement)).await?;
        ensure!(
            !found.is_empty(),
            "L1 counts {deposits} deposits, its events end before deposit {}",
            watch.next_index()
        );
        let of_then = found.iter().filter(|d| d.index < deposits);
        unconsumed_micro += of_then.map(|d| U256::from(d.amount_micro)).sum::<U256>();
    }
    let mut journal_hash = None;
    if status.batch_no > 0 {
        let committed = within(url, settlement.committed(status.batch_no)).await?;
        let committed = committed.with_context(|| {
            format!(
                "L1 counts {} batches, but no event tells of the last",
                status.batch_no
            )
        })?;
        let read = journal_hash_on_l1(url, settlement.deployment(), &committed).await;
        journal_hash = Some(read.with_context(|| format!("event of batch {}", status.batch_no))?);
    }
    Ok(Chain {
        status,
        deposits_consumed,
        unconsumed_micro,
        journal_hash,
    })
}

/// The journal hash in the event of a batch. It is read from the raw log: the contract keeps it nowhere else.
async fn journal_hash_on_l1(
    url: &str,
    deployment: &Deployment,
    committed: &Committed,
) -> anyhow::Result<[u8; 32]> {
    let uri: hyper::Uri = url.parse().context("node address")?;
    let host = uri.host().context("the node address names no host")?;
    let port = uri.port_u16().unwrap_or(80);
    let topic = hex(&Keccak256::digest(BATCH_COMMITTED.as_bytes()));
    let batch = format!("{:#066x}", U256::from(committed.batch_no));
    let block = format!("{:#x}", committed.block);
    let request = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_getLogs",
        "params": [{
            "address": deployment.settlement.to_string(),
            "topics": [topic, batch],
            "fromBlock": block,
            "toBlock": block,
        }],
    });
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = uri.authority().map_or(host, |a| a.as_str());
    let (status, answer) = http::call(stream, authority, path, Some(&request)).await?;
    let data = answer["result"][0]["data"].as_str();
    let data = data.ok_or_else(|| anyhow!("eth_getLogs answers {status}: {answer}"))?;
    // The data's words: new root, journal hash, ...
    let digits = data.get(2 + 64..2 + 128).context("its data is too short")?;
    let word = U256::from_str_radix(digits, 16).context("its data is no hex")?;
    Ok(word.to_be_bytes())
}

/// The comparison.
struct Found {
    root_engine: U256,
    claims_pico: Pico,
    surplus_micro: String,
    state_root_match: bool,
    conservation_ok: bool,
    contracts_sum_zero: bool,
    journal_hash_match: bool,
}

impl Found {
    fn of(journal: &Journal, chain: &Chain) -> Self {
        let status = &chain.status;
        let root_engine = U256::from_be_bytes(journal.state.root());
        let mut claims_pico = journal.state.fund_pico();
        let mut contracts = [0i128; TIER_INSTRUMENTS];
        for account in 0..ACCOUNTS as u32 {
            let leaf = journal.state.leaf(AccountId(account));
            claims_pico += leaf.cash_pico;
            for (sum, lots) in contracts.iter_mut().zip(&leaf.positions) {
                *sum += i128::from(*lots);
            }
        }
        let mut journal_hash = journal.journal_hash;
        journal_hash[0] &= 0x1f;
        let owed = U256::try_from(claims_pico).ok().map(|claims| {
            claims + (status.pending_micro + chain.unconsumed_micro) * U256::from(PICO_PER_MICRO)
        });
        let held = status.collateral_micro * U256::from(PICO_PER_MICRO);
        let surplus = owed.and_then(|owed| held.checked_sub(owed));
        let claims_match = U256::try_from(claims_pico)
            .is_ok_and(|c| c == status.held_for_state_micro * U256::from(PICO_PER_MICRO));
        Self {
            root_engine,
            claims_pico,
            surplus_micro: surplus.map_or_else(
                || "none: collateral is missing".to_owned(),
                |s| (s / U256::from(PICO_PER_MICRO)).to_string(),
            ),
            state_root_match: root_engine == status.root
                && journal.state.batch_no() == status.batch_no,
            conservation_ok: surplus.is_some() && claims_match,
            contracts_sum_zero: contracts == [0; TIER_INSTRUMENTS] && journal.engine_contracts,
            journal_hash_match: chain.journal_hash.is_none_or(|on_l1| on_l1 == journal_hash),
        }
    }

    /// Claims in micro-units, with the pico-units that should not be there.
    fn claims_text(&self) -> String {
        let whole = self.claims_pico.div_euclid(PICO_PER_MICRO);
        match self.claims_pico.rem_euclid(PICO_PER_MICRO) {
            0 => whole.to_string(),
            rest => format!("{whole}.{rest:06}"),
        }
    }

    fn fields(&self, journal: &Journal, chain: &Chain) -> Value {
        let status = &chain.status;
        let claims = self.claims_text();
        json!({
            "batches": status.batch_no,
            "batches_sealed": journal.sealed,
            "records": journal.records,
            "last_seq": status.last_seq,
            "tail": journal.tail.as_deref().unwrap_or("clean"),
            "root_l1": format!("{:#066x}", status.root),
            "root_engine": format!("{:#066x}", self.root_engine),
            "state_root_match": self.state_root_match,
            "journal_hash_match": self.journal_hash_match,
            "collateral_micro": amount(status.collateral_micro),
            "claims_micro": claims.parse::<u64>().map_or_else(|_| claims.into(), Value::from),
            "pending_micro": amount(status.pending_micro),
            "unconsumed_deposits_micro": amount(chain.unconsumed_micro),
            "surplus_micro": self.surplus_micro.parse::<u64>().ok(),
            "conservation_ok": self.conservation_ok,
            "contracts_sum_zero": self.contracts_sum_zero,
        })
    }

    /// The first difference, as an error.
    fn judge(&self, journal: &Journal, chain: &Chain) -> anyhow::Result<()> {
        let status = &chain.status;
        if journal.state.batch_no() != status.batch_no {
            bail!(
                "L1 has {} batches, the journal seals {}",
                status.batch_no,
                journal.sealed
            );
        }
        for (what, on_l1, ours) in [
            (
                "deposits consumed",
                chain.deposits_consumed,
                journal.deposits,
            ),
            ("the last record", status.last_seq, journal.last_seq),
            (
                "the time of the last batch",
                status.time_ns,
                journal.time_ns,
            ),
        ] {
            if on_l1 != ours {
                bail!("{what}: L1 has {on_l1}, the journal {ours}");
            }
        }
        if !self.state_root_match {
            bail!(
                "state root after batch {}: L1 has {:#066x}, the journal leads to {:#066x}",
                status.batch_no,
                status.root,
                self.root_engine
            );
        }
        if !self.journal_hash_match {
            bail!(
                "journal hash of batch {}: L1 has {}, the journal {} (top three bits aside)",
                status.batch_no,
                chain.journal_hash.map_or_else(String::new, |h| hex(&h)),
                hex(&journal.journal_hash)
            );
        }
        ensure!(
            self.contracts_sum_zero,
            "contracts of an instrument do not sum to zero over all accounts"
        );
        ensure!(
            self.conservation_ok,
            "collateral of {} micro-units does not cover claims {} + unclaimed {} + unconsumed deposits {}, or the contract holds {} for the state instead of the claims",
            status.collateral_micro,
            self.claims_text(),
            status.pending_micro,
            chain.unconsumed_micro,
            status.held_for_state_micro
        );
        Ok(())
    }
}
