//! What shows something and changes nothing.

use super::problem::Problem;
use super::{Counter, Office};
use crate::config::Config;
use crate::machine::log;
use crate::ops::admin::AdminRequest;
use crate::ops::audit::Who;
use crate::ops::operator::{Command, KeyBody};
use crate::ops::role::Role;
use crate::ops::{health, metrics};
use crate::tiles::lanes::{DepthLook, InstrumentRow, Look};
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use firmware::limits::INSTRUMENTS;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Orders of an account that are shown.
const ORDERS_SHOWN: usize = 256;
/// Levels of each side of a book that are shown.
const LEVELS_SHOWN: usize = 10;
/// Entries of the audit log that are shown at a time.
const ENTRIES_SHOWN: usize = 1_000;
/// How often the events are looked at while somebody follows them.
const EVENTS_TURN: Duration = Duration::from_millis(100);
/// How long a stream without events is silent at most.
const EVENTS_COMMENT: Duration = Duration::from_secs(10);

/// The contract of the routes.
pub(super) const OPENAPI: &str = include_str!("../openapi.json");

/// The configuration in force, and the file that it came from.
#[derive(Debug)]
pub(crate) struct Running {
    path: PathBuf,
    /// As text, with what was reloaded since.
    tree: toml::Table,
}

/// What reading the file again would do.
pub(super) struct Reload {
    pub(super) commands: Vec<Command>,
    pub(super) reloaded: Vec<String>,
    pub(super) needs_restart: Vec<String>,
}

impl Running {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            path: config.source.path.clone(),
            // It was read from this text.
            tree: config.source.text.parse().unwrap_or_default(),
        }
    }

    fn read(&self) -> Result<(Config, toml::Table), Problem> {
        let refuse = |why: String| Problem::new(422, "bad_config", why);
        let config = Config::load(&self.path).map_err(|e| refuse(e.to_string()))?;
        let tree = config.source.text.parse();
        let tree = tree.map_err(|e: toml::de::Error| refuse(e.to_string()))?;
        Ok((config, tree))
    }

    /// Keys that differ from the file's, with both values.
    fn diff(&self, file: &toml::Table) -> Vec<(String, Value, Value)> {
        let mut changes = Vec::new();
        differ("", &table(&self.tree), &table(file), &mut changes);
        changes
    }
}

fn table(tree: &toml::Table) -> Value {
    serde_json::to_value(tree).unwrap_or_default()
}

/// Goes down both trees; members and the like are told apart by their ids, not by where they stand.
fn differ(at: &str, old: &Value, new: &Value, to: &mut Vec<(String, Value, Value)>) {
    if old == new {
        return;
    }
    let by_id = |v: &Value| -> Option<Value> {
        let rows = v.as_array()?.iter();
        let rows: Option<serde_json::Map<_, _>> = rows
            .map(|r| Some((r.get("id")?.to_string(), r.clone())))
            .collect();
        rows.filter(|m| !m.is_empty()).map(Value::Object)
    };
    let (old_map, new_map) = match (by_id(old), by_id(new)) {
        (Some(o), Some(n)) => (o, n),
        _ => (old.clone(), new.clone()),
    };
    let (Value::Object(o), Value::Object(n)) = (&old_map, &new_map) else {
        return to.push((at.to_owned(), old.clone(), new.clone()));
    };
    let keys: std::collections::BTreeSet<_> = o.keys().chain(n.keys()).collect();
    for key in keys {
        let at = if at.is_empty() {
            key.clone()
        } else {
            format!("{at}.{key}")
        };
        let part = |m: &serde_json::Map<String, Value>| m.get(key).cloned().unwrap_or_default();
        differ(&at, &part(o), &part(n), to);
    }
}

/// Whether a key can change while the box runs.
fn is_reloadable(key: &str) -> bool {
    let mut parts = key.split('.');
    // A model of volatility is sequenced when a day is opened.
    let is_known = matches!(
        (parts.next(), parts.next(), parts.next()),
        (Some("risk"), ..) | (Some("members"), Some(_), Some("public_key"))
    );
    is_known && !key.starts_with("risk.adaptive")
}

impl Office {
    /// All instruments.
    pub(super) async fn instruments(&self) -> Result<Vec<InstrumentRow>, Problem> {
        let look = Box::new(Look::Instruments(Vec::with_capacity(INSTRUMENTS)));
        match *self.ask(|tx| AdminRequest::Look(look, tx)).await? {
            Look::Instruments(rows) => Ok(rows),
            _ => Err(Problem::gone()),
        }
    }

    /// The best levels of a book.
    pub(super) async fn depth(&self, instrument: u16) -> Result<DepthLook, Problem> {
        let look = Look::Depth(DepthLook {
            instrument,
            bids: Vec::with_capacity(LEVELS_SHOWN),
            asks: Vec::with_capacity(LEVELS_SHOWN),
            ..DepthLook::default()
        });
        match *self
            .ask(|tx| AdminRequest::Look(Box::new(look), tx))
            .await?
        {
            Look::Depth(depth) => Ok(depth),
            _ => Err(Problem::gone()),
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What reading the file again would do.
    pub(super) fn reloadable(&self) -> Result<Reload, Problem> {
        let running = self.running();
        let (config, tree) = running.read()?;
        let (mut commands, mut reloaded, mut needs_restart) = (Vec::new(), Vec::new(), Vec::new());
        let mut has_rules = false;
        for (key, _, new) in running.diff(&tree) {
            let member = key.strip_prefix("members.");
            let member = member.and_then(|k| k.strip_suffix(".public_key"));
            match (member.and_then(|id| id.parse().ok()), new.as_str()) {
                (Some(member), Some(public_key)) => commands.push(Command::Key(KeyBody {
                    member,
                    key_id: 1,
                    public_key: Some(public_key.to_owned()),
                })),
                _ if key.starts_with("risk.") && is_reloadable(&key) && config.risk.is_some() => {
                    has_rules = true
                }
                _ => {
                    needs_restart.push(key);
                    continue;
                }
            }
            reloaded.push(key);
        }
        if has_rules && let Some(risk) = &config.risk {
            let rules = risk.rules(config.domain.initial_extra_ppm);
            commands.insert(0, Command::Rules(rules, risk.notice_ns()));
        }
        Ok(Reload {
            commands,
            reloaded,
            needs_restart,
        })
    }

    /// What could be reloaded was.
    pub(super) fn note_reloaded(&self) {
        let mut running = self.running();
        let Ok((_, tree)) = running.read() else {
            return;
        };
        for (key, ..) in running.diff(&tree) {
            if is_reloadable(&key) {
                take_over(&mut running.tree, &tree, &key);
            }
        }
    }
}

/// Puts what one key says in the new tree into the old one.
fn take_over(old: &mut toml::Table, new: &toml::Table, key: &str) {
    if key.starts_with("risk") {
        match new.get("risk") {
            Some(risk) => old.insert("risk".into(), risk.clone()),
            None => old.remove("risk"),
        };
        return;
    }
    let id = key.split('.').nth(1).and_then(|id| id.parse::<i64>().ok());
    let row = |rows: &toml::Value| -> Option<usize> {
        let rows = rows.as_array()?;
        rows.iter()
            .position(|r| r.get("id").and_then(toml::Value::as_integer) == id)
    };
    let (Some(from), Some(to)) = (new.get("members"), old.get_mut("members")) else {
        return;
    };
    if let (Some(f), Some(t)) = (row(from), row(to))
        && let Some(value) = from[f].get("public_key")
        && let Some(row) = to[t].as_table_mut()
    {
        row.insert("public_key".into(), value.clone());
    }
}

/// `GET /v1/status`
pub(super) async fn status(State(counter): State<Counter>) -> Result<Response, Problem> {
    let status = counter.office.ask(AdminRequest::Status).await?;
    Ok(Json(status).into_response())
}

/// `GET /v1/livez`: it answers.
pub(super) async fn livez() -> Json<Value> {
    Json(json!({ "live": true }))
}

/// `GET /v1/readyz`
pub(super) async fn readyz(State(counter): State<Counter>) -> Result<Response, Problem> {
    let status = counter.office.ask(AdminRequest::Status).await?;
    let health = health::of(&serde_json::to_value(status).unwrap_or_default());
    let code = if health.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok((code, Json(health)).into_response())
}

/// `GET /metrics`
pub(super) async fn metrics(State(counter): State<Counter>) -> Result<Response, Problem> {
    let status = counter.office.ask(AdminRequest::Status).await?;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], metrics::text(&status)).into_response())
}

/// `GET /v1/version`
pub(super) async fn version() -> Json<Value> {
    Json(json!({
        "name": "hostd",
        "version": env!("CARGO_PKG_VERSION"),
        "schema_version": firmware::wire::sbe::SCHEMA_VERSION,
        "api": "v1",
    }))
}

/// `GET /v1/openapi.json`
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// `GET /v1/whoami`
pub(super) async fn whoami(
    State(counter): State<Counter>,
    Extension(who): Extension<Who>,
) -> Json<Value> {
    let role = counter.office.users.find(who.uid).map(|(_, role)| role);
    let allowed = Role::ALL.into_iter().filter(|needed| {
        counter.role.includes(*needed) && role.is_some_and(|r| r.includes(*needed))
    });
    let allowed: Vec<_> = allowed.collect();
    Json(json!({ "who": who, "role": role, "allowed": allowed }))
}

/// `GET /v1/instruments`
pub(super) async fn instruments(State(counter): State<Counter>) -> Result<Response, Problem> {
    Ok(Json(counter.office.instruments().await?).into_response())
}

/// `GET /v1/books/{instrument}`
pub(super) async fn book(
    State(counter): State<Counter>,
    instrument: Result<Path<u16>, PathRejection>,
) -> Result<Response, Problem> {
    let instrument = at(instrument)?;
    let look = counter.office.depth(instrument).await?;
    if !look.is_listed {
        let why = format!("instrument {instrument} is not listed");
        return Err(Problem::new(404, "unknown_instrument", why));
    }
    Ok(Json(look).into_response())
}

/// `GET /v1/members`
pub(super) async fn members(State(counter): State<Counter>) -> Result<Response, Problem> {
    let office = &counter.office;
    let roll = office.ask(AdminRequest::Roll).await?;
    let sessions = office.ask(AdminRequest::Sessions).await?;
    let rows = roll.members().map(|(member, accounts, rates)| {
        json!({
            "member": member,
            "accounts": accounts,
            "orders_per_second": rates.map(|r| r.0),
            "quotes_per_second": rates.map(|r| r.1),
            "has_session": sessions.iter().any(|s| s.member == member),
        })
    });
    Ok(Json(rows.collect::<Vec<_>>()).into_response())
}

/// `GET /v1/keys`
pub(super) async fn keys(State(counter): State<Counter>) -> Result<Response, Problem> {
    let rows = counter.office.ask(AdminRequest::Keys).await?;
    Ok(Json(rows).into_response())
}

/// `GET /v1/sessions`
pub(super) async fn sessions(State(counter): State<Counter>) -> Result<Response, Problem> {
    let rows = counter.office.ask(AdminRequest::Sessions).await?;
    Ok(Json(rows).into_response())
}

/// `GET /v1/accounts/{account}`
pub(super) async fn account(
    State(counter): State<Counter>,
    account: Result<Path<u32>, PathRejection>,
) -> Result<Response, Problem> {
    let account = at(account)?;
    let look = counter.office.account(account, ORDERS_SHOWN).await?;
    if look.member == 0 && !look.is_funded {
        let why = format!("no member trades for account {account}, and it has no money");
        return Err(Problem::new(404, "unknown_account", why));
    }
    Ok(Json(look).into_response())
}

/// `GET /v1/jobs`
pub(super) async fn jobs(State(counter): State<Counter>) -> Response {
    Json(counter.office.jobs.list()).into_response()
}

/// `GET /v1/jobs/{job}`
pub(super) async fn job(
    State(counter): State<Counter>,
    job: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    let job = at(job)?;
    let found = counter.office.jobs.get(job);
    let missing = || Problem::new(404, "unknown_job", format!("there is no job {job}"));
    Ok(Json(found.ok_or_else(missing)?).into_response())
}

/// `GET /v1/approvals`
pub(super) async fn approvals(State(counter): State<Counter>) -> Response {
    Json(counter.office.approvals().list(Instant::now())).into_response()
}

/// What comes after a number.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct After {
    after: u64,
}

type Asked = Result<Query<After>, QueryRejection>;

fn asked(query: Asked) -> Result<After, Problem> {
    let refuse = |e: QueryRejection| Problem::new(400, "bad_request", e.body_text());
    query.map(|Query(after)| after).map_err(refuse)
}

/// The number in a path.
pub(super) fn at<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    let refuse = |e: PathRejection| Problem::new(400, "bad_request", e.body_text());
    path.map(|Path(number)| number).map_err(refuse)
}

/// `GET /v1/audit?after=N`
pub(super) async fn audit(
    State(counter): State<Counter>,
    query: Asked,
) -> Result<Response, Problem> {
    let After { after } = asked(query)?;
    let path = counter.office.data.audit();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    let text = match read {
        Ok(Ok(text)) => text,
        Ok(Err(e)) => return Err(Problem::new(503, "audit_unavailable", e.to_string())),
        Err(_) => return Err(Problem::gone()),
    };
    // Entry N is line N; the last may still be on its way.
    let lines = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
    let skip = usize::try_from(after).unwrap_or(usize::MAX);
    let page: String = lines.skip(skip).take(ENTRIES_SHOWN).collect();
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], page).into_response())
}

/// `GET /v1/events`: server-sent events; `Last-Event-ID`, or `?after=N`, resumes.
pub(super) async fn events(query: Asked, headers: HeaderMap) -> Result<Response, Problem> {
    let After { after } = asked(query)?;
    let id = headers.get("last-event-id");
    let after = match id.map(|v| v.to_str().ok().and_then(|t| t.parse().ok())) {
        None => after,
        Some(Some(id)) => id,
        Some(None) => {
            return Err(Problem::new(
                400,
                "bad_request",
                "Last-Event-ID is no number",
            ));
        }
    };
    let stream = futures_util::stream::unfold((after, true), |(mut after, is_first)| async move {
        let begun = Instant::now();
        let mut text = String::new();
        loop {
            for (n, line) in log::since(after) {
                text.push_str(&format!("id: {n}\ndata: {line}\n\n"));
                after = n;
            }
            if is_first && text.is_empty() {
                text.push_str(": follows\n\n");
            }
            if text.is_empty() && begun.elapsed() >= EVENTS_COMMENT {
                text.push_str(": still here\n\n");
            }
            if !text.is_empty() {
                return Some((Ok::<_, std::convert::Infallible>(text), (after, false)));
            }
            tokio::time::sleep(EVENTS_TURN).await;
        }
    });
    let kind = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((StatusCode::OK, kind, Body::from_stream(stream)).into_response())
}

/// `GET /v1/config`
pub(super) async fn config(State(counter): State<Counter>) -> Response {
    let running = counter.office.running();
    Json(json!({ "file": running.path, "config": table(&running.tree) })).into_response()
}

/// `GET /v1/config/diff`
pub(super) async fn config_diff(State(counter): State<Counter>) -> Result<Response, Problem> {
    let running = counter.office.running();
    let (_, tree) = running.read()?;
    let rows = running.diff(&tree).into_iter().map(|(key, running, file)| {
        let reloadable = is_reloadable(&key);
        json!({ "key": key, "running": running, "file": file, "reloadable": reloadable })
    });
    Ok(Json(rows.collect::<Vec<_>>()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> Vec<String> {
        let tree = |t: &str| table(&t.parse().unwrap());
        let mut changes = Vec::new();
        differ("", &tree(old), &tree(new), &mut changes);
        changes.into_iter().map(|(key, ..)| key).collect()
    }

    #[test]
    fn members_are_told_apart_by_their_ids() {
        let old = "[[members]]\nid = 1\nname = \"a\"\n[[members]]\nid = 2\nname = \"b\"";
        let swapped = "[[members]]\nid = 2\nname = \"b\"\n[[members]]\nid = 1\nname = \"a\"";
        let none: [&str; 0] = [];
        assert_eq!(diff(old, old), none);
        assert_eq!(diff(old, swapped), none);
        let renamed = old.replace("\"b\"", "\"c\"") + "\n[risk]\nfees = 3";
        assert_eq!(diff(old, &renamed), ["members.2.name", "risk"]);
        let one = "[[members]]\nid = 1\nname = \"a\"";
        assert_eq!(diff(old, one), ["members.2"]);
    }
}
