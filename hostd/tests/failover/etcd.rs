//! Leads decided by etcd: a real server, killed and restarted like everything else.

use crate::pair::{Node, PATIENCE, Plan, free_port};
use crate::{in_sync, listen, load, members, told_again, wait};
use client::OrderIds;
use hostd::nic::sim::Rng;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LEASE_S: u64 = 3;

struct Etcd {
    dir: TempDir,
    ports: [u16; 2],
    child: Option<Child>,
}

impl Etcd {
    /// None where there is no etcd to run.
    fn new() -> Option<Self> {
        let found = Command::new("etcd").arg("--version").output().is_ok();
        if !found {
            eprintln!("not run: no etcd on this machine (Debian package etcd-server)");
            return None;
        }
        let mut etcd = Self {
            dir: tempfile::tempdir().unwrap(),
            ports: [free_port(), free_port()],
            child: None,
        };
        etcd.start();
        Some(etcd)
    }

    fn start(&mut self) {
        let [client, peer] = self.ports.map(|p| format!("http://127.0.0.1:{p}"));
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(self.dir.path())
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        let begun = Instant::now();
        while !self.is_healthy().unwrap_or(false) {
            assert!(begun.elapsed() < PATIENCE, "no etcd");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_healthy(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[0]))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text.contains("\"health\":\"true\""))
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn etcd_names_the_next_primary_and_its_death_stops_the_lead_and_loses_nothing() {
    let Some(mut etcd) = Etcd::new() else {
        return;
    };
    let mut plan = Plan::new(&["a", "b"]);
    plan.lines += "alone_after_ms = 600\n";
    plan.tail = format!(
        "\n[replication.etcd]\nendpoints = [\"127.0.0.1:{}\"]\nprefix = \"/deltabox/test\"\nlease_s = {LEASE_S}\n",
        etcd.ports[0]
    );
    let (mut a, mut b) = (Node::new(&plan, "a"), Node::new(&plan, "b"));
    a.run();
    let refused = b.refused("run");
    assert!(
        refused.contains("a (epoch") && refused.contains("leads"),
        "{refused}"
    );
    b.follow();
    in_sync(&a, "b");
    a.wait_for("recorded set", |s| {
        s["replication"]["in_sync"] == serde_json::json!(["b"])
    });
    a.open();
    let (mut rng, mut ids, mut members) = (Rng(5), OrderIds::starting_at(1), members());
    members.iter_mut().for_each(|m| m.login(&a));
    wait("reports", || {
        load(&mut members, &mut ids, &mut rng, 20) > 50
    });
    assert!(b.promote(&[]).unwrap_err().contains("leads"));
    let epoch = a.status().unwrap()["replication"]["epoch"].as_u64();

    // Nobody promotes: the lease ends, and the standby that is in sync takes the lead.
    a.kill();
    listen(&mut members, 50);
    let status = b.wait_for("lead", |s| s["replication"]["role"] == "primary");
    assert!(status["replication"]["epoch"].as_u64() > epoch, "{status}");
    b.price();
    told_again(&mut members, &b);
    load(&mut members, &mut ids, &mut rng, 50);
    let refused = a.refused("run");
    assert!(
        refused.contains("b (epoch") && refused.contains("leads"),
        "{refused}"
    );
    a.follow();
    in_sync(&b, "a");
    b.wait_for("recorded set", |s| {
        s["replication"]["in_sync"] == serde_json::json!(["a"])
            && s["replication"]["alone"] == false
    });

    // A restart of etcd within the lease is not noticed.
    etcd.kill();
    let before = load(&mut members, &mut ids, &mut rng, 50);
    etcd.start();
    listen(&mut members, 200);
    std::thread::sleep(Duration::from_secs(LEASE_S));
    wait("reports", || {
        load(&mut members, &mut ids, &mut rng, 20) > before
    });

    // Without etcd for longer nobody can say that it still leads: it stops before its lease has run out, and the
    // other takes the lead when etcd is back.
    etcd.kill();
    let last = b.wait_for_end();
    assert!(last.contains("lease was not renewed"), "{last}");
    listen(&mut members, 50);
    assert!(a.status().unwrap()["state"] == "standby");
    etcd.start();
    a.wait_for("lead", |s| s["replication"]["role"] == "primary");
    a.price();
    told_again(&mut members, &a);
    b.follow();
    in_sync(&a, "b");
    a.wait_for("quorum", |s| s["replication"]["alone"] == false);
    listen(&mut members, 300);

    // A primary that is stopped the orderly way gives its lead back, and the other takes it.
    a.shutdown();
    b.wait_for("lead", |s| s["replication"]["role"] == "primary");
    told_again(&mut members, &b);
    b.shutdown();
}
