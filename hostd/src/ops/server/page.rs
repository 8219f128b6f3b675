//! A page for those who look rather than type: one file without anything from elsewhere, live by server-sent events, on
//! loopback. It only shows.

use super::problem::Problem;
use super::{Counter, Office};
use crate::ops::admin::AdminRequest;
use crate::ops::health;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often the page is told.
const TURN: Duration = Duration::from_secs(1);
const PAGE: &str = include_str!("../page.html");
/// What the page may do: its own style and script, and its own stream.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's routes.
pub(super) fn routes(counter: Counter) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/stream", get(stream))
        .layer(from_fn(only_for_loopback))
        .with_state(counter)
}

/// A page of elsewhere whose name was made to mean this address is not answered.
async fn only_for_loopback(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|h| h.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !["localhost", "127.0.0.1", "[::1]"].contains(&name) {
        let why = "this page is for the machine that it is on";
        return Problem::new(403, "wrong_host", why).into_response();
    }
    next.run(request).await
}

/// The page with what is to be shown first already in it.
async fn page(State(counter): State<Counter>, Query(which): Query<Which>) -> Response {
    let first = summary(&counter.office, which.instrument).await;
    // In a script, no text of ours may look like the script's end.
    let first = first.map_or_else(|_| "null".into(), |v| v.to_string().replace('<', "\\u003c"));
    let page = PAGE.replacen("/*FIRST*/null", &first, 1);
    let policy = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (policy, Html(page)).into_response()
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Which {
    instrument: u16,
}

async fn stream(State(counter): State<Counter>, Query(which): Query<Which>) -> Response {
    let office = Arc::clone(&counter.office);
    let told = futures_util::stream::unfold((office, true), move |(office, is_first)| async move {
        if !is_first {
            tokio::time::sleep(TURN).await;
        }
        // A box that stops has nothing more to tell.
        let told = summary(&office, which.instrument).await.ok()?;
        let text = format!("data: {told}\n\n");
        Some((Ok::<_, std::convert::Infallible>(text), (office, false)))
    });
    let kind = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::OK, kind, Body::from_stream(told)).into_response()
}

/// What the page shows.
async fn summary(office: &Office, instrument: u16) -> Result<Value, Problem> {
    let status = office.ask(AdminRequest::Status).await?;
    let status = serde_json::to_value(status).unwrap_or_default();
    let instruments = office.instruments().await?;
    let book = office.depth(instrument).await?;
    let pick = |keys: &[&str]| -> Value {
        let picked = keys.iter().map(|k| ((*k).to_owned(), status[*k].clone()));
        Value::Object(picked.collect())
    };
    let mut told = pick(&[
        "state",
        "engine_seq",
        "durable_seq",
        "sessions",
        "requests",
        "fills",
        "live_orders",
        "settlements",
        "batches_sealed",
        "risk_epoch",
        "rejects",
        "proofs",
        "oracle",
    ]);
    let stages = status["stage_ns"].as_object().into_iter().flatten();
    let stages = stages.map(|(name, s)| {
        let times = json!({ "p50": s["p50"], "p99": s["p99"], "p999": s["p999"] });
        (name.clone(), times)
    });
    told["stages"] = Value::Object(stages.collect());
    told["health"] = json!(health::of(&status));
    told["instruments"] = json!(instruments);
    told["book"] = json!(book);
    Ok(told)
}
