//! The words of `hostd admin`, and which request each stands for.

use crate::config::Config;
use crate::ops::role::Role;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// `hostd admin`
#[derive(Args)]
pub struct AdminArgs {
    /// Directory of the sockets.
    #[arg(
        long,
        global = true,
        env = "HOSTD_ADMIN_DIR",
        default_value = "/run/hostd"
    )]
    dir: PathBuf,
    /// TOML file of the box, to find the directory in it.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// JSON instead of tables.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Why; needed for every change, and kept in the audit log.
    #[arg(long, global = true)]
    pub(super) reason: Option<String>,
    /// Only say what would come of it.
    #[arg(long, global = true)]
    pub(super) dry_run: bool,
    /// Do not ask.
    #[arg(long, global = true)]
    pub(super) yes: bool,
    /// Idempotency key: the same one again does not do it again.
    #[arg(long, global = true)]
    key: Option<String>,
    #[command(subcommand)]
    pub(super) noun: Noun,
}

impl AdminArgs {
    pub(super) fn dir(&self) -> anyhow::Result<PathBuf> {
        match &self.config {
            None => Ok(self.dir.clone()),
            Some(path) => Ok(Config::load(path)?.admin.dir),
        }
    }

    /// The key that was given, or one that nobody else has.
    pub(super) fn key(&self) -> String {
        self.key.clone().unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.unwrap_or_default().as_nanos();
            format!("cli-{}-{now}", std::process::id())
        })
    }
}

/// What is looked at or changed.
#[derive(Subcommand)]
pub(super) enum Noun {
    /// Counts and percentiles of the box.
    Status,
    /// Whom the box takes you for.
    Whoami,
    /// The day: what it needs, its start, its end.
    Day {
        #[command(subcommand)]
        verb: Day,
    },
    /// Instruments and their trading states.
    Instrument {
        #[command(subcommand)]
        verb: Instrument,
    },
    /// Members, their rates, locks and keys.
    Member {
        #[command(subcommand)]
        verb: Member,
    },
    /// Sessions.
    Session {
        #[command(subcommand)]
        verb: Session,
    },
    /// Accounts: money, margin, positions.
    Account {
        #[command(subcommand)]
        verb: Account,
    },
    /// Orders.
    Order {
        #[command(subcommand)]
        verb: Order,
    },
    /// Batches.
    Batch {
        #[command(subcommand)]
        verb: Batch,
    },
    /// How good the clock is, and who stamps datagrams.
    Clock,
    /// What the market data's lines and servers did.
    Feed,
    /// Where the journal is, and how fast; `hostd journal` looks into it.
    Journal,
    /// Snapshots of the state.
    Snapshot {
        #[command(subcommand)]
        verb: Snapshot,
    },
    /// Replays of the journal.
    Replay {
        #[command(subcommand)]
        verb: Replay,
    },
    /// Long jobs.
    Job {
        #[command(subcommand)]
        verb: Job,
    },
    /// Acts that wait for a second person.
    Approval {
        #[command(subcommand)]
        verb: Approval,
    },
    /// Prices.
    Oracle {
        #[command(subcommand)]
        verb: Oracle,
    },
    /// The configuration in force.
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// The audit log.
    Audit {
        #[command(subcommand)]
        verb: Audit,
    },
    /// Follow the events of the log.
    Events {
        /// Number of the last event that is known.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// The box itself.
    Box {
        #[command(subcommand)]
        verb: BoxVerb,
    },
}

#[derive(Subcommand)]
pub(super) enum Day {
    /// What the day needs before it starts.
    Status,
    /// Open what waits in pre-open or auction.
    Start,
    /// Halt, cancel all orders, seal, make a snapshot.
    End,
}

#[derive(Subcommand)]
pub(super) enum Instrument {
    /// All of them.
    List,
    /// The best levels of one's book.
    Book {
        /// Number.
        instrument: u16,
    },
    /// List one while the box runs.
    Add {
        /// TOML file with the keys of one of `[[instruments]]`.
        file: PathBuf,
    },
    /// Delist one that nobody holds.
    Delist {
        /// Number.
        instrument: u16,
    },
    /// Move one, or all, to a trading state.
    State {
        /// Number, or `all`.
        instrument: String,
        /// pre-open, auction, open, cancel-only, halt, settle or delivered.
        state: String,
    },
    /// Halt one, or all.
    Halt {
        /// Number, or `all`.
        instrument: String,
    },
    /// Open one, or all.
    Resume {
        /// Number, or `all`.
        instrument: String,
    },
}

#[derive(Subcommand)]
pub(super) enum Member {
    /// All of them.
    List,
    /// Let a member's account, or all of them, only reduce.
    Lock {
        /// Number.
        member: u32,
        /// Account; all without it.
        #[arg(long)]
        account: Option<u32>,
    },
    /// End a lock.
    Unlock {
        /// Number.
        member: u32,
        /// Account; all without it.
        #[arg(long)]
        account: Option<u32>,
    },
    /// Set a member's rates.
    Limits {
        /// Number.
        member: u32,
        /// Requests a second.
        #[arg(long)]
        orders_per_second: Option<u32>,
        /// Entries of mass quotes a second.
        #[arg(long)]
        quotes_per_second: Option<u32>,
    },
    /// Keys that open sessions.
    Keys,
    /// Add or replace a key.
    KeyAdd {
        /// Number.
        member: u32,
        /// Number of the key, 1 to 255.
        key_id: u32,
        /// Ed25519, hex.
        public_key: String,
    },
    /// Revoke a key.
    KeyRevoke {
        /// Number.
        member: u32,
        /// Number of the key.
        key_id: u32,
    },
}

#[derive(Subcommand)]
pub(super) enum Session {
    /// All of them.
    List,
    /// End a member's session.
    Kick {
        /// Number of the member.
        member: u32,
    },
}

#[derive(Subcommand)]
pub(super) enum Account {
    /// One account.
    Show {
        /// Number.
        account: u32,
    },
}

#[derive(Subcommand)]
pub(super) enum Order {
    /// Open orders of an account, the oldest first.
    List {
        /// Number.
        #[arg(long)]
        account: u32,
    },
    /// Cancel orders of a member, an account or an instrument.
    Cancel {
        /// Of this member.
        #[arg(long, required_unless_present_any = ["account", "instrument"])]
        member: Option<u32>,
        /// Of this account.
        #[arg(long)]
        account: Option<u32>,
        /// In this instrument.
        #[arg(long)]
        instrument: Option<u16>,
    },
    /// Cancel all orders of the venue.
    CancelAll,
}

#[derive(Subcommand)]
pub(super) enum Batch {
    /// Batches sealed, proven and on L1.
    Show,
    /// Close the open batch.
    Seal,
}

#[derive(Subcommand)]
pub(super) enum Snapshot {
    /// Make one, and wait for it.
    Take,
}

#[derive(Subcommand)]
pub(super) enum Replay {
    /// Replay what is durable, and say the state's hash.
    Run,
}

#[derive(Subcommand)]
pub(super) enum Job {
    /// All of them.
    List,
    /// One.
    Show {
        /// Number.
        job: u64,
    },
}

#[derive(Subcommand)]
pub(super) enum Approval {
    /// All of them.
    List,
    /// Approve one: it is done.
    Approve {
        /// Number.
        approval: u64,
    },
    /// Deny one, or take it back.
    Deny {
        /// Number.
        approval: u64,
    },
}

#[derive(Subcommand)]
pub(super) enum Oracle {
    /// What the oracles come to.
    Show,
    /// Use these prices, whatever the oracles say.
    Override {
        /// Index, micro-units.
        #[arg(long)]
        index_micro: i64,
        /// Volatilities of the four slots, scaled by 1e9.
        #[arg(long, num_args = 4, value_name = "VOL")]
        vols_e9: Vec<i64>,
    },
    /// Use the oracles' prices again.
    Release,
}

#[derive(Subcommand)]
pub(super) enum ConfigVerb {
    /// All of it.
    Show,
    /// Keys in which the file differs.
    Diff,
    /// Take over what can change while the box runs.
    Reload,
}

#[derive(Subcommand)]
pub(super) enum Audit {
    /// Entries after a number, 1000 at most.
    Show {
        /// Number of the last entry that is known.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Check the log of a data_dir against itself and against the journal.
    Verify {
        /// The venue's data_dir.
        #[arg(long)]
        data: PathBuf,
    },
}

#[derive(Subcommand)]
pub(super) enum BoxVerb {
    /// Refuse logins, and orders that may add risk.
    Drain,
    /// Stop the box when everything is durable.
    Stop,
}

/// What a command does.
pub(super) enum Plan {
    Show(Show),
    Call(Call),
    Job(Call),
    List(PathBuf),
    Answer { approval: u64, approve: bool },
    Events { after: u64 },
    Verify { data: PathBuf },
    DayStatus,
    DayStart,
    DayEnd,
}

/// A look, and the columns that people want to see.
pub(super) struct Show {
    pub(super) path: String,
    pub(super) columns: &'static [&'static str],
}

/// A change.
pub(super) struct Call {
    pub(super) role: Role,
    pub(super) path: String,
    pub(super) body: Map<String, Value>,
    pub(super) what: &'static str,
    pub(super) is_dangerous: bool,
}

impl Call {
    pub(super) fn of(role: Role, path: &str, what: &'static str) -> Self {
        Self {
            role,
            path: path.into(),
            body: Map::new(),
            what,
            is_dangerous: false,
        }
    }

    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        if !value.is_null() {
            self.body.insert(key.into(), value);
        }
        self
    }

    fn dangerous(mut self) -> Self {
        self.is_dangerous = true;
        self
    }
}

fn show(path: impl Into<String>, columns: &'static [&'static str]) -> Plan {
    Plan::Show(Show {
        path: path.into(),
        columns,
    })
}

/// A number as a number, the rest as it is: `all`, or what the box refuses by name.
fn which(text: &str) -> Value {
    text.parse::<u32>().map_or_else(|_| text.into(), Into::into)
}

impl Noun {
    pub(super) fn plan(&self) -> Plan {
        match self {
            Self::Status => show("/v1/status", &[]),
            Self::Whoami => show("/v1/whoami", &[]),
            Self::Day { verb } => match verb {
                Day::Status => Plan::DayStatus,
                Day::Start => Plan::DayStart,
                Day::End => Plan::DayEnd,
            },
            Self::Instrument { verb } => instrument(verb),
            Self::Member { verb } => member(verb),
            Self::Session { verb } => match verb {
                Session::List => show("/v1/sessions", &[]),
                Session::Kick { member } => Plan::Call(
                    Call::of(Role::Ops, "/v1/kick", "end the session of a member")
                        .with("member", (*member).into())
                        .dangerous(),
                ),
            },
            Self::Account { verb } => match verb {
                Account::Show { account } => show(
                    format!("/v1/accounts/{account}"),
                    &[
                        "account",
                        "member",
                        "is_funded",
                        "is_locked",
                        "cash_micro",
                        "equity_micro",
                        "worst_micro",
                        "maintenance_micro",
                        "positions",
                        "orders_open",
                    ],
                ),
            },
            Self::Order { verb } => order(verb),
            Self::Batch { verb } => match verb {
                Batch::Show => show("/v1/status", &["batches_sealed", "proofs", "settlements"]),
                Batch::Seal => Plan::Call(Call::of(Role::Ops, "/v1/seal", "close the open batch")),
            },
            Self::Clock => show("/v1/status", &["clock", "nic"]),
            Self::Feed => show("/v1/status", &["feed"]),
            Self::Journal => show("/v1/status", &["engine_seq", "durable_seq", "journal"]),
            Self::Snapshot {
                verb: Snapshot::Take,
            } => Plan::Job(Call::of(Role::Ops, "/v1/snapshots", "make a snapshot")),
            Self::Replay { verb: Replay::Run } => {
                Plan::Job(Call::of(Role::Ops, "/v1/replays", "replay the journal"))
            }
            Self::Job { verb } => match verb {
                Job::List => show(
                    "/v1/jobs",
                    &[
                        "job", "kind", "state", "took_ms", "at_seq", "of_seq", "error",
                    ],
                ),
                Job::Show { job } => show(format!("/v1/jobs/{job}"), &[]),
            },
            Self::Approval { verb } => approval(verb),
            Self::Oracle { verb } => match verb {
                Oracle::Show => show("/v1/status", &["oracle", "risk_epoch"]),
                Oracle::Override {
                    index_micro,
                    vols_e9,
                } => Plan::Call(
                    Call::of(
                        Role::Admin,
                        "/v1/oracle/override",
                        "override the oracles' prices",
                    )
                    .with("index_micro", (*index_micro).into())
                    .with("vols_e9", vols_e9.clone().into())
                    .dangerous(),
                ),
                Oracle::Release => Plan::Call(Call::of(
                    Role::Admin,
                    "/v1/oracle/release",
                    "use the oracles' prices again",
                )),
            },
            Self::Config { verb } => match verb {
                ConfigVerb::Show => show("/v1/config", &[]),
                ConfigVerb::Diff => {
                    show("/v1/config/diff", &["key", "running", "file", "reloadable"])
                }
                ConfigVerb::Reload => Plan::Call(
                    Call::of(Role::Admin, "/v1/config/reload", "reload the configuration")
                        .dangerous(),
                ),
            },
            Self::Audit { verb } => match verb {
                Audit::Show { after } => show(format!("/v1/audit?after={after}"), &[]),
                Audit::Verify { data } => Plan::Verify { data: data.clone() },
            },
            Self::Events { after } => Plan::Events { after: *after },
            Self::Box { verb } => {
                let (role, path, what) = match verb {
                    BoxVerb::Drain => (
                        Role::Ops,
                        "/v1/drain",
                        "refuse logins and move all instruments to cancel-only",
                    ),
                    BoxVerb::Stop => (Role::Admin, "/v1/shutdown", "stop the box"),
                };
                Plan::Call(Call::of(role, path, what).dangerous())
            }
        }
    }
}

fn instrument(verb: &Instrument) -> Plan {
    let state = |instrument: &str, state: &str, what| {
        Call::of(Role::Ops, "/v1/state", what)
            .with("instrument", which(instrument))
            .with("state", state.into())
    };
    Plan::Call(match verb {
        Instrument::List => return show("/v1/instruments", &[]),
        Instrument::Book { instrument } => return show(format!("/v1/books/{instrument}"), &[]),
        Instrument::Add { file } => return Plan::List(file.clone()),
        Instrument::Delist { instrument } => Call::of(
            Role::Admin,
            "/v1/instruments/delist",
            "delist an instrument",
        )
        .with("instrument", (*instrument).into())
        .dangerous(),
        Instrument::State {
            instrument,
            state: to,
        } => state(instrument, to, "move to another trading state").dangerous(),
        Instrument::Halt { instrument } => state(instrument, "halt", "halt"),
        Instrument::Resume { instrument } => state(instrument, "open", "open").dangerous(),
    })
}

fn member(verb: &Member) -> Plan {
    let lock = |member: u32, account: &Option<u32>, action: &str, what| {
        Call::of(Role::Ops, "/v1/lock", what)
            .with("member", member.into())
            .with("account", account.map_or_else(|| "all".into(), Value::from))
            .with("action", action.into())
    };
    Plan::Call(match verb {
        Member::List => return show("/v1/members", &[]),
        Member::Keys => return show("/v1/keys", &[]),
        Member::Lock { member, account } => {
            lock(*member, account, "lock", "lock and cancel the orders").dangerous()
        }
        Member::Unlock { member, account } => lock(*member, account, "unlock", "unlock"),
        Member::Limits {
            member,
            orders_per_second,
            quotes_per_second,
        } => Call::of(Role::Admin, "/v1/limits", "set a member's rates")
            .with("member", (*member).into())
            .with("orders_per_second", (*orders_per_second).into())
            .with("quotes_per_second", (*quotes_per_second).into()),
        Member::KeyAdd {
            member,
            key_id,
            public_key,
        } => Call::of(Role::Admin, "/v1/keys", "add a key")
            .with("member", (*member).into())
            .with("key_id", (*key_id).into())
            .with("public_key", public_key.clone().into()),
        Member::KeyRevoke { member, key_id } => Call::of(Role::Admin, "/v1/keys", "revoke a key")
            .with("member", (*member).into())
            .with("key_id", (*key_id).into())
            .dangerous(),
    })
}

fn order(verb: &Order) -> Plan {
    let cancel = |what| Call::of(Role::Ops, "/v1/cancel", what).dangerous();
    Plan::Call(match verb {
        Order::List { account } => return show(format!("/v1/accounts/{account}"), &["orders"]),
        Order::Cancel {
            member,
            account,
            instrument,
        } => cancel("cancel orders")
            .with("member", (*member).into())
            .with("account", (*account).into())
            .with("instrument", (*instrument).into()),
        Order::CancelAll => cancel("cancel all orders of the venue"),
    })
}

fn approval(verb: &Approval) -> Plan {
    let answer = |approval: u64, approve: bool| Plan::Answer { approval, approve };
    match verb {
        Approval::List => show(
            "/v1/approvals",
            &["approval", "act", "args", "reason", "user", "state"],
        ),
        Approval::Approve { approval } => answer(*approval, true),
        Approval::Deny { approval } => answer(*approval, false),
    }
}
