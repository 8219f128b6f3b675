//! The page for browsers, with the whole daemon; in a headless Chromium too, where there is one.

mod world;

use client::{Side, limit_order, parse_e9};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use world::{World, reports};

fn ask(port: u16, path: &str, host: &str) -> BufReader<TcpStream> {
    let mut s = TcpStream::connect(("127.0.0.1", port)).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        s,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    BufReader::new(s)
}

fn whole(port: u16, path: &str, host: &str) -> String {
    let mut text = String::new();
    ask(port, path, host).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_page_shows_the_box_and_nothing_changes_by_it() {
    let mut w = World::new();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let section = format!("\n[page]\nlisten = \"127.0.0.1:{port}\"\n\n[domain]");
    let text = w.config().replacen("\n[domain]", &section, 1);
    std::fs::write(w.config_path(), &text).unwrap();
    w.open();
    let mut maker = w.session(1);
    for (id, side, price) in [
        (1, Side::Buy, "99000"),
        (2, Side::Buy, "99000.5"),
        (3, Side::Sell, "101000"),
    ] {
        let order = limit_order(id, 1, 0, side, parse_e9(price).unwrap(), 3);
        maker.send(&order.into()).unwrap();
    }
    reports(&mut maker, 3);
    let (_, book) = w.admin("GET", "/v1/books/0", "");
    assert_eq!(book["bids"].as_array().unwrap().len(), 2, "{book}");
    assert_eq!(book["bids"][0]["lots"], 3, "{book}");

    let page = whole(port, "/", "localhost");
    assert!(
        page.starts_with("HTTP/1.1 200 ")
            && page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    // All of it comes from here.
    for elsewhere in ["http://", "https://", "src=", "@import", "url("] {
        let body = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!body.contains(elsewhere), "{elsewhere}");
    }
    // A name of somebody else that means this address.
    for host in ["evil.example", "127.0.0.1.evil.example", ""] {
        assert!(
            whole(port, "/stream", host).starts_with("HTTP/1.1 403 "),
            "{host}"
        );
    }
    assert!(whole(port, "/v1/shutdown", "localhost").starts_with("HTTP/1.1 404 "));
    let mut lines = ask(port, "/stream?instrument=0", &format!("127.0.0.1:{port}")).lines();
    let mut next = || loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str::<Value>(data).unwrap();
        }
    };
    for _ in 0..2 {
        let told = next();
        assert_eq!(told["health"]["ready"], true, "{told}");
        assert_eq!(told["book"]["asks"][0]["lots"], 3, "{told}");
        assert_eq!(told["instruments"][0]["symbol"], "BTC-PERP", "{told}");
    }
    in_chromium(&mut w, port);
    // It closes with the box.
    let stopped = w.shutdown();
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
    std::fs::write(
        w.config_path(),
        text.replace(&format!("127.0.0.1:{port}"), "0.0.0.0:9401"),
    )
    .unwrap();
    assert!(
        w.start_and_fail()
            .contains("page.listen: 0.0.0.0:9401 is not on loopback")
    );
}

/// What a browser makes of it, after its script has run.
fn in_chromium(w: &mut World, port: u16) {
    let url = format!("http://localhost:{port}/");
    let folder = tempfile::tempdir().unwrap();
    let picture = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png");
    let run = |args: &[&str]| {
        let mut chromium = Command::new("chromium");
        chromium.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ]);
        chromium.arg(format!("--user-data-dir={}", folder.path().display()));
        chromium
            .args(["--window-size=1200,900", "--timeout=4000"])
            .args(args);
        chromium.arg(&url).output()
    };
    let want = [
        "<span id=\"ready\" class=\"ok\">ready</span>",
        "BTC-PERP",
        "99000.50",
        "rx_tx",
    ];
    let mut last = String::new();
    // It may look before the first event has come, or when the price is stale.
    for _ in 0..10 {
        w.price(100_000_000_000);
        let Ok(dom) = run(&["--dump-dom"]) else {
            eprintln!("not run: no chromium on this machine");
            return;
        };
        last = String::from_utf8_lossy(&dom.stdout).into_owned();
        if want.iter().all(|words| last.contains(words)) {
            break;
        }
    }
    for words in want {
        assert!(last.contains(words), "no {words}: {last}");
    }
    w.price(100_000_000_000);
    let screenshot = format!("--screenshot={}", picture.display());
    assert!(run(&[&screenshot]).unwrap().status.success());
}
