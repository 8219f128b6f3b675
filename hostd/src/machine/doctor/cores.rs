//! Cores: speed, sleep, and who else runs there.

use super::machine::{Machine, parse_list, show_list};
use super::{Check, Finding};
use std::collections::BTreeSet;

const CORES: Check = Check::new(
    "hot cores",
    "a hot tile that moves between cores loses its caches, and one whose core it may not use does not start",
);
const GOVERNOR: Check = Check::new(
    "governor",
    "a core that has slowed down takes up to milliseconds to come back to speed",
);
const TURBO: Check = Check::new(
    "turbo",
    "with turbo a core is faster, but how much hangs on its neighbours and on heat: switch it off to compare figures",
);
const IDLE: Check = Check::new(
    "idle states",
    "a core in a deep idle state wakes late: the state's exit time is added to the first packet after a pause",
);
const ISOLATION: Check = Check::new(
    "isolcpus",
    "on a core that is not isolated the scheduler runs other threads, and each takes milliseconds",
);
const NOHZ: Check = Check::new(
    "nohz_full",
    "the scheduler's tick interrupts a hot core up to a thousand times a second, some microseconds each",
);
const RCU: Check = Check::new(
    "rcu_nocbs",
    "the kernel's deferred work runs on hot cores unless it is moved to others",
);
const SMT: Check = Check::new(
    "smt siblings",
    "two threads of one core share its caches and units: work on the sibling slows the hot tile by a third and more",
);
const NUMA_BALANCING: Check = Check::new(
    "numa balancing",
    "the kernel unmaps pages to see who uses them, and each costs the hot tile a fault",
);
const WATCHDOG: Check = Check::new(
    "nmi watchdog",
    "it interrupts each core regularly and takes a performance counter",
);
const FEATURES: Check = Check::new(
    "instructions",
    "without AES and carry-less multiplication a datagram's tag costs ten times as much; CRC32C wants SSE 4.2",
);

const CPU: &str = "/sys/devices/system/cpu";
/// An idle state that takes longer to leave shows in a round trip, us.
const EXIT_MAX_US: i64 = 10;

pub(super) fn findings(machine: &Machine, hot: &[usize]) -> Vec<Finding> {
    let online = machine.online();
    let status = machine.read("/proc/self/status").unwrap_or_default();
    // Which cores to look at one by one: all of them while none is chosen.
    let looked: BTreeSet<usize> = match hot {
        [] => online.clone(),
        _ => hot.iter().copied().filter(|c| online.contains(c)).collect(),
    };
    let mut all = vec![
        cores(hot, &online, &status),
        governor(machine, &looked),
        turbo(machine),
        idle(machine, &looked),
    ];
    if !hot.is_empty() {
        all.extend(isolation(machine, hot));
        all.push(smt(machine, hot));
    }
    all.push(watchdog(machine));
    all.extend(numa_balancing(machine));
    all.push(features(&machine.read("/proc/cpuinfo").unwrap_or_default()));
    all
}

fn cores(hot: &[usize], online: &BTreeSet<usize>, status: &str) -> Finding {
    let allowed = (status.lines()).find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    let allowed = allowed.map_or_else(|| online.clone(), parse_list);
    if hot.is_empty() {
        let found = format!("none chosen; {} cores run", online.len());
        return CORES.advice(found, "choose a core for each hot tile in [topology]");
    }
    let lost: Vec<_> = hot.iter().filter(|c| !allowed.contains(c)).collect();
    if !lost.is_empty() {
        let found = format!(
            "{}: not among the cores that this process may use, {}",
            show_list(lost),
            show_list(&allowed)
        );
        return CORES.problem(
            found,
            "choose others in [topology], or widen the cpuset (systemd: AllowedCPUs=)",
        );
    }
    if allowed.iter().all(|c| hot.contains(c)) {
        let found = format!("{}: every core of this process", show_list(hot));
        return CORES.advice(
            found,
            "leave at least one core to the journal, the kernel and everything else",
        );
    }
    CORES.ok(show_list(hot))
}

fn governor(machine: &Machine, looked: &BTreeSet<usize>) -> Finding {
    let of = |core: &usize| machine.read(format!("{CPU}/cpu{core}/cpufreq/scaling_governor"));
    let governors: BTreeSet<String> = looked.iter().filter_map(of).collect();
    let found = governors.iter().cloned().collect::<Vec<_>>().join(", ");
    match found.as_str() {
        "" => {
            GOVERNOR.unknown("the system does not show one: the hypervisor or the firmware decides")
        }
        "performance" => GOVERNOR.ok(found),
        _ => GOVERNOR.advice(
            found,
            format!("echo performance | sudo tee {CPU}/cpu*/cpufreq/scaling_governor"),
        ),
    }
}

fn turbo(machine: &Machine) -> Finding {
    let intel = machine.number(format!("{CPU}/intel_pstate/no_turbo"));
    let other = machine.number(format!("{CPU}/cpufreq/boost"));
    match (intel, other) {
        (Some(0), _) | (None, Some(1)) => TURBO.ok("on"),
        (Some(_), _) | (None, Some(_)) => TURBO.ok("off"),
        (None, None) => TURBO.unknown("the system does not show it"),
    }
}

fn idle(machine: &Machine, looked: &BTreeSet<usize>) -> Finding {
    let mut seen = false;
    let mut deepest: Option<(i64, String)> = None;
    for core in looked {
        let dir = format!("{CPU}/cpu{core}/cpuidle");
        for state in machine.list(&dir) {
            let at = format!("{dir}/{state}");
            let (Some(name), Some(exit_us)) = (
                machine.read(format!("{at}/name")),
                machine.number(format!("{at}/latency")),
            ) else {
                continue;
            };
            seen = true;
            if machine.number(format!("{at}/disable")) != Some(1) {
                deepest = deepest.max(Some((exit_us, name)));
            }
        }
    }
    match deepest {
        None if seen => IDLE.ok("all off"),
        None => IDLE.unknown("the system does not show them"),
        Some((exit_us, name)) => {
            let found = format!("deepest in use: {name}, {exit_us} us to wake");
            if exit_us <= EXIT_MAX_US {
                IDLE.ok(found)
            } else {
                IDLE.advice(found, format!("sudo cpupower idle-set -D {EXIT_MAX_US}"))
            }
        }
    }
}

fn isolation(machine: &Machine, hot: &[usize]) -> [Finding; 3] {
    let list = show_list(hot);
    let kernel_option = |words: String| {
        format!("add to the kernel's command line: {words}\nsudo update-grub && sudo reboot")
    };
    let covers = |check: &Check, text: Option<String>, words: String| {
        let cores = parse_list(text.as_deref().unwrap_or_default());
        if hot.iter().all(|c| cores.contains(c)) {
            check.ok(show_list(&cores))
        } else if cores.is_empty() {
            check.advice("none", kernel_option(words))
        } else {
            check.advice(
                format!("{}, but not all of {list}", show_list(&cores)),
                kernel_option(words),
            )
        }
    };
    [
        covers(
            &ISOLATION,
            machine.read(format!("{CPU}/isolated")),
            format!("isolcpus=managed_irq,domain,{list}"),
        ),
        covers(
            &NOHZ,
            machine.read(format!("{CPU}/nohz_full")),
            format!("nohz_full={list}"),
        ),
        covers(
            &RCU,
            machine.boot_option("rcu_nocbs"),
            format!("rcu_nocbs={list}"),
        ),
    ]
}

fn smt(machine: &Machine, hot: &[usize]) -> Finding {
    let mut shared = BTreeSet::new();
    for core in hot {
        let text = machine.read(format!("{CPU}/cpu{core}/topology/thread_siblings_list"));
        let Some(text) = text else {
            return SMT.unknown("the system does not show them");
        };
        shared.extend(parse_list(&text).into_iter().filter(|s| s != core));
    }
    if shared.is_empty() {
        return SMT.ok("none");
    }
    SMT.advice(
        format!("{} beside {}", show_list(&shared), show_list(hot)),
        format!("echo off | sudo tee {CPU}/smt/control"),
    )
}

fn watchdog(machine: &Machine) -> Finding {
    match machine.number("/proc/sys/kernel/nmi_watchdog") {
        Some(0) => WATCHDOG.ok("off"),
        Some(_) => WATCHDOG.advice("on", "sudo sysctl -w kernel.nmi_watchdog=0"),
        None => WATCHDOG.ok("this kernel has none"),
    }
}

fn numa_balancing(machine: &Machine) -> Option<Finding> {
    let nodes = machine.list("/sys/devices/system/node");
    let count = nodes
        .iter()
        .filter(|n| {
            n.strip_prefix("node")
                .is_some_and(|n| n.parse::<u32>().is_ok())
        })
        .count();
    (count > 1).then(|| match machine.number("/proc/sys/kernel/numa_balancing") {
        Some(0) | None => NUMA_BALANCING.ok(format!("off, {count} nodes")),
        Some(_) => NUMA_BALANCING.advice(
            format!("on, {count} nodes"),
            "sudo sysctl -w kernel.numa_balancing=0",
        ),
    })
}

fn features(cpuinfo: &str) -> Finding {
    let Some(flags) = flags(cpuinfo) else {
        return FEATURES.unknown("/proc/cpuinfo has no flags of an x86 processor");
    };
    let wanted = ["aes", "pclmulqdq", "sse4_2"];
    let lost: Vec<_> = wanted.into_iter().filter(|w| !flags.contains(w)).collect();
    if lost.is_empty() {
        FEATURES.ok(wanted.join(", "))
    } else {
        FEATURES.problem(
            format!("without {}", lost.join(", ")),
            "use a processor, or a virtual machine's CPU model (as host-passthrough), that has them",
        )
    }
}

/// Flags of the first processor in /proc/cpuinfo.
pub(super) fn flags(cpuinfo: &str) -> Option<BTreeSet<&str>> {
    let line = cpuinfo.lines().find(|l| l.starts_with("flags"))?;
    Some(line.split_once(':')?.1.split_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::super::machine::tests::fake;
    use super::super::{Finding, Level};
    use super::{features, findings};

    fn by_name<'a>(all: &'a [Finding], name: &str) -> &'a Finding {
        all.iter().find(|f| f.name == name).unwrap()
    }

    /// An untuned server: two sockets' worth of habits on four cores, SMT on.
    fn server(hot: &[usize]) -> Vec<Finding> {
        let mut files: Vec<(String, String)> = [
            ("/sys/devices/system/cpu/online", "0-3\n"),
            ("/sys/devices/system/cpu/isolated", "\n"),
            ("/sys/devices/system/cpu/nohz_full", "  (null)\n"),
            ("/sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
            ("/sys/devices/system/node/node0/cpulist", "0-1\n"),
            ("/sys/devices/system/node/node1/cpulist", "2-3\n"),
            ("/proc/sys/kernel/numa_balancing", "1\n"),
            ("/proc/sys/kernel/nmi_watchdog", "1\n"),
            (
                "/proc/cmdline",
                "BOOT_IMAGE=/vmlinuz root=/dev/sda1 quiet rcu_nocbs=3\n",
            ),
            (
                "/proc/self/status",
                "Name:\thostd\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n",
            ),
            (
                "/proc/cpuinfo",
                "processor\t: 0\nflags\t\t: fpu sse4_2 aes pclmulqdq constant_tsc\n",
            ),
        ]
        .map(|(a, b)| (a.into(), b.into()))
        .into();
        for core in 0..4 {
            let dir = format!("/sys/devices/system/cpu/cpu{core}");
            files.push((
                format!("{dir}/cpufreq/scaling_governor"),
                "powersave\n".into(),
            ));
            let siblings = format!("{}-{}\n", core / 2 * 2, core / 2 * 2 + 1);
            files.push((format!("{dir}/topology/thread_siblings_list"), siblings));
            for (state, name, latency, disable) in
                [(0, "POLL", 0, 0), (1, "C1", 2, 0), (2, "C6", 133, core / 3)]
            {
                let at = format!("{dir}/cpuidle/state{state}");
                files.push((format!("{at}/name"), format!("{name}\n")));
                files.push((format!("{at}/latency"), format!("{latency}\n")));
                files.push((format!("{at}/disable"), format!("{disable}\n")));
            }
        }
        let files: Vec<_> = files
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        let (_dir, machine) = fake(&files);
        findings(&machine, hot)
    }

    #[test]
    fn an_untuned_server_is_told_what_to_do() {
        let all = server(&[2]);
        for (name, level, found, mend) in [
            ("governor", Level::Advice, "powersave", "scaling_governor"),
            (
                "idle states",
                Level::Advice,
                "deepest in use: C6, 133 us to wake",
                "idle-set -D 10",
            ),
            (
                "isolcpus",
                Level::Advice,
                "none",
                "isolcpus=managed_irq,domain,2",
            ),
            ("nohz_full", Level::Advice, "none", "nohz_full=2"),
            (
                "rcu_nocbs",
                Level::Advice,
                "3, but not all of 2",
                "rcu_nocbs=2",
            ),
            ("smt siblings", Level::Advice, "3 beside 2", "smt/control"),
            ("nmi watchdog", Level::Advice, "on", "nmi_watchdog=0"),
            (
                "numa balancing",
                Level::Advice,
                "on, 2 nodes",
                "numa_balancing=0",
            ),
        ] {
            let f = by_name(&all, name);
            assert_eq!((f.level, f.found.as_str()), (level, found), "{name}");
            assert!(f.mend.as_ref().unwrap().contains(mend), "{f:?}");
        }
        for (name, found) in [
            ("hot cores", "2"),
            ("turbo", "on"),
            ("instructions", "aes, pclmulqdq, sse4_2"),
        ] {
            let f = by_name(&all, name);
            assert_eq!((f.level, f.found.as_str()), (Level::Ok, found), "{name}");
        }
    }

    #[test]
    fn a_core_is_judged_by_itself() {
        let all = server(&[3]);
        assert_eq!(
            by_name(&all, "idle states").found,
            "deepest in use: C1, 2 us to wake"
        );
        assert_eq!(by_name(&all, "rcu_nocbs").level, Level::Ok);
    }

    #[test]
    fn cores_that_cannot_be_had_are_a_problem_and_all_of_them_too_many() {
        assert_eq!(by_name(&server(&[2, 9]), "hot cores").level, Level::Problem);
        assert_eq!(
            by_name(&server(&[0, 1, 2, 3]), "hot cores").level,
            Level::Advice
        );
        let none = server(&[]);
        assert_eq!(by_name(&none, "hot cores").level, Level::Advice);
        assert!(!none.iter().any(|f| f.name == "isolcpus"));
    }

    #[test]
    fn what_a_virtual_machine_hides_is_unknown() {
        let (_dir, machine) = fake(&[("/sys/devices/system/cpu/online", "0-1\n")]);
        let all = findings(&machine, &[1]);
        for name in [
            "governor",
            "turbo",
            "idle states",
            "smt siblings",
            "instructions",
        ] {
            assert_eq!(by_name(&all, name).level, Level::Unknown, "{name}");
        }
    }

    #[test]
    fn a_processor_without_aes_is_a_problem() {
        let f = features("flags\t\t: fpu sse4_2 pclmulqdq\n");
        assert_eq!((f.level, f.found.as_str()), (Level::Problem, "without aes"));
    }
}
