//! The admin socket of a standby, and `hostd promote`, which asks there.
//!
//! | Route | Does |
//! |---|---|
//! | `GET /v1/status` | role, epoch, who leads, where its journal ends |
//! | `POST /v1/promote` | `{"alone": false, "force": false}`: it becomes the primary, or says why not |
//! | `POST /v1/shutdown` | stops it |

use super::status::{Shared, show};
use crate::ops::http;
use anyhow::{Context, bail};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

/// Longest that a promotion may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// What the operator wants of a standby.
pub enum Order {
    /// It becomes the primary.
    Promote {
        /// Without standbys of its own, until there is one.
        alone: bool,
        /// Whatever the others say.
        force: bool,
        /// Where the answer goes.
        reply: Reply,
    },
    /// It stops.
    Stop(Reply),
}

/// Where an answer goes.
pub struct Reply(oneshot::Sender<Result<Value, String>>);

impl Reply {
    /// Answers.
    pub fn answer(self, answer: Result<Value, String>) {
        // Who asked may be gone.
        let _ = self.0.send(answer);
    }
}

/// The socket, served by a thread of its own.
pub struct Control {
    orders: Mutex<mpsc::Receiver<Order>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    socket: PathBuf,
}

#[derive(Clone)]
struct Desk {
    orders: mpsc::Sender<Order>,
    shared: Shared,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PromoteBody {
    alone: bool,
    force: bool,
}

impl Control {
    /// Serves `socket`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn serve(socket: &Path, shared: Shared) -> anyhow::Result<Self> {
        let name = socket.display();
        if UnixStream::connect(socket).is_ok() {
            bail!("admin socket {name} is in use by another daemon");
        }
        // Nobody answers: what is there is left over from a crash.
        let _ = std::fs::remove_file(socket);
        let made = std::os::unix::net::UnixListener::bind(socket);
        let listener = made.with_context(|| format!("cannot make the admin socket {name}"))?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let (orders, taken) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let routes = Router::new()
            .route("/v1/status", get(status))
            .route("/v1/promote", post(promote))
            .route("/v1/shutdown", post(shutdown))
            .with_state(Desk { orders, shared });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new().name("standby-admin".into());
        let thread = thread.spawn(move || {
            let served = runtime.block_on(async move {
                let listener = UnixListener::from_std(listener)?;
                let stopped = async {
                    let _ = stopped.await;
                };
                axum::serve(listener, routes)
                    .with_graceful_shutdown(stopped)
                    .await
            });
            if let Err(e) = served {
                crate::machine::log::event("admin_stopped", &[("reason", &e)]);
            }
        })?;
        Ok(Self {
            orders: Mutex::new(taken),
            stop: Some(stop),
            thread: Some(thread),
            socket: socket.to_owned(),
        })
    }

    /// The next order, if there is one.
    pub fn order(&self) -> Option<Order> {
        let orders = self
            .orders
            .lock()
            .expect("nobody panics with the lock held");
        orders.try_recv().ok()
    }

    /// Answers what was asked, and leaves the socket to the primary.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn status(State(desk): State<Desk>) -> Response {
    let shown = show(&desk.shared);
    let body = json!({
        "state": "standby",
        "engine_seq": shown.applied_seq,
        "durable_seq": shown.disk_seq,
        "replication": shown,
    });
    Json(body).into_response()
}

async fn promote(State(desk): State<Desk>, Json(body): Json<PromoteBody>) -> Response {
    let PromoteBody { alone, force } = body;
    ask(&desk, "not_promoted", |reply| Order::Promote {
        alone,
        force,
        reply,
    })
    .await
}

async fn shutdown(State(desk): State<Desk>) -> Response {
    ask(&desk, "not_stopped", Order::Stop).await
}

async fn ask(desk: &Desk, code: &str, make: impl FnOnce(Reply) -> Order) -> Response {
    let (reply, answer) = oneshot::channel();
    let answer = if desk.orders.send(make(Reply(reply))).is_ok() {
        answer.await.ok()
    } else {
        None
    };
    match answer {
        Some(Ok(body)) => Json(body).into_response(),
        Some(Err(why)) => {
            let body = Json(json!({ "code": code, "title": why, "status": 409 }));
            (StatusCode::CONFLICT, body).into_response()
        }
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// `hostd promote`: asks the standby on `socket`, and returns the epoch in which it leads.
///
/// # Errors
/// Why it does not.
pub fn ask_to_lead(socket: &Path, alone: bool, force: bool) -> anyhow::Result<u64> {
    let body = json!({ "alone": alone, "force": force }).to_string();
    let answer = http::call(socket, "POST", "/v1/promote", None, &body, ANSWER);
    let answer = answer.with_context(|| format!("no standby answers on {}", socket.display()))?;
    let answer: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match (answer["epoch"].as_u64(), answer["title"].as_str()) {
        (Some(epoch), _) => Ok(epoch),
        (None, Some(why)) => bail!("not promoted: {why}"),
        (None, None) => bail!("this box is no standby that can be promoted"),
    }
}
