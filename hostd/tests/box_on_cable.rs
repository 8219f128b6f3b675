//! The whole daemon on raw frames, its clients behind a cable with a kernel at their end.

mod veth;
mod world;

use client::{Feed, FeedConfig, Report, Side, cancel, limit_order, now, parse_e9};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use veth::{BOX_INTERFACE, BOX_IP, PEER_IP, Veth};
use world::{World, reports};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 77, 0, 1);

/// `net.backend`, and its section.
type Backend = (&'static str, String);

fn xdp(interface: &str) -> Backend {
    ("xdp", format!("interface = \"{interface}\""))
}

#[cfg(feature = "dpdk")]
fn dpdk(interface: &str) -> Backend {
    let eal = "eal = [\"--no-huge\", \"--no-pci\", \"-m\", \"128\"]";
    let port = format!("port = \"net_af_packet0,iface={interface}\"");
    let section = format!("{eal}\n{port}\nnetwork = \"{}\"", veth::NETWORK);
    ("dpdk", section)
}

/// A venue at the box's end of a cable: orders in, reports and feed out by the backend. The operator's socket and the
/// re-request server stay with the kernel.
fn venue(cable: &Veth, (name, section): Backend) -> World {
    let mut w = World::new();
    w.host = BOX_IP;
    w.namespace = Some(cable.box_end.name.clone());
    let [orders, source, line_a, line_b, .., orders_b] = w.ports;
    let mut text = w.config();
    for (from, to) in [
        (orders, BOX_IP),
        (orders_b, BOX_IP),
        (source, BOX_IP),
        (line_a, GROUP),
        (line_b, PEER_IP),
    ] {
        let (from, to) = (format!("127.0.0.1:{from}"), format!("{to}:{from}"));
        assert!(text.contains(&from), "{from}");
        text = text.replace(&from, &to);
    }
    let section = format!("[net.{name}]\n{section}\n\n[feed]\n");
    let text = text
        .replace("backend = \"uring\"", &format!("backend = \"{name}\""))
        // Only for loopback.
        .replace("allow_untagged = true", "allow_untagged = false")
        .replacen("[feed]\n", &section, 1);
    std::fs::write(w.config_path(), text).unwrap();
    w
}

/// Lets a feed hear until `is`.
fn follow(feed: &mut Feed, what: &str, is: impl Fn(&Feed) -> bool) {
    let begun = Instant::now();
    loop {
        let event = feed.poll(now()).unwrap();
        if is(feed) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no {what}");
        if event.is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Clients log in, trade and hear the feed; the daemon is killed and goes on.
fn trade(cable: &Veth, backend: Backend) {
    let mut w = venue(cable, backend);
    let at = |ip: Ipv4Addr, port: usize| SocketAddr::from((ip, w.ports[port]));
    let mut config = FeedConfig::new(at(GROUP, 2), None).with_line_b(at(PEER_IP, 3));
    config.interface = PEER_IP;
    let mut feed = Feed::join(&config).unwrap();
    // The first line on standard output is ours: a library's own go to the log.
    w.open();

    let order = |id, account, side, price: &str, lots| {
        limit_order(id, account, 0, side, parse_e9(price).unwrap(), lots)
    };
    let (mut maker, mut taker) = (w.session(1), w.session(2));
    let sell = order(1, 1, Side::Sell, "100000.5", 10);
    maker.send(&sell.into()).unwrap();
    let accepted = reports(&mut maker, 1);
    assert!(
        matches!(accepted[0], Report::Accepted(m) if m.quantity == 10),
        "{accepted:?}"
    );
    let buy = order(1, 3, Side::Buy, "100001", 4);
    taker.send(&buy.into()).unwrap();
    let fills = reports(&mut taker, 2);
    assert!(
        matches!(fills[1], Report::Filled(m) if m.price == 100_000_500_000_000 && m.quantity == 4),
        "{fills:?}"
    );
    let fill = reports(&mut maker, 1);
    assert!(
        matches!(fill[0], Report::Filled(m) if m.leaves == 6),
        "{fill:?}"
    );
    follow(&mut feed, "book", |feed| {
        let [a, b] = feed.lines();
        let rest = feed.book(0).is_some_and(|b| b.len() == 1);
        rest && a.packets > 0 && b.packets > 0
    });

    // A kill leaves the interface to the next start, and nothing of what was told is gone.
    w.kill();
    w.start();
    w.price(100_000_000_000);
    let mut maker = w.session(1);
    maker.send(&cancel(2, 1, 0, 1).into()).unwrap();
    let told = reports(&mut maker, 1);
    assert!(
        matches!(told[0], Report::Canceled(m) if m.quantity == 6),
        "{told:?}"
    );
    follow(&mut feed, "empty book", |feed| {
        feed.book(0).is_some_and(|b| b.is_empty())
    });
    let stopped = w.shutdown();
    assert_eq!(stopped["state_hash"], w.replay()["state_hash"]);
}

#[test]
fn clients_trade_with_a_box_on_xdp() {
    let Some(cable) = Veth::new("box-xdp") else {
        return;
    };
    cable.give_box_its_address();
    trade(&cable, xdp(BOX_INTERFACE));
    let w = venue(&cable, xdp("nowhere0"));
    let line = w.start_and_fail();
    assert!(
        line.starts_with("hostd: net: nowhere0: find it: No such device"),
        "{line}"
    );
}

#[cfg(feature = "dpdk")]
#[test]
fn clients_trade_with_a_box_on_dpdk() {
    let Some(cable) = Veth::new("box-dpdk") else {
        return;
    };
    trade(&cable, dpdk(BOX_INTERFACE));
    let w = venue(&cable, dpdk("nowhere0"));
    let line = w.start_and_fail();
    assert!(line.starts_with("hostd: net: DPDK: device: "), "{line}");
    assert!(line.contains("ioctl failed (SIOCGIFINDEX)"), "{line}");
}
