//! The bare-metal image in QEMU, held against the firmware crate on the host with the same frames as the RTL.
//!
//! `cargo ci nic` builds the image and names it in `DELTABOX_NIC_IMAGE`.
#![cfg(feature = "qemu")]

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cosim::frames::{MEMBERS, Source};
use cosim::rows::SessionRow;
use cosim::twin::{COUNTERS, Twin};
use firmware::gate::GateInstrument;
use firmware::nic_gate::OpenSession;
use firmware::tag::Suite;
use firmware::units::TimeNs;
use firmware::wire::descriptor::{Descriptor, Verdict};
use firmware::wire::nic_link::{self as link, Kind};

/// Instructions from a frame's arrival to its verdict, counted by the machine: exact, so any change of the gate's code
/// shows here. Of a sound new order: without a tag, and with a SipHash tag.
const INSTRUCTIONS: [u64; 2] = [2_356, 3_674];
/// The deepest stack that the image may have used, bytes.
const STACK_MAX: u64 = 24 << 10;
/// An Ethernet frame is no shorter on a cable: the machine's network pads.
const FRAME_MIN: usize = 60;
/// What the image has room for.
const FRAME_MAX: usize = 1_522;
/// Frames that are sent before their verdicts are asked for.
const BURST: u64 = 24;
const PATIENCE: Duration = Duration::from_secs(20);

/// An image that runs, and both its cables.
struct Image {
    machine: Child,
    cable: (UdpSocket, SocketAddr),
    host: (UdpSocket, SocketAddr),
    number: u32,
    /// Number of the next descriptor.
    next: u32,
    descriptors: Vec<(Descriptor, Vec<u8>)>,
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = self.machine.kill();
        let _ = self.machine.wait();
    }
}

/// A socket of ours, and an address that is free for the machine.
fn cable() -> (UdpSocket, SocketAddr) {
    let ours = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    ours.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let theirs = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let at = theirs.local_addr().expect("an address");
    (ours, at)
}

impl Image {
    fn boot() -> Self {
        let image = std::env::var("DELTABOX_NIC_IMAGE").expect("cargo ci nic names the image");
        let (cable, host) = (cable(), cable());
        let mut qemu = Command::new("qemu-system-riscv64");
        qemu.args("-machine virt -m 128M -nographic -bios none -icount shift=0".split(' '));
        qemu.args(["-kernel", &image]);
        for (name, (ours, theirs)) in [("cable", &cable), ("host", &host)] {
            let ours = ours.local_addr().expect("an address");
            qemu.args([
                "-netdev",
                &format!(
                    "dgram,id={name},local.type=inet,local.host=127.0.0.1,local.port={},\
                     remote.type=inet,remote.host=127.0.0.1,remote.port={}",
                    theirs.port(),
                    ours.port()
                ),
                "-device",
                &format!("virtio-net-device,netdev={name}"),
            ]);
        }
        qemu.stdin(Stdio::null());
        let machine = qemu.spawn().expect("qemu-system-riscv64 starts");
        Self {
            machine,
            cable,
            host,
            number: 0,
            next: 0,
            descriptors: Vec::new(),
        }
    }

    fn tell(&mut self, kind: Kind, body: &[u8]) -> u32 {
        let mut frame = [0; 256];
        self.number += 1;
        let len = link::write(&mut frame, kind, self.number, &[body]).expect("it fits");
        let (socket, at) = &self.host;
        socket.send_to(&frame[..len], at).expect("sent");
        self.number
    }

    /// The next message that is no descriptor; those are kept.
    fn hear(&mut self) -> Option<(Kind, u32, Vec<u8>)> {
        let mut frame = [0; 4096];
        loop {
            let len = self.host.0.recv(&mut frame).ok()?;
            let (kind, number, body) = link::parse(&frame[..len]).expect("a message of the link");
            if kind != Kind::Descriptor {
                return Some((kind, number, body.to_vec()));
            }
            assert_eq!(number, self.next, "descriptors have no gaps");
            self.next += 1;
            let descriptor: Descriptor = link::body(body).expect("a descriptor");
            let rest = body[size_of::<Descriptor>()..].to_vec();
            self.descriptors.push((descriptor, rest));
        }
    }

    /// Says hello until there is an answer: the machine takes a moment to start.
    fn greet(&mut self, hello: link::Hello) -> link::Ready {
        let quick = Some(Duration::from_millis(200));
        self.host.0.set_read_timeout(quick).expect("a timeout");
        let mut tries = 0;
        let ready = loop {
            let number = self.tell(Kind::Hello, link::bytes(&hello));
            match self.hear() {
                Some((Kind::Ready, n, body)) if n == number => {
                    break link::body(&body).expect("an answer");
                }
                _ => tries += 1,
            }
            assert!(tries < 200, "the image does not answer");
        };
        let patient = Some(PATIENCE);
        self.host.0.set_read_timeout(patient).expect("a timeout");
        // Answers to those that came before may still be on their way.
        ready
    }

    /// Says something and waits until it is taken.
    fn ask(&mut self, kind: Kind, body: &[u8]) -> bool {
        let number = self.tell(kind, body);
        loop {
            let (kind, n, body) = self.hear().expect("an answer");
            if kind == Kind::Ack && n == number {
                let ack: link::Ack = link::body(&body).expect("an answer");
                return ack.is_taken == 1;
            }
        }
    }

    fn status(&mut self) -> (link::Status, [u32; COUNTERS]) {
        let number = self.tell(Kind::Beat, &[]);
        loop {
            let (kind, n, body) = self.hear().expect("an answer");
            if kind == Kind::Status && n == number {
                let status = link::body(&body).expect("a status");
                let counters = link::body(&body[size_of::<link::Status>()..]).expect("counters");
                return (status, counters);
            }
        }
    }

    fn give(&self, frame: &[u8]) {
        let (socket, at) = &self.cable;
        socket.send_to(frame, at).expect("sent");
    }

    /// Waits until so many frames were judged.
    fn until(&mut self, frames: u64) -> (link::Status, [u32; COUNTERS]) {
        for _ in 0..2_000 {
            let (status, counters) = self.status();
            if status.frames == frames {
                return (status, counters);
            }
        }
        panic!("frames were lost on the way");
    }

    fn open(&mut self, row: SessionRow) -> bool {
        let open = OpenSession::from(row);
        let session = link::Session {
            expected: open.expected,
            last_cl_ord_id: open.last_cl_ord_id,
            conn_id: open.conn_id,
            member: open.member,
            requests_per_second: open.rates.map_or(0, |r| r.requests_per_second),
            quotes_per_second: open.rates.map_or(0, |r| r.quotes_per_second),
            suite: open.suite as u8,
            has_rates: open.rates.is_some().into(),
            is_read_only: open.is_read_only.into(),
            pad: [0; 5],
            key: open.key,
        };
        self.ask(Kind::Session, link::bytes(&session))
    }

    fn bind(&mut self, account: u32, member: u32) -> bool {
        let account = link::Account { account, member };
        self.ask(Kind::Account, link::bytes(&account))
    }

    fn list(&mut self, id: u16, i: &GateInstrument) -> bool {
        let instrument = link::Instrument {
            tick_e9: i.tick_e9,
            order_lots_max: i.order_lots_max,
            base: i.base.0,
            width_ticks: i.width_ticks,
            tick2_from: i.tick2_from.0,
            tick2_multiple: i.tick2_multiple,
            id: id.into(),
            pad: 0,
        };
        self.ask(Kind::Instrument, link::bytes(&instrument))
    }

    fn set_clock(&mut self, now_ns: u64) {
        let clock = link::Clock { now_ns, stands: 1 };
        assert!(self.ask(Kind::Clock, link::bytes(&clock)));
    }
}

const HELLO: link::Hello = link::Hello {
    protocol: link::PROTOCOL,
    limits: link::LIMITS,
};

/// An image and a twin that know what the source has.
fn pair(source: &Source) -> (Image, Twin) {
    let mut image = Image::boot();
    let ready = image.greet(HELLO);
    assert_eq!((ready.agrees, ready.sessions), (1, 1 << 10));
    let mut twin = Twin::new();
    twin.place(source.station, source.ip, source.port);
    let place = link::Place {
        ip: source.ip.octets(),
        mac: source.station.mac.0,
        vlan: source.station.vlan.unwrap_or(0xffff),
        port: source.port,
        pad: 0,
    };
    assert!(image.ask(Kind::Place, link::bytes(&place)));
    for row in source.sessions() {
        twin.open(row);
        assert!(image.open(row));
    }
    for (account, member) in Source::accounts() {
        twin.bind(account, member);
        assert!(image.bind(account, member));
    }
    for (id, instrument) in &source.instruments {
        twin.list(*id, *instrument);
        assert!(image.list(*id, instrument));
    }
    (image, twin)
}

/// One change from the host on both sides.
fn change(source: &mut Source, image: &mut Image, twin: &mut Twin, overloaded: &mut bool) {
    let held = (0..MEMBERS).find(|p| twin.flow(*p).0);
    let p = &mut source.prng;
    match p.below(8) {
        0 => {
            *overloaded = !*overloaded;
            twin.gate().set_overloaded(*overloaded);
            let on = link::Overloaded {
                is_overloaded: (*overloaded).into(),
            };
            assert!(image.ask(Kind::Overloaded, link::bytes(&on)));
        }
        1 => {
            let row = source.relogin(|place| twin.flow(place).2);
            twin.open(row);
            assert!(image.open(row));
        }
        2 => {
            let (account, member) = (p.pick(&[0, 1, 2, 3, 1_003, 16_383]), p.pick(&[0, 1, 2, 3]));
            twin.bind(account, member);
            assert!(image.bind(account, member));
        }
        3 => {
            let at = p.below(source.instruments.len() as u64) as usize;
            let instrument = source.instrument();
            source.instruments[at].1 = instrument;
            let id = source.instruments[at].0;
            twin.list(id, instrument);
            assert!(image.list(id, &instrument));
        }
        _ => {
            let Some(place) = held else { return };
            let (_, expected, last) = twin.flow(place);
            let (expected, last) = source.resume(place, expected, last);
            twin.resume(place, expected, last);
            let resume = link::Resume {
                expected,
                last_cl_ord_id: last,
                place,
                pad: 0,
            };
            assert!(image.ask(Kind::Resume, link::bytes(&resume)));
        }
    }
}

fn lockstep(seed: u64, frames: u64) -> [u32; COUNTERS] {
    let mut source = Source::new(seed);
    let (mut image, mut twin) = pair(&source);
    let mut now = 1_700_000_000_000_000_000;
    let (mut given, mut overloaded) = (0, false);
    while given < frames {
        now += source.prng.below(40_000_000);
        image.set_clock(now);
        let mut wanted = Vec::new();
        for _ in 0..BURST {
            let mut frame = source.frame(now);
            frame.resize(frame.len().max(FRAME_MIN), 0);
            if frame.len() > FRAME_MAX {
                continue;
            }
            image.give(&frame);
            given += 1;
            let outcome = twin.judge(&frame, TimeNs(now));
            if let Some(descriptor) = outcome.descriptor {
                let whole = match outcome.verdict {
                    Verdict::Host => frame,
                    _ => Vec::new(),
                };
                wanted.push((descriptor, whole));
            }
        }
        let (status, counters) = image.until(given);
        assert_eq!(status.lost, 0);
        assert!(status.stack_bytes <= STACK_MAX, "{status:?}");
        for ((got, rest), (want, whole)) in image.descriptors.drain(..).zip(&wanted) {
            assert_eq!(got, *want, "seed {seed}");
            assert_eq!(&rest[..whole.len()], &whole[..], "seed {seed}");
        }
        assert_eq!(
            image.next as usize,
            twin.counters()[64..]
                .iter()
                .map(|c| *c as usize)
                .sum::<usize>(),
            "one descriptor for each frame that is not dropped"
        );
        assert_eq!(counters, *twin.counters(), "seed {seed}");
        change(&mut source, &mut image, &mut twin, &mut overloaded);
    }
    *twin.counters()
}

#[test]
fn the_image_judges_as_the_firmware_crate_does() {
    let mut sum = vec![0; COUNTERS];
    for seed in 1..=3 {
        for (sum, n) in sum.iter_mut().zip(lockstep(seed, 2_000)) {
            *sum += n;
        }
    }
    // Admitted, refused, for the host, and most kinds of drop were among them.
    assert!(sum[64] > 300, "{} admitted", sum[64]);
    for (verdict, kinds) in [(0, 15), (2, 8), (3, 5)] {
        let seen = sum[64 * verdict..64 * (verdict + 1)].iter();
        let seen = seen.filter(|n| **n > 0).count();
        assert!(seen >= kinds, "verdict {verdict}: {seen} reasons seen");
    }
}

#[test]
fn an_order_takes_the_same_instructions_every_time() {
    let mut source = Source::new(5);
    let (mut image, mut twin) = pair(&source);
    let mut now = 1_700_000_000_000_000_000;
    let mut given = 0;
    let counts = [Suite::None, Suite::SipHash24].map(|suite| {
        let mut counts = Vec::new();
        while counts.len() < 9 {
            // A second later, so that no bucket is empty.
            now += 1_000_000_000;
            image.set_clock(now);
            let frame = source.order(suite);
            let verdict = twin.judge(&frame, TimeNs(now)).verdict;
            image.give(&frame);
            given += 1;
            let count = image.until(given).0.instructions_last;
            if verdict == Verdict::Admitted {
                counts.push(count);
            }
            assert!(given < 200, "no orders pass");
        }
        // They differ by a few where an instrument has a second tick.
        counts.sort_unstable();
        counts[counts.len() / 2]
    });
    println!("instructions of a new order: {counts:?}");
    assert_eq!(counts, INSTRUCTIONS);
}

#[test]
fn an_image_of_other_limits_says_so_and_judges_nothing() {
    let mut image = Image::boot();
    let ready = image.greet(link::Hello {
        limits: link::LIMITS + 1,
        ..HELLO
    });
    assert_eq!((ready.agrees, ready.limits), (0, link::LIMITS));
    let source = Source::new(1);
    assert!(!image.bind(1, 1), "nothing is taken");
    assert!(!image.list(1, &source.instruments[0].1));
    image.give(&[0; 64]);
    assert_eq!(image.status().0.frames, 0);
}
