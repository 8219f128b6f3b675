//! The kernel, and what it lets this process do.

use super::machine::{Machine, size};
use super::{Check, Finding, Subject};
use crate::config::Backend;
use crate::nic::SOCKET_BUFFER_BYTES;
use io_uring::IoUring;

const KERNEL: Check = Check::new(
    "kernel",
    "NIC and journal use io_uring with deferred task work, which Linux has since 6.1; busy polling of rings came with 6.9",
);
const URING: Check = Check::new(
    "io_uring",
    "journal and sockets go through it: without it the box does not start",
);
const RIGHTS: Check = Check::new(
    "capabilities",
    "the backend loads programs, opens raw queues or pins memory",
);
const PRIORITY: Check = Check::new(
    "priority",
    "on a core that others use too, a hot tile with higher priority waits for nobody",
);
const FILES: Check = Check::new(
    "open files",
    "segments, spool files, sockets and admin connections each take a descriptor",
);
const BUFFERS: Check = Check::new(
    "socket buffers",
    "what arrives while the hot tile is busy waits in the socket: a small one drops bursts",
);

/// Descriptors that a box with all its files open can use.
const FILES_MIN: u64 = 1024;

/// A right of a process: its name and its bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Capability(&'static str, u32);

const NET_ADMIN: Capability = Capability("CAP_NET_ADMIN", 12);
const NET_RAW: Capability = Capability("CAP_NET_RAW", 13);
pub(crate) const IPC_LOCK: Capability = Capability("CAP_IPC_LOCK", 14);
const SYS_NICE: Capability = Capability("CAP_SYS_NICE", 23);
const BPF: Capability = Capability("CAP_BPF", 39);

impl Capability {
    /// Whether the process with this /proc status has it.
    pub(crate) fn is_in(self, status: &str) -> bool {
        let mask = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
        let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok());
        mask.is_some_and(|m| m >> self.1 & 1 == 1)
    }
}

pub(super) fn findings(machine: &Machine, subject: &Subject) -> Vec<Finding> {
    let status = machine.read("/proc/self/status").unwrap_or_default();
    let limits = machine.read("/proc/self/limits").unwrap_or_default();
    let disabled = machine.number("/proc/sys/kernel/io_uring_disabled");
    vec![
        kernel(
            &machine
                .read("/proc/sys/kernel/osrelease")
                .unwrap_or_default(),
        ),
        uring(disabled, ring()),
        rights(subject.backend, &status),
        priority(&status, &limits),
        files(&limits),
        buffers(
            machine.number("/proc/sys/net/core/rmem_max"),
            machine.number("/proc/sys/net/core/wmem_max"),
            &status,
        ),
    ]
}

fn kernel(release: &str) -> Finding {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || parts.next()?.parse::<u32>().ok();
    let (Some(major), Some(minor)) = (number(), number()) else {
        return KERNEL.unknown(format!("release '{release}'"));
    };
    let update = "install a newer kernel, as linux-image-amd64 of the distribution's backports";
    match (major, minor) {
        (6, 9..) | (7.., _) => KERNEL.ok(release),
        (6, 1..) => KERNEL.advice(release, update),
        _ => KERNEL.problem(release, update),
    }
}

/// Makes a ring as the tiles do, and drops it.
fn ring() -> std::io::Result<()> {
    let ring: std::io::Result<IoUring> = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_r_disabled()
        .build(8);
    ring.map(drop)
}

fn uring(disabled: Option<i64>, ring: std::io::Result<()>) -> Finding {
    match (ring, disabled) {
        (Ok(()), _) => URING.ok("works"),
        (Err(e), Some(1 | 2)) => URING.problem(
            format!("switched off: {e}"),
            "sudo sysctl -w kernel.io_uring_disabled=0",
        ),
        (Err(e), _) => URING.problem(
            e.to_string(),
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp policy",
        ),
    }
}

/// Rights without which a backend does not open.
const fn needed(backend: Backend) -> &'static [Capability] {
    match backend {
        // What DPDK needs depends on the driver of the device, and that says what it lacks.
        Backend::Uring | Backend::Dpdk => &[],
        Backend::Xdp => &[NET_ADMIN, NET_RAW, BPF],
    }
}

fn rights(backend: Backend, status: &str) -> Finding {
    let names = |of: &[Capability], is_held| {
        let with = of.iter().filter(|c| c.is_in(status) == is_held);
        with.map(|c| c.0).collect::<Vec<_>>()
    };
    let needed = needed(backend);
    let lost = names(needed, false);
    if !lost.is_empty() {
        return RIGHTS.problem(
            format!("without {}", lost.join(", ")),
            format!("systemd: AmbientCapabilities={}", lost.join(" ")),
        );
    }
    let held = names(&[NET_ADMIN, NET_RAW, IPC_LOCK, SYS_NICE], true);
    let held = match held.as_slice() {
        [] => "none".into(),
        held => held.join(", "),
    };
    RIGHTS.ok(format!("all that is needed; of use: {held}"))
}

fn priority(status: &str, limits: &str) -> Finding {
    // Limit n allows nice values down to 20 - n.
    let nice = limit(limits, "Max nice priority").map_or(0, |(soft, _)| soft);
    if SYS_NICE.is_in(status) || nice >= 35 {
        PRIORITY.ok("tiles may raise theirs")
    } else {
        PRIORITY.advice("tiles run like any other process", "systemd: LimitNICE=-15")
    }
}

fn files(limits: &str) -> Finding {
    match limit(limits, "Max open files") {
        None => FILES.unknown("the system does not show the limit"),
        Some((soft, _)) if soft >= FILES_MIN => FILES.ok(format!("up to {soft}")),
        Some((soft, _)) => FILES.problem(
            format!("up to {soft}"),
            format!("systemd: LimitNOFILE={FILES_MIN}; in a shell: ulimit -n {FILES_MIN}"),
        ),
    }
}

fn buffers(rmem: Option<i64>, wmem: Option<i64>, status: &str) -> Finding {
    let want = SOCKET_BUFFER_BYTES as i64;
    if NET_ADMIN.is_in(status) {
        return BUFFERS.ok(format!(
            "{} each way, whatever the system's limit",
            size(want as u64)
        ));
    }
    let (Some(rmem), Some(wmem)) = (rmem, wmem) else {
        return BUFFERS.unknown("the system does not show the limits");
    };
    let found = format!("up to {} in, {} out", size(rmem as u64), size(wmem as u64));
    if rmem.min(wmem) >= want {
        return BUFFERS.ok(found);
    }
    BUFFERS.advice(
        found,
        format!("sudo sysctl -w net.core.rmem_max={want} net.core.wmem_max={want}"),
    )
}

/// Soft and hard value of a line of /proc/self/limits; no limit reads as the largest number.
pub(super) fn limit(limits: &str, name: &str) -> Option<(u64, u64)> {
    let rest = limits.lines().find_map(|l| l.strip_prefix(name))?;
    let mut words = rest.split_whitespace();
    let mut value = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    Some((value()?, value()?))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::{NET_ADMIN, SYS_NICE, buffers, files, kernel, limit, priority, rights, uring};
    use crate::config::Backend;
    use std::io::Error;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max open files            256                  524288               files     
Max locked memory         8388608              unlimited            bytes     
Max nice priority         0                    0                    
";
    const ROOT: &str = "Name:\thostd\nCapEff:\t000001ffffffffff\n";
    const USER: &str = "Name:\thostd\nCapEff:\t0000000000000000\n";

    #[test]
    fn releases_are_compared_by_number() {
        for (release, level) in [
            ("6.18.44-fc-v657", Level::Ok),
            ("6.9.0", Level::Ok),
            ("7.0.1-generic", Level::Ok),
            ("6.1.0-28-amd64", Level::Advice),
            ("5.15.0-91-generic", Level::Problem),
            ("plan9", Level::Unknown),
            ("", Level::Unknown),
        ] {
            assert_eq!(kernel(release).level, level, "{release}");
        }
    }

    #[test]
    fn limits_are_read_by_their_column() {
        assert_eq!(limit(LIMITS, "Max open files"), Some((256, 524_288)));
        assert_eq!(
            limit(LIMITS, "Max locked memory"),
            Some((8 << 20, u64::MAX))
        );
        assert_eq!(limit(LIMITS, "Max nice priority"), Some((0, 0)));
        assert_eq!(limit(LIMITS, "Max processes"), None);
        assert_eq!(files(LIMITS).level, Level::Problem);
        assert_eq!(files("").level, Level::Unknown);
    }

    #[test]
    fn rights_are_bits_of_the_effective_set() {
        assert!(SYS_NICE.is_in(ROOT) && !SYS_NICE.is_in(USER));
        assert!(NET_ADMIN.is_in("CapEff:\t0000000000001000\n"));
        assert!(!NET_ADMIN.is_in("CapPrm:\t0000000000001000\n"));
        assert_eq!(priority(ROOT, LIMITS).level, Level::Ok);
        assert_eq!(priority(USER, LIMITS).level, Level::Advice);
        assert_eq!(
            priority(USER, "Max nice priority   40   40\n").level,
            Level::Ok
        );
        let plain = rights(Backend::Uring, USER);
        assert_eq!(plain.level, Level::Ok);
        assert_eq!(plain.found, "all that is needed; of use: none");
        assert_eq!(rights(Backend::Xdp, ROOT).level, Level::Ok);
        let lost = rights(Backend::Xdp, USER);
        assert_eq!(lost.level, Level::Problem);
        assert!(
            lost.mend
                .unwrap()
                .ends_with("CAP_NET_ADMIN CAP_NET_RAW CAP_BPF")
        );
    }

    #[test]
    fn a_ring_that_is_refused_is_a_problem_with_its_cause() {
        let refused = || Err(Error::from_raw_os_error(libc::EPERM));
        let off = uring(Some(2), refused());
        assert_eq!(off.level, Level::Problem);
        assert!(off.mend.unwrap().contains("io_uring_disabled=0"));
        assert!(uring(Some(0), refused()).mend.unwrap().contains("seccomp"));
        assert_eq!(uring(None, Ok(())).level, Level::Ok);
    }

    #[test]
    fn small_socket_buffers_matter_only_without_the_right_to_exceed_them() {
        assert_eq!(buffers(Some(212_992), Some(212_992), ROOT).level, Level::Ok);
        let f = buffers(Some(212_992), Some(8 << 20), USER);
        assert_eq!(
            (f.level, f.found.as_str()),
            (Level::Advice, "up to 208.0 KiB in, 8.0 MiB out")
        );
        assert_eq!(buffers(Some(8 << 20), Some(8 << 20), USER).level, Level::Ok);
        assert_eq!(buffers(None, None, USER).level, Level::Unknown);
    }
}
