//! A standby gets the journal from anywhere: from its archive, behind a snapshot, through a line that breaks at any
//! byte.

use crate::pair::{Node, PATIENCE, Plan, free_port, journal_bytes};
use crate::{in_sync, listen, load, members};
use client::OrderIds;
use hostd::nic::sim::Rng;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() {
            copy_dir(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// A line that passes on so many bytes to who connected, for each number in turn, and then breaks; at last it holds.
fn breaking_line(to: u16, bytes: Vec<usize>) -> (u16, mpsc::Receiver<()>) {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = bytes.into_iter();
        loop {
            let Ok((mut near, _)) = listener.accept() else {
                return;
            };
            let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)) else {
                continue;
            };
            let mut left = match bytes.next() {
                Some(n) => n,
                None => {
                    let _ = done.send(());
                    usize::MAX
                }
            };
            let (mut near_in, mut far_out) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut near_in, &mut far_out);
                let _ = far_out.shutdown(std::net::Shutdown::Both);
            });
            let mut buffer = [0; 4096];
            while left > 0 {
                let Ok(n @ 1..) = far.read(&mut buffer) else {
                    break;
                };
                let n = n.min(left);
                if near.write_all(&buffer[..n]).is_err() {
                    break;
                }
                left -= n;
            }
            let _ = near.shutdown(std::net::Shutdown::Both);
            let _ = far.shutdown(std::net::Shutdown::Both);
        }
    });
    (port, is_done)
}

#[test]
fn a_stream_that_breaks_at_any_byte_costs_nothing_but_time() {
    let plan = Plan::new(&["a", "b"]);
    let mut a = Node::new(&plan, "a");
    // In the greeting, in the answer, in the head of the first piece, in its place, in its bytes, and so on.
    let mut rng = Rng(11);
    let mut cuts = vec![0, 1, 39, 40, 41, 79, 80, 100, 300, 400, 4_000, 4_300, 4_600];
    cuts.extend((0..25).map(|_| rng.below(40_000) as usize));
    let count = cuts.len();
    let (port, is_done) = breaking_line(plan.ports[0], cuts);
    let mut through = plan.clone();
    through.ports[0] = port;
    let mut b = Node::new(&through, "b");
    a.run();
    b.follow();
    let mut members = members();
    let mut ids = OrderIds::starting_at(1);
    let begun = Instant::now();
    let mut is_open = false;
    // It trades all the while, as far as a standby is there now and then.
    while is_done.try_recv().is_err() {
        assert!(
            begun.elapsed() < PATIENCE,
            "still breaking after {count} cuts"
        );
        if !is_open
            && b.status()
                .is_some_and(|s| s["durable_seq"].as_u64() > Some(0))
        {
            a.open();
            members.iter_mut().for_each(|m| m.login(&a));
            is_open = true;
        }
        load(&mut members, &mut ids, &mut rng, 10);
        std::thread::sleep(Duration::from_millis(10));
    }
    in_sync(&a, "b");
    load(&mut members, &mut ids, &mut rng, 50);
    listen(&mut members, 300);
    let (one, other) = (a.shutdown(), b.shutdown());
    assert_eq!(one["state_hash"], other["state_hash"]);
    assert!(journal_bytes(&a.data()) == journal_bytes(&b.data()));
}

#[test]
fn a_standby_catches_up_from_an_archive_and_from_behind_a_snapshot() {
    let mut plan = Plan::new(&["a", "b", "c"]);
    plan.journal = "keep_segments = 1\n";
    let mut a = Node::new(&plan, "a");
    let mut b = Node::new(&plan, "b");
    let mut c = Node::new(&plan, "c");
    a.run();
    b.follow();
    in_sync(&a, "b");
    a.open();
    let (mut rng, mut ids, mut members) = (Rng(8), OrderIds::starting_at(1), members());
    members.iter_mut().for_each(|m| m.login(&a));
    let begun = Instant::now();
    // Segments of a megabyte fill, and closed ones go to the archive.
    let archive = a.data().join("journal/archive");
    while std::fs::read_dir(&archive).map_or(0, Iterator::count) < 2 {
        assert!(begun.elapsed() < PATIENCE, "nothing is archived");
        load(&mut members, &mut ids, &mut rng, 20);
    }
    // From its first record, which is in the archive.
    c.follow();
    in_sync(&a, "c");
    load(&mut members, &mut ids, &mut rng, 20);
    listen(&mut members, 200);
    c.shutdown();
    std::fs::remove_dir_all(c.data()).unwrap();
    // From a snapshot, and the segments from there on.
    a.snapshot();
    let (from, to) = (a.data(), c.data());
    copy_dir(&from.join("snapshots"), &to.join("snapshots"));
    copy_dir(&from.join("spool"), &to.join("spool"));
    copy_dir(&from.join("feed"), &to.join("feed"));
    copy_dir(&from.join("batches"), &to.join("batches"));
    std::fs::create_dir_all(to.join("journal")).unwrap();
    let last = std::fs::read_dir(from.join("journal"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "seg"))
        .filter(|p| std::fs::read(p).unwrap()[0] != 0)
        .max()
        .unwrap();
    std::fs::copy(&last, to.join("journal").join(last.file_name().unwrap())).unwrap();
    load(&mut members, &mut ids, &mut rng, 20);
    c.follow();
    in_sync(&a, "c");
    assert!(
        c.read_log().contains("\"from\":\"snapshot-"),
        "{}",
        c.read_log()
    );
    load(&mut members, &mut ids, &mut rng, 20);
    listen(&mut members, 300);
    // Who may be promoted by hand: with one of two standbys asked for, both must be heard.
    a.shutdown();
    b.kill();
    let refused = c.promote(&[]).unwrap_err();
    assert!(
        refused.contains("0 other standbys answer, and 1 must"),
        "{refused}"
    );
    b.follow();
    let begun = Instant::now();
    while c.promote(&[]).is_err() {
        assert!(begun.elapsed() < PATIENCE, "{}", c.read_log());
        std::thread::sleep(Duration::from_millis(50));
    }
    c.wait_for("lead", |s| s["replication"]["role"] == "primary");
    in_sync(&c, "b");
    let (one, other) = (c.shutdown(), b.shutdown());
    assert_eq!(one["state_hash"], other["state_hash"]);
}
