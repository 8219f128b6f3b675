//! One HTTP/1.1 request over a connection of its own: what the admin socket and a look at a raw log need.

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER_MAX: usize = 1 << 22;

/// Sends a request (a POST if there is a body) and reads the JSON that comes back.
pub(crate) async fn call<S>(
    stream: S,
    host: &str,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<(StatusCode, Value)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = exchange(stream, host, path, body);
    match timeout(PATIENCE, exchange).await {
        Ok(answer) => answer,
        Err(_) => bail!("no answer within {} s", PATIENCE.as_secs()),
    }
}

async fn exchange<S>(
    stream: S,
    host: &str,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<(StatusCode, Value)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; what goes wrong with it shows at the request.
    tokio::spawn(connection);
    let method = if body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let bytes = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(bytes)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await;
    let body = body.map_err(|e| anyhow::anyhow!("the answer broke off: {e}"))?;
    let bytes = body.to_bytes();
    if bytes.is_empty() {
        return Ok((status, Value::Null));
    }
    let json = serde_json::from_slice(&bytes);
    // A plain-text refusal is still a refusal with a status.
    match json {
        Ok(json) => Ok((status, json)),
        Err(_) if !status.is_success() => {
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            Ok((status, Value::String(text)))
        }
        Err(e) => Err(e).context("the answer is no JSON"),
    }
}
