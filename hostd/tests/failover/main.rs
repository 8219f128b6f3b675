//! Replication and failover, with real daemons and clients of the real library: what was acknowledged outlives the
//! primary, and who does not lead acknowledges nothing.

mod catching_up;
mod etcd;
mod pair;

use client::{Event, OrderIds, Report, Session, Side, cancel, limit_order, now, parse_e9};
use hostd::nic::sim::Rng;
use pair::{Node, PATIENCE, Plan, REASON, journal_bytes};
use std::time::{Duration, Instant};

/// A member of all boxes, and all that it was ever told.
struct Member {
    id: u32,
    account: u32,
    told: Vec<Report>,
    session: Option<Session>,
    /// Told again after a failover.
    again: usize,
}

impl Member {
    const fn new(id: u32, account: u32) -> Self {
        Self {
            id,
            account,
            told: Vec::new(),
            session: None,
            again: 0,
        }
    }

    fn login(&mut self, node: &Node) {
        self.again = 0;
        self.session = Some(node.login(self.id, 1));
    }

    fn poll(&mut self) -> bool {
        while let Some(event) = self.session.as_mut().and_then(|s| s.poll(now())) {
            match event {
                Event::Report { seq, report } => match self.told.get(seq as usize - 1) {
                    Some(before) => {
                        assert_eq!(*before, report, "report {seq} of {} is another", self.id);
                        self.again += 1;
                    }
                    None => {
                        assert_eq!(seq as usize, self.told.len() + 1, "reports in order");
                        self.told.push(report);
                    }
                },
                Event::Ended(_) => return true,
                _ => {}
            }
        }
        false
    }

    fn trade(&mut self, ids: &mut OrderIds, rng: &mut Rng) {
        let Some(session) = &mut self.session else {
            return;
        };
        for _ in 0..1 + rng.below(5) {
            let id = ids.next_id();
            let sent = if rng.percent(20) {
                let old = id.saturating_sub(1 + rng.below(10));
                session.send(&cancel(id, self.account, 0, old).into())
            } else {
                let side = [Side::Buy, Side::Sell][rng.below(2) as usize];
                let price = parse_e9(&(99_990 + rng.below(20)).to_string()).unwrap();
                let order = limit_order(id, self.account, 0, side, price, 1);
                session.send(&order.into())
            };
            // A session that has just ended takes nothing.
            let _ = sent;
        }
        session.flush(now());
    }
}

/// Trades for some rounds; returns how many reports there are in all.
fn load(members: &mut [Member], ids: &mut OrderIds, rng: &mut Rng, rounds: u64) -> usize {
    for _ in 0..rounds {
        for m in members.iter_mut() {
            m.trade(ids, rng);
            m.poll();
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    members.iter().map(|m| m.told.len()).sum()
}

fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Polls for some time.
fn listen(members: &mut [Member], for_ms: u64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(for_ms) {
        members.iter_mut().for_each(|m| {
            m.poll();
        });
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn members() -> [Member; 2] {
    [Member::new(1, 1), Member::new(2, 3)]
}

/// All that members were told before is told again by this box, the same.
fn told_again(members: &mut [Member], node: &Node) {
    for m in members {
        let had = m.told.len();
        m.login(node);
        wait("old reports", || {
            m.poll();
            m.again >= had
        });
    }
}

fn in_sync(node: &Node, name: &str) {
    node.wait_for("standby in sync", |s| {
        let standbys = s["replication"]["standbys"].as_array();
        standbys
            .into_iter()
            .flatten()
            .any(|s| s["name"] == name && s["state"] == "in_sync")
    });
}

#[test]
fn what_was_acknowledged_is_at_the_new_primary_however_often_the_old_one_is_killed() {
    let mut rng = Rng(7);
    let mut ids = OrderIds::starting_at(1);
    let mut members = members();
    for topology in ["shared", "pinned"] {
        let plan = Plan {
            topology,
            ..Plan::new(&["a", "b"])
        };
        let (mut leads, mut follows) = (Node::new(&plan, "a"), Node::new(&plan, "b"));
        leads.run();
        follows.follow();
        in_sync(&leads, "b");
        leads.open();
        members
            .iter_mut()
            .for_each(|m| *m = Member::new(m.id, m.account));
        let mut epoch = 1;
        for kill in 0..4 {
            told_again(&mut members, &leads);
            let before: usize = members.iter().map(|m| m.told.len()).sum();
            let rounds = 50 + rng.below(150);
            // On a machine that is busy with other things a round may bring nothing.
            let mut told = load(&mut members, &mut ids, &mut rng, rounds);
            wait("reports", || {
                told = load(&mut members, &mut ids, &mut rng, 2);
                told > before + 50
            });
            leads.kill();
            // What was on its way when the box died was told too.
            listen(&mut members, 50);
            epoch += 1;
            assert_eq!(follows.promote(&["--alone"]), Ok(epoch));
            follows.wait_for("lead", |s| {
                s["replication"]["role"] == "primary" && s["replication"]["epoch"] == epoch
            });
            // It trades at once, and the old primary becomes its standby.
            follows.price();
            std::mem::swap(&mut leads, &mut follows);
            told_again(&mut members, &leads);
            if kill % 2 == 0 {
                load(&mut members, &mut ids, &mut rng, 30);
            }
            follows.follow();
            in_sync(&leads, follows.name);
            leads.wait_for("quorum", |s| s["replication"]["alone"] == false);
        }
        listen(&mut members, 300);
        let (one, other) = (leads.shutdown(), follows.shutdown());
        assert_eq!(one["state_hash"], other["state_hash"]);
        let (one, other) = (leads.replay(), follows.replay());
        for what in [
            "last_seq",
            "state_hash",
            "journal_hash",
            "feed_hash",
            "members",
        ] {
            assert_eq!(one[what], other[what], "{what}");
        }
        assert!(journal_bytes(&leads.data()) == journal_bytes(&follows.data()));
    }
}

#[test]
fn an_old_primary_that_was_paused_acknowledges_nothing_and_is_refused_by_name() {
    let plan = Plan::new(&["a", "b"]);
    let (mut a, mut b) = (Node::new(&plan, "a"), Node::new(&plan, "b"));
    a.run();
    b.follow();
    in_sync(&a, "b");
    a.open();
    let (mut rng, mut ids, mut members) = (Rng(3), OrderIds::starting_at(1), members());
    members.iter_mut().for_each(|m| m.login(&a));
    load(&mut members, &mut ids, &mut rng, 100);
    assert_eq!(
        b.promote(&[]).unwrap_err(),
        "hostd: not promoted: a leads and answers: stop it first, or promote with --force, which drops what it has not replicated"
    );
    a.signal("STOP");
    // More goes to its sockets while it sleeps.
    members.iter_mut().for_each(|m| m.trade(&mut ids, &mut rng));
    assert_eq!(b.promote(&["--alone"]), Ok(2));
    b.wait_for("lead", |s| s["replication"]["role"] == "primary");
    listen(&mut members, 200);
    let told: Vec<usize> = members.iter().map(|m| m.told.len()).collect();
    a.signal("CONT");
    let last = a.wait_for_end();
    listen(&mut members, 100);
    let after: Vec<usize> = members.iter().map(|m| m.told.len()).collect();
    assert_eq!(after, told, "the old primary acknowledged something");
    assert!(
        last.contains("epoch 2") && last.contains("this box led epoch 1"),
        "{last}"
    );
    // It does not lead again by itself, also while nobody answers.
    assert!(a.refused("run").contains("epoch 2 is led by b"));
    told_again(&mut members, &b);
    b.price();
    a.follow();
    in_sync(&b, "a");
    b.kill();
    let refused = a.promote(&[]);
    assert_eq!(refused, Ok(3));
    assert!(b.refused("run").contains("epoch 3 is led by a"));
    a.kill();
    // Dead boxes remember too.
    assert!(b.read_log().contains("promoted"));
}

#[test]
fn without_its_standby_a_primary_tells_nothing_and_refuses_new_risk_until_it_is_back() {
    let plan = Plan::new(&["a", "b"]);
    let (mut a, mut b) = (Node::new(&plan, "a"), Node::new(&plan, "b"));
    a.run();
    b.follow();
    in_sync(&a, "b");
    a.open();
    let (mut rng, mut ids, mut members) = (Rng(4), OrderIds::starting_at(1), members());
    members.iter_mut().for_each(|m| m.login(&a));
    load(&mut members, &mut ids, &mut rng, 100);
    listen(&mut members, 200);
    // A standby that is slow beyond the bound counts as one that is lost.
    b.signal("STOP");
    // What it acknowledged before is told.
    listen(&mut members, 300);
    let told: usize = members.iter().map(|m| m.told.len()).sum();
    load(&mut members, &mut ids, &mut rng, 20);
    a.wait_for("refusal of risk", |s| {
        s["replication"]["refuses_risk"] == true
    });
    load(&mut members, &mut ids, &mut rng, 20);
    let now_told: usize = members.iter().map(|m| m.told.len()).sum();
    assert_eq!(now_told, told, "something was told without a quorum");
    b.signal("CONT");
    a.wait_for("quorum", |s| s["replication"]["refuses_risk"] == false);
    wait("answers", || {
        members.iter_mut().for_each(|m| {
            m.poll();
        });
        members.iter().map(|m| m.told.len()).sum::<usize>() > told
    });
    a.wait_for("refused order", |s| {
        s["rejects"]["Overloaded"].as_u64() > Some(0)
    });
    load(&mut members, &mut ids, &mut rng, 20);
    // The standby dies, and comes back behind.
    b.kill();
    let mut plan = plan;
    plan.lines += "alone_after_ms = 600\n";
    load(&mut members, &mut ids, &mut rng, 20);
    b.follow();
    in_sync(&a, "b");
    // With leave to go on alone, it does.
    listen(&mut members, 200);
    a.shutdown();
    a.set_plan(&plan);
    a.run();
    in_sync(&a, "b");
    members.iter_mut().for_each(|m| m.login(&a));
    a.price();
    listen(&mut members, 200);
    b.kill();
    a.wait_for("alone", |s| s["replication"]["alone"] == true);
    let told: usize = members.iter().map(|m| m.told.len()).sum();
    load(&mut members, &mut ids, &mut rng, 50);
    listen(&mut members, 200);
    let now_told: usize = members.iter().map(|m| m.told.len()).sum();
    assert!(now_told > told, "alone it tells what its own disk has");
    b.follow();
    in_sync(&a, "b");
    a.wait_for("quorum", |s| s["replication"]["alone"] == false);
    listen(&mut members, 300);
    let (one, other) = (a.shutdown(), b.shutdown());
    assert_eq!(one["state_hash"], other["state_hash"]);
}

#[test]
fn a_sealed_batch_is_there_for_l1_only_once_no_failover_can_take_it_back() {
    let plan = Plan::new(&["a", "b"]);
    let (mut a, mut b) = (Node::new(&plan, "a"), Node::new(&plan, "b"));
    a.run();
    b.follow();
    in_sync(&a, "b");
    a.open();
    let (mut rng, mut ids, mut members) = (Rng(9), OrderIds::starting_at(1), members());
    members.iter_mut().for_each(|m| m.login(&a));
    let batches = |node: &Node| {
        let names = std::fs::read_dir(node.data().join("batches")).unwrap();
        names
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "sealed"))
            .count()
    };
    load(&mut members, &mut ids, &mut rng, 30);
    a.admin("POST", "/v1/seal", REASON).unwrap();
    wait("batch", || batches(&a) > 0);
    assert_eq!(batches(&b), 0, "a standby shows none");
    let before = batches(&a);
    b.kill();
    load(&mut members, &mut ids, &mut rng, 30);
    a.admin("POST", "/v1/seal", REASON).unwrap();
    // The seal is on the own disk, and would have been written long ago.
    a.wait_for("seal on disk", |s| {
        let r = &s["replication"];
        r["disk_seq"].as_u64() > r["released_seq"].as_u64()
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(batches(&a), before, "a batch that a failover may take back");
    // Neither does a start show it.
    a.kill();
    let _out = a.spawn("run");
    wait("start", || a.read_log().contains("waits_for_quorum"));
    assert_eq!(batches(&a), before);
    b.follow();
    a.wait_for("quorum", |s| s["replication"]["role"] == "primary");
    assert_eq!(batches(&a), before + 1);
    assert_eq!(a.shutdown()["state_hash"], b.shutdown()["state_hash"]);
}
