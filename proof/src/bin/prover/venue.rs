//! The venue's admin socket, as far as deposits need it.

use crate::http;
use anyhow::{Context, anyhow};
use hyper::StatusCode;
use l1::Deposit;
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::net::UnixStream;

/// What the venue says to deposits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// All are sequenced, now or before.
    All,
    /// It refuses one of them; the reason.
    Refused(String),
}

/// One venue.
#[derive(Clone, Debug)]
pub(crate) struct Venue {
    socket: PathBuf,
}

impl Venue {
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Place in the L1 queue of the deposit that the venue expects next.
    pub(crate) async fn next_deposit(&self) -> anyhow::Result<u64> {
        let (status, answer) = self.call("/v1/status", None).await?;
        let next = answer["deposits_next_queue_index"].as_u64();
        next.filter(|_| status.is_success()).ok_or_else(|| {
            anyhow!(
                "{}: /v1/status answers {status} without deposits_next_queue_index",
                self.socket.display()
            )
        })
    }

    /// Hands deposits over, in queue order; what the venue has already is skipped there.
    pub(crate) async fn deposit(&self, deposits: &[Deposit]) -> anyhow::Result<Taken> {
        let rows = deposits.iter().map(|d| {
            json!({
                "queue_index": d.index,
                "account": d.account,
                "owner": d.owner.to_string(),
                "amount_micro": d.amount_micro,
            })
        });
        let body = Value::Array(rows.collect());
        let (status, answer) = self.call("/v1/deposits", Some(&body)).await?;
        if status.is_success() {
            return Ok(Taken::All);
        }
        let reason = answer["title"].as_str().or_else(|| answer.as_str());
        let reason = reason.unwrap_or("no reason given");
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return Err(anyhow!("{}: {reason}", self.socket.display()));
        }
        Ok(Taken::Refused(format!("{reason} ({})", status.as_u16())))
    }

    /// Says how far the proofs are, for the venue to show. A venue that does not hear it works on, and so do we.
    pub(crate) async fn report(&self, proven: u64, committed: u64, l1_block: u64) {
        let body = json!({
            "proven_batches": proven,
            "committed_batches": committed,
            "l1_block": l1_block,
        });
        let _ = self.call("/v1/proofs", Some(&body)).await;
    }

    async fn call(&self, path: &str, body: Option<&Value>) -> anyhow::Result<(StatusCode, Value)> {
        let what = || format!("{path} on {}", self.socket.display());
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.with_context(what)?;
        http::call(stream, "venue", path, body)
            .await
            .with_context(what)
    }
}
