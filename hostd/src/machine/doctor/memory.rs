//! Memory: whether it is enough, whether it stays, and in which pages it comes.

use super::limits::{IPC_LOCK, limit};
use super::machine::{Machine, chosen, kib_line, size};
use super::{Check, Finding, Subject};
use crate::config::Backend;

const MEMORY: Check = Check::new(
    "memory",
    "all of it is taken at the start for the configured capacity: without it the box does not start, or swaps",
);
const LOCK: Check = Check::new(
    "memlock",
    "memory that is not locked can be taken away, and comes back as a fault in the middle of trading",
);
const SWAP: Check = Check::new(
    "swap",
    "a page that was written to swap takes a disk read to come back",
);
const HUGE: Check = Check::new(
    "huge pages",
    "books of a million orders miss the address cache at nearly each cancel with pages of 4 KiB",
);
const DEFRAG: Check = Check::new(
    "thp defrag",
    "with `always` any thread that takes memory may stall while the kernel moves pages together",
);
const POOL: Check = Check::new(
    "huge page pool",
    "DPDK takes its memory from here; the other backends do not use it",
);
const MERGING: Check = Check::new(
    "page merging",
    "pages that the kernel has merged cost a fault when they are written",
);

/// Rings of NIC and journal count against the limit too: with less they cannot be made.
const RINGS_MIN: u64 = 4 << 20;

const THP: &str = "/sys/kernel/mm/transparent_hugepage";

pub(super) fn findings(machine: &Machine, subject: &Subject) -> Vec<Finding> {
    let meminfo = machine.read("/proc/meminfo").unwrap_or_default();
    let status = machine.read("/proc/self/status").unwrap_or_default();
    let limits = machine.read("/proc/self/limits").unwrap_or_default();
    let need = subject.memory_bytes;
    let mut all = vec![
        memory(need, &meminfo),
        lock(need, subject.must_lock, &status, &limits),
        swap(&machine.read("/proc/swaps").unwrap_or_default()),
        huge(machine.read(format!("{THP}/enabled")).as_deref()),
        pool(&meminfo, subject.backend),
    ];
    let defrag = machine.read(format!("{THP}/defrag"));
    all.extend(defrag.as_deref().map(defragmentation));
    all.extend(machine.number("/sys/kernel/mm/ksm/run").map(merging));
    all
}

fn memory(need: u64, meminfo: &str) -> Finding {
    let Some(free) = kib_line(meminfo, "MemAvailable") else {
        return MEMORY.unknown(format!("needs about {}", size(need)));
    };
    let found = format!("needs about {}, {} available", size(need), size(free));
    if need > free {
        MEMORY.problem(found, "lower [capacity], or give the machine more memory")
    } else if need > free / 4 * 3 {
        MEMORY.advice(
            found,
            "leave a quarter to the page cache and everything else",
        )
    } else {
        MEMORY.ok(found)
    }
}

fn lock(need: u64, must_lock: bool, status: &str, limits: &str) -> Finding {
    if IPC_LOCK.is_in(status) {
        return LOCK.ok("no limit for this process");
    }
    match limit(limits, "Max locked memory") {
        None => LOCK.unknown("the system does not show the limit"),
        Some((u64::MAX, _)) => LOCK.ok("no limit"),
        Some((soft, _)) => {
            let found = format!("up to {}; needs about {}", size(soft), size(need));
            let mend = "systemd: LimitMEMLOCK=infinity; in a shell: ulimit -l unlimited";
            if soft < RINGS_MIN || must_lock && soft < need {
                LOCK.problem(found, mend)
            } else {
                LOCK.advice(found, mend)
            }
        }
    }
}

fn swap(swaps: &str) -> Finding {
    let used: Vec<_> = swaps
        .lines()
        .skip(1)
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    if used.is_empty() {
        SWAP.ok("none")
    } else {
        SWAP.advice(used.join(", "), "sudo swapoff -a")
    }
}

fn huge(enabled: Option<&str>) -> Finding {
    match enabled.and_then(chosen) {
        Some(mode @ ("madvise" | "always")) => HUGE.ok(mode),
        Some(mode) => HUGE.advice(mode, format!("echo madvise | sudo tee {THP}/enabled")),
        None => HUGE.unknown("this kernel has no transparent huge pages"),
    }
}

fn defragmentation(text: &str) -> Finding {
    match chosen(text) {
        Some("always") => DEFRAG.advice("always", format!("echo madvise | sudo tee {THP}/defrag")),
        Some(mode) => DEFRAG.ok(mode),
        None => DEFRAG.unknown(text),
    }
}

fn pool(meminfo: &str, backend: Backend) -> Finding {
    let count = |key: &str| {
        let rest = meminfo
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        rest.and_then(|r| r.trim().parse::<u64>().ok())
    };
    match (
        count("HugePages_Total"),
        count("HugePages_Free"),
        kib_line(meminfo, "Hugepagesize"),
    ) {
        (Some(total), Some(free), Some(each)) => {
            let found = format!("{total} of {}, {free} free", size(each));
            if backend == Backend::Dpdk && free == 0 {
                let mend = "echo 512 | sudo tee /proc/sys/vm/nr_hugepages\nor --no-huge among the arguments in [net.dpdk], which costs address-translation misses";
                return POOL.advice(found, mend);
            }
            POOL.ok(found)
        }
        _ => POOL.ok("this kernel has none"),
    }
}

fn merging(run: i64) -> Finding {
    match run {
        1 => MERGING.advice("on", "echo 2 | sudo tee /sys/kernel/mm/ksm/run"),
        _ => MERGING.ok("off"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::tests::fake;
    use super::super::{Level, Subject};
    use super::{findings, lock, memory, pool};
    use crate::config::Backend;

    #[test]
    fn too_little_memory_is_a_problem_and_scarce_memory_an_advice() {
        let available =
            |mib: u64| format!("MemTotal: 99999999 kB\nMemAvailable:   {} kB\n", mib << 10);
        for (mib, level) in [
            (1500, Level::Problem),
            (2500, Level::Advice),
            (4000, Level::Ok),
        ] {
            let f = memory(2 << 30, &available(mib));
            assert_eq!(f.level, level, "{f:?}");
        }
        assert_eq!(memory(1, "").level, Level::Unknown);
        let f = memory(2 << 30, &available(4096));
        assert_eq!(f.found, "needs about 2.0 GiB, 4.0 GiB available");
    }

    #[test]
    fn a_limit_is_a_problem_when_something_will_fail_for_it() {
        let level = |soft: u64, must_lock| {
            let limits = format!("Max locked memory         {soft}   {soft}   bytes\n");
            lock(1 << 30, must_lock, "CapEff:\t0\n", &limits).level
        };
        assert_eq!(level(8 << 20, false), Level::Advice);
        assert_eq!(level(8 << 20, true), Level::Problem);
        assert_eq!(level(2 << 30, true), Level::Advice);
        assert_eq!(level(64 << 10, false), Level::Problem);
        assert_eq!(lock(1, true, "CapEff:\t4000\n", "").level, Level::Ok);
    }

    #[test]
    fn an_empty_pool_matters_to_dpdk_only() {
        let meminfo =
            "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n";
        assert_eq!(pool(meminfo, Backend::Dpdk).level, Level::Advice);
        assert_eq!(pool(meminfo, Backend::Xdp).level, Level::Ok);
        assert_eq!(pool("", Backend::Dpdk).level, Level::Ok);
    }

    #[test]
    fn an_untuned_machine_gets_a_line_for_each_habit() {
        let (_dir, machine) = fake(&[
            (
                "/proc/meminfo",
                "MemAvailable: 24684092 kB\nHugePages_Total:      64\nHugePages_Free:       60\nHugepagesize:       2048 kB\n",
            ),
            (
                "/proc/swaps",
                "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/zram0                              partition\t1048572\t\t0\t\t-2\n",
            ),
            ("/proc/self/status", "CapEff:\t0000000000000000\n"),
            (
                "/proc/self/limits",
                "Max locked memory         8388608              8388608              bytes     \n",
            ),
            (
                "/sys/kernel/mm/transparent_hugepage/enabled",
                "always madvise [never]\n",
            ),
            (
                "/sys/kernel/mm/transparent_hugepage/defrag",
                "[always] defer defer+madvise madvise never\n",
            ),
            ("/sys/kernel/mm/ksm/run", "1\n"),
        ]);
        let subject = Subject {
            memory_bytes: 2 << 30,
            ..Subject::any()
        };
        let all = findings(&machine, &subject);
        let found: Vec<_> = all.iter().map(|f| (f.name, f.level)).collect();
        let want = [
            ("memory", Level::Ok),
            ("memlock", Level::Advice),
            ("swap", Level::Advice),
            ("huge pages", Level::Advice),
            ("huge page pool", Level::Ok),
            ("thp defrag", Level::Advice),
            ("page merging", Level::Advice),
        ];
        assert_eq!(found, want);
        assert_eq!(all[2].found, "/dev/zram0");
        assert_eq!(all[4].found, "64 of 2.0 MiB, 60 free");
    }
}
