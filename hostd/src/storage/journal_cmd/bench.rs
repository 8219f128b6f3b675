//! `hostd journal bench`: what group commit and reading cost on a disk, through the box's own disk and reader.
//!
//! A case fills batch after batch of one size and commits each as the journal tile does: one write in flight,
//! the next batch filled meanwhile. Figures of the first batches are left out. What was written is read back
//! and checked, then decoded as a replay decodes it.

use super::Failure;
use crate::machine::doctor::disk_below;
use crate::storage::disk::{Durability, UringDisk};
use clap::Args;
use firmware::units::TimeNs;
use firmware::wire::input::InNewOrder;
use firmware::wire::sbe::Message;
use hdrhistogram::Histogram;
use journal::{Config, DiskError, End, GroupCommit, JournalDir, Reader, Record};
use matcher::sequencer::Sequencer;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Arguments of `hostd journal bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Directory on the disk to measure; a folder is made in it and removed at the end.
    #[arg(long)]
    dir: PathBuf,
    /// Data written in a case, MiB.
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// Longest time of a case, s.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// JSON instead of lines.
    #[arg(long)]
    json: bool,
}

/// Batch sizes, KiB.
const BATCHES_KIB: [usize; 4] = [4, 16, 64, 256];
/// Segment size of the sustained case: that of a box by default.
const BOX_SEGMENT: u64 = journal::SEGMENT_BYTES_DEFAULT;
/// First batches of a case, left out.
const WARMUP: u64 = 32;

pub(super) fn run(args: &BenchArgs, out: &mut impl Write) -> Result<(), Failure> {
    let bed = Bed::new(&args.dir)?;
    let mut cases = Vec::new();
    for (durability, name) in [
        (Durability::Fsync, "fsync"),
        (Durability::Relaxed, "relaxed"),
    ] {
        for kib in BATCHES_KIB {
            cases.push(bed.case(args, durability, name, kib, false, out)?);
        }
    }
    cases.push(bed.case(args, Durability::Fsync, "fsync", 256, true, out)?);
    let reads = read(&bed.0, args, out)?;
    if args.json {
        let all = json!({"disk": disk_below(&args.dir), "group_commit": cases, "read": reads});
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    } else {
        for line in disk_below(&args.dir) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// The folder of the bench, removed when this goes.
struct Bed(PathBuf);

impl Drop for Bed {
    fn drop(&mut self) {
        // What cannot be removed is left for who looks into the directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Bed {
    fn new(dir: &Path) -> Result<Self, Failure> {
        let bed = dir.join(format!("journal-bench-{}", std::process::id()));
        std::fs::create_dir(&bed).map_err(DiskError::io("create", &bed))?;
        Ok(Self(bed))
    }

    fn case(
        &self,
        args: &BenchArgs,
        durability: Durability,
        name: &str,
        kib: usize,
        is_sustained: bool,
        out: &mut impl Write,
    ) -> Result<Value, Failure> {
        let dir = self.0.join("journal");
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(DiskError::io("remove", &dir))?;
        }
        let segment_bytes = if is_sustained {
            BOX_SEGMENT
        } else {
            ((args.mib << 20) + (1 << 20)).next_multiple_of(1 << 20)
        };
        let config = Config {
            segment_bytes,
            batch_bytes: kib << 10,
            ..Config::default()
        };
        let disk = UringDisk::open(JournalDir::open(&dir)?, durability, None)?;
        let mut journal = GroupCommit::resume(config, &End::genesis(), disk)?;
        while journal.free_segments() < 2 {
            journal.poll()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut case = Case {
            limit_bytes: args.mib << 20,
            limit: Duration::from_secs(args.seconds),
            commits: 0,
            bytes: 0,
            records: 0,
            commit_us: Histogram::new_with_bounds(1, 60_000_000, 3).expect("sound bounds"),
        };
        let seconds = case.run(&mut journal)?;
        let mib = case.bytes as f64 / f64::from(1 << 20);
        let (p50, p99) = (
            case.commit_us.value_at_quantile(0.5),
            case.commit_us.value_at_quantile(0.99),
        );
        let what = if is_sustained {
            "sustained, segments of 64 MiB made meanwhile"
        } else {
            "into a segment made ahead"
        };
        if !args.json {
            writeln!(
                out,
                "{name:<8} {kib:>4} KiB  {:>8.0} MiB/s  {:>8.0} commits/s  {:>10.0} records/s  p50 {p50} us  p99 {p99} us  {what}",
                mib / seconds,
                case.commits as f64 / seconds,
                case.records as f64 / seconds,
            )?;
            out.flush()?;
        }
        Ok(json!({
            "durability": name,
            "batch_kib": kib,
            "what": what,
            "mib_per_s": mib / seconds,
            "commits_per_s": case.commits as f64 / seconds,
            "records_per_s": case.records as f64 / seconds,
            "commit_p50_us": p50,
            "commit_p99_us": p99,
            "commits": case.commits,
            "seconds": seconds,
        }))
    }
}

/// One case under way.
struct Case {
    limit_bytes: u64,
    limit: Duration,
    commits: u64,
    bytes: u64,
    records: u64,
    commit_us: Histogram<u64>,
}

impl Case {
    /// Fills and commits batches; returns the seconds that the counted ones took.
    fn run(&mut self, journal: &mut GroupCommit<UringDisk>) -> Result<f64, Failure> {
        let order = order();
        let (mut begun, mut last) = (Instant::now(), Instant::now());
        let (mut seen, mut batches) = (journal.durable_seq(), 0);
        let mut written = 0;
        loop {
            let mut body = order;
            loop {
                let seq = journal.next_seq();
                (body.client_seq, body.cl_ord_id) = (seq, seq);
                let record = Record {
                    seq,
                    time_ns: seq,
                    template: InNewOrder::TEMPLATE,
                    source: 1,
                    session: 1,
                    body: bytemuck::bytes_of(&body),
                };
                if journal.append(&record).is_err() {
                    break;
                }
            }
            journal.wait()?;
            let durable = journal.durable_seq();
            if durable == seen {
                // A segment's header, or the first write of all.
                continue;
            }
            let now = Instant::now();
            let records = durable - seen;
            let bytes = records * RECORD_BYTES;
            seen = durable;
            batches += 1;
            written += bytes;
            if batches <= WARMUP {
                (begun, last) = (now, now);
                continue;
            }
            self.commits += 1;
            self.records += records;
            self.bytes += bytes;
            self.commit_us
                .saturating_record((now - last).as_micros().max(1) as u64);
            last = now;
            let is_full = written + 2 * (1 << 20) > self.limit_bytes;
            if is_full || now - begun > self.limit {
                let seconds = (now - begun).as_secs_f64();
                journal.flush()?;
                return Ok(seconds);
            }
        }
    }
}

const RECORD_BYTES: u64 =
    firmware::wire::journal::RecordHeader::record_len(size_of::<InNewOrder>()) as u64;

fn order() -> InNewOrder {
    InNewOrder {
        lots: 3,
        price_ticks: 10_000,
        account: 1,
        ..bytemuck::Zeroable::zeroed()
    }
}

/// Reads what the last case wrote: from the disk, then out of memory, then with each record decoded.
fn read(bed: &Path, args: &BenchArgs, out: &mut impl Write) -> Result<Value, Failure> {
    let dir = bed.join("journal");
    let mut all = Vec::new();
    for (what, is_decoded) in [
        ("read and verified, first time", false),
        ("read and verified, again", false),
        ("read, verified and decoded", true),
    ] {
        let begun = Instant::now();
        let mut reader = Reader::open(&dir)?;
        let mut sequencer = Sequencer::new();
        let (mut records, mut lots) = (0_u64, 0_i64);
        while let Some(view) = reader.next()? {
            records += 1;
            if is_decoded {
                let h = view.header;
                let input = sequencer
                    .replay(h.seq, h.time_ns, h.template, h.session, view.body)
                    .map_err(|e| Failure::Cannot(e.to_string()))?;
                assert!(input.time() >= TimeNs(0));
                if let matcher::sequencer::Input::NewOrder(m) = input.input() {
                    lots += m.lots;
                }
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert_eq!(lots, if is_decoded { 3 * records as i64 } else { 0 });
        let mib = (records * RECORD_BYTES) as f64 / f64::from(1 << 20);
        if !args.json {
            writeln!(
                out,
                "{what:<32} {:>8.0} MiB/s  {:>10.0} records/s",
                mib / seconds,
                records as f64 / seconds
            )?;
        }
        all.push(json!({
            "what": what,
            "records": records,
            "mib_per_s": mib / seconds,
            "records_per_s": records as f64 / seconds,
        }));
    }
    Ok(Value::from(all))
}
