//! What changes something: taken once, written down, done, answered.

use super::approvals::{New, Staged};
use super::look::{Reload, at};
use super::problem::Problem;
use super::replies::{Begin, Reply, check_key, fingerprint};
use super::routes::{Route, role_of};
use super::{Counter, Office, note};
use crate::ops::admin::{AdminRequest, DepositBody, Done, ProofReport, hex};
use crate::ops::audit::{Draft, Outcome, Who};
use crate::ops::operator::{By, Command};
use crate::tiles::lanes::{AccountLook, Look};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use matcher::engine::DepositError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::time::Instant;

/// Shortest and longest reason.
const REASON_LEN: std::ops::RangeInclusive<usize> = 3..=300;
/// Longest body.
const BODY_MAX: usize = 1 << 20;

/// What a request wants.
enum Wanted {
    Staged(Staged),
    Snapshot,
    Replay,
}

/// A request that was read.
struct Asked {
    who: Who,
    act: &'static str,
    args: Value,
    reason: String,
    key: String,
    is_dry_run: bool,
}

impl Asked {
    fn draft(&self, outcome: Outcome) -> Draft {
        Draft {
            who: self.who.clone(),
            act: self.act.into(),
            args: self.args.clone(),
            reason: self.reason.clone(),
            key: self.key.clone(),
            outcome,
            code: None,
            engine_seq: None,
            approval: None,
            reply: None,
        }
    }

    async fn refuse(&self, office: &Office, problem: Problem) -> Problem {
        let draft = Draft {
            code: Some(problem.code.into()),
            ..self.draft(Outcome::Refused)
        };
        note(office, draft).await;
        problem
    }
}

/// No JSON: 400; JSON that is not what is wanted: 422.
fn bad_body(e: &serde_json::Error) -> Problem {
    let status = if e.is_data() { 422 } else { 400 };
    Problem::new(status, "bad_request", format!("the body: {e}"))
}

/// Reads key, reason and `dry_run`; the rest of the body is the act's own.
fn read(
    who: Who,
    act: &'static str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Asked, (Box<Asked>, Problem)> {
    let mut asked = Asked {
        who,
        act,
        args: Value::Null,
        reason: String::new(),
        key: String::new(),
        is_dry_run: false,
    };
    match fill(&mut asked, headers, body) {
        Ok(()) => Ok(asked),
        Err(problem) => Err((Box::new(asked), problem)),
    }
}

fn fill(asked: &mut Asked, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    if body.len() > BODY_MAX {
        return Err(Problem::new(
            413,
            "too_long",
            "the body is longer than 1 MiB",
        ));
    }
    let mut args: Map<String, Value> = if body.is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(body).map_err(|e| bad_body(&e))?
    };
    let reason = args.remove("reason");
    let dry_run = args.remove("dry_run");
    asked.args = Value::Object(args);
    asked.is_dry_run = match dry_run {
        None => false,
        Some(Value::Bool(b)) => b,
        Some(other) => {
            return Err(Problem::new(
                422,
                "bad_request",
                format!("dry_run: {other} is no boolean"),
            ));
        }
    };
    match reason {
        Some(Value::String(text)) if REASON_LEN.contains(&text.trim().chars().count()) => {
            text.trim().clone_into(&mut asked.reason);
        }
        _ => {
            return Err(Problem::new(
                422,
                "no_reason",
                "reason: a text of 3 to 300 characters is needed",
            ));
        }
    }
    let key = headers.get("idempotency-key").map(|v| v.to_str());
    let key = match key {
        Some(Err(_)) => Some(""),
        Some(Ok(text)) => Some(text),
        None => None,
    };
    // A trial changes nothing, however often it comes.
    if !asked.is_dry_run || key.is_some() {
        check_key(key)?.clone_into(&mut asked.key);
    }
    Ok(())
}

fn args<T: DeserializeOwned>(args: &Value) -> Result<T, Problem> {
    serde_json::from_value(args.clone()).map_err(|e| bad_body(&e))
}

fn no_args(args: &Value) -> Result<(), Problem> {
    match args.as_object().and_then(|m| m.keys().next()) {
        None => Ok(()),
        Some(key) => Err(Problem::new(
            422,
            "bad_request",
            format!("the body: unknown field `{key}`"),
        )),
    }
}

fn wanted(act: &str, a: &Value) -> Result<Wanted, Problem> {
    let command = match act {
        "state" => Command::State(args(a)?),
        "lock" => Command::Lock(args(a)?),
        "cancel" => Command::Cancel(args(a)?),
        "kick" => Command::Kick(args(a)?),
        "limits" => Command::Limits(args(a)?),
        "key" => Command::Key(args(a)?),
        "override" => Command::Override(args(a)?),
        "list" => Command::List(Box::new(args(a)?)),
        "delist" => Command::Delist(args(a)?),
        other => {
            no_args(a)?;
            match other {
                "seal" => Command::Seal,
                "drain" => Command::Drain,
                "shutdown" => Command::Stop,
                "release" => Command::Release,
                "reload" => return Ok(Wanted::Staged(Staged::Reload)),
                "snapshot" => return Ok(Wanted::Snapshot),
                "replay" => return Ok(Wanted::Replay),
                other => unreachable!("act {other} has a handler of its own"),
            }
        }
    };
    Ok(Wanted::Staged(Staged::Command(Box::new(command))))
}

/// Serves every act but deposits, proofs and approvals.
pub(super) async fn change(
    State(counter): State<Counter>,
    Extension(who): Extension<Who>,
    Extension(route): Extension<Route>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let office = &counter.office;
    let asked = match read(who, route.act, &headers, &body) {
        Ok(asked) => asked,
        Err((asked, problem)) => return Err(asked.refuse(office, problem).await),
    };
    let wanted = match wanted(asked.act, &asked.args) {
        Ok(wanted) => wanted,
        Err(problem) => return Err(asked.refuse(office, problem).await),
    };
    // What would come of it, so that nothing is staged or begun that would be refused.
    let scope = match office.scope(&wanted, asked.is_dry_run).await {
        Ok(scope) => scope,
        Err(problem) => return Err(asked.refuse(office, problem).await),
    };
    if asked.is_dry_run {
        note(office, asked.draft(Outcome::DryRun)).await;
        let body = json!({
            "dry_run": true,
            "act": asked.act,
            "two_person": office.two_person.contains(asked.act),
            "effect": scope,
        });
        return Ok(Json(body).into_response());
    }
    let print = fingerprint(asked.who.uid, asked.act, &asked.args);
    let begun = office.replies().begin(&asked.key, print);
    match begun {
        Err(problem) => return Err(asked.refuse(office, problem).await),
        Ok(Begin::Again((status, body))) => {
            let again = [("idempotent-replay", "true")];
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            return Ok((status, again, Json(body)).into_response());
        }
        Ok(Begin::Do) => {}
    }
    let done = match wanted {
        Wanted::Staged(staged) if office.two_person.contains(asked.act) => {
            stage(office, &asked, staged).await
        }
        Wanted::Staged(staged) => {
            let draft = asked.draft(Outcome::Asked);
            perform(office, draft, &staged, asked.who.uid, None).await
        }
        Wanted::Snapshot => job(office, &asked, "snapshot").await,
        Wanted::Replay => job(office, &asked, "replay").await,
    };
    match done {
        Ok((status, body)) => {
            let reply = Some((status, body.clone()));
            office.replies().end(&asked.key, reply);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            Ok((status, Json(body)).into_response())
        }
        Err(Failed::Refused(problem)) => {
            office.replies().end(&asked.key, None);
            Err(problem)
        }
        Err(Failed::Lost(problem)) => {
            office.replies().lose(&asked.key);
            Err(problem)
        }
    }
}

/// Why an act was not done, or may not have been.
enum Failed {
    /// It was not.
    Refused(Problem),
    /// Nobody knows.
    Lost(Problem),
}

fn unwritten(why: &str) -> Failed {
    Failed::Refused(Problem::new(
        503,
        "audit_unavailable",
        format!("nothing is done that cannot be written down: {why}"),
    ))
}

async fn stage(office: &Office, asked: &Asked, staged: Staged) -> Result<Reply, Failed> {
    let approval = office.approvals().stage(
        New {
            act: asked.act,
            args: asked.args.clone(),
            reason: asked.reason.clone(),
            uid: asked.who.uid,
            user: asked.who.user.clone().unwrap_or_default(),
            key: asked.key.clone(),
            staged,
        },
        Instant::now(),
    );
    let body = json!({ "approval": approval, "state": "waiting" });
    let draft = Draft {
        approval: Some(approval),
        reply: Some((202, body.clone())),
        ..asked.draft(Outcome::Staged)
    };
    // So that a restart finds the key taken.
    let first = office.audit.write(asked.draft(Outcome::Asked)).await;
    first.map_err(|why| unwritten(&why))?;
    office
        .audit
        .write(draft)
        .await
        .map_err(|why| unwritten(&why))?;
    Ok((202, body))
}

/// Writes down that it is done, does it, and writes down what came of it.
async fn perform(
    office: &Office,
    draft: Draft,
    staged: &Staged,
    uid: u32,
    approver: Option<u32>,
) -> Result<Reply, Failed> {
    let request = office.audit.write(draft.clone()).await;
    let by = By {
        request: request.map_err(|why| unwritten(&why))?,
        uid,
        approver,
    };
    let done = match staged {
        Staged::Command(command) => office.command((**command).clone(), by).await,
        Staged::Reload => office.reload(by).await,
    };
    let after = |outcome| Draft {
        args: Value::Null,
        reason: String::new(),
        outcome,
        ..draft
    };
    match done {
        Ok(body) => {
            let entry = Draft {
                engine_seq: body["engine_seq"].as_u64(),
                reply: Some((200, body.clone())),
                ..after(Outcome::Done)
            };
            note(office, entry).await;
            Ok((200, body))
        }
        Err(problem) => {
            let is_lost = problem.code == Problem::gone().code;
            let outcome = if is_lost {
                Outcome::Unknown
            } else {
                Outcome::Refused
            };
            let entry = Draft {
                code: Some(problem.code.into()),
                ..after(outcome)
            };
            note(office, entry).await;
            Err(if is_lost {
                Failed::Lost(problem)
            } else {
                Failed::Refused(problem)
            })
        }
    }
}

async fn job(office: &Office, asked: &Asked, kind: &'static str) -> Result<Reply, Failed> {
    let status = office.ask(AdminRequest::Status).await;
    let durable = status.map_err(Failed::Refused)?.durable_seq();
    let data = office.data.path().display().to_string();
    let args = match kind {
        "snapshot" => vec!["snapshot", "--until"],
        _ => vec![
            "replay",
            "--json",
            "--progress",
            "--from-genesis",
            "--until",
        ],
    };
    let mut args: Vec<String> = args.into_iter().map(Into::into).collect();
    args.extend([durable.to_string(), "--data".into(), data]);
    let request = office.audit.write(asked.draft(Outcome::Asked)).await;
    request.map_err(|why| unwritten(&why))?;
    let started = office.jobs.start(kind, &args, durable);
    let started = match started {
        Ok(Some(job)) => Ok(job),
        Ok(None) => Err(Problem::new(
            409,
            "jobs_busy",
            "two jobs are running already",
        )),
        Err(e) => Err(Problem::new(503, "no_process", e.to_string())),
    };
    let job = match started {
        Ok(job) => job,
        Err(problem) => return Err(Failed::Refused(asked.refuse(office, problem).await)),
    };
    let body = json!({ "job": job, "state": "running" });
    let entry = Draft {
        args: Value::Null,
        reason: String::new(),
        reply: Some((202, body.clone())),
        ..asked.draft(Outcome::Done)
    };
    note(office, entry).await;
    Ok((202, body))
}

impl Office {
    async fn command(&self, command: Command, by: By) -> Result<Value, Problem> {
        let Done {
            engine_seq,
            batch_no,
            stopped,
        } = self.ask(|tx| AdminRequest::Act(command, by, tx)).await??;
        let mut body = json!({ "engine_seq": engine_seq });
        if let Some(batch_no) = batch_no {
            body["batch_no"] = batch_no.into();
        }
        if let Some(stopped) = stopped {
            body["state_hash"] = hex(&stopped.state_hash).into();
            body["batches_sealed"] = stopped.batches_sealed.into();
        }
        Ok(body)
    }

    /// Applies what can change while the box runs.
    async fn reload(&self, by: By) -> Result<Value, Problem> {
        let Reload {
            commands,
            reloaded,
            needs_restart,
        } = self.reloadable()?;
        let mut engine_seq = None;
        for command in commands {
            let done = self.command(command, by).await?;
            engine_seq = done["engine_seq"].as_u64().or(engine_seq);
        }
        self.note_reloaded();
        Ok(json!({
            "engine_seq": engine_seq,
            "reloaded": reloaded,
            "needs_restart": needs_restart,
        }))
    }

    /// What an act would do. Orders are counted for a trial only: who has to cancel them now must not wait for it.
    async fn scope(&self, wanted: &Wanted, is_dry_run: bool) -> Result<Value, Problem> {
        match wanted {
            Wanted::Snapshot => Ok(json!({ "writes": "a snapshot" })),
            Wanted::Replay => Ok(json!({ "reads": "the journal" })),
            Wanted::Staged(Staged::Reload) => {
                let reload = self.reloadable()?;
                Ok(json!({
                    "reloaded": reload.reloaded,
                    "needs_restart": reload.needs_restart,
                }))
            }
            Wanted::Staged(Staged::Command(command)) => {
                let asked = (**command).clone();
                let scope = self.ask(|tx| AdminRequest::Check(asked, tx)).await??;
                if let Command::Kick(body) = &**command {
                    let sessions = self.ask(AdminRequest::Sessions).await?;
                    if sessions.iter().all(|s| s.member != body.member) {
                        let why = crate::ops::operator::CommandRefused::NoSession(body.member);
                        return Err(why.into());
                    }
                }
                if !is_dry_run {
                    return Ok(Value::Null);
                }
                let mut orders = 0;
                for account in &scope.accounts {
                    orders += self.account(*account, 0).await?.orders_open;
                }
                Ok(json!({ "accounts": scope.accounts, "orders": orders }))
            }
        }
    }

    /// One account, with so many of its orders at most.
    pub(super) async fn account(
        &self,
        account: u32,
        orders: usize,
    ) -> Result<AccountLook, Problem> {
        let look = Look::Account(AccountLook {
            account,
            positions: Vec::with_capacity(firmware::limits::INSTRUMENTS),
            orders: Vec::with_capacity(orders),
            ..AccountLook::default()
        });
        match *self
            .ask(|tx| AdminRequest::Look(Box::new(look), tx))
            .await?
        {
            Look::Account(account) => Ok(account),
            _ => Err(Problem::gone()),
        }
    }
}

/// `POST /v1/approvals/{approval}`
pub(super) async fn approve(
    State(counter): State<Counter>,
    Extension(who): Extension<Who>,
    approval: Result<Path<u64>, PathRejection>,
    body: Bytes,
) -> Result<Response, Problem> {
    let approval = at(approval)?;
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        approve: bool,
    }
    let office = &counter.office;
    let now = Instant::now();
    let mut asked = Asked {
        who,
        act: "approve",
        args: json!({ "approval": approval }),
        reason: String::new(),
        key: String::new(),
        is_dry_run: false,
    };
    let answered = serde_json::from_slice(&body)
        .map_err(|e| bad_body(&e))
        .and_then(|Body { approve }| {
            let user = office.users.find(asked.who.uid);
            let act = office.approvals().waiting(approval, now)?.act;
            let need = role_of(act);
            let may =
                user.is_some_and(|(_, role)| role.includes(need)) && counter.role.includes(need);
            if !may {
                let why = format!("{act} needs role {} and its socket", need.word());
                return Err(Problem::new(403, "not_permitted", why));
            }
            let answer = office
                .approvals()
                .answer(approval, asked.who.uid, approve, now)?;
            Ok((act, answer))
        });
    let (act, answer) = match answered {
        Ok(answered) => answered,
        Err(problem) => return Err(asked.refuse(office, problem).await),
    };
    let Some((waiting, staged)) = answer else {
        asked.act = act;
        let draft = Draft {
            approval: Some(approval),
            ..asked.draft(Outcome::Denied)
        };
        note(office, draft).await;
        return Ok(Json(json!({ "approval": approval, "state": "denied" })).into_response());
    };
    let draft = Draft {
        act: act.into(),
        args: waiting.args.clone(),
        reason: waiting.reason.clone(),
        key: format!("approval-{approval}"),
        approval: Some(approval),
        ..asked.draft(Outcome::Approved)
    };
    let approver = Some(asked.who.uid);
    match perform(office, draft, &staged, waiting.uid, approver).await {
        Ok((_, mut body)) => {
            body["approval"] = approval.into();
            body["state"] = "approved".into();
            office.approvals().note(approval, body.clone());
            Ok(Json(body).into_response())
        }
        Err(Failed::Refused(problem) | Failed::Lost(problem)) => {
            office.approvals().note(approval, problem.body());
            Err(problem)
        }
    }
}

/// `POST /v1/deposits`: the place in L1's queue is the key of each, so that what comes again is skipped.
pub(super) async fn deposits(
    State(counter): State<Counter>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Response, Problem> {
    let office = &counter.office;
    let taken = take_deposits(office, &body).await;
    if let Err(problem) = &taken {
        let asked = Asked {
            who,
            act: "deposits",
            args: Value::Null,
            reason: String::new(),
            key: String::new(),
            is_dry_run: false,
        };
        asked.refuse(office, problem.clone()).await;
    }
    let next = taken?;
    Ok(Json(json!({ "next_queue_index": next })).into_response())
}

async fn take_deposits(office: &Office, body: &[u8]) -> Result<Option<u64>, Problem> {
    let rows: Vec<DepositBody> = serde_json::from_slice(body).map_err(|e| bad_body(&e))?;
    let mut next = None;
    for deposit in rows {
        match office.ask(|tx| AdminRequest::Deposit(deposit, tx)).await? {
            Ok(n) => next = Some(n),
            Err(DepositError::Order { want, got }) if got < want => next = Some(want),
            Err(e) => return Err(Problem::new(409, "deposit_refused", e.to_string())),
        }
    }
    Ok(next)
}

/// `POST /v1/proofs`: what the prover says of itself; the box only shows it.
pub(super) async fn proofs(
    State(counter): State<Counter>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let report: ProofReport = serde_json::from_slice(&body).map_err(|e| bad_body(&e))?;
    let sent = counter.office.desk.send(AdminRequest::Proofs(report));
    sent.await.map_err(|_| Problem::gone())?;
    Ok(StatusCode::NO_CONTENT)
}
