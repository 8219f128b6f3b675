//! Commands that touch L1 and nothing else, and what every command needs to reach it.

use crate::exits::{
    self, AnswerArgs, EscapeArgs, FreezeArgs, OpenExitArgs, ReclaimArgs, RequestArgs, SettleArgs,
    StateArgs,
};
use crate::out::Out;
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use l1::devnet::{DEV_CHAIN_ID, DEV_KEYS, Devnet};
use l1::{Address, Deployment, L1Client, L1Error, Roles, Settlement, Terms, U256, is_dev_chain};
use proof::State;
use serde_json::{Value, json};
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a node may stay silent before it counts as gone.
pub(crate) const NODE_PATIENCE: Duration = Duration::from_secs(10);

/// Which node.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArgs {
    /// JSON-RPC of an Ethereum node, as http://127.0.0.1:8545.
    #[arg(long = "l1", value_name = "URL")]
    pub(crate) url: String,
}

/// Who signs. Without either: dev key 0.
#[derive(Args, Clone, Debug)]
pub(crate) struct SignerArgs {
    /// One of the ten dev keys that everybody knows (0 to 9); on development chains only.
    #[arg(long, value_name = "I", conflicts_with = "key_file")]
    dev_key: Option<usize>,
    /// File with 32 bytes of hex, readable by its owner alone.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl NodeArgs {
    /// Connects for reading only.
    pub(crate) async fn reader(&self) -> anyhow::Result<L1Client> {
        // The client wants a key; nothing is ever signed with this one.
        Ok(within(&self.url, L1Client::connect(&self.url, DEV_KEYS[0])).await?)
    }

    /// Connects with a key that signs.
    pub(crate) async fn signer(&self, signer: &SignerArgs) -> anyhow::Result<L1Client> {
        let Some(path) = &signer.key_file else {
            let place = signer.dev_key.unwrap_or(0);
            let key = DEV_KEYS.get(place);
            let key = key.with_context(|| format!("dev key {place}: there are 0 to 9"))?;
            let client = within(&self.url, L1Client::connect(&self.url, key)).await?;
            let chain_id = client.chain_id();
            ensure!(
                is_dev_chain(chain_id),
                "everybody knows the dev keys and chain {chain_id} is no development chain: give --key-file"
            );
            return Ok(client);
        };
        let name = path.display();
        let meta = std::fs::metadata(path).with_context(|| name.to_string())?;
        let mode = meta.permissions().mode() & 0o777;
        ensure!(
            mode & 0o077 == 0,
            "{name}: mode {mode:o} lets others read the key; make it 600"
        );
        let key = std::fs::read_to_string(path).with_context(|| name.to_string())?;
        let client = within(&self.url, L1Client::connect(&self.url, &key)).await;
        client.with_context(|| name.to_string())
    }
}

/// A request that must be answered in [`NODE_PATIENCE`].
pub(crate) async fn within<T>(
    url: &str,
    request: impl Future<Output = Result<T, L1Error>>,
) -> Result<T, L1Error> {
    let answer = timeout(NODE_PATIENCE, request).await;
    answer.unwrap_or_else(|_| {
        Err(L1Error::NoAnswer {
            url: url.to_owned(),
            reason: format!("nothing within {} s", NODE_PATIENCE.as_secs()),
        })
    })
}

/// Bears a node's silence for [`NODE_PATIENCE`], and no other error.
#[derive(Default)]
pub(crate) struct Silence {
    since: Option<Instant>,
}

impl Silence {
    /// `None` means: no answer, to be asked again.
    pub(crate) fn pass<T>(&mut self, answer: Result<T, L1Error>) -> Result<Option<T>, L1Error> {
        match answer {
            Ok(value) => {
                self.since = None;
                Ok(Some(value))
            }
            Err(L1Error::NoAnswer { .. })
                if self.since.get_or_insert_with(Instant::now).elapsed() < NODE_PATIENCE =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

/// Opens the contracts of a deployment record.
pub(crate) async fn open(
    client: L1Client,
    url: &str,
    deployment: &Deployment,
) -> anyhow::Result<Settlement> {
    Ok(within(url, client.settlement(deployment)).await?)
}

/// An amount as JSON: a number where it is one to everybody.
pub(crate) fn amount(value: U256) -> Value {
    match u64::try_from(value) {
        Ok(small) => small.into(),
        Err(_) => value.to_string().into(),
    }
}

/// `prover devnet`.
#[derive(Args, Debug)]
pub(crate) struct DevnetArgs {
    /// Port on 127.0.0.1; 0 for any free one.
    #[arg(long)]
    port: u16,
}

pub(crate) async fn devnet(args: DevnetArgs) -> anyhow::Result<()> {
    let devnet = Devnet::bind(args.port, DEV_CHAIN_ID).await?;
    Out::new(false).result(&Value::Null, format!("devnet: ready {}", devnet.url()));
    Ok(devnet.run().await?)
}

/// `prover deploy`.
#[derive(Args, Debug)]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    signer: SignerArgs,
    /// Where the deployment record goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Who commits batches; the signing address if not given. The admin can name others.
    #[arg(long, value_name = "ADDRESS")]
    operator: Option<Address>,
    /// Who announces changes and names operators; the signing address if not given.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<Address>,
    /// Who may pause; the signing address if not given.
    #[arg(long, value_name = "ADDRESS")]
    guardian: Option<Address>,
    /// Seconds that a forced request may stand.
    #[arg(long, value_name = "S", default_value_t = Terms::default().forced_window_s)]
    forced_window: u64,
    /// Seconds after which an owner may take a waiting deposit back.
    #[arg(long, value_name = "S", default_value_t = Terms::default().deposit_window_s)]
    deposit_window: u64,
    /// Seconds for which claims are gathered after a freeze.
    #[arg(long, value_name = "S", default_value_t = Terms::default().exit_window_s)]
    exit_window: u64,
    /// Seconds between the announcement of a change and the change.
    #[arg(long, value_name = "S", default_value_t = Terms::default().change_delay_s)]
    change_delay: u64,
    /// Price of a forced request.
    #[arg(long, value_name = "WEI", default_value_t = Terms::default().request_fee_wei)]
    request_fee: U256,
    /// Collateral token that is there already.
    #[arg(long, value_name = "ADDRESS")]
    token: Option<Address>,
    /// Print the record as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn deploy(args: DeployArgs, out: Out) -> anyhow::Result<()> {
    let client = args.node.signer(&args.signer).await?;
    let root = U256::from_be_bytes(State::genesis().root());
    let operator = args.operator.unwrap_or(client.address());
    let roles = Roles {
        admin: args.admin.unwrap_or(client.address()),
        operator,
        guardian: args.guardian.unwrap_or(client.address()),
    };
    let terms = Terms {
        forced_window_s: args.forced_window,
        deposit_window_s: args.deposit_window,
        exit_window_s: args.exit_window,
        change_delay_s: args.change_delay,
        request_fee_wei: args.request_fee,
        ..Terms::default()
    };
    let deployment = client.deploy_with(&terms, roles, root, args.token).await?;
    deployment.write(&args.out)?;
    let warning = if deployment.insecure_key {
        "; its verifying key is INSECURE: anyone can forge proofs for it"
    } else {
        ""
    };
    let text = format!(
        "settlement contract {} on chain {}, token {}, operator {operator}{warning}",
        deployment.settlement, deployment.chain_id, deployment.token
    );
    let record = serde_json::to_value(&deployment).context("deployment record")?;
    out.result(&record, text);
    Ok(())
}

/// What the commands of a trader have in common.
#[derive(Args, Debug)]
pub(crate) struct TraderArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Deployment record.
    #[arg(long, value_name = "FILE")]
    deployment: PathBuf,
    #[command(flatten)]
    signer: SignerArgs,
    /// Try it and say what would happen; send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl TraderArgs {
    pub(crate) fn url(&self) -> &str {
        &self.node.url
    }

    /// For commands that sign nothing: no key need be given.
    pub(crate) async fn reader(&self) -> anyhow::Result<Settlement> {
        if self.signer.dev_key.is_some() || self.signer.key_file.is_some() {
            return self.settlement().await;
        }
        let deployment = Deployment::read(&self.deployment)?;
        open(self.node.reader().await?, &self.node.url, &deployment).await
    }

    pub(crate) async fn settlement(&self) -> anyhow::Result<Settlement> {
        let deployment = Deployment::read(&self.deployment)?;
        let mut client = self.node.signer(&self.signer).await?;
        if self.dry_run {
            client = client.dry_run();
        }
        open(client, &self.node.url, &deployment).await
    }
}

/// `prover l1`.
#[derive(Subcommand, Debug)]
pub(crate) enum L1Command {
    /// Open an account for the signing address.
    Open(TraderArgs),
    /// Approve and deposit.
    Deposit {
        #[command(flatten)]
        trader: TraderArgs,
        /// Account to fund.
        #[arg(long)]
        account: u32,
        /// Micro-units.
        #[arg(long, value_name = "MICRO")]
        amount: u64,
        /// Make the money first: worthless test money only.
        #[arg(long)]
        mint: bool,
    },
    /// Take out all that batches granted to the signing address.
    Claim {
        #[command(flatten)]
        trader: TraderArgs,
        /// Where to; the signing address if not given.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<Address>,
    },
    /// Show the contract's registers.
    Status(TraderArgs),
    /// Force a withdrawal or the close of all positions, for the contract's fee.
    Request(RequestArgs),
    /// Show the forced requests that stand.
    Requests(TraderArgs),
    /// Prove that a forced request is done or cannot be done.
    Answer(AnswerArgs),
    /// Freeze the contract for good, because a request stands past its deadline.
    Freeze(FreezeArgs),
    /// Take back a deposit that no batch consumed in time, or any after a freeze.
    Reclaim(ReclaimArgs),
    /// Write the state file of L1's last batch from the journal.
    State(StateArgs),
    /// After a freeze: open what the last root is the hash of.
    OpenExit(OpenExitArgs),
    /// After a freeze: bring the leaf of an account.
    Escape(EscapeArgs),
    /// After the exit window: grant what an account's claim comes to.
    Settle(SettleArgs),
}

impl L1Command {
    pub(crate) const fn json(&self) -> bool {
        match self {
            Self::Open(trader) | Self::Status(trader) | Self::Requests(trader) => trader.json,
            Self::Request(args) => args.trader.json,
            Self::Answer(args) => args.trader.json,
            Self::Freeze(args) => args.trader.json,
            Self::Reclaim(args) => args.trader.json,
            Self::State(args) => args.json,
            Self::OpenExit(args) => args.trader.json,
            Self::Escape(args) => args.trader.json,
            Self::Settle(args) => args.trader.json,
            Self::Deposit { trader, .. } | Self::Claim { trader, .. } => trader.json,
        }
    }
}

pub(crate) async fn l1(command: L1Command, out: Out) -> anyhow::Result<()> {
    match execute(command, out).await {
        Err(e) => match e.downcast_ref::<L1Error>() {
            Some(L1Error::DryRun { what, gas }) => {
                let fields = json!({ "dry_run": what, "gas_max": gas });
                out.result(&fields, &e);
                Ok(())
            }
            _ => Err(e),
        },
        done => done,
    }
}

async fn execute(command: L1Command, out: Out) -> anyhow::Result<()> {
    match command {
        L1Command::Request(args) => exits::request(args, out).await?,
        L1Command::Requests(trader) => exits::requests(trader, out).await?,
        L1Command::Answer(args) => exits::answer(args, out).await?,
        L1Command::Freeze(args) => exits::freeze(args, out).await?,
        L1Command::Reclaim(args) => exits::reclaim(args, out).await?,
        L1Command::State(args) => exits::state(args, out).await?,
        L1Command::OpenExit(args) => exits::open_exit(args, out).await?,
        L1Command::Escape(args) => exits::escape(args, out).await?,
        L1Command::Settle(args) => exits::settle(args, out).await?,
        L1Command::Open(trader) => {
            let settlement = trader.settlement().await?;
            let account = settlement.open_account().await?;
            let owner = settlement.client().address();
            let fields = json!({ "account": account, "owner": owner.to_string() });
            out.result(&fields, format!("account {account} belongs to {owner}"));
        }
        L1Command::Deposit {
            trader,
            account,
            amount,
            mint,
        } => {
            let settlement = trader.settlement().await?;
            if settlement.owner_of(account).await?.is_none() {
                bail!("account {account} was never opened");
            }
            if mint {
                let own = settlement.client().address();
                settlement.mint_test_token(own, amount).await?;
            }
            settlement.approve(amount).await?;
            let d = settlement.deposit(account, amount).await?;
            let fields = json!({
                "queue_index": d.index,
                "account": d.account,
                "owner": d.owner.to_string(),
                "amount_micro": d.amount_micro,
                "block": d.block,
            });
            let text = format!(
                "deposit {} of {amount} micro-units to account {account}",
                d.index
            );
            out.result(&fields, text);
        }
        L1Command::Claim { trader, to } => {
            let settlement = trader.settlement().await?;
            let owner = settlement.client().address();
            let to = to.unwrap_or(owner);
            let claimed = settlement.claim(to).await?;
            let fields = json!({
                "claimed_micro": amount(claimed),
                "owner": owner.to_string(),
                "to": to.to_string(),
            });
            out.result(&fields, format!("{claimed} micro-units went to {to}"));
        }
        L1Command::Status(trader) => status(&trader, out).await?,
    }
    Ok(())
}

async fn status(trader: &TraderArgs, out: Out) -> anyhow::Result<()> {
    let settlement = trader.reader().await?;
    let status = within(&trader.node.url, settlement.status()).await?;
    let owner = settlement.client().address();
    let own_pending = settlement.pending(owner).await?;
    let own_balance = settlement.token_balance(owner).await?;
    let frozen = settlement.frozen().await?;
    let exit_ends_s = settlement.exit_ends_s().await?;
    let fields = json!({
        "block": status.block,
        "root": format!("{:#066x}", status.root),
        "batch_no": status.batch_no,
        "last_seq": status.last_seq,
        "batch_time_ns": status.time_ns,
        "deposits": status.deposits,
        "deposits_consumed": status.deposits_consumed,
        "pending_micro": amount(status.pending_micro),
        "held_for_state_micro": amount(status.held_for_state_micro),
        "collateral_micro": amount(status.collateral_micro),
        "frozen": frozen,
        "exit_ends_s": exit_ends_s,
        "owner": owner.to_string(),
        "owner_pending_micro": amount(own_pending),
        "owner_balance_micro": amount(own_balance),
    });
    let frozen = if frozen { "frozen\n" } else { "" };
    let text = format!(
        "{frozen}batch {} root {:#066x}\ndeposits {} queued, {} consumed\ncollateral {} micro-units: {} for the state, {} granted and unclaimed\n{owner} can claim {own_pending}, holds {own_balance}",
        status.batch_no,
        status.root,
        status.deposits,
        status.deposits_consumed,
        status.collateral_micro,
        status.held_for_state_micro,
        status.pending_micro,
    );
    out.result(&fields, text);
    Ok(())
}
