//! AF_XDP on a cable between namespaces, where the kernel at the same end goes on with everything else.

use crate::conformance::{FEED, ORDERS, conformance};
use crate::far::Far;
use crate::malformed::{Judge, every_fault_is_counted};
use crate::veth::{self, BOX_INTERFACE, BOX_IP, PEER_INTERFACE, PEER_IP, Veth};
use firmware::wire::frame::FrameFault;
use hostd::config::{CopyMode, Mode, XdpSection};
use hostd::nic::xdp::{self, XdpNic};
use hostd::nic::{Endpoint, Nic, NicCounters, RxBurst};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What happens, happens by then.
const PATIENCE: Duration = Duration::from_secs(20);

fn section(mode: Mode) -> XdpSection {
    XdpSection {
        interface: BOX_INTERFACE.into(),
        queues: None,
        steered: false,
        mode,
        copy: CopyMode::Auto,
        vlan: None,
        busy_poll_us: 0,
    }
}

/// A cable whose box end the kernel has an address at.
fn cable(what: &str) -> Option<Veth> {
    let veth = Veth::new(what)?;
    veth.give_box_its_address();
    Some(veth)
}

fn locals(port: u16) -> [Endpoint; 2] {
    [port, port + 1].map(|p| Endpoint::new(BOX_IP, p))
}

fn open(veth: &Veth, section: &XdpSection, port: u16) -> XdpNic {
    let nic = veth.at_box(|| xdp::open(section, &locals(port))).unwrap();
    assert_eq!([nic.local(ORDERS), nic.local(FEED)], locals(port));
    nic
}

fn refused(veth: &Veth, section: &XdpSection, sockets: &[Endpoint]) -> String {
    match veth.at_box(|| xdp::open(section, sockets)) {
        Ok(_) => panic!("it opened"),
        Err(e) => e.to_string(),
    }
}

/// Polls until `done` says so of the counters.
fn poll_until(nic: &mut XdpNic, done: impl Fn(&NicCounters) -> bool) {
    let (mut rx, begun) = (RxBurst::new(), Instant::now());
    while !done(nic.counters()) {
        nic.poll(&mut rx).unwrap();
        assert!(begun.elapsed() < PATIENCE, "{:?}", nic.counters());
    }
}

fn conforms(what: &str, mode: Mode, got: &str) {
    let Some(veth) = cable(what) else {
        return;
    };
    // New ports for each part, so that nothing late finds them.
    let next = Cell::new(5000);
    conformance(|_| {
        let port = next.replace(next.get() + 2);
        let nic = open(&veth, &section(mode), port);
        assert_eq!(nic.port().got(), format!("{BOX_INTERFACE}: {got}"));
        (nic, locals(port), Far::open(veth::DATAGRAM_MAX))
    });
}

#[test]
fn xdp_conforms_in_generic_mode() {
    conforms("xdp-generic", Mode::Generic, "generic, copy, queues [0]");
}

#[test]
fn xdp_conforms_in_native_mode() {
    conforms("xdp-native", Mode::Native, "native, copy, queues [0]");
}

#[test]
fn broken_frames_are_counted_and_what_is_not_ours_is_left_to_the_kernel() {
    for (what, mode) in [("xdp-bad-g", Mode::Generic), ("xdp-bad-n", Mode::Native)] {
        let Some(veth) = cable(what) else {
            return;
        };
        let mut nic = open(&veth, &section(mode), 4000);
        every_fault_is_counted(&mut nic, locals(4000)[ORDERS], Judge::Filtered);
    }
}

/// ICMP, TCP, other ports, and addresses that only the kernel has.
#[test]
fn the_kernel_goes_on_with_everything_else() {
    let Some(veth) = cable("xdp-kernel") else {
        return;
    };
    let mut nic = open(&veth, &section(Mode::Auto), 4000);
    let (udp, tcp) = veth.at_box(|| {
        let udp = UdpSocket::bind((BOX_IP, 4002)).unwrap();
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        (udp, TcpListener::bind((BOX_IP, 4000)).unwrap())
    });
    let peer = veth::peer_socket();
    let mut buffer = [0; 128];
    peer.send_to(b"re-request", udp.local_addr().unwrap())
        .unwrap();
    let (n, from) = udp.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"re-request");
    udp.send_to(b"answer", from).unwrap();
    assert_eq!(peer.recv(&mut buffer).unwrap(), 6);

    let mut out = TcpStream::connect((BOX_IP, 4000)).unwrap();
    out.write_all(b"admin").unwrap();
    drop(out);
    let mut text = String::new();
    tcp.accept().unwrap().0.read_to_string(&mut text).unwrap();
    assert_eq!(text, "admin");

    // An echo request, identifier 7, with its checksum; the answer comes with its IPv4 header.
    // SAFETY: makes a descriptor, which is ours alone.
    let ping = unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let fd = libc::socket(libc::AF_INET, kind, libc::IPPROTO_ICMP);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        UdpSocket::from(OwnedFd::from_raw_fd(fd))
    };
    ping.set_read_timeout(Some(PATIENCE)).unwrap();
    ping.send_to(&[8, 0, 0xf7, 0xf7, 0, 7, 0, 1], (BOX_IP, 0))
        .unwrap();
    let n = ping.recv(&mut buffer).unwrap();
    assert_eq!(buffer[20..n], [0, 0, 0xff, 0xf7, 0, 7, 0, 1]);

    peer.send_to(b"order", locals(4000)[ORDERS]).unwrap();
    poll_until(&mut nic, |c| c.rx == 1);
    let c = nic.counters();
    assert_eq!(
        (c.faults.iter().sum::<u64>(), c.arp_rx, c.rx_missed),
        (0, 0, 0)
    );
}

#[test]
fn the_feed_reaches_who_joined_its_group() {
    let Some(veth) = cable("xdp-group") else {
        return;
    };
    let mut nic = open(&veth, &section(Mode::Auto), 4000);
    let group = Ipv4Addr::new(239, 200, 1, 2);
    let member = UdpSocket::bind((group, 4010)).unwrap();
    member.join_multicast_v4(&group, &PEER_IP).unwrap();
    member.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 2048];
    for len in [1, 1400] {
        nic.send(FEED, Endpoint::new(group, 4010), &vec![9; len])
            .unwrap();
        nic.flush();
        let (n, from) = member.recv_from(&mut buffer).unwrap();
        assert_eq!((n, from), (len, locals(4000)[FEED].into()));
    }
}

/// The way to an address follows the kernel's tables as they change.
#[test]
fn it_goes_where_the_kernel_would() {
    let Some(veth) = cable("xdp-route") else {
        return;
    };
    let (far, nobody) = (Ipv4Addr::new(192, 0, 2, 9), Ipv4Addr::new(10, 77, 0, 66));
    veth::ip(&format!(
        "-n {} addr add {far}/32 dev lo",
        veth.peer_end.name
    ))
    .unwrap();
    let distant = UdpSocket::bind((far, 0)).unwrap();
    distant.set_read_timeout(Some(PATIENCE)).unwrap();
    let Ok(std::net::SocketAddr::V4(to)) = distant.local_addr() else {
        panic!("IPv4")
    };
    let mut nic = open(&veth, &section(Mode::Auto), 4000);
    nic.send(ORDERS, to, b"no route").unwrap();
    assert_eq!(nic.counters().tx_errors, 1);

    let end = &veth.box_end.name;
    veth::ip(&format!("-n {end} route add 192.0.2.0/24 via {PEER_IP}")).unwrap();
    let (mut rx, begun, mut buffer) = (RxBurst::new(), Instant::now(), [0; 64]);
    // Told by its own thread; sent again until it knows.
    while nic.counters().tx == 0 {
        nic.send(ORDERS, to, b"by the gateway").unwrap();
        nic.flush();
        nic.poll(&mut rx).unwrap();
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(distant.recv(&mut buffer).unwrap(), 14);

    // Who is not there is asked for and given up.
    let before = *nic.counters();
    nic.send(ORDERS, Endpoint::new(nobody, 9), b"nobody")
        .unwrap();
    poll_until(&mut nic, |c| c.tx_unresolved == before.tx_unresolved + 1);

    // The operator says where a neighbour lives, and that counts at once.
    let mac = veth::colons(veth::PEER_MAC);
    let set =
        format!("-n {end} neigh replace {nobody} lladdr {mac} dev {BOX_INTERFACE} nud permanent");
    veth::ip(&set).unwrap();
    let before = *nic.counters();
    nic.send(ORDERS, Endpoint::new(nobody, 9), b"somebody")
        .unwrap();
    poll_until(&mut nic, |c| c.tx == before.tx + 1);
    assert_eq!(nic.counters().tx_unresolved, before.tx_unresolved);
}

/// At both ends, since not every kernel has VLANs of its own.
#[test]
fn frames_carry_the_vlan_and_come_from_it() {
    let Some(veth) = cable("xdp-vlan") else {
        return;
    };
    let mut tagged = section(Mode::Generic);
    tagged.vlan = Some(7);
    let error = refused(&veth, &tagged, &locals(4000));
    assert!(error.ends_with("ethtool -K box0 rxvlan off"), "{error}");
    veth.at_box(|| veth::tags_stay_in_frames(BOX_INTERFACE))
        .unwrap();
    veth::tags_stay_in_frames(PEER_INTERFACE).unwrap();
    let mut nic = open(&veth, &tagged, 4000);
    let here = Endpoint::new(PEER_IP, 4001);
    let peer_section = XdpSection {
        interface: PEER_INTERFACE.into(),
        ..tagged
    };
    let mut peer = xdp::open(&peer_section, &[here]).unwrap();
    let mut rx = RxBurst::new();
    let mut hear = |nic: &mut XdpNic, other: &mut XdpNic, want: &[u8]| {
        let begun = Instant::now();
        // The sender may have to find its neighbour first.
        while nic.poll(&mut rx).unwrap() == 0 {
            other.poll(&mut RxBurst::new()).unwrap();
            assert!(begun.elapsed() < PATIENCE, "{:?}", nic.counters());
        }
        let frame = rx.get(0);
        assert_eq!(frame.payload, want);
        (frame.socket, frame.from)
    };
    peer.send(0, locals(4000)[FEED], b"tagged").unwrap();
    peer.flush();
    assert_eq!(hear(&mut nic, &mut peer, b"tagged"), (FEED, here));
    nic.send(ORDERS, here, b"too").unwrap();
    nic.flush();
    assert_eq!(hear(&mut peer, &mut nic, b"too"), (0, locals(4000)[ORDERS]));
    // A kernel's datagram has no tag.
    let plain = veth::peer_socket();
    plain.send_to(b"plain", locals(4000)[ORDERS]).unwrap();
    poll_until(&mut nic, |c| c.faults[FrameFault::Vlan as usize] == 1);
    assert_eq!(nic.counters().rx, 1);
}

/// A second cable, of two queues; who sends from many ports fills both.
#[test]
fn every_queue_is_served_or_the_box_says_which_is_not() {
    let Some(veth) = cable("xdp-queues") else {
        return;
    };
    let (b, p) = (&veth.box_end.name, &veth.peer_end.name);
    let two = "numrxqueues 2 numtxqueues 2";
    for words in [
        format!("link add wide0 netns {b} {two} type veth peer name wide1 netns {p} {two}"),
        format!("-n {b} addr add 10.78.0.1/24 dev wide0"),
        format!("-n {p} addr add 10.78.0.2/24 dev wide1"),
    ] {
        veth::ip(&words).unwrap();
    }
    veth::whole_checksums("wide1").unwrap();
    let socket = [Endpoint::new(Ipv4Addr::new(10, 78, 0, 1), 4000)];
    let mut wide = section(Mode::Native);
    wide.interface = "wide0".into();
    assert_eq!(
        refused(&veth, &wide, &socket),
        "wide0: it is down: ip link set wide0 up"
    );
    for (end, interface) in [(b, "wide0"), (p, "wide1")] {
        veth::ip(&format!("-n {end} link set {interface} up")).unwrap();
    }
    wide.queues = Some(vec![0]);
    let error = refused(&veth, &wide, &socket);
    assert!(
        error.starts_with("wide0: our datagrams may arrive in queue 1,"),
        "{error}"
    );
    wide.queues = Some(vec![0, 2]);
    assert!(refused(&veth, &wide, &socket).ends_with("names queue 2, and it has 2"));
    wide.queues = Some(vec![0, 1]);
    let error = refused(&veth, &wide, &locals(4000));
    assert!(
        error.contains("10.77.0.1 is on another interface"),
        "{error}"
    );
    let absent = [Endpoint::new(Ipv4Addr::new(10, 79, 0, 1), 4000)];
    let error = refused(&veth, &wide, &absent);
    assert_eq!(error, "wide0: no interface has the address 10.79.0.1");
    wide.interface = "none0".into();
    assert!(refused(&veth, &wide, &socket).starts_with("none0: find it: No such device"));
    wide.interface = "wide0".into();

    let senders: Vec<UdpSocket> = (0..32)
        .map(|_| UdpSocket::bind("10.78.0.2:0").unwrap())
        .collect();
    let tell_all = || {
        senders
            .iter()
            .for_each(|s| assert_eq!(s.send_to(b"x", socket[0]).unwrap(), 1))
    };
    let open = |section: &XdpSection| veth.at_box(|| xdp::open(section, &socket)).unwrap();
    for queues in [None, Some(vec![1, 0])] {
        wide.queues = queues;
        let mut nic = open(&wide);
        tell_all();
        poll_until(&mut nic, |c| c.rx == 32);
    }
    // Who says that everything is steered, and is wrong, sees it in a counter.
    wide.queues = Some(vec![1]);
    wide.steered = true;
    let mut nic = open(&wide);
    tell_all();
    poll_until(&mut nic, |c| {
        c.rx + c.rx_missed == 32 && c.rx_missed > 0 && c.rx > 0
    });
}

#[test]
fn what_is_taken_is_named() {
    let Some(veth) = cable("xdp-taken") else {
        return;
    };
    let first = open(&veth, &section(Mode::Generic), 4000);
    let error = refused(&veth, &section(Mode::Generic), &locals(4000));
    assert_eq!(error, "UDP 10.77.0.1:4000 is in use by another process");
    let error = refused(&veth, &section(Mode::Generic), &locals(4002));
    assert!(error.contains("Device or resource busy"), "{error}");
    assert!(error.ends_with("another program, or another process' socket, is there already"));
    let mut zero_copy = section(Mode::Native);
    zero_copy.copy = CopyMode::ZeroCopy;
    drop(first);
    let error = refused(&veth, &zero_copy, &locals(4002));
    assert!(
        error.ends_with("set net.xdp.mode and net.xdp.copy to auto"),
        "{error}"
    );
    // Nothing of all that is left.
    drop(open(&veth, &section(Mode::Auto), 4000));
}

/// A cable that is out comes back; an interface that is gone does not.
#[test]
fn an_interface_may_go_down_and_a_lost_one_stops_the_box() {
    let Some(veth) = cable("xdp-down") else {
        return;
    };
    let end = &veth.box_end.name;
    let set =
        |state: &str| veth::ip(&format!("-n {end} link set {BOX_INTERFACE} {state}")).unwrap();
    let mut busy = section(Mode::Native);
    busy.busy_poll_us = 20;
    let mut nic = open(&veth, &busy, 4000);
    let peer = veth::peer_socket();
    let Ok(std::net::SocketAddr::V4(here)) = peer.local_addr() else {
        panic!("IPv4")
    };
    let mut buffer = [0; 16];
    let mut echo = |nic: &mut XdpNic, text: &[u8]| {
        let (mut rx, begun) = (RxBurst::new(), Instant::now());
        peer.set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        // What is on its way when the cable comes back may still be lost.
        loop {
            peer.send_to(text, locals(4000)[ORDERS]).unwrap();
            nic.poll(&mut rx).unwrap();
            rx.iter()
                .for_each(|f| nic.send(ORDERS, f.from, f.payload).unwrap());
            nic.flush();
            if peer.recv(&mut buffer).is_ok_and(|n| &buffer[..n] == text) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{:?}", nic.counters());
        }
    };
    echo(&mut nic, b"up");
    set("down");
    let mut rx = RxBurst::new();
    for _ in 0..100 {
        nic.send(ORDERS, here, b"into the dark").unwrap();
        nic.flush();
        nic.poll(&mut rx).unwrap();
    }
    set("up");
    echo(&mut nic, b"again");

    veth::ip(&format!("-n {end} link del {BOX_INTERFACE}")).unwrap();
    let begun = Instant::now();
    let failure = loop {
        if let Err(e) = nic.poll(&mut rx) {
            break e;
        }
        assert!(begun.elapsed() < PATIENCE, "it notices");
    };
    assert!(failure.raw_os_error().is_some(), "{failure}");
}

/// The daemon, killed.
#[test]
fn a_killed_process_leaves_nothing_behind() {
    let Some(veth) = cable("xdp-kill") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("echo.toml");
    let text = include_str!("../example.toml")
        .replace("PUBLIC_KEY", &format!("58{}", "66".repeat(31)))
        .replace("allow_untagged = true", "allow_untagged = false")
        .replace("127.0.0.1:4000", "10.77.0.1:4000")
        .replace("127.0.0.1:4007", "10.77.0.1:4007")
        .replace(
            "backend = \"uring\"",
            "backend = \"xdp\"\nxdp = { interface = \"box0\", mode = \"generic\" }",
        );
    std::fs::write(&config, text).unwrap();
    let shown = || {
        veth::ip(&format!(
            "-n {} -d link show dev {BOX_INTERFACE}",
            veth.box_end.name
        ))
    };
    assert!(!shown().unwrap().contains("prog/xdp"));
    for _ in 0..2 {
        let mut daemon = veth.at_box(|| {
            Command::new(env!("CARGO_BIN_EXE_hostd"))
                .args(["echo", "--config"])
                .arg(&config)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        });
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        assert!(lines.any(|l| l.unwrap() == "hostd: ready"), "it started");
        let peer = veth::peer_socket();
        peer.send_to(b"hello", (BOX_IP, 4000)).unwrap();
        assert_eq!(peer.recv(&mut [0; 8]).unwrap(), 5);
        assert!(
            shown().unwrap().contains("prog/xdp"),
            "{}",
            shown().unwrap()
        );
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        // The kernel takes it down after the process is gone.
        let begun = Instant::now();
        while shown().unwrap().contains("prog/xdp") {
            assert!(begun.elapsed() < PATIENCE, "the program is still there");
        }
        let kernel = veth.at_box(|| UdpSocket::bind((BOX_IP, 4000)).unwrap());
        kernel.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.send_to(b"to the kernel", (BOX_IP, 4000)).unwrap();
        assert_eq!(kernel.recv(&mut [0; 32]).unwrap(), 13);
    }
}
