//! Commands of the doors that nobody can shut: forced requests, the freeze, the escape, refunds. A stranger needs a
//! node, the deployment record and, for what opens the state, a state file or the journal.

use crate::chain::{NodeArgs, TraderArgs, open, within};
use crate::out::{Out, hex};
use crate::replay::Replay;
use anyhow::{Context, ensure};
use clap::{ArgGroup, Args};
use l1::{Deployment, LeafProof, RequestKind, Settlement, StateParts, U256};
use proof::{ExitState, State, Word};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// `prover l1 request`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("kind").required(true).args(["withdraw", "close"])))]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    pub(crate) trader: TraderArgs,
    /// The account; the signing address must own it.
    #[arg(long)]
    account: u32,
    /// Force a withdrawal of so many micro-units.
    #[arg(long, value_name = "MICRO")]
    withdraw: Option<u64>,
    /// Force the close of all positions.
    #[arg(long)]
    close: bool,
}

/// `prover l1 answer`.
#[derive(Args, Debug)]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    pub(crate) trader: TraderArgs,
    /// Number of the request.
    #[arg(long)]
    request: u64,
    /// State file of the last batch on L1.
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
}

/// `prover l1 freeze`.
#[derive(Args, Debug)]
pub(crate) struct FreezeArgs {
    #[command(flatten)]
    pub(crate) trader: TraderArgs,
    /// Number of the request that stands past its deadline.
    #[arg(long)]
    request: u64,
}

/// `prover l1 reclaim`.
#[derive(Args, Debug)]
pub(crate) struct ReclaimArgs {
    #[command(flatten)]
    pub(crate) trader: TraderArgs,
    /// The deposit's place in the queue on L1.
    #[arg(long, value_name = "INDEX")]
    deposit: u64,
}

/// `prover l1 open-exit`.
#[derive(Args, Debug)]
pub(crate) struct OpenExitArgs {
    #[command(flatten)]
    pub(crate) trader: TraderArgs,
    /// State file of the last batch on L1.
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
}

/// `prover l1 escape`.
#[derive(Args, Debug)]
pub(crate) struct EscapeArgs {
    #[command(flatten)]
    pub(crate) trader: TraderArgs,
    /// The account to bring.
    #[arg(long)]
    account: u32,
    /// State file of the last batch on L1.
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
}

/// `prover l1 settle`.
#[derive(Args, Debug)]
pub(crate) struct SettleArgs {
    #[command(flatten)]
    pub(crate) trader: TraderArgs,
    /// The account whose claim was brought.
    #[arg(long)]
    account: u32,
}

/// `prover l1 state`.
#[derive(Args, Debug)]
pub(crate) struct StateArgs {
    /// The venue's data_dir, or a copy with its journal.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
    /// Deployment record.
    #[arg(long, value_name = "FILE")]
    deployment: PathBuf,
    /// Where the state file goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn word(word: &Word) -> U256 {
    U256::from_be_bytes(*word)
}

/// A state file that is what L1's root is the hash of.
async fn state_on_l1(
    path: &Path,
    settlement: &Settlement,
    trader: &TraderArgs,
) -> anyhow::Result<ExitState> {
    let name = path.display();
    let json = fs::read_to_string(path).with_context(|| name.to_string())?;
    let state = ExitState::parse(&json).with_context(|| name.to_string())?;
    let status = within(trader.url(), settlement.status()).await?;
    ensure!(
        state.batch_no() == status.batch_no,
        "{name} is of batch {}, L1 is at batch {}",
        state.batch_no(),
        status.batch_no
    );
    let root = word(&state.root());
    ensure!(
        root == status.root,
        "{name} has root {root:#066x}, L1 holds {:#066x}: it is not the state",
        status.root
    );
    Ok(state)
}

fn parts(state: &ExitState) -> StateParts {
    let [tree, fund, table_digest] = state.parts().map(|w| word(&w));
    StateParts {
        tree,
        fund,
        table_digest,
    }
}

fn table(state: &ExitState) -> Vec<U256> {
    state.table().iter().map(word).collect()
}

fn leaf_proof(state: &ExitState, account: u32) -> LeafProof {
    let (leaf, siblings) = state.open(account);
    LeafProof {
        leaf: leaf.map(|w| word(&w)),
        siblings: siblings.map(|w| word(&w)),
    }
}

fn request_fields(r: &l1::Request) -> Value {
    let (kind, remaining) = match r.kind {
        RequestKind::Withdrawal(micro) => ("withdrawal", micro),
        RequestKind::Close => ("close", 0),
    };
    json!({
        "request": r.id,
        "account": r.account,
        "owner": r.owner.to_string(),
        "kind": kind,
        "remaining_micro": remaining,
        "deadline_s": r.deadline_s,
        "is_open": r.is_open,
    })
}

fn request_text(r: &l1::Request) -> String {
    let what = match r.kind {
        RequestKind::Withdrawal(micro) => format!("withdrawal of {micro} micro-units"),
        RequestKind::Close => "close of all positions".to_owned(),
    };
    format!(
        "request {}: {what}, account {}, to be answered by {} s of the Unix epoch",
        r.id, r.account, r.deadline_s
    )
}

pub(crate) async fn request(args: RequestArgs, out: Out) -> anyhow::Result<()> {
    let settlement = args.trader.settlement().await?;
    let kind = args
        .withdraw
        .map_or(RequestKind::Close, RequestKind::Withdrawal);
    let made = settlement.request(args.account, kind).await?;
    out.result(&request_fields(&made), request_text(&made));
    Ok(())
}

pub(crate) async fn requests(trader: TraderArgs, out: Out) -> anyhow::Result<()> {
    let settlement = trader.reader().await?;
    let open = settlement.open_requests().await?;
    let fields: Vec<Value> = open.iter().map(request_fields).collect();
    let lines: Vec<String> = open.iter().map(request_text).collect();
    let text = if lines.is_empty() {
        "no request stands".to_owned()
    } else {
        lines.join("\n")
    };
    out.result(&json!({ "requests": fields }), text);
    Ok(())
}

pub(crate) async fn answer(args: AnswerArgs, out: Out) -> anyhow::Result<()> {
    let settlement = args.trader.settlement().await?;
    let state = state_on_l1(&args.state, &settlement, &args.trader).await?;
    let request = settlement.request_at(args.request).await?;
    let proof = leaf_proof(&state, request.account);
    let table = table(&state);
    settlement
        .answer_request(request.id, parts(&state), &proof, &table)
        .await?;
    let fields = json!({ "request": request.id, "answered": true });
    out.result(&fields, format!("request {} is answered", request.id));
    Ok(())
}

pub(crate) async fn freeze(args: FreezeArgs, out: Out) -> anyhow::Result<()> {
    let settlement = args.trader.settlement().await?;
    settlement.freeze(args.request).await?;
    let fields = json!({ "request": args.request, "frozen": true });
    out.result(&fields, "the contract is frozen for good");
    Ok(())
}

pub(crate) async fn reclaim(args: ReclaimArgs, out: Out) -> anyhow::Result<()> {
    let settlement = args.trader.settlement().await?;
    let amount = settlement.reclaim(args.deposit).await?;
    let fields = json!({ "deposit": args.deposit, "reclaimed_micro": amount });
    let text = format!(
        "deposit {}: {amount} micro-units to be claimed",
        args.deposit
    );
    out.result(&fields, text);
    Ok(())
}

pub(crate) async fn open_exit(args: OpenExitArgs, out: Out) -> anyhow::Result<()> {
    let settlement = args.trader.settlement().await?;
    let state = state_on_l1(&args.state, &settlement, &args.trader).await?;
    let ends = settlement.open_exit(parts(&state), &table(&state)).await?;
    let fields = json!({ "exit_ends_s": ends });
    out.result(
        &fields,
        format!("claims are gathered until {ends} s of the Unix epoch"),
    );
    Ok(())
}

pub(crate) async fn escape(args: EscapeArgs, out: Out) -> anyhow::Result<()> {
    let settlement = args.trader.settlement().await?;
    let state = state_on_l1(&args.state, &settlement, &args.trader).await?;
    let account = args.account;
    let claim = settlement
        .escape(account, &leaf_proof(&state, account))
        .await?;
    let fields = json!({ "account": account, "claim_pico": claim });
    out.result(
        &fields,
        format!("account {account} claims {claim} pico-units"),
    );
    Ok(())
}

pub(crate) async fn settle(args: SettleArgs, out: Out) -> anyhow::Result<()> {
    let settlement = args.trader.settlement().await?;
    let paid = settlement.settle_escape(args.account).await?;
    let fields = json!({ "account": args.account, "granted_micro": crate::chain::amount(paid) });
    let text = format!(
        "{paid} micro-units granted to the owner of account {}",
        args.account
    );
    out.result(&fields, text);
    Ok(())
}

/// Replays the journal to L1's last batch and writes what its root is the hash of.
pub(crate) async fn state(args: StateArgs, out: Out) -> anyhow::Result<()> {
    let deployment = Deployment::read(&args.deployment)?;
    let url = &args.node.url;
    let settlement = open(args.node.reader().await?, url, &deployment).await?;
    let status = within(url, settlement.status()).await?;
    let mut state = State::genesis();
    let mut replay = Replay::open(&args.data.join("journal"))?;
    while state.batch_no() < status.batch_no {
        let batch = replay.batch_at_rest()?;
        let batch = batch.with_context(|| {
            format!(
                "the journal ends after batch {}, L1 is at batch {}",
                state.batch_no(),
                status.batch_no
            )
        })?;
        let applied = state.apply(&batch);
        applied.with_context(|| format!("batch {}", batch.batch_no))?;
    }
    let exit = ExitState::of(&state);
    let root = word(&exit.root());
    ensure!(
        root == status.root,
        "the journal leads to root {root:#066x}, L1 holds {:#066x}",
        status.root
    );
    let beside = args.out.with_extension("new");
    let write = || -> std::io::Result<()> {
        fs::write(&beside, exit.to_json() + "\n")?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, &args.out)
    };
    write().with_context(|| args.out.display().to_string())?;
    let accounts = exit.accounts().count();
    let fields = json!({
        "batch_no": exit.batch_no(),
        "root": hex(&exit.root()),
        "accounts": accounts,
    });
    let text = format!("state of batch {}: {accounts} accounts", exit.batch_no());
    out.result(&fields, text);
    Ok(())
}
