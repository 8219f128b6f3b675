//! `hostd admin`: the operators' sockets for people and scripts.
//!
//! Exit codes: 0 done, 2 usage, 3 refused, 4 not found, 5 conflict, 6 no box answers.

mod args;
mod table;

pub use args::AdminArgs;

use crate::ops::audit;
use crate::ops::http::{self, Answer};
use crate::ops::role::Role;
use crate::ops::server::role_of;
use crate::storage::data_dir::DataDir;
use args::{Call, Show};
use serde_json::{Map, Value, json};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a job is looked at.
const JOB_TURN: Duration = Duration::from_millis(200);

/// Why a command did not come to its end.
#[derive(Debug)]
enum Failure {
    Usage(String),
    Refused(u16, String),
    Unreachable(String),
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(404, _) => 4,
            Self::Refused(409, _) => 5,
            Self::Refused(..) => 3,
            Self::Unreachable(_) => 6,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self::Unreachable(e.to_string())
    }
}

/// Runs a command.
#[must_use]
pub fn run(args: AdminArgs) -> ExitCode {
    let Ok(dir) = args.dir() else {
        eprintln!("hostd: --config: it cannot be read; `hostd check-config` says why");
        return ExitCode::from(2);
    };
    let cli = Cli { dir, args };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (Failure::Usage(text) | Failure::Refused(_, text) | Failure::Unreachable(text)) =
                &failure;
            eprintln!("hostd: {text}");
            ExitCode::from(failure.code())
        }
    }
}

struct Cli {
    dir: PathBuf,
    args: AdminArgs,
}

impl Cli {
    fn run(&self) -> Result<(), Failure> {
        match self.args.noun.plan() {
            args::Plan::Show(show) => self.show(&show),
            args::Plan::Call(call) => self.call(&call).map(|answer| self.print_done(&answer)),
            args::Plan::Job(call) => self.job(&call),
            args::Plan::List(file) => self.list(&file),
            args::Plan::Answer { approval, approve } => self.answer(approval, approve),
            args::Plan::Events { after } => self.events(after),
            args::Plan::Verify { data } => verify(&data, self.args.json),
            args::Plan::DayStatus => self.day_status(),
            args::Plan::DayStart => self.day_start(),
            args::Plan::DayEnd => self.day_end(),
        }
    }

    /// Asks on the socket of the role that is needed; an admin's socket does as well where that one cannot be used.
    fn ask(&self, role: Role, method: &str, path: &str, body: &str) -> Result<Value, Failure> {
        let sockets = [role, Role::Admin].map(|r| r.socket(&self.dir));
        let usable = |e: &io::Error| {
            let kinds = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied];
            kinds.contains(&e.kind())
        };
        let key = self.args.key();
        let key = (method == "POST").then_some(key.as_str());
        let answer = match http::call(&sockets[0], method, path, key, body, PATIENCE) {
            Err(e) if usable(&e) => http::call(&sockets[1], method, path, key, body, PATIENCE),
            other => other,
        };
        let Answer { status, body } = answer.map_err(|e| {
            let socket = sockets[0].display();
            Failure::Unreachable(format!("no box answers on {socket}: {e}"))
        })?;
        let value = serde_json::from_str(&body).unwrap_or(Value::String(body));
        if (200..300).contains(&status) {
            return Ok(value);
        }
        let title = value["title"].as_str().unwrap_or("refused").to_owned();
        let code = value["code"].as_str().unwrap_or("unknown");
        Err(Failure::Refused(status, format!("{title} ({code})")))
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Role::View, "GET", path, "")
    }

    fn show(&self, show: &Show) -> Result<(), Failure> {
        let value = self.get(&show.path)?;
        if self.args.json {
            print_json(&value);
        } else if let Value::String(lines) = &value {
            say(lines.trim_end());
        } else {
            say(&table::of(&value, show.columns));
        }
        Ok(())
    }

    /// Does a change; what is dangerous shows its effect first and is done when it is confirmed.
    fn call(&self, call: &Call) -> Result<Value, Failure> {
        let mut body = call.body.clone();
        let reason = self.args.reason.clone();
        let reason = reason.ok_or_else(|| {
            Failure::Usage("--reason is needed: it stands in the audit log".into())
        })?;
        body.insert("reason".into(), reason.into());
        let text = |body: &Map<String, Value>| Value::Object(body.clone()).to_string();
        if self.args.dry_run || call.is_dangerous && !self.args.yes {
            let mut trial = body.clone();
            trial.insert("dry_run".into(), true.into());
            let effect = self.ask(call.role, "POST", &call.path, &text(&trial))?;
            if self.args.dry_run {
                return Ok(effect);
            }
            confirm(&format!("{} {}", call.what, effect["effect"]))?;
        }
        self.ask(call.role, "POST", &call.path, &text(&body))
    }

    fn print_done(&self, answer: &Value) {
        if self.args.json {
            return print_json(answer);
        }
        match (answer["approval"].as_u64(), answer["state"].as_str()) {
            (Some(n), Some("waiting")) => say(&format!(
                "waits for a second person: hostd admin approval approve {n}"
            )),
            _ => say(&table::of(answer, &[])),
        }
    }

    /// Lists an instrument that stands in a file as it would in the configuration.
    fn list(&self, file: &Path) -> Result<(), Failure> {
        let usage = |why: String| Failure::Usage(format!("{}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|e| usage(e.to_string()))?;
        let keys: Value = toml::from_str(&text).map_err(|e| usage(e.message().to_owned()))?;
        let mut call = Call::of(Role::Admin, "/v1/instruments", "list an instrument");
        call.body = keys.as_object().cloned().unwrap_or_default();
        self.call(&call).map(|answer| self.print_done(&answer))
    }

    /// On the socket of the role that the waiting act needs.
    fn answer(&self, approval: u64, approve: bool) -> Result<(), Failure> {
        let all = self.get("/v1/approvals")?;
        let waiting = all.as_array().into_iter().flatten();
        let act = waiting.into_iter().find(|a| a["approval"] == approval);
        let act = act.and_then(|a| a["act"].as_str()).unwrap_or("approve");
        let path = format!("/v1/approvals/{approval}");
        let body = json!({ "approve": approve }).to_string();
        let answer = self.ask(role_of(act), "POST", &path, &body)?;
        self.print_done(&answer);
        Ok(())
    }

    fn job(&self, call: &Call) -> Result<(), Failure> {
        let begun = self.call(call)?;
        let Some(job) = begun["job"].as_u64() else {
            self.print_done(&begun);
            return Ok(());
        };
        loop {
            let state = self.get(&format!("/v1/jobs/{job}"))?;
            match state["state"].as_str() {
                Some("running") => std::thread::sleep(JOB_TURN),
                Some("failed") => {
                    let why = state["error"].as_str().unwrap_or("it failed");
                    return Err(Failure::Refused(500, format!("job {job}: {why}")));
                }
                _ => {
                    if self.args.json {
                        print_json(&state);
                    } else {
                        say(&table::of(&state["result"], &[]));
                    }
                    return Ok(());
                }
            }
        }
    }

    fn events(&self, after: u64) -> Result<(), Failure> {
        let socket = Role::View.socket(&self.dir);
        http::follow(&socket, &format!("/v1/events?after={after}"), |id, data| {
            let mut out = io::stdout().lock();
            writeln!(out, "{id} {data}").is_ok()
        })?;
        Ok(())
    }

    /// Whether the box is ready, with its reasons; `Err` where it does not even say that.
    fn readiness(&self) -> Result<Health, Failure> {
        let socket = Role::View.socket(&self.dir);
        let answer = http::call(&socket, "GET", "/v1/readyz", None, "", PATIENCE);
        let answer = answer.or_else(|_| {
            let socket = Role::Admin.socket(&self.dir);
            http::call(&socket, "GET", "/v1/readyz", None, "", PATIENCE)
        })?;
        let health: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        Ok(Health {
            is_ready: health["ready"] == true,
            value: health,
        })
    }

    fn day_status(&self) -> Result<(), Failure> {
        let health = self.readiness()?;
        if self.args.json {
            print_json(&health.value);
        } else {
            say(&health.table());
        }
        if health.is_ready {
            return Ok(());
        }
        Err(Failure::Refused(503, "not ready".into()))
    }

    fn day_start(&self) -> Result<(), Failure> {
        let instruments = self.get("/v1/instruments")?;
        let health = self.readiness()?;
        if !health.is_ready {
            return Err(Failure::Refused(
                503,
                format!("not ready\n{}", health.table()),
            ));
        }
        let waiting = instruments.as_array().into_iter().flatten();
        let waiting =
            waiting.filter(|i| matches!(i["state"].as_str(), Some("pre-open" | "auction")));
        for i in waiting {
            let call = Call::of(Role::Ops, "/v1/state", "open an instrument")
                .with("instrument", i["instrument"].clone())
                .with("state", "open".into());
            let done = self.call(&call)?;
            self.print_step(&format!("open {}", i["symbol"]), &done);
        }
        Ok(())
    }

    /// Halts, cancels, seals, makes a snapshot: what is left is to stop the box.
    fn day_end(&self) -> Result<(), Failure> {
        if !self.args.yes {
            let status = self.get("/v1/status")?;
            confirm(&format!(
                "halt all instruments, cancel {} orders, seal the batch, make a snapshot",
                status["live_orders"]
            ))?;
        }
        let steps = [
            Call::of(Role::Ops, "/v1/state", "halt")
                .with("instrument", "all".into())
                .with("state", "halt".into()),
            Call::of(Role::Ops, "/v1/cancel", "cancel all orders"),
            Call::of(Role::Ops, "/v1/seal", "seal the batch"),
        ];
        for call in steps {
            let done = self.call(&call)?;
            self.print_step(call.what, &done);
        }
        self.job(&Call::of(Role::Ops, "/v1/snapshots", "snapshot"))
    }

    fn print_step(&self, what: &str, done: &Value) {
        if self.args.json {
            print_json(&json!({ "step": what, "done": done }));
        } else {
            say(&format!("{what}: record {}", done["engine_seq"]));
        }
    }
}

/// What the box says of its readiness.
struct Health {
    is_ready: bool,
    value: Value,
}

impl Health {
    fn table(&self) -> String {
        table::of(&self.value["checks"], &["check", "ok", "is"])
    }
}

fn verify(data: &Path, as_json: bool) -> Result<(), Failure> {
    let verified = audit::verify(&DataDir::new(data));
    let verified = verified.map_err(|e| Failure::Refused(500, format!("{e:#}")))?;
    let value = serde_json::to_value(verified).unwrap_or_default();
    if as_json {
        print_json(&value);
    } else {
        say(&table::of(&value, &[]));
    }
    Ok(())
}

/// Asks whoever sits there.
fn confirm(what: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{what}: nobody can be asked here: say --yes"
        )));
    }
    eprint!("{what}\ndo it? [y/N] ");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::Usage("not done".into()))
}

fn say(text: &str) {
    // Who reads it may have read enough.
    let _ = writeln!(io::stdout(), "{text}");
}

fn print_json(value: &Value) {
    say(&serde_json::to_string_pretty(value).unwrap_or_default());
}
