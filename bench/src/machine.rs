//! What a run ran on, as far as it bears on its figures.

use std::collections::BTreeMap;

fn read(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}

/// Name and value of each fact.
pub(crate) fn facts() -> BTreeMap<String, String> {
    let cpu = read("/proc/cpuinfo").unwrap_or_default();
    let line = |key: &str| {
        let value = cpu
            .lines()
            .find_map(|l| l.strip_prefix(key)?.split_once(':'));
        value.map(|(_, v)| v.trim().to_owned())
    };
    let is_guest = line("flags").is_some_and(|f| f.split(' ').any(|f| f == "hypervisor"));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let none = || "none".to_owned();
    let all = [
        (
            "cpu",
            line("model name").unwrap_or_else(|| "unknown".to_owned()),
        ),
        ("cores", cores.to_string()),
        (
            "kernel",
            read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        ),
        ("arch", std::env::consts::ARCH.to_owned()),
        (
            "virtual machine",
            if is_guest { "yes" } else { "no" }.to_owned(),
        ),
        (
            "governor",
            read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .unwrap_or_else(|| "not told".to_owned()),
        ),
        (
            "isolated cores",
            read("/sys/devices/system/cpu/isolated").unwrap_or_else(none),
        ),
        (
            "tickless cores",
            read("/sys/devices/system/cpu/nohz_full")
                .filter(|t| t != "(null)")
                .unwrap_or_else(none),
        ),
        (
            "clock source",
            read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                .unwrap_or_default(),
        ),
    ];
    all.map(|(k, v)| (k.to_owned(), v)).into()
}

/// The first core of each group of siblings, so that two of them never share one; all cores where the system does
/// not tell.
pub(crate) fn whole_cores() -> Vec<usize> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let leads = |core: &usize| {
        let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        let siblings = read(&path).unwrap_or_default();
        let first = siblings
            .split([',', '-'])
            .next()
            .and_then(|t| t.parse().ok());
        first.is_none_or(|first: usize| first == *core)
    };
    (0..count).filter(leads).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_named() {
        let facts = facts();
        for name in ["cpu", "cores", "kernel", "isolated cores", "clock source"] {
            assert!(facts.contains_key(name), "{name}");
        }
        assert!(!facts["kernel"].is_empty() && facts["cores"] != "0");
        assert!(!whole_cores().is_empty());
    }
}
