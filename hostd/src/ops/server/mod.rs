//! The operators' sockets: HTTP/1.1 and JSON over Unix sockets, one a role, on a thread of their own.
//!
//! Whoever connects is known by what the kernel says of it. What it may do is the least of what its socket's role and its
//! own role allow. A change carries an `Idempotency-Key`, a `reason`, and `"dry_run": true` if it is only to be tried;
//! it stands in the [audit log](crate::ops::audit) before it is done, becomes a sequenced input, and is answered with
//! the number of its record in the journal. `openapi.json` describes the routes.

mod act;
mod approvals;
mod jobs;
mod look;
mod page;
mod problem;
mod replies;
mod routes;

pub use problem::Problem;
pub use routes::{ROUTES, Route, TWO_PERSON_ACTS, role_of};

use crate::config::{Config, Group};
use crate::machine::log;
use crate::ops::admin::AdminRequest;
use crate::ops::audit::{AuditLog, Draft, Entry, Outcome, Who};
use crate::ops::role::{Role, Users};
use crate::storage::data_dir::DataDir;
use anyhow::{Context, bail};
use approvals::Approvals;
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::serve::IncomingStream;
use jobs::Jobs;
use replies::Replies;
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};

/// How long an answer that is under way may take when the box stops.
const GOODBYE: Duration = Duration::from_millis(500);

/// The open sockets; they close when this is dropped.
pub struct Server {
    stop: Option<watch::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
    sockets: Vec<PathBuf>,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Office {
    desk: mpsc::Sender<AdminRequest>,
    users: Users,
    audit: AuditLog,
    replies: Mutex<Replies>,
    approvals: Mutex<Approvals>,
    two_person: BTreeSet<String>,
    jobs: Jobs,
    data: DataDir,
    config: Mutex<look::Running>,
}

/// Where a handler finds the office, and through which socket it was reached.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    office: Arc<Office>,
    role: Role,
}

/// Who is at the other end, as the kernel says.
#[derive(Clone, Debug, Default)]
struct Caller {
    uid: Option<u32>,
    gid: u32,
    pid: Option<i32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        match stream.io().peer_cred() {
            Ok(cred) => Self {
                uid: Some(cred.uid()),
                gid: cred.gid(),
                pid: cred.pid(),
            },
            Err(_) => Self::default(),
        }
    }
}

impl Server {
    /// Makes the sockets and serves them.
    ///
    /// # Errors
    /// When one cannot be made: another daemon answers on it, the directory is missing or open to everybody, a group is
    /// unknown.
    pub fn start(
        config: &Config,
        desk: mpsc::Sender<AdminRequest>,
        audit: (AuditLog, Vec<Entry>),
    ) -> anyhow::Result<Self> {
        let admin = &config.admin;
        make_dir(&admin.dir)?;
        let (audit, entries) = audit;
        let last_approval = entries.iter().filter_map(|e| e.draft.approval).max();
        let office = Arc::new(Office {
            desk,
            users: Users::new(admin.users.clone(), rustix::process::geteuid().as_raw()),
            audit,
            replies: Mutex::new(Replies::of(&entries)),
            approvals: Mutex::new(Approvals::new(
                Duration::from_secs(admin.approval_s),
                last_approval.unwrap_or(0),
            )),
            two_person: admin.two_person.iter().cloned().collect(),
            jobs: Jobs::default(),
            data: config.data(),
            config: Mutex::new(look::Running::of(config)),
        });
        let mut sockets = Vec::new();
        let mut listeners = Vec::new();
        for role in Role::ALL {
            let path = admin.socket(role);
            listeners.push((role, listen(&path, admin.groups.get(&role))?));
            sockets.push(path);
        }
        let scraped = on_loopback("metrics.listen", config.metrics.listen)?;
        let page = on_loopback("page.listen", config.page.listen)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new().name("sockets".into());
        let thread = thread.spawn(move || {
            runtime.block_on(async move {
                let mut served = tokio::task::JoinSet::new();
                for (role, listener) in listeners {
                    let (office, stopped) = (Arc::clone(&office), stopped.clone());
                    served.spawn(async move {
                        if let Err(e) = serve(Counter { office, role }, listener, stopped).await {
                            log::event("socket_stopped", &[("role", &role.word()), ("reason", &e)]);
                        }
                    });
                }
                let counter = Counter {
                    office,
                    role: Role::View,
                };
                let plain = [
                    (scraped, "metrics", metrics_routes(counter.clone())),
                    (page, "page", page::routes(counter)),
                ];
                for (listener, name, routes) in plain {
                    let Some(listener) = listener else { continue };
                    served.spawn(async move {
                        if let Err(e) = serve_plain(routes, listener).await {
                            log::event("socket_stopped", &[("role", &name), ("reason", &e)]);
                        }
                    });
                }
                let mut stopped = stopped;
                // An error says that who could stop it is gone.
                let _ = stopped.changed().await;
                let all = async { while served.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(GOODBYE, all).await;
            });
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            sockets,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panicked: its own message says why.
            let _ = thread.join();
        }
        for socket in &self.sockets {
            let _ = std::fs::remove_file(socket);
        }
    }
}

async fn serve(
    counter: Counter,
    listener: std::os::unix::net::UnixListener,
    mut stopped: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let routes = router(counter).into_make_service_with_connect_info::<Caller>();
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            let _ = stopped.changed().await;
        })
        .await
}

/// A listener on loopback, if one is wanted.
fn on_loopback(
    key: &str,
    address: Option<std::net::SocketAddr>,
) -> anyhow::Result<Option<std::net::TcpListener>> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener =
        std::net::TcpListener::bind(address).with_context(|| format!("{key}: {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

/// For scrapers that cannot use a Unix socket: three looks and nothing else.
fn metrics_routes(counter: Counter) -> Router {
    Router::new()
        .route("/metrics", get(look::metrics))
        .route("/v1/livez", get(look::livez))
        .route("/v1/readyz", get(look::readyz))
        .with_state(counter)
}

async fn serve_plain(routes: Router, listener: std::net::TcpListener) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, routes).await
}

fn router(counter: Counter) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, handler(route));
    }
    router
        .route_layer(from_fn_with_state(counter.clone(), guard))
        .fallback(async || Problem::new(404, "no_such_route", "there is no such route"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                405,
                "no_such_method",
                "this route does not take this method",
            )
        })
        .with_state(counter)
}

/// What serves a route.
fn handler(route: &Route) -> MethodRouter<Counter> {
    match (route.path, route.act) {
        ("/v1/status", _) => get(look::status),
        ("/v1/livez", _) => get(look::livez),
        ("/v1/readyz", _) => get(look::readyz),
        ("/metrics", _) => get(look::metrics),
        ("/v1/version", _) => get(look::version),
        ("/v1/openapi.json", _) => get(look::openapi),
        ("/v1/whoami", _) => get(look::whoami),
        ("/v1/instruments", "") => get(look::instruments),
        ("/v1/books/{instrument}", _) => get(look::book),
        ("/v1/members", _) => get(look::members),
        ("/v1/keys", "") => get(look::keys),
        ("/v1/sessions", _) => get(look::sessions),
        ("/v1/accounts/{account}", _) => get(look::account),
        ("/v1/jobs", _) => get(look::jobs),
        ("/v1/jobs/{job}", _) => get(look::job),
        ("/v1/approvals", _) => get(look::approvals),
        ("/v1/events", _) => get(look::events),
        ("/v1/audit", _) => get(look::audit),
        ("/v1/config", _) => get(look::config),
        ("/v1/config/diff", _) => get(look::config_diff),
        (_, "deposits") => post(act::deposits),
        (_, "proofs") => post(act::proofs),
        (_, "approve") => post(act::approve),
        _ => post(act::change),
    }
}

/// Lets through who may use a route; the rest is refused, and stands in the audit log.
async fn guard(
    State(counter): State<Counter>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    let office = &counter.office;
    let method = match *request.method() {
        Method::HEAD => "GET",
        ref other => other.as_str(),
    };
    let route = routes::find(method, path.as_str()).copied();
    let user = caller.uid.and_then(|uid| office.users.find(uid));
    let name = user.map(|(name, _)| name.to_owned());
    let who = Who {
        uid: caller.uid.unwrap_or(u32::MAX),
        gid: caller.gid,
        pid: caller.pid,
        exe: caller.pid.and_then(program),
        user: name,
        socket: counter.role.word().into(),
    };
    let refused = match (route, user) {
        // The router answers what it has no method for.
        (None, _) => None,
        (Some(_), None) => Some(Problem::new(
            403,
            "unknown_user",
            format!("user {} is none of this box's operators", who.uid),
        )),
        (Some(route), Some((name, role))) => {
            let need = route.role.word();
            if !counter.role.includes(route.role) {
                let socket = counter.role.word();
                let why = format!("this needs the socket of role {need}, and this is {socket}'s");
                Some(Problem::new(403, "wrong_socket", why))
            } else if !role.includes(route.role) {
                let why = format!("{name} has role {}, and this needs {need}", role.word());
                Some(Problem::new(403, "not_permitted", why))
            } else {
                None
            }
        }
    };
    if let Some(problem) = refused {
        let asked = route.map_or("", |r| r.act);
        let act = if asked.is_empty() {
            format!("{method} {}", path.as_str())
        } else {
            asked.to_owned()
        };
        let draft = Draft {
            who,
            act,
            args: serde_json::Value::Null,
            reason: String::new(),
            key: String::new(),
            outcome: Outcome::Refused,
            code: Some(problem.code.into()),
            engine_seq: None,
            approval: None,
            reply: None,
        };
        note(office, draft).await;
        return problem.into_response();
    }
    if let Some(route) = route {
        request.extensions_mut().insert(route);
    }
    request.extensions_mut().insert(who);
    next.run(request).await
}

/// Writes an entry that nothing waits for.
async fn note(office: &Office, draft: Draft) {
    if let Err(why) = office.audit.write(draft).await {
        log::event("audit_failed", &[("reason", &why)]);
    }
}

/// The program of a process, as far as it can be seen.
fn program(pid: i32) -> Option<String> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(path.to_string_lossy().into_owned())
}

impl Office {
    /// Asks the control tile.
    async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<T>) -> AdminRequest,
    ) -> Result<T, Problem> {
        let (tx, rx) = oneshot::channel();
        self.desk
            .send(make(tx))
            .await
            .map_err(|_| Problem::gone())?;
        rx.await.map_err(|_| Problem::gone())
    }

    fn replies(&self) -> std::sync::MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn approvals(&self) -> std::sync::MutexGuard<'_, Approvals> {
        self.approvals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directory of the sockets: made if it is missing; nobody but its owner and groups may put something there.
fn make_dir(dir: &Path) -> anyhow::Result<()> {
    let name = dir.display();
    if !dir.exists() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {name}"))?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
    }
    let mode = std::fs::metadata(dir)
        .with_context(|| name.to_string())?
        .mode();
    if mode & 0o002 != 0 {
        bail!("admin.dir: anybody may write to {name}: chmod o-w {name}");
    }
    Ok(())
}

/// Makes a socket that its group may use, or nobody but the box's own user.
fn listen(path: &Path, group: Option<&Group>) -> anyhow::Result<std::os::unix::net::UnixListener> {
    let name = path.display();
    if UnixStream::connect(path).is_ok() {
        bail!("admin socket {name} is in use by another daemon");
    }
    // Nobody answers: what is there is left over from a crash.
    let _ = std::fs::remove_file(path);
    // From its first moment nobody else may connect.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let made = std::os::unix::net::UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = made.with_context(|| format!("cannot make the admin socket {name}"))?;
    if let Some(group) = group {
        let gid = gid_of(group).with_context(|| format!("admin.groups: {group:?}"))?;
        std::os::unix::fs::chown(path, None, Some(gid))
            .with_context(|| format!("cannot give {name} to group {gid}"))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The number of a group, from `/etc/group`.
fn gid_of(group: &Group) -> anyhow::Result<u32> {
    let name = match group {
        Group::Id(id) => return Ok(*id),
        Group::Name(name) => name,
    };
    let text = std::fs::read_to_string("/etc/group").context("/etc/group")?;
    let ids = text.lines().filter_map(|line| {
        let mut parts = line.split(':');
        let is_it = parts.next() == Some(name);
        let id = parts.nth(1).and_then(|id| id.parse().ok());
        id.filter(|_| is_it)
    });
    ids.into_iter()
        .next()
        .with_context(|| format!("there is no group {name}"))
}
