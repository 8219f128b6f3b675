//! What /proc and /sys say, read under a root that a test can lay out itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A machine's /proc and /sys.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The one that this process runs on.
    #[must_use]
    pub fn real() -> Self {
        Self::at("/")
    }

    /// One whose files lie under `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text without the white space around it; `None` if it is not there or not for us.
    pub(super) fn read(&self, path: impl AsRef<str>) -> Option<String> {
        let text = std::fs::read_to_string(self.path(path.as_ref())).ok()?;
        Some(text.trim().to_owned())
    }

    /// A file that holds one number.
    pub(super) fn number(&self, path: impl AsRef<str>) -> Option<i64> {
        self.read(path)?.parse().ok()
    }

    /// Names in a directory, sorted.
    pub(super) fn list(&self, path: impl AsRef<str>) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path.as_ref())) else {
            return Vec::new();
        };
        let name = |e: std::io::Result<std::fs::DirEntry>| e.ok()?.file_name().into_string().ok();
        let names: BTreeSet<String> = entries.filter_map(name).collect();
        names.into_iter().collect()
    }

    /// Whether something is there.
    pub(super) fn has(&self, path: impl AsRef<str>) -> bool {
        self.path(path.as_ref()).exists()
    }

    /// Where a path leads when every link is followed.
    pub(super) fn resolve(&self, path: impl AsRef<str>) -> Option<PathBuf> {
        let real = std::fs::canonicalize(self.path(path.as_ref())).ok()?;
        let root = std::fs::canonicalize(&self.root).ok()?;
        Some(Path::new("/").join(real.strip_prefix(root).ok()?))
    }

    /// Cores that run now.
    pub(super) fn online(&self) -> BTreeSet<usize> {
        let text = self.read("/sys/devices/system/cpu/online");
        parse_list(&text.unwrap_or_default())
    }

    /// A word `key=value` of the kernel's command line.
    pub(super) fn boot_option(&self, key: &str) -> Option<String> {
        let line = self.read("/proc/cmdline")?;
        let value = |word: &str| Some(word.strip_prefix(key)?.strip_prefix('=')?.to_owned());
        line.split_whitespace().find_map(value)
    }
}

/// A kernel list such as `0-3,8`. Words among the numbers, as in `managed_irq,domain,2-5`, are passed over.
pub(super) fn parse_list(text: &str) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    for part in text.trim().split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(low), Ok(high)) = (low.parse::<usize>(), high.parse::<usize>())
            && high < 1 << 16
        {
            all.extend(low..=high);
        }
    }
    all
}

/// The same list, written as the kernel does.
pub(super) fn show_list<'a>(cores: impl IntoIterator<Item = &'a usize>) -> String {
    let sorted: BTreeSet<usize> = cores.into_iter().copied().collect();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for core in sorted {
        match runs.last_mut() {
            Some((_, high)) if *high + 1 == core => *high = core,
            _ => runs.push((core, core)),
        }
    }
    let run = |(low, high): &(usize, usize)| match high - low {
        0 => low.to_string(),
        _ => format!("{low}-{high}"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// The word in brackets of a choice such as `always [madvise] never`.
pub(super) fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

/// Bytes of the line `key:  123 kB` of /proc/meminfo or a status file.
pub(super) fn kib_line(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// A size for people, in the largest unit that leaves three digits.
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = ((bytes.max(1).ilog2() / 10) as usize).min(units.len() - 1);
    let tenths = (u128::from(bytes) * 10) >> (10 * step);
    match step {
        0 => format!("{bytes} B"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, units[step]),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Machine, chosen, kib_line, parse_list, show_list, size};

    /// A machine with these files.
    pub(in crate::machine::doctor) fn fake(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let machine = Machine::at(dir.path());
        (dir, machine)
    }

    #[test]
    fn kernel_lists_are_read_and_written() {
        for (text, want) in [
            ("0-3,8\n", &[0, 1, 2, 3, 8][..]),
            ("1", &[1]),
            ("", &[]),
            ("(null)", &[]),
            ("managed_irq,domain,2-3", &[2, 3]),
            ("5-4", &[]),
            ("0-99999999999", &[]),
        ] {
            let list: Vec<usize> = parse_list(text).into_iter().collect();
            assert_eq!(list, want, "{text}");
        }
        assert_eq!(show_list(&[8, 0, 1, 2]), "0-2,8");
        assert_eq!(show_list(&[]), "");
        assert_eq!(show_list(&[4, 5]), "4-5");
    }

    #[test]
    fn choices_sizes_and_options_are_read() {
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("none"), None);
        let meminfo = "MemTotal:       24684092 kB\nMemAvailable:   22961832 kB\n";
        assert_eq!(kib_line(meminfo, "MemAvailable"), Some(22_961_832 << 10));
        assert_eq!(kib_line(meminfo, "MemFree"), None);
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (2 << 30, "2.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        let (_dir, machine) = fake(&[("/proc/cmdline", "quiet rcu_nocbs=2-3 isolcpus=2\n")]);
        assert_eq!(machine.boot_option("rcu_nocbs").as_deref(), Some("2-3"));
        assert_eq!(machine.boot_option("rcu"), None);
    }
}
