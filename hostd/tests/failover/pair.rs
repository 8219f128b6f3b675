//! Boxes that hold one journal: real daemons, each in its own directory, on loopback.

use client::{Config as ClientConfig, Credentials, Session, now};
use firmware::session::control_datagram;
use firmware::tag::SuiteSet;
use firmware::units::MemberId;
use firmware::wire::datagram::DatagramBuilder;
use firmware::wire::session::OracleReport;
use handshake::{SecretKey, sign_oracle};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

fn key(seed: u8) -> SecretKey {
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

/// A port below the range that the system hands out, of another block than those of other test binaries.
pub(crate) fn free_port() -> u16 {
    static NEXT: std::sync::Mutex<u16> = std::sync::Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    let start = 10_000 + (std::process::id().wrapping_mul(7_919) % 9_000) as u16;
    loop {
        let port = start + *next;
        *next += 1;
        let is_free = UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if is_free && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Body of an operator's act that has no arguments.
pub(crate) const REASON: &str = "{\"reason\": \"a test\"}";

/// What the boxes of a test have in common.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) names: Vec<&'static str>,
    /// Their replication ports.
    pub(crate) ports: Vec<u16>,
    /// More lines of `[replication]`.
    pub(crate) lines: String,
    /// Lines after the peers: `[replication.etcd]`.
    pub(crate) tail: String,
    pub(crate) durability: &'static str,
    /// More lines of `[journal]`.
    pub(crate) journal: &'static str,
    pub(crate) topology: &'static str,
}

impl Plan {
    pub(crate) fn new(names: &[&'static str]) -> Self {
        Self {
            names: names.to_vec(),
            ports: names.iter().map(|_| free_port()).collect(),
            lines: "bound_ms = 300\n".into(),
            tail: String::new(),
            durability: "replicated",
            journal: "",
            topology: "shared",
        }
    }
}

/// One of the boxes.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) dir: TempDir,
    ports: [u16; 8],
    plan: Plan,
    child: Option<Child>,
    oracle: UdpSocket,
}

impl Node {
    pub(crate) fn new(plan: &Plan, name: &'static str) -> Self {
        let node = Self {
            name,
            dir: tempfile::tempdir().unwrap(),
            ports: std::array::from_fn(|_| free_port()),
            plan: plan.clone(),
            child: None,
            oracle: UdpSocket::bind("0.0.0.0:0").unwrap(),
        };
        for (file, byte) in [("venue.key", "09"), ("replication.key", "ab")] {
            let path = node.dir.path().join(file);
            std::fs::write(&path, byte.repeat(32)).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(path, mode).unwrap();
        }
        node.write_config();
        node
    }

    pub(crate) fn set_plan(&mut self, plan: &Plan) {
        self.plan = plan.clone();
        self.write_config();
    }

    fn write_config(&self) {
        std::fs::write(self.config_path(), self.config()).unwrap();
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.dir.path().join("hostd.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn config(&self) -> String {
        let mut parts = include_str!("../example.toml").split("PUBLIC_KEY");
        let mut text = parts.next().unwrap().to_owned();
        // The first mention is in a comment.
        for (part, k) in parts.zip([1u8, 1, 2, 3]) {
            text.push_str(&hex(&key(k)));
            text.push_str(part);
        }
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        for (from, to) in [
            (
                "data_dir = \"run\"",
                format!("data_dir = \"{}\"", path("run")),
            ),
            ("keys/venue.key", path("venue.key")),
            (
                "dir = \"run\"",
                format!("dir = \"{}\"", self.dir.path().display()),
            ),
            (
                "settlement_interval_ms = 5000",
                "settlement_interval_ms = 600000".into(),
            ),
            (
                "segment_mib = 16",
                format!("segment_mib = 1\n{}", self.plan.journal),
            ),
            (
                "name = \"shared\"",
                format!("name = \"{}\"", self.plan.topology),
            ),
            (
                "durability = \"fsync\"",
                format!("durability = \"{}\"", self.plan.durability),
            ),
        ] {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, &to);
        }
        for (from, to) in (4000..).zip(self.ports) {
            text = text.replace(&format!("127.0.0.1:{from}"), &format!("127.0.0.1:{to}"));
        }
        let at = |name: &str| {
            let i = self.plan.names.iter().position(|n| *n == name).unwrap();
            self.plan.ports[i]
        };
        let _ = write!(
            text,
            "\n[replication]\nname = \"{}\"\nlisten = \"127.0.0.1:{}\"\nkey_file = \"{}\"\n{}",
            self.name,
            at(self.name),
            path("replication.key"),
            self.plan.lines
        );
        for peer in self.plan.names.iter().filter(|n| **n != self.name) {
            let _ = write!(
                text,
                "\n[[replication.peers]]\nname = \"{peer}\"\naddress = \"127.0.0.1:{}\"\n",
                at(peer)
            );
        }
        text + &self.plan.tail
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hostd"));
        command.args([verb, "--config"]).arg(self.config_path());
        command
    }

    /// Starts it and returns at once.
    pub(crate) fn spawn(&mut self, verb: &str) -> BufReader<std::process::ChildStdout> {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut child = self
            .command(verb)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        out
    }

    fn start(&mut self, verb: &str, word: &str) {
        let mut out = self.spawn(verb);
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word, "{}: {}", self.name, self.read_log());
        // The promoted box says one more word there.
        std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
    }

    pub(crate) fn run(&mut self) {
        self.start("run", "hostd: ready");
    }

    pub(crate) fn follow(&mut self) {
        self.start("standby", "hostd: standby");
    }

    pub(crate) fn read_log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Runs it until it stops by itself; its last line.
    pub(crate) fn refused(&self, verb: &str) -> String {
        let out = self.command(verb).output().unwrap();
        assert!(!out.status.success(), "{verb} should have refused");
        let text = String::from_utf8(out.stderr).unwrap();
        text.lines().last().unwrap_or_default().to_owned()
    }

    pub(crate) fn promote(&self, args: &[&str]) -> Result<u64, String> {
        let out = self.command("promote").args(args).output().unwrap();
        if out.status.success() {
            let text = String::from_utf8(out.stdout).unwrap();
            return Ok(text.trim().strip_prefix("epoch ").unwrap().parse().unwrap());
        }
        Err(String::from_utf8(out.stderr).unwrap().trim().to_owned())
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until it has stopped by itself; its last line.
    pub(crate) fn wait_for_end(&mut self) -> String {
        let begun = Instant::now();
        let mut child = self.child.take().unwrap();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("{} runs on: {}", self.name, self.read_log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.read_log()
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn admin(&self, method: &str, route: &str, body: &str) -> Option<Value> {
        let mut s = UnixStream::connect(self.dir.path().join("admin.sock")).ok()?;
        s.set_read_timeout(Some(PATIENCE)).unwrap();
        // In one write: who does not read the body may have answered and gone before a second one.
        let request = format!(
            "{method} {route} HTTP/1.1\r\nHost: hostd\r\nConnection: close\r\nContent-Type: application/json\r\nIdempotency-Key: test-{}\r\nContent-Length: {}\r\n\r\n{body}",
            now().0,
            body.len()
        );
        s.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        s.read_to_string(&mut text).ok()?;
        serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
    }

    pub(crate) fn status(&self) -> Option<Value> {
        self.admin("GET", "/v1/status", "")
    }

    pub(crate) fn wait_for(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if let Some(status) = &status
                && is(status)
            {
                return status.clone();
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{}: no {what}: {status:?}\n{}",
                self.name,
                self.read_log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it the orderly way; its answer.
    pub(crate) fn shutdown(&mut self) -> Value {
        let answer = self.admin("POST", "/v1/shutdown", REASON);
        let answer = answer.unwrap_or_else(|| panic!("{}: {}", self.name, self.read_log()));
        let mut child = self.child.take().unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{}: {}", self.name, self.read_log());
        answer
    }

    pub(crate) fn price(&self) {
        let t = now();
        let report = OracleReport {
            report_no: t.0,
            timestamp: t.0,
            index_micro: 100_000_000_000,
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
            .send_to(bytes, (Ipv4Addr::LOCALHOST, self.ports[0]))
            .unwrap();
    }

    /// Funds accounts 1 to 3 and gives it a price, so that it trades.
    pub(crate) fn open(&self) {
        let rows: Vec<_> = (0..3u64)
            .map(|i| {
                json!({
                    "queue_index": i, "account": i + 1, "amount_micro": 1_000_000_000_000_u64,
                    "owner": format!("0x{:040x}", i + 100),
                })
            })
            .collect();
        let body = serde_json::to_string(&rows).unwrap();
        let answer = self.admin("POST", "/v1/deposits", &body).unwrap();
        assert_eq!(answer["next_queue_index"], 3, "{answer}");
        self.price();
        self.wait_for("risk table", |s| s["risk_epoch"].as_u64() > Some(0));
    }

    pub(crate) fn login(&self, member: u32, first_report: u64) -> Session {
        let credentials = Credentials {
            member: MemberId(member),
            key_id: 1,
            key: key(member as u8),
            venue: key(9).public(),
            suites: SuiteSet::SAFE,
        };
        let mut config =
            ClientConfig::new((Ipv4Addr::LOCALHOST, self.ports[0]).into(), credentials);
        config.first_report = Some(first_report);
        Session::connect(config).unwrap()
    }

    pub(crate) fn snapshot(&self) {
        let out = self.command("snapshot").output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    pub(crate) fn replay(&self) -> Value {
        let out = Command::new(env!("CARGO_BIN_EXE_hostd"))
            .args(["replay", "--json", "--from-genesis", "--data"])
            .arg(self.data())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{}: {text}", self.name);
        serde_json::from_slice(&out.stdout).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The bytes of a journal's segments, up to the last that is not zero.
pub(crate) fn journal_bytes(data: &Path) -> Vec<u8> {
    let mut names: Vec<_> = std::fs::read_dir(data.join("journal"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "seg"))
        .collect();
    names.sort();
    let mut bytes: Vec<u8> = names
        .iter()
        .flat_map(|p| std::fs::read(p).unwrap())
        .collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}
