//! `prover bench`: what a proof costs on this machine. The circuit has one size, so a batch with one fill costs what a full
//! one does; the batch is one that the matching engine made and sealed here, as full as is asked for.

mod venue;

use crate::keys::{keys_dir, load_key};
use crate::out::Out;
use anyhow::{Context, ensure};
use clap::Args;
use firmware::limits::{BATCH_ACCOUNTS, BATCH_FILLS};
use proof::{ChainContext, Group, Prover, State, TIER_NAME};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// `prover bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// The only tier of this release.
    #[arg(long, value_parser = ["small"], default_value = "small")]
    tier: String,
    /// Rows of fills in the batch.
    #[arg(long, value_name = "N", default_value_t = BATCH_FILLS as u32, value_parser = clap::value_parser!(u32).range(1..=BATCH_FILLS as i64))]
    fills: u32,
    /// Proofs; the middle time counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    times: u32,
    /// Folder of the proving key; a folder of the user's cache if not given.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Make the key once more in a folder of its own, to see how long that takes.
    #[arg(long)]
    setup: bool,
    /// JSON instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn bench(args: BenchArgs, out: Out) -> anyhow::Result<()> {
    let setup_s = if args.setup {
        let dir = std::env::temp_dir().join(format!("deltabox-bench-{}", std::process::id()));
        let begun = Instant::now();
        let made = Prover::remake(&dir, &mut |_, _| {});
        let took = begun.elapsed().as_secs_f64();
        let _ = std::fs::remove_dir_all(&dir);
        made?;
        Some(took)
    } else {
        None
    };
    let prover = load_key(&keys_dir(args.keys.as_deref())?, false, out)?;
    let batch = venue::full_batch(args.fills)?;
    ensure!(
        batch.fills.len() == args.fills as usize,
        "the engine sealed {} rows",
        batch.fills.len()
    );
    let chain = ChainContext {
        chain_id: 31_337,
        contract: [0xdb; 20],
    };
    let (mut witness_ms, mut prove_ms, mut verify_ms) = (Vec::new(), Vec::new(), Vec::new());
    let mut proof_bytes = 0;
    for _ in 0..args.times {
        let begun = Instant::now();
        let witness = State::genesis().apply(&batch)?;
        witness_ms.push(ms(begun));
        let begun = Instant::now();
        let proof = prover.prove(&witness, &chain, &mut |_, _| {})?;
        prove_ms.push(ms(begun));
        let begun = Instant::now();
        prover.verify(&proof)?;
        verify_ms.push(ms(begun));
        proof_bytes = proof.proof_evm.len();
    }
    let rows = |groups: &[Group]| -> usize {
        let all = prover.constraints_by_group();
        let own = all.iter().filter(|(g, _)| groups.contains(g));
        own.map(|(_, n)| n).sum()
    };
    let prove = middle(&mut prove_ms);
    let fields = json!({
        "tier": args.tier,
        "statement": String::from_utf8_lossy(TIER_NAME),
        "constraints": prover.constraints(),
        // Rows of S3, which each fill row has; of S2 and S7, which each account has.
        "per_fill": rows(&[Group::S3]) as f64 / BATCH_FILLS as f64,
        "per_account": rows(&[Group::S2, Group::S7]) as f64 / BATCH_ACCOUNTS as f64,
        "by_group": prover.constraints_by_group().iter().map(|(g, n)| (format!("{g:?}"), json!(n)))
            .collect::<serde_json::Map<_, _>>(),
        "domain": prover.constraints().next_power_of_two(),
        "accounts": batch.touched.len(),
        "fills": batch.fills.len(),
        "setup_s": setup_s,
        "witness_ms": middle(&mut witness_ms),
        "prove_ms": prove,
        "verify_ms": middle(&mut verify_ms),
        "peak_rss_mb": peak_rss_mb()?,
        "fills_per_s": f64::from(args.fills) / prove * 1_000.0,
        "proof_bytes": proof_bytes,
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
    });
    let text = format!(
        "{} constraints; {} fills of {} accounts: witness and proof {prove:.0} ms, {} MiB at most",
        prover.constraints(),
        batch.fills.len(),
        batch.touched.len(),
        fields["peak_rss_mb"]
    );
    out.event("bench", fields, text);
    Ok(())
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1_000.0
}

fn middle(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The most memory that this process has had.
fn peak_rss_mb() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("the kernel does not say how much memory this took")? >> 10)
}
