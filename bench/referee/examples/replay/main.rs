//! Plays a stream of messages through the exported functions and tells what each costs, beside the
//! cost of handing the same reports over without an engine.
//!
//! ```sh
//! cargo run --release -p referee --example replay -- FILE [--runs N] [--scatter] [--cores A,B]
//! ```
//!
//! FILE is a workload of `bench match`, or one that the referee's own generator wrote. `--scatter` makes
//! the ids any 64-bit values instead of counting from one; `--cores` pins engine and drainer.
//!
//! A workload of ours says what its fills add up to, and other fills are an error. Of any file the
//! example prints the SHA-256 of the reports in the referee's canonical form, to be compared with the one
//! that the referee publishes: lines of decimal fields sorted by message and report type, without a
//! newline at the end.

mod workload;

use anyhow::{Context, Result, bail, ensure};
use referee::abi::{Message, Report, ReportKind};
use referee::exports::{Transport, engine_flush, engine_init, engine_on_batch, engine_shutdown};
use sha2::{Digest, Sha256};
use std::ffi::{c_int, c_void};
use std::hint::{black_box, spin_loop};
use std::time::Instant;
use workload::Workload;

/// Reports that the lane to the drainer holds.
const LANE_REPORTS: usize = 1 << 16;

struct Args {
    file: String,
    runs: usize,
    scatter: bool,
    cores: Option<[usize; 2]>,
}

fn main() -> Result<()> {
    let args = args()?;
    let bytes = std::fs::read(&args.file).with_context(|| format!("reading {}", args.file))?;
    let workload = Workload::parse(&bytes, args.scatter)
        .with_context(|| format!("{} is no workload", args.file))?;
    let messages = &workload.messages;

    let reports = collected(messages);
    workload.check(&reports)?;
    println!(
        "{}: {} messages, {} reports",
        args.file,
        messages.len(),
        reports.len()
    );
    println!("sha256 {}", canonical_hash(&reports));
    println!("{:<44}{:>10}{:>12}", "", "ns/message", "million/s");
    type Run<'a> = &'a dyn Fn() -> Result<f64>;
    let runs: [(&str, Run<'_>); 4] = [
        ("reports counted, no engine", &|| {
            without_engine(&reports, &mut Counter(0))
        }),
        ("engine, reports counted", &|| {
            with_engine(messages, &COUNTING, &mut Counter(0))
        }),
        ("reports over a lane, no engine", &|| {
            over_lane(&args, |sink| without_engine(&reports, sink))
        }),
        ("engine, reports over a lane", &|| {
            over_lane(&args, |sink| with_engine(messages, &LANE, sink))
        }),
    ];
    for (name, run) in runs {
        let mut times = (0..args.runs).map(|_| run()).collect::<Result<Vec<_>>>()?;
        times.sort_by(f64::total_cmp);
        let ns = times[times.len() / 2] / messages.len() as f64;
        println!("{name:<44}{ns:>10.1}{:>12.2}", 1_000.0 / ns);
    }
    Ok(())
}

fn args() -> Result<Args> {
    let (mut file, mut runs, mut scatter, mut cores) = (None, 5, false, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--runs" => runs = words.next().context("--runs N")?.parse()?,
            "--scatter" => scatter = true,
            "--cores" => {
                let pair = words.next().context("--cores A,B")?;
                let (a, b) = pair.split_once(',').context("two cores: A,B")?;
                cores = Some([a.parse()?, b.parse()?]);
            }
            _ if file.is_none() && !word.starts_with('-') => file = Some(word),
            _ => bail!("unknown argument {word}"),
        }
    }
    ensure!(runs > 0, "at least one run");
    Ok(Args {
        file: file.context("which file?")?,
        runs,
        scatter,
        cores,
    })
}

/// Where reports of a run go: the C functions get it as their handle.
trait Drain {
    fn take(&mut self, report: &Report) -> c_int;
}

struct Counter(u64);

impl Drain for Counter {
    fn take(&mut self, report: &Report) -> c_int {
        self.0 += u64::from(black_box(report).quantity);
        1
    }
}

impl Drain for lane::Producer<Report> {
    fn take(&mut self, report: &Report) -> c_int {
        c_int::from(self.push(*report).is_ok())
    }
}

impl Drain for Vec<Report> {
    fn take(&mut self, report: &Report) -> c_int {
        self.push(*report);
        1
    }
}

unsafe extern "C" fn push<D: Drain>(handle: *mut c_void, report: *const Report) -> c_int {
    // SAFETY: `with_engine` gives a `&mut D` as the handle and keeps it to itself until the engine is
    // shut down; the engine passes a live report.
    unsafe { (*handle.cast::<D>()).take(&*report) }
}

const fn transport<D: Drain>() -> Transport {
    Transport {
        create: None,
        push: Some(push::<D>),
        drain: None,
        flush: None,
        destroy: None,
    }
}

static COUNTING: Transport = transport::<Counter>();
static LANE: Transport = transport::<lane::Producer<Report>>();
static COLLECTING: Transport = transport::<Vec<Report>>();

/// The time of all messages in ns. One run at a time: there is one engine a process.
fn with_engine<D: Drain>(messages: &[Message], transport: &Transport, sink: &mut D) -> Result<f64> {
    // SAFETY: only this thread calls the engine, `transport` takes this type of handle, and both
    // outlive `engine_shutdown`.
    let nanoseconds = unsafe {
        engine_init(23, transport, (&raw mut *sink).cast());
        let start = Instant::now();
        // One message a call, as the referee does by default.
        for message in messages {
            engine_on_batch(black_box(message), 1);
        }
        engine_flush();
        let nanoseconds = start.elapsed().as_nanos();
        engine_shutdown();
        nanoseconds
    };
    Ok(nanoseconds as f64)
}

/// The time of handing the same reports over, by the same function pointer.
fn without_engine<D: Drain>(reports: &[Report], sink: &mut D) -> Result<f64> {
    let push = black_box(push::<D> as unsafe extern "C" fn(*mut c_void, *const Report) -> c_int);
    let handle = (&raw mut *sink).cast();
    let start = Instant::now();
    for report in reports {
        // SAFETY: the handle is of the type that `push` was made for, and only this thread has it.
        while unsafe { push(handle, report) } == 0 {
            spin_loop();
        }
    }
    Ok(start.elapsed().as_nanos() as f64)
}

/// Runs with a thread on the other end of a lane that empties it.
fn over_lane(
    args: &Args,
    run: impl FnOnce(&mut lane::Producer<Report>) -> Result<f64>,
) -> Result<f64> {
    let (mut producer, mut consumer) = lane::bounded::<Report>(LANE_REPORTS);
    if let Some([core, _]) = args.cores {
        lane::pin_to_core(core)?;
    }
    let (ready, drainer_is_ready) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let drainer = scope.spawn(move || {
            if let Some([_, core]) = args.cores {
                lane::pin_to_core(core)?;
            }
            ready.send(()).expect("the other end waits");
            let mut sum = 0u64;
            while !consumer.is_abandoned() || !consumer.is_empty() {
                match consumer.pop() {
                    Some(report) => sum = sum.wrapping_add(report.sequence),
                    None => spin_loop(),
                }
            }
            anyhow::Ok(black_box(sum))
        });
        // A thread begins on its parent's core: spinning there would keep it from its own.
        let time = match drainer_is_ready.recv() {
            Ok(()) => run(&mut producer),
            Err(_) => Ok(f64::NAN),
        };
        drop(producer);
        drainer.join().expect("the drainer does not panic")?;
        time
    })
}

fn collected(messages: &[Message]) -> Vec<Report> {
    let mut reports = Vec::with_capacity(2 * messages.len());
    with_engine(messages, &COLLECTING, &mut reports).expect("it only takes the time");
    reports
}

fn canonical_hash(reports: &[Report]) -> String {
    let mut sorted: Vec<&Report> = reports.iter().collect();
    sorted.sort_by_key(|report| (report.sequence, report.kind));
    let mut hash = Sha256::new();
    for (at, report) in sorted.into_iter().enumerate() {
        let newline = if at == 0 { "" } else { "\n" };
        hash.update(format!("{newline}{}", canonical_line(report)));
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn canonical_line(r: &Report) -> String {
    const ORDER_ACK: u8 = ReportKind::OrderAck as u8;
    const MODIFY_ACK: u8 = ReportKind::ModifyAck as u8;
    const TRADE: u8 = ReportKind::Trade as u8;
    const CANCEL_ACK: u8 = ReportKind::CancelAck as u8;
    let (kind, sequence, price) = (r.kind, r.sequence, r.price);
    match kind {
        ORDER_ACK | MODIFY_ACK => {
            format!(
                "{kind},{sequence},{},{},{price},{}",
                r.side, r.id, r.quantity
            )
        }
        TRADE => format!(
            "{kind},{sequence},{price},{},{},{}",
            r.quantity, r.maker, r.taker
        ),
        CANCEL_ACK => format!("{kind},{sequence},{},{},{price}", r.side, r.id),
        _ => format!("{kind},{sequence},{}", r.id),
    }
}
