//! The register map, and the constants that RTL and firmware share: written into `hw/rtl/deltabox.svh` and the tables
//! of `hw/README.md`. A test fails when they are stale; `UPDATE=1` writes them anew.

use std::fmt::Write;

use firmware::reject::RejectCode;
use firmware::session::{PACKET_NO_MAX, SEQ_NO_MAX};
use firmware::tag::Suite;
use firmware::wire::datagram;
use firmware::wire::descriptor::{DropReason, HostReason, Verdict};
use firmware::wire::frame::FrameFault;
use firmware::wire::input::{InCancel, InMassCancel, InNewOrder, InReduce, InRefused, InReplace};
use firmware::wire::order::{
    Cancel, MassCancel, NewOrder, ReduceQty, Replace, TIF_FOK, TIF_GTD, TIF_IOC,
};
use firmware::wire::sbe::{Message, SCHEMA_ID};

/// What register 0 reads as: "DBX1".
pub const ID: u32 = 0x4442_5831;

/// A register.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    /// Name in the RTL.
    pub name: &'static str,
    /// Byte address.
    pub address: u16,
    /// `ro`, `rw` or `wo`.
    pub access: &'static str,
    /// One sentence.
    pub about: &'static str,
}

macro_rules! registers {
    ($($name:ident $address:literal $access:ident $about:literal;)+) => {
        $(#[doc = $about] pub const $name: u16 = $address;)+
        /// All registers.
        pub const REGISTERS: &[Register] = &[
            $(Register { name: stringify!($name), address: $address, access: stringify!($access), about: $about }),+
        ];
    };
}

registers! {
    REG_ID 0x000 ro "0x44425831, \"DBX1\".";
    REG_MAP 0x004 ro "Hash of this map and of the constants: a driver that was built for another one stops.";
    REG_CONTROL 0x008 rw "Bit 0: overloaded; what may add risk is refused.";
    REG_MAC_LOW 0x010 rw "Our MAC, first byte lowest: bytes 0 to 3.";
    REG_MAC_HIGH 0x014 rw "Bytes 4 and 5.";
    REG_VLAN 0x018 rw "Bit 31: all frames carry a tag; bits 0 to 11: its VLAN.";
    REG_IP 0x01c rw "Our IPv4 address, first byte lowest.";
    REG_PORT 0x020 rw "Our UDP port.";
    REG_STALL_CYCLES 0x024 ro "Cycles in which a word had to wait at the input; wraps.";
    REG_ROW 0x040 wo "Row for the next command: 16 words.";
    REG_COMMAND 0x080 wo "Bits 28 to 31: table; bits 0 to 27: place. Writes the row there.";
    REG_COUNTERS 0x400 ro "256 counters: frames by verdict (bits 8 and 9 of the address) and reason (bits 2 to 7); they wrap.";
}

/// Numbers of the tables in [`REG_COMMAND`].
pub const TABLES: &[(&str, u32, &str)] = &[
    (
        "TABLE_SESSION",
        TABLE_SESSION,
        "A session and all that is kept for it; place: the low bits of its connection id.",
    ),
    (
        "TABLE_FLOW",
        TABLE_FLOW,
        "Next request number and highest order id of a session, which is let go if it was held.",
    ),
    (
        "TABLE_ACCOUNT",
        TABLE_ACCOUNT,
        "Word 0: the member that trades for the account; zero: nobody.",
    ),
    (
        "TABLE_INSTRUMENT",
        TABLE_INSTRUMENT,
        "Step, band and limits of an instrument.",
    ),
];
/// A session and all that is kept for it.
pub const TABLE_SESSION: u32 = 1;
/// Next request number and highest order id.
pub const TABLE_FLOW: u32 = 2;
/// Member of an account.
pub const TABLE_ACCOUNT: u32 = 3;
/// An instrument.
pub const TABLE_INSTRUMENT: u32 = 4;

/// Names of the reasons to drop a datagram.
pub const DROPS: &[(&str, DropReason)] = &[
    ("SHORT", DropReason::Short),
    ("VERSION", DropReason::Version),
    ("KIND", DropReason::Kind),
    ("LENGTH", DropReason::Length),
    ("UNKNOWN_CONNECTION", DropReason::UnknownConnection),
    ("REPLAYED", DropReason::Replayed),
    ("TOO_OLD", DropReason::TooOld),
    ("KEYS_USED_UP", DropReason::KeysUsedUp),
    ("BAD_TAG", DropReason::BadTag),
    ("DUPLICATE", DropReason::Duplicate),
];

/// Names of the reasons to ask the host.
pub const HOSTS: &[(&str, HostReason)] = &[
    ("ARP", HostReason::Arp),
    ("LOGIN", HostReason::Login),
    ("SUITE", HostReason::Suite),
    ("HELD", HostReason::Held),
    ("REQUEST", HostReason::Request),
    ("SEQ_NO", HostReason::SeqNo),
];

/// `PriceOffTick` as `PRICE_OFF_TICK`.
fn upper(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

fn constants() -> String {
    let mut s = String::new();
    let mut line = |name: &str, bits: u32, value: u64| {
        let _ = writeln!(
            s,
            "localparam logic [{}:0] {name} = {bits}'d{value};",
            bits - 1
        );
    };
    line("ID", 32, u64::from(ID));
    for r in REGISTERS {
        line(r.name, 12, u64::from(r.address));
    }
    for (name, value, _) in TABLES {
        line(name, 4, u64::from(*value));
    }
    for (name, v) in [
        ("DROPPED", Verdict::Dropped),
        ("ADMITTED", Verdict::Admitted),
        ("REFUSED", Verdict::Refused),
        ("HOST", Verdict::Host),
    ] {
        line(&format!("VERDICT_{name}"), 2, v as u64);
    }
    for code in RejectCode::ALL {
        line(&format!("REJECT_{}", upper(code.name())), 8, *code as u64);
    }
    for f in FrameFault::ALL {
        line(&format!("FAULT_{}", f.name().to_uppercase()), 5, f as u64);
    }
    for (name, reason) in DROPS {
        line(&format!("DROP_{name}"), 8, *reason as u64);
    }
    for (name, reason) in HOSTS {
        line(&format!("HOST_{name}"), 8, *reason as u64);
    }
    let requests = [
        ("NEW_ORDER", NewOrder::HEADER, InNewOrder::TEMPLATE),
        ("REPLACE", Replace::HEADER, InReplace::TEMPLATE),
        ("REDUCE", ReduceQty::HEADER, InReduce::TEMPLATE),
        ("CANCEL", Cancel::HEADER, InCancel::TEMPLATE),
        ("MASS_CANCEL", MassCancel::HEADER, InMassCancel::TEMPLATE),
    ];
    for (name, header, record) in requests {
        line(
            &format!("TEMPLATE_{name}"),
            16,
            u64::from(header.template_id),
        );
        line(&format!("LEN_{name}"), 16, u64::from(header.block_length));
        line(&format!("RECORD_{name}"), 16, u64::from(record));
    }
    line("RECORD_REFUSED", 16, u64::from(InRefused::TEMPLATE));
    line("SCHEMA_ID", 16, u64::from(SCHEMA_ID));
    line("DATAGRAM_VERSION", 8, u64::from(datagram::VERSION));
    line("KIND_CONTROL", 8, u64::from(datagram::KIND_CONTROL));
    line("KIND_DATA", 8, u64::from(datagram::KIND_DATA));
    line("KIND_HEARTBEAT", 8, u64::from(datagram::KIND_HEARTBEAT));
    line("SUITE_NONE", 3, Suite::None as u64);
    line("SUITE_SIPHASH", 3, Suite::SipHash24 as u64);
    line("TIF_GTD", 8, u64::from(TIF_GTD));
    line("TIF_IOC", 8, u64::from(TIF_IOC));
    line("TIF_FOK", 8, u64::from(TIF_FOK));
    line("SECOND_NS", 32, 1_000_000_000);
    line("PACKET_NO_MAX", 64, PACKET_NO_MAX);
    line("SEQ_NO_MAX", 64, SEQ_NO_MAX);
    line("TYPE_VLAN", 16, 0x8100);
    line("TYPE_IPV4", 16, 0x0800);
    line("TYPE_ARP", 16, 0x0806);
    line("ARP_KINDS", 48, 0x0406_0008_0100);
    s
}

/// FNV-1a of the constants: [`REG_MAP`].
#[must_use]
pub fn map_version() -> u32 {
    constants().bytes().fold(0x811c_9dc5, |h, b| {
        (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
    })
}

/// `hw/rtl/deltabox.svh`.
#[must_use]
pub fn header() -> String {
    format!(
        "// Generated from hw/cosim/src/map.rs and the firmware crate: do not edit. UPDATE=1 cargo test -p cosim --test generated\n\
         // Each module uses some of them.\n\
         // verilator lint_off UNUSEDPARAM\n\
         {}localparam logic [31:0] MAP_VERSION = 32'h{:08x};\n\
         // verilator lint_on UNUSEDPARAM\n",
        constants(),
        map_version()
    )
}

/// The tables of `hw/README.md`.
#[must_use]
pub fn tables() -> String {
    let mut s = String::from("| Address | Register | | |\n|---|---|---|---|\n");
    for r in REGISTERS {
        let _ = writeln!(
            s,
            "| 0x{:03x} | {} | {} | {} |",
            r.address, r.name, r.access, r.about
        );
    }
    s.push_str("\n| Table | Number | Row |\n|---|---|---|\n");
    for (name, number, about) in TABLES {
        let _ = writeln!(s, "| {name} | {number} | {about} |");
    }
    s
}
