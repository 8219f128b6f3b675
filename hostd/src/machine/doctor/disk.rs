//! The journal's disk: what it is, and what a durable write costs on it.

use super::machine::{Machine, chosen, size};
use super::{Check, Depth, Finding, Subject};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SYSTEM: Check = Check::new(
    "journal file system",
    "what is reported durable must survive a power loss: a file system in memory, over a network, or without barriers does not keep that promise",
);
const DEVICE: Check = Check::new(
    "journal device",
    "a rotating disk needs milliseconds for each group commit",
);
const CACHE: Check = Check::new(
    "write cache",
    "with a volatile cache each group commit waits for a flush of the device; a drive with power-loss protection reports write through and needs none",
);
const SCHEDULER: Check = Check::new(
    "io scheduler",
    "one write is in flight: a scheduler that gathers and sorts only adds to it",
);
const DIRECT: Check = Check::new(
    "direct writes",
    "a buffered write can lose its error: the second fsync reports success for what is gone",
);
const FLUSH: Check = Check::new("flush latency", "every report waits for one group commit");
const SPACE: Check = Check::new(
    "journal space",
    "segments are made ahead of need; without space for the next one the box stops taking orders",
);

/// Fewer segments than this leave no time to react.
const SEGMENTS_MIN: u64 = 4;
const SEGMENTS_GOOD: u64 = 64;
/// Group commits slower than this show in every report, us.
const FLUSH_GOOD_US: u64 = 1_000;
const FLUSH_MAX_US: u64 = 10_000;
/// Timed writes, and how long they may take in all.
const WRITES: usize = 100;
const WRITES_TIME: Duration = Duration::from_millis(500);

pub(super) fn findings(machine: &Machine, subject: &Subject, depth: Depth) -> Vec<Finding> {
    let dir = existing(&subject.data_dir);
    let mountinfo = machine.read("/proc/self/mountinfo").unwrap_or_default();
    let mount = mount_of(&mountinfo, &dir);
    let mut all = vec![file_system(mount.as_ref(), &dir, subject.is_durable)];
    if let Some(queue) = mount.and_then(|m| queue_of(machine, &m.device)) {
        all.extend(device(machine, &queue));
    }
    all.extend(writes(&dir, depth));
    all.push(match rustix::fs::statvfs(&dir) {
        Ok(s) => space(s.f_bavail.saturating_mul(s.f_frsize), subject.segment_bytes),
        Err(e) => SPACE.unknown(e.to_string()),
    });
    all
}

/// The directory, or the closest one above it that is there.
fn existing(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let mut above = absolute
        .ancestors()
        .filter_map(|d| std::fs::canonicalize(d).ok());
    above.next().unwrap_or_else(|| PathBuf::from("/"))
}

/// A line of /proc/self/mountinfo.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mount {
    /// `major:minor`.
    device: String,
    kind: String,
    source: String,
    options: Vec<String>,
}

/// The mount that a path lies on: the one with the longest mount point; of equal ones the last covers the others.
fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mut best: Option<(usize, Mount)> = None;
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let before: Vec<_> = before.split(' ').collect();
        let after: Vec<_> = after.split(' ').collect();
        let (&[_, _, device, _, point, options, ..], &[kind, source, more, ..]) =
            (before.as_slice(), after.as_slice())
        else {
            continue;
        };
        // The kernel writes a blank in a path as \040.
        let point = point.replace("\\040", " ");
        let is_better = best.as_ref().is_none_or(|(len, _)| point.len() >= *len);
        if path.starts_with(&point) && is_better {
            let options = options.split(',').chain(more.split(','));
            let mount = Mount {
                device: device.into(),
                kind: kind.into(),
                source: source.into(),
                options: options.map(Into::into).collect(),
            };
            best = Some((point.len(), mount));
        }
    }
    best.map(|(_, mount)| mount)
}

fn file_system(mount: Option<&Mount>, dir: &Path, is_durable: bool) -> Finding {
    let Some(mount) = mount else {
        return SYSTEM.unknown("the system does not show its mounts");
    };
    let found = format!("{} on {}, for {}", mount.kind, mount.source, dir.display());
    let move_it = "set venue.data_dir to a directory on ext4 or XFS on a local drive";
    let has = |option: &str| mount.options.iter().any(|o| o == option);
    match mount.kind.as_str() {
        "tmpfs" | "ramfs" | "overlay" | "nfs" | "nfs4" | "cifs" | "9p" | "virtiofs" => {
            if is_durable {
                SYSTEM.problem(found, move_it)
            } else {
                SYSTEM.advice(found, move_it)
            }
        }
        _ if has("ro") => SYSTEM.problem(format!("{found}, read-only"), move_it),
        _ if has("nobarrier") || has("barrier=0") => SYSTEM.problem(
            format!("{found}, without barriers"),
            "mount it without nobarrier and barrier=0",
        ),
        "ext4" | "xfs" => SYSTEM.ok(found),
        // Copying on write, they cannot overwrite the zeros that a segment is made of.
        "btrfs" | "zfs" | "bcachefs" => SYSTEM.advice(found, move_it),
        _ => SYSTEM.ok(found),
    }
}

/// The directory of a block device in /sys that has its queue: a partition's is its drive's.
fn queue_of(machine: &Machine, device: &str) -> Option<String> {
    let at = machine.resolve(format!("/sys/dev/block/{device}"))?;
    let with_queue = at
        .ancestors()
        .take(2)
        .find(|d| machine.has(d.join("queue").to_string_lossy()));
    with_queue.map(|d| d.to_string_lossy().into_owned())
}

fn device(machine: &Machine, at: &str) -> Vec<Finding> {
    let name = at.rsplit('/').next().unwrap_or(at);
    let queue = format!("/sys/block/{name}/queue");
    let model = machine.read(format!("{at}/device/model"));
    let found = model.map_or_else(|| name.to_owned(), |m| format!("{name}, {m}"));
    let is_rotating = machine.number(format!("{at}/queue/rotational")) == Some(1);
    // A virtual disk says nothing true about the drive below it.
    let is_virtual = name.starts_with("vd") || name.starts_with("xvd");
    let mut all = vec![match is_rotating {
        true if !is_virtual => DEVICE.advice(
            format!("{found}, rotating"),
            "put the journal on a solid-state drive",
        ),
        true => DEVICE.ok(format!("{found}, virtual")),
        false => DEVICE.ok(found),
    }];
    all.push(match machine.read(format!("{at}/queue/write_cache")).as_deref() {
        Some("write through") => CACHE.ok("write through"),
        Some(cache) => CACHE.advice(
            cache,
            "use a drive with power-loss protection for the journal; never switch the flush off on one without",
        ),
        None => CACHE.unknown("the system does not show it"),
    });
    let scheduler = machine.read(format!("{at}/queue/scheduler"));
    all.push(match scheduler.as_deref().map(|s| chosen(s).unwrap_or(s)) {
        Some("none") => SCHEDULER.ok("none"),
        Some(scheduler) => {
            SCHEDULER.advice(scheduler, format!("echo none | sudo tee {queue}/scheduler"))
        }
        None => SCHEDULER.unknown("the system does not show it"),
    });
    all
}

/// Whether direct writes work and what durable ones cost, tried on a file without a name.
fn writes(dir: &Path, depth: Depth) -> Vec<Finding> {
    let open = |more| {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | more;
        rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)
    };
    let block: Box<journal::Block> = Box::new(bytemuck::Zeroable::zeroed());
    let direct = open(OFlags::DIRECT).and_then(|f| rustix::io::pwrite(&f, &block.0, 0).map(|_| f));
    let (file, direct) = match direct {
        Ok(file) => (Ok(file), DIRECT.ok("work")),
        Err(Errno::INVAL) => (
            open(OFlags::empty()),
            DIRECT.advice(
                "refused by the file system",
                "put the journal on ext4 or XFS",
            ),
        ),
        Err(e) => (Err(e), DIRECT.unknown(format!("cannot try: {e}"))),
    };
    let mut all = vec![direct];
    if depth == Depth::Full {
        all.push(match file.and_then(|f| time_writes(&f, &block)) {
            Ok(times) => flush(times),
            Err(e) => FLUSH.unknown(format!("cannot try: {e}")),
        });
    }
    all
}

/// Durations of durable writes of one block into space full of zeros, as the journal makes them, sorted.
fn time_writes(
    file: &rustix::fd::OwnedFd,
    block: &journal::Block,
) -> rustix::io::Result<Vec<Duration>> {
    for at in 0..WRITES as u64 {
        rustix::io::pwrite(file, &block.0, at * block.0.len() as u64)?;
    }
    rustix::fs::fsync(file)?;
    let begun = Instant::now();
    let mut times = Vec::with_capacity(WRITES);
    for at in 0..WRITES as u64 {
        let start = Instant::now();
        let at = at * block.0.len() as u64;
        rustix::io::pwritev2(file, &[IoSlice::new(&block.0)], at, ReadWriteFlags::DSYNC)?;
        times.push(start.elapsed());
        if begun.elapsed() > WRITES_TIME {
            break;
        }
    }
    times.sort_unstable();
    Ok(times)
}

fn flush(sorted: Vec<Duration>) -> Finding {
    let us = |t: Option<&Duration>| t.map_or(0, |t| t.as_micros() as u64);
    let (p50, worst) = (us(sorted.get(sorted.len() / 2)), us(sorted.last()));
    let found = format!("p50 {p50} us, worst {worst} us of {} writes", sorted.len());
    let mend = "use a local NVMe drive with power-loss protection for the journal";
    match p50 {
        ..FLUSH_GOOD_US => FLUSH.ok(found),
        FLUSH_GOOD_US..FLUSH_MAX_US => FLUSH.advice(found, mend),
        _ => FLUSH.problem(found, mend),
    }
}

fn space(free: u64, segment_bytes: u64) -> Finding {
    let segments = free / segment_bytes.max(1);
    let found = format!(
        "{} free, {segments} segments of {}",
        size(free),
        size(segment_bytes)
    );
    let mend = "make room, move venue.data_dir to a larger drive, or lower journal.segment_mib";
    match segments {
        ..SEGMENTS_MIN => SPACE.problem(found, mend),
        SEGMENTS_MIN..SEGMENTS_GOOD => SPACE.advice(found, mend),
        _ => SPACE.ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::machine::tests::fake;
    use super::{device, existing, file_system, flush, mount_of, queue_of, space};
    use std::path::Path;
    use std::time::Duration;

    const MOUNTS: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:25 / /dev/shm rw,nosuid shared:5 master:1 - tmpfs tmpfs rw,size=64k
31 27 259:2 / /srv/my\\040journal rw,noatime - xfs /dev/nvme0n1p2 rw,nobarrier
32 27 0:44 / /srv rw - btrfs /dev/sdb rw
";

    #[test]
    fn a_path_lies_on_the_deepest_mount_that_covers_it() {
        for (path, device, kind) in [
            ("/var/lib/hostd", "254:0", "ext4"),
            ("/dev/shm/run", "0:25", "tmpfs"),
            ("/srv/my journal/data", "259:2", "xfs"),
            ("/srv/other", "0:44", "btrfs"),
            ("/srvx", "254:0", "ext4"),
        ] {
            let mount = mount_of(MOUNTS, Path::new(path)).unwrap();
            assert_eq!(
                (mount.device.as_str(), mount.kind.as_str()),
                (device, kind),
                "{path}"
            );
        }
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn file_systems_that_forget_are_a_problem() {
        let level = |path: &str, is_durable| {
            let path = Path::new(path);
            file_system(mount_of(MOUNTS, path).as_ref(), path, is_durable).level
        };
        assert_eq!(level("/var", true), Level::Ok);
        assert_eq!(level("/dev/shm", true), Level::Problem);
        assert_eq!(level("/dev/shm", false), Level::Advice);
        assert_eq!(level("/srv", true), Level::Advice);
        // Without barriers.
        assert_eq!(level("/srv/my journal", true), Level::Problem);
        assert_eq!(
            file_system(None, Path::new("/"), true).level,
            Level::Unknown
        );
    }

    #[test]
    fn a_partition_is_judged_by_its_drive() {
        let (dir, machine) = fake(&[
            ("/sys/devices/nvme0n1/nvme0n1p2/partition", "2\n"),
            ("/sys/devices/nvme0n1/queue/rotational", "0\n"),
            ("/sys/devices/nvme0n1/queue/write_cache", "write back\n"),
            (
                "/sys/devices/nvme0n1/queue/scheduler",
                "none [mq-deadline] kyber bfq\n",
            ),
            (
                "/sys/devices/nvme0n1/device/model",
                "ACME DATACENTER 2TB                     \n",
            ),
        ]);
        std::fs::create_dir_all(dir.path().join("sys/dev/block")).unwrap();
        std::os::unix::fs::symlink(
            "../../devices/nvme0n1/nvme0n1p2",
            dir.path().join("sys/dev/block/259:2"),
        )
        .unwrap();
        let at = queue_of(&machine, "259:2").unwrap();
        assert_eq!(at, "/sys/devices/nvme0n1");
        let all = device(&machine, &at);
        let found: Vec<_> = all.iter().map(|f| (f.level, f.found.as_str())).collect();
        let want = [
            (Level::Ok, "nvme0n1, ACME DATACENTER 2TB"),
            (Level::Advice, "write back"),
            (Level::Advice, "mq-deadline"),
        ];
        assert_eq!(found, want);
        assert!(
            all[2]
                .mend
                .as_ref()
                .unwrap()
                .contains("/sys/block/nvme0n1/queue/scheduler")
        );
        assert_eq!(queue_of(&machine, "0:25"), None);
    }

    #[test]
    fn commits_and_space_have_three_grades() {
        let at = |us| flush(vec![Duration::from_micros(us); 3]);
        assert_eq!(at(120).found, "p50 120 us, worst 120 us of 3 writes");
        assert_eq!(
            [at(120), at(3_000), at(20_000)].map(|f| f.level),
            [Level::Ok, Level::Advice, Level::Problem]
        );
        let at = |segments: u64| space(segments << 26, 64 << 20).level;
        assert_eq!(
            [at(3), at(4), at(63), at(64)],
            [Level::Problem, Level::Advice, Level::Advice, Level::Ok]
        );
    }

    #[test]
    fn a_directory_not_made_yet_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let above = std::fs::canonicalize(dir.path()).unwrap();
        assert_eq!(existing(&dir.path().join("a/b")), above);
        assert_eq!(existing(Path::new("/")), Path::new("/"));
    }
}
