//! DPDK's drivers that need no card: over a cable between namespaces, and over a tap.

use crate::conformance::{FEED, ORDERS, conformance};
use crate::far::Far;
use crate::malformed::{Judge, every_fault_is_counted};
use crate::veth::{self, BOX_INTERFACE, BOX_IP, BOX_MAC, NETWORK, PEER_INTERFACE, PEER_IP, Veth};
use hostd::config::DpdkSection;
use hostd::nic::dpdk::{DpdkError, DpdkNic};
use hostd::nic::{Endpoint, Nic, NicCounters, RxBurst};
use lane::Parker;
use std::cell::RefCell;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// What happens, happens by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// One environment serves all tests of the process.
pub(crate) fn section(port: &str) -> DpdkSection {
    DpdkSection {
        eal: ["--no-huge", "--no-pci", "-m", "512"]
            .map(str::to_owned)
            .to_vec(),
        port: port.to_owned(),
        network: NETWORK.parse().unwrap(),
        gateway: None,
        vlan: None,
        neighbours: vec![],
    }
}

fn locals() -> [Endpoint; 2] {
    [5000, 5001].map(|p| Endpoint::new(BOX_IP, p))
}

/// A driver's name may be used once at a time in a process.
fn af_packet(n: u32) -> DpdkSection {
    section(&format!(
        "net_af_packet{n},iface={BOX_INTERFACE},framecnt=2048"
    ))
}

fn open(cable: &Veth, section: &DpdkSection) -> DpdkNic {
    cable.at_box(|| DpdkNic::open(section, &locals()).unwrap())
}

/// Polls until `done` says so of the counters.
fn poll_until(nic: &mut DpdkNic, done: impl Fn(&NicCounters) -> bool) {
    let (mut rx, begun) = (RxBurst::new(), Instant::now());
    while !done(nic.counters()) {
        nic.poll(&mut rx).unwrap();
        assert!(begun.elapsed() < PATIENCE, "{:?}", nic.counters());
    }
}

fn conforms_over_cables(what: &str, section: &DpdkSection, longest: usize) {
    // One for each part: a driver may hold its interface as long as the process lives (af_xdp does).
    let Some(first) = Veth::new(what) else {
        return;
    };
    let (first, used) = (RefCell::new(Some(first)), RefCell::new(Vec::new()));
    conformance(|_| {
        let cable = first.take().or_else(|| Veth::new(what));
        let cable = cable.expect("a moment ago it could be made");
        let nic = open(&cable, section);
        used.borrow_mut().push(cable);
        (nic, locals(), Far::open(longest))
    });
}

#[test]
fn dpdk_conforms_on_af_packet() {
    // This driver asks the kernel to put fragments together, and has room for two kilobytes.
    conforms_over_cables("af-packet", &af_packet(0), 1900);
}

#[test]
fn dpdk_conforms_on_af_xdp() {
    let section = section(&format!("net_af_xdp0,iface={BOX_INTERFACE},busy_budget=0"));
    conforms_over_cables("af-xdp", &section, veth::DATAGRAM_MAX);
}

/// A tap sleeps on its interrupt. Its two ends share an Ethernet address, and the kernel's has the peer's IPv4 address.
#[test]
fn dpdk_conforms_on_a_tap_that_wakes_it() {
    let Some(cable) = Veth::new("tap") else {
        return;
    };
    // The tap is at the peer's end; the cable serves as a place for it.
    conformance(|_| {
        veth::ip(&format!(
            "-n {} link set {PEER_INTERFACE} down",
            cable.peer_end.name
        ))
        .unwrap();
        let nic = DpdkNic::open(&section("net_tap0,iface=tap0"), &locals()).unwrap();
        for words in ["addr add 10.77.0.2/24 dev tap0", "link set tap0 up"] {
            veth::ip(&format!("-n {} {words}", cable.peer_end.name)).unwrap();
        }
        veth::whole_checksums("tap0").unwrap();
        (nic, locals(), Far::open(veth::DATAGRAM_MAX))
    });
}

#[test]
fn broken_frames_are_counted_by_their_reasons() {
    let Some(cable) = Veth::new("dpdk-bad") else {
        return;
    };
    let judge = Judge::Backend {
        of_fragments: false,
    };
    let mut nic = open(&cable, &af_packet(1));
    every_fault_is_counted(&mut nic, locals()[ORDERS], judge);
    drop(nic);
    let xdp = section(&format!("net_af_xdp1,iface={BOX_INTERFACE},busy_budget=0"));
    let mut nic = open(&cable, &xdp);
    every_fault_is_counted(
        &mut nic,
        locals()[FEED],
        Judge::Backend { of_fragments: true },
    );
}

/// No kernel has the box's address: it is asked for, and asks, itself.
#[test]
fn arp_is_answered_and_asked() {
    let Some(cable) = Veth::new("dpdk-arp") else {
        return;
    };
    let end = &cable.peer_end.name;
    let knows = || {
        let table = veth::ip(&format!("-n {end} neigh show dev {PEER_INTERFACE}")).unwrap();
        table.contains(&format!("{BOX_IP} lladdr {}", veth::colons(BOX_MAC)))
    };
    let forget = || veth::ip(&format!("-n {end} neigh flush all")).unwrap();
    let mut nic = open(&cable, &af_packet(2));
    let peer = veth::peer_socket();

    // We are asked, and learn from that where the asker lives.
    peer.send_to(b"order", locals()[ORDERS]).unwrap();
    poll_until(&mut nic, |c| c.rx == 1);
    assert!(knows());
    let asked = nic.counters().arp_rx;
    assert!(
        asked >= 1 && nic.counters().arp_tx > asked,
        "an answer each, and who we are"
    );
    drop(nic);

    // We ask.
    forget();
    let mut nic = open(&cable, &af_packet(2));
    let Ok(std::net::SocketAddr::V4(to)) = peer.local_addr() else {
        panic!("IPv4")
    };
    nic.send(ORDERS, to, b"report").unwrap();
    poll_until(&mut nic, |c| c.tx == 1);
    nic.flush();
    let mut buffer = [0; 64];
    assert_eq!(
        peer.recv_from(&mut buffer).unwrap(),
        (6, locals()[ORDERS].into())
    );

    // Nobody answers.
    let nobody = Endpoint::new(Ipv4Addr::new(10, 77, 0, 66), 9);
    nic.send(ORDERS, nobody, b"lost").unwrap();
    poll_until(&mut nic, |c| c.tx_unresolved == 1);
}

#[test]
fn multicast_reaches_who_joined_the_group() {
    let Some(cable) = Veth::new("dpdk-group") else {
        return;
    };
    let mut nic = open(&cable, &af_packet(3));
    let group = Ipv4Addr::new(239, 200, 1, 2);
    let member = UdpSocket::bind((group, 4010)).unwrap();
    member.join_multicast_v4(&group, &PEER_IP).unwrap();
    member.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 2048];
    for len in [1, 1400] {
        nic.send(FEED, Endpoint::new(group, 4010), &vec![9; len])
            .unwrap();
        nic.flush();
        let got = member.recv_from(&mut buffer).unwrap();
        assert_eq!(got, (len, locals()[FEED].into()));
    }
}

/// A thread as the kernel shows it: its name, cores, signals that it blocks and that the process catches.
fn task(id: &str) -> Option<[String; 4]> {
    let status = std::fs::read_to_string(format!("/proc/self/task/{id}/status")).ok()?;
    let of = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap();
        line.trim().to_owned()
    };
    Some(["Name:", "Cpus_allowed_list:", "SigBlk:", "SigCgt:"].map(of))
}

/// DPDK's own threads take neither the tile's core nor any signal, and the tile's thread is as it was.
#[test]
fn the_calling_thread_stays_as_it_was() {
    let Some(cable) = Veth::new("dpdk-thread") else {
        return;
    };
    let [_, cores, ..] = task(&std::process::id().to_string()).unwrap();
    lane::pin_to_core(0).unwrap();
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    let before = task(&own);
    let mut nic = open(&cable, &af_packet(4));
    nic.poll(&mut RxBurst::new()).unwrap();
    assert_eq!(task(&own), before);
    // Those of other tests begin and end meanwhile.
    let begun = Instant::now();
    loop {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let all = tasks.filter_map(|t| task(t.ok()?.file_name().to_str()?));
        let theirs: Vec<_> = all
            .filter(|[name, ..]| name.starts_with("eal-") || name.starts_with("dpdk-"))
            .collect();
        let is_aside = |[_, on, blocked, _]: &[String; 4]| {
            // Every signal that can be.
            (on != "0" || cores == "0") && blocked == "fffffffe7ffbfeff"
        };
        if theirs.len() >= 2 && theirs.iter().all(is_aside) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{theirs:?}");
    }
}

#[test]
fn what_cannot_be_opened_is_named() {
    let Some(cable) = Veth::new("dpdk-none") else {
        return;
    };
    let refused = |section: &DpdkSection| match cable.at_box(|| DpdkNic::open(section, &locals())) {
        Ok(_) => panic!("it opened"),
        Err(e) => e,
    };
    let nowhere = refused(&section("net_af_packet9,iface=nowhere0")).to_string();
    assert!(nowhere.starts_with("DPDK: device: "), "{nowhere}");
    assert!(nowhere.contains("ioctl failed (SIOCGIFINDEX)"), "{nowhere}");
    let mut other = af_packet(5);
    other.eal.push("--log-level=8".into());
    let mut first = open(&cable, &af_packet(5));
    assert!(matches!(refused(&other), DpdkError::StartedOtherwise));
    assert!(matches!(refused(&af_packet(5)), DpdkError::Taken(name) if name == "net_af_packet5"));
    // And its owner goes on with it.
    let peer = veth::peer_socket();
    peer.send_to(b"order", locals()[ORDERS]).unwrap();
    poll_until(&mut first, |c| c.rx == 1);
}

/// A waker, while the device sleeps on its interrupt or takes naps.
#[test]
fn a_waker_ends_the_sleep() {
    let Some(cable) = Veth::new("dpdk-wake") else {
        return;
    };
    let tap = cable.at_box(|| DpdkNic::open(&section("net_tap1,iface=tap1"), &locals()).unwrap());
    for mut nic in [tap, open(&cable, &af_packet(6))] {
        let tile = Parker::new().unwrap();
        for _ in 0..20 {
            tile.announce();
            let waker = tile.waker();
            let other = std::thread::spawn(move || waker.wake());
            // Frames of the kernel may end a wait, and then the next one is ended.
            nic.wait(&tile, Duration::from_secs(600)).unwrap();
            other.join().unwrap();
            tile.resume();
            nic.poll(&mut RxBurst::new()).unwrap();
        }
    }
}
