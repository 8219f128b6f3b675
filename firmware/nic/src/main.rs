//! The gate on a NIC: a RISC-V image around the unchanged `firmware` crate, for QEMU's `virt` machine.
//!
//! ```text
//!  orders ──► port 0 ──► NicGate (frame, window, tag, decode, gate) ──► descriptors ──► port 1 ──► host
//!                                    ▲ sessions, instruments, accounts, limits, clock ◄── port 1 ◄─┘
//! ```
//!
//! One loop, no interrupts, no allocator: all memory is static. What the host says, and what it is told, is
//! `firmware::wire::nic_link`. Anything that should not happen stops the machine with a line on the console.
#![no_std]
#![no_main]

mod cards;
mod machine;

use cards::Card;
use core::fmt::Write;
use firmware::gate::{GateInstrument, Rates};
use firmware::nic_gate::{NicGate, OpenSession};
use firmware::tag::Suite;
use firmware::units::{PriceTicks, TimeNs};
use firmware::wire::descriptor::Verdict;
use firmware::wire::frame::{Mac, Station};
use firmware::wire::nic_link::{self, Kind, LIMITS, PROTOCOL};
use machine::Console;

/// Places for sessions.
const SESSIONS: usize = 1 << 10;
/// Room for a message to the host: head, descriptor, the largest frame.
const OUT: usize = 2048;

static mut GATE: NicGate<SESSIONS> = NicGate::new();

/// What the image knows beside the gate.
struct Nic {
    gate: &'static mut NicGate<SESSIONS>,
    host: Card,
    /// Number of the next descriptor.
    next: u32,
    /// The host agrees on protocol and limits.
    is_open: bool,
    /// Added to the machine's time, or the time itself while it stands.
    time_ns: u64,
    time_stands: bool,
    frames: u64,
    instructions_last: u64,
    out: [u8; OUT],
}

#[unsafe(no_mangle)]
extern "C" fn nic_main() -> ! {
    // SAFETY: the only hart takes it, once.
    let gate = unsafe { (&raw mut GATE).as_mut() };
    let gate = gate.expect("a static is somewhere");
    let [host, cable] = cards::find(cards::buffers());
    let (Some(mut cable), Some(host)) = (cable, host) else {
        let _ = writeln!(Console, "nic: two virtio-net cards are needed");
        machine::stop(3);
    };
    let mut nic = Nic {
        gate,
        host,
        next: 0,
        is_open: false,
        time_ns: 0,
        time_stands: false,
        frames: 0,
        instructions_last: 0,
        out: [0; OUT],
    };
    let _ = writeln!(
        Console,
        "nic: ready, protocol {PROTOCOL}, limits {LIMITS:#x}"
    );
    loop {
        let heard = nic.listen();
        let judged = cable.receive(|frame| nic.judge(frame));
        nic.host.lost += core::mem::take(&mut cable.lost);
        if !heard && !judged {
            core::hint::spin_loop();
        }
    }
}

impl Nic {
    fn now(&self) -> TimeNs {
        let running = if self.time_stands {
            0
        } else {
            machine::uptime_ns()
        };
        TimeNs(self.time_ns.wrapping_add(running))
    }

    /// Judges a frame, and tells the host unless it is dropped.
    fn judge(&mut self, frame: &[u8]) {
        if !self.is_open {
            return;
        }
        let now = self.now();
        let before = machine::instructions();
        let outcome = self.gate.judge(frame, now);
        self.instructions_last = machine::instructions().wrapping_sub(before);
        self.frames += 1;
        let Some(descriptor) = outcome.descriptor else {
            return;
        };
        let rest = match outcome.verdict {
            Verdict::Host => frame,
            _ => &[],
        };
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.say(
            Kind::Descriptor,
            number,
            &[nic_link::bytes(&descriptor), rest],
        );
    }

    fn say(&mut self, kind: Kind, number: u32, parts: &[&[u8]]) {
        let Some(len) = nic_link::write(&mut self.out, kind, number, parts) else {
            self.host.lost += 1;
            return;
        };
        if let Some(frame) = self.out.get(..len) {
            self.host.send(frame);
        }
    }

    /// Takes the host's next message; whether there was one.
    fn listen(&mut self) -> bool {
        let mut copy = [0; 128];
        let mut len = 0;
        let heard = self.host.receive(|frame| {
            // No message of the host is longer.
            len = frame.len().min(copy.len());
            for (to, from) in copy.iter_mut().zip(frame.iter()) {
                *to = *from;
            }
        });
        if let Some((kind, number, body)) = copy.get(..len).and_then(nic_link::parse) {
            self.obey(kind, number, body);
        }
        heard
    }

    fn obey(&mut self, kind: Kind, number: u32, body: &[u8]) {
        let is_taken = match kind {
            Kind::Hello => return self.greet(number, body),
            Kind::Beat => return self.show(number),
            _ if !self.is_open => false,
            Kind::Place => nic_link::body(body).is_some_and(|m| self.place(&m)),
            Kind::Session => nic_link::body(body).is_some_and(|m| self.open(&m)),
            Kind::Account => nic_link::body(body)
                .is_some_and(|m: nic_link::Account| self.gate.bind(m.account, m.member)),
            Kind::Instrument => nic_link::body(body).is_some_and(|m| self.list(&m)),
            Kind::Overloaded => nic_link::body(body).is_some_and(|m: nic_link::Overloaded| {
                self.gate.gate().set_overloaded(m.is_overloaded != 0);
                true
            }),
            Kind::Resume => nic_link::body(body).is_some_and(|m: nic_link::Resume| {
                self.gate.resume(m.place, m.expected, m.last_cl_ord_id)
            }),
            Kind::Clock => nic_link::body(body).is_some_and(|m| self.set_clock(&m)),
            Kind::Ready | Kind::Ack | Kind::Status | Kind::Descriptor => false,
        };
        let ack = nic_link::Ack {
            is_taken: is_taken.into(),
        };
        self.say(Kind::Ack, number, &[nic_link::bytes(&ack)]);
    }

    fn greet(&mut self, number: u32, body: &[u8]) {
        let want = nic_link::Hello {
            protocol: PROTOCOL,
            limits: LIMITS,
        };
        self.is_open = nic_link::body::<nic_link::Hello>(body) == Some(want);
        *self.gate = const { NicGate::new() };
        (self.next, self.frames) = (0, 0);
        let ready = nic_link::Ready {
            protocol: PROTOCOL,
            limits: LIMITS,
            agrees: self.is_open.into(),
            sessions: SESSIONS as u32,
        };
        self.say(Kind::Ready, number, &[nic_link::bytes(&ready)]);
    }

    fn show(&mut self, number: u32) {
        let status = nic_link::Status {
            frames: self.frames,
            instructions_last: self.instructions_last,
            lost: self.host.lost,
            stack_bytes: machine::stack_bytes(),
        };
        let counters = *self.gate.counters();
        let parts = [nic_link::bytes(&status), nic_link::bytes(&counters)];
        self.say(Kind::Status, number, &parts);
    }

    fn place(&mut self, m: &nic_link::Place) -> bool {
        let vlan = (m.vlan != 0xffff).then_some(m.vlan);
        self.gate.station = Station {
            mac: Mac(m.mac),
            vlan,
        };
        (self.gate.ip, self.gate.port) = (m.ip.into(), m.port);
        true
    }

    fn open(&mut self, m: &nic_link::Session) -> bool {
        let Some(suite) = Suite::from_wire(m.suite) else {
            return false;
        };
        self.gate.open(OpenSession {
            conn_id: m.conn_id,
            member: m.member,
            suite,
            key: m.key,
            rates: (m.has_rates != 0).then_some(Rates {
                requests_per_second: m.requests_per_second,
                quotes_per_second: m.quotes_per_second,
            }),
            is_read_only: m.is_read_only != 0,
            expected: m.expected,
            last_cl_ord_id: m.last_cl_ord_id,
        })
    }

    fn list(&mut self, m: &nic_link::Instrument) -> bool {
        let Ok(id) = u16::try_from(m.id) else {
            return false;
        };
        let instrument = GateInstrument {
            tick_e9: m.tick_e9,
            base: PriceTicks(m.base),
            width_ticks: m.width_ticks,
            order_lots_max: m.order_lots_max,
            tick2_from: PriceTicks(m.tick2_from),
            tick2_multiple: m.tick2_multiple,
        };
        m.tick_e9 > 0 && self.gate.list(id, instrument)
    }

    fn set_clock(&mut self, m: &nic_link::Clock) -> bool {
        self.time_stands = m.stands != 0;
        let since = if self.time_stands {
            0
        } else {
            machine::uptime_ns()
        };
        self.time_ns = m.now_ns.wrapping_sub(since);
        true
    }
}
