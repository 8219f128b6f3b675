//! Memory that is there before it is needed: every page faulted in, the large ones together, and locked.
//!
//! A page that the kernel only promises, or has taken away, costs its next user a fault in the middle of trading:
//! a microsecond when it is only missing, a disk read when it was swapped out.

use crate::capacity::resident_bytes;
use crate::machine::doctor::IPC_LOCK;
use crate::machine::log;
use anyhow::bail;
use rustix::mm::{Advice, MlockAllFlags, madvise, mlockall};
use rustix::process::{Resource, getrlimit};
use serde::Deserialize;
use std::ffi::c_void;
use std::ops::Range;

/// `[memory]`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Whether memory is locked, so that none of it is ever taken away.
    pub lock: Lock,
    /// Whether large arrays are put into huge pages.
    pub huge_pages: HugePages,
}

/// `memory.lock`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lock {
    /// Locked where the process may; else it runs without, and says so.
    #[default]
    Auto,
    /// Locked, or the box does not start.
    On,
    /// Not locked.
    Off,
}

/// `memory.huge_pages`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HugePages {
    /// As far as the kernel has them.
    #[default]
    Auto,
    /// Never: all pages are small.
    Off,
}

/// Bytes of a huge page, of those that the kernel puts together by itself.
const HUGE: usize = 2 << 20;
/// Mappings from this size on are worth huge pages: stacks of threads are smaller.
const LARGE: usize = 2 * HUGE;
/// `MADV_COLLAPSE`, which puts pages together now instead of some time (Linux 6.1).
const COLLAPSE: i32 = 25;

/// Faults in what this process has mapped by now, asks for huge pages and locks it all, as configured; then logs what
/// was got. Call it when everything that runs has been started, and before it is needed.
///
/// # Errors
/// If memory is to be locked and cannot be: the reason, and what allows it.
pub fn settle(config: &Memory) -> anyhow::Result<()> {
    let mut note = String::from("locked");
    prefault(config.huge_pages);
    if config.lock == Lock::Off {
        note = "not locked: memory.lock is off".into();
    } else if let Err(e) = lock() {
        let why = format!(
            "{e}: needs CAP_IPC_LOCK or a larger limit (systemd: LimitMEMLOCK=infinity; in a shell: ulimit -l unlimited)"
        );
        if config.lock == Lock::On {
            bail!("memory.lock = \"on\": {why}");
        }
        note = format!("not locked: {why}");
    }
    log::event(
        "memory",
        &[
            ("resident_bytes", &resident_bytes()),
            (
                "huge_page_bytes",
                &kib_of("/proc/self/smaps_rollup", "AnonHugePages:"),
            ),
            ("note", &note),
        ],
    );
    Ok(())
}

/// Locks all there is. What is mapped later is locked as soon as it is touched (it belongs to slow threads, which need
/// not have it in full), unless a limit stands: beyond it the system would refuse the memory itself.
fn lock() -> rustix::io::Result<()> {
    mlockall(MlockAllFlags::CURRENT)?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if IPC_LOCK.is_in(&status) || getrlimit(Resource::Memlock).current.is_none() {
        mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    }
    Ok(())
}

/// Faults in every page that is the process's own, and those of its program, which it only reads.
fn prefault(huge_pages: HugePages) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for Mapping { range, kind } in maps.lines().filter_map(parse) {
        // Each step is a wish: what the kernel does not grant is faulted in later, as without it. A mapping may be
        // gone by now, too.
        match kind {
            Kind::Data => {
                if huge_pages == HugePages::Auto && range.len() >= LARGE {
                    let whole = range.start.next_multiple_of(HUGE)..range.end / HUGE * HUGE;
                    let _ = advise(&whole, Advice::LinuxHugepage);
                    let _ = advise(&range, Advice::LinuxPopulateWrite);
                    collapse(&whole);
                } else {
                    let _ = advise(&range, Advice::LinuxPopulateWrite);
                }
            }
            Kind::Program => drop(advise(&range, Advice::LinuxPopulateRead)),
        }
    }
}

fn advise(range: &Range<usize>, advice: Advice) -> rustix::io::Result<()> {
    // SAFETY: needed because advice can throw memory away. Sound because the advices used here do not: they change
    // which pages hold the contents, and when.
    unsafe { madvise(range.start as *mut c_void, range.len(), advice) }
}

/// Puts small pages that are there already together. One call for all: each call makes every core hand in what it holds
/// back, and a piece that cannot be (it is pinned for a device) does not keep the others small.
fn collapse(whole: &Range<usize>) {
    // SAFETY: needed because rustix does not know this advice. Sound because contents stay as they are.
    unsafe { libc::madvise(whole.start as *mut c_void, whole.len(), COLLAPSE) };
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Mapping {
    range: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The process's own, to be written.
    Data,
    /// Of a file, to be read or run.
    Program,
}

/// A line of /proc/self/maps, if it is memory to be faulted in: what is shared with a device or the kernel is not.
fn parse(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?.as_bytes();
    let inode: u64 = words.nth(2)?.parse().ok()?;
    let kind = match rights {
        [b'r', b'w', _, b'p'] => Kind::Data,
        [b'r', b'-', _, b'p'] if inode > 0 => Kind::Program,
        _ => return None,
    };
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(Mapping {
        range: address(start)?..address(end)?,
        kind,
    })
}

/// Bytes of a line such as `VmLck:  123 kB`; zero where the system does not tell.
fn kib_of(path: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    let kib = line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::{HugePages, Kind, Mapping, Memory, parse, prefault};

    #[test]
    fn only_own_data_and_the_program_are_faulted_in() {
        let data = |range| {
            Some(Mapping {
                range,
                kind: Kind::Data,
            })
        };
        let program = |range| {
            Some(Mapping {
                range,
                kind: Kind::Program,
            })
        };
        for (line, want) in [
            ("7f00-7f20 rw-p 00000000 00:00 0 ", data(0x7f00..0x7f20)),
            (
                "5500-5600 rw-p 00000000 00:00 0    [heap]",
                data(0x5500..0x5600),
            ),
            (
                "5400-5500 rw-p 00012000 fe:00 1234 /usr/bin/hostd",
                data(0x5400..0x5500),
            ),
            (
                "5000-5100 r-xp 00001000 fe:00 1234 /usr/bin/hostd",
                program(0x5000..0x5100),
            ),
            (
                "5100-5200 r--p 00001000 fe:00 1234 /usr/bin/a name",
                program(0x5100..0x5200),
            ),
            (
                "7e00-7e10 rw-s 10000000 00:0e 77 anon_inode:[io_uring]",
                None,
            ),
            ("7d00-7d10 ---p 00000000 00:00 0 ", None),
            ("7ffc-7ffd r--p 00000000 00:00 0 [vvar]", None),
            ("", None),
        ] {
            assert_eq!(parse(line), want, "{line}");
        }
    }

    /// Page faults of this thread.
    fn faults() -> i64 {
        // SAFETY: all-zero is a valid `rusage`, which the call fills in.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
            usage.ru_minflt + usage.ru_majflt
        }
    }

    fn touch(room: &mut Vec<u8>) -> i64 {
        let before = faults();
        for page in room.spare_capacity_mut().iter_mut().step_by(4096) {
            page.write(1);
        }
        faults() - before
    }

    #[test]
    fn promised_memory_is_there_after_settling_in_either_kind_of_page() {
        // Above malloc's largest threshold for pages of an allocation's own: no other test's memory comes again.
        const LEN: usize = 64 << 20;
        // Shown to count: without it, pages are faulted in one by one or by larger pieces.
        assert!(touch(&mut Vec::with_capacity(LEN)) > 0);
        for huge_pages in [HugePages::Off, HugePages::Auto] {
            let mut room = Vec::with_capacity(LEN);
            prefault(huge_pages);
            assert_eq!(touch(&mut room), 0, "{huge_pages:?}");
        }
    }

    #[test]
    fn keys_that_do_not_exist_are_refused() {
        let parsed: Memory = toml::from_str("lock = \"on\"").unwrap();
        assert_eq!(
            (parsed.lock, parsed.huge_pages),
            (super::Lock::On, HugePages::Auto)
        );
        assert!(toml::from_str::<Memory>("lock = true").is_err());
        assert!(toml::from_str::<Memory>("huge = \"off\"").is_err());
    }
}
