//! A venue for tests: the real daemon in its own process, real clients, a real oracle, on loopback.

// Each test binary uses a part of it.
#![allow(dead_code)]

use client::{Config, Credentials, Event, Report, Session, now};
use firmware::session::control_datagram;
use firmware::tag::SuiteSet;
use firmware::units::MemberId;
use firmware::wire::datagram::DatagramBuilder;
use firmware::wire::session::OracleReport;
use handshake::{SecretKey, sign_oracle};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Money given to each account.
pub(crate) const FUNDS_MICRO: u64 = 1_000_000_000_000;

/// Lines of `[topology]`, for any machine. In the last one `GATEWAY` and `ENGINE` stand for cores.
const TOPOLOGIES: [&str; 3] = [
    "name = \"shared\"",
    "name = \"pinned\"",
    "name = \"pinned\"\ncores = { gateway = GATEWAY, engine = ENGINE }",
];

/// The topologies that this machine can have: on two cores gateway and engine may spin, and all else runs between.
pub(crate) fn topologies() -> Vec<String> {
    let usable = rustix::thread::sched_getaffinity(None).unwrap();
    let mut cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|c| usable.is_set(*c));
    let (Some(first), Some(second)) = (cores.next(), cores.next()) else {
        eprintln!("not tried: tiles that spin need two cores");
        return TOPOLOGIES[..2].iter().map(|t| (*t).into()).collect();
    };
    let place = |t: &&str| {
        t.replace("GATEWAY", &first.to_string())
            .replace("ENGINE", &second.to_string())
    };
    TOPOLOGIES.iter().map(place).collect()
}

pub(crate) struct World {
    pub(crate) dir: TempDir,
    /// As in the example: orders, feed source, lines A and B, re-requests, snapshots, checkpoints.
    pub(crate) ports: [u16; 8],
    /// Where clients find it.
    pub(crate) host: Ipv4Addr,
    /// The network namespace that the daemon runs in, if not ours.
    pub(crate) namespace: Option<String>,
    /// Variables of the daemon's environment.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What the daemon that was killed last wrote to its standard error.
    pub(crate) log: String,
    child: Option<Child>,
    /// Lines of `[topology]`.
    topology: String,
    oracle: UdpSocket,
    report_no: u64,
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn hex(key: &SecretKey) -> String {
    key.public()
        .to_bytes()
        .iter()
        .fold(String::new(), |mut s, b| {
            let _ = write!(s, "{b:02x}");
            s
        })
}

/// A port that no socket is given by chance: below the range that the system hands out, so that nobody takes
/// it while the daemon is down between a kill and a restart.
fn free_port() -> u16 {
    static NEXT: std::sync::Mutex<u16> = std::sync::Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    // Test binaries that start one after the other have neighbouring ids, and should not have neighbouring ports.
    let start = 20_000 + (std::process::id().wrapping_mul(7_919) % 11_000) as u16;
    loop {
        let port = start + *next;
        *next += 1;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl World {
    /// A venue that is configured and not started.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self {
            ports: std::array::from_fn(|_| free_port()),
            dir,
            host: Ipv4Addr::LOCALHOST,
            namespace: None,
            environment: Vec::new(),
            log: String::new(),
            child: None,
            topology: TOPOLOGIES[0].into(),
            oracle: UdpSocket::bind("0.0.0.0:0").unwrap(),
            report_no: 0,
        };
        let path = world.dir.path();
        std::fs::write(
            path.join("venue.key"),
            "0909090909090909090909090909090909090909090909090909090909090909\n",
        )
        .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path.join("venue.key"), mode).unwrap();
        std::fs::write(world.config_path(), world.config()).unwrap();
        world
    }

    /// Gateway and engine share a tile, are two that sleep, or are two that never do, from the next start on.
    pub(crate) fn set_topology(&mut self, lines: &str) {
        self.topology = lines.into();
        std::fs::write(self.config_path(), self.config()).unwrap();
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.dir.path().join("hostd.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    /// The command line of operators, on this box's sockets; exit code and what it printed.
    pub(crate) fn operate(&self, args: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hostd"));
        command.args(["admin", "--dir"]).arg(self.dir.path());
        let out = command.args(args).output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (
            out.status.code().unwrap_or(-1),
            String::from_utf8(text).unwrap(),
        )
    }

    pub(crate) fn config(&self) -> String {
        let mut parts = include_str!("../example.toml").split("PUBLIC_KEY");
        let mut text = parts.next().unwrap().to_owned();
        // The first mention is in a comment.
        for (part, k) in parts.zip([1u8, 1, 2, 3]) {
            text.push_str(&hex(&key(k)));
            text.push_str(part);
        }
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let text = text
            .replace("name = \"shared\"", &self.topology)
            .replace(
                "data_dir = \"run\"",
                &format!("data_dir = \"{}\"", path("run")),
            )
            .replace("keys/venue.key", &path("venue.key"))
            .replace(
                "dir = \"run\"",
                &format!("dir = \"{}\"", self.dir.path().display()),
            )
            // Nothing settles or seals by itself while a test runs, however slowly.
            .replace(
                "settlement_interval_ms = 5000",
                "settlement_interval_ms = 600000",
            )
            .replace("batch_interval_ms = 6000", "batch_interval_ms = 600000");
        let ports = (4000..).zip(self.ports);
        ports.fold(text, |text, (from, to)| {
            text.replace(&format!("127.0.0.1:{from}"), &format!("127.0.0.1:{to}"))
        })
    }

    fn daemon(&self) -> Command {
        let hostd = env!("CARGO_BIN_EXE_hostd");
        let mut command = match &self.namespace {
            None => Command::new(hostd),
            Some(name) => {
                let mut ip = Command::new("ip");
                ip.args(["netns", "exec", name, hostd]);
                ip
            }
        };
        command.args(["run", "--config"]).arg(self.config_path());
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) fn start(&mut self) {
        let mut child = self
            .daemon()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line.trim() != "hostd: ready" {
            let mut text = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            panic!("hostd did not start: {text}");
        }
        self.child = Some(child);
    }

    /// Runs the daemon until it exits by itself; returns its last line on standard error.
    pub(crate) fn start_and_fail(&self) -> String {
        let out = self.daemon().output().unwrap();
        assert!(!out.status.success(), "it should have refused to start");
        let text = String::from_utf8(out.stderr).unwrap();
        text.lines().last().unwrap_or_default().to_owned()
    }

    /// Waits until the daemon has stopped by itself with an error; its last line on standard error.
    pub(crate) fn wait_for_failure(&mut self) -> String {
        let out = self.child.take().unwrap().wait_with_output().unwrap();
        assert!(!out.status.success(), "it stopped as if it were told to");
        let text = String::from_utf8(out.stderr).unwrap();
        text.lines().last().unwrap_or_default().to_owned()
    }

    /// Waits until the daemon has stopped by itself, in order.
    pub(crate) fn wait_for_end(&mut self) {
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "{status}");
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let log = &mut self.log;
        log.clear();
        child.stderr.take().unwrap().read_to_string(log).unwrap();
    }

    /// The line of an event in the log, read as JSON; see [`Self::kill`].
    pub(crate) fn logged(&self, event: &str) -> Vec<serde_json::Value> {
        let lines = self
            .log
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok());
        let is_it = |line: &serde_json::Value| line["event"] == event;
        lines.filter(is_it).collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|c| c.try_wait().unwrap().is_none())
    }

    /// Stops the daemon the orderly way; returns the answer.
    pub(crate) fn shutdown(&mut self) -> serde_json::Value {
        let answer = self.admin("POST", "/v1/shutdown", "").1;
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "{status}");
        answer
    }

    /// A request with a reason and a key of its own.
    pub(crate) fn admin(&self, method: &str, route: &str, body: &str) -> (u16, serde_json::Value) {
        let key = format!("test-{}", now().0);
        let mut body = body.to_owned();
        if method == "POST" && !body.starts_with('[') {
            let text = if body.is_empty() { "{}" } else { &body };
            // What is no JSON goes as it is.
            if let Ok(serde_json::Value::Object(mut args)) = serde_json::from_str(text) {
                args.insert("reason".into(), "a test".into());
                body = serde_json::Value::Object(args).to_string();
            }
        }
        self.admin_with(method, route, &key, &body)
    }

    pub(crate) fn admin_with(
        &self,
        method: &str,
        route: &str,
        key: &str,
        body: &str,
    ) -> (u16, serde_json::Value) {
        let mut s = UnixStream::connect(self.socket()).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(
            s,
            "{method} {route} HTTP/1.1\r\nHost: hostd\r\nConnection: close\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut text = String::new();
        s.read_to_string(&mut text).unwrap();
        let code = text.split(' ').nth(1).unwrap().parse().unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        (
            code,
            serde_json::from_str(body).unwrap_or(serde_json::Value::String(body.to_owned())),
        )
    }

    /// Sends a signed price.
    pub(crate) fn price(&mut self, index_micro: i64) {
        self.report_no += 1;
        let t = now();
        let report = OracleReport {
            report_no: t.0 + self.report_no,
            timestamp: t.0,
            index_micro,
            vol0_e9: 600_000_000,
            vol1_e9: 600_000_000,
            vol2_e9: 600_000_000,
            vol3_e9: 600_000_000,
            key_id: 1,
            pad1: 0,
            signature: [0; 64],
        };
        let mut buffer = DatagramBuilder::new();
        let bytes = control_datagram(&mut buffer, &sign_oracle(&key(3), &report));
        self.oracle
            .send_to(bytes, (self.host, self.ports[0]))
            .unwrap();
    }

    /// Funds accounts 1 to 3.
    pub(crate) fn fund(&self) {
        let rows: Vec<_> = (0..3u64)
            .map(|i| {
                serde_json::json!({
                    "queue_index": i, "account": i + 1, "amount_micro": FUNDS_MICRO,
                    "owner": format!("0x{:040x}", i + 100),
                })
            })
            .collect();
        let (code, answer) = self.admin(
            "POST",
            "/v1/deposits",
            &serde_json::to_string(&rows).unwrap(),
        );
        assert_eq!(
            (code, &answer["next_queue_index"]),
            (200, &3.into()),
            "{answer}"
        );
    }

    /// Starts, prices and funds.
    pub(crate) fn open(&mut self) {
        self.start();
        self.fund();
        self.price(100_000_000_000);
        // A login hears what was not on disk before it: with all of it there, it hears its own reports only.
        self.wait_for("a risk table on disk", |s| {
            s["risk_epoch"].as_u64() > Some(0) && s["durable_seq"] == s["engine_seq"]
        });
    }

    pub(crate) fn wait_for(
        &self,
        what: &str,
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let begun = Instant::now();
        loop {
            let status = self.admin("GET", "/v1/status", "").1;
            if is(&status) {
                return status;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "no {what}: {status}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn session(&self, member: u32) -> Session {
        Session::connect(self.session_config(member)).unwrap()
    }

    pub(crate) fn session_config(&self, member: u32) -> Config {
        let credentials = Credentials {
            member: MemberId(member),
            key_id: 1,
            key: key(member as u8),
            venue: key(9).public(),
            suites: SuiteSet::SAFE,
        };
        let mut config = Config::new((self.host, self.ports[0]).into(), credentials);
        config.first_report = None;
        config
    }

    pub(crate) fn replay(&self) -> serde_json::Value {
        self.replay_from("--from-genesis")
    }

    /// The state that the journal leads to from where `from` says.
    pub(crate) fn replay_from(&self, from: &str) -> serde_json::Value {
        let data = self.data();
        let out = hostd(&["replay", "--json", from, "--data", data.to_str().unwrap()]);
        serde_json::from_slice(&out.unwrap()).unwrap()
    }

    /// Makes a snapshot beside the daemon, or without one; its line, or what it refuses.
    pub(crate) fn snapshot(&self) -> Result<serde_json::Value, String> {
        let config = self.config_path();
        let out = hostd(&["snapshot", "--config", config.to_str().unwrap()])?;
        Ok(serde_json::from_slice(&out).unwrap())
    }

    pub(crate) fn replay_error(data: &Path) -> String {
        let out = Command::new(env!("CARGO_BIN_EXE_hostd"))
            .args(["replay", "--json", "--data"])
            .arg(data)
            .output()
            .unwrap();
        assert!(!out.status.success());
        String::from_utf8(out.stderr).unwrap().trim().to_owned()
    }
}

/// Runs a command to its end; what it prints, or its last line on standard error.
pub(crate) fn hostd(args: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostd"));
    let out = command.args(args).output().unwrap();
    if out.status.success() {
        return Ok(out.stdout);
    }
    let text = String::from_utf8(out.stderr).unwrap();
    Err(text.lines().last().unwrap_or_default().to_owned())
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Polls until `count` reports came; panics after ten seconds.
pub(crate) fn reports(session: &mut Session, count: usize) -> Vec<Report> {
    let mut got = Vec::new();
    let begun = Instant::now();
    while got.len() < count {
        match session.poll(now()) {
            Some(Event::Report { report, .. }) => got.push(report),
            Some(Event::Ended(reason)) => panic!("session ended: {reason}"),
            Some(_) => {}
            None => std::thread::sleep(Duration::from_micros(200)),
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{} of {count} reports: {got:?}",
            got.len()
        );
    }
    got
}
