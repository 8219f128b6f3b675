//! A development chain in this process: revm behind the JSON-RPC methods that an Ethereum client needs, over
//! HTTP/1.1 on loopback.
//!
//! It mines each transaction in a block of its own when it arrives, and keeps all blocks and receipts but only the
//! newest state, in memory. It can stand in for `anvil`: same chain id, same ten funded accounts. What it leaves out
//! says so with an error: blob transactions, a queue for nonces that are not next, state of old blocks, forks.
//! Headers have a zero state root, as there is no state trie; hashes, transaction roots and receipt roots are real.

mod chain;
mod rpc;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::L1Error;
use chain::Chain;

/// Chain id of development chains, as `anvil` and this one have it.
pub const DEV_CHAIN_ID: u64 = 31_337;

/// Private keys of the ten accounts that `anvil` funds too, from its well-known mnemonic ("test test ... junk").
/// Everybody knows them: never send anything of worth there.
pub const DEV_KEYS: [&str; 10] = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "0xdbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// Largest request body: room for the largest transaction, in hex, twice.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Most connections at a time; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A development chain that has its port but does not answer yet.
pub struct Devnet {
    listener: TcpListener,
    address: SocketAddr,
    chain: Arc<Mutex<Chain>>,
}

impl Devnet {
    /// Takes `port` on 127.0.0.1 (0 for any free one) for a new chain. `chain_id` is [`DEV_CHAIN_ID`] unless the
    /// point is to play another chain.
    ///
    /// # Errors
    /// [`L1Error::Port`] if the port is taken.
    pub async fn bind(port: u16, chain_id: u64) -> Result<Self, L1Error> {
        let failed = |e: std::io::Error| L1Error::Port {
            port,
            reason: e.to_string(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let accounts = DEV_KEYS.iter().map(|key| dev_signer(key).address());
        let chain = Arc::new(Mutex::new(Chain::new(chain_id, accounts)));
        Ok(Self {
            listener,
            address,
            chain,
        })
    }

    /// Where it will answer, as `http://127.0.0.1:8545`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers until it is dropped.
    ///
    /// # Errors
    /// [`L1Error::Port`] if the listener breaks.
    pub async fn run(self) -> Result<(), L1Error> {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let slot = slot.expect("the semaphore is never closed");
            let (stream, _) = match self.listener.accept().await {
                Ok(connection) => connection,
                // One client's trouble is not ours.
                Err(e) if is_of_one_connection(&e) => continue,
                Err(e) => {
                    return Err(L1Error::Port {
                        port: self.address.port(),
                        reason: e.to_string(),
                    });
                }
            };
            let chain = Arc::clone(&self.chain);
            tokio::spawn(async move {
                serve_connection(stream, chain).await;
                drop(slot);
            });
        }
    }
}

fn is_of_one_connection(e: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        e.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn dev_signer(key: &str) -> PrivateKeySigner {
    let key: B256 = key.parse().expect("DEV_KEYS are 32 bytes of hex");
    PrivateKeySigner::from_bytes(&key).expect("DEV_KEYS are on the curve")
}

async fn serve_connection(stream: TcpStream, chain: Arc<Mutex<Chain>>) {
    // Answers are small and the client waits for them: no delay to fill a packet.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| respond(request, Arc::clone(&chain)));
    // A connection that breaks concerns its client alone.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: Request<Incoming>,
    chain: Arc<Mutex<Chain>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST {
        return Ok(text(
            StatusCode::METHOD_NOT_ALLOWED,
            "send JSON-RPC 2.0 by POST\n",
        ));
    }
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
    else {
        return Ok(text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large or broke off\n",
        ));
    };
    let body = body.to_bytes();
    let answer = {
        let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
        rpc::answer(&mut chain, &body)
    };
    Ok(match answer {
        Some(answer) => {
            let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
            let json = hyper::header::HeaderValue::from_static("application/json");
            response
                .headers_mut()
                .insert(hyper::header::CONTENT_TYPE, json);
            response
        }
        None => text(StatusCode::NO_CONTENT, ""),
    })
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
