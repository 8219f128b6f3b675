//! Clocks: what a reading costs, and whether the wall clock is right.

use super::machine::Machine;
use super::{Check, Finding};

const SOURCE: Check = Check::new(
    "clocksource",
    "each request reads the clock several times: 20 ns with the TSC, a microsecond and a system call with HPET or ACPI",
);
const TSC: Check = Check::new(
    "tsc",
    "a counter that changes speed or stops in idle states cannot tell the time",
);
const SYNC: Check = Check::new(
    "time sync",
    "oracle reports, logins and expiries are judged by the wall clock",
);

/// Larger errors of the wall clock are a problem: oracle reports are refused when they are seconds off, us.
const ERROR_MAX_US: i64 = 100_000;

/// What the kernel knows of the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimeState {
    is_synced: bool,
    max_error_us: i64,
}

/// Asks the kernel; `None` where it does not tell.
pub(super) fn time_state() -> Option<TimeState> {
    // SAFETY: needed because no safe wrapper is at hand. Sound because all-zero is a valid `timex`, of which no mode
    // bit is set, so the call only fills it in.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    (state >= 0).then_some(TimeState {
        is_synced: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        max_error_us: timex.maxerror,
    })
}

pub(super) fn findings(machine: &Machine, time: Option<TimeState>) -> Vec<Finding> {
    let cpuinfo = machine.read("/proc/cpuinfo").unwrap_or_default();
    vec![source(machine), tsc(&cpuinfo), sync(time)]
}

fn source(machine: &Machine) -> Finding {
    let dir = "/sys/devices/system/clocksource/clocksource0";
    let Some(now) = machine.read(format!("{dir}/current_clocksource")) else {
        return SOURCE.unknown("the system does not show it");
    };
    let has_tsc = machine
        .read(format!("{dir}/available_clocksource"))
        .is_some_and(|all| all.split_whitespace().any(|s| s == "tsc"));
    let mend = if has_tsc {
        format!("echo tsc | sudo tee {dir}/current_clocksource")
    } else {
        "add to the kernel's command line: tsc=reliable clocksource=tsc\nsudo update-grub && sudo reboot".into()
    };
    match now.as_str() {
        "tsc" | "arch_sys_counter" => SOURCE.ok(now),
        // Read without a system call too, but with more steps than the TSC.
        "kvm-clock" | "hyperv_clocksource_tsc_page" => SOURCE.advice(now, mend),
        _ => SOURCE.problem(now, mend),
    }
}

fn tsc(cpuinfo: &str) -> Finding {
    let Some(flags) = super::cores::flags(cpuinfo) else {
        return TSC.unknown("/proc/cpuinfo has no flags of an x86 processor");
    };
    let wanted = ["constant_tsc", "nonstop_tsc"];
    let lost: Vec<_> = wanted.into_iter().filter(|w| !flags.contains(w)).collect();
    if lost.is_empty() {
        TSC.ok("invariant")
    } else {
        TSC.advice(
            format!("without {}", lost.join(", ")),
            "nothing to be set: the kernel's clock is used, at some nanoseconds more a reading",
        )
    }
}

fn sync(time: Option<TimeState>) -> Finding {
    let mend = "sudo apt-get install chrony && sudo systemctl enable --now chrony";
    match time {
        None => SYNC.unknown("the kernel does not tell"),
        Some(t) if !t.is_synced => SYNC.problem("not synchronised", mend),
        Some(t) if t.max_error_us > ERROR_MAX_US => SYNC.problem(
            format!("synchronised, but may be {} ms off", t.max_error_us / 1000),
            mend,
        ),
        Some(t) => SYNC.ok(format!("synchronised, within {} us", t.max_error_us)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::machine::tests::fake;
    use super::{TimeState, source, sync, tsc};

    #[test]
    fn only_the_counter_itself_is_a_good_clocksource() {
        for (now, available, level, mend) in [
            ("tsc", "tsc kvm-clock acpi_pm", Level::Ok, ""),
            (
                "kvm-clock",
                "kvm-clock tsc acpi_pm",
                Level::Advice,
                "echo tsc",
            ),
            ("hpet", "hpet acpi_pm", Level::Problem, "clocksource=tsc"),
        ] {
            let dir = "/sys/devices/system/clocksource/clocksource0";
            let (_dir, machine) = fake(&[
                (&format!("{dir}/current_clocksource"), now),
                (&format!("{dir}/available_clocksource"), available),
            ]);
            let f = source(&machine);
            assert_eq!((f.level, f.found.as_str()), (level, now));
            assert!(f.mend.unwrap_or_default().contains(mend));
        }
        assert_eq!(source(&fake(&[]).1).level, Level::Unknown);
    }

    #[test]
    fn a_counter_that_stops_is_named() {
        let f = tsc("flags : tsc constant_tsc\n");
        assert_eq!(
            (f.level, f.found.as_str()),
            (Level::Advice, "without nonstop_tsc")
        );
        assert_eq!(tsc("flags : constant_tsc nonstop_tsc\n").level, Level::Ok);
        assert_eq!(tsc("CPU implementer : 0x41\n").level, Level::Unknown);
    }

    #[test]
    fn a_wall_clock_that_nobody_keeps_is_a_problem() {
        let at = |is_synced, max_error_us| {
            sync(Some(TimeState {
                is_synced,
                max_error_us,
            }))
        };
        assert_eq!(at(true, 500).found, "synchronised, within 500 us");
        assert_eq!(at(true, 200_000).level, Level::Problem);
        assert_eq!(at(false, 500).level, Level::Problem);
        assert_eq!(sync(None).level, Level::Unknown);
    }
}
