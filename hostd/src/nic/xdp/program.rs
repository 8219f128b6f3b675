//! The filter: a BPF program of a few dozen instructions, put together here, that the kernel runs on each frame of
//! an interface. Datagrams to our sockets go to the tile, everything else goes on to the kernel.
//!
//! ```text
//! IPv4 in Ethernet, behind one VLAN tag or none?      no: to the kernel
//! UDP, no later fragment, one of our addresses
//!   and that address' port?                           no: to the kernel
//! a socket on this queue?                             no: to the kernel
//! to the tile
//! ```
//!
//! It looks only at what says whose a datagram is. One for us that is broken goes to the tile too, which counts why.
//! ARP, ICMP and every other port stay with the kernel.
//!
//! Loaded by bpf(2), attached by a link: when the process ends, however it ends, the kernel takes the program off.

use super::XdpError;
use crate::nic::Endpoint;
use bytemuck::{Pod, Zeroable};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const ETHERNET: i16 = 14;
const TAG: i32 = 4;
const IPV4_LEN: i32 = 20;
const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_VLAN: [u8; 2] = [0x81, 0x00];
const UDP: i32 = 17;
const OFFSET_MASK: [u8; 2] = [0x1f, 0xff];

/// Verdict that hands a frame to the kernel.
const XDP_PASS: i32 = 2;
/// The helper that hands it to a socket.
const REDIRECT_MAP: i32 = 51;

/// One instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
struct Insn {
    code: u8,
    /// Destination in the low half, source in the high.
    regs: u8,
    off: i16,
    imm: i32,
}

// Operations, as in the kernel's bpf.h.
const LOAD_U8: u8 = 0x71;
const LOAD_U16: u8 = 0x69;
const LOAD_U32: u8 = 0x61;
const LOAD_IMM64: u8 = 0x18;
const MOVE: u8 = 0xbf;
const MOVE_IMM: u8 = 0xb7;
const ADD: u8 = 0x0f;
const ADD_IMM: u8 = 0x07;
const AND_IMM: u8 = 0x57;
const SHIFT_LEFT_IMM: u8 = 0x67;
const JUMP: u8 = 0x05;
const JUMP_IF_GREATER: u8 = 0x2d;
const JUMP_IF_GREATER_IMM: u8 = 0x25;
const JUMP_IF_EQUAL_IMM: u8 = 0x15;
const JUMP_IF_NOT_EQUAL_IMM: u8 = 0x55;
const JUMP_IF_NOT_EQUAL_IMM32: u8 = 0x56;
const JUMP_IF_ANY_BIT_IMM: u8 = 0x45;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// In the place of the source: the number is a map's descriptor.
const A_MAP: u8 = 1;

// Registers: the verdict, arguments, and what a call leaves alone.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const ADDRESS: u8 = 4;
const WORK: u8 = 5;
const CONTEXT: u8 = 6;
const FRAME: u8 = 7;
const END: u8 = 8;

/// Where a jump goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Label {
    Ipv4,
    HasLength,
    /// The socket of this number.
    Socket(usize),
    Redirect,
    Pass,
}

/// A program in the making.
#[derive(Default)]
struct Code {
    insns: Vec<Insn>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Code {
    fn op(&mut self, code: u8, to: u8, from: u8, off: i16, imm: i32) {
        let regs = to | from << 4;
        self.insns.push(Insn {
            code,
            regs,
            off,
            imm,
        });
    }

    fn load(&mut self, code: u8, to: u8, from: u8, off: i16) {
        self.op(code, to, from, off, 0);
    }

    fn set(&mut self, code: u8, to: u8, imm: i32) {
        self.op(code, to, 0, 0, imm);
    }

    fn jump(&mut self, code: u8, left: u8, right: u8, imm: i32, label: Label) {
        self.jumps.push((self.insns.len(), label));
        self.op(code, left, right, 0, imm);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.insns.len()));
    }

    /// Passes the frame on unless it has `len` bytes from `FRAME` on.
    fn need(&mut self, len: i32) {
        self.op(MOVE, R1, FRAME, 0, 0);
        self.set(ADD_IMM, R1, len);
        self.jump(JUMP_IF_GREATER, R1, END, 0, Label::Pass);
    }

    fn finish(mut self) -> Vec<Insn> {
        for (at, label) in self.jumps {
            let found = self.labels.iter().find(|(l, _)| *l == label);
            let target = found.expect("every label is set").1;
            self.insns[at].off = (target - at - 1) as i16;
        }
        self.insns
    }
}

/// Bytes of the cable as a load puts them into a register.
fn word(bytes: [u8; 2]) -> i32 {
    u16::from_ne_bytes(bytes).into()
}

/// The program for these sockets.
fn assemble(sockets: &[Endpoint], map: RawFd) -> Vec<Insn> {
    let mut c = Code::default();
    c.op(MOVE, CONTEXT, R1, 0, 0);
    // Where the frame begins and ends.
    c.load(LOAD_U32, FRAME, CONTEXT, 0);
    c.load(LOAD_U32, END, CONTEXT, 4);
    c.need(i32::from(ETHERNET) + IPV4_LEN);
    c.load(LOAD_U16, WORK, FRAME, 12);
    c.jump(JUMP_IF_EQUAL_IMM, WORK, 0, word(TYPE_IPV4), Label::Ipv4);
    c.jump(JUMP_IF_NOT_EQUAL_IMM, WORK, 0, word(TYPE_VLAN), Label::Pass);
    c.set(ADD_IMM, FRAME, TAG);
    c.need(i32::from(ETHERNET) + IPV4_LEN);
    c.load(LOAD_U16, WORK, FRAME, 12);
    c.jump(JUMP_IF_NOT_EQUAL_IMM, WORK, 0, word(TYPE_IPV4), Label::Pass);

    c.label(Label::Ipv4);
    c.load(LOAD_U8, WORK, FRAME, ETHERNET + 9);
    c.jump(JUMP_IF_NOT_EQUAL_IMM, WORK, 0, UDP, Label::Pass);
    // A later fragment has no ports; the first of its datagram is enough to be counted.
    c.load(LOAD_U16, WORK, FRAME, ETHERNET + 6);
    c.jump(JUMP_IF_ANY_BIT_IMM, WORK, 0, word(OFFSET_MASK), Label::Pass);
    c.load(LOAD_U32, ADDRESS, FRAME, ETHERNET + 16);
    // The ports are behind the options. A header shorter than any is taken for one without.
    c.load(LOAD_U8, WORK, FRAME, ETHERNET);
    c.set(AND_IMM, WORK, 0x0f);
    c.jump(JUMP_IF_GREATER_IMM, WORK, 0, 5, Label::HasLength);
    c.set(MOVE_IMM, WORK, 5);
    c.label(Label::HasLength);
    c.set(SHIFT_LEFT_IMM, WORK, 2);
    c.op(ADD, FRAME, WORK, 0, 0);
    c.need(i32::from(ETHERNET) + 4);
    c.load(LOAD_U16, WORK, FRAME, ETHERNET + 2);
    for (i, socket) in sockets.iter().enumerate() {
        c.label(Label::Socket(i));
        let next = if i + 1 < sockets.len() {
            Label::Socket(i + 1)
        } else {
            Label::Pass
        };
        let address = i32::from_ne_bytes(socket.ip().octets());
        let port = word(socket.port().to_be_bytes());
        c.jump(JUMP_IF_NOT_EQUAL_IMM32, ADDRESS, 0, address, next);
        c.jump(JUMP_IF_EQUAL_IMM, WORK, 0, port, Label::Redirect);
    }
    c.jump(JUMP, 0, 0, 0, Label::Pass);

    c.label(Label::Redirect);
    // rx_queue_index of the context.
    c.load(LOAD_U32, R2, CONTEXT, 16);
    c.op(LOAD_IMM64, R1, A_MAP, 0, map);
    c.op(0, 0, 0, 0, 0);
    c.set(MOVE_IMM, R3, XDP_PASS);
    c.op(CALL, 0, 0, 0, REDIRECT_MAP);
    c.op(EXIT, 0, 0, 0, 0);

    c.label(Label::Pass);
    c.set(MOVE_IMM, R0, XDP_PASS);
    c.op(EXIT, 0, 0, 0, 0);
    c.finish()
}

/// Where in the kernel the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hook {
    /// In the driver, before the kernel makes anything of a frame.
    Native,
    /// Behind the driver: works with any.
    Generic,
}

/// The program on an interface, until this is dropped or the process ends.
pub(super) struct Filter {
    map: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

// Calls and kinds of bpf(2).
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const MAP_OF_SOCKETS: u32 = 17;
const PROGRAM_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const FLAG_GENERIC: u32 = 1 << 1;
const FLAG_NATIVE: u32 = 1 << 2;
const LOG_BYTES: usize = 1 << 16;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner_map: u32,
    numa_node: u32,
    name: [u8; 16],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MapUpdate {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach: u32,
    flags: u32,
}

/// Shown by `bpftool`.
const NAME: [u8; 16] = *b"deltabox_filter\0";

/// # Safety
/// Addresses in `attr` must lead to what the call reads or writes there, for as long as it runs.
unsafe fn bpf<T: Pod>(call: libc::c_long, attr: &T) -> io::Result<i64> {
    // SAFETY: the kernel reads `attr` and no more of it than its size; the rest is our caller's promise.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            call,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

fn owned(fd: i64) -> OwnedFd {
    // SAFETY: bpf(2) has just made it for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

impl Filter {
    /// Puts the program for `sockets` on an interface, with room for so many queues.
    pub(super) fn attach(
        ifindex: u32,
        sockets: &[Endpoint],
        queues: u32,
        hook: Hook,
    ) -> Result<Self, XdpError> {
        let fail = |op| move |source| XdpError::Program { op, source };
        let attr = MapCreate {
            kind: MAP_OF_SOCKETS,
            key_size: 4,
            value_size: 4,
            max_entries: queues,
            name: NAME,
            ..Zeroable::zeroed()
        };
        // SAFETY: there are no addresses in it.
        let map =
            owned(unsafe { bpf(MAP_CREATE, &attr) }.map_err(fail("make the map of sockets"))?);
        let program = load(&assemble(sockets, map.as_raw_fd()))?;
        let attr = LinkCreate {
            program: program.as_raw_fd() as u32,
            ifindex,
            attach: ATTACH_XDP,
            flags: match hook {
                Hook::Native => FLAG_NATIVE,
                Hook::Generic => FLAG_GENERIC,
            },
        };
        // SAFETY: there are no addresses in it.
        let link = owned(unsafe { bpf(LINK_CREATE, &attr) }.map_err(fail("attach the program"))?);
        Ok(Self {
            map,
            _program: program,
            _link: link,
        })
    }

    /// Has the datagrams of a queue go to a socket.
    pub(super) fn serve(&self, queue: u32, socket: RawFd) -> Result<(), XdpError> {
        let attr = MapUpdate {
            map: self.map.as_raw_fd() as u32,
            pad: 0,
            key: std::ptr::from_ref(&queue) as u64,
            value: std::ptr::from_ref(&socket) as u64,
            flags: 0,
        };
        // SAFETY: key and value are 4 bytes each, as the map was made, and live here.
        unsafe { bpf(MAP_UPDATE, &attr) }.map_err(|source| XdpError::Program {
            op: "give the program its socket",
            source,
        })?;
        Ok(())
    }
}

fn load(insns: &[Insn]) -> Result<OwnedFd, XdpError> {
    let mut log = vec![0_u8; LOG_BYTES];
    // The helper that we call is free to all, whatever their licence.
    let license = c"Apache-2.0";
    let mut attr = ProgLoad {
        kind: PROGRAM_XDP,
        count: insns.len() as u32,
        insns: insns.as_ptr() as u64,
        license: license.as_ptr() as u64,
        name: NAME,
        attach: ATTACH_XDP,
        ..Zeroable::zeroed()
    };
    // SAFETY: instructions and licence live here, and there is no log.
    let first = unsafe { bpf(PROG_LOAD, &attr) };
    let refused = match first {
        Ok(fd) => return Ok(owned(fd)),
        Err(source) if source.raw_os_error() == Some(libc::EPERM) => {
            return Err(XdpError::Program {
                op: "load the program",
                source,
            });
        }
        Err(source) => source,
    };
    (attr.log, attr.log_size, attr.log_level) = (log.as_mut_ptr() as u64, LOG_BYTES as u32, 1);
    // SAFETY: as before, and the log has the size that it is said to have.
    if let Ok(fd) = unsafe { bpf(PROG_LOAD, &attr) } {
        return Ok(owned(fd));
    }
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<_> = text.trim_end_matches('\0').trim_end().lines().collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(XdpError::Refused {
        source: refused,
        log: last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn sockets(ports: &[u16]) -> Vec<Endpoint> {
        let at = |p: &u16| Endpoint::new(Ipv4Addr::new(10, 77, 0, 1), *p);
        ports.iter().map(at).collect()
    }

    /// Instructions that can be reached, each with every jump inside the program and forward.
    #[test]
    fn every_jump_leads_forward_into_the_program() {
        for count in 1..=8 {
            let ports: Vec<u16> = (1..=count).collect();
            let insns = assemble(&sockets(&ports), 3);
            for (at, insn) in insns.iter().enumerate() {
                let is_jump =
                    matches!(insn.code & 0x07, 5 | 6) && ![CALL, EXIT].contains(&insn.code);
                if is_jump {
                    let target = at as i64 + 1 + i64::from(insn.off);
                    assert!(insn.off >= 0 && target < insns.len() as i64);
                }
            }
            assert_eq!(insns.last().map(|i| i.code), Some(EXIT));
            assert!(insns.len() < 100, "a few dozen");
        }
    }

    /// A machine for the instructions that we use: what the kernel will do, so that the filter can be tried on any
    /// frame, without rights.
    fn run(insns: &[Insn], frame: &[u8]) -> &'static str {
        const BASE: u64 = 0x1000;
        const CONTEXT_AT: u64 = 0x10;
        let mut r = [0_u64; 11];
        r[1] = CONTEXT_AT;
        let mut at = 0;
        loop {
            let i = insns[at];
            at += 1;
            let (to, from) = (usize::from(i.regs & 15), usize::from(i.regs >> 4));
            let imm = i.imm as i64 as u64;
            let bytes = |len: usize, address: u64| -> &[u8] {
                let start = (address - BASE) as usize;
                assert!(start + len <= frame.len(), "reads beyond the frame");
                &frame[start..start + len]
            };
            let address = r[from].wrapping_add(i.off as u64);
            let mut goes = false;
            match i.code {
                LOAD_U32 if r[from] == CONTEXT_AT => {
                    r[to] = match i.off {
                        0 => BASE,
                        4 => BASE + frame.len() as u64,
                        16 => 0,
                        other => panic!("context at {other}"),
                    }
                }
                LOAD_U8 => r[to] = bytes(1, address)[0].into(),
                LOAD_U16 => {
                    r[to] = u16::from_ne_bytes(bytes(2, address).try_into().unwrap()).into();
                }
                LOAD_U32 => {
                    r[to] = u32::from_ne_bytes(bytes(4, address).try_into().unwrap()).into();
                }
                LOAD_IMM64 => at += 1,
                MOVE => r[to] = r[from],
                MOVE_IMM => r[to] = imm,
                ADD => r[to] = r[to].wrapping_add(r[from]),
                ADD_IMM => r[to] = r[to].wrapping_add(imm),
                AND_IMM => r[to] &= imm,
                SHIFT_LEFT_IMM => r[to] <<= imm,
                JUMP => goes = true,
                JUMP_IF_GREATER => goes = r[to] > r[from],
                JUMP_IF_GREATER_IMM => goes = r[to] > imm,
                JUMP_IF_EQUAL_IMM => goes = r[to] == imm,
                JUMP_IF_NOT_EQUAL_IMM => goes = r[to] != imm,
                JUMP_IF_NOT_EQUAL_IMM32 => goes = r[to] as u32 != i.imm as u32,
                JUMP_IF_ANY_BIT_IMM => goes = r[to] & imm != 0,
                CALL => return "tile",
                EXIT => {
                    assert_eq!(r[0], XDP_PASS as u64);
                    return "kernel";
                }
                other => panic!("{other:#x}"),
            }
            if goes {
                at += usize::try_from(i.off).unwrap();
            }
        }
    }

    /// What the filter takes: our datagrams, also broken ones. The frame has every field at its place.
    #[test]
    fn it_takes_what_is_ours_and_nothing_else() {
        use firmware::wire::frame::{FRAME_MAX, Mac, Station, UdpHead, build_udp};
        let insns = assemble(&sockets(&[4000, 4001, 0xfff0]), 3);
        let build = |port: u16, vlan: Option<u16>| {
            let mut out = [0; FRAME_MAX];
            let mac = Mac([2, 0, 0, 0, 0, 1]);
            let head = UdpHead {
                to_mac: mac,
                from: Endpoint::new(Ipv4Addr::new(10, 77, 0, 2), 9),
                to: Endpoint::new(Ipv4Addr::new(10, 77, 0, 1), port),
                id: 0,
                ttl: 1,
            };
            let len = build_udp(&Station { mac, vlan }, &head, b"x", &mut out);
            out[..len].to_vec()
        };
        let set = |at: usize, to: &[u8]| {
            let mut frame = build(4000, None);
            frame[at..at + to.len()].copy_from_slice(to);
            frame
        };
        // Five words of options in front of the ports.
        let mut options = build(4000, None);
        options[14] = 0x4a;
        let ports: Vec<u8> = options.drain(34..38).collect();
        options.splice(34..34, [&[1; 20][..], &ports].concat());
        let table = [
            ("a datagram", build(4000, None), "tile"),
            ("on the second port", build(4001, None), "tile"),
            ("on the last port", build(0xfff0, None), "tile"),
            ("tagged", build(4000, Some(7)), "tile"),
            ("another port", build(4002, None), "kernel"),
            ("another address", set(33, &[2]), "kernel"),
            ("TCP", set(23, &[6]), "kernel"),
            ("ARP", set(12, &[8, 6]), "kernel"),
            ("IPv6", set(12, &[0x86, 0xdd]), "kernel"),
            ("a wrong checksum", set(24, &[0, 0]), "tile"),
            ("a wrong total length", set(16, &[0xff, 0xff]), "tile"),
            ("a wrong UDP length", set(38, &[0, 0]), "tile"),
            ("the first fragment", set(20, &[0x20, 0]), "tile"),
            ("a later fragment", set(20, &[0x20, 1]), "kernel"),
            ("a late fragment", set(20, &[0x01, 0]), "kernel"),
            ("a header too short to be one", set(14, &[0x41]), "tile"),
            ("options", options, "tile"),
            ("version 6", set(14, &[0x65]), "tile"),
            ("another station's", set(0, &[2, 9]), "tile"),
        ];
        for (what, frame, want) in &table {
            assert_eq!(run(&insns, frame), *want, "{what}");
            for len in 0..frame.len() {
                // Cut anywhere: never read beyond the end.
                run(&insns, &frame[..len]);
            }
        }
        assert_eq!(run(&insns, &build(4000, None)[..37]), "kernel");
        assert_eq!(run(&insns, &build(4000, None)[..38]), "tile");
    }
}
