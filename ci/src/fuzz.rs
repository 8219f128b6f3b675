//! The fuzzers of `ci/fuzz`, coverage-guided by libFuzzer, on the stable compiler.
//!
//! No sanitizer: what is looked for are panics and broken promises of safe code. The coverage pass of LLVM
//! is switched on by flags, so the fuzzers have a build folder of their own. What they learn stays in
//! `<target>/fuzz/corpus`, what breaks something in `<target>/fuzz/found`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::setup;
use crate::step::Step;

/// A fuzzer, and how many inputs the gate tries.
struct Target {
    name: &'static str,
    runs: u32,
    /// Longest input, bytes.
    len_max: u32,
}

const TARGETS: &[Target] = &[
    Target {
        name: "engine",
        runs: 1_500,
        len_max: 2_048,
    },
    Target {
        name: "book",
        runs: 12_000,
        len_max: 2_048,
    },
    Target {
        name: "datagram",
        runs: 2_000_000,
        len_max: 2_048,
    },
    Target {
        name: "frame",
        runs: 2_000_000,
        len_max: 2_048,
    },
    Target {
        name: "journal",
        runs: 8_000,
        len_max: 512,
    },
    Target {
        name: "session",
        runs: 12_000,
        len_max: 1_024,
    },
];

/// Inputs of noise that a fuzzer starts from, and their length.
const SEEDS: u8 = 12;
const SEED_BYTES: usize = 512;

const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// The gate: the same inputs each time, from the same seeds.
pub(crate) fn short(step: &mut Step<'_>) -> Result<String> {
    let mut clippy = step.place.cargo();
    clippy
        .args("clippy --locked --manifest-path ci/fuzz/Cargo.toml".split(' '))
        .args(["--all-targets", "--", "-D", "warnings"])
        .env("CARGO_TARGET_DIR", step.place.target.join("fuzz"));
    // Theirs is a workspace that the `lint` gate does not see.
    step.run(&mut clippy)?;
    let programs = build(step)?;
    let mut inputs = 0;
    for target in TARGETS {
        let mut command = step.place.command(programs.join(target.name));
        // An empty folder first: what is learned goes there, so that every run learns the same anew.
        let learned = folder(step, "gate")?.join(target.name);
        if learned.exists() {
            std::fs::remove_dir_all(&learned).context("cannot empty the gate's folder")?;
        }
        std::fs::create_dir_all(&learned).context("cannot make the gate's folder")?;
        command
            .arg(format!("-runs={}", target.runs))
            .arg(learned)
            .arg(seeds(step, target)?);
        run(step, target, command, &programs)?;
        inputs += target.runs;
    }
    Ok(format!("{} fuzzers, {inputs} inputs", TARGETS.len()))
}

/// So many minutes for all, or for one of them, from what was learned so far.
pub(crate) fn long(step: &mut Step<'_>, minutes: u64, only: Option<&str>) -> Result<String> {
    let targets: Vec<&Target> = TARGETS
        .iter()
        .filter(|target| only.is_none_or(|name| name == target.name))
        .collect();
    ensure!(
        !targets.is_empty() && minutes > 0,
        "the fuzzers are {}; --minutes is at least 1",
        TARGETS
            .iter()
            .map(|t| t.name)
            .collect::<Vec<_>>()
            .join(", ")
    );
    let programs = build(step)?;
    let seconds = minutes * 60 / targets.len() as u64;
    for target in &targets {
        let corpus = folder(step, "corpus")?.join(target.name);
        std::fs::create_dir_all(&corpus)
            .with_context(|| format!("cannot make {}", corpus.display()))?;
        let mut command = step.place.command(programs.join(target.name));
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(corpus)
            .arg(seeds(step, target)?);
        run(step, target, command, &programs)?;
    }
    Ok(format!(
        "{} fuzzers, {seconds} s each, nothing found",
        targets.len()
    ))
}

/// Writes the inputs that a fuzzer starts from, the same each time: golden messages for the decoders, and for
/// all some long inputs that reach far at once.
fn seeds(step: &Step<'_>, target: &Target) -> Result<PathBuf> {
    let folder = folder(step, "seeds")?.join(target.name);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let mut inputs: Vec<Vec<u8>> = (0..SEEDS).map(|n| noise(n, SEED_BYTES)).collect();
    if target.name == "datagram" {
        inputs.extend(golden(step)?.iter().flat_map(|message| framed(message)));
    }
    for (n, input) in inputs.iter().enumerate() {
        let path = folder.join(format!("{n:03}"));
        std::fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(folder)
}

/// Bytes from SplitMix64; the first is the number itself, since targets choose by it what to try.
fn noise(n: u8, len: usize) -> Vec<u8> {
    let mut state = u64::from(n);
    let mut bytes = vec![n];
    while bytes.len() < len {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The golden bytes of every message.
fn golden(step: &Step<'_>) -> Result<Vec<Vec<u8>>> {
    let path = step.place.root.join("firmware/vectors/messages.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let all: Value = serde_json::from_slice(&text).context("the golden vectors are not JSON")?;
    let vectors = all["vectors"]
        .as_array()
        .context("there are no golden vectors")?;
    vectors
        .iter()
        .map(|vector| {
            let hex = vector["hex"].as_str().context("a vector without bytes")?;
            (0..hex.len() / 2)
                .map(|at| Ok(u8::from_str_radix(&hex[2 * at..2 * at + 2], 16)?))
                .collect()
        })
        .collect()
}

/// A message alone, in a datagram, and in a packet of the feed, each behind the byte that chooses the decoder.
fn framed(message: &[u8]) -> [Vec<u8>; 3] {
    let mut body = (message.len() as u16 + 2).to_le_bytes().to_vec();
    body.extend(message);
    // Version 1, kind data, length, then zeros up to the body, and a tag of zeros.
    let mut datagram = vec![0, 1, 1];
    datagram.extend((body.len() as u16 + 48).to_le_bytes());
    datagram.resize(1 + 32, 0);
    datagram.extend(&body);
    datagram.resize(datagram.len() + 16, 0);
    let mut packet = vec![3];
    packet.resize(1 + 19, 0);
    packet.push(1);
    packet.extend((message.len() as u16).to_be_bytes());
    packet.extend(message);
    [[&[2], message].concat(), datagram, packet]
}

fn folder(step: &Step<'_>, name: &str) -> Result<PathBuf> {
    let folder = step.place.target.join("fuzz").join(name);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn run(step: &mut Step<'_>, target: &Target, mut command: Command, programs: &Path) -> Result<()> {
    let found = folder(step, "found")?;
    let prefix = format!("{}/{}-", found.display(), target.name);
    command
        .arg("-seed=1")
        .arg("-timeout=20")
        .arg("-rss_limit_mb=2048")
        .arg("-print_final_stats=1")
        .arg(format!("-max_len={}", target.len_max))
        .arg(format!("-artifact_prefix={prefix}"));
    let Err(error) = step.run(&mut command) else {
        return Ok(());
    };
    let input = newest(&found, target.name);
    let Some(input) = input else {
        return Err(error);
    };
    let again = format!(
        "{} {}",
        programs.join(target.name).display(),
        input.display()
    );
    step.say(&format!(
        "{} found an input, kept in {}",
        target.name,
        input.display()
    ));
    step.say(&format!("again: {again}"));
    bail!("{}: again with: {again}", target.name)
}

/// The input that a fuzzer wrote last.
fn newest(found: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(found)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let is_ours = entry.file_name().to_str()?.starts_with(&format!("{name}-"));
            let written = entry.metadata().ok()?.modified().ok()?;
            is_ours.then(|| (written, entry.path()))
        })
        .max()
        .map(|(_, path)| path)
}

/// Builds the fuzzers and tells where they are.
fn build(step: &mut Step<'_>) -> Result<PathBuf> {
    setup::cxx(step)?;
    let host = host(step)?;
    let target = step.place.target.join("fuzz");
    let mut command = step.place.cargo();
    command
        .args([
            "build",
            "--locked",
            "--release",
            "--manifest-path",
            "ci/fuzz/Cargo.toml",
        ])
        // Named, so that the flags are not for build scripts too.
        .args(["--target", &host])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", COVERAGE);
    step.run(&mut command)?;
    Ok(target.join(host).join("release"))
}

fn host(step: &Step<'_>) -> Result<String> {
    let output = step
        .place
        .command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-vV")
        .output()
        .context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}
