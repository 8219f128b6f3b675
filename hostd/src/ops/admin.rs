//! The admin socket: HTTP/1.1 and JSON over a Unix socket with mode 0600. Every change becomes a
//! sequenced input; a read never touches the engine's memory.
//!
//! | Route | Does |
//! |---|---|
//! | `GET /v1/status` | counts, percentiles, journal |
//! | `POST /v1/deposits` | takes final L1 deposits, in queue order; what was taken before is skipped |
//! | `POST /v1/state` | `{"instrument": 3 or "all", "state": "halt"}`: moves instruments to a trading state |
//! | `POST /v1/lock` | `{"member": 2, "account": 7 or "all", "action": "lock" or "unlock"}` |
//! | `POST /v1/cancel` | `{"member", "account", "instrument"}`: cancels orders; what is left out means all |
//! | `POST /v1/seal` | closes the open batch |
//! | `POST /v1/shutdown` | stops taking requests, makes everything durable, says the state hash, exits |
//!
//! The operator's commands (state, lock, cancel) answer with the number of their record in the journal; a refused
//! one is answered with a problem and changes nothing.

use crate::ops::operator::{CancelBody, Command, CommandRefused, LockBody, StateBody};
use crate::ops::status::Status;
use crate::tiles::lanes::Stopped;
use anyhow::Context;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use matcher::engine::DepositError;
use serde::{Deserialize, Deserializer, Serialize};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

/// What the admin socket asks of the control tile.
#[derive(Debug)]
pub enum AdminRequest {
    /// Show.
    Status(oneshot::Sender<Box<Status>>),
    /// Sequence a deposit.
    Deposit(DepositBody, oneshot::Sender<Result<u64, DepositError>>),
    /// Sequence a command of the operator; the answer is its number in the journal.
    Operate(Command, oneshot::Sender<Result<u64, CommandRefused>>),
    /// Close the open batch.
    Seal(oneshot::Sender<u64>),
    /// Stop.
    Shutdown(oneshot::Sender<Stopped>),
}

/// A deposit as L1 recorded it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepositBody {
    /// Place in the queue, from 0.
    pub queue_index: u64,
    /// Account.
    pub account: u32,
    /// Owner on L1.
    pub owner: Address,
    /// Digest of the account's key; all zero where there is none.
    #[serde(default)]
    pub key: Digest,
    /// Micro-units.
    pub amount_micro: u64,
}

/// An L1 address, `0x` and 40 hex digits in JSON.
pub type Address = Hex<20>;
/// A field element, `0x` and 64 hex digits in JSON, big-endian.
pub type Digest = Hex<32>;

/// Bytes as `0x` and hex digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Default for Hex<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let digits = 2 * N;
        let fail =
            || serde::de::Error::custom(format!("'{text}' is not 0x and {digits} hex digits"));
        let hex = text
            .strip_prefix("0x")
            .filter(|h| h.len() == digits && h.is_ascii())
            .ok_or_else(fail)?;
        let mut bytes = [0; N];
        for (i, b) in bytes.iter_mut().enumerate() {
            *b = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| fail())?;
        }
        Ok(Self(bytes))
    }
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    title: String,
    status: u16,
}

fn problem(status: StatusCode, code: &'static str, title: String) -> Response {
    let body = Json(Problem {
        code,
        title,
        status: status.as_u16(),
    });
    (status, [("content-type", "application/problem+json")], body).into_response()
}

type Desk = mpsc::Sender<AdminRequest>;

/// Serves the socket until the process ends.
///
/// # Errors
/// When the socket cannot be made: another daemon answers on it, or the directory is missing.
pub fn serve(path: &Path, desk: Desk) -> anyhow::Result<()> {
    let name = path.display();
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("admin socket {name} is in use by another daemon");
    }
    // Nobody answers: what is there is left over from a crash.
    let _ = std::fs::remove_file(path);
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot make the admin socket {name}"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| name.to_string())?;
    let routes = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/deposits", post(deposits))
        .route("/v1/state", post(state))
        .route("/v1/lock", post(lock))
        .route("/v1/cancel", post(cancel))
        .route("/v1/seal", post(seal))
        .route("/v1/shutdown", post(shutdown))
        .with_state(desk);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(())
}

async fn ask<T>(
    desk: &Desk,
    make: impl FnOnce(oneshot::Sender<T>) -> AdminRequest,
) -> Result<T, Response> {
    let gone = || {
        problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the daemon is stopping".into(),
        )
    };
    let (tx, rx) = oneshot::channel();
    desk.send(make(tx)).await.map_err(|_| gone())?;
    rx.await.map_err(|_| gone())
}

async fn status(State(desk): State<Desk>) -> Response {
    match ask(&desk, AdminRequest::Status).await {
        Ok(status) => Json(status).into_response(),
        Err(r) => r,
    }
}

async fn deposits(State(desk): State<Desk>, Json(body): Json<Vec<DepositBody>>) -> Response {
    let mut next = None;
    for deposit in body {
        match ask(&desk, |tx| AdminRequest::Deposit(deposit, tx)).await {
            Ok(Ok(n)) => next = Some(n),
            Ok(Err(DepositError::Order { want, got })) if got < want => next = Some(want),
            Ok(Err(e)) => return problem(StatusCode::CONFLICT, "deposit_refused", e.to_string()),
            Err(r) => return r,
        }
    }
    Json(serde_json::json!({ "next_queue_index": next })).into_response()
}

type Body<T> = Result<Json<T>, JsonRejection>;

async fn state(State(desk): State<Desk>, body: Body<StateBody>) -> Response {
    operate(&desk, body.map(|Json(b)| Command::State(b))).await
}

async fn lock(State(desk): State<Desk>, body: Body<LockBody>) -> Response {
    operate(&desk, body.map(|Json(b)| Command::Lock(b))).await
}

async fn cancel(State(desk): State<Desk>, body: Body<CancelBody>) -> Response {
    operate(&desk, body.map(|Json(b)| Command::Cancel(b))).await
}

async fn operate(desk: &Desk, command: Result<Command, JsonRejection>) -> Response {
    let command = match command {
        Ok(command) => command,
        Err(e) => return problem(e.status(), "bad_request", e.body_text()),
    };
    match ask(desk, |tx| AdminRequest::Operate(command, tx)).await {
        Ok(Ok(seq)) => Json(serde_json::json!({ "engine_seq": seq })).into_response(),
        Ok(Err(why)) => {
            let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::BAD_REQUEST);
            problem(status, why.code(), why.to_string())
        }
        Err(r) => r,
    }
}

async fn seal(State(desk): State<Desk>) -> Response {
    match ask(&desk, AdminRequest::Seal).await {
        Ok(batch_no) => Json(serde_json::json!({ "batch_no": batch_no })).into_response(),
        Err(r) => r,
    }
}

async fn shutdown(State(desk): State<Desk>) -> Response {
    match ask(&desk, AdminRequest::Shutdown).await {
        Ok(stopped) => Json(serde_json::json!({
            "engine_seq": stopped.engine_seq,
            "state_hash": hex(&stopped.state_hash),
            "batches_sealed": stopped.batches_sealed,
        }))
        .into_response(),
        Err(r) => r,
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
