//! A day of the prover, with everything real but the venue's sockets: a journal and sealed batches from the real
//! engine, the embedded chain, one real proof, and all of it as processes that are killed and started again.

mod prover_venue;

use firmware::wire::input::InDeposit;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prover_venue::{MAKER, TAKER, Venue};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Generous: two cores may be busy with other tests, and the first run makes the key.
const PATIENCE: Duration = Duration::from_secs(300);
const DEPOSIT_MICRO: u64 = 5_000_000_000;
const WITHDRAWN_MICRO: u64 = 7_000_000;
/// Dev keys of the owners of the two accounts.
const OWNERS: [(u32, &str); 2] = [(MAKER, "2"), (TAKER, "3")];

fn prover(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prover"));
    command
        .args(args)
        // The same folder each time the tests run here, so that the key is made once.
        .env("DELTABOX_CACHE", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null());
    command
}

fn tool(args: &[&str]) -> Value {
    let output = prover(args).output().expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {stderr}");
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

/// A command that must fail with one line on standard error.
fn refused(args: &[&str]) -> String {
    let Output { status, stderr, .. } = prover(args).output().expect("started");
    let text = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(1), "{args:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    text
}

/// A process with its lines; killed with the value.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = prover(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let (tx, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nobody listens once the test is over.
                let _ = tx.send(line);
            }
        });
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line in {} s", PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => panic!("it ended: {}", self.last_words()),
        }
    }

    fn last_words(&mut self) -> String {
        let mut text = String::new();
        let stderr = self.child.stderr.as_mut().expect("piped");
        stderr.read_to_string(&mut text).expect("text");
        text
    }

    /// Waits for an event; gives all events up to it.
    fn until(&mut self, event: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let value: Value = serde_json::from_str(&self.line()).expect("a JSON line");
            assert!(value["time_ns"].as_u64() > Some(0), "{value}");
            let found = value["event"] == event;
            seen.push(value);
            if found {
                return seen;
            }
        }
    }

    /// Ends it politely and wants a clean exit.
    fn terminate(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("ended");
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn names(events: &[Value]) -> Vec<&str> {
    let names = events.iter().filter_map(|e| e["event"].as_str());
    names.filter(|n| !n.ends_with("progress")).collect()
}

/// The venue's admin socket.
fn serve(venue: Arc<Mutex<Venue>>, socket: PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::bind(socket).expect("a socket");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let venue = Arc::clone(&venue);
                let service = service_fn(move |request| answer(Arc::clone(&venue), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // A prover that is killed breaks off.
                let _ = connection.await;
            }
        });
    });
}

async fn answer(
    venue: Arc<Mutex<Venue>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let mut venue = venue.lock().expect("unpoisoned");
    let (status, json) = match path.as_str() {
        "/v1/status" => (
            StatusCode::OK,
            json!({ "deposits_next_queue_index": venue.next_deposit() }),
        ),
        "/v1/deposits" => take(&mut venue, &body),
        "/v1/proofs" => (StatusCode::OK, json!({})),
        _ => (StatusCode::NOT_FOUND, json!({ "title": "no such path" })),
    };
    let mut response = Response::new(Full::new(Bytes::from(json.to_string())));
    *response.status_mut() = status;
    Ok(response)
}

fn take(venue: &mut Venue, body: &[u8]) -> (StatusCode, Value) {
    let rows: Vec<Value> = serde_json::from_slice(body).expect("rows");
    let mut next = venue.next_deposit();
    for row in rows {
        let mut owner = [0; 20];
        let digits = row["owner"].as_str().and_then(|t| t.strip_prefix("0x"));
        let digits = digits.expect("an address");
        for (place, byte) in owner.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * place..][..2], 16).expect("hex");
        }
        let deposit = InDeposit {
            queue_index: row["queue_index"].as_u64().expect("a number"),
            amount: row["amount_micro"].as_u64().expect("a number"),
            account: row["account"].as_u64().expect("a number") as u32,
            owner,
            key: [0; 32],
        };
        match venue.deposit(&deposit) {
            Ok(n) => next = n,
            Err(e) => return (StatusCode::CONFLICT, json!({ "title": e.to_string() })),
        }
    }
    (StatusCode::OK, json!({ "next_queue_index": next }))
}

/// A chain with the contracts on it.
struct World {
    /// Runs for as long as this lives.
    _chain: Running,
    url: String,
    deployment: String,
}

impl World {
    fn new(dir: &Path, name: &str) -> Self {
        let mut chain = Running::start(&["devnet", "--port", "0"]);
        let line = chain.line();
        let url = line.strip_prefix("devnet: ready ").expect("ready");
        let url = url.to_owned();
        let deployment = dir.join(name).display().to_string();
        let record = tool(&["deploy", "--l1", &url, "--out", &deployment, "--json"]);
        assert_eq!(record["insecure_key"], true);
        Self {
            _chain: chain,
            url,
            deployment,
        }
    }

    fn l1(&self, verb: &str, key: &str, more: &[&str]) -> Value {
        let mut args = vec!["l1", verb, "--l1", &self.url, "--json"];
        args.extend(["--deployment", &self.deployment, "--dev-key", key]);
        args.extend(more);
        tool(&args)
    }

    /// Opens and funds both accounts.
    fn fund(&self) {
        for (account, key) in OWNERS {
            assert_eq!(self.l1("open", key, &[])["account"], account);
            let (account, amount) = (account.to_string(), DEPOSIT_MICRO.to_string());
            let more = ["--account", &account, "--amount", &amount, "--mint"];
            let queued = self.l1("deposit", key, &more);
            assert_eq!(queued["amount_micro"], DEPOSIT_MICRO);
        }
    }

    fn run(&self, data: &str, socket: &str) -> Running {
        let node = ["run", "--data", data, "--l1", &self.url, "--admin", socket];
        let more = ["--deployment", &self.deployment, "--json"];
        Running::start(&[&node[..], &more].concat())
    }

    fn audit_args<'a>(&'a self, data: &'a str) -> [&'a str; 8] {
        let (url, deployment) = (&self.url, &self.deployment);
        let node = ["audit", "--json", "--data", data, "--l1", url];
        let [a, b, c, d, e, f] = node;
        [a, b, c, d, e, f, "--deployment", deployment]
    }
}

/// A program that is not ours takes the proof, and refuses one with another digit in it.
fn snarkjs(dir: &Path, data: &str) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let program = Path::new(root).join(".tools/l1/node_modules/snarkjs/cli.js");
    let own = Path::new(root).join(".tools/node/bin/node");
    let node = if own.is_file() { own } else { "node".into() };
    if !program.is_file() {
        eprintln!("not run: no snarkjs in .tools (cargo ci setup)");
        return;
    }
    let to = dir.join("snarkjs");
    let exported = Command::new(env!("CARGO_BIN_EXE_prover"))
        .args(["export", "--data", data, "--batch", "1", "--out"])
        .arg(&to)
        .output()
        .expect("prover");
    assert!(exported.status.success(), "{exported:?}");
    let verify = || {
        let mut snarkjs = Command::new(&node);
        snarkjs
            .arg(&program)
            .args(["groth16", "verify"])
            .current_dir(&to);
        let files = ["verification_key.json", "public.json", "proof.json"];
        let said = snarkjs.args(files).output().expect("node");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        (said.status.success(), text)
    };
    let (is_valid, said) = verify();
    assert!(is_valid && said.contains("OK!"), "{said}");
    for name in ["public.json", "proof.json"] {
        let path = to.join(name);
        let text = fs::read_to_string(&path).expect("a file");
        // Another last digit of the first number.
        let number = text.split('"').find(|p| p.len() > 30).expect("a number");
        let (head, last) = number.split_at(number.len() - 1);
        let other = format!("{head}{}", if last == "1" { 2 } else { 1 });
        fs::write(&path, text.replacen(number, &other, 1)).expect("written");
        let (is_valid, said) = verify();
        assert!(!is_valid, "{name}: {said}");
        fs::write(&path, text).expect("written");
    }
    assert!(verify().0);
}

#[test]
fn a_day_is_proven_settled_claimed_and_audited_through_kills_and_a_lost_chain() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (data, socket) = (path("data"), path("admin.sock"));
    let world = World::new(dir.path(), "deployment.json");
    fs::create_dir(&data).expect("made");
    world.fund();

    // The prover is there before the venue is.
    let mut run = world.run(&data, &socket);
    let warned = run.until("warning");
    assert!(warned.iter().any(|e| {
        let text = e["text"].as_str();
        text.is_some_and(|t| t.starts_with("the venue is not up yet"))
    }));
    let venue = Arc::new(Mutex::new(Venue::open(Path::new(&data))));
    serve(Arc::clone(&venue), PathBuf::from(&socket));
    for place in 0..2 {
        let events = run.until("deposit");
        assert_eq!(events.last().expect("one")["queue_index"], place);
    }
    {
        let mut venue = venue.lock().expect("unpoisoned");
        venue.trade();
        venue.price(2, 60_050_000_000);
        venue.withdraw(MAKER, WITHDRAWN_MICRO as i64);
        assert_eq!(venue.seal(), 1);
    }
    let events = run.until("committed");
    let last = events.last().expect("one");
    assert_eq!(
        (&last["batch_no"], &last["already"]),
        (&json!(1), &json!(false))
    );
    assert!(last["gas"].as_u64() > Some(200_000), "{last}");
    let order: Vec<&str> = names(&events).into_iter().filter(|n| *n != "key").collect();
    assert_eq!(order, ["sealed", "proving", "proven", "committed"]);
    let sealed = &events.iter().find(|e| e["event"] == "sealed").expect("one");
    assert!(sealed["sealed_time_ns"].as_u64() >= Some(1_700_000_000_000_000_000));

    let claimed = world.l1("claim", "2", &[]);
    assert_eq!(claimed["claimed_micro"], WITHDRAWN_MICRO);
    let status = world.l1("status", "2", &[]);
    assert_eq!(
        (&status["batch_no"], &status["pending_micro"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(status["owner_balance_micro"], WITHDRAWN_MICRO);

    // Two provers in one folder would tread on each other.
    let busy = refused(&[
        "run",
        "--data",
        &data,
        "--l1",
        &world.url,
        "--admin",
        &socket,
        "--deployment",
        &world.deployment,
    ]);
    assert!(busy.contains("another prover works in"), "{busy}");
    run.terminate();
    // Started again, and killed: nothing is proven or sent twice.
    let mut run = world.run(&data, &socket);
    let events = run.until("committed");
    assert_eq!(names(&events), ["key", "sealed", "committed"]);
    assert_eq!(events.last().expect("one")["already"], true);
    drop(run);

    audits(&world, &data);
    proof_files(&data);
    snarkjs(dir.path(), &data);
    lost_chain(dir.path(), &data, &socket, &world.deployment);
}

/// The audit holds, and says what does not.
fn audits(world: &World, data: &str) {
    let args = world.audit_args(data);
    let audit = tool(&args);
    for field in [
        "state_root_match",
        "journal_hash_match",
        "conservation_ok",
        "contracts_sum_zero",
    ] {
        assert_eq!(audit[field], true, "{audit}");
    }
    let rest = 2 * DEPOSIT_MICRO - WITHDRAWN_MICRO;
    assert_eq!(
        (&audit["batches"], &audit["batches_sealed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&audit["collateral_micro"], &audit["claims_micro"]),
        (&json!(rest), &json!(rest))
    );
    assert_eq!(
        (&audit["pending_micro"], &audit["surplus_micro"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(audit["root_l1"], audit["root_engine"]);

    // A deposit that no batch has consumed yet is collateral too.
    let more = ["--account", "2", "--amount", "1234", "--mint"];
    world.l1("deposit", "3", &more);
    let audit = tool(&args);
    assert_eq!(audit["unconsumed_deposits_micro"], 1_234);
    assert_eq!(audit["conservation_ok"], true);

    let journal = Path::new(data)
        .join("journal")
        .join(journal::segment_name(1));
    let sound = fs::read(&journal).expect("a segment");
    let mut bent = sound.clone();
    bent[4 * journal::BLOCK_LEN + 90] ^= 1;
    fs::write(&journal, &bent).expect("written");
    let error = refused(&args);
    assert!(
        error.contains("journal-00000001.seg offset 0x4048: record 4"),
        "{error}"
    );
    fs::write(&journal, &sound).expect("written");
}

/// Stored proofs hold; a bent one is refused by name.
fn proof_files(data: &str) {
    let verify = ["verify", "--json", "--data", data];
    let output = prover(&verify).output().expect("started");
    assert!(output.status.success(), "{output:?}");
    let path = Path::new(data).join("proofs").join("proof-00000001.json");
    let sound = fs::read_to_string(&path).expect("a proof");
    let json: Value = serde_json::from_str(&sound).expect("json");
    assert_eq!(json["committed"]["tx"].as_str().map(str::len), Some(66));
    assert_eq!(json["publicSignals"].as_array().map(Vec::len), Some(3));
    let file = path.display().to_string();
    let one = ["verify", "--proof", &file];
    let bend = |pointer: &str, expected: &str| {
        let text = json
            .pointer(pointer)
            .and_then(Value::as_str)
            .expect(pointer);
        let last = text.chars().last().expect("digits");
        let other = if last == '1' { "2" } else { "1" };
        let bent = format!("{}{other}", &text[..text.len() - 1]);
        let bent = sound.replacen(&format!("\"{text}\""), &format!("\"{bent}\""), 1);
        assert_ne!(bent, sound, "{pointer}");
        fs::write(&path, bent).expect("written");
        let error = refused(&one);
        assert!(error.contains(&file) && error.contains(expected), "{error}");
    };
    bend("/proof/pi_a/0", "point A is not on the curve");
    bend(
        "/publicSignals/2",
        "public input y is not what the words give",
    );
    bend("/words/7", "public input c is not what the words give");
    fs::write(&path, &sound).expect("written");
    let empty = Path::new(data).join("journal").display().to_string();
    let none = refused(&["verify", "--data", &empty]);
    assert!(none.contains("no proofs there"), "{none}");
}

/// A development chain forgets when it restarts: the stored proof is sent again, not made again. It fits, because
/// the same deployer's first contracts have the same addresses.
fn lost_chain(dir: &Path, data: &str, socket: &str, first: &str) {
    let world = World::new(dir, "again.json");
    world.fund();
    let contract = |path: &str| {
        let text = fs::read_to_string(path).expect("a record");
        serde_json::from_str::<Value>(&text).expect("json")["settlement"].clone()
    };
    assert_eq!(contract(first), contract(&world.deployment));
    let mut run = world.run(data, socket);
    let events = run.until("committed");
    let proven = events.iter().find(|e| e["event"] == "proven");
    assert_eq!(proven.expect("told")["stored"], true);
    assert!(!names(&events).contains(&"proving"));
    assert_eq!(events.last().expect("one")["already"], false);
    run.terminate();
    let audit = tool(&world.audit_args(data));
    // Nobody has claimed on this chain.
    assert_eq!(audit["pending_micro"], WITHDRAWN_MICRO);
    assert_eq!(audit["conservation_ok"], true);
}

#[test]
fn a_node_that_is_silent_or_absent_is_named_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("deployment.json").display().to_string();
    let absent = refused(&["deploy", "--l1", "http://127.0.0.1:1", "--out", &out]);
    assert!(
        absent.contains("no answer from the node at http://127.0.0.1:1"),
        "{absent}"
    );
    // It takes the connection and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", mute.local_addr().expect("an address"));
    let begun = Instant::now();
    let silent = refused(&["deploy", "--l1", &url, "--out", &out]);
    assert!(silent.contains("nothing within 10 s"), "{silent}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    let key = refused(&["deploy", "--l1", &url, "--out", &out, "--dev-key", "10"]);
    assert!(key.contains("there are 0 to 9"), "{key}");
    let bad = refused(&["deploy", "--l1", "ftp://x", "--out", &out]);
    assert!(bad.contains("is no node address"), "{bad}");
}
